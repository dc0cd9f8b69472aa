"""What a run leaves on record about its experiments, claims and figures.

Example:
    >>> claim = ClaimRecord("C1", "A coin is fair.", "", "confirmed", "refuted", 0.6, 0.5, 0.01, "far off")
    >>> claim.as_expected, claim.surprising
    (False, True)
"""

from pathlib import Path
from typing import Any, NamedTuple

from theorysim.lab import outputs
from theorysim.lab.errors import UsageError, one_line

__all__ = ["ClaimRecord", "ExperimentRecord", "FigureRecord", "Outcome", "read_gallery"]


class ExperimentRecord(NamedTuple):
    """How one experiment went."""

    name: str
    """Its name."""
    title: str
    """First line of its docstring."""
    status: str
    """done, reused (from an earlier run), failed, skipped (by --only), or left out (by the configuration)."""
    seconds: float | None = None
    """Wall time of the computation, also when reused; None if there was none."""
    points: int | None = None
    """Points computed by its sweeps."""
    diverged: int | None = None
    """Points with a value that is NaN or infinite, if the data set counts them."""
    error: str = ""
    """The error, or how to have what is left out, in one line."""
    trace: str = ""
    """The traceback."""


class ClaimRecord(NamedTuple):
    """One claim and its verdict."""

    name: str
    """Its label."""
    statement: str
    """The claim in one sentence."""
    unit: str
    """Unit of the numbers."""
    expected: str
    """The verdict that the author of the sim expects."""
    status: str
    """confirmed, refuted or undecided."""
    measured: float | int | None
    """Measured number of the worst comparison."""
    predicted: float | int | None
    """Predicted number, or the bound."""
    standard_error: float | int | None
    """Standard error of the measured number."""
    detail: str
    """The judgement in one sentence, or why there is none."""
    trace: str = ""
    """The traceback of a claim that could not be judged."""

    @property
    def as_expected(self) -> bool:
        """True if the verdict is the expected one."""
        return self.status == self.expected

    @property
    def surprising(self) -> bool:
        """True if the claim was expected to hold and is refuted."""
        return self.expected == "confirmed" and self.status == "refuted"


class FigureRecord(NamedTuple):
    """One figure and whether it was drawn."""

    name: str
    """Stem of its files."""
    caption: str
    """Its caption."""
    drawn: bool
    """True if its files were written."""
    error: str = ""
    """Why not."""
    trace: str = ""
    """The traceback of a figure that could not be drawn."""


class Outcome(NamedTuple):
    """All that one sim's run gave."""

    slug: str
    """The sim."""
    preset: str
    """Its preset."""
    experiments: tuple[ExperimentRecord, ...]
    """In order of definition."""
    claims: tuple[ClaimRecord, ...]
    """In order of definition."""
    figures: tuple[FigureRecord, ...]
    """In order of definition."""
    complete: bool
    """False if --only left out experiments of which there is no result."""

    @property
    def traces(self) -> tuple[str, ...]:
        """Every traceback; none if nothing failed."""
        return tuple(item.trace for item in (*self.experiments, *self.claims, *self.figures) if item.trace)


def read_gallery(folder: Path) -> tuple[dict[str, Any], tuple[ClaimRecord, ...]]:
    """Return the run.json of a sim's gallery, `DIR/figures/<slug>`, and the verdicts of its claims.json.

    Raises:
        UsageError: a file is missing, cannot be read, or is not what a run wrote.

    Example:
        >>> read_gallery(Path("nowhere"))
        Traceback (most recent call last):
        UsageError: nowhere/run.json must be a readable JSON file of a run: ...
    """
    run, claims = outputs.read_json(folder / "run.json"), outputs.read_json(folder / "claims.json")
    try:
        wanted = [{name: item[name] for name in ClaimRecord._fields if name in item} for item in claims]
        return dict(run, preset=run["preset"]), tuple(ClaimRecord(**item) for item in wanted)
    except (TypeError, KeyError, AttributeError) as error:
        message = f"{folder} must hold the run.json and claims.json of a run, got others ({one_line(error)})"
        raise UsageError(message) from error
