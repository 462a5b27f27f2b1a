"""TFLite's LSTM over a sequence, in floats. Its state is that of variables: a call goes on where
the one before has ended (linnet.states).
"""

from __future__ import annotations

import numpy as np

from ._tflite_call import Call, Rule
from ._translator import Unsupported

_INPUTS = 24
# Where inputs are, in the order of ONNX's gates: input, output, forget, cell.
_WEIGHTS, _RECURRENCE, _BIASES, _PEEPHOLES = (
    (1, 4, 2, 3),
    (5, 8, 6, 7),
    (12, 15, 13, 14),
    (9, 11, 10),
)
_PROJECTION, _STATES, _NORMALIZATION = (16, 17), (18, 19), range(20, 24)
_TANH = 4


def _sequence_lstm(call: Call) -> None:
    lite, y = call.lite, call.y[0]
    if call.option(0, "b") != _TANH:
        raise Unsupported(f"the activation number {call.option(0, 'b')} is not supported")
    for what, places in (("a projection", _PROJECTION), ("normalization", _NORMALIZATION)):
        if any(call.input(place) for place in places):
            raise Unsupported(f"{what} is not supported")
    if any(t is not None and t.dtype != np.float32 for t in (call.given[0], *call.made)):
        raise Unsupported("only floats are supported")
    names = [call.input(place) for place in _STATES]
    if any(name not in lite.states.before for name in names):
        raise Unsupported("its states are no variables")
    w, r, b = (_joined(call, places) for places in (_WEIGHTS, _RECURRENCE, _BIASES))
    units = call.tensor(_RECURRENCE[1]).shape[0]
    zeros = lite.constant(f"{y}.zeros", np.zeros((1, 4 * units), np.float32))
    b = call.part("Concat", "bias", [b, zeros], axis=1)
    axis = call.vector("axis", [1])
    before = [call.part("Unsqueeze", "state", [name, axis]) for name in names]
    peepholes = [_joined(call, _PEEPHOLES)] if any(map(call.input, _PEEPHOLES)) else []
    x = call.x[0]
    if call.option(3, "B"):
        x = call.part("Transpose", "batch", [x], perm=[1, 0, 2])
    every, h, c = (lite.names.fresh(f"{y}.{part}") for part in ("every", "h", "c"))
    inputs = [x, w, r, b, "", *before, *peepholes]
    limit = call.option(1, "f", 0.0)  # which converters write as 10
    lite.emit("LSTM", y, inputs, [every, h, c], hidden_size=units, layout=1, cell_limit=limit)
    squeezed = call.vector("direction", [2])
    if call.option(3, "B"):
        turned = call.part("Squeeze", "times", [every, squeezed])
        call.finish("Transpose", [turned], perm=[1, 0, 2])
    else:
        call.finish("Squeeze", [every, squeezed])
    for name, after in zip(names, (h, c)):
        lite.states.after[name] = lite.names.fresh(f"{name}.next")
        call.finish("Squeeze", [after, axis], lite.states.after[name])


def _joined(call: Call, places: tuple[int, ...]) -> str:
    """Constants of the gates, one after the other, with an axis for the direction."""
    names = [call.input(place) for place in places]
    if not all(names):
        raise Unsupported("has not the weights of all gates")
    whole = call.part("Concat", "gates", names, axis=0)
    return call.part("Unsqueeze", "weights", [whole, call.vector("first", [0])])


RULES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Rule(_sequence_lstm, (1, _INPUTS), options=71),
}
