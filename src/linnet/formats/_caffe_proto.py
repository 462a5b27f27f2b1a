"""Caffe's messages: what linnet reads of them, and what it may ignore.

Numbers and types are those of caffe.proto (1.0), from 2001 on linnet's own for fields that only
forks have, which occur in text alone. A caffemodel is read as TrainedParameter, weights and nothing
else, since forks have used the same numbers for other fields.
"""

from __future__ import annotations

MESSAGES = """
enum Phase { TRAIN = 0; TEST = 1; }
message TrainedParameter {
  repeated TrainedV1Layer layers = 2;
  repeated TrainedLayer layer = 100;
}
message TrainedLayer { optional string name = 1; repeated BlobProto blobs = 7; }
message TrainedV1Layer {
  optional V0LayerParameter layer = 1;
  optional string name = 4;
  repeated BlobProto blobs = 6;
}
message NetParameter {
  optional string name = 1;
  repeated V1LayerParameter layers = 2;
  repeated string input = 3;
  repeated int32 input_dim = 4;
  optional NetState state = 6;
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
message NetState {
  optional Phase phase = 1;
  optional int32 level = 2;
  repeated string stage = 3;
}
message NetStateRule {
  optional Phase phase = 1;
  optional int32 min_level = 2;
  optional int32 max_level = 3;
  repeated string stage = 4;
  repeated string not_stage = 5;
}
enum DimCheckMode { STRICT = 0; PERMISSIVE = 1; }
message ParamSpec { optional string name = 1; optional DimCheckMode share_mode = 2; }
message LayerParameter {
  optional string name = 1;
  optional string type = 2;
  repeated string bottom = 3;
  repeated string top = 4;
  repeated ParamSpec param = 6;
  repeated BlobProto blobs = 7;
  repeated NetStateRule include = 8;
  repeated NetStateRule exclude = 9;
  optional ArgMaxParameter argmax_param = 103;
  optional ConcatParameter concat_param = 104;
  optional ConvolutionParameter convolution_param = 106;
  optional DropoutParameter dropout_param = 108;
  optional EltwiseParameter eltwise_param = 110;
  optional ExpParameter exp_param = 111;
  optional InnerProductParameter inner_product_param = 117;
  optional LRNParameter lrn_param = 118;
  optional TransformationParameter transform_param = 100;
  optional MemoryDataParameter memory_data_param = 119;
  optional MVNParameter mvn_param = 120;
  optional PoolingParameter pooling_param = 121;
  optional PowerParameter power_param = 122;
  optional ReLUParameter relu_param = 123;
  optional SoftmaxParameter softmax_param = 125;
  optional SliceParameter slice_param = 126;
  optional ThresholdParameter threshold_param = 128;
  optional PythonParameter python_param = 130;
  optional PReLUParameter prelu_param = 131;
  optional SPPParameter spp_param = 132;
  optional ReshapeParameter reshape_param = 133;
  optional LogParameter log_param = 134;
  optional FlattenParameter flatten_param = 135;
  optional ReductionParameter reduction_param = 136;
  optional EmbedParameter embed_param = 137;
  optional TileParameter tile_param = 138;
  optional BatchNormParameter batch_norm_param = 139;
  optional ELUParameter elu_param = 140;
  optional BiasParameter bias_param = 141;
  optional ScaleParameter scale_param = 142;
  optional InputParameter input_param = 143;
  optional CropParameter crop_param = 144;
  optional SwishParameter swish_param = 147;
  optional ClipParameter clip_param = 148;
  optional BNParameter bn_param = 2001;
  optional PermuteParameter permute_param = 2002;
  optional ShuffleChannelParameter shuffle_channel_param = 2003;
  optional NormalizeParameter norm_param = 2004;
  optional PriorBoxParameter prior_box_param = 2005;
  optional InterpParameter interp_param = 2006;
  optional UpsampleParameter upsample_param = 2007;
  optional ReorgParameter reorg_param = 2008;
  optional RegionYoloParameter region_yolo_param = 2009;
  optional DetectionOutputParameter detection_output_param = 2010;
  optional Yolov3DetectionOutputParameter yolov3_detection_output_param = 2011;
  optional ROIPoolingParameter roi_pooling_param = 2012;
  optional PSROIPoolingParameter psroi_pooling_param = 2013;
  optional CTCDecoderParameter ctc_decoder_param = 2014;
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
  optional DropoutParameter dropout_param = 12;
  optional InnerProductParameter inner_product_param = 17;
  optional LRNParameter lrn_param = 18;
  optional PoolingParameter pooling_param = 19;
  optional PowerParameter power_param = 21;
  optional MemoryDataParameter memory_data_param = 22;
  optional TransformationParameter transform_param = 36;
  optional ArgMaxParameter argmax_param = 23;
  optional EltwiseParameter eltwise_param = 24;
  optional ThresholdParameter threshold_param = 25;
  optional ReLUParameter relu_param = 30;
  optional SliceParameter slice_param = 31;
  repeated NetStateRule include = 32;
  repeated NetStateRule exclude = 33;
  optional MVNParameter mvn_param = 34;
  optional SoftmaxParameter softmax_param = 39;
  optional ExpParameter exp_param = 41;
  repeated string param = 1001;
  repeated DimCheckMode blob_share_mode = 1002;
}
message V0LayerParameter {
  optional string name = 1;
  optional string type = 2;
  optional uint32 num_output = 3;
  optional bool biasterm = 4 [default = true];
  optional FillerParameter weight_filler = 5;
  optional FillerParameter bias_filler = 6;
  optional uint32 pad = 7;
  optional uint32 kernelsize = 8;
  optional uint32 group = 9 [default = 1];
  optional uint32 stride = 10 [default = 1];
  optional PoolMethod pool = 11;
  optional float dropout_ratio = 12 [default = 0.5];
  optional uint32 local_size = 13 [default = 5];
  optional float alpha = 14 [default = 1];
  optional float beta = 15 [default = 0.75];
  optional float k = 22 [default = 1];
  repeated BlobProto blobs = 50;
  optional uint32 concat_dim = 65 [default = 1];
}
message EmbedParameter {
  optional uint32 num_output = 1;
  optional uint32 input_dim = 2;
  optional bool bias_term = 3 [default = true];
}
message FillerParameter {
  optional string type = 1 [default = constant];
  optional float value = 2;
}
message ArgMaxParameter {
  optional bool out_max_val = 1;
  optional uint32 top_k = 2 [default = 1];
  optional int32 axis = 3;
}
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
  optional FillerParameter weight_filler = 7;
  optional FillerParameter bias_filler = 8;
  optional uint32 pad_h = 9;
  optional uint32 pad_w = 10;
  optional uint32 kernel_h = 11;
  optional uint32 kernel_w = 12;
  optional uint32 stride_h = 13;
  optional uint32 stride_w = 14;
  optional int32 axis = 16 [default = 1];
  repeated uint32 dilation = 18;
  optional uint32 dilation_h = 2001;
  optional uint32 dilation_w = 2002;
  repeated uint32 hole = 2003;
  optional uint32 hole_h = 2004;
  optional uint32 hole_w = 2005;
  repeated uint32 kstride = 2006;
  optional uint32 kstride_h = 2007;
  optional uint32 kstride_w = 2008;
}
message CropParameter { optional int32 axis = 1 [default = 2]; repeated uint32 offset = 2; }
message DropoutParameter {
  optional float dropout_ratio = 1 [default = 0.5];
  optional bool scale_train = 2001 [default = true];
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
  repeated uint32 dilation = 2001;
  optional bool ceil_mode = 2002;
  repeated uint32 kstride = 2006;
  optional uint32 kstride_h = 2007;
  optional uint32 kstride_w = 2008;
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
message ELUParameter { optional float alpha = 1 [default = 1]; }
message ExpParameter {
  optional float base = 1 [default = -1];
  optional float scale = 2 [default = 1];
  optional float shift = 3;
}
message LogParameter {
  optional float base = 1 [default = -1];
  optional float scale = 2 [default = 1];
  optional float shift = 3;
}
message TransformationParameter {
  optional float scale = 1 [default = 1];
  optional uint32 crop_size = 3;
  optional string mean_file = 4;
  repeated float mean_value = 5;
}
message MemoryDataParameter {
  optional uint32 batch_size = 1;
  optional uint32 channels = 2;
  optional uint32 height = 3;
  optional uint32 width = 4;
}
message MVNParameter {
  optional bool normalize_variance = 1 [default = true];
  optional bool across_channels = 2;
  optional float eps = 3 [default = 1e-9];
}
message PReLUParameter { optional bool channel_shared = 2; }
enum ReductionOp { SUM = 1; ASUM = 2; SUMSQ = 3; MEAN = 4; }
message ReductionParameter {
  optional ReductionOp operation = 1 [default = SUM];
  optional int32 axis = 2;
  optional float coeff = 3 [default = 1];
}
message SliceParameter {
  optional uint32 slice_dim = 1 [default = 1];
  repeated uint32 slice_point = 2;
  optional int32 axis = 3 [default = 1];
}
message SPPParameter { optional uint32 pyramid_height = 1; optional PoolMethod pool = 2; }
message SwishParameter { optional float beta = 1 [default = 1]; }
message ThresholdParameter { optional float threshold = 1; }
enum NormRegion { ACROSS_CHANNELS = 0; WITHIN_CHANNEL = 1; }
message LRNParameter {
  optional uint32 local_size = 1 [default = 5];
  optional float alpha = 2 [default = 1];
  optional float beta = 3 [default = 0.75];
  optional NormRegion norm_region = 4 [default = ACROSS_CHANNELS];
  optional float k = 5 [default = 1];
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
message ClipParameter { optional float min = 1; optional float max = 2; }
enum BNMode { LEARN = 0; INFERENCE = 1; }
message BNParameter {
  optional float eps = 4 [default = 1e-5];
  optional BNMode bn_mode = 2001;
}
message InterpParameter {
  optional int32 height = 1;
  optional int32 width = 2;
  optional int32 zoom_factor = 3 [default = 1];
  optional int32 shrink_factor = 4 [default = 1];
  optional int32 pad_beg = 5;
  optional int32 pad_end = 6;
}
message NormalizeParameter {
  optional bool across_spatial = 1 [default = true];
  optional bool channel_shared = 3 [default = true];
  optional float eps = 4 [default = 1e-10];
}
message PermuteParameter { repeated uint32 order = 1; }
message PowerParameter {
  optional float power = 1 [default = 1];
  optional float scale = 2 [default = 1];
  optional float shift = 3;
}
message PriorBoxParameter {
  repeated float min_size = 1;
  repeated float max_size = 2;
  repeated float aspect_ratio = 3;
  optional bool flip = 4 [default = true];
  optional bool clip = 5;
  repeated float variance = 6;
  optional uint32 img_size = 7;
  optional uint32 img_h = 8;
  optional uint32 img_w = 9;
  optional float step = 10;
  optional float step_h = 11;
  optional float step_w = 12;
  optional float offset = 13 [default = 0.5];
}
message DetectionOutputParameter {
  optional uint32 num_classes = 1;
  optional bool share_location = 2 [default = true];
  optional int32 background_label_id = 3 [default = 0];
  optional NonMaximumSuppressionParameter nms_param = 4;
  optional BoxCode code_type = 6 [default = CORNER];
  optional int32 keep_top_k = 7 [default = -1];
  optional bool variance_encoded_in_target = 8;
  optional float confidence_threshold = 9;
  optional bool clip = 10;
}
message ROIPoolingParameter {
  optional uint32 pooled_h = 1;
  optional uint32 pooled_w = 2;
  optional float spatial_scale = 3 [default = 1];
}
message PSROIPoolingParameter {
  optional float spatial_scale = 1;
  optional int32 output_dim = 2;
  optional int32 group_size = 3;
}
message Yolov3DetectionOutputParameter {
  optional uint32 num_classes = 1 [default = 20];
  optional float confidence_threshold = 2 [default = 0.01];
  optional float nms_threshold = 3 [default = 0.45];
  repeated float biases = 4;
  repeated uint32 mask = 5;
  repeated float anchors_scale = 6;
  optional uint32 num_box = 7 [default = 3];
  optional uint32 mask_group_num = 8 [default = 2];
}
enum BoxCode { CORNER = 1; CENTER_SIZE = 2; CORNER_SIZE = 3; }
message NonMaximumSuppressionParameter {
  optional float nms_threshold = 1 [default = 0.3];
  optional int32 top_k = 2;
  optional float eta = 3 [default = 1.0];
}
message CTCDecoderParameter {
  optional int32 blank_index = 1 [default = -1];
  optional bool ctc_merge_repeated = 2 [default = true];
}
message PythonParameter { optional string module = 1; optional string layer = 2; }
message RegionYoloParameter {
  optional uint32 classes = 1;
  optional uint32 coords = 2 [default = 4];
  optional uint32 num = 3;
  optional bool do_softmax = 4 [default = true];
  repeated uint32 mask = 5;
}
message ReorgParameter { optional uint32 stride = 1; optional bool reverse = 2; }
message ShuffleChannelParameter { optional uint32 group = 1 [default = 1]; }
message TileParameter { optional int32 axis = 1 [default = 1]; optional int32 tiles = 2; }
message UpsampleParameter {
  optional uint32 scale = 1 [default = 2];
  optional uint32 scale_h = 2;
  optional uint32 scale_w = 3;
  optional bool pad_out_h = 4;
  optional bool pad_out_w = 5;
  optional uint32 upsample_h = 6;
  optional uint32 upsample_w = 7;
}
message InputParameter { repeated BlobShape shape = 1; }
"""

