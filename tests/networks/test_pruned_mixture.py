"""A trained ReLU network on pruned synthetic data, and the evaluation of its accuracy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from theorysim.networks.gaussian_accuracy import gaussian_accuracy
from theorysim.networks.pruned_mixture import draw_pruned_mixture, train_on_pruned_mixture
from theorysim.numerics import stats

MU = jnp.array([1.2, 0.0, 0.5, 0.0])


# --- evaluation -------------------------------------------------------------------------------------------


def repeated(score, **options):
    keys = jax.random.split(jax.random.key(0), 400)
    return jax.jit(jax.vmap(lambda key: gaussian_accuracy(key, score, MU, **options)))(keys)


@pytest.mark.parametrize("num_strata", [1, 8])
def test_linear_scores_have_their_exact_accuracy(num_strata):
    w = jnp.array([1.0, -0.5, 0.3, 0.0])
    estimates = repeated(lambda x: x @ w, num_lines=16, num_strata=num_strata)
    exact = ndtr(float(MU @ w / jnp.linalg.norm(w)))
    mean = stats.mean_and_error(estimates.accuracy)
    assert stats.within(mean.mean, exact, mean.standard_error, resolution=0.02).status == "confirmed"


def nonlinear(x):
    """Its accuracy is known: the sign is that of x_0 where |x_1| < 1, and of -x_0 elsewhere."""
    return x[:, 0] * (1 - x[:, 1] ** 2)


def test_nonlinear_scores_are_estimated_without_bias_and_with_their_error():
    estimates = repeated(nonlinear, num_lines=32, num_strata=8)
    inside, right = 2 * ndtr(1.0) - 1, ndtr(1.2)
    exact = inside * right + (1 - inside) * (1 - right)
    mean = stats.mean_and_error(estimates.accuracy)
    assert stats.within(mean.mean, exact, mean.standard_error, resolution=0.02).status == "confirmed"
    spread = stats.variance_and_error(estimates.accuracy)
    quoted = float((estimates.standard_error**2).mean())
    assert (
        stats.within(spread.mean, quoted, spread.standard_error, resolution=quoted / 2).status == "confirmed"
    )


def test_strata_pay():
    """The same number of points says more on lines than scattered."""
    w = jnp.array([1.0, -0.5, 0.3, 0.0])

    def score(x):
        return x @ w + 0.3 * jnp.abs(x[:, 1])

    lines, points = repeated(score, num_lines=16, num_strata=16), repeated(score, num_lines=256, num_strata=1)
    assert 3 * lines.accuracy.var() < points.accuracy.var()


def test_an_even_score_and_a_diverged_one():
    assert gaussian_accuracy(jax.random.key(0), lambda x: x[:, 0] ** 2, MU).accuracy == 0.5
    assert jnp.isnan(gaussian_accuracy(jax.random.key(0), lambda x: jnp.nan * x[:, 0], MU).accuracy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": jnp.ones((2, 2))}, r"mu must be a vector of at least one entry, got shape \(2, 2\)"),
        ({"num_lines": 1}, "num_lines must be an integer >= 2, got 1"),
        ({"num_strata": 0}, "num_strata must be an integer >= 1, got 0"),
    ],
)
def test_bad_evaluations_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        gaussian_accuracy(jax.random.key(0), nonlinear, **({"mu": MU} | options))


# --- data -------------------------------------------------------------------------------------------------


def test_data_have_the_law_of_the_model():
    m, eps, rho, phi = 40_000, 0.3, 0.2, 0.9
    x, labels, kept = draw_pruned_mixture(jax.random.key(0), MU, eps, rho, phi, num_samples=m)
    clean = draw_pruned_mixture(jax.random.key(0), MU, 0.0, rho, phi, num_samples=m)
    np.testing.assert_array_equal(x, clean.x)
    truth, wrong = clean.labels, labels != clean.labels
    aligned = stats.mean_and_error(truth[:, None] * x)
    verdicts = [
        stats.within(aligned.mean, MU, aligned.standard_error, resolution=0.05),
        *(
            stats.within(share.mean, p, share.standard_error, resolution=0.05)
            for share, p in [
                (stats.mean_and_error(wrong.astype(float)), eps),
                (stats.mean_and_error(kept[wrong].astype(float)), rho),
                (stats.mean_and_error(kept[~wrong].astype(float)), phi),
                (stats.mean_and_error((truth > 0).astype(float)), 0.5),
            ]
        ),
    ]
    assert {verdict.status for verdict in verdicts} == {"confirmed"}


# --- training ---------------------------------------------------------------------------------------------

RHO, PHI = 0.3, 0.8
CRITICAL = PHI / (PHI + RHO)


def accuracies(eps, seeds, **changes):
    """(noise levels, seeds) in one compilation: the noise is traced."""
    options = {"num_samples": 150, "hidden": (16,), "num_steps": 60, "learning_rate": 0.5, "num_lines": 32}
    mu = 1.5 * jnp.eye(8)[0]

    def one(point):
        key, eps = point
        return train_on_pruned_mixture(key, mu, eps, RHO, PHI, **(options | changes)).accuracy

    keys = jax.random.split(jax.random.key(5), seeds)
    grid = jnp.tile(keys, len(eps)), jnp.repeat(jnp.asarray(eps), seeds)
    flat = jax.jit(lambda grid: jax.lax.map(one, grid, batch_size=64))(grid)
    return np.asarray(flat, float).reshape(len(eps), seeds)


def test_networks_cross_one_half_at_the_critical_noise():
    """C9: exact at every size, because there the kept labels are fair coins."""
    at = stats.mean_and_error(accuracies([CRITICAL], 400)[0])
    assert at.standard_error < 0.012
    assert abs(at.mean - 0.5) < 3 * at.standard_error


def test_accuracy_falls_through_the_critical_noise():
    noise = [0.0, CRITICAL - 0.15, CRITICAL + 0.15, 1.0]
    estimate = stats.mean_and_error(accuracies(noise, 40), axis=1)
    assert (np.diff(estimate.mean) < -3 * estimate.standard_error[1:]).all()
    assert estimate.mean[1] > 0.5 + 3 * estimate.standard_error[1]
    assert estimate.mean[2] < 0.5 - 3 * estimate.standard_error[2]
    assert estimate.mean[0] > 0.88


def test_without_kept_samples_the_network_only_decays():
    """Nothing is learnt: seeds guess, each in its own way, with mean accuracy one half."""
    run = train_on_pruned_mixture(
        jax.random.key(0), MU, 0.5, 0.0, 0.0, num_samples=20, hidden=(8,), num_steps=5, weight_decay=0.1
    )
    np.testing.assert_allclose(run.losses[1:] / run.losses[:-1], (1 - 0.2 * 0.1) ** 2, rtol=1e-5)


def test_depth_and_dtype_are_free():
    run = train_on_pruned_mixture(
        jax.random.key(0),
        MU,
        0.0,
        RHO,
        PHI,
        num_samples=200,
        hidden=(16, 16),
        num_steps=200,
        learning_rate=0.5,
        dtype=jnp.float64,
    )
    assert run.accuracy.dtype == jnp.float64
    assert run.accuracy > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eps": 1.5}, r"eps must be in \[0, 1\], got 1.5"),
        ({"rho": -0.1}, r"rho must be in \[0, 1\], got -0.1"),
        ({"phi": jnp.ones(2)}, "phi must be a scalar"),
        ({"mu": jnp.ones((2, 2))}, "mu must be a vector"),
        ({"num_samples": 0}, "num_samples must be an integer >= 1, got 0"),
        ({"num_steps": 0}, "num_steps must be an integer >= 1, got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be in \(0, inf\], got 0"),
        ({"weight_decay": -1.0}, r"weight_decay must be in \[0, inf\), got -1"),
        ({"hidden": (0,)}, "widths must be an integer >= 1, got 0"),
    ],
)
def test_bad_settings_are_named(changes, message):
    good = {"mu": MU, "eps": 0.1, "rho": 0.1, "phi": 0.9, "num_samples": 10, "num_steps": 2}
    with pytest.raises(ValueError, match=message):
        train_on_pruned_mixture(jax.random.key(0), **(good | changes))
