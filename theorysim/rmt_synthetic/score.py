r"""From the first two moments of the score w'x of a classifier to its test accuracy and risk.

On a test point of class y the score is asymptotically Gaussian with mean y * mean and variance var, so

    accuracy = Phi(mean / sqrt(var)),        risk E (w'x - y)^2 = var + (1 - mean)^2.

The accuracy is signed: below 1/2 when the classifier points the wrong way. It is exact for every w if the
data are Gaussian. A. El Firdoussi et al. (2024), arXiv 2410.08942, theorem 4.

Example:
    >>> print(f"{test_accuracy(1.0, 1.0):.4f} {test_accuracy(-1.0, 1.0):.4f}")
    0.8413 0.1587
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import floating

__all__ = ["Moments", "test_accuracy", "test_risk"]


class Moments(NamedTuple):
    """Mean of the score w'x on a test point of class +1, and its variance."""

    mean: Float[Array, "*batch"]
    var: Float[Array, "*batch"]


def test_accuracy(mean: ArrayLike, var: ArrayLike) -> Float[Array, "*batch"]:
    """Probability that a test point is classified rightly, Phi(mean / sqrt(var)).

    Without any training sample w = 0: both moments are 0, and the classifier guesses with accuracy 1/2.

    Args:
        mean: mean score of class +1; any shape that broadcasts with `var`.
        var: variance of the score. Where it is negative, as the released formulas can make it, the accuracy
            is NaN.

    Returns:
        The accuracy in [0, 1], in the common dtype and shape.

    Example:
        >>> print(test_accuracy(0.0, 0.0))
        0.5
    """
    return _accuracy(floating(mean), floating(var))


def test_risk(mean: ArrayLike, var: ArrayLike) -> Float[Array, "*batch"]:
    """Expected squared error of the score as a prediction of the label, var + (1 - mean)^2.

    Args:
        mean: mean score of class +1; any shape that broadcasts with `var`.
        var: variance of the score.

    Returns:
        The risk, in the common dtype and shape.

    Example:
        >>> print(test_risk(0.5, 0.25))
        0.5
    """
    mean, var = floating(mean), floating(var)
    return var + (1 - mean) ** 2


@jax.jit
def _accuracy(mean, var):
    nothing = (mean == 0) & (var == 0)
    # Replaced before the root: the gradient of the untaken branch must stay finite.
    return ndtr(mean / jnp.sqrt(jnp.where(nothing, jnp.ones_like(var), var)))
