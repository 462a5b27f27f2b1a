"""Text that messages quote, and text that files hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from linnet import text

LONG = 4_000_000


class Loud:
    def __repr__(self) -> str:
        return "loud\n" * 100_000


@pytest.mark.parametrize(
    "value",
    [
        "a" * LONG,
        b"\0" * LONG,
        bytearray(LONG),
        memoryview(bytes(LONG)),
        memoryview(bytes(LONG)).cast("B", (2000, 2000)),
        list(range(LONG)),
        [["x" * LONG] * 10] * 10,
        {"x" * LONG: list(range(1000))},
        {i: i for i in range(1000)},
        set(range(1000)),
        ("line\n" * 1000,),
        np.zeros((1000, 1000)),
        np.zeros(3, [(f"field{i}", "f4") for i in range(1000)]),
        10**4000,
        Loud(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_quoted_is_one_short_line(value: Any) -> None:
    line = text.short(value)
    assert 0 < len(line) <= text.LONGEST_QUOTE
    assert line.isprintable()


@pytest.mark.parametrize("value", ["abc", 3, 2.5, None, True, ["a", 1], ("a",), {"a": 1}, b"x"])
def test_what_is_short_is_quoted_as_it_is(value: Any) -> None:
    assert text.short(value) == repr(value)


def test_arrays_are_quoted_by_their_shape() -> None:
    assert text.short(np.zeros((2, 3), np.float32)) == "a ndarray of float32 [2, 3]"
    assert text.short(np.float32) == repr(np.float32)


def test_lists_of_names_end() -> None:
    assert text.listed(["a", "b"]) == "'a', 'b'"
    assert text.listed(map(str, range(100)), 2) == "'0', '1' and 98 more"


@pytest.mark.parametrize(
    "data",
    [
        "Äpfel".encode(),
        "\ufeffÄpfel".encode(),
        "\ufeffÄpfel".encode("utf-16-le"),
        "\ufeffÄpfel".encode("utf-16-be"),
    ],
)
def test_byte_order_marks(data: bytes) -> None:
    assert text.decode(data) == "Äpfel"


def test_other_encodings_are_told_apart() -> None:
    with pytest.raises(UnicodeDecodeError):
        text.decode("Äpfel".encode("latin-1"))
