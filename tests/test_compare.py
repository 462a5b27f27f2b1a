"""The comparison bench, with a runtime made of the NumPy reference in place of the heavy ones."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared import ADAPTER, as_data, cells, parse, small_graph

import linnet
from linnet import _core, digits, formats, interpret, passes
from linnet.cli import compare
from linnet.compare import bench, machine, network, report, runtimes, worker
from linnet.compare.bench import (
    Bench,
    Cell,
    Protocol,
    Row,
    Worker,
    WorkerError,
    check_logits,
    check_output,
)
from linnet.compare.machine import Watch
from linnet.compare.run import all_rows
from linnet.compare.runtimes import Runtime
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value


def images(count: int = 5) -> np.ndarray[Any, Any]:
    return np.random.default_rng(8).random((count, 1, 10, 9), dtype=np.float32)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    path = tmp_path / "adapter.py"
    path.write_text(ADAPTER)
    return Runtime("fake", path, {"kind": "here", "import": "numpy"}, {})


def measure(runtime: Runtime, folder: Path, *options: dict[str, Any], **protocol: Any) -> list[Row]:
    """Rows "r0", "r1", ... of the fake runtime, one for each set of options, measured briefly."""
    graph = small_graph()
    network.export(graph, folder)
    rows = [Row(f"r{i}", runtime, option) for i, option in enumerate(options)]
    settings = {"batches": [1, 3], "threads": 1, "seconds": 0.05, "passes": 20, **protocol}
    expected = network.expect(graph, images())
    Bench(Protocol(**settings), expected, folder, lambda *_: None).measure(rows)
    return rows


def children() -> list[str]:
    """Command lines of the workers this process has started and not reaped."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
            line = path.with_name("cmdline").read_bytes().decode()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and "worker.py" in line:
            found.append(line)
    return found


def test_export_is_read_back_by_the_worker(tmp_path: Path) -> None:
    graph = small_graph()
    network.export(graph, tmp_path)
    full, logits = worker.Network(str(tmp_path), "network"), worker.Network(str(tmp_path), "logits")
    assert [n.op for n in full.nodes] == [n.op for n in graph.nodes]
    assert [n.op for n in logits.nodes] == [n.op for n in graph.nodes[:-1]]
    assert (full.output, logits.output) == ("y", "logits")
    assert full.shapes["p"] == [4, 4, 3]
    assert full.consumers("r") == 1
    for name, array in graph.initializers.items():
        np.testing.assert_array_equal(full.weights[name], array)
    assert os.path.exists(full.model)
    assert os.path.exists(logits.model)


def test_export_refuses_several_outputs(tmp_path: Path) -> None:
    graph = small_graph()
    graph.outputs = ["y", "f"]
    with pytest.raises(ValueError, match="one output, not 1 and 2"):
        network.export(graph, tmp_path)


def test_export_refuses_an_input_that_is_not_float(tmp_path: Path) -> None:
    graph = small_graph()
    graph.inputs = [Value("x", (0, 1, 10, 9), np.dtype(np.int8))]
    with pytest.raises(ValueError, match="whose input is float32; x is int8"):
        network.export(graph, tmp_path)


def test_the_network_in_int8_is_a_file_of_both_variants(tmp_path: Path) -> None:
    graph, x = small_graph(), images(network.CHUNK + 1)
    written = network.in_int8(graph, x)
    network.export(graph, tmp_path, written)
    full, logits = worker.Network(str(tmp_path), "network"), worker.Network(str(tmp_path), "logits")
    assert [n.op for n in full.nodes] == [n.op for n in graph.nodes]  # shapes are the same
    ops = [node.op for node in formats.read(Path(full.model)).nodes]
    assert ops.count("Softmax") == 1 and ops.count("QuantizeLinear") >= 4
    assert [node.op for node in formats.read(Path(logits.model)).nodes] == ops[:-1]
    exact, rounded = network.expect(graph, x), network.expect(written, x)
    error = np.abs(rounded.logits - exact.logits).max() / np.sqrt(np.mean(exact.logits**2))
    assert 1e-4 < error < 0.1
    for variant, expected in ((full, rounded.output), (logits, rounded.logits)):
        net = linnet.load(variant.model, threads=1)
        np.testing.assert_allclose(net(x), expected, rtol=1e-5, atol=1e-6)
    again = network.in_int8(graph, x).initializers
    assert all(np.array_equal(array, again[name]) for name, array in written.initializers.items())


