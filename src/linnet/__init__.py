"""linnet runs trained convolutional networks on a CPU.

>>> net = linnet.load("deploy.prototxt", "net.caffemodel", threads=4)
>>> probabilities = net(images)  # float32 [N, C, H, W], any N
"""

from __future__ import annotations

import functools
import math
import operator
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from .report import Candidate, Layer, Report
from .text import count, shape_text

try:
    from . import _core
except ImportError as error:
    # The linnet command says it in one sentence; a program that imports linnet gets the exception.
    if Path(sys.argv[0]).name == "linnet":
        sys.exit(f"linnet: error: {error}")
    raise

if TYPE_CHECKING:
    from types import TracebackType

    from .graph import Graph

__all__ = ["Layer", "Report", "Session", "ValueInfo", "convert", "load", "show_config"]

Array = npt.NDArray[np.float32]
PathLike = Union[str, "os.PathLike[str]"]
_FLOAT32 = np.dtype(np.float32)


def load(
    model: PathLike | Graph,
    weights: PathLike | None = None,
    *,
    threads: int | None = None,
    algorithm: str | None = None,
    strict: bool = False,
    isa: str | None = None,
    blas: str | None = None,
    nnpack: str | None = None,
    memory_limit: int | str | None = None,
    weights_dtype: str | None = None,
) -> Session:
    """Load a trained model and make it ready to run.

    model: an .onnx file; a Caffe .prototxt, with its .caffemodel as `weights`; or a Graph.
    threads: how many compute; by default one for every core this process may use (its affinity
        mask and cgroup).
    algorithm: run convolutions and fully connected layers with this one only, where it accepts
        them; one of show_config()["algorithms"], as "direct" or "im2col-openblas", or a family of
        them, as "fourier" or "nnpack".
    strict: only algorithms that add up the products of the definition, none that transform them.
    isa: instruction set of the kernels, one of show_config()["isas"]; by default the environment's
        LINNET_ISA, else the best this CPU has.
    blas: path of the OpenBLAS library to use; by default the system's.
    nnpack: path of a library that holds NNPACK, which then is tried for convolutions too; by
        default the environment's LINNET_NNPACK, else the system's libnnpack.so if there is one.
        Without it, or if it cannot be used, linnet goes on with its own algorithms and explain()
        says why.
    memory_limit: most bytes of packed weights and activations together, as a number or as "300M",
        "1G" (powers of 1024).
    weights_dtype: how to keep the weights of fully connected layers and ungrouped 1x1
        convolutions: "f32", "f16" (half the memory), or "int8" with a scale for each output channel
        (a quarter). They are rounded to it; arithmetic is float32. By default they are kept as the
        file has them.

    ValueError says all that is wrong with the model or an argument; OSError if a file cannot be
    read; RuntimeError if this CPU lacks `isa` or `blas` does not load; MemoryError if the model
    does not fit `memory_limit`.
    """
    if not isinstance(strict, (bool, np.bool_)):
        raise ValueError(f"strict is {strict!r}, expected True or False")
    options: dict[str, Any] = dict(
        threads=0 if threads is None else _number("threads", threads),
        isa=_text("isa", isa),
        blas=_text("blas", blas),
        nnpack=_text("nnpack", nnpack),
        weights_dtype=_text("weights_dtype", weights_dtype),
        memory_limit=_bytes(memory_limit),
        algorithm=_text("algorithm", algorithm),
        strict=bool(strict),
    )
    return Session(_core.Session(_build(model, weights), **options))


def convert(
    model: PathLike, weights: PathLike | None, dst: PathLike, weights_dtype: str = "f32"
) -> None:
    """Write a model, as for `load`, to the ONNX file `dst`.

    Every ONNX runtime reads it, and linnet loads it fastest. weights_dtype: "f32"; "f16" to halve
    the file by rounding the weights; or "int8" to quarter it, with a scale for each output channel
    of convolutions and fully connected layers. Loaded again, fully connected layers and ungrouped
    1x1 convolutions keep such weights in memory; others become float32. Errors as for `load`;
    ValueError too if a weight is beyond float16, or not finite for int8.
    """
    if weights_dtype not in ("f32", "f16", "int8"):
        raise ValueError(f"weights_dtype is {weights_dtype!r}, expected 'f32', 'f16' or 'int8'")
    if Path(dst).suffix.lower() != ".onnx":
        raise ValueError(f"{dst}: the file to write must end in .onnx")
    from .formats import onnx_write

    onnx_write.save(_import(model, weights), Path(dst), weights_dtype)


