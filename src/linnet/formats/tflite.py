"""TensorFlow Lite models (.tflite, of LiteRT as well) to a Graph.

Shapes are those of the file, with channels last; windows become ONNX's operators between
Transposes (_channels_last), which passes.layout takes away. A tensor of integers that stand for
reals is computed of reals: a DequantizeLinear before the operators that read it, a QuantizeLinear
behind the one that makes it. Of several graphs in a file the first is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..graph import Graph, Shape
from ..states import record
from . import (
    _tflite_detect,
    _tflite_operators,
    _tflite_recurrent,
    _tflite_states,
    _tflite_windows,
)
from ._source import Source
from ._tflite_call import Call, Lite, Rule
from ._tflite_metadata import metadata
from ._tflite_model import KINDS, Operator
from ._translator import MissingOperator, Unsupported

_RULES = {
    **_tflite_operators.RULES,
    **_tflite_recurrent.RULES,
    **_tflite_states.RULES,
    **_tflite_windows.RULES,
}
_CUSTOM = {**_tflite_windows.CUSTOM, **_tflite_detect.CUSTOM}
_KEEPS = ": it keeps a state from one call to the next"
_BRANCHES = ": which operators run depends on the values, in linnet's networks all of them do"
_INSTEAD = {  # what else there is to say of operators that are not supported
    **dict.fromkeys(("LSTM", "RNN", "SVDF"), _KEEPS),
    **dict.fromkeys((kind for kind in KINDS if "_SEQUENCE_" in kind), _KEEPS),
    **dict.fromkeys(("IF", "WHILE", "CALL"), _BRANCHES),
    "edgetpu-custom-op": ": the file is compiled for an Edge TPU; load the .tflite that it was "
    "compiled from",
}
_LARGEST_STATE = 1 << 20
_PHASES_TOO = ("CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_TO_SPACE_ND")


def read(
    source: Source, weights: Source | None = None, shapes: Mapping[str, Shape] | None = None
) -> Graph:
    """The graph in a TFLite file, for inputs of these shapes by name instead of the file's.

    ValueError if the file is damaged. What is wrong with single tensors and operators is left in
    the graph for passes.canonicalize to report together.
    """
    return _Reader(source, shapes or {}).graph


def translated(source: Source, shapes: Mapping[str, Shape]) -> Lite:
    """The translation itself: its `graph`, the file as `model`, and `value_of` each tensor its name
    in the graph.
    """
    return _Reader(source, shapes)


class _Reader(Lite):
    """One translation, from the file to `graph`."""

    def __init__(self, source: Source, shapes: Mapping[str, Shape]) -> None:
        super().__init__(source)
        model = self.model
        self.broken: set[int] = set()  # tensors that have been reported
        made = {i for operator in model.operators for i in operator.outputs}
        fitting = self._inputs(shapes)
        read = {i for operator in model.operators for i in operator.inputs if i >= 0}
        for index in sorted({*read, *model.outputs} - made - set(model.inputs) - {-1}):
            self.broken.add(index)
            with self.attempt("tensor", self.value_of[index], [], [self.value_of[index]]):
                self._constant(index)
                self.broken.discard(index)
        for index in sorted(made - {-1}) if fitting else ():
            shape = model.tensors[index].shape
            self.shapes[self.value_of[index]] = (0, *shape[1:]) if shape else ()
        for operator in model.operators:
            self._operator(operator)
        self.graph.outputs = [self.value_of[i] for i in model.outputs if i >= 0]
        states = self.states.all()
        own = list(self.graph.outputs)
        self.graph.outputs += [state.after for state in states if state.after]
        for name in filter(self.phases.__contains__, self.graph.outputs):
            self.problem(f"output '{name}' is not supported before a BATCH_TO_SPACE_ND")
        if not own:
            raise ValueError(f"{source}: not a model (it has no outputs)")
        self.graph.metadata = {**metadata(model, str(source)), **record(states)}

    def _inputs(self, shapes: Mapping[str, Shape]) -> bool:
        """Add the inputs; whether the file's shapes of all other tensors go with theirs."""
        fitting = True
        for index in dict.fromkeys(self.model.inputs):
            own, name = self.model.tensors[index].shape, self.value_of[index]
            shape = shapes.get(name, own)
            if len(shape) != len(own):  # passes.sizes tells
                shape = own
            self.resized |= shape[1:] != own[1:]
            fitting &= all(m in (0, n) for n, m in zip(shape[1:], own[1:]))
            with self.attempt("input", name, [], [name]):
                self._input(index, (shape[0] or own[0], *shape[1:]) if shape else ())
        if self.resized:
            self.shapes.update((value.name, value.shape) for value in self.graph.inputs)
        return fitting

    def _input(self, index: int, shape: Shape) -> None:
        tensor = self.model.tensors[index]
        if not shape or min(shape) < 0:
            raise Unsupported(f"its shape is {list(shape)}, which has no batch axis")
        if tensor.dtype.name in ("float64", "uint16", "uint32"):
            raise Unsupported(f"its type {tensor.dtype} is not supported")
        self.input(self.value_of[index], shape, tensor.dtype)

    def _constant(self, index: int) -> None:
        tensor = self.model.tensors[index]
        if tensor.variable:
            self._variable(index)
            return
        values = self.model.constant(tensor)
        if values is None:
            raise Unsupported("nothing computes it, and the file has no numbers for it")
        self.graph.initializers[self.value_of[index]] = values

    def _variable(self, index: int) -> None:
        """A tensor that an operator keeps its state in, which is 0 at first."""
        tensor, name = self.model.tensors[index], self.value_of[index]
        if tensor.dtype != np.float32 or not tensor.declared or min(tensor.declared) < 1:
            raise Unsupported(f"is a variable of {tensor.dtype} {list(tensor.declared)}{_KEEPS}")
        if math.prod(tensor.declared) > _LARGEST_STATE:
            raise Unsupported(f"is a variable of {list(tensor.declared)}, which is too large")
        self.input(name, tensor.declared)
        self.states.before[name] = name
        self.states.initial[name] = np.zeros(tensor.declared, np.float32)

    def _operator(self, operator: Operator) -> None:
        outputs = [self.value_of[i] for i in operator.outputs if i >= 0]
        handles = self.states.handles  # which no node makes
        names = (self.value_of[i] for i in operator.inputs if i >= 0)
        inputs = [name for name in names if name not in handles]
        kind = operator.kind
        if not outputs and kind not in _tflite_states.RULES:
            self.problem(f"an operator ({kind}) without results is not supported")
            return
        with self.attempt(kind, (outputs or [kind])[0], inputs, outputs):
            self._translate(operator)

    def _translate(self, operator: Operator) -> None:
        table = _CUSTOM if operator.custom else _RULES
        kind = operator.kind
        if kind not in table:
            raise MissingOperator("the operator is not supported" + _INSTEAD.get(kind, ""))
        rule = table[kind]
        _check(rule, operator)
        if self.broken.intersection(operator.inputs):
            raise Unsupported("")
        call = Call(self, operator, rule.raw)
        phases = {self.phases[name] for name in call.x if name in self.phases}
        if phases and not rule.each and kind not in _PHASES_TOO:
            raise Unsupported("is not supported between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND")
        if phases and rule.each:
            self._each_of_phases(call)
        rule.translate(call)
        if not rule.raw:
            for index in operator.outputs:
                self.store(index)

    def _each_of_phases(self, call: Call) -> None:
        """The result of an operator of each element has the shape of the input; a second one fits
        the phases only if it is the same for all.
        """
        whole = next(name for name in call.x if name in self.phases)
        for index, name in enumerate(call.x):
            if name in self.phases:
                if (self.phases[name], self.shape(name)) != (self.phases[whole], self.shape(whole)):
                    raise Unsupported("phases of different images do not fit each other")
            elif any(n != 1 for n in call.tensor(index).shape[:-1]):
                raise Unsupported("only numbers for each channel fit the phases of an image")
        self.phases[call.y[0]], self.shapes[call.y[0]] = self.phases[whole], self.shape(whole)


def _check(rule: Rule, operator: Operator) -> None:
    """The operator has what its rule reads."""
    counts = (operator.inputs, rule.inputs), (operator.outputs, rule.outputs)
    for (found, (least, most)), what in zip(counts, ("inputs", "results")):
        if not least <= len(found) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise Unsupported(f"has {len(found)} {what}, expected {wanted}")
    if -1 in operator.inputs[: rule.inputs[0]] or -1 in operator.outputs:
        raise Unsupported("an input or a result is missing")
    if rule.options and operator.options is not None and operator.options_type != rule.options:
        raise Unsupported(f"its options are of type {operator.options_type}, not {rule.options}")
