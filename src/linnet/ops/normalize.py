"""Values made comparable to their neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..graph import ELEMENT_TYPES, Array, Shape
from ..text import shape_text
from . import _lifting
from ._broadcast import MOST_AXES, arithmetic, pointwise
from ._lowering import Call, Lowering, Refusal, axis_beside_batch, axis_of
from ._registry import Operator
from .map import scaled
from .reduce import log_sum_exp, over_axes


def softmax(x: Array, *, axis: int = -1, coerce: int = 0) -> Array:
    """exp(x) scaled to the sum 1 along `axis`; x is shifted by its maximum lest it overflow.

    coerce: along `axis` and all axes after it, as it was before opset 13.
    """
    if coerce:
        flat = x.reshape(*x.shape[: axis % x.ndim], -1)
        return softmax(flat).reshape(x.shape)
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def lrn(
    x: Array, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Array:
    """x / (bias + alpha * mean)^beta, of the squares of `size` neighbouring channels; those there
    are not count as zeros.
    """
    before = (size - 1) // 2
    edge = [(0, 0), (before, size - 1 - before)] + [(0, 0)] * (x.ndim - 2)
    total = sliding_window_view(np.pad(x * x, edge), size, 1).sum(-1)
    return np.asarray(x / (bias + alpha / size * total) ** beta)


def lower_softmax(low: Lowering, call: Call) -> None:
    """Along any axis but the batch."""
    shape = low.shape(call.input(0))
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    coerce = call.attrs["coerce"] and math.prod(shape[axis + 1 :]) > 1
    if not coerce and len(shape) <= MOST_AXES:
        low.emit(call, "Softmax", [call.input(0)], {"axis": axis})
        return
    before = shape[:axis] if axis < MOST_AXES - 1 else (shape[0], math.prod(shape[1:axis]))
    rest = (math.prod(shape[axis:]),) if coerce else (shape[axis], math.prod(shape[axis + 1 :]))
    flat = low.reshape(call, call.input(0), (*before, *rest), "flat")
    y = low.emit(call, "Softmax", [flat], {"axis": len(before)}, "softmax")
    low.reshape(call, y, shape)


def log_softmax(x: Array, *, axis: int = -1, coerce: int = 0) -> Array:
    """The logarithm of a Softmax, where that is 0 too."""
    if coerce:
        flat = x.reshape(*x.shape[: axis % x.ndim], -1)
        return log_softmax(flat).reshape(x.shape)
    less = x - x.max(axis, keepdims=True)
    return np.asarray(less - np.log(np.exp(less).sum(axis, keepdims=True)))


def hardmax(x: Array, *, axis: int = -1, coerce: int = 0) -> Array:
    """1 where along `axis` the first of the largest numbers is, 0 elsewhere."""
    if coerce:
        flat = x.reshape(*x.shape[: axis % x.ndim], -1)
        return hardmax(flat).reshape(x.shape)
    y = np.zeros_like(x)
    np.put_along_axis(y, x.argmax(axis, keepdims=True), 1, axis)
    return y


def _standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """Less the mean, over the root of the variance + epsilon; the mean; one over that root."""
    mean = x.mean(axes, keepdims=True)
    factor = 1 / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + epsilon)
    return np.asarray((x - mean) * factor), mean, factor


def layer_normalization(
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[Array, Array, Array]:
    """Over all axes from `axis` on; `stash_type` is of the precision meanwhile."""
    y, mean, factor = _standardized(x, tuple(range(axis % x.ndim, x.ndim)), epsilon)
    return np.asarray(y * scale + (0 if bias is None else bias), x.dtype), mean, factor


def instance_normalization(x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """Each channel of each image."""
    y = _standardized(x, tuple(range(2, x.ndim)), epsilon)[0]
    scale, bias = (p.reshape(-1, *(1,) * (x.ndim - 2)) for p in (scale, bias))
    return np.asarray(y * scale + bias)


def group_normalization(
    x: Array,
    scale: Array,
    bias: Array,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,
) -> Array:
    """Each group of channels of each image; scale and bias of each channel, or of each group as
    before opset 21.
    """
    y = _standardized(x.reshape(len(x), num_groups, -1), (2,), epsilon)[0].reshape(x.shape)
    scale, bias = (
        np.repeat(p, x.shape[1] // p.size).reshape(-1, *(1,) * (x.ndim - 2)) for p in (scale, bias)
    )
    return np.asarray(y * scale + bias, x.dtype)


def lp_normalization(x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """Divided by the sum of magnitudes along `axis`, or the root of the sum of squares; 0 / 0 is
    0.
    """
    if p not in (1, 2):
        raise ValueError(f"p is {p}")
    total = (np.abs(x) if p == 1 else x * x).sum(axis, keepdims=True)
    norm = total if p == 1 else np.sqrt(total)
    return np.asarray(x / np.where(norm == 0, 1, norm))


def mean_variance_normalization(x: Array, *, axes: Sequence[int] = (0, 2, 3)) -> Array:
    """Less the mean, over the root of the variance, plus a little."""
    mean = x.mean(tuple(axes), keepdims=True)
    deviation = np.sqrt((x * x).mean(tuple(axes), keepdims=True) - mean**2)
    return np.asarray((x - mean) / (deviation + 1e-9), x.dtype)


def lower_hardmax(low: Lowering, call: Call) -> None:
    """Along any axis but the batch: the places that are the largest number's."""
    shape = low.shape(call.input(0))
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    before, after = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
    sizes = (
        (before, shape[axis] * after, 1) if call.attrs["coerce"] else (before, shape[axis], after)
    )
    flat = low.reshape(call, call.input(0), (shape[0], *sizes), "flat")
    attrs = {"axis": 2, "keepdims": 1, "select_last_index": 0}
    places = low.emit(call, "ArgMax", [flat], attrs, "places")
    number = low.emit(call, "Cast", [places], {"to": ELEMENT_TYPES["float32"]}, "number")
    low.reshape(call, one_hot_of(low, call, number, (2, sizes[1]), "hot"), shape)


