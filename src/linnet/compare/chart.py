"""A line chart with two logarithmic axes, as SVG text."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 44, 54
# Okabe and Ito's colours, told apart by colour-blind readers too; dashes tell the second round.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
DASHES = ("", "7 4", "2 3")


def line_chart(
    title: str, x_title: str, y_title: str, lines: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Draw `lines`, name -> positive (x, y) points; a line without points is only in the legend."""
    points = [point for line in lines.values() for point in line] or [(1.0, 1.0)]
    x_ticks = sorted({x for x, _ in points})
    y_ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
    x_scale = _scale(x_ticks[0], x_ticks[-1], LEFT, WIDTH - RIGHT)
    y_scale = _scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    right, bottom, middle = WIDTH - RIGHT, HEIGHT - BOTTOM, (LEFT + WIDTH - RIGHT) / 2
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="14">{html.escape(title)}</text>',
        f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_title)}</text>',
        f'<text transform="translate(18 {(TOP + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{html.escape(y_title)}</text>',
    ]
    for y in y_ticks:
        out.append(f'<path d="M{LEFT} {y_scale(y):.1f}H{right}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y_scale(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in x_ticks:
        out.append(f'<path d="M{x_scale(x):.1f} {TOP}V{bottom}" stroke="#eee"/>')
        at = f'x="{x_scale(x):.1f}" y="{bottom + 18}"'
        out.append(f'<text {at} text-anchor="middle">{x:g}</text>')
    for i, (name, line) in enumerate(lines.items()):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        if line:
            path = "L".join(f"{x_scale(x):.1f} {y_scale(y):.1f}" for x, y in sorted(line))
            out.append(f'<path d="M{path}" {style}/>')
        for x, y in line:
            place = f'cx="{x_scale(x):.1f}" cy="{y_scale(y):.1f}"'
            note = f"<title>{html.escape(name)}, {x:g}: {y:.4g}</title>"
            out.append(f'<circle {place} r="3.5" fill="{colour}">{note}</circle>')
        level = TOP + 10 + 20 * i
        out.append(f'<path d="M{right + 16} {level}h26" {style}/>')
        out.append(f'<text x="{right + 50}" y="{level + 4}">{html.escape(name)}</text>')
    return "\n".join([*out, "</svg>"])


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """Logarithmic: `low` at `begin`, `high` at `end`."""
    span = math.log(high / low) or 1.0
    return lambda value: begin + (end - begin) * math.log(value / low) / span


def _ticks(low: float, high: float) -> list[float]:
    """The numbers 1, 2 and 5 times powers of ten from below `low` to above `high`."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    first = max(step for step in steps if step <= low * (1 + 1e-9))
    last = min(step for step in steps if step >= high * (1 - 1e-9) and step > first)
    return [step for step in steps if first <= step <= last]
