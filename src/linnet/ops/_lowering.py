"""What an operator's rule works with: the call it rewrites, and the graph it adds to.

Rules emit canonical operators, and two that are not ONNX's and that later passes take away again:
"Affine" multiplies every channel (axis 1) by attribute `scale` and adds `shift`, float64 [C], or
[1] for all of them; "ZeroPad" puts attribute `pads` [top, left, bottom, right] zeros around an
image. `shape` is their input's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from .. import machine, scalars
from ..core import infer_type
from ..graph import FLOAT32, LONGEST_AXIS, Array, Graph, Node, Shape
from ..text import shape_text, short

MOST_STEPS = 4096  # of loops and sequences, in all of a model


class Refusal(ValueError):
    """Why a node has no canonical form."""


class Mixes(Refusal):
    """Why a node has none as long as axis 0 is the batch; where that is an axis like others there
    may be one."""


class MissingOperator(Refusal):
    """Why no node of this operator has a canonical form, or none with inputs that are computed."""


class OperatorsMissing(ValueError):
    """A graph has operators that linnet has not, whatever its sizes are."""


class Missing:
    """An operator that linnet has not: the first node, and how many there are."""

    def __init__(self, node: Node, reason: str) -> None:
        self.node = node
        self.op: str = node.attrs.get("op", node.op)
        self.reason = reason
        self.count = 0

    def __str__(self) -> str:
        more = f" ({self.count} nodes)" if self.count > 1 else ""
        return f"{self.node}: {self.reason}{more}"


class Batch:
    """The batch size in computed shapes: a number nobody knows, so arithmetic with it fails."""

    def __repr__(self) -> str:
        return "batch"


BATCH = Batch()


def settled(array: Array) -> Array:
    """A vector of objects that holds no batch size any more is a vector of integers again."""
    if array.dtype == object and not any(item is BATCH for item in array.flat):
        return array.astype(np.int64)
    return array


class Later(Protocol):
    """A value that is not computed before something reads it."""

    def compute(self, low: Lowering, call: Call) -> str:
        """Name of the value, computed; by default that of `call`."""

    def reshaped(self, low: Lowering, shape: Shape) -> Later | None:
        """The same value under another shape, None if it has to be computed for that."""


class Call:
    """One node being lowered: its inputs under the names they have now, and all its attributes."""

    def __init__(self, node: Node, inputs: list[str], attrs: Mapping[str, Any]) -> None:
        self.node = node
        self.inputs = inputs
        self.attrs = attrs
        self.output = node.outputs[0]
        self.lifted = False  # its inputs have one more axis before all others
        self.whole = False  # its inputs are integers: none is infinite or no number
        self.wide = False  # and they are int64

    def input(self, index: int) -> str:
        """Name of an input, "" if it is absent."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def of(self, output: str) -> Call:
        """The same for one output of several."""
        return Call(replace(self.node, outputs=[output]), self.inputs, self.attrs)

    def ints(self, name: str, count: int | None = None) -> list[int]:
        """An attribute that is a list of integers, `count` of them if that is given."""
        value = self.attrs[name]
        fits = isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value)
        if not fits or count not in (None, len(value)):
            wanted = "a list of" if count is None else str(count)
            only = " (only 2-D windows are supported)" if count in (2, 4) else ""
            raise Refusal(f"attribute '{name}' is {short(value)}, expected {wanted} integers{only}")
        return list(value)


