"""The ends of ncnn's detectors: boxes around every pixel, and those that stay, by ncnn's sources.

What stays is [boxes, 6] of class, score and corners as in ncnn, but of a fixed length: after those
that there are come rows of -1.
"""

from __future__ import annotations

import math

import numpy as np

from ._boxes import around, cells
from ._ncnn_call import Call, Rule
from ._translator import Unsupported

_MOST_NUMBERS = 1 << 24
_OWN = -233  # as a setting: as the second input, or each pixel, says


def _prior_box(call: Call) -> str:
    """Corners, and variances in a second row but for what came from MXNet. They depend on the sizes
    of the inputs alone.
    """
    get, image = call.settings.integer, call.image()
    smallest, largest, ratios = (call.settings.reals(key) for key in (0, 1, 2))
    variances = [call.settings.real(3 + i, (0.1, 0.1, 0.2, 0.2)[i]) for i in range(4)]
    flip, clip, size = get(7, 1), get(8), [get(10), get(9)]
    steps = [call.settings.real(12, _OWN), call.settings.real(11, _OWN)]
    offset = call.settings.real(13)
    high, wide = call.known(call.x)[2:]
    from_mxnet = len(call.inputs) == 1 and size == [_OWN, _OWN] and not largest
    if not image[1] or not smallest or min([*smallest, *ratios]) <= 0:
        raise Unsupported(f"min_size {smallest}, aspect_ratio {ratios}")
    if len(largest) not in (0, len(smallest)) or min([*largest, 1]) <= 0:
        raise Unsupported(f"max_size {largest} of min_size {smallest}")
    if high * wide * len(smallest) * (2 * len(ratios) + 2) > _MOST_NUMBERS // 8:
        raise Unsupported(f"too many boxes for each of {high}x{wide} pixels")
    whole = (1.0, 1.0)
    if from_mxnet:
        pairs = [(side, 1.0) for side in smallest] + [(smallest[0], r) for r in ratios[1:]]
        sides = [(s / math.sqrt(r), s * high / wide * math.sqrt(r)) for s, r in pairs]
    else:
        if _OWN in size:
            size = [
                n if own == _OWN else own for n, own in zip(call.known(call.input(1))[2:], size)
            ]
        whole = (float(size[0]), float(size[1]))
        sides = []
        for index, side in enumerate(smallest):
            sides.append((side, side))
            if largest:
                sides.append((math.sqrt(side * largest[index]),) * 2)
            for ratio in ratios:
                sides.append((side / math.sqrt(ratio), side * math.sqrt(ratio)))
                if flip:
                    sides.append(sides[-1][::-1])
    if min(whole) <= 0:
        raise Unsupported(f"an image of {size}")
    step = [n / m if s == _OWN else s for s, n, m in zip(steps, whole, (high, wide))]
    boxes = around(
        (high, wide),
        np.array(sides),
        steps=(step[0], step[1]),
        offsets=(offset, offset),
        image=whole,
    )
    boxes = boxes.clip(0, 1) if clip else boxes
    if from_mxnet:
        return call.constant("boxes", boxes.reshape(1, -1))
    spread = np.broadcast_to(np.array(variances), boxes.shape)
    return call.constant("boxes", np.stack([boxes.ravel(), spread.ravel()])[None])


def _detection_output(call: Call) -> str:
    """inputs: codes of 4 numbers for each box, scores, boxes of a PriorBox."""
    get = call.settings.integer
    classes, candidates, rows = get(0), get(2, 300), get(3, 100)
    overlap, score = call.settings.real(1, 0.05), call.settings.real(4, 0.5)
    given = np.array([call.settings.real(5 + i, (0.1, 0.1, 0.2, 0.2)[i]) for i in range(4)])
    prior = call.reader.value(call.input(2))
    from_mxnet = classes == _OWN
    if prior is None or prior.ndim != (2 if from_mxnet else 3) or prior.shape[-1] % 4:
        raise Unsupported("its boxes are not constant, or not those of a PriorBox")
    corners = prior.reshape(-1)[: prior.shape[-1]].reshape(-1, 4).astype(np.float64)
    spread = np.broadcast_to(given, corners.shape) if from_mxnet else prior[0, 1].reshape(-1, 4)
    count, numbers = len(corners), int(np.prod(call.known(call.input(1))[1:], dtype=object))
    classes = numbers // count if from_mxnet else classes
    codes = int(np.prod(call.known(call.x)[1:], dtype=object))
    if classes < 2 or numbers != classes * count or codes != 4 * count or min(rows, candidates) < 1:
        raise Unsupported(f"{codes} codes and {numbers} scores of {classes} classes, {count} boxes")
    sides = corners[:, 2:] - corners[:, :2]
    middle = corners[:, :2] + sides / 2
    table = np.hstack([middle, sides, spread[:, :2] * sides, spread[:, 2:]])
    of = [0, classes, count] if from_mxnet else [0, count, classes]
    inputs = [call.reshaped(call.x, [0, count, 1, 4]), call.reshaped(call.input(1), of)]
    return _stay(
        call,
        [*inputs, call.constant("priors", table)],
        min(rows, (classes - 1) * count),
        classes=classes,
        background=0,
        planar=int(from_mxnet),
        candidates=candidates,
        score=score,
        overlap=overlap,
    )


