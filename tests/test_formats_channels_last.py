"""What windows mean in sources with channels last, against TensorFlow's definitions in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import interpret
from linnet.formats import _channels_last as last
from linnet.formats._channels_last import Kernel
from linnet.formats._translator import Translator, Unsupported

RANDOM = np.random.default_rng(7)


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def borders(n: int, k: int, stride: int, padding: str) -> tuple[int, int, int]:
    """How many windows there are, and the padding before and behind; `k` is what they cover."""
    if padding == "VALID":
        return (n - k) // stride + 1, 0, 0
    count = -(-n // stride)
    total = max((count - 1) * stride + k - n, 0)
    return count, total // 2, total - total // 2


def windows(
    x: Any,
    window: Sequence[int],
    strides: Sequence[int],
    padding: str,
    *,
    dilation: int = 1,
    fill: float = 0,
) -> Any:
    """[N, OH, OW, R, S, C] of [N, H, W, C]."""
    span = [(k - 1) * dilation + 1 for k in window]
    (high, *rows), (wide, *cols) = (
        borders(n, k, s, padding) for n, k, s in zip(x.shape[1:3], span, strides)
    )
    x = np.pad(x, [(0, 0), rows, cols, (0, 0)], constant_values=fill)
    return np.stack(
        [
            np.stack(
                [
                    x[:, i : i + span[0] : dilation, j : j + span[1] : dilation]
                    for j in range(0, wide * strides[1], strides[1])
                ],
                1,
            )
            for i in range(0, high * strides[0], strides[0])
        ],
        1,
    )


def made(x: Any, build: Callable[[Translator], None]) -> Any:
    """What a reader's call computes of x, as a graph and in the core; its shape is as foretold."""
    reader = Translator("net", "file", ["x", "y"])
    reader.input("x", (1, *x.shape[1:]))
    build(reader)
    reader.graph.outputs = ["y"]
    meant = interpret.run(reader.graph, {"x": x})["y"]
    assert reader.shapes["y"] == (0, *meant.shape[1:])
    computed = linnet.load(reader.graph, threads=1)(x)
    np.testing.assert_allclose(computed, meant, rtol=1e-4, atol=1e-4)
    return computed


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("size", "window", "stride", "dilation"),
    [(8, 3, 2, 1), (7, 3, 2, 1), (9, 2, 1, 2), (5, 1, 3, 1)],
)
def test_convolutions_pad_as_tensorflow(
    size: int, window: int, stride: int, dilation: int, padding: str
):
    x, bias = normal(2, size, size + 1, 4), normal(6)
    how: Any = {"strides": [stride] * 2, "dilations": [dilation] * 2, "padding": padding}
    view = windows(x, [window] * 2, [stride] * 2, padding, dilation=dilation)
    for axes in ("HWIO", "OHWI"):
        w = normal(window, window, 4, 6)

        def build(reader: Translator, w: Any = w, axes: str = axes) -> None:
            w = w if axes == "HWIO" else w.transpose(3, 0, 1, 2)
            kernel = Kernel(reader.constant("w", w), w.shape, axes)
            last.conv(reader, "x", "y", kernel, reader.constant("b", bias), **how)

        expected = np.einsum("nhwrsi,rsio->nhwo", view, w) + bias
        np.testing.assert_allclose(made(x, build), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("times", [1, 3])
def test_depthwise_filters_of_a_channel_are_neighbours(times: int):
    x, w = normal(2, 6, 6, 4), normal(3, 3, 4, times)
    view = windows(x, (3, 3), (1, 1), "SAME")
    expected = np.einsum("nhwrsc,rscm->nhwcm", view, w).reshape(2, 6, 6, 4 * times)

    def tensorflow(reader: Translator) -> None:
        kernel = Kernel(reader.constant("w", w), w.shape, "HWCM")
        last.conv(reader, "x", "y", kernel, padding="SAME")

    def lite(reader: Translator) -> None:
        flat = w.reshape(1, 3, 3, 4 * times)
        kernel = Kernel(reader.constant("w", flat), flat.shape, "IHWO")
        last.conv(reader, "x", "y", kernel, padding="SAME")

    for build in (tensorflow, lite):
        np.testing.assert_allclose(made(x, build), expected, rtol=1e-4, atol=1e-4)


def test_rows_are_convolved_and_pooled():
    x, w = normal(2, 9, 4), normal(3, 4, 5)
    view = windows(x[:, None], (1, 3), (1, 2), "SAME")[:, 0]

    def conv(reader: Translator) -> None:
        kernel = Kernel(reader.constant("w", w), w.shape, "WIO")
        last.conv(reader, "x", "y", kernel, strides=[2], padding="SAME")

    expected = np.einsum("nwrsi,sio->nwo", view, w)
    np.testing.assert_allclose(made(x, conv), expected, rtol=1e-4, atol=1e-4)

    def pool(reader: Translator) -> None:
        last.pool(reader, "MaxPool", "x", "y", window=[3], strides=[2])

    expected = windows(x[:, None], (1, 3), (1, 2), "VALID")[:, 0].max((2, 3))
    np.testing.assert_allclose(made(x, pool), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2), (4, 2), (2, 3), (5, 1)])
