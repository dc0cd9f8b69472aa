r"""Constants beside the exponents: sharpness at the start, the largest single rate, floors of one factor.

One rate for both factors converges up to the smaller of

    4 / (sharpness at the start, per unit of the rate),
    N / (s sqrt((a.K_out a)(b.K_in b)) |a.Y b|), from the end; a, b the top singular vectors of Y:

4 and not 2, because between the two the loss rises first and then falls into a flatter minimum (exact for one
example, output and rank). While the factor that started at random stands still,
the loss cannot pass |Y - Q0 Q0^+ Y|^2/|Y|^2 (A = 0), |Y - Y P0^+ P0|^2/|Y|^2 (B = 0). Derived here.

Example:
    >>> one = jnp.ones((1, 1))
    >>> for n in (10**2, 10**4):  # A = 0: 1/n;  B = 0: 1/sqrt(n)
    ...     a_zero = largest_rate(n * one, one, one, 0 * one, one).rate
    ...     b_zero = largest_rate(n * one, one, one, one, 0 * one).rate
    ...     print(f"{a_zero:.4f} {b_zero:.2f}")
    0.0400 0.10
    0.0004 0.01
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gram import semidefinite
from theorysim.numerics.low_rank import minimum_sharpness, sharpness
from theorysim.numerics.low_rank.arguments import one_dtype, start_and_target
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, floating, is_traced, positive_int, real, scalar

__all__ = ["FloorLaw", "LargestRate", "frozen_floor", "frozen_floor_law", "initial_sharpness", "largest_rate"]


class LargestRate(NamedTuple):
    """Limits of a single rate.

    Attributes:
        start: by the sharpness at the start.
        end: by the least sharpness of a fit.
        rate: the smaller.
    """

    start: Float[Array, ""]
    end: Float[Array, ""]
    rate: Float[Array, ""]


class FloorLaw(NamedTuple):
    """Beta law of the floor for a Gaussian factor and a target of rank 1.

    Attributes:
        mean: 1 - r/dim.
        variance: of the floor.
        alpha: (dim - r)/2; 0 where the floor is 0.
        beta: r/2.
    """

    mean: float
    variance: float
    alpha: float
    beta: float


def initial_sharpness(
    P0: ArrayLike,
    Q0: ArrayLike,
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
) -> Float[Array, ""]:
    """The sharpness at a start that can train: see `sharpness`.

    Args:
        P0: A X, (r, N).
        Q0: W_out B, (k, r).
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar.

    Returns:
        A scalar.

    Raises:
        ValueError: as `sharpness`, and where both factors are zero.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(initial_sharpness(one, 0 * one, one, one, lr_a=0.1, lr_b=0.5))
        0.5
    """
    _check_start(P0, Q0)
    return sharpness(P0, Q0, input_gram, output_gram, lr_a=lr_a, lr_b=lr_b, scale=scale)


def largest_rate(
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    target: ArrayLike,
    P0: ArrayLike,
    Q0: ArrayLike,
    *,
    scale: ArrayLike = 1.0,
    catapult: bool = True,
) -> LargestRate:
    """The largest single rate at which gradient descent converges, by its two limits.

    Args:
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        target: Y, (k, N).
        P0: A X at the start, (r, N).
        Q0: W_out B at the start, (k, r).
        scale: s > 0, a scalar.
        catapult: whether a sharpness at the start up to 4 is allowed, which is exact for N = k = r = 1 and an
            estimate beyond; else 2 (static).

    Returns:
        LargestRate.

    Raises:
        ValueError: an argument out of its range, shapes that do not match, or both factors zero.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(*largest_rate(100 * one, one, one, one, 0 * one))
        4.0 0.1 0.1
    """
    _check_start(P0, Q0)
    K_in, K_out = semidefinite(input_gram, "input_gram"), semidefinite(output_gram, "output_gram")
    Y, P, Q = start_and_target(target, P0, Q0, inputs=len(K_in), outputs=len(K_out))
    real(scalar(scale, "scale"), "scale", low=0, low_open=True, high_open=True)
    arrays = one_dtype(K_in, K_out, Y, P, Q)
    return _largest_rate(*arrays, scale=jnp.asarray(scale, arrays[0].dtype), edge=4 if catapult else 2)


@partial(jax.jit, static_argnames="edge")
def _largest_rate(K_in, K_out, Y, P, Q, *, scale, edge):
    unit = {"lr_a": 1.0, "lr_b": 1.0, "scale": scale}
    start = edge / sharpness(P, Q, K_in, K_out, **unit)
    end = 2 / minimum_sharpness(K_in, K_out, Y, **unit)
    return LargestRate(start, end, jnp.minimum(start, end))


def frozen_floor(
    target: ArrayLike, P0: ArrayLike, Q0: ArrayLike, *, init: Literal["a", "b"]
) -> Float[Array, ""]:
    """Least loss, as a part of that of a zero output, while the random factor stands still.

    Args:
        target: Y, (k, N), not 0.
        P0: A X at the start, (r, N); used for init "a".
        Q0: W_out B at the start, (k, r); used for init "b".
        init: "a": A is random and frozen, B trains; "b": the reverse (static).

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: an unknown init, shapes that do not match, a target or a random factor of 0.

    Example:
        >>> Q0 = jnp.array([[1.0], [0.0]])
        >>> print(frozen_floor(jnp.array([[3.0], [4.0]]), jnp.zeros((1, 1)), Q0, init="b"))
        0.64
    """
    Y, P, Q = floating(target), floating(P0), floating(Q0)
    if Y.ndim != 2:
        raise ValueError(f"target must have shape (k, N), got {Y.shape}")
    if P.ndim != 2 or P.shape[1] != Y.shape[1]:
        raise ValueError(f"P0 must have shape (r, {Y.shape[1]}), got {P.shape}")
    if Q.shape != (len(Y), len(P)):
        raise ValueError(f"Q0 must have shape ({len(Y)}, {len(P)}), got {Q.shape}")
    frozen, name = (P.T, "P0") if choice(init, "init", ("a", "b")) == "a" else (Q, "Q0")
    for label, value in (("target", Y), (name, frozen)):
        if not is_traced(value) and not (np.isfinite(value).all() and np.any(value)):
            raise ValueError(
                f"{label} must be finite and not 0, got an array of norm {jnp.linalg.norm(value):g}"
            )
    dtype = jnp.result_type(Y, P, Q)
    return _floor((Y.T if init == "a" else Y).astype(dtype), frozen.astype(dtype))


def frozen_floor_law(rank: int, dim: int) -> FloorLaw:
    """Law of the floor over Gaussian factors, for a target of rank 1 and an isotropic Gram.

    Args:
        rank: r >= 1.
        dim: outputs k where A starts at zero, examples N where B does; >= r.

    Returns:
        FloorLaw; for a target of any rank the mean is the same.

    Raises:
        ValueError: rank beyond dim, or below 1.

    Example:
        >>> frozen_floor_law(3, 16).mean
        0.8125
    """
    dim = positive_int(dim, "dim")
    rank = positive_int(rank, "rank", maximum=dim)
    alpha, beta = (dim - rank) / 2, rank / 2
    total = alpha + beta
    return FloorLaw(alpha / total, alpha * beta / (total**2 * (total + 1)), alpha, beta)


def _check_start(P0, Q0):
    if not is_traced((P0, Q0)) and not np.any(P0) and not np.any(Q0):
        raise ValueError("P0 and Q0 are both 0: the gradient of both factors vanishes, and nothing trains")


@jax.jit
def _floor(Y, frozen):
    """|Y - F F^+ Y|^2/|Y|^2."""
    rest = Y - matmul(frozen, matmul(jnp.linalg.pinv(frozen), Y))
    return (rest**2).sum() / (Y**2).sum()
