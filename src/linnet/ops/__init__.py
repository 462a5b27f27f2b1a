"""The operators linnet knows, one file for each family: OPERATORS has them by name."""

from __future__ import annotations

from . import (
    boxes,
    conv,
    detect,
    gather,
    logic,
    map,
    matmul,
    move,
    normalize,
    pool,
    quant,
    reduce,
    regions,
    resize,
    scatter,
    shape,
)
from ._registry import Operator

FAMILIES = (
    conv,
    matmul,
    pool,
    map,
    logic,
    normalize,
    reduce,
    move,
    gather,
    scatter,
    resize,
    detect,
    boxes,
    regions,
    shape,
    quant,
)
OPERATORS: dict[str, Operator] = {
    operator.name: operator for family in FAMILIES for operator in family.OPERATORS
}
