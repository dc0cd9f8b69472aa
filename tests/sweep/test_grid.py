import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from theorysim.sweep.grid import columns, describe, labels, make_grid, whole_columns

lengths = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(lengths, st.integers(0, 3))
def test_points_are_the_product_of_the_axes_in_c_order(sizes, replicas):
    vary = {f"a{i}": 10.0 * i + np.arange(n) for i, n in enumerate(sizes)}
    grid = make_grid(vary, None, replicas)
    expected = [point for point in itertools.product(*vary.values()) for _ in range(max(replicas, 1))]
    found = columns(grid, np.arange(grid.points))
    assert grid.points == len(expected)
    assert np.array_equal(np.stack(list(found.values()), axis=1), expected)
    whole = whole_columns(grid)
    assert all(np.array_equal(whole[name], found[name]) for name in found)


@given(lengths, st.data())
def test_any_selection_of_points_agrees_with_the_whole(sizes, data):
    grid = make_grid({f"a{i}": np.arange(n) for i, n in enumerate(sizes)}, None, 0)
    numbers = np.asarray(data.draw(st.lists(st.integers(0, grid.points - 1), min_size=1)))
    whole, part = columns(grid, np.arange(grid.points)), columns(grid, numbers)
    assert all(np.array_equal(part[name], whole[name][numbers]) for name in whole)


def test_names_on_one_dim_vary_together():
    grid = make_grid({"x": ("run", [1.0, 2.0]), "y": ("run", [3.0, 4.0]), "z": [5.0]}, None, 0)
    assert grid.sizes == {"run": 2, "z": 1}
    assert columns(grid, np.arange(2))["y"].tolist() == [3.0, 4.0]


def test_trailing_axes_go_to_the_point():
    laws = np.full((3, 4), 0.25)
    grid = make_grid({"law": laws, "n": [1, 2]}, None, 0)
    assert columns(grid, np.arange(6))["law"].shape == (6, 4)
    assert whole_columns(grid)["law"].shape == (6, 4)


@pytest.mark.parametrize(
    "values", [[1, 2], (1, 2), range(1, 3), np.array([1, 2]), jnp.array([1, 2]), {1: 0, 2: 0}.keys()]
)
def test_any_sequence_of_integers_stays_integer(values):
    (axis,) = make_grid({"n": values}, None, 0).varied
    assert axis.values.dtype.kind == "i"
    assert axis.values.tolist() == [1, 2]


def test_float32_stays_float32_and_a_data_array_lends_dim_and_attrs():
    given_values = xr.DataArray(np.array([1, 2], np.float32), dims="run", attrs={"units": "s"})
    (axis,) = make_grid({"time": given_values}, None, 0).varied
    assert (axis.dim, axis.values.dtype, axis.attrs) == ("run", np.float32, {"units": "s"})


def test_cases_multiply_and_are_described():
    grid = make_grid(None, {"width": [1, 2], "act": [np.tanh, np.sin]}, 0)
    assert len(grid.case_list) == 4
    assert describe(grid.case_list[3]) == "width=2, act=sin"


def test_labels_are_numbers_or_text():
    assert labels((1, 2)).dtype.kind == "i"
    assert labels((1, 2.5)).tolist() == [1.0, 2.5]
    assert labels((True, False)).dtype == bool
    assert labels((np.sin, None, (1, 2))).tolist() == ["sin", "None", "(1, 2)"]
    assert labels((1, True)).tolist() == ["1", "True"]


@pytest.mark.parametrize(
    ("vary", "cases", "replicas", "message"),
    [
        ({"x": []}, None, 0, r"vary\['x'\] must be a sequence of at least one value"),
        ({"x": 3.0}, None, 0, r"vary\['x'\] must be a sequence of at least one value"),
        ({"x": [[1], [1, 2]]}, None, 0, r"vary\['x'\] must be an array of numbers"),
        ({"x": ("d", [1, 2]), "y": ("d", [1])}, None, 0, r"vary\['y'\] must have 2 values .* got 1"),
        ({"x": [1]}, {"x": [1]}, 0, "'x' must be in vary or in cases"),
        ({"x": ("w", [1])}, {"w": [1]}, 0, "'w' must be in vary or in cases"),
        (None, {"w": []}, 0, r"cases\['w'\] must have at least one value"),
        (None, None, -1, "replicas must be an integer >= 0, got -1"),
        ({"replica": [1]}, None, 2, "must not use the name 'replica'"),
        ({"replica": ("d", [1])}, None, 2, "must not use the name 'replica'"),
        ({"key": [1]}, None, 0, "key is an argument of its own"),
        ({"x": range(70_000), "y": range(70_000)}, None, 0, r"at most 2\*\*32 points"),
    ],
)
def test_bad_axes_raise(vary, cases, replicas, message):
    with pytest.raises(ValueError, match=message):
        make_grid(vary, cases, replicas)


@pytest.mark.parametrize(
    ("vary", "cases", "message"),
    [
        ({"x": ["a"]}, None, r"vary\['x'\] must be numbers, got dtype <U1; .* belong in cases"),
        (None, {"w": [[1, 2]]}, r"cases\['w'\] must be hashable"),
        (None, {"w": "relu"}, r"cases\['w'\] must be a list of values, got 'relu'"),
        ([1.0], None, "vary must be a dictionary"),
        ({1: [1]}, None, "names in vary must be strings, got 1"),
    ],
)
def test_wrong_types_raise(vary, cases, message):
    with pytest.raises(TypeError, match=message):
        make_grid(vary, cases, 0)
