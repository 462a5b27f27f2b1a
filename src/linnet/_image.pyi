from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

def taps(
    size: Sequence[int],
    target: Sequence[int],
    begin: Sequence[int],
    step: Sequence[float],
    antialias: bool,
) -> list[npt.NDArray[np.int32]]: ...
def resize(
    image: npt.NDArray[Any],
    out: npt.NDArray[Any],
    *,
    begin: tuple[int, int] = (0, 0),
    step: tuple[float, float],
    antialias: bool = False,
) -> None: ...
def prepare(
    image: npt.NDArray[np.uint8],
    out: npt.NDArray[np.float32],
    *,
    order: str,
    mean: npt.NDArray[np.float32],
    scale: Sequence[float],
    begin: tuple[int, int] = (0, 0),
    step: tuple[float, float] | None = None,
    antialias: bool = False,
) -> None: ...