# Fields that cannot change what a network computes once it is trained, Caffe's own and those of
# forks: how it was trained, by which engine and on which device it is computed, and, in layers, the
# settings of other types of layers. Whatever is in neither table is an error.
_IGNORED = {
    "NetParameter": """
        force_backward debug_info engine bn_stats_batch_size compile_net_state
        default_forward_type default_backward_type default_forward_math default_backward_math
        default_conv_algos_override default_cublas_math_override global_grad_scale
        global_grad_scale_param reduce_buckets eltwise_mem_optimization
        reduced_memory_inference profile_info profile_iter profile_warmup mem_param
    """,
    "LayerParameter": """
        phase loss_weight propagate_down device buffer engine debug
        forward_type backward_type forward_math backward_math cublas_math_override
        multinode mn_activation_param mn_grad_compress_param force_backward
        loss_param accuracy_param contrastive_loss_param
        data_param dummy_data_param hdf5_data_param
        hdf5_output_param hinge_loss_param image_data_param infogain_loss_param
        parameter_param recurrent_param sigmoid_param tanh_param window_data_param
        annotated_data_param multibox_loss_param detection_evaluate_param video_data_param
        box_annotator_ohem_param smooth_l1_loss_param split_param
    """,
    "V1LayerParameter": """
        blobs_lr weight_decay loss_weight loss_param accuracy_param
        contrastive_loss_param data_param dummy_data_param hdf5_data_param
        hdf5_output_param hinge_loss_param image_data_param infogain_loss_param
        sigmoid_param tanh_param window_data_param
    """,
    "V0LayerParameter": """
        blobs_lr weight_decay source scale meanfile batchsize cropsize mirror rand_skip
        det_fg_threshold det_bg_threshold det_fg_fraction det_context_pad det_crop_mode
        new_num new_channels new_height new_width shuffle_images hdf5_output_param
    """,
    "ParamSpec": "lr_mult decay_mult",
    "TransformationParameter": "mirror force_color force_gray",
    "BlobProto": "diff double_diff",
    "ConvolutionParameter": """
        engine force_nd_im2col conv_algos_override
        cudnn_convolution_algo_seeker cudnn_math_override
    """,
    "FillerParameter": "min max mean std sparse variance_norm n diag_val",
    "NormalizeParameter": "scale_filler",
    "PoolingParameter": "engine",
    "PReLUParameter": "filler",
    "SPPParameter": "engine",
    "InnerProductParameter": "weight_filler bias_filler engine",
    "EmbedParameter": "weight_filler bias_filler",
    "EltwiseParameter": "stable_prod_grad engine",
    "LRNParameter": "engine",
    "ReLUParameter": "engine",
    "SoftmaxParameter": "engine",
    "ConcatParameter": "engine",
    "DropoutParameter": "engine",
    "BatchNormParameter": "moving_average_fraction engine",
    "ScaleParameter": "filler bias_filler engine",
    "BiasParameter": "filler",
    "BNParameter": """
        slope_filler bias_filler scale_filler shift_filler momentum moving_average frozen engine
    """,
    "DetectionOutputParameter": "save_output_param visualize visualize_threshold save_file",
    "PythonParameter": "param_str share_in_parallel",
    "RegionYoloParameter": "anchors",
}
IGNORED = {message: frozenset(fields.split()) for message, fields in _IGNORED.items()}

