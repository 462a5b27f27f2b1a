"""Time every algorithm on layers, one by one, and check what the planner would have picked.

    python bench/layers/bench_layers.py --threads 1,4 --isa avx2,avx512
    python bench/layers/bench_layers.py --problem "matmul f32 n1 c512h1w1 k10 nhwc t1" --json o.json

A problem's layouts are those of the data around the layer; for an algorithm that wants others the
changes of layout are run and counted too. The candidates of a problem run in turns, so that what
else the machine does hits all of them, with the caches as in a network: the input near, the weights
far, since the other layers have run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from linnet import _core

HERE = Path(__file__).parent
SLOW = ("direct-ref",)  # correct, but longer to time than all others together
DROP = 1.5  # a candidate slower than the best by more is timed only a few rounds
FEW = 5


class Candidate:
    """One algorithm for a problem, with the changes of layout it needs around it."""

    def __init__(self, problem: str, layouts: tuple[str, str], algorithm: str, isa: str) -> None:
        p = _core.parse_problem(problem)
        head, _, threads = problem.rsplit(" ", 2)
        n, inner, outer = f"n{p['n']}", _dims(p["in"]), _dims(p["out"])
        steps = [(f"{head} {_join(*layouts)} {threads}", algorithm)]
        if layouts[0] != p["in_layout"]:
            key = f"move f32 {n} {inner} {p['in_layout']}>{layouts[0]} {threads}"
            steps.insert(0, (key, "reorder"))
        if layouts[1] != p["out_layout"]:
            steps.append(
                (f"move f32 {n} {outer} {layouts[1]}>{p['out_layout']} {threads}", "reorder")
            )
        self.algorithm = algorithm
        self.layouts = _join(*layouts)
        self.estimate = sum(_core.estimate(key, name, isa) for key, name in steps)
        self.times: list[float] = []
        self._runs = [_runner(key, name, isa) for key, name in steps]

    def run(self) -> None:
        """Takes one time, after a run not counted: the weights of the candidates that ran in
        between drive one's own further away than a network would."""
        for run in self._runs:
            run()
        self.times.append(sum(run() for run in self._runs))

    @property
    def seconds(self) -> float:
        return median(self.times)


def _dims(dims: tuple[int, int, int]) -> str:
    return "c{}h{}w{}".format(*dims)


def _join(before: str, after: str) -> str:
    return before if before == after else f"{before}>{after}"


