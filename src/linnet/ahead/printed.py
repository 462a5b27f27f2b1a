"""The text of a compiled network: its header, its plan, its test, and what its code is made of."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from .network import ALIGNMENT, Network, Value

C_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "bool": "uint8_t",
    "float16": "uint16_t",
}
MOST_WEIGHTS = 8  # of a step, as cpp/compiled/program.h has it
LINE, POOL_LINES = 64, 3  # as cpp/compiled/pool.h has them
ARGUMENTS = "const void* const* inputs, void* const* outputs, void* arena"
MOST_STORED = 4096  # numbers of an output in the test


def quoted(text: str) -> str:
    """A C string."""
    escaped = re.sub(r'(["\\?])', r"\\\1", text)
    return '"' + re.sub(r"[^ -~]", lambda m: _octal(m[0]), escaped) + '"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def comment(text: str) -> str:
    """Text that may stand in a comment."""
    return re.sub(r"[^ -~]", "?", text).replace("*/", "* /").replace("/*", "/ *")


def header(network: Network) -> str:
    """NAME.h"""
    name, upper = network.name, network.name.upper()
    first = network.programs[0]["batch"]
    own = f", a CPU with {network.isa}" if network.target.name == "native" else ""
    lines = [
        f"/* {comment(network.title)}, compiled by linnet {_core.__version__} for "
        f"{network.target.name}{own}. Written by a program; do not edit.",
        " *",
        f" * {name}_run() computes all outputs from all inputs. Arrays are dense. The arena is",
        f" * {upper}_ARENA bytes aligned to {ALIGNMENT}, whatever they hold; calls with different",
        " * arenas may run at the same time. Nothing is allocated, opened or printed. */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define {upper}_VERSION {quoted('linnet ' + _core.__version__)}",
        f"#define {upper}_TARGET {quoted(network.target.name)}",
        f"#define {upper}_BATCH {first}",
        f"#define {upper}_ARENA {network.arena}",
        f"#define {upper}_ALIGNMENT {ALIGNMENT}",
        f"#define {upper}_WEIGHTS {len(network.weights)} /* bytes, "
        + ("of the file */" if network.weights_file else "in the program */"),
    ]
    for kind, values in (("INPUT", network.inputs), ("OUTPUT", network.outputs)):
        lines += ["", f"#define {upper}_{kind}S {len(values)}"]
        for i, value in enumerate(values):
            lines += _value(f"{upper}_{kind}_{i}", value, first)
    lines.append("")
    if network.weights_file:
        lines += [
            f"/* What {name}.bin holds, aligned as the arena: set it before the first run, to the "
            "file mapped",
            " * into memory, say. */",
            f"extern const void* {name}_weights;",
            "",
        ]
    for program in network.programs:
        batch = f"/* {program['batch']} at a time. */" if len(network.programs) > 1 else ""
        lines += [batch, f"void {network.run(program)}({ARGUMENTS});"]
    if network.threads > 1:
        lines += _threads(network)
    lines += ["", "#ifdef __cplusplus", "}", "#endif", "", "#endif", ""]
    return "\n".join(_without_doubles(lines))


def _threads(network: Network) -> list[str]:
    """What the header says of threads."""
    name, upper = network.name, network.name.upper()
    more = network.threads - 1
    return [
        "",
        f"#define {upper}_THREADS {network.threads}",
        f"#define {upper}_POOL {LINE * (POOL_LINES + network.threads)} /* bytes, aligned as the "
        "arena */",
        "",
        f"/* The same on {network.threads} threads: the caller's, and {more} that "
        f"{name}_pool_start() starts. It returns 0,",
        " * or the system's error number. A pool serves one run at a time. */",
        f"int {name}_pool_start(void* pool);",
        f"void {name}_pool_stop(void* pool);",
        *(f"void {network.run(p)}_on(void* pool, {ARGUMENTS});" for p in network.programs),
    ]


def _without_doubles(lines: Sequence[str]) -> Iterator[str]:
    """Without an empty line after another."""
    before = ""
    for line in lines:
        if line or before:
            yield line
        before = line


def _value(macro: str, value: Value, batch: int) -> list[str]:
    shape = value.of(batch)
    return [
        f"#define {macro}_NAME {quoted(value.name)}",
        f"#define {macro}_TYPE {C_TYPES[value.dtype.name]}",
        f"#define {macro}_SHAPE {{{', '.join(map(str, shape))}}}",
        f"#define {macro}_COUNT {value.count(batch)} /* numbers */",
        *(
            (
                f"#define {macro}_SCALE {value.scale:.9g} /* they stand for (q - zero) * scale */",
                f"#define {macro}_ZERO {value.zero}",
            )
            if value.scale
            else ()
        ),
    ]


def plan(network: Network) -> str:
    """NAME.c"""
    name = network.name
    parts = [
        f"/* {comment(network.title)}: its plan, steps and their arguments. Written by a program; "
        "do not edit. */",
        f'#include "{name}.h"',
        "",
        '#include "compiled/program.h"',
        "",
        f"const void* {name}_weights;"
        if network.weights_file
        else f"extern const unsigned char {name}_weights[];",
        *(f"extern const struct linnet_code linnet_code_{code};" for code in network.codes),
        "",
    ]
    known: dict[bytes, str] = {}
    for program in network.programs:
        rows = []
        for step in program["steps"]:
            if step["args"] not in known:
                known[step["args"]] = f"args_{len(known)}"
                parts.append(_args(known[step["args"]], step["args"]))
            rows.append(_step(step, known[step["args"]]))
        batch = program["batch"]
        parts += [
            f"static const struct linnet_step steps_{batch}[] = {{",
            *rows,
            "};",
            *_chains(program),
            f"static const struct linnet_program program_{batch} = "
            f"{{steps_{batch}, {len(rows)}, {len(network.inputs)}, chains_{batch}}};",
            "",
            f"void {network.run(program)}({ARGUMENTS}) {{",
            f"  linnet_run(&program_{batch}, {name}_weights, inputs, outputs, arena, 0);",
            "}",
            "",
        ]
        if network.threads > 1:
            parts += [
                f"void {network.run(program)}_on(void* pool, {ARGUMENTS}) {{",
                f"  linnet_run(&program_{batch}, {name}_weights, inputs, outputs, arena, pool);",
                "}",
                "",
            ]
    if network.threads > 1:
        parts += [
            f"int {name}_pool_start(void* pool) {{",
            f"  return linnet_pool_start(pool, {network.threads});",
            "}",
            f"void {name}_pool_stop(void* pool) {{ linnet_pool_stop(pool); }}",
            "",
        ]
    return "\n".join(parts)


def _args(name: str, args: bytes) -> str:
    padded = args + b"\0" * (-len(args) % 8)
    words = [f"0x{word:x}u" for (word,) in struct.iter_unpack("<Q", padded)]
    return f"static const uint64_t {name}[] = {{{', '.join(words or ['0'])}}};"


def _chains(program: _core.EmittedProgram) -> Iterator[str]:
    batch, rows = program["batch"], []
    for first, step in enumerate(program["steps"]):
        if step["chain"]:
            args = f"chain_{batch}_{first}"
            (length,) = struct.unpack_from("<q", step["chain"], 16)  # as algorithms/chain.h has it
            yield _args(args, step["chain"])
            rows.append(f"  {{{first}, {length}, {args}, {_place(step['rows'])}}},")
    yield f"static const struct linnet_chain chains_{batch}[] = {{"
    yield from rows
    yield "  {0, 0, 0, {-1, 0u}},"
    yield "};"


def _step(step: _core.EmittedStep, args: str) -> str:
    places = [step["x"], step["z"], step["y"], step["workspace"]]
    weights = [*step["weights"], *[(-1, 0)] * (MOST_WEIGHTS - len(step["weights"]))]
    return (
        f"  /* {comment(step['name'])}: {comment(step['problem'])} */\n"
        f"  {{&linnet_code_{step['code']}, {args}, {', '.join(map(_place, places))},\n"
        f"   {{{', '.join(map(_place, weights))}}}}},"
    )


def _place(place: tuple[int, int]) -> str:
    return f"{{{place[0]}, {place[1]}u}}"


def assembly(network: Network, file: str) -> str:
    """What draws the weights into the program; ELF alone, for any CPU."""
    symbol = f"{network.name}_weights"
    return f"""/* Written by a program; do not edit. */
  .section .rodata
  .balign {ALIGNMENT}
  .hidden {symbol}
  .globl {symbol}
  .type {symbol}, %object
{symbol}:
  .incbin {quoted(file)}
  .size {symbol}, . - {symbol}
  .section .note.GNU-stack, "", %progbits
