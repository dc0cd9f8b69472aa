"""Ratios are the right way up, sides that disagree are refused, and the memory that a side takes is seen."""

import json
import subprocess
import sys
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


def peak(*others):
    found = harness.peak_memory_mib(others)
    assert found is not None
    return found


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


def test_counts_are_taken_once_and_compared_like_times():
    bench = benchmark("steps", target=4.0)(
        lambda: Comparison(lambda: 6, lambda: np.int64(12), None, 0.5, "steps")
    )
    found = measure(bench, memory=lambda side: 1 / 0)
    assert found.note is None
    assert (found.ours, found.baseline) == (Spread(6.0, 6.0, 6.0), Spread(24.0, 24.0, 24.0))
    assert (found.ratio, found.met, found.unit) == (Spread(4.0, 4.0, 4.0), True, "steps")


@pytest.mark.parametrize("unit", [None, "steps"])
def test_without_a_baseline_there_is_no_ratio_but_the_reason(unit):
    comparison = Comparison(lambda: 1, note="the peer is not here", unit=unit)
    found = measure(benchmark("alone", target=2.0)(lambda: comparison))
    assert (found.baseline, found.ratio, found.met) == (None, None, None)
    assert found.note == "the peer is not here"


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
    before = peak()
    np.ones(int((before + 64) * 2**17)).sum()
    assert peak() >= before + 64


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the memory of others is known on Linux only"
)
def test_peak_memory_counts_the_processes_that_a_side_works_in():
    hold = "held = bytearray(64 * 2**20); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout and other.stdout.readline()
        assert peak(other.pid) >= peak() + 64
        other.communicate(b"\n")


def test_a_side_alone_tells_the_time_of_its_first_call_and_its_memory(capsys):
    calls = []
    bench = benchmark("sleep")(lambda: Comparison(lambda: calls.append(time.sleep(0.02))))
    harness.run_side(bench, "setup")
    assert not calls
    harness.run_side(bench, "ours")
    assert len(calls) == 1
    setup, ours = map(json.loads, capsys.readouterr().out.splitlines())
    assert setup["seconds"] == 0 and ours["seconds"] >= 0.02
    assert 0 < setup["mib"] <= ours["mib"]


def test_the_first_call_is_the_median_of_processes_that_each_call_once(monkeypatch):
    taken = iter([3.0, 1.0, 2.0, 5.0])
    monkeypatch.setattr(harness, "_alone", lambda *which: {"seconds": next(taken), "mib": 1.0})
    assert harness.first_call_seconds("topic", "name", "ours") == 2.0
    assert harness.first_call_seconds("topic", "name", "ours", 1) == 5.0


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
