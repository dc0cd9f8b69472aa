r"""Which features does a network use, are they the right ones, and would random ones do?

`audit_features` answers from the activations before the readout, the labels, and the readout or the outputs.
The features have eigenvalues and eigenfunctions; how much of each lies in the span of the labels is its
quality, how much in that of the outputs its utility. A network is minimal if it uses as many eigenfunctions
as there are classes, and extended if it uses many more; minimal with a quality that held-out inputs do not
confirm has few features, and wrong ones. Reference: Y. Nam et al. (2024), arXiv 2410.04264; see
docs/feature_map.md.

Example:
    >>> import numpy as np
    >>> draw = np.random.default_rng(0)
    >>> labels, truth = np.arange(900) % 3, draw.integers(0, 3, 300)
    >>> x = draw.normal(size=(900, 20)) + 14 * np.eye(3, 20)[labels]
    >>> test = draw.normal(size=(300, 20)) + 14 * np.eye(3, 20)[draw.integers(0, 3, 300)]
    >>> audit = audit_features(x, labels, readout=np.eye(3, 20), test_features=test, test_labels=truth)
    >>> for sentence in audit.verdict:
    ...     print(sentence.split(":")[0])
    MINIMAL
    RICH
    Quality q(2) = 0.986 ± 0.000, by chance 0.00222 (permuted labels
    FEW AND WRONG FEATURES
"""

from theorysim.advisors.features.audit import (
    Confidence,
    FeatureAudit,
    Limits,
    Sample,
    Wider,
    audit_features,
)
from theorysim.advisors.features.nulls import Bands, Chance, RandomFeatures, chance_bands
from theorysim.advisors.features.problem import Data
from theorysim.advisors.features.unseen import Unseen

__all__ = [
    "Bands",
    "Chance",
    "Confidence",
    "Data",
    "FeatureAudit",
    "Limits",
    "RandomFeatures",
    "Sample",
    "Unseen",
    "Wider",
    "audit_features",
    "chance_bands",
]
