"""Estimates linnet's time on a Raspberry Pi 3B from what it executes under the emulator.

The counting emulator says how often every piece of code runs. Inner loops, and the kernels of
schedule.py as a whole, are disassembled from the program and judged by a53sim.py: cycles of a turn
times turns. All other instructions are taken to cost 0.7 cycles. The time for an image is

    (judged cycles / 0.93 + 0.7 * other instructions) / (threads * 0.9 * 1.2 GHz),

and not less than the bytes of packed weights and activations over 2 GB/s, unless all of them stay
in the 512 KB of L2. Fully connected layers add both times at batch 1, since they compute while they
stream. All this is right within 30 %, measured on nothing: no board was at hand.

With --model, that of another network, a canonical ONNX file, at --clock GHz and without bounds:
`make estimate-armhf MODEL=... CLOCK=1.4`.

With --library, the judged kernels must be in that file, byte for byte, too. Exit status 1 if a loop
or the network is slower than its bound. The other arguments are those make/arm.mk gives.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import a53sim
import count

CLOCK, THREAD_SHARE, LOOP_SHARE, OTHER = 1.2e9, 0.9, 0.93, 0.7
L2, BANDWIDTH = 512 * 1024, 2e9
KERNELS = "linnet_a32_"
STUDY = count.ROOT / "src" / "linnet" / "compare" / "study.json"

# Bounds: multiply-accumulates per cycle at least, cycles of a turn at most; by batch, million
# cycles for an image and milliseconds with four threads at most.
RATES = {"linnet_a32_product_2": 2.75, "linnet_a32_direct_6": 2.8}
TURNS = {"linnet_a32_winograd_input": 75.0}
NETWORK = {1: 10.5, 16: 8.5}
MILLISECONDS = {1: 4.0, 16: 2.6}

# Others' figures for a Pi 3B+ of 1.4 GHz, four threads, in ms, from their own publications.
PUBLIC = """\
others on a Raspberry Pi 3B+ (1.4 GHz), as they publish, ms:
  XNNPACK, 32-bit   MobileNet v1 114, v2 79
  ncnn              SqueezeNet 85, MobileNet v1 109, v2 112, GoogLeNet 224, ResNet-18 272, \