def _import(model: PathLike, weights: PathLike | None) -> Graph:
    """The canonical graph of a model in files."""
    from . import formats, passes

    return passes.canonicalize(
        formats.read(Path(model), None if weights is None else Path(weights))
    )


def _build(model: PathLike | Graph, weights: PathLike | None) -> _core.GraphBuilder:
    from . import core, formats

    if not isinstance(model, (str, os.PathLike)):
        from . import graph, passes

        if not isinstance(model, graph.Graph):
            raise ValueError(f"model is {model!r}, expected a path or a Graph")
        return core.build(passes.canonicalize(model))
    _text("weights", weights)
    for path in (model, weights):
        if path is not None:
            with open(path, "rb"):  # a file that is not there is an OSError, whatever its format
                pass
    if weights is None and formats.recognise(Path(model)) is formats.ONNX:
        try:
            return _core.read_onnx(os.fspath(model))
        except ValueError:
            pass  # valid but not canonical, or damaged: the reader says which
    return core.build(_import(model, weights))


def _number(what: str, value: Any) -> int:
    """A count that someone has given, as an int."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if not 1 <= number < 2**31:
        raise ValueError(f"{what} is {value!r}, expected a whole number of at least 1")
    return number


def _text(what: str, value: Any) -> str:
    """A name or path that someone has given, empty for None."""
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{what} is {value!r}, expected a string")
    return "" if value is None else os.fspath(value)


def _bytes(limit: int | str | None) -> int:
    """A memory limit in bytes, 0 for none."""
    if limit is None:
        return 0
    given = limit
    if isinstance(limit, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", limit.strip(), re.IGNORECASE)
        if not match:
            raise ValueError(f"memory_limit is {limit!r}, expected a size such as '300M' or '1G'")
        limit = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")
    if not isinstance(limit, (int, float, np.integer)) or not 0 < limit < math.inf:
        raise ValueError(f"memory_limit is {given!r}, expected a positive number of bytes")
    return min(int(limit), sys.maxsize)


class ValueInfo(NamedTuple):
    """An input or output of a model. The batch, axis 0 of its shape, is None: any size."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Session:
    """A loaded model. Made by `load`.

    Any number of Python threads may call one session; calls run one after the other, each on all of
    its threads, with the GIL released. After a fork the child may go on using it. Leaving a `with`
    block, or close(), gives the memory back at once.
    """

    def __init__(self, core: _core.Session) -> None:
        self._open: _core.Session | None = core

    @property
    def _inner(self) -> _core.Session:
        if self._open is None:
            raise RuntimeError("the session is closed")
        return self._open

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free weights, activations and threads; a call that is under way ends first."""
        self._open = None

    def __repr__(self) -> str:
        if self._open is None:
            return "<linnet.Session, closed>"
        values = ", ".join(f"{v.name} {shape_text(v.shape)}" for v in self.inputs)
        results = ", ".join(f"{v.name} {shape_text(v.shape)}" for v in self.outputs)
        return (
            f"<linnet.Session {values} -> {results}, {self.isa}, {count(self.threads, 'thread')}>"
        )

    @property
    def name(self) -> str:
        """The name stored in the model."""
        return self._inner.name

    @property
    def inputs(self) -> list[ValueInfo]:
        return [_info(*value) for value in self._inner.inputs]

    @property
    def outputs(self) -> list[ValueInfo]:
        return [_info(*value) for value in self._inner.outputs]

    @property
    def values(self) -> list[ValueInfo]:
        """All that fetch= accepts: inputs, results of every node, outputs."""
        return [_info(*value) for value in self._inner.values]

    @property
    def threads(self) -> int:
        """How many threads a run uses, the caller's included."""
        return self._inner.threads

    @property
    def isa(self) -> str:
        """Instruction set of the kernels."""
        return self._inner.isa

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed weights."""
        return self._inner.weight_bytes

    @property
    def arena_bytes(self) -> int:
        """Bytes of activations and workspaces, for the batch sizes kept ready."""
        return self._inner.arena_bytes

    def __call__(
        self, x: npt.ArrayLike, *more: npt.ArrayLike, out: Array | Sequence[Array] | None = None
    ) -> Any:
        """Run the model on a batch of any size: one float32 array for each of `inputs`, in order.

        Returns the output, a float32 array; a tuple of them where the model has several. `out` is
        what to write them into instead of new arrays: C-contiguous float32 of the right shape.
        ValueError says what is wrong with which input.
        """
        results = self._run([x, *more], [], out)
        return results[0] if len(results) == 1 else tuple(results)

    def run(
        self,
        x_or_fetch: Any,
        feed: Mapping[str, npt.ArrayLike] | None = None,
        *,
        fetch: Sequence[str] | None = None,
        out: Array | Sequence[Array] | None = None,
    ) -> list[Array]:
        """Run the model and return a list: the outputs, or the values named in `fetch`.

        Two forms: `run(x, fetch=["fc7"])`, where x is an array, or a list or tuple with one for
        every input; and `run(fetch, {"data": x})`, with names or None for the outputs. Any of
        `values` can be fetched, also one that is usually fused away, which costs time. `out` as for
        a call.
        """
        if feed is None:
            if isinstance(x_or_fetch, Mapping):
                raise ValueError("inputs by name come second, as in run(None, {...})")
            inputs = list(x_or_fetch) if isinstance(x_or_fetch, (list, tuple)) else [x_or_fetch]
        else:
            if x_or_fetch is not None and fetch is not None:
                raise ValueError("the values to fetch are given twice")
            fetch = x_or_fetch if fetch is None else fetch
            inputs = self._ordered(feed)
        if isinstance(fetch, str):
            fetch = [fetch]
        if fetch is not None and not (
            isinstance(fetch, (list, tuple))
            and fetch
            and all(isinstance(name, str) for name in fetch)
        ):
            raise ValueError(f"fetch is {_short(fetch)}, expected names of values")
        return self._run(inputs, [] if fetch is None else list(fetch), out)

    def explain(self, batch: int = 1) -> Report:
        """How a batch of this size is run: every layer's algorithm, the others' times and refusals.

        Times are estimates, or measured where `linnet tune` has been run; the title names the file
        they come from, or why there is none.
        """
        batch = _number("batch", batch)
        steps = self._inner.plan(batch, [])
        return Report(
            self._title(batch, self._inner.wisdom_note()),
            batch,
            [self._layer(step, batch, []) for step in steps],
        )

    def profile(self, x: npt.ArrayLike, *more: npt.ArrayLike, runs: int = 10) -> Report:
        """Time every layer of `runs` runs on this input, after one that is not timed."""
        runs = _number("runs", runs)
        core = self._inner
        inputs = _arrays([x, *more])
        core.profile(inputs, [])
        profiles = [core.profile(inputs, []) for _ in range(runs)]
        batch = len(inputs[0])
        layers = [
            self._layer(steps[0], batch, [step["seconds"] for step in steps])._replace(
                phases={
                    phase: sum(step["phases"][phase] for step in steps) / runs
                    for phase in steps[0]["phases"]
                }
            )
            for steps in zip(*profiles)
        ]
        what = f"mean of {count(runs, 'run')}"
        if clock := _clock():
            what += f", peak {self._peak(clock) / 1e9:.0f} GFLOP/s at {clock / 1e9:.2f} GHz"
        return Report(self._title(batch, what), batch, layers)

    def _peak(self, clock: float) -> float:
        """FLOP/s that all threads together can reach at `clock` Hz."""
        return _core.peak_flops_per_cycle(self.isa) * clock * self.threads

    def _title(self, batch: int, what: str) -> str:
        name = self.name or "model"
        return f"{name}: batch {batch}, {self.isa}, {count(self.threads, 'thread')}, {what}"

    def _run(
        self, inputs: Sequence[Any], wanted: list[str], out: Array | Sequence[Array] | None
    ) -> list[Array]:
        arrays = _arrays(inputs)
        if out is not None:
            if isinstance(out, np.ndarray):
                out = [out]
            if not isinstance(out, (list, tuple)):
                raise ValueError(f"out is {out!r}, expected arrays")
            for i, array in enumerate(out):
                if not isinstance(array, np.ndarray):
                    raise ValueError(f"out is a {type(array).__name__}, expected arrays")
                if any(np.may_share_memory(array, other) for other in (*arrays, *out[:i])):
                    raise ValueError("out overlaps an input or another output")
        return self._inner.run(arrays, wanted, out)

    def _ordered(self, feed: Mapping[str, npt.ArrayLike]) -> list[npt.ArrayLike]:
        if not isinstance(feed, Mapping):
            raise ValueError(f"the feed is {_short(feed)}, expected arrays by name")
        names = [name for name, _ in self._inner.inputs]
        problems = [f"input '{name}' is missing" for name in names if name not in feed]
        problems += [f"the model has no input '{name}'" for name in feed if name not in names]
        if problems:
            raise ValueError("; ".join(problems))
        return [feed[name] for name in names]

    def _layer(self, step: _core.Step, batch: int, times: Sequence[float]) -> Layer:
        gflops = percent = None
        if times and step["macs"]:
            mean = max(sum(times) / len(times), 1e-9)
            gflops = 2e-9 * step["macs"] * batch / step["batch"] / mean
            if clock := _clock():
                percent = 100e9 * gflops / self._peak(clock)
        return Layer(
            step["name"],
            step["op"],
            step["problem"],
            step["algorithm"],
            self.isa if step["uses_kernels"] else "-",
            step["macs"],
            step["estimate"],
            tuple(Candidate(**candidate) for candidate in step["candidates"]),
            tuple(times),
            gflops,
            percent,
            step["measured"],
        )


def _arrays(inputs: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """As ndarrays. A float32 of another making, such as an unpickled one, becomes NumPy's own."""
    arrays = [np.asarray(x) for x in inputs]
    return [np.asarray(a, _FLOAT32) if a.dtype == _FLOAT32 else a for a in arrays]


