"""What watching a video costs, stage by stage, and how right it is where the truth is known."""

from __future__ import annotations

import os
import resource
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _boxes, _watch
from ..text import decode, short
from .pipeline import Finder, Look, Watch
from .sources import Source
from .visits import Zone

Array = npt.NDArray[np.float32]

STAGES = ("gate", "regions", "convert", "detect", "track", "visits")
SAME = 0.5  # overlap from which two boxes are of one object, as the MOTChallenge has it
VISIBLE = 0.25  # part of an object that must be visible; else it may be found or not
MOT_CLASSES = {1: "person", 3: "car"}  # numbers of the MOTChallenge


class Truth(NamedTuple):
    """Of one picture: numbers of the objects, boxes, and which count."""

    ids: list[int]
    boxes: Array  # [N, 4], x0, y0, x1, y1
    counts: npt.NDArray[np.bool_]


class Run(NamedTuple):
    """What came of a video."""

    pictures: int
    seconds: float
    cpu: float  # seconds of all threads
    stages: dict[str, float]  # seconds
    looks: int  # of the detector at a picture
    detections: int
    seen: dict[int, list[tuple[int, Array]]]  # by picture: tracks and boxes
    visits: dict[int, str]  # by track: the label

    def to_dict(self) -> dict[str, Any]:
        each = 1e3 / max(self.pictures, 1)
        return {
            "pictures": self.pictures,
            "fps": self.pictures / self.seconds,
            "cpu_ms": self.cpu * each,
            "stages_ms": {stage: seconds * each for stage, seconds in self.stages.items()},
            "looks": self.looks,
            "detections": self.detections,
            "visits": len(self.visits),
        }


def run(source: Source, detector: Finder, zones: Iterable[Zone] = (), gate: bool = True) -> Run:
    """Watches a video as fast as it goes."""
    watch = Watch(source, detector, zones=zones, gate=gate)
    paths: dict[int, list[tuple[int, Array]]] = defaultdict(list)
    looks = detections = 0

    def listen(look: Look) -> None:
        nonlocal looks, detections
        height, width = look.frame.size
        edges = np.array([width, height, width, height], np.float32)
        for track in look.tracks:
            if track.seen == look.frame.time:
                paths[track.id].append((look.frame.index, track.box.clip(0, edges)))
        looks += bool(look.windows)
        detections += look.detections

    watch.listeners.append(listen)
    cpu, began = time.process_time(), time.perf_counter()
    visits = {event.visit.track: event.visit.label for event in watch.events()}
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    stages = {stage: watch.clock.seconds.get(stage, 0.0) for stage in STAGES}
    return Run(watch.frames, seconds, cpu, stages, looks, detections, _filled(paths), visits)


def _filled(paths: dict[int, list[tuple[int, Array]]]) -> dict[int, list[tuple[int, Array]]]:
    """By picture, the tracks that were there and their boxes, from each track's first detection to
    its last, as its visit is stored; on straight lines between detections, as in ByteTrack's
    evaluation.
    """
    seen: dict[int, list[tuple[int, Array]]] = defaultdict(list)
    for track, path in paths.items():
        seen[path[0][0]].append((track, path[0][1]))
        for (first, start), (last, end) in zip(path, path[1:]):
            for picture in range(first + 1, last + 1):
                part = np.float32((picture - first) / (last - first))
                seen[picture].append((track, start + part * (end - start)))
    return seen


def decoding(source: Source) -> float:
    """Seconds that reading a video alone takes."""
    began = time.perf_counter()
    for _ in source.frames():
        pass
    return time.perf_counter() - began


