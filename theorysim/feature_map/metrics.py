r"""All numbers of a feature map at once, as arrays: for the inside of a training loop.

`feature_metrics` is pure: under `jit`, and under `vmap`, where it diagonalises one matrix after the other. It
takes the p x p or the n x n matrix, whichever is smaller. `feature_report` adds errors and a verdict.

Example:
    >>> key = jax.random.key(0)
    >>> labels = jnp.arange(60) % 3
    >>> x = jax.nn.one_hot(labels, 8) + 0.1 * jax.random.normal(key, (60, 8))
    >>> numbers = feature_metrics(x, labels, readout=jnp.eye(3, 8))
    >>> print(f"u(2) = {numbers.cumulative_utility[1]:.3f}, q(2) = {numbers.cumulative_quality[1]:.3f}")
    u(2) = 1.000, q(2) = 0.970
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.feature_map.arguments import readout_matrix, supervision, varying_features
from theorysim.feature_map.collapse import Collapse, collapse_of, output_matrix
from theorysim.feature_map.diagonal import Diagonal, diagonalise
from theorysim.feature_map.spectrum import cumulative, effective_numbers, leverages, share_of_target

__all__ = ["FeatureMetrics", "feature_metrics", "metrics_of"]

# How much of the outputs the features counted as used carry.
_USED = 0.9


class FeatureMetrics(NamedTuple):
    """Spectrum, quality, utility and collapse of a feature map; None where an argument it needs is missing.

    Attributes:
        eigenvalues: rho, falling, 0 for those dropped, (p,).
        quality: Q_k, (p,).
        utility: Pi_k, (p,).
        cumulative_quality: q(K), the entry K - 1 for the first K, (p,).
        cumulative_utility: u(K), (p,).
        effective_entropy: N1.
        effective_participation: N2.
        used_features: K90, the smallest K with u(K) >= 0.9; 0 if the outputs are constant.
        collapse: NC1 to NC4, for classes with a readout of as many rows.
        target_alignment: alignment of the kernel with the targets.
        gap: rho_K* / rho_{K*+1}; below 1.02 u(K*) and q(K*) are not well defined.
        dominance: share(K*) of the variance.
        effective_utility: N_u = (sum Pi)^2 / sum Pi^2.
        output_alignment: alignment of the kernel with the span of the outputs.
        dropped: eigenvalues that count as 0, of p.
    """

    eigenvalues: Float[Array, " p"]
    quality: Float[Array, " p"]
    utility: Array | None
    cumulative_quality: Float[Array, " p"]
    cumulative_utility: Array | None
    effective_entropy: Array
    effective_participation: Array
    used_features: Array | None
    collapse: Collapse | None
    target_alignment: Array
    gap: Array
    dominance: Array
    effective_utility: Array | None
    output_alignment: Array | None
    dropped: Array


def feature_metrics(
    features: ArrayLike,
    labels: Any,
    *,
    readout: ArrayLike | None = None,
    outputs: ArrayLike | None = None,
    centred: bool = True,
    classes: int | None = None,
) -> FeatureMetrics:
    """Spectrum, quality, utility and collapse of features in memory.

    Args:
        features: F, (n, p).
        labels: classes (n,), or floating targets (n,) or (n, t).
        readout: W, (C, p).
        outputs: (n, C), in place of a readout (then the part that is linear in the features counts), or
            beside it, where they only say which class is predicted.
        centred: about the mean, and modulo a vector common to all outputs of a classifier (static).
        classes: C, needed for traced labels (static).

    Returns:
        FeatureMetrics. Cost n p min(n, p) + min(n, p)^3. Sums over the first K features have exact
        derivatives unless rho_K = rho_{K+1}. u is NaN where the outputs are constant.

    Raises:
        ValueError: features that are not finite or all equal, lengths that differ, fewer than two classes, no
            fewer classes than examples.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (5, 50))  # more features than examples
        >>> numbers = feature_metrics(x, jnp.array([0, 0, 1, 1, 1]), readout=x[:2])
        >>> print(numbers.eigenvalues.shape, numbers.dropped, f"{numbers.utility.sum():.3f}")
        (50,) 46 1.000
    """
    x = varying_features(features, centred=centred)
    z, discrete = supervision(labels, len(x), x.dtype, classes=classes, centred=centred)
    w = None if readout is None else readout_matrix(readout, x.shape[1], x.dtype)
    o = None if outputs is None else output_matrix(outputs, x, columns=None if w is None else len(w))
    return _feature_metrics(x, z, w, o, centred=centred, discrete=discrete)


@partial(jax.jit, static_argnames=("centred", "discrete"))
def _feature_metrics(x, z, w, o, *, centred, discrete):
    made = o if w is None else None
    basis, _ = diagonalise(x, z, w, made, centred=centred, discrete=discrete)
    readout, collapse = basis.full_readout, None
    if discrete and readout is not None and len(readout) == z.shape[1]:
        collapse = collapse_of(x, z, readout, o)
    return metrics_of(basis, collapse, features=x.shape[1], top=z.shape[1] - (centred and discrete))


def metrics_of(basis: Diagonal, collapse: Collapse | None, *, features: int, top: int) -> FeatureMetrics:
    """The metrics of so many features from the eigenbasis; nothing is checked."""
    p = features
    rho = jnp.pad(basis.values, (0, max(p - len(basis.values), 0)))
    quality = share_of_target(basis.values, basis.factor)
    square, trace = (rho**2).sum(), rho.sum()
    utility = used = cumulated = effective = output_alignment = None
    if basis.readout is not None:
        used_values = leverages(basis.values, basis.readout)
        rank = used_values.sum()
        utility = jnp.pad(used_values, (0, p - len(basis.values)))
        cumulated = cumulative(utility, rank=jnp.where(rank > 0, rank, jnp.nan))
        reached = cumulated >= _USED
        used = jnp.where(reached.any(), reached.argmax() + 1, 0)
        effective = rank**2 / (utility**2).sum()
        output_alignment = (rho * utility).sum() / jnp.sqrt(rank * square)
    quality = jnp.pad(quality, (0, p - len(basis.values)))
    numbers = effective_numbers(rho)
    return FeatureMetrics(
        eigenvalues=rho,
        quality=quality,
        utility=utility,
        cumulative_quality=cumulative(quality),
        cumulative_utility=cumulated,
        effective_entropy=numbers.entropy,
        effective_participation=numbers.participation,
        used_features=used,
        collapse=collapse,
        target_alignment=(basis.factor**2).sum() / jnp.sqrt(top * square),
        gap=rho[top - 1] / rho[top] if top < p else jnp.full_like(trace, jnp.inf),
        dominance=rho[:top].sum() / trace,
        effective_utility=effective,
        output_alignment=output_alignment,
        dropped=basis.dropped + p - len(basis.values),
    )
