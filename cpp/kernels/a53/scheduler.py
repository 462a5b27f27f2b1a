"""Puts straight pieces of code into the order that takes the Cortex-A53 the fewest cycles.

List scheduling under the issue rules of bench/arm/a53sim.py, a few dozen times with differently
weighted priorities. The random numbers are seeded: the same code has the same order everywhere.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "bench" / "arm"))
import a53sim

TRIES = 60
REGISTER = r"\b(?:[qds]\d+|r\d+|lr)\b"


def expand(name: str) -> list[str]:
    """A register as the d registers it covers, or as itself."""
    number = int(name[1:]) if name[0] in "qds" else 0
    if name[0] == "q":
        return [f"d{2 * number}", f"d{2 * number + 1}"]
    return [f"d{number // 2}"] if name[0] == "s" else [name]


def registers(text: str) -> list[str]:
    text = re.sub(
        r"d(\d+)-d(\d+)",
        lambda m: " ".join(f"d{i}" for i in range(int(m[1]), int(m[2]) + 1)),
        text,
    )
    return [r for name in re.findall(REGISTER, text) for r in expand(name)]


class Instruction:
    """One instruction: what it reads and writes, and how it issues."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.timing = a53sim.parse(text)
        op, _, operands = text.partition(" ")
        stores = op.startswith(("vst", "str", "pld", "cmp"))
        accumulates = op.startswith(("vmla", "vmls", "vpadal"))
        if "{" in operands:
            listed, rest = re.findall(r"\{([^}]*)\}(.*)", operands)[0]
        else:
            listed, _, rest = operands.partition(",")
        self.writes = set() if stores or op[0] == "b" else set(registers(listed))
        self.reads = set(registers(rest if not (stores or accumulates) else operands))
        if address := re.search(r"\[(\w+)[^\]]*\](!|, )", operands):
            self.writes.add(address[1])
        if op in ("subs", "cmp"):
            self.writes.add("flags")
        if op in ("bne", "bge"):
            self.reads.add("flags")
        self.accumulates = self.writes if accumulates else set()


