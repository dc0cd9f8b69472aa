r"""Exponents measured over widths and seeds, with errors and with their drift.

Example:
    >>> values = np.array([[0.5, 0.26, 0.12], [0.52, 0.25, 0.125]])
    >>> fit = measured_exponents(values, [100, 400, 1600])
    >>> print(f"{fit.slope:.2f} +- {fit.standard_error:.2f}", fit.local_slopes.round(2))
    -0.51 +- 0.01 [-0.5  -0.53]
"""

from typing import Any, NamedTuple

import numpy as np

from theorysim.numerics.stats import slope
from theorysim.numerics.validation import real

__all__ = ["ExponentFit", "measured_exponents"]


class ExponentFit(NamedTuple):
    """A power law in the width.

    Attributes:
        slope: the exponent.
        standard_error: from the scatter of the seeds; with one seed from that about the line, and then
            NaN for two widths.
        local_slopes: between neighbouring widths, (W - 1,): their drift shows corrections at finite width.
    """

    slope: float
    standard_error: float
    local_slopes: np.ndarray


def measured_exponents(values: Any, widths: Any) -> ExponentFit:
    """Fit log |v| = slope log n, over geometric means of the seeds, weighted by their scatter.

    Args:
        values: |v| > 0 for each seed and width, (S, W).
        widths: n > 0, W >= 2 of them, not all equal.

    Returns:
        ExponentFit. Where some width has no scatter at all, all weigh the same.

    Raises:
        ValueError: shapes that do not match, fewer than two widths, or values that are not positive.

    Example:
        >>> measured_exponents([[1.0, 0.5, 0.25]], [2, 4, 8]).slope
        -1.0
    """
    values, widths = np.asarray(values, float), np.asarray(widths, float)
    if widths.ndim != 1 or len(widths) < 2:
        raise ValueError(f"widths must be a vector of at least two, got shape {widths.shape}")
    if values.ndim != 2 or values.shape[1] != len(widths) or not len(values):
        raise ValueError(f"values must have shape (seeds, {len(widths)}), got {values.shape}")
    real(values, "values", low=0, low_open=True, high_open=True)
    real(widths, "widths", low=0, low_open=True, high_open=True)
    y, x, seeds = np.log2(values), np.log2(widths), len(values)
    error = y.std(axis=0, ddof=1) / seeds**0.5 if seeds > 1 else np.zeros(len(x))
    mean = y.mean(axis=0)
    fit = slope(x, mean, error if error.all() else None)
    return ExponentFit(fit.slope, fit.slope_error, np.diff(mean) / np.diff(x))
