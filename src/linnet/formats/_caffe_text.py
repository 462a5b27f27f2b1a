"""Prototxt: the text form of Caffe's networks, and what of it linnet does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf import text_format

from ..text import decode
from . import _schema
from ._caffe_proto import IGNORED

_STRING = r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\""""
_TOKEN = re.compile(rf"(?:(?:{_STRING})\s*)+|[\w.+/-]+|\S")  # adjacent strings are one
_COMMENT = rf"({_STRING})|#[^\n]*"
_LONGEST_LINE = 2000

_Tree = list[tuple[str, "_Tree | None"]]  # fields as written, messages with their own


class Network(NamedTuple):
    """A parsed prototxt, and the paths of the fields that are in no table."""

    net: Any
    unknown: list[str]  # outside layers
    unknown_in_layers: list[list[str]]  # of each `layer` or `layers`


def parse(data: bytes, what: str) -> Network:
    """The NetParameter in a prototxt; ValueError if it is none."""
    net = _schema.caffe("NetParameter")()
    try:
        text = re.sub(_COMMENT, lambda match: match[1] or "", _decoded(data))
        text = "\n".join(map(_broken, text.split("\n")))
        text_format.Parse(text, net, allow_unknown_field=True)
        tree = _tree(match[0] for match in _TOKEN.finditer(text))
    except MemoryError:
        raise
    except Exception as error:  # ParseError; RecursionError on absurd nesting
        reason = str(error).rpartition("': ")[2]  # a ParseError quotes the line, however long
        if isinstance(error, text_format.ParseError) and error.GetLine():
            reason = f"line {error.GetLine()}: {reason}"
        raise ValueError(f"{what}: not a network in Caffe's text form ({reason[:200]})") from None
    layers = [
        (net.DESCRIPTOR.fields_by_name[name].message_type, fields or [])
        for name, fields in tree
        if name in ("layer", "layers")
    ]
    return Network(
        net,
        list(_unknown([f for f in tree if f[0] not in ("layer", "layers")], net.DESCRIPTOR)),
        [list(_unknown(fields, message)) for message, fields in layers],
    )


def _broken(line: str) -> str:
    """A line of many tokens as lines of one: protobuf's parser copies a line again and again."""
    if len(line) <= _LONGEST_LINE:
        return line
    return "\n".join(match[0] for match in _TOKEN.finditer(line))


def _decoded(data: bytes) -> str:
    """Text in UTF-8 or with a byte order mark. Comments and, as in Caffe, names may be in any
    encoding whose quotes are ASCII's.
    """
    try:
        text = decode(data)
    except UnicodeDecodeError:
        data = re.sub(_COMMENT.encode(), lambda match: match[1] or b"", data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _tree(tokens: Iterator[str]) -> _Tree:
    """The fields up to the end of the message that `tokens`, of a text that is valid, are in."""
    fields: _Tree = []
    for name in tokens:
        if name in "}>":
            break
        if name in ",;":
            continue
        if name == "[":  # the name of an extension
            name = f"[{''.join(iter(tokens.__next__, ']'))}]"  # noqa: PLW2901
        value = next(tokens)
        if value == ":":
            value = next(tokens)
        if value == "[":
            values = [_value(token, tokens) for token in iter(tokens.__next__, "]") if token != ","]
            fields += [(name, item) for item in values]
        else:
            fields.append((name, _value(value, tokens)))
    return fields


def _value(token: str, tokens: Iterator[str]) -> _Tree | None:
    return _tree(tokens) if token in "{<" else None


def _unknown(fields: _Tree, message: Any) -> Iterator[str]:
    """Paths of the fields that `message` neither has nor ignores."""
    for name, inner in fields:
        field = message.fields_by_name.get(name)
        if field is None:
            if name not in IGNORED.get(message.name, ()):
                yield name
        elif inner is not None and field.message_type is not None:
            yield from (f"{name}.{path}" for path in _unknown(inner, field.message_type))
