"""Caffe models (https://github.com/BVLC/caffe, version 1.0) to a Graph.

The network is what Caffe builds from the prototxt in its TEST phase, in the form of 2015 (`layer`)
or 2014 (`layers`); the weights are those of the caffemodel's layers of the same names. Layers that
only training and scoring need (losses, Accuracy) are left out. A blob that several layers write in
place has its last writer's value under its name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

from ..graph import LONGEST_AXIS, Array, Graph, Shape
from . import _schema
from ._translator import Translator, Unsupported

# The types of `layers`, by number, as `layer` names them.
_V1_TYPES = [
    "None",
    "Accuracy",
    "BNLL",
    "Concat",
    "Convolution",
    "Data",
    "Dropout",
    "EuclideanLoss",
    "Flatten",
    "HDF5Data",
    "HDF5Output",
    "Im2col",
    "ImageData",
    "InfogainLoss",
    "InnerProduct",
    "LRN",
    "MultinomialLogisticLoss",
    "Pooling",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxWithLoss",
    "Split",
    "TanH",
    "WindowData",
    "Eltwise",
    "Power",
    "SigmoidCrossEntropyLoss",
    "HingeLoss",
    "MemoryData",
    "ArgMax",
    "Threshold",
    "DummyData",
    "Slice",
    "MVN",
    "AbsVal",
    "Silence",
    "ContrastiveLoss",
    "Exp",
    "Deconvolution",
]
_SOURCES = ("Data", "DummyData", "HDF5Data", "ImageData", "MemoryData", "WindowData")
_PASSING = ("Dropout", "Split")
_SINKS = ("Accuracy", "HDF5Output", "Silence")  # and every loss
_AVE, _STOCHASTIC, _SUM, _TRAIN = 1, 2, 1, 0  # of caffe.proto's enums


def read(prototxt: Path, caffemodel: Path | None = None) -> Graph:
    """The graph of a prototxt with the weights of a caffemodel.

    ValueError if a file is damaged, of a form before 2014, or weights are needed and not given.
    Single layers that cannot be translated are left in the graph for passes.canonicalize to report
    together.
    """
    net = _schema.caffe("NetParameter")()
    try:
        text_format.Parse(prototxt.read_bytes().decode(), net, allow_unknown_field=True)
    except MemoryError:
        raise
    except Exception as error:  # ParseError; RecursionError on absurd nesting; UnicodeDecodeError
        reason = str(error).rpartition("': ")[2]  # a ParseError quotes the line, however long
        if isinstance(error, text_format.ParseError) and error.GetLine():
            reason = f"line {error.GetLine()}: {reason}"
        raise ValueError(f"{prototxt}: not a network in Caffe's text form ({reason})") from None
    weights = None if caffemodel is None else _read_weights(caffemodel)
    try:
        return _Reader(prototxt, net, weights, str(caffemodel)).graph
    except UnicodeDecodeError:
        raise ValueError(f"{caffemodel}: a name is not valid UTF-8") from None


def _read_weights(path: Path) -> dict[str, Any]:
    """{layer name: its BlobProtos}."""
    data = path.read_bytes()
    if data.startswith(b"\x89HDF"):
        raise ValueError(f"{path}: weights in HDF5 form are not supported, only binary protobuf")
    net = _schema.parse(_schema.caffe("NetParameter"), data, f"{path}: not a caffemodel")
    layers = _layers(net, path)
    if not layers:
        raise ValueError(f"{path}: not a caffemodel (it has no layers)")
    return {layer.name: layer.blobs for layer in layers if layer.blobs}


def _layers(net: Any, path: Path) -> Sequence[Any]:
    """`layer` or `layers`; both have the same fields as far as they are read here, but for
    `type`.
    """
    if net.layer and net.layers:
        raise ValueError(f"{path}: has both 'layer' and 'layers'")
    if any(layer.HasField("layer") for layer in net.layers):
        raise ValueError(
            f"{path}: is of the form before 2014; Caffe's upgrade_net_proto tools convert it"
        )
    layers: Sequence[Any] = net.layer or net.layers
    return layers


def _type(layer: Any) -> str:
    return layer.type if isinstance(layer.type, str) else _V1_TYPES[layer.type]


def _included(layer: Any) -> bool:
    """Whether the layer exists in the TEST phase, at level 0, with no stages."""

    def met(rule: Any) -> bool:
        phase = not rule.HasField("phase") or rule.phase != _TRAIN
        return phase and rule.min_level <= 0 <= rule.max_level and not rule.stage

    if layer.include:
        return any(map(met, layer.include))
    return not any(map(met, layer.exclude))


class _Reader(Translator):
    """One translation, from the parsed files to `graph`."""

    def __init__(
        self, path: Path, net: Any, weights: dict[str, Any] | None, weights_name: str
    ) -> None:
        self.path = path
        self.weights = weights
        self.weights_name = weights_name
        self.weighted: set[str] = set()  # layers that have asked for their weights
        self.current: dict[str, str] = {}  # blob to the value it holds at this point
        self.tops: list[str] = []  # every layer's values
        self.read: set[str] = set()  # those that a layer has read

        # In place, a layer that passes its input on is not there at all.
        layers = [
            layer
            for layer in _layers(net, path)
            if _included(layer) and not (_type(layer) in _PASSING and layer.top == layer.bottom)
        ]
        super().__init__(net.name, str(path), (blob for layer in layers for blob in layer.top))
        self.names.update(net.input)
        self.writes = Counter(blob for layer in layers for blob in layer.top)  # still to come
        self._net_inputs(net)
        scored: set[str] = set()
        for layer in layers:
            kind = _type(layer)
            if kind in _SINKS or kind.endswith("Loss"):
                scored.update(self.current.get(blob, blob) for blob in layer.bottom)
            else:
                self._layer(layer, kind)
        if weights is None and self.weighted:
            names = ", ".join(sorted(self.weighted)[:8])
            raise ValueError(f"{path}: layers with weights ({names}) need the .caffemodel as well")
        graph = self.graph
        # Labels: nothing but a loss or a score reads them.
        graph.inputs = [v for v in graph.inputs if v.name in self.read or v.name not in scored]
        graph.outputs = [name for name in self.tops if name not in self.read]
        if not graph.outputs:
            raise ValueError(f"{path}: not a network (it has no layers that compute something)")

    def _net_inputs(self, net: Any) -> None:
        shapes = [list(shape.dim) for shape in net.input_shape]
        if not shapes:
            dims = list(net.input_dim)
            shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
        if len(shapes) != len(net.input) or (net.input_dim and len(net.input_dim) % 4):
            raise ValueError(
                f"{self.path}: {len(net.input)} 'input' and {len(shapes)} shapes "
                "(input_shape, or four input_dim each)"
            )
        for blob, dims in zip(net.input, shapes):
            self._declare(blob, dims)

    def _declare(self, blob: str, dims: list[int]) -> None:
        if blob in self.current:
            raise ValueError(f"{self.path}: the input '{blob}' is defined twice")
        if not dims or not 1 <= min(dims) <= max(dims) < LONGEST_AXIS:
            raise ValueError(f"{self.path}: the input '{blob}' has the shape {dims}")
        self.current[blob] = blob
        self.input(blob, dims)

    def _layer(self, layer: Any, kind: str) -> None:
        if kind == "Input":
            shapes = [list(shape.dim) for shape in layer.input_param.shape]
            if len(shapes) not in (1, len(layer.top)):
                raise ValueError(
                    f"{self.path}: layer '{layer.name}' (Input) has {len(shapes)} shapes"
                )
            for index, blob in enumerate(layer.top):
                self.writes[blob] -= 1
                self._declare(blob, shapes[index % len(shapes)])
            return
        inputs = [self.current.get(blob, "") for blob in layer.bottom]
        outputs = []
        for blob in layer.top:
            # The blob's last writer gets its name, unless that is an input's.
            self.writes[blob] -= 1
            last = self.writes[blob] == 0 and self.current.get(blob) != blob
            outputs.append(blob if last else self.names.fresh(f"{blob}.{layer.name}"))
        with self.attempt(kind, layer.name, [value for value in inputs if value], outputs):
            self._translate(layer, kind, inputs, outputs)
        self.tops += outputs
        self.read.update(inputs)
        self.current.update(zip(layer.top, outputs))

    def _translate(self, layer: Any, kind: str, inputs: list[str], outputs: list[str]) -> None:
        for blob, value in zip(layer.bottom, inputs):
            if not value:
                raise Unsupported(f"no layer before it produces its bottom '{blob}'")
        for blob in layer.top:
            if blob in self.current and blob not in layer.bottom:
                raise Unsupported(f"its top '{blob}' is already produced by another layer")
        if kind in _SOURCES:
            raise Unsupported("reads a data set; give the network an Input layer instead")
        if kind not in _TRANSLATE:
            raise Unsupported("layers of this type are not supported")
        least, most, translate = _TRANSLATE[kind]
        if not least <= len(inputs) <= most or not outputs:
            raise Unsupported(f"has {len(inputs)} bottoms and {len(outputs)} tops")
        translate(self, layer, inputs, outputs)

    def blobs(self, layer: Any, *shapes: Shape) -> list[Array]:
        """The layer's weights, one array for each of the shapes."""
        if layer.name in self.weighted:
            raise Unsupported("an earlier layer with weights has the same name")
        self.weighted.add(layer.name)
        if self.weights is None:
            raise Unsupported("")  # said once for all layers
        if layer.name not in self.weights:
            raise Unsupported(f"has no weights in {self.weights_name}")
        blobs = self.weights[layer.name]
        if len(blobs) != len(shapes):
            raise Unsupported(
                f"has {len(blobs)} blobs in {self.weights_name}, expected {len(shapes)}"
            )
        return [
            _array(blob, shape, f"{self.weights_name}: blob {i}")
            for i, (blob, shape) in enumerate(zip(blobs, shapes))
        ]


