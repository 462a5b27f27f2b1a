"""The real NNPACK against the reference, and beside it linnet's own Fourier tiles.

Needs a library with NNPACK's symbols: LINNET_NNPACK names one (docs/nnpack.md), else tests are
skipped. How linnet calls it and does without it is tested in tests/cpp/test_nnpack.cpp as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import _core
from linnet.graph import Graph

LINES = [
    line
    for line in (Path(__file__).parent / "problems.txt").read_text().splitlines()
    if line.startswith("conv ")
]
FOUND, WHERE = _core.find_nnpack()
needs_nnpack = pytest.mark.skipif(not FOUND, reason=f"no NNPACK: {WHERE}")
NNPACK = [a for a in _core.algorithms() if a.startswith("nnpack-")]
FOURIER = [a for a in _core.algorithms() if a.startswith("fourier-")]
BOUND = 1e-4  # largest |error| / rms of the output


def draw(rng: np.random.Generator, n: int, dims: tuple[int, int, int], width: int) -> Any:
    """Random images, flat; channels last and padded with zeros to `width`, or first if it is 0."""
    c, h, w = dims
    x = rng.standard_normal((n, h, w, c)).astype(np.float32)
    if width:
        return np.pad(x, [(0, 0)] * 3 + [(0, -c % width)]).ravel()
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).ravel()


def error(head: str, algorithm: str, threads: int) -> float | None:
    """Largest |error| / rms of a problem without its layout and threads; None if it is refused.

    Against the reference algorithm, in the same layout.
    """
    key = f"{head} {'nchw' if algorithm in NNPACK else 'nhwc'} t{threads}"
    isa = _core.default_isa()
    if _core.refusal(key, algorithm, isa):
        return None
    p = _core.parse_problem(key)
    rng = np.random.default_rng([ord(c) for c in head])
    weight = rng.standard_normal((p["out"][0], p["in"][0], *p["kernel"])).astype(np.float32)
    bias = rng.standard_normal(p["out"][0]).astype(np.float32)
    layers = [_core.Layer(key, name, isa, weight, bias) for name in (algorithm, "direct-ref")]
    width = 0 if algorithm in NNPACK else layers[0].width
    x = draw(rng, p["n"], p["in"], width)
    operand = draw(rng, p["n"], p["out"], width) if p["binary"] else None
    got, want = (np.full(layers[0].y_count, np.nan, np.float32) for _ in range(2))
    layers[0].run(x, operand, got)
    layers[1].run(x, operand, want)
    return float(np.abs(got - want).max() / np.sqrt(np.mean(want**2)))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("algorithm", [*FOURIER, *NNPACK])
def test_every_line(algorithm: str, threads: int) -> None:
    """All lines of problems.txt an algorithm takes, on one thread and on four."""
    if algorithm in NNPACK and not FOUND:
        pytest.skip(f"no NNPACK: {WHERE}")
    errors = [error(line.rsplit(" ", 2)[0], algorithm, threads) for line in LINES]
    taken = [e for e in errors if e is not None]
    assert max(taken) <= BOUND
    # Only lines with 1x1 or 3x3 kernels are for these two.
    assert len(taken) >= (2 if algorithm in ("nnpack-direct", "nnpack-wt8x8") else 8)


@needs_nnpack
@pytest.mark.parametrize("algorithm", ["nnpack-ft8x8", "nnpack-ft16x16", "nnpack-implicit-gemm"])
def test_batches_and_residuals(algorithm: str) -> None:
    for threads in (1, 4):
        found = error("conv f32 n5 c7h19w23 k11r5x4p1,2,3,0 add relu", algorithm, threads)
        assert found is not None and found <= BOUND


@needs_nnpack
@pytest.mark.parametrize("threads", [1, 4])
def test_model(small: Graph, threads: int) -> None:
    x = np.random.default_rng(1).normal(size=(5, 2, 9, 11)).astype(np.float32)
    with linnet.load(small, algorithm="direct") as direct:
        want = direct(x)
    with linnet.load(small, algorithm="nnpack", nnpack=WHERE, threads=threads) as net:
        ran = [layer.algorithm for layer in net.explain(5) if layer.op.startswith("Conv")]
        assert all(name.startswith("nnpack-") for name in ran) and len(ran) == 2
        np.testing.assert_allclose(net(x), want, rtol=1e-4, atol=1e-5)
    with linnet.load(small, algorithm="nnpack-ft16x16", nnpack=WHERE, threads=threads) as net:
        np.testing.assert_allclose(net(x), want, rtol=1e-4, atol=1e-5)
        # The transformed kernels, 16x16 numbers each, count as packed weights.
        kernels = sum(w.shape[0] * w.shape[1] for w in small.initializers.values() if w.ndim == 4)
        assert net.weight_bytes >= kernels * 16 * 16 * 4
    with linnet.load(small, strict=True, nnpack=WHERE) as net:
        refusals = {c.algorithm: c.refusal for c in net.explain().layers[0].candidates}
        assert refusals["nnpack-ft8x8"] == "looser than strict allows"


@needs_nnpack
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(small: Graph) -> None:
    """A forked child, whose copy of NNPACK's threads is dead, makes its own."""
    x = np.ones((2, 2, 9, 11), np.float32)
    with linnet.load(small, algorithm="nnpack", nnpack=WHERE, threads=3) as net:
        want = net(x)
        child = os.fork()
        if not child:
            os._exit(0 if np.array_equal(net(x), want) else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("algorithm", ["fourier-8", "nnpack-ft8x8"])
def test_phases(small: Graph, algorithm: str, threads: int) -> None:
    """profile() says where a transformed layer's time goes, and adds up."""
    if algorithm in NNPACK and not FOUND:
        pytest.skip(f"no NNPACK: {WHERE}")
    with linnet.load(small, algorithm=algorithm, nnpack=WHERE, threads=threads) as net:
        report = net.profile(np.ones((3, 2, 9, 11), np.float32), runs=2)
    for layer in report:
        if layer.algorithm == algorithm:
            assert list(layer.phases) == ["input transform", "multiplication", "output transform"]
            assert min(layer.phases.values()) > 0
            assert sum(layer.phases.values()) <= (layer.seconds or 0)
        else:
            assert not layer.phases
    assert str(report).count("multiplication") == 2


@pytest.mark.parametrize("content", [None, b"", b"no library", b"\x7fELF" + bytes(200)])
def test_goes_on_without(small: Graph, tmp_path: Path, content: bytes | None) -> None:
    """A library that is missing or damaged is a sentence in explain(), not an error."""
    library = tmp_path / "libnnpack.so"
    if content is not None:
        library.write_bytes(content)
    with linnet.load(small, nnpack=str(library)) as net:
        for layer in net.explain():
            if layer.op.startswith("Conv"):
                refusals = {c.algorithm: c.refusal for c in layer.candidates}
                assert refusals["nnpack-auto"].startswith(f"no NNPACK: {library}")
        assert np.isfinite(net(np.ones((1, 2, 9, 11), np.float32))).all()


def test_show_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_NNPACK", "/no/such/libnnpack.so")
    assert linnet.show_config()["nnpack"].startswith("none: /no/such/libnnpack.so")
