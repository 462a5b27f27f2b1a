"""A model of how the Cortex-A53 issues 32-bit NEON code: cycles of a piece of straight code.

    python bench/arm/a53sim.py LOOP.s ...    cycles of one turn, and multiply-accumulates per cycle

Operands are taken to be in the first-level cache. The rules are those of GCC's cortex-a53.md, which
Arm wrote, and of what Arm Compute Library, gemmlowp and ncnn found by trial:

- two instructions issue in a cycle, in order, if their operands are ready;
- two accesses to memory do not pair, nor do two vector operations of which one is 128 bits wide;
- a vector load or store, or a VMOV from core registers, does not pair with vector arithmetic;
- loads of several d registers take a cycle for each, stores a cycle for each two, and pair with
  nothing; so do LDRD and LDM, a cycle for each two registers;
- no vector load issues four cycles after a 128-bit multiply-accumulate: they share a port;
- a multiply-accumulate takes 8 cycles, 4 if its result is only accumulated to.

For a published kernel written for this core the model says 2.91 multiply-accumulates per cycle;
2.78 were measured.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

INTEGER = set(
    [
        "add",
        "adds",
        "sub",
        "subs",
        "rsb",
        "mov",
        "movs",
        "movw",
        "movt",
        "mvn",
        "cmp",
        "cmn",
        "tst",
        "and",
        "ands",
        "orr",
        "eor",
        "bic",
        "lsl",
        "lsr",
        "asr",
        "mul",
        "mla",
        "sdiv",
        "udiv",
        "uxtb",
        "uxth",
        "sxtb",
        "sxth",
        "addle",
        "addne",
        "subne",
        "movne",
        "moveq",
        "it",
        "ite",
        "strb",
        "strh",
        "strd",
    ]
)
ACCUMULATING = set(["vmla", "vfma", "vmlal", "vmls", "vmlsl", "vpadal", "vaba", "vabal"])
QUICK = set(["vmovl", "vmov", "vadd", "vmax", "vmin", "vpadal", "vaddl", "vext", "vdup"])
CORE = r"r\d+|sp|lr|ip|fp|sl"


@dataclass
class Timing:
    """One instruction: registers (vectors as their d registers) and how it issues."""

    op: str
    kind: str = "int"  # Q, D: vector arithmetic; vl, vs: vector load, store; ld: core load or
    # store; ldrd: of several registers; r2f: core to vector; br; int
    dst: list[str] = field(default_factory=list)
    src: list[str] = field(default_factory=list)
    acc: list[str] = field(default_factory=list)
    base: list[str] = field(default_factory=list)  # address registers that are written back
    latency: int = 1
    chained: int = 1  # latency to an accumulation
    cycles: int = 1  # until the next may issue
    mac: bool = False


def registers(token: str) -> list[str]:
    token = token.strip().lower()
    if m := re.fullmatch(r"q(\d+)", token):
        return [f"d{2 * int(m[1])}", f"d{2 * int(m[1]) + 1}"]
    if m := re.fullmatch(r"d(\d+)(\[\d+\])?", token):
        return [f"d{m[1]}"]
    if m := re.fullmatch(r"s(\d+)", token):
        return [f"d{int(m[1]) // 2}"]
    if m := re.fullmatch(rf"({CORE})!?", token):
        return [m[1]]
    return []


def listed(text: str) -> list[str]:
    """The registers of a list such as d0-d3 or r4, r5."""
    found = []
    for token in text.split(","):
        if m := re.match(r"([dqsr])(\d+)-[dqsr](\d+)", token.strip()):
            for i in range(int(m[2]), int(m[3]) + 1):
                found += registers(f"{m[1]}{i}")
        else:
            found += registers(token)
    return list(dict.fromkeys(found))


def parse(line: str) -> Timing | None:
    """An instruction of assembly text; None for a line without one. ValueError if not known."""
    line = line.split("//", maxsplit=1)[0].split("@", maxsplit=1)[0].strip()
    if not line or line.startswith(".") or line.endswith(":"):
        return None
    op, _, args = line.partition(" ") if "\t" not in line else line.partition("\t")
    op, args = op.lower(), args.strip()
    base = op.split(".")[0]
    braces, brackets = re.findall(r"\{([^}]*)\}", args), re.findall(r"\[([^\]]*)\]", args)
    plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]!?", "", args).split(",")
    plain = [token.strip() for token in plain if token.strip()]
    t = Timing(op)
    address = re.findall(CORE, brackets[0]) if brackets else []
    if base in ("vld1", "vldr", "vldm", "vldmia", "vpop"):
        t.kind = "vl"
        t.dst = listed(braces[0]) if braces else registers(plain[0])
        t.src = registers(plain[0]) if base.startswith("vldm") else address
        if "!" in args or (plain and base == "vld1" and braces):
            t.base = t.src
        t.cycles = max(1, len(t.dst))
        t.latency = t.chained = 3 if len(t.dst) <= 1 else 4 + t.cycles - 1
    elif base in ("vst1", "vstr", "vstm", "vstmia", "vpush"):
        t.kind = "vs"
        stored = listed(braces[0]) if braces else registers(plain[0])
        t.src = stored + re.findall(CORE, args.split("[")[-1])
        t.cycles = max(1, len(stored) // 2)
    elif base in ("ldr", "ldrd", "pld", "str"):
        t.kind = "ldrd" if base == "ldrd" else "ld"
        if base in ("ldr", "ldrd"):
            t.dst = [r for token in plain[: 2 if base == "ldrd" else 1] for r in registers(token)]
            t.latency = t.chained = 3 if base == "ldrd" else 2
            t.cycles = 2 if base == "ldrd" else 1
        t.src = (registers(plain[0]) if base == "str" else []) + address
    elif base == "vmov" and len(plain) == 3 and plain[0].startswith("d"):
        t.kind, t.dst, t.latency, t.chained = "r2f", registers(plain[0]), 2, 2
        t.src = registers(plain[1]) + registers(plain[2])
    elif base.startswith("v"):
        operands = [registers(token) for token in args.split(",")]
        t.dst, t.src = operands[0], [r for o in operands[1:] for r in o]
        t.kind = "Q" if any(len(o) >= 2 for o in operands) else "D"
        t.acc = t.dst if base in ACCUMULATING else []
        t.mac = base in ("vmla", "vfma", "vmlal", "vmls")
        t.latency = t.chained = 3 if base in QUICK else 4
        if base in ("vmla", "vfma") and ".f32" in op:
            t.latency = 8
    elif base.startswith("b"):
        t.kind = "br"
    elif base in ("ldm", "ldmia", "stm", "stmia", "push", "pop"):
        moved = listed(braces[0])
        t.kind, t.cycles = "ldrd", (len(moved) + 1) // 2
        if base in ("ldm", "ldmia", "pop"):
            t.dst, t.latency = moved, 2 + t.cycles
            t.chained = t.latency
        else:
            t.src = moved
    elif base == "nop":
        pass
    elif base in INTEGER:
        t.dst = registers(plain[0]) if plain and base != "cmp" else []
        t.src = [r for token in plain[1:] for r in registers(token)]
        if len(plain) == 2 and plain[0].startswith("r"):
            t.src += registers(plain[0])
    else:
        raise ValueError(f"no timing is known for {line}")
    return t


def parse64(line: str) -> Timing:
    """The same for the few 64-bit instructions that schedule.py writes, flags as a register."""
    op, _, args = line.strip().partition(" ")
    names = [f"{'v' if r[0] in 'vqd' else 'x'}{r[1:]}" for r in re.findall(r"\b[vqdxw]\d+", args)]
    t = Timing(op, dst=names[:1], src=names[1:])
    if op in ("fmla", "fmul"):
        t.kind, t.latency, t.chained = "Q", 4, 4
        if op == "fmla":
            t.mac, t.latency, t.acc = True, 8, t.dst
    elif op in ("fmov", "ins"):
        t.kind, t.latency = "r2f", 2
        t.src = names if op == "ins" else t.src
    elif op == "ldr":
        vector = args[0] in "dq"
        t.kind, t.latency = ("vl", 3) if vector else ("ld", 2)
        if args[0] == "q":
            t.cycles, t.latency = 2, 5
        t.base = names[1:2] if re.search(r"\], #", args) else []
    elif op == "prfm":
        t.kind, t.dst, t.src = "ld", [], names
    elif op == "st1":
        t.kind, t.dst, t.src, t.base = "vs", [], names, names[-1:]
        t.cycles = len(names) - 1
    elif op.startswith("b"):
        t.kind, t.src = "br", ["flags"]
    elif op == "subs":
        t.dst = [*t.dst, "flags"]
    elif op not in ("add", "orr", "mov"):
        raise ValueError(f"no timing is known for {line}")
    return t


def can_pair(x: Timing, y: Timing) -> bool:
    """Whether y may issue in the cycle of x, were its operands ready."""
    memory, vector = {"ld", "vl", "vs", "ldrd"}, {"Q", "D"}
    kinds = {x.kind, y.kind}
    if set(x.dst) & {*y.src, *y.dst, *y.acc}:
        return False
    if x.kind in memory and y.kind in memory:
        return False
    if any(t.kind in ("vl", "vs") and t.cycles > 1 for t in (x, y)) or "ldrd" in kinds:
        return False
    if x.kind in vector and y.kind in vector:
        return kinds == {"D"}
    if kinds & vector and kinds & {"vl", "vs", "r2f"}:
        return False
    return kinds != {"r2f"}


class Pipeline:
    """Where the core stands after the instructions issued so far."""

    def __init__(self) -> None:
        self.cycle = 0  # of the next instruction that does not pair with the last
        self.open: Timing | None = None  # the last instruction, if another may join its cycle
        self.ready: dict[str, int] = {}
        self.chained: dict[str, int] = {}
        self.macs: set[int] = set()

    def waits(self, x: Timing, cycle: int) -> bool:
        if any(self.ready.get(r, 0) > cycle for r in x.src):
            return True
        if any(self.chained.get(r, 0) > cycle for r in x.acc):
            return True
        return x.kind == "vl" and any(cycle + k - 4 in self.macs for k in range(x.cycles))

    def earliest(self, x: Timing) -> tuple[int, bool]:
        """The cycle x would issue in now, and whether that is the last instruction's."""
        if self.open and can_pair(self.open, x) and not self.waits(x, self.cycle - 1):
            return self.cycle - 1, True
        cycle = self.cycle
        while self.waits(x, cycle):
            cycle += 1
        return cycle, False

    def issue(self, x: Timing) -> None:
        cycle, paired = self.earliest(x)
        for r in x.dst:
            self.ready[r] = cycle + x.latency
            self.chained[r] = cycle + (x.chained if x.kind in ("Q", "D") else x.latency)
        for r in x.base:
            self.ready[r] = cycle + 1
        if x.kind == "Q" and x.mac:
            self.macs.add(cycle)
        if paired:
            self.open = None
        else:
            self.open = x if x.cycles == 1 else None
            self.cycle = cycle + x.cycles


def cycles(code: list[Timing], turns: int = 60) -> float:
    """Cycles of one turn of a loop with this body, once it runs steadily."""
    pipeline, marks = Pipeline(), []
    for _ in range(turns):
        cycle, paired = pipeline.earliest(code[0])
        marks.append(cycle if paired else pipeline.cycle)
        for x in code:
            pipeline.issue(x)
    middle = len(marks) // 2
    return (marks[-1] - marks[middle]) / (len(marks) - 1 - middle)


def macs(code: list[Timing]) -> int:
    """The multiply-accumulates of 32-bit floats in one turn."""
    return sum(
        4 if t.kind == "Q" else 2 for t in code if t.op.split(".")[0] in ("vmla", "vfma", "vmls")
    )


def main() -> None:
    for name in sys.argv[1:]:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
        code = [t for line in lines if (t := parse(line))]
        taken = cycles(code)
        print(f"{name}: {taken:.1f} cycles, {macs(code) / taken:.2f} MAC/cycle")


if __name__ == "__main__":
    main()
