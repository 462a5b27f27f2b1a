"""What TFLite's operators without windows mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import ELEMENT_TYPES, LONGEST_AXIS
from ._tflite_call import Call, Rule
from ._translator import Unsupported


def _each(op: str, count: int = 1, **attrs: Any) -> Rule:
    """An operator of ONNX with the same meaning, of elements in the same places."""

    def translate(call: Call) -> None:
        call.finish(op, call.x, **attrs)

    return Rule(translate, (count, count), each=True)


def _clip(least: float, most: float) -> Rule:
    def translate(call: Call) -> None:
        limits = [call.real_number(what, n) for what, n in (("least", least), ("most", most))]
        call.finish("Clip", [call.x[0], *limits])

    return Rule(translate, each=True)


def _arithmetic(op: str, options: int) -> Rule:
    """With a fused activation, the first of the options."""

    def translate(call: Call) -> None:
        call.activated(call.option(0, "b"), lambda y: call.finish(op, call.x, y))

    return Rule(translate, (2, 2), options=options, each=True)


def _chain(*steps: str) -> Rule:
    """Functions of one number, one after the other."""

    def translate(call: Call) -> None:
        x = call.x[0]
        for step in steps[:-1]:
            x = call.part(step, step.lower(), [x])
        call.finish(steps[-1], [x])

    return Rule(translate, each=True)


def _square(call: Call) -> None:
    call.finish("Mul", [call.x[0], call.x[0]])


def _squared_difference(call: Call) -> None:
    x = call.part("Sub", "difference", call.x)
    call.finish("Mul", [x, x])


def _floor_div(call: Call) -> None:
    call.finish("Floor", [call.part("Div", "quotient", call.x)])


def _not_equal(call: Call) -> None:
    call.finish("Not", [call.part("Equal", "equal", call.x)])


def _leaky_relu(call: Call) -> None:
    call.finish("LeakyRelu", call.x, alpha=call.option(0, "f"))


def _gelu(call: Call) -> None:
    call.finish("Gelu", call.x, approximate="tanh" if call.option(0, "B") else "none")


def _fully_connected(call: Call) -> None:
    """Of the last axis if the result is to keep the others, or else of all that is one row."""
    if call.option(1, "b") != 0:
        raise Unsupported("its weights are shuffled, which is not supported")
    weights = call.tensor(1).shape
    if len(weights) != 2:
        raise Unsupported(f"its weights have the shape {list(weights)}")
    shape, x, bias = call.shape(), call.x[0], [name for name in call.x[2:] if name]
    keep = bool(call.option(2, "B"))
    rows = len(shape) > 2 and (keep or math.prod(shape[1:]) != weights[1])
    if not rows and len(shape) != 2:
        x = call.part("Reshape", "flat", [x, call.vector("row", [-1, weights[1]])])

    def make(y: str) -> None:
        if not rows:
            call.finish("Gemm", [x, call.x[1], *bias], y, transB=1)
            return
        factor = call.part("Transpose", "weights", [call.x[1]], perm=[1, 0])
        product = call.lite.names.fresh(f"{y}.product")
        last = product if bias or not keep else y
        call.finish("MatMul", [x, factor], last)
        if bias:
            last = y if keep else call.lite.names.fresh(f"{y}.sum")
            call.finish("Add", [product, *bias], last)
        if not keep:
            call.finish("Reshape", [last, call.vector("rows", [-1, weights[0]])], y)

    call.activated(call.option(0, "b"), make)


def _batch_matmul(call: Call) -> None:
    factors = []
    for index, what in enumerate(("first", "second")):
        x = call.x[index]
        if call.option(index, "B"):
            axes = [*range(call.rank(index))]
            x = call.part("Transpose", what, [x], perm=[*axes[:-2], axes[-1], axes[-2]])
        factors.append(x)
    call.finish("MatMul", factors)


def _softmax(call: Call) -> None:
    x, beta = call.x[0], call.option(0, "f")
    if beta != 1:
        x = call.part("Mul", "scaled", [x, call.real_number("beta", beta)])
    call.finish("Softmax", [x], axis=-1)


def _l2_normalization(call: Call) -> None:
    def make(y: str) -> None:
        call.finish("LpNormalization", call.x, y, axis=-1, p=2)

    call.activated(call.option(0, "b"), make)


def _reduce(name: str) -> Rule:
    def translate(call: Call) -> None:
        axes = call.integers(1, "axes")
        if not axes:
            raise Unsupported("has no axes")
        keep = int(bool(call.option(0, "B")))
        call.finish(f"Reduce{name}", [call.x[0], call.vector("axes", axes)], keepdims=keep)

    return Rule(translate, (2, 2), options=27)


def _place_of(op: str) -> Rule:
    """ArgMax and ArgMin: the first of several places."""

    def translate(call: Call) -> None:
        axes = call.integers(1, "axis")
        if len(axes) != 1:
            raise Unsupported(f"its axis is {axes}")
        place = call.part(op, "place", call.x[:1], axis=axes[0], keepdims=0)
        call.finish("Cast", [place], to=ELEMENT_TYPES[call.made[0].dtype.name])

    return Rule(translate, (2, 2))


def _concatenation(call: Call) -> None:
    axis = call.option(0)
    call.activated(call.option(1, "b"), lambda y: call.finish("Concat", call.x, y, axis=axis))


def _pack(call: Call) -> None:
    axis = call.option(1)
    new = call.vector("axis", [axis])
    parts = [call.part("Unsqueeze", f"part{i}", [x, new]) for i, x in enumerate(call.x)]
    call.finish("Concat", parts, axis=axis)


def _parts(call: Call, x: str, axis: int, outputs: Sequence[str], sizes: Sequence[int]) -> None:
    inputs = [x, *[call.vector("sizes", sizes)] * bool(sizes)]
    attrs = {} if sizes else {"num_outputs": len(outputs)}
    call.lite.emit("Split", outputs[0], inputs, list(outputs), axis=axis, **attrs)


def _unpack(call: Call) -> None:
    axis, count = call.option(1), call.option(0)
    if count != len(call.y):
        raise Unsupported(f"has {len(call.y)} results, expected {count}")
    parts = [call.lite.names.fresh(f"{y}.part") for y in call.y]
    _parts(call, call.x[0], axis, parts, ())
    old = call.vector("axis", [axis])
    for part, y in zip(parts, call.y):
        call.finish("Squeeze", [part, old], y)


def _single(call: Call, index: int, what: str) -> int:
    found = call.integers(index, what)
    if len(found) != 1:
        raise Unsupported(f"its {what} is {found}")
    return found[0]


def _split(call: Call) -> None:
    if call.option(0) != len(call.y):
        raise Unsupported(f"has {len(call.y)} results, expected {call.option(0)}")
    size = call.sizes(1)
    axis = _single(call, 0, "axis")
    if -len(size) <= axis < len(size) and size[axis] % len(call.y):
        raise Unsupported(f"{size[axis]} are not cut into {len(call.y)} equal parts")
    _parts(call, call.x[1], axis, call.y, ())


def _split_v(call: Call) -> None:
    sizes, axis = call.integers(1, "sizes"), _single(call, 2, "axis")
    shape = call.shape()
    if sizes.count(-1) == 1 and -len(shape) <= axis < len(shape):
        sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    _parts(call, call.x[0], axis, call.y, sizes)


def _reshape(call: Call) -> None:
    target = call.input(1)
    if not target or (call.is_constant(1) and len(call.tensor(1).shape) != 1):
        target = call.vector("shape", call.options(0))
    call.finish("Reshape", [call.x[0], target], allowzero=1)


def _squeeze(call: Call) -> None:
    axes = call.options(0)
    call.finish("Squeeze", [call.x[0], *[call.vector("axes", axes)] * bool(axes)])


def _expand_dims(call: Call) -> None:
    axis = call.vector("axis", [_single(call, 1, "axis")])
    call.finish("Unsqueeze", [call.x[0], axis])


def _transpose(call: Call) -> None:
    call.finish("Transpose", [call.x[0]], perm=call.integers(1, "order of axes"))


def _padded(call: Call, **attrs: Any) -> None:
    pads = call.integers(1, "pads")
    ends = call.vector("pads", pads[::2] + pads[1::2])
    call.finish("Pad", [call.x[0], ends, *call.x[2:]], **attrs)


def _mirror_pad(call: Call) -> None:
    if call.option(0, "b") != 0:
        raise Unsupported("mode SYMMETRIC is not supported, only REFLECT")
    _padded(call, mode="reflect")


def _sliced(call: Call, sections: Sequence[Sequence[int]], y: str = "") -> None:
    """What (axis, start, end, step) leave of the first input."""
    if not sections:
        call.finish("Identity", call.x[:1], y)
        return
    lists = dict(zip(("axes", "starts", "ends", "steps"), zip(*sections)))
    order = ("starts", "ends", "axes", "steps")
    call.finish("Slice", [call.x[0], *(call.vector(name, lists[name]) for name in order)], y)


def _slice(call: Call) -> None:
    starts, sizes = call.integers(1, "starts"), call.integers(2, "sizes")
    if len(starts) != call.rank() or len(sizes) != len(starts):
        raise Unsupported(f"starts {starts} and sizes {sizes} do not fit its input")
    if min((*starts, *(n + 1 for n in sizes)), default=0) < 0:
        raise Unsupported(f"starts {starts} or sizes {sizes} are negative")
    whole = call.sizes()
    beyond = any(n and start + size > n for start, size, n in zip(starts, sizes, whole))
    if call.lite.resized and beyond:
        raise Unsupported(f"starts {starts} and sizes {sizes} lead out of {list(whole)}")
    sections = [
        (axis, start, LONGEST_AXIS if size == -1 else start + size, 1)
        for axis, (start, size) in enumerate(zip(starts, sizes))
        if (start, size) not in ((0, -1), (0, whole[axis]))
    ]
    _sliced(call, sections)


class _Part(NamedTuple):
    """x[start:end:step] of one axis."""

    axis: int
    start: int
    end: int
    step: int


def _strided_slice(call: Call) -> None:
    """NumPy's x[start:end:step, ...]; masks say where start or end is left out, what is a single
    index, a new axis, or the dots.
    """
    lists = [call.integers(i, what) for i, what in enumerate(("starts", "ends", "steps"), 1)]
    starts, ends, dots, new, single = (call.option(i) for i in range(5))
    if call.option(5, "B"):
        raise Unsupported("its ends are offsets, which is not supported")
    count, whole = len(lists[0]), call.sizes()
    if any(len(values) != count for values in lists) or 0 in lists[2] or dots & (dots - 1):
        raise Unsupported("its starts, ends and steps do not fit each other")
    parts: list[_Part] = []
    dropped, added, axis, kept = [], [], 0, 0
    unnamed = len(whole) - sum(not (new | dots) >> i & 1 for i in range(count))
    for i, (start, end, step) in enumerate(zip(*lists)):
        if dots >> i & 1:
            kept, axis = kept + unnamed, axis + unnamed
            continue
        if new >> i & 1:
            added.append(kept)
            kept += 1
            continue
        if not 0 <= axis < len(whole):
            raise Unsupported(f"takes {count} parts of {len(whole)} axes")
        if single >> i & 1:
            dropped.append(axis)
            last = start + 1 if start != -1 and whole[axis] != 1 else LONGEST_AXIS
            parts.append(_Part(axis, start if whole[axis] != 1 else 0, last, 1))
        else:
            kept += 1
            far = LONGEST_AXIS if step > 0 else -LONGEST_AXIS
            first = (0 if step > 0 else LONGEST_AXIS) if starts >> i & 1 else start
            last = far if ends >> i & 1 or (step > 0 and end >= whole[axis] > 0) else end
            parts.append(_Part(axis, first, last, step))
        axis += 1
    parts = [part for part in parts if part[1:] != (0, LONGEST_AXIS, 1)]
    steps = [item for item in (("Squeeze", dropped), ("Unsqueeze", added)) if item[1]]
    names = [call.lite.names.fresh(f"{call.y[0]}.part{i}") for i in range(len(steps))]
    names.append(call.y[0])
    _sliced(call, parts, names[0])
    for (op, axes), x, y in zip(steps, names, names[1:]):
        call.finish(op, [x, call.vector(f"{op.lower()}.axes", axes)], y)


def _gather(call: Call) -> None:
    axis, alike = call.option(0), call.option(1)
    if alike == 0:
        call.finish("Gather", call.x, axis=axis)
        return
    if axis % call.rank() != alike:
        raise Unsupported(f"batch_dims {alike} and axis {axis} are not supported")
    places = call.part("Unsqueeze", "places", [call.x[1], call.vector("last", [call.rank(1)])])
    call.finish("GatherND", [call.x[0], places], batch_dims=alike)


def _top_k(call: Call) -> None:
    places = call.lite.names.fresh(f"{call.y[1]}.places")
    count = call.vector("k", call.integers(1, "k"))
    call.lite.emit("TopK", call.y[0], [call.x[0], count], [call.y[0], places], axis=-1)
    _whole(call, places, 1)


def _whole(call: Call, x: str, index: int) -> None:
    """The integers of a result, in the type that the file says."""
    call.finish("Cast", [x], call.y[index], to=ELEMENT_TYPES[call.made[index].dtype.name])


def _suppression(call: Call) -> None:
    """Places of the boxes that stay, 0 where there are no more; their scores; how many there are.
    Those that overlap by exactly the limit go, too.
    """
    most = call.integers(2, "number of boxes")
    overlap, score, *soft = (call.number(i, "limit") for i in range(3, len(call.x)))
    if len(most) != 1 or any(soft):
        raise Unsupported(f"{most} boxes, or soft_nms_sigma that is not 0, is not supported")
    places, best, count = (call.lite.names.fresh(f"{call.y[0]}.{n}") for n in ("at", "best", "n"))
    if soft:
        best = call.y[1]
    call.lite.emit(
        "PaddedNonMaxSuppression",
        call.y[0],
        call.x[:2],
        [places, best, count],
        most=most[0],
        overlap=float(np.nextafter(np.float32(overlap), np.float32(-1))),
        score=score,
    )
    _whole(call, places, 0)
    _whole(call, count, len(call.y) - 1)


def _cast(call: Call) -> None:
    call.finish("Cast", call.x, to=ELEMENT_TYPES.get(call.made[0].dtype.name, 0))


def _fill(call: Call) -> None:
    call.finish("Expand", [call.x[1], call.x[0]])


def _first(op: str) -> Callable[[Call], None]:
    return lambda call: call.finish(op, call.x[:1])


_COMPARISONS = {
    "EQUAL": "Equal",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual",
    "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual",
    "LOGICAL_AND": "And",
    "LOGICAL_OR": "Or",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "POW": "Pow",
    "PRELU": "PRelu",
}
_FUNCTIONS = {
    "ABS": "Abs",
    "CEIL": "Ceil",
    "COS": "Cos",
    "DEQUANTIZE": "Identity",
    "ELU": "Elu",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "HARD_SWISH": "HardSwish",
    "LOG": "Log",
    "LOGICAL_NOT": "Not",
    "LOGISTIC": "Sigmoid",
    "NEG": "Neg",
    "QUANTIZE": "Identity",
    "RELU": "Relu",
    "ROUND": "Round",
    "SIGN": "Sign",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "TANH": "Tanh",
}
_REDUCTIONS = {
    "MEAN": "Mean",
    "SUM": "Sum",
    "REDUCE_MAX": "Max",
    "REDUCE_MIN": "Min",
    "REDUCE_PROD": "Prod",
}

RULES = {
    **{kind: _each(op, 2) for kind, op in _COMPARISONS.items()},
    **{kind: _each(op) for kind, op in _FUNCTIONS.items()},
    **{kind: _reduce(name) for kind, name in _REDUCTIONS.items()},
    "ADD": _arithmetic("Add", 11),
    "ADD_N": Rule(lambda call: call.finish("Sum", call.x), (1, 1 << 16)),
    "ARG_MAX": _place_of("ArgMax"),
    "ARG_MIN": _place_of("ArgMin"),
    "BATCH_MATMUL": Rule(_batch_matmul, (2, 2), options=101),
    "BROADCAST_TO": Rule(lambda call: call.finish("Expand", call.x), (2, 2)),
    "CAST": Rule(_cast, raw=True),
    "CONCATENATION": Rule(_concatenation, (1, 1 << 16), options=10),
    "DENSIFY": Rule(_first("Identity"), raw=True),
    "DIV": _arithmetic("Div", 29),
    "EXPAND_DIMS": Rule(_expand_dims, (2, 2)),
    "FILL": Rule(_fill, (2, 2)),
    "FLOOR_DIV": Rule(_floor_div, (2, 2), each=True),
    "FULLY_CONNECTED": Rule(_fully_connected, (2, 3), options=8),
    "GATHER": Rule(_gather, (2, 2), options=23),
    "GATHER_ND": Rule(lambda call: call.finish("GatherND", call.x), (2, 2)),
    "GELU": Rule(_gelu, options=116, each=True),
    "L2_NORMALIZATION": Rule(_l2_normalization, options=12),
    "LEAKY_RELU": Rule(_leaky_relu, options=75, each=True),
    "LOG_SOFTMAX": Rule(lambda call: call.finish("LogSoftmax", call.x, axis=-1)),
    "MIRROR_PAD": Rule(_mirror_pad, (2, 2), options=77),
    "MUL": _arithmetic("Mul", 21),
    "NON_MAX_SUPPRESSION_V4": Rule(_suppression, (5, 5), (2, 2)),
    "NON_MAX_SUPPRESSION_V5": Rule(_suppression, (6, 6), (3, 3)),
    "NOT_EQUAL": Rule(_not_equal, (2, 2), each=True),
    "PACK": Rule(_pack, (1, 1 << 16), options=59),
    "PAD": Rule(_padded, (2, 2)),
    "PADV2": Rule(_padded, (3, 3)),
    "RELU6": _clip(0, 6),
    "RELU_0_TO_1": _clip(0, 1),
    "RELU_N1_TO_1": _clip(-1, 1),
    "RESHAPE": Rule(_reshape, (1, 2), options=17),
    "RSQRT": _chain("Sqrt", "Reciprocal"),
    "SELECT": _each("Where", 3),
    "SELECT_V2": _each("Where", 3),
    "SHAPE": Rule(_first("Shape"), raw=True),
    "SLICE": Rule(_slice, (3, 3)),
    "SOFTMAX": Rule(_softmax, options=9),
    "SPLIT": Rule(_split, (2, 2), (1, 1 << 16), options=35),
    "SPLIT_V": Rule(_split_v, (3, 3), (1, 1 << 16)),
    "SQUARE": Rule(_square, each=True),
    "SQUARED_DIFFERENCE": Rule(_squared_difference, (2, 2), each=True),
    "SQUEEZE": Rule(_squeeze, options=30),
    "STRIDED_SLICE": Rule(_strided_slice, (4, 4), options=32),
    "SUB": _arithmetic("Sub", 28),
    "TILE": Rule(lambda call: call.finish("Tile", call.x), (2, 2)),
    "TOPK_V2": Rule(_top_k, (2, 2), (2, 2)),
    "TRANSPOSE": Rule(_transpose, (2, 2)),
    "UNPACK": Rule(_unpack, (1, 1), (1, 1 << 16), options=64),
}
