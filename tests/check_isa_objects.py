"""Check what kernel object files export: one function each, and nothing a linker could share.

    check_isa_objects.py NM OBJECT...

A weak symbol (an inline function or a template) compiled with AVX flags may be chosen by the linker
for the whole program, which then dies on a CPU without AVX. So each object must define exactly one
global symbol, linnet_FAMILY_ISA, have no static constructor, and need nothing but the C memory
functions and the compiler's own helpers.
"""

from __future__ import annotations

import re
import subprocess
import sys

EXPORT = re.compile(r"linnet_([a-z]+)_([a-z0-9_]+)")
NEEDED = re.compile(r"mem(cpy|set|move)|_GLOBAL_OFFSET_TABLE_|__.*")


def symbols(nm: str, path: str) -> list[tuple[str, str]]:
    """(type letter as nm prints it, name) of every symbol of an object file."""
    listing = subprocess.run(
        [nm, "--format=posix", path], check=True, capture_output=True, text=True
    ).stdout
    return [(line.split()[1], line.split()[0]) for line in listing.splitlines() if line.strip()]


def problems_of(path: str, table: list[tuple[str, str]]) -> list[str]:
    """What is wrong with one object's symbols."""
    found = []
    exports = [name for kind, name in table if kind.isupper() and kind not in "UWV"]
    if len(exports) != 1 or not EXPORT.fullmatch(exports[0]):
        found.append(f"exports {exports or 'nothing'}, not one linnet_FAMILY_ISA")
    found += [f"has the weak symbol {name}" for kind, name in table if kind in "WVwvu"]
    found += [f"needs {name}" for kind, name in table if kind == "U" and not NEEDED.fullmatch(name)]
    found += [f"runs {name} at start-up" for _, name in table if name.startswith("_GLOBAL__sub_I")]
    return [f"{path}: {problem}" for problem in found]


def main(nm: str, paths: list[str]) -> int:
    families: dict[str, set[str]] = {}
    problems = []
    for path in paths:
        table = symbols(nm, path)
        problems += problems_of(path, table)
        for kind, name in table:
            match = EXPORT.fullmatch(name)
            if kind == "T" and match:
                families.setdefault(match[2], set()).add(match[1])
    if not families:
        problems.append("no kernel objects given")
    if len({frozenset(names) for names in families.values()}) > 1:
        listing = {isa: sorted(names) for isa, names in sorted(families.items())}
        problems.append(f"the ISAs have different kernel families: {listing}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{len(paths)} objects of {', '.join(sorted(families))}: one symbol each")
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
