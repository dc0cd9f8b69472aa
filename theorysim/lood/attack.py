r"""The best attack on a record: how well anybody can tell, from an output, whether the record was trained on.

In the units of `channel` the likelihood ratio of one draw x is monotone in |x - c|, c = z/rho: the optimal
(Neyman-Pearson) attack says "member" iff |x - c|^2 <= t. At the record c is its label: the attack thresholds
the loss. With F the noncentral chi-square distribution function (`ball`),

    FPR(t) = F(t; k, zeta/h),        TPR(t) = F(t/(1-h); k, zeta (1-h)/h),
    log-likelihood ratio = e at t_e = ((1-h)/h) (zeta - k log(1-h) - 2 e),
    total variation = TPR - FPR at t_0,
    delta(in||out) = TPR - e^eps FPR at t_eps,   delta(out||in) = (1-FPR) - e^eps (1-TPR) at t_-eps.

All curves grow with h at fixed zeta. TPR/FPR tends to e^epsilon as FPR -> 0, see `epsilon_bound`. The attack
by thresholding the loss: A. Sablayrolles et al. (2019), arXiv 1908.11229; the curves derived.

Accuracy in float64 against 25 digits (h = .05 .. .9, zeta = .3 .. 25, k = 1, 3, 10): total variation and both
deltas 3e-16 for eps up to 3, TPR relative to itself 5e-15 at FPR .01, 2e-13 at .001, 4e-11 at 1e-6.

Example:
    >>> print(attack_roc(0.5, 1.5, jnp.array([0.01, 0.1, 0.5])).round(6))
    [0.029923 0.28577  0.889723]
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import channel
from theorysim.lood.ball import Ball, ball, ball_offset
from theorysim.numerics.validation import broadcast, floating, positive_int, real

__all__ = ["PrivacyProfile", "attack_roc", "attack_tpr", "privacy_profile", "total_variation"]


class PrivacyProfile(NamedTuple):
    """The smallest delta for which releasing the output is (eps, delta)-indistinguishable.

    Attributes:
        delta: largest P_in(E) - e^eps P_out(E) over all events E; 0 from `epsilon_bound` on.
        delta_reverse: largest P_out(E) - e^eps P_in(E); positive for every eps.
    """

    delta: Float[Array, "*batch"]
    delta_reverse: Float[Array, "*batch"]


def attack_tpr(
    leverage: ArrayLike, surprise: ArrayLike, fpr: ArrayLike, *, outputs: int = 1
) -> Float[Array, "*batch"]:
    """True positive rate of the optimal attack at a false positive rate.

    Args:
        leverage: h, or rho^2 at another query, in [0, 1); at 0 there is nothing to tell, and TPR = FPR.
        surprise: zeta >= 0.
        fpr: false positive rate, in [0, 1]. All arrays broadcast.
        outputs: k, >= 1 (static).

    Returns:
        TPR in [0, 1], in the common shape; derivatives are implicit.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{attack_tpr(0.5, 1.5, 0.01):.9f}")
        0.029923186
    """
    h, zeta = channel(leverage, surprise)
    real(fpr, "fpr", low=0, high=1)
    return _tpr(*broadcast(h, zeta, fpr), outputs=positive_int(outputs, "outputs"))


def attack_roc(
    leverage: ArrayLike, surprise: ArrayLike, fpr: ArrayLike, *, outputs: int = 1
) -> Float[Array, "*batch m"]:
    """ROC curve of the optimal attack: its true positive rate over a grid of false positive rates.

    Args:
        leverage: h, or rho^2 at another query, in [0, 1).
        surprise: zeta >= 0; broadcasts against leverage.
        fpr: false positive rates, (m,), in [0, 1].
        outputs: k, >= 1 (static).

    Returns:
        TPR with a new last axis of m.

    Raises:
        ValueError: an argument out of its range, or fpr without exactly one axis.

    Example:
        >>> print(attack_roc(jnp.array([0.0, 0.9]), 4.0, jnp.array([0.001, 0.1])).round(4))
        [[0.001  0.1   ]
         [0.0234 0.9755]]
    """
    h, zeta = channel(leverage, surprise)
    fpr = floating(fpr)
    if fpr.ndim != 1:
        raise ValueError(f"fpr must be a vector, got shape {fpr.shape}")
    real(fpr, "fpr", low=0, high=1)
    outputs = positive_int(outputs, "outputs")
    return _tpr(*broadcast(h[..., None], zeta[..., None], _along_last(fpr, h.ndim)), outputs=outputs)


def total_variation(leverage: ArrayLike, surprise: ArrayLike, *, outputs: int = 1) -> Float[Array, "*batch"]:
    """Total variation distance of the two laws: the largest TPR - FPR of any attack.

    Args:
        leverage: h, or rho^2 at another query, in [0, 1).
        surprise: zeta >= 0; broadcasts against leverage.
        outputs: k, >= 1 (static).

    Returns:
        In [0, 1], in the common shape.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(f"{total_variation(0.5, 1.5):.9f}")
        0.407087160
    """
    h, zeta = channel(leverage, surprise)
    return _profile(*broadcast(h, zeta, 0.0), outputs=positive_int(outputs, "outputs")).delta


def privacy_profile(
    leverage: ArrayLike, surprise: ArrayLike, eps: ArrayLike, *, outputs: int = 1
) -> PrivacyProfile:
    """What releasing one output costs the record in privacy, both ways.

    Args:
        leverage: h, or rho^2 at another query, in [0, 1).
        surprise: zeta >= 0.
        eps: >= 0. All arrays broadcast.
        outputs: k, >= 1 (static).

    Returns:
        PrivacyProfile in the common shape; absolute error 3e-16 for eps up to 3, at most e^eps 1e-14.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> profile = privacy_profile(0.5, 1.5, 1.0)
        >>> print(f"{profile.delta:.9f} {profile.delta_reverse:.9f}")
        0.014769816 0.247459073
    """
    h, zeta = channel(leverage, surprise)
    real(eps, "eps", low=0, high_open=True)
    return _profile(*broadcast(h, zeta, eps), outputs=positive_int(outputs, "outputs"))


@partial(jax.jit, static_argnames="outputs")
def _tpr(h, zeta, fpr, *, outputs):
    proper = (fpr > 0) & (fpr < 1)
    _, c = _centre(h, zeta)
    a = ball_offset(jnp.where(proper, fpr, 0.5), c, outputs)
    return jnp.where(proper, _inside_law(a, h, zeta, outputs).inside, fpr)


@partial(jax.jit, static_argnames="outputs")
def _profile(h, zeta, eps, *, outputs):
    rho, c = _centre(h, zeta)
    leak = rho * rho  # h, but for 1 where h is 0

    def rates(llr):
        """FPR and TPR where the log-likelihood ratio is at least llr."""
        # t_llr - c^2, with what cancels taken out; no ball if t_llr < 0.
        excess = -zeta - (1 - h) / leak * (outputs * jnp.log1p(-h) + 2 * llr)
        square = c * c + excess
        radius = jnp.sqrt(jnp.where(square > 0, square, 1))
        a = jnp.where(square > 0, excess / (radius + c), -c)
        return ball(a, c, outputs=outputs), _inside_law(a, h, zeta, outputs)

    factor, nothing = jnp.exp(eps), h == 0
    out, inside = rates(eps)
    delta = inside.inside - factor * out.inside
    out, inside = rates(-eps)
    delta_reverse = out.outside - factor * inside.outside
    return PrivacyProfile(*(jnp.where(nothing, 0, jnp.maximum(x, 0)) for x in (delta, delta_reverse)))


def _centre(h, zeta):
    """rho, and the distance c = sqrt(zeta)/rho of the centre from the mean; where h = 0, rho counts as 1."""
    rho = jnp.sqrt(jnp.where(h > 0, h, 1))
    return rho, jnp.sqrt(zeta) / rho


def _inside_law(a, h, zeta, outputs) -> Ball:
    """The mass of N(rho z, (1-h) I) in the ball of radius c + a around z/rho."""
    rho, c = _centre(h, zeta)
    s = jnp.sqrt(1 - h)
    shift = jnp.where(h > 0, rho * jnp.sqrt(zeta), 0)
    return ball((a + shift) / s, c * s, outputs=outputs)


def _along_last(x, batch_rank):
    return x.reshape((1,) * batch_rank + x.shape)
