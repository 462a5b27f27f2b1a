"""Keras's layers with a state: LSTM, GRU, SimpleRNN, alone or in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph import Array
from ..text import short
from ._keras_call import LayerCall
from ._keras_model import Layer
from ._translator import MissingOperator, Unsupported


class Kind(NamedTuple):
    """ONNX's operator, where it has Keras's gates, and activations by default."""

    op: str
    gates: tuple[int, ...]
    activations: tuple[str, ...]


KINDS = {
    "SimpleRNN": Kind("RNN", (0,), ("activation",)),
    "GRU": Kind("GRU", (0, 1, 2), ("recurrent_activation", "activation")),
    # Keras: i, f, c, o; ONNX: i, o, f, c.
    "LSTM": Kind("LSTM", (0, 3, 1, 2), ("recurrent_activation", "activation", "activation")),
}
_DEFAULTS = {"activation": "tanh", "recurrent_activation": "sigmoid"}
# ONNX's activations by Keras's names, and the alpha and beta that they have there.
_ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "tanh": ("Tanh",),
    "sigmoid": ("Sigmoid",),
    "relu": ("Relu",),
    "linear": ("Affine", 1.0, 0.0),
    "softplus": ("Softplus",),
    "softsign": ("Softsign",),
    "elu": ("Elu", 1.0),
}
_HARMLESS = (  # of training, or of how it is computed
    "dropout",
    "recurrent_dropout",
    "implementation",
    "unit_forget_bias",
    "unroll",
    "use_cudnn",
    "zero_output_for_mask",
)


def weight_count(kind: str, config: Mapping[str, Any]) -> int:
    """How many weights a layer has, all of which are trained."""
    if kind == "Bidirectional":
        inner = config.get("layer") or {}
        return 2 * weight_count(str(inner.get("class_name")), inner.get("config") or {})
    return 2 + (config.get("use_bias") is not False) if kind in KINDS else 0


def folders(kind: str) -> list[str]:
    """Where in a .keras file the weights of a layer are, below its own folder."""
    if kind == "TimeDistributed":
        return ["/layer"]
    if kind == "Bidirectional":
        return ["/forward_layer/cell", "/backward_layer/cell"]
    return ["/cell"] if kind in KINDS else [""]


class _Form(NamedTuple):
    """What the directions of a layer have to have in common."""

    units: int
    bias: bool
    sequences: bool
    after: bool  # whether a GRU resets what it has multiplied
    activations: tuple[tuple[Any, ...], ...]


def _form(call: LayerCall, kind: Kind) -> tuple[_Form, bool]:
    """A layer's settings, and whether it goes backwards."""
    for key in _HARMLESS:
        call.setting(key)
    for key in ("return_state", "stateful", "time_major"):
        if call.flag(key, False):
            raise Unsupported(f"{key} is not supported")
    names = (call.setting(key, _DEFAULTS[key]) for key in kind.activations)
    form = _Form(
        call.integer("units"),
        call.flag("use_bias", True),
        call.flag("return_sequences", False),
        kind.op == "GRU" and call.flag("reset_after", False),
        tuple(_activation(name, call.version) for name in names),
    )
    backwards = call.flag("go_backwards", False)
    call.finish()
    return form, backwards


def _activation(name: Any, version: int) -> tuple[Any, ...]:
    if name == "hard_sigmoid":
        return "HardSigmoid", 0.2 if version < 3 else 1 / 6, 0.5
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise MissingOperator(f"the activation {short(name)} is not supported in a recurrence")
    return _ACTIVATIONS[name]


def _weights(call: LayerCall, kind: Kind, form: _Form, first: int) -> tuple[Array, Array, Array]:
    """ONNX's W, R and B of one direction, whose weights begin with number `first`."""
    gates, rows = len(kind.gates), len(kind.gates) * form.units
    inputs = call.reader.shape(call.inputs[0])[-1]

    def turned(array: Array) -> Array:
        """[N, gates * units] as [gates * units, N], in ONNX's order."""
        parts = array.T.reshape(gates, form.units, -1)[list(kind.gates)]
        return parts.reshape(rows, -1).astype(np.float32)

    w, r = (call.array(first + i, (n, rows)) for i, n in enumerate((inputs, form.units)))
    b = np.zeros((2, rows), np.float32)
    if form.bias:
        given = call.array(first + 2, (2, rows) if form.after else (rows,)).reshape(-1, rows)
        for index, row in enumerate(given):
            b[index] = turned(row[None]).ravel()
    return turned(w), turned(r), b.ravel()


