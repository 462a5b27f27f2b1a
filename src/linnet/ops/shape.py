"""The same values under other shapes, and shapes as values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Shape
from ..text import shape_text
from ._lowering import BATCH, Call, Lowering, Refusal, axis_of, of_constants, settled
from ._registry import Operator, nothing
from .map import scaled

_ZERO = np.zeros(1, np.float32)


def reshape(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    """`x` under another shape: 0 keeps the axis unless `allowzero`, one -1 is inferred."""
    sizes = shape.tolist()
    return x.reshape([x.shape[i] if n == 0 and not allowzero else n for i, n in enumerate(sizes)])


def flatten(x: Array, *, axis: int = 1) -> Array:
    """Two axes: those before `axis`, and those from it on."""
    axis = axis if axis == x.ndim else axis % x.ndim
    return x.reshape(math.prod(x.shape[:axis]), -1)


def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Without `axes`, which are of size 1, or without all such."""
    return np.squeeze(x) if axes is None else np.squeeze(x, tuple(axes.tolist()))


def unsqueeze(x: Array, axes: Array) -> Array:
    """With new axes of size 1 at `axes` of the result."""
    return np.expand_dims(x, tuple(axes.tolist()))


def identity(x: Array) -> Array:
    return x


def dropout(
    x: Array, ratio: Array | None = None, training_mode: Array | None = None, *, seed: int = 0
) -> tuple[Array, Array]:
    """The same, and a mask that keeps all, when not training or with a ratio of 0; `seed` is of
    training.
    """
    if _drops(ratio, training_mode):
        raise ValueError("training_mode is set")
    return x, np.ones(x.shape, bool)


def _drops(ratio: Array | None, training_mode: Array | None) -> bool:
    training = training_mode is not None and training_mode.any()
    return bool(training and (ratio is None or ratio.any()))


def shape(x: Array, *, end: int = 1 << 31, start: int = 0) -> Array:
    """The sizes of axes `start` to `end`."""
    return np.array(x.shape[start:end], np.int64)


def size(x: Array) -> Array:
    """How many numbers there are."""
    return np.array(x.size, np.int64)


def span(start: Array, limit: Array, delta: Array) -> Array:
    """Numbers from `start` on, `delta` apart, before `limit`."""
    count = spanned(start, limit, delta)
    wide = start.astype(np.float64) if start.dtype.kind == "f" else start.astype(np.int64)
    steps = np.arange(count) * delta.astype(wide.dtype)
    return np.asarray(wide.reshape(()) + steps.reshape(-1), start.dtype)


def spanned(start: Array, limit: Array, delta: Array) -> int:
    """How many numbers a Range has."""
    first, end, step = (float(a.reshape(()).item()) for a in (start, limit, delta))
    return max(0, math.ceil((end - first) / step))


def nonzero(x: Array) -> Array:
    """Where numbers are not zero: their indices, a row for each axis."""
    return np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1)


def constant_of_shape(shape: Array, *, value: Array = _ZERO) -> Array:
    """`value`, an array of one number, everywhere."""
    return np.broadcast_to(np.array(value.item(), value.dtype), shape.tolist())


def lower_flatten(low: Lowering, call: Call) -> None:
    """Where the batch stays apart."""
    shape, axis = low.shape(call.input(0)), call.attrs["axis"]
    axis = len(shape) if axis == len(shape) else axis_of(axis, len(shape))
    if low.fixed:
        low.reshape(call, call.input(0), (math.prod(shape[:axis]), math.prod(shape[axis:])))
        return
    if axis == 0 or math.prod(shape[1:axis]) != 1:
        raise Refusal(f"axis {axis} of {shape_text(shape)} would join the batch with other axes")
    low.reshape(call, call.input(0), (0, math.prod(shape[1:])))


def lower_reshape(low: Lowering, call: Call) -> None:
    """Where the batch stays apart; the target may be computed from shapes."""
    shape = low.shape(call.input(0))
    target = low.constant(call.input(1), "target shape")
    if target.ndim != 1 or target.size > 8 or (target.size and target.dtype.kind not in "iO"):
        raise Refusal("its target shape is not a vector of at most 8 integers")
    wanted: list[Any] = target.tolist()
    if not wanted:
        low.reshape(call, call.input(0), ())
        return
    if low.fixed:
        low.reshape(call, call.input(0), _resized(shape, wanted, call.attrs["allowzero"]))
        return
    for index, size in enumerate(wanted):
        if size is not BATCH and size == 0:
            if call.attrs["allowzero"] or index >= len(shape):
                raise Refusal(f"target {wanted} of {shape_text(shape)} has an axis of 0")
            wanted[index] = shape[index] if index else BATCH
    first, rest = wanted[0], wanted[1:]  # the first has to be the batch
    mixes = (
        f"target {wanted} of {shape_text(shape)} would join the batch with other axes "
        "or fix its size"
    )
    if any(size is BATCH for size in rest) or rest.count(-1) > 1 or min(rest, default=1) < -1:
        raise Refusal(mixes)
    if first is not BATCH and first < -1:
        raise Refusal(mixes)
    count, known = math.prod(shape[1:]), math.prod(size for size in rest if size != -1)
    if -1 in rest:
        # The batch may only be written as a number if it is the file's own.
        if (first is not BATCH and {first} != low.batches) or known < 1 or count % known:
            raise Refusal(mixes)
        rest[rest.index(-1)] = count // known
    elif known != count:
        raise Refusal(mixes)
    low.reshape(call, call.input(0), (0, *rest))


