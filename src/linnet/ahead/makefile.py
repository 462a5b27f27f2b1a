"""A network as sources with a makefile, for a machine that has the compiler."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from . import build
from .network import Network
from .targets import BASELINE


def source(name: str) -> str:
    """The folder of a network's code."""
    return f"{name}_source"


def write(network: Network, folder: Path) -> None:
    """NAME.c, NAME.bin and, in NAME_source, the code that they need, with a makefile for all."""
    name = network.name
    for file, text in build.plan_files(network).items():
        (folder / file).write_text(text, encoding="utf-8")
    (folder / f"{name}.bin").write_bytes(network.weights)
    inside = folder / source(name)
    units = build.units(network)
    for unit in units:
        path = inside / unit.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if unit.text is not None:
            path.write_text(unit.text, encoding="utf-8")
    texts = [unit.text for unit in units if unit.text is not None]
    texts += [(build.SOURCE / unit.file).read_text("utf-8") for unit in units if unit.text is None]
    wanted = {unit.file for unit in units if unit.text is None} | {"compiled/program.h"}
    for text in texts:
        wanted.update(_included(text))
    for file in _closure(wanted):
        (inside / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(build.SOURCE / file, inside / file)
    (folder / f"{name}.mk").write_text(_makefile(network, units), encoding="utf-8")


_INCLUDE = re.compile(r'^\s*#include "([^"]+)"', re.MULTILINE)


def _included(text: str) -> Iterator[str]:
    """Files of the package that a text includes, from wherever, as paths in it."""
    for file in _INCLUDE.findall(text):
        name = file.replace("../", "")
        options = (name, f"compiled/{name}", f"kernels/{name}")
        yield from (path for path in options if (build.SOURCE / path).is_file())


def _closure(files: set[str]) -> list[str]:
    """The files, and all that they include."""
    done: set[str] = set()
    while files - done:
        file = min(files - done)
        done.add(file)
        files |= set(_included((build.SOURCE / file).read_text("utf-8")))
    return sorted(done)


def _makefile(network: Network, units: list[build.Unit]) -> str:
    name, prefix = network.name, network.target.compiler
    rules, objects = [], []
    for unit in units:
        objects.append(f"{name}_build/{unit.file.replace('/', '_')}.o")
        flags = " ".join(f"'{flag}'" if "," in flag else flag for flag in unit.flags)
        rules.append(
            f"{objects[-1]}: {name}_source/{unit.file} | {name}_build\n"
            f"\t$(CXX) $(COMMON) {flags} -c $< -o $@\n"
        )
    objects.append(f"{name}_build/{name}.c.o")
    inside = ""
    if not network.weights_file:
        objects.append(f"{name}_build/{name}.S.o")
        inside = (
            f"{objects[-1]}: {name}.S {name}.bin | {name}_build\n\t$(CC) $(COMMON) -c $< -o $@\n"
        )
    plan = " ".join([*build.PLAN, BASELINE.get(network.isa, "")]).strip()
    link, keep = build.link_flags(network.exports)
    threads = " -pthread" if network.threads > 1 else ""
    return f"""# Builds lib{name}.a for {network.target.name}: make -f {name}.mk
# With `test` behind it, it runs the network's test, there.
# Written by a program; do not edit.
PREFIX ?= {prefix}
CC = $(PREFIX)gcc
CXX = $(PREFIX)g++
COMMON = {" ".join(build.COMMON)} -I. -I{name}_source/compiled -I{name}_source $(CFLAGS)
OBJECTS = {" ".join(objects)}

lib{name}.a: $(OBJECTS)
\t$(CXX) {" ".join(link)} -o {name}_build/{name}.o $(OBJECTS)
\t$(PREFIX)objcopy {" ".join(keep)} {name}_build/{name}.o
\trm -f $@ && $(PREFIX)ar rcsD $@ {name}_build/{name}.o

test: {name}_selftest
\t./{name}_selftest
{name}_selftest: {name}_selftest.c lib{name}.a
\t$(CC) -std=c99 -O1 $(CFLAGS) -o $@ $^ -lm{threads} $(LDLIBS)

{name}_build:
\tmkdir -p $@
{name}_build/{name}.c.o: {name}.c | {name}_build
\t$(CC) $(COMMON) {plan} -c $< -o $@
{inside}{chr(10).join(rules)}
clean:
\trm -rf {name}_build lib{name}.a {name}_selftest
.PHONY: test clean
"""
