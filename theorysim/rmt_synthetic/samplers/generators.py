r"""Training sets whose synthetic part comes from a generator that is itself fitted, drawn literally.

Real data are N(mu, I) in label-aligned coordinates. The generator is a Gaussian with the sample covariance
C_hat, and the sample mean m_hat, of n_hat other real samples (`sample_estimated_generator`) or of the n
training samples themselves (`sample_reused_generator`). With the centred samples in the rows of Z,

    u = m_hat + Z' xi / sqrt(n_hat),    xi ~ N(0, I),

is a synthetic sample: no covariance is formed or factored, and a singular one needs no care. Their limits are
`estimated_generator_moments` and `reused_generator_moments`. A. El Firdoussi et al. (2024), arXiv 2410.08942,
for n_hat other samples.

Example:
    >>> sizes, verifier = dict(n=40, m=80, p=40, mu=1.2), dict(eps=0.3, rho=0.2, phi=0.8)
    >>> moments = sample_reused_generator(jax.random.key(0), 2000, **sizes, **verifier, gamma=0.1)
    >>> moments.mean.shape
    (2000,)
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int, real, scalar
from theorysim.rmt_synthetic.problem import synthetic_atoms
from theorysim.rmt_synthetic.samplers.draws import chunk_of, map_draws
from theorysim.rmt_synthetic.samplers.plain import (
    TrainingSet,
    draw_atoms,
    dual_classifier,
    ridge_classifier,
)
from theorysim.rmt_synthetic.score import Moments

__all__ = ["sample_estimated_generator", "sample_reused_generator"]


def sample_estimated_generator(
    key: Array,
    draws: int,
    n: int,
    n_hat: int,
    m: int,
    p: int,
    mu: ArrayLike,
    estimate_mean: bool,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Moments:
    """Score moments mu'w and |w|^2 if the generator is fitted to n_hat samples apart from the training set.

    Args:
        key: random key; draw r depends on fold_in(key, r) alone.
        draws: number of draws, >= 1 (static, as all sizes).
        n: real training samples, >= 0.
        n_hat: samples behind the generator, >= 1.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        p: dimension, >= 1.
        mu: length of the real class mean, >= 0; a scalar that may be traced, as what follows.
        estimate_mean: whether the generator's mean is that of the n_hat samples too, not the exact one
            (static).
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.

    Returns:
        Moments of shape (draws,) each. A draw costs O((n + m) p (n_hat + p) + p^3).

    Raises:
        ValueError: an argument out of its range.
        TypeError: a size is traced.

    Example:
        >>> verifier = dict(eps=0.3, rho=0.2, phi=0.8)
        >>> sizes = dict(n=20, n_hat=15, m=40, p=20, mu=1.2, estimate_mean=True)
        >>> moments = sample_estimated_generator(jax.random.key(0), 4000, **sizes, **verifier, gamma=0.05)
        >>> print(f"{moments.mean.mean():.2f} {moments.var.mean():.2f}")
        0.51 0.57
    """
    n_hat = positive_int(n_hat, "n_hat")
    mode = "mean and covariance" if estimate_mean else "covariance"
    return _checked_draws(key, draws, (n, n_hat, m, p), mode, mu, (eps, rho, phi, omega), gamma)


def sample_reused_generator(
    key: Array,
    draws: int,
    n: int,
    m: int,
    p: int,
    mu: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Moments:
    """Score moments mu'w and |w|^2 if the generator is fitted to the n training samples themselves.

    Args:
        key: random key; draw r depends on fold_in(key, r) alone.
        draws: number of draws, >= 1 (static, as all sizes).
        n: real samples, >= 1, for training and for the generator's mean and covariance.
        m: synthetic samples before pruning, >= 0.
        p: dimension, >= 1.
        mu: length of the real class mean, >= 0; a scalar that may be traced, as what follows.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.

    Returns:
        Moments of shape (draws,) each. A draw costs O((n + m) p (n + p) + p^3).

    Raises:
        ValueError: an argument out of its range.
        TypeError: a size is traced.

    Example:
        >>> verifier = dict(eps=0.3, rho=0.2, phi=0.8)
        >>> moments = sample_reused_generator(
        ...     jax.random.key(0), 4000, n=30, m=40, p=20, mu=1.2, **verifier, gamma=0.05, omega=0.3
        ... )
        >>> print(f"{moments.mean.mean():.2f} {moments.var.mean():.2f}")
        0.53 0.53
    """
    n = positive_int(n, "n")
    return _checked_draws(key, draws, (n, n, m, p), "reuse", mu, (eps, rho, phi, omega), gamma)


def _checked_draws(key, draws, sizes, mode, mu, quality, gamma) -> Moments:
    draws = positive_int(draws, "draws")
    n, n_hat, m, p = sizes
    n, m = positive_int(n, "n", minimum=0), positive_int(m, "m", minimum=0)
    if n + m == 0:
        raise ValueError("n + m must be >= 1: there is nothing to train on")
    p = positive_int(p, "p")
    real(scalar(mu, "mu"), "mu", low=0, high_open=True)
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    atoms = synthetic_atoms(*quality)
    mu, gamma = floating(mu), floating(gamma)
    dtype = jnp.result_type(mu, gamma, atoms)
    scalars = (x.astype(dtype) for x in (mu, gamma, atoms))
    return _draws(key, *scalars, draws=draws, sizes=(n, n_hat, m, p), mode=mode)


@partial(jax.jit, static_argnames=("draws", "sizes", "mode"))
def _draws(
    key: Array,
    mu: Float[Array, ""],
    gamma: Float[Array, ""],
    atoms: Float[Array, "J 3"],
    *,
    draws: int,
    sizes: tuple[int, ...],
    mode: str,
) -> Moments:
    n, n_hat, m, p = sizes
    dtype, work = mu.dtype, jnp.promote_types(mu.dtype, jnp.float32)
    mu, gamma, atoms = (x.astype(work) for x in (mu, gamma, atoms))
    fit = ridge_classifier if n + m >= p else dual_classifier

    def one(key: Array) -> Moments:
        w = fit(_training_set(key, mu, atoms, sizes, mode), gamma)
        return Moments(mu * w[0], matmul(w, w))

    numbers = 2 * (n + m) * p + (n_hat + p) * p + m * n_hat
    moments = map_draws(jax.vmap(one), key, draws, chunk_of(numbers * work.itemsize))
    return Moments(*(x.astype(dtype) for x in moments))


def _training_set(
    key: Array, mu: Float[Array, ""], atoms: Float[Array, "J 3"], sizes: tuple[int, ...], mode: str
) -> TrainingSet:
    n, n_hat, m, p = sizes
    dtype = mu.dtype
    real_key, fit_key, noise_key, atom_key = jax.random.split(key, 4)
    mean = jnp.zeros((1, p), dtype).at[0, 0].set(mu)

    def draw_real(key: Array, size: int) -> Float[Array, "size p"]:
        return mean + jax.random.normal(key, (size, p), dtype)

    real_data = draw_real(real_key, n)
    source = real_data if mode == "reuse" else draw_real(fit_key, n_hat)
    center = mean if mode == "covariance" else source.mean(axis=0, keepdims=True)
    noise = jax.random.normal(noise_key, (m, n_hat), dtype)
    synthetic = center + matmul(noise, source - center) / n_hat**0.5
    weights, targets = draw_atoms(atom_key, atoms, m)
    ones = jnp.ones(n, dtype)
    return TrainingSet(
        jnp.concatenate([real_data, synthetic]),
        jnp.concatenate([ones, weights]),
        jnp.concatenate([ones, targets]),
    )
