"""What ensembles of linearised networks are given: two kernels, between records and at queries.

Example:
    >>> tangent_records(jnp.eye(2), jnp.eye(3), jnp.ones(2), 0.0)
    Traceback (most recent call last):
    ValueError: ntk must have the shape of nngp, (2, 2), got (3, 3)
"""

import jax.numpy as jnp
from jaxtyping import Array

from theorysim.lood.arguments import finite
from theorysim.numerics.gp import labels
from theorysim.numerics.gram import square
from theorysim.numerics.validation import real, scalar

__all__ = ["tangent_queries", "tangent_records"]


def tangent_records(nngp, ntk, y, label_noise) -> tuple[Array, Array, Array, Array]:
    """Both kernels between records, labels and their noise in one dtype, or ValueError.

    Example:
        >>> tangent_records(jnp.eye(2), jnp.eye(2), jnp.ones(2), -1.0)
        Traceback (most recent call last):
        ValueError: label_noise must be in [0, inf), got -1
    """
    real(scalar(label_noise, "label_noise"), "label_noise", low=0, high_open=True)
    K, T = square(finite(nngp, "nngp"), "nngp"), finite(ntk, "ntk")
    if T.shape != K.shape:
        raise ValueError(f"ntk must have the shape of nngp, {K.shape}, got {T.shape}")
    dtype = jnp.result_type(K, T)
    return K.astype(dtype), T.astype(dtype), labels(y, len(K), dtype), jnp.asarray(label_noise, dtype)


def tangent_queries(nngp_cross, ntk_cross, query_gram, n: int, dtype) -> tuple[Array, Array, Array]:
    """Both kernels between queries and records, and the NNGP between queries, or ValueError.

    Example:
        >>> tangent_queries(jnp.ones((1, 2)), jnp.ones((1, 3)), jnp.ones((1, 1)), 2, jnp.float64)
        Traceback (most recent call last):
        ValueError: ntk_cross must have shape (q, 2), queries by records, got (1, 3)
    """
    crosses = []
    for name, value in (("nngp_cross", nngp_cross), ("ntk_cross", ntk_cross)):
        cross = finite(value, name)
        if cross.ndim != 2 or cross.shape[1] != n or not len(cross):
            raise ValueError(f"{name} must have shape (q, {n}), queries by records, got {cross.shape}")
        crosses.append(cross.astype(dtype))
    if crosses[0].shape != crosses[1].shape:
        raise ValueError(f"ntk_cross must have the shape of nngp_cross, got {crosses[1].shape}")
    query_gram, q = finite(query_gram, "query_gram"), len(crosses[0])
    if query_gram.shape != (q, q):
        raise ValueError(f"query_gram must have shape {(q, q)}, got {query_gram.shape}")
    return crosses[0], crosses[1], query_gram.astype(dtype)
