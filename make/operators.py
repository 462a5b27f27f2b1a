"""Write docs/operators.md from the table of operators, or with --check say if it is out of date."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from linnet.ops import FAMILIES
from linnet.ops._registry import Operator

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"
HEAD = """\
# Operators

What linnet runs, by ONNX's names, whatever format a model comes in. `make operators` writes this
page from `src/linnet/ops`, which has for each operator what it means, in NumPy, and the rule that
rewrites it to what the core takes. Weights, statistics and other parameters are constants. *Folded*
is what is computed once, where all inputs are constants.
"""
OURS = {"captured", "cell_limit", "coerce"}  # attributes that readers of formats set, and no file


def paragraph(documented: object) -> str:
    """The first paragraph of a docstring, as a table's cell."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def row(operators: list[Operator]) -> str:
    """One for all that have the same rule."""
    names = ", ".join(operator.name for operator in operators)
    attributes = {name: None for operator in operators for name in operator.attributes}
    rule = operators[0].lower
    cells = (
        names,
        ", ".join(name for name in attributes if name not in OURS),
        paragraph(rule) if rule else "As it is.",
        "folded" if any(operator.folds for operator in operators) else "",
    )
    return f"| {' | '.join(cells)} |"


def page() -> Iterator[str]:
    yield HEAD
    for family in FAMILIES:
        yield f"## {family.__name__.rpartition('.')[2]}\n\n{paragraph(family)}\n"
        yield "| operator | attributes | supported | constants |\n|---|---|---|---|"
        for _, group in itertools.groupby(family.OPERATORS, lambda operator: operator.lower):
            yield row(list(group))
        yield ""


def main() -> int:
    wanted = "\n".join(page())
    if "--check" not in sys.argv:
        PAGE.write_text(wanted, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted:
        print("docs/operators.md is not what the operators say: make operators", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
