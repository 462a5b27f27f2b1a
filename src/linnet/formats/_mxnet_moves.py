"""What MXNet's operators on tensors mean: arithmetic, shapes, reductions, by the sources of MXNet
1.9.1; RULES is the table of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..graph import ELEMENT_TYPES, LONGEST_AXIS, Shape
from ._mxnet_call import Call, Rule, named
from ._translator import Unsupported

_MOST_PARTS = 1 << 12
_FLOAT = ELEMENT_TYPES["float32"]


def _unary(op: str) -> Rule:
    return Rule(lambda call: call.part(op, [call.x]))


def _two(op: str) -> Rule:
    """Of two values, which broadcast."""
    return Rule(lambda call: call.part(op, [call.x, call.input(1)]))


def _truth(op: str) -> Rule:
    """1 where it is true of two values, which may both be computed, else 0."""

    def translate(call: Call) -> str:
        return compared(call, op, call.x, call.input(1))

    return Rule(translate)


def compared(call: Call, op: str, a: str, b: str) -> str:
    """By the sign of the difference."""
    if op in ("Less", "LessOrEqual"):
        a, b = b, a
    if op in ("GreaterOrEqual", "LessOrEqual"):
        a, b = b, a
    sign = call.part("Sign", [call.part("Sub", [a, b])])
    if op in ("Greater", "Less"):
        return call.part("Relu", [sign])
    other = call.part("Abs" if op == "Equal" else "Relu", [sign])
    return call.part("Sub", [call.number(1, "one"), other])


def _scalar(op: str, first: bool = False, truth: bool = False) -> Rule:
    """Of a value and a number, or of the number `first`."""

    def translate(call: Call) -> str:
        call.flag("is_int", True)
        number = call.number(call.real("scalar"), "scalar")
        y = call.part(op, [number, call.x] if first else [call.x, number])
        return call.part("Cast", [y], to=_FLOAT) if truth else y

    return Rule(translate)


def _not_equal(call: Call) -> str:
    call.flag("is_int", True)
    second = call.number(call.real("scalar"), "scalar") if call.has("scalar") else call.input(1)
    return call.part("Abs", [call.part("Sign", [call.part("Sub", [call.x, second])])])


def _square(call: Call) -> str:
    return call.part("Mul", [call.x, call.x])


def _inverse_root(call: Call) -> str:
    return call.part("Reciprocal", [call.part("Sqrt", [call.x])])


def _away_from_zero(call: Call) -> str:
    """Halves go away from zero."""
    size = call.part("Add", [call.part("Abs", [call.x]), call.number(0.5)])
    return call.part("Mul", [call.part("Sign", [call.x]), call.part("Floor", [size])])


def _truncated(call: Call) -> str:
    whole = call.part("Floor", [call.part("Abs", [call.x])])
    return call.part("Mul", [call.part("Sign", [call.x]), whole])


def _logarithm(base: float) -> Rule:
    def translate(call: Call) -> str:
        return call.part("Mul", [call.part("Log", [call.x]), call.number(1 / math.log(base))])

    return Rule(translate)


def _hard_sigmoid(call: Call) -> str:
    alpha, beta = call.real("alpha", 0.2), call.real("beta", 0.5)
    return call.part("HardSigmoid", [call.x], alpha=alpha, beta=beta)


def _clip(call: Call) -> str:
    return call.clipped(call.x, call.real("a_min"), call.real("a_max"))


def _sum(call: Call) -> str:
    return call.part("Sum", call.inputs)


def _where(call: Call) -> str:
    condition = call.part("Cast", [call.x], to=ELEMENT_TYPES["bool"])
    return call.part("Where", [condition, call.input(1), call.input(2)])


def _concat(call: Call) -> str:
    if len(call.inputs) == 1:
        return call.x
    return call.part("Concat", call.inputs, axis=call.axis("dim", 1, len(call.shape())))


def _stack(call: Call) -> str:
    rank = len(call.shape()) + 1
    axis = call.axis("axis", 0, rank)
    parts = [call.part("Unsqueeze", [x, call.integers("axes", [axis])]) for x in call.inputs]
    return call.part("Concat", parts, axis=axis)


def _slice_channel(call: Call) -> list[str]:
    shape, count = call.shape(), call.integer("num_outputs")
    axis = call.axis("axis", 1, len(shape))
    if not 1 <= count <= _MOST_PARTS or shape[axis] % count or not shape[axis]:
        raise Unsupported(f"{count} parts of axis {axis} of {list(shape)}")
    each = shape[axis] // count
    parts = [call.cut(call.x, axis, i * each, (i + 1) * each) for i in range(count)]
    if not call.flag("squeeze_axis", False):
        return parts
    if each != 1:
        raise Unsupported(f"squeeze_axis of parts of {each}")
    return [call.part("Squeeze", [y, call.integers("axes", [axis])]) for y in parts]


def _slice_axis(call: Call) -> str:
    axis = call.axis("axis", 0, len(call.shape()))
    end = call.integer("end", LONGEST_AXIS) if call.has("end") else LONGEST_AXIS
    return call.cut(call.x, axis, call.integer("begin"), end)


def _slice(call: Call) -> str:
    begins, ends = call.integers_of("begin"), call.integers_of("end")
    steps = call.integers_of("step") or [1] * len(begins)
    if not len(begins) == len(ends) == len(steps) <= len(call.shape()):
        raise Unsupported(
            f"begin, end and step have {len(begins)}, {len(ends)}, {len(steps)} numbers"
        )
    y = call.x
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps)):
        by = step or 1
        far = (LONGEST_AXIS, -LONGEST_AXIS)[by < 0]
        first = (0, -1)[by < 0] if begin is None else begin
        if (first, end, by) != (0, None, 1):
            y = call.cut(y, axis, first, far if end is None else end, step=by)
    return y


def _slice_like(call: Call) -> str:
    shape = call.shape()
    axes = call.sizes("axes") or list(range(len(shape)))
    if any(not -len(shape) <= axis < len(shape) for axis in axes):
        raise Unsupported(f"its axes are {axes} of {len(shape)}")
    y = call.x
    for axis in sorted({axis % len(shape) for axis in axes} - {0}):
        y = call.cut_like(y, call.input(1), axis)
    return y


def _crop(call: Call) -> str:
    """Height and width of the second input, or as said."""
    count = call.integer("num_args", len(call.inputs))
    offset, sizes = call.sizes("offset", [0, 0], 2), call.sizes("h_w", [0, 0], 2)
    centre, shape = call.flag("center_crop", False), call.image()
    if count != len(call.inputs) or not 1 <= count <= 2 or min(offset + sizes) < 0:
        raise Unsupported(f"has {len(call.inputs)} inputs, offset {offset}, h_w {sizes}")
    if count == 2 and not centre:
        y = call.x
        for axis, begin in zip((2, 3), offset):
            y = call.cut_like(y, call.input(1), axis, begin)
        return y
    if count == 2:
        sizes = list(call.known(call.input(1))[2:])
    if centre:
        offset = [(n - size) // 2 for n, size in zip(call.known(call.x)[2:], sizes)]
    if min(offset + sizes) < 0 or any(
        n and begin + size > n for n, begin, size in zip(shape[2:], offset, sizes)
    ):
        raise Unsupported(f"offset {offset} and h_w {sizes} do not fit {list(shape)}")
    y = call.x
    for axis, begin, size in zip((2, 3), offset, sizes):
        y = call.cut(y, axis, begin, begin + size)
    return y


def _pad(call: Call) -> str:
    mode = call.text("mode", "", "constant", "edge", "reflect")
    widths, rank = call.sizes("pad_width"), len(call.shape())
    fill = call.number(call.real("constant_value", 0), "fill")
    if len(widths) != 2 * rank or min(widths) < 0:
        raise Unsupported(f"its pad_width is {widths} of {rank} axes")
    pads = call.integers("pads", widths[::2] + widths[1::2])
    return call.part("Pad", [call.x, pads, *[fill] * (mode == "constant")], mode=mode)


def _transpose(call: Call) -> str:
    rank = len(call.shape())
    axes = call.sizes("axes") or list(range(rank))[::-1]
    if sorted(axis % rank for axis in axes) != list(range(rank)):
        raise Unsupported(f"its axes are {axes} of {rank}")
    return call.part("Transpose", [call.x], perm=[axis % rank for axis in axes])


def _swap_axes(call: Call) -> str:
    order = list(range(len(call.shape())))
    a, b = (call.axis(key, 0, len(order)) for key in ("dim1", "dim2"))
    order[a], order[b] = order[b], order[a]
    return call.part("Transpose", [call.x], perm=order)


def _expand_dims(call: Call) -> str:
    axis = call.axis("axis", 0, len(call.shape()) + 1)
    return call.part("Unsqueeze", [call.x, call.integers("axes", [axis])])


def _squeeze(call: Call) -> str:
    shape = call.shape()
    given = call.sizes("axis") or [i for i, n in enumerate(shape) if i and n == 1]
    if 0 in shape[1:] and not call.has("axis"):
        raise Unsupported("of sizes that are open needs an axis")
    return call.part("Squeeze", [call.x, call.integers("axes", given)])


def _flatten(call: Call) -> str:
    return call.part("Flatten", [call.x], axis=1)


def _reshape(call: Call) -> str:
    shape, codes = call.shape(), call.sizes("shape")
    if not codes and call.has("target_shape"):
        codes = [n or -1 for n in call.sizes("target_shape")]
        codes[:1] = [0] if call.flag("keep_highest", False) else codes[:1]
    call.has("keep_highest")
    call.has("target_shape")
    if call.flag("reverse", False):
        parts = _parts(codes[::-1], shape[::-1])[::-1]
        last = len(shape) - 1
        target = [[last - a for a in p][::-1] if isinstance(p, list) else p for p in parts]
    else:
        target = _parts(codes, shape)
    return call.regrouped(call.x, target)


def _parts(codes: Sequence[int], shape: Shape) -> list[int | list[int]]:
    """What a Reshape's codes stand for: numbers, -1, and lists of axes that are joined."""
    parts: list[int | list[int]] = []
    at, codes = 0, list(codes)

    def axis() -> int:
        nonlocal at
        if at >= len(shape):
            raise Unsupported(f"its shape has more than the {len(shape)} axes of its input")
        at += 1
        return at - 1

    while codes:
        code = codes.pop(0)
        if code == 0:
            parts.append([axis()])
        elif code == -2:
            parts += [[axis()] for _ in range(len(shape) - at)]
        elif code == -3:
            parts.append([axis(), axis()])
        elif code == -4 and len(codes) > 1:
            pair, whole = [codes.pop(0), codes.pop(0)], shape[axis()]
            if -1 in pair:
                known = max(pair)
                if known < 1 or not whole or whole % known:
                    raise Unsupported(f"an axis of {whole} cannot become {pair}")
                pair[pair.index(-1)] = whole // known
            parts += pair
        elif code == -1 or code > 0:
            parts.append(code)
            at = min(at + 1, len(shape))
        else:
            raise Unsupported(f"its shape has the code {code}")
    if len(parts) > 8:
        raise Unsupported(f"its shape has {len(parts)} axes")
    return parts


