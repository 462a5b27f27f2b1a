"""Train the detector that ships with linnet, "yard", and write it as ONNX with fp16 weights.

It finds people, cats and cars, in pictures of 192x192, and was trained on drawings alone, those of
bench/yard_scenes.py. The network is made for small CPUs: 3x3 convolutions halve the picture, pairs
of depthwise and 1x1 ones follow, and three levels (strides 8, 16, 32) are added up from the
coarsest to the finest. Its outputs are YOLOX's: for every cell centre and logarithm of the size in
strides, then the probabilities of an object and of each class.

    pip install torch==2.13.0 opencv-python-headless onnx
    python bench/train_yard.py src/linnet/models/yard.onnx

Training takes an hour on one core; on a busy machine one thread is faster than several that wait
for each other. The run is seeded, but its result also depends on the CPU and the number of threads.
The file that ships is of three runs, of some 2200, 4300 and 3600 steps, each of which went on from
the one before (--start) on other scenes; it could learn for longer. On 500 held-out scenes of the
last, which are harder than yards are, it finds at threshold 0.3 59 % of the people, 37 % of the
cats and 74 % of the cars, 64, 47 and 64 % of what it says being right; at 0.5, 36, 18 and 57 %,
of which 93, 86 and 94 % are right.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from yard_scenes import CLASSES, Scene, scene

SIZE = 192
STRIDES = (8, 16, 32)
REACH = ((0, 44), (26, 104), (64, 1e9))  # sizes of boxes, sqrt(w h), that each level learns
BATCH = 32
PEAK = 2e-3  # of the rates it learns with
HELD_OUT = 500  # scenes
DRAWN = 256  # pixels of the scenes that windows are taken of
OVERLAP = 0.5

# name: (inputs, outputs, kernel, stride, groups), each with batch normalisation and ReLU.
LAYERS = {
    "stem": (3, 16, 3, 2, 1),
    "down4": (16, 32, 3, 2, 1),
    "down8": (32, 48, 3, 2, 1),
    "down16": (48, 96, 3, 2, 1),
    "down32": (96, 128, 3, 2, 1),
}
NECK = 64
LEVELS = (("8", 48, 2), ("16", 96, 3), ("32", 128, 3))  # stride, channels, blocks
for _level, _wide, _blocks in LEVELS:
    for _k in range(_blocks):
        LAYERS[f"deep{_level}_{_k}"] = (_wide, _wide, 3, 1, _wide)
        LAYERS[f"flat{_level}_{_k}"] = (_wide, _wide, 1, 1, 1)
    LAYERS[f"side{_level}"] = (_wide, NECK, 1, 1, 1)
    LAYERS[f"head{_level}a"] = (NECK, NECK, 3, 1, NECK)
    LAYERS[f"head{_level}b"] = (NECK, NECK, 1, 1, 1)


class Yard(nn.Module):
    """The network. `walk` says what follows what, for PyTorch and for the ONNX file alike."""

    def __init__(self) -> None:
        super().__init__()
        self.convs, self.norms = nn.ModuleDict(), nn.ModuleDict()
        for name, (inputs, outputs, kernel, stride, groups) in LAYERS.items():
            self.convs[name] = nn.Conv2d(
                inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
            )
            self.norms[name] = nn.BatchNorm2d(outputs)
        for stride in STRIDES:
            self.convs[f"boxes{stride}"] = nn.Conv2d(NECK, 4, 1)
            self.convs[f"scores{stride}"] = nn.Conv2d(NECK, 1 + len(CLASSES), 1)
            nn.init.constant_(self.convs[f"scores{stride}"].bias, -4.0)  # type: ignore[arg-type]

    def walk(self, ops: Any, x: Any) -> Any:
        """Rows [n, cells, 5 + classes]; ops: a Torch or an Onnx, which has the operators."""

        x, levels = ops.layer("down4", ops.layer("stem", x)), {}
        for level, _, blocks in LEVELS:
            x = ops.layer(f"down{level}", x)
            for k in range(blocks):
                x = ops.add(x, ops.layer(f"flat{level}_{k}", ops.layer(f"deep{level}_{k}", x)))
            levels[level] = ops.layer(f"side{level}", x)
        for above, level in (("32", "16"), ("16", "8")):
            levels[level] = ops.add(levels[level], ops.double(levels[above]))
        rows = []
        for level, at in levels.items():
            y = ops.add(at, ops.layer(f"head{level}b", ops.layer(f"head{level}a", at)))
            rows.append(
                ops.join(ops.conv(f"boxes{level}", y), ops.sigmoid(ops.conv(f"scores{level}", y)))
            )
        return ops.rows(rows)

    def forward(self, x: Tensor) -> Tensor:
        return self.walk(Torch(self), x)  # type: ignore[no-any-return]


class Torch:
    """The operators of `Yard.walk` on tensors. Scores stay logits, for losses."""

    def __init__(self, net: Yard) -> None:
        self.net = net

    def conv(self, name: str, x: Tensor) -> Tensor:
        return self.net.convs[name](x)  # type: ignore[no-any-return]

    def layer(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.net.norms[name](self.net.convs[name](x)))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def double(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest")

    def sigmoid(self, x: Tensor) -> Tensor:
        return x

    def join(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], 1)

    def rows(self, levels: list[Tensor]) -> Tensor:
        return torch.cat([x.flatten(2) for x in levels], 2).transpose(1, 2)


class Onnx:
    """The same as nodes of an ONNX graph; normalisation becomes part of the convolutions, whose
    weights are FLOAT16 with a Cast.
    """

    def __init__(self, net: Yard) -> None:
        self.net, self.nodes, self.initializers = net, [], []  # type: ignore[var-annotated]

    def node(self, op: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        if array.dtype != np.float32:
            self.initializers.append(numpy_helper.from_array(array, name))
            return name
        self.initializers.append(numpy_helper.from_array(array.astype(np.float16), f"{name}_f16"))
        return self.node("Cast", [f"{name}_f16"], name, to=TensorProto.FLOAT)

    def conv(self, name: str, x: str) -> str:
        conv = self.net.convs[name]
        weight, bias = folded(self.net, name)
        inputs = [x, self.constant(f"{name}_weight", weight), self.constant(f"{name}_bias", bias)]
        pad = conv.padding[0]  # type: ignore[index]
        return self.node(
            "Conv", inputs, name, kernel_shape=list(conv.kernel_size), strides=list(conv.stride),  # type: ignore[arg-type]
            pads=[pad] * 4, dilations=[1, 1], group=conv.groups,
        )  # fmt: skip

    def layer(self, name: str, x: str) -> str:
        return self.node("Relu", [self.conv(name, x)])

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y])

    def double(self, x: str) -> str:
        scales = f"scales_{len(self.nodes)}"
        self.initializers.append(
            numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), scales)
        )
        how = dict(
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
        return self.node("Resize", [x, "", scales], **how)

    def sigmoid(self, x: str) -> str:
        return self.node("Sigmoid", [x])

    def join(self, x: str, y: str) -> str:
        return self.node("Concat", [x, y], axis=1)

    def rows(self, levels: list[str]) -> str:
        shape = self.constant("rows", np.array([0, 5 + len(CLASSES), -1]))
        flat = [self.node("Reshape", [x, shape]) for x in levels]
        return self.node("Transpose", [self.node("Concat", flat, axis=2)], "boxes", perm=[0, 2, 1])


def folded(net: Yard, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Weight and bias of a convolution with its normalisation."""
    conv = net.convs[name]
    with torch.no_grad():
        if name not in net.norms:
            return conv.weight.numpy(), conv.bias.numpy()  # type: ignore[operator, union-attr]
        norm = net.norms[name]
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
        weight = conv.weight * factor[:, None, None, None]  # type: ignore[operator]
        return weight.numpy(), (norm.bias - norm.running_mean * factor).numpy()  # type: ignore[operator]