def one_hot_of(low: Lowering, call: Call, x: str, axis: tuple[int, int], step: str) -> str:
    """1 at the place along an axis, (which, how long), that whole numbers name, which have 1
    there; 0 elsewhere.
    """
    which, length = axis
    places = np.arange(length, dtype=np.float32).reshape(
        [length if i == which else 1 for i in range(len(low.shape(x)))]
    )
    low.spend(length, 4)
    constant = low.add_constant(f"{call.output}.{step}.places", places)
    less = arithmetic(low, call, "Sub", (x, constant), f"{step}.less")
    limits = [
        low.add_constant(f"{call.output}.{step}.limit", np.array(n, np.float32)) for n in (0, 1)
    ]
    far = pointwise(low, call, "Abs", [less], step=f"{step}.distance")
    far = pointwise(low, call, "Clip", [far, *limits], step=f"{step}.far")
    return scaled(low, call, far, -1, step, shift=1)


def lower_log_softmax(low: Lowering, call: Call) -> None:
    """Along any axis but the batch."""
    x = call.input(0)
    shape = low.shape(x)
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    after = math.prod(shape[axis + 1 :])
    if len(shape) <= 4 and (not call.attrs["coerce"] or after == 1):
        log_sum_exp(low, call, x, [axis], keep=False)
        return
    last = (shape[axis] * after, 1) if call.attrs["coerce"] else (shape[axis], after)
    flat = low.reshape(call, x, (shape[0], math.prod(shape[1:axis]), *last), "flat")
    y = log_sum_exp(low, call, flat, [2], "softmax", keep=False)
    low.reshape(call, y, shape)


def _standardize(
    low: Lowering, call: Call, x: str, axes: Sequence[int], step: str = "", *, least: float = 0
) -> tuple[str, str, str]:
    """A value of at most four axes less its mean over some, over the root of its variance, to which
    `epsilon` is added before, or `least` after; that mean and that root.
    """
    mean = over_axes(low, call, "Mean", (x, axes), "mean")
    less = arithmetic(low, call, "Sub", (x, mean), "less")
    epsilon = call.attrs.get("epsilon", 0.0)
    if low.graph.example:  # of as many numbers as there will be
        squares = arithmetic(low, call, "Mul", (less, less), "each")
        squares = over_axes(low, call, "Mean", (squares, axes), "squares")
        count = 1
    else:
        squares = over_axes(low, call, "SumSquare", (less, axes), "squares")
        count = math.prod(low.shape(x)[axis] for axis in axes)
    variance = scaled(low, call, squares, 1 / count, "variance", shift=epsilon)
    root = pointwise(low, call, "Sqrt", [variance], step="deviation")
    if least:
        root = scaled(low, call, root, 1, "divisor", shift=least)
    return arithmetic(low, call, "Div", (less, root), step), mean, root


