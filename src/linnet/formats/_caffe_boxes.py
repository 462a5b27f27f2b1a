"""What layers of SSD and YOLO in Caffe's forks mean: boxes there may be, and those that stay.
RULES is the table of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array, Shape
from ._caffe_forks import image_shape
from ._caffe_weights import Prior, Rule, Weighted
from ._translator import Unsupported

_BOX_CODES = {1: "CORNER", 2: "CENTER_SIZE", 3: "CORNER_SIZE"}  # of BoxCode


class _Box(NamedTuple):
    """A box of a pixel, and how far off that its middle lies, in pixels of the image."""

    high: float
    wide: float
    y: float = 0
    x: float = 0


def _prior_box(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """[1, 2, 4 x boxes]: corners of boxes around every pixel of the first bottom, as parts of the
    second's height and width, then variances. They depend on the shapes alone.
    """
    shape, image = (image_shape(reader, x) for x in inputs)
    prior = Prior(layer.prior_box_param, shape, image)
    reader.priors[outputs[0]] = prior
    reader.fixed(outputs[0], _boxes(prior, _around(reader, prior)))


def _around(reader: Weighted, prior: Prior) -> list[_Box]:
    """The boxes of a pixel, as SSD has them."""
    param = prior.param
    smallest, largest = list(param.min_size), list(param.max_size)
    if not smallest or len(largest) not in (0, len(smallest)):
        raise Unsupported(f"has {len(smallest)} values of min_size and {len(largest)} of max_size")
    if min(smallest) <= 0 or any(b <= a for a, b in zip(smallest, largest)):
        raise Unsupported("min_size has to be positive and smaller than max_size")
    reader.spend(len(param.aspect_ratio) ** 2)
    ratios = [1.0]
    for ratio in param.aspect_ratio:
        if not 0 < ratio < math.inf:
            raise Unsupported(f"aspect_ratio {ratio:g} is not positive and finite")
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if param.flip else [ratio]
    _spend(reader, prior, len(smallest) * len(ratios) + len(largest))
    boxes = []
    for index, side in enumerate(smallest):
        boxes.append(_Box(side, side))
        if largest:
            boxes.append(_Box(*(math.sqrt(side * largest[index]),) * 2))
        boxes += [_Box(side / math.sqrt(ratio), side * math.sqrt(ratio)) for ratio in ratios[1:]]
    return boxes


def _densely_around(param: Any) -> list[_Box]:
    """The same as FaceBoxes has them (Zhang et al., 2017; their prior_box_layer.cpp): of three
    sizes 32 is there in 4x4 places and 64 in 2x2, a quarter of it apart, and all boxes are a pixel
    smaller. Empty if that fork would not know what to do.
    """
    times = [{32: 4, 64: 2}.get(side, 1) for side in param.min_size]
    count = sum(n * n for n in times)
    whole = all(float(side).is_integer() for side in param.min_size)
    plain = not param.max_size and all(ratio == 1 for ratio in param.aspect_ratio)
    if not whole or not plain or count != (21 if len(times) == 3 else len(times)):
        return []
    return [
        _Box(side - 1, side - 1, y * side / 4, x * side / 4)
        for side, n in zip(param.min_size, times)
        for y in range(-(n // 2), (n + 1) // 2)
        for x in range(-(n // 2), (n + 1) // 2)
    ]


def _spend(reader: Weighted, prior: Prior, boxes: int) -> None:
    reader.spend(8 * boxes * math.prod(prior.shape[2:]))


def _boxes(prior: Prior, boxes: Sequence[_Box]) -> Array:
    param, image = prior.param, prior.image
    high, wide = prior.shape[2:]
    variances = list(param.variance) or [0.1]
    if len(variances) not in (1, 4) or min(variances) <= 0:
        raise Unsupported(f"has {len(variances)} values of variance, expected 1 or 4, positive")
    height, width = _given(param, "img_size", "img_h", "img_w") or image[2:]
    step_h, step_w = _given(param, "step", "step_h", "step_w") or (height / high, width / wide)
    sizes_h, sizes_w, off_y, off_x = np.array(boxes).T
    centre_y = ((np.arange(high) + param.offset) * step_h)[:, None, None] + off_y
    centre_x = ((np.arange(wide) + param.offset) * step_w)[None, :, None] + off_x
    half_h, half_w = sizes_h / 2, sizes_w / 2
    corners = np.empty((high, wide, len(boxes), 4))
    corners[..., 0] = (centre_x - half_w) / width
    corners[..., 1] = (centre_y - half_h) / height
    corners[..., 2] = (centre_x + half_w) / width
    corners[..., 3] = (centre_y + half_h) / height
    if param.clip:
        corners = corners.clip(0, 1)
    spread = np.broadcast_to(np.array(variances), corners.shape)
    return np.stack([corners.ravel(), spread.ravel()])[None].astype(np.float32)


def _densify(reader: Weighted, codes: int, shape: Shape) -> None:
    """Where there are `codes` numbers for boxes and as many as FaceBoxes would have made of the
    network's PriorBox layers, let them be those. No prototxt says that it is for that fork.
    """
    if shape[-1:] == (codes,):
        return
    dense = {name: _densely_around(prior.param) for name, prior in reader.priors.items()}
    counts = [len(dense[name]) * math.prod(reader.priors[name].shape[2:]) for name in dense]
    if min(counts, default=0) and 4 * sum(counts) == codes:
        for name, prior in reader.priors.items():
            _spend(reader, prior, len(dense[name]))
            reader.fixed(name, _boxes(prior, dense[name]))


def _detection_output(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The boxes that stay of an SSD's, [1, 1, boxes, 7]."""
    param = layer.detection_output_param
    nms = param.nms_param
    attrs = {
        "num_classes": param.num_classes,
        "share_location": int(param.share_location),
        "background_label_id": param.background_label_id,
        "nms_threshold": nms.nms_threshold,
        "top_k": nms.top_k if nms.HasField("top_k") else -1,
        "eta": nms.eta,
        "code_type": _BOX_CODES[param.code_type],
        "variance_encoded_in_target": int(param.variance_encoded_in_target),
        "keep_top_k": param.keep_top_k,
        "clip": int(param.clip),
    }
    if param.HasField("confidence_threshold"):
        attrs["confidence_threshold"] = param.confidence_threshold
    if len(reader.shape(inputs[0])) < 2 or len(reader.shape(inputs[1])) < 2:
        raise Unsupported("its bottoms have no boxes")
    if param.share_location:
        _densify(reader, math.prod(reader.shape(inputs[0])[1:]), reader.shape(inputs[2]))
    reader.add(layer.name, "DetectionOutput", inputs[:3], outputs, **attrs)
    reader.shapes[outputs[0]] = (1, 1, 1, 7)


