"""Networks of fewer bits: ranges, integers, the choice of a precision for each layer, the verb."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import Drawing

import linnet
from linnet import _core, cli, core, digits, formats, interpret, passes
from linnet.graph import BATCHLESS, Graph, Node, Value
from linnet.model import canonical
from linnet.ops import OPERATORS
from linnet.preprocess import Preprocess, merged
from linnet.quantize import (
    Bytes,
    Calibration,
    Network,
    Quantization,
    Samples,
    Scheme,
    Times,
    Wisdom,
    costs,
    loss,
    of_schemes,
    quantize,
    samples,
    save,
    simulated,
    written,
)
from linnet.quantize.calibrate import BINS, Affine, Histogram
from linnet.quantize.choose import _hull
from linnet.quantize.write import int8_weights
from linnet.session import Session

Array = np.ndarray[Any, Any]
DATA = Path(__file__).parent / "data"


class Drawn(Drawing):
    """With random weights."""

    def __init__(self, *shape: int) -> None:
        super().__init__(1, *shape)

    def weights(self, *shape: int) -> Array:
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def conv(self, x: str, *shape: int, group: int = 1, stride: int = 1, pad: int = 0) -> str:
        attrs = {"kernel_shape": list(shape[2:]), "pads": [pad] * 4, "group": group}
        w, b = self.weights(*shape), self.weights(shape[0], 9)[:, 0]
        return self.node("Conv", x, w, b, strides=[stride] * 2, **attrs)

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        return passes.canonicalize(self.graph)


def images(count: int, *shape: int) -> Array:
    return np.random.default_rng(2).standard_normal((count, *shape)).astype(np.float32)


def calibrated(graph: Graph, x: Array, method: str = "mse") -> tuple[Network, Calibration]:
    """With every layer in integers that can be."""
    network = Network(graph)
    scheme = Scheme(network, all_int8(network))
    calibration = Calibration(network, scheme.values, method)
    net = Session(_core.Session(core.build(graph)))
    values = net.run(calibration.wanted, {graph.inputs[0].name: x})
    calibration.see(dict(zip(calibration.wanted, values)), len(x))
    return network, calibration


def all_int8(network: Network) -> dict[str, str]:
    return {n: "int8" if "int8" in own else "f32" for n, own in network.choices().items()}


def integer_units(scheme: Scheme) -> list[str]:
    return [scheme.network.units[i].node.op for i in sorted(scheme.integer)]


class Fixed:
    """A meter whose costs are given: of each layer by precision, and of what lies at borders."""

    unit = "s"

    def __init__(self, costs: Mapping[str, Mapping[str, float]], border: float = 0.0) -> None:
        self.costs, self.border = costs, border

    def layers(self, schemes: Sequence[Scheme]) -> list[dict[str, float]]:
        found = []
        for scheme in schemes:
            own = {name: self.costs[name][p] for name, p in scheme.assignment.items()}
            found.append({"": self.border * len(scheme.borders()), **own})
        return found

    def whole(self, schemes: Sequence[Scheme]) -> list[float]:
        return [sum(layers.values()) for layers in self.layers(schemes)]


FASTER = {"f32": 4.0, "f16": 3.5, "int8-weights": 3.0, "int8": 1.0}


# Losses.


def test_the_interval_of_a_loss():
    """Of one share Wilson's; gains make it lower, and wider than their difference alone would."""
    assert loss.upper_end(0, 0, 380) == pytest.approx(0.01, rel=0.01)
    assert loss.upper_end(3, 0, 300) == pytest.approx(0.0289, abs=1e-4)
    assert loss.upper_end(3, 3, 300) > 0.0189 > loss.upper_end(3, 0, 600) - 0.001
    assert loss.upper_end(0, 3, 300) < loss.upper_end(0, 0, 300)


class Answers:
    """A runner whose outputs are given, and how many of them were asked for."""

    def __init__(self, outputs: Array) -> None:
        self.outputs, self.seen = outputs, 0

    def usable(self, rows: Sequence[int]) -> Sequence[int]:
        return rows

    def values(self, samples: Any, rows: Sequence[int], names: Sequence[str]) -> Any:
        for row in rows:
            self.seen += 1
            yield 1, dict.fromkeys(names, self.outputs[[row]])

    def all(self, samples: Any, rows: Sequence[int], names: Sequence[str]) -> Any:
        return {name: [self.outputs[list(rows)]] for name in names}


def judged_by(metric: str, right: Array, margin: float) -> loss.Judge:
    graph = Graph("n", [Node("Relu", "y", ["x"], ["y"])], {}, [Value("x", (0, 3))], ["y"])
    samples_ = Samples(len(right), lambda rows: {"x": right[list(rows)]})
    answers: Any = Answers(right)
    return loss.Judge(graph, answers, samples_, range(len(right)), metric, margin=margin)


