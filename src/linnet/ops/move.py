"""Values that go elsewhere, unchanged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import LONGEST_AXIS, Array
from ..text import shape_text, short
from . import _lifting
from ._broadcast import arithmetic
from ._lowering import BATCH, Call, Lowering, Mixes, Refusal, axis_beside_batch, axis_of
from ._moving import backwards, blocks_to_pixels, joined, repeated, slice_of
from ._registry import Operator, as_inputs, nothing
from ._turned import transposed


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


def depth_to_space(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Channels as blocks of pixels; in mode CRD, those of one block are neighbours."""
    (n, c, h, w), b = x.shape, blocksize
    if mode == "DCR":
        y = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    elif mode == "CRD":
        y = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        raise ValueError(f"mode is {short(mode)}")
    return y.reshape(n, c // b**2, h * b, w * b)


def space_to_depth(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Blocks of pixels as channels; in mode CRD, those of one block are neighbours."""
    (n, c, h, w), b = x.shape, blocksize
    y = x.reshape(n, c, h // b, b, w // b, b)
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"mode is {short(mode)}")
    y = y.transpose((0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    return y.reshape(n, c * b**2, h // b, w // b)


def tile(x: Array, repeats: Array) -> Array:
    """The whole of `x` as often along each axis as `repeats` says."""
    counts = repeats.tolist()
    new = [(count, n) for count, n in zip(counts, x.shape)]
    between = x.reshape([n for size in x.shape for n in (1, size)])
    y = np.broadcast_to(between, [n for pair in new for n in pair])
    return y.reshape([count * n for count, n in new])


def expand(x: Array, shape: Array) -> Array:
    """`x` broadcast with an array of this shape."""
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def lower_concat(low: Lowering, call: Call) -> None:
    """Along any axis but the batch, of activations and constants."""
    if not call.inputs:
        raise Refusal("has no inputs")
    parts = [name for name in call.inputs if name not in low.constants or low.constants[name].size]
    if any(name in low.constants for name in parts):
        concat_constants(low, Call(call.node, parts, call.attrs))
    else:
        joined(low, call, parts, call.attrs["axis"])


def concat_constants(low: Lowering, call: Call) -> None:
    """Activations with zeros around them where the constants belong, and those added."""
    names = call.inputs
    computed = [i for i, name in enumerate(names) if name not in low.constants]
    shape = low.shape(names[computed[0]])
    axis = axis_beside_batch(call.attrs["axis"], len(shape))
    constants, lengths = {}, []
    for index, name in enumerate(names):
        if index in computed:
            lengths.append(low.shape(name)[axis])
            continue
        constants[index] = array = low.numbers(name, "input")
        lengths.append(array.shape[axis] if array.ndim > axis else 0)
        if array.shape != (shape[0] or 1, *shape[1:axis], lengths[-1], *shape[axis + 1 :]):
            both = f"{shape_text(shape)} and {shape_text(array.shape)}"
            raise Refusal(f"inputs {both} differ in other axes than {axis}, or in the batch")
    ends = [*computed[1:], len(names)]
    parts = []
    for first, here, end in zip([0, *ends], computed, ends):
        before, behind = sum(lengths[first:here]), sum(lengths[here + 1 : end])
        output = low.names.fresh(f"{call.output}.part{here}")
        part = replace(call.node, name=f"{call.node.name}.part{here}", outputs=[output])
        if before + behind:
            wider = {axis: (before, behind)}
            _filled_borders(low, Call(part, names, call.attrs), names[here], wider, 0)
        else:
            output = names[here]
        parts.append(low.alias.get(output, output))
    whole = parts[0] if len(parts) == 1 else joined(low, call, parts, axis, "zeros")
    sizes = (shape[0] or 1, *shape[1:axis], sum(lengths), *shape[axis + 1 :])
    low.spend(math.prod(sizes), 4)
    given = np.zeros(sizes, np.float32)
    for index, array in constants.items():
        begin = sum(lengths[:index])
        given[(slice(None),) * axis + (slice(begin, begin + lengths[index]),)] = array
    arithmetic(low, call, "Add", (whole, low.add_constant(f"{call.output}.constants", given)))


def lower_transpose(low: Lowering, call: Call) -> None:
    """Of any axes; where only axes of size 1 change places, nothing is moved."""
    shape = low.shape(call.input(0))
    order = call.ints("perm") or list(reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise Refusal(f"{order} is no order of the axes of {shape_text(shape)}")
    if order[0] != 0 and not low.fixed:
        raise Mixes(f"order {order} of {shape_text(shape)} moves the batch")
    if order[0] == 0:
        transposed(low, call, call.input(0), order)
        return
    moving = [axis for axis in order if shape[axis] != 1]
    if moving == sorted(moving) and not low.graph.example:
        low.reshape(call, call.input(0), tuple(shape[axis] for axis in order))
    else:
        low.emit(call, "Transpose", [call.input(0)], {"perm": order})


def lower_slice(low: Lowering, call: Call) -> None:
    """Of any axis but the batch, by constants."""
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
    sections, turned = [], []
    for axis, start, end, step in zip(axes, starts, ends, steps):
        if step == 0:
            raise Refusal("a step is 0")
        batch = axis == 0 and not low.fixed
        if batch and ((start, step) != (0, 1) or end < LONGEST_AXIS - 1):
            raise Refusal("the batch cannot be cut")
        first, last, _ = slice(start, end, step).indices(shape[axis])
        if not batch and not range(first, last, step):
            raise Refusal(f"nothing is left of axis {axis} of {shape_text(shape)}")
        if step < 0:
            places = range(first, last, step)
            if len(places) > 1:
                turned.append(axis)
            if (places[-1], first, step) != (0, shape[axis] - 1, -1):
                sections.append((axis, places[-1], first + 1, -step))
        elif not batch and (first, last, step) != (0, shape[axis], 1):
            # Of a size that is left open, the places count from whichever end the file means.
            if low.graph.example:
                first, last = start, LONGEST_AXIS if last == shape[axis] else end
            sections.append((axis, first, last, step))
    x = slice_of(low, call, call.input(0), sections, "forwards" if turned else "")
    for index, axis in enumerate(turned, 1):
        x = backwards(low, call, x, axis, f"turned{index}" if index < len(turned) else "")


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
    """A slice for every output that is used. What is empty is a constant, for a Concat to skip."""
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
    if len(sizes) != len(outputs) or sum(sizes) != size or min(sizes) < 0:
        raise Refusal(f"sizes {sizes} are not {len(outputs)} parts of axis {axis} of {size}")
    first = 0
    for output, length in zip(outputs, sizes):
        if output and not length:
            empty = (shape[0] or 1, *shape[1:axis], 0, *shape[axis + 1 :])
            low.constants[output] = np.zeros(empty, low.dtypes[x])
        elif output:
            part = Call(replace(call.node, outputs=[output]), call.inputs, call.attrs)
            slice_of(low, part, x, [] if length == size else [(axis, first, first + length, 1)])
        first += length


def lower_pad(low: Lowering, call: Call) -> None:
    """In every mode, by constants, of any axis but the batch; less where pads are negative."""
    x, mode = call.input(0), call.attrs["mode"]
    shape = low.shape(x)
    rank = len(shape)
    pads = low.integers(call.input(1), "list of pads")
    axes = list(range(rank))
    if call.input(3):
        axes = [axis_of(axis, rank) for axis in low.integers(call.input(3), "list of axes")]
    fill = low.numbers(call.input(2), "value") if call.input(2) else np.zeros(())
    if fill.size != 1 or mode not in ("constant", "edge", "reflect", "wrap"):
        raise Refusal(f"mode is {short(mode)}, or its value is not a single number")
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise Refusal(f"pads {pads} do not fit {shape_text(shape)}")
    widths = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    widths = {axis: widths[axis] for axis in sorted(axes) if any(widths[axis])}
    if 0 in widths or max(map(abs, pads), default=0) >= LONGEST_AXIS:
        raise Refusal(f"pads {pads} are too large, or of the batch")
    sections = []
    for axis, (begin, end) in widths.items():
        if shape[axis] + min(begin, 0) + min(end, 0) < 1:
            raise Refusal(f"nothing is left of axis {axis} of {shape_text(shape)}")
        if min(begin, end) < 0:
            sections.append((axis, max(-begin, 0), end if end < 0 else LONGEST_AXIS, 1))
    wider = {a: (max(b, 0), max(e, 0)) for a, (b, e) in widths.items() if max(b, e) > 0}
    x = slice_of(low, call, x, sections, "cropped" if wider else "")
    if mode == "constant":
        _filled_borders(low, call, x, wider, float(fill.item()))
        return
    for index, (axis, (begin, end)) in enumerate(wider.items(), 1):
        size = low.shape(x)[axis]
        if max(begin, end) > size - (mode == "reflect") and mode != "edge":
            raise Refusal(f"pads {begin} and {end} are larger than axis {axis} of {size}")
        parts = [
            _border(low, call, x, (axis, begin, True)),
            x,
            _border(low, call, x, (axis, end, False)),
        ]
        step = f"axis{axis}" if index < len(wider) else ""
        x = joined(low, call, [part for part in parts if part], axis, step)


def _border(low: Lowering, call: Call, x: str, side: tuple[int, int, bool]) -> str:
    """What a Pad puts before or behind an axis of a value, "" if that is nothing."""
    axis, width, before = side
    mode, step = call.attrs["mode"], f"{'before' if before else 'behind'}{axis}"
    if width == 0:
        return ""
    if mode == "wrap":
        first, end = (-width, LONGEST_AXIS) if before else (0, width)
        return slice_of(low, call, x, [(axis, first, end, 1)], step)
    if mode == "reflect":
        first, end = (1, width + 1) if before else (-width - 1, -1)
        part = slice_of(low, call, x, [(axis, first, end, 1)], f"{step}.image")
        return backwards(low, call, part, axis, step) if width > 1 else part
    first, end = (0, 1) if before else (-1, LONGEST_AXIS)
    part = slice_of(low, call, x, [(axis, first, end, 1)], f"{step}.edge")
    return repeated(low, call, part, (axis, width), step) if width > 1 else part


def _filled_borders(
    low: Lowering, call: Call, x: str, wider: dict[int, tuple[int, int]], fill: float
) -> None:
    """A number around a value: zeros around images of two of its axes at a time, and what is added
    to those.
    """
    axes, step = list(wider), "zeros" if fill != 0 else ""
    while axes:
        shape = low.shape(x)
        rank = len(shape)
        pair = [2, 3] if rank == 4 and min(axes) > 1 else axes[-2:]
        axes = [axis for axis in axes if axis not in pair]
        others = [axis for axis in range(1, rank) if axis not in pair]
        order = [0, *others, *pair]
        turned = transposed(low, call, x, order, f"last{pair[0]}")
        height, width = [1, *(shape[axis] for axis in pair)][-2:]
        flat = (shape[0], math.prod(shape[axis] for axis in others), height, width)
        image = low.reshape(call, turned, flat, f"image{pair[0]}")
        (top, bottom), (left, right) = [(0, 0), *(wider.get(axis, (0, 0)) for axis in pair)][-2:]
        plain = order == list(range(rank)) and rank == 4
        last = step if not axes else f"axes{pair[0]}"
        pads = {"pads": [top, left, bottom, right]}
        x = low.emit(call, "ZeroPad", [image], pads, last if plain else f"wider{pair[0]}")
        if not plain:
            new = [n + sum(wider[a]) if a in pair else n for a, n in enumerate(shape)]
            x = low.reshape(call, x, tuple(new[axis] for axis in order), f"back{pair[0]}")
            x = transposed(low, call, x, [order.index(axis) for axis in range(rank)], last)
    if fill != 0 and wider:
        sizes = [n if a in wider else 1 for a, n in enumerate(low.shape(x))]
        low.spend(math.prod(sizes), 4)
        mask = np.full(sizes, fill, np.float32)
        edges = (wider.get(axis, (0, 0)) for axis in range(len(sizes)))
        mask[tuple(slice(b, n - e) for n, (b, e) in zip(sizes, edges))] = 0
        arithmetic(low, call, "Add", (x, low.add_constant(f"{call.output}.border", mask)))


def lower_depth_to_space(low: Lowering, call: Call) -> None:
    """Of images, in both modes."""
    shape, block, mode = low.shape(call.input(0)), call.attrs["blocksize"], call.attrs["mode"]
    if len(shape) != 4 or not 1 <= block < 1 << 15 or shape[1] % block**2:
        raise Refusal(f"blocksize {block} does not fit {shape_text(shape)}")
    if mode not in ("DCR", "CRD"):
        raise Refusal(f"mode is {short(mode)}")
    channels = shape[1] // block**2
    sizes = (1, block, block, channels) if mode == "DCR" else (channels, block, block, 1)
    blocks_to_pixels(low, call, call.input(0), sizes)


def lower_space_to_depth(low: Lowering, call: Call) -> None:
    """Of images whose height and width are multiples of the blocks', in both modes."""
    x, size, mode = call.input(0), call.attrs["blocksize"], call.attrs["mode"]
    shape = low.shape(x)
    if len(shape) != 4 or not 1 <= size < 1 << 15 or shape[2] % size or shape[3] % size:
        raise Refusal(f"blocksize {size} does not fit {shape_text(shape)}")
    if mode not in ("DCR", "CRD"):
        raise Refusal(f"mode is {short(mode)}")
    batch, channels, height, width = shape[0], shape[1], shape[2] // size, shape[3] // size
    # No Reshape changes more than one size that may be open, nor its place.
    x = transposed(low, call, x, (0, 3, 2, 1), "last")
    x = low.reshape(call, x, (batch, width * size, height, size, channels), "high")
    x = transposed(low, call, x, (0, 2, 1, 3, 4), "turned")
    x = low.reshape(call, x, (batch, height, width, size, size, channels), "wide")
    order = (0, 1, 2, 4, 3, 5) if mode == "DCR" else (0, 1, 2, 5, 4, 3)
    x = transposed(low, call, x, order, "blocks")
    x = low.reshape(call, x, (batch, height, width, size * size * channels), "joined")
    transposed(low, call, x, (0, 3, 1, 2))


def lower_tile(low: Lowering, call: Call) -> None:
    """Of any axis but the batch, by constants."""
    x = call.input(0)
    shape, counts = low.shape(x), low.integers(call.input(1), "list of repeats")
    if len(counts) != len(shape) or min(counts) < 1 or max(counts) >= LONGEST_AXIS:
        raise Refusal(f"repeats {counts} do not fit {shape_text(shape)}")
    _repeat_axes(low, call, x, counts)


def lower_expand(low: Lowering, call: Call) -> None:
    """Of any axis but the batch, to a constant shape or one computed from shapes."""
    x = call.input(0)
    shape, target = low.shape(x), low.constant(call.input(1), "shape")
    if target.ndim != 1 or target.dtype.kind not in "iO" or target.size > len(shape):
        raise Refusal(f"its shape is not a vector of at most {len(shape)} integers")
    wanted: list[Any] = [1] * (len(shape) - target.size) + target.tolist()
    batch = wanted[0] in ((shape[0], 1) if low.fixed else (BATCH, 1, *low.batches))
    rest = list(zip(shape[1:], wanted[1:]))
    if not batch or any(n is BATCH or not (n in (1, old) or old == 1 <= n) for old, n in rest):
        raise Refusal(f"{shape_text(shape)} does not broadcast to {wanted}")
    _repeat_axes(low, call, x, [1, *(1 if n == 1 else n // old for old, n in rest)])


def _repeat_axes(low: Lowering, call: Call, x: str, counts: Sequence[int]) -> None:
    many = [axis for axis, count in enumerate(counts) if count > 1]
    if 0 in many:
        raise Refusal("the batch cannot be repeated")
    for index, axis in enumerate(many, 1):
        step = f"axis{axis}" if index < len(many) else ""
        x = repeated(low, call, x, (axis, counts[axis]), step)
    if not many:
        low.alias[call.output] = x


def reverse_sequence(
    x: Array, sequence_lens: Array, *, batch_axis: int = 1, time_axis: int = 0
) -> Array:
    """Of each place of `batch_axis` so many of the first along `time_axis` turned round."""
    turned = x if time_axis == 0 else x.swapaxes(0, 1)
    y = turned.copy()
    for index, length in enumerate(sequence_lens.tolist()):
        y[:length, index] = turned[:length, index][::-1]
    return y if time_axis == 0 else y.swapaxes(0, 1)


def lower_reverse_sequence(low: Lowering, call: Call) -> None:
    """Of a constant length, the same for all."""
    x = call.input(0)
    shape, lengths = low.shape(x), low.integers(call.input(1), "list of lengths")
    batch, time = call.attrs["batch_axis"], call.attrs["time_axis"]
    if {batch, time} != {0, 1} or len(shape) < 2:
        raise Refusal(f"batch_axis {batch} and time_axis {time} of {shape_text(shape)}")
    length = lengths[0] if lengths else 0
    if set(lengths) != {length} or not 1 <= length <= (shape[time] or length):
        raise Refusal("lengths that differ, or do not fit, are not supported")
    if time == 0 and not low.fixed:
        raise Mixes("its first axis is time, not the batch")
    if time == 0 and not low.along_first:
        raise Refusal("how long axis 0 is is not known; the model leaves it open")
    wide = (1, *shape) if time == 0 else shape
    x, axis = low.reshape(call, x, wide, "wide"), 1
    parts = []
    for name, first, end in (("turned", 0, length), ("rest", length, shape[time])):
        if first < end:
            whole = (first, end) == (0, shape[time])
            parts.append(slice_of(low, call, x, [] if whole else [(axis, first, end, 1)], name))
    parts[0] = backwards(low, call, parts[0], axis, "back")
    low.reshape(call, joined(low, call, parts, axis, "joined"), shape)


def tiled(x: Array, repeats: Array) -> int:
    pairs = list(zip(repeats.tolist(), x.shape))
    copied = any(count > 1 and n > 1 for count, n in pairs)
    return math.prod(count * n for count, n in pairs) if copied else 0


OPERATORS = (
    Operator("Concat", concat, lower_concat, as_inputs, lift=_lifting.joined),
    Operator("Slice", slice_, lower_slice, nothing, lift=_lifting.axes_input(3)),
    Operator("Split", split, lower_split, nothing, several=True, lift=_lifting.axis),
    Operator("Transpose", transpose, lower_transpose, nothing),
    Operator("Pad", pad, lower_pad, lift=_lifting.pads),
    Operator("DepthToSpace", depth_to_space, lower_depth_to_space),
    Operator("SpaceToDepth", space_to_depth, lower_space_to_depth),
    Operator("ReverseSequence", reverse_sequence, lower_reverse_sequence),
    Operator("Tile", tile, lower_tile, tiled, lift=_lifting.counts),
    Operator("Expand", expand, lower_expand, nothing, lift=_lifting.counts),
)
