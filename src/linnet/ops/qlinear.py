"""Operators of integers that stand for reals, which have scales and zero points among their inputs.

They are computed as a DequantizeLinear of each input, the operator of reals, and a QuantizeLinear.
Some are of the domain com.microsoft, as ONNX Runtime's quantizer writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Node
from ._lowering import Call, Lowering, Refusal
from ._registry import Operator
from ._window import Pair
from .conv import conv
from .map import leaky_relu, sigmoid
from .normalize import softmax
from .pool import average_pool, global_average_pool
from .quant import dequantize_linear, quantize_linear

_FLOAT, _INT32, _UINT8 = (ELEMENT_TYPES[name] for name in ("float32", "int32", "uint8"))


def _without(zero: Array | None, x: Array, axis: int = 0) -> Array:
    """Integers less their zero point, of which there may be one for each index of an axis."""
    wide = x.astype(np.int64)
    if zero is None:
        return wide
    shape = [1] * x.ndim
    if zero.size > 1 and zero.ndim == 1:
        shape[axis] = -1
        return wide - zero.astype(np.int64).reshape(shape)
    return wide - zero.astype(np.int64)


def requantized(sums: Array, factor: Array, zero: Array) -> Array:
    """Sums of products in the scale of the result: rounded to nearest even, within its type."""
    limits = np.iinfo(zero.dtype)
    rounded = np.rint(sums.astype(np.float32) * factor.astype(np.float32))
    whole = np.clip(rounded + zero.astype(np.int64), limits.min, limits.max)
    return np.asarray(whole, zero.dtype)


def _factor(x_scale: Array, w_scale: Array, y_scale: Array) -> Array:
    return np.asarray(x_scale.astype(np.float64) * w_scale.astype(np.float64) / y_scale)


def qlinear_conv(  # noqa: PLR0917 - inputs of ONNX
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Pair = (1, 1),
    group: int = 1,
    kernel_shape: Pair = (),
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """Conv of integers, whose bias `b` is int32 in the scale x_scale * w_scale."""
    sums = conv(
        _without(x_zero, x),
        _without(w_zero, w),
        None if b is None else b.astype(np.int64),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    factor = _factor(x_scale, w_scale, y_scale)
    if factor.size > 1:
        factor = factor.reshape(-1, *(1,) * (sums.ndim - 2))
    return requantized(sums, factor, y_zero)


def qlinear_matmul(  # noqa: PLR0917 - inputs of ONNX
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> Array:
    """MatMul of integers; `a` may have a scale for each row, `b` for each column."""
    sums = _without(a_zero, a, -2) @ _without(b_zero, b, -1)
    rows = a_scale.reshape(-1, 1) if a_scale.size > 1 else a_scale
    return requantized(sums, _factor(rows, b_scale, y_scale), y_zero)


def qgemm(  # noqa: PLR0917 - inputs of ONNX
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    c: Array | None = None,
    y_scale: Array | None = None,
    y_zero: Array | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """Gemm of integers, whose bias `c` is int32 in the scale alpha * a_scale * b_scale; real
    without `y_scale`.
    """
    left, right = _without(a_zero, a), _without(b_zero, b, 0 if transB else 1)
    sums = (left.T if transA else left) @ (right.T if transB else right)
    if c is not None:
        sums = sums + c.astype(np.int64)
    one = np.ones((), np.float64)
    factor = alpha * _factor(a_scale, b_scale, one if y_scale is None else y_scale)
    if y_scale is None:
        return np.asarray(sums * factor, np.result_type(a_scale))
    return requantized(sums, factor, np.zeros((), np.uint8) if y_zero is None else y_zero)


def conv_integer(
    x: Array,
    w: Array,
    x_zero: Array | None = None,
    w_zero: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Pair = (1, 1),
    group: int = 1,
    kernel_shape: Pair = (),
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """Conv of integers less their zero points, as int32."""
    how: dict[str, Any] = {"auto_pad": auto_pad, "dilations": dilations, "group": group}
    how.update(kernel_shape=kernel_shape, pads=pads, strides=strides)
    return np.asarray(conv(_without(x_zero, x), _without(w_zero, w), **how), np.int32)


def matmul_integer(
    a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> Array:
    """MatMul of integers less their zero points, as int32."""
    left, right = _without(a_zero, a, -2), _without(b_zero, b, -1)
    return np.asarray(left @ right, np.int32)


def dynamic_quantize_linear(x: Array) -> tuple[Array, Array, Array]:
    """x as uint8 in the scale that its least and largest number and 0 give, that scale and its
    zero point.
    """
    x = x.astype(np.float32)
    least, most = x.min(initial=0), x.max(initial=0)
    scale = np.asarray((most - least) / np.float32(255) or np.float32(1), np.float32)
    zero = np.asarray(np.clip(np.rint(-least / scale), 0, 255), np.uint8)
    return quantize_linear(x, scale, zero), scale, zero


def _of_reals(function: Callable[..., Array], *given: Array | None, **attrs: Any) -> Array:
    """`function` of the reals of values, each with scale and zero point; the last two are those of
    the result.
    """
    *values, y_scale, y_zero = given
    reals = [
        dequantize_linear(x, scale, zero)
        for x, scale, zero in zip(values[::3], values[1::3], values[2::3])
        if x is not None and scale is not None
    ]
    assert y_scale is not None
    return quantize_linear(function(*reals, **attrs), y_scale, y_zero)


def qlinear_add(  # noqa: PLR0917 - inputs of ONNX
    a: Array,
    a_scale: Array,
    a_zero: Array | None,
    b: Array,
    b_scale: Array,
    b_zero: Array | None,
    y_scale: Array,
    y_zero: Array | None = None,
) -> Array:
    """The sum."""
    return _of_reals(np.add, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)


def qlinear_mul(  # noqa: PLR0917 - inputs of ONNX
    a: Array,
    a_scale: Array,
    a_zero: Array | None,
    b: Array,
    b_scale: Array,
    b_zero: Array | None,
    y_scale: Array,
    y_zero: Array | None = None,
) -> Array:
    """The product."""
    return _of_reals(np.multiply, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)


def qlinear_sigmoid(
    x: Array, scale: Array, zero: Array | None, y_scale: Array, y_zero: Array | None = None
) -> Array:
    """The sigmoid."""
    return _of_reals(sigmoid, x, scale, zero, y_scale, y_zero)


def qlinear_leaky_relu(
    x: Array,
    scale: Array,
    zero: Array | None,
    y_scale: Array,
    y_zero: Array | None = None,
    *,
    alpha: float = 0.01,
) -> Array:
    """The leaky ReLU."""
    return _of_reals(leaky_relu, x, scale, zero, y_scale, y_zero, alpha=alpha)


def qlinear_softmax(
    x: Array,
    scale: Array,
    zero: Array | None,
    y_scale: Array,
    y_zero: Array | None = None,
    *,
    axis: int = -1,
    opset: int,
) -> Array:
    """The softmax, as operator set `opset` has it."""
    coerce = int(opset < 13)
    return _of_reals(softmax, x, scale, zero, y_scale, y_zero, axis=axis, coerce=coerce)


def qlinear_average_pool(
    x: Array,
    scale: Array,
    zero: Array | None,
    y_scale: Array,
    y_zero: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Pair,
    pads: Pair = (0, 0, 0, 0),
    strides: Pair = (1, 1),
) -> Array:
    """The mean of each window."""
    if channels_last:
        raise ValueError("channels_last=1 is not supported")
    how = {"auto_pad": auto_pad, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    how.update(kernel_shape=kernel_shape, pads=pads, strides=strides)
    return _of_reals(average_pool, x, scale, zero, y_scale, y_zero, **how)


def qlinear_global_average_pool(
    x: Array,
    scale: Array,
    zero: Array | None,
    y_scale: Array,
    y_zero: Array | None = None,
    *,
    channels_last: int = 0,
) -> Array:
    """The mean of each channel."""
    if channels_last:
        raise ValueError("channels_last=1 is not supported")
    return _of_reals(global_average_pool, x, scale, zero, y_scale, y_zero)


def qlinear_concat(y_scale: Array, y_zero: Array, *parts: Array, axis: int) -> Array:
    """Parts, each with scale and zero point, one after the other along `axis`."""

    def joined(*reals: Array) -> Array:
        return np.concatenate(reals, axis)

    return _of_reals(joined, *parts, y_scale, y_zero)


class _Steps:
    """Nodes in place of a call, lowered by their own rules."""

    def __init__(self, low: Lowering, call: Call) -> None:
        self.low, self.call = low, call

    def make(self, op: str, inputs: Sequence[str], step: str = "", **attrs: Any) -> str:
        """The output of one: the call's or, if it is not the last, named `step`."""
        y = self.low.names.fresh(f"{self.call.output}.{step}") if step else self.call.output
        given = {k: list(v) if isinstance(v, tuple) else v for k, v in attrs.items()}
        self.low.visit(Node(op, self.call.node.name, list(inputs), [y], given))
        return y

    def constant(self, step: str, array: Array) -> str:
        return self.low.add_constant(f"{self.call.output}.{step}", array)

    def real(self, place: int, step: str, axis: int = 1) -> str:
        """The reals of the input in a place, with scale and zero point behind it."""
        call, low = self.call, self.low
        scale = low.numbers(call.input(place + 1), "scale")
        inputs = [call.input(place), call.input(place + 1), call.input(place + 2)]
        if scale.dtype == np.float16:
            inputs[1] = self.constant(f"{step}.scale", scale.astype(np.float32))
        zero = low.constants.get(inputs[2])
        if zero is not None and zero.shape != scale.shape and zero.size == 1:
            inputs[2] = self.constant(f"{step}.zero", np.full(scale.shape, zero.item(), zero.dtype))
        return self.make("DequantizeLinear", inputs, step, axis=axis)

    def finish(self, x: str, place: int) -> None:
        """The integers of the result, whose scale and zero point are the inputs in a place."""
        call, low = self.call, self.low
        inputs = [x, call.input(place), call.input(place + 1)]
        scale = low.numbers(inputs[1], "scale")
        if scale.dtype == np.float16:
            inputs[1] = self.constant("scale", scale.astype(np.float32))
        self.make("QuantizeLinear", inputs if inputs[2] else inputs[:2])

    def bias(self, place: int, scales: tuple[int, int], factor: float = 1.0) -> list[str]:
        """The reals of an int32 input in the scale of a product; none if it is absent."""
        low, call = self.low, self.call
        if not call.input(place):
            return []
        given = low.numbers(call.input(place), "bias")
        a, b = (low.numbers(call.input(i), "scale").astype(np.float64) for i in scales)
        if given.dtype != np.int32 or (a * b).size not in (1, given.shape[-1:] and given.shape[-1]):
            raise Refusal(f"its bias is {given.dtype} {list(given.shape)}, expected int32")
        low.spend(given.size)
        real = given * (factor * (a * b).reshape(-1))
        return [self.constant("bias", real.astype(np.float32).reshape(given.shape))]


