"""Parts of images that other values name, cut into bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Shape
from . import _lifting
from ._broadcast import arithmetic
from ._lowering import Call, Lowering, Refusal
from ._moving import joined, slice_of
from ._registry import Operator

MODES = ("max", "own", "samples", "maxsample")
MOST_BINS = 1 << 12


def _between(at: float, size: int) -> list[tuple[int, float]]:
    """Pixels of an axis that a place lies between, and their shares."""
    if not -1 <= at <= size:
        return [(0, 0.0), (0, 0.0)]
    at = min(max(at, 0.0), size - 1.0)
    first = int(at)
    return [(first, 1 - (at - first)), (min(first + 1, size - 1), at - first)]


def _samples(planes: Array, rows: Sequence[float], columns: Sequence[float]) -> Array:
    """Of planes [C, H, W] the four parts of each sample, [C, samples, 4]."""
    parts = [
        np.stack([v * u * planes[:, i, j] for i, v in ys for j, u in xs], -1)
        for ys in (_between(y, planes.shape[1]) for y in rows)
        for xs in (_between(x, planes.shape[2]) for x in columns)
    ]
    return np.stack(parts, 1) if parts else np.zeros((len(planes), 0, 4))


def _bin(planes: Array, edges: Sequence[float], mode: str, samples: int) -> Array:
    """Of planes [C, H, W], [C]; edges are top, bottom, left, right."""
    top, bottom, left, right = edges
    if mode in ("samples", "maxsample"):
        counts = [samples or math.ceil(b - a) for a, b in ((top, bottom), (left, right))]
        rows, columns = (
            [a + (i + 0.5) * (b - a) / n for i in range(n)]
            for n, a, b in zip(counts, (top, left), (bottom, right))
        )
        found = _samples(planes, rows, columns)
        if not found.shape[1]:
            return np.zeros(len(planes))
        return np.asarray(found.max((1, 2)) if mode == "maxsample" else found.sum(2).mean(1))
    size = planes.shape[1:]
    begin = [min(max(math.floor(edge), 0), n) for edge, n in zip((top, left), size)]
    end = [min(max(math.ceil(edge), 0), n) for edge, n in zip((bottom, right), size)]
    part = planes[:, begin[0] : end[0], begin[1] : end[1]]
    if not part.size:
        return np.zeros(len(planes))
    return np.asarray(part.max((1, 2)) if mode == "max" else part.mean((1, 2)))


def _round(x: float) -> float:
    """Halves away from zero, as C rounds."""
    return math.copysign(math.floor(abs(x) + 0.5), x)


def _edges(region: Array, mode: str, scale: float, offset: float) -> tuple[float, ...]:
    """Top, left, height and width in pixels."""
    left, top, right, bottom = (float(n) for n in region)
    if mode == "max":
        left, top, right, bottom = (_round(n * scale) for n in (left, top, right, bottom))
        return top, left, max(bottom - top + 1, 1), max(right - left + 1, 1)
    if mode == "own":
        left, top = _round(left) * scale, _round(top) * scale
        right, bottom = ((_round(n) + 1) * scale for n in (right, bottom))
        return top, left, max(bottom - top, 0.1), max(right - left, 0.1)
    left, top, right, bottom = (n * scale + offset for n in (left, top, right, bottom))
    least = 1.0 if offset == 0 else -math.inf
    return top, left, max(bottom - top, least), max(right - left, least)


def regions(
    x: Array,
    rois: Array,
    *,
    mode: str = "max",
    bins: Sequence[int],
    images: int = 1,
    samples: int = 0,
    scale: float = 1.0,
    offset: float = 0.0,
) -> Array:
    """linnet's own: of x [N, images x channels, H, W] the regions [N, regions, 5] (image, left,
    top, right, bottom), [N, regions, channels, bins].

    mode: "max" and "own", the mean of a channel for each bin, of pixels; "samples" and "maxsample"
    of samples between them, `samples` a side. Zeros where there is no such image.
    """
    high, wide = bins
    planes = x.reshape(len(x), images, -1, *x.shape[2:])
    count = planes.shape[2] // (high * wide if mode == "own" else 1)
    y = np.zeros((len(x), rois.shape[1], count, high * wide), x.dtype)
    for n, r in np.ndindex(*rois.shape[:2]):
        which = int(rois[n, r, 0])
        if not 0 <= which < images:
            continue
        top, left, height, width = _edges(rois[n, r, 1:], mode, scale, offset)
        for k, (i, j) in enumerate(np.ndindex(high, wide)):
            down, across = height / high, width / wide
            edges = [i * down, (i + 1) * down, j * across, (j + 1) * across]
            if mode == "max":
                edges = [math.floor(e) if n % 2 == 0 else math.ceil(e) for n, e in enumerate(edges)]
            edges = [e + first for e, first in zip(edges, (top, top, left, left))]
            of = planes[n, which, k :: high * wide] if mode == "own" else planes[n, which]
            y[n, r, :, k] = _bin(of, edges, mode, samples)
    return y


def _shaped(x: Array, rois: Array, bins: Sequence[int], **how: Any) -> Array:
    """Of all images of x at once, [regions, channels, rows, columns]."""
    flat = x.reshape(1, -1, *x.shape[2:])
    y = regions(flat, rois[None], bins=bins, images=len(x), **how)[0]
    return np.asarray(y.reshape(*y.shape[:2], *bins))


def max_roi_pool(
    x: Array, rois: Array, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> Array:
    """[regions, C, *pooled_shape] of x [N, C, H, W]; rois [regions, 5], as Fast R-CNN has them."""
    return _shaped(x, rois, pooled_shape, mode="max", scale=spatial_scale)


def ps_roi_pool(x: Array, rois: Array, *, group_size: int, spatial_scale: float = 1.0) -> Array:
    """R-FCN's, as its Caffe has it: a channel of x for each bin of each of its own."""
    return _shaped(x, rois, (group_size,) * 2, mode="own", scale=spatial_scale)


