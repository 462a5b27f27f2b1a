"""Detections become objects that keep their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from linnet import _watch
from linnet.watch.tracker import Found, Tracker

RATE = 10


def found(*rows: tuple[float, float, float, int]) -> Found:
    """Detections of people 20x50 pixels with their middle at x, y: x, y, score, class."""
    boxes = np.float32([[x - 10, y - 25, x + 10, y + 25] for x, y, _, _ in rows]).reshape(-1, 4)
    return Found(boxes, np.float32([r[2] for r in rows]), np.int32([r[3] for r in rows]))


def follow(frames, classes: int = 2, **options) -> tuple[Tracker, list[list[tuple[int, float]]]]:
    """Runs a tracker; what was present in each frame, with the middle's x."""
    tracker, seen = Tracker(classes, **options), []
    for index, rows in enumerate(frames):
        tracker.update(index / RATE, found(*rows))
        present = [t for t in tracker.tracks if t.certain and t.present]
        seen.append([(t.id, float(t.box[0] + t.box[2]) / 2) for t in present])
    return tracker, seen


def test_an_object_is_certain_after_three_detections_and_keeps_its_number():
    _, seen = follow([[(50 + 6 * i, 100, 0.9, 0)] for i in range(30)])
    assert seen[:2] == [[], []]
    assert [[n for n, _ in row] for row in seen[2:]] == [[1]] * 28
    assert all(abs(row[0][1] - (50 + 6 * i)) < 4 for i, row in enumerate(seen) if i > 5)


def test_two_that_cross_keep_their_numbers():
    frames = [[(20 + 10 * i, 100, 0.9, 0), (320 - 10 * i, 112, 0.8, 0)] for i in range(31)]
    _, seen = follow(frames)
    first, last = dict(seen[5]), dict(seen[-1])
    assert set(first) == set(last)
    left = min(first, key=lambda number: first[number])
    assert last[left] > 300


def test_one_that_was_hidden_comes_back_with_its_number():
    frames = [[(20 + 5 * i, 100, 0.9, 0)] if not 15 <= i < 40 else [] for i in range(60)]
    _, seen = follow(frames)
    assert seen[25] == []
    assert [n for n, _ in seen[50]] == [1]


def test_after_the_memory_it_is_another_and_out_of_the_picture_at_once():
    frames = [[(100, 100, 0.9, 0)]] * 10 + [[]] * 25 + [[(100, 100, 0.9, 0)]] * 10
    _, seen = follow(frames, memory=2.0)
    assert [n for n, _ in seen[-1]] == [2]
    tracker = Tracker(1)
    tracker.size = (200, 200)
    for index in range(10):
        tracker.update(index / RATE, found((150 + 5 * index, 100, 0.9, 0)))
    ended = [tracker.update((10 + i) / RATE, found()) for i in range(15)]
    assert [len(gone) for gone in ended].count(1) == 1
    assert not tracker.tracks


def test_detections_that_are_not_sure_keep_an_object_but_begin_none():
    _, seen = follow([[(50 + i, 100, 0.9 if i < 5 else 0.3, 0)] for i in range(20)])
    assert [n for n, _ in seen[-1]] == [1]
    tracker, _ = follow([[(50 + i, 100, 0.45, 0)] for i in range(20)])
    assert not tracker.tracks


def test_a_class_seen_once_does_not_change_an_object():
    frames = [[(50 + 3 * i, 100, 0.9, 1 if i == 9 else 0)] for i in range(20)]
    tracker, seen = follow(frames)
    assert [n for n, _ in seen[-1]] == [1]
    assert [t.label for t in tracker.tracks] == [0]


def test_a_part_of_an_object_is_no_other_one():
    tracker = Tracker(2)
    for index in range(10):
        legs = Found(np.float32([[40, 100, 60, 125]]), np.float32([0.8]), np.int32([0]))
        whole = found((50, 100, 0.9, 0))
        both = Found(*(np.concatenate(pair) for pair in zip(whole[:3], legs[:3])))
        tracker.update(index / RATE, both if index > 3 else whole)
    assert len(tracker.tracks) == 1


@pytest.mark.parametrize("top, bottom", [(100, 125), (75, 100)], ids=["legs", "head"])
def test_one_that_is_seen_in_part_stays_whole(top: int, bottom: int):
    tracker = Tracker(1)
    for index in range(11):
        x, seen = 50 + 4 * index, (75, 125) if index < 10 else (top, bottom)
        box = np.float32([[x, seen[0], x + 20, seen[1]]])
        tracker.update(index / RATE, Found(box, np.float32([0.9]), np.int32([0])))
    assert tracker.tracks[0].box == pytest.approx([x, 75, x + 20, 125], abs=9)
    for index in range(11, 60):  # it is as small as that
        box = np.float32([[x, top, x + 20, bottom]])
        tracker.update(index / RATE, Found(box, np.float32([0.9]), np.int32([0])))
    assert tracker.tracks[0].box == pytest.approx([x, top, x + 20, bottom], abs=2)


def test_where_nobody_looked_nothing_is_missed():
    tracker, _ = follow([[(50, 100, 0.9, 0)]] * 10)
    for index in range(10, 100):
        tracker.update(index / RATE, found(), looked=np.array([False]))
    assert [t.id for t in tracker.tracks if t.present] == [1]
    assert abs(float(tracker.tracks[0].box[0]) - 40) < 2


