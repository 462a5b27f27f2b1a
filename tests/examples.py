"""The examples of a page: what follows >>> and $ does what the page says it does."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
from pathlib import Path

LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(text: str, language: str) -> list[str]:
    """What its fences of a language hold."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.M | re.S)


def python_failures(text: str, name: str) -> str:
    """What its Python sessions, run one after the other as one, do otherwise; "" if nothing."""
    sessions = "\n".join(block for block in blocks(text, "python") if ">>>" in block)
    example = doctest.DocTestParser().get_doctest(sessions, {}, name, name, 0)
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=LOOSELY).run(example, out=failures.append)
    return "".join(failures)


def command_failures(text: str, folder: Path, scripts: str) -> str:
    """What its commands, run in a folder, do otherwise; scripts is where linnet's command is."""
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks(text, "console")), re.M)
    environment = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}
    failures: list[str] = []
    for command, expected in commands:
        done = subprocess.run(
            shlex.split(command),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        same = doctest.OutputChecker().check_output(expected, done.stdout, LOOSELY)
        if done.returncode or not same:
            failures.append(f"$ {command}\n{done.stdout}{done.stderr}")
    return "".join(failures)
