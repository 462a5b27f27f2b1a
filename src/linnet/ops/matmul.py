"""Products of matrices: fully connected layers."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Array
from ..text import shape_text
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator
from .move import transposed


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
    """[N, C] times a matrix, plus a bias for each output."""
    alpha, beta = call.attrs.get("alpha", 1.0), call.attrs.get("beta", 1.0)
    turned = bool(call.attrs.get("transB", 0))
    if call.attrs.get("transA", 0):
        raise Refusal("transA=1 is not supported")
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
    bias = call.input(2)
    if bias and beta != 0:
        outputs = matrix.shape[0] if turned else matrix.shape[1]
        shape = low.numbers(bias, "bias").shape
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
    low.emit(call, "Gemm", inputs, {"transB": 1})


def lower_matmul(low: Lowering, call: Call) -> None:
    """A matrix that is constant, on either side, and activations of two or more axes."""
    left = call.input(0) in low.constants
    x, w = (call.input(1), call.input(0)) if left else (call.input(0), call.input(1))
    shape, matrix = low.shape(x), low.numbers(w, "second factor")
    rank = len(shape)
    if rank < 3:
        lower_product(low, call)
        return
    if matrix.ndim < 2 or math.prod(matrix.shape[:-2]) != 1 or matrix.ndim > rank:
        found = f"{shape_text(shape)} times {list(matrix.shape)}"
        raise Refusal(f"{found} is not supported, only [N, C] times a matrix, or [N, ..., C]")
    # The axis that goes is that of channels, and all others are pixels.
    axis = rank - 2 if left else rank - 1
    if axis == 0 or shape[axis] != matrix.shape[-1 if left else -2]:
        raise Refusal(f"{shape_text(shape)} does not fit {list(matrix.shape)}")
    others = [other for other in range(1, rank) if other != axis]
    order = [0, axis, *others]
    y = transposed(low, call, x, order, "turned")
    sizes = [shape[other] for other in others]
    y = low.reshape(call, y, (shape[0], shape[axis], math.prod(sizes[:-1]), sizes[-1]), "image")

    def filters(w: Array) -> Array:
        w = w.reshape(w.shape[-2:])
        return (w if left else w.T)[:, :, None, None]

    weight = low.weight(w, "weight", "filters" if left else "filtersT", filters)
    attrs = {
        "kernel_shape": [1, 1],
        "strides": [1, 1],
        "pads": [0, 0, 0, 0],
        "dilations": [1, 1],
        "group": 1,
    }
    y = low.emit(call, "Conv", [y, weight], attrs, "product")
    y = low.reshape(call, y, (*low.shape(y)[:2], *sizes), "split")
    transposed(low, call, y, [order.index(other) for other in range(rank)])


OPERATORS = (
    Operator("Gemm", gemm, lower_product),
    Operator("MatMul", matmul, lower_matmul),
)
