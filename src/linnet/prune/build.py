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
from .refit import Sampled, Sampling, contributions, principal, ranking, refitted
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
        wanted = list(dict.fromkeys(inputs.values()))
        numbers = sum(int(np.prod(structure.couplings.shapes[name])) for name in wanted)
        found: dict[str, list[Array]] = {name: [] for name in layers}
        done = 0
        runner = Runner(structure.graph, numbers)
        for images, values in runner.values(self._samples, self._rows, wanted):
            progress(done, len(self._rows))
            done += images
            for name, value in inputs.items():
                found[name].append(self._sampling.patches(name, values[value]))
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
            changed[layer] = self._fitted(layer, kept, self.sampled[layer].x[:, kept])
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
        for value, group in groupby(touched, key=lambda layer: structure.layers[layer].inputs[0]):
            layers = list(group)
            kept = ~np.isin(structure.inputs[layers[0]], self.removed(state))
            before = self._made(state, changed, [value]).graph
            for layer, x in self._sampled_in(before, value, layers):
                changed[layer] = self._fitted(layer, kept, x)
        return self._made(state, changed)

    def _sampled_in(
        self, graph: Graph, value: str, layers: Sequence[str]
    ) -> Iterator[tuple[str, Array]]:
        """What some layers that read the same value read in a network that computes it."""
        parts: dict[str, list[Array]] = {layer: [] for layer in layers}
        numbers = int(np.prod(self.structure.couplings.shapes[value]))
        if not graph.nodes:  # an input of the network
            yield from ((layer, self.sampled[layer].x) for layer in layers)
            return
        for _, values in Runner(graph, numbers).values(self._samples, self._rows, [value]):
            for layer in layers:
                parts[layer].append(self._sampling.patches(layer, values[value]))
        for layer in layers:
            yield layer, np.concatenate(parts.pop(layer))

    def _readers(self, state: State) -> list[str]:
        """Layers that have less to read, in the order in which they run."""
        gone = self.removed(state)
        return [n for n, classes in self.structure.inputs.items() if np.isin(classes, gone).any()]

    def _fitted(self, layer: str, kept: Array, x: Array) -> Parameters:
        """Parameters of a layer that reads only some of its channels, x; all have their place."""
        node = self.structure.layers[layer]
        w, bias = parameters(self.structure.graph, node)
        groups = node.attrs.get("group", 1)
        shape = w.shape
        parts = np.split(w.reshape(len(w), shape[1], -1), groups)
        mine = np.split(kept, groups)
        targets = np.split(self.sampled[layer].y, groups, axis=1)
        news, biases = [], []
        begin = 0
        for part, keeps, y, b in zip(parts, mine, targets, np.split(bias, groups)):
            terms = x[:, begin : begin + keeps.sum()].reshape(len(x), -1)
            begin += int(keeps.sum())
            flat = part[:, keeps].reshape(len(part), -1)
            fit, offset = refitted(terms, y, flat, b)
            new = np.zeros(part.shape, np.float32)
            new[:, keeps] = fit.reshape(len(part), -1, part.shape[2])
            news.append(new)
            biases.append(offset)
        return np.concatenate(news).reshape(shape), np.concatenate(biases)

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
