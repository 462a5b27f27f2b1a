"""Errors, enumerations and options of ONNX Runtime's interface."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from typing import Any, ClassVar


class OnnxRuntimeError(Exception):
    """What all errors of ONNX Runtime's have: a number and a name before the text."""

    number, kind = 1, "FAIL"

    def __init__(self, text: str) -> None:
        super().__init__(f"[ONNXRuntimeError] : {self.number} : {self.kind} : {text}")


class Fail(OnnxRuntimeError):
    pass


class InvalidArgument(OnnxRuntimeError):
    number, kind = 2, "INVALID_ARGUMENT"


class NoSuchFile(OnnxRuntimeError):
    number, kind = 3, "NO_SUCHFILE"


class NoModel(OnnxRuntimeError):
    number, kind = 4, "NO_MODEL"


class EngineError(OnnxRuntimeError):
    number, kind = 5, "ENGINE_ERROR"


class RuntimeException(OnnxRuntimeError):
    number, kind = 6, "RUNTIME_EXCEPTION"


class InvalidProtobuf(OnnxRuntimeError):
    number, kind = 7, "INVALID_PROTOBUF"


class ModelLoaded(OnnxRuntimeError):
    number, kind = 8, "MODEL_LOADED"


class Unimplemented(OnnxRuntimeError):
    number, kind = 9, "NOT_IMPLEMENTED"


Unimplemented.__name__ = "NotImplemented"  # as ONNX Runtime has it, and Python something else


class InvalidGraph(OnnxRuntimeError):
    number, kind = 10, "INVALID_GRAPH"


class EPFail(OnnxRuntimeError):
    number, kind = 11, "EP_FAIL"


class GraphOptimizationLevel(enum.IntEnum):
    """How much of a graph ONNX Runtime would rewrite; linnet has one way whatever is asked for."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(enum.IntEnum):
    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(enum.IntEnum):
    DEFAULT = 0
    PRIORITY_BASED = 1


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _option(kind: type[enum.IntEnum]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return check


class _Options:
    """Attributes that there are and no others, of the types that they have."""

    _known: ClassVar[dict[str, tuple[Callable[[Any], Any], Any]]] = {}

    def __init__(self) -> None:
        object.__setattr__(self, "_entries", {})
        for name, (_, default) in self._known.items():
            object.__setattr__(self, name, default)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        if name not in self._known:
            raise AttributeError(f"'{kind}' object has no attribute '{name}'")
        try:
            checked = self._known[name][0](value)
        except TypeError:
            raise TypeError(f"{kind}.{name} cannot be a {type(value).__name__}") from None
        object.__setattr__(self, name, checked)

    def _entry(self, key: str, what: str) -> str:
        entries: dict[str, str] = self._entries  # type: ignore[attr-defined]
        if key not in entries:
            raise RuntimeError(f"{what} does not have configuration with key: {key}")
        return entries[key]


class SessionOptions(_Options):
    """Options of a session: the number of threads counts, and sizes of free dimensions; what else
    ONNX Runtime has changes no results, and nothing here.
    """

    _known: ClassVar = {
        "enable_cpu_mem_arena": (bool, True),
        "enable_mem_pattern": (bool, True),
        "enable_mem_reuse": (bool, True),
        "enable_profiling": (bool, False),
        "execution_mode": (_option(ExecutionMode), ExecutionMode.ORT_SEQUENTIAL),
        "execution_order": (_option(ExecutionOrder), ExecutionOrder.DEFAULT),
        "graph_optimization_level": (
            _option(GraphOptimizationLevel),
            GraphOptimizationLevel.ORT_ENABLE_ALL,
        ),
        "inter_op_num_threads": (operator.index, 0),
        "intra_op_num_threads": (operator.index, 0),
        "log_severity_level": (operator.index, -1),
        "log_verbosity_level": (operator.index, 0),
        "logid": (_text, ""),
        "optimized_model_filepath": (_text, ""),
        "profile_file_prefix": (_text, "onnxruntime_profile_"),
        "use_deterministic_compute": (bool, False),
        "use_per_session_threads": (bool, True),
    }

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "_free", {})

    def add_session_config_entry(self, key: str, value: str) -> None:
        self._entries[_text(key)] = _text(value)  # type: ignore[attr-defined]

    def get_session_config_entry(self, key: str) -> str:
        return self._entry(key, "SessionOptions")

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """What a size that has this name in the file is to be."""
        self._free[_text(name)] = operator.index(size)  # type: ignore[attr-defined]

    def has_providers(self) -> bool:
        return False

    def register_custom_ops_library(self, path: str) -> None:
        raise Unimplemented("linnet has no operators of other libraries")

    def add_initializer(self, name: str, value: Any) -> None:
        raise Unimplemented("linnet takes initializers from the model's file only")


class RunOptions(_Options):
    """Options of a run, of which `terminate` counts."""

    _known: ClassVar = {
        "log_severity_level": (operator.index, -1),
        "log_verbosity_level": (operator.index, 0),
        "logid": (_text, ""),
        "only_execute_path_to_fetches": (bool, False),
        "terminate": (bool, False),
    }

    def add_run_config_entry(self, key: str, value: str) -> None:
        self._entries[_text(key)] = _text(value)  # type: ignore[attr-defined]

    def get_run_config_entry(self, key: str) -> str:
        return self._entry(key, "RunOptions")
