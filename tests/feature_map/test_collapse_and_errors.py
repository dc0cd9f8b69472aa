"""Collapse, the kernel's distance to the labels, standard errors, chance: identities, bounds, draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta, kstest

from tests.feature_map.problem import (
    LABELS,
    READOUT,
    WIDE,
    WIDE_LABELS,
    WIDE_READOUT,
    F,
    gaussian_classes,
    some,
)
from theorysim.feature_map import (
    chance_cumulative_utility,
    chance_quality,
    eigenfunctions,
    feature_metrics,
    feature_report,
    kernel_distance,
    moments,
    neural_collapse,
    quality,
    regime,
    spiked_feature,
    standard_errors,
)


def orthonormal(columns):
    left, s, _ = np.linalg.svd(np.asarray(columns), full_matrices=False)
    return left[:, s > 1e-9 * s[0]]


def test_the_distance_is_that_of_the_operators_and_within_its_bounds():
    """Sixty draws with classes of any size, from apart to collapsed."""
    tightest = 0.0
    for seed in range(60):
        x, labels, _ = gaussian_classes(seed, 30, 6, signal=0.3 * 1.1**seed)
        law = moments(x, labels, centred=bool(seed % 2))
        dimension = 3 - seed % 2
        distance = kernel_distance(law)
        shift = (lambda a: a - a.mean(0)) if seed % 2 else (lambda a: a)
        functions, z = shift(np.asarray(x)), shift(np.asarray(jax.nn.one_hot(labels, 3)))
        T, P = functions @ functions.T / 30, orthonormal(z) @ orthonormal(z).T
        a = (T * P).sum() / dimension
        np.testing.assert_allclose(distance.distance_squared, ((T - a * P) ** 2).sum(), rtol=1e-9)
        alignment = (T * P).sum() / np.sqrt(dimension * (T**2).sum())
        np.testing.assert_allclose(distance.alignment, alignment, rtol=1e-10)
        assert distance.lower <= distance.distance_squared * (1 + 1e-12) <= distance.upper * (1 + 1e-11)
        miss = 1 - quality(law)[:dimension].mean()
        assert miss <= distance.bound
        tightest = max(tightest, float(miss / distance.bound))
    assert 0.3 < tightest < 1


def test_unbalanced_classes_align_when_rare_means_are_far_out():
    """<mu_c, mu_c'> = a (delta/pi_c - 1) makes T a multiple of P, which is no simplex."""
    labels = jnp.repeat(jnp.arange(3), jnp.array([12, 6, 2]))
    fractions = jnp.array([0.6, 0.3, 0.1])
    values, vectors = np.linalg.eigh(np.diag(1 / fractions) - 1)
    means = vectors * np.sqrt(values.clip(0))
    distance = kernel_distance(moments(jnp.asarray(means)[labels], labels))
    np.testing.assert_allclose(distance.alignment, 1, rtol=1e-12)
    np.testing.assert_allclose(distance.distance_squared, 0, atol=1e-13)
    collapse = neural_collapse(jnp.asarray(means)[labels], labels, jnp.asarray(means))
    assert collapse.nc1 < 1e-12 and collapse.nc2 > 0.1


def test_a_simplex_is_collapsed_and_nc1_is_blind_to_other_directions():
    labels = jnp.arange(40) % 4
    simplex = jnp.eye(4) - 0.25
    collapse = neural_collapse(simplex[labels] + 5.0, labels, 2 * jnp.eye(4) + 1.0)
    np.testing.assert_allclose(collapse, 0, atol=1e-13)
    noise = jnp.where(jnp.arange(40) < 20, 1.0, -1.0)[:, None]
    noisy = jnp.concatenate([simplex[labels], 50 * noise], axis=1)
    collapse = neural_collapse(noisy, labels, jnp.eye(4, 5))
    assert collapse.nc1 < 1e-12 and collapse.within_between > 1000
    assert kernel_distance(moments(noisy, labels)).alignment < 0.01


