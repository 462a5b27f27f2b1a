"""A caffemodel alone, where it carries its network."""

from __future__ import annotations

import numpy as np
import pytest
from caffe_models import INPUT, blob, close, conv, layer, normal, run
from google.protobuf import text_format

import linnet
from linnet import formats, ops, passes
from linnet.formats import _schema

CARRIED = INPUT + conv("num_output: 3 kernel_size: 3 pad: 1 stride: 2", "c")
CARRIED += layer("ReLU", "r", "relu_param { negative_slope: 0.5 }", bottom="c", top="c")
CARRIED += layer("Pooling", "y", "pooling_param { kernel_size: 2 }", bottom="c")


def whole(text, weights):
    """A caffemodel with the network and its weights, as a program saves one."""
    net = text_format.Parse(text, _schema.caffe("NetParameter")())
    for entry in net.layer:
        entry.blobs.extend(blob(array) for array in weights.get(entry.name, ()))
    return net


def test_a_caffemodel_that_carries_its_network(tmp_path):
    weights, x = {"c": [normal(3, 4, 3, 3), normal(3)]}, normal(2, 4, 9, 7)
    net = whole(CARRIED, weights)
    # Settings of training, by their numbers: a filler's deviation, the engine, rates of learning.
    param = net.layer[1].convolution_param
    param.weight_filler.MergeFromString(b"\x35\0\0\0\0")
    param.MergeFromString(b"\x78\x01")
    net.layer[1].param.add().MergeFromString(b"\x1d\0\0\0\0")
    net.layer[1].MergeFromString(b"\x50\x01")
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    expected = ops.conv.conv(x, *weights["c"], strides=(2, 2), pads=(1, 1, 1, 1))
    expected = np.where(expected < 0, expected / 2, expected)
    expected = ops.pool.max_pool(expected, kernel_shape=(2, 2))
    close(run(passes.canonicalize(formats.read(tmp_path / "net.caffemodel")), x), expected)
    close(linnet.load(tmp_path / "net.caffemodel")(x), expected)


def test_a_carried_network_is_caffes_own(tmp_path):
    """Forks used the same numbers for other fields: what Caffe has not is named."""
    weights = {"c": [normal(3, 4, 3, 3), normal(3)]}
    for change, said in (
        (lambda net: net.layer[1].MergeFromString(b"\xd0\x0c\x01"), "not known: field 202"),
        (lambda net: net.layer[3].pooling_param.MergeFromString(b"\xf8\x01\x01"), "field 31"),
        (lambda net: net.MergeFromString(b"\xa0\x06\x01"), "field 100"),
        (lambda net: net.layer[2].permute_param.order.append(1), "field 2002"),
    ):
        net = whole(CARRIED, weights)
        change(net)
        (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
        with pytest.raises(ValueError, match=r"net\.caffemodel") as error:
            passes.canonicalize(formats.read(tmp_path / "net.caffemodel"))
        assert said in str(error.value)
    net = whole(CARRIED, weights)
    del net.layer[0]
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(ValueError, match=r"holds weights only.*has no Input layer"):
        formats.read(tmp_path / "net.caffemodel")
    (tmp_path / "net.caffemodel").write_bytes(b"hello")
    with pytest.raises(ValueError, match="not a caffemodel"):
        formats.read(tmp_path / "net.caffemodel")
    data = whole(CARRIED, weights).SerializeToString()
    for name in (b"Input", b"ReLU", b"c"):
        wrong = data.replace(name, b"\xff" * len(name), 1)
        (tmp_path / "net.caffemodel").write_bytes(wrong)
        with pytest.raises(ValueError, match=r"net\.caffemodel.* not valid UTF-8"):
            formats.read(tmp_path / "net.caffemodel")