AlexNet 159, ResNet-50 587"""


@dataclass
class Block:
    """Straight code, with one way in and one way out."""

    function: str
    addresses: list[int]
    lines: list[str]
    loops: bool  # it ends in a branch to its own beginning
    cycles: float = 0.0  # of one turn, if it is judged

    @property
    def judged(self) -> bool:
        return self.function.startswith(KERNELS) or (self.loops and any_vector(self.lines))


def any_vector(lines: list[str]) -> bool:
    return any(line.startswith("v") for line in lines)


def known(line: str) -> a53sim.Timing:
    """Timing of any instruction: what the model has no rule for takes a cycle."""
    line = re.sub(
        r"^(ldr|add|sub|mov|vldr|vmov)(eq|ne|lt|le|gt|ge|cs|cc|hi|ls|mi|pl)\b", r"\1", line
    )
    try:
        return a53sim.parse(line) or a53sim.Timing("nop")
    except (ValueError, IndexError):
        return a53sim.Timing(line.split()[0])


def disassemble(program: Path) -> list[Block]:
    """The program's code, cut at every branch and target of one."""
    listing = subprocess.run(
        ["arm-linux-gnueabihf-objdump", "-d", "--no-show-raw-insn", str(program)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    code: list[tuple[int, str, str]] = []
    function = ""
    for line in listing.splitlines():
        if m := re.match(r"[0-9a-f]+ <(.*)>:", line):
            function = m[1]
        elif m := re.match(r"\s*([0-9a-f]+):\t(.*)", line):
            code.append((int(m[1], 16), function, m[2].replace("\t", " ")))
    branch = re.compile(r"(?:b|bl|cb)[a-z]*(?:\.[nw])? (?:\w+, )?([0-9a-f]+) <")
    targets = {int(m[1], 16) for _, _, text in code if (m := branch.match(text))}
    blocks: list[Block] = []
    ends = True
    for address, where, text in code:
        if ends or address in targets or blocks[-1].function != where:
            blocks.append(Block(where, [], [], loops=False))
        blocks[-1].addresses.append(address)
        blocks[-1].lines.append(text)
        to = branch.match(text)
        ends = bool(to or re.match(r"bx|pop.*pc|ldr pc|mov pc|tbb|tbh", text))
        if to and int(to[1], 16) == blocks[-1].addresses[0]:
            blocks[-1].loops = True
    for block in blocks:
        if block.judged:
            block.cycles = a53sim.cycles([known(line) for line in block.lines])
    return blocks


@dataclass
class Layer:
    """One line of the report: what ran, and how long it would take."""

    name: str
    algorithm: str
    problem: str
    bytes: float
    judged: float = 0.0
    other: float = 0.0

    @property
    def sum(self) -> float:
        return self.judged + OTHER * self.other

    def seconds(self, threads: int, clock: float) -> float:
        cycles = self.judged / LOOP_SHARE + OTHER * self.other
        return cycles / (threads * THREAD_SHARE * clock)


def run(args: argparse.Namespace, blocks: list[Block], batch: int) -> list[Layer]:
    """The network as a whole, then its layers, per image."""
    model = args.model.resolve() if args.model else count.MODEL
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as file:
        command = [args.program.resolve(), model, "auto", batch]
        lines, regions = count.run(args, command, blocks=file.name)
        ran = [r.splitlines() for r in file.read().split("\n\n") if r.strip()]
    places = [(address, block) for block in blocks for address in block.addresses]
    number = {address: i for i, (address, _) in enumerate(places)}
    layers = []
    for (name, algorithm, problem, weights, activations), region, pieces in zip(
        lines, regions, ran
    ):
        layer = Layer(name, algorithm, problem, (float(weights) + float(activations)) / batch)
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
                        layer.judged += int(times) * block.cycles / batch
        layer.other = (region["all"] - judged_instructions) / batch
        layers.append(layer)
    return layers


def milliseconds(layers: list[Layer], batch: int, threads: int, clock: float = CLOCK) -> float:
    """The time for an image. Layers have run between two uses of the same weights."""
    total = sum(layer.bytes for layer in layers) * batch
    seconds = streamed = connected = 0.0
    for layer in layers:
        if layer.problem.startswith("matmul ") and batch == 1:
            connected += layer.seconds(threads, clock) + layer.bytes / BANDWIDTH
        else:
            seconds += layer.seconds(threads, clock)
            streamed += layer.bytes / BANDWIDTH
    return 1e3 * (max(seconds, streamed if total > L2 else 0.0) + connected)


def check_loops(blocks: list[Block]) -> list[str]:
    """Prints the loops that have bounds; what is wrong with them."""
    wrong = []
    for block in blocks:
        if not block.loops or not block.function.startswith(KERNELS):
            continue
        if any(line.startswith(("vldm", "vstm", "vpush", "vpop")) for line in block.lines):
            wrong.append(f"{block.function}: a loop has VLDM or VSTM")
        code = [known(line) for line in block.lines]
        rate = a53sim.macs(code) / block.cycles
        least, most = RATES.get(block.function), TURNS.get(block.function)
        # Of the product's loops the widest: those for what is left over cannot be as fast.
        wide = block.function != "linnet_a32_product_2" or a53sim.macs(code) >= 96
        if most is not None:
            print(f"{block.function:34} {block.cycles:6.1f} cycles a turn (at most {most:.0f})")
            if block.cycles > most:
                wrong.append(f"{block.function}: {block.cycles:.1f} cycles")
        elif least is not None and wide:
            print(f"{block.function:34} {rate:6.2f} MAC/cycle (at least {least})")
            if rate < least:
                wrong.append(f"{block.function}: {rate:.2f} MAC/cycle")
    return wrong


def check_library(blocks: list[Block], program: Path, library: Path) -> list[str]:
    """The judged kernels are the library's."""
    image, shipped = program.read_bytes(), library.read_bytes()
    headers = subprocess.run(
        ["arm-linux-gnueabihf-objdump", "-h", "-j", ".text", str(program)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    fields = next(line for line in headers.splitlines() if " .text " in line).split()
    shift = int(fields[5], 16) - int(fields[3], 16)
    missing = set()
    for block in blocks:
        if block.function.startswith(KERNELS):
            start, end = block.addresses[0] + shift, block.addresses[-1] + 4 + shift
            if image[start:end] not in shipped:
                missing.add(block.function)
    return [f"{name}: not in {library.name} as judged" for name in sorted(missing)]


def main() -> int:
    parser = count.emulator_parser(__doc__)
    parser.add_argument("--library", type=Path, help="a library as shipped")
    parser.add_argument("--model", type=Path, help="another network than the study's")
    parser.add_argument("--clock", type=float, default=CLOCK / 1e9, help="GHz, for --model")
    args = parser.parse_args()

    blocks = disassemble(args.program)
    if args.model:
        whole, *layers = run(args, blocks, 1)
        print_layers(1, [*layers, whole])
        times = (milliseconds(layers, 1, n, args.clock * 1e9) for n in (1, 4))
        print(f"\nestimate for four Cortex-A53 of {args.clock} GHz, ms, +-30 %:")
        print("  " + ", ".join(f"{n} threads {ms:.1f}" for n, ms in zip((1, 4), times)))
        return 0
    wrong = check_loops(blocks)
    if args.library:
        wrong += check_library(blocks, args.program, args.library)
    estimates = {}
    for batch, bound in NETWORK.items():
        whole, *layers = run(args, blocks, batch)
        print_layers(batch, [*layers, whole])
        print(f"at most {bound}: {'yes' if whole.sum <= bound * 1e6 else 'NO'}")
        if whole.sum > bound * 1e6:
            wrong.append(f"batch {batch}: {whole.sum / 1e6:.2f} million cycles")
        estimates[batch] = {threads: milliseconds(layers, batch, threads) for threads in (1, 4)}
        if estimates[batch][4] > MILLISECONDS[batch]:
            wrong.append(f"batch {batch}: {estimates[batch][4]:.1f} ms, not {MILLISECONDS[batch]}")

    print("\nestimate for a Raspberry Pi 3B at 1.2 GHz, ms per image, +-30 %:")
    for batch, by_threads in estimates.items():
        print(
            f"  batch {batch:2}: "
            + ", ".join(f"{t} threads {ms:.1f}" for t, ms in by_threads.items())
        )
    print_study(list(estimates))
    print(PUBLIC)
    print("\n".join(["", "not within bounds:", *wrong]) if wrong else "\nall within bounds")
    return 1 if wrong else 0


def print_layers(batch: int, layers: list[Layer]) -> None:
    print(f"\nbatch {batch}, one thread, million per image")
    print(f"{'':42}{'judged cycles':>15}{'other instr.':>14}{'sum':>8}{'KB':>8}")
    for layer in layers:
        print(
            f"{layer.name[:24]:25}{layer.algorithm[:16]:17}{layer.judged / 1e6:15.2f}"
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
