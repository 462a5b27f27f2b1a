"""What is supported, in words: a page, and rows for `linnet doctor --operators`."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import NamedTuple

from . import FAMILIES
from ._registry import Operator

OURS = {"captured", "cell_limit", "coerce"}  # attributes that readers of formats set, and no file
HEAD = """\
# Operators

What linnet runs, by ONNX's names, whatever format a model comes in. `make operators` writes this
page from `src/linnet/ops`, which has for each operator what it means, in NumPy, and the rule that
rewrites it to what the core takes. Weights, statistics and other parameters are constants. *Folded*
is what is computed once, where all inputs are constants.
"""


class Row(NamedTuple):
    """Operators that have the same rule."""

    operators: list[str]
    attributes: list[str]
    supported: str
    folded: bool  # computed once, where all inputs are constants


def paragraph(documented: object) -> str:
    """The first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def _row(operators: list[Operator]) -> Row:
    attributes = {name: None for operator in operators for name in operator.attributes}
    rule = operators[0].lower
    return Row(
        [operator.name for operator in operators],
        [name for name in attributes if name not in OURS],
        paragraph(rule) if rule else "As it is.",
        any(operator.folds for operator in operators),
    )


def rows() -> Iterator[tuple[str, str, list[Row]]]:
    """Name, description and rows of each family."""
    for family in FAMILIES:
        groups = itertools.groupby(family.OPERATORS, lambda operator: operator.lower)
        name = family.__name__.rpartition(".")[2]
        yield name, paragraph(family), [_row(list(group)) for _, group in groups]


def page() -> Iterator[str]:
    """The lines of docs/operators.md."""
    yield HEAD
    for name, text, family in rows():
        yield f"## {name}\n\n{text}\n"
        yield "| operator | attributes | supported | constants |\n|---|---|---|---|"
        for row in family:
            folded = "folded" if row.folded else ""
            cells = ", ".join(row.operators), ", ".join(row.attributes), row.supported, folded
            yield f"| {' | '.join(cells)} |"
        yield ""
