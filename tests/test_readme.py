"""The README: one page, whose commands are targets of the Makefile. Its examples are run by
test_docs."""

from __future__ import annotations

import re
from pathlib import Path

from examples import blocks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert README.count("\n") <= 150
    assert README.count(">>>") > 10
    assert sum(block.count("$ ") for block in blocks(README, "console")) > 4


def test_make_targets() -> None:
    """`make X` in the README is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\S+)", "".join(blocks(README, "sh")), re.M)
    assert targets == ["bench", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)
