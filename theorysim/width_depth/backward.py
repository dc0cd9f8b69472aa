r"""Finite width: the tangent kernel of random networks, sampled exactly without their weight matrices.

The backward pass meets the same W_l as the forward pass. Conditioned on what the forward pass has seen of it,
with w = W_l / sigma_w of entries N(0, 1/n), Phi = Q R, H = w Q and D the gradients n x k,

    w'D = Q H'D + (I - Q Q') Z R_D,      D = Q_D R_D,   H, Z of entries N(0, 1/n) independent,

so only H and Q are kept: O(n k^2) a layer instead of n^2. For f = v.Y_L / sqrt n in the tangent
parametrization, d_l = sqrt n df/dY_l, g_l = d_l'd_l / n and S_l = Phi'Phi / n,

    NTK = q_L + sum_l x_l g_l S_{l-1} + g_0 K0 (W_in trained).

Derived, see docs/width_depth.md.

Example:
    >>> draw = sample_ntk(jax.random.key(0), jnp.eye(1), 1000, jnp.full(16, 1 / 16), "relu", num=400)
    >>> print(f"{draw.ntk.mean():.2f}")  # 4.066 at infinite width
    4.07
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, activation, checked_activation, derivative
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import positive_int
from theorysim.width_depth.arguments import layer_variances, psd_matrix
from theorysim.width_depth.factors import psd_factor, tall_factor
from theorysim.width_depth.forward import gram, map_networks, times_factor

__all__ = ["NetworkDraws", "sample_ntk"]

# Numbers that the networks of one batch hold: most of them are read once, on the way back, so that the cache
# matters less than the few operations at once of small batches.
_BATCH_SIZE = 2**24


class NetworkDraws(NamedTuple):
    """Kernels of random networks at initialisation, one per network along the leading axis.

    Attributes:
        nngp: q_L = Y_L'Y_L / n, (num, k, k).
        ntk: the tangent kernel, (num, k, k).
        grad: g_0 = (df/dY_0)'(df/dY_0), (num, k, k).
    """

    nngp: Float[Array, "num k k"]
    ntk: Float[Array, "num k k"]
    grad: Float[Array, "num k k"]


def sample_ntk(
    key: Array,
    K0: ArrayLike,
    n: int,
    alpha2: ArrayLike,
    phi: Activation,
    num: int,
    *,
    sigma_w2: ArrayLike = 1.0,
    train_input: bool = True,
) -> NetworkDraws:
    """Finite-width kernels of `num` random networks, jointly exact in law.

    Args:
        key: random key; network r uses fold_in(key, r).
        K0: covariances <a, b>/d of the inputs, (k, k), positive semidefinite of any rank.
        n: width, >= 1 (static); it may be below k.
        alpha2: squared branch scales, (L,), >= 0; L may be 0.
        phi: activation (static).
        num: number of networks, >= 1 (static).
        sigma_w2: variance of sqrt(n) times a weight, >= 0.
        train_input: whether W_in is trained, which adds g_0 K0 to the NTK (static).

    Returns:
        NetworkDraws. Memory 3 n k L numbers a network, of which a batch holds one or up to 2^24 numbers.

    Raises:
        ValueError: K0 that cannot be, negative scales, sizes below 1, or unknown phi.

    Example:
        >>> draw = sample_ntk(jax.random.key(0), jnp.ones((2, 2)), 3, jnp.zeros(0), "relu", num=4)
        >>> print(draw.ntk.shape, bool(jnp.allclose(draw.ntk, draw.nngp + draw.grad)))
        (4, 2, 2) True
    """
    phi = checked_activation(phi)
    n, num = positive_int(n, "n"), positive_int(num, "num")
    K0, x = psd_matrix(K0), layer_variances(alpha2, sigma_w2)
    dtype = jnp.result_type(K0, x)
    return _sample(key, K0.astype(dtype), x.astype(dtype), phi, n, num, train_input)


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _sample(key, K0, x, phi, n, num, train_input):
    f = activation(phi)
    df = derivative(f)
    k, dtype = len(K0), K0.dtype
    R0 = psd_factor(K0)

    def normal(key, shape=(n, k)):
        return jax.random.normal(key, shape, dtype)

    def network(key):
        keys = jax.random.split(key, 4)
        steps = (x, jnp.arange(len(x)))

        def forward(Y, step):
            x, index = step
            Phi = f(Y)
            Q, R = tall_factor(Phi)
            H = normal(jax.random.fold_in(keys[1], index)) / jnp.sqrt(jnp.asarray(n, dtype))
            return Y + jnp.sqrt(x) * times_factor(H, R.T), (Q, H, df(Y), gram(Phi))

        def backward(state, layer):
            D, tangent = state
            (x, index), (Q, H, slope, S) = layer
            tangent = tangent + x * gram(D) * S
            Z = normal(jax.random.fold_in(keys[2], index)) / jnp.sqrt(jnp.asarray(n, dtype))
            fresh = times_factor(Z, psd_factor(n * gram(D)))
            reused = matmul(Q, matmul(H.T, D) - matmul(Q.T, fresh))
            return (D + jnp.sqrt(x) * slope * (reused + fresh), tangent), None

        Y0 = times_factor(normal(keys[0]), R0)
        Y, seen = lax.scan(forward, Y0, steps)
        D = jnp.broadcast_to(normal(keys[3], (n, 1)), (n, k))
        q = gram(Y)
        (D, tangent), _ = lax.scan(backward, (D, q), (steps, seen), reverse=True)
        grad = gram(D)
        return NetworkDraws(q, tangent + grad * K0 if train_input else tangent, grad)

    return map_networks(network, key, num, 3 * n * k * max(1, len(x)), _BATCH_SIZE)
