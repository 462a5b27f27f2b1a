"""Loading a trained model: recognise its format, call that format's importer.

An importer translates a file into a Graph and decides nothing else; passes.canonicalize does the
rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Union

from ..graph import Graph

PathLike = Union[str, Path]


def load(model: PathLike, weights: PathLike | None = None) -> Graph:
    """The graph of an .onnx file, or of a Caffe .prototxt with its .caffemodel as `weights`.

    ValueError names what is wrong with the files; what linnet cannot express is left to
    passes.canonicalize to report.
    """
    model = Path(model)
    suffix = model.suffix.lower()
    if suffix == ".onnx":
        from . import onnx

        if weights is not None:
            raise ValueError(
                f"{model}: an ONNX file holds its own weights; {weights} is not needed"
            )
        return onnx.read_onnx_model(model)
    if suffix == ".prototxt":
        from . import caffe

        return caffe.read_caffe_model(model, None if weights is None else Path(weights))
    if suffix == ".caffemodel":
        raise ValueError(
            f"{model}: holds weights only; the model is its .prototxt, this is its weights="
        )
    raise ValueError(f"{model}: unknown model format, expected .onnx or .prototxt")
