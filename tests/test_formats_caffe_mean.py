"""How Caffe's files say that pictures become inputs, against Caffe's DataTransformer in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_models import blob

import linnet
from linnet import Preprocess, formats

RANDOM = np.random.default_rng(3)
MEAN = RANDOM.random((3, 8, 9), np.float32) * 255
PICTURE = RANDOM.integers(0, 256, (8, 9, 3), dtype=np.uint8)


def prototxt(transform: str, channels: int = 3, kind: str = "Input") -> str:
    sizes = f"batch_size: 1 channels: {channels} height: 6 width: 6"
    shape = f"shape {{ dim: 1 dim: {channels} dim: 6 dim: 6 }}"
    data = f"input_param {{ {shape} }}" if kind == "Input" else f"memory_data_param {{ {sizes} }}"
    return (
        f'layer {{ name: "d" type: "{kind}" top: "x" {data} transform_param {{ {transform} }} }}'
        'layer { name: "y" type: "Power" bottom: "x" top: "y" }'
    )


def load(folder: Path, text: str, **options: Any) -> linnet.Session:
    (folder / "net.prototxt").write_text(text)
    return linnet.load(folder / "net.prototxt", **options)


@pytest.mark.parametrize("kind", ["Input", "MemoryData"])
def test_the_middle_less_a_mean_image(tmp_path: Path, kind: str) -> None:
    """The path is that of who trained; the file lies beside the prototxt."""
    (tmp_path / "mean.binaryproto").write_bytes(blob(MEAN[None], "legacy").SerializeToString())
    transform = 'mirror: true crop_size: 6 scale: 0.25 mean_file: "/home/c/data/mean.binaryproto"'
    net = load(tmp_path, prototxt(transform, kind=kind))
    bgr = PICTURE[:, :, ::-1].transpose(2, 0, 1)
    wanted = ((bgr - MEAN) * np.float32(0.25))[:, 1:7, 1:7]
    np.testing.assert_allclose(net.run_image(PICTURE)[0], wanted, atol=1e-4)
    linnet.convert(tmp_path / "net.prototxt", None, tmp_path / "net.onnx")
    assert linnet.load(tmp_path / "net.onnx").preprocess == net.preprocess


def test_a_mean_image_of_the_networks_size(tmp_path: Path) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(blob(MEAN[:, :6, :6].copy()).SerializeToString())
    net = load(tmp_path, prototxt('mean_file: "mean.binaryproto"'))
    picture = PICTURE[:6, :6]
    wanted = picture[:, :, ::-1].transpose(2, 0, 1) - MEAN[:, :6, :6]
    np.testing.assert_allclose(net.run_image(picture)[0], wanted, atol=1e-4)
    assert net.prepare(PICTURE).shape == (1, 3, 6, 6)


def test_values_for_the_planes(tmp_path: Path) -> None:
    transform = "crop_size: 6 mean_value: [103.5, 116.5, 123.5] scale: 0.017"
    net = load(tmp_path, prototxt(transform))
    assert net.preprocess == Preprocess(
        fit="crop", mean=(103.5, 116.5, 123.5), scale=np.float32(0.017), color="BGR"
    )
    wanted = (PICTURE[1:7, 1:7, ::-1] - np.float32([103.5, 116.5, 123.5])) * np.float32(0.017)
    same = PICTURE[1:7, 1:7]
    np.testing.assert_allclose(net.run_image(same)[0].transpose(1, 2, 0), wanted, atol=1e-5)
    grey = load(tmp_path, prototxt("mean_value: 3 force_gray: true", channels=1))
    assert grey.preprocess == Preprocess(mean=3, color="grey")
    # Those of channels that are none of pictures say nothing.
    assert load(tmp_path, prototxt("mean_value: 3", channels=4)).preprocess is None


def test_a_network_for_another_size(tmp_path: Path) -> None:
    net = load(tmp_path, prototxt("crop_size: 6"), shapes={"x": (1, 3, 4, 5)})
    assert net.prepare(PICTURE).shape == (1, 3, 4, 5)


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        ('mean_file: "lost.binaryproto"', "mean is not known: layer 'd': transform_param has mean"),
        ('mean_file: "../secret"', "there is no such file beside"),
        ('mean_file: "net.prototxt"', "not a mean image"),
        ('mean_file: ".."', "no such file"),
        ('mean_file: "net.prototxt" mean_value: 3', "both mean_file and mean_value"),
        ("mean_value: [1, 2]", "mean [1.0, 2.0], for 3 planes"),
        ("mean_value: nan", "mean is not known"),
        ("scale: inf", "scale is not known"),
        ("resize_param { height: 300 }", "fields that are not known: transform_param.resize_param"),
    ],
)
def test_what_is_not_known_is_told_when_it_is_needed(
    tmp_path: Path, transform: str, said: str
) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "secret").write_bytes(blob(MEAN).SerializeToString())
    net = load(tmp_path / "net", prototxt(transform))
    assert net(np.ones((1, 3, 6, 6), np.float32)).shape == (1, 3, 6, 6)
    with pytest.raises(ValueError) as error:
        net.run_image(PICTURE)
    assert said in str(error.value) and "\n" not in str(error.value)
    given = {"mean": 3, "scale": 1, "resize": None}
    record = load(tmp_path / "net", prototxt(transform), preprocess=given).preprocess
    assert record == Preprocess(mean=3, color="BGR")


@pytest.mark.parametrize("form", ["legacy", "packed", "double", "chunks", "unpacked"])
def test_forms_of_mean_images(tmp_path: Path, form: str) -> None:
    proto = blob(MEAN, form)
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(proto.SerializeToString())
    found = formats.mean_image(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, MEAN, rtol=1e-6)
    np.save(tmp_path / "mean.npy", MEAN.astype(np.float64))
    np.testing.assert_allclose(formats.mean_image(tmp_path / "mean.npy"), MEAN, rtol=1e-6)


def npy(array: Any) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "its shape is"),
        (b"nonsense", "not a mean image"),
        (blob(MEAN).SerializeToString()[:-9], "not a mean image"),
        (blob(MEAN[:2]).SerializeToString(), r"holds float32 \[2, 8, 9\]"),
        (blob(np.stack([MEAN] * 2)).SerializeToString(), r"\[2, 3, 8, 9\]"),
        (blob(MEAN * np.float32(np.nan)).SerializeToString(), "not all finite"),
        (npy(MEAN)[:-9], "not a readable .npy file"),
        (npy(np.array([{}])), "not a readable .npy file"),
        (npy(np.array(["a"])), "holds <U1"),
        (npy(MEAN)[:50], "not a readable .npy file"),
        (npy(MEAN).replace(b"(3, 8, 9), }   ", b"(3, 8, 1<<31)}"), "not a readable .npy file"),
        (npy(MEAN).replace(b"(3, 8, 9), }      ", b"(3, 800000, 99)}  "), r"\[3, 800000, 99\]"),
    ],
)
def test_other_files_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        formats.mean_image(data)


def test_a_small_file_is_no_large_image() -> None:
    proto = blob(MEAN)
    proto.shape.ClearField("dim")
    proto.shape.dim.extend([3, 1 << 30, 1 << 30])
    with pytest.raises(ValueError, match="its shape is"):
        formats.mean_image(proto.SerializeToString())


def test_a_mean_given_as_weights_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(blob(MEAN).SerializeToString())
    with pytest.raises(ValueError, match="it is for --mean"):
        load(tmp_path, prototxt(""), weights=tmp_path / "net.caffemodel")
