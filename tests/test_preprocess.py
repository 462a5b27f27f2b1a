"""From pictures to inputs, in other sizes as OpenCV (data/image/make.py) and Pillow make them."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linnet
from linnet import Preprocess, formats, passes, preprocess
from linnet.formats import Source, onnx_metadata
from linnet.formats.onnx_write import save
from linnet.graph import Graph, Node, Value
from linnet.preprocess import LABELS, merged

DATA = Path(__file__).parent / "data"
STORED = dict(np.load(DATA / "image" / "opencv.npz"))
NOTES = json.loads(STORED.pop("notes").tobytes())
RANDOM = np.random.default_rng(5)


def photo(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def pixels(record: Preprocess, picture: np.ndarray) -> np.ndarray:
    """What becomes of a picture, as [h, w, planes]."""
    return np.asarray(record(picture)[0].transpose(1, 2, 0))


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(NOTES["cases"])))
def test_sizes_are_opencvs(index: int) -> None:
    name, fit, size = NOTES["cases"][index]
    wanted = STORED[f"case{index}"]
    color = "grey" if name == "grey" else "RGB"
    record = Preprocess(size=size, fit=fit, color=color, pad=NOTES["pad"])
    np.testing.assert_array_equal(pixels(record, STORED[name]).squeeze(), wanted.squeeze())


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(20, 30), (61, 40), (16, 16), (37, 53), (1, 2)])
@pytest.mark.parametrize("shape", [(37, 53, 3), (80, 9, 3), (1, 1, 3), (24, 17)])
def test_sizes_are_pillows(shape: tuple[int, ...], size: tuple[int, int], fit: str) -> None:
    """Within the grey level that versions of Pillow differ by."""
    image_module = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    picture = photo(*shape)
    theirs = image_module.fromarray(picture)
    (high, wide), (height, width) = shape[:2], size
    if fit == "stretch":
        inner = size
    elif fit == "letterbox":
        factor = min(height / high, width / wide)
        inner = (max(round(high * factor), 1), max(round(wide * factor), 1))
    elif height * wide >= width * high:  # as torchvision's Resize
        inner = (height, int(height * wide / high))
    else:
        inner = (int(width * high / wide), width)
    made = np.asarray(theirs.resize(inner[::-1], image_module.Resampling.BILINEAR))
    made = made.reshape(*inner, -1)
    if fit == "letterbox":
        wanted = np.full((*size, made.shape[2]), 7)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        wanted[top : top + inner[0], left : left + inner[1]] = made
    else:  # torchvision's CenterCrop
        top, left = (round((a - b) / 2) for a, b in zip(inner, size))
        wanted = made[top : top + height, left : left + width].astype(int)
    color = "grey" if len(shape) == 2 else "RGB"
    record = Preprocess(size=size, fit=fit, pad=7, color=color, resample="pillow")
    assert np.abs(pixels(record, picture) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("fit", "resample", "whole", "begin"),
    [
        ("stretch", "opencv", (32, 36), (5, 5)),
        ("stretch", "pillow", (32, 36), (6, 6)),  # of 5.5, the even one
        ("crop", "pillow", (32, 44), (6, 10)),
    ],
)
def test_the_middle_is_cut_out_of_a_larger_picture(
    fit: str, resample: str, whole: tuple[int, int], begin: tuple[int, int]
) -> None:
    picture, (top, left) = photo(50, 70, 3), begin
    part = Preprocess(size=(21, 25), resize=(32, 36), fit=fit, resample=resample)
    wanted = pixels(Preprocess(size=whole, resample=resample), picture)
    np.testing.assert_array_equal(pixels(part, picture), wanted[top : top + 21, left : left + 25])


def test_pictures_keep_their_size_where_none_is_given() -> None:
    picture = photo(5, 4, 3)
    assert Preprocess()(picture, picture).shape == (2, 3, 5, 4)
    with pytest.raises(ValueError, match="differ in their sizes"):
        Preprocess()(picture, photo(4, 5, 3))
    assert Preprocess(resize=(9, 8))(picture).shape == (1, 3, 9, 8)


# --- numbers --------------------------------------------------------------------------------------


def test_mean_scale_and_planes() -> None:
    picture = photo(6, 7, 3)
    mean, scale = (103.94, 116.78, 123.68), (0.017, 1 / 57, 0.5)
    record = Preprocess(mean=mean, scale=scale, color="BGR")
    wanted = (picture[:, :, ::-1] - np.float32(mean)) * np.float32(scale)
    np.testing.assert_allclose(pixels(record, picture), wanted, rtol=1e-6)
    last = Preprocess(mean=mean, scale=scale, color="BGR", layout="nhwc")(picture)
    np.testing.assert_allclose(last[0], wanted, rtol=1e-6)
    assert last.flags.c_contiguous and last.dtype == np.float32
    half = Preprocess(scale=1 / 255, dtype="float16")(picture)
    assert half.dtype == np.float16
    grey = Preprocess(color="grey")(picture)[0, 0]
    np.testing.assert_allclose(grey, picture @ np.array([0.299, 0.587, 0.114]), atol=1e-3)


def test_integers_are_rounded_and_within_their_limits() -> None:
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    level = picture.astype(float)
    for dtype, mean, scale in (("uint8", 0.0, 1.0), ("int8", 128.0, 1.0), ("int8", 10.0, 0.5)):
        made = Preprocess(dtype=dtype, mean=mean, scale=scale, color="grey")(picture)
        limits = np.iinfo(dtype)
        wanted = np.rint((level - mean) * scale).clip(limits.min, limits.max)
        assert made.dtype == dtype
        np.testing.assert_array_equal(made[0, 0], wanted)


def test_borders_are_pixels() -> None:
    record = Preprocess(size=(4, 9), fit="letterbox", mean=(1, 2, 3), scale=(1, 0.5, 2), pad=9)
    made = record(photo(4, 3, 3))[0]
    np.testing.assert_array_equal(made[:, :, :3], made[:, :, 6:])
    np.testing.assert_array_equal(made[:, 0, 0], [8, 3.5, 12])


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_an_image_of_means(layout: str) -> None:
    """The middle of it where the picture is cut, too."""
    picture, mean = photo(10, 12, 3), RANDOM.random((3, 10, 12), np.float32) * 255
    record = Preprocess(
        mean=mean, size=(7, 9), resize=(10, 12), color="BGR", scale=0.5, layout=layout
    )
    made = record(picture)[0]
    wanted = ((picture[:, :, ::-1].transpose(2, 0, 1) - mean) * 0.5)[:, 1:8, 1:10]
    np.testing.assert_allclose(
        made if layout == "nchw" else made.transpose(2, 0, 1), wanted, atol=1e-4
    )
    with pytest.raises(ValueError, match="image of means is 3x10x12, the picture 3x11x9"):
        Preprocess(mean=mean, size=(11, 9))(picture)
    with pytest.raises(ValueError, match="image of means is 3x10x12, the picture 1x10x12"):
        Preprocess(mean=mean, color="grey")(picture)
    assert not record.mean.flags.writeable and record.mean is not mean


# --- the record -----------------------------------------------------------------------------------

RECORDS = [
    Preprocess(),
    Preprocess(size=(224, 225), resize=[256, 257], fit="crop", scale=0.017, color="BGR"),
    Preprocess(mean=(1.5, 2, 3), scale=[1, 2, 3.25], layout="nhwc", dtype="uint8"),
    Preprocess(fit="letterbox", pad=0, resample="pillow", mean=np.float32(3)),
    Preprocess(mean=np.arange(12).reshape(3, 2, 2) / 3),
]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_the_record_survives_its_text(record: Preprocess) -> None:
    again = Preprocess.parse(record.text())
    assert again == record and hash(again) == hash(record)
    assert [other == record for other in RECORDS].count(True) == 1
    assert repr(again) == repr(record) and "\n" not in repr(record)
    with pytest.raises(AttributeError):
        record.size = (1, 1)  # type: ignore[misc]


def test_the_record_shows_what_is_not_usual() -> None:
    assert repr(Preprocess()) == "Preprocess()"
    assert repr(Preprocess(size=[3, 4], mean=1)) == "Preprocess(size=(3, 4), mean=(1.0,))"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 224}, "size is 224"),
        ({"size": (0, 3)}, r"size is \(0, 3\), expected 1 to"),
        ({"size": (1 << 20, 1 << 20)}, "expected 1 to"),
        ({"size": (2.5, 3)}, r"expected \(height, width\)"),
        ({"size": "99"}, r"expected \(height, width\)"),
        ({"resize": (1, 2, 3)}, "resize is"),
        ({"size": (float("inf"), 1)}, "size is"),
        ({"fit": "warp"}, "fit is 'warp', expected one of 'stretch', 'crop', 'letterbox'"),
        ({"fit": ["crop"]}, "fit is"),
        ({"color": "rgb"}, "color is 'rgb'"),
        ({"resample": "nearest"}, "resample is"),
        ({"dtype": "bool"}, "dtype is"),
        ({"fit": np.zeros(3)}, "fit is a ndarray"),
        ({"layout": "chwn"}, "layout is"),
        ({"mean": (1, 2)}, "mean is"),
        ({"mean": "104"}, "mean is"),
        ({"mean": np.zeros((2, 3, 3))}, "mean is a ndarray"),
        ({"mean": np.full((1, 3, 3), np.nan)}, "not finite everywhere"),
        ({"mean": np.zeros((3, 3))}, "mean is"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": None}, "scale is"),
        ({"scale": {}}, "scale is"),
        ({"pad": "x"}, "pad is 'x'"),
        ({"fit": "letterbox", "resize": (3, 3)}, "resize is for"),
    ],
)
def test_fields_are_checked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocess(**given)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"size is.*fit is 'a'.*scale is.*color is 'b'"):
        Preprocess(fit="a", color="b", size=7, scale=())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not an object"),
        ('{"sizes": [1, 2]}', "no field 'sizes'"),
        (f'{{"size": [{"9" * 100_000}, 1]}}', "size is"),
        ('{"size": [16000000, 2]}', "size is"),
        ('{"mean": {"shape": [3, 100000, 100000], "float32": ""}}', "not an image of means"),
        ('{"mean": {"shape": [3, -1, 1], "float32": "AAAA"}}', "not an image of means"),
        ('{"mean": {"shape": "x"}}', "not an image of means"),
        ('{"mean": [[1], 2]}', "mean is"),
        ('{"mean": NaN}', "mean is nan"),
        ('{"scale": {"a": 1}}', "scale is"),
        ('{"scale": [true, null, 1]}', "scale is"),
        ('{"mean": {"unknown": "lost"}}', "mean is not known: lost"),
        ('{"fit": {"unknown": ["\\n"]}}', "fit is not known: "),
    ],
)
def test_damaged_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        Preprocess.parse(text)
    assert len(str(error.value)) < 1000 and "\n" not in str(error.value)


def test_what_is_given_replaces_what_is_not_known() -> None:
    text = Preprocess(color="BGR").text(mean="lost", scale="unheard")
    with pytest.raises(ValueError, match="mean is not known: lost; scale is not known: unheard"):
        Preprocess.parse(text)
    with pytest.raises(ValueError, match="preprocess: scale is not known: unheard"):
        Preprocess.parse(text, {"mean": 3})
    assert Preprocess.parse(text, {"mean": 3, "scale": 2}) == Preprocess(
        color="BGR", mean=3, scale=2
    )
    with pytest.raises(ValueError, match="preprocess is 3, expected"):
        merged({}, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "shape", "dtype", "wanted"),
    [
        (Preprocess(), (None, 3, 8, 9), "float32", ((8, 9), "RGB", "nchw", "float32")),
        (Preprocess(), (1, 8, 9, 1), "uint8", ((8, 9), "grey", "nhwc", "uint8")),
        (Preprocess(), (1, 3, 9, 3), "float16", ((9, 3), "RGB", "nchw", "float16")),
        (Preprocess(layout="nhwc"), (1, 3, 9, 3), "float32", ((3, 9), "RGB", "nhwc", "float32")),
        (Preprocess(color="BGR"), (1, 3, None, None), "float32", (None, "BGR", "nchw", "float32")),
        (Preprocess(size=(4, 5)), (1, 3, None, 5), "float32", ((4, 5), "RGB", "nchw", "float32")),
        (Preprocess(mean=128), (1, 8, 9, 3), "int8", ((8, 9), "RGB", "nhwc", "int8")),
        (RECORDS[-1], (1, 2, 2, 3), "int8", ((2, 2), "RGB", "nhwc", "int8")),
    ],
)
def test_the_model_says_the_rest(record: Any, shape: Any, dtype: str, wanted: Any) -> None:
    found = record.for_input(shape, np.dtype(dtype))
    assert (found.size, found.color, found.layout, found.dtype) == wanted


@pytest.mark.parametrize(
    ("record", "shape", "dtype", "said"),
    [
        (Preprocess(size=(8, 8)), (1, 3, 8, 9), "f4", "size is 8x8, but the model takes 8x9"),
        (Preprocess(color="BGR"), (1, 1, 8, 9), "f4", "'BGR', but the model takes 1 planes"),
        (Preprocess(color="grey"), (1, 3, 8, 9), "f4", "'grey', but the model takes 3 planes"),
        (Preprocess(dtype="uint8"), (1, 3, 8, 9), "f4", "dtype is 'uint8', but"),
        (Preprocess(layout="nhwc"), (1, 3, 8, 9), "f4", "not a picture"),
        (Preprocess(), (1, 4, 8, 9), "f4", "Nx4x8x9|1x4x8x9"),
        (Preprocess(), (1, 3), "f4", "not a picture"),
        (Preprocess(), (1, 3, 8, 9), "i1", "int8: give a mean"),
    ],
)
def test_what_contradicts_the_model_is_refused(
    record: Any, shape: Any, dtype: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        record.for_input(shape, np.dtype(dtype))


@pytest.mark.parametrize("name", ["mean", "scale"])
def test_there_are_as_many_numbers_as_planes(name: str) -> None:
    with pytest.raises(ValueError, match=f"3 {name}s for 1 planes"):
        Preprocess(color="grey", **{name: (1, 2, 3)})(photo(2, 2))


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        ([], "no pictures"),
        ([3], "a picture is 3"),
        ([[[1]]], "a picture is"),
        ([np.zeros((3, 3), np.float32)], r"float32 \[3, 3\]"),
        ([np.zeros((3, 3, 4), np.uint8)], r"uint8 \[3, 3, 4\]"),
        ([np.zeros((0, 3, 3), np.uint8)], r"uint8 \[0, 3, 3\]"),
        ([np.zeros(3, np.uint8)], r"uint8 \[3\]"),
    ],
)
def test_what_is_no_picture_is_refused(pictures: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocess(size=(2, 2))(*pictures)


# --- models ---------------------------------------------------------------------------------------


def network(*shape: int, dtype: type = np.float32) -> Graph:
    inputs = [Value("x", shape, np.dtype(dtype))]
    return Graph("t", [Node("Cast", "c", ["x"], ["y"], {"to": 1})], {}, inputs, ["y"])


def test_a_session_takes_pictures(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    pictures = [photo(4, 5, 3), photo(9, 7)]
    for index, picture in enumerate(pictures):
        image_module.fromarray(picture).save(tmp_path / f"{index}.png")
    record = Preprocess(mean=(1, 2, 3), color="BGR")
    net = linnet.load(network(0, 3, 4, 5), preprocess=record)
    assert net.preprocess == record
    x = net.prepare(*pictures)
    assert x.shape == (2, 3, 4, 5) and x.dtype == np.float32
    np.testing.assert_array_equal(
        x[0], pictures[0][:, :, ::-1].transpose(2, 0, 1) - [[[1]], [[2]], [[3]]]
    )
    np.testing.assert_array_equal(net.run_image(*pictures), x)
    np.testing.assert_array_equal(net.run_image(tmp_path / "0.png", str(tmp_path / "1.png")), x)
    with pytest.raises(ValueError, match=r"1\.png: not a readable image"):
        (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        net.run_image(tmp_path / "1.png")


def test_a_session_without_a_record_says_so() -> None:
    net = linnet.load(network(0, 3, 4, 5))
    assert net.preprocess is None and net.labels == []
    with pytest.raises(ValueError, match=r"give preprocess=linnet.Preprocess"):
        net.run_image(photo(4, 5, 3))
    net = linnet.load(network(0, 3), preprocess=Preprocess())
    with pytest.raises(ValueError, match="'x' Nx3 float32, not one picture of 1 or 3 planes"):
        net.run_image(photo(4, 5, 3))
    with pytest.raises(ValueError, match="no field 'maen'"):
        linnet.load(network(0, 3), preprocess={"maen": 3})


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_onnx_files_hold_the_record(record: Preprocess, tmp_path: Path) -> None:
    """Read by the core and by the reader; with what others have written there."""
    path, again = tmp_path / "a.onnx", tmp_path / "b.onnx"
    graph = passes.canonicalize(network(0, 3, 4, 5))
    graph.metadata = {LABELS: "one\ntwo ö", "stride": "32"}
    save(graph, path)
    assert linnet.load(path).preprocess is None
    linnet.convert(path, None, again, preprocess=record)
    for given in (again, again.read_bytes()):
        net = linnet.load(given)
        assert (net.preprocess, net.labels) == (record, ["one", "two ö"])
        changed = linnet.load(given, preprocess={"scale": 7}).preprocess
        assert changed is not None and changed.scale == (7.0,)
        assert changed.fit == record.fit
    linnet.convert(again, None, path)
    assert onnx_metadata.read(Source(path)) == {
        "linnet.preprocess": record.text(),
        LABELS: "one\ntwo ö",
        "stride": "32",
    }


def test_metadata_of_other_writers(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the test extra is not installed")
    path = tmp_path / "a.onnx"
    save(passes.canonicalize(network(0, 3, 4, 5)), path)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"a": "1", "": "2", "b" * 300: "x" * 70_000, "c": ""})
    data = model.SerializeToString()
    found = onnx_metadata.read(Source(data))
    assert found == {"a": "1", "": "2", "b" * 300: "x" * 70_000, "c": ""}
    for cut in range(0, len(data), 97):
        try:
            onnx_metadata.read(Source(data[:cut]))
        except ValueError as error:
            assert "damaged" in str(error)
    for index in range(0, len(data), 41):
        try:
            onnx_metadata.read(Source(data[:index] + b"\xff" + data[index + 1 :]))
        except ValueError as error:
            assert "damaged" in str(error)


def test_metadata_need_not_be_text(tmp_path: Path) -> None:
    """What is not UTF-8 in it is replaced, by both who read it."""
    path = tmp_path / "a.onnx"
    save(passes.canonicalize(network(0, 3, 4, 5)), path)
    data = path.read_bytes() + b"\x72\x07\x0a\x01\xff\x12\x02a\xfe"
    assert onnx_metadata.read(Source(data)) == formats.read(data).metadata == {"\ufffd": "a\ufffd"}


def test_a_damaged_record_is_told_when_it_is_needed(tmp_path: Path) -> None:
    graph = passes.canonicalize(network(0, 3, 4, 5))
    graph.metadata = {"linnet.preprocess": '{"size": 4}'}
    save(graph, tmp_path / "a.onnx")
    net = linnet.load(tmp_path / "a.onnx")
    assert net(np.zeros((1, 3, 4, 5), np.float32)).shape == (1, 3, 4, 5)
    with pytest.raises(ValueError, match="size is 4"):
        net.run_image(photo(4, 5, 3))


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    image_module = pytest.importorskip("PIL.Image", reason="the image extra is not installed")
    pixels = np.random.default_rng(3).integers(0, 256, (9, 13, 3), np.uint8)
    photo = image_module.fromarray(pixels).resize((52, 36)).convert(mode)
    file = BytesIO()
    photo.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_have_the_same_pixels_whoever_decodes_them(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg", reason="the jpeg extra is not installed")
    data = jpeg(mode)
    decoded = preprocess.read_picture(data)
    monkeypatch.setattr(preprocess, "_simplejpeg", lambda: None)
    np.testing.assert_array_equal(decoded, preprocess.read_picture(data))
    assert decoded.shape == ((36, 52) if mode == "L" else (36, 52, 3))


def test_jpegs_are_upright() -> None:
    exif = pytest.importorskip("PIL.Image", reason="the image extra is not installed").Exif()
    exif[274] = 6  # lies on its side
    upright, turned = (preprocess.read_picture(jpeg(**how)) for how in ({}, {"exif": exif}))
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))


def test_a_jpeg_that_is_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="not a readable image: image file is truncated"):
        preprocess.read_picture(jpeg()[:-200])


def test_a_file_may_be_given_as_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(jpeg())
    record = linnet.Preprocess(size=(8, 8))
    np.testing.assert_array_equal(record(jpeg()), record(tmp_path / "p.jpg"))
