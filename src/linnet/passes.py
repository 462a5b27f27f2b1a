"""Rewriting an imported graph to the canonical operators, the only ones the core knows.

`canonicalize` runs PASSES in order. `lower` goes through the nodes once, in execution order, and
does all that needs shapes or constants; the small passes after it match patterns. Between them live
two operators that are not ONNX: "Affine" multiplies every channel (axis 1) by attribute `scale` and
adds `shift`, both float64 [C]; "ZeroPad" puts attribute `pads` [top, left, bottom, right] zeros
around an image. `shape` is their input's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .core import build, infer_shape
from .graph import LONGEST_AXIS, UNSUPPORTED, Array, Graph, Names, Node, Shape


class _Refusal(Exception):
    """Why a node has no canonical form."""


class _Batch:
    """The batch size in computed shapes: a number nobody knows, so arithmetic with it fails."""

    def __repr__(self) -> str:
        return "batch"


BATCH = _Batch()


def canonicalize(graph: Graph) -> Graph:
    """The canonical form of an imported graph; a canonical graph stays as it is.

    ValueError lists every node that has none, with the reason.
    """
    graph = replace(graph, nodes=[replace(node, attrs=dict(node.attrs)) for node in graph.nodes])
    graph = remove_unused(graph)
    _raise(graph, graph.sort())
    with np.errstate(all="ignore"):  # what is not finite in the file stays so
        for rewrite in PASSES:
            graph = rewrite(graph)
    build(graph)
    return graph


def _raise(graph: Graph, problems: Sequence[str]) -> None:
    if not problems:
        return
    where = f"{graph.source}: " if graph.source else ""
    if len(problems) == 1:
        raise ValueError(where + problems[0])
    shown = [f"\n  {problem}" for problem in problems[:100]]
    if len(problems) > 100:
        shown.append(f"\n  and {len(problems) - 100} more")
    raise ValueError(f"{where}{len(problems)} problems{''.join(shown)}")


def remove_unused(graph: Graph) -> Graph:
    """Drop the nodes and initializers no output depends on; initializers in the order of use."""
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    needed: set[str] = set()
    pending = list(graph.outputs)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            if name in producers:
                pending += producers[name].inputs
    nodes = [node for node in graph.nodes if needed.intersection(node.outputs) - {""}]
    read = [name for node in nodes for name in node.inputs]
    read += graph.outputs
    constants = graph.initializers
    used = {name: constants[name] for name in read if name in constants}
    return replace(graph, nodes=nodes, initializers=used)


# --- lower ----------------------------------------------------------------------------------------


def lower(graph: Graph) -> Graph:
    """Canonical operators, Affine and ZeroPad only; constants folded, padding explicit."""
    lowering = _Lowering(graph)
    for node in graph.nodes:
        lowering.visit(node)
    lowering.connect_outputs()
    _raise(graph, lowering.problems)
    return replace(graph, nodes=lowering.nodes, initializers=lowering.constants)


class _Call:
    """One node being lowered; hands out its attributes and notices those nobody asked for."""

    def __init__(self, node: Node, inputs: list[str]) -> None:
        self.node = node
        self.inputs = inputs
        self.output = node.outputs[0]
        self._attrs = dict(node.attrs)

    def input(self, index: int) -> str:
        """Name of an input, "" if it is absent."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def attribute(self, name: str, default: Any) -> Any:
        """An int, float or str attribute, of the type of its default."""
        value = self._attrs.pop(name, default)
        if isinstance(value, int) and isinstance(default, float):
            value = float(value)
        if not isinstance(value, type(default)):
            raise _Refusal(f"attribute '{name}' is not of type {type(default).__name__}")
        return value

    def ints(self, name: str, default: list[int] | None) -> list[int]:
        """A list of integers as long as `default`; None: two, and it has to be there."""
        value = self._attrs.pop(name, default)
        length = 2 if default is None else len(default)
        if value is None:
            raise _Refusal(f"attribute '{name}' is missing")
        if (
            not isinstance(value, list)
            or not all(isinstance(item, int) for item in value)
            or len(value) != length
        ):
            raise _Refusal(
                f"attribute '{name}' is {value!r}, expected {length} integers "
                "(only 2-D windows are supported)"
            )
        return value

    def skip(self, *names: str) -> None:
        """These make no difference."""
        for name in names:
            self._attrs.pop(name, None)

    def finish(self, most_inputs: int) -> None:
        if self._attrs:
            raise _Refusal(f"attribute '{min(self._attrs)}' is not supported")
        if len(self.inputs) > most_inputs:
            raise _Refusal(f"has {len(self.inputs)} inputs, at most {most_inputs} are expected")


