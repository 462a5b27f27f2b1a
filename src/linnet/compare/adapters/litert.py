"""LiteRT (TensorFlow Lite), from its wheel: a .tflite flatbuffer written from the network's data.

XNNPACK runs it, as it does by default. Images arrive channels last, prepared before the clock
starts; a ReLU is fused into the layer before it, as TensorFlow's converter does, and the weights
behind a flatten are permuted to height, width, channel.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any, Callable

import numpy

if TYPE_CHECKING:
    from ..worker import Network, Node

ENVIRONMENT = {
    "kind": "venv",
    "packages": ["ai-edge-litert==2.3.0", "flatbuffers==25.12.19"],
    "import": "ai_edge_litert.interpreter",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {"litert": {}}


class Adapter:
    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        self.interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter
        self.version, self.library = importlib.metadata.version("ai-edge-litert"), "XNNPACK"
        self.threads = threads

    def prepare(self, x: Any) -> Any:
        return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        content = Writer(network, batch).finish()
        net = self.interpreter(model_content=content, num_threads=self.threads)
        net.allocate_tensors()
        source = net.get_input_details()[0]["index"]
        result = net.get_output_details()[0]["index"]
        images = len(network.shapes[network.output]) == 3

        def call(x: Any) -> Any:
            net.set_tensor(source, x)
            net.invoke()
            y = net.get_tensor(result)
            return y.transpose(0, 3, 1, 2) if images else y

        return call


class Writer:
    """Translates a network to a .tflite model for one batch size."""

    def __init__(self, network: Network, batch: int) -> None:
        self.schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
        self.network, self.batch = network, batch
        self.graph, self.model = self.schema.SubGraphT(), self.schema.ModelT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.version, self.model.operatorCodes = 3, []
        self.model.buffers = [self.buffer(b"")]
        self.order: dict[str, list[int]] = {}  # flattened values: the [C, H, W] they came from
        self.tensors = {network.input: self.value(network.input)}

    def finish(self) -> bytes:
        network, skip = self.network, False
        for i, node in enumerate(network.nodes):
            if skip:
                skip = False
                continue
            result, following = node.outputs[0], network.nodes[i + 1 : i + 2]
            fusable = node.op in ("Conv", "Gemm", "Add") and network.consumers(result) == 1
            skip = fusable and bool(following) and following[0].op == "Relu"
            if skip:
                result = following[0].outputs[0]
            self.tensors[result] = self.value(result)
            self.add(node, result, int(skip))  # ActivationFunctionType: NONE 0, RELU 1
        if network.output in self.order:
            raise ValueError("a flattened image as the output")
        self.graph.inputs = [self.tensors[network.input]]
        self.graph.outputs = [self.tensors[network.output]]
        self.model.subgraphs = [self.graph]
        builder = importlib.import_module("flatbuffers").Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def buffer(self, data: bytes) -> Any:
        buffer = self.schema.BufferT()
        buffer.data = numpy.frombuffer(data, numpy.uint8) if data else None
        return buffer

    def tensor(self, shape: list[int], kind: str, data: bytes = b"") -> int:
        tensor = self.schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape, tensor.type, tensor.buffer = shape, getattr(self.schema.TensorType, kind), 0
        if data:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(self.buffer(data))
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def value(self, name: str) -> int:
        shape = self.network.shapes[name]
        last = [*shape[1:], shape[0]] if len(shape) == 3 else shape
        return self.tensor([self.batch, *last], "FLOAT32")

    def constant(self, array: Any, kind: str = "FLOAT32") -> int:
        array = numpy.ascontiguousarray(array, "<f4" if kind == "FLOAT32" else "<i4")
        return self.tensor(list(array.shape), kind, array.tobytes())

    def emit(
        self, code: str, inputs: list[int], output: int, options: str = "", **fields: Any
    ) -> None:
        """Append one operator; `options` names its table of the schema, `fields` fill it."""
        entry, operator = self.schema.OperatorCodeT(), self.schema.OperatorT()
        entry.builtinCode = getattr(self.schema.BuiltinOperator, code)
        entry.deprecatedBuiltinCode, entry.version = min(entry.builtinCode, 127), 1
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(entry)
        operator.inputs, operator.outputs = inputs, [output]
        if options:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, options + "T")()
            for name, field in fields.items():
                setattr(operator.builtinOptions, name, field)
        self.graph.operators.append(operator)

    def add(self, node: Node, result: str, activation: int) -> None:
        """Append one node; ValueError if LiteRT has no equal."""
        x, y, weights = self.tensors[node.inputs[0]], self.tensors[result], self.network.weights
        order = self.order.get(node.inputs[0])
        fused = {"fusedActivationFunction": activation}
        if order is not None and node.op not in ("Gemm", "Relu"):
            raise ValueError(f"{result}: the LiteRT adapter has no {node.op} of a flattened image")
        if node.op == "Conv":
            self.convolution(node, x, y, fused)
        elif node.op in ("MaxPool", "AveragePool"):
            self.pool(node, x, y)
        elif node.op in ("GlobalMaxPool", "GlobalAveragePool"):
            code = "REDUCE_MAX" if node.op == "GlobalMaxPool" else "MEAN"
            axes = self.constant([1, 2], "INT32")
            self.emit(code, [x, axes], y, "ReducerOptions", keepDims=True)
        elif node.op == "Gemm":
            w = weights[node.inputs[1]]
            if order is not None:
                w = w.reshape(-1, *order).transpose(0, 2, 3, 1).reshape(len(w), -1)
            inputs = [x, self.constant(w), self.bias(node, len(w))]
            self.emit("FULLY_CONNECTED", inputs, y, "FullyConnectedOptions", **fused)
        elif node.op == "Relu":
            self.emit("RELU", [x], y)
            if order is not None:
                self.order[result] = order
        elif node.op == "Add":
            other = node.inputs[1]
            if other in weights:
                w = weights[other]
                rank = len(self.network.shapes[node.inputs[0]]) + 1
                w = w.reshape((1,) * (rank - w.ndim) + w.shape)
                second = self.constant(w.transpose(0, 2, 3, 1) if rank == 4 else w)
            else:
                second = self.tensors[other]
            if other in self.order:
                raise ValueError(f"{result}: the LiteRT adapter has no Add of a flattened image")
            self.emit("ADD", [x, second], y, "AddOptions", **fused)
        elif node.op == "Softmax" and len(self.network.shapes[result]) == 1:
            self.emit("SOFTMAX", [x], y, "SoftmaxOptions", beta=1.0)
        elif node.op in ("Flatten", "Reshape") and len(self.network.shapes[result]) == 1:
            shape = [self.batch, *self.network.shapes[result]]
            self.emit("RESHAPE", [x, self.constant(shape, "INT32")], y, "ReshapeOptions")
            if len(self.network.shapes[node.inputs[0]]) == 3:
                self.order[result] = self.network.shapes[node.inputs[0]]
        else:
            raise ValueError(f"{result}: the LiteRT adapter has no {node.op} like this")

    def bias(self, node: Node, count: int) -> int:
        has = len(node.inputs) > 2
        return self.constant(self.network.weights[node.inputs[2]] if has else numpy.zeros(count))

    def padded(self, x: int, pads: list[list[int]], fill: float) -> int:
        """The image with `fill` around it: pads are [[top, bottom], [left, right]]."""
        if not any(map(any, pads)):
            return x
        batch, height, width, channels = self.graph.tensors[x].shape
        y = self.tensor([batch, height + sum(pads[0]), width + sum(pads[1]), channels], "FLOAT32")
        widths = self.constant([[0, 0], *pads, [0, 0]], "INT32")
        if fill:
            self.emit("PADV2", [x, widths, self.constant([fill])], y, "PadV2Options")
        else:
            self.emit("PAD", [x, widths], y, "PadOptions")
        return y

    def convolution(self, node: Node, x: int, y: int, fused: dict[str, Any]) -> None:
        _, (sh, sw), (top, left, bottom, right), (dh, dw) = node.window()
        w, group = self.network.weights[node.inputs[1]], node.attrs.get("group", 1)
        x = self.padded(x, [[top, bottom], [left, right]], 0.0)
        fields = {
            "padding": self.schema.Padding.VALID,
            "strideH": sh,
            "strideW": sw,
            "dilationHFactor": dh,
            "dilationWFactor": dw,
            **fused,
        }
        if group > 1 and w.shape[1] == 1:
            inputs = [x, self.constant(w.transpose(1, 2, 3, 0)), self.bias(node, len(w))]
            fields["depthMultiplier"] = len(w) // group
            self.emit("DEPTHWISE_CONV_2D", inputs, y, "DepthwiseConv2DOptions", **fields)
        else:
            inputs = [x, self.constant(w.transpose(0, 2, 3, 1)), self.bias(node, len(w))]
            self.emit("CONV_2D", inputs, y, "Conv2DOptions", **fields)

    def pool(self, node: Node, x: int, y: int) -> None:
        kernel, strides, (top, left, bottom, right), dilations = node.window()
        shape = self.network.shapes[node.inputs[0]][1:]
        out = self.network.shapes[node.outputs[0]][1:]
        pads = []
        for i, (begin, end) in enumerate(((top, bottom), (left, right))):
            reach = (out[i] - 1) * strides[i] + kernel[i]  # ceil mode looks beyond the padding
            pads.append([begin, max(end, reach - begin - shape[i])])
        average = node.op == "AveragePool"
        if dilations != [1, 1] or (average and any(map(any, pads))):
            raise ValueError(f"{node.outputs[0]}: the LiteRT adapter has no {node.op} like this")
        self.emit(
            "AVERAGE_POOL_2D" if average else "MAX_POOL_2D",
            [self.padded(x, pads, float(numpy.finfo(numpy.float32).min))],
            y,
            "Pool2DOptions",
            padding=self.schema.Padding.VALID,
            strideH=strides[0],
            strideW=strides[1],
            filterHeight=kernel[0],
            filterWidth=kernel[1],
        )
