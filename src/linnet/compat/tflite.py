"""TensorFlow Lite's `Interpreter` on linnet, for programs written for `tflite_runtime.interpreter`,
`ai_edge_litert.interpreter` or `tf.lite`.

    from linnet.compat.tflite import Interpreter    # instead of ai_edge_litert.interpreter
    interpreter = Interpreter(model_path="model.tflite", num_threads=4)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

Names, arguments, details of tensors and exceptions are LiteRT's; nothing of it need be there.
docs/tflite.md says what differs.
"""

from __future__ import annotations

import enum
import operator
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import load
from ..formats import Source, tflite
from ..formats._tflite_call import Lite
from ..formats._tflite_model import Signature
from ..formats._translator import Unsupported
from ._tflite_details import details, type_name, type_of

if TYPE_CHECKING:
    from ..formats._tflite_model import Model
    from ..session import Session

__all__ = ["Interpreter", "OpResolverType", "SignatureRunner", "experimental", "load_delegate"]

Array = npt.NDArray[Any]

_UNALLOCATED = "Tensor data is null. Run allocate_tensors() first"
_REFERENCED = (
    "There is at least 1 reference to internal data in the interpreter in the form of a numpy "
    "array or slice. Be sure to only hold the function returned from tensor() if you are using "
    "raw data access."
)


