r"""The accuracy of a training set in the isotropic model, and the ridge and the weight that are best for it.

Real data are N(+-mu, I) in dimension p, |mu| the signal. The generator knows the law of the real data up to

- nothing (`generator_samples` infinite): synthetic data are N(+-mu, I);
- the mean: overlap * mu, and an offset perpendicular to it;
- what `generator_samples` other real samples tell: it has their mean and covariance;
- what the n training samples tell (`reused`): it has the mean and covariance of those.

A ridge of infinity stands for the averaging classifier, the limit of ridge regression: with a generator that
is right it is the best of all ridges, as far as is known. Every value comes from the closed forms of
`theorysim.rmt_synthetic`.

Example:
    >>> quality = dict(label_noise=0.25, keep_right=0.9, keep_wrong=0.3)
    >>> situation = Situation(n=200, m=500, dim=150, **quality, signal=1.2)
    >>> print(f"{limit_accuracy(situation, gamma=np.inf, weight=1.0):.4f}")
    0.8594
    >>> best = best_fit(situation)
    >>> print(f"{best.accuracy:.4f} with ridge {best.gamma} and weight {best.weight:.3f}")
    0.8597 with ridge inf and weight 0.800
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.optimize import brentq
from scipy.special import ndtri

from theorysim.numerics.validation import positive_int, real
from theorysim.rmt_synthetic.exchange import averaging_accuracy, optimal_weight
from theorysim.rmt_synthetic.generator import estimated_generator_moments, reused_generator_moments
from theorysim.rmt_synthetic.isotropic import isotropic_moments
from theorysim.rmt_synthetic.score import test_accuracy

__all__ = [
    "Fit",
    "Situation",
    "averaging_weight",
    "best_fit",
    "checked_situation",
    "effective_size",
    "limit_accuracy",
    "root",
    "solved_signal",
    "zoom",
]

_RIDGES = (1e-4, 1e4)
_WEIGHTS = (1e-3, 10.0)
_SIGNAL_MAX = 37.0  # beyond it the accuracy is 1 in float64
# What a finite ridge must gain over the averaging classifier to be called better.
_TIE = 1e-7


class Situation(NamedTuple):
    """A user's numbers: sizes, labels, verifier, signal |mu| in units of the noise, and the generator."""

    n: int
    m: int
    dim: int
    label_noise: float | int | Array
    keep_right: float | int | Array
    keep_wrong: float | int | Array
    signal: float | int | Array
    generator_samples: float | int = np.inf
    reused: bool = False
    overlap: float | int = 1.0
    offset: float | int = 0.0


class Fit(NamedTuple):
    """An accuracy, and the ridge (infinite for averaging) and weight of synthetic samples that give it."""

    accuracy: float
    gamma: float
    weight: float


def checked_situation(situation: Situation) -> Situation:
    """Return the situation, or raise ValueError naming the number that cannot be.

    Raises:
        ValueError: a number out of its range, or two descriptions of the generator at once.

    Example:
        >>> checked_situation(Situation(10, 20, 5, 1.3, 1.0, 1.0, 1.0))
        Traceback (most recent call last):
        ValueError: label_noise must be in [0, 1], got 1.3
    """
    s = situation
    positive_int(s.n, "n")
    positive_int(s.m, "m")
    positive_int(s.dim, "dim", minimum=3)
    for name in ("label_noise", "keep_right", "keep_wrong"):
        real(getattr(s, name), name, low=0, high=1)
    real(s.signal, "signal", low=0, high=_SIGNAL_MAX, low_open=True)
    real(s.generator_samples, "generator_samples", low=2)
    real(s.overlap, "overlap", low_open=True, high_open=True)
    real(s.offset, "offset", low=0, high_open=True)
    mismatched = s.overlap != 1 or s.offset != 0
    if s.reused and np.isfinite(s.generator_samples):
        raise ValueError(
            f"generator_samples must be inf (not given) if the generator reuses the n real samples, "
            f"got {s.generator_samples:g}"
        )
    if mismatched and (s.reused or np.isfinite(s.generator_samples)):
        name, value = ("overlap", s.overlap) if s.overlap != 1 else ("offset", s.offset)
        raise ValueError(
            f"{name} must be {1 if name == 'overlap' else 0} (not given) if the generator is fitted to "
            f"samples: the fit decides how far its mean is off, got {value:g}"
        )
    return s


