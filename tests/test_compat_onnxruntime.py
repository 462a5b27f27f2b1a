"""linnet.compat.onnxruntime against what ONNX Runtime answers to the same calls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_calls
import pytest
from onnx_models import FLOAT, INT64, onnx, runtime
from onnxruntime_calls import X, network, tensor

import linnet
from linnet.compat import onnxruntime as ours
from linnet.compat.onnxruntime import InferenceSession
from linnet.states import STATES

PAGE = Path(__file__).parents[1] / "docs" / "onnxruntime.md"
helper = onnx.helper
Y = f"float32 [1, 3, 4] {np.maximum(2 * X, 0).tolist()}"
MADE = [["CPUExecutionProvider"], {"CPUExecutionProvider": {}}, Y]
# Exceptions of the same type that say the same in other words.
OTHERWISE = {
    "options: wrong level",
    "options: wrong threads",
    "options: unknown",
    "options: not options",
    "making: an undefined value",
    "making: a value twice",
    "making: no opset",
    "running: names as text",
    "running: nothing",
}
DIFFERENT = {
    "module: providers": ["CPUExecutionProvider"],
    "making: numbers": [MADE, ["providers are names, or pairs of a name and options"]],
    "making: options of none": [MADE, ["there are not as many provider_options as providers"]],
    "making: an operator": "NotImplemented: [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : "
    "the model given as bytes: node 'r' (Mystery): the operator is not supported",
    "described: without a shape": "Fail: [ONNXRuntimeError] : 1 : FAIL : the model given as bytes: "
    "node 'x' (input): has no shape",
    "running: big endian": [Y],
    # Of several wrong inputs ONNX Runtime names whichever comes first in a hash table.
    "integers: several wrong": "InvalidArgument: [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got "
    "invalid dimensions for input: a for the following indices\n index: 0 Got: 1 Expected: 2\n "
    "Please fix either the inputs/outputs or the model.",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("models")
    runtime.set_default_logger_severity(4)
    theirs = onnxruntime_calls.calls(runtime, folder)
    return onnxruntime_calls.calls(ours, folder), theirs


def test_answers_are_those_of_onnx_runtime(answers: tuple[dict[str, Any], dict[str, Any]]) -> None:
    found, theirs = answers
    assert list(found) == list(theirs)
    assert OTHERWISE | DIFFERENT.keys() <= theirs.keys()
    for call, wanted in theirs.items():
        answer = found[call]
        if call in DIFFERENT:
            assert isinstance(answer, list) or answer.startswith(DIFFERENT[call]), call
            assert not isinstance(answer, list) or answer == DIFFERENT[call], call
        elif call in OTHERWISE:
            assert answer.split(": ")[0] == wanted.split(": ")[0], call
        else:  # which providers there are is told in warnings, too
            assert str(answer) == str(wanted).replace("AzureExecutionProvider, ", ""), call


def test_errors_are_where_programs_import_them_from() -> None:
    state = ours.capi.onnxruntime_pybind11_state
    net = InferenceSession(network().SerializeToString())
    with pytest.raises(state.InvalidArgument, match="INVALID_ARGUMENT"):
        net.run(None, {"x": X.astype(np.float64)})
    with pytest.raises(state.NoSuchFile):
        InferenceSession("/no/such/file.onnx")


@pytest.mark.parametrize(
    ("name", "value"), [("enable_profiling", True), ("optimized_model_filepath", "m.onnx")]
)
def test_what_would_be_written_is_refused(name: str, value: Any) -> None:
    options = ours.SessionOptions()
    setattr(options, name, value)
    with pytest.raises(Exception, match=r"linnet writes no profiles and no optimized models"):
        InferenceSession(network().SerializeToString(), options)


def test_memory_is_not_bound() -> None:
    net = InferenceSession(network().SerializeToString())
    with pytest.raises(Exception, match=r"NOT_IMPLEMENTED : .* call run"):
        net.io_binding()
    with pytest.raises(Exception, match="no operators of other libraries"):
        ours.SessionOptions().register_custom_ops_library("custom.so")


def test_sizes_that_only_come_with_a_run() -> None:
    """Which of them fit is the model's matter, as a run finds."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    inputs = [tensor("x", ["n", "h", "w"])]
    graph = helper.make_graph(nodes, "square", inputs, [tensor("y", ["n", "h", "h"])])
    opset = [helper.make_opsetid("", 17)]
    data = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    net = InferenceSession(data)
    theirs = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    for shape in ((1, 3, 4), (2, 5, 2), (1, 3, 4), (3, 1, 7)):
        x = random.standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(net.run(None, {"x": x}), theirs.run(None, {"x": x}), rtol=1e-5)


def test_an_integer_without_axes_is_an_input() -> None:
    nodes = [
        helper.make_node("Equal", ["n", "one"], ["is one"]),
        helper.make_node(
            "If",
            ["is one"],
            ["y"],
            then_branch=helper.make_graph(
                [helper.make_node("Neg", ["x"], ["a"])], "then", [], [tensor("a", None)]
            ),
            else_branch=helper.make_graph(
                [helper.make_node("Abs", ["x"], ["a"])], "else", [], [tensor("a", None)]
            ),
        ),
    ]
    one = onnx.numpy_helper.from_array(np.int64(1), "one")
    inputs = [tensor("x", [1, 3, 4]), tensor("n", [], INT64)]
    graph = helper.make_graph(nodes, "choice", inputs, [tensor("y", [1, 3, 4])], [one])
    opset = [helper.make_opsetid("", 17)]
    net = InferenceSession(helper.make_model(graph, opset_imports=opset).SerializeToString())
    assert net.get_inputs()[1] == ours.NodeArg("n", "tensor(int64)", [])
    np.testing.assert_array_equal(net.run(None, {"x": X, "n": np.array(1)})[0], -X)
    np.testing.assert_array_equal(net.run(None, {"x": X, "n": np.array(2)})[0], np.abs(X))


def test_states_are_inputs_here(tmp_path: Path) -> None:
    from tflite_calls import counting

    linnet.convert(counting(), None, tmp_path / "counting.onnx")
    net = InferenceSession(tmp_path / "counting.onnx")
    assert len(net.get_inputs()) == 2 and STATES in net.get_modelmeta().custom_metadata_map
    feed = {arg.name: np.ones((1, 4), np.float32) for arg in net.get_inputs()}
    for _ in range(2):
        np.testing.assert_array_equal(net.run(None, feed)[0], 2 * np.ones((1, 4)))


def test_the_pages_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["data"], ["scores"])],
        "flat",
        [tensor("data", ["N", 3, 4, 4], FLOAT)],
        [tensor("scores", ["N", 48])],
    )
    onnx.save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]),
        str(tmp_path / "model.onnx"),
    )
    pictures = np.zeros((1, 3, 4, 4), np.float32)
    exec(code.replace('"model.onnx"', repr(str(tmp_path / "model.onnx"))), {"pictures": pictures})
    assert capsys.readouterr().out.startswith("class ")
