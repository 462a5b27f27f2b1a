"""MXNet 1.9.1 (the last release) on any BLAS, as in 2017, or with its oneDNN.

The BLAS's functions take the place of those in the wheel's libopenblas.so.0, which stays for
LAPACK, that MXNet asks for but a network does not use.

NumPy must be older than 1.24: MXNet uses `numpy.bool`. The wheel is py3-none: any Python 3 will do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..worker import Network, Node

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["mxnet==1.9.1", "numpy==1.23.5"],
    "import": "mxnet",
    "bits": 64,
}
OFF = {"MXNET_ONEDNN_ENABLED": "0", "MXNET_MKLDNN_ENABLED": "0"}
ON = {"MXNET_ONEDNN_ENABLED": "1", "MXNET_MKLDNN_ENABLED": "1"}
PI = "the same wheel on a 64-bit system; none for 32 bits"
ON_BLAS: dict[str, Any] = {"what": "MXNet 1.9.1", "on_pi": PI, "env": OFF}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "mxnet-openblas": {
        **ON_BLAS,
        "what": "MXNet 1.9.1 on OpenBLAS as it is; the study's E",
        "blas": "openblas",
    },
    "mxnet-openblas-dl": {
        **ON_BLAS,
        "what": "MXNet 1.9.1 on the equivalent of optimized_for_deeplearning; the study's F",
        "blas": "openblas-dl",
    },
    "mxnet-onednn": {
        "what": "MXNet 1.9.1 with oneDNN, as its wheel runs by itself",
        "on_pi": PI,
        "env": ON,
        "kernels": "oneDNN",
    },
}


class Adapter:
    def __init__(self, mxnet: Any, threads: int, options: dict[str, Any]) -> None:
        self.mx = mxnet  # its threads are OMP_NUM_THREADS
        self.library = os.path.basename(options.get("borrowed", "oneDNN"))

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        output, arrays = self.translated(network)
        shapes = {name: array.shape for name, array in arrays.items()}
        shapes["x"] = (batch, *network.shapes[network.input])
        bound = output.simple_bind(self.mx.cpu(), grad_req="null", **shapes)
        for name, array in arrays.items():
            bound.arg_dict[name][:] = array
        data = bound.arg_dict["x"]

        def call(x: Any) -> Any:
            data[:] = x
            return bound.forward(is_train=False)[0].asnumpy()

        return call

    def write(self, network: Network, files: list[str]) -> None:
        symbol_file, weights = files
        output, arrays = self.translated(network)
        output.save(symbol_file)
        nd = self.mx.nd
        nd.save(weights, {f"arg:{name}": nd.array(array) for name, array in arrays.items()})

    def translated(self, network: Network) -> tuple[Any, dict[str, Any]]:
        """The output's symbol, and the weights that it reads by name."""
        mx, arrays = self.mx, {}
        values = {network.input: mx.sym.var("x", shape=(1, *network.shapes[network.input]))}
        for i, name in enumerate(network.weights):
            values[name], arrays[f"w{i}"] = mx.sym.var(f"w{i}"), network.weights[name]
        for node in network.nodes:
            values[node.outputs[0]] = symbol(
                mx.sym, network, node, [values[v] for v in node.inputs]
            )
        output = values[network.output]
        used = set(output.list_arguments())
        return output, {name: array for name, array in arrays.items() if name in used}


def symbol(sym: Any, network: Network, node: Node, inputs: list[Any]) -> Any:
    """MXNet's symbol for one node; ValueError if it has none."""
    attrs = node.attrs
    if node.op == "Conv":
        kernel, strides, _, dilations = node.window()
        return sym.Convolution(
            *inputs,
            no_bias=len(inputs) < 3,
            kernel=tuple(kernel),
            stride=tuple(strides),
            pad=node.symmetric_pads("MXNet"),
            dilate=tuple(dilations),
            num_filter=network.weights[node.inputs[1]].shape[0],
            num_group=attrs.get("group", 1),
        )
    if node.op in ("MaxPool", "AveragePool"):
        kernel, strides, _, dilations = node.window()
        if dilations != [1, 1]:
            raise ValueError(f"{node.outputs[0]}: MXNet has no dilated pooling")
        return sym.Pooling(
            *inputs,
            pool_type="max" if node.op == "MaxPool" else "avg",
            kernel=tuple(kernel),
            stride=tuple(strides),
            pad=node.symmetric_pads("MXNet"),
            pooling_convention="full" if attrs.get("ceil_mode") else "valid",
            count_include_pad=bool(attrs.get("count_include_pad", 0)),
        )
    if node.op in ("GlobalMaxPool", "GlobalAveragePool"):
        kind = "max" if node.op == "GlobalMaxPool" else "avg"
        return sym.Pooling(*inputs, pool_type=kind, global_pool=True, kernel=(1, 1))
    if node.op == "Gemm":
        outputs = network.weights[node.inputs[1]].shape[0]
        return sym.FullyConnected(*inputs, num_hidden=outputs, no_bias=len(inputs) < 3)
    if node.op == "LRN":
        attrs = node.lrn()
        return sym.LRN(
            *inputs,
            nsize=attrs["size"],
            alpha=attrs["alpha"],
            beta=attrs["beta"],
            knorm=attrs["bias"],
        )
    if node.op == "Concat":
        return sym.concat(*inputs, dim=attrs["axis"])
    if node.op == "Relu":
        return sym.Activation(*inputs, act_type="relu")
    if node.op == "Add":
        return sym.broadcast_add(*inputs)
    if node.op == "Softmax":
        return sym.softmax(*inputs, axis=attrs.get("axis", 1))
    if node.op == "Flatten":
        return sym.flatten(*inputs)
    if node.op == "Reshape":
        return sym.reshape(inputs[0], shape=(0, *network.shapes[node.outputs[0]]))
    raise ValueError(f"{node.outputs[0]}: MXNet has no operator for this {node.op}")
