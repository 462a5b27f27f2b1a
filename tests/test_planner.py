"""The choice of algorithms: estimates, measuring, wisdom, and what is refused."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnet import _core
from linnet.core import build
from linnet.graph import Graph, Node, Value

ISAS = _core.available_isas()
PROBLEMS = [
    line
    for line in (Path(__file__).parent / "problems.txt").read_text().splitlines()
    if line and line[0] != "#"
]
BENCH = Path(__file__).parent.parent / "bench" / "layers"


def layout(key: str, text: str) -> str:
    head, _, threads = key.rsplit(" ", 2)
    return f"{head} {text} {threads}"


def network(c: int, k: int, kernel: int, size: int) -> Graph:
    """A convolution that several algorithms run, and a fully connected layer."""
    random = np.random.default_rng(0)
    attrs = {
        "kernel_shape": [kernel, kernel],
        "strides": [1, 1],
        "pads": [kernel // 2] * 4,
        "dilations": [1, 1],
        "group": 1,
    }
    nodes = [
        Node("Conv", "conv", ["data", "w"], ["conv"], attrs),
        Node("Relu", "relu", ["conv"], ["relu"]),
        Node("Flatten", "flat", ["relu"], ["flat"], {"axis": 1}),
        Node("Gemm", "fc", ["flat", "fc.w", "fc.b"], ["fc"], {"transB": 1}),
    ]
    initializers = {
        "w": random.standard_normal((k, c, kernel, kernel), np.float32) / 20,
        "fc.w": random.standard_normal((10, k * size * size), np.float32) / 100,
        "fc.b": random.standard_normal(10, np.float32),
    }
    return Graph("net", nodes, initializers, [Value("data", (0, c, size, size))], ["fc"])


@pytest.fixture(scope="module")
def net() -> Graph:
    return network(16, 24, 5, 20)


def session(net: Graph, **options: Any) -> _core.Session:
    return _core.Session(build(net), **{"threads": 1, **options})


def run(core: _core.Session, batch: int = 2) -> Any:
    x = np.random.default_rng(1).standard_normal((batch, 16, 20, 20), np.float32)
    return core.run([x], [], None)[0]


def conv(core: _core.Session) -> _core.Step:
    return next(step for step in core.plan(1, []) if step["problem"].startswith("conv "))


def times(path: Path) -> dict[str, dict[str, float]]:
    """What a wisdom file says: seconds by algorithm by problem."""
    found = {}
    for line in path.read_text().splitlines():
        key, equals, rest = line.partition(" = ")
        if equals:
            found[key] = {a: float(s) for a, s in (item.split() for item in rest.split(", "))}
    return found


# Estimates


@pytest.mark.parametrize("isa", ISAS)
def test_estimates_are_sane(isa: str) -> None:
    """Positive, no less for more images, no more for more threads but for their start."""
    checked = 0
    for line in PROBLEMS:
        for text in ("nchw", "nhwc", "nchw>nhwc", "nhwc>nchw"):
            if " steps" in line and not text.startswith("nchw"):
                continue
            key = layout(line, text)
            single = re.sub(r" t\d+$", " t1", re.sub(r" n\d+ ", " n1 ", key))
            for algorithm in _core.algorithms():
                if _core.refusal(key, algorithm, isa):
                    continue
                one = _core.estimate(single, algorithm, isa)
                many = _core.estimate(single.replace(" n1 ", " n32 "), algorithm, isa)
                threads = _core.estimate(single.replace(" t1", " t4"), algorithm, isa)
                assert 0 < one < math.inf, (single, algorithm)
                assert many > 1.2 * one, (single, algorithm)
                starts = _core.parse_problem(single).get("group", 1)  # one for each matrix product
                assert threads < one + 20e-6 * starts, (single, algorithm)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("isa", ISAS)
def test_estimate_never_prefers_plain_loops(isa: str) -> None:
    for line in PROBLEMS:
        costs: dict[str, float] = {}
        for text in ("nhwc", "nchw", "nchw>nhwc"):
            if " steps" in line and not text.startswith("nchw"):
                continue
            for algorithm in _core.algorithms():
                key = layout(line, text)
                if not _core.refusal(key, algorithm, isa):
                    cost = _core.estimate(key, algorithm, isa)
                    costs[algorithm] = min(cost, costs.get(algorithm, math.inf))
        # On a single pixel nothing is worth preparing.
        if len(costs) > 1 and _core.parse_problem(line)["macs"] > 1e5:
            assert min(costs, key=costs.__getitem__) != "direct-ref", (line, costs)


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "scalar"])
def test_estimate_knows_what_each_algorithm_is_for(isa: str) -> None:
    """Differences of several times, on any machine."""

    def best(key: str) -> str:
        names = [a for a in ("direct", "winograd", "fourier-8") if not _core.refusal(key, a, isa)]
        return min(names, key=lambda a: _core.estimate(key, a, isa))

    assert best("conv f32 n1 c64h56w56 k64r3x3p1,1,1,1 relu nhwc t1") != "direct"
    assert best("conv f32 n16 c32h14w14 k64r5x5 relu nhwc t1") != "direct"
    assert best("conv f32 n1 c64h56w56 k64r1x1 relu nhwc t1") == "direct"
    # Transformed weights of 64 MB for 49 pixels.
    assert best("conv f32 n1 c512h7w7 k512r3x3p1,1,1,1 relu nhwc t1") == "direct"


def test_estimate_of_what_is_refused() -> None:
    with pytest.raises(ValueError, match="pool refuses"):
        _core.estimate("matmul f32 n1 c8h1w1 k8 nhwc t1", "pool", "scalar")


def test_rows_too_large_to_transform_are_refused() -> None:
    """The stride would make a band of rows overflow, the padding a single row."""
    key = "conv f32 n1 c4096h1w1 k1r1x3s2145388541x1p0,0,2145388541,787201 nhwc t1"
    assert _core.refusal(key, "winograd-rows", ISAS[0]) == "the padded window is too large"


# Measuring and wisdom


def test_estimate_measures_nothing(net: Graph) -> None:
    measured: list[str] = []
    core = session(net, progress=measured.append)
    assert not measured
    assert not any(step["measured"] for step in core.plan(1, []))
    assert core.wisdom_note() == "wisdom is switched off"  # as conftest.py asks for


def test_measured_times_are_remembered(net: Graph, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "wisdom.txt"
    measured: list[str] = []
    core = session(net, search="fast", wisdom=str(path), progress=measured.append)
    assert any(key.startswith("conv f32 n1 c16h20w20") for key in measured)
    for step in core.plan(1, []):
        assert step["measured"] and step["estimate"] > 0
        own = [c for c in step["candidates"] if c["algorithm"] == step["algorithm"]]
        assert own[0]["measured"] and own[0]["seconds"] == step["estimate"]
        best = min(c["seconds"] for c in step["candidates"] if c["measured"])  # type: ignore[type-var]
        assert step["estimate"] == best
    assert len([c for c in conv(core)["candidates"] if c["measured"]]) >= 2
    core.save_wisdom()

    again: list[str] = []
    other = session(net, search="fast", wisdom=str(path), progress=again.append)
    assert not again, "measured what the file knows"
    assert "wisdom of" in other.wisdom_note() and str(path) in other.wisdom_note()
    plain = session(net, wisdom=str(path))
    for step, same in zip(core.plan(1, []), plain.plan(1, [])):
        assert (step["algorithm"], step["problem"]) == (same["algorithm"], same["problem"])
        assert same["measured"]
    np.testing.assert_allclose(run(plain), run(session(net)), rtol=1e-3, atol=1e-4)

    session(net, search="fast", keep=False, wisdom=str(path), progress=again.append)
    # The new times may lead to other layouts behind the first layer.
    first = next(key for key in measured if key.startswith("conv "))
    assert first in again and any(key.startswith("matmul ") for key in again)


def test_wisdom_decides(net: Graph, tmp_path: Path) -> None:
    """Whatever the file says is fastest is run, if it may be."""
    path = tmp_path / "wisdom.txt"
    core = session(net, search="full", wisdom=str(path))
    core.save_wisdom()
    text = path.read_text()
    known = times(path)
    key = next(key for key in known if key.startswith("conv ") and key.endswith(" nhwc t1"))
    line = next(line for line in text.splitlines() if line.startswith(key + " = "))
    algorithms = [a for a in known[key] if a != "direct-ref"]
    assert len(algorithms) >= 2
    for algorithm in algorithms:
        path.write_text(text.replace(line, f"{key} = {algorithm} 1e-9"))
        step = conv(session(net, wisdom=str(path)))
        assert (step["algorithm"], step["problem"]) == (algorithm, key)
        # Not what the caller forbids.
        assert conv(session(net, wisdom=str(path), algorithm="direct"))["algorithm"] == "direct"
        strict = conv(session(net, wisdom=str(path), strict=True))["algorithm"]
        assert strict in ("direct", "im2col-openblas")


@pytest.mark.skipif(len(ISAS) < 2, reason="the machine has one instruction set")
def test_wisdom_of_another_isa_is_ignored(net: Graph, tmp_path: Path) -> None:
    path = tmp_path / "wisdom.txt"
    session(net, search="fast", wisdom=str(path), isa=ISAS[0]).save_wisdom()
    core = session(net, wisdom=str(path), isa=ISAS[1])
    assert not any(step["measured"] for step in core.plan(1, []))
    assert f"made with 'isa {ISAS[0]}', here it is 'isa {ISAS[1]}'" in core.wisdom_note()


def test_time_for_measuring_is_limited(net: Graph) -> None:
    measured: list[str] = []
    core = session(net, search="full", seconds=0, wisdom="", progress=measured.append)
    assert not measured
    assert not any(step["measured"] for step in core.plan(1, []))


def test_measuring_can_be_stopped(net: Graph) -> None:
    def stop(problem: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session(net, search="fast", wisdom="", progress=stop)


def test_unknown_search_is_refused(net: Graph) -> None:
    with pytest.raises(ValueError, match="search is 'best'"):
        session(net, search="best")


# Memory


def test_candidates_beyond_the_memory_limit_are_refused() -> None:
    """Transformed kernels are many times the plain ones."""
    wide = network(64, 64, 3, 12)
    # Enough for whichever of those that take little memory is the fastest here.
    small = [session(wide, algorithm=name) for name in ("direct", "winograd-rows")]
    limit = max(core.weight_bytes + core.arena_bytes for core in small)
    core = session(wide, memory_limit=limit)
    refusals = {c["algorithm"]: c["refusal"] for c in conv(core)["candidates"]}
    for algorithm in ("winograd", "fourier-8", "fourier-16"):
        reason = r"needs \d+\.\d MB, the memory limit is \d+\.\d MB"
        assert re.fullmatch(reason, refusals[algorithm]), algorithm
    assert not refusals["direct"] and conv(core)["algorithm"] != "direct-ref"
    assert core.weight_bytes + core.arena_bytes <= limit


# The bench


def test_layer_bench() -> None:
    bench = str(BENCH / "bench_layers.py")
    command = [sys.executable, bench, "--seconds", "0.01", "--tune", "--json", "-"]
    keys = [
        "conv f32 n1 c3h12w12 k16r3x3p1,1,1,1 relu nchw>nhwc t1",
        "matmul f32 n2 c64h1w1 k10 nhwc t1",
    ]
    for key in keys:
        command += ["--problem", key]
    data = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert [r["problem"] for r in data["results"]] == keys
    for result in data["results"]:
        found = {c["algorithm"]: c for c in result["candidates"]}
        assert "direct" in found and "direct-ref" not in found
        assert result["best"] == min(found, key=lambda a: found[a]["seconds"])
        assert result["picked"] == min(found, key=lambda a: found[a]["estimate"])
        picked = found[result["picked"]]["seconds"] / found[result["best"]]["seconds"]
        assert result["ratio"] == pytest.approx(picked)
        tuned = found[result["tuned"]]["seconds"] / found[result["best"]]["seconds"]
        assert result["tuned_ratio"] == pytest.approx(tuned)
        for c in found.values():
            assert 0 < c["least"] <= c["seconds"] < 1 and c["rounds"] >= 5
    assert data["summary"]["layers"] == 2


@pytest.mark.parametrize("name", ["problems.txt", "held_out.txt"])
def test_problem_lists_are_canonical(name: str) -> None:
    lines = [line for line in (BENCH / name).read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) > 20
    for line in lines:
        assert _core.parse_problem(line)["key"] == line
    others = {"problems.txt": "held_out.txt", "held_out.txt": "problems.txt"}
    assert not set(lines) & set((BENCH / others[name]).read_text().splitlines())
