"""The reader of Keras against stored results of Keras 2 and 3, and against files that are wrong."""

from __future__ import annotations

import gzip
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reading
from packed import Case, unpack
from reading import close, refusal

import linnet
from linnet import formats, interpret
from linnet.formats import _hdf5, _hdf5_child
from linnet.graph import Graph

h5py = pytest.importorskip("h5py", reason="the test extra is not installed")

DATA = Path(__file__).parent / "data" / "keras"
CASES = {
    f"{name}-{version}": (case, version)
    for version in (2, 3)
    for name, case in unpack(DATA / f"layers{version}.npz").items()
}
FILES = {
    f"shared{version}{suffix}": version for version in (2, 3) for suffix in (".h5.gz", ".keras")
}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is the same, and a process for each file would take most of the time."""
    monkeypatch.setattr(_hdf5, "Hdf5", _hdf5_child.File)


def h5(config: Any, weights: dict[str, list[Any]], version: str = "2.10.0", **attrs: Any) -> bytes:
    """An .h5 file as Keras 2 writes it: weights by the names of layers."""
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        if config is not None:
            root.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        root.attrs.update({"keras_version": version, "backend": "tensorflow", **attrs})
        group = root.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            layer = group.create_group(name)
            names = [f"{name}/{index}:0" for index in range(len(arrays))]
            layer.attrs["weight_names"] = [text.encode() for text in names]
            for text, array in zip(names, arrays):
                layer[text] = array
    return file.getvalue()


def weights_of(case: Case) -> dict[str, list[Any]]:
    weights: dict[str, list[Any]] = {}
    for key, value in case.items():
        if key.startswith("w/"):
            weights.setdefault(key.split("/")[1], []).append(value)
    return weights


def archive(**members: bytes | str) -> bytes:
    """A .keras file; "_" in names stands for "."."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, data in members.items():
            packed.writestr(name.replace("_", "."), data)
    return file.getvalue()


def layer(kind: str, name: str, reads: str = "", **config: Any) -> dict[str, Any]:
    nodes = [[[reads, 0, 0, {}]]] if reads else []
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": nodes,
    }


