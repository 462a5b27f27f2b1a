"""A network whose layers have the precisions of a scheme: as the ONNX that is written, and as reals
that are rounded to the same numbers, which the float32 core computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from ..graph import ELEMENT_TYPES, Array, Graph, Node
from ..ops.quant import dequantize_linear, quantize
from ..passes.unused import remove_unused
from .calibrate import FINEST, LEVELS, Affine, Calibration
from .scheme import Network, Scheme, Unit

_MOST_BIAS = 2**30  # as an integer: the sum it is added to needs room, too


def written(scheme: Scheme, calibration: Calibration) -> tuple[Graph, dict[str, str]]:
    """The graph with QuantizeLinear and DequantizeLinear around what computes in integers, and of
    every node the layer that it belongs to.

    Weights are int8 behind a DequantizeLinear of axis 0, or float16 behind a Cast; biases of
    integer layers int32, with the scale of the input times that of the weights. A Relu or Clip goes
    where the integers behind it have no others to become.
    """
    writer = _Writer(scheme, calibration)
    graph = writer.graph()
    if scheme.integer:
        graph = remove_unused(_resize_all_axes(graph, scheme.network))
    return graph, writer.owners


def simulated(scheme: Scheme, calibration: Calibration) -> Graph:
    """The graph in float32 whose values are those that the integers of `written` stand for."""
    return _Simulation(scheme, calibration).graph()


def _resize_all_axes(graph: Graph, network: Network) -> Graph:
    """Name no axes in a Resize, where that says the same: ONNX Runtime 1.31, as it changes layouts
    around integers, loses them.
    """
    names = graph.names()
    sources = {node.name: node for node in network.graph.nodes}
    for node in graph.nodes:
        if node.op != "Resize" or node.attrs.get("axes") != [2, 3]:
            continue
        x, y = sources[node.name].inputs[0], sources[node.name].outputs[0]
        before, after = (np.array(network.shapes[name][2:]) for name in (x, y))
        factors = (after / np.maximum(before, 1)).astype(np.float32)
        if before.all() and np.array_equal(np.floor(before * factors), after):
            name = names.fresh(f"{y}.factors")
            graph.initializers[name] = np.array([1, 1, *factors], np.float32)
            node.inputs = [node.inputs[0], "", name]
            node.attrs = {key: v for key, v in node.attrs.items() if key != "axes"}
    return graph


def int8_weights(
    w: Array, bias: Array | None = None, input_scale: float = 0.0
) -> tuple[Array, Array]:
    """Integers and a scale for each index of axis 0, as of ops.quant.quantize; a coarser one where
    the bias, in steps of input_scale * scale, would not fit 32 bits.
    """
    q, scale = quantize(w)
    if bias is None or not input_scale:
        return q, scale
    fitting = np.abs(bias.astype(np.float64)) / (input_scale * _MOST_BIAS)
    least = fitting.clip(FINEST, 1 / FINEST).astype(np.float32)
    coarse = np.flatnonzero(least > scale)
    if len(coarse):
        scale[coarse] = least[coarse]
        rows = w.reshape(len(w), -1)[coarse] / scale[coarse, None]
        q.reshape(len(w), -1)[coarse] = np.rint(rows).astype(np.int8)
    return q, scale


class _Writer:
    def __init__(self, scheme: Scheme, calibration: Calibration) -> None:
        self.scheme, self.calibration = scheme, calibration
        self.source = scheme.network.graph
        self.names = self.source.names()
        self.initializers = dict(self.source.initializers)
        self.nodes: list[Node] = []
        self.owners: dict[str, str] = {}
        self.integers: dict[str, str] = {}  # what stands for a value in integer units
        self._stored: dict[tuple[Any, ...], str] = {}
        self._affine = {
            name: calibration.affine(shared) for name, shared in scheme.sharing().items()
        }

    def graph(self) -> Graph:
        for index, unit in enumerate(self.scheme.network.units):
            self.layer = unit.layer
            precision = self.scheme.precision(unit)
            inputs = list(unit.node.inputs)
            if index in self.scheme.integer:
                inputs = [self._integer(name) if name in unit.inputs else name for name in inputs]
                self._add_integer_unit(unit, inputs)
                continue
            if precision in ("f16", "int8-weights"):
                inputs[1:] = self._weights(unit, precision)
            self._add(unit.node, inputs, unit.node.outputs)
            if unit.limit:
                self._add(unit.limit, unit.limit.inputs, unit.limit.outputs)
        return remove_unused(replace(self.source, nodes=self.nodes, initializers=self.initializers))

    def _add_integer_unit(self, unit: Unit, inputs: list[str]) -> None:
        affine = self._affine[unit.output]
        if unit.kind == "weighted":
            inputs[1:] = self._integer_weights(unit)
        real = self.names.fresh(f"{unit.output}.real")
        limit = unit.limit
        if limit is not None and not affine.saturates(*self._limits(limit)):
            before = unit.node.outputs
            self._add(unit.node, inputs, before)
            self._add(limit, [before[0], *limit.inputs[1:]], [real])
        else:
            self._add(unit.node, inputs, [real])
        self._round(real, unit.output, affine)
        self.integers[unit.output] = unit.output

    def _limits(self, node: Node) -> tuple[float, float]:
        if node.op == "Relu":
            return 0.0, np.inf
        given = [*node.inputs[1:], "", ""]
        low, high = (float(self.source.initializers[n]) if n else np.inf for n in given[:2])
        return (low if given[0] else -np.inf), high

    def _integer(self, name: str) -> str:
        """A value as integer units read it, rounded once for all of them."""
        if name not in self.integers:
            self.integers[name] = self.names.fresh(f"{name}.rounded")
            self._round(name, self.integers[name], self._affine[name])
        return self.integers[name]

    def _add(self, node: Node, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.nodes.append(replace(node, inputs=list(inputs), outputs=list(outputs)))
        self.owners[node.name] = self.layer

    def _new(self, op: str, inputs: Sequence[str], output: str, **attrs: Any) -> None:
        self._add(Node(op, f"{output}.{op}", [], [], attrs), inputs, [output])

    def _constant(self, name: str, array: Array) -> str:
        """A new constant, or the one that has just these numbers under this name."""
        numbers = blake2b(array.tobytes()).digest()
        key = (name, array.dtype.name, array.shape, numbers)
        if key not in self._stored:
            self._stored[key] = self.names.fresh(name)
            self.initializers[self._stored[key]] = array
        return self._stored[key]

    # How a layer's weights and bias are changed, and what is made of them.

    def _float_bias(self, unit: Unit, stored: Array) -> Array:
        """The bias, with what keeps the means of the results where they were."""
        node, constants = unit.node, self.source.initializers
        change = stored.astype(np.float64) - constants[node.inputs[1]]
        bias = -self.calibration.shift(node, change)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = bias + constants[node.inputs[2]]
        return np.asarray(bias.astype(np.float32))

    def _weights(self, unit: Unit, precision: str) -> list[str]:
        """The inputs after the first of a layer that computes in float32."""
        name = unit.node.inputs[1]
        w = self.source.initializers[name]
        if precision == "f16":
            return [self._halves(name, w.astype(np.float16)), *unit.node.inputs[2:]]
        q, scale = int8_weights(w)
        bias = [self._plain_bias(unit, q, scale)] if unit.kind == "weighted" else []
        return [self._int8(name, q, scale), *(bias or unit.node.inputs[2:])]

    def _plain_bias(self, unit: Unit, q: Array, scale: Array) -> str:
        bias = self._float_bias(unit, dequantize_linear(q, scale, axis=0))
        return self._constant(f"{unit.node.name}.bias", bias)

    def _integer_weights(self, unit: Unit) -> list[str]:
        name, x = unit.node.inputs[1], self._affine[unit.inputs[0]]
        w = self.source.initializers[name]
        near = self._float_bias(unit, dequantize_linear(*int8_weights(w), axis=0))
        q, scale = int8_weights(w, near, x.scale)
        bias = self._float_bias(unit, dequantize_linear(q, scale, axis=0))
        steps = (np.float64(x.scale) * scale).astype(np.float32)
        most = np.iinfo(np.int32)
        whole = np.clip(np.rint(bias / steps.astype(np.float64)), most.min, most.max)
        bias_name = f"{unit.node.name}.bias"
        return [
            self._int8(name, q, scale),
            self._int32(bias_name, whole.astype(np.int32), steps),
        ]

    # What differs in a simulation.

    def _round(self, x: str, y: str, affine: Affine) -> None:
        scale = self._constant("scale", np.array(affine.scale, np.float32))
        zero = self._constant("zero", np.array(affine.zero, np.uint8))
        q = self.names.fresh(f"{y}.integers")
        self._new("QuantizeLinear", [x, scale, zero], q)
        self._new("DequantizeLinear", [q, scale, zero], y)

    def _halves(self, name: str, halves: Array) -> str:
        return self._expanded("Cast", f"{name}.f16", [halves], to=ELEMENT_TYPES["float32"])

    def _int8(self, name: str, q: Array, scale: Array) -> str:
        zero = np.zeros(len(scale), np.int8)
        return self._expanded("DequantizeLinear", f"{name}.int8", [q, scale, zero], axis=0)

    def _int32(self, name: str, q: Array, scale: Array) -> str:
        zero = np.zeros(len(scale), np.int32)
        return self._expanded("DequantizeLinear", f"{name}.int32", [q, scale, zero], axis=0)

    def _expanded(self, op: str, name: str, arrays: list[Array], **attrs: Any) -> str:
        """A node that makes a constant of others; once for all who want the same."""
        ends = ("", ".scale", ".zero")
        inputs = [self._constant(f"{name}{end}", array) for end, array in zip(ends, arrays)]
        key = (op, *inputs)
        if key not in self._stored:
            self._stored[key] = self.names.fresh(f"{name}.real")
            self._new(op, inputs, self._stored[key], **attrs)
        return self._stored[key]


class _Simulation(_Writer):
    def _round(self, x: str, y: str, affine: Affine) -> None:
        steps, whole, kept = (self.names.fresh(f"{y}.{n}") for n in ("steps", "whole", "kept"))
        numbers = (affine.scale, -affine.zero, LEVELS - affine.zero)
        scale, least, most = (
            self._constant(f"{y}.number", np.array(n, np.float32)) for n in numbers
        )
        self._new("Div", [x, scale], steps)
        self._new("Round", [steps], whole)
        self._new("Clip", [whole, least, most], kept)
        self._new("Mul", [kept, scale], y)

    def _halves(self, name: str, halves: Array) -> str:
        return self._constant(f"{name}.f16", halves.astype(np.float32))

    def _int8(self, name: str, q: Array, scale: Array) -> str:
        return self._constant(f"{name}.int8", dequantize_linear(q, scale, axis=0))

    def _int32(self, name: str, q: Array, scale: Array) -> str:
        reals = q.astype(np.float64) * scale
        return self._constant(f"{name}.int32", reals.astype(np.float32))
