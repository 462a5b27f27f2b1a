"""What LINNET_LOG makes the library print."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

CODE = """
import numpy, pathlib, linnet
net = linnet.load(pathlib.Path(linnet.__file__).parent / "models" / "digits.onnx", threads=1)
net(numpy.zeros((2, 1, 88, 88), numpy.float32))
"""


def printed(topics: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "LINNET_LOG": topics},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_nothing_is_printed_unless_asked_for():
    assert printed("") == []


@pytest.mark.parametrize(
    ("topic", "lines"),
    [
        (
            "load",
            [
                r"read .*digits\.onnx, \d+ bytes: [\d.]+ ms",
                r"planned batch 1, \d+ steps: [\d.]+ ms",
                r"packed weights, \d+ bytes now: [\d.]+ ms",
                r"run 1: [\d.]+ ms",
                r"run 2: [\d.]+ ms",
                r"planned batch 2, .*",
                r"packed weights, .*",
            ],
        ),
        ("plan", [r"conv1.*: conv f32 n1 .* t1, [\w-]+, [\d.]+ us estimated"]),
        ("compile", [r"step 0 .*", r"block \d+: \d+ bytes at \d+, steps \d+ to \d+", r"arena: .*"]),
        ("run", [r"batch 1 in chunks of 1: [\d.]+ ms", r"batch 2 in chunks of 2: [\d.]+ ms"]),
    ],
)
def test_a_topic_prints_a_line_for_each_event(topic, lines):
    found = printed(topic)
    assert all(line.startswith(f"linnet {topic}: ") for line in found)
    text = [line.split(": ", 1)[1] for line in found]
    for pattern in lines:
        assert any(re.fullmatch(pattern, line) for line in text), (pattern, text)


def test_several_topics_and_one_that_is_none():
    found = printed("run,,walk,load")
    assert found[0] == "linnet: LINNET_LOG knows no 'walk': load, plan, compile, run"
    assert {line.split(":")[0] for line in found[1:]} == {"linnet run", "linnet load"}
