r"""F = E phi(u) phi(v) and Fd = E phi'(u) phi'(v) over a centred Gaussian pair, for any activation.

(u, v) ~ N(0, [[q11, q12], [q12, q22]]). Closed forms for the names of `activations` but tanh (`homogeneous`,
`smooth`); Hermite coefficients for tanh and any smooth function (`hermite`); a split rule for functions with
kinks (`polar`). Price's theorem, Fd = dF/dq12, ties the two.

What other averages need follows from these by differentiation and by q12 = 0:

    E phi(u) E phi(v) = F(q11, q22, 0),        covariance of phi = F(q11, q22, q12) - F(q11, q22, 0),
    E phi''(u) phi''(v) = dFd/dq12,            E phi''(u) phi(v) = 2 dF/dq11.

Example:
    >>> pair = two_point("relu", 1.0, 1.0, 0.5)
    >>> print(f"{pair.F:.6f} {pair.Fd:.6f}")
    0.304499 0.333333
    >>> slope = jax.grad(lambda q: two_point("tanh", q, q, q).F)(1.0)  # on the diagonal
    >>> print(f"{slope:.6f}")
    0.181798
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.gaussian.activations import Activation, activation, checked_activation, leaky_slope
from theorysim.numerics.gaussian.angles import safe_ratio
from theorysim.numerics.gaussian.hermite import derivative, hermite_coefficients, hermite_expectation
from theorysim.numerics.gaussian.homogeneous import leaky_two_point
from theorysim.numerics.gaussian.polar import polar_expectation
from theorysim.numerics.gaussian.records import TwoPoint
from theorysim.numerics.gaussian.smooth import (
    cos_two_point,
    erf_two_point,
    gelu_two_point,
    sin_two_point,
)
from theorysim.numerics.validation import is_traced, positive_int, real

__all__ = ["checked_kinks", "two_point", "two_point_of"]

_CLOSED: dict[Any, Callable[..., TwoPoint]] = {
    "erf": erf_two_point,
    "sin": sin_two_point,
    "cos": cos_two_point,
    "gelu": gelu_two_point,
}

# How far |q12| may exceed sqrt(q11 q22) by rounding.
_SLACK = {"float64": 1e-9}


def two_point(
    phi: Activation,
    q11: ArrayLike,
    q22: ArrayLike,
    q12: ArrayLike,
    *,
    order: int = 128,
    kinks: tuple[float, ...] = (),
) -> TwoPoint:
    """E phi(u) phi(v) and E phi'(u) phi'(v) for centred Gaussians, elementwise over arrays that broadcast.

    Finite with finite derivatives everywhere, q11 = q22 = q12 and zero variances included: the exact ones
    where they exist. Those of Fd diverge at |c| = 1 if phi has a kink; there they are 0.

    Args:
        phi: a name of `activations.NAMES`, the slope of a leaky rectifier, or a function that acts
            elementwise on arrays (static: define it once, each new function is compiled anew).
        q11: variance of u, >= 0.
        q22: variance of v, >= 0. Give a Gram matrix as q11[:, None], q22[None, :], q12: Hermite coefficients
            are computed once per entry of q11 and q22.
        q12: covariance, |q12| <= sqrt(q11 q22).
        order: Hermite coefficients for tanh and smooth functions, >= 1 (static).
        kinks: where phi' jumps, for a function (static). Without them it must be smooth.

    Returns:
        TwoPoint in the common shape and dtype. A variance of 0 counts as orthogonal to every other; the leaky
        family then has phi'(0) = (1+k)/2.

        In float32, for variances in [0.1, 10] and random correlations: F within 6e-7 sqrt(q11 q22) of
        float64, Fd within 2e-6. A leaky Fd at 1 - |c| < 1e-6 and unequal variances inherits the up to 3e-4
        that rounding the inputs costs the angle.

    Raises:
        ValueError: unknown phi, variances < 0, |q12| > sqrt(q11 q22), or a function without `kinks` whose
            coefficients at unit variance decay so slowly that `order` of them miss more than 1e-6 of
            E phi'^2.

    Example:
        >>> print(two_point(0.1, jnp.array([1.0, 0.0]), 1.0, jnp.array([1.0, 0.0])).F)
        [0.505 0.   ]
        >>> print(f"{two_point(jax.nn.elu, 1.0, 1.0, 0.5, kinks=(0.0,)).F:.9f}")
        0.324783649
    """
    phi, kinks = checked_activation(phi), checked_kinks(kinks)
    order = positive_int(order, "order")
    real(q11, "q11", low=0, high_open=True)
    real(q22, "q22", low=0, high_open=True)
    real(q12, "q12", low_open=True, high_open=True)
    dtype = jnp.result_type(*(getattr(x, "dtype", 0.0) for x in (q11, q22, q12)), 0.0)
    arrays = [jnp.asarray(x, dtype) for x in (q11, q22, q12)]
    rank = max(x.ndim for x in arrays)
    arrays = [x.reshape((1,) * (rank - x.ndim) + x.shape) for x in arrays]
    if not is_traced(arrays):
        _check_cauchy_schwarz(*arrays, slack=_SLACK.get(dtype.name, 1e-4))
    if callable(phi) and not kinks:
        _check_smooth(phi, order)
    return _jitted(phi, *arrays, order=order, kinks=kinks)


def two_point_of(
    phi: Activation, q11: Array, q22: Array, q12: Array, *, order: int = 128, kinks: tuple[float, ...] = ()
) -> TwoPoint:
    """`two_point` inside other kernels: arrays of one rank and dtype, nothing is checked or compiled.

    Example:
        >>> print(two_point_of("linear", jnp.array(1.0), jnp.array(1.0), jnp.array(0.5)).F)
        0.5
    """
    slope = leaky_slope(phi)
    if slope is not None:
        pair = leaky_two_point(slope, q11, q22, q12)
    elif phi in _CLOSED:
        pair = _CLOSED[phi](q11, q22, q12)
    elif kinks:
        pair = _kinked(activation(phi), q11, q22, q12, kinks)
    else:
        f = activation(phi)
        df = derivative(f)
        pair = TwoPoint(
            hermite_expectation(f, f, q11, q22, q12, order), hermite_expectation(df, df, q11, q22, q12, order)
        )
    shape = jnp.broadcast_shapes(q11.shape, q22.shape, q12.shape)
    return TwoPoint(*(jnp.broadcast_to(x, shape) for x in pair))


def checked_kinks(kinks: Any) -> tuple[float, ...]:
    """The kinks as floats without repetition, or ValueError.

    Example:
        >>> checked_kinks((1, -1.0, 1))
        (-1.0, 1.0)
    """
    try:
        return tuple(sorted({float(real(kink, "kinks", low_open=True, high_open=True)) for kink in kinks}))
    except TypeError:
        raise ValueError(f"kinks must be a tuple of numbers, got {kinks!r}") from None


@partial(jax.jit, static_argnums=0, static_argnames=("order", "kinks"))
def _jitted(phi, q11, q22, q12, *, order, kinks):
    return two_point_of(phi, q11, q22, q12, order=order, kinks=kinks)


def _kinked(f, q11, q22, q12, kinks):
    df = derivative(f)

    @jax.custom_jvp
    def F(q11, q22, q12):
        return polar_expectation(f, f, q11, q22, q12, kinks)

    @F.defjvp
    def _(primals, tangents):
        q11, q22, q12 = primals
        d11, d22, d12 = tangents
        Fd = polar_expectation(df, df, q11, q22, q12, kinks)

        def scaled(x):
            return x * df(x)

        # Scaling u alone: 2 q11 dF/dq11 + q12 dF/dq12 = E u phi'(u) phi(v). It spares phi''.
        first = polar_expectation(scaled, f, q11, q22, q12, kinks) - q12 * Fd
        second = polar_expectation(f, scaled, q11, q22, q12, kinks) - q12 * Fd
        change = safe_ratio(first, 2 * q11) * d11 + safe_ratio(second, 2 * q22) * d22
        return F(q11, q22, q12), change + Fd * d12

    return TwoPoint(F(q11, q22, q12), polar_expectation(df, df, q11, q22, q12, kinks))


def _check_cauchy_schwarz(q11, q22, q12, *, slack):
    q11, q22, q12 = (np.asarray(x, np.float64) for x in (q11, q22, q12))
    bound = np.sqrt(q11) * np.sqrt(q22)
    bad = np.abs(q12) > bound * (1 + slack)
    if bad.any():
        value, limit = (np.broadcast_to(x, bad.shape)[bad].flat[0] for x in (q12, bound))
        raise ValueError(f"q12 must be in [-sqrt(q11 q22), sqrt(q11 q22)] = +-{limit:.10g}, got {value:.10g}")


def _check_smooth(phi, order):
    """Raise if the last coefficients of phi' at unit variance still carry weight."""
    with jax.ensure_compile_time_eval():
        coefficients = hermite_coefficients(derivative(phi), jnp.ones(()), order)
    if is_traced(coefficients):
        return
    weight = np.asarray(coefficients, np.float64) ** 2
    tail = weight[-max(1, order // 8) :].sum()
    if not tail <= 1e-6 * weight.sum():
        raise ValueError(
            f"kinks must say where phi' jumps, or order must be larger than {order}: the last Hermite "
            f"coefficients of phi' carry {tail / weight.sum():.1e} of E phi'^2"
        )
