"""Exact laws that the sim on the forward feature map compares with, in its own terms.

The weight decays of readout and features are a and b; `decay` is sqrt(ab), and a/b one number.
"""

import jax.numpy as jnp
import numpy as np

from theorysim import feature_map as fm

from ._feature_map_config import RATIO

__all__ = ["threshold", "unconstrained_law"]


def threshold(counts) -> float:
    """The decay at which all features vanish."""
    return float(fm.unconstrained_thresholds(jnp.array(counts), bias=True)[0])


def unconstrained_law(counts, loss, decay):
    """Predicted feature eigenvalues, one for each class, and the minimum; NaN where none is stated."""
    decays = {"weight_decay_w": decay * RATIO**0.5, "weight_decay_h": decay / RATIO**0.5}
    if loss == "squared":
        best = fm.unconstrained_mse(jnp.array(counts), **decays)
        return np.asarray(best.spectrum), float(best.objective)
    one = fm.unconstrained_ce(classes=len(counts), per_class=counts[0], **decays)
    return np.append(np.full(len(counts) - 1, float(one.eigenvalue)), 0.0), np.nan
