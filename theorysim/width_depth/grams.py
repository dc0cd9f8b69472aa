r"""NNGP, tangent and gradient kernels of all pairs of inputs, at a cost that need not grow with the depth.

    scan        every layer on the whole matrix (or a block of its rows): O(N^2 L), any activation;
    chebyshev   the layers on M Chebyshev nodes of the angle only, then one polynomial per entry:
                O(M L + N^2 M).

For a homogeneous phi the kernels divided by sqrt(q_aa q_bb) and the growth are functions of the angle of the
inputs alone, analytic on [0, pi]. For any other smooth phi they are, if all inputs have one norm, functions
of the correlation, with a power series in it. Error relative to the largest entry, ReLU, largest over [0,
pi]:

    nodes    L = 10: NNGP   NTK      L = 100: NNGP   NTK      L = 1000: NNGP   NTK
      16            8e-9    8e-8              1e-9    3e-7               3e-10  8e-8
      32            8e-13   3e-11             4e-12   1e-9               2e-12  5e-9
      48            8e-15   2e-14             2e-14   1e-11              1e-13  1e-10

most of it near antipodal inputs, where one layer is analytic only up to a distance of order L^-1/2. At
infinite depth 96 nodes are within 3e-14 for tau from 0.001 to 100.

A block of rows at a time bounds what is held beside the result. The diagonal is exact, and so are the
gradients of the NNGP at correlation 1: d nngp/d q_0 = grad for a homogeneous phi.

Example:
    >>> x = jnp.array([[1.0, 0.0], [1.0, 1.0]])
    >>> print(kernels(x, alpha2=jnp.full(100, 0.01), phi="relu").ntk)
    [[2.05628752 1.99576684]
     [1.99576684 4.11257504]]
"""

import math
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from theorysim.numerics.chebyshev import chebyshev_fit, chebyshev_nodes, clenshaw
from theorysim.numerics.gaussian import (
    Activation,
    angle_of_correlation,
    bounded_correlation,
    checked_activation,
    checked_kinks,
    leaky_slope,
    safe_ratio,
    safe_sqrt,
)
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, floating, is_traced, positive_int, real, scalar
from theorysim.width_depth.arguments import Kernels, checked_get, layer_variances
from theorysim.width_depth.depths import DepthTime, Layers

__all__ = ["kernels"]

# Entries of a block beyond which the rows are split.
_BLOCK = 2**22
_NODES = {"float64": 48}
_NODES_NARROW = 16
# The flow has a square root close to antipodal inputs, at a distance of order sqrt tau.
_NODES_LIMIT = 96


def kernels(
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    phi: Activation,
    alpha2: ArrayLike | None = None,
    tau: ArrayLike | None = None,
    get: Any = ("nngp", "ntk"),
    method: Literal["auto", "scan", "chebyshev"] = "auto",
    sigma_w2: ArrayLike = 1.0,
    train_input: bool = True,
    kinks: tuple[float, ...] = (),
    rows: int | None = None,
    nodes: int | None = None,
) -> Kernels:
    """Kernels of the infinitely wide residual network between all rows of x1 and all rows of x2.

    Args:
        x1: inputs, (N1, d).
        x2: inputs, (N2, d); x1 by default, whose diagonal is then exact.
        phi: activation, see `numerics.gaussian.two_point` (static).
        alpha2: squared branch scales, (L,), >= 0; L may be 0.
        tau: in place of alpha2, for infinite depth: the sum of the squared branch scales, a scalar >= 0.
        get: which of "nngp", "ntk", "grad" (static).
        method: "auto" takes "chebyshev" for a homogeneous phi, and for any other without kinks where all
            inputs have one norm (known only outside `jit`); else "scan" (static).
        sigma_w2: variance of sqrt(n) times a weight, >= 0.
        train_input: whether W_in is trained, which adds g_0 q_0 to the NTK (static).
        kinks: where phi' jumps, if phi is a function with kinks (static).
        rows: rows of x1 at a time, at most, >= 1 (static); by default as many as make 2^22 entries.
        nodes: Chebyshev nodes, >= 2 (static); by default 48 in float64, 16 otherwise, 96 with tau.

    Returns:
        Kernels of shape (N1, N2), None where not asked for. An input of norm 0 has nngp = ntk = 0. The angle
        between different rows carries the rounding of their product: 3e-4 in float32 and 2e-8 in float64, if
        it is that small.

    Raises:
        ValueError: inputs that do not fit, both or neither of alpha2 and tau, negative scales, unknown names,
            or method="chebyshev" for inputs of different norms and a phi that is not homogeneous.

    Example:
        >>> x = jnp.array([[3.0, 4.0], [0.0, 0.0]])
        >>> print(kernels(x, alpha2=jnp.ones(2), phi="erf", get="nngp").nngp.round(4))
        [[14.1511  0.    ]
         [ 0.      0.    ]]
    """
    phi, kinks, get = checked_activation(phi), checked_kinks(kinks), checked_get(get)
    choice(method, "method", ("auto", "scan", "chebyshev"))
    depth = _depth(alpha2, tau, sigma_w2)
    x1 = _inputs(x1, "x1")
    other = x1 if x2 is None else _inputs(x2, "x2")
    if other.shape[1] != x1.shape[1]:
        raise ValueError(f"x2 must have the {x1.shape[1]} features of x1, got shape {other.shape}")
    dtype = jnp.result_type(x1, other, *depth)
    if nodes is None:
        nodes = _NODES.get(dtype.name, _NODES_NARROW) if tau is None else _NODES_LIMIT
    else:
        nodes = positive_int(nodes, "nodes", minimum=2)
    rows = max(1, _BLOCK // len(other)) if rows is None else positive_int(rows, "rows")
    return _kernels(
        x1.astype(dtype),
        other.astype(dtype),
        jax.tree.map(lambda v: v.astype(dtype), depth),
        phi=phi,
        kinks=kinks,
        get=get,
        method=_method(method, phi, kinks, x1, other),
        train_input=train_input,
        same=x2 is None,
        rows=_even(len(x1), min(rows, len(x1))),
        nodes=nodes,
    )


def _depth(alpha2, tau, sigma_w2):
    if (alpha2 is None) == (tau is None):
        raise ValueError("alpha2 (the layers) or tau (infinitely many of them) must be given, and not both")
    if tau is None:
        return Layers(layer_variances(alpha2, sigma_w2))
    real(scalar(tau, "tau"), "tau", low=0, high_open=True)
    return DepthTime(layer_variances(floating(tau)[None], sigma_w2)[0])


def _inputs(value, name):
    x = floating(real(value, name, low_open=True, high_open=True))
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} must have shape (N, d) with N, d >= 1, got {x.shape}")
    return x


