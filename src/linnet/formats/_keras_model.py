"""A model's configuration, as all versions of Keras write it: layers, and who reads what of whom.

Nothing in it is evaluated: layers are data, told apart by the names of their classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..text import short
from ._keras_old import modernized

MODELS = {"Sequential", "Functional", "Model"}
_INPUT = "InputLayer"


class Ref(NamedTuple):
    """A tensor: output number `output` of call number `call` of a layer."""

    layer: str
    call: int
    output: int


class Call(NamedTuple):
    """One call of a layer: tensors among its arguments are Refs, all else is as in the file."""

    args: list[Any]
    kwargs: dict[str, Any]
    is_new: bool = False  # whether it is in the form of Keras 3


class Layer:
    """A layer, or a model with `layers` of its own, with what it is called with.

    arrays: its weights in Keras's order, once they are known; None if the file has none for it.
    """

    def __init__(self, kind: str, name: str, module: str, config: Mapping[str, Any]) -> None:
        self.kind = kind
        self.name = name
        self.module = module
        self.config = config
        self.calls: list[Call] = []
        self.first_call = 0  # its number: that of a model within another may be 1
        self.layers: list[Layer] = []
        self.inputs: list[Ref] = []
        self.outputs: list[Ref] = []
        self.arrays: list[Any] | None = None
        self.written = kind  # its class as the file has it
        self.keras_version = ""  # as the JSON text of a whole model may have it

    @property
    def is_model(self) -> bool:
        return self.kind in MODELS and not self.is_custom

    @property
    def is_function(self) -> bool:
        """Whether it is a function's call that Keras has made a layer of. In .h5 files of Keras 3
        it is told from a layer of that name by what all layers have.
        """
        new = any(call.is_new for call in self.calls)
        bare = new and not self.is_model and "trainable" not in self.config
        return self.kind == "TFOpLambda" or bare

    @property
    def is_custom(self) -> bool:
        """Whether its class is registered under a name of a package's own."""
        return self.module != "" and not re.match(r"(keras|tf_keras|builtins)(\.|$)", self.module)


def parse(text: str, what: str) -> Layer:
    """The model that JSON text describes; ValueError, whatever is wrong with it."""
    try:
        data = json.loads(text)
        layer = _layer(data)
        layer.keras_version = str(data.get("keras_version") or "")
        if not layer.is_model:
            raise ValueError(
                f"it is a {short(layer.kind)}, expected a Sequential or Functional model; "
                "classes of one's own have to be exported, as a SavedModel or to ONNX"
            )
        return layer
    except RecursionError:
        raise ValueError(f"{what}: its configuration is nested too deeply") from None
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{what}: its configuration is none of Keras's ({type(error).__name__}: {error})"
        ) from None
    except ValueError as error:
        raise ValueError(f"{what}: its configuration cannot be read: {error}") from None


def _layer(data: Mapping[str, Any]) -> Layer:
    config = data["config"]
    if isinstance(config, list):  # a Sequential before Keras 2.2.3
        config = {"layers": config}
    kind, module = str(data["class_name"]), str(data.get("module") or "")
    if ">" in str(data.get("registered_name")):  # a package's own class, of whatever name
        module = str(data["registered_name"])
    written = kind
    kind, config = modernized(kind, config)
    name = str(data.get("name") or config.get("name") or kind.lower())
    layer = Layer(kind, name, module, config)
    layer.written = written
    layer.calls = [_call(node) for node in data.get("inbound_nodes") or []]
    if kind in MODELS and "layers" in config:
        layer.layers = [_layer(item) for item in config["layers"]]
        if kind == "Sequential":
            _chain(layer)
        else:
            layer.inputs = _refs(config["input_layers"])
            layer.outputs = _refs(config["output_layers"])
        _number_calls(layer)
    return layer


def _call(node: Any) -> Call:
    """A call as Keras 3 writes it, {"args": [tensors], "kwargs": {}}, or as before: a list of
    [layer, call, output, further arguments], or one of them alone.
    """
    if isinstance(node, Mapping):
        return Call(_tensors(node["args"]), _tensors(node.get("kwargs") or {}), True)
    entries = [node] if node and isinstance(node[0], str) else list(node)
    refs: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, call, output, *more in entries:
        constant = name == "_CONSTANT_VALUE"
        refs.append(output if constant else Ref(str(name), int(call), int(output)))
        for key, value in (more[0] if more else {}).items():
            kwargs[str(key)] = _old_tensor(value)
    return Call([refs] if len(refs) > 1 else refs, kwargs)


def _tensors(data: Any) -> Any:
    if isinstance(data, Mapping):
        if data.get("class_name") == "__keras_tensor__":
            name, call, output = data["config"]["keras_history"]
            return Ref(str(name), int(call), int(output))
        return {key: _tensors(value) for key, value in data.items()}
    return [_tensors(item) for item in data] if isinstance(data, list) else data