def _yolov3(call: Call) -> str:
    """Of feature maps [boxes x (5 + classes), H, W]; classes are counted from 1."""
    get = call.settings.integer
    classes, each = get(0, 20), get(1, 5)
    score, overlap = call.settings.real(2, 0.01), call.settings.real(3, 0.45)
    biases, mask = np.array(call.settings.reals(4)), call.settings.integers(5)
    scales, size = call.settings.reals(6), classes + 5
    maps, tables = [], []
    fits = classes > 0 and each > 0 and len(mask) >= each * len(call.inputs) <= each * len(scales)
    if not fits or biases.size % 2 or not all(0 <= n < biases.size // 2 for n in mask):
        raise Unsupported(f"{classes} classes, {each} boxes, mask {mask}, {len(scales)} scales")
    for index, x in enumerate(call.inputs):
        shape = call.known(x)
        if len(shape) != 4 or shape[1] != each * size:
            raise Unsupported(f"{list(shape[1:])} is not a map of {each} boxes of {size} numbers")
        high, wide = shape[2:]
        if each * high * wide * size > _MOST_NUMBERS:
            raise Unsupported(f"{each} boxes for each of {high}x{wide} pixels")
        y = call.reshaped(x, [0, each, size, high * wide])
        y = call.part("Transpose", [y], perm=[0, 1, 3, 2])
        maps.append(call.reshaped(y, [0, each * high * wide, size]))
        chosen = biases.reshape(-1, 2)[mask[index * each : (index + 1) * each]]
        net = [int(scales[index] * wide), int(scales[index] * high)]
        if min(net) < 1:
            raise Unsupported(f"its anchors_scale is {scales}")
        tables.append(cells(chosen / net, high, wide))
    table = np.concatenate(tables)
    x = call.part("Concat", maps, axis=1) if len(maps) > 1 else maps[0]
    places = call.part("Sigmoid", [call.cut(x, 2, 0, 2)])
    codes = call.part("Concat", [places, call.cut(x, 2, 2, 4)], axis=2)
    # 1 / (1 + exp(-found) * (1 + exp(-kind))), which ncnn has for the product of two sigmoids.
    less = call.part("Softplus", [call.part("Neg", [call.cut(x, 2, 5, size)])])
    scores = call.part("Sigmoid", [call.part("Sub", [call.cut(x, 2, 4, 5), less])])
    none = call.integers("background", [0, 0, 1, 0, 0, 0])
    scores = call.part("Pad", [scores, none])
    return _stay(
        call,
        [call.reshaped(codes, [0, len(table), 1, 4]), scores, call.constant("cells", table)],
        len(table),
        classes=classes + 1,
        background=0,
        together=1,
        score=float(np.nextafter(np.float32(score), np.float32(-1))),
        overlap=overlap,
    )


def _stay(call: Call, inputs: list[str], rows: int, **how: float) -> str:
    y = call.part("Detections", inputs, rows=rows, centers=1, **how)
    call.reader.shapes[y] = (1, rows, 7)
    # What is left over has -1 in front, and 0 behind it.
    return call.part("Add", [call.cut(y, 2, 1, 7), call.cut(y, 2, 0, 1)])


RULES: dict[str, Rule] = {
    "DetectionOutput": Rule(_detection_output),
    "PriorBox": Rule(_prior_box),
    "Yolov3DetectionOutput": Rule(_yolov3),
}
