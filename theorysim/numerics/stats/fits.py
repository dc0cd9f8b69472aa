"""Straight lines and power laws with errors, for claims about rates.

Weighted least squares minimises χ² = Σ ((y - a - b x)/σ)². With known σ the errors of a and b follow from σ
and the p-value of χ² (n - 2 degrees of freedom) says whether a line describes the points at all. Without σ
the scatter about the line gives the errors, and nothing can be said about the form.

Example:
    >>> fit = log_log_slope([10, 100, 1000], [2.0, 0.2, 0.02], standard_error=[0.02, 0.002, 0.0002])
    >>> round(fit.slope, 6), round(fit.slope_error, 6), round(fit.p_value, 6)
    (-1.0, 0.003071, 1.0)
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from theorysim.numerics.stats._arrays import Floats, Numbers, float_array
from theorysim.numerics.validation import real

__all__ = ["Fit", "log_log_slope", "slope"]


class Fit(NamedTuple):
    """A fitted line y = intercept + slope·x.

    `p_value` is that of χ² when the errors of y are known, else NaN. Without known errors, the slope's error
    has n - 2 degrees of freedom: pass them on to the verdict makers when the points are few.
    """

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float
    p_value: float


def slope(x: Numbers, y: Numbers, standard_error: Numbers | None = None) -> Fit:
    """Fit a line by least squares, weighted by 1/standard_error² where the errors of y are known.

    Args:
        x: abscissae (n,), n >= 2, not all equal.
        y: ordinates (n,), independent of each other. A NaN makes the whole fit NaN: leaving points out is the
            caller's decision.
        standard_error: of each y, > 0, (n,) or a scalar.

    Returns:
        Fit. Two points leave no degree of freedom: `p_value` is NaN, and so are the errors if none were
        given.

    Raises:
        ValueError: shapes that do not match, fewer than two points, equal abscissae, errors that are not
            positive.

    Example:
        >>> fit = slope([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
        >>> round(fit.slope, 6), round(fit.intercept, 6)
        (2.0, 1.0)
    """
    x, y, errors = _points(x, y, standard_error)
    if not np.isfinite(x + y + errors).all():
        return Fit(math.nan, math.nan, math.nan, math.nan, math.nan)
    weight = errors**-2.0
    centre = np.average(x, weights=weight)
    spread = np.sum(weight * (x - centre) ** 2)
    b = np.sum(weight * (x - centre) * y) / spread
    level = np.average(y, weights=weight)
    chi_squared = float(np.sum(weight * (y - level - b * (x - centre)) ** 2))
    freedom = x.size - 2
    if standard_error is None:
        noise, p_value = (chi_squared / freedom if freedom else math.nan), math.nan
    else:
        noise, p_value = 1.0, (float(chi2.sf(chi_squared, freedom)) if freedom else math.nan)
    return Fit(
        float(b),
        float(level - b * centre),
        math.sqrt(noise / spread),
        math.sqrt(noise * (1 / np.sum(weight) + centre**2 / spread)),
        p_value,
    )


def log_log_slope(x: Numbers, y: Numbers, standard_error: Numbers | None = None) -> Fit:
    """Exponent of a power law y = e^intercept · x^slope, fitted as a line in ln x and ln y.

    The error of ln y is standard_error/y (delta method): good while it is small, say below 0.3; the bias of
    ln y, about -(standard_error/y)²/2, is not corrected.

    Args:
        x: abscissae (n,), > 0.
        y: ordinates (n,), > 0 or NaN.
        standard_error: of each y (not of ln y), > 0, (n,) or a scalar.

    Raises:
        ValueError: as `slope`, and for x or y that are not positive.

    Example:
        >>> round(log_log_slope([1, 10, 100], [3.0, 300.0, 30000.0]).slope, 6)
        2.0
    """
    x, y, errors = _points(x, y, standard_error)
    for value, name in ((x, "x"), (y, "y")):
        real(value[~np.isnan(value)], name, low=0.0, low_open=True)
    return slope(np.log(x), np.log(y), None if standard_error is None else errors / y)


def _points(x: Numbers, y: Numbers, standard_error: Numbers | None) -> tuple[Floats, Floats, Floats]:
    """The points as three float64 vectors of one length; unit errors stand for unknown ones."""
    xs, ys = float_array(x, "x"), float_array(y, "y")
    if xs.ndim != 1 or xs.shape != ys.shape or xs.size < 2:
        raise ValueError(f"x and y must be vectors of one length >= 2, got shapes {xs.shape} and {ys.shape}")
    if np.all(xs == xs[0]):
        raise ValueError(f"x must hold at least two different values, got {xs[0]:g} everywhere")
    errors = float_array(1.0 if standard_error is None else standard_error, "standard_error")
    if errors.shape not in ((), xs.shape):
        raise ValueError(f"standard_error must be a scalar or have shape {xs.shape}, got {errors.shape}")
    real(errors[~np.isnan(errors)], "standard_error", low=0.0, low_open=True)
    return xs, ys, np.broadcast_to(errors, xs.shape)
