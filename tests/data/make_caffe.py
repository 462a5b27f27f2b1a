"""Write the Caffe weights and outputs of the test data. Runs in the Python that has Caffe 1.0.

    CAFFE_PYTHON tests/data/make_caffe.py WEIGHTS.npz

WEIGHTS.npz comes from make_digits.py. README.md beside this file says how to get a CAFFE_PYTHON.
"""

import os
import sys
import zlib

import caffe
import numpy as np
from caffe.proto import caffe_pb2

DATA = os.path.dirname(os.path.abspath(__file__))
# Blobs of the digit model that are stored, for one image.
INTERMEDIATES = ("conv1", "pool1", "conv2", "pool2", "conv3", "fc1")

# Blobs of these fixtures are stored as files of before 2014 hold them.
LEGACY_SHAPE = ("v1", "input_dim")
LEGACY_LAYERS = ("v1",)
V1_TYPE = {
    "Convolution": "CONVOLUTION",
    "ReLU": "RELU",
    "Pooling": "POOLING",
    "Eltwise": "ELTWISE",
    "InnerProduct": "INNER_PRODUCT",
    "Dropout": "DROPOUT",
    "Flatten": "FLATTEN",
    "Softmax": "SOFTMAX",
    "Split": "SPLIT",
}


def write(path, message):
    with open(path, "wb") as file:
        file.write(message.SerializeToString())


def read(path):
    message = caffe_pb2.NetParameter()
    with open(path, "rb") as file:
        message.ParseFromString(file.read())
    return message


def legacy_shape(blob):
    """num, channels, height, width instead of shape: always four, missing leading ones are 1."""
    dims = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = dims


def legacy_layers(net):
    """The weights of `net` as V1LayerParameter messages."""
    old = caffe_pb2.NetParameter(name=net.name)
    for layer in net.layer:
        if layer.type == "Input":
            continue
        kind = caffe_pb2.V1LayerParameter.LayerType.Value(V1_TYPE[layer.type])
        old.layers.add(
            name=layer.name, type=kind, bottom=layer.bottom, top=layer.top, blobs=layer.blobs
        )
    return old


def fill(net, random):
    """Random parameters with activations of about unit size."""
    kinds = dict(zip(net._layer_names, (layer.type for layer in net.layers)))
    for name, blobs in net.params.items():
        arrays = [blob.data for blob in blobs]
        if kinds[name] == "BatchNorm":
            # Caffe stores sums of mean and variance and the factor that divides them.
            factor = random.uniform(0.5, 50)
            arrays[0][...] = random.normal(0, 1, arrays[0].shape) * factor
            arrays[1][...] = random.uniform(0.25, 4, arrays[1].shape) * factor
            arrays[2][...] = factor
        elif kinds[name] == "Scale":
            for array in arrays:
                array[...] = random.uniform(-2, 2, array.shape)
        else:
            fan_in = arrays[0][0].size
            arrays[0][...] = random.normal(0, np.sqrt(2 / fan_in), arrays[0].shape)
            for bias in arrays[1:]:
                bias[...] = random.normal(0, 0.5, bias.shape)


def fixture(name):
    random = np.random.RandomState(zlib.crc32(name.encode()))
    prototxt = os.path.join(DATA, "caffe", name + ".prototxt")
    weights = os.path.join(DATA, "caffe", name + ".caffemodel")
    net = caffe.Net(prototxt, caffe.TEST)
    fill(net, random)
    net.save(weights)
    message = read(weights)
    if name in LEGACY_SHAPE:
        for layer in message.layer:
            for blob in layer.blobs:
                legacy_shape(blob)
    if name in LEGACY_LAYERS:
        message = legacy_layers(message)
    write(weights, message)

    loaded = caffe.Net(prototxt, weights, caffe.TEST)
    for layer, blobs in net.params.items():
        for ours, theirs in zip(blobs, loaded.params[layer]):
            assert np.array_equal(ours.data, theirs.data), (name, layer)
    for value in loaded.inputs:
        blob = loaded.blobs[value].data
        blob[...] = random.normal(0, 1, blob.shape)
    loaded.forward()
    # Caffe gives each reader of a shared blob its own copy; those names are not in the prototxt.
    outputs = {n: b.data.copy() for n, b in loaded.blobs.items() if "_split_" not in n}
    np.savez_compressed(os.path.join(DATA, "caffe", name + ".npz"), **outputs)
    print(name, {n: a.shape for n, a in outputs.items()})


def digits(weights):
    arrays = dict(np.load(weights))
    prototxt = os.path.join(DATA, "digits.prototxt")
    model = os.path.join(DATA, "digits.caffemodel")
    net = caffe.Net(prototxt, caffe.TEST)
    for layer, (weight, bias) in net.params.items():
        weight.data[...] = arrays[layer + "_weight_f16"]
        bias.data[...] = arrays[layer + "_bias_f16"]
    net.save(model)

    net = caffe.Net(prototxt, model, caffe.TEST)
    inputs = arrays["inputs"]
    net.blobs["data"].reshape(len(inputs), 1, *inputs.shape[1:])
    net.blobs["data"].data[:, 0] = inputs.astype(np.float32) / np.float32(255)
    net.forward()
    outputs = {name + "_0": net.blobs[name].data[:1] for name in INTERMEDIATES}
    outputs.update({name: net.blobs[name].data for name in ("fc2", "prob")})
    np.savez_compressed(
        os.path.join(DATA, "digits_caffe.npz"), inputs=inputs, labels=arrays["labels"], **outputs
    )
    print("digits", net.blobs["prob"].data.argmax(1), arrays["labels"])


if __name__ == "__main__":
    digits(sys.argv[1])
    for file in sorted(os.listdir(os.path.join(DATA, "caffe"))):
        if file.endswith(".prototxt"):
            fixture(file[: -len(".prototxt")])
