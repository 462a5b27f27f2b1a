"""What moves in a yard: people, cars and cats, drawn joint by joint in the pose of each moment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

FINER = 3  # times that a figure is drawn larger than it is shown, for smooth edges
HEIGHTS = {"person": 1.75, "car": 1.5, "cat": 0.38}  # metres
WIDTHS = {"person": 1.0, "car": 4.6, "cat": 0.8}  # metres that a drawing needs
SPEEDS = {"person": (1.1, 1.7), "car": (3.0, 5.5), "cat": (0.8, 1.6)}  # metres a second
STRIDES = {"person": 1.4, "car": 1.9, "cat": 0.5}  # metres in which a pose comes back

SKINS = ((224, 188, 160), (196, 150, 120), (141, 98, 72), (96, 64, 48))
CLOTHES = (
    (180, 40, 45),
    (40, 70, 130),
    (60, 60, 66),
    (200, 196, 186),
    (70, 110, 70),
    (214, 160, 40),
    (120, 60, 110),
    (60, 130, 150),
)
TROUSERS = ((45, 55, 85), (50, 48, 46), (110, 96, 74), (150, 146, 138))
PAINTS = (
    (170, 26, 30),
    (36, 60, 110),
    (190, 192, 196),
    (40, 42, 46),
    (225, 225, 220),
    (60, 90, 70),
)
FURS = ((70, 64, 60), (176, 116, 60), (28, 27, 28), (200, 190, 176))


class Mover:
    """One figure with its own looks, whose pose follows the way it has gone."""

    def __init__(self, label: str, random: np.random.Generator) -> None:
        self.label = label
        self.height = HEIGHTS[label] * float(random.uniform(0.9, 1.1))  # metres
        self.speed = float(random.uniform(*SPEEDS[label]))
        pick = lambda colours: colours[int(random.integers(len(colours)))]  # noqa: E731
        self.colours = {
            "skin": pick(SKINS),
            "hair": (int(random.integers(20, 120)),) * 3,
            "coat": pick(CLOTHES),
            "legs": pick(TROUSERS),
            "paint": pick(PAINTS),
            "fur": pick(FURS),
        }
        self.build = float(random.uniform(0.85, 1.2))
        self.kind = int(random.integers(3))
        self.bag = bool(random.random() < 0.3)
        self.grain = random.normal(0, 1, (64, 64)).astype(np.float32)

    def draw(self, pixels: float, way: float, turn: float) -> np.ndarray:
        """RGBA, uint8 [h, w, 4], its feet at the middle of the lower edge.

        pixels: for a metre; way: metres gone; turn: of its direction, 0 to the right, pi / 2
        towards the camera.
        """
        metre = pixels * FINER
        size = (
            max(int(WIDTHS[self.label] * metre * 1.1), 8),
            max(int(self.height * metre * 1.06), 8),
        )
        picture = Image.new("RGBA", size)
        pen = _Pen(picture, metre, size, flip=math.cos(turn) < 0)
        phase = 2 * math.pi * way / STRIDES[self.label]
        getattr(self, f"_{self.label}")(pen, phase, turn)
        small = picture.resize((max(size[0] // FINER, 2), max(size[1] // FINER, 2)), Image.BOX)
        return self._shaded(np.asarray(small).astype(np.float32))

    def _shaded(self, picture: np.ndarray) -> np.ndarray:
        """Light from above and from the left, and the grain of cloth, paint or fur."""
        height, width = picture.shape[:2]
        down = np.linspace(1.12, 0.8, height)[:, None]
        across = np.linspace(1.1, 0.88, width)[None]
        rows, columns = np.arange(height) % 64, np.arange(width) % 64
        grain = 1 + 0.05 * self.grain[rows][:, columns]
        alpha = picture[..., 3:] / 255
        colour = picture[..., :3] / np.maximum(
            alpha, 0.02
        )  # a resized picture is dark at its edges
        picture[..., :3] = (
            np.where(alpha > 0, colour.clip(0, 255), 0) * (down * across * grain)[..., None]
        )
        return picture.clip(0, 255).astype(np.uint8)

    def _person(self, pen: _Pen, phase: float, turn: float) -> None:
        h, side, wide = self.height, abs(math.cos(turn)), self.build
        colours = self.colours
        sway = 0.012 * h * abs(math.sin(phase))
        hip, shoulder = (0.0, 0.5 * h - sway), (0.03 * h * side, 0.82 * h - sway)
        apart = 0.05 * h * (1 - side)
        reach = 0.45 * side + 0.12 * (1 - side)
        for sign in (-1, 1):  # the far arm and leg first
            swing = sign * math.sin(phase)
            bend = 0.7 * max(0.0, sign * math.cos(phase)) + 0.1
            shade = 0.75 if sign < 0 else 1.0
            knee = _from((hip[0] + sign * apart, hip[1]), 0.245 * h, reach * swing)
            foot = _from(knee, 0.235 * h, reach * swing - bend * (0.3 + 0.7 * side))
            pen.limb(
                [(hip[0] + sign * apart, hip[1]), knee, foot],
                0.085 * h * wide,
                colours["legs"],
                shade,
            )
            pen.limb(
                [foot, (foot[0] + 0.06 * h * (0.3 + side), foot[1] - 0.01 * h)],
                0.05 * h,
                (35, 32, 30),
                shade,
            )
            start = (shoulder[0] + sign * 0.11 * h * (1 - side) * wide, shoulder[1])
            elbow = _from(start, 0.17 * h, -0.8 * reach * swing + sign * 0.15 * (1 - side))
            hand = _from(elbow, 0.15 * h, -0.8 * reach * swing + 0.4 * side)
            if sign < 0:
                pen.limb([start, elbow, hand], 0.055 * h * wide, colours["coat"], shade)
                self._trunk(pen, hip, shoulder, side)
            else:
                pen.limb([start, elbow, hand], 0.055 * h * wide, colours["coat"], 0.92)
                pen.dot(hand, 0.026 * h, colours["skin"])
        head = (shoulder[0] + 0.02 * h * side, 0.925 * h - sway)
        pen.limb([shoulder, head], 0.055 * h, colours["skin"], 0.9)
        pen.dot(head, 0.062 * h, colours["skin"])
        pen.dot((head[0] - 0.018 * h * side, head[1] + 0.022 * h), 0.058 * h, colours["hair"])

    def _trunk(self, pen: _Pen, hip: Any, shoulder: Any, side: float) -> None:
        h, half = self.height, (0.075 + 0.045 * (1 - side)) * self.height * self.build
        corners = [
            (hip[0] - 0.8 * half, hip[1] - 0.03 * h),
            (hip[0] + 0.8 * half, hip[1] - 0.03 * h),
            (shoulder[0] + half, shoulder[1] - 0.02 * h),
            (shoulder[0] + 0.5 * half, shoulder[1] + 0.045 * h),
            (shoulder[0] - 0.5 * half, shoulder[1] + 0.045 * h),
            (shoulder[0] - half, shoulder[1] - 0.02 * h),
        ]
        pen.shape(corners, self.colours["coat"])
        if self.bag:
            middle = (shoulder[0] - 1.2 * half, shoulder[1] - 0.14 * h)
            pen.dot(middle, 0.075 * h, self.colours["paint"])

    def _car(self, pen: _Pen, phase: float, turn: float) -> None:
        h, colours = self.height, self.colours
        roofs = (
            [(-1.5, 0.9), (-1.15, 1.0), (-0.9, 1.5), (0.55, 1.5), (1.2, 0.98)],
            [(-2.0, 0.95), (-1.2, 1.02), (-0.7, 1.46), (0.5, 1.46), (1.1, 1.0)],
            [(-2.1, 1.0), (-2.05, 1.5), (-1.8, 1.55), (0.6, 1.55), (1.25, 1.05)],
        )
        roof = [(x, y * h / 1.5) for x, y in roofs[self.kind]]
        body = [
            (-2.15, 0.3),
            (-2.18, 0.75),
            (-2.1, 0.95),
            *roof,
            (2.0, 0.86),
            (2.2, 0.62),
            (2.2, 0.3),
        ]
        pen.shape(body, colours["paint"])
        glass = [(x * 0.93 - 0.02, y * 0.96 if y > 1.2 else y + 0.03) for x, y in roof[1:]]
        pen.shape(glass, (52, 64, 74))
        pen.limb([(-0.2, 0.95), (-0.18, 1.48 * h / 1.5)], 0.07, colours["paint"], 0.9)
        pen.limb([(-2.1, 0.55), (2.15, 0.55)], 0.04, colours["paint"], 0.7)
        pen.dot((2.08, 0.7), 0.1, (240, 236, 210))
        pen.dot((-2.1, 0.78), 0.09, (170, 30, 26))
        for x in (-1.35, 1.4):
            pen.dot((x, 0.33), 0.33, (24, 24, 26))
            pen.dot((x, 0.33), 0.19, (150, 150, 154))
            spoke = (x + 0.15 * math.cos(phase), 0.33 - 0.15 * math.sin(phase))
            pen.limb([(x, 0.33), spoke], 0.06, (80, 80, 84), 1.0)

    def _cat(self, pen: _Pen, phase: float, turn: float) -> None:
        h, fur = self.height, self.colours["fur"]
        side = max(abs(math.cos(turn)), 0.35)
        back = [(-0.26 * side, 0.68 * h), (0.0, 0.64 * h), (0.2 * side, 0.7 * h)]
        for i, x in enumerate((-0.22, -0.18, 0.16, 0.2)):
            swing = 0.06 * math.sin(phase + i * math.pi / 2)
            top = (x * side, 0.5 * h)
            pen.limb(
                [top, (x * side + swing, 0.2 * h), (x * side + 1.3 * swing, 0.03 * h)],
                0.1 * h,
                fur,
                0.85,
            )
        pen.limb(back, 0.38 * h, fur, 1.0)
        tail = [
            (-0.26 * side, 0.7 * h),
            (-0.36 * side, 0.8 * h),
            (-0.34 * side + 0.03 * math.sin(phase), 1.0 * h),
        ]
        pen.limb(tail, 0.09 * h, fur, 0.9)
        head = (0.28 * side, 0.82 * h)
        pen.dot(head, 0.16 * h, fur)
        for x in (-0.11, 0.08):
            ear = [
                (head[0] + x * h, head[1] + 0.08 * h),
                (head[0] + (x + 0.02) * h, head[1] + 0.24 * h),
            ]
            pen.shape([*ear, (head[0] + (x + 0.1) * h, head[1] + 0.1 * h)], fur)


class _Pen:
    """Draws in metres, x to the right of the middle and y up from the ground."""

    def __init__(
        self, picture: Image.Image, metre: float, size: tuple[int, int], flip: bool
    ) -> None:
        self.draw, self.metre, self.size = ImageDraw.Draw(picture), metre, size
        self.sign = -1 if flip else 1

    def at(self, point: Any) -> tuple[float, float]:
        return (
            self.size[0] / 2 + self.sign * point[0] * self.metre,
            self.size[1] - 1 - point[1] * self.metre,
        )

    def limb(self, points: Any, width: float, colour: Any, shade: float) -> None:
        """Rounded, so darker at its edges."""
        for dark, part, off in ((0.7, 1.0, 0.0), (1.0, 0.62, 0.1)):
            fill = tuple(int(c * shade * dark) for c in colour)
            places = [self.at((x - off * width, y)) for x, y in points]
            thick = max(int(part * width * self.metre), 2)
            self.draw.line(places, fill=fill, width=thick, joint="curve")
            r = part * width * self.metre / 2
            for x, y in places:
                self.draw.ellipse([x - r, y - r, x + r, y + r], fill=fill)

    def dot(self, point: Any, radius: float, colour: Any) -> None:
        (x, y), r = self.at(point), radius * self.metre
        self.draw.ellipse([x - r, y - r, x + r, y + r], fill=tuple(colour))

    def shape(self, points: Any, colour: Any) -> None:
        self.draw.polygon([self.at(p) for p in points], fill=tuple(colour))


def _from(start: tuple[float, float], length: float, angle: float) -> tuple[float, float]:
    """A joint, hanging down at 0, ahead at pi / 2."""
    return start[0] + length * math.sin(angle), start[1] - length * math.cos(angle)
