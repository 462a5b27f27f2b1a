"""What is told of each image."""

from __future__ import annotations

import json

import numpy as np
import pytest

import linnet
from linnet import digits
from linnet.answers import Answers, is_classes
from linnet.graph import Graph


@pytest.fixture(scope="module")
def net() -> linnet.Session:
    return linnet.load(digits.MODEL, threads=1)


def test_the_best_classes_with_their_labels(net: linnet.Session):
    scores = np.zeros((2, 10), np.float32)
    scores[0, 7], scores[0, 2], scores[1] = 0.1, 0.9, np.arange(10)
    told = Answers(net, top=2).of([scores])
    assert told[0] == {
        "prob": {
            "top": [
                {"index": 2, "label": "digit 2", "value": 0.9},
                {"index": 7, "label": "digit 7", "value": 0.1},
            ]
        }
    }
    assert [found["index"] for found in told[1]["prob"]["top"]] == [9, 8]


def test_equal_scores_are_in_the_order_of_classes(net: linnet.Session):
    ((told,),) = (image.values() for image in Answers(net, top=20).of([np.ones((1, 10))]))
    assert [found["index"] for found in told["top"]] == list(range(10))


def test_labels_are_those_given_one_for_each_class(net: linnet.Session):
    told = Answers(net, top=1, labels=list("abcdefghij")).of([np.eye(10)[:1]])
    assert told[0]["prob"]["top"][0]["label"] == "a"
    with pytest.raises(ValueError, match="2 labels for 10 classes"):
        Answers(net, labels=["a", "b"]).of([np.eye(10)])


def test_numbers_are_the_shortest_that_stand_for_them(net: linnet.Session):
    x = np.array([[[0.1, 1 / 3]]], np.float32)
    told = Answers(net, values=True).of([x])
    assert json.dumps(told) == '[{"prob": {"values": [[0.1, 0.33333334]]}}]'
    assert np.array_equal(np.array(told[0]["prob"]["values"], np.float32), x[0])


def test_what_is_no_list_of_classes_has_statistics(net: linnet.Session):
    x = np.array([[[-1, 2], [3, np.nan]], [[0, 1], [2, 3]]], np.float32)
    told = Answers(net).of([x])
    assert told[1] == {"prob": {"shape": [2, 2], "min": 0.0, "max": 3.0, "mean": 1.5}}
    assert np.isnan(told[0]["prob"]["mean"])
    assert Answers(net).of([np.zeros((1, 0, 4))])[0]["prob"]["max"] is None


def test_several_values_by_their_names(small: Graph):
    net = linnet.load(small, threads=1)
    answers = Answers(net, fetch=["fc", "relu1"])
    arrays = net.run(np.ones((3, 2, 9, 11), np.float32), fetch=answers.names)
    told = answers.of(arrays)
    assert len(told) == 3 and [set(image) for image in told] == [{"fc", "relu1"}] * 3
    assert "top" in told[0]["fc"] and told[0]["relu1"]["shape"] == [5, 9, 11]


def test_is_classes():
    shapes = [(2, 10), (2, 10, 1, 1), (2, 1), (2, 10, 2), (2,)]
    assert [is_classes(np.zeros(shape)) for shape in shapes] == [True, True, False, False, False]
