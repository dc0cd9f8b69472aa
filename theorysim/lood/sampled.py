r"""Sample-then-optimize: networks whose training is an exact posterior draw, with every retraining for free.

Features Phi (n, N) of random networks, readout w_0 ~ N(0, I), f_0 = Phi w_0, labels y + e, e ~ N(0, s2 I):
ridge regression toward w_0 gives a draw from the posterior of the Gaussian process with kernel Phi Phi'. With
G = (Phi Phi' + s2 I)^-1 and a = G (y + e - f_0), its outputs at the records, and those of the n networks
trained from the same start without one record each, are

    in = y + e - s2 a,        out_i = y_i + e_i - a_i/G_ii:

one factorisation for all networks and retrainings. As N -> infinity Phi Phi' tends to the NNGP. A. Matthews
et al. (2017), "Sample-then-optimize posterior sampling for Bayesian linear models".

Example:
    >>> phi = random_features(jax.random.key(0), jnp.eye(3), "relu", width=512)
    >>> ensemble = sample_then_optimize(
    ...     jax.random.key(1), phi, jnp.array([1.0, -1.0, 1.0]), noise=0.1, networks=4000
    ... )
    >>> print(ensemble.outside.mean(0).round(1), ensemble.inside.mean(0).round(1))
    [-0.1  0.4 -0. ] [ 0.6 -0.4  0.5]
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import finite, inputs
from theorysim.numerics.gaussian import Activation, activation, checked_activation
from theorysim.numerics.gp import factor, inverse_diagonal, labels
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["Ensemble", "random_features", "sample_then_optimize"]


class Ensemble(NamedTuple):
    """Outputs at the n records of R networks, for labels (n, k) with a last axis of k.

    Attributes:
        inside: of networks trained on all records, (R, n).
        outside: at each record, of the network trained from the same start without it, (R, n).
    """

    inside: Float[Array, "R n *k"]
    outside: Float[Array, "R n *k"]


def sample_then_optimize(
    key: Array, features: ArrayLike, y: ArrayLike, *, noise: ArrayLike, networks: int
) -> Ensemble:
    """Draw trained networks, with and without each record.

    Args:
        key: random key.
        features: Phi, (n, N).
        y: labels, (n,) or (n, k).
        noise: s2 > 0, a scalar.
        networks: R, >= 1 (static).

    Returns:
        Ensemble, exact for kernel Phi Phi': `inside` follows its posterior at the records jointly, each
        column of `outside` its leave-one-out law.

    Raises:
        ValueError: shapes that do not match, networks < 1, or whatever `factor` refuses of Phi Phi'.

    Example:
        >>> draws = sample_then_optimize(
        ...     jax.random.key(0), jnp.eye(2), jnp.zeros(2), noise=1.0, networks=10_000
        ... )
        >>> print(draws.inside.var(0).round(1), draws.outside.var(0).round(1))
        [0.5 0.5] [1. 1.]
    """
    networks = positive_int(networks, "networks")
    features = finite(features, "features")
    if features.ndim != 2 or not features.size:
        raise ValueError(f"features must have shape (n, N) with n, N >= 1, got {features.shape}")
    shape = floating(y).shape
    y = labels(y, len(features), features.dtype)
    cholesky = factor(matmul(features, features.T), noise=noise)
    drawn = _sample(key, cholesky, features, y, jnp.asarray(noise, y.dtype), networks=networks)
    return Ensemble(*(x.reshape(networks, *shape) for x in drawn))


def random_features(
    key: Array, X: ArrayLike, phi: Activation, *, width: int, sw2: ArrayLike = 1.0, sb2: ArrayLike = 0.0
) -> Float[Array, "n N"]:
    """Features of a random hidden layer, whose inner products tend to `mlp(phi, depth=1, ...)` as it widens.

    sqrt(sw2/N) phi(W x + b) with W ~ N(0, sw2/d), b ~ N(0, sb2), and a last feature sqrt(sb2).

    Args:
        key: random key.
        X: inputs, (n, d).
        phi: activation (static).
        width: N >= 1 (static).
        sw2: variance of a weight times its fan-in, > 0, a scalar.
        sb2: variance of a bias, >= 0, a scalar.

    Returns:
        (n, N + 1) features.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> phi = random_features(jax.random.key(0), jnp.eye(2), "relu", width=100_000, sw2=2.0)
        >>> print((phi @ phi.T).round(1))
        [[1.  0.3]
         [0.3 1. ]]
    """
    X, phi, width = inputs(X, "X"), checked_activation(phi), positive_int(width, "width")
    real(scalar(sw2, "sw2"), "sw2", low=0, low_open=True, high_open=True)
    real(scalar(sb2, "sb2"), "sb2", low=0, high_open=True)
    return _features(key, X, *(jnp.asarray(x, X.dtype) for x in (sw2, sb2)), phi=phi, width=width)


@partial(jax.jit, static_argnames="networks")
def _sample(key, cholesky, features, y, noise, *, networks):
    start, error = jax.random.split(key)
    n, k = y.shape
    w0 = jax.random.normal(start, (features.shape[1], networks * k), y.dtype)
    e = jnp.sqrt(noise) * jax.random.normal(error, (n, networks * k), y.dtype)
    target = jnp.tile(y, (1, networks)) + e
    a = cho_solve((cholesky, True), target - matmul(features, w0))
    outside = target - a / inverse_diagonal(cholesky)[:, None]
    return tuple(jnp.moveaxis(x.reshape(n, networks, k), 1, 0) for x in (target - noise * a, outside))


@partial(jax.jit, static_argnames=("phi", "width"))
def _features(key, X, sw2, sb2, *, phi, width):
    weights, biases = jax.random.split(key)
    W = jnp.sqrt(sw2 / X.shape[1]) * jax.random.normal(weights, (X.shape[1], width), X.dtype)
    b = jnp.sqrt(sb2) * jax.random.normal(biases, (1, width), X.dtype)
    hidden = jnp.sqrt(sw2 / width) * activation(phi)(matmul(X, W) + b)
    return jnp.concatenate([hidden, jnp.broadcast_to(jnp.sqrt(sb2), (len(X), 1))], axis=1)
