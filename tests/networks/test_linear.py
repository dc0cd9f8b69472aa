"""The trained linear layer against the exact filter of gradient descent and the closed-form ridge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.networks.linear import train_linear
from theorysim.numerics import stats
from theorysim.rmt_synthetic.problem import paper_means
from theorysim.rmt_synthetic.ridge import gradient_descent_classifier, ridge_classifier, score_moments
from theorysim.rmt_synthetic.score import test_accuracy as accuracy_of

MU = paper_means(20, 1.2)[0]


def data(samples, seed=0):
    rng = np.random.default_rng(seed)
    v = jnp.asarray(np.asarray(MU) + rng.normal(size=(samples, 20)))
    targets = jnp.asarray(rng.choice([-1.0, 1.0], samples, p=[0.15, 0.85]))
    return v, targets, jnp.asarray((rng.uniform(size=samples) < 0.7) * 1.0)


@pytest.mark.parametrize("samples", [60, 12])
@pytest.mark.parametrize("step_size", [None, 0.2])
def test_every_step_is_that_of_the_exact_filter(samples, step_size):
    sets = (*data(samples), 0.05, samples)
    run = train_linear(*sets, num_steps=50, step_size=step_size)
    exact = gradient_descent_classifier(*sets, jnp.arange(51), step_size=step_size)
    np.testing.assert_allclose(run.w, exact, rtol=1e-10, atol=1e-13)


def test_the_loss_is_the_one_stated_and_falls():
    v, s, omega = data(60)
    run = train_linear(v, s, omega, 0.05, 70, num_steps=50)
    w, v, s, omega = map(np.asarray, (run.w, v, s, omega))
    stated = (omega * (w @ v.T - s) ** 2).sum(axis=1) / 140 + 0.025 * (w**2).sum(axis=1)
    np.testing.assert_allclose(run.loss, stated, rtol=1e-12)
    assert (jnp.diff(run.loss) < 0).all()


def test_training_approaches_ridge_at_the_rate_of_the_smallest_eigenvalue():
    """|w(t) - ridge| decays like exp(-t (gamma + lambda_min)), t = step size * steps, in the last stretch."""
    v, s, omega = data(60)
    gamma = 0.01
    run = train_linear(v, s, omega, gamma, 60, num_steps=6000, record_every=50, step_size=0.02)
    ridge = ridge_classifier(v, s, omega, gamma, 60)
    distance = np.linalg.norm(np.asarray(run.w) - np.asarray(ridge), axis=1)
    time = 0.02 * 50 * np.arange(len(distance))
    # Late enough that one eigendirection is left, early enough that rounding is not.
    late = time > 60
    assert distance[-1] > 1e-12
    smallest = float(jnp.linalg.eigvalsh(v.T @ (omega[:, None] * v) / 60)[0])
    fit = stats.slope(time[late], np.log(distance[late]))
    assert abs(fit.slope / -(gamma + smallest) - 1) < 0.01


def test_trained_accuracy_is_the_accuracy_of_ridge():
    sets = [data(60, seed) for seed in range(4)]
    v, s, omega = (jnp.stack(x) for x in zip(*sets, strict=True))

    def both(v, s, omega):
        trained = train_linear(v, s, omega, 0.1, 60, num_steps=400, record_every=400).w[-1]
        return [accuracy_of(*score_moments(w, MU)) for w in (trained, ridge_classifier(v, s, omega, 0.1, 60))]

    trained, exact = jax.vmap(both)(v, s, omega)
    np.testing.assert_allclose(trained, exact, atol=1e-4)
    assert exact.min() > 0.6


def test_too_large_a_step_diverges_and_says_so():
    run = train_linear(*data(60), 0.1, 60, num_steps=3000, record_every=1000, step_size=10.0)
    assert jnp.isnan(run.w[-1]).all()
    assert jnp.isfinite(run.w[0]).all()


def test_train_linear_is_a_kernel():
    v, s, omega = data(8)
    check_kernel(
        train_linear,
        v[:, :3],
        s,
        omega,
        0.1,
        9.0,
        static={"num_steps": 6, "record_every": 2, "step_size": 0.3},
        bad=[
            {"v": jnp.ones(3)},
            {"targets": jnp.ones(2)},
            {"weights": jnp.ones(2)},
            {"weights": -jnp.ones(8)},
            {"gamma": -1.0},
            {"n_total": 0.0},
            {"num_steps": 0},
            {"record_every": 4},
            {"step_size": 0.0},
        ],
    )
