"""A yard in which red boxes walk, and a detector that finds them, for tests of linnet.watch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Callable

import av
import numpy as np
import numpy.typing as npt

from linnet.watch import Frame, Source

Array = npt.NDArray[np.uint8]
HEIGHT, WIDTH, RATE = 120, 160, 10
GRASS = np.random.default_rng(0).integers(70, 110, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def picture(*walkers: tuple[float, float]) -> Array:
    """Walkers, 12x30 pixels, with their feet at x, y."""
    made = GRASS.copy()
    for x, y in walkers:
        x0, y0, x1, y1 = (max(round(n), 0) for n in (x - 6, y - 30, x + 6, y))
        made[y0:y1, x0:x1] = (250, 110, 90)
    return made


def walk(index: int) -> Array:
    """From left to right between the pictures 10 and 42, with feet at row 90."""
    return picture((5 * (index - 10), 90)) if 10 <= index < 42 else picture()


class Pictures(Source):
    """A source of pictures that a function makes."""

    name, live = "pictures", False

    def __init__(self, make=walk, count: int = 60) -> None:
        self.make, self.count = make, count

    def frames(self) -> Iterator[Frame]:
        for index in range(self.count):
            rgb = self.make(index)
            luma = rgb.mean(axis=2).astype(np.uint8)
            yield Frame(index, index / RATE, 1e9 + index / RATE, luma, rgb.view)


class RedBoxes:
    """Finds what is red, one box in a window; in the interface of linnet.detect.Detector."""

    labels = ("person", "cat")
    size = (64, 64)

    def __call__(self, images: Sequence[Array]) -> list[tuple[Array, Array, Array]]:
        found = []
        for image in images:
            assert image.dtype == np.uint8
            red = image[..., 0].astype(int) - image[..., 1] > 70
            ys, xs = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
            any_ = len(ys) > 5
            box = [[xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]] if any_ else []
            score = [0.9] * any_
            found.append((np.float32(box).reshape(-1, 4), np.float32(score), np.int32([0] * any_)))
        return found


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What a function returns, once that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing came of it within {seconds} s")


def video(path: Path, make=walk, count: int = 60) -> Path:
    """The same as a file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate, stream.codec_context.time_base = 2_000_000, Fraction(1, RATE)
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(make(index), format="rgb24")))
        container.mux(stream.encode())
    return path