@enum.unique
class OpResolverType(enum.Enum):
    """Whose kernels LiteRT would take; linnet has its own whatever is asked for."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


def load_delegate(library: Any, options: Mapping[Any, Any] | None = None) -> Any:
    """ValueError, as where LiteRT has no such device: linnet computes on the CPU."""
    raise ValueError(
        f"Failed to load delegate from {library}\nlinnet computes on the CPU, without delegates"
    )


experimental = SimpleNamespace(OpResolverType=OpResolverType, load_delegate=load_delegate)


class Interpreter:
    """A .tflite model, ready to run after allocate_tensors().

    Inputs and outputs lie in memory of the interpreter's own, which invoke() reads and writes; they
    have the file's types, integers its scales. One thread may use it at a time.
    """

    def __init__(  # noqa: PLR0917 - as many as LiteRT has, in its order
        self,
        model_path: str | bytes | os.PathLike[str] | None = None,
        model_content: bytes | bytearray | memoryview | None = None,
        experimental_delegates: Sequence[Any] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,
        experimental_disable_delegate_clustering: bool = False,
        experimental_default_delegate_latest_features: bool = False,
        experimental_compress_quantization_zero_points: bool = False,
        experimental_disable_delegate_node_fusion: bool = False,
        experimental_force_delegate_node_profiling: bool = False,
    ) -> None:
        """num_threads: by default one, as LiteRT has. experimental_preserve_all_tensors: whether
        get_tensor() is for all that operators make, too. What else is experimental changes nothing.
        """
        if not isinstance(experimental_op_resolver_type, OpResolverType):
            raise ValueError(
                f"Unrecognized passed in op resolver type: {experimental_op_resolver_type}"
            )
        if num_threads is not None and not isinstance(num_threads, int):
            raise ValueError("type of num_threads should be int")
        if num_threads is not None and num_threads < 1:
            raise ValueError("num_threads should >= 1")
        self._source = _source(model_path, model_content)
        lite = Lite(self._source)
        self._model, self._values = lite.model, lite.value_of
        if experimental_delegates:
            load_delegate(", ".join(map(str, experimental_delegates)))
        self._threads = int(num_threads or 1)
        self._preserve = bool(experimental_preserve_all_tensors)
        self._inputs = list(dict.fromkeys(lite.model.inputs))
        self._signatures = lite.model.signatures()
        self._shapes = {i: tensor.declared for i, tensor in enumerate(lite.model.tensors)}
        self._arrays: dict[int, Array] = {}  # of inputs, outputs and constants read so far
        self._views: list[weakref.ref[Array]] = []  # arrays that show memory of these
        self._given: list[Array] = []  # those that the session reads,
        self._results: list[Array] = []  # and those that it writes
        self._images: set[int] = set()  # that its variables are of
        self._session: Session | None = None
        self._tensors = {name: index for index, name in enumerate(self._values)}
        self._resized = False  # whether the session is for no other sizes at all
        self._ready = False

    def allocate_tensors(self) -> None:
        """Make the model ready for the inputs' sizes. RuntimeError says all that linnet cannot
        compute of it.
        """
        self._check_views()
        if self._ready:
            return
        with _told():
            if self._session is None or self._resized or not self._fits(self._session):
                self._session = None  # its memory is free before there is another
                self._session = self._made()
            self._place(self._session)
        self._ready = True

    def invoke(self) -> None:
        """Compute the outputs of the inputs as they are now."""
        self._check_views()
        if not self._ready or self._session is None:
            raise RuntimeError("Invoke called on model that is not ready.")
        with _told():
            self._session.run(self._given, out=self._results)

    def get_input_details(self) -> list[dict[str, Any]]:
        """Name, index, shape, type, scales and so on of each input."""
        return [self._details(index) for index in self._model.inputs]

    def get_output_details(self) -> list[dict[str, Any]]:
        """The same of outputs, whose shapes are right from allocate_tensors() on."""
        return [self._details(index) for index in self._model.outputs]

    def get_tensor_details(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """The same of all tensors of the file."""
        count = self._model.graphs
        if not 0 <= subgraph_index < count:
            raise ValueError(
                f"subgraph_index is out of range: {subgraph_index} for the model, which has "
                f"{count} subgraphs."
            )
        _check_graph(subgraph_index, count)
        found = []
        for index, tensor in enumerate(self._model.tensors):
            try:
                type_of(tensor)
            except ValueError:
                continue
            found.append(self._details(index))
        return found

    def num_subgraphs(self) -> int:
        return self._model.graphs

    def set_tensor(self, tensor_index: int, value: npt.ArrayLike) -> None:
        """Copy `value` into an input, whose type and shape it must have."""
        index = self._index(tensor_index)
        try:
            given = np.asarray(value)
        except ValueError:
            raise ValueError("Failed to convert value into readable tensor.") from None
        tensor, wrong = self._model.tensors[index], "Cannot set tensor: "
        wanted, got = type_name(type_of(tensor)), type_name(given.dtype)
        if got != wanted:
            raise ValueError(
                f"{wrong}Got value of type {got} but expected type {wanted} for input {index}, "
                f"name: {tensor.name} "
            )
        shape = self._shapes[index]
        if given.ndim != len(shape):
            raise ValueError(
                f"{wrong}Dimension mismatch. Got {given.ndim} but expected {len(shape)} for input "
                f"{index}."
            )
        for axis, (n, m) in enumerate(zip(given.shape, shape)):
            if n != m:
                raise ValueError(
                    f"{wrong}Dimension mismatch. Got {n} but expected {m} for dimension {axis} of "
                    f"input {index}."
                )
        array = self._arrays.get(index)
        if array is None:
            raise ValueError(f"{wrong}Tensor is unallocated. Try calling allocate_tensors() first")
        if not array.flags.writeable:
            raise ValueError(f"{wrong}{index} is a constant")
        array[...] = given

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> Any:
        """A copy of an input, an output or a constant; a number of NumPy's if it has no axes."""
        _check_graph(subgraph_index, self._model.graphs)
        array = self._array(tensor_index)
        return array.copy() if array.ndim else array[()]

    def tensor(self, tensor_index: int) -> Callable[[], Array]:
        """A function that gives an input, an output or a constant without a copy. While an array
        that it gave is alive, allocate_tensors(), resize_tensor_input() and invoke() are
        RuntimeErrors.
        """
        return lambda: self._view(tensor_index)

    def resize_tensor_input(
        self, input_index: int, tensor_size: Sequence[int] | Array, strict: bool = False
    ) -> None:
        """The shape of an input from the next allocate_tensors() on. strict: only sizes that are -1
        in its signature may change.
        """
        self._check_views()
        size = np.array(tensor_size, np.int32)
        if size.ndim != 1:
            raise ValueError(f"Shape should be 1D instead of {size.ndim}.")
        index, new = self._index(input_index), tuple(size.tolist())
        old, signature = self._shapes[index], self._model.tensors[index].signature
        if index not in self._inputs:
            raise RuntimeError(f"Tensor {index} is no input, which alone can be resized.")
        if strict and len(new) != len(old):
            raise RuntimeError(
                f"Attempting to resize tensor {index} from {len(old)} dimensions to {len(new)}."
            )
        for axis, (n, m) in enumerate(zip(old, new)):
            if strict and n != m and signature[axis : axis + 1] != (-1,):
                raise RuntimeError(
                    f"Attempting to resize dimension {axis} of tensor {index} with value {n} to "
                    f"{m}. ResizeInputTensorStrict only allows mutating unknown dimensions "
                    "identified by -1."
                )
        if min(new, default=0) < 0:
            raise RuntimeError(f"Tensor {index} cannot have the shape {list(new)}.")
        if new != old:
            self._shapes[index] = new
            self._arrays.pop(index, None)
            self._ready = False

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """Names of inputs and outputs of each signature, by its key."""
        return {
            key: {"inputs": list(signature.inputs), "outputs": list(signature.outputs)}
            for key, signature in self._signatures.items()
        }

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """What calls the model by names; without a key, of its only signature."""
        if signature_key is None:
            if len(self._signatures) != 1:
                raise ValueError(
                    "SignatureDef signature_key is None and model has "
                    f"{len(self._signatures)} Signatures. None is only allowed when the model has "
                    "1 SignatureDef"
                )
            (signature_key,) = self._signatures
        return SignatureRunner(self, signature_key)

    def reset_all_variables(self) -> None:
        """What the model keeps from one call to the next is as it was at first."""
        if self._session is not None:
            self._session.reset()

    def _index(self, index: Any) -> int:
        """An index that someone has given."""
        number, count = operator.index(index), len(self._model.tensors)
        if not 0 <= number < count:
            raise ValueError(f"Invalid tensor index {number} exceeds max tensor index {count}")
        return number

    def _details(self, index: int) -> dict[str, Any]:
        with _told(ValueError):
            return details(self._model.tensors[index], index, self._shapes[index])

    def _array(self, tensor_index: Any) -> Array:
        """The memory of a tensor."""
        index = self._index(tensor_index)
        if index not in self._arrays:
            constant = None
            if index not in self._inputs:
                with _told(ValueError):
                    constant = self._model.constant(self._model.tensors[index])
            if constant is None:
                raise ValueError(_UNALLOCATED)
            self._arrays[index] = constant
        return self._arrays[index]

    def _view(self, tensor_index: Any) -> Array:
        # Of an array whose base is none, slices hold the array itself, and it is alive with them.
        view: Array = np.asarray(self._array(tensor_index).data)
        self._views = [known for known in self._views if known() is not None]
        self._views.append(weakref.ref(view))
        return view

    def _check_views(self) -> None:
        if any(known() is not None for known in self._views):
            raise RuntimeError(_REFERENCED)
        self._views.clear()

    def _fits(self, session: Session) -> bool:
        return all(
            len(value.shape) == len(shape)
            and all(n in (None, m) for n, m in zip(value.shape, shape))
            for value in session.inputs
            for shape in [self._shapes[self._tensors[value.name]]]
        )

    def _made(self) -> Session:
        """A session for inputs of these sizes."""
        shapes = {self._values[index]: self._shapes[index] for index in self._inputs}
        lite = tflite.translated(self._source, shapes)
        self._resized = lite.resized
        self._images = {len(state.initial) for state in lite.states.all()}
        # Outputs may be inputs or constants, too, which are here already.
        made = {index for node in lite.model.operators for index in node.outputs}
        wanted = [self._values[index] for index in lite.model.outputs if index in made]
        if self._preserve:
            every = (self._values[index] for index in _computed(lite.model))
            wanted += [name for name in every if name not in lite.phases]
        wanted += [state.after for state in lite.states.all() if state.after]
        # Inputs that nothing reads may have any number of images.
        read = {name for node in lite.graph.nodes for name in node.inputs}
        inputs = [value for value in lite.graph.inputs if value.name in read]
        graph = replace(lite.graph, inputs=inputs, outputs=list(dict.fromkeys(wanted)))
        known = {v.name: shapes[v.name] for v in inputs if v.name in shapes}
        return load(graph, shapes=known, threads=self._threads)

    def _place(self, session: Session) -> None:
        """Memory for inputs and outputs; an input that has its shape already keeps its numbers."""
        batches = {
            self._shapes[self._tensors[value.name]][0]
            for value in session.inputs
            if value.shape[0] is None
        } | self._images
        if len(batches) > 1:
            several = " and ".join(map(str, sorted(batches)))
            raise ValueError(f"inputs of {several} images do not go together")
        for index in self._inputs:
            if index not in self._arrays:
                dtype = type_of(self._model.tensors[index])
                self._arrays[index] = np.zeros(self._shapes[index], dtype)
        for value in session.outputs:
            index = self._tensors[value.name]
            self._shapes[index] = tuple(n or max(batches, default=1) for n in value.shape)
            self._arrays[index] = np.zeros(self._shapes[index], value.dtype)
        self._given = [self._arrays[self._tensors[value.name]] for value in session.inputs]
        names = (value.name for value in session.outputs)
        self._results = [self._arrays[self._tensors[name]] for name in names]


