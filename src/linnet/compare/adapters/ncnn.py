"""ncnn, from its wheel: a .param and .bin written from the network's data, in float32.

ncnn knows no batch: images go through one by one. A value several layers read needs a Split, and a
ReLU is fused into the layer before it, as ncnn's own optimizer does.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, Callable

import numpy

if TYPE_CHECKING:
    from ..worker import Network, Node

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["ncnn==1.0.20261020", "numpy"],
    "import": "ncnn",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "ncnn": {
        "what": "ncnn in float32, image by image",
        "on_pi": "the same; its wheel exists for armv7l and aarch64",
    },
}


class Adapter:
    library = "own kernels"

    def __init__(self, ncnn: Any, threads: int, options: dict[str, Any]) -> None:
        self.ncnn, self.threads = ncnn, threads

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        param, weights = translate(network)
        net = self.ncnn.Net()
        net.opt.num_threads = self.threads
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(net.opt, "use_" + name, False)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in (("net.param", param.encode()), ("net.bin", weights)):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(data)
            if net.load_param(os.path.join(folder, "net.param")):
                raise ValueError("ncnn does not accept the network")
            net.load_model(os.path.join(folder, "net.bin"))
        self.nets = [*getattr(self, "nets", []), net]  # an extractor does not keep its net alive

        def one(image: Any) -> Any:
            extractor = net.create_extractor()
            extractor.input("x", self.ncnn.Mat(image))
            return numpy.array(extractor.extract("y")[1])

        return lambda x: numpy.stack([one(image) for image in x])


def translate(network: Network) -> tuple[str, bytes]:
    """The network as ncnn's text of layers and its weights, in order."""
    lines, blobs, weights = ["Input x 0 1 x"], ["x"], b""
    readers: dict[str, list[str]] = {}  # the blobs each value has left for its readers

    def define(value: str, blob: str) -> None:
        readers[value], count = [blob], network.consumers(value)
        if count > 1:
            readers[value] = [f"{blob}_{i}" for i in range(count)]
            lines.append(f"Split {blob}s 1 {count} {blob} {' '.join(readers[value])}")
            blobs.extend(readers[value])

    define(network.input, "x")
    skip = False
    for i, node in enumerate(network.nodes):
        if skip:
            skip = False
            continue
        following = network.nodes[i + 1] if i + 1 < len(network.nodes) else None
        result = node.outputs[0]
        fuse = node.op in ("Conv", "Gemm") and following is not None and following.op == "Relu"
        if fuse and following is not None and network.consumers(result) == 1:
            skip, result = True, following.outputs[0]
        kind, parameters = layer(network, node)
        if skip:
            parameters += " 9=1"
        inputs = [readers[v].pop() for v in node.inputs if v in readers]
        blob = "y" if result == network.output else f"b{i}"
        lines.append(f"{kind} l{i} {len(inputs)} 1 {' '.join([*inputs, blob])} {parameters}")
        blobs.append(blob)
        for j, name in enumerate(node.inputs[1:]):
            if name in network.weights and node.op in ("Conv", "Gemm"):
                weights += b"\0\0\0\0" if j == 0 else b""  # storage type: float32
                weights += network.weights[name].astype("<f4").tobytes()
        define(result, blob)
    return "\n".join(["7767517", f"{len(lines)} {len(blobs)}", *lines, ""]), weights


def layer(network: Network, node: Node) -> tuple[str, str]:
    """ncnn's layer type and its parameters for one node; ValueError if it has none."""
    bias = int(len(node.inputs) > 2)
    if node.op == "Conv":
        (kh, kw), (sh, sw), (top, left, bottom, right), (dh, dw) = node.window()
        w, group = network.weights[node.inputs[1]], node.attrs.get("group", 1)
        return "ConvolutionDepthWise" if group > 1 else "Convolution", (
            f"0={w.shape[0]} 1={kw} 11={kh} 2={dw} 12={dh} 3={sw} 13={sh} 4={left} 14={top} "
            f"15={right} 16={bottom} 5={bias} 6={w.size}" + (f" 7={group}" if group > 1 else "")
        )
    if node.op in ("MaxPool", "AveragePool"):
        (kh, kw), (sh, sw), (top, left, bottom, right), dilations = node.window()
        if dilations != [1, 1]:
            raise ValueError(f"{node.outputs[0]}: ncnn has no dilated pooling")
        return "Pooling", (
            f"0={int(node.op == 'AveragePool')} 1={kw} 11={kh} 2={sw} 12={sh} 3={left} 13={top} "
            f"14={right} 15={bottom} 5={0 if node.attrs.get('ceil_mode') else 1} "
            f"6={node.attrs.get('count_include_pad', 0)}"
        )
    if node.op in ("GlobalMaxPool", "GlobalAveragePool"):
        return "Pooling", f"0={int(node.op == 'GlobalAveragePool')} 4=1"
    if node.op == "Gemm":
        w = network.weights[node.inputs[1]]
        return "InnerProduct", f"0={w.shape[0]} 1={bias} 2={w.size}"
    if node.op == "LRN":
        attrs = node.lrn()
        return "LRN", f"1={attrs['size']} 2={attrs['alpha']} 3={attrs['beta']} 4={attrs['bias']}"
    if node.op == "Relu":
        return "ReLU", ""
    if node.op in ("Add", "Mul") and node.inputs[1] not in network.weights:
        return "BinaryOp", "0=0" if node.op == "Add" else "0=2"
    if node.op == "Clip":
        least, most = (float(network.weights[name]) for name in node.inputs[1:3])
        return "Clip", f"0={least} 1={most}"
    if node.op == "Concat" and node.attrs["axis"] >= 1:
        return "Concat", f"0={node.attrs['axis'] - 1}"
    if node.op == "HardSigmoid":
        return "HardSigmoid", f"0={node.attrs['alpha']} 1={node.attrs['beta']}"
    if node.op == "HardSwish":
        return "HardSwish", f"0={1 / 6} 1=0.5"
    if node.op == "Softmax":
        return "Softmax", f"0={node.attrs.get('axis', 1) - 1} 1=1"
    if node.op == "Flatten":
        return "Flatten", ""
    shape = network.shapes[node.outputs[0]]
    if node.op == "Reshape" and len(shape) in (1, 3):
        return "Reshape", " ".join(f"{i}={d}" for i, d in enumerate(reversed(shape)))
    raise ValueError(f"{node.outputs[0]}: the ncnn adapter has no {node.op} like this")
