"""Prototxts and caffemodels with something wrong in them; make/long.py goes on where this ends."""

from __future__ import annotations

from pathlib import Path

import caffe_fuzz
import numpy as np
import pytest


def test_whole_files_are_read(tmp_path: Path) -> None:
    some = caffe_fuzz.whole()[::5]
    refused = [files for files in some if not caffe_fuzz.attempt(files, tmp_path)]
    assert len(refused) < len(some) // 10


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_refused_or_run(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    read = [caffe_fuzz.attempt(caffe_fuzz.damaged(random), tmp_path) for _ in range(150)]
    assert 10 < sum(read) < 100


def test_absurd_texts(tmp_path: Path) -> None:
    """Nesting, lengths and numbers that no network has."""
    for text in (
        b"layer { " * 100_000,
        b'input: "x" ' + b"input_dim: 1 " * 10_000,
        b'name: "' + b"a" * 100_000 + b'"',
        b"name: " + b'"a" ' * 10_000,
        b"layer { " + b"x: 1 " * 10_000 + b"}",
        b"layer: <" * 1000 + b">" * 1000,
        b"input_shape { dim: " + b"9" * 100_000 + b" }",
        b"layer { a [" + b"," * 100_000 + b"] }",
        b"#" * 1_000_000,
        b'layer { name: "' + b"\\" * 99_999,
    ):
        assert not caffe_fuzz.attempt(caffe_fuzz.Files(text), tmp_path)
