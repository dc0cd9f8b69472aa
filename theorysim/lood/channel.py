r"""One record seen through one output: two numbers say everything.

In units of the deviation of the model without the record, and with k outputs,

    out ~ N(0, I_k),        in ~ N(rho z, (1 - rho^2) I_k),        |z|^2 = zeta,

where at the record rho^2 = h = v/(v + s2) is its leverage and zeta its surprise (`leave_one_out`), and at any
other query rho^2 = k_-i(q, x_i)^2 / (v_-i(q) (v_i + s2)) is smaller (`query_leverage`). M models trained
independently are one channel with k M outputs and surprise M zeta. With h for rho^2 and L = log(1 - h),

    KL(in||out) = [h (zeta - k) - k L]/2,            KL(out||in) = [h (zeta + k)/(1-h) + k L]/2,
    Renyi_a(in||out) = [a h zeta/v - k L - k/(a-1) log v]/2,            v = 1 + (a-1) h,
    Renyi_a(out||in) = [a h zeta/v + a k L/(a-1) - k/(a-1) log v]/2,    v = 1 - a h,
    Hellinger^2 = 1 - [(1-h)^(1/4) (1-h/2)^(-1/2)]^k exp(-h zeta/(8-4h)).

J. Ye, A. Borovykh, S. Hayou, R. Shokri (2024), arXiv 2309.17310, for the divergences between two Gaussian
processes; the two numbers derived.

Example:
    >>> print(f"{channel_kl(0.5, 1.5):.6f} {channel_renyi(0.5, 1.5, order=2.0):.6f}")
    0.471574 0.643841
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import channel
from theorysim.lood.records import Lood
from theorysim.numerics.validation import broadcast, positive_int, real

__all__ = [
    "channel_hellinger_squared",
    "channel_kl",
    "channel_kl_reverse",
    "channel_lood",
    "channel_renyi",
    "epsilon_bound",
    "information_gain",
]


def channel_kl(leverage: ArrayLike, surprise: ArrayLike, *, outputs: int = 1) -> Float[Array, "*batch"]:
    """KL(in || out) of a channel, in nats.

    Args:
        leverage: h, or rho^2 at another query, in [0, 1).
        surprise: zeta >= 0; broadcasts against leverage.
        outputs: k, >= 1 (static).

    Returns:
        The divergence, >= 0, in the common shape.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{channel_kl(0.5, 1.5):.12f}")
        0.471573590280
    """
    return channel_lood(leverage, surprise, outputs=outputs).kl


def channel_kl_reverse(
    leverage: ArrayLike, surprise: ArrayLike, *, outputs: int = 1
) -> Float[Array, "*batch"]:
    """KL(out || in) of a channel, in nats. Arguments as of `channel_kl`.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{channel_kl_reverse(0.5, 1.5):.12f}")
        0.903426409720
    """
    return channel_lood(leverage, surprise, outputs=outputs).kl_reverse


def channel_hellinger_squared(
    leverage: ArrayLike, surprise: ArrayLike, *, outputs: int = 1
) -> Float[Array, "*batch"]:
    """Squared Hellinger distance of a channel, in [0, 1). Arguments as of `channel_kl`.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{channel_hellinger_squared(0.5, 1.5):.6f}")
        0.143110
    """
    return channel_lood(leverage, surprise, outputs=outputs).hellinger_squared


def channel_lood(
    leverage: ArrayLike, surprise: ArrayLike, *, outputs: int = 1, variance: ArrayLike = 1.0
) -> Lood:
    """All divergences of a channel.

    Args:
        leverage: h, or rho^2 at another query, in [0, 1).
        surprise: zeta >= 0.
        outputs: k, >= 1 (static).
        variance: of the output without the record, >= 0: the unit of the two squared distances. All arrays
            broadcast.

    Returns:
        Lood in the common shape.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(channel_lood(0.5, 1.5, variance=2.0).mean_distance)
        1.5
    """
    h, zeta = channel(leverage, surprise)
    real(variance, "variance", low=0, high_open=True)
    return _lood(*broadcast(h, zeta, variance), outputs=positive_int(outputs, "outputs"))


def channel_renyi(
    leverage: ArrayLike, surprise: ArrayLike, *, order: ArrayLike, outputs: int = 1, reverse: bool = False
) -> Float[Array, "*batch"]:
    """Renyi divergence of a channel, in nats; at order 1 it is the KL divergence.

    Args:
        leverage: h, or rho^2 at another query, in [0, 1).
        surprise: zeta >= 0.
        order: a > 0. All arrays broadcast.
        outputs: k, >= 1 (static).
        reverse: whether D(out || in) is asked, else D(in || out) (static).

    Returns:
        The divergence; infinite for the reverse one where a h >= 1.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(channel_renyi(0.5, 1.5, order=jnp.array([0.5, 1.9, 2.0]), reverse=True).round(4))
        [ 0.3089 15.1826     inf]
    """
    h, zeta = channel(leverage, surprise)
    real(order, "order", low=0, low_open=True, high_open=True)
    arrays = broadcast(h, zeta, order)
    return _renyi(*arrays, outputs=positive_int(outputs, "outputs"), reverse=bool(reverse))


def information_gain(leverage: ArrayLike, *, outputs: int = 1) -> Float[Array, "*batch"]:
    """KL(in || out) averaged over labels drawn from the model: what a label tells about the function.

    -(k/2) log(1 - h), the mutual information of f(x_i) and y_i given all other records: leakage that no label
    enters. By concavity the sum over n records is at least -(n k/2) log(1 - d/n), d the sum of leverages.

    Args:
        leverage: h in [0, 1).
        outputs: k, >= 1 (static).

    Returns:
        Nats, in the shape of leverage.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{information_gain(0.75):.6f}")
        0.693147
    """
    h, _ = channel(leverage, 0)
    return -positive_int(outputs, "outputs") / 2 * jnp.log1p(-h)


def epsilon_bound(leverage: ArrayLike, surprise: ArrayLike, *, outputs: int = 1) -> Float[Array, "*batch"]:
    """Largest log-likelihood ratio log dP_in/dP_out: [zeta - k log(1 - h)]/2.

    Its exponential bounds TPR/FPR of every attack, which tends to it as FPR -> 0. The other direction,
    log dP_out/dP_in, is unbounded: see `privacy_profile`.

    Args:
        leverage: h in [0, 1).
        surprise: zeta >= 0.
        outputs: k, >= 1 (static).

    Returns:
        Nats, in the common shape.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> epsilon = epsilon_bound(0.5, 1.5)
        >>> print(f"{epsilon:.12f} {jnp.exp(epsilon):.12f}")
        1.096573590280 2.993890135038
    """
    h, zeta = channel(leverage, surprise)
    return (zeta - positive_int(outputs, "outputs") * jnp.log1p(-h)) / 2


@partial(jax.jit, static_argnames="outputs")
def _lood(h, zeta, variance, *, outputs):
    k, log_less = outputs, jnp.log1p(-h)
    shift = h * zeta
    shrink = h / (1 + jnp.sqrt(1 - h))  # 1 - sqrt(1 - h)
    affinity = k * (log_less / 4 - jnp.log1p(-h / 2) / 2) - shift / (8 - 4 * h)
    return Lood(
        kl=(shift - k * (h + log_less)) / 2,
        kl_reverse=((shift + k * h) / (1 - h) + k * log_less) / 2,
        mean_distance=variance * shift,
        hellinger_squared=-jnp.expm1(affinity),
        wasserstein_squared=variance * (shift + k * shrink**2),
    )


@partial(jax.jit, static_argnames=("outputs", "reverse"))
def _renyi(h, zeta, a, *, outputs, reverse):
    k, log_less, one = outputs, jnp.log1p(-h), a == 1
    less = jnp.where(one, 1, a - 1)
    if not reverse:
        v = 1 + (a - 1) * h
        value = (a * h * zeta / v - k * log_less - k / less * jnp.log1p((a - 1) * h)) / 2
        return jnp.where(one, (h * zeta - k * (h + log_less)) / 2, value)
    overlap = a * h < 1
    v = jnp.where(overlap, 1 - a * h, 1)
    value = (a * h * zeta / v + k / less * (a * log_less - jnp.log(v))) / 2
    value = jnp.where(one, (h * (zeta + k) / (1 - h) + k * log_less) / 2, value)
    return jnp.where(overlap, value, jnp.inf)
