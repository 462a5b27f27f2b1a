"""A detector: a network, how pictures become its input, and how its outputs become boxes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

import linnet

from .. import _boxes
from ..preprocess import Preprocess
from ..text import listed, read_text, short
from . import faces, ssd, yolo
from ._family import Array, Family, Outputs, Reader
from .labels import COCO, COCO_90, VOC

SETTINGS = "linnet.detect"  # key of a model's metadata; a sidecar file has the same JSON
FAMILIES = {f.name: f for f in (*ssd.FAMILIES, *faces.FAMILIES, *yolo.FAMILIES)}

_OPEN_SIZE = 320  # of an input that leaves it open
_MOST_CANDIDATES = 4096  # that are compared with each other
_MOST_FOUND = 300
_MOST_CLASSES = 10_000
_KNOWN_LABELS = {len(names): names for names in (COCO, COCO_90, VOC)}


class Detections(NamedTuple):
    """What was found in one picture, the best first. Boxes are cut at the picture's edges."""

    boxes: npt.NDArray[np.float32]  # [n, 4]: x0, y0, x1, y1 in pixels of the picture
    scores: npt.NDArray[np.float32]  # [n], 0 to 1
    classes: npt.NDArray[np.int32]  # [n], places in Detector.labels


ModelPath = Union[str, "os.PathLike[str]"]
Model = Union[ModelPath, "tuple[ModelPath, ModelPath | None]", linnet.Session]


