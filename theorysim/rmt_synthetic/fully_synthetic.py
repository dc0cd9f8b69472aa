r"""Training on synthetic data alone: accuracy, and the phase transition in the label noise.

With n = 0, C_s = I, mu_s = mu and p/m = aspect, the fixed point is the positive root of gamma delta^2 +
(gamma + alpha - aspect) delta = aspect, and the score has the moments

    mean = lam mu^2 / (gamma (1 + delta) + alpha (1 + mu^2)),
    var  = mean^2/mu^2 + delta / (alpha + gamma (1 + delta)^2)
                         * [alpha mean^2 (1 + 1/mu^2) - 2 lam mean + alpha],

with alpha = phi (1 - eps) + rho eps the kept fraction and lam = phi (1 - eps) - rho eps the signal. At the
critical noise eps* = phi / (phi + rho) kept labels are fair coins: every accuracy curve passes through 1/2
there, whatever the aspect. The crossing is smooth, of slope ~ aspect^-1/2, and a step from Phi(mu) to
Phi(-mu) in the limit of many samples (Y. Feng et al. (2024), arXiv 2406.07515). The peak of var without
ridge is at p = alpha m, the number of kept samples, not at p = m. Model: A. El Firdoussi et al. (2024), arXiv
2410.08942; derived, see docs/rmt_synthetic.md.

Example:
    >>> from theorysim.rmt_synthetic.score import test_accuracy
    >>> eps = jnp.array([0.0, critical_noise(rho=0.3, phi=0.8), 1.0])
    >>> moments = fully_synthetic_moments(0.1, mu=1, eps=eps, rho=0.3, phi=0.8, gamma=1)
    >>> print([f"{x:.6f}" for x in test_accuracy(*moments)])
    ['0.824282', '0.500000', '0.195126']
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import is_traced, real
from theorysim.rmt_synthetic.elementwise import elementwise, jit_broadcast
from theorysim.rmt_synthetic.score import Moments

__all__ = [
    "critical_noise",
    "critical_slope",
    "fully_synthetic_moments",
    "many_samples_accuracy",
    "transition_coordinate",
    "transition_profile",
]


def fully_synthetic_moments(
    aspect: ArrayLike, mu: ArrayLike, eps: ArrayLike, rho: ArrayLike, phi: ArrayLike, gamma: ArrayLike
) -> Moments:
    """Mean and variance of the score after training on m pruned synthetic samples of the true law.

    All arguments broadcast, elementwise. 10^6 points take about 0.02 s on one core.

    Args:
        aspect: p/m with m counting pruned samples too, > 0.
        mu: length of the class mean, >= 0.
        eps: probability in [0, 1] that a label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        gamma: ridge, > 0.

    Returns:
        Two arrays of the common shape and dtype; 0 and 0, with finite derivatives, where nothing is kept.
        No digit is lost in float32, even at the peak with a small ridge.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> moments = fully_synthetic_moments(0.5, mu=1, eps=0.3, rho=0.2, phi=0.4, gamma=0.01)
        >>> print(f"{moments.mean:.10f} {moments.var:.9f}")
        0.2534335521 1.314227073
    """
    return _moments(*elementwise(aspect=aspect, mu=mu, eps=eps, rho=rho, phi=phi, gamma=gamma))


def critical_noise(rho: ArrayLike, phi: ArrayLike) -> Float[Array, "*batch"]:
    """Label noise eps* = phi / (phi + rho) at which right and wrong labels are kept equally often.

    Args:
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label; not both are 0.

    Raises:
        ValueError: an argument out of its range, or a verifier that keeps nothing.

    Example:
        >>> print(f"{critical_noise(rho=0.3, phi=0.8):.10f}")
        0.7272727273
    """
    rho, phi = elementwise(rho=rho, phi=phi)
    _keeps_something(rho, phi)
    return _critical_noise(rho, phi)


def critical_slope(
    aspect: ArrayLike, mu: ArrayLike, rho: ArrayLike, phi: ArrayLike, gamma: ArrayLike
) -> Float[Array, "*batch"]:
    """Slope d accuracy / d eps at the critical noise, of order aspect^-1/2.

    -(phi + rho) mu^2 / (gamma (1 + delta) + alpha* (1 + mu^2)) / sqrt(2 pi v), with the kept fraction alpha*
    = 2 phi rho / (phi + rho) and the variance v = alpha* delta / (alpha* + gamma (1 + delta)^2).

    Args:
        aspect: p/m, > 0.
        mu: length of the class mean, >= 0.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label; not both are 0.
        gamma: ridge, > 0.

    Returns:
        The slope, <= 0; minus infinity if rho or phi is 0, where eps* is an end of [0, 1].

    Raises:
        ValueError: an argument out of its range, or a verifier that keeps nothing.

    Example:
        >>> print(f"{critical_slope(0.1, mu=1, rho=0.3, phi=0.8, gamma=1):.9f}")
        -1.613444353
    """
    args = elementwise(aspect=aspect, mu=mu, rho=rho, phi=phi, gamma=gamma)
    _keeps_something(args[2], args[3])
    return _critical_slope(*args)


def transition_coordinate(
    eps: ArrayLike, aspect: ArrayLike, mu: ArrayLike, rho: ArrayLike, phi: ArrayLike, gamma: ArrayLike
) -> Float[Array, "*batch"]:
    """Distance u from the critical noise in units of the transition's width, positive below eps*.

    u = -(eps - eps*) (phi + rho) mu (gamma + alpha*) / [(gamma + alpha* (1 + mu^2)) sqrt(alpha* aspect)]. As
    aspect -> 0 all accuracy curves collapse on `transition_profile`(u, mu).

    Args:
        eps: probability in [0, 1] that a label is wrong.
        aspect: p/m, > 0.
        mu: length of the class mean, >= 0.
        rho: probability in [0, 1] of keeping a sample with a wrong label, not 0.
        phi: probability in [0, 1] of keeping a sample with a right label, not 0.
        gamma: ridge, > 0.

    Raises:
        ValueError: an argument out of its range; rho or phi is 0, so that [0, 1] holds no transition.

    Example:
        >>> u = transition_coordinate(eps=0.7, aspect=1e-4, mu=1, rho=0.3, phi=0.8, gamma=1)
        >>> mean, var = fully_synthetic_moments(1e-4, mu=1, eps=0.7, rho=0.3, phi=0.8, gamma=1)
        >>> print(f"{u:.4f} {transition_profile(u, mu=1):.4f} {ndtr(mean / jnp.sqrt(var)):.4f}")
        3.4833 0.8318 0.8314
    """
    args = elementwise(eps=eps, aspect=aspect, mu=mu, rho=rho, phi=phi, gamma=gamma)
    for name, value in (("rho", args[3]), ("phi", args[4])):
        real(value, name, low=0, high=1, low_open=True)
    return _coordinate(*args)


def transition_profile(u: ArrayLike, mu: ArrayLike) -> Float[Array, "*batch"]:
    """Limit Phi(mu u / sqrt(1 + u^2)) of the accuracy at a distance u from the critical noise.

    Args:
        u: `transition_coordinate`, any real number.
        mu: length of the class mean, >= 0.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(transition_profile(0.0, mu=2.0))
        0.5
    """
    return _profile(*elementwise(u=u, mu=mu))


def many_samples_accuracy(
    mu: ArrayLike, eps: ArrayLike, rho: ArrayLike, phi: ArrayLike
) -> Float[Array, "*batch"]:
    """Accuracy as aspect -> 0: Phi(mu) below the critical noise, Phi(-mu) above it, 1/2 at it.

    Args:
        mu: length of the class mean, >= 0.
        eps: probability in [0, 1] that a label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print([f"{x:.4f}" for x in many_samples_accuracy(1, jnp.array([0.2, 0.8]), rho=0.3, phi=0.8)])
        ['0.8413', '0.1587']
    """
    return _many_samples(*elementwise(mu=mu, eps=eps, rho=rho, phi=phi))


def _keeps_something(rho, phi):
    if not is_traced((rho, phi)):
        real(np.add(rho, phi), "rho + phi", low=0, low_open=True)


def _delta(aspect, alpha, gamma):
    """Positive root of gamma delta^2 + B delta = aspect, without the difference of near numbers."""
    B = gamma + (alpha - aspect)
    size = jnp.where(B > 0, B, -B) + jnp.sqrt(B * B + 4 * gamma * aspect)
    return jnp.where(B > 0, 2 * aspect / size, size / (2 * gamma))


@jit_broadcast
def _moments(aspect, mu, eps, rho, phi, gamma):
    right, wrong = phi * (1 - eps), rho * eps
    alpha = right + wrong
    delta = _delta(aspect, alpha, gamma)
    along = (right - wrong) * mu / (gamma * (1 + delta) + alpha * (1 + mu**2))
    mean = along * mu
    # alpha times the bracket: a sum of squares, in which neither mu nor alpha divides.
    spread = alpha * along**2 + right * (1 - mean) ** 2 + wrong * (1 + mean) ** 2
    return Moments(mean, along**2 + delta / (alpha + gamma * (1 + delta) ** 2) * spread)


@jit_broadcast
def _critical_noise(rho, phi):
    return phi / (phi + rho)


@jit_broadcast
def _critical_slope(aspect, mu, rho, phi, gamma):
    alpha = 2 * phi * rho / (phi + rho)
    delta = _delta(aspect, alpha, gamma)
    score = -(phi + rho) * mu**2 / (gamma * (1 + delta) + alpha * (1 + mu**2))
    var = alpha * delta / (alpha + gamma * (1 + delta) ** 2)
    return score / jnp.sqrt(2 * jnp.pi * var)


@jit_broadcast
def _coordinate(eps, aspect, mu, rho, phi, gamma):
    alpha = 2 * phi * rho / (phi + rho)
    # (eps* - eps) (phi + rho) is the signal phi (1 - eps) - rho eps.
    signal = phi * (1 - eps) - rho * eps
    return signal * mu * (gamma + alpha) / ((gamma + alpha * (1 + mu**2)) * jnp.sqrt(alpha * aspect))


@jit_broadcast
def _profile(u, mu):
    return ndtr(mu * u / jnp.sqrt(1 + u * u))


@jit_broadcast
def _many_samples(mu, eps, rho, phi):
    return ndtr(jnp.sign(phi * (1 - eps) - rho * eps) * mu)
