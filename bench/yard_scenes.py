"""Yards, as pictures with boxes, for bench/train_yard.py: some people, cats and cars in each.

What stands around, and what the camera makes of it, is varied further than any yard is, so that a
network learns shapes and not a style.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from yard_figures import Canvas, Image, Random, Spot, car, cat, color, field, near, person, pick

CLASSES = ("person", "cat", "car")
OVERSAMPLING = 2  # scenes are drawn larger, against jagged edges


class Scene(NamedTuple):
    """A picture [size, size, 3] RGB, and what is in it."""

    image: Image
    boxes: npt.NDArray[np.float32]  # [n, 4], x0, y0, x1, y1 in pixels
    classes: npt.NDArray[np.int64]  # [n], places in CLASSES


# What stands around.


def tree(canvas: Canvas, rng: Random, spot: Spot) -> None:
    x, foot, high, _ = spot
    trunk = high * rng.uniform(0.03, 0.1)
    canvas.limb(
        [(x, foot), (x + rng.uniform(-0.1, 0.1) * high, foot - high * 0.6)],
        trunk,
        pick(rng, (80, 60, 45), (110, 100, 90), (50, 42, 36)),
        trunk * 0.6,
    )
    green = pick(rng, (60, 95, 45), (90, 120, 60), (130, 110, 50), (40, 60, 40), (150, 90, 40))
    leafy = rng.uniform() < 0.4  # many small leaves in a round crown
    spread, up = (0.14, 0.72) if leafy else (0.2, rng.uniform(0.6, 0.8))
    for _ in range(int(rng.integers(60, 160) if leafy else rng.integers(8, 40))):
        r = high * (rng.uniform(0.02, 0.07) if leafy else rng.uniform(0.05, 0.2))
        away, turn = spread * rng.normal(), rng.uniform(0, 2 * math.pi)
        at = x + away * high * math.cos(turn), foot - high * (up + away * math.sin(turn))
        canvas.ellipse(*at, r, r * rng.uniform(0.5, 1), near(rng, green, 30), turn=turn)


def bush(canvas: Canvas, rng: Random, spot: Spot) -> None:
    x, foot, high, _ = spot
    green = pick(rng, (60, 95, 45), (80, 105, 60), (40, 60, 40), (120, 115, 70))
    for _ in range(int(rng.integers(6, 25))):
        r = high * rng.uniform(0.1, 0.35)
        canvas.ellipse(
            x + rng.normal(0, 0.5) * high,
            foot - high * rng.uniform(0.1, 0.8),
            r,
            r * rng.uniform(0.5, 1),
            near(rng, green, 30),
            turn=rng.uniform(0, 3),
        )


def house(canvas: Canvas, rng: Random, spot: Spot) -> None:
    x, foot, high, _ = spot
    wall, half = color(rng, 0.5), high * rng.uniform(0.4, 1.5)
    canvas.polygon(
        [(x - half, foot), (x - half, foot - high), (x + half, foot - high), (x + half, foot)], wall
    )
    if rng.uniform() < 0.5:
        roof = high * rng.uniform(0.2, 0.6)
        canvas.polygon(
            [(x - half * 1.1, foot - high), (x, foot - high - roof), (x + half * 1.1, foot - high)],
            color(rng, 0.6),
        )
    for k in range(int(rng.integers(0, 14)) if rng.uniform() < 0.5 else 0):  # boards or bricks
        y = foot - high * k / 14
        canvas.limb([(x - half, y), (x + half, y)], high * 0.006, near(rng, wall, 30))
    for _ in range(int(rng.integers(0, 5))):  # windows and doors
        u, w, h = (
            x + rng.uniform(-0.8, 0.8) * half,
            high * rng.uniform(0.05, 0.16),
            high * rng.uniform(0.15, 0.4),
        )
        base = foot if rng.uniform() < 0.4 else foot - high * rng.uniform(0.2, 0.6)
        rim = color(rng, 0.3)
        for grow, shade in ((1.15, rim), (1.0, color(rng, 0.4))):
            canvas.polygon(
                [
                    (u - w * grow, base),
                    (u - w * grow, base - h * grow),
                    (u + w * grow, base - h * grow),
                    (u + w * grow, base),
                ],
                shade,
            )


def fence(canvas: Canvas, rng: Random, spot: Spot) -> None:
    x, foot, high, _ = spot
    shade, gap = color(rng, 0.5), high * rng.uniform(0.12, 0.4)
    width = gap * rng.uniform(0.2, 0.9)
    count = int(rng.integers(4, 22))
    for k in range(count):
        u = x + (k - count / 2) * gap
        canvas.limb([(u, foot), (u, foot - high)], width, near(rng, shade, 12))
    for up in (0.25, 0.8):
        canvas.limb(
            [(x - count / 2 * gap, foot - high * up), (x + count / 2 * gap, foot - high * up)],
            high * 0.06,
            shade,
        )


def post(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """A pole, with or without a lamp, a sign or a crossbar."""
    x, foot, high, _ = spot
    shade, width = color(rng, 0.4), high * rng.uniform(0.02, 0.14)
    canvas.limb([(x, foot), (x + rng.normal(0, 0.02) * high, foot - high)], width, shade)
    if rng.uniform() < 0.6:
        w, h = high * rng.uniform(0.05, 0.25), high * rng.uniform(0.03, 0.2)
        canvas.polygon(
            [
                (x - w, foot - high + h),
                (x - w, foot - high - h),
                (x + w, foot - high - h),
                (x + w, foot - high + h),
            ],
            color(rng),
        )


def crate(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """A bin, a box, a bench, a wall: flat sides, one of them darker."""
    x, foot, high, _ = spot
    wide, deep, shade = high * rng.uniform(0.3, 1.8), high * rng.uniform(0, 0.5), color(rng)
    rise = deep * rng.uniform(0, 0.6)
    top = [
        (x - wide, foot - high),
        (x - wide + deep, foot - high - rise),
        (x + wide + deep, foot - high - rise),
        (x + wide, foot - high),
    ]
    canvas.polygon(top, near(rng, shade, 40))
    canvas.polygon(
        [(x + wide, foot), top[3], top[2], (x + wide + deep, foot - rise)],
        tuple(c // 2 for c in shade),
    )
    canvas.polygon([(x - wide, foot), top[0], top[3], (x + wide, foot)], shade)


def blob(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """Anything: a heap, a ball, a cloth, a stone, a leaf."""
    x, foot, high, _ = spot
    count, wide = int(rng.integers(3, 10)), rng.uniform(0.3, 2.0)
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    reach = rng.uniform(0.3, 0.6, count) * high
    if rng.uniform() < 0.4:
        canvas.ellipse(
            x, foot - high / 2, high * wide / 2, high / 2, color(rng), turn=rng.uniform(0, 3)
        )
    else:
        canvas.polygon(
            [
                (x + r * wide * math.cos(a), foot - high / 2 + r * math.sin(a))
                for r, a in zip(reach, angles)
            ],
            color(rng),
        )


def backdrop(canvas: Canvas, rng: Random) -> float:
    """Sky and ground; returns the row of the horizon."""
    size = len(canvas.image) // 2  # soft things need no more
    horizon = size * rng.uniform(-0.3, 0.65)
    sky = pick(rng, (150, 185, 225), (200, 205, 210), (90, 95, 105), (25, 28, 40), (230, 200, 170))
    ground = pick(
        rng,
        (95, 120, 60),
        (120, 115, 110),
        (140, 120, 95),
        (70, 72, 75),
        (225, 225, 230),
        (165, 150, 120),
        (50, 60, 45),
    )
    if rng.uniform() < 0.15:
        ground = color(rng)
    rows = np.arange(size, dtype=np.float32)[:, None, None]
    fade = (rows / size - 0.5) * np.float32(rng.uniform(-60, 60))
    base = np.where(rows < horizon, np.array(sky, np.float32), np.array(ground, np.float32)) + fade
    rough = np.zeros((size, size), np.float32)
    for cells, strength in ((3, 14), (12, 10), (48, 10), (size, 15)):
        rough += field(rng, (size, size), cells) * rng.uniform(0, strength)
    rough[: max(int(horizon), 0)] *= rng.uniform(0.1, 1)
    soft = np.clip(base + rough[..., None], 0, 255).astype(np.uint8)
    canvas.image[:] = cv2.resize(soft, canvas.image.shape[:2])
    size, horizon = 2 * size, 2 * horizon
    for _ in range(int(rng.integers(0, 4))):  # paths, beds and shadows
        y = rng.uniform(max(horizon, 0), size)
        xs = rng.uniform(-0.2, 1.2, 2) * size
        deep = rng.uniform(0.03, 0.4) * size
        canvas.polygon(
            [
                (xs[0], y),
                (xs[1], y),
                (xs[1] + rng.uniform(-1, 1) * size, y + deep),
                (xs[0] + rng.uniform(-1, 1) * size, y + deep),
            ],
            near(rng, ground, 45),
        )
        canvas.mask[:] = 0
    return horizon


Draw = Callable[[Canvas, Random, Spot], None]
SURROUNDINGS: tuple[Draw, ...] = (tree, bush, house, fence, post, crate, blob)
IN_FRONT: tuple[Draw, ...] = (bush, fence, post, crate)
# In the order of CLASSES: what draws them, how many they are, and how wide their shadows are.
THINGS: tuple[tuple[Draw, float, float], ...] = (
    (person, 0.5, 0.4),
    (cat, 0.22, 0.8),
    (car, 0.28, 1.3),
)
COUNTS = {0: 0.1, 1: 0.25, 2: 0.25, 3: 0.2, 4: 0.12, 6: 0.08}  # of things in a scene


def shadow(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """An ellipse on the ground, `high` wide."""
    before, wide = canvas.image.copy(), spot.high
    x, turn = spot.x + rng.uniform(-0.5, 0.5) * wide, rng.uniform(-0.2, 0.2)
    canvas.ellipse(x, spot.foot, wide * rng.uniform(0.4, 1), wide * 0.1, (0, 0, 0), turn=turn)
    share = rng.uniform(0.15, 0.6)
    cv2.addWeighted(before, 1 - share, canvas.image, share, 0, canvas.image)
    canvas.mask[:] = 0


def camera(image: Image, rng: Random) -> Image:
    """What light, weather, lens and compression make of a picture."""
    size = len(image)
    x = image.astype(np.float32) / 255
    if rng.uniform() < 0.2:
        x = np.repeat(x @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=2)
    elif rng.uniform() < 0.5:
        x = x * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    if rng.uniform() < 0.3:  # patches of sun
        sun = field(rng, (size, size), int(rng.integers(1, 6)))
        x = x * (1 + sun * rng.uniform(0, 0.35))[..., None]
    bend = np.float32(math.exp(rng.normal(0, 0.3)))
    x = np.clip(x, 0, 1) ** bend * rng.uniform(0.55, 1.15) + rng.uniform(-0.05, 0.12)
    if rng.uniform() < 0.35:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.2))
    if rng.uniform() < 0.12:  # rain
        for _ in range(int(rng.integers(20, 120))):
            begin, fall = rng.uniform(0, size, 2), rng.uniform((-2, 4), (2, 16))
            ends = np.array([begin, begin + fall]).astype(int)
            cv2.line(x, *ends.tolist(), (0.75, 0.75, 0.75), 1)
    x = x + rng.standard_normal(x.shape, np.float32) * rng.uniform(0, 0.045)
    pixels = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    if rng.uniform() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR)
    return pixels


def placed(rng: Random, size: int) -> list[tuple[int, Spot]]:
    """Which things there are and where, the farthest first."""
    count = int(rng.choice(list(COUNTS), p=list(COUNTS.values())))
    largest = rng.choice([0.35, 0.6, 1.0], p=[0.45, 0.3, 0.25])  # of the picture's height
    people = rng.uniform(0.8, 1.6)
    stretch = math.exp(
        rng.uniform(math.log(0.6), math.log(1.35))
    )  # as pictures that are no squares
    things = []
    for kind in rng.choice(len(THINGS), count, p=[share for _, share, _ in THINGS]):
        high = size * math.exp(rng.uniform(math.log(0.1), math.log(largest)))
        high = min(high * people if kind == 0 else max(high * 0.6, size * 0.065), size * 1.05)
        near_by = rng.uniform(0.85, 1.2) if high > 0.6 * size else rng.uniform(0.15, 1.05)
        things.append(
            (int(kind), Spot(rng.uniform(0.02, 0.98) * size, near_by * size, high, stretch))
        )
    return sorted(things, key=lambda thing: thing[1].foot)


def scene(rng: Random, size: int) -> Scene:
    """One yard with some people, cats and cars in it, or with none."""
    large = size * OVERSAMPLING
    canvas = Canvas(large)
    horizon = backdrop(canvas, rng)
    for _ in range(int(rng.integers(0, 9))):
        foot = rng.uniform(max(horizon, 0.15 * large) * 0.9, large)
        high = large * math.exp(rng.uniform(math.log(0.08), 0))
        draw = SURROUNDINGS[int(rng.integers(len(SURROUNDINGS)))]
        draw(canvas, rng, Spot(rng.uniform(0, large), foot, high))
        canvas.finish(rng, -1, rng.uniform(0, 0.25))
    things = placed(rng, large)
    whole = []  # pixels of each
    for index, (kind, spot) in enumerate(things):
        draw, _, wide = THINGS[kind]
        if rng.uniform() < 0.6:
            shadow(canvas, rng, spot._replace(high=spot.high * wide))
        draw(canvas, rng, spot)
        whole.append(np.count_nonzero(canvas.mask))
        canvas.finish(rng, index, rng.uniform(0, 0.3))
        if rng.uniform() < 0.12:  # something in front
            x, foot = spot.x + rng.normal(0, 0.3) * spot.high, spot.foot + spot.high * 0.1
            high = spot.high * rng.uniform(0.3, 0.8)
            IN_FRONT[int(rng.integers(len(IN_FRONT)))](canvas, rng, Spot(x, foot, high))
            canvas.finish(rng, -1, rng.uniform(0, 0.25))
    image = camera(cv2.resize(canvas.image, (size, size), interpolation=cv2.INTER_AREA), rng)
    boxes, classes = [], []
    for index, (kind, _) in enumerate(things):
        x, y, wide, high = cv2.boundingRect((canvas.owner == index).astype(np.uint8))
        seen = np.count_nonzero(canvas.owner == index)
        if seen >= max(0.4 * whole[index], 60) and min(wide, high) >= 4 * OVERSAMPLING:
            boxes.append(np.array([x, y, x + wide, y + high]) / OVERSAMPLING)
            classes.append(kind)
    return Scene(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64))
