"""TensorFlow's protocol-buffer messages, trimmed to what is read.

Numbers and types are those of graph.proto, saved_model.proto and tensor_bundle.proto. Maps are
declared as what they are on the wire: repeated entries of a key and a value. Nodes of functions are
declared bytes, since most of a SavedModel's functions are never called, and NodeDefs in pure Python
take ten times the file.
"""

MESSAGES = """
message SavedModel { repeated MetaGraphDef meta_graphs = 2; }
message MetaGraphDef {
  optional MetaInfoDef meta_info_def = 1;
  optional GraphDef graph_def = 2;
  optional SaverDef saver_def = 3;
  repeated SignatureEntry signature_def = 5;
}
message MetaInfoDef { repeated string tags = 4; }
message SaverDef { optional string restore_op_name = 3; }
message SignatureEntry { optional string key = 1; optional SignatureDef value = 2; }
message SignatureDef {
  repeated TensorInfoEntry inputs = 1;
  repeated TensorInfoEntry outputs = 2;
}
message TensorInfoEntry { optional string key = 1; optional TensorInfo value = 2; }
message TensorInfo {
  optional string name = 1;
  optional int32 dtype = 2;
  optional TensorShapeProto tensor_shape = 3;
}
message GraphDef { repeated NodeDef node = 1; optional FunctionDefLibrary library = 2; }
message NodeDef {
  optional string name = 1;
  optional string op = 2;
  repeated string input = 3;
  repeated AttrEntry attr = 5;
}
message AttrEntry { optional string key = 1; optional AttrValue value = 2; }
message AttrValue {
  optional ListValue list = 1;
  optional bytes s = 2;
  optional int64 i = 3;
  optional float f = 4;
  optional bool b = 5;
  optional int32 type = 6;
  optional TensorShapeProto shape = 7;
  optional TensorProto tensor = 8;
  optional string placeholder = 9;
  optional NameAttrList func = 10;
}
message ListValue { repeated int64 i = 3; }
message NameAttrList { optional string name = 1; }
message TensorShapeProto { repeated Dim dim = 2; optional bool unknown_rank = 3; }
message Dim { optional int64 size = 1; }
message TensorProto {
  optional int32 dtype = 1;
  optional TensorShapeProto tensor_shape = 2;
  optional bytes tensor_content = 4;
  repeated bytes float_val = 5;
  repeated bytes double_val = 6;
  repeated int32 int_val = 7;
  repeated bytes string_val = 8;
  repeated int64 int64_val = 10;
  repeated bool bool_val = 11;
  repeated int32 half_val = 13;
  repeated uint32 uint32_val = 16;
  repeated uint64 uint64_val = 17;
}
message TensorProtoUnpacked { repeated float float_val = 5; repeated double double_val = 6; }
message FunctionDefLibrary { repeated FunctionDef function = 1; }
message FunctionDef {
  optional OpDef signature = 1;
  repeated bytes node_def = 3;
  repeated StringEntry ret = 4;
}
message StringEntry { optional string key = 1; optional string value = 2; }
message OpDef {
  optional string name = 1;
  repeated ArgDef input_arg = 2;
  repeated ArgDef output_arg = 3;
}
message ArgDef { optional string name = 1; }
message BundleHeaderProto { optional int32 num_shards = 1; optional int32 endianness = 2; }
message BundleEntryProto {
  optional int32 dtype = 1;
  optional TensorShapeProto shape = 2;
  optional int32 shard_id = 3;
  optional int64 offset = 4;
  optional int64 size = 5;
  repeated bytes slices = 7;
}
"""

# DataType: the NumPy type of the stored bits, and the field of values that are not raw.
TYPES = {
    1: ("<f4", "float_val"),
    2: ("<f8", "double_val"),
    3: ("<i4", "int_val"),
    4: ("u1", "int_val"),
    5: ("<i2", "int_val"),
    6: ("i1", "int_val"),
    9: ("<i8", "int64_val"),
    10: ("?", "bool_val"),
    14: ("<u2", "half_val"),
    17: ("<u2", "int_val"),
    19: ("<f2", "half_val"),
    22: ("<u4", "uint32_val"),
    23: ("<u8", "uint64_val"),
}
TEXT = 7
BFLOAT16 = 14
