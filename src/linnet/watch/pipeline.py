"""From pictures to events.

Three threads: one takes pictures from the source and sees what moves, one detects, follows and
judges, one writes to disk. Between the first two there is room for one picture: of a camera the
newest, so that nothing is ever late, of a video the next.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Callable, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .. import _boxes, _watch
from .gate import Gate, Motion
from .regions import cut, windows
from .sources import Array, Frame, Reader, Source
from .store import Recorder, Store
from .tracker import Found, Track, Tracker
from .visits import Event, Visits, Zone

SURE = 0.5  # score of a detection that alone can be an object
UNSURE = 0.5  # of that, for a detection that an object is followed by
RATE = 15.0  # pictures a second that are looked at; more tell nothing new
REST = 1.0  # seconds after which a detector looks again at what stands still
WINDOWS = 3  # at most, in one picture
SAME = 0.5  # overlap of two detections of one thing in windows that overlap
SAVED = 10.0  # seconds after which the state of a visit that goes on is stored
PERIOD = 0.2  # seconds in which a request to stop is noticed


class Finder(Protocol):
    """What linnet.detect.Detector is: pictures, uint8 RGB [H, W, 3], to boxes, scores and classes
    of each.
    """

    labels: Any
    size: tuple[int, int]

    def __call__(self, images: Sequence[Array]) -> Sequence[Any]: ...


class Look(NamedTuple):
    """All that is known of a picture; what a listener gets."""

    frame: Frame
    motion: Motion
    windows: list[tuple[int, int, int, int]]  # where the detector looked: x0, y0, x1, y1
    detections: int
    tracks: list[Track]
    events: list[Event]


class Clock:
    """Seconds and calls of every stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - began
        self.calls[stage] += 1


