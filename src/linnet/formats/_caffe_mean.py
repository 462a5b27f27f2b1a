"""How Caffe's networks take pictures: transform_param, and the files of mean images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..graph import Array
from ..preprocess import Preprocess
from . import _schema
from ._source import Source

_LARGEST = 1 << 24  # numbers of a mean image


def read_mean(source: Source) -> Array:
    """The image in a .binaryproto file, a BlobProto, or an .npy file: float32 [planes, h, w].

    ValueError if it holds something else.
    """
    if source.head(6) == b"\x93NUMPY":
        try:
            image = _of_npy(source)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{source}: not a readable .npy file: {error}") from None
    else:
        image = _of_blob(source)
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if (
        image.ndim != 3
        or len(image) not in (1, 3)
        or not image.size
        or image.dtype.kind not in "fiu"
    ):
        raise ValueError(
            f"{source}: holds {image.dtype} {list(image.shape)}, expected the mean of pictures, "
            "[1 or 3, height, width]"
        )
    if not np.isfinite(image).all():
        raise ValueError(f"{source}: its numbers are not all finite")
    return np.asarray(image, np.float32)


def _of_npy(source: Source) -> Array:
    """ValueError before much memory is taken: what the head says may not be there."""
    with source.open() as file:
        version = np.lib.format.read_magic(file)
        heads = {(1, 0): np.lib.format.read_array_header_1_0}
        heads[2, 0] = np.lib.format.read_array_header_2_0
        if version not in heads:
            raise ValueError(f"its version is {version}")
        shape, _, dtype = heads[version](file)
        if math.prod(shape) > _LARGEST or dtype.itemsize > 8:
            raise ValueError(f"it holds {dtype} {list(shape)}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def _of_blob(source: Source) -> Array:
    what = f"{source}: not a mean image of Caffe's"
    blob = _schema.parse(_schema.caffe("BlobProto"), source.read(), what)
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    if min(shape, default=0) < 1 or not 0 < math.prod(shape) <= _LARGEST:
        raise ValueError(f"{what}: its shape is {list(shape)}")
    field = "double_data" if blob.double_data else "data"
    try:
        values = _schema.floats(blob, field, _schema.caffe("BlobProtoUnpacked"), math.prod(shape))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    return values.reshape(shape)


def record(layer: Any, planes: int, unknown: Sequence[str], source: Source) -> str:
    """The text of the record of a layer's transform_param, for a network of so many planes.

    Caffe takes pictures as OpenCV reads them, BGR, and the middle of crop_size; what it crops has
    the size of the mean image or, without one, is here as large as its shorter side says. unknown:
    paths of fields that are not known. mean_file is looked for beside the prototxt.
    """
    param = layer.transform_param
    where = f"layer '{layer.name}': transform_param has"
    reasons = {}
    if unknown:
        paths = ", ".join(path[:100] for path in unknown)
        reasons["resize"] = f"{where} fields that are not known: {paths}"
    mean: Any = list(param.mean_value) or (0.0,)
    if param.mean_file and param.mean_value:
        reasons["mean"] = f"{where} both mean_file and mean_value"
    elif param.mean_file:
        try:
            mean = read_mean(_beside(source, param.mean_file))
        except (ValueError, OSError) as error:
            reasons["mean"] = f"{where} mean_file '{param.mean_file[:200]}': {error}"
    image = isinstance(mean, np.ndarray)
    for name, values in (("mean", () if image else mean), ("scale", (param.scale,))):
        if not all(map(math.isfinite, values)) or len(values) not in (0, 1, planes):
            reasons[name] = f"{where} {name} {list(values)[:5]}, for {planes} planes"
    found = Preprocess(
        fit="crop" if param.crop_size and not image else "stretch",
        resize=mean.shape[1:] if image else None,
        mean=(0.0,) if "mean" in reasons else mean,
        scale=(1.0,) if "scale" in reasons else (param.scale,),
        color="grey" if planes == 1 else "BGR",
    )
    return found.text(**reasons)


def _beside(source: Source, name: str) -> Source:
    """A file that a prototxt names, by its last part: paths in it are those of who trained."""
    if source.path is None:
        raise ValueError("a prototxt that is no file has none beside it")
    path = source.path.parent / Path(name).name
    if not path.is_file():
        raise ValueError(f"there is no such file beside {source}")
    return Source(path, "mean")
