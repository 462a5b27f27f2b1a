"""What the stages of `linnet watch` but the detector take with twenty objects at once.

    taskset -c 0 python bench/yard/stages.py

More than twenty figures walk by in a noisy yard of 640x480 pixels, in front of each other and out
of the picture, each in a red of its own by which a stand-in for a detector finds them; now and then
it misses one or is not sure. Prints milliseconds a picture on one thread, of the stages that
`linnet watch --bench` prints. Exit status 1 if the median of gate or tracker is above 1 ms.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from linnet.watch import Frame, Source, Watch

HEIGHT, WIDTH, RATE = 480, 640, 15
OBJECTS, PICTURES, WARM = 22, 450, 60  # some are out of sight
MOST = 1.0  # milliseconds
WIDE, TALL = 26, 64  # pixels of a figure
FIRST, STEP = 130, 5  # reds of the figures; the yard's are below

Picture = npt.NDArray[np.uint8]
Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]


class Yard(Source):
    name, live = "yard", False

    def frames(self) -> Iterator[Frame]:
        random = np.random.default_rng(0)
        noise = random.normal(0, 2, (8, HEIGHT, WIDTH, 3))
        ground = (
            random.integers(40, 100, (HEIGHT // 16, WIDTH // 16, 3)).repeat(16, 0).repeat(16, 1)
        )
        starts = random.uniform(0, WIDTH, OBJECTS)
        speeds = random.uniform(60, 140, OBJECTS) * random.choice([-1, 1], OBJECTS)
        feet = np.linspace(TALL + 20, HEIGHT - 5, OBJECTS)
        coats = random.integers(20, 230, (OBJECTS, 2))
        for index in range(PICTURES):
            rgb = np.clip(ground + noise[index % 8], 0, 110).astype(np.uint8)
            turn = WIDTH + 4 * WIDE  # out of sight for a while before it comes back
            xs = (starts + speeds * index / RATE) % turn - 2 * WIDE
            for number, (x, y) in enumerate(zip(xs, feet)):
                rows, columns = (
                    slice(int(y) - TALL, int(y)),
                    slice(max(int(x), 0), max(int(x) + WIDE, 0)),
                )
                rgb[rows, columns] = FIRST + STEP * number, *coats[number]
            luma = (rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
            yield Frame(index, index / RATE, 1e9 + index / RATE, luma, rgb.view)


class Reds:
    """Finds the figures; in the interface of linnet.detect.Detector."""

    labels, size = ("person",), (192, 192)

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)

    def __call__(self, images: Sequence[Picture]) -> list[Found]:
        return [self._find(image[..., 0]) for image in images]

    def _find(self, red: Picture) -> Found:
        boxes = []
        for number in range(OBJECTS):
            ys, xs = np.nonzero(red == FIRST + STEP * number)
            if len(ys) > WIDE * TALL // 4 and self._random.random() > 0.1:
                box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
                boxes.append(box + self._random.normal(0, 1.5, 4))
        scores = self._random.uniform(0.3, 1, len(boxes)).astype(np.float32)
        kinds = np.zeros(len(boxes), np.int32)
        return np.array(boxes, np.float32).reshape(-1, 4), scores, kinds


def main() -> int:
    watch = Watch(Yard(), Reds())
    spent: dict[str, list[float]] = {"gate": [], "regions": [], "track": []}
    followed: list[int] = []
    watch.listeners.append(lambda look: followed.append(len(look.tracks)))
    for frame in watch.source.frames():
        before = {stage: watch.clock.seconds[stage] for stage in spent}
        with watch.clock("gate"):
            motion = watch.sense(frame)
        watch.look(frame, motion)
        for stage, each in spent.items():
            each.append(1e3 * (watch.clock.seconds[stage] - before[stage]))
    print(f"{WIDTH}x{HEIGHT}, {np.mean(followed[WARM:]):.1f} objects followed, {PICTURES} pictures")
    for stage, each in spent.items():
        middle, most = np.percentile(each[WARM:], [50, 99])
        print(f"{stage:8}{middle:7.3f} ms, 99 of 100 within {most:.3f}")
    return int(max(np.median(spent[stage][WARM:]) for stage in ("gate", "track")) > MOST)


if __name__ == "__main__":
    sys.exit(main())
