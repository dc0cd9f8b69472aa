r"""Two linear layers under gradient flow: how the features of a taught mode grow, from rich to lazy.

Whitened inputs, teacher singular value sig in each mode, W2 W1 = s in it. The feature eigenvalue is that of
W1'W1:

    balanced start s0      s(t) = sig e^{2 sig t} / (e^{2 sig t} - 1 + sig/s0),          eigenvalue s,
    W1'W1 = lam I, W2 = 0  R = sqrt(lam^2 + 4 sig^2),  T = tanh(R t/2),  w = 2 sig T/(R + lam T),
                           s = lam w/(1 - w^2),          eigenvalue (lam + sqrt(lam^2 + 4 s^2))/2.

Modes that are not taught stay at lam: lam -> 0 leaves only the taught features (minimal), a large lam all of
them (extended, lazy). A. Saxe, J. McClelland, S. Ganguli (2014), arXiv 1312.6120, for the balanced start; the
other derived here.

Example:
    >>> for scale in (0.01, 1.0, 100.0):
    ...     spectrum = deep_linear_spectrum(jnp.inf, jnp.array([2.0, 1.0]), scale, inputs=20)
    ...     print(f"{spectrum.sum() ** 2 / (spectrum**2).sum():.1f} features of 20 in use")
    2.0 features of 20 in use
    18.1 features of 20 in use
    20.0 features of 20 in use
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import broadcast, floating, positive_int, real, scalar

__all__ = ["LinearMode", "balanced_mode", "deep_linear_mode", "deep_linear_spectrum"]


class LinearMode(NamedTuple):
    """One taught mode of a linear network.

    Attributes:
        strength: s, which grows to the teacher's.
        eigenvalue: of the features along the mode.
    """

    strength: Array
    eigenvalue: Array


def deep_linear_mode(t: ArrayLike, strength: ArrayLike, scale: ArrayLike) -> LinearMode:
    """A mode that starts with first-layer weights of scale lam and a zero readout.

    Args:
        t: time >= 0, in units in which the gradient of |sig - s|^2/2 has rate 1; infinity is the end. Arrays
            broadcast.
        strength: sig >= 0 of the teacher.
        scale: lam > 0.

    Returns:
        LinearMode.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> mode = deep_linear_mode(1.0, 1.5, 0.5)
        >>> print(f"{mode.strength:.6f} {mode.eigenvalue:.6f}")
        0.995520 1.276431
    """
    real(t, "t", low=0)
    real(strength, "strength", low=0, high_open=True)
    real(scale, "scale", low=0, low_open=True, high_open=True)
    return _deep_linear_mode(*broadcast(t, strength, scale))


def balanced_mode(t: ArrayLike, strength: ArrayLike, start: ArrayLike) -> LinearMode:
    """A mode whose two layers start equally strong.

    Args:
        t: time >= 0; infinity is the end. Arrays broadcast.
        strength: sig > 0 of the teacher.
        start: s0 > 0.

    Returns:
        LinearMode, whose eigenvalue equals its strength.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{balanced_mode(1.0, 1.5, 0.01).strength:.6f}")
        0.178184
    """
    real(t, "t", low=0)
    real(strength, "strength", low=0, low_open=True, high_open=True)
    real(start, "start", low=0, low_open=True, high_open=True)
    return _balanced_mode(*broadcast(t, strength, start))


def deep_linear_spectrum(
    t: ArrayLike, strengths: ArrayLike, scale: ArrayLike, *, inputs: int
) -> Float[Array, " inputs"]:
    """All feature eigenvalues of a linear network with a few taught modes.

    The outputs span the taught modes, which lead the spectrum at any t > 0: there u = q = 1, and the
    crossover shows in `effective_numbers` and in the share of the taught.

    Args:
        t: time >= 0, a scalar; infinity is the end.
        strengths: sig >= 0 of the taught modes, (k,).
        scale: lam > 0, a scalar.
        inputs: dimension of the whitened inputs, >= k; the hidden layer is at least as wide (static).

    Returns:
        Eigenvalues in falling order.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(deep_linear_spectrum(jnp.inf, jnp.array([1.0]), 1.0, inputs=3).round(4))
        [1.618 1.    1.   ]
    """
    sig = floating(strengths)
    if sig.ndim != 1:
        raise ValueError(f"strengths must be a vector, got shape {sig.shape}")
    inputs = positive_int(inputs, "inputs")
    if inputs < len(sig):
        raise ValueError(f"inputs must be at least the number of strengths, {len(sig)}, got {inputs}")
    scalar(t, "t")
    lam = jnp.asarray(real(scalar(scale, "scale"), "scale", low=0, low_open=True, high_open=True), sig.dtype)
    taught = deep_linear_mode(jnp.asarray(t, sig.dtype), real(sig, "strengths", low=0), lam).eigenvalue
    return jnp.sort(jnp.concatenate([taught, jnp.broadcast_to(lam, (inputs - len(sig),))]))[::-1]


@jax.jit
def _deep_linear_mode(t, sig, lam):
    R = jnp.sqrt(lam**2 + 4 * sig**2)
    end = jnp.isinf(t)
    half = R * jnp.where(end, 1, t) / 2
    T = jnp.where(end, 1, jnp.tanh(half))
    # sech^2, without the overflow of cosh.
    decay = jnp.exp(-2 * half)
    rest = jnp.where(end, 0, 4 * decay / (1 + decay) ** 2)
    # 1 - w^2 written out: all terms are positive, also where w -> 1.
    below = lam**2 * (1 + T**2) + 4 * sig**2 * rest + 2 * R * lam * T
    s = lam * 2 * sig * T * (R + lam * T) / below
    return LinearMode(s, (lam + jnp.sqrt(lam**2 + 4 * s**2)) / 2)


@jax.jit
def _balanced_mode(t, sig, start):
    end = jnp.isinf(t)
    decay = jnp.where(end, 0, jnp.exp(-2 * sig * jnp.where(end, 1, t)))
    s = sig / (1 + (sig / start - 1) * decay)
    return LinearMode(s, s)
