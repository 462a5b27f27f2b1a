"""ONNX Runtime's `InferenceSession` on linnet, for programs written for `onnxruntime`.

    import linnet.compat.onnxruntime as onnxruntime    # instead of onnxruntime
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: pictures})

Names, arguments, descriptions of inputs and outputs, and errors are ONNX Runtime's; nothing of it
need be there. docs/onnxruntime.md says what differs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import load
from ..formats import Source, onnx_read
from ..graph import ELEMENT_TYPES, Graph
from ..ops._lowering import OperatorsMissing
from ..options import core_options
from ..passes.sizes import checked_shapes, with_shapes
from ..session import Session
from ..sized import deferred
from ._onnxruntime_options import (
    EngineError,
    EPFail,
    ExecutionMode,
    ExecutionOrder,
    Fail,
    GraphOptimizationLevel,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelLoaded,
    NoModel,
    NoSuchFile,
    RunOptions,
    RuntimeException,
    SessionOptions,
    Unimplemented,
)

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "RunOptions",
    "SessionOptions",
    "capi",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_device",
    "get_version_string",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_seed",
]

__version__ = "1.31.1"  # whose interface this is

Array = npt.NDArray[Any]

_CPU = "CPUExecutionProvider"
_NAMES = {"float32": "float", "float64": "double"}
# What ONNX calls the types of elements, as in "tensor(float)".
_TYPES = {number: _NAMES.get(name, name) for name, number in ELEMENT_TYPES.items()}
_FIX = " Please fix either the inputs/outputs or the model."

_ERRORS = (
    EPFail,
    EngineError,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelLoaded,
    NoModel,
    NoSuchFile,
    Unimplemented,
    RuntimeException,
)
capi = SimpleNamespace(
    onnxruntime_pybind11_state=SimpleNamespace(**{error.__name__: error for error in _ERRORS})
)


def get_available_providers() -> list[str]:
    return [_CPU]


get_all_providers = get_available_providers


def get_device() -> str:
    return "CPU"


def get_version_string() -> str:
    return __version__


def set_default_logger_severity(severity: int) -> None:
    """Nothing: linnet does not log unless the environment says so."""


def set_default_logger_verbosity(verbosity: int) -> None:
    """Nothing, likewise."""


def set_seed(seed: int) -> None:
    """Nothing: no operator that linnet has is random."""


def disable_telemetry_events() -> None:
    """Nothing: there is none."""


def enable_telemetry_events() -> None:
    """Nothing: there is none."""


@dataclass(frozen=True)
class NodeArg:
    """An input or output: sizes that are free have the file's names, or are None."""

    name: str
    type: str
    shape: list[Any]

    def __str__(self) -> str:
        return f"NodeArg(name='{self.name}', type='{self.type}', shape={self.shape})"


