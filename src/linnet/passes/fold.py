"""Constants computed from constants by what operators mean, among them the shapes that exporters
compute: vectors of objects where the batch is part of them.
"""

from __future__ import annotations

from ..ops._lowering import Call, Lowering, Refusal, settled
from ..ops._registry import Operator
from ..ops.quant import integers_and_scales

_MOVES = {"Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}


def foldable(low: Lowering, operator: Operator, call: Call) -> bool:
    """Whether all inputs are constants and the operator is computed of such."""
    given = [name for name in call.inputs if name]
    return operator.folds is not None and bool(given) and set(given) <= low.constants.keys()


def fold(low: Lowering, operator: Operator, call: Call) -> None:
    """Make the outputs of a foldable call constants, within what may be allocated."""
    least = operator.inputs[0]
    if "" in call.inputs[:least] or len(call.inputs) < least:
        raise Refusal("an input is missing")
    arguments = [low.constants[name] if name else None for name in call.inputs]
    try:
        assert operator.folds is not None
        low.spend(operator.folds(*arguments, **call.attrs))
        results = operator.compute(arguments, call.attrs)
    except Refusal:
        raise
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        raise Refusal(f"cannot be computed from its constants ({error})") from None
    low.constants.update(zip(call.node.outputs, map(settled, results)))
    first = call.input(0)
    if operator.name == "DequantizeLinear":
        given = [array for array in arguments if array is not None]
        low.products[call.output] = integers_and_scales(*given, axis=call.attrs["axis"])
    elif operator.name in _MOVES and first in low.products:
        q, scales = low.products[first]
        low.products[call.output] = operator.compute([q, *arguments[1:]], call.attrs)[0], scales
