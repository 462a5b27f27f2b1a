"""Renders videos of yards with the truth of what was in them, to judge `linnet watch` by.

    python bench/yard/videos.py FOLDER [--only NAME] [--seed N]

Each NAME.mp4, 30 s of 640x480 at 12 pictures a second, has a NAME.txt in the format of the
MOTChallenge: picture from 1, number of the object, left, top, width, height, 1, class, part that is
visible; the class is a name. Figures, yards and seeds have nothing in common with what the shipped
detector was trained on. Needs linnet[watch].
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from movers import Mover
from PIL import Image, ImageFilter
from scenery import HEIGHT, HORIZON, WIDTH, Light, Scenery, Weather, pixels_per_metre

SECONDS, RATE = 30, 12
AWAY = (
    0.4  # of a metre seen across, a metre towards the camera seen along: the ground is seen aslant
)
SLEEP = 0.6  # of the light that a shadow takes


@dataclass
class Walk:
    """label: who; begin: seconds; points: parts of the picture's width and of the ground's height;
    rests: seconds at each.
    """

    label: str
    begin: float
    points: list[tuple[float, float]]
    rests: dict[int, float] = field(default_factory=dict)


@dataclass
class Plan:
    weather: Weather
    trees: int = 2
    walks: list[Walk] = field(default_factory=list)


PLANS = {
    "walker": Plan(Weather(), 2, [Walk("person", 3, [(-0.1, 0.55), (1.1, 0.6)])]),
    "crossing": Plan(
        Weather(),
        1,
        [
            Walk("person", 2, [(-0.1, 0.5), (1.1, 0.62)]),
            Walk("person", 2.5, [(1.1, 0.75), (-0.1, 0.55)]),
        ],
    ),
    "drive": Plan(
        Weather(),
        1,
        [
            Walk("car", 2, [(-0.35, 0.5), (0.5, 0.5), (1.35, 0.52)], {1: 4}),
            Walk("person", 14, [(0.55, 0.58), (0.8, 0.8), (1.1, 0.85)]),
        ],
    ),
    "behind-trees": Plan(
        Weather(wind=1.5), 4, [Walk("person", 3, [(1.1, 0.35), (0.5, 0.4), (-0.1, 0.35)])]
    ),
    "cat": Plan(Weather(), 1, [Walk("cat", 3, [(-0.1, 0.8), (0.4, 0.85), (1.1, 0.75)], {1: 5})]),
    "wind": Plan(Weather(wind=5.0), 5),
    "clouds-and-rain": Plan(Weather(wind=2.5, clouds=0.45, rain=260, sun=False), 3),
    "rain": Plan(
        Weather(rain=220, sun=False, light=0.75, noise=3),
        2,
        [
            Walk("person", 4, [(-0.1, 0.6), (0.5, 0.5), (1.1, 0.65)]),
            Walk("cat", 12, [(1.1, 0.85), (-0.1, 0.8)]),
        ],
    ),
    "night": Plan(
        Weather(light=0.3, lamps=(5.0, 22.0), sun=False, noise=4),
        2,
        [Walk("person", 6, [(1.1, 0.6), (0.45, 0.6), (-0.1, 0.5)], {1: 3})],
    ),
    "everything": Plan(
        Weather(wind=3.0, clouds=0.4),
        3,
        [
            Walk("person", 1, [(-0.1, 0.45), (0.6, 0.7), (1.1, 0.5)], {1: 4}),
            Walk("car", 6, [(1.4, 0.4), (-0.4, 0.42)]),
            Walk("cat", 9, [(-0.1, 0.9), (1.1, 0.82)]),
            Walk("person", 15, [(1.1, 0.8), (-0.1, 0.7)]),
        ],
    ),
}


class Actor:
    """A mover on its way."""

    def __init__(self, number: int, walk: Walk, random: np.random.Generator) -> None:
        self.number, self.walk = number, walk
        self.mover = Mover(walk.label, random)
        self.points = [(x * WIDTH, HORIZON + y * (HEIGHT - HORIZON)) for x, y in walk.points]
        self.x, self.y = self.points[0]
        self.next, self.rest, self.way, self.turn = 1, 0.0, 0.0, 0.0

    def step(self, time: float, passed: float) -> bool:
        """Goes on; whether it is on its way."""
        if time < self.walk.begin or self.next >= len(self.points):
            return False
        if self.rest > 0:
            self.rest -= passed
            return True
        metre = pixels_per_metre(self.y)
        dx, dy = self.points[self.next][0] - self.x, (self.points[self.next][1] - self.y) / AWAY
        far, go = math.hypot(dx, dy) / metre, self.mover.speed * passed
        if abs(dx) + abs(dy) > 1:
            self.turn = math.atan2(dy, dx)
        part = min(go / max(far, 1e-6), 1)
        self.x, self.y, self.way = self.x + part * dx, self.y + part * dy * AWAY, self.way + go
        if part == 1:
            self.rest = self.walk.rests.get(self.next, 0.0)
            self.next += 1
        return self.next < len(self.points) or self.rest > 0

    def draw(self) -> tuple[np.ndarray, int, int]:
        """RGBA, and the column and row of its upper left corner."""
        picture = self.mover.draw(pixels_per_metre(self.y), self.way, self.turn)
        return picture, round(self.x - picture.shape[1] / 2), round(self.y - picture.shape[0])


def overlay(
    picture: np.ndarray, layer: np.ndarray, left: int, top: int
) -> tuple[slice, slice, np.ndarray]:
    """Draws a layer; returns where it is in the picture and its alpha there, float32."""
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + layer.shape[0], HEIGHT), min(left + layer.shape[1], WIDTH)
    if y1 <= y0 or x1 <= x0:
        return slice(0, 0), slice(0, 0), np.zeros((0, 0), np.float32)
    part = layer[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    alpha = part[..., 3:] / 255
    rows, columns = slice(y0, y1), slice(x0, x1)
    picture[rows, columns] = picture[rows, columns] * (1 - alpha) + part[..., :3] * alpha
    return rows, columns, alpha[..., 0]


def shadow(picture: np.ndarray, layer: np.ndarray, x: float, y: float) -> None:
    """Darkens the ground where a figure's shadow falls: its outline laid down to the right."""
    height, width = layer.shape[:2]
    flat = max(int(height * 0.3), 2)
    lean = int(height * 0.5)
    outline = Image.fromarray(layer[..., 3]).transpose(Image.FLIP_TOP_BOTTOM).resize((width, flat))
    laid = outline.transform((width + lean, flat), Image.AFFINE, (1, -lean / flat, 0, 0, 1, 0))
    dark = np.asarray(laid.filter(ImageFilter.GaussianBlur(1)))
    black = np.zeros((*dark.shape, 4), np.uint8)
    black[..., 3] = (dark * SLEEP).astype(np.uint8)
    overlay(picture, black, round(x - width / 2), round(y) - 2)