class _Lowering:
    """The state of `lower`: what is known so far about every value of the source graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.problems: list[str] = []
        self.constants: dict[str, Array] = dict(graph.initializers)
        self.shapes: dict[str, Shape] = {
            value.name: (0, *value.shape[1:]) for value in graph.inputs
        }
        self.batches = {value.shape[0] for value in graph.inputs} - {0}  # sizes the file declares
        self.alias: dict[str, str] = {}
        self.failed: set[str] = set()  # values that depend on a problem already reported
        self.used = Counter(name for node in graph.nodes for name in node.inputs)
        self.used.update(graph.outputs)
        self.names = graph.names()
        self.derived: dict[tuple[str, str], str] = {}
        for name, shape in self.shapes.items():
            if max(shape) >= LONGEST_AXIS:
                self.problems.append(f"input '{name}' is too large: {_text(shape)}")
                self.failed.add(name)
        # What folding may allocate: small files must not grow into large arrays.
        self.budget = 8 * sum(array.nbytes for array in self.constants.values()) + (16 << 20)

    def visit(self, node: Node) -> None:
        inputs = [self.alias.get(name, name) for name in node.inputs]
        while inputs and not inputs[-1]:
            inputs.pop()
        try:
            rule = _RULES.get(node.op)
            if node.op == UNSUPPORTED and node.attrs["reason"]:
                raise _Refusal(node.attrs["reason"])
            if rule is None and node.op not in (*_FOLD, UNSUPPORTED):
                raise _Refusal("the operator is not supported")
            if self.failed.intersection(inputs) or node.op == UNSUPPORTED:
                self.failed.update(node.outputs)
                return
            if not node.outputs[0] or any(name and self.used[name] for name in node.outputs[1:]):
                raise _Refusal("only its first output is supported")
            call = _Call(node, inputs)
            if (
                node.op in _FOLD
                and inputs
                and all(name in self.constants for name in inputs if name)
            ):
                self.fold(call)
            elif rule:
                rule(self, call)
            else:
                raise _Refusal("is supported for constants only")
        except _Refusal as reason:
            self.problems.append(f"{node}: {reason}")
            self.failed.update(node.outputs)

    def fold(self, call: _Call) -> None:
        required = call.inputs[:3] if call.node.op == "Slice" else call.inputs
        if "" in required:
            raise _Refusal("an input is missing")
        arguments = [self.constants[name] if name else None for name in call.inputs]
        try:
            self.constants[call.output] = _plain(_FOLD[call.node.op](self, call, *arguments))
        except (TypeError, ValueError, IndexError, ArithmeticError) as error:
            raise _Refusal(f"cannot be computed from its constants ({error})") from None

    def spend(self, elements: int, itemsize: int = 8) -> None:
        self.budget -= abs(elements) * itemsize
        if self.budget < 0:
            raise _Refusal("computing its constants would need far more memory than the file has")

    def shape(self, name: str) -> Shape:
        """Shape of an activation."""
        if name in self.shapes:
            return self.shapes[name]
        if not name:
            raise _Refusal("an input is missing")
        raise _Refusal(f"input '{name}' is a constant")

    def constant(self, name: str, what: str) -> Array:
        if not name:
            raise _Refusal(f"its {what} is missing")
        if name not in self.constants:
            raise _Refusal(f"its {what} '{name}' is computed, only constants are supported")
        return self.constants[name]

    def numbers(self, name: str, what: str) -> Array:
        """A constant of real numbers."""
        array = self.constant(name, what)
        if array.dtype.kind not in "fiu":
            raise _Refusal(f"its {what} '{name}' is not numeric")
        return array

    def integers(self, name: str, what: str) -> list[int]:
        """A constant vector of integers."""
        array = self.constant(name, what)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise _Refusal(f"its {what} '{name}' is not a vector of integers")
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
            self.spend(array.size, 4)
            array = array.astype(np.float32, order="C")
            if compute is not None:
                array = np.ascontiguousarray(compute(array))
            self.derived[key] = self.add_constant(f"{name}.{change or 'dense'}", array)
        return self.derived[key]

    def add_constant(self, name: str, array: Array) -> str:
        name = self.names.fresh(name)
        self.constants[name] = array
        return name

    def emit(
        self,
        call: _Call,
        op: str,
        inputs: list[str],
        attrs: dict[str, Any] | None = None,
        step: str = "",
    ) -> str:
        """Append a node and return its output: `call`'s or, if it is not the last, named `step`."""
        attrs = attrs or {}
        if op in ("Affine", "ZeroPad"):
            shape = attrs["shape"] = self.shape(inputs[0])
            if op == "ZeroPad":
                top, left, bottom, right = attrs["pads"]
                shape = (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)
        else:
            given = [
                self.shapes[name] if name in self.shapes else self.constants[name]
                for name in inputs
            ]
            try:
                shape = infer_shape(op, attrs, given)
            except ValueError as error:
                raise _Refusal(str(error).partition(": ")[2]) from None
        if max(shape) >= LONGEST_AXIS:
            raise _Refusal(f"its output is too large: {_text(shape)}")
        output = self.names.fresh(f"{call.output}.{step}") if step else call.output
        name = f"{call.node.name}.{step}" if step else call.node.name
        self.nodes.append(Node(op, name, inputs, [output], attrs))
        self.shapes[output] = shape
        return output

    def reshape(self, call: _Call, x: str, target: Shape, step: str = "") -> str:
        """`x` with new axes after the batch: an alias, a Flatten or a Reshape."""
        old = self.shape(x)
        if math.prod(old[1:]) != math.prod(target[1:]) or 0 in target[1:]:
            raise _Refusal(f"{_text(old)} cannot become {_text(target)}")
        if old == target:
            if not step:
                self.alias[call.output] = x
            return x
        if len(target) == 2:
            return self.emit(call, "Flatten", [x], {"axis": 1}, step)
        names = [f"{call.output}.{step}.shape" if step else f"{call.output}.shape"]
        if call.node.op == "Reshape":
            names.insert(0, call.input(1))
        return self.emit(call, "Reshape", [x, self.target(target, *names)], {}, step)

    def target(self, shape: Shape, *names: str) -> str:
        """Name of the constant a Reshape needs: one of `names` if it is that, else a new one."""
        array = np.array((0, *shape[1:]), np.int64)
        for name in names:
            known = self.constants.get(name)
            if known is not None and known.dtype == np.int64 and np.array_equal(known, array):
                return name
        return self.add_constant(names[-1], array)

    def connect_outputs(self) -> None:
        """Give every graph output a node of its own that bears its name."""
        renamed: dict[str, str] = {}
        produced = {name for node in self.nodes for name in node.outputs}
        outputs = set(self.graph.outputs)
        for name in self.graph.outputs:
            value = self.alias.get(name, name)
            if name in self.failed:
                if not self.problems:
                    self.problems.append(f"output '{name}' cannot be computed")
                continue
            if value in self.constants:
                self.problems.append(f"output '{name}' is a constant")
            elif value in produced and value not in outputs and value not in renamed:
                renamed[value] = name
            elif value != name:  # an input, or an output under a second name: copy it
                target = self.target(self.shapes[value], f"{name}.shape")
                self.nodes.append(Node("Reshape", name, [value, target], [name], {}))
            elif value not in produced:
                self.problems.append(f"output '{name}' is an input")
        for node in self.nodes:
            node.inputs = [renamed.get(name, name) for name in node.inputs]
            node.outputs = [renamed.get(name, name) for name in node.outputs]