def limit_accuracy(situation: Situation, gamma: ArrayLike, weight: ArrayLike) -> Float[Array, "*batch"]:
    """Accuracy in the limit of large sizes; elementwise in the ridge, the weight and the verifier's rates.

    Args:
        situation: any, whose numbers may be traced, but for the generator's.
        gamma: ridge, > 0; infinity, as a number, for the averaging classifier.
        weight: of each kept synthetic sample, >= 0.

    Example:
        >>> situation = Situation(100, 100, 50, 0.0, 1.0, 1.0, 1.5)
        >>> twice = situation._replace(n=200, m=0)
        >>> print(f"{limit_accuracy(situation, 1.0, 1.0):.6f} {limit_accuracy(twice, 1.0, 1.0):.6f}")
        0.916724 0.916724
    """
    s = situation
    labels: dict[str, Any] = {"eps": s.label_noise, "rho": s.keep_wrong, "phi": s.keep_right}
    if isinstance(gamma, float) and gamma == np.inf:
        if not s.reused:
            law = (s.signal, s.overlap, s.offset, 1.0)
            return averaging_accuracy(
                s.n, s.m, s.dim, *law, **labels, omega=weight, n_hat=s.generator_samples
            )
        signal, noise = _averaged(s, weight)
        return test_accuracy(s.signal * signal, signal**2 + s.dim * noise / s.signal**2)
    fit: dict[str, Any] = {"gamma": gamma, "omega": weight}
    if s.reused:
        moments = reused_generator_moments(s.n, s.m, s.dim, s.signal, **labels, **fit)
    elif np.isfinite(s.generator_samples):
        sizes = (s.n, s.generator_samples, s.m, s.dim)
        moments = estimated_generator_moments(*sizes, s.signal, 1.0, **labels, **fit)
    else:
        law = (s.signal, s.overlap, s.offset, 1.0)
        moments = isotropic_moments(s.n, s.m, s.dim, *law, **labels, **fit)
    return test_accuracy(*moments)


def effective_size(situation: Situation, weight: ArrayLike) -> float:
    """How many real samples alone give the averaging classifier the same accuracy.

    For a generator that is right it is `rmt_synthetic.exchange.effective_sample_size`. In general the sum of
    the training set has the part a mu and noise of variance V per dimension, and n_eff = a^2 / V: 0 where a
    <= 0.

    Example:
        >>> situation = Situation(200, 500, 150, 0.25, 0.9, 0.3, 1.2, generator_samples=300)
        >>> print(f"{effective_size(situation, 1.0):.7f}")
        285.7142857
    """
    signal, noise = _averaged(situation, weight)
    return float(signal**2 / noise) if signal > 0 else 0.0


def averaging_weight(situation: Situation) -> float:
    """The weight that is best for the averaging classifier, whatever n.

    beta lam / (alpha + lam^2 m (1/n_hat + perp^2/p)), beta the overlap and perp the offset of the mean.
    The offset of the generator's mean does what an estimate from fewer samples would do. A generator that
    reuses the real samples has nothing to tell the averaging classifier: its weight is 0.

    Example:
        >>> situation = Situation(200, 500, 150, 0.25, 0.9, 0.3, 1.2, generator_samples=300)
        >>> print(f"{averaging_weight(situation):.7f}")
        0.4444444
    """
    s = situation
    if s.reused or s.overlap <= 0:
        return 0.0
    per_sample = 1 / s.generator_samples + s.offset**2 / s.dim
    n_hat = 1 / per_sample if per_sample else np.inf
    return float(s.overlap * optimal_weight(s.m, n_hat, s.label_noise, s.keep_wrong, s.keep_right))


def best_fit(
    situation: Situation, gamma: float | int | None = None, weight: float | int | None = None
) -> Fit:
    """The best accuracy over the ridge, the weight, or both: those that are not given.

    Args:
        situation: concrete numbers.
        gamma: the ridge, > 0 or infinite; searched in [1e-4, 1e4] and at infinity if None.
        weight: of the synthetic samples; searched in [1e-3, 10] and at 0 if None.

    Example:
        >>> far_off = Situation(200, 2000, 100, 0.1, 0.9, 0.3, 1.2, overlap=0.8, offset=1.0)
        >>> fit = best_fit(far_off)
        >>> print(f"{fit.accuracy:.4f} with ridge {fit.gamma:.2g} and weight {fit.weight:.2g}")
        0.8568 with ridge inf and weight 0.048
    """
    weights = _WEIGHTS if weight is None else None

    def search(ridges: tuple[float, float] | None, fixed: float) -> Fit:
        def value(g, w):
            g = np.asarray(g) if ridges else fixed
            return np.asarray(limit_accuracy(situation, g, w if weight is None else weight))

        top, g, w = zoom(value, ridges, weights)
        g, w = (g if ridges else fixed), (w if weights else float(weight or 0.0))
        if weights:
            # Weight 0 differs from a small one: it is not on a logarithmic grid.
            none = float(limit_accuracy(situation, g, 0.0))
            top, w = (none, 0.0) if none >= top - 1e-12 else (top, w)
        return Fit(top, g, w)

    if gamma is not None:
        return search(None, float(gamma))
    finite, average = search(_RIDGES, np.nan), search(None, np.inf)
    return finite if finite.accuracy > average.accuracy + _TIE else average


