"""Values that go elsewhere, unchanged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import LONGEST_AXIS, Array
from ..text import shape_text, short
from ._lowering import Call, Lowering, Refusal, axis_of, of_constants
from ._registry import Operator, as_inputs, nothing


def concat(*parts: Array, axis: int) -> Array:
    """The parts one after the other along `axis`."""
    return np.concatenate(parts, axis)


def slice_(
    x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    """x[start:end:step] of each of `axes`, by default the first ones."""
    first, last = starts.tolist(), ends.tolist()
    which = list(range(len(first))) if axes is None or not axes.size else axes.tolist()
    by = [1] * len(first) if steps is None or not steps.size else steps.tolist()
    if not len(first) == len(last) == len(which) == len(by):
        raise ValueError("starts, ends, axes and steps differ in length")
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(which, first, last, by):
        # ONNX clamps an end far below zero to "before the first", for which slices need None.
        index[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(index)]


def gather(data: Array, indices: Array, *, axis: int = 0) -> Array:
    """The entries of `axis` that `indices` name."""
    return np.asarray(np.take(data, indices, axis), data.dtype)


def transpose(x: Array, *, perm: Sequence[int] = ()) -> Array:
    """Axes in the order `perm`, by default reversed."""
    return x.transpose(perm or None)


def pad(
    x: Array,
    pads: Array,
    value: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str = "constant",
) -> Array:
    """`pads` [begin of each of `axes`, then end] more entries; less where they are negative."""
    which = list(range(x.ndim)) if axes is None else axes.tolist()
    widths = [(0, 0)] * x.ndim
    for index, axis in enumerate(which):
        widths[axis] = (int(pads[index]), int(pads[index + len(which)]))
    x = x[tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(widths, x.shape))]
    widths = [(max(begin, 0), max(end, 0)) for begin, end in widths]
    if mode == "constant":
        return np.pad(x, widths, constant_values=0 if value is None else value.item())
    if mode not in ("edge", "reflect", "wrap"):
        raise ValueError(f"mode is {short(mode)}")
    return np.pad(x, widths, mode)  # type: ignore[call-overload,no-any-return]


def lower_concat(low: Lowering, call: Call) -> None:
    """Along the channels."""
    if not call.inputs:
        raise Refusal("has no inputs")
    shapes = [low.shape(name) for name in call.inputs]
    axis = axis_of(call.attrs["axis"], len(shapes[0]))
    if axis == 0:
        raise Refusal("over the batch is not supported")
    if len(shapes) == 1:
        low.alias[call.output] = call.input(0)
    else:
        low.emit(call, "Concat", call.inputs, {"axis": axis})


def lower_transpose(low: Lowering, call: Call) -> None:
    """Of any axes; where only axes of size 1 change places, nothing is moved."""
    shape = low.shape(call.input(0))
    order = call.ints("perm") or list(reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise Refusal(f"{order} is no order of the axes of {shape_text(shape)}")
    if order[0] != 0 and not low.fixed:
        raise Refusal(f"order {order} of {shape_text(shape)} moves the batch")
    moving = [axis for axis in order if shape[axis] != 1]
    if moving == sorted(moving):
        low.reshape(call, call.input(0), tuple(shape[axis] for axis in order))
    else:
        low.emit(call, "Transpose", [call.input(0)], {"perm": order})


def lower_pad(low: Lowering, call: Call) -> None:
    """Zeros around images."""
    shape = low.shape(call.input(0))
    rank = len(shape)
    pads = low.integers(call.input(1), "list of pads")
    axes = list(range(rank))
    if call.input(3):
        axes = [axis_of(axis, rank) for axis in low.integers(call.input(3), "list of axes")]
    fill = low.numbers(call.input(2), "value") if call.input(2) else np.zeros(())
    if call.attrs["mode"] != "constant" or fill.size != 1 or fill.item() != 0:
        raise Refusal("only padding with zeros is supported")
    if rank != 4 or len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise Refusal(f"pads {pads} do not fit {shape_text(shape)}, or not an image [N, C, H, W]")
    begin, end = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        begin[axis], end[axis] = pads[index], pads[index + len(axes)]
    if min(pads) < 0 or max(pads) >= LONGEST_AXIS or any(begin[:2] + end[:2]):
        raise Refusal(f"pads {pads} are negative, or not of height and width")
    if any(pads):
        low.emit(call, "ZeroPad", [call.input(0)], {"pads": begin[2:] + end[2:]})
    else:
        low.alias[call.output] = call.input(0)


def gathered(data: Array, indices: Array, *, axis: int = 0) -> int:
    return int(data.size // max(data.shape[axis], 1) * indices.size)


OPERATORS = (
    Operator("Concat", concat, lower_concat, as_inputs),
    Operator("Slice", slice_, of_constants, nothing),
    Operator("Gather", gather, of_constants, gathered),
    Operator("Transpose", transpose, lower_transpose, nothing),
    Operator("Pad", pad, lower_pad),
)
