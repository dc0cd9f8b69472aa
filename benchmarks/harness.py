"""Measures what we compute against the naive way of computing it: both in one process, alternately.

Set-up, compilation and a first call of each side stay outside the timing. A ratio is the median over rounds
of baseline time / our time, so that a machine which slows down slows both sides of it. Peak memory is that of
a process of its own per side, less that of a process which only sets up; compilation is in it.

Example (a file `benchmarks/solvers.py`; `python -m benchmarks solvers` runs it):
    @benchmark("determinant, n = 100, against cofactors", target=10.0)
    def determinant():
        a = jnp.eye(100)
        return Comparison(ours=lambda: jnp.linalg.det(a), baseline=lambda: cofactors(a), agree=close)
"""

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
    """What one benchmark gave; times in seconds, memory in MiB, None where nothing was to be measured."""

    title: str
    ours: Spread
    baseline: Spread | None
    ratio: Spread | None
    target: float | None
    ours_mib: float | None
    baseline_mib: float | None
    memory_limit_mib: float | None

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

    Raises:
        AssertionError: the two sides do not agree.
    """
    comparison = bench.setup()
    sides = {"ours": comparison.ours} | ({"baseline": comparison.baseline} if comparison.baseline else {})
    results = {name: jax.block_until_ready(call()) for name, call in sides.items()}
    if comparison.agree and comparison.baseline:
        comparison.agree(results["ours"], results["baseline"])
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
    )


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


def peak_memory_mib() -> float:
    """The most memory that this process has held, in MiB.

    Linux keeps it per program; `ru_maxrss` there would include the parent that started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def run_side(bench: Benchmark, side: str) -> None:
    """Set up, call one side once ("setup" calls none), and print the peak memory in MiB."""
    comparison = bench.setup()
    if side != "setup":
        call = getattr(comparison, side)
        jax.block_until_ready(call())
    print(peak_memory_mib())


def memory_of(topic: str, name: str) -> Callable[[str], float | None]:
    """The `memory` argument of `measure` for the benchmark `name` of the file `topic`: a process per side."""

    def peak(side: str) -> float | None:
        command = [sys.executable, "-m", "benchmarks", topic, "--side", f"{name}:{side}"]
        root = Path(__file__).parent.parent
        done = subprocess.run(command, cwd=root, env=dict(os.environ), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"measuring the memory of {name} ({side}) failed:\n{done.stderr.strip()}")
        return float(done.stdout.split()[-1])

    return peak