def functional(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    config = {
        "name": "model",
        "layers": list(layers),
        "input_layers": [[layers[0]["name"], 0, 0]],
        "output_layers": [[layers[-1]["name"], 0, 0]],
    }
    return {"class_name": "Model", "config": {**config, **more}}


IMAGE = layer("InputLayer", "image", batch_input_shape=[None, 4, 4, 2])


def run(graph: Graph, *xs: Any) -> list[Any]:
    """The outputs for inputs in order."""
    feeds = {value.name: x for value, x in zip(graph.inputs, xs)}
    return list(reading.run(graph, feeds).values())


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case, version = CASES[name]
    data = h5(case["config"], weights_of(case), {2: "2.21.0", 3: "3.15.1"}[version])
    xs = [case[key] for key in sorted(case) if key[0] == "x"]
    (y,) = run(formats.read(data), *xs)
    close(y, case["y"])


@pytest.mark.parametrize("name", FILES)
def test_whole_files(name: str, tmp_path: Path) -> None:
    results, data = np.load(DATA / "files.npz"), (DATA / name).read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    path = tmp_path / name.removesuffix(".gz")
    path.write_bytes(data)
    for given in (path, data):
        net = linnet.load(given)
        assert [(v.name, v.shape) for v in net.inputs] == [("image", (None, 8, 6, 3))]
        assert [v.name for v in net.outputs] == ["scores", "size"]
        for got, key in zip(net.run(None, {"image": results["x"]}), ("scores", "size")):
            close(got, results[f"{key}{FILES[name]}"])
    inner = {name for name in formats.read(path).names() if name.startswith("twice/re_lu")}
    assert {"first", "sum", "separable"} <= formats.read(path).names()
    assert inner == {"twice/re_lu", "twice/re_lu_1"} | {n for n in inner if "." in n}


def test_a_configuration_and_weights_apart(tmp_path: Path) -> None:
    results = np.load(DATA / "files.npz")
    with zipfile.ZipFile(DATA / "shared3.keras") as packed:
        for name in ("config.json", "model.weights.h5"):
            (tmp_path / name).write_bytes(packed.read(name))
    net = linnet.load(tmp_path / "config.json", tmp_path / "model.weights.h5")
    close(net.run("scores", {"image": results["x"]})[0], results["scores3"])
    with pytest.raises(ValueError, match="weights are missing"):
        linnet.load(tmp_path / "config.json")
    with pytest.raises(ValueError, match="without the model's configuration"):
        linnet.load(tmp_path / "model.weights.h5")
    # The weights of another file instead of its own.
    net = linnet.load(DATA / "shared3.keras", tmp_path / "model.weights.h5")
    close(net.run("size", {"image": results["x"]})[0], results["size3"])


def test_paths_of_the_first_keras_files() -> None:
    """Keras 2.12 wrote `_layer_checkpoint_dependencies`, where others have `layers`."""
    results = np.load(DATA / "first.npz")
    close(linnet.load(DATA / "first.keras")(results["x"]), results["y"])


def test_long_lists_of_names_come_in_parts() -> None:
    config = functional(IMAGE, layer("Conv2D", "c", "image", filters=1, kernel_size=[1, 1]))
    weights = [np.full((1, 1, 2, 1), 2, np.float32), np.ones(1, np.float32)]
    file = io.BytesIO(h5(config, {"c": weights}))
    with h5py.File(file, "r+") as root:
        names = root["model_weights/c"].attrs.pop("weight_names")
        for index, name in enumerate(names):
            root["model_weights/c"].attrs[f"weight_names{index}"] = [name]
    (y,) = run(formats.read(file.getvalue()), np.ones((1, 4, 4, 2), np.float32))
    close(y, np.full((1, 4, 4, 1), 5, np.float32))


def test_a_sequential_before_keras_2_2_3() -> None:
    """Its settings are a list of layers, the first of which has the shape of the input; here beside
    weights that lie in a file of their own, as save_weights() wrote them.
    """
    conv = layer("Conv2D", "c", filters=1, kernel_size=[1, 1], batch_input_shape=[None, 4, 4, 2])
    config = {"class_name": "Sequential", "config": [conv, layer("Flatten", "f")]}
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        root.attrs["layer_names"] = [b"c", b"f"]
        root["c/kernel"], root["c/bias"] = np.full((1, 1, 2, 1), 2, "f4"), np.ones(1, "f4")
        root["c"].attrs["weight_names"] = [b"kernel", b"bias"]
        root.create_group("f").attrs["weight_names"] = np.zeros(0)
    text = json.dumps({**config, "keras_version": "2.0.8"}).encode()
    graph = formats.read(text, file.getvalue())
    assert [value.name for value in graph.inputs] == ["c_input"]
    (y,) = run(graph, np.ones((1, 4, 4, 2), np.float32))
    close(y, np.full((1, 16), 5, np.float32))


def test_gelu() -> None:
    config = functional(IMAGE, layer("Activation", "a", "image", activation="gelu"))
    graph = formats.read(h5(config, {}))
    x = np.linspace(-3, 3, 32, dtype=np.float32).reshape(1, 4, 4, 2)
    wanted = [n / 2 * (1 + math.erf(n / math.sqrt(2))) for n in x.ravel().tolist()]
    close(interpret.run(graph, {"image": x}, fetch=["a"])["a"], np.reshape(wanted, x.shape))


def test_channels_first() -> None:
    """Keras itself has no such convolutions on a CPU; they are the same on turned images."""
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(3, 3, 2, 5)).astype(np.float32)
    settings = {"filters": 5, "kernel_size": [3, 3], "strides": [2, 1], "use_bias": False}
    results = []
    for order, shape in (("last", [None, 4, 4, 2]), ("first", [None, 2, 4, 4])):
        image = layer("InputLayer", "image", batch_input_shape=shape)
        kind = {"data_format": f"channels_{order}", "padding": "same"}
        conv = layer("Conv2D", "c", "image", **settings, **kind)
        pool = layer("MaxPooling2D", "p", "c", pool_size=[2, 2], strides=[1, 1], **kind)
        flat = layer("Flatten", "f", "p", data_format=f"channels_{order}")
        data = h5(functional(image, conv, pool, flat), {"c": [weight]})
        given = x if order == "last" else x.transpose(0, 3, 1, 2)
        results += run(formats.read(data), given)
    close(results[1], results[0])


def test_open_sizes() -> None:
    image = layer("InputLayer", "image", batch_shape=[None, None, None, 2])
    conv = layer("Conv2D", "c", "image", filters=1, kernel_size=[3, 3], padding="same")
    up = layer("UpSampling2D", "u", "c", size=[2, 2])
    mean = layer("GlobalAveragePooling2D", "g", "u")
    weights = [np.ones((3, 3, 2, 1), np.float32), np.zeros(1, np.float32)]
    net = linnet.load(h5(functional(image, conv, up, mean), {"c": weights}))
    assert net.inputs[0].shape == (None, None, None, 2)
    for high, wide in ((5, 8), (4, 3)):
        y = net(np.ones((1, high, wide, 2), np.float32))
        expected = 2 * (3 * high - 2) * (3 * wide - 2) / (high * wide)
        close(y, np.full((1, 1), expected, np.float32))


