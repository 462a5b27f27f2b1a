"""Watches a video's first pictures, marked for counter.c: watched.py VIDEO PICTURES MARKS.so.

Runs inside the emulator, where linnet[watch] is installed, one picture after the other. Prints a
line for each marked region in the order of their ends: picture, stage, windows the detector looked
at. Reading the video is not marked; the detector's network is a region of its own.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from linnet.detect import YARD, Detector
from linnet.watch import Watch, open_source


class Marked:
    """A session whose runs leave the region they are called in and return to it."""

    def __init__(self, session: Any, marks: ctypes.PyDLL) -> None:
        self._session, self._marks = session, marks
        self.batches: list[int] = []  # windows of each run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, x: Any) -> Any:
        self._marks.end()
        self._marks.begin()
        found = self._session.run(x)
        self._marks.end()
        self.batches.append(len(x))
        self._marks.begin()
        return found


def main() -> None:
    video, pictures, library = sys.argv[1:]
    marks = ctypes.PyDLL(library)

    @contextmanager
    def region() -> Iterator[None]:
        marks.begin()
        yield
        marks.end()

    source, detector = open_source(video), Detector(YARD, threads=1)
    detector.session = session = Marked(detector.session, marks)
    watch = Watch(source, detector)
    for frame in islice(source.frames(), int(pictures)):
        session.batches.clear()
        with region():
            motion = watch.sense(frame)
        print(frame.index, "gate", 0, sep="\t")
        with region():
            watch.look(frame, motion)
        for batch in session.batches:
            print(frame.index, "look", 0, sep="\t")
            print(frame.index, "network", batch, sep="\t")
        print(frame.index, "look", 0, sep="\t")


if __name__ == "__main__":
    main()
