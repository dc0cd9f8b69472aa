"""Running a sweep: what is stored is read, what is missing is computed, all of it is labelled.

Example:
    >>> import jax
    >>> def walk(steps, drift, key):
    ...     return drift + jax.random.normal(key, (steps,)).sum()
    >>> axes = dict(vary={"drift": [0.0, 1.0]}, cases={"steps": [4, 9]}, replicas=50)
    >>> data = sweep(walk, **axes, key=jax.random.key(0))
    >>> dict(data.sizes)
    {'steps': 2, 'drift': 2, 'replica': 50}
    >>> data.value.std("replica").shape, data.attrs["diverged"]
    ((2, 2), 0)
"""

import itertools
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr

import theorysim
from theorysim.sweep import batching, dataset, workers
from theorysim.sweep.grid import describe
from theorysim.sweep.identity import digest
from theorysim.sweep.interrupt import deferred_interrupt
from theorysim.sweep.job import Cell, Job, cell_digest, cells_of, check, total_bytes
from theorysim.sweep.progress import Meter, ProgressEvent, reporting
from theorysim.sweep.store import Store, open_store
from theorysim.sweep.workers import Outcome

__all__ = ["load_batch", "load_cell", "sweep"]


def sweep(
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
    progress: bool | Callable[[ProgressEvent], object] = True,
    dims: Mapping[str, Any] | None = None,
    coords: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Evaluate `fn` at every point of a grid and return the labelled results.

    The same backend, compiler flags and `batch` give the same bits, whatever the number of devices, the
    order, restarts or the executor. Another batch or level of optimisation changes rounding only.

    Args:
        fn: `fn(*, one scalar per name, key=…) -> pytree of arrays`, pure and traceable by JAX. Fields of a
            NamedTuple, dataclass or dict become data variables (nested names joined by `_`); a bare array
            becomes the variable `value`. bfloat16 comes out as float32.
        vary: traced arguments, as xarray takes coordinates: `{name: values}` makes a dim of that name,
            `{name: (dim, values)}` attaches to `dim`; names on one dim vary together, distinct dims multiply.
            Values of shape `(k, …)` give each point an array of the rest of the shape. Integers stay
            integers, the default float follows x64. A DataArray lends its first dim and its attrs.
        cases: static arguments, any hashable values: one compilation per combination, one dim per name,
            before those of `vary`.
        replicas: repetitions with keys of their own along the dim `replica`; needs `key`.
        key: `jax.random.key(seed)`. The point of global number i (C-order over cases, varied dims,
            replica) gets `key=jax.random.fold_in(key, i)`.
        batch: points per device and call. `"auto"` takes as many as memory allows, see
            `theorysim.sweep.batching`.
        store: a directory that keeps finished cells; the same sweep asked again computes only what is
            missing. `fn` is then known by content: its code and all that it refers to.
        executor: any `concurrent.futures.Executor`; each cell is a task. Processes must be spawned
            (`mp_context=multiprocessing.get_context("spawn")`), not forked. A cell that fails three times is
            recorded in `attrs["failures"]`; its points are NaN (integers become float64), not stored.
        devices: the first so many local devices, or a list of them; None for all.
        progress: True for a bar on stderr when that is a terminal, or a function that is called with each
            `ProgressEvent`.
        dims: `{variable: names of its own axes}`, also for varied arguments that are arrays per point.
        coords: more coordinates, such as those of own axes, as `xarray.Dataset.assign_coords` takes them.

    Returns:
        A Dataset with attrs `diverged` (points with a value that is not finite; it becomes NaN), `failed`
        (cells), `batch` (a list if the cases differ), `devices`, `backend`, `function`, `theorysim` and
        `wall_seconds`.

    Raises:
        ValueError, TypeError: a bad argument, named, before any work.
        StoreError: the store cannot be written; finished cells are kept.
        BrokenExecutor: a worker process died; finished cells are kept in the store.
        KeyboardInterrupt: after Ctrl-C and the end of the current cell; finished cells are kept in the store.

    Example:
        >>> data = sweep(lambda x: {"square": x * x, "root": x**0.5}, vary={"x": [1.0, 4.0]})
        >>> data.square.values.tolist(), data.root.sel(x=4.0).item()
        ([1.0, 16.0], 2.0)
    """
    if not (isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, False or a function of a ProgressEvent, got {progress!r}")
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
    return _Run(job, None if store is None else open_store(store)).result(progress)


def load_cell(job: Job, store: Store | None, cell: Cell) -> list[np.ndarray] | None:
    """The stored arrays of a cell; None if there is none with the expected variables."""
    found = store.get(cell_digest(job, cell)) if store else None
    if found is None:
        return None
    arrays = [found.get(variable.name) for variable in job.variables]
    expected = [((cell.stop - cell.start, *v.shape), v.dtype) for v in job.variables]
    if [(a.shape, a.dtype) for a in arrays if a is not None] != expected:
        return None
    return [array for array in arrays if array is not None]


def load_batch(job: Job, store: Store | None, case: int) -> int | None:
    """The batch of a case as given, or as chosen by an earlier run."""
    if job.batch is not None or store is None:
        return job.batch
    found = store.get(_batch_digest(job, case))
    return None if found is None else int(found["batch"])


class _Run:
    """The state of one run: arrays being filled, cells that failed, and how far it is."""

    def __init__(self, job: Job, store: Store | None) -> None:
        self.job = job
        self.store = store
        outer = (len(job.cases), job.grid.points)
        self.arrays = {v.name: np.empty(outer + v.shape, v.dtype) for v in job.variables}
        self.missing = np.zeros(outer, dtype=bool)
        self.failures: list[str] = []
        self.batches: dict[int, int] = {}
        self.meter = Meter(math.prod(outer))
        self.cells = self.points = self.computed_points = 0

    def result(self, progress: bool | Callable[[ProgressEvent], object]) -> xr.Dataset:
        """Compute what is missing and label everything."""
        with reporting(progress) as report, deferred_interrupt() as interrupted:
            try:
                for outcome in self.outcomes(report, interrupted):
                    self.keep(outcome)
                    report(self.event())
            except BrokenExecutor as error:
                raise type(error)(f"a worker of the executor died; {self.kept()}") from error
            if interrupted():
                print(f"theorysim.sweep: stopped by Ctrl-C; {self.kept()}", file=sys.stderr, flush=True)
                raise KeyboardInterrupt
        if self.failures:
            lines = self.failures[0].splitlines()  # the rest of a traceback stays in attrs
            shown = " … ".join(dict.fromkeys((lines[0], lines[-1])))
            warnings.warn(
                f"{len(self.failures)} of {self.cells} cells failed and are NaN: {shown}", stacklevel=4
            )
        return dataset.assemble(
            self.job.grid, self.job.frame, self.job.axes, self.arrays, self.missing, self.attrs()
        )

    def outcomes(
        self, report: Callable[[ProgressEvent], object], interrupted: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """What remains to compute, case by case on devices, all cases together on an executor."""
        job = self.job
        missing = self.take_in_stored()
        if self.store:
            left = 1 - self.points / self.meter.total_points
            self.store.require_space(round(total_bytes(job) * left))
        report(self.event())
        unknown = [case for case in range(len(job.cases)) if case not in missing]
        if job.executor is None:
            for case in range(len(job.cases)):
                if interrupted():
                    return
                if case in unknown:
                    missing[case] = self.begin(case, workers.batch_for(job, case, self.cells_wanted()))
                yield from workers.on_devices(job, missing[case], interrupted)
        else:
            for case, batch in workers.batches_by_executor(job, unknown, self.cells_wanted()):
                missing[case] = self.begin(case, batch)
            yield from workers.by_executor(job, itertools.chain(*missing.values()), interrupted)

    def take_in_stored(self) -> dict[int, list[Cell]]:
        """Read the stored cells of all cases whose batch is known; return their missing ones."""
        missing = {}
        for case in range(len(self.job.cases)):
            batch = load_batch(self.job, self.store, case)
            if batch is not None:
                self.batches[case] = batch
                missing[case] = self.missing_cells(case, batch)
        return missing

    def begin(self, case: int, batch: int) -> list[Cell]:
        """Keep a choice of batch, so that a restart makes the same cells, and return the missing cells."""
        self.batches[case] = batch
        if self.store:
            self.store.put(_batch_digest(self.job, case), {"batch": np.asarray(batch)})
        return self.missing_cells(case, batch)

    def cells_wanted(self) -> int:
        """The least number of cells per case."""
        return batching.cells_wanted(
            cases=len(self.job.cases),
            lanes=self.job.lanes,
            stored=self.store is not None,
            by_executor=self.job.executor is not None,
        )

    def missing_cells(self, case: int, batch: int) -> list[Cell]:
        """Take in the stored cells of a case and return the others."""
        missing = []
        for cell in cells_of(self.job, case, batch):
            arrays = load_cell(self.job, self.store, cell)
            if arrays is None:
                missing.append(cell)
            else:
                self.place(cell, arrays)
        return missing

    def keep(self, outcome: Outcome) -> None:
        """Store and place a finished cell, or record its failure."""
        cell, arrays, error = outcome
        self.computed_points += cell.stop - cell.start
        if error is not None:
            self.missing[cell.case, cell.start : cell.stop] = True
            where = describe(self.job.cases[cell.case])
            points = f"points {cell.start} to {cell.stop - 1}" + (where and f" of {where}")
            self.failures.append(f"{points}: {type(error).__name__}: {error}")
        elif self.store:
            names = [variable.name for variable in self.job.variables]
            self.store.put(cell_digest(self.job, cell), dict(zip(names, arrays, strict=True)))
        self.place(cell, arrays)

    def place(self, cell: Cell, arrays: Iterable[np.ndarray]) -> None:
        """Copy the arrays of a cell to their points; a failed cell has none."""
        for target, array in zip(self.arrays.values(), arrays, strict=False):
            target[cell.case, cell.start : cell.stop] = array
        self.cells += 1
        self.points += cell.stop - cell.start

    def event(self) -> ProgressEvent:
        """How far the run is; cases of unknown batch are taken to have as many cells as the others."""
        known = sum(math.ceil(self.job.grid.points / batch) for batch in self.batches.values())
        total = round(known * len(self.job.cases) / max(len(self.batches), 1))
        return self.meter.event(
            done_cells=self.cells,
            total_cells=total,
            done_points=self.points,
            computed_points=self.computed_points,
        )

    def kept(self) -> str:
        """What an interrupted run leaves, and what to do."""
        if self.store is None:
            return "nothing is kept: pass store= to be able to resume"
        done = self.cells - len(self.failures)
        return f"{done} finished cells are kept in {str(self.store.path)!r}: run the same again to resume"

    def attrs(self) -> dict[str, Any]:
        """The attributes of the result; all of them fit into netCDF."""
        job = self.job
        batches = [self.batches[case] for case in range(len(job.cases))]
        found = {
            "failed": len(self.failures),
            "batch": batches[0] if len(set(batches)) == 1 else batches,
            "devices": len(job.devices),
            "backend": job.devices[0].platform,
            "function": str(getattr(job.fn, "__qualname__", job.fn)),
            "theorysim": theorysim.__version__,
            "wall_seconds": self.meter.seconds(),
        }
        return {**found, "failures": self.failures} if self.failures else found


def _batch_digest(job: Job, case: int) -> str:
    """Under what the choice of batch is kept: everything of the case but its cells."""
    values = [axis.values for axis in job.grid.varied]
    return digest(("batch", job.case_digests[case], values, job.grid.sizes))
