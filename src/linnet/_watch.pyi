import numpy as np
import numpy.typing as npt

def shrink(
    luma: npt.NDArray[np.uint8],
    factor: int,
    curve: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None: ...

class Background:
    height: int
    width: int
    def __init__(self, height: int, width: int) -> None: ...
    def reset(self) -> None: ...
    def update(
        self,
        now: npt.NDArray[np.float32],
        mask: npt.NDArray[np.uint8],
        calm: float,
        still: float,
        busy: float,
    ) -> float: ...

def colours(
    image: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]: ...
def components(
    mask: npt.NDArray[np.uint8], gap: int, least: int, most: int
) -> npt.NDArray[np.int32]: ...
def join(
    boxes: npt.NDArray[np.float32], size: tuple[int, int], least: tuple[int, int], most: int
) -> list[tuple[int, int, int, int]]: ...
def assign(cost: npt.NDArray[np.float32], limit: float) -> list[tuple[int, int]]: ...
