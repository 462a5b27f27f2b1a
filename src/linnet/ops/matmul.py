"""Products of matrices: fully connected layers."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Array, Shape
from ..text import shape_text
from . import _lifting
from ._broadcast import arithmetic
from ._lowering import Call, Lowering, Mixes, Refusal
from ._registry import Operator
from ._turned import transposed
from .reduce import over_axes

MOST_PRODUCTS = 1 << 24  # of two computed values


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """alpha * a @ b + beta * c, a or b transposed if so asked."""
    y = (a.T if transA else a) @ (b.T if transB else b)
    if alpha != 1:
        y = alpha * y
    return y if c is None or beta == 0 else y + (c if beta == 1 else beta * c)


def matmul(a: Array, b: Array) -> Array:
    return np.asarray(a @ b)


def lower_product(low: Lowering, call: Call) -> None:
    """[N, C] times a matrix, plus a bias of each output; of each number where there is no batch."""
    alpha, beta = call.attrs.get("alpha", 1.0), call.attrs.get("beta", 1.0)
    turned = bool(call.attrs.get("transB", 0))
    if call.attrs.get("transA", 0):
        if len(low.shape(call.input(0))) != 2 or not low.along_first:
            raise Refusal("transA=1 would move the batch")
        call.inputs[0] = low.emit(call, "Transpose", [call.input(0)], {"perm": [1, 0]}, "turned")
    if call.input(0) in low.constants and call.input(1) not in low.constants:
        raise Refusal("its first factor is a constant: the batch would not stay the first axis")
    x, matrix = low.shape(call.input(0)), low.numbers(call.input(1), "second factor")
    if len(x) != 2 or matrix.ndim != 2:
        found = f"{shape_text(x)} times {list(matrix.shape)}"
        raise Refusal(f"{found} is not supported, only [N, C] times a matrix")
    if turned and alpha == 1:
        weight = low.weight(call.input(1), "weight")
    else:
        change = ("" if turned else "T") + ("" if alpha == 1 else f"x{alpha}")
        a = np.float32(alpha)
        weight = low.weight(call.input(1), "weight", change, lambda w: a * (w if turned else w.T))
    inputs = [call.input(0), weight]
    bias, whole = call.input(2) if beta != 0 else "", ""
    shape = low.numbers(bias, "bias").shape if bias else ()
    if bias and low.along_first and shape[:-1] == x[:1] != (1,):
        bias, whole = "", low.weight(bias, "bias", f"x{beta}", lambda c: np.float32(beta) * c)
    if bias:
        outputs = matrix.shape[0] if turned else matrix.shape[1]
        if shape not in ((outputs,), (1, outputs), (1,), (), (1, 1)):
            raise Refusal(f"its bias has shape {list(shape)}, expected {outputs} values")
        if shape != (outputs,) or beta != 1:
            low.spend(outputs, 4)
            b = np.float32(beta)
            change = f"x{beta}to{outputs}"
            bias = low.weight(
                bias, "bias", change, lambda c: np.broadcast_to(b * c.ravel(), outputs)
            )
        inputs.append(low.weight(bias, "bias"))
    y = low.emit(call, "Gemm", inputs, {"transB": 1}, "product" if whole else "")
    if whole:
        arithmetic(low, call, "Add", (y, whole))


def lower_matmul(low: Lowering, call: Call) -> None:
    """A value times a matrix or a matrix times a value, one matrix for all or one for each index
    of the axes between: convolutions of 1x1 whose channels are the summed axis. Of two values, as
    all products and their sums, up to 2^24 of them for an image.
    """
    if call.input(0) in low.shapes and call.input(1) in low.shapes:
        lower_pair(low, call)
        return
    first = call.input(0) not in low.constants
    x, name = (call.input(0), call.input(1)) if first else (call.input(1), call.input(0))
    shape, matrix = low.shape(x), low.numbers(name, "second factor" if first else "first factor")
    if first and len(shape) == 2 and matrix.ndim == 2:
        return lower_product(low, call)
    terms = -2 if matrix.ndim > 1 and first else -1
    between, rest = shape[1:-2], (1, *shape)[-2 if first else -1]
    each = matrix.reshape(-1, 1) if matrix.ndim == 1 and first else np.atleast_2d(matrix)
    while each.ndim > 2 and each.shape[0] == 1:
        each = each[0]
    groups = math.prod(between) if each.ndim > 2 else 1
    summed = shape[-1 if first else -2] if len(shape) > 2 else 0
    if not summed or summed != matrix.shape[terms] or each.shape[:-2] not in ((), between):
        a, b = shape_text(shape), str(list(matrix.shape))
        found = f"{a} times {b}" if first else f"{b} times {a}"
        raise Refusal(f"{found} is not supported, only along an axis after the batch")

    outputs = each.shape[-1 if first else -2]
    filters = (groups * outputs, summed, 1, 1)
    weight = low.weight(
        name,
        "factor",
        f"{'T' if first else ''}{filters[0]}x{summed}x1x1",
        lambda w: (np.swapaxes(w.reshape(each.shape), -1, -2) if first else w).reshape(filters),
    )
    # The convolution's image: channels, then all that is not summed.
    count = math.prod(between)
    steps: list[tuple[str, Shape]]
    rank = len(shape)
    if first and groups == 1 and rank <= 4:
        wide = rank == 3
        steps = [
            ("Transpose", (0, rank - 1, *range(1, rank - 1))),
            *[("Reshape", (summed, rest, 1))] * wide,
            ("Conv", ()),
            *[("Reshape", (outputs, rest))] * wide,
            ("Transpose", (0, *range(2, rank), 1)),
        ]
    elif groups > 1 or not between:
        turned = [("Transpose", (0, 1, 3, 2))] if first else []
        inner = (summed, rest) if not first else (rest, summed)
        steps = [
            ("Reshape", (groups, *inner)),
            *turned,
            ("Reshape", (groups * summed, rest, 1)),
            ("Conv", ()),
            ("Reshape", (groups, outputs, rest)),
            *turned,
        ]
    elif first:
        steps = [
            ("Reshape", (count * rest, summed)),
            ("Transpose", (0, 2, 1)),
            ("Reshape", (summed, count, rest)),
            ("Conv", ()),
            ("Reshape", (outputs, count * rest)),
            ("Transpose", (0, 2, 1)),
        ]
    else:
        swap = ("Transpose", (0, 2, 1, 3))
        steps = [("Reshape", (count, summed, rest)), swap, ("Conv", ()), swap]
    for i, (op, numbers) in enumerate(steps):
        step = f"{op.lower()}{i}"
        if op == "Reshape":
            x = low.reshape(call, x, (shape[0], *numbers), step)
        elif op == "Transpose":
            x = transposed(low, call, x, numbers, step)
        else:
            x = low.emit(call, op, [x, weight], {"group": groups}, step)
    kept = (rest,) if matrix.ndim == 1 else (rest, outputs) if first else (outputs, rest)
    low.reshape(call, x, (shape[0], *between, *kept))


def lower_pair(low: Lowering, call: Call) -> None:
    """Two values [.., M, K] and [.., K, N]: all products [.., M, N, K], added up."""
    a, b = call.inputs
    left, right = low.shape(a), low.shape(b)
    both = f"{shape_text(left)} times {shape_text(right)}"
    if min(len(left), len(right)) < 2:
        raise Refusal(f"{both}, both computed, is not supported")
    if 2 in (len(left), len(right)) and not low.fixed:
        raise Mixes(f"{both}, both computed, has the batch as an axis of a matrix")
    if low.fixed:  # axes that are not there are before all others
        rank = max(len(left), len(right))
        left, right = ((1,) * (rank + 1 - len(s)) + s for s in (left, right))
        a, b = low.reshape(call, a, left, "left"), low.reshape(call, b, right, "right")
    (rows, summed), (terms, columns) = left[-2:], right[-2:]
    try:
        if len(left) != len(right) or summed != terms:
            raise ValueError
        between = np.broadcast_shapes(left[1:-2], right[1:-2])
    except ValueError:
        raise Refusal(f"{both} do not fit each other") from None
    if math.prod(between) * rows * columns * summed > MOST_PRODUCTS:
        raise Refusal(f"{both}, both computed, are more than {MOST_PRODUCTS} products")
    a = low.reshape(call, a, (*left[:-1], 1, summed), "rows")
    order = (*range(len(right) - 2), len(right) - 1, len(right) - 2)
    b = transposed(low, call, b, order, "turned")
    b = low.reshape(call, b, (*right[:-2], 1, columns, summed), "columns")
    y = arithmetic(low, call, "Mul", (a, b), "products")
    y = low.reshape(call, y, (left[0], math.prod(between) * rows, columns, summed), "flat")
    y = over_axes(low, call, "Sum", (y, [3]), "sums")
    shape = (left[0], *between, rows, columns)
    low.reshape(call, y, shape[-rank:] if low.fixed else shape)


OPERATORS = (
    Operator("Gemm", gemm, lower_product),
    Operator("MatMul", matmul, lower_matmul, lift=_lifting.matrices),
)