def cells() -> tuple[Tensor, Tensor]:
    """Corner (x, y) and stride of every row."""
    corners, strides = [], []
    for stride in STRIDES:
        n = SIZE // stride
        y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        corners.append(torch.stack([x, y], 2).reshape(-1, 2) * stride)
        strides.append(torch.full((n * n,), stride))
    return torch.cat(corners).float(), torch.cat(strides).float()


CORNERS, CELLS = cells()


def decoded(rows: Tensor) -> Tensor:
    """Corners of boxes, of rows [..., cells, 4 or more]."""
    centre = rows[..., :2] * CELLS[:, None] + CORNERS
    half = rows[..., 2:4].clamp(max=5).exp() * CELLS[:, None] / 2
    return torch.cat([centre - half, centre + half], -1)


def assign(boxes: Tensor) -> Tensor:
    """Which of the boxes [n, 4] each row is to find, or -1: the smallest whose middle is near the
    row's cell, if its size is one of the level's.
    """
    if not len(boxes):
        return torch.full((len(CELLS),), -1)
    middle = CORNERS + CELLS[:, None] / 2
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    scale = size.prod(1).sqrt()
    away = (middle[:, None] - centre).abs()
    reach = torch.minimum(
        CELLS[:, None, None] * 1.5, torch.maximum(size / 2, CELLS[:, None, None] / 2)
    )
    close = (away <= reach).all(2)
    for stride, (least, most) in zip(STRIDES, REACH):
        close[stride == CELLS] &= ((scale >= least) & (scale < most))[None]
    cost = torch.where(close, size.prod(1)[None], torch.inf)
    best, index = cost.min(1)
    return torch.where(best.isinf(), -1, index)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes, pair by pair."""
    inner = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    shared = inner.prod(1)
    return shared / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared + 1e-6)


def loss_of(rows: Tensor, boxes: list[Tensor], classes: list[Tensor]) -> Tensor:
    """Boxes: 1 - overlap, with the distance of the middles (DIoU); scores: focal cross entropy."""
    wanted = torch.stack([assign(b) for b in boxes])
    found = wanted >= 0
    target = torch.zeros(rows.shape[:2])
    count = max(int(found.sum()), 1)
    total = rows.sum() * 0
    if found.any():
        image, row = found.nonzero(as_tuple=True)
        truth = torch.cat([b[w[w >= 0]] for b, w in zip(boxes, wanted)])
        kinds = torch.cat([c[w[w >= 0]] for c, w in zip(classes, wanted)])
        guess = decoded(rows)[image, row]
        overlap = overlaps(guess, truth)
        hull = torch.maximum(guess[:, 2:], truth[:, 2:]) - torch.minimum(guess[:, :2], truth[:, :2])
        off = (guess[:, :2] + guess[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
        total = total + 2.5 * (1 - overlap + off.square().sum(1) / hull.square().sum(1)).sum()
        one_hot = F.one_hot(kinds, len(CLASSES)).float()
        total = total + F.binary_cross_entropy_with_logits(
            rows[image, row, 5:], one_hot, reduction="sum"
        )
        target[image, row] = overlap.detach().clamp(min=0.2)
    score = rows[..., 4]
    focus = (target - score.sigmoid()).abs().square()
    cross = F.binary_cross_entropy_with_logits(score, target, reduction="none")
    return (total + 2 * (focus * cross).sum()) / count


def rendered(seed: int, size: int = DRAWN) -> Scene:
    cv2.setNumThreads(1)
    return scene(np.random.default_rng(seed), size)


def window(scene: Scene, rng: np.random.Generator) -> tuple[Any, ...]:
    """A part of a scene, as large as a picture is or stretched to it, mirrored or not; what is
    mostly cut off counts as not there.
    """
    image, boxes, kinds = scene
    least = SIZE / len(image)
    zoom = np.exp(rng.uniform(np.log(least), 0.25)) * np.exp(rng.uniform(0, 0.25, 2))
    shift = rng.uniform(SIZE - zoom * len(image), 0)
    if rng.uniform() < 0.5:  # mirrored
        zoom[0], shift[0] = -zoom[0], SIZE - shift[0]
    matrix = np.array([[zoom[0], 0, shift[0]], [0, zoom[1], shift[1]]])
    seen = cv2.warpAffine(image, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    ends = boxes.reshape(-1, 2, 2) * zoom + shift
    whole = np.hstack([ends.min(axis=1), ends.max(axis=1)])
    inside = whole.clip(0, SIZE)
    size, left = whole[:, 2:] - whole[:, :2], inside[:, 2:] - inside[:, :2]
    keep = (left.prod(axis=1) >= 0.35 * size.prod(axis=1)) & (left.min(axis=1, initial=SIZE) >= 4)
    return seen, inside[keep].astype(np.float32), kinds[keep]


def batches(
    scenes: list[Scene], rng: np.random.Generator
) -> Iterator[tuple[Tensor, list[Tensor], list[Tensor]]]:
    """A window of each scene, some in other colours or light."""
    order = rng.permutation(len(scenes))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        images, boxes, classes = [], [], []
        for index in order[start : start + BATCH]:
            image, box, kind = window(scenes[index], rng)
            if rng.uniform() < 0.3:
                image = image[..., rng.permutation(3)]
            if rng.uniform() < 0.2:
                image = (
                    255 - image
                    if rng.uniform() < 0.15
                    else (image * rng.uniform(0.3, 1)).astype(np.uint8)
                )
            images.append(np.ascontiguousarray(image))
            boxes.append(torch.from_numpy(box))
            classes.append(torch.from_numpy(kind))
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        yield x.contiguous(memory_format=torch.channels_last), boxes, classes


def lessons(
    scenes: list[Scene], epochs: int, minutes: float, seed: int
) -> Iterator[tuple[float, tuple[Tensor, list[Tensor], list[Tensor]]]]:
    """Batches, and the rate to learn each with: a warm-up, then a cosine, which ends in time,
    whatever the machine.
    """
    rng = np.random.default_rng(seed)
    steps, begin, step = epochs * (len(scenes) // BATCH), time.process_time(), 0
    for _ in range(epochs):
        for batch in batches(scenes, rng):
            done = max(step / steps, (time.process_time() - begin) / (60 * minutes))
            if done >= 1:
                return
            step += 1
            yield min(1.0, step / 200) * (0.5 + 0.5 * float(np.cos(np.pi * done))), batch


def train(net: Yard, scenes: list[Scene], epochs: int, minutes: float, seed: int) -> None:
    """AdamW; what is kept is a running mean of the weights (Polyak and Juditsky, 1992)."""
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    mean = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    net.train()
    total = 0.0
    plan = lessons(scenes, epochs, minutes, seed)
    for step, (rate, (x, boxes, classes)) in enumerate(plan, 1):
        for group in optimizer.param_groups:
            group["lr"] = PEAK * rate + 1e-6
        with torch.autocast("cpu", torch.bfloat16):
            rows = net(x)
        loss = loss_of(rows.float(), boxes, classes)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        mean.update_parameters(net)
        total += loss.item()
        if step % 100 == 0:
            print(f"step {step}, rate {rate:.2f}: loss {total / 100:.3f}", flush=True)
            total = 0.0
    net.load_state_dict(mean.module.state_dict())


def found(net: Yard, scenes: list[Scene], threshold: float) -> list[tuple[npt.NDArray[Any], ...]]:
    """Boxes, scores and classes of every scene, overlapping ones of a class left out."""
    net.eval()
    results = []
    with torch.inference_mode():
        for start in range(0, len(scenes), BATCH):
            images = np.stack([s.image for s in scenes[start : start + BATCH]])
            rows = net(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
            for row, boxes in zip(rows, decoded(rows)):
                best, kind = row[:, 5:].sigmoid().max(1)
                score = best * row[:, 4].sigmoid()
                keep = score >= threshold
                b, s, k = boxes[keep], score[keep], kind[keep]
                corners = torch.cat([b[:, :2], b[:, 2:] - b[:, :2]], 1).tolist()
                chosen = (
                    cv2.dnn.NMSBoxesBatched(corners, s.tolist(), k.tolist(), threshold, 0.5)
                    if len(b)
                    else []
                )
                results.append(tuple(t[list(chosen)].numpy() for t in (b, s, k)))
    return results


def report(net: Yard, scenes: list[Scene], threshold: float) -> str:
    """Recall and precision of every class, of boxes that overlap the truth by half."""
    right = np.zeros(len(CLASSES), int)
    said, true = right.copy(), right.copy()
    for (boxes, scores, kinds), (_, truth, classes) in zip(found(net, scenes, threshold), scenes):
        taken: set[int] = set()
        for index in np.argsort(-scores):
            said[kinds[index]] += 1
            for k in range(len(truth)):
                pair = (
                    torch.from_numpy(boxes[index : index + 1]),
                    torch.from_numpy(truth[k : k + 1]),
                )
                if (
                    k not in taken
                    and classes[k] == kinds[index]
                    and overlaps(*pair).item() >= OVERLAP
                ):
                    taken.add(k)
                    right[kinds[index]] += 1
                    break
        true += np.bincount(classes, minlength=len(CLASSES))
    parts = [
        f"{n} recall {r / max(t, 1):.3f} precision {r / max(s, 1):.3f}"
        for n, r, s, t in zip(CLASSES, right, said, true)
    ]
    return f"threshold {threshold}: " + ", ".join(parts)


def go_on_from(net: Yard, path: Path) -> None:
    """Take the weights of a file that this script has written; their normalisation begins anew."""
    stored = {
        tensor.name.removesuffix("_f16"): torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(path).graph.initializer
    }
    with torch.no_grad():
        for name, conv in net.convs.items():
            conv.weight.copy_(stored[f"{name}_weight"])  # type: ignore[operator, union-attr]
            bias = net.norms[name].bias if name in net.norms else conv.bias
            bias.copy_(stored[f"{name}_bias"])  # type: ignore[operator, union-attr]


def to_onnx(net: Yard) -> onnx.ModelProto:
    ops = Onnx(net)
    output = net.walk(ops, "image")
    count = sum((SIZE // stride) ** 2 for stride in STRIDES)
    graph = helper.make_graph(
        ops.nodes,
        "yard",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", count, 5 + len(CLASSES)])],
        ops.initializers,
    )
    model = helper.make_model(
        graph,
        producer_name="linnet train_yard",
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    texts = {
        "linnet.preprocess": json.dumps({"scale": [1 / 255]}),
        "linnet.labels": "\n".join(CLASSES),
        "linnet.detect": json.dumps(
            {"family": "yolox", "threshold": 0.4, "preprocess": {"fit": "stretch", "color": "RGB"}}
        ),
    }
    helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("output", type=Path, help="ONNX file to write")
    parser.add_argument("--start", type=Path, metavar="FILE", help="go on from this model")
    parser.add_argument("--scenes", type=int, default=9000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument(
        "--minutes", type=float, default=60, help="of CPU time that training may take"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of training")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    seeds = range(args.seed * 10**6, args.seed * 10**6 + args.scenes + HELD_OUT)
    with multiprocessing.get_context("spawn").Pool() as pool:
        draw = partial(rendered, size=SIZE)
        held_out = list(pool.imap(draw, seeds[:HELD_OUT], chunksize=100))
        scenes = list(pool.imap(rendered, seeds[HELD_OUT:], chunksize=100))
    print(f"{len(scenes)} scenes", flush=True)

    net = Yard().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    print(f"{sum(p.numel() for p in net.parameters()):,} parameters")
    if args.start:
        go_on_from(net, args.start)
    train(net, scenes, args.epochs, args.minutes, args.seed)
    for threshold in (0.3, 0.5):
        print(report(net, held_out, threshold), flush=True)
    onnx.save(to_onnx(net), args.output)


if __name__ == "__main__":
    main()