def _reduction(op: str) -> Rule:
    def translate(call: Call) -> str:
        axes, keeps = call.axes(len(call.shape())), call.flag("keepdims", False)
        order = call.integer("ord", 2) if call.node.op == "norm" else 2
        if order not in (1, 2):
            raise Unsupported(f"its ord is {order}")
        kind = "ReduceL1" if order == 1 else op
        return call.part(kind, [call.x, call.integers("axes", axes)], keepdims=int(keeps))

    return Rule(translate)


def _place(op: str) -> Rule:
    def translate(call: Call) -> str:
        if call.node.op != "argmax_channel" and not call.has("axis"):
            raise Unsupported("of all numbers of the batch is not supported, give an axis")
        axis, keeps = call.axis("axis", 1, len(call.shape())), call.flag("keepdims", False)
        y = call.part(op, [call.x], axis=axis, keepdims=int(keeps))
        return call.part("Cast", [y], to=_FLOAT)

    return Rule(translate)


def _tile(call: Call) -> str:
    reps, rank = call.sizes("reps"), len(call.shape())
    if len(reps) > rank or min(reps, default=1) < 1:
        raise Unsupported(f"its reps are {reps} of {rank} axes")
    return call.part("Tile", [call.x, call.integers("repeats", [1] * (rank - len(reps)) + reps)])


