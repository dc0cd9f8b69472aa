"""How many points one device computes at once.

More points per call cost less overhead, until memory ends. `batch="auto"` compiles the program for as many
points as there are, asks the compiler what it needs, and shrinks to a power of two within the budget only if
that is too much; the points are then dealt out evenly over the calls that this takes, since a half-empty last
call costs as much as a full one. What a run can lose by a kill is one round of cells: with a store, at least
eight rounds are made over all cases, unless that would leave less than 64 points in a cell.

Example:
    >>> cells_wanted(cases=3, lanes=1, stored=True, by_executor=False)
    3
    >>> evenly(points=100_000, lanes=1, limit=65_536)
    50000
"""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

from theorysim.numerics.memory import free_memory
from theorysim.sweep.compiled import Devices, Kernel, Settings, executable, variables

__all__ = ["cells_wanted", "choose", "evenly", "memory_budget", "sharing_memory"]

_STORED_ROUNDS = 8
_SMALLEST_SPLIT = 64
_SWEEPS: ContextVar[int] = ContextVar("sweeps", default=1)


def cells_wanted(*, cases: int, lanes: int, stored: bool, by_executor: bool) -> int:
    """The least number of cells per case that keeps `lanes` devices or workers busy and a store useful."""
    rounds = math.ceil(_STORED_ROUNDS / cases) if stored else 1
    if by_executor:  # its workers compute cells of several cases at once
        return math.ceil(max(lanes, _STORED_ROUNDS if stored else 1) / cases)
    return lanes * rounds


def choose(kernel: Kernel, points: int, lanes: int, cells: int, devices: Devices, settings: Settings) -> int:
    """The batch per device for `points` points dealt out over `lanes` devices in at least `cells` cells."""
    budget = memory_budget(devices, lanes)
    largest = max(math.ceil(points / cells), min(_SMALLEST_SPLIT, math.ceil(points / lanes)))
    least_bytes = _bytes_per_point(kernel, settings)
    limit = largest if largest * least_bytes <= budget else _power_of_two(budget // least_bytes)
    while True:
        batch = min(largest, evenly(points, lanes, limit))
        needed = executable(kernel, batch, devices, settings).bytes
        if needed <= budget or batch == 1:
            return batch
        limit = _power_of_two(min(batch // 2, batch * budget // needed))


def evenly(points: int, lanes: int, limit: int) -> int:
    """The smallest batch that needs no more rounds of `lanes` cells than the batch `limit` does."""
    rounds = math.ceil(points / (lanes * limit))
    return math.ceil(points / (lanes * rounds))


@contextlib.contextmanager
def sharing_memory(sweeps: int) -> Iterator[None]:
    """Within it, a sweep of this thread takes its part of the memory, as one of so many at a time.

    Example:
        >>> with sharing_memory(2):
        ...     _SWEEPS.get()
        2
    """
    token = _SWEEPS.set(sweeps)
    try:
        yield
    finally:
        _SWEEPS.reset(token)


def memory_budget(devices: Devices, lanes: int) -> int:
    """Bytes one device may use: 80 % of what an accelerator has free, or half of the free RAM, shared."""
    sweeps = _SWEEPS.get()
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in found for found in stats):
        free = min(found["bytes_limit"] - found.get("bytes_in_use", 0) for found in stats)
        return int(0.8 * free) // sweeps
    return free_memory() // 2 // lanes // sweeps


def _bytes_per_point(kernel: Kernel, settings: Settings) -> int:
    outputs = sum(v.dtype.itemsize * math.prod(v.shape) for v in variables(kernel, settings))
    return 4 + outputs + sum(np.dtype(i.dtype).itemsize * math.prod(i.shape) for i in kernel.inputs)


def _power_of_two(number: int) -> int:
    return 1 << max(0, int(number).bit_length() - 1)
