"""Zipf languages: the i-th most frequent of k words has a probability proportional to i^-a.

Example:
    >>> zipf_law(1.0, 3)
    array([0.54545455, 0.27272727, 0.18181818])
"""

import math

import numpy as np
from jaxtyping import Float64

__all__ = ["zipf_law"]


def zipf_law(
    exponent: float | int, num_tokens: int, vocabulary: int | None = None
) -> Float64[np.ndarray, " s"]:
    """Probabilities of `num_tokens` tokens in Zipf proportions, padded with zeros to a vocabulary.

    Origin: synthetic, made here. Unit: probability.

    Args:
        exponent: a >= 0; 0 is the uniform law.
        num_tokens: tokens k >= 1 with a positive probability.
        vocabulary: size s >= k of the law; k by default.

    Returns:
        Shape (s,), float64, descending, sum 1.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> p = zipf_law(1.1007934473676655, 52, 600)
        >>> print(f"{p.size} tokens, sum of squares {(p**2).sum():.3f}")
        600 tokens, sum of squares 0.100
    """
    size = num_tokens if vocabulary is None else vocabulary
    if not (math.isfinite(exponent) and exponent >= 0):
        raise ValueError(f"exponent must be a finite number >= 0, got {exponent}")
    if num_tokens < 1:
        raise ValueError(f"num_tokens must be an integer >= 1, got {num_tokens}")
    if size < num_tokens:
        raise ValueError(f"vocabulary must be an integer >= num_tokens = {num_tokens}, got {size}")
    p = np.zeros(size)
    p[:num_tokens] = np.arange(1, num_tokens + 1, dtype=np.float64) ** -exponent
    return p / p.sum()
