"""Verdicts: their error rates by simulation, every status of every maker, and what they say."""

import json
import math

import numpy as np
import pytest
import scipy.stats as sps
from hypothesis import given
from hypothesis import strategies as st

from theorysim.numerics import stats
from theorysim.numerics.stats import Verdict

TRIALS = 1500


def statuses(make, trials=TRIALS):
    verdicts = [make(np.random.default_rng(seed)) for seed in range(trials)]
    return {s: sum(v.status == s for v in verdicts) for s in ("confirmed", "refuted", "undecided")}


def at_most(hits, trials, probability):
    return hits <= trials * probability + 4 * math.sqrt(trials * probability * (1 - probability))


# --- within -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlated", [False, True])
def test_within_refutes_a_true_claim_no_oftener_than_its_level(correlated):
    def verdict(rng):
        noise = (
            np.cumsum(rng.normal(size=20)) / np.sqrt(np.arange(1, 21)) if correlated else rng.normal(size=20)
        )
        return stats.within(5 + noise, 5.0, 1.0, resolution=10.0, level=0.9)

    tally = statuses(verdict)
    assert at_most(tally["refuted"], TRIALS, 0.1)
    assert tally["undecided"] == 0
    if not correlated:
        # Sidak is exact for independent comparisons: the level is used up, not merely kept.
        assert tally["refuted"] >= TRIALS * 0.1 - 4 * math.sqrt(TRIALS * 0.09)


def test_within_keeps_its_level_with_few_samples_if_told_the_degrees_of_freedom():
    def verdict(rng, **freedom):
        est = stats.mean_and_error(rng.normal(size=(6, 10)))
        return stats.within(est.mean, 0.0, est.standard_error, resolution=100.0, level=0.9, **freedom)

    assert at_most(statuses(lambda rng: verdict(rng, degrees_of_freedom=5))["refuted"], TRIALS, 0.1)
    assert statuses(verdict)["refuted"] > 0.3 * TRIALS


def test_a_deviation_of_the_resolution_is_found_nine_times_in_ten():
    z = stats.critical_value(0.99, 8)
    resolution = (z + sps.norm.ppf(0.9)) * 0.5

    def verdict(rng):
        measured = rng.normal(0.0, 0.5, size=8)
        measured[3] += 0.2 + resolution
        return stats.within(measured, 0.0, 0.5, resolution=resolution, bias=0.2)

    tally = statuses(verdict)
    assert tally["undecided"] == 0
    assert abs(tally["refuted"] - 0.9 * TRIALS) < 4 * math.sqrt(TRIALS * 0.09)


def test_within_is_undecided_just_below_the_power_it_asks_for():
    needed = stats.critical_value(0.99, 3) + sps.norm.ppf(0.9)
    se = np.array([0.1, 0.2, 0.1])
    assert stats.within(se, se, se, resolution=needed * 0.2 * 1.001).status == "confirmed"
    blurred = stats.within(se, se, se, resolution=needed * 0.2 * 0.999)
    assert blurred.status == "undecided"
    assert blurred.standard_error == 0.2
    assert "was detectable" in blurred.detail


def test_within_reports_the_worst_comparison():
    verdict = stats.within([1.0, 2.5, 3.0], [1, 2, 3], [0.1, 0.1, 0.1], resolution=1)
    expected = Verdict("refuted", 2.5, 2.0, 0.1, verdict.detail)
    assert verdict == expected
    assert verdict.detail == "3 comparisons; largest deviation 5.0 standard errors, 2.93 allowed"
    assert [type(x) for x in verdict] == [str, float, float, float, str]
    assert json.loads(json.dumps(verdict._asdict()))["measured"] == 2.5


def test_within_needs_no_error_for_a_deterministic_comparison():
    assert stats.within(1.0, 1.0, 0.0, resolution=1e-9).status == "confirmed"
    assert stats.within(0.1 + 0.2, 0.3, 0.0, resolution=1e-9).status == "confirmed"
    wrong = stats.within([1.0, 1.0 + 1e-6], 1.0, 0.0, resolution=1e-9)
    assert wrong.status == "refuted"
    assert "1e-06 without a standard error" in wrong.detail
    assert stats.within([1.0, 1.0 + 1e-6], 1.0, 0.0, resolution=1e-9, bias=1e-5).status == "confirmed"
    # An exact point does not cost the noisy ones their power.
    z = stats.critical_value(0.99, 1)
    assert stats.within([0.0, 0.99 * z], 0.0, [0.0, 1.0], resolution=9.0).status == "confirmed"


