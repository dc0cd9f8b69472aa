"""The ridge classifier of a training set, its early stopping, and the moments of its score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.numerics import stats
from theorysim.rmt_synthetic.moments import decision_moments
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.ridge import (
    gradient_descent_classifier,
    gradient_flow_classifier,
    ridge_classifier,
    score_moments,
)
from theorysim.rmt_synthetic.score import test_accuracy as accuracy_of

N_TOTAL, GAMMA = 31.0, 0.3


def data(samples, p, seed=0):
    """Samples, targets and weights, a fifth of them zero."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 2, samples) * (rng.uniform(size=samples) > 0.2)
    return (
        jnp.asarray(0.3 + rng.normal(size=(samples, p))),
        jnp.asarray(rng.choice([-1.0, 1.0], samples, p=[0.2, 0.8])),
        jnp.asarray(weights),
    )


def second_moment_and_signal(v, targets, weights):
    v, targets, weights = map(np.asarray, (v, targets, weights))
    return (v.T * weights) @ v / N_TOTAL, (v.T * weights) @ targets / N_TOTAL


SHAPES = pytest.mark.parametrize(("samples", "p"), [(25, 6), (6, 25), (8, 8), (1, 3)])


@SHAPES
def test_ridge_solves_its_normal_equations(samples, p):
    v, s, omega = data(samples, p)
    S, b = second_moment_and_signal(v, s, omega)
    w = ridge_classifier(v, s, omega, GAMMA, N_TOTAL)
    np.testing.assert_allclose(w, np.linalg.solve(S + GAMMA * np.eye(p), b), rtol=1e-11, atol=1e-14)


@SHAPES
def test_pruned_rows_may_as_well_be_left_out(samples, p):
    v, s, omega = data(samples, p)
    kept = np.asarray(omega) > 0
    all_rows = ridge_classifier(v, s, omega, GAMMA, N_TOTAL)
    np.testing.assert_allclose(
        ridge_classifier(v[kept], s[kept], omega[kept], GAMMA, N_TOTAL), all_rows, rtol=1e-11, atol=1e-14
    )


@pytest.mark.parametrize("fit", [ridge_classifier, gradient_flow_classifier, gradient_descent_classifier])
@SHAPES
def test_several_outputs_are_so_many_classifiers(fit, samples, p):
    v, s, omega = data(samples, p)
    targets = jnp.stack([s, 1 - s, 2 * s], axis=1)
    more = () if fit is ridge_classifier else (jnp.array([1.0, 7.0]),)
    together = fit(v, targets, omega, GAMMA, N_TOTAL, *more)
    alone = [fit(v, column, omega, GAMMA, N_TOTAL, *more) for column in targets.T]
    np.testing.assert_allclose(together, jnp.stack(alone, axis=-1), rtol=1e-10, atol=1e-14)


@SHAPES
def test_without_any_kept_sample_nothing_is_learnt(samples, p):
    v, s, omega = data(samples, p)
    for w in (
        ridge_classifier(v, s, 0 * omega, GAMMA, N_TOTAL),
        gradient_flow_classifier(v, s, 0 * omega, 0.0, N_TOTAL, jnp.array([0.0, 2.0])),
        gradient_descent_classifier(v, s, 0 * omega, GAMMA, N_TOTAL, jnp.array([0.0, 2.0])),
    ):
        np.testing.assert_array_equal(w, 0)


@SHAPES
def test_the_weights_have_a_derivative_where_they_are_zero(samples, p):
    v, s, omega = data(samples, p)
    omega = omega.at[0].set(0)

    def value(weights):
        return ridge_classifier(v, s, weights, GAMMA, N_TOTAL).sum()

    gradient = jax.grad(value)(omega)
    h = 1e-5
    # Second order forward differences: weights stay >= 0.
    f = [float(value(omega.at[0].add(k * h))) for k in range(3)]
    np.testing.assert_allclose(gradient[0], (-3 * f[0] + 4 * f[1] - f[2]) / (2 * h), rtol=1e-6)


