"""Estimates what watching a yard costs a Raspberry Pi 3B+, from what the emulator executes.

Gate, tracker and all of Python around them are counted, 0.7 cycles an instruction, as estimate.py
counts what it does not judge; the shipped detector's network is that script's own estimate, for
each window that was looked at. What the camera's driver or a decoder does comes on top. Right
within 30 %, measured on nothing: no board was at hand.

With --python, in cycles, what an instruction takes outside of the network: an interpreter's code
fits no small core's caches, and may well take twice as long as is said above.

Exit status 1 if there are fewer than 12 pictures a second while something moves, or if the gate
takes more than 15 % of one core at the 15 pictures a second that a camera is asked for. The
arguments are those make/arm.mk gives.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import count
import estimate
from machine_code import disassemble

BOARD = estimate.board_of("Pi 3B+")
RATE = 15.0  # pictures a second of a camera
LEAST, MOST = 12.0, 0.15  # pictures a second while something moves; of a core when nothing does


def main() -> int:
    parser = count.emulator_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the detector, canonical")
    parser.add_argument("--venv", type=Path, required=True, help="where linnet is installed")
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=150)
    parser.add_argument("--python", type=float, default=estimate.OTHER, help="cycles")
    args = parser.parse_args()

    _, *layers = estimate.run(args, disassemble(args.program), 1)
    network = {n: estimate.time_of(layers, 1, n, BOARD).sum for n in (1, 4)}
    script, venv = Path(__file__).with_name("watched.py"), args.venv.resolve()
    python = next((args.sysroot.resolve() / "usr" / "bin").glob("python3.*[0-9]"))
    command = ["-0", venv / "bin" / "python", python, script, args.video, args.pictures, args.marks]
    lines, regions = count.run(args, command)
    if len(lines) != len(regions):
        raise RuntimeError(f"{len(lines)} lines for {len(regions)} regions")

    spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (picture, stage, windows), counts in zip(lines, regions):
        spent[picture][stage] += counts["all"]
        spent[picture]["windows"] += int(windows)
    all_ = list(spent.values())[1:]  # the first has no background yet
    quiet = [picture for picture in all_ if not picture["windows"]]
    busy = [picture for picture in all_ if picture["windows"]]
    if not quiet or not busy:
        raise RuntimeError(f"{args.video}: {len(quiet)} pictures without motion, {len(busy)} with")

    each = 1e3 * args.python / (0.9 * BOARD.clock)  # milliseconds an instruction, on one thread
    print(f"{'':24}{'pictures':>9}{'windows':>9}{'gate':>9}{'look':>9}{'network':>9}")
    print(f"{'':42}{'million instructions of a picture':>27}")
    for name, some in (("nothing moves", quiet), ("something moves", busy)):
        means = [fmean(p[stage] for p in some) for stage in ("gate", "look", "network")]
        print(
            f"{name:24}{len(some):9}{fmean(p['windows'] for p in some):9.2f}"
            + "".join(f"{mean / 1e6:9.2f}" for mean in means)
        )
    share = RATE * fmean(each * (p["gate"] + p["look"]) for p in quiet) / 1e3
    print(f"\nestimate for a Raspberry Pi 3B+ at {BOARD.clock / 1e9:g} GHz, +-30 %:")
    print(f"  nothing moves: {share:.1%} of one core at {RATE:g} pictures a second")
    rates = {}
    for threads, of_network in network.items():
        took = [each * (p["gate"] + p["look"]) + of_network * p["windows"] for p in busy]
        rates[threads] = 1e3 / fmean(took)
        print(
            f"  something moves, {threads} threads: {rates[threads]:.1f} pictures a second, "
            f"{fmean(took):.1f} ms each, {of_network:.1f} of them a window's network"
        )
    met = share <= MOST and rates[4] >= LEAST
    print(f"at most {MOST:.0%} and at least {LEAST:g}: {'yes' if met else 'NO'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
