"""The operators linnet knows, one file for each family: OPERATORS has them by name."""

from __future__ import annotations

from . import (
    boxes,
    control,
    conv,
    detect,
    einsum,
    gather,
    logic,
    map,
    matmul,
    move,
    normalize,
    pool,
    qlinear,
    quant,
    recurrent,
    reduce,
    regions,
    resize,
    scatter,
    shape,
    unpool,
)
from ._registry import Operator

FAMILIES = (
    conv,
    matmul,
    einsum,
    pool,
    unpool,
    map,
    logic,
    normalize,
    reduce,
    move,
    gather,
    recurrent,
    scatter,
    resize,
    detect,
    boxes,
    regions,
    shape,
    quant,
    qlinear,
    control,
)
OPERATORS: dict[str, Operator] = {
    operator.name: operator for family in FAMILIES for operator in family.OPERATORS
}
