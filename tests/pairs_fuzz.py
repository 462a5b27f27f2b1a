"""Files of MXNet, ncnn and Darknet, and what becomes of them with something wrong in them."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path

import numpy as np
from caffe_fuzz import MEMORY, MOST_INPUT, NUMBERS, Files, damaged_bytes
from mxnet_files import params
from packed import unpack

import linnet
from linnet import core, formats, passes

DATA = Path(__file__).parent / "data"


@cache
def whole(name: str) -> list[Files]:
    """Those of a format with nothing wrong."""
    found = []
    for case in unpack(DATA / name / "layers.npz").values():
        if name == "mxnet":
            arrays = {key[2:]: case[key] for key in case if key.startswith("p/")}
            text = case["symbol"]
            for key in [key for key in case if key.startswith("x/")]:  # the sizes of inputs
                noted = f'"name":"{key[2:]}","attrs":{{"__shape__":"{list(case[key].shape)}"}}'
                text = text.replace(f'"name":"{key[2:]}"', noted, 1)
            found.append(Files(text.encode(), params(arrays)))
        elif name == "ncnn":
            text = case["param"]
            for key in [key for key in case if key.startswith("x/")]:
                sizes = zip((2, 1, 0)[-case[key].ndim :], case[key].shape)
                settings = " ".join(f"{place}={size}" for place, size in sizes)
                text = text.replace(f"Input {key[2:]} 0 1 {key[2:]}\n",
                                    f"Input {key[2:]} 0 1 {key[2:]} {settings}\n")  # fmt: skip
            found.append(Files(text.encode(), case["bin"]))
        else:
            found.append(Files(case["cfg"].encode(), case["weights"]))
    return found


def damaged(random: np.random.Generator, name: str) -> Files:
    """Files with something wrong in the text, in the weights or in both."""
    every = whole(name)
    files = every[random.integers(len(every))]
    model, weights = files
    which = random.choice(["model", "model", "weights", "both"])
    if which != "weights":
        change = damaged_text if random.random() < 0.9 else damaged_bytes
        model = change(random, model)
    if which != "model" and weights is not None:
        weights = damaged_bytes(random, weights)
    return Files(model, weights)


def damaged_text(random: np.random.Generator, data: bytes) -> bytes:
    """Numbers of other sizes, words of other places, some more and some less."""
    tokens = re.findall(r"[\w.+-]+|\s+|\S", data.decode())
    words = [i for i, token in enumerate(tokens) if re.fullmatch(r"[A-Za-z_]\w*", token)]
    numbers = [i for i, token in enumerate(tokens) if re.fullmatch(r"[-+.\d]+", token)]
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        at, other = (int(random.integers(len(tokens))) for _ in "ab")
        how = random.choice([0, 0, 0, 0, 1, 2, 3, 4])
        if how == 0 and numbers:
            number = random.choice(NUMBERS[: random.choice([5, len(NUMBERS)])])
            tokens[random.choice(numbers)] = str(number)
        elif how == 1 and words:
            tokens[random.choice(words)] = tokens[random.choice(words)]
        elif how == 2:
            tokens[at] += "".join(tokens[min(at, other) : max(at, other)][:200])
        elif how == 3:
            tokens[at] = ""
        else:
            tokens[at] += f" {random.choice(NUMBERS)}"
    return "".join(tokens).encode()


def attempt(files: Files) -> bool:
    """Whether a network is read, and runs if it is small; otherwise it has to be a ValueError that
    names a file, and nothing else.
    """
    assert files.weights is not None
    try:
        graph = passes.canonicalize(formats.read(files.model, files.weights), MEMORY)
    except ValueError as error:
        assert re.match(r"the (model|weights) given as bytes", str(error)), error
        return False
    shapes = [value.shape for value in graph.inputs]
    shapes += [shape for name, shape in core.shapes(graph).items() if name in graph.outputs]
    if sum(math.prod(n or 8 for n in shape) for shape in shapes) <= MOST_INPUT:
        try:
            net = linnet.load(graph, memory_limit=MEMORY)
            net.run([np.ones([n or 8 for n in x.shape], x.dtype) for x in net.inputs])
        except MemoryError as error:
            assert re.search("memory_limit|this process can have", str(error)), error
        except ValueError:  # of a size that does not fit what is open
            assert any(None in x.shape[1:] for x in net.inputs)
    return True
