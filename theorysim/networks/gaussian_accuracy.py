r"""The accuracy of any classifier on a Gaussian mixture, with little noise.

Test points of the classes y = +-1 are y (mu + z), z ~ N(0, I), equally often, and a score f classifies by its
sign. With v = mu + z,

    accuracy = E [ 1{f(v) > 0} + 1{f(-v) < 0} ] / 2,

each v serving both classes. For a nonlinear f there is no closed form, but most of what f varies by is its
change along one direction u, its mean gradient. So z is drawn on lines: independent across them, and along u
the midquantiles of J equally likely intervals, all shifted by one uniform number. That is unbiased for any f,
and for a linear one leaves an error of O(1/J) a line only.

Example:
    >>> mu = jnp.array([1.0, 0.0, 0.0])
    >>> estimate = gaussian_accuracy(jax.random.key(0), lambda x: x @ mu, mu)
    >>> print(f"{estimate.accuracy:.2f}, exactly {jax.scipy.special.ndtr(1.0):.2f}")
    0.84, exactly 0.84
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int

__all__ = ["AccuracyEstimate", "gaussian_accuracy"]


class AccuracyEstimate(NamedTuple):
    """An unbiased estimate of an accuracy, and its standard error."""

    accuracy: Float[Array, ""]
    standard_error: Float[Array, ""]


def gaussian_accuracy(
    key: PRNGKeyArray,
    score: Callable[[Float[Array, "n p"]], Float[Array, " n"]],
    mu: ArrayLike,
    *,
    num_lines: int = 256,
    num_strata: int = 16,
) -> AccuracyEstimate:
    """Estimate the accuracy of sign(score(x)) on points N(mu, I) of class +1 and N(-mu, I) of class -1.

    Args:
        key: random key.
        score: batched and differentiable almost everywhere. Where it is 0 the classifier guesses.
        mu: class mean (p,), whose dtype the points have.
        num_lines: independent lines, >= 2 (static). The standard error falls as their square root.
        num_strata: points on each line, >= 1 (static).

    Returns:
        AccuracyEstimate; NaN if a score is NaN. Cost: 2 num_lines (num_strata + 1) scores and as many
        gradients as lines.

    Raises:
        ValueError: mu is no vector, fewer than two lines or no stratum.

    Example:
        >>> mu = jnp.ones(4)
        >>> gaussian_accuracy(jax.random.key(0), lambda x: 0 * x[:, 0], mu)
        AccuracyEstimate(accuracy=Array(0.5, dtype=float64), standard_error=Array(0., dtype=float64))
    """
    mu = floating(mu)
    if mu.ndim != 1 or not mu.size:
        raise ValueError(f"mu must be a vector of at least one entry, got shape {mu.shape}")
    num_lines = positive_int(num_lines, "num_lines", minimum=2)
    num_strata = positive_int(num_strata, "num_strata")
    line_key, shift_key, pilot_key = jax.random.split(key, 3)
    # The direction has draws of its own: chosen by the points that it is used on, it would bias them.
    pilot = mu[None] + jax.random.normal(pilot_key, (num_lines, mu.size), mu.dtype)
    u = _direction(score, pilot)
    z = jax.random.normal(line_key, (num_lines, mu.size), mu.dtype)
    across = mu[None] + z - matmul(z, u)[:, None] * u[None]
    shift = jax.random.uniform(shift_key, (num_lines, 1), mu.dtype)
    end = jnp.finfo(mu.dtype).eps
    quantile = (jnp.arange(num_strata, dtype=mu.dtype)[None] + shift) / num_strata
    along = ndtri(jnp.clip(quantile, end, 1 - end))
    points = (across[:, None] + along[:, :, None] * u[None, None]).reshape(-1, mu.size)
    right = (jnp.sign(score(points)) - jnp.sign(score(-points))) / 4 + 0.5
    by_line = right.reshape(num_lines, num_strata).mean(axis=1)
    return AccuracyEstimate(by_line.mean(), by_line.std(ddof=1) / num_lines**0.5)


def _direction(score, points):
    """Unit vector along the mean gradient of the score's odd part; any if that is zero."""
    gradient = jax.grad(lambda x: (score(x) - score(-x)).sum())(points).mean(axis=0)
    length = jnp.linalg.norm(gradient)
    usable = (length > 0) & jnp.isfinite(length)
    any_unit = jnp.zeros_like(gradient).at[0].set(1)
    return jnp.where(usable, gradient / jnp.where(usable, length, 1), any_unit)