def test_collapse_is_the_same_from_a_rotated_and_widened_basis():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0][:5]
    own = feature_metrics(F, LABELS, readout=READOUT).collapse
    wide = feature_metrics(F @ turn, LABELS, readout=READOUT @ turn).collapse
    for a, b in zip(own or (), wide or (), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    x = np.asarray(F) - np.asarray(F).mean(0)
    means = np.stack([x[np.asarray(LABELS) == c].mean(0) for c in range(3)])
    nearest = ((x[:, None] - means[None]) ** 2).sum(-1).argmin(1)
    predicted = np.asarray(F @ READOUT.T).argmax(1)
    assert own is not None
    np.testing.assert_allclose(own.nc4, (nearest != predicted).mean())


def test_nc1_is_the_sum_over_eigenfunctions_if_the_moments_commute():
    """Means along axes and noise along the same axes: NC1 = (1/C) sum (1 - Q)/Q over the first K*."""
    labels = jnp.array([0, 0, 0, 0, 1, 1, 1, 1])
    noise = jnp.array([[0.3, 1], [0.3, -1], [-0.3, 1], [-0.3, -1]] * 2) * jnp.array([[1.0, 0.2]])
    x = noise + jnp.where(labels == 0, 2.0, -2.0)[:, None] * jnp.array([[1.0, 0.0]])
    Q = quality(moments(x, labels))
    np.testing.assert_allclose(neural_collapse(x, labels, jnp.eye(2)).nc1, (1 - Q[0]) / Q[0] / 2, rtol=1e-12)


def statistics(x, labels, w):
    numbers = feature_metrics(x, labels, readout=w, classes=3)
    u, q = numbers.cumulative_utility, numbers.cumulative_quality
    assert u is not None
    return jnp.stack([u[1], q[1], numbers.dominance, numbers.effective_participation])


def test_standard_errors_are_those_of_many_data_sets():
    _, _, w = gaussian_classes(0, 10, 6)
    draws = [gaussian_classes(7, 10, 6)[2]]

    def data(key):
        labels, noise = jax.random.randint(key, (250,), 0, 3), jax.random.normal(key, (250, 6))
        return draws[0][labels] + noise * jnp.exp(-0.2 * jnp.arange(6.0))[None], labels

    def one(key):
        x, labels = data(key)
        errors = standard_errors(x, labels, w, classes=3)
        return statistics(x, labels, w), jnp.stack([e for e in errors if e is not None])

    values, errors = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 600))
    # The spread of 600 draws has an error of 3 %.
    np.testing.assert_allclose(errors.mean(0), values.std(0), rtol=0.13)


def test_standard_errors_are_close_to_leaving_one_out():
    x, labels, w = gaussian_classes(3, 150, 5)
    keep = np.array([np.delete(np.arange(150), i) for i in range(150)])
    left = np.asarray(jax.jit(jax.vmap(lambda k: statistics(x[k], labels[k], w)))(keep))
    jackknife = np.sqrt(149 / 150 * ((left - left.mean(0)) ** 2).sum(0))
    found = [float(e) for e in standard_errors(x, labels, w) if e is not None]
    np.testing.assert_allclose(found, jackknife, rtol=0.06)


def test_standard_errors_do_not_depend_on_the_route():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0][:5]
    for labels in (LABELS, F[:, 0] ** 2):
        tall, wide = (standard_errors(F @ t, labels, READOUT @ t) for t in (jnp.eye(5), turn))
        for a, b in zip(tall, wide, strict=True):
            np.testing.assert_allclose(some(a), some(b), rtol=1e-8)


def test_a_random_direction_has_the_beta_law():
    draws = np.random.default_rng(0).normal(size=(4000, 20))
    draws -= draws.mean(1, keepdims=True)
    basis = orthonormal(np.asarray(jax.nn.one_hot(LABELS, 3)) - 0.0)
    basis = orthonormal(basis - basis.mean(0))
    Q = ((draws @ basis) ** 2).sum(1) / (draws**2).sum(1)
    law = chance_quality(classes=3, n=20)
    assert kstest(Q, beta(float(law.alpha), float(law.beta)).cdf).pvalue > 0.01
    np.testing.assert_allclose(law.mean, law.alpha / (law.alpha + law.beta), rtol=1e-14)