FORKS = 2001  # the first of linnet's own numbers, which no file has

# Of Caffe's own fields among these, the numbers.
_IGNORED_NUMBERS = {
    "NetParameter": "5 7",
    "LayerParameter": """
        5 10 11 100 101 102 105 107 109 112 113 114 115 116 124 127 129 145 146
    """,
    "V0LayerParameter": "16 17 18 19 20 21 51 52 53 54 55 56 58 59 60 61 62 63 64 1001",
    "V1LayerParameter": "7 8 11 13 14 15 16 20 26 27 29 35 36 37 38 40 42",
    "ParamSpec": "3 4",
    "TransformationParameter": "2 6 7",
    "FillerParameter": "3 4 5 6 7 8",
    "ConvolutionParameter": "15 17",
    "PoolingParameter": "11",
    "InnerProductParameter": "3 4",
    "EmbedParameter": "4 5",
    "EltwiseParameter": "3",
    "LRNParameter": "6",
    "ReLUParameter": "2",
    "SoftmaxParameter": "1",
    "BatchNormParameter": "2",
    "ScaleParameter": "3 5",
    "BiasParameter": "3",
    "PReLUParameter": "1",
    "PythonParameter": "3 4",
    "SPPParameter": "6",
}
IGNORED_NUMBERS = {
    message: frozenset(map(int, numbers.split())) for message, numbers in _IGNORED_NUMBERS.items()
}
