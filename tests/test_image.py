"""Pixels to tensors, against NumPy's arithmetic. Of other sizes test_preprocess has more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from linnet import _image

RANDOM = np.random.default_rng(0)
LUMA = np.array([0.299, 0.587, 0.114])


def photo(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def linear(size: int, target: int) -> np.ndarray:
    """[target, size] weights of bilinear resizing with half-pixel centres and repeated edges."""
    centre = ((np.arange(target) + 0.5) * size / target - 0.5).clip(0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(size))))


def antialiased(size: int, target: int) -> np.ndarray:
    """The same of triangles as wide as two samples of the coarser grid."""
    reach = max(size / target, 1)
    centre = (np.arange(target) + 0.5) * size / target - 0.5
    weights = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(size)) / reach)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def expected(
    image: np.ndarray, target: tuple[int, int], order: str, antialias: bool = False
) -> np.ndarray:
    planes = image.astype(np.float64).reshape(*image.shape[:2], -1)
    if order == "grey":
        planes = planes @ LUMA[:, None] if planes.shape[2] == 3 else planes
    else:
        planes = planes.repeat(3 // planes.shape[2], axis=2)
        planes = planes[..., ::-1] if order == "BGR" else planes
    weights = antialiased if antialias else linear
    rows, columns = (weights(image.shape[axis], target[axis]) for axis in (0, 1))
    return np.asarray(np.einsum("yh,xw,hwc->cyx", rows, columns, planes))


def prepare(
    image: np.ndarray,
    out: np.ndarray,
    order: str = "RGB",
    mean: Any = 0,
    scale: Any = 1,
    **how: Any,
) -> None:
    planes = 1 if order == "grey" else 3
    means = np.broadcast_to(np.reshape(np.float32(mean), (-1, 1, 1)), out.shape)
    scales = np.broadcast_to(np.float64(scale), planes).tolist()
    _image.prepare(image, out, order=order, mean=means, scale=scales, **how)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("order", ["RGB", "BGR", "grey"])
@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((12, 9, 3), (12, 9)),
        ((12, 9), (25, 31)),
        ((12, 9, 1), (5, 4)),
        ((37, 23, 3), (80, 11)),
        ((1, 1, 3), (7, 5)),
        ((40, 3, 3), (1, 1)),
        ((2, 1), (3, 4)),
        ((3, 500), (2, 7)),
    ],
)
def test_prepare(
    shape: tuple[int, ...], target: tuple[int, int], order: str, antialias: bool
) -> None:
    """Rounded to grey levels, which are then exact to float32."""
    image = photo(*shape)
    mean = [121.5] if order == "grey" else [104.0, 117.0, 123.0]
    scale = [0.017] if order == "grey" else [0.5, 1.0, 2.0]
    out = np.full((1 if order == "grey" else 3, *target), np.nan, np.float32)
    prepare(image, out, order, mean, scale, antialias=antialias)
    level = out / np.reshape(scale, (-1, 1, 1)) + np.reshape(mean, (-1, 1, 1))
    assert np.abs(level - expected(image, target, order, antialias)).max() < 1
    if order != "grey":
        np.testing.assert_allclose(level, np.rint(level), atol=1e-4)


@pytest.mark.parametrize("antialias", [False, True])
def test_prepare_keeps_pixels_of_the_right_size(antialias: bool) -> None:
    image = photo(8, 5, 3)
    out = np.empty((3, 8, 5), np.float32)
    prepare(image, out, antialias=antialias)
    np.testing.assert_array_equal(out, image.transpose(2, 0, 1))
    prepare(image[:, :, 1], out, mean=1, scale=2, antialias=antialias)
    np.testing.assert_array_equal(out, np.repeat((image[None, :, :, 1] - 1.0) * 2, 3, axis=0))
    _image.prepare(image, out, order="RGB", mean=out.copy(), scale=[1, 1, 1])
    np.testing.assert_array_equal(
        out, image.transpose(2, 0, 1) - (np.float32(image[None, :, :, 1]) - 1) * 2
    )


@pytest.mark.parametrize("antialias", [False, True])
def test_a_part_is_a_part_of_the_whole(antialias: bool) -> None:
    image = photo(31, 47, 3)
    whole, part = np.empty((3, 20, 70), np.float32), np.empty((3, 7, 30), np.float32)
    step = (31 / 20, 47 / 70)
    prepare(image, whole, antialias=antialias)
    prepare(image, part, begin=(5, 40), step=step, antialias=antialias)
    np.testing.assert_array_equal(part, whole[:, 5:12, 40:])


def test_prepare_any_strides_and_nothing_around() -> None:
    """Views of larger arrays, read-only or reversed, are read and written in place."""
    image = photo(20, 30, 3)
    image.flags.writeable = False
    view = image[::-2, 3:27:3]
    batch = np.full((3, 3, 9, 8), np.nan, np.float32)
    prepare(view, batch[1, :, ::2, 1:7])
    assert np.abs(batch[1, :, ::2, 1:7] - expected(view, (5, 6), "RGB")).max() < 1
    batch[1, :, ::2, 1:7] = np.nan
    assert np.isnan(batch).all()
    last = np.empty((10, 8, 3), np.float32)
    prepare(view, last.transpose(2, 0, 1))
    np.testing.assert_array_equal(last, view)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [False, True])
def test_resize(channels: int, antialias: bool) -> None:
    image, out = photo(19, 11, channels), np.empty((23, 4, channels), np.uint8)
    _image.resize(image, out, step=(19 / 23, 11 / 4), antialias=antialias)
    weights = antialiased if antialias else linear
    exact = np.einsum("yh,xw,hwc->yxc", weights(19, 23), weights(11, 4), image)
    assert np.abs(out - exact).max() < 1
    if not antialias:
        real = np.empty(out.shape, np.float32)
        _image.resize(image.astype(np.float32), real, step=(19 / 23, 11 / 4))
        np.testing.assert_allclose(real, exact, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "out", "options", "message"),
    [
        (photo(4, 4, 3), (3, 4, 4), {"order": "rgb"}, "color is 'rgb'"),
        (photo(4, 4, 3).astype("f4"), (3, 4, 4), {}, "image is float32"),
        (photo(4), (3, 4, 4), {}, r"image is uint8 of shape \(4,\)"),
        (photo(4, 4, 2), (3, 4, 4), {}, r"image has shape \(4, 4, 2\)"),
        (photo(0, 4, 3), (3, 4, 4), {}, r"image has shape \(0, 4, 3\)"),
        (photo(4, 4, 3), (1, 4, 4), {}, r"\[3, h, w\] for RGB"),
        (photo(4, 4, 3), (3, 4, 4), {"order": "grey"}, r"\[1, h, w\] for grey"),
        (photo(4, 4, 3), (3, 0, 4), {}, r"out is float32 of shape \(3, 0, 4\)"),
        (photo(4, 4, 3), (3, 4), {}, r"out is float32 of shape \(3, 4\)"),
        (photo(4, 4, 3), (3, 4, 4), {"mean": np.zeros((3, 4, 3), "f4")}, "mean is"),
        (photo(4, 4, 3), (3, 4, 4), {"scale": [1.0]}, "1 scales"),
        (photo(4, 4, 3), (3, 4, 4), {"begin": (-1, 0)}, r"begin is \(-1, 0\)"),
        (photo(4, 4, 3), (3, 4, 4), {"begin": (0, 1 << 62)}, "begin is"),
        (photo(4, 4, 3), (3, 4, 4), {"step": (0.0, 1)}, r"step is \(0.0, 1\)"),
        (photo(4, 4, 3), (3, 4, 4), {"step": (np.nan, 1)}, r"step is \(nan, 1\)"),
        (photo(4, 4, 3), (3, 4, 4), {"step": (1e9, 1)}, "step is"),
    ],
)
def test_prepare_refuses(
    image: np.ndarray, out: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    how = {"order": "RGB", "mean": np.zeros(out, np.float32), "scale": [1.0] * 3, **options}
    with pytest.raises(ValueError, match=message):
        _image.prepare(image, np.zeros(out, np.float32), **how)


def test_prepare_refuses_what_it_cannot_write() -> None:
    with pytest.raises(ValueError, match="out is float64"):
        double: Any = np.zeros((3, 4, 4))
        prepare(photo(4, 4, 3), double)
    constant = np.zeros((3, 4, 4), np.float32)
    constant.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        prepare(photo(4, 4, 3), constant)


@pytest.mark.parametrize(
    ("image", "out", "options", "message"),
    [
        (photo(4, 4, 3), photo(2, 2, 1), {}, "expected"),
        (photo(4, 4), photo(2, 2), {}, "expected"),
        (photo(4, 4, 3), np.zeros((2, 2, 3), "f4"), {}, "mismatch|float"),
        (np.zeros((4, 4, 3), "f4"), np.zeros((2, 2, 3), "f4"), {"antialias": True}, "only bytes"),
        (np.zeros((4, 4, 3)), np.zeros((2, 2, 3)), {}, "mismatch|float64"),
        (photo(4, 4, 3), photo(2, 2, 3), {"step": (3, 2)}, r"step is \(3, 2\)"),
    ],
)
def test_resize_refuses(
    image: np.ndarray, out: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _image.resize(image, out, **{"step": (2, 2), **options})
