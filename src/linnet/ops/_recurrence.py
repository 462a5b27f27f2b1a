"""What layers that go through a sequence mean: ops/recurrent.py has their rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array
from ..text import short
from ._lowering import Refusal
from .map import elu, hard_sigmoid, leaky_relu, relu, sigmoid, softplus, softsign, tanh

DIRECTIONS = ("forward", "reverse", "bidirectional")


class Activation(NamedTuple):
    """One that a layer may name: what it means, and its alpha and beta where none are given."""

    meaning: Callable[..., Any]
    alpha: float | None = None
    beta: float | None = None


ACTIVATIONS = {
    "Affine": Activation(lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "Elu": Activation(lambda x, alpha: elu(x, alpha=alpha), 1.0),
    "HardSigmoid": Activation(lambda x, a, b: hard_sigmoid(x, alpha=a, beta=b), 0.2, 0.5),
    "LeakyRelu": Activation(lambda x, alpha: leaky_relu(x, alpha=alpha), 0.01),
    "Relu": Activation(relu),
    "ScaledTanh": Activation(lambda x, alpha, beta: alpha * np.tanh(beta * x), 1.0, 1.0),
    "Sigmoid": Activation(sigmoid),
    "Softplus": Activation(softplus),
    "Softsign": Activation(softsign),
    "Tanh": Activation(tanh),
}
_BY_NAME = {name.lower(): name for name in ACTIVATIONS}


class Function(NamedTuple):
    """An activation of a layer with the numbers that it takes."""

    name: str
    numbers: tuple[float, ...]

    def __call__(self, x: Array) -> Array:
        return np.asarray(ACTIVATIONS[self.name].meaning(x, *self.numbers), x.dtype)


def functions(attrs: Mapping[str, Any], default: Sequence[str]) -> list[list[Function]]:
    """The activations of each direction. Numbers that are given go, in order, to those that take
    some.
    """
    directions = 2 if attrs["direction"] == "bidirectional" else 1
    names = list(attrs["activations"]) or list(default) * directions
    if len(names) != len(default) * directions:
        raise Refusal(f"{len(names)} activations, expected {len(default) * directions}")
    given = iter(attrs["activation_alpha"]), iter(attrs["activation_beta"])
    found = []
    for name in names:
        known = _BY_NAME.get(name.lower()) if isinstance(name, str) else None
        if known is None:
            raise Refusal(f"activation {short(name)} is not supported")
        numbers = zip(given, ACTIVATIONS[known][1:])
        taken = (next(more, default) for more, default in numbers if default is not None)
        found.append(Function(known, tuple(map(float, taken))))
    each = len(default)
    return [found[i * each : (i + 1) * each] for i in range(directions)]


Step = Callable[..., tuple[Array, ...]]


def _scan(steps: Sequence[Step], x: Array, states: Sequence[Array | None], **attrs: Any) -> Any:
    """All outputs of a layer: of every time, and the last of each state.

    steps: for each direction the states after a time, of its input and the states before. x [times,
    batch, inputs]; states [directions, batch, hidden]. With `layout`, the batch comes first.
    """
    if attrs["direction"] not in DIRECTIONS:
        raise ValueError(f"direction is {short(attrs['direction'])}")
    if attrs["layout"]:
        x = x.swapaxes(0, 1)
        states = [None if s is None else s.swapaxes(0, 1) for s in states]
    every, last = [], []
    for index, step in enumerate(steps):
        zero = np.zeros((x.shape[1], attrs["hidden_size"]), x.dtype)
        now = tuple(zero if s is None else s[index] for s in states)
        backwards = attrs["direction"] == "reverse" or index == 1
        outputs = []
        for xt in x[::-1] if backwards else x:
            now = step(xt, *now)
            outputs.append(now[0])
        every.append(np.stack(outputs[::-1] if backwards else outputs))
        last.append(now)
    y = np.stack(every, 1)
    ends = [np.stack(each) for each in zip(*last)]
    if attrs["layout"]:
        y, ends = y.transpose(2, 0, 1, 3), [end.swapaxes(0, 1) for end in ends]
    return (y, *ends)


def _check_lengths(x: Array, lengths: Array | None, layout: int) -> None:
    if lengths is not None and (lengths != x.shape[1 if layout else 0]).any():
        raise ValueError("sequences of several lengths are not supported")


def _limited(x: Array, clip: float) -> Array:
    return np.clip(x, -clip, clip) if clip > 0 else x


def _bias(b: Array | None, direction: int, size: int) -> Array:
    return np.zeros(size) if b is None else b[direction]


def rnn(  # noqa: PLR0917 - ONNX's inputs, in their order
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
) -> Any:
    """h = f(x W + h R + b) for each time (Elman, 1990); every h, and the last."""
    _check_lengths(x, sequence_lens, layout)
    attrs = dict(locals(), hidden_size=r.shape[-1])

    def step_of(d: int, f: Function) -> Step:
        bias = _bias(b, d, 2 * r.shape[-1]).reshape(2, -1).sum(0)
        return lambda xt, h: (f(_limited(xt @ w[d].T + h @ r[d].T + bias, clip)),)

    steps = [step_of(d, f) for d, (f,) in enumerate(functions(attrs, ("Tanh",)))]
    return _scan(steps, x, [initial_h], **_form(attrs))


def gru(  # noqa: PLR0917 - ONNX's inputs, in their order
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> Any:
    """Gated recurrent units (Cho et al., 2014), their gates in the order z, r, h; every h, and the
    last.
    """
    _check_lengths(x, sequence_lens, layout)
    attrs = dict(locals(), hidden_size=r.shape[-1])

    def step_of(d: int, f: Function, g: Function) -> Step:
        (wz, wr, wh), (rz, rr, rh) = np.split(w[d], 3), np.split(r[d], 3)
        wbz, wbr, wbh, rbz, rbr, rbh = np.split(_bias(b, d, 6 * r.shape[-1]), 6)

        def step(xt: Array, h: Array) -> tuple[Array, ...]:
            z = f(_limited(xt @ wz.T + h @ rz.T + wbz + rbz, clip))
            reset = f(_limited(xt @ wr.T + h @ rr.T + wbr + rbr, clip))
            first = (reset * h) @ rh.T + rbh
            inner = reset * (h @ rh.T + rbh) if linear_before_reset else first
            new = g(_limited(xt @ wh.T + inner + wbh, clip))
            return ((1 - z) * new + z * h,)

        return step

    chosen = functions(attrs, ("Sigmoid", "Tanh"))
    steps = [step_of(d, *pair) for d, pair in enumerate(chosen)]
    return _scan(steps, x, [initial_h], **_form(attrs))


def lstm(  # noqa: PLR0917 - ONNX's inputs, in their order
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] = (),
    cell_limit: float = 0.0,
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    input_forget: int = 0,
    layout: int = 0,
) -> Any:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; peepholes p by Gers, 2000), its
    gates in the order i, o, f, c; every h, and the last h and c. cell_limit, which ONNX has not:
    how large c may be.
    """
    _check_lengths(x, sequence_lens, layout)
    attrs = dict(locals(), hidden_size=r.shape[-1])
    size = r.shape[-1]

    def step_of(d: int, f: Function, g: Function, last: Function) -> Step:
        bias = _bias(b, d, 8 * size).reshape(2, -1).sum(0)
        pi, po, pf = np.split(np.zeros(3 * size) if p is None else p[d], 3)

        def step(xt: Array, h: Array, c: Array) -> tuple[Array, ...]:
            i, o, forget, new = np.split(xt @ w[d].T + h @ r[d].T + bias, 4, axis=-1)
            i = f(_limited(i + pi * c, clip))
            forget = 1 - i if input_forget else f(_limited(forget + pf * c, clip))
            c = _limited(forget * c + i * g(_limited(new, clip)), cell_limit)
            o = f(_limited(o + po * c, clip))
            return o * last(c), c

        return step

    chosen = functions(attrs, ("Sigmoid", "Tanh", "Tanh"))
    steps = [step_of(d, *three) for d, three in enumerate(chosen)]
    return _scan(steps, x, [initial_h, initial_c], **_form(attrs))


def _form(attrs: dict[str, Any]) -> dict[str, Any]:
    return {name: attrs[name] for name in ("direction", "hidden_size", "layout")}
