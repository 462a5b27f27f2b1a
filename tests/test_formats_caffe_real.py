"""Every type of layer against what Caffe 1.0 computed (data/caffe/make_layers.py)."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_models import weights_file

import linnet
from linnet import formats, interpret, passes

STORED = dict(np.load(Path(__file__).parent / "data" / "caffe" / "layers.npz"))
CASES = json.loads(STORED["notes"].tobytes())
MOST = 40


def starts() -> list[int]:
    """Where the numbers of each case begin."""
    counts = [0]
    for case in CASES:
        sizes = [math.prod(shape) for shape in case["outputs"].values()]
        counts.append(counts[-1] + sum(-(-n // -(-n // MOST)) for n in sizes))
    return counts


STARTS = starts()


def draw(random: Any, shape: list[int], how: str) -> Any:
    """As make_layers.py does."""
    if how == "rows":
        return random.randint(0, 7, shape).astype(np.float32)
    numbers = random.randint(-8, 9, shape).astype(np.float32) / 8
    return np.abs(numbers) + np.float32(0.25) if how == "positive" else numbers


def title(case: Any) -> str:
    kinds = re.findall(r'type: "(\w+)"', case["text"])
    return kinds[-1] if len(kinds) == 1 else "+".join(kinds)


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda index: title(CASES[index]))
def test_layers_compute_what_caffe_computes(index: int) -> None:
    case = CASES[index]
    random = np.random.RandomState(index)
    how = "positive" if "BatchNorm" in case["text"] else ""
    weights = {
        name: [draw(random, shape, how) for shape in shapes]
        for name, shapes in sorted(case["weights"].items())
    }
    feed = {
        name: draw(random, shape, case["how"]) for name, shape in sorted(case["inputs"].items())
    }
    files = (case["text"].encode(), weights_file(weights) if weights else None)
    graph = passes.canonicalize(formats.read(*files))
    net = linnet.load(*files)
    assert {value.name for value in net.outputs} == set(case["outputs"])
    feed = {value.name: feed[value.name] for value in net.inputs}
    names = list(case["outputs"])
    meant = interpret.run(graph, feed, fetch=names)
    for results in ([meant[name] for name in names], net.run(names, feed)):
        numbers = STORED["numbers"][STARTS[index] : STARTS[index + 1]]
        for found, shape in zip(results, case["outputs"].values()):
            assert found.shape == tuple(shape)
            kept = found.ravel()[:: -(-found.size // MOST)]
            scale = max(1.0, float(np.abs(numbers[: len(kept)]).max()))
            np.testing.assert_allclose(kept, numbers[: len(kept)], 1e-5, 2e-6 * scale)
            numbers = numbers[len(kept) :]
        assert len(numbers) == 0
