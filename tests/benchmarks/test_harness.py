"""Ratios are the right way up, sides that disagree are refused, and the memory that a side takes is seen."""

import time

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import harness
from benchmarks.harness import Comparison, Measurement, Spread, benchmark, close, measure

FAST = Spread(1.0, 1.0, 1.0)


def measurement(ratio=None, target=None, mib=None, limit=None):
    spread = None if ratio is None else Spread(ratio, ratio, ratio)
    return Measurement("title", FAST, FAST, spread, target, mib, None, limit)


def test_a_slower_baseline_gives_a_ratio_above_one(monkeypatch):
    monkeypatch.setattr(harness, "ROUND_SECONDS", 0.0)

    @benchmark("sleep", target=2.0)
    def sleep():
        return Comparison(ours=lambda: time.sleep(0.002), baseline=lambda: time.sleep(0.02))

    found = measure(sleep)
    assert found.ratio is not None and found.baseline is not None
    assert found.ratio.low <= found.ratio.median <= found.ratio.high
    assert found.ratio.median > 1
    assert found.ours_mib is None


def test_a_baseline_that_does_a_share_of_the_work_is_scaled_up(monkeypatch):
    monkeypatch.setattr(harness, "_seconds", lambda call, repeats: 0.5 * repeats)
    full = benchmark("full")(lambda: Comparison(lambda: 0, lambda: 0))
    tenth = benchmark("tenth")(lambda: Comparison(lambda: 0, lambda: 0, baseline_share=0.1))
    assert measure(full).ratio == Spread(1.0, 1.0, 1.0)
    assert measure(tenth).ratio == pytest.approx((10.0, 10.0, 10.0))


def test_sides_that_disagree_are_refused():
    bench = benchmark("off")(lambda: Comparison(lambda: jnp.ones(3), lambda: jnp.zeros(3), agree=close()))
    with pytest.raises(AssertionError, match="Not equal"):
        measure(bench)


def test_memory_is_what_a_side_takes_above_the_set_up():
    peaks = {"setup": 100.0, "ours": 140.0, "baseline": 90.0}
    bench = benchmark("memory", memory_limit_mib=30)(lambda: Comparison(lambda: 0, lambda: 0))
    found = measure(bench, memory=peaks.__getitem__)
    assert (found.ours_mib, found.baseline_mib, found.met) == (40.0, 0.0, False)


def test_peak_memory_sees_an_array_that_is_gone_again():
    before = harness.peak_memory_mib()
    np.ones(int((before + 64) * 2**17)).sum()
    assert harness.peak_memory_mib() >= before + 64


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (measurement(ratio=3.0, target=3.0), True),
        (measurement(ratio=2.9, target=3.0), False),
        (measurement(ratio=5.0, target=3.0, mib=2.0, limit=1.0), False),
        (measurement(ratio=5.0), None),
        (measurement(target=3.0), None),
    ],
)
def test_met_means_that_all_that_is_stated_holds(found, met):
    assert found.met is met
