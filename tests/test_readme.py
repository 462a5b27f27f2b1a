"""The examples of the README do what they say."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of tests/data to work in: examples write files."""
    folder = tmp_path / "data"
    shutil.copytree(ROOT / "tests" / "data", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("folder")
def test_python() -> None:
    text = "\n".join(blocks("python"))
    assert text.count(">>>") > 10
    example = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=LOOSELY).run(example, out=failures.append)
    assert not failures, "".join(failures)


def test_commands(folder: Path) -> None:
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks("console")), re.M)
    assert len(commands) > 4
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    for command, expected in commands:
        result = subprocess.run(
            shlex.split(command),
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        assert doctest.OutputChecker().check_output(expected, result.stdout, LOOSELY), (
            f"{command}\n{result.stdout}"
        )


def test_links() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_make_targets() -> None:
    """`make X` in the README is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\S+)", "".join(blocks("sh")), re.M)
    assert targets == ["bench", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)