"""


def kernels(network: Network, family: str) -> str:
    """C++ that has those kernels of a family which the network calls, by their numbers."""
    isa = network.isa
    lines = [
        f'#include "kernels/{family}.cpp"',
        "namespace {",
        "constexpr linnet::Kernels kAll = [] {",
        "  linnet::Kernels table{};",
        f"  linnet_{family}_{isa}(&table);",
        "  return table;",
        "}();",
        "}  // namespace",
        '#include "compiled/called.h"',
    ]
    lines += [f"LINNET_CALLED({i}, {kernel})" for i, kernel in enumerate(network.kernels)]
    return "\n".join(lines) + "\n"


def table(network: Network) -> str:
    """C++ that has the table of the kernels which the network calls."""
    lines = [
        '#include "compiled/called.h"',
        "namespace linnet {",
        "constexpr Kernels called_kernels() {",
        "  Kernels table{};",
    ]
    lines += [f"  table.{member} = {number:g};" for member, number in network.numbers.items()]
    lines += [f"  set_called<{i}>(table.{kernel});" for i, kernel in enumerate(network.kernels)]
    lines += [
        "  return table;",
        "}",
        'extern "C" {',
        "extern const Kernels linnet_kernels;",
        "constexpr Kernels linnet_kernels = called_kernels();",
        "}",
        "}  // namespace linnet",
    ]
    return "\n".join(lines) + "\n"


_CODE = re.compile(r'constexpr auto (\w+) =\s+plan_code<&[^"]+>\("(\w+)"\);')


def sources_of_codes(source: Path) -> dict[str, tuple[str, str]]:
    """Of each code its file and the name of its constant there."""
    found = {}
    for path in [*sorted((source / "algorithms").glob("*.cpp")), source / "compiled/camera.cpp"]:
        for constant, code in _CODE.findall(path.read_text(encoding="utf-8")):
            found[code] = (path.relative_to(source).as_posix(), constant)
    return found


def codes(network: Network, file: str, constants: dict[str, str]) -> str:
    """C++ that has the code of an algorithm's steps; `constants` by code."""
    lines = [f'#include "{file}"', "struct linnet_code : linnet::PlanCode {};"]
    sizes = {
        step["code"]: len(step["args"]) for program in network.programs for step in program["steps"]
    }
    kept = "{}" if network.chained else "linnet::without_rows({})"
    for code, constant in constants.items():
        lines += [
            f'static_assert(linnet::{constant}.args_bytes == {sizes[code]}, "planned elsewhere");',
            f'extern "C" const linnet_code linnet_code_{code};',
            f"constexpr linnet_code linnet_code_{code}{{{kept.format(f'linnet::{constant}')}}};",
        ]
    return "\n".join(lines) + "\n"


