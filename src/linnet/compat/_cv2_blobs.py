"""Pictures to blobs, and boxes sorted out, with the numbers that OpenCV 4 comes to."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from .. import _image
from ..preprocess import Place, covering, stretching
from ..text import short

Array = npt.NDArray[Any]
Scalar = Union[float, Sequence[float], Array]

CV_8U, CV_32F = 0, 5

# A program that uses OpenCV for everything else catches its exceptions.
_OPENCV = getattr(sys.modules.get("cv2"), "error", None)
error: type[Exception] = type("error", (*([_OPENCV] if _OPENCV else []), ValueError), {})
error.__module__ = "linnet.compat.cv2dnn"


@contextmanager
def reported() -> Iterator[None]:
    """What linnet refuses is an `error`."""
    try:
        yield
    except error:
        raise
    except (ValueError, RuntimeError, OSError, MemoryError) as reason:
        raise error(str(reason)) from reason


def blobFromImage(  # noqa: PLR0917
    image: npt.ArrayLike,
    scalefactor: float = 1.0,
    size: Sequence[int] | None = (0, 0),
    mean: Scalar | None = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> Array:
    """A picture [h, w] or [h, w, 1, 3 or 4] as [1, channels, height, width]: see blobFromImages."""
    return blobFromImages([image], scalefactor, size, mean, swapRB, crop, ddepth)


def blobFromImages(  # noqa: PLR0917
    images: Sequence[npt.ArrayLike],
    scalefactor: float = 1.0,
    size: Sequence[int] | None = (0, 0),
    mean: Scalar | None = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> Array:
    """Pictures as [n, channels, height, width], (picture - mean) * scalefactor.

    size: (width, height), those of the first picture if both are 0; to which pictures are resized
    as INTER_LINEAR does, or, with `crop`, until they cover it, of which the centre is left. mean:
    for each channel of the result; a single number is the first channel's, and 0 those of the
    others. swapRB: the first and third channel change places. ddepth: CV_32F, or CV_8U for bytes as
    they are. `error` if pictures do not fit together or an argument makes no sense.
    """
    width, height = _size(size)
    if ddepth not in (CV_8U, CV_32F):
        raise error(f"ddepth is {short(ddepth)}, expected CV_32F or CV_8U")
    planes: list[Array] = []
    for index, given in enumerate(images):
        image = _picture(given)
        if not width and not height:
            height, width = image.shape[:2]
        image = _cropped(image, width, height) if crop else _fitted(image, width, height)
        if swapRB and image.shape[2] >= 3:
            image = image[:, :, [2, 1, 0, 3][: image.shape[2]]]
        if planes and planes[0].shape[2] != image.shape[2]:
            raise error(f"picture {index} has {image.shape[2]} channels, unlike the first")
        planes.append(image)
    if not planes:
        raise error("there are no pictures")
    means = scalar("mean", mean, planes[0].shape[2])
    if ddepth == CV_8U:
        if scalefactor != 1 or means.any() or any(image.dtype != np.uint8 for image in planes):
            raise error("bytes (CV_8U) are made of bytes, without scalefactor and mean")
        return np.stack([np.moveaxis(image, 2, 0) for image in planes])
    blob = np.empty((len(planes), planes[0].shape[2], height, width), np.float32)
    for out, image in zip(blob, planes):
        np.subtract(np.moveaxis(image, 2, 0), means[:, None, None], out=out, dtype=np.float32)
    blob *= np.float32(scalefactor)
    return blob


def scalar(what: str, given: Scalar | None, channels: int) -> Array:
    """float32 [channels] of OpenCV's Scalar, whose four numbers are 0 if they are not given."""
    numbers = np.atleast_1d(np.asarray(() if given is None else given, np.float64)).ravel()
    if len(numbers) > 4:
        raise error(f"{what} has {len(numbers)} numbers, expected at most 4")
    if channels > 4 and numbers.any():
        raise error(f"{what} is for at most 4 channels, the blob has {channels}")
    padded = np.zeros(max(channels, 4), np.float32)
    padded[: len(numbers)] = numbers
    return padded[:channels]


def imagesFromBlob(blob_: npt.ArrayLike) -> tuple[Array, ...]:
    """float32 [n, channels, h, w] as n pictures [h, w, channels], [h, w] of a single channel."""
    blob = np.asarray(blob_)
    if blob.ndim != 4 or blob.dtype != np.float32:
        raise error(f"the blob is {blob.dtype} of {blob.ndim} axes, expected float32 of 4")
    pictures = np.ascontiguousarray(np.moveaxis(blob, 1, 3))
    return tuple(pictures[..., 0] if blob.shape[1] == 1 else pictures)


