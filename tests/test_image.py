"""Image preparation against NumPy's arithmetic and Pillow's resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from linnet import _image

RANDOM = np.random.default_rng(0)
LUMA = np.array([0.299, 0.587, 0.114])


def photo(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def interpolation(size: int, target: int) -> np.ndarray:
    """[target, size] weights of bilinear resizing with half-pixel centres and repeated edges."""
    centre = ((np.arange(target) + 0.5) * size / target - 0.5).clip(0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(size))))


def expected(
    image: np.ndarray, target: tuple[int, int], order: str, mean: list[float], scale: float
) -> np.ndarray:
    planes = image.astype(np.float64).reshape(*image.shape[:2], -1)
    if order == "grey":
        planes = planes @ LUMA[:, None] if planes.shape[2] == 3 else planes
    else:
        planes = planes.repeat(3 // planes.shape[2], axis=2)
        planes = planes[..., ::-1] if order == "BGR" else planes
    resized = np.einsum(
        "yh,xw,hwc->cyx",
        interpolation(image.shape[0], target[0]),
        interpolation(image.shape[1], target[1]),
        planes,
    )
    return np.asarray((resized - np.reshape(mean, (-1, 1, 1))) * scale)


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
    ],
)
def test_prepare(shape: tuple[int, ...], target: tuple[int, int], order: str) -> None:
    image = photo(*shape)
    mean = [121.5] if order == "grey" else [104.0, 117.0, 123.0]
    out = np.full((1 if order == "grey" else 3, *target), np.nan, np.float32)
    _image.prepare(image, out, order=order, mean=mean, scale=0.017)
    np.testing.assert_allclose(out, expected(image, target, order, mean, 0.017), atol=1e-4)


def test_prepare_keeps_pixels_of_the_right_size() -> None:
    image = photo(8, 5, 3)
    out = np.empty((3, 8, 5), np.float32)
    _image.prepare(image, out)
    np.testing.assert_array_equal(out, image.transpose(2, 0, 1))
    _image.prepare(image[:, :, 1], out, mean=[1.0], scale=2.0)
    np.testing.assert_array_equal(out, np.repeat((image[None, :, :, 1] - 1.0) * 2, 3, axis=0))


def test_prepare_enlarges_like_pillow() -> None:
    """Which rounds to whole grey levels after each of two passes."""
    image_module = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    image = photo(17, 29, 3)
    theirs = image_module.fromarray(image).resize((61, 40), image_module.Resampling.BILINEAR)
    out = np.empty((3, 40, 61), np.float32)
    _image.prepare(image, out)
    assert np.abs(out - np.asarray(theirs).transpose(2, 0, 1)).max() <= 1


def test_prepare_any_strides_and_nothing_around() -> None:
    """Views of larger arrays, read-only or reversed, are read and written in place."""
    image = photo(20, 30, 3)
    image.flags.writeable = False
    view = image[::-2, 3:27:3]
    batch = np.full((3, 3, 9, 8), np.nan, np.float32)
    _image.prepare(view, batch[1, :, ::2, 1:7])
    np.testing.assert_allclose(
        batch[1, :, ::2, 1:7], expected(view, (5, 6), "RGB", [0.0], 1.0), atol=1e-4
    )
    batch[1, :, ::2, 1:7] = np.nan
    assert np.isnan(batch).all()


@pytest.mark.parametrize(
    ("image", "out", "options", "message"),
    [
        (photo(4, 4, 3), (3, 4, 4), {"order": "rgb"}, "channel order 'rgb'"),
        (photo(4, 4, 3).astype("f4"), (3, 4, 4), {}, "image is float32"),
        (photo(4), (3, 4, 4), {}, r"image is uint8 of shape \(4,\)"),
        (photo(4, 4, 2), (3, 4, 4), {}, r"image has shape \(4, 4, 2\)"),
        (photo(0, 4, 3), (3, 4, 4), {}, r"image has shape \(0, 4, 3\)"),
        (photo(4, 4, 3), (1, 4, 4), {}, r"\[3, h, w\] for RGB"),
        (photo(4, 4, 3), (3, 4, 4), {"order": "grey"}, r"\[1, h, w\] for grey"),
        (photo(4, 4, 3), (3, 0, 4), {}, r"out is float32 of shape \(3, 0, 4\)"),
        (photo(4, 4, 3), (3, 4), {}, r"out is float32 of shape \(3, 4\)"),
        (photo(4, 4, 3), (3, 4, 4), {"mean": [1.0, 2.0]}, "2 means for 3 planes"),
        (photo(4, 4, 3), (3, 4, 4), {"mean": []}, "0 means for 3 planes"),
    ],
)
def test_prepare_refuses(
    image: np.ndarray, out: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _image.prepare(image, np.zeros(out, np.float32), **options)


def test_prepare_refuses_what_it_cannot_write() -> None:
    with pytest.raises(ValueError, match="out is float64"):
        double: Any = np.zeros((3, 4, 4))
        _image.prepare(photo(4, 4, 3), double)
    constant = np.zeros((3, 4, 4), np.float32)
    constant.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _image.prepare(photo(4, 4, 3), constant)
