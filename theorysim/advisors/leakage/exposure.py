r"""What every record leaks: leverage and surprise, and the best attack on the output at the record.

For a Gaussian process they come from `leave_one_out`. An ensemble of networks trained by gradients has two
normal laws at each record, out ~ N(m0, v0 I) and in ~ N(m1, v1 I), v1 < v0; they are the same channel with

    h = 1 - v1/v0,        zeta = |m1 - m0|^2 / (v0 h),

so that the same formulas give its attack (for one output it is `gaussian_pair_auc`).

Example:
    >>> gram = jnp.exp(-(jnp.subtract.outer(jnp.arange(6.0), jnp.arange(6.0)) ** 2) / 8)
    >>> y = jnp.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0])[:, None]
    >>> found = exposures(Grams(gram, None), y, noise=0.1)
    >>> int(found.auc.argmax()), f"{found.auc.max():.2f}"
    (2, '0.99')
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int64

from theorysim.lood import (
    attack_auc,
    attack_tpr,
    channel_kl,
    leave_one_out,
    leave_one_out_after_removal,
    ntk_leave_one_out,
)

__all__ = ["EXPOSED", "FPR", "AucMap", "Exposure", "Grams", "auc_map", "exposures", "ranking_of"]

EXPOSED = 0.9
"""AUC above which a record counts as exposed."""
FPR = 1e-3
"""False positive rate of the attack whose true positive rate is reported."""

# Records whose attack is computed at once: an AUC holds 800 numbers for each.
_BATCH = 2048
_LEAST_BATCH = 256


class Grams(NamedTuple):
    """Kernel between the records: of the training, and of the start if that is another one."""

    trained: Float[Array, "n n"]
    start: Float[Array, "n n"] | None


class Exposure(NamedTuple):
    """What each of the n records leaks at its own input, where every attack sees most.

    Attributes:
        leverage: h in [0, 1), how far the record pulls the output to its label.
        surprise: zeta, how far its label is from what the others predict, squared, in deviations.
        kl: KL(in || out) of the output, in nats.
        auc: of the best attack that sees the output: 1/2 is a coin, 1 is certainty.
        tpr: share of members that this attack finds at 0.1 % false alarms.
        predicted: output without the record, (n, k).
    """

    leverage: Float64[np.ndarray, " n"]
    surprise: Float64[np.ndarray, " n"]
    kl: Float64[np.ndarray, " n"]
    auc: Float64[np.ndarray, " n"]
    tpr: Float64[np.ndarray, " n"]
    predicted: Float64[np.ndarray, "n k"]


class AucMap(NamedTuple):
    """AUC of the best attack over a grid of leverages (a,) and surprises (b,), (b, a)."""

    leverage: Float64[np.ndarray, " a"]
    surprise: Float64[np.ndarray, " b"]
    auc: Float64[np.ndarray, "b a"]


def exposures(
    grams: Grams,
    targets: Any,
    *,
    noise: float | int,
    without: Int64[np.ndarray, " m"] | None = None,
    block: int | None = None,
) -> Exposure:
    """Exposure of every record, from one factorisation.

    Args:
        grams: kernels between the records, (n, n).
        targets: (n, k).
        noise: s2 > 0.
        without: records that are removed first; the answer is on the others, in their order.
        block: columns of the inverse held at once.

    Raises:
        ValueError: a kernel matrix that is not positive definite with the noise, or more memory than there
            is.

    Example:
        >>> two = Grams(jnp.eye(3), None)
        >>> exposures(two, jnp.ones((3, 1)), noise=1.0, without=np.array([0])).leverage
        array([0.5, 0.5])
    """
    y = jnp.asarray(targets, grams.trained.dtype)
    try:
        law = _channel(grams, y, noise, without, block)
    except ValueError as error:
        said = str(error)
        for name in ("gram must", "ntk must"):
            said = said.replace(name, "the kernel matrix of features must", 1)
        raise ValueError(said) from None
    h, zeta, predicted = (np.asarray(x, np.float64) for x in law)
    # Rounding may leave [0, 1): at h = 1 no noise would be left.
    h = np.clip(h, 0.0, 1 - float(jnp.finfo(y.dtype).eps))
    zeta = np.maximum(zeta, 0.0)
    k = y.shape[1]
    return Exposure(
        leverage=h,
        surprise=zeta,
        kl=_in_batches(lambda h, z: channel_kl(h, z, outputs=k), h, zeta),
        auc=np.clip(_in_batches(lambda h, z: attack_auc(h, z, outputs=k), h, zeta), 0.5, 1.0),
        tpr=_in_batches(lambda h, z: attack_tpr(h, z, FPR, outputs=k), h, zeta),
        predicted=predicted,
    )


def ranking_of(exposure: Exposure) -> Int64[np.ndarray, " n"]:
    """Records from the most exposed to the least; equal AUCs by their KL.

    Example:
        >>> zero = np.zeros(3)
        >>> auc = np.array([0.6, 0.9, 0.7])
        >>> ranking_of(Exposure(zero, zero, zero, auc, zero, zero[:, None])).tolist()
        [1, 2, 0]
    """
    return np.lexsort((-exposure.kl, -exposure.auc)).astype(np.int64)


def auc_map(surprise_range: tuple[float, float], *, outputs: int = 1, points: int = 60) -> AucMap:
    """AUC of the best attack wherever a record can be.

    Args:
        surprise_range: least and largest surprise, > 0.
        outputs: k, >= 1.
        points: on each side, >= 2.

    Example:
        >>> found = auc_map((0.1, 10.0), points=3)
        >>> found.auc.shape, bool((np.diff(found.auc) >= 0).all())
        ((3, 3), True)
    """
    h, zeta = np.linspace(0.0, 0.999, points), np.geomspace(*surprise_range, points)
    grid = (np.broadcast_to(v, (points, points)).ravel() for v in (h[None], zeta[:, None]))
    auc = _in_batches(lambda h, z: attack_auc(h, z, outputs=outputs), *grid)
    return AucMap(h, zeta, auc.reshape(points, points))


def _channel(grams: Grams, y, noise, without, block):
    """Leverage, surprise and prediction of every record that is left."""
    if grams.start is None:
        if without is None:
            law = leave_one_out(grams.trained, y, noise=noise, block=block)
        else:
            law = leave_one_out_after_removal(grams.trained, y, noise=noise, members=without)
        return law.leverage, law.surprise, law.mean
    K, T = grams.start, grams.trained
    if without is not None:
        left = np.delete(np.arange(len(y)), without)
        K, T, y = K[np.ix_(left, left)], T[np.ix_(left, left)], y[left]
    pair = ntk_leave_one_out(K, T, y, noise=noise)
    h = 1 - pair.var_in / pair.var_out
    shift = ((pair.mean_in - pair.mean_out) ** 2).sum(1)
    return h, jnp.where(h > 0, shift / (pair.var_out * jnp.where(h > 0, h, 1)), 0), pair.mean_out


def _in_batches(
    measure: Callable[[Array, Array], Array], h: np.ndarray, zeta: np.ndarray
) -> Float64[np.ndarray, " n"]:
    """Apply to all records, so many at a time, the last of them filled up: one program."""
    n = len(h)
    # Sizes that differ by a few records, as after a removal, share a program.
    batch = min(_LEAST_BATCH * -(-n // _LEAST_BATCH), _BATCH)
    padded = -n % batch
    h, zeta = (np.concatenate([x, np.zeros(padded)]) for x in (h, zeta))
    parts = [
        np.asarray(measure(jnp.asarray(h[i : i + batch]), jnp.asarray(zeta[i : i + batch])), np.float64)
        for i in range(0, len(h), batch)
    ]
    return np.concatenate(parts)[:n]
