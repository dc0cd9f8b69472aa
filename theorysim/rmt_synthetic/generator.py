r"""Synthetic data from a generator that is itself estimated: a Gaussian with a sample covariance.

Real data are N(mu, I). The generator samples from N(m_hat, C_hat), where C_hat is the sample covariance of
n_hat other real samples (`estimated_generator_moments`), or of the n training samples themselves
(`reused_generator_moments`). C_hat may be singular. With p/n_hat = ratio and S the second moments of the
training set, the resolvent of S is that of z + c C_hat, whose traces are Marchenko and Pastur's
(`marchenko_pastur.resolvent_traces`); the fixed point

    delta_r = (p/N) tr Q / p,      delta_s = delta_r / (1 + delta_g),      delta_g = c ratio tr Q / p,
    z = gamma + pi_r / (1 + delta_r),      c = pi_s alpha omega / (1 + omega delta_s)

is one increasing concave equation for delta_r, since c solves a quadratic once delta_r is known; a reused
generator has z = gamma and pi_r added to c. Newton's method from below made at most 13 steps in 3e5 random
cases with gamma in [1e-6, 1e2] and sizes in [0.1, 1e4]. Then the general theorem gives the moments.

A. El Firdoussi et al. (2024), arXiv 2410.08942, for n_hat other samples; the released code has tr C_hat Q^2
in its second moment where tr C_hat^2 Q^2 belongs, which Monte Carlo rejects. The reused generator and the
rest are derived, see docs/rmt_synthetic.md. Use float64.

Example:
    >>> from theorysim.rmt_synthetic.score import test_accuracy
    >>> quality = dict(eps=0.3, rho=0, phi=1, gamma=1)
    >>> moments = estimated_generator_moments(1000, 1000, 1500, 500, 0.7, False, **quality)
    >>> print(f"{test_accuracy(*moments):.10f}")
    0.7136432129
    >>> print(f"{test_accuracy(*reused_generator_moments(1000, 1500, 500, 0.7, **quality)):.10f}")
    0.6750944829
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import real
from theorysim.rmt_synthetic.elementwise import elementwise, jit_broadcast
from theorysim.rmt_synthetic.marchenko_pastur import resolvent_traces
from theorysim.rmt_synthetic.scalar_root import lower_bound, newton_from_below
from theorysim.rmt_synthetic.score import Moments

__all__ = [
    "GeneratorFixedPoint",
    "covariance_load",
    "estimated_generator_fixed_point",
    "estimated_generator_moments",
    "reused_generator_moments",
]


class GeneratorFixedPoint(NamedTuple):
    """Fixed point of training on real data, on synthetic data, and of the estimate of the covariance."""

    delta_r: Float[Array, "*batch"]
    delta_s: Float[Array, "*batch"]
    delta_g: Float[Array, "*batch"]


def estimated_generator_fixed_point(
    n: ArrayLike,
    n_hat: ArrayLike,
    m: ArrayLike,
    p: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> GeneratorFixedPoint:
    """The three scalars that fix everything when the covariance comes from n_hat samples of its own.

    Args:
        n: real training samples, >= 0; broadcasts, elementwise, as all of these.
        n_hat: samples behind the generator's covariance, > 0; may be infinite.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        p: dimension, > 0.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> sizes = dict(n=1000, n_hat=1000, m=2000, p=1000)
        >>> deltas = estimated_generator_fixed_point(**sizes, eps=0.2, rho=0.2, phi=0.9, gamma=1)
        >>> print([f"{delta:.6f}" for delta in deltas])
        ['0.205764', '0.162130', '0.269128']
    """
    sizes = {"n": n, "n_hat": n_hat, "m": m, "p": p}
    return _fixed_point(*elementwise(**sizes, eps=eps, rho=rho, phi=phi, gamma=gamma, omega=omega))


def estimated_generator_moments(
    n: ArrayLike,
    n_hat: ArrayLike,
    m: ArrayLike,
    p: ArrayLike,
    mu: ArrayLike,
    estimate_mean: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Moments:
    """Mean and variance of the score with a generator fitted to n_hat samples apart from the training set.

    Args:
        n: real training samples, >= 0; broadcasts, elementwise, as all of these.
        n_hat: samples behind the generator, > 0; may be infinite.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        p: dimension, > 0.
        mu: length of the real class mean, >= 0.
        estimate_mean: whether the generator's mean is that of the n_hat samples too, not the exact one.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.

    Returns:
        Two arrays of the common shape; 0 and 0 where no sample is left. 10^6 points take 0.1 s on one core.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> verifier = dict(eps=0.3, rho=0.2, phi=0.8)
        >>> moments = estimated_generator_moments(200, 150, 400, 200, 1.2, True, **verifier, gamma=0.05)
        >>> print(f"{moments.mean:.10f} {moments.var:.10f}")
        0.5062093492 0.5617161385
    """
    sizes = {"n": n, "n_hat": n_hat, "m": m, "p": p, "mu": mu, "estimate_mean": estimate_mean}
    return _estimated(*elementwise(**sizes, eps=eps, rho=rho, phi=phi, gamma=gamma, omega=omega))


def reused_generator_moments(
    n: ArrayLike,
    m: ArrayLike,
    p: ArrayLike,
    mu: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Moments:
    """Mean and variance of the score with a generator fitted to the training set itself.

    Mean and covariance are those of the training set, so no new information enters: as m grows, ridge
    regression on the real data alone at gamma / alpha comes out.

    Args:
        n: real training samples, > 0; broadcasts, elementwise, as all of these.
        m: synthetic samples before pruning, >= 0.
        p: dimension, > 0.
        mu: length of the real class mean, >= 0.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.
        omega: weight >= 0 of each kept synthetic sample.

    Returns:
        Two arrays of the common shape. 10^6 points take 0.1 s on one core.

    Raises:
        ValueError: an argument out of its range; n = 0 too, as the generator is fitted on those samples.

    Example:
        >>> moments = reused_generator_moments(150, 600, 200, 1.2, eps=0.1, rho=1, phi=1, gamma=0.1)
        >>> print(f"{moments.mean:.10f} {moments.var:.10f}")
        0.3967734547 0.4857138671
    """
    real(n, "n", low=0, low_open=True, high_open=True)
    args = elementwise(n=n, m=m, p=p, mu=mu, eps=eps, rho=rho, phi=phi, gamma=gamma, omega=omega)
    return _reused(*args)


def covariance_load(
    x: Float[Array, "*batch"],
    shrink: Float[Array, "*batch"],
    base: Float[Array, "*batch"],
    load: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """The factor c of C_hat in the training set, c = base + load / (1 + omega delta_s).

    With x = delta_g / c, delta_s = delta / (1 + c x) and shrink = 1 + omega delta it is the positive root of
    x c^2 + (shrink - (base + load) x) c = base shrink + load.

    Example:
        >>> half, one = jnp.array(0.5), jnp.array(1.0)
        >>> print(f"{covariance_load(half, one + half, half, one):.6f}")  # 1/2 c^2 + 3/4 c = 7/4
        1.265564
    """
    b = shrink - (base + load) * x
    target = base * shrink + load
    size = jnp.where(b > 0, b, -b) + jnp.sqrt(b * b + 4 * x * target)
    # b <= 0 only if x > 0: where it is not, what the other branch divides by only must not be 0.
    return jnp.where(b > 0, 2 * target / size, size / jnp.where(b > 0, 1, 2 * x))


def _estimated_state(n, n_hat, m, p, alpha, gamma, omega):
    """delta_r, delta_s, delta_g and the load c."""
    N = n + m
    pi_r, load = n / N, m / N * alpha * omega

    def factor(delta):
        return covariance_load(delta * (N / n_hat), 1 + omega * delta, jnp.zeros_like(load), load)

    def residual(delta):
        c = factor(delta)
        return delta * (gamma + pi_r / (1 + delta) + c / (1 + c * delta * (N / n_hat))) - p / N

    start = lower_bound([pi_r, load], [jnp.ones_like(omega), omega], gamma, p / N)
    delta = newton_from_below(residual, start)
    c = factor(delta)
    delta_g = c * delta * (N / n_hat)
    return GeneratorFixedPoint(delta, delta / (1 + delta_g), delta_g), c


@jit_broadcast
def _fixed_point(n, n_hat, m, p, eps, rho, phi, gamma, omega):
    return _estimated_state(n, n_hat, m, p, phi * (1 - eps) + rho * eps, gamma, omega)[0]


@jit_broadcast
def _estimated(n, n_hat, m, p, mu, estimate_mean, eps, rho, phi, gamma, omega):
    N = n + m
    pi_r, pi_s, eta, ratio = n / N, m / N, p / N, p / n_hat
    right, wrong = phi * (1 - eps), rho * eps
    alpha, lam = right + wrong, right - wrong
    deltas, c = _estimated_state(n, n_hat, m, p, alpha, gamma, omega)
    s_r, s_s = 1 / (1 + deltas.delta_r), omega / (1 + omega * deltas.delta_s)
    T1, _, T2, t11, t22 = resolvent_traces(gamma + pi_r * s_r, c, ratio)

    # wbar = Q0 (e_r m_r + e_s m_s), with Gram matrix [[g, g], [g, g + noise]] of the means.
    g, noise = mu**2, ratio * estimate_mean
    a_r, a_s, b_r, b_s = pi_r * s_r * T1, c * T1, pi_r * s_r, pi_s * lam * s_s
    det = 1 + a_r * g + a_s * (g + noise) + a_r * a_s * g * noise
    e_r = (b_r * (1 + a_s * (g + noise)) - b_s * a_r * g) / det
    e_s = (b_s * (1 + a_r * g) - b_r * a_s * g) / det
    mean = T1 * g * (e_r + e_s)
    score_s = mean + T1 * noise * e_s
    form = g * (e_r + e_s) ** 2 + noise * e_s**2

    # The residuals R_k, and d from (I - B diag(pi chi)) d = (p/N) (T2, t11).
    R_r = s_r**2 * (form * T2 + (1 - mean) ** 2)
    R_s = s_s**2 * (alpha * form * t11 + right * (1 - score_s) ** 2 + wrong * (1 + score_s) ** 2)
    chi_r, chi_s = eta * pi_r * s_r**2, eta * pi_s * alpha * s_s**2
    rest_r, rest_s, cross = 1 - chi_r * T2, 1 - chi_s * t22, t11 * chi_r * t11 * chi_s
    det = rest_r * rest_s - cross
    d_r = eta * (T2 * rest_s + t11 * chi_s * t11) / det
    d_s = eta * (t11 * rest_r + t11 * chi_r * T2) / det
    return Moments(mean, form * T2 + pi_r * d_r * R_r + pi_s * d_s * R_s)


@jit_broadcast
def _reused(n, m, p, mu, eps, rho, phi, gamma, omega):
    N = n + m
    pi_r, pi_s, eta, ratio = n / N, m / N, p / N, p / n
    right, wrong = phi * (1 - eps), rho * eps
    alpha, lam = right + wrong, right - wrong
    load = pi_s * alpha * omega

    def factor(delta):
        return covariance_load(delta * (N / n), 1 + omega * delta, pi_r, load)

    def residual(delta):
        c = factor(delta)
        return delta * (gamma + c / (1 + c * delta * (N / n))) - eta

    largest = pi_r + load
    delta = newton_from_below(residual, lower_bound([largest], [largest * (N / n)], gamma, eta))
    c = factor(delta)
    s_s = omega / (1 + omega * delta / (1 + c * delta * (N / n)))
    T1, _, T2, t11, t22 = resolvent_traces(gamma, c, ratio)

    # The generator's mean is that of the training set, of squared length mu^2 + p/n.
    g = mu**2 + ratio
    e = (pi_r + pi_s * lam * s_s) / (1 + c * g * T1)
    score_s = e * g * T1
    R = s_s**2 * (alpha * e**2 * g * t11 + right * (1 - score_s) ** 2 + wrong * (1 + score_s) ** 2)
    d = eta * t11 / (1 - eta * pi_s * alpha * s_s**2 * t22)
    return Moments(mu**2 * T1 * e, e**2 * g * T2 + pi_s * d * R)