def test_bytes_go_in_as_they_are() -> None:
    image = layer("InputLayer", "image", batch_input_shape=[None, 2, 2, 1], dtype="uint8")
    net = linnet.load(h5(functional(image, layer("Rescaling", "r", "image", scale=0.5)), {}))
    x = np.array([0, 3, 128, 255], np.uint8).reshape(1, 2, 2, 1)
    close(net(x), x.astype(np.float32) / 2)


def test_keras_1() -> None:
    """Words of Keras 1 for layers, settings and sums."""
    settings = {"nb_filter": 1, "nb_row": 3, "nb_col": 3, "border_mode": "same", "init": "uniform"}
    conv = layer("Convolution2D", "c", "image", **settings, subsample=[1, 1], dim_ordering="tf")
    merge = layer("Merge", "m", mode="sum", concat_axis=-1, dot_axes=-1)
    merge["inbound_nodes"] = [[["c", 0, 0], ["c", 0, 0]]]
    weights = [np.ones((3, 3, 2, 1), np.float32), np.ones(1, np.float32)]
    config = functional(IMAGE, conv, merge)
    (y,) = run(formats.read(h5(config, {"c": weights}, "1.2.2")), np.ones((1, 4, 4, 2), "f4"))
    assert y[0, 1, 1, 0] == 38 and y[0, 0, 0, 0] == 18
    conv["config"]["dim_ordering"] = "th"
    refusal(h5(config, {"c": weights}, "1.2.2"), "node 'c' (Conv2D)", "data_format is 'th'")


def test_all_problems_at_once() -> None:
    lambda_ = layer("Lambda", "code", "image", function=["4wEAAAAAAAAA", None, None])
    own = layer("MyBlock", "own", "code")
    conv = layer("Conv2D", "c", "image", filters=1, kernel_size=[1, 1])
    other = {**layer("ReLU", "other", "image"), "registered_name": "Package>ReLU"}
    outputs = [[name, 0, 0] for name in ("own", "c", "other")]
    config = functional(IMAGE, lambda_, own, conv, other, output_layers=outputs)
    refusal(
        h5(config, {}),
        "'code' (Lambda): holds code",
        "'own' (MyBlock): layers of this class are not supported",
        "'other' (ReLU): layers of this class are not supported",
        "'c' (Conv2D): needs 1 weights or more, the file has none for it",
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"filters": 2}, "its filters and groups are not those of its weights"),
        ({"kernel_size": [3]}, "its kernel_size is [3], expected 2 integers"),
        ({"kernel_size": "big"}, "its kernel_size is 'big'"),
        ({"padding": "reflect"}, "its padding is 'reflect', expected valid or same"),
        ({"strides": [0, 1]}, "stride 0"),
        ({"activation": "celu"}, "the activation 'celu' is not supported"),
        ({"activation": {"class_name": "MyReLU"}}, "is not supported"),
        ({"dtype": {"config": {"name": "int8_from_float32"}}}, "its dtype is 'int8_from_float32'"),
        ({"mirror": True}, "has a setting that is not known: 'mirror'"),
        ({"use_bias": "yes"}, "its use_bias is 'yes'"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], text: str) -> None:
    settings = {"filters": 1, "kernel_size": [1, 1], "kernel_initializer": {}, **changes}
    config = functional(IMAGE, layer("Conv2D", "c", "image", **settings))
    weights = [np.ones((1, 1, 2, 1), np.float32), np.ones(1, np.float32)]
    refusal(h5(config, {"c": weights}), "(Conv2D)", text)


def test_circles_and_gaps() -> None:
    a, b = layer("Activation", "a", "b"), layer("Activation", "b", "a")
    refusal(h5(functional(IMAGE, a, b), {}), "read each other in a circle")
    refusal(h5(functional(IMAGE, layer("Activation", "a", "x")), {}), "call 0 of 'x'")
    refusal(h5(functional(IMAGE, IMAGE), {}), "two layers")
    refusal(
        h5(functional(layer("InputLayer", "i", batch_shape=[None, -3])), {}), "shape [None, -3]"
    )
    refusal(h5({"class_name": "Sequential", "config": []}, {}), "has no layers")
    refusal(h5({"class_name": "Bert", "config": {}}, {}), "expected a Sequential or Functional")
    refusal(h5([1], {}), "is none of Keras's")


