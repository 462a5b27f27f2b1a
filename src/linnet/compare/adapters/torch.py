"""PyTorch, from its CPU wheel: a traced, frozen graph with oneDNN's own layouts.

torch.compile is no faster on such networks, but takes some 20 s and a C++ compiler for every batch
size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import numpy

if TYPE_CHECKING:
    from ..worker import Network, Node

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["torch==2.13.0", "numpy==2.4.6"],
    "import": "torch",
    "bits": 64,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "torch": {
        "what": "PyTorch, traced and optimized for inference",
        "on_pi": "the same on a 64-bit system; no wheel for 32 bits",
    },
    "torch-nnpack": {
        "what": "PyTorch, its convolutions by the NNPACK in it wherever NNPACK can",
        "on_pi": "the same on a 64-bit system; no wheel for 32 bits",
        "nnpack": True,
    },
}
NNPACK = "_nnpack_spatial_convolution"


class Adapter:
    def __init__(self, torch: Any, threads: int, options: dict[str, Any]) -> None:
        self.torch, self.nnpack = torch, options.get("nnpack", False)
        self.library = "NNPACK, oneDNN" if self.nnpack else "oneDNN"
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        if self.nnpack and not torch._nnpack_available():  # asking is what initializes it
            raise RuntimeError("PyTorch's NNPACK does not run on this CPU")

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        torch = self.torch
        example = torch.zeros((batch, *network.shapes[network.input]))
        with torch.inference_mode():
            traced = torch.jit.trace(module(torch, network, self.nnpack), example)
            net = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

        def call(x: Any) -> Any:
            with torch.inference_mode():
                return net(torch.from_numpy(x)).numpy()

        if self.nnpack:
            self.library = f"{nnpack_calls(torch, call, example.numpy())} convolutions by NNPACK"
        return call


def nnpack_calls(torch: Any, call: Callable[[Any], Any], x: Any) -> int:
    """How many convolutions of a call NNPACK computes; RuntimeError if it computes none."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call(x)
    counts = {event.key: event.count for event in profile.key_averages()}
    count = counts.get(f"aten::{NNPACK}", 0)
    if not count:
        raise RuntimeError("NNPACK computes none of the network's convolutions")
    return int(count)


def module(torch: Any, network: Network, nnpack: bool = False) -> Any:
    """The network as a module of PyTorch's."""
    weights = {name: torch.from_numpy(array) for name, array in network.weights.items()}

    class Net(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            values = {network.input: x}
            for node in network.nodes:
                by_nnpack = nnpack and nnpack_can(node)
                compute = convolved_by_nnpack if by_nnpack else apply
                values[node.outputs[0]] = compute(torch, network, node, values, weights)
            return values[network.output]

    return Net().eval()


def nnpack_can(node: Node) -> bool:
    """Whether NNPACK computes this, by its rules as PyTorch has them."""
    if node.op != "Conv" or node.attrs.get("group", 1) > 1:
        return False
    kernel, _, (top, left, bottom, right), dilations = node.window()
    alike = (top, left) == (bottom, right) and dilations == [1, 1]
    return alike and max(kernel) <= 16 and top < kernel[0] and left < kernel[1]


def convolved_by_nnpack(
    torch: Any, network: Network, node: Node, values: dict[str, Any], weights: dict[str, Any]
) -> Any:
    _, strides, (top, left, _, _), _ = node.window()
    bias = weights[node.inputs[2]] if len(node.inputs) > 2 else None
    x, w = values[node.inputs[0]], weights[node.inputs[1]]
    return getattr(torch, NNPACK)(x, w, bias, [top, left], strides)


def apply(
    torch: Any, network: Network, node: Node, values: dict[str, Any], weights: dict[str, Any]
) -> Any:
    """One node; ValueError if PyTorch has no equal."""
    functions = torch.nn.functional
    inputs = [values[v] if v in values else weights[v] for v in node.inputs]
    x, attrs = inputs[0], node.attrs
    if node.op == "Conv":
        _, strides, (top, left, bottom, right), dilations = node.window()
        if (top, left) != (bottom, right):
            x, top, left = functions.pad(x, (left, right, top, bottom)), 0, 0
        bias = inputs[2] if len(inputs) > 2 else None
        group = attrs.get("group", 1)
        return functions.conv2d(x, inputs[1], bias, strides, (top, left), dilations, group)
    if node.op in ("MaxPool", "AveragePool"):
        kernel, strides, _, dilations = node.window()
        pads, ceil = node.symmetric_pads("PyTorch"), bool(attrs.get("ceil_mode"))
        if node.op == "MaxPool":
            return functions.max_pool2d(x, kernel, strides, pads, dilations, ceil)
        counted = bool(attrs.get("count_include_pad"))
        return functions.avg_pool2d(x, kernel, strides, pads, ceil, counted)
    if node.op == "GlobalMaxPool":
        return torch.amax(x, (2, 3), keepdim=True)
    if node.op == "GlobalAveragePool":
        return torch.mean(x, (2, 3), keepdim=True)
    if node.op == "Gemm":
        return functions.linear(x, *inputs[1:])
    if node.op == "LRN":
        attrs = node.lrn()
        return functions.local_response_norm(
            x, attrs["size"], attrs["alpha"], attrs["beta"], attrs["bias"]
        )
    if node.op == "Concat":
        return torch.cat(inputs, attrs["axis"])
    if node.op == "Relu":
        return functions.relu(x)
    if node.op == "Add":
        return x + inputs[1]
    if node.op == "Softmax":
        return functions.softmax(x, attrs.get("axis", 1))
    if node.op in ("Flatten", "Reshape"):
        size = [int(numpy.prod(network.shapes[node.outputs[0]]))]
        shape = size if node.op == "Flatten" else network.shapes[node.outputs[0]]
        return x.reshape(x.shape[0], *shape)
    raise ValueError(f"{node.outputs[0]}: the PyTorch adapter has no {node.op}")
