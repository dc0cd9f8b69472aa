r"""E f(u) g(v) for any smooth f and g, by Hermite coefficients (Mehler's formula).

With unit normals behind u = sqrt(q11) x and v = sqrt(q22) y of correlation c, and normalised Hermite
polynomials h_k,

    E f(u) g(v) = sum_k a_k(q11; f) a_k(q22; g) c^k,      a_k(q; f) = E f(sqrt(q) x) h_k(x).

The coefficients depend on one variance each, so a Gram matrix costs N of them and one polynomial per entry,
not a two-dimensional rule per entry; and |c| = 1 is a point like any other. They are integrals over the line,
for which the trapezoidal rule converges exponentially. Derivatives of any order come from the heat equation,

    d/dq12 -> E f' g',      d/dq11 -> E f'' g / 2,      d/dq22 -> E f g'' / 2,

and never differentiate the rule: they are exact where sqrt(q) and c are not smooth.

Accuracy for tanh, whose poles at +-i pi/2 set the rate; error at c = 1, where it is largest:

    coefficients       q = 1             q = 2             q = 4             q = 10
        64         F 6e-11 Fd 4e-9   F 4e-8  Fd 1e-6   F 4e-6  Fd 7e-5   F 2e-4 Fd 2e-3
       128           1e-15    3e-13    2e-11    2e-9     2e-8     7e-7     7e-6    1e-4
       256           1e-15    1e-15    1e-15    1e-13    1e-11    9e-10    7e-8    2e-6

A kink makes the decay algebraic: see `polar`.

Example:
    >>> one, half = jnp.array(1.0), jnp.array(0.5)
    >>> value = hermite_expectation(jnp.sin, jnp.sin, one, one, half, 32)
    >>> print(f"{value:.12f} {jnp.exp(-1) * jnp.sinh(half):.12f}")
    0.191700249782 0.191700249782
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from theorysim.numerics.gaussian.angles import safe_ratio
from theorysim.numerics.products import matmul

__all__ = ["derivative", "hermite_coefficients", "hermite_expectation"]

# Beyond 13, h_k(x) times the normal density is below 1e-18 of its largest value for every k.
_REACH = 13.0


def derivative(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The derivative of a function that acts elementwise on arrays.

    Example:
        >>> print(derivative(jnp.tanh)(jnp.zeros(2)))
        [1. 1.]
    """

    def slope(x):
        return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    return slope


@lru_cache(maxsize=32)
def _rule(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n,) and weights times Hermite polynomials (n, order) of the trapezoidal rule, in float64."""
    # h_k oscillates with frequency sqrt k; half of the rule's bandwidth is left to f.
    step = min(0.15, 1.2 / np.sqrt(order))
    half = int(np.ceil(_REACH / step))
    x = step * np.arange(-half, half + 1)
    root = np.exp(-(x**2) / 4) / (2 * np.pi) ** 0.25
    # Hermite functions, whose recurrence neither overflows nor loses digits.
    functions = np.empty((order, len(x)))
    functions[0] = root
    if order > 1:
        functions[1] = x * root
    for k in range(2, order):
        functions[k] = (x * functions[k - 1] - np.sqrt(k - 1) * functions[k - 2]) / np.sqrt(k)
    return x, (step * root * functions).T


def hermite_coefficients(
    f: Callable[[Any], Any], q: Float[Array, "*shape"], order: int
) -> Float[Array, "*shape order"]:
    """a_k(q) = E f(sqrt(q) x) h_k(x) for k < order, x a standard normal.

    Args:
        f: acts elementwise on arrays, and is smooth.
        q: variances, >= 0.
        order: number of coefficients, >= 1 (static).

    Returns:
        The coefficients along a new last axis, in the dtype of q; sum_k a_k^2 = E f^2.

    Example:
        >>> print(hermite_coefficients(lambda x: x**2, jnp.array(1.0), 3).round(12) + 0.0)
        [1.         0.         1.41421356]
    """
    x, weights = _rule(order)
    nodes = jnp.asarray(x, q.dtype).reshape((1,) * q.ndim + (-1,))
    values = jnp.asarray(f(jnp.sqrt(q)[..., None] * nodes))
    return matmul(jnp.broadcast_to(values, q.shape + x.shape), jnp.asarray(weights, q.dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 5))
def hermite_expectation(
    f: Callable[[Any], Any], g: Callable[[Any], Any], q11: Array, q22: Array, q12: Array, order: int
) -> Float[Array, "..."]:
    """E f(u) g(v) by `order` Hermite coefficients; arrays of one rank that broadcast, nothing is checked.

    Args:
        f: acts elementwise on arrays; it must not depend on what is differentiated.
        g: likewise.
        q11: variance of u, >= 0.
        q22: variance of v, >= 0.
        q12: covariance; a correlation beyond 1 by rounding counts as 1.
        order: number of coefficients, >= 1 (static).

    Returns:
        The expectation in the common shape, differentiable to any order in the variances.

    Example:
        >>> second = jax.grad(jax.grad(lambda q: hermite_expectation(jnp.exp, jnp.exp, q, q, q, 40)))
        >>> print(f"{second(jnp.array(0.0)):.12f}")  # E exp(2u) = exp(2q)
        4.000000000000
    """
    s = jnp.sqrt(q11) * jnp.sqrt(q22)
    c = jnp.clip(safe_ratio(q12, s), -1, 1)
    a = jnp.moveaxis(hermite_coefficients(f, q11, order), -1, 0)
    b = jnp.moveaxis(hermite_coefficients(g, q22, order), -1, 0)

    def horner(total, pair):
        return total * c + pair[0] * pair[1], None

    return lax.scan(horner, jnp.zeros_like(c), (a, b), reverse=True, unroll=min(order, 8))[0]


@hermite_expectation.defjvp
def _hermite_expectation_jvp(f, g, order, primals, tangents):
    q11, q22, q12 = primals
    d11, d22, d12 = tangents
    df, dg = derivative(f), derivative(g)

    def expect(first, second):
        return hermite_expectation(first, second, q11, q22, q12, order)

    change = expect(df, dg) * d12
    change += expect(derivative(df), g) / 2 * d11 + expect(f, derivative(dg)) / 2 * d22
    return expect(f, g), change
