r"""What the arguments of several functions must be: schedules, pairs of inputs, quantities asked for.

Example:
    >>> layer_variances(jnp.array([0.5, -0.1]))
    Traceback (most recent call last):
    ValueError: alpha2 must be in [0, inf), got -0.1
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, checked_activation, leaky_slope
from theorysim.numerics.validation import floating, is_traced, real, scalar

__all__ = ["Kernels", "checked_get", "homogeneous_slope", "layer_variances", "pair_covariances", "psd_matrix"]

_FIELDS = ("nngp", "ntk", "grad")


class Kernels(NamedTuple):
    """Kernels of the infinitely wide network; None where not asked for.

    For pairs, `nngp` holds (q_aa, q_bb, q_ab) along its last axis and the others the value for (a, b).

    Attributes:
        nngp: covariance q_L of a neuron of the last layer over inputs, and of the output at initialisation.
        ntk: neural tangent kernel T_L + q_L of f = v.Y_L / sqrt n.
        grad: covariance g_0 of sqrt(n) df/dY_0 over inputs, 1 at the output.
    """

    nngp: Any
    ntk: Any
    grad: Any


def checked_get(get: Any) -> tuple[str, ...]:
    """The asked quantities as a tuple, or ValueError if one is unknown or there is none.

    Example:
        >>> checked_get("ntk")
        ('ntk',)
    """
    get = (get,) if isinstance(get, str) else tuple(get)
    unknown = [name for name in get if name not in _FIELDS]
    if unknown or not get:
        raise ValueError(f"get must hold some of {', '.join(map(repr, _FIELDS))}, got {get!r}")
    return get


def homogeneous_slope(phi: Activation) -> float:
    """The slope of a phi of the leaky family, or ValueError.

    Example:
        >>> homogeneous_slope("erf")
        Traceback (most recent call last):
        ValueError: phi must be 'linear', 'relu', 'abs' or a slope, got 'erf'
    """
    slope = leaky_slope(checked_activation(phi))
    if slope is None:
        raise ValueError(f"phi must be 'linear', 'relu', 'abs' or a slope, got {phi!r}")
    return slope


def layer_variances(alpha2: ArrayLike, sigma_w2: ArrayLike = 1.0) -> Float[Array, " L"]:
    """x_l = alpha_l^2 sigma_w^2 of every layer, from squared branch scales of shape (L,); L may be 0.

    Raises:
        ValueError: a negative or infinite scale, or alpha2 without exactly one axis.

    Example:
        >>> print(layer_variances(jnp.array([0.5, 0.25]), 2.0))
        [1.  0.5]
    """
    real(alpha2, "alpha2", low=0, high_open=True)
    real(scalar(sigma_w2, "sigma_w2"), "sigma_w2", low=0, high_open=True)
    alpha2 = floating(alpha2)
    if alpha2.ndim != 1:
        raise ValueError(f"alpha2 must have one axis, the layers, got shape {alpha2.shape}")
    return alpha2 * jnp.asarray(sigma_w2, alpha2.dtype)


def pair_covariances(q0: ArrayLike, name: str = "q0") -> Float[Array, "*batch 3"]:
    """(q_aa, q_bb, q_ab) along the last axis, as a floating array, or ValueError.

    Example:
        >>> pair_covariances(jnp.array([1.0, 1.0, 1.5]))
        Traceback (most recent call last):
        ValueError: q0 must have |q_ab| <= sqrt(q_aa q_bb), got 1.5 at q_aa = 1, q_bb = 1
    """
    real(q0, name, low_open=True, high_open=True)
    q0 = floating(q0)
    if q0.ndim == 0 or q0.shape[-1] != 3:
        raise ValueError(f"{name} must hold (q_aa, q_bb, q_ab) along its last axis, got shape {q0.shape}")
    if not is_traced(q0):
        aa, bb, ab = np.moveaxis(np.asarray(q0, np.float64), -1, 0)
        real(np.minimum(aa, bb), name, low=0)
        bad = np.abs(ab) > np.sqrt(aa * bb) * (1 + _slack(q0.dtype))
        if bad.any():
            a, b, c = (x[bad].flat[0] for x in (aa, bb, ab))
            raise ValueError(
                f"{name} must have |q_ab| <= sqrt(q_aa q_bb), got {c:g} at q_aa = {a:g}, q_bb = {b:g}"
            )
    return q0


def psd_matrix(K0: ArrayLike, name: str = "K0") -> Float[Array, "k k"]:
    """A symmetric matrix with entries that a covariance can have, as a floating array, or ValueError.

    Example:
        >>> psd_matrix(jnp.ones((2, 3)))
        Traceback (most recent call last):
        ValueError: K0 must be a square matrix of at least one row, got shape (2, 3)
    """
    real(K0, name, low_open=True, high_open=True)
    K0 = floating(K0)
    if K0.ndim != 2 or K0.shape[0] != K0.shape[1] or not len(K0):
        raise ValueError(f"{name} must be a square matrix of at least one row, got shape {K0.shape}")
    if not is_traced(K0):
        matrix = np.asarray(K0, np.float64)
        size = np.abs(matrix).max()
        if np.abs(matrix - matrix.T).max() > _slack(K0.dtype) * size:
            raise ValueError(f"{name} must be symmetric, got entries that differ across the diagonal")
        least = np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]
        if least < -len(matrix) * _slack(K0.dtype) * size:
            raise ValueError(f"{name} must be positive semidefinite, got an eigenvalue {least:g}")
    return K0


def _slack(dtype: Any) -> float:
    return 1e-9 if dtype == jnp.float64 else 1e-4
