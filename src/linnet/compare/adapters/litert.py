"""LiteRT (TensorFlow Lite), from its wheel: a .tflite flatbuffer written from the network's data.

XNNPACK runs it, as it does by default. Images arrive channels last, prepared before the clock
starts; a ReLU is fused into the layer before it, as TensorFlow's converter does, and the weights
behind a flatten are permuted to height, width, channel. For int8, AI Edge Quantizer, which is
LiteRT's own, makes integers of that model; the input and the output stay float32.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any, Callable

import numpy

if TYPE_CHECKING:
    from ..worker import Network, Node

# The last wheels for 32-bit ARM bear the old name and were built for NumPy 1.
PACKAGE, VERSION, OTHERS = (
    ("ai-edge-litert", "2.3.0", ["numpy", "ai-edge-quantizer==0.10.0"])
    if sys.maxsize > 1 << 32
    else ("tflite-runtime", "2.14.0", ["numpy<2"])
)
ENVIRONMENT = {
    "kind": "venv",
    "packages": [f"{PACKAGE}=={VERSION}", "flatbuffers==25.12.19", *OTHERS],
    "import": PACKAGE.replace("-", "_") + ".interpreter",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "litert": {
        "what": "LiteRT (TensorFlow Lite) with XNNPACK",
        "on_pi": "runs there, 32-bit as tflite-runtime 2.14",
    },
    "litert-int8": {
        "what": "LiteRT with XNNPACK in int8, quantized by its own quantizer",
        "on_pi": "the same on a 64-bit system; no quantizer for 32 bits",
        "int8": "own",
    },
}

# From TensorFlow's schema.fbs: numbers of enumerators; of each operator its code, its member of
# the union of options, and the options' fields in the order of their slots.
FLOAT32, INT32 = 0, 2
SIGNATURE, INPUT = "serving_default", "x"
SAME, VALID = 0, 1
ACTIVATION = ("Int8", "activation")
STRIDES = (("Int8", "padding"), ("Int32", "stride_w"), ("Int32", "stride_h"))
DILATIONS = (("Int32", "dilation_w"), ("Int32", "dilation_h"))
POOL = (5, (*STRIDES, ("Int32", "filter_w"), ("Int32", "filter_h")))
REDUCER = (27, (("Bool", "keep_dims"),))
OPERATORS: dict[str, tuple[int, tuple[int, tuple[tuple[str, str], ...]]]] = {
    "ADD": (0, (11, (ACTIVATION,))),
    "AVERAGE_POOL_2D": (1, POOL),
    "CONCATENATION": (2, (10, (("Int32", "axis"), ACTIVATION))),
    "CONV_2D": (3, (1, (*STRIDES, ACTIVATION, *DILATIONS))),
    "DEPTHWISE_CONV_2D": (4, (2, (*STRIDES, ("Int32", "multiplier"), ACTIVATION, *DILATIONS))),
    "FULLY_CONNECTED": (9, (8, (ACTIVATION,))),
    "LOCAL_RESPONSE_NORMALIZATION": (
        13,
        (13, (("Int32", "radius"), *(("Float32", name) for name in ("bias", "alpha", "beta")))),
    ),
    "MAX_POOL_2D": (17, POOL),
    "RELU": (19, (0, ())),
    "RESHAPE": (22, (17, ())),
    "SOFTMAX": (25, (9, (("Float32", "beta"),))),
    "PAD": (34, (22, ())),
    "MEAN": (40, REDUCER),
    "PADV2": (60, (43, ())),
    "REDUCE_MAX": (82, REDUCER),
}


class Adapter:
    library = "XNNPACK"

    def __init__(self, litert: Any, threads: int, options: dict[str, Any]) -> None:
        self.version = importlib.metadata.version(PACKAGE)
        self.interpreter, self.threads = litert.Interpreter, threads

    def prepare(self, x: Any) -> Any:
        return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    def load(self, network: Network, batch: int) -> Callable[[Any], Any]:
        content = Writer(network, batch).finish()
        if network.calibration is not None:
            content = self.quantized(content, network.calibration, batch)
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

    def write(self, network: Network, files: list[str]) -> None:
        with open(files[0], "wb") as file:
            file.write(Writer(network, 1).finish())

    def quantized(self, content: bytes, images: Any, batch: int) -> bytes:
        """A model for `batch` images with 8-bit integers inside, as LiteRT's guide has it."""
        if sys.maxsize <= 1 << 32:
            raise ValueError("there is no quantizer for a 32-bit system")
        tool: Any = importlib.import_module("ai_edge_quantizer.quantizer").Quantizer
        recipe: Any = importlib.import_module("ai_edge_quantizer.recipe")
        ends: list[dict[str, Any]] = [
            {"regex": ".*", "operation": name, "algorithm_key": "no_quantize", "op_config": {}}
            for name in ("INPUT", "OUTPUT")
        ]
        quantizer = tool(content, [*recipe.static_wi8_ai8(), *ends])
        numbers = [numpy.arange(i, i + batch) % len(images) for i in range(0, len(images), batch)]
        data = [{INPUT: self.prepare(images[n])} for n in numbers]
        ranges = quantizer.calibrate({SIGNATURE: data}, num_threads=self.threads)
        return bytes(quantizer.quantize(ranges).quantized_model)


