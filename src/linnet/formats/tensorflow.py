"""Models of TensorFlow (https://www.tensorflow.org) to a Graph: frozen graphs (`.pb`), the folders
of SavedModels, of TensorFlow 1 and 2, and graphs beside their checkpoint (`.meta`).

A value has the name of its node, `name:1` if it is the second of one; inputs and outputs of a
signature have the names that it gives them. Axes are the file's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..graph import LONGEST_AXIS, Array, Graph
from ..text import listed, short
from . import _schema, _tf_arithmetic, _tf_boxes, _tf_moves, _tf_windows
from ._source import Source
from ._tf_bodies import LOOPS
from ._tf_bundle import Bundle
from ._tf_graph import CALLS, FlatGraph, Op, Ref, dead, ordered
from ._tf_loops import one_turn
from ._tf_op import Blockwise, Step, tensor
from ._tf_proto import TYPES
from ._translator import MissingOperator, Unsupported

_RULES = {**_tf_arithmetic.RULES, **_tf_boxes.RULES, **_tf_moves.RULES, **_tf_windows.RULES}
_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")
_INPUT_TYPES = {1, 3, 4, 5, 6, 9, 10, 19}
# What is run for what it does, as training and its records are: no output of a network.
_ACTIONS = re.compile(
    r"NoOp|Assert|Print\w*|Save\w*|\w*Assign\w*|\w*Summary\w*|(Resource)?(Sparse)?Apply\w*"
)
_TRIVIAL = {"Const", "Identity", *CALLS, *LOOPS}
# Where SpaceToBatchND may be on the way to BatchToSpaceND: each pixel by itself.
_OF_PIXELS = {"Add", "AddV2", "BiasAdd", "FusedBatchNorm", "FusedBatchNormV3", "Identity", "Mul"}
_OF_PIXELS |= {"FusedBatchNormV2", "Relu", "Relu6", "Sub", "Sigmoid", "Tanh", "Elu", "LeakyRelu"}


class _Wanted(NamedTuple):
    """What someone asks for, if anything: a signature, names of values."""

    signature: str
    outputs: Sequence[str]


class _Model:
    """What a file holds: its graph, which tensors go in and come out under which names, and the
    variables' numbers.
    """

    def __init__(self, graph: Any, size: int) -> None:
        self.graph = graph
        names: list[Any] = []
        for function in graph.library.function:
            args = (*function.signature.input_arg, *function.signature.output_arg)
            names += [function.signature.name, *(arg.name for arg in args)]
            names += [text for entry in function.ret for text in (entry.key, entry.value)]
        if not all(isinstance(name, str) for name in names):  # as some protobufs have it
            raise ValueError("a name is not valid UTF-8")
        self.size = size  # bytes
        self.flat = FlatGraph(graph)
        self.inputs: dict[str, str] = {}  # node: name, of a signature
        self.outputs: dict[str, str] = {}  # name: tensor
        self.variables: dict[str, str] = {}  # node: name in the checkpoint
        self.bundle: Bundle | None = None


def read(
    source: Source,
    weights: Source | None = None,
    *,
    stages: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> Graph:
    """The graph of a frozen GraphDef, of a SavedModel with what lies beside it in `variables`, or
    of a MetaGraphDef (NAME.meta) with the checkpoint NAME beside it.

    stages: the signature to take, by default "serving_default" or the only one. outputs: names of
    a signature's outputs, nodes or tensors to end at; what they do not depend on is not looked at.
    ValueError if a file is damaged; what is wrong with single nodes is left in the graph for
    passes.canonicalize to report together.
    """
    data = source.read()
    if len(stages) > 1:
        raise ValueError(f"{source}: only one signature can be had, not {listed(stages)}")
    wanted = _Wanted(next(iter(stages), ""), outputs)
    try:
        if source.suffix == ".meta":
            model = _meta(source, data, wanted)
        else:
            model = _saved(source, data, wanted) or _frozen(source, data, wanted)
        if outputs:
            model.outputs = {name: model.outputs.get(name, name) for name in outputs}
        return _Reader(source, model, bool(outputs)).graph
    except UnicodeDecodeError:
        raise ValueError(f"{source}: a name is not valid UTF-8") from None
    except RecursionError:
        raise ValueError(f"{source}: its messages are nested too deeply") from None
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(source) in text else f"{source}: {text}") from None


def _saved(source: Source, data: bytes, wanted: _Wanted) -> _Model | None:
    """The model in a SavedModel; None if the bytes are none."""
    try:
        saved = _schema.parse(_schema.tensorflow("SavedModel"), data, "")
    except ValueError:
        return None
    graphs = [m for m in saved.meta_graphs if m.HasField("graph_def") and m.graph_def.node]
    if not graphs:
        return None
    meta = next((m for m in graphs if "serve" in m.meta_info_def.tags), graphs[0])
    model = _Model(meta.graph_def, len(data))
    _sign(model, meta, wanted)
    if not model.outputs and not wanted.outputs:
        raise ValueError("has no signature: save it with one, or name its outputs (outputs=)")
    prefix = source.path and source.path.parent / "variables" / "variables"
    _find_variables(model, meta.saver_def.restore_op_name, prefix)
    return model


def _meta(source: Source, data: bytes, wanted: _Wanted) -> _Model:
    """The model in a MetaGraphDef: without a signature, outputs are found as in a GraphDef."""
    what = "not a MetaGraphDef of TensorFlow"
    meta = _schema.parse(_schema.tensorflow("MetaGraphDef"), data, what)
    if not meta.graph_def.node:
        raise ValueError(f"{what} (it has no nodes)")
    model = _Model(meta.graph_def, len(data))
    _sign(model, meta, wanted)
    if not model.outputs and not wanted.outputs:
        _find_outputs(model)
    prefix = source.path and source.path.with_suffix("")
    _find_variables(model, meta.saver_def.restore_op_name, prefix)
    return model


def _sign(model: _Model, meta: Any, wanted: _Wanted) -> None:
    """Give inputs and outputs the names of the wanted signature, if there is any."""
    signatures = {entry.key: entry.value for entry in meta.signature_def if entry.value.outputs}
    signatures.pop("__saved_model_init_op", None)
    key = wanted.signature or "serving_default"
    if not wanted.signature and len(signatures) == 1:
        (key,) = signatures
    if key not in signatures:
        if wanted.signature or (signatures and not wanted.outputs):
            raise ValueError(
                f"has no signature {short(key)}, but {listed(sorted(signatures)) or 'none'}; "
                "choose one (stages=, --stage)"
            )
        return
    for entry in signatures[key].inputs:
        model.inputs[entry.value.name.partition(":")[0]] = entry.key
    for entry in sorted(signatures[key].outputs, key=lambda entry: str(entry.key)):
        model.outputs[entry.key] = entry.value.name


def _find_variables(model: _Model, restore: str, prefix: Path | None) -> None:
    """Which variables are which tensors of the checkpoint at `prefix`, as what restores the graph
    says.
    """
    flat = FlatGraph(model.graph)
    for variable, source_of in flat.assignments(restore.partition(":")[0]):
        value, op = source_of, flat.ops.get(source_of.op)
        while op is not None and op.kind == "Identity" and op.inputs:
            value = op.inputs[0]
            op = flat.ops.get(value.op)
        if op is None or op.kind != "RestoreV2" or len(op.inputs) < 2:
            continue
        names = flat.ops.get(op.inputs[1].op)
        keys = names.attrs["value"].tensor.string_val if names and "value" in names.attrs else ()
        if value.number < len(keys):
            model.variables[variable.op] = keys[value.number].decode()
    if model.variables and prefix is not None:
        if not Path(f"{prefix}.index").is_file():
            old = ", only a checkpoint of version 1, which is not supported"
            also = old if prefix.is_file() else ""
            raise ValueError(f"its variables are missing: there is no {prefix}.index{also}")
        model.bundle = Bundle(prefix)


def _frozen(source: Source, data: bytes, wanted: _Wanted) -> _Model:
    """The model in a GraphDef."""
    what = f"{source}: not a graph of TensorFlow"
    graph = _schema.parse(_schema.tensorflow("GraphDef"), data, what)
    if not graph.node or not all(node.op for node in graph.node):
        raise ValueError(f"{what}, frozen or a SavedModel")
    if wanted.signature:
        raise ValueError(f"a frozen graph has no signatures, so not {short(wanted.signature)}")
    model = _Model(graph, len(data))
    if not wanted.outputs:
        _find_outputs(model)
    return model


def _find_outputs(model: _Model) -> None:
    """What depends on inputs and is read by nothing that computes are the outputs."""
    nodes = [node for node in model.graph.node if not _ACTIONS.fullmatch(node.op)]
    read = {name.partition(":")[0].lstrip("^") for node in nodes for name in node.input}
    fed = _depend_on_inputs(model.graph)
    for node in nodes:
        if node.name not in read and node.name in fed:
            model.outputs[node.name] = node.name
    if not model.outputs:
        raise ValueError("not a network: no node depends on a Placeholder and is read by none")


def _depend_on_inputs(graph: Any) -> set[str]:
    """The names of nodes that a Placeholder has influence on."""
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name.partition(":")[0], []).append(node.name)
    pending = [node.name for node in graph.node if node.op == "Placeholder"]
    found: set[str] = set()
    while pending:
        for reader in readers.get(pending.pop(), ()):
            if reader not in found:
                found.add(reader)
                pending.append(reader)
    return found


def _text(ref: Ref) -> str:
    return ref.op if ref.number == 0 else f"{ref.op}:{ref.number}"


class _Reader(Blockwise):
    """One translation, from the parsed file to `graph`."""

    def __init__(self, source: Source, model: _Model, partial: bool) -> None:
        wanted = model.flat.want(model.outputs.values())
        flat = one_turn(model.flat.ops, wanted)
        ops = ordered(flat)
        super().__init__(source.path.stem if source.path else "", str(source), model.flat.ops)
        self.model = model
        self.alias: dict[Ref, str] = {}
        self.budget = [8 * model.size + (16 << 20)]  # bytes that constants may be filled with
        self.readers = _readers(ops)
        self.made: set[str] = set()  # values so far
        counts = {op.name: 1 for op in ops}
        for ref in [*(ref for op in ops for ref in op.inputs), *wanted]:
            counts[ref.op] = max(counts.get(ref.op, 1), ref.number + 1)
        never, taken = self._branches(ops)
        # Constants first: of some operators more is known by them.
        for op in sorted(ops, key=lambda op: op.kind not in ("Const", *_VARIABLES)):
            if Ref(op.name, 0) in never and Ref(op.name, 1) in never:
                continue
            self._op(op, counts[op.name], taken)
        if partial:
            self.graph.left_out = _left_out(model)
        made = self.graph.names()
        for key, ref in zip(model.outputs, wanted):
            self._output(key, ref, key in made)
        self.graph.aliases = {_text(ref): name for ref, name in self.alias.items()}

    def _branches(self, ops: Sequence[Op]) -> tuple[set[Ref], Mapping[str, int]]:
        if not any(op.kind == "Switch" for op in ops):
            return set(), {}
        flags = {}
        for op in ops:
            proto = op.attrs["value"].tensor if op.kind == "Const" and "value" in op.attrs else None
            if proto is not None and proto.dtype == 10:
                flags[op.name] = tensor(proto, self.budget)
        return dead(ops, flags)

    def name(self, ref: Ref) -> str:
        if ref in self.alias:
            return self.alias[ref]
        return _text(ref)

    def _op(self, op: Op, count: int, taken: Mapping[str, int]) -> None:
        outputs = [self.name(Ref(op.name, index)) for index in range(min(count, 1 << 10))]
        if op.kind == "Switch" and op.inputs:
            self.alias.update((Ref(op.name, i), self.name(op.inputs[0])) for i in range(2))
            return
        if op.kind == "Merge" and op.name in taken:
            self.alias[Ref(op.name, 0)] = self.name(op.inputs[taken[op.name]])
            return
        inputs = [self.name(ref) for ref in op.inputs]
        known = [x for x in inputs if x in self.made]  # all, but in loops
        with self.attempt(op.kind, op.name, known, outputs):
            if op.kind == "Placeholder":
                self._placeholder(op)
            elif op.kind == "Const":
                self._constant(op)
            elif op.kind in _VARIABLES:
                self.graph.initializers[op.name] = self._variable(op)
            else:
                self._rule(op, inputs, outputs)
        self.made.update(outputs)

    def _rule(self, op: Op, inputs: list[str], outputs: list[str]) -> None:
        rule = _RULES.get("Identity" if op.kind == "ReadVariableOp" else op.kind)
        if rule is None:
            raise MissingOperator("the operator is not supported")
        if self.failed.intersection(inputs) or not self.made.issuperset(inputs):
            raise Unsupported("")
        blocks = [self.blocks[x] for x in inputs if x in self.blocks]
        others = [self.shape(x) for x in inputs if x not in self.blocks] if blocks else []
        alike = all(b == blocks[0] for b in blocks) and all(set(s[:-1]) <= {1} for s in others)
        if blocks and op.kind in _OF_PIXELS and alike:
            self.blocks[outputs[0]] = blocks[0]
        elif blocks and rule not in (_tf_windows.conv, _RULES["BatchToSpaceND"]):
            raise Unsupported("is not supported between SpaceToBatchND and BatchToSpaceND")
        step = Step(self, op, inputs, outputs)
        try:
            rule(step)
            step.finish()
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise Unsupported(f"cannot be translated ({error})") from None

    def _placeholder(self, op: Op) -> None:
        code = op.attrs["dtype"].type if "dtype" in op.attrs else 1
        if code not in _INPUT_TYPES:
            raise Unsupported(f"its type {code} is not supported")
        shape = self._given_shape(op)
        if shape is None:
            shape = _guessed_shape(self, op)
        if not shape or len(shape) > 8 or max(shape) >= LONGEST_AXIS:
            raise Unsupported(f"its shape is {shape}, expected a batch and more")
        name = op.name
        key = self.model.inputs.get(op.name)
        if key is not None and key not in self.names:
            self.names.add(key)
            self.alias[Ref(op.name, 0)] = name = key
            self.made.add(key)
        self.input(name, shape, np.dtype(TYPES[code][0]).newbyteorder("="))

    def _given_shape(self, op: Op) -> list[int] | None:
        """What the file says, in which older versions leave it out."""
        value = op.attrs.get("shape")
        if value is None or value.shape.unknown_rank:
            return None
        return [max(dim.size, 0) for dim in value.shape.dim] or None

    def _constant(self, op: Op) -> None:
        if "value" not in op.attrs:
            raise Unsupported("has no value")
        array = tensor(op.attrs["value"].tensor, self.budget)
        if array.dtype != object:
            self.graph.initializers[op.name] = array

    def _variable(self, op: Op) -> Array:
        if self.model.bundle is None or op.name not in self.model.variables:
            raise Unsupported(
                "is a variable without a value: freeze the graph, or give a SavedModel's folder or "
                "the .meta of a checkpoint"
            )
        try:
            return self.model.bundle.read(self.model.variables[op.name])
        except ValueError as error:
            raise Unsupported(str(error)) from None

    def _output(self, key: str, ref: Ref, taken: bool) -> None:
        """What the signature or its node calls the value; or, if another has that name, itself."""
        value = self.name(ref)
        if key != value and not taken:
            self.names.add(key)
            with self.attempt("Identity", key, [value], [key]):
                if value in self.failed:
                    raise Unsupported("")
                self.add(key, "Identity", [value], [key])
            value = key
        self.graph.outputs.append(value)


def _left_out(model: _Model) -> list[str]:
    """Kinds of operators that compute with inputs and that nobody wants."""
    fed = _depend_on_inputs(model.graph)
    left = (n for n in model.graph.node if n.name in fed and n.name not in model.flat.ops)
    return sorted({node.op for node in left if not _ACTIONS.fullmatch(node.op)} - _TRIVIAL)


def _readers(ops: Sequence[Op]) -> dict[str, list[Op]]:
    readers: dict[str, list[Op]] = {}
    for op in ops:
        for ref in op.inputs:
            readers.setdefault(ref.op, []).append(op)
    return readers


_SAME_SHAPE = {
    "Add",
    "AddV2",
    "BiasAdd",
    "Cast",
    "Div",
    "Identity",
    "Mul",
    "RealDiv",
    "Relu",
    "Sub",
}
_SAME_CHANNELS = {"AvgPool", "MaxPool", "MirrorPad", "Pad", "ResizeBilinear"}


def _guessed_shape(reader: _Reader, op: Op) -> list[int]:
    """The shape of an input of which the file says nothing, by the first convolution or product
    that reads it: as many axes, and channels, as that needs.
    """
    pending: list[tuple[str, tuple[int, ...]]] = [(op.name, ())]  # and which axes it got since
    for name, added in pending:  # which grows
        for user in reader.readers.get(name, ()):
            if not user.inputs or user.inputs[0] != Ref(name, 0) or len(pending) > 1000:
                continue
            shape = _wanted_shape(reader, user)
            if shape is not None:
                for axis in reversed(added):
                    if not -len(shape) <= axis < len(shape):
                        raise Unsupported("has no shape, and what reads it is of other axes")
                    del shape[axis]
                return shape
            if user.kind in _SAME_SHAPE | _SAME_CHANNELS:
                pending.append((user.name, added))
            elif user.kind == "ExpandDims" and len(user.inputs) == 2:
                new = reader.value(reader.name(user.inputs[1]))
                if new is not None and new.size == 1:
                    pending.append((user.name, (*added, int(new.item()))))
    raise Unsupported("has no shape, and nothing that reads it tells of one")


def _wanted_shape(reader: _Reader, op: Op) -> list[int] | None:
    """The shape that a convolution or product needs of its first input, 0 where any will do."""
    if op.kind not in ("Conv2D", "DepthwiseConv2dNative", "MatMul") or len(op.inputs) < 2:
        return None
    ref = op.inputs[1]
    while reader.model.flat.ops[ref.op].kind in ("Identity", "ReadVariableOp"):
        ref = reader.model.flat.ops[ref.op].inputs[0]
    weights = reader.value(reader.name(ref))
    if weights is None or weights.ndim != (2 if op.kind == "MatMul" else 4):
        return None
    if op.kind == "MatMul":
        turned = "transpose_b" in op.attrs and op.attrs["transpose_b"].b
        return [0, weights.shape[1 if turned else 0]]
    first = "data_format" in op.attrs and op.attrs["data_format"].s == b"NCHW"
    return [0, weights.shape[2], 0, 0] if first else [0, 0, 0, weights.shape[2]]
