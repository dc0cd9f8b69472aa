r"""Should these synthetic samples be trained on? An answer from the numbers alone, by the isotropic model.

A classifier is trained on n real samples and on those of m synthetic ones that a verifier keeps. The answer
compares it with the classifier of the real samples alone, at weight 1 and at the best weight of a synthetic
sample; says what the samples are worth in real ones, how much label noise they may have, and what a better
verifier would buy. All values are limits of large sizes, from the closed forms of `theorysim.rmt_synthetic`;
the spread over training sets is sampled. The model: real data N(+-mu, I), balanced classes, linear
classifier.

Reference: A. El Firdoussi et al. (2024), arXiv 2410.08942; see docs/rmt_synthetic.md.

Example:
    >>> report = advise_from_numbers(
    ...     800, 4000, 400, label_noise=0.2, keep_right=0.9, keep_wrong=0.3, real_accuracy=0.85
    ... )
    >>> print(f"{report.real_only.accuracy:.3f} {report.yours.accuracy:.3f} {report.yours.best.accuracy:.3f}")
    0.850 0.875 0.875
    >>> print(report.verdict[0])
    Use the synthetic data as they are: accuracy 85.0 % -> 87.5 %, like 2219 more real samples.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from theorysim.advisors.synthetic_data.mixture import (
    Fit,
    Situation,
    averaging_weight,
    best_fit,
    checked_situation,
    effective_size,
    limit_accuracy,
    root,
    solved_signal,
)
from theorysim.advisors.synthetic_data.spread import exact_accuracies, paired_accuracies
from theorysim.advisors.synthetic_data.verdict import numbers_verdict
from theorysim.numerics.validation import positive_int, real
from theorysim.rmt_synthetic.exchange import break_even_noise, exchange_rate
from theorysim.rmt_synthetic.fully_synthetic import critical_noise

__all__ = ["Band", "Curve", "Report", "Slopes", "Verifier", "accuracy_curve", "advise_from_numbers"]


class Verifier(NamedTuple):
    """What training with the samples that a verifier keeps gives.

    `kept` is the fraction of synthetic samples kept, `kept_wrong` the fraction of those with a wrong label;
    `accuracy` and `gamma` are at weight 1, `best` at the best weight; `worth` and `best_worth` the real
    samples that the synthetic ones together are worth to the averaging classifier, whatever the ridge;
    negative if they hurt.
    """

    keep_right: float
    keep_wrong: float
    kept: float
    kept_wrong: float
    accuracy: float
    gamma: float
    best: Fit
    worth: float
    best_worth: float


class Slopes(NamedTuple):
    """Derivatives of the accuracy in the verifier's rates, at a fixed ridge and weight."""

    keep_right: float
    keep_wrong: float


class Band(NamedTuple):
    """Central 90 % of the accuracy over training sets; how often it is below that of the real part alone."""

    low: float
    high: float
    hurts: float


class Report(NamedTuple):
    """The answer, as fractions of 1 and numbers of samples.

    `situation` holds the numbers, the signal among them, and `gamma` the ridge asked for, None for the best
    of each training set. `yours` is the verifier given; `half_mistakes` one that makes half its mistakes,
    both ways; `oracle` keeps exactly the right labels. `slopes` and `best_slopes` are those at weight 1 and
    at the best weight. `averaging_weight` is the closed form of the best weight. `break_even_noise` is the
    label noise above which all m samples at weight 1 do harm: None if they do without any noise, 0 if they do
    with any. `first_break_even_noise` is the same for a first sample and a generator that is right,
    `critical_noise` that at which right and wrong labels are kept equally often (the last two are None if
    nothing is kept). `first_sample_worth` is in real samples, at the best weight of the averaging classifier.
    """

    situation: Situation
    gamma: float | None
    real_only: Fit
    yours: Verifier
    unpruned: Verifier
    half_mistakes: Verifier
    oracle: Verifier
    slopes: Slopes
    best_slopes: Slopes
    averaging_weight: float
    first_sample_worth: float
    break_even_noise: float | None
    first_break_even_noise: float | None
    critical_noise: float | None
    real_band: Band
    band: Band
    best_band: Band
    verdict: tuple[str, ...]


class Curve(NamedTuple):
    """Accuracies against the number of synthetic samples m (M,).

    `low` and `high` are the ends of the 90 % band at weight 1 at some of them, `band_m` (B,).
    """

    m: Float64[np.ndarray, " M"]
    unit: Float64[np.ndarray, " M"]
    best: Float64[np.ndarray, " M"]
    oracle: Float64[np.ndarray, " M"]
    band_m: Float64[np.ndarray, " B"]
    low: Float64[np.ndarray, " B"]
    high: Float64[np.ndarray, " B"]


