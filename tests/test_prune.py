"""Networks with fewer channels: which go, weights fitted anew, the choice, the verbs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import _core, cli, core, passes
from linnet.formats import onnx_write
from linnet.graph import Graph, Node, Value
from linnet.prune import Smaller, Work, prune, shrink
from linnet.prune.build import Builder, Item
from linnet.prune.refit import Sampling, contributions, principal, ranking, refitted
from linnet.prune.spaces import Structure
from linnet.quantize.costs import Make, Written
from linnet.quantize.samples import Samples, from_arrays
from linnet.session import Session

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(5)


def numbers(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


class Weights:
    """A meter whose costs are bytes of constants."""

    unit = "s"

    def __init__(self, make: Make, feed: Mapping[str, Array]) -> None:
        self._make = make

    def layers(self, schemes: Sequence[Any]) -> list[dict[str, float]]:
        return [self._layers(self._make(scheme)) for scheme in schemes]

    def _layers(self, made: Written) -> dict[str, float]:
        constants, found = made.graph.initializers, {"": 1e-6}
        for node in made.graph.nodes:
            owner = made.owners.get(node.name, "")
            size = sum(constants[name].nbytes for name in node.inputs if name in constants)
            found[owner] = found.get(owner, 0.0) + 1e-9 * size
        return found

    def whole(self, schemes: Sequence[Any]) -> list[float]:
        return [sum(layers.values()) for layers in self.layers(schemes)]


def conv(name: str, x: str, w: Array, pad: int = 0, **more: Any) -> tuple[Node, dict[str, Array]]:
    attrs = {"kernel_shape": list(w.shape[2:]), "pads": [pad] * 4, **more}
    bias = numbers(len(w)) / 3
    return Node("Conv", name, [x, f"{name}.w", f"{name}.b"], [name], attrs), {
        f"{name}.w": w,
        f"{name}.b": bias,
    }


def redundant() -> Graph:
    """Two branches joined by an Add, of whose channels half nearly are sums of the others."""
    nodes, constants = [], {}

    def add(made: tuple[Node, dict[str, Array]]) -> None:
        nodes.append(made[0])
        constants.update(made[1])

    def mixed(k: int, c: int, side: int) -> Array:
        base = numbers(k // 2, c, side, side) / np.sqrt(c * side * side)
        mix = numbers(k // 2, k // 2) / np.sqrt(k)
        others = np.einsum("ij,jcrs->icrs", mix, base)
        return np.concatenate([base, others + 0.02 * numbers(*others.shape)]).astype(np.float32)

    add(conv("stem", "x", mixed(16, 2, 3), 1))
    add(conv("left", "stem", mixed(32, 16, 3), 1))
    add(conv("deep", "left", numbers(32, 1, 3, 3) / 3, 1, group=32))
    add(conv("back", "deep", mixed(16, 32, 1)))
    nodes.append(Node("Add", "add", ["back", "stem"], ["add"]))
    add(conv("last", "add", mixed(24, 16, 3), 0, strides=[2, 2]))
    nodes.append(Node("Relu", "relu", ["last"], ["relu"]))
    nodes.append(Node("GlobalAveragePool", "mean", ["relu"], ["mean"]))
    nodes.append(Node("Flatten", "flat", ["mean"], ["flat"], {"axis": 1}))
    nodes.append(Node("Gemm", "fc", ["flat", "fc.w"], ["fc"], {"transB": 1}))
    constants["fc.w"] = numbers(10, 24)
    graph = Graph("redundant", nodes, constants, [Value("x", (0, 2, 9, 9))], ["fc"])
    return passes.canonicalize(graph)


def inputs(graph: Graph, count: int = 40) -> Samples:
    x = np.random.default_rng(1).standard_normal((count, *graph.inputs[0].shape[1:]))
    return from_arrays(graph, {"x": x})


@pytest.fixture(scope="module")
def builder() -> Builder:
    graph = redundant()
    return Builder(Structure(graph), inputs(graph), range(0, 40, 2), lambda done, total: None)


def rms(graph: Graph, other: Graph) -> float:
    x = np.random.default_rng(9).standard_normal((40, 2, 9, 9)).astype(np.float32)
    y, z = (Session(_core.Session(core.build(g)))(x) for g in (graph, other))
    return float(np.sqrt(np.square(y - z).mean() / np.square(y).mean()))


# Ranks and weights.


@pytest.mark.parametrize("rows", [200, 12])  # more than terms, and fewer
def test_weights_are_fitted_to_what_a_missing_channel_gave(rows):
    x, w, bias = numbers(rows, 20), numbers(5, 20), numbers(5)
    x[:, 7] = x[:, 3] - 2 * x[:, 11] + 1
    y = x @ w.T + bias
    kept = np.delete(np.arange(20), 7)
    before = x[:, kept] @ w[:, kept].T + bias
    new, offset = refitted(x[:, kept], y, w[:, kept], bias)
    after = x[:, kept] @ new.T + offset
    assert np.abs(after - y).max() < 0.03 * np.abs(before - y).max()


def test_weights_that_are_right_stay():
    x, w, bias = numbers(50, 8), numbers(3, 8), numbers(3)
    new, offset = refitted(x, x @ w.T + bias, w, bias)
    np.testing.assert_allclose(new, w, atol=1e-4)
    np.testing.assert_allclose(offset, bias, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_contributions(groups):
    x, w = numbers(30, 4, 3), numbers(6, 4 // groups, 3)
    alike = contributions(w, x, groups)
    parts = np.zeros((4, 30, 6))
    for c in range(4):
        group = c // (4 // groups)
        mine = slice(group * 6 // groups, (group + 1) * 6 // groups)
        parts[c, :, mine] = (x[:, c] - x[:, c].mean(0)) @ w[mine, c % (4 // groups)].T
    want = np.einsum("ark,brk->ab", parts, parts)
    np.testing.assert_allclose(alike, want / want.sum(), atol=1e-5)


def test_channels_that_others_make_up_for_go_first():
    parts = numbers(6, 400)
    parts[1] = parts[4] * 2  # one of these two
    parts[2] *= 0.01
    order = ranking(parts @ parts.T / 400)
    assert order[0] in (1, 4) or order[0] == 2
    assert {*order[:2].tolist()} <= {1, 2, 4} and 2 in order[:2]


@pytest.mark.parametrize(
    ("shape", "attrs"),
    [
        ((6, 4, 3, 3), {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
        ((6, 2, 3, 2), {"dilations": [2, 1], "group": 2}),
        ((5, 4, 1, 1), {}),
    ],
)
def test_patches_are_what_a_convolution_reads(shape, attrs):
    w = numbers(*shape)
    node = Node("Conv", "c", ["x", "w", "b"], ["c"], {"kernel_shape": list(shape[2:]), **attrs})
    constants = {"w": w, "b": numbers(len(w))}
    graph = passes.canonicalize(Graph("g", [node], constants, [Value("x", (0, 4, 9, 8))], ["c"]))
    x = numbers(3, 4, 9, 8)
    y = Session(_core.Session(core.build(graph)))(x)
    sampling = Sampling(graph, {"c": graph.nodes[0]}, 3)
    patches = sampling.patches("c", x)
    got = sampling.results("c", patches)
    want = y.transpose(0, 2, 3, 1).reshape(-1, len(w))  # few places: all are sampled, in order
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_principal_directions():
    y = numbers(100, 3) @ numbers(3, 8) + numbers(8)
    vectors, middle = principal(y)
    basis = vectors[:, :3]
    np.testing.assert_allclose((y - middle) @ basis @ basis.T + middle, y, atol=1e-4)


# Networks.


def test_spaces_are_what_is_coupled():
    structure = Structure(redundant())
    spaces = {space.makers: space.readers for space in structure.spaces.values()}
    assert spaces == {
        ("stem", "back"): ("left", "last"),
        ("left",): ("back",),
        ("last",): ("fc",),
    }
    assert set(structure.owners.values()) == {"stem", "left", "back", "last", "fc"}
    assert structure.owners["deep"] == "left"


def test_fitting_recovers_what_cutting_loses(builder: Builder):
    state = {("channels", name): 4 for name in builder.structure.spaces}
    whole = builder.structure.graph
    cut, alone, fitted = (
        rms(whole, make(state).graph)
        for make in (builder.cut_only, builder.fitted_alone, builder.fitted)
    )
    assert fitted < 0.5 * cut and alone < 0.7 * cut
    assert fitted < 0.15
    shapes = core.shapes(builder.fitted(state).graph)
    assert [shapes[n][1] for n in ("stem", "left", "deep", "add", "last")] == [8, 16, 16, 8, 12]


def test_layers_behind_are_fitted_as_well(builder: Builder):
    """Those that read what the cut has changed, though none of their channels are gone."""
    state = {("channels", "left"): 4}
    whole = builder.structure.graph
    alone, fitted = (make(state).graph for make in (builder.fitted_alone, builder.fitted))
    assert rms(whole, fitted) < 0.95 * rms(whole, alone)


def test_a_layer_of_low_rank_splits_exactly(builder: Builder):
    assert set(builder.structure.splits) == {"left", "last"}
    rows = [builder.cut_only({("rank", "left"): level}) for level in (1, 4)]
    errors = [rms(builder.structure.graph, built.graph) for built in rows]
    assert errors[0] < 0.03 < errors[1]
    (low,) = set(rows[0].owners) - set(builder.structure.owners)
    assert rows[0].owners[low] == "left"
    filters = {
        n.name: rows[0].graph.initializers[n.inputs[1]].shape for n in rows[0].graph.nodes[:3]
    }
    assert filters == {"stem": (16, 2, 3, 3), low: (16, 16, 3, 3), "left": (32, 16, 1, 1)}


def found_within(**asked: float) -> Smaller:
    graph = redundant()
    return prune(graph, inputs(graph), Weights, metric="rms", **asked)


def test_the_fastest_within_the_margin():
    close, far = found_within(max_loss=0.08), found_within(max_loss=0.3)
    for found in (close, far):
        assert found.passed and found.after.upper <= (found.max_loss or 0)
        assert found.gain > 1 and found.points
    assert far.gain > close.gain > 1.1
    assert json.loads(json.dumps(far.to_dict()))["after"]["how"].startswith("pruned")
    assert "PASSED" in "\n".join(far.lines()) and "allowed" in far.chart().svg()


def test_so_many_times_as_fast():
    found = found_within(speed_up=2.0, max_loss=1.0)
    assert found.passed and 2 <= found.gain < 3
    both = found_within(speed_up=2.0, max_loss=1e-6)
    assert not both.passed and "FAILED" in both.lines()[-1]


def test_by_a_factor_no_more_is_cut_than_that_takes():
    graph = redundant()
    work = Work(graph, inputs(graph), Weights, "rms", lambda what, done, total: None)
    chooser = work.chooser

    def cost(state: Mapping[Item, int]) -> float:
        return chooser.meter.whole([chooser.builder.cut_only(state)])[0]

    whole, spared = cost(chooser.chain[0]), 0
    for factor in (1.3, 1.7, 2.2):
        state = chooser.faster(factor)
        first = next(s for s in chooser.chain if cost(s) <= whole / factor)
        assert cost(first) <= cost(state) <= whole / factor
        assert all(level <= first[item] for item, level in state.items())
        spared += state != first
    assert spared


def test_what_cannot_be_cut():
    node, constants = conv("c", "x", numbers(3, 2, 1, 1))
    graph = passes.canonicalize(Graph("g", [node], constants, [Value("x", (0, 2, 4, 4))], ["c"]))
    with pytest.raises(ValueError, match="there are no channels to remove"):
        prune(graph, inputs(graph), Weights)


def test_fewer_channels_and_bits():
    graph = redundant()
    found = shrink(graph, inputs(graph), Weights, metric="rms", max_loss=0.2)
    assert found.passed and found.after.bytes < found.before.bytes / 2


# The verbs.


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model and inputs; times are taken, but not for long."""
    monkeypatch.setattr("linnet.quantize.costs.SECONDS", 0.0)
    graph = redundant()
    graph.metadata = {"linnet.labels": "a\nb"}
    onnx_write.save(graph, tmp_path / "in.onnx")
    x = inputs(graph).take(range(40))["x"]
    np.save(tmp_path / "x.npy", x)
    labels = Session(_core.Session(core.build(graph)))(x).argmax(axis=1)
    (tmp_path / "labels.txt").write_text("".join(f"{n}\n" for n in labels))
    files = ["--inputs", str(tmp_path / "x.npy"), "--labels", str(tmp_path / "labels.txt")]
    return [str(tmp_path / "in.onnx"), *files, "--threads", "1", "-o", str(tmp_path / "out.onnx")]


