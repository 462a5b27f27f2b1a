"""Times of repeated runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np


class Times:
    """Seconds of repeated runs, as the TFLite benchmark tool and trtexec sum them up."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.all = np.asarray(seconds)
        self.mean, self.std = float(self.all.mean()), float(self.all.std())
        self.median = float(np.median(self.all))

    def tflite(self) -> str:
        us = self.all * 1e6
        return (
            f"count={len(us)} first={us[0]:.0f} curr={us[-1]:.0f} min={us.min():.0f} "
            f"max={us.max():.0f} avg={us.mean():.6g} std={us.std():.0f}"
        )


def repeat(
    call: Callable[[], object], count: int, least: float, most: float, interval: float = 0.0
) -> list[float]:
    """Seconds of each of `count` calls, or more to fill `least` seconds; ended after `most`.

    interval: seconds to wait before each call.
    """
    seconds: list[float] = []
    start = time.perf_counter()
    elapsed = 0.0
    while (len(seconds) < count or elapsed < least) and (not seconds or elapsed < most):
        if interval:
            time.sleep(interval)
        before = time.perf_counter()
        call()
        now = time.perf_counter()
        seconds.append(now - before)
        elapsed = now - start
    return seconds
