"""Caffe's files, and what becomes of them with something wrong in them."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from caffe_models import weights_file
from google.protobuf import text_format

import linnet
from linnet import formats, passes
from linnet.formats import _caffe_proto, _schema

STORED = dict(np.load(Path(__file__).parent / "data" / "caffe" / "layers.npz"))
MEMORY = 1 << 26
MOST_INPUT = 1 << 16  # numbers, of networks that are run, too
LAYERS_OF_FORKS = """
    Axpy bottom: "x" bottom: "x"
    BN bn_param { eps: 1e-3 }
    ConvolutionDepthwise convolution_param { num_output: 4 kernel_size: 3 pad: 1 }
    Interp interp_param { zoom_factor: 2 pad_beg: -1 }
    Normalize norm_param { across_spatial: false eps: 1e-10 channel_shared: true }
    Permute permute_param { order: [0, 2, 3, 1] }
    PriorBox bottom: "x" prior_box_param { min_size: 2 max_size: 5 aspect_ratio: [2, 3] clip: true }
    ReLU6
    RegionYolo region_yolo_param { num: 1 classes: 1 coords: 2 }
    Reorg reorg_param { stride: 2 reverse: true }
    ShuffleChannel shuffle_channel_param { group: 2 }
    Upsample upsample_param { scale: 2 }
    DetectionOutput detection_output_param { num_classes: 3 nms_param { nms_threshold: 0.5 } }
"""
WEIGHTS_OF_FORKS = {
    "BN": [(4,)] * 4,
    "ConvolutionDepthwise": [(4, 1, 3, 3), (4,)],
    "Normalize": [(1,)],
}
NUMBERS = re.findall(
    r"\S+",
    """0 1 2 3 5 8 64 255 4096 65536 16777216 2147483647 2147483648 4294967295
    9223372036854775807 18446744073709551616 -1 -2 -2147483649 0.5 1e-40 1e39 -1e39 nan inf -inf
    true false""",
)
WORDS = sorted(set(re.findall(r"[A-Za-z_]\w*", _caffe_proto.MESSAGES)))


class Files(NamedTuple):
    """A prototxt with its caffemodel, if it needs one, or a caffemodel with the network in it."""

    model: bytes
    weights: bytes | None = None


@cache
def whole() -> list[Files]:
    """Files with nothing wrong, each of them as two files and as one."""
    found = []
    for case in json.loads(STORED["notes"].tobytes()):
        arrays = {
            name: [np.ones(shape, np.float32) for shape in shapes]
            for name, shapes in case["weights"].items()
        }
        found.append(Files(case["text"].encode(), weights_file(arrays) if arrays else None))
    head = 'input: "x" input_shape { dim: 2 dim: 4 dim: 5 dim: 6 } '
    for line in LAYERS_OF_FORKS.strip().splitlines():
        kind, _, settings = line.strip().partition(" ")
        text = f'{head} layer {{ name: "y" type: "{kind}" bottom: "x" top: "y" {settings} }}'
        blobs = [np.ones(shape, np.float32) for shape in WEIGHTS_OF_FORKS.get(kind, [])]
        found.append(Files(text.encode(), weights_file({"y": blobs}) if blobs else None))
    return found + [Files(carrying(files)) for files in found]


def carrying(files: Files) -> bytes:
    """The caffemodel that holds both."""
    net = _schema.caffe("NetParameter")()
    text_format.Parse(files.model.decode(), net, allow_unknown_field=True)
    blobs = _schema.caffe("NetParameter").FromString(files.weights or b"")
    by_name = {layer.name: layer.blobs for layer in blobs.layer}
    for layer in net.layer:
        layer.blobs.extend(by_name.get(layer.name, []))
    data: bytes = net.SerializeToString()
    return data


def damaged(random: np.random.Generator) -> Files:
    """Files with something wrong in the text, in the weights or in both."""
    every = whole()
    files = every[min(random.integers(len(every), size=2))]  # more often two files than one
    weights = files.weights
    is_text = files.model.lstrip()[:1].isalpha()
    change = damaged_text if is_text and random.random() < 0.8 else damaged_bytes
    which = random.choice(["model", "weights", "both"]) if weights else "model"
    if which != "model" and weights is not None:
        weights = damaged_bytes(random, weights)
    return Files(files.model if which == "weights" else change(random, files.model), weights)


def damaged_text(random: np.random.Generator, data: bytes) -> bytes:
    tokens = re.findall(r'"[^"]*"|[\w.+-]+|\s+|\S', data.decode())
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        if not tokens:
            break
        at, other = (int(random.integers(len(tokens))) for _ in "ab")
        how = random.choice([0, 0, 0, 0, 0, 0, 3, 4, 5, 6, 7])
        if how == 0:  # a number of another size
            numbers = [i for i, token in enumerate(tokens) if re.fullmatch(r"[-+.\d]+", token)]
            if numbers:
                number = random.choice(NUMBERS[: random.choice([5, len(NUMBERS)])])
                tokens[random.choice(numbers)] = str(number)
        elif how == 3:
            tokens[at] = str(random.choice(WORDS))
        elif how == 4:  # a name, or a type, of another place
            quoted = [i for i, token in enumerate(tokens) if token[0] == '"']
            if quoted:
                tokens[random.choice(quoted)] = tokens[random.choice(quoted)]
        elif how == 5:
            tokens[at:at] = tokens[min(at, other) : max(at, other)]
        elif how == 6:
            del tokens[at : at + int(random.integers(1, 4))]
        else:
            tokens.insert(at, f" {random.choice(WORDS)}: {random.choice(NUMBERS)} ")
    return "".join(tokens).encode()


def damaged_bytes(random: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 8])):
        if not changed:
            break
        at, other = (int(random.integers(len(changed))) for _ in "ab")
        how = random.integers(8)
        if how == 1:  # a number of the same size
            changed[at] ^= 1 << random.integers(7)
        elif how > 4:
            changed[at] = random.integers(256)
        elif how == 0:  # a number that goes on
            changed[at : at + 9] = b"\xff" * int(random.integers(1, 10))
        elif how == 2:
            changed[at:at] = changed[min(at, other) : max(at, other)][:4096]
        elif how == 3:
            del changed[at : at + int(random.integers(1, 9))]
        else:
            del changed[at:]
    return bytes(changed)


def attempt(files: Files, folder: Path) -> bool:
    """Whether a network is read, and runs if it is small; otherwise it has to be a ValueError that
    names a file, and nothing else.
    """
    given: list[Any] = [files.model]
    if not files.model.lstrip()[:1].isalpha():  # bytes are not known to be a caffemodel
        path = folder / "fuzzed.caffemodel"
        path.write_bytes(files.model)
        given = [path]
    if files.weights is not None:
        given.append(files.weights)
    try:
        graph = passes.canonicalize(formats.read(*given), MEMORY)
    except ValueError as error:
        assert re.match(r"the (model|weights) given as bytes|.*fuzzed\.caffemodel", str(error)), (
            error
        )
        return False
    if sum(math.prod(value.shape[1:]) for value in graph.inputs) <= MOST_INPUT:
        try:
            net = linnet.load(graph, memory_limit=MEMORY)
        except MemoryError as error:
            assert re.search("memory_limit|this process can have", str(error)), error
            return True
        net.run([np.ones([n or 1 for n in x.shape], x.dtype) for x in net.inputs])
    return True