def _array(blob: Any, shape: Shape, what: str) -> Array:
    """A BlobProto's data in the shape it has to have; axes of 1 in front make no difference."""
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    found = tuple(blob.shape.dim) if blob.HasField("shape") else legacy

    def significant(dims: Shape) -> Shape:
        first = next((i for i, size in enumerate(dims) if size != 1), len(dims))
        return dims[first:]

    if significant(found) != significant(shape):
        raise Unsupported(f"{what} has shape {list(found)}, expected {list(shape)}")
    field = "double_data" if blob.double_data else "data"
    try:
        array = _schema.floats(blob, field, _schema.caffe("BlobProtoUnpacked"), math.prod(shape))
    except ValueError as error:
        raise Unsupported(f"{what} {error}") from None
    return array.reshape(shape)


def _pair(param: Any, name: str, short: str, default: int) -> list[int]:
    """[height, width] of a setting given once, once per axis, or as `short`_h and `short`_w."""
    values = getattr(param, name)
    if isinstance(values, int):
        values = [values] if param.HasField(name) else []
    high, wide = f"{short}_h", f"{short}_w"
    if param.HasField(high) or param.HasField(wide):
        if values:
            raise Unsupported(f"has both {name} and {high} or {wide}")
        values = [getattr(param, key) if param.HasField(key) else default for key in (high, wide)]
    return _per_axis(values, name, default)


