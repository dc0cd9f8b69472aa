r"""Estimated generators for covariances with any spectra, from one scalar F and one derivative.

As `generator`, but real data are N(mu, C_r), and the samples behind the generator are N(mu_s, C_s). In the
common eigenbasis of C_r and C_s everything is a sum over p eigenvalues. With t C_r added to the ridge,

    Q0 = (gamma + t C_r + c_r C_r + c_g C_s)^-1,   c_g = c / (1 + c x),   x = tr(C_s Q0) / n_hat,

c_r = pi_r / (1 + delta_r), delta_r = tr(C_r Q0)/N, and c as in `generator` the factor of C_hat, an explicit
function of x. The map (delta_r, x) -> (tr(C_r Q0)/N, tr(C_s Q0)/n_hat) is increasing and concave, so Newton's
method from above decreases to its fixed point. Then with h the training set's mean vector

    F(t) = h'M^-1 h + sum_k pi_k delta_k E[omega^2 / (1 + omega delta_k)],      var = -dF/dt at t = 0,

one forward derivative, implicit through the fixed point. A mean estimated from n_hat samples adds x to
m_s'Q0 m_s. If the generator is fitted on the training set, c_r = 0 and pi_r is part of c. Derived, see
docs/rmt_synthetic.md. O(p) per Newton step. In float64 the variance keeps at
least six digits down to gamma = 1e-6, at the interpolation peak.

Example:
    >>> from theorysim.rmt_synthetic.generator import estimated_generator_moments
    >>> labels = dict(eps=0.3, rho=0.2, phi=0.8, gamma=0.05)
    >>> moments = estimated_generator_moments_general(200, 150, 400, 1.2 * jnp.eye(200)[0], True, **labels)
    >>> print(f"{moments.mean:.10f} {moments.var:.10f}")  # isotropic: as `estimated_generator_moments`
    0.5062093492 0.5617161385
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, real, scalar
from theorysim.rmt_synthetic.elementwise import elementwise
from theorysim.rmt_synthetic.generator import covariance_load
from theorysim.rmt_synthetic.newton import NEWTON_STEPS
from theorysim.rmt_synthetic.score import Moments

__all__ = ["estimated_generator_moments_general", "reused_generator_moments_general"]


def estimated_generator_moments_general(
    n: ArrayLike,
    n_hat: ArrayLike,
    m: ArrayLike,
    mu: ArrayLike,
    estimate_mean: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
    *,
    mu_s: ArrayLike | None = None,
    cov_r: ArrayLike = 1.0,
    cov_s: ArrayLike | None = None,
) -> Moments:
    """Moments of the score when the generator was fitted to n_hat samples N(mu_s, C_s) of their own.

    Args:
        n: real training samples, >= 0; a scalar, as all but the last three and `mu`.
        n_hat: samples behind the generator, > 0; may be infinite.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        mu: real class mean (p,), in the eigenbasis of the covariances.
        estimate_mean: whether the generator's mean is that of the n_hat samples too, not mu_s itself.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.
        mu_s: mean (p,) of the samples behind the generator; `mu` by default.
        cov_r: covariance of real data, a scalar or eigenvalues (p,), >= 0.
        cov_s: covariance of the samples behind the generator, likewise; `cov_r` by default.

    Raises:
        ValueError: an argument out of its range or of the wrong shape.

    Example:
        >>> spectrum = jnp.linspace(0.5, 2.0, 100)
        >>> labels = dict(eps=0.2, rho=0.1, phi=0.9, gamma=0.1)
        >>> moments = estimated_generator_moments_general(
        ...     100, 80, 200, jnp.ones(100) / 5, False, **labels, cov_r=spectrum
        ... )
        >>> print(f"{moments.mean:.6f} {moments.var:.6f}")
        0.781654 0.316467
    """
    numbers = {"n": n, "n_hat": n_hat, "m": m, "estimate_mean": estimate_mean}
    numbers |= {"eps": eps, "rho": rho, "phi": phi, "gamma": gamma, "omega": omega}
    mu_s = mu if mu_s is None else mu_s
    cov_s = cov_r if cov_s is None else cov_s
    return _estimated(*_prepared(numbers, {"mu": mu, "mu_s": mu_s}, {"cov_r": cov_r, "cov_s": cov_s}))


def reused_generator_moments_general(
    n: ArrayLike,
    m: ArrayLike,
    mu: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
    *,
    cov: ArrayLike = 1.0,
) -> Moments:
    """Moments of the score when the generator's mean and covariance are those of the training set.

    Args:
        n: real training samples, > 0; a scalar, as all but `mu` and `cov`.
        m: synthetic samples before pruning, >= 0.
        mu: real class mean (p,), in the eigenbasis of the covariance.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.
        cov: covariance of real data, a scalar or eigenvalues (p,), >= 0.

    Raises:
        ValueError: an argument out of its range or of the wrong shape.

    Example:
        >>> labels = dict(eps=0.1, rho=1, phi=1, gamma=0.1)
        >>> moments = reused_generator_moments_general(150, 600, 1.2 * jnp.eye(200)[0], **labels)
        >>> print(f"{moments.mean:.10f} {moments.var:.10f}")  # isotropic: as `reused_generator_moments`
        0.3967734547 0.4857138671
    """
    real(scalar(n, "n"), "n", low=0, low_open=True, high_open=True)
    numbers = {"n": n, "m": m, "eps": eps, "rho": rho, "phi": phi, "gamma": gamma, "omega": omega}
    return _reused(*_prepared(numbers, {"mu": mu}, {"cov": cov}))


def _prepared(numbers, means, covs):
    """All arguments in one dtype: the scalars, then the mean vectors, then the spectra."""
    for name, value in numbers.items():
        scalar(value, name)
    scalars = elementwise(**numbers)
    p = None
    vectors = []
    for name, value in means.items():
        vector = floating(real(value, name, low_open=True, high_open=True))
        if vector.ndim != 1 or vector.size != (p or vector.size) or not vector.size:
            raise ValueError(f"{name} must be a vector (p,) of at least one entry, got shape {vector.shape}")
        p = vector.size
        vectors.append(vector)
    for name, value in covs.items():
        spectrum = floating(real(value, name, low=0, high_open=True))
        if spectrum.shape not in ((), (p,)):
            raise ValueError(f"{name} must be a scalar or ({p},) eigenvalues, got shape {spectrum.shape}")
        vectors.append(jnp.broadcast_to(spectrum, (p,)))
    dtype = jnp.result_type(*vectors, *scalars)
    return [x.astype(dtype) for x in (*scalars, *vectors)]


def _newton_from_above(map_: Callable, start: Float[Array, " K"]) -> Float[Array, " K"]:
    """Fixed point of an increasing concave map of a few numbers, with implicit derivatives."""

    def residual(x):
        return x - map_(x)

    def newton(_, x):
        return x - jnp.linalg.solve(jax.jacfwd(residual)(x), residual(x))

    def solve(_, start):
        return lax.fori_loop(0, NEWTON_STEPS, newton, start)

    def tangent_solve(linear, rhs):
        return jnp.linalg.solve(jax.jacobian(linear)(jnp.zeros_like(rhs)), rhs)

    return lax.custom_root(residual, lax.stop_gradient(start), solve, tangent_solve)


@jax.jit
def _estimated(n, n_hat, m, estimate_mean, eps, rho, phi, gamma, omega, mu, mu_s, cov_r, cov_s):
    N = n + m
    pi_r, pi_s = n / N, m / N
    right, wrong = phi * (1 - eps), rho * eps
    alpha, lam = right + wrong, right - wrong
    load = pi_s * alpha * omega

    def resolvent(traces, t):
        """Q0, the factor c of C_hat, and delta_s, from delta_r and tr(C_s Q0)/N."""
        delta_r, trace = traces
        x = trace * (N / n_hat)
        c = covariance_load(x, 1 + omega * trace, jnp.zeros_like(load), load)
        ridge = gamma + (t + pi_r / (1 + delta_r)) * cov_r
        return 1 / (ridge + c / (1 + c * x) * cov_s), c, trace / (1 + c * x)

    def response(t):
        covs = jnp.stack([cov_r, cov_s])
        traces = _newton_from_above(
            lambda traces: matmul(covs, resolvent(traces, t)[0]) / N, covs.sum(1) / (N * gamma)
        )
        Q0, c, delta_s = resolvent(traces, t)
        s_r, s_s = 1 / (1 + traces[0]), omega / (1 + omega * delta_s)
        means = jnp.stack([mu, mu_s])
        gram = matmul(means * Q0[None], means.T).at[1, 1].add(estimate_mean * traces[1] * (N / n_hat))
        loads, targets = jnp.stack([pi_r * s_r, c]), jnp.stack([pi_r * s_r, pi_s * lam * s_s])
        e = jnp.linalg.solve(jnp.eye(2, dtype=gram.dtype) + loads[:, None] * gram, targets)
        noise = pi_r * traces[0] * s_r + pi_s * delta_s * alpha * omega * s_s
        scores = matmul(gram, e)
        return matmul(targets, scores) + noise, scores[0]

    return _moments(response, gamma)


@jax.jit
def _reused(n, m, eps, rho, phi, gamma, omega, mu, cov):
    N = n + m
    pi_r, pi_s = n / N, m / N
    right, wrong = phi * (1 - eps), rho * eps
    alpha, lam = right + wrong, right - wrong
    load = pi_s * alpha * omega

    def resolvent(trace, t):
        x = trace * (N / n)
        c = covariance_load(x, 1 + omega * trace, pi_r, load)
        return 1 / (gamma + (t + c / (1 + c * x)) * cov), c, trace / (1 + c * x)

    def response(t):
        trace = _newton_from_above(
            lambda trace: matmul(cov, resolvent(trace[0], t)[0])[None] / N, cov.sum()[None] / (N * gamma)
        )[0]
        Q0, c, delta_s = resolvent(trace, t)
        s_s = omega / (1 + omega * delta_s)
        signal = matmul(mu * Q0, mu)
        gram, target = signal + trace * (N / n), pi_r + pi_s * lam * s_s
        e = target / (1 + c * gram)
        return target * gram * e + pi_s * delta_s * alpha * omega * s_s, signal * e

    return _moments(response, gamma)


def _moments(response, gamma):
    """Mean, and var = -dF/dt at t = 0, of a response t -> (F, mean)."""
    zero = jnp.zeros_like(gamma)
    _, slope, mean = jax.jvp(response, (zero,), (zero + 1,), has_aux=True)
    return Moments(mean, -slope)