def test_transposed_convolutions_are_adjoint(window: int, stride: int, padding: str):
    """<conv(y), x> = <y, transposed(x)>, for each size of y that gives x's."""
    x, w = normal(1, 4, 4, 3), normal(window, window, 2, 3)
    default = 4 * stride if padding == "SAME" else 3 * stride + max(window, stride)
    for size in range(1, 20):
        fits = size >= window and borders(size, window, stride, padding)[0] == 4
        if not fits and size != default:
            continue
        y = normal(1, size, size, 2)

        def build(reader: Translator, size: int = size) -> None:
            kernel = Kernel(reader.constant("w", w), w.shape, "HWOI")
            sizes = [size] * 2 if size != default else ()
            how: Any = {"strides": [stride] * 2, "padding": padding, "sizes": sizes}
            last.transposed_conv(reader, "x", "y", kernel, **how)

        view = windows(y, [window] * 2, [stride] * 2, padding)
        forwards = (np.einsum("nhwrsi,rsio->nhwo", view, w) * x).sum()
        assert (made(x, build) * y).sum() == pytest.approx(forwards, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_padding_of_pools_does_not_count(padding: str):
    x = normal(2, 8, 7, 3)
    for op, fill, reduce in (("MaxPool", -np.inf, np.max), ("AveragePool", np.nan, np.nanmean)):

        def build(reader: Translator, op: str = op) -> None:
            how: Any = {"window": [3, 2], "strides": [2, 2], "padding": padding}
            last.pool(reader, op, "x", "y", **how)

        expected = reduce(windows(x, (3, 2), (2, 2), padding, fill=fill), (3, 4))
        np.testing.assert_allclose(made(x, build), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
def test_pictures_are_resized_in_three_ways(mode: str, coordinates: str):
    x, size = normal(1, 4, 5, 2), 9
    expected = x
    for axis in (1, 2):
        n, o = x.shape[axis], np.arange(size)
        scale = (n - 1) / (size - 1) if coordinates == "align_corners" else n / size
        if mode == "nearest":
            at = (o + 0.5) * scale if coordinates == "half_pixel" else o * scale
            at = np.floor(at + 0.5 if coordinates == "align_corners" else at)
            expected = expected.take(np.minimum(at, n - 1).astype(int), axis)
            continue
        at = (o + 0.5) * scale - 0.5 if coordinates == "half_pixel" else o * scale
        low = np.floor(at)
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        near, far = (np.clip(i, 0, n - 1).astype(int) for i in (low, low + 1))
        expected = expected.take(near, axis) * (1 - part) + expected.take(far, axis) * part

    def build(reader: Translator) -> None:
        how: Any = {"sizes": [size] * 2, "mode": mode, "coordinates": coordinates}
        last.resize(reader, "x", "y", **how)

    np.testing.assert_allclose(made(x, build), expected, rtol=1e-4, atol=1e-4)


def test_blocks_keep_their_order():
    x = normal(1, 2, 3, 8)
    pixels = x.reshape(1, 2, 3, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 6, 2)
    deep = made(x, lambda reader: last.blocks(reader, "DepthToSpace", "x", "y", 2))
    np.testing.assert_array_equal(deep, pixels)
    back = made(pixels, lambda reader: last.blocks(reader, "SpaceToDepth", "x", "y", 2))
    np.testing.assert_array_equal(back, x)


def test_neighbours_of_a_channel_are_summed():
    x = normal(1, 2, 2, 7)
    padded = np.pad(x * x, [(0, 0)] * 3 + [(2, 2)])
    total = sum(padded[..., i : i + 7] for i in range(5))
    how: Any = {"radius": 2, "bias": 1.5, "alpha": 0.3, "beta": 0.75}
    found = made(x, lambda reader: last.local_response(reader, "x", "y", **how))
    np.testing.assert_allclose(found, x / (1.5 + 0.3 * total) ** 0.75, rtol=1e-4)


def test_what_does_not_fit_is_refused():
    reader = Translator("net", "file", ["x"])
    reader.input("x", (1, 4, 4, 3))
    w = Kernel("w", (3, 3, 2, 4), "HWIO")
    with pytest.raises(Unsupported, match=r"\[3, 3, 2, 4\] do not fit 3 channels"):
        last.conv(reader, "x", "y", w)
    with pytest.raises(Unsupported, match="window of 3 does not fit 4"):
        last.conv(reader, "x", "y", Kernel("w", (3, 3, 3, 4), "HWIO"), dilations=[2, 2])
    with pytest.raises(Unsupported, match="has 4 axes, expected the batch, 1 and channels"):
        last.pool(reader, "MaxPool", "x", "y", window=[2], strides=[2])
    with pytest.raises(Unsupported, match="padding is 'SANE'"):
        last.pool(reader, "MaxPool", "x", "y", window=[2, 2], strides=[2, 2], padding="SANE")
