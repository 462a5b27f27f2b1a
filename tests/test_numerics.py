"""What numbers do to results: NaN and infinity, long sums, large images of few channels."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import _core
from linnet.graph import Graph, Node, Value

ISAS = [os.environ["LINNET_ISA"]] if os.environ.get("LINNET_ISA") else _core.available_isas()


def graph(nodes: list[Node], shape: tuple[int, ...], constants: dict[str, Any]) -> Graph:
    return Graph("g", nodes, constants, [Value("x", (0, *shape))], [nodes[-1].outputs[0]])


def pool(op: str, shape: tuple[int, ...], size: int = 0, step: int = 1, pad: int = 0) -> Graph:
    """A network of one pool; of no size, of the whole image."""
    attrs = {"kernel_shape": [size] * 2, "strides": [step] * 2, "pads": [pad] * 4} if size else {}
    return graph([Node(op, "pool", ["x"], ["y"], attrs)], shape, {})


def windows(x: Any, size: int, step: int, pad: int) -> Any:
    """The pixels of each window of a pool, as two axes more."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return view[:, :, ::step, ::step]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((1, 11, 40), (3, 1, 1)),
        ((2, 11, 33), (3, 2, 1)),
        ((3, 11, 17), (5, 3, 0)),
        ((16, 11, 9), (3, 2, 0)),
        ((40, 11, 12), (3, 3, 1)),
        ((19, 11, 7), (7, 1, 3)),
        ((1, 11, 5), (2, 2, 0)),
    ],
)
def test_nan_is_the_largest_of_its_windows(
    isa: str, shape: tuple[int, ...], window: tuple[int, int, int]
) -> None:
    net = linnet.load(pool("MaxPool", shape, *window), isa=isa)
    random = np.random.default_rng(shape[2])
    x = random.standard_normal((3, *shape)).astype(np.float32)
    x[random.random(x.shape) < 0.05] = np.nan
    x[random.random(x.shape) < 0.02] = np.inf
    np.testing.assert_array_equal(net(x), windows(x, *window).max((4, 5)))


def accepted(keys: list[str], algorithms: list[str]) -> list[tuple[str, str, str]]:
    """(problem, algorithm, isa) where the algorithm takes the problem."""
    every = itertools.product(keys, algorithms, ISAS)
    return [case for case in every if not _core.refusal(*case)]


POOLED = [f"conv f32 n1 c8h8w8 k16r3x3 relu maxpool{n}x{n} nhwc t1" for n in (2, 3)]


