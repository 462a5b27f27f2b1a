"""linnet inspect"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from ..graph import Graph
from ..model import build, canonical, needs
from ..options import core_options
from ..preprocess import recorded
from ..text import listed, megabytes, shape_text, table
from .inputs import files, load
from .options import add_model, add_session, arithmetic, count, session_options
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    program = parser.add_argument_group("the compiled program, instead of the model")
    program.add_argument(
        "--steps", action="store_true", help="each step's problem, algorithm and operands' places"
    )
    program.add_argument(
        "--arena", action="store_true", help="which bytes values take, from which step to which"
    )
    program.add_argument(
        "--memory", action="store_true", help="what loading and running it takes; it is not loaded"
    )
    program.add_argument("--batch", type=count, metavar="N", help="default: 1")
    add_session(program)


def run(args: argparse.Namespace) -> Result:
    if args.memory:
        if args.steps or args.arena:
            raise ValueError("--memory goes without --steps and --arena")
        return _memory(args)
    return _program(args) if args.steps or args.arena else _model(args)


def _program(args: argparse.Namespace) -> Result:
    """What a run does, and where in memory."""
    lines = load(args).program(args.batch).splitlines()
    blocks = next(i for i, line in enumerate(lines) if line.startswith(("block ", "arena: ")))
    parts = {"steps": lines[:blocks] if args.steps else [], "arena": lines[blocks:]}
    if not args.arena:
        del parts["arena"]
    return Result(dict(parts), [line for part in parts.values() for line in part])


def _memory(args: argparse.Namespace) -> Result:
    """What the program will take, before weights are packed."""
    model, weights, _ = files(args)
    options = core_options(session_options(args))
    limit = options.get("memory_limit")
    how: dict[str, Any] = {"outputs": args.outputs, "arithmetic": arithmetic(args)}
    graph, _ = build(model, weights, args.stages, None, limit, **how)
    found = needs(graph, args.batch or 1, options)
    rows = [
        (found["weights"], f"packed weights, {megabytes(found['plain'])} as the model has them"),
        (found["arena"], f"values and workspaces, {megabytes(found['values'])} of one layer"),
        (found["callers"], "inputs and outputs"),
    ]
    if found["read"]:
        rows.append(
            (
                found["read"],
                "weights as they were read; `linnet convert` makes a file whose weights stay there",
            )
        )
    total = sum(size for size, _ in rows)
    rows.append((total, f"in all; {megabytes(found['available'])} are free"))
    lines = [
        f"{model.name}: batch {args.batch or 1}",
        *(f"{megabytes(n):>10}  {what}" for n, what in rows),
    ]
    return Result({**found, "total": total}, lines)


def _preprocess(graph: Graph) -> str | None:
    """How the model's file says that a picture becomes its input, or what is wrong with that."""
    try:
        record = recorded(graph.metadata)
    except ValueError as error:
        return str(error)
    return None if record is None else repr(record)


def _model(args: argparse.Namespace) -> Result:
    """The model in canonical form, which is what linnet runs."""
    from .. import core
    from ..channels import remove_dead

    model, weights, _ = files(args)
    graph = canonical(
        model, weights, args.stages, outputs=args.outputs, arithmetic=arithmetic(args)
    )
    shapes = core.shapes(graph)
    nodes: list[dict[str, Any]] = []
    constants = dict(graph.initializers)
    for node in graph.nodes:
        if node.op == "DequantizeLinear" and node.inputs[0] in constants:
            constants[node.outputs[0]] = constants[node.inputs[0]]  # the weights of a layer
            continue
        used = [constants[name] for name in node.inputs if name in constants]
        layer = node.op not in ("DequantizeLinear", "QuantizeLinear")
        parameters = sum(array.size for array in used if array.dtype != np.int64) if layer else 0
        output = shapes[node.outputs[0]]
        weighted = used[0].size if node.op in ("Conv", "Gemm") else 0
        nodes.append(
            {
                "name": node.name,
                "op": node.op,
                "output": node.outputs[0],
                "shape": [None, *output[1:]],
                "parameters": parameters,
                "macs": weighted * math.prod(output[2:]),
            }
        )
    _, dead = remove_dead(graph)
    stored = [array for array in graph.initializers.values() if array.dtype != np.int64]
    data: dict[str, Any] = {
        "name": graph.name,
        "inputs": [
            {"name": v.name, "shape": [v.shape[0] if graph.batchless else None, *v.shape[1:]]}
            for v in graph.inputs
        ],
        "outputs": [{"name": name, "shape": [None, *shapes[name][1:]]} for name in graph.outputs],
        "left_out": graph.left_out,
        "aliases": graph.aliases,
        "preprocess": _preprocess(graph),
        "dead": [layer._asdict() for layer in dead],
        "nodes": nodes,
        "parameters": sum(array.size for array in stored),
        "macs": sum(node["macs"] for node in nodes),
        "weight_bytes": sum(array.nbytes for array in stored),
        "file_bytes": sum(path.stat().st_size for path in (model, weights) if path is not None),
    }
    rows = [
        (
            n["name"],
            n["op"],
            n["output"],
            shape_text(n["shape"]),
            f"{n['parameters']:,}",
            f"{n['macs']:,}",
        )
        for n in nodes
    ]
    total = f"{data['parameters']:,} parameters, {data['macs']:,} multiply-adds per image"
    others = [f"{name} for {value}" for name, value in graph.aliases.items()]
    lines = [
        f"{graph.name or model.name}: {total}",
        f"{megabytes(data['weight_bytes'])} of weights, {megabytes(data['file_bytes'])} on disk",
        *(f"input {v['name']} {shape_text(v['shape'])}" for v in data["inputs"]),
        *(f"output {v['name']} {shape_text(v['shape'])}" for v in data["outputs"]),
        *[f"other names: {listed(others, 12)}"] * bool(others),
        *[f"left out: {listed(graph.left_out, 12)}"] * bool(graph.left_out),
        *(str(layer) for layer in dead),
        *([f"pictures: {data['preprocess']}"] if data["preprocess"] else []),
        "",
        *table(
            ("node", "op", "output", "shape", "parameters", "multiply-adds"), rows, right=(4, 5)
        ),
    ]
    return Result(data, lines)
