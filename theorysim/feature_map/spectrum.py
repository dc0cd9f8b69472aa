r"""Eigenfunctions of the forward feature map: how large, how much of the target, how much used.

Gradient descent on the readout moves functions by (T f)(x) = mean_j <Phi(x), Phi(x_j)> f(x_j). With
M = F'F/n = V diag(rho) V' its eigenfunctions are e_k = F v_k / sqrt(rho_k), orthonormal over the inputs, and

    quality     Q_k = |P_H* e_k|^2 = v_k' S_B v_k / rho_k,      P_H*: onto the classes, or the targets,
    utility     Pi_k = [G (G'G)^+ G']_kk,    G = diag(sqrt rho) V' W',    the share of e_k in the span of the
                outputs; sum Pi = R, their rank,
    adjusted    1 - (1 - Q)(n - 1)/(n - C): mean 0 if the labels are permuted, for any class sizes.

Y. Nam, C. Mingard, S. H. Lee, S. Hayou, A. A. Louis (2024), arXiv 2410.04264; the estimators are derived
here. T and the Gram matrix F F'/n share their spectrum: what needs no moments takes whichever of the p x p
and the n x n matrix is smaller.

Example:
    >>> from theorysim.feature_map.second_moments import moments
    >>> x = jnp.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    >>> first_matters = moments(x, jnp.array([0, 0, 1, 1]))
    >>> print(eigenfunctions(first_matters).values, quality(first_matters))
    [4. 1.] [1. 0.]
    >>> print(utility(first_matters, jnp.array([[0.0, 1.0], [0.0, -1.0]])))  # reads the second alone
    [0. 1.]
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.feature_map.arguments import feature_matrix, readout_matrix
from theorysim.feature_map.second_moments import FeatureMoments, target_dimension, target_factor
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import cutoff, eigh, pseudo_inverse
from theorysim.numerics.validation import floating, positive_int, real

__all__ = [
    "EffectiveNumbers",
    "Eigenfunctions",
    "adjusted_quality",
    "centred_outputs",
    "cumulative",
    "effective_numbers",
    "eigenfunctions",
    "energy_share",
    "leverages",
    "quality",
    "share_of_target",
    "truncated_outputs",
    "unbiased_participation",
    "unbiased_squares",
    "utility",
    "without_mean",
]


class Eigenfunctions(NamedTuple):
    """The forward feature map, diagonal.

    Attributes:
        values: rho, falling; 0 for those dropped, (p,).
        vectors: V, in columns: e_k(x) = (Phi(x) - mean) v_k / sqrt(rho_k), (p, p).
        dropped: how many have rho_k <= 1e-12 rho_1 (1e-6 in float32): no eigenfunctions.
    """

    values: Float[Array, " p"]
    vectors: Float[Array, "p p"]
    dropped: Array


class EffectiveNumbers(NamedTuple):
    """How many features there are, by two measures between 1 and their number.

    Attributes:
        entropy: N1 = exp(entropy of rho / sum rho).
        participation: N2 = (sum rho)^2 / sum rho^2 <= N1.
    """

    entropy: Array
    participation: Array


def eigenfunctions(moments: FeatureMoments) -> Eigenfunctions:
    """Eigenvalues and eigenvectors of the second moments.

    Args:
        moments: from `moments`.

    Returns:
        Eigenfunctions. Cost p^3. Under `vmap` one matrix at a time. Values differentiate exactly; vectors
        where their eigenvalue is simple.

    Example:
        >>> from theorysim.feature_map.second_moments import moments
        >>> law = eigenfunctions(moments(jnp.array([[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]), [0, 0, 1]))
        >>> print(law.values.round(4), law.dropped)
        [1.3333 0.    ] 1
    """
    return _eigenfunctions(moments.second_moment)


def quality(moments: FeatureMoments) -> Float[Array, " p"]:
    """Q_k, the share of each eigenfunction in the target space, in [0, 1]; 0 for those dropped.

    Args:
        moments: from `moments`, of classes or targets.

    Returns:
        (p,), in the order of `eigenfunctions`.

    Raises:
        ValueError: a class without an example.

    Example:
        >>> from theorysim.feature_map.second_moments import moments
        >>> print(quality(moments(jnp.array([[0.0], [1.0], [3.0], [4.0]]), jnp.array([0, 0, 1, 1]))))
        [0.9]
    """
    target_dimension(moments)
    return _quality(moments)


def utility(moments: FeatureMoments, readout: ArrayLike) -> Float[Array, " p"]:
    """Pi_k, the share of each eigenfunction in the span of the outputs, in [0, 1].

    Args:
        moments: from `moments`.
        readout: W, (C, p); with centred classes it counts up to a vector common to all outputs, which softmax
            cannot see.

    Returns:
        (p,), summing to the rank of the outputs; all 0 if they do not depend on the input.

    Raises:
        ValueError: a readout of another width, or not finite.

    Example:
        >>> from theorysim.feature_map.second_moments import moments
        >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [0.0, -0.5]])
        >>> print(utility(moments(x, jnp.array([0, 0, 1, 1])), jnp.array([[1.0, 2.0], [0.0, 0.0]])))
        [0.5 0.5]
    """
    w = readout_matrix(readout, len(moments.second_moment), moments.second_moment.dtype)
    return _utility(moments, w)


def energy_share(moments: FeatureMoments, readout: ArrayLike) -> Float[Array, " p"]:
    """Share of the outputs' variance that the first K eigenfunctions carry, sum_{k<=K} |G_k|^2 / |G|^2.

    Args:
        moments: from `moments`.
        readout: W, (C, p).

    Returns:
        (p,), rising to 1; NaN if the outputs do not depend on the input.

    Raises:
        ValueError: a readout of another width, or not finite.

    Example:
        >>> from theorysim.feature_map.second_moments import moments
        >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [0.0, -0.5]])
        >>> print(energy_share(moments(x, jnp.array([0, 0, 1, 1])), jnp.array([[1.0, 1.0], [0.0, 0.0]])))
        [0.8 1. ]
    """
    w = readout_matrix(readout, len(moments.second_moment), moments.second_moment.dtype)
    return _energy_share(moments, w)


def truncated_outputs(
    features: ArrayLike, moments: FeatureMoments, readout: ArrayLike, *, top: int
) -> Float[Array, "n C"]:
    """What is left of the outputs if the readout sees only the first eigenfunctions, F V_K V_K' W'.

    Args:
        features: (n, p), of any inputs.
        moments: from `moments`, of the training inputs, whose mean stays.
        readout: W, (C, p).
        top: K in [1, p]; K* for the predictor whose accuracy tells whether the rest is needed (static).

    Returns:
        (n, C), without a bias.

    Raises:
        ValueError: features or a readout of another width, or top out of its range.

    Example:
        >>> from theorysim.feature_map.second_moments import moments
        >>> x = jnp.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
        >>> print(truncated_outputs(x, moments(x, jnp.array([0, 0, 1, 1])), jnp.ones((1, 2)), top=1).T)
        [[ 2.  2. -2. -2.]]
    """
    p = len(moments.second_moment)
    x = feature_matrix(features, minimum=1)
    if x.shape[1] != p:
        raise ValueError(f"features must have {p} columns, like the moments, got shape {x.shape}")
    w = readout_matrix(readout, p, x.dtype)
    return _truncated_outputs(x, moments, w, top=positive_int(top, "top", maximum=p))


def cumulative(x: ArrayLike, *, rank: ArrayLike | None = None) -> Float[Array, "*batch p"]:
    """Sums over the first K features: q(K) = sum Q / K, or with a rank u(K) = sum Pi / R.

    Args:
        x: quality or utility, (..., p).
        rank: R > 0, the rank of the outputs (`utility` sums to it); without it the divisor is K.

    Returns:
        (..., p), the entry K - 1 for the first K.

    Raises:
        ValueError: rank <= 0.

    Example:
        >>> print(cumulative(jnp.array([1.0, 0.0, 0.5])), cumulative(jnp.array([1.0, 0.0, 0.5]), rank=1.5))
        [1.  0.5 0.5] [0.66666667 0.66666667 1.        ]
    """
    x = floating(x)
    if not x.ndim:
        raise ValueError(f"x must have one entry per feature along its last axis, got shape {x.shape}")
    sums = jnp.cumsum(x, axis=-1)
    if rank is None:
        divisors = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
        return sums / divisors.reshape((1,) * (x.ndim - 1) + (-1,))
    return sums / jnp.asarray(real(rank, "rank", low=0, low_open=True), x.dtype)


def effective_numbers(values: ArrayLike) -> EffectiveNumbers:
    """N1 and N2 of a spectrum.

    Args:
        values: eigenvalues >= 0, not all 0, (..., p).

    Returns:
        EffectiveNumbers of shape (...).

    Raises:
        ValueError: a negative eigenvalue.

    Example:
        >>> print(effective_numbers(jnp.array([1.0, 1.0, 0.0])))
        EffectiveNumbers(entropy=Array(2., dtype=float64), participation=Array(2., dtype=float64))
    """
    rho = floating(real(values, "values", low=0, high_open=True))
    share = rho / rho.sum(-1, keepdims=True)
    log = jnp.log(jnp.where(share > 0, share, 1))
    return EffectiveNumbers(jnp.exp(-(share * log).sum(-1)), 1 / (share**2).sum(-1))


def adjusted_quality(quality: ArrayLike, *, classes: ArrayLike, n: ArrayLike) -> Float[Array, "..."]:
    """Quality less what chance gives, 1 - (1 - Q)(n - 1)/(n - C), of centred features.

    Args:
        quality: Q in [0, 1], of any shape; or q(K).
        classes: C >= 2; for t targets t + 1.
        n: examples, > C.

    Returns:
        At most 1, with mean 0 under permutation of the labels, so that some are negative.

    Raises:
        ValueError: n <= classes, or classes < 2.

    Example:
        >>> print(adjusted_quality(jnp.array([2 / 29, 1.0]), classes=3, n=30).round(12))
        [0. 1.]
    """
    real(classes, "classes", low=2, high_open=True)
    q = floating(quality)
    real(jnp.asarray(n) - jnp.asarray(classes), "n - classes", low=0, low_open=True, high_open=True)
    classes, n = jnp.asarray(classes, q.dtype), jnp.asarray(n, q.dtype)
    return 1 - (1 - q) * ((n - 1) / (n - classes))


def unbiased_participation(features: ArrayLike, *, centred: bool = True) -> Float[Array, ""]:
    """N2 = (tr Sigma)^2 / tr Sigma^2 of the population, from unbiased estimates of both.

    The plain N2 of n examples lies below it, by a factor of about 1 + N2/n: use this where n < 10 p. Around
    0, with s = sum |x_i|^4, tr Sigma^2 = (n^2 tr M^2 - s)/(n(n-1)) and (tr Sigma)^2 = (n^2 (tr M)^2 - s)/
    (n(n-1)). About the mean, with S = n M/(n-1) and Q = s/(n-1) (T. Himeno, T. Yamada, 2014), a =
    (n-1)/(n(n-2)(n-3)):

        tr Sigma^2 = a [(n-1)(n-2) tr S^2 + (tr S)^2 - n Q],
        (tr Sigma)^2 = a [2 tr S^2 + (n^2 - 3n + 1)(tr S)^2 - n Q].

    Args:
        features: (n, p), n >= 4, or 2 if not centred.
        centred: about the mean (static).

    Returns:
        A scalar; the ratio of the two is itself biased at order 1/n. Negative or infinite where so few
        examples say nothing. Cost n p min(n, p).

    Raises:
        ValueError: too few rows.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (200, 100))
        >>> print(f"{effective_numbers(jnp.linalg.eigvalsh(x.T @ x).clip(0)).participation:.1f}")
        65.9
        >>> print(f"{unbiased_participation(x):.1f} of 100")
        98.8 of 100
    """
    x = feature_matrix(features, minimum=4 if centred else 2)
    squared_trace, trace_of_square = unbiased_squares(x, centred=centred)
    return squared_trace / trace_of_square


def share_of_target(values: Array, factor: Array) -> Array:
    """Q_k from eigenvalues and the target factor in the eigenbasis, (k, p)."""
    kept = values > 0
    return jnp.where(kept, (factor**2).sum(0) / jnp.where(kept, values, 1), 0)


def leverages(values: Array, readout: Array) -> Array:
    """Pi_k from eigenvalues and the readout in the eigenbasis, (C, p)."""
    G = jnp.sqrt(jnp.where(values > 0, values, 1)) * (values > 0)
    G = G[:, None] * readout.T
    return (G * matmul(G, pseudo_inverse(matmul(G.T, G)))).sum(1)


def centred_outputs(readout: Array, moments: FeatureMoments) -> Array:
    """The readout, less its mean over classes if they are centred."""
    centred = moments.mean is not None and moments.targets is None
    return without_mean(readout, 0) if centred else readout


def without_mean(x: Array, axis: int) -> Array:
    """An array (n, m) less its mean along an axis; exactly 0 if only rounding would be left."""
    rest = x - x.mean(axis, keepdims=True)
    rounding = 16 * float(jnp.finfo(x.dtype).eps)
    return jnp.where((rest**2).sum() > rounding**2 * (x**2).sum(), rest, 0)


@jax.jit
def _eigenfunctions(second_moment):
    values, vectors = eigh(second_moment)
    kept = values > cutoff(values.dtype) * values[0]
    return Eigenfunctions(jnp.where(kept, values, 0), vectors, (~kept).sum())


@jax.jit
def _quality(moments):
    values, vectors, _ = _eigenfunctions(moments.second_moment)
    return share_of_target(values, matmul(target_factor(moments), vectors))


@jax.jit
def _utility(moments, readout):
    values, vectors, _ = _eigenfunctions(moments.second_moment)
    return leverages(values, matmul(centred_outputs(readout, moments), vectors))


@jax.jit
def _energy_share(moments, readout):
    values, vectors, _ = _eigenfunctions(moments.second_moment)
    energy = values * (matmul(centred_outputs(readout, moments), vectors) ** 2).sum(0)
    return jnp.cumsum(energy) / energy.sum()


@partial(jax.jit, static_argnames="top")
def _truncated_outputs(x, moments, readout, *, top):
    V = eigh(moments.second_moment)[1][:, :top]
    mean = jnp.zeros_like(V[:, 0]) if moments.mean is None else moments.mean
    return matmul(matmul(x - mean[None], V), matmul(readout, V).T) + matmul(readout, mean)[None]


@partial(jax.jit, static_argnames="centred")
def unbiased_squares(x: Array, *, centred: bool) -> tuple[Array, Array]:
    """Unbiased estimates of (tr Sigma)^2 and tr Sigma^2 from features (n, p); nothing is checked."""
    n, p = x.shape
    x = x - x.mean(0, keepdims=True) if centred else x
    M = matmul(x.T, x) / n if p <= n else matmul(x, x.T) / n
    trace, square = jnp.trace(M), (M**2).sum()
    fourth = ((x**2).sum(1) ** 2).sum()
    if not centred:
        pairs = n * (n - 1)
        return (n**2 * trace**2 - fourth) / pairs, (n**2 * square - fourth) / pairs
    trace, square, q = trace * n / (n - 1), square * (n / (n - 1)) ** 2, fourth / (n - 1)
    a = (n - 1) / (n * (n - 2) * (n - 3))
    squared_trace = a * (2 * square + (n**2 - 3 * n + 1) * trace**2 - n * q)
    return squared_trace, a * ((n - 1) * (n - 2) * square + trace**2 - n * q)
