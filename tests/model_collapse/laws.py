"""Next-token laws the tests share."""

import numpy as np

from theorysim.data import zipf_law

__all__ = ["HALVES", "ZIPF_52"]

HALVES = np.array([0.5, 0.5])


# S_0 = 0.1, as in the paper's figures, which give s = 600, s~ = 52 and S_0 but not p.
ZIPF_52 = zipf_law(1.1007934473676655, 52, 600)
