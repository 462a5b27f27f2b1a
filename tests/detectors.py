"""Networks of a few nodes with the outputs of detectors, in which known boxes are written.

What each family's outputs mean is written down here from the network's side, as its training has
it: from a box to numbers. Pictures are 64 high and 96 wide, so that sides cannot be mistaken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from linnet.graph import Graph, Node, Value

SIZE = HIGH, WIDE = 64, 96
CLASSES = 4
Outputs = dict[str, np.ndarray]  # of one image, without the batch


class Thing(NamedTuple):
    """A box, x0, y0, x1, y1, with its score and class."""

    box: tuple[float, float, float, float]
    score: float
    kind: int

    @property
    def middle(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def sides(self) -> tuple[float, float]:
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


THINGS = (
    Thing((10.5, 8.25, 31.0, 40.0), 0.9, 1),
    Thing((50.0, 20.0, 85.5, 61.25), 0.8, 3),
    Thing((70.0, 2.0, 82.0, 14.0), 0.75, 0),
)
PEOPLE = (Thing((20.0, 10.0, 60.0, 50.0), 0.85, 0),)
FACES = tuple(thing._replace(kind=0) for thing in THINGS)


def network(
    outputs: Outputs, *, shine: Outputs | None = None, metadata: dict[str, str] | None = None
) -> Graph:
    """A network of pictures [n, 3, 64, 96] with these outputs for each; shine: what is added for
    each grey level that the picture has in the mean.
    """
    constants = {"axes": np.array([1, 2, 3])}
    nodes = [Node("ReduceMean", "mean", ["image", "axes"], ["mean"], {"keepdims": 1})]
    for name, array in outputs.items():
        rank = array.ndim + 1
        constants[f"{name}.own"] = np.asarray(array, np.float32)[None]
        more = np.zeros_like(array) if shine is None else shine.get(name, np.zeros_like(array))
        constants[f"{name}.more"] = np.asarray(more, np.float32)[None]
        constants[f"{name}.shape"] = np.array([0] + [1] * (rank - 1))
        nodes += [
            Node("Reshape", f"{name}.r", ["mean", f"{name}.shape"], [f"{name}.r"]),
            Node("Mul", f"{name}.m", [f"{name}.r", f"{name}.more"], [f"{name}.m"]),
            Node("Add", name, [f"{name}.m", f"{name}.own"], [name]),
        ]
    inputs = [Value("image", (0, 3, HIGH, WIDE))]
    return Graph("detector", nodes, constants, inputs, list(outputs), metadata=metadata or {})


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def cells(stride: int) -> tuple[int, int]:
    return math.ceil(HIGH / stride), math.ceil(WIDE / stride)


def cell_of(thing: Thing, stride: int) -> tuple[int, int]:
    return int(thing.middle[1] // stride), int(thing.middle[0] // stride)


def one_hot(kind: int, on: float = 1.0, off: float = 0.0) -> np.ndarray:
    return np.where(np.arange(CLASSES) == kind, on, off)


def raw_yolox() -> Outputs:
    levels = []
    for stride in (8, 16, 32):
        level = np.tile([0.5, 0.5, 0, 0, 0.01, *[0.1] * CLASSES], (*cells(stride), 1))
        for thing in THINGS if stride == 16 else ():
            row, column = cell_of(thing, stride)
            (x, y), (w, h) = thing.middle, thing.sides
            box = [
                x / stride - column,
                y / stride - row,
                math.log(w / stride),
                math.log(h / stride),
            ]
            level[row, column] = [*box, thing.score, *one_hot(thing.kind)]
        levels.append(level.reshape(-1, 5 + CLASSES))
    return {"boxes": np.concatenate(levels)}


def rows(unit: tuple[float, float], strides: Sequence[int], premultiplied: bool) -> np.ndarray:
    """Boxes around every cell; unit: what a pixel is across and down."""
    found = []
    for stride in strides:
        high, wide = cells(stride)
        for row in range(high):
            for column in range(wide):
                box = [(column + 0.5) * stride, (row + 0.5) * stride, stride, stride]
                found.append([*box, 0.02, *([0.0] * CLASSES if premultiplied else [0.3] * CLASSES)])
    for index, thing in enumerate(THINGS):
        part = thing.score if premultiplied else 1.0
        found[5 * index] = [*thing.middle, *thing.sides, thing.score, *one_hot(thing.kind, part)]
    every = np.array(found)
    every[:, :4] *= [*unit, *unit]
    return every


def darknet() -> Outputs:
    every = rows((1 / WIDE, 1 / HIGH), (16, 32), True)
    return {"fine": every[:24], "coarse": every[24:]}


def yolo_v8() -> Outputs:
    every = rows((1, 1), (8, 16, 32), True)
    return {"boxes": every[:, [0, 1, 2, 3, *range(5, 5 + CLASSES)]].T}


V3 = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}


def yolo_v3() -> Outputs:
    found = {}
    for stride, anchors in V3.items():
        high, wide = cells(stride)
        level = np.full((3, 5 + CLASSES, high, wide), -6.0)
        for thing in THINGS if stride == 16 else ():
            row, column = cell_of(thing, stride)
            (x, y), (w, h) = thing.middle, thing.sides
            part = [logit(x / stride - column), logit(y / stride - row)]
            part += [math.log(w / anchors[1][0]), math.log(h / anchors[1][1])]
            level[1, :, row, column] = [*part, logit(thing.score), *one_hot(thing.kind, 12, -8)]
        found[f"map{stride}"] = level.reshape(-1, high, wide)
    return dict(reversed(found.items()))


def yolo_fastest_v2() -> Outputs:
    anchors = {16: ((12.64, 19.39), (37.88, 51.48), (55.71, 138.31))}
    found = {}
    for stride in (16, 32):
        level = np.full((*cells(stride), 15 + CLASSES), 0.01)
        level[..., 15:] = 1 / CLASSES
        for thing in THINGS if stride == 16 else ():
            row, column = cell_of(thing, stride)
            (x, y), sides = thing.middle, thing.sides
            middle = [(at / stride - cell + 0.5) / 2 for at, cell in ((x, column), (y, row))]
            size = [math.sqrt(n / a) / 2 for n, a in zip(sides, anchors[16][1])]
            level[row, column, 4:8] = [*middle, *size]
            level[row, column, 13] = thing.score
            level[row, column, 15:] = one_hot(thing.kind)
        found[f"map{stride}"] = level
    return found


def fastest_det() -> Outputs:
    level = np.zeros((5 + CLASSES, *cells(16)))
    level[5:] = 1 / CLASSES
    for thing in THINGS:
        row, column = cell_of(thing, 16)
        (x, y), (w, h) = thing.middle, thing.sides
        middle = [math.atanh(x / 16 - column), math.atanh(y / 16 - row)]
        box = [*middle, logit(w / WIDE), logit(h / HIGH)]
        level[:, row, column] = [thing.score, *box, *one_hot(thing.kind)]
    return {"map": level}


def distribution(distance: float) -> list[float]:
    """Logits of eight bins whose mean is a distance."""
    below = int(distance)
    part = distance - below
    weights = np.full(8, 1e-9)
    weights[below] += 1 - part
    weights[min(below + 1, 7)] += part
    return list(np.log(weights))


def nanodet_levels(strides: Sequence[int], shift: float) -> list[np.ndarray]:
    levels = []
    for stride in strides:
        level = np.full((*cells(stride), CLASSES + 32), -0.5)
        level[..., :CLASSES] = 0.02
        for thing in THINGS if stride == 8 else ():
            column, row = (round(at / stride - shift) for at in thing.middle)
            x, y = (column + shift) * stride, (row + shift) * stride
            x0, y0, x1, y1 = thing.box
            sides = [distribution(n / stride) for n in (x - x0, y - y0, x1 - x, y1 - y)]
            level[row, column] = [*one_hot(thing.kind, thing.score), *np.concatenate(sides)]
        levels.append(level.reshape(-1, CLASSES + 32))
    return levels


def nanodet_plus() -> Outputs:
    return {"output": np.concatenate(nanodet_levels((8, 16, 32, 64), 0.0))}


def nanodet_old() -> Outputs:
    found = {}
    for stride, level in zip((8, 16, 32), nanodet_levels((8, 16, 32), 0.5)):
        found[f"cls_{stride}"], found[f"dis_{stride}"] = level[:, :CLASSES], level[:, CLASSES:]
    return found


def post_process() -> Outputs:
    boxes = [[y0 / HIGH, x0 / WIDE, y1 / HIGH, x1 / WIDE] for (x0, y0, x1, y1), _, _ in THINGS]
    scores, kinds = [t.score for t in THINGS], [t.kind for t in THINGS]
    return {
        "boxes": np.array([*boxes, [0, 0, 1, 1]]),
        "classes": np.array([*kinds, 2]),
        "scores": np.array([*scores, 0.7]),  # beyond the count
        "count": np.array([len(THINGS)]),
    }


def detection_output(image: bool) -> Outputs:
    start = [0] if image else []
    table = []
    for (x0, y0, x1, y1), score, kind in THINGS:
        number = kind + 1 if image else kind
        table.append([*start, number, score, x0 / WIDE, y0 / HIGH, x1 / WIDE, y1 / HIGH])
    table += [[*start, -1, -1, -1, -1, -1, -1]] * 2
    return {"found": np.array([table] if image else table)}


def squares(levels: dict[int, Sequence[int]]) -> list[tuple[float, float, float]]:
    """Anchors of SSD for faces: middle and side in pixels."""
    found = []
    for stride, sides in levels.items():
        high, wide = cells(stride)
        for row in range(high):
            for column in range(wide):
                x, y = (column + 0.5) * WIDE / wide, (row + 0.5) * HIGH / high
                found += [(x, y, side) for side in sides]
    return found


ULTRAFACE = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
RETINAFACE = {8: (16, 32), 16: (64, 128), 32: (256, 512)}


def anchored(levels: dict[int, Sequence[int]], clamped: bool, decoded: bool = False) -> Outputs:
    """clamped: anchors are not larger than the picture. decoded: corners instead of offsets."""
    anchors = squares(levels)
    boxes, scores = np.full((len(anchors), 4), 0.25), np.tile([0.99, 0.01], (len(anchors), 1))
    boxes[:, 2:] = 0.5 if decoded else -0.2
    for thing in FACES:
        index = min(range(len(anchors)), key=lambda k: math.dist(anchors[k][:2], thing.middle))
        x, y, side = anchors[index]
        wide, high = (min(side, WIDE), min(side, HIGH)) if clamped else (side, side)
        offset = [(thing.middle[0] - x) / wide / 0.1, (thing.middle[1] - y) / high / 0.1]
        offset += [math.log(n / own) / 0.2 for n, own in zip(thing.sides, (wide, high))]
        corner = np.array(thing.box) / [WIDE, HIGH, WIDE, HIGH]
        boxes[index] = corner if decoded else offset
        scores[index] = 1 - thing.score, thing.score
    return {"scores": scores, "boxes": boxes}


def blaze(things: Sequence[Thing], columns: int, levels: dict[int, Sequence[int]]) -> Outputs:
    middles = [(x, y) for x, y, _ in squares(levels)]
    boxes, scores = np.zeros((len(middles), columns)), np.full((len(middles), 1), -30.0)
    for thing in things:
        index = min(range(len(middles)), key=lambda k: math.dist(middles[k], thing.middle))
        away = [a - b for a, b in zip(thing.middle, middles[index])]
        boxes[index, :4] = [*away, *thing.sides]
        if columns == 12:  # what counts is the circle of two points
            boxes[index, :4] = 3
            boxes[index, 4:8] = [
                *away,
                away[0] + thing.sides[0] / 2 * 0.6,
                away[1] + thing.sides[0] / 2 * 0.8,
            ]
        scores[index] = logit(thing.score)
    return {"regressors": boxes, "classificators": scores}


def yunet() -> Outputs:
    found: Outputs = {}
    for stride in (8, 16, 32):
        high, wide = cells(stride)
        class_, object_ = np.full((high, wide, 1), 0.5), np.zeros((high, wide, 1))
        box = np.zeros((high, wide, 4))
        for thing in FACES if stride == 16 else ():
            row, column = cell_of(thing, stride)
            (x, y), (w, h) = thing.middle, thing.sides
            class_[row, column], object_[row, column] = 1, thing.score**2
            middle = [x / stride - column, y / stride - row]
            box[row, column] = [*middle, math.log(w / stride), math.log(h / stride)]
        for name, array in (("cls", class_), ("obj", object_), ("bbox", box)):
            found[f"{name}_{stride}"] = array.reshape(high * wide, -1)
    return dict(sorted(found.items(), reverse=True))


def scrfd(maps: bool) -> Outputs:
    found: Outputs = {}
    for stride in (8, 16, 32):
        high, wide = cells(stride)
        score, box = np.full((high, wide, 2, 1), 0.01), np.zeros((high, wide, 2, 4))
        for thing in FACES if stride == 16 else ():
            row, column = cell_of(thing, stride)
            x0, y0, x1, y1 = thing.box
            x, y = column * stride, row * stride
            score[row, column, 1] = thing.score
            box[row, column, 1] = np.array([x - x0, y - y0, x1 - x, y1 - y]) / stride
        for name, array in (("score", score), ("bbox", box)):
            as_map = array.reshape(high, wide, -1).transpose(2, 0, 1)
            found[f"{name}_{stride}"] = as_map if maps else array.reshape(-1, array.shape[3])
    return found


def retinaface() -> Outputs:
    found: Outputs = {}
    for stride, sides in {32: (512, 256), 16: (128, 64), 8: (32, 16)}.items():
        high, wide = cells(stride)
        score, box = np.full((4, high, wide), 0.01), np.zeros((8, high, wide))
        score[:2] = 0.99
        for thing in FACES if stride == 16 else ():
            row, column = cell_of(thing, stride)
            (x, y), (w, h) = thing.middle, thing.sides
            middle = [(x - column * stride - 8) / sides[1], (y - row * stride - 8) / sides[1]]
            score[[1, 3], row, column] = 1 - thing.score, thing.score
            box[4:, row, column] = [*middle, math.log(w / sides[1]), math.log(h / sides[1])]
        found[f"cls_{stride}"], found[f"bbox_{stride}"] = score, box
        found[f"points_{stride}"] = np.zeros((20, high, wide))
    return found


def centerface() -> Outputs:
    high, wide = cells(4)
    heat, sizes, offsets = (
        np.zeros((1, high, wide)),
        np.zeros((2, high, wide)),
        np.zeros((2, high, wide)),
    )
    for thing in FACES:
        row, column = cell_of(thing, 4)
        (x, y), (w, h) = thing.middle, thing.sides
        heat[0, row, column] = thing.score
        sizes[:, row, column] = math.log(h / 4), math.log(w / 4)
        offsets[:, row, column] = y / 4 - row - 0.5, x / 4 - column - 0.5
    return {"heat": heat, "scale": sizes, "offset": offsets, "points": np.zeros((10, high, wide))}


# Name: family, outputs, what is in them.
NETWORKS: dict[str, tuple[str, Callable[[], Outputs], Sequence[Thing]]] = {
    "YOLOX": ("yolox", raw_yolox, THINGS),
    "Darknet": ("yolo", darknet, THINGS),
    "YOLO v5": ("yolo", lambda: {"boxes": rows((1, 1), (8, 16, 32), False)}, THINGS),
    "YOLO v8": ("yolov8", yolo_v8, THINGS),
    "YOLO v3": ("yolov3", yolo_v3, THINGS),
    "YOLO-FastestV2": ("yolo-fastestv2", yolo_fastest_v2, THINGS),
    "FastestDet": ("fastestdet", fastest_det, THINGS),
    "NanoDet-Plus": ("nanodet", nanodet_plus, THINGS),
    "NanoDet": ("nanodet", nanodet_old, THINGS),
    "DetectionPostProcess": ("ssd-postprocess", post_process, THINGS),
    "DetectionOutput": ("ssd-output", lambda: detection_output(True), THINGS),
    "MultiBoxDetection": ("ssd-output", lambda: detection_output(False), THINGS),
    "UltraFace": ("ssd", lambda: anchored(ULTRAFACE, True, decoded=True), FACES),
    "UltraFace, offsets": ("ssd", lambda: anchored(ULTRAFACE, True), FACES),
    "RetinaFace, PyTorch": (
        "ssd",
        lambda: {**anchored(RETINAFACE, False), "points": np.zeros((252, 10))},
        FACES,
    ),
    "BlazeFace": ("blaze", lambda: blaze(FACES, 16, {8: (1,) * 2, 16: (1,) * 6}), FACES),
    "BlazePose": (
        "blaze",
        lambda: blaze(PEOPLE, 12, {8: (1,) * 2, 16: (1,) * 2, 32: (1,) * 6}),
        PEOPLE,
    ),
    "YuNet": ("yunet", yunet, FACES),
    "SCRFD, maps": ("scrfd", lambda: scrfd(True), FACES),
    "SCRFD, rows": ("scrfd", lambda: scrfd(False), FACES),
    "RetinaFace": ("retinaface", retinaface, FACES),
    "CenterFace": ("centerface", centerface, FACES),
}
