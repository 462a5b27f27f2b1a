"""Train the digit model that ships with linnet and write it as ONNX with fp16 weights.

The network is the face-recognition CNN of a published CPU comparison (1,039,744 parameters, 848
outputs), here trained on scikit-learn's bundled handwritten digits, so only the first 10 outputs
ever occur as labels.

    pip install torch==2.13.0 scikit-learn onnx
    python bench/train_digits.py src/linnet/models/digits.onnx

Data: 1797 images of 8x8 pixels, values 0..16. A pixel v becomes the grey level
floor(v * 255 / 16 + 0.5); the image is enlarged to 88x88 by `enlarge` and divided by 255. The last
360 images in the order of scikit-learn are held out. That order is not shuffled: neighbours often
share a writer, so this split is harder than a random one. The settings were tuned on the
360 images before those, with the network trained on the rest.
The run is seeded, but its result also depends on the CPU and the number of threads.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import Tensor, nn

HELD_OUT = 360
SIZE = 88
BATCH = 32

# (name, output channels, kernel, non-overlapping max pool or 0), each followed by a ReLU.
CONVOLUTIONS = (("conv1", 16, 7, 2), ("conv2", 48, 6, 3), ("conv3", 96, 5, 0))
FULLY_CONNECTED = (("fc1", 128), ("fc2", 848))  # with no activation between them

Array = npt.NDArray[np.generic]


def grey_levels(images: Array) -> npt.NDArray[np.uint8]:
    """scikit-learn's pixel values 0..16 as grey levels 0..255."""
    return np.floor(images * (255 / 16) + 0.5).astype(np.uint8)


