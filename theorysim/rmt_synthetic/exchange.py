r"""What synthetic samples are worth, in real ones: the averaging classifier, and its effective sample size.

As gamma -> infinity ridge regression becomes averaging, w ~ sum omega s v. In the isotropic model with
aligned means no finite ridge was ever found to be better. With synthetic data of the true law its accuracy is
that of n_eff clean samples:

    accuracy = Phi(mu^2 / sqrt(mu^2 + p/n_eff)),
    n_eff = (n + omega lam m)^2 / (n + omega^2 (alpha m + lam^2 m^2 / n_hat)),

with alpha = phi (1 - eps) + rho eps the kept fraction, lam = phi (1 - eps) - rho eps the signal, and n_hat
the samples behind the generator's mean. The best weight gives n_eff = n + 1 / (alpha / (lam^2 m) + 1/n_hat):
each synthetic sample is worth lam^2 / alpha real ones, and all of them together never more than n_hat. At
unit weight a first synthetic sample helps if and only if lam > alpha / 2. Derived, see docs/rmt_synthetic.md.

Example:
    >>> labels = dict(eps=0.25, rho=0.3, phi=0.9)
    >>> best = optimal_weight(m=500, n_hat=300, **labels)
    >>> sizes = [effective_sample_size(200, 500, 300, **labels, omega=omega) for omega in (1.0, best)]
    >>> print(f"{sizes[0]:.7f} at unit weight, {sizes[1]:.7f} at {best:.7f}")
    285.7142857 at unit weight, 333.3333333 at 0.4444444
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import is_traced, real
from theorysim.rmt_synthetic.elementwise import elementwise, jit_broadcast
from theorysim.rmt_synthetic.score import test_accuracy

__all__ = [
    "averaging_accuracy",
    "break_even_noise",
    "effective_sample_size",
    "exchange_rate",
    "optimal_weight",
]


def averaging_accuracy(
    n: ArrayLike,
    m: ArrayLike,
    p: ArrayLike,
    mu: ArrayLike,
    beta: ArrayLike,
    perp: ArrayLike,
    sigma2: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    omega: ArrayLike = 1.0,
    n_hat: ArrayLike = np.inf,
) -> Float[Array, "*batch"]:
    """Accuracy of the averaging classifier, the limit gamma -> infinity of ridge regression.

    Phi(mean / sqrt(var)) with mean = mu^2 a and var = (mu a)^2 + (omega lam m perp)^2 + p (n + omega^2 sigma2
    (alpha m + lam^2 m^2 / n_hat)), where a = n + omega lam m beta.

    Args:
        n: real samples, >= 0; broadcasts, elementwise, as all of these.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        p: dimension, > 0.
        mu: length of the real class mean, >= 0.
        beta: overlap of the synthetic class mean with the real one, in units of the latter.
        perp: length of its part orthogonal to the real one, >= 0.
        sigma2: noise variance of the synthetic data, >= 0; that of the real data is 1.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        omega: weight >= 0 of each kept synthetic sample.
        n_hat: samples of variance sigma2 that the generator's mean was estimated from; infinite by default.

    Returns:
        The accuracy; 1/2 where no sample is left.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> labels = dict(eps=0.25, rho=0.3, phi=0.9)
        >>> print(f"{averaging_accuracy(200, 500, 150, 1.2, 1, 0, 1, **labels, n_hat=300):.10f}")
        0.8478514400
    """
    sizes, law = {"n": n, "m": m, "p": p}, {"mu": mu, "beta": beta, "perp": perp, "sigma2": sigma2}
    return _averaging(*elementwise(**sizes, **law, eps=eps, rho=rho, phi=phi, omega=omega, n_hat=n_hat))


def effective_sample_size(
    n: ArrayLike,
    m: ArrayLike,
    n_hat: ArrayLike,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    omega: ArrayLike = 1.0,
) -> Float[Array, "*batch"]:
    """How many clean real samples give the averaging classifier the same accuracy.

    Args:
        n: real samples, >= 0; broadcasts, elementwise, as all of these.
        m: synthetic samples before pruning, >= 0; n + m > 0.
        n_hat: samples behind the generator's mean, > 0; infinite if it is exact.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        omega: weight >= 0 of each kept synthetic sample.

    Returns:
        n_eff >= 0. Where n + omega lam m < 0 the classifier points the wrong way: its accuracy is 1 minus
        that of n_eff clean samples.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{effective_sample_size(100, 50, jnp.inf, eps=0, rho=0, phi=1):.1f}")
        150.0
    """
    args = elementwise(n=n, m=m, n_hat=n_hat, eps=eps, rho=rho, phi=phi, omega=omega)
    return _effective_size(*args)


def optimal_weight(
    m: ArrayLike, n_hat: ArrayLike, eps: ArrayLike, rho: ArrayLike, phi: ArrayLike
) -> Float[Array, "*batch"]:
    """Weight lam / (alpha + lam^2 m / n_hat) of a synthetic sample that is best for averaging, whatever n.

    Args:
        m: synthetic samples before pruning, >= 0; broadcasts, elementwise, as all of these.
        n_hat: samples behind the generator's mean, > 0; infinite if it is exact.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.

    Returns:
        The weight, in [0, 1]; 0 where wrong labels prevail or nothing is kept.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{optimal_weight(500, jnp.inf, eps=0.25, rho=0.3, phi=0.9):.1f}")
        0.8
    """
    return _optimal_weight(*elementwise(m=m, n_hat=n_hat, eps=eps, rho=rho, phi=phi))


def exchange_rate(eps: ArrayLike, rho: ArrayLike, phi: ArrayLike) -> Float[Array, "*batch"]:
    """Real samples that one synthetic sample, before pruning, is worth at the best weight: lam^2 / alpha.

    Args:
        eps: probability in [0, 1] that a synthetic label is wrong; broadcasts, as the others.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.

    Returns:
        The rate, in [0, 1]; 0 where wrong labels prevail, lam < 0, as no weight >= 0 turns them to use.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{exchange_rate(0.25, rho=0.3, phi=0.9):.2f} {exchange_rate(0.25, rho=0, phi=1):.2f}")
        0.48 0.75
    """
    return _exchange_rate(*elementwise(eps=eps, rho=rho, phi=phi))


def break_even_noise(rho: ArrayLike, phi: ArrayLike) -> Float[Array, "*batch"]:
    """Label noise 1 / (1 + 3 rho/phi) below which a first synthetic sample of unit weight helps averaging.

    Args:
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label; not both are 0.

    Raises:
        ValueError: an argument out of its range, or a verifier that keeps nothing.

    Example:
        >>> print(f"{break_even_noise(rho=0.3, phi=0.9):.2f}")
        0.50
    """
    rho, phi = elementwise(rho=rho, phi=phi)
    if not is_traced((rho, phi)):
        real(np.add(rho, phi), "rho + phi", low=0, low_open=True)
    return _break_even(rho, phi)


def _rates(eps, rho, phi):
    """Kept fraction alpha and signal lam."""
    right, wrong = phi * (1 - eps), rho * eps
    return right + wrong, right - wrong


def _ratio(numerator, denominator):
    """Quotient that is 0, with derivatives 0, where nothing is kept and both are 0."""
    nothing = denominator == 0
    return jnp.where(nothing, 0, numerator) / jnp.where(nothing, 1, denominator)


@jit_broadcast
def _averaging(n, m, p, mu, beta, perp, sigma2, eps, rho, phi, omega, n_hat):
    alpha, lam = _rates(eps, rho, phi)
    N = n + m
    pi_r, pi_s = n / N, m / N
    shift = omega * lam * pi_s
    along = mu * (pi_r + beta * shift)
    noise = pi_r / N + sigma2 * (omega**2 * alpha * pi_s / N + shift**2 / n_hat)
    return test_accuracy(mu * along, along**2 + (shift * perp) ** 2 + p * noise)


@jit_broadcast
def _effective_size(n, m, n_hat, eps, rho, phi, omega):
    alpha, lam = _rates(eps, rho, phi)
    N = n + m
    pi_r, pi_s = n / N, m / N
    signal = pi_r + omega * lam * pi_s
    noise = pi_r / N + omega**2 * (alpha * pi_s / N + (lam * pi_s) ** 2 / n_hat)
    return _ratio(signal**2, noise)


@jit_broadcast
def _optimal_weight(m, n_hat, eps, rho, phi):
    alpha, lam = _rates(eps, rho, phi)
    return _ratio(jnp.maximum(lam, 0), alpha + lam**2 * m / n_hat)


@jit_broadcast
def _exchange_rate(eps, rho, phi):
    alpha, lam = _rates(eps, rho, phi)
    return _ratio(jnp.maximum(lam, 0) ** 2, alpha)


@jit_broadcast
def _break_even(rho, phi):
    return phi / (phi + 3 * rho)
