"""Statistics for judging a theory against its simulation: estimates with errors, fits, and verdicts.

A simulation gives a mean and a standard error per point of a grid; a theory gives a number per point. The
verdict makers compare them and say `confirmed`, `refuted` or `undecided`, with a family-wise `level` that
accounts for the number of comparisons, and `undecided` whenever the data could not have told. All of it runs
on the host in float64.

Example:
    >>> import numpy as np
    >>> from theorysim.numerics import stats
    >>> flips = np.random.default_rng(0).integers(0, 2, size=(20_000, 3))
    >>> fair = stats.mean_and_error(flips)
    >>> stats.within(fair.mean, 0.5, fair.standard_error, resolution=0.02).status
    'confirmed'
    >>> stats.within(fair.mean, 0.6, fair.standard_error, resolution=0.02).status
    'refuted'
    >>> stats.within(fair.mean, 0.5, fair.standard_error, resolution=0.001).status
    'undecided'
"""

from theorysim.numerics.stats.estimates import (
    Estimate,
    Interval,
    critical_value,
    holm,
    interval,
    mean_and_error,
    proportion,
    variance_and_error,
    z_scores,
)
from theorysim.numerics.stats.fits import Fit, log_log_slope, slope
from theorysim.numerics.stats.ranks import auc_and_error, correlation
from theorysim.numerics.stats.verdicts import (
    Status,
    Verdict,
    all_of,
    bounded,
    fraction_inside,
    ordered,
    within,
)

__all__ = [
    "Estimate",
    "Fit",
    "Interval",
    "Status",
    "Verdict",
    "all_of",
    "auc_and_error",
    "bounded",
    "correlation",
    "critical_value",
    "fraction_inside",
    "holm",
    "interval",
    "log_log_slope",
    "mean_and_error",
    "ordered",
    "proportion",
    "slope",
    "variance_and_error",
    "within",
    "z_scores",
]
