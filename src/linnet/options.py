"""How a model is run: the options of a session, which the core declares.

`linnet.load` takes them as arguments of the same names, the command as options, `tune` hands them
on. `core_options` checks what was given.
"""

from __future__ import annotations

import math
import operator
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from .text import short

OPTIONS = [option for option in _core.session_options() if not option["tuning"]]
# How weights can be kept and stored.
(_WEIGHTS,) = (option["choices"] for option in OPTIONS if option["name"] == "weights_dtype")
WEIGHT_TYPES = [name for name in _WEIGHTS if name != "auto"]


def choice(what: str, value: str | None, choices: Sequence[str]) -> str | None:
    """One of several words that someone has given, or None."""
    if value is not None and value not in choices:
        raise ValueError(f"{what} is {short(value)}, expected {' or '.join(map(repr, choices))}")
    return value


def whole(what: str, value: Any) -> int:
    """A count that someone has given, as an int."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if not 1 <= number < 2**31:
        raise ValueError(f"{what} is {short(value)}, expected a whole number of at least 1")
    return number


def text(what: str, value: Any) -> str | bytes:
    """A name or path that someone has given, empty for None; its bytes if they are not UTF-8."""
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{what} is {short(value)}, expected a string")
    path = "" if value is None else os.fsdecode(value)
    if len(path) > 4096:  # longer than any path
        raise ValueError(f"{what} is {short(path)}, which is too long")
    return path if path.isascii() else os.fsencode(path)


def size(what: str, value: Any) -> int:
    """Bytes that someone has given, as a number or as "300M" (powers of 1024)."""
    number = value
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", value.strip(), re.IGNORECASE)
        if not match:
            raise ValueError(f"{what} is {short(value)}, expected a size such as '300M' or '1G'")
        number = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")
    if not isinstance(number, (int, float, np.integer)) or not 0 < number < math.inf:
        raise ValueError(f"{what} is {short(value)}, expected a positive number of bytes")
    return min(int(number), sys.maxsize)


def truth(what: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{what} is {short(value)}, expected True or False")
    return bool(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "count": whole,
    "flag": truth,
    "bytes": size,
    "text": text,
}


def core_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of _core.Session for the options in `given`; ValueError names a wrong one.

    None stands for the core's default.
    """
    kinds = {option["name"]: option["kind"] for option in OPTIONS}
    return {
        name: value if value is None else _CHECKS[kinds[name]](name, value)
        for name, value in given.items()
    }
