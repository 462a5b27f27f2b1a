"""What a program does with TFLite's Interpreter, right and wrong: the same calls to LiteRT's, whose
answers tests/data/tflite/make_interpreter.py records, and to linnet's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tflite_cases import b, i, sparse
from tflite_models import Op, Part, Tensor, constant, model, numbers

DATA = Path(__file__).parent / "data" / "tflite"
X = np.array([[-1, 2, -3, 8]], np.float32)


def signature(key: str, inputs: dict[str, int], outputs: dict[str, int], graph: int = 0) -> Any:
    sides = [[{0: name, 1: ("I", n)} for name, n in side.items()] for side in (inputs, outputs)]
    return {0: sides[0], 1: sides[1], 2: key, 4: ("I", graph)}


def plain(*signatures: Any) -> bytes:
    """x + 1, cut below and on both sides; any number of images."""
    tensors = {
        "x": Tensor((1, 4), signature=(-1, 4)),
        "one": constant([1], "float32"),
        "sum": Tensor((1, 4), signature=(-1, 4)),
        "y": Tensor((1, 4), signature=(-1, 4)),
        "z": Tensor((1, 4), signature=(-1, 4)),
    }
    operators = [
        Op("ADD", ["x", "one"], ["sum"], (11, {})),
        Op("RELU", ["sum"], ["y"]),
        Op("RELU6", ["sum"], ["z"]),
    ]
    return model(tensors, operators, ["x"], ["y", "z"], more={7: list(signatures)})


SIGNED = plain(
    signature("zeta", {"q": 0}, {"lower": 3, "both": 4}), signature("alpha", {"q": 0}, {"only": 3})
)


def quantised() -> bytes:
    """Bytes whose largest of each square count, a scale for each row of weights of another type."""
    tensors = {
        "x": Tensor((1, 4, 4, 2), dtype="uint8", quant=(0.5, 3, 0)),
        "y": Tensor((1, 2, 2, 2), dtype="uint8", quant=(0.5, 3, 0)),
        "w": constant(np.arange(8).reshape(2, 1, 1, 4), "int8", quant=([0.1, 0.2], [0, 0], 0)),
    }
    options = (5, {0: b(1), 1: i(2), 2: i(2), 3: i(2), 4: i(2)})
    return model(tensors, [Op("MAX_POOL_2D", ["x"], ["y"], options)], ["x"], ["y"])


def picture() -> bytes:
    """A picture of a fixed size, whose right and lower half is cut out, and rows of all of it."""
    tensors = {
        "x": Tensor((1, 8, 8, 3)),
        "half": Tensor((1, 4, 4, 3)),
        "cut": Tensor((1, 2, 4, 3)),
        "rows": Tensor((2, 12)),
        "starts": constant([0, 2, 0, 0]),
        "ends": constant([0, 4, 4, 0]),
        "steps": constant([1, 1, 1, 1]),
        "shape": constant([-1, 12]),
    }
    pool = (5, {0: b(1), 1: i(2), 2: i(2), 3: i(2), 4: i(2)})
    operators = [
        Op("MAX_POOL_2D", ["x"], ["half"], pool),
        Op("STRIDED_SLICE", ["half", "starts", "ends", "steps"], ["cut"], (32, {0: i(9), 1: i(9)})),
        Op("RESHAPE", ["cut", "shape"], ["rows"], (17, {})),
    ]
    return model(tensors, operators, ["x"], ["cut", "rows"])


def pair() -> bytes:
    tensors = {name: Tensor((2, 3)) for name in ("a", "b", "y")}
    return model(tensors, [Op("SUB", ["a", "b"], ["y"], (28, {}))], ["b", "a"], ["y"])


def counting() -> bytes:
    """What is given is added to what there was; the sum is given before and behind half of it."""

    def handle(name: str) -> Op:
        return Op("VAR_HANDLE", [], [name], (111, {1: "total"}))

    resource, row = Tensor((), dtype="resource"), Tensor((1, 4))
    tensors = {"v": resource, "half": constant([0.5], "float32")}
    tensors.update(dict.fromkeys(("x", "before", "sum", "now", "y"), row))
    operators = [
        Op("CALL_ONCE", [], [], (103, {0: i(1)})),
        handle("v"),
        Op("READ_VARIABLE", ["v"], ["before"]),
        Op("ADD", ["x", "before"], ["sum"], (11, {})),
        Op("ASSIGN_VARIABLE", ["v", "sum"], []),
        Op("READ_VARIABLE", ["v"], ["now"]),
        Op("MUL", ["now", "half"], ["y"], (21, {})),
    ]
    first = {"v": resource, "first": constant([[10, 20, 30, 40]], "float32")}
    once = Part(first, [handle("v"), Op("ASSIGN_VARIABLE", ["v", "first"], [])], [], [])
    return model(tensors, operators, ["x"], ["sum", "y"], others=[once])


def plainly(value: Any) -> Any:
    """As JSON has it: arrays and types become texts."""
    if isinstance(value, dict):
        return {str(key): plainly(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plainly(item) for item in value]
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)} {value.ravel().tolist()}"
    if isinstance(value, type):
        return value.__name__
    return value


def answer(call: Callable[[], Any]) -> Any:
    try:
        return plainly(call())
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def calls(tflite: Any) -> dict[str, Any]:
    """What each call gives, or its exception; `tflite` is the module with the Interpreter."""
    found: dict[str, Any] = {}
    for part in (making, details, tensors, sizes, references, runners, states):
        for name, call in part(tflite).items():
            found[f"{part.__name__}: {name}"] = answer(call)
    return json.loads(json.dumps(found))


def making(tflite: Any) -> dict[str, Callable[[], Any]]:
    path, make = str(DATA / "float.tflite"), tflite.Interpreter
    good = {
        "path": {"model_path": path},
        "bytes of a path": {"model_path": path.encode()},
        "Path": {"model_path": Path(path)},
        "content": {"model_content": SIGNED},
        "threads": {"model_path": path, "num_threads": 2},
        "no delegates": {"model_path": path, "experimental_delegates": []},
        "kernels": {
            "model_path": path,
            "experimental_op_resolver_type": tflite.OpResolverType.BUILTIN_REF,
        },
        "nothing": {},
        "both": {"model_path": path, "model_content": SIGNED},
        "empty": {"model_content": b""},
        "no threads": {"model_path": path, "num_threads": 0},
        "half a thread": {"model_path": path, "num_threads": 0.5},
        "unknown kernels": {"model_path": path, "experimental_op_resolver_type": 7},
        "unknown argument": {"model_path": path, "threads": 7},
        "a number": {"model_path": 5},
        "text": {"model_content": "text"},
        "no file": {"model_path": "/no/such/file.tflite"},
        "no model": {"model_content": b"text" * 100},
    }
    return {name: lambda given=given: type(make(**given)).__name__ for name, given in good.items()}


def details(tflite: Any) -> dict[str, Callable[[], Any]]:
    files = {
        "plain": SIGNED,
        "quantised": quantised(),
        "picture": picture(),
        "pair": pair(),
        "int8": (DATA / "int8.tflite").read_bytes(),
        "sparse": sparse((3, 4), [1, 2, 3], [3, ([0, 1, 1, 3], [2, 0, 3])], [0, 1]).model,
    }
    found: dict[str, Callable[[], Any]] = {}
    for name, data in files.items():
        net = tflite.Interpreter(model_content=data)
        found[f"{name} inputs"] = net.get_input_details
        found[f"{name} outputs"] = net.get_output_details
        found[f"{name} signatures"] = net.get_signature_list
        found[f"{name} graphs"] = net.num_subgraphs
        if name != "int8":
            found[f"{name} tensors"] = net.get_tensor_details
    found["of no graph"] = lambda: net.get_tensor_details(1)
    return found


def tensors(tflite: Any) -> dict[str, Callable[[], Any]]:
    new, net = (tflite.Interpreter(model_content=SIGNED) for _ in range(2))
    net.allocate_tensors()
    bytes_ = tflite.Interpreter(model_content=quantised())
    bytes_.allocate_tensors()
    image = (np.arange(32).reshape(1, 4, 4, 2) * 7 % 256).astype(np.uint8)
    found: dict[str, Callable[[], Any]] = {
        "set early": lambda: new.set_tensor(0, X),
        "get early": lambda: new.get_tensor(3),
        "view early": new.tensor(0),
        "invoke early": new.invoke,
        "constant early": lambda: new.get_tensor(1),
        "set": lambda: net.set_tensor(0, X),
        "invoke": net.invoke,
        "get": lambda: [net.get_tensor(n) for n in (0, 3, 4)],
        "of the graph": lambda: net.get_tensor(3, 0),
        "of no graph": lambda: net.get_tensor(3, 1),
        "constant": lambda: net.get_tensor(1),
        "allocate again": net.allocate_tensors,
        "keep": lambda: net.get_tensor(0),
        "strides": lambda: (net.set_tensor(0, np.repeat(X, 2, 1)[:, ::2]), net.get_tensor(0)),
        "index of NumPy": lambda: net.set_tensor(np.int64(0), X),
        "get beyond": lambda: net.get_tensor(5),
        "get before": lambda: net.get_tensor(-1),
        "set beyond": lambda: net.set_tensor(5, X),
        "view beyond": net.tensor(5),
        "list": lambda: net.set_tensor(0, X.tolist()),
        "ragged": lambda: net.set_tensor(0, [[1, 2], [3]]),
        "nothing": lambda: net.set_tensor(0, None),
        "text": lambda: net.set_tensor(0, "text"),
        "no axes": lambda: net.set_tensor(0, np.float32(1)),
        "too few axes": lambda: net.set_tensor(0, X[0]),
        "too few numbers": lambda: net.set_tensor(0, X[:, :3]),
        "two images": lambda: net.set_tensor(0, np.concatenate([X, X])),
        "bytes": lambda: bytes_.set_tensor(0, image),
        "reals for bytes": lambda: bytes_.set_tensor(0, image.astype(np.float32)),
        "signed for bytes": lambda: bytes_.set_tensor(0, image.astype(np.int8)),
        "bytes run": lambda: (bytes_.invoke(), bytes_.get_tensor(1)),
        "variables": net.reset_all_variables,
    }
    for kind in ("f2", "f8", "i2", "i8", "u2", "u4", "u8", "?", "c8", "c16", "M8[s]", "S1"):
        found[f"type {kind}"] = lambda kind=kind: net.set_tensor(0, np.zeros((1, 4), kind))
    return found


def resized(tflite: Any, data: bytes, *shapes: Any, strict: bool = False) -> Any:
    """Details and results with inputs of these shapes."""
    net = tflite.Interpreter(model_content=data)
    inputs = [info["index"] for info in net.get_input_details()]
    for index, shape in zip(inputs, shapes):
        net.resize_tensor_input(index, shape, strict=strict)
    net.allocate_tensors()
    for n, (index, shape) in enumerate(zip(inputs, shapes)):
        net.set_tensor(index, numbers(*shape, seed=n))
    net.invoke()
    ends = [*net.get_input_details(), *net.get_output_details()]
    return [(info["shape"], net.get_tensor(info["index"])) for info in ends]


def sizes(tflite: Any) -> dict[str, Callable[[], Any]]:
    net = tflite.Interpreter(model_content=SIGNED)
    net.allocate_tensors()
    two = np.concatenate([X, 2 * X])
    return {
        "same": lambda: (net.resize_tensor_input(0, [1, 4]), net.set_tensor(0, X)),
        "other": lambda: net.resize_tensor_input(0, [2, 4]),
        "details": lambda: net.get_input_details()[0]["shape"],
        "signature": lambda: net.get_input_details()[0]["shape_signature"],
        "set early": lambda: net.set_tensor(0, two),
        "set old": lambda: net.set_tensor(0, X),
        "invoke early": net.invoke,
        "allocate": net.allocate_tensors,
        "outputs": lambda: [info["shape"] for info in net.get_output_details()],
        "run": lambda: (net.set_tensor(0, two), net.invoke(), net.get_tensor(4)),
        "back": lambda: (net.resize_tensor_input(0, (1, 4)), net.allocate_tensors()),
        "run again": lambda: (net.set_tensor(0, X), net.invoke(), net.get_tensor(4)),
        "strictly": lambda: net.resize_tensor_input(0, [3, 4], strict=True),
        "too strictly": lambda: net.resize_tensor_input(0, [3, 5], strict=True),
        "a number": lambda: net.resize_tensor_input(0, 5),
        "a matrix": lambda: net.resize_tensor_input(0, [[1, 4], [1, 4]]),
        "text": lambda: net.resize_tensor_input(0, "text"),
        "an array": lambda: net.resize_tensor_input(0, np.array([1, 4])),
        "of reals": lambda: net.resize_tensor_input(0, np.array([1.0, 4.0])),
        "five columns": lambda: resized(tflite, SIGNED, (2, 5)),
        "larger picture": lambda: resized(tflite, picture(), (1, 12, 10, 3)),
        "smaller picture": lambda: resized(tflite, picture(), (1, 8, 4, 3)),
        "two pictures": lambda: resized(tflite, picture(), (2, 8, 8, 3)),
        "odd picture": lambda: resized(tflite, picture(), (1, 11, 7, 3)),
        "strict picture": lambda: resized(tflite, picture(), (1, 12, 10, 3), strict=True),
        "both of a pair": lambda: resized(tflite, pair(), (3, 2), (3, 2)),
        "one of a pair": lambda: resized(tflite, pair(), (1, 3), (2, 3)),
    }


def references(tflite: Any) -> dict[str, Callable[[], Any]]:
    net = tflite.Interpreter(model_content=SIGNED)
    net.allocate_tensors()
    x, y = net.tensor(0), net.tensor(3)
    held: list[Any] = []

    def fill() -> Any:
        x().fill(3)
        net.invoke()
        return y().tolist(), x().flags.writeable, x().flags.owndata

    return {
        "fill": fill,
        "hold": lambda: held.append(x()),
        "invoke held": net.invoke,
        "allocate held": net.allocate_tensors,
        "resize held": lambda: net.resize_tensor_input(0, [2, 4]),
        "set held": lambda: (net.set_tensor(0, X), held[0]),
        "get held": lambda: net.get_tensor(0),
        "hold a part": lambda: held.append(held.pop()[:, 1:]),
        "invoke with a part": net.invoke,
        "let go": held.clear,
        "invoke": net.invoke,
        "write a result": lambda: (y().fill(5), net.get_tensor(3)),
    }


def runners(tflite: Any) -> dict[str, Callable[[], Any]]:
    single = plain(signature("serve", {"images": 0}, {"result": 4}))

    def runner(data: bytes = SIGNED, key: Any = "zeta") -> Any:
        return tflite.Interpreter(model_content=data).get_signature_runner(key)

    def twice() -> Any:
        run = runner()
        return run(q=X), run(q=np.concatenate([X, X])), run.get_input_details()

    return {
        "call": lambda: runner()(q=X),
        "the only one": lambda: runner(single, None)(images=X),
        "other sizes": twice,
        "inputs": lambda: runner().get_input_details(),
        "outputs": lambda: runner().get_output_details(),
        "none of two": lambda: runner(key=None),
        "none of none": lambda: runner(plain(), None),
        "unknown": lambda: runner(key="unknown"),
        "empty": lambda: runner(key=""),
        "no inputs": runner(),
        "wrong input": lambda: runner()(x=X),
        "wrong type": lambda: runner()(q=X.astype(np.float64)),
    }


def states(tflite: Any) -> dict[str, Callable[[], Any]]:
    net = tflite.Interpreter(model_content=counting())
    net.allocate_tensors()
    outputs = [info["index"] for info in net.get_output_details()]

    def run() -> Any:
        net.set_tensor(net.get_input_details()[0]["index"], X)
        net.invoke()
        return [net.get_tensor(index) for index in outputs]

    return {
        "details": net.get_tensor_details,
        "graphs": net.num_subgraphs,
        "first": run,
        "second": run,
        "allocate": lambda: (net.allocate_tensors(), run()),
        "reset": lambda: (net.reset_all_variables(), run()),
    }