# Operators of reals, and how many values they have, by those of integers.
_REALS = {
    "QLinearAdd": ("Add", 2),
    "QLinearAveragePool": ("AveragePool", 1),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", 1),
    "QLinearLeakyRelu": ("LeakyRelu", 1),
    "QLinearMul": ("Mul", 2),
    "QLinearSigmoid": ("Sigmoid", 1),
    "QLinearSoftmax": ("Softmax", 1),
}


def lower_between(low: Lowering, call: Call) -> None:
    """As the operator of reals."""
    attrs, (op, values) = dict(call.attrs), _REALS[call.node.op]
    if attrs.pop("channels_last", 0):
        raise Refusal("channels_last=1 is not supported")
    if op == "Softmax":
        attrs["coerce"] = int(attrs.pop("opset") < 13)
    steps = _Steps(low, call)
    reals = [steps.real(3 * i, f"real{i}") for i in range(values)]
    steps.finish(steps.make(op, reals, "exact", **attrs), 3 * values)


def lower_qlinear_conv(low: Lowering, call: Call) -> None:
    """As a Conv of reals."""
    steps = _Steps(low, call)
    inputs = [steps.real(0, "x"), steps.real(3, "weight", 0), *steps.bias(8, (1, 4))]
    steps.finish(steps.make("Conv", inputs, "exact", **call.attrs), 6)


