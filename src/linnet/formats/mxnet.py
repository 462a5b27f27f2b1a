"""MXNet models (https://github.com/apache/mxnet, up to 1.9.1) to a Graph.

Two files: a symbol, `NAME-symbol.json`, and its parameters, `NAME-0000.params`, as a Module's
checkpoints and the export of a Gluon block have them; symbols of 0.8 and before are brought to
today's form as MXNet does it (src/nnvm/legacy_json_util.cc). Values have MXNet's names: the node
`fc1` makes `fc1_output`. Labels are left out. A symbol does not say of what size its input is:
its channels are found by the weights of the layer that reads it, height and width are open unless
a fully connected layer allows a single square, or `shapes` says them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..graph import LONGEST_AXIS, Array, Graph, Layer, Shape
from . import _mxnet_detect, _mxnet_layers, _mxnet_moves
from ._channels_first import ChannelsFirst, beside, fitting
from ._mxnet_call import Call, Rule
from ._mxnet_files import Entry, Node, Symbol, parameters, symbol, under_other_names
from ._source import Source
from ._translator import MissingOperator, Unsupported

_RULES: dict[str, Rule] = {**_mxnet_layers.RULES, **_mxnet_moves.RULES, **_mxnet_detect.RULES}
_VARIABLE = "null"
_QUANTISED = (
    ": the symbol is quantised for oneDNN or a GPU; load the one of float32 that it was made from"
)
_SUBGRAPH = ": operators are joined for oneDNN; load the symbol as it was before"
_STATE = ": it keeps a state from one step of a sequence to the next, linnet's networks have none"
_FINDS = ": leave it out, its inputs are outputs then (outputs=), and find the boxes yourself"
_INSTEAD = (  # what else there is to say of operators that are not supported
    (r"_contrib_(quantize.*|quantized_.*|requantize|dequantize)|quantize.*", _QUANTISED),
    (r"_sg_\w+", _SUBGRAPH),
    (r"RNN|_rnn\w*", _STATE),
    (r"_contrib_(Multi)?Proposal|Proposal|_contrib_box_nms|_contrib_PSROIPooling", _FINDS),
    (r"Custom|_Native|_NDArray", ": it is written in Python, outside of the file"),
    (r"_foreach|_while_loop|_cond", ": how often it runs depends on the values"),
)
# What hands on channels as they are, so that what reads it says how many there are.
_PASSING = re.compile(
    r"Activation|LeakyReLU|Pooling\w*|_copy|identity|_\w+_?[Ss]calar|Cast|cast|Dropout|LRN|clip|"
    r"BlockGrad|UpSampling|[Pp]ad|relu|sigmoid|tanh|amp_cast|BatchNorm\w*|InstanceNorm|abs|square"
)


def read(
    model: Source, weights: Source | None = None, *, shapes: Mapping[str, Shape] | None = None
) -> Graph:
    """The graph of a symbol with the arrays of a .params file, by default the one beside it.

    shapes: of inputs by name, 0 where a size is open. ValueError if a file is damaged. What is
    wrong with single nodes is left in the graph for passes.canonicalize to report together.
    """
    found = symbol(model)
    if weights is None:
        weights = beside(model, _beside, "NAME-0000.params")
    arrays, given = parameters(weights), dict(shapes or {})
    return fitting(lambda more: _Reader(model, found, arrays, weights, {**given, **more}))


def _beside(name: str) -> tuple[str, str]:
    stem = name[: -len("-symbol.json")] if name.endswith("-symbol.json") else name[: -len(".json")]
    return stem, "-????.params"


class _Reader(ChannelsFirst):
    """One translation, from the parsed files to `graph`."""

    def __init__(
        self,
        source: Source,
        found: Symbol,
        arrays: Mapping[str, Array],
        weights: Source,
        given: Mapping[str, Shape],
    ) -> None:
        self.symbol = found
        self.arrays = arrays
        self.weights = weights
        self.given = given
        self.results = self._counts()
        names = [self._name(Entry(i, k)) for i, n in enumerate(self.results) for k in range(n)]
        super().__init__("", str(source), names)
        self.made: set[str] = set()  # inputs, and what nodes made
        self.missing: list[str] = []  # parameters
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{source}: two values have the name '{twice}'")
        self._inputs()
        for index, node in enumerate(found.nodes):
            if node.op != _VARIABLE:
                self._node(index, node)
        for head in dict.fromkeys(found.heads):
            if self.results[head.node] <= head.place:
                raise ValueError(f"{source}: its output {list(head)} is not there")
            self.graph.outputs.append(self._name(head))

    def _counts(self) -> list[int]:
        """How many results of each node there are."""
        counts = [1] * len(self.symbol.nodes)
        for index, node in enumerate(self.symbol.nodes):
            if node.op in ("SliceChannel", "split"):
                text = node.attrs.get("num_outputs", "")
                counts[index] = int(text) if re.fullmatch(r"[1-9]\d{0,3}", text) else 1
        return counts

    def _name(self, entry: Entry) -> str:
        node = self.symbol.nodes[entry.node]
        if node.op == _VARIABLE:
            return node.name
        number = entry.place if self.results[entry.node] > 1 else ""
        return f"{node.name}_output{number}"

    def _inputs(self) -> None:
        """Variables: parameters, inputs, and labels, which nothing but a loss reads."""
        readers: dict[int, set[str]] = {}  # what each is called by those that read it
        for node in self.symbol.nodes:
            rule = _RULES.get(node.op)
            for place, entry in enumerate(node.inputs):
                role = rule.parameter(place) if rule else ""
                readers.setdefault(entry.node, set()).add(role)
        heads = {head.node for head in self.symbol.heads}
        inputs = []
        for index, node in enumerate(self.symbol.nodes):
            roles = readers.get(index, set())
            if node.op != _VARIABLE or self._array_of(node.name) is not None:
                continue
            if roles - {"", "label"}:  # told where it is read, too
                self.missing.append(node.name)
            elif index in heads or not roles <= {"label"}:
                inputs.append((index, node))
        for index, node in inputs:
            self.made.add(node.name)
            with self.attempt("input", node.name, [], [node.name]):
                self.input(node.name, self._shape(index, node))

    def _shape(self, index: int, node: Node) -> Shape:
        """Of an input, 0 where a size is open."""
        if node.attrs.get("__dtype__", "0") not in ("0", "-1", "1", "2"):
            raise Unsupported("its type is not that of floats")
        shape = self.given.get(node.name) or self._noted(node)
        found = self._seen(index)
        if shape and found and len(shape) == len(found):
            shape = tuple(n or m for n, m in zip(shape, found))
        shape = shape or found
        if not shape and self.missing:
            missing = f"'{self.missing[0]}' is not in {self.weights}"
            raise Unsupported(f"its shape is not known, as the parameter {missing}")
        if not shape:
            raise Unsupported(
                f"the file does not say its shape: give shapes={{'{node.name}': ...}}"
            )
        return shape

    def _noted(self, node: Node) -> Shape:
        """The shape that the symbol has for a variable, () if it has none."""
        text = node.attrs.get("__shape__", "")
        numbers = [int(n) for n in re.findall(r"-?\d{1,10}", text)]
        if len(numbers) > 8 or any(n >= LONGEST_AXIS for n in numbers):
            raise Unsupported(f"its __shape__ is {text[:100]}")
        return tuple(max(n, 0) for n in numbers)

    def _seen(self, index: int) -> Shape:
        """The shape that the weights of what reads a value ask for, () if nothing says it."""
        channels, passed = 0, {index}
        for place, node in enumerate(self.symbol.nodes):
            if not node.inputs or node.inputs[0].node not in passed:
                continue
            array = self._array(node, 1)
            if node.op.startswith("Convolution") and array is not None and array.ndim > 2:
                group = node.attrs.get("num_group", "1")
                count = array.shape[1] * (int(group) if re.fullmatch(r"\d{1,6}", group) else 1)
                return (0, count, *(0,) * (array.ndim - 2))
            if node.op == "Deconvolution" and array is not None and array.ndim > 2:
                return (0, array.shape[0], *(0,) * (array.ndim - 2))
            if node.op == "FullyConnected" and array is not None and array.ndim == 2:
                flat = channels in (0, array.shape[1])
                return (0, array.shape[1]) if flat else (0, channels, 0, 0)
            if node.op.startswith("BatchNorm") and array is not None:
                channels = channels or array.size
            if _PASSING.fullmatch(node.op):
                passed.add(place)
        return ()

    def _array(self, node: Node, place: int) -> Array | None:
        """The parameter that an input is, as the file has it."""
        if place < len(node.inputs):
            name = self.symbol.nodes[node.inputs[place].node].name
        else:
            rule = _RULES.get(node.op)
            role = rule.parameter(place) if rule else ""
            name = f"{node.name}_{role}" if role else ""
        return self._array_of(name)

    def _array_of(self, name: str) -> Array | None:
        array = self.arrays.get(name)
        return under_other_names(self.arrays, name) if array is None else array

    def _node(self, index: int, node: Node) -> None:
        rule = _RULES.get(node.op)
        entries = list(node.inputs)
        outputs = [self._name(Entry(index, k)) for k in range(self.results[index])]
        used = [name for e in entries if (name := self._name(e)) in self.made]
        with self.attempt(node.op, node.name, used, outputs):
            if rule is None:
                raise MissingOperator("the operator is not supported" + _instead(node.op))
            for entry in entries:
                if entry.place >= self.results[entry.node]:
                    of = self.symbol.nodes[entry.node]
                    raise Unsupported(f"reads result {entry.place} of '{of.name}' ({of.op})")
            self._translate(rule, node, entries, outputs)
        self.made.update(outputs)
        self.graph.layers.append(Layer(node.name, node.op, outputs))

    def _translate(
        self, rule: Rule, node: Node, entries: Sequence[Entry], outputs: list[str]
    ) -> None:
        inputs = []
        for place, entry in enumerate(entries):
            role = rule.parameter(place)
            name = self._name(entry)
            if role == "label":
                continue
            if not role and self.symbol.nodes[entry.node].op == _VARIABLE:
                self._as_value(name)
            inputs.append(name)
        names = rule.inputs + rule.aux
        for role in names[len(entries) :]:  # states, that 0.8 did not list
            if role in rule.aux:
                inputs.append(f"{node.name}_{role}")
        for name in inputs:
            if name in self.failed:
                raise Unsupported("")
        call = Call(self, node, inputs, outputs, lambda place: self._parameter(inputs[place]))
        call.by(rule.translate)
        call.done()

    def _as_value(self, name: str) -> None:
        """A parameter that is computed with as any value is."""
        if (
            name not in self.shapes
            and name not in self.graph.initializers
            and name not in self.failed
        ):
            self.graph.initializers[name] = self._parameter(name)

    def _parameter(self, name: str) -> Array:
        array = self._array_of(name)
        if array is None:
            raise Unsupported(f"its parameter '{name}' is not in {self.weights}")
        return np.asarray(array, np.float32) if array.dtype.kind in "fb" else array


def _instead(op: str) -> str:
    return next((text for pattern, text in _INSTEAD if re.fullmatch(pattern, op)), "")