def solved_signal(n: int, dim: int, accuracy: float | int, gamma: float | int | None = None) -> float:
    """The signal at which training on n real samples alone has a given test accuracy.

    With the best ridge, averaging, z = ndtri(accuracy) = mu^2 / sqrt(mu^2 + p/n) is solved for mu by hand.

    Args:
        n: real samples, >= 1.
        dim: dimension, >= 3.
        accuracy: in (1/2, 1).
        gamma: ridge used; None for the best.

    Raises:
        ValueError: an accuracy out of its range, or one that no signal up to 37 attains.

    Example:
        >>> print(f"{solved_signal(800, 400, 0.9):.4f}")
        1.4297
    """
    real(accuracy, "real_accuracy", low=0.5, high=1, low_open=True, high_open=True)
    z2 = float(ndtri(accuracy)) ** 2
    if gamma is None or gamma == np.inf:
        found = np.sqrt((z2 + np.sqrt(z2**2 + 4 * z2 * dim / n)) / 2)
    else:

        def miss(signal):
            situation = Situation(n, 0, dim, 0.0, 1.0, 1.0, signal)
            return float(limit_accuracy(situation, float(gamma), 1.0)) - accuracy

        if miss(_SIGNAL_MAX) < 0:
            raise ValueError(f"real_accuracy must be attainable, got {accuracy} with {n} samples at {gamma=}")
        found = root(miss, 1e-9, _SIGNAL_MAX)
    return float(real(float(found), "the signal that real_accuracy implies", high=_SIGNAL_MAX))


def root(function: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-13) -> float:
    """The root of a continuous function that changes its sign between low and high (Brent's method).

    Example:
        >>> print(f"{root(lambda x: x * x - 2, 0.0, 2.0):.6f}")
        1.414214
    """
    return float(np.asarray(brentq(function, low, high, xtol=tolerance)))


def zoom(
    value: Callable, ridges: tuple[float, float] | None, weights: tuple[float, float] | None
) -> tuple[float, float, float]:
    """Maximise over ridge and weight on logarithmic grids: (value, ridge, weight).

    Six grids of 33 points an axis, the first over the whole range, each other one within 1.5 steps of the
    best point of the one before. It finds the maximum near the best point of the first grid. Points where the
    value is NaN are passed over.

    Args:
        value: called with ridges (R, 1) and weights (1, W), returns what broadcasts to (R, W). An axis that
            is not searched has the one point 1.
        ridges: range to search, both ends > 0; None for no search, which returns 1.
        weights: likewise.

    Raises:
        ValueError: a value that is NaN on a whole grid.

    Example:
        >>> top, ridge, _ = zoom(lambda g, w: -((np.log(g) - 1) ** 2), (1e-4, 1e4), None)
        >>> print(f"{ridge:.3f}")
        2.718
    """
    limits = [np.log(span) if span else np.zeros(2) for span in (ridges, weights)]
    logs = [np.linspace(low, high, 33 if low < high else 1) for low, high in limits]
    for _ in range(6):
        values = np.asarray(value(np.exp(logs[0])[:, None], np.exp(logs[1])[None]))
        values = np.broadcast_to(values, (logs[0].size, logs[1].size))
        if np.isnan(values).all():
            raise ValueError("value must be a number at some ridge and weight, got NaN at all of them")
        place = np.unravel_index(np.nanargmax(values), values.shape)
        top, best = float(values[place]), [float(line[i]) for line, i in zip(logs, place, strict=True)]
        for axis, (x, limit) in enumerate(zip(best, limits, strict=True)):
            step = 1.5 * (logs[axis][-1] - logs[axis][0]) / 32
            logs[axis] = np.linspace(max(x - step, limit[0]), min(x + step, limit[1]), logs[axis].size)
    return top, float(np.exp(best[0])), float(np.exp(best[1]))


def _averaged(s: Situation, weight: Any) -> tuple[Any, Any]:
    """The part a of mu in the sum over the training set, and the noise V per dimension."""
    right, wrong = s.keep_right * (1 - s.label_noise), s.keep_wrong * s.label_noise
    alpha, lam = right + wrong, right - wrong
    synthetic = weight * lam * s.m
    own = weight**2 * alpha * s.m
    if s.reused:
        a = s.n + synthetic
        return a, a**2 / s.n + own
    a = s.n + synthetic * s.overlap
    return a, s.n + own + synthetic**2 * (1 / s.generator_samples + s.offset**2 / s.dim)
