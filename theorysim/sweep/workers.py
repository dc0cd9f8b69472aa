"""The two ways to compute cells: on this process's devices, or as tasks of an executor.

Both are generators of `Outcome`s and stop early when asked to: the running cells are finished first. On
devices, D of them compute D cells per call. An executor's worker computes one cell per task on its own first
device, by the same local program, so that the bits are the same; it compiles once per case. A task that fails
is tried again, and given up after the third time with its error; a worker process that dies takes the
executor with it, which is an error.
"""

import functools
import itertools
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import jax
import numpy as np

from theorysim.sweep import batching
from theorysim.sweep.compiled import Devices, Kernel, Settings, compute, executable
from theorysim.sweep.job import Cell, Job, kernel_of, points_of

__all__ = ["Outcome", "batch_for", "batches_by_executor", "by_executor", "on_devices"]

_ATTEMPTS = 3
_POLL_SECONDS = 0.2


class Outcome(NamedTuple):
    """A finished cell: its arrays in the order of the variables, or the error that it ended with."""

    cell: Cell
    arrays: list[np.ndarray]
    error: BaseException | None


class _Task(NamedTuple):
    """All that a worker needs."""

    kernel: bytes | Kernel
    """Pickled once per case: equal bytes let a worker find the program that it has compiled already."""
    settings: Settings
    platform: str


def on_devices(job: Job, cells: Iterable[Cell], stop: Callable[[], bool]) -> Iterator[Outcome]:
    """Compute cells of one case on the job's devices, as many at once as there are devices."""
    waiting = iter(cells)
    while (group := list(itertools.islice(waiting, job.lanes))) and not stop():
        kernel = kernel_of(job, group[0].case)
        batch = group[0].batch
        program = executable(kernel, batch, job.devices, job.settings)
        padded = group + group[-1:] * (job.lanes - len(group))
        outputs = compute(program, kernel, *points_of(job, padded), job.key_data)
        for place, cell in enumerate(group):
            first = place * batch
            yield Outcome(cell, [out[first : first + cell.stop - cell.start] for out in outputs], None)


def batch_for(job: Job, case: int, cells: int) -> int:
    """Choose the batch of a case on this process's devices."""
    return batching.choose(kernel_of(job, case), job.grid.points, job.lanes, cells, job.devices, job.settings)


def batches_by_executor(job: Job, cases: list[int], cells: int) -> Iterator[tuple[int, int]]:
    """Choose the batches of cases in the workers, side by side: `(case, batch)` in the order of `cases`."""
    assert job.executor is not None
    rest = (job.grid.points, job.lanes, cells)
    futures = [job.executor.submit(_choose_in_worker, _task(job, case), *rest) for case in cases]
    for case, future in zip(cases, futures, strict=True):
        yield case, future.result()


def by_executor(job: Job, cells: Iterable[Cell], stop: Callable[[], bool]) -> Iterator[Outcome]:
    """Compute cells of any cases as tasks of the job's executor, in the order in which they finish."""
    waiting = iter([(cell, 1) for cell in cells])
    tasks = functools.cache(lambda case: _task(job, case))
    running: dict[Future[list[np.ndarray]], tuple[Cell, int]] = {}

    def submit(cell: Cell, attempt: int) -> None:
        assert job.executor is not None
        points = points_of(job, [cell])
        future = job.executor.submit(_compute_in_worker, tasks(cell.case), cell.batch, *points, job.key_data)
        running[future] = cell, attempt

    try:
        while True:
            # A window, not all at once: the arguments of a large sweep need not all be in memory.
            for cell, attempt in itertools.islice(waiting, 0 if stop() else 4 * job.lanes - len(running)):
                submit(cell, attempt)
            if not running:
                return
            if stop():
                for future in [future for future in running if future.cancel()]:
                    del running[future]
            for future in wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                cell, attempt = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenExecutor):
                    raise error
                if error is not None and attempt < _ATTEMPTS and not stop():
                    submit(cell, attempt + 1)
                else:
                    arrays = [] if error else [out[: cell.stop - cell.start] for out in future.result()]
                    yield Outcome(cell, arrays, error)
    finally:
        for future in running:
            future.cancel()


def _task(job: Job, case: int) -> _Task:
    kernel = kernel_of(job, case)
    in_process = isinstance(job.executor, ThreadPoolExecutor)
    return _Task(kernel if in_process else pickle.dumps(kernel), job.settings, job.devices[0].platform)


def _compute_in_worker(
    task: _Task, batch: int, columns: dict[str, np.ndarray], index: np.ndarray, key_data: np.ndarray | None
) -> list[np.ndarray]:
    kernel, devices = _open(task)
    with task.settings.active():
        return compute(executable(kernel, batch, devices, task.settings), kernel, columns, index, key_data)


def _choose_in_worker(task: _Task, points: int, lanes: int, cells: int) -> int:
    kernel, devices = _open(task)
    return batching.choose(kernel, points, lanes, cells, devices, task.settings)


def _open(task: _Task) -> tuple[Kernel, Devices]:
    own_process = multiprocessing.parent_process() is not None
    if own_process and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    kernel = _unpickled(task.kernel) if isinstance(task.kernel, bytes) else task.kernel
    return kernel, tuple(jax.local_devices(backend=task.platform)[:1])


@functools.lru_cache(maxsize=64)
def _unpickled(kernel: bytes) -> Kernel:
    return pickle.loads(kernel)
