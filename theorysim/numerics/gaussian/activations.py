r"""Activations by name, by slope, or as a function: one table for all theories.

    name     phi(x)                  name     phi(x)
    linear   x                       sin      sin x
    relu     max(x, 0)               cos      cos x
    abs      |x|                     gelu     x Phi(x), Phi the normal distribution
    erf      erf x                   tanh     tanh x

A number k stands for the leaky rectifier with slope k on x < 0: relu is 0, abs -1, linear 1. Any other
function is given as itself; it acts elementwise on arrays.

Example:
    >>> print(activation(0.1)(jnp.array([-2.0, 3.0])), leaky_slope("abs"), leaky_slope("erf"))
    [-0.2  3. ] -1.0 None
"""

import math
import numbers
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from theorysim.numerics.validation import choice

__all__ = ["NAMES", "Activation", "activation", "checked_activation", "leaky_slope"]

Activation: TypeAlias = str | int | float | Callable[[Any], Any]

_SLOPES = {"linear": 1.0, "relu": 0.0, "abs": -1.0}


def _exact_gelu(x):
    return jax.nn.gelu(x, approximate=False)


_SMOOTH: dict[Any, Callable[[Any], Any]] = {
    "erf": erf,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "gelu": _exact_gelu,
    "tanh": jnp.tanh,
}

NAMES = (*_SLOPES, *_SMOOTH)
"""All names."""


def checked_activation(phi: Any, name: str = "phi") -> Activation:
    """Return phi, hashable, or ValueError if it is neither a known name, nor a finite slope, nor a function.

    Args:
        phi: what to check.
        name: of the argument, for the error.

    Example:
        >>> checked_activation("swish")
        Traceback (most recent call last):
        ValueError: phi must be one of 'linear', 'relu', 'abs', 'erf', 'sin', 'cos', 'gelu', 'tanh', got...
    """
    if isinstance(phi, str):
        return choice(phi, name, NAMES)
    if isinstance(phi, numbers.Real) and not isinstance(phi, bool):
        if not math.isfinite(phi):
            raise ValueError(f"{name} must be a finite slope, got {phi}")
        return float(phi)
    if not callable(phi):
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, NAMES))}, a slope, or a function, got {phi!r}"
        )
    return phi


def leaky_slope(phi: Activation) -> float | None:
    """The slope k on x < 0 if phi belongs to the leaky family, else None.

    Example:
        >>> print(leaky_slope("relu"), leaky_slope(0.2), leaky_slope(jnp.tanh))
        0.0 0.2 None
    """
    if isinstance(phi, str):
        return _SLOPES.get(phi)
    return None if callable(phi) else float(phi)


def activation(phi: Activation) -> Callable[[Any], Any]:
    """The activation as a function of arrays, elementwise; phi'(0) of the leaky family is (1 + k)/2.

    Raises:
        ValueError: an unknown name, or a slope that is not finite.

    Example:
        >>> print(activation("relu")(jnp.array([-1.0, 2.0])))
        [0. 2.]
    """
    phi = checked_activation(phi)
    slope = leaky_slope(phi)
    if slope is None:
        return phi if callable(phi) else _SMOOTH[phi]
    even, odd = (1 + slope) / 2, (1 - slope) / 2
    # The sign is 0 at 0: both halves count alike there, as in the two-point functions.
    return lambda x: even * x + odd * x * jnp.sign(x)
