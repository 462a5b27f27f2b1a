"""One network as every framework exports it: the same results, by the same steps."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_models import conv, layer, weights_file
from packed import Case, unpack

import linnet
from linnet.model import canonical

pytest.importorskip("h5py", reason="the test extra is not installed")

CASES = unpack(Path(__file__).parent / "data" / "conversions.npz")
NETWORK = CASES.pop("network")
# Of the logits' rms; weights that are rounded, or activations.
ERRORS = {"dynamic.tflite": 5e-2, "int8.tflite": 5e-2}


def caffe(network: Case, folder: Path) -> Path:
    """The same network in Caffe's files."""
    *_, high, wide = network["x"].shape
    shape = f"shape {{ dim: 1 dim: 1 dim: {high} dim: {wide} }}"
    text = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ {shape} }} }}'
    below = "data"
    for name, pool in (("conv1", 2), ("conv2", 3), ("conv3", 0)):
        filters, _, side, _ = network[f"{name}.weight"].shape
        text += conv(f"num_output: {filters} kernel_size: {side}", name, bottom=below)
        text += layer("ReLU", f"relu{name}", bottom=name, top=name)
        below = name
        if pool:
            below = f"pool{name}"
            settings = f"pooling_param {{ kernel_size: {pool} stride: {pool} }}"
            text += layer("Pooling", below, settings, bottom=name)
    for name in ("fc1", "fc2"):
        settings = f"inner_product_param {{ num_output: {len(network[f'{name}.bias'])} }}"
        text += layer("InnerProduct", name, settings, bottom=below)
        below = name
    text += layer("Softmax", "prob", bottom=below)
    weights = {
        name: [network[f"{name}.weight"], network[f"{name}.bias"]]
        for name in ("conv1", "conv2", "conv3", "fc1", "fc2")
    }
    (folder / "net.caffemodel").write_bytes(weights_file(weights))
    (folder / "net.prototxt").write_text(text)
    return folder / "net.prototxt"


def steps(net: linnet.Session) -> list[str]:
    """The kinds of the program's steps."""
    lines = (line for line in net.program().splitlines() if line.startswith("step "))
    return [line.rpartition(": ")[2].split()[0] for line in lines]


@pytest.fixture(scope="module")
def by_caffe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = caffe(NETWORK, tmp_path_factory.mktemp("caffe"))
    return linnet.load(path, path.with_suffix(".caffemodel"), threads=1)


def error(got: Any, wanted: Any) -> float:
    return float(np.abs(got - wanted).max() / np.sqrt(np.square(wanted).mean()))


def test_of_caffe(by_caffe: linnet.Session) -> None:
    (logits,) = by_caffe.run(NETWORK["x"], fetch=["fc2"])
    assert error(logits, NETWORK["logits"]) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_exported(name: str, by_caffe: linnet.Session, tmp_path: Path) -> None:
    path, data = tmp_path / name, CASES[name]["model"]
    if path.suffix:
        path.write_bytes(data)
    else:
        zipfile.ZipFile(io.BytesIO(data)).extractall(path)
    graph = canonical(path, None)
    softmax = next(node for node in graph.nodes if node.op == "Softmax")
    net = linnet.load(path, threads=1)
    shape = net.inputs[0].shape[1:]
    (logits,) = net.run(NETWORK["x"].reshape(-1, *shape), fetch=[softmax.inputs[0]])
    wanted = NETWORK["logits"]
    if name == "float16.tflite":  # whose own weights are rounded
        rounded = {k: a.astype(np.float16).astype("f4") for k, a in NETWORK.items()}
        text = caffe({**rounded, "x": NETWORK["x"]}, tmp_path)
        exact = linnet.load(text, text.with_suffix(".caffemodel"), threads=1)
        (wanted,) = exact.run(NETWORK["x"], fetch=["fc2"])
    assert error(logits, wanted) < ERRORS.get(name, 1e-5)
    if name not in ERRORS:
        assert steps(net) == steps(by_caffe)
