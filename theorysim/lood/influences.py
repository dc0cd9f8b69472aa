r"""The influence of a record on any prediction: first order, and exact.

Classic influence differentiates the mean in the record's weight; leaving the record out is exact:

    first order   s2 w_iq alpha_i,        exact   w_iq alpha_i / b_i,        w_q = B k(X, q),

the first being the second times 1 - h_i: influence misses a record the more, the more the record leaks. At
the record the exact change is h_i times the residual of its leave-one-out prediction. P. W. Koh, P. Liang
(2017), arXiv 1703.04730, for influence functions; the factor derived.

Example:
    >>> gram, y = jnp.eye(2), jnp.array([1.0, 3.0])
    >>> change = influence(gram, gram, y, noise=0.5)
    >>> print(change.first_order[1, 1], change.exact[1, 1])  # h = 2/3
    [0.66666667] [2.]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import finite
from theorysim.numerics.gp import factor, inverse_diagonal, labels
from theorysim.numerics.validation import floating

__all__ = ["Influence", "influence"]


class Influence(NamedTuple):
    """mean(q) - mean_-i(q): what each record adds to each prediction.

    Attributes:
        first_order: the derivative in the record's weight, (n, q, k).
        exact: the difference to the model without the record, (n, q, k).
    """

    first_order: Float[Array, "n q k"]
    exact: Float[Array, "n q k"]


def influence(gram: ArrayLike, cross: ArrayLike, y: ArrayLike, *, noise: ArrayLike) -> Influence:
    """What every record adds to the mean at every query.

    Args:
        gram: kernel between records, (n, n).
        cross: kernel between queries and records, (q, n).
        y: labels, (n, k) or (n,).
        noise: s2 > 0, a scalar.

    Returns:
        Influence, by one factorisation.

    Raises:
        ValueError: shapes that do not match, or whatever `factor` refuses.

    Example:
        >>> change = influence(jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.ones(1), noise=3.0)
        >>> print(change.first_order.item(), change.exact.item())
        0.1875 0.25
    """
    gram, cross = floating(gram), finite(cross, "cross")
    if gram.ndim != 2 or cross.ndim != 2 or cross.shape[1] != len(gram):
        raise ValueError(f"cross must have shape (q, n) for gram (n, n), got {cross.shape} for {gram.shape}")
    y = labels(y, len(gram), gram.dtype)
    return _influence(factor(gram, noise=noise), cross.astype(y.dtype), y, jnp.asarray(noise, y.dtype))


@jax.jit
def _influence(cholesky, cross, y, noise):
    w, alpha = (cho_solve((cholesky, True), x) for x in (cross.T, y))
    product = w[:, :, None] * alpha[:, None]
    return Influence(noise * product, product / inverse_diagonal(cholesky)[:, None, None])
