"""What a run shows: progress while it computes, and the table of claims when it is done.

On a terminal: one live line per experiment and an overall bar. Elsewhere, for instance in a log: one line
when an experiment ends, and one a minute while it runs.

Example:
    >>> from rich.console import Console
    >>> with Display(Console(quiet=True), total=1) as display:
    ...     line = display.begin("tosses", "Toss every coin")
    ...     line.end(ExperimentRecord("tosses", "Toss every coin", "done", seconds=0.1))
"""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from theorysim.lab.formatting import duration, measured, number
from theorysim.lab.formulas import in_text
from theorysim.lab.records import ClaimRecord, ExperimentRecord

if TYPE_CHECKING:
    from theorysim.sweep import ProgressEvent

__all__ = ["Display", "Line", "claims_table", "make_console", "number_table"]

_STATUS_STYLE = {"confirmed": "green", "refuted": "red", "undecided": "yellow"}
_MARK = {
    "done": ("✓", "green"),
    "reused": ("✓", "cyan"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
    "left out": ("–", "dim"),
}
_QUIET_SECONDS = 60.0


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that leaves tables room when its output is no terminal.

    Example:
        >>> make_console().width >= 20
        True
    """
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=118)


class Line:
    """One experiment while it runs; also the `progress` callback of its sweeps, in whatever thread."""

    def __init__(self, display: "Display", name: str, title: str):
        self.points = 0
        """Points that the sweeps of the experiment have finished."""
        self.share = 0.0
        """How much of its present sweep is done, from 0 to 1."""
        self._display = display
        self._name = name
        self._points_before = 0
        self._last_line = time.monotonic()
        self._task = display.bars.add_task(name, total=1.0, mark="[cyan]▸[/]", said="", title=title)

    def next_sweep(self) -> None:
        """Count the points of the coming sweep anew, on top of those of the sweeps before it."""
        self._points_before = self.points

    def progress(self, event: "ProgressEvent") -> None:
        """Take the news of a sweep."""
        self.points = self._points_before + event.done_points
        share = event.done_points / max(event.total_points, 1)
        self.share = min(share, 1.0)
        said = (
            f"{number(event.points_per_second, digits=3)} points/s"
            if event.points_per_second
            else "compiling"
        )
        if event.eta_seconds == event.eta_seconds and event.eta_seconds > 1:
            said += f" · {duration(event.eta_seconds)} left"
        self._display.bars.update(self._task, completed=self.share, said=said)
        self._display.count()
        if not self._display.live and time.monotonic() - self._last_line > _QUIET_SECONDS:
            self._last_line = time.monotonic()
            self._display.console.print(f"  … {self._name}: {share:.0%}, {said}", markup=False)

    def end(self, record: ExperimentRecord) -> None:
        """Finish the line."""
        mark, colour = _MARK[record.status]
        said = _experiment_said(record)
        self._display.bars.update(self._task, completed=1.0, mark=f"[{colour}]{mark}[/]", said=said)
        self._display.bars.stop_task(self._task)
        self._display.count(ended=self)
        if not self._display.live:
            line = Text.assemble((mark, colour), f" {record.name}: {record.title} ", (f"({said})", "dim"))
            self._display.console.print(line, soft_wrap=True)


class Display:
    """Shows the experiments of a run as they go.

    Args:
        console: where to print.
        total: number of experiments of all sims together.
    """

    def __init__(self, console: Console, *, total: int):
        self.console = console
        self.live = console.is_terminal and total > 0
        self.bars = Progress(
            TextColumn("{task.fields[mark]}"),
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=18),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            TextColumn(
                "{task.fields[title]}",
                style="dim",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            expand=True,
            disable=not self.live,
        )
        self._overall = self.bars.add_task("all experiments", total=total, mark=" ", said="", title="")
        self._running: tuple[Line, ...] = ()
        self._ended = 0

    def __enter__(self) -> "Display":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, name: str, title: str) -> Line:
        """Start the line of an experiment and return it."""
        line = Line(self, name, title)
        self._running += (line,)
        return line

    def count(self, ended: Line | None = None) -> None:
        """Bring the overall bar up to date, with a line that has ended."""
        if ended is not None:
            self._running = tuple(line for line in self._running if line is not ended)
            self._ended += 1
        done = self._ended + sum(line.share for line in self._running)
        self.bars.update(self._overall, completed=done)

    def note(self, text: str, style: str = "") -> None:
        """Print a line above the live display."""
        self.bars.console.print(Text(text, style=style), soft_wrap=True)


def claims_table(title: str, claims: Iterable[ClaimRecord]) -> Table:
    """Return the table of verdicts: words as well as colours, and the numbers behind them.

    Example:
        >>> claim = ClaimRecord("C1", "A coin is fair.", "", "confirmed", "confirmed", 0.5, 0.5, 0.01, "")
        >>> claims_table("coins", [claim]).row_count
        1
    """
    table = Table(title=Text(title), title_justify="left", title_style="bold", expand=False, show_lines=True)
    table.add_column("claim", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("expected?", no_wrap=True)
    table.add_column("measured", justify="right")
    table.add_column("predicted", justify="right")
    table.add_column("statement and detail", ratio=1, min_width=30)
    for claim in claims:
        expected = Text("yes") if claim.as_expected else Text(f"no: {claim.expected}", style="bold")
        unit = f"\n{claim.unit}" if claim.unit and claim.measured is not None else ""
        table.add_row(
            Text(claim.name),
            Text(claim.status, style=_STATUS_STYLE.get(claim.status, "")),
            expected,
            Text.assemble(measured(claim.measured, claim.standard_error), (unit, "dim")),
            number(claim.predicted),
            Text.assemble(in_text(claim.statement), ("\n" + claim.detail if claim.detail else "", "dim")),
        )
    return table


def number_table(first: str, *headings: str) -> Table:
    """Return a table of numbers: a first column of names, and a column to the right for each heading.

    Example:
        >>> [column.justify for column in number_table("record", "AUC").columns]
        ['left', 'right']
    """
    table = Table(pad_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _experiment_said(record: ExperimentRecord) -> str:
    if record.status == "failed":
        return f"failed after {duration(record.seconds)}: {record.error}"
    if record.status == "skipped":
        return "not run"
    if record.status == "left out":
        return f"left out: {record.error}"
    if record.status == "reused":
        return f"kept from an earlier run, which took {duration(record.seconds)}"
    parts = [duration(record.seconds)]
    if record.points:
        rate = record.points / max(record.seconds or 0.0, 1e-9)
        parts.append(f"{record.points} points, {number(rate, digits=3)}/s")
    if record.diverged:
        parts.append(f"{record.diverged} not finite")
    return ", ".join(parts)