def _yolov3(reader: Weighted, layer: Any, inputs: list[str], outputs: list[str]) -> None:
    """The boxes that stay of YOLO v3's feature maps, one of all classes where they overlap, as
    MobileNet-YOLO's layer has them: [1, 1, boxes, 7], classes counted from 1.
    """
    param = layer.yolov3_detection_output_param
    classes, groups = param.num_classes, param.mask_group_num
    count = len(param.mask) // groups if groups else 0
    if groups != len(inputs) or count != param.num_box or len(param.anchors_scale) != groups:
        raise Unsupported(
            f"{len(inputs)} bottoms, {groups} groups of {len(param.mask)} masks, {param.num_box} "
            f"boxes and {len(param.anchors_scale)} values of anchors_scale do not fit"
        )
    biases = np.array(param.biases, np.float64)
    if not classes or biases.size % 2 or max(param.mask, default=0) >= biases.size // 2:
        raise Unsupported(f"{biases.size} values of biases do not fit the masks")
    size, maps, priors = 5 + classes, [], []
    for index, (of, scale) in enumerate(zip(inputs, param.anchors_scale)):
        batch, c, high, wide = image_shape(reader, of)
        if c != count * size or high != wide:
            raise Unsupported(f"{c} channels of {high}x{wide} do not fit {count} boxes of {size}")
        reader.spend(8 * count * high * wide)
        parts: Shape = (batch, count, size, high * wide)
        x = reader.part(layer, "Reshape", [of, reader.integers(layer, "boxes", parts)], parts)
        parts = (batch, count, high * wide, size)
        x = reader.part(layer, "Transpose", [x], parts, perm=[0, 1, 3, 2])
        parts = (batch, count * high * wide, size)
        x = reader.part(layer, "Reshape", [x, reader.integers(layer, "rows", parts)], parts)
        maps.append(x)
        mask = param.mask[index * count : (index + 1) * count]
        priors.append(_cells(biases.reshape(-1, 2)[mask] / (wide * scale), wide))
    table = np.concatenate(priors)
    rows = (batch, len(table), size)
    x = reader.part(layer, "Concat", maps, rows, axis=1) if len(maps) > 1 else maps[0]

    def columns(begin: int, end: int, *operators: str) -> str:
        known = (batch, len(table), end - begin)
        cut = (("begins", [begin]), ("ends", [end]), ("axes", [2]))
        y = reader.part(layer, "Slice", [x, *(reader.integers(layer, *a) for a in cut)], known)
        for op in operators:
            y = reader.part(layer, op, [y], known)
        return y

    boxes = [columns(0, 2, "Sigmoid"), columns(2, 4)]
    boxes = [reader.part(layer, "Concat", boxes, (batch, len(table), 4), axis=2)]
    shape = (batch, len(table), 1, 4)
    codes = reader.part(layer, "Reshape", [*boxes, reader.integers(layer, "codes", shape)], shape)
    scores = [columns(5, size, "Sigmoid"), columns(4, 5, "Sigmoid")]
    score = reader.part(layer, "Mul", scores, (batch, len(table), classes))
    none = [reader.integers(layer, "background", [0, 0, 1, 0, 0, 0])]
    scores = [reader.part(layer, "Pad", [score, *none], (batch, len(table), classes + 1))]
    # Those that overlap by exactly that go, too.
    limit = float(np.nextafter(np.float32(param.nms_threshold), np.float32(-1)))
    reader.add(
        layer.name,
        "Detections",
        [codes, *scores, reader.constant(f"{layer.name}.cells", table.astype(np.float32))],
        outputs,
        rows=len(table),
        classes=classes + 1,
        background=0,
        centers=1,
        together=1,
        score=param.confidence_threshold,
        overlap=max(limit, 0.0),
    )


