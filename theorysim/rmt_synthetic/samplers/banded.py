r"""The distribution of the accuracy at O(p) cost a draw, exact in law, when all covariances are c I.

Scale to c = 1 and weight 1 (gamma / (c omega), features / sqrt c). Rotate the kept samples of all K groups:
one direction along each group's indicator and one along what is left of the targets give

    y_k = sqrt(M_k) m_k + N(0, I),   y_0 ~ N(0, I),   sum v v' = sum y y' + W,   W ~ Wishart(I, M),
    sum s v = sum_k (sum of the targets in k) / sqrt(M_k) y_k + r y_0,

with r^2 the sum of squared deviations of the targets from their group's mean, and M the kept samples less the
directions used. All that matters besides W is the triangular factor R, k x k with k = K + 2, of the test mean
and the y's. In a basis of R^p that begins with their span, W = L L' with L lower banded:

    L[i, i] = chi_{M-i},    L[i+k, i] = chi_{p-k-i},    L[i+j, i] ~ N(0, 1) for 0 < j < k,

where column i exists if i < M. With D_j and O_j the k x k blocks of L / sqrt N on and below its diagonal,
eliminating from the last block gives the Schur complement X of the first k coordinates, and X' = dX/dgamma,

    X_j = gamma + D_j (I + O_j' X_{j+1}^-1 O_j)^-1 D_j',
    X'_j = I + U' X'_{j+1} U,    U = X_{j+1}^-1 O_j (I + O_j' X_{j+1}^-1 O_j)^-1 D_j',

in which nothing is subtracted, so that it is stable at any ridge. Then w has the coordinates
z = (X_0 + R_y R_y' / N)^-1 R_y c / N in the span, and |w|^2 = z' X'_0 z. Derived, see docs/rmt_synthetic.md.

Example:
    >>> from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
    >>> mu, mu_s = paper_means(50, 1.5, beta=0.7, perp=1.0)
    >>> problem = real_plus_synthetic(100, 200, mu, mu_s, eps=0.3, rho=0.1, phi=0.8)
    >>> keys = jax.random.split(jax.random.key(0), 4000)
    >>> moments = jax.jit(sample_banded)(keys, problem, jnp.array(0.1))
    >>> print(f"{jax.scipy.stats.norm.cdf(moments.mean / jnp.sqrt(moments.var)).mean():.3f}")
    0.877
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from theorysim.rmt_synthetic.problem import Problem
from theorysim.rmt_synthetic.samplers.chi import chi
from theorysim.rmt_synthetic.samplers.counts import atom_counts
from theorysim.rmt_synthetic.samplers.small_matrices import (
    Matrix,
    cholesky,
    plus_diagonal,
    product,
    products,
    solve_lower,
    solve_upper,
    stack,
    transpose,
    triangular_factor,
    unstack,
)
from theorysim.rmt_synthetic.score import Moments

__all__ = ["LANES", "Isotropy", "isotropy", "least_dimension", "sample_banded"]

# Draws whose matrices a CPU eliminates at once; it takes numbers of draws fastest that this divides.
LANES = 64


class Isotropy(NamedTuple):
    """Common training covariance c I, test covariance and weight, and whether they are what there is."""

    train: Any
    test: Any
    omega: Any
    isotropic: Any
    one_weight: Any


def isotropy(problem: Problem, xp: Any = jnp) -> Isotropy:
    """Common scales of a problem, with NumPy (`xp=np`) for concrete ones and JAX for any.

    Groups without samples and atoms without weight or probability do not count.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(9, 0, np.ones(4), eps=0, rho=0, phi=1, cov_r=2, cov_s=3)
        >>> found = isotropy(problem, np)
        >>> print(found.train, found.omega, found.isotropic)
        2.0 1.0 True
    """
    cov, atoms = xp.asarray(problem.cov), xp.asarray(problem.atoms)
    weight = atoms[..., 0]
    used = (weight > 0) & (atoms[..., -1] > 0) & (xp.asarray(problem.counts) > 0)[:, None]
    group = used.any(axis=1)
    eye = np.ones(cov.shape[-1], bool) if cov.ndim == 2 else np.eye(cov.shape[-1], dtype=bool)
    scale = cov.reshape(len(cov), -1)[:, 0]
    scaled = xp.where(eye[None], scale.reshape((-1,) + (1,) * (cov.ndim - 1)), 0)
    round_ = (cov == scaled).reshape(len(cov), -1).all(axis=1)
    # The values of those that count; 1 where none does.
    train = xp.where(group.any(), xp.where(group, scale, 0).max(), xp.ones_like(scale[0]))
    omega = xp.where(group.any(), xp.where(used, weight, 0).max(), xp.ones_like(scale[0]))
    isotropic = (~group | (round_ & (scale == train))).all() & round_[0] & (train > 0)
    return Isotropy(train, scale[0], omega, isotropic, (~used | (weight == omega)).all())


def least_dimension(problem: Problem) -> int:
    """The least p that the band fits into: the test mean and the K + 1 directions y.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> least_dimension(real_plus_synthetic(9, 0, np.ones(4), eps=0, rho=0, phi=1))
        4
    """
    return len(problem.means) + 2


def sample_banded(keys: Array, problem: Problem, gamma: Float[Array, ""]) -> Moments:
    """Moments of the score for one training set per key, (B,) each; NaN if the problem is not isotropic.

    Args:
        keys: random keys, (B,).
        problem: the groups, of the kind that `isotropy` finds, and p >= `least_dimension`.
        gamma: ridge.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(30, 0, jnp.ones(20) / 4, eps=0, rho=0, phi=1)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> jax.jit(sample_banded)(keys, problem, jnp.array(0.1)).var.shape
        (2,)
    """
    scales = isotropy(problem)
    K, p = problem.means.shape
    n_total = problem.counts.sum()
    streams = jax.vmap(lambda key: jax.random.split(key, 4), out_axes=1)(keys)
    kept = _kept(streams[0], problem)
    chis = _draw_chis(streams[1], kept.freedom, p, K)
    test_mean, y = _draw_span(streams[2], problem.means / jnp.sqrt(scales.train), kept, chis.span)
    band = _draw_band(streams[3], chis, kept.freedom, p)
    X, dX = _in_lanes(partial(_eliminate, gamma=gamma / (scales.train * scales.omega)), band, n_total)

    y = y / jnp.sqrt(n_total)
    b = (y * kept.coordinates[None]).sum(axis=1, keepdims=True) / jnp.sqrt(n_total)
    S = cholesky(unstack(X + products(y, y.swapaxes(0, 1))))
    z = stack(solve_upper(S, solve_lower(S, unstack(b))))
    mean = (test_mean * z[:, 0]).sum(axis=0)
    var = (z * products(dX, z)).sum(axis=(0, 1)) * (scales.test / scales.train)
    valid = scales.isotropic & scales.one_weight
    return Moments(jnp.where(valid, mean, jnp.nan), jnp.where(valid, var, jnp.nan))


class _Kept(NamedTuple):
    """What is kept of each group in each draw.

    `lengths` are the sqrt(M_k), `coordinates` those of the summed targets along y_1..y_K and y_0, and
    `freedom` the degrees of freedom of W.
    """

    lengths: Float[Array, "K B"]
    coordinates: Float[Array, "K_plus_1 B"]
    freedom: Float[Array, " B"]


def _kept(keys: Array, problem: Problem) -> _Kept:
    target = problem.atoms[..., 1, None]
    draw = jax.vmap(lambda key: atom_counts(key, problem.counts, problem.atoms[..., -1]), out_axes=2)
    count = jnp.where(problem.atoms[..., 0, None] > 0, draw(keys), 0)
    size = count.sum(axis=1)
    share = count / jnp.maximum(size, 1)[:, None]
    # Squared deviations from the mean target pair by pair: exactly zero where all targets agree.
    squares = jnp.zeros_like(size[0])
    for i, j in combinations(range(target.shape[1]), 2):
        squares += (count[:, i] * share[:, j] * (target[:, i] - target[:, j]) ** 2).sum(axis=0)
    along = jnp.sqrt(size) * (share * target).sum(axis=1)
    used = (size > 0).sum(axis=0) + (squares > 0)
    return _Kept(
        lengths=jnp.sqrt(size),
        coordinates=jnp.concatenate([along, jnp.sqrt(squares)[None]]),
        freedom=size.sum(axis=0) - used.astype(size.dtype),
    )


class _Band(NamedTuple):
    """L in k x k blocks: diagonals of D_j and of O_j, and what is beside them: D_j below, O_j above."""

    diagonal: Float[Array, "blocks k B"]
    edge: Float[Array, "blocks k B"]
    beside: Float[Array, "blocks k k_minus_1 B"]


class _Chis(NamedTuple):
    """All chi variables: the two diagonals of the band, and that of the noise in the y's."""

    diagonal: Float[Array, "blocks k B"]
    edge: Float[Array, "blocks k B"]
    span: Float[Array, "K_plus_1 B"]