def _method(method, phi, kinks, x1, x2):
    if leaky_slope(phi) is not None:
        return "chebyshev" if method == "auto" else method
    smooth, known = not kinks, not is_traced((x1, x2))
    one_norm = False
    if known:
        norms = np.concatenate([np.linalg.norm(np.asarray(x, np.float64), axis=1) for x in (x1, x2)])
        one_norm = bool(np.ptp(norms) <= 16 * np.finfo(x1.dtype).eps * norms.max())
    if method == "chebyshev" and not (smooth and (one_norm or not known)):
        raise ValueError("method must be 'scan' if phi is not homogeneous and has kinks or x1 several norms")
    if method == "auto":
        return "chebyshev" if smooth and one_norm else "scan"
    return method


@partial(
    jax.jit,
    static_argnames=("phi", "kinks", "get", "method", "train_input", "same", "rows", "nodes"),
)
def _kernels(x1, x2, depth, *, phi, kinks, get, method, train_input, same, rows, nodes):
    first = _normalised(x1)
    units, variances = zip(first, first if same else _normalised(x2), strict=True)
    slope = leaky_slope(phi)
    if slope is not None:
        rule = _homogeneous(slope, depth, variances[1], get, method, train_input, nodes)
    elif method == "chebyshev":
        rule = _one_norm(phi, depth, variances, get, train_input, nodes)
    else:
        rule = _layer_by_layer(phi, kinks, depth, variances[1], get, train_input)
    columns = jnp.arange(len(x2))

    def block(part):
        unit, variance, row = part
        c = bounded_correlation(matmul(unit, units[1].T))
        if same:
            # An input is parallel to itself, whatever the rounding; one of norm 0 to nothing.
            own = (row[:, None] == columns[None]) & (variance > 0)[:, None]
            c = jnp.where(own, 1, c)
        return rule(c, variance)

    parts = (units[0], variances[0], jnp.arange(len(x1)))
    if rows >= len(x1):
        values = block(parts)
    else:
        values = lax.map(block, _blocks(parts, rows))
        values = jax.tree.map(lambda v: v.reshape(-1, len(x2))[: len(x1)], values)
    return Kernels(*(values.get(name) for name in Kernels._fields))


def _normalised(x):
    """Rows of norm 1 (0 where they are 0), and q_0 = |x|^2 / d."""
    # Scaled first, so that neither tiny nor huge entries leave the range of their squares.
    largest = jnp.abs(x).max(1, keepdims=True)
    scaled = safe_ratio(x, lax.stop_gradient(largest))
    norm = safe_sqrt((scaled**2).sum(1, keepdims=True))
    size = norm * lax.stop_gradient(largest)
    return safe_ratio(scaled, norm), (size[:, 0] ** 2) / x.shape[1]


