"""Next-token laws the tests share."""

import numpy as np

__all__ = ["HALVES", "ZIPF_52"]

HALVES = np.array([0.5, 0.5])


def _zipf(num_tokens: int, exponent: float, vocabulary: int) -> np.ndarray:
    p = np.zeros(vocabulary)
    p[:num_tokens] = np.arange(1, num_tokens + 1) ** -exponent
    return p / p.sum()


# S_0 = 0.1, as in the paper's figures, which give s = 600, s~ = 52 and S_0 but not p.
ZIPF_52 = _zipf(52, 1.1007934473676655, 600)
