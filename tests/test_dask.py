"""Pictures on the workers of a Dask cluster, here in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import cli, dask, digits, stream
from linnet.answers import Answers

distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")
pytest.importorskip("PIL.Image", reason="the image extra is not installed")
PICTURES = sorted(str(p) for p in (Path(__file__).parent / "data" / "digits").glob("?.png"))
HOW: dict[str, Any] = {"threads": 1, "batch": 2}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
    ) as made:
        yield made


@pytest.fixture(scope="module")
def address(cluster: Any) -> str:
    return str(cluster.scheduler_address)


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    net = linnet.load(digits.MODEL, threads=1, preprocess={"mean": np.full((1, 90, 90), 3)})
    return list(stream.stream(net, PICTURES * 10, Answers(net, top=3), 2, 1))


@pytest.mark.parametrize("shared", [False, True])
def test_answers_are_those_of_one_machine(address: str, expected: list[Any], shared: bool):
    how = {**HOW, "preprocess": {"mean": np.full((1, 90, 90), 3)}, "top": 3, "shared": shared}
    found = list(dask.map_images(address, digits.MODEL, PICTURES * 10, **how))
    assert found == expected


def test_a_worker_has_the_model_once(address: str, monkeypatch: pytest.MonkeyPatch):
    loaded: list[str] = []
    load = linnet.load

    def counted(*given: Any, **how: Any) -> Any:
        loaded.append(how["preprocess"])
        return load(*given, **how)

    monkeypatch.setattr(linnet, "load", counted)
    monkeypatch.setattr(dask, "_loaded", None)
    for record in (linnet.Preprocess(), linnet.Preprocess(scale=1 / 255)):
        found = dask.map_images(address, digits.MODEL, PICTURES * 20, preprocess=record, **HOW)
        assert len(list(found)) == 200
    assert loaded == [linnet.Preprocess(), linnet.Preprocess(scale=1 / 255)]


def test_what_cannot_be_read_has_its_reason(address: str):
    pictures = [PICTURES[3], "gone.png", b"nothing", Path(PICTURES[4]).read_bytes()]
    found = list(dask.map_images(address, digits.MODEL, pictures, **HOW))
    assert [answer.get("error") for answer in found] == [
        None,
        "No such file or directory",
        "not a readable image: unknown format",
        None,
    ]


def test_errors_of_the_model_are_those_of_the_run(address: str):
    with pytest.raises(MemoryError, match="memory_limit"):
        list(dask.map_images(address, digits.MODEL, PICTURES, memory_limit="1K", **HOW))
    with pytest.raises(ValueError, match="color is 'RGB', but the model takes 1 planes"):
        how = {**HOW, "preprocess": {"color": "RGB"}}
        list(dask.map_images(address, digits.MODEL, PICTURES, **how))


def test_a_workers_errors_are_not_taken_for_those_of_the_network(
    address: str, monkeypatch: pytest.MonkeyPatch
):
    def full(*given: Any, **how: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(linnet, "load", full)
    monkeypatch.setattr(dask, "_loaded", None)
    with pytest.raises(OSError, match="No space left"):
        list(dask.map_images(address, digits.MODEL, PICTURES, **HOW))


def test_a_lost_worker_is_made_good_for(cluster: Any, address: str, expected: list[Any]):
    how = {**HOW, "preprocess": {"mean": np.full((1, 90, 90), 3)}, "top": 3}
    made = dask.map_images(address, digits.MODEL, iter(PICTURES * 10), **how)
    found = [next(made)]
    cluster.scale(1)
    found += made
    assert found == expected


def test_other_versions_are_refused(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(linnet, "__version__", "0.0.9")
    monkeypatch.setattr(dask, "_version", _old_version)
    with pytest.raises(RuntimeError, match=r"with linnet 0.0.1, as tcp.*, not 0.0.9 as here"):
        next(dask.map_images(address, digits.MODEL, PICTURES))
    monkeypatch.setattr(distributed, "__version__", "2022.12.1")
    with pytest.raises(RuntimeError, match=r"has Dask 20.*, this program 2022.12.1"):
        next(dask.map_images(address, digits.MODEL, PICTURES))


def _old_version() -> str:
    return "0.0.1"


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dask, "_PATIENCE", 0.2)
    for address in ("tcp://127.0.0.1:1", "nonsense://1", "tcp://host:port"):
        with pytest.raises(RuntimeError, match="no Dask scheduler answers"):
            next(dask.map_images(address, digits.MODEL, PICTURES))


def test_the_command(address: str, tmp_path: Path):
    for name, how in {"here": [], "there": ["--scheduler", address]}.items():
        out = str(tmp_path / f"{name}.csv")
        more = ["--out", out, "--batch", "2", "--threads", "1", "--fetch", "fc2"]
        assert cli.main(["run", "digits", *PICTURES, *more, *how]) == 0
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
