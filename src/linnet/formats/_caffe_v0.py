"""Networks in Caffe's form of before 2014 as layers of today's, which is what Caffe makes of them
(src/caffe/util/upgrade_proto.cpp): a layer lies in a `layer` within its `layers`, has one list of
settings whatever its type, and pads in a layer of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._schema import caffe

_PADDING = "Padding"

_TYPES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "padding": _PADDING,
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}

# Of each type, where its settings belong; those of other types are not looked at.
_SETTINGS = {
    "Concat": ("concat_param", {"concat_dim": "concat_dim"}),
    "Convolution": (
        "convolution_param",
        {
            "num_output": "num_output",
            "biasterm": "bias_term",
            "weight_filler": "weight_filler",
            "bias_filler": "bias_filler",
            "pad": "pad",
            "kernelsize": "kernel_size",
            "group": "group",
            "stride": "stride",
        },
    ),
    "Dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "InnerProduct": (
        "inner_product_param",
        {"num_output": "num_output", "biasterm": "bias_term"},
    ),
    "LRN": (
        "lrn_param",
        {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"},
    ),
    "Pooling": (
        "pooling_param",
        {"pool": "pool", "pad": "pad", "kernelsize": "kernel_size", "stride": "stride"},
    ),
}


def is_old(layer: Any) -> bool:
    """Whether one of `layers` is of this form."""
    return "layer" in layer.DESCRIPTOR.fields_by_name and layer.HasField("layer")


def upgraded(layers: Sequence[Any]) -> list[Any]:
    """A LayerParameter for each of `layers`. Those that pad are in no phase; who reads them pads
    itself, and reads what they read.
    """
    new = [_upgraded(layer) for layer in layers]
    padding: dict[str, Any] = {}  # the layer that pads, by the blob it makes
    for layer in new:
        source = padding.get(layer.bottom[0]) if len(layer.bottom) == 1 else None
        if source is not None and layer.type in ("Convolution", "Pooling"):
            layer.bottom[0] = source.bottom[0]
            _pad(layer, source.convolution_param.pad)
        for blob in layer.top:
            padding.pop(blob, None)
        if layer.type == _PADDING and len(layer.bottom) == len(layer.top) == 1:
            padding[layer.top[0]] = layer
            layer.exclude.add()
    return new


def _pad(layer: Any, pad: Sequence[int]) -> None:
    if layer.type == "Pooling":
        layer.pooling_param.pad = pad[0]
    else:
        layer.convolution_param.pad[:] = pad


def _upgraded(connection: Any) -> Any:
    old = connection.layer
    kind = _TYPES.get(old.type, old.type)
    new = caffe("LayerParameter")(name=old.name, type=kind)
    new.bottom.extend(connection.bottom)
    new.top.extend(connection.top)
    new.blobs.extend(old.blobs)
    name, settings = _SETTINGS.get(kind, ("", {}))
    for key, target in settings.items():
        if not old.HasField(key):
            continue
        param, value = getattr(new, name), getattr(old, key)
        if hasattr(value, "DESCRIPTOR"):
            getattr(param, target).CopyFrom(value)
        elif hasattr(getattr(param, target), "append"):
            getattr(param, target).append(value)
        else:
            setattr(param, target, value)
    if kind == _PADDING:
        new.convolution_param.pad.append(old.pad)
    return new
