"""What Caffe's layers mean, one function for a type; RULES is the table of them, but for those of
_caffe_windows.py and _caffe_functions.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import LONGEST_AXIS, Shape
from ._caffe_functions import channels_of, is_channels, plus, times
from ._caffe_weights import Rule, Weighted
from ._translator import Unsupported

_SUM, _MAX = 1, 2  # of caffe.proto's EltwiseOp
_REDUCTIONS = {1: "ReduceSum", 2: "ReduceL1", 3: "ReduceSumSquare", 4: "ReduceMean"}
_MOST_TILES = 4096  # each is a part of a concatenation

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


def layer_type(layer: Any) -> str:
    kind: str | int = layer.type
    return kind if isinstance(kind, str) else _V1_TYPES[kind]


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first, of a value of `rank` axes."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} does not exist in {rank} axes")
    return axis % rank


def _inner_product(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """All axes from `axis` on become one of num_output."""
    param = layer.inner_product_param
    x, shape = inputs[0], reader.shape(inputs[0])
    axis = axis_of(param.axis, len(shape))
    if not param.num_output or axis == 0:
        raise Unsupported(f"num_output {param.num_output} or axis {param.axis} is not supported")
    matrix: Shape = (param.num_output, math.prod(shape[axis:]))
    stored = matrix[::-1] if param.transpose else matrix
    weight, *bias = reader.blobs(layer, stored, *[(param.num_output,)] * param.bias_term)
    names = [reader.weight(f"{layer.name}.bias", array) for array in bias]
    if axis == 1:
        names.insert(0, reader.weight(f"{layer.name}.weight", weight, param.transpose))
        if len(shape) != 2:
            x = reader.part(layer, "Flatten", [x], axis=1)
        reader.add(layer.name, "Gemm", [x, *names], outputs, transB=1)
        return
    right = reader.weight(f"{layer.name}.weight", weight, not param.transpose)
    if axis < len(shape) - 1:
        x = reader.names.fresh(f"{layer.name}.flat")
        reshaped(reader, layer, inputs, [x], [*shape[:axis], matrix[1]])
    shape = (*shape[:axis], param.num_output)
    y = reader.part(layer, "MatMul", [x, right], shape)
    for name in names:
        y = reader.part(layer, "Add", [y, name], shape)
    reader.finish(layer, y, outputs[0], shape)


def _eltwise(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.eltwise_param
    if param.coeff and (param.operation != _SUM or len(param.coeff) != len(inputs)):
        raise Unsupported(
            f"has {len(param.coeff)} coefficients; a sum may have one for each bottom"
        )
    if param.operation != _SUM:
        op = "Max" if param.operation == _MAX else "Mul"
        x = inputs[0]
        for index, other in enumerate(inputs[1:], 2):
            y = outputs[0]
            output = y if index == len(inputs) else reader.names.fresh(f"{y}.{op.lower()}{index}")
            reader.add(layer.name if output == y else output, op, [x, other], [output])
            x = output
        return
    terms = list(inputs)
    for index, coeff in enumerate(param.coeff):
        if coeff != 1:
            terms[index] = reader.names.fresh(f"{outputs[0]}.term{index}")
            factor = reader.constant(f"{terms[index]}.mul", np.float32(coeff))
            reader.add(terms[index], "Mul", [inputs[index], factor], [terms[index]])
    reader.add(layer.name, "Sum", terms, outputs)


def _concat(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.concat_param
    old = param.HasField("concat_dim")
    if old and param.HasField("axis"):
        raise Unsupported("has both axis and concat_dim")
    axis = param.concat_dim if old else param.axis
    if len(inputs) == 1:  # Caffe shares the blob, whatever the axis
        reader.add(layer.name, "Identity", inputs, outputs)
        return
    axis = axis_of(axis, len(reader.shape(inputs[0])))
    shapes = [_along(reader, x, axis) for x in inputs]
    reader.add(layer.name, "Concat", inputs, outputs, axis=axis)
    if all(len(shape) == len(shapes[0]) for shape in shapes):
        reader.shapes[outputs[0]] = joined(shapes, axis)


def _along(reader: Weighted, x: str, axis: int) -> Shape:
    """A shape, with the batch as the prototxt says where that is the axis that changes."""
    return reader.shape(x) if axis else reader.sizes(x)


def joined(shapes: Sequence[Shape], axis: int) -> Shape:
    size = sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], size, *shapes[0][axis + 1 :])


def _slice(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.slice_param
    old = param.HasField("slice_dim")
    if old and param.HasField("axis"):
        raise Unsupported("has both axis and slice_dim")
    axis = axis_of(param.slice_dim if old else param.axis, len(reader.shape(inputs[0])))
    shape = _along(reader, inputs[0], axis)
    if len(outputs) == 1:  # Caffe shares the blob
        reader.add(layer.name, "Identity", inputs, outputs)
        return
    ends = [*param.slice_point, shape[axis]]
    if not param.slice_point:
        if shape[axis] % len(outputs):
            raise Unsupported(f"{len(outputs)} tops do not divide axis {axis} of {shape[axis]}")
        each = shape[axis] // len(outputs)
        ends = [each * (index + 1) for index in range(len(outputs))]
    sizes = [end - begin for begin, end in zip([0, *ends], ends)]
    if len(sizes) != len(outputs) or min(sizes) < 1:
        raise Unsupported(
            f"slice_point {list(param.slice_point)} does not cut axis {axis} of {shape[axis]} into "
            f"{len(outputs)} parts"
        )
    reader.add(
        layer.name, "Split", [*inputs, reader.integers(layer, "sizes", sizes)], outputs, axis=axis
    )
    for output, size in zip(outputs, sizes):
        reader.shapes[output] = (*shape[:axis], size, *shape[axis + 1 :])


def _crop(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The part of the first bottom that is as large as the second from `axis` on."""
    param = layer.crop_param
    shape, other = (reader.shape(x) for x in inputs)
    first = axis_of(param.axis, len(shape))
    axes = list(range(first, len(shape)))
    offsets = list(param.offset)
    if len(offsets) not in (0, 1, len(axes)) or len(other) != len(shape):
        raise Unsupported(
            f"{len(offsets)} values of offset do not fit axes {first} to {len(shape) - 1} of "
            f"bottoms with {len(shape)} and {len(other)} axes"
        )
    if len(offsets) < 2:
        offsets = (offsets or [0]) * len(axes)
    for axis, offset in zip(axes, offsets):
        if offset + other[axis] > shape[axis]:
            raise Unsupported(
                f"offset {offset} and {other[axis]} are more than axis {axis} has, {shape[axis]}"
            )
    if axes[0] == 0:  # the offset is 0, and both have the same number of images
        axes, offsets = axes[1:], offsets[1:]
    if not axes:
        reader.add(layer.name, "Identity", inputs[:1], outputs)
        return
    # By the size that the second bottom has when the model is loaded.
    size = reader.part(layer, "Shape", inputs[1:], start=axes[0])
    begins = reader.integers(layer, "begins", offsets)
    ends = reader.part(layer, "Add", [size, begins])
    sections = [begins, ends, reader.integers(layer, "axes", axes)]
    reader.add(layer.name, "Slice", [inputs[0], *sections], outputs)
    reader.shapes[outputs[0]] = (*shape[: axes[0]], *other[axes[0] :])


