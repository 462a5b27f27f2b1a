"""A network planned for a target: what the core makes of it, with its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from .targets import Target

ALIGNMENT = 64  # bytes, of the arena and the weights


class Value(NamedTuple):
    """An input or output for one image: a shape of 0 in front has as many as the batch."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 0.0  # integers stand for (q - zero) * scale; 0 where that is not said
    zero: int = 0

    def of(self, batch: int) -> tuple[int, ...]:
        """Its shape in a run of a batch."""
        return (self.shape[0] or batch, *self.shape[1:])

    def count(self, batch: int) -> int:
        return int(np.prod(self.of(batch), dtype=np.int64))


Values = tuple[list[Value], list[Value]]  # inputs, outputs


class Network(NamedTuple):
    """What is printed and compiled."""

    name: str  # a C identifier
    title: str  # of the model
    target: Target
    inputs: Sequence[Value]
    outputs: Sequence[Value]
    programs: Sequence[_core.EmittedProgram]  # one for each batch, which `runs` names
    kernels: Sequence[str]  # that they call
    numbers: Mapping[str, float]  # of the table of kernels
    features: str
    weights: bytes
    wisdom: str  # where times are from, in words
    threads: int = 1
    weights_file: bool = False  # the program maps the weights, which it has not
    front: tuple[Any, Any] | None = None  # camera.Frame that it takes, Preprocess of that
    top: int = 0  # scores that it gives, the best of all

    @property
    def isa(self) -> str:
        """The instruction set whose files of kernels are compiled."""
        return self.target.isa.removesuffix("_intrinsics").removesuffix("_dot")

    @property
    def arena(self) -> int:
        """Bytes that any of the programs needs, at least one."""
        return max(1, *(program["arena"] for program in self.programs))

    @property
    def codes(self) -> list[str]:
        """The code of all steps."""
        return sorted({step["code"] for program in self.programs for step in program["steps"]})

    @property
    def chained(self) -> bool:
        """Whether any steps are computed together, some rows at a time."""
        return any(step["chain"] for program in self.programs for step in program["steps"])

    @property
    def weights_by_step(self) -> list[int]:
        """Bytes of weights of each step of the first program; steps may share them."""
        places = [
            [{at for base, at in [*step["weights"], step["z"]] if base == 1} for step in p["steps"]]
            for p in self.programs
        ]
        begins = sorted({at for steps in places for of_step in steps for at in of_step})
        sizes = {at: end - at for at, end in zip(begins, [*begins[1:], len(self.weights)])}
        return [sum(sizes[at] for at in of_step) for of_step in places[0]]

    @property
    def weights_inside(self) -> int:
        """Bytes of weights in the program."""
        return 0 if self.weights_file else len(self.weights)

    @property
    def exports(self) -> list[str]:
        """What a library defines."""
        names = [self.run(program) for program in self.programs]
        if self.threads > 1:
            names += [f"{name}_on" for name in names]
            names += [f"{self.name}_pool_start", f"{self.name}_pool_stop"]
        return names + ([f"{self.name}_weights"] if self.weights_file else [])

    def run(self, program: _core.EmittedProgram) -> str:
        """The name of the function that runs it."""
        first = program is self.programs[0]
        return f"{self.name}_run" if first else f"{self.name}_run_{program['batch']}"


def plan(
    graph: _core.GraphBuilder,
    name: str,
    title: str,
    *,
    target: Target,
    batches: Sequence[int],
    options: Mapping[str, Any],
    weights_file: bool = False,
    problems: Sequence[str] = (),
    objections: Callable[[Values], Sequence[str]] = lambda _: (),
) -> Network:
    """Plans programs for batch sizes; ValueError says all that cannot be compiled, after
    `problems`, with what `objections` has against inputs and outputs.
    """
    native = target.name == "native"
    try:
        emission = _core.Emission(
            graph,
            "" if native else target.isa,
            target.outline,
            target.architecture,
            target.cpuinfo,
            **options,
        )
    except ValueError as error:
        raise ValueError("; ".join([*problems, str(error)])) from None
    inputs = [Value(*value) for value in emission.inputs]
    outputs = [Value(*value) for value in emission.outputs]
    found = [*problems, *objections((inputs, outputs))]
    wisdom = "estimated times"
    if options.get("wisdom"):
        wisdom = emission.wisdom_note()
        found += [wisdom] if wisdom.startswith("no wisdom") else []
    programs = []
    for batch in batches:
        try:
            programs.append(emission.program(batch))
        except ValueError as error:
            found.append(str(error))
    if found:
        raise ValueError("; ".join(dict.fromkeys(found)))
    return Network(
        name,
        title,
        target,
        inputs,
        outputs,
        programs,
        sorted(emission.kernels),
        emission.numbers,
        emission.features,
        emission.weights,
        wisdom,
        options["threads"],
        weights_file,
    )
