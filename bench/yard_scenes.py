"""Yards, as pictures with boxes, for bench/train_yard.py: people, cats and cars of many makes, drawn.

`scene(rng, size)` draws one. Nothing in it is a photograph: people are jointed figures in clothes or
plain silhouettes, cats ellipses with ears and a tail, cars profiles drawn out to their width and
turned. What stands around, and what the camera makes of it, is varied further than any yard is, so
that a network learns shapes and not a style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

CLASSES = ("person", "cat", "car")
OVERSAMPLING = 2  # scenes are drawn larger, against jagged edges

Image = npt.NDArray[np.uint8]
Random = np.random.Generator
Points = Sequence[tuple[float, float]]
Color = tuple[int, int, int]


class Scene(NamedTuple):
    """A picture [size, size, 3] RGB, and what is in it."""

    image: Image
    boxes: npt.NDArray[np.float32]  # [n, 4], x0, y0, x1, y1 in pixels
    classes: npt.NDArray[np.int64]  # [n], places in CLASSES


class Canvas:
    """A picture being drawn, and which of its pixels are of which object, -1 for none."""

    def __init__(self, size: int) -> None:
        self.image = np.zeros((size, size, 3), np.uint8)
        self.owner = np.full((size, size), -1, np.int32)
        self.mask = np.zeros((size, size), np.uint8)  # of what is being drawn

    def polygon(self, points: Points, color: Color) -> None:
        corners = np.round(np.array(points, np.float64) * 16).clip(-1e6, 1e6).astype(np.int32)
        for target, value in ((self.image, color), (self.mask, (255, 0, 0))):
            cv2.fillPoly(target, [corners], value, cv2.LINE_8, 4)

    def ellipse(
        self, x: float, y: float, a: float, b: float, color: Color, turn: float = 0
    ) -> None:
        steps = np.linspace(0, 2 * math.pi, 24, endpoint=False)
        u, v = np.cos(steps) * a, np.sin(steps) * b
        c, s = math.cos(turn), math.sin(turn)
        self.polygon(np.stack([x + u * c - v * s, y + u * s + v * c], 1), color)  # type: ignore[arg-type]

    def limb(self, points: Points, wide: float, color: Color, narrow: float | None = None) -> None:
        """Thick joined lines with round ends, that grow narrower."""
        widths = np.linspace(wide, wide if narrow is None else narrow, len(points))
        for (x0, y0), (x1, y1), a, b in zip(points, points[1:], widths, widths[1:]):
            length = math.hypot(x1 - x0, y1 - y0) or 1.0
            nx, ny = (y1 - y0) / length / 2, (x0 - x1) / length / 2
            self.polygon(
                [
                    (x0 + nx * a, y0 + ny * a),
                    (x1 + nx * b, y1 + ny * b),
                    (x1 - nx * b, y1 - ny * b),
                    (x0 - nx * a, y0 - ny * a),
                ],
                color,
            )
        for (x, y), width in zip(points, widths):
            self.ellipse(x, y, width / 2, width / 2, color)

    def finish(self, rng: Random, owner: int, shading: float) -> None:
        """What has been drawn since the last call is one thing: shaded, and remembered as its."""
        x0, y0, wide, high = cv2.boundingRect(self.mask)
        if not wide:
            return
        y1, x1 = y0 + high, x0 + wide
        mask = self.mask[y0:y1, x0:x1] > 0
        part = self.image[y0:y1, x0:x1]
        if shading:
            light = field(rng, part.shape[:2], int(rng.integers(2, 6))) * shading
            light += np.linspace(-1, 1, wide, dtype=np.float32) * np.float32(
                rng.uniform(-1, 1) * shading
            )
            lit = np.clip(part * (1 + light[..., None]), 0, 255).astype(np.uint8)
            part[mask] = lit[mask]
        self.owner[y0:y1, x0:x1][mask] = owner
        self.mask[y0:y1, x0:x1] = 0


def field(rng: Random, shape: tuple[int, int], cells: int) -> npt.NDArray[np.float32]:
    """Smooth random numbers about 0, of so many cells along each axis."""
    grid = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    return cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def color(rng: Random, saturation: float = 1.0) -> Color:
    """Any, dark ones and greys as often as bright ones."""
    hue, s = rng.uniform(0, 1), rng.uniform(0, saturation) ** 1.5
    value = rng.uniform(0.05, 1)
    rgb = [value * (1 - s * max(0.0, min(1.0, abs((hue * 6 + k) % 6 - 3) - 1))) for k in (0, 4, 2)]
    return tuple(int(255 * c) for c in rgb)  # type: ignore[return-value]


def near(rng: Random, base: Color, spread: int = 20) -> Color:
    return tuple(int(np.clip(c + rng.integers(-spread, spread + 1), 0, 255)) for c in base)  # type: ignore[return-value]


def pick(rng: Random, *choices: Color) -> Color:
    return near(rng, choices[int(rng.integers(len(choices)))])


# People.

SKIN = ((236, 200, 175), (214, 165, 130), (160, 110, 80), (95, 65, 48))
HAIR = ((30, 25, 22), (90, 60, 35), (200, 170, 110), (150, 150, 150), (120, 50, 30))


def person(canvas: Canvas, rng: Random, x: float, foot: float, high: float, wide: float) -> None:
    """A figure `high` pixels high that stands at (x, foot); `wide` stretches it across."""
    h, side = high, rng.uniform() < 0.5
    turn = 1 if rng.uniform() < 0.5 else -1
    clothes, trousers, skin, hair = color(rng), color(rng, 0.6), pick(rng, *SKIN), pick(rng, *HAIR)
    shoes = color(rng, 0.5)
    style = rng.uniform()
    if style < 0.08:  # a silhouette
        clothes = trousers = skin = hair = shoes = color(rng, 0.3)
    elif style < 0.18:
        trousers = shoes = clothes
    head = h * rng.uniform(0.055, 0.085)
    hip, shoulder = h * rng.uniform(0.44, 0.53), h * rng.uniform(0.78, 0.84)
    across = (
        h
        * (rng.uniform(0.07, 0.11) if side else rng.uniform(0.10, 0.145))
        * rng.uniform(0.85, 1.25)
    )
    lean = h * rng.uniform(-0.05, 0.07) * turn
    squat = rng.uniform(0.35, 0.7) if rng.uniform() < 0.08 else 1.0

    def at(dx: float, up: float) -> tuple[float, float]:
        return x + dx * wide, foot - up * squat

    swing = rng.uniform(-0.5, 0.5) if side else rng.uniform(-0.14, 0.14)
    stance = 0.0 if side else across * rng.uniform(0.3, 0.6)
    leg = hip * 0.5
    thick = h * rng.uniform(0.065, 0.11)

    def leg_of(sign: int) -> list[tuple[float, float]]:
        a = swing * sign
        bend = (rng.uniform(0, 0.5) if side else 0.05) * turn
        knee = (sign * stance + leg * math.sin(a) * turn, hip - leg * math.cos(a))
        ankle = (knee[0] + leg * math.sin(a * turn - bend), max(h * 0.02, knee[1] - leg * 0.95))
        return [at(sign * stance * 0.9, hip), at(*knee), at(*ankle)]

    def arm_of(sign: int) -> list[tuple[float, float]]:
        a = (
            -swing * sign
            + rng.uniform(-0.25, 0.25)
            + (0 if side else sign * rng.uniform(0.02, 0.3))
        )
        if rng.uniform() < 0.07:
            a += sign * rng.uniform(0.8, 2.4)  # it waves
        b = a + rng.uniform(-0.1, 0.9) * turn * (1 if side else 0.2)
        upper = h * rng.uniform(0.15, 0.18)
        start = (lean + (0 if side else sign * across * 0.92), shoulder - h * 0.02)
        elbow = (start[0] + upper * math.sin(a), start[1] - upper * math.cos(a))
        hand = (elbow[0] + upper * 0.9 * math.sin(b), elbow[1] - upper * 0.9 * math.cos(b))
        return [at(*start), at(*elbow), at(*hand)]

    bare = rng.uniform() < 0.3
    arm_width, arms = h * rng.uniform(0.045, 0.07), rng.uniform() > 0.08
    if arms:
        canvas.limb(
            arm_of(-1), arm_width, skin if bare else near(rng, clothes, 15), arm_width * 0.7
        )
    for sign in (-1, 1):
        shade = trousers if sign > 0 else near(rng, trousers, 18)
        limb = leg_of(sign)
        canvas.limb(limb, thick * math.sqrt(wide), shade, thick * 0.6)
        canvas.ellipse(limb[2][0] + turn * h * 0.02 * side, limb[2][1], h * 0.04, h * 0.022, shoes)
    waist = across * rng.uniform(0.7, 1.05)
    hem = hip - h * rng.uniform(0.0, 0.06)
    if rng.uniform() < 0.18:  # a coat or a dress
        hem, waist = hip - h * rng.uniform(0.1, 0.33), across * rng.uniform(1.0, 1.6)
    top, neck = shoulder + h * 0.01, across * rng.uniform(0.25, 0.5)
    body = [(-waist, hem), (-across + lean, shoulder - h * 0.03), (-neck + lean, top)]
    canvas.polygon(
        [
            at(*p)
            for p in body + [(-2 * lean * (dx > 0) - dx + 2 * lean, up) for dx, up in body[::-1]]
        ],
        clothes,
    )
    if rng.uniform() < 0.3:
        canvas.ellipse(
            *at(lean * 0.6, (shoulder + hip) / 2),
            across * wide * 1.05,
            (shoulder - hip) * 0.58,
            clothes,
        )
    if rng.uniform() < 0.2:  # something on the back
        canvas.ellipse(
            *at(lean - turn * across * 0.9, shoulder - h * 0.14),
            h * 0.06 * wide,
            h * 0.11,
            color(rng),
        )
    if arms:
        canvas.limb(arm_of(1), arm_width, skin if bare else near(rng, clothes, 15), arm_width * 0.7)
    centre = at(lean * 1.2, h - head)
    canvas.limb([at(lean, shoulder), centre], head * 0.9, skin)
    canvas.ellipse(centre[0], centre[1], head * 0.85 * wide, head * 1.05, skin)
    if rng.uniform() < 0.75:
        back = 0.25 if side else 0.0
        canvas.ellipse(
            centre[0] - turn * head * back,
            centre[1] - head * rng.uniform(0.2, 0.5),
            head * 0.9 * wide,
            head * rng.uniform(0.55, 0.95),
            hair,
        )
        if rng.uniform() < 0.6:
            canvas.ellipse(
                centre[0] + turn * head * 0.25 * side,
                centre[1] + head * 0.25,
                head * 0.6 * wide,
                head * 0.7,
                skin,
            )


# Cats.

FUR = ((25, 24, 24), (210, 130, 60), (130, 125, 120), (235, 232, 225), (150, 115, 75), (70, 62, 58))


def cat(canvas: Canvas, rng: Random, x: float, foot: float, high: float, wide: float) -> None:
    """A cat that walks, sits or lies, seen from a side or from the front."""
    fur = pick(rng, *FUR)
    dark = tuple(int(c * rng.uniform(0.5, 0.85)) for c in fur)
    pale = near(rng, fur, 25)
    turn = 1 if rng.uniform() < 0.5 else -1
    pose = rng.uniform()
    length = high * (rng.uniform(1.3, 1.9) if pose < 0.6 else rng.uniform(0.5, 0.8))

    def at(dx: float, up: float) -> tuple[float, float]:
        return x + dx * turn * wide, foot - up

    def tail(start: tuple[float, float], long: float) -> None:
        a, curl = rng.uniform(-0.6, 2.0), rng.uniform(-0.7, 0.7)
        points = [start]
        for _ in range(5):
            points.append(
                (
                    points[-1][0] - long / 5 * math.cos(a),
                    max(points[-1][1] + long / 5 * math.sin(a), high * 0.04),
                )
            )
            a += curl
        canvas.limb([at(*p) for p in points], high * rng.uniform(0.07, 0.13), fur, high * 0.06)

    if pose < 0.6:  # it walks, or stands
        low, radius = high * rng.uniform(0.28, 0.5), high * rng.uniform(0.15, 0.24)
        back = low + radius
        tail((-length * 0.36, back + radius * 0.4), high * rng.uniform(0.6, 1.1))
        for dx in (-0.3, -0.22, 0.24, 0.32):
            a = rng.uniform(-0.35, 0.35)
            canvas.limb(
                [at(dx * length, back), at(dx * length + low * math.sin(a), high * 0.03)],
                high * 0.13,
                dark if rng.uniform() < 0.4 else fur,
                high * 0.08,
            )
        canvas.ellipse(
            *at(0, back), length * 0.4 * wide, radius * 1.1, fur, rng.uniform(-0.12, 0.12)
        )
        centre = (length * rng.uniform(0.42, 0.5), high - high * rng.uniform(0.2, 0.45))
        canvas.limb([at(length * 0.3, back), at(*centre)], radius * 1.3, fur)
        spots = [
            (rng.uniform(-0.3, 0.3) * length, back + rng.uniform(-0.3, 0.8) * radius)
            for _ in range(6)
        ]
    else:  # it sits
        tail((-length * 0.4, high * 0.08), high * rng.uniform(0.4, 0.9))
        canvas.ellipse(*at(-length * 0.08, high * 0.27), length * 0.5 * wide, high * 0.28, fur)
        canvas.ellipse(*at(length * 0.08, high * 0.42), length * 0.36 * wide, high * 0.36, fur)
        for dx in (0.12, 0.28):
            canvas.limb(
                [at(dx * length, high * 0.4), at(dx * length, high * 0.03)], high * 0.11, pale
            )
        centre = (length * rng.uniform(0.05, 0.25), high * 0.78)
        spots = [(rng.uniform(-0.3, 0.3) * length, rng.uniform(0.1, 0.6) * high) for _ in range(5)]
    if rng.uniform() < 0.5:  # stripes and patches
        for dx, up in spots:
            canvas.ellipse(
                *at(dx, up),
                high * rng.uniform(0.02, 0.1),
                high * rng.uniform(0.06, 0.16),
                dark if rng.uniform() < 0.7 else (235, 230, 222),
            )
    head = high * rng.uniform(0.15, 0.21)
    for sign in (-1, 1):
        tip = (
            centre[0] + sign * head * rng.uniform(0.6, 0.9),
            centre[1] + head * rng.uniform(1.35, 1.8),
        )
        inner, outer = centre[0] + sign * head * 0.15, centre[0] + sign * head * 0.95
        canvas.polygon(
            [at(inner, centre[1] + head * 0.7), at(*tip), at(outer, centre[1] + head * 0.3)],
            dark if rng.uniform() < 0.5 else fur,
        )
    canvas.ellipse(*at(*centre), head * wide * rng.uniform(0.95, 1.15), head * 0.92, fur)
    if rng.uniform() < 0.6:
        canvas.ellipse(
            *at(centre[0] + head * 0.4, centre[1] - head * 0.35),
            head * 0.45 * wide,
            head * 0.35,
            pale,
        )
        for dx in (0.05, 0.6):
            canvas.ellipse(
                *at(centre[0] + head * dx, centre[1] + head * 0.15),
                head * 0.13,
                head * 0.13,
                pick(rng, (20, 20, 20), (170, 190, 60)),
            )


# Cars.

PROFILES: tuple[Points, ...] = (  # from the back along the roof to the front: (along, up)
    (
        (0, 0.3),
        (0.02, 0.62),
        (0.14, 0.66),
        (0.27, 0.98),
        (0.6, 1.0),
        (0.75, 0.68),
        (0.97, 0.6),
        (1, 0.3),
    ),
    (
        (0, 0.3),
        (0.01, 0.7),
        (0.06, 0.95),
        (0.12, 1.0),
        (0.6, 1.0),
        (0.74, 0.68),
        (0.97, 0.6),
        (1, 0.3),
    ),
    ((0, 0.3), (0.0, 0.95), (0.03, 1.0), (0.8, 1.0), (0.9, 0.68), (0.98, 0.55), (1, 0.3)),
    (
        (0, 0.3),
        (0.0, 0.6),
        (0.42, 0.6),
        (0.44, 1.0),
        (0.68, 1.0),
        (0.78, 0.66),
        (0.98, 0.6),
        (1, 0.3),
    ),
    (
        (0, 0.3),
        (0.04, 0.66),
        (0.2, 0.9),
        (0.35, 1.0),
        (0.5, 1.0),
        (0.72, 0.68),
        (0.95, 0.52),
        (1, 0.3),
    ),
)
PAINT = (
    (200, 202, 205),
    (30, 30, 34),
    (120, 124, 130),
    (245, 245, 245),
    (160, 25, 30),
    (35, 60, 130),
    (70, 90, 70),
    (190, 170, 130),
)


def car(canvas: Canvas, rng: Random, x: float, foot: float, high: float, wide: float) -> None:
    """A car at any angle: its profile, drawn out to its width, seen from a little above."""
    profile = PROFILES[int(rng.integers(len(PROFILES)))]
    paint = pick(rng, *PAINT) if rng.uniform() < 0.7 else color(rng)
    glass = pick(rng, (40, 46, 54), (90, 105, 120), (150, 170, 185), (20, 20, 22))
    dark = tuple(int(c * 0.75) for c in paint)
    long, broad = high * rng.uniform(2.5, 3.3), high * rng.uniform(1.05, 1.3)
    yaw = (
        rng.uniform(-math.pi, math.pi)
        if rng.uniform() < 0.6
        else rng.choice([0, math.pi]) + rng.normal(0, 0.15)
    )
    pitch = rng.uniform(0.0, 0.45)
    c, s, sp = math.cos(yaw), math.sin(yaw), math.sin(pitch)

    def at(along: float, aside: float, up: float) -> tuple[float, float]:
        u, v = (along - 0.5) * long, aside * broad / 2
        return x + (u * c - v * s) * wide, foot - up * high * math.cos(pitch) + (u * s + v * c) * sp

    near_side = 1 if c >= 0 else -1  # the one that faces the camera
    radius = rng.uniform(0.16, 0.2)
    wheels = (rng.uniform(0.16, 0.22), rng.uniform(0.78, 0.84))

    def wheel(along: float, aside: float) -> None:
        steps = np.linspace(0, 2 * math.pi, 20, endpoint=False)
        for part, shade in ((1.0, (22, 22, 24)), (0.6, pick(rng, (150, 150, 155), (70, 70, 74)))):
            ring = [
                at(
                    along + radius * part * math.cos(t) * high / long,
                    aside,
                    radius + radius * part * math.sin(t),
                )
                for t in steps
            ]
            canvas.polygon(ring, shade)

    tapered = [(a, 1.0 if up < 0.75 else rng.uniform(0.78, 0.9), up) for a, up in profile]
    for along in wheels:
        wheel(along, -near_side * 0.95)
    floor = [(0.03, 0.95, 0.16), (0.97, 0.95, 0.16)]
    ring = [floor[0], *tapered, floor[1]]
    canvas.polygon([at(a, -near_side * w, up) for a, w, up in ring], dark)
    strips = list(zip(ring, ring[1:]))
    strips.sort(key=lambda pair: (pair[0][0] + pair[1][0] - 1) * s)  # far ones first
    for (a0, w0, u0), (a1, w1, u1) in strips:
        steep = abs(u1 - u0) > 0.12 and max(u0, u1) > 0.8
        shade = glass if steep else near(rng, paint if max(u0, u1) > 0.5 else dark, 8)
        quad = [at(a0, w0, u0), at(a1, w1, u1), at(a1, -w1, u1), at(a0, -w0, u0)]
        canvas.polygon(quad, shade)
    canvas.polygon([at(a, near_side * w, up) for a, w, up in ring], paint)
    roof = [(a, w, up) for a, w, up in tapered if up > 0.64]
    if len(roof) > 2:
        middle = sum(a for a, _, _ in roof) / len(roof)
        pane = [(middle + (a - middle) * 0.86, w, 0.66 + (up - 0.66) * 0.8) for a, w, up in roof]
        if rng.uniform() < 0.92:
            canvas.polygon([at(a, near_side * w, up) for a, w, up in pane], glass)
        if rng.uniform() < 0.8:
            canvas.limb(
                [at(middle, near_side, 0.32), at(middle, near_side * 0.92, 0.95)],
                high * 0.04,
                paint,
            )
    for along in wheels:
        wheel(along, near_side)
    for end, shade in (
        (1, pick(rng, (250, 245, 220), (180, 185, 190))),
        (0, pick(rng, (170, 20, 20), (90, 15, 15))),
    ):
        if (end - 0.5) * s > -0.05:
            for aside in (-0.72, 0.72):
                canvas.ellipse(
                    *at(end, aside, rng.uniform(0.45, 0.52)),
                    max(high * 0.1 * abs(s), high * 0.03),
                    high * 0.06,
                    shade,
                )


# What stands around.


def tree(canvas: Canvas, rng: Random, x: float, foot: float, high: float) -> None:
    trunk = high * rng.uniform(0.03, 0.1)
    canvas.limb(
        [(x, foot), (x + rng.uniform(-0.1, 0.1) * high, foot - high * 0.6)],
        trunk,
        pick(rng, (80, 60, 45), (110, 100, 90), (50, 42, 36)),
        trunk * 0.6,
    )
    green = pick(rng, (60, 95, 45), (90, 120, 60), (130, 110, 50), (40, 60, 40), (150, 90, 40))
    for _ in range(int(rng.integers(8, 40))):
        r = high * rng.uniform(0.05, 0.2)
        canvas.ellipse(
            x + rng.normal(0, 0.2) * high,
            foot - high * rng.uniform(0.45, 1),
            r,
            r * rng.uniform(0.5, 1),
            near(rng, green, 30),
            rng.uniform(0, 3),
        )


def bush(canvas: Canvas, rng: Random, x: float, foot: float, high: float) -> None:
    green = pick(rng, (60, 95, 45), (80, 105, 60), (40, 60, 40), (120, 115, 70))
    for _ in range(int(rng.integers(6, 25))):
        r = high * rng.uniform(0.1, 0.35)
        canvas.ellipse(
            x + rng.normal(0, 0.5) * high,
            foot - high * rng.uniform(0.1, 0.8),
            r,
            r * rng.uniform(0.5, 1),
            near(rng, green, 30),
            rng.uniform(0, 3),
        )


def house(canvas: Canvas, rng: Random, x: float, foot: float, high: float) -> None:
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


def fence(canvas: Canvas, rng: Random, x: float, foot: float, high: float) -> None:
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


def post(canvas: Canvas, rng: Random, x: float, foot: float, high: float) -> None:
    """A pole, with or without a lamp, a sign or a crossbar."""
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


def crate(canvas: Canvas, rng: Random, x: float, foot: float, high: float) -> None:
    """A bin, a box, a bench, a wall: flat sides, one of them darker."""
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


def blob(canvas: Canvas, rng: Random, x: float, foot: float, high: float) -> None:
    """Anything: a heap, a ball, a cloth, a stone, a leaf."""
    count, wide = int(rng.integers(3, 10)), rng.uniform(0.3, 2.0)
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    reach = rng.uniform(0.3, 0.6, count) * high
    if rng.uniform() < 0.4:
        canvas.ellipse(x, foot - high / 2, high * wide / 2, high / 2, color(rng), rng.uniform(0, 3))
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


SURROUNDINGS: tuple[Callable[[Canvas, Random, float, float, float], None], ...] = (
    tree,
    bush,
    house,
    fence,
    post,
    crate,
    blob,
)
THINGS: tuple[tuple[Callable[[Canvas, Random, float, float, float, float], None], float], ...] = (
    (person, 0.52),
    (cat, 0.2),
    (car, 0.28),
)


def shadow(canvas: Canvas, rng: Random, x: float, foot: float, wide: float, deep: float) -> None:
    before = canvas.image.copy()
    canvas.ellipse(
        x + rng.uniform(-0.5, 0.5) * wide,
        foot,
        wide * rng.uniform(0.4, 1),
        deep,
        (0, 0, 0),
        rng.uniform(-0.2, 0.2),
    )
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
        x = (
            x
            * (1 + field(rng, (size, size), int(rng.integers(1, 6))) * rng.uniform(0, 0.35))[
                ..., None
            ]
        )
    x = np.clip(x, 0, 1) ** np.float32(math.exp(rng.normal(0, 0.35))) * rng.uniform(
        0.5, 1.15
    ) + rng.uniform(-0.05, 0.12)
    if rng.uniform() < 0.35:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.3))
    if rng.uniform() < 0.12:  # rain
        for _ in range(int(rng.integers(20, 120))):
            at = rng.uniform(0, size, 2)
            end = at + (rng.uniform(-2, 2), rng.uniform(4, 16))
            cv2.line(
                x, tuple(at.astype(int).tolist()), tuple(end.astype(int).tolist()), (0.75,) * 3, 1
            )
    x = x + rng.standard_normal(x.shape, np.float32) * rng.uniform(0, 0.05)
    pixels = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    if rng.uniform() < 0.4:
        _, coded = cv2.imencode(
            ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        )
        pixels = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return pixels


def scene(rng: Random, size: int) -> Scene:
    """One yard with some people, cats and cars in it, or with none."""
    large = size * OVERSAMPLING
    canvas = Canvas(large)
    horizon = backdrop(canvas, rng)
    for _ in range(int(rng.integers(0, 7))):
        foot = rng.uniform(max(horizon, 0.15 * large) * 0.9, large)
        draw = SURROUNDINGS[int(rng.integers(len(SURROUNDINGS)))]
        draw(
            canvas,
            rng,
            rng.uniform(0, large),
            foot,
            large * math.exp(rng.uniform(math.log(0.08), 0)),
        )
        canvas.finish(rng, -1, rng.uniform(0, 0.25))
    kinds = rng.choice(
        len(THINGS),
        int(rng.choice([0, 1, 2, 3, 4, 6], p=[0.1, 0.25, 0.25, 0.2, 0.12, 0.08])),
        p=[p for _, p in THINGS],
    )
    largest = rng.choice([0.35, 0.6, 1.0], p=[0.5, 0.3, 0.2])  # of the picture's height
    scale = rng.uniform(0.5, 1.6)
    stretch = math.exp(
        rng.uniform(math.log(0.6), math.log(1.35))
    )  # as pictures that are no squares
    placed = []
    for kind in kinds:
        high = (
            large
            * math.exp(rng.uniform(math.log(0.09), math.log(largest)))
            * (scale if kind == 0 else 1)
        )
        high = min(high * (0.55 if kind else 1), large * 1.05)
        placed.append(
            (
                rng.uniform(0.15, 1.05) * large
                if high < 0.6 * large
                else rng.uniform(0.85, 1.2) * large,
                int(kind),
                max(high, large * 0.05),
            )
        )
    drawn = np.zeros(len(placed), np.int64)
    for index, (foot, kind, high) in enumerate(sorted(placed)):
        x = rng.uniform(0.02, 0.98) * large
        if rng.uniform() < 0.6:
            shadow(canvas, rng, x, foot, high * (0.4, 0.8, 1.3)[kind], high * 0.05)
        THINGS[kind][0](canvas, rng, x, foot, high, stretch)
        drawn[index] = np.count_nonzero(canvas.mask)
        canvas.finish(rng, index, rng.uniform(0, 0.3))
        if rng.uniform() < 0.12:  # something in front
            draw = SURROUNDINGS[int(rng.choice([1, 3, 4, 5]))]
            draw(
                canvas,
                rng,
                x + rng.normal(0, 0.3) * high,
                foot + high * 0.1,
                high * rng.uniform(0.3, 0.8),
            )
            canvas.finish(rng, -1, rng.uniform(0, 0.25))
    image = camera(cv2.resize(canvas.image, (size, size), interpolation=cv2.INTER_AREA), rng)
    boxes, classes = [], []
    for index, (_, kind, _) in enumerate(sorted(placed)):
        rows, columns = np.nonzero(canvas.owner == index)
        if len(rows) < max(0.4 * drawn[index], 60):
            continue
        box = (
            np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / OVERSAMPLING
        )
        if min(box[2] - box[0], box[3] - box[1]) >= 4:
            boxes.append(box)
            classes.append(kind)
    return Scene(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64))
