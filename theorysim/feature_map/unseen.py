r"""Do the features in use serve inputs that were not trained on?

The K* leading training eigenfunctions, as functions of the input, are diagonalised again over held-out
inputs: with V_K the leading training eigenvectors and M_t the held-out moments, V_K' M_t V_K = U diag(a) U'
gives e_k = F_t V_K u_k / sqrt(a_k), orthonormal there. Their quality and utility over the held-out inputs are
estimates that the training labels have not touched. A utility near 1 with a held-out quality far below that
in training: few features, and wrong ones. Our reading of arXiv 2410.04264.

Example:
    >>> from theorysim.feature_map.second_moments import moments
    >>> labels = jnp.arange(60) % 3
    >>> x = jax.random.normal(jax.random.key(0), (60, 5)).at[:, :3].add(8 * jax.nn.one_hot(labels, 3))
    >>> train, test = moments(x, labels), moments(x, jnp.arange(60) // 20)  # a shortcut, elsewhere useless
    >>> for inputs in (train, test):
    ...     law = held_out(train, inputs, jnp.eye(3, 5))
    ...     print(f"u = {law.cumulative_utility:.2f}, q = {law.cumulative_quality:.2f}")
    u = 1.00, q = 0.95
    u = 1.00, q = 0.00
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.feature_map.arguments import readout_matrix
from theorysim.feature_map.second_moments import FeatureMoments, target_dimension, target_factor
from theorysim.feature_map.spectrum import centred_outputs
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import cutoff, eigh, pseudo_inverse
from theorysim.numerics.validation import positive_int

__all__ = ["HeldOut", "held_out"]


class HeldOut(NamedTuple):
    """The leading training eigenfunctions over held-out inputs, K of them.

    Attributes:
        eigenvalues: a, falling, (K,).
        quality: of each, in [0, 1], (K,).
        utility: of each, (K,); None without a readout.
        cumulative_quality: their mean quality, q(K).
        cumulative_utility: u(K); None without a readout.
        dominance: their share of the held-out variance.
    """

    eigenvalues: Float[Array, " K"]
    quality: Float[Array, " K"]
    utility: Array | None
    cumulative_quality: Array
    cumulative_utility: Array | None
    dominance: Array


def held_out(
    train: FeatureMoments, test: FeatureMoments, readout: ArrayLike | None = None, *, top: int | None = None
) -> HeldOut:
    """Quality and utility of the leading training eigenfunctions over held-out inputs.

    Args:
        train: moments of the training inputs.
        test: of the held-out inputs, of the same kind: centred or not, classes or targets.
        readout: W, (C, p).
        top: K in [1, p]; K* if not given (static).

    Returns:
        HeldOut. With test = train these are the training values; with K = p all of the held-out ones.

    Raises:
        ValueError: moments of another width or kind, or a class without an example.

    Example:
        >>> from theorysim.feature_map.second_moments import moments
        >>> x = jnp.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
        >>> train, test = moments(x, jnp.array([0, 0, 1, 1])), moments(x, jnp.array([0, 1, 0, 1]))
        >>> print(held_out(train, train).quality, held_out(train, test).quality)
        [1.] [0.]
    """
    p, dtype = len(train.second_moment), train.second_moment.dtype
    if test.second_moment.shape != train.second_moment.shape:
        raise ValueError(f"test must have {p} features, like train, got moments of {len(test.second_moment)}")
    kinds = [(m.mean is None, m.targets is None, target_dimension(m)) for m in (train, test)]
    if kinds[0] != kinds[1]:
        raise ValueError("test must be centred, and have classes or targets, like train")
    top = min(kinds[0][2], p) if top is None else positive_int(top, "top", maximum=p)
    w = None if readout is None else readout_matrix(readout, p, dtype)
    return _held_out(train.second_moment, test, w, top=top)


@partial(jax.jit, static_argnames="top")
def _held_out(train, test, readout, *, top):
    V = eigh(train)[1][:, :top]
    M = test.second_moment
    values, turn = eigh(matmul(V.T, matmul(M, V)))
    kept = values > cutoff(values.dtype) * values[0]
    V = matmul(V, turn) * jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, values, 1)), 0)[None]
    quality = (matmul(target_factor(test), V) ** 2).sum(0)
    utility = used = None
    if readout is not None:
        w = centred_outputs(readout, test)
        outputs = matmul(M, w.T)
        inverse = pseudo_inverse(matmul(w, outputs))
        G = matmul(V.T, outputs)
        utility = (G * matmul(G, inverse)).sum(1)
        # The trace of the projection onto the span of the outputs is its rank.
        used = utility.sum() / (inverse * matmul(w, outputs)).sum()
    share = values.sum() / jnp.trace(M)
    return HeldOut(jnp.where(kept, values, 0), quality, utility, quality.mean(), used, share)
