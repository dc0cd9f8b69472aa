"""Labelled samples: files of a user, standardised features, binary tasks."""

import inspect
import io
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theorysim.data import Labelled, binary_task, labelled_file, standardized

X = np.array([[1.0, 5.0, 0.5], [3.0, 5.0, -0.5], [5.0, 5.0, 2.0], [4.0, 5.0, 1.0]])
Y = np.array([3, 5, 8, 3])
DATA = Labelled(X, Y)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("x_type", [np.float64, np.float32, np.float16, np.int8, np.uint8])
@pytest.mark.parametrize("y_type", [np.int64, np.int8, np.uint64, np.float32, np.float64])
def test_any_type_of_numbers_comes_back_as_float64_and_int64(tmp_path, x_type, y_type):
    x = np.array([[0, 1, 2], [3, 4, 5]], x_type)
    data = labelled_file(saved(tmp_path / "mine.npz", x=x, y=np.array([0, 7], y_type)))
    assert data.x.dtype == np.float64 and data.y.dtype == np.int64
    np.testing.assert_array_equal(data.x, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(data.y, [0, 7])


def test_signs_and_booleans_are_labels(tmp_path):
    signs = labelled_file(saved(tmp_path / "signs.npz", x=X, y=np.array([-1.0, 1.0, 1.0, -1.0])))
    assert signs.y.tolist() == [-1, 1, 1, -1]
    truths = labelled_file(saved(tmp_path / "truths.npz", x=X, y=np.array([True, False, True, True])))
    assert truths.y.tolist() == [1, 0, 1, 1]


def test_compressed_files_other_arrays_and_names_as_text_are_fine(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", x=X, y=Y, more=np.zeros(3))
    np.testing.assert_array_equal(labelled_file(str(tmp_path / "mine.npz")).x, X)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": Y}, r"with arrays x and y, got '.*mine.npz' without x \(it holds: y\)"),
        ({"x": X, "labels": Y}, r"without y \(it holds: x, labels\)"),
        ({}, r"without x \(it holds: none\)"),
        ({"x": X[0], "y": Y}, r"x must have shape \(k, p\) with k, p >= 1, got \(3,\)"),
        ({"x": X[None], "y": Y}, r"x must have shape \(k, p\) with k, p >= 1, got \(1, 4, 3\)"),
        ({"x": X[:0], "y": Y[:0]}, r"k, p >= 1, got \(0, 3\)"),
        ({"x": X[:, :0], "y": Y}, r"k, p >= 1, got \(4, 0\)"),
        ({"x": X + 1j, "y": Y}, "x must be real numbers, got dtype complex128"),
        ({"x": X.astype(str), "y": Y}, "x must be real numbers, got dtype <U"),
        ({"x": np.where(X == 2, np.nan, X), "y": Y}, r"x must be finite, got nan at \[2, 2\]"),
        ({"x": np.where(X == 3, -np.inf, X), "y": Y}, r"x must be finite, got -inf at \[1, 0\]"),
        ({"x": X, "y": Y[:3]}, r"y must have shape \(4,\), one label for each row of x, got \(3,\)"),
        ({"x": X, "y": Y[:, None]}, r"y must have shape \(4,\), one label for each row of x, got \(4, 1\)"),
        ({"x": X, "y": Y + 0.5}, "y must be whole numbers, got 3.5"),
        ({"x": X, "y": np.array([1, np.nan, 0, 1])}, "y must be whole numbers, got nan"),
        ({"x": X, "y": np.array([1, np.inf, 0, 1])}, "y must be whole numbers, got inf"),
        ({"x": X, "y": np.array([1, 1e300, 0, 1])}, r"y must be whole numbers, got 1e\+300"),
        ({"x": X, "y": np.array(list("abab"))}, "y must be whole numbers, got dtype <U1"),
        ({"x": X, "y": np.full(4, 2**63, np.uint64)}, r"y must be at most 2\*\*63 - 1, got 92233"),
        ({"x": X, "y": np.array([1, None, 2, 3])}, "y must be an array of numbers, got Python objects"),
        ({"x": np.array([[1], [None]], object), "y": Y}, "x must be an array of numbers, got Python objects"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_must_be_is_told_in_one_line(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message) as caught:
        labelled_file(saved(tmp_path / "mine.npz", **arrays))
    assert "\n" not in str(caught.value) and "mine.npz" in str(caught.value)


def test_files_that_are_no_npz_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"path must be a readable .npz file, got '.*none' \(No such file"):
        labelled_file(tmp_path / "none")
    with pytest.raises(ValueError, match=r"readable .npz file, got .* \(Is a directory\)"):
        labelled_file(tmp_path)
    for content in (b"", b"x,y\n1,2\n", b"\x80\x04K\x01."):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(ValueError, match=r"path must be an .npz file \(written by numpy.savez\), got"):
            labelled_file(tmp_path / "other")
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(ValueError, match=r"path must be an .npz file \(written by numpy.savez\)"):
        labelled_file(tmp_path / "one.npy")


def test_a_damaged_file_is_refused(tmp_path):
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.random.default_rng(0).normal(size=(40, 9)), y=np.arange(40))
    content = bytearray(stream.getvalue())
    content[600:700] = bytes(100)
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"path must be an undamaged .npz file, got '.*mine.npz'"):
        labelled_file(tmp_path / "mine.npz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path):
    path = saved(tmp_path / "secret.npz", x=X, y=Y)
    path.chmod(0)
    with pytest.raises(ValueError, match=r"readable .npz file, got .* \(Permission denied\)"):
        labelled_file(path)


def test_standardized_features_have_mean_zero_and_variance_one():
    x = np.random.default_rng(0).normal(3, [1, 10, 0.01, 5], size=(50, 4))
    z = standardized(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.var(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(z, (x - x.mean(axis=0)) / x.std(axis=0), rtol=1e-10, atol=1e-12)


@given(st.floats(-1e6, 1e6), st.sampled_from([1e-200, 1e-3, 1.0, 1e150]))
def test_standardizing_forgets_shift_and_scale(shift, scale):
    x = np.array([[1.0], [2.0], [4.0]])
    np.testing.assert_allclose(standardized(scale * (x + shift)), standardized(x), atol=1e-8)


@given(st.floats(-1e9, 1e9), st.integers(1, 40))
def test_a_constant_feature_is_dropped_whatever_its_rounding(value, k):
    x = np.column_stack([np.full(k + 1, value), np.arange(k + 1.0)])
    assert standardized(x).shape == (k + 1, 1)


def test_test_rows_are_standardized_by_the_training_rows():
    train, test = X[:3], X[3:] + 100
    z = standardized(test, reference=train)
    kept = [0, 2]
    expected = (test[:, kept] - train[:, kept].mean(axis=0)) / train[:, kept].std(axis=0)
    np.testing.assert_allclose(z, expected, rtol=1e-13)
    np.testing.assert_array_equal(standardized(train, reference=train), standardized(train))


def test_float32_features_are_standardized_in_float64():
    z = standardized(X.astype(np.float32))
    assert z.dtype == np.float64
    np.testing.assert_allclose(z, standardized(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "reference", "message"),
    [
        (X[:1], None, r"x must have shape \(k, p\) with k >= 2, got \(1, 3\)"),
        (X[0], None, r"x must have shape \(k, p\) with k >= 1, got \(3,\)"),
        (X[:, 1:2], None, "x must have a feature that varies, got 1 constant ones"),
        (np.where(X == 2, np.nan, X), None, "x must be finite, got nan"),
        (X, X[:1], r"reference must have shape \(k, p\) with k >= 2"),
        (X, X[:, :2], "reference must have the 3 features of x, got 2"),
        (X[:, :1], X[:, 1:2], "reference must have a feature that varies"),
        (X, np.where(X == 2, np.inf, X), "reference must be finite, got inf"),
    ],
)
def test_features_that_cannot_be_standardized_are_named(x, reference, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(standardized)(x, reference)


def test_a_pair_of_classes_becomes_signs_and_the_others_are_left_out():
    task = binary_task(DATA, positive=3, negative=5)
    np.testing.assert_array_equal(task.x, X[[0, 1, 3]])
    assert task.y.tolist() == [1, -1, 1] and task.y.dtype == np.int64


def test_groups_of_classes_become_signs():
    task = binary_task(DATA, positive=(8, 5), negative=[3])
    np.testing.assert_array_equal(task.x, X)
    assert task.y.tolist() == [-1, 1, 1, -1]
    swapped = binary_task(DATA, positive=3, negative=(5, 8))
    assert (swapped.y == -task.y).all()


def test_a_task_of_signs_is_itself():
    signs = Labelled(X, np.array([1, -1, -1, 1]))
    task = binary_task(signs, positive=1, negative=np.int64(-1))
    np.testing.assert_array_equal(task.y, signs.y)


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        (3, 4, "negative must name classes of the data (3, 5, 8), got 4"),
        ((3, 9), 5, "positive must name classes of the data (3, 5, 8), got 9"),
        ((3, 5), (8, 5), "negative must share no class with positive, got 5 in both"),
        (3, 3, "negative must share no class with positive, got 3 in both"),
        ((), 3, "positive must name at least one class, got none"),
        (True, 3, "positive must be an integer class or several, got True"),
        ((3.0,), 5, "positive must be an integer class or several, got 3.0"),
    ],
)
def test_classes_that_make_no_task_are_named(positive, negative, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        inspect.unwrap(binary_task)(DATA, positive, negative)


def test_many_classes_are_not_all_listed():
    data = Labelled(np.ones((50, 1)), np.arange(50))
    with pytest.raises(ValueError, match=r"\(0, 1, .*, 19, \.\.\.\), got 99"):
        binary_task(data, 99, 0)
