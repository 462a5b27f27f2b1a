"""Products of matrices: fully connected layers, and of two computed values."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Array, Shape
from ..text import shape_text
from . import _lifting
from ._broadcast import arithmetic, repeat_along
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator
from ._small import of_any_type
from ._turned import transposed


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


@of_any_type
def lower_product(low: Lowering, call: Call) -> None:
    """[N, C] times a matrix, plus a bias of each output; of each number where there is no batch.
    Of two computed matrices where axis 0 is no batch."""
    alpha, beta = call.attrs.get("alpha", 1.0), call.attrs.get("beta", 1.0)
    turned = bool(call.attrs.get("transB", 0))
    if call.attrs.get("transA", 0):
        if len(low.shape(call.input(0))) != 2 or not low.along_first:
            raise Refusal("transA=1 would move the batch")
        call.inputs[0] = low.emit(call, "Transpose", [call.input(0)], {"perm": [1, 0]}, "turned")
    if call.input(1) not in low.constants:
        if call.input(0) in low.constants:
            raise Refusal("its first factor is a constant: the batch would not stay the first axis")
        _lower_computed_gemm(low, call, alpha, beta, turned)
        return
    x, matrix = low.shape(call.input(0)), low.numbers(call.input(1), "second factor")
    if len(x) != 2 or matrix.ndim != 2:
        found = f"{shape_text(x)} times {list(matrix.shape)}"
        raise Refusal(f"{found} is not supported, only [N, C] times a matrix")
    if turned and alpha == 1:
        weight = low.weight(call.input(1), "weight")
    else:
        change = ("" if turned else "T") + ("" if alpha == 1 else f"x{alpha}")

        def scaled(w: Array) -> Array:
            w = w if turned else w.T
            return w if alpha == 1 else np.float32(alpha) * w

        weight = low.weight(call.input(1), "weight", change, scaled)
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


@of_any_type
def lower_matmul(low: Lowering, call: Call) -> None:
    """A value times a matrix or a matrix times a value, one matrix for all or one for each index
    of the axes between: convolutions of 1x1 whose channels are the summed axis. Two values: of each
    image, with as many axes, or more where axis 0 is no batch."""
    if call.input(0) not in low.constants and call.input(1) not in low.constants:
        _lower_computed(low, call)
        return
    if call.lifted and _vector_product(low, call):
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
    x, between = _wide_enough(low, call, x, each.shape[:-2])
    shape = low.shape(x)
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
    steps = _steps(first, groups, shape, outputs)
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


def _steps(first: bool, groups: int, shape: Shape, outputs: int) -> list[tuple[str, Shape]]:
    """From a factor to an image, channels and then all that is not summed, and back."""
    between, rank = shape[1:-2], len(shape)
    count = math.prod(between)
    rest, summed = shape[-2:] if first else shape[:-3:-1]
    if first and groups == 1 and rank <= 4:
        wide = rank == 3
        return [
            ("Transpose", (0, rank - 1, *range(1, rank - 1))),
            *[("Reshape", (summed, rest, 1))] * wide,
            ("Conv", ()),
            *[("Reshape", (outputs, rest))] * wide,
            ("Transpose", (0, *range(2, rank), 1)),
        ]
    if groups > 1 or not between:
        turned = [("Transpose", (0, 1, 3, 2))] if first else []
        inner = (summed, rest) if not first else (rest, summed)
        return [
            ("Reshape", (groups, *inner)),
            *turned,
            ("Reshape", (groups * summed, rest, 1)),
            ("Conv", ()),
            ("Reshape", (groups, outputs, rest)),
            *turned,
        ]
    if first:
        return [
            ("Reshape", (count * rest, summed)),
            ("Transpose", (0, 2, 1)),
            ("Reshape", (summed, count, rest)),
            ("Conv", ()),
            ("Reshape", (outputs, count * rest)),
            ("Transpose", (0, 2, 1)),
        ]
    swap = ("Transpose", (0, 2, 1, 3))
    return [("Reshape", (count, summed, rest)), swap, ("Conv", ()), swap]


def _vector_product(low: Lowering, call: Call) -> bool:
    """Of a vector, of which lifting has made [1, terms], and a constant; whether it is one."""
    x, name = call.input(0), call.input(1)
    if x in low.constants or len(low.shape(x)) != 2:
        return False
    matrix, terms = low.numbers(name, "second factor"), low.shape(x)[1]
    if matrix.ndim == 0 or matrix.shape[-2 if matrix.ndim > 1 else 0] != terms:
        raise Refusal(f"{terms} numbers times {list(matrix.shape)} do not fit each other")
    rest = matrix.shape[:-2] + matrix.shape[-1:] if matrix.ndim > 1 else ()
    low.spend(matrix.size, 4)
    outputs = math.prod(rest)
    weight = low.weight(
        name,
        "factor",
        f"{outputs}x{terms}",
        lambda w: np.moveaxis(w, -2, -1).reshape(outputs, terms) if w.ndim > 1 else w[None],
    )
    y = low.emit(call, "Gemm", [x, weight], {"transB": 1}, "product")
    low.reshape(call, y, (1, *rest))
    return True


def _wide_enough(low: Lowering, call: Call, x: str, groups: Shape) -> tuple[str, Shape]:
    """A value whose axes between the batch and its matrices are as long as a constant's, where they
    were 1; and those axes.
    """
    shape = low.shape(x)
    between = shape[1:-2]
    if len(groups) != len(between) or all(n != 1 or m == 1 for n, m in zip(between, groups)):
        return x, between
    between = tuple(m if n == 1 else n for n, m in zip(between, groups))
    return repeat_along(low, call, x, (shape[0], *between, *shape[-2:]), "wide"), between


def _lower_computed(low: Lowering, call: Call) -> None:
    """Of each image matrices [..., rows, terms] times [..., terms, columns]."""
    x, z = call.input(0), call.input(1)
    a, b = low.shape(x), low.shape(z)
    found = f"{shape_text(a)} times {shape_text(b)}"
    if not call.lifted and (len(a) != len(b) or len(a) < 3):
        raise Refusal(f"{found} is not supported, only matrices of each image")
    row, column = len(a) == 2, len(b) == 2  # vectors, one axis lifted
    rows, terms = (1, a[1]) if row else a[-2:]
    columns = 1 if column else b[-1]
    left, right = a[1:-2], b[1:-2]
    rank = max(len(left), len(right))
    left, right = ((1,) * (rank - len(s)) + s for s in (left, right))
    try:
        between = np.broadcast_shapes(left, right)
    except ValueError:
        between = None
    if between is None or b[1 if column else -2] != terms:
        raise Refusal(f"{found}: these matrices do not fit each other")
    count = math.prod(between)
    if math.prod(right) == 1:  # one matrix for all: their rows are one after the other
        inputs = [
            low.reshape(call, x, (a[0], 1, count * rows, terms), "rows"),
            low.reshape(call, z, (a[0], 1, terms, columns), "matrix"),
        ]
    else:
        x = low.reshape(call, x, (a[0], *left, rows, terms), "left")
        x = repeat_along(low, call, x, (a[0], *between, rows, terms), "left")
        z = low.reshape(call, z, (a[0], *right, terms, columns), "right")
        z = repeat_along(low, call, z, (a[0], *between, terms, columns), "right")
        inputs = [
            low.reshape(call, x, (a[0], count, rows, terms), "rows"),
            low.reshape(call, z, (a[0], count, terms, columns), "matrices"),
        ]
    y = low.emit(call, "MatMul", inputs, step="product")
    low.reshape(call, y, (a[0], *between, *(rows,) * (not row), *(columns,) * (not column)))


def _lower_computed_gemm(
    low: Lowering, call: Call, alpha: float, beta: float, turned: bool
) -> None:
    x, z = call.input(0), call.input(1)
    a, b = low.shape(x), low.shape(z)
    if not low.along_first or len(a) != 2 or len(b) != 2:
        raise Refusal(f"its second factor '{z}' is computed, which needs a model without a batch")
    if turned:
        z, b = low.emit(call, "Transpose", [z], {"perm": [1, 0]}, "other"), b[::-1]
    if a[1] != b[0]:
        raise Refusal(f"{shape_text(a)} times {shape_text(b)}: these do not fit each other")
    inputs = [low.reshape(call, x, (1, 1, *a), "rows"), low.reshape(call, z, (1, 1, *b), "matrix")]
    y = low.reshape(call, low.emit(call, "MatMul", inputs, step="product"), (a[0], b[1]), "sums")
    bias = call.input(2) if beta != 0 else ""

    def times(name: str, factor: float, step: str) -> str:
        if factor == 1:
            return name if step else low.reshape(call, name, (a[0], b[1]))
        if name in low.constants:
            return low.weight(name, "bias", f"x{factor}", lambda c: np.float32(factor) * c)
        number = low.add_constant(f"{call.output}.{step}.factor", np.array(factor, np.float32))
        return arithmetic(low, call, "Mul", (name, number), step)

    y = times(y, alpha, "scaled" if bias else "")
    if bias:
        arithmetic(low, call, "Add", (y, times(bias, beta, "bias")))


OPERATORS = (
    Operator("Gemm", gemm, lower_product),
    Operator("MatMul", matmul, lower_matmul, lift=_lifting.matrices),
)
