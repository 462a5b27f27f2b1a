"""What TensorFlow's arithmetic means: element by element, reductions, products of matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import FLOAT32
from ._tf_op import Step
from ._translator import Unsupported

Rule = Callable[[Step], None]
_MOST_LIMITS = 1 << 16


def _plain(op: str, count: int) -> Rule:
    """The same operator of ONNX, of so many inputs."""

    def translate(step: Step) -> None:
        step.add(op, [step.input(index) for index in range(count)])

    return translate


def _chain(*ops: str) -> Rule:
    """Operators of one input, one after the other."""

    def translate(step: Step) -> None:
        x = step.x
        for op in ops[:-1]:
            x = step.add(op, [x], step.fresh(op.lower()))
        step.add(ops[-1], [x])

    return translate


def _relu6(step: Step) -> None:
    limits = [step.make(key, np.float32(n)) for key, n in (("least", 0), ("most", 6))]
    step.add("Clip", [step.x, *limits])


def _leaky_relu(step: Step) -> None:
    step.add("LeakyRelu", [step.x], alpha=step.number("alpha", 0.2))


def _clip(step: Step) -> None:
    limits = [step.constant(index, "limit") for index in (1, 2)]
    if any(limit.size != 1 for limit in limits):
        raise Unsupported("has more than one limit on a side")
    names = [step.make("limit", limit.reshape(()).astype(FLOAT32)) for limit in limits]
    step.add("Clip", [step.x, *names])


def _log1p(step: Step) -> None:
    step.add(
        "Log", [step.add("Add", [step.x, step.make("one", np.float32(1))], step.fresh("more"))]
    )


def _expm1(step: Step) -> None:
    step.add("Sub", [step.add("Exp", [step.x], step.fresh("exp")), step.make("one", np.float32(1))])


def _not_equal(step: Step) -> None:
    step.add("Not", [step.add("Equal", [step.x, step.input(1)], step.fresh("equal"))])


def _square(step: Step) -> None:
    step.add("Mul", [step.x, step.x])


def _squared_difference(step: Step) -> None:
    difference = step.add("Sub", [step.x, step.input(1)], step.fresh("difference"))
    step.add("Mul", [difference, difference])


def _floor_div(step: Step) -> None:
    """Of integers as they are, since sizes are not negative."""
    value = step.reader.value(step.input(1))
    if value is not None and value.dtype.kind in "iuO":
        rest = step.add("Mod", [step.x, step.input(1)], step.fresh("rest"))
        whole = step.add("Sub", [step.x, rest], step.fresh("whole"))
        step.add("Div", [whole, step.input(1)])
        return
    step.add("Floor", [step.add("Div", [step.x, step.input(1)], step.fresh("quotient"))])


def _div_no_nan(step: Step) -> None:
    """The quotient, or 0 where the divisor is."""
    zero = step.make("zero", np.float32(0))
    lost = step.add("Equal", [step.input(1), zero], step.fresh("lost"))
    quotient = step.add("Div", [step.x, step.input(1)], step.fresh("quotient"))
    step.add("Where", [lost, zero, quotient])


def _select(step: Step) -> None:
    condition = step.input(0)
    more = len(step.shape(1)) - len(step.shape(0))
    if step.op.kind == "Select" and more > 0 and len(step.shape(0)) == 1:  # one for each image
        axes = step.make("axes", np.arange(1, more + 1))
        condition = step.add("Unsqueeze", [condition, axes], step.fresh("condition"))
    step.add("Where", [condition, step.input(1), step.input(2)])


def _sum_of_all(step: Step) -> None:
    step.add("Sum", step.inputs)


def _reduce(op: str) -> Rule:
    def translate(step: Step) -> None:
        rank = len(step.shape())
        axes = [axis % rank for axis in step.ints(1, "axes") if -rank <= axis < rank]
        if len(axes) != len(set(axes)) or len(axes) != step.constant(1, "axes").size:
            raise Unsupported(f"its axes are {step.ints(1, 'axes')} of {rank}")
        if not axes:
            step.add("Identity", [step.x])
            return
        names = [step.x, step.make("axes", axes)]
        step.add(op, names, keepdims=int(step.flag("keep_dims")))

    return translate


def _place(step: Step) -> None:
    """Where along an axis the largest or smallest number is."""
    axis = step.axis(1, len(step.shape()))
    wanted = step.attr("output_type")
    place = step.add(step.op.kind, [step.x], step.fresh("place"), axis=axis, keepdims=0)
    step.add("Cast", [place], to=_CASTS.get(wanted.type, 7) if wanted is not None else 7)


def _softmax(step: Step) -> None:
    step.add(step.op.kind, [step.x], axis=-1)


def _matmul(step: Step) -> None:
    """Either matrix may be transposed."""
    keys = ("transpose_a", "transpose_b")
    if step.op.kind.startswith("Batch"):
        keys = ("adj_x", "adj_y")
    names = [step.input(0), step.input(1)]
    for index, key in enumerate(keys):
        if step.flag(key):
            rank = len(step.shape(index))
            perm = [*range(rank - 2), rank - 1, rank - 2]
            y = step.fresh("turned")
            names[index] = step.add("Transpose", [names[index]], y, perm=perm)
    step.add("MatMul", names)


_CASTS = {1: 1, 2: 1, 3: 6, 4: 2, 5: 5, 6: 3, 9: 7, 10: 9, 14: 1, 19: 1}  # floats become float32


def _cast(step: Step) -> None:
    wanted = step.attr("DstT")
    step.flag("Truncate")
    code = _CASTS.get(wanted.type if wanted is not None else 0)
    if code is None:
        raise Unsupported("its type is not supported")
    step.add("Cast", [step.x], to=code)


def _fake_quant(step: Step) -> None:
    """As numbers of so many bits, and back: limits moved so that 0 is one of them, then rounded
    (tensorflow/core/kernels/fake_quant_ops_functor.h).
    """
    if step.op.kind == "FakeQuantWithMinMaxArgs":
        given = step.number("min", -6), step.number("max", 6)
        least, most = (np.asarray(n, FLOAT32) for n in given)
    else:
        limits = [step.constant(i, "limits") for i in (1, 2)]
        if any(limit.size > _MOST_LIMITS for limit in limits):
            raise Unsupported(f"has more than {_MOST_LIMITS} limits")
        least, most = (limit.astype(FLOAT32) for limit in limits)
    first = 1 if step.flag("narrow_range") else 0
    last = 2 ** step.integer("num_bits", 8) - 1
    if not 2 <= last <= 65535 or not ((least <= 0) & (most >= 0) & (least < most)).all():
        raise Unsupported("its limits do not enclose 0, or its bits are not 2 to 16")
    scale = (most - least) / np.float32(last - first)
    zero = np.clip(np.floor(first - least / scale + np.float32(0.5)), first, last)
    low, high = (first - zero) * scale, (last - zero) * scale
    arrays = {"low": low, "high": high, "scale": scale, "half": np.float32(0.5)}
    names = {key: step.make(key, np.asarray(a, FLOAT32)) for key, a in arrays.items()}
    x = step.x
    for op, key in (("Max", "low"), ("Min", "high"), ("Sub", "low"), ("Div", "scale")):
        x = step.add(op, [x, names[key]], step.fresh(op.lower()))
    x = step.add(
        "Floor", [step.add("Add", [x, names["half"]], step.fresh("more"))], step.fresh("n")
    )
    step.add("Add", [step.add("Mul", [x, names["scale"]], step.fresh("scaled")), names["low"]])


_UNARY = (
    "Abs Ceil Cos Elu Erf Exp Floor Log Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus "
    "Softsign Sqrt Tanh"
)
_BINARY = {
    "Add": "Add",
    "AddV2": "Add",
    "Div": "Div",
    "Equal": "Equal",
    "FloorMod": "Mod",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "Less": "Less",
    "LessEqual": "LessOrEqual",
    "LogicalAnd": "And",
    "LogicalOr": "Or",
    "Maximum": "Max",
    "Minimum": "Min",
    "Mul": "Mul",
    "Pow": "Pow",
    "RealDiv": "Div",
    "Sub": "Sub",
}
_REDUCTIONS = {
    "Max": "ReduceMax",
    "Mean": "ReduceMean",
    "Min": "ReduceMin",
    "Prod": "ReduceProd",
    "Sum": "ReduceSum",
}
_PASSED = "CheckNumerics EnsureShape Identity PreventGradient Snapshot StopGradient"
RULES: dict[str, Rule] = {
    **{name: _plain(name, 1) for name in _UNARY.split()},
    **{name: _plain(op, 2) for name, op in _BINARY.items()},
    **{name: _reduce(op) for name, op in _REDUCTIONS.items()},
    **{name: _plain("Identity", 1) for name in _PASSED.split()},
    "AddN": _sum_of_all,
    "ArgMax": _place,
    "ArgMin": _place,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "Cast": _cast,
    "ClipByValue": _clip,
    "DivNoNan": _div_no_nan,
    "Expm1": _expm1,
    "FakeQuantWithMinMaxArgs": _fake_quant,
    "FakeQuantWithMinMaxVars": _fake_quant,
    "FakeQuantWithMinMaxVarsPerChannel": _fake_quant,
    "FloorDiv": _floor_div,
    "Inv": _plain("Reciprocal", 1),
    "LeakyRelu": _leaky_relu,
    "Log1p": _log1p,
    "LogicalNot": _plain("Not", 1),
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "NotEqual": _not_equal,
    "Relu6": _relu6,
    "Rint": _plain("Round", 1),
    "Rsqrt": _chain("Sqrt", "Reciprocal"),
    "Select": _select,
    "SelectV2": _select,
    "Softmax": _softmax,
    "Square": _square,
    "SquaredDifference": _squared_difference,
}
