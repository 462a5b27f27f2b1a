"""Values that go elsewhere, unchanged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..graph import LONGEST_AXIS, Array, Shape
from ..text import shape_text, short
from ._lowering import Call, Lowering, Refusal, axis_of
from ._registry import Operator, as_inputs, nothing

MOST_RUNS = 64


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
    for shape in shapes:
        if (*shape[:axis], *shape[axis + 1 :]) != (*shapes[0][:axis], *shapes[0][axis + 1 :]):
            both = f"{shape_text(shapes[0])} and {shape_text(shape)}"
            raise Refusal(f"inputs {both} differ in other axes than {axis}")
    if len(shapes) == 1:
        low.alias[call.output] = call.input(0)
    elif axis == 1 and len(shapes[0]) <= 4:
        low.emit(call, "Concat", call.inputs, {"axis": 1})
    else:
        concat_channels(low, call, shapes, axis)


def concat_channels(low: Lowering, call: Call, shapes: Sequence[Shape], axis: int) -> None:
    """Along another axis: as channels, with the axes before it behind them meanwhile."""
    rank = len(shapes[0])
    if rank <= 4:
        order = [0, axis, *(other for other in range(1, rank) if other != axis)]
        parts = [
            transposed(low, call, name, order, f"part{i}") for i, name in enumerate(call.inputs)
        ]
        whole = low.emit(call, "Concat", parts, {"axis": 1}, "whole")
        transposed(low, call, whole, [order.index(other) for other in range(rank)])
        return
    before, after = math.prod(shapes[0][1:axis]), math.prod(shapes[0][axis + 1 :])
    parts = []
    for index, (name, shape) in enumerate(zip(call.inputs, shapes)):
        flat = low.reshape(call, name, (shape[0], before, shape[axis], after), f"flat{index}")
        parts.append(transposed(low, call, flat, (0, 2, 1, 3), f"part{index}"))
    whole = low.emit(call, "Concat", parts, {"axis": 1}, "whole")
    y = transposed(low, call, whole, (0, 2, 1, 3), "back")
    low.reshape(call, y, (*shapes[0][:axis], low.shape(whole)[1], *shapes[0][axis + 1 :]))


def transposed(low: Lowering, call: Call, x: str, order: Sequence[int], step: str = "") -> str:
    """A value with its axes in this order; under another shape where that moves nothing."""
    shape = low.shape(x)
    new = tuple(shape[axis] for axis in order)
    moving = [axis for axis in order if axis and shape[axis] != 1]
    # What is open may move to other places, which a Reshape cannot say of two sizes.
    if moving == sorted(moving) and not low.graph.example:
        return low.reshape(call, x, new, step)
    return low.emit(call, "Transpose", [x], {"perm": list(order)}, step)


def lower_transpose(low: Lowering, call: Call) -> None:
    """Of any axes; where only axes of size 1 change places, nothing is moved."""
    shape = low.shape(call.input(0))
    order = call.ints("perm") or list(reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise Refusal(f"{order} is no order of the axes of {shape_text(shape)}")
    if order[0] != 0 and not low.fixed:
        raise Refusal(f"order {order} of {shape_text(shape)} moves the batch")
    moving = [axis for axis in order if shape[axis] != 1]
    if moving == sorted(moving) and not low.graph.example:
        low.reshape(call, call.input(0), tuple(shape[axis] for axis in order))
    else:
        low.emit(call, "Transpose", [call.input(0)], {"perm": order})


def lower_slice(low: Lowering, call: Call) -> None:
    """Of any axis but the batch, by constants, forwards."""
    shape = low.shape(call.input(0))
    starts = low.integers(call.input(1), "list of starts")
    ends = low.integers(call.input(2), "list of ends")
    axes = list(range(len(starts)))
    if call.input(3):
        axes = low.integers(call.input(3), "list of axes")
    steps = low.integers(call.input(4), "list of steps") if call.input(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Refusal("starts, ends, axes and steps differ in length")
    axes = [axis_of(axis, len(shape)) for axis in axes]
    sections = []
    for axis, start, end, step in zip(axes, starts, ends, steps):
        if step < 1:
            raise Refusal(f"step {step}: only positive ones are supported")
        batch = axis == 0 and not low.fixed
        if batch and ((start, step) != (0, 1) or end < LONGEST_AXIS - 1):
            raise Refusal("the batch cannot be cut")
        first, last, _ = slice(start, end, step).indices(shape[axis])
        if not batch and last <= first:
            raise Refusal(f"nothing is left of axis {axis} of {shape_text(shape)}")
        if not batch and (first, last, step) != (0, shape[axis], 1):
            # Of a size that is left open, the places count from whichever end the file means.
            if low.graph.example:
                first, last = start, LONGEST_AXIS if last == shape[axis] else end
            sections.append((axis, first, last, step))
    slice_of(low, call, call.input(0), sections)


def slice_of(
    low: Lowering, call: Call, x: str, sections: Sequence[tuple[int, int, int, int]], step: str = ""
) -> str:
    """What `sections`, (axis, first, end, step) of axes of their own, leave of a value."""
    if not sections:
        if not step:
            low.alias[call.output] = x
        return x
    output = f"{call.output}.{step}" if step else call.output
    lists = [np.array(values, np.int64) for values in zip(*sections)]
    inputs = [
        low.add_constant(f"{output}.{name}", lists[place])
        for name, place in (("starts", 1), ("ends", 2), ("axes", 0), ("steps", 3))
    ]
    return low.emit(call, "Slice", [x, *inputs], {}, step)


def blocks_to_pixels(
    low: Lowering, call: Call, x: str, sizes: tuple[int, int, int, int], step: str = ""
) -> str:
    """An image whose channels are (g, p, q, f), of these sizes, as one with channels (g, f), p
    times as high and q times as wide.
    """
    batch, _, height, width = low.shape(x)
    g, p, q, f = sizes
    if not low.graph.example:
        x = low.reshape(call, x, (batch, g, p, q, f, height, width), "split")
        x = transposed(low, call, x, (0, 1, 4, 5, 2, 6, 3), "placed")
        return low.reshape(call, x, (batch, g * f, height * p, width * q), step)
    # The same, but no Reshape changes more than one size that is open, nor its place.
    x = transposed(low, call, x, (0, 2, 3, 1), "last")
    x = low.reshape(call, x, (batch, height, width, g, p, q, f), "split")
    x = transposed(low, call, x, (0, 1, 4, 2, 5, 3, 6), "placed")
    x = low.reshape(call, x, (batch, height, p, width * q, g * f), "wide")
    x = transposed(low, call, x, (0, 3, 1, 2, 4), "turned")
    x = low.reshape(call, x, (batch, width * q, height * p, g * f), "high")
    return transposed(low, call, x, (0, 3, 2, 1), step)


def split(
    x: Array, sizes: Array | None = None, *, axis: int = 0, num_outputs: int = 0
) -> tuple[Array, ...]:
    """Parts of an axis, of these sizes; else `num_outputs` equal ones, of which the last is shorter
    where that does not divide.
    """
    if sizes is None:
        each = -(-x.shape[axis] // num_outputs)
        return tuple(np.split(x, range(each, x.shape[axis], each), axis))
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def lower_split(low: Lowering, call: Call) -> None:
    """A slice for every output that is used."""
    x, outputs = call.input(0), call.node.outputs
    shape = low.shape(x)
    axis = axis_of(call.attrs["axis"], len(shape))
    if axis == 0 and not low.fixed:
        raise Refusal("the batch cannot be cut")
    size = shape[axis]
    if call.input(1):
        sizes = low.integers(call.input(1), "sizes")
    else:
        each = -(-size // (call.attrs["num_outputs"] or len(outputs)))
        sizes = [min(each, size - first) for first in range(0, size, each)]
    if len(sizes) != len(outputs) or sum(sizes) != size or min(sizes) < 1:
        raise Refusal(f"sizes {sizes} are not {len(outputs)} parts of axis {axis} of {size}")
    first = 0
    for output, length in zip(outputs, sizes):
        if output:
            part = Call(replace(call.node, outputs=[output]), call.inputs, call.attrs)
            slice_of(low, part, x, [] if length == size else [(axis, first, first + length, 1)])
        first += length


def lower_gather(low: Lowering, call: Call) -> None:
    """Of any axis but the batch, by constants: slices of it."""
    x = call.input(0)
    shape = low.shape(x)
    indices = low.constant(call.input(1), "indices")
    if indices.dtype.kind not in "iu" or not indices.size:
        raise Refusal("its indices are not integers, or none")
    low.spend(indices.size)
    axis = axis_of(call.attrs["axis"], len(shape))
    if axis == 0 and not low.fixed:
        raise Refusal("the batch cannot be cut")
    size = shape[axis]
    places = [int(i) + size * (i < 0) for i in indices.ravel()]
    if min(places) < 0 or max(places) >= size:
        raise Refusal(f"its indices are not those of axis {axis} of {shape_text(shape)}")
    runs: list[list[int]] = []
    for place in places:
        run = runs[-1] if runs else []
        if run and place > run[-1] and (len(run) == 1 or place - run[-1] == run[1] - run[0]):
            run.append(place)
        else:
            runs.append([place])
    if len(runs) > MOST_RUNS:
        raise Refusal(f"indices of {len(runs)} slices, more than {MOST_RUNS}, are not supported")
    target = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    parts = []
    for index, run in enumerate(runs):
        by = run[1] - run[0] if len(run) > 1 else 1
        whole = (run[0], run[-1], by) == (0, size - 1, 1)
        sections = [] if whole else [(axis, run[0], run[-1] + 1, by)]
        last = len(runs) == 1 and target == (*shape[:axis], len(places), *shape[axis + 1 :])
        parts.append(slice_of(low, call, x, sections, "" if last else f"part{index}"))
    if len(runs) > 1:
        node = replace(call.node, outputs=[low.names.fresh(f"{call.output}.joined")])
        joined = Call(node, parts, {"axis": axis})
        lower_concat(low, joined)
        parts = [low.alias.get(joined.output, joined.output)]
        low.reshape(call, parts[0], target)
    elif not last:
        low.reshape(call, parts[0], target)


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
    Operator("Slice", slice_, lower_slice, nothing),
    Operator("Split", split, lower_split, nothing, several=True),
    Operator("Gather", gather, lower_gather, gathered),
    Operator("Transpose", transpose, lower_transpose, nothing),
    Operator("Pad", pad, lower_pad),
)
