r"""Neural collapse: features shrink to their class means, and these to a simplex that the readout matches.

With features about their mean, class means mu_c, S_B = sum pi_c mu_c mu_c' and S_W = M - S_B,

    NC1 = tr(S_W S_B^+)/C,                     beside it tr S_W / tr S_B, since NC1 is blind to S_W outside of
                                               the range of S_B,
    NC2 = mean |cos(mu_c, mu_c') + 1/(C-1)|,   and the relative spread of the |mu_c|,
    NC3 = | W/|W| - Mu/|Mu| |_F,               W less its mean over classes,
    NC4 = share of examples whose predicted class is not that of the nearest class mean.

V. Papyan, X. Han, D. Donoho, PNAS 2020, arXiv 2008.08186.

Example:
    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> collapsed = neural_collapse(x, jnp.array([0, 0, 1, 1]), jnp.array([[3.0, 0.0], [-3.0, 0.0]]))
    >>> print(*(f"{value:.3f}" for value in collapsed))
    0.000 0.000 0.000 0.000 0.000 0.000
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.feature_map.arguments import readout_matrix, supervision, varying_features
from theorysim.numerics.gram import check_finite
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import pseudo_inverse
from theorysim.numerics.validation import floating

__all__ = [
    "Collapse",
    "Scatter",
    "check_output_shape",
    "collapse_of",
    "collapse_of_scatter",
    "neural_collapse",
    "output_matrix",
    "scatter_of",
]


class Collapse(NamedTuple):
    """How far features and readout are from neural collapse; 0 is collapsed.

    Attributes:
        nc1: variability within classes along the class means, >= 0.
        nc2: deviation of the angles between class means from those of a simplex.
        nc2_norms: standard deviation over mean of the norms of the class means.
        nc3: distance of the readout from the class means, in [0, 2].
        nc4: disagreement of the predictions with the nearest class mean, in [0, 1].
        within_between: tr S_W / tr S_B.
    """

    nc1: Array
    nc2: Array
    nc2_norms: Array
    nc3: Array
    nc4: Array
    within_between: Array


def neural_collapse(
    features: ArrayLike,
    labels: Any,
    readout: ArrayLike,
    *,
    outputs: ArrayLike | None = None,
    classes: int | None = None,
) -> Collapse:
    """The four measures of neural collapse.

    Args:
        features: F, (n, p).
        labels: classes, (n,).
        readout: W, (C, p).
        outputs: (n, C), whose largest entry is the predicted class; F W' if not given, which knows no bias.
        classes: C, needed for traced labels (static).

    Returns:
        Collapse. Cost n p C: no p x p matrix, and no difference of close numbers near collapse. nc2 is NaN if
        a class mean is the overall mean; nc3 has no derivative at 0.

    Raises:
        ValueError: targets in place of classes, lengths that differ, or an argument that is not finite.

    Example:
        >>> x = jnp.array([[1.0, 0.5], [1.0, -0.5], [-1.0, 0.5], [-1.0, -0.5]])
        >>> print(f"{neural_collapse(x, jnp.array([0, 0, 1, 1]), jnp.eye(2)).within_between:.2f}")
        0.25
    """
    x = varying_features(features, centred=True)
    z, discrete = supervision(labels, len(x), x.dtype, classes=classes)
    if not discrete:
        raise ValueError("labels must be classes, whole numbers, got floating targets")
    w = readout_matrix(readout, x.shape[1], x.dtype)
    if len(w) != z.shape[1]:
        raise ValueError(f"readout must have a row for each of {z.shape[1]} classes, got {len(w)}")
    given = None if outputs is None else output_matrix(outputs, x, columns=len(w))
    return collapse_of(x, z, w, given)


def output_matrix(outputs: ArrayLike, x: Array, *, columns: int | None = None) -> Array:
    """Finite outputs with a row for each of features, (n, C), or ValueError.

    Example:
        >>> output_matrix(jnp.ones((2, 1)), jnp.ones((3, 5)))
        Traceback (most recent call last):
        ValueError: outputs must have shape (3, outputs), a row for each of features, got (2, 1)
    """
    o = floating(outputs).astype(x.dtype)
    check_output_shape(o.shape, len(x), columns)
    check_finite(o, "outputs")
    return o


def check_output_shape(shape: tuple[int, ...], n: int, columns: int | None) -> None:
    """Raise ValueError unless outputs have a row for each of n examples, and so many columns if given.

    Example:
        >>> check_output_shape((3, 2), 3, 4)
        Traceback (most recent call last):
        ValueError: outputs must have shape (3, 4), a row for each of features, got (3, 2)
    """
    if len(shape) != 2 or shape[0] != n or not shape[1] or columns not in (None, shape[1]):
        wanted = f"({n}, {columns or 'outputs'})"
        raise ValueError(f"outputs must have shape {wanted}, a row for each of features, got {shape}")


@jax.jit
def collapse_of(x: Array, z: Array, readout: Array, outputs: Array | None) -> Collapse:
    """Collapse of features (n, p) with one-hot classes (n, C); nothing is checked."""
    predicted = (matmul(x, readout.T) if outputs is None else outputs).argmax(1)
    x = x - x.mean(0, keepdims=True)
    counts = z.sum(0)
    means = matmul(z.T, x) / counts[:, None]
    deviations = x - matmul(z, means)
    factor = jnp.sqrt(counts / len(x))[:, None] * means
    scatter = scatter_of(
        matmul(deviations, factor.T), (deviations**2).sum(), matmul(x, means.T), predicted, means
    )
    return collapse_of_scatter(scatter, means, counts, readout)


class Scatter(NamedTuple):
    """Sums over examples; those of several blocks add up.

    Attributes:
        along: of the products of the deviations from the class mean with sqrt(pi_c) mu_c, (C, C).
        within: of the squared deviations.
        disagreeing: examples whose predicted class is not that of the nearest class mean.
    """

    along: Array
    within: Array
    disagreeing: Array


def scatter_of(along: Array, within: Array, scores: Array, predicted: Array, means: Array) -> Scatter:
    """Sums from what examples are along sqrt(pi_c) mu_c (n, C), and from their products with mu_c (n, C)."""
    nearest = (scores - (means**2).sum(1)[None] / 2).argmax(1)
    return Scatter(matmul(along.T, along), within, (nearest != predicted).sum())


def collapse_of_scatter(scatter: Scatter, means: Array, counts: Array, readout: Array) -> Collapse:
    """Collapse from sums, class means (C, p) about the overall mean, counts (C,) and readout (C, p)."""
    n, classes = counts.sum(), len(counts)
    factor = jnp.sqrt(counts / n)[:, None] * means
    between = matmul(factor, factor.T)
    inverse = pseudo_inverse(between)
    nc1 = (matmul(inverse, inverse) * scatter.along).sum() / (n * classes)

    norms = jnp.sqrt((means**2).sum(1))
    cosines = matmul(means, means.T) / (norms[:, None] * norms[None])
    off = 1 - jnp.eye(classes, dtype=means.dtype)
    nc2 = (off * jnp.abs(cosines + 1 / (classes - 1))).sum() / off.sum()

    w = readout - readout.mean(0, keepdims=True)
    nc3 = jnp.linalg.norm(w / jnp.linalg.norm(w) - means / jnp.linalg.norm(means))
    ratio = scatter.within / n / jnp.trace(between)
    nc4 = (scatter.disagreeing / n).astype(means.dtype)
    return Collapse(nc1, nc2, norms.std() / norms.mean(), nc3, nc4, ratio)
