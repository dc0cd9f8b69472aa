r"""The accuracy that follows from the training features alone, without a test set and without their law.

Real, label-aligned features v of n samples with mean m and covariance S (its eigenvalues l_i, and the powers
a_i of m along its eigenvectors) train a ridge classifier together with m_s samples of the Gaussian generator
N(m, S), fitted to them. Given the features the classifier's mean is E Q m, Q = (gamma + c S)^-1, with

    c = pi_r + pi_s kappa,    delta = sum l_i / (gamma + c l_i) / N,    E = (pi_r + pi_s tau) / (1 + c m'Qm).

On new points, whose true mean and covariance C are not known, the score has moments that are read off all the
same, because leaving one sample out turns sums over the training set into expectations. S has f degrees of
freedom, n - 1 or n - 2; with h = (c/f) tr SQ and 1 + g = 1/(1 - h),

    mean = E (m'Qm - tr CQ / n_b),        tr CQ = n g / c,        tr CQ^2 = (n/f) (1+g)^2 tr SQ^2,
    var  = E^2 (n/f) (1+g)^2 m'QSQm + pi_s R tr(SQCQ) / (N (1 - pi_s chi tr((SQ)^2) / N)),
    R    = chi E^2 [m'QSQm + (m'Qm)^2] - 2 xi E m'Qm + zeta,      c tr(SQCQ) = tr CQ - gamma tr CQ^2,

and n_b = 4 n_+ n_- / n is the number of balanced samples with the same error of the mean. Exact as p, n, m
-> infinity if the two classes have one covariance; at finite size the error is O(1/sqrt(p)). The Greek
letters are those of `rmt_synthetic.group_statistics`. Derived, see docs/rmt_synthetic.md.

Example:
    >>> key = jax.random.key(0)
    >>> v = jnp.zeros(100).at[0].set(1.2)[None] + jax.random.normal(key, (200, 100))
    >>> moments = predicted_moments(features_spectrum(v), 400, eps=0.1, rho=0.5, phi=0.9, gamma=0.5)
    >>> from theorysim.rmt_synthetic.generator import reused_generator_moments
    >>> theory = reused_generator_moments(200, 400, 100, 1.2, eps=0.1, rho=0.5, phi=0.9, gamma=0.5)
    >>> print(f"{moments.mean:.2f} {theory.mean:.2f}, {moments.var:.2f} {theory.var:.2f}")
    0.44 0.41, 0.19 0.20
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, floating, real, scalar
from theorysim.rmt_synthetic.group_statistics import group_statistics
from theorysim.rmt_synthetic.problem import synthetic_atoms
from theorysim.rmt_synthetic.scalar_root import newton_from_below
from theorysim.rmt_synthetic.score import Moments

__all__ = ["Spectrum", "features_spectrum", "predicted_moments"]


class Spectrum(NamedTuple):
    """What the prediction needs of a training set.

    Eigenvalues (p,) of the covariance of the features about their class means, divided by `count`; squares
    (p,) of the coordinates of the class mean along the eigenvectors; the number of samples; the number of
    balanced samples with the same error of the mean, 4 n_+ n_- / n; and the degrees of freedom of the
    covariance.
    """

    eigenvalues: Float[Array, " p"]
    powers: Float[Array, " p"]
    count: Float[Array, ""]
    balanced_count: Float[Array, ""]
    freedom: Float[Array, ""]


def features_spectrum(
    v: ArrayLike, balanced_count: ArrayLike | None = None, *, centres: Literal[0, 1] = 0
) -> Spectrum:
    """Spectrum of label-aligned features.

    Args:
        v: features times their labels, (n, p), n >= 3.
        balanced_count: 4 n_+ n_- / n in (0, n]; n by default, for classes of one size.
        centres: 1 if the midpoint of the class means was estimated from the samples and taken off (static).

    Raises:
        ValueError: not a matrix of at least three finite rows, or a count out of its range.

    Example:
        >>> print(features_spectrum(jnp.array([[0.0, 1.0], [2.0, 1.0], [1.0, 1.0]])).powers)
        [1. 1.]
    """
    v = floating(real(v, "v", low_open=True, high_open=True))
    if v.ndim != 2 or len(v) < 3 or not v.shape[1]:
        raise ValueError(f"v must be a matrix of at least 3 rows, got shape {v.shape}")
    n = len(v)
    count = n if balanced_count is None else scalar(balanced_count, "balanced_count")
    real(count, "balanced_count", low=0, high=n, low_open=True)
    return _features_spectrum(v, jnp.asarray(count, v.dtype), centres=choice(centres, "centres", (0, 1)))


def predicted_moments(
    spectrum: Spectrum,
    m: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Moments:
    """Mean and variance of the score on new points after training on real features and m synthetic ones.

    The generator is the Gaussian with the mean and covariance of the training features.

    Args:
        spectrum: of the training features.
        m: synthetic samples before pruning, >= 0; a scalar, as all that follow.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0, in units of the eigenvalues.
        omega: weight >= 0 of each kept synthetic sample.

    Returns:
        Two scalars; `test_accuracy` takes them. The mean is an estimate, and can be negative. Cost O(p) a
        Newton step. Use float64.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> v = jnp.array([[1.0, 0.2], [0.8, -0.1], [1.2, 0.1]])
        >>> moments = predicted_moments(features_spectrum(v), 0, eps=0.0, rho=1.0, phi=1.0, gamma=0.1)
        >>> print(f"{moments.mean:.4f} {moments.var:.4f}")
        0.8660 0.0433
    """
    real(scalar(m, "m"), "m", low=0, high_open=True)
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    atoms = synthetic_atoms(eps, rho, phi, omega)
    dtype = jnp.result_type(*spectrum)
    arrays = (*spectrum, atoms, jnp.asarray(m), jnp.asarray(gamma))
    return _moments(*(x.astype(dtype) for x in arrays))


@partial(jax.jit, static_argnames="centres")
def _features_spectrum(v, balanced_count, *, centres):
    n, p = v.shape
    mean = v.mean(axis=0)
    centred = v - mean[None]
    if n > p:
        values, vectors = jnp.linalg.eigh(matmul(centred.T, centred) / n)
        along = matmul(vectors.T, mean)
    else:
        # The directions that the samples span, from their Gram matrix, fewer than n; the mean also has a part
        # outside, which takes the place of the smallest eigenvalue: that is zero.
        values, vectors = jnp.linalg.eigh(matmul(centred, centred.T) / n)
        spanned = values > 10 * n * jnp.finfo(v.dtype).eps * values[-1]
        values = jnp.where(spanned, values, 0)
        scale = jnp.sqrt(n * jnp.where(spanned, values, 1))
        along = jnp.where(spanned, matmul(vectors.T, matmul(centred, mean)) / scale, 0)
        outside = jnp.sqrt(jnp.maximum(matmul(mean, mean) - matmul(along, along), 0))
        none = jnp.zeros(p - n, v.dtype)
        values, along = jnp.concatenate([none, values]), jnp.concatenate([none, along.at[0].set(outside)])
    sizes = (jnp.asarray(x, v.dtype) for x in (n, balanced_count, n - 1 - centres))
    return Spectrum(jnp.maximum(values, 0), along**2, *sizes)


@jax.jit
def _moments(values, powers, n, balanced, freedom, atoms, m, gamma):
    N = n + m
    pi_r, pi_s = n / N, m / N

    def statistics(delta):
        return group_statistics(atoms[None], delta[None])

    def excess(delta):
        return delta - (values / (gamma + (pi_r + pi_s * statistics(delta).kappa[0]) * values)).sum() / N

    # `excess` is convex: Newton's method from above, written as one from below for -delta.
    start = (values / (gamma + pi_r * values)).sum() / N
    delta = -newton_from_below(lambda x: -excess(-x), -start)
    kappa, (tau,), (chi,), (xi,), (zeta,) = statistics(delta)
    zeta = zeta[0, 0]
    c = pi_r + pi_s * kappa[0]
    Q = 1 / (gamma + c * values)
    G, size = (powers * Q).sum(), (powers * values * Q**2).sum()
    E = (pi_r + pi_s * tau[0]) / (1 + c * G)

    h = c * (values * Q).sum() / freedom
    inflation = n / freedom / (1 - h) ** 2
    trace_CQ = n / c * h / (1 - h)
    trace_SQCQ = (trace_CQ - gamma * inflation * (values * Q**2).sum()) / c
    trace_SQSQ = ((values * Q) ** 2).sum()

    residual = chi * E**2 * (size + G**2) - 2 * xi[0] * E * G + zeta
    synthetic = pi_s * residual * trace_SQCQ / (N * (1 - pi_s * chi * trace_SQSQ / N))
    return Moments(E * (G - trace_CQ / balanced), E**2 * inflation * size + synthetic)
