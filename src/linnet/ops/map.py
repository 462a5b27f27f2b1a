"""Element by element: activations, arithmetic, types."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Node
from ..text import shape_text, short
from ._broadcast import arithmetic, pointwise, smaller
from ._lowering import Call, Lowering, Refusal, of_constants
from ._registry import Operator, as_inputs
from ._small import integer, of_any_type

_DTYPES = {number: np.dtype(name) for name, number in ELEMENT_TYPES.items()}


def relu(x: Array) -> Array:
    """Negative values become 0; NaN stays."""
    return np.asarray(np.maximum(x, 0))


def thresholded_relu(x: Array, *, alpha: float = 1.0) -> Array:
    """Values that are not above `alpha` become 0."""
    return np.asarray(np.where(x > alpha, x, 0), x.dtype)


def celu(x: Array, *, alpha: float = 1.0) -> Array:
    return np.asarray(np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)), x.dtype)


def shrink(x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """Values nearer to 0 than `lambd` become 0, others nearer to it by `bias`."""
    return np.asarray(np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0)), x.dtype)


def clip(x: Array, least: Array | None = None, most: Array | None = None) -> Array:
    """Values beyond the limits become the limits; where those cross, the upper one; NaN stays."""
    x = x if least is None else np.maximum(x, least)
    return np.asarray(x if most is None else np.minimum(x, most))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def tanh(x: Array) -> Array:
    return np.asarray(np.tanh(x))


def exp(x: Array) -> Array:
    return np.asarray(np.exp(x))


def log(x: Array) -> Array:
    return np.asarray(np.log(x))


def sqrt(x: Array) -> Array:
    return np.asarray(np.sqrt(x))


def reciprocal(x: Array) -> Array:
    return np.asarray(1 / x)


def negative(x: Array) -> Array:
    return np.asarray(-x)


def absolute(x: Array) -> Array:
    return np.asarray(np.abs(x))


def sign(x: Array) -> Array:
    return np.asarray(np.sign(x))


def floor(x: Array) -> Array:
    return np.asarray(np.floor(x))


def ceil(x: Array) -> Array:
    return np.asarray(np.ceil(x))


def round_(x: Array) -> Array:
    """To the nearest integer, the even one of two."""
    return np.asarray(np.rint(x))


def sine(x: Array) -> Array:
    return np.asarray(np.sin(x))


def cosine(x: Array) -> Array:
    return np.asarray(np.cos(x))


def softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(x, 0).astype(x.dtype))


def softsign(x: Array) -> Array:
    return np.asarray(x / (1 + np.abs(x)))


def mish(x: Array) -> Array:
    return np.asarray(x * np.tanh(softplus(x)))


def swish(x: Array, *, alpha: float = 1.0) -> Array:
    return np.asarray(x * sigmoid(alpha * x))


def hard_swish(x: Array) -> Array:
    return np.asarray(x * np.clip(x / 6 + 0.5, 0, 1))


def hard_sigmoid(x: Array, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return np.asarray(np.clip(alpha * x + beta, 0, 1))


def erf(x: Array) -> Array:
    """Twice the integral of the normal distribution with variance 1/2 from 0 to x."""
    return np.asarray(np.vectorize(math.erf, otypes=[x.dtype])(x))


def gelu(x: Array, *, approximate: str = "none") -> Array:
    """x times the integral of the normal distribution up to x (Hendrycks and Gimpel, 2016), or the
    authors' estimate of that by a hyperbolic tangent.
    """
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return np.asarray(0.5 * x * (1 + np.tanh(inner)))
    if approximate != "none":
        raise ValueError(f"approximate is {short(approximate)}")
    return np.asarray(0.5 * x * np.vectorize(math.erfc, otypes=[x.dtype])(-x / math.sqrt(2)))


def leaky_relu(x: Array, *, alpha: float = 0.01) -> Array:
    return np.asarray(np.where(x < 0, alpha * x, x))


def elu(x: Array, *, alpha: float = 1.0) -> Array:
    return np.asarray(np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x))


def selu(
    x: Array, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Array:
    return np.asarray(gamma * elu(x, alpha=alpha))


def prelu(x: Array, slope: Array) -> Array:
    """Negative values times the slope, which broadcasts to x."""
    return np.asarray(np.where(x < 0, slope * x, x))


def largest(*terms: Array) -> Array:
    return reduce(np.maximum, terms)


def smallest(*terms: Array) -> Array:
    return reduce(np.minimum, terms)


def mean(*terms: Array) -> Array:
    return np.asarray(total(*terms) / len(terms))


def power(a: Array, b: Array) -> Array:
    """a^b, in the type of a."""
    return np.asarray(np.power(a, b).astype(a.dtype))


def add(a: Array, b: Array) -> Array:
    return np.asarray(a + b)


def subtract(a: Array, b: Array) -> Array:
    return np.asarray(a - b)


def multiply(a: Array, b: Array) -> Array:
    return np.asarray(a * b)


def divide(a: Array, b: Array) -> Array:
    """Of integers what is left without the fraction; ValueError if that divides by zero."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if (b == 0).any():
        raise ValueError("integer division by zero")
    return np.asarray(a // b + ((a % b != 0) & ((a < 0) != (b < 0))))


def remainder(a: Array, b: Array, *, fmod: int = 0) -> Array:
    """What is left of `a`, with the sign of `b` or, if `fmod`, of `a`; ValueError of zero."""
    if a.dtype.kind != "f" and (b == 0).any():
        raise ValueError("integer division by zero")
    return np.asarray(np.fmod(a, b) if fmod else a % b)


def total(*terms: Array) -> Array:
    return reduce(add, terms)


def batch_normalization(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Array:
    """Each channel (axis 1) with the statistics of training; `momentum` is of training."""
    if training_mode:
        raise ValueError("training_mode=1 is not supported")
    scale, bias, mean, variance = (
        p.reshape(-1, *(1,) * (x.ndim - 2)) for p in (scale, bias, mean, variance)
    )
    return np.asarray((x - mean) / np.sqrt(variance + epsilon) * scale + bias)


def cast(x: Array, *, round_mode: str = "up", saturate: int = 1, to: int) -> Array:
    """`x` as another type. `round_mode` and `saturate` are of float8, which there is not here."""
    if to not in _DTYPES:
        raise ValueError(f"type {to} is not supported")
    if x.dtype == object and to in (6, 7):  # integers one of which is a batch of any size
        return x
    dtype = _DTYPES[to]
    if x.dtype.kind == "f" and dtype.kind in "iu":
        # Towards zero; beyond the type its nearest number, for NaN 0: ONNX leaves those open.
        limits, x = np.iinfo(dtype), x.astype(np.float64)
        below, beyond = x < limits.min, x >= float(limits.max) + 1
        y = np.where(below | beyond | np.isnan(x), 0, x).astype(dtype)
        y[below], y[beyond] = limits.min, limits.max
        return y
    return x.astype(dtype)


def lower_clip(low: Lowering, call: Call) -> None:
    """Between constants, of which one may be missing."""
    limits = [None, None]
    inputs = [call.input(0), "", ""]
    if call.wide:
        _clip_integers(low, call)
        return
    for index, what in enumerate(("least value", "largest value")):
        name = call.input(index + 1)
        if name:
            array = low.numbers(name, what)
            if array.size != 1 or np.isnan(array).any():
                raise Refusal(f"its {what} '{name}' is not a single number")
            limits[index] = array.item()
            plain = array.shape == () and array.dtype == np.float32
            number = np.array(array.item(), np.float32)
            inputs[index + 1] = (
                name if plain else low.add_constant(f"{call.output}.{index}", number)
            )
    if limits == [0, None]:
        pointwise(low, call, "Relu", inputs[:1])
    elif limits == [None, None]:
        low.shape(inputs[0])
        low.alias[call.output] = inputs[0]
    else:
        pointwise(low, call, "Clip", inputs[: 2 if limits[1] is None else 3])


def _clip_integers(low: Lowering, call: Call) -> None:
    x, given = call.input(0), [index for index in (1, 2) if call.input(index)]
    for index in given:
        step = "least" if index != given[-1] else ""
        x = arithmetic(low, call, "Max" if index == 1 else "Min", (x, call.input(index)), step)
    if not given:
        low.alias[call.output] = x


def lower_arithmetic(low: Lowering, call: Call) -> None:
    """Of two activations, or of one and a constant; they may broadcast to each other."""
    x, y = call.input(0), call.input(1)
    op = call.node.op
    if x in low.constants or (y not in low.constants and smaller(low.shape(x), low.shape(y))):
        if op == "Sub":
            op, y = "Add", pointwise(low, call, "Neg", [y], step="negative")
        elif op == "Div" and call.wide:
            x = arithmetic(low, call, "Add", (_zeros(low, call, y), x), "dividend")
            arithmetic(low, call, op, (x, y))
            return
        elif op == "Div":
            op, y = "Mul", pointwise(low, call, "Reciprocal", [y], step="reciprocal")
        x, y = y, x
    arithmetic(low, call, op, (x, y))


def _zeros(low: Lowering, call: Call, like: str) -> str:
    """As many integers as there are in another value."""
    zero = low.add_constant(f"{call.output}.zero", np.array(0, np.int64))
    return arithmetic(low, call, "Mul", (like, zero), "zeros")


def lower_function(low: Lowering, call: Call) -> None:
    """As it is."""
    if call.wide and call.node.op == "Relu":
        zero = low.add_constant(f"{call.output}.zero", np.array(0, np.int64))
        arithmetic(low, call, "Max", (call.input(0), zero))
        return
    pointwise(low, call, call.node.op, call.inputs, dict(call.attrs))


_TERMS = 9  # of a series, up to the 17th or 16th power: of half a turn they err by 2e-7
_TURN = (6.28125, 2 * math.pi - 6.28125)  # the first times a whole number is exact


def lower_series(low: Lowering, call: Call) -> None:
    """By its Taylor series, of what whole turns leave."""
    x, odd = call.input(0), int(call.node.op == "Sin")

    def by(op: str, x: str, number: float, step: str) -> str:
        name = low.add_constant(f"{call.output}.{step}.number", np.array(number, np.float32))
        return arithmetic(low, call, op, (x, name), step)

    turns = pointwise(low, call, "Round", [by("Mul", x, 1 / sum(_TURN), "turns")], step="whole")
    for index, part in enumerate(_TURN):
        turned = by("Mul", turns, part, f"turned{index}")
        x = arithmetic(low, call, "Sub", (x, turned), f"left{index}")
    square = arithmetic(low, call, "Mul", (x, x), "square")
    terms = [(-1) ** k / math.factorial(2 * k + odd) for k in range(_TERMS)]
    y = by("Mul", square, terms.pop(), "power")
    while len(terms) > 1:
        y = by("Add", y, terms.pop(), f"sum{len(terms)}")
        y = arithmetic(low, call, "Mul", (y, square), f"power{len(terms)}")
    y = by("Add", y, terms.pop(), "series" if odd else "")
    if odd:
        arithmetic(low, call, "Mul", (y, x))


def lower_thresholded_relu(low: Lowering, call: Call) -> None:
    """As a Where."""
    threshold, zero = _numbers(low, call, call.attrs["alpha"], 0)
    above = f"{call.output}.above"
    low.visit(Node("Greater", above, [call.input(0), threshold], [above]))
    low.visit(Node("Where", call.node.name, [above, call.input(0), zero], [call.output]))


def lower_celu(low: Lowering, call: Call) -> None:
    """As an Elu, with a positive alpha."""
    alpha = call.attrs["alpha"]
    if not alpha > 0:
        raise Refusal(f"alpha is {alpha:g}")
    x = scaled(low, call, call.input(0), 1 / alpha, "scaled")
    scaled(low, call, pointwise(low, call, "Elu", [x], {"alpha": 1.0}, step="elu"), alpha)


def lower_shrink(low: Lowering, call: Call) -> None:
    """As what is beyond one limit, and what is beyond the other."""
    x, limit, bias = call.input(0), call.attrs["lambd"], call.attrs["bias"]
    if limit < 0:
        raise Refusal(f"lambd is {limit:g}")
    least, most, zero = _numbers(low, call, -limit, limit, 0)
    below, above, positive = (f"{call.output}.{part}" for part in ("below", "above", "positive"))
    raised = scaled(low, call, x, 1, "raised", shift=bias) if bias else x
    lowered = scaled(low, call, x, 1, "lowered", shift=-bias) if bias else x
    low.visit(Node("Less", below, [x, least], [below]))
    low.visit(Node("Greater", above, [x, most], [above]))
    low.visit(Node("Where", positive, [above, lowered, zero], [positive]))
    low.visit(Node("Where", call.node.name, [below, raised, positive], [call.output]))


def _numbers(low: Lowering, call: Call, *values: float) -> list[str]:
    return [
        low.add_constant(f"{call.output}.number{index}", np.array(value, np.float32))
        for index, value in enumerate(values)
    ]


def scaled(
    low: Lowering, call: Call, x: str, factor: float, step: str = "", *, shift: float = 0
) -> str:
    """The product with a number, plus another."""
    shape = low.shape(x)
    if len(shape) < 2:
        column = low.reshape(call, x, (*shape, 1), f"{step or 'scaled'}.column")
        y = scaled(low, call, column, factor, f"{step or 'scaled'}.result", shift=shift)
        return low.reshape(call, y, shape, step)
    attrs = {"scale": np.full(1, factor), "shift": np.full(1, float(shift))}
    return low.emit(call, "Affine", [x], attrs, step)


def lower_chain(low: Lowering, call: Call) -> None:
    """Of any number of activations and constants, which may broadcast to each other."""
    op = {"Sum": "Add", "Mean": "Add"}.get(call.node.op, call.node.op)
    if not call.inputs:
        raise Refusal("has no inputs")
    given = [name for name in call.inputs if name not in low.constants]
    if not given:
        raise Refusal("of constants only is not supported")
    result = max(given, key=lambda name: math.prod(low.shape(name)[1:]))
    others = list(call.inputs)
    others.remove(result)
    mean = call.node.op == "Mean" and len(call.inputs) > 1
    for index, name in enumerate(others, 1):
        step = f"{op.lower()}{index}" if mean or index < len(others) else ""
        result = arithmetic(low, call, op, (result, name), step)
    if mean:
        scaled(low, call, result, 1 / len(call.inputs))
    elif not others:
        low.alias[call.output] = result


def lower_power(low: Lowering, call: Call) -> None:
    """By the logarithm, but for the powers -1, 0.5, 1, 2 and 3."""
    x, y = call.input(0), call.input(1)
    power = low.constants.get(y)
    if low.dtypes.get(x, _DTYPES[1]).kind in "iu" and x in low.shapes:
        _integer_power(low, call, power)
        return
    if x in low.constants:
        base = low.numbers(x, "base")
        low.spend(base.size)
        if not (base > 0).all():
            raise Refusal("of constants that are not positive is not supported")
        logarithm = low.add_constant(f"{call.output}.log", np.log(base).astype(np.float32))
        pointwise(low, call, "Exp", [arithmetic(low, call, "Mul", (y, logarithm), "product")])
        return
    value = float(power.item()) if power is not None and power.size == 1 else None
    if value is not None and not math.isfinite(value):
        raise Refusal(f"to the power {value:g} is not supported")
    fits = value is not None and power is not None and power.ndim <= len(low.shape(x))
    if value == 1 and fits:
        low.alias[call.output] = x
    elif value in (-1, 0.5) and fits:
        pointwise(low, call, "Sqrt" if value == 0.5 else "Reciprocal", [x])
    elif value in (2, 3) and fits:
        square = arithmetic(low, call, "Mul", (x, x), "" if value == 2 else "square")
        if value == 3:
            arithmetic(low, call, "Mul", (square, x))
    else:
        arithmetic(low, call, "Pow", (x, y))


def _integer_power(low: Lowering, call: Call, power: Array | None) -> None:
    if power is None or not np.isfinite(power).all() or (power != np.floor(power)).any():
        raise Refusal("of integers is supported with whole constant powers only")
    low.spend(power.size, 8)
    y = low.add_constant(f"{call.output}.power", power.astype(np.int64))
    x, dtype = call.input(0), low.dtypes[call.input(0)]
    wide = integer(low, call, x, "base")
    last = "" if dtype == np.int64 else "power"
    value = arithmetic(low, call, "Pow", (wide, y), last)
    if last:
        low.emit(call, "Cast", [value], {"to": ELEMENT_TYPES[dtype.name]})


def lower_gelu(low: Lowering, call: Call) -> None:
    """The estimate by a hyperbolic tangent as the product with a sigmoid, which it is."""
    x, how = call.input(0), call.attrs["approximate"]
    if how == "none":
        pointwise(low, call, "Gelu", [x])
        return
    if how != "tanh":
        raise Refusal(f"approximate is {short(how)}")
    factor = 2 * math.sqrt(2 / math.pi)
    square = arithmetic(low, call, "Mul", (x, x), "square")
    slope = scaled(low, call, square, factor * 0.044715, "slope", shift=factor)
    inner = arithmetic(low, call, "Mul", (x, slope), "inner")
    arithmetic(low, call, "Mul", (x, pointwise(low, call, "Sigmoid", [inner], step="share")))


def lower_prelu(low: Lowering, call: Call) -> None:
    """With a constant slope, or a computed one."""
    arithmetic(low, call, "PRelu", (call.input(0), call.input(1)))


def lower_swish(low: Lowering, call: Call) -> None:
    """The product with its sigmoid."""
    x = call.input(0)
    argument = x
    if call.attrs["alpha"] != 1:
        argument = scaled(low, call, x, call.attrs["alpha"], "scaled")
    factor = pointwise(low, call, "Sigmoid", [argument], step="sigmoid")
    arithmetic(low, call, "Mul", (x, factor))


def lower_batch_normalization(low: Lowering, call: Call) -> None:
    """Part of the layer before it, else a convolution of each channel."""
    if call.attrs["training_mode"]:
        raise Refusal("training_mode=1 is not supported")
    shape = low.shape(call.input(0))
    parameters = []
    for index, what in enumerate(("scale", "bias", "mean", "variance"), 1):
        array = low.numbers(call.input(index), what)
        if len(shape) < 2 or array.shape != (shape[1],):
            raise Refusal(
                f"its {what} has shape {list(array.shape)}, its input {shape_text(shape)}"
            )
        low.spend(array.size)
        parameters.append(array.astype(np.float64))
    scale, bias, mean, variance = parameters
    if not (variance + call.attrs["epsilon"] > 0).all():
        raise Refusal("variance + epsilon is not positive everywhere")
    scale = scale / np.sqrt(variance + call.attrs["epsilon"])
    low.emit(call, "Affine", [call.input(0)], {"scale": scale, "shift": bias - mean * scale})


def lower_cast(low: Lowering, call: Call) -> None:
    """To float32, float16, an integer of up to 64 bits with a sign, uint8 or bool."""
    x, to = call.input(0), call.attrs["to"]
    low.shape(x)
    if _DTYPES.get(to, np.float64) == np.float64:
        raise Refusal(f"to type {to} is not supported")
    if low.dtypes[x] == _DTYPES[to]:
        low.alias[call.output] = x
    else:
        low.emit(call, "Cast", [x], {"to": to})


def broadcast(*arrays: Array, **attrs: Any) -> int:
    return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))


