"""Which channels matter, and weights for those that stay.

What a layer reads is sampled at some places of some images. Channels are ranked by how much their
contributions to the next layers' results can be made up for by those that stay, each times a factor
(He, Zhang, Sun: Channel Pruning for Accelerating Very Deep Neural Networks, 2017; in the order in
which least squares would drop them, as in Hassibi, Stork: Optimal Brain Surgeon, 1993). Weights are
then fitted anew by least squares to the results that the layer had (Luo, Wu, Lin: ThiNet, 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..channels.cut import parameters
from ..graph import Array, Graph, Node

_LEAST, _MOST = 8192, 16384  # rows, that is places of images, a layer is sampled at
_MOST_NUMBERS = 1 << 25  # of one layer's samples
# How much weights like to stay, relative to the mean square of what they are multiplied with.
UNLIMITED = -np.inf, np.inf
ROUNDS = 10  # of fits to results beyond a limit
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

    def at_places(self, layer: str, y: Array) -> Array:
        """Of a value of the same size as a layer's results [rows, channels]."""
        if y.ndim == 2:
            return y
        rows, columns = self._places(layer, y.shape[2:])
        return y[:, :, rows, columns].swapaxes(1, 2).reshape(-1, y.shape[1])

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


def refitted(
    x: Array, y: Array, w: Array, bias: Array, limits: tuple[Array | float, Array | float] = UNLIMITED
) -> tuple[Array, Array]:
    """Weights [K, terms] and biases [K] with which x [rows, terms] gives y [rows, K] as well as it
    can, near to what they were: ridge regression of what is missing. How near, the last rows say,
    which are of other images.

    limits: of y; where it is at one, a result beyond is as good. Rows are then fitted again and
    again, those beyond to what they are (Zhang et al.: Accelerating Very Deep Convolutional
    Networks, 2015, with the auxiliary variables found exactly).
    """
    missing = y - (x @ w.T + bias)
    begin = len(x) - len(x) // 4
    errors = []
    if begin < len(x):
        squares = _Squares(x[:begin])
        for ridge in RIDGES:
            change, offset = squares.with_ridge(ridge)(missing[:begin])
            errors.append(np.square(missing[begin:] - x[begin:] @ change - offset).sum())
    fit = _Squares(x).with_ridge(RIDGES[int(np.argmin(errors))] if errors else RIDGES[-1])
    change, offset = fit(missing)
    low, high = limits
    at_low, at_high = y <= low, y >= high
    for _ in range(ROUNDS if at_low.any() or at_high.any() else 0):
        further = x @ change + offset - missing  # than y
        further[(at_low & (further > 0)) | (at_high & (further < 0))] = 0
        further[~(at_low | at_high)] = 0
        change, offset = fit(missing + further)
    return w + change.T, bias + offset


class _Squares:
    """Least squares of x [rows, terms]."""

    def __init__(self, x: Array) -> None:
        self._middle = x.mean(axis=0)
        self._x = x - self._middle
        self._few = x.shape[1] <= len(x)
        gram = self._x.T @ self._x if self._few else self._x @ self._x.T
        self._gram = gram.astype(np.float64)
        self._scale = max(float(np.trace(self._gram)) / max(x.shape[1], 1), 1e-30)

    def with_ridge(self, ridge: float) -> Callable[[Array], tuple[Array, Array]]:
        """What solves for y [rows, K]: the solution [terms, K], and what to add to results [K]."""
        inverse = np.linalg.inv(self._gram + ridge * self._scale * np.eye(len(self._gram)))

        def solve(y: Array) -> tuple[Array, Array]:
            offset = y.mean(axis=0)
            centred = y - offset
            if self._few:
                change = inverse @ (self._x.T @ centred)
            else:
                change = self._x.T @ (inverse @ centred)
            return change.astype(np.float32), (offset - self._middle @ change).astype(np.float32)

        return solve


def principal(y: Array) -> tuple[Array, Array]:
    """The directions [K, K] in which results differ, those in which they do most first, and their
    mean [K] (Zhang et al.: Accelerating Very Deep Convolutional Networks, 2015).
    """
    middle = y.mean(axis=0)
    centred = (y - middle).astype(np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return vectors[:, ::-1], middle