def _even(count, most):
    """Rows of a block, at most so many: a divisor if there is a large one, else the last block is padded.

    The result of a padded one is cut, which copies it.
    """
    return next((rows for rows in range(most, most // 2, -1) if count % rows == 0), most)


def _blocks(parts, rows):
    count = -(-len(parts[0]) // rows)

    def split(x):
        padding = [(0, count * rows - len(x))] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, padding).reshape(count, rows, *x.shape[1:])

    return jax.tree.map(split, parts)


def _homogeneous(slope, depth, variances, get, method, train_input, nodes):
    """Function of the correlations and row variances of a block: the kernels by their angle."""
    # An input of norm 0 is orthogonal to every other, and to itself.
    growth, alone = depth.growth(slope), depth.alone(slope)
    layers = partial(depth.curves, slope, train_input=train_input)
    evaluate = _by_table(layers, nodes, variances.dtype) if method == "chebyshev" else _by_layers(layers)

    def rule(c, row_variances):
        s = safe_sqrt(row_variances)[:, None] * safe_sqrt(variances)[None] * growth
        correlation, ntk, gain = evaluate(c)
        zero = s == 0
        values = {
            "nngp": s * correlation,
            "ntk": s * ntk,
            "grad": jnp.where(zero, alone, gain * growth),
        }
        return {name: values[name] for name in get}

    return rule


def _by_layers(layers):
    """Correlation, NTK and slope at unit variance, over the growth, as functions of the first correlation."""

    def evaluate(c):
        curves = layers(angle_of_correlation(c))
        correlation = _attach(c, jnp.cos(curves.theta), curves.slope)
        return correlation, curves.tangent + correlation, curves.slope

    return evaluate


def _by_table(layers, nodes, dtype):
    """The same from polynomials in the angle, exact at c = 1."""
    # The end of the interval besides its nodes, which are inside.
    points = jnp.concatenate([chebyshev_nodes(nodes, 0.0, math.pi, dtype), jnp.zeros(1, dtype)])
    curves = layers(points)
    correlation = jnp.cos(curves.theta)
    values = jnp.stack([correlation, curves.tangent + correlation, curves.slope], axis=1)
    fits = chebyshev_fit(values[:-1])
    _, ntk_at_one, slope_at_one = values[-1]

    def evaluate(c):
        theta = angle_of_correlation(c)
        ntk, gain = (
            jnp.where(c == 1, exact, clenshaw(fit, theta, 0.0, math.pi))
            for fit, exact in ((fits[:, 1], ntk_at_one), (fits[:, 2], slope_at_one))
        )
        correlation = _correlation(c, fits[:, 0], fits[:, 2], slope_at_one)
        return correlation, _attach(c, ntk, slope_at_one), gain

    return evaluate


@jax.custom_jvp
def _correlation(c, fit, slope_fit, slope_at_one):
    """The final correlation as a function of the first, by its polynomial in the angle."""
    value = clenshaw(fit, angle_of_correlation(c), 0.0, math.pi)
    return jnp.where(c == 1, 1, value)


@_correlation.defjvp
def _correlation_jvp(primals, tangents):
    c, _, slope_fit, slope_at_one = primals
    theta = angle_of_correlation(c)
    # d c_L / d c_0 = grad / growth: finite at c = 1, where d theta / d c is not.
    slope = jnp.where(c == 1, slope_at_one, clenshaw(slope_fit, theta, 0.0, math.pi))
    by_table = jnp.where(c == 1, 0, clenshaw(tangents[1], theta, 0.0, math.pi))
    return _correlation(*primals), slope * tangents[0] + by_table


@jax.custom_jvp
def _attach(c, value, slope):
    """`value`, a function of c and the schedule, with the derivative in c that it lacks at c = 1."""
    return value


@_attach.defjvp
def _attach_jvp(primals, tangents):
    c, value, slope = primals
    # Where c is 1 its derivative inside `value` is 0: the masked one of the angle.
    missing = jnp.where(c == 1, slope, 0)
    return value, tangents[1] + missing * tangents[0]


def _one_norm(phi, depth, variances, get, train_input, nodes):
    """The kernels as polynomials in the correlation, for inputs that all have the norm of the first."""
    q = variances[0][:1]
    c = chebyshev_nodes(nodes, -1.0, 1.0, q.dtype)
    # c = 1 as well: the diagonal is then that of the recursion.
    points = jnp.concatenate([c, jnp.ones(1, q.dtype)])
    _, _, q12, tangent, gain = depth.pairs(q, q, q * points, phi, (), train_input=train_input)
    values = {"nngp": q12, "ntk": tangent + q12, "grad": gain}
    fits = {name: (chebyshev_fit(values[name][:-1]), values[name][-1]) for name in get}

    def rule(c, row_variances):
        return {
            name: jnp.where(c == 1, exact, clenshaw(fit, c, -1.0, 1.0)) for name, (fit, exact) in fits.items()
        }

    return rule


def _layer_by_layer(phi, kinks, depth, variances, get, train_input):
    def rule(c, row_variances):
        q11, q22 = row_variances[:, None], variances[None]
        q12 = jnp.where((c == 1) & (q11 == q22), q11, c * safe_sqrt(q11) * safe_sqrt(q22))
        _, _, q12, tangent, gain = depth.pairs(q11, q22, q12, phi, kinks, train_input=train_input)
        values = {"nngp": q12, "ntk": tangent + q12, "grad": gain}
        return {name: values[name] for name in get}

    return rule
