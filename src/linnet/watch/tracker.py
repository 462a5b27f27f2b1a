"""Which detections of one picture are the same objects as those of the pictures before.

A Kalman filter for each object and an association in two steps, first of the detections that are
sure, then of those that are not with the objects that are left: ByteTrack (Zhang et al., 2022).
Boxes are widened before they are compared, as in C-BIoU (Yang et al., 2023), since at the rates of
a small board an object leaves its box from one picture to the next, and the more the longer it was
out of sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _boxes, _watch

Array = npt.NDArray[np.float32]

ACCELERATION = 1.2  # of an object, in its heights a second squared: deviation
SHRUNK = 2.0  # times smaller, as a logarithm, that an object may become in a second
MEASURED = 0.06  # deviation of a detector's edges, in heights, at a score of a half
WIDENED = 0.3  # of a box's size, on both sides together, before it is compared
LOST, NEW, WIDEST = 0.5, 3.0, 2.0  # more for each second, of a new object's; at most
LIKENESS = 0.1  # overlap of widened boxes that may be the same object
OTHER_KIND = 0.45  # what a detection of another class must have more of it
AGAIN = 0.6  # overlap with a followed object that a detection cannot have as a new one
HIDDEN = 0.4  # seconds after which an object that is not detected is out of sight
CLOSE = 0.4  # overlap, not widened, with a detection that is not sure
WITHIN = 0.8  # part of a detection within an object of its class that is only a part of that object
SPAN = 1.5  # seconds that the speed of a lost object is taken from
SLOWED = 4.0  # seconds in which an object out of sight loses most of its speed
HITS = 3  # detections that make an object certain
FADE = 0.9  # of votes on an object's class from one to the next
COLOURED = 4.0  # likeness that a difference of all colours by their whole range takes
FRESH = 0.2  # of a track's colours that its last detection gives
EDGE = 0.03  # of an object's height that it may be from the edge of the picture it touches
LEAVING = 0.2  # heights a second that it goes over that edge with
LONGEST = 512  # points of a path; a longer one keeps every second


@dataclass(eq=False)
class Track:
    """An object that is followed.

    evidence: the sum of the scores of all detections that were sure; origin: float32 [4], the mean
    of the first boxes.
    box: float32 [4], x0, y0, x1, y1 in pixels, where it is or must be; score: its last detection's.
    seen: when it was last detected; looked: when a detector last looked there; hits: how often it
    was detected.
    path: (time, x, y) of the middle of its lower edge. leaving: it was going out of the picture.
    """

    id: int
    began: float
    seen: float
    looked: float
    box: Array
    label: int
    score: float
    votes: Array
    hits: int = 1
    leaving: bool = False
    evidence: float = 0.0
    path: list[tuple[float, float, float]] = field(default_factory=list)
    colours: Array | None = None
    origin: Array = field(default_factory=lambda: np.zeros(4, np.float32))

    @property
    def present(self) -> bool:
        """Whether it was there when a detector last looked, or hardly before."""
        return self.looked - self.seen < HIDDEN

    @property
    def certain(self) -> bool:
        return self.hits >= HITS


class Found(NamedTuple):
    """Detections in pixels of the picture; colours: what _watch.colours() has of them, if known."""

    boxes: Array  # float32 [N, 4]: x0, y0, x1, y1
    scores: Array  # float32 [N]
    classes: npt.NDArray[np.int32]  # [N]
    colours: Array | None = None  # float32 [N, K]


class _Filter:
    """Constant velocity for the middle, width and height of all boxes: each number has a filter of
    its own.

    The covariance of four numbers that neither move nor are measured together is that of each
    alone, 2x2: a, b; b, c.
    """

    def __init__(self) -> None:
        self.at = np.zeros((0, 4))
        self.speed, self.a, self.b, self.c = (np.zeros((0, 4)) for _ in range(4))

    def predict(self, passed: float, lost: npt.NDArray[np.bool_]) -> None:
        """passed: seconds; lost: bool [N], which are out of sight. A size changes for one time
        after a detection only.
        """
        noise = (ACCELERATION * self.at[:, 3:]) ** 2
        self.speed[lost] *= np.exp(-passed / SLOWED)
        self.at += passed * self.speed
        self.speed[:, 2:] = 0
        self.at[:, 2:] = np.maximum(self.at[:, 2:], 1)
        self.a += passed * (2 * self.b + passed * self.c) + noise * passed**3 / 3
        self.b += passed * self.c + noise * passed**2 / 2
        self.c += noise * passed

    def correct(
        self, tracks: Sequence[int], boxes: Array, scores: Array, passed: npt.NDArray[np.float64]
    ) -> None:
        """The less sure a detection is the less it counts: GIAOTracker (Du et al., 2021)."""
        rows = np.asarray(tracks, int)
        measured = _middles(_completed(boxes, self.boxes()[rows], np.exp(-SHRUNK * passed)))
        a, b = self.a[rows], self.b[rows]
        doubt = np.maximum(2 * (1 - scores[:, None].astype(np.float64)), 0.1)
        sure = a + doubt * (MEASURED * measured[:, 3:]) ** 2
        off = measured - self.at[rows]
        self.at[rows] += a / sure * off
        self.speed[rows] += b / sure * off
        self.c[rows] -= b * b / sure
        self.b[rows] = b * (1 - a / sure)
        self.a[rows] = a * (1 - a / sure)

    def add(self, boxes: Array) -> None:
        middles = _middles(boxes)
        height = middles[:, 3:].repeat(4, axis=1)
        fresh = (middles, 0 * height, (2 * MEASURED * height) ** 2, 0 * height, (1.5 * height) ** 2)
        state = (self.at, self.speed, self.a, self.b, self.c)
        self.at, self.speed, self.a, self.b, self.c = (
            np.vstack(pair) for pair in zip(state, fresh)
        )

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        self.at, self.speed, self.a, self.b, self.c = (
            values[rows] for values in (self.at, self.speed, self.a, self.b, self.c)
        )

    def leaving(self, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """bool [N]: which boxes touch an edge of the picture and have their opposite side move
        towards it.
        """
        height, width = size
        near, fast = EDGE * self.at[:, 3:], LEAVING * self.at[:, 3:]
        low, high = self.at[:, :2] - self.at[:, 2:] / 2, self.at[:, :2] + self.at[:, 2:] / 2
        out = (low <= near) & (-self.speed[:, :2] - self.speed[:, 2:] / 2 > fast)
        out |= (high >= [width, height] - near) & (self.speed[:, :2] - self.speed[:, 2:] / 2 > fast)
        return np.asarray(out.any(axis=1))

    def boxes(self) -> Array:
        half = self.at[:, 2:] / 2
        return np.hstack([self.at[:, :2] - half, self.at[:, :2] + half]).astype(np.float32)


def _completed(boxes: Array, expected: Array, part: npt.NDArray[np.float64]) -> Array:
    """Detections that are smaller than a part [N, 1] of the boxes expected, since something hides
    the rest, grown to it over that edge which is farther from where it was expected.
    """
    grown = boxes.copy()
    least = part.astype(np.float32) * (expected[:, 2:] - expected[:, :2])
    lack = np.maximum(least - (boxes[:, 2:] - boxes[:, :2]), 0)
    off = np.abs(boxes - expected)
    low = off[:, :2] > off[:, 2:]
    grown[:, :2] -= np.where(low, lack, 0)
    grown[:, 2:] += np.where(low, 0, lack)
    return grown


def _middles(boxes: Array) -> npt.NDArray[np.float64]:
    wide = boxes.astype(np.float64)
    return np.hstack([(wide[:, :2] + wide[:, 2:]) / 2, wide[:, 2:] - wide[:, :2]])


class Tracker:
    """Follows objects.

    classes: how many there are; sure: score from which a detection alone can be an object; memory:
    seconds for which one out of sight is remembered.
    """

    def __init__(self, classes: int, sure: float = 0.5, memory: float = 5.0) -> None:
        self.classes, self.sure, self.memory = classes, sure, memory
        self.tracks: list[Track] = []
        self._filter = _Filter()
        self._time: float | None = None
        self._next = 1
        self.size: tuple[int, int] | None = None  # height and width of the picture, once known

    def predict(self, time: float) -> Array:
        """float32 [N, 4]: where the tracks are at a time that is not before the last one."""
        if self._time is not None and time > self._time:
            lost = np.array([track.seen < self._time for track in self.tracks], bool)
            self._filter.predict(time - self._time, lost)
        self._time = time
        boxes = self._filter.boxes()
        for track, box in zip(self.tracks, boxes):
            track.box = box
        return boxes

    def update(
        self,
        time: float,
        found: Found,
        looked: npt.NDArray[np.bool_] | None = None,
        fresh: npt.NDArray[np.bool_] | None = None,
    ) -> list[Track]:
        """Takes in what was found in a picture; returns the tracks that ended, out of `tracks` now.

        looked: bool [tracks], whether a detector has looked where each track is; by default it has.
        fresh: bool [N], which detections may be new objects; by default all.
        """
        boxes, scores, labels, _ = found
        if looked is None:
            looked = np.ones(len(self.tracks), bool)
        predicted = self.predict(time)
        if not self.tracks and not len(boxes):
            return []
        high = scores >= self.sure
        free = np.ones(len(boxes), bool)
        likeness = self._likeness(time, predicted, boxes, labels)
        close = self._close(predicted, found)
        if found.colours is not None and self.tracks:
            apart = self._apart(found.colours)
            likeness = np.where(likeness >= LIKENESS, np.maximum(likeness - apart, LIKENESS), 0)
            close = np.where(close > 0, np.maximum(close - apart, LIKENESS), 0)
        certain = np.array([track.certain for track in self.tracks], bool)
        open_ = np.ones(len(self.tracks), bool)
        recent = np.array([time - track.seen < 1.0 for track in self.tracks], bool)
        pairs: list[tuple[int, int]] = []
        for of_tracks, of_boxes in (
            (certain, high),
            (certain & recent, ~high),
            (~certain, high),
            (~certain, ~high),
        ):
            rows, columns = np.flatnonzero(of_tracks & open_), np.flatnonzero(of_boxes & free)
            if len(rows) and len(columns):
                table = likeness if of_boxes is high else close
                cost = np.ascontiguousarray(1 - table[np.ix_(rows, columns)])
                for i, j in _watch.assign(cost, 1 - LIKENESS):
                    pairs.append((int(rows[i]), int(columns[j])))
                    open_[rows[i]] = free[columns[j]] = False
        self._match(time, pairs, found)
        self._filter.speed[open_ & ~looked] = 0  # nobody looks where nothing moves
        for i in map(int, np.flatnonzero(open_ & looked)):
            if self.tracks[i].looked == self.tracks[i].seen:
                self._filter.speed[i, :2] = _speed(self.tracks[i], self._filter.speed[i, :2])
        gone = self._drop(time, open_ & looked)
        self._begin(time, free & high & (True if fresh is None else fresh), found)
        return gone

    def _likeness(
        self, time: float, predicted: Array, boxes: Array, labels: npt.NDArray[np.int32]
    ) -> Array:
        seen = np.array([track.seen for track in self.tracks])
        kinds = np.array([track.label for track in self.tracks], int)
        each = np.array([LOST if track.certain else NEW for track in self.tracks], np.float32)
        parts = np.minimum(WIDENED + each * np.maximum(time - seen, 0), WIDEST).round(1)
        result: Array = _boxes.overlaps(predicted, boxes, parts.astype(np.float32))
        return np.where(kinds[:, None] == labels[None], result, result - OTHER_KIND).astype(
            np.float32
        )

    def _close(self, predicted: Array, found: Found) -> Array:
        """Likeness with what is not sure: none unless it is just where an object must be."""
        kinds = np.array([track.label for track in self.tracks], int)
        result: Array = _boxes.overlaps(predicted, found.boxes)
        good = (result >= CLOSE) & (kinds[:, None] == found.classes[None])
        return np.where(good, result, 0).astype(np.float32)

    def _apart(self, colours: Array) -> Array:
        """float32 [tracks, N]: how much less likely colours make that two are the same."""
        known = [track.colours for track in self.tracks]
        own = np.array([colours[0] if c is None else c for c in known], np.float32)
        differ = np.abs(own[:, None] - colours[None]).mean(axis=2)
        differ[[c is None for c in known]] = 0
        return np.asarray(COLOURED * differ, np.float32)

    def _match(self, time: float, pairs: Sequence[tuple[int, int]], found: Found) -> None:
        if not pairs:
            return
        boxes, scores, labels, colours = found
        rows, columns = [i for i, _ in pairs], [j for _, j in pairs]
        passed = np.array([[time - self.tracks[i].seen] for i in rows])
        self._filter.correct(rows, boxes[columns], scores[columns], passed)
        now = self._filter.boxes()
        leaving = self._filter.leaving(self.size) if self.size else np.zeros(len(now), bool)
        for i, j in pairs:
            track = self.tracks[i]
            track.seen = track.looked = time
            track.score, track.box = float(scores[j]), now[i]
            if colours is not None:
                old = colours[j] if track.colours is None else track.colours
                track.colours = old + FRESH * (colours[j] - old)
            track.hits, track.leaving = track.hits + 1, bool(leaving[i])
            if track.hits <= HITS:
                track.origin = track.origin + (boxes[j] - track.origin) / track.hits
            track.evidence += track.score if track.score >= self.sure else 0.0
            track.votes *= FADE
            track.votes[labels[j]] += scores[j]
            track.label = int(track.votes.argmax())
            _extend(track, time)

    def _drop(self, time: float, missed: npt.NDArray[np.bool_]) -> list[Track]:
        """Ends tracks that were missed: those that are not certain at the second time, others after
        the memory.
        """
        for track, miss in zip(self.tracks, missed):
            track.looked = time if miss else track.looked
        keep = np.array(
            [track.present or self._remembered(time, track) for track in self.tracks], bool
        )
        gone = [track for track, kept in zip(self.tracks, keep) if not kept]
        self.tracks = [track for track, kept in zip(self.tracks, keep) if kept]
        self._filter.keep(keep)
        return gone

    def _remembered(self, time: float, track: Track) -> bool:
        """Whether an object out of sight may come back: not once it has left the picture."""
        if not track.certain or track.leaving or time - track.seen > self.memory:
            return False
        middle = (track.box[:2] + track.box[2:]) / 2
        return self.size is None or bool((middle > 0).all() and (middle < self.size[::-1]).all())

    def _parts(self, boxes: Array, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """bool [N]: which detections are of objects that are followed, or of parts of such."""
        present = np.array([track.present for track in self.tracks], bool)
        kinds = np.array([track.label for track in self.tracks], int)
        known = self._filter.boxes()
        same = _boxes.overlaps(boxes, known) >= AGAIN
        part = (_boxes.covered(boxes, known) >= WITHIN) & (labels[:, None] == kinds[None])
        return np.asarray(((same | part) & present[None]).any(axis=1))

    def _begin(self, time: float, new: npt.NDArray[np.bool_], found: Found) -> None:
        boxes, scores, labels, colours = found
        if self.tracks and new.any():
            new = new & ~self._parts(boxes, labels)
        if not new.any():
            return
        self._filter.add(boxes[new])
        for i in map(int, np.flatnonzero(new)):
            box, score, label = boxes[i], scores[i], labels[i]
            votes = np.zeros(self.classes, np.float32)
            votes[label] = score
            track = Track(self._next, time, time, time, box, int(label), float(score), votes)
            track.origin, track.evidence = box, track.score
            track.colours = None if colours is None else colours[i]
            _extend(track, time)
            self.tracks.append(track)
            self._next += 1


def _speed(track: Track, now: Any) -> Any:
    """Of an object that is lost, pixels a second: over the last SPAN, since the last detections may
    have been of parts of it; `now` if it has not been seen for long.
    """
    recent = np.array([point for point in track.path if point[0] >= track.seen - SPAN])
    if len(recent) < 4 or recent[-1, 0] - recent[0, 0] < SPAN / 3:
        return now
    off = recent - recent.mean(axis=0)
    return (off[:, :1] * off[:, 1:]).sum(axis=0) / (off[:, 0] ** 2).sum()


def _extend(track: Track, time: float) -> None:
    x0, _, x1, y1 = (float(n) for n in track.box)
    track.path.append((time, (x0 + x1) / 2, y1))
    if len(track.path) > LONGEST:
        del track.path[1:-1:2]