def picture_of(
    scenery: Scenery, plan: Plan, actors: list[Actor], time: float
) -> tuple[np.ndarray, list[tuple[Actor, tuple[float, ...], float]]]:
    """float32 [H, W, 3], and each actor that is in it with its box and the part of it that is
    visible.
    """
    picture = scenery.picture.copy()
    layers: list[tuple[float, Actor | None, np.ndarray, int, int]] = []
    for tree in scenery.trees:
        drawn = scenery.swaying(tree, time, plan.weather.wind)
        left, top = round(tree.x - drawn.shape[1] / 2), round(tree.base - drawn.shape[0])
        layers.append((tree.base, None, drawn, left, top))
    layers += [(actor.y, actor, *actor.draw()) for actor in actors]
    layers.sort(key=lambda layer: layer[0])
    if plan.weather.sun:
        for base, actor, drawn, left, _ in layers:
            if actor:
                shadow(picture, drawn, left + drawn.shape[1] / 2, base)
    seen: list[tuple[Actor, np.ndarray, float, tuple[float, ...]]] = []
    for _, actor, drawn, left, top in layers:
        rows, columns, alpha = overlay(picture, drawn, left, top)
        for _, shown, _, _ in seen:
            shown[rows, columns] *= 1 - alpha
        if actor is None:
            continue
        solid = drawn[..., 3] > 100
        ys, xs = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        box = (left + xs[0], top + ys[0], left + xs[-1] + 1, top + ys[-1] + 1)
        shown = np.zeros((HEIGHT, WIDTH), np.float32)
        shown[rows, columns] = alpha
        seen.append((actor, shown, float(drawn[..., 3].sum() / 255), box))
    return picture, [
        (a, _clipped(box), float(m.sum()) / max(total, 1)) for a, m, total, box in seen
    ]


def _clipped(box: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(np.clip(n, 0, most)) for n, most in zip(box, (WIDTH, HEIGHT) * 2))


def render(name: str, plan: Plan, folder: Path, seed: int) -> None:
    random = np.random.default_rng([seed, *name.encode()])
    scenery = Scenery(random, plan.trees)
    light = Light(scenery, plan.weather, random)
    actors = [Actor(i + 1, walk, random) for i, walk in enumerate(plan.walks)]
    lines = []
    with av.open(str(folder / f"{name}.mp4"), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"crf": "23", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(SECONDS * RATE):
            time = index / RATE
            there = [actor for actor in actors if actor.step(time, 1 / RATE)]
            picture, truth = picture_of(scenery, plan, there, time)
            for actor, (x0, y0, x1, y1), part in truth:
                if x1 - x0 >= 4 and y1 - y0 >= 4:
                    box = f"{x0:g},{y0:g},{x1 - x0:g},{y1 - y0:g}"
                    lines.append(
                        f"{index + 1},{actor.number},{box},1,{actor.walk.label},{part:.2f}\n"
                    )
            frame = av.VideoFrame.from_ndarray(light(picture, time), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (folder / f"{name}.txt").write_text("".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=PLANS, metavar="NAME", help=", ".join(PLANS))
    parser.add_argument("--seed", type=int, default=2024)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, plan in PLANS.items():
        if args.only in (None, name):
            print(name, file=sys.stderr, flush=True)
            render(name, plan, args.folder, args.seed)


if __name__ == "__main__":
    main()
