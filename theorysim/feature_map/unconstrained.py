r"""Unconstrained features: what a readout and freely placed features come to under weight decay.

    min over W, H of  (1/2n)|W H - Y|^2 + (a/2)|W|^2 + (b/2)|H|^2         (n columns of H: the features)

is a nuclear-norm problem in W H. With s_k the singular values of Y (about its mean over examples, if a bias
is free and not decayed),

    z_k = max(s_k - n sqrt(ab), 0),    feature eigenvalue z_k sqrt(a/b)/n,
    minimum  sum (s_k - z_k)^2/(2n) + sqrt(ab) sum z_k.

Direction k lives iff sqrt(ab) < s_k/n; without a bias s_c = sqrt(n_c), so that minority classes vanish first.
Cross-entropy with C balanced classes: kappa = sqrt(a b n / C), logit gap g = log(1/kappa - C + 1) if kappa <
1/C and else 0, eigenvalue g sqrt(a/b)/sqrt(n C), C - 1 times. Both losses have the same gradient at 0 and so
the same threshold of total collapse, sqrt(ab) = s_1/n. Derived here.

Example:
    >>> print(unconstrained_thresholds(jnp.array([90, 9, 1])).round(4))  # of sqrt(ab), largest first
    [0.0949 0.03   0.01  ]
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.symmetric import eigh
from theorysim.numerics.validation import broadcast, floating, real, scalar

__all__ = [
    "CollapsedOptimum",
    "UnconstrainedOptimum",
    "unconstrained_ce",
    "unconstrained_mse",
    "unconstrained_regression",
    "unconstrained_thresholds",
]


class UnconstrainedOptimum(NamedTuple):
    """The minimum for squared loss.

    Attributes:
        spectrum: feature eigenvalues, falling; 0 for directions that weight decay removed.
        objective: the value there.
    """

    spectrum: Float[Array, " k"]
    objective: Float[Array, ""]


class CollapsedOptimum(NamedTuple):
    """The minimum for cross-entropy with balanced classes.

    Attributes:
        logit_gap: right logit less any other.
        eigenvalue: of the features, C - 1 times.
    """

    logit_gap: Array
    eigenvalue: Array


def unconstrained_mse(
    counts: ArrayLike, *, weight_decay_w: ArrayLike, weight_decay_h: ArrayLike, bias: bool = True
) -> UnconstrainedOptimum:
    """Feature eigenvalues for one-hot labels and squared loss, with any class sizes.

    Args:
        counts: examples of each class, > 0, (C,), C >= 2.
        weight_decay_w: a > 0, a scalar.
        weight_decay_h: b > 0, on the features, a scalar.
        bias: whether a bias is free and not decayed (static); then at most C - 1 directions live.

    Returns:
        UnconstrainedOptimum with C eigenvalues.

    Raises:
        ValueError: fewer than two classes, an empty one, or no weight decay.

    Example:
        >>> best = unconstrained_mse(jnp.array([12, 6, 3]), weight_decay_w=0.02, weight_decay_h=0.002)
        >>> print(best.spectrum.round(6), f"{best.objective:.6f}")
        [0.412987 0.270914 0.      ] 0.029564
    """
    counts = _counts(counts)
    a, b = _decays(weight_decay_w, weight_decay_h, counts.dtype)
    return _unconstrained_mse(counts, a, b, bias=bias)


def unconstrained_regression(
    singular_values: ArrayLike, *, n: ArrayLike, weight_decay_w: ArrayLike, weight_decay_h: ArrayLike
) -> UnconstrainedOptimum:
    """Feature eigenvalues for any real targets and squared loss.

    Args:
        singular_values: s_k >= 0 of the targets Y, less their mean over examples if a bias is free, (k,).
        n: examples, > 0, a scalar.
        weight_decay_w: a > 0, a scalar.
        weight_decay_h: b > 0, a scalar.

    Returns:
        UnconstrainedOptimum, in the order of the singular values.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> s = jnp.array([3.0, 1.0])
        >>> print(unconstrained_regression(s, n=10, weight_decay_w=0.1, weight_decay_h=0.1).spectrum)
        [0.2 0. ]
    """
    s = floating(real(singular_values, "singular_values", low=0, high_open=True))
    if s.ndim != 1 or not s.size:
        raise ValueError(f"singular_values must be a vector of at least one, got shape {s.shape}")
    real(scalar(n, "n"), "n", low=0, low_open=True, high_open=True)
    return _shrunk(s, jnp.asarray(n, s.dtype), *_decays(weight_decay_w, weight_decay_h, s.dtype))


def unconstrained_thresholds(counts: ArrayLike, *, bias: bool = False) -> Float[Array, " C"]:
    """Values of sqrt(ab) at which one more direction of the features vanishes, for squared loss.

    Args:
        counts: examples of each class, > 0, (C,).
        bias: whether a bias is free (static); then the last threshold is 0.

    Returns:
        s_k/n, falling, (C,); beyond the first all features vanish, for squared loss and for cross-entropy
        (there with a bias, or balanced).

    Raises:
        ValueError: fewer than two classes, or an empty one.

    Example:
        >>> print(unconstrained_thresholds(jnp.array([10, 10, 10]), bias=True).round(6))  # 1/sqrt(nC) twice
        [0.105409 0.105409 0.      ]
    """
    counts = _counts(counts)
    return _singular_values(counts, bias=bias) / counts.sum()


def unconstrained_ce(
    *, classes: ArrayLike, per_class: ArrayLike, weight_decay_w: ArrayLike, weight_decay_h: ArrayLike
) -> CollapsedOptimum:
    """Logit gap and feature eigenvalue for cross-entropy and classes of equal size.

    Args:
        classes: C >= 2. Arrays broadcast.
        per_class: examples n/C of each, > 0.
        weight_decay_w: a > 0.
        weight_decay_h: b > 0.

    Returns:
        CollapsedOptimum; both 0 from sqrt(ab) = 1/sqrt(nC) on.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> best = unconstrained_ce(classes=4, per_class=10, weight_decay_w=0.02, weight_decay_h=0.0005)
        >>> print(f"{best.logit_gap:.6f} {best.eigenvalue:.6f}")
        4.574711 2.287355
    """
    real(classes, "classes", low=2, high_open=True)
    real(per_class, "per_class", low=0, low_open=True, high_open=True)
    real(weight_decay_w, "weight_decay_w", low=0, low_open=True, high_open=True)
    real(weight_decay_h, "weight_decay_h", low=0, low_open=True, high_open=True)
    return _unconstrained_ce(*broadcast(classes, per_class, weight_decay_w, weight_decay_h))


@partial(jax.jit, static_argnames="bias")
def _unconstrained_mse(counts, a, b, *, bias):
    return _shrunk(_singular_values(counts, bias=bias), counts.sum(), a, b)


@jax.jit
def _shrunk(s, n, a, b):
    strength = jnp.sqrt(a) * jnp.sqrt(b)
    z = jnp.maximum(s - n * strength, 0)
    value = ((s - z) ** 2).sum() / (2 * n) + strength * z.sum()
    return UnconstrainedOptimum(z * jnp.sqrt(a / b) / n, value)


def _singular_values(counts, *, bias):
    """Of the one-hot labels (C, n), less their mean over examples if there is a bias; falling."""
    if not bias:
        return jnp.sort(jnp.sqrt(counts))[::-1]
    squares = eigh(jnp.diag(counts) - jnp.outer(counts, counts) / counts.sum())[0]
    # The last is 0: the rows sum to it.
    return jnp.sqrt(squares.at[-1].set(1)).at[-1].set(0)


@jax.jit
def _unconstrained_ce(classes, per_class, a, b):
    kappa = jnp.sqrt(a * per_class) * jnp.sqrt(b)
    alive = kappa * classes < 1
    inside = jnp.where(alive, 1 / jnp.where(alive, kappa, 1) - classes + 1, 1)
    gap = jnp.where(alive, jnp.log(inside), 0)
    return CollapsedOptimum(gap, gap * jnp.sqrt(a / b) / (classes * jnp.sqrt(per_class)))


def _counts(counts):
    counts = floating(real(counts, "counts", low=0, low_open=True, high_open=True))
    if counts.ndim != 1 or len(counts) < 2:
        raise ValueError(f"counts must hold at least two classes, got shape {counts.shape}")
    return counts


def _decays(a, b, dtype):
    for name, value in (("weight_decay_w", a), ("weight_decay_h", b)):
        real(scalar(value, name), name, low=0, low_open=True, high_open=True)
    return jnp.asarray(a, dtype), jnp.asarray(b, dtype)
