"""Variables, which keep a state from one call of a TFLite model to the next: what one holds before
a call is an input more, what it holds behind it an output more (linnet.states).
"""

from __future__ import annotations

from ._tflite_call import Call, Rule
from ._translator import Unsupported


def _variable(call: Call) -> str:
    handles = call.lite.states.handles
    if call.x[0] not in handles:
        raise Unsupported("is not of a variable that is known")
    return handles[call.x[0]]


def _call_once(call: Call) -> None:
    call.lite.states.initial.update(call.lite.model.assigned(call.option(0)))


def _var_handle(call: Call) -> None:
    call.lite.states.handles[call.y[0]] = call.text(1)


def _read_variable(call: Call) -> None:
    """What was assigned last, be it in the call before."""
    lite, name, y = call.lite, _variable(call), call.y[0]
    states, tensor = call.lite.states, call.made[0]
    now = states.after.get(name) or states.before.get(name)
    if now is not None:
        call.finish("Identity", [now], y)
        lite.same(now, y)
        return
    initial = states.initial.get(name)
    if initial is None:
        raise Unsupported(f"variable '{name}' has no value at first")
    if (initial.shape, initial.dtype) != (tensor.declared, tensor.dtype) or not initial.ndim:
        raise Unsupported(f"variable '{name}' is {initial.dtype} {list(initial.shape)} at first")
    states.before[name] = y
    lite.input(y, initial.shape, initial.dtype)


def _assign_variable(call: Call) -> None:
    states, name = call.lite.states, _variable(call)
    states.after[name] = call.lite.names.fresh(f"{name}.next")
    call.finish("Identity", [call.x[1]], states.after[name])
    call.lite.same(call.x[1], states.after[name])


RULES = {
    "ASSIGN_VARIABLE": Rule(_assign_variable, (2, 2), (0, 0), raw=True),
    "CALL_ONCE": Rule(_call_once, (0, 0), (0, 0), raw=True),
    "READ_VARIABLE": Rule(_read_variable, raw=True),
    "VAR_HANDLE": Rule(_var_handle, (0, 0), raw=True),
}