def lower_qlinear_matmul(low: Lowering, call: Call) -> None:
    """As a MatMul of reals."""
    steps = _Steps(low, call)
    reals = [steps.real(0, "first", -2), steps.real(3, "second", -1)]
    steps.finish(steps.make("MatMul", reals, "exact"), 6)


def lower_qgemm(low: Lowering, call: Call) -> None:
    """As a Gemm of reals."""
    steps = _Steps(low, call)
    b_axis = 0 if call.attrs["transB"] else 1
    inputs = [steps.real(0, "first"), steps.real(3, "second", b_axis)]
    inputs += steps.bias(6, (1, 4), call.attrs["alpha"])
    last = "exact" if call.input(7) else ""
    y = steps.make("Gemm", inputs, last, **call.attrs)
    if last:
        steps.finish(y, 7)


def lower_qlinear_concat(low: Lowering, call: Call) -> None:
    """As a Concat of reals."""
    if len(call.inputs) < 5 or len(call.inputs) % 3 not in (1, 2):
        raise Refusal(f"has {len(call.inputs)} inputs, expected three for each part")
    steps = _Steps(low, call)
    parts = [steps.real(i, f"part{i // 3}") for i in range(2, len(call.inputs), 3)]
    steps.finish(steps.make("Concat", parts, "exact", **call.attrs), 0)


