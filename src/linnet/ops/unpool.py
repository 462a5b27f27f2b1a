"""Pools that say where they found what, and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..graph import ELEMENT_TYPES, FLOAT32, Array, Node, Shape
from ..text import shape_text
from ._broadcast import arithmetic
from ._lowering import Call, Lowering, Mixes, Refusal
from ._moving import MOST_RUNS, joined, slice_of
from ._registry import Operator
from ._turned import transposed
from ._window import Pair, explicit_pads, window, windows
from .normalize import one_hot_of


def max_pool_with_places(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Pair = (1, 1),
    kernel_shape: Pair,
    pads: Pair = (0, 0, 0, 0),
    storage_order: int = 0,
    strides: Pair = (1, 1),
) -> tuple[Array, ...]:
    """linnet's own: a MaxPool of images, and the places of its results among all numbers of x;
    `storage_order` 1 counts rows first.
    """
    how = {"strides": strides, "dilations": dilations}
    whole = explicit_pads(auto_pad, pads, x.shape[2:], kernel=kernel_shape, **how)
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    rows, columns = x.shape[2:]
    order = np.arange(rows * columns).reshape((columns, rows) if storage_order else (rows, columns))
    order = np.broadcast_to(order.T if storage_order else order, (1, 1, rows, columns))
    views = [
        windows(array, fill, kernel_shape, pads=whole, ceil_mode=bool(ceil_mode), **how)
        for array, fill in ((x, least), (order, -1))
    ]
    values, places = (view.reshape(*view.shape[:4], -1) for view in views)
    best = values.argmax(-1)[..., None]
    found = np.take_along_axis(np.broadcast_to(places, values.shape), best, -1)[..., 0]
    image = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], 1, 1) * (rows * columns)
    return values.max(-1), found + image


def max_unpool(
    x: Array,
    places: Array,
    output_shape: Array | None = None,
    *,
    kernel_shape: Pair,
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """Zeros, but for the numbers of x at these places among all."""
    sizes = [
        (n - 1) * stride + kernel - before - after
        for n, stride, kernel, before, after in zip(
            x.shape[2:], strides, kernel_shape, pads[: len(pads) // 2], pads[len(pads) // 2 :]
        )
    ]
    shape = (*x.shape[:2], *sizes)
    inner = np.zeros(shape, x.dtype)
    inner.reshape(-1)[places.reshape(-1)] = x.reshape(-1)
    if output_shape is None or tuple(output_shape.tolist()) == shape:
        return inner
    y = np.zeros(output_shape.tolist(), x.dtype)
    y[tuple(map(slice, inner.shape))] = inner
    return y


class Places(NamedTuple):
    """Where a pool of `base` by a window found its numbers: nothing but a MaxUnpool reads it."""

    base: str
    window: tuple[int, ...]

    def compute(self, low: Lowering, call: Call) -> str:
        raise Refusal(f"'{call.output}' are places of a pool, which only a MaxUnpool reads")

    def reshaped(self, low: Lowering, shape: Shape) -> None:
        return None


def lower_pool_with_places(low: Lowering, call: Call) -> None:
    """A MaxPool; its places for a MaxUnpool, or of images of float32 where there is no batch."""
    pooled, places = (*call.node.outputs, "")[:2]
    x, attrs = call.input(0), call.attrs
    y = pooled or low.names.fresh(f"{places}.values")
    plain = {name: value for name, value in attrs.items() if isinstance(value, (list, int, str))}
    low.visit(replace(call.node, op="MaxPool", inputs=[x], outputs=[y], attrs=plain))
    if y in low.failed:
        low.failed.add(places)
        return
    shape = low.shape(low.alias.get(y, y))
    readers = {node.op for node in low.graph.nodes if places in node.inputs}
    if places in low.graph.outputs or not readers <= {"MaxUnpool"}:
        _places(low, call.of(places), shape)
        return
    kernel, strides = call.ints("kernel_shape"), call.ints("strides")
    apart = kernel == strides and len(kernel) == 2 and set(call.ints("dilations")) <= {1}
    apart = apart and not any(call.ints("pads")) and attrs["auto_pad"] in ("NOTSET", "VALID")
    window = (*kernel,) if apart else ()
    low.postpone(places, Places(x, window), shape, np.dtype(np.int64))


def _places(low: Lowering, call: Call, shape: Shape) -> None:
    """Where among all numbers a pool, whose results have this shape, has found them: in which
    number of its window, and where that begins.
    """
    x, kernel = call.input(0), call.ints("kernel_shape", 2)
    (batch, channels, height, width), (rows, columns) = low.shape(x), shape[2:]
    if not low.along_first:
        raise Mixes("its places count all images, of which the file does not say how many")
    if low.dtypes[x] != FLOAT32 or math.prod(kernel) > MOST_RUNS:
        raise Refusal(f"places are of float32 and windows of up to {MOST_RUNS} numbers")
    how = window(low, call, kernel)
    (high, wide), (down, right), (top, left, *_) = how["dilations"], how["strides"], how["pads"]
    ends = [
        max(0, (count - 1) * stride + gap * (k - 1) + 1 - before - size)
        for count, stride, gap, k, before, size in zip(
            shape[2:], how["strides"], how["dilations"], kernel, (top, left), (height, width)
        )
    ]
    padded = low.names.fresh(f"{call.output}.padded")
    pads = low.add_integers(f"{padded}.pads", [0, 0, top, left, 0, 0, *ends])
    least = low.add_constant(f"{padded}.least", np.array(-np.inf, np.float32))
    low.visit(Node("Pad", padded, [x, pads, least], [padded]))
    if padded in low.failed:
        raise Refusal("its pads are not supported")
    padded = low.alias.get(padded, padded)
    parts = []
    for row, column in np.ndindex(*kernel):
        first = row * high, column * wide
        sections = [
            (2, first[0], first[0] + (rows - 1) * down + 1, down),
            (3, first[1], first[1] + (columns - 1) * right + 1, right),
        ]
        step = f"part{row}.{column}"
        part = slice_of(low, call, padded, sections, step)
        flat = (batch, 1, channels * rows * columns)
        parts.append(low.reshape(call, part, flat, f"{step}.flat"))
    windows_ = joined(low, call, parts, 1, "windows")
    best = low.emit(
        call, "ArgMax", [windows_], {"axis": 1, "keepdims": 1, "select_last_index": 0}, "best"
    )
    low.spend(math.prod(shape))
    of_row, of_column = (1, height) if call.attrs["storage_order"] else (width, 1)
    begin = np.arange(batch * channels, dtype=np.int64).reshape(-1, 1, 1) * (height * width)
    begin = begin + of_row * (down * np.arange(rows, dtype=np.int64)[:, None] - top)
    begin = begin + of_column * (right * np.arange(columns, dtype=np.int64) - left)

    def by(op: str, value: str, number: Array | int, step: str) -> str:
        name = low.add_constant(f"{call.output}.{step}.by", np.array(number, np.int64))
        return arithmetic(low, call, op, (value, name), step)

    line = by("Div", best, kernel[1], "line")
    line = by("Mul", line, high * of_row - kernel[1] * wide * of_column, "down")
    total = arithmetic(
        low, call, "Add", (by("Mul", best, wide * of_column, "right"), line), "inner"
    )
    total = by("Add", total, begin.reshape(batch, 1, -1), "all")
    low.reshape(call, total, shape)


def lower_unpool(low: Lowering, call: Call) -> None:
    """To the places of a MaxPool whose windows lie side by side."""
    x, places = call.input(0), low.later.get(call.input(1))
    shape = low.shape(x)
    if not isinstance(places, Places) or not places.window:
        raise Refusal("its places are not those of a MaxPool whose windows lie side by side")
    kernel, base = places.window, low.shape(places.base)
    if call.ints("kernel_shape") != [*kernel] or call.ints("strides") != [*kernel]:
        raise Refusal(f"its window is not that of its places, {list(kernel)}")
    if any(call.ints("pads")) or shape != low.shape(call.input(1)):
        raise Refusal(f"{shape_text(shape)} does not fit its places, or it has pads")
    whole = tuple(n * k for n, k in zip(shape[2:], kernel))
    target = whole
    if call.input(2):
        target = tuple(low.integers(call.input(2), "output shape")[2:])
    # Places count the numbers of what the pool has read.
    if target != base[2:] or any(n > m for n, m in zip(whole, target)):
        raise Refusal(f"its result {list(target)} is not of the size of {shape_text(base)}")
    cut = [(2 + i, 0, n, 1) for i, n in enumerate(whole) if n != base[2 + i]]
    source = slice_of(low, call, places.base, cut, "cut")
    (rows, columns), (high, wide) = shape[2:], kernel
    split = (shape[0], shape[1], rows, high, columns, wide)
    count = shape[1] * rows * columns
    blocks = low.reshape(call, source, split, "split")
    blocks = transposed(low, call, blocks, (0, 1, 2, 4, 3, 5), "blocks")
    blocks = low.reshape(call, blocks, (shape[0], count, high * wide), "windows")
    attrs = {"axis": 2, "keepdims": 1, "select_last_index": 0}
    best = low.emit(call, "ArgMax", [blocks], attrs, "best")
    best = low.emit(call, "Cast", [best], {"to": ELEMENT_TYPES["float32"]}, "place")
    hot = one_hot_of(low, call, best, (2, high * wide), "hot")
    values = low.reshape(call, x, (shape[0], count, 1), "values")
    y = arithmetic(low, call, "Mul", (hot, values), "placed")
    y = low.reshape(call, y, (shape[0], shape[1], rows, columns, high, wide), "apart")
    y = transposed(low, call, y, (0, 1, 2, 4, 3, 5), "back")
    y = low.reshape(call, y, (*shape[:2], *whole), "whole" if cut else "")
    if cut:
        ends = [0, 0, *(m - n for n, m in zip(whole, target))]
        pads = low.add_constant(f"{call.output}.pads", np.array([0] * 4 + ends, np.int64))
        low.visit(Node("Pad", call.node.name, [y, pads], [call.output]))


OPERATORS: Sequence[Operator] = (
    Operator("MaxPoolWithPlaces", max_pool_with_places, lower_pool_with_places, several=True),
    Operator("MaxUnpool", max_unpool, lower_unpool),
)
