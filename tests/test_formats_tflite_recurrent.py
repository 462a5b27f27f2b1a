"""TFLite's LSTM against what LiteRT computes (data/tflite/make_recurrent.py), and its forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import Op, Tensor, constant, model

import linnet
from linnet import interpret
from linnet.compat.tflite import Interpreter
from linnet.formats import read

DATA = Path(__file__).parent / "data" / "tflite"
RANDOM = np.random.default_rng(5)
UNITS, INPUTS, TIMES = 4, 3, 5


def test_a_call_goes_on_where_the_one_before_has_ended() -> None:
    results = np.load(DATA / "recurrent.npz")
    x = results["x"]
    net, theirs = linnet.load(DATA / "lstm.tflite"), Interpreter(str(DATA / "lstm.tflite"))
    theirs.allocate_tensors()
    assert [value.name for value in net.outputs] == ["StatefulPartitionedCall:0"]
    for _ in range(2):
        for expected in results["y"]:
            np.testing.assert_allclose(net(x), expected, atol=1e-6)
            theirs.set_tensor(theirs.get_input_details()[0]["index"], x)
            theirs.invoke()
            index = theirs.get_output_details()[0]["index"]
            np.testing.assert_allclose(theirs.get_tensor(index), expected, atol=1e-6)
        net.reset()
        theirs.reset_all_variables()


def lstm(*, major: bool = False, limit: float = 0.0, activation: int = 4, **instead: Any) -> bytes:
    """One LSTM with peepholes; `instead` are other tensors, or none, by their names."""
    shape = (TIMES, 1, INPUTS) if major else (1, TIMES, INPUTS)
    result = (*shape[:2], UNITS)
    tensors = {"x": Tensor(shape), "y": Tensor(result)}
    for gate in "ifco":
        for name, size in (("w", (UNITS, INPUTS)), ("r", (UNITS, UNITS)), ("b", (UNITS,))):
            tensors[name + gate] = constant(2 * RANDOM.standard_normal(size), "float32")
    for gate in "ifo":
        tensors["p" + gate] = constant(RANDOM.standard_normal(UNITS), "float32")
    state = Tensor((1, UNITS))._replace(more={5: ("B", 1)})
    tensors.update(h=state, c=state)
    tensors.update({name: tensor for name, tensor in instead.items() if tensor is not None})
    gates = [name + gate for name in "wr" for gate in "ifco"] + ["pi", "pf", "po"]
    names = ["x", *gates, "bi", "bf", "bc", "bo", "j", "k", "h", "c", "l"]
    inputs = [n if n in tensors and instead.get(n, 0) is not None else "" for n in names]
    options = {0: ("b", activation), 1: ("f", limit), 3: ("B", int(major))}
    operator = Op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, ["y"], (71, options))
    return model(tensors, [operator], ["x"], ["y"])


@pytest.mark.parametrize("limit", [0.0, 0.5])
@pytest.mark.parametrize("major", [False, True])
def test_forms(major: bool, limit: float) -> None:
    data = lstm(major=major, limit=limit)
    graph = read(data)
    net, feeds = linnet.load(data), {v.name: np.zeros(v.shape) for v in graph.inputs}
    for _ in range(2):
        feeds["x"] = x = RANDOM.standard_normal(graph.inputs[0].shape).astype(np.float32)
        every = interpret.run(graph, feeds)
        np.testing.assert_allclose(net(x), every["y"], atol=1e-5)
        if limit:
            assert np.abs(every["c.next"]).max() <= limit
        feeds.update(h=every["h.next"], c=every["c.next"])


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ({"activation": 1}, "the activation number 1"),
        ({"j": constant(np.ones((UNITS, UNITS)), "float32")}, "a projection"),
        ({"l": constant(np.ones(UNITS), "float32")}, "normalization"),
        ({"wi": None}, "has not the weights of all gates"),
        ({"h": constant(np.zeros((1, UNITS)), "float32")}, "its states are no variables"),
        ({"h": None}, "its states are no variables"),
        ({"h": Tensor((1, UNITS), dtype="int8")._replace(more={5: ("B", 1)})}, "variable of int8"),
        ({"h": Tensor((1 << 30, 1 << 30))._replace(more={5: ("B", 1)})}, "variable of"),
        ({"wf": constant(np.ones((2, 2)), "float32")}, "y"),
    ],
)
def test_what_is_refused(instead: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        linnet.load(lstm(**instead))
