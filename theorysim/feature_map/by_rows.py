r"""The report of no more features than examples, in two passes over blocks of examples.

The first sums the moments, about the mean of each block, and the p x p matrix is diagonalised. The second
takes the influence of each example, by a product of the centred block with a p x (3K + C) matrix, and the
deviations from the class means. There is never more of the features than a block, and sums are in float64
where JAX has it. The error of N2 takes a p x p product per block in place of the p x (3K + C) one.

Example:
    >>> from theorysim.feature_map.supplied import supplied
    >>> x = np.random.default_rng(0).normal(size=(90, 4)) * np.array([3.0, 1.0, 1.0, 1.0])
    >>> data = supplied(x, np.arange(90) % 3, None, None, centred=True, classes=None, block=30)
    >>> numbers, errors = measured_by_rows(data, errors=True, participation=False)
    >>> print(f"{numbers.dominance:.2f} +- {errors.dominance:.2f}")
    0.84 +- 0.02
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from theorysim.feature_map.arguments import check_independent
from theorysim.feature_map.collapse import Scatter, collapse_of_scatter, scatter_of
from theorysim.feature_map.diagonal import Diagonal, diagonal_of_moments
from theorysim.feature_map.errors import (
    InfluenceForms,
    Influences,
    StandardErrors,
    errors_of,
    influence_forms,
    influences,
)
from theorysim.feature_map.metrics import FeatureMetrics, metrics_of
from theorysim.feature_map.second_moments import (
    FeatureMoments,
    TargetMoments,
    merged,
    merged_targets,
    moments_of,
    target_moments,
)
from theorysim.feature_map.supplied import Supplied, part, spans, summing_dtype
from theorysim.numerics.gram import check_finite
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import pseudo_inverse

__all__ = ["measured_by_rows"]


def measured_by_rows(
    data: Supplied, *, errors: bool, participation: bool
) -> tuple[FeatureMetrics, StandardErrors | None]:
    """Metrics and standard errors of features with p <= n; the examples are read once, or twice.

    Raises:
        ValueError: features or outputs that are not finite, or dependent targets.
    """
    sums = _summed(data)
    if sums.moments.targets is not None:
        check_independent(sums.moments.targets.second_moment)
    law = _law(sums, data.readout, dtype=data.dtype, top=data.top, errors=errors, participation=participation)
    readout = law.basis.full_readout
    with_collapse = data.classes is not None and readout is not None and len(readout) == data.classes
    collapse = uncertain = None
    if errors or with_collapse:
        scatter, found = _second_pass(data, law, readout if with_collapse else None)
        if scatter is not None:
            collapse = _collapse(scatter, law.moments, readout)
        uncertain = None if found is None else _errors(found)
    return _metrics(law.basis, collapse, features=data.features.shape[1], top=data.top), uncertain


class _Sums(NamedTuple):
    """Of some examples: moments, and moments of the outputs with the squared norm of these."""

    moments: FeatureMoments
    outputs: TargetMoments | None
    size: Array | None


class _Law(NamedTuple):
    """What the second pass needs of the first."""

    basis: Diagonal
    moments: FeatureMoments
    forms: InfluenceForms | None


def _blocks(data):
    """Features, classes or targets, and outputs of the blocks, on the device."""
    for start, size in spans(len(data.features), data.block):
        x = part(data.features, start, size, data.dtype)
        z = part(data.labels, start, size, data.dtype if data.classes is None else np.int32)
        yield x, z, None if data.outputs is None else part(data.outputs, start, size, data.dtype)


def _summed(data):
    total, dtype = None, summing_dtype(data.dtype)
    for x, z, o in _blocks(data):
        made = o if data.readout is None else None
        new, finite = _sums(x, z, made, o, centred=data.centred, classes=data.classes)
        # Waits for the block, so that no more than one is held.
        if not finite:
            check_finite(x, "features")
            if o is not None:
                check_finite(o, "outputs")
        total = _cast(new, dtype) if total is None else _together(total, new)
    assert total is not None
    return total


@partial(jax.jit, static_argnames=("centred", "classes"))
def _sums(x, z, made, outputs, *, centred, classes):
    z = _one_hot(z, classes, x.dtype)
    moments = moments_of(x, z, centred=centred, discrete=classes is not None)
    finite = jnp.isfinite(x).all()
    finite = finite if outputs is None else finite & jnp.isfinite(outputs).all()
    if made is None:
        return _Sums(moments, None, None), finite
    about = x if moments.mean is None else x - moments.mean[None]
    return _Sums(moments, target_moments(about, made, centred=centred), (made**2).sum()), finite


@jax.jit
def _together(old, new):
    new = _cast(new, old.moments.count.dtype)
    moments = merged(old.moments, new.moments)
    if old.outputs is None:
        return _Sums(moments, None, None)
    outputs = merged_targets(old.outputs, new.outputs, old.moments, new.moments)
    return _Sums(moments, outputs, old.size + new.size)


@partial(jax.jit, static_argnames=("dtype", "top", "errors", "participation"))
def _law(sums, readout, *, dtype, top, errors, participation):
    outputs = sums.outputs
    if outputs is not None and outputs.mean is not None:
        # As for outputs in memory: exactly 0 if only rounding is left.
        rest = jnp.trace(outputs.second_moment) * sums.moments.count
        varying = rest > (16 * float(jnp.finfo(dtype).eps)) ** 2 * sums.size
        outputs = outputs._replace(cross=jnp.where(varying, outputs.cross, 0))
    moments, outputs = _cast((sums.moments, outputs), dtype)
    basis = diagonal_of_moments(moments, readout, outputs)
    if not errors:
        return _Law(basis, moments, None)
    if moments.targets is None:
        predictor = moments.class_means
    else:
        predictor = matmul(pseudo_inverse(moments.targets.second_moment), moments.targets.cross)
    return _Law(basis, moments, influence_forms(basis, predictor, top=top, participation=participation))


def _second_pass(data, law, readout):
    """Sums for the collapse, if a readout is given, and influences of all examples, if they are asked for."""
    scatters, found = [], []
    for x, z, o in _blocks(data):
        scatter, influence = _part_of_second_pass(
            x, z, o, law.moments, law.forms, readout, classes=data.classes
        )
        scatters.append(jax.tree.map(lambda a: np.asarray(a, np.float64), scatter))
        found.append(jax.tree.map(np.asarray, influence))
    total = None if readout is None else jax.tree.map(lambda *parts: sum(parts), *scatters)
    joined = None if law.forms is None else jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    return total, joined


@partial(jax.jit, static_argnames="classes")
def _part_of_second_pass(x, z, outputs, moments, forms, readout, *, classes):
    z, mean = _one_hot(z, classes, x.dtype), moments.mean
    scatter = influence = None
    if readout is not None:
        predicted = (matmul(x, readout.T) if outputs is None else outputs).argmax(1)
        scatter = _scatter(x, z, predicted, moments)
    if forms is not None:
        z_mean = moments.class_fractions if moments.targets is None else moments.targets.mean
        about = x if mean is None else x - mean[None]
        influence = influences(about, z if mean is None else z - z_mean[None], forms)
    return scatter, influence


def _scatter(x, z, predicted, moments):
    means, mean = _about_the_mean(moments)
    deviations = x - mean[None] - matmul(z, means)
    factor = jnp.sqrt(moments.class_fractions)[:, None] * means
    scores = matmul(x - mean[None], means.T)
    return scatter_of(matmul(deviations, factor.T), (deviations**2).sum(), scores, predicted, means)


def _about_the_mean(moments):
    """Class means about the overall mean, which collapse is about even if the moments are not."""
    if moments.mean is not None:
        return moments.class_means, moments.mean
    mean = matmul(moments.class_fractions, moments.class_means)
    return moments.class_means - mean[None], mean


@jax.jit
def _collapse(scatter, moments, readout):
    scatter = Scatter(*(jnp.asarray(each, readout.dtype) for each in scatter))
    counts = moments.class_fractions * moments.count
    return collapse_of_scatter(scatter, _about_the_mean(moments)[0], counts, readout)


@partial(jax.jit, static_argnames=("features", "top"))
def _metrics(basis, collapse, *, features, top):
    return metrics_of(basis, collapse, features=features, top=top)


@jax.jit
def _errors(found: Influences) -> StandardErrors:
    return errors_of(found)


def _one_hot(z, classes, dtype):
    return z if classes is None else jax.nn.one_hot(z, classes, dtype=dtype)


def _cast(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype), tree)