def _emit(call: LayerCall, kind: Kind, form: _Form, direction: str) -> str:
    """The layer's node: every output [N, times, directions, units], or the last one's, without
    times.
    """
    if len(call.reader.shape(call.inputs[0])) != 3:
        raise Unsupported("its input is no sequence")
    each = 2 + form.bias
    count = 2 if direction == "bidirectional" else 1
    arrays = [_weights(call, kind, form, each * i) for i in range(count)]
    names = [call.constant(key, np.stack(part)) for key, part in zip("WRB", zip(*arrays))]
    flat = [a for _ in range(count) for a in form.activations]
    attrs: dict[str, Any] = {
        "activations": [a[0] for a in flat],
        "direction": direction,
        "hidden_size": form.units,
        "layout": 1,
    }
    for key, place in (("activation_alpha", 1), ("activation_beta", 2)):
        numbers = [float(a[place]) for a in flat if len(a) > place]
        if numbers:
            attrs[key] = numbers
    if kind.op == "GRU":
        attrs["linear_before_reset"] = int(form.after)
    y = call.fresh("every" if form.sequences else "last")
    outputs = [y] if form.sequences else ["", y]
    call.reader.add(y, kind.op, [call.inputs[0], *names], outputs, **attrs)
    return y


def recurrent(call: LayerCall) -> None:
    kind = KINDS[call.layer.kind]
    form, backwards = _form(call, kind)
    call.inputs = [call.x]
    y = _emit(call, kind, form, "reverse" if backwards else "forward")
    axis = call.constant("axis", np.array([2 if form.sequences else 1]))
    if not (backwards and form.sequences):
        call.add("Squeeze", [y, axis])
        return
    # Keras gives the sequence as it went through it.
    y = call.add("Squeeze", [y, axis], call.fresh("forwards"))
    lists = ([-1], [-(2**31)], [1], [-1])
    names = ("starts", "ends", "axes", "steps")
    places = [call.constant(what, np.array(n)) for what, n in zip(names, lists)]
    call.add("Slice", [y, *places])


_MERGES = {"sum": "ReduceSum", "mul": "ReduceProd", "ave": "ReduceMean"}


def bidirectional(call: LayerCall) -> None:
    forms: list[tuple[str, _Form]] = []
    for key in ("layer", "backward_layer"):
        inner = call.setting(key)
        if inner is None and forms:
            continue
        config = dict((inner or {}).get("config") or {})
        layer = Layer(str((inner or {}).get("class_name")), call.layer.name, "", config)
        if layer.kind not in KINDS:
            raise MissingOperator(f"of a {short(layer.kind)} is not supported")
        step = LayerCall(
            call.reader, layer, call.inputs, call.y, version=call.version, weights=call.weight_name
        )
        form, backwards = _form(step, KINDS[layer.kind])
        if backwards != bool(forms):
            raise Unsupported("its layers do not go forwards and backwards")
        forms.append((layer.kind, form))
    if len(set(forms)) != 1:
        raise Unsupported("its layers differ")
    kind, form = forms[0]
    merge = call.setting("merge_mode", "concat")
    y = _emit(call, KINDS[kind], form, "bidirectional")
    if merge in _MERGES:
        axis = call.constant("axis", np.array([2 if form.sequences else 1]))
        call.add(_MERGES[merge], [y, axis], keepdims=0)
    elif merge == "concat" and call.layer.config.get("merge_mode", "") is not None:
        shape = [0, 0, 2 * form.units] if form.sequences else [0, 2 * form.units]
        call.add("Reshape", [y, call.constant("shape", np.array(shape))])
    else:
        raise Unsupported(f"its merge_mode {short(merge)} is not supported")


RULES: dict[str, Callable[[LayerCall], None]] = {
    **dict.fromkeys(KINDS, recurrent),
    "Bidirectional": bidirectional,
}
