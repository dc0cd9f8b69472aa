"""Every bad argument is named, with its value and what is allowed, before any work is done."""

import inspect
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.sweep import kernels
from theorysim.sweep import plan as checked_plan
from theorysim.sweep import sweep as checked_sweep

# The tests check annotations at run time, before our own checks; users do not.
plan, sweep = inspect.unwrap(checked_plan), inspect.unwrap(checked_sweep)

KEY = jax.random.key(0)
X = {"x": [1.0, 2.0]}


def keyed(x, key):
    return x + jax.random.normal(key)


@pytest.mark.parametrize(
    ("fn", "arguments", "message"),
    [
        (kernels.square, {"vary": {"y": [1.0]}}, r"'y' in vary or cases must be an argument of fn \(x\)"),
        (kernels.power, {"vary": X}, "got none for 'n': put it in vary or cases"),
        (keyed, {"vary": X}, "got none for 'key': pass key="),
        (kernels.square, {"vary": X, "key": KEY}, r"key must be an argument of fn \(x\)"),
        (
            keyed,
            {"vary": X, "replicas": 2},
            r"key must be a jax.random.key\(seed\) when replicas > 0, got None",
        ),
        (kernels.square, {"vary": X, "batch": 0}, r"batch \(or 'auto'\) must be an integer >= 1, got 0"),
        (kernels.square, {"vary": X, "batch": "all"}, r"batch \(or 'auto'\) must be .* got 'all'"),
        (kernels.square, {"vary": X, "devices": 2}, r"devices must be an integer in \[1, 1\] .* got 2"),
        (kernels.square, {"vary": X, "devices": 0}, r"devices must be an integer in \[1, 1\] .* got 0"),
        (
            kernels.square,
            {"vary": X, "dims": {"y": "i"}},
            "a name in dims must be one of 'x', 'value', got 'y'",
        ),
        (
            kernels.square,
            {"vary": X, "dims": {"value": ("i",)}},
            r"dims\['value'\] must name 0 different axes",
        ),
        (
            lambda x: jnp.ones(3),
            {"vary": X, "dims": {"value": "x"}},
            "must not use an axis of the sweep, got 'x'",
        ),
        (
            lambda x: (jnp.ones(3), jnp.ones(2)),
            {"vary": X, "dims": {"0": "i", "1": "i"}},
            r"dims\['1'\] must give 'i' one length, got 3 and 2",
        ),
        (lambda x: {"x": x}, {"vary": X}, "must not be named like an axis of the sweep, got 'x'"),
        (lambda x: None, {"vary": X}, "fn must return at least one array, got none"),
        (lambda x: {"a": {"b": x}, "a_b": x}, {"vary": X}, "distinct names"),
        (kernels.square, {"vary": X, "coords": {"x": [1.0, 2.0, 3.0]}}, "coords must fit the dims"),
        (kernels.square, {"vary": X, "coords": {"z": [1.0]}}, r"coords must lie on the dims x, got \['z'\]"),
    ],
)
@pytest.mark.parametrize("run", [sweep, plan])
def test_bad_values(run, fn, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(fn, **arguments)


@pytest.mark.parametrize(
    ("fn", "arguments", "message"),
    [
        (3, {}, "fn must be a function of named scalars, got 3"),
        (keyed, {"vary": X, "key": 3}, r"key must be one jax.random.key\(seed\), got 3"),
        (keyed, {"vary": X, "key": jnp.zeros(2, np.uint32)}, r"key must be one .* got uint32\[2\]"),
        (keyed, {"vary": X, "key": jax.random.split(KEY)}, r"key must be one .* got key<fry>\[2\]"),
        (
            kernels.square,
            {"vary": X, "devices": ["cpu"]},
            "devices must be a number or a list of jax devices",
        ),
        (kernels.square, {"vary": X, "executor": 2}, "executor must be a concurrent.futures.Executor, got 2"),
        (keyed, {"vary": X, "key": KEY, "progress": 3}, "progress must be True, False or a function"),
        (lambda x: jax.random.key(0), {"vary": X}, "fn must return arrays of numbers, got a random key"),
    ],
)
def test_wrong_types(fn, arguments, message):
    with pytest.raises(TypeError, match=message):
        sweep(fn, **arguments)


def test_devices_and_executor_exclude_each_other():
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="devices must be None"):
        sweep(kernels.square, vary=X, executor=executor, devices=1)


def test_processes_that_would_deadlock_are_refused():
    executor = ProcessPoolExecutor(1, mp_context=get_context("fork"))
    with executor, pytest.raises(ValueError, match="executor must not fork, which deadlocks under JAX"):
        sweep(kernels.square, vary=X, executor=executor)


def test_what_cannot_be_pickled_cannot_go_to_another_process():
    executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with executor, pytest.raises(TypeError, match="must be picklable for an executor"):
        sweep(lambda x: x, vary=X, executor=executor)


def test_a_bad_argument_leaves_no_store_behind(tmp_path):
    with pytest.raises(ValueError, match="coords must fit"):
        sweep(kernels.square, vary=X, store=tmp_path / "cells", coords={"x": [0.0]})
    assert not (tmp_path / "cells").exists()