class Instruction64(Instruction):
    """The same of 64-bit code, of which the model says all."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.timing = a53sim.parse64(text)
        self.reads = {*self.timing.src, *self.timing.acc}
        self.writes = {*self.timing.dst, *self.timing.base}
        self.accumulates = set(self.timing.acc)


def dependences(code: list[Instruction]) -> list[dict[int, int]]:
    """For each instruction those it must follow, and by how many cycles."""
    result: list[dict[int, int]] = []
    for i, late in enumerate(code):
        before: dict[int, int] = {}
        for j, early in enumerate(code[:i]):
            if early.writes & late.reads:
                shared = early.writes & late.reads
                chained = shared <= late.accumulates and bool(early.accumulates & shared)
                before[j] = early.timing.chained if chained else early.timing.latency
            elif (
                early.writes & late.writes or early.reads & late.writes or late.timing.kind == "br"
            ):
                before[j] = 0
        result.append(before)
    return result


def order(code: list[Instruction], before: list[dict[int, int]], weight: list[float]) -> list[int]:
    """List scheduling: of what may issue soonest, the heaviest."""
    pipeline = a53sim.Pipeline()
    left = [len(b) for b in before]
    after: list[list[int]] = [[] for _ in code]
    for i, b in enumerate(before):
        for j in b:
            after[j].append(i)
    free = [i for i, n in enumerate(left) if n == 0]
    result = []
    while free:
        best = min(free, key=lambda i: (*pipeline.earliest(code[i].timing)[:1], -weight[i], i))
        pipeline.issue(code[best].timing)
        free.remove(best)
        result.append(best)
        for i in after[best]:
            left[i] -= 1
            if left[i] == 0:
                free.append(i)
    return result


def cycles(code: list[Instruction]) -> float:
    return a53sim.cycles([i.timing for i in code], turns=20)


def schedule(lines: list[str], kind: type[Instruction], tries: int) -> list[str]:
    """The lines of a straight piece or loop body in the best order found."""
    code = [kind(line) for line in lines]
    before = dependences(code)
    path = [0.0] * len(code)  # cycles from its issue to the end
    for i in reversed(range(len(code))):
        path[i] = max(path[i], 1.0)
        for j, latency in before[i].items():
            path[j] = max(path[j], path[i] + latency)
    rng = random.Random(1)
    best, least = code, cycles(code)
    # No order takes less: vector instructions do not share a cycle, wide ones take several.
    bound = sum(i.timing.cycles for i in code if i.timing.kind in ("Q", "vl", "vs"))
    for attempt in range(tries):
        if least <= bound:
            break
        place = attempt / max(1, tries - 1)  # from program order to the critical path
        jitter = 4 * rng.random()
        weight = [
            place * path[i] - (1 - place) * i * 1.5 + jitter * rng.random()
            for i in range(len(code))
        ]
        candidate = [code[i] for i in order(code, before, weight)]
        taken = cycles(candidate)
        if taken < least - 1e-9:
            best, least = candidate, taken
    return [i.text for i in best]


class Assembly:
    """The text of the file, function by function."""

    instruction: type[Instruction] = Instruction

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.labels = 0

    def label(self) -> str:
        self.labels += 1
        return f".Llinnet_{self.labels}"

    def at(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def plain(self, *lines: str) -> None:
        self.lines += [f"  {line}" for line in lines]

    def scheduled(self, lines: list[str], tries: int = TRIES) -> None:
        self.plain(*schedule(lines, self.instruction, tries))

    def function(self, name: str) -> None:
        self.lines += ["", f"  .type {name}, %function", "  .p2align 4", f"{name}:"]
        self.plain("push {r4-r11, lr}", "sub r12, sp, #64", "sub sp, sp, #128")
        # By VST1, because VSTM takes twice its cycles on some of these cores.
        self.plain("vst1.64 {d8-d11}, [r12]!", "vst1.64 {d12-d15}, [r12]")

    def leave(self) -> None:
        self.plain("add r12, sp, #64", "add sp, sp, #128")
        self.plain("vld1.64 {d8-d11}, [r12]!", "vld1.64 {d12-d15}, [r12]", "pop {r4-r11, pc}")


# Register tiles: rows (or pixels) by two vectors of output channels.
#
# r0, r1  the values of columns 0 and 3     r2      bytes between columns
# r3      weights                           r4-r7   values on their way
# r10     taps left                         r11     the arguments
# q0, q1  weights of both vectors           d4-d6   values
# q4...   sums, two for each column
#
# A vector load issues with a VMOV from core registers but not with a multiply-add, and a


class Assembly64(Assembly):
    """64-bit functions save other registers."""

    instruction = Instruction64

    def function(self, name: str) -> None:
        self.lines += ["", f"  .type {name}, %function", "  .p2align 4", f"{name}:"]
        self.plain("stp d8, d9, [sp, #-144]!", "stp d10, d11, [sp, #16]")
        self.plain("stp d12, d13, [sp, #32]", "stp d14, d15, [sp, #48]")
        self.plain("stp x19, x20, [sp, #64]", "stp x21, x22, [sp, #80]")
        self.plain("stp x23, x24, [sp, #96]", "stp x25, x26, [sp, #112]")
        self.plain("stp x27, x28, [sp, #128]")

    def leave(self) -> None:
        self.plain("ldp x27, x28, [sp, #128]")
        self.plain("ldp x25, x26, [sp, #112]", "ldp x23, x24, [sp, #96]")
        self.plain("ldp x21, x22, [sp, #80]", "ldp x19, x20, [sp, #64]")
        self.plain("ldp d14, d15, [sp, #48]", "ldp d12, d13, [sp, #32]")
        self.plain("ldp d10, d11, [sp, #16]", "ldp d8, d9, [sp], #144", "ret")


FREE = [f"q{n}" for n in range(3, 16)]


def as_list(q: str) -> str:
    return f"{{d{2 * int(q[1:])}-d{2 * int(q[1:]) + 1}}}"


def allocate(lines: list[str], registers: list[str] = FREE) -> list[str]:
    """Puts %names into registers: each from where it is first to where it is last named."""
    names = [re.findall(r"%\w+", line) for line in lines]
    last = {name: i for i, found in enumerate(names) for name in found}
    free, place = list(registers), {}
    result: list[str] = []
    for i, line in enumerate(lines):
        # What ends here makes room for what begins.
        ends = [n for n in dict.fromkeys(names[i]) if last[n] == i and n in place]
        free += [place[n] for n in ends]
        for name in names[i]:
            if name not in place:
                place[name] = free.pop(0)
        listed = re.sub(r"\{(%\w+)\}", lambda m: as_list(place[m[1]]), line)
        result.append(re.sub(r"%\w+", lambda m: place[m[0]], listed))
        for name in ends:
            del place[name]
    return result
