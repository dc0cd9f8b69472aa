import errno
import os
import shutil
import signal
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr

from tests.sweep import kernels
from theorysim.sweep import StoreError, plan, sweep, workers
from theorysim.sweep.store import open_store

KEY = jax.random.key(3)
ASKED = {"vary": {"rate": np.linspace(0.01, 0.3, 5)}, "cases": {"width": [2, 3]}, "replicas": 2, "key": KEY}
CELLS = 6
"""Of four points each, with `batch=4`: three in each of the two cases."""


@pytest.fixture
def computed(monkeypatch):
    """The number of calls of compiled programs, as a list that grows."""
    calls = []
    compute = workers.compute

    def counted(*arguments):
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(workers, "compute", counted)
    return calls


def loss(rate, key, width):
    """Cheap to compile, random, of one shape whatever the width."""
    return rate * jax.random.normal(key, (width,)).sum()


def test_a_second_run_computes_nothing_and_is_equal(tmp_path, computed):
    first = sweep(loss, **ASKED, batch=4, store=tmp_path)
    assert len(computed) == CELLS
    second = sweep(loss, **ASKED, batch=4, store=tmp_path)
    assert len(computed) == CELLS
    xr.testing.assert_identical(first.drop_attrs(), second.drop_attrs())
    xr.testing.assert_identical(first.drop_attrs(), sweep(loss, **ASKED, batch=4).drop_attrs())


def test_only_missing_cells_are_computed(tmp_path, computed):
    first = sweep(loss, **ASKED, batch=4, store=tmp_path)
    for cell in sorted(tmp_path.glob("*.cell"))[:2]:
        cell.unlink()
    assert plan(loss, **ASKED, batch=4, store=tmp_path).cells_stored == CELLS - 2
    xr.testing.assert_equal(first, sweep(loss, **ASKED, batch=4, store=tmp_path))
    assert len(computed) == CELLS + 2


def test_more_points_reuse_the_cells_of_fewer_when_no_key_enters(tmp_path, computed):
    sweep(kernels.square, vary={"x": np.arange(8.0)}, batch=4, store=tmp_path)
    sweep(kernels.square, vary={"x": np.arange(12.0)}, batch=4, store=tmp_path)
    assert len(computed) == 3


def test_more_points_per_case_shift_the_keys_of_later_cases(tmp_path):
    few, many = ({"rate": np.arange(1.0, number)} for number in (5, 9))
    rest: dict[str, Any] = {"cases": {"width": [2, 3]}, "key": KEY, "batch": 4}
    sweep(loss, vary=few, **rest, store=tmp_path)
    stored = sweep(loss, vary=many, **rest, store=tmp_path)
    xr.testing.assert_equal(stored, sweep(loss, vary=many, **rest))


def test_other_random_bits_are_computed_again(tmp_path):
    def draws(key):
        return jax.random.normal(key, (7,))

    with jax.threefry_partitionable(False):
        old = sweep(draws, key=KEY, store=tmp_path)
    new = sweep(draws, key=KEY, store=tmp_path)
    assert not np.array_equal(old.value, new.value)


@pytest.mark.parametrize("name", ["file", "allow_pickle", "a/b"])
def test_an_output_may_have_any_name(tmp_path, computed, name):
    for _ in range(2):
        data = sweep(lambda x: {name: 2 * x}, vary={"x": [1.0, 2.0]}, store=tmp_path)
        assert data[name].values.tolist() == [2.0, 4.0]
    assert len(computed) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"vary": {"rate": np.linspace(0.01, 0.31, 5)}},
        {"key": jax.random.key(4)},
        {"key": jax.random.key(3, impl="rbg")},
        {"batch": 5},
        {"cases": {"width": [4, 5]}},
        {"vary": {"rate": np.linspace(0.01, 0.3, 5, dtype=np.float32)}},
    ],
)
def test_whatever_changes_the_numbers_is_computed_again(tmp_path, computed, change):
    asked: dict[str, Any] = ASKED | {"batch": 4}
    sweep(loss, **asked, store=tmp_path)
    before = len(computed)
    sweep(loss, **(asked | change), store=tmp_path)
    assert len(computed) - before == (4 if "batch" in change else CELLS)


def test_another_precision_is_computed_again(tmp_path, computed):
    sweep(kernels.square, vary={"x": np.array([1, 2], np.float32)}, store=tmp_path)
    with jax.enable_x64(False):
        sweep(kernels.square, vary={"x": np.array([1, 2], np.float32)}, store=tmp_path)
    assert len(computed) == 2


def _truncate(cell):
    os.truncate(cell, cell.stat().st_size // 2)


def _empty(cell):
    os.truncate(cell, 0)


def _flip_one_bit(cell):
    content = bytearray(cell.read_bytes())
    content[-20] ^= 1
    cell.write_bytes(content)


def _change_version(cell):
    cell.write_bytes(cell.read_bytes().replace(b"theorysim-cell 1", b"theorysim-cell 0", 1))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "wrong checksum"),
        (_empty, "unknown format or version"),
        (_flip_one_bit, "wrong checksum"),
        (_change_version, "unknown format or version"),
    ],
)
def test_a_damaged_cell_is_reported_and_computed_again(tmp_path, computed, damage, reason):
    first = sweep(loss, **ASKED, batch=4, store=tmp_path)
    cell = min(tmp_path.glob("*.cell"))
    damage(cell)
    with pytest.warns(UserWarning, match=rf"{cell.name} is damaged \({reason}\): it is computed again"):
        second = sweep(loss, **ASKED, batch=4, store=tmp_path)
    xr.testing.assert_equal(first, second)
    assert len(computed) == CELLS + 1
    xr.testing.assert_equal(first, sweep(loss, **ASKED, batch=4, store=tmp_path))
    assert len(computed) == CELLS + 1


