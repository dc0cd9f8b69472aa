"""Binomial laws against mpmath, in both precisions, at the ends and in their derivatives."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.numerics.binomial import binomial_pmf


def test_is_a_kernel():
    check_kernel(
        binomial_pmf_of,
        jnp.array([0.1, 0.5, 0.93]),
        static=dict(n=17),
        bad=[dict(n=-1), dict(x=[1.1]), dict(x=[-0.1]), dict(x=[np.nan])],
    )


def binomial_pmf_of(x, n):
    """The binomial law with the array argument first.

    Example:
        >>> print(binomial_pmf_of(0.0, n=1))
        [1. 0.]
    """
    return binomial_pmf(n, x)


@pytest.mark.parametrize("n", [2, 7, 100, 1000])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 5e-5)])
def test_equals_mpmath(n, dtype, rtol):
    for x in np.array([1e-6, 0.03, 0.5, 0.77, 0.999], dtype):
        law = np.asarray(binomial_pmf(n, x))
        assert law.dtype == dtype
        for k in {0, 1, int(n * x), min(int(n * x) + 3, n), n // 2, n - 1, n}:
            exact = mpmath.binomial(n, k) * mpmath.mpf(float(x)) ** k * (1 - mpmath.mpf(float(x))) ** (n - k)
            if exact > 1e-30:
                np.testing.assert_allclose(law[k], float(exact), rtol=rtol)


def test_certain_outcomes_are_exact():
    np.testing.assert_array_equal(binomial_pmf(5, np.array([0.0, 1.0])), np.eye(6)[[0, 5]])
    np.testing.assert_array_equal(binomial_pmf(0, np.array([0.3])), [[1.0]])


def test_derivatives_are_finite_at_the_ends():
    slope = jax.jacfwd(lambda x: binomial_pmf(4, x))
    np.testing.assert_allclose(slope(jnp.zeros(())), [-4, 4, 0, 0, 0])
    np.testing.assert_allclose(slope(jnp.ones(())), [0, 0, 0, -4, 4])
    np.testing.assert_allclose(jax.jacrev(slope)(jnp.zeros(())), [12, -24, 12, 0, 0])


def test_sums_to_one_with_the_right_mean_and_variance():
    n, x = 400, np.array([0.01, 0.3, 0.9999])
    law, k = np.asarray(binomial_pmf(n, x)), np.arange(n + 1)
    np.testing.assert_allclose(law.sum(-1), 1, rtol=1e-13)
    np.testing.assert_allclose(law @ k, n * x, rtol=1e-12)
    np.testing.assert_allclose((law * (k - (n * x)[:, None]) ** 2).sum(-1), n * x * (1 - x), rtol=1e-11)


@pytest.mark.parametrize("n", [2, 6, 7, 49])
def test_a_compiler_that_fuses_the_argument_makes_no_nan_at_the_ends(n):
    def on_grid():
        return binomial_pmf(n, jnp.arange(n + 1.0) / n)

    # An argument that is off by a unit in its last place moves the law by n times as much.
    np.testing.assert_allclose(jax.jit(on_grid)(), on_grid(), rtol=1e-12, atol=n * 2.0**-53)
