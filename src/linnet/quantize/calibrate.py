"""What values a network computes, from inputs that are given, and the scales made of them.

Ranges by the least mean squared error as in Sung, Shin, Hwang: Resiliency of Deep Neural Networks
under Quantization (2015); corrected biases as in Nagel et al.: Data-Free Quantization Through
Weight Equalization and Bias Correction (2019), section 4.2, with means that are measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..graph import Array, Node
from .scheme import Network

METHODS = ("mse", "percentile", "minmax")
PERCENTILE = 99.99  # of a value's numbers lie within the range, where that is asked for
BINS = 8192  # of a histogram, half of them on either side of 0
LEVELS = 255  # steps between the integers of a value
FINEST = 1e-18  # scale: a product of two is a number that float32 has

Range = tuple[float, float]


class Affine(NamedTuple):
    """uint8 q stands for scale * (q - zero)."""

    scale: float
    zero: int

    @staticmethod
    def covering(low: float, high: float) -> Affine:
        """The finest that holds low, high and 0, which padding needs; of next to nothing 1."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / LEVELS))
        if not scale >= FINEST:
            return Affine(1.0, 0)
        return Affine(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))

    def rounded(self, x: Array) -> Array:
        """The reals that x becomes."""
        q = np.clip(np.rint(x / self.scale), -self.zero, LEVELS - self.zero)
        return np.asarray(q * self.scale)

    def saturates(self, low: float, high: float) -> bool:
        """Whether limits change nothing: what lies beyond becomes the same integer anyway."""
        with np.errstate(over="ignore"):
            first, last = (np.rint(np.float64(n) / self.scale) + self.zero for n in (low, high))
        return bool(first <= 0 and last >= LEVELS)