class Detector:
    """Finds objects in pictures, with a network of one of FAMILIES.

    model: a path of a model, (model, weights), or a loaded `linnet.Session`. What a file beside the
        model called NAME.detect.json says, for a model NAME.onnx, comes before what is recognised
        from the outputs: its "family", one of FAMILIES, "labels", "threshold", "overlap",
        "preprocess", and "anchors" and other settings of families; see docs/detect.md.
    labels: names of the classes, or a text file with one a line; by default the model's.
    classes: find only these, by names or numbers.
    threshold: least score; by default the family's.
    overlap: boxes that share more of their union than this are one; by default the family's.
    threads, outputs: as for `linnet.load`, of a model that is a path.
    preprocess: fields of `linnet.Preprocess`, by default as the model's file or family says; "size"
        of a model that leaves it open.

    ValueError if the model is no detector of a known family, or labels or classes do not fit it.
    """

    labels: list[str]  # of every class
    size: tuple[int, int]  # height and width of the network's input
    session: linnet.Session
    family: str

    def __init__(
        self,
        model: Model,
        labels: Sequence[str] | ModelPath | None = None,
        classes: Sequence[str | int] | None = None,
        threshold: float | None = None,
        threads: int | None = None,
        *,
        overlap: float | None = None,
        preprocess: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = (),
    ) -> None:
        options: dict[str, Any] = {"threads": threads, "outputs": outputs}
        self._name, self.session = _loaded(model, options)
        if len(self.session.inputs) != 1:
            raise ValueError(
                f"{self._name}: a detector has one input, not {len(self.session.inputs)}"
            )
        settings = _settings(self._name, model, self.session)
        given = {**settings.pop("preprocess", {}), **(preprocess or {})}
        shapes = _other_shapes(self.session.inputs[0], given.get("size"))
        if shapes and not isinstance(model, linnet.Session):
            self._name, self.session = _loaded(model, {**options, "shapes": shapes})
        shape = self.session.inputs[0].shape
        self._alone = len(shape) == 3 and shape[0] is not None  # a picture without a batch
        self._batched = all(value.shape[:1] == (None,) for value in self.session.outputs)
        family, reader, self._preprocess = self._recognised(settings, given)
        self.family, self._decode = family.name, reader.decode
        assert self._preprocess.size is not None
        self.size = self._preprocess.size
        self.threshold = _part("threshold", threshold, settings, family.threshold)
        self.overlap = _part("overlap", overlap, settings, family.overlap)
        self._suppress = family.suppress
        self._label(labels if labels is not None else settings.get("labels"), reader)
        self._wanted = self._numbers(classes)

    def __repr__(self) -> str:
        high, wide = self.size
        what = f"{len(self.labels)} classes" if len(self.labels) > 1 else self.labels[0]
        return f"<linnet.detect.Detector {self._name}: {self.family}, {high}x{wide}, {what}>"

    def __call__(self, images: Sequence[Array]) -> list[Detections]:
        """What is in each picture, uint8 [H, W, 3] RGB or [H, W] grey, of any sizes; in one batch
        where the model has one. ValueError for what is no picture.
        """
        if not len(images):
            return []
        x = self._preprocess(*images)
        groups = [x] if self._batched else [x[i : i + 1] for i in range(len(x))]
        found = [outputs for group in groups for outputs in self._run(group)]
        return [self._detections(outputs, image.shape) for outputs, image in zip(found, images)]

    def _run(self, x: Array) -> list[list[Array]]:
        """The outputs of every image."""
        arrays = self.session.run(x[0] if self._alone else x)
        if self._batched:
            return [[array[i] for array in arrays] for i in range(len(x))]
        return [[a[0] if not self._alone and a.ndim > 1 and len(a) == 1 else a for a in arrays]]

    def _recognised(
        self, settings: Mapping[str, Any], given: Mapping[str, Any]
    ) -> tuple[Family, Reader, Preprocess]:
        """The family that the outputs for some picture are of, and how pictures become inputs."""
        ((_, shape, dtype),) = self.session.inputs
        shape = (None, *shape) if self._alone else shape
        record = self.session.preprocess
        stated = json.loads(record.text()) if record else {}

        def settled(fields: Mapping[str, Any]) -> Preprocess:
            numbers = dict(fields)
            if np.dtype(dtype).kind in "iu":  # integers are the pixels
                numbers.update(mean=128.0 if dtype == np.int8 else 0.0, scale=1.0)
            merged = Preprocess.parse(json.dumps({**numbers, **stated}), given)
            made = merged.for_input(shape, dtype)
            if made.size is None:
                high, wide = shape[1:3] if made.layout == "nhwc" else shape[2:]
                made = replace(made, size=(high or _OPEN_SIZE, wide or _OPEN_SIZE))
            return made

        first = settled({"mean": 127.5, "scale": 1 / 127.5})
        assert first.size is not None
        (arrays,) = self._run(first(_some_picture(first.size)))
        outputs = Outputs(arrays, first.size, not self._alone)
        numbers = all(a.dtype.kind in "fiu" and np.isfinite(a).all() for a in arrays)
        name = settings.get("family")
        for family in FAMILIES.values() if name is None else [FAMILIES[name]]:
            lists = family.suppress == "none"  # of what was found, which may be nothing
            fits = numbers and (lists or all(array.size for array in arrays))
            reader = family.recognise(outputs, settings) if fits else None
            if reader is not None:
                fields = family.preprocess if reader.preprocess is None else reader.preprocess
                return family, reader, settled(fields)
        shapes = ", ".join(
            f"{v.name} {list(a.shape)}" for v, a in zip(self.session.outputs, arrays)
        )
        raise ValueError(
            f"{self._name}: its outputs are not those of {name or 'a detector'}: {short(shapes)}"
        )

    def _label(self, given: Any, reader: Reader) -> None:
        """Names for all classes: given, the model's, or those of its family or data set."""
        self._named = given is not None
        source = "labels"
        if isinstance(given, (str, os.PathLike)):
            source = os.fsdecode(given)
            given = read_text(source).splitlines()
        names = list(given) if given is not None else self.session.labels
        if not self._named and len(names) < max(reader.classes, 1):
            default = reader.labels or _KNOWN_LABELS.get(reader.classes, ())
            names = [*default] if len(default) >= reader.classes else []
            names += [f"class {n}" for n in range(len(names), max(reader.classes, 1))]
        if len(names) < reader.classes:
            raise ValueError(f"{source}: {len(names)} labels for {reader.classes} classes")
        self.labels = [str(name) for name in names]
        self._source = source

    def _numbers(self, classes: Sequence[str | int] | None) -> npt.NDArray[np.int64] | None:
        if classes is None:
            return None
        unknown = [c for c in classes if not (c in self.labels or _is_place(c, len(self.labels)))]
        if unknown:
            known = listed(self.labels[:100])
            raise ValueError(f"{self._name} finds no {listed(map(str, unknown))}, only {known}")
        numbers = [c if isinstance(c, int) else self.labels.index(c) for c in classes]
        return np.array(numbers, np.int64)

    def _detections(self, outputs: list[Array], shape: tuple[int, ...]) -> Detections:
        found = self._decode(outputs, self.threshold)
        boxes = np.asarray(found.boxes, np.float32)
        good = np.isfinite(boxes).all(axis=1) & np.isfinite(found.scores)
        best = np.flatnonzero(good & (found.classes >= 0) & (found.classes < _MOST_CLASSES))
        best = best[np.argsort(-found.scores[best], kind="stable")[:_MOST_CANDIDATES]]
        scores, classes = found.scores[best].astype(np.float32), found.classes[best]
        boxes = boxes[best]
        if self._suppress != "none":
            groups = classes if self._suppress == "class" else np.zeros(len(classes))
            kept, boxes = _boxes.suppress(
                boxes,
                scores,
                groups.astype(np.int32),
                self.overlap,
                _MOST_FOUND,
                self._suppress == "average",
            )
            scores, classes = scores[kept], classes[kept]
        self._name_all(classes)
        place, (top, left) = self._preprocess.placed(shape, self.size)
        edge = np.array([shape[1], shape[0]] * 2, np.float32)
        begin = np.array([place.begin[1] - left, place.begin[0] - top] * 2, np.float32)
        boxes = (boxes + begin) * np.array([*place.step[::-1]] * 2, np.float32)
        boxes = boxes.clip(0, edge)
        keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        if self._wanted is not None:
            keep &= np.isin(classes, self._wanted)
        return Detections(boxes[keep], scores[keep].clip(0, 1), classes[keep].astype(np.int32))

    def _name_all(self, classes: Array) -> None:
        """Every class has a name, also of a model that does not say how many there are."""
        beyond = int(classes.max(initial=0)) + 1
        if beyond > len(self.labels):
            if self._named:
                raise ValueError(
                    f"{self._source}: {len(self.labels)} labels, but there is a class {beyond - 1}"
                )
            self.labels += [f"class {n}" for n in range(len(self.labels), beyond)]


