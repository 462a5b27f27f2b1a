"""From pictures to events, in order and in threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from yards import RATE, Pictures, RedBoxes, picture, video, walk

from linnet.watch import Look, Store, Watch, Zone, open_source
from linnet.watch.pipeline import _once
from linnet.watch.tracker import Found


def kinds(events) -> list[tuple[str, str | None]]:
    return [(event.kind, event.zone) for event in events]


def test_a_walk_is_one_visit():
    watch = Watch(Pictures(), RedBoxes())
    looks: list[Look] = []
    watch.listeners.append(looks.append)
    events = list(watch.events())
    assert kinds(events) == [("began", None), ("ended", None)]
    visit = events[-1].visit
    assert visit.label == "person"
    assert visit.began == pytest.approx(1e9 + 1.0, abs=0.2)
    assert visit.ended == pytest.approx(1e9 + 4.0, abs=0.4)
    assert visit.path[-1][1] > 140
    assert len(looks) == watch.frames == 60
    assert watch.dropped == 0
    assert [look.frame.index for look in looks] == list(range(60))
    still = [look for look in looks if look.frame.index < 9 or look.frame.index > 50]
    assert sum(bool(look.windows) for look in still) == 0  # no detector runs for nothing
    assert {"gate", "regions", "convert", "detect", "track", "visits"} == set(watch.clock.seconds)


def test_the_same_video_gives_the_same_events(tmp_path):
    path = video(tmp_path / "walk.mp4")
    first, second = (
        [event.to_dict() for event in Watch(open_source(path), RedBoxes()).events()]
        for _ in range(2)
    )
    assert first == second
    assert [event["event"] for event in first] == ["began", "ended"]


def test_without_the_gate_everything_is_looked_at():
    watch = Watch(Pictures(), RedBoxes(), gate=False)
    looks: list[Look] = []
    watch.listeners.append(looks.append)
    assert kinds(watch.events()) == [("began", None), ("ended", None)]
    assert all(look.windows == [(0, 0, 160, 120)] for look in looks)


def test_one_who_stands_still_stays_the_same_visitor():
    def stand(index: int):  # walks, stands for 6 s, walks on
        x = 5 * min(index, 20) + 5 * max(index - 80, 0)
        return picture((x, 90)) if x < 170 else picture()

    watch = Watch(Pictures(stand, 130), RedBoxes())
    rest: list[tuple[list[bool], bool]] = []

    def listen(look: Look) -> None:
        if 30 <= look.frame.index < 78:
            rest.append(([track.present for track in look.tracks], bool(look.windows)))

    watch.listeners.append(listen)
    assert kinds(watch.events()) == [("began", None), ("ended", None)]
    assert all(present == [True] for present, _ in rest)
    assert any(looked for _, looked in rest[:10])


def test_zones_and_snapshots_are_stored(tmp_path):
    store = Store(tmp_path)
    zones = [Zone("gate", [(60, 0), (100, 0), (100, 120), (60, 120)])]
    events = list(Watch(Pictures(), RedBoxes(), zones=zones, store=store).events())
    assert [kind for kind, _ in kinds(events)] == ["began", "entered", "left", "ended"]
    (stored,) = store.visits(zone="gate")
    assert stored["ended"] == pytest.approx(events[-1].visit.ended, abs=0.001)
    assert stored["source"] == "pictures"
    assert (tmp_path / stored["snapshot"]).stat().st_size > 1000
    store.close()
    store = Store(tmp_path)
    again = list(Watch(Pictures(), RedBoxes(), store=store).events())
    assert again[0].visit.id == stored["id"] + 1
    store.close()


def test_a_zone_outside_the_picture_is_refused():
    zone = Zone("gate", [(0, 0), (640, 0), (640, 480)])
    with pytest.raises(ValueError, match="'gate': corner 640,0 is outside the picture of 160x120"):
        list(Watch(Pictures(), RedBoxes(), zones=[zone]).events())


def test_stop_ends_visits_and_threads(tmp_path):
    store = Store(tmp_path)
    before = threading.active_count()
    watch = Watch(Pictures(count=100000, make=lambda i: walk(i % 100)), RedBoxes(), store=store)
    events = []
    for event in watch.events():
        events.append(event)
        watch.stop()
    assert kinds(events) == [("began", None), ("ended", None)]
    assert threading.active_count() == before
    (stored,) = store.visits()
    assert stored["ended"] is not None
    store.close()


def test_a_source_that_fails_is_an_error_after_what_was_seen(tmp_path):
    def fail(index: int):
        if index == 30:
            raise ValueError("yard.mp4: damaged")
        return walk(index)

    store = Store(tmp_path)
    events = []
    with pytest.raises(ValueError, match="damaged"):
        for event in Watch(Pictures(fail), RedBoxes(), store=store).events():
            events.append(event)
    assert kinds(events) == [("began", None)]
    assert store.visits()[0]["ended"] is not None
    store.close()


def test_a_switched_lamp_is_looked_at_once_and_no_visit():
    def lamp(index: int):
        return picture() if index < 20 else np.minimum(picture() * 1.6, 255).astype(np.uint8)

    watch = Watch(Pictures(lamp, 40), RedBoxes())
    looks: list[Look] = []
    watch.listeners.append(looks.append)
    assert list(watch.events()) == []
    assert [look.frame.index for look in looks if look.windows] == [20]


def test_one_thing_in_two_windows_is_found_once():
    boxes = np.float32([[10, 10, 30, 60], [11, 10, 31, 60], [10, 10, 20, 60], [80, 10, 100, 60]])
    found = Found(boxes, np.float32([0.6, 0.7, 0.95, 0.5]), np.int32([0, 0, 0, 0]))
    kept = _once(found, np.array([True, True, False, True]))
    assert kept.boxes.tolist() == boxes[[1, 3]].tolist()
    other = _once(found._replace(classes=np.int32([0, 1, 0, 0])), np.array([True] * 4))
    assert len(other.boxes) == 4  # of another class, or a part of less than half


def test_events_come_at_any_rate():
    for step in (1, 3, 6):
        made = Pictures(lambda i, step=step: walk(i * step), 60 // step)
        frames = list(made.frames())
        watch, events = Watch(made, RedBoxes()), []
        for frame in frames:
            frame.time = frame.index * step / RATE
            events += watch.look(frame, watch.sense(frame))
        events += watch.finish(frames[-1])
        assert kinds(events) == [("began", None), ("ended", None)], step
