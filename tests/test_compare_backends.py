"""The BLAS back-ends, how processes get them, and which combinations there are."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from linnet.compare import environments, launch, worker
from linnet.compare.backends import backends, lender, on_backends, parts
from linnet.compare.run import all_rows, matrix_rows
from linnet.compare.runtimes import Runtime, runtimes


def test_every_framework_meets_every_back_end() -> None:
    rows = matrix_rows()
    for framework in ("caffe", "mxnet", "tensorflow", "linnet"):
        for name in backends():
            row = rows[f"{framework}-{name}"]
            assert row.runtime.name == framework and row.settings["blas"] == name
    assert {"linnet", "mxnet-onednn", "tf-vanilla", "tf-optimized"} <= rows.keys()
    assert not any(row.int8 for row in rows.values())
    for name in rows.keys() & all_rows().keys():  # what has a name is one thing
        assert dict(rows[name].settings) == dict(all_rows()[name].settings)


def test_a_combination_that_cannot_be_has_a_reason_and_needs_nothing() -> None:
    row = matrix_rows()["tensorflow-atlas"]
    assert "calls no BLAS" in str(environments.missing(row.runtime, row.settings))
    assert parts(row.runtime, row.settings) == [row.runtime]
    assert on_backends(runtimes()["onnxruntime"]) == {}


def test_mkl_exists_on_x86_64_alone(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert environments.missing(backends()["mkl"].environment) == (
        "there is no build of it for aarch64"
    )


def unpacked(name: str, cache: Path) -> Path:
    """The file of a back-end in an environment made by hand."""
    backend = backends()[name]
    pattern = backend.library.replace("*-linux-gnu*", "x-linux-gnu").replace(".so.*", ".so.3")
    path = backend.environment.folder / pattern
    path.parent.mkdir(parents=True)
    path.touch()
    assert cache in path.parents
    return path


def test_a_process_finds_what_its_blas_needs(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    monkeypatch.setenv("BLIS_NUM_THREADS", "7")
    wheel = Runtime("wheel", tmp_path, {"kind": "venv", "packages": []}, {})
    files = {name: unpacked(name, tmp_path) for name in ("atlas", "mkl", "reference")}
    start = launch.launch(wheel, {"blas": "atlas"}, 2, tmp_path)
    assert start.variables["LD_PRELOAD"] == str(files["atlas"])
    assert start.variables["LD_LIBRARY_PATH"] == str(files["atlas"].parents[1])
    assert start.variables["BLIS_NUM_THREADS"] == start.variables["MKL_NUM_THREADS"] == "2"
    start = launch.launch(wheel, {"blas": "mkl"}, 1, tmp_path)
    assert start.variables["MKL_THREADING_LAYER"] == "INTEL"
    assert start.variables["LD_LIBRARY_PATH"] == str(files["mkl"].parent)
    start = launch.launch(wheel, {"blas": "reference"}, 1, tmp_path)
    assert "LD_LIBRARY_PATH" not in start.variables
    here = Runtime("own", tmp_path, {"kind": "here"}, {})
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    start = launch.launch(here, {"blas": "atlas"}, 1, tmp_path)
    assert start.variables["LD_LIBRARY_PATH"] == f"{files['atlas'].parents[1]}:/own"


def test_debians_own_loader_finds_it_too(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    caffe = runtimes()["caffe"]
    loader = caffe.folder / "root" / "lib64" / "ld-linux-x86-64.so.2"
    loader.parent.mkdir(parents=True)
    loader.touch()
    file = unpacked("atlas", tmp_path)
    command = launch.launch(caffe, {"blas": "atlas"}, 1, tmp_path).command
    assert command[0] == str(loader) and command[2].endswith(str(file.parents[1]))


def test_a_back_end_is_borrowed_by_name() -> None:
    assert lender({"blas": "blis"}) is backends()["blis"]
    assert lender({}) is None and lender({"blas": "blis", "impossible": "why"}) is None


BORROWED = """
import json, sys
from linnet.compare import worker
import ctypes
ctypes.CDLL(sys.argv[1])
print(json.dumps(worker.mapped_libraries(sys.argv[1])))
"""


def test_the_mapped_file_is_the_one_a_link_leads_to(tmp_path: Path) -> None:
    real = next(path for *_, path in worker.mappings() if "/libc.so" in path or "/libc-" in path)
    link = tmp_path / "libblas.so.3"
    link.symlink_to(real)
    text = subprocess.run(
        [sys.executable, "-c", BORROWED, str(link)], capture_output=True, text=True, check=True
    ).stdout
    assert os.path.realpath(link) in text and '"borrowed": "yes"' in text
