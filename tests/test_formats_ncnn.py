"""The reader of ncnn against stored results of ncnn, and against files that are wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import reading
from packed import unpack
from reading import close

import linnet
from linnet import formats
from linnet.cli import main

DATA = Path(__file__).parent / "data" / "ncnn"
CASES = unpack(DATA / "layers.npz")


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case = CASES[name]
    xs = {key[2:]: case[key] for key in case if key.startswith("x/")}
    shapes = {key: x.shape for key, x in xs.items()}
    graph = formats.read(case["param"].encode(), case["bin"], shapes=shapes)
    got = reading.run(graph, xs)
    for key, wanted in case.items():
        if key.startswith("y/"):
            y = got[key[2:]]
            if name in ("detection", "yolov3"):
                found, rest = y[: len(wanted)], y[len(wanted) :]
                assert (rest == -1).all()
                assert len(wanted) > 3
                y = found
            close(y, wanted)


def param(*lines: str) -> bytes:
    blobs = sum(int(line.split()[3]) for line in lines)
    return "\n".join(["7767517", f"{len(lines)} {blobs}", *lines, ""]).encode()


def floats(count: int, *, marked: bool = False, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).standard_normal(count).astype(np.float32)
    return bytes(4 * marked) + values.tobytes()


SMALL = param(
    "Input data 0 1 data",
    "Convolution c 1 1 data c 0=2 1=3 3=2 5=1 6=54",
    "InnerProduct f 1 1 c f 0=3 1=1 2=96",
)
WEIGHTS = floats(54, marked=True) + floats(2) + floats(96, marked=True) + floats(3)


def test_sizes_that_are_not_given() -> None:
    """Channels by the weights; of height and width those that the fully connected layer allows."""
    net = linnet.load(SMALL, WEIGHTS)
    assert [(v.name, v.shape) for v in net.inputs] == [("data", (3, None, None))]
    for side in (9, 10):
        x = np.random.default_rng(side).standard_normal((3, side, side)).astype(np.float32)
        alone = linnet.load(SMALL, WEIGHTS, shapes={"data": (3, side, side)})
        assert alone(x).shape == (3,)
        close(net(x), alone(x))
    with pytest.raises(ValueError):
        net(np.zeros((3, 12, 12), np.float32))
    open_ones = param(
        "Input data 0 1 data",
        "Convolution c 1 1 data c 0=4 1=3 3=2 4=1 6=108",
        "Split s 1 2 c c0 c1",
        "ShuffleChannel h 1 1 c1 h 0=2",
        "Interp up 1 1 h up 0=1 1=2.0 2=2.0",
        "ReLU r 1 1 up y0",
        "GroupNorm g 1 1 c0 y1 0=2 1=4 3=0",
    )
    net = linnet.load(open_ones, floats(108, marked=True))
    for sizes in ((8, 10), (7, 9)):
        x = np.random.default_rng(0).standard_normal((3, *sizes)).astype(np.float32)
        alone = linnet.load(open_ones, floats(108, marked=True), shapes={"data": (3, *sizes)})
        for got, wanted in zip(net(x), alone(x)):
            close(got, wanted)


def test_weights_beside_the_layers(tmp_path: Path) -> None:
    (tmp_path / "a.param").write_bytes(SMALL)
    with pytest.raises(ValueError, match=r"its weights are in another file, NAME\.bin: give it"):
        linnet.load(tmp_path / "a.param")
    (tmp_path / "a.bin").write_bytes(WEIGHTS)
    x = np.ones((3, 9, 9), np.float32)
    close(linnet.load(tmp_path / "a.param")(x), linnet.load(SMALL, WEIGHTS)(x))
    with pytest.raises(ValueError, match=r"holds weights only; the model is its \.param"):
        linnet.load(tmp_path / "a.bin")
    with pytest.raises(ValueError, match=r"a binary \.param file, which has no names"):
        linnet.load(struct.pack("<iii", 7767517, 1, 1), WEIGHTS)


def test_there_is_no_batch(tmp_path: Path) -> None:
    """Axis 0 is that of channels, in a converted file as well."""
    text = SMALL.replace(b"0 1 data\n", b"0 1 data 0=9 1=9 2=3\n")
    net = linnet.load(text, WEIGHTS)
    linnet.convert(text, WEIGHTS, tmp_path / "net.onnx")
    again = linnet.load(tmp_path / "net.onnx")
    x = np.random.default_rng(0).standard_normal((3, 9, 9)).astype(np.float32)
    for each in (net, again):
        assert [v.shape for v in each.inputs] == [(3, 9, 9)]
        assert "c3h9w9" in str(each.explain())
        assert "c3h9w9" in each.program()
        close(each(x), net(x))
        with pytest.raises(ValueError, match="expected 3x9x9"):
            each(x[:1])
    net = linnet.load(text, WEIGHTS, preprocess=linnet.Preprocess(scale=1 / 255))
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    close(net.run_image(picture), net(picture.transpose(2, 0, 1).astype(np.float32) / 255))
    with pytest.raises(ValueError, match="one picture at a time, not 2"):
        net.run_image(picture, picture)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.param").write_bytes(SMALL)
    (tmp_path / "a.bin").write_bytes(WEIGHTS)
    model = str(tmp_path / "a.param")
    assert main(["run", model, "--fill", "random", "--shapes", "data:3x9x9", "--top", "1"]) == 0
    assert "class" in capsys.readouterr().out
    assert main(["inspect", model]) == 0
    assert "input data 3x?x?" in capsys.readouterr().out
    assert main(["convert", model, str(tmp_path / "a.onnx")]) == 0
    assert "removed" not in capsys.readouterr().out
    more = ["--shapes", "data:3x9x9", "--iterations", "1", "--duration", "0", "--warmup", "0"]
    assert main(["bench", model, *more]) == 0
    assert "data:3x9x9" in capsys.readouterr().out
    assert main(["bench", model, "--shapes", "data:3x9"]) == 2


def test_weights_of_integers() -> None:
    """They are what their scales make of them."""
    random = np.random.default_rng(2)
    whole, scales = random.integers(-127, 128, (2, 27)), np.array([50, 100], np.float32)
    data = struct.pack("<I", 0x000D4B38) + whole.astype(np.int8).tobytes() + bytes(2)
    data += scales.tobytes() + np.ones(1, np.float32).tobytes()
    plain = bytes(4) + (whole / scales[:, None]).astype(np.float32).tobytes()
    lines = "Input data 0 1 data 0=5 1=5 2=3", "Convolution c 1 1 data y 0=2 1=3 6=54"
    x = random.standard_normal((3, 5, 5)).astype(np.float32)
    got = linnet.load(param(lines[0], f"{lines[1]} 8=1"), data)(x)
    close(got, linnet.load(param(*lines), plain)(x))


def test_everything_unsupported_is_reported_at_once() -> None:
    text = param(
        "Input data 0 1 data 0=6 1=6 2=4",
        "ArgMax arg 1 1 data y0",
        "Quantize q 1 1 data y1",
        "Convolution late 1 1 data y2 0=2 1=3 6=72",
    )
    with pytest.raises(ValueError) as caught:
        linnet.load(text, b"")
    assert "node 'arg' (ArgMax): layers of this type are not supported" in str(caught.value)
    assert "load the one of float32 that it was made from" in str(caught.value)
    text = param(
        "Input data 0 1 data 0=6 1=6 2=4",
        "Convolution group 1 1 data y0 0=2 1=3 6=54",
        "Pooling kind 1 1 data y1 0=2 1=2",
        "Softmax old 1 1 data y2 0=1",
        "Reduction reduced 1 1 data y3 1=0 -23303=1,1",
        "Interp up 1 1 data y4 0=5",
        "ReLU more 1 1 data y5 0=0.0 7=3",
        "Reshape shaped 1 1 data y6 0=7 1=7",
        "Permute turned 1 1 data y7 0=9",
        "BinaryOp two 1 1 data y8 0=20 1=1",
        "Sigmoid early 1 1 nobody y9",
        "Slice parts 1 2 data y10 y11 -23300=2,3,9",
        "BatchNorm norm 1 1 data y12 0=5",
    )
    with pytest.raises(ValueError) as caught:
        linnet.load(text, floats(54, marked=True) + floats(20))
    for node, why in {
        "group": "has weights for 3 channels, its input has 4",
        "kind": "its pooling_type is 2",
        "old": "convert the model again",
        "reduced": "convert the model again",
        "up": "its resize_type is 5",
        "more": "has a setting that is not known: 7",
        "shaped": "does not fit",
        "turned": "order 9 of 3 axes",
        "two": "the operation 20 is not supported",
        "early": "no layer before it makes its input 'nobody'",
        "parts": "do not cut 4",
        "norm": "has weights for 5 channels of 4",
    }.items():
        (line,) = [line for line in str(caught.value).split("\n") if f"node '{node}'" in line]
        assert why in line


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"7767517\n", "its second line is not two numbers"),
        (b"7767517\n1 1\nInput\n", "line 3"),
        (b"7767517\n1 1\nInput a 0 9 a\n", "fewer blobs than it says"),
        (b"7767517\n1 1\nInput a 0 1 a 0=3 b\n", "line 3: 'b'"),
        (b"7767517\n1 1\nInput a 0 1 a 900=3\n", "line 3: '900=3'"),
        (b"7767517\n1 1\nInput a 0 1 a -23300=9,1\n", "another length than it says"),
        (b"7767517\n2 1\nInput a 0 1 a 0=3\n", "has 1 layers and says 2"),
        (param("Input a 0 1 a", "ReLU b 1 1 a b"), "does not say its shape"),
        (b"7767517\n1 1\nInput a 0 1 a 0=3\n", "not a network"),
        (param("Input a 0 1 a 0=99999999999", "ReLU b 1 1 a b"), "setting 0 is"),
        (param("Input a 0 1 a 0=3", "ReLU b 1 1 a a"), "two layers make the blob 'a'"),
        (SMALL.replace(b"6=54", b"6=-54"), "ends|expected|were expected"),
        (SMALL.replace(b"6=54", b"6=2000000000"), "were expected"),
        (SMALL.replace(b"1=3 3", b"1=300000 3"), "does not say its shape"),
    ],
)
def test_texts_that_are_wrong(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        linnet.load(text, WEIGHTS)


def test_weights_that_are_cut_off() -> None:
    for end in range(0, len(WEIGHTS), 9):
        with pytest.raises(ValueError, match="were expected after byte"):
            linnet.load(SMALL, WEIGHTS[:end])
