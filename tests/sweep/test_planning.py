"""Batches, plans and progress: what a sweep decides and says."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sweep import kernels
from theorysim.sweep import ProgressEvent, batching, plan, sweep
from theorysim.sweep.batching import cells_wanted, evenly, memory_budget


@given(st.integers(1, 10**6), st.integers(1, 8), st.integers(1, 10**5))
def test_points_are_dealt_out_in_the_fewest_rounds_with_the_least_padding(points, lanes, limit):
    batch = evenly(points, lanes, limit)
    rounds = math.ceil(points / (lanes * limit))
    assert batch <= limit
    assert math.ceil(points / (lanes * batch)) == rounds
    assert rounds * lanes * batch - points < rounds * lanes


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"cases": 1, "lanes": 1, "stored": False, "by_executor": False}, 1),
        ({"cases": 1, "lanes": 4, "stored": False, "by_executor": False}, 4),
        ({"cases": 1, "lanes": 2, "stored": True, "by_executor": False}, 16),
        ({"cases": 10, "lanes": 1, "stored": True, "by_executor": False}, 1),
        ({"cases": 1, "lanes": 12, "stored": True, "by_executor": True}, 12),
        ({"cases": 6, "lanes": 12, "stored": False, "by_executor": True}, 2),
    ],
)
def test_cells_keep_workers_busy_and_stores_useful(asked, expected):
    assert cells_wanted(**asked) == expected


def needs_room(x):
    """A megabyte of temporaries per point: the eigenvalues keep the compiler from fusing the matrix away."""
    return jnp.linalg.eigvalsh(jnp.full((256, 256), x) + jnp.diag(jnp.arange(256.0)))[-1]


def test_auto_takes_all_points_at_once_when_they_fit():
    assert sweep(kernels.square, vary={"x": np.arange(1000.0)}).attrs["batch"] == 1000


def test_auto_shrinks_to_the_memory_there_is(monkeypatch):
    budget = 20 * 2**20
    monkeypatch.setattr(batching, "memory_budget", lambda devices, lanes: budget)
    asked: dict[str, Any] = {"vary": {"x": np.arange(100.0)}}
    planned = plan(needs_room, **asked)
    assert isinstance(planned.batch, int) and 1 < planned.batch < 100
    assert planned.bytes_per_call <= budget
    assert planned.cells == math.ceil(100 / planned.batch)


def test_one_point_is_computed_even_when_memory_is_short(monkeypatch):
    monkeypatch.setattr(batching, "memory_budget", lambda devices, lanes: 1)
    assert sweep(kernels.square, vary={"x": [1.0, 2.0]}).attrs["batch"] == 1


def test_the_memory_budget_is_part_of_what_is_there():
    devices = tuple(jax.local_devices())
    assert 2**20 < memory_budget(devices, 2) <= memory_budget(devices, 1) * 0.6


def test_a_plan_runs_nothing_and_says_what_would_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr("theorysim.sweep.workers.compute", None)
    asked = {"vary": {"x": np.arange(10.0)}, "cases": {"n": [1, 2]}, "batch": 4, "store": tmp_path / "cells"}
    planned = plan(kernels.power, **asked)
    assert planned[:6] == (20, 2, 6, 0, 2, 4)
    assert planned.bytes_result == 160
    assert "points          20 (2 cases of 10)" in str(planned)
    assert "cells           6 of 4 points per device, 0 stored" in str(planned)
    assert not (tmp_path / "cells").exists()


def test_a_plan_knows_what_is_stored(tmp_path):
    asked = {"vary": {"x": np.arange(10.0)}, "cases": {"n": [1, 2]}, "store": tmp_path}
    before = plan(kernels.power, **asked)
    sweep(kernels.power, **asked)
    after = plan(kernels.power, **asked)
    assert (before.cells, before.cells_stored, before.compilations) == (2, 0, 2)
    assert (after.cells, after.cells_stored, after.compilations) == (2, 2, 0)
    assert after.batch == before.batch


def test_progress_events_count_up_to_the_whole(tmp_path):
    events: list[ProgressEvent] = []
    asked = {"vary": {"x": np.arange(10.0)}, "cases": {"n": [1, 2]}, "batch": 4, "store": tmp_path}
    sweep(kernels.power, **asked, progress=events.append)
    assert [event.done_cells for event in events] == list(range(7))
    assert {event.total_cells for event in events} == {6}
    assert events[-1].done_points == events[-1].total_points == 20
    assert events[-1].points_per_second > 0 and events[-1].eta_seconds == 0
    assert math.isnan(events[0].eta_seconds)
    events.clear()
    sweep(kernels.power, **asked, progress=events.append)
    assert [event.done_cells for event in events] == [6]


def test_progress_is_quiet_when_stderr_is_no_terminal(capsys):
    sweep(kernels.square, vary={"x": [1.0]})
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_shows_cells_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    sweep(kernels.square, vary={"x": np.arange(8.0)}, batch=4)
    shown = capsys.readouterr().err
    assert "2/2 cells" in shown and "points/s" in shown and "ETA 0 s" in shown
