"""Prototxts and caffemodels of a few layers."""

from __future__ import annotations

import numpy as np
import pytest

from linnet import formats, interpret, passes
from linnet.formats import _schema

RANDOM = np.random.default_rng(3)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def close(a, b):
    """Within float32 rounding of results this size."""
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * max(1, np.abs(b).max()))


INPUT = """
layer {
  name: "x" type: "Input" top: "x"
  input_param { shape { dim: 1 dim: 4 dim: 9 dim: 7 } }
}
"""


def layer(kind, name="y", settings="", bottom="x", top=None):
    bottoms = " ".join(f'bottom: "{blob}"' for blob in bottom.split())
    return f'\nlayer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top or name}" {settings} }}'


def conv(settings, name="y", **names):
    return layer("Convolution", name, f"convolution_param {{ {settings} }}", **names)


def blob(array, form="packed"):
    proto = _schema.caffe("BlobProto")()
    if form == "legacy":
        dims = (1,) * (4 - array.ndim) + array.shape
        proto.num, proto.channels, proto.height, proto.width = dims
    else:
        proto.shape.dim.extend(array.shape)
    if form == "double":
        proto.double_data.append(array.astype(np.float64).tobytes())
    elif form == "chunks":  # a packed field may come in pieces
        proto.data.extend([array.ravel()[:3].tobytes(), array.ravel()[3:].tobytes()])
    elif form == "unpacked":  # one tag (field 5, 32 bits) per value
        values = (b"\x2d" + value.tobytes() for value in array.ravel())
        proto.MergeFromString(b"".join(values))
    else:
        proto.data.append(array.tobytes())
    return proto


def weights_file(weights, form="packed", field="layer"):
    net = _schema.caffe("NetParameter")()
    for name, arrays in weights.items():
        entry = getattr(net, field).add(name=name)
        entry.blobs.extend(blob(array, form) for array in arrays)
    return net.SerializeToString()


def read(text, weights, folder):
    (folder / "net.prototxt").write_text(text)
    if weights is not None:
        data = weights if isinstance(weights, bytes) else weights_file(weights)
        (folder / "net.caffemodel").write_bytes(data)
        weights = folder / "net.caffemodel"
    return passes.canonicalize(formats.read(folder / "net.prototxt", weights))


def refuse(text, weights, folder, *said):
    with pytest.raises(ValueError, match=r"net\.(prototxt|caffemodel)") as error:
        read(text, weights, folder)
    for part in said:
        assert part in str(error.value)
    return str(error.value)


def run(graph, x, name="y"):
    return interpret.run(graph, {"x": x}, fetch=[name])[name]
