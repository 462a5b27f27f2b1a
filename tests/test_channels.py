"""Channels that do nothing: which can go together, what is known of them, and that nothing changes
without them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import Drawing

from linnet import _core, cli, core, passes
from linnet.channels import Couplings, Signals, remove_dead
from linnet.formats import onnx_write
from linnet.graph import Graph
from linnet.model import canonical
from linnet.session import Session

Array = np.ndarray[Any, Any]
DATA = Path(__file__).parent / "data"
ACTIVATIONS = ("Relu", "Sigmoid", "HardSwish", "LeakyRelu", "Clip")


class Drawn(Drawing):
    """A share of its filters does nothing."""

    def __init__(self, seed: int, share: float, *shape: int, wide: int = 1) -> None:
        """wide: times as many channels as there are else."""
        super().__init__(seed, 0, *shape)
        self.share, self.wide = share, wide
        self.channels = {"x": shape[0]}
        self.sizes = {"x": shape[1]}

    def node(self, op: str, *inputs: str | Array, channels: int = 0, **attrs: Any) -> str:
        name = super().node(op, *inputs, **attrs)
        first = self.graph.nodes[-1].inputs[0]
        self.channels[name] = channels or self.channels[first]
        self.sizes[name] = self.sizes[first]
        return name

    def _parameters(self, *shape: int) -> tuple[Array, Array]:
        """Of the filters that do nothing some are zero, some constant, some equal to another."""
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        w = (self.random.standard_normal(shape) * scale).astype(np.float32)
        b = (self.random.standard_normal(shape[0]) * 0.3).astype(np.float32)
        idle = self.random.permutation(shape[0])[: int(self.share * shape[0])]
        w[idle] = 0
        b[idle[::3]] = 0
        if len(idle) > 3 and len(idle) < shape[0]:
            other = self.random.choice(np.setdiff1d(np.arange(shape[0]), idle))
            w[idle[1]], b[idle[1]] = w[other], b[other]
        return w, b

    def conv(self, x: str, k: int, side: int = 3, stride: int = 1, group: int = 1) -> str:
        pad = side // 2 if self.random.random() < 0.7 else 0
        if self.sizes[x] - side + 1 < 6:
            pad = side // 2
        w, b = self._parameters(k, self.channels[x] // group, side, side)
        window = {"kernel_shape": [side, side], "pads": [pad] * 4, "strides": [stride] * 2}
        y = self.node("Conv", x, w, b, channels=k, **window, group=group)
        self.sizes[y] = (self.sizes[x] + 2 * pad - side) // stride + 1
        return y

    def norm(self, x: str) -> str:
        c = self.channels[x]
        scale, shift, mean = (self.random.normal(1, 0.3, c).astype(np.float32) for _ in range(3))
        return self.node("BatchNormalization", x, scale, shift, mean, np.ones(c, np.float32))

    def act(self, x: str) -> str:
        op = str(self.random.choice(ACTIVATIONS))
        limits = [np.array(v, np.float32) for v in (0, 6)] if op == "Clip" else []
        return self.node(op, x, *limits)

    def pool(self, x: str) -> str:
        op = str(self.random.choice(["MaxPool", "AveragePool"]))
        y = self.node(op, x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
        self.sizes[y] = self.sizes[x] // 2
        return y

    # What couples channels.

    def residual(self, x: str) -> str:
        y = self.conv(self.act(self.norm(self.conv(x, 16 * self.wide))), self.channels[x], 1)
        x = self.conv(x, self.channels[x], 3) if self.sizes[x] != self.sizes[y] else x
        if self.sizes[x] != self.sizes[y]:
            return self.act(y)
        return self.act(self.node("Add", x, y))

    def fork(self, x: str) -> str:
        parts = [self.act(self.conv(x, k * self.wide, 1)) for k in (12, 20)]
        return self.node("Concat", *parts, channels=32 * self.wide, axis=1)

    def separable(self, x: str) -> str:
        c = self.channels[x] * int(self.random.integers(1, 3))
        y = self.act(self.norm(self.conv(x, c, 3, group=self.channels[x])))
        return self.act(self.norm(self.conv(y, 24 * self.wide, 1)))

    def shuffle(self, x: str) -> str:
        c, size = self.channels[x], self.sizes[x]
        x = self.act(self.conv(x, c, 1, group=2))
        y = self.node("Reshape", x, np.array([0, 2, c // 2, size, size]))
        y = self.node("Transpose", y, perm=[0, 2, 1, 3, 4])
        y = self.node("Reshape", y, np.array([0, c, size, size]), channels=c)
        return self.act(self.conv(y, c, 3, group=2))

    def excite(self, x: str) -> str:
        y = self.node("GlobalAveragePool", x)
        y = self.node("Relu", self.conv_of_one(y, 8))
        return self.node("Mul", x, self.node("Sigmoid", self.conv_of_one(y, self.channels[x])))

    def conv_of_one(self, x: str, k: int) -> str:
        w, b = self._parameters(k, self.channels[x], 1, 1)
        return self.node("Conv", x, w, b, channels=k)

    def split(self, x: str) -> str:
        half = self.channels[x] // 2
        ends = [np.array([n]) for n in (0, half, self.channels[x], 1)]
        a = self.node("Slice", x, ends[0], ends[1], ends[3], ends[3], channels=half)
        b = self.node("Slice", x, ends[1], ends[2], ends[3], ends[3], channels=half)
        b = self.act(self.conv_of_one(b, half))
        return self.node("Concat", a, b, channels=self.channels[x], axis=1)

    def scaled(self, x: str) -> str:
        factors = self.random.random((self.channels[x], 1, 1)).astype(np.float32)
        return self.node("PRelu", self.node("Mul", x, factors), factors)

    def done(self, x: str) -> Graph:
        x = self.node("Flatten", self.pool(x), axis=1)
        size = self.channels[x] * self.sizes[x] ** 2
        for k in (24, 10):
            w, b = self._parameters(k, size)
            if k == 10:
                w = self.random.standard_normal(w.shape).astype(np.float32) / 5
            x, size = self.node("Gemm", x, w, b, transB=1), k
            x = self.node("Relu", x) if k == 24 else x
        self.graph.outputs = [x]
        return passes.canonicalize(self.graph)


def drawn(seed: int, share: float, size: int = 20, wide: int = 1) -> Graph:
    """A random network with every kind of coupling, in random order, of size x size pixels."""
    n = Drawn(seed, share, 3, size, size, wide=wide)
    x = n.act(n.norm(n.conv("x", 16 * wide)))
    steps = [n.residual, n.fork, n.separable, n.shuffle, n.excite, n.split, n.scaled]
    for place, index in enumerate(n.random.permutation(len(steps))):
        x = steps[index](x)
        if place == 2:
            x = n.pool(x)
    return n.done(x)


def macs(graph: Graph) -> int:
    shapes = core.shapes(graph)
    return sum(
        graph.initializers[n.inputs[1]].size * int(np.prod(shapes[n.outputs[0]][2:]))
        for n in graph.nodes
        if n.op in ("Conv", "Gemm")
    )


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_without_dead_channels_compute_the_same(seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, 20, 20)).astype(np.float32)
    sizes = []
    for share in (0, 0.3, 0.6):
        graph = drawn(seed, share)
        smaller, removed = remove_dead(graph)
        want, got = (Session(_core.Session(core.build(g)))(x) for g in (graph, smaller))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
        sizes.append(macs(smaller) / macs(graph))
        assert removed or not share
    # Layers before and after one become smaller; what is coupled to a live channel stays.
    assert sizes[0] > 0.98
    assert sizes[1] < 0.95
    assert sizes[2] < 0.9 * sizes[1]


def chain(w: Array, b: Array, act: str = "Relu", pad: int = 0) -> Graph:
    """x -> conv (w, b) -> activation -> conv of 3x3 that reads it."""
    n = Drawn(3, 0, 2, 8, 8)
    window = {"kernel_shape": [1, 1], "pads": [0] * 4}
    y = n.node(act, n.node("Conv", "x", w, b, channels=len(w), **window))
    z = n.random.standard_normal((5, len(w), 3, 3)).astype(np.float32)
    last = n.node("Conv", y, z, np.zeros(5, np.float32), kernel_shape=[3, 3], pads=[pad] * 4)
    n.graph.outputs = [last]
    return passes.canonicalize(n.graph)


def same(graph: Graph, smaller: Graph) -> None:
    x = np.random.default_rng(0).standard_normal((1, *graph.inputs[0].shape[1:])).astype(np.float32)
    a, b = (Session(_core.Session(core.build(g)))(x) for g in (graph, smaller))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_what_is_removed_and_why():
    w = np.random.default_rng(1).standard_normal((6, 2, 1, 1)).astype(np.float32)
    b = np.ones(6, np.float32)
    w[1] = 0  # 1 after the activation
    w[2], b[2] = 0, -1  # 0 after it
    w[4] = w[3]
    graph = chain(w, b)
    smaller, (removed,) = remove_dead(graph)
    assert (removed.channels, removed.constant, removed.equal, removed.unread) == (6, 2, 1, 0)
    assert str(removed) == "3 of 6 channels of conv0: 2 never change, 1 equal others"
    same(graph, smaller)


def test_constants_are_not_what_padding_is():
    w = np.random.default_rng(1).standard_normal((6, 2, 1, 1)).astype(np.float32)
    w[1] = w[2] = w[3] = 0
    b = np.array([1, 2, 0, 2, 1, 1], np.float32)
    graph = chain(w, b, pad=1)
    smaller, (removed,) = remove_dead(graph)  # the 0, and one of the equal constants
    assert (removed.constant, removed.equal) == (1, 1)
    same(graph, smaller)


def test_an_activation_that_never_lets_anything_through():
    n = Drawn(3, 0, 2, 8, 8)
    window = {"kernel_shape": [1, 1], "pads": [0] * 4}
    x = n.node("Relu", "x")
    w = np.array([[-1, -2], [1, -1], [2, 1]], np.float32).reshape(3, 2, 1, 1)
    y = n.node("Conv", x, w, np.array([-0.1, 0, 0], np.float32), channels=3, **window)
    z = n.node("Conv", n.node("Relu", y), np.ones((2, 3, 1, 1), np.float32), channels=2, **window)
    n.graph.outputs = [z]
    graph = passes.canonicalize(n.graph)
    smaller, (removed,) = remove_dead(graph)
    assert (removed.layer, removed.constant) == (y, 1)
    same(graph, smaller)


def test_who_is_not_read_takes_others_along():
    w = np.random.default_rng(1).standard_normal((6, 2, 1, 1)).astype(np.float32)
    graph = chain(w, np.ones(6, np.float32))
    first, last = (node for node in graph.nodes if node.op == "Conv")
    graph.initializers[last.inputs[1]][:, 4:] = 0
    smaller, (removed,) = remove_dead(graph)
    assert removed.unread == 2 and removed.layer == first.name
    same(graph, smaller)


def test_none_stays_for_the_sake_of_vectors():
    n = Drawn(3, 0, 2, 8, 8)
    one, other = (n.conv("x", k, 1) for k in (48, 32))
    for node in n.graph.nodes:
        w, b = (n.graph.initializers[name] for name in node.inputs[1:])
        w[5:24] = b[5:24] = 0
    n.graph.outputs = [n.conv(n.node("Concat", one, other, channels=80, axis=1), 5)]
    graph = passes.canonicalize(n.graph)
    smaller, removed = remove_dead(graph)
    assert [core.shapes(smaller)[name][1] for name in (one, other)] == [29, 13]
    assert [layer.constant for layer in removed] == [19, 19]
    same(graph, smaller)


@pytest.mark.parametrize(
    ("size", "dead", "left"),
    [(32, 11, 32), (32, 19, 16), (32, 25, 8), (32, 29, 4), (12, 5, 8), (13, 2, 11), (40, 3, 40)],
)
def test_groups_of_whole_vectors_stay_that(size: int, dead: int, left: int):
    """Of each group of a convolution, which reads channels and makes others."""
    n = Drawn(3, 0, 2, 8, 8)
    x = n.conv(n.conv(n.conv("x", 2 * size), 2 * size, group=2), 6)
    n.graph.outputs = [x]
    for node in n.graph.nodes[:2]:
        w, b = (n.graph.initializers[name] for name in node.inputs[1:])
        for half in (0, size):
            w[half : half + dead] = b[half : half + dead] = 0
    graph = passes.canonicalize(n.graph)
    smaller, removed = remove_dead(graph)
    assert [core.shapes(smaller)[node.outputs[0]][1] for node in graph.nodes] == [
        *(2 * left, 2 * left),
        6,
    ]
    assert [layer.constant for layer in removed] == [2 * (size - left)] * 2 * (left < size)
    same(graph, smaller)


def test_outputs_and_inputs_stay():
    w = np.zeros((4, 2, 1, 1), np.float32)
    graph = chain(w, np.ones(4, np.float32))
    graph.outputs = [graph.nodes[0].outputs[0]]
    graph = passes.canonicalize(graph)
    assert remove_dead(graph) == (graph, [])


def test_of_channels_that_all_do_nothing_one_stays():
    graph = chain(np.zeros((4, 2, 1, 1), np.float32), np.ones(4, np.float32))
    smaller, (removed,) = remove_dead(graph)
    assert removed.constant == 3
    same(graph, smaller)


def test_equal_channels_of_a_list_are_those_at_the_same_place():
    n = Drawn(3, 0, 2, 4, 4)
    w = np.random.default_rng(1).standard_normal((4, 2, 1, 1)).astype(np.float32)
    w[2] = w[0]
    y = n.node("Conv", "x", w, np.zeros(4, np.float32), channels=4, kernel_shape=[1, 1])
    fc = n.random.standard_normal((3, 64)).astype(np.float32)
    n.graph.outputs = [n.node("Gemm", n.node("Flatten", y, axis=1), fc, transB=1)]
    graph = passes.canonicalize(n.graph)
    couplings = Couplings(graph)
    flat = graph.nodes[-1].inputs[0]
    signals = Signals(couplings).along(flat)
    assert len(set(signals.tolist())) == 48 and (signals[:16] == signals[32:48]).all()
    smaller, (removed,) = remove_dead(graph)
    assert removed.equal == 1 and smaller.initializers[smaller.nodes[-1].inputs[1]].shape == (3, 48)
    same(graph, smaller)


def test_layers_of_integers_stay():
    graph = canonical(DATA / "digits_int8.onnx", None)
    assert remove_dead(graph) == (graph, [])


def test_the_verbs_say_what_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    w = np.random.default_rng(1).standard_normal((6, 2, 1, 1)).astype(np.float32)
    w[:3] = 0
    graph = chain(w, np.ones(6, np.float32))
    onnx_write.save(graph, tmp_path / "in.onnx")
    files = [str(tmp_path / name) for name in ("in.onnx", "out.onnx")]
    assert cli.main(["inspect", files[0]]) == 0
    assert "3 of 6 channels of conv0: 3 never change" in capsys.readouterr().out
    assert cli.main(["convert", *files, "--json"]) == 0
    (removed,) = json.loads(capsys.readouterr().out)["removed"]
    assert removed == {"layer": "conv0", "channels": 6, "constant": 3, "equal": 0, "unread": 0}
    same(graph, canonical(files[1], None))
