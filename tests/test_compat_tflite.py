"""linnet.compat.tflite against what LiteRT answers (data/tflite/make_interpreter.py)."""

from __future__ import annotations

import json
import random
import re
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_calls
import tflite_cases
from tflite_calls import SIGNED, X, counting, pair, plain, quantised, signature
from tflite_models import Op, Part, Tensor, constant, model, numbers

from linnet.compat import tflite
from linnet.compat.tflite import Interpreter

DATA = Path(__file__).parent / "data" / "tflite"
PAGE = Path(__file__).parents[1] / "docs" / "tflite.md"
RECORDED = json.loads((DATA / "interpreter.json").read_text())
# Exceptions of the same type that say the same in other words.
OTHERWISE = {"making: text", "making: no file", "making: no model", "sizes: odd picture"}
# First axes that broadcast, which linnet refuses, and variables, which LiteRT does not reset.
DIFFERENT = {
    "sizes: one of a pair": "RuntimeError: inputs of 1 and 2 images do not go together",
    "states: reset": [
        None,
        ["float32 [1, 4] [9.0, 22.0, 27.0, 48.0]", "float32 [1, 4] [4.5, 11.0, 13.5, 24.0]"],
    ],
}


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    return tflite_calls.calls(tflite)


def test_all_calls_are_recorded(answers: dict[str, Any]) -> None:
    assert list(answers) == list(RECORDED)
    assert OTHERWISE | DIFFERENT.keys() <= RECORDED.keys()


@pytest.mark.parametrize("call", RECORDED)
def test_answers_are_those_of_litert(answers: dict[str, Any], call: str) -> None:
    found, wanted = answers[call], RECORDED[call]
    error = r"\w+(Error|Exception): "
    if call in DIFFERENT:
        assert found == DIFFERENT[call]
    elif not isinstance(wanted, str) or not re.match(error, wanted):
        assert found == wanted
    else:
        kind, text = found.split(": ", 1)
        assert kind == wanted.split(": ", 1)[0]
        # LiteRT's RuntimeErrors begin with whatever went wrong before.
        assert call in OTHERWISE or (text and wanted.endswith(text))


# --- what it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float", "float16", "dynamic", "int8"])
def test_networks_of_the_converter(name: str) -> None:
    expected = dict(np.load(DATA / "networks.npz"))
    net = Interpreter(str(DATA / f"{name}.tflite"))
    net.allocate_tensors()
    net.set_tensor(net.get_input_details()[0]["index"], expected[f"{name}.x"])
    net.invoke()
    for index, info in enumerate(net.get_output_details()):
        found, wanted = net.get_tensor(info["index"]), expected[f"{name}.{index}"]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert found.dtype == info["dtype"] and found.shape == tuple(info["shape"])
        rms = np.sqrt(np.mean(np.square(wanted, dtype=np.float64)))
        error = {"dynamic": 0.02 * rms, "int8": 2}.get(name, 1e-5 * rms)
        np.testing.assert_allclose(found.astype(float), wanted, rtol=0, atol=error)


def test_what_lies_between_is_kept_if_asked_for() -> None:
    net = Interpreter(model_content=SIGNED, experimental_preserve_all_tensors=True)
    net.allocate_tensors()
    net.set_tensor(0, X)
    net.invoke()
    np.testing.assert_array_equal(net.get_tensor(2), X + 1)
    np.testing.assert_array_equal(net.get_tensor(3), np.maximum(X + 1, 0))
    assert [info["index"] for info in net.get_output_details()] == [3, 4]
    net = Interpreter(model_content=SIGNED)
    net.allocate_tensors()
    with pytest.raises(ValueError, match="Tensor data is null"):
        net.get_tensor(2)


@pytest.mark.parametrize("name", ["float", "float16", "dynamic", "int8"])
def test_all_that_is_computed_can_be_kept(name: str) -> None:
    """But shapes, constants, and phases of images, which linnet does not cut."""
    net = Interpreter(str(DATA / f"{name}.tflite"), experimental_preserve_all_tensors=True)
    net.allocate_tensors()
    net.invoke()
    kept = set(net._arrays)
    for node in net._model.operators:
        constant = node.kind == "DEQUANTIZE" and not kept.intersection(node.inputs)
        shapes = all(net._model.tensors[n].dtype == np.int32 for n in node.outputs)
        cut = node.kind == "SPACE_TO_BATCH_ND" or not kept.issuperset(node.inputs[:1])
        assert kept.issuperset(node.outputs) or constant or shapes or cut, node.kind


def test_reads_what_was_written_in_place() -> None:
    net = Interpreter(model_content=quantised())
    net.allocate_tensors()
    x, y = net.tensor(0), net.tensor(1)
    x()[...] = np.arange(32).reshape(1, 4, 4, 2)
    net.invoke()
    np.testing.assert_array_equal(y()[0, :, :, 0], [[10, 14], [26, 30]])
    assert y().dtype == np.uint8