def _per_axis(values: Sequence[int], name: str, default: int) -> list[int]:
    if len(values) > 2:
        raise Unsupported(f"has {len(values)} values of {name}; only 2-D windows are supported")
    values = list(values) or [default]
    return values * 2 if len(values) == 1 else values


def _is_channels(axis: int, shape: Shape) -> bool:
    return axis in (1, 1 - len(shape)) and len(shape) > 1


def _convolution(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.convolution_param
    kernel = _pair(param, "kernel_size", "kernel", 0)
    pad = _pair(param, "pad", "pad", 0)
    shape = reader.shape(inputs[0])
    if len(shape) != 4 or not _is_channels(param.axis, shape):
        raise Unsupported(
            f"its input has {len(shape)} axes, channels axis {param.axis}; expected an image"
        )
    group = max(param.group, 1)
    if not param.num_output or 0 in kernel or shape[1] % group:
        raise Unsupported(
            f"num_output {param.num_output}, kernel {kernel} and group {group} do not fit "
            f"{shape[1]} channels"
        )
    weight_shape = (param.num_output, shape[1] // group, *kernel)
    arrays = reader.blobs(layer, weight_shape, *[(param.num_output,)] * param.bias_term)
    names = [
        reader.constant(f"{layer.name}.{what}", a) for what, a in zip(("weight", "bias"), arrays)
    ]
    reader.add(
        layer.name,
        "Conv",
        inputs + names,
        outputs,
        kernel_shape=kernel,
        strides=_pair(param, "stride", "stride", 1),
        pads=pad * 2,
        dilations=_per_axis(param.dilation, "dilation", 1),
        group=group,
    )


def _pooling(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.pooling_param
    if param.pool == _STOCHASTIC:
        raise Unsupported("stochastic pooling is not supported")
    op = "AveragePool" if param.pool == _AVE else "MaxPool"
    if param.global_pooling:
        reader.add(layer.name, f"Global{op}", inputs, outputs)
        return
    kernel = _pair(param, "kernel_size", "kernel", 0)
    strides = _pair(param, "stride", "stride", 1)
    pad = _pair(param, "pad", "pad", 0)
    if 0 in kernel or 0 in strides:
        raise Unsupported(f"kernel {kernel} and stride {strides} have to be positive")
    ceil_mode = 1 - param.round_mode
    for size, k, stride in zip(reader.shape(inputs[0])[2:], kernel, strides):
        # Only if there is padding does Caffe drop a window that would start outside the image.
        if ceil_mode and not any(pad) and k <= size <= -(-(size - k) // stride) * stride:
            raise Unsupported(
                "its last window lies outside the image, what Caffe computes there is undefined"
            )
    attrs = {"kernel_shape": kernel, "strides": strides, "pads": pad * 2, "ceil_mode": ceil_mode}
    if op == "AveragePool":
        attrs["count_include_pad"] = 1
    reader.add(layer.name, op, inputs, outputs, **attrs)


def _inner_product(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.inner_product_param
    shape = reader.shape(inputs[0])
    if not param.num_output or not _is_channels(param.axis, shape):
        raise Unsupported(f"num_output {param.num_output} or axis {param.axis} is not supported")
    matrix: Shape = (param.num_output, math.prod(shape[1:]))
    stored = matrix[::-1] if param.transpose else matrix
    arrays = reader.blobs(layer, stored, *[(param.num_output,)] * param.bias_term)
    if param.transpose:
        arrays[0] = np.ascontiguousarray(arrays[0].T)
    names = [
        reader.constant(f"{layer.name}.{what}", a) for what, a in zip(("weight", "bias"), arrays)
    ]
    if len(shape) != 2:
        flat = reader.names.fresh(f"{outputs[0]}.flat")
        reader.add(flat, "Flatten", inputs, [flat], axis=1)
        inputs = [flat]
    reader.add(layer.name, "Gemm", inputs + names, outputs, transB=1)


def _relu(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    if layer.relu_param.negative_slope != 0:
        raise Unsupported(f"negative_slope {layer.relu_param.negative_slope:g} is not supported")
    reader.add(layer.name, "Relu", inputs, outputs)


def _eltwise(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.eltwise_param
    if param.operation != _SUM:
        raise Unsupported("only the operation SUM is supported")
    if any(coeff != 1 for coeff in param.coeff):
        raise Unsupported("a sum with coefficients is not supported")
    reader.add(layer.name, "Sum", inputs, outputs)


def _concat(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.concat_param
    old = param.HasField("concat_dim")
    if old and param.HasField("axis"):
        raise Unsupported("has both axis and concat_dim")
    axis = param.concat_dim if old else param.axis
    if len(inputs) == 1:  # Caffe shares the blob, whatever the axis
        reader.add(layer.name, "Identity", inputs, outputs)
        return
    reader.add(layer.name, "Concat", inputs, outputs, axis=axis)


def _softmax(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    reader.add(layer.name, "Softmax", inputs, outputs, axis=layer.softmax_param.axis)


def _identity(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    for output in outputs:
        reader.add(layer.name, "Identity", inputs, [output])


def _flatten(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    shape = reader.shape(inputs[0])
    param = getattr(layer, "flatten_param", None)  # `layers` have none
    axes = (param.axis, param.end_axis) if param else (1, -1)
    first, last = (axis + len(shape) if axis < 0 else axis for axis in axes)
    if not 1 <= first <= last < len(shape):
        raise Unsupported(f"axes {first} to {last} of {len(shape)} cannot be joined")
    _reshape_to(
        reader,
        layer,
        inputs,
        outputs,
        [*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]],
    )


def _reshape(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.reshape_param
    shape = reader.shape(inputs[0])
    start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
    end = len(shape) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= end <= len(shape):
        raise Unsupported(
            f"axis {param.axis} and num_axes {param.num_axes} do not fit {len(shape)} axes"
        )
    new = list(param.shape.dim)
    for index, size in enumerate(new):
        if size == 0:
            if start + index >= len(shape):
                raise Unsupported(f"copies axis {start + index}, its input has {len(shape)}")
            new[index] = shape[start + index]
    _reshape_to(reader, layer, inputs, outputs, [*shape[:start], *new, *shape[end:]])


def _reshape_to(
    reader: _Reader, layer: Any, inputs: list[str], outputs: list[str], target: list[int]
) -> None:
    if 0 in target[1:]:
        raise Unsupported("moves the batch to another axis")
    if max(target) >= LONGEST_AXIS:
        raise Unsupported(f"its output is too large: {target}")
    name = reader.constant(f"{outputs[0]}.shape", np.array(target, np.int64))
    reader.add(layer.name, "Reshape", [*inputs, name], outputs)


def _normalize(
    reader: _Reader, layer: Any, inputs: list[str], outputs: list[str], **parameters: Any
) -> None:
    """BatchNormalization with the arrays scale, bias, mean, variance in this order, and epsilon."""
    epsilon = parameters.pop("epsilon")
    names = [reader.constant(f"{layer.name}.{what}", array) for what, array in parameters.items()]
    reader.add(layer.name, "BatchNormalization", inputs + names, outputs, epsilon=epsilon)


def _channels(reader: _Reader, x: str, param: Any = None) -> int:
    """Size of axis 1, the only one the parameters of a layer may belong to."""
    shape = reader.shape(x)
    if len(shape) < 2 or (param and not (_is_channels(param.axis, shape) and param.num_axes == 1)):
        raise Unsupported("only parameters per channel (axis 1) are supported")
    return shape[1]


def _batch_norm(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.batch_norm_param
    if not param.use_global_stats:
        raise Unsupported("use_global_stats: false (statistics of the batch) is not supported")
    c = _channels(reader, inputs[0])
    mean, variance, factor = reader.blobs(layer, (c,), (c,), (1,))
    # The blobs are running sums; the third says of how much weight.
    scale = 1 / float(factor[0]) if factor[0] else 0.0
    _normalize(
        reader,
        layer,
        inputs,
        outputs,
        scale=np.ones(c),
        bias=np.zeros(c),
        mean=mean.astype(np.float64) * scale,
        variance=variance.astype(np.float64) * scale,
        epsilon=param.eps,
    )


def _scale(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.scale_param
    c = _channels(reader, inputs[0], param)
    scale, *bias = reader.blobs(layer, (c,), *[(c,)] * param.bias_term)
    _normalize(
        reader,
        layer,
        inputs,
        outputs,
        scale=scale,
        bias=bias[0] if bias else np.zeros(c),
        mean=np.zeros(c),
        variance=np.ones(c),
        epsilon=0.0,
    )


def _bias(reader: _Reader, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    c = _channels(reader, inputs[0], layer.bias_param)
    (bias,) = reader.blobs(layer, (c,))
    ones = (1,) * (len(reader.shape(inputs[0])) - 2)
    name = reader.constant(f"{layer.name}.bias", bias.reshape(c, *ones))
    reader.add(layer.name, "Add", [*inputs, name], outputs)


_Translation = Callable[[_Reader, Any, list[str], list[str]], None]

# Type: least and most bottoms, translation.
_TRANSLATE: dict[str, tuple[int, int, _Translation]] = {
    "BatchNorm": (1, 1, _batch_norm),
    "Bias": (1, 1, _bias),
    "Concat": (1, 1 << 16, _concat),
    "Convolution": (1, 1, _convolution),
    "Eltwise": (2, 64, _eltwise),
    "Flatten": (1, 1, _flatten),
    "InnerProduct": (1, 1, _inner_product),
    "Pooling": (1, 1, _pooling),
    "ReLU": (1, 1, _relu),
    "Reshape": (1, 1, _reshape),
    "Scale": (1, 1, _scale),
    "Softmax": (1, 1, _softmax),
    **{kind: (1, 1, _identity) for kind in _PASSING},
}
