"""Write what Caffe 1.0 computes for every type of layer: layers.npz. Runs in Caffe's own Python.

    CAFFE_PYTHON tests/data/caffe/make_layers.py

README.md in the folder above says how to get one. Inputs and weights are drawn as the test draws
them again (test_formats_caffe_real.py), so that only shapes and some of each output's numbers are
stored. Caffe ends the process at a case that it refuses.
"""

import json
import os
import re
import tempfile

import caffe
import numpy as np

DATA = os.path.dirname(os.path.abspath(__file__))
MOST = 40  # numbers kept of an output
X = {"x": (2, 4, 5, 6)}

PLAIN = """AbsVal BNLL BatchNorm Bias Dropout ELU Exp Flatten LRN MVN PReLU ReLU Scale Sigmoid
Softmax Split Swish TanH Threshold"""

# Type, bottoms and tops if they are not x and y, the message of its settings: settings | settings
SETTINGS = """
ArgMax argmax_param: top_k: 1 | top_k: 3 | top_k: 2 out_max_val: true | axis: 1 | axis: -1 top_k: 3
ArgMax argmax_param: axis: 2 top_k: 5 | axis: 1 out_max_val: true top_k: 2 | out_max_val: true
Bias bias_param: axis: 2 | axis: 1 num_axes: 2 | axis: -1 | num_axes: -1 | num_axes: 0
Bias x,z>y bias_param: axis: 0
Clip clip_param: min: -0.5 max: 0.25 | min: 0 max: 6
Concat x,x>y concat_param: axis: 1 | axis: 2 | concat_dim: 3 | axis: 0
Convolution convolution_param: kernel_size: 3 | kernel_size: 3 group: 2 pad: 1 | kernel_size: 1
Convolution convolution_param: kernel_size: 2 stride: 2 bias_term: false
Convolution convolution_param: kernel_h: 3 kernel_w: 1 pad_w: 1 pad_h: 2 stride_h: 2 stride_w: 1
Convolution convolution_param: kernel_size: [3, 2] pad: [1, 0] stride: [1, 2]
Convolution convolution_param: kernel_size: 2 dilation: 2 pad: 1
Convolution convolution_param: kernel_size: 3 axis: 1 force_nd_im2col: true pad: 1
Convolution x,z>y,w convolution_param: kernel_size: 2
Crop x,s>y crop_param: offset: 1 | offset: [2, 0] | axis: 3 | axis: -2 offset: 1
Deconvolution convolution_param: kernel_size: 3 | kernel_size: 4 stride: 2 pad: 1
Deconvolution convolution_param: kernel_size: 2 group: 4 stride: 3 bias_term: false
Deconvolution convolution_param: kernel_size: 3 dilation: 2 pad: 2 stride: 2 group: 2
Dropout dropout_param: dropout_ratio: 0.3
ELU elu_param: alpha: 0.3
Eltwise x,z>y eltwise_param: operation: PROD | operation: SUM | operation: MAX | coeff: [1, -0.5]
Exp exp_param: base: 2 scale: 0.5 shift: 1 | base: 10
Flatten flatten_param: axis: 2 | axis: 1 end_axis: 2 | axis: -2
Im2col convolution_param: kernel_size: 3 | kernel_size: 2 stride: 2 pad: 1 | kernel_size: 1
Im2col convolution_param: kernel_h: 1 kernel_w: 3 dilation: 2
InnerProduct inner_product_param: axis: 1 | axis: 2 | axis: -1 transpose: true | transpose: true
InnerProduct inner_product_param: axis: 3 bias_term: false
LRN lrn_param: local_size: 3 alpha: 2 beta: 0.5 k: 2
LRN lrn_param: local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL
MVN mvn_param: normalize_variance: false | across_channels: true eps: 0.01
MVN mvn_param: normalize_variance: false across_channels: true
Pooling pooling_param: kernel_size: 2 | kernel_size: 3 stride: 2 | kernel_size: 3 stride: 2 pad: 1
Pooling pooling_param: kernel_size: 2 stride: 3 pad: 1 | kernel_size: 5 | global_pooling: true
Pooling pooling_param: kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1 pad_w: 0
Pooling pooling_param: kernel_size: 2 stride: 2 round_mode: FLOOR
Pooling pooling_param: pool: AVE kernel_size: 2 | pool: AVE kernel_size: 3 pad: 2
Pooling pooling_param: pool: AVE kernel_size: 3 stride: 2 pad: 1 | pool: AVE global_pooling: true
Pooling pooling_param: pool: AVE kernel_size: 2 stride: 2
Pooling x>y,m pooling_param: kernel_size: 2 stride: 2 | kernel_size: 3 stride: 1
Power power_param: power: 2 scale: 0.5 shift: 1 | scale: -2 | power: 3
PReLU prelu_param: channel_shared: true
ReLU relu_param: negative_slope: 0.1
Reduction reduction_param: axis: 2 | axis: 2 operation: ASUM coeff: 0.5 | axis: 3 operation: SUMSQ
Reduction reduction_param: axis: -2 operation: MEAN coeff: 2 | axis: 1
Reshape reshape_param: shape { dim: [0, -1] } | shape { dim: [0, 0, 30] }
Reshape reshape_param: shape { dim: [2, 6, -1] }
Reshape reshape_param: shape { dim: [5, -1] } axis: 1 num_axes: 2
Reshape reshape_param: shape { dim: 1 } axis: -1 num_axes: 0
Scale scale_param: bias_term: true | axis: 2 bias_term: true | num_axes: -1 bias_term: true
Scale scale_param: num_axes: 0 | axis: -2 num_axes: 2 | axis: -3 | axis: 3
Scale x,z>y scale_param: axis: 0
Slice x>y,z slice_param: slice_point: 1 | axis: 3 | axis: 0
Slice x>y,z,w slice_param: axis: 2 slice_point: [1, 3]
Softmax softmax_param: axis: 2 | axis: -1 | axis: 0
SPP spp_param: pyramid_height: 2 | pyramid_height: 2 pool: AVE | pyramid_height: 1
Split x>y,z loss_param:
Swish swish_param: beta: 1.5
Threshold threshold_param: threshold: 0.5
Tile tile_param: tiles: 3 | axis: 2 tiles: 2 | axis: -1 tiles: 2 | axis: 0 tiles: 2
"""
POSITIVE = """
Log log_param: scale: 2 | base: 2 shift: 1
Power power_param: power: 0.5 | power: -1.5 | power: 0.3 scale: 2
"""
EMBED = (
    "Embed embed_param: input_dim: 7 num_output: 3 | input_dim: 7 num_output: 2 bias_term: false"
)
# Those that `layers`, the form of 2014, have, too.
OF_2014 = """AbsVal ArgMax BNLL Convolution Deconvolution Dropout Exp Im2col InnerProduct LRN MVN
Pooling Power ReLU Sigmoid Slice Softmax TanH Threshold"""
ALWAYS = {"Convolution", "Deconvolution", "InnerProduct"}  # have to say how many outputs
OTHERS = {"z": X["x"], "s": (2, 4, 3, 4)}

