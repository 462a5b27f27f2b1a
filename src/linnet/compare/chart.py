"""Line charts with two logarithmic axes, as SVG text or as a PNG picture.

The chart is laid out once as a list of shapes, which either format then draws.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

PLOT, LEAST_HEIGHT = 680, 540
LEFT, TOP, BOTTOM = 64, 48, 52
LABEL, TICK = 17, 30  # the least distance between labels at the right, and between batch sizes
LETTER = 7.2  # width of one in most fonts, or less
# Told apart on white and on black; the first stands out.
COLOURS = [
    *("#e4502a", "#2f7fe0", "#b98500", "#149c94", "#8d5fd3", "#3d9a4b"),
    *("#c9479a", "#7d8a2e", "#a06a3c", "#587f9e", "#d8698c", "#6b6fb5"),
]
REFERENCE = "#8a8f98"
DASHES = ((), (7, 3), (2, 3), (9, 3, 2, 3))
PAPER = {"ink": "#24292f", "muted": "#6a737d", "grid": "#e3e6ea", "paper": "#ffffff"}
DARK = {"ink": "#e6e8ea", "muted": "#9aa3ad", "grid": "#30353b", "paper": "#15181c"}
POLYGONS = (  # markers of a family's second line and those after it; the first has circles
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
    ((-1.2, 1), (0, -1.3), (1.2, 1)),
    ((-1.2, -1), (0, 1.3), (1.2, -1)),
    ((-0.7, -1.3), (0.7, -1.3), (0.7, 1.3), (-0.7, 1.3)),
    ((-1.3, -0.7), (1.3, -0.7), (1.3, 0.7), (-1.3, 0.7)),
)
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A curve through positive (x, y) points. Lines of one family share a colour; "" is grey."""

    name: str
    points: Sequence[Point]
    family: str
    bold: bool = False


@dataclass(frozen=True)
class Stroke:
    """A path."""

    points: Sequence[Point]
    colour: str
    width: float
    dash: tuple[int, ...] = ()


@dataclass(frozen=True)
class Marker:
    """A polygon, or a circle, that tells something when it is pointed at."""

    at: Point
    colour: str
    size: float
    polygon: Sequence[Point]  # around `at`, of about unit size; empty for a circle
    note: str


@dataclass(frozen=True)
class Text:
    """A line of letters."""

    at: Point
    text: str
    colour: str
    anchor: str = "start"
    size: int = 12
    upright: bool = True  # or turned, reading upwards


class Picture:
    """Shapes laid out; title and sizes in pixels."""

    def __init__(self, title: str, width: int, height: int, shapes: Sequence[Any]) -> None:
        self.title, self.width, self.height, self.shapes = title, width, height, list(shapes)

    def svg(self) -> str:
        """A picture that follows the reader's choice of light or dark."""
        begin = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="system-ui, sans-serif">'
            f"<title>{html.escape(self.title)}</title>"
            f"<style>{_style(PAPER)}@media(prefers-color-scheme:dark){{{_style(DARK)}}}</style>"
            f'<rect class="paper" width="{self.width}" height="{self.height}" rx="6"/>'
        )
        return "\n".join([begin, *map(_svg, self.shapes), "</svg>\n"])

    def png(self) -> bytes:
        """The same on white, twice as large in pixels. ImportError says what is needed for it."""
        try:
            from PIL import Image, ImageDraw, ImageFont

            ImageFont.load_default(12)
        except (ImportError, TypeError) as error:  # TypeError: older ones have one size only
            need = "a PNG chart needs Pillow 10.1 or later: pip install 'linnet[compare]'"
            raise ImportError(need) from error
        size, scale = (2 * self.width, 2 * self.height), 4  # drawn larger still, for smooth edges
        image = Image.new("RGB", (self.width * scale, self.height * scale), PAPER["paper"])
        pen = ImageDraw.Draw(image)
        for shape in self.shapes:
            _paint(image, pen, shape, scale)
        out = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
        return out.getvalue()


class Chart(Picture):
    """The lines, laid out. A line without points is only named."""

    def __init__(self, title: str, x_title: str, y_title: str, lines: Sequence[Line]) -> None:
        height = max(LEAST_HEIGHT, TOP + BOTTOM + LABEL * len(lines))
        names = max((len(line.name) for line in lines), default=0)
        width = round(LEFT + PLOT + 64 + LETTER * max(12, names))
        super().__init__(
            title, width, height, list(_layout(title, x_title, y_title, lines, height))
        )


