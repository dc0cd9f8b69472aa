"""What the sim on real plus synthetic data computes at one point of a grid: keyed, traced, one call.

Training sets are random; each kernel draws some, or one where the sweep repeats it, and returns the exact
accuracy of the classifiers that they give. Sizes that vary along a sweep are traced: the largest set is drawn
and the samples beyond the size asked for get weight 0, so that one compilation serves the whole axis.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from theorysim import rmt_synthetic as rmt
from theorysim.numerics.products import matmul


class Spread(NamedTuple):
    """Mean over training sets with its standard error, standard deviation, and 5 % and 95 % quantiles."""

    mean: Float[Array, ""]
    error: Float[Array, ""]
    sd: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def spread_of(accuracies: Float[Array, " draws"]) -> Spread:
    sd = accuracies.std(ddof=1)
    low, high = jnp.quantile(accuracies, jnp.array([0.05, 0.95]))
    return Spread(accuracies.mean(), sd / accuracies.size**0.5, sd, low, high)


def isotropic_spread(n, m, mu, beta, perp, eps, rho, phi, gamma, key, *, p, draws) -> Spread:
    """Accuracy with all covariances I and unit weights, by the banded sampler: O(p) a draw at any size."""
    mean, mean_s = rmt.paper_means(p, mu, beta, perp)
    problem = rmt.real_plus_synthetic(n, m, mean, mean_s, eps=eps, rho=rho, phi=phi)
    return spread_of(rmt.sample_accuracy(key, draws, problem, gamma, "banded"))


def weighted_spread(n, m, mu, beta, perp, eps, rho, phi, gamma, omega, key, *, p, draws) -> Spread:
    """The same with kept synthetic samples of weight omega, by sufficient statistics: O(p^3) a draw."""
    mean, mean_s = rmt.paper_means(p, mu, beta, perp)
    problem = rmt.real_plus_synthetic(n, m, mean, mean_s, eps=eps, rho=rho, phi=phi, omega=omega)
    return spread_of(rmt.sample_accuracy(key, draws, problem, gamma, "bartlett"))


def score_draws(mean_s, cov_s, eps, key, *, mean, n, m, rho, phi, gamma, draws, points):
    """Moments of the score in each of some training sets, and scores of test points of class +1."""
    train_key, test_key = jax.random.split(key)
    problem = rmt.real_plus_synthetic(n, m, mean, mean_s, eps=eps, rho=rho, phi=phi, cov_s=cov_s)
    moments = rmt.sample_scores(train_key, draws, problem, gamma, "bartlett")
    z = jax.random.normal(test_key, (draws, points), moments.mean.dtype)
    scores = moments.mean[:, None] + jnp.sqrt(moments.var)[:, None] * z
    return {"mean": moments.mean, "var": moments.var, "score": scores.ravel()}


def measured_deltas(p, m, key, *, n, most, mu, eps, rho, phi, gamma):
    """The scalars of the fixed point as traces of one random resolvent; the generator knows n samples.

    `most` bounds m.
    """
    mean = jnp.zeros(p).at[0].set(mu)
    real_key, fit_key, noise_key, label_key = jax.random.split(key, 4)
    v = mean[None] + jax.random.normal(real_key, (n, p))
    Z = jax.random.normal(fit_key, (n, p))
    u = mean[None] + matmul(jax.random.normal(noise_key, (most, n)), Z) / n**0.5
    keep, _ = _labels(label_key, m, eps, rho, phi, most)
    S = (matmul(v.T, v) + matmul(u.T, keep[:, None] * u)) / (n + m)
    Q = jnp.linalg.inv(S + gamma * jnp.eye(p))
    delta_r, delta_s = jnp.trace(Q) / (n + m), (matmul(Z, Q) * Z).sum() / (n * (n + m))
    # The generator's own: how much its n samples are shrunk by their load in S.
    load = m / (n + m) * (phi * (1 - eps) + rho * eps) / (1 + delta_s)
    return rmt.GeneratorFixedPoint(delta_r, delta_s, load * jnp.trace(Q) / n)


def fitted_generator_accuracy(m, n_hat, eps, rho, phi, gamma, mu, key, *, n, p, most, most_hat):
    """One training set; the generator has the exact mean and the covariance of n_hat other samples.

    `most` bounds m, `most_hat` bounds n_hat.
    """
    real_key, fit_key, noise_key, label_key = jax.random.split(key, 4)
    mean = jnp.zeros(p).at[0].set(mu)
    v = mean[None] + jax.random.normal(real_key, (n, p))
    used = (jnp.arange(most_hat) < n_hat)[:, None]
    Z = jnp.where(used, jax.random.normal(fit_key, (most_hat, p)), 0)
    u = mean[None] + matmul(jax.random.normal(noise_key, (most, most_hat)), Z) / jnp.sqrt(n_hat)
    w = _fit(v, u, *_labels(label_key, m, eps, rho, phi, most), m, gamma)
    return rmt.test_accuracy(mu * w[0], matmul(w, w))


def own_generator_accuracy(m, eps, rho, phi, gamma, mu, key, *, n, p, most, fresh):
    """One training set; the generator has the mean and covariance of the n training samples themselves.

    With `fresh` it has those of n other samples instead. `most` bounds m.
    """
    real_key, fit_key, noise_key, label_key = jax.random.split(key, 4)
    mean = jnp.zeros(p).at[0].set(mu)
    v = mean[None] + jax.random.normal(real_key, (n, p))
    source = mean[None] + jax.random.normal(fit_key, (n, p)) if fresh else v
    center = source.mean(axis=0)
    u = center[None] + matmul(jax.random.normal(noise_key, (most, n)), source - center[None]) / n**0.5
    w = _fit(v, u, *_labels(label_key, m, eps, rho, phi, most), m, gamma)
    return rmt.test_accuracy(mu * w[0], matmul(w, w))


def paired_accuracy(m, eps, rho, phi, gamma, mu, key, *, n, p, most):
    """Accuracy with m synthetic samples, and what the same real samples give alone."""
    real_key, noise_key, label_key = jax.random.split(key, 3)
    mean = jnp.zeros(p).at[0].set(mu)
    v = mean[None] + jax.random.normal(real_key, (n, p))
    u = mean[None] + jax.random.normal(noise_key, (most, p))
    both = _fit(v, u, *_labels(label_key, m, eps, rho, phi, most), m, gamma)
    alone = rmt.ridge_classifier(v, jnp.ones(n), jnp.ones(n), gamma, n)
    return {
        name: rmt.test_accuracy(mu * w[0], matmul(w, w)) for name, w in (("both", both), ("alone", alone))
    }


def verified_accuracy(overlap, eps, key, *, n, m, p, mu, gamma):
    """One training set pruned by a linear verifier whose direction has this cosine with the mean."""
    real_key, noise_key, label_key = jax.random.split(key, 3)
    mean = jnp.zeros(p).at[0].set(mu)
    r = jnp.zeros(p).at[0].set(overlap).at[1].set(jnp.sqrt(1 - overlap**2))
    v = mean[None] + jax.random.normal(real_key, (n, p))
    u = mean[None] + jax.random.normal(noise_key, (m, p))
    b = jnp.where(jax.random.uniform(label_key, (m,)) < eps, -1.0, 1.0)
    w = _fit(v, u, (b * matmul(u, r) > 0).astype(u.dtype), b, m, gamma)
    return rmt.test_accuracy(mu * w[0], matmul(w, w))


class RealFeatures(NamedTuple):
    """Test accuracy on real features, and what theory expects given the real training and test samples."""

    measured: Float[Array, ""]
    predicted: Float[Array, ""]


def real_features(m, eps, rho, phi, gamma, key, *, x, y, n, most) -> RealFeatures:
    """Train on n real samples and m of a Gaussian fitted to them, pruned blindly; test on all others."""
    split_key, noise_key, label_key = jax.random.split(key, 3)
    v, test = _split(split_key, x, y, n)
    generator = rmt.fit_generator(v)
    u = _synthetic(noise_key, v, generator.mean, most)
    w = _fit(v, u, *_labels(label_key, m, eps, rho, phi, most), m, gamma)
    predicted = rmt.conditional_accuracy(v, generator, test, m, eps, rho, phi, gamma)
    return RealFeatures(_share_right(test, w), predicted)


def generator_subset(used, eps, gamma, key, *, x, y, n, m) -> RealFeatures:
    """The same with a generator fitted to `used` other samples, and an oracle that keeps right labels."""
    split_key, noise_key, label_key = jax.random.split(key, 3)
    v, rest = _split(split_key, x, y, n)
    half = len(rest) // 2
    source, test = rest[:half], rest[half:]
    weight = (jnp.arange(half) < used)[:, None]
    center = (weight * source).sum(0) / used
    centred = jnp.where(weight, source - center[None], 0)
    u = center[None] + matmul(jax.random.normal(noise_key, (m, half)), centred) / jnp.sqrt(used)
    w = _fit(v, u, *_labels(label_key, m, eps, 0.0, 1.0, m), m, gamma)
    generator = rmt.Generator(center, matmul(centred.T, centred) / used)
    predicted = rmt.conditional_accuracy(v, generator, test, m, eps, 0.0, 1.0, gamma)
    return RealFeatures(_share_right(test, w), predicted)


def trained_verifier(seen, eps, gamma, key, *, x, y, n, m, ridge):
    """The same, pruned by logistic regression that has seen `seen` clean samples of its own.

    The prediction takes the verifier's measured rates, as if it decided without looking at x.
    """
    split_key, noise_key, label_key = jax.random.split(key, 3)
    v, rest = _split(split_key, x, y, n)
    half = len(rest) // 2
    own, test = rest[:half], rest[half:]
    # In label-aligned coordinates every label is 1, and a classifier without intercept does not mind.
    direction = rmt.logistic_verifier(own, jnp.ones(half), jnp.arange(half) < seen, ridge)
    generator = rmt.fit_generator(v)
    u = _synthetic(noise_key, v, generator.mean, m)
    b = jnp.where(jax.random.uniform(label_key, (m,)) < eps, -1.0, 1.0)
    keep = rmt.agrees(direction, u, b)
    rates = rmt.measured_rates(keep, b, jnp.ones(m))
    w = _fit(v, u, keep.astype(u.dtype), b, m, gamma)
    predicted = rmt.conditional_accuracy(v, generator, test, m, eps, rates.rho, rates.phi, gamma)
    return RealFeatures(_share_right(test, w), predicted)._asdict() | rates._asdict()


def _split(key, x, y, n):
    """Random label-aligned samples, n of them, and all others."""
    aligned = jax.random.permutation(key, y[:, None] * x, axis=0)
    return aligned[:n], aligned[n:]


def _synthetic(key, v, center, m):
    """Draw m samples of the Gaussian fitted to v, whose covariance may be singular."""
    noise = jax.random.normal(key, (m, len(v)))
    return center[None] + matmul(noise, v - center[None]) / len(v) ** 0.5


def _labels(key, m, eps, rho, phi, most):
    """Weights and labels of `most` synthetic samples, of which the first m exist."""
    wrong_key, keep_key = jax.random.split(key)
    wrong = jax.random.uniform(wrong_key, (most,)) < eps
    keep = jax.random.uniform(keep_key, (most,)) < jnp.where(wrong, rho, phi)
    return (keep & (jnp.arange(most) < m)).astype(float), jnp.where(wrong, -1.0, 1.0)


def _fit(v, u, weights, labels, m, gamma):
    n = len(v)
    return rmt.ridge_classifier(
        jnp.concatenate([v, u]),
        jnp.concatenate([jnp.ones(n), labels]),
        jnp.concatenate([jnp.ones(n), weights]),
        gamma,
        n + m,
    )


def _share_right(v, w):
    return (jnp.sign(matmul(v, w)) + 1).mean() / 2
