"""Sessions of small random graphs against the reference, and graphs that once went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import linnet
from linnet import _core, interpret
from linnet.core import build, infer_shape
from linnet.graph import Graph, Node, Value

ISAS = [os.environ["LINNET_ISA"]] if os.environ.get("LINNET_ISA") else _core.available_isas()
ALGORITHMS = ["", "direct", "im2col-openblas", "winograd", "fourier"]
FAR = (1 << 31) - 1  # the largest padding, stride or dilation there is


def session(graph: Graph, **options: object) -> linnet.Session:
    """Without the passes, which would rewrite what is to be tested."""
    return linnet.Session(_core.Session(build(graph), **options))


def check(net: linnet.Session, graph: Graph, batch: int, fetch: list[str]) -> None:
    """Of random inputs, linnet makes what the graph means."""
    random = np.random.default_rng(0)
    feed = {v.name: random.normal(size=(batch, *v.shape[1:])).astype("f4") for v in graph.inputs}
    expected = interpret.run(graph, feed, fetch=fetch)
    for name, actual in zip(fetch, net.run(fetch, feed)):
        # Values are about 1; where a ReLU leaves next to nothing, their own size says little.
        size = max(np.sqrt(np.mean(expected[name] ** 2)), 0.1)
        error = np.abs(actual - expected[name]).max() / size
        assert error <= 2e-4, f"'{name}' is off by {error:.2g}\n{net.explain(batch)}"


class Maker:
    """Draws a graph. Values and constants are used any number of times, anything may be fetched.

    Hypothesis draws, and where a graph fails finds the simplest one that does: of small numbers and
    first choices.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.source = draw
        self.random = np.random.default_rng(0)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.graph = Graph("random", [], {}, [], [])
        for _ in range(self.draw(1, 2)):
            self.input()
        for _ in range(self.draw(3, 12)):
            self.step()
        names = list(self.shapes)
        self.fetch = self.source(st.permutations(names))[: self.draw(1, 4)]
        self.graph.outputs = [names[-1], *[n for n in self.fetch if n != names[-1]][:1]]

    def __repr__(self) -> str:
        nodes = [f"{n.op} {n.inputs} -> {n.outputs} {n.attrs}" for n in self.graph.nodes]
        shapes = {name: array.shape for name, array in self.graph.initializers.items()}
        return "\n".join([*map(str, self.graph.inputs), str(shapes), *nodes, f"{self.fetch}"])

    def draw(self, low: int, high: int) -> int:
        return self.source(st.integers(low, high))

    def choice(self, things: list[Any]) -> Any:
        return self.source(st.sampled_from(things))

    def chance(self, probability: float) -> bool:
        return self.draw(0, 99) >= 100 - 100 * probability

    def input(self) -> None:
        name = f"in{len(self.graph.inputs)}"
        shape = (0, self.draw(1, 20), self.draw(1, 12), self.draw(1, 12))
        self.graph.inputs.append(Value(name, shape))
        self.shapes[name] = shape

    def pick(self, rank: int = 0) -> str | None:
        """A value, rather a late one."""
        names = [n for n, s in self.shapes.items() if rank in (0, len(s))]
        last = len(names) - 1
        return names[max(self.draw(0, last), self.draw(0, last))] if names else None

    def constant(self, *shape: int) -> str:
        """A new one, or one there is of this shape."""
        known = [n for n, a in self.graph.initializers.items() if a.shape == shape]
        known = [n for n in known if self.graph.initializers[n].dtype == "f4"]
        if known and self.chance(0.5):
            return known[0]
        name = f"w{len(self.graph.initializers)}"
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        self.graph.initializers[name] = (self.random.normal(size=shape) * scale).astype("f4")
        return name

    def node(self, op: str, inputs: list[str], **attrs: object) -> str | None:
        """A node, if it fits its inputs."""
        constants = self.graph.initializers
        known = [self.shapes.get(n, constants.get(n)) for n in inputs]
        try:
            shape = infer_shape(op, attrs, known)
        except ValueError:
            return None
        name = f"{op.lower()}{len(self.graph.nodes)}"
        self.graph.nodes.append(Node(op, name, inputs, [name], dict(attrs)))
        self.shapes[name] = shape
        return name

    def step(self) -> None:
        kinds = ["conv"] * 3 + ["add", "view", "concat"] * 2
        kinds += ["pool", "gemm", "relu", "softmax", "transpose", "other", "gather"]
        getattr(self, self.choice(kinds))()

    def conv(self) -> None:
        x = self.pick(4)
        if x is None:
            return
        c = self.shapes[x][1]
        kernel = [self.draw(1, 5)] * 2 if self.chance(0.7) else [self.draw(1, 7), self.draw(1, 7)]
        groups = self.choice([g for g in range(1, c + 1) if c % g == 0])
        if self.chance(0.7):
            groups = 1
        same = self.chance(0.5)
        pads = [(kernel[0] - 1) // 2, (kernel[1] - 1) // 2, kernel[0] // 2, kernel[1] // 2]
        attrs = {
            "kernel_shape": kernel,
            "strides": [1, 1] if same or self.chance(0.5) else [self.draw(1, 3), self.draw(1, 3)],
            "pads": pads if same else [self.draw(0, 3) for _ in range(4)],
            "dilations": [1, 1] if same or self.chance(0.7) else [self.draw(1, 2), self.draw(1, 2)],
            "group": groups,
        }
        k = c if same and self.chance(0.5) else groups * self.draw(1, max(1, 24 // groups))
        inputs = [x, self.constant(k, c // groups, *kernel)]
        if self.chance(0.6):
            inputs.append(self.constant(k))
        y = self.node("Conv", inputs, **attrs)
        # What follows is fused, or must not be because something else needs the value.
        if y and self.chance(0.5):
            others = [n for n, s in self.shapes.items() if s == self.shapes[y]]
            pair = [y, self.choice(others)]
            y = self.node("Add", pair if self.chance(0.5) else pair[::-1])
        if y and self.chance(0.6):
            y = self.activation(y)
        if y and self.chance(0.4):
            size = [self.draw(1, 3), self.draw(1, 3)] if self.chance(0.5) else [2, 2]
            self.node("MaxPool", [y], kernel_shape=size, strides=size, ceil_mode=self.draw(0, 1))

    def pool(self) -> None:
        x = self.pick(4)
        if x is None:
            return
        op = "Global" * self.draw(0, 1) + ("MaxPool" if self.chance(0.5) else "AveragePool")
        if op.startswith("Global"):
            self.node(op, [x])
            return
        kernel = [self.draw(1, 4), self.draw(1, 4)]
        attrs: dict[str, object] = {
            "kernel_shape": kernel,
            "strides": [self.draw(1, 3), self.draw(1, 3)],
            "pads": [self.draw(0, size - 1) for size in kernel * 2],
            "ceil_mode": self.draw(0, 1),
        }
        if op == "AveragePool":
            attrs["count_include_pad"] = self.draw(0, 1)
        elif min(self.shapes[x][2:]) > 1:  # else a window may see padding alone, which is infinite
            attrs["dilations"] = [self.draw(1, 2), self.draw(1, 2)]
        self.node(op, [x], **attrs)

    def gemm(self) -> None:
        x = self.pick(2)
        if x is None or self.chance(0.5):
            x = self.pick()
            assert x
            x = self.node("Flatten", [x], axis=1)
        assert x
        k = self.shapes[x][1] if self.shapes[x][1] < 50 and self.chance(0.5) else self.draw(1, 40)
        inputs = [x, self.constant(k, self.shapes[x][1])]
        if self.chance(0.6):
            inputs.append(self.constant(k))
        y = self.node("Gemm", inputs, transB=1)
        if y and self.chance(0.4):
            others = [n for n, s in self.shapes.items() if s == self.shapes[y]]
            y = self.node("Add", [self.choice(others), y])
        if y and self.chance(0.5):
            self.activation(y)

    def concat(self) -> None:
        x = self.pick()
        assert x
        shape = self.shapes[x]
        if not 2 <= len(shape) <= 4:
            return
        fits = [n for n, s in self.shapes.items() if len(s) == len(shape) and s[2:] == shape[2:]]
        parts = [self.choice(fits) for _ in range(self.draw(0, 3))]
        parts.insert(self.draw(0, len(parts)), x)
        y = self.node("Concat", parts, axis=1 if self.chance(0.5) else 1 - len(shape))
        # What follows a convolution is fused, but not with a concatenation.
        if y and self.chance(0.3):
            self.node("Relu", [y])

    def relu(self) -> None:
        x = self.pick()
        assert x
        if len(self.shapes[x]) <= 4:
            self.activation(x)

    def activation(self, x: str) -> str | None:
        op = self.choice(["Relu", "Relu", "Clip", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu"])
        limits = [""] * 2
        for i in range(2 if op == "Clip" else 0):
            limits[i] = f"limit{len(self.graph.initializers)}" if self.chance(0.7) else ""
            if limits[i]:
                value = np.array(self.draw(-2, 2) / 2, np.float32)
                self.graph.initializers[limits[i]] = value
        return self.node(op, [x, *limits] if op == "Clip" else [x])

    def integers(self, array: Any) -> str:
        name = f"w{len(self.graph.initializers)}"
        self.graph.initializers[name] = np.array(array, np.int64)
        return name

    def other(self) -> None:
        x = self.pick(4)
        if x is None:
            return
        kind = self.choice(["function", "reduce", "product", "sample", "neighbours"])
        if kind == "function":
            op = self.choice(["Abs", "Neg", "Softplus", "Softsign", "Elu", "Erf", "Gelu", "Mish"])
            self.node(op, [x])
        elif kind == "reduce":
            op = self.choice(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1"])
            self.node(op, [x, self.integers([self.draw(1, 3)])], keepdims=1)
        elif kind == "product":
            turned = self.node("Transpose", [x], perm=[0, 1, 3, 2])
            if turned:
                self.node("MatMul", [x, turned])
        elif kind == "sample":
            count = int(np.prod(self.shapes[x][1:]))
            if count % 2 == 0:
                grid = self.node("Reshape", [x, self.integers([0, 1, count // 2, 2])])
                beyond = self.choice(["zeros", "border", "reflection"])
                attrs = {"padding_mode": beyond, "align_corners": self.draw(0, 1)}
                if grid:
                    self.node("GridSample", [x, grid], **attrs)
        else:
            self.node("LRN", [x], size=self.draw(1, 6), alpha=0.5, beta=0.75, bias=1.0)

    def gather(self) -> None:
        x = self.pick(4)
        if x is None:
            return
        h = self.shapes[x][2]
        places = self.random.integers(-h - 1, h + 1, (1, self.draw(1, 2 * h)))
        self.node("GatherRows", [x, self.integers(places)])

    def softmax(self) -> None:
        x = self.pick()
        assert x
        if 2 <= len(self.shapes[x]) <= 4:
            self.node("Softmax", [x], axis=self.draw(1, len(self.shapes[x]) - 1))

    def view(self) -> None:
        x = self.pick()
        assert x
        if self.chance(0.3):
            self.node("Flatten", [x], axis=1)
            return
        shape = list(self.shapes[x])
        target = [0, *self.source(st.permutations(shape[1:]))]
        if self.chance(0.3):  # merge two axes
            i = self.draw(1, max(1, len(target) - 2))
            target[i : i + 2] = [int(np.prod(target[i : i + 2]))]
        elif self.chance(0.5) and len(target) < 6:  # split one
            i = self.draw(1, len(target) - 1)
            factors = [f for f in range(1, target[i] + 1) if target[i] % f == 0]
            f = self.choice(factors)
            target[i : i + 1] = [f, target[i] // f]
        name = f"w{len(self.graph.initializers)}"
        self.graph.initializers[name] = np.array(target, np.int64)
        self.node("Reshape", [x, name])

    def transpose(self) -> None:
        x = self.pick()
        assert x
        rank = len(self.shapes[x])
        self.node("Transpose", [x], perm=[0, *self.source(st.permutations(range(1, rank)))])

    def add(self) -> None:
        x = self.pick()
        assert x
        shape = self.shapes[x]
        if not 1 < len(shape) <= 4:
            return
        if self.chance(0.5):
            same = [n for n, s in self.shapes.items() if len(s) == len(shape)]
            self.node(self.choice(["Add", "Sub", "Mul", "Max"]), [x, self.choice(same)])
        else:
            axes = [n if self.chance(0.6) else 1 for n in shape[1:]][self.draw(0, len(shape) - 2) :]
            self.node(self.choice(["Add", "Sub", "Mul", "Min"]), [x, self.constant(*axes)])
        y = list(self.shapes)[-1]
        if self.chance(0.4) and len(self.shapes[y]) <= 4:
            self.node("Relu", [y])


@st.composite
def graphs(draw: st.DrawFn) -> Maker:
    return Maker(draw)


EXAMPLES = settings(
    max_examples=12,
    derandomize=True,  # the same graphs in every run
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@EXAMPLES
@given(made=graphs(), threads=st.integers(1, 3))
def test_random_graph(made: Maker, threads: int, algorithm: str, isa: str) -> None:
    net = session(made.graph, algorithm=algorithm, isa=isa, threads=threads)
    for batch in (1, 3, 17):
        check(net, made.graph, batch, made.fetch)
    check(net, made.graph, 3, made.graph.outputs)


def weights(*shape: int) -> np.ndarray:
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    return np.asarray(np.random.default_rng(0).normal(size=shape) * scale, np.float32)


def make(
    nodes: list[Node],
    initializers: dict[str, np.ndarray],
    outputs: list[str],
    **inputs: tuple[int, ...],
) -> Graph:
    values = [Value(name, (0, *shape)) for name, shape in inputs.items()]
    return Graph("graph", nodes, initializers, values, outputs)


def conv(name: str, x: str, w: str, *bias: str, **attrs: object) -> Node:
    return Node("Conv", name, [x, w, *bias], [name], dict(attrs))


# Values and weights that are used in more than one way


@pytest.mark.parametrize("isa", ISAS)
def test_value_under_two_shapes(isa: str) -> None:
    """Both need channels last, of different channels."""
    nodes = [
        conv("a", "x", "w", pads=[1] * 4),
        Node("Reshape", "r", ["x", "shape"], ["r"]),
        conv("b", "r", "v", pads=[1] * 4),
    ]
    constants = {
        "w": weights(8, 16, 3, 3),
        "v": weights(8, 12, 3, 3),
        "shape": np.array([0, 12, 16, 6]),
    }
    graph = make(nodes, constants, ["a", "b"], x=(16, 12, 6))
    check(session(graph, isa=isa, algorithm="winograd"), graph, 3, ["a", "b"])


@pytest.mark.parametrize("isa", ISAS)
def test_fully_connected_weights_for_two_images(isa: str) -> None:
    """The same weights, but pixels and channels of the two images interleave differently."""
    nodes = []
    for name in ("x", "y"):
        nodes += [
            Node("MaxPool", f"{name}.pool", [name], [f"{name}.pool"], {"kernel_shape": [2, 2]}),
            Node("Flatten", f"{name}.flat", [f"{name}.pool"], [f"{name}.flat"], {"axis": 1}),
            Node("Gemm", f"{name}.fc", [f"{name}.flat", "w"], [f"{name}.fc"], {"transB": 1}),
        ]
    shapes = {"x": (16, 13, 7), "y": (48, 5, 7)}
    graph = make(nodes, {"w": weights(8, 16 * 12 * 6)}, ["x.fc", "y.fc"], **shapes)
    check(session(graph, isa=isa, algorithm="direct"), graph, 3, ["x.fc", "y.fc"])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("filters", [32, 96, 160])
def test_filters_with_two_numbers_of_groups(isa: str, filters: int) -> None:
    nodes = [conv("a", "x", "w"), conv("b", "y", "w", group=2)]
    constants = {"w": weights(filters, 4, 3, 3)}
    graph = make(nodes, constants, ["a", "b"], x=(4, 7, 7), y=(8, 7, 7))
    check(session(graph, isa=isa, algorithm="direct"), graph, 3, ["a", "b"])


def test_tensors_that_share_memory() -> None:
    bias, filters = weights(12), weights(12, 4, 1, 1)
    nodes = [conv("a", "x", "w", "b"), conv("c", "x", "v", "d")]
    constants = {"w": filters[:9], "b": bias[:9], "v": filters, "d": bias}
    graph = make(nodes, constants, ["a", "c"], x=(4, 7, 7))
    check(session(graph, algorithm="direct"), graph, 3, ["a", "c"])


# Concatenation


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("algorithm", ["", "direct", "im2col-openblas"])
def test_concat(isa: str, algorithm: str) -> None:
    """Odd channels, the graph's input, the same value twice; read by others; and an output."""
    window = {"kernel_shape": [3, 3], "pads": [1] * 4}
    nodes = [
        conv("a", "x", "w"),
        Node("Relu", "r", ["a"], ["r"]),
        conv("b", "r", "v", pads=[1] * 4),
        Node("MaxPool", "p", ["r"], ["p"], window),
        conv("c", "p", "u"),
        Node("Concat", "j", ["r", "b", "x", "c", "b"], ["j"], {"axis": 1}),
        conv("d", "j", "t", pads=[1] * 4),
        Node("Concat", "k", ["d", "j"], ["k"], {"axis": -3}),
        Node("Add", "s", ["k", "k"], ["s"]),
    ]
    constants = {
        "w": weights(13, 5, 1, 1),
        "v": weights(16, 13, 3, 3),
        "u": weights(3, 13, 1, 1),
        "t": weights(7, 53, 3, 3),
    }
    graph = make(nodes, constants, ["k", "s"], x=(5, 9, 7))
    for threads in (1, 4):
        net = session(graph, isa=isa, algorithm=algorithm, threads=threads)
        for batch in (1, 3, 17):
            for fetch in (["s"], ["k", "s"], ["j"], ["a", "b", "c", "j", "k"], ["r", "d"]):
                check(net, graph, batch, fetch)


def test_concat_of_vectors_and_rows() -> None:
    nodes = [
        Node("Concat", "j", ["x", "y", "x"], ["j"], {"axis": 1}),
        Node("Gemm", "g", ["j", "w"], ["g"], {"transB": 1}),
        Node("Concat", "v", ["g", "x"], ["v"], {"axis": -1}),
        Node("Reshape", "r", ["x", "shape"], ["r"]),
        Node("Concat", "rows", ["r", "r"], ["rows"], {"axis": 1}),
        Node("Concat", "alone", ["rows"], ["alone"], {"axis": -2}),
    ]
    constants = {"w": weights(16, 43), "shape": np.array([0, 3, 6])}
    graph = make(nodes, constants, ["v", "alone"], x=(18,), y=(7,))
    for batch in (1, 3):
        check(session(graph, threads=2), graph, batch, ["j", "v", "rows", "alone"])


def test_steps_of_a_concat_are_named_after_it() -> None:
    nodes = [conv("a", "x", "w"), Node("Concat", "j", ["a", "x"], ["j"], {"axis": 1})]
    graph = make(nodes, {"w": weights(16, 32, 1, 1)}, ["j"], x=(32, 8, 8))
    core = _core.Session(build(graph), threads=1, algorithm="direct")
    steps = {step["name"]: step for step in core.plan(1, [])}
    assert {"j.part1", "j.part2"} <= steps.keys()
    assert steps["j.part2"]["op"] == "Concat"
    assert steps["j.part2"]["algorithm"] == "reorder"
    assert steps["j.part2"]["problem"].startswith("move f32 n1 c32h8w8 k48 at16 ")


# Borders and absurd sizes


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [7, 8, 11])
def test_winograd_residual_of_few_channels(isa: str, kernel: int, size: int) -> None:
    """Its border tiles gather more than fits the input's patch of one vector of channels."""
    pads = [(kernel - 1) // 2, (kernel - 1) // 2, kernel // 2, kernel // 2]
    nodes = [conv("a", "x", "w", pads=pads), Node("Add", "y", ["a", "x"], ["y"])]
    graph = make(nodes, {"w": weights(5, 5, kernel, kernel)}, ["y"], x=(5, size, size))
    net = session(graph, isa=isa, algorithm="winograd", threads=3)
    for batch in (1, 17):
        check(net, graph, batch, ["y"])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("width", [1, 90])
def test_pool_of_padding_alone(isa: str, width: int) -> None:
    attrs = {"kernel_shape": [2, 2], "dilations": [3, 3], "pads": [3] * 4}
    graph = make([Node("MaxPool", "y", ["x"], ["y"], attrs)], {}, ["y"], x=(64, 1, width))
    x = -np.ones((1, 64, 1, width), "f4")
    expected = interpret.run(graph, {"x": x})["y"]
    assert np.isneginf(expected).any()
    np.testing.assert_array_equal(session(graph, isa=isa)(x), expected)


@pytest.mark.parametrize("algorithm", ["", "direct", "depthwise", "im2col-openblas", "direct-ref"])
def test_far_padding(algorithm: str) -> None:
    """Sizes whose products do not fit 64 bits: the first window ends, the second begins on x."""
    far = {"strides": [FAR, FAR], "dilations": [FAR, 1], "pads": [FAR, 0, FAR, 0]}
    graph = make([conv("y", "x", "w", **far)], {"w": weights(1, 1, 2, 1)}, ["y"], x=(1, 1, 1))
    x = np.array([-3], "f4").reshape(1, 1, 1, 1)
    y = session(graph, algorithm=algorithm, threads=2)(x)
    np.testing.assert_array_equal(y.ravel(), -3 * graph.initializers["w"].ravel()[::-1])


def test_far_padding_of_long_rows() -> None:
    """Windows that lie in padding alone begin too far from the image for a pointer."""
    far = {"strides": [FAR, 1], "pads": [FAR, 0, FAR, 0], "group": 512}
    graph = make([conv("y", "x", "w", **far)], {"w": weights(512, 1, 2, 1)}, ["y"], x=(512, 2, 99))
    x = np.random.default_rng(1).normal(size=(2, 512, 2, 99)).astype("f4")
    y = session(graph, algorithm="depthwise", threads=3)(x)
    expected = (x * graph.initializers["w"][:, 0]).sum(2)
    np.testing.assert_allclose(y[:, :, 1], expected, atol=1e-5)
    assert y.shape[2] == 3
    assert not y[:, :, ::2].any()


@pytest.mark.parametrize("threads", [1, 32])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pool_window_far_larger_than_its_input(op: str, threads: int) -> None:
    attrs = {"kernel_shape": [FAR, FAR], "strides": [FAR, FAR], "pads": [FAR - 1] * 4}
    graph = make([Node(op, "y", ["x"], ["y"], attrs)], {}, ["y"], x=(1, 1, 1))
    x = np.full((1, 1, 1, 1), -3, "f4")
    np.testing.assert_array_equal(session(graph, threads=threads)(x), x)


MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("shape", [(1, 1 << 19, 1 << 20), (1, MEMORY >> 22, 1 << 20)])
def test_too_large_for_any_machine_or_this_one(shape: tuple[int, ...]) -> None:
    graph = make([Node("Relu", "y", ["x"], ["y"])], {}, ["y"], x=shape)
    with pytest.raises(MemoryError, match="GB"):
        session(graph)


@pytest.mark.parametrize(
    "attrs",
    [
        {"pads": [1 << 19, 1 << 19, 1 << 19, 1 << 19]},
        {"pads": [FAR, FAR, FAR, FAR], "strides": [1 << 12, 1 << 12]},
    ],
)
def test_convolution_too_large(attrs: dict[str, object]) -> None:
    graph = make([conv("y", "x", "w", **attrs)], {"w": weights(1, 1, 1, 1)}, ["y"], x=(1, 1, 1))
    for algorithm in ALGORITHMS:
        with pytest.raises((MemoryError, ValueError)):
            session(graph, algorithm=algorithm)


def test_reference_algorithm_keeps_nan() -> None:
    graph = make([conv("y", "x", "w")], {"w": weights(3, 2, 1, 1)}, ["y"], x=(2, 4, 4))
    x = np.ones((1, 2, 4, 4), "f4")
    x[0, 1, 2, 3] = np.nan
    expected = np.isnan(interpret.run(graph, {"x": x})["y"])
    for algorithm in ("direct-ref", "direct"):
        y = session(graph, algorithm=algorithm)(x)
        np.testing.assert_array_equal(np.isnan(y), expected)


# The caller's memory, threads and processes


def test_unaligned_arrays() -> None:
    graph = make([Node("Relu", "y", ["x"], ["y"])], {}, ["y"], x=(3,))
    net = session(graph)
    x = np.frombuffer(b"?" + np.array([[-1, 2, 3]], "f4").tobytes(), "f4", offset=1).reshape(1, 3)
    assert not x.flags.aligned
    np.testing.assert_array_equal(net(x), [[0, 2, 3]])
    out = np.frombuffer(bytearray(13), "f4", offset=1).reshape(1, 3)
    with pytest.raises(ValueError, match="aligned"):
        net(x, out=out)


BUSY = """
import sys, threading, time
import numpy as np
import linnet
from linnet.graph import Graph, Node, Value
node = Node("Relu", "y", ["x"], ["y"])
net = linnet.load(Graph("busy", [node], {}, [Value("x", (0, 1 << 20))], ["y"]), threads=2)
x = np.zeros((64, 1 << 20), "f4")
def loop():
    while True:
        net(x)
threading.Thread(target=loop, daemon=True).start()
time.sleep(0.2)
"""


def test_exit_while_a_daemon_thread_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_fork_while_another_thread_runs() -> None:
    graph = make([Node("Relu", "y", ["x"], ["y"])], {}, ["y"], x=(1 << 20,))
    net = session(graph, threads=2)
    x = np.zeros((32, 1 << 20), "f4")
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            net(x)

    thread = threading.Thread(target=loop)
    thread.start()
    time.sleep(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about its own threads
        child = os.fork()
    if child == 0:
        net(x[:1])
        os._exit(0)
    stop.set()
    thread.join()
    for _ in range(200):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0