def test_a_network_is_judged_until_it_has_lost_too_much():
    right = np.tile(np.eye(3, dtype=np.float32), (200, 1))
    judge = judged_by("top1", right, 0.01)
    for lost, allowed, seen in ((0, True, 600), (1, True, 600), (30, False, 2)):
        wrong = right.copy()
        wrong[:lost] = np.roll(right[:lost], 1, axis=1)
        answers: Any = Answers(wrong)
        found = judge.loss(answers)
        assert judge.allows(found, 0.01) == allowed and answers.seen == seen
    few = judged_by("top1", right[:100], 0.01)
    assert few.needed(0.01) == 381 and few.allows(loss.Loss(0, 0.04), 0.01)
    assert not few.allows(loss.Loss(0.01, 0.05), 0.01)


@pytest.mark.parametrize("metric", ["rms", "cosine"])
def test_differences_have_an_interval(metric: str):
    right = images(50, 3) + 3
    answers: Any = Answers(right + 0.01 * images(50, 3) ** 2)
    found = judged_by(metric, right, 0.01).loss(answers)
    assert 0 < found.value < found.upper < 3 * found.value


def test_probabilities_are_compared_before_softmax():
    nodes = [Node("Softmax", "s", ["r"], ["s"]), Node("Flatten", "f", ["s"], ["f"])]
    graph = Graph("n", nodes, {}, [], ["f", "r"])
    assert loss.before_softmax(graph, ["f", "r"]) == ["r", "r"]


# Ranges.


def test_a_histogram_does_not_depend_on_what_comes_first():
    x = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    ascending, at_once = Histogram(), Histogram()
    for part in np.array_split(x[np.argsort(np.abs(x))], 7):
        ascending.add(part)
    at_once.add(x)
    assert ascending.counts.sum() == at_once.counts.sum() == x.size
    assert (ascending.low, ascending.high) == (at_once.low, at_once.high) == (x.min(), x.max())
    for histogram in (ascending, at_once):  # nowhere is a bin wider than its share
        assert histogram.width <= 4 * np.abs(x).max() / BINS
        mean = histogram.middles @ histogram.counts / x.size
        assert mean == pytest.approx(x.mean(dtype=float), abs=histogram.width)
    with pytest.raises(ValueError, match="infinities or NaN"):
        at_once.add(np.array([1, np.inf], np.float32))


def test_ranges():
    x = np.append(np.random.default_rng(0).random(100_000), 50).astype(np.float32)
    histogram = Histogram()
    histogram.add(x)
    assert histogram.range("minmax") == (0.0, 50.0)
    low, high = histogram.range("percentile")
    assert low == 0 and 0.99 < high < 1.02
    # The outlier costs more, cut off, than all others gain; a hundred of 8 bits would not.
    errors = {}
    for method in ("minmax", "percentile", "mse"):
        affine = Affine.covering(*histogram.range(method))
        errors[method] = np.square(affine.rounded(x) - x).sum()
    assert errors["mse"] < min(errors["minmax"], errors["percentile"])
    zeros = Histogram()
    zeros.add(np.zeros(9, np.float32))
    assert {zeros.range(m) for m in ("mse", "percentile", "minmax")} == {(0.0, 0.0)}


def test_scales():
    assert Affine.covering(0, 255) == (1.0, 0)
    assert Affine.covering(3, 51) == (pytest.approx(0.2), 0)  # 0 is always among them
    assert Affine.covering(-51, -3) == (pytest.approx(0.2), 255)
    assert Affine.covering(0, 0) == (1.0, 0)
    six = Affine.covering(0, 6)
    assert six.saturates(0, np.inf) and six.saturates(0, 6) and six.saturates(-1, 7)
    assert not six.saturates(0, 5) and not six.saturates(1, 6)
    assert not Affine.covering(-1, 6).saturates(0, np.inf)


def test_values_and_weights_of_next_to_nothing():
    drawn = Drawn(0, 4, 6, 6)
    small = drawn.node("Conv", "x", drawn.weights(4, 4, 1, 1) * 1e-30, kernel_shape=[1, 1])
    y = drawn.conv(drawn.node("Relu", small), 4, 4, 3, 3)
    zeros = np.zeros((4, 4, 1, 1), np.float32)
    graph, x = drawn.done(drawn.node("Conv", y, zeros, kernel_shape=[1, 1])), images(4, 4, 6, 6)
    network, calibration = calibrated(graph, x)
    made, _ = written(Scheme(network, all_int8(network)), calibration)
    scales = [a for name, a in made.initializers.items() if "scale" in name]
    assert len(scales) > 8 and all((s >= np.finfo(np.float32).tiny).all() for s in scales)
    (found,) = Session(_core.Session(core.build(passes.canonicalize(made)))).run(x)
    assert np.abs(found).max() < 1e-6


def test_biases_of_integers_fit():
    w = np.array([[1e-9, 1e-9], [1, -0.5]], np.float32)
    bias = np.array([3, 3], np.float32)
    plain, fitting = int8_weights(w), int8_weights(w, bias, 0.01)
    assert plain[1][1] == fitting[1][1] and np.array_equal(plain[0][1], fitting[0][1])
    steps = np.abs(bias) / (0.01 * fitting[1])
    assert steps.max() < 2**31 and np.abs(bias[0] / (0.01 * plain[1][0])) > 2**31


