"""A matrix as one HTML page that needs no other file: heat map, filters, all cells, libraries."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..text import count
from .heat import heat_map
from .matrix import Entry, entries, reasons, verdict
from .page import STYLE
from .report import MARKS, Data, ms

FILTERS = ("framework", "blas", "model", "batch", "threads", "status")
COLUMNS = (*FILTERS, "ms per image", "times the fastest", "logits off by", "library's sha256")


def as_html(runs: Sequence[Data]) -> str:
    """The page of all runs."""
    every = list(entries(runs))
    good = "good" if all(run["conditions"]["valid"] for run in runs) else "bad"
    lines = [f'<p class="{good}">{_text(line)}</p>' for line in verdict(runs).splitlines()]
    machine = runs[0]["machine"]
    about = f"{machine['cpu']}, {count(machine['cores'], 'core')}, {machine['system']}"
    picture = heat_map(runs)
    notes = "".join(f"<li>{_text(reason)}</li>" for reason in reasons(runs))
    body = [
        "<h1>linnet compare --matrix</h1>",
        f"<section><h2>{_text(about)}, {_text(runs[0]['date'])}</h2>",
        *lines,
        "</section>",
        f'<figure class="wide" style="--width: {picture.width}px">{picture.svg()}</figure>',
        f"<section><h2>Cells</h2>{_filters(every)}{_table(every)}</section>",
        f"<section><h2>Why others have no time</h2><ul>{notes}</ul></section>",
        f"<section><h2>BLAS in the processes</h2>{_libraries(runs)}</section>",
    ]
    return PAGE.format(style=STYLE + OWN, body="\n".join(body), script=SCRIPT)


def _value(entry: Entry, name: str) -> str:
    if name == "status":
        return str(MARKS.get(entry.cell["status"], entry.cell["status"]))
    return str(getattr(entry, name))


def _filters(every: Sequence[Entry]) -> str:
    parts = []
    for name in FILTERS:
        values = dict.fromkeys(_value(entry, name) for entry in every)
        options = "".join(f"<option>{_text(value)}</option>" for value in values)
        parts.append(
            f'<label>{name} <select data-filter="{name}"><option value="">all</option>'
            f"{options}</select></label>"
        )
    return f'<p class="filters">{" ".join(parts)} <output></output></p>'


def _table(every: Sequence[Entry]) -> str:
    head = "".join(f'<th><button type="button">{_text(name)}</button></th>' for name in COLUMNS)
    lines = []
    for entry in every:
        cell = entry.cell
        data = " ".join(f'data-{name}="{_text(_value(entry, name))}"' for name in FILTERS)
        error = cell.get("logit_difference")
        texts = [
            *(_value(entry, name) for name in FILTERS),
            ms(cell["median"]) if entry.ratio else "",
            f"{entry.ratio:.2f}" if entry.ratio else "",
            "" if error is None else f"{error:.1e}",
            cell.get("blas_sha256", "")[:16],
        ]
        title = f' title="{_text(cell["reason"])}"' if cell["reason"] else ""
        tds = "".join(f"<td>{_text(text)}</td>" for text in texts)
        lines.append(f"<tr {data}{title}>{tds}</tr>")
    return (
        f'<div class="wide"><table class="left cells"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _libraries(runs: Sequence[Data]) -> str:
    found = {
        (row["runtime"], row["blas"], library["path"], library["sha256"]): library.get("config", "")
        for run in runs
        for row in run["rows"]
        for library in row["libraries"]
        if "borrowed" in library
    }
    lines = [
        f"<tr><td>{_text(framework)}</td><td>{_text(blas)}</td><td>{_text(path)}"
        f"<small>{_text(config)}</small></td><td><code>{_text(digest)}</code></td></tr>"
        for (framework, blas, path, digest), config in found.items()
    ]
    head = "".join(f"<th>{name}</th>" for name in ("framework", "BLAS", "file", "sha256"))
    return f'<div class="wide"><table class="left"><tr>{head}</tr>{"".join(lines)}</table></div>'


def _text(value: object) -> str:
    return html.escape(str(value))


OWN = """
body { max-width: 110rem } figure svg { width: var(--width) }
.filters { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline }
.filters select, th button { font: inherit; color: inherit }
th button { background: none; border: 0; padding: 0; cursor: pointer; font-weight: 600 }
"""
SCRIPT = """
const rows = [...document.querySelectorAll(".cells tbody tr")];
const filters = [...document.querySelectorAll("[data-filter]")];
function show() {
  let shown = 0;
  for (const row of rows) {
    row.hidden = filters.some(f => f.value && row.dataset[f.dataset.filter] !== f.value);
    shown += !row.hidden;
  }
  document.querySelector("output").textContent = shown + " of " + rows.length;
}
filters.forEach(f => f.addEventListener("change", show));
document.querySelectorAll(".cells th").forEach((head, i) => {
  let up = false;
  head.addEventListener("click", () => {
    up = !up;
    const value = row => {
      const text = row.cells[i].textContent, number = Number(text);
      return text === "" ? Infinity : Number.isNaN(number) ? text : number;
    };
    const sign = up ? 1 : -1;
    const numbers = rows.every(row => typeof value(row) === "number");
    const order = numbers ? value : row => String(value(row));
    rows.sort((a, b) => sign * (order(a) < order(b) ? -1 : +(order(a) > order(b))));
    document.querySelector(".cells tbody").append(...rows);
  });
});
show();
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>linnet compare --matrix</title><style>{style}</style></head><body>
{body}
<script>{script}</script>
</body></html>
"""
