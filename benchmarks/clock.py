"""Rivals measured side by side: they take turns, and the median of each counts, with its fastest and slowest turn."""

import statistics
import time
from typing import NamedTuple

import torch


class Times(NamedTuple):
    """Seconds of one rival."""

    median: float
    fastest: float
    slowest: float

    @property
    def spread(self):
        """The fastest and the slowest turn in words, in milliseconds."""
        return f"{1000 * self.fastest:.1f} to {1000 * self.slowest:.1f} ms"


def seconds(device):
    """Return a clock: CPU seconds of this process, which other programs disturb little, or on a GPU real seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def side_by_side(rivals, repeats=15, device=torch.device("cpu"), now=seconds):  # noqa: B008 - a constant
    """Return {name: Times} of functions without arguments that take turns, after one turn to warm up."""
    turns = {name: [] for name in rivals}
    for turn in range(repeats + 1):
        for name, function in rivals.items():
            start = now(device)
            function()
            if turn > 0:
                turns[name].append(now(device) - start)
    return {name: Times(statistics.median(ts), min(ts), max(ts)) for name, ts in turns.items()}
