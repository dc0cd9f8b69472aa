"""A sweep as asked for, checked whole before any work: what to compute, on what, and where to keep it.

Everything a user can get wrong is found here: names that the function does not take, keys of the old style,
devices that are not there, a store that cannot be written, a function that cannot be identified or pickled,
outputs whose shapes differ between cases.
"""

import inspect
import math
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import theorysim
from theorysim.numerics import validation
from theorysim.sweep import compiled, dataset
from theorysim.sweep.compiled import Devices, Kernel, Settings, Variable
from theorysim.sweep.grid import Case, Grid, columns, describe, make_grid, whole_columns
from theorysim.sweep.identity import digest

__all__ = ["Cell", "Job", "cell_digest", "cells_of", "check", "kernel_of", "points_of", "total_bytes"]


class Cell(NamedTuple):
    """The unit of work: points `start` to `stop` of one case."""

    case: int
    start: int
    stop: int
    batch: int
    """Points per call; `stop - start` is less in the last cell of a case, which repeats its last point."""


class Job(NamedTuple):
    """A checked sweep."""

    fn: Callable[..., Any]
    grid: Grid
    cases: list[Case]
    key_data: np.ndarray | None
    key_impl: str | None
    batch: int | None
    """None for `batch="auto"`."""
    devices: Devices
    executor: Executor | None
    lanes: int
    """Devices, or workers of the executor, that compute cells side by side."""
    settings: Settings
    content: str
    """The digest of `fn`; empty if it has none, which only a store forbids."""
    variables: tuple[Variable, ...]
    axes: dict[str, tuple[str, ...]]
    frame: xr.Dataset
    case_digests: list[str]
    """Empty when no store was asked for."""


def check(
    fn: Any,
    *,
    vary: Any,
    cases: Any,
    replicas: Any,
    key: Any,
    batch: Any,
    stored: bool,
    executor: Any,
    devices: Any,
    dims: Any,
    coords: Any,
) -> Job:
    """Check every argument of a sweep, whatever its type, and return the job.

    Raises:
        ValueError, TypeError: naming the argument, the value and what is allowed.
    """
    grid = make_grid(vary, cases, replicas)
    key_data, key_impl = _key(key, replicas)
    names = [axis.name for axis in grid.varied] + [name for name, _ in grid.cases]
    _check_call(fn, names, key is not None)
    if batch != "auto":
        batch = min(validation.positive_int(batch, "batch (or 'auto')"), grid.points)
    used = _devices(devices)
    lanes = _lanes(executor, devices, used)
    case_list = grid.case_list
    job = Job(
        fn=fn,
        grid=grid,
        cases=case_list,
        key_data=key_data,
        key_impl=key_impl,
        batch=None if isinstance(batch, str) else batch,
        devices=used if executor is None else used[:1],
        executor=executor,
        lanes=lanes,
        settings=compiled.current_settings(),
        content=_content(fn, stored),
        variables=(),
        axes={},
        frame=xr.Dataset(),
        case_digests=[],
    )
    variables = _common_variables(job)
    axes = dataset.own_dims(grid, variables, dims)
    frame = dataset.frame(grid, axes, variables, coords)
    if executor is not None and not isinstance(executor, ThreadPoolExecutor):
        _check_picklable(fn, case_list)
    digests = _case_digests(job) if stored else []
    return job._replace(variables=variables, axes=axes, frame=frame, case_digests=digests)


def kernel_of(job: Job, case: int) -> Kernel:
    """What is compiled for one case."""
    inputs = tuple(
        compiled.Input(axis.name, axis.values.shape[1:], axis.values.dtype.name) for axis in job.grid.varied
    )
    return Kernel(job.fn, job.cases[case], inputs, job.key_impl, repr(job.cases[case]), job.content)


def cells_of(job: Job, case: int, batch: int) -> list[Cell]:
    """The cells of one case."""
    points = job.grid.points
    return [Cell(case, start, min(start + batch, points), batch) for start in range(0, points, batch)]


