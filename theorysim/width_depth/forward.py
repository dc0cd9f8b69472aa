r"""Finite width: the neural covariance of random networks, sampled exactly without their weight matrices.

Given Y_{l-1} for k inputs, an n x k matrix, the rows of the increment alpha_l W_l phi(Y_{l-1}) are
independent N(0, x_l S) with S = Phi'Phi/n, Phi = phi(Y_{l-1}): a layer costs n k normals and O(n k^2) instead
of n^2 of each. The law of (q_0, ..., q_L) is that of the dense network, at every n. Derived, see
docs/width_depth.md.

Example:
    >>> q = sample_forward(jax.random.key(0), jnp.eye(1), 50, jnp.full(100, 0.01), "linear", num=2000)
    >>> growth = jnp.log(q[:, -1, 0, 0] / q[:, 0, 0, 0])
    >>> print(f"{growth.mean():.2f} {growth.var():.3f}")  # (1 - 2/n) tau and 4 tau/n as L -> infinity
    0.96 0.082
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, activation, checked_activation
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import positive_int
from theorysim.width_depth.arguments import layer_variances, psd_matrix
from theorysim.width_depth.factors import psd_factor

__all__ = ["gram", "map_networks", "sample_forward", "sample_states", "times_factor"]

# Numbers that the networks of one batch hold: within the cache of a CPU.
_BATCH_SIZE = 2**19
# Up to this many inputs, products of small matrices are written out.
_FEW = 4


def sample_forward(
    key: Array,
    K0: ArrayLike,
    n: int,
    alpha2: ArrayLike,
    phi: Activation,
    num: int,
    *,
    sigma_w2: ArrayLike = 1.0,
) -> Float[Array, "num L_plus_1 k k"]:
    """Neural covariances q_l = Y_l'Y_l / n of `num` random networks, exact in law.

    Args:
        key: random key; network r uses fold_in(key, r).
        K0: covariances <a, b>/d of the inputs, (k, k), positive semidefinite of any rank.
        n: width, >= 1 (static); it may be below k.
        alpha2: squared branch scales, (L,), >= 0; L may be 0.
        phi: activation (static).
        num: number of networks, >= 1 (static).
        sigma_w2: variance of sqrt(n) times a weight, >= 0.

    Returns:
        q, (num, L + 1, k, k). Identical inputs have identical rows; no draw is NaN.

    Raises:
        ValueError: K0 that cannot be, negative scales, sizes below 1, or unknown phi.

    Example:
        >>> K0 = jnp.array([[1.0, 0.5], [0.5, 1.0]])
        >>> sample_forward(jax.random.key(0), K0, 1, jnp.ones(3), "relu", num=5).shape
        (5, 4, 2, 2)
    """
    phi = checked_activation(phi)
    n, num = positive_int(n, "n"), positive_int(num, "num")
    K0, x = psd_matrix(K0), layer_variances(alpha2, sigma_w2)
    dtype = jnp.result_type(K0, x)
    return _sample(key, K0.astype(dtype), x.astype(dtype), phi, n, num)


def sample_states(
    key: Array,
    K0: ArrayLike,
    n: int,
    alpha2: ArrayLike,
    phi: Activation,
    num: int,
    *,
    sigma_w2: ArrayLike = 1.0,
) -> Float[Array, "num n k"]:
    """Last layers Y_L of `num` random networks, exact in law; arguments of `sample_forward`.

    Returns:
        Y_L, (num, n, k): the neurons of each network for all inputs.

    Raises:
        ValueError: K0 that cannot be, negative scales, sizes below 1, or unknown phi.

    Example:
        >>> Y = sample_states(jax.random.key(0), jnp.eye(2), 3, jnp.ones(4), "relu", num=5)
        >>> Y.shape
        (5, 3, 2)
    """
    phi = checked_activation(phi)
    n, num = positive_int(n, "n"), positive_int(num, "num")
    K0, x = psd_matrix(K0), layer_variances(alpha2, sigma_w2)
    dtype = jnp.result_type(K0, x)
    return _sample(key, K0.astype(dtype), x.astype(dtype), phi, n, num, states=True)


def map_networks(
    sample: Callable[[Array], Any], key: Array, num: int, size: int, budget: int = _BATCH_SIZE
) -> Any:
    """Apply `sample`, a function of one key, to the keys of all networks, in batches of bounded memory.

    Args:
        sample: draws one network.
        key: random key; network r gets fold_in(key, r).
        num: number of networks.
        size: numbers that one network holds.
        budget: numbers that a batch may hold; by default what stays within the cache of a CPU.

    Returns:
        The results, with the networks as leading axis.

    Example:
        >>> map_networks(lambda key: jax.random.normal(key), jax.random.key(0), 3, 1).shape
        (3,)
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num))
    batches = -(-num // max(1, budget // size))
    # As even as can be: a smaller last batch is a second program to compile.
    return lax.map(sample, keys, batch_size=-(-num // batches))


def gram(P: Float[Array, "n k"]) -> Float[Array, "k k"]:
    """P'P / n, summed alike for equal columns where there are few.

    Example:
        >>> print(gram(jnp.ones((4, 2))))
        [[1. 1.]
         [1. 1.]]
    """
    n, k = P.shape
    if k > _FEW:
        return matmul(P.T, P) / n
    return (P[:, :, None] * P[:, None, :]).mean(0)


def times_factor(Z: Float[Array, "n k"], R: Float[Array, "k k"]) -> Float[Array, "n k"]:
    """Z R', rows N(0, R R') for standard normal Z.

    Example:
        >>> print(times_factor(jnp.ones((1, 2)), jnp.array([[1.0, 0.0], [1.0, 2.0]])))
        [[1. 3.]]
    """
    if len(R) > _FEW:
        return matmul(Z, R.T)
    return (Z[:, None, :] * R[None]).sum(2)


@partial(jax.jit, static_argnums=(3, 4, 5), static_argnames="states")
def _sample(key, K0, x, phi, n, num, states=False):
    f = activation(phi)
    k = len(K0)
    R0 = psd_factor(K0)

    def network(key):
        first, later = jax.random.split(key)

        def layer(Y, step):
            x, index = step
            Z = jax.random.normal(jax.random.fold_in(later, index), (n, k), K0.dtype)
            Y = Y + jnp.sqrt(x) * times_factor(Z, psd_factor(gram(f(Y))))
            return Y, None if states else gram(Y)

        Y = times_factor(jax.random.normal(first, (n, k), K0.dtype), R0)
        last, later_q = lax.scan(layer, Y, (x, jnp.arange(len(x))))
        return last if later_q is None else jnp.concatenate([gram(Y)[None], later_q])

    return map_networks(network, key, num, n * k)