KILLED = """
import os, signal, sys
import jax, numpy as np
from tests.sweep.test_store import ASKED, loss
from theorysim.sweep import sweep

def die_after_three(event):
    if event.done_cells == 3:
        os.kill(os.getpid(), signal.SIGKILL)

sweep(loss, **ASKED, batch=4, store=sys.argv[1], progress=die_after_three)
"""


def test_a_killed_run_restarted_is_equal_to_an_uninterrupted_one(tmp_path, computed):
    killed = kernels.run_python(KILLED, tmp_path / "killed")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    restarted = sweep(loss, **ASKED, batch=4, store=tmp_path / "killed")
    assert len(computed) == CELLS - 3
    xr.testing.assert_identical(
        restarted.drop_attrs(), sweep(loss, **ASKED, batch=4, store=tmp_path / "whole").drop_attrs()
    )


def test_what_a_killed_writer_left_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = os.uname().nodename
    dead = tmp_path / f"abc~{host}~{gone.pid}~0.tmp"
    alive = tmp_path / f"abc~{host}~{os.getpid()}~0.tmp"
    elsewhere = tmp_path / "abc~other~1~0.tmp"
    foreign = tmp_path / "a~b~c~d~e.tmp"
    foreign.touch()
    old = tmp_path / "abc~other~2~0.tmp"
    for file in (dead, alive, elsewhere, old):
        file.touch()
    os.utime(old, (0, 0))
    open_store(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, elsewhere, foreign])


def test_a_finished_run_leaves_no_temporary_file(tmp_path):
    sweep(kernels.square, vary={"x": [1.0]}, store=tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".cell"}


TWICE = """
import sys
from tests.sweep.test_store import ASKED, loss
from theorysim.sweep import sweep
sweep(loss, **ASKED, batch=1, store=sys.argv[1])
"""


def test_two_processes_on_one_store_do_no_harm(tmp_path):
    both = [kernels.start_python(TWICE, tmp_path) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    stored = sweep(loss, **ASKED, batch=1, store=tmp_path)
    xr.testing.assert_equal(stored, sweep(loss, **ASKED, batch=1))


def test_a_store_that_is_a_file_is_an_error_before_work(tmp_path, computed):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "cells"):
        with pytest.raises(StoreError, match=rf"store must be a writable directory .* got '{path}'"):
            sweep(loss, **ASKED, store=path)
    assert not computed


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write")
def test_a_store_that_nobody_may_write_is_an_error_before_work(computed):
    with pytest.raises(StoreError, match=r"store must be a writable directory .* got '/proc/cells'"):
        sweep(loss, **ASKED, store="/proc/cells")
    assert not computed


@pytest.fixture(params=["ro", "size=4k"])
def unwritable(tmp_path, request):
    """A real file system that is read-only, or full."""
    if not shutil.which("mount"):
        pytest.skip("needs mount")
    command = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    if request.param != "ro":
        (tmp_path / "filler").write_bytes(bytes(4096))
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_read_only_or_full_file_system_is_an_error_before_work(unwritable, computed):
    with pytest.raises(StoreError, match=r"Read-only file system|No space left on device"):
        sweep(loss, **ASKED, store=unwritable)
    assert not computed


def test_too_little_space_for_the_result_is_an_error_before_work(tmp_path, computed, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 50, 50))
    with pytest.raises(StoreError, match=r"store must have 0\.0 MB free for this sweep, got 0\.0 MB"):
        sweep(loss, **ASKED, store=tmp_path, batch=4)
    assert not computed


FULL = """
import resource, sys
import jax.numpy as jnp
from theorysim.sweep import StoreError, sweep

def grows(x, n):
    return jnp.full(n * 1000, x)

sweep(grows, vary={"x": [1.0, 2.0]}, cases={"n": [1]}, dims={"value": "i"}, batch=1, store=sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    sweep(grows, vary={"x": [1.0, 2.0]}, cases={"n": [10]}, dims={"value": "i"}, batch=1, store=sys.argv[1])
except StoreError as error:
    print(error)
"""


def test_a_write_that_fails_midway_keeps_what_is_finished_and_leaves_nothing_half_written(tmp_path):
    done = kernels.run_python(FULL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"got '{tmp_path}': {os.strerror(errno.EFBIG)}; the cells finished so far are kept" in done.stdout
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".cell", ".cell"]


def test_a_chosen_batch_is_kept_when_memory_has_changed(tmp_path, monkeypatch):
    asked = {"vary": {"x": np.arange(4096.0)}, "store": tmp_path}
    first = sweep(kernels.square, **asked)
    monkeypatch.setattr("theorysim.sweep.batching.memory_budget", lambda devices, lanes: 100)
    assert sweep(kernels.square, **asked).attrs["batch"] == first.attrs["batch"] == 512
    assert plan(kernels.square, **asked).cells_stored == 8
