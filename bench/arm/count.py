"""Counts the instructions that linnet and its peers execute per image, under the emulator.

One thread, batch 1. Counts say how much work the compiled code does, not how long it takes: an
in-order core pairs some instructions and waits for others. They are the same on every run and every
machine. The arguments are those make/arm.mk gives.

With a baseline, exit status 1 if the instructions or multiply-accumulates of the network or of a
layer exceed it by more than 3 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "src" / "linnet" / "models" / "digits.onnx"
ALGORITHMS = ("direct", "im2col-openblas", "auto")
LIMIT = 1.03

Counts = dict[str, dict[str, int]]  # by row, by class of instruction


def emulator_parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that `run` needs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--emulator", required=True, help="command line without -plugin and -L")
    parser.add_argument("--counter", type=Path, required=True)
    parser.add_argument("--sysroot", type=Path, required=True)
    parser.add_argument("--program", type=Path, required=True)
    return parser


def run(
    args: argparse.Namespace, command: list[object], blocks: str = ""
) -> tuple[list[list[str]], list[dict[str, int]]]:
    """A program under the emulator: its tab-separated lines, and the counts of its regions."""
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as file:
        plugin = f"{args.counter.resolve()},out={file.name}"
        if blocks:
            plugin += f",blocks={blocks}"
        emulator = [*shlex.split(args.emulator), "-plugin", plugin, "-L", str(args.sysroot)]
        # Whatever was tuned on this machine must not decide here.
        variables = {**os.environ, "LINNET_WISDOM": os.devnull}
        done = subprocess.run(
            [*emulator, *map(str, command)],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
        regions = [
            dict((k, int(v)) for k, v in (f.split("=") for f in line.split())) for line in file
        ]
    return [line.split("\t") for line in done.stdout.splitlines() if "\t" in line], regions


def count_linnet(args: argparse.Namespace) -> Counts:
    rows: Counts = {}
    for algorithm in ALGORITHMS:
        lines, regions = run(args, [args.program.resolve(), MODEL, algorithm, 1])
        if len(lines) != len(regions):
            raise RuntimeError(f"{algorithm}: {len(lines)} lines for {len(regions)} regions")
        for (name, used, *_), counts in zip(lines, regions):
            rows[
                f"linnet {algorithm}" if name == "whole" else f"  {algorithm} / {name} ({used})"
            ] = counts
    return rows


def count_peers(args: argparse.Namespace) -> Counts:
    rows: Counts = {}
    venv, marks, *names = args.peers
    python = next((args.sysroot / "usr" / "bin").glob("python3.*[0-9]"))
    for name in names:
        command = [
            "-0",
            Path(venv) / "bin" / "python",
            python,
            Path(__file__).with_name("peer.py"),
            name,
            MODEL,
            marks,
        ]
        _, regions = run(args, command)
        rows[name] = regions[-1]
    return rows


def show(rows: Counts) -> None:
    kinds = list(next(iter(rows.values())))
    print(f"{'million instructions per image':58}" + "".join(f"{kind:>8}" for kind in kinds))
    for name, counts in rows.items():
        print(f"{name[:57]:58}" + "".join(f"{n / 1e6:8.2f}" for n in counts.values()))


def regressions(rows: Counts, baseline: Counts) -> list[str]:
    worse = [f"{name}: not in the baseline" for name in rows if name not in baseline]
    worse += [f"{name}: no longer counted" for name in baseline if name not in rows]
    for name in rows.keys() & baseline.keys():
        for kind in ("all", "mac"):
            now, before = rows[name][kind], baseline[name][kind]
            if (
                now > LIMIT * before + 1000
            ):  # the thousand: calls and loops of layers that do next to nothing
                worse.append(f"{name}: {now:,} ({kind}), was {before:,}")
    return worse


def main() -> int:
    parser = emulator_parser(__doc__)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--peers", nargs="+", metavar="VENV MARKS.so NAME")
    args = parser.parse_args()
    rows = count_linnet(args)
    show(rows | (count_peers(args) if args.peers else {}))
    if args.update:
        args.baseline.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    elif args.baseline:
        worse = regressions(rows, json.loads(args.baseline.read_text(encoding="utf-8")))
        print(
            "\n".join(
                ["more than the baseline allows:", *worse]
                if worse
                else ["within 3 % of the baseline"]
            )
        )
        return 1 if worse else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