def lower_layer_normalization(low: Lowering, call: Call) -> None:
    """Over axes after the batch."""
    x = call.input(0)
    shape = low.shape(x)
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    parameters = []
    for index, what in enumerate(("scale", "bias"), 1):
        if call.input(index) or index == 1:
            array = low.numbers(call.input(index), what)
            trailing = (1,) * (len(shape) - axis - array.ndim) + array.shape
            fits = len(trailing) == len(shape) - axis
            if not fits or any(n not in (1, size) for n, size in zip(trailing, shape[axis:])):
                raise Refusal(f"its {what} {list(array.shape)} does not fit {shape_text(shape)}")
            parameters.append(low.weight(call.input(index), what))
    high = len(shape) > 4
    if high:
        if any(low.constants[name].shape != shape[axis:] for name in parameters):
            raise Refusal(f"of {shape_text(shape)} with parameters that broadcast is not supported")
        flat = (shape[0], math.prod(shape[1:axis]), math.prod(shape[axis:]))
        x = low.reshape(call, x, flat, "flat")
        parameters = [low.weight(name, "scale", "flat", np.ravel) for name in parameters]
    axes = [2] if high else list(range(axis, len(shape)))
    y, mean, root = _standardize(low, call, x, axes, "standard")
    last = "result" if high else ""
    y = arithmetic(low, call, "Mul", (y, parameters[0]), "scaled" if parameters[1:] else last)
    if parameters[1:]:
        y = arithmetic(low, call, "Add", (y, parameters[1]), last)
    if high:
        low.reshape(call, y, shape)
    kept = (*shape[:axis], *(1,) * (len(shape) - axis))
    for output, value in zip(call.node.outputs[1:], (mean, root)):
        if output:
            part = Call(replace(call.node, outputs=[output]), [value], call.attrs)
            step = "each" if high else ""
            result = (
                pointwise(low, part, "Reciprocal", [root], step=step) if value == root else mean
            )
            if result != output:
                low.reshape(part, result, kept)


def lower_group_normalization(low: Lowering, call: Call) -> None:
    """Of arrays with channels; an instance's groups are its channels."""
    x = call.input(0)
    shape = low.shape(x)
    groups = call.attrs.get("num_groups", shape[1] if len(shape) > 1 else 0)
    if len(shape) < 3 or groups < 1 or shape[1] % groups:
        raise Refusal(f"{groups} groups do not fit {shape_text(shape)}")
    parameters = []
    for index, what in enumerate(("scale", "bias"), 1):
        array = low.numbers(call.input(index), what)
        if array.ndim != 1 or array.size not in (groups, shape[1]):
            raise Refusal(f"its {what} {list(array.shape)} does not fit {shape_text(shape)}")
        low.spend(shape[1])
        parameters.append(np.repeat(array.astype(np.float64), shape[1] // array.size))
    flat: Shape = (shape[0], groups, math.prod(shape[1:]) // groups)
    if len(shape) == 4:  # so that no more than one size changes that may be open
        flat = (shape[0], groups, shape[1] // groups * shape[2], shape[3])
    part = low.reshape(call, x, flat, "groups")
    y, _, _ = _standardize(low, call, part, list(range(2, len(flat))), "standard")
    y = low.reshape(call, y, shape, "channels")
    low.emit(call, "Affine", [y], {"scale": parameters[0], "shift": parameters[1]})


def lower_lp_normalization(low: Lowering, call: Call) -> None:
    """Along any axis but the batch, with p of 1 or 2, of up to four axes."""
    x, p = call.input(0), call.attrs["p"]
    shape = low.shape(x)
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    if p not in (1, 2):
        raise Refusal(f"p={p} is not supported")
    norm = over_axes(low, call, "L1" if p == 1 else "SumSquare", (x, [axis]), "sum")
    if p == 2:
        norm = pointwise(low, call, "Sqrt", [norm], step="root")
    # 1 more where it is 0, which a sign says: else 0 / 0 were NaN.
    sign = pointwise(low, call, "Sign", [norm], step="sign")
    zero = scaled(low, call, sign, -1, "zero", shift=1)
    norm = arithmetic(low, call, "Add", (norm, zero), "norm")
    arithmetic(low, call, "Div", (x, norm))


def lower_mean_variance_normalization(low: Lowering, call: Call) -> None:
    """Over axes after the batch, of up to four."""
    shape = low.shape(call.input(0))
    axes = sorted({axis_of(axis, len(shape)) for axis in call.ints("axes")})
    if not axes or axes[0] == 0:
        raise Refusal("over the batch is not supported")
    _standardize(low, call, call.input(0), axes, least=1e-9)


OPERATORS = (
    Operator("Softmax", softmax, lower_softmax, lift=_lifting.axis),
    Operator("LogSoftmax", log_softmax, lower_log_softmax, lift=_lifting.axis),
    Operator("Hardmax", hardmax, lower_hardmax, lift=_lifting.axis),
    Operator("LRN", lrn, None),
    Operator(
        "LayerNormalization",
        layer_normalization,
        lower_layer_normalization,
        several=True,
        lift=_lifting.axis,
    ),
    Operator("InstanceNormalization", instance_normalization, lower_group_normalization),
    Operator("GroupNormalization", group_normalization, lower_group_normalization),
    Operator("LpNormalization", lp_normalization, lower_lp_normalization, lift=_lifting.axis),
    Operator(
        "MeanVarianceNormalization",
        mean_variance_normalization,
        lower_mean_variance_normalization,
        lift=_lifting.axes_attribute,
    ),
)
