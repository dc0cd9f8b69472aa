"""Argument checks: what passes, what raises, and that the message names argument, range and value."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.numerics.validation import (
    choice,
    floating,
    is_traced,
    positive_int,
    probabilities,
    real,
    scalar,
)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3), jnp.array(3), jnp.int16(3)])
def test_positive_int_takes_every_kind_of_integer(value):
    number = positive_int(value, "n")
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, "3", None, jnp.array([3]), np.array(3.0)])
def test_positive_int_rejects_what_is_no_integer(value):
    with pytest.raises(ValueError, match=r"^n must be an integer >= 1, got "):
        positive_int(value, "n")


def test_positive_int_names_its_range():
    with pytest.raises(ValueError, match=r"^n must be an integer >= 1, got 0$"):
        positive_int(0, "n")
    with pytest.raises(ValueError, match=r"^k must be an integer in \[2, 5\], got 7$"):
        positive_int(7, "k", minimum=2, maximum=5)
    with pytest.raises(
        ValueError, match=r"^n must be at most 2147483647 \(counts are int32\), got 2147483648$"
    ):
        positive_int(2**31, "n")
    assert positive_int(0, "n", minimum=0) == 0
    assert positive_int(2**31 - 1, "n") == 2**31 - 1


def test_a_traced_size_is_a_type_error():
    with pytest.raises(TypeError, match="n sets array sizes and must be a Python int"):
        jax.jit(lambda n: positive_int(n, "n"))(3)


@pytest.mark.parametrize(
    ("options", "inside", "outside"),
    [
        ({}, [-np.inf, 0, np.inf], [np.nan]),
        ({"low": 0, "high": 1}, [0, 0.5, 1], [-1e-12, 1 + 1e-9, np.nan, np.inf]),
        ({"low": 0, "high": 1, "low_open": True}, [1e-300, 1], [0]),
        ({"low": 0, "high": 1, "high_open": True}, [0, 1 - 1e-15], [1]),
    ],
)
def test_real_keeps_to_its_interval(options, inside, outside):
    for value in inside:
        assert real(value, "x", **options) is value
    for value in outside:
        with pytest.raises(ValueError, match=r"^x must be in [\[(].*[\])], got "):
            real(value, "x", **options)


def test_real_reports_the_first_bad_entry_with_enough_digits():
    with pytest.raises(ValueError, match=r"^eta must be in \(0, 1\], got 1\.0000001$"):
        real(np.array([0.5, 1.0000001, 3.0]), "eta", low=0, high=1, low_open=True)


@pytest.mark.parametrize("value", ["1.5", None, 1 + 2j, np.array([1j]), [1, [2]], {}, jax.random.key(0)])
def test_real_rejects_what_is_no_real_number(value):
    with pytest.raises(ValueError, match=r"^x must be a real number or an array of them, got "):
        real(value, "x")


def test_real_accepts_every_floating_type_unchanged():
    for value in (jnp.bfloat16(0.5), np.float16(0.5), jnp.ones((2, 2), jnp.float32), [0.1, 0.2], 1, True):
        assert real(value, "x", low=0, high=1) is value


def test_traced_values_pass_the_range_checks_alone_or_in_a_list():
    def loss(a):
        assert is_traced(a)
        assert is_traced([a, 1.0])
        real(a, "a", low=5)
        return probabilities([a, 1 - a], "p")[0] * 2

    assert jax.grad(loss)(0.3) == 2
    assert not is_traced([1.0, jnp.ones(2)])


def test_choice_lists_what_is_allowed():
    assert choice("a", "kind", ("a", "b")) == "a"
    with pytest.raises(ValueError, match=r"^kind must be one of 'a', 'b', got 'c'$"):
        choice("c", "kind", ("a", "b"))


def test_floating_keeps_floats_and_promotes_the_rest():
    assert floating(jnp.ones(2, jnp.float32)).dtype == jnp.float32
    assert floating(jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16
    assert floating([1, 2]).dtype == jnp.float64
    assert floating(np.arange(3)).dtype == jnp.float64


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([0.5, 0.6], "sum to 1 along axis -1, got a sum of 1.1"),
        ([[0.5, 0.5], [0.2, 0.2]], "sum to 1 along axis -1, got a sum of 0.4"),
        ([1.5, -0.5], "have entries in [0, 1], got -0.5"),
        ([np.nan, 1.0], "be a distribution (entries >= 0, sum 1), got NaN"),
        ([np.inf, 0.0], "sum to 1 along axis -1, got a sum of inf"),
        (0.5, "have at least one axis of at least one probability, got shape ()"),
        (np.zeros((3, 0)), "have at least one axis of at least one probability, got shape (3, 0)"),
        ("ab", "be an array of probabilities, got dtype <U2"),
        (np.array([1j, 1 - 1j]), "be an array of probabilities, got dtype complex128"),
        ([[1.0], [0.5, 0.5]], "be an array of probabilities, got rows of unequal length"),
    ],
)
def test_probabilities_say_what_is_wrong(value, complaint):
    with pytest.raises(ValueError, match=re.escape(f"p must {complaint}")):
        probabilities(value, "p")


def test_probabilities_forgive_rounding_of_their_own_type_only():
    miss = 3e-5
    assert probabilities(np.array([0.5, 0.5 + miss], np.float32), "p").dtype == jnp.float32
    with pytest.raises(ValueError, match="p must sum to 1"):
        probabilities(np.array([0.5, 0.5 + miss]), "p")
    third = probabilities(jnp.full(3, 1 / 3, jnp.bfloat16), "p")
    assert third.dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="p must sum to 1"):
        probabilities(jnp.full(3, 0.3, jnp.bfloat16), "p")


def test_probabilities_sum_along_the_named_axis_and_are_not_renormalised():
    columns = np.array([[0.2, 0.7], [0.8, 0.3 + 1e-8]])
    np.testing.assert_array_equal(probabilities(columns, "p", axis=0), columns)
    with pytest.raises(ValueError, match="axis -1"):
        probabilities(columns, "p")
    assert probabilities(np.zeros((0, 3)), "p").shape == (0, 3)


def test_a_scalar_has_no_axis():
    for value in (3, np.float32(2), jnp.ones(())):
        assert scalar(value, "n") is value
    for value in ([1.0], np.ones((2, 3))):
        with pytest.raises(ValueError, match=r"^n must be a scalar \(batch by jax.vmap\), got shape"):
            scalar(value, "n")
    with pytest.raises(ValueError, match=r"got shape \(2,\)"):
        jax.jit(lambda x: scalar(x, "n"))(jnp.ones(2))
