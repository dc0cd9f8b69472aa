"""Measures what we compute against the naive way of computing it: both in one process, alternately.

Set-up, compilation and a first call of each side stay outside the timing. A ratio is the median over rounds
of baseline time / our time, so that a machine which slows down slows both sides of it. Peak memory is that of
a process of its own per side, less that of a process which only sets up; compilation is in it. What depends
on no machine, such as the steps that an iteration needs, is counted: `unit` says what the sides return. So do
sides that take the time themselves, such as that of a first call.

Example (a file `benchmarks/solvers.py`; `python -m benchmarks solvers` runs it):
    @benchmark("determinant, n = 100, against cofactors", target=10.0)
    def determinant():
        a = jnp.eye(100)
        return Comparison(ours=lambda: jnp.linalg.det(a), baseline=lambda: cofactors(a), agree=close)
"""

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = [
    "Benchmark",
    "Comparison",
    "Measurement",
    "Spread",
    "benchmark",
    "close",
    "first_call_seconds",
    "measure",
    "memory_of",
    "peak_memory_mib",
    "run_side",
]

ROUND_SECONDS = 0.05  # a round repeats a fast call until it lasts this long
SIDE_SECONDS = 10.0  # a slow side gets fewer rounds, but at least three
ROUNDS = 9


class Comparison(NamedTuple):
    """Two ways to one result; each is called without arguments, on inputs prepared before."""

    ours: Callable[[], Any]
    baseline: Callable[[], Any] | None = None  # None: only time and memory of ours are reported
    agree: Callable[[Any, Any], None] | None = None  # raises AssertionError if the two results differ
    baseline_share: float = 1.0  # the part of our work that the baseline does; its time is divided by it
    unit: str | None = None  # what the numbers that the sides return count; None: the sides are timed
    processes: tuple[int, ...] = ()  # ids of other processes in which a side works; their memory counts
    note: str | None = None  # what a reader must know, such as why there is no baseline here


class Benchmark(NamedTuple):
    """A comparison, what is expected of it, and how to set it up."""

    title: str
    setup: Callable[[], Comparison]
    target: float | None  # the least ratio of baseline time to our time
    memory_limit_mib: float | None  # the most that our side may take


class Spread(NamedTuple):
    """Median, least and greatest of the rounds."""

    median: float
    low: float
    high: float


