from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

def prepare(
    image: npt.NDArray[np.uint8],
    out: npt.NDArray[np.float32],
    *,
    order: str = "RGB",
    mean: Sequence[float] = (0.0,),
    scale: float = 1.0,
) -> None: ...
