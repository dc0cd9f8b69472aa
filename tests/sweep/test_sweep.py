import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import theorysim
from tests.sweep import kernels
from theorysim.sweep import compiled, sweep

KEY = jax.random.key(7)


def test_every_point_is_what_the_function_gives_there():
    data = sweep(kernels.power, vary={"x": [1.0, 2.0, 3.0]}, cases={"n": [1, 2]}, batch=2)
    assert data.value.dims == ("n", "x")
    assert data.value.values.tolist() == [[1, 2, 3], [1, 4, 9]]
    assert data.n.values.tolist() == [1, 2]


def test_the_module_is_the_function():
    called: Any = theorysim.sweep
    assert called(kernels.square, vary={"x": [3.0]}).value.item() == 9


@pytest.mark.parametrize("batch", ["auto", 1, 4, 100])
def test_each_point_has_the_key_of_its_global_number(batch):
    data = sweep(
        lambda mean, kind, key: normal_of(mean, kind, key),
        vary={"mean": [0.0, 1.0, 2.0]},
        cases={"kind": ["a", "b"]},
        replicas=2,
        key=KEY,
        batch=batch,
    )
    assert data.value.dims == ("kind", "mean", "replica")
    expected = [kernels.normal(float(i // 2 % 3), jax.random.fold_in(KEY, i)) for i in range(12)]
    np.testing.assert_allclose(data.value.values.ravel(), expected, rtol=1e-14)
    assert data.replica.values.tolist() == [0, 1]


def normal_of(mean, kind, key):
    del kind
    return kernels.normal(mean, key)


def test_a_sweep_over_cases_alone_has_one_point_each():
    data = sweep(lambda n: jnp.arange(3.0) * n, cases={"n": [1, 2]}, dims={"value": "i"})
    assert data.value.dims == ("n", "i")
    assert data.value.values.tolist() == [[0, 1, 2], [0, 2, 4]]


def test_nothing_to_vary_gives_a_scalar():
    assert sweep(lambda: 3.0).value.item() == 3.0


def test_fields_become_variables_with_named_axes_and_coords():
    data = sweep(
        kernels.train,
        vary={"rate": xr.DataArray([0.1, 0.2], dims="rate", attrs={"units": "1/step"})},
        replicas=3,
        key=KEY,
        dims={"weights": ("unit",)},
        coords={"unit": ["a", "b", "c"], "half": ("rate", [0.05, 0.1])},
    )
    assert list(data.data_vars) == ["loss", "weights", "steps"]
    assert data.weights.dims == ("rate", "replica", "unit")
    assert data.unit.values.tolist() == ["a", "b", "c"]
    assert data.rate.attrs == {"units": "1/step"}
    assert data.half.dims == ("rate",)
    assert data.steps.dtype == np.int32


@dataclasses.dataclass
class Pair:
    first: jax.Array
    rest: dict


def test_dataclasses_and_nested_outputs_are_flattened_by_name():
    data = sweep(lambda x: Pair(x, {"b": x + 1, "c": (x, jnp.ones(2))}), vary={"x": ("i", [1.0, 2.0])})
    assert set(data.data_vars) == {"first", "rest_b", "rest_c_0", "rest_c_1"}
    assert data.rest_c_1.dims == ("i", "rest_c_1_axis0")
    assert data.x.dims == ("i",)


def test_an_array_per_point_is_kept_as_a_coordinate():
    laws = np.array([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]])
    data = sweep(lambda p: (p**2).sum(), vary={"p": ("law", laws)}, dims={"p": "token"})
    np.testing.assert_allclose(data.value, (laws**2).sum(axis=1))
    assert data.p.dims == ("law", "token")


def test_dtypes_are_kept():
    seen = {}

    def look(i, f, g, b):
        seen.update(i=i.dtype, f=f.dtype, g=g.dtype, b=b.dtype)
        return {"half": jnp.bfloat16(1.5), "flag": b, "number": 1j * f}

    data = sweep(look, vary={"i": [1], "f": np.array([1], np.float32), "g": [0.5], "b": [True]})
    assert seen == {"i": np.int64, "f": np.float32, "g": np.float64, "b": bool}
    assert data.half.dtype == np.float32 and data.half.item() == 1.5
    assert data.flag.dtype == bool and data.number.dtype.kind == "c"


def test_without_x64_floats_are_float32_and_labels_stay_exact():
    with jax.enable_x64(False):
        data = sweep(kernels.square, vary={"x": [0.1, 0.2]})
        with pytest.raises(ValueError, match=r"vary\['x'\] must fit int32"):
            sweep(kernels.square, vary={"x": [2**40]})
    assert data.value.dtype == np.float32
    assert data.x.values.tolist() == [0.1, 0.2]
    assert sweep(kernels.square, vary={"x": [0.1, 0.2]}).value.dtype == np.float64


def test_static_values_that_are_equal_but_of_other_types_are_compiled_apart():
    data = sweep(lambda x, n: jnp.asarray(n).dtype.itemsize * x, vary={"x": [1]}, cases={"n": (1, True)})
    assert data.value.values.ravel().tolist() == [8, 1]


def test_diverged_points_become_nan_and_are_counted():
    data = sweep(
        lambda x: {"inverse": 1 / x, "root": jnp.sqrt(x), "many": jnp.stack([x, 0 / x]), "n": jnp.int32(1)},
        vary={"x": [0.0, -1.0, 1.0, 2.0]},
    )
    assert data.attrs["diverged"] == 2
    assert {name: data[name].attrs["diverged"] for name in data.data_vars} == {
        "inverse": 1,
        "root": 1,
        "many": 1,
        "n": 0,
    }
    assert np.isnan(data.root.values).tolist() == [False, True, False, False]
    assert np.isnan(data.inverse.values).tolist() == [True, False, False, False]


def test_attrs_tell_how_it_was_computed():
    attrs = sweep(kernels.square, vary={"x": np.arange(10.0)}, batch=4).attrs
    assert attrs["wall_seconds"] > 0
    assert attrs | {"wall_seconds": 0} == {
        "diverged": 0,
        "failed": 0,
        "batch": 4,
        "devices": 1,
        "backend": "cpu",
        "function": "square",
        "theorysim": theorysim.__version__,
        "wall_seconds": 0,
    }


def test_results_survive_netcdf(tmp_path):
    laws = np.array([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]])
    asked = {"vary": {"p": laws}, "cases": {"kind": ["a", "b"], "act": [np.sin, np.cos]}}
    data = sweep(lambda p, kind, act: p[0] * len(kind), **asked, batch=2)
    data.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "data.nc", engine="h5netcdf") as read:
        xr.testing.assert_equal(read, data)
        assert read.attrs["diverged"] == 0 and read.attrs["batch"] == 2