def _broadcast_axis(call: Call) -> str:
    axes, sizes, shape = call.sizes("axis"), call.sizes("size"), call.shape()
    target = [1] * len(shape)
    if len(axes) != len(sizes) or any(not 0 < a < len(shape) for a in axes) or min(sizes) < 1:
        raise Unsupported(f"axes {axes} to {sizes} of {list(shape)}")
    for axis, size in zip(axes, sizes):
        target[axis] = size
    return call.part("Expand", [call.x, call.integers("sizes", target)])


def _broadcast_to(call: Call) -> str:
    sizes = [1 if n == 0 else n for n in call.sizes("shape", count=len(call.shape()))]
    return call.part("Expand", [call.x, call.integers("sizes", [1, *sizes[1:]])])


def _product(call: Call) -> str:
    """Of matrices, perhaps transposed."""
    if call.node.op == "dot" and {len(call.shape(0)), len(call.shape(1))} != {2}:
        raise Unsupported("of other than two matrices is not supported")
    names = []
    for index, key in enumerate(("transpose_a", "transpose_b")):
        x, order = call.input(index), list(range(len(call.shape(index))))
        if call.flag(key, False):
            x = call.part("Transpose", [x], perm=[*order[:-2], order[-1], order[-2]])
        names.append(x)
    return call.part("MatMul", names)


