"""HDF5 files, and damaged ones: what becomes of the process that reads them, and of this one."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import numpy as np
import pytest

from linnet.formats import _hdf5, _hdf5_child
from linnet.formats._hdf5 import Hdf5

h5py = pytest.importorskip("h5py", reason="the test extra is not installed")

A = np.arange(6, dtype=np.float32).reshape(2, 3)


def written() -> bytes:
    """Some of everything that Keras and Caffe write."""
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        root.attrs["text"] = "caf\u00e9"
        root.attrs["bytes"] = b"layer"
        root.attrs["names"] = np.array([b"a", b"bc"])
        root.attrs["words"] = ["x", "yz"]
        root.attrs["number"] = np.int64(3)
        root.attrs["not a number"] = np.nan
        root.attrs["other"] = root.ref
        root.create_dataset("group/a", data=A)
        root.create_dataset("group/b", data=A.astype(">f8"), chunks=(1, 2), compression="gzip")
        root.create_dataset("group/half", data=A.astype(np.float16))
        root.create_dataset("group/none", (0, 3), "f4")
        root.create_dataset("group/scalar", data=np.float32(7))
        root["group/text"] = "no number"
    return file.getvalue()


def test_attributes_names_and_arrays() -> None:
    file = Hdf5(io.BytesIO(written()), "net.h5")
    assert file.names("") == ["group"]
    assert file.names("none") == file.names("group/a") == []
    expected = {"text": "caf\u00e9", "bytes": "layer", "names": ["a", "bc"], "words": ["x", "yz"]}
    assert {name: file.attribute("", name) for name in expected} == expected
    assert (file.attribute("", "number"), file.attribute("group", "text")) == (3, None)
    assert np.isnan(file.attribute("", "not a number"))
    assert isinstance(file.attribute("", "other"), str)
    for name, expected in (("a", A), ("b", A.astype("f8")), ("half", A.astype("f2"))):
        array = file.array(f"group/{name}")
        assert array is not None and array.dtype == expected.dtype and array.flags.writeable
        np.testing.assert_array_equal(array, expected)
    none, scalar = file.array("group/none"), file.array("group/scalar")
    assert none is not None and none.shape == (0, 3)
    assert scalar is not None and scalar.shape == () and scalar == 7
    assert file.array("group/c") is None
    with pytest.raises(ValueError, match=r"net\.h5: 'group/text' is of type object"):
        file.array("group/text")
    np.testing.assert_array_equal(file.array("group/a"), A)  # it goes on after an error


def test_a_file_may_go_once_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(written())
    file = Hdf5(path.open("rb"), "net.h5")
    path.unlink()
    np.testing.assert_array_equal(file.array("group/a"), A)
    child = file._child
    assert child.poll() is None
    del file
    gc.collect()
    assert child.poll() is not None


@pytest.mark.parametrize(
    "what", ["os.abort()", "os.kill(os.getpid(), 11)", "sys.stdout.write('{')"]
)
def test_a_library_that_crashes(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hdf5, "_CHILD", f"import os, sys; sys.stdin.readline(); {what}")
    with pytest.raises(ValueError, match=r"net\.h5: damaged, .*did not come to an end"):
        Hdf5(io.BytesIO(written()), "net.h5")


def answering(what: str) -> str:
    """A child that runs a statement when it is asked for names."""
    return f"""import resource, sys
what, file, *sys.path = sys.argv[1:]
from linnet.formats import _hdf5_child as child
child._SECONDS = 1
def names(*arguments):
    {what}
child.File.names = names
child.serve(int(file), what)
"""


@pytest.mark.parametrize("what", ["while True: pass", "x = bytearray(1 << 40)"])
def test_a_library_that_takes_too_much(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hdf5, "_CHILD", answering(what))
    with pytest.raises(ValueError, match=r"net\.h5: damaged, or"):
        Hdf5(io.BytesIO(written()), "net.h5")


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    what = "return list(map(str, resource.getrlimit(resource.RLIMIT_AS)))"
    monkeypatch.setattr(_hdf5, "_CHILD", answering(what))
    limit = int(Hdf5(io.BytesIO(written()), "net.h5").names("")[0])
    assert 100 << 20 < limit < 32 << 30 or limit == -1  # which emulators have, whatever is set


def test_without_a_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("h5py", "pyfive"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"apt install python3-h5py.*pyfive"):
        Hdf5(io.BytesIO(written()), "net.h5")
    monkeypatch.setattr(_hdf5.sys, "executable", "")
    with pytest.raises(RuntimeError, match="takes a Python interpreter"):
        Hdf5(io.BytesIO(written()), "net.h5")


def test_the_process_has_the_modules_that_this_one_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not those of the folder that a program happens to be in."""
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert Hdf5(io.BytesIO(written()), "net.h5").names("") == ["group"]
    assert _hdf5_child.serve.__doc__


@pytest.mark.parametrize("seed", range(10))
def test_damaged_bytes(seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(written())
    for place in random.integers(8, len(data), 20):
        data[place] ^= 1 << random.integers(8)
    if seed % 3 == 0:
        del data[random.integers(8, len(data)) :]
    try:
        file = Hdf5(io.BytesIO(bytes(data)), "net.h5")
    except ValueError as error:
        assert str(error).startswith("net.h5: ")
        return
    for ask in (
        lambda: [file.attribute("", name) for name in ("text", "names", "words", "bytes")],
        lambda: [file.array(f"group/{name}") for name in file.names("group")],
    ):
        try:
            ask()
        except ValueError as error:
            assert str(error).startswith("net.h5: ")