def _draw_chis(keys: Array, freedom: Float[Array, " B"], p: int, K: int) -> _Chis:
    dtype, draws, k = freedom.dtype, len(freedom), K + 2
    blocks = -(-p // k)
    column = np.arange(blocks * k)[:, None]
    exists = jnp.asarray(column, dtype) < freedom[None]
    dof = (
        jnp.where(column < p, freedom[None] - jnp.asarray(column, dtype), 0),
        jnp.where(exists, jnp.asarray(p - k - column, dtype), 0),
        jnp.broadcast_to(jnp.asarray(p - K - np.arange(K + 1), dtype)[:, None], (K + 1, draws)),
    )
    table = chi(keys, jnp.concatenate(dof))
    band = table[: 2 * blocks * k].reshape(2, blocks, k, draws)
    return _Chis(band[0], band[1], table[2 * blocks * k :])


def _draw_band(keys: Array, chis: _Chis, freedom: Float[Array, " B"], p: int) -> _Band:
    (blocks, k, draws), dtype = chis.diagonal.shape, freedom.dtype
    count = blocks * k * (k - 1)
    beside = jax.vmap(lambda key: jax.random.normal(key, (count,), dtype), out_axes=1)(keys)
    # Row a of a block: entries b < a of D_j, then entries b > a of O_j.
    j, a, b = np.arange(blocks)[:, None, None], np.arange(k)[:, None], np.arange(k - 1)
    on = b < a
    inside = np.where(on, j * k + a, (j + 1) * k + a) < p
    exists = jnp.asarray(np.where(on, j * k + b, j * k + b + 1), dtype)[..., None] < freedom[None, None, None]
    beside = jnp.where(inside[..., None] & exists, beside.reshape(blocks, k, k - 1, draws), 0)
    return _Band(chis.diagonal, chis.edge, beside)


def _draw_span(
    keys: Array, means: Float[Array, "K p"], kept: _Kept, chis: Float[Array, "K_plus_1 B"]
) -> tuple[Float[Array, "k B"], Float[Array, "k K_plus_1 B"]]:
    """Coordinates of the test mean and of the y's (zero if unused): the columns of R."""
    (K, p), draws, dtype = means.shape, len(kept.freedom), means.dtype
    shape = (2 * K + 1, K + 1)
    noise = jax.vmap(lambda key: jax.random.normal(key, shape, dtype), out_axes=2)(keys)
    # Normal in the span of the means; of the p - K other dimensions only inner products matter, and a
    # Bartlett factor has them.
    diagonal = jnp.concatenate([jnp.zeros((K, draws), dtype), chis])[:, None]
    row, column = np.arange(-K, K + 1)[:, None], np.arange(K + 1)
    drawn = (row < 0) | ((row < column) & (row < p - K))
    noise = jnp.where(drawn[..., None], noise, jnp.where((row == column)[..., None], diagonal, 0))

    # Coordinates of the means in an orthonormal basis of their span.
    coordinates = jnp.linalg.qr(means.T, mode="r")[:, :, None]
    coordinates = jnp.concatenate([coordinates, jnp.zeros((K + 1, K, 1), dtype)])
    y = noise.at[:, :K].add(kept.lengths[None] * coordinates)
    used = jnp.concatenate([kept.lengths, kept.coordinates[K:]]) > 0
    test = jnp.broadcast_to(coordinates[:, :1], (2 * K + 1, 1, draws))
    R = triangular_factor(jnp.concatenate([test, jnp.where(used[None], y, 0)], axis=1))
    return R[:, 0], R[:, 1:]


def _in_lanes(
    eliminate: Callable[[_Band], tuple[Array, Array]], band: _Band, n_total: Array
) -> tuple[Float[Array, "k k B"], Float[Array, "k k B"]]:
    """Apply `eliminate` to the band over sqrt(N), few draws at a time where they should fit into a cache."""
    draws = band.edge.shape[-1]
    band = _Band(*(x / jnp.sqrt(n_total) for x in band))
    if jax.default_backend() != "cpu" or draws <= LANES or draws % LANES:
        return eliminate(band)
    split = _Band(*(jnp.moveaxis(x.reshape(*x.shape[:-1], -1, LANES), -2, 0) for x in band))
    X, dX = lax.map(eliminate, split)
    X, dX = (jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], draws) for x in (X, dX))
    return X, dX