def _mvn(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """Every channel, or image, less its mean, and divided by its deviation."""
    param = layer.mvn_param
    x, shape = inputs[0], reader.shape(inputs[0])
    first = 1 if param.across_channels else 2
    if len(shape) <= first:
        raise Unsupported(f"of {len(shape)} axes is not supported")
    axes = range(first, len(shape))
    y = difference(reader, layer, x, reduced(reader, layer, "Mean", x, axes))
    if param.normalize_variance:
        square = reader.part(layer, "Mul", [y, y])
        variance = reduced(reader, layer, "Mean", square, axes)
        deviation = plus(reader, layer, reader.part(layer, "Sqrt", [variance]), param.eps)
        y = reader.part(layer, "Div", [y, deviation], shape)
    reader.finish(layer, y, outputs[0])


def reduced(reader: Weighted, layer: Any, what: str, x: str, axes: Sequence[int]) -> str:
    """A value with these axes as long as one."""
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(reader.shape(x)))
    names = [x, reader.integers(layer, "axes", axes)]
    return reader.part(layer, f"Reduce{what}", names, shape, keepdims=1)


def difference(reader: Weighted, layer: Any, x: str, y: str) -> str:
    return reader.part(layer, "Sub", [x, y], reader.shape(x))


def _reduction(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """All axes from `axis` on become one number, which is gone as an axis, too."""
    param = layer.reduction_param
    shape = reader.shape(inputs[0])
    axis = axis_of(param.axis, len(shape))
    if axis == 0:
        raise Unsupported("over the batch is not supported")
    axes = reader.integers(layer, "axes", range(axis, len(shape)))
    op = _REDUCTIONS[param.operation]
    y = reader.part(layer, op, [inputs[0], axes], shape[:axis], keepdims=0)
    reader.finish(layer, times(reader, layer, y, param.coeff), outputs[0], shape[:axis])


def _tile(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.tile_param
    if not 1 <= param.tiles <= _MOST_TILES:
        raise Unsupported(f"tiles {param.tiles} is not 1 to {_MOST_TILES}")
    if param.tiles == 1:
        _identity(reader, layer, inputs, outputs)
    else:
        axis = axis_of(param.axis, len(reader.shape(inputs[0])))
        shape = _along(reader, inputs[0], axis)
        reader.add(layer.name, "Concat", inputs * param.tiles, outputs, axis=axis)
        reader.shapes[outputs[0]] = joined([shape] * param.tiles, axis)


def _softmax(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    reader.add(layer.name, "Softmax", inputs, outputs, axis=layer.softmax_param.axis)


def _identity(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    for output in outputs:
        reader.add(layer.name, "Identity", inputs, [output])


def passes_on(layer: Any, kind: str) -> bool:
    """Whether a layer hands its input on as it is."""
    return kind == "Split" or (kind == "Dropout" and layer.dropout_param.scale_train)


def _dropout(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    if passes_on(layer, "Dropout"):
        _identity(reader, layer, inputs, outputs)
        return
    # Forks that did not scale in training make up for it here.
    kept = np.float32(1 - layer.dropout_param.dropout_ratio)
    factor = reader.constant(f"{layer.name}.kept", kept)
    reader.add(layer.name, "Mul", [*inputs, factor], outputs)


def _flatten(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    shape = reader.shape(inputs[0])
    param = getattr(layer, "flatten_param", None)  # `layers` have none
    axes = (param.axis, param.end_axis) if param else (1, -1)
    first, last = (axis + len(shape) if axis < 0 else axis for axis in axes)
    if not 1 <= first <= last < len(shape):
        raise Unsupported(f"axes {first} to {last} of {len(shape)} cannot be joined")
    reshaped(
        reader,
        layer,
        inputs,
        outputs,
        [*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]],
    )


def _reshape(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
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
    reshaped(reader, layer, inputs, outputs, [*shape[:start], *new, *shape[end:]])


def reshaped(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str], target: list[int]
) -> None:
    """Under another shape, one of whose sizes may be -1. A batch that the prototxt writes as a
    number is the batch still, of any size, where it stays apart.
    """
    shape, sizes = reader.shape(inputs[0]), reader.sizes(inputs[0])
    if shape[0] == 0 and target and target[0] == reader.batch:
        target = [0, *target[1:]]
    new = [n or sizes[0] for n in target]
    total, known = math.prod(sizes), math.prod(n for n in new if n != -1)
    if new.count(-1) == 1 and known > 0 and total % known == 0:
        new[new.index(-1)] = total // known
    if min(new, default=0) < 1 or math.prod(new) != total:
        raise Unsupported(f"{list(sizes)} cannot become {target}")
    if max(new) >= LONGEST_AXIS:
        raise Unsupported(f"its output is too large: {new}")
    apart = shape[0] == 0 and new[0] == sizes[0]
    written = [0 if apart else target[0] or new[0], *(n or sizes[0] for n in target[1:])]
    name = reader.integers(layer, "shape", written)
    reader.add(layer.name, "Reshape", [*inputs, name], outputs)
    reader.shapes[outputs[0]] = (0 if apart else new[0], *new[1:])


def normalized(
    reader: Weighted, layer: Any, inputs: list[str], outputs: list[str], **parameters: Any
) -> None:
    """BatchNormalization with the arrays scale, bias, mean, variance in this order, and epsilon."""
    epsilon = parameters.pop("epsilon")
    names = [reader.constant(f"{layer.name}.{what}", array) for what, array in parameters.items()]
    reader.add(layer.name, "BatchNormalization", inputs + names, outputs, epsilon=epsilon)


def _batch_norm(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.batch_norm_param
    if not param.use_global_stats:
        raise Unsupported("use_global_stats: false (statistics of the batch) is not supported")
    c = channels_of(reader, inputs[0])
    mean, variance, factor = reader.blobs(layer, (c,), (c,), (1,))
    # The blobs are running sums; the third says of how much weight.
    scale = 1 / float(factor[0]) if factor[0] else 0.0
    normalized(
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


def _beside(reader: Weighted, layer: Any, inputs: list[str], axis: int) -> str:
    """The second bottom, whose axes are those of the first from `axis` on, with as many axes."""
    shape, other = (reader.shape(name) for name in inputs)
    if axis not in (0, -len(shape)) or shape[: len(other)] != other:
        raise Unsupported(
            f"its bottoms of {list(shape)} and {list(other)} from axis {axis} are not supported; "
            "the second has to begin with the first's axes, the batch included"
        )
    if len(other) == len(shape):
        return inputs[1]
    wide = reader.names.fresh(f"{layer.name}.wide")
    target = [*other, *(1,) * (len(shape) - len(other))]
    reshaped(reader, layer, inputs[1:], [wide], target)
    return wide


def _blob_axes(reader: Weighted, x: str, param: Any) -> tuple[Shape, Shape]:
    """The shape of the parameters that a layer has for some axes of its input, and the one in which
    they broadcast to it.
    """
    shape = reader.shape(x)
    first = axis_of(param.axis, len(shape)) if param.num_axes else len(shape)
    end = len(shape) if param.num_axes == -1 else first + param.num_axes
    if not first <= end <= len(shape):
        raise Unsupported(f"{param.num_axes} axes from axis {first} on are not in {len(shape)}")
    if first == 0:
        raise Unsupported("parameters for every image (axis 0) are not supported")
    return shape[first:end], (*shape[first:end], *(1,) * (len(shape) - end))


def _scale(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    param = layer.scale_param
    if len(inputs) == 2:
        if param.bias_term:
            raise Unsupported("a bias_term beside two bottoms is not supported")
        factor = _beside(reader, layer, inputs, param.axis)
        reader.add(layer.name, "Mul", [inputs[0], factor], outputs)
        return
    of_blob, wide = _blob_axes(reader, inputs[0], param)
    scale, *bias = reader.blobs(layer, of_blob, *[of_blob] * param.bias_term)
    if not is_channels(param.axis, reader.shape(inputs[0])) or len(of_blob) != 1:
        y = inputs[0]
        for what, op, array in zip(("scale", "bias"), ("Mul", "Add"), [scale, *bias]):
            name = reader.constant(f"{layer.name}.{what}", array.reshape(wide))
            y = reader.part(layer, op, [y, name], reader.shape(y))
        reader.finish(layer, y, outputs[0])
        return
    c = len(scale)
    normalized(
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


def _bias(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    if len(inputs) == 2:
        other = _beside(reader, layer, inputs, layer.bias_param.axis)
        reader.add(layer.name, "Add", [inputs[0], other], outputs)
        return
    of_blob, wide = _blob_axes(reader, inputs[0], layer.bias_param)
    (bias,) = reader.blobs(layer, of_blob)
    name = reader.constant(f"{layer.name}.bias", bias.reshape(wide))
    reader.add(layer.name, "Add", [*inputs, name], outputs)


RULES: dict[str, Rule] = {
    "BatchNorm": Rule(_batch_norm),
    "Bias": Rule(_bias, (1, 2)),
    "Concat": Rule(_concat, (1, 1 << 16)),
    "Crop": Rule(_crop, (2, 2)),
    "Dropout": Rule(_dropout),
    "Eltwise": Rule(_eltwise, (2, 64)),
    "Flatten": Rule(_flatten),
    "InnerProduct": Rule(_inner_product),
    "MVN": Rule(_mvn),
    "Reduction": Rule(_reduction),
    "Reshape": Rule(_reshape),
    "Scale": Rule(_scale, (1, 2)),
    "Slice": Rule(_slice, (1, 1), (1, 1 << 16)),
    "Softmax": Rule(_softmax),
    "Split": Rule(_identity, (1, 1), (1, 1 << 16)),
    "Tile": Rule(_tile),
}
