r"""The leading directions of the features, and what linear readouts make of them, in little memory.

The rows are read in blocks. With M = F'F/n = V diag(rho) V' the p x p matrix is diagonalised, or the n x n
one, F F'/n = U diag(rho) U' and V = F'U / sqrt(n rho), whichever is smaller. In this basis the ridge readout

    W = sum_k (e_k'Z/n) sqrt(rho_k) / (rho_k + lambda) v_k',      e_k = F v_k / sqrt(rho_k),

costs nothing more for any lambda, and neither does its generalised cross-validation (G. Golub, M. Heath, G.
Wahba, 1979): mean squared residual over (1 - d/n)^2, with d = 1 + sum rho/(rho + lambda).

Example:
    >>> x = np.random.default_rng(0).normal(size=(500, 3)) * np.array([[3.0, 2.0, 1.0]])
    >>> basis = leading_basis(x, np.arange(500) % 2, classes=2, top=2)
    >>> np.abs(basis.directions).round(1)
    array([[1., 0.],
           [0., 1.],
           [0., 0.]])
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theorysim.advisors.features.problem import blocks
from theorysim.feature_map import FeatureMoments, eigenfunctions, moments, update

__all__ = ["Basis", "Probe", "leading_basis", "projected", "ridge_probe", "streamed_moments"]

# Ridges that are tried, in units of the largest eigenvalue.
_RIDGES = 10.0 ** np.linspace(-8, 1, 55)
_LEAST = 1e-12
_LEAST_SINGLE = 1e-6


class Basis(NamedTuple):
    """The features, diagonal.

    Attributes:
        mean: of the features, (p,).
        values: rho > 0, falling, (r,).
        directions: v_k of the first, (p, top), top <= r.
        coefficients: e_k'Z/n of centred one-hot classes, or of targets of variance 1, (r, C).
        weights: turns coefficients into a readout, V or, from the smaller side, (F'U / sqrt n)'; (p, r).
    """

    mean: Float[np.ndarray, " p"]
    values: Float[np.ndarray, " r"]
    directions: Float[np.ndarray, "p top"]
    coefficients: Float[np.ndarray, "r C"]
    weights: Float[np.ndarray, "p r"]


class Probe(NamedTuple):
    """A ridge readout fitted to the labels.

    Attributes:
        readout: W, (C, p).
        ridge: lambda, in units of the largest eigenvalue.
        explained: share of the variance of the labels that it explains of examples left out, by
            generalised cross-validation; negative where it explains nothing.
    """

    readout: Float[np.ndarray, "C p"]
    ridge: float
    explained: float


def streamed_moments(
    x: np.ndarray, labels: np.ndarray, *, classes: int | None, directions: np.ndarray | None = None
) -> FeatureMoments:
    """Moments of features, or of their projections, read in blocks.

    Example:
        >>> x, labels = np.arange(10000.0).reshape(5000, 2), np.arange(5000) % 2
        >>> both = streamed_moments(x, labels, classes=2, directions=np.ones((2, 1)))
        >>> int(both.count), both.second_moment.shape
        (5000, (1, 1))
    """
    found = None
    for rows in blocks(x):
        block = x[rows] if directions is None else x[rows] @ directions.astype(x.dtype)
        if found is None:
            found = moments(block, labels[rows], classes=classes)
        else:
            found = update(found, block, labels[rows])
    assert found is not None
    return found


def projected(x: np.ndarray, basis: Basis, top: int) -> Float[np.ndarray, "n top"]:
    """The first eigenfunctions over any inputs, e_k(x) = (x - mean) v_k / sqrt(rho_k).

    Example:
        >>> x = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
        >>> basis = leading_basis(x, np.array([0, 0, 1, 1]), classes=2, top=1)
        >>> projected(x, basis, 1).ravel()
        array([ 1.,  1., -1., -1.])
    """
    scale = basis.directions[:, :top] / np.sqrt(basis.values[:top])
    return np.concatenate([(x[rows] - basis.mean) @ scale for rows in blocks(x)]).astype(np.float64)


def leading_basis(x: np.ndarray, labels: np.ndarray, *, classes: int | None, top: int) -> Basis:
    """Diagonalise centred features.

    Args:
        x: features, (n, p).
        labels: ranks of classes (n,), or targets (n, t).
        classes: C; None for targets.
        top: directions that are kept, as far as there are eigenvalues above 0.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(5, 30))  # more features than examples
        >>> basis = leading_basis(x, np.array([0, 0, 0, 1, 1]), classes=2, top=2)
        >>> basis.values.shape, basis.directions.shape
        ((4,), (30, 2))
    """
    n, p = x.shape
    scale = np.ones(1) if classes else labels.std(0)
    if p <= n:
        law = streamed_moments(x, labels, classes=classes)
        values, vectors = (np.asarray(a, np.float64) for a in eigenfunctions(law)[:2])
        kept = int((values > 0).sum())
        values, weights = values[:kept], vectors[:, :kept]
        if law.targets is None:
            cross = np.asarray(law.class_means) * np.asarray(law.class_fractions)[:, None]
        else:
            cross = np.asarray(law.targets.cross) / scale[:, None]
        coefficients = (cross @ weights / np.sqrt(values)).T
        return Basis(np.asarray(law.mean), values, weights[:, :top], coefficients, weights)
    mean = x.mean(0)
    centred = x - mean
    values, left = np.linalg.eigh(centred @ centred.T / n)
    values, left = values[::-1].astype(np.float64), left[:, ::-1]
    kept = int((values > (_LEAST if x.dtype == np.float64 else _LEAST_SINGLE) * values[0]).sum())
    values, left = values[:kept], left[:, :kept]
    z = np.eye(classes)[labels] if classes else labels / scale
    weights = centred.T @ left / np.sqrt(n * values)
    return Basis(mean, values, weights[:, :top], left.T @ (z - z.mean(0)) / np.sqrt(n), weights)


def ridge_probe(basis: Basis, labels: np.ndarray, *, classes: int | None) -> Probe:
    """The ridge readout of the labels from the features, its ridge by generalised cross-validation.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(400, 5))
        >>> y = (x[:, 0] > 0).astype(int)
        >>> probe = ridge_probe(leading_basis(x, y, classes=2, top=1), y, classes=2)
        >>> abs(probe.readout[0]).argmax(), round(probe.explained, 1)
        (np.int64(0), 0.7)
    """
    n, rho, c = len(labels), basis.values, basis.coefficients
    fractions = np.bincount(labels) / n if classes else None
    total = float((fractions * (1 - fractions)).sum()) if fractions is not None else float(labels.shape[1])
    energy = (c**2).sum(1)
    kept = rho[:, None] / (rho[:, None] + _RIDGES[None] * rho[0])
    residual = np.maximum(total - (energy[:, None] * (1 - (1 - kept) ** 2)).sum(0), 0)
    degrees = 1 + kept.sum(0)
    score = np.where(degrees < n, residual / np.maximum(1 - degrees / n, _LEAST) ** 2, np.inf)
    best = int(score.argmin())
    shrunk = np.sqrt(rho) / (rho + _RIDGES[best] * rho[0])
    readout = (basis.weights * shrunk) @ c
    # Of the labels' own variance: that of leaving one out of a mean is total / (1 - 1/n)^2.
    explained = 1 - float(score[best]) * (1 - 1 / n) ** 2 / total
    return Probe(_as(readout.T), float(_RIDGES[best]), explained)


def _as(value: Any) -> np.ndarray:
    return np.ascontiguousarray(value)
