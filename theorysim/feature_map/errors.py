r"""Standard errors of utility, quality, dominance and participation, by the infinitesimal jackknife.

For h(M) = sum_k h(rho_k) v_k v_k' and x an example in the eigenbasis, dM = x x' - M,

    d tr(h(M) B) = tr[(D o B) dM],     D_kl = (h(rho_k) - h(rho_l)) / (rho_k - rho_l),

and s.e. = sqrt(mean influence^2 / n). With K = K*, z = S^+ W x, S = W M W', mu the class mean of the example
(or what its targets predict of the features), H = diag(1/rho_1 ... 1/rho_K), and "- mean" at the end of each,

    u      R I = x'(D o W'S^+W)x - z' W M_K W' z,      D = 1 in the top block, rho_k/(rho_k - rho_l) across,
    q      K I = x'(D o S_B)x + 2 mu'Hx - mu'H mu,     D = -1/(rho_k rho_l), (1/rho_k)/(rho_k - rho_l),
    share    I = (|x_1..K|^2 - share |x|^2) / tr M,
    N2       I = 2 N2 (|x|^2/tr M - x'diag(rho)x / sum rho^2).

Only the gap between rho_K and rho_{K+1} enters, never one inside the block. D o B has a K x K block and a
K x (p - K) strip, so the examples meet a p x (3K + C) matrix, and a p x p one only for N2. Derived here.

Example:
    >>> x = jax.random.normal(jax.random.key(0), (200, 4)) * jnp.array([[3.0, 1.0, 1.0, 1.0]])
    >>> errors = standard_errors(x, (x[:, 0] > 0).astype(int), jnp.eye(2, 4))
    >>> print(f"share of the first: s.e. {errors.dominance:.3f}")
    share of the first: s.e. 0.020
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.feature_map.arguments import readout_matrix, supervision, varying_features
from theorysim.feature_map.diagonal import Diagonal, diagonalise
from theorysim.feature_map.spectrum import leverages
from theorysim.feature_map.symmetric import pseudo_inverse
from theorysim.numerics.products import matmul

__all__ = ["StandardErrors", "standard_errors", "standard_errors_of"]


class StandardErrors(NamedTuple):
    """Standard errors over examples of the statistics at K = K*.

    Attributes:
        utility: of u(K*); None without a readout.
        quality: of q(K*).
        dominance: of share(K*).
        participation: of N2; None if not asked for.
    """

    utility: Array | None
    quality: Array
    dominance: Array
    participation: Array | None


def standard_errors(
    features: ArrayLike,
    labels: Any,
    readout: ArrayLike | None = None,
    *,
    centred: bool = True,
    classes: int | None = None,
    participation: bool = True,
) -> StandardErrors:
    """Standard errors of u(K*), q(K*), share(K*) and N2 over the draw of the examples.

    Args:
        features: F, (n, p).
        labels: classes (n,), or floating targets (n,) or (n, t).
        readout: W, (C, p), held fixed.
        centred: about the mean (static).
        classes: C, needed for traced labels (static).
        participation: also of N2, which costs n p^2 once more (static).

    Returns:
        StandardErrors, of first order: where rho_K*/rho_{K*+1} is close to 1 a single data set's error
        scatters (0.011 where 0.020 was true), and at equality it is NaN or infinite. Cost that of the
        eigenvalues plus n p (3 K + C).

    Raises:
        ValueError: as for `moments`, or no fewer classes than features and examples allow.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (400, 3))
        >>> errors = standard_errors(x, (x[:, 0] > 0).astype(int), participation=False)
        >>> print(errors.utility, errors.participation, f"{errors.dominance:.3f}")
        None None 0.020
    """
    x = varying_features(features, centred=centred)
    z, discrete = supervision(labels, len(x), x.dtype, classes=classes, centred=centred)
    w = None if readout is None else readout_matrix(readout, x.shape[1], x.dtype)
    return _standard_errors(x, z, w, centred=centred, discrete=discrete, participation=participation)


@partial(jax.jit, static_argnames=("centred", "discrete", "participation"))
def _standard_errors(x, z, readout, *, centred, discrete, participation):
    basis = diagonalise(x, z, readout, None, centred=centred, discrete=discrete)
    top = z.shape[1] - (centred and discrete)
    return standard_errors_of(basis, z, top=top, centred=centred, participation=participation)


def standard_errors_of(
    basis: Diagonal, z: Array, *, top: int, centred: bool, participation: bool
) -> StandardErrors:
    """Standard errors from the eigenbasis; nothing is checked."""
    rho, factor, n = basis.values, basis.factor, len(z)
    top = min(top, len(rho))
    head, tail = rho[:top], rho[top:]
    V = basis.vectors
    first = matmul(basis.examples, V[:, :top])
    gap = head[:, None] - tail[None]
    square, trace = (basis.examples**2).sum(1), rho.sum()

    def form(B, inside, across):
        """x'(D o B)x from the rows of B in the top block."""
        strip = matmul(V[:, top:], (across * B[:, top:]).T)
        inner = matmul(first, inside * B[:, :top]) + 2 * matmul(basis.examples, strip)
        return (inner * first).sum(1)

    used = None
    if basis.readout is not None:
        w = basis.readout
        inverse = pseudo_inverse(matmul(w * rho[None], w.T))
        B = matmul(w[:, :top].T, matmul(inverse, w))
        z_out = matmul(matmul(basis.examples, matmul(V, w.T)), inverse)
        truncated = matmul(w[:, :top] * head[None], w[:, :top].T)
        rank = leverages(rho, w).sum()
        influence = form(B, 1.0, head[:, None] / gap) - (z_out * matmul(z_out, truncated)).sum(1)
        used = _error(influence / rank)

    inverse = jnp.where(head > 0, 1 / jnp.where(head > 0, head, 1), 0)
    B = matmul(factor[:, :top].T, factor)
    influence = form(B, -inverse[:, None] * inverse[None], inverse[:, None] / gap)
    centre = z - z.mean(0, keepdims=True) if centred else z
    predictor = matmul(pseudo_inverse(matmul(centre.T, centre) / n), matmul(centre.T, first) / n)
    mean = matmul(centre, predictor)
    influence += ((2 * first - mean) * mean * inverse[None]).sum(1)
    matched = _error(influence / top)

    share = head.sum() / trace
    dominant = _error(((first**2).sum(1) - share * square) / trace)

    spread = None
    if participation:
        N2 = trace**2 / (rho**2).sum()
        weighted = (matmul(basis.examples, V) ** 2 * rho[None]).sum(1)
        spread = _error(2 * N2 * (square / trace - weighted / (rho**2).sum()))
    return StandardErrors(used, matched, dominant, spread)


def _error(influence):
    return jnp.sqrt(((influence - influence.mean()) ** 2).mean() / len(influence))
