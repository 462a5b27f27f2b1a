"""Models of Keras 1 to 3 (https://keras.io) to a Graph: `.h5`, `.keras`, or JSON text and weights.

A value has the name of the layer that makes it, and Keras's axes: channels are last unless a layer
says otherwise. What a model computes is read from the classes and settings of its layers; code,
which Lambda layers and classes of one's own hold, is never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import FLOAT32, LONGEST_AXIS, Graph
from ..text import short
from ._inferred import Inferred
from ._keras_call import LayerCall
from ._keras_files import read_model
from ._keras_layers import RULES, function
from ._keras_model import Layer, Ref, order, refs_in
from ._source import Source
from ._translator import MissingOperator, Unsupported

_MOST_CALLS = 20_000  # a model within a model within a model may be called very often
_INPUT_TYPES = ("float32", "float16", "uint8", "int8", "int16", "int32", "int64", "bool")


def read(model: Source, weights: Source | None = None) -> Graph:
    """The graph of a model, and of a second file with its weights.

    ValueError if a file is damaged or holds no Sequential or Functional model, RuntimeError if
    there is nothing to read HDF5 with. What is wrong with single layers is left in the graph for
    passes.canonicalize to report together.
    """
    root, version = read_model(model, weights)
    try:
        return _Reader(root, version, str(model)).graph
    except RecursionError:
        raise ValueError(f"{model}: its models are nested too deeply") from None
    except _Malformed as error:
        raise ValueError(f"{model}: {error}") from None


class _Malformed(ValueError):
    """What is wrong with the model as a whole."""


class _Reader(Inferred):
    """One translation, from the model to `graph`."""

    def __init__(self, root: Layer, version: int, source: str) -> None:
        names = [layer.name for layer in root.layers]
        super().__init__(root.name, source, names)
        self.version = version
        self.uses = dict.fromkeys(names, 0)  # how many values each name was wanted for
        self.calls = 0
        self.weights: dict[tuple[int, int], str] = {}  # by the layer's id, and the weights' number
        inputs = [self._input(root, ref) for ref in root.inputs]
        outputs = self._model(root, inputs, "")
        self.graph.outputs = list(dict.fromkeys(outputs))
        if not outputs:
            raise _Malformed("the model has no outputs")

    def _input(self, root: Layer, ref: Ref) -> str:
        """Add an input of the network: the value that layers read, which is of floats."""
        layer = next((layer for layer in root.layers if layer.name == ref.layer), None)
        if layer is None or layer.kind != "InputLayer":
            raise _Malformed(f"the input {short(ref.layer)} is not an InputLayer")
        shape: Any = layer.config.get("batch_input_shape") or layer.config.get("batch_shape")
        sizes = isinstance(shape, list) and all(
            n is None or (isinstance(n, int) and 0 < n < LONGEST_AXIS) for n in shape
        )
        if not sizes or not 0 < len(shape) <= 8:
            raise _Malformed(f"the input {short(layer.name)} has the shape {short(shape)}")
        dtype = layer.config.get("dtype") or "float32"
        if isinstance(dtype, Mapping):
            dtype = (dtype.get("config") or {}).get("name")
        if dtype not in _INPUT_TYPES:
            raise _Malformed(f"the input {short(layer.name)} is of type {short(dtype)}")
        name = self._name(layer.name)
        self.input(name, [n or 0 for n in shape], np.dtype(dtype))
        if dtype == "float32":
            return name
        floats = self.names.fresh(f"{name}.float")
        self.add(floats, "Cast", [name], [floats], to=1)
        return floats

    def _name(self, name: str) -> str:
        """The name of a new value: the layer's or, of its later calls, that with a number."""
        count = self.uses.get(name)
        self.uses[name] = (count or 0) + 1
        if count == 0:
            return name
        return self.names.fresh(f"{name}_{count}" if count else name)

    def _model(self, model: Layer, inputs: Sequence[str], prefix: str) -> list[str]:
        """Translate a model's layers for these inputs; the names of its outputs."""
        if len(inputs) != len(model.inputs):
            raise _Malformed(
                f"the model {short(model.name)} is called with {len(inputs)} inputs, "
                f"it has {len(model.inputs)}"
            )
        try:
            calls = order(model)
        except ValueError as error:
            raise _Malformed(str(error)) from None
        tensors = {ref: x for ref, x in zip(model.inputs, inputs)}
        for layer, number in calls:
            self.calls += 1
            if self.calls > _MOST_CALLS:
                raise _Malformed(f"its layers are called more than {_MOST_CALLS} times")
            if layer.kind == "InputLayer":
                if Ref(layer.name, 0, 0) not in tensors:
                    raise _Malformed(f"the layer {short(layer.name)} is no input of its model")
                continue
            call = layer.calls[number - layer.first_call] if layer.calls else None
            if call is None:
                raise _Malformed(f"the layer {short(layer.name)} is not called with anything")
            where = f"{prefix}{layer.name}"
            if layer.is_model:
                given = [self._tensor(tensors, ref) for ref in refs_in(call)]
                made = self._model(layer, given, f"{where}/")
            else:
                made = [self._name(where)]
                self._call(layer, call, tensors, made[0], where)
            tensors.update((Ref(layer.name, number, i), y) for i, y in enumerate(made))
        return [self._tensor(tensors, ref) for ref in model.outputs]

    def _tensor(self, tensors: Mapping[Ref, str], ref: Ref) -> str:
        if ref not in tensors:
            raise _Malformed(f"the layer {short(ref.layer)} has no output {ref.output}")
        return tensors[ref]

    def _call(
        self, layer: Layer, call: Any, tensors: Mapping[Ref, str], y: str, where: str
    ) -> None:
        refs = refs_in(call)
        inputs = [self._tensor(tensors, ref) for ref in refs]
        with self.attempt(layer.kind, where, inputs, [y]):
            if layer.kind == "Lambda":
                raise MissingOperator("holds code, which is not run; use layers instead")
            if layer.is_custom or (layer.kind not in RULES and not layer.is_function):
                raise MissingOperator("layers of this class are not supported")
            if layer.is_function:
                inputs = self._operands(call, tensors, y)
            elif len(refs_in(call.args)) < len(refs) or call.kwargs.get("training"):
                raise Unsupported(f"is called with further arguments: {short(call.kwargs)}")

            def weights(index: int) -> str:
                key = (id(layer), index)
                if key not in self.weights:
                    array = (layer.arrays or [])[index]
                    self.weights[key] = self.constant(f"{where}.{index}", array.astype(FLOAT32))
                return self.weights[key]

            step = LayerCall(self, layer, inputs, y, version=self.version, weights=weights)
            try:
                (function if layer.is_function else RULES[layer.kind])(step)
                step.finish()
            except (TypeError, ValueError, LookupError, ArithmeticError) as error:
                raise Unsupported(f"its settings are none of Keras's ({error})") from None

    def _operands(self, call: Any, tensors: Mapping[Ref, str], y: str) -> list[str]:
        """What a function is called with: tensors, and numbers as constants."""
        named = [value for key, value in call.kwargs.items() if key != "name" and value is not None]
        operands = []
        for value in [*call.args, *named]:
            if isinstance(value, Ref):
                operands.append(self._tensor(tensors, value))
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                operands.append(self.constant(f"{y}.number", np.float32(value)))
            else:
                raise Unsupported(f"is called with {short(value)}")
        return operands
