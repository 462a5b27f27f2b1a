"""Write docs/operators.md from the table of operators, or with --check say if it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from linnet.ops.supported import page

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"


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