@pytest.mark.parametrize("bad", [([np.nan, 1], 1, 0.1), ([1, 1], [1, np.nan], 0.1), ([1, 1], 1, [np.nan, 1])])
def test_nan_is_undecided_and_said(bad):
    verdict = stats.within(*bad, resolution=10.0)
    assert verdict.status == "undecided"
    assert verdict.detail == "1 of 2 comparisons is NaN"
    assert np.isnan(verdict[1:4]).all()


def test_nothing_to_compare_is_undecided():
    for verdict in (
        stats.within([], [], [], resolution=1.0),
        stats.bounded([], [], lower=0),
        stats.ordered([1.0], [0.1]),
        stats.fraction_inside([], [], []),
        stats.all_of([]),
    ):
        assert verdict.status == "undecided"
        assert verdict.detail == "nothing to compare"


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    st.floats(0.1, 10),
    st.floats(-50, 50),
    st.floats(1.0, 10.0),
    st.randoms(use_true_random=False),
)
def test_within_does_not_depend_on_units_origin_or_order(deviations, scale, shift, resolution, random):
    measured = np.array(deviations)
    order = list(range(len(measured)))
    random.shuffle(order)
    old = stats.within(measured, 0.0, 1.0, resolution=resolution)
    new = stats.within(
        (shift + scale * measured)[order], shift, scale, resolution=scale * resolution * (1 + 1e-12)
    )
    edge = stats.critical_value(0.99, len(measured))
    if min(abs(abs(measured) - edge)) > 1e-6:
        assert new.status == old.status


# --- one-sided claims -------------------------------------------------------------------------------------


def test_bounded_reaches_every_status():
    assert stats.bounded([1.0, 2.0], 0.1, lower=0.5, upper=2.5).status == "confirmed"
    assert stats.bounded([1.0, 2.0], 0.1, lower=0.5, upper=2.1).status == "undecided"
    broken = stats.bounded([1.0, 2.0], 0.1, lower=0.5, upper=1.5)
    assert broken[:4] == ("refuted", 2.0, 1.5, 0.1)
    assert broken.detail == "4 comparisons; tightest 0.5 outside the upper bound, 0.302 is significant"
    low = stats.bounded([1.0, 2.0], 0.1, lower=1.5)
    assert low[:3] == ("refuted", 1.0, 1.5)
    assert "outside the lower bound" in low.detail


def test_a_bound_that_is_attained_needs_a_resolution():
    assert stats.bounded(1.0, 0.1, upper=1.0).status == "undecided"
    assert stats.bounded(1.0, 0.1, upper=1.0, resolution=0.3).status == "confirmed"
    assert stats.bounded(1.0, 0.1, upper=1.0, resolution=0.2).status == "undecided"
    # A violation that is certain refutes, however small against the resolution.
    assert stats.bounded(1.1, 0.01, upper=1.0, resolution=5.0).status == "refuted"
    assert stats.bounded(0.1 + 0.2, 0.0, upper=0.3).status == "confirmed"


def test_bounds_may_vary_and_be_infinite():
    assert stats.bounded([1.0, 2.0], 0.1, upper=[1.5, np.inf]).status == "confirmed"
    assert stats.bounded([[1.0], [2.0]], 0.1, lower=[0.0, 0.5]).status == "confirmed"
    assert stats.bounded([1.0, np.nan], 0.1, lower=0.0).detail == "1 of 2 comparisons is NaN"


def test_bounded_errs_no_oftener_than_its_level_at_the_bound():
    tally = statuses(lambda rng: stats.bounded(rng.normal(size=10), 1.0, lower=0.0, level=0.8))
    # One side of a two-sided value: half of what the level allows.
    assert at_most(tally["refuted"], TRIALS, 0.1)
    assert tally["refuted"] > 0.08 * TRIALS
    assert tally["confirmed"] == 0


def test_ordered_reaches_every_status():
    rising = [1.0, 2.0, 3.0]
    assert stats.ordered(rising, 0.1).status == "confirmed"
    assert stats.ordered(rising, 1.0).status == "undecided"
    fall = stats.ordered([1.0, 2.0, 1.0], 0.1)
    assert fall[:3] == ("refuted", -1.0, 0.0)
    np.testing.assert_allclose(fall.standard_error, 0.1 * math.sqrt(2))
    assert stats.ordered(rising[::-1], 0.1, increasing=False).status == "confirmed"
    assert stats.ordered([rising, rising[::-1]], 0.1).status == "refuted"
    assert stats.ordered([1.0, 1.0], 0.0).status == "confirmed"


