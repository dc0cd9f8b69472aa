"""What synthetic samples are worth: reference values, best weight, break-even, ridge at large gamma."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.scipy.special import ndtr

from tests.check_kernel import check_kernel
from theorysim.rmt_synthetic.exchange import (
    averaging_accuracy,
    break_even_noise,
    effective_sample_size,
    exchange_rate,
    optimal_weight,
)
from theorysim.rmt_synthetic.generator import estimated_generator_moments
from theorysim.rmt_synthetic.isotropic import isotropic_moments
from theorysim.rmt_synthetic.score import test_accuracy as accuracy

LABELS = {"eps": 0.25, "rho": 0.3, "phi": 0.9}
PROBABILITIES = tuple(map(jnp.asarray, (0.25, 0.3, 0.9)))
OTHER = tuple(map(jnp.asarray, (0.9, 0.8, 0.1)))
BAD = ({"eps": 1.1}, {"rho": -0.1}, {"phi": 2.0}, {"phi": jnp.nan})

probability = st.floats(0.02, 0.98)
size = st.floats(1, 1e4)


def same(a, b, rtol=1e-11):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-15)


@pytest.mark.parametrize(
    ("omega", "n_eff", "right"),
    [(1.0, 285.7142857, 0.8478514400), (None, 333.3333333, 0.8525530081)],
)
def test_reference_values(omega, n_eff, right):
    best = optimal_weight(500, 300, **LABELS)
    same(best, 4 / 9)
    omega = best if omega is None else omega
    same(effective_sample_size(200, 500, 300, **LABELS, omega=omega), n_eff, rtol=1e-9)
    found = averaging_accuracy(200, 500, 150, 1.2, 1, 0, 1, **LABELS, omega=omega, n_hat=300)
    same(found, right, rtol=1e-9)
    same(found, ndtr(1.2**2 / jnp.sqrt(1.2**2 + 150 / n_eff)), rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(size, size, size, st.floats(0.1, 3), size, probability, probability, probability, st.floats(0, 3))
def test_effective_sample_size_gives_the_accuracy(n, m, p, mu, n_hat, eps, rho, phi, omega):
    n_eff = effective_sample_size(n, m, n_hat, eps, rho, phi, omega)
    right = averaging_accuracy(n, m, p, mu, 1, 0, 1, eps, rho, phi, omega, n_hat)
    sign = jnp.sign(n + omega * (phi * (1 - eps) - rho * eps) * m)
    # As mu^2 sqrt(n_eff) / ..., which n_eff = 0 does not divide by.
    same(right, ndtr(sign * mu**2 * jnp.sqrt(n_eff / (mu**2 * n_eff + p))), rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(size, size, size, probability, probability, probability, st.floats(0, 3))
def test_no_weight_beats_the_best_and_the_best_never_hurts(n, m, n_hat, eps, rho, phi, omega):
    labels = {"eps": eps, "rho": rho, "phi": phi}
    alpha, lam = phi * (1 - eps) + rho * eps, phi * (1 - eps) - rho * eps
    best = effective_sample_size(n, m, n_hat, **labels, omega=optimal_weight(m, n_hat, **labels))
    assert best >= n * (1 - 1e-12)
    assert best <= n + n_hat
    if lam <= 0:
        assert optimal_weight(m, n_hat, **labels) == exchange_rate(**labels) == 0
        return
    assert best >= effective_sample_size(n, m, n_hat, **labels, omega=omega) * (1 - 1e-12)
    same(best, n + 1 / (alpha / (lam**2 * m) + 1 / n_hat), rtol=1e-9)
    exact = effective_sample_size(n, m, jnp.inf, **labels, omega=optimal_weight(m, jnp.inf, **labels))
    same(exact, n + exchange_rate(**labels) * m, rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(size, size, probability, probability, probability)
def test_unit_weight_helps_below_the_break_even_noise(n, m, eps, rho, phi):
    def gain(m):
        return effective_sample_size(n, m, jnp.inf, eps, rho, phi) - n

    alpha, lam = phi * (1 - eps) + rho * eps, phi * (1 - eps) - rho * eps
    margin = 2 * lam - alpha + lam**2 * m / n
    if abs(margin) > 1e-6:
        assert jnp.sign(gain(m)) == jnp.sign(margin)
    edge = break_even_noise(rho, phi)
    if abs(eps - edge) > 1e-6:
        first = jax.grad(gain)(0.0)
        assert jnp.sign(first) == jnp.sign(edge - eps)
        same(first, 2 * lam - alpha, rtol=1e-6)


def test_oracle_and_blind_verifiers():
    assert exchange_rate(0.4, rho=0, phi=1) == 0.6
    same(exchange_rate(0.3, rho=1, phi=1), 0.4**2)
    assert break_even_noise(rho=0, phi=1) == 1
    same(break_even_noise(rho=0.7, phi=0.7), 0.25)


def test_estimated_means_limit_what_ridge_can_gain():
    n, n_hat, m, p, mu = 200, 300, 500, 150, 1.2
    for omega in (0.3, 1.0):
        limit = averaging_accuracy(n, m, p, mu, 1, 0, 1, **LABELS, omega=omega, n_hat=n_hat)
        ridge = estimated_generator_moments(n, n_hat, m, p, mu, True, **LABELS, gamma=1e8, omega=omega)
        np.testing.assert_allclose(accuracy(*ridge), limit, atol=1e-10)


def test_averaging_is_the_best_ridge_where_the_means_agree():
    rng, ridges = np.random.default_rng(0), jnp.logspace(-3, 5, 81)
    for _ in range(20):
        n, m, p = 10 ** rng.uniform(1, 3, 3)
        labels = dict(
            zip(("eps", "rho", "phi"), (rng.uniform(0, 0.4), *rng.uniform(0.1, 0.9, 2)), strict=True)
        )
        law = {"mu": rng.uniform(0.5, 2), "beta": rng.uniform(0.3, 1), "perp": 0, "sigma2": 1}
        finite = accuracy(*isotropic_moments(n, m, p, **law, **labels, gamma=ridges))
        limit = averaging_accuracy(n, m, p, **law, **labels)
        assert jnp.max(jnp.abs(finite - 0.5)) <= jnp.abs(limit - 0.5) + 1e-9


def test_nothing_kept_is_worth_nothing():
    assert exchange_rate(0.3, rho=0, phi=0) == 0
    assert optimal_weight(100, 50, 0.3, rho=0, phi=0) == 0
    assert effective_sample_size(0, 100, 50, 0.3, rho=0, phi=0) == 0
    assert effective_sample_size(70, 100, 50, 0.3, rho=0, phi=0) == 70
    assert averaging_accuracy(0, 100, 50, 1.0, 1, 0, 1, 0.3, 0, 0) == 0.5
    for gradient in jax.grad(exchange_rate, argnums=(0, 1, 2))(0.3, 0.0, 0.0):
        assert gradient == 0


def test_sample_sizes_are_kernels():
    sizes, other = (jnp.array(200.0), jnp.array(500.0), jnp.array(300.0)), (0.0, 40.0, jnp.inf)
    bad = (*BAD, {"m": -1.0}, {"n_hat": 0.0})
    check_kernel(
        effective_sample_size,
        *(*sizes, *PROBABILITIES, jnp.array(0.7)),
        points=[(*other, *OTHER, 1.0)],
        bad=(*bad, {"n": -1.0}, {"n": 0.0, "m": 0.0}, {"omega": -1.0}),
    )
    check_kernel(optimal_weight, *sizes[1:], *PROBABILITIES, points=[(*other[1:], *OTHER)], bad=bad)


def test_rates_are_kernels():
    check_kernel(exchange_rate, *PROBABILITIES, points=[OTHER], bad=BAD)
    check_kernel(
        break_even_noise, *PROBABILITIES[1:], points=[OTHER[1:]], bad=(*BAD[1:], {"rho": 0.0, "phi": 0.0})
    )


def test_averaging_is_a_kernel():
    law = tuple(map(jnp.asarray, (200.0, 400.0, 150.0, 1.5, 0.8, 0.6, 0.5)))
    bad = (*BAD, {"n": -1.0}, {"p": 0.0}, {"mu": -1.0}, {"sigma2": -1.0}, {"omega": -1.0}, {"n_hat": 0.0})
    check_kernel(
        averaging_accuracy,
        *(*law, *PROBABILITIES, jnp.array(0.7), jnp.array(90.0)),
        points=[(*law[:2], 3.0, *law[3:], *OTHER, 1.0, jnp.inf)],
        bad=bad,
    )
