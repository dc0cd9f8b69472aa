r"""Covariance functions k(X1, X2) -> Gram matrix: RBF, and infinitely wide networks of any depth.

A kernel is any function of two arrays of inputs in rows, (n, d) and (m, d), that returns (n, m). Those made
here carry their parameters as leaves (`jax.tree_util.Partial`): they pass through `jit`, and are
differentiated in the inputs and in the parameters. For a fully connected network of this depth, with F and
Fd = dF/dc the two-point functions of phi (`numerics.gaussian`),

    K_0 = sw2 x.x'/d + sb2,        K_l = sw2 F(K_{l-1}) + sb2,                                  NNGP,
    T_0 = K_0,                     T_l = K_l + sw2 Fd(K_{l-1}) T_{l-1},                         NTK.

On the edge of chaos (`edge_of_chaos`) the variance stays at its fixed point q and only the correlation moves:
`edge_of_chaos_kernel` starts there, from inputs of any norm. A. Jacot et al. (2018), arXiv 1806.07572; J. Lee
et al. (2019), arXiv 1902.06720.

Example:
    >>> x = jnp.array([[1.0, 0.0], [0.6, 0.8]])
    >>> print(mlp("relu", depth=1, sw2=2.0, sb2=0.0)(x, x))
    [[1.         0.67754757]
     [0.67754757 1.        ]]
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, TypeAlias

import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.lood.edge import edge_of_chaos
from theorysim.numerics.gaussian import (
    Activation,
    bounded_correlation,
    checked_activation,
    checked_kinks,
    determinant,
    leaky_slope,
    safe_ratio,
    safe_sqrt,
    two_point_of,
)
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, positive_int, real, scalar

__all__ = ["Kernel", "as_kernel", "by_inner_products", "edge_of_chaos_kernel", "mlp", "rbf"]

Kernel: TypeAlias = Callable[[Any, Any], Array]
Which: TypeAlias = Literal["nngp", "ntk"]


def as_kernel(kernel: Any) -> Partial:
    """The kernel as a pytree, which `jit` takes as an argument; each plain function is compiled anew.

    Raises:
        ValueError: what cannot be called.

    Example:
        >>> as_kernel("rbf")
        Traceback (most recent call last):
        ValueError: kernel must be a function of two arrays of inputs, got 'rbf'
    """
    if isinstance(kernel, Partial):
        return kernel
    if not callable(kernel):
        raise ValueError(f"kernel must be a function of two arrays of inputs, got {kernel!r}")
    return Partial(kernel)


def by_inner_products(kernel: Partial) -> Partial:
    """The same kernel, made of inner products: mapped over many inputs, of one product of matrices.

    Only `rbf` changes: with |x| in length scales from the mean of the first inputs, its squared distances get
    an error of eps |x|^2, and their derivatives one of eps |x|.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.6, 0.8]])
        >>> print(by_inner_products(rbf())(x, x) - rbf()(x, x))
        [[0. 0.]
         [0. 0.]]
    """
    return Partial(_rbf_by_products, **kernel.keywords) if kernel.func is _rbf else kernel


def rbf(*, length_scale: ArrayLike = 1.0, variance: ArrayLike = 1.0) -> Partial:
    """The kernel variance exp(-|x - x'|^2 / (2 length_scale^2)).

    Args:
        length_scale: > 0, a scalar, or one per feature (d,).
        variance: > 0, a scalar.

    Returns:
        The kernel. A Gram matrix of n and m inputs holds n m d numbers while it is made if n m d <= 2^22, and
        then the distance of close inputs has all its digits; beyond, it comes from inner products, with an
        error of eps |x|^2, |x| from the mean.

    Raises:
        ValueError: a parameter <= 0.

    Example:
        >>> print(rbf(length_scale=2.0)(jnp.zeros((1, 2)), jnp.array([[0.0, 2.0]])))
        [[0.60653066]]
    """
    real(length_scale, "length_scale", low=0, low_open=True, high_open=True)
    real(scalar(variance, "variance"), "variance", low=0, low_open=True, high_open=True)
    return Partial(_rbf, length_scale=length_scale, variance=variance)


def mlp(
    phi: Activation,
    *,
    depth: int,
    sw2: ArrayLike,
    sb2: ArrayLike,
    get: Which = "nngp",
    kinks: tuple[float, ...] = (),
) -> Partial:
    """The kernel of an infinitely wide fully connected network.

    Args:
        phi: activation, see `numerics.gaussian.two_point` (static).
        depth: hidden layers, >= 1 (static).
        sw2: variance of a weight times its fan-in, > 0, a scalar.
        sb2: variance of a bias, >= 0, a scalar.
        get: "nngp", the covariance of the output at initialisation, or "ntk", the tangent kernel, in which
            all parameters are trained (static).
        kinks: where phi' jumps, if phi is a function with kinks (static).

    Returns:
        The kernel. Two inputs whose angle is below the square root of 8 eps (4e-8, in float32 1e-3) count as
        parallel: there is no telling, and the tangent kernel of a phi with kinks has a cusp there.

    Raises:
        ValueError: an argument out of its range, or unknown names.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.6, 0.8]])
        >>> print(mlp("gelu", depth=3, sw2=2.0, sb2=0.1, get="ntk")(x, x[1:]))
        [[2.00511482]
         [3.58199268]]
    """
    phi, kinks = checked_activation(phi), checked_kinks(kinks)
    choice(get, "get", ("nngp", "ntk"))
    real(scalar(sw2, "sw2"), "sw2", low=0, low_open=True, high_open=True)
    real(scalar(sb2, "sb2"), "sb2", low=0, high_open=True)
    return Partial(_mlp_function(phi, positive_int(depth, "depth"), get, kinks), sw2=sw2, sb2=sb2)


def edge_of_chaos_kernel(
    phi: Activation, *, depth: int, bias_variance: ArrayLike = 0.0, get: Which = "nngp"
) -> Partial:
    """The kernel of a network on the edge of chaos at its fixed point, divided by the variance there.

    Inputs are scaled to the norm at which layer 0 has the fixed-point variance q: only their angles count,
    K_0 = sb2 + (q - sb2) cos(angle), and the NNGP has a unit diagonal at every depth. Activations and depths
    are comparable this way, at any norm of the data and where q is unstable, too.

    Args:
        phi: activation: a name or a slope of the leaky family, for which bias_variance is 0, or smooth
            (static).
        depth: hidden layers, >= 1 (static).
        bias_variance: sb2, > 0 for a phi that is not homogeneous.
        get: "nngp" or "ntk" (static).

    Returns:
        The kernel; an input of norm 0 counts as orthogonal to every other.

    Raises:
        ValueError: no edge of chaos at this bias_variance, or unknown names.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.6, 0.8]])
        >>> print(edge_of_chaos_kernel("gelu", depth=10, bias_variance=0.1)(x, x))
        [[1.         0.84111429]
         [0.84111429 1.        ]]
    """
    phi = checked_activation(phi)
    choice(get, "get", ("nngp", "ntk"))
    q, sw2 = edge_of_chaos(phi, bias_variance=bias_variance)
    function = _edge_function(phi, positive_int(depth, "depth"), get)
    return Partial(function, q=q, sw2=sw2, sb2=bias_variance)


# Beyond this many numbers squared distances come from inner products.
_DIRECT = 2**22


def _rbf(x1, x2, *, length_scale, variance):
    dtype = jnp.result_type(x1, x2)
    if len(x1) * jnp.size(x2) > _DIRECT:
        return _rbf_by_products(x1, x2, length_scale=length_scale, variance=variance)
    x1, x2 = _in_lengths(x1, x2, length_scale)
    square = ((x1[:, None] - x2[None]) ** 2).sum(-1)
    return jnp.asarray(variance, dtype) * jnp.exp(-square / 2)


def _rbf_by_products(x1, x2, *, length_scale, variance):
    same, dtype = x1 is x2, jnp.result_type(x1, x2)
    x1, x2 = _in_lengths(x1, x2, length_scale)
    centre = x1.mean(0, keepdims=True)
    x1, x2 = x1 - centre, x2 - centre
    half = (((x1**2).sum(1) / 2)[:, None] + ((x2**2).sum(1) / 2)[None]) - matmul(x1, x2.T)
    # Never cut off at 0, as the derivative of what rounding makes negative would be.
    if same:
        half = jnp.where(jnp.eye(len(half), dtype=bool), 0, half)
    return jnp.asarray(variance, dtype) * jnp.exp(-half)


def _in_lengths(x1, x2, length_scale):
    dtype = jnp.result_type(x1, x2)
    scale = jnp.asarray(length_scale, dtype).reshape(1, -1)
    return jnp.asarray(x1, dtype) / scale, jnp.asarray(x2, dtype) / scale


@lru_cache(maxsize=64)
def _mlp_function(phi, depth, get, kinks):
    """One function object per network, so that `jit` compiles it once."""
    return partial(_mlp, phi=phi, depth=depth, get=get, kinks=kinks)


def _mlp(x1, x2, *, sw2, sb2, phi, depth, get, kinks):
    dtype = jnp.result_type(x1, x2)
    x1, x2, sw2, sb2 = (jnp.asarray(x, dtype) for x in (x1, x2, sw2, sb2))
    d = x1.shape[1]
    q11, q22 = (sw2 * (x**2).sum(1) / d + sb2 for x in (x1, x2))
    q11, q22, q12 = q11[:, None], q22[None], sw2 * matmul(x1, x2.T) / d + sb2
    if _has_kinks(phi, kinks):
        # An angle that rounding alone could have made is none; slightly beyond, so that it stays none.
        edge = safe_sqrt(q11) * safe_sqrt(q22)
        edge = jnp.where(q12 < 0, -edge, edge) * (1 + 4 * jnp.finfo(dtype).eps)
        parallel = determinant(q11, q22, q12) <= 8 * jnp.finfo(dtype).eps * q11 * q22
        q12 = jnp.where(parallel, edge, q12)

    def layer(state, _):
        q11, q22, q12, tangent = state
        F, Fd = two_point_of(phi, q11, q22, q12, kinks=kinks)
        q12 = sw2 * F + sb2
        q11, q22 = (sw2 * two_point_of(phi, q, q, q, kinks=kinks).F + sb2 for q in (q11, q22))
        return (q11, q22, q12, q12 + sw2 * Fd * tangent), None

    *_, nngp, ntk = lax.scan(layer, (q11, q22, q12, q12), length=depth)[0]
    return nngp if get == "nngp" else ntk


@lru_cache(maxsize=64)
def _edge_function(phi, depth, get):
    return partial(_edge, phi=phi, depth=depth, get=get)


def _edge(x1, x2, *, q, sw2, sb2, phi, depth, get):
    dtype = jnp.result_type(x1, x2)
    q, sw2, sb2 = (jnp.asarray(x, dtype).reshape(1, 1) for x in (q, sw2, sb2))
    same, x1, x2 = x1 is x2, jnp.asarray(x1, dtype), jnp.asarray(x2, dtype)
    unit1, unit2 = (safe_ratio(x, safe_sqrt((x**2).sum(1, keepdims=True))) for x in (x1, x2))
    c = bounded_correlation(matmul(unit1, unit2.T))
    if same:
        c = jnp.where(jnp.eye(len(c), dtype=bool) & (c > 0), 1, c)
    if _has_kinks(phi, ()):
        c = jnp.where(1 - jnp.abs(c) <= 4 * jnp.finfo(dtype).eps, jnp.where(c < 0, -1, 1), c)

    def layer(state, _):
        q12, tangent = state
        F, Fd = two_point_of(phi, q, q, q12)
        q12 = sw2 * F + sb2
        return (q12, q12 + sw2 * Fd * tangent), None

    start = sb2 + (q - sb2) * c
    nngp, ntk = lax.scan(layer, (start, start), length=depth)[0]
    return (nngp if get == "nngp" else ntk) / q


def _has_kinks(phi, kinks):
    return bool(kinks) or leaky_slope(phi) is not None
