"""Tracks become visits, zones are entered and left."""

from __future__ import annotations

import numpy as np
import pytest
from yards import picture

from linnet.watch import Frame, Tracker, Zone
from linnet.watch.tracker import Found
from linnet.watch.visits import Event, Visits

RATE, DATE = 10, 1e9


def watch(xs, zones=(), score: float = 0.9) -> tuple[Visits, list[Event]]:
    """One walker with its middle at each x in turn, None when it is not there."""
    tracker, visits, events = Tracker(2), Visits(["person", "cat"], zones, first=7), []
    for index, x in enumerate(xs):
        rgb = picture() if x is None else picture((x, 90))
        frame = Frame(index, index / RATE, DATE + index / RATE, rgb[..., 1], rgb.view)
        rows = [] if x is None else [[x - 6, 60, x + 6, 90]]
        boxes = np.array(rows, np.float32).reshape(-1, 4)
        found = Found(boxes, np.full(len(rows), score, np.float32), np.zeros(len(rows), np.int32))
        gone = tracker.update(frame.time, found)
        events += visits.update(frame, tracker.tracks, gone)
    return visits, events + visits.finish(frame, tracker.tracks)


def kinds(events) -> list[tuple[str, str | None]]:
    return [(event.kind, event.zone) for event in events]


def test_a_walker_is_a_visit_with_a_path_and_a_picture():
    _, events = watch([10 + 4 * i for i in range(30)] + [None] * 60)
    assert kinds(events) == [("began", None), ("ended", None)]
    visit = events[-1].visit
    assert (visit.id, visit.label) == (7, "person")
    assert visit.began == DATE
    assert visit.ended == pytest.approx(DATE + 2.9)
    assert visit.path[0] == (0.0, 10.0, 90.0)
    assert visit.path[-1] == (
        pytest.approx(2.9),
        pytest.approx(126, abs=3),
        pytest.approx(90, abs=1),
    )
    assert visit.picture is not None
    x0, y0, x1, y1 = (round(n) for n in visit.box)
    reddish = visit.picture[y0:y1, x0:x1, 0] > 200
    assert reddish.mean() > 0.8


def test_what_stands_is_scenery_and_what_is_hardly_seen_is_nothing():
    assert watch([60 + (i % 2) for i in range(50)])[1] == []
    assert watch([None] * 5 + [60, 64, 68] + [None] * 60)[1] == []


def test_zones_are_entered_and_left_and_only_their_visits_reported():
    gate = Zone("gate", [(60, 0), (100, 0), (100, 120), (60, 120)])
    _, events = watch([10 + 4 * i for i in range(36)], [gate])
    assert kinds(events) == [
        ("began", None),
        ("entered", "gate"),
        ("left", "gate"),
        ("ended", None),
    ]
    visit = events[-1].visit
    ((name, entered, left),) = visit.zones
    assert name == "gate"
    assert DATE < entered < left < visit.ended
    assert visit.began == DATE  # when it was first seen, not when it entered
    far = Zone("far", [(0, 0), (150, 0), (150, 20)])
    assert watch([10 + 4 * i for i in range(36)], [far])[1] == []


def test_a_zone_that_is_taken_away_is_left_at_once():
    gate = Zone("gate", [(60, 0), (160, 0), (160, 120), (60, 120)])
    door = Zone("door", [(0, 0), (1, 0), (1, 1)])
    tracker, visits = Tracker(2), Visits(["person", "cat"], [gate])
    events = []
    for index in range(30):
        x = 10 + 4 * index
        rgb = picture((x, 90))
        frame = Frame(index, index / RATE, DATE + index / RATE, rgb[..., 1], rgb.view)
        found = Found(np.float32([[x - 6, 60, x + 6, 90]]), np.float32([0.9]), np.int32([0]))
        if index == 20:
            visits.zones = [door]
        events += visits.update(frame, tracker.tracks, tracker.update(frame.time, found))
    assert kinds(events) == [("began", None), ("entered", "gate"), ("left", "gate")]
    assert visits.open[0].zones == [("gate", events[1].date, DATE + 2.0)]


def test_a_visit_that_ends_in_a_zone_leaves_it():
    gate = Zone("gate", [(60, 0), (160, 0), (160, 120), (60, 120)])
    _, events = watch([10 + 3 * i for i in range(36)], [gate])
    visit = events[-1].visit
    assert visit.zones[0][2] == visit.ended


def test_events_are_data():
    gate = Zone("gate", [(60, 0), (100, 0), (100, 120), (60, 120)])
    event = watch([10 + 4 * i for i in range(36)], [gate])[1][1]
    data = event.to_dict()
    assert data["event"] == "entered"
    assert data["zone"] == "gate"
    assert (
        data["zones"] == [{"zone": "gate", "entered": data["date"], "left": None}] or data["zones"]
    )
    assert set(data) >= {"id", "label", "score", "began", "seen", "ended", "box", "path"}


def test_zones_are_polygons():
    zone = Zone.parse("front door:10,10,50,10,50,40,30,20,10,40")
    assert zone.name == "front door"
    assert (12, 20) in zone
    assert (30, 30) not in zone  # the notch
    assert (60, 20) not in zone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate", "expected NAME:x,y"),
        ("gate:1,2,3,4", "at least three corners"),
        ("gate:1,2,3,4,5", "expected NAME:x,y"),
        ("gate:1,2,3,4,5,nan", "at least three corners"),
        (":1,2,3,4,5,6", "a name is"),
        ("a\nb:1,2,3,4,5,6", "a name is"),
    ],
)
def test_bad_zones_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Zone.parse(text)


def test_a_zone_outside_the_picture_is_refused():
    zone = Zone("gate", [(0, 0), (640, 0), (640, 480)])
    zone.check((480, 640))
    with pytest.raises(ValueError, match="'gate': corner 640,0 is outside the picture of 320x240"):
        zone.check((240, 320))
