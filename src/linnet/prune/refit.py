"""Which channels matter, and weights for those that stay.

What a layer reads is sampled at some places of some images. Channels are ranked by how much their
contributions to the next layers' results can be made up for by those that stay, each times a factor
(He, Zhang, Sun: Channel Pruning for Accelerating Very Deep Neural Networks, 2017; in the order in
which least squares would drop them, as in Hassibi, Stork: Optimal Brain Surgeon, 1993). Weights are
then fitted anew by least squares to the results that the layer had (Luo, Wu, Lin: ThiNet, 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..channels.cut import parameters
from ..graph import Array, Graph, Node

_LEAST, _MOST = 8192, 16384  # rows, that is places of images, a layer is sampled at
_MOST_NUMBERS = 1 << 25  # of one layer's samples
# How much weights like to stay, relative to the mean square of what they are multiplied with.
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


class Sampled(NamedTuple):
    """x: what the weights of a layer are multiplied with [rows, channels, taps]; y: its results
    [rows, K].
    """

    x: Array
    y: Array


class Sampling:
    """Where layers are sampled: the same places of the same images each time.

    images: how many there are.
    """

    def __init__(self, graph: Graph, layers: Mapping[str, Node], images: int) -> None:
        self._graph, self._layers = graph, layers
        self._order = {name: number for number, name in enumerate(layers)}
        self._images = max(images, 1)

    def _places(self, layer: str, sizes: tuple[int, ...]) -> Array:
        """Of each image so many places of the results, as rows and columns."""
        terms = self._graph.initializers[self._layers[layer].inputs[1]][0].size
        rows = min(max(4 * terms, _LEAST), _MOST, max(_MOST_NUMBERS // terms, 1))
        count = min(-(-rows // self._images), int(np.prod(sizes)))
        random = np.random.default_rng(self._order[layer])
        chosen = random.choice(int(np.prod(sizes)), count, replace=False)
        return np.stack(np.unravel_index(np.sort(chosen), sizes))

    def patches(self, layer: str, x: Array) -> Array:
        """Of a layer's input, which may have fewer channels than it had: [rows, channels, taps]."""
        node = self._layers[layer]
        if node.op == "Gemm":
            return x[:, :, None]
        w = self._graph.initializers[node.inputs[1]]
        top, left, bottom, right = node.attrs.get("pads") or (0, 0, 0, 0)
        down, across = node.attrs.get("dilations") or (1, 1)
        strides = node.attrs.get("strides") or (1, 1)
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        high = (padded.shape[2] - (w.shape[2] - 1) * down - 1) // strides[0] + 1
        wide = (padded.shape[3] - (w.shape[3] - 1) * across - 1) // strides[1] + 1
        rows, columns = self._places(layer, (high, wide)) * np.array(strides)[:, None]
        taps = [
            padded[:, :, rows + r * down, columns + s * across]
            for r in range(w.shape[2])
            for s in range(w.shape[3])
        ]
        return np.stack(taps, axis=-1).swapaxes(1, 2).reshape(-1, x.shape[1], len(taps))

    def results(self, layer: str, x: Array) -> Array:
        """What the layer makes of such [rows, K]."""
        w, bias = parameters(self._graph, self._layers[layer])
        groups = self._layers[layer].attrs.get("group", 1)
        parts = np.split(x, groups, axis=1)
        filters = np.split(w.reshape(len(w), -1), groups)
        y = [p.reshape(len(x), -1) @ f.T for p, f in zip(parts, filters)]
        return np.concatenate(y, axis=1) + bias


def contributions(w: Array, x: Array, groups: int) -> Array:
    """How alike channels contribute to a layer's results: the sums over rows and results of the
    products of any two channels' parts of them [channels, channels], relative to the results'.
    """
    rows, channels, taps = x.shape
    size = channels // groups
    found = np.zeros((channels, channels))
    for group in range(groups):
        mine = slice(group * size, (group + 1) * size)
        flat = x[:, mine].reshape(rows, -1)
        flat = flat - flat.mean(axis=0)
        filters = w[group * (len(w) // groups) : (group + 1) * (len(w) // groups)]
        filters = filters.reshape(len(filters), -1)
        step = max(1, (1 << 24) // max(flat.shape[1] * taps, 1))
        for begin in range(0, size, step):  # never all pairs of terms at once
            end = min(begin + step, size)
            part = slice(begin * taps, end * taps)
            pairs = (flat[:, part].T @ flat) * (filters[:, part].T @ filters)
            sums = pairs.reshape(end - begin, taps, size, taps).sum(axis=(1, 3))
            found[mine, mine][begin:end] = sums
    return found / max(float(found.sum()), 1e-30)


def ranking(alike: Array) -> Array:
    """Channels in the order in which they go: each time that which the others make up for best.

    alike: sums of `contributions` of all who read them [n, n].
    """
    count = len(alike)
    scale = max(float(np.trace(alike)) / max(count, 1), 1e-30)
    inverse = np.linalg.inv(alike + RIDGES[0] * scale * np.eye(count))
    factors = np.ones(count)
    left = np.ones(count, bool)
    order = []
    for _ in range(count):
        diagonal = np.maximum(np.diag(inverse), 1e-30)
        loss = np.where(left, factors**2 / diagonal, np.inf)
        worst = int(loss.argmin())
        column = inverse[:, worst] / diagonal[worst]
        factors = factors - column * factors[worst]
        inverse = inverse - np.outer(column, inverse[worst])
        left[worst] = False
        order.append(worst)
    return np.array(order)


def refitted(x: Array, y: Array, w: Array, bias: Array) -> tuple[Array, Array]:
    """Weights [K, terms] and biases [K] with which x [rows, terms] gives y [rows, K] as well as it
    can, near to what they were: ridge regression of what is missing. How near, the last rows say,
    which are of other images.
    """
    missing = y - (x @ w.T + bias)
    begin = len(x) - len(x) // 4
    errors = [
        float(np.square(missing[begin:] - x[begin:] @ change - offset).sum())
        for change, offset in _ridges(x[:begin], missing[:begin], RIDGES)
    ]
    ridge = RIDGES[int(np.argmin(errors))] if begin < len(x) else RIDGES[-1]
    ((change, offset),) = _ridges(x, missing, (ridge,))
    return w + change.T, bias + offset


def _ridges(x: Array, y: Array, ridges: Sequence[float]) -> Iterator[tuple[Array, Array]]:
    """Of each the solution [terms, K], and what to add to results [K]."""
    middle, offset = x.mean(axis=0), y.mean(axis=0)
    centred, targets = x - middle, y - offset
    rows, terms = centred.shape
    few = terms <= rows
    gram = (centred.T @ centred if few else centred @ centred.T).astype(np.float64)
    right = (centred.T @ targets if few else targets).astype(np.float64)
    scale = max(float(np.trace(gram)) / max(terms, 1), 1e-30)
    for ridge in ridges:
        solved = np.linalg.solve(gram + ridge * scale * np.eye(len(gram)), right)
        change = solved if few else centred.T @ solved
        yield change, offset - middle @ change


def principal(y: Array) -> tuple[Array, Array]:
    """The directions [K, K] in which results differ, those in which they do most first, and their
    mean [K] (Zhang et al.: Accelerating Very Deep Convolutional Networks, 2015).
    """
    middle = y.mean(axis=0)
    centred = (y - middle).astype(np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return vectors[:, ::-1], middle
