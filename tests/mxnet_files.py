"""Files of MXNet, as tests write them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

TYPES = {"f4": 0, "f8": 1, "f2": 2, "u1": 3, "i4": 4, "i1": 5, "i8": 6}


def array_bytes(array: Any, version: int = 2) -> bytes:
    """An array as MXNet writes it: `version` 0 (before 0.9) to 3."""
    magic = {0: array.ndim, 1: 0xF993FAC8, 2: 0xF993FAC9, 3: 0xF993FACA}[version]
    head = struct.pack("<I", magic) + (struct.pack("<i", 0) if version > 1 else b"")
    if version:
        head += struct.pack("<i", array.ndim)
    head += struct.pack(f"<{array.ndim}{'q' if version else 'I'}", *array.shape)
    return head + struct.pack("<iii", 1, 0, TYPES[array.dtype.str[1:]]) + array.tobytes()


def params(arrays: Mapping[str, Any], version: int = 2, more: bytes = b"") -> bytes:
    """A list of arrays with names as "arg:conv1_weight"."""
    data = struct.pack("<QQQ", 0x112, 0, len(arrays))
    data += b"".join(array_bytes(np.asarray(array), version) for array in arrays.values())
    data += struct.pack("<Q", len(arrays))
    for name in arrays:
        data += struct.pack("<Q", len(name.encode())) + name.encode()
    return data + more


def symbol(
    *nodes: tuple[str, str, dict[str, Any], list[str]], heads: list[str] | None = None
) -> bytes:
    """A symbol of nodes (operator, name, settings, names of the nodes that it reads)."""
    places = {name: place for place, (_, name, _, _) in enumerate(nodes)}
    listed = [
        {
            "op": op,
            "name": name,
            "attrs": {key: str(value) for key, value in attrs.items()},
            "inputs": [[places[x], 0, 0] for x in inputs],
        }
        for op, name, attrs, inputs in nodes
    ]
    return json.dumps(
        {
            "nodes": listed,
            "arg_nodes": [places[name] for op, name, _, _ in nodes if op == "null"],
            "heads": [[places[name], 0, 0] for name in heads or [nodes[-1][1]]],
            "attrs": {"mxnet_version": ["int", 10901]},
        }
    ).encode()
