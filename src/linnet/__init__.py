"""linnet runs trained convolutional networks on a CPU.

>>> net = linnet.load("deploy.prototxt", "net.caffemodel", threads=4)
>>> probabilities = net(images)  # float32 [N, C, H, W], any N
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from . import _core
except ImportError as error:
    # The linnet command says it in one sentence; a program that imports linnet gets the exception.
    if Path(sys.argv[0]).name == "linnet":
        sys.exit(f"linnet: error: {error}")
    raise

from . import machine
from . import model as _model
from .formats import Given, PathLike
from .options import WEIGHT_TYPES, core_options
from .options import text as _text
from .preprocess import Preprocess, merged
from .report import Layer, Report
from .session import Session, ValueInfo
from .text import short

if TYPE_CHECKING:
    from .channels import Removed
    from .graph import Graph
    from .model import Shapes

__all__ = [
    "Layer",
    "Preprocess",
    "Report",
    "Session",
    "ValueInfo",
    "convert",
    "load",
    "show_config",
]

__version__: str = _core.__version__


def load(
    model: Given | Graph,
    weights: Given | None = None,
    *,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    outputs: Sequence[str] = (),
    preprocess: Preprocess | Mapping[str, Any] | None = None,
    threads: int | None = None,
    algorithm: str | None = None,
    strict: bool = False,
    isa: str | None = None,
    blas: str | None = None,
    nnpack: str | None = None,
    memory_limit: int | str | None = None,
    weights_dtype: str | None = None,
    arithmetic: str | None = None,
) -> Session:
    """Load a trained model and make it ready to run.

    model: an .onnx or .tflite file; a Caffe .prototxt, with its .caffemodel as `weights`; a frozen
        graph of TensorFlow (.pb), the folder of a SavedModel, or a .meta file beside its
        checkpoint; a .keras or .h5 file of Keras, or JSON text with an .h5 file as `weights`; what
        such a file holds, as bytes or an open binary file; or a Graph. MXNet's -symbol.json has its
        .params file as `weights`, Darknet's .cfg its .weights, ncnn's .param its .bin: by default
        the one beside it.
    stages: what a Caffe network's rules (`include { stage: "deploy" }`) may ask for, beside the
        stages its own `state` names; of a SavedModel the signature, by default
        "serving_default" or the only one.
    shapes: sizes of inputs by name, {"data": (1, 3, 224, 224)}, for a model that leaves them open
        or is to run at others than it says; None for an axis leaves it open. What is left open may
        be another size in each call, of which the first of a new one takes longer.
    outputs: names of values to compute instead of the file's outputs. What they do not depend on
        is not looked at, so that it may be anything; of an object detector, name the raw boxes and
        scores.
    threads: how many compute; by default one for every core this process may use (its affinity
        mask and cgroup).
    algorithm: run convolutions and fully connected layers with this one only, where it accepts
        them; one of show_config()["algorithms"], or a family of them, as "fourier" or "nnpack".
    strict: only algorithms that add up the products of the definition, none that transform them.
    isa: instruction set of the kernels, one of show_config()["isas"]; by default the environment's
        LINNET_ISA, else the best this CPU has.
    blas: path of the OpenBLAS library to use; by default the system's.
    nnpack: path of a library that holds NNPACK, which then is tried for convolutions too; by
        default the environment's LINNET_NNPACK, else the system's libnnpack.so if there is one;
        where none can be used, explain() says why.
    memory_limit: most bytes of packed weights and activations together, as a number or as "300M",
        "1G" (powers of 1024); by default transformed weights take little more than plain ones.
        Weights that a file only says how to fill may take as much, by default half of what is free.
    weights_dtype: how to keep the weights of fully connected layers and ungrouped 1x1
        convolutions: "f32", "f16" (half the memory), or "int8" with a scale for each output channel
        (a quarter), rounded; "auto", float16 where that loses nothing. By default as in the file.
    arithmetic: of a quantized model: "integer" (the default) computes with its 8-bit integers,
        "float" with the reals that they stand for, which for some networks is faster.

    ValueError says all that is wrong with the model or an argument; OSError if a file cannot be
    read; RuntimeError if this CPU lacks `isa` or `blas` does not load; MemoryError if the model
    does not fit `memory_limit`.
    """
    options = core_options(
        dict(
            threads=threads,
            algorithm=algorithm,
            strict=strict,
            isa=isa,
            blas=blas,
            nnpack=nnpack,
            memory_limit=memory_limit,
            weights_dtype=weights_dtype,
        )
    )
    limit = options.get("memory_limit")
    how: dict[str, Any] = {"outputs": outputs, "arithmetic": arithmetic}
    graph, metadata = _model.build(model, weights, stages, shapes, limit, **how)
    metadata = merged(metadata, preprocess)
    if isinstance(graph, _core.GraphBuilder):
        return Session(_core.Session(graph, **options), metadata)
    from .sized import deferred

    return Session(deferred(graph, options), metadata)


def convert(
    model: Given,
    weights: Given | None,
    dst: PathLike,
    weights_dtype: str = "f32",
    *,
    stages: Sequence[str] = (),
    shapes: Shapes | None = None,
    outputs: Sequence[str] = (),
    preprocess: Preprocess | Mapping[str, Any] | None = None,
    arithmetic: str | None = None,
) -> list[Removed]:
    """Write a model, as for `load`, to the ONNX file `dst`, without channels that do nothing.

    Returns what was removed: of each layer how many channels never change, equal others or are not
    read by any. What the model computes stays the same but for rounding.

    Every ONNX runtime reads it, and linnet loads it fastest. It holds `preprocess`, by default that
    of the model's file, and the names of the classes if that has them. weights_dtype: "f32"; "f16"
    to halve the file by rounding the weights; or "int8" to quarter it, with a scale for each output
    channel of convolutions and fully connected layers. Loaded again, fully connected layers and
    ungrouped 1x1 convolutions keep such weights in memory; others become float32. Layers of
    integers in a quantized model keep their own, unless `arithmetic` is "float". Errors as for
    `load`; ValueError too if a weight is beyond float16, or not finite for int8.
    """
    if weights_dtype not in WEIGHT_TYPES:
        raise ValueError(
            f"weights_dtype is {short(weights_dtype)}, expected 'f32', 'f16' or 'int8'"
        )
    target = Path(os.fsdecode(_text("dst", dst)))
    if target.suffix.lower() != ".onnx":
        raise ValueError(f"{short(str(dst))}: the file to write must end in .onnx")
    from .channels import remove_dead
    from .formats import onnx_write

    graph = _model.canonical(model, weights, stages, shapes, outputs=outputs, arithmetic=arithmetic)
    graph, removed = remove_dead(graph)
    graph.metadata = merged(graph.metadata, preprocess)
    onnx_write.save(graph, target, weights_dtype)
    return removed


class Config(dict[str, Any]):
    """A dict that prints one entry a line."""

    def __repr__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{key:{width}}  {_plain(value)}" for key, value in self.items())

    __str__ = __repr__


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items() if item)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def show_config() -> dict[str, Any]:
    """What linnet found here, as a dict that prints readably.

    "openblas" is a dict (path, core, config, threading, warning), or a string that says why there
    is none. "nnpack" is the path of the library, or why there is none.
    RuntimeError or ValueError if LINNET_ISA names an instruction set that is not there.
    """
    found, text = _core.find_nnpack()
    return Config(
        linnet=__version__,
        isa=_core.default_isa(),
        isas=_core.available_isas(),
        algorithms=_core.algorithms(),
        cpu=machine.cpu_model(),
        threads=_core.default_threads(),
        openblas=_core.find_blas(),
        nnpack=text if found else f"none: {text}",
        numpy=np.__version__,
    )
