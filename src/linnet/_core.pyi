from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, type_check_only

import numpy as np
import numpy.typing as npt

__version__: str

class GraphBuilder:
    def __init__(self, name: str = "") -> None: ...
    def input(self, name: str, shape: Sequence[int], dtype: npt.DTypeLike = ...) -> None: ...
    def initializer(self, name: str, array: npt.NDArray[Any]) -> None: ...
    def node(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attrs: Mapping[str, int | float | str | Sequence[int]],
    ) -> None: ...
    def output(self, name: str) -> None: ...
    def shape(self, value: str) -> list[int]: ...
    def dtype(self, value: str) -> np.dtype[Any]: ...

@type_check_only
class Candidate(TypedDict):
    algorithm: str
    seconds: float | None
    refusal: str
    measured: bool

@type_check_only
class Step(TypedDict):
    name: str
    op: str
    problem: str
    algorithm: str
    uses_kernels: bool
    macs: float
    batch: int
    estimate: float
    measured: bool
    rows: int
    candidates: list[Candidate]

@type_check_only
class TimedStep(Step):
    seconds: float
    phases: dict[str, float]

@type_check_only
class Blas(TypedDict):
    path: str
    core: str
    config: str
    threading: str
    warning: str

@type_check_only
class Option(TypedDict):
    name: str
    kind: Literal["count", "flag", "bytes", "seconds", "text"]
    value: str
    help: str
    choices: list[str]
    tuning: bool
    default: int | float | str | bool

class Session:
    def __init__(
        self,
        graph: GraphBuilder,
        *,
        threads: int | None = None,
        isa: str | None = None,
        algorithm: str | None = None,
        strict: bool | None = None,
        memory_limit: int | None = None,
        weights_dtype: str | None = None,
        blas: str | None = None,
        nnpack: str | None = None,
        search: str | None = None,
        seconds: float | None = None,
        keep: bool | None = None,
        wisdom: str | None = None,
        progress: Callable[[str], object] | None = None,
    ) -> None: ...
    def run(
        self,
        inputs: Sequence[npt.NDArray[Any]],
        wanted: Sequence[str],
        out: Sequence[npt.NDArray[Any]] | None,
    ) -> list[npt.NDArray[Any]]: ...
    def profile(
        self, inputs: Sequence[npt.NDArray[Any]], wanted: Sequence[str]
    ) -> list[TimedStep]: ...
    def peak(self) -> float: ...
    def plan(self, batch: int, wanted: Sequence[str]) -> list[Step]: ...
    def dump(self, batch: int, wanted: Sequence[str]) -> str: ...
    @property
    def inputs(self) -> list[tuple[str, list[int], np.dtype[Any]]]: ...
    @property
    def outputs(self) -> list[tuple[str, list[int], np.dtype[Any]]]: ...
    @property
    def values(self) -> list[tuple[str, list[int], np.dtype[Any]]]: ...
    @property
    def name(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
    def wisdom_note(self) -> str: ...
    @property
    def weights_note(self) -> str: ...
    def save_wisdom(self) -> None: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...

@type_check_only
class Needs(TypedDict):
    weights: int
    plain: int
    read: int
    arena: int
    values: int
    callers: int
    available: int

def needs(graph: GraphBuilder, batch: int, **options: Any) -> Needs: ...

class Layer:
    def __init__(
        self,
        problem: str,
        algorithm: str,
        isa: str,
        weight: npt.NDArray[np.float32] | None = None,
        bias: npt.NDArray[np.float32] | None = None,
    ) -> None: ...
    @property
    def width(self) -> int: ...
    @property
    def x_count(self) -> int: ...
    @property
    def y_count(self) -> int: ...
    @property
    def operand_count(self) -> int: ...
    def run(
        self,
        x: npt.NDArray[Any],
        operand: npt.NDArray[Any] | None,
        y: npt.NDArray[Any],
        times: int = 1,
        settle: bool = False,
    ) -> list[float]: ...

def infer_type(
    op: str,
    attrs: Mapping[str, Any],
    inputs: Sequence[tuple[Sequence[int], np.dtype[Any]] | npt.NDArray[Any] | None],
) -> tuple[list[int], np.dtype[Any]]: ...
def read_onnx(path: str | bytes) -> GraphBuilder: ...

@type_check_only
class EmittedStep(TypedDict):
    name: str
    op: str
    algorithm: str
    problem: str
    seconds: float
    measured: bool
    code: str
    args: bytes
    x: tuple[int, int]
    z: tuple[int, int]
    y: tuple[int, int]
    workspace: tuple[int, int]
    weights: list[tuple[int, int]]
    chain: bytes
    rows: tuple[int, int]

@type_check_only
class EmittedProgram(TypedDict):
    batch: int
    arena: int
    seconds: float
    steps: list[EmittedStep]

class Emission:
    def __init__(
        self,
        graph: GraphBuilder,
        isa: str = "",
        outline: str = "",
        architecture: str = "",
        cpuinfo: str = "",
        **options: Any,
    ) -> None: ...
    def program(self, batch: int) -> EmittedProgram: ...
    def wisdom_note(self) -> str: ...
    @property
    def features(self) -> str: ...
    @property
    def kernels(self) -> set[str]: ...
    @property
    def numbers(self) -> dict[str, float]: ...
    @property
    def weights(self) -> bytes: ...
    @property
    def inputs(self) -> list[tuple[str, tuple[int, ...], np.dtype[Any], float, int]]: ...
    @property
    def outputs(self) -> list[tuple[str, tuple[int, ...], np.dtype[Any], float, int]]: ...

def session_options() -> list[Option]: ...
def available_isas() -> list[str]: ...
def default_isa() -> str: ...
def default_threads() -> int: ...
def algorithms() -> list[str]: ...
def find_blas(request: str = "") -> Blas | str: ...
def find_nnpack(request: str = "") -> tuple[bool, str]: ...
def refusal(problem: str, algorithm: str, isa: str) -> str: ...
def estimate(problem: str, algorithm: str, isa: str) -> float: ...
def choose(
    problem: str,
    isa: str,
    search: str,
    weight: npt.NDArray[np.float32] | None = None,
    bias: npt.NDArray[np.float32] | None = None,
) -> tuple[str, str]: ...
def parse_problem(problem: str) -> dict[str, Any]: ...
