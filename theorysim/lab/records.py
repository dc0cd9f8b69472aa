"""What a run leaves on record about its experiments, claims and figures.

Example:
    >>> claim = ClaimRecord("C1", "A coin is fair.", "", "confirmed", "refuted", 0.6, 0.5, 0.01, "far off")
    >>> claim.as_expected, claim.surprising
    (False, True)
"""

from typing import Any, NamedTuple

__all__ = ["ClaimRecord", "ExperimentRecord", "FigureRecord", "Outcome", "claims_from_json"]


class ExperimentRecord(NamedTuple):
    """How one experiment went."""

    name: str
    """Its name."""
    title: str
    """First line of its docstring."""
    status: str
    """done, reused (from an earlier run), failed, or skipped (by --only)."""
    seconds: float | None = None
    """Wall time of the computation, also when reused; None if there was none."""
    points: int | None = None
    """Points computed by its sweeps."""
    diverged: int | None = None
    """Points with a value that is NaN or infinite, if the data set counts them."""
    error: str = ""
    """The error in one line."""
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


def claims_from_json(items: list[dict[str, Any]]) -> tuple[ClaimRecord, ...]:
    """Return the records stored in a claims.json.

    Example:
        >>> claims_from_json([])
        ()
    """
    return tuple(
        ClaimRecord(**{name: value for name, value in item.items() if name in ClaimRecord._fields})
        for item in items
    )
