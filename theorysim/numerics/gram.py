r"""Is this matrix the Gram matrix of records, and is it safe to factor? Errors that say what to do if not.

Example:
    >>> check_gram(jnp.array([[1.0, 0.5], [0.0, 1.0]]), 0.1)
    Traceback (most recent call last):
    ValueError: gram must be symmetric, got entries that differ by 0.5
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.sparse.linalg import eigsh

from theorysim.numerics.validation import floating, is_traced

__all__ = [
    "check_eigenvalues",
    "check_factor",
    "check_finite",
    "check_gram",
    "check_symmetric",
    "semidefinite",
    "square",
]

# Below this noise two equal records are an error of their own.
_TINY_NOISE = 1e-10


def check_finite(x: Array, name: str) -> None:
    """Raise ValueError if a concrete array holds NaN or an infinity.

    Example:
        >>> check_finite(jnp.array([1.0, jnp.nan]), "y")
        Traceback (most recent call last):
        ValueError: y must be finite, got nan
    """
    if is_traced(x):
        return
    entries = np.asarray(x)
    good = np.isfinite(entries)
    if not good.all():
        raise ValueError(f"{name} must be finite, got {entries[~good].flat[0]}")


def square(matrix: ArrayLike, name: str) -> Float[Array, "n n"]:
    """A square matrix of at least one row as a floating array, or ValueError.

    Example:
        >>> square(jnp.ones((1, 2)), "gram")
        Traceback (most recent call last):
        ValueError: gram must be a square matrix of at least one row, got shape (1, 2)
    """
    array = floating(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(f"{name} must be a square matrix of at least one row, got shape {array.shape}")
    return array


def check_symmetric(matrix: Array, name: str) -> None:
    """Raise ValueError unless a concrete square matrix is finite, and symmetric to 1e-9 (float32: 1e-4).

    Example:
        >>> check_symmetric(jnp.array([[1.0, 0.5], [0.0, 1.0]]), "input_gram")
        Traceback (most recent call last):
        ValueError: input_gram must be symmetric, got entries that differ by 0.5
    """
    if is_traced(matrix):
        return
    # A constant inside of somebody else's trace is checked as well.
    with jax.ensure_compile_time_eval():
        finite, asymmetry, size = (np.asarray(x) for x in _gram_errors(matrix))
    if not finite:
        check_finite(matrix, name)
    if asymmetry > (1e-9 if matrix.dtype == jnp.float64 else 1e-4) * size:
        raise ValueError(f"{name} must be symmetric, got entries that differ by {float(asymmetry):g}")


def check_eigenvalues(values: ArrayLike, name: str) -> None:
    """Raise ValueError if a concrete eigenvalue lies below -1e-8 of the largest (float32: -1e-4).

    Example:
        >>> check_eigenvalues(jnp.array([3.0, -1.0]), "gram")
        Traceback (most recent call last):
        ValueError: gram must be positive semi-definite, got an eigenvalue -1 beside a largest of 3
    """
    if is_traced(values):
        return
    entries = np.asarray(values)
    least, largest = float(entries.min()), float(entries.max())
    if least < -(1e-8 if entries.dtype == np.float64 else 1e-4) * abs(largest):
        raise ValueError(
            f"{name} must be positive semi-definite, got an eigenvalue {least:g} beside a largest of "
            f"{largest:g}"
        )


def semidefinite(matrix: ArrayLike, name: str) -> Float[Array, "n n"]:
    """A symmetric matrix without negative eigenvalues as a floating array, or ValueError.

    Example:
        >>> semidefinite(jnp.array([[1.0, 2.0], [2.0, 1.0]]), "input_gram")
        Traceback (most recent call last):
        ValueError: input_gram must be positive semi-definite, got an eigenvalue -1 beside a largest of 3
    """
    array = square(matrix, name)
    if not is_traced(array):
        check_symmetric(array, name)
        # In double, so that the slack is for what the entries say and not for finding it out.
        check_eigenvalues(np.linalg.eigvalsh(np.asarray(array, np.float64)).astype(array.dtype), name)
    return array


def check_gram(gram: Array, noise: Any) -> None:
    """Raise ValueError unless a concrete square matrix is finite, symmetric and without equal records.

    Args:
        gram: (n, n).
        noise: variance added to its diagonal; two equal records matter only if it is below 1e-10.

    Example:
        >>> check_gram(jnp.ones((3, 3)), 1e-11)
        Traceback (most recent call last):
        ValueError: noise must be at least 1e-10 where records are equal, got 1e-11 for records 0 and 1:...
    """
    if is_traced((gram, noise)):
        return
    check_symmetric(gram, "gram")
    if np.asarray(noise) < _TINY_NOISE:
        with jax.ensure_compile_time_eval():
            found, where = (np.asarray(x) for x in _equal_records(gram))
        if found:
            i, j = divmod(int(where), len(gram))
            raise ValueError(
                f"noise must be at least 1e-10 where records are equal, got {float(np.asarray(noise)):g} for "
                f"records {i} and {j}: raise noise, or remove one of them"
            )


def check_factor(cholesky: Array, gram: Array, noise: Any) -> None:
    """Raise ValueError if a concrete Cholesky factor of gram + noise failed, with the smallest eigenvalue.

    Example:
        >>> check_factor(jnp.full((1, 1), jnp.nan), jnp.array([[-1.0]]), 0.5)
        Traceback (most recent call last):
        ValueError: gram must be positive definite with noise on its diagonal, got a smallest eigenvalue of...
    """
    if is_traced(cholesky) or jnp.isfinite(jnp.diagonal(cholesky)).all():
        return
    least = _smallest_eigenvalue(gram)
    needed = 2 * abs(least) + len(gram) * float(jnp.finfo(gram.dtype).eps)
    raise ValueError(
        f"gram must be positive definite with noise on its diagonal, got a smallest eigenvalue of about "
        f"{least:.1e} at noise = {float(np.asarray(noise)):g} in {gram.dtype}: raise noise above "
        f"{needed:.1e}, or remove near-duplicates"
    )


@jax.jit
def _gram_errors(gram):
    return jnp.isfinite(gram).all(), jnp.abs(gram - gram.T).max(), jnp.abs(gram).max()


@jax.jit
def _equal_records(gram):
    """Whether two records have distance 0 in the kernel, and the first such pair."""
    size = jnp.diagonal(gram)
    scale = jnp.maximum(size[:, None], size[None])
    distance = size[:, None] + size[None] - 2 * gram
    equal = jnp.triu(distance <= 8 * jnp.finfo(gram.dtype).eps * scale, 1)
    return equal.any(), jnp.argmax(equal)


def _smallest_eigenvalue(gram):
    matrix = np.asarray(gram, np.float64)
    if len(matrix) <= 1000:
        return float(np.linalg.eigvalsh(matrix)[0])
    return float(
        eigsh(
            matrix,
            k=1,
            which="SA",
            tol=1e-3,  # pyright: ignore[reportArgumentType]
            return_eigenvectors=False,
        )[0]
    )
