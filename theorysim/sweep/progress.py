"""What a running sweep says about itself: a bar on a terminal, or events to whoever asks for them.

Example:
    >>> meter = Meter(total_points=10)
    >>> meter.event(done_cells=1, total_cells=2, done_points=5, computed_points=5).total_points
    10
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Meter", "ProgressEvent", "reporting"]


class ProgressEvent(NamedTuple):
    """The state of a sweep after a cell."""

    done_cells: int
    total_cells: int
    """An estimate while batches of later cases are still to be chosen."""
    done_points: int
    total_points: int
    points_per_second: float
    """Of points computed in this run, compilation included; 0 before the first."""
    eta_seconds: float
    """NaN while the rate is unknown."""


class Meter:
    """Rate and remaining time since its making."""

    def __init__(self, total_points: int) -> None:
        self.total_points = total_points
        self.started = time.perf_counter()

    def seconds(self) -> float:
        """Wall-clock seconds since the start."""
        return time.perf_counter() - self.started

    def event(
        self, *, done_cells: int, total_cells: int, done_points: int, computed_points: int
    ) -> ProgressEvent:
        """The event to report; what came from the store does not count towards the rate."""
        rate = computed_points / max(self.seconds(), 1e-9)
        left = self.total_points - done_points
        eta = 0.0 if left == 0 else left / rate if rate else float("nan")
        return ProgressEvent(done_cells, total_cells, done_points, self.total_points, rate, eta)


@contextlib.contextmanager
def reporting(
    progress: bool | Callable[[ProgressEvent], object],
) -> Iterator[Callable[[ProgressEvent], object]]:
    """The function to call with each event: the caller's own, a bar, or nothing."""
    if callable(progress):
        yield progress
    elif progress and sys.stderr.isatty():
        with _bar() as update:
            yield update
    else:
        yield lambda event: None


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[ProgressEvent], object]]:
    from rich.console import Console  # 50 ms that a quiet sweep need not spend
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("sweep"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("sweep", total=1, said="compiling")

        def update(event: ProgressEvent) -> None:
            bar.update(task, total=event.total_points, completed=event.done_points, said=_said(event))

        yield update


def _said(event: ProgressEvent) -> str:
    eta = "ETA ?" if event.eta_seconds != event.eta_seconds else f"ETA {event.eta_seconds:.0f} s"
    return f"{event.done_cells}/{event.total_cells} cells · {event.points_per_second:.3g} points/s · {eta}"