def memory() -> int:
    """Most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_truth(
    path: str | os.PathLike[str], wanted: Sequence[str]
) -> tuple[dict[int, Truth], dict[int, str]]:
    """The truth by picture, from 0, and the class of every object.

    A file of the MOTChallenge: picture from 1, object, left, top, width, height, whether it counts,
    class, visible part; classes are names, or the challenge's numbers. What is of no class wanted,
    or hardly visible, may be found or not. ValueError if a line is something else.
    """
    rows: dict[int, list[tuple[int, list[float], bool]]] = defaultdict(list)
    labels: dict[int, str] = {}
    lines = decode(Path(path).read_bytes()).splitlines()
    for number, line in enumerate(lines, 1):
        fields = line.split(",")
        try:
            picture, object_ = int(fields[0]) - 1, int(fields[1])
            left, top, width, height, counts = (float(field) for field in fields[2:7])
            visible = float(fields[8]) if len(fields) > 8 else 1.0
        except (ValueError, IndexError):
            raise ValueError(
                f"{short(os.fspath(path))}: line {number} is not picture,object,left,top,width,"
                f"height,counts,class,visible: {short(line)}"
            ) from None
        kind = fields[7].strip() if len(fields) > 7 else ""
        label = MOT_CLASSES.get(int(kind), kind) if kind.lstrip("-").isdigit() else kind
        labels[object_] = label
        judged = counts > 0 and visible >= VISIBLE and (label in wanted or label in ("", "-1"))
        rows[picture].append((object_, [left, top, left + width, top + height], judged))
    truth = {}
    for picture, objects in rows.items():
        boxes = np.array([box for _, box, _ in objects], np.float32)
        counted = np.array([judged for _, _, judged in objects])
        truth[picture] = Truth([object_ for object_, _, _ in objects], boxes, counted)
    return truth, labels


_NONE = Truth([], np.zeros((0, 4), np.float32), np.zeros(0, bool))


def judge(result: Run, truth: dict[int, Truth], labels: dict[int, str]) -> dict[str, float]:
    """Recall and precision of visits and of boxes, MOTA and IDF1, by TrackEval.

    A visit is right if most of its boxes are of one object of its class, and such an object is
    found. ValueError if TrackEval is not there.
    """
    try:
        from trackeval.metrics import CLEAR, Identity  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError("--truth needs TrackEval: pip install linnet[watch-bench]") from None
    data, met = _matched(result, truth)
    clear = CLEAR({"PRINT_CONFIG": False, "THRESHOLD": SAME}).eval_sequence(data)
    identity = Identity({"PRINT_CONFIG": False, "THRESHOLD": SAME}).eval_sequence(data)
    there = {i for t in truth.values() for i, counts in zip(t.ids, t.counts) if counts}
    found, right = set(), 0
    for track, label in result.visits.items():
        boxes = sum(track == other for seen in result.seen.values() for other, _ in seen)
        most, object_ = max(((n, o) for o, n in met[track].items()), default=(0, 0))
        if most > 0.5 * boxes and labels[object_] in (label, "", "-1"):
            right += 1
            found.add(object_)
    empty = not there and not result.visits
    return {
        "objects": len(there),
        "visit_recall": len(found & there) / len(there) if there else 1.0,
        "visit_precision": right / len(result.visits) if result.visits else 1.0,
        "recall": 1.0 if empty else float(clear["CLR_Re"]),
        "precision": 1.0 if empty else float(clear["CLR_Pr"]),
        "mota": 1.0 if empty else float(clear["MOTA"]),
        "idf1": 1.0 if empty else float(identity["IDF1"]),
    }


def _matched(
    result: Run, truth: dict[int, Truth]
) -> tuple[dict[str, Any], dict[int, dict[int, int]]]:
    """TrackEval's data of one class, and in how many pictures each track was on each object.

    Boxes of tracks that became no visit are left out, and those on objects that do not count.
    """
    objects: dict[int, int] = {}
    tracks: dict[int, int] = {}
    met: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for picture in range(result.pictures):
        here = truth.get(picture, _NONE)
        seen = [(t, box) for t, box in result.seen.get(picture, []) if t in result.visits]
        boxes = np.array([box for _, box in seen], np.float32).reshape(-1, 4)
        overlaps = _boxes.overlaps(here.boxes, boxes)
        keep = np.ones(len(seen), bool)
        for i, j in _watch.assign(1 - overlaps, 1 - SAME):
            met[seen[j][0]][here.ids[i]] += 1
            keep[j] = here.counts[i]
        counted = np.flatnonzero(here.counts)
        ids = [objects.setdefault(here.ids[i], len(objects)) for i in counted]
        own = [tracks.setdefault(t, len(tracks)) for (t, _), kept in zip(seen, keep) if kept]
        data["gt_ids"].append(np.array(ids, int))
        data["tracker_ids"].append(np.array(own, int))
        data["similarity_scores"].append(overlaps[counted][:, keep])
    data["num_timesteps"] = result.pictures
    data["num_gt_ids"], data["num_tracker_ids"] = len(objects), len(tracks)
    data["num_gt_dets"] = sum(map(len, data["gt_ids"]))
    data["num_tracker_dets"] = sum(map(len, data["tracker_ids"]))
    return data, met


def rivals(detector: Any, model: Sequence[str], threads: int | None) -> Iterator[tuple[str, Any]]:
    """The same detector with its network run by another runtime, of each that is installed and
    reads it: OpenCV's dnn as ONNX, ncnn its own files.
    """
    from copy import copy

    for name, make in (("opencv", _OpenCV), ("ncnn", _Ncnn)):
        try:
            session = make(detector.session, model, threads or os.cpu_count() or 1)
        except ImportError:
            continue
        except Exception as error:  # of bindings, which raise all sorts for what they do not read
            yield name, " ".join(str(error).split())[:200]
            continue
        other = copy(detector)
        other.session = session
        yield name, other


class _OpenCV:
    """A session's inputs, outputs and run() by OpenCV's dnn."""

    def __init__(self, session: Any, model: Sequence[str], threads: int) -> None:
        import tempfile

        import cv2

        self.inputs, self.outputs = session.inputs, session.outputs
        cv2.setNumThreads(threads)
        with tempfile.TemporaryDirectory() as folder:
            path = model[0]  # as it is, if that is ONNX: OpenCV reads older forms best
            if not path.endswith(".onnx"):
                path = os.path.join(folder, "model.onnx")
                _convert(model, path)
            self._net = cv2.dnn.readNetFromONNX(path)
        self.run(np.zeros([n or 1 for n in self.inputs[0].shape], np.float32))

    def run(self, x: Array) -> list[Array]:
        if len(self.inputs[0].shape) == 3:  # a network without batches
            return self._forward(x)
        results = [self._forward(image[None]) for image in x]  # of fixed networks, too
        return [np.concatenate(arrays) for arrays in zip(*results)]

    def _forward(self, x: Array) -> list[Array]:
        self._net.setInput(x)
        return list(self._net.forward([value.name for value in self.outputs]))


def _convert(model: Sequence[str], path: str) -> None:
    from .. import convert

    convert(model[0], model[1] if len(model) > 1 else None, path)


class _Ncnn:
    """The same by ncnn, if the model is ncnn's."""

    def __init__(self, session: Any, model: Sequence[str], threads: int) -> None:
        import ncnn  # type: ignore[import-not-found]

        if not model[0].endswith(".param"):
            raise ValueError("reads no other runtime's models")
        self.inputs, self.outputs = session.inputs, session.outputs
        self._ncnn, self._net = ncnn, ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.load_param(model[0])
        self._net.load_model(model[1])

    def run(self, x: Array) -> list[Array]:
        """Of one picture [C, H, W]: ncnn has no batches."""
        extractor = self._net.create_extractor()
        extractor.input(self.inputs[0].name, self._ncnn.Mat(np.ascontiguousarray(x)))
        return [np.array(extractor.extract(value.name)[1]) for value in self.outputs]
