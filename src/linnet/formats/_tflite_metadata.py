"""How a TFLite model takes pictures, and what it calls its classes: its file's metadata.

The schema is tensorflow_lite_support/metadata/metadata_schema.fbs; fields go by its numbers. Files
of labels are those of a zip archive behind the model.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from ..preprocess import LABELS, PREPROCESS, Preprocess
from ..text import decode
from ._flatbuffer import Bytes, Table
from ._tflite_model import Model

_NAME, _IDENTIFIER = "TFLITE_METADATA", b"M001"
_IMAGE, _NORMALIZATION = 2, 1  # of the unions ContentProperties, ProcessUnitOptions
_AXIS_LABELS = 2  # of AssociatedFileType
_PIXELS = {0: "float32", 1: "float16", 3: "uint8", 9: "int8"}  # TensorType
_GREY = 2  # of ColorSpaceType
_MOST_TEXT = 1 << 22  # bytes of labels
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may take any memory


def metadata(model: Model, source: str) -> dict[str, str]:
    """The metadata of the Graph. What cannot be read says so when it is asked for: the numbers of a
    model do not depend on it.
    """
    found = {}
    try:
        data = model.metadata(_NAME)
        if data[4:8] != _IDENTIFIER:
            return {}
        graphs = Bytes(data, f"{source}: its metadata is damaged").root().tables(3)
        if not graphs:
            return {}
        if len(model.inputs) == 1 and len(inputs := graphs[0].tables(2)) == 1:
            found.update(_preprocess(inputs[0], model))
        names = [label for output in graphs[0].tables(3) for label in _labels(output)]
    except ValueError as error:
        return {PREPROCESS: Preprocess().text(mean=str(error), scale=str(error))}
    if names and (text := _file(model.data, names[0])):
        found[LABELS] = text
    return found


def _preprocess(table: Table, model: Model) -> dict[str, str]:
    """Of an input, if it is a picture.

    Bytes are the pixels, and int8 are them less 128, whatever mean and deviation belong to the
    reals that they stand for: so says the schema, and so do TFLite's own programs.
    """
    tensor = model.tensors[model.inputs[0]]
    if len(tensor.shape) != 4 or tensor.shape[3] not in (1, 3) or tensor.type not in _PIXELS:
        return {}
    content = table.table(3)
    image = content is not None and content.number(0, "B") == _IMAGE
    properties = content.table(1) if content is not None and image else None
    units = [unit.table(1) for unit in table.tables(4) if unit.number(0, "B") == _NORMALIZATION]
    if not image and not units:
        return {}
    fields: dict[str, Any] = {"layout": "nhwc"}
    if properties is not None and properties.number(0, "b") == _GREY:
        fields["color"] = "grey"
    reasons = {}
    kind = _PIXELS[tensor.type]
    if kind == "int8":
        fields["mean"] = 128.0
    elif kind != "uint8" and units and units[0] is not None:
        mean, deviation = (units[0].numbers(field, "<f4") for field in (0, 1))
        for name, values in (("mean", mean), ("scale", deviation)):
            numbers = np.zeros(1) if values is None else np.asarray(values, np.float64)
            wrong = numbers.size not in (1, tensor.shape[3]) or not np.isfinite(numbers).all()
            if values is None or wrong or (name == "scale" and not numbers.all()):
                reasons[name] = f"the file's metadata has {numbers.size} numbers, or wrong ones"
            else:
                fields[name] = 1 / numbers if name == "scale" else numbers
    return {PREPROCESS: Preprocess(**fields).text(**reasons)}


def _labels(table: Table) -> list[str]:
    """The names of the files with an output's labels."""
    return [file.text(0) for file in table.tables(6) if file.number(2, "b") == _AXIS_LABELS]


def _file(data: bytes, name: str) -> str:
    """The text of a file in the archive behind the model, empty if it cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo(name).compress_type not in _COMPRESSIONS:
                return ""
            with archive.open(name) as file:
                text = file.read(_MOST_TEXT + 1)
        return decode(text) if len(text) <= _MOST_TEXT else ""
    except (zipfile.BadZipFile, zlib.error, struct.error, LookupError, ValueError, RuntimeError):
        return ""
    except (EOFError, OSError):
        return ""
