"""TFLite operators against what LiteRT computes of them (tests/data/tflite/make.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_cases

import linnet
from linnet import formats, interpret

EXPECTED = dict(np.load(Path(__file__).parent / "data" / "tflite" / "operators.npz"))
CASES = tflite_cases.every()


@pytest.mark.parametrize("name", CASES)
def test_as_litert_computes_it(name: str):
    """As a graph of what operators mean, and in the core."""
    case = CASES[name]
    graph = formats.read(case.model)
    feeds = {value.name: x for value, x in zip(graph.inputs, case.inputs)}
    net = linnet.load(case.model, threads=1)
    assert [value.dtype for value in net.inputs] == [x.dtype for x in case.inputs]
    for results in (interpret.run(graph, feeds).values(), net.run(case.inputs)):
        for i, result in enumerate(results):
            expected = EXPECTED[f"{name}.{i}"]
            assert result.shape == (expected.shape or (1,))  # one number has an axis
            close(result, expected, case.error)


@pytest.mark.parametrize("name", [name for name in CASES if "_between_" in name])
def test_numbers_between_integers_are_xnnpacks(name: str):
    """In the core to the last bit; as reals, whose halves become even integers, a step off."""
    case = CASES[name]
    np.testing.assert_array_equal(linnet.load(case.model)(*case.inputs), EXPECTED[f"{name}.0"])


def close(result: Any, expected: Any, error: float) -> None:
    if expected.dtype.kind == "f":
        scale = np.sqrt(np.mean(np.square(expected)))
        np.testing.assert_allclose(result, expected, rtol=0, atol=error * scale + 1e-7)
    elif expected.dtype.itemsize > 2:
        np.testing.assert_array_equal(result, expected)
    else:  # steps of integers that stand for reals
        gap = np.abs(result.astype(np.int64) - expected.astype(np.int64))
        assert gap.max() <= error
