"""Make the reference data of Darknet: `OPENCV_PYTHON tests/data/darknet/make.py`, a Python with
`opencv-python-headless<5`, whose dnn computes what Darknet's own files mean.

`layers.npz` holds small networks as tests/packed.py has them: each its layers, `cfg`, its weights,
`weights`, the input `x` and the outputs `y/LAYER` that nothing else reads, called as linnet does.
"""

from __future__ import annotations

import pathlib
import struct
import sys

import cv2
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from packed import pack

HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(3)
NET = "[net]\nbatch=1\nwidth={}\nheight={}\nchannels={}\n"


def numbers(shape, positive=False):
    """Multiples of 1/16, which take little room in a file."""
    values = RANDOM.integers(1 if positive else -16, 17, shape) / 16
    return np.asarray(values, np.float32)


def weights(filters, inner, normalizes=False):
    """Of a convolution with so many weights for each filter."""
    parts = [numbers(filters)]
    if normalizes:
        parts += [numbers(filters), numbers(filters), numbers(filters, True)]
    return b"".join(part.tobytes() for part in [*parts, numbers(filters * inner)])


def layers():
    conv = "[convolutional]\nfilters={}\nsize={}\nstride={}\n{}activation={}\n"
    image = (6, 8, 3)  # width, height, channels
    yield "conv", image, conv.format(4, 3, 1, "pad=1\n", "linear"), weights(4, 27)
    yield (
        "conv_normalized",
        image,
        conv.format(4, 3, 2, "pad=1\nbatch_normalize=1\n", "leaky"),
        (weights(4, 27, True)),
    )
    yield "conv_padding", image, conv.format(2, 2, 1, "padding=2\n", "linear"), weights(2, 12)
    yield (
        "conv_grouped",
        (5, 4, 4),
        conv.format(6, 3, 1, "pad=1\ngroups=2\n", "relu"),
        (weights(6, 18)),
    )
    one = weights(3, 3)
    for kind in ("logistic", "mish", "swish", "tanh"):
        yield kind, image, conv.format(3, 1, 1, "", kind), one
    pool = "[maxpool]\nsize={}\nstride={}\n"
    for name, size, stride, shape in (
        ("max", 2, 2, (6, 8, 2)),
        ("max_odd", 2, 2, (7, 5, 2)),
        ("max_same", 2, 1, (6, 8, 2)),
        ("max_three", 3, 2, (7, 8, 2)),
        ("max_five", 5, 1, (6, 7, 2)),
    ):
        yield name, shape, pool.format(size, stride), b""
    yield "max_padding", (7, 8, 2), pool.format(2, 2) + "padding=0\n", b""
    yield "average", image, "[avgpool]\n", b""
    pair = conv.format(4, 1, 1, "", "linear") + conv.format(4, 3, 1, "pad=1\n", "linear")
    two = weights(4, 3) + weights(4, 36)
    yield "shortcut", image, pair + "[shortcut]\nfrom=-2\nactivation=linear\n", two
    yield "shortcut_leaky", image, pair + "[shortcut]\nfrom=0\nactivation=leaky\n", two
    yield "route", image, pair + "[route]\nlayers=-1,0\n", two
    yield "route_one", image, pair + "[route]\nlayers = -2\n", two
    yield "route_group", image, pair + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n", two
    yield "upsample", image, "[upsample]\nstride=2\n", b""
    yield "reorg", (6, 4, 4), "[reorg]\nstride=2\n", b""
    yield (
        "dropout",
        image,
        (conv.format(4, 1, 1, "", "linear") + "[dropout]\nprobability=.5\n[softmax]\ngroups=1\n"),
        weights(4, 3),
    )
    both = conv.format(4, 1, 1, "", "linear") + conv.format(4, 1, 1, "", "logistic")
    yield "sam", image, both + "[sam]\nfrom=-2\n", weights(4, 3) + weights(4, 4)
    yield (
        "connected",
        image,
        "[connected]\noutput=5\nactivation=leaky\n",
        (numbers(5).tobytes() + numbers(720).tobytes()),
    )
    boxes = conv.format(16, 1, 1, "", "linear") + "[yolo]\nmask=1,2\nanchors=2,3, 3,1.5, 4,5\n"
    boxes += "classes=3\nnum=3\njitter=.3\nignore_thresh=.7\nrandom=1\n"
    yield "yolo", image, boxes, weights(16, 3)
    yield "yolo_stretched", image, boxes + "scale_x_y=1.2\n", weights(16, 3)
    raw = boxes.replace("linear", "logistic") + "new_coords=1\nscale_x_y=2.0\n"
    yield "yolo_raw", image, raw, weights(16, 3)
    region = conv.format(16, 1, 1, "", "linear") + "[region]\nanchors=1.3,1.7, 3.2,4.0\n"
    region += "classes=3\ncoords=4\nnum=2\nsoftmax=1\nabsolute=1\n"
    yield "region", image, region, weights(16, 3)
    yield "region_threshold", image, region + "thresh=.3\n", weights(16, 3)
    overlap = boxes.replace("2,3, 3,1.5, 4,5", "2,3, 3,2, 3,3") + "nms_threshold=.3\n"
    yield "yolo_overlap", image, overlap, weights(16, 3)


def case(shape, text, data):
    text = NET.format(*shape) + text
    data = struct.pack("<3iq", 0, 2, 5, 64) + data
    net = cv2.dnn.readNetFromDarknet(
        np.frombuffer(text.encode(), np.uint8), np.frombuffer(data, np.uint8)
    )
    x = numbers((2, shape[2], shape[1], shape[0]))
    net.setInput(x)
    names = net.getUnconnectedOutLayersNames()
    last = text.count("[") - 2
    kind = text.rsplit("[", 1)[1].split("]")[0]
    y = net.forward(names[-1])  # that a single route reads a layer, it does not see
    return {"cfg": text, "weights": data, "x": x, f"y/{kind}_{last}": y}


if __name__ == "__main__":
    pack(HERE / "layers.npz", {name: case(*rest) for name, *rest in layers()})
