r"""What adapters are trained on: the mean of a loss over the examples, and gradients cut to a length.

The order parameters close for every loss: the residual U of the squared error is replaced by the slopes of
the loss in the outputs, one column per example. The length of the whole gradient is

    |g_A|^2 + |g_B|^2 = (s/N)^2 (tr(Q'U K_in U'Q) + tr(P U'K_out U P')),

so that cutting it is exact, too.

Example:
    >>> def cross_entropy(f, y):
    ...     return -(y * jax.nn.log_softmax(f)).sum()
    >>> one_hot = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> value, slopes = mean_and_slopes(cross_entropy, jnp.zeros((2, 2)), one_hot)
    >>> print(f"{value:.3f}", slopes.tolist())
    0.693 [[-0.5, 0.5], [0.5, -0.5]]
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = [
    "Loss",
    "check_loss",
    "clip_share",
    "diverged",
    "mean_and_slopes",
    "mean_loss",
    "root",
    "squared_error",
]

Loss = Callable[[Any, Any], Any]

# A loss of so many times that of the start will not come back.
_DIVERGED = 1e12


def squared_error(output: Float[Array, " k"], target: Float[Array, " k"]) -> Float[Array, ""]:
    """|f - y|^2/2 of one example.

    Example:
        >>> print(squared_error(jnp.array([1.0, 2.0]), jnp.zeros(2)))
        2.5
    """
    return ((output - target) ** 2).sum() / 2


def check_loss(loss: Any, target: Array) -> None:
    """Raise ValueError unless loss(f, y) of one example is a real number.

    Example:
        >>> check_loss(lambda f, y: f - y, jnp.ones((2, 3)))
        Traceback (most recent call last):
        ValueError: loss must give a real scalar for f and y of shape (2,), got shape (2,) in float64
    """
    if not callable(loss):
        raise ValueError(f"loss must be a function of f and y, one example each, got {loss!r}")
    column = jax.ShapeDtypeStruct(target.shape[:1], target.dtype)
    try:
        out = jax.eval_shape(loss, column, column)
    except TypeError as error:
        raise ValueError(f"loss must take f and y of shape {column.shape} each, got {error}") from None
    if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.floating):
        raise ValueError(
            f"loss must give a real scalar for f and y of shape {column.shape}, got "
            + (f"shape {out.shape} in {out.dtype}" if hasattr(out, "shape") else repr(out))
        )


def mean_loss(loss: Loss, outputs: Float[Array, "k N"], target: Float[Array, "k N"]) -> Float[Array, ""]:
    """Mean over the columns.

    Example:
        >>> print(mean_loss(squared_error, jnp.ones((3, 2)), jnp.zeros((3, 2))))
        1.5
    """
    return jax.vmap(loss, (1, 1))(outputs, target).mean()


def mean_and_slopes(
    loss: Loss, outputs: Float[Array, "k N"], target: Float[Array, "k N"]
) -> tuple[Float[Array, ""], Float[Array, "k N"]]:
    """Mean over the columns, and the derivative of each column's loss in its outputs: U.

    Example:
        >>> print(mean_and_slopes(squared_error, jnp.ones((1, 2)), jnp.zeros((1, 2)))[1])
        [[1. 1.]]
    """
    values, slopes = jax.vmap(jax.value_and_grad(loss), (1, 1), (0, 1))(outputs, target)
    return values.mean(), slopes


def clip_share(square: Array, clip_norm: Array | None) -> Array | float:
    """What a gradient of this squared length is multiplied by to be no longer than `clip_norm`.

    Example:
        >>> print(clip_share(jnp.array(16.0), jnp.array(1.0)), clip_share(jnp.array(16.0), None))
        0.25 1.0
    """
    if clip_norm is None:
        return 1.0
    length = root(square)
    over = length > clip_norm
    return jnp.where(over, clip_norm / jnp.where(over, length, 1), 1)


def root(x: Array) -> Array:
    """The square root, 0 below 0, whose derivative there is 0.

    Example:
        >>> print(root(jnp.array([4.0, -1e-20])))
        [2. 0.]
    """
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def diverged(loss: Array, *references: Array) -> Array:
    """Whether a loss is NaN or beyond 1e12 times the largest of the references.

    Example:
        >>> bool(diverged(jnp.array(1e13), jnp.array(0.5), jnp.array(1.0)))
        True
    """
    sizes = jnp.stack([jnp.abs(reference) for reference in references])
    return ~(loss <= _DIVERGED * sizes.max())
