"""How much faster networks become without channels, and what that costs on inputs not seen before.

    pip install scikit-image scikit-learn
    python bench/prune.py dead                   random networks without channels that do nothing
    python bench/prune.py digits                 `prune` and `shrink` on scikit-learn's digits
    python bench/prune.py curve MODEL [WEIGHTS]  a classifier, crops of scikit-image's pictures and,
                                                 with --pictures, of those in a folder

Digits and crops are cross-validated as by quantize.py: each part is held out while the others fit,
crops parted by the picture they are from. Of digits a loss is a right answer that is lost. Of crops
there are the answers that change, and rms, the differences relative to the values, of logits and of
outputs: with weights fitted and, of the same channels, as they were. Intervals are of 95 %, over
pictures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from quantize import Inputs, all_digits, answers, crops, interval, ratio

import linnet
from linnet import _core, core, digits
from linnet.channels import remove_dead
from linnet.cli.inputs import files
from linnet.cli.options import add_model, add_preprocess, given_preprocess
from linnet.graph import Graph
from linnet.model import canonical
from linnet.preprocess import merged
from linnet.prune import Smaller, Work, prune, shrink
from linnet.quantize import Samples, Times, save
from linnet.quantize.loss import before_softmax
from linnet.quantize.samples import Runner, from_arrays
from linnet.session import Session

Array = np.ndarray[Any, Any]
REDRAWN = 2000  # times pictures are drawn anew for an interval (Efron's bootstrap)


def meter(make: Any, feed: Mapping[str, Array]) -> Times:
    return Times(make, feed, {"threads": 1})


def told(what: str, done: int, total: int) -> None:
    if done >= total:
        print(f"  {what}: {total}", file=sys.stderr, flush=True)


def loaded(graph: Graph, like: Graph) -> linnet.Session:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "smaller.onnx"
        save(graph, path, like)
        return linnet.load(path, threads=1)


def samples_of(graph: Graph, data: Inputs, rows: Array) -> Samples:
    found = from_arrays(graph, {graph.inputs[0].name: data.x[rows]})
    return found if data.labels is None else found.labelled(data.labels[rows])


# Channels that do nothing.


def dead(args: argparse.Namespace) -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from test_channels import drawn, macs

    random = np.random.default_rng(0)
    x = random.standard_normal((1, 3, args.size, args.size)).astype(np.float32)
    worst = 0.0
    rows = []
    for seed in range(args.networks):
        for share in (0.0, 0.3, 0.6):
            graph = drawn(seed, share, args.size, args.wide)
            smaller, _ = remove_dead(graph)
            one, other = (
                Session(_core.Session(core.build(g), threads=1)) for g in (smaller, graph)
            )
            got, want = one(x), other(x)
            worst = max(worst, float(np.abs(got - want).max() / np.abs(want).max()))
            rows.append((share, macs(smaller) / macs(graph), ratio(one, other, x, args.seconds)))
    for share in (0.0, 0.3, 0.6):
        left, slower = np.array([row[1:] for row in rows if row[0] == share]).T
        print(
            f"{100 * share:.0f} % of channels idle: {100 * left.mean():.0f} % of multiply-adds and "
            f"{100 * slower.mean():.0f} % of the time left ({100 * slower.min():.0f} to "
            f"{100 * slower.max():.0f} %)"
        )
    print(f"{args.networks} networks, largest difference / largest output {worst:.1e}")
    return 0


# Digits.


def on_digits(args: argparse.Namespace) -> int:
    graph = canonical(digits.MODEL, None, arithmetic="float")
    data = all_digits(graph.inputs[0].shape[-1], args.folds)
    assert data.labels is not None
    plain = loaded(graph, graph)
    before = answers(plain, data.x, single=False) == data.labels

    def smaller_by(max_loss: float, make: Callable[..., Smaller]) -> tuple[float, float, float]:
        """The loss, and the least that a network became faster and smaller by."""
        now, slower, smaller = np.zeros(len(before), bool), [], []
        for number in range(args.folds):
            held = data.group % args.folds == number
            found = make(graph, samples_of(graph, data, ~held), meter, max_loss=max_loss)
            net = loaded(found.graph, graph)
            now[held] = answers(net, data.x[held], single=False) == data.labels[held]
            slower.append(ratio(net, plain, data.x[:1], args.seconds))
            smaller.append(found.before.bytes / found.after.bytes)
            lost = before[held].mean() - now[held].mean()
            print(
                f"part {number + 1}: {found.after.how}; {100 * lost:.2f} "
                f"points lost, {1 / slower[-1]:.2f} times faster, {smaller[-1]:.1f} times smaller",
                flush=True,
            )
        loss, most, _ = interval(before.astype(int) - now, np.arange(len(now)))
        print(
            f"{make.__name__} within {100 * max_loss:g} %: {before.mean():.2%} right before, "
            f"{now.mean():.2%} now: {100 * loss:.2f} points lost, at most {100 * most:.2f}; "
            f"at least {1 / max(slower):.2f} times faster and {min(smaller):.1f} times smaller",
            flush=True,
        )
        return loss, 1 / max(slower), min(smaller)

    pruned, shrunk = smaller_by(0.005, prune), smaller_by(0.01, shrink)
    good = pruned[0] <= 0.005 and pruned[1] >= 1.8
    good = good and shrunk[0] <= 0.01 and shrunk[1] >= 2 and shrunk[2] >= 3
    print("PASSED" if good else "FAILED")
    return 0 if good else 1


# Classifiers.


def outputs(graph: Graph, data: Inputs, rows: Array) -> Array:
    """Logits and outputs, which may be the same [n, 2, numbers], of some inputs."""
    everything = samples_of(graph, data, np.arange(len(data.x)))
    names = [*before_softmax(graph, graph.outputs[-1:]), graph.outputs[-1]]
    found = Runner(graph).all(everything, np.flatnonzero(rows).tolist(), list(dict.fromkeys(names)))
    parts = [
        np.concatenate([y.reshape(1 if graph.batchless else len(y), -1) for y in found[name]])
        for name in names
    ]
    return np.stack(parts, axis=1)


def over_pictures(group: Array, figure: Callable[[Array], float]) -> str:
    """A figure of inputs by their numbers, and its interval."""
    random = np.random.default_rng(0)
    mine = [np.flatnonzero(group == g) for g in np.unique(group)]
    drawn = [
        figure(np.concatenate([mine[i] for i in random.integers(len(mine), size=len(mine))]))
        for _ in range(REDRAWN)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{100 * figure(np.arange(len(group))):.2f} ({100 * low:.2f} to {100 * high:.2f}) %"


def curve(args: argparse.Namespace) -> int:
    model, weights, _ = files(args)
    graph = canonical(model, weights, args.stages, None, outputs=args.outputs, arithmetic="float")
    graph.metadata = merged(graph.metadata, given_preprocess(args))
    data = crops(graph, args.crops, args.pictures)
    parts = data.group % args.folds
    right = outputs(graph, data, np.ones(len(data.x), bool))
    found = {(f, fitted): np.zeros_like(right) for f in args.speed_ups for fitted in (True, False)}
    gains: dict[float, list[float]] = {f: [] for f in args.speed_ups}
    plain = loaded(graph, graph)
    for number in range(args.folds):
        held = parts == number
        rest = np.flatnonzero(~held)
        rest = rest[
            np.argsort(data.group[rest], kind="stable")
        ]  # every second of each picture fits
        work = Work(graph, samples_of(graph, data, rest), meter, None, told)
        for factor in args.speed_ups:
            cut = work.chooser.of(work.chooser.faster(factor))
            as_it_was = work.chooser.builder.cut_only(cut.state).graph
            for fitted, network in ((True, cut.graph), (False, as_it_was)):
                found[factor, fitted][held] = outputs(network, data, held)
            x = data.x[0] if graph.batchless else data.x[:1]
            gains[factor].append(1 / ratio(loaded(cut.graph, graph), plain, x, args.seconds))
    print(
        f"{graph.name or model.name}: {len(right)} crops of {len(np.unique(data.group))} pictures"
    )
    halves = True
    for factor in args.speed_ups:
        losses = {}
        for fitted in (True, False):
            y = found[factor, fitted]
            agree = (y[:, 0].argmax(axis=1) == right[:, 0].argmax(axis=1)).astype(float)
            change, power = np.square(y - right).sum(axis=2), np.square(right).sum(axis=2)

            def rms(rows: Array, of: int, change: Array = change, power: Array = power) -> float:
                return float(np.sqrt(change[rows, of].sum() / power[rows, of].sum()))

            def share(rows: Array, agree: Array = agree) -> float:
                return float(agree[rows].mean())

            figures = [share, partial(rms, of=0), partial(rms, of=1)]
            everything = np.arange(len(right))
            losses[fitted] = 1 - agree.mean(), *(rms(everything, of) for of in (0, 1))
            texts = [over_pictures(data.group, figure) for figure in figures]
            print(
                f"{np.mean(gains[factor]):.2f} times faster (asked for {factor:g}), "
                f"{'fitted' if fitted else 'weights as they were'}: agreement {texts[0]}, rms "
                f"of logits {texts[1]}, of outputs {texts[2]}"
            )
        print(
            "  of the losses are left",
            *(f"{a / b:.2f}" for a, b in zip(losses[True], losses[False])),
        )
        if factor == 1.3:
            halves = all(2 * a <= b for a, b in zip(losses[True], losses[False]))
    print("PASSED" if halves else "FAILED: fitting does not halve the loss at 1.3")
    return 0 if halves else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    kinds = parser.add_subparsers(required=True)
    for name, run in (("dead", dead), ("digits", on_digits), ("curve", curve)):
        kind = kinds.add_parser(name)
        kind.set_defaults(run=run)
        kind.add_argument("--seconds", type=float, default=0.2 if name == "dead" else 5)
        if name == "dead":
            kind.add_argument("--networks", type=int, default=40)
            kind.add_argument("--size", type=int, default=40, help="of the images (default: 40)")
            kind.add_argument("--wide", type=int, default=4, help="times the channels (default: 4)")
        else:
            kind.add_argument("--folds", type=int, default=4, help="parts (default: 4)")
    add_model(kind)
    add_preprocess(kind)
    kind.add_argument("--crops", type=int, default=1200, help="at least (default: 1200)")
    kind.add_argument("--pictures", type=Path, metavar="FOLDER", help="more of them")
    kind.add_argument("--speed-ups", type=factors, default=[1.1, 1.3, 1.5], metavar="X,X")
    args = parser.parse_args(arguments)
    return int(args.run(args))


def factors(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
