"""Compiled networks beside sessions, and beside others that need no large runtime, by turns.

    python bench/ahead.py digits MobileNet-v2 [--target x86-64-avx512vnni] [--seconds 5]
    pip install tflite-micro apache-tvm onnx && python bench/ahead.py --peers net.tflite

A model is a network of models.py or a file. One thread; inputs are random. Prints of each the
median of the time of a call, over a session's, and how far results are from the compiled
network's. Then how long the first call in a process takes over the second, the median of several:
as it comes; with the pages of code, weights, arena, arrays and stack touched before, so that the
system brings in none; and with every line of a cache touched.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from models import named

import linnet
from linnet import _core, ahead, digits
from linnet.ahead.network import ALIGNMENT, Network

Array = np.ndarray[Any, Any]
Run = Callable[[], Array]
PROCESSES = 15
TOUCHED = {"as it comes": 0, "pages there": 4096, "in caches": 64}  # a byte of so many is read
# Says how many ns the first and the second call take, and how many pages the first brings in.
PROGRAM = """
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "net.h"
static unsigned char space[NET_ARENA + NET_ALIGNMENT];
{arrays}
static size_t step;
static volatile unsigned char sum;
static int touch(struct dl_phdr_info* info, size_t size, void* data) {{
  const int ours = !*info->dlpi_name || strstr(info->dlpi_name, "libnet");
  for (int i = 0; ours && i < info->dlpi_phnum; ++i) {{
    const ElfW(Phdr)* part = &info->dlpi_phdr[i];
    const volatile unsigned char* at = (const unsigned char*)(info->dlpi_addr + part->p_vaddr);
    for (size_t k = 0; part->p_type == PT_LOAD && k < part->p_memsz; k += step) sum += at[k];
  }}
  return 0;
}}
static __attribute__((noinline)) void touch_stack(void) {{
  volatile unsigned char below[1 << 17];
  for (size_t k = 0; k < sizeof below; k += step) below[k] = 1;
}}
static long long now(void) {{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}}
static long faults(void) {{
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return used.ru_minflt + used.ru_majflt;
}}
int main(int argc, char** argv) {{
  const void* const inputs[] = {{{inputs}}};
  void* const outputs[] = {{{outputs}}};
  unsigned char* arena = space;
  long long took[2];
  long pages[2];
  step = strtoul(argv[1], 0, 10);
  while ((uintptr_t)arena % NET_ALIGNMENT) ++arena;
  {fill}
  const long long end = now() + 20000000; /* the clock as high as it goes */
  while (now() < end) ++sum;
  if (step) {{
    memset(space, 1, sizeof space);
    {clear}
    dl_iterate_phdr(touch, 0);
    touch_stack();
  }}
  for (int i = 0; i < 2; ++i) {{
    const long before = faults();
    const long long start = now();
    net_run(inputs, outputs, arena);
    took[i] = now() - start;
    pages[i] = faults() - before;
  }}
  printf("%lld %lld %ld\\n", took[0], took[1], pages[0]);
  return 0;
}}
"""


def write(model: str, target: str, folder: Path) -> tuple[Network, _core.GraphBuilder]:
    """A network as libnet.so with its header in a folder, and its graph."""
    given = str(digits.MODEL) if model == "digits" else named(model)
    network, graph = ahead.plan(given, None, "net", target, wisdom="")
    ahead.write(network, ahead.expected(network, graph, {"wisdom": ""}), folder, "shared")
    return network, graph


def addresses(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def compiled(network: Network, folder: Path, inputs: Sequence[Array]) -> Run:
    library = ctypes.CDLL(str(folder / "libnet.so"))
    outputs = [np.empty(value.of(1), value.dtype) for value in network.outputs]
    arena = np.zeros(network.arena + ALIGNMENT, np.uint8)
    at = ctypes.c_void_p(arena.ctypes.data + -arena.ctypes.data % ALIGNMENT)
    places, run = (addresses(inputs), addresses(outputs)), library.net_run

    def call(kept: object = arena) -> Array:
        run(*places, at)
        return outputs[0]

    return call


def session(network: Network, graph: _core.GraphBuilder, inputs: Sequence[Array]) -> Run:
    runtime = _core.Session(graph, threads=1, wisdom="")
    outputs = [np.empty(value.of(1), value.dtype) for value in network.outputs]

    def call() -> Array:
        runtime.run(inputs, [], outputs)
        return outputs[0]

    return call


def tflite_micro(file: Path, inputs: Sequence[Array]) -> Run:
    runtime = importlib.import_module("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_file(str(file))

    def run() -> Array:
        for i, x in enumerate(inputs):
            interpreter.set_input(x, i)
        interpreter.invoke()
        return np.asarray(interpreter.get_output(0))

    return run


def tvm(file: Path, inputs: Sequence[Array]) -> Run:
    """Without a search, which takes hours."""
    tvm = importlib.import_module("tvm")
    relax = importlib.import_module("tvm.relax")
    frontend = importlib.import_module("tvm.relax.frontend.onnx")
    model = importlib.import_module("onnx").load(str(file))
    shapes = {value.name: list(x.shape) for value, x in zip(model.graph.input, inputs)}
    target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})
    module = frontend.from_onnx(model, shape_dict=shapes)
    with target:
        machine = relax.VirtualMachine(tvm.compile(module, target=target), tvm.cpu())
    given = [tvm.runtime.tensor(x) for x in inputs]

    def run() -> Array:
        result = machine["main"](*given)
        return np.asarray((result if hasattr(result, "numpy") else result[0]).numpy())

    return run


def by_turns(runs: dict[str, Run], seconds: float) -> None:
    """Prints times, the first of all being what results are compared with."""
    known = next(iter(runs.values()))().ravel().astype(np.float64)
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, run in runs.items():
            run()  # what it needs is in caches again
            start = time.perf_counter()
            for _ in range(5):
                run()
            times[name].append((time.perf_counter() - start) / 5)
    for name, run in runs.items():
        apart = np.abs(run().ravel().astype(np.float64) - known).max()
        middle = statistics.median(times[name])
        over = statistics.median(a / b for a, b in zip(times[name], times["a session"]))
        print(f"  {name:15} {middle * 1e3:9.3f} ms, {over:.3f} of a session's; {apart:.3g} apart")


def first_call(network: Network, folder: Path) -> None:
    """Prints how long the first call of a process takes."""
    arrays, fill = [], []
    for kind, name, values in (("INPUT", "x", network.inputs), ("OUTPUT", "y", network.outputs)):
        for i in range(len(values)):
            arrays.append(f"static NET_{kind}_{i}_TYPE {name}{i}[NET_{kind}_{i}_COUNT];")
    for i, value in enumerate(network.inputs):
        number = "i * 37 % 101" + (" / 101.0f" if value.dtype.kind == "f" else "")
        fill.append(f"for (int i = 0; i < NET_INPUT_{i}_COUNT; ++i) x{i}[i] = {number};")
    outputs = [f"y{i}" for i in range(len(network.outputs))]
    text = PROGRAM.format(
        arrays="\n".join(arrays),
        inputs=", ".join(f"x{i}" for i in range(len(network.inputs))),
        outputs=", ".join(outputs),
        fill="\n  ".join(fill),
        clear="\n    ".join(f"memset({y}, 1, sizeof {y});" for y in outputs),
    )
    (folder / "first.c").write_text(text)
    link = ["-L.", "-lnet", "-Wl,-rpath,$ORIGIN,-z,now", "-o", "first"]
    subprocess.run(["gcc", "-O1", "first.c", *link], cwd=folder, check=True)
    for how, step in TOUCHED.items():
        command = [str(folder / "first"), str(step)]
        said = [
            [int(number) for number in subprocess.check_output(command).split()]
            for _ in range(PROCESSES)
        ]
        first, second, pages = (statistics.median(column) for column in zip(*said))
        over = statistics.median(a / b for a, b, _ in said)
        print(f"  first call, {how:12} {first / 1e6:9.3f} ms, {over:.2f} of the second's "
              f"{second / 1e6:.3f} ms; {pages:.0f} pages brought in", flush=True)  # fmt: skip


def measure(model: str, args: argparse.Namespace, folder: Path) -> None:
    """Prints all of a model."""
    network, graph = write(model, args.target, folder)
    print(f"{model}, {args.target}", flush=True)
    random = np.random.default_rng(0)
    inputs = []
    for value in network.inputs:
        x = random.random(value.of(1), np.float32)
        whole = (x * 255 - 128 * (value.dtype.name == "int8")).astype(value.dtype)
        inputs.append(x if value.dtype.kind == "f" else whole)
    makers: dict[str, Callable[[], Run]] = {
        "linnet compile": lambda: compiled(network, folder, inputs),
        "a session": lambda: session(network, graph, inputs),
    }
    if args.peers:
        linnet.convert(model, None, folder / "net.onnx")
        makers["TFLite Micro"] = lambda: tflite_micro(Path(model), inputs)
        makers["Apache TVM"] = lambda: tvm(folder / "net.onnx", inputs)
    runs: dict[str, Run] = {}
    for name, maker in makers.items():
        try:
            runs[name] = maker()
        except Exception as error:  # whatever another runtime says
            print(f"  {name}: {type(error).__name__}: {str(error).splitlines()[:1]}")
    by_turns(runs, args.seconds)
    first_call(network, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--target", default="native", help="of this CPU")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--peers", action="store_true", help="of a .tflite file, others too")
    args = parser.parse_args()
    for model in args.models:
        with tempfile.TemporaryDirectory() as folder:
            measure(model, args, Path(folder))


if __name__ == "__main__":
    main()
