"""What programs ask of ONNX Runtime's interface, as texts: of it, or of what is to answer alike."""

from __future__ import annotations

import ast
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx_models import FLOAT, INT64, onnx

helper = onnx.helper
X = np.arange(12, dtype=np.float32).reshape(1, 3, 4) - 6
CPU = ["CPUExecutionProvider"]


def tensor(name: str, shape: Any, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def network(**more: Any) -> Any:
    """y = 2 relu(x), z = softmax of x; sizes with names, free and fixed ones."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Mul", ["r", "two"], ["y"]),
        helper.make_node("Softmax", ["x"], ["z"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "twice",
        [tensor("x", more.get("shape", ["batch", 3, 4]))],
        [tensor("y", ["batch", 3, 4]), tensor("z", ["batch", 3, 4])],
        [onnx.numpy_helper.from_array(np.float32([2]), "two")],
        doc_string="of a graph",
    )
    opset = [helper.make_opsetid("", more.get("opset", 17))]
    model = helper.make_model(graph, producer_name="tests", opset_imports=opset, ir_version=8)
    model.domain, model.model_version, model.doc_string = "org.example", 7, "of a model"
    helper.set_model_props(model, {"names": "{0: 'cat'}", "stride": "32", "empty": ""})
    return model


def pair() -> Any:
    """Of two inputs, one of which is of integers."""
    nodes = [
        helper.make_node("Cast", ["b"], ["c"], to=FLOAT),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    inputs = [tensor("b", [2, 3], INT64), tensor("a", [2, None])]
    graph = helper.make_graph(nodes, "pair", inputs, [tensor("y", [2, 3])])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def detector() -> Any:
    """A number of each of 3 classes and 4 of a box for each 8x8 pixels of a picture of any size,
    with what ultralytics writes of it.
    """
    weights = np.random.default_rng(2).standard_normal((7, 3, 8, 8)).astype(np.float32)
    tables = {"w": weights / 8, "flat": np.int64([0, 7, -1])}
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], strides=[8, 8]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Reshape", ["s", "flat"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [tensor("images", ["batch", 3, "height", "width"])],
        [tensor("output0", ["batch", 7, "anchors"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in tables.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = "{0: 'person', 1: 'bicycle', 2: 'car'}"
    told = {"task": "detect", "stride": "8", "names": names, "imgsz": "[32, 40]"}
    helper.set_model_props(model, told)
    return model


def broken(kind: str) -> bytes:
    model = network()
    if kind == "undefined":
        model.graph.node[1].input[0] = "nowhere"
    elif kind == "operator":
        model.graph.node[0].op_type = "Mystery"
    elif kind == "twice":
        model.graph.node[1].output[0] = "r"
    elif kind == "opset":
        del model.opset_import[:]
    return model.SerializeToString()


def told(value: Any) -> Any:
    """As text: arrays with their types and shapes, exceptions with theirs."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)} {np.round(value, 5).tolist()}"
    if isinstance(value, dict):
        return {str(key): told(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [told(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if {"name", "shape", "type"} <= set(dir(value)):
        return f"{value} {value.name} {value.shape} {value.type}"
    return str(value)


def answer(call: Callable[[], Any]) -> Any:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            result = told(call())
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return [result, [str(w.message) for w in seen]] if seen else result


def calls(ort: Any, folder: Path) -> dict[str, Any]:
    """All answers by what was asked."""
    path = folder / "network.onnx"
    path.write_bytes(network().SerializeToString())
    (folder / "text.onnx").write_text("no model at all")
    found = {}
    for part in (module, options, making, described, running, integers, scripts):
        for name, call in part(ort, path).items():
            found[f"{part.__name__}: {name}"] = answer(call)
    return found


def session(ort: Any, model: Any = None, **options: Any) -> Any:
    data = (network() if model is None else model).SerializeToString()
    return ort.InferenceSession(data, providers=CPU, **options)


def module(ort: Any, path: Path) -> dict[str, Callable[[], Any]]:
    return {
        "providers": ort.get_available_providers,
        "device": ort.get_device,
        "version": lambda: ort.__version__.split(".")[0],
        "levels": lambda: [
            (level.name, int(level.value))
            for level in (
                ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
                ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
                ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
                ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
            )
        ],
        "modes": lambda: [
            (mode.name, int(mode.value))
            for mode in (ort.ExecutionMode.ORT_SEQUENTIAL, ort.ExecutionMode.ORT_PARALLEL)
        ],
        "severity": lambda: ort.set_default_logger_severity(3),
        "seed": lambda: ort.set_seed(1),
        "telemetry": ort.disable_telemetry_events,
    }


SETTINGS = {
    "enable_cpu_mem_arena": False,
    "enable_mem_pattern": False,
    "enable_mem_reuse": False,
    "enable_profiling": False,
    "inter_op_num_threads": 2,
    "intra_op_num_threads": 1,
    "log_severity_level": 3,
    "log_verbosity_level": 1,
    "logid": "me",
    "optimized_model_filepath": "",
    "profile_file_prefix": "p",
    "use_deterministic_compute": True,
}


def options(ort: Any, path: Path) -> dict[str, Callable[[], Any]]:
    def changed(name: str, value: Any) -> Any:
        given = ort.SessionOptions()
        before = getattr(given, name)
        setattr(given, name, value)
        return [before, getattr(given, name), session(ort, sess_options=given).run(["y"], {"x": X})]

    def level(name: str) -> Any:
        given = ort.SessionOptions()
        given.graph_optimization_level = getattr(ort.GraphOptimizationLevel, name)
        given.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        net = session(ort, sess_options=given)
        same = net.get_session_options().graph_optimization_level == given.graph_optimization_level
        return [given.graph_optimization_level.name, given.execution_mode.name, same]

    def entry() -> Any:
        given = ort.SessionOptions()
        given.add_session_config_entry("session.intra_op.allow_spinning", "0")
        net = session(ort, sess_options=given)
        return [
            given.get_session_config_entry("session.intra_op.allow_spinning"),
            net.run(["y"], {"x": X}),
        ]

    def override(name: str) -> Any:
        given = ort.SessionOptions()
        given.add_free_dimension_override_by_name(name, 1)
        net = session(ort, sess_options=given)
        return [net.get_inputs()[0].shape, net.run(["y"], {"x": X})]

    return {
        **{name: lambda n=name, v=value: changed(n, v) for name, value in SETTINGS.items()},
        "level": lambda: level("ORT_DISABLE_ALL"),
        "wrong level": lambda: setattr(ort.SessionOptions(), "graph_optimization_level", "all"),
        "wrong threads": lambda: setattr(ort.SessionOptions(), "intra_op_num_threads", "two"),
        "unknown": lambda: setattr(ort.SessionOptions(), "number_of_threads", 3),
        "entry": entry,
        "no entry": lambda: ort.SessionOptions().get_session_config_entry("no"),
        "override": lambda: override("batch"),
        "override of none": lambda: override("width"),
        "not options": lambda: session(ort, sess_options=3),
        "run options": lambda: session(ort).run(["y"], {"x": X}, ort.RunOptions()),
    }


def making(ort: Any, path: Path) -> dict[str, Callable[[], Any]]:
    data = path.read_bytes()

    def made(*arguments: Any, **more: Any) -> Any:
        net = ort.InferenceSession(*arguments, **more)
        return [net.get_providers(), net.get_provider_options(), net.run(None, {"x": X})[0]]

    return {
        "path": lambda: made(str(path)),
        "pathlib": lambda: made(path),
        "bytes": lambda: made(data),
        "keywords": lambda: made(path_or_bytes=data, sess_options=None, providers=CPU),
        "options": lambda: made(str(path), ort.SessionOptions(), CPU, [{}]),
        "a tuple": lambda: made(data, providers=[("CPUExecutionProvider", {"a": 1})]),
        "others too": lambda: made(data, providers=["CUDAExecutionProvider", *CPU]),
        "others only": lambda: made(data, providers=["TensorrtExecutionProvider"]),
        "no providers": lambda: made(data, providers=[]),
        "twice": lambda: made(data, providers=CPU * 2),
        "a name": lambda: made(data, providers=3),
        "numbers": lambda: made(data, providers=[3]),
        "options of none": lambda: made(data, providers=CPU, provider_options=[]),
        "no file": lambda: made(str(path.parent / "none.onnx")),
        "no model": lambda: made(str(path.parent / "text.onnx")),
        "no model in bytes": lambda: made(b"no model at all"),
        "empty": lambda: made(b""),
        "a number": lambda: made(3),
        "none": lambda: made(None),
        "no arguments": ort.InferenceSession,
        "an undefined value": lambda: made(broken("undefined")),
        "an operator": lambda: made(broken("operator")),
        "a value twice": lambda: made(broken("twice")),
        "no opset": lambda: made(broken("opset")),
        "again": lambda: reset(ort, data),
    }


def reset(ort: Any, data: bytes) -> Any:
    net = ort.InferenceSession(data, providers=CPU)
    net.set_providers(CPU)
    net.disable_fallback()
    net.enable_fallback()
    return [net.get_providers(), net.run(["y"], {"x": X})]


def described(ort: Any, path: Path) -> dict[str, Callable[[], Any]]:
    net = ort.InferenceSession(str(path), providers=CPU)

    def meta() -> Any:
        found = net.get_modelmeta()
        names = "producer_name graph_name domain description graph_description version"
        return [
            *(getattr(found, name) for name in names.split()),
            dict(sorted(found.custom_metadata_map.items())),
        ]

    two = session(ort, pair())
    return {
        "inputs": net.get_inputs,
        "outputs": net.get_outputs,
        "initializers": net.get_overridable_initializers,
        "of two": lambda: [two.get_inputs(), two.get_outputs()],
        "metadata": meta,
        "none": lambda: session(ort, pair()).get_modelmeta().custom_metadata_map,
        "free sizes": lambda: session(ort, network(shape=["n", "h", None])).get_inputs(),
        "without a shape": lambda: session(ort, network(shape=None)).get_inputs(),
    }


def running(ort: Any, path: Path) -> dict[str, Callable[[], Any]]:
    net = ort.InferenceSession(str(path), providers=CPU)
    fixed = session(ort, network(shape=[1, 3, 4]))
    return {
        "all": lambda: net.run(None, {"x": X}),
        "no names": lambda: net.run([], {"x": X}),
        "one": lambda: net.run(["z"], {"x": X}),
        "in this order": lambda: net.run(["z", "y"], {"x": X}),
        "twice": lambda: net.run(["y", "y"], {"x": X}),
        "keywords": lambda: net.run(output_names=["y"], input_feed={"x": X}),
        "a batch": lambda: net.run(["y"], {"x": np.concatenate([X, X])}),
        "turned": lambda: net.run(["y"], {"x": np.asfortranarray(X)}),
        "big endian": lambda: net.run(["y"], {"x": X.astype(">f4")}),
        "unknown output": lambda: net.run(["w"], {"x": X}),
        "a value between": lambda: net.run(["r"], {"x": X}),
        "names as text": lambda: net.run("y", {"x": X}),
        "missing input": lambda: net.run(None, {}),
        "unknown input": lambda: net.run(None, {"x": X, "w": X}),
        "other input": lambda: net.run(None, {"w": X}),
        "doubles": lambda: net.run(None, {"x": X.astype(np.float64)}),
        "integers": lambda: net.run(None, {"x": X.astype(np.int64)}),
        "bytes": lambda: net.run(None, {"x": X.astype(np.uint8)}),
        "rank": lambda: net.run(None, {"x": X[0]}),
        "sizes": lambda: net.run(None, {"x": X[:, :2, :3]}),
        "fixed batch": lambda: fixed.run(None, {"x": np.concatenate([X, X])}),
        "a list": lambda: fixed.run(["y"], {"x": X.tolist()}),
        "nothing": lambda: fixed.run(["y"], {"x": None}),
        "no dictionary": lambda: fixed.run(["y"], X),
        "terminated": lambda: stopped(ort),
    }


def stopped(ort: Any) -> Any:
    given = ort.RunOptions()
    given.terminate = True
    return session(ort).run(["y"], {"x": X}, given)


def integers(ort: Any, path: Path) -> dict[str, Callable[[], Any]]:
    net = session(ort, pair())
    a, b = np.ones((2, 3), np.float32), np.arange(6).reshape(2, 3)
    return {
        "two": lambda: net.run(None, {"a": a, "b": b}),
        "other order": lambda: net.run(None, {"b": b, "a": a}),
        "of 32 bits": lambda: net.run(None, {"a": a, "b": b.astype(np.int32)}),
        "one of two": lambda: net.run(None, {"a": a}),
        "several wrong": lambda: net.run(None, {"a": a[:1, :2], "b": b[:, :2]}),
    }


def scripts(ort: Any, path: Path) -> dict[str, Callable[[], Any]]:
    """As those of detectors and of faces are written."""
    data = detector().SerializeToString()
    picture = np.random.default_rng(3).integers(0, 256, (20, 40, 3)).astype(np.uint8)

    def letterboxed(high: int, wide: int) -> Any:
        whole = np.full((high, wide, 3), 114, np.uint8)
        top, left = (high - picture.shape[0]) // 2, (wide - picture.shape[1]) // 2
        whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return np.ascontiguousarray(whole.transpose(2, 0, 1)[None]).astype(np.float32) / 255

    def backend() -> Any:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        providers = ["CUDAExecutionProvider"] * cuda + CPU
        net = ort.InferenceSession(data, options, providers=providers)
        told = net.get_modelmeta().custom_metadata_map
        names, (high, wide) = ast.literal_eval(told["names"]), ast.literal_eval(told["imgsz"])
        outputs = [output.name for output in net.get_outputs()]
        dynamic = isinstance(net.get_outputs()[0].shape[0], str)
        half = "float16" in net.get_inputs()[0].type
        found = [told["task"], int(told["stride"]), names, outputs, dynamic, half]
        for sizes in ((high, wide), (24, 64)):
            (y,) = net.run(outputs, {net.get_inputs()[0].name: letterboxed(*sizes)})
            best = y[0, 4:].max(0).argsort(kind="stable")[::-1][:3]
            found += [y.round(3), [names[int(n)] for n in y[0, 4:, best].argmax(1)]]
        return found

    class Kept(ort.InferenceSession):  # type: ignore[misc]
        """One that goes to other processes by the file that it is of."""

        def __init__(self, model: str, **more: Any) -> None:
            super().__init__(model, **more)
            self.model = model

        def __reduce__(self) -> Any:
            return str, (self.model,)

    def kept() -> Any:
        net = Kept(str(path), providers=ort.get_available_providers())
        again = Kept(pickle.loads(pickle.dumps(net)), providers=CPU)
        feed = {arg.name: X for arg in again.get_inputs()}
        return [again._providers, again._provider_options, again.run(None, feed)]

    return {"a detector": backend, "a class of its own": kept}
