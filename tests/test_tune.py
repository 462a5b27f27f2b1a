"""linnet tune: the function and the verb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import linnet
from linnet import _core, cli
from linnet.core import build
from linnet.formats.onnx_write import save
from linnet.graph import Graph
from linnet.tune import tune


def test_tune(small: Graph, tmp_path: Path) -> None:
    path = tmp_path / "wisdom.txt"
    seen: list[tuple[int, str]] = []
    found = tune(
        build(small),
        threads=[1, 2],
        batches=[1, 3],
        cache=str(path),
        progress=lambda done, problem: seen.append((done, problem)),
    )
    assert found.complete and found.seconds > 0
    assert found.layers == len({problem for _, problem in seen}) > 5
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    # Every thread number and batch was measured, and the file says so.
    for threads in (1, 2):
        for batch in (1, 3):
            assert f"conv f32 n{batch} c2h9w11 k5r3x3p1,1,1,1" in path.read_text()
            core = _core.Session(build(small), threads=threads, wisdom=str(path))
            assert all(step["measured"] for step in core.plan(batch, []))
    assert [(p.threads, p.batch) for p in found.plans] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert all(p.estimated > 0 and p.tuned > 0 for p in found.plans)
    for plan in found.plans:
        assert all(change.estimated != change.tuned for change in plan.changes)
    text = "\n".join(found.lines())
    assert "layers changed" in text and str(path) in text

    # What is known is not measured again. The times may lead to layouts not met before, so it can
    # take more than one turn until nothing is left.
    again = [
        tune(build(small), threads=[1], batches=[1], cache=str(path), keep=True).layers
        for _ in range(4)
    ]
    assert again[0] < found.layers and again[-1] == 0


def test_timeout_leaves_the_rest(small: Graph, tmp_path: Path) -> None:
    path = tmp_path / "wisdom.txt"
    found = tune(build(small), threads=[1], batches=[1], cache=str(path), timeout=0)
    assert found.layers == 0 and not found.complete
    assert "--continue" in found.lines()[-1]
    rest = tune(build(small), threads=[1], batches=[1], cache=str(path), keep=True)
    assert rest.layers > 0 and rest.complete


def test_interrupt_ends_it(small: Graph, tmp_path: Path) -> None:
    def stop(done: int, problem: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(
            build(small),
            threads=[1],
            batches=[1],
            cache=str(tmp_path / "wisdom.txt"),
            progress=stop,
        )


def test_unknown_search(small: Graph) -> None:
    with pytest.raises(ValueError, match="search is 'estimate'"):
        tune(build(small), threads=[1], batches=[1], search="estimate")


def test_file_that_is_no_wisdom_stays(small: Graph, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine\n")
    measured: list[str] = []
    with pytest.raises(RuntimeError, match="not a wisdom file"):
        tune(
            build(small),
            threads=[1],
            batches=[1],
            cache=str(path),
            progress=lambda done, problem: measured.append(problem),
        )
    assert len(measured) == 1  # it does not go on in vain
    assert path.read_text() == "mine\n"


def test_verb(
    small: Graph,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, cache = tmp_path / "small.onnx", tmp_path / "cache" / "wisdom.txt"
    save(small, model)
    command = ["tune", str(model), "--threads", "1", "--batches", "1,2", "--cache", str(cache)]
    assert cli.main([*command, "--json"]) == 0
    out, progress = capsys.readouterr()
    data = json.loads(out)
    assert data["complete"] and len(data["plans"]) == 2
    assert len(progress.splitlines()) >= data["layers"] > 0
    assert cli.main([*command, "--continue", "--search", "full"]) == 0
    assert "gain" in capsys.readouterr().out
    # Sessions read the file the environment names.
    monkeypatch.setenv("LINNET_WISDOM", str(cache))
    with linnet.load(small, threads=1) as net:
        report = net.explain()
        assert all(layer.measured for layer in report)
        assert any(c.measured for c in report.layers[0].candidates)
        text = str(report)
        assert " measured " in text and str(cache) in text.splitlines()[0]
    monkeypatch.setenv("LINNET_WISDOM", "")
    with linnet.load(small, threads=1) as net:
        assert "switched off" in str(net.explain()) and " measured " not in str(net.explain())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--batches", "0"], "not a positive number"),
        (["--threads", "1,x"], "not a positive number"),
        (["--search", "best"], "invalid choice"),
        (["--timeout", "-1"], "negative"),
    ],
)
def test_bad_option(option: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tune", "digits", *option]) == 2
    assert message in capsys.readouterr().err
