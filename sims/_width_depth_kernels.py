"""One random network, or one batch of them, for each experiment on width and depth.

Networks compute in float32, as they do in practice; `dtype` says otherwise where their norms overflow.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from theorysim import width_depth as wd
from theorysim.networks.resnet import ResNet, neural_covariance, tangent_kernel
from theorysim.numerics.chebyshev import chebyshev_fit, chebyshev_nodes, clenshaw
from theorysim.numerics.gaussian import angle_of_correlation, two_point
from theorysim.numerics.products import matmul
from theorysim.width_depth.factors import psd_factor
from theorysim.width_depth.forward import gram, map_networks, times_factor


def pair_matrix(c, dtype="float32"):
    """Covariances of two inputs of unit variance and correlation c."""
    c = jnp.asarray(c, dtype)
    return jnp.array([[1.0, 0.0], [0.0, 1.0]], dtype) + c * jnp.array([[0.0, 1.0], [1.0, 0.0]], dtype)


def _pair(q):
    return {"aa": q[..., 0, 0], "bb": q[..., 1, 1], "ab": q[..., 0, 1]}


def last_covariances(alpha2, c, key, *, n, num, dtype="float32"):
    """Covariances after the last layer of `num` networks with these squared branch scales."""
    q = wd.sample_forward(key, pair_matrix(c, dtype), n, alpha2.astype(dtype), "relu", num)
    return _pair(q[:, -1])


def paths(alpha2, c, key, *, n, num):
    """Covariances after every layer."""
    return _pair(wd.sample_forward(key, pair_matrix(c), n, alpha2.astype("float32"), "relu", num))


def neurons(alpha2, key, *, n, num):
    """One neuron of each of `num` networks, and the mean second and fourth power over all its neurons."""
    one = jnp.ones((1, 1), "float32")
    Y = wd.sample_states(key, one, n, alpha2.astype("float32"), "relu", num)[:, :, 0]
    return {"first": Y[:, 0], "second": (Y**2).mean(1), "fourth": (Y**4).mean(1)}


def mlp_paths(plus, minus, c, key, *, n, L, num):
    """Covariances after every layer of a network without skips, of slopes `plus` and `minus`.

    Weights are N(0, sigma^2/n) with the sigma^2 that keeps the variance at infinite width (He).
    """
    plus, minus = (jnp.asarray(slope, "float32") for slope in (plus, minus))
    gain = 2 / (plus**2 + minus**2)
    start = psd_factor(pair_matrix(c))

    def network(key):
        def layer(Y, index):
            phi = jnp.where(Y > 0, plus * Y, minus * Y)
            Z = jax.random.normal(jax.random.fold_in(key, index), (n, 2), "float32")
            Y = jnp.sqrt(gain) * times_factor(Z, psd_factor(gram(phi)))
            return Y, gram(Y)

        Y = times_factor(jax.random.normal(jax.random.fold_in(key, L), (n, 2), "float32"), start)
        _, later = jax.lax.scan(layer, Y, jnp.arange(L))
        return jnp.concatenate([gram(Y)[None], later])

    return _pair(map_networks(network, key, num, 2 * n))


def dense_network(alpha2, c, key, *, n):
    """A Flax network of width n beside two samplers of the same law."""
    alpha2 = alpha2.astype("float32")
    root = psd_factor(pair_matrix(c))
    inputs = 2**0.5 * root
    keys = jax.random.split(key, 3)
    model = ResNet(2, n, jnp.sqrt(alpha2), activation=jax.nn.relu, rngs=nnx.Rngs(keys[0]))
    q, ntk = neural_covariance(model, inputs)[-1], tangent_kernel(model, inputs)
    forward = wd.sample_forward(keys[1], pair_matrix(c), n, alpha2, "relu", 1)[0, -1]
    both = wd.sample_ntk(keys[2], pair_matrix(c), n, alpha2, "relu", 1)
    return {
        "nngp": q[0, 1],
        "ntk": ntk[0, 1],
        "nngp_sampled": forward[0, 1],
        "ntk_sampled": both.ntk[0, 0, 1],
    }


def gram_error(alpha2, K0, limit, key, *, n):
    """Relative Frobenius distance between the Gram matrix of a random network and its limit."""
    q = wd.sample_forward(key, _single(K0), n, _single(alpha2), "relu", 1)[0, -1]
    return jnp.linalg.norm(q - limit) / jnp.linalg.norm(limit)


def digit_scores(alpha2, K0, targets, key, *, n):
    """Scores of the test digits by regression with the covariance kernel of one random network.

    The first len(targets) rows of K0 (all inputs) are the digits to learn from.
    """
    q = wd.sample_forward(key, _single(K0), n, _single(alpha2), "relu", 1)[0, -1]
    return regression(q.astype(targets.dtype), targets)


def regression(K, targets):
    """Scores of the later inputs from the targets of the first, with a ridge of 1e-4 of the mean variance."""
    train = len(targets)
    ridge = 1e-4 * jnp.trace(K[:train, :train]) / train
    weights = jnp.linalg.solve(K[:train, :train] + ridge * jnp.eye(train), targets)
    return matmul(K[train:, :train], weights)


def one_hot(y):
    """Targets 0.9 for the right class and -0.1 for the others."""
    return jax.nn.one_hot(y, 10) - 0.1


def mlp_correlation(c, L):
    """Correlations after L layers of a He-initialised ReLU network without skips, at infinite width.

    A polynomial of degree 63 in the angle: after the first layer it is smooth, and accurate to 1e-10.
    """
    theta = chebyshev_nodes(64, 0.0, jnp.pi, c.dtype)
    last = jax.lax.fori_loop(0, L, lambda _, c: two_point("relu", 1.0, 1.0, c).F * 2, jnp.cos(theta))
    values = clenshaw(chebyshev_fit(last), angle_of_correlation(c), 0.0, jnp.pi)
    return jnp.where(c == 1, 1, values)


def _single(x):
    return jnp.asarray(x, "float32")
