r"""A ReLU network trained on synthetic data that a verifier has pruned: does it learn like the linear theory?

m samples x = y mu + N(0, I) of two equally likely classes y = +-1 are labelled wrongly with probability eps;
a verifier keeps a right label with probability phi and a wrong one with probability rho. The network f is
trained by full-batch gradient descent on

    (1/m) sum_kept log(1 + exp(-label f(x))) + (decay/2) |theta|^2.

At eps* = phi / (phi + rho) the kept labels are fair coins, independent of x. Flipping all labels then changes
nothing in law, but it turns an accuracy a into 1 - a for every learner whose answer changes sign with the
labels it is given. So its mean accuracy over data and initialisation is exactly 1/2 there, at every size.
Derived, see docs/rmt_synthetic.md; data of A. El Firdoussi et al. (2024), arXiv 2410.08942.

Example:
    >>> mu = 2.0 * jnp.eye(10)[0]
    >>> def accuracy(key, eps):
    ...     return train_on_pruned_mixture(
    ...         key, mu, eps, rho=0.3, phi=0.8, num_samples=200, hidden=(16,), num_steps=100
    ...     ).accuracy
    >>> keys = jax.random.split(jax.random.key(0), 4)
    >>> few_wrong, all_wrong = (jax.vmap(accuracy, (0, None))(keys, eps) for eps in (0.1, 1.0))
    >>> bool((few_wrong > 0.9).all()), bool((all_wrong < 0.1).all())
    (True, True)
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from theorysim.networks.gaussian_accuracy import gaussian_accuracy
from theorysim.networks.mlp import MLP, fan_in_stds
from theorysim.networks.train import functional, train
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["MixtureRun", "PrunedMixture", "draw_pruned_mixture", "train_on_pruned_mixture"]


class PrunedMixture(NamedTuple):
    """Features (m, p), labels +-1 (m,), and which samples are kept (m,)."""

    x: Float[Array, "m p"]
    labels: Float[Array, " m"]
    kept: Bool[Array, " m"]


class MixtureRun(NamedTuple):
    """Test accuracy with the standard error of its evaluation, and the training losses (num_steps,).

    The error is that of one network's accuracy, not the spread between seeds.
    """

    accuracy: Float[Array, ""]
    standard_error: Float[Array, ""]
    losses: Float[Array, " num_steps"]


def draw_pruned_mixture(
    key: PRNGKeyArray, mu: ArrayLike, eps: ArrayLike, rho: ArrayLike, phi: ArrayLike, *, num_samples: int
) -> PrunedMixture:
    """Draw m samples of the mixture, their noisy labels, and the verifier's decisions.

    Args:
        key: random key. The same key draws the same features and true labels whatever eps, rho and phi.
        mu: class mean (p,), whose dtype the sample has.
        eps: probability in [0, 1] that a label is wrong; a scalar, as the next two.
        rho: probability in [0, 1] of keeping a wrong label.
        phi: probability in [0, 1] of keeping a right label.
        num_samples: m >= 1 before pruning (static).

    Raises:
        ValueError: an argument out of its range or of the wrong shape.

    Example:
        >>> draw = draw_pruned_mixture(jax.random.key(0), jnp.ones(3), 1.0, 0.0, 1.0, num_samples=5)
        >>> draw.x.shape, bool(draw.kept.any())
        ((5, 3), False)
    """
    mu = floating(mu)
    if mu.ndim != 1 or not mu.size:
        raise ValueError(f"mu must be a vector of at least one entry, got shape {mu.shape}")
    for name, value in (("eps", eps), ("rho", rho), ("phi", phi)):
        real(scalar(value, name), name, low=0, high=1)
    m = positive_int(num_samples, "num_samples")
    class_key, noise_key, label_key, keep_key = jax.random.split(key, 4)
    truth = jax.random.rademacher(class_key, (m,), mu.dtype)
    x = truth[:, None] * mu[None] + jax.random.normal(noise_key, (m, mu.size), mu.dtype)
    wrong = jax.random.uniform(label_key, (m,), mu.dtype) < eps
    kept = jax.random.uniform(keep_key, (m,), mu.dtype) < jnp.where(wrong, rho, phi)
    return PrunedMixture(x, jnp.where(wrong, -truth, truth), kept)


def train_on_pruned_mixture(
    key: PRNGKeyArray,
    mu: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    *,
    num_samples: int,
    hidden: tuple[int, ...] = (64,),
    num_steps: int = 300,
    learning_rate: ArrayLike = 0.2,
    weight_decay: ArrayLike = 1e-3,
    num_lines: int = 256,
    dtype: DTypeLike = jnp.float32,
) -> MixtureRun:
    """Draw data, train a ReLU network without biases on what is kept, and evaluate it.

    One point: batch over seeds by `jax.vmap` over keys, and over noise levels, which need no new compilation.

    Args:
        key: random key of data, initialisation (all weights N(0, 1/fan-in)) and evaluation.
        mu: class mean (p,).
        eps: probability in [0, 1] that a label is wrong; a scalar, as the next two.
        rho: probability in [0, 1] of keeping a wrong label.
        phi: probability in [0, 1] of keeping a right label.
        num_samples: m >= 1 before pruning, by which the loss is divided (static).
        hidden: widths of the hidden layers (static).
        num_steps: full-batch steps, >= 1 (static).
        learning_rate: > 0; a scalar.
        weight_decay: decay >= 0; a scalar.
        num_lines: of the evaluation, see `gaussian_accuracy` (static).
        dtype: floating type of data, weights and computation.

    Returns:
        MixtureRun. A diverged run has the accuracy NaN. Cost at p = 50, m = 1000, width 64 and 300 steps: 40
        ms on two cores, if about 20 runs are batched; many more at once no longer fit the cache, and take
        twice as long each.

    Raises:
        ValueError: an argument out of its range or of the wrong shape.

    Example:
        >>> run = train_on_pruned_mixture(
        ...     jax.random.key(0), jnp.ones(3), 0.0, 0.5, 1.0, num_samples=50, hidden=(8,), num_steps=20
        ... )
        >>> bool(run.losses[-1] < run.losses[0]), run.accuracy.dtype
        (True, dtype('float32'))
    """
    real(scalar(learning_rate, "learning_rate"), "learning_rate", low=0, low_open=True)
    real(scalar(weight_decay, "weight_decay"), "weight_decay", low=0, high_open=True)
    num_steps = positive_int(num_steps, "num_steps")
    data_key, network_key, test_key = jax.random.split(key, 3)
    mu = jnp.asarray(mu, dtype)
    data = draw_pruned_mixture(data_key, mu, eps, rho, phi, num_samples=num_samples)
    scales = (jnp.asarray(x, dtype) for x in (learning_rate, weight_decay))
    return _train(network_key, test_key, mu, data, *scales, tuple(hidden), num_steps, num_lines)


@partial(jax.jit, static_argnums=(6, 7, 8))
def _train(network_key, test_key, mu, data, learning_rate, weight_decay, hidden, num_steps, num_lines):
    widths = (mu.size, *hidden, 1)
    model = MLP(
        widths,
        activation=jax.nn.relu,
        weight_std=fan_in_stds(widths),
        dtype=mu.dtype,
        rngs=nnx.Rngs(network_key),
    )
    network = functional(model)
    weights = data.kept.astype(mu.dtype) / data.labels.size

    def loss(params, batch):
        margin = data.labels * network.apply(params, data.x)[:, 0]
        penalty = sum(jnp.vdot(w, w) for w in jax.tree.leaves(params))
        return (weights * jax.nn.softplus(-margin)).sum() + weight_decay / 2 * penalty

    run = train(loss, network.params, optax.sgd(learning_rate), num_steps=num_steps, record_every=num_steps)
    estimate = gaussian_accuracy(
        test_key, lambda x: network.apply(run.params, x)[:, 0], mu, num_lines=num_lines
    )
    return MixtureRun(*estimate, run.losses)