def roi_align(
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """[regions, C, output_height, output_width] of x [N, C, H, W]; rois [regions, 4]: left, top,
    right, bottom.
    """
    every = np.concatenate([batch_indices[:, None], rois], 1)
    how = _align(coordinate_transformation_mode, mode, sampling_ratio)
    return _shaped(x, every, (output_height, output_width), scale=spatial_scale, **how)


def _align(coordinates: str, mode: str, samples: int) -> dict[str, Any]:
    if coordinates not in ("half_pixel", "output_half_pixel") or mode not in ("avg", "max"):
        raise Refusal(f"mode '{mode}' with '{coordinates}' is not supported")
    if not 0 <= samples <= 1024:
        raise Refusal(f"sampling_ratio is {samples}")
    offset = -0.5 if coordinates == "half_pixel" else 0.0
    return {
        "mode": "samples" if mode == "avg" else "maxsample",
        "samples": samples,
        "offset": offset,
    }


def _line(size: int, bins: int) -> Array:
    """How places [bins] along an axis of `size` pixels are made of a box's two ends, [2, bins]."""
    at = np.linspace(0, 1, bins) if bins > 1 else np.array([0.5])
    return np.stack([1 - at, at]) * (size - 1)


def crop_and_resize(
    x: Array, boxes: Array, images: Array, *, size: Sequence[int], extrapolation: float = 0.0
) -> Array:
    """TensorFlow's, bilinear, with channels first: of x [N, C, H, W] the parts [boxes, C, *size];
    boxes [boxes, 4]: y and x of two corners as parts of height and width less one. `extrapolation`
    beyond the image.
    """
    y = np.full((len(boxes), x.shape[1], *size), extrapolation, x.dtype)
    for n, (box, image) in enumerate(zip(boxes, images.astype(np.intp, casting="same_kind"))):
        rows, columns = (
            box[i::2] @ _line(extent, bins)
            for i, (extent, bins) in enumerate(zip(x.shape[2:], size))
        )
        for i, j in np.ndindex(*size):
            if 0 <= rows[i] <= x.shape[2] - 1 and 0 <= columns[j] <= x.shape[3] - 1:
                y[n, :, i, j] = _samples(x[image], rows[i : i + 1], columns[j : j + 1]).sum(2)[:, 0]
    return y


def lower_crop_and_resize(low: Lowering, call: Call) -> None:
    """Of a fixed number of images, 0 beyond them: regions whose bins have these places as their
    middles, times whether those are within the image.
    """
    size = call.ints("size", 2)
    if call.attrs["extrapolation"] != 0:
        raise Refusal("a value other than 0 beyond the image is not supported")
    if not call.lifted or min(size) < 1:
        raise Refusal(f"of size {size} and this number of images is not supported")
    shape, boxes = (low.shape(call.input(i)) for i in (0, 1))
    images, given = boxes[:2], low.constants.get(call.input(2))
    of = low.shape(call.input(2)) if given is None else (1, *given.shape)
    if len(shape) != 5 or len(boxes) != 3 or boxes[2] != 4 or of != images:
        raise Refusal("its inputs are not images, boxes and an image for each")
    ends = np.zeros((4, 4), np.float32)  # columns left, top, right, bottom; halves are added again
    inside = []
    for axis, (extent, bins) in enumerate(zip(shape[3:], size)):
        places = _line(extent, bins)
        gap = (places[:, -1] - places[:, 0]) / (bins - 1) if bins > 1 else np.zeros(2)
        ends[axis::2, 1 - axis] = places[:, 0] - gap / 2
        ends[axis::2, 3 - axis] = places[:, -1] + gap / 2
        inside.append(_within(low, call, axis, places, extent))
    corners = _product(low, call, call.input(1), ends, "corners")
    # A region of one bin has no size by itself; others have theirs.
    half = np.array([[0.5 + end * (bins == 1) / 2 for end in (-1, 1) for bins in size[::-1]]])
    shift = low.add_constant(f"{call.output}.shift", half.astype(np.float32))
    corners = low.emit(call, "Add", [corners, shift], step="shifted")
    rois = joined(low, call, [_images(low, call), corners], 2, "regions")
    how = {"mode": "samples", "samples": 1, "offset": -0.5}
    y, made = _bins(low, call, rois, size, how)
    rows = low.reshape(call, inside[0], (*images, size[0], 1), "rows")
    columns = low.reshape(call, inside[1], (*images, 1, size[1]), "columns")
    mask = arithmetic(low, call, "Mul", (rows, columns), "mask")
    mask = low.reshape(call, mask, (*images, 1, math.prod(size)), "flat")
    y = low.reshape(call, y, (*made[:3], math.prod(size)), "pixels")
    low.reshape(call, arithmetic(low, call, "Mul", (y, mask), "masked"), made)


def _images(low: Lowering, call: Call) -> str:
    """The number of each box's image, [1, boxes, 1]; a constant is added to zeros."""
    index, shape = call.input(2), (*low.shape(call.input(1))[:2], 1)
    if index not in low.constants:
        index = low.emit(call, "Cast", [index], {"to": ELEMENT_TYPES["float32"]}, "images")
        return low.reshape(call, index, shape, "column")
    numbers = low.constants[index].astype(np.float32)[:, None]
    zero = low.add_constant(f"{call.output}.zero", np.array(0, np.float32))
    first = slice_of(low, call, call.input(1), [(2, 0, 1, 1)], "first")
    none = low.emit(call, "Clip", [first, zero, zero], step="none")
    name = low.add_constant(f"{call.output}.numbers", numbers)
    return low.emit(call, "Add", [none, name], step="images")


def _product(low: Lowering, call: Call, x: str, matrix: Array, step: str) -> str:
    """Of rows [1, rows, n]."""
    shape = low.shape(x)
    flat = low.reshape(call, x, (shape[0], 1, shape[1], shape[2]), f"{step}.rows")
    kernel = np.ascontiguousarray(matrix.T[:, None, None, :], np.float32)
    name = low.add_constant(f"{call.output}.{step}.matrix", kernel)
    attrs = {
        "kernel_shape": [1, shape[2]],
        "strides": [1, 1],
        "pads": [0] * 4,
        "dilations": [1, 1],
        "group": 1,
    }
    y = low.emit(call, "Conv", [flat, name], attrs, step)
    turned = low.emit(call, "Transpose", [y], {"perm": [0, 2, 1, 3]}, f"{step}.turned")
    return low.reshape(call, turned, (shape[0], shape[1], matrix.shape[1]), f"{step}.made")


def _within(low: Lowering, call: Call, axis: int, places: Array, extent: int) -> str:
    """1 where a bin's middle is within the image, else 0: [1, boxes, bins]."""
    step = "yx"[axis]
    both = np.zeros((4, places.shape[1]))
    both[axis::2] = places
    at = _product(low, call, call.input(1), both, step)
    limits = [
        low.add_constant(f"{call.output}.{step}.limit", np.array(n, np.float32))
        for n in (0, extent - 1)
    ]
    near = low.emit(call, "Clip", [at, *limits], step=f"{step}.near")
    off = low.emit(call, "Sub", [at, near], step=f"{step}.off")
    for op in ("Abs", "Sign", "Neg"):
        off = low.emit(call, op, [off], step=f"{step}.{op.lower()}")
    one = low.add_constant(f"{call.output}.{step}.one", np.array(1, np.float32))
    return low.emit(call, "Add", [off, one], step=f"{step}.within")


def _lower(low: Lowering, call: Call, rois: str, bins: Sequence[int], how: dict[str, Any]) -> None:
    low.reshape(call, *_bins(low, call, rois, bins, {"scale": call.attrs["spatial_scale"], **how}))


def _bins(
    low: Lowering, call: Call, rois: str, bins: Sequence[int], how: dict[str, Any]
) -> tuple[str, Shape]:
    """The bins of regions, and the shape of the result."""
    if not all(n > 0 for n in bins) or math.prod(bins) > MOST_BINS:
        raise Refusal(f"{list(bins)} bins are not supported")
    if not call.lifted:
        raise Refusal("its regions are no images: the file has to say how many images there are")
    shape, of = low.shape(call.input(0)), low.shape(rois)
    if len(shape) != 5 or len(of) != 3 or of[2] != 5:
        raise Refusal("its inputs are not images and regions")
    images, channels = shape[1:3]
    own = math.prod(bins) if how["mode"] == "own" else 1
    if channels % own:
        raise Refusal(f"{own} bins do not divide {channels} channels")
    x = low.reshape(call, call.input(0), (1, images * channels, *shape[3:]), "planes")
    attrs = {"bins": list(bins), "images": images, **how}
    y = low.emit(call, "Regions", [x, rois], attrs, "bins")
    return y, (1, of[1], channels // own, *bins)


def lower_max_roi_pool(low: Lowering, call: Call) -> None:
    """Of a fixed number of images."""
    bins = call.ints("pooled_shape", 2)
    _lower(low, call, call.input(1), bins, {"mode": "max"})


def lower_ps_roi_pool(low: Lowering, call: Call) -> None:
    """Of a fixed number of images."""
    bins = [call.attrs["group_size"]] * 2
    _lower(low, call, call.input(1), bins, {"mode": "own"})


def lower_roi_align(low: Lowering, call: Call) -> None:
    """Of a fixed number of images."""
    attrs, rois = call.attrs, call.input(1)
    how = _align(attrs["coordinate_transformation_mode"], attrs["mode"], attrs["sampling_ratio"])
    if call.lifted:
        index = call.input(2)
        if len(low.shape(index)) != 2:
            raise Refusal("its indices of images are not a vector")
        index = low.emit(call, "Cast", [index], {"to": ELEMENT_TYPES["float32"]}, "images")
        index = low.reshape(call, index, (*low.shape(index), 1), "column")
        rois = joined(low, call, [index, rois], 2, "regions")
    bins = (attrs["output_height"], attrs["output_width"])
    _lower(low, call, rois, bins, how)


OPERATORS = (
    Operator("Regions", regions, None),
    Operator("MaxRoiPool", max_roi_pool, lower_max_roi_pool, lift=_lifting.unchanged),
    Operator("PSRoiPool", ps_roi_pool, lower_ps_roi_pool, lift=_lifting.unchanged),
    Operator("CropAndResize", crop_and_resize, lower_crop_and_resize, lift=_lifting.unchanged),
    Operator("RoiAlign", roi_align, lower_roi_align, lift=_lifting.unchanged),
)