def _cells(sizes: Array, side: int) -> Array:
    """Priors [boxes x cells, 8], of boxes of these sizes [boxes, 2] in each cell, as parts of the
    image.
    """
    rows, columns = np.divmod(np.arange(side * side), side)
    table = np.ones((len(sizes), side * side, 8))
    table[:, :, 0], table[:, :, 1] = columns / side, rows / side
    table[:, :, 2:4] = sizes[:, None]
    table[:, :, 4:6] = 1 / side
    return table.reshape(-1, 8)


def _given(param: Any, both: str, high: str, wide: str) -> tuple[float, float] | None:
    """Height and width, given as one number or two; None if they are not."""
    two = [getattr(param, name) for name in (high, wide) if param.HasField(name)]
    if two and param.HasField(both):
        raise Unsupported(f"has both {both} and {high} or {wide}")
    values = [getattr(param, both)] * 2 if param.HasField(both) else two
    if not values or values == [0, 0]:
        return None
    if len(values) != 2 or min(values) <= 0:
        raise Unsupported(f"{high} and {wide} have to be given together, and positive")
    return values[0], values[1]


RULES: dict[str, Rule] = {
    "DetectionOutput": Rule(_detection_output, (3, 4)),
    "PriorBox": Rule(_prior_box, (2, 2)),
    "Yolov3DetectionOutput": Rule(_yolov3, (1, 8)),
}
