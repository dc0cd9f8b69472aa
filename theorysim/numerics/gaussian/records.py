"""What the two-point functions return."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

__all__ = ["LeakyMoments", "TwoPoint"]


class TwoPoint(NamedTuple):
    """Averages over a pair of centred Gaussian variables, in their common shape.

    Attributes:
        F: E phi(u) phi(v).
        Fd: E phi'(u) phi'(v), which is dF/dq12.
    """

    F: Float[Array, "..."]
    Fd: Float[Array, "..."]


class LeakyMoments(NamedTuple):
    """Constants of the leaky rectifier of slope k.

    Attributes:
        even: A = ((1+k)/2)^2, the weight of the identity.
        odd: B = ((1-k)/2)^2, the weight of the absolute value.
        m: A + B = (1+k^2)/2, the growth E phi(u)^2 / E u^2.
    """

    even: Any
    odd: Any
    m: Any