def stacked(pictures: Sequence[Picture]) -> Picture:
    """Pictures one below the other; the title of the whole is the first's."""
    height, shapes = 0, []
    for picture in pictures:
        shapes += [_lowered(shape, height) for shape in picture.shapes]
        height += picture.height
    width = max(picture.width for picture in pictures)
    return Picture(pictures[0].title, width, height, shapes)


def _lowered(shape: Any, by: float) -> Any:
    if isinstance(shape, Stroke):
        return replace(shape, points=[(x, y + by) for x, y in shape.points])
    return replace(shape, at=(shape.at[0], shape.at[1] + by))


def _layout(
    title: str, x_title: str, y_title: str, lines: Sequence[Line], height: int
) -> Iterator[Any]:
    points = [point for line in lines for point in line.points] or [(1.0, 1.0)]
    x_ticks = sorted({x for x, _ in points})
    y_ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
    right, bottom = LEFT + PLOT, height - BOTTOM
    x_scale = _scale(x_ticks[0], x_ticks[-1], LEFT + 12, right - 12)
    y_scale = _scale(y_ticks[0], y_ticks[-1], bottom, TOP)
    yield Text((LEFT, 27), title, "ink", size=15)
    yield Text(((LEFT + right) / 2, height - 12), x_title, "muted", "middle")
    yield Text((18, (TOP + bottom) / 2), y_title, "muted", "middle", upright=False)
    for y in y_ticks:
        yield Stroke([(LEFT, y_scale(y)), (right, y_scale(y))], "grid", 1)
        yield Text((LEFT - 8, y_scale(y) + 4), f"{y:g}", "muted", "end")
    last = -math.inf
    for x in x_ticks:
        yield Stroke([(x_scale(x), TOP), (x_scale(x), bottom)], "grid", 1)
        if x_scale(x) - last >= TICK:
            last = x_scale(x)
            yield Text((last, bottom + 18), f"{x:g}", "muted", "middle")
    drawn = [(line, sorted(line.points), *look) for line, look in zip(lines, _looks(lines))]
    # The bold ones last, on top of the others.
    for line, path, colour, dash, polygon in sorted(drawn, key=lambda entry: entry[0].bold):
        at = [(x_scale(x), y_scale(y)) for x, y in path]
        if len(at) > 1:
            yield Stroke(at, colour, 3 if line.bold else 1.7, dash)
        for place, (x, y) in zip(at, path):
            size = 4 if line.bold else 3
            yield Marker(place, colour, size, polygon, f"{line.name}, {x:g}: {y:.4g}")
    absent = [line.name for line in lines if not line.points]
    floor = min(bottom, height - 24 - LABEL * len(absent))
    named = sorted((entry for entry in drawn if entry[1]), key=lambda entry: -entry[1][-1][1])
    wanted = [y_scale(path[-1][1]) for _, path, *_ in named]
    for (line, path, colour, _, polygon), y, end in zip(named, _apart(wanted, floor), wanted):
        begin = x_scale(path[-1][0])
        if path[-1][0] < x_ticks[-1]:  # not to be taken for measurements
            yield Stroke([(begin, end), (right + 6, end)], "grid", 1)
            begin = right + 6
        yield Stroke([(begin, end), (right + 6, end), (right + 26, y), (right + 34, y)], colour, 1)
        yield Marker((right + 38, y), colour, 3, polygon, line.name)
        yield Text((right + 48, y + 4), line.name, colour if line.bold else "ink")
    for i, name in enumerate(reversed(absent)):
        yield Text((right + 48, height - 12 - LABEL * i), f"{name}: n/a", "muted")


def _looks(
    lines: Sequence[Line],
) -> Iterator[tuple[str, tuple[int, ...], Sequence[Point]]]:
    """Colour, dashes and marker of every line."""
    families = list(dict.fromkeys(line.family for line in lines if line.family))
    seen: dict[str, int] = {}
    for line in lines:
        nth = seen[line.family] = seen.get(line.family, -1) + 1
        polygon = POLYGONS[(nth - 1) % len(POLYGONS)] if nth else ()
        if not line.family:
            yield REFERENCE, DASHES[2], polygon
            continue
        colour = COLOURS[families.index(line.family) % len(COLOURS)]
        yield colour, DASHES[nth % len(DASHES)], polygon


