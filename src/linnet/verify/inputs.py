"""What other input would have given the values that differ."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .case import Case, Changes
from .sides import MOST_IMAGES, run_model

INPUTS: Changes = {
    "with channels in reverse order (BGR against RGB)": lambda x: x[:, ::-1].copy(),
    "255 times as large": lambda x: x * x.dtype.type(255),
    "255 times smaller": lambda x: x / x.dtype.type(255),
    "as 2 x - 1": lambda x: 2 * x - 1,
    "as x - 0.5": lambda x: x - x.dtype.type(0.5),
    "as x / 127.5 - 1": lambda x: x / x.dtype.type(127.5) - 1,
    "with height and width swapped": lambda x: x.swapaxes(-1, -2).copy(),
    "upside down": lambda x: x[..., ::-1, :].copy(),
    "mirrored": lambda x: x[..., ::-1].copy(),
}


def causes(case: Case) -> Iterator[str]:
    models = [side for side in (case.a, case.b) if side.graph]
    if len(models) != 1 or case.inputs is None or case.u.shape != case.v.shape:
        return
    if case.first.value != next(iter(case.pairs)):  # what came before is right
        return
    (model,) = models
    assert model.graph
    name, saved, other = (
        (case.first.value, case.v, case.b)
        if model is case.a
        else (case.first.other, case.u, case.a)
    )
    given = {key: x[:MOST_IMAGES] for key, x in case.inputs.items()}
    for what, change in INPUTS.items():
        changed = {key: change(x) for key, x in given.items()}
        if any(changed[key].shape != x.shape for key, x in given.items()):
            continue
        if all(np.array_equal(changed[key], x) for key, x in given.items()):
            continue
        again = run_model(model.name, model.graph, changed).values[name]
        if case.same(again, saved) or case.same(np.maximum(again, 0), saved):
            yield f"preprocessing: {other.name} was given the input {what}"