def _size(size: Sequence[int] | None) -> tuple[int, int]:
    if size is None:
        return 0, 0
    numbers = [int(n) for n in size if isinstance(n, (int, np.integer))]
    if len(size) != 2 or len(numbers) != 2 or not (min(numbers) > 0 or numbers == [0, 0]):
        raise error(f"size is {short(size)}, expected (width, height), two positive integers")
    return numbers[0], numbers[1]


def _picture(given: npt.ArrayLike) -> Array:
    """[h, w, channels], bytes or float32."""
    image = np.asarray(given)
    if image.ndim == 2:
        image = image[:, :, None]
    numbers = image.dtype == np.uint8 or image.dtype.kind == "f"
    if image.ndim != 3 or not numbers or 0 in image.shape:
        raise error(
            f"a picture is {short(image)}, expected bytes or floats, [h, w] or [h, w, channels]"
        )
    if image.shape[2] not in (1, 3, 4):
        raise error(f"a picture has {image.shape[2]} channels, expected 1, 3 or 4")
    return image if image.dtype == np.uint8 else image.astype(np.float32)


def _fitted(image: Array, width: int, height: int) -> Array:
    """Resized to a size."""
    return _resized(image, stretching(image.shape, (height, width)))


def _cropped(image: Array, width: int, height: int) -> Array:
    """Resized until it covers a size, of which the centre is left."""
    return _resized(image, covering(image.shape, (height, width)).middle((height, width)))


def _resized(image: Array, place: Place) -> Array:
    if image.shape[:2] == place.size:
        return image
    resized = np.empty((*place.size, image.shape[2]), image.dtype)
    _image.resize(np.ascontiguousarray(image), resized, begin=place.begin, step=place.step)
    return resized


def NMSBoxes(  # noqa: PLR0917
    bboxes: Sequence[Sequence[float]] | Array,
    scores: Sequence[float] | Array,
    score_threshold: float,
    nms_threshold: float,
    eta: float = 1.0,
    top_k: int = 0,
) -> Any:
    """Which boxes are left, best first: int32 [n], or () where there are none.

    bboxes: x, y, width and height of each. A box with a score above `score_threshold` stays if it
    overlaps with none of the better ones that stay by more than `nms_threshold`, as the area that
    both have by that of both together. eta: below 1, what a threshold above 0.5 is multiplied by
    after each box. top_k: if positive, only so many of the best are looked at.
    """
    best = np.asarray(scores, np.float32).ravel()
    boxes = np.asarray(bboxes, np.float64).reshape(-1, 4) if len(best) else np.empty((0, 4))
    if len(boxes) != len(best) or len(bboxes) != len(best):
        raise error(f"there are {len(bboxes)} boxes and {len(best)} scores")
    if score_threshold < 0 or nms_threshold < 0 or eta <= 0:
        raise error("score_threshold and nms_threshold must not be negative, eta is positive")
    order = np.argsort(-best, kind="stable")
    order = order[best[order] > np.float32(score_threshold)]
    if top_k > 0:
        order = order[:top_k]
    threshold = np.float32(nms_threshold)
    kept: list[int] = []
    for index in order:
        if kept and (_overlaps(boxes[index], boxes[kept]) > threshold).any():
            continue
        kept.append(int(index))
        if eta < 1 and threshold > 0.5:
            threshold *= np.float32(eta)
    return np.array(kept, np.int32) if kept else ()


def NMSBoxesBatched(  # noqa: PLR0917
    bboxes: Sequence[Sequence[float]] | Array,
    scores: Sequence[float] | Array,
    class_ids: Sequence[int] | Array,
    score_threshold: float,
    nms_threshold: float,
    eta: float = 1.0,
    top_k: int = 0,
) -> Any:
    """NMSBoxes of boxes of several classes, where those of different ones never overlap."""
    boxes = np.array(bboxes, np.float64).reshape(-1, 4)
    classes = np.asarray(class_ids, np.int64).ravel()
    if len(boxes) != len(classes):
        raise error(f"there are {len(boxes)} boxes and {len(classes)} classes")
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    boxes[:, :2] += classes[:, None] * (corners.max(initial=0) + 1)
    return NMSBoxes(boxes, scores, score_threshold, nms_threshold, eta, top_k)


def _overlaps(box: Array, others: Array) -> Array:
    """The area that a box has in common with each of the others, by that of both together."""
    corner = np.maximum(box[:2], others[:, :2])
    sides = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:]) - corner
    common = np.where((sides > 0).all(1), sides.prod(1), 0)
    areas = box[2:].prod() + others[:, 2:].prod(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = 1 - common / (areas - common)
    distance[areas <= np.finfo(np.float64).eps] = 0  # as OpenCV has it of boxes without area
    overlaps: Array = np.float32(1) - distance.astype(np.float32)
    return overlaps