def test_a_random_span_has_the_predicted_utility():
    p, rank, top = 8, 3, 2
    spans = np.linalg.qr(np.random.default_rng(0).normal(size=(20_000, p, rank)))[0]
    u = (spans[:, :top] ** 2).sum((1, 2)) / rank
    law = chance_cumulative_utility(features=p, rank=rank, top=top)
    assert abs(u.mean() - law.mean) < 4 * np.sqrt(law.variance / 20_000)
    np.testing.assert_allclose(u.var(), law.variance, rtol=0.05)
    assert chance_cumulative_utility(features=p, rank=rank, top=p).variance == 0


def test_a_spike_is_seen_as_predicted():
    """Two classes along one direction, 1,600 examples of 400 features: in sample and out of it."""
    draw = np.random.default_rng(0)
    n, p, theta = 1600, 400, 1.5
    y = draw.choice([-1.0, 1.0], size=2 * n)
    x = draw.normal(size=(2 * n, p))
    x[:, 0] += np.sqrt(theta) * y
    law = eigenfunctions(moments(jnp.asarray(x[:n]), jnp.asarray(y[:n] > 0).astype(int), centred=False))
    expected = spiked_feature(p / n, theta)
    np.testing.assert_allclose(law.values[0], expected.eigenvalue, rtol=0.04)
    v = np.asarray(law.vectors[:, 0])
    np.testing.assert_allclose(v[0] ** 2, expected.overlap_squared, atol=0.04)
    for rows in (slice(n), slice(n, 2 * n)):
        e = x[rows] @ v
        np.testing.assert_allclose(np.mean(e * y[rows]) ** 2 / np.mean(e**2), expected.quality, atol=0.05)
    below = spiked_feature(0.25, 0.4)
    np.testing.assert_allclose(below, (2.25, 0, 0), atol=1e-15)


def test_the_verdict_needs_certainty():
    assert [regime(u) for u in (0.96, 0.9, 0.8)] == ["minimal", "between", "extended"]
    assert regime(0.96, 0.02) == regime(0.84, 0.02) == regime(0.99, np.nan) == "between"
    assert regime(0.9, minimal=0.9, extended=0.5) == "minimal"


def test_the_report_judges_features():
    labels = jnp.arange(120) % 3
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(120, 20)))
    collapsed = feature_report(jax.nn.one_hot(labels, 20) * 5 + noise, labels, readout=jnp.eye(3, 20))
    assert collapsed.regime == "minimal" and collapsed.used_features == 2 and not collapsed.ambiguous
    lazy = feature_report(noise, labels, readout=noise[:3])
    assert lazy.regime == "extended" and lazy.target_dimension == 2
    silent = feature_report(noise, labels, errors=False)
    assert silent.regime is None and silent.utility is None and silent.standard_errors is None
    wide = feature_report(WIDE, WIDE_LABELS, readout=WIDE_READOUT)
    assert wide.eigenvalues.shape == (30,) and wide.dropped == 19
    targets = feature_report(noise, noise[:, :2] ** 2, readout=noise[:2], errors=False)
    assert targets.target_dimension == 2 and targets.nc1 is None and targets.regime == "extended"


@pytest.mark.parametrize(
    ("call", "culprit"),
    [
        (lambda: feature_report(F, LABELS, readout=jnp.full((3, 5), 0.1)), "readout"),
        (lambda: feature_report(F, LABELS, outputs=jnp.full((20, 3), 0.1)), "outputs"),
        (lambda: feature_report(F, LABELS, classes=4), "labels"),
        (lambda: feature_report(F, LABELS, minimal=0.5), "minimal"),
        (lambda: jax.jit(lambda x: feature_report(x, LABELS).gap)(F), "features"),
        (lambda: neural_collapse(F, F[:, 0], READOUT), "labels"),
        (lambda: neural_collapse(F, LABELS, READOUT, outputs=F), "outputs"),
        (lambda: regime(1.2), "utility"),
        (lambda: regime(0.9, -1.0), "standard_error"),
    ],
)
def test_bad_input_is_named(call, culprit):
    with pytest.raises(ValueError, match=rf"\b{culprit}\b"):
        call()
