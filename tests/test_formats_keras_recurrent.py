"""Keras's recurrent layers against stored results of Keras 2 and 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed import unpack
from reading import close, refusal
from test_formats_keras import functional, h5, layer, weights_of

import linnet

DATA = Path(__file__).parent / "data" / "keras"
CASES = {
    f"{name}-{version}": (case, version)
    for version in (2, 3)
    for name, case in unpack(DATA / f"recurrent{version}.npz").items()
}


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case, version = CASES[name]
    data = h5(case["config"], weights_of(case), {2: "2.21.0", 3: "3.15.1"}[version])
    net = linnet.load(data)
    close(net(case["x0"]), case["y"])
    assert net(case["x0"][:1]).shape == (1, *case["y"].shape[1:])  # of any batch


@pytest.mark.parametrize("version", [2, 3])
def test_whole_files(version: int) -> None:
    results = np.load(DATA / "recurrent.npz")
    net = linnet.load(DATA / f"recurrent{version}.keras")
    close(net(results["x"]), results[f"y{version}"])


def test_a_length_that_is_left_open() -> None:
    """The states of a sequence are those of its beginning."""
    case, _ = CASES["lstm_every-3"]
    config = json.loads(case["config"])
    text = json.dumps(config).replace("[null, 5, 3]", "[null, null, 3]")
    assert text != json.dumps(config)
    net = linnet.load(h5(text, weights_of(case), "3.15.1"))
    for length in (5, 2, 1, 5):
        close(net(case["x0"][:, :length]), case["y"][:, :length])


SEQUENCE = layer("InputLayer", "x", batch_input_shape=[None, 5, 3])


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("LSTM", {"stateful": True}, "stateful is not supported"),
        ("GRU", {"return_state": True}, "return_state is not supported"),
        ("GRU", {"units": None}, "its units is None"),
        ("GRU", {"activation": "sin"}, "the activation 'sin' is not supported in a recurrence"),
        ("GRU", {"magic": 1}, "has a setting that is not known: 'magic'"),
        ("LSTM", {"units": 3}, "its weights number 0 are [3, 8], expected [3, 12]"),
        ("LSTM", {"use_bias": "no"}, "its use_bias is 'no'"),
        ("Bidirectional", {}, "of a 'None' is not supported"),
        ("Bidirectional", {"layer": {"class_name": "Dense"}}, "of a 'Dense' is not supported"),
        (
            "Bidirectional",
            {"layer": {"class_name": "LSTM", "config": {"units": 2}}, "merge_mode": None},
            "its merge_mode",
        ),
        (
            "Bidirectional",
            {
                "layer": {"class_name": "LSTM", "config": {"units": 2}},
                "backward_layer": {"class_name": "LSTM", "config": {"units": 2}},
            },
            "do not go forwards and backwards",
        ),
    ],
)
def test_what_is_refused(kind: str, config: dict[str, Any], said: str) -> None:
    shapes = [(3, 8), (2, 8), (8,)]
    arrays = [np.ones(shape, np.float32) for shape in (shapes * 2 if kind[0] == "B" else shapes)]
    given = {"units": 2, **config} if kind[0] != "B" else config
    model = functional(SEQUENCE, layer(kind, "y", "x", **given))
    refusal(h5(model, {"y": arrays}), said)