OPERATORS = (
    Operator("Relu", relu, of_any_type(lower_function)),
    Operator("Sigmoid", sigmoid, of_any_type(lower_function), as_inputs),
    Operator("Tanh", tanh, of_any_type(lower_function), as_inputs),
    Operator("Exp", exp, of_any_type(lower_function), as_inputs),
    Operator("Log", log, of_any_type(lower_function), as_inputs),
    Operator("Sqrt", sqrt, of_any_type(lower_function), as_inputs),
    Operator("Reciprocal", reciprocal, of_any_type(lower_function), as_inputs),
    Operator("Neg", negative, of_any_type(lower_function), as_inputs),
    Operator("Abs", absolute, of_any_type(lower_function), as_inputs),
    Operator("Sign", sign, of_any_type(lower_function), as_inputs),
    Operator("Floor", floor, of_any_type(lower_function), as_inputs),
    Operator("Ceil", ceil, of_any_type(lower_function), as_inputs),
    Operator("Round", round_, of_any_type(lower_function), as_inputs),
    Operator("Sin", sine, of_any_type(lower_series), as_inputs),
    Operator("Cos", cosine, of_any_type(lower_series), as_inputs),
    Operator("Softplus", softplus, of_any_type(lower_function), as_inputs),
    Operator("Softsign", softsign, of_any_type(lower_function), as_inputs),
    Operator("HardSwish", hard_swish, of_any_type(lower_function)),
    Operator("HardSigmoid", hard_sigmoid, of_any_type(lower_function)),
    Operator("Mish", mish, of_any_type(lower_function)),
    Operator("Erf", erf, of_any_type(lower_function), as_inputs),
    Operator("Gelu", gelu, of_any_type(lower_gelu)),
    Operator("LeakyRelu", leaky_relu, of_any_type(lower_function)),
    Operator("Elu", elu, of_any_type(lower_function)),
    Operator("Selu", selu, of_any_type(lower_function)),
    Operator("PRelu", prelu, of_any_type(lower_prelu)),
    Operator("Swish", swish, of_any_type(lower_swish)),
    Operator("ThresholdedRelu", thresholded_relu, lower_thresholded_relu),
    Operator("Celu", celu, of_any_type(lower_celu)),
    Operator("Shrink", shrink, lower_shrink),
    Operator("Clip", clip, of_any_type(lower_clip), as_inputs),
    Operator("Add", add, of_any_type(lower_arithmetic), broadcast),
    Operator("Sub", subtract, of_any_type(lower_arithmetic), broadcast),
    Operator("Mul", multiply, of_any_type(lower_arithmetic), broadcast),
    Operator("Div", divide, of_any_type(lower_arithmetic), broadcast),
    Operator("Mod", remainder, of_constants, broadcast),
    Operator("Pow", power, lower_power, broadcast),
    Operator("Sum", total, lower_chain, broadcast),
    Operator("Mean", mean, lower_chain, broadcast),
    Operator("Max", largest, of_any_type(lower_chain), broadcast),
    Operator("Min", smallest, of_any_type(lower_chain), broadcast),
    Operator("BatchNormalization", batch_normalization, lower_batch_normalization),
    Operator("Cast", cast, lower_cast, as_inputs),
)
