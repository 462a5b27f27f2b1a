"""The reader of MXNet against stored results of MXNet 1.9.1, and against files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reading
from mxnet_files import params, symbol
from packed import unpack
from reading import close

import linnet
from linnet import formats

DATA = Path(__file__).parent / "data" / "mxnet"
CASES = unpack(DATA / "layers.npz")


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case = CASES[name]
    xs = {key[2:]: case[key] for key in case if key.startswith("x/")}
    arrays = {key[2:]: case[key] for key in case if key.startswith("p/")}
    shapes = {key: (0, *x.shape[1:]) for key, x in xs.items()}
    graph = formats.read(case["symbol"].encode(), params(arrays), shapes=shapes)
    wanted = [case[f"y{index}"] for index in range(len(graph.outputs))]
    got = reading.run(graph, xs)
    for output, y in zip(graph.outputs, wanted):
        if name.startswith("detection"):
            found_alike(got[output], y)
        else:
            close(got[output], y)


def found_alike(got: Any, wanted: Any) -> None:
    """The same boxes in any order; MXNet leaves those that do not stay among them, of class -1."""
    assert got.shape == wanted.shape
    for ours, theirs in zip(got, wanted):
        mine, stay = (rows[rows[:, 0] >= 0] for rows in (ours, theirs))
        assert (ours[len(mine) :] == -1).all()
        assert len(stay) > 3
        close(mine[np.lexsort(mine.round(3).T)], stay[np.lexsort(stay.round(3).T)])


def small(**conv: Any) -> tuple[bytes, dict[str, Any]]:
    """A convolution and a fully connected layer of 4 x 4 pixels, with their parameters."""
    text = symbol(
        ("null", "data", {}, []),
        ("null", "c_weight", {}, []),
        ("Convolution", "c", {"kernel": (3, 3), "num_filter": 2, "no_bias": True, **conv},
         ["data", "c_weight"]),
        ("null", "f_weight", {}, []),
        ("null", "f_bias", {}, []),
        ("FullyConnected", "f", {"num_hidden": 3}, ["c", "f_weight", "f_bias"]),
    )  # fmt: skip
    random = np.random.default_rng(0)
    shapes = {"arg:c_weight": (2, 3, 3, 3), "arg:f_weight": (3, 32), "arg:f_bias": (3,)}
    arrays = {k: random.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    return text, arrays


def test_a_checkpoint() -> None:
    """Its parameters lie beside it; the label is left out; its image is no square."""
    files = np.load(DATA / "files.npz")
    path = DATA / "module-symbol.json"
    with pytest.raises(ValueError, match=r"fits no square image: give .*shapes=\{'data': \.\.\.\}"):
        linnet.load(path)
    net = linnet.load(path, shapes={"data": (None, 3, 8, 6)})
    assert [v.name for v in net.inputs] == ["data"]
    assert [v.name for v in net.outputs] == ["softmax_output"]
    assert {"bn1_output", "fc1_output"} <= {v.name for v in net.values}
    close(net(files["x"]), files["module"])
    close(net(files["x"][:1]), files["module"][:1])


def test_the_export_of_a_block(tmp_path: Path) -> None:
    files = np.load(DATA / "files.npz")
    text, data = (
        (DATA / "gluon-symbol.json").read_bytes(),
        (DATA / "gluon-0000.params").read_bytes(),
    )
    for given in (
        [DATA / "gluon-symbol.json"],
        [DATA / "gluon-symbol.json", DATA / "gluon-0000.params"],
        [text, data],
    ):
        net = linnet.load(*given)
        assert [(v.name, v.shape) for v in net.inputs] == [("data", (None, 3, None, None))]
        close(net(files["x"]), files["gluon"])
    with pytest.raises(ValueError, match=r"Gluon block .*write both files with the block's export"):
        linnet.load(text, DATA / "alone.params")
    with pytest.raises(ValueError, match=r"holds weights only; the model is its -symbol\.json"):
        linnet.load(DATA / "gluon-0000.params")
    (tmp_path / "gluon-symbol.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"another file, NAME-0000\.params: give it"):
        linnet.load(tmp_path / "gluon-symbol.json")
    for epoch in (1, 2):
        (tmp_path / f"gluon-000{epoch}.params").write_bytes(data)
    with pytest.raises(ValueError, match=r"beside it are gluon-0001\.params, gluon-0002\.params"):
        linnet.load(tmp_path / "gluon-symbol.json")


def old(text: bytes, key: str) -> bytes:
    """The same symbol as 0.8 and before wrote it, without states and labels."""
    found = json.loads(text)
    states = [n["op"] == "null" and "moving" in n["name"] for n in found["nodes"]]
    states = [s or n["name"].endswith("label") for s, n in zip(states, found["nodes"])]
    place = np.cumsum([not state for state in states]) - 1
    nodes = []
    for node, state in zip(found["nodes"], states):
        if not state:
            inputs = [[int(place[i]), k] for i, k, *_ in node["inputs"] if not states[i]]
            settings = node.get("attrs", {}) if node["op"] != "null" else {}
            nodes.append({**node, key: settings, "inputs": inputs, "backward_source_id": -1})
            nodes[-1].pop("attrs", None)
    heads = [[int(place[i]), k] for i, k, *_ in found["heads"]]
    return json.dumps({"nodes": nodes, "arg_nodes": [], "heads": heads}).encode()


@pytest.mark.parametrize("key", ["param", "attr"])
def test_old_symbols(key: str) -> None:
    files = np.load(DATA / "files.npz")
    text = old((DATA / "module-symbol.json").read_bytes(), key)
    assert b"moving" not in text
    net = linnet.load(text, DATA / "module-0003.params", shapes={"data": (None, 3, 8, 6)})
    close(net(files["x"]), files["module"])


@pytest.mark.parametrize("version", range(4))
@pytest.mark.parametrize("kind", ["f4", "f8", "f2"])
def test_versions_and_types_of_arrays(version: int, kind: str) -> None:
    text, arrays = small()
    stored = {name: array.astype(kind) for name, array in arrays.items()}
    got, wanted = (
        formats.read(text, params(given, v)).initializers
        for given, v in ((stored, version), (arrays, 2))
    )
    for name, array in wanted.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_allclose(got[name], array, atol=1e-3 if kind == "f2" else 1e-7)


def test_sizes_that_fully_connected_layers_allow() -> None:
    text, arrays = small()
    net = linnet.load(text, params(arrays))
    assert net.inputs[0].shape == (None, 3, 6, 6)
    assert net(np.zeros((2, 3, 6, 6), np.float32)).shape == (2, 3)
    strided, arrays = small(stride=(2, 2))  # 9 and 10 pixels a side become 4
    net = linnet.load(strided, params(arrays))
    assert net.inputs[0].shape == (None, 3, None, None)
    for side in (9, 10):
        x = np.random.default_rng(side).standard_normal((2, 3, side, side)).astype(np.float32)
        alone = linnet.load(strided, params(arrays), shapes={"data": (None, 3, side, side)})
        close(net(x), alone(x))
    with pytest.raises(ValueError):
        net(np.zeros((2, 3, 12, 12), np.float32))
    with pytest.raises(ValueError, match="has weights for 32 numbers, its input has 50"):
        linnet.load(strided, params(arrays), shapes={"data": (None, 3, 12, 12)})


def test_a_pyramid_of_open_size() -> None:
    """What is twice as large is cut to the size of what it is added to."""
    pool = {"kernel": (2, 2), "stride": (2, 2), "pool_type": "max", "pooling_convention": "full"}
    text = symbol(
        ("null", "data", {"__shape__": "(0, 2, 0, 0)"}, []),
        ("Pooling", "down", pool, ["data"]),
        ("UpSampling", "up", {"scale": 2, "sample_type": "nearest"}, ["down"]),
        ("Crop", "cut", {"num_args": 2}, ["up", "data"]),
        ("elemwise_add", "sum", {}, ["cut", "data"]),
    )
    net = linnet.load(text, params({}))
    random = np.random.default_rng(0)
    for sizes in ((6, 8), (7, 5)):
        x = random.standard_normal((1, 2, *sizes)).astype(np.float32)
        alone = linnet.load(text, params({}), shapes={"data": x.shape})
        if sizes == (6, 8):
            close(net(x), alone(x))
        else:  # which it would have to be loaded for
            assert alone(x).shape == x.shape
            with pytest.raises(ValueError):
                net(x)


def test_everything_unsupported_is_reported_at_once() -> None:
    text = symbol(
        ("null", "data", {"__shape__": "(1, 4, 6, 6)"}, []),
        ("null", "w", {}, []),
        ("Custom", "mine", {"op_type": "x"}, ["data"]),
        ("_contrib_quantize_v2", "q", {}, ["data"]),
        ("_contrib_Proposal", "p", {}, ["data"]),
        ("RNN", "r", {}, ["data"]),
        ("Convolution", "c", {"kernel": (3, 3), "num_filter": 2}, ["data", "w"]),
        ("Convolution", "c3", {"kernel": (3, 3, 3), "num_filter": 2}, ["data", "w"]),
        ("Activation", "a", {"act_type": "gleam"}, ["data"]),
        ("Pooling", "s", {"kernel": (2, 2), "pooling_convention": "same"}, ["data"]),
        ("Pooling", "n", {"kernel": "(2, 2", "pool_type": "max"}, ["data"]),
        ("softmax", "soft", {"axis": 7}, ["data"]),
        ("clip", "limit", {"a_min": 0}, ["data"]),
        ("Flatten", "flat", {"brand_new": 3}, ["data"]),
        ("Reshape", "shaped", {"shape": (-5, 2)}, ["data"]),
        ("SliceChannel", "parts", {"num_outputs": 3}, ["data"]),
        ("elemwise_add", "one", {}, ["data"]),
        heads=["mine", "q", "p", "r", "c", "c3", "a", "s", "n", "soft", "limit", "flat", "shaped",
               "parts", "one"],
    )  # fmt: skip
    with pytest.raises(ValueError) as caught:
        linnet.load(text, params({}))
    said = str(caught.value)
    for node, why in {
        "mine": "written in Python, outside of the file",
        "q": "load the one of float32",
        "p": "find the boxes yourself",
        "r": "it keeps a state",
        "c": "its parameter 'w' is not in the weights given as bytes",
        "c3": "expected that of an image or a row",
        "a": "its act_type is 'gleam'",
        "s": "its pooling_convention is 'same'",
        "n": "expected numbers",
        "soft": "its axis is 7 of 4 axes",
        "limit": "its a_max is None",
        "flat": "has a setting that is not known: 'brand_new'",
        "shaped": "its shape has the code -5",
        "parts": "3 parts of axis 1",
        "one": "has 1 inputs",
    }.items():
        (line,) = [line for line in said.split("\n") if f"node '{node}'" in line]
        assert why in line


def test_files_that_are_wrong() -> None:
    text, arrays = small()
    good = params(arrays)
    for data, why in {
        b"": "not a .params file",
        b"\x12\x01" + b"\0" * 100: "as the parameter 'c_weight' is not in",
        good[:4] + b"\1" + good[5:]: "not a .params file",
        good[:16] + b"\xff" * 8 + good[24:]: "says that it holds",
        good[:24] + b"\xff\xff\xff\x7f" + good[28:]: "axes",
        good[:28] + b"\1" + good[29:]: "row_sparse",
        good[:36] + b"\xff" * 7 + b"\x7f" + good[44:]: "its shape is",
        good[:36] + b"\xff" * 8 + good[44:]: "its shape is",
        good[:76] + b"\x63" + good[77:]: "has the type 99",
        good + b"more": "",
        params({k[4:]: v for k, v in arrays.items()}): "export",
        params({**arrays, "arg:c_weight": np.zeros((2, 3, 5, 3), np.float32)}): "expected",
    }.items():
        if not why:
            linnet.load(text, data)
            continue
        with pytest.raises(ValueError, match=why):
            linnet.load(text, data)
    for end in range(0, len(good), 7):
        with pytest.raises(ValueError):
            linnet.load(text, good[:end])
    for bad in (
        b'{"nodes": ' + b"[" * 100_000,
        b'{"nodes": [], "heads": []}',
        b'{"nodes": [1], "heads": [[0, 0]]}',
        b'{"nodes": [{"op": "null", "name": "x", "inputs": [[0, 0]]}], "heads": [[0, 0]]}',
        b'{"nodes": [{"op": "null", "name": "x"}], "heads": [[7, 0]]}',
        b'{"nodes": [{"op": "abs", "name": "x", "attrs": 3}], "heads": [[0, 0]]}',
        b'{"nodes": [{"op": "abs", "name": "x", "inputs": []}], "heads": [[0, 5]]}',
        text.replace(b'"f_weight"', b'"c_weight"'),
    ):
        with pytest.raises(ValueError):
            linnet.load(bad, good)