def _is_place(number: object, count: int) -> bool:
    return isinstance(number, int) and 0 <= number < count


def _loaded(model: Any, options: Mapping[str, Any]) -> tuple[str, linnet.Session]:
    if isinstance(model, linnet.Session):
        return model.name or "the model", model
    path, weights = model if isinstance(model, tuple) else (model, None)
    return os.fsdecode(path), linnet.load(path, weights, **options)


def _other_shapes(value: linnet.ValueInfo, size: Any) -> dict[str, Any] | None:
    """What makes an input take pictures of another size than its file says."""
    shape = value.shape
    if not isinstance(size, (tuple, list)) or len(size) != 2 or len(shape) != 4:
        return None
    if not all(isinstance(n, (int, float)) and 0 < n < 1 << 16 and n == int(n) for n in size):
        return None  # what the record of the picture will be refused for
    size = [int(n) for n in size]
    last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    if None in shape[1:] or tuple(shape[1:3] if last else shape[2:]) == tuple(size):
        return None
    return {value.name: (None, *size, shape[3]) if last else (None, shape[1], *size)}


def _settings(name: str, model: Any, session: linnet.Session) -> dict[str, Any]:
    """What the file beside the model says, or its metadata."""
    text, source = session.metadata.get(SETTINGS, "{}"), f"{name}: {SETTINGS}"
    if not isinstance(model, linnet.Session):
        path = Path(name)
        beside = path.with_name(f"{path.name.rpartition('.')[0] or path.name}.detect.json")
        if beside.is_file():
            source = str(beside)
            text = read_text(source)
    try:
        found = json.loads(text, parse_int=float)  # no int takes long then
    except (ValueError, RecursionError):
        raise ValueError(f"{source}: not JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{source}: not an object of JSON")
    for key, value in found.items():
        if key not in _CHECKS:
            raise ValueError(
                f"{source}: there is no setting {short(key)}, only {', '.join(_CHECKS)}"
            )
        check, expected = _CHECKS[key]
        if not check(value):
            raise ValueError(f"{source}: {key} is {short(value)}, expected {expected}")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _all(value: object, check: Callable[[Any], bool], most: int = 1 << 20) -> bool:
    """Whether a value is a list, of at least one and not too many, that all pass a check."""
    return isinstance(value, list) and 0 < len(value) <= most and all(map(check, value))


def _are_numbers(value: object, depth: int = 4) -> bool:
    """Numbers in lists of lists."""
    return _is_number(value) or (depth > 0 and _all(value, lambda x: _are_numbers(x, depth - 1)))


# What a sidecar file may say: of every detector, then of some families.
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "family": (lambda x: isinstance(x, str) and x in FAMILIES, f"one of {', '.join(FAMILIES)}"),
    "labels": (lambda x: _all(x, lambda name: isinstance(name, str)), "names"),
    "threshold": (lambda x: _is_number(x) and 0 <= x <= 1, "a number from 0 to 1"),
    "overlap": (lambda x: _is_number(x) and 0 <= x <= 1, "a number from 0 to 1"),
    "preprocess": (lambda x: isinstance(x, dict), "fields of linnet.Preprocess"),
    "anchors": (_are_numbers, "numbers"),
    "y_first": (lambda x: isinstance(x, bool), "true or false"),
    "strides": (
        lambda x: _all(x, lambda n: n in (4, 8, 16, 32, 64, 128), 8),
        "powers of 2 from 4 to 128",
    ),
    "bins": (lambda x: _is_number(x) and x in range(2, 65), "a number from 2 to 64"),
    "background": (lambda x: isinstance(x, bool), "true or false"),
}


def _part(name: str, given: Any, settings: Mapping[str, Any], default: float) -> float:
    value = given if given is not None else settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {short(value)}, expected a number from 0 to 1")
    return float(value)


def _some_picture(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Slopes and noise, to see what a network computes of anything."""
    y, x = np.mgrid[: size[0], : size[1]]
    slope = np.stack([x / size[1], y / size[0], (x + y) / sum(size)], axis=-1) * 200
    noise = np.random.default_rng(0).integers(0, 55, (*size, 3))
    return np.asarray(slope + noise, np.uint8)
