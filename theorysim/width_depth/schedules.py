r"""Branch scales: how the variance that the layers add is spread over the depth.

    name      alpha_l^2                  sum as L -> infinity
    uniform   tau / L                    tau
    ramp      tau rho(l/L) / sum of rho  tau, spent at the rate rho
    series    l^(-2p) tau                tau zeta(2p): fixed scales, infinitely many layers
    power     tau L^(-2b)                0 for b > 1/2 (trivial), infinite for b < 1/2

L^(-1/2) is the only power of L whose limit is neither trivial nor infinite. A vanishing sequence (uniform,
ramp) has the limit of the differential equation on the clock tau = sum alpha^2; a convergent series has an
infinite product instead. S. Hayou (2023), arXiv 2310.01683.

Example:
    >>> print(schedule("uniform", 4), schedule("series", 3, p=1.0).round(4))
    [0.25 0.25 0.25 0.25] [1.     0.25   0.1111]
"""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import choice, floating, positive_int, real, scalar

__all__ = ["schedule"]


def schedule(
    name: Literal["uniform", "ramp", "series", "power"],
    L: int,
    *,
    tau: ArrayLike = 1.0,
    rho: Callable[[Any], Any] | None = None,
    p: ArrayLike | None = None,
    b: ArrayLike | None = None,
) -> Float[Array, " L"]:
    """Squared branch scales alpha_l^2, l = 1..L.

    Args:
        name: the kind (static), see the module.
        L: depth, >= 0 (static).
        tau: the sum (uniform, ramp), or a factor (series, power), >= 0.
        rho: rate over depth-time in (0, 1], >= 0 and not 0 everywhere: a function of an array; for ramp.
        p: exponent of l, > 1/2, for series.
        b: exponent of L, for power.

    Returns:
        alpha2 (L,), in the dtype of its numbers.

    Raises:
        ValueError: unknown name, a number out of range, or a parameter that is missing or of another kind.

    Example:
        >>> print(schedule("ramp", 2, rho=lambda t: t).round(4))
        [0.3333 0.6667]
    """
    choice(name, "name", ("uniform", "ramp", "series", "power"))
    L = positive_int(L, "L", minimum=0)
    tau = floating(real(scalar(tau, "tau"), "tau", low=0, high_open=True))
    for label, value, kind in (("rho", rho, "ramp"), ("p", p, "series"), ("b", b, "power")):
        if (value is None) == (name == kind):
            raise ValueError(f"{label} must {'be given' if name == kind else 'be None'} for name='{name}'")
    layers = jnp.arange(1, L + 1, dtype=tau.dtype)
    if L == 0:
        return layers
    if rho is not None:
        rate = jnp.broadcast_to(jnp.asarray(real(rho(layers / L), "rho", low=0), tau.dtype), (L,))
        real(rate.sum(), "rho", low=0, low_open=True)
        return tau * rate / rate.sum()
    if p is not None:
        p = real(scalar(p, "p"), "p", low=0.5, low_open=True, high_open=True)
        return tau * layers ** (-2 * jnp.asarray(p, tau.dtype))
    exponent = 0.5 if b is None else real(scalar(b, "b"), "b", low_open=True, high_open=True)
    return jnp.broadcast_to(tau * float(L) ** (-2 * jnp.asarray(exponent, tau.dtype)), (L,))
