"""A model of how the Cortex-A53 issues NEON code: cycles of a piece of straight code.

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


CORE64 = re.compile(
    "(add|sub|and|bic|neg)s?|orr|eor|or[rn]|eon|mvn|mov[zkn]?|ls[lr]|asr|ror|[us]?bf(x|iz|i|xil)"
    "|[us]xt[bhw]|extr|cm[pn]|tst|ccm[pn]|cset|csetm|csel|cs?in[cv]|cs?neg|m?(mul|add|sub|neg)"
    "|[us]m(ull|addl|ulh)|[us]div|adrp?|clz|rbit|rev|nop|ret|mrs"
)
READ_FLAGS = re.compile("f?csel|csetm?|cs?in[cv]|cs?neg|ccm[pn]")
WRITE_FLAGS = re.compile("(add|sub|and|bic|neg)s|cm[pn]|tst|ccm[pn]|fcmpe?")
ACCUMULATING64 = re.compile("f?ml[as]|[us]ml[as]l2?|[us]adalp|[us]dot")
QUICK64 = re.compile(
    "f?(add|sub)|[fus](max|min)(nm)?|dup|ext|(zip|uzp|trn)[12]|movi?|[us]xtl|xtn|and|orr|eor|bic"
    "|bsl|bi[tf]"
)
INTO64 = re.compile("ins|bsl|bi[tf]")  # what they write they read, too
VECTOR = r"\b[vqdshb]\d+"


def registers64(text: str) -> list[str]:
    """The registers of operands, by number: vectors as v, general ones as x."""
    text = re.sub(
        r"v(\d+)\.\w+ ?- ?v(\d+)\.\w+",
        lambda m: ", ".join(f"v{i}" for i in range(int(m[1]), int(m[2]) + 1)),
        text,
    )
    return [
        f"{'x' if m[1] in 'xw' else 'v'}{m[2]}" for m in re.finditer(r"\b([vqdshbxw])(\d+)\b", text)
    ]


def parse64(line: str) -> Timing | None:
    """The same of 64-bit code, flags as a register."""
    line = line.split("//", maxsplit=1)[0].strip().replace("\t", " ")
    if not line or line.startswith(".") or line.endswith(":"):
        return None
    op, _, args = line.partition(" ")
    address = re.search(r"\[((?:x|w|sp).*?)\](!|, [#xw])?", args)
    names = registers64(args[: address.start()] if address else args)
    t = Timing(op, dst=names[:1], src=names[1:])
    wide = bool(re.search(r"\.(4s|2d|8h|16b)|\bq\d|\.[sdhb]\[", args))
    if op.startswith(("ld", "st", "prf")):
        access64(t, op, args, names, address)
    elif op.startswith(("b", "cb", "tb")) and not CORE64.fullmatch(op) and not INTO64.fullmatch(op):
        t.kind, t.dst, t.src = "br", [], [*names, *(["flags"] if op.startswith("b.") else [])]
    elif op in ("fmov", "ins", "mov", "dup", "umov", "smov") and {n[0] for n in names} == {
        "v",
        "x",
    }:
        # Between general and vector registers; of a part, the rest stays.
        t.kind, t.latency, t.chained = "r2f", 2, 2
        t.src = names if re.match(r"v\d+\.\w+\[", args) else t.src
    elif re.search(VECTOR, args):
        t.kind = "Q" if wide else "D"
        t.latency = t.chained = 3 if QUICK64.fullmatch(op) else 4
        if ACCUMULATING64.fullmatch(op):
            t.acc, t.mac = t.dst, True
            t.latency = 8 if op in ("fmla", "fmls") else 4
        elif INTO64.fullmatch(op) or re.match(r"v\d+\.\w+\[", args):
            t.src = names
        if op in ("fcmp", "fcmpe"):
            t.dst, t.src = [], names
    elif not CORE64.fullmatch(op):
        raise ValueError(f"no timing is known for {line}")
    elif op in ("cmp", "cmn", "tst", "ccmp", "ccmn", "ret"):
        t.dst, t.src = [], names
    if WRITE_FLAGS.fullmatch(op):
        t.dst = [*t.dst, "flags"]
    if READ_FLAGS.fullmatch(op):
        t.src = [*t.src, "flags"]
    return t


def access64(
    t: Timing, op: str, args: str, names: list[str], address: re.Match[str] | None
) -> None:
    """What a load, a store or a prefetch is to the model."""
    base = registers64(address[1]) if address else []
    t.base = base[:1] if address and address[2] else []
    step = registers64(args[address.end() - 1 :]) if address else []
    halves = 2 if re.search(r"\bq\d|\.(4s|2d|8h|16b)", args) else 1  # of each register
    vector = any(name[0] == "v" for name in names)
    if op.startswith("prf"):
        t.kind, t.dst, t.src = "ld", [], base
    elif op.startswith("st"):
        t.dst, t.src = [], [*names, *base, *step]
        t.kind = "vs" if vector else "ld" if len(names) < 2 else "ldrd"
        t.cycles = max(1, len(names) * (halves if vector else 1) // 2)
    else:
        t.dst, t.src = names, [*base, *step]
        if vector:
            t.kind, t.cycles = "vl", len(names) * halves
            t.latency = t.chained = 3 if t.cycles == 1 else 3 + t.cycles
        else:
            t.kind, t.latency, t.chained = "ld", 2, 2
            if len(names) > 1:
                t.kind, t.cycles, t.latency, t.chained = "ldrd", 2, 3, 3


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
            self.cycle = cycle + x.cycles
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
        4 if t.kind == "Q" else 2
        for t in code
        if t.op.split(".")[0] in ("vmla", "vfma", "vmls", "fmla", "fmls")
    )


def main() -> None:
    for name in sys.argv[1:]:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
        code = [t for line in lines if (t := parse(line))]
        taken = cycles(code)
        print(f"{name}: {taken:.1f} cycles, {macs(code) / taken:.2f} MAC/cycle")


if __name__ == "__main__":
    main()