def _short(value: Any) -> str:
    return f"a {type(value).__name__}" if isinstance(value, np.ndarray) else repr(value)


def _info(name: str, shape: Sequence[int]) -> ValueInfo:
    return ValueInfo(name, (None, *shape[1:]), _FLOAT32)


class Config(dict[str, Any]):
    """A dict that prints one entry a line."""

    def __repr__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{key:{width}}  {_plain(value)}" for key, value in self.items())

    __str__ = __repr__


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items() if item)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def show_config() -> dict[str, Any]:
    """What linnet found here, as a dict that prints readably.

    "openblas" is a dict (path, core, config, threading, warning), or a string that says why there
    is none. "nnpack" is the path of the library, or why there is none.
    RuntimeError or ValueError if LINNET_ISA names an instruction set that is not there.
    """
    return Config(
        linnet=_version(),
        isa=_core.default_isa(),
        isas=_core.available_isas(),
        algorithms=_core.algorithms(),
        cpu=_cpu_model(),
        threads=_core.default_threads(),
        openblas=_core.find_blas(),
        nnpack=_nnpack(),
        numpy=np.__version__,
    )


def _nnpack() -> str:
    found, text = _core.find_nnpack()
    return text if found else f"none: {text}"


def _cpu_model() -> str:
    """What Linux calls this CPU, and on a board that board's name."""
    found: dict[str, str] = {}
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, text = line.partition(":")
        found.setdefault(key.strip(), text.strip())
    names = [found[key] for key in ("model name", "Model") if found.get(key)]
    return ", ".join(names) or "unknown"


@functools.cache
def _clock() -> float | None:
    """Highest clock of the CPU in Hz, as Linux states it; None if it does not.

    In a virtual machine it may be the nominal clock, below what the CPU really reaches.
    """
    text = _read("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    if text.strip().isdecimal():
        return int(text) * 1e3
    clocks = [
        float(mhz) * 1e6
        for mhz in re.findall(r"(?m)^cpu MHz\s*:\s*([\d.]+)", _read("/proc/cpuinfo"))
    ]
    return max(clocks, default=0.0) or None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _version() -> str:
    from importlib.metadata import version  # slow to import, seldom needed

    return version("linnet")


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'linnet' has no attribute '{name}'")
