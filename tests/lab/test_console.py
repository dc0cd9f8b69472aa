"""Numbers and lines as they are shown."""

import io
import math

import pytest
from rich.console import Console

from theorysim.lab.console import Display, claims_table
from theorysim.lab.formatting import duration, measured, number
from theorysim.lab.records import ClaimRecord, ExperimentRecord
from theorysim.sweep import ProgressEvent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (0.0, "0"),
        (3, "3"),
        (0.25, "0.25"),
        (-1.5, "−1.5"),
        (123456.7, "123457"),
        (1e6, "1.000 × 10⁶"),
        (0.00012345, "1.234 × 10⁻⁴"),
        (-9.99996e-7, "−1.000 × 10⁻⁶"),
        (1.2e-12, "1.200 × 10⁻¹²"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (12.63419, 0.0487, "12.634 ± 0.049"),
        (-0.5, 0.25, "−0.50 ± 0.25"),
        (1234.5, 56.0, "1234 ± 56"),
        (7.0, 0.0, "7"),
        (7.0, None, "7"),
        (None, 0.1, "–"),
        (math.nan, 0.1, "–"),
        (2.5e8, 3e6, "(2.500 ± 0.030) × 10⁸"),
        (1.5e-12, 2e-14, "(1.500 ± 0.020) × 10⁻¹²"),
    ],
)
def test_the_standard_error_sets_the_digits(value, error, text):
    assert measured(value, error) == text


def test_durations_have_the_units_that_matter():
    assert [duration(seconds) for seconds in (None, 0.26, 59.4, 61, 3725)] == [
        "–",
        "0.3 s",
        "59 s",
        "1 min 1 s",
        "1 h 2 min",
    ]


def event(done: int) -> ProgressEvent:
    return ProgressEvent(1, 2, done, 10, points_per_second=5.0, eta_seconds=2.0)


def test_points_of_several_sweeps_add_up():
    with Display(Console(file=io.StringIO()), total=1) as display:
        line = display.begin("tosses", "Toss every coin")
        other = display.begin("others", "Toss others")
        for sweep in ((5, 10), (10,), (0, 4)):
            line.next_sweep()
            for done in sweep:
                line.progress(event(done))
        assert (line.points, other.points) == (24, 0)


@pytest.mark.parametrize("terminal", [True, False])
def test_every_experiment_has_its_line(terminal):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=110, color_system=None)
    with Display(console, total=3) as display:
        for name, status in (("one", "done"), ("two", "failed"), ("three", "skipped")):
            line = display.begin(name, "Toss [all]")
            line.progress(event(10))
            error = "ValueError: no" if status == "failed" else ""
            line.end(
                ExperimentRecord(name, "Toss [all]", status, seconds=2.0, points=10, diverged=1, error=error)
            )
    said = out.getvalue()
    assert "2.0 s, 10 points, 5/s, 1 not finite" in said
    assert "failed after 2.0 s: ValueError: no" in said and "not run" in said
    assert ("all experiments" in said) is terminal
    assert "Toss [all]" in said


def test_the_overall_bar_counts_every_experiment_that_runs():
    with Display(Console(file=io.StringIO()), total=3) as display:
        lines = [display.begin(name, "Toss") for name in ("one", "two", "three")]
        for line, done in zip(lines, (5, 2, 0), strict=True):
            line.progress(event(done))
        assert display.bars.tasks[0].completed == pytest.approx(0.7)
        lines[1].end(ExperimentRecord("two", "Toss", "done", seconds=1.0))
        assert display.bars.tasks[0].completed == pytest.approx(1.5)


def test_verdicts_are_words_not_only_colours():
    claim = ClaimRecord("C1", "A coin is fair.", "heads", "confirmed", "refuted", 0.6, 0.5, 0.01, "far off")
    out = io.StringIO()
    Console(file=out, width=110, color_system=None).print(claims_table("coins", [claim]))
    said = out.getvalue()
    assert all(word in said for word in ("refuted", "no: confirmed", "0.600 ± 0.010", "heads", "far off"))
