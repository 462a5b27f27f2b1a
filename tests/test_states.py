"""What a session keeps from one call to the next."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from tflite_calls import X, counting

import linnet
from linnet import states
from linnet.graph import Graph, Node, Value
from linnet.states import STATES, State

FIRST = np.array([[10, 20, 30, 40]], np.float32)


def test_a_variable_is_a_state_of_the_session() -> None:
    net = linnet.load(counting())
    assert [value.name for value in net.inputs] == ["x"]
    assert [value.name for value in net.outputs] == ["sum", "y"]
    for _ in range(2):
        for turn in (1, 2, 3):
            total, half = net(X)
            np.testing.assert_array_equal(total, FIRST + turn * X)
            np.testing.assert_array_equal(half, total / 2)
        net.reset()
    assert net.profile(X, runs=1).batch == 1
    np.testing.assert_array_equal(net.run(None, {"x": X})[0], FIRST + X)
    out = [np.empty((1, 4), np.float32), np.empty((1, 4), np.float32)]
    assert net.run(X, out=out)[0] is out[0]
    np.testing.assert_array_equal(out[0], FIRST + 2 * X)
    np.testing.assert_array_equal(net.run(X, fetch=["y"])[0], (FIRST + 3 * X) / 2)
    other = linnet.load(counting())  # has its own
    np.testing.assert_array_equal(other(X)[0], FIRST + X)


def test_calls_come_one_after_the_other() -> None:
    net, one = linnet.load(counting(), threads=1), np.ones((1, 4), np.float32)

    def call() -> None:
        for _ in range(50):
            net(one)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(net(one)[0], FIRST + 201)


def test_a_call_that_fails_changes_nothing() -> None:
    net = linnet.load(counting())
    net(X)
    for wrong in (np.ones((1, 5), np.float32), np.ones((2, 4), np.float32)):
        with pytest.raises(ValueError, match=r"images|shape|input|batch"):
            net(wrong)
    with pytest.raises(ValueError, match="2 arrays, the model has 1 input"):
        net(X, X)
    np.testing.assert_array_equal(net(X)[0], FIRST + 2 * X)


def test_a_converted_file_keeps_them(tmp_path) -> None:
    linnet.convert(counting(), None, tmp_path / "counting.onnx")
    net = linnet.load(tmp_path / "counting.onnx")
    for turn in (1, 2):
        np.testing.assert_array_equal(net(X)[0], FIRST + turn * X)


def test_states_go_where_nobody_wants_what_they_are_for() -> None:
    net = linnet.load(counting(), outputs=["y"])
    np.testing.assert_array_equal(net(X), (FIRST + X) / 2)
    np.testing.assert_array_equal(net(X), (FIRST + 2 * X) / 2)
    graph = summing()
    graph.nodes.append(Node("Relu", "other", ["x"], ["other"]))
    net = linnet.load(graph, outputs=["other"])
    assert [value.name for value in net.inputs] == ["x"]


def summing(**entry) -> Graph:
    """The sum of x and a state, which that is then."""
    nodes = [Node("Add", "sum", ["x", "s"], ["sum"]), Node("Relu", "y", ["sum"], ["y"])]
    inputs = [Value("x", (1, 3)), Value("s", (1, 3))]
    record = {"input": "s", "output": "sum", "shape": [1, 3], "type": "float32", "initial": 1.5}
    metadata = {STATES: json.dumps([{**record, **entry}])}
    return Graph("test", nodes, {}, inputs, ["y", "sum"], metadata=metadata)


def test_records() -> None:
    numbers = np.array([[1, -2, 3]], np.int8)
    every = [
        State("a", "b", numbers),
        State("c", "", np.full((2, 1), -128, np.int8)),
        State("d", "e", np.array([[np.nan, 1]], np.float32)),
    ]
    for state, wanted in zip(states.recorded(states.record(every)), every, strict=True):
        assert state[:2] == wanted[:2] and state.initial.dtype == wanted.initial.dtype
        np.testing.assert_array_equal(state.initial, wanted.initial)
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(linnet.load(summing())(x), x + 1.5)


@pytest.mark.parametrize(
    "entry",
    [
        {"input": 3},
        {"input": "t"},
        {"input": ""},
        {"output": "t"},
        {"output": "s"},
        {"output": None},
        {"shape": [1, 4]},
        {"shape": [1, True]},
        {"shape": 3},
        {"shape": []},
        {"shape": [1 << 20, 1 << 20]},
        {"type": "float64"},
        {"type": "int8"},
        {"type": ["int8"]},
        {"initial": "AAAA"},
        {"initial": "-"},
        {"initial": [1, 2, 3]},
        {"initial": None},
    ],
)
def test_wrong_records_are_told(entry) -> None:
    with pytest.raises(ValueError, match=r"linnet\.states: "):
        linnet.load(summing(**entry))


@pytest.mark.parametrize("text", ["", "{", "3", "[3]", "[{}]", "[" * 100_000])
def test_records_that_are_none(text) -> None:
    graph = summing()
    graph.metadata[STATES] = text
    with pytest.raises(ValueError, match=r"linnet\.states: .* is no record of states"):
        linnet.load(graph)
