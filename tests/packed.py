"""Many small cases in one file: of each its texts, bytes and arrays, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

Case = dict[str, Any]


def pack(file: Path, cases: dict[str, Case]) -> None:
    """Write cases: values are text, bytes, or arrays of float32."""
    index: dict[str, dict[str, Any]] = {}
    numbers, data = [np.zeros(0, np.float32)], b""
    for name, case in cases.items():
        index[name] = {}
        for key, value in case.items():
            if isinstance(value, str):
                index[name][key] = value
            elif isinstance(value, bytes):
                index[name][key] = len(value)
                data += value
            else:
                index[name][key] = list(value.shape)
                numbers.append(np.asarray(value, np.float32).reshape(-1))
    text = np.frombuffer(json.dumps(index).encode(), np.uint8)
    everything = np.concatenate(numbers)
    np.savez_compressed(file, index=text, data=np.frombuffer(data, np.uint8), numbers=everything)


def unpack(file: Path) -> dict[str, Case]:
    """The cases that `pack` has written."""
    with np.load(file) as arrays:
        index = json.loads(arrays["index"].tobytes())
        numbers, data = arrays["numbers"], arrays["data"].tobytes()
    for case in index.values():
        for key, value in case.items():
            if isinstance(value, int):
                case[key], data = data[:value], data[value:]
            elif isinstance(value, list):
                count = int(np.prod(value))
                case[key], numbers = numbers[:count].reshape(value), numbers[count:]
    return index
