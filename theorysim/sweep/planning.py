"""What a sweep would do, without doing it.

Example:
    >>> print(plan(lambda x: x * x, vary={"x": np.arange(8.0)}, batch=4))
    points          8 (1 case of 8)
    cells           2 of 4 points per device, 0 stored
    compilations    1
    memory          64 B per device and call, 64 B for the result
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from theorysim.sweep import batching, workers
from theorysim.sweep.compiled import executable
from theorysim.sweep.job import Job, cells_of, check, kernel_of, total_bytes
from theorysim.sweep.run import load_batch, load_cell
from theorysim.sweep.store import Store

__all__ = ["Plan", "plan"]


class Plan(NamedTuple):
    """What a sweep would do."""

    points: int
    """In all cases together."""
    cases: int
    cells: int
    cells_stored: int
    compilations: int
    """Cases that have missing cells."""
    batch: int | list[int]
    """Points per device and call; a list if the cases differ."""
    bytes_per_call: int
    """Memory per device of the first case with missing cells; 0 if all is stored."""
    bytes_result: int

    def __str__(self) -> str:
        cases = f"{self.cases} case{'s' if self.cases > 1 else ''} of {self.points // self.cases}"
        return "\n".join(
            [
                f"points          {self.points} ({cases})",
                f"cells           {self.cells} of {self.batch} points per device, {self.cells_stored} stored",
                f"compilations    {self.compilations}",
                f"memory          {_size(self.bytes_per_call)} per device and call, "
                f"{_size(self.bytes_result)} for the result",
            ]
        )


def plan(
    fn: Callable[..., Any],
    *,
    vary: Mapping[str, Any] | None = None,
    cases: Mapping[str, Any] | None = None,
    replicas: int = 0,
    key: jax.Array | None = None,
    batch: int | Literal["auto"] = "auto",
    store: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    devices: int | Sequence[Any] | None = None,
    progress: object = True,
    dims: Mapping[str, Any] | None = None,
    coords: Mapping[str, Any] | None = None,
) -> Plan:
    """Check the arguments of a `sweep` and say what it would do; nothing is run or written.

    Memory, and the batch where it is `"auto"` and not stored, come from compiling the first case with missing
    cells; cases whose batch is not known are taken to be like it.

    Raises:
        ValueError, TypeError: as `sweep` would.

    Example:
        >>> asked = plan(lambda x, n: x**n, vary={"x": [1.0, 2.0, 3.0]}, cases={"n": [1, 2]})
        >>> asked.points, asked.compilations
        (6, 2)
    """
    del progress
    job = check(
        fn,
        vary=vary,
        cases=cases,
        replicas=replicas,
        key=key,
        batch=batch,
        stored=store is not None,
        executor=executor,
        devices=devices,
        dims=dims,
        coords=coords,
    )
    there = Store(Path(store)) if store is not None and Path(store).is_dir() else None
    batches = _batches(job, there, stored=store is not None)
    missing = [
        sum(load_cell(job, there, cell) is None for cell in cells_of(job, case, size))
        for case, size in enumerate(batches)
    ]
    cells = sum(math.ceil(job.grid.points / size) for size in batches)
    first = next((case for case, count in enumerate(missing) if count), None)
    needed = 0
    if first is not None:
        needed = executable(kernel_of(job, first), batches[first], job.devices, job.settings).bytes
    return Plan(
        points=job.grid.points * len(job.cases),
        cases=len(job.cases),
        cells=cells,
        cells_stored=cells - sum(missing),
        compilations=int(np.count_nonzero(missing)),
        batch=batches[0] if len(set(batches)) == 1 else batches,
        bytes_per_call=needed,
        bytes_result=total_bytes(job),
    )


def _batches(job: Job, store: Store | None, *, stored: bool) -> list[int]:
    """Known batches, and for the rest the one that the first of them would choose."""
    known = {case: load_batch(job, store, case) for case in range(len(job.cases))}
    unknown = [case for case, batch in known.items() if batch is None]
    guess = 0
    if unknown:
        wanted = batching.cells_wanted(
            cases=len(job.cases), lanes=job.lanes, stored=stored, by_executor=job.executor is not None
        )
        guess = workers.batch_for(job, unknown[0], wanted)
    return [batch or guess for batch in known.values()]


def _size(number: int | float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
