r"""The Marchenko-Pastur law: eigenvalues of a sample covariance of pure noise.

With C_hat = Z'Z / n_hat, Z of n_hat x p standard normals and ratio = p/n_hat, the eigenvalues of C_hat have
in the limit the density

    sqrt((b - x)(x - a)) / (2 pi ratio x)   on [a, b] = [(1 - sqrt(ratio))^2, (1 + sqrt(ratio))^2],

plus a point mass 1 - 1/ratio at 0 if ratio > 1. The resolvent Q = (z + c C_hat)^-1 has the traces

    tr Q / p = 1/A,      tr C_hat Q / p = 1/(A + c ratio),      A = (b_ + s)/2,

with b_ = z + c - c ratio and s = sqrt(b_^2 + 4 z c ratio). V. A. Marchenko, L. A. Pastur (1967).

Example:
    >>> print(f"{marchenko_pastur_density(1.0, ratio=1.0):.6f}")
    0.275664
    >>> x = jnp.linspace(0.0, 6.0, 100_001)[1:]
    >>> print(f"{marchenko_pastur_density(x, ratio=2.0).sum() * 6e-5:.3f} of the eigenvalues are not 0")
    0.500 of the eigenvalues are not 0
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import floating, real
from theorysim.rmt_synthetic.elementwise import jit_broadcast

__all__ = ["ResolventTraces", "marchenko_pastur_density", "resolvent_traces"]


class ResolventTraces(NamedTuple):
    """Traces per dimension of Q = (z + c C_hat)^-1 and its products with the sample covariance C_hat."""

    T1: Float[Array, "*batch"]
    """tr Q / p"""
    t1: Float[Array, "*batch"]
    """tr C_hat Q / p"""
    T2: Float[Array, "*batch"]
    """tr Q^2 / p"""
    t11: Float[Array, "*batch"]
    """tr C_hat Q^2 / p"""
    t22: Float[Array, "*batch"]
    """tr C_hat^2 Q^2 / p"""


def marchenko_pastur_density(x: ArrayLike, ratio: ArrayLike) -> Float[Array, "*batch"]:
    """Density of the eigenvalues at x, without the point mass at 0 that there is if ratio > 1.

    Args:
        x: where, any real number; broadcasts with `ratio`.
        ratio: p/n_hat, dimensions per sample, > 0.

    Returns:
        The density, 0 outside the support; infinite at x = 0 if ratio = 1.

    Raises:
        ValueError: ratio <= 0, or an argument that is not finite.

    Example:
        >>> print([f"{d:.4f}" for d in marchenko_pastur_density(jnp.array([0.5, 1.0, 9.0]), 0.5)])
        ['0.6366', '0.4211', '0.0000']
    """
    real(x, "x", low_open=True, high_open=True)
    real(ratio, "ratio", low=0, low_open=True, high_open=True)
    dtype = jnp.result_type(floating(x), floating(ratio))
    return _density(jnp.asarray(x, dtype), jnp.asarray(ratio, dtype))


def resolvent_traces(
    z: Float[Array, "*batch"], c: Float[Array, "*batch"], ratio: Float[Array, "*batch"]
) -> ResolventTraces:
    """The five limiting traces at z > 0, c >= 0 and ratio >= 0, all of one shape; nothing is checked.

    Example:
        >>> traces = resolvent_traces(jnp.array(1.0), jnp.array(0.5), jnp.array(0.0))  # C_hat = I
        >>> print(f"{traces.T1:.6f} {traces.t22:.6f}")
        0.666667 0.444444
    """
    load = c * ratio
    b = z + (c - load)
    s = jnp.sqrt(b * b + 4 * z * load)
    size = jnp.where(b > 0, b, -b) + s
    A = jnp.where(b > 0, size / 2, 2 * z * load / size)
    B = A + load
    T2 = B / (s * A * A)
    return ResolventTraces(
        T1=1 / A,
        t1=1 / B,
        T2=T2,
        t11=1 / (s * B),
        t22=((A * (1 - ratio) + z * ratio) / s + ratio) / (B * B),
    )


@jit_broadcast
def _density(x, ratio):
    root = jnp.sqrt(ratio)
    low, high = (1 - root) ** 2, (1 + root) ** 2
    inside = (x > low) & (x < high)
    # Replaced before root and division: the gradient of the untaken branch must stay finite.
    at = jnp.where(inside, x, (low + high) / 2)
    density = jnp.sqrt((high - at) * (at - low)) / (2 * jnp.pi * ratio * at)
    at_zero = (x == 0) & (low == 0)
    return jnp.where(at_zero, jnp.inf, jnp.where(inside, density, 0))