# --- early stopping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.3])
@SHAPES
def test_flow_is_the_solution_of_its_differential_equation(samples, p, gamma):
    """w(t) = (1 - exp(-t A)) A^-1 b as a series: the derivative of w is exp(-t A) b = b - A w."""
    v, s, omega = data(samples, p)
    S, b = second_moment_and_signal(v, s, omega)
    times, h = jnp.array([0.0, 0.4, 3.0]), 1e-4
    after, before, now = (
        gradient_flow_classifier(v, s, omega, gamma, N_TOTAL, times[1:] + d) for d in (h, -h, 0)
    )
    slope = (after - before) / (2 * h)
    np.testing.assert_allclose(slope, b - np.asarray(now) @ (S + gamma * np.eye(p)), atol=1e-7)
    np.testing.assert_array_equal(gradient_flow_classifier(v, s, omega, gamma, N_TOTAL, times)[0], 0)


@SHAPES
def test_late_enough_both_are_ridge(samples, p):
    v, s, omega = data(samples, p)
    ridge = ridge_classifier(v, s, omega, GAMMA, N_TOTAL)
    flow = gradient_flow_classifier(v, s, omega, GAMMA, N_TOTAL, jnp.array([200.0, jnp.inf]))
    descent = gradient_descent_classifier(v, s, omega, GAMMA, N_TOTAL, jnp.array([5000]))
    for w in (*flow, *descent):
        np.testing.assert_allclose(w, ridge, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("step_size", [None, 0.01, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
@SHAPES
def test_descent_is_the_recursion_step_by_step(samples, p, gamma, step_size):
    v, s, omega = data(samples, p)
    S, b = second_moment_and_signal(v, s, omega)
    A = S + gamma * np.eye(p)
    eta = 1 / np.linalg.eigvalsh(A)[-1] if step_size is None else step_size
    ws = [np.zeros(p)]
    for _ in range(12):
        ws.append(ws[-1] + eta * (b - A @ ws[-1]))
    got = gradient_descent_classifier(v, s, omega, gamma, N_TOTAL, jnp.arange(13), step_size=step_size)
    np.testing.assert_allclose(got, ws, rtol=1e-10, atol=1e-12 * np.abs(ws).max())


def test_small_steps_are_the_flow():
    v, s, omega = data(25, 6)
    flow = gradient_flow_classifier(v, s, omega, GAMMA, N_TOTAL, jnp.array([2.0]))
    steps = [
        gradient_descent_classifier(v, s, omega, GAMMA, N_TOTAL, jnp.array([k]), step_size=2.0 / k)
        for k in (100, 200)
    ]
    coarse, fine = (float(jnp.abs(w - flow).max()) for w in steps)
    assert 0 < fine < coarse < 0.01
    assert abs(coarse / fine - 2) < 0.1


# --- moments, and the theory ------------------------------------------------------------------------------


def test_moments_are_those_of_the_score_on_gaussian_points():
    rng = np.random.default_rng(1)
    w, mu, root = rng.normal(size=3), rng.normal(size=3), rng.normal(size=(3, 3))
    x = mu + rng.normal(size=(200_000, 3)) @ root.T
    moments = score_moments(w, mu, root @ root.T)
    mean = stats.mean_and_error(x @ w)
    assert stats.within(mean.mean, moments.mean, mean.standard_error, resolution=0.05).status == "confirmed"
    var = stats.variance_and_error(x @ w)
    assert stats.within(var.mean, moments.var, var.standard_error, resolution=0.2).status == "confirmed"


def test_covariances_of_every_shape_agree():
    w, mu, eigenvalues = jnp.array([[1.0, 2.0], [0.5, -1.0]]), jnp.array([0.3, 0.1]), jnp.array([1.5, 0.5])
    diagonal, dense = score_moments(w, mu, eigenvalues), score_moments(w, mu, jnp.diag(eigenvalues))
    np.testing.assert_allclose(diagonal.var, dense.var, rtol=1e-14)
    np.testing.assert_allclose(score_moments(w, mu).var, score_moments(w, mu, jnp.eye(2)).var, rtol=1e-14)


def test_drawn_classifiers_have_the_accuracy_of_the_theorem():
    """A finite-size check with K groups, noise and pruning: p = 60, whose bias is about 0.03 / p."""
    p, n, m = 60, 80, 160
    mu, mu_s = paper_means(p, 1.5, beta=0.7, perp=1.0)
    eps, rho, phi = 0.3, 0.1, 0.8
    truth = accuracy_of(
        *decision_moments(real_plus_synthetic(n, m, mu, mu_s, eps=eps, rho=rho, phi=phi), 0.1)
    )

    def draw(key):
        keys = jax.random.split(key, 3)
        v = jax.random.normal(keys[0], (n + m, p)) + jnp.repeat(jnp.stack([mu, mu_s]), np.array([n, m]), 0)
        right = jnp.arange(n + m) < n
        right |= jax.random.uniform(keys[1], (n + m,)) >= eps
        kept = (jnp.arange(n + m) < n) | (jax.random.uniform(keys[2], (n + m,)) < jnp.where(right, phi, rho))
        w = ridge_classifier(v, jnp.where(right, 1.0, -1.0), kept.astype(float), 0.1, n + m)
        return accuracy_of(*score_moments(w, mu))

    drawn = stats.mean_and_error(jax.lax.map(draw, jax.random.split(jax.random.key(0), 1500), batch_size=100))
    assert drawn.standard_error < 5e-4
    verdict = stats.within(drawn.mean, truth, drawn.standard_error, bias=0.05 / p, resolution=0.004)
    assert verdict.status == "confirmed", verdict


# --- contracts --------------------------------------------------------------------------------------------

BAD = [
    {"v": jnp.ones(3)},
    {"targets": jnp.ones(2)},
    {"weights": jnp.ones(2)},
    {"weights": -jnp.ones(7)},
    {"gamma": -1.0},
    {"gamma": [1.0, 2.0]},
    {"n_total": 0.0},
]


@pytest.mark.parametrize("samples", [7, 3])
def test_ridge_is_a_kernel(samples):
    point = (*data(samples, 4), GAMMA, N_TOTAL)
    check_kernel(ridge_classifier, *point, bad=[*BAD, {"gamma": 0.0}] if samples == 7 else [{"gamma": 0.0}])


@pytest.mark.parametrize("samples", [7, 3])
def test_flow_is_a_kernel(samples):
    point = (*data(samples, 4, seed=3), GAMMA, N_TOTAL, jnp.array([0.5, 4.0]))
    bad = [{"times": [-1.0]}, {"times": 1.0}]
    check_kernel(gradient_flow_classifier, *point, wrt=(1, 3, 4, 5), bad=bad + BAD * (samples == 7))


@pytest.mark.parametrize("samples", [7, 3])
def test_descent_is_a_kernel(samples):
    point = (*data(samples, 4, seed=3), GAMMA, N_TOTAL, jnp.array([2.0, 9.0]))
    bad = [{"steps": [-1.0]}, {"steps": [1.5]}, {"steps": 1.0}, {"step_size": 0.0}]
    check_kernel(
        gradient_descent_classifier,
        *point,
        static={"step_size": 0.2},
        wrt=(1, 3, 4),
        bad=bad + BAD * (samples == 7),
    )


def test_score_moments_are_a_kernel():
    check_kernel(
        score_moments,
        jnp.array([[1.0, 2.0], [3.0, -1.0]]),
        jnp.array([0.5, 0.25]),
        jnp.array([1.0, 3.0]),
        bad=[{"mu": [1.0]}, {"cov": [1.0, 2.0, 3.0]}],
    )
