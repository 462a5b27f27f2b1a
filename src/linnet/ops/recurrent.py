"""Layers that go through a sequence and keep a state from each of its steps to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Union, cast

import numpy as np

from ..graph import Array, Shape
from ..text import shape_text, short
from ._broadcast import arithmetic, pointwise
from ._lowering import Call, Lowering, Mixes, Refusal
from ._moving import joined, slice_of
from ._recurrence import DIRECTIONS, Function, functions, gru, lstm, rnn
from ._registry import Operator
from ._turned import transposed
from .map import scaled

# A state or a sum: computed, a constant that broadcasts to [batch, hidden], or zero.
Term = Union[str, Array, None]


class _Direction:
    """One direction of a layer that is being unrolled: arithmetic on terms."""

    def __init__(self, low: Lowering, call: Call, index: int, how: list[Function]) -> None:
        self.low, self.call, self.index, self.functions = low, call, index, how
        self.at = ""  # what nodes of the present step are called
        self.limit = call.attrs["clip"]
        self.size = low.constants[call.input(2)].shape[-1]
        self.limits: dict[float, list[str]] = {}  # constants, by what they limit to

    def _name(self, step: str) -> str:
        return f"{self.at}.{step}"

    def _made(self, array: Array, step: str) -> str:
        name = f"{self.call.output}.{self._name(step)}"
        return self.low.add_constant(name, np.asarray(array, np.float32))

    def plus(self, a: Term, b: Term, step: str, op: str = "Add") -> Term:
        if a is None or b is None:
            return b if a is None else a
        if isinstance(a, np.ndarray):
            if isinstance(b, np.ndarray):
                return np.asarray(a + b)
            a, b = b, a
        other = self._made(b, f"{step}.number") if isinstance(b, np.ndarray) else b
        return arithmetic(self.low, self.call, op, (a, other), self._name(step))

    def times(self, a: Term, b: Term, step: str) -> Term:
        if a is None or b is None:
            return None
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return np.asarray(a * b)
        return self.plus(a, b, step, "Mul")

    def product(self, h: Term, rows: slice, bias: Array | None, step: str) -> Term:
        """Of a state and some rows of the recurrent weights, the same constant for all steps."""
        if h is None:
            return bias
        name, change = self.call.input(2), f"direction{self.index}.{rows.start}to{rows.stop}"
        if isinstance(h, np.ndarray):
            r = self.low.constants[name][self.index][rows]
            flat = h.reshape(-1, h.shape[-1])
            return np.asarray(flat @ r.T + (0 if bias is None else bias))
        weight = self.low.weight(name, "recurrence", change, lambda r: r[self.index][rows])
        inputs = [self.flat(h, f"{step}.row"), weight]
        if bias is not None:
            change += ".bias"
            inputs.append(self.low.weight(self.call.input(3), "bias", change, lambda _: bias))
        return self.low.emit(self.call, "Gemm", inputs, {"transB": 1}, self._name(step))

    def part(self, x: str, begin: int, end: int, step: str) -> str:
        """Some of the gates, each of which is as wide as the state."""
        cut = [(3, begin * self.size, end * self.size, 1)]
        return slice_of(self.low, self.call, x, cut, self._name(step))

    def wide(self, x: Term, step: str) -> Any:
        """[N, numbers] as [N, 1, 1, numbers], whose numbers are one row for the core."""
        if x is None or isinstance(x, np.ndarray):
            return x if x is None else x.reshape(-1, 1, 1, x.shape[-1])
        shape = self.low.shape(x)
        return self.low.reshape(self.call, x, (shape[0], 1, 1, shape[-1]), self._name(step))

    def flat(self, x: str, step: str) -> str:
        shape = self.low.shape(x)
        return self.low.reshape(self.call, x, (shape[0], shape[-1]), self._name(step))

    def act(self, which: int, x: Term, step: str, *, limited: bool = True) -> str:
        """An activation of what is limited before, if that is asked for."""
        assert isinstance(x, str)
        if self.limit > 0 and limited:
            x = self.limited(x, self.limit, f"{step}.limited")
        (name, numbers), low, call = self.functions[which], self.low, self.call
        step = self._name(step)
        if name == "Affine":
            return scaled(low, call, x, numbers[0], step, shift=numbers[1])
        if name == "ScaledTanh":
            x = scaled(low, call, x, numbers[1], f"{step}.scaled")
            x = pointwise(low, call, "Tanh", [x], step=f"{step}.tanh")
            return scaled(low, call, x, numbers[0], step)
        attrs = dict(zip(("alpha", "beta"), numbers))
        return pointwise(low, call, name, [x], attrs, step=step)

    def limited(self, x: str, limit: float, step: str) -> str:
        if limit not in self.limits:
            pair = (self._made(np.array(n), f"{step}{i}") for i, n in enumerate((-limit, limit)))
            self.limits[limit] = list(pair)
        return self.low.emit(self.call, "Clip", [x, *self.limits[limit]], {}, self._name(step))

    def rnn(self, x: str, states: Sequence[Term]) -> list[Term]:
        (h,) = states
        h = self.product(h, slice(0, self.size), None, "product")
        return [self.act(0, self.wide(self.plus(x, h, "sum"), "wide"), "h")]

    def gru(self, x: str, states: Sequence[Term]) -> list[Term]:
        (h,), size = states, self.size
        after = bool(self.call.attrs["linear_before_reset"])
        bias = None
        if after and self.call.input(3):
            bias = np.zeros(3 * size, np.float32)
            bias[2 * size :] = self.low.constants[self.call.input(3)][self.index][5 * size :]
        whole = self.product(h, slice(0, 3 * size if after else 2 * size), bias, "product")
        x = self.wide(x, "xwide")
        whole = self.wide(whole, "wide")
        gates, inner = whole, cast(Term, None)
        if isinstance(whole, np.ndarray):
            gates, inner = whole[..., : 2 * size], whole[..., 2 * size :]
        elif whole is not None and after:
            gates, inner = self.part(whole, 0, 2, "gates"), self.part(whole, 2, 3, "inner")
        both = self.act(0, self.plus(self.part(x, 0, 2, "xzr"), gates, "sum"), "zr")
        z, reset = self.part(both, 0, 1, "z"), self.part(both, 1, 2, "r")
        if after:
            inner = self.times(reset, inner, "reset")
        else:
            rows = slice(2 * size, 3 * size)
            inner = self.product(self.times(reset, h, "reset"), rows, None, "inner")
            inner = self.wide(inner, "inner.wide")
        new = self.act(1, self.plus(self.part(x, 2, 3, "xh"), inner, "new.sum"), "new")
        # (1 - z) new + z h
        kept = self.times(z, self._difference(h, new), "kept")
        return [self.plus(new, kept, "h")]

    def _difference(self, h: Term, new: str) -> str:
        low, call = self.low, self.call
        if isinstance(h, str):
            return arithmetic(low, call, "Sub", (h, new), self._name("difference"))
        less = scaled(low, call, new, -1, self._name("less"))
        found = self.plus(less, h, "difference")
        assert isinstance(found, str)
        return found

    def lstm(self, x: str, states: Sequence[Term]) -> list[Term]:
        (h, c), (size, call) = states, (self.size, self.call)
        whole = self.plus(x, self.product(h, slice(0, 4 * size), None, "product"), "sum")
        assert isinstance(whole, str)
        whole = self.wide(whole, "wide")
        peepholes: list[Array | None] = [None] * 3
        if call.input(7):
            peepholes = list(np.split(self.low.constants[call.input(7)][self.index][None], 3, 1))
        new = self.act(1, self.part(whole, 3, 4, "xc"), "new")
        if call.input(7):
            i, o, forget = (self.part(whole, k, k + 1, f"x{k}") for k in range(3))
            i = self.act(0, self.plus(i, self.times(c, peepholes[0], "ic"), "i.sum"), "i")
            add = self.times(c, peepholes[2], "fc")
            forget = self.act(0, self.plus(forget, add, "f.sum"), "f")
        else:
            gates = self.act(0, self.part(whole, 0, 3, "xiof"), "iof")
            i, o, forget = (self.part(gates, k, k + 1, "iof"[k]) for k in range(3))
        if call.attrs["input_forget"]:
            forget = scaled(self.low, call, i, -1, self._name("forget"), shift=1)
        c = self.plus(self.times(forget, c, "old"), self.times(i, new, "add"), "c")
        if call.attrs["cell_limit"] > 0:
            assert isinstance(c, str)
            c = self.limited(c, call.attrs["cell_limit"], "c.limited")
        if call.input(7):
            o = self.act(0, self.plus(o, self.times(c, peepholes[1], "oc"), "o.sum"), "o")
        last = self.act(2, c, "last", limited=False)  # as ONNX Runtime does
        return [self.times(o, last, "h"), c]


class _Kind(NamedTuple):
    """What the rules of the three layers differ in."""

    gates: int
    states: int
    activations: tuple[str, ...]
    step: Callable[[_Direction, str, Sequence[Term]], list[Term]]


_KINDS = {
    "RNN": _Kind(1, 1, ("Tanh",), _Direction.rnn),
    "GRU": _Kind(3, 1, ("Sigmoid", "Tanh"), _Direction.gru),
    "LSTM": _Kind(4, 2, ("Sigmoid", "Tanh", "Tanh"), _Direction.lstm),
}


def lower_recurrence(low: Lowering, call: Call) -> None:
    """Of constant weights, unrolled: of sequences whose length the model or its input says, all of
    the same; one product for the inputs of all times, one for each state.
    """
    kind, attrs = _KINDS[call.node.op], call.attrs
    names = [*call.node.outputs, "", "", ""][: 1 + kind.states]
    call.output = next(filter(None, names))
    if attrs["direction"] not in DIRECTIONS:
        raise Refusal(f"direction is {short(attrs['direction'])}")
    how = functions(attrs, kind.activations)
    size = _checked(low, call, kind, len(how))
    x, times = _batch_first(low, call)
    _check_sequences(low, call, times)
    low.unroll(times * len(how))

    every: list[list[str]] = [[""] * len(how) for _ in range(times)]
    ends: list[list[str]] = []
    for index, chosen in enumerate(how):
        backwards = attrs["direction"] == "reverse" or index == 1
        direction = _Direction(low, call, index, chosen)
        inputs = _inputs(low, call, kind, (x, index))
        states = [_initial(low, call, 5 + i, index) for i in range(kind.states)]
        for time in reversed(range(times)) if backwards else range(times):
            direction.at = f"{'back' if backwards else 'at'}{time}"
            xt = inputs(time, direction.at)
            states = kind.step(direction, xt, states)
            assert isinstance(states[0], str)
            every[time][index] = direction.flat(states[0], "row")
        ends.append([direction.flat(s, "end") for s in states if isinstance(s, str)])
    first = low.shape(x)[0]
    if names[0]:
        flat = [name for time in every for name in time]
        y = joined(low, call, flat, 1, "y.joined") if len(flat) > 1 else flat[0]
        shape = (first, times, len(how), size)
        _output(low, call.of(names[0]), y, shape, (1, 2, 0, 3))
    for which, name in enumerate(names[1:]):
        if name:
            last = [states[which] for states in ends]
            y = joined(low, call, last, 1, f"end{which}.joined") if len(last) > 1 else last[0]
            _output(low, call.of(name), y, (first, len(how), size), (1, 0, 2))


def _output(low: Lowering, call: Call, y: str, shape: Shape, perm: Sequence[int]) -> None:
    """`y` [batch, all] under its shape, or with the batch behind as `perm` says."""
    if call.attrs["layout"]:
        low.reshape(call, y, shape)
        return
    target = tuple(shape[axis] for axis in perm)
    if shape[0] == 1:
        low.reshape(call, y, target)
    else:
        y = low.reshape(call, y, shape, "whole")
        low.emit(call, "Transpose", [y], {"perm": list(perm)})


def _turned(low: Lowering, call: Call, x: str, step: str) -> str:
    """[A, N, C] as [N, A, C]."""
    shape = low.shape(x)
    target = (shape[1], shape[0], shape[2])
    if 1 in shape[:2]:
        return low.reshape(call, x, target, step)
    return low.emit(call, "Transpose", [x], {"perm": [1, 0, 2]}, step)


def _batch_first(low: Lowering, call: Call) -> tuple[str, int]:
    """The input [batch, times, inputs], and how many times there are."""
    x = call.input(0)
    shape = low.shape(x)
    if call.attrs["layout"] not in (0, 1):
        raise Refusal(f"layout is {call.attrs['layout']}")
    if call.attrs["layout"]:
        return x, shape[1]
    if not low.fixed:
        raise Mixes("the first axis of its input is time, not the batch")
    if shape[0] == 1 and not low.along_first:
        raise Refusal("how long its sequences are is not known; the model leaves axis 0 open")
    return _turned(low, call, x, "x"), shape[0]


def _checked(low: Lowering, call: Call, kind: _Kind, directions: int) -> int:
    """The size of the state; Refusal if what is constant does not fit."""
    shape = low.shape(call.input(0))
    if len(shape) != 3:
        raise Refusal(f"its input {shape_text(shape)} has not three axes")
    inputs = shape[2]
    w, r = (low.numbers(call.input(i), what) for i, what in ((1, "weights"), (2, "recurrence")))
    size = r.shape[-1] if r.ndim else 0
    rows = kind.gates * size
    wanted = {1: (directions, rows, inputs), 2: (directions, rows, size), 3: (directions, 2 * rows)}
    if kind.states == 2:
        wanted[7] = (directions, 3 * size)
    for index, expected in wanted.items():
        if index > 2 and not call.input(index):
            continue
        found = low.numbers(call.input(index), f"input {index}").shape
        if found != expected or not size:
            raise Refusal(f"its input {index} has shape {list(found)}, expected {list(expected)}")
    if call.attrs["hidden_size"] not in (0, size):
        raise Refusal(f"hidden_size is {call.attrs['hidden_size']}, its weights are of {size}")
    low.spend(2 * (w.size + r.size), 4)
    return size


def _check_sequences(low: Lowering, call: Call, times: int) -> None:
    if call.input(4):
        lengths = low.integers(call.input(4), "list of lengths")
        if set(lengths) != {times}:
            raise Refusal(f"sequences of other lengths than {times} are not supported")


def _initial(low: Lowering, call: Call, place: int, direction: int) -> Term:
    """A state of a direction before the first time."""
    name = call.input(place)
    if not name:
        return None
    layout = call.attrs["layout"]
    if name in low.constants:
        array = low.numbers(name, "initial state")
        if array.ndim != 3 or array.shape[layout] <= direction:
            raise Refusal(f"its initial state has shape {list(array.shape)}")
        low.spend(array.size, 4)
        array = array.take(direction, layout)
        wide = array.astype(np.float32).reshape(len(array), 1, 1, -1)
        return wide if array.any() else None
    key = (name, f"initial{layout}")
    if key not in low.derived:
        turned = low.reshape(call, name, low.shape(name), f"initial{place}") if layout else ""
        low.derived[key] = turned or _turned(low, call, name, f"initial{place}")
    x = low.derived[key]
    shape = low.shape(x)
    cut = [(1, direction, direction + 1, 1)] if shape[1] > 1 else []
    at = f"initial{place}.{direction}"
    x = slice_of(low, call, x, cut, f"{at}.part")
    return low.reshape(call, x, (shape[0], 1, 1, shape[2]), at)


def _inputs(
    low: Lowering, call: Call, kind: _Kind, of: tuple[str, int]
) -> Callable[[int, str], str]:
    """What gives the sums of a time's inputs, of all gates, [batch, gates * hidden]: computed for
    all times at once, by a convolution of 1x1.
    """
    x, index = of
    batch, times, count = low.shape(x)
    rows, at = low.constants[call.input(1)].shape[1], f"in{index}"
    sizes = (rows, count) if times == 1 else (rows, count, 1, 1)
    change = f"direction{index}as{len(sizes)}"
    weight = low.weight(call.input(1), "weights", change, lambda w: w[index].reshape(sizes))
    inputs = [weight]
    if call.input(3):

        def together(b: Array) -> Array:
            own, other = b[index].reshape(2, -1)
            if call.attrs.get("linear_before_reset"):  # a part of the recurrence
                other = np.concatenate([other[: rows // 3 * 2], np.zeros(rows // 3)])
            return np.asarray(own + other, np.float32)

        change = f"direction{index}.{bool(call.attrs.get('linear_before_reset'))}"
        inputs.append(low.weight(call.input(3), "bias", change, together))
    if times == 1:
        x = low.reshape(call, x, (batch, count), f"{at}.row")
        y = low.emit(call, "Gemm", [x, *inputs], {"transB": 1}, at)
        return lambda time, step: y
    x = _channels(low, call, x, at)
    attrs = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    y = low.emit(call, "Conv", [x, *inputs], {**attrs, "group": 1}, at)

    def part(time: int, step: str) -> str:
        found = slice_of(low, call, y, [(2, time, time + 1, 1)], f"{step}.column")
        return low.reshape(call, found, (batch, rows), f"{step}.x")

    return part


def _channels(low: Lowering, call: Call, x: str, at: str) -> str:
    """[N, T, C] as images [N, C, T, 1], once for all directions."""
    key = (x, "sequence")
    if key not in low.derived:
        batch, times, count = low.shape(x)
        y = transposed(low, call, x, (0, 2, 1), f"{at}.turned")
        low.derived[key] = low.reshape(call, y, (batch, count, times, 1), f"{at}.image")
    return low.derived[key]


OPERATORS = (
    Operator("RNN", rnn, lower_recurrence, several=True, unrolls=True),
    Operator("GRU", gru, lower_recurrence, several=True, unrolls=True),
    Operator("LSTM", lstm, lower_recurrence, several=True, unrolls=True),
)
