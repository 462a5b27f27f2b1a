"""Whether `linnet quantize` keeps its word on inputs that it has not seen, and how long it takes.

    pip install scikit-image scikit-learn
    python bench/quantize.py                    the digits network, scikit-learn's 1,797 digits
    python bench/quantize.py MODEL [WEIGHTS]    a classifier, crops of scikit-image's pictures

Cross-validated: the inputs are in several parts; each in turn is held out while the others
quantize, and the network that comes of it is run on it and timed in turns with float32. Digits are
parted in scikit-learn's order, crops by the picture they are from. Loss: of digits, right answers
that are lost; of crops, answers that change. Its interval of 95 % counts a picture's crops as fewer
where they fail together (Kish: Survey Sampling, 1965). Status 1 if the interval is not within
--max-loss, or a network is slower than float32.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import linnet
from linnet import digits
from linnet.cli.inputs import files
from linnet.cli.options import add_model, add_preprocess, given_preprocess, percent
from linnet.graph import Graph
from linnet.model import canonical
from linnet.preprocess import merged, prepared, recorded
from linnet.quantize import Calibration, Times, of_schemes, quantize, save
from linnet.quantize.loss import upper_end
from linnet.quantize.samples import from_arrays, information

Array = np.ndarray[Any, Any]
LEAST = 300  # pixels of the shorter side of a picture that crops are from
NOISE = 1.03  # the time of one network over that of another may be, if both take the same


class Inputs(NamedTuple):
    """x: [n, ...]. group: of each, what it is from. labels: the true classes, if they are known."""

    x: Array
    group: Array
    labels: Array | None


def all_digits(size: int, folds: int) -> Inputs:
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = np.floor(data.images * (255 / 16) + 0.5).astype(np.uint8)
    x = digits.enlarged(levels, size)
    return Inputs(x, np.arange(len(x)) * folds // len(x), data.target.astype(np.int64))


def pictures(folder: Path | None = None) -> list[Array]:
    """In RGB on white, those that are in scikit-image's package and are no copies of another, and
    those in a folder.
    """
    import skimage
    from PIL import Image

    found = []
    for parent, least in ((Path(skimage.__file__).parent / "data", LEAST), (folder, LEAST // 4)):
        for path in sorted(parent.rglob("*.*")) if parent else ():
            if path.suffix in (".png", ".jpg") and path.name != "motorcycle_right.png":
                with Image.open(path) as opened:
                    picture = opened.convert("RGBA")
                white = Image.new("RGBA", picture.size, "white")
                if min(picture.size) >= least:
                    white.alpha_composite(picture)
                    found.append(np.asarray(white.convert("RGB")))
    return found


def crops(graph: Graph, count: int, folder: Path | None = None) -> Inputs:
    """Squares from half to all of a picture's shorter side, half of them mirrored."""
    random = np.random.default_rng(0)
    record = recorded(graph.metadata)
    found, group = [], []
    sources = pictures(folder)
    for index in range(count):
        picture = sources[index % len(sources)]
        side = int(random.uniform(0.5, 1) * min(picture.shape[:2]))
        top, left = (int(random.integers(n - side + 1)) for n in picture.shape[:2])
        crop = picture[top : top + side, left : left + side, :]
        crop = crop[:, ::-1] if random.integers(2) else crop
        made = prepared(record, information(graph), [np.ascontiguousarray(crop)])
        found.append(made if graph.batchless else made[0])
        group.append(index % len(sources))
    return Inputs(np.stack(found), np.array(group), None)


def answers(net: linnet.Session, x: Array, single: bool) -> Array:
    """The classes that a network finds."""
    name = net.inputs[0].name
    runs = [net.run(None, {name: row if single else row[None]})[-1] for row in x]
    return np.array([int(y.argmax()) for y in runs])