def test_what_does_not_move_begins_nothing():
    tracker = Tracker(1)
    for index in range(5):
        tracker.update(index / RATE, found((50, 100, 0.9, 0)), fresh=np.array([False]))
    assert not tracker.tracks


def test_the_path_is_where_feet_were_and_stays_short():
    tracker, _ = follow([[(50 + 0.1 * i, 100, 0.9, 0)] for i in range(1500)])
    path = tracker.tracks[0].path
    assert len(path) <= 512
    assert path[0] == (0.0, 50.0, 125.0)
    assert path[-1][0] == pytest.approx(149.9)
    assert [time for time, _, _ in path] == sorted(time for time, _, _ in path)


def test_a_clock_that_stands_and_boxes_without_size_do_no_harm():
    tracker = Tracker(1)
    flat = Found(np.zeros((2, 4), np.float32), np.float32([0.9, 0.8]), np.int32([0, 0]))
    for _ in range(5):
        tracker.update(3.0, flat)
    assert all(np.isfinite(track.box).all() for track in tracker.tracks)


@pytest.mark.parametrize("start", [0.0, 2.0**25 + 1.40625])
def test_a_clock_that_has_run_for_a_year_is_as_good_as_a_new_one(start: float):
    tracker = Tracker(1)
    for index in range(11):  # one is gone, another stands where the first cannot have got to
        tracker.update(start + index / 16, found((100 if index < 10 else 145, 100, 0.9, 0)))
    assert [track.id for track in tracker.tracks] == [1, 2]


def test_boxes_are_predicted_once_for_a_time():
    tracker, other = Tracker(1), Tracker(1)
    for index in range(12):
        rows = found((50 + 6 * index, 100 + index, 0.9, 0))
        for _ in range(3):
            tracker.predict(index / RATE)
        tracker.update(index / RATE, rows)
        other.update(index / RATE, rows)
    np.testing.assert_array_equal(tracker.tracks[0].box, other.tracks[0].box)


def test_numbers_hold_at_a_frame_a_second_and_with_noise():
    random = np.random.default_rng(0)
    tracker = Tracker(1)
    for index in range(20):
        jitter = random.normal(0, 1, 2)
        tracker.update(float(index), found((30 + 14 * index + jitter[0], 100 + jitter[1], 0.8, 0)))
    assert [t.id for t in tracker.tracks] == [1]


@pytest.mark.parametrize("known", [False, True])
def test_colours_tell_two_apart_that_meet_and_turn_back(known: bool):
    red, blue = np.float32([[0.8, 0.1, 0.1] * 3, [0.1, 0.1, 0.8] * 3])
    tracker = Tracker(1)
    for index in range(40):
        away = 5 * abs(20 - index)  # one hides the other while they are close
        both = found((200 - away, 100, 0.9, 0), (200 + away, 100, 0.9, 0))
        parts = slice(0, 1) if away < 12 else slice(0, 2)
        one = [column[parts] for column in both[:3]]
        tracker.update(index / RATE, Found(*one, np.stack([red, blue])[parts] if known else None))
        if index == 10:
            began = {t.id: float(t.box[0]) for t in tracker.tracks}
    ended = {t.id: float(t.box[0]) for t in tracker.tracks}
    assert set(began) == set(ended) == {1, 2}
    assert ((began[1] < began[2]) == (ended[1] < ended[2])) == known


def test_colours_are_those_of_three_thirds():
    image = np.zeros((60, 40, 3), np.uint8)
    image[:30], image[30:50, :, 1], image[50:] = (200, 100, 50), 255, (0, 0, 51)
    far, point = [-500, -900, 900, -10], [39, 59, 39, 59]
    boxes = np.float32([[10, 0, 30, 60], [10, 30, 30, 48], far, point])
    upper, middle, low, corner = _watch.colours(image, boxes)
    np.testing.assert_allclose(upper[:3], np.float32([200, 100, 50]) / 255, atol=1e-5)
    np.testing.assert_allclose(middle, [0, 1, 0] * 3, atol=1e-5)
    assert np.isfinite(low).all()
    np.testing.assert_allclose(corner, [0, 0, 0.2] * 3, atol=1e-5)
    with pytest.raises(ValueError, match="no picture"):
        _watch.colours(image[:0], boxes)


def test_what_leaves_the_picture_does_not_come_back_as_another_in_its_place():
    tracker = Tracker(1)
    tracker.size = (200, 200)
    for index in range(12):  # cut off by the edge while it goes
        box = np.float32([[150 + 4 * index, 80, 200, 120]])
        tracker.update(index / RATE, Found(box, np.float32([0.9]), np.int32([0])))
    for index in range(12, 18):
        tracker.update(index / RATE, found())
    assert tracker.tracks == []
    for index in range(12):  # one that stands there, half in the picture, is remembered
        box = np.float32([[170, 80, 200, 160]])
        tracker.update(10 + index / RATE, Found(box, np.float32([0.9]), np.int32([0])))
    for index in range(12, 22):
        tracker.update(10 + index / RATE, found())
    assert len(tracker.tracks) == 1
