"""Visits: who was there, from when until when, which way, in which zones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..text import short
from .sources import Array, Frame
from .tracker import Track

TRAVELLED = 0.6  # of its size that an object moves away or grows by: what stands is scenery
EVIDENCE = 2.5  # sum of the scores of the detections that make a visit
SURE = 2  # looks in a row before a zone counts as entered or left
BETTER = 1.3  # times as good as the snapshot a picture must be to replace it


class Zone:
    """A part of the picture with a name.

    points: corners (x, y) of a polygon, in pixels. A visitor is where the middle of its box's lower
    edge is.
    """

    def __init__(self, name: str, points: Sequence[tuple[float, float]]) -> None:
        if not name or not name.isprintable() or len(name) > 64:
            raise ValueError(f"zone {short(name)}: a name is 1 to 64 characters that can be read")
        if len(points) < 3 or not all(math.isfinite(n) for point in points for n in point):
            raise ValueError(f"zone {short(name)}: a zone has at least three corners x,y in pixels")
        self.name, self.points = name, [(float(x), float(y)) for x, y in points]

    @staticmethod
    def parse(text: str) -> Zone:
        """Of NAME:x,y,x,y,x,y..."""
        name, colon, numbers = text.rpartition(":")
        try:
            found = [float(number) for number in numbers.split(",")]
        except ValueError:
            found = []
        if not colon or not found or len(found) % 2:
            raise ValueError(
                f"zone {short(text)}: expected NAME:x,y,x,y,x,y with corners in pixels"
            )
        return Zone(name, list(zip(found[::2], found[1::2])))

    @staticmethod
    def scaled(name: str, points: Sequence[tuple[float, float]], size: tuple[int, int]) -> Zone:
        """Of corners in parts of a picture's width and height, for a picture of this height and
        width.
        """
        height, width = size
        return Zone(name, [(x * width, y * height) for x, y in points])

    def check(self, size: tuple[int, int]) -> None:
        """ValueError if a corner is outside a picture of this height and width."""
        height, width = size
        for x, y in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise ValueError(
                    f"zone {short(self.name)}: corner {x:g},{y:g} is outside the picture of "
                    f"{width}x{height} pixels"
                )

    def __contains__(self, point: tuple[float, float]) -> bool:
        x, y = point
        inside = False
        for (x0, y0), (x1, y1) in zip(self.points, [*self.points[1:], self.points[0]]):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                inside = not inside
        return inside


@dataclass(eq=False)
class Visit:
    """An object that came, moved and went; dates are seconds since 1970.

    box: x0, y0, x1, y1 in pixels of the snapshot; path: (seconds since `began`, x, y); zones:
    (name, entered, left or None). ended: None while it is there. picture: the best one so far, None
    once it is stored.
    """

    id: int
    track: int
    label: str
    score: float
    began: float
    seen: float
    box: tuple[float, ...]
    path: list[tuple[float, float, float]]
    zones: list[tuple[str, float, float | None]] = field(default_factory=list)
    ended: float | None = None
    picture: Array | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "label": self.label,
            "score": round(self.score, 3),
            "began": round(self.began, 3),
            "seen": round(self.seen, 3),
            "ended": self.ended if self.ended is None else round(self.ended, 3),
            "box": [round(n, 1) for n in self.box],
            "path": [[round(t, 2), round(x, 1), round(y, 1)] for t, x, y in self.path],
            "zones": [
                {"zone": name, "entered": round(entered, 3), "left": left}
                for name, entered, left in self.zones
            ],
        }


class Event(NamedTuple):
    """What has become of a visit: it `began`, `entered` or `left` a zone, or `ended`."""

    kind: str
    date: float
    visit: Visit
    zone: str | None = None

    def to_dict(self) -> dict[str, Any]:
        zone = {} if self.zone is None else {"zone": self.zone}
        return {"event": self.kind, "date": round(self.date, 3), **zone, **self.visit.to_dict()}


@dataclass(eq=False)
class _State:
    """Of a track: where it was at the last looks, its best picture, and its visit once there is
    one.
    """

    inside: dict[str, int] = field(
        default_factory=dict
    )  # looks in a row that say otherwise than `within`
    within: set[str] = field(default_factory=set)
    quality: float = 0.0
    stored: float = 0.0  # quality of the visit's picture
    box: tuple[float, ...] = ()
    score: float = 0.0
    picture: Array | None = None
    visit: Visit | None = None
    zones: list[tuple[str, float, float | None]] = field(default_factory=list)


class Visits:
    """Makes visits of tracks.

    With zones, a track becomes a visit when it is in one; without, when it is certain and has
    moved. `zones` may be assigned between two pictures.
    """

    def __init__(self, labels: Sequence[str], zones: Iterable[Zone] = (), first: int = 1) -> None:
        self.labels, self.zones, self._next = labels, list(zones), first
        self._states: dict[int, _State] = {}

    @property
    def open(self) -> list[Visit]:
        """Those that have not ended."""
        return [state.visit for state in self._states.values() if state.visit]

    def update(self, frame: Frame, tracks: Sequence[Track], gone: Sequence[Track]) -> list[Event]:
        """tracks: those that a detector has seen, now or before; gone: those that ended."""
        events: list[Event] = []
        for track in tracks:
            if track.seen == frame.time:
                events += self._seen(frame, track)
        for track in gone:
            events += self._ended(frame.date - frame.time, track)
        return events

    def finish(self, frame: Frame, tracks: Sequence[Track]) -> list[Event]:
        """Ends all visits, at the end of a source."""
        return [event for track in tracks for event in self._ended(frame.date - frame.time, track)]

    def _seen(self, frame: Frame, track: Track) -> list[Event]:
        state = self._states.setdefault(track.id, _State())
        self._look(frame, track, state)
        if state.visit is None and not (track.evidence >= EVIDENCE and _moved(track)):
            return []
        events = self._cross(frame.date, track, state)
        visit = state.visit
        if visit is None:
            if self.zones and not state.within:
                return []
            offset = frame.date - frame.time
            visit = state.visit = Visit(
                self._next, track.id, "", 0.0, offset + track.began, frame.date, (), [], state.zones
            )
            self._next += 1
            events.insert(0, ("began", None))
        self._copy(frame.date - frame.time, track, state, visit)
        return [Event(kind, frame.date, visit, zone) for kind, zone in events]

    def _look(self, frame: Frame, track: Track, state: _State) -> None:
        """Keeps the picture if it is the best of this track: sure of it, large, not at the edge."""
        x0, y0, x1, y1 = (float(n) for n in track.box)
        height, width = frame.size
        whole = x0 > 1 and y0 > 1 and x1 < width - 1 and y1 < height - 1
        quality = track.score * math.sqrt(max((x1 - x0) * (y1 - y0), 1.0)) * (1.0 if whole else 0.5)
        if quality > BETTER * state.quality:
            state.quality, state.picture, state.score = quality, frame.rgb(), track.score
            edges = np.clip([x0, y0, x1, y1], 0, [width, height, width, height])
            state.box = tuple(float(n) for n in edges)

    def _cross(self, date: float, track: Track, state: _State) -> list[tuple[str, str | None]]:
        """Zones entered and left, each as soon as some looks in a row agree."""
        events: list[tuple[str, str | None]] = []
        _, x, y = track.path[-1]
        for name in sorted(state.within - {zone.name for zone in self.zones}):  # zones that went
            state.within.discard(name)
            _leave(state.zones, name, date)
            events.append(("left", name))
        for zone in self.zones:
            inside = (x, y) in zone
            if inside == (zone.name in state.within):
                state.inside.pop(zone.name, None)
                continue
            state.inside[zone.name] = state.inside.get(zone.name, 0) + 1
            if state.inside[zone.name] < SURE:
                continue
            del state.inside[zone.name]
            if inside:
                state.within.add(zone.name)
                state.zones.append((zone.name, date, None))
            else:
                state.within.discard(zone.name)
                _leave(state.zones, zone.name, date)
            events.append(("entered" if inside else "left", zone.name))
        return events

    def _copy(self, offset: float, track: Track, state: _State, visit: Visit) -> None:
        visit.label, visit.seen = self.labels[track.label], offset + track.seen
        visit.path = [(time - track.began, x, y) for time, x, y in track.path]
        if state.quality > state.stored:
            visit.box, visit.score, visit.picture = state.box, state.score, state.picture
            state.stored, state.picture = state.quality, None

    def _ended(self, offset: float, track: Track) -> list[Event]:
        state = self._states.pop(track.id, None)
        if state is None or state.visit is None:
            return []
        visit = state.visit
        visit.ended = visit.seen = offset + track.seen
        for name in sorted(state.within):
            _leave(visit.zones, name, visit.ended)
        return [Event("ended", visit.ended, visit)]


def _moved(track: Track) -> bool:
    """Whether an object is away from where it appeared, or nearer or farther."""
    x0, y0, x1, y1 = (float(n) for n in track.origin)
    u0, v0, u1, v1 = (float(n) for n in track.box)
    size = math.sqrt(max((x1 - x0) * (y1 - y0), 1.0))
    away = math.hypot(u0 + u1 - x0 - x1, v0 + v1 - y0 - y1) / 2
    grown = abs(math.sqrt(max((u1 - u0) * (v1 - v0), 0.0)) - size)
    return max(away, grown) >= TRAVELLED * size


def _leave(zones: list[tuple[str, float, float | None]], name: str, date: float) -> None:
    place = max(i for i, zone in enumerate(zones) if zone[0] == name)
    zones[place] = (name, zones[place][1], date)
