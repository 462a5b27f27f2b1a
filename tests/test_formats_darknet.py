"""The reader of Darknet against stored results of OpenCV's, and against files that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import reading
from packed import unpack
from reading import close

from linnet import formats

DATA = Path(__file__).parent / "data" / "darknet"
CASES = unpack(DATA / "layers.npz")


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case = CASES[name]
    graph = formats.read(case["cfg"].encode(), case["weights"])
    got = reading.run(graph, {"data": case["x"]})
    wanted = {key[2:]: case[key] for key in case if key.startswith("y/")}
    for output, theirs in wanted.items():
        mine, y = got[output], theirs.reshape(got[output].shape)
        if name.startswith("region"):  # OpenCV leaves out boxes that overlap with others
            left_out = (y == 0) & (mine > 0)
            assert not left_out[..., :5].any()
            assert left_out.mean() < 0.2
            mine = np.where(left_out, 0, mine)
        close(mine, y)
