"""Same backend, same batch: the same bits, whatever computes the cells."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import jax
import numpy as np
import pytest
import xarray as xr

from tests.sweep import kernels
from theorysim.sweep import sweep

ASKED = {"vary": {"rate": np.linspace(0.01, 0.3, 5)}, "cases": {"width": [3]}, "replicas": 3}
KEY = 11
BATCH = 4


def run(batch=BATCH, **options):
    data = sweep(kernels.train, **ASKED, key=jax.random.key(KEY), batch=batch, **options)
    return data.drop_attrs()


FOUR_DEVICES = """
import sys
import numpy as np
from tests.sweep.test_bits import run
for devices in (1, 3, 4):
    np.savez(f"{sys.argv[1]}/{devices}.npz", **{name: v.values for name, v in run(devices=devices).items()})
run(devices=3, store=sys.argv[1] + "/cells")
"""


@pytest.fixture(scope="module")
def here():
    """The result of this process, on its one device."""
    return run()


def test_one_three_and_four_devices_agree_bit_for_bit_and_share_a_store(tmp_path, here, monkeypatch):
    done = kernels.run_python(FOUR_DEVICES, tmp_path, devices=4)
    assert done.returncode == 0, done.stderr
    for devices in (1, 3, 4):
        with np.load(tmp_path / f"{devices}.npz") as found:
            assert all(np.array_equal(found[name], here[name].values) for name in here.data_vars)
    monkeypatch.setattr("theorysim.sweep.workers.compute", None)
    xr.testing.assert_identical(run(store=tmp_path / "cells"), here)


def test_processes_and_threads_agree_bit_for_bit(here, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.values["jax_compilation_cache_dir"])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        xr.testing.assert_identical(run(executor=executor), here)
        with jax.enable_x64(False):
            single = run()
            xr.testing.assert_identical(run(executor=executor), single)
    assert single.loss.dtype == np.float32
    with ThreadPoolExecutor(2) as executor:
        xr.testing.assert_identical(run(executor=executor), here)


def test_the_order_of_computation_changes_no_bit(tmp_path, here):
    run(store=tmp_path)
    for cell in sorted(tmp_path.glob("*.cell"))[::2]:
        cell.unlink()
    xr.testing.assert_identical(run(store=tmp_path), here)


@pytest.mark.parametrize("batch", [1, 7, 15])
def test_another_batch_changes_only_rounding(batch, here):
    other = run(batch=batch)
    for name in here.data_vars:
        np.testing.assert_allclose(other[name], here[name], rtol=1e-12, atol=1e-14)


def test_another_batch_changes_only_rounding_in_float32():
    with jax.enable_x64(False):
        np.testing.assert_allclose(run(batch=5).loss, run(batch=15).loss, rtol=1e-5)
