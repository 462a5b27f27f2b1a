"""Estimates linnet's time on a Raspberry Pi 3 from what it executes under the emulator.

The counting emulator says how often every piece of code runs. Inner loops, and the kernels of
schedule.py as a whole, are disassembled from the program and judged by a53sim.py: cycles of a turn
times turns. All other instructions are taken to cost 0.7 cycles. The time for an image is

    (judged cycles / 0.93 + 0.7 * other instructions) / (threads * 0.9 * clock),

and not less than the bytes of packed weights and activations over the memory's bandwidth, unless
all of them stay in the 512 KB of L2. Fully connected layers add both times at batch 1, since they
compute while they stream.

How far off that may be: silicon.py compares the model of the core with public measurements of a
real one, of which nine in ten are within 14 %; and 8 % for the clock of that board, which is not
told. Whether memory is reached while something is computed, and at which bandwidth, no such table
tells, and no board was at hand. So the second figure is for no overlap at all and 1.2 GB/s: that is
what XNNPACK's figures for a Pi 3B+ come to, which take twice the time of their arithmetic.

With --model, that of another network, a canonical ONNX file, on a --board and without bounds:
`make estimate-armhf MODEL=... BOARD="Pi 3B+"`. --json writes the parts that published.py reads.

With --library, the judged kernels must be in that file, byte for byte, too. Exit status 1 if a loop
or the network is slower than its bound. The other arguments are those make/arm.mk gives.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import a53sim
import count
from machine_code import A64, Block, disassemble, instruction_set, missing_of

THREAD_SHARE, LOOP_SHARE, OTHER = 0.9, 0.93, 0.7
L2 = 512 * 1024
UNCERTAINTY = 0.25
STUDY = count.ROOT / "src" / "linnet" / "compare" / "study.json"


class Board(NamedTuple):
    """One with four Cortex-A53 and LPDDR2 memory."""

    name: str
    clock: float  # Hz
    bandwidth: float  # bytes a second, of all cores together
    least_bandwidth: float


BOARDS = [
    Board("Pi 3B", 1.2e9, 2e9, 1.2e9),
    Board("Pi 3B+", 1.4e9, 2e9, 1.2e9),
    Board("Pi Zero 2 W", 1.0e9, 2e9, 1.2e9),
]

# Bounds: multiply-accumulates per cycle at least, cycles of a turn at most, and in how many times
# those that its vector instructions issue in; by batch, million cycles for an image and
# milliseconds with four threads at most.
RATES = {"linnet_a32_product_2": 2.75, "linnet_a32_direct_6": 2.8}
RATES |= {"linnet_a64_product_4": 2.75, "linnet_a64_direct_6": 2.75}
TURNS = {"linnet_a32_winograd_input": 75.0, "linnet_a64_winograd_input": 75.0}
ISSUED = {"linnet_a64_depthwise_3_1_8": 1.15, "linnet_a64_depthwise_3_2_8": 1.16}
NETWORK = {1: 10.5, 16: 8.5}
MILLISECONDS = {1: 4.0, 16: 2.6}


def board_of(text: str) -> Board:
    """The board of a name, such as "Pi 3B+", "3b+" or "raspberry pi zero 2 w"."""
    wanted = text.lower().replace(" ", "").removeprefix("raspberry").removeprefix("pi")
    for board in BOARDS:
        if wanted == board.name.lower().replace(" ", "").removeprefix("pi"):
            return board
    names = ", ".join(board.name for board in BOARDS)
    raise argparse.ArgumentTypeError(f"no board {text!r}, of {names}")


@dataclass
class Layer:
    """One line of the report: what ran, and how long it would take."""

    name: str
    algorithm: str
    problem: str
    bytes: float
    judged: float = 0.0
    other: float = 0.0
    alike: int = 1  # so many layers together

    @property
    def sum(self) -> float:
        return self.judged + OTHER * self.other

    def seconds(self, threads: int, board: Board) -> float:
        cycles = self.judged / LOOP_SHARE + OTHER * self.other
        return cycles / (threads * THREAD_SHARE * board.clock)


def run(
    args: argparse.Namespace, blocks: list[Block], batch: int, *, layers_alone: bool = False
) -> list[Layer]:
    """The network as a whole, then its layers, per image; or layers alone, alike ones as one."""
    model = args.model.resolve() if args.model else count.MODEL
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as file:
        command = [args.program.resolve(), model, "auto", batch]
        command += ["layers"] if layers_alone else []
        lines, regions = count.run(args, command, blocks=file.name)
        ran = [r.splitlines() for r in file.read().split("\n\n") if r.strip()]
    places = [(address, block) for block in blocks for address in block.addresses]
    number = {address: i for i, (address, _) in enumerate(places)}
    layers = []
    for (name, algorithm, problem, weights, activations, alike), region, pieces in zip(
        lines, regions, ran
    ):
        share = int(alike) / batch
        layer = Layer(name, algorithm, problem, (float(weights) + float(activations)) * share)
        judged_instructions = 0
        for piece in pieces:
            start, size, times = piece.split()
            if int(start, 16) not in number:
                continue  # a library
            first = number[int(start, 16)]
            for address, block in places[first : first + int(size)]:
                if block.judged:
                    judged_instructions += int(times)
                    if address == block.addresses[0]:
                        layer.judged += int(times) * block.cycles * share
        layer.other = (region["all"] - judged_instructions) * share
        layer.alike = int(alike)
        layers.append(layer)
    return layers


class Time(NamedTuple):
    """Of an image, in milliseconds."""

    arithmetic: float  # of all layers but those that stream their weights
    memory: float  # to bring what they read and write; 0 if it stays in the cache
    connected: float  # fully connected layers at batch 1: both, one after the other
    most: float  # without overlap, at the least bandwidth

    @property
    def sum(self) -> float:
        return max(self.arithmetic, self.memory) + self.connected

    @property
    def bound(self) -> str:
        streams = self.memory > self.arithmetic or self.connected > self.sum / 2
        return "memory" if streams else "arithmetic"


def time_of(layers: list[Layer], batch: int, threads: int, board: Board) -> Time:
    """The time for an image. Layers have run between two uses of the same weights."""
    total = sum(layer.bytes for layer in layers) * batch
    seconds = streamed = connected = slow = 0.0
    for layer in layers:
        taken, brought = layer.seconds(threads, board), layer.bytes / board.bandwidth
        if layer.problem.startswith("matmul ") and batch == 1:
            connected += taken + brought
        else:
            seconds += taken
            streamed += brought
        slow += taken + (layer.bytes / board.least_bandwidth if total > L2 else 0.0)
    streamed *= total > L2
    return Time(1e3 * seconds, 1e3 * streamed, 1e3 * connected, 1e3 * max(slow, connected))


def check_loops(blocks: list[Block]) -> list[str]:
    """Prints the loops that have bounds; what is wrong with them."""
    wrong = []
    for block in blocks:
        if not block.loops or not block.function.startswith(block.isa.kernels):
            continue
        if any(map(block.isa.saves.match, block.lines)):
            wrong.append(f"{block.function}: a loop has instructions that move many registers")
        macs = a53sim.macs(block.timings)
        rate = macs / block.cycles
        least, most = RATES.get(block.function), TURNS.get(block.function)
        if (times := ISSUED.get(block.function)) and macs >= 3 * 3 * 8 * 4:
            issued = sum(t.cycles for t in block.timings if t.kind in ("Q", "vl", "vs"))
            most = times * issued
        # Of the product's loops the widest: those for what is left over cannot be as fast.
        wide = "_product_" not in block.function or macs >= 96
        if most is not None:
            print(f"{block.function:34} {block.cycles:6.1f} cycles a turn (at most {most:.0f})")
            if block.cycles > most:
                wrong.append(f"{block.function}: {block.cycles:.1f} cycles")
        elif least is not None and wide:
            print(f"{block.function:34} {rate:6.2f} MAC/cycle (at least {least})")
            if rate < least:
                wrong.append(f"{block.function}: {rate:.2f} MAC/cycle")
    return wrong


def estimate_model(args: argparse.Namespace, blocks: list[Block]) -> None:
    """The layers of a network of one's own, and its time."""
    layers = run(args, blocks, 1, layers_alone=True)
    print_layers(1, layers)
    board: Board = args.board
    times = {threads: time_of(layers, 1, threads, board) for threads in (1, 4)}
    print(
        f"\nestimate for a Raspberry {board.name} at {board.clock / 1e9:g} GHz, "
        f"{instruction_set(args.program).name}, +-{UNCERTAINTY:.0%}:"
    )
    for threads, time in times.items():
        print(
            f"  {threads} threads {time.sum:.1f} ms, bound by {time.bound} (arithmetic "
            f"{time.arithmetic:.1f}, memory {time.memory:.1f}, fully connected "
            f"{time.connected:.1f}); {time.most:.1f} if nothing overlaps"
        )
    if args.json:
        args.json.write_text(json.dumps([asdict(layer) for layer in layers]), encoding="utf-8")