def test_expected_values_are_float64_of_every_image() -> None:
    graph, x = small_graph(), images(network.CHUNK + 1)
    expected = network.expect(graph, x)
    assert expected.logits.dtype == np.float64
    single = interpret.run(graph, {"x": x[-1:]}, np.float64, ["logits", "y"])
    np.testing.assert_allclose(expected.logits[-1:], single["logits"], rtol=1e-12)
    np.testing.assert_allclose(expected.output.sum(1), 1, rtol=1e-12)


def test_a_right_runtime_is_measured(runtime: Runtime, tmp_path: Path) -> None:
    (row,) = measure(runtime, tmp_path, {})
    assert [cell.batch for cell in row.cells] == [1, 3]
    for cell in row.cells:
        assert cell.status == "ok", cell.reason
        assert 1 <= len(cell.times) <= 20
        assert cell.difference is not None and cell.limit is not None
        assert 0 < cell.difference < cell.limit / 10
        assert cell.peak is not None and cell.peak > 10e6
        assert cell.facts["version"] == "7"
        assert cell.facts["library"] == "NumPy for 1"
        assert cell.facts["first_call_s"] > 0
        assert cell.median == pytest.approx(np.median(cell.times) * 1e3 / cell.batch)
    assert not children()


def test_one_perturbed_weight_fails(runtime: Runtime, tmp_path: Path) -> None:
    rows = measure(runtime, tmp_path, {"perturb": 0.1}, {}, {"flip": True})
    assert [row.cells[0].status for row in rows] == ["failed", "ok", "failed"]
    assert "logits differ" in rows[0].cells[0].reason
    assert "the output differs" in rows[2].cells[0].reason
    assert not rows[0].cells[0].times and not rows[2].cells[0].times
    text = report.as_text([as_data(rows)])
    assert "FAILED" in text
    assert "r0 at batch 1: logits differ" in text


@pytest.mark.parametrize("name", ["linnet", "onnxruntime"])
def test_one_perturbed_weight_of_a_real_runtime_fails(name: str, tmp_path: Path) -> None:
    """The runtime gets the shipped network with one weight of 1,039,744 changed."""
    if name != "linnet":
        pytest.importorskip(name, reason="the test extra is not installed")
    graph = passes.canonicalize(formats.read(digits.MODEL))
    x = np.random.default_rng(9).random((2, 1, 88, 88), dtype=np.float32)
    expected = network.expect(graph, x)
    real = replace(runtimes.runtimes()[name], environment={"kind": "here"})
    status = []
    for change in (0.0, 0.5):
        (conv,) = (n for n in graph.nodes if n.op == "Conv" and n.inputs[0] == graph.inputs[0].name)
        weights = {**graph.initializers}
        weights[conv.inputs[1]] = weights[conv.inputs[1]].copy()
        weights[conv.inputs[1]][3, 0, 2, 4] += change * np.abs(weights[conv.inputs[1]]).max()
        folder = tmp_path / str(change)
        folder.mkdir()
        network.export(replace(graph, initializers=weights), folder)
        row = Row(name, real, {})
        protocol = Protocol([2], 1, 0.01, 3)
        Bench(protocol, expected, folder, lambda *_: None).measure([row])
        status.append((row.cells[0].status, "differ" in row.cells[0].reason))
    assert status == [("ok", False), ("failed", True)]


@pytest.mark.parametrize("name", ["linnet", "onnxruntime"])
def test_one_wrong_scale_in_int8_fails(name: str, tmp_path: Path) -> None:
    if name != "linnet":
        pytest.importorskip(name, reason="the test extra is not installed")
    graph, x = small_graph(), images()
    written = network.in_int8(graph, x)
    int8 = network.expect(written, x, network.INT8_TOLERANCE)
    settings = runtimes.runtimes()[name].configurations[f"{name}-int8"]
    real = replace(runtimes.runtimes()[name], environment={"kind": "here"})
    found = []
    for factor in (1, 2):
        weights = {**written.initializers}
        weights["w2.int8.scale"] = weights["w2.int8.scale"] * np.float32(factor)
        folder = tmp_path / str(factor)
        (folder / "int8").mkdir(parents=True)
        network.export(graph, folder)
        network.export(graph, folder / "int8", replace(written, initializers=weights))
        row, protocol = Row(f"{name}-int8", real, settings), Protocol([2], 1, 0.01, 3)
        expected = network.expect(graph, x)
        Bench(protocol, expected, folder, lambda *_: None, int8=int8).measure([row])
        found.append(row.cells[0])
    assert [cell.status for cell in found] == ["ok", "failed"], found[0].reason
    assert "differ" in found[1].reason
    assert found[0].facts["agreement"] >= 0.8


