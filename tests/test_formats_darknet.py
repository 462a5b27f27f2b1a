"""The reader of Darknet against stored results of OpenCV's, and against files that are wrong."""

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

DATA = Path(__file__).parent / "data" / "darknet"
CASES = unpack(DATA / "layers.npz")


@pytest.mark.parametrize("name", CASES)
def test_layers(name: str) -> None:
    case = CASES[name]
    graph = formats.read(case["cfg"].encode(), case["weights"])
    got = reading.run(graph, {"data": case["x"]})
    wanted = {key[2:]: case[key] for key in case if key.startswith("y/")}
    for output, theirs in wanted.items():
        close(got[output], theirs.reshape(got[output].shape))


NET = "[net]\nwidth=6\nheight=4\nchannels=3\n"
CONV = "[convolutional]\nfilters=2\nsize=3\npad=1\nactivation={}\n"


def weights(count: int, head: bytes = struct.pack("<3iq", 0, 2, 5, 0)) -> bytes:
    values = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    return head + values.tobytes()


def test_weights_beside_the_layers(tmp_path: Path) -> None:
    text, data = NET + "# a comment\n ; another\n" + CONV.format("relu"), weights(56)
    (tmp_path / "a.cfg").write_text(text)
    with pytest.raises(ValueError, match=r"its weights are in another file, NAME\.weights"):
        linnet.load(tmp_path / "a.cfg")
    (tmp_path / "a.weights").write_bytes(data)
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 6)).astype(np.float32)
    net = linnet.load(tmp_path / "a.cfg")
    assert [(v.name, v.shape) for v in net.inputs] == [("data", (None, 3, 4, 6))]
    assert [v.name for v in net.outputs] == ["convolutional_0"]
    close(net(x), linnet.load(text.encode(), data)(x))
    # Before 0.2 it had counted with 32 bits.
    early = weights(56, struct.pack("<4i", 0, 1, 0, 0))
    close(net(x), linnet.load(text.encode(), early)(x))
    other = linnet.load(text.encode(), data, shapes={"data": (None, 3, 8, 8)})
    assert other(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 2, 8, 8)
    with pytest.raises(ValueError, match=r"holds weights only; the model is its \.cfg"):
        linnet.load(tmp_path / "a.weights")


def test_channels_times_a_number_each() -> None:
    text = NET + CONV.format("linear") + "[avgpool]\n[scale_channels]\nfrom=0\n"
    net = linnet.load(text.encode(), weights(56))
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 6)).astype(np.float32)
    whole, y = net.run(["convolutional_0", "scale_channels_2"], {"data": x})
    close(y, whole * whole.mean((2, 3), keepdims=True))


def test_everything_unsupported_is_reported_at_once() -> None:
    layers = {
        "maxpool": ("size=2\nmaxpool_depth=1", "over channels"),
        "route": ("layers=99", "reads a layer that is not before it"),
        "shortcut": ("from=-4\nweights_type=per_feature", "with weights is not supported"),
        "upsample": ("stride=0", "its stride is 0"),
        "reorg": ("stride=5", "stride 5 does not divide"),
        "softmax": ("tree=a.tree", "of groups or a tree"),
        "yolo": ("mask=0\nanchors=1,2\nclasses=3", "do not fit 2 channels"),
        "region": ("anchors=1,2,3\nnum=1", "numbers of anchors do not fit"),
        "dropout": ("brand_new=1", "has a setting that is not known: brand_new"),
        "avgpool": ("", ""),
        "rnn": ("", "it keeps a state"),
    }
    text = NET
    for kind, (settings, _) in layers.items():
        text += CONV.format("linear") + f"[{kind}]\n{settings}\n[route]\nlayers=-2\n"
    with pytest.raises(ValueError) as caught:
        linnet.load(text.encode(), weights(5000))
    for index, (kind, (_, why)) in enumerate(layers.items()):
        found = [
            line for line in str(caught.value).split("\n") if f"'{kind}_{3 * index + 1}'" in line
        ]
        assert len(found) == (why != "")
        assert not why or why in found[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[net]\nwidth=6\n", "shape"),
        ("[net]\nwidth=6\n[conv", "line 3"),
        ("[net]\nwidth\n", "line 2"),
        ("[net]\nwidth=a\nheight=2\nchannels=3\n", "its width is 'a'"),
        (NET, "it has no layers"),
        (NET + CONV.format("linear").replace("filters=2", "filters=2000000000"), "were expected"),
        (NET + CONV.format("linear").replace("filters=2", "filters=-2"), "-2 filters"),
        (NET + CONV.format("linear").replace("size=3", "size=99999"), "of size 99999|expected"),
        (NET + CONV.format(""), "its activation is ''"),
        (
            NET
            + CONV.format("linear").replace("filters=2\nsize=3", "filters=8\nsize=1")
            + "[yolo]\nmask=0\nanchors=1,2\nclasses=3\nnms_threshold=-1\n",
            "nms_threshold -1",
        ),
    ],
)
def test_texts_that_are_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        linnet.load(text.encode(), weights(56))


def test_weights_that_are_wrong() -> None:
    text, data = (NET + CONV.format("linear")).encode(), weights(56)
    for end in range(0, len(data), 7):
        with pytest.raises(ValueError, match=r"were expected after byte|not a \.weights file"):
            linnet.load(text, data[:end])
    with pytest.raises(ValueError, match="matrices are turned"):
        linnet.load(text, weights(56, struct.pack("<4i", 1001, 1, 0, 0)))