def advise_from_numbers(
    n: int,
    m: int,
    dim: int,
    *,
    label_noise: float | int,
    keep_right: float | int,
    keep_wrong: float | int,
    signal: float | int | None = None,
    real_accuracy: float | int | None = None,
    gamma: float | int | None = None,
    generator_samples: float | int = np.inf,
    reused: bool = False,
    overlap: float | int = 1.0,
    offset: float | int = 0.0,
    draws: int = 400,
    seed: int = 0,
) -> Report:
    """Advise on m synthetic samples beside n real ones.

    Args:
        n: real samples, >= 1.
        m: synthetic samples before pruning, >= 1.
        dim: number of features, >= 3.
        label_noise: probability in [0, 1] that a synthetic label is wrong.
        keep_right: probability in [0, 1] that the verifier keeps a sample with a right label.
        keep_wrong: probability in [0, 1] that it keeps one with a wrong label.
        signal: length of the class mean in units of the noise, in (0, 37]; half the distance between the
            classes.
        real_accuracy: instead of the signal, the test accuracy in (1/2, 1) after training on the n real
            samples alone, with the ridge `gamma`; the signal is solved from it.
        gamma: ridge, > 0, in the loss (1/2N) sum omega (w'v - s)^2 + (gamma/2) |w|^2, where N = n + m counts
            pruned samples too. By default every training set has its own best ridge, as after validation;
            often that is infinite, the averaging classifier.
        generator_samples: other real samples that the generator's mean and covariance were fitted to, >= 2;
            infinite, for a generator that is right, by default.
        reused: whether the generator was fitted to the n real samples themselves.
        overlap: of the generator's class mean with the real one, in units of the latter; 1 if it is right.
        offset: length of its part orthogonal to the real one, in units of the noise, >= 0. Overlap and offset
            are for generators that are not fitted to samples.
        draws: training sets sampled for the bands, >= 20.
        seed: of those, >= 0.

    Returns:
        Report. Takes a few seconds, most of them compilation. float64 is advised.

    Raises:
        ValueError: a number out of its range; signal and real_accuracy both given, or neither.

    Example:
        >>> numbers = dict(label_noise=0.4, keep_right=1.0, keep_wrong=1.0, signal=1.2)
        >>> report = advise_from_numbers(200, 100, 100, **numbers)
        >>> print(report.verdict[0])
        Do not use them at weight 1: accuracy would fall, 84.9 % -> 84.2 %. At weight 0.2 they make no
        difference.
    """
    if (signal is None) == (real_accuracy is None):
        got = "neither" if signal is None else "both"
        raise ValueError(f"signal or real_accuracy must be given, one of them, got {got}")
    draws = positive_int(draws, "draws", minimum=20)
    positive_int(seed, "seed", minimum=0)
    if gamma is not None:
        real(gamma, "gamma", low=0, low_open=True)
    generator = (generator_samples, reused, overlap, offset)
    numbers = (n, m, dim, label_noise, keep_right, keep_wrong)
    checked_situation(Situation(*numbers, 1.0 if signal is None else signal, *generator))
    if real_accuracy is not None:
        signal = solved_signal(n, dim, real_accuracy, gamma)
    situation = Situation(*numbers, float(signal or 0), *generator)

    real_only = best_fit(situation._replace(m=0), gamma, 1.0)._replace(weight=0.0)
    yours = _verifier(situation, gamma)
    unit = Fit(yours.accuracy, yours.gamma, 1.0)
    half = situation._replace(keep_right=(1 + keep_right) / 2, keep_wrong=keep_wrong / 2)
    keeps = keep_right + keep_wrong > 0
    bands = _bands(situation, real_only, unit, yours.best, draws, seed)
    # A generator that is right in all but its mean is worth overlap^2 times what its labels say.
    rate = float(exchange_rate(label_noise, keep_wrong, keep_right)) * max(overlap, 0) ** 2
    report = Report(
        situation=situation,
        gamma=gamma,
        real_only=real_only,
        yours=yours,
        unpruned=_verifier(situation._replace(keep_right=1.0, keep_wrong=1.0), gamma),
        half_mistakes=_verifier(half, gamma),
        oracle=_verifier(situation._replace(keep_right=1.0, keep_wrong=0.0), gamma),
        slopes=_slopes(situation, unit),
        best_slopes=_slopes(situation, yours.best),
        averaging_weight=averaging_weight(situation),
        first_sample_worth=0.0 if reused else rate,
        break_even_noise=_break_even(situation, gamma, real_only.accuracy),
        first_break_even_noise=float(break_even_noise(keep_wrong, keep_right)) if keeps else None,
        critical_noise=float(critical_noise(keep_wrong, keep_right)) if keeps else None,
        real_band=bands[0],
        band=bands[1],
        best_band=bands[2],
        verdict=(),
    )
    return report._replace(verdict=numbers_verdict(report))