def _resized(shape: Shape, target: list[int], allowzero: int) -> Shape:
    """What a Reshape to `target` makes of `shape`, all axes alike."""
    sizes = [
        shape[axis] if n == 0 and not allowzero and axis < len(shape) else n
        for axis, n in enumerate(target)
    ]
    known = math.prod(n for n in sizes if n != -1)
    if min(sizes) < -1 or sizes.count(-1) > 1 or known < 1 or math.prod(shape) % known:
        raise Refusal(f"target {target} does not fit {shape_text(shape)}")
    return tuple(math.prod(shape) // known if n == -1 else n for n in sizes)


def lower_squeeze(low: Lowering, call: Call) -> None:
    """Of given axes, not the batch."""
    shape = low.axes(call.input(0))
    if not call.input(1) and not low.fixed:
        raise Refusal("needs a list of axes, since the batch may be 1")
    given = [axis for axis, n in enumerate(shape) if n == 1]
    if call.input(1):
        given = low.integers(call.input(1), "list of axes")
    axes = {axis_of(axis, len(shape)) for axis in given}
    if (0 in axes and not low.fixed) or any(shape[axis] != 1 for axis in axes):
        raise Refusal(f"axes {sorted(axes)} of {shape_text(shape)} cannot be dropped")
    low.reshape(call, call.input(0), tuple(n for axis, n in enumerate(shape) if axis not in axes))


def lower_unsqueeze(low: Lowering, call: Call) -> None:
    """Of axes after the batch."""
    shape = low.axes(call.input(0))
    axes = low.integers(call.input(1), "list of axes")
    rank = len(shape) + len(axes)
    new = {axis_of(axis, rank) for axis in axes}
    if (0 in new and not low.fixed) or len(new) != len(axes):
        raise Refusal(f"axes {axes} cannot be added to {shape_text(shape)}")
    old = iter(shape)
    low.reshape(call, call.input(0), tuple(1 if axis in new else next(old) for axis in range(rank)))


def lower_identity(low: Lowering, call: Call) -> None:
    """Left out."""
    low.shape(call.input(0))
    low.alias[call.output] = call.input(0)


def lower_dropout(low: Lowering, call: Call) -> None:
    """Left out, where nothing is dropped; its mask is true everywhere."""
    x, (y, mask) = call.input(0), (*call.node.outputs, "")[:2]
    training = low.constant(call.input(2), "training_mode") if call.input(2) else None
    ratio = low.constants.get(call.input(1))
    if _drops(ratio, training):
        raise Refusal("training_mode is set")
    low.shape(x)
    if y:
        low.alias[y] = x
    if mask:
        other = call.of(mask)
        real = low.emit(other, "Cast", [x], {"to": ELEMENT_TYPES["bool"]}, "any")
        real = low.emit(other, "Cast", [real], {"to": ELEMENT_TYPES["float32"]}, "number")
        real = scaled(low, other, real, 0, "one", shift=1)
        low.emit(other, "Cast", [real], {"to": ELEMENT_TYPES["bool"]})


def lower_shape(low: Lowering, call: Call) -> None:
    """A constant, but for the batch, with which nothing can be computed."""
    sizes = low.axes(call.input(0))
    dims = [*sizes] if low.fixed else [BATCH, *sizes[1:]]
    array = np.empty(len(dims), object)
    array[:] = dims
    low.constants[call.output] = settled(array[call.attrs["start"] : call.attrs["end"]])


def lower_size(low: Lowering, call: Call) -> None:
    """A constant, but where the batch is free, with which nothing can be computed."""
    first, *rest = low.shape(call.input(0))
    if low.fixed:
        low.constants[call.output] = np.array(first * math.prod(rest), np.int64)
        return
    array = np.empty((), object)
    array[()] = BATCH
    low.constants[call.output] = array


def copied(x: Array, shape: Array, **attrs: Any) -> int:
    return 0 if x.flags.c_contiguous or not any(x.strides) else x.size


def copied_rows(x: Array, *, axis: int = 1) -> int:
    return copied(x, _ZERO)


OPERATORS = (
    Operator("Reshape", reshape, lower_reshape, copied),
    Operator("Flatten", flatten, lower_flatten, copied_rows),
    Operator("Squeeze", squeeze, lower_squeeze, nothing),
    Operator("Unsqueeze", unsqueeze, lower_unsqueeze, nothing),
    Operator("Identity", identity, lower_identity, nothing),
    Operator("Dropout", dropout, lower_dropout, several=True),
    Operator("Shape", shape, lower_shape, nothing),
    Operator("Size", size, lower_size, nothing),
    Operator("Range", span, of_constants, spanned),
    Operator("NonZero", nonzero, of_constants, lambda x: x.ndim * x.size),
    Operator("ConstantOfShape", constant_of_shape, of_constants, nothing),
)