def _space(op: str) -> Rule:
    def translate(call: Call) -> str:
        call.image()
        return call.part(op, [call.x], blocksize=call.integer("block_size"))

    return Rule(translate)


_FUNCTIONS = {
    "abs": "Abs",
    "ceil": "Ceil",
    "cos": "Cos",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "negative": "Neg",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "softsign": "Softsign",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
_PAIRS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "power": "Pow",
}
_TRUTHS = {
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "lesser": "Less",
    "lesser_equal": "LessOrEqual",
}
_NUMBERS: dict[str, Rule] = {
    "_plus_scalar": _scalar("Add"),
    "_minus_scalar": _scalar("Sub"),
    "_rminus_scalar": _scalar("Sub", True),
    "_mul_scalar": _scalar("Mul"),
    "_div_scalar": _scalar("Div"),
    "_rdiv_scalar": _scalar("Div", True),
    "_power_scalar": _scalar("Pow"),
    "_rpower_scalar": _scalar("Pow", True),
    "_maximum_scalar": _scalar("Max"),
    "_minimum_scalar": _scalar("Min"),
}


def _capitals(name: str) -> str:
    """What 0.8 called it: _RMinusScalar."""
    parts = name.strip("_").split("_")
    first = parts[0]
    known = first[1:] if first in ("rminus", "rdiv", "rpower") else first
    return (
        "_" + ("R" if known != first else "") + known.title() + "".join(map(str.title, parts[1:]))
    )


_ALIASES = {
    "add": "elemwise_add _plus _Plus _add broadcast_plus _grad_add",
    "sub": "elemwise_sub _minus _Minus _sub broadcast_minus",
    "mul": "elemwise_mul _mul _Mul",
    "div": "elemwise_div _div _Div",
    "maximum": "_maximum _Maximum",
    "minimum": "_minimum _Minimum",
    "power": "_power _Power",
}
_SUMMED = {"mean": "Mean", "sum": "Sum", "max": "Max", "min": "Min", "prod": "Prod", "norm": "L2"}
_TENSORS: dict[str, Callable[[Call], str | list[str]]] = {
    "Concat": _concat,
    "Crop": _crop,
    "ElementWiseSum": _sum,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _reshape,
    "SliceChannel": _slice_channel,
    "SwapAxis": _swap_axes,
    "batch_dot": _product,
    "broadcast_axis": _broadcast_axis,
    "broadcast_to": _broadcast_to,
    "clip": _clip,
    "dot": _product,
    "expand_dims": _expand_dims,
    "hard_sigmoid": _hard_sigmoid,
    "round": _away_from_zero,
    "rsqrt": _inverse_root,
    "slice": _slice,
    "slice_axis": _slice_axis,
    "slice_like": _slice_like,
    "square": _square,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "trunc": _truncated,
    "where": _where,
}

RULES = named(
    {
        **{name: Rule(translate) for name, translate in _TENSORS.items()},
        **{name: _unary(op) for name, op in _FUNCTIONS.items()},
        **{f"broadcast_{name}": _two(op) for name, op in _PAIRS.items()},
        **{f"broadcast_{name}": _truth(op) for name, op in _TRUTHS.items()},
        **{f"_{name}_scalar": _scalar(op, truth=True) for name, op in _TRUTHS.items()},
        **_NUMBERS,
        **{name: _reduction(f"Reduce{op}") for name, op in _SUMMED.items()},
        "argmax": _place("ArgMax"),
        "argmin": _place("ArgMin"),
        "broadcast_not_equal": Rule(_not_equal),
        "depth_to_space": _space("DepthToSpace"),
        "log10": _logarithm(10),
        "log2": _logarithm(2),
        "space_to_depth": _space("SpaceToDepth"),
    },
    {
        **{f"broadcast_{name}": texts for name, texts in _ALIASES.items()},
        **{f"broadcast_{name}": f"_{name}" for name in _TRUTHS},
        **{name: _capitals(name) for name in _NUMBERS},
        "Concat": "concat",
        "ElementWiseSum": "add_n element_wise_sum",
        "Flatten": "flatten",
        "Pad": "pad",
        "Reshape": "reshape",
        "SliceChannel": "split",
        "SwapAxis": "swapaxes",
        "argmax": "argmax_channel",
        "broadcast_axis": "broadcast_axes",
        "broadcast_not_equal": "_not_equal _not_equal_scalar",
        "max": "max_axis",
        "min": "min_axis",
        "slice": "crop",
        "sum": "sum_axis",
        "trunc": "fix",
    },
)
