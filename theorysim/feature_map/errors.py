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
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import pseudo_inverse

__all__ = [
    "InfluenceForms",
    "Influences",
    "StandardErrors",
    "UtilityForm",
    "errors_of",
    "influence_forms",
    "influences",
    "standard_errors",
    "standard_errors_of",
]


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
    basis, examples = diagonalise(x, z, readout, None, centred=centred, discrete=discrete)
    top = z.shape[1] - (centred and discrete)
    return standard_errors_of(basis, examples, z, top=top, centred=centred, participation=participation)


def standard_errors_of(
    basis: Diagonal, examples: Array, z: Array, *, top: int, centred: bool, participation: bool
) -> StandardErrors:
    """Standard errors from the eigenbasis and the examples; nothing is checked."""
    z = z - z.mean(0, keepdims=True) if centred else z
    predictor = matmul(pseudo_inverse(matmul(z.T, z) / len(z)), matmul(z.T, examples) / len(z))
    forms = influence_forms(basis, predictor, top=top, participation=participation)
    return errors_of(influences(examples, z, forms))


class UtilityForm(NamedTuple):
    """What the influence on u is made of.

    Attributes:
        inner: inside the top block, (K, K).
        strip: 2 (D o B) across it, on the examples, (m, K).
        outputs: V W' S^+, (m, C).
        truncated: W M_K W', (C, C).
        rank: R.
    """

    inner: Array
    strip: Array
    outputs: Array
    truncated: Array
    rank: Array


class InfluenceForms(NamedTuple):
    """What the influences of an example are made of, in the basis of the examples.

    Attributes:
        first: V_K, (m, K).
        utility: that of u; None without a readout.
        inner: of q, inside the top block, (K, K).
        strip: of q, across it, (m, K).
        predictor: from centred classes or targets to the first K coordinates, (k, K).
        inverse: 1/rho_1 ... 1/rho_K, (K,).
        share: share(K).
        trace: tr M.
        spectrum: rho, (m,), and V, (m, m), for N2; None if it is not asked for.
    """

    first: Array
    utility: UtilityForm | None
    inner: Array
    strip: Array
    predictor: Array
    inverse: Array
    share: Array
    trace: Array
    spectrum: tuple[Array, Array] | None


class Influences(NamedTuple):
    """Influence of each example on the statistics, but for its mean, (n,); None for what is left out."""

    utility: Array | None
    quality: Array
    dominance: Array
    participation: Array | None


def influence_forms(basis: Diagonal, predictor: Array, *, top: int, participation: bool) -> InfluenceForms:
    """Influences as forms in an example; the predictor takes centred classes or targets to features."""
    rho, factor, V = basis.values, basis.factor, basis.vectors
    top = min(top, len(rho))
    head, tail = rho[:top], rho[top:]
    gap, trace = head[:, None] - tail[None], rho.sum()

    def strip(B, across):
        """2 (D o B) across the top block, for B given by its rows there."""
        return 2 * matmul(V[:, top:], (across * B[:, top:]).T)

    used = None
    if basis.readout is not None:
        w = basis.readout
        inverse = pseudo_inverse(matmul(w * rho[None], w.T))
        B = matmul(w[:, :top].T, matmul(inverse, w))
        truncated = matmul(w[:, :top] * head[None], w[:, :top].T)
        outputs = matmul(matmul(V, w.T), inverse)
        across = head[:, None] / gap
        used = UtilityForm(B[:, :top], strip(B, across), outputs, truncated, leverages(rho, w).sum())
    inverse = jnp.where(head > 0, 1 / jnp.where(head > 0, head, 1), 0)
    B = matmul(factor[:, :top].T, factor)
    return InfluenceForms(
        first=V[:, :top],
        utility=used,
        inner=-inverse[:, None] * inverse[None] * B[:, :top],
        strip=strip(B, inverse[:, None] / gap),
        predictor=matmul(predictor, V[:, :top]),
        inverse=inverse,
        share=head.sum() / trace,
        trace=trace,
        spectrum=(rho, V) if participation else None,
    )


def influences(examples: Array, z: Array, forms: InfluenceForms) -> Influences:
    """Influences of examples (n, m) with centred classes or targets z: one product by 3K + C columns."""
    top, used = len(forms.inverse), forms.utility
    columns = [forms.first, forms.strip] + ([used.strip, used.outputs] if used else [])
    product = matmul(examples, jnp.concatenate(columns, axis=1))
    first, across = product[:, :top], product[:, top : 2 * top]
    utility = None
    if used:
        across_u, through = product[:, 2 * top : 3 * top], product[:, 3 * top :]
        through = (through * matmul(through, used.truncated)).sum(1)
        utility = (((matmul(first, used.inner) + across_u) * first).sum(1) - through) / used.rank
    mean = matmul(z, forms.predictor)
    quality = ((matmul(first, forms.inner) + across) * first).sum(1)
    quality += ((2 * first - mean) * mean * forms.inverse[None]).sum(1)
    square = (examples**2).sum(1)
    dominance = ((first**2).sum(1) - forms.share * square) / forms.trace
    spread = None
    if forms.spectrum is not None:
        rho, V = forms.spectrum
        squares = (rho**2).sum()
        weighted = (matmul(examples, V) ** 2 * rho[None]).sum(1)
        spread = 2 * forms.trace**2 / squares * (square / forms.trace - weighted / squares)
    return Influences(utility, quality / top, dominance, spread)


def errors_of(influences: Influences) -> StandardErrors:
    """s.e. = sqrt(mean influence^2 / n), of influences less their mean."""

    def error(influence):
        return jnp.sqrt(((influence - influence.mean()) ** 2).mean() / len(influence))

    utility, quality, dominance, spread = influences
    return StandardErrors(
        None if utility is None else error(utility),
        error(quality),
        error(dominance),
        None if spread is None else error(spread),
    )
