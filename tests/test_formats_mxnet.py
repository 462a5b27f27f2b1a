"""The reader of MXNet against stored results of MXNet 1.9.1, and against files that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reading
from mxnet_files import params
from packed import unpack
from reading import close

from linnet import formats

DATA = Path(__file__).parent / "data" / "mxnet"
CASES = unpack(DATA / "layers.npz")


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case = CASES[name]
    xs = {key[2:]: case[key] for key in case if key.startswith("x/")}
    arrays = {key[2:]: case[key] for key in case if key.startswith("p/")}
    shapes = {key: (0, *x.shape[1:]) for key, x in xs.items()}
    graph = formats.read(case["symbol"].encode(), params(arrays), shapes=shapes)
    wanted = [case[f"y{index}"] for index in range(len(graph.outputs))]
    got = reading.run(graph, xs)
    for output, y in zip(graph.outputs, wanted):
        if name.startswith("detection"):
            found_alike(got[output], y)
        else:
            close(got[output], y)


def found_alike(got: Any, wanted: Any) -> None:
    """The same boxes in any order; MXNet leaves those that do not stay among them, of class -1."""
    assert got.shape == wanted.shape
    for ours, theirs in zip(got, wanted):
        mine, stay = (rows[rows[:, 0] >= 0] for rows in (ours, theirs))
        assert (ours[len(mine) :] == -1).all()
        assert len(stay) > 3
        close(mine[np.lexsort(mine.round(3).T)], stay[np.lexsort(stay.round(3).T)])
