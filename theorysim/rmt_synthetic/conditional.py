r"""Prediction on given real features: the average is over the synthetic draw only.

With the real, label-aligned features V (n, p) at hand and a Gaussian generator N(m_g, C_g), nothing need be
assumed about the real data. With S0 = gamma I + V'V/N, b0 = V'1/N, N = n + m and pi_s = m/N,

    Q0 = (S0 + pi_s kappa C_g)^-1,        wbar = (Q0^-1 + pi_s kappa m_g m_g')^-1 (b0 + pi_s tau m_g),
    delta = tr(C_g Q0)/N,
    Var(w'x) = pi_s R x'Q0 C_g Q0 x / (N (1 - pi_s chi tr((C_g Q0)^2)/N)),

R as in `moments`, and the accuracy is the mean of Phi(w'x mean / sd) over label-aligned test points. S0 and
C_g need not commute, but one change of basis makes both diagonal. Derived, see docs/rmt_synthetic.md.

Example:
    >>> keys = jax.random.split(jax.random.key(0))
    >>> v, test = (0.3 + jax.random.normal(key, (count, 20)) for key, count in zip(keys, (40, 2000)))
    >>> kwargs = dict(eps=0.2, rho=0.0, phi=1.0, gamma=0.1)
    >>> for m in (0, 40, 400):
    ...     print(f"{m:3d} {conditional_accuracy(v, fit_generator(v), test, m, **kwargs):.3f}")
      0 0.858
     40 0.858
    400 0.861
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, real, scalar
from theorysim.rmt_synthetic.group_statistics import group_statistics
from theorysim.rmt_synthetic.newton import resolvent, solve_delta, trace_products
from theorysim.rmt_synthetic.problem import synthetic_atoms

__all__ = ["Generator", "Scores", "conditional_accuracy", "conditional_scores", "fit_generator"]


class Generator(NamedTuple):
    """A Gaussian generator of label-aligned features: mean (p,) and covariance (p, p)."""

    mean: Float[Array, " p"]
    cov: Float[Array, "p p"]


class Scores(NamedTuple):
    """Mean and standard deviation, over the synthetic draw, of the score of each test point (t,)."""

    mean: Float[Array, " t"]
    sd: Float[Array, " t"]


def fit_generator(v: ArrayLike) -> Generator:
    """Sample mean and covariance (divided by the count) of label-aligned features (k, p).

    Fewer samples than features give a singular covariance, which is a generator like any other.

    Raises:
        ValueError: not a matrix of at least one finite row.

    Example:
        >>> print(fit_generator(jnp.array([[0.0, 1.0], [2.0, 1.0]])).cov)
        [[1. 0.]
         [0. 0.]]
    """
    v = _features(v, "v")
    mean = v.mean(0)
    centred = v - mean[None]
    return Generator(mean, matmul(centred.T, centred) / len(v))


def conditional_accuracy(
    v_real: ArrayLike,
    generator: Generator,
    v_test: ArrayLike,
    m: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Float[Array, ""]:
    """Expected test accuracy of ridge on these real features and m synthetic ones.

    Args:
        v_real: real features times their labels, (n, p); n may be 0.
        generator: mean and covariance of the synthetic features.
        v_test: test features times their labels, (t, p), t >= 1.
        m: synthetic samples before pruning, >= 0; a scalar as all that follow.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a wrong label.
        phi: probability in [0, 1] of keeping a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept sample.

    Returns:
        A scalar. A test point whose score is certain counts as right, wrong, or 1/2 if it is 0. Cost O(p^3):
        one eigendecomposition, in whose basis a Newton step is O(p). All scalars may be traced; derivatives
        cost O(p^3) a Newton step.

    Raises:
        ValueError: an argument out of its range or of the wrong shape, or no sample at all.

    Example:
        >>> v = jnp.array([[1.0, 0.2], [0.8, -0.1]])
        >>> accuracy = conditional_accuracy(v, fit_generator(v), v, 0, 0.0, 1.0, 1.0, gamma=0.1)
        >>> print(accuracy)
        1.0
    """
    mean, sd = conditional_scores(v_real, generator, v_test, m, eps, rho, phi, gamma, omega)
    certain = sd == 0
    spread = ndtr(mean / jnp.where(certain, jnp.ones_like(sd), sd))
    return jnp.where(certain, (1 + jnp.sign(mean)) / 2, spread).mean()


def conditional_scores(
    v_real: ArrayLike,
    generator: Generator,
    v_test: ArrayLike,
    m: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Scores:
    """Mean and standard deviation of the score of every test point; arguments of `conditional_accuracy`.

    Raises:
        ValueError: an argument out of its range or of the wrong shape, or no sample at all.

    Example:
        >>> v = jnp.array([[1.0, 0.2], [0.8, -0.1]])
        >>> scores = conditional_scores(v, fit_generator(v), v, 100, 0.0, 1.0, 1.0, gamma=0.1)
        >>> print(scores.mean.round(2))
        [0.97 0.79]
    """
    v_real, v_test = _features(v_real, "v_real", least=0), _features(v_test, "v_test")
    p = v_test.shape[1]
    center, cov = floating(generator.mean), floating(generator.cov)
    if center.shape != (p,) or cov.shape != (p, p) or v_real.shape[1] != p:
        raise ValueError(
            f"generator and v_real must have the {p} features of v_test, "
            f"got {center.shape}, {cov.shape} and {v_real.shape}"
        )
    real(scalar(m, "m"), "m", low=0 if len(v_real) else 1, high_open=True)
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    atoms = synthetic_atoms(eps, rho, phi, omega)
    dtype = jnp.result_type(v_real, v_test, center, cov)
    arrays = (v_real, v_test, center, cov, atoms, jnp.asarray(m), jnp.asarray(gamma))
    return _jitted_scores(*(x.astype(dtype) for x in arrays))


@jax.custom_jvp
def _scores(v_real, v_test, center, cov, atoms, m, gamma):
    """Moments of the scores in the basis E that makes both diagonal, E'S0 E = I and E'C_g E = spectrum."""
    n_total = len(v_real) + m
    pi = (m / n_total)[None]
    factor = jnp.linalg.cholesky(_base(v_real, gamma, n_total))
    half = solve_triangular(factor, cov, lower=True)
    spectrum, rotation = jnp.linalg.eigh(solve_triangular(factor, half.T, lower=True))
    # Rounding may push a zero eigenvalue below zero.
    spectrum = jnp.maximum(spectrum, 0)
    E = solve_triangular(factor, rotation, lower=True, trans=1)
    ones = jnp.ones_like(spectrum)
    start = spectrum.sum()[None] / n_total
    delta = solve_delta(pi, spectrum[None], atoms[None], ones, n_total, start)
    statistics = group_statistics(atoms[None], delta)
    Q0 = resolvent(pi * statistics.kappa, spectrum[None], ones)
    b, c = matmul(v_real.sum(0) / n_total, E), matmul(center, E)
    return _moments(matmul(v_test, E), Q0, spectrum, b, c, pi[0], statistics, n_total)


@_scores.defjvp
def _scores_jvp(primals, tangents):
    # Eigenvectors have no derivative where eigenvalues meet, as the zeros of a singular generator do; the
    # scores have one, and by the formulas with matrices it is found.
    return _scores(*primals), jax.jvp(_dense_scores, primals, tangents)[1]


def _dense_scores(v_real, v_test, center, cov, atoms, m, gamma):
    n_total = len(v_real) + m
    pi = (m / n_total)[None]
    base = _base(v_real, gamma, n_total)
    inverse = resolvent(jnp.zeros_like(pi), cov[None], base)
    start = (inverse * cov).sum()[None] / n_total
    delta = solve_delta(pi, cov[None], atoms[None], base, n_total, start)
    statistics = group_statistics(atoms[None], delta)
    Q0 = resolvent(pi * statistics.kappa, cov[None], base)
    return _moments(v_test, Q0, cov, v_real.sum(0) / n_total, center, pi[0], statistics, n_total)


def _base(v_real, gamma, n_total):
    """S0, the part of the second moments that is given."""
    return gamma * jnp.eye(v_real.shape[1], dtype=v_real.dtype) + matmul(v_real.T, v_real) / n_total


def _moments(v_test, Q0, cov, b, center, pi, statistics, n_total) -> Scores:
    """Moments of the scores, in any coordinates; Q0 and the covariance are both diagonals, or both dense."""
    kappa, tau, chi, xi, zeta = (x.ravel()[0] for x in statistics)

    def times(x, matrix):
        return x * matrix.reshape((1,) * (x.ndim - 1) + (-1,)) if matrix.ndim == 1 else matmul(x, matrix)

    load = pi * kappa
    Qb, Qm = times(b + pi * tau * center, Q0), times(center, Q0)
    wbar = Qb - Qm * (load * matmul(center, Qb) / (1 + load * matmul(center, Qm)))
    along = matmul(center, wbar)
    residual = chi * (matmul(wbar, times(wbar, cov)) + along**2) - 2 * xi * along + zeta
    overlap = trace_products(Q0, cov[None], cov[None])[0, 0] / n_total
    Qx = times(v_test, Q0)
    power = (times(Qx, cov) * Qx).sum(1)
    var = pi * residual * power / (n_total * (1 - pi * chi * overlap))
    return Scores(matmul(v_test, wbar), jnp.sqrt(var))


_jitted_scores = jax.jit(_scores)


def _features(value, name, *, least=1):
    v = floating(real(value, name))
    if v.ndim != 2 or len(v) < least or not v.shape[1]:
        raise ValueError(f"{name} must be a matrix of at least {least} rows, got shape {v.shape}")
    return v
