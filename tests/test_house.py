"""The Python sources keep the house rules that a program can check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "linnet"
SOURCES = [*PACKAGE.rglob("*.py"), *(ROOT / "bench").rglob("*.py"), *(ROOT / "make").glob("*.py")]
TESTS = list((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imported(name: str) -> Iterator[tuple[str, str]]:
    """(module, name taken from it) of all imports of a module, those within functions too."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            source = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from ((source, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def test_no_module_needs_itself():
    needs: dict[str, set[str]] = {name: set() for name in MODULES}
    for name in MODULES:
        for source, taken in imported(name):
            found = f"{source}.{taken}" if f"{source}.{taken}" in MODULES else source
            if (
                found in MODULES
                and found != name
                and taken not in ("_core", "_image", "_boxes", "_watch")
            ):
                needs[name].add(found)
    list(TopologicalSorter(needs).static_order())  # CycleError, with the circle


def test_the_graph_is_data_alone():
    assert not [source for source, _ in imported("linnet.graph") if source.startswith("linnet")]


def test_the_command_takes_no_private_names():
    verbs = [name for name in MODULES if name.startswith("linnet.cli")]
    taken = {(name, t) for name in verbs for _, t in imported(name) if t[:1] == "_"}
    assert taken == set()


@pytest.mark.parametrize(("files", "most"), [(SOURCES, 600), (TESTS, 1000)])
def test_no_file_is_too_long(files: list[Path], most: int):
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > most} == {}


def test_no_function_is_too_long():
    functions = [
        (path.name, node.name, (node.end_lineno or 0) - node.lineno + 1)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert [found for found in functions if found[2] > 80] == []