def test_a_smaller_network_is_held_to_what_it_should_answer_itself(tmp_path: Path) -> None:
    graph, x = small_graph(), images()
    weights = {n: a[..., ::-1].copy() for n, a in graph.initializers.items()}  # another network
    written = replace(graph, initializers=weights)
    (tmp_path / "smaller").mkdir()
    network.export(graph, tmp_path)
    network.export(graph, tmp_path / "smaller", written)
    linnet = runtimes.runtimes()["linnet"]
    rows = [Row(name, linnet, linnet.configurations[name]) for name in ("linnet", "linnet-shrunk")]
    expected, smaller = (network.expect(g, x) for g in (graph, written))
    protocol = Protocol([2], 1, 0.01, 3)
    Bench(protocol, expected, tmp_path, lambda *_: None, smaller=smaller).measure(rows)
    assert [row.cells[0].status for row in rows] == ["ok", "ok"]
    (tmp_path / "journal.json").unlink()
    wrong = Row("linnet-shrunk", linnet, {"smaller": True})
    Bench(protocol, smaller, tmp_path, lambda *_: None, smaller=expected).measure([wrong])
    assert wrong.cells[0].status == "failed"


def test_a_runtime_that_quantizes_itself_is_near_float64(runtime: Runtime, tmp_path: Path) -> None:
    graph, x = small_graph(), images()
    written = network.in_int8(graph, x)
    (tmp_path / "int8").mkdir()
    network.export(graph, tmp_path)
    network.export(graph, tmp_path / "int8", written)
    expected, int8 = network.expect(graph, x), network.expect(written, x, network.INT8_TOLERANCE)
    options = [{"int8": "own"}, {"int8": "own", "perturb": 0.1}, {"int8": "own", "perturb": 9.0}]
    rows = [Row(f"r{i}", runtime, option) for i, option in enumerate(options)]
    labelled = digits.Labelled(images(7)[::-1].copy(), np.zeros(7, np.int64))
    measured = Bench(
        Protocol([2], 1, 0.01, 3),
        expected,
        tmp_path,
        lambda *_: None,
        int8=int8,
        labelled=labelled,
    )
    measured.measure(rows)
    assert [row.cells[0].status for row in rows] == ["ok", "ok", "failed"]
    assert rows[0].cells[0].difference < 1e-4 < rows[1].cells[0].difference


def test_accuracy_is_the_runtime_s_own(runtime: Runtime, tmp_path: Path) -> None:
    graph = small_graph()
    network.export(graph, tmp_path)
    x = images(7)[::-1].copy()
    best = network.expect(graph, x).output.argmax(1)
    labels = np.where(np.arange(7) < 5, best, (best + 1) % 5)  # five right, two wrong
    rows = [Row("right", runtime, {})]
    protocol, expected = Protocol([3, 4], 1, 0.01, 3), network.expect(graph, images())
    labelled = digits.Labelled(x, labels)
    Bench(protocol, expected, tmp_path, lambda *_: None, labelled=labelled).measure(rows)
    assert rows[0].cells[0].facts["accuracy"] == 5 / 7
    assert "accuracy" not in rows[0].cells[1].facts  # once is enough


def test_held_out_digits_are_what_the_model_takes() -> None:
    labelled = digits.held_out(88)
    assert labelled.images.shape == (360, 1, 88, 88)
    assert labelled.images.dtype == np.float32
    eight = np.load(Path(__file__).parent / "data" / "digits_caffe.npz")
    first = int(np.flatnonzero(labelled.labels == 3)[0])
    np.testing.assert_array_equal(labelled.images[first, 0], eight["inputs"][3] / np.float32(255))


def test_not_a_number_fails() -> None:
    expected = network.Expected(images(), np.ones((5, 4)), np.ones((5, 4)))
    for check in (check_logits, check_output):
        cell = Cell(2)
        check(cell, np.ones((2, 4)), expected)
        assert cell.status == "ok"
        check(cell, np.full((2, 4), np.nan), expected)
        assert cell.status == "failed"


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ({"crash": 3}, "error", "SIGABRT in load"),
        ({"raise": 3}, "error", "RuntimeError: no such kernel"),
        ({"exhaust": 3}, "memory", "out of memory"),
    ],
)
def test_one_failure_is_one_cell(
    runtime: Runtime, tmp_path: Path, options: dict[str, Any], status: str, reason: str
) -> None:
    bad, good = measure(runtime, tmp_path, options, {})
    assert [cell.status for cell in bad.cells] == ["ok", status]
    assert bad.cells[1].reason.startswith(reason)
    assert [cell.status for cell in good.cells] == ["ok", "ok"]
    assert not children()
    lines = report.as_text([as_data([bad, good])]).splitlines()
    means = next(line.split() for line in lines[lines.index("Notes") - 5 :] if "  r0 " in line)
    assert means[2:] == [{"memory": "-", "error": "n/a"}[status], "-"]  # accuracy last