class Writer:
    """Translates a network to a .tflite model for one batch size."""

    def __init__(self, network: Network, batch: int) -> None:
        self.network, self.batch = network, batch
        self.buffers = [b""]  # the schema wants the first one empty
        self.shapes: list[tuple[list[int], int, int]] = []  # of each tensor; its type and buffer
        self.operators: list[tuple[str, list[int], int, dict[str, Any]]] = []
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
        return self.flatbuffer()

    def flatbuffer(self) -> bytes:
        """The model's bytes: tables are lists of (type, value) in the order of their slots."""
        size = sum(map(len, self.buffers)) + (1 << 16)
        builder: Any = importlib.import_module("flatbuffers").Builder(size)

        def table(*fields: tuple[str, Any]) -> Any:
            builder.StartObject(len(fields))
            for slot, (kind, value) in enumerate(fields):
                getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
            return "UOffsetTRelative", builder.EndObject()

        def vector(items: list[Any]) -> Any:
            builder.StartVector(4, len(items), 4)
            for item in reversed(items):
                if isinstance(item, tuple):
                    builder.PrependUOffsetTRelative(item[1])
                else:
                    builder.PrependInt32(item)
            return "UOffsetTRelative", builder.EndVector()

        def buffer(data: bytes) -> Any:
            if not data:
                return table()
            builder.Prep(16, len(data))  # the schema's alignment
            return table(("UOffsetTRelative", builder.CreateByteVector(data)))

        def string(text: str) -> Any:
            return "UOffsetTRelative", builder.CreateString(text)

        def operator(
            index: int, code: str, inputs: list[int], output: int, fields: dict[str, Any]
        ) -> Any:
            member, kinds = OPERATORS[code][1]
            options = table(*((kind, fields.get(name, 0)) for kind, name in kinds))
            lists = vector(inputs), vector([output])
            return table(
                ("Uint32", index), *lists, ("Uint8", member), options if member else ("Uint8", 0)
            )

        buffers = vector([buffer(data) for data in self.buffers])
        tensors = vector(
            [
                table(vector(shape), ("Int8", kind), ("Uint32", data), string(f"t{i}"))
                for i, (shape, kind, data) in enumerate(self.shapes)
            ]
        )
        ends = [self.tensors[self.network.input]], [self.tensors[self.network.output]]
        operators = vector([operator(i, *entry) for i, entry in enumerate(self.operators)])
        graph = table(tensors, *map(vector, ends), operators)
        codes = [OPERATORS[entry[0]][0] for entry in self.operators]
        # A code stands twice since they outgrew a byte; all of these fit.
        code_tables = [table(("Int8", c), ("Int8", 0), ("Int32", 1), ("Int32", c)) for c in codes]
        # The quantizer finds inputs by a signature: tensors by name, then the name of the whole.
        maps = [
            vector([table(string(name), ("Uint32", end))])
            for name, (end,) in zip((INPUT, "y"), ends)
        ]
        signatures = vector([table(*maps, string(SIGNATURE))])
        absent = ("UOffsetTRelative", 0)
        parts = [vector(code_tables), vector([graph]), absent, buffers, absent, absent, signatures]
        model = table(("Uint32", 3), *parts)
        builder.Finish(model[1], b"TFL3")
        return bytes(builder.Output())

    def tensor(self, shape: list[int], kind: int, data: bytes = b"") -> int:
        self.shapes.append((shape, kind, len(self.buffers) if data else 0))
        if data:
            self.buffers.append(data)
        return len(self.shapes) - 1

    def value(self, name: str) -> int:
        shape = self.network.shapes[name]
        last = [*shape[1:], shape[0]] if len(shape) == 3 else shape
        return self.tensor([self.batch, *last], FLOAT32)

    def constant(self, array: Any, kind: int = FLOAT32) -> int:
        array = numpy.ascontiguousarray(array, "<f4" if kind == FLOAT32 else "<i4")
        return self.tensor(list(array.shape), kind, array.tobytes())

    def emit(self, code: str, inputs: list[int], output: int, **fields: Any) -> None:
        """Append one operator; `fields` fill its options, others are 0."""
        self.operators.append((code, inputs, output, fields))

    def add(self, node: Node, result: str, activation: int) -> None:
        """Append one node; ValueError if LiteRT has no equal."""
        x, y, weights = self.tensors[node.inputs[0]], self.tensors[result], self.network.weights
        order = self.order.get(node.inputs[0])
        fused = {"activation": activation}
        if order is not None and node.op not in ("Gemm", "Relu"):
            raise ValueError(f"{result}: the LiteRT adapter has no {node.op} of a flattened image")
        if node.op == "Conv":
            self.convolution(node, x, y, fused)
        elif node.op in ("MaxPool", "AveragePool"):
            self.pool(node, x, y)
        elif node.op in ("GlobalMaxPool", "GlobalAveragePool"):
            code = "REDUCE_MAX" if node.op == "GlobalMaxPool" else "MEAN"
            axes = self.constant([1, 2], INT32)
            self.emit(code, [x, axes], y, keep_dims=True)
        elif node.op == "Gemm":
            w = weights[node.inputs[1]]
            if order is not None:
                w = w.reshape(-1, *order).transpose(0, 2, 3, 1).reshape(len(w), -1)
            inputs = [x, self.constant(w), self.bias(node, len(w))]
            self.emit("FULLY_CONNECTED", inputs, y, **fused)
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
            self.emit("ADD", [x, second], y, **fused)
        elif node.op == "LRN" and node.attrs["size"] % 2:
            attrs = node.lrn()
            fields = {name: attrs[name] for name in ("bias", "beta")}
            fields["alpha"] = attrs["alpha"] / attrs["size"]
            self.emit("LOCAL_RESPONSE_NORMALIZATION", [x], y, radius=attrs["size"] // 2, **fields)
        elif node.op == "Concat" and not any(v in self.order for v in node.inputs):
            rank, axis = len(self.network.shapes[result]) + 1, node.attrs["axis"]
            inputs = [self.tensors[v] for v in node.inputs]
            self.emit("CONCATENATION", inputs, y, axis=[0, 3, 1, 2][axis] if rank == 4 else axis)
        elif node.op == "Softmax" and len(self.network.shapes[result]) == 1:
            self.emit("SOFTMAX", [x], y, beta=1.0)
        elif node.op in ("Flatten", "Reshape") and len(self.network.shapes[result]) == 1:
            shape = [self.batch, *self.network.shapes[result]]
            self.emit("RESHAPE", [x, self.constant(shape, INT32)], y)
            image = self.network.shapes[node.inputs[0]]
            if len(image) == 3 and image[1] * image[2] > 1:  # of one pixel both orders are alike
                self.order[result] = image
        else:
            raise ValueError(f"{result}: the LiteRT adapter has no {node.op} like this")

    def bias(self, node: Node, count: int) -> int:
        has = len(node.inputs) > 2
        return self.constant(self.network.weights[node.inputs[2]] if has else numpy.zeros(count))

    def padded(self, x: int, pads: list[list[int]], fill: float) -> int:
        """The image with `fill` around it: pads are [[top, bottom], [left, right]]."""
        if not any(map(any, pads)):
            return x
        batch, height, width, channels = self.shapes[x][0]
        y = self.tensor([batch, height + sum(pads[0]), width + sum(pads[1]), channels], FLOAT32)
        widths = self.constant([[0, 0], *pads, [0, 0]], INT32)
        if fill:
            self.emit("PADV2", [x, widths, self.constant([fill])], y)
        else:
            self.emit("PAD", [x, widths], y)
        return y

    def convolution(self, node: Node, x: int, y: int, fused: dict[str, Any]) -> None:
        _, (sh, sw), (top, left, bottom, right), (dh, dw) = node.window()
        w, group = self.network.weights[node.inputs[1]], node.attrs.get("group", 1)
        x = self.padded(x, [[top, bottom], [left, right]], 0.0)
        fields = {
            "padding": VALID,
            "stride_h": sh,
            "stride_w": sw,
            "dilation_h": dh,
            "dilation_w": dw,
            **fused,
        }
        if group > 1 and w.shape[1] == 1:
            inputs = [x, self.constant(w.transpose(1, 2, 3, 0)), self.bias(node, len(w))]
            fields["multiplier"] = len(w) // group
            self.emit("DEPTHWISE_CONV_2D", inputs, y, **fields)
        else:
            inputs = [x, self.constant(w.transpose(0, 2, 3, 1)), self.bias(node, len(w))]
            self.emit("CONV_2D", inputs, y, **fields)

    def pool(self, node: Node, x: int, y: int) -> None:
        kernel, strides, (top, left, bottom, right), dilations = node.window()
        shape = self.network.shapes[node.inputs[0]][1:]
        out = self.network.shapes[node.outputs[0]][1:]
        pads = []
        for i, (begin, end) in enumerate(((top, bottom), (left, right))):
            reach = (out[i] - 1) * strides[i] + kernel[i]  # ceil mode looks beyond the padding
            pads.append([begin, max(end, reach - begin - shape[i])])
        average, padding = node.op == "AveragePool", VALID
        if pads_itself(shape, out, strides, pads) and not (average and any((bottom, right))):
            pads, padding = [[0, 0], [0, 0]], SAME
        if dilations != [1, 1] or (average and any(map(any, pads))):
            raise ValueError(f"{node.outputs[0]}: the LiteRT adapter has no {node.op} like this")
        self.emit(
            "AVERAGE_POOL_2D" if average else "MAX_POOL_2D",
            [self.padded(x, pads, float(numpy.finfo(numpy.float32).min))],
            y,
            padding=padding,
            stride_h=strides[0],
            stride_w=strides[1],
            filter_h=kernel[0],
            filter_w=kernel[1],
        )


def pads_itself(
    shape: list[int], out: list[int], strides: list[int], pads: list[list[int]]
) -> bool:
    """Whether padding SAME is this: a row and a column at the end at most, which count nowhere."""
    sizes = zip(shape, out, strides, pads)
    return all(o == -(-i // s) and not begin and end <= 1 for i, o, s, (begin, end) in sizes)
