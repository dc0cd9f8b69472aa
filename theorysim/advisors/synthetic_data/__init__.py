r"""Should I train on these synthetic samples, and how should I weigh them?

`advise_from_numbers` answers from sizes, label noise and the verifier's rates; `advise_from_data` from
features and labels, and checks its prediction on held-out samples. Real samples are worth what their number
says; each of m synthetic ones, of which a verifier keeps right labels with probability phi and wrong ones
with rho, is worth

    lam^2 / alpha real ones at first,   lam = phi (1 - eps) - rho eps,   alpha = phi (1 - eps) + rho eps.

Reference: A. El Firdoussi et al. (2024), arXiv 2410.08942; see docs/rmt_synthetic.md.

Example:
    >>> numbers = dict(label_noise=0.2, keep_right=0.9, keep_wrong=0.3, real_accuracy=0.85)
    >>> report = advise_from_numbers(800, 4000, 400, **numbers)
    >>> print(report.verdict[1])
    Half the mistakes in pruning would buy +0.1 points, a perfect verifier +0.2 points, at the best weights.
"""

from theorysim.advisors.synthetic_data.checks import Check
from theorysim.advisors.synthetic_data.from_data import (
    Comparison,
    DataCurve,
    DataReport,
    Estimate,
    Gain,
    advise_from_data,
    data_curve,
)
from theorysim.advisors.synthetic_data.from_numbers import (
    Band,
    Curve,
    Report,
    Slopes,
    Verifier,
    accuracy_curve,
    advise_from_numbers,
)
from theorysim.advisors.synthetic_data.held_out import Plan
from theorysim.advisors.synthetic_data.mixture import Fit, Situation

__all__ = [
    "Band",
    "Check",
    "Comparison",
    "Curve",
    "DataCurve",
    "DataReport",
    "Estimate",
    "Fit",
    "Gain",
    "Plan",
    "Report",
    "Situation",
    "Slopes",
    "Verifier",
    "accuracy_curve",
    "advise_from_data",
    "advise_from_numbers",
    "data_curve",
]