# A number for each channel of each image.
OF_TWO = """
layer { name: "p" type: "Pooling" bottom: "x" top: "p"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "f" type: "Flatten" bottom: "p" top: "f" }
layer { name: "s" type: "Scale" bottom: "x" bottom: "f" top: "s" scale_param { axis: 0 } }
layer { name: "y" type: "Bias" bottom: "s" bottom: "f" top: "y" bias_param { axis: 0 } }
"""
# In place, of another phase, one blob for two layers, and weights for two.
CHAIN = """
layer { name: "c" type: "Convolution" bottom: "x" top: "c" param { name: "w" }
        convolution_param { num_output: 4 kernel_size: 1 bias_term: false } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "d" type: "Convolution" bottom: "c" top: "d" param { name: "w" }
        convolution_param { num_output: 4 kernel_size: 1 bias_term: false } }
layer { name: "l" type: "LRN" bottom: "d" top: "d" include { phase: TRAIN } }
layer { name: "e" type: "Eltwise" bottom: "c" bottom: "d" top: "e" }
layer { name: "q" type: "Silence" bottom: "d" }
"""
# The first image beside the second.
PAIRED = """
layer { name: "s" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { axis: 0 } }
layer { name: "c" type: "Convolution" bottom: "a" bottom: "b" top: "c" top: "d"
        convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "k" type: "Concat" bottom: "c" bottom: "d" top: "k" }
layer { name: "y" type: "InnerProduct" bottom: "k" top: "y"
        inner_product_param { num_output: 4 } }
"""
# The form of 2013.
OLD = """
layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }
layers { layer { name: "c" type: "conv" num_output: 6 kernelsize: 3 group: 2 stride: 2 blobs_lr: 1
                 weight_filler { type: "gaussian" std: 0.01 } } bottom: "p" top: "c" }
layers { layer { name: "r" type: "relu" } bottom: "c" top: "c" }
layers { layer { name: "n" type: "lrn" local_size: 3 alpha: 0.5 } bottom: "c" top: "n" }
layers { layer { name: "m" type: "pool" pool: AVE kernelsize: 2 } bottom: "n" top: "m" }
layers { layer { name: "k" type: "concat" concat_dim: 1 } bottom: "m" bottom: "m" top: "k" }
layers { layer { name: "f" type: "innerproduct" num_output: 5 biasterm: false }
         bottom: "k" top: "f" }
layers { layer { name: "o" type: "dropout" dropout_ratio: 0.2 } bottom: "f" top: "f" }
layers { layer { name: "y" type: "softmax" } bottom: "f" top: "y" }
"""


