import numpy as np
import numpy.typing as npt

def overlaps(
    a: npt.NDArray[np.float32],
    b: npt.NDArray[np.float32],
    wider: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]: ...
def covered(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
def suppress(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    groups: npt.NDArray[np.int32],
    overlap: float,
    most: int,
    average: bool = False,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]: ...