def _old_tensor(value: Any) -> Any:
    """["layer", 0, 0] among further arguments is a tensor."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        name, call, output = value
        if isinstance(call, int) and isinstance(output, int):
            return Ref(name, call, output)
    return value


def _refs(data: Any) -> list[Ref]:
    """[layer, call, output], or any nest of them."""
    if isinstance(data, Mapping):
        return [ref for item in data.values() for ref in _refs(item)]
    if data and isinstance(data[0], str):
        name, call, output = data[:3]
        return [Ref(name, int(call), int(output))]
    return [ref for item in data for ref in _refs(item)]


def _chain(model: Layer) -> None:
    """Of a Sequential: each layer reads the one before it; the first is an InputLayer, made from
    the shape that the first layer has where there is none.
    """
    layers = model.layers
    if not layers:
        raise ValueError(f"the model {short(model.name)} has no layers")
    if layers[0].written == "Merge":
        _join(model)
        return
    if layers[0].kind != _INPUT:
        shape = _input_shape(model)
        config = {"batch_input_shape": shape, "dtype": layers[0].config.get("dtype")}
        if layers[0].is_model:
            config["dtype"] = None
        # What Keras calls it, too.
        layers.insert(0, Layer(_INPUT, f"{layers[0].name}_input", "", config))
    _follow(layers)
    model.inputs = [Ref(layers[0].name, 0, 0)]
    model.outputs = [Ref(layers[-1].name, 0, 0)]


def _follow(layers: Sequence[Layer]) -> None:
    for before, layer in zip(layers, layers[1:]):
        layer.calls = [Call([Ref(before.name, 0, 0)], {})]


def _join(model: Layer) -> None:
    """Of a Sequential of Keras 1 that begins with a Merge of models: their layers are its own."""
    merge, *rest = model.layers
    parts = [_layer(part) for part in merge.config["layers"]]
    if not all(part.layers for part in parts):
        raise ValueError(f"{short(merge.name)} merges what is no model")
    merge.config = {key: value for key, value in merge.config.items() if key != "layers"}
    merge.calls = [Call([[ref for part in parts for ref in part.outputs]], {})]
    _follow([merge, *rest])
    model.layers = [*(layer for part in parts for layer in part.layers), merge, *rest]
    model.inputs = [ref for part in parts for ref in part.inputs]
    model.outputs = [Ref(model.layers[-1].name, 0, 0)]


def _input_shape(model: Layer) -> Any:
    first = model.layers[0]
    while first.is_model and first.layers:
        first = first.layers[0]
    shape = first.config.get("batch_input_shape") or first.config.get("batch_shape")
    return shape or model.config.get("build_input_shape")


def _number_calls(model: Layer) -> None:
    """Some versions count the making of a model as its first call when it is in another."""
    known = {layer.name: layer for layer in model.layers}
    if len(known) < len(model.layers):
        raise ValueError(f"two layers of {short(model.name)} have one name")
    pending: list[Any] = [call for layer in model.layers for call in layer.calls]
    pending += model.outputs
    while pending:
        item = pending.pop()
        if isinstance(item, Ref):
            layer = known.get(item.layer)
            if layer is not None and layer.is_model and item.call == len(layer.calls):
                layer.first_call = 1
        elif isinstance(item, Mapping):
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item


def order(model: Layer) -> Sequence[tuple[Layer, int]]:
    """All calls of a model's layers, (layer, number), each after those whose outputs it reads.

    ValueError if there is a circle, or a tensor that no layer makes.
    """
    readers: dict[tuple[str, int], list[int]] = {}
    calls = [
        (layer, layer.first_call + index, call)
        for layer in model.layers
        for index, call in enumerate(layer.calls or [Call([], {})])
    ]
    known = {(layer.name, number) for layer, number, _ in calls}
    missing = []
    for index, (layer, _, call) in enumerate(calls):
        needed = {(ref.layer, ref.call) for ref in refs_in(call)}
        for key in needed:
            if key not in known:
                raise ValueError(
                    f"layer {short(layer.name)} reads call {key[1]} of {short(key[0])}, "
                    "which there is not"
                )
            readers.setdefault(key, []).append(index)
        missing.append(len(needed))
    ready = [index for index, count in enumerate(missing) if count == 0]
    done = []
    for index in ready:  # which grows
        layer, number, _ = calls[index]
        done.append((layer, number))
        for reader in readers.get((layer.name, number), ()):
            missing[reader] -= 1
            if missing[reader] == 0:
                ready.append(reader)
    if len(done) < len(calls):
        raise ValueError(f"the layers of {short(model.name)} read each other in a circle")
    return done


def refs_in(data: Any) -> list[Ref]:
    """All tensors in a call's arguments, in their order."""
    if isinstance(data, Ref):
        return [data]
    if isinstance(data, Mapping):
        data = list(data.values())
    if isinstance(data, (list, tuple)):
        return [ref for item in data for ref in refs_in(item)]
    return []
