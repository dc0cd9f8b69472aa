r"""The leading eigenfunctions of very many features, without a p x p or an n x n matrix.

Block Krylov: with Omega random, p x b, and M applied as F'(F .)/n, the range of [Omega, M Omega, ..., M^q
Omega] holds the leading eigenvectors up to an error that falls like the Chebyshev polynomial of degree q in
the gap. Ritz pairs (theta, v) of M there satisfy

    theta_k <= rho_k,        and each theta_k is within r_k = |M v_k - theta_k v_k| of some eigenvalue;

with a gap d to the rest of the spectrum, within r_k^2/d, and v_k within an angle of sine r_k/d. C. Musco, C.
Musco (2015), arXiv 1504.05477; B. Parlett, "The Symmetric Eigenvalue Problem" (1998), chapter 11.

Example:
    >>> labels = jnp.arange(200) % 3
    >>> x = jax.random.normal(jax.random.key(0), (200, 500)).at[:, :3].add(30 * jax.nn.one_hot(labels, 3))
    >>> law = leading_features(x, labels, jnp.eye(3, 500), top=2, key=jax.random.key(1))
    >>> print(f"u(2) = {law.utility.sum() / 2:.3f}", law.residuals.max() < 1e-9)
    u(2) = 1.000 True
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.feature_map.arguments import readout_matrix, supervision, varying_features
from theorysim.feature_map.second_moments import moments_of, target_factor
from theorysim.feature_map.spectrum import share_of_target, without_mean
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import eigh, pseudo_inverse
from theorysim.numerics.validation import positive_int

__all__ = ["LeadingFeatures", "leading_features"]


class LeadingFeatures(NamedTuple):
    """The leading eigenfunctions, with how well they are resolved.

    Attributes:
        eigenvalues: theta, falling, from below, (K,).
        vectors: v in columns, (p, K).
        residuals: |M v - theta v|, (K,).
        quality: of each, (K,).
        utility: of each, (K,); its sum over the rank of the outputs is u(K). None without a readout.
        dominance: sum theta / tr M, a lower bound of share(K).
    """

    eigenvalues: Float[Array, " K"]
    vectors: Float[Array, "p K"]
    residuals: Float[Array, " K"]
    quality: Float[Array, " K"]
    utility: Array | None
    dominance: Array


def leading_features(
    features: ArrayLike,
    labels: Any,
    readout: ArrayLike | None = None,
    *,
    top: int,
    key: Array,
    iterations: int = 6,
    oversample: int = 8,
    centred: bool = True,
    classes: int | None = None,
) -> LeadingFeatures:
    """Leading eigenfunctions with their quality and utility, by random projections.

    Args:
        features: F, (n, p).
        labels: classes (n,), or floating targets (n,) or (n, t).
        readout: W, (C, p).
        top: K in [1, min(n, p)] (static).
        key: random key of the start.
        iterations: q >= 1, products with M (static). More until the residuals are small against the gap.
        oversample: b - K >= 0 (static).
        centred: about the mean (static).
        classes: C, needed for traced labels (static).

    Returns:
        LeadingFeatures. Cost 2 n p b (q + 1) + p (b q)^2, memory a copy of F and p b q. Errors: see the
        residuals. For 2,000 x 8,000 in float32 and K = 9 on two cores 0.4 s, where `feature_metrics` takes
        6.6 s. Has no derivative; under `vmap` in a large program see `symmetric`.

    Raises:
        ValueError: as for `moments`, or top out of its range.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (50, 30))
        >>> law = leading_features(x, jnp.arange(50) % 2, top=3, key=jax.random.key(1))
        >>> exact = jnp.linalg.eigvalsh(jnp.cov(x.T, bias=True))[::-1][:3]
        >>> print(jnp.abs(law.eigenvalues - exact).max() < 1e-9)
        True
    """
    x = varying_features(features, centred=centred)
    z, discrete = supervision(labels, len(x), x.dtype, classes=classes, centred=centred)
    w = None if readout is None else readout_matrix(readout, x.shape[1], x.dtype)
    smaller = min(x.shape)
    top = positive_int(top, "top", maximum=smaller)
    width = min(top + positive_int(oversample, "oversample", minimum=0), smaller)
    # A basis as wide as the smaller side holds everything.
    steps = min(positive_int(iterations, "iterations"), max(smaller // width, 1))
    return _leading_features(
        x, z, w, key, top=top, width=width, steps=steps, centred=centred, discrete=discrete
    )


@partial(jax.jit, static_argnames=("top", "width", "steps", "centred", "discrete"))
def _leading_features(x, z, readout, key, *, top, width, steps, centred, discrete):
    n, p = x.shape
    x = x - x.mean(0, keepdims=True) if centred else x

    def apply(v):
        return matmul(x.T, matmul(x, v)) / n

    block = jnp.linalg.qr(apply(jax.random.normal(key, (p, width), x.dtype)))[0]
    blocks = [block]
    for _ in range(steps):
        block = jnp.linalg.qr(apply(block))[0]
        blocks.append(block)
    Q = jnp.linalg.qr(jnp.concatenate(blocks, axis=1)[:, : min(n, p)])[0]
    small = matmul(x, Q)
    values, turn = eigh(matmul(small.T, small) / n)
    values, V = values[:top], matmul(Q, turn[:, :top])
    along = matmul(x, V)
    residuals = jnp.sqrt(((matmul(x.T, along) / n - values[None] * V) ** 2).sum(0))
    factor = target_factor(moments_of(along, z, centred=centred, discrete=discrete))
    utility = None
    if readout is not None:
        outputs = matmul(x, (without_mean(readout, 0) if centred and discrete else readout).T)
        G = matmul(along.T, outputs) / n
        shared = (G * matmul(G, pseudo_inverse(matmul(outputs.T, outputs) / n))).sum(1)
        utility = jnp.where(values > 0, shared / jnp.where(values > 0, values, 1), 0)
    dominance = values.sum() / ((x**2).sum() / n)
    return LeadingFeatures(values, V, residuals, share_of_target(values, factor), utility, dominance)
