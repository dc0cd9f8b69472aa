r"""The contrast: networks without skip connections, whose width and depth limits do not commute.

He-initialised ReLU network Y_l = sqrt(2) W_l phi(Y_{l-1}) of width n: |Y_l|^2 is a product of independent
factors X = (2/n) chi^2_K with K ~ Binomial(n, 1/2) active neurons, so log |Y_L|^2 is asymptotically normal
with

    mean  L E[log(4/n) + psi(K/2)] ~ -5 L/(2n),       variance  L (E psi'(K/2) + Var psi(K/2)) ~ 5 L/n:

L/n alone decides. With slopes 1 + c_+/sqrt n and 1 + c_-/sqrt n the correlation of two inputs has, as L/n ->
T, the random limit (Ito)

    d rho = [nu(rho) - rho (1 - rho^2)/2] dt + (1 - rho^2) dB,
    nu(rho) = ((c_+ - c_-)^2 / 2 pi) (sqrt(1 - rho^2) - rho arccos rho).

B. Hanin, M. Nica (2020), arXiv 1812.05994; M. Li, M. Nica, D. Roy (2022), arXiv 2206.02768. The moments
derived.

Example:
    >>> print(mlp_log_moments(100))
    LogMoments(mean=Array(-0.02542089, dtype=float64), var=Array(0.05193999, dtype=float64))
"""

from functools import partial
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.special import psi, zeta
from scipy.stats import binom

from theorysim.numerics.gaussian import angle_of_correlation, sine_less_theta_cosine
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["LogMoments", "mlp_log_moments", "shaped_mlp_sde"]


class LogMoments(NamedTuple):
    """Mean and variance that one layer adds to the log of the squared norm."""

    mean: Float[Array, ""]
    var: Float[Array, ""]


def mlp_log_moments(n: int) -> LogMoments:
    """Exact log-moments of one layer of a He-initialised ReLU network, given that a neuron is active.

    All n neurons are silent with probability 2^-n; then the norm is 0 for ever. The moments are conditional
    on the opposite.

    Args:
        n: width, >= 1 (static).

    Returns:
        LogMoments in the default float dtype. Cost O(n).

    Raises:
        ValueError: n < 1.

    Example:
        >>> moments = mlp_log_moments(10_000)
        >>> print(f"{10_000 * moments.mean:.3f} {10_000 * moments.var:.3f}")  # -5/2 and 5
        -2.500 5.002
    """
    n = positive_int(n, "n")
    K = np.arange(1, n + 1)
    weight = binom.pmf(K, n, 0.5)
    weight /= weight.sum()
    log_factor = np.log(4 / n) + psi(K / 2)
    mean = (weight * log_factor).sum()
    var = (weight * zeta(2, K / 2)).sum() + (weight * (log_factor - mean) ** 2).sum()
    return LogMoments(*(jnp.asarray(value, jnp.result_type(float)) for value in (mean, var)))


def shaped_mlp_sde(
    key: Array, c_plus: ArrayLike, c_minus: ArrayLike, rho0: ArrayLike, T: ArrayLike, steps: int, num: int
) -> Float[Array, " num"]:
    """Correlation of two inputs in the shaped ReLU network at depth over width T: samples of the limit.

    Solved in z = artanh(rho), where the noise is additive: dz = [nu(rho)/(1 - rho^2) + rho/2] dt + dB. The
    drift, which is stiff close to rho = -1, is bounded by 1 over the step (tamed Euler, strong order 1).

    Args:
        key: random key; path r uses fold_in(key, r).
        c_plus: shape of the positive slope.
        c_minus: shape of the negative slope.
        rho0: correlation of the inputs, in (-1, 1).
        T: depth over width, >= 0; all numbers are scalars.
        steps: of the solver, >= 1 (static).
        num: number of paths, >= 1 (static).

    Returns:
        rho(T) of every path, (num,), in [-1, 1]. Its noise is drawn on the fly: diffrax refuses reverse-mode
        derivatives.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> rho = shaped_mlp_sde(jax.random.key(0), 0.0, -1.0, 0.3, 1.0, steps=64, num=4000)
        >>> print(f"{rho.mean():.2f} {rho.std():.2f}")
        0.34 0.59
    """
    values = {"c_plus": c_plus, "c_minus": c_minus, "T": T}
    for name, value in values.items():
        real(
            scalar(value, name), name, low=0 if name == "T" else -np.inf, low_open=name != "T", high_open=True
        )
    real(scalar(rho0, "rho0"), "rho0", low=-1, high=1, low_open=True, high_open=True)
    steps, num = positive_int(steps, "steps"), positive_int(num, "num")
    dtype = jnp.result_type(*(getattr(v, "dtype", 0.0) for v in (c_plus, c_minus, rho0, T)), 0.0)
    difference = floating(jnp.asarray(c_plus, dtype)) - jnp.asarray(c_minus, dtype)
    return _shaped(key, difference, jnp.asarray(rho0, dtype), jnp.asarray(T, dtype), steps, num)


@partial(jax.jit, static_argnums=(4, 5))
def _shaped(key, difference, rho0, T, steps, num):
    h = T / steps

    def drift(t, z, args):
        # 1 - rho^2 = sech^2 z, which keeps its digits where rho is close to 1.
        theta = angle_of_correlation(jnp.tanh(z))
        sech = 1 / jnp.cosh(z)
        rate = difference**2 / (2 * jnp.pi) * sine_less_theta_cosine(theta) / sech**2 + jnp.tanh(z) / 2
        return rate / (1 + h * jnp.abs(rate))

    def path(index):
        noise = diffrax.UnsafeBrownianPath(
            shape=jax.ShapeDtypeStruct((), rho0.dtype),
            key=jax.random.fold_in(key, index),
            levy_area=diffrax.BrownianIncrement,
        )
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, z, args: drift(t, z, args) * T),
            diffrax.ControlTerm(lambda t, z, args: jnp.sqrt(T), noise),
        )
        # On the unit interval, so that T = 0 is a value like any other.
        solution = diffrax.diffeqsolve(
            terms,
            diffrax.Euler(),
            t0=jnp.zeros_like(T),
            t1=jnp.ones_like(T),
            dt0=jnp.full_like(T, 1 / steps),
            y0=jnp.arctanh(rho0),
            max_steps=steps + 1,
            adjoint=diffrax.DirectAdjoint(),
        )
        assert solution.ys is not None
        return jnp.tanh(solution.ys[0])

    return jax.vmap(path)(jnp.arange(num))
