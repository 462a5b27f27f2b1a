"""Networks with some of their channels, and with layers split: made, and their weights refitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ..channels.cut import Parameters, cut, parameters, with_parameters
from ..graph import Array, Graph, Node
from ..passes.unused import remove_unused
from ..quantize.samples import Runner, Samples
from .refit import UNLIMITED, Sampled, Sampling, contributions, principal, ranking, refitted
from .spaces import Structure

Item = tuple[str, str]  # ("channels", a space's name) or ("rank", a layer's)
State = Mapping[Item, int]  # of each item the level it is cut to, 0 if it is not there


class Built(NamedTuple):
    graph: Graph
    owners: dict[str, str]  # of each node, the layer that it belongs to


class Builder:
    """Makes networks of states.

    samples, rows: what weights are fitted to. progress: called with how many of so many of the rows
    are done.
    """

    def __init__(
        self,
        structure: Structure,
        samples: Samples,
        rows: Sequence[int],
        progress: Callable[[int, int], object],
    ) -> None:
        self.structure, self._samples, self._rows = structure, samples, rows
        self._sampling = Sampling(structure.graph, structure.layers, len(rows))
        self._bases: dict[str, tuple[bytes, Array, Array]] = {}
        self.sampled = self._sample(progress)
        self.orders = self._rank()

    @property
    def items(self) -> list[Item]:
        spaces = [("channels", name) for name in self.structure.spaces]
        return [*spaces, *(("rank", name) for name in self.structure.splits)]

    def _sample(self, progress: Callable[[int, int], object]) -> dict[str, Sampled]:
        layers, structure = self.structure.layers, self.structure
        inputs = {name: node.inputs[0] for name, node in layers.items()}
        beside: dict[str, list[Array]] = {name: [] for name in structure.beside}
        wanted = list(dict.fromkeys([*inputs.values(), *structure.beside.values()]))
        numbers = sum(int(np.prod(structure.couplings.shapes[name])) for name in wanted)
        found: dict[str, list[Array]] = {name: [] for name in layers}
        done = 0
        runner = Runner(structure.graph, numbers)
        for images, values in runner.values(self._samples, self._rows, wanted):
            progress(done, len(self._rows))
            done += images
            for name, value in inputs.items():
                found[name].append(self._sampling.patches(name, values[value]))
            for name, value in structure.beside.items():
                beside[name].append(self._sampling.at_places(name, values[value]))
        self._beside = {name: np.concatenate(parts) for name, parts in beside.items()}
        progress(len(self._rows), len(self._rows))
        sampled = {}
        for name in layers:
            x = np.concatenate(found.pop(name))
            if not np.isfinite(x).all():
                raise ValueError(f"value '{inputs[name]}' has infinities or NaN")
            sampled[name] = Sampled(x, self._sampling.results(name, x))
        return sampled

    def _rank(self) -> dict[str, Array]:
        """Of each space its classes in the order in which they go."""
        structure = self.structure
        sums = {n: np.zeros((len(s.classes),) * 2) for n, s in structure.spaces.items()}
        for layer, node in structure.layers.items():
            mine = [s for s in structure.spaces.values() if layer in s.readers]
            if not mine:
                continue
            w, _ = parameters(structure.graph, node)
            alike = contributions(w, self.sampled[layer].x, node.attrs.get("group", 1))
            for space in mine:
                member = structure.inputs[layer][:, None] == space.classes
                sums[space.name] += member.T @ alike @ member
        return {n: s.classes[ranking(sums[n])] for n, s in structure.spaces.items()}

    # Networks.

    def removed(self, state: State) -> Array:
        """The classes that a state does without."""
        gone = [np.empty(0, np.int64)]
        for name, space in self.structure.spaces.items():
            width = space.width(state.get(("channels", name), 0))
            gone.append(self.orders[name][: len(space.classes) - width])
        return np.concatenate(gone)

    def cut_only(self, state: State) -> Built:
        """With the weights that there were: what takes as long."""
        return self._made(state, {})

    def fitted_alone(self, state: State) -> Built:
        """With weights fitted to what layers read in the whole network."""
        changed = {}
        for layer in self._readers(state):
            kept = ~np.isin(self.structure.inputs[layer], self.removed(state))
            x, y = self.sampled[layer]
            changed[layer] = self._fitted(layer, kept, x[:, kept], y, self._beside.get(layer))
        return self._made(state, changed)

    def fitted(self, state: State) -> Built:
        """With weights fitted layer by layer to what each reads in the network as it is by then:
        those that have less to read, and all behind them, whose inputs are no longer the same.
        """
        changed: dict[str, Parameters] = {}
        structure = self.structure
        layers = list(structure.layers)
        touched = self._readers(state)
        touched = layers[layers.index(touched[0]) :] if touched else []

        def read(layer: str) -> tuple[str, str | None]:
            return structure.layers[layer].inputs[0], structure.beside.get(layer)

        for (value, beside), group in groupby(touched, key=read):
            for layer, x, now in self._sampled_in(state, changed, list(group), value, beside):
                y, added = self.sampled[layer].y, None
                if now is not None:
                    made = ~np.isin(structure.outputs[layer], self.removed(state))
                    added = np.zeros_like(y)
                    added[:, made] = now
                    y = y + np.where(made, self._beside[layer] - added, 0)
                kept = ~np.isin(structure.inputs[layer], self.removed(state))
                changed[layer] = self._fitted(layer, kept, x, y, added)
        return self._made(state, changed)

    def _sampled_in(
        self,
        state: State,
        changed: Mapping[str, Parameters],
        layers: Sequence[str],
        value: str,
        beside: str | None,
    ) -> Iterator[tuple[str, Array, Array | None]]:
        """What some layers that read the same value read in a network as it is by now, and what is
        added to their results there.
        """
        first = any(value == given.name for given in self.structure.graph.inputs)
        names = [name for name in (None if first else value, beside) if name is not None]
        parts: dict[str, list[Array]] = {layer: [] for layer in layers}
        added: dict[str, list[Array]] = {layer: [] for layer in layers}
        if names:
            graph = self._made(state, changed, names).graph
            numbers = sum(int(np.prod(self.structure.couplings.shapes[name])) for name in names)
            for _, values in Runner(graph, numbers).values(self._samples, self._rows, names):
                for layer in layers:
                    if not first:
                        parts[layer].append(self._sampling.patches(layer, values[value]))
                    if beside is not None:
                        added[layer].append(self._sampling.at_places(layer, values[beside]))
        for layer in layers:
            x = self.sampled[layer].x if first else np.concatenate(parts.pop(layer))
            yield layer, x, np.concatenate(added.pop(layer)) if beside is not None else None

    def _readers(self, state: State) -> list[str]:
        """Layers that have less to read, in the order in which they run."""
        gone = self.removed(state)
        return [n for n, classes in self.structure.inputs.items() if np.isin(classes, gone).any()]

    def _fitted(
        self, layer: str, kept: Array, x: Array, y: Array, added: Array | None
    ) -> Parameters:
        """Parameters of a layer that reads only some of its channels, x, and should make y of them,
        to which something is added; all have their place.
        """
        node = self.structure.layers[layer]
        w, bias = parameters(self.structure.graph, node)
        groups = node.attrs.get("group", 1)
        parts = w.reshape(groups, len(w) // groups, w.shape[1], -1)
        ends = [np.broadcast_to(end, y.shape) for end in self._limits(layer, added)]
        sides = [np.split(side, groups, axis=-1) for side in (kept, bias, y, *ends)]
        new = np.zeros(parts.shape, np.float32)
        biases = []
        begin = 0
        for fit, part, keeps, b, target, *limits in zip(new, parts, *sides):
            terms = x[:, begin : begin + keeps.sum()].reshape(len(x), -1)
            begin += int(keeps.sum())
            flat = part[:, keeps].reshape(len(part), -1)
            weights, offset = refitted(terms, target, flat, b, (limits[0], limits[1]))
            fit[:, keeps] = weights.reshape(len(part), -1, part.shape[2])
            biases.append(offset)
        return new.reshape(w.shape), np.concatenate(biases)

    def _limits(self, layer: str, added: Array | None) -> tuple[Array, Array]:
        """Of results, to which something is added."""
        low, high = self.structure.limits.get(layer, UNLIMITED)
        return (np.array(low), np.array(high)) if added is None else (low - added, high - added)

    def _made(
        self, state: State, changed: Mapping[str, Parameters], outputs: Sequence[str] = ()
    ) -> Built:
        structure, gone = self.structure, self.removed(state)
        graph = with_parameters(structure.graph, changed)
        graph = cut(graph, structure.couplings, gone) if gone.size else graph
        owners = dict(structure.owners)
        for layer in structure.splits:
            level = state.get(("rank", layer), 0)
            kept = ~np.isin(structure.outputs[layer], gone)
            rank = structure.rank(layer, level)
            if level and rank < kept.sum():
                vectors, middle = self._principal(layer, kept)
                graph, name = _split(graph, layer, vectors[:, :rank], middle)
                owners[name] = layer
        if outputs:
            graph = remove_unused(replace(graph, outputs=list(outputs)))
        return Built(graph, owners)

    def _principal(self, layer: str, kept: Array) -> tuple[Array, Array]:
        """The directions of some of a layer's results, of the last that were asked for."""
        key = kept.tobytes()
        if self._bases.get(layer, (b"",))[0] != key:
            self._bases[layer] = (key, *principal(self.sampled[layer].y[:, kept]))
        return self._bases[layer][1:]