def _eliminate(band: _Band, gamma: Array) -> tuple[Float[Array, "k k B"], Float[Array, "k k B"]]:
    """X_0 and X'_0: one block after the other, from the last to the first."""
    k, draws = band.diagonal.shape[1:]
    eye = jnp.broadcast_to(jnp.eye(k, dtype=band.edge.dtype)[:, :, None], (k, k, draws))

    def block(carry: tuple[Array, Array], part: _Band) -> tuple[tuple[Array, Array], None]:
        X, dX = carry
        on, off = _blocks_of_band(part)
        factor = cholesky(unstack(X))
        V = solve_lower(factor, off)
        inner = cholesky(plus_diagonal(product(transpose(V), V), 1))
        H = solve_lower(inner, transpose(on))
        U = stack(solve_upper(factor, product(V, solve_upper(inner, H))))
        # A barrier, or XLA on a CPU computes each entry of U anew for each use.
        U = lax.optimization_barrier(U)
        dX = products(U.swapaxes(0, 1), products(dX, U))
        return (stack(plus_diagonal(product(transpose(H), H), gamma)), eye + dX), None

    return lax.scan(block, (gamma * eye, eye), band, reverse=True)[0]


def _blocks_of_band(part: _Band) -> tuple[Matrix, Matrix]:
    """D_j and O_j."""
    k = len(part.diagonal)
    on: Matrix = [[part.beside[a, b] if b < a else None for b in range(k)] for a in range(k)]
    off: Matrix = [[part.beside[a, b - 1] if b > a else None for b in range(k)] for a in range(k)]
    for a in range(k):
        on[a][a], off[a][a] = part.diagonal[a], part.edge[a]
    return on, off
