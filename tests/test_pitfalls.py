"""What is easily got wrong about TensorFlow, Keras and TFLite, in files of their own exporters."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed import Case, unpack

import linnet

pytest.importorskip("h5py", reason="the test extra is not installed")

CASES = unpack(Path(__file__).parent / "data" / "pitfalls.npz")


def given(case: Case, folder: Path) -> Path:
    """The file of a case or, if it comes with others, the one of them that is to be loaded."""
    path = folder / case["file"]
    if case["model"][:4] != b"PK\x03\x04" or path.suffix == ".keras":
        path.write_bytes(case["model"])
        return path
    into = path if not path.suffix else folder
    zipfile.ZipFile(io.BytesIO(case["model"])).extractall(into)
    return path


def apart(got: Any, wanted: Any) -> float:
    """The largest difference as a share of what is wanted's rms."""
    assert got.shape == wanted.shape
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    return float(np.abs(got - wanted).max() / np.sqrt(np.square(wanted).mean()))


@pytest.mark.parametrize("name", [name for name in CASES if "refused" not in CASES[name]])
def test_as_the_framework_computes_it(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    types = json.loads(case["types"])
    feeds = {
        key[2:]: x.astype(types.get(key[2:], "f4")) for key, x in case.items() if key[:2] == "x/"
    }
    wanted = {key[2:]: y for key, y in case.items() if key[:2] == "y/"}
    options = {key: case[key].split(",") for key in ("outputs", "stages") if key in case}
    net = linnet.load(given(case, tmp_path), threads=1, **options)
    made = dict(zip((v.name for v in net.outputs), net.run(None, feeds)))
    if "0" in wanted:  # by their order
        made = {str(index): y for index, y in enumerate(made.values())}
    assert made.keys() == wanted.keys()
    for key, y in made.items():
        if y.dtype.kind == "f":
            assert apart(y, wanted[key]) < float(case.get("error", "1e-5")), key
        else:  # in steps, since every layer is rounded there, and only the end here
            assert np.abs(y.astype(np.int64) - wanted[key]).max() <= 2, key


@pytest.mark.parametrize("name", [name for name in CASES if "refused" in CASES[name]])
def test_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=CASES[name]["refused"]):
        linnet.load(given(CASES[name], tmp_path))