def _split(graph: Graph, layer: str, basis: Array, middle: Array) -> tuple[Graph, str]:
    """A layer as one with fewer filters and another with sums of their results; the first's name.

    basis: [K, rank]; middle: [K], the mean of the results.
    """
    names = graph.names()
    node_names = {node.name for node in graph.nodes}
    nodes: list[Node] = []
    initializers = dict(graph.initializers)
    low = f"{layer}.low"
    while low in node_names:
        low += "_"
    for node in graph.nodes:
        if node.name != layer:
            nodes.append(node)
            continue
        w, bias = parameters(graph, node)
        value = names.fresh(f"{node.outputs[0]}.low")
        made = [names.fresh(f"{layer}.{part}") for part in ("w1", "b1", "w2", "b2")]
        first = (basis.T @ w.reshape(len(w), -1)).reshape(-1, *w.shape[1:])
        arrays = [first, basis.T @ (bias - middle), basis, middle]
        attrs: dict[str, Any] = {"transB": 1}
        if node.op == "Conv":
            arrays[2] = basis[:, :, None, None]
            attrs = {
                "kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4,
                "dilations": [1, 1], "group": 1,
            }  # fmt: skip
        initializers.update(
            (n, np.ascontiguousarray(array, np.float32)) for n, array in zip(made, arrays)
        )
        nodes.append(replace(node, name=low, inputs=[node.inputs[0], *made[:2]], outputs=[value]))
        nodes.append(Node(node.op, layer, [value, *made[2:]], node.outputs, attrs))
    return remove_unused(replace(graph, nodes=nodes, initializers=initializers)), low
