"""What a verb found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Result(NamedTuple):
    """The same as data and as lines of text, and the exit status."""

    data: Any
    lines: Sequence[str]
    status: int = 0
