"""What moves values within rules: parts of them, several joined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..graph import Shape
from ..text import shape_text
from ._lowering import Call, Lowering, Refusal, axis_beside_batch
from ._turned import transposed

MOST_RUNS = 64  # pieces that go on in equal steps, of what constants name
MOST_PARTS = 16  # of what a rule takes apart, or repeats, at once


def slice_of(
    low: Lowering, call: Call, x: str, sections: Sequence[tuple[int, int, int, int]], step: str = ""
) -> str:
    """What `sections`, (axis, first, end, step) of axes of their own, leave of a value."""
    if not sections:
        if not step:
            low.alias[call.output] = x
        return x
    output = f"{call.output}.{step}" if step else call.output
    lists = list(zip(*sections))
    inputs = [
        low.add_integers(f"{output}.{name}", lists[place])
        for name, place in (("starts", 1), ("ends", 2), ("axes", 0), ("steps", 3))
    ]
    return low.emit(call, "Slice", [x, *inputs], {}, step)


def joined(low: Lowering, call: Call, parts: Sequence[str], axis: int, step: str = "") -> str:
    """The parts one after the other along an axis."""
    shapes = [low.shape(name) for name in parts]
    axis = axis_beside_batch(axis, len(shapes[0]))
    rank, others = len(shapes[0]), (*shapes[0][:axis], *shapes[0][axis + 1 :])
    for shape in shapes:
        if len(shape) != rank or (*shape[:axis], *shape[axis + 1 :]) != others:
            both = f"{shape_text(shapes[0])} and {shape_text(shape)}"
            raise Refusal(f"inputs {both} differ in other axes than {axis}")
    output = low.names.fresh(f"{call.output}.{step}") if step else call.output
    name = f"{call.node.name}.{step}" if step else call.node.name
    whole = Call(replace(call.node, name=name, outputs=[output]), list(parts), {"axis": axis})
    if len(parts) == 1:
        low.alias[output] = parts[0]
    elif axis == 1 and len(shapes[0]) <= 4:
        low.emit(whole, "Concat", whole.inputs, {"axis": 1})
    else:
        _join_as_channels(low, whole, shapes, axis)
    return low.alias.get(output, output)


def _join_as_channels(low: Lowering, call: Call, shapes: Sequence[Shape], axis: int) -> None:
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


def backwards(low: Lowering, call: Call, x: str, axis: int, step: str = "") -> str:
    """An axis from its last number to its first: taken apart, or as rows that are turned, and each
    of their numbers.
    """
    shape, at = low.shape(x), step or "backwards"
    if shape[axis] <= MOST_PARTS:
        places = reversed(range(shape[axis]))
        parts = [slice_of(low, call, x, [(axis, i, i + 1, 1)], f"{at}.{i}") for i in places]
        return joined(low, call, parts, axis, step)
    rows, rest = divmod(shape[axis], MOST_PARTS)
    sections = [(axis, rest, shape[axis], 1)] if rest else []
    whole = slice_of(low, call, x, sections, f"{at}.whole")
    size = (rows, MOST_PARTS)
    y = low.reshape(call, whole, (*shape[:axis], *size, *shape[axis + 1 :]), f"{at}.rows")
    y = backwards(low, call, y, axis, f"{at}.high")
    y = backwards(low, call, y, axis + 1, f"{at}.wide")
    target = (*shape[:axis], shape[axis] - rest, *shape[axis + 1 :])
    y = low.reshape(call, y, target, f"{at}.most" if rest else step)
    if rest:
        first = slice_of(low, call, x, [(axis, 0, rest, 1)], f"{at}.first")
        first = backwards(low, call, first, axis, f"{at}.last")
        y = joined(low, call, [y, first], axis, step)
    return y


def repeated(low: Lowering, call: Call, x: str, times: tuple[int, int], step: str = "") -> str:
    """A value along an axis as often as `times`, (axis, count), says: at least twice."""
    axis, count = times
    if count <= MOST_PARTS:
        return joined(low, call, [x] * count, axis, step)
    at = step or "repeated"
    many, rest = divmod(count, MOST_PARTS)
    block = joined(low, call, [x] * MOST_PARTS, axis, f"{at}.block")
    if many > 1:
        block = repeated(low, call, block, (axis, many), f"{at}.blocks" if rest else step)
    return joined(low, call, [block, *[x] * rest], axis, step) if rest or many == 1 else block


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
