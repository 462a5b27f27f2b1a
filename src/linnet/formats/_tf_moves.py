"""What TensorFlow's operators mean that move values, or compute shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._tf_op import Step
from ._translator import Unsupported

_END = (1 << 63) - 1  # behind the last of any axis
_MOST_PARTS = 1 << 12


def _reshape(step: Step) -> None:
    step.add("Reshape", [step.x, step.input(1)])


def _shape(step: Step) -> None:
    step.add("Shape", [step.x])


def _rank(step: Step) -> None:
    step.reader.graph.initializers[step.y] = np.array(len(step.shape()), np.int64)


def _squeeze(step: Step) -> None:
    shape = step.shape()
    axes = step.integers("squeeze_dims") or step.integers("axis")
    axes = axes or [axis for axis, n in enumerate(shape) if n == 1]
    if not axes:
        step.add("Identity", [step.x])
        return
    if not all(-len(shape) <= axis < len(shape) for axis in axes):
        raise Unsupported(f"its axes are {axes} of {len(shape)}")
    step.add("Squeeze", [step.x, step.make("axes", sorted({a % len(shape) for a in axes}))])


def _expand_dims(step: Step) -> None:
    axis = step.axis(1, len(step.shape()) + 1)
    step.add("Unsqueeze", [step.x, step.make("axes", [axis])])


def _transpose(step: Step) -> None:
    perm, rank = step.ints(1, "perm"), len(step.shape())
    if sorted(perm) != list(range(rank)):
        raise Unsupported(f"its perm is {perm} of {rank} axes")
    step.add("Transpose", [step.x], perm=perm)


def _concat(step: Step) -> None:
    """The axis is the first or the last input."""
    last = step.op.kind == "ConcatV2"
    parts = step.inputs[:-1] if last else step.inputs[1:]
    if not parts:
        raise Unsupported("has no inputs")
    rank = len(_known(step, parts[0]))
    axis = step.axis(len(parts) if last else 0, rank)
    if len(parts) == 1:
        step.add("Identity", parts)
    else:
        step.add("Concat", parts, axis=axis)


def _known(step: Step, name: str) -> tuple[int, ...]:
    shape = step.reader.known_shape(name)
    return step.reader.shape(name) if shape is None else shape


def _pack(step: Step) -> None:
    rank = len(_known(step, step.x)) + 1
    axis = step.integer("axis", 0)
    if not -rank <= axis < rank:
        raise Unsupported(f"its axis is {axis} of {rank} axes")
    axis %= rank
    axes = step.make("axes", [axis])
    parts = [step.add("Unsqueeze", [x, axes], step.fresh("part")) for x in step.inputs]
    if len(parts) == 1:
        step.add("Identity", parts)
    else:
        step.add("Concat", parts, axis=axis)


def _unpack(step: Step) -> None:
    shape = step.shape()
    count, axis = step.integer("num", 0), step.integer("axis", 0)
    if not -len(shape) <= axis < len(shape) or shape[axis] not in (0, count):
        raise Unsupported(f"its {count} parts of axis {axis} do not fit {list(shape)}")
    axis %= len(shape)
    parts = [step.fresh("part") for _ in step.outputs]
    _split_into(step, step.x, parts, [1] * count, axis)
    for part, y in zip(parts, step.outputs):
        step.add("Squeeze", [part, step.make("axes", [axis])], y)


def _split(step: Step) -> None:
    axis_at, x_at = (0, 1) if step.op.kind == "Split" else (2, 0)
    shape = step.shape(x_at)
    axis = step.axis(axis_at, len(shape))
    count = step.integer("num_split", 0)
    if not 1 <= count <= _MOST_PARTS:
        raise Unsupported(f"has {count} parts")
    if step.op.kind == "SplitV":
        sizes = step.ints(1, "sizes")
        rest = shape[axis] - sum(n for n in sizes if n >= 0)
        sizes = [rest if n == -1 else n for n in sizes]
    else:
        sizes = [shape[axis] // count] * count
    if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes) < 1:
        raise Unsupported(f"its parts {sizes} do not fit {list(shape)}")
    _split_into(step, step.input(x_at), step.outputs, sizes, axis)


def _split_into(step: Step, x: str, parts: list[str], sizes: list[int], axis: int) -> None:
    """Those parts that are read; all have a name."""
    if len(parts) > len(sizes):
        raise Unsupported(f"output {len(parts) - 1} is read, it has {len(sizes)}")
    if len(sizes) == 1:
        step.add("Identity", [x], parts[0])
        return
    more = [step.fresh("unused") for _ in sizes[len(parts) :]]
    step.reader.add(step.y, "Split", [x, step.make("sizes", sizes)], [*parts, *more], axis=axis)


def _strided_slice(step: Step) -> None:
    """Of each axis a range; masks say where a range has no begin or end, where a new axis is,
    where one number is taken and the axis goes, and where all axes not spoken of are.
    """
    shape, lists = step.shape(), [step.ints(i, "begin, end or strides") for i in (1, 2, 3)]
    keys = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    masks = {key: step.integer(f"{key}_mask", 0) for key in keys}
    count = len(lists[0])
    if any(len(numbers) != count for numbers in lists):
        raise Unsupported("its begin, end and strides are of different lengths")
    spoken = sum(1 for i in range(count) if not (masks["ellipsis"] | masks["new_axis"]) >> i & 1)
    ranges: list[tuple[int, int, int, int]] = []  # axis, start, end, step
    added, dropped = [], []  # axes of the result before any is dropped; of the input
    axis = place = 0
    for i, (begin, end, stride) in enumerate(zip(*lists)):
        if masks["ellipsis"] >> i & 1:
            axis, place = axis + len(shape) - spoken, place + len(shape) - spoken
            continue
        if masks["new_axis"] >> i & 1:
            added.append(place)
            place += 1
            continue
        if masks["shrink_axis"] >> i & 1:
            ranges.append((axis, begin, begin + 1 if begin != -1 else _END, 1))
            dropped.append(axis)
        else:
            if stride == 0:
                raise Unsupported("a stride is 0")
            ends = (0, _END) if stride > 0 else (_END, -_END)
            first = ends[0] if masks["begin"] >> i & 1 else begin
            last = ends[1] if masks["end"] >> i & 1 else end
            if (first, last, stride) != (0, _END, 1):
                ranges.append((axis, first, last, stride))
            place += 1
        axis += 1
    if axis > len(shape) or spoken > len(shape):
        raise Unsupported(f"slices {spoken} axes, its input has {len(shape)}")
    _sliced(step, ranges, dropped, added)


def _sliced(
    step: Step, ranges: list[tuple[int, int, int, int]], dropped: list[int], added: list[int]
) -> None:
    x = step.x
    if ranges:
        axes, starts, ends, steps = zip(*ranges)
        lists: dict[str, Any] = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
        names = [step.make(key, list(values)) for key, values in lists.items()]
        x = step.add("Slice", [x, *names], step.fresh("slice"))
    if dropped:
        x = step.add("Squeeze", [x, step.make("dropped", dropped)], step.fresh("dropped"))
    if added:
        x = step.add("Unsqueeze", [x, step.make("added", added)], step.fresh("added"))
    step.add("Identity", [x])


def _slice(step: Step) -> None:
    """Of each axis a begin and a size, -1 for all there are."""
    begins, sizes = step.ints(1, "begin"), step.ints(2, "size")
    if len(begins) != len(sizes) or len(begins) != len(step.shape()):
        raise Unsupported(f"its begin is {begins}, its size {sizes}")
    ends = [_END if size == -1 else begin + size for begin, size in zip(begins, sizes)]
    ranges = [
        (axis, begin, end, 1)
        for axis, (begin, end) in enumerate(zip(begins, ends))
        if (begin, end) != (0, _END)
    ]
    _sliced(step, ranges, [], [])


def _gather(step: Step) -> None:
    axis = 0
    if step.op.kind == "GatherV2":
        axis = step.axis(2, len(step.shape()))
        alike = step.integer("batch_dims", 0)
        if alike:
            if alike != axis:
                raise Unsupported(f"batch_dims {alike} and axis {axis} are not supported")
            rank = len(step.shape(1))
            rows = [step.input(1), step.make("axes", [rank])]
            places = step.add("Unsqueeze", rows, step.fresh("places"))
            step.add("GatherND", [step.x, places], batch_dims=alike)
            return
    step.add("Gather", [step.x, step.input(1)], axis=axis)


def _gather_nd(step: Step) -> None:
    step.attr("bad_indices_policy")  # there are none
    step.add("GatherND", [step.x, step.input(1)])


def _top_k(step: Step) -> None:
    """The largest numbers of the last axis, of equal ones the first."""
    step.flag("sorted", True)  # else any order will do
    count = [step.integer("k", 0)] if step.op.kind == "TopK" else step.ints(1, "k")
    step.reader.add(step.y, "TopK", [step.x, step.make("k", count)], step.outputs, axis=-1)


def _pad(step: Step) -> None:
    """By a table [[before, behind], ...] of all axes."""
    modes = {"Pad": "constant", "PadV2": "constant", "MirrorPad": "reflect"}
    if step.op.kind == "MirrorPad":
        step.text("mode", "", "REFLECT")
    flat = step.add("Transpose", [step.input(1)], step.fresh("turned"), perm=[1, 0])
    pads = step.add("Reshape", [flat, step.make("shape", [-1])], step.fresh("pads"))
    values = [step.x, pads, *step.inputs[2:3]]
    step.add("Pad", values, mode=modes[step.op.kind])


def _tile(step: Step) -> None:
    step.add("Tile", [step.x, step.input(1)])


def _broadcast(step: Step) -> None:
    step.add("Expand", [step.x, step.input(1)])


def _fill(step: Step) -> None:
    step.add("Expand", [step.input(1), step.input(0)])


def _range(step: Step) -> None:
    values = [step.constant(i, "limits") for i in range(3)]
    if any(value.size != 1 or value.dtype.kind not in "iuf" for value in values):
        raise Unsupported("its limits are not all known")
    start, end, by = (value.item() for value in values)
    if by == 0 or abs((end - start) / by) > _MOST_PARTS:
        raise Unsupported(f"has more than {_MOST_PARTS} numbers")
    numbers = np.arange(start, end, by)
    kind = np.float32 if numbers.dtype.kind == "f" else np.int64
    step.reader.graph.initializers[step.y] = numbers.astype(kind)


def _identities(step: Step) -> None:
    for index, y in enumerate(step.outputs):
        step.add("Identity", [step.input(index)], y)


def _default(step: Step) -> None:
    """What a Placeholder has when nothing is fed, as the flag of training."""
    step.add("Identity", [step.x])


RULES: dict[str, Callable[[Step], None]] = {
    "BroadcastTo": _broadcast,
    "Concat": _concat,
    "ConcatV2": _concat,
    "ExpandDims": _expand_dims,
    "Fill": _fill,
    "Gather": _gather,
    "GatherNd": _gather_nd,
    "GatherV2": _gather,
    "IdentityN": _identities,
    "MirrorPad": _pad,
    "Pack": _pack,
    "Pad": _pad,
    "PadV2": _pad,
    "PlaceholderWithDefault": _default,
    "Range": _range,
    "Rank": _rank,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "SplitV": _split,
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Tile": _tile,
    "TopK": _top_k,
    "TopKV2": _top_k,
    "Transpose": _transpose,
    "Unpack": _unpack,
}