class Watch:
    """Watches a source.

    detector: a linnet.detect.Detector. zones: only visits to them are reported; without, all are.
    store: where visits are kept. sure: score from which a detection alone can be an object. rate:
    pictures a second of a camera that are looked at, at most. gate: without, all of every picture
    is looked at. say: told in a sentence what an owner should know, as that the camera is lost.
    listeners: called with a Look for every picture, in the thread that events() runs in. sensors:
    called with every picture, those that are dropped as well, in the thread that takes them.
    drawn: more zones, by name, corners in parts of the picture's width and height; another mapping
    may be assigned at any time, from any thread.
    """

    def __init__(
        self,
        source: Source,
        detector: Finder,
        *,
        zones: Iterable[Zone] = (),
        store: Store | None = None,
        sure: float = SURE,
        rate: float | None = RATE,
        gate: bool = True,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.source, self.detector, self.store, self.say = source, detector, store, say
        self.zones, self.rate = list(zones), rate
        self.drawn: Mapping[str, Sequence[tuple[float, float]]] = store.drawn() if store else {}
        self.clock = Clock()
        self.listeners: list[Callable[[Look], None]] = []
        self.sensors: list[Callable[[Frame], None]] = []
        self.frames = self.dropped = 0  # pictures looked at, and those there was no time for
        self._gate = Gate() if gate else None
        self._tracker = Tracker(len(detector.labels), sure)
        first = store.next_id if store else 1
        self._visits = Visits(detector.labels, self.zones, first)
        self._size: tuple[int, int] | None = None
        self._applied: Any = None  # what of `drawn` the visits know
        self._moving: set[int] = set()  # tracks where something moved in the last picture
        self._stop = threading.Event()

    @property
    def all_zones(self) -> list[Zone]:
        """Those given and those drawn, once there was a picture."""
        return self._visits.zones

    def stop(self) -> None:
        """Has events() end soon; from any thread, or a handler of signals."""
        self._stop.set()

    def events(self) -> Generator[Event, None, None]:
        """Watches until the source ends or stop() is called; then all visits end, and everything is
        stored.

        ValueError or OSError if the source cannot be opened, or, where it is no camera, fails.
        """
        recorder = Recorder(self.store, self.source.name, self.say) if self.store else None
        saved: dict[int, float] = {}
        last: Frame | None = None
        try:
            with Reader(self.source, self._sense, self.say, self.rate) as reader:
                while not self._stop.is_set():
                    try:
                        taken = reader.take(PERIOD)
                    except EOFError:
                        break
                    if taken is None:
                        continue
                    last, motion = taken
                    self.dropped = reader.dropped
                    events = self.look(last, motion)
                    if recorder:
                        self._record(recorder, events, saved, last.time)
                    yield from events
        finally:
            events = self.finish(last) if last else []
            if recorder:
                self._record(recorder, events, saved, 0.0)
                lost = recorder.close()
                if lost:
                    self.say(f"{lost} events could not be stored")
        yield from events

    def _record(
        self, recorder: Recorder, events: Sequence[Event], saved: dict[int, float], time: float
    ) -> None:
        due = {event.visit.id: event.visit for event in events}
        for visit in self._visits.open:
            if time - saved.get(visit.id, time) >= SAVED:
                due[visit.id] = visit
            saved.setdefault(visit.id, time)
        for number, visit in due.items():
            recorder.put(visit, [event for event in events if event.visit is visit])
            saved[number] = time
            if visit.ended is not None:
                saved.pop(number)

    def _sense(self, frame: Frame) -> Motion:
        for sensor in self.sensors:
            sensor(frame)
        with self.clock("gate"):
            return self.sense(frame)

    def sense(self, frame: Frame) -> Motion:
        """What moves in the next picture."""
        if self._gate is None:
            return Motion(np.array([[0, 0, frame.size[1], frame.size[0]]], np.float32), False)
        return self._gate(frame.luma, frame.time)

    def look(self, frame: Frame, motion: Motion) -> list[Event]:
        """Detects, follows, judges. ValueError if a zone is outside the picture."""
        drawn = self.drawn
        if frame.size != self._size or drawn is not self._applied:
            for zone in self.zones:
                zone.check(frame.size)
            more = [Zone.scaled(name, points, frame.size) for name, points in drawn.items()]
            self._visits.zones = self.zones + more
            self._size, self._applied = frame.size, drawn
            self._tracker.size = frame.size
        with self.clock("regions"):
            parts = self._windows(frame, motion)
        found = self._detect(frame, parts) if parts else _NOTHING
        with self.clock("track"):
            gone = self._follow(frame, motion, parts, found)
        with self.clock("visits"):
            events = self._visits.update(frame, self._tracker.tracks, gone)
        self.frames += 1
        if self.listeners:
            look = Look(frame, motion, parts, len(found[0]), list(self._tracker.tracks), events)
            for listener in self.listeners:
                listener(look)
        return events

    def finish(self, frame: Frame) -> list[Event]:
        """Ends all visits; the last picture tells the date."""
        return self._visits.finish(frame, self._tracker.tracks)

    def _windows(self, frame: Frame, motion: Motion) -> list[tuple[int, int, int, int]]:
        height, width = frame.size
        if self._gate is None or motion.sudden:
            return [(0, 0, width, height)]
        tracks = self._tracker.tracks
        boxes = self._tracker.predict(frame.time)
        moved = _touched(boxes, motion.boxes)
        due = np.array([self._due(frame.time, t, m) for t, m in zip(tracks, moved)], bool)
        self._moving = {track.id for track, now in zip(tracks, moved) if now}
        inside = np.clip(boxes[due], 0, [width, height, width, height])
        inside = inside[(inside[:, 2:] > inside[:, :2]).all(axis=1)]
        wanted = np.vstack([motion.boxes, inside]).astype(np.float32)
        return windows(wanted, frame.size, self.detector.size, WINDOWS)

    def _due(self, time: float, track: Track, moved: bool) -> bool:
        """Whether to look where a track is: while something moves there and once after, until it is
        certain that it is there or not; now and then while it stands still.
        """
        if moved or not track.certain or track.id in self._moving:
            return True
        return track.present and (track.looked > track.seen or time - track.looked >= REST)

    def _detect(self, frame: Frame, parts: Sequence[tuple[int, int, int, int]]) -> Found:
        with self.clock("convert"):
            rgb = frame.rgb()
            crops = [rgb[y0:y1, x0:x1] for x0, y0, x1, y1 in parts]
        with self.clock("detect"):
            results = self.detector(crops)
        boxes, scores, classes, whole = [], [], [], []
        for part, found in zip(parts, results):
            moved = np.asarray(found[0], np.float32).reshape(-1, 4) + np.array(
                part[:2] * 2, np.float32
            )
            boxes.append(moved)
            scores.append(np.asarray(found[1], np.float32))
            classes.append(np.asarray(found[2], np.int32))
            whole.append(~cut(moved, part, frame.size))
        joined = Found(np.vstack(boxes), np.concatenate(scores), np.concatenate(classes))
        return joined if len(parts) == 1 else _once(joined, np.concatenate(whole))

    def _follow(
        self,
        frame: Frame,
        motion: Motion,
        parts: Sequence[tuple[int, int, int, int]],
        found: Found,
    ) -> list[Track]:
        looked = _covered(self._tracker.predict(frame.time), parts, frame.size)
        fresh = _touched(found.boxes, motion.boxes)
        if len(found.boxes):
            found = found._replace(colours=_watch.colours(frame.rgb(), found.boxes))
        return self._tracker.update(frame.time, found, looked=looked, fresh=fresh)


_NOTHING = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))


def _touched(
    boxes: npt.NDArray[np.float32], motion: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """bool [N]: in which boxes something moves."""
    return np.asarray((_boxes.covered(boxes, motion) > 0.05).any(axis=1))


def _covered(
    boxes: npt.NDArray[np.float32],
    parts: Sequence[tuple[int, int, int, int]],
    size: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """bool [N]: which boxes a detector looked at, most of what is in the picture in one window; or
    are outside of it.
    """
    height, width = size
    inside = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    empty = (inside[:, 2:] - inside[:, :2] < 1).any(axis=1)
    windows = np.array(parts, np.float32).reshape(-1, 4)
    return np.asarray(empty | (_boxes.covered(inside, windows) > 0.7).any(axis=1))


def _once(found: Found, whole: npt.NDArray[np.bool_]) -> Found:
    """Of detections of one thing in several windows the best, whole ones before those that a window
    cut.
    """
    order = np.lexsort((-found.scores, ~whole))
    same = _boxes.overlaps(found.boxes, found.boxes) > SAME
    part = _boxes.covered(found.boxes, found.boxes) > 0.7
    same |= part & ~whole[:, None]  # of a whole
    kept: list[int] = []
    for i in order:
        if not any(same[i, j] and found.classes[i] == found.classes[j] for j in kept):
            kept.append(int(i))
    return Found(found.boxes[kept], found.scores[kept], found.classes[kept])