def _text(shape: Shape) -> str:
    return "x".join(["N", *map(str, shape[1:])])


def _plain(array: Array) -> Array:
    """A vector of objects that holds no batch size any more is a vector of integers again."""
    if array.dtype == object and not any(item is BATCH for item in array.flat):
        return array.astype(np.int64)
    return array


_Rule = Callable[[_Lowering, _Call], None]
_RULES: dict[str, _Rule] = {}


def _rule(*operators: str) -> Callable[[_Rule], _Rule]:
    def register(rule: _Rule) -> _Rule:
        _RULES.update((operator, rule) for operator in operators)
        return rule

    return register


def _window(low: _Lowering, call: _Call, kernel: list[int]) -> dict[str, list[int]]:
    """strides, dilations and explicit pads of a convolution or pool."""
    shape = low.shape(call.input(0))
    if len(shape) != 4:
        raise _Refusal(f"its input is {_text(shape)}, only images [N, C, H, W] are supported")
    strides = call.ints("strides", [1, 1])
    dilations = call.ints("dilations", [1, 1])
    pads = call.ints("pads", [0, 0, 0, 0])
    auto_pad = call.attribute("auto_pad", "NOTSET")
    if not 1 <= min(strides + dilations) <= max(strides + dilations + kernel) < LONGEST_AXIS:
        raise _Refusal(f"kernel {kernel}, strides {strides} and dilations {dilations} do not fit")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = [], []
        for size, k, stride, dilation in zip(shape[2:], kernel, strides, dilations):
            covered = (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1
            total = max(covered - size, 0)
            small = total // 2
            begin.append(small if auto_pad == "SAME_UPPER" else total - small)
            end.append(total - begin[-1])
        pads = begin + end
    elif auto_pad == "VALID":
        pads = [0, 0, 0, 0]
    elif auto_pad != "NOTSET":
        raise _Refusal(f"auto_pad is {auto_pad!r}")
    return {"strides": strides, "pads": pads, "dilations": dilations}


@_rule("Conv")
def _conv(low: _Lowering, call: _Call) -> None:
    weights = low.numbers(call.input(1), "weight")
    if weights.ndim != 4:
        raise _Refusal(
            f"its weight has shape {list(weights.shape)}, only 2-D convolutions are supported"
        )
    kernel = list(weights.shape[2:])
    if call.ints("kernel_shape", kernel) != kernel:
        raise _Refusal(f"kernel_shape does not match the weight {list(weights.shape)}")
    attrs: dict[str, Any] = {"kernel_shape": kernel, **_window(low, call, kernel)}
    attrs["group"] = call.attribute("group", 1)
    call.finish(3)
    inputs = [call.input(0), low.weight(call.input(1), "weight")]
    if call.input(2):
        inputs.append(low.weight(call.input(2), "bias"))
    low.emit(call, "Conv", inputs, attrs)


@_rule("MaxPool", "AveragePool")
def _pool(low: _Lowering, call: _Call) -> None:
    kernel = call.ints("kernel_shape", None)
    attrs: dict[str, Any] = {"kernel_shape": kernel, **_window(low, call, kernel)}
    attrs["ceil_mode"] = call.attribute("ceil_mode", 0)
    if call.node.op == "MaxPool":
        call.skip("storage_order")  # matters to the second output only
    else:
        if attrs.pop("dilations") != [1, 1]:
            raise _Refusal("dilated average pooling is not supported")
        include = call.attribute("count_include_pad", 0)
        attrs["count_include_pad"] = include if any(attrs["pads"]) else 0
    call.finish(1)
    low.emit(call, call.node.op, [call.input(0)], attrs)
    if attrs["ceil_mode"] == 1:
        # Where rounding up changes nothing, say so: ONNX before opset 22 is vague about the
        # windows it drops.
        given = [low.shape(call.input(0))]
        if infer_shape(call.node.op, {**attrs, "ceil_mode": 0}, given) == low.shapes[call.output]:
            attrs["ceil_mode"] = 0


@_rule("GlobalAveragePool", "GlobalMaxPool", "Relu")
def _plain_operator(low: _Lowering, call: _Call) -> None:
    call.finish(1)
    low.shape(call.input(0))
    low.emit(call, call.node.op, [call.input(0)])


@_rule("ReduceMean")
def _reduce_mean(low: _Lowering, call: _Call) -> None:
    keep = call.attribute("keepdims", 1)
    call.skip("noop_with_empty_axes")
    call.finish(2)
    shape = low.shape(call.input(0))
    axes = sorted(_axis(axis, len(shape)) for axis in low.integers(call.input(1), "list of axes"))
    if len(shape) != 4 or axes != [2, 3]:
        raise _Refusal(
            f"the mean of {_text(shape)} over axes {axes} is not supported, "
            "only over height and width"
        )
    if keep:
        low.emit(call, "GlobalAveragePool", [call.input(0)])
    else:
        mean = low.emit(call, "GlobalAveragePool", [call.input(0)], step="mean")
        low.reshape(call, mean, shape[:2])


@_rule("Gemm", "MatMul")
def _fully_connected(low: _Lowering, call: _Call) -> None:
    gemm = call.node.op == "Gemm"
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    turned = bool(call.attribute("transB", 0))
    if call.attribute("transA", 0):
        raise _Refusal("transA=1 is not supported")
    call.finish(3 if gemm else 2)
    x, matrix = low.shape(call.input(0)), low.numbers(call.input(1), "second factor")
    if len(x) != 2 or matrix.ndim != 2:
        found = f"{_text(x)} times {list(matrix.shape)}"
        raise _Refusal(f"{found} is not supported, only [N, C] times a matrix")
    if turned and alpha == 1:
        weight = low.weight(call.input(1), "weight")
    else:
        change = ("" if turned else "T") + ("" if alpha == 1 else f"x{alpha}")
        a = np.float32(alpha)
        weight = low.weight(call.input(1), "weight", change, lambda w: a * (w if turned else w.T))
    inputs = [call.input(0), weight]
    bias = call.input(2)
    if bias and beta != 0:
        outputs = matrix.shape[0] if turned else matrix.shape[1]
        shape = low.numbers(bias, "bias").shape
        if shape not in ((outputs,), (1, outputs), (1,), (), (1, 1)):
            raise _Refusal(f"its bias has shape {list(shape)}, expected {outputs} values")
        if shape != (outputs,) or beta != 1:
            low.spend(outputs, 4)
            b = np.float32(beta)
            change = f"x{beta}to{outputs}"
            bias = low.weight(
                bias, "bias", change, lambda c: np.broadcast_to(b * c.ravel(), outputs)
            )
        inputs.append(low.weight(bias, "bias"))
    low.emit(call, "Gemm", inputs, {"transB": 1})


@_rule("Add", "Sub", "Mul", "Div")
def _arithmetic(low: _Lowering, call: _Call) -> None:
    call.finish(2)
    x, y = call.input(0), call.input(1)
    op = call.node.op
    if op in ("Add", "Mul") and x in low.constants:
        x, y = y, x
    shape = low.shape(x)
    if y not in low.constants:
        if op != "Add":
            raise _Refusal("of two computed values is not supported")
        if len(low.shape(y)) != len(shape):
            raise _Refusal(f"of {_text(shape)} and {_text(low.shape(y))} is not supported")
        try:
            low.emit(call, "Add", [x, y])
        except _Refusal:
            low.emit(call, "Add", [y, x])  # the second one is broadcast to the first
        return
    array = low.numbers(y, "constant")
    dims = array.shape
    if len(dims) >= len(shape) > 0 and math.prod(dims[: len(dims) - len(shape) + 1]) == 1:
        dims = dims[len(dims) - len(shape) + 1 :]  # leading ones, the batch axis included
    if len(dims) >= len(shape):
        raise _Refusal(
            f"the constant {list(array.shape)} has a batch axis, or more axes than {_text(shape)}"
        )
    channels = shape[1] if len(shape) > 1 else 0
    if channels and (array.size == 1 or dims == (channels,) + (1,) * (len(shape) - 2)):
        low.spend(2 * channels)
        values = np.broadcast_to(array.astype(np.float64).ravel(), channels)
        if op == "Div":
            values = 1 / values
            if not np.isfinite(values).all():
                raise _Refusal(f"divides by '{y}', which holds zeros")
        scale = values if op in ("Mul", "Div") else np.ones(channels)
        shift = np.zeros(channels) if op in ("Mul", "Div") else values if op == "Add" else -values
        low.emit(call, "Affine", [x], {"scale": scale, "shift": shift})
    elif op in ("Add", "Sub"):
        change = ("minus" if op == "Sub" else "plus") + "x".join(map(str, dims))
        sign = -1 if op == "Sub" else 1
        plain = op == "Add" and dims == array.shape
        name = low.weight(
            y, "constant", *(() if plain else (change, lambda c: sign * c.reshape(dims)))
        )
        low.emit(call, "Add", [x, name])
    else:
        raise _Refusal(f"the factor {list(array.shape)} is not one per channel of {_text(shape)}")


@_rule("Sum")
def _sum(low: _Lowering, call: _Call) -> None:
    call.finish(len(call.inputs))
    total = call.input(0)
    low.shape(total)
    if len(call.inputs) == 1:
        low.alias[call.output] = total
    for index, name in enumerate(call.inputs[1:], 1):
        low.shape(name)
        step = f"sum{index}" if index + 1 < len(call.inputs) else ""
        total = low.emit(call, "Add", [total, name], step=step)


@_rule("Concat")
def _concat(low: _Lowering, call: _Call) -> None:
    axis = call.attribute("axis", 0)
    call.finish(len(call.inputs))
    if not call.inputs:
        raise _Refusal("has no inputs")
    shapes = [low.shape(name) for name in call.inputs]
    if _axis(axis, len(shapes[0])) == 0:
        raise _Refusal("over the batch is not supported")
    if len(shapes) == 1:
        low.alias[call.output] = call.input(0)
    else:
        low.emit(call, "Concat", call.inputs, {"axis": _axis(axis, len(shapes[0]))})


@_rule("BatchNormalization")
def _batch_normalization(low: _Lowering, call: _Call) -> None:
    epsilon = call.attribute("epsilon", 1e-5)
    if call.attribute("training_mode", 0):
        raise _Refusal("training_mode=1 is not supported")
    call.skip("momentum")
    call.finish(5)
    shape = low.shape(call.input(0))
    parameters = []
    for index, what in enumerate(("scale", "bias", "mean", "variance"), 1):
        array = low.numbers(call.input(index), what)
        if len(shape) < 2 or array.shape != (shape[1],):
            raise _Refusal(f"its {what} has shape {list(array.shape)}, its input {_text(shape)}")
        parameters.append(array.astype(np.float64))
    scale, bias, mean, variance = parameters
    if not (variance + epsilon > 0).all():
        raise _Refusal("variance + epsilon is not positive everywhere")
    low.spend(4 * shape[1])
    scale = scale / np.sqrt(variance + epsilon)
    low.emit(call, "Affine", [call.input(0)], {"scale": scale, "shift": bias - mean * scale})


@_rule("Softmax")
def _softmax(low: _Lowering, call: _Call) -> None:
    shape = low.shape(call.input(0))
    axis = _axis(call.attribute("axis", -1), len(shape))
    coerce = call.attribute("coerce", 0)
    call.finish(1)
    if axis == 0:
        raise _Refusal("over the batch is not supported")
    if not coerce or math.prod(shape[axis + 1 :]) == 1:
        low.emit(call, "Softmax", [call.input(0)], {"axis": axis})
        return
    flat = low.reshape(call, call.input(0), (*shape[:axis], math.prod(shape[axis:])), "flat")
    y = low.emit(call, "Softmax", [flat], {"axis": axis}, "softmax")
    low.reshape(call, y, shape)


@_rule("Flatten")
def _flatten(low: _Lowering, call: _Call) -> None:
    shape = low.shape(call.input(0))
    axis = call.attribute("axis", 1)
    call.finish(1)
    axis = len(shape) if axis == len(shape) else _axis(axis, len(shape))
    if axis == 0 or math.prod(shape[1:axis]) != 1:
        raise _Refusal(f"axis {axis} of {_text(shape)} would join the batch with other axes")
    low.reshape(call, call.input(0), (0, math.prod(shape[1:])))


@_rule("Reshape")
def _reshape(low: _Lowering, call: _Call) -> None:
    literal_zero = call.attribute("allowzero", 0)
    call.finish(2)
    shape = low.shape(call.input(0))
    target = low.constant(call.input(1), "target shape")
    if target.ndim != 1 or target.dtype.kind not in "iO" or not 1 <= target.size <= 8:
        raise _Refusal("its target shape is not a vector of 1 to 8 integers")
    wanted: list[Any] = target.tolist()
    for index, size in enumerate(wanted):
        if size is not BATCH and size == 0:
            if literal_zero or index >= len(shape):
                raise _Refusal(f"target {wanted} of {_text(shape)} has an axis of 0")
            wanted[index] = shape[index] if index else BATCH
    first, rest = wanted[0], wanted[1:]  # the first has to be the batch
    mixes = (
        f"target {wanted} of {_text(shape)} would join the batch with other axes or fix its size"
    )
    if any(size is BATCH for size in rest) or rest.count(-1) > 1 or min(rest, default=1) < -1:
        raise _Refusal(mixes)
    if first is not BATCH and first < -1:
        raise _Refusal(mixes)
    count, known = math.prod(shape[1:]), math.prod(size for size in rest if size != -1)
    if -1 in rest:
        # The batch may only be written as a number if it is the file's own.
        if (first is not BATCH and {first} != low.batches) or known < 1 or count % known:
            raise _Refusal(mixes)
        rest[rest.index(-1)] = count // known
    elif known != count:
        raise _Refusal(mixes)
    low.reshape(call, call.input(0), (0, *rest))


@_rule("Squeeze")
def _squeeze(low: _Lowering, call: _Call) -> None:
    call.finish(2)
    shape = low.shape(call.input(0))
    if not call.input(1):
        raise _Refusal("needs a list of axes, since the batch may be 1")
    axes = {_axis(axis, len(shape)) for axis in low.integers(call.input(1), "list of axes")}
    if any(axis == 0 or shape[axis] != 1 for axis in axes):
        raise _Refusal(f"axes {sorted(axes)} of {_text(shape)} cannot be dropped")
    low.reshape(call, call.input(0), tuple(n for axis, n in enumerate(shape) if axis not in axes))


@_rule("Unsqueeze")
def _unsqueeze(low: _Lowering, call: _Call) -> None:
    call.finish(2)
    shape = low.shape(call.input(0))
    axes = low.integers(call.input(1), "list of axes")
    rank = len(shape) + len(axes)
    new = {_axis(axis, rank) for axis in axes}
    if 0 in new or len(new) != len(axes):
        raise _Refusal(f"axes {axes} cannot be added to {_text(shape)}")
    old = iter(shape)
    low.reshape(call, call.input(0), tuple(1 if axis in new else next(old) for axis in range(rank)))


@_rule("Transpose")
def _transpose(low: _Lowering, call: _Call) -> None:
    shape = low.shape(call.input(0))
    order = call.ints("perm", list(reversed(range(len(shape)))))
    call.finish(1)
    moving = [axis for axis in order if axis == 0 or shape[axis % len(shape)] != 1]
    if sorted(order) != list(range(len(shape))) or order[0] != 0 or moving != sorted(moving):
        raise _Refusal(
            f"order {order} of {_text(shape)} moves data; only axes of size 1 may change places"
        )
    low.reshape(call, call.input(0), tuple(shape[axis] for axis in order))


@_rule("Identity", "Dropout")
def _identity(low: _Lowering, call: _Call) -> None:
    if call.node.op == "Dropout":
        call.skip("seed")
        training = call.input(2)
        if training and low.constant(training, "training_mode").any():
            raise _Refusal("training_mode is set")
    call.finish(3 if call.node.op == "Dropout" else 1)
    low.shape(call.input(0))
    low.alias[call.output] = call.input(0)


@_rule("Cast")
def _cast(low: _Lowering, call: _Call) -> None:
    call.skip("saturate", "round_mode")
    if call.attribute("to", 0) != 1:
        raise _Refusal("activations are float32, other types are not supported")
    call.finish(1)
    low.shape(call.input(0))
    low.alias[call.output] = call.input(0)


@_rule("Pad")
def _pad(low: _Lowering, call: _Call) -> None:
    mode = call.attribute("mode", "constant")
    call.finish(4)
    shape = low.shape(call.input(0))
    rank = len(shape)
    pads = low.integers(call.input(1), "list of pads")
    axes = list(range(rank))
    if call.input(3):
        axes = [_axis(axis, rank) for axis in low.integers(call.input(3), "list of axes")]
    fill = low.numbers(call.input(2), "value") if call.input(2) else np.zeros(())
    if mode != "constant" or fill.size != 1 or fill.item() != 0:
        raise _Refusal("only padding with zeros is supported")
    if rank != 4 or len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise _Refusal(f"pads {pads} do not fit {_text(shape)}, or not an image [N, C, H, W]")
    begin, end = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        begin[axis], end[axis] = pads[index], pads[index + len(axes)]
    if min(pads) < 0 or max(pads) >= LONGEST_AXIS or any(begin[:2] + end[:2]):
        raise _Refusal(f"pads {pads} are negative, or not of height and width")
    if any(pads):
        low.emit(call, "ZeroPad", [call.input(0)], {"pads": begin[2:] + end[2:]})
    else:
        low.alias[call.output] = call.input(0)


@_rule("Shape")
def _shape(low: _Lowering, call: _Call) -> None:
    start, end = call.attribute("start", 0), call.attribute("end", 1 << 31)
    call.finish(1)
    dims = [BATCH, *low.shape(call.input(0))[1:]]
    array = np.empty(len(dims), object)
    array[:] = dims
    low.constants[call.output] = _plain(array[start:end])


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise _Refusal(f"axis {axis} does not exist in {rank} axes")
    return axis % rank


# Folding: NumPy on constants, among them the shapes that exporters compute (objects where the batch
# is part of them). Each function spends from the budget what it may allocate.


def _fold_binary(low: _Lowering, call: _Call, a: Array, b: Array) -> Array:
    call.finish(2)
    low.spend(math.prod(np.broadcast_shapes(a.shape, b.shape)))
    op = call.node.op
    if op == "Add":
        return np.asarray(a + b)
    if op == "Sub":
        return np.asarray(a - b)
    if op == "Mul":
        return np.asarray(a * b)
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if (a < 0).any() or (b <= 0).any():
        raise ValueError("integer division of negative numbers or by zero")
    return np.asarray(a // b)


def _fold_cast(low: _Lowering, call: _Call, x: Array) -> Array:
    call.skip("saturate", "round_mode")
    to = call.attribute("to", 0)
    call.finish(1)
    types = {1: "f4", 6: "i4", 7: "i8", 10: "f2", 11: "f8"}
    if to not in types:
        raise ValueError(f"type {to} is not supported")
    low.spend(x.size)
    return x if x.dtype == object and to in (6, 7) else x.astype(types[to])


def _fold_concat(low: _Lowering, call: _Call, *arrays: Array) -> Array:
    axis = call.attribute("axis", 0)
    call.finish(len(arrays))
    low.spend(sum(array.size for array in arrays))
    return np.concatenate(arrays, axis)


def _fold_constant_of_shape(low: _Lowering, call: _Call, shape: Array) -> Array:
    value = call.attribute("value", np.zeros(1, np.float32))
    call.finish(1)
    low.spend(math.prod(shape.tolist()))
    return np.full(shape.tolist(), value.item())


def _fold_dequantize(
    low: _Lowering, call: _Call, q: Array, scale: Array, zero: Array | None = None
) -> Array:
    axis = call.attribute("axis", 1)
    if call.attribute("block_size", 0):
        raise ValueError("scales of blocks are not supported")
    call.finish(3)
    if q.dtype.kind not in "iu" or scale.dtype != np.float32:
        raise ValueError("only integers with a float32 scale are supported")
    shape = [1] * q.ndim
    if scale.ndim:
        axis = _axis(axis, q.ndim)
        shape[axis] = q.shape[axis]
    low.spend(q.size)
    exact = q.astype(np.int64)
    if zero is not None:
        if zero.dtype != q.dtype or zero.shape != scale.shape:
            raise ValueError("its zero point does not fit")
        exact = exact - zero.astype(np.int64).reshape(shape)
    return exact.astype(np.float32) * scale.reshape(shape)


def _fold_gather(low: _Lowering, call: _Call, data: Array, indices: Array) -> Array:
    axis = call.attribute("axis", 0)
    call.finish(2)
    low.spend(data.size // max(data.shape[axis], 1) * indices.size)
    return np.asarray(np.take(data, indices, axis), data.dtype)


def _fold_reshape(low: _Lowering, call: _Call, x: Array, shape: Array) -> Array:
    if call.attribute("allowzero", 0):
        raise ValueError("allowzero=1 is not supported")
    call.finish(2)
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


def _fold_shape(low: _Lowering, call: _Call, x: Array) -> Array:
    start, end = call.attribute("start", 0), call.attribute("end", 1 << 31)
    call.finish(1)
    return np.array(x.shape[start:end], np.int64)


def _fold_slice(low: _Lowering, call: _Call, x: Array, *vectors: Array | None) -> Array:
    call.finish(5)
    starts, ends, *rest = ([] if v is None else v.tolist() for v in vectors)
    axes, steps = (*rest, [], [])[:2]
    axes = axes or list(range(len(starts)))
    steps = steps or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError("starts, ends, axes and steps differ in length")
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps):
        # ONNX clamps an end far below zero to "before the first", for which slices need None.
        index[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(index)]


def _fold_squeeze(low: _Lowering, call: _Call, x: Array, axes: Array | None = None) -> Array:
    call.finish(2)
    return np.squeeze(x) if axes is None else np.squeeze(x, tuple(axes.tolist()))


def _fold_unsqueeze(low: _Lowering, call: _Call, x: Array, axes: Array) -> Array:
    call.finish(2)
    return np.expand_dims(x, tuple(axes.tolist()))


def _fold_transpose(low: _Lowering, call: _Call, x: Array) -> Array:
    order = call.ints("perm", list(reversed(range(x.ndim))))
    call.finish(1)
    return x.transpose(order)


def _fold_identity(low: _Lowering, call: _Call, x: Array) -> Array:
    call.finish(1)
    return x


_FOLD: dict[str, Callable[..., Array]] = {
    "Add": _fold_binary,
    "Cast": _fold_cast,
    "Concat": _fold_concat,
    "ConstantOfShape": _fold_constant_of_shape,
    "DequantizeLinear": _fold_dequantize,
    "Div": _fold_binary,
    "Gather": _fold_gather,
    "Identity": _fold_identity,
    "Mul": _fold_binary,
    "Reshape": _fold_reshape,
    "Shape": _fold_shape,
    "Slice": _fold_slice,
    "Squeeze": _fold_squeeze,
    "Sub": _fold_binary,
    "Transpose": _fold_transpose,
    "Unsqueeze": _fold_unsqueeze,
}


# --- patterns -------------------------------------------------------------------------------------


def fold_affine(graph: Graph) -> Graph:
    """An Affine disappears in the Affine, Conv or Gemm before it, in float64, if no other node
    reads what lies between.

    Weights that several nodes share stay as they are: folding would make a copy for each.
    """
    users = Counter(name for node in graph.nodes for name in node.inputs)
    users.update(graph.outputs)
    producers: dict[str, Node] = {}
    initializers = dict(graph.initializers)
    names = graph.names()
    nodes = []
    for node in graph.nodes:
        source = producers.get(node.inputs[0])
        folds = node.op == "Affine" and source is not None and users[node.inputs[0]] == 1
        if folds and source and source.op == "Affine":
            scale = node.attrs["scale"]
            source.attrs["scale"] = source.attrs["scale"] * scale
            source.attrs["shift"] = source.attrs["shift"] * scale + node.attrs["shift"]
        elif folds and source and source.op in ("Conv", "Gemm") and users[source.inputs[1]] == 1:
            weight, *bias = source.inputs[1:]
            scale, shift = node.attrs["scale"], node.attrs["shift"]
            if (scale != 1).any():
                array = initializers[weight]
                factors = scale.reshape(-1, *(1,) * (array.ndim - 1))
                initializers[weight] = (array * factors).astype(np.float32)
            if bias:
                shift = shift + scale * initializers[bias[0]]
            if not bias or users[bias[0]] > 1:
                source.inputs[2:] = [names.fresh(f"{source.outputs[0]}.bias")]
            initializers[source.inputs[2]] = shift.astype(np.float32)
        else:
            nodes.append(node)
            producers[node.outputs[0]] = node
            continue
        source.outputs = node.outputs
        producers[node.outputs[0]] = source
    return replace(graph, nodes=nodes, initializers=initializers)


def fold_zero_pad(graph: Graph) -> Graph:
    """A ZeroPad joins the padding of the convolutions and pools that read it where that means
    the same.
    """
    producers = {node.outputs[0]: node for node in graph.nodes}
    for node in graph.nodes:
        pad = producers.get(node.inputs[0])
        if pad is None or pad.op != "ZeroPad":
            continue
        if node.op == "Conv" or _pool_takes_zeros(node, pad, producers.get(pad.inputs[0])):
            node.attrs["pads"] = [a + b for a, b in zip(node.attrs["pads"], pad.attrs["pads"])]
            node.inputs[0] = pad.inputs[0]
            if node.op == "AveragePool":
                node.attrs["count_include_pad"] = 1
    return remove_unused(graph)


def _pool_takes_zeros(pool: Node, pad: Node, source: Node | None) -> bool:
    if pool.op not in ("AveragePool", "MaxPool") or pool.attrs["ceil_mode"]:
        return False
    if pool.op == "AveragePool" and any(pool.attrs["pads"]) and not pool.attrs["count_include_pad"]:
        return False
    # A pool's own padding never wins a maximum; zeros do not either among values that are not
    # negative.
    if pool.op == "MaxPool" and (source is None or source.op != "Relu"):
        return False
    dilations = pool.attrs.get("dilations", [1, 1])
    extents = [(k - 1) * d + 1 for k, d in zip(pool.attrs["kernel_shape"], dilations)]
    sums = [a + b for a, b in zip(pool.attrs["pads"], pad.attrs["pads"])]
    return all(size < extent for size, extent in zip(sums, extents + extents))


def expand(graph: Graph) -> Graph:
    """What is left of Affine and ZeroPad becomes an Add or a convolution of every channel with a
    1x1 kernel.
    """
    initializers = dict(graph.initializers)
    names = graph.names()
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op not in ("Affine", "ZeroPad"):
            nodes.append(node)
            continue
        (x,), (y,) = node.inputs, node.outputs
        shape = node.attrs["shape"]
        channels = shape[1]

        def constant(what: str, array: Array, owner: str = y) -> str:
            name = names.fresh(f"{owner}.{what}")
            initializers[name] = array
            return name

        def reshape(source: str, target: Shape, output: str) -> str:
            wanted = constant("shape", np.array((0, *target[1:]), np.int64))
            nodes.append(Node("Reshape", output, [source, wanted], [output], {}))
            return output

        scale = node.attrs.get("scale", np.ones(channels))
        shift = node.attrs.get("shift", np.zeros(channels))
        if node.op == "Affine" and (scale == 1).all():
            shift = shift.astype(np.float32).reshape(-1, *(1,) * (len(shape) - 2))
            nodes.append(Node("Add", node.name, [x, constant("shift", shift)], [y], {}))
            continue
        image = len(shape) == 4
        if not image:
            x = reshape(x, (0, channels, math.prod(shape[2:]), 1), names.fresh(f"{y}.image"))
        inputs = [x, constant("scale", scale.astype(np.float32).reshape(-1, 1, 1, 1))]
        if shift.any():
            inputs.append(constant("shift", shift.astype(np.float32)))
        attrs = {
            "kernel_shape": [1, 1],
            "strides": [1, 1],
            "pads": node.attrs.get("pads", [0, 0, 0, 0]),
            "dilations": [1, 1],
            "group": channels,
        }
        output = y if image else names.fresh(f"{y}.scaled")
        nodes.append(Node("Conv", node.name, inputs, [output], attrs))
        if not image:
            reshape(output, shape, y)
    return replace(graph, nodes=nodes, initializers=initializers)


def name_nodes(graph: Graph) -> Graph:
    """Every node gets a name that no other has, if need be its output's."""
    names = Names()
    for node in graph.nodes:
        node.name = names.fresh(node.outputs[0] if node.name in names else node.name)
    return graph


PASSES: list[Callable[[Graph], Graph]] = [
    lower,
    remove_unused,
    fold_affine,
    fold_zero_pad,
    expand,
    remove_unused,
    name_nodes,
]
