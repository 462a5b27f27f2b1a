"""docs/environment.md names every environment variable that is read, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
OWN = re.compile(r"LINNET_|NNPACK_")


def read_by(folder: str, suffixes: tuple[str, ...]) -> set[str]:
    """The variables that sources read by a name written there."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes and path != Path(__file__)
    )
    return set(re.findall(r"(?:getenv\(|environ(?:\.get\(|\[))\"(\w+)\"", text))


def test_the_page_has_what_is_read():
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


def test_the_page_has_the_topics_of_the_log():
    source = (ROOT / "cpp" / "core" / "log.cpp").read_text(encoding="utf-8")
    (topics,) = re.findall(r"kTopics\[\] = \{(.*?)\}", source)
    assert re.findall(r"^\| `([a-z]+)` \|", PAGE, re.M) == re.findall(r"\"(\w+)\"", topics)
