r"""Several records at once, by an update of rank |S|: no model is fitted anew.

For a group S of p records with B = (K + s2 I)^-1 and alpha = B Y, the law of f(S) without them is

    f(S) | D \ S ~ N(y_S - Sigma alpha_S, Sigma - s2 I),        Sigma = (B_SS)^-1.

With eigenpairs (beta_j, u_j) of B_SS the group is p independent channels (`channel`),

    h_j = 1 - s2 beta_j,        zeta_j = |u_j . alpha_S|^2 / beta_j,

and every divergence at Q = S is a sum (KL, Renyi) or a product form over them. Without S altogether,
b_i and alpha_i of the others become b_i - B_iS Sigma B_Si and alpha_i - B_iS Sigma alpha_S.

Example:
    >>> from theorysim.lood.kernels import rbf
    >>> x = jnp.linspace(0.0, 1.0, 6)[:, None]
    >>> group = group_lood(rbf()(x, x), jnp.sin(6 * x), noise=0.1, members=jnp.array([1, 4]))
    >>> print(group.leverage.round(4), f"{group.kl:.4f}")
    [0.2458 0.3362] 1.3387
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import members_of
from theorysim.lood.channel import channel_lood
from theorysim.numerics.gp import LeaveOneOut, factor, inverse_diagonal, labels
from theorysim.numerics.gram import square
from theorysim.numerics.products import matmul

__all__ = ["GroupLood", "group_lood", "leave_one_out_after_removal"]


class GroupLood(NamedTuple):
    """A group of p records as p independent channels, seen at Q = S.

    Attributes:
        leverage: h_j, (p,), increasing.
        surprise: zeta_j, summed over the outputs, (p,).
        kl: KL(in || out) of the whole group.
        kl_reverse: KL(out || in).
    """

    leverage: Float[Array, " p"]
    surprise: Float[Array, " p"]
    kl: Float[Array, ""]
    kl_reverse: Float[Array, ""]


def group_lood(gram: ArrayLike, y: ArrayLike, *, noise: ArrayLike, members: Any) -> GroupLood:
    """What training on a group of records shows at these records, all queried at once.

    Args:
        gram: kernel between records, (n, n).
        y: labels, (n, k) or (n,).
        noise: s2 > 0, a scalar.
        members: the records of S, (p,), p < n; may be traced, and is then not checked.

    Returns:
        GroupLood; `attack_auc(leverage, surprise, group=True)` is the AUC of the attack on the group. Cost
        n^3/3 + p n^2.

    Raises:
        ValueError: members empty, repeated or outside the data, shapes that do not match, or whatever
            `factor` refuses.

    Example:
        >>> one = group_lood(jnp.eye(2), jnp.array([1.0, 3.0]), noise=0.5, members=jnp.array([1]))
        >>> print(one.leverage, one.surprise)
        [0.66666667] [6.]
    """
    cholesky, y, members = _checked(gram, y, noise, members)
    return _group(cholesky, y, jnp.asarray(noise, y.dtype), members)


def leave_one_out_after_removal(
    gram: ArrayLike, y: ArrayLike, *, noise: ArrayLike, members: Any
) -> LeaveOneOut:
    """`leave_one_out` of the records that remain when a group is removed, without a new factorisation.

    Args:
        gram: kernel between records, (n, n).
        y: labels, (n, k) or (n,).
        noise: s2 > 0, a scalar.
        members: the removed records, (p,), p < n.

    Returns:
        LeaveOneOut of the n - p others, in their order.

    Raises:
        ValueError: as of `group_lood`.

    Example:
        >>> y = jnp.array([1.0, 3.0, 5.0])
        >>> print(leave_one_out_after_removal(jnp.eye(3), y, noise=0.5, members=jnp.array([1])).surprise)
        [ 0.66666667 16.66666667]
    """
    cholesky, y, members = _checked(gram, y, noise, members)
    # Positions only: n is known, and so is how many are left.
    left = jnp.nonzero(jnp.ones(len(y), bool).at[members].set(False), size=len(y) - len(members))[0]
    # Outside of the one program, which would hold all of its blocks at once.
    b = inverse_diagonal(cholesky)
    return _after_removal(cholesky, b, y, jnp.asarray(noise, y.dtype), members, left)


@jax.jit
def _group(cholesky, y, noise, members):
    columns, alpha = _solved(cholesky, y, members)
    block = columns[members]
    beta, u = jnp.linalg.eigh((block + block.T) / 2)
    # The largest beta are those of the smallest leverage.
    beta, u = beta[::-1], u[:, ::-1]
    h = 1 - noise * beta
    zeta = (matmul(u.T, alpha[members]) ** 2).sum(1) / beta
    parts = channel_lood(h, zeta, outputs=y.shape[1])
    return GroupLood(h, zeta, parts.kl.sum(), parts.kl_reverse.sum())


@jax.jit
def _after_removal(cholesky, b, y, noise, members, left):
    columns, alpha = _solved(cholesky, y, members)
    block = jnp.linalg.cholesky(columns[members])
    # Sigma B_Si and Sigma alpha_S.
    moved = cho_solve((block, True), columns.T)
    # Only then divide: b is 0 at the members.
    b = (b - (columns.T * moved).sum(0))[left]
    residual = (alpha - matmul(moved.T, alpha[members]))[left] / b[:, None]
    return LeaveOneOut(y[left] - residual, 1 / b - noise, 1 - noise * b, (residual**2).sum(1) * b, residual)


def _solved(cholesky, y, members):
    """The members' columns of B, and alpha."""
    unit = jax.nn.one_hot(members, len(y), dtype=y.dtype).T
    return cho_solve((cholesky, True), unit), cho_solve((cholesky, True), y)


def _checked(gram, y, noise, members):
    gram = square(gram, "gram")
    n = len(gram)
    members = members_of(members, n)
    y = labels(y, n, gram.dtype)
    return factor(gram, noise=noise), y, members
