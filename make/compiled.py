"""Compiled networks against the runtime: results must be the same bits.

    compiled.py [--target TARGET] [--run LINNET_RUN] [--emulator COMMAND] MODEL ...
    compiled.py --sanitize address,undefined [--threads N] MODEL ...

MODEL is a network of bench/models.py, or the files of any model with a comma between; all of the
former without any. Without --run a session in this process is the runtime, and each network's plan
and test are compiled with all warnings as errors. With --sanitize the test of each is run, and all
of its code is compiled with these sanitizers; what they find ends it.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import linnet
from linnet import ahead, digits
from linnet.ahead import build, printed, targets
from linnet.ahead.network import Network
from linnet.detect import YARD

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from models import NETWORKS, make

DATA = Path(__file__).parents[1] / "tests" / "data"
KNOWN = {
    "digits": Path(digits.MODEL),
    "digits-int8": DATA / "digits_int8.onnx",
    "yard": YARD,
}
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-fsyntax-only"]
PROGRAM = """
#include <stdio.h>
#include "net.h"
static unsigned char space[NET_ARENA + NET_ALIGNMENT];
{declared}
int main(void) {{
  const void* const inputs[] = {{{inputs}}};
  void* const outputs[] = {{{outputs}}};
  unsigned char* arena = space;
  while ((uintptr_t)arena % NET_ALIGNMENT) ++arena;
{reads}
  net_run(inputs, outputs, arena);
{writes}
  return 0;
}}
"""


def program(network: Network) -> str:
    """C that runs a network on what it reads, and writes the results."""
    declared, reads, writes = [], [], []
    for kind, values, name in (("INPUT", network.inputs, "x"), ("OUTPUT", network.outputs, "y")):
        for i in range(len(values)):
            declared.append(f"static NET_{kind}_{i}_TYPE {name}{i}[NET_{kind}_{i}_COUNT];")
            size = f"sizeof {name}{i}, 1"
            if name == "x":
                reads.append(f"  if (fread(x{i}, {size}, stdin) != 1) return 1;")
            else:
                writes.append(f"  if (fwrite(y{i}, {size}, stdout) != 1) return 1;")
    return PROGRAM.format(
        declared="\n".join(declared),
        inputs=", ".join(f"x{i}" for i in range(len(network.inputs))),
        outputs=", ".join(f"y{i}" for i in range(len(network.outputs))),
        reads="\n".join(reads),
        writes="\n".join(writes),
    )


def compiled(network: Network, folder: Path, inputs: Sequence[Any], emulator: list[str]) -> bytes:
    """What the network in a folder gives, run by its program."""
    (folder / "main.c").write_text(program(network))
    compiler = targets.tools(network.target).cc
    static = ["-static"] if emulator else []
    command = [compiler, "-O1", *static, "main.c", "libnet.a", "-lm", "-o", "main"]
    subprocess.run(command, cwd=folder, check=True)
    given = b"".join(x.tobytes() for x in inputs)
    return subprocess.run(
        [*emulator, "./main"], cwd=folder, input=given, check=True, stdout=subprocess.PIPE
    ).stdout


def by_linnet_run(network: Network, folder: Path, inputs: Sequence[Any], run: list[str]) -> bytes:
    """What linnet-run makes of the same model and inputs."""
    names = []
    for x in inputs:
        names.append(f"{len(names)}.npy")
        np.save(folder / names[-1], x)
    command = [*run, "net.onnx", *names, "--threads", "1", "--output", "y_"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return b"".join(
        np.load(folder / f"y_{name}.npy").tobytes()
        for name in (v.name.replace("/", "_") for v in network.outputs)
    )


def sanitized(network: Network, results: Sequence[Any], folder: Path, sanitizers: str) -> None:
    """Runs the network's test, all of it compiled with sanitizers."""
    ahead.write(network, results, folder, "c")
    flags = f"CFLAGS=-O1 -g -fsanitize={sanitizers} -fno-sanitize-recover=all"
    # They keep what nothing calls, of planning, whose own needs are not there.
    libraries = "LDLIBS=-lstdc++ -Wl,--unresolved-symbols=ignore-all,-z,now"
    command = ["make", "-s", "-j2", "-f", "net.mk", flags, libraries, "test"]
    subprocess.run(command, cwd=folder, check=True)


def check(text: str, args: argparse.Namespace) -> int:
    """Bytes of a model's results that differ."""
    emulator, run = shlex.split(args.emulator), shlex.split(args.run)
    files: list[Any] = [make(text)] if text in NETWORKS else text.split(",")
    files = [KNOWN.get(text, files[0]), *files[1:]]
    weights = files[1] if len(files) > 1 else None
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        linnet.convert(files[0], weights, folder / "net.onnx")
        network, graph = ahead.plan(
            folder / "net.onnx", None, "net", args.target, threads=args.threads, wisdom=""
        )
        results = ahead.expected(network, graph, {"wisdom": ""})
        if args.sanitize:
            print(f"{text}, {args.target}, {args.sanitize}: ", end="", flush=True)
            sanitized(network, results, folder, args.sanitize)
            return 0
        _, sizes = ahead.write(network, results, folder, "static")
        (folder / "net.c").write_text(printed.plan(network))
        for compiler in () if run else ("gcc", "clang"):
            command = [compiler, *STRICT, "-I", str(build.SOURCE), "net_selftest.c", "net.c"]
            subprocess.run(command, cwd=folder, check=True)
        inputs = [printed.sample(value, 1) for value in network.inputs]
        said = compiled(network, folder, inputs, emulator)
        if run:
            expected = by_linnet_run(network, folder, inputs, [*emulator, *run])
        else:
            expected = b"".join(y.tobytes() for y in results)
        numbers = [np.frombuffer(data, np.uint8) for data in (said, expected)]
        count = int((numbers[0] != numbers[1]).sum()) if len(said) == len(expected) else len(said)
        code = sizes["text"] + sizes["data"] - len(network.weights)
        print(f"{text}, {args.target}: {count} of {len(said)} bytes differ; code {code}, "
              f"weights {len(network.weights)}, arena {network.arena}", flush=True)  # fmt: skip
        return count


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", default="native")
    parser.add_argument("--run", default="", help="linnet-run, made for the target")
    parser.add_argument("--emulator", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sanitize", default="", metavar="KIND,KIND", help="as gcc names them")
    parser.add_argument("models", nargs="*", default=[*KNOWN, *NETWORKS])
    args = parser.parse_args()
    return int(sum(check(text, args) for text in args.models) > 0)


if __name__ == "__main__":
    sys.exit(main())