@pytest.mark.parametrize(
    ("key", "algorithm", "isa"),
    accepted(POOLED, ["direct", "winograd", "winograd-rows", "fourier-8"]),
)
def test_pools_in_a_convolution_keep_nan(key: str, algorithm: str, isa: str) -> None:
    """NaN in one of the pooled convolution's results, by a NaN in each place of the image."""
    window = int(key[key.index("maxpool") + 7])
    random = np.random.default_rng(0)
    w = random.standard_normal((16, 8, 3, 3)).astype(np.float32)
    layer = _core.Layer(key, algorithm, isa, w, None)
    lanes = -(-8 // layer.width) * layer.width
    stored = 6 // window
    for row, col in np.ndindex(6, 6):
        x = np.zeros((8, 8, lanes), np.float32)
        x[row + 1, col + 1, 3] = np.nan
        y = np.zeros(layer.y_count, np.float32)
        layer.run(x.ravel(), None, y)
        hit = np.zeros((6, 6), bool)
        hit[max(0, row - 1) : row + 2, max(0, col - 1) : col + 2] = True
        hit = hit[: stored * window, : stored * window]
        hit = hit.reshape(stored, window, stored, window).any((1, 3))
        nan = np.isnan(y.reshape(stored, stored, -1)[:, :, :16]).all(2)
        assert nan[hit].all(), (row, col)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("shape", "size", "step", "pad"),
    [
        ((1, 400, 333), 0, 1, 0),
        ((2, 97, 1000), 0, 1, 0),
        ((3, 31, 2000), 31, 7, 0),
        ((16, 150, 160), 0, 1, 0),
        ((20, 90, 90), 80, 5, 40),
        ((1, 300, 300), 100, 100, 0),
        ((7, 14, 14), 0, 1, 0),
    ],
)
def test_averages_of_any_size(
    isa: str, shape: tuple[int, ...], size: int, step: int, pad: int
) -> None:
    """To 1e-6 of the values' rms, where all are equal and where they are not."""
    op = "AveragePool" if size else "GlobalAveragePool"
    net = linnet.load(pool(op, shape, size, step, pad), isa=isa)
    random = np.random.default_rng(3)
    for values in (np.full(shape, 0.1), random.random((2, *shape)), random.normal(3, 1, shape)):
        x = np.asarray(values, np.float32).reshape(-1, *shape)
        padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        counts = np.pad(np.ones((1, 1, *shape[1:])), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        rows, cols = (size, size) if size else shape[1:]
        sums = []
        for a in (padded, counts):
            table = np.pad(a.cumsum(2).cumsum(3), ((0, 0), (0, 0), (1, 0), (1, 0)))
            box = table[..., rows:, cols:] - table[..., :-rows, cols:]
            box += table[..., :-rows, :-cols] - table[..., rows:, :-cols]
            sums.append(box[:, :, ::step, ::step])
        error = np.abs(net(x) - sums[0] / sums[1]).max()
        assert error < 1e-6 * np.sqrt(np.mean(x.astype(np.float64) ** 2))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "key",
    [
        "matmul f32 n1 c262144h1w1 k5 nhwc t1",
        "matmul f32 n3 c100003h1w1 k17 nchw>nhwc t2",
        "matmul f32 n1 c70000h1w1 k16 wint8 relu6 nhwc t1",
        "matmul f32 n20 c700h7w7 k9 wf16 nhwc t1",
        "conv f32 n1 c65536h2w3 k8r1x1 nhwc t1",
        "conv f32 n1 c65536h1w3 k8r1x1 add nhwc t1",
        "conv f32 n2 c2000h5w6 k20r3x3p1,1,1,1 relu nhwc t1",
        "conv f32 n1 c3000h6w6 k9r3x3 maxpool2x2 nhwc t1",
        "conv f32 n1 c1500h6w6 k24r3x3 relu maxpool2x2 nchw>nhwc t1",
        "conv f32 n1 c4h80w80 k8r40x40 nhwc t1",
        "conv f32 n1 c1h90w90 k16r80x80 nchw>nhwc t1",
        "conv f32 n1 c9h90w90 k9r70x60 g9 nhwc t1",
    ],
)
def test_long_sums_of_one_sign(isa: str, key: str) -> None:
    """Equal products, whose sum in one place drifts most."""
    p = _core.parse_problem(key)
    each = p["in"][0] // p.get("group", 1)
    taps = int(np.prod(p["in"]) if p["kind"] == "matmul" else each * np.prod(p["kernel"]))
    x, w = np.float32(0.1), np.float32(0.1 if p["weights"] == "f32" else 1) / np.float32(64)
    for algorithm in _core.algorithms():
        if algorithm.startswith("nnpack") or _core.refusal(key, algorithm, isa):
            continue
        size = p["out"][0] * taps
        layer = _core.Layer(key, algorithm, isa, np.full(size, w, np.float32), None)
        lanes = -(-p["in"][0] // layer.width) * layer.width
        image = np.zeros((p["n"], p["in"][1], p["in"][2], lanes), np.float32)
        image[..., : p["in"][0]] = x
        if p["in_layout"] == "nchw":
            image = np.full((p["n"], *p["in"]), x)
        operand = np.zeros(layer.y_count, np.float32) if p["binary"] else None
        y = np.empty(layer.y_count, np.float32)
        layer.run(image.ravel(), operand, y)
        inside = taps * float(x) * float(w)
        most = y.reshape(-1, -(-p["out"][0] // layer.width) * layer.width)[:, : p["out"][0]].max()
        want = min(inside, p["high"])
        assert abs(most / want - 1) < 1e-4, algorithm


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("count", [4096, 100_000, 999_999])
def test_softmax_of_many(isa: str, count: int) -> None:
    nodes = [Node("Softmax", "softmax", ["x"], ["y"], {"axis": 1})]
    net = linnet.load(graph(nodes, (count,), {}), isa=isa)
    x = np.random.default_rng(1).random((2, count)).astype(np.float32)
    want = np.exp(x.astype(np.float64))
    want /= want.sum(1, keepdims=True)
    np.testing.assert_allclose(net(x), want, 2e-6)


@pytest.mark.parametrize(
    ("op", "shape", "size", "step"),
    [
        ("MaxPool", (1, 800, 700), 2, 2),
        ("MaxPool", (3, 500, 500), 3, 1),
        ("AveragePool", (2, 640, 480), 3, 2),
        ("AveragePool", (1, 1000, 300), 8, 8),
        ("GlobalMaxPool", (3, 900, 400), 0, 1),
        ("GlobalAveragePool", (2, 512, 512), 0, 1),
    ],
)
def test_pools_of_few_channels_take_little_memory(
    op: str, shape: tuple[int, ...], size: int, step: int
) -> None:
    net = linnet.load(pool(op, shape, size, step), threads=1)
    assert net.arena_bytes <= 2 * 4 * np.prod(shape)
    assert net.explain()  # planned


TRANSFORMED = [
    "conv f32 n2 c24h19w23 k20r3x3p1,1,1,1 relu nhwc t2",
    "conv f32 n1 c8h40w40 k16r3x3 maxpool3x3 nhwc t1",
    "conv f32 n2 c17h14w14 k20r5x5p2,2,2,2 add relu nhwc t1",
    "conv f32 n1 c9h30w31 k17r7x7p3,3,3,3 nhwc t3",
    "conv f32 n1 c64h7w7 k64r3x3p1,1,1,1 nhwc t1",
    "conv f32 n1 c1h60w50 k8r5x5 relu maxpool2x2 nchw>nhwc t1",
    "conv f32 n2 c3h33w47 k16r3x7s2x1p1,3,1,3 nchw>nhwc t2",
    "conv f32 n1 c5h50w52 k9r9x9p4,4,4,4 nhwc t1",
    "conv f32 n1 c5h48w45 k12r3x3p2,2,2,2d2 nhwc t2",
    "conv f32 n1 c16h18w18 k16r2x2 nhwc/32 t1",
    "conv f32 n1 c128h15w16 k24r3x3p1,1,1,1 nhwc t2",
    "conv f32 n1 c2h8w8 k9r3x3 nhwc t1",
]
TRANSFORMS = ["winograd", "winograd-rows", "fourier-8", "fourier-16"]


class Conv:
    """A convolution by an algorithm, and plainly in double."""

    def __init__(self, key: str, algorithm: str, isa: str) -> None:
        self.p = _core.parse_problem(key)
        random = np.random.default_rng(list(key.encode()))
        shape = (self.p["out"][0], self.p["in"][0], *self.p["kernel"])
        w = random.standard_normal(shape).astype(np.float32)
        w[random.random(shape) < 0.1] = 0  # times infinity it is NaN
        self.layers = [_core.Layer(key, name, isa, w, None) for name in (algorithm, "direct-ref")]
        self.width = self.layers[0].width
        self.x = random.standard_normal((self.p["n"], *self.p["in"])).astype(np.float32)
        z = random.standard_normal(self.layers[0].y_count).astype(np.float32)
        self.operand = z if self.p["binary"] else None

    def __call__(self, x: Any) -> list[Any]:
        """The results of both, [pixel, channel]."""
        if self.p["in_layout"] == "nhwc":
            n, c, h, w = x.shape
            pixel = self.p["in_pitch"] or -(-c // self.width) * self.width
            lanes = np.zeros((n, h, w, pixel), np.float32)
            lanes[..., :c] = x.transpose(0, 2, 3, 1)
            x = lanes
        results = []
        for layer in self.layers:
            y = np.zeros(layer.y_count, np.float32)
            layer.run(x.ravel()[: layer.x_count], self.operand, y)
            y = np.r_[y, np.zeros(-len(y) % (self.p["out_pitch"] or 1), np.float32)]
            pixel = self.p["out_pitch"] or -(-self.p["out"][0] // self.width) * self.width
            results.append(y.reshape(-1, pixel)[:, : self.p["out"][0]])
        return results

    def places(self) -> list[tuple[int, ...]]:
        """Of a pixel: corners, edges, and where tiles of 8 and of 16 meet."""
        _, c, h, w = self.x.shape
        n = self.p["n"] - 1
        return [
            (n, c // 2, *at)
            for at in [(0, 0), (h - 1, w // 2), (h // 2, w // 2), (5, 6), (h // 3, w - 1)]
        ]


@pytest.mark.parametrize(("key", "algorithm", "isa"), accepted(TRANSFORMED, TRANSFORMS))
def test_a_pixel_changes_its_own_results_only(key: str, algorithm: str, isa: str) -> None:
    """One that is no number, infinite, or up to 65,535 times the rest."""
    layer = Conv(key, algorithm, isa)
    without = layer(layer.x)[1]
    # The reference takes its time, so each place has two of the values.
    for place, odd, large in zip(
        layer.places(),
        (np.nan, np.inf, np.nan, -np.inf, np.nan),
        (65535, 300, 30, 65535, 300),
        strict=True,
    ):
        x = layer.x.copy()
        x[place] = odd
        got, want = layer(x)
        for kind in (np.isnan, np.isposinf, np.isneginf):
            np.testing.assert_array_equal(kind(got), kind(want))
        x[place] = large
        got, want = layer(x)
        far = want == without  # exactly, since sums of doubles are
        rms = np.sqrt(np.mean(want[far] ** 2))
        assert np.abs(got - want)[far].max() < 1e-4 * rms, (place, large)
        error = np.abs(got - want)[~far] / np.abs(want)[~far].max(initial=1)
        assert error.max(initial=0) < 1e-4


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("algorithm", TRANSFORMS)
def test_several_odd_pixels_and_images_without(algorithm: str, isa: str) -> None:
    """Each image of a batch is judged on its own, whatever the others hold."""
    key = "conv f32 n4 c16h44w44 k16r3x3p1,1,1,1 nhwc t2"
    layer = Conv(key, algorithm, isa)
    clean, _ = layer(layer.x)
    x = layer.x.copy()
    x[1, :, 20, 20] = np.nan  # all channels of a pixel
    x[2, 3, 7:9, 30] = 5000
    x[2, 4, 40, 2] = -np.inf
    x[3] = np.inf
    got, want = layer(x)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(got), kind(want))
    size = len(got) // 4
    np.testing.assert_array_equal(got[:size], clean[:size])
    np.testing.assert_array_equal(layer(layer.x)[0], clean)  # nothing of it stays behind


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("scale", [1e-12, 1, 1e12])
def test_any_scale_is_ordinary(isa: str, scale: float) -> None:
    for algorithm in TRANSFORMS:
        layer = Conv("conv f32 n1 c16h30w30 k16r3x3p1,1,1,1 nhwc t1", algorithm, isa)
        got, want = layer(np.float32(scale) * layer.x)
        assert np.abs(got - want).max() < 1e-4 * np.sqrt(np.mean(want.astype(np.float64) ** 2))
