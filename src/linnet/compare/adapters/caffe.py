"""Stock Caffe 1.0: Debian 11's own packages, unpacked, computing with any BLAS.

Caffe is built from the network's data: a prototxt and the weights put into its blobs. Pooling takes
`round_mode`, which this build (git of August 2018) has, so a floor-mode pool needs no cropping.

Caffe's own `caffe time` shows up to a fifth less: it computes on zeros, for which the branches of
max pooling are always predicted. Fed random images, through a DummyData layer, both agree.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network, Node

ENVIRONMENT = {
    "kind": "debian",
    "suite": "bullseye",
    "packages": ["python3-caffe", "libopenblas0-pthread"],
    "python": "python3.9",
    "import": "caffe",
}
ON_BLAS: dict[str, Any] = {
    "what": "Caffe 1.0",
    "on_pi": "the same packages for armhf and arm64",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "caffe-openblas": {
        **ON_BLAS,
        "what": "Caffe 1.0 on OpenBLAS as it is; the study's A",
        "blas": "openblas",
    },
    "caffe-openblas-dl": {
        **ON_BLAS,
        "what": "Caffe 1.0 on the equivalent of optimized_for_deeplearning; the study's B",
        "blas": "openblas-dl",
    },
}


class Adapter:
    def __init__(self, caffe: Any, threads: int, options: dict[str, Any]) -> None:
        self.caffe = caffe  # its BLAS's variable for the number of threads is its only knob
        self.library = os.path.basename(options.get("borrowed", "its own BLAS"))

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            net, result = self.net(network, batch, file.name)
        data, output = net.blobs["x"].data, net.blobs[result]

        def call(x: Any) -> Any:
            data[...] = x
            net.forward()
            return output.data.copy()  # a flattened one gets other memory with the first forward

        return call

    def write(self, network: Network, files: list[str]) -> None:
        prototxt, weights = files
        self.net(network, 1, prototxt)[0].save(weights)

    def net(self, network: Network, batch: int, prototxt: str) -> tuple[Any, str]:
        """Write the text of the network; it as Caffe has it, with weights, and its output."""
        blobs = {network.input: "x"}
        dims = " ".join(f"dim: {d}" for d in [batch, *network.shapes[network.input]])
        text = [
            f'name: "n" layer {{ name: "x" type: "Input" top: "x" '
            f"input_param {{ shape {{ {dims} }} }} }}"
        ]
        weights: dict[str, list[Any]] = {}
        for i, node in enumerate(network.nodes):
            bottoms = [blobs[v] for v in node.inputs if v in blobs]
            in_place = (
                node.op == "Relu" and bottoms != ["x"] and network.consumers(node.inputs[0]) == 1
            )
            top = bottoms[0] if in_place else f"v{i}"
            kind, parameters = layer(network, node)
            bottom = " ".join(f'bottom: "{b}"' for b in bottoms)
            text.append(
                f'layer {{ name: "l{i}" type: "{kind}" {bottom} top: "{top}" {parameters} }}'
            )
            weights[f"l{i}"] = [network.weights[v] for v in node.inputs[1:] if v in network.weights]
            blobs[node.outputs[0]] = top
        with open(prototxt, "w", encoding="utf-8") as file:
            file.write("\n".join(text))
        net = self.caffe.Net(prototxt, self.caffe.TEST)
        for name, arrays in weights.items():
            if name in net.params:
                for blob, array in zip(net.params[name], arrays):
                    blob.data[...] = array.reshape(blob.data.shape)
        return net, blobs[network.output]


def layer(network: Network, node: Node) -> tuple[str, str]:
    """Caffe's layer type and its parameters for one node; ValueError if Caffe has none."""
    shape = network.shapes.get(node.inputs[0], [])
    if node.op == "Conv":
        (kh, kw), (sh, sw), _, (dh, dw) = node.window()
        ph, pw = node.symmetric_pads("Caffe")
        filters = network.weights[node.inputs[1]].shape[0]
        return "Convolution", (
            f"convolution_param {{ num_output: {filters} kernel_h: {kh} kernel_w: {kw} "
            f"stride_h: {sh} stride_w: {sw} pad_h: {ph} pad_w: {pw} dilation: {dh} dilation: {dw} "
            f"group: {node.attrs.get('group', 1)} bias_term: {bias(node)} }}"
        )
    if node.op in ("MaxPool", "AveragePool"):
        (kh, kw), (sh, sw), pads, dilations = node.window()
        ph, pw = node.symmetric_pads("Caffe")
        if dilations != [1, 1]:
            raise ValueError(f"{node.outputs[0]}: Caffe has no dilated pooling")
        if node.op == "AveragePool" and any(pads) and not node.attrs.get("count_include_pad"):
            raise ValueError(f"{node.outputs[0]}: Caffe's average pooling counts the padding")
        return "Pooling", (
            f"pooling_param {{ pool: {'MAX' if node.op == 'MaxPool' else 'AVE'} "
            f"kernel_h: {kh} kernel_w: {kw} "
            f"stride_h: {sh} stride_w: {sw} pad_h: {ph} pad_w: {pw} "
            f"round_mode: {'CEIL' if node.attrs.get('ceil_mode') else 'FLOOR'} }}"
        )
    if node.op in ("GlobalMaxPool", "GlobalAveragePool"):
        pool = "MAX" if node.op == "GlobalMaxPool" else "AVE"
        return "Pooling", f"pooling_param {{ pool: {pool} global_pooling: true }}"
    if node.op == "Gemm":
        outputs = network.weights[node.inputs[1]].shape[0]
        return (
            "InnerProduct",
            f"inner_product_param {{ num_output: {outputs} bias_term: {bias(node)} }}",
        )
    if node.op == "LRN":
        attrs = node.lrn()
        return "LRN", (
            f"lrn_param {{ local_size: {attrs['size']} alpha: {attrs['alpha']} "
            f"beta: {attrs['beta']} k: {attrs['bias']} }}"
        )
    if node.op == "Concat" and not any(v in network.weights for v in node.inputs):
        return "Concat", f"concat_param {{ axis: {node.attrs['axis']} }}"
    if node.op == "Relu":
        return "ReLU", ""
    if node.op == "Softmax":
        return "Softmax", f"softmax_param {{ axis: {node.attrs.get('axis', 1)} }}"
    if node.op == "Flatten":
        return "Flatten", ""
    if node.op == "Reshape":
        dims = " ".join(f"dim: {d}" for d in [0, *network.shapes[node.outputs[0]]])
        return "Reshape", f"reshape_param {{ shape {{ {dims} }} }}"
    if node.op == "Add":
        other = network.weights.get(node.inputs[1])
        if other is None and network.shapes[node.inputs[1]] == shape:
            return "Eltwise", "eltwise_param { operation: SUM }"
        if (
            other is not None
            and other.size == shape[0]
            and other.ndim in (len(shape), len(shape) + 1)
        ):
            axis = other.ndim - len(shape)
            if other.shape[axis] == shape[0]:
                return "Bias", "bias_param { axis: 1 num_axes: 1 }"
    raise ValueError(f"{node.outputs[0]}: Caffe has no layer for this {node.op}")


def bias(node: Node) -> str:
    return "true" if len(node.inputs) > 2 else "false"