def test_a_plateau_is_ordered_up_to_a_resolution():
    plateau = [0.0, 0.5, 0.75, 0.75, 0.75]
    assert stats.ordered(plateau, 0.01).status == "undecided"
    assert stats.ordered(plateau, 0.01, resolution=0.1).status == "confirmed"


# --- shares and sums --------------------------------------------------------------------------------------


def test_fraction_inside_reaches_every_status():
    deviations = np.zeros(300)
    deviations[:6] = 5.0
    held = stats.fraction_inside(deviations, 0.0, 1.0)
    assert held[:3] == ("confirmed", 0.02, 0.02)
    assert held.detail == "6 of 300 points outside their 0.99 interval, 0.02 allowed"
    deviations[:9] = 5.0
    assert stats.fraction_inside(deviations, 0.0, 1.0).status == "undecided"
    deviations[:30] = 5.0
    assert stats.fraction_inside(deviations, 0.0, 1.0).status == "refuted"
    assert stats.fraction_inside(np.full(5, 9.0), 0.0, 1.0).status == "refuted"
    assert stats.fraction_inside([0.0, np.nan], 0.0, 1.0).status == "undecided"


@pytest.mark.parametrize(("points", "status"), [(56, "undecided"), (57, "confirmed")])
def test_fraction_inside_says_when_points_are_too_few(points, status):
    assert stats.fraction_inside(np.zeros(points), 0.0, 1.0).status == status


def test_fraction_inside_rarely_refutes_at_the_allowed_share():
    def verdict(rng):
        return stats.fraction_inside(9.0 * (rng.uniform(size=400) < 0.02), 0.0, 1.0)

    assert at_most(statuses(verdict)["refuted"], TRIALS, 0.01)


def test_points_of_one_trajectory_count_once():
    rng = np.random.default_rng(5)
    curves = np.repeat(rng.normal(size=(20, 1)), 30, axis=1)
    curves[0] = 2.7  # chance takes one curve in a hundred out of its interval, and all its points with it
    assert stats.fraction_inside(curves, 0.0, 1.0).status == "refuted"
    honest = stats.fraction_inside(curves, 0.0, 1.0, independent=20)
    assert honest.status == "undecided"
    assert honest.detail.endswith("20 independent")


GOOD = Verdict("confirmed", 1.0, 1.0, 0.1, "good")
UNSURE = Verdict("undecided", 1.0, 1.0, 5.0, "unsure")
BAD = Verdict("refuted", 2.0, 1.0, 0.1, "bad")
WORSE = Verdict("refuted", 3.0, 1.0, 0.1, "worse")


@pytest.mark.parametrize(
    ("parts", "status", "detail"),
    [
        ([GOOD], "confirmed", "good"),
        ([GOOD, GOOD], "confirmed", "2 of 2 parts confirmed, the first: good"),
        ([GOOD, UNSURE], "undecided", "1 of 2 parts undecided: unsure"),
        ([BAD, UNSURE, WORSE, GOOD], "refuted", "2 of 4 parts refuted, the first: bad"),
    ],
)
def test_all_of_takes_the_worst_status_and_its_first_part(parts, status, detail):
    total = stats.all_of(parts)
    assert (total.status, total.detail) == (status, detail)
    assert total[1:4] == next(p for p in parts if p.detail == detail.split(": ")[-1])[1:4]
    assert stats.all_of(iter(parts), "in short").detail == "in short"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.within(1, 1, -0.1, resolution=1), r"standard_error must be in \[0, inf\], got -0.1"),
        (lambda: stats.within(1, 1, 0.1, resolution=0), r"resolution must be in \(0, inf\], got 0"),
        (lambda: stats.within(1, 1, 0.1, resolution=1, bias=-1), r"bias must be in \[0, inf\], got -1"),
        (lambda: stats.within(1, 1, 0.1, resolution=1, level=0.0), r"level must be in \(0, 1\), got 0"),
        (lambda: stats.within([1, 2], [1, 2, 3], 0, resolution=1), r"measured \(2,\), predicted \(3,\)"),
        (lambda: stats.bounded(1, 0.1), "lower or upper must be given, got neither"),
        (lambda: stats.bounded(1, 0.1, lower=2, upper=1), "lower must be at most upper, got 2 > 1"),
        (lambda: stats.ordered(1.0, 0.1), "measured must have at least one axis, got a scalar"),
        (lambda: stats.fraction_inside(1, 1, 0.1, allowed=0.005), r"allowed must be in \(0.01, 0.5\)"),
        (
            lambda: stats.fraction_inside([1], 1, 1, independent=2),
            r"independent must be an integer in \[1, 1\]",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
