"""Write docs/study.md from bench/results, or with --check say if it is out of date."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from linnet.compare import matrix, report
from linnet.compare.backends import backends
from linnet.text import count

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "study.md", ROOT / "bench" / "results"
MATRIX = "`make matrix`"
DIGITS = "`linnet compare --setup -o bench/results/NAME.json`"
Times = dict[tuple[str, str, int, int], float]  # model, row, batch, threads -> ms per image

HEAD = """# The study's questions, today

In 2017 Dmytro Prylipko asked which toolkit runs a trained CNN fastest on an ARM CPU without
accelerator, and ended with what was left to do: more models, NNPACK, more combinations of
frameworks and BLAS back-ends. These are his questions with figures of today, of the machines that
[bench/results](../bench/results/README.md) has results of. All tables are made from there, by
`make study`; the command above each makes its figures anew. Frameworks get the same weights, and
what they answer is checked against float64 before any time counts ([how](compare.md)).
"""


def main() -> int:
    wanted = "\n".join(page()).rstrip("\n") + "\n"
    if "--check" not in sys.argv:
        PAGE.write_text(wanted, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted:
        print("docs/study.md is not what bench/results say: make study", file=sys.stderr)
        return 1
    return 0


def page() -> Iterator[str]:
    found = [run for path in sorted(RESULTS.glob("*.json")) for run in report.read(path)]
    many = [run for run in found if run.get("matrix")]
    digits = [run for run in found if not run.get("matrix") and "digits" in run["model"]]
    digits = [run for run in digits if run["machine"]["cpu"] == digits[-1]["machine"]["cpu"]]
    many = [run for run in many if run["machine"]["cpu"] == many[-1]["machine"]["cpu"]]
    old = report.read(report.STUDY)
    yield HEAD
    yield "## Which BLAS\n"
    yield from section(many, MATRIX, which_blas)
    yield "## Which flavour of OpenBLAS\n"
    yield (
        "The branch `optimized_for_deeplearning` splits a threaded product over its first\n"
        "dimension alone. Its time over that of OpenBLAS as it is; below 1 it is faster.\n"
    )
    yield from section(old, "the published figures, Raspberry Pi 3", flavours)
    yield from section(digits, DIGITS, flavours)
    yield from section(many, MATRIX, flavours)
    yield "## Which batch\n"
    yield "Time per image over that at batch 1.\n"
    yield from section(old, "the published figures, Raspberry Pi 3", batches)
    yield from section(digits, DIGITS, batches)
    yield from section(many, MATRIX, batches)
    yield "## What NNPACK gives\n"
    yield "Times as fast as the same layers by im2col and OpenBLAS, and as linnet's own choice.\n"
    yield from section(digits, DIGITS, nnpack)
    yield from section(many, MATRIX, nnpack)
    yield "## What int8 gives\n"
    yield "[Every layer in integers that can be](compare.md#in-int8), against the same runtime.\n"
    yield from section(digits, DIGITS, int8)
    yield "## What pruning gives\n"
    yield "[Smaller networks](smaller.md) has its figures and the commands that make them.\n"
    yield "## Which conclusions of 2017 still hold\n"
    yield from section([*old, *digits], f"the published figures, and {DIGITS}", conclusions)


def section(
    runs: Sequence[Any], command: str, lines: Callable[[Sequence[Any]], list[list[str]]]
) -> Iterator[str]:
    """A table of the runs, and how it is made again."""
    table = lines(runs) if runs else []
    if len(table) < 2:
        yield f"{command}: no result of it is here yet.\n"
        return
    machines = dict.fromkeys(
        f"{run['machine']['cpu']}, {count(run['protocol']['threads'], 'thread')}" for run in runs
    )
    yield f"{command} ({'; '.join(machines)}):\n"
    head, *rows = table
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def times(runs: Sequence[Any]) -> Times:
    found: Times = {}
    for run in runs:
        for row in run["rows"]:
            for cell in row["cells"]:
                if value := report.figure(cell):
                    key = matrix.model_name(run), row["name"], cell["batch"]
                    found[(*key, run["protocol"]["threads"])] = value
    return found


def ratio(known: Times, over: str, under: str, **at: int) -> list[float]:
    """Of every model, batch and number of threads that both rows have."""
    found = []
    for (model, row, batch, threads), value in known.items():
        other = known.get((model, under, batch, threads))
        wanted = {"batch": batch, "threads": threads}
        if row == over and other and all(wanted[name] == value_ for name, value_ in at.items()):
            found.append(value / other)
    return found


def mean(values: Sequence[float]) -> str:
    """The geometric mean of ratios."""
    return f"{math.exp(sum(map(math.log, values)) / len(values)):.2f}" if values else "-"


def which_blas(runs: Sequence[Any]) -> list[list[str]]:
    """Of each framework by back-end: how many times its fastest, the mean over all cells."""
    known, names = times(runs), list(backends())
    lines = [["times the framework's fastest", *names]]
    for framework in ("caffe", "mxnet", "linnet"):
        best: dict[tuple[str, int, int], float] = {}
        for (model, row, batch, threads), value in known.items():
            if row in {f"{framework}-{name}" for name in names}:
                key = model, batch, threads
                best[key] = min(value, best.get(key, math.inf))
        cells = [
            mean(
                [
                    known[model, f"{framework}-{name}", batch, threads] / least
                    for (model, batch, threads), least in best.items()
                    if (model, f"{framework}-{name}", batch, threads) in known
                ]
            )
            for name in names
        ]
        lines.append([framework, *cells])
    return lines if known else []


def flavours(runs: Sequence[Any]) -> list[list[str]]:
    known = times(runs)
    sizes = sorted({batch for _, _, batch, _ in known})
    lines = [["dl / master at batch", *map(str, sizes)]]
    for framework in ("caffe", "mxnet", "linnet"):
        pair = f"{framework}-openblas-dl", f"{framework}-openblas"
        cells = [mean(ratio(known, *pair, batch=batch)) for batch in sizes]
        lines += [[framework, *cells]] if set(cells) != {"-"} else []
    return lines


def batches(runs: Sequence[Any]) -> list[list[str]]:
    known = times(runs)
    sizes = sorted({batch for _, _, batch, _ in known})
    lines = [["", *map(str, sizes)]]
    for name in dict.fromkeys(row for _, row, _, _ in known):
        one = {(m, t): v for (m, row, b, t), v in known.items() if row == name and b == 1}
        cells = [
            mean(
                [
                    value / one[model, threads]
                    for (model, row, batch, threads), value in known.items()
                    if row == name and batch == size and (model, threads) in one
                ]
            )
            for size in sizes
        ]
        lines.append([name, *cells])
    return lines


def nnpack(runs: Sequence[Any]) -> list[list[str]]:
    known = times(runs)
    lines = [["model", "over im2col", "over linnet"]]
    for model in dict.fromkeys(model for model, *_ in known):
        own = {key: value for key, value in known.items() if key[0] == model}
        pairs = [ratio(own, other, "linnet-nnpack") for other in ("linnet-openblas", "linnet")]
        lines += [[model, *map(mean, pairs)]] if any(pairs) else []
    return lines


def int8(runs: Sequence[Any]) -> list[list[str]]:
    known = times(runs)
    lines = [["", "times as fast", "accuracy, float32", "accuracy, int8"]]
    rows = {row["name"]: row for run in runs for row in run["rows"]}
    for name, row in rows.items():
        if row.get("int8") and (other := rows.get(name[: -len("-int8")])):
            shares = [report.percent(r.get("accuracy")) for r in (other, row)]
            lines.append([name, mean(ratio(known, other["name"], name)), *shares])
    return lines


# What was concluded, and the rows and batch of which the first was faster than the second.
CLAIMS = [
    ("Caffe is faster on the branch for deep learning", "caffe-openblas-dl", "caffe-openblas", 1),
    ("so is MXNet", "mxnet-openblas-dl", "mxnet-openblas", 1),
    ("Caffe is faster than TensorFlow for one image", "caffe-openblas-dl", "tf-optimized", 1),
    (
        "TensorFlow with vectors is faster for many",
        "tf-optimized",
        "caffe-openblas-dl",
        64,
    ),
    ("TensorFlow is faster in its optimized build", "tf-optimized", "tf-vanilla", 1),
    ("MXNet on OpenBLAS is slower than Caffe", "caffe-openblas", "mxnet-openblas", 1),
]
RENAMED = {"tf-optimized": "tf-neon-vfpv4"}  # what a row stands for in the study


def conclusions(runs: Sequence[Any]) -> list[list[str]]:
    before, now = times(runs[:1]), times(runs[1:])
    lines = [["conclusion", "batch", "2017", "today", ""]]
    for text, fast, slow, batch in CLAIMS:
        old = ratio(before, RENAMED.get(slow, slow), RENAMED.get(fast, fast), batch=batch)
        new = ratio(now, slow, fast, batch=batch)
        if old and new:
            holds = "holds" if new[0] > 1.05 else "undecided" if new[0] > 0.95 else "no longer"
            lines.append([text, str(batch), f"{mean(old)}x", f"{mean(new)}x", holds])
    return lines


if __name__ == "__main__":
    sys.exit(main())
