"""Protocol-buffer messages of ONNX and Caffe, trimmed to what linnet reads and writes.

Numbers and types are those of onnx.proto (IR version 14) and caffe.proto (1.0). Large packed arrays
of floats are declared `repeated bytes`, the same thing on the wire, so that NumPy reads them
without a Python list; `floats` gets their values. Fields left out are skipped by the parser.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_ONNX = """
message ModelProto {
  optional int64 ir_version = 1;
  optional string producer_name = 2;
  optional GraphProto graph = 7;
  repeated OperatorSetIdProto opset_import = 8;
}
message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
message GraphProto {
  repeated NodeProto node = 1;
  optional string name = 2;
  repeated TensorProto initializer = 5;
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

_CAFFE = """
enum Phase { TRAIN = 0; TEST = 1; }
message NetParameter {
  optional string name = 1;
  repeated V1LayerParameter layers = 2;
  repeated string input = 3;
  repeated int32 input_dim = 4;
  repeated BlobShape input_shape = 8;
  repeated LayerParameter layer = 100;
}
message BlobShape { repeated int64 dim = 1; }
message BlobProto {
  optional int32 num = 1;
  optional int32 channels = 2;
  optional int32 height = 3;
  optional int32 width = 4;
  repeated bytes data = 5;
  optional BlobShape shape = 7;
  repeated bytes double_data = 8;
}
message BlobProtoUnpacked { repeated float data = 5; repeated double double_data = 8; }
message NetStateRule {
  optional Phase phase = 1;
  optional int32 min_level = 2;
  optional int32 max_level = 3;
  repeated string stage = 4;
  repeated string not_stage = 5;
}
message LayerParameter {
  optional string name = 1;
  optional string type = 2;
  repeated string bottom = 3;
  repeated string top = 4;
  repeated BlobProto blobs = 7;
  repeated NetStateRule include = 8;
  repeated NetStateRule exclude = 9;
  optional ConcatParameter concat_param = 104;
  optional ConvolutionParameter convolution_param = 106;
  optional EltwiseParameter eltwise_param = 110;
  optional InnerProductParameter inner_product_param = 117;
  optional PoolingParameter pooling_param = 121;
  optional ReLUParameter relu_param = 123;
  optional SoftmaxParameter softmax_param = 125;
  optional ReshapeParameter reshape_param = 133;
  optional FlattenParameter flatten_param = 135;
  optional BatchNormParameter batch_norm_param = 139;
  optional BiasParameter bias_param = 141;
  optional ScaleParameter scale_param = 142;
  optional InputParameter input_param = 143;
}
enum LayerType {
  NONE=0; ACCURACY=1; BNLL=2; CONCAT=3; CONVOLUTION=4; DATA=5; DROPOUT=6; EUCLIDEAN_LOSS=7;
  FLATTEN=8; HDF5_DATA=9; HDF5_OUTPUT=10; IM2COL=11; IMAGE_DATA=12; INFOGAIN_LOSS=13;
  INNER_PRODUCT=14; LRN=15; MULTINOMIAL_LOGISTIC_LOSS=16; POOLING=17; RELU=18; SIGMOID=19;
  SOFTMAX=20; SOFTMAX_LOSS=21; SPLIT=22; TANH=23; WINDOW_DATA=24; ELTWISE=25; POWER=26;
  SIGMOID_CROSS_ENTROPY_LOSS=27; HINGE_LOSS=28; MEMORY_DATA=29; ARGMAX=30; THRESHOLD=31;
  DUMMY_DATA=32; SLICE=33; MVN=34; ABSVAL=35; SILENCE=36; CONTRASTIVE_LOSS=37; EXP=38;
  DECONVOLUTION=39;
}
message V1LayerParameter {
  optional V0LayerParameter layer = 1;
  repeated string bottom = 2;
  repeated string top = 3;
  optional string name = 4;
  optional LayerType type = 5;
  repeated BlobProto blobs = 6;
  optional ConcatParameter concat_param = 9;
  optional ConvolutionParameter convolution_param = 10;
  optional InnerProductParameter inner_product_param = 17;
  optional PoolingParameter pooling_param = 19;
  optional EltwiseParameter eltwise_param = 24;
  optional ReLUParameter relu_param = 30;
  repeated NetStateRule include = 32;
  repeated NetStateRule exclude = 33;
  optional SoftmaxParameter softmax_param = 39;
}
message V0LayerParameter { optional string name = 1; optional string type = 2; }
message ConcatParameter {
  optional uint32 concat_dim = 1 [default = 1];
  optional int32 axis = 2 [default = 1];
}
message ConvolutionParameter {
  optional uint32 num_output = 1;
  optional bool bias_term = 2 [default = true];
  repeated uint32 pad = 3;
  repeated uint32 kernel_size = 4;
  optional uint32 group = 5 [default = 1];
  repeated uint32 stride = 6;
  optional uint32 pad_h = 9;
  optional uint32 pad_w = 10;
  optional uint32 kernel_h = 11;
  optional uint32 kernel_w = 12;
  optional uint32 stride_h = 13;
  optional uint32 stride_w = 14;
  optional int32 axis = 16 [default = 1];
  repeated uint32 dilation = 18;
}
enum PoolMethod { MAX = 0; AVE = 1; STOCHASTIC = 2; }
enum RoundMode { CEIL = 0; FLOOR = 1; }
message PoolingParameter {
  optional PoolMethod pool = 1;
  optional uint32 kernel_size = 2;
  optional uint32 stride = 3;
  optional uint32 pad = 4;
  optional uint32 kernel_h = 5;
  optional uint32 kernel_w = 6;
  optional uint32 stride_h = 7;
  optional uint32 stride_w = 8;
  optional uint32 pad_h = 9;
  optional uint32 pad_w = 10;
  optional bool global_pooling = 12;
  optional RoundMode round_mode = 13;
}
message InnerProductParameter {
  optional uint32 num_output = 1;
  optional bool bias_term = 2 [default = true];
  optional int32 axis = 5 [default = 1];
  optional bool transpose = 6;
}
enum EltwiseOp { PROD = 0; SUM = 1; MAX = 2; }
message EltwiseParameter {
  optional EltwiseOp operation = 1 [default = SUM];
  repeated float coeff = 2;
}
message ReLUParameter { optional float negative_slope = 1; }
message SoftmaxParameter { optional int32 axis = 2 [default = 1]; }
message ReshapeParameter {
  optional BlobShape shape = 1;
  optional int32 axis = 2;
  optional int32 num_axes = 3 [default = -1];
}
message FlattenParameter {
  optional int32 axis = 1 [default = 1];
  optional int32 end_axis = 2 [default = -1];
}
message BatchNormParameter {
  optional bool use_global_stats = 1 [default = true];
  optional float eps = 3 [default = 1e-5];
}
message ScaleParameter {
  optional int32 axis = 1 [default = 1];
  optional int32 num_axes = 2 [default = 1];
  optional bool bias_term = 4;
}
message BiasParameter {
  optional int32 axis = 1 [default = 1];
  optional int32 num_axes = 2 [default = 1];
}
message InputParameter { repeated BlobShape shape = 1; }
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
    return _classes("caffe", _CAFFE)[name]


def parse(message_class: Any, data: bytes, what: str) -> Any:
    """The message in `data`; ValueError, whatever is wrong with the bytes."""
    try:
        return message_class.FromString(data)
    except MemoryError:
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