def rows(table):
    """(text, bottoms) of each of the settings in a table."""
    for line in table.strip().splitlines():
        head, _, settings = line.partition(": ")
        kind, *blobs, message = head.rstrip(":").split()
        bottoms, tops = blobs[0].split(">") if blobs else ("x", "y")
        for setting in settings.split(" | "):
            filters = "num_output: 4 " if kind in ALWAYS else ""
            yield (
                f'layer {{ name: "y" type: "{kind}" {names("bottom", bottoms)} {names("top", tops)}'
                f" {message} {{ {filters}{setting} }} }}",
                bottoms.split(","),
            )


def names(what, blobs):
    return " ".join(f'{what}: "{blob}"' for blob in blobs.split(","))


def cases():
    """(text, {input: shape}, how inputs are drawn)."""
    plain = [f'layer {{ name: "y" type: "{kind}" bottom: "x" top: "y" }}' for kind in PLAIN.split()]
    for text in plain:
        yield text, X, ""
    for text, bottoms in rows(SETTINGS):
        others = {name: OTHERS[name] for name in bottoms if name != "x"}
        yield text, {**X, **others}, ""
    for text, _ in rows(POSITIVE):
        yield text, X, "positive"
    for text, _ in rows(EMBED):
        for shape in ((2, 4), (2, 3, 2)):
            yield text, {"x": shape}, "rows"
    for text, _ in rows("ArgMax argmax_param: top_k: 2 | axis: 1 top_k: 4 | out_max_val: true"):
        yield text, {"x": (3, 9)}, ""
    for line in (
        "Convolution convolution_param: kernel_size: 3 pad: 1 stride: 2 | kernel_size: 2 group: 2",
        "Deconvolution convolution_param: kernel_size: 3 pad: 1 stride: 2 dilation: 2",
    ):
        for text, _ in rows(line):
            yield text, {"x": (2, 4, 9)}, ""
    for line in (
        "ArgMax argmax_param: axis: 3 top_k: 2",
        "InnerProduct inner_product_param: axis: 3 | axis: 2",
    ):
        for text, _ in rows(line):
            yield text, {"x": (2, 3, 2, 4, 5)}, ""
    for text in [*plain, *(text for text, bottoms in rows(SETTINGS) if bottoms == ["x"])]:
        kind = re.search(r'type: "(\w+)"', text)[1]
        if kind in OF_2014.split():
            yield of_2014(text, kind), X, ""
    for text in (OF_TWO, CHAIN, PAIRED, OLD):
        yield text, X, ""


def of_2014(text, kind):
    name = "INNER_PRODUCT" if kind == "InnerProduct" else kind.upper()
    return text.replace("layer {", "layers {").replace(f'"{kind}"', name)


def draw(random, shape, how):
    """Eighths, of which some are equal."""
    if how == "rows":
        return random.randint(0, 7, shape).astype(np.float32)
    numbers = random.randint(-8, 9, shape).astype(np.float32) / 8
    return np.abs(numbers) + np.float32(0.25) if how == "positive" else numbers


def compute(index, text, shapes, how):
    for name, shape in sorted(shapes.items(), reverse=True):
        dims = " ".join(f"input_dim: {n}" for n in shape)
        if "layers" not in text:
            dims = "input_shape { %s }" % " ".join(f"dim: {n}" for n in shape)  # noqa: UP031
        text = f'input: "{name}" {dims}\n{text}'
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    random = np.random.RandomState(index)
    for name in sorted(net.params):
        for blob in net.params[name]:
            kind = "positive" if "BatchNorm" in text else ""
            blob.data[...] = draw(random, blob.data.shape, kind)
    for name in sorted(shapes):
        net.blobs[name].data[...] = draw(random, shapes[name], how)
    net.forward()
    case = {"text": text, "how": how, "inputs": shapes}
    case["weights"] = {n: [b.data.shape for b in net.params[n]] for n in sorted(net.params)}
    # Of a blob for two layers not the copies.
    outputs = [name for name in net.outputs if "_split_" not in name]
    case["outputs"] = {name: net.blobs[name].data.shape for name in outputs}
    return case, [net.blobs[name].data.ravel() for name in outputs]


def hdf5():
    """The weights of a network of make_caffe.py in Caffe's other form."""
    name = os.path.join(DATA, "input_shape")
    caffe.Net(name + ".prototxt", name + ".caffemodel", caffe.TEST).save_hdf5(name + ".h5")


def main():
    hdf5()
    notes, numbers = [], []
    for index, case in enumerate(cases()):
        note, outputs = compute(index, *case)
        notes.append(note)
        numbers += [output[:: -(-output.size // MOST)] for output in outputs]
    notes = np.frombuffer(json.dumps(notes).encode(), np.uint8)
    path = os.path.join(DATA, "layers.npz")
    np.savez_compressed(path, notes=notes, numbers=np.concatenate(numbers))
    print(path, os.path.getsize(path))


if __name__ == "__main__":
    main()
