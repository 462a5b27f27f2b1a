"""The network that a caffemodel carries beside its weights, in Caffe's binary form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import _schema
from ._caffe_layers import layer_type
from ._caffe_proto import FORKS, IGNORED_NUMBERS
from ._caffe_text import Network
from ._source import Source

_APART = ("NetParameter.layer", "NetParameter.layers")


def carried(source: Source) -> Network:
    """The NetParameter of a caffemodel; ValueError if it cannot be run as it is.

    Forks gave the same numbers to other fields, so what Caffe itself has not is an error: it is
    named by its number.
    """
    net = _schema.parse(_schema.caffe("NetParameter"), source.read(), f"{source}: not a caffemodel")
    layers = net.layer or net.layers
    outside, inside = list(_unknown(net)), [list(_unknown(layer)) for layer in layers]
    if not net.input and not any(layer_type(layer) in ("Input", "MemoryData") for layer in layers):
        raise ValueError(
            f"{source}: holds weights only; the model is its .prototxt, this is its weights= "
            "(the network in it has no Input layer)"
        )
    return Network(net, outside, inside)


def _unknown(message: Any) -> Iterator[str]:
    """Paths of the fields that are set and not Caffe's, layers and weights aside.

    UnicodeDecodeError for a name that is no text, which protobuf may hand out as bytes.
    """
    known = IGNORED_NUMBERS.get(message.DESCRIPTOR.name, frozenset())
    for number in sorted(_numbers(message) - known):
        yield f"field {number}"
    for field, value in message.ListFields():
        if field.number >= FORKS:
            yield f"field {field.number}"
        elif field.type == field.TYPE_STRING:
            for item in [value] if isinstance(value, (str, bytes)) else value:
                if isinstance(item, bytes):
                    item.decode()
        elif field.message_type is not None and not (
            field.name == "blobs" or f"{message.DESCRIPTOR.name}.{field.name}" in _APART
        ):
            inner = [value] if hasattr(value, "DESCRIPTOR") else value
            for item in inner:
                yield from (f"{field.name}.{path}" for path in _unknown(item))


def _numbers(message: Any) -> set[int]:
    """Of the fields that the message's declaration has not."""
    try:
        from google.protobuf.unknown_fields import UnknownFieldSet

        fields = UnknownFieldSet(message)
        return {fields[index].field_number for index in range(len(fields))}
    except ImportError:  # an old protobuf
        return {field.field_number for field in message.UnknownFields()}
