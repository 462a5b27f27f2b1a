"""The motion gate, its arithmetic, and where detectors look because of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from yards import picture, walk

from linnet import _watch
from linnet.watch.gate import Gate, Motion
from linnet.watch.regions import cut, windows

CURVE = np.log2(np.arange(1021, dtype=np.float32) / 4 + np.float32(16))


def after(pictures, gate: Gate | None = None) -> list[Motion]:
    gate = gate or Gate()
    return [gate(p.mean(axis=2).astype(np.uint8), i / 10) for i, p in enumerate(pictures)]


def noisy(make, count: int):
    """Pictures of a camera: with noise in grey levels."""
    random = np.random.default_rng(2)
    for i in range(count):
        yield (make(i) + random.normal(0, 2, (120, 160, 1))).clip(0, 255)


def test_cells_are_means_through_the_curve():
    random = np.random.default_rng(1)
    luma = random.integers(0, 256, (30, 50), dtype=np.uint8)
    for factor in (1, 2, 3):
        out = np.empty((30 // factor, 50 // factor), np.float32)
        _watch.shrink(luma, factor, CURVE, out)
        rows, columns = (n * factor for n in out.shape)
        cells = luma[:rows, :columns].reshape(out.shape[0], factor, out.shape[1], factor)
        np.testing.assert_allclose(out, np.log2(cells.mean(axis=(1, 3)) + 16), atol=0.03)


def test_large_cells_leave_out_every_second_row():
    luma = np.zeros((8, 8), np.uint8)
    luma[1::2] = 255
    out = np.empty((2, 2), np.float32)
    _watch.shrink(luma, 4, CURVE, out)
    assert (out == 4).all()


@pytest.mark.parametrize(
    ("luma", "factor"),
    [(np.zeros((9, 8), np.uint8), 5), (np.zeros((20, 20), np.uint8).T[:, ::2], 1)],
)
def test_planes_that_are_too_small_or_not_of_rows_are_refused(luma, factor):
    with pytest.raises(ValueError, match="plane"):
        _watch.shrink(luma, factor, CURVE, np.empty((10, 10), np.float32))


def test_a_background_of_another_size_is_refused():
    background = _watch.Background(4, 5)
    with pytest.raises(ValueError, match="another size"):
        background.update(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.uint8), 0.1, 0.1, 0.1)
    assert (
        _watch.Background(0, 0).update(
            np.zeros((0, 0), np.float32), np.zeros((0, 0), np.uint8), 0.1, 0.1, 0.1
        )
        == 0
    )


def test_nothing_moves_in_noise():
    assert not any(len(motion.boxes) for motion in after(noisy(lambda i: picture(), 40)))


def test_a_walker_is_seen_where_it_is():
    found = after(noisy(walk, 45))
    for index in range(14, 38):
        x = 5 * (index - 10)
        assert any(
            box[0] - 8 <= x <= box[2] + 8 and box[1] - 8 <= 75 <= box[3] + 8
            for box in found[index].boxes
        ), index
    assert not len(found[9].boxes)


def test_light_that_changes_is_no_motion():
    fade = lambda i: picture() * (1 - 0.008 * i)  # noqa: E731
    assert not any(len(motion.boxes) for motion in after(noisy(fade, 50)))

    def cloud(i: int) -> np.ndarray:  # a soft edge that crosses the picture
        shade = 1 - 0.4 / (1 + np.exp(-(3 * i - np.arange(160)) / 12))
        return picture() * shade[None, :, None]

    moving = sum(len(motion.boxes) > 0 for motion in after(noisy(cloud, 60)))
    assert moving <= 3


def test_a_lamp_is_sudden_and_soon_forgotten():
    found = after(noisy(lambda i: picture() * (0.5 if i < 10 else 1.0), 20))
    assert [i for i, motion in enumerate(found) if motion.sudden] == [10]
    assert not any(len(motion.boxes) for motion in found[11:])


def test_branches_that_sway_fall_silent():
    random = np.random.default_rng(1)
    tree = random.integers(30, 120, (60, 60, 1), dtype=np.uint8).repeat(3, axis=2)

    def sway(i: int) -> np.ndarray:
        made = picture()
        made[20:80, 50:110] = np.roll(tree, int(random.integers(-1, 2)), axis=1)
        return made

    found = after(noisy(sway, 250))
    assert any(len(motion.boxes) for motion in found[:50])
    assert sum(len(motion.boxes) > 0 for motion in found[200:]) <= 2


def test_what_comes_to_rest_becomes_background():
    stop = lambda i: picture((min(5 * i, 80), 90)) if i >= 5 else picture()  # noqa: E731
    gate = Gate()
    moving = [
        len(gate(p.mean(axis=2).astype(np.uint8), i * 2.0).boxes)
        for i, p in enumerate(noisy(stop, 60))
    ]
    assert any(moving[5:16])
    assert not any(moving[50:])


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (120, 160), (1080, 1920)])
def test_pictures_of_any_size(size):
    gate = Gate()
    for time in (0, 0, 1, 0.5):  # a clock that stands or goes back does no harm
        assert gate(np.zeros(size, np.uint8), time).boxes.shape == (0, 4)
    gate(np.zeros((50, 60), np.uint8), 2)  # another size begins anew


def test_components_are_boxes_around_near_cells():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 3:6] = mask[2:5, 7:9] = 1  # a gap of one cell
    mask[10, 20] = 1
    assert _watch.components(mask, 2, 2, 9).tolist() == [[3, 2, 9, 5, 15]]
    assert _watch.components(mask, 1, 1, 9).tolist() == [
        [3, 2, 6, 5, 9],
        [7, 2, 9, 5, 6],
        [20, 10, 21, 11, 1],
    ]
    assert len(_watch.components(mask, 1, 1, 2)) == 2
    assert _watch.components(np.zeros((0, 5), np.uint8), 1, 1, 9).shape == (0, 5)


def test_windows_hold_all_boxes_and_have_the_detectors_shape():
    random = np.random.default_rng(1)
    for _ in range(200):
        count = int(random.integers(1, 40))
        corner = random.uniform(0, 400, (count, 2)) * (1.4, 1)
        boxes = np.hstack([corner, corner + random.uniform(4, 90, (count, 2))]).astype(np.float32)
        boxes = boxes.clip(0, [640, 480, 640, 480]).astype(np.float32)
        made = windows(boxes, (480, 640), (192, 192), 3)
        assert 1 <= len(made) <= 3
        for x0, y0, x1, y1 in made:
            assert x1 - x0 >= 192
            assert y1 - y0 >= 192
            assert 0 <= x0 < x1 <= 640
            assert 0 <= y0 < y1 <= 480
        for box in boxes:
            assert any(
                x0 <= box[0] and y0 <= box[1] and x1 >= box[2] and y1 >= box[3]
                for x0, y0, x1, y1 in made
            )


def test_windows_that_cover_most_of_a_picture_are_one():
    boxes = np.float32([[0, 0, 300, 470], [340, 0, 640, 470]])
    assert windows(boxes, (480, 640), (192, 192), 3) == [(0, 0, 640, 480)]
    assert windows(boxes[:0], (480, 640), (192, 192), 3) == []
    assert windows(boxes[:1] / 10, (40, 60), (192, 192), 3) == [(0, 0, 60, 40)]  # a small picture


def test_the_cheapest_windows_are_joined_first():
    boxes = np.float32(
        [[20, 20, 40, 60], [30, 30, 50, 70], [600, 20, 620, 60], [300, 400, 320, 440]]
    )
    made = windows(boxes, (480, 640), (192, 192), 3)
    assert made == [(448, 0, 640, 192), (214, 288, 406, 480), (0, 0, 192, 192)]
    assert len(windows(boxes, (480, 640), (192, 192), 2)) == 2
    with pytest.raises(ValueError, match="no boxes"):
        _watch.join(boxes[:, :3].copy(), (480, 640), (192, 192), 3)


def test_boxes_at_inner_edges_are_cut():
    window, size = (0, 100, 200, 300), (480, 640)
    boxes = np.float32(
        [[0, 150, 50, 200], [150, 150, 200, 200], [50, 100, 90, 150], [50, 150, 90, 200]]
    )
    assert cut(boxes, window, size).tolist() == [False, True, True, False]


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (5, 2), (0, 4), (4, 0), (6, 6)])
def test_assignments_are_the_cheapest(shape):
    random = np.random.default_rng(1)
    for _ in range(20):
        cost = random.random(shape).astype(np.float32)
        pairs = _watch.assign(cost, 1.0)
        assert len(pairs) == min(shape)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        small = cost if shape[0] <= shape[1] else cost.T
        best = min(
            (
                sum(small[i, j] for i, j in enumerate(order))
                for order in itertools.permutations(range(small.shape[1]), small.shape[0])
            ),
        )
        assert sum(cost[i, j] for i, j in pairs) == pytest.approx(best, abs=1e-5)


def test_assignments_beyond_the_limit_are_left_out():
    cost = np.float32([[0.1, 0.2], [0.15, 0.9]])
    assert sorted(_watch.assign(cost, 0.5)) == [(0, 1), (1, 0)]
    assert _watch.assign(cost, 0.12) == [(0, 0)]
    assert _watch.assign(np.float32([[np.nan]]), 0.5) == []
