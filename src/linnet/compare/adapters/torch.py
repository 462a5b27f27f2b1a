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
}


class Adapter:
    library = "oneDNN"

    def __init__(self, torch: Any, threads: int, options: dict[str, Any]) -> None:
        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        torch = self.torch
        weights = {name: torch.from_numpy(array) for name, array in network.weights.items()}

        class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
            def forward(self, x: Any) -> Any:
                values = {network.input: x}
                for node in network.nodes:
                    values[node.outputs[0]] = apply(torch, network, node, values, weights)
                return values[network.output]

        example = torch.zeros((batch, *network.shapes[network.input]))
        with torch.inference_mode():
            traced = torch.jit.trace(Net().eval(), example)
            net = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

        def call(x: Any) -> Any:
            with torch.inference_mode():
                return net(torch.from_numpy(x)).numpy()

        return call


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
        attrs = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0, **attrs}
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
