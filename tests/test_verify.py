"""linnet verify: what is compared with what, the first difference and the cause found for it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnet import cli, passes, quantize, verify
from linnet.digits import held_out
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value
from linnet.ops import quant

DATA = Path(__file__).parent / "data"
X = np.random.default_rng(3).normal(size=(3, 2, 9, 11)).astype(np.float32)


def check(a: Graph, b: Graph, **options: Any) -> verify.Verification:
    feeds = {"data": X}
    sides = [verify.run_model(name, graph, feeds) for name, graph in (("A", a), ("B", b))]
    return verify.verify(*sides, inputs=feeds, **options)


def node(graph: Graph, name: str) -> Node:
    return next(n for n in graph.nodes if n.name == name)


def test_a_model_agrees_with_itself(small: Graph) -> None:
    found = check(small, copy.deepcopy(small), classes=np.array([0, 1, 2]))
    assert found.passed and found.first is None and not found.cause
    assert [d.value for d in found.differences] == [n.outputs[0] for n in small.nodes]
    assert all(d.error <= 1e-6 for d in found.differences)
    assert found.images == found.same_class == 3
    assert found.correct and found.correct[0] == found.correct[1]


def drop_relu(graph: Graph) -> None:
    graph.nodes.remove(node(graph, "relu1"))
    node(graph, "pool1").inputs[0] = "conv1"


def other_pool(graph: Graph) -> None:
    node(graph, "pool1").op = "AveragePool"


def ceil(graph: Graph) -> None:
    # The rows and columns more that result are cut off by what follows.
    node(graph, "pool1").attrs["ceil_mode"] = 1
    graph.initializers["fc.w"] = np.zeros((7, 5 * 5 * 6), np.float32)


def change(name: str, how: Callable[[Any], Any]) -> Callable[[Graph], None]:
    def apply(graph: Graph) -> None:
        graph.initializers[name] = np.ascontiguousarray(how(graph.initializers[name]), np.float32)

    return apply


def pad(graph: Graph) -> None:
    node(graph, "conv1").attrs["pads"] = [0, 0, 2, 2]


def last_first(w: Any) -> Any:
    return w.reshape(7, 5, 4, 5).transpose(0, 2, 3, 1).reshape(7, -1)


def half(w: Any) -> Any:
    return w.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize(
    ("harm", "first", "cause"),
    [
        (drop_relu, "pool1", r"A has Relu\+MaxPool, B has MaxPool"),
        (other_pool, "conv2", r"A has MaxPool\+Conv, B has AveragePool\+Conv"),
        (ceil, "pool1", "rounds its size up"),
        (pad, "conv1", r"padding \[1, 1, 1, 1\] against \[0, 0, 2, 2\]"),
        (change("conv1.w", lambda w: w[:, ::-1]), "conv1", "BGR against RGB"),
        (change("conv1.w", lambda w: w[..., ::-1, ::-1]), "conv1", "rotated by 180"),
        (change("conv1.w", lambda w: w.swapaxes(2, 3)), "conv1", "height and width of the kernels"),
        (change("conv1.w", lambda w: w / 255), "conv1", r"weights times 0\.00392157"),
        (change("conv2.w", lambda w: w.swapaxes(0, 1)), "conv2", "transposed"),
        (change("fc.w", last_first), "fc", "flattened channels last"),
        (change("fc.w", lambda w: w[:, ::-1]), "fc", "other weights"),
        (change("fc.b", lambda b: 0 * b), "fc", "no bias in B"),
        (change("fc.b", lambda b: b + 1), "fc", "other biases"),
    ],
)
def test_cause_between_models(
    small: Graph, harm: Callable[[Graph], None], first: str, cause: str
) -> None:
    bad = copy.deepcopy(small)
    harm(bad)
    if harm is ceil:
        bad.nodes = bad.nodes[: bad.nodes.index(node(bad, "flat"))]
        bad.outputs = ["relu2"]
    found = check(small, bad)
    assert not found.passed
    assert found.first and found.first.value == first
    assert re.search(cause, found.cause), found.cause


@pytest.mark.parametrize(("how", "cause"), [(half, "float16"), (None, "int8")])
def test_rounded_weights_are_recognised(small: Graph, how: Any, cause: str) -> None:
    if how:
        bad = copy.deepcopy(small)
        for name in ("conv1.w", "fc.w"):
            change(name, how)(bad)
    else:
        bad = verify.round_weights(small, "int8")
        assert not np.array_equal(bad.initializers["fc.w as int8"], small.initializers["fc.w"])
        assert bad.initializers["conv1.w"] is small.initializers["conv1.w"]
    found = check(small, bad, tolerance=1e-5)
    assert f"rounded to {cause}" in found.cause
    assert check(small, bad, tolerance=0.2).passed


def test_order_of_a_concatenation_is_recognised(small: Graph) -> None:
    for parts in (["conv1", "relu1"], ["relu1", "conv1", "data"]):
        a, b = copy.deepcopy(small), copy.deepcopy(small)
        a.nodes.append(Node("Concat", "join", parts, ["join"], {"axis": 1}))
        b.nodes.append(Node("Concat", "join", parts[::-1], ["join"], {"axis": 1}))
        a.outputs = b.outputs = ["prob", "join"]
        found = check(a, b)
        assert found.first and found.first.value == "join"
        assert found.cause == "the same values are concatenated in another order"


def test_models_of_other_names(small: Graph) -> None:
    other = copy.deepcopy(small)
    for n in other.nodes:
        n.inputs = [i if "." in i or i == "data" else f"tower/{i}" for i in n.inputs]
        n.outputs = [f"tower/{o}" for o in n.outputs]
    other.outputs = ["tower/prob"]
    found = check(small, other)
    assert found.passed and len(found.differences) == len(small.nodes)
    assert "tower/conv1" in "\n".join(found.lines())
    change("conv2.w", lambda w: w + 1)(other)
    found = check(small, other)
    assert found.first and found.first.other == "tower/conv2"


def quantized(graph: Graph) -> Graph:
    """With every layer in integers."""
    network = quantize.Network(graph)
    scheme = quantize.Scheme(network, dict.fromkeys(network.layers, "int8"))
    calibration = quantize.Calibration(network, scheme.values, "minmax")
    values = verify.run_model("A", graph, {"data": X}).values
    calibration.see({**values, "data": X}, len(X))
    return quantize.written(scheme, calibration)[0]


def in_integers(name: str, graph: Graph) -> verify.Side:
    form = passes.canonicalize(graph)
    return verify.run_model(name, form, {"data": X}, integers=verify.integers(graph))


def test_a_quantized_model_agrees_within_a_step(small: Graph) -> None:
    other = quantized(small)
    plain = verify.run_model("A", small, {"data": X})
    found = verify.verify(plain, in_integers("B", other), tolerance=0.05)
    assert found.passed, found.lines()
    compared = {d.value: d for d in found.differences}
    assert {"conv1", "relu1", "pool1", "relu2", "fc", "prob"} <= compared.keys()
    assert compared["relu1"].steps is not None and compared["prob"].steps is None
    assert "steps" in found.lines()[2]
    assert verify.verify(in_integers("A", other), in_integers("B", other)).passed
    # One whose weights are others: seen, though they are integers.
    name = next(n for n in other.nodes if n.op == "Conv").inputs[1]
    made = next(n for n in other.nodes if n.outputs == [name])
    wrong = copy.deepcopy(other)
    wrong.initializers[made.inputs[0]] = other.initializers[made.inputs[0]][..., ::-1, ::-1].copy()
    found = verify.verify(plain, in_integers("B", wrong), tolerance=0.05)
    assert "rotated by 180 degrees" in found.cause or "other weights" in found.cause


def test_inputs_of_integers_are_made_of_reals(small: Graph) -> None:
    whole = quantized(small)
    rounded = next(n for n in whole.nodes if n.op == "QuantizeLinear")
    after = next(n for n in whole.nodes if n.inputs[:1] == rounded.outputs)
    whole.nodes.remove(rounded)
    whole.inputs = [Value("data", (0, 2, 9, 11), np.dtype(np.uint8))]
    after.inputs[0] = "data"
    found = verify.verify(
        verify.run_model("A", small, {"data": X}), in_integers("B", whole), tolerance=0.05
    )
    assert found.passed and "relu1" in {d.value for d in found.differences}


def of_value(graph: Graph, value: str, op: str) -> Node:
    """The node that makes integers of a value, or makes it of integers."""
    after = next(n for n in graph.nodes if n.outputs == [value])
    if op == "DequantizeLinear":
        return after
    return next(n for n in graph.nodes if n.outputs == after.inputs[:1])


def harmed(graph: Graph, value: str, ops: str, scale: float = 1, zero: int = 0) -> Graph:
    """With another scale or zero point where a value becomes integers or ("both") reals again."""
    graph = copy.deepcopy(graph)
    for op in ("QuantizeLinear", "DequantizeLinear"):
        if ops in (op, "both"):
            made = of_value(graph, value, op)
            old = [graph.initializers[name] for name in made.inputs[1:3]]
            made.inputs = [made.inputs[0], f"{op}.scale", f"{op}.zero"]
            graph.initializers[f"{op}.scale"] = np.array(old[0] * np.float32(scale))
            graph.initializers[f"{op}.zero"] = np.array(old[1] + np.uint8(zero))
    return graph


@pytest.mark.parametrize(
    ("harm", "between", "alone"),
    [
        (("both", 0.4, 0), "scale .* in A, .* in B", "saturation: .* of the numbers lie beyond"),
        (("DequantizeLinear", 2.0, 0), "scale .* in A, .* in B", "scale: .* are (2|1.99)"),
        (("DequantizeLinear", 1.0, 20), "zero point 0 in A, 20 in B", "zero point: .* -20 steps"),
    ],
)
def test_cause_in_integers(small: Graph, harm: Any, between: str, alone: str) -> None:
    good = quantized(small)
    bad = in_integers("B", harmed(good, "relu1", *harm))
    found = verify.verify(in_integers("A", good), bad)
    assert re.search(between, found.cause), found.cause
    # Of a model that is not quantized only the numbers can tell.
    found = verify.verify(verify.run_model("A", small, {"data": X}), bad, tolerance=0.05)
    assert found.first and found.first.value in ("relu1", "pool1")
    assert re.search(alone, found.cause), found.cause


def test_bytes_of_the_other_sign_are_recognised(small: Graph) -> None:
    side = in_integers("A", quantized(small))
    known = side.integers["fc"]

    def as_signed(v: Any) -> Any:
        q = np.rint(v / known.scale) + known.zero
        return known.scale * (np.where(q > 127, q - 256, q) - known.zero)

    name = side.own("fc")
    found = verify.verify(side, verify.saved("B", {name: as_signed(side.values[name])}))
    assert "signedness" in found.cause
    for a, b, cause in (
        (("uint8", 3), ("int8", 3), "signedness: uint8 and int8"),
        (("uint8", 131), ("int8", 4), "zero points: uint8"),
    ):
        sides = [copy.deepcopy(side), copy.deepcopy(side)]
        for one, (dtype, zero) in zip(sides, (a, b)):
            one.integers["fc"] = known._replace(dtype=dtype, zero=zero)
        sides[1].values[name] = sides[1].values[name] + 9
        assert cause in verify.verify(*sides, tolerance=0.1).cause


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (lambda q, s, w: q * s.reshape(1, -1, 1, 1), "axis: the scales are those of the other"),
        (lambda q, s, w: q * s.max(), "axis: all channels have the largest scale"),
        (lambda q, s, w: (q.astype(int) % 256) * s.reshape(-1, 1, 1, 1), "signedness: the weights"),
        (lambda q, s, w: w + 7 * s.reshape(-1, 1, 1, 1), "zero point: that of the weights"),
    ],
)
def test_cause_in_the_integers_of_weights(small: Graph, harm: Any, cause: str) -> None:
    other = copy.deepcopy(small)
    w = small.initializers["conv2.w"] * np.arange(1, 6, dtype=np.float32).reshape(-1, 1, 1, 1)
    small.initializers["conv2.w"] = w
    other.initializers["conv2.w"] = harm(*quant.quantize(w), w).astype(np.float32)
    found = check(small, other)
    assert found.first and found.first.value == "conv2" and cause in found.cause


def saved(graph: Graph, x: Any = X, **changes: Callable[[Any], Any]) -> verify.Side:
    values = dict(verify.run_model("A", graph, {"data": x}).values)
    for name, how in changes.items():
        values[name] = how(values[name])
    return verify.saved("saved.npz", values)


def compare(graph: Graph, other: verify.Side) -> verify.Verification:
    feeds = {"data": X}
    return verify.verify(verify.run_model("A", graph, feeds), other, inputs=feeds)


def test_saved_values_agree_in_other_layouts(small: Graph) -> None:
    side = saved(
        small,
        pool1=lambda y: y.transpose(0, 2, 3, 1),
        prob=lambda y: y[:, :, None, None],
        fc=lambda y: y.astype(np.float64),
    )
    assert compare(small, side).passed


@pytest.mark.parametrize(
    ("value", "how", "cause"),
    [
        ("relu1", lambda y: y - 0.5 * (y == 0), "ReLU.*missing in saved"),
        ("conv1", lambda y: y[:, ::-1], "reverse order"),
        ("pool1", lambda y: np.where(y > 1, np.inf, y), "infinities or NaN"),
        ("pool1", lambda y: np.pad(y, [(0, 0), (0, 0), (0, 1), (0, 1)]), "rounds up"),
        (
            "conv2",
            lambda y: y.transpose(0, 2, 3, 1).reshape(y.shape),
            "channels last read as first",
        ),
        ("conv1", lambda y: np.roll(y, 1, axis=(2, 3)), "shifted by a pixel"),
        ("conv1", lambda y: y + np.arange(5).reshape(1, 5, 1, 1), "constant for each channel"),
        ("conv1", lambda y: y * 3, "factor of 3"),
        ("fc", lambda y: y + np.eye(3, 7), "unknown; the values before it agree"),
        ("prob", np.log, "softmax is missing"),
        ("conv1", lambda y: y * (1 + 4e-3 * (np.indices(y.shape).sum(0) % 3 - 1)), "precision"),
    ],
)
def test_cause_in_saved_values(small: Graph, value: str, how: Any, cause: str) -> None:
    found = compare(small, saved(small, **{value: how}))
    assert found.first and found.first.value == value
    assert re.search(cause, found.cause), found.cause


def test_only_the_borders_differ(small: Graph) -> None:
    def frame(y: Any) -> Any:
        y = y.copy()
        y[:, :, 0] += 1
        y[:, :, :, -1] *= 2
        return y

    assert "borders" in compare(small, saved(small, conv1=frame)).cause


@pytest.mark.parametrize(
    ("preprocess", "cause"),
    [
        (lambda x: x[:, ::-1].copy(), "channels in reverse order"),
        (lambda x: x * np.float32(255), "255 times as large"),
        (lambda x: x / np.float32(127.5) - 1, "127.5"),
        (lambda x: x[..., ::-1].copy(), "mirrored"),
    ],
)
def test_other_preprocessing_is_recognised(small: Graph, preprocess: Any, cause: str) -> None:
    found = compare(small, saved(small, preprocess(X)))
    assert found.first and found.first.value == "conv1"
    assert found.cause.startswith("preprocessing: saved.npz") and cause in found.cause
    model = verify.run_model("A", small, {"data": X})
    back = verify.verify(saved(small, preprocess(X)), model, inputs={"data": X})
    assert back.cause == found.cause


def test_caffe_saves_what_it_computes_in_place(small: Graph) -> None:
    values = verify.run_model("A", small, {"data": X}).values
    side = verify.saved("blobs", {"conv1": values["relu1"], "prob": values["prob"]})
    found = compare(small, side)
    assert found.passed
    assert [(d.value, d.other) for d in found.differences] == [("relu1", "conv1"), ("prob", "prob")]
    back = verify.verify(side, verify.run_model("A", small, {"data": X}))
    assert back.passed and back.differences[0].other == "relu1"


def test_what_cannot_be_compared_is_an_error(small: Graph) -> None:
    a = verify.run_model("A", small, {"data": X})
    with pytest.raises(ValueError, match="no value in common: 'conv1'"):
        verify.verify(a, verify.saved("b", {"x": X, "y": X}))
    with pytest.raises(ValueError, match="'fc' has 3 images in A, 2 in b"):
        verify.verify(a, verify.saved("b", {"fc": a.values["fc"][:2]}))
    with pytest.raises(ValueError, match="b: 'fc' is not a batch of numbers"):
        verify.saved("b", {"fc": np.array(["a"])})
    with pytest.raises(ValueError, match="not 3 integers"):
        verify.verify(a, a, classes=np.zeros(4, int))
    with pytest.raises(ValueError, match="list of classes"):
        verify.verify(a, verify.saved("b", {"conv1": a.values["conv1"]}), classes=np.zeros(3, int))


# The command


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str]:
    status = cli.main(["verify", *map(str, argv)])
    out, err = capsys.readouterr()
    return status, out if status < 2 else err


def test_command(capsys: pytest.CaptureFixture[str], small: Graph, tmp_path: Path) -> None:
    good, bad, values = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "v.npz"
    save(passes.canonicalize(small), good)
    harmed = copy.deepcopy(small)
    change("conv2.w", lambda w: w.swapaxes(0, 1))(harmed)
    save(passes.canonicalize(harmed), bad)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "classes.npy", np.array([1, 2, 3]))
    np.savez(values, **verify.run_model("", small, {"data": X}).values)

    assert run(capsys, good, good)[0] == 0
    status, text = run(capsys, good, bad, "--inputs", tmp_path / "x.npy")
    assert status == 1
    assert "first difference: 'conv2'; likely cause: weights transposed" in text
    assert "FAILED" in text
    given = ["--inputs", tmp_path / "x.npy", "--classes", tmp_path / "classes.npy"]
    status, text = run(capsys, good, bad, "--json", *given)
    data = json.loads(text)
    assert status == 1 and data["first"] == "conv2" and data["images"] == 3
    assert run(capsys, good, bad, "--tolerance", "100")[0] == 0

    for sides in ((good, values), (values, good)):
        assert run(capsys, *sides, "--inputs", tmp_path / "x.npy")[0] == 0
        status, text = run(capsys, *sides)
        assert status == 2 and "--inputs or --image is needed" in text
    assert run(capsys, values, values)[0] == 0
    np.savez(values, data=X, **verify.run_model("", small, {"data": X}).values)
    assert run(capsys, good, values)[0] == 0  # the file has the input too
    np.save(tmp_path / "y.npy", verify.run_model("", small, {"data": X}).values["prob"])
    assert run(capsys, good, tmp_path / "y.npy", "--inputs", tmp_path / "x.npy")[0] == 0

    for arguments in ((), (good,), (good, bad, good), (good, bad, "--against", "f16")):
        status, text = run(capsys, *arguments)
        assert status == 2 and "two models" in text
    status, text = run(capsys, values, "--against", "int8")
    assert status == 2 and "needs a model" in text


def test_command_reports_what_rounding_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    digits = held_out(88)
    np.save(tmp_path / "x.npy", digits.images[:10])
    np.save(tmp_path / "classes.npy", digits.labels[:10])
    given = ["--inputs", tmp_path / "x.npy", "--classes", tmp_path / "classes.npy"]
    status, text = run(capsys, "digits", "--against", "int8", "--json", *given)
    data = json.loads(text)
    assert status == 0 and data["images"] == data["same_class"] == 10
    assert data["correct"][0] == data["correct"][1] >= 9
    error = {v["value"]: v["error"] for v in data["values"]}
    assert error["conv3"] == 0 and 1e-3 < error["fc2"] < 0.1
    # The shipped weights are float16 already.
    status, text = run(capsys, "digits", "--against", "f16", "--fill", "random", "--json")
    assert status == 0
    assert all(value["error"] < 1e-5 for value in json.loads(text)["values"])


def test_command_on_caffe(capsys: pytest.CaptureFixture[str]) -> None:
    files = DATA / "digits.prototxt", DATA / "digits.caffemodel"
    status, text = run(capsys, *files, "digits", "--fill", "random")
    assert status == 0, text
    assert "conv1.conv1" in text
