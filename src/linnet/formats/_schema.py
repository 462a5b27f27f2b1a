"""Protocol-buffer messages of ONNX, Caffe and TensorFlow, trimmed to what linnet reads and writes.

Numbers and types of ONNX's are those of onnx.proto (IR version 14); `_caffe_proto` has Caffe's,
`_tf_proto` TensorFlow's.
Large packed arrays of floats are declared `repeated bytes`, the same thing on the wire, so that
NumPy reads them without a Python list; `floats` gets their values. Fields left out are skipped by
the parser.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from . import _caffe_proto, _tf_proto

_ONNX = """
message ModelProto {
  optional int64 ir_version = 1;
  optional string producer_name = 2;
  optional string domain = 4;
  optional int64 model_version = 5;
  optional string doc_string = 6;
  optional GraphProto graph = 7;
  repeated OperatorSetIdProto opset_import = 8;
  repeated MetadataEntry metadata_props = 14;
}
message MetadataEntry { optional bytes key = 1; optional bytes value = 2; }
message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
message GraphProto {
  repeated NodeProto node = 1;
  optional string name = 2;
  repeated TensorProto initializer = 5;
  optional string doc_string = 10;
  repeated ValueInfoProto input = 11;
  repeated ValueInfoProto output = 12;
  repeated SparseTensorProto sparse_initializer = 15;
}
message NodeProto {
  repeated string input = 1;
  repeated string output = 2;
  optional string name = 3;
  optional string op_type = 4;
  repeated AttributeProto attribute = 5;
  optional string domain = 7;
}
message AttributeProto {
  optional string name = 1;
  optional float f = 2;
  optional int64 i = 3;
  optional bytes s = 4;
  optional TensorProto t = 5;
  optional GraphProto g = 6;
  repeated float floats = 7;
  repeated int64 ints = 8;
  repeated bytes strings = 9;
  optional int32 type = 20;
  optional string ref_attr_name = 21;
}
message TensorProto {
  repeated int64 dims = 1;
  optional int32 data_type = 2;
  repeated bytes float_data = 4;
  repeated int32 int32_data = 5;
  repeated int64 int64_data = 7;
  optional string name = 8;
  optional bytes raw_data = 9;
  repeated bytes double_data = 10;
  repeated uint64 uint64_data = 11;
  repeated StringStringEntryProto external_data = 13;
  optional int32 data_location = 14;
}
message TensorProtoUnpacked { repeated float float_data = 4; repeated double double_data = 10; }
message SparseTensorProto { optional TensorProto values = 1; }
message StringStringEntryProto { optional string key = 1; optional string value = 2; }
message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
message TypeProto { optional TypeProtoTensor tensor_type = 1; }
message TypeProtoTensor { optional int32 elem_type = 1; optional TensorShapeProto shape = 2; }
message TensorShapeProto { repeated Dimension dim = 1; }
message Dimension { optional int64 dim_value = 1; optional string dim_param = 2; }
"""

_BLOCK = re.compile(r"(message|enum)\s+(\w+)\s*\{([^}]*)\}")
_FIELD = re.compile(
    r"(optional|repeated)\s+(\w+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[default = (\S+)\])?\s*;"
)
_VALUE = re.compile(r"(\w+)\s*=\s*(\d+)\s*;")


@cache
def _classes(package: str, text: str) -> dict[str, type[Message]]:
    """The message classes of one of the tables above, in a descriptor pool of their own."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"linnet/{package}.proto", package=f"linnet.{package}"
    )
    blocks = _BLOCK.findall(text)
    enums = {name for kind, name, _ in blocks if kind == "enum"}
    for kind, name, body in blocks:
        if kind == "enum":
            # In a message of its own: values are named in the scope around their enum, and MAX
            # occurs in two of them.
            enum = file.message_type.add(name=name).enum_type.add(name="Enum")
            for label, number in _VALUE.findall(body):
                enum.value.add(name=label, number=int(number))
            continue
        message = file.message_type.add(name=name)
        for label, type_name, field_name, number, default in _FIELD.findall(body):
            field = message.field.add(name=field_name, number=int(number))
            field.label = kinds.LABEL_REPEATED if label == "repeated" else kinds.LABEL_OPTIONAL
            if hasattr(kinds, f"TYPE_{type_name.upper()}"):
                field.type = getattr(kinds, f"TYPE_{type_name.upper()}")
            elif type_name in enums:
                field.type, field.type_name = kinds.TYPE_ENUM, f".linnet.{package}.{type_name}.Enum"
            else:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".linnet.{package}.{type_name}"
            if default:
                field.default_value = default
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    classes = {}
    for kind, name, _ in blocks:
        if kind == "message":
            descriptor = pool.FindMessageTypeByName(f"linnet.{package}.{name}")
            if hasattr(message_factory, "GetMessageClass"):
                classes[name] = message_factory.GetMessageClass(descriptor)
            else:  # protobuf before 4.22
                factory: Any = message_factory.MessageFactory(pool)
                classes[name] = factory.GetPrototype(descriptor)
    return classes


def onnx(name: str) -> Any:
    """Message class `name` of ONNX."""
    return _classes("onnx", _ONNX)[name]


def caffe(name: str) -> Any:
    """Message class `name` of Caffe."""
    return _classes("caffe", _caffe_proto.MESSAGES)[name]


def tensorflow(name: str) -> Any:
    """Message class `name` of TensorFlow."""
    return _classes("tensorflow", _tf_proto.MESSAGES)[name]


def parse(message_class: Any, data: bytes, what: str) -> Any:
    """The message in `data`; ValueError, whatever is wrong with the bytes.

    UnicodeDecodeError for a name that is no text, from the protobufs that look at once.
    """
    try:
        return message_class.FromString(data)
    except (MemoryError, UnicodeDecodeError):
        raise
    except Exception as error:  # protobuf's own, but also what its pure Python parser trips over
        if "alloc failed" in str(error):
            raise MemoryError(f"{what}: out of memory") from None
        raise ValueError(f"{what}: truncated or not such a file ({error})") from None


def floats(message: Any, field: str, unpacked: Any, count: int) -> npt.NDArray[Any]:
    """Exactly `count` values of the float or double field declared as bytes; read-only, without a
    copy if possible.

    A writer may also have stored one tag per value instead of packing them; those are read with the
    message class `unpacked`. ValueError if there are more or fewer.
    """
    dtype = np.dtype("<f8" if field.startswith("double") else "<f4")
    chunks = getattr(message, field)
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(data) != count * dtype.itemsize:
        values = getattr(unpacked.FromString(message.SerializeToString()), field)
        if len(values) != count:
            raise ValueError(f"holds {len(values)} values, its shape needs {count}")
        return np.fromiter(values, dtype, count)
    return np.frombuffer(data, dtype)