def points_of(job: Job, cells: Sequence[Cell]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The argument arrays and global numbers of the points of `cells`, each cell padded to its batch."""
    points = job.grid.points
    if len(cells) == 1 and cells[0].batch == points:
        first = cells[0].case * points
        return whole_columns(job.grid), np.arange(first, first + points, dtype=np.uint32)
    numbers = np.concatenate(
        [np.minimum(cell.start + np.arange(cell.batch), cell.stop - 1) for cell in cells]
    )
    return columns(job.grid, numbers), (numbers + cells[0].case * points).astype(np.uint32)


def cell_digest(job: Job, cell: Cell) -> str:
    """The content hash under which a cell is stored."""
    values = columns(job.grid, np.arange(cell.start, cell.stop))
    # Keys go by global number, which also depends on how many points the cases before have.
    first = cell.case * job.grid.points + cell.start if job.key_impl is not None else None
    return digest((job.case_digests[cell.case], cell.batch, cell.stop - cell.start, values, first))


def total_bytes(job: Job) -> int:
    """Size of the data variables of the result."""
    per_point = sum(v.dtype.itemsize * math.prod(v.shape) for v in job.variables)
    return per_point * job.grid.points * len(job.cases)


def _common_variables(job: Job) -> tuple[Variable, ...]:
    """The outputs of `fn`, which must agree between the cases."""
    first = compiled.variables(kernel_of(job, 0), job.settings)
    for number in range(1, len(job.cases)):
        other = compiled.variables(kernel_of(job, number), job.settings)
        names, others = [v.name for v in first], [v.name for v in other]
        if names != others:
            raise ValueError(
                f"fn must return the same variables in all cases, got {names} for {describe(job.cases[0])} "
                f"and {others} for {describe(job.cases[number])}"
            )
        for mine, theirs in zip(first, other, strict=True):
            if mine != theirs:
                raise ValueError(
                    f"the output {mine.name!r} must have one shape and dtype in all cases, got {mine.shape} "
                    f"{mine.dtype} for {describe(job.cases[0])} and {theirs.shape} {theirs.dtype} for "
                    f"{describe(job.cases[number])}"
                )
    return first


def _case_digests(job: Job) -> list[str]:
    """What all cells of a case share: function, versions, settings, backend, key, case, inputs."""
    shared = digest(
        (
            job.content,
            (theorysim.__version__, jax.__version__, np.__version__),
            (job.settings, job.devices[0].platform, job.key_data, job.key_impl),
            tuple(job.variables),
        )
    )
    return [digest((shared, case, [axis.name for axis in job.grid.varied])) for case in job.cases]


def _content(fn: Callable[..., Any], stored: bool) -> str:
    try:
        return digest(fn)
    except TypeError:
        if stored:
            raise
        return ""


def _key(key: Any, replicas: int) -> tuple[np.ndarray | None, str | None]:
    if key is None:
        if replicas > 0:
            raise ValueError(
                f"key must be a jax.random.key(seed) when replicas > 0, got None, replicas={replicas}"
            )
        return None, None
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed or key.shape != ():
        got = f"{key.dtype}{list(key.shape)}" if isinstance(key, jax.Array | np.ndarray) else repr(key)
        raise TypeError(f"key must be one jax.random.key(seed), got {got}")
    return np.asarray(jax.random.key_data(key)), str(jax.random.key_impl(key))


def _check_call(fn: Any, names: list[str], keyed: bool) -> None:
    """Every name must be one that `fn` takes, and all that it requires must be there."""
    if not callable(fn):
        raise TypeError(f"fn must be a function of named scalars, got {fn!r}")
    try:
        hash(fn)
    except TypeError:
        raise TypeError(f"fn must be hashable, as jax.jit requires, got {fn!r}") from None
    try:
        parameters = inspect.signature(fn).parameters.values()
    except ValueError:  # some builtins have none: the call itself will tell
        return
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    given = [*names, "key"] if keyed else names
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in given:
            if name not in named:
                source = "key" if name == "key" else f"{name!r} in vary or cases"
                raise ValueError(
                    f"{source} must be an argument of fn ({', '.join(named)}), got no such argument"
                )
    for parameter in parameters:
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.default is parameter.empty and not variadic and parameter.name not in given:
            remedy = "pass key=" if parameter.name == "key" else "put it in vary or cases"
            raise ValueError(f"fn must be given all its arguments, got none for {parameter.name!r}: {remedy}")


def _devices(devices: Any) -> Devices:
    there = jax.local_devices()
    if devices is None:
        return tuple(there)
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        chosen = tuple(devices)
        if not chosen or not all(isinstance(device, jax.Device) for device in chosen):
            raise TypeError(f"devices must be a number or a list of jax devices, got {devices!r}")
        if len(set(chosen)) < len(chosen) or len({device.platform for device in chosen}) > 1:
            raise ValueError(f"devices must be different and of one platform, got {devices!r}")
        return chosen
    if isinstance(devices, bool) or not isinstance(devices, int) or not 1 <= devices <= len(there):
        raise ValueError(
            f"devices must be an integer in [1, {len(there)}] or a list of devices, got {devices!r}"
        )
    return tuple(there[:devices])


def _lanes(executor: Any, devices: Any, used: Devices) -> int:
    if executor is None:
        return len(used)
    if not isinstance(executor, Executor):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "executor must not fork, which deadlocks under JAX: make it as ProcessPoolExecutor(…, "
            f"mp_context=multiprocessing.get_context('spawn')), got {executor!r}"
        )
    if devices is not None:
        raise ValueError(f"devices must be None when an executor is given, got {devices!r}")
    return int(getattr(executor, "_max_workers", None) or 8)


def _check_picklable(fn: Callable[..., Any], cases: list[Case]) -> None:
    try:
        pickle.dumps((fn, cases))
    except Exception as error:
        raise TypeError(
            "fn and the values of cases must be picklable for an executor (functions at module level), "
            f"got {getattr(fn, '__qualname__', fn)!r}: {error}"
        ) from None
