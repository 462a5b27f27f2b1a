"""The reader of ncnn against stored results of ncnn, and against files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import reading
from packed import unpack
from reading import close

from linnet import formats

DATA = Path(__file__).parent / "data" / "ncnn"
CASES = unpack(DATA / "layers.npz")


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case = CASES[name]
    xs = {key[2:]: case[key] for key in case if key.startswith("x/")}
    shapes = {key: x.shape for key, x in xs.items()}
    graph = formats.read(case["param"].encode(), case["bin"], shapes=shapes)
    got = reading.run(graph, xs)
    for key, wanted in case.items():
        if key.startswith("y/"):
            y = got[key[2:]]
            if name in ("detection", "yolov3"):
                found, rest = y[: len(wanted)], y[len(wanted) :]
                assert (rest == -1).all()
                assert len(wanted) > 3
                y = found
            close(y, wanted)
