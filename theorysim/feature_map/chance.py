r"""What quality and utility are by chance, and what a few examples make of a spike.

    labels permuted      E Q_k = (C-1)/(n-1), for any centred e_k; a uniformly random direction has the law
                         Beta((C-1)/2, (n-C)/2),
    random R-space       u(K) in R^p has mean K/p and variance 2K(p-K)R(p-R) / (p^2 (p-1)(p+2) R^2),
    spike 1 + theta      among unit eigenvalues, p/n = g: if theta > sqrt g, eigenvalue (1+theta)(1+g/theta),
                         overlap^2 (1-g/theta^2)/(1+g/theta), and the quality of its eigenfunction for the
                         spike's function, in and out of sample alike, (1-g/theta^2)/(1+1/theta); else the
                         edge (1+sqrt g)^2, and 0 and 0.

Derived here; the spike after J. Baik, J. Silverstein (2006) and D. Paul (2007).

Example:
    >>> from scipy.stats import beta
    >>> law = chance_quality(classes=10, n=1437)
    >>> print(f"{law.mean:.5f}, one in twenty above {beta.isf(0.05, law.alpha, law.beta):.4f}")
    0.00627, one in twenty above 0.0118
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.validation import broadcast, real

__all__ = [
    "ChanceLaw",
    "MeanVariance",
    "SpikedFeature",
    "chance_cumulative_utility",
    "chance_quality",
    "spiked_feature",
]


class ChanceLaw(NamedTuple):
    """A Beta distribution.

    Attributes:
        mean: alpha / (alpha + beta).
        alpha: first shape.
        beta: second shape.
    """

    mean: Array
    alpha: Array
    beta: Array


class MeanVariance(NamedTuple):
    """First two moments.

    Attributes:
        mean: expectation.
        variance: of one draw.
    """

    mean: Array
    variance: Array


class SpikedFeature(NamedTuple):
    """The largest eigenfunction of n examples whose features have one direction of variance 1 + spike.

    Attributes:
        eigenvalue: rho_1.
        overlap_squared: of v_1 with the direction.
        quality: of e_1 for the function along the direction.
    """

    eigenvalue: Array
    overlap_squared: Array
    quality: Array


def chance_quality(*, classes: ArrayLike, n: ArrayLike) -> ChanceLaw:
    """Law of the quality of a centred eigenfunction that knows nothing of the labels.

    Args:
        classes: C >= 2; for t targets t + 1. Arrays broadcast.
        n: examples, > C.

    Returns:
        ChanceLaw. The mean is exact under permutation; the distribution is that of a random direction.

    Raises:
        ValueError: classes < 2, or n <= classes.

    Example:
        >>> print(*chance_quality(classes=3, n=21))
        0.1 1.0 9.0
    """
    real(classes, "classes", low=2, high_open=True)
    classes, n = broadcast(classes, n)
    real(n - classes, "n - classes", low=0, low_open=True, high_open=True)
    return ChanceLaw((classes - 1) / (n - 1), (classes - 1) / 2, (n - classes) / 2)


def chance_cumulative_utility(*, features: ArrayLike, rank: ArrayLike, top: ArrayLike) -> MeanVariance:
    """Moments of u(top) if the outputs span a random space of this rank.

    Args:
        features: p >= 2. Arrays broadcast.
        rank: R in [1, p].
        top: K in [0, p].

    Returns:
        MeanVariance.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> law = chance_cumulative_utility(features=3, rank=1, top=1)  # a random unit vector in space
        >>> print(f"{law.mean:.6f} {law.variance:.6f}")
        0.333333 0.088889
    """
    real(features, "features", low=2, high_open=True)
    p, R, K = broadcast(features, rank, top)
    real(R, "rank", low=1, high_open=True)
    real(K, "top", low=0, high_open=True)
    real(p - R, "features - rank", low=0)
    real(p - K, "features - top", low=0)
    # As a product of ratios: float32 would overflow at p = 10^8.
    variance = 2 * (K / p) * ((p - K) / p) * ((p - R) / R) / ((p - 1) * (p + 2))
    return MeanVariance(K / p, variance)


def spiked_feature(aspect: ArrayLike, spike: ArrayLike) -> SpikedFeature:
    """One informative direction among isotropic features, in the limit n, p -> infinity at fixed p/n.

    Args:
        aspect: g = p/n > 0. Arrays broadcast.
        spike: theta > 0, the direction's variance less 1.

    Returns:
        SpikedFeature, continuous in spike. A classifier finds the direction iff spike^2 > aspect.

    Raises:
        ValueError: an argument that is not positive.

    Example:
        >>> law = spiked_feature(0.5, jnp.array([0.5, 2.0]))
        >>> print(law.eigenvalue.round(4), law.quality.round(4))
        [2.9142 3.75  ] [0.     0.5833]
    """
    real(aspect, "aspect", low=0, low_open=True, high_open=True)
    real(spike, "spike", low=0, low_open=True, high_open=True)
    g, theta = broadcast(aspect, spike)
    return _spiked_feature(g, theta)


@jax.jit
def _spiked_feature(g, theta):
    seen = theta**2 > g
    theta = jnp.where(seen, theta, jnp.sqrt(g))
    rest = jnp.where(seen, 1 - g / theta**2, 0)
    return SpikedFeature((1 + theta) * (1 + g / theta), rest / (1 + g / theta), rest / (1 + 1 / theta))
