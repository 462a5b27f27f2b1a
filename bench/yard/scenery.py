"""A yard: sky, house, lawn, drive, trees; and what wind, clouds, rain, lamps and the camera do to
it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 640, 480
HORIZON = 130  # row
CAMERA = 2.6  # metres above the ground


def pixels_per_metre(y: float) -> float:
    """Of what stands on the ground with its feet in row y."""
    return max(y - HORIZON, 1) / CAMERA


@dataclass
class Weather:
    """wind: pixels that treetops sway; clouds: part of the light their shadows take; rain: streaks
    in a picture; light: of the sun, 1 at noon; lamps: seconds at which they go on or off; sun:
    shadows fall; noise: deviation in grey levels.
    """

    wind: float = 0.7
    clouds: float = 0.0
    rain: int = 0
    light: float = 1.0
    lamps: tuple[float, ...] = ()
    sun: bool = True
    noise: float = 2.0


@dataclass
class Tree:
    """RGBA with its foot at the middle of the lower edge; `base` is its row on the ground."""

    picture: np.ndarray
    x: float
    base: float
    phase: float = 0.0
    ripple: np.ndarray = field(default_factory=lambda: np.zeros(1))


def noise(random: np.random.Generator, height: int, width: int, coarse: int) -> np.ndarray:
    """Smooth noise of about -1 to 1, float32 [height, width]; `coarse` pixels from one hill to the
    next.
    """
    small = random.normal(0, 1, (height // coarse + 3, width // coarse + 3)).astype(np.float32)
    picture = Image.fromarray(small).resize(
        (small.shape[1] * coarse, small.shape[0] * coarse), Image.BICUBIC
    )
    return np.asarray(picture)[coarse : coarse + height, coarse : coarse + width]


class Scenery:
    """A yard that does not move; `trees` are drawn apart, since they do."""

    def __init__(self, random: np.random.Generator, trees: int) -> None:
        self.random = random
        self.picture = self._ground()
        self._house()
        self.trees = [self._tree(i, trees) for i in range(trees)]
        self.trees.sort(key=lambda tree: tree.base)
        self.clouds = noise(random, HEIGHT, 3 * WIDTH, 120)
        self.streak_seed = int(random.integers(1 << 30))

    def _ground(self) -> np.ndarray:
        random = self.random
        rows = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
        sky = np.array([150, 180, 215], np.float32) + 60 * rows
        picture = np.broadcast_to(sky, (HEIGHT, WIDTH, 3)).copy()
        lawn = np.array(
            [[88, 112, 62], [110, 118, 70], [96, 104, 76]][int(random.integers(3))], np.float32
        )
        grain = sum(
            noise(random, HEIGHT, WIDTH, c) * g for c, g in ((2, 9), (5, 8), (17, 9), (60, 10))
        )
        ground = lawn + np.asarray(grain)[..., None] * np.array([1, 1, 0.7], np.float32)
        picture[HORIZON:] = ground[HORIZON:]
        drive = Image.new("L", (WIDTH, HEIGHT))
        left = float(random.uniform(0.15, 0.6)) * WIDTH
        corners = [
            (left, HORIZON + 40),
            (left + 70, HORIZON + 40),
            (left + 330, HEIGHT),
            (left - 90, HEIGHT),
        ]
        ImageDraw.Draw(drive).polygon(corners, fill=255)
        band = float(random.uniform(230, 300))
        ImageDraw.Draw(drive).rectangle([0, band, WIDTH, band + 46], fill=255)
        part = (
            np.asarray(drive.filter(ImageFilter.GaussianBlur(2))).astype(np.float32)[..., None]
            / 255
        )
        asphalt = 118 + 7 * noise(random, HEIGHT, WIDTH, 2) + 6 * noise(random, HEIGHT, WIDTH, 40)
        return picture * (1 - part) + asphalt[..., None] * part

    def _house(self) -> None:
        random = self.random
        image = Image.fromarray(self.picture.clip(0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        wall = tuple(int(n) for n in random.integers(120, 210, 3))
        left, wide = int(random.integers(-60, 380)), int(random.integers(180, 300))
        draw.rectangle([left, 36, left + wide, HORIZON + 26], fill=wall)
        draw.polygon(
            [(left - 14, 38), (left + wide // 2, 2), (left + wide + 14, 38)], fill=(110, 62, 50)
        )
        for x in range(left + 24, left + wide - 40, 62):
            draw.rectangle(
                [x, 62, x + 30, 102], fill=(70, 84, 100), outline=(230, 230, 225), width=3
            )
        for x in range(0, WIDTH, 13):  # a fence
            if not left - 8 < x < left + wide:
                draw.rectangle([x, HORIZON - 12, x + 8, HORIZON + 20], fill=(124, 98, 72))
        picture = np.asarray(image).astype(np.float32)
        picture[: HORIZON + 30] += 3 * noise(random, HORIZON + 30, WIDTH, 3)[..., None]
        self.picture = picture

    def _tree(self, number: int, count: int) -> Tree:
        random = self.random
        base = float(random.uniform(HORIZON + 60, HEIGHT - 70))
        tall = min(int(pixels_per_metre(base) * random.uniform(2.2, 4.0)), int(base) + 60)
        wide = int(tall * random.uniform(0.5, 0.8))
        image = Image.new("RGBA", (wide, tall))
        draw = ImageDraw.Draw(image)
        trunk = max(int(tall * 0.035), 3)
        draw.rectangle([wide // 2 - trunk, tall * 0.4, wide // 2 + trunk, tall], fill=(82, 64, 48))
        green = np.array([[52, 84, 40], [72, 92, 44], [98, 84, 38]][int(random.integers(3))])
        for _ in range(170):
            angle, far = random.uniform(0, 2 * math.pi), math.sqrt(random.uniform(0, 1))
            x = wide / 2 + far * math.cos(angle) * wide * 0.42
            y = tall * 0.32 + far * math.sin(angle) * tall * 0.28
            r = random.uniform(0.03, 0.08) * wide
            colour = tuple(int(n) for n in (green * random.uniform(0.6, 1.5)).clip(0, 255))
            draw.ellipse([x - r, y - r * 0.8, x + r, y + r * 0.8], fill=colour)
        x = (number + random.uniform(0.2, 0.8)) / count * WIDTH
        ripple = random.uniform(0, 2 * math.pi, (tall // 6 + 2, wide // 6 + 2))
        return Tree(np.asarray(image), float(x), base, float(random.uniform(0, 6)), ripple)

    def swaying(self, tree: Tree, time: float, wind: float) -> np.ndarray:
        """A tree's picture in the wind: the top sways, leaves flutter."""
        height, width = tree.picture.shape[:2]
        gust = 0.6 + 0.4 * math.sin(0.5 * time + tree.phase)
        up = np.linspace(1, 0, height)[:, None] ** 1.5
        sway = wind * gust * up * math.sin(2.2 * time + tree.phase)
        phases = tree.ripple.repeat(6, axis=0).repeat(6, axis=1)[:height, :width]
        flutter = 0.5 * wind * gust * (up > 0.2) * np.sin(7 * time + phases)
        columns = np.arange(width)[None] - np.round(sway + flutter).astype(int)
        rows = np.arange(height)[:, None] + np.round(0.6 * flutter).astype(int)
        return tree.picture[rows.clip(0, height - 1), columns.clip(0, width - 1)]