def estimate_study(args: argparse.Namespace, blocks: list[Block]) -> list[str]:
    """The study's network, and what of it is out of bounds."""
    wrong, estimates = [], {}
    bounded = instruction_set(args.program) is not A64
    for batch, bound in NETWORK.items():
        whole, *layers = run(args, blocks, batch)
        print_layers(batch, [*layers, whole])
        if bounded:
            print(f"at most {bound}: {'yes' if whole.sum <= bound * 1e6 else 'NO'}")
        if bounded and whole.sum > bound * 1e6:
            wrong.append(f"batch {batch}: {whole.sum / 1e6:.2f} million cycles")
        estimates[batch] = {n: time_of(layers, batch, n, BOARDS[0]).sum for n in (1, 4)}
        if estimates[batch][4] > MILLISECONDS[batch]:
            wrong.append(f"batch {batch}: {estimates[batch][4]:.1f} ms, not {MILLISECONDS[batch]}")
    print(f"\nestimate for a Raspberry Pi 3B at 1.2 GHz, ms per image, +-{UNCERTAINTY:.0%}:")
    for batch, by_threads in estimates.items():
        print(
            f"  batch {batch:2}: "
            + ", ".join(f"{t} threads {ms:.1f}" for t, ms in by_threads.items())
        )
    print_study(list(estimates))
    return wrong


