"""What Caffe's layers mean that say where a number is, or take what is at a place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._caffe_functions import times
from ._caffe_layers import axis_of, reduced, reshaped
from ._caffe_weights import Rule, Weighted
from ._translator import Unsupported

_MOST_PLACES = 1 << 24  # integers that a float32 tells apart
_MOST_FOUND = 64


def _arg_max(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The places of the top_k largest numbers along `axis`, or in each image, largest first and of
    those that are equal the last first; or the numbers themselves; of images, both.
    """
    param = layer.argmax_param
    x, shape = inputs[0], reader.shape(inputs[0])
    along = param.HasField("axis")
    axis = axis_of(param.axis, len(shape)) if along else 1
    if axis == 0:
        raise Unsupported("over the batch is not supported")
    end = axis + 1 if along else len(shape)
    before, count, after = shape[1:axis], math.prod(shape[axis:end]), shape[end:]
    if not 1 <= count <= _MOST_PLACES:  # of which each has its number as a constant
        raise Unsupported(f"of {count} numbers is not supported, at most {_MOST_PLACES}")
    if not 1 <= param.top_k <= min(count, _MOST_FOUND):
        raise Unsupported(f"top_k {param.top_k} of {count} numbers, expected 1 to {_MOST_FOUND}")
    if (shape[0], *before, count, *after) != shape:
        x = reader.names.fresh(f"{layer.name}.flat")
        reshaped(reader, layer, inputs, [x], [shape[0], *before, count, *after])
    axis = 1 + len(before)
    numbers, places = _largest(reader, layer, x, axis, param.top_k)
    found = numbers if along and param.out_max_val else places + numbers * param.out_max_val
    y = found[0]
    if len(found) > 1:
        size = (shape[0], *before, len(found), *after)
        y = reader.part(layer, "Concat", found, size, axis=axis)
    target = [*shape[: axis_of(param.axis, len(shape))], param.top_k, *shape[end:]]
    if not along:
        target = [shape[0], 1 + param.out_max_val, param.top_k, *(1,) * (len(shape) - 3)]
    if tuple(target) != reader.shape(y):
        flat, y = y, reader.names.fresh(f"{layer.name}.shaped")
        reshaped(reader, layer, [flat], [y], target)
    reader.finish(layer, y, outputs[0])


def _largest(
    reader: Weighted, layer: Any, x: str, axis: int, count: int
) -> tuple[list[str], list[str]]:
    """The largest numbers along an axis and their places."""
    shape = reader.shape(x)
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    numbers: list[str] = []
    places: list[str] = []
    for found in range(count):
        if found:
            x = _without(reader, layer, x, places[-1], axis)
        numbers.append(reduced(reader, layer, "Max", x, [axis]))
        place = reader.part(layer, "ArgMax", [x], one, axis=axis, select_last_index=1)
        places.append(reader.part(layer, "Cast", [place], one, to=1))
    return numbers, places


def _without(reader: Weighted, layer: Any, x: str, place: str, axis: int) -> str:
    """A value with the least number there is in a place along an axis."""
    shape = reader.shape(x)
    n = shape[axis]
    reader.spend(n)
    ones = (1,) * (len(shape) - 1 - axis)
    every = reader.constant(
        f"{layer.name}.places", np.arange(n, dtype=np.float32).reshape(-1, *ones)
    )
    # 0 in the place and 1 elsewhere; then minus and plus infinity.
    apart = reader.part(layer, "Sub", [place, every], shape)
    apart = reader.part(layer, "Abs", [reader.part(layer, "Sign", [apart])])
    half = reader.part(layer, "Add", [apart, reader.number(layer, "half", -0.5)])
    return reader.part(layer, "Min", [x, times(reader, layer, half, math.inf)], shape)


def _embed(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The row of a matrix that each number names: the product with what is 1 there and else 0."""
    param = layer.embed_param
    shape, rows, size = reader.shape(inputs[0]), param.input_dim, param.num_output
    if not size or not 1 <= rows <= _MOST_PLACES:
        raise Unsupported(f"num_output {size} or input_dim {rows} is not supported")
    weight, *bias = reader.blobs(layer, (rows, size), *[(size,)] * param.bias_term)
    reader.spend(rows)
    count = math.prod(shape[1:])
    x = reader.names.fresh(f"{layer.name}.column")
    reshaped(reader, layer, inputs, [x], [shape[0], count, 1])

    def part(op: str, names: Sequence[str], n: int = rows) -> str:
        return reader.part(layer, op, names, (shape[0], count, n))

    every = reader.constant(f"{layer.name}.rows", np.arange(rows, dtype=np.float32))
    x = part("Sub", [part("Floor", [x], 1), every])
    x = part("Relu", [part("Sub", [reader.number(layer, "one", 1), part("Abs", [x])])])
    y = part("MatMul", [x, reader.weight(f"{layer.name}.weight", weight)], size)
    for array in bias:
        y = part("Add", [y, reader.weight(f"{layer.name}.bias", array)], size)
    reshaped(reader, layer, [y], outputs, [*shape, size])


RULES: dict[str, Rule] = {"ArgMax": Rule(_arg_max), "Embed": Rule(_embed)}
