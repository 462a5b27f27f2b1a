"""People, cats and cars of many makes, and the canvas they are drawn on, for bench/yard_scenes.py.

Nothing here is a photograph: people are jointed figures in clothes or plain silhouettes, cats
ellipses with ears and a tail, cars profiles drawn out to their width and turned. Some of each are
plain, of a few flat shapes, so that what is learned is how parts lie and not how they are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Random = np.random.Generator
Points = Sequence[tuple[float, float]]
Color = tuple[int, int, int]


class Spot(NamedTuple):
    """Where something stands, how high it is, in pixels, and how much it is stretched across."""

    x: float
    foot: float
    high: float
    wide: float = 1.0


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
        self, x: float, y: float, a: float, b: float, color: Color, *, turn: float = 0
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


class Person:
    """A figure that walks, stands or crouches, seen from a side or from the front."""

    def __init__(self, canvas: Canvas, rng: Random, spot: Spot) -> None:
        self.canvas, self.rng, self.spot = canvas, rng, spot
        h = self.high = spot.high
        self.side, self.turn = bool(rng.uniform() < 0.5), 1 if rng.uniform() < 0.5 else -1
        self.clothes, self.trousers, self.shoes = color(rng), color(rng, 0.6), color(rng, 0.5)
        self.skin, self.hair = pick(rng, *SKIN), pick(rng, *HAIR)
        style = rng.uniform()
        if style < 0.08:  # a silhouette
            self.clothes = self.trousers = self.skin = self.hair = self.shoes = color(rng, 0.3)
        elif style < 0.18:
            self.trousers = self.shoes = self.clothes
        self.head = h * rng.uniform(0.055, 0.085)
        self.hip, self.shoulder = h * rng.uniform(0.44, 0.53), h * rng.uniform(0.78, 0.84)
        across = rng.uniform(0.07, 0.11) if self.side else rng.uniform(0.10, 0.145)
        self.across = h * across * rng.uniform(0.85, 1.25)
        self.lean = h * rng.uniform(-0.05, 0.07) * self.turn
        self.squat = rng.uniform(0.35, 0.7) if rng.uniform() < 0.08 else 1.0
        self.swing = rng.uniform(-0.5, 0.5) if self.side else rng.uniform(-0.14, 0.14)
        self.arm_width, self.bare = h * rng.uniform(0.045, 0.07), rng.uniform() < 0.3

    def at(self, dx: float, up: float) -> tuple[float, float]:
        return self.spot.x + dx * self.spot.wide, self.spot.foot - up * self.squat

    def draw(self) -> None:
        arms = self.rng.uniform() > 0.08
        if arms:
            self.draw_arm(-1)
        self.draw_legs()
        self.draw_body()
        if arms:
            self.draw_arm(1)
        self.draw_head()

    def draw_legs(self) -> None:
        rng, h = self.rng, self.high
        stance = 0.0 if self.side else self.across * rng.uniform(0.3, 0.6)
        leg, thick = self.hip * 0.5, h * rng.uniform(0.065, 0.11)
        for sign in (-1, 1):
            a = self.swing * sign
            bend = (rng.uniform(0, 0.5) if self.side else 0.05) * self.turn
            knee = (
                sign * stance + leg * math.sin(a) * self.turn,
                self.hip - leg * math.cos(a),
            )
            ankle = (
                knee[0] + leg * math.sin(a * self.turn - bend),
                max(h * 0.02, knee[1] - leg * 0.95),
            )
            shade = self.trousers if sign > 0 else near(rng, self.trousers, 18)
            joints = [self.at(sign * stance * 0.9, self.hip), self.at(*knee), self.at(*ankle)]
            self.canvas.limb(joints, thick * math.sqrt(self.spot.wide), shade, thick * 0.6)
            x, y = joints[2]
            toes = self.turn * h * 0.02 * self.side
            self.canvas.ellipse(x + toes, y, h * 0.04, h * 0.022, self.shoes)

    def draw_arm(self, sign: int) -> None:
        rng, aside = self.rng, 0 if self.side else sign
        a = -self.swing * sign + rng.uniform(-0.25, 0.25) + aside * rng.uniform(0.02, 0.3)
        if rng.uniform() < 0.07:
            a += sign * rng.uniform(0.8, 2.4)  # it waves
        b = a + rng.uniform(-0.1, 0.9) * self.turn * (1 if self.side else 0.2)
        upper = self.high * rng.uniform(0.15, 0.18)
        start = (self.lean + aside * self.across * 0.92, self.shoulder - self.high * 0.02)
        elbow = (start[0] + upper * math.sin(a), start[1] - upper * math.cos(a))
        hand = (elbow[0] + upper * 0.9 * math.sin(b), elbow[1] - upper * 0.9 * math.cos(b))
        shade = self.skin if self.bare else near(rng, self.clothes, 15)
        joints = [self.at(*start), self.at(*elbow), self.at(*hand)]
        self.canvas.limb(joints, self.arm_width, shade, self.arm_width * 0.7)

    def draw_body(self) -> None:
        rng, h, across, lean = self.rng, self.high, self.across, self.lean
        waist, hem = across * rng.uniform(0.7, 1.05), self.hip - h * rng.uniform(0.0, 0.06)
        if rng.uniform() < 0.18:  # a coat or a dress
            hem, waist = self.hip - h * rng.uniform(0.1, 0.33), across * rng.uniform(1.0, 1.6)
        neck = across * rng.uniform(0.25, 0.5)
        half = [(waist, hem), (across, self.shoulder - h * 0.03), (neck, self.shoulder + h * 0.01)]
        leans = (0.0, lean, lean)
        left = [self.at(m - dx, up) for (dx, up), m in zip(half, leans)]
        right = [self.at(m + dx, up) for (dx, up), m in zip(half, leans)]
        self.canvas.polygon([*left, *right[::-1]], self.clothes)
        if rng.uniform() < 0.3:
            middle = self.at(lean * 0.6, (self.shoulder + self.hip) / 2)
            wide, high = across * self.spot.wide * 1.05, (self.shoulder - self.hip) * 0.58
            self.canvas.ellipse(*middle, wide, high, self.clothes)
        if rng.uniform() < 0.2:  # something on the back
            back = self.at(lean - self.turn * across * 0.9, self.shoulder - h * 0.14)
            self.canvas.ellipse(*back, h * 0.06 * self.spot.wide, h * 0.11, color(rng))

    def draw_head(self) -> None:
        rng, head, wide, turn = self.rng, self.head, self.spot.wide, self.turn * self.side
        x, y = self.at(self.lean * 1.2, self.high - head)
        self.canvas.limb([self.at(self.lean, self.shoulder), (x, y)], head * 0.9, self.skin)
        self.canvas.ellipse(x, y, head * 0.85 * wide, head * 1.05, self.skin)
        if rng.uniform() < 0.75:
            at = (x - turn * head * 0.25, y - head * rng.uniform(0.2, 0.5))
            high = head * rng.uniform(0.55, 0.95)
            self.canvas.ellipse(*at, head * 0.9 * wide, high, self.hair)
            if rng.uniform() < 0.6:
                at = (x + turn * head * 0.25, y + head * 0.25)
                self.canvas.ellipse(*at, head * 0.6 * wide, head * 0.7, self.skin)


PLAIN = 0.25  # of people, cars and cats


def person(canvas: Canvas, rng: Random, spot: Spot) -> None:
    if rng.uniform() < PLAIN:
        plain_person(canvas, rng, spot)
    else:
        Person(canvas, rng, spot).draw()


def slab(canvas: Canvas, rng: Random, box: tuple[float, ...], shade: Color) -> None:
    """A rectangle, an ellipse or something in between: x0, y0, x1, y1."""
    x0, y0, x1, y1 = box
    x, y, a, b = (x0 + x1) / 2, (y0 + y1) / 2, abs(x1 - x0) / 2, abs(y1 - y0) / 2
    steps = np.linspace(0, 2 * math.pi, 24, endpoint=False) + math.pi / 24
    power = rng.choice([0.15, 0.5, 1.0])
    u, v = np.cos(steps), np.sin(steps)
    u, v = np.sign(u) * np.abs(u) ** power, np.sign(v) * np.abs(v) ** power
    canvas.polygon(np.stack([x + a * u, y + b * v], 1), shade)  # type: ignore[arg-type]


def plain_person(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """A head on a trunk on two legs, with arms or without."""
    x, foot, h, wide = spot
    clothes, trousers = color(rng), color(rng, 0.7)
    skin = pick(rng, *SKIN) if rng.uniform() < 0.8 else clothes
    if rng.uniform() < 0.25:
        trousers = clothes
    head, hip = rng.uniform(0.06, 0.11) * h, rng.uniform(0.36, 0.52) * h
    half = rng.uniform(0.08, 0.15) * h * wide
    neck = h - 2 * head + rng.uniform(0, 0.4) * head
    swing, thick = rng.uniform(-0.12, 0.12) * h * wide, half * rng.uniform(0.5, 0.9)
    for sign in (-1, 1):
        start, stop = (x + sign * half * 0.45, foot - hip * 1.05), x + sign * (half * 0.45 + swing)
        canvas.limb([start, (stop, foot - thick * 0.4)], thick, trousers)
        if rng.uniform() < 0.7:
            shoulder = (x + sign * half * rng.uniform(0.7, 1.0), foot - neck * 0.95)
            hand = (shoulder[0] - sign * swing + rng.normal(0, 0.04) * h, foot - hip)
            canvas.limb([shoulder, hand], half * rng.uniform(0.3, 0.5), near(rng, clothes, 20))
    slab(canvas, rng, (x - half, foot - neck, x + half, foot - hip * 0.9), clothes)
    canvas.ellipse(x, foot - h + head, head * wide, head, skin)
    if rng.uniform() < 0.5:
        canvas.ellipse(x, foot - h + head * 0.6, head * wide, head * 0.6, pick(rng, *HAIR))


# Cats.

FUR = ((25, 24, 24), (210, 130, 60), (130, 125, 120), (235, 232, 225), (150, 115, 75), (70, 62, 58))


def _cat_head(
    canvas: Canvas,
    rng: Random,
    at: Callable[[float, float], tuple[float, float]],
    face: tuple[float, float, float],
    furs: tuple[Color, Color, Color],
) -> None:
    """face: where its middle is, and how large it is."""
    fur, dark, pale = furs
    x, y, head = face
    wide = head * rng.uniform(0.95, 1.15)
    for sign in (-1, 1):
        tip = (x + sign * head * rng.uniform(0.6, 0.9), y + head * rng.uniform(1.35, 1.8))
        inner, outer = (
            (x + sign * head * 0.15, y + head * 0.7),
            (x + sign * head * 0.95, y + head * 0.3),
        )
        canvas.polygon([at(*inner), at(*tip), at(*outer)], dark if rng.uniform() < 0.5 else fur)
    canvas.ellipse(*at(x, y), wide, head * 0.92, fur)
    if rng.uniform() < 0.6:
        canvas.ellipse(*at(x + head * 0.4, y - head * 0.35), head * 0.45, head * 0.35, pale)
        for dx in (0.05, 0.6):
            eye = pick(rng, (20, 20, 20), (170, 190, 60))
            canvas.ellipse(*at(x + head * dx, y + head * 0.15), head * 0.13, head * 0.13, eye)


def plain_cat(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """A long body on short legs, a round head with ears, a tail that rises."""
    x, foot, high, wide = spot
    fur = pick(rng, *FUR) if rng.uniform() < 0.8 else color(rng, 0.7)
    turn = wide if rng.uniform() < 0.5 else -wide
    half, low = high * rng.uniform(0.55, 0.85), high * rng.uniform(0.2, 0.4)
    top, head = low + high * rng.uniform(0.28, 0.42), high * rng.uniform(0.15, 0.22)
    for along in (-0.8, -0.6, 0.6, 0.8):
        step = rng.normal(0, 0.08) * high
        legs = [(x + turn * along * half, foot - low * 1.2), (x + turn * along * half + step, foot)]
        canvas.limb(legs, high * rng.uniform(0.07, 0.14), fur)
    bend = rng.uniform(0.1, 0.6) * high
    tail = [(-half * 0.9, top * 0.9), (-half - bend * 0.6, top + 0.1 * high), (-half - bend, high)]
    canvas.limb([(x + turn * u, foot - v) for u, v in tail], high * rng.uniform(0.05, 0.11), fur)
    slab(canvas, rng, (x - half * wide, foot - top, x + half * wide, foot - low), fur)
    at, up = x + turn * (half + head * rng.uniform(-0.2, 0.6)), foot - top * rng.uniform(0.9, 1.2)
    for aside in (-0.55, 0.55):
        tip = (at + aside * 1.3 * head, up - head * rng.uniform(1.4, 1.8))
        ear = [(at + (aside - 0.4) * head, up - head * 0.5), tip]
        canvas.polygon([*ear, (at + (aside + 0.4) * head, up - head * 0.5)], fur)
    canvas.ellipse(at, up, head * wide, head, fur)


def cat(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """A cat that walks, stands or sits, seen from a side."""
    if rng.uniform() < PLAIN:
        return plain_cat(canvas, rng, spot)
    x, foot, high, wide = spot
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
            *at(0, back), length * 0.4 * wide, radius * 1.1, fur, turn=rng.uniform(-0.12, 0.12)
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
    _cat_head(canvas, rng, at, (*centre, high * rng.uniform(0.15, 0.21)), (fur, dark, pale))


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


def plain_car(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """From the side: a body on two wheels, a cabin with windows on it."""
    x, foot, high, wide = spot
    paint = pick(rng, *PAINT) if rng.uniform() < 0.6 else color(rng)
    half, turn = high * rng.uniform(1.1, 1.6) * wide, 1 if rng.uniform() < 0.5 else -1
    wheel, belt = high * rng.uniform(0.14, 0.22), high * rng.uniform(0.5, 0.68)
    back, front = rng.uniform(0.4, 1.0), rng.uniform(0.1, 0.55)
    slant = rng.uniform(0, 0.3)
    glass = pick(rng, (40, 46, 54), (150, 185, 215), (100, 110, 120))
    for shrink, shade in ((1.0, paint), (0.82, glass))[: 1 + (rng.uniform() < 0.85)]:
        low, top = foot - belt * 0.98, foot - belt - (high - belt) * shrink
        cabin = [(-back, low), (slant - back, top), (front - slant, top), (front, low)]
        canvas.polygon([(x + turn * u * half * shrink, y) for u, y in cabin], shade)
    if rng.uniform() < 0.6:
        middle = x + turn * half * (front - back) / 2
        canvas.limb([(middle, foot - belt), (middle, foot - high * 0.95)], high * 0.05, paint)
    slab(canvas, rng, (x - half, foot - belt, x + half, foot - wheel * 0.9), paint)
    for along in (-rng.uniform(0.5, 0.7), rng.uniform(0.5, 0.7)):
        for part, shade in ((1.0, (24, 24, 26)), (rng.uniform(0.3, 0.6), (150, 150, 154))):
            canvas.ellipse(x + along * half, foot - wheel, wheel * part, wheel * part, shade)
    if rng.uniform() < 0.5:
        for end, shade in ((1, (250, 240, 190)), (-1, (190, 30, 30))):
            lamp = (x + turn * end * half * 0.94, foot - belt * 0.75)
            canvas.ellipse(*lamp, high * 0.05, high * 0.06, shade)


def car(canvas: Canvas, rng: Random, spot: Spot) -> None:
    """A car at any angle: its profile, drawn out to its width, seen from a little above."""
    if rng.uniform() < PLAIN:
        return plain_car(canvas, rng, spot)
    x, foot, high, wide = spot
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
