r"""Chebyshev interpolation: a smooth function of one variable, tabulated once and evaluated anywhere.

On M nodes x_j = cos((2j+1) pi / (2M)) scaled to [low, high] the coefficients are one M x M matrix times the
values, and Clenshaw's recurrence evaluates the polynomial without ever forming its powers. For a function
that is analytic inside the ellipse with half-axes summing to rho, the error falls like rho^-M. L. N.
Trefethen, "Approximation Theory and Approximation Practice" (2013), chapters 3 and 8.

Example:
    >>> x = chebyshev_nodes(16, 0.0, 3.0)
    >>> coefficients = chebyshev_fit(jnp.exp(x))
    >>> print(f"{clenshaw(coefficients, jnp.array(2.0), 0.0, 3.0):.9f} {jnp.exp(2.0):.9f}")
    7.389056099 7.389056099
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int

__all__ = ["chebyshev_fit", "chebyshev_nodes", "clenshaw"]


def chebyshev_nodes(order: int, low: float, high: float, dtype: Any = None) -> Float[Array, " order"]:
    """The nodes at which a function must be known to be fitted on [low, high].

    Args:
        order: number of nodes M, >= 1 (static).
        low: left end of the interval.
        high: right end, > low.
        dtype: of the result; the default float if not given.

    Returns:
        The nodes in falling order, strictly inside the interval, (M,).

    Raises:
        ValueError: order < 1, or an empty interval.

    Example:
        >>> print(chebyshev_nodes(3, -1.0, 1.0).round(6) + 0.0)
        [ 0.866025  0.       -0.866025]
    """
    order = positive_int(order, "order")
    _check_interval(low, high)
    angles = np.pi * (np.arange(order) + 0.5) / order
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    return jnp.asarray(nodes, dtype or jnp.result_type(float))


def chebyshev_fit(values: Float[Array, "order *batch"]) -> Float[Array, "order *batch"]:
    """Coefficients of the polynomial through values at `chebyshev_nodes`, along the first axis.

    Args:
        values: function values at the M nodes; further axes are functions of their own.

    Returns:
        Coefficients of T_0 .. T_{M-1}, in the shape and dtype of the values.

    Raises:
        ValueError: values without an axis, or none.

    Example:
        >>> print(chebyshev_fit(chebyshev_nodes(4, -1.0, 1.0) ** 2).round(12) + 0.0)
        [0.5 0.  0.5 0. ]
    """
    values = floating(values)
    if values.ndim == 0 or len(values) == 0:
        raise ValueError(f"values must have a first axis of at least one node, got shape {values.shape}")
    order = len(values)
    matrix = jnp.asarray(_transform(order), values.dtype)
    return matmul(matrix, values.reshape(order, -1)).reshape(values.shape)


def clenshaw(
    coefficients: Float[Array, "order *batch"], x: ArrayLike, low: float, high: float, *, unroll: bool = True
) -> Float[Array, "..."]:
    """Evaluate sum_k coefficients_k T_k at x in [low, high].

    Args:
        coefficients: first axis the degree; further axes broadcast with x and have its rank, or there are
            none.
        x: where, elementwise. Outside the interval the polynomial grows fast.
        low: left end of the interval.
        high: right end, > low.
        unroll: whether the recurrence is written out (static): over a large x it then compiles to one pass
            without temporaries; a loop compiles sooner.

    Returns:
        The values in the broadcast shape.

    Raises:
        ValueError: no coefficients, or an empty interval.

    Example:
        >>> print(clenshaw(jnp.array([0.5, 0.0, 0.5]), jnp.array([0.0, 3.0]), -1.0, 1.0))
        [0. 9.]
    """
    _check_interval(low, high)
    coefficients = floating(coefficients)
    if coefficients.ndim == 0 or len(coefficients) == 0:
        raise ValueError(f"coefficients must have a first axis, got shape {coefficients.shape}")
    return _clenshaw(coefficients, jnp.asarray(x, coefficients.dtype), low, high, unroll)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _clenshaw(coefficients, x, low, high, unroll):
    t = (x - (low + high) / 2) * (2 / (high - low))
    start = jnp.zeros_like(coefficients[0] + t)

    def step(state, coefficient):
        first, second = state
        return (coefficient + 2 * t * first - second, first), None

    order = len(coefficients)
    (first, second), _ = lax.scan(step, (start, start), coefficients[:0:-1], unroll=order if unroll else 1)
    return coefficients[0] + t * first - second


@lru_cache(maxsize=16)
def _transform(order: int) -> np.ndarray:
    """Matrix from values at the nodes to coefficients, in float64."""
    j = np.arange(order)
    matrix = 2 / order * np.cos(np.pi * j[:, None] * (j[None] + 0.5) / order)
    matrix[0] /= 2
    return matrix


def _check_interval(low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"high must be larger than low, got [{low}, {high}]")