class SignatureRunner:
    """Calls a model by the names of one of its signatures. Made by get_signature_runner()."""

    def __init__(self, interpreter: Interpreter, signature_key: str) -> None:
        if not signature_key:
            raise ValueError("None signature_key provided.")
        if signature_key not in interpreter._signatures:
            raise ValueError(f'Invalid signature_key provided: "{signature_key}".')
        self._interpreter = interpreter
        self._signature: Signature = interpreter._signatures[signature_key]
        _check_graph(self._signature.graph, interpreter._model.graphs)

    def __call__(self, **inputs: npt.ArrayLike) -> dict[str, Array]:
        """Run the model on an array for each input, whose shapes are theirs from now on."""
        interpreter, known = self._interpreter, self._signature.inputs
        if len(inputs) != len(known):
            raise ValueError(
                "Invalid number of inputs provided for running a SignatureDef, expected "
                f"{len(known)} vs provided {len(inputs)}"
            )
        for name, value in inputs.items():
            if name not in known:
                raise ValueError(f"Invalid Input name ({name}) for SignatureDef")
            interpreter.resize_tensor_input(known[name], np.shape(value))
        interpreter.allocate_tensors()
        for name, value in inputs.items():
            interpreter.set_tensor(known[name], value)
        interpreter.invoke()
        outputs = self._signature.outputs.items()
        return {name: interpreter.get_tensor(index) for name, index in outputs}

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """Details of inputs by the names they have here."""
        return self._details(self._signature.inputs)

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """Details of outputs by the names they have here."""
        return self._details(self._signature.outputs)

    def _details(self, tensors: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        interpreter = self._interpreter
        return {
            name: interpreter._details(interpreter._index(index)) for name, index in tensors.items()
        }


def _source(path: Any, content: Any) -> Source:
    """What the file holds, and its name."""
    given = content is not None and len(content) > 0
    if path and given:
        raise ValueError("Can't both provide `model_path` and `model_content`")
    if given:
        return Source(memoryview(content))
    if not path:
        raise ValueError("`model_path` or `model_content` must be specified.")
    name = os.fsdecode(path)
    try:
        with Source(name).open() as file:
            return Source(file)
    except OSError as error:
        raise ValueError(f"Could not open '{name}'. {error.strerror}") from None


@contextmanager
def _told(kind: type[Exception] = RuntimeError) -> Iterator[None]:
    """What is wrong is an exception of this type."""
    try:
        yield
    except (ValueError, Unsupported) as error:
        raise kind(str(error)) from None


def _computed(model: Model) -> list[int]:
    """The tensors that operators make of inputs' numbers, not of their shapes."""
    known = dict.fromkeys(model.inputs)
    for node in model.operators:
        if node.kind != "SHAPE" and not known.keys().isdisjoint(node.inputs):
            known.update(dict.fromkeys(node.outputs))
    return list(known)[len(set(model.inputs)) :]


def _check_graph(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise ValueError(f"Invalid subgraph index {index} exceeds max subgraph index {count}")
    if index:
        raise ValueError(f"Subgraph {index} is not supported; linnet computes the first")