def lower_integers(low: Lowering, call: Call) -> None:
    """As an operator of reals, rounded; zero points may be computed."""
    steps = _Steps(low, call)
    op = call.node.op.removesuffix("Integer")
    reals = []
    for place, step in enumerate(("first", "second")):
        x, zero = call.input(place), call.input(2 + place)
        axis = 0 if op == "Conv" else place - 2
        if zero in low.constants or not zero:
            count = low.constants[zero].size if zero else 1
            shape = (count,) if count > 1 else ()
            one = steps.constant(f"{step}.scale", np.ones(shape, np.float32))
            inputs = [x, one]
            if zero:
                inputs.append(steps.constant(f"{step}.zero", low.constants[zero].reshape(shape)))
            reals.append(steps.make("DequantizeLinear", inputs, step, axis=axis))
        else:
            parts = [
                steps.make("Cast", [name], f"{step}.{what}", to=_FLOAT)
                for what, name in (("number", x), ("zero", zero))
            ]
            reals.append(steps.make("Sub", parts, step))
    # Sums are whole, but where they were computed with transforms.
    exact = steps.make(op, reals, "exact", **call.attrs)
    steps.make("Cast", [steps.make("Round", [exact], "rounded")], to=_INT32)


def lower_dynamic(low: Lowering, call: Call) -> None:
    """Of all of an input whose size is known; scale and zero point have no axes."""
    y, scale_name, zero_name = (*call.node.outputs, "", "")[:3]
    x = call.input(0)
    rank = len(low.shape(x))
    steps = _Steps(low, call)
    zero = steps.constant("nothing", np.zeros((), np.float32))
    none = steps.constant("none", np.zeros(0, np.int64))
    wide = steps.constant("wide", np.ones(rank, np.int64))
    axes = steps.constant("axes", np.arange(rank))
    ends = []
    for op, name in (("Min", "least"), ("Max", "most")):
        end = steps.make(f"Reduce{op}", [x, axes], f"{name}.end", keepdims=1)
        end = steps.make("Reshape", [end, wide], f"{name}.wide")
        ends.append(steps.make(op, [end, zero], name))
    number = {
        name: steps.constant(f"{name}.number", np.array(value, np.float32))
        for name, value in (("levels", 1 / 255), ("tiny", np.finfo(np.float32).tiny), ("top", 255))
    }
    span = steps.make("Sub", ends[::-1], "span")
    scale = steps.make("Mul", [span, number["levels"]], "scale")
    scale = steps.make("Max", [scale, number["tiny"]], "positive")
    point = steps.make("Div", [steps.make("Neg", ends[:1], "below"), scale], "point")
    point = steps.make("Clip", [point, zero, number["top"]], "within")
    point = steps.make("Round", [point], "zero")
    real = steps.make("Div", [x, scale], "scaled")
    real = steps.make("Add", [steps.make("Round", [real], "rounded"), point], "shifted")
    if y:
        low.visit(Node("Cast", call.node.name, [real], [y], {"to": _UINT8}))
    if scale_name:
        low.visit(Node("Reshape", call.node.name, [scale, none], [scale_name]))
    if zero_name:
        point = steps.make("Reshape", [point, none], "flat")
        low.visit(Node("Cast", call.node.name, [point], [zero_name], {"to": _UINT8}))


_ONNX = (
    Operator("QLinearConv", qlinear_conv, lower_qlinear_conv),
    Operator("QLinearMatMul", qlinear_matmul, lower_qlinear_matmul),
    Operator("ConvInteger", conv_integer, lower_integers),
    Operator("MatMulInteger", matmul_integer, lower_integers),
    Operator("DynamicQuantizeLinear", dynamic_quantize_linear, lower_dynamic, several=True),
)
_MICROSOFT = (
    Operator("QGemm", qgemm, lower_qgemm),
    Operator("QLinearAdd", qlinear_add, lower_between),
    Operator("QLinearMul", qlinear_mul, lower_between),
    Operator("QLinearAveragePool", qlinear_average_pool, lower_between),
    Operator("QLinearGlobalAveragePool", qlinear_global_average_pool, lower_between),
    Operator("QLinearSigmoid", qlinear_sigmoid, lower_between),
    Operator("QLinearLeakyRelu", qlinear_leaky_relu, lower_between),
    Operator("QLinearSoftmax", qlinear_softmax, lower_between),
    Operator("QLinearConcat", qlinear_concat, lower_qlinear_concat),
)
OPERATORS = (*_ONNX, *_MICROSOFT)
# What linnet has of the domain com.microsoft; of the last two ONNX's own mean the same.
MICROSOFT = {operator.name for operator in _MICROSOFT} | {"QuantizeLinear", "DequantizeLinear"}