def test_memory_cap_ends_the_process(runtime: Runtime, tmp_path: Path) -> None:
    bad, good = measure(runtime, tmp_path, {"grow": 3}, {}, memory_cap=300 << 20)
    assert [cell.status for cell in bad.cells] == ["ok", "memory"]
    assert "over the memory cap" in bad.cells[1].reason
    assert good.cells[1].status == "ok"
    assert not children()


def test_a_missing_runtime_is_a_reason(runtime: Runtime, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    absent = Runtime("absent", runtime.adapter, {"kind": "venv", "packages": []}, {})
    (row,) = measure(absent, tmp_path, {})
    assert row.cells[0].status == "error"
    assert "run --setup" in row.cells[0].reason


def script(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "worker.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def test_timeout_kills_the_process_and_its_children(tmp_path: Path) -> None:
    text = "import subprocess, sys\nsubprocess.run(['sleep', '60'])"
    bad = Worker(script(tmp_path, text), dict(os.environ), tmp_path / "log")
    time.sleep(0.3)
    with pytest.raises(WorkerError, match="start took more than"):
        bad.ask("start", timeout=0.2)
    assert bad.process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # init reaps the sleeping grandchild
            os.killpg(bad.process.pid, 0)
            time.sleep(0.02)


def test_status_and_last_words_are_the_reason(tmp_path: Path) -> None:
    text = "import sys\nprint('Illegal setting', file=sys.stderr)\nsys.exit(3)"
    bad = Worker(script(tmp_path, text), dict(os.environ), tmp_path / "log")
    with pytest.raises(WorkerError, match="ended with status 3 in start: Illegal setting"):
        bad.ask("start")


def test_a_worker_is_stopped_between_requests(tmp_path: Path) -> None:
    text = "import sys\nfor line in sys.stdin: print('{}', flush=True)"
    worker = Worker(script(tmp_path, text), dict(os.environ), tmp_path / "log")
    for _ in range(2):
        assert worker.ask("anything") == {}
        stat, end = Path(f"/proc/{worker.process.pid}/stat"), time.monotonic() + 30
        while stat.read_text().rsplit(")", 1)[1].split()[0] != "T" and time.monotonic() < end:
            time.sleep(0.02)
        assert stat.read_text().rsplit(")", 1)[1].split()[0] == "T"
    worker.close()
    assert worker.process.returncode == -signal.SIGKILL


def test_no_worker_outlives_a_killed_bench(tmp_path: Path) -> None:
    text = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from linnet.compare.bench import WORKER, Worker\n"
        "w = Worker([sys.executable, str(WORKER)], dict(os.environ), Path(sys.argv[1]) / 'log')\n"
        "try: w.ask('nonsense', timeout=20)\n"
        "except Exception: pass\n"
        "w = Worker([sys.executable, str(WORKER)], dict(os.environ), Path(sys.argv[1]) / 'log')\n"
        "print(w.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    output = subprocess.run(
        [*script(tmp_path, text), str(tmp_path)], capture_output=True, check=False, text=True
    )
    assert output.returncode == -signal.SIGKILL, output.stderr
    pid = int(output.stdout)
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return  # dead, and nobody here reaps orphans
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError(f"worker {pid} is still there")


def test_full_protocol_makes_exactly_the_passes(runtime: Runtime, tmp_path: Path) -> None:
    (row,) = measure(runtime, tmp_path, {}, seconds=float("inf"), passes=13, batches=[2])
    assert len(row.cells[0].times) == 13


def test_passes_wait_for_the_interval(runtime: Runtime, tmp_path: Path) -> None:
    waiting: dict[str, Any] = {"seconds": 10.0, "passes": 5, "batches": [2], "interval": 0.04}
    (row,) = measure(runtime, tmp_path, {}, **waiting)
    (cell,) = row.cells
    assert len(cell.times) == 5 and cell.wall > 5 * 0.04  # at least: sleeping never ends early
    assert cell.wall - sum(cell.times) > 5 * 0.04  # no wait is counted as a pass's time


def test_arguments() -> None:
    args = parse("--batches", "16,1,16", "--memory-cap", "1G", "--runtimes", "torch,linnet")
    assert args.batches == [1, 16]
    assert args.memory_cap == 1 << 30
    assert args.runtimes == ["torch", "linnet"]
    assert parse("--runtimes", "all").runtimes == list(all_rows())
    assert parse("--threads", "2,1").threads == [1, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--batches", "0"),
        ("--batches", "1,,2"),
        ("--runtimes", "cafe"),
        ("--memory-cap", "G"),
        ("--output", "table.pdf"),
        ("--max-regression", "-5%"),
        ("--seconds", "nan"),
        ("--interval", "-1"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[str, str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        parse(*arguments)
    assert arguments[0] in capsys.readouterr().err


@pytest.fixture
def model(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "small.onnx"
    save(small_graph(), path)
    return path


def test_linnet_row_from_end_to_end(capsys: Any, tmp_path: Path, model: Path) -> None:
    arguments = ("--runtimes", "linnet,linnet-scalar", "--batches", "1,7", "--seconds", "0.05")
    arguments = ("--model", str(model), "--threads", "1", *arguments)
    files = [tmp_path / name for name in ("r.json", "r.csv", "r.html", "r.svg")]
    outputs = [text for path in files for text in ("--output", str(path))]
    assert compare.run(parse("--json", *arguments, *outputs)) == 0
    data = json.loads(capsys.readouterr().out)
    assert json.loads(files[0].read_text()) == data
    for path in files[1:]:
        assert "linnet-scalar" in path.read_text()
    (run,) = data["runs"]
    assert [row["name"] for row in run["rows"]] == ["linnet", "linnet-scalar"]
    for row in run["rows"]:
        for cell in row["cells"]:
            assert cell["status"] == "ok"
            assert cell["logit_difference"] <= cell["logit_limit"]
    run["rows"][0]["cells"][0]["median"] = 1e-9
    files[0].write_text(json.dumps(data))
    arguments = (*arguments, "--runtimes", "linnet", "--batches", "1")
    assert compare.run(parse(*arguments, "--baseline", str(files[0]))) == 1
    assert "slower than the baseline: linnet at batch 1" in capsys.readouterr().err
    assert not children()
    assert [path.name for path in (tmp_path / "cache" / "compare").iterdir()] == ["lock"]


def test_int8_row_from_end_to_end(capsys: Any, model: Path) -> None:
    arguments = ["--model", str(model), "--runtimes", "linnet,linnet-int8", "--batches", "2"]
    assert compare.run(parse("--json", *arguments, "--seconds", "0.05", "--threads", "1")) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    floats, integers = run["rows"]
    assert (floats["int8"], integers["int8"]) == (False, True)
    assert floats["agreement"] is None and integers["agreement"] >= 0.9
    assert integers["cells"][0]["status"] == "ok"
    assert integers["cells"][0]["logit_limit"] > 100 * floats["cells"][0]["logit_limit"]


def test_no_smaller_network_without_pictures(capsys: Any, model: Path) -> None:
    arguments = ["--model", str(model), "--runtimes", "linnet-shrunk", "--batches", "2"]
    assert compare.run(parse("--json", *arguments, "--seconds", "0.05", "--threads", "1")) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert "no pictures" in run["rows"][0]["cells"][0]["reason"]
    assert set(all_rows()) - set(compare._by_default()) == {"linnet-shrunk"}


def test_a_network_without_layers_for_int8_is_a_reason(capsys: Any, model: Path) -> None:
    nodes = [Node("Softmax", "prob", ["x"], ["y"], {"axis": 1})]
    save(Graph("none", nodes, {}, [Value("x", (0, 5))], ["y"]), model)
    arguments = ["--model", str(model), "--runtimes", "linnet,linnet-int8", "--batches", "2"]
    assert compare.run(parse("--json", *arguments, "--seconds", "0.05", "--threads", "1")) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["rows"][0]["cells"][0]["status"] == "ok"
    assert "no layer has weights to quantize" in run["rows"][1]["cells"][0]["reason"]


def test_a_network_up_to_a_value(capsys: Any, model: Path) -> None:
    arguments = ["--model", str(model), "--outputs", "p", "--runtimes", "linnet", "--batches", "1"]
    assert compare.run(parse("--json", *arguments, "--seconds", "0.05", "--threads", "1")) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["model"] == "small.onnx to p" and run["rows"][0]["cells"][0]["status"] == "ok"


@pytest.mark.parametrize("content", ["[]", "{", '{"format": 2, "runs": [{"model": "x"}]}'])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    for option in ("--baseline", "--merge", "--reference"):
        with pytest.raises(ValueError, match=r"r\.json is not a result"):
            compare.run(parse(option, str(path)))


def test_merged_results_and_the_study_beside(capsys: Any, tmp_path: Path, runtime: Runtime) -> None:
    paths = []
    for name, time_ in (("Pi 3", 0.04), ("Pi 4", 0.02)):
        run = as_data([Row("linnet", runtime, {}, cells(time_))])
        run["machine"]["cpu"] = name
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(report.as_json([run]))
    output = tmp_path / "both.json"
    arguments = ["--merge", *map(str, paths), "--reference", "study", "-o", str(output)]
    assert compare.run(parse(*arguments)) == 0
    text = capsys.readouterr().out
    for line in ("net, 1 thread, Pi 3", "net, 1 thread, Pi 4", "study 2017"):
        assert line in text
    runs = report.read(output)
    assert [run["machine"]["cpu"] for run in runs[:2]] == ["Pi 3", "Pi 4"]
    rows = {row["name"]: row["cells"] for row in runs[2]["rows"]}
    assert rows["caffe-openblas-dl"][-1]["mean"] == 50.06
    assert rows["mxnet-openblas-dl"][-1]["status"] == "memory"
    svg = report.as_chart(runs).svg()
    for name in ("linnet, Pi 3", "linnet, Pi 4", "study 2017: caffe-openblas"):
        assert name in svg


# A comparison in a process of its own: its command line after the program.
COMPARE = "import sys; from linnet.cli import main; sys.exit(main(['compare', *sys.argv[1:]]))"


def start(model: Path, *more: str, rows: str = "linnet") -> subprocess.Popen[str]:
    protocol = ["--batches", "1,2,3", "--seconds", "0.05", "--threads", "1"]
    arguments = ["--model", str(model), "--runtimes", rows, *protocol, *more]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", COMPARE, *arguments], **pipes)


def journal(model: Path) -> dict[str, Any]:
    """What the interrupted comparison of `start` has finished."""
    found: dict[str, Any] = {}
    for path in (model.parent / "cache" / "compare" / "unfinished").glob("*.json"):
        found = json.loads(path.read_text())["batches"]
    return found


def end_in_the_middle(process: subprocess.Popen[str], model: Path, number: int) -> dict[str, Any]:
    """Send a signal once a batch size is done and before all are; wait until no worker is left."""
    while not journal(model):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)
    workers = [pid for pid in running() if parent(pid) == process.pid]
    os.kill(process.pid, number)
    os.kill(process.pid, signal.SIGCONT)
    process.communicate()
    for _ in range(500):
        if not set(workers) & set(running()):
            break
        time.sleep(0.01)
    assert not set(workers) & set(running())
    finished = journal(model)
    assert 1 <= len(finished) <= 2
    return finished


def running() -> list[int]:
    """Every process that is not a zombie."""
    return [int(p.name) for p in Path("/proc").glob("[0-9]*") if status(int(p.name))[0] not in "ZX"]


def parent(pid: int) -> int:
    return int(status(pid)[1])


def status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ["X", "0"]


def test_a_killed_comparison_goes_on_where_it_was(model: Path) -> None:
    rows = "linnet,linnet-direct"
    finished = end_in_the_middle(start(model, rows=rows), model, signal.SIGKILL)
    again = start(model, "--json", rows=rows)
    text, messages = again.communicate()
    assert again.returncode == 0, messages
    assert "going on where a run was cut short: batch 1" in messages
    for row, kept in zip(json.loads(text)["runs"][0]["rows"], zip(*finished.values())):
        assert [cell["batch"] for cell in row["cells"]] == [1, 2, 3]
        for old, new in zip(kept, row["cells"]):
            assert new["times"] == [round(t, 9) for t in old["times"]]
    assert not journal(model)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_ended_comparison_tidies_up(model: Path, number: int) -> None:
    process = start(model)
    end_in_the_middle(process, model, number)
    assert process.returncode == 128 + number
    if number == signal.SIGTERM:
        other = start(model, "--fresh")
        assert "going on" not in other.communicate()[1]
        assert other.returncode == 0


def test_one_comparison_at_a_time(model: Path) -> None:
    first = start(model)
    while not journal(model):
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    second = start(model)
    assert "another comparison is running" in second.communicate()[1]
    assert second.returncode == 2
    first.terminate()
    first.send_signal(signal.SIGCONT)
    first.communicate()


def test_runtimes_are_imported_side_by_side(runtime: Runtime, tmp_path: Path) -> None:
    rows = measure(runtime, tmp_path, {}, {}, {}, batches=[1], importing=2)
    assert all(row.cells[0].status == "ok" and row.cells[0].times for row in rows)
    assert ["import_s" in row.cells[0].facts for row in rows] == [False, False, True]


def test_scarce_memory_leaves_no_process_waiting(
    runtime: Runtime, tmp_path: Path, monkeypatch: Any
) -> None:
    starts: list[str] = []
    begin = Bench._start

    def count(self: Bench, row: Row) -> Worker:
        assert len(children()) == 0
        starts.append(row.name)
        return begin(self, row)

    monkeypatch.setattr(Bench, "_start", count)
    monkeypatch.setattr(bench, "memory_is_scarce", lambda: True)
    monkeypatch.setattr(bench, "ROUNDS", 3)
    rows = measure(runtime, tmp_path, {}, {}, batches=[2], seconds=float("inf"))
    assert all(len(row.cells[0].times) == 20 and row.cells[0].difference for row in rows)
    assert starts.count("r0") == 3  # to load and verify it, for the first turn and for the last


@pytest.mark.parametrize(
    ("total", "left", "scarce"),
    [(1, 0.6, False), (1, 0.4, True), (8, 3.9, True), (24, 7, False), (24, 5, True)],
)
def test_memory_is_scarce_where_neither_half_nor_enough_is_left(
    total: float, left: float, scarce: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"{name}: {int(gb * (1 << 20))} kB\n" for name, gb in [("MemTotal", total), ("MemFree", 0)]
    ]
    (tmp_path / "meminfo").write_text(
        "".join([*lines, f"MemAvailable: {int(left * (1 << 20))} kB\n"])
    )
    monkeypatch.setattr(machine, "MEMORY", tmp_path / "meminfo")
    assert machine.memory_is_scarce() is scarce


def test_list_says_what_is_there(capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    assert compare.run(parse("--list", "--json")) == 0
    data = json.loads(capsys.readouterr().out)
    state = {entry["name"]: entry for entry in data["runtimes"]}
    assert state["linnet"]["ready"]
    assert not state["caffe-openblas"]["ready"]
    assert "--setup" in state["caffe-openblas"]["reason"]
    assert not list(tmp_path.iterdir())


def test_watch_says_what_spoils_the_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    clock = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
    write("proc/stat", "cpu  0 0 0 9 9 0 0 0 0 0\n")
    write("proc/vmstat", "pswpin 300\npswpout 400\n")
    write("proc/7/stat", "7 (a) b) R 1 1 1 1 1 1 1 1 1 1 100 20 0 0 20\n")
    write(clock, "1200000\n")
    write(clock.replace("cpu0", "cpu1"), "600000\n")  # idle
    # Since it was switched on, the board has been throttled and had too little power.
    write("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    watch = Watch(tmp_path)
    with watch.turn(7):
        time.sleep(0.02)
    assert watch.facts()["valid"]
    with watch.turn(7):  # 3 s of work, 1.5 of them by the process itself
        write("proc/stat", "cpu  100 100 50 9 9 0 25 25 0 0\n")
        write("proc/7/stat", "7 (a) b) R 1 1 1 1 1 1 1 1 1 1 200 70 0 0 20\n")
        write("proc/vmstat", "pswpin 300\npswpout 1400\n")
        # Now it has too little power again, and its clock has been capped for a moment.
        write("sys/devices/platform/soc/soc:firmware/get_throttled", "70001\n")
        write("sys/class/thermal/thermal_zone0/temp", "81500\n")
        write(clock, "600000\n")
    assert watch.others == pytest.approx(1.5)
    write("proc/cpuinfo", "processor : 0\nvendor_id : GenuineIntel\n")
    monkeypatch.setattr(platform, "machine", lambda: "armv7l")
    assert watch.problems()[0] == "emulated"
    write("proc/cpuinfo", "processor : 0\nCPU implementer : 0x41\n")
    later = Watch(tmp_path)
    later.resume(json.loads(json.dumps(watch.state())))
    for each in (watch, later):
        power, capped, others, swapped, changed = each.problems()
        assert (power, capped) == ("under-voltage", "clock capped")
        assert others.startswith("other processes kept")
        assert swapped == "the machine swapped 4 MB"
        assert changed == "the clock changed between 600 and 1200 MHz"
        assert each.facts()["hottest"] == 81.5


def adapter(name: str) -> Any:
    return runtimes.load_adapter(runtimes.ADAPTERS / f"{name}.py")


def test_every_adapter_can_be_read_without_its_runtime() -> None:
    for name, runtime in runtimes.runtimes().items():
        module = adapter(name)
        assert callable(adapter(runtime.adapter.stem).Adapter.load)
        assert runtime.configurations == module.CONFIGURATIONS
        assert runtime.environment["kind"] in ("here", "venv", "debian")
        assert runtime.configurations
        for settings in runtime.configurations.values():
            assert settings["what"] and settings["on_pi"]


def test_rows_of_linnet_are_of_algorithms_that_it_has() -> None:
    families = {name.split("-")[0] for name in _core.algorithms()} | set(_core.algorithms())
    rows = runtimes.runtimes()["linnet"].configurations
    wanted = {row["algorithm"] for row in rows.values() if "algorithm" in row}
    assert {"direct", "winograd", "fourier", "nnpack"} <= wanted <= families


def test_litert_translation_is_read_by_linnet_and_has_a_signature(tmp_path: Path) -> None:
    network.export(small_graph(), tmp_path)
    full = worker.Network(str(tmp_path), "network")
    assert full.calibration is None
    content = adapter("litert").Writer(full, 2).finish()
    assert b"serving_default" in content
    x, expected = images(2), network.expect(small_graph(), images(2))
    net = linnet.load(content, threads=1)
    np.testing.assert_allclose(net(x.transpose(0, 2, 3, 1)), expected.output, rtol=1e-4, atol=1e-6)


def test_ncnn_translation_counts_and_fuses(tmp_path: Path) -> None:
    graph = small_graph()
    network.export(graph, tmp_path)
    full = worker.Network(str(tmp_path), "network")
    text, weights = adapter("ncnn").translate(full)
    magic, counts, *lines = text.split("\n")
    layers, blobs = (int(number) for number in counts.split())
    assert (magic, lines.pop()) == ("7767517", "")
    assert layers == len(lines) == 6  # the ReLU is part of the convolution
    assert blobs == 6
    assert lines[1].startswith("Convolution l0 1 1 x b0 0=4 1=3 11=3 ") and lines[1].endswith(
        " 9=1"
    )
    sizes = sum(array.nbytes for array in graph.initializers.values())
    assert len(weights) == sizes + 2 * 4  # each weight tensor begins with its storage type


def test_ncnn_translation_of_gates_and_branches(tmp_path: Path) -> None:
    x, zero, six = Value("x", (0, 4, 5, 5)), np.array(0, np.float32), np.array(6, np.float32)
    nodes = [
        Node("HardSwish", "swish", ["x"], ["s"]),
        Node("Clip", "clip", ["s", "zero", "six"], ["c"]),
        Node("GlobalAveragePool", "mean", ["c"], ["m"]),
        Node("HardSigmoid", "gate", ["m"], ["g"], {"alpha": 0.25, "beta": 0.5}),
        Node("Mul", "gated", ["c", "g"], ["d"]),
        Node("Concat", "concat", ["d", "s"], ["y"], {"axis": 1}),
    ]
    graph = Graph("gates", nodes, {"zero": zero, "six": six}, [x], ["y"])
    network.export(graph, tmp_path)
    text, weights = adapter("ncnn").translate(worker.Network(str(tmp_path), "network"))
    net = linnet.load(text.encode(), weights, shapes={"x": (4, 5, 5)})
    image = np.random.default_rng(3).standard_normal((1, 4, 5, 5)).astype(np.float32)
    want = linnet.load(graph)(image)
    np.testing.assert_allclose(net(image[0]), want[0], rtol=1e-5, atol=1e-6)


def test_caffe_translation_rounds_and_refuses(tmp_path: Path) -> None:
    network.export(small_graph(), tmp_path)
    full, caffe = worker.Network(str(tmp_path), "network"), adapter("caffe")
    pool = full.nodes[2]
    assert "round_mode: FLOOR" in caffe.layer(full, pool)[1]
    pool.attrs["ceil_mode"] = 1
    assert "round_mode: CEIL" in caffe.layer(full, pool)[1]
    pool.attrs["pads"] = [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"p: Caffe pads both sides alike, not \[0, 0, 1, 1\]"):
        caffe.layer(full, pool)