class Lowering:
    """The graph being made: its nodes, and what is known of every value of the source graph."""

    def __init__(self, graph: Graph, fixed: bool = False, memory_limit: int | None = None) -> None:
        self.graph = graph
        self.fixed = fixed  # axis 0 is an axis like others, as long as the file says
        # And the file says how long: only then may it be computed along, since a batch of another
        # size goes in groups, each with results of its own.
        self.along_first = fixed and all(value.shape[0] for value in graph.inputs)
        self.nodes: list[Node] = []
        self.problems: list[str] = []
        self.mixing = 0  # how many of them are only because axis 0 is the batch
        self.missing: dict[tuple[str, str], Missing] = {}  # by operator and reason
        self.constants: dict[str, Array] = dict(graph.initializers)
        self.shapes: dict[str, Shape] = {
            value.name: ((value.shape[0] or 1) if fixed else 0, *value.shape[1:])
            for value in graph.inputs
        }
        self.dtypes = {value.name: value.dtype for value in graph.inputs}
        self.batches = {value.shape[0] for value in graph.inputs} - {0}  # sizes the file declares
        self.alias: dict[str, str] = {}
        self.later: dict[str, Later] = {}  # shapes and types of these are known, too
        self.computed: dict[str, str] = {}  # those of them that are computed, and where
        self.renamed: dict[str, str] = {}  # values that got the name of an output
        self.failed: set[str] = set()  # values that depend on a problem already reported
        self.sizes: set[str] = set()  # those of them that are computed from shapes alone
        self.used = Counter(name for node in graph.nodes for name in node.inputs)
        self.used.update(graph.outputs)
        self.names = graph.names()
        self.derived: dict[tuple[str, str], str] = {}
        # Constants that are integers times one of several scales: the integers, in the constant's
        # shape, and all those scales.
        self.products: dict[str, tuple[Array, Array]] = {}
        # Values that have no axes in the source: here they have one.
        told = scalars.recorded(graph.metadata)
        self.scalars = {name for name in told if self.shapes.get(name) == (1,)}
        self.origins: dict[str, str] = {}  # of reshaped values, what has the same numbers
        for name, shape in self.shapes.items():
            if max(shape) >= LONGEST_AXIS:
                self.problems.append(f"input '{name}' is too large: {shape_text(shape)}")
                self.failed.add(name)
        # What folding may allocate: small files must not grow into large arrays.
        self.budget = 8 * sum(array.nbytes for array in self.constants.values()) + (16 << 20)
        # Weights that a file only says how to fill may be as large as memory allows: as long as
        # nobody reads them they are views of one number.
        self.room = memory_limit or machine.available_memory() // 2
        self.filled = 0
        self.unrolled = 0
        self.bodies: dict[int, Graph] = {}  # that have been inlined, in order, by their ids

    def visit(self, node: Node) -> None:
        """Lower one more node, as if it were of the graph. Defined by who goes through them."""
        raise NotImplementedError

    def inline(self, body: Graph, arguments: Sequence[str], suffix: str) -> list[str]:
        """Lower the nodes of a body, whose inputs are these; the names of its outputs. Its values
        get `suffix` to their names. Defined like `visit`.
        """
        raise NotImplementedError

    def spend(self, elements: int, itemsize: int = 8) -> None:
        self.budget -= abs(elements) * itemsize
        if self.budget < 0:
            raise Refusal("computing its constants would need far more memory than the file has")

    def unroll(self, steps: int) -> None:
        """Count turns of a loop that become nodes of their own, each some of them."""
        self.unrolled += steps
        if self.unrolled > MOST_STEPS:
            raise Refusal(
                f"with its {steps} steps there are {self.unrolled} to unroll, at most {MOST_STEPS} "
                "are supported"
            )

    def fill(self, name: str, nbytes: int) -> None:
        self.filled += nbytes
        if self.filled > self.room:
            raise Refusal(
                f"with its constant '{name}', constants that the file does not hold but makes take "
                f"{self.filled / 1e6:.0f} MB, more than the {self.room / 1e6:.0f} MB allowed "
                "(memory_limit, by default half of the memory available)"
            )

    def shape(self, name: str) -> Shape:
        """Shape of an activation."""
        if name in self.shapes:
            return self.shapes[name]
        if not name:
            raise Refusal("an input is missing")
        raise Refusal(f"input '{name}' is a constant")

    def axes(self, name: str) -> Shape:
        """Shape of an activation in the source: () of a scalar."""
        shape = self.shape(name)
        return () if name in self.scalars else shape

    def constant(self, name: str, what: str) -> Array:
        if not name:
            raise Refusal(f"its {what} is missing")
        if name not in self.constants:
            raise Refusal(f"its {what} '{name}' is computed, only constants are supported")
        return self.constants[name]

    def numbers(self, name: str, what: str) -> Array:
        """A constant of real numbers."""
        array = self.constant(name, what)
        if array.dtype.kind not in "fiu":
            raise Refusal(f"its {what} '{name}' is not numeric")
        return array

    def integers(self, name: str, what: str) -> list[int]:
        """A constant vector of integers."""
        array = self.constant(name, what)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise Refusal(f"its {what} '{name}' is not a vector of integers")
        self.spend(array.size)
        return [int(value) for value in array]

    def weight(
        self,
        name: str,
        what: str,
        change: str = "",
        compute: Callable[[Array], Array] | None = None,
    ) -> str:
        """Name of a float32 constant, dense in memory: `name` itself if that is one.

        Else a new one made from it, once for all its users; `change` is short for what it does.
        """
        array = self.numbers(name, what)
        dense = array.flags.c_contiguous and array.flags.aligned
        if compute is None and array.dtype == np.float32 and dense:
            return name
        key = (name, change)
        if key not in self.derived:
            if any(n > 1 and by == 0 for n, by in zip(array.shape, array.strides)):
                self.fill(name, (4 if compute is None else 8) * array.size)
            else:
                self.spend(array.size, 4)
            array = np.require(array, np.float32, ["A"] if compute else ["C", "A"])
            if compute is not None:
                array = np.ascontiguousarray(compute(array))
            self.derived[key] = self.add_constant(f"{name}.{change or 'dense'}", array)
            if name in self.products:
                q, scales = self.products[name]
                self.products[self.derived[key]] = compute(q) if compute else q, scales
        return self.derived[key]

    def postpone(self, name: str, later: Later, shape: Shape, dtype: np.dtype[Any]) -> None:
        """The value of this name is not computed yet."""
        self.later[name] = later
        self.origins.pop(name, None)
        self.scalars.discard(name)
        self.shapes[name], self.dtypes[name] = shape, dtype

    def ready(self, name: str) -> str:
        """Name of a value that is computed by now."""
        if name in self.later:
            if name not in self.computed:
                node = Node("", name, [], [name])
                self.computed[name] = self.later[name].compute(self, Call(node, [], {}))
            return self.computed[name]
        return name

    def mark(self) -> tuple[int, int]:
        """A point to return to with `undo`, as if nothing had been emitted since."""
        return len(self.nodes), len(self.computed)

    def undo(self, mark: tuple[int, int]) -> None:
        nodes, computed = mark
        del self.nodes[nodes:]
        while len(self.computed) > computed:
            self.computed.popitem()

    def add_constant(self, name: str, array: Array) -> str:
        name = self.names.fresh(name)
        self.constants[name] = array
        return name

    def add_integers(self, name: str, values: Sequence[int]) -> str:
        """A constant of int64; once for all that are unrolled, which ask for the same often."""
        array = np.array(values, np.int64)
        if not self.unrolled or self.graph.example:
            return self.add_constant(name, array)
        key = (str(array.tolist()), "integers")
        if key not in self.derived:
            self.derived[key] = self.add_constant(name, array)
        return self.derived[key]

    def emit(
        self,
        call: Call,
        op: str,
        inputs: list[str],
        attrs: dict[str, Any] | None = None,
        step: str = "",
    ) -> str:
        """Append a node and return its output: `call`'s or, if it is not the last, named `step`."""
        attrs = attrs or {}
        inputs = [self.ready(name) for name in inputs]
        if op in ("Affine", "ZeroPad"):
            shape = attrs["shape"] = self.shape(inputs[0])
            dtype = self.dtypes[inputs[0]]
            if dtype != FLOAT32:
                raise Refusal(f"an input is {dtype}, only float32 is supported; cast it")
            if op == "ZeroPad":
                top, left, bottom, right = attrs["pads"]
                shape = (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)
        else:
            given = [
                (self.shapes[name], self.dtypes[name])
                if name in self.shapes
                else self.constants.get(name)
                for name in inputs
            ]
            try:
                shape, dtype = infer_type(op, attrs, given)
            except ValueError as error:
                raise Refusal(str(error).partition(": ")[2] or str(error)) from None
        if max(shape) >= LONGEST_AXIS:
            raise Refusal(f"its output is too large: {shape_text(shape)}")
        output = self.names.fresh(f"{call.output}.{step}") if step else call.output
        name = f"{call.node.name}.{step}" if step else call.node.name
        self.nodes.append(Node(op, name, inputs, [output], attrs))
        self.origins.pop(output, None)
        self.scalars.discard(output)
        self.shapes[output], self.dtypes[output] = shape, dtype
        return output

    def reshape(self, call: Call, x: str, target: Shape, step: str = "") -> str:
        """`x` with new axes after the batch, or none at all: an alias, a Flatten or a Reshape."""
        old = self.axes(x)
        first = 0 if self.fixed else 1
        if math.prod(old[first:]) != math.prod(target[first:]) or 0 in target[first:]:
            raise Refusal(f"{shape_text(old)} cannot become {shape_text(target)}")
        if not target and not self.fixed:
            raise Mixes(f"{shape_text(old)} cannot lose its batch")
        origin = self.origins.get(x, x)
        if target in (old, self.axes(origin)):  # a way there and back is none
            x = x if old == target else origin
            if not step:
                self.alias[call.output] = x
            return x
        waits = x in self.later and x not in self.computed
        later = self.later[x].reshaped(self, target) if waits and target else None
        if later is not None:
            output = self.names.fresh(f"{call.output}.{step}") if step else call.output
            self.postpone(output, later, target, self.dtypes[x])
            return output
        if len(target) == 2 and target[0] == self.shape(x)[0]:
            output = self.emit(call, "Flatten", [x], {"axis": 1}, step)
            self.origins[output] = origin
            return output
        names = [f"{call.output}.{step}.shape" if step else f"{call.output}.shape"]
        if call.node.op == "Reshape":
            names.insert(0, call.input(1))
        output = self.emit(call, "Reshape", [x, self.target(target or (1,), *names)], {}, step)
        self.origins[output] = origin
        if not target:
            self.scalars.add(output)
        return output

    def target(self, shape: Shape, *names: str) -> str:
        """Name of the constant a Reshape needs: one of `names` if it is that, else a new one."""
        array = np.array(shape, np.int64)
        for name in names:
            known = self.constants.get(name)
            if known is not None and known.dtype == np.int64 and np.array_equal(known, array):
                return name
        return self.add_integers(names[-1], shape)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first; Refusal if there is no such."""
    if not -rank <= axis < rank:
        raise Refusal(f"axis {axis} does not exist in {rank} axes")
    return axis % rank


def axis_beside_batch(axis: int, rank: int) -> int:
    """An axis counted from the first, which is not that; Refusal if there is no such."""
    axis = axis_of(axis, rank)
    if axis == 0:
        raise Refusal("over the batch is not supported")
    return axis


def as_it_is(low: Lowering, call: Call) -> None:
    """The core takes it as it is, of activations."""
    for name in call.inputs:
        low.shape(name)
    low.emit(call, call.node.op, call.inputs, dict(call.attrs))


def of_constants(low: Lowering, call: Call) -> None:
    """Of constants only."""
    raise MissingOperator("is supported for constants only")
