"""The result as one HTML page that needs no other file: chart, tables, environment."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from .report import (
    FACTS,
    MARKS,
    SMALLER,
    Data,
    Group,
    answers,
    as_chart,
    facts,
    groups,
    marked,
    peak,
    ratio,
    reasons,
    spread,
    title,
    verdict,
)


def as_html(runs: Sequence[Data]) -> str:
    """The page of all runs."""
    first = next((run for run in runs if not run.get("reference")), runs[0])
    heading = title(first) if len(runs) == 1 or first is runs[0] else "linnet compare"
    body = [
        "<h1>linnet compare</h1>",
        f"<figure>{as_chart(runs).svg()}</figure>",
        *(part for run in runs for part in _run(run)),
    ]
    return PAGE.format(title=_text(heading), style=STYLE, body="\n".join(body))


def _run(run: Data) -> Iterator[str]:
    batches = [str(batch) for batch in run["protocol"]["batches"]]
    state = "note" if run.get("reference") else "good" if run["conditions"]["valid"] else "bad"
    yield f'<section><h2>{_text(title(run))}</h2><p class="{state}">{_text(verdict(run))}</p>'
    for group in groups(run):
        yield f"<h3>In {group.arithmetic}</h3><p>Mean ms per image by batch size, lower is better."
        if not run.get("reference"):
            yield f"Below: the median's ratio to {group.subject}'s, and half the distance of the"
            yield f"quartiles. {NOTES[group.arithmetic]}"
        yield "</p>"
        heads, shares = answers(group)
        lines = [[*_times(group, row), *share] for row, share in zip(group.rows, shares)]
        yield _table(["runtime", *batches, *heads], lines, "times")
    if reasons(run):
        yield f"<h3>Notes</h3><ul>{''.join(f'<li>{_text(r)}</li>' for r in reasons(run))}</ul>"
    if not run.get("reference"):
        yield "<h3>What ran</h3>"
        yield _table(FACTS, [list(map(_text, facts(row))) for row in run["rows"]])
        yield "<h3>Peak resident memory, MB</h3>"
        lines = [[_text(r["name"]), *(peak(c) for c in r["cells"])] for r in run["rows"]]
        yield _table(["runtime", *batches], lines)
        yield "<h3>Libraries in the processes</h3>"
        yield _table(
            ["runtime", "library", "core", "sha256"], list(_libraries(run["rows"])), "left"
        )
        yield "<h3>Machine and protocol</h3>"
        yield _table(["", ""], list(_environment(run)), "left")
    yield "</section>"


NOTES = {
    "float32": "",
    "int8": "Every layer in integers that can be, in the file that linnet's quantize wrote; a "
    "runtime that reads none quantizes the network itself. First, linnet's fastest in float32.",
    SMALLER: "What linnet's shrink made of the network on this machine: fewer channels, and fewer "
    "bits where that is faster, within 1 % of accuracy. First, linnet's fastest in float32.",
}


def _times(group: Group, row: Data) -> list[str]:
    """The times of a row as a line of the table, as HTML."""
    line = [_text(row["name"])]
    texts = marked(group.rows, row, "mean")
    for text, times, cell in zip(texts, ratio(group, row), row["cells"]):
        small = " ".join(part for part in (times, spread(cell)) if part)
        if text in MARKS.values():
            line.append(f'<span class="none" title="{_text(cell.get("reason"))}">{text}</span>')
        else:
            strong = f"<b>{text[1:]}</b>" if text.startswith("*") else text
            line.append(strong + (f"<small>{small}</small>" if small else ""))
    return line


def _libraries(rows: Sequence[Data]) -> Iterator[list[str]]:
    for row in rows:
        for library in row.get("libraries") or []:
            core, build = library.get("corename", ""), library.get("config", "")
            where = _text(library["path"]) + (f"<small>{_text(build)}</small>" if build else "")
            code = f"<code>{_text(library['sha256'])}</code>"
            yield [_text(row["name"]), where, _text(core), code]


def _environment(run: Data) -> Iterator[list[str]]:
    values = {"date": run["date"], **run["machine"]}
    for name, value in {**values, **run["protocol"], **run["conditions"]}.items():
        if value is None or value == []:
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if name in ("memory", "memory_cap", "swapped"):
            text = f"{value / (1 << 20):.0f} MiB"
        yield [_text(UNITS.get(name, name.replace("_", " "))), _text(text)]


UNITS = {
    "seconds": "seconds per cell, at most",
    "passes": "passes per cell",
    "interval_ms": "milliseconds before each pass",
    "hottest": "highest temperature, °C",
    "clocks": "lowest and highest clock, MHz",
    "other_cpus": "CPUs kept busy by others",
    "batches": "batch sizes",
}


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], kind: str = "") -> str:
    """`lines` are HTML already."""
    top = "".join(f"<th>{_text(name)}</th>" for name in head) if any(head) else ""
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _text(value: object) -> str:
    return html.escape("" if value is None else str(value))


STYLE = """
:root { color-scheme: light dark; --ink: #24292f; --muted: #6a737d; --line: #e3e6ea;
  --paper: #fff; --back: #f5f6f8; --best: #c23d1a; --good: #24803a; --bad: #c0392b }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --muted: #9aa3ad; --line: #30353b;
  --paper: #15181c; --back: #0e1013; --best: #ff8562; --good: #5cc977; --bad: #ff7a6b } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
small, .none, .note { color: var(--muted) }
h1 { font-size: 1.5rem; margin: 0 0 1rem }
h2 { font-size: 1.15rem; margin: 0 0 .3rem } h3 { font-size: 1rem; margin: 1.8rem 0 .4rem }
figure, section { margin: 0 0 1.2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 8px; padding: 1rem 1.2rem }
svg { display: block; width: 100%; height: auto }
.good, .bad { font-weight: 600; margin: 0 0 .6rem }
.good { color: var(--good) } .bad { color: var(--bad) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem }
th { font-weight: 600; color: var(--muted) }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top }
td:first-child, th:first-child, .left td, .left th { text-align: left; padding-left: 0 }
.left td { padding-right: 1rem }
.left td:nth-child(2) { white-space: normal; overflow-wrap: anywhere }
.times { width: 100% } small { display: block; font-size: .72rem; line-height: 1.2 }
b { color: var(--best) } code { font-size: .72rem }
tbody tr:hover { background: color-mix(in srgb, var(--ink) 5%, transparent) }
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
{style}</style></head><body>
{body}
</body></html>
"""
