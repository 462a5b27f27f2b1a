"""The pages say what is there: variables, algorithms, files, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linnet import _core

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
}
PAGE = PAGES[Path("docs/environment.md")]
OWN = re.compile(r"LINNET_|NNPACK_")


def read_by(folder: str, suffixes: tuple[str, ...]) -> set[str]:
    """The variables that sources read by a name written there."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes and path != Path(__file__)
    )
    return set(re.findall(r"(?:getenv\(|environ(?:\.get\(|\[))\"(\w+)\"", text))


def test_every_variable_that_is_read_is_listed_and_no_other():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.M)
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    core = read_by("cpp", (".cpp", ".h"))
    others = (
        read_by("src", (".py",)) | read_by("tests", (".py", ".cpp")) | read_by("bench", (".py",))
    )
    assert len(core) > 4
    assert core <= listed
    assert {name for name in others if OWN.match(name)} <= listed
    assert {name for name in listed if OWN.match(name)} <= core | others


def test_the_topics_of_the_log_are_listed():
    source = (ROOT / "cpp" / "core" / "log.cpp").read_text(encoding="utf-8")
    (topics,) = re.findall(r"kTopics\[\] = \{(.*?)\}", source)
    assert re.findall(r"^\| `([a-z]+)` \|", PAGE, re.M) == re.findall(r"\"(\w+)\"", topics)


def test_every_algorithm_is_listed_and_no_other():
    rows = re.findall(
        r"^\| (`.*?) \|", PAGES[Path("docs/architecture.md")].split("## Kinds")[0], re.M
    )
    listed = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}
    assert set(_core.algorithms()) == listed


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_and_make_targets_exist(page):
    text = PAGES[page]
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", text)
    assert not [link for link in links if not (ROOT / page.parent / link).exists()]
    rules = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [ROOT / "Makefile", *(ROOT / "make").glob("*.mk")]
    )
    targets = set(" ".join(re.findall(r"^([\w -]+):", rules, re.M)).split())
    named = re.findall(r"(?:`|^)make ([a-z][\w-]*)", text, re.M)
    assert not [name for name in named if name not in targets]