def test_prune(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]):
    chart, out = tmp_path / "chart.svg", tmp_path / "out.onnx"
    more = ["--chart", str(chart), "--json", "--max-loss", "100%"]
    status = cli.main(["prune", *arguments, *more])
    data = json.loads(capsys.readouterr().out)
    assert (status == 0) == data["passed"] == out.exists() and chart.exists()
    assert data["labelled"] and (data["fitted"], data["judged"]) == (20, 20)
    assert data["after"]["bytes"] < data["before"]["bytes"]
    assert not data["passed"] or linnet.load(out).labels == ["a", "b"]


@pytest.mark.parametrize("verb", ["prune", "shrink"])
def test_nothing_is_written_that_is_not_good_enough(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], verb: str
):
    more = ["--speed-up", "1e6"] if verb == "prune" else ["--max-loss", "0%", "--metric", "rms"]
    arguments = [a for a in arguments if verb == "prune" or "labels" not in a]
    assert cli.main([verb, *arguments, *more]) == 1
    text = capsys.readouterr().out
    assert "FAILED" in text and "ms" in text and not (tmp_path / "out.onnx").exists()


def test_bad_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = str(tmp_path / "out.onnx")
    for arguments, message in (
        (["prune", "digits", "-o", out, "--speed-up", "-1"], "is not a positive number"),
        (["shrink", "digits", "-o", str(tmp_path / "out.txt")], "must end in .onnx"),
        (["prune", "digits", "-o", out, "--precisions", "f32"], "unrecognized arguments"),
    ):
        assert cli.main(arguments) == 2
        assert message in capsys.readouterr().err