def enlarge(images: npt.NDArray[np.uint8], size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Bilinear resize of square images [n, s, s] to [n, size, size], rounded half up.

    Pixel centres at half-integers, border pixels repeated: what Pillow's BILINEAR and OpenCV's
    INTER_LINEAR do when they enlarge, up to one grey level where they round differently.
    """
    source = images.shape[-1]
    centre = (np.arange(size) + 0.5) * source / size - 0.5
    left = np.floor(centre).astype(np.int64)
    weights = np.zeros((size, source))
    rows = np.arange(size)
    np.add.at(weights, (rows, left.clip(0, source - 1)), 1 - (centre - left))
    np.add.at(weights, (rows, (left + 1).clip(0, source - 1)), centre - left)
    return np.floor(weights @ images @ weights.T + 0.5).astype(np.uint8)


def network() -> nn.Sequential:
    """The network without its softmax; layers carry the names used in the exported files."""
    net = nn.Sequential()
    channels, size = 1, SIZE
    for name, outputs, kernel, pool in CONVOLUTIONS:
        net.add_module(name, nn.Conv2d(channels, outputs, kernel))
        net.add_module(name.replace("conv", "relu"), nn.ReLU())
        channels, size = outputs, size - kernel + 1
        if pool:
            net.add_module(name.replace("conv", "pool"), nn.MaxPool2d(pool))
            size //= pool
    net.add_module("flatten", nn.Flatten())
    features = channels * size * size
    for name, outputs in FULLY_CONNECTED:
        net.add_module(name, nn.Linear(features, outputs))
        features = outputs
    return net


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image [n, 1, h, w] under a random affine map, smooth distortion and change of contrast.

    The distortion moves the pixels by a field interpolated from 6x6 random vectors (elastic
    distortion: Simard et al., 2003).
    """

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand(len(images), *shape, generator=generator) * 2 - 1) * limit

    angle, shear = uniform(0.14), uniform(0.14)
    rows = [
        torch.stack([(1 + uniform(0.1)) * angle.cos(), shear - angle.sin(), uniform(0.15)], 1),
        torch.stack([angle.sin(), (1 + uniform(0.1)) * angle.cos(), uniform(0.15)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    field = F.interpolate(
        uniform(0.1, 2, 6, 6), list(images.shape[2:]), mode="bicubic", align_corners=False
    )
    moved = F.grid_sample(images, grid + field.permute(0, 2, 3, 1), align_corners=False)
    return moved * (0.85 + uniform(0.15, 1, 1, 1))


def train(net: nn.Sequential, images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    """AdamW with one warm-up-then-cosine cycle on augmented images [n, 1, 88, 88] in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    steps = epochs * math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            logits = net(augment(images[batch], generator))
            loss = F.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1}/{epochs}: loss {total / len(images):.4f}", flush=True)


def round_to_fp16(net: nn.Module) -> None:
    """Round every weight, so that each exported form holds exactly the same numbers."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Fraction of images whose largest logit is the label."""
    net.eval()
    with torch.inference_mode():
        hits = sum(
            int((net(x).argmax(1) == y).sum())
            for x, y in zip(images.split(BATCH), labels.split(BATCH))
        )
    return hits / len(images)


def to_onnx(net: nn.Sequential) -> onnx.ModelProto:
    """The network and a softmax as ONNX: each weight a FLOAT16 initializer with a Cast to FLOAT."""
    nodes, initializers = [], []

    def weights(layer: str, module: nn.Conv2d | nn.Linear) -> list[str]:
        names = []
        for suffix, tensor in (("weight", module.weight), ("bias", module.bias)):
            name = f"{layer}_{suffix}"
            half = tensor.detach().numpy().astype(np.float16)
            initializers.append(numpy_helper.from_array(half, f"{name}_f16"))
            nodes.append(
                helper.make_node("Cast", [f"{name}_f16"], [name], name, to=TensorProto.FLOAT)
            )
            names.append(name)
        return names

    value = "data"
    for name, module in net.named_children():
        if isinstance(module, nn.Conv2d):
            inputs = [value, *weights(name, module)]
            node = helper.make_node(
                "Conv", inputs, [name], name, kernel_shape=list(module.kernel_size),
                strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], group=1,
            )  # fmt: skip
        elif isinstance(module, nn.ReLU):
            node = helper.make_node("Relu", [value], [name], name)
        elif isinstance(module, nn.MaxPool2d):
            kernel = [module.kernel_size] * 2
            node = helper.make_node(
                "MaxPool", [value], [name], name, kernel_shape=kernel, strides=kernel,
                pads=[0, 0, 0, 0], dilations=[1, 1], ceil_mode=0,
            )  # fmt: skip
        elif isinstance(module, nn.Flatten):
            node = helper.make_node("Flatten", [value], [name], name, axis=1)
        elif isinstance(module, nn.Linear):
            inputs = [value, *weights(name, module)]
            node = helper.make_node("Gemm", inputs, [name], name, transB=1)
        else:
            raise TypeError(f"layer {name}: no export for {type(module).__name__}")
        nodes.append(node)
        value = name
    nodes.append(helper.make_node("Softmax", [value], ["prob"], "prob", axis=1))

    classes = FULLY_CONNECTED[-1][1]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", classes])],
        initializers,
    )
    model = helper.make_model(
        graph,
        producer_name="linnet train_digits",
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    # How pictures become its input, and names of the outputs that stand for something.
    record, names = json.dumps({"scale": [1 / 255]}), "\n".join(f"digit {i}" for i in range(10))
    helper.set_model_props(model, {"linnet.preprocess": record, "linnet.labels": names})
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digit model and write it as ONNX.")
    parser.add_argument("output", type=Path, help="ONNX file to write")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    digits = load_digits()
    pixels = enlarge(grey_levels(digits.images))
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / np.float32(255))
    labels = torch.from_numpy(digits.target.astype(np.int64))

    net = network()
    print(f"{sum(p.numel() for p in net.parameters()):,} parameters")
    train(net, images[:-HELD_OUT], labels[:-HELD_OUT], args.epochs, args.seed)
    round_to_fp16(net)
    print(f"training set {accuracy(net, images[:-HELD_OUT], labels[:-HELD_OUT]):.2%}")
    print(f"held out     {accuracy(net, images[-HELD_OUT:], labels[-HELD_OUT:]):.2%}")
    onnx.save(to_onnx(net), args.output)


if __name__ == "__main__":
    main()