def main() -> int:
    parser = count.emulator_parser(__doc__)
    parser.add_argument("--library", type=Path, help="a library as shipped")
    parser.add_argument("--model", type=Path, help="another network than the study's")
    parser.add_argument("--board", type=board_of, default=BOARDS[0], help="for --model")
    parser.add_argument("--json", type=Path, help="for --model: its layers")
    args = parser.parse_args()

    blocks = disassemble(args.program)
    if args.model:
        estimate_model(args, blocks)
        return 0
    wrong = check_loops(blocks)
    if args.library:
        missing = missing_of(blocks, args.program, args.library)
        wrong += [f"{name}: not in {args.library.name} as judged" for name in missing]
    wrong += estimate_study(args, blocks)
    print("\n".join(["", "not within bounds:", *wrong]) if wrong else "\nall within bounds")
    return 1 if wrong else 0


def print_layers(batch: int, layers: list[Layer]) -> None:
    print(f"\nbatch {batch}, one thread, million per image")
    print(f"{'':42}{'judged cycles':>15}{'other instr.':>14}{'sum':>8}{'KB':>8}")
    for layer in layers:
        print(
            f"{f'{layer.alike} x ' * (layer.alike > 1) + layer.name:.24} ".ljust(25)
            + f"{layer.algorithm[:16]:17}{layer.judged / 1e6:15.2f}"
            f"{layer.other / 1e6:14.2f}{layer.sum / 1e6:8.2f}{layer.bytes / 1024:8.0f}"
        )


def print_study(batches: list[int]) -> None:
    (study,) = json.loads(STUDY.read_text(encoding="utf-8"))["runs"]
    print(f"{study['reference']}, four threads of a {study['machine']['cpu']}, ms per image:")
    for row in study["rows"]:
        cells = {cell["batch"]: cell.get("mean", float("nan")) for cell in row["cells"]}
        times = "".join(f"  batch {batch:2}: {cells[batch]:6.1f}" for batch in batches)
        print(f"  {row['library']:48}{times}")


if __name__ == "__main__":
    sys.exit(main())