class Light:
    """What makes a drawn yard a picture of a camera."""

    def __init__(self, scenery: Scenery, weather: Weather, random: np.random.Generator) -> None:
        self.scenery, self.weather, self.random = scenery, weather, random
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        self._lamps = np.zeros((HEIGHT, WIDTH), np.float32)
        for _ in range(2):
            u, v = random.uniform(80, WIDTH - 80), random.uniform(HORIZON + 40, HEIGHT - 100)
            self._lamps += np.exp(-((x - u) ** 2 / 150**2 + (y - v) ** 2 / 110**2))

    def __call__(self, picture: np.ndarray, time: float) -> np.ndarray:
        """uint8 [H, W, 3] of float32."""
        weather, random = self.weather, self.random
        light: Any = weather.light
        if weather.clouds:
            begin = int(26 * time) % (2 * WIDTH)
            field = self.scenery.clouds[:, begin : begin + WIDTH]
            shade = 1 / (1 + np.exp(-4 * field))
            light = light * (1 - weather.clouds * shade)
        if weather.lamps and sum(time >= moment for moment in weather.lamps) % 2:
            light = light + 0.8 * self._lamps.clip(0, 1)
        picture = picture * (np.asarray(light, np.float32)[..., None] if np.ndim(light) else light)
        if weather.rain:
            picture = self._rain(0.9 * picture + 14)
        dark = weather.noise * random.normal(0, 1, (HEIGHT, WIDTH, 1)).astype(np.float32)
        return (picture + dark + random.normal(0, 0.4)).clip(0, 255).astype(np.uint8)

    def _rain(self, picture: np.ndarray) -> np.ndarray:
        random, count = self.random, self.weather.rain
        streaks = Image.new("L", (WIDTH, HEIGHT))
        draw = ImageDraw.Draw(streaks)
        for x, y, length in zip(
            random.uniform(0, WIDTH, count),
            random.uniform(-20, HEIGHT, count),
            random.uniform(8, 26, count),
        ):
            draw.line(
                [x, y, x + 0.15 * length, y + length], fill=int(random.integers(40, 110)), width=1
            )
        part = np.asarray(streaks).astype(np.float32)[..., None] / 255
        return picture * (1 - part) + 215 * part
