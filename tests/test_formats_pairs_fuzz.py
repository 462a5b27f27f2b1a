"""Files of MXNet, ncnn and Darknet with something wrong in them; make/long.py goes on where this
ends.
"""

from __future__ import annotations

import time

import numpy as np
import pairs_fuzz
import pytest
from caffe_fuzz import Files

NAMES = ("mxnet", "ncnn", "darknet")


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_read(name: str) -> None:
    some = pairs_fuzz.whole(name)[::5]
    refused = [files for files in some if not pairs_fuzz.attempt(files)]
    assert len(refused) <= len(some) // 10


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused_or_run(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    read = 0
    for _ in range(80):
        files, begin = pairs_fuzz.damaged(random, name), time.monotonic()
        read += pairs_fuzz.attempt(files)
        assert time.monotonic() - begin < 20, files
    assert 5 < read < 75


@pytest.mark.parametrize(
    "text",
    [
        b'{"nodes": ' + b"[" * 100_000,
        b'{"nodes": [' + b"1," * 100_000 + b'1], "heads": [[0, 0]]}',
        b"7767517\n1 1\n" + b"Input a 0 1 a\n" * 10_000,
        b"7767517\n1 1\nInput a 0 1 a 0=" + b"9" * 100_000,
        b"7767517\n1 1\nInput a 0 1 a -23300=" + b"1," * 100_000,
        b"[net]\n" * 10_000,
        b"[net]\nwidth=" + b"9" * 100_000,
        b"[net]\nwidth=8\nheight=8\nchannels=3\n" + b"[route]\nlayers=-1\n" * 2_000,
    ],
)
def test_absurd_texts(text: bytes) -> None:
    """Nesting, lengths and numbers that no network has."""
    begin = time.monotonic()
    pairs_fuzz.attempt(Files(text, bytes(100)))
    assert time.monotonic() - begin < 20
