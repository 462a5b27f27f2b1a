"""The files that models of Keras come in, and which weights in them are which layer's.

`.h5` and `.hdf5` hold the configuration as an attribute, and each layer's weights under its name;
`.keras` is a zip of `config.json` and `model.weights.h5`, where weights have the path of their
layer, made of names of classes. What `to_json()` and `save_weights()` write are both apart.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections import Counter
from typing import IO, Any

from ..graph import Array
from ..text import decode, short
from . import _hdf5
from ._keras_layers import weight_counts
from ._keras_model import Layer, parse
from ._keras_old import modernized_arrays
from ._keras_recurrent import folders
from ._source import Source

ZIP_MAGIC = b"PK\x03\x04"
_EXPANSION = 16  # an archive's member may be so many times the archive, and 16 MiB more
_MOST_CHUNKS = 10_000  # of an attribute that does not fit one


def read_model(model: Source, weights: Source | None) -> tuple[Layer, int]:
    """The model with the weights of its layers, and which Keras it is of: 1, 2 or 3.

    Weights of a second file go before those of the first.

    ValueError if a file is damaged or not Keras's; RuntimeError if nothing here reads HDF5.
    """
    head = model.head(8)
    store: _hdf5.Hdf5 | None = None
    version: Any = None
    if head == _hdf5.MAGIC:
        store = _hdf5.Hdf5(model.open(), str(model))
        text, version = (store.attribute("", key) for key in ("model_config", "keras_version"))
        if not isinstance(text, str):
            raise ValueError(
                f"{model}: holds weights without the model's configuration; give the JSON text "
                "of model.to_json() as the model, and this file as its weights"
            )
    elif head.startswith(ZIP_MAGIC):
        with model.open() as file:
            text, version, store = _archive(file, str(model), weights is None)
    else:
        try:
            text = decode(model.read())
        except UnicodeDecodeError:
            raise ValueError(f"{model}: not a model of Keras") from None
    layer = parse(text, str(model))
    version = version or layer.keras_version
    if weights is not None:
        store = _hdf5.Hdf5(weights.open(), str(weights))
    if store is None:
        raise ValueError(f"{model}: the weights are missing; give the .h5 file that has them")
    backend = store.attribute("", "backend") or store.attribute("model_weights", "backend")
    if not _by_name(layer, store):
        _by_path(layer, store, "")
    for leaf in _leaves(layer):
        leaf.arrays = leaf.arrays and modernized_arrays(leaf.written, leaf.arrays)
    if backend == "theano":
        raise ValueError(
            f"{store.what}: was saved by Keras on Theano, whose kernels are mirrored; save it "
            "again by Keras on TensorFlow"
        )
    return layer, int(version[0]) if re.match(r"[123]\.", str(version)) else _guess(layer)


def _guess(model: Layer) -> int:
    """The version of a model that does not say, by how inputs are described since Keras 3."""
    leaves = _leaves(model)
    return 3 if any("batch_shape" in leaf.config for leaf in leaves) else 2


def _archive(file: IO[bytes], what: str, trained: bool) -> tuple[str, Any, _hdf5.Hdf5 | None]:
    """Configuration, Keras's version and weights in a .keras file."""
    size = file.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            members = set(archive.namelist())
            if "config.json" not in members:
                raise ValueError("has no config.json")
            text = decode(_member(archive, "config.json", size))
            version = None
            if "metadata.json" in members:
                metadata = json.loads(decode(_member(archive, "metadata.json", size)))
                version = metadata.get("keras_version")
            if not trained:
                return text, version, None
            if "model.weights.h5" not in members:
                pickled = "model.weights.npz" in members
                form = "has its weights in the form of npz, which is pickled Python"
                raise ValueError(form if pickled else "has no model.weights.h5")
            stored = _member(archive, "model.weights.h5", size)
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises what comes its way in damaged files
        raise ValueError(f"{what}: damaged, or not a .keras file ({error})") from None
    return text, version, _hdf5.Hdf5(io.BytesIO(stored), what)


def _member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    """A member of an archive of so many bytes; ValueError if it would be too large."""
    most = _EXPANSION * size + (16 << 20)
    with archive.open(name) as member:
        data = member.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{name} would be more than {most} bytes")
    return data


def _by_name(model: Layer, store: _hdf5.Hdf5) -> bool:
    """Assign weights that lie under the names of their layers; whether they do."""
    group = "model_weights" if store.names("model_weights") else ""
    if _names(store, group, "layer_names") is None:
        return False
    for layer in model.layers:
        where = f"{group}/{layer.name}"
        names = _names(store, where, "weight_names")
        if names is None:
            continue
        arrays = [store.array(f"{where}/{name}") for name in names]
        lost = [name for name, array in zip(names, arrays) if array is None]
        if lost:
            raise ValueError(f"{store.what}: has no weights {short(lost[0])}, which it lists")
        _distribute(layer, arrays)
    return True


def _names(store: _hdf5.Hdf5, group: str, attribute: str) -> list[str] | None:
    """An attribute that is a list of names; one too long for HDF5 is stored in numbered parts."""
    parts = [store.attribute(group, attribute)]
    if parts[0] is None:
        parts = []
        for number in range(_MOST_CHUNKS):
            part = store.attribute(group, f"{attribute}{number}")
            if part is None:
                break
            parts.append(part)
    if not parts:
        return None
    if not all(isinstance(part, list) for part in parts):
        raise ValueError(f"{store.what}: {attribute} of {short(group)} is no list of names")
    return [str(name) for part in parts for name in part]


def _distribute(layer: Layer, arrays: list[Any]) -> None:
    """The weights of a model within the model are one list: first what is trained of each of its
    layers, then what is not. A layer that is frozen has nothing that is trained.
    """
    if not layer.is_model:
        layer.arrays = arrays
        return
    leaves = _leaves(layer)
    counts = [weight_counts(leaf) for leaf in leaves]
    if sum(map(sum, counts)) != len(arrays):
        return  # of a layer that is not known, which will be told
    remaining = iter(arrays)
    trained: list[list[Array]] = []
    for leaf, (first, _) in zip(leaves, counts):
        frozen = leaf.config.get("trainable") is False
        trained.append([next(remaining) for _ in range(0 if frozen else first)])
    for leaf, (first, more), has in zip(leaves, counts, trained):
        leaf.arrays = has + [next(remaining) for _ in range(first + more - len(has))]


def _leaves(model: Layer) -> list[Layer]:
    return [
        leaf for layer in model.layers for leaf in (_leaves(layer) if layer.is_model else [layer])
    ]


def _by_path(model: Layer, store: _hdf5.Hdf5, path: str) -> None:
    """Assign weights that lie under `layers/conv2d_3/vars/0`: the fourth Conv2D's first."""
    folder = "layers" if store.names(f"{path}/layers") else "_layer_checkpoint_dependencies"
    used: Counter[str] = Counter()
    for layer in model.layers:
        if layer.is_function:
            continue
        name = "functional" if layer.kind == "Model" else _snake(layer.kind)
        number = used[name]
        used[name] += 1
        where = f"{path}/{folder}/{name}_{number}" if number else f"{path}/{folder}/{name}"
        if layer.is_model:
            _by_path(layer, store, where)
            continue
        places = [f"{where}{folder}/vars" for folder in folders(layer.kind)]
        numbers = [(place, number) for place in places for number in range(len(store.names(place)))]
        arrays = [store.array(f"{place}/{number}") for place, number in numbers]
        if all(array is not None for array in arrays):
            layer.arrays = arrays


def _snake(name: str) -> str:
    """DepthwiseConv2D as depthwise_conv2d, ReLU as re_lu."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
