"""What `Interpreter` says of a tensor of a .tflite file, as LiteRT's does."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..formats._tflite_model import TYPES, Tensor
from ..formats._tflite_sparse import levels
from ..graph import Shape

# NumPy's types of those that linnet does not compute with.
_OTHERS: dict[int, Any] = {
    5: np.bytes_,
    8: np.complex64,
    11: np.complex128,
    12: np.uint64,
    13: np.object_,
    14: np.object_,
}


def type_of(tensor: Tensor) -> Any:
    """NumPy's class of its elements. ValueError if there is none."""
    if tensor.type in TYPES:
        return np.dtype(TYPES[tensor.type]).type
    if tensor.type not in _OTHERS:
        raise ValueError("Could not get tensor details")
    return _OTHERS[tensor.type]


def type_name(dtype: Any) -> str:
    """What messages call it."""
    kind = np.dtype(dtype)
    if kind.kind in "SUO":
        return "STRING"
    known = kind.kind in "biufc" and kind.itemsize <= (16 if kind.kind == "c" else 8)
    return kind.name.upper() if known else "NOTYPE"


def details(tensor: Tensor, index: int, shape: Shape) -> dict[str, Any]:
    """The dictionary of a tensor that has this shape now."""
    scales, zeros, axis = np.empty(0, np.float32), np.empty(0, np.int32), 0
    if (found := tensor.scales()) is not None:
        scales, zeros = found.scale.astype(np.float32), found.zero.astype(np.int32)
        axis = found.axis
    single = scales.size == 1
    return {
        "name": tensor.name,
        "index": index,
        "shape": np.array(shape, np.int32),
        "shape_signature": np.array(tensor.signature, np.int32),
        "dtype": type_of(tensor),
        "quantization": (float(scales[0]), int(zeros[0])) if single else (0.0, 0),
        "quantization_parameters": {
            "scales": scales,
            "zero_points": zeros,
            "quantized_dimension": axis,
            "block_size": 0,
        },
        "sparsity_parameters": _sparsity(tensor),
    }


def _sparsity(tensor: Tensor) -> dict[str, Any]:
    if tensor.sparsity is None:
        return {}
    order, blocked = (np.array(tensor.sparsity.integers(i), np.int32) for i in (0, 1))
    known: dict[str, Any] = {"traversal_order": order}
    if blocked.size:
        known["block_map"] = blocked
    known["dim_metadata"] = []
    for level in levels(tensor.sparsity):
        if isinstance(level, int):
            known["dim_metadata"].append({"format": 0, "dense_size": level})
        else:
            segments, indices = (numbers.astype(np.int32) for numbers in level)
            ends = {"array_segments": segments, "array_indices": indices}
            known["dim_metadata"].append({"format": 1, **ends})
    return known
