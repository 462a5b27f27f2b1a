"""A compiled network as a Python wheel: its library, and a module that calls it with arrays."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from .build import needs
from .network import ALIGNMENT, Network
from .printed import LINE, POOL_LINES

_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes each time
_PLATFORMS = {"armv7l": "linux_armv7l", "aarch64": "linux_aarch64", "x86_64": "linux_x86_64"}


def write(network: Network, library: Path, folder: Path, machine: str) -> Path:
    """NAME-1-py3-none-PLATFORM.whl in a folder; `machine` as platform.machine() has it."""
    name = network.name
    tag = f"py3-none-{_PLATFORMS[machine]}"
    info = f"{name}-1.dist-info"
    files = {
        f"{name}/__init__.py": module(network).encode(),
        f"{name}/lib{name}.so": library.read_bytes(),
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\nRequires-Dist: numpy\n"
            "Requires-Python: >=3.9\n"
        ).encode(),
        f"{info}/WHEEL": (
            f"Wheel-Version: 1.0\nGenerator: linnet\nRoot-Is-Purelib: false\nTag: {tag}\n"
        ).encode(),
    }
    if network.weights_file:
        files[f"{name}/{name}.bin"] = network.weights
    record = "".join(f"{file},sha256={_digest(data)},{len(data)}\n" for file, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{name}-1-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in files.items():
            entry = zipfile.ZipInfo(file, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return path


def _digest(data: bytes) -> str:
    digest = hashlib.sha256(data).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def module(network: Network) -> str:
    """The text of the wheel's module."""
    values = [
        [(v.name, tuple(v.shape), v.dtype.name) for v in group]
        for group in (network.inputs, network.outputs)
    ]
    return _MODULE.format(
        title=ascii(network.title)[1:-1].replace('"', "'"),
        name=network.name,
        inputs=values[0],
        outputs=values[1],
        runs={program["batch"]: network.run(program) for program in network.programs},
        arena=network.arena,
        alignment=ALIGNMENT,
        pool=LINE * (POOL_LINES + network.threads) if network.threads > 1 else 0,
        weights=network.weights_file,
        needs=needs(network),
        target=network.target.name,
    )


_MODULE = '''"""{title}, compiled by linnet. Written by a program.

    net = {name}.Network()
    y = net(x)              # for several outputs a tuple
"""

import ctypes
import os
import threading

import numpy as np

# Names, shapes and types; a 0 in front of a shape is the batch, one of BATCHES.
INPUTS = {inputs!r}
OUTPUTS = {outputs!r}
_RUNS = {runs!r}
BATCHES = tuple(_RUNS)
_FOLDER = os.path.dirname(__file__)


def _missing(needs):
    """What this CPU has not, as far as the system says; it would end the process."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), needs)
    except OSError:
        flags = needs
    return [flag for flag in needs if flag not in flags]


if _missing({needs!r}):
    raise ImportError(
        "{name} was compiled for {target}, a CPU with %s, which this one has not"
        % ", ".join(_missing({needs!r}))
    )
_library = ctypes.CDLL(os.path.join(_FOLDER, "lib{name}.so"))
if {weights!r}:
    _weights = np.memmap(os.path.join(_FOLDER, "{name}.bin"), np.uint8, "r")
    ctypes.c_void_p.in_dll(_library, "{name}_weights").value = _weights.ctypes.data


def _aligned(count):
    memory = np.empty(count + {alignment}, np.uint8)
    return memory[-memory.ctypes.data % {alignment} :][:count]


class Network:
    """The network with its memory. Calls from several threads run one after the other."""

    def __init__(self):
        self._lock = threading.Lock()
        self._arena = _aligned({arena})
        self._pool = _aligned({pool}) if {pool} else None
        self._runs = {{
            batch: getattr(_library, name if self._pool is None else name + "_on")
            for batch, name in _RUNS.items()
        }}
        self._at = ctypes.c_void_p(self._arena.ctypes.data)
        if self._pool is not None:
            error = _library.{name}_pool_start(ctypes.c_void_p(self._pool.ctypes.data))
            if error:
                self._pool = None
                raise OSError(error, os.strerror(error))

    def __del__(self):
        if getattr(self, "_pool", None) is not None:
            _library.{name}_pool_stop(ctypes.c_void_p(self._pool.ctypes.data))

    def __call__(self, *inputs):
        """The outputs of inputs. ValueError says what is wrong with those."""
        if len(inputs) != len(INPUTS):
            raise ValueError(f"{{len(inputs)}} inputs, expected {{len(INPUTS)}}")
        batched = next((i for i, (_, shape, _) in enumerate(INPUTS) if shape[:1] == (0,)), None)
        batch = BATCHES[0] if batched is None else len(np.atleast_1d(inputs[batched]))
        if batch not in _RUNS:
            raise ValueError(f"a batch of {{batch}}, expected {{' or '.join(map(str, BATCHES))}}")
        arrays = []
        for given, (name, shape, dtype) in zip(inputs, INPUTS):
            array = np.asarray(given)
            wanted = tuple((batch, *shape[1:]) if shape[:1] == (0,) else shape)
            if array.shape != wanted or array.dtype != dtype:
                raise ValueError(
                    f"{{name}} is {{array.dtype}} {{array.shape}}, expected {{dtype}} {{wanted}}"
                )
            arrays.append(np.ascontiguousarray(array).reshape(wanted))
        results = [
            np.empty((batch, *shape[1:]) if shape[:1] == (0,) else shape, dtype)
            for _, shape, dtype in OUTPUTS
        ]
        places = [
            (ctypes.c_void_p * max(1, len(group)))(*(array.ctypes.data for array in group))
            for group in (arrays, results)
        ]
        first = [] if self._pool is None else [ctypes.c_void_p(self._pool.ctypes.data)]
        with self._lock:
            self._runs[batch](*first, *places, self._at)
        return results[0] if len(results) == 1 else tuple(results)
'''
