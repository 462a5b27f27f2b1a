"""Quantized layers: every algorithm of integers on every instruction set gives the same numbers to
the last bit, those of exact sums rounded once (docs/architecture.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from test_problems import (
    ISAS,
    SENTINEL,
    from_layout,
    guarded,
    layouts,
    resized,
    seed,
    to_layout,
)

from linnet import _core, core
from linnet.graph import Graph, Node, Value
from linnet.session import Session

ALGORITHMS = [
    "integer-depthwise",
    "integer-direct",
    "integer-map",
    "integer-pool",
    "integer-ref",
    "integer-resize",
]
F32 = np.float32


def draw(rng: np.random.Generator, i: int) -> str:
    """A layer of the i-th kind, of sizes that are no multiples of vectors mostly."""
    pick = lambda *of: of[rng.integers(len(of))]  # noqa: E731
    x, y = pick("int8", "uint8"), pick("int8", "uint8")
    types = x if x == y else f"{x}>{y}"
    n, h, w = pick(1, 1, 2, 3), int(rng.integers(1, 12)), int(rng.integers(1, 14))
    c, k = pick(1, 3, 5, 8, 16, 17, 24, 40), pick(1, 2, 10, 16, 31, 33, 48, 70)
    tail = f"nchw t{pick(1, 1, 2)}"
    kind = ("conv", "conv", "depthwise", "matmul", "map", "pool")[i % 6]
    size = f"n{n} c{c}h{h}w{w}"
    if kind == "map":
        word = pick("add", "mul", "sigmoid", "quantize:0.07,3", "leaky:0.1", "in", "out")
        if word in ("in", "out"):  # the way between reals and integers
            types = f"f32>{y}" if word == "in" else f"{x}>f32"
            word = f"{'' if word == 'in' else 'de'}quantize:0.05,3"
        return f"map {types} {size} {word} {tail}"
    if kind == "pool" and rng.random() < 0.2:
        times = pick(1, 2, 3), pick(2, 4)
        return f"resize {x} {size} to{h * times[0]}x{w * times[1]} nearest {tail}"
    if kind == "pool":
        r, s, p = (pick(2, 3), pick(1, 2), pick(0, 1)) if min(h, w) > 2 else (1, 1, 0)
        window = f"r{r}x{r}{f's{s}' if s > 1 else ''}{f'p{p},{p},0,{p}' if p else ''}"
        code = pick("max", "average", "average pads")
        return f"pool {x if code == 'max' else types} {size} {window} {code} {tail}"
    weights = pick("wint8", "wint8", "wint8", "wuint8")
    limits = ["", "", " relu", " clip-1,1.5"]
    end = pick(*limits, " add", " add relu6", " sigmoid", " relu leaky:0.1")
    types = f"{x}>f32" if end in limits and rng.random() < 0.2 else types
    if kind == "matmul":
        return f"matmul {types} {size} k{k} {weights}{end} {tail}"
    r, q = pick((1, 1), (1, 1), (3, 3), (5, 5), (3, 2), (7, 7), (1, 4))
    s, d = pick(1, 1, 2, 3), pick(1, 1, 1, 2)
    pads = [int(rng.integers(0, side)) for side in (r, q, r, q)]
    h, w = max(h, (r - 1) * d + 1), max(w, (q - 1) * d + 1)
    group = 1
    if kind == "depthwise":
        c = k = group = pick(1, 5, 16, 33, 64, 70, 130)
    elif i % 12 == 1:
        c, k, group = 2 * c, 2 * k, 2
    window = f"k{k}r{r}x{q}{f's{s}' if s > 1 else ''}"
    window += f"p{','.join(map(str, pads))}" if any(pads) else ""
    window += f"d{d}" if d > 1 else ""
    group_word = f" g{group}" if group > 1 else ""
    return f"conv {types} n{n} c{c}h{h}w{w} {window} {weights}{group_word}{end} {tail}"


RESIZED = """
resize int8 n2 c21h9w8 to18x24 linear nchw t2
resize uint8 n1 c3h7w5 to20x9 linear align_corners nchw t1
resize uint8 n1 c130h5w6 to3x4 linear asymmetric nchw t1
resize int8 n1 c70h1w1 to5x7 linear nchw t3
resize int8 n3 c16h6w7 to11x13 linear pytorch_half_pixel exclude_outside nchw t1
resize uint8 n1 c40h8w8 to12x15 linear half_pixel_symmetric scale1.6,1.9 nchw t1
"""


def lines() -> list[str]:
    rng = np.random.default_rng(1)
    return [draw(rng, i) for i in range(210)] + RESIZED.split("\n")[1:-1]


def limits(dtype: Any, scale: Any, zero: int, low: float, high: float) -> tuple[float, float]:
    """Of integers counted from the zero point."""
    info = np.iinfo(dtype)
    steps = [np.rint(np.float64(F32(real)) / scale) for real in (low, high)]
    return max(info.min - zero, steps[0]), min(info.max - zero, steps[1])


def integers(v: Any, dtype: Any, grid: tuple[Any, int], low: float, high: float) -> Any:
    """clamp(rint(v)) + zero, half to even."""
    scale, zero = grid
    least, most = limits(dtype, scale, zero, low, high)
    return (np.rint(np.clip(v, F32(least), F32(most))) + zero).astype(dtype)


def dot(p: dict[str, Any], x: Any, w: Any) -> Any:
    """Exact sums of a convolution or matmul of integers less their zero points."""
    if p["kind"] == "matmul":
        return np.einsum("nchw,kchw->nk", x, w.reshape(len(w), *x.shape[1:]))[:, :, None, None]
    (r, s), (top, left, bottom, right) = p["kernel"], p["pads"]
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    n, (k, oh, ow) = p["n"], p["out"]
    w = w.reshape(k, -1, r, s)
    y = np.zeros((n, k, oh, ow), np.int64)
    each, channels = k // p["group"], w.shape[1]
    for i in range(r):
        for j in range(s):
            top, left = i * p["dilations"][0], j * p["dilations"][1]
            rows, cols = p["strides"]
            taps = x[:, :, top : top + rows * oh : rows, left : left + cols * ow : cols]
            taps = taps[:, :, :oh, :ow]
            for g in range(p["group"]):
                inputs = taps[:, g * channels : (g + 1) * channels]
                part = w[g * each : (g + 1) * each, :, i, j]
                y[:, g * each : (g + 1) * each] += np.einsum("nchw,kc->nkhw", inputs, part)
    return y


def windows(p: dict[str, Any], x: Any, zero: int) -> Any:
    """Of each window the largest integer, or the sum less zero points and the divisor."""
    (r, s), (top, left, bottom, right) = p["kernel"], p["pads"]
    n, (c, oh, ow), (_, h, w) = p["n"], p["out"], p["in"]
    most = np.full((n, c, oh, ow), -(1 << 20), np.int64)
    total, inside = np.zeros((n, c, oh, ow), np.int64), np.zeros((oh, ow), np.int64)
    counted = np.zeros((oh, ow), np.int64)
    for a in range(oh):
        for b in range(ow):
            for i in range(r):
                for j in range(s):
                    row, col = a * p["strides"][0] - top + i, b * p["strides"][1] - left + j
                    counted[a, b] += row < h + bottom and col < w + right
                    if 0 <= row < h and 0 <= col < w:
                        inside[a, b] += 1
                        most[:, :, a, b] = np.maximum(most[:, :, a, b], x[:, :, row, col])
                        total[:, :, a, b] += x[:, :, row, col] - zero
    return most, total, counted if p["count_include_pad"] else inside


def function_of(word: str, a: float, exact: Any, scale: Any) -> Any:
    """What a function gives of integers less their zero point, in double, as float32."""
    real = np.float64(exact.astype(F32) * scale)
    if word == "sigmoid":
        return F32(1 / (1 + np.exp(-real)))
    return (
        F32(np.where(real < 0, np.float64(F32(a)) * real, real)) if word == "leaky" else F32(real)
    )


def expected(p: dict[str, Any], data: dict[str, Any], scales: dict[str, tuple[float, int]]) -> Any:
    """The layer by its definition, [N, C, H, W]."""
    x, z, low, high = data["x"], data["z"], p["low"], p["high"]
    (sx, zx), (sy, zy), (sz, zz) = ((F32(s), q) for s, q in (scales[n] for n in "xyz"))
    to = p["out_dtype"]
    a, b = p["parameters"]
    if p["function"] == "dequantize":
        return (x.astype(np.int64) - int(b)).astype(F32) * F32(a)
    if p["function"] == "quantize" and p["in_dtype"] == np.float32:
        return integers(np.where(np.isnan(x), F32(0), x) / F32(a), to, (F32(a), int(b)), low, high)
    exact = x.astype(np.int64) - zx
    if p["kind"] == "resize":
        return resized(p, x)
    if p["kind"] == "pool":
        most, total, divisor = windows(p, x.astype(np.int64), zx)
        if not p["average"]:
            return most.astype(to)
        scale = (np.float64(sx) / (np.float64(sy) * divisor)).astype(F32)
        return integers(total.astype(F32) * scale, to, (sy, zy), low, high)
    if p["kind"] == "map":
        other = z.astype(np.int64) - zz
        if p["function"] == "add":
            first = exact.astype(F32) * F32(np.float64(sx) / sy)
            v = first + other.astype(F32) * F32(np.float64(sz) / sy)
            return integers(v, to, (sy, zy), low, high)
        if p["function"] == "mul":
            factor = F32(np.float64(sx) * sz / sy)
            return integers((exact * other).astype(F32) * factor, to, (sy, zy), low, high)
        return integers(function_of(p["function"], a, exact, sx) / sy, to, (sy, zy), low, high)
    q, factors, bias = data["w"], data["factors"], data["bias"]
    step = sx * factors
    sums = (
        dot(p, exact, q.astype(np.int64))
        + np.rint(np.float64(bias) / step).astype(np.int64)[:, None, None]
    )
    between = scales["between"]
    first = F32(between[0]) if between[0] else sy if to != np.float32 else F32(1)
    scale = (step / first)[:, None, None]
    v = sums.astype(F32) * scale
    if to == np.float32:
        return np.clip(v, F32(low), F32(high))
    if p["then"]:
        grid, limit = ((first, between[1]), np.inf) if between[0] else ((sy, zy), None)
        ends = (low, high) if limit is None else (-limit, limit)
        exact = integers(v, to, grid, *ends).astype(np.int64) - grid[1]
        mapped = function_of(p["then"], a, exact, first)
        return integers(mapped / sy, to, (sy, zy), -np.inf, np.inf)
    if between[0]:
        info = np.iinfo(to)
        v = np.rint(np.clip(v, F32(info.min - between[1]), F32(info.max - between[1])))
        v = v * F32(np.float64(first) / sy)
    if p["binary"]:
        v = v + (z.astype(np.int64) - zz).astype(F32) * F32(np.float64(sz) / sy)
    return integers(v, to, (sy, zy), low, high)


def operands(p: dict[str, Any]) -> dict[str, Any]:
    rng = seed(p["key"])

    def numbers(dtype: Any, *shape: int) -> Any:
        if dtype == np.float32:
            return (rng.standard_normal(shape) * 5).astype(F32)
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max + 1, shape).astype(dtype)

    data = {"x": numbers(p["in_dtype"], p["n"], *p["in"])}
    data["z"] = numbers(p["operand_dtype"], p["n"], *p["operand"]) if p["binary"] else data["x"]
    if p["kind"] in ("conv", "matmul"):
        k, (c, h, w) = p["out"][0], p["in"]
        taps = c // p["group"] * int(np.prod(p["kernel"])) if p["kind"] == "conv" else c * h * w
        real = rng.standard_normal((k, taps)).astype(F32)
        if p["weights"] == "int8":
            factors, zeros = np.abs(real).max(axis=1) / F32(127), np.zeros(k, F32)
        else:  # integers of 0 to 255, which int8 does not hold less their zero points
            least, most = np.minimum(real.min(axis=1), 0), np.maximum(real.max(axis=1), 0)
            factors = (most - least) / F32(255)
            zeros = np.rint(-least / factors)
        q = np.rint(real / factors[:, None]) + zeros[:, None]
        q = np.clip(q, *((-128, 127) if p["weights"] == "int8" else (0, 255)))
        data |= {"real": real, "factors": factors, "w": q - zeros[:, None]}
        data["bias"] = rng.standard_normal(k).astype(F32)
    return data


def scales_of(p: dict[str, Any]) -> dict[str, tuple[float, int]]:
    rng = seed(p["key"] + "scales")
    scales = {}
    for name, what in (("x", "in_dtype"), ("y", "out_dtype"), ("z", "operand_dtype")):
        dtype = p[what]
        info = np.iinfo(dtype if dtype != np.float32 else np.uint8)
        scales[name] = (float(F32(rng.uniform(0.01, 0.2))), int(rng.integers(info.min, info.max)))
    rounds = rng.random() < 0.7
    info = np.iinfo(p["out_dtype"] if p["out_dtype"] != np.float32 else np.uint8)
    scales["between"] = (float(F32(rng.uniform(0.05, 0.2))) * rounds, int(info.min + 100))
    if p["function"] == "quantize":
        scales["y"] = (p["parameters"][0], int(p["parameters"][1]))
    if p["out_dtype"] == np.float32:
        scales["between"] = (0.0, 0)
    return scales


def keys(line: str) -> Iterator[str]:
    """The problem of a line in each of its layouts."""
    before, layout, threads = line.rsplit(" ", 2)
    return (f"{before} {both} {threads}" for both in layouts(layout))


@contextmanager
def sentinels(values: Any) -> Iterator[Any]:
    """A copy of `values` inside a larger array, around which nothing may be written."""
    fill = np.full(1, SENTINEL, np.uint8).astype(values.dtype)[0]
    buffer, copy = guarded(values, fill)
    yield copy
    edges = np.r_[buffer[:65], buffer[65 + len(values) :]]
    assert (edges == fill).all()


def check(line: str, hold: Callable[[Any], AbstractContextManager[Any]] = sentinels) -> None:
    """All algorithms, instruction sets and layouts give what NumPy does; `hold` makes the arrays
    they are given of those they should have.
    """
    want = None
    for key in keys(line):
        p = _core.parse_problem(key)
        data, scales = operands(p | {"key": line}), scales_of(p | {"key": line})
        if want is None:
            want = expected(p, data, scales)
        for isa, name in itertools.product(ISAS, ALGORITHMS):
            if _core.refusal(key, name, isa):
                continue
            layer = _core.Layer(key, name, isa, data.get("real"), data.get("bias"), scales=scales)
            x = to_layout(data["x"], p["in_layout"], layer.width)
            z = to_layout(data["z"], p["out_layout"], layer.width)
            y = np.full(layer.y_count, 77, p["out_dtype"])
            where = f"{name} on {isa}, {key}"
            with hold(x) as a, hold(z) as b, hold(y) as c:
                layer.run(a, b if p["binary"] else None, c)
                shape = (p["n"], *p["out"])
                got, padding, _ = from_layout(c, shape, p["out_layout"], layer.width)
                np.testing.assert_array_equal(got, want, where)
                if got.dtype == np.float32:  # bytes behind the last channel are nobody's
                    assert not padding.any(), where


@pytest.mark.parametrize("line", lines())
def test_integers(line: str) -> None:
    check(line)


def test_every_algorithm_takes_some() -> None:
    def takes(name: str) -> bool:
        found = itertools.product((key for line in lines() for key in keys(line)), ISAS)
        return any(not _core.refusal(key, name, isa) for key, isa in found)

    assert all(map(takes, ALGORITHMS))


class Sketch:
    """A canonical graph of quantized layers, with random weights and scales."""

    def __init__(self, dtype: Any) -> None:
        self.random = np.random.default_rng(7)
        self.dtype = dtype
        self.graph = Graph("sketch", [], {}, [Value("x", (0, 5, 9, 8))], [])

    def add(self, op: str, inputs: list[str], name: str, **attrs: Any) -> str:
        self.graph.nodes.append(Node(op, name, inputs, [name], attrs))
        return name

    def round(self, real: str, scale: float) -> str:
        """Integers of a value, and the reals they stand for."""
        zero = int(self.random.integers(100, 120)) - (128 if self.dtype == np.int8 else 0)
        names = [f"{real}.s", f"{real}.z"]
        self.graph.initializers |= {names[0]: F32(scale).reshape(())}
        self.graph.initializers |= {names[1]: np.array(zero, self.dtype)}
        q = self.add("QuantizeLinear", [real, *names], f"{real}.q")
        return self.add("DequantizeLinear", [q, *names], f"{real}.r")

    def conv(self, x: str, name: str, sizes: tuple[int, int, int], group: int = 1) -> str:
        channels, k, r = sizes
        q = self.random.integers(-127, 128, (k, channels // group, r, r)).astype(np.int8)
        self.graph.initializers |= {f"{name}.w": q}
        self.graph.initializers |= {f"{name}.ws": self.random.uniform(0.002, 0.01, k).astype(F32)}
        self.graph.initializers |= {f"{name}.b": self.random.standard_normal(k).astype(F32)}
        weights = self.add("DequantizeLinear", [f"{name}.w", f"{name}.ws"], f"{name}.k", axis=0)
        window = {"kernel_shape": [r, r], "pads": [r // 2] * 4, "strides": [1, 1]}
        window |= {"dilations": [1, 1], "group": group}
        return self.add("Conv", [x, weights, f"{name}.b"], name, **window)


def sketch(dtype: Any) -> Graph:
    """Everything that layers of integers take into their step."""
    s = Sketch(dtype)
    x = s.round("x", 0.03)
    a = s.round(s.add("Relu", [s.conv(x, "c1", (5, 20, 3))], "a"), 0.05)
    gated = s.round(s.conv(a, "c2", (20, 20, 1)), 0.08)  # x * sigmoid(x)
    gate = s.round(s.add("Sigmoid", [gated], "g"), 1 / 256)
    b = s.round(s.add("Mul", [gated, gate], "b"), 0.06)
    c = s.round(s.conv(b, "c3", (20, 20, 3), 20), 0.09)  # added to what was there
    d = s.round(s.add("Relu", [s.add("Add", [c, a], "sum")], "d"), 0.1)
    e = s.round(
        s.add("LeakyRelu", [s.round(s.conv(d, "c4", (20, 24, 1)), 0.2)], "e", alpha=0.1), 0.15
    )
    s.add(
        "DequantizeLinear", [s.add("QuantizeLinear", [e, "x.s", "x.z"], "f.q"), "x.s", "x.z"], "f.r"
    )
    h = s.round(s.add("HardSwish", [d], "h"), 0.1)
    i = s.round(s.add("Mul", [h, s.round(s.add("Sigmoid", [h], "i"), 0.004)], "j"), 0.1)
    s.round(s.add("GlobalAveragePool", [i], "y"), 0.05)
    s.add("Relu", [s.add("Cast", ["d.q"], "k", to=1)], "l.r")
    s.graph.outputs = ["y.r", "f.r", "l.r"]
    return s.graph


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_steps_of_several_operators_give_what_each_alone_does(dtype: Any) -> None:
    graph = sketch(dtype)
    made = [node.outputs[0] for node in graph.nodes if node.outputs[0].endswith((".q", ".r"))]
    x = np.random.default_rng(3).standard_normal((3, 5, 9, 8)).astype(F32)
    before = None
    for isa in ISAS:
        net = Session(_core.Session(core.build(graph), isa=isa))
        whole = dict(zip(graph.outputs, net.run(x)))
        steps = [row.op for row in net.explain(3)]
        assert any(
            step.endswith("Sigmoid+QuantizeLinear+DequantizeLinear+Mul+QuantizeLinear")
            for step in steps
        )
        apart = dict(zip(made, net.run(x, fetch=made)))
        for name, array in whole.items():
            np.testing.assert_array_equal(array, apart[name], f"{name} on {isa}")
        if before is not None:
            for name, array in apart.items():
                np.testing.assert_array_equal(array, before[name], f"{name} on {isa}")
        before = apart