def test_constants_cannot_be_written() -> None:
    """With LiteRT, whoever tries may end the process."""
    net = Interpreter(model_content=SIGNED)
    net.allocate_tensors()
    for _ in range(20):
        net.get_tensor(1)
    with pytest.raises(ValueError, match="1 is a constant"):
        net.set_tensor(1, np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        net.tensor(1)()[...] = 0


def test_other_batches_need_no_new_session() -> None:
    net = Interpreter(str(DATA / "float.tflite"), num_threads=2)
    run, x = net.get_signature_runner(), numbers(5, 18, 14, 3)
    first, session = run(image=x[:1]), net._session
    assert session is not None and session.threads == 2
    five = run(image=x)
    assert net._session is session
    for name, array in run(image=x[:1]).items():
        np.testing.assert_allclose(array, first[name], 1e-5, 1e-6)
        np.testing.assert_allclose(five[name][:1], first[name], 1e-5, 1e-6)
    with pytest.raises(RuntimeError):
        run(image=numbers(1, 20, 16, 3))  # its branches do not meet then
    assert run(image=x)["output_0"].shape == (5, 10)


def test_an_input_that_keeps_its_shape_keeps_its_numbers() -> None:
    net = Interpreter(model_content=pair())
    net.allocate_tensors()
    first, second = (info["index"] for info in net.get_input_details())
    net.set_tensor(first, np.ones((2, 3), np.float32))
    net.resize_tensor_input(second, (2, 3))
    net.resize_tensor_input(second, (2, 1))
    net.allocate_tensors()
    net.set_tensor(second, np.full((2, 1), 5, np.float32))
    net.invoke()
    np.testing.assert_array_equal(net.get_tensor(2), np.full((2, 3), 4))


def test_outputs_may_be_inputs_and_constants() -> None:
    tensors = {"x": Tensor((1, 4)), "k": constant([3], "float32"), "y": Tensor((1, 4))}
    data = model(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y", "x", "k", "y"])
    net = Interpreter(model_content=data)
    net.allocate_tensors()
    net.set_tensor(0, X)
    net.invoke()
    found = [net.get_tensor(info["index"]).tolist() for info in net.get_output_details()]
    assert found == [np.maximum(X, 0).tolist(), X.tolist(), [3], np.maximum(X, 0).tolist()]


def test_inputs_that_nothing_reads_are_there() -> None:
    tensors = {"unread": Tensor((3,)), "x": Tensor((1, 4)), "y": Tensor((1, 4))}
    data = model(tensors, [Op("RELU", ["x"], ["y"])], ["unread", "x"], ["y"])
    net = Interpreter(model_content=data)
    net.allocate_tensors()
    for index, value in enumerate((np.ones(3, np.float32), X)):
        net.set_tensor(index, value)
        np.testing.assert_array_equal(net.get_tensor(index), value)
    net.invoke()
    np.testing.assert_array_equal(net.get_tensor(2), np.maximum(X, 0))


def test_a_number_without_axes_is_numpys() -> None:
    tensors = {"x": Tensor((1, 4)), "k": constant(3.0, "float32"), "y": Tensor((1, 4))}
    net = Interpreter(model_content=model(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"]))
    assert type(net.get_tensor(1)) is np.float32
    assert net.tensor(1)().shape == ()


def test_interpreters_of_several_threads() -> None:
    results = {}

    def work(number: int) -> None:
        net = Interpreter(model_content=SIGNED)
        net.allocate_tensors()
        for _ in range(20):
            net.set_tensor(0, X + number)
            net.invoke()
        results[number] = net.get_tensor(3)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(results[number], np.maximum(X + number + 1, 0))


# --- what it refuses ------------------------------------------------------------------------------


def test_delegates_are_refused() -> None:
    said = r"Failed to load delegate from libedgetpu\.so\.1\nlinnet computes on the CPU"
    for load in (tflite.load_delegate, tflite.experimental.load_delegate):
        with pytest.raises(ValueError, match=said):
            load("libedgetpu.so.1", {"device": "usb"})
    with pytest.raises(ValueError, match="without delegates"):
        Interpreter(model_content=SIGNED, experimental_delegates=["one"])
    assert tflite.experimental.OpResolverType.AUTO is tflite.OpResolverType.AUTO


def test_what_linnet_cannot_compute_is_told_when_it_is_to_be_ready() -> None:
    """Details are there before."""
    tensors = {"x": Tensor((1, 4)), "y": Tensor((1, 4)), "z": Tensor((1, 4))}
    operators = [Op("edgetpu-custom-op", ["x"], ["y"]), Op("Mine", ["x"], ["z"])]
    net = Interpreter(model_content=model(tensors, operators, ["x"], ["y", "z"]))
    assert [info["name"] for info in net.get_output_details()] == ["y", "z"]
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"(?s)2 .*compiled for an Edge TPU.*\(Mine\)"):
            net.allocate_tensors()
    with pytest.raises(RuntimeError, match="not ready"):
        net.invoke()


def test_an_input_without_axes_is_refused() -> None:
    tensors = {"x": Tensor(()), "y": Tensor(())}
    net = Interpreter(model_content=model(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"]))
    with pytest.raises(RuntimeError, match="no batch axis"):
        net.allocate_tensors()


def test_signatures_of_other_graphs_are_refused() -> None:
    more = plain(signature("other", {"q": 0}, {"r": 3}, 1), signature("third", {}, {"r": 99}))
    net = Interpreter(model_content=more)
    with pytest.raises(ValueError, match="subgraph index 1 exceeds max subgraph index 1"):
        net.get_signature_runner("other")
    with pytest.raises(ValueError, match="Invalid tensor index 99"):
        net.get_signature_runner("third").get_output_details()


def keeping(*operators: Op, first: Tensor) -> bytes:
    """x + v, and what a graph with these operators makes of v at first."""
    resource, row = Tensor((), dtype="resource"), Tensor((1, 4))
    handle = Op("VAR_HANDLE", [], ["v"], (111, {1: "total"}))
    calls = [
        Op("CALL_ONCE", [], [], (103, {0: ("i", 1)})),
        handle,
        Op("READ_VARIABLE", ["v"], ["read"]),
        Op("ADD", ["x", "read"], ["y"], (11, {})),
    ]
    once = Part({"v": resource, "first": first, "more": row}, [handle, *operators], [], [])
    tensors = {"v": resource, "x": row, "read": row, "y": row}
    return model(tensors, calls, ["x"], ["y"], others=[once])


ASSIGN, ONES = Op("ASSIGN_VARIABLE", ["v", "first"], []), constant(np.ones((1, 4)), "float32")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (keeping(first=ONES), "variable 'total' has no value at first"),
        (keeping(ASSIGN, first=constant([[1, 2]], "float32")), r"is float32 \[1, 2\] at first"),
        (keeping(ASSIGN, first=constant(np.ones((1, 4)))), r"is int32 \[1, 4\] at first"),
        (keeping(Op("RELU", ["first"], ["more"]), first=ONES), "more than to assign constants"),
        (keeping(ASSIGN._replace(inputs=["v", "more"]), first=ONES), "more than to assign"),
        (keeping(ASSIGN._replace(inputs=["first", "first"]), first=ONES), "more than to assign"),
    ],
)
def test_variables_that_do_not_begin_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        Interpreter(model_content=data).allocate_tensors()


def test_variables_are_the_interpreters() -> None:
    """One that is never assigned stays; other batches have none; a network has none at all."""
    net = Interpreter(model_content=keeping(ASSIGN, first=ONES))
    for _ in range(2):
        net.allocate_tensors()
        net.set_tensor(1, X)
        net.invoke()
        np.testing.assert_array_equal(net.get_tensor(3), X + 1)
        net.reset_all_variables()
    net = Interpreter(model_content=counting())
    net.resize_tensor_input(net.get_input_details()[0]["index"], (2, 4))
    with pytest.raises(RuntimeError, match="1 and 2 images"):
        net.allocate_tensors()


@pytest.mark.parametrize("name", ["signed", "sparse", "counting"])
def test_damaged_files_are_errors(name: str) -> None:
    """Any bytes: answers, ValueErrors and RuntimeErrors."""
    data = {"signed": SIGNED, "counting": counting()}.get(name)
    data = data or tflite_cases.every()["sparse_blocks"].model
    choice, ran = random.Random(7), 0
    damaged = [data[:size] for size in range(8, len(data), max(len(data) // 30, 1))]
    for _ in range(150):
        place, number = choice.randrange(8, len(data) - 4), choice.choice((0, 1, 255, 1 << 16, -1))
        word = struct.pack("<i", number)[: choice.choice((1, 4))]
        damaged.append(data[:place] + word + data[place + len(word) :])
    for file in damaged:
        try:
            net = Interpreter(model_content=file)
            net.get_tensor_details(), net.get_input_details(), net.get_output_details()
            net.get_signature_list()
            net.allocate_tensors()
            net.invoke()
            ran += 1
        except (ValueError, RuntimeError) as error:
            assert str(error)
    assert 0 < ran < len(damaged)


# --- the page -------------------------------------------------------------------------------------


def test_the_pages_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    picture = np.full((18, 14, 3), 100, np.uint8)
    exec(code.replace('"model.tflite"', repr(str(DATA / "float.tflite"))), {"picture": picture})
    assert capsys.readouterr().out.startswith("class ")
