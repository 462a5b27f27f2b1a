"""Detections drawn into their picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .detector import Detections

if TYPE_CHECKING:
    from PIL.Image import Image

_COLOURS = (
    *("#e4502a", "#2f7fe0", "#b98500", "#149c94", "#8d5fd3", "#3d9a4b"),
    *("#c9479a", "#7d8a2e", "#a06a3c", "#587f9e", "#d8698c", "#6b6fb5"),
)


def drawn(picture: npt.NDArray[np.uint8], found: Detections, labels: Sequence[str]) -> Image:
    """A picture, [H, W] grey or [H, W, 3] RGB, with every box, what is in it and its score.
    ValueError if Pillow is not there.
    """
    try:
        from PIL import Image as images
        from PIL import ImageDraw, ImageFont
    except ImportError:
        raise ValueError("drawing needs Pillow: pip install pillow") from None
    image: Image = images.fromarray(np.asarray(picture)).convert("RGB")
    pen = ImageDraw.Draw(image)
    thick = max(2, round(max(image.size) / 320))
    font: Any = ImageFont.load_default()
    with suppress(TypeError, ImportError):  # before Pillow 10.1 there is one size
        font = ImageFont.load_default(6 * thick)
    for box, score, kind in reversed(list(zip(*found))):
        colour = _COLOURS[int(kind) % len(_COLOURS)]
        x0, y0, x1, y1 = (float(n) for n in box)
        pen.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour, width=thick)
        text = f"{labels[int(kind)]} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        high, wide = bottom - top + 2 * thick, right - left + 2 * thick
        x = max(min(x0, image.width - wide), 0)
        y = y0 - high if y0 >= high else y0
        pen.rectangle((x, y, x + wide, y + high), fill=colour)
        pen.text((x + thick - left, y + thick - top), text, fill="white", font=font)
    return image