def test_models_in_models_are_bounded() -> None:
    """Each calls the one within it twice: what it comes to is 2 to the power of 40."""
    inner = functional(IMAGE, layer("Activation", "a", "image", activation="relu"))
    for depth in range(40):
        name = f"m{depth}"
        inner = {**inner, "name": name, "inbound_nodes": [[["image", 0, 0]], [[name, 0, 0]]]}
        inner = functional(IMAGE, inner, output_layers=[[name, 1, 0]])
    refusal(h5(inner, {}), "called more than")
    refusal(archive(config_json="[" * 100_000, model_weights_h5=h5(None, {})), "nested too deeply")


def test_damaged_files() -> None:
    whole = gzip.decompress((DATA / "shared2.h5.gz").read_bytes())
    for cut in (8, 100, 2000, len(whole) // 2):
        refusal(whole[:cut], "the model given as bytes")
    packed = (DATA / "shared3.keras").read_bytes()
    for cut in (100, 2000, len(packed) - 30):
        refusal(packed[:cut], "damaged, or not a .keras file")
    config = json.dumps(functional(IMAGE))
    refusal(archive(config_json=config), "has no model.weights.h5")
    refusal(archive(config_json=config, model_weights_npz="x"), "pickled")
    refusal(archive(metadata_json="{}"), "has no config.json")


KERAS1 = unpack(DATA / "keras1.npz")


@pytest.mark.parametrize("name", [name for name in KERAS1 if "y" in KERAS1[name]])
def test_files_of_keras_1(name: str) -> None:
    case = KERAS1[name]
    net = linnet.load(case["model"])
    y = net(*(x for key, x in case.items() if key.startswith("x/")))
    close(y, case["y"])


def test_kernels_of_theano_are_told() -> None:
    refusal(KERAS1["theano"]["model"], "(Conv2D)", "data_format is 'th'")


@pytest.mark.parametrize(
    ("padding", "said"),
    [
        ([1, 2, 3], "is not two numbers for each axis"),
        ({"top_pad": -1}, "padding is [-1, 0, 0, 0]"),
    ],
)
def test_borders_of_keras_1_that_cannot_be(padding: Any, said: str) -> None:
    refusal(h5(functional(IMAGE, layer("ZeroPadding2D", "y", "image", padding=padding)), {}), said)


def test_borders_of_keras_1_by_their_sides() -> None:
    padding = {"top_pad": 1, "left_pad": 2}
    file = h5(functional(IMAGE, layer("ZeroPadding2D", "y", "image", padding=padding)), {})
    x = np.ones((1, 4, 4, 2), np.float32)
    np.testing.assert_array_equal(linnet.load(file)(x), np.pad(x, [(0, 0), (1, 0), (2, 0), (0, 0)]))


def test_a_merge_of_what_is_no_model() -> None:
    part = {"class_name": "Dense", "config": {"name": "d", "output_dim": 3}}
    config = {"name": "m", "mode": "sum", "layers": [part]}
    merged = {"class_name": "Sequential", "config": [{"class_name": "Merge", "config": config}]}
    refusal(h5(merged, {}, "1.2.2"), "'m' merges what is no model")


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as root:
        root["w"] = np.ones((1, 1, 2, 1), np.float32)
    config = functional(IMAGE, layer("Conv2D", "c", "image", filters=1, kernel_size=[1, 1]))
    file = io.BytesIO(h5(config, {"c": [np.ones((1, 1, 2, 1), np.float32)]}))
    with h5py.File(file, "r+") as root:
        del root["model_weights/c/c/0:0"]
        root["model_weights/c/c/0:0"] = h5py.ExternalLink(str(secret), "w")
    refusal(file.getvalue(), "is kept in another file")


def test_small_files_do_not_become_large() -> None:
    config = functional(IMAGE, layer("Conv2D", "c", "image", filters=1, kernel_size=[1, 1]))
    file = io.BytesIO(h5(config, {"c": []}))
    with h5py.File(file, "r+") as root:
        root["model_weights/c"].create_dataset("huge", (1 << 20, 1 << 20), "f4", chunks=(1, 1024))
        root["model_weights/c"].attrs["weight_names"] = ["huge"]
    refusal(file.getvalue(), "far too many")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("config.json", b" " * (20 << 20))
    refusal(bomb.getvalue(), "config.json would be more than")
