"""Verdicts on claims: `confirmed`, `refuted`, or `undecided` when the data could not have told.

A claim is judged from measurements with standard errors σ. The critical value z is two-sided at the
family-wise `level` over all comparisons that carry noise (Šidák), so a true claim is refuted with a
probability of at most 1 - level. A claim is confirmed only if a deviation of `resolution` would have been
found with a probability of 90 %:

    refuted      |measured - predicted| > bias + z σ                      at any point, else
    confirmed    (z + z_0.9) σ <= resolution                              at every point, else
    undecided

The standard errors are taken as known; where they come from few samples, say so by `degrees_of_freedom`
(samples - 1). NaN and empty input leave a claim undecided.

Example:
    >>> within([0.501, 0.498], 0.5, [0.002, 0.002], resolution=0.01)._asdict()["status"]
    'confirmed'
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats as _distributions

from theorysim.numerics.stats._arrays import Floats, Numbers, broadcast, non_negative
from theorysim.numerics.stats.estimates import critical_value, z_scores
from theorysim.numerics.validation import positive_int, real

__all__ = ["Status", "Verdict", "all_of", "bounded", "fraction_inside", "ordered", "within"]

Status = Literal["confirmed", "refuted", "undecided"]

_POWER = 0.9
# Relative rounding of float64 sums: two numbers this close are equal, even with no error to compare with.
_ROUNDING = 1e-13


class Verdict(NamedTuple):
    """The judgement of one claim, with the numbers of its worst comparison.

    `predicted` is the bound itself for a one-sided claim. Numbers are NaN where none applies.
    """

    status: Status
    measured: float
    predicted: float
    standard_error: float
    detail: str


def within(
    measured: Numbers,
    predicted: Numbers,
    standard_error: Numbers,
    *,
    resolution: Numbers,
    bias: Numbers = 0.0,
    level: float = 0.99,
    degrees_of_freedom: float | int = math.inf,
) -> Verdict:
    """Judge the claim that measured equals predicted at every point.

    Args:
        measured: estimates, any shape.
        predicted: what the theory says, broadcast against `measured`.
        standard_error: of `measured` (add the theory's own in quadrature if it has one), >= 0. Zero means a
            deterministic comparison: anything beyond `bias` and rounding (1e-13 relative) refutes.
        resolution: absolute deviation beyond `bias` that has to be detectable for `confirmed`, > 0.
        bias: absolute deviation that the claim permits (a finite-size or discretisation error), >= 0.
        level: family-wise probability in (0, 1) that a true claim is not refuted.
        degrees_of_freedom: of the standard errors, if they rest on few samples.

    Example:
        >>> within(1.3, 1.0, 0.05, resolution=0.2)
        Verdict(status='refuted', measured=1.3, predicted=1.0, standard_error=0.05, detail='1 comparison; \
largest deviation 6.0 standard errors, 2.58 allowed')
    """
    m, p, se, resolve, bias = _comparable(
        measured=measured,
        predicted=predicted,
        standard_error=standard_error,
        resolution=resolution,
        bias=bias,
    )
    real(resolve, "resolution", low=0.0, low_open=True)
    real(bias, "bias", low=0.0)
    non_negative(se, "standard_error")
    z = _family_critical_value(se, level, degrees_of_freedom)
    if (void := _undecidable(m, p, se)) is not None:
        return void
    deviation = np.abs(m - p)
    allowed = bias + z * se + _ROUNDING * np.maximum(np.abs(m), np.abs(p))
    worst = _worst(_ratio(deviation, allowed))
    needed = (z + float(_distributions.t.ppf(_POWER, degrees_of_freedom))) * se
    count = _comparisons(m.size)
    if np.any(deviation > allowed):
        status = "refuted"
    elif np.all(needed <= resolve):
        status = "confirmed"
    else:
        blurred = _worst(needed / resolve)
        detail = (
            f"{count}; no significant deviation, but only one above {needed.flat[blurred]:.3g} "
            f"was detectable, {resolve.flat[blurred]:.3g} required"
        )
        return _verdict("undecided", m, p, se, blurred, detail)
    score = _ratio(deviation, se).flat[worst]
    size = (
        f"{score:.1f} standard errors, {z:.2f} allowed"
        if math.isfinite(score)
        else f"{deviation.flat[worst]:.3g} without a standard error"
    )
    margin = f" beside a bias of {bias.flat[worst]:.3g}" if bias.flat[worst] > 0 else ""
    return _verdict(status, m, p, se, worst, f"{count}; largest deviation {size}{margin}")


def bounded(
    measured: Numbers,
    standard_error: Numbers,
    *,
    lower: Numbers | None = None,
    upper: Numbers | None = None,
    resolution: Numbers = 0.0,
    level: float = 0.99,
    degrees_of_freedom: float | int = math.inf,
) -> Verdict:
    """Judge the claim that lower <= truth <= upper at every point.

    Refuted if any point lies significantly outside a bound; confirmed if every point lies inside by more than
    z·standard_error; undecided between. A bound that is attained cannot be confirmed that way: give the
    `resolution`, the violation that does not matter, and it is enough to exclude a larger one.

    Args:
        measured: estimates, any shape.
        standard_error: of `measured`, >= 0.
        lower: lower bound, broadcast against `measured`; None for none.
        upper: upper bound, likewise.
        resolution: absolute violation that has to be excluded for `confirmed`, >= 0.
        level: family-wise probability in (0, 1) that a true claim is not refuted.
        degrees_of_freedom: of the standard errors, if they rest on few samples.

    Example:
        >>> bounded([1.0, 2.0], [0.1, 0.1], lower=0.5).status
        'confirmed'
        >>> bounded([1.0, 2.0], [0.1, 0.1], lower=1.1).status
        'undecided'
    """
    if lower is None and upper is None:
        raise ValueError("lower or upper must be given, got neither")
    m, se, low, high, resolve = _comparable(
        measured=measured,
        standard_error=standard_error,
        lower=-math.inf if lower is None else lower,
        upper=math.inf if upper is None else upper,
        resolution=resolution,
    )
    real(resolve, "resolution", low=0.0)
    non_negative(se, "standard_error")
    if np.any(low > high):
        raise ValueError(f"lower must be at most upper, got {low[low > high][0]:g} > {high[low > high][0]:g}")
    if (void := _undecidable(m, low, high, se)) is not None:
        return void
    # One comparison per bound: a point has a margin to each, negative where the bound is violated.
    sides = [
        (name, bound, sign)
        for name, argument, bound, sign in (("lower", lower, low, 1.0), ("upper", upper, high, -1.0))
        if argument is not None
    ]
    margin = np.stack([sign * (m - bound) for _, bound, sign in sides])
    bound = np.stack([bound for _, bound, _ in sides])
    m, se, resolve = (np.broadcast_to(array, margin.shape) for array in (m, se, resolve))
    rounding = _ROUNDING * np.maximum(np.abs(m), np.where(np.isfinite(bound), np.abs(bound), 0.0))
    margin = np.where(np.abs(margin) <= rounding, 0.0, margin)
    z = _family_critical_value(se, level, degrees_of_freedom)
    worst = _worst(-_ratio(margin, se))
    if np.any(margin + z * se < 0):
        status = "refuted"
    elif np.all(margin + resolve >= z * se):
        status = "confirmed"
    else:
        status = "undecided"
        worst = _worst(-_ratio(margin + resolve, se))
    side = sides[worst // m[0].size][0]
    detail = (
        f"{_comparisons(m.size)}; tightest {abs(margin.flat[worst]):.3g} "
        f"{'inside' if margin.flat[worst] >= 0 else 'outside'} the {side} bound, "
        f"{z * se.flat[worst]:.3g} is significant"
    )
    return _verdict(status, m, bound, se, worst, detail)


def ordered(
    measured: Numbers,
    standard_error: Numbers,
    *,
    increasing: bool = True,
    resolution: Numbers = 0.0,
    level: float = 0.99,
    degrees_of_freedom: float | int = math.inf,
) -> Verdict:
    """Judge the claim that the last axis is increasing (or decreasing), by its adjacent differences.

    The errors of neighbours add in quadrature, as for independent estimates; for positively correlated ones
    (the same runs seen at successive times) this is conservative.

    Args:
        measured: estimates (..., k), k >= 2; leading axes are separate sequences under one verdict.
        standard_error: of `measured`, >= 0.
        increasing: False for a decreasing sequence.
        resolution: a step the wrong way that does not matter, >= 0; without it a plateau stays undecided.
        level: family-wise probability in (0, 1) that a true claim is not refuted.
        degrees_of_freedom: of the standard errors, if they rest on few samples.

    Returns:
        Verdict whose `measured` is the worst difference, later minus earlier, and `predicted` the bound 0.

    Example:
        >>> ordered([1.0, 2.0, 3.0], 0.1).status, ordered([1.0, 2.0, 3.0], 0.1, increasing=False).status
        ('confirmed', 'refuted')
    """
    m, se = broadcast(measured=measured, standard_error=standard_error)
    non_negative(se, "standard_error")
    if m.ndim == 0:
        raise ValueError("measured must have at least one axis, got a scalar")
    step = np.diff(m, axis=-1)
    # Two equal numbers may differ by the rounding of their own size, not of their difference.
    step[np.abs(step) <= _ROUNDING * np.maximum(np.abs(m[..., 1:]), np.abs(m[..., :-1]))] = 0.0
    error = np.hypot(se[..., 1:], se[..., :-1])
    bound = {"lower": 0.0} if increasing else {"upper": 0.0}
    return bounded(
        step, error, **bound, resolution=resolution, level=level, degrees_of_freedom=degrees_of_freedom
    )


def fraction_inside(
    measured: Numbers,
    predicted: Numbers,
    standard_error: Numbers,
    *,
    level: float = 0.99,
    allowed: float = 0.02,
    independent: int | None = None,
) -> Verdict:
    """Judge a curve by the share of points outside their own `level` interval, at most `allowed`.

    Each point is compared by itself, without a correction for their number: this is the test of a whole
    figure, and tolerates a few bad points where `within` tolerates none. The share is judged by exact
    binomial limits (Clopper-Pearson): refuted if its lower limit at `level` exceeds `allowed`; confirmed if
    the share is at most `allowed` and its upper limit at 90 % excludes twice that; undecided between, which
    fewer than ln(0.1)/ln(1 - 2·allowed) points always are (57 for the default).

    Args:
        measured: estimates, any shape.
        predicted: what the theory says.
        standard_error: of `measured`, >= 0.
        level: confidence of each point's interval, and of a refutation, in (0, 1).
        allowed: share of points that may lie outside, in (0, 0.5); above 1 - level, which chance alone gives.
        independent: how many of the points are independent, if not all: points of one trajectory move
            together, so count trajectories. The default takes every point as independent.

    Returns:
        Verdict whose `measured` is the share outside and `predicted` is `allowed`.

    Example:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(size=1000)
        >>> fraction_inside(noise, 0.0, 1.0).status, fraction_inside(noise, 1.0, 1.0).status
        ('confirmed', 'refuted')
    """
    m, p, se = _comparable(measured=measured, predicted=predicted, standard_error=standard_error)
    real(allowed, "allowed", low=1 - level, high=0.5, low_open=True, high_open=True)
    z = critical_value(level)
    non_negative(se, "standard_error")
    if (void := _undecidable(m, p, se)) is not None:
        return void
    points = m.size if independent is None else positive_int(independent, "independent", maximum=m.size)
    outside = np.abs(m - p) > z * se + _ROUNDING * np.maximum(np.abs(m), np.abs(p))
    share = float(outside.mean())
    hits = share * points
    low = float(_distributions.beta.ppf(1 - level, hits, points - hits + 1)) if hits else 0.0
    high = float(_distributions.beta.ppf(_POWER, hits + 1, points - hits)) if hits < points else 1.0
    if low > allowed:
        status: Status = "refuted"
    elif share <= allowed and high <= 2 * allowed:
        status = "confirmed"
    else:
        status = "undecided"
    detail = f"{outside.sum()} of {m.size} points outside their {level:.4g} interval, {allowed:.3g} allowed"
    if points != m.size:
        detail += f", {points} independent"
    return Verdict(status, share, float(allowed), math.sqrt(share * (1 - share) / points), detail)


def all_of(verdicts: Iterable[Verdict], detail: str | None = None) -> Verdict:
    """Judge a claim of several parts: refuted if any part is, else undecided if any is, else confirmed.

    The result carries the numbers of the part that decides: the first of that status. The parts are not
    corrected for their number: k parts at the level L each keep at least 1 - k (1 - L) together.

    Args:
        verdicts: the parts, the most telling one first; none at all is undecided.
        detail: the sentence to report in place of the deciding part's own.

    Example:
        >>> good, unsure = within(1.0, 1.0, 0.1, resolution=1.0), within(1.0, 1.0, 0.1, resolution=0.1)
        >>> all_of([good, unsure]).status
        'undecided'
    """
    parts = list(verdicts)
    if not parts:
        return Verdict("undecided", math.nan, math.nan, math.nan, detail or "nothing to compare")
    tally = Counter(part.status for part in parts)
    status: Status = next(s for s in ("refuted", "undecided", "confirmed") if tally[s])
    deciding = next(part for part in parts if part.status == status)
    if detail is None and len(parts) > 1:
        first = ", the first" if tally[status] > 1 else ""
        detail = f"{tally[status]} of {len(parts)} parts {status}{first}: {deciding.detail}"
    return deciding._replace(detail=detail or deciding.detail)


def _family_critical_value(standard_error: Floats, level: float, degrees_of_freedom: float | int) -> float:
    """Critical value over the comparisons that carry noise; exact ones cannot be rejected by chance."""
    noisy = int(np.count_nonzero(standard_error))
    return critical_value(level, max(noisy, 1), degrees_of_freedom)


def _undecidable(*arrays: Floats) -> Verdict | None:
    """The undecided verdict on empty or NaN input, or None if every entry can be compared."""
    if arrays[0].size == 0:
        return Verdict("undecided", math.nan, math.nan, math.nan, "nothing to compare")
    missing = np.any([np.isnan(array) for array in arrays], axis=0)
    if not missing.any():
        return None
    reason = f"{missing.sum()} of {_comparisons(missing.size)} {'is' if missing.sum() == 1 else 'are'} NaN"
    return Verdict("undecided", math.nan, math.nan, math.nan, reason)


def _comparable(**arrays: Numbers) -> tuple[Floats, ...]:
    """The arguments broadcast to one shape of at least one axis."""
    return tuple(np.atleast_1d(*broadcast(**arrays)))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient with 0/0 = 0 and x/0 = ±inf."""
    return z_scores(numerator, 0.0, denominator)


def _worst(score: Floats) -> int:
    """Flat index of the largest score."""
    return int(np.argmax(score))


def _comparisons(count: int) -> str:
    return f"{count} comparison" + ("s" if count != 1 else "")


def _verdict(status: Status, m: Floats, p: Floats, se: Floats, at: int, detail: str) -> Verdict:
    return Verdict(status, float(m.flat[at]), float(p.flat[at]), float(se.flat[at]), detail)