def _apart(wanted: Sequence[float], bottom: float) -> list[float]:
    """The positions nearest to the ascending `wanted` with LABEL between them, TOP to `bottom`."""
    groups: list[list[float]] = []  # of labels that touch: sum of where each wants the first, count
    for i, y in enumerate(wanted):
        groups.append([y - LABEL * i, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] >= groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1] = [groups[-1][0] + total, groups[-1][1] + count]
    first = [total / count for total, count in groups for _ in range(int(count))]
    last = bottom - LABEL * (len(wanted) - 1)
    return [min(max(y, TOP), last) + LABEL * i for i, y in enumerate(first)]


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


def _style(colours: dict[str, str]) -> str:
    return "".join(
        f".chart .{name}{{{'stroke' if name == 'grid' else 'fill'}:{colour}}}"
        for name, colour in colours.items()
    )


def _svg(shape: Any) -> str:
    named = shape.colour in PAPER
    if isinstance(shape, Stroke):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in shape.points)
        colour = f'class="{shape.colour}"' if named else f'stroke="{shape.colour}"'
        dash = f' stroke-dasharray="{" ".join(map(str, shape.dash))}"' if shape.dash else ""
        return f'<path d="M{path}" fill="none" {colour} stroke-width="{shape.width}"{dash}/>'
    colour = f'class="{shape.colour}"' if named else f'fill="{shape.colour}"'
    x, y = shape.at
    if isinstance(shape, Text):
        place = f'x="{x:.1f}" y="{y:.1f}"'
        if not shape.upright:
            place = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"'
        place += f' font-size="{shape.size}" text-anchor="{shape.anchor}"'
        return f"<text {place} {colour}>{html.escape(shape.text)}</text>"
    note = f"<title>{html.escape(shape.note)}</title>"
    if not shape.polygon:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.size}" {colour}>{note}</circle>'
    corners = " ".join(
        f"{x + shape.size * dx:.1f},{y + shape.size * dy:.1f}" for dx, dy in shape.polygon
    )
    return f'<polygon points="{corners}" {colour}>{note}</polygon>'


def _paint(image: Any, pen: Any, shape: Any, scale: int) -> None:
    """Draw one shape with Pillow, `scale` times as large."""
    from PIL import Image, ImageDraw, ImageFont

    colour = PAPER.get(shape.colour, shape.colour)
    if isinstance(shape, Stroke):
        for part in _dashes(shape.points, shape.dash):
            ends = [(x * scale, y * scale) for x, y in part]
            pen.line(ends, fill=colour, width=round(shape.width * scale), joint="curve")
        return
    x, y = shape.at[0] * scale, shape.at[1] * scale
    if isinstance(shape, Marker):
        size = shape.size * scale
        if shape.polygon:
            pen.polygon([(x + size * dx, y + size * dy) for dx, dy in shape.polygon], fill=colour)
        else:
            pen.ellipse((x - size, y - size, x + size, y + size), fill=colour)
        return
    font = ImageFont.load_default(shape.size * scale)
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
    if shape.upright:
        pen.text((x, y), shape.text, fill=colour, font=font, anchor=anchor)
        return
    mask = Image.new("L", (round(font.getlength(shape.text)) + 2, 2 * shape.size * scale))
    baseline = 3 * mask.height // 4
    ImageDraw.Draw(mask).text((mask.width / 2, baseline), shape.text, 255, font, anchor="ms")
    turned = mask.rotate(90, expand=True)
    image.paste(colour, (round(x) - baseline, round(y) - turned.height // 2), turned)


def _dashes(points: Sequence[Point], dash: Sequence[int]) -> Iterator[list[Point]]:
    """The parts of a path that are drawn: all of it, or dashes that run on around its corners."""
    if not dash:
        yield list(points)
        return
    index, left, part = 0, float(dash[0]), [points[0]]
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        length, done = math.hypot(x1 - x0, y1 - y0), 0.0
        while length - done > left:
            done += left
            at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length)
            if index % 2 == 0:
                yield [*part, at]
            index, part = index + 1, [at]
            left = float(dash[index % len(dash)])
        left -= length - done
        part = [*part, (x1, y1)]
    if index % 2 == 0:
        yield part
