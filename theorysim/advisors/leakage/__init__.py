r"""Which training records does a model give away, and what would protect them?

`audit_leakage` answers from features and labels. Each record has a leverage h, how far it pulls the output
to its label, and a surprise zeta, how far that label is from what all others say; the best attack on k
outputs of a model distinguishes

    N(0, I_k)  from  N(sqrt(h) z, (1 - h) I_k),        |z|^2 = zeta,

and no query tells it more than the record itself. Reference: J. Ye et al. (2024), arXiv 2309.17310; see
docs/lood.md.

Example:
    >>> import numpy as np
    >>> x = np.linspace(0, 6, 40)[:, None]
    >>> y = np.sin(x[:, 0])
    >>> y[20] = 2.0  # an outlier
    >>> audit = audit_leakage(x, y, noise=0.02, length=0.5, variance=1.0, networks=50)
    >>> print(audit.verdict[0])
    1 of 40 records is exposed, AUC above 0.9; most of all record 20: AUC 1.000, found in 100 % of trainings
    at 0.1 % false alarms.
"""

from theorysim.advisors.leakage.audit import LeakageAudit, audit_leakage
from theorysim.advisors.leakage.evidence import Fit
from theorysim.advisors.leakage.exposure import EXPOSED, FPR, AucMap, Exposure, auc_map
from theorysim.advisors.leakage.label_errors import LabelError
from theorysim.advisors.leakage.model import KERNELS, Model
from theorysim.advisors.leakage.problem import Data
from theorysim.advisors.leakage.retraining import Check
from theorysim.advisors.leakage.what_if import NoiseLevel, Removal

__all__ = [
    "EXPOSED",
    "FPR",
    "KERNELS",
    "AucMap",
    "Check",
    "Data",
    "Exposure",
    "Fit",
    "LabelError",
    "LeakageAudit",
    "Model",
    "NoiseLevel",
    "Removal",
    "auc_map",
    "audit_leakage",
]
