r"""How sharp the loss of a low-rank adapter is, and the least that any fit of the targets can be.

In units of the rates, residuals linearised about P, Q move by U <- U - T U with

    T U = (s^2/N) (lr_a Q Q' U K_in + lr_b K_out U P'P).

Its largest eigenvalue is the sharpness: gradient descent is locally stable below 2. Every P, Q that fit the
targets Y have, for all unit vectors a and b,

    sharpness >= (2 s/N) sqrt(lr_a lr_b (a.K_out a)(b.K_in b)) |a.Y b|:

stability bounds the product of the two rates, not either of them. Derived here.

Example:
    >>> eye, target = jnp.eye(2), jnp.diag(jnp.array([1.0, 0.5]))
    >>> least = minimum_sharpness(eye, eye, target, lr_a=0.1, lr_b=0.4)
    >>> factor = jnp.sqrt(target)
    >>> for c in (0.5, 0.5**0.5, 1.0):
    ...     print(f"{sharpness(c * factor, factor / c, eye, eye, lr_a=0.1, lr_b=0.4) / least:.2f}")
    1.25
    1.00
    1.25
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gram import semidefinite
from theorysim.numerics.low_rank.arguments import matrix, one_dtype, rates
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import eigh
from theorysim.numerics.validation import real

__all__ = ["minimum_sharpness", "sharpness"]

# Up to this order the eigenvalues of all of T cost less than to iterate.
_DENSE = 512
_ITERATIONS = 10_000


def sharpness(
    P: ArrayLike,
    Q: ArrayLike,
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
) -> Float[Array, ""]:
    """Largest eigenvalue of the linearised training, in units of the rates.

    Args:
        P: A X, (r, N).
        Q: W_out B, (k, r).
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar.

    Returns:
        A scalar. All eigenvalues for k N <= 512, else power iteration until the value moves by less than 8
        eps, at most 10,000 times: from below, and with fewer digits where the largest two lie close.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> print(sharpness(jnp.ones((1, 1)), jnp.zeros((1, 1)), jnp.eye(1), jnp.eye(1), lr_a=0.1, lr_b=0.3))
        0.3
    """
    K_in, K_out = semidefinite(input_gram, "input_gram"), semidefinite(output_gram, "output_gram")
    P, Q = matrix(P, "P", "(r, N)"), matrix(Q, "Q", "(k, r)")
    if P.shape[1] != len(K_in):
        raise ValueError(f"P must have {len(K_in)} columns, like input_gram, got shape {P.shape}")
    if Q.shape != (len(K_out), len(P)):
        raise ValueError(f"Q must have shape ({len(K_out)}, {len(P)}): output_gram, rows of P; got {Q.shape}")
    K_in, K_out, P, Q = one_dtype(K_in, K_out, P, Q)
    real(scale, "scale", low=0, low_open=True)
    return _sharpness(P, Q, K_in, K_out, *rates(P.dtype, lr_a=lr_a, lr_b=lr_b, scale=scale))


def minimum_sharpness(
    input_gram: ArrayLike,
    output_gram: ArrayLike,
    target: ArrayLike,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    scale: ArrayLike = 1.0,
) -> Float[Array, ""]:
    """A bound below the sharpness at every fit, from the top singular vectors of the targets.

    Attained by what is trained from a small start, if both Grams are isotropic.

    Args:
        input_gram: K_in, (N, N).
        output_gram: K_out, (k, k).
        target: Y, (k, N).
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        scale: s > 0, a scalar.

    Returns:
        A scalar. Where the largest singular values of the target repeat, a bound for one of their pairs.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> print(minimum_sharpness(jnp.eye(1), jnp.eye(1), jnp.ones((1, 1)), lr_a=0.25, lr_b=1.0))
        1.0
    """
    K_in, K_out = semidefinite(input_gram, "input_gram"), semidefinite(output_gram, "output_gram")
    Y = matrix(target, "target", "(k, N)")
    if Y.shape != (len(K_out), len(K_in)):
        raise ValueError(f"target must have shape ({len(K_out)}, {len(K_in)}), got {Y.shape}")
    K_in, K_out, Y = one_dtype(K_in, K_out, Y)
    real(scale, "scale", low=0, low_open=True)
    return _minimum_sharpness(K_in, K_out, Y, *rates(Y.dtype, lr_a=lr_a, lr_b=lr_b, scale=scale))


@jax.jit
def _sharpness(P, Q, K_in, K_out, lr_a, lr_b, scale):
    k, n = len(Q), P.shape[1]
    QQ, PP = lr_a * matmul(Q, Q.T), lr_b * matmul(P.T, P)

    factor = scale**2 / n

    def T(U, QQ, PP, K_in, K_out):
        return matmul(matmul(QQ, U), K_in) + matmul(K_out, matmul(U, PP))

    parts = QQ, PP, K_in, K_out
    still = lax.stop_gradient(parts)
    if k * n <= _DENSE:
        whole = jnp.kron(still[0], still[2]) + jnp.kron(still[3], still[1])
        top = eigh(whole)[1][:, 0].reshape(k, n)
    else:
        start = jax.random.normal(jax.random.key(0), (k, n), P.dtype)
        top = _iterated(lambda U: T(U, *still), start)
    # The eigenvalue moves as if the vector stood still.
    top = lax.stop_gradient(top)
    return factor * (top * T(top, *parts)).sum()


def _iterated(T, start):
    eps = float(jnp.finfo(start.dtype).eps)

    def unit(x):
        size = jnp.sqrt((x**2).sum())
        return x / jnp.where(size > 0, size, 1)

    def moving(state):
        _, value, old, count = state
        return (count < _ITERATIONS) & (jnp.abs(value - old) > 8 * eps * jnp.abs(value))

    def turn(state):
        x, value, _, count = state
        image = T(x)
        return unit(image), (x * image).sum(), value, count + 1

    x = unit(start)
    first = jnp.asarray(jnp.inf, start.dtype)
    return lax.while_loop(moving, turn, (x, jnp.zeros_like(first), first, 0))[0]


@jax.jit
def _minimum_sharpness(K_in, K_out, Y, lr_a, lr_b, scale):
    a, b, top = _top_pair(Y)
    gains = lr_a * lr_b * (a @ matmul(K_out, a)) * (b @ matmul(K_in, b))
    return 2 * scale / Y.shape[1] * jnp.sqrt(gains) * top


def _top_pair(Y):
    """The unit vectors a, b of the largest |a.Y b|, and that number; b = 0 for Y = 0."""
    if len(Y) > Y.shape[1]:
        b, a, top = _top_pair(Y.T)
        return a, b, top
    a = eigh(matmul(Y, Y.T))[1][:, 0]
    image = matmul(a, Y)
    square = (image**2).sum()
    top = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return a, image / jnp.where(square > 0, top, 1), top
