"""Matrix products in the full precision of their dtype.

By default an accelerator may round the factors of a float32 product to ten bits, which costs a probability
its fourth digit, and a chain of a hundred generations more than that.

Example:
    >>> import jax.numpy as jnp
    >>> print(matmul(jnp.eye(2), jnp.array([1.0, 2.0])))
    [1. 2.]
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

__all__ = ["matmul"]


def matmul(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """`jnp.matmul` that never trades digits for speed.

    Args:
        a: matrix or vector, or a batch of them.
        b: likewise, of a matching shape.

    Returns:
        The product, in the common dtype.

    Raises:
        TypeError: shapes that do not match.

    Example:
        >>> import jax.numpy as jnp
        >>> print(matmul(jnp.ones((1, 3)), jnp.ones(3)))
        [3.]
    """
    return jnp.matmul(a, b, precision="highest")
