"""Fail on skipped tests that nobody expected.

    check_skips.py JUNIT_XML EXPECTED

Each line of EXPECTED is `PATTERN  # why`: a regular expression that an expected skip's
"test: reason" matches from its start.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree


def main(report: str, expected: str) -> int:
    lines = [line.split("  # ")[0].strip() for line in Path(expected).read_text().splitlines()]
    patterns = [re.compile(line) for line in lines if line and not line.startswith("#")]
    unexpected = 0
    for case in ElementTree.parse(report).iter("testcase"):
        skip = case.find("skipped")
        if skip is None:
            continue
        what = f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}"
        known = any(pattern.match(what) for pattern in patterns)
        unexpected += not known
        print("expected  " if known else "UNEXPECTED", what)
    print(f"{unexpected} unexpected skips")
    return 1 if unexpected else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
