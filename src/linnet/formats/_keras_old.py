"""Layers as Keras 1 wrote them, in the words of Keras 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}
_MERGES = {
    "ave": "Average",
    "concat": "Concatenate",
    "max": "Maximum",
    "mul": "Multiply",
    "sum": "Add",
}
_KEYS = {
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "border_mode": "padding",
    "concat_axis": "axis",
    "dim_ordering": "data_format",
    "filter_length": "kernel_size",
    "length": "size",
    "nb_filter": "filters",
    "output_dim": "units",
    "pool_length": "pool_size",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
}
_ORDERS = {"tf": "channels_last", "th": "channels_first"}
# Of how weights are made, and of other shapes that the input may be given by.
_NO_MEANING = {
    "init",
    "W_regularizer",
    "b_regularizer",
    "W_constraint",
    "b_constraint",
    "gamma_regularizer",
    "beta_regularizer",
    "input_dim",
    "input_length",
    "weights",
    "arguments",
    "output_shape",
    "output_shape_type",
    "output_mask",
    "output_mask_type",
    "mode_type",
    "dot_axes",
}


def modernized(kind: str, config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and settings of a layer of Keras 1 as Keras 2 has them; all others as they are.

    Kernels of Theano's order, "th", have other axes: the setting is left, for which there is no
    rule.
    """
    keys = {"init", "border_mode", "dim_ordering", "concat_axis"}
    old = kind in _KINDS or kind == "Merge" or keys.intersection(config)
    if not old:
        return kind, config
    new: dict[str, Any] = {}
    for key, value in config.items():
        sized = kind == "Deconvolution2D" and key == "output_shape"
        if key not in _NO_MEANING or sized:
            new[_KEYS.get(key, key)] = value
    if "nb_row" in new or "nb_col" in new:
        new["kernel_size"] = [new.pop("nb_row", None), new.pop("nb_col", None)]
    if "data_format" in new:
        kernels = "filters" in new and new["data_format"] == "th"
        new["data_format"] = "th" if kernels else _ORDERS.get(new["data_format"], "th")
    if kind == "Merge":
        mode = new.pop("mode", None)
        kind = _MERGES.get(str(mode), kind)
        if kind != "Concatenate":
            new.pop("axis", None)
    return _KINDS.get(kind, kind), new


def modernized_arrays(kind: str, arrays: list[Any]) -> list[Any]:
    """Weights of a layer whose class the file calls `kind`, as Keras 2 has them: rows were images
    one pixel wide, and kernels of transposed convolutions had their axes as others have.
    """
    if not arrays or arrays[0].ndim != 4:
        return arrays
    kernel, *others = arrays
    if kind in ("Convolution1D", "AtrousConvolution1D") and kernel.shape[1] == 1:
        kernel = kernel[:, 0]
    if kind == "Deconvolution2D":
        kernel = kernel.swapaxes(2, 3)
    return [kernel, *others]
