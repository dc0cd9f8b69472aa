"""Networks without skip connections, confidence bands, and schedules that reach a goal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.numerics.stats import mean_and_error, variance_and_error
from theorysim.width_depth import (
    band,
    design_schedule,
    fluctuation_coefficient,
    kernels,
    mlp_log_moments,
    pair_kernels,
    sample_forward,
    schedule,
    schedule_for_correlation,
    shaped_mlp_sde,
)

KEY = jax.random.key(0)


def test_log_moments_are_those_of_dense_mlp_layers():
    """One layer of width 5: log of 2 |W phi(y)|^2 / |y|^2 over Gaussian y and W, where a neuron is active."""
    n, num = 5, 40_000
    y = jax.random.normal(jax.random.key(1), (num, n))
    W = jax.random.normal(jax.random.key(2), (num, n, n)) / jnp.sqrt(n)
    after = 2 * (jax.nn.relu(jnp.einsum("rij,rj->ri", W, y)) ** 2).sum(1) / (y**2).sum(1)
    logs = np.log(np.asarray(after[after > 0]))
    moments = mlp_log_moments(n)
    for estimate, expected in ((mean_and_error(logs), moments.mean), (variance_and_error(logs), moments.var)):
        assert abs(estimate.mean - expected) < 4 * estimate.standard_error


def test_log_moments_tend_to_minus_five_halves_and_five():
    for n in (1000, 100_000):
        np.testing.assert_allclose(n * jnp.stack(mlp_log_moments(n)), [-2.5, 5.0], rtol=30 / n)
    one = mlp_log_moments(1)
    # A single active neuron: log of 2 chi^2_1.
    np.testing.assert_allclose(one, [np.log(4) - np.euler_gamma - 2 * np.log(2), np.pi**2 / 2], rtol=1e-13)
    with pytest.raises(ValueError, match="n must be an integer >= 1, got 0"):
        mlp_log_moments(0)


def test_the_shaped_network_has_the_law_of_its_equation():
    """Dense networks of width 32 and depth 32, slopes 1 and 1 - 1/sqrt(n)."""
    n, num = 32, 1500
    slope = 1 - 1 / jnp.sqrt(n)

    def network(key):
        first, later = jax.random.split(key)
        Z = jax.random.normal(first, (n, 2))
        Y = jnp.stack([Z[:, 0], 0.3 * Z[:, 0] + jnp.sqrt(1 - 0.09) * Z[:, 1]], axis=1)

        def layer(Y, key):
            Phi = jnp.where(Y > 0, Y, slope * Y)
            Y = jnp.sqrt(2 / (1 + slope**2) / n) * jax.random.normal(key, (n, n)) @ Phi
            return Y, None

        Y = jax.lax.scan(layer, Y, jax.random.split(later, n))[0]
        q = Y.T @ Y
        return q[0, 1] / jnp.sqrt(q[0, 0] * q[1, 1])

    dense = np.asarray(jax.lax.map(network, jax.random.split(KEY, num), batch_size=100))
    rho = np.asarray(shaped_mlp_sde(KEY, 0.0, -1.0, 0.3, 1.0, 32, 4000))
    assert (np.abs(rho) <= 1).all()
    for statistic in (mean_and_error, variance_and_error):
        a, b = statistic(dense), statistic(rho)
        # The width's own correction is O(1/n).
        assert abs(a.mean - b.mean) < 3.5 * np.hypot(a.standard_error, b.standard_error) + 1 / n


def test_the_mean_of_the_equation_is_a_martingale_up_to_its_drift():
    """Equal slopes: d rho = -rho (1 - rho^2)/2 dt + (1 - rho^2) dB, so that artanh rho drifts by rho/2."""
    rho = shaped_mlp_sde(KEY, 0.7, 0.7, 0.0, 0.5, 16, 2000)
    mean, error, _ = mean_and_error(rho)
    assert abs(mean) < 4 * error
    np.testing.assert_allclose(shaped_mlp_sde(KEY, 1.0, 0.0, 0.4, 0.0, 8, 3), 0.4, rtol=1e-12)
    close = shaped_mlp_sde(KEY, 3.0, -3.0, -0.999999, 1.0, 16, 2000)
    assert jnp.isfinite(close).all()


def test_bands_hold_their_share_of_networks():
    alpha2, n = schedule("uniform", 16), 400
    q = sample_forward(KEY, jnp.eye(1), n, alpha2, "relu", 2000)[:, -1, 0, 0]
    coefficient = fluctuation_coefficient(1.0, alpha2, "relu").cov
    low, high = band(0.9, n, (1 + 1 / 32) ** 16, coefficient)
    inside = float(((q > low) & (q < high)).mean())
    assert abs(inside - 0.9) < 4 * 0.3 / 2000**0.5
    np.testing.assert_array_equal(band(0.9, 10, 1.5, 0.0), (1.5, 1.5))


@pytest.mark.parametrize("phi", ["relu", "abs", 0.4])
@pytest.mark.parametrize("L", [1, 5])
def test_the_inverse_problem_is_solved_to_rounding(phi, L):
    for c0, c1 in ((-1.0, -0.9), (0.2, 0.22), (0.9, 0.901)):
        alpha2 = schedule_for_correlation(c0, c1, L, phi, 2.0)
        pair = pair_kernels(jnp.array([1.0, 1.0, c0]), alpha2, phi, 2.0)
        np.testing.assert_allclose(pair.nngp[2] / pair.nngp[0], c1, rtol=1e-12)
    assert (schedule_for_correlation(0.2, 0.2, L, phi) == 0).all()


def test_what_a_depth_cannot_reach_is_refused():
    with pytest.raises(
        ValueError, match=r"c1 must be below 0\.4246.*, which 1 layers approach from c0, got 0.6"
    ):
        schedule_for_correlation(0.2, 0.6, 1, "relu")
    with pytest.raises(ValueError, match=r"c1 must be in \[0.2, 1\), got 0.1"):
        schedule_for_correlation(0.2, 0.1, 1, "relu")
    with pytest.raises(ValueError, match="phi must not be linear"):
        schedule_for_correlation(0.2, 0.3, 1, "linear")
    assert jnp.isnan(jax.jit(lambda c: schedule_for_correlation(0.2, c, 1, "relu"))(0.6)).all()


def test_a_target_correlation_is_reached_on_the_simplex():
    """At a fixed sum, unequal scales separate by less than equal ones: a value in between is reached."""

    def correlation(alpha2):
        q = pair_kernels(jnp.array([1.0, 1.0, 0.0]), alpha2, "relu").nngp
        return q[2] / q[0]

    equal = correlation(jnp.full(3, 2 / 3))
    lopsided = correlation(jnp.array([2.0, 0.0, 0.0]))
    target = (equal + lopsided) / 2
    found = design_schedule(
        lambda a: (correlation(a) - target) ** 2, 3, 2.0, start=jnp.array([1.0, 2.0, 4.0])
    )
    assert lopsided < equal
    assert found.alpha2.sum() == pytest.approx(2.0, rel=1e-12)
    assert (found.alpha2 > 0).all()
    assert correlation(found.alpha2) == pytest.approx(float(target), abs=1e-6)
    assert found.value < found.start_value


def test_conditioning_is_best_where_the_gradient_says():
    """The log of the condition number falls from a bad start, to where moving any scale does not help."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)))

    def log_condition(alpha2):
        eigenvalues = jnp.linalg.eigvalsh(kernels(x, alpha2=alpha2, phi="relu", get="ntk", method="scan").ntk)
        return jnp.log(eigenvalues[-1] / eigenvalues[0])

    found = design_schedule(log_condition, 3, 3.0, start=jnp.array([1.0, 4.0, 9.0]))
    assert found.converged
    slope = jax.grad(lambda logits: log_condition(3 * jax.nn.softmax(logits)))(jnp.log(found.alpha2))
    assert jnp.abs(slope).max() < 1e-3
    assert found.value < found.start_value - 1e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: design_schedule(jnp.sum, 0), "L must be an integer >= 1"),
        (lambda: design_schedule(jnp.sum, 2, 0.0), "tau must be in"),
        (lambda: design_schedule(jnp.sum, 2, start=jnp.ones(3)), r"start must have shape \(2,\)"),
        (lambda: design_schedule(jnp.sum, 2, start=jnp.array([1.0, 0.0])), "start must be in"),
        (lambda: shaped_mlp_sde(KEY, 0.0, 0.0, 1.0, 1.0, 4, 4), r"rho0 must be in \(-1, 1\), got 1"),
        (lambda: shaped_mlp_sde(KEY, 0.0, 0.0, 0.5, -1.0, 4, 4), "T must be in"),
        (lambda: shaped_mlp_sde(KEY, 0.0, 0.0, 0.5, 1.0, 0, 4), "steps must be an integer >= 1"),
        (lambda: fluctuation_coefficient(1.0, jnp.ones(2), "erf"), "key must be given"),
        (lambda: fluctuation_coefficient(jnp.ones(2), jnp.ones(2), "relu"), "q0 must be a scalar or"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