def test_the_same_sweep_again_compiles_and_traces_nothing():
    def misses():
        return compiled._executable.cache_info().misses, compiled.variables.cache_info().misses

    def plus(x, n):
        return x + n

    first = sweep(plus, vary={"x": [1.0, 2.0]}, cases={"n": [1, 2]})
    before = misses()
    again = sweep(plus, vary={"x": [5.0, 6.0]}, cases={"n": [1, 2]})
    assert misses() == before
    assert (again.value.values - first.value.values == 4).all()


def test_the_same_sweep_in_two_threads_compiles_once_and_is_right_in_both():
    meeting = threading.Barrier(2)

    def poly(x, n, key):
        return jnp.sin(x) ** n + jax.random.normal(key, (50,)).sum()

    def ask(start):
        meeting.wait()
        return sweep(poly, vary={"x": start + np.arange(40.0)}, cases={"n": [1, 2]}, key=jax.random.key(0))

    before = compiled._executable.cache_info().misses
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ask, (0.0, 7.0)))
    assert compiled._executable.cache_info().misses == before + 2
    for start, data in zip((0.0, 7.0), found, strict=True):
        again = sweep(poly, vary={"x": start + np.arange(40.0)}, cases={"n": [1, 2]}, key=jax.random.key(0))
        np.testing.assert_array_equal(data.value.values, again.value.values)


def test_a_case_that_cannot_be_traced_is_named():
    with pytest.raises(ValueError, match="matmul") as caught:
        sweep(lambda x, n: x @ n, vary={"x": [1.0]}, cases={"n": [1]})
    assert "raised in the case n=1 of the sweep" in caught.value.__notes__


def test_cases_must_give_equal_shapes():
    with pytest.raises(
        ValueError, match=r"'value' must have one shape .* got \(1,\) .* n=1 and \(2,\) .* n=2"
    ):
        sweep(lambda n: jnp.ones(n), cases={"n": [1, 2]})
    with pytest.raises(
        ValueError, match=r"same variables in all cases, got \['a'\] for n=a and \['b'\] for n=b"
    ):
        sweep(lambda n: {n: 1.0}, cases={"n": ["a", "b"]})