class Histogram:
    """How often numbers occur: BINS of equal width, which doubles when one lies beyond."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.width = 0.0
        self.counts = np.zeros(BINS, np.int64)

    def add(self, x: Array) -> None:
        """ValueError if a number is not finite."""
        low, high = float(x.min()), float(x.max())
        if not np.isfinite([low, high]).all():
            raise ValueError("has infinities or NaN")
        self.low, self.high = min(self.low, low), max(self.high, high)
        most = max(-low, high)
        if self.width == 0:
            self.width = 2 * most / BINS
        if self.width == 0:  # nothing but zeros yet
            self.counts[BINS // 2] += x.size
            return
        while most > self.width * (BINS // 2):
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts[:] = 0
            self.counts[BINS // 4 : 3 * BINS // 4] = pairs
            self.width *= 2
        bins = np.floor(x.reshape(-1) * np.float32(1 / self.width)).astype(np.int32)
        bins = np.clip(bins + BINS // 2, 0, BINS - 1, out=bins)
        self.counts += np.bincount(bins, minlength=BINS)

    @property
    def middles(self) -> Array:
        return (np.arange(BINS) - BINS // 2 + 0.5) * self.width

    def range(self, method: str) -> Range:
        """What integers should cover."""
        if method == "minmax" or self.width == 0 or not self.counts.any():
            return min(self.low, 0.0), max(self.high, 0.0)
        if method == "percentile":
            share = np.cumsum(self.counts) / self.counts.sum()
            rest = (1 - PERCENTILE / 100) / 2
            first = int(np.searchsorted(share, rest))
            last = int(np.searchsorted(share, 1 - rest))
            edges = self.middles[[first, min(last, BINS - 1)]] + np.array([-0.5, 0.5]) * self.width
            return max(edges[0], min(self.low, 0.0)), min(edges[1], max(self.high, 0.0))
        return self._least_error()

    def _least_error(self) -> Range:
        """First both ends are drawn in together, then each on its own; then the same finely, since
        numbers that are few levels, as pixels, may fall between the integers or on them.
        """
        seen = np.flatnonzero(self.counts)
        x, n = self.middles[seen], self.counts[seen]
        low, high = min(self.low, 0.0), max(self.high, 0.0)

        def error(a: float, b: float) -> float:
            return float(n @ np.square(Affine.covering(a, b).rounded(x) - x))

        def best(ends: Iterable[Range]) -> Range:
            return min(ends, key=lambda pair: error(*pair))

        least, most = low, high
        for together, alone in (
            (np.linspace(1, 0.3, 36), np.linspace(1.2, 0.8, 21)),
            (np.linspace(1.02, 0.98, 21), np.linspace(1.02, 0.98, 21)),
        ):
            low, high = best((f * low, f * high) for f in together)
            low, _ = best((max(f * low, 1.02 * least), high) for f in alone)
            _, high = best((low, min(f * high, 1.02 * most)) for f in alone)
        return low, high


class Calibration:
    """What was seen of a network's values: ranges of those that may become integers, and the mean
    of what each tap of a layer's weights is multiplied with.
    """

    def __init__(self, network: Network, values: Iterable[str], method: str = "mse") -> None:
        self._method = method
        self._histograms = {name: Histogram() for name in values}
        self._ranges: dict[str, Range] = {}
        self._weighted = [u.node for u in network.units if u.kind == "weighted"]
        self._taps: dict[str, Array] = {}
        self._shapes = {
            node.name: network.graph.initializers[node.inputs[1]].shape for node in self._weighted
        }
        self._images = 0
        self.sizes: dict[str, int] = {}  # numbers of a value, for one image

    @property
    def wanted(self) -> list[str]:
        """The values to be seen."""
        inputs = [node.inputs[0] for node in self._weighted]
        return list(dict.fromkeys([*self._histograms, *inputs]))

    def see(self, values: Mapping[str, Array], images: int) -> None:
        """Add what was computed of some images. ValueError names a value that is not finite."""
        for name, histogram in self._histograms.items():
            try:
                histogram.add(values[name])
            except ValueError as error:
                raise ValueError(f"value '{name}' {error}") from None
            self.sizes[name] = values[name].size // images
        for node in self._weighted:
            sums = images * _means_of_taps(values[node.inputs[0]], node, self._shapes[node.name])
            self._taps[node.name] = self._taps.get(node.name, 0.0) + sums
        self._images += images

    def affine(self, names: Iterable[str]) -> Affine:
        """The scale of values that share one."""
        ends = [self._range(name) for name in names]
        return Affine.covering(min(low for low, _ in ends), max(high for _, high in ends))

    def _range(self, name: str) -> Range:
        if name not in self._ranges:
            self._ranges[name] = self._histograms[name].range(self._method)
        return self._ranges[name]

    def shift(self, node: Node, change: Array) -> Array:
        """How much a change of a layer's weights moves the mean of each of its results."""
        taps = self._taps[node.name] / self._images
        rows = change.reshape(len(change), -1)
        if taps.size == rows.shape[1]:
            return np.asarray(rows @ taps.reshape(-1))
        groups = taps.size // rows.shape[1]
        parts = rows.reshape(groups, -1, rows.shape[1])
        moved: Array = np.einsum("gkt,gt->gk", parts, taps.reshape(groups, -1))
        return moved.reshape(-1)


def _means_of_taps(x: Array, node: Node, shape: tuple[int, ...]) -> Array:
    """The mean over images and places of what the weights are multiplied with: [C, R, S], or [in]
    of a fully connected layer.
    """
    mean: Array = x.mean(axis=0, dtype=np.float64)
    if node.op == "Gemm":
        return mean
    rows, columns = shape[2:]
    top, left, bottom, right = node.attrs.get("pads") or (0, 0, 0, 0)
    down, across = node.attrs.get("dilations") or (1, 1)
    stride = node.attrs.get("strides") or (1, 1)
    padded = np.pad(mean, ((0, 0), (top, bottom), (left, right)))
    high = padded.shape[1] - (rows - 1) * down
    wide = padded.shape[2] - (columns - 1) * across
    taps = np.empty((len(mean), rows, columns))
    for r in range(rows):
        for s in range(columns):
            y = slice(r * down, r * down + high, stride[0])
            x_axis = slice(s * across, s * across + wide, stride[1])
            taps[:, r, s] = padded[:, y, x_axis].mean(axis=(1, 2))
    return taps