def ratio(net: linnet.Session, plain: linnet.Session, x: Array, seconds: float) -> float:
    """The one's time over the other's, run in turns: of both the lower decile, since what else a
    machine does makes runs slower, never faster.
    """
    times: list[tuple[float, float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 30:
        turn = []
        for session in (net, plain):
            start = time.perf_counter()
            session(x)
            turn.append(time.perf_counter() - start)
        times.append((turn[0], turn[1]))
    mine, other = np.sort(times, axis=0)[len(times) // 10]
    return float(mine / other)


class Fold(NamedTuple):
    """lost: of each input held out 1, or -1 if it was gained. slower: its time over float32's."""

    lost: Array
    slower: float
    seconds: float
    precisions: dict[str, int]
    judged: str


def fold(args: argparse.Namespace, graph: Graph, data: Inputs, held: Array) -> Fold:
    rest = ~held
    name = graph.inputs[0].name
    found_samples = from_arrays(graph, {name: data.x[rest]})
    if data.labels is not None:
        found_samples = found_samples.labelled(data.labels[rest])

    def meter(calibration: Calibration, feed: Any) -> Times:
        return Times(of_schemes(calibration), feed, {"threads": args.threads})

    start = time.monotonic()
    found = quantize(graph, found_samples, meter, max_loss=args.max_loss, metric=args.metric)
    seconds = time.monotonic() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        save(found.graph, path, graph)
        net = linnet.load(path, threads=args.threads)
    model, weights, _ = files(args)
    plain = linnet.load(model, weights, threads=args.threads)
    single = graph.batchless
    before, now = (answers(session, data.x[held], single) for session in (plain, net))
    right = before if data.labels is None else data.labels[held]
    x = data.x[held][0] if single else data.x[held][:1]
    return Fold(
        (before == right).astype(int) - (now == right),
        ratio(net, plain, x, args.seconds),
        seconds,
        {
            p: sum(r.precision == p for r in found.layers)
            for p in {r.precision for r in found.layers}
        },
        f"{100 * found.loss:.2f} (to {100 * found.upper:.2f}) % of {found.judged}",
    )


def interval(lost: Array, group: Array) -> tuple[float, float, float]:
    """The loss, the upper end of its interval, and of how many independent inputs."""
    count, loss = len(lost), lost.mean()
    sums = np.array([(lost[group == g] - loss).sum() for g in np.unique(group)])
    together = len(sums) / max(len(sums) - 1, 1) * np.square(sums).sum()
    apart = np.square(lost - loss).sum()
    alike = max(1.0, together / apart) if apart else 1.0
    n = count / alike
    most = upper_end((lost > 0).sum() / alike, (lost < 0).sum() / alike, n)
    return float(loss), float(most), float(n)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_model(parser)
    add_preprocess(parser)
    parser.add_argument("--crops", type=int, default=1200, help="at least (default: 1200)")
    parser.add_argument("--folds", type=int, default=4, help="parts (default: 4)")
    parser.add_argument("--max-loss", type=percent, default=0.01, metavar="P%", help="default: 1%%")
    parser.add_argument("--metric", help="default: top1")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--seconds", type=float, default=5, help="of timing (default: 5)")
    args = parser.parse_args(arguments)
    args.files = args.files or ["digits"]
    model, weights, _ = files(args)
    graph = canonical(model, weights, args.stages, None, outputs=args.outputs, arithmetic="float")
    if model == digits.MODEL:
        data = all_digits(graph.inputs[0].shape[-1], args.folds)
        group = np.arange(len(data.x))
    else:
        graph.metadata = merged(graph.metadata, given_preprocess(args))
        data = crops(graph, args.crops)
        group = data.group
    parts = data.group % args.folds
    lost, slowest = np.zeros(len(data.x), int), 0.0
    for number in range(args.folds):
        one = fold(args, graph, data, parts == number)
        lost[parts == number] = one.lost
        slowest = max(slowest, one.slower)
        print(
            f"part {number + 1}: quantized in {one.seconds:.0f} s, {json.dumps(one.precisions)}, "
            f"loss judged {one.judged}, held out {100 * one.lost.mean():.2f} % of {len(one.lost)}; "
            f"time over float32's {one.slower:.3f}",
            flush=True,
        )
    loss, most, alike = interval(lost, group)
    passed = most <= args.max_loss and slowest <= NOISE
    word = "PASSED" if passed else "FAILED"
    print(
        f"{word}: {graph.name or graph.source}: {len(lost)} held out, as good as {alike:.0f} "
        f"independent ones: loss {100 * loss:.3f} %, at most {100 * most:.3f} % with a certainty "
        f"of 95 %, allowed {100 * args.max_loss:g} %; time over float32's at most {slowest:.3f}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