def accuracy_curve(report: Report, *, points: int = 33, draws: int = 200, seed: int = 1) -> Curve:
    """Accuracies as the number of synthetic samples goes from m/100 to 100 m, or from 1.

    Args:
        report: whose situation and ridge hold, but for m.
        points: numbers of synthetic samples, evenly spaced in logarithm, >= 2; every fourth has a band.
        draws: training sets for each band, >= 20.
        seed: of those, >= 0.

    Example:
        >>> numbers = dict(label_noise=0.2, keep_right=0.9, keep_wrong=0.3, signal=1.2)
        >>> curve = accuracy_curve(advise_from_numbers(200, 100, 100, **numbers), points=5)
        >>> print(curve.m.round(), curve.best.round(3))
        [1.e+00 1.e+01 1.e+02 1.e+03 1.e+04] [0.849 0.85  0.856 0.875 0.884]
    """
    positive_int(points, "points", minimum=2)
    positive_int(draws, "draws", minimum=20)
    s, gamma = report.situation, report.gamma
    grid = np.unique(np.round(np.geomspace(max(s.m / 100, 1), s.m * 100, points))).astype(np.int64)
    unit, best, oracle, band_m, low, high = ([] for _ in range(6))
    for i, m in enumerate(grid.tolist()):
        there = s._replace(m=m)
        fit = best_fit(there, gamma, 1.0)
        unit.append(fit.accuracy)
        best.append(best_fit(there, gamma).accuracy)
        oracle.append(best_fit(there._replace(keep_right=1.0, keep_wrong=0.0), gamma).accuracy)
        if i % 4 == 0 or i == len(grid) - 1:
            pairs = paired_accuracies(jax.random.key(seed), draws, there, report.real_only, fit)
            ends = np.quantile(np.asarray(pairs.both), [0.05, 0.95])
            band_m.append(m)
            low.append(ends[0])
            high.append(ends[1])
    columns = (grid, unit, best, oracle, band_m, low, high)
    return Curve(*(np.asarray(column, np.float64) for column in columns))


def _verifier(s: Situation, gamma: float | None) -> Verifier:
    right, wrong = s.keep_right * (1 - s.label_noise), s.keep_wrong * s.label_noise
    kept = float(right + wrong)
    unit, best = best_fit(s, gamma, 1.0), best_fit(s, gamma)
    return Verifier(
        keep_right=float(s.keep_right),
        keep_wrong=float(s.keep_wrong),
        kept=kept,
        kept_wrong=float(wrong) / kept if kept else 0.0,
        accuracy=unit.accuracy,
        gamma=unit.gamma,
        best=best,
        worth=effective_size(s, 1.0) - s.n,
        best_worth=effective_size(s, averaging_weight(s)) - s.n,
    )


def _slopes(s: Situation, fit: Fit) -> Slopes:
    """At the best ridge and weight their own derivatives vanish: these are total derivatives."""

    def accuracy(keep_right, keep_wrong):
        rates = {"keep_right": keep_right, "keep_wrong": keep_wrong}
        return limit_accuracy(s._replace(**rates), fit.gamma, fit.weight)

    at = (jnp.asarray(x, jnp.result_type(float)) for x in (s.keep_right, s.keep_wrong))
    return Slopes(*map(float, jax.grad(accuracy, argnums=(0, 1))(*at)))


def _break_even(s: Situation, gamma: float | None, real_accuracy: float) -> float | None:
    """Largest label noise up to which weight 1 does not fall below the real samples alone, None for none."""

    def gain(noise):
        return best_fit(s._replace(label_noise=noise), gamma, 1.0).accuracy - real_accuracy

    # A gain of rounding size is none, a loss of it neither.
    clean = gain(0.0)
    if clean < -1e-9:
        return None
    if gain(1.0) > -1e-9:
        return 1.0
    return root(gain, 0.0, 1.0, tolerance=1e-6) if clean > 1e-9 else 0.0


def _bands(s: Situation, real_only: Fit, unit: Fit, best: Fit, draws: int, seed: int) -> list[Band]:
    keys = jax.random.split(jax.random.key(seed), 3)
    at_unit = paired_accuracies(keys[0], draws, s, real_only, unit)
    at_best = paired_accuracies(keys[1], draws, s, real_only, best)
    spread = at_unit.both
    if np.isfinite(unit.gamma) and np.isinf(s.generator_samples) and not s.reused and s.dim > 4:
        spread = exact_accuracies(keys[2], draws, s, unit.gamma)
    hurts = [float((pairs.both < pairs.real_only).mean()) for pairs in (at_unit, at_best)]
    ends = [np.quantile(np.asarray(x), [0.05, 0.95]) for x in (at_unit.real_only, spread, at_best.both)]
    # At weight 0 the two classifiers are one.
    often = (0.0, hurts[0], hurts[1] if best.weight else 0.0)
    return [Band(float(low), float(high), share) for (low, high), share in zip(ends, often, strict=True)]