@dataclass(frozen=True)
class ModelMetadata:
    """What a file says of its model."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: dict[str, str]


class InferenceSession:
    """A model, ready to run. Any number of threads may call it."""

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        """providers: whatever they are, linnet computes on the CPU; a warning says which of them
        there are not. Other keywords, as ONNX Runtime's own, are not looked at.
        """
        options = SessionOptions() if sess_options is None else sess_options
        if not isinstance(options, SessionOptions):
            kind = type(options).__name__
            raise AttributeError(f"'{kind}' object is no SessionOptions of this module")
        _check_providers(providers, provider_options)
        if options.enable_profiling or options.optimized_model_filepath:  # type: ignore[attr-defined]
            raise Unimplemented(
                "linnet writes no profiles and no optimized models; see `linnet profile` and "
                "`linnet convert`"
            )
        self._options = options
        # Not for others to read, but programs print them.
        self._providers, self._provider_options = self.get_providers(), self.get_provider_options()
        graph, proto = _read(path_or_bytes)
        free: dict[str, int] = options._free  # type: ignore[attr-defined]
        self._inputs = [_described(value, free) for value in proto.graph.input]
        given = {value.name for value in graph.inputs}
        self._inputs = [arg for arg in self._inputs if arg.name in given]
        self._outputs = [_described(value, free) for value in proto.graph.output]
        self._meta = ModelMetadata(
            proto.producer_name,
            proto.graph.name,
            proto.domain,
            proto.doc_string,
            proto.graph.doc_string,
            proto.model_version,
            graph.metadata,
        )
        threads = options.intra_op_num_threads  # type: ignore[attr-defined]
        shapes = {
            arg.name: [n if isinstance(n, int) else None for n in arg.shape]
            for arg in self._inputs
            if arg.shape and free
        }
        self._dtypes = {value.name: value.dtype for value in graph.inputs}
        self._session = _made(graph, shapes, max(threads, 0) or None)

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> list[Array]:
        """The outputs of these names, by default all, for an array for each input."""
        names = list(input_feed.keys())
        missing = [arg.name for arg in self._inputs if arg.name not in names]
        if missing:
            raise ValueError(f"Required inputs ({missing}) are missing from input feed ({names}).")
        wanted = list(output_names or [arg.name for arg in self._outputs])
        if isinstance(output_names, str) or not all(isinstance(name, str) for name in wanted):
            raise TypeError("run(): output_names is not a sequence of names")
        if run_options is not None and run_options.terminate:  # type: ignore[attr-defined]
            raise Fail("Exiting due to terminate flag being set to true.")
        known = {arg.name: arg for arg in self._inputs}
        feed = {}
        for name, value in input_feed.items():
            if name not in known:
                raise InvalidArgument(f"Invalid input name: {name}")
            feed[name] = self._checked(known[name], value)
        outputs = {arg.name for arg in self._outputs}
        for name in wanted:
            if name not in outputs:
                raise InvalidArgument(f"Invalid output name:{name}")
        every = list(dict.fromkeys(wanted))
        try:
            results = self._session.run(every, feed)
        except (ValueError, RuntimeError, MemoryError) as error:
            raise Fail(str(error)) from None
        found = dict(zip(every, results))
        return [found[name] for name in wanted]

    def _checked(self, arg: NodeArg, value: Any) -> Array:
        """An input as an array of its type and shape."""
        dtype = self._dtypes[arg.name]
        if value is None:
            raise Fail(f"Missing Input: {arg.name}")
        array = np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else None
        if array is None:
            try:
                array = np.asarray(value, dtype)
            except (TypeError, ValueError):
                raise RuntimeError(f"Input '{arg.name}' is no array") from None
        if array.dtype.newbyteorder("=") != dtype:
            number = ELEMENT_TYPES.get(array.dtype.name, 0)
            actual = f"tensor({_TYPES.get(number, array.dtype.name)})"
            raise InvalidArgument(
                f"Unexpected input data type. Actual: ({actual}) , expected: ({arg.type})"
            )
        if array.ndim != len(arg.shape):
            raise InvalidArgument(
                f"Invalid rank for input: {arg.name} Got: {array.ndim} Expected: "
                f"{len(arg.shape)}{_FIX}"
            )
        wrong = [
            f"\n index: {axis} Got: {n} Expected: {m}"
            for axis, (n, m) in enumerate(zip(array.shape, arg.shape))
            if isinstance(m, int) and n != m
        ]
        if wrong:
            raise InvalidArgument(
                f"Got invalid dimensions for input: {arg.name} for the following indices"
                f"{''.join(wrong)}\n{_FIX}"
            )
        return array.astype(dtype, copy=False)

    def get_inputs(self) -> list[NodeArg]:
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        return list(self._outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """None: initializers are constants."""
        return []

    def get_modelmeta(self) -> ModelMetadata:
        return self._meta

    def get_session_options(self) -> SessionOptions:
        return self._options

    def get_providers(self) -> list[str]:
        return [_CPU]

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {_CPU: {}}

    def set_providers(
        self,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
    ) -> None:
        """A warning of those that there are not."""
        _check_providers(providers, provider_options)

    def enable_fallback(self) -> None:
        """Nothing: there is nothing to fall back to."""

    def disable_fallback(self) -> None:
        """Nothing, likewise."""

    def io_binding(self) -> Any:
        raise Unimplemented(
            "linnet reads inputs where they are and has no other device's memory to bind: call run"
        )

    def end_profiling(self) -> str:
        raise Unimplemented("linnet writes no profiles; see `linnet profile`")


def _check_providers(providers: Any, options: Any) -> None:
    """Warnings of what cannot be had."""
    names: list[str] = []
    for provider in [] if providers is None else list(providers):
        plain = isinstance(provider, str)
        pair = isinstance(provider, tuple) and list(map(type, provider)) == [str, dict]
        if not plain and not pair:
            warnings.warn("providers are names, or pairs of a name and options", stacklevel=3)
            return
        name = provider if plain else provider[0]
        if name in names:
            warnings.warn(f"Duplicate provider '{name}' encountered, ignoring.", stacklevel=3)
        elif name != _CPU:
            warnings.warn(
                f"Specified provider '{name}' is not in available provider names."
                f"Available providers: '{_CPU}'",
                stacklevel=3,
            )
        names.append(name)
    if options is not None and len(options) != len(names):
        warnings.warn("there are not as many provider_options as providers", stacklevel=3)


def _read(given: Any) -> tuple[Graph, Any]:
    """The graph in a file or bytes, and what else the file says."""
    if not isinstance(given, (str, bytes, os.PathLike)):
        raise TypeError(f"Unable to load from type '{type(given)}'")
    where = "" if isinstance(given, bytes) else os.fsdecode(given)
    before = f"Load model from {where} failed:" if where else ""
    try:
        source = Source(given)
        proto = onnx_read.parsed(source)
    except OSError:
        raise NoSuchFile(f"{before}Load model {where} failed. File doesn't exist") from None
    except ValueError:
        text = "Protobuf parsing failed." if where else "Failed to load model because protobuf "
        raise InvalidProtobuf(before + text + ("" if where else "parsing failed.")) from None
    if not proto.HasField("graph"):
        raise InvalidArgument(f"{before}No graph was found in the protobuf.")
    try:
        graph = onnx_read.translated(source, proto)
        problems = graph.sort()
    except ValueError as error:
        raise Fail(str(error)) from None
    if problems:
        kind = InvalidArgument if "not defined" in problems[0] else Fail
        raise kind(f"Invalid model. {'; '.join(problems[:5])}")
    return graph, proto


def _made(graph: Graph, shapes: Mapping[str, Sequence[int | None]], threads: int | None) -> Session:
    graph = replace(graph, metadata={})  # states are inputs here
    try:
        return load(graph, shapes=shapes or None, threads=threads)
    except OperatorsMissing as error:
        raise Unimplemented(str(error)) from None
    except (ValueError, MemoryError) as error:
        if any(0 in value.shape for value in graph.inputs):
            # Whether sizes fit is asked when they come.
            graph = with_shapes(graph, checked_shapes(shapes))
            return Session(deferred(graph, core_options({"threads": threads})))
        raise Fail(str(error)) from None


def _described(value: Any, free: Mapping[str, int]) -> NodeArg:
    tensor = value.type.tensor_type
    shape: list[Any] = []
    for size in tensor.shape.dim:
        name = size.dim_param or None
        shape.append(size.dim_value if size.dim_value > 0 else free.get(name or "", name))
    return NodeArg(value.name, f"tensor({_TYPES.get(tensor.elem_type, 'undefined')})", shape)