@pytest.mark.parametrize(
    "attrs",
    [
        {"pads": [1, 1, 1, 1], "strides": [1, 1]},
        {"pads": [0, 2, 1, 0], "strides": [2, 3]},
        {"pads": [2, 2, 2, 2], "strides": [1, 2], "dilations": [2, 1]},
        {"pads": [1, 1, 1, 1], "strides": [1, 1], "group": 2},
    ],
)
def test_the_shift_of_means_is_exact(attrs: dict[str, Any]):
    drawn = Drawn(0, 4, 9, 10)
    group = attrs.get("group", 1)
    w = drawn.weights(6, 4 // group, 3, 3)
    y = drawn.node("Conv", "x", w, kernel_shape=[3, 3], **attrs)
    graph, x = drawn.done(y), images(3, 4, 9, 10)
    _, calibration = calibrated(graph, x)
    change = drawn.weights(6, 4 // group, 3, 3).astype(np.float64)
    (node,) = graph.nodes
    conv = OPERATORS["Conv"]
    (moved,) = conv.compute([x.astype(float), change, None], conv.bind(node.attrs))
    assert calibration.shift(node, change) == pytest.approx(moved.mean(axis=(0, 2, 3)))


# What computes in integers.


def island() -> Graph:
    """Layers of all kinds, on two ways that meet, and classes at the end."""
    drawn = Drawn(0, 3, 12, 12)
    a = drawn.node("Relu", drawn.conv("x", 8, 3, 3, 3, pad=1))
    b = drawn.conv(a, 8, 1, 3, 3, group=8, pad=1)
    c = drawn.node("Add", a, b)
    d = drawn.node("Concat", c, drawn.node("LeakyRelu", b, alpha=0.1), axis=1)
    e = drawn.node("MaxPool", d, kernel_shape=[2, 2], strides=[2, 2])
    f = drawn.node("HardSwish", drawn.conv(e, 8, 16, 1, 1))
    scales = np.array([1, 1, 2, 2], np.float32)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    g = drawn.node("Resize", f, "", scales, nearest_mode="floor", **how)
    h = drawn.conv(drawn.node("Mul", g, drawn.node("Sigmoid", g)), 12, 8, 3, 3, stride=2)
    i = drawn.node("Flatten", drawn.node("GlobalAveragePool", h), axis=1)
    j = drawn.node("Gemm", i, drawn.weights(7, 12), drawn.weights(7, 9)[:, 0], transB=1)
    return drawn.done(drawn.node("Softmax", j, axis=1))


def test_what_follows_on_integers_is_integers_too():
    network = Network(island())
    scheme = Scheme(network, all_int8(network))
    everything = [unit.node.op for unit in network.units]
    assert integer_units(scheme) == [op for op in everything if op != "Softmax"]
    assert scheme.borders() == ["x", network.units[-2].output]
    # Those that have a scale in common: the concatenation with its parts, and what moves numbers.
    shared = scheme.sharing()
    sizes = {u.node.op: len(shared[u.output]) for u in network.units if u.node.op != "Softmax"}
    assert sizes["Concat"] == sizes["MaxPool"] == 4 and sizes["Gemm"] == sizes["Mul"] == 1
    assert sizes["Flatten"] == sizes["GlobalAveragePool"] == 2


def test_what_no_integers_come_after_stays_real():
    network = Network(island())
    names = list(network.layers)
    only = Scheme(network, {**dict.fromkeys(names, "f32"), names[0]: "int8"})
    assert integer_units(only) == ["Conv"]
    two = Scheme(network, {**dict.fromkeys(names, "f32"), names[0]: "int8", names[1]: "int8"})
    assert integer_units(two) == ["Conv", "Conv"]  # what joins them has no integer layer behind it
    assert len(two.borders()) == 3
    three = Scheme(network, {**two.assignment, names[2]: "int8"})
    assert {"Add", "Concat", "LeakyRelu", "MaxPool"} <= set(integer_units(three))


def test_what_cannot_be_integers():
    drawn = Drawn(0, 4, 6, 6)
    w = drawn.weights(4, 4, 1, 1)
    bad = w.copy()
    bad[0] = np.inf
    a = drawn.node("Conv", "x", bad, kernel_shape=[1, 1])
    b = drawn.node("Add", drawn.node("Conv", a, w, kernel_shape=[1, 1]), drawn.weights(4, 1, 1))
    large = drawn.node("Conv", b, w * np.float32(1e6), kernel_shape=[1, 1])
    network = Network(drawn.done(drawn.node("Conv", large, w, kernel_shape=[1, 1])))
    choices = list(network.choices().values())
    assert choices[0] == ["f32"] and "int8" in choices[1] and "f16" not in choices[2]
    assert choices[0] != choices[3] == ["f32", "f16", "int8-weights", "int8"]
    assert network.choices(("int8",))[next(iter(network.layers))] == ["f32"]
    with pytest.raises(ValueError, match="no layer has weights"):
        Network(Graph("n", [Node("Relu", "r", ["x"], ["y"])], {}, [Value("x", (0, 3))], ["y"]))


def test_arithmetic_with_a_number_for_each_channel_is_of_integers():
    drawn = Drawn(0, 4, 6, 6)
    conv = drawn.conv("x", 4, 4, 1, 1)
    each = drawn.node("Mul", drawn.node("Relu", conv), drawn.weights(4, 1, 1))
    grid = drawn.node("Add", each, drawn.weights(6, 6))
    graph = drawn.done(drawn.conv(drawn.node("Relu", grid), 4, 4, 1, 1))
    network = Network(graph)
    kinds = {unit.node.op: unit.kind for unit in network.units}
    assert kinds["Mul"] == "scaling" and kinds["Add"] == ""
    drawn.graph.nodes[-3:] = []
    graph = drawn.done(drawn.conv(each, 4, 4, 1, 1))
    network, calibration = calibrated(graph, images(4, 4, 6, 6))
    scheme = Scheme(network, all_int8(network))
    assert integer_units(scheme) == ["Conv", "Mul", "Conv"]
    made, _ = written(scheme, calibration)
    steps = linnet.load(made).explain()
    assert sum(step.problem.startswith("conv") for step in steps) == 3


def test_layers_of_the_same_weights_are_one():
    drawn = Drawn(0, 4, 6, 6)
    w = drawn.weights(4, 4, 1, 1)
    first = drawn.node("Conv", "x", w, kernel_shape=[1, 1])
    drawn.graph.nodes.append(
        Node("Conv", "again", [first, drawn.graph.nodes[0].inputs[1]], ["again"])
    )
    graph = drawn.done("again")
    network, calibration = calibrated(graph, images(4, 4, 6, 6))
    assert list(network.layers) == [first]
    made, _ = written(Scheme(network, {first: "int8"}), calibration)
    assert sum(a.dtype == np.int8 and a.ndim == 4 for a in made.initializers.values()) == 1


# What is written.


def test_a_simulation_computes_what_is_written():
    graph, x = island(), images(6, 3, 12, 12)
    network, calibration = calibrated(graph, x)
    scheme = Scheme(network, all_int8(network))
    made, _ = written(scheme, calibration)
    last = network.units[-2].output
    exact = interpret.run(made, {"x": x}, np.float32, [last])[last]
    core_graph = core.build(passes.canonicalize(simulated(scheme, calibration)))
    (ours,) = Session(_core.Session(core_graph)).run([last], {"x": x})
    affine = calibration.affine(scheme.sharing()[last])
    assert np.abs(ours - exact).max() < 1.5 * affine.scale  # sums that lie between two integers


def test_the_form_of_what_is_written():
    network, calibration = calibrated(island(), images(6, 3, 12, 12))
    graph, owners = written(Scheme(network, all_int8(network)), calibration)
    made = {name: node for node in graph.nodes for name in node.outputs}
    constants = graph.initializers
    convs = [node for node in graph.nodes if node.op in ("Conv", "Gemm")]
    assert len(convs) == len(network.layers) == 5
    for node in convs:
        x, w, b = (made[name] for name in node.inputs)
        assert {x.op, w.op, b.op} == {"DequantizeLinear"}
        q, scale, zero = (constants[name] for name in w.inputs)
        assert q.dtype == zero.dtype == np.int8 and w.attrs["axis"] == 0 and not zero.any()
        assert np.abs(q.astype(int)).max(axis=tuple(range(1, q.ndim))).tolist() == [127] * len(q)
        bias, steps = (constants[name] for name in b.inputs[:2])
        x_scale = constants[x.inputs[1]]
        assert bias.dtype == np.int32 and steps == pytest.approx(x_scale * scale, rel=1e-6)
        (after,) = (n for n in graph.nodes if node.outputs[0] in n.inputs)
        assert after.op == "QuantizeLinear" and constants[after.inputs[2]].dtype == np.uint8
    assert all(node.op != "Relu" for node in graph.nodes)  # the range of the integers is enough
    assert set(owners.values()) == set(network.layers) and owners.keys() == {
        node.name for node in graph.nodes
    }


def test_a_relu_stays_where_its_scale_has_negative_numbers_too():
    drawn = Drawn(0, 4, 6, 6)
    a = drawn.node("Relu", drawn.conv("x", 4, 4, 1, 1))
    b = drawn.node("Concat", a, drawn.conv("x", 4, 4, 1, 1), axis=1)
    graph, x = drawn.done(drawn.conv(b, 3, 8, 1, 1)), images(8, 4, 6, 6)
    network, calibration = calibrated(graph, x)
    made, _ = written(Scheme(network, all_int8(network)), calibration)
    assert [node.op for node in made.nodes].count("Relu") == 1
    assert interpret.run(made, {"x": x}, np.float32, [a])[a].min() == 0


def test_weights_of_fewer_bits_alone():
    graph, x = island(), images(6, 3, 12, 12)
    network, calibration = calibrated(graph, x)
    names = list(network.layers)
    mixed = dict(zip(names, ("f16", "int8-weights", "f32", "f16", "int8-weights")))
    made, _ = written(Scheme(network, mixed), calibration)
    assert {"QuantizeLinear"}.isdisjoint(node.op for node in made.nodes)
    types = {array.dtype.name for array in made.initializers.values() if array.ndim > 1}
    assert types == {"float16", "int8", "float32"}
    exact = interpret.run(made, {"x": x})[graph.outputs[0]]
    assert exact == pytest.approx(interpret.run(graph, {"x": x})[graph.outputs[0]], abs=0.02)


def test_biases_keep_means_where_they_were():
    drawn = Drawn(0, 6, 8, 8)
    y = drawn.node("Conv", "x", drawn.weights(5, 6, 3, 3), kernel_shape=[3, 3], pads=[1] * 4)
    graph, x = drawn.done(y), images(50, 6, 8, 8) + 3  # all of one sign, as behind a ReLU
    network, calibration = calibrated(graph, x)
    made, _ = written(Scheme(network, {y: "int8-weights"}), calibration)
    means = [interpret.run(g, {"x": x})[y].mean(axis=(0, 2, 3)) for g in (graph, made)]
    assert means[0] == pytest.approx(means[1], abs=1e-5)


@pytest.mark.parametrize("optimized", [False, True])
def test_onnx_runtime_computes_the_same(tmp_path: Path, optimized: bool):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    graph, x = island(), images(64, 3, 12, 12)
    network, calibration = calibrated(graph, x)
    scheme = Scheme(network, all_int8(network))
    save(written(scheme, calibration)[0], tmp_path / "q.onnx", graph)
    options = runtime.SessionOptions()
    level = "ORT_ENABLE_ALL" if optimized else "ORT_DISABLE_ALL"
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    net = runtime.InferenceSession(str(tmp_path / "q.onnx"), options)
    (theirs,) = net.run(None, {"x": x})
    made = core.build(passes.canonicalize(simulated(scheme, calibration)))
    real = Session(_core.Session(core.build(graph)))(x)
    lost = np.sqrt(np.mean((theirs - real) ** 2))
    assert lost < 0.01
    # One step more or less of numbers that lie between two, which then goes on.
    for ours in (Session(_core.Session(made))(x), linnet.load(tmp_path / "q.onnx")(x)):
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.3 * lost


# The choice.


def test_the_lower_hull():
    options = [(4.0, 0.0, "f32"), (3.9, 5.0, "f16"), (3.0, 1.0, "int8-weights"), (1.0, 6.0, "int8")]
    assert [own for *_, own in _hull(options)] == ["int8", "int8-weights", "f32"]
    assert [own for *_, own in _hull([(1.0, 2.0, "a"), (1.0, 1.0, "b"), (2.0, 1.0, "c")])] == ["b"]


def chain_of(layers: int) -> Graph:
    drawn = Drawn(0, 8, 6, 6)
    value = "x"
    for _ in range(layers):
        value = drawn.node("Relu", drawn.conv(value, 8, 8, 3, 3, pad=1))
    return drawn.done(value)


def chosen(graph: Graph, meter: Any, count: int = 24, **options: Any) -> Quantization:
    shape = graph.inputs[0].shape[1:]
    given = samples.from_arrays(graph, {graph.inputs[0].name: images(count, *shape)})
    return quantize(graph, given, lambda calibration, feed: meter, **options)


def precisions(found: Quantization) -> list[str]:
    return [row.precision for row in found.layers]


def test_the_cheapest_within_the_margin():
    graph = chain_of(5)
    costs = dict.fromkeys(Network(graph).layers, FASTER)
    loose = chosen(graph, Fixed(costs), metric="rms", max_loss=0.5)
    assert precisions(loose) == ["int8"] * 5 and loose.passed
    assert (loose.float_cost, loose.cost) == (20, 5)
    # A margin between: some layers, and what is said of the loss is so.
    middle = chosen(graph, Fixed(costs), metric="rms", max_loss=loose.loss * 0.8)
    assert 5 < middle.cost < 20 and 0 < middle.loss <= loose.loss * 0.8
    none = chosen(graph, Fixed(costs), metric="rms", max_loss=0.0)
    assert set(precisions(none)) == {"f32"} and none.loss == 0 and none.passed
    # Points of the curve are better in one than all others.
    assert [p.loss for p in middle.points] == sorted((p.loss for p in middle.points), reverse=True)
    assert [p.estimate for p in middle.points] == sorted(p.estimate for p in middle.points)


def test_a_layer_that_loses_much_is_the_first_to_get_more_bits():
    graph = chain_of(4)
    layers = list(Network(graph).layers)
    weights = next(n for n in graph.nodes if n.name == layers[2]).inputs[1]
    w = graph.initializers[weights]
    w[:, 0] *= 60  # next to which the others have few steps
    half = {"f32": 2.0, "int8": 1.0}
    plain = dict.fromkeys(layers, half)
    most = chosen(graph, Fixed(plain), metric="rms", precisions=("f32", "int8"), max_loss=1)
    found = chosen(
        graph, Fixed(plain), metric="rms", precisions=("f32", "int8"), max_loss=most.loss * 0.9
    )
    assert precisions(found)[2] == "f32" and "int8" in precisions(found)
    noises = [row.noise["int8"] for row in found.layers]
    assert max(noises) == noises[2]
    # Unless that costs more than it is worth.
    dear = {**plain, layers[2]: {"f32": 1e6, "int8": 1.0}}
    found = chosen(
        graph, Fixed(dear), metric="rms", precisions=("f32", "int8"), max_loss=most.loss * 0.97
    )
    assert precisions(found)[2] == "int8" and "f32" in precisions(found)


def test_integers_that_save_less_than_their_borders_cost():
    graph = chain_of(5)
    layers = list(Network(graph).layers)
    slow = {"f32": 1.0, "int8": 2.0}
    costs = {**dict.fromkeys(layers, slow), layers[2]: {"f32": 1.5, "int8": 1.0}}
    choice = {"metric": "rms", "max_loss": 1.0, "precisions": ("f32", "int8")}
    assert precisions(chosen(graph, Fixed(costs), **choice))[2] == "int8"
    with_borders = chosen(graph, Fixed(costs, border=0.4), **choice)
    assert precisions(with_borders) == ["f32"] * 5


def test_what_is_no_faster_stays_float32():
    graph = chain_of(3)
    same = dict.fromkeys(Network(graph).layers, dict.fromkeys(FASTER, 1.0))
    found = chosen(graph, Fixed(same), metric="rms", max_loss=1.0)
    assert set(precisions(found)) == {"f32"}
    assert [node.op for node in found.graph.nodes] == [node.op for node in graph.nodes]
    assert any("faster than float32" in line for line in found.lines())


def test_a_margin_that_cannot_be_met():
    graph = chain_of(3)
    costs = dict.fromkeys(Network(graph).layers, FASTER)
    found = chosen(graph, Fixed(costs), metric="rms", max_loss=1e-6, precisions=("int8",))
    assert not found.passed and found.loss > 1e-6
    assert found.lines()[-1].startswith("FAILED: loss ")


def test_metrics():
    graph = island()
    costs = dict.fromkeys(Network(graph).layers, FASTER)
    classes = chosen(graph, Fixed(costs), max_loss=1.0)
    assert classes.metric == "top1" and not classes.labelled
    assert classes.loss * classes.judged == round(classes.loss * classes.judged)
    cosine = chosen(graph, Fixed(costs), max_loss=1.0, metric="cosine")
    assert 0 < cosine.loss < 0.01
    assert chosen(chain_of(1), Fixed(dict.fromkeys(["conv0"], FASTER))).metric == "rms"
    with pytest.raises(ValueError, match="no list of classes"):
        chosen(chain_of(1), Fixed(dict.fromkeys(["conv0"], FASTER)), metric="top1")


def test_with_labels_the_loss_is_that_of_right_answers():
    graph = island()
    x = images(40, 3, 12, 12)
    best = Session(_core.Session(core.build(graph)))(x).argmax(axis=1)
    wrong = np.where(np.arange(40) % 4 == 1, (best + 1) % 7, best)  # half of those that judge
    given = samples.from_arrays(graph, {"x": x}).labelled(wrong)
    costs = dict.fromkeys(Network(graph).layers, FASTER)
    found = quantize(graph, given, lambda c, f: Fixed(costs), max_loss=1.0)
    assert found.float_correct == 0.5 and found.labelled
    for labels, message in (
        (best[:-1], "one for each input"),
        (best.astype(float), "expected 40 integers"),
        (best - 9, "0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            samples.from_arrays(graph, {"x": x}).labelled(labels)
    with pytest.raises(ValueError, match="the model has 7"):
        quantize(
            graph,
            samples.from_arrays(graph, {"x": x}).labelled(best + 7),
            lambda c, f: Fixed(costs),
        )


def test_a_model_without_a_batch_and_one_of_a_fixed_batch():
    drawn = Drawn(3, 8, 8)
    drawn.graph.metadata[BATCHLESS] = json.dumps({"x": 3})
    image = drawn.node("Unsqueeze", "x", np.array([0]))
    graph = drawn.done(drawn.node("Relu", drawn.conv(image, 4, 3, 3, 3)))
    given = samples.from_arrays(graph, {"x": images(9, 3, 8, 8)})
    costs = dict.fromkeys(Network(graph).layers, FASTER)
    found = quantize(graph, given, lambda c, f: Fixed(costs), metric="rms", max_loss=0.1)
    assert graph.batchless and set(precisions(found)) == {"int8"} and found.judged == 4
    fixed = Drawn(2, 3, 8, 8)
    y = fixed.node("Transpose", fixed.conv("x", 4, 3, 3, 3), perm=[1, 0, 2, 3])
    batches = fixed.done(y)
    assert batches.inputs[0].shape[0] == 2
    costs = dict.fromkeys(Network(batches).layers, FASTER)
    found = chosen(batches, Fixed(costs), count=9, metric="rms", max_loss=0.1)
    assert set(precisions(found)) == {"int8"} and found.judged == 4
    with pytest.raises(ValueError, match="for 2 inputs at once"):
        chosen(batches, Fixed(dict.fromkeys(Network(batches).layers, FASTER)), count=1)


# Costs.


def test_bytes():
    graph, x = chain_of(2), images(4, 8, 6, 6)
    network, calibration = calibrated(graph, x)
    first, second = network.layers
    meter = Bytes(calibration)
    plain = Scheme(network, dict.fromkeys(network.layers, "f32"))
    mixed = Scheme(network, {first: "f16", second: "int8"})
    weights, numbers = 8 * 8 * 9, 8 * 6 * 6
    assert meter.layers([plain])[0] == {
        "": 0,
        **dict.fromkeys(network.layers, 4 * weights + 4 * numbers),
    }
    assert meter.layers([mixed])[0][first] == 2 * weights + 4 * numbers
    assert meter.layers([mixed])[0][second] == weights + numbers


def test_times_are_those_of_layers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(costs, "SECONDS", 0.0)
    graph, x = island(), images(4, 3, 12, 12)
    network, calibration = calibrated(graph, x)
    meter = Times(of_schemes(calibration), {"x": x[:1]}, {"threads": 1})
    schemes = [
        Scheme(network, dict.fromkeys(network.layers, "f32")),
        Scheme(network, all_int8(network)),
    ]
    for found in meter.layers(schemes):
        assert all(found[name] > 0 for name in network.layers)
    assert all(seconds > 0 for seconds in meter.whole(schemes))


def test_wisdom_of_another_machine(tmp_path: Path):
    graph, x = chain_of(2), images(4, 8, 6, 6)
    network, calibration = calibrated(graph, x)
    path = tmp_path / "wisdom.txt"
    key = "conv f32 n1 c8h6w6 k8r3x3p1,1,1,1 relu"
    head = "linnet wisdom 1\n\nlinnet 0.2.0, problem keys 4\ncpu other\nisa neon_vfpv4\n"
    path.write_text(
        f"{head}{key} nchw t4 = direct 0.5, winograd 0.7\n{key} nhwc t4 = direct 0.25\n"
    )
    plain = Scheme(network, dict.fromkeys(network.layers, "f32"))
    (found,) = Wisdom(of_schemes(calibration), path).layers([plain])
    first, last = network.layers
    # With a change of layout before the first or behind the last, in proportion.
    assert min(found[first], found[last]) >= 0.25
    assert 0.5 < found[first] + found[last] < 1.5
    path.write_text(f"{head}{key} nhwc t4 = direct 0.25\n{key} nhwc t1 = direct 0.9\n")
    assert 1.8 <= Wisdom(of_schemes(calibration), path, 1).whole([plain])[0] < 4
    with pytest.raises(ValueError, match="give --threads"):
        Wisdom(of_schemes(calibration), path)
    path.write_text(f"{head}conv f32 n1 c9h6w6 k8r3x3 nhwc t4 = direct 1\n")
    with pytest.raises(ValueError, match=r"no times of \d steps.*run linnet tune there"):
        Wisdom(of_schemes(calibration), path).layers([plain])
    path.write_text("something else")
    with pytest.raises(ValueError, match="not a wisdom file"):
        Wisdom(of_schemes(calibration), path)


# The verb.


def test_the_digits_within_one_percent(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, chart = tmp_path / "out.onnx", tmp_path / "chart.svg"
    arguments = ["--objective", "bytes", "--precisions", "f32,int8", "--chart", str(chart)]
    assert cli.main(["quantize", "digits", "-o", str(out), "--json", *arguments]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["passed"] and data["loss"] <= 0.01 and data["file"] == str(out)
    assert (data["calibrated"], data["judged"]) == (120, 240) and data["labelled"]
    assert [row["precision"] for row in data["layers"]] == ["int8"] * 5
    assert "allowed" in chart.read_text()
    assert out.stat().st_size < 0.3 * 4 * sum(
        array.size for array in canonical(digits.MODEL, None).initializers.values()
    )
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    x, labels = digits.held_out(88)
    (y,) = runtime.InferenceSession(str(out)).run(None, {"data": x})
    right = np.mean(y.argmax(axis=1) == labels)
    assert right >= np.mean(linnet.load(digits.MODEL)(x).argmax(axis=1) == labels) - 0.01
    assert linnet.load(out).preprocess == linnet.load(digits.MODEL).preprocess


def test_the_digits_in_integers_are_as_onnx_runtime_has_them():
    x, labels = digits.held_out(88)
    with np.load(DATA / "digits_int8.npz") as file:
        theirs = dict(file)
    classes = theirs.pop("classes")
    source = formats.read(DATA / "digits_int8.onnx")
    assert len(theirs) == 7 and all(q.dtype == np.uint8 for q in theirs.values())
    ours = interpret.run(source, {"data": x[:1]}, np.float32, list(theirs))
    for name, q in theirs.items():
        off = np.abs(ours[name].astype(int) - q[:1])
        assert off.max() <= 2 and np.mean(off != 0) < 0.01, name
    found = linnet.load(DATA / "digits_int8.onnx")(x).argmax(axis=1)
    assert np.mean(found == classes) > 0.99
    assert np.mean(classes == labels) > 0.97


def test_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pillow = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    drawn = Drawn(0, 3, 8, 8)
    y = drawn.node("GlobalAveragePool", drawn.node("Relu", drawn.conv("x", 5, 3, 3, 3)))
    graph = drawn.done(y)
    graph.metadata = merged({}, Preprocess(mean=(128,), scale=(1 / 64,)))
    model, folder, out = tmp_path / "m.onnx", tmp_path / "pictures", tmp_path / "o.onnx"
    save(graph, model, graph)
    (folder / "below").mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(12):
        pixels = random.integers(0, 256, (11, 9, 3), np.uint8)
        pillow.fromarray(pixels).save(folder / "below" / f"{i}.png")

    def run(*more: str, images: Path = folder) -> tuple[int, str]:
        arguments = ["--images", str(images), "-o", str(out), "--objective", "bytes", *more]
        status = cli.main(["quantize", str(model), *arguments])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    status, text = run("--max-loss", "100%")
    assert status == 0 and "6 inputs calibrated, 6 judged" in text and out.exists()
    assert linnet.load(out).preprocess == Preprocess(mean=(128,), scale=(1 / 64,))
    out.unlink()
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{i}.png {i % 5}\n" for i in range(12)))
    assert run("--labels", str(labels), "--max-loss", "100%")[0] == 0
    out.unlink()
    labels.write_text("0.png 1\n")
    status, text = run("--labels", str(labels))
    assert status == 2 and "no class of '1.png', '10.png'" in text
    labels.write_text("3\n" * 11)
    assert "expected 12 integers" in run("--labels", str(labels))[1]
    labels.write_text("3\n" * 11 + "three\n")
    assert "line 12 does not end with a class" in run("--labels", str(labels))[1]
    (folder / "below" / "3.png").write_bytes(b"no picture")
    status, text = run()
    assert status == 2 and "3.png: not a readable image" in text
    (tmp_path / "empty").mkdir()
    assert "there are no pictures" in run(images=tmp_path / "empty")[1]
    assert "No such file" in run(images=tmp_path / "missing")[1]
    assert not out.exists() and len(list(tmp_path.iterdir())) == 4


def test_bad_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = str(tmp_path / "out.onnx")
    np.savez(tmp_path / "x.npz", data=np.zeros((4, 1, 88, 87), np.float32))
    np.save(tmp_path / "x.npy", np.full((4, 1, 88, 88), np.nan, np.float32))
    for arguments, message in (
        (["digits", "-o", "out.txt"], "must end in .onnx"),
        (["digits", "-o", str(tmp_path / "none" / "out.onnx")], "cannot be written"),
        (["digits", "-o", out, "--chart", "chart.gif"], "must end in .png or .svg"),
        (["digits", "-o", out, "--precisions", "int4"], "'int4' is none of f32"),
        (["digits", "-o", out, "--inputs", str(tmp_path / "x.npz")], "expected Nx1x88x88"),
        (["digits", "-o", out, "--inputs", str(tmp_path / "x.npy")], "infinities or NaN"),
        (["digits", "-o", out, "--mean", "3"], "--mean is for --images"),
        (["digits", "-o", out, "--wisdom", "w", "--objective", "bytes"], "--wisdom holds times"),
        ([str(digits.MODEL.with_name("none.onnx")), "-o", out], "No such file"),
    ):
        assert cli.main(["quantize", *arguments]) == 2
        assert message in capsys.readouterr().err
    arguments = ["--objective", "bytes", "--precisions", "int8", "--metric", "rms"]
    assert cli.main(["quantize", "digits", "-o", out, "--max-loss", "0.01%", *arguments]) == 1
    assert "FAILED" in capsys.readouterr().out and not Path(out).exists()


def test_arrays_that_do_not_fit():
    graph = chain_of(1)
    good = images(3, 8, 6, 6)
    assert samples.from_arrays(graph, {"x": good}).count == 3
    for arrays, message in (
        ({}, "no array 'x'"),
        ({"x": good, "y": good}, "'y' is no input"),
        ({"x": good[:0]}, "no inputs"),
        ({"x": good[0]}, "expected Nx8x6x6"),
        ({"x": good.astype(str)}, "expected Nx8x6x6"),
    ):
        with pytest.raises(ValueError, match=message):
            samples.from_arrays(graph, arrays)
    with pytest.raises(ValueError, match="value 'relu1' has infinities"):
        bad = Samples(2, lambda rows: {"x": np.full((len(rows), 8, 6, 6), 3e38, np.float32)})
        quantize(graph, bad, lambda c, f: Fixed({"conv0": FASTER}), metric="rms")