def _made_up(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _weights(p: dict[str, Any]) -> tuple[Any, Any]:
    """Weight and bias of a problem, None for one that has none."""
    if p["kind"] not in ("conv", "matmul"):
        return None, None
    if p["kind"] == "conv":
        weight = _made_up(p["out"][0], p["in"][0] // p["group"], *p["kernel"])
    else:
        weight = _made_up(p["out"][0], math.prod(p["in"]))
    return weight / np.float32(math.sqrt(weight[0].size)), _made_up(p["out"][0])


def _runner(key: str, algorithm: str, isa: str) -> Any:
    """A function that runs one layer on made-up operands and returns its seconds."""
    layer = _core.Layer(key, algorithm, isa, *_weights(_core.parse_problem(key)))
    x, y = _made_up(layer.x_count), np.zeros(layer.y_count, np.float32)
    operand = _made_up(layer.operand_count) if layer.operand_count else None
    return lambda: layer.run(x, operand, y, settle=True)[0]


def candidates(problem: str, isa: str, names: list[str]) -> list[Candidate]:
    """For each algorithm the one with the fewest changes of layout."""
    p = _core.parse_problem(problem)
    head, _, threads = problem.rsplit(" ", 2)
    given, wanted = p["in_layout"], p["out_layout"]
    options = [(a, b) for a in ("nchw", "nhwc") for b in ("nchw", "nhwc")]
    options.sort(key=lambda o: (o[0] != given) + (o[1] != wanted))
    found = []
    for name in names:
        for layouts in options:
            if not _core.refusal(f"{head} {_join(*layouts)} {threads}", name, isa):
                found.append(Candidate(problem, layouts, name, isa))
                break
    return found


def measure(problem: str, isa: str, names: list[str], seconds: float, tune: bool) -> dict[str, Any]:
    """Times of all candidates of a problem, within about `seconds`, and what is picked: by the
    estimate, and by measuring as `linnet tune` does."""
    found = candidates(problem, isa, names)
    if not found:
        raise ValueError(f"no algorithm takes {problem}")
    for c in found:
        c.run()
        c.times.clear()
    end = time.perf_counter() + seconds
    running, rounds = list(found), 0
    while rounds < FEW or time.perf_counter() < end:
        for c in running:
            c.run()
        rounds += 1
        if rounds >= FEW:
            least = min(c.seconds for c in found)
            running = [c for c in running if c.seconds <= DROP * least]
    best = min(found, key=lambda c: c.seconds)
    picked = min(found, key=lambda c: c.estimate)
    tuned = picked
    if tune:
        name, _ = _core.choose(problem, isa, "full", *_weights(_core.parse_problem(problem)))
        tuned = next(c for c in found if c.algorithm == name)
    macs = _core.parse_problem(problem)["macs"]
    return {
        "problem": problem,
        "isa": isa,
        "best": best.algorithm,
        "picked": picked.algorithm,
        "ratio": picked.seconds / best.seconds,
        "tuned": tuned.algorithm,
        "tuned_ratio": tuned.seconds / best.seconds,
        "candidates": [
            {
                "algorithm": c.algorithm,
                "layouts": c.layouts,
                "seconds": c.seconds,
                "least": min(c.times),
                "rounds": len(c.times),
                "gflops": 2e-9 * macs / c.seconds,
                "estimate": c.estimate,
            }
            for c in sorted(found, key=lambda c: c.seconds)
        ],
    }


def show(result: dict[str, Any]) -> None:
    wrong = "" if result["ratio"] == 1 else f"  x{result['ratio']:.2f}"
    if result["tuned"] != result["picked"]:
        wrong += f"  tuned: {result['tuned']} x{result['tuned_ratio']:.2f}"
    print(f"{result['problem']}  {result['isa']}{wrong}")
    for c in result["candidates"]:
        mark = "*" if c["algorithm"] == result["picked"] else " "
        print(
            f"  {mark} {c['algorithm']:16} {c['layouts']:10} {c['seconds'] * 1e6:10.1f} us "
            f"{c['gflops']:8.1f} GFLOP/s   estimate {c['estimate'] * 1e6:10.1f} us "
            f"(x{c['estimate'] / c['seconds']:.2f})"
        )
    sys.stdout.flush()


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """How well the estimate picks: the slowdown against the fastest algorithm of every layer."""
    ratios = sorted(r["ratio"] for r in results)
    picked = sum(r["candidates"][0]["seconds"] * r["ratio"] for r in results)
    return {
        "layers": len(results),
        "best_picked": sum(r == 1 for r in ratios),
        "within_10_percent": sum(r <= 1.1 for r in ratios),
        "mean_ratio": math.exp(sum(map(math.log, ratios)) / len(ratios)),
        "worst_ratio": ratios[-1],
        "worst_tuned": max(r["tuned_ratio"] for r in results),
        "total_ratio": picked / sum(r["candidates"][0]["seconds"] for r in results),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--problems", type=Path, default=HERE / "problems.txt", metavar="FILE")
    parser.add_argument("--problem", action="append", metavar="KEY", help="instead of a file")
    parser.add_argument("--threads", metavar="N,N", help="instead of the problems' own")
    parser.add_argument("--batches", metavar="N,N", help="instead of the problems' own")
    parser.add_argument("--isa", metavar="ISA,ISA", default=_core.default_isa())
    parser.add_argument("--algorithms", metavar="A,A", help="default: all but direct-ref")
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="for each problem (default: 0.3)"
    )
    parser.add_argument("--tune", action="store_true", help="also see what measuring picks")
    parser.add_argument("--json", metavar="FILE", help="write the results, - for standard output")
    args = parser.parse_args()

    keys = args.problem or [
        line for line in args.problems.read_text().splitlines() if line and line[0] != "#"
    ]
    for field, values in (("t", args.threads), ("n", args.batches)):
        if values:
            keys = [_with(key, field, value) for key in keys for value in values.split(",")]
    names = args.algorithms.split(",") if args.algorithms else None
    names = names or [a for a in _core.algorithms() if a not in SLOW]
    results = []
    for isa in args.isa.split(","):
        for key in dict.fromkeys(keys):
            results.append(measure(key, isa, names, args.seconds, args.tune))
            if args.json != "-":
                show(results[-1])
    document = {"summary": summary(results), "results": results}
    if args.json:
        text = json.dumps(document, indent=1)
        if args.json == "-":
            print(text)
        else:
            Path(args.json).write_text(text + "\n")
    if args.json != "-":
        print("  ".join(f"{name} {value:.4g}" for name, value in document["summary"].items()))


def _with(key: str, field: str, value: str) -> str:
    """The key with another batch (n) or thread number (t)."""
    words = key.split(" ")
    words[-1 if field == "t" else 2] = field + value
    return " ".join(words)


if __name__ == "__main__":
    main()