class Measurement(NamedTuple):
    """What one benchmark gave: times in seconds, or counts; memory in MiB; None where there is nothing."""

    title: str
    ours: Spread
    baseline: Spread | None
    ratio: Spread | None
    target: float | None
    ours_mib: float | None
    baseline_mib: float | None
    memory_limit_mib: float | None
    unit: str | None = None
    note: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether ratio and memory are as stated; None if nothing was stated or measured."""
        checks = []
        if self.target is not None and self.ratio is not None:
            checks.append(self.ratio.median >= self.target)
        if self.memory_limit_mib is not None and self.ours_mib is not None:
            checks.append(self.ours_mib <= self.memory_limit_mib)
        return all(checks) if checks else None


def benchmark(
    title: str, *, target: float | None = None, memory_limit_mib: float | None = None
) -> Callable[[Callable[[], Comparison]], Benchmark]:
    """Turn a function that sets up a Comparison into a Benchmark; `python -m benchmarks` finds it by type."""
    return lambda setup: Benchmark(title, setup, target, memory_limit_mib)


def close(rtol: float = 1e-9, atol: float = 0.0) -> Callable[[Any, Any], None]:
    """An `agree` for arrays that should be equal up to rounding."""

    def agree(ours: Any, baseline: Any) -> None:
        np.testing.assert_allclose(np.asarray(ours), np.asarray(baseline), rtol=rtol, atol=atol)

    return agree


def measure(bench: Benchmark, memory: Callable[[str], float | None] = lambda side: None) -> Measurement:
    """Time one benchmark; `memory` gives the peak in MiB of the side "ours", "baseline" or "setup".

    Counts are taken once, and without their memory.

    Raises:
        AssertionError: the two sides do not agree.
    """
    comparison = bench.setup()
    sides = {"ours": comparison.ours} | ({"baseline": comparison.baseline} if comparison.baseline else {})
    results = {name: jax.block_until_ready(call()) for name, call in sides.items()}
    if comparison.agree and comparison.baseline:
        comparison.agree(results["ours"], results["baseline"])
    if comparison.unit:
        return _counted(bench, comparison, {name: float(count) for name, count in results.items()})
    del results

    # After the first calls, so that compilation does not count as slowness.
    calls = {name: _calls_per_round(call) for name, call in sides.items()}
    rounds = min(calls[name].rounds for name in sides)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            seconds[name].append(_seconds(call, calls[name].repeats) / calls[name].repeats)

    ours = seconds["ours"]
    baseline = [s / comparison.baseline_share for s in seconds.get("baseline", [])]
    empty = memory("setup")
    peaks = {name: memory(name) if empty is not None else None for name in sides}
    above = {name: max(peak - (empty or 0.0), 0.0) for name, peak in peaks.items() if peak is not None}
    return Measurement(
        bench.title,
        _spread(ours),
        _spread(baseline) if baseline else None,
        _spread([b / o for b, o in zip(baseline, ours, strict=True)]) if baseline else None,
        bench.target,
        above.get("ours"),
        above.get("baseline"),
        bench.memory_limit_mib,
        note=comparison.note,
    )


def _counted(bench: Benchmark, comparison: Comparison, counts: dict[str, float]) -> Measurement:
    ours, baseline = counts["ours"], counts.get("baseline")
    spread = ratio = None
    if baseline is not None:
        baseline /= comparison.baseline_share
        spread, ratio = _spread([baseline]), _spread([baseline / ours])
    nothing = (None, None, bench.memory_limit_mib)
    about = (comparison.unit, comparison.note)
    return Measurement(bench.title, _spread([ours]), spread, ratio, bench.target, *nothing, *about)


class _Plan(NamedTuple):
    repeats: int
    rounds: int


def _calls_per_round(call: Callable[[], Any]) -> _Plan:
    once = max(_seconds(call, 1), 1e-7)
    repeats = max(1, math.ceil(ROUND_SECONDS / once))
    return _Plan(repeats, max(3, min(ROUNDS, int(SIDE_SECONDS / (once * repeats)))))


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return time.perf_counter() - start


def _spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def peak_memory_mib(others: tuple[int, ...] = ()) -> float | None:
    """The most memory that this process has held, in MiB, and with it that of the processes `others`.

    Linux keeps it per program; `ru_maxrss` there would include the parent that started this process. Where
    there is no /proc, the memory of others is not known: None.
    """
    if Path("/proc/self/status").exists():
        return sum(_peak_on_linux(process) for process in ("self", *others))
    if others:
        return None
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _peak_on_linux(process: int | str) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def run_side(bench: Benchmark, side: str) -> None:
    """Set up, call one side once ("setup" calls none); print the seconds of that and the peak memory."""
    comparison = bench.setup()
    seconds = 0.0 if side == "setup" else _seconds(getattr(comparison, side), 1)
    print(json.dumps({"seconds": seconds, "mib": peak_memory_mib(comparison.processes)}))


def memory_of(topic: str, name: str) -> Callable[[str], float | None]:
    """The `memory` argument of `measure` for the benchmark `name` of the file `topic`: a process per side."""
    return lambda side: _alone(topic, name, side)["mib"]


def first_call_seconds(topic: str, name: str, side: str, processes: int = 3) -> float:
    """Median time of the first call of a side, compilation included, in processes that have only set up."""
    seconds = [_alone(topic, name, side)["seconds"] for _ in range(processes)]
    return round(statistics.median(seconds), 3)


def _alone(topic: str, name: str, side: str) -> dict[str, Any]:
    """What `run_side` prints in a process of its own."""
    command = [sys.executable, "-m", "benchmarks", topic, "--side", f"{name}:{side}"]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, env=dict(os.environ), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"running {name} ({side}) by itself failed:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])