def sample(value: Value, batch: int) -> np.ndarray[Any, Any]:
    """The input of the test: numbers that are the same in Python and in C."""
    count = value.count(batch)
    # x -> 1664525 x + 1013904223 from 1 on, all at once.
    factors = np.cumprod(np.full(count, 1664525, np.uint32), dtype=np.uint32)
    sums = np.cumsum(np.concatenate(([np.uint32(1)], factors[:-1])), dtype=np.uint32)
    high = (factors + sums * np.uint32(1013904223)) >> np.uint32(24)
    return _as_type(high.astype(np.uint8), value.dtype).reshape(value.of(batch))


def _as_type(byte: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if dtype.kind == "f":
        return (byte / np.float32(256)).astype(dtype)
    if dtype.name == "int8":
        return byte.view(np.int8)
    return (byte & 1 if dtype.kind == "b" else byte).astype(dtype)


def selftest(network: Network, results: Sequence[np.ndarray[Any, Any]]) -> str:
    """NAME_selftest.c; `results` are what the first program gives for `sample`."""
    name, upper = network.name, network.name.upper()
    arrays, fills, checks = [], [], []
    for i, value in enumerate(network.inputs):
        arrays.append(f"static {upper}_INPUT_{i}_TYPE input_{i}[{upper}_INPUT_{i}_COUNT];")
        number = {"f": "next() / 256.0f", "b": "next() & 1"}.get(value.dtype.kind, "next()")
        fills += [
            "  state = 1;",
            f"  for (i = 0; i < {upper}_INPUT_{i}_COUNT; ++i) input_{i}[i] = "
            f"({upper}_INPUT_{i}_TYPE)({number});",
        ]
    for i, result in enumerate(results):
        step = max(1, -(-result.size // MOST_STORED))
        stored = ", ".join(_number(x) for x in result.ravel()[::step]) or "0.0"
        arrays += [
            f"static {upper}_OUTPUT_{i}_TYPE output_{i}[{upper}_OUTPUT_{i}_COUNT];",
            f"static const double expected_{i}[] = {{{stored}}};",
        ]
        checks.append(
            f"  for (i = 0; i < {result.size}; i += {step})\n"
            f"    check((double)output_{i}[i], expected_{i}[i / {step}]);"
        )
    weights = WEIGHTS_OF_TEST if network.weights_file else ("", "")
    pool = POOL_OF_TEST if network.threads > 1 else ("", "", "")
    static, before, after = (
        "".join(parts).format(name=name, upper=upper) for parts in zip((*weights, ""), pool)
    )
    return SELFTEST.format(
        name=name,
        upper=upper,
        arrays="\n".join(arrays),
        static=static,
        before=before,
        after=after,
        on="_on(aligned(pool), " if network.threads > 1 else "(",
        fills="\n".join(fills),
        checks="\n".join(checks),
        inputs=", ".join(f"input_{i}" for i in range(len(network.inputs))),
        outputs=", ".join(f"output_{i}" for i in range(len(network.outputs))),
    )


def _number(x: Any) -> str:
    if not np.isfinite(x):
        return "0.0"
    return f"{float(x):.17g}" if isinstance(x, np.floating) else str(int(x))


WEIGHTS_OF_TEST = (
    "static unsigned char weights[{upper}_WEIGHTS + {upper}_ALIGNMENT];\n",
    """  FILE* file = fopen("{name}.bin", "rb");
  if (!file || fread(aligned(weights), {upper}_WEIGHTS, 1, file) != 1) {{
    printf("{name}: no {name}.bin\\n");
    return 1;
  }}
  fclose(file);
  {name}_weights = aligned(weights);
""",
)
POOL_OF_TEST = (
    "static unsigned char pool[{upper}_POOL + {upper}_ALIGNMENT];\n",
    "  if ({name}_pool_start(aligned(pool))) return 1;\n",
    "  {name}_pool_stop(aligned(pool));\n",
)
SELFTEST = """/* Runs the network once on an input whose output is known. Written by a program. */
#include <stdio.h>

#include "{name}.h"

{arrays}
static unsigned char space[{upper}_ARENA + {upper}_ALIGNMENT];
{static}
static void* aligned(unsigned char* at) {{
  return at + (-(uintptr_t)at & ({upper}_ALIGNMENT - 1));
}}

static uint32_t state;
static int next(void) {{
  state = state * 1664525u + 1013904223u;
  return (int)(state >> 24);
}}

static double largest, error;
static unsigned long different;
static void check(double is, double expected) {{
  const double magnitude = expected < 0 ? -expected : expected;
  const double apart = is < expected ? expected - is : is - expected;
  if (magnitude > largest) largest = magnitude;
  if (!(apart <= error)) error = apart;
  different += is != expected;
}}

int main(void) {{
  const void* const inputs[] = {{{inputs}}};
  void* const outputs[] = {{{outputs}}};
  uint32_t i;
{before}{fills}
  {name}_run{on}inputs, outputs, aligned(space));
{after}{checks}
  printf("{name}: %s, largest difference %g of %g, %lu not the same\\n",
         error <= 1e-3 * largest ? "passed" : "FAILED", error, largest, different);
  return !(error <= 1e-3 * largest);
}}
"""
