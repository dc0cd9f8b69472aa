r"""Second moments of features, of classes and of targets, for any number of examples.

All that the spectrum, the quality and the utility of a feature map depend on are

    M = F'F/n,        mu_c = mean of F over class c,        pi_c = n_c/n,

with F minus its mean in the centred case (the default); for a regression, with targets Z, the cross moment
Z'F/n and Z'Z/n stand in place of the classes. Blocks are merged about their common mean (T. Chan, G. Golub,
R. LeVeque, 1983), which loses no digits to a large mean.

Example:
    >>> features = jnp.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    >>> first = moments(features[:2], [0, 0], classes=2)
    >>> both = update(first, features[2:], [1, 1])
    >>> print(both.second_moment, both.class_means)
    [[ 1.5  -1.5 ]
     [-1.5   2.75]] [[ 1.  -1.5]
     [-1.   1.5]]
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.feature_map.arguments import check_independent, feature_matrix, supervision, varying_features
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import is_traced, positive_int

__all__ = [
    "FeatureMoments",
    "TargetMoments",
    "merged",
    "merged_targets",
    "moments",
    "moments_of",
    "target_dimension",
    "target_factor",
    "target_moments",
    "update",
]


class TargetMoments(NamedTuple):
    """Moments of the targets of a regression.

    Attributes:
        mean: what was subtracted from the targets, (t,), or None if nothing was.
        cross: Z'F/n, (t, p).
        second_moment: Z'Z/n, (t, t).
    """

    mean: Array | None
    cross: Float[Array, "t p"]
    second_moment: Float[Array, "t t"]


class FeatureMoments(NamedTuple):
    """Moments of features, with the classes or the targets that go with them.

    Attributes:
        mean: what was subtracted from the features, (p,), or None if nothing was ("uncentred").
        second_moment: M, (p, p).
        class_means: mu_c, less `mean`, (C, p); None for a regression.
        class_fractions: pi_c, (C,); None for a regression.
        count: number of examples.
        targets: moments of the targets of a regression; None for classes.
    """

    mean: Array | None
    second_moment: Float[Array, "p p"]
    class_means: Array | None
    class_fractions: Array | None
    count: Float[Array, ""]
    targets: TargetMoments | None = None


def moments(
    features: ArrayLike,
    labels: Any,
    *,
    centred: bool = True,
    classes: int | None = None,
    block: int = 4096,
    dtype: Any = None,
) -> FeatureMoments:
    """Moments of features in memory; more examples are added by `update`.

    Args:
        features: F, (n, p), n >= 2.
        labels: whole numbers (n,): classes; floating numbers (n,) or (n, t): targets of a regression.
        centred: subtract the mean over examples from the features and the targets (static).
        classes: C (static); then labels are 0 ... C - 1 and a class may wait for a later block. Without it,
            the labels that occur are coded by rank. Needed for traced labels.
        block: examples that are centred at once, >= 1 (static).
        dtype: of the sums; that of the features if not given. Sums of float32 in float32 are off by 2e-7
            (5 blocks) to 1e-6 (300 blocks) of the largest entry; float64 costs twice the time.

    Returns:
        FeatureMoments. Cost n p^2, memory p^2 and a copy of one block.

    Raises:
        ValueError: features that are not finite or all equal, lengths that differ, fewer than two classes, no
            fewer classes than examples, or linearly dependent targets.

    Example:
        >>> features = jnp.array([[2.0, 1.0], [0.0, 1.0], [1.0, 3.0], [1.0, 3.0]])
        >>> print(moments(features, jnp.array([0, 0, 1, 1])).second_moment)
        [[0.5 0. ]
         [0.  1. ]]
    """
    x = varying_features(features, centred=centred)
    x = x if dtype is None else x.astype(dtype)
    z, discrete = supervision(labels, len(x), x.dtype, classes=classes)
    result = _moments(x, z, centred=centred, discrete=discrete, block=positive_int(block, "block"))
    # Fewer examples may be the first of a stream.
    if result.targets is not None and len(x) > z.shape[1] + centred:
        check_independent(result.targets.second_moment)
    return result


def update(moments: FeatureMoments, features: ArrayLike, labels: Any) -> FeatureMoments:
    """Moments of all examples so far and of one more block, which need not hold every class.

    Args:
        moments: of the examples so far.
        features: (m, p), m >= 1, cast to the dtype of the moments.
        labels: classes 0 ... C - 1, (m,), or targets (m,) or (m, t).

    Returns:
        FeatureMoments. In any order and any split the result is the same but for rounding.

    Raises:
        ValueError: features of another width, labels out of range, or targets where there were classes.

    Example:
        >>> start = moments(jnp.array([[0.0], [1.0]]), jnp.array([0, 1]), classes=3)
        >>> print(update(start, jnp.array([[2.0]]), jnp.array([2])).class_fractions.round(3))
        [0.333 0.333 0.333]
    """
    x = feature_matrix(features, minimum=1)
    p = len(moments.second_moment)
    if x.shape[1] != p:
        raise ValueError(f"features must have {p} columns, like those before, got shape {x.shape}")
    x = x.astype(moments.second_moment.dtype)
    fractions = moments.class_fractions
    classes = None if fractions is None else len(fractions)
    z, discrete = supervision(labels, len(x), x.dtype, classes=classes)
    if not discrete and (moments.targets is None or z.shape[1] != len(moments.targets.cross)):
        raise ValueError(f"labels must be what they were before, got {z.shape[1]} targets")
    if discrete and classes is None:
        raise ValueError("labels must be floating targets, as before, got classes")
    return _updated(moments, x, z)


def target_factor(moments: FeatureMoments) -> Float[Array, "k p"]:
    """T with T'T = S_B: rows sqrt(pi_c) mu_c for classes, (Z'Z/n)^(-1/2) Z'F/n for targets.

    Example:
        >>> both = moments(jnp.array([[0.0], [1.0], [3.0]]), jnp.array([0, 0, 1]))
        >>> factor = target_factor(both)
        >>> print(f"{(factor.T @ factor)[0, 0]:.4f} of {both.second_moment[0, 0]:.4f}")
        1.3889 of 1.5556
    """
    if moments.targets is not None:
        root = jnp.linalg.cholesky(moments.targets.second_moment)
        return solve_triangular(root, moments.targets.cross, lower=True)
    assert moments.class_means is not None and moments.class_fractions is not None
    return jnp.sqrt(moments.class_fractions)[:, None] * moments.class_means


def target_dimension(moments: FeatureMoments) -> int:
    """K*, the dimension of the target space: classes less one if centred, or the number of targets.

    Raises:
        ValueError: a class without an example, or dependent targets.

    Example:
        >>> target_dimension(moments(jnp.array([[0.0], [1.0], [3.0]]), jnp.array([0, 0, 1])))
        1
    """
    if moments.targets is not None:
        check_independent(moments.targets.second_moment)
        return len(moments.targets.cross)
    fractions = moments.class_fractions
    assert fractions is not None
    if not is_traced(fractions) and not np.asarray(fractions).all():
        empty = int(np.asarray(fractions).argmin())
        raise ValueError(f"labels must hold every class, got no example of class {empty}")
    return len(fractions) - (moments.mean is not None)


@partial(jax.jit, static_argnames=("centred", "discrete", "block"))
def _moments(x, z, *, centred, discrete, block):
    full = max(len(x) // block, 1)
    size = min(block, len(x))
    first = moments_of(x[:size], z[:size], centred=centred, discrete=discrete)
    if full > 1:
        rest = (a[size : size * full].reshape(full - 1, size, -1) for a in (x, z))
        first, _ = lax.scan(lambda m, xz: (_updated(m, *xz), None), first, tuple(rest))
    return first if size * full == len(x) else _updated(first, x[size * full :], z[size * full :])


def moments_of(x: Array, z: Array, *, centred: bool, discrete: bool) -> FeatureMoments:
    """Moments of one block with one-hot classes or targets z; nothing is checked."""
    n, dtype = len(x), x.dtype
    mean = x.mean(0) if centred else None
    x = x if mean is None else x - mean[None]
    count = jnp.asarray(n, dtype)
    if not discrete:
        targets = target_moments(x, z, centred=centred)
        return FeatureMoments(mean, matmul(x.T, x) / n, None, None, count, targets)
    counts = z.sum(0)
    class_means = matmul(z.T, x) / jnp.maximum(counts, 1)[:, None]
    return FeatureMoments(mean, matmul(x.T, x) / n, class_means, counts / n, count)


def target_moments(x: Array, z: Array, *, centred: bool) -> TargetMoments:
    """Moments of targets z (n, t) with features (n, p) that are about their mean, if centred."""
    mean = z.mean(0) if centred else None
    z = z if mean is None else z - mean[None]
    return TargetMoments(mean, matmul(z.T, x) / len(x), matmul(z.T, z) / len(x))


@jax.jit
def _updated(old, x, z):
    centred, discrete = old.mean is not None, old.targets is None
    return merged(old, moments_of(x, z, centred=centred, discrete=discrete))


def merged(old: FeatureMoments, new: FeatureMoments) -> FeatureMoments:
    """Moments of two sets of examples together; nothing is checked."""
    a, b, shift = _weights(old, new)
    count = old.count + new.count
    second = a * old.second_moment + b * new.second_moment
    mean = None
    if shift is not None and old.mean is not None:
        mean = old.mean + b * shift
        second = second + a * b * jnp.outer(shift, shift)
    if old.targets is not None and new.targets is not None:
        targets = merged_targets(old.targets, new.targets, old, new)
        return FeatureMoments(mean, second, None, None, count, targets)
    fractions, means = _merged_means(old, new, a, b, shift)
    return FeatureMoments(mean, second, means, fractions, count)


def merged_targets(
    old: TargetMoments, new: TargetMoments, features: FeatureMoments, more: FeatureMoments
) -> TargetMoments:
    """Moments of targets, or of outputs, of two sets of examples, with those of their features."""
    a, b, shift = _weights(features, more)
    cross = a * old.cross + b * new.cross
    own = a * old.second_moment + b * new.second_moment
    if shift is None or old.mean is None or new.mean is None:
        return TargetMoments(None, cross, own)
    move = new.mean - old.mean
    cross, own = cross + a * b * jnp.outer(move, shift), own + a * b * jnp.outer(move, move)
    return TargetMoments(old.mean + b * move, cross, own)


def _weights(old, new):
    """The shares of two sets of examples, and the step between their means."""
    count = old.count + new.count
    shift = None if old.mean is None else new.mean - old.mean
    return old.count / count, new.count / count, shift


def _merged_means(old, new, a, b, shift):
    """Class fractions, and class means about the common mean."""
    fractions = a * old.class_fractions + b * new.class_fractions
    some = fractions > 0
    share = (b * new.class_fractions / jnp.where(some, fractions, 1))[:, None]
    before, after = old.class_means, new.class_means
    if shift is not None:
        before, after = before - b * shift[None], after + a * shift[None]
    means = (1 - share) * before + share * after
    return fractions, jnp.where(some[:, None], means, 0)
