"""A program's machine code in straight pieces, and what the model of the core says of each."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import a53sim


class InstructionSet(NamedTuple):
    """How its programs are read."""

    name: str
    tools: str  # begins the names of Debian's
    kernels: str  # begins the names of functions that schedule.py writes
    branch: re.Pattern[str]  # and where to
    end: re.Pattern[str]  # other ends of straight code
    vector: re.Pattern[str]  # instructions on vectors
    saves: re.Pattern[str]  # slow instructions that a loop must not have


A32 = InstructionSet(
    "32-bit",
    "arm-linux-gnueabihf-",
    "linnet_a32_",
    re.compile(r"(?:b|bl|cb)[a-z]*(?:\.[nw])? (?:\w+, )?([0-9a-f]+) <"),
    re.compile(r"bx|pop.*pc|ldr pc|mov pc|tbb|tbh"),
    re.compile(r"v"),
    re.compile(r"vldm|vstm|vpush|vpop"),
)
A64 = InstructionSet(
    "64-bit",
    "aarch64-linux-gnu-",
    "linnet_a64_",
    re.compile(r"(?:b|bl|b\.[a-z]+|cbn?z|tbn?z) (?:.*, )?([0-9a-f]+) <"),
    re.compile(r"ret|br |blr "),
    re.compile(rf".*{a53sim.VECTOR}"),
    re.compile(r"ld[234] |st[234] "),
)


def instruction_set(program: Path) -> InstructionSet:
    """By the class of an ELF file."""
    with program.open("rb") as file:
        return A64 if file.read(5)[4] == 2 else A32


@dataclass
class Block:
    """Straight code, with one way in and one way out."""

    isa: InstructionSet
    function: str
    addresses: list[int]
    lines: list[str]
    loops: bool  # it ends in a branch to its own beginning
    cycles: float = 0.0  # of one turn, if it is judged

    @property
    def judged(self) -> bool:
        return self.function.startswith(self.isa.kernels) or (
            self.loops and any(map(self.isa.vector.match, self.lines))
        )

    @property
    def timings(self) -> list[a53sim.Timing]:
        return [known(self.isa, line) for line in self.lines]


def known(isa: InstructionSet, line: str) -> a53sim.Timing:
    """Timing of any instruction: what the model has no rule for takes a cycle."""
    try:
        if isa is A64:
            return a53sim.parse64(line) or a53sim.Timing("nop")
        line = re.sub(
            r"^(ldr|add|sub|mov|vldr|vmov)(eq|ne|lt|le|gt|ge|cs|cc|hi|ls|mi|pl)\b", r"\1", line
        )
        return a53sim.parse(line) or a53sim.Timing("nop")
    except (ValueError, IndexError):
        return a53sim.Timing(line.split()[0])


def tool(isa: InstructionSet, *command: str | Path) -> str:
    """What one of Debian's tools for that code prints."""
    name, *rest = command
    return subprocess.run(
        [f"{isa.tools}{name}", *rest], check=True, capture_output=True, text=True
    ).stdout


def disassemble(program: Path) -> list[Block]:
    """The program's code, cut at every branch and target of one."""
    isa = instruction_set(program)
    code: list[tuple[int, str, str]] = []
    function = ""
    for line in tool(isa, "objdump", "-d", "--no-show-raw-insn", program).splitlines():
        if m := re.match(r"[0-9a-f]+ <(.*)>:", line):
            function = m[1]
        elif m := re.match(r"\s*([0-9a-f]+):\t(.*)", line):
            code.append((int(m[1], 16), function, m[2].replace("\t", " ")))
    targets = {int(m[1], 16) for _, _, text in code if (m := isa.branch.match(text))}
    blocks: list[Block] = []
    ends = True
    for address, where, text in code:
        if ends or address in targets or blocks[-1].function != where:
            blocks.append(Block(isa, where, [], [], loops=False))
        blocks[-1].addresses.append(address)
        blocks[-1].lines.append(text)
        to = isa.branch.match(text)
        ends = bool(to or isa.end.match(text))
        if to and int(to[1], 16) == blocks[-1].addresses[0]:
            blocks[-1].loops = True
    for block in blocks:
        if block.judged:
            block.cycles = a53sim.cycles(block.timings)
    return blocks


def missing_of(blocks: list[Block], program: Path, library: Path) -> list[str]:
    """The kernels in assembly that are not the library's, byte for byte."""
    image, shipped = program.read_bytes(), library.read_bytes()
    isa = instruction_set(program)
    headers = tool(isa, "objdump", "-h", "-j", ".text", program)
    fields = next(line for line in headers.splitlines() if " .text " in line).split()
    shift = int(fields[5], 16) - int(fields[3], 16)
    missing = set()
    for block in blocks:
        if block.function.startswith(isa.kernels):
            start, end = block.addresses[0] + shift, block.addresses[-1] + 4 + shift
            if image[start:end] not in shipped:
                missing.add(block.function)
    return sorted(missing)
