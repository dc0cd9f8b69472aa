r"""The report of more features than examples, in two passes over blocks of features.

The first sums the Gram matrix F F'/n, which is diagonalised, and the outputs; the second takes the deviations
from the class means. There is never more of the features than a block, beside n x n matrices.

Example:
    >>> import numpy as np
    >>> from theorysim.feature_map.supplied import supplied
    >>> x = np.random.default_rng(0).normal(size=(12, 90))
    >>> data = supplied(x, np.arange(12) % 3, None, None, centred=True, classes=None, block=30)
    >>> numbers, _ = measured_by_columns(data, errors=False, participation=False)
    >>> print(numbers.eigenvalues.shape, numbers.dropped)
    (90,) 79
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from theorysim.feature_map.arguments import supervision
from theorysim.feature_map.collapse import collapse_of_scatter, scatter_of
from theorysim.feature_map.diagonal import Wide, diagonal_of_gram
from theorysim.feature_map.errors import StandardErrors, standard_errors_of
from theorysim.feature_map.metrics import FeatureMetrics, metrics_of
from theorysim.feature_map.spectrum import without_mean
from theorysim.feature_map.supplied import Supplied, part, spans, summing_dtype
from theorysim.numerics.gram import check_finite
from theorysim.numerics.products import matmul

__all__ = ["measured_by_columns"]


def measured_by_columns(
    data: Supplied, *, errors: bool, participation: bool
) -> tuple[FeatureMetrics, StandardErrors | None]:
    """Metrics and standard errors of features with p > n; the features are read once, or twice.

    Raises:
        ValueError: features or outputs that are not finite, or dependent targets.
    """
    n, p = data.features.shape
    discrete, centred = data.classes is not None, data.centred
    z, _ = supervision(data.labels, n, data.dtype, classes=data.classes, centred=centred)
    outputs = None if data.outputs is None else part(data.outputs, 0, n, data.dtype)
    if outputs is not None:
        check_finite(outputs, "outputs")
    sums, means = _summed(data, z)
    made = data.readout is None
    given = sums.about
    if made and outputs is not None:
        given = without_mean(outputs, 0) if centred else outputs
    gram = (sums.gram / n).astype(data.dtype)
    given = None if given is None else given.astype(data.dtype)
    wide = _diagonal_of_gram(gram, z, given, centred=centred, discrete=discrete, made=made)
    weights = wide.weights if made else None
    rows = None if wide.basis.readout is None else len(wide.basis.readout)
    collapse = None
    if means is not None and rows == data.classes:
        predicted = (sums.outputs if outputs is None else outputs).argmax(1)
        collapse = _collapse(data, z, means, weights, predicted)
    options = {"centred": centred, "errors": errors, "participation": participation}
    return _measured(wide, z, collapse, features=p, top=data.top, **options)


class _Sums(NamedTuple):
    """Over features: Gram matrix, outputs of the readout, and those about their mean over examples."""

    gram: Array
    outputs: Array | None
    about: Array | None


def _columns(data):
    """Blocks of features, with where they stand."""
    for start, size in spans(data.features.shape[1], data.block):
        yield part(data.features, start, size, data.dtype, axis=1), slice(start, start + size)


def _summed(data, z):
    """Sums over features, and the class means about the overall mean, (C, p), of classes."""
    total, means, dtype = None, [], summing_dtype(data.dtype)
    own = data.readout
    if own is not None and data.centred and data.classes is not None:
        own = without_mean(own, 0)
    for x, here in _columns(data):
        readouts = (None if w is None else w[:, here] for w in (data.readout, own))
        new, mean, finite = _sums(x, z, *readouts, centred=data.centred)
        # Waits for the block, so that no more than one is held.
        if not finite:
            check_finite(x, "features")
        new = jax.tree.map(lambda a: a.astype(dtype), new)
        total = new if total is None else jax.tree.map(jnp.add, total, new)
        means.append(mean)
    assert total is not None
    return total, None if data.classes is None else jnp.concatenate(means, axis=1)


@partial(jax.jit, static_argnames="centred")
def _sums(x, z, readout, own, *, centred):
    about = x - x.mean(0, keepdims=True)
    means = matmul(z.T, about) / z.sum(0)[:, None]
    about = about if centred else x
    outputs = None if readout is None else matmul(x, readout.T)
    used = None if own is None else matmul(about, own.T)
    return _Sums(matmul(about, about.T), outputs, used), means, jnp.isfinite(x).all()


def _collapse(data, z, means, weights, predicted):
    """Collapse from class means, with the readout or the weights of the examples in it."""
    counts, total, made, dtype = z.sum(0), None, [], summing_dtype(data.dtype)
    for x, here in _columns(data):
        new, part_made = _part_of_collapse(x, z, means[:, here], counts, weights, centred=data.centred)
        new = jax.tree.map(lambda a: a.astype(dtype), new)
        total = jax.block_until_ready(new if total is None else jax.tree.map(jnp.add, total, new))
        made.append(part_made)
    assert total is not None
    readout = data.readout if weights is None else jnp.concatenate(made, axis=1)
    return _collapse_of_sums(*total, predicted, means, counts, readout)


@partial(jax.jit, static_argnames="centred")
def _part_of_collapse(x, z, means, counts, weights, *, centred):
    """Over a block of features, what adds up: along sqrt(pi_c) mu_c, squares, scores; and the readout."""
    about = x - x.mean(0, keepdims=True)
    deviations = about - matmul(z, means)
    factor = jnp.sqrt(counts / len(x))[:, None] * means
    sums = matmul(deviations, factor.T), (deviations**2).sum(), matmul(about, means.T)
    return sums, None if weights is None else matmul(weights, about if centred else x)


@jax.jit
def _collapse_of_sums(along, within, scores, predicted, means, counts, readout):
    along, within, scores = (a.astype(means.dtype) for a in (along, within, scores))
    scatter = scatter_of(along, within, scores, predicted, means)
    return collapse_of_scatter(scatter, means, counts, readout)


@partial(jax.jit, static_argnames=("centred", "discrete", "made"))
def _diagonal_of_gram(gram, z, outputs, *, centred, discrete, made):
    return diagonal_of_gram(gram, z, outputs, centred=centred, discrete=discrete, made=made)


@partial(jax.jit, static_argnames=("features", "top", "centred", "errors", "participation"))
def _measured(wide: Wide, z, collapse, *, features, top, centred, errors, participation):
    numbers = metrics_of(wide.basis, collapse, features=features, top=top)
    if not errors:
        return numbers, None
    return numbers, standard_errors_of(
        wide.basis, wide.examples, z, top=top, centred=centred, participation=participation
    )
