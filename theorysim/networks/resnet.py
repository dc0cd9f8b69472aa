r"""The residual network without normalisation, its branch scales explicit.

For an input a of d features, width n and depth L,

    Y_0 = W_in a / sqrt d,  Y_l = Y_{l-1} + (alpha_l sigma_w / sqrt n) W_l phi(Y_{l-1}),  f = v.Y_L / sqrt n,

with every trained number (W_in, all W_l and v) N(0, 1) at the start: the tangent parametrization, in which
a step of gradient descent moves f by the tangent kernel. Nothing is left to the defaults of a library. The
layers are one `lax.scan`, so that depth does not cost compile time.

Example:
    >>> alpha = jnp.full(100, 0.1)
    >>> model = ResNet(3, 64, alpha, activation=jax.nn.relu, rngs=nnx.Rngs(0))
    >>> model(jnp.ones((7, 3))).shape
    (7,)
    >>> neural_covariance(model, jnp.ones((2, 3))).shape, tangent_kernel(model, jnp.ones((2, 3))).shape
    ((101, 2, 2), (2, 2))
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["ResNet", "neural_covariance", "tangent_kernel"]


class ResNet(nnx.Module):
    """Residual network with one output; see the module for its formula.

    Attributes:
        first: W_in, (d, n).
        hidden: all W_l, (L, n, n); row i of W_l holds what leaves neuron i.
        readout: v, (n,).
        scales: alpha_l sigma_w / sqrt n, (L,); not trained.

    Example:
        >>> model = ResNet(2, 8, jnp.ones(3), activation=jnp.tanh, rngs=nnx.Rngs(0))
        >>> model.states(jnp.ones((5, 2))).shape
        (4, 5, 8)
    """

    def __init__(
        self,
        features: int,
        width: int,
        alpha: ArrayLike,
        *,
        activation: Callable[[Array], Array],
        sigma_w: ArrayLike = 1.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Draw the parameters.

        Args:
            features: d, >= 1 (static).
            width: n, >= 1 (static).
            alpha: branch scales, (L,), finite; L may be 0. They may be traced, and are no parameters.
            activation: elementwise function (static).
            sigma_w: standard deviation of sqrt(n) times an effective weight, >= 0; may be traced.
            dtype: of parameters and computation; inputs are converted to it.
            rngs: `nnx.Rngs(key)`; its `params` stream is drawn from.

        Raises:
            ValueError: sizes below 1, scales that are not finite or not along one axis, or sigma_w < 0.
        """
        features, width = positive_int(features, "features"), positive_int(width, "width")
        alpha = floating(real(alpha, "alpha", low_open=True, high_open=True))
        if alpha.ndim != 1:
            raise ValueError(f"alpha must have one axis, the layers, got shape {alpha.shape}")
        real(scalar(sigma_w, "sigma_w"), "sigma_w", low=0, high_open=True)
        self.dtype = jnp.dtype(dtype)
        self.activation = activation
        scales = alpha.astype(dtype) * jnp.asarray(sigma_w, dtype) / jnp.sqrt(jnp.asarray(width, dtype))
        self.scales = nnx.Variable(scales)

        def normal(*shape):
            return nnx.Param(jax.random.normal(rngs.params(), shape, dtype))

        self.first = normal(features, width)
        self.hidden = normal(len(alpha), width, width)
        self.readout = normal(width)

    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        """The output f."""
        last, _ = self._layers(x, keep=False)
        return jnp.matmul(last, self.readout[...]) / jnp.sqrt(jnp.asarray(last.shape[-1], self.dtype))

    def states(self, x: Float[Array, "*batch d"]) -> Float[Array, "L_plus_1 *batch n"]:
        """Y_0, ..., Y_L."""
        return self._layers(x, keep=True)[1]

    def _layers(self, x, *, keep):
        x = jnp.asarray(x, self.dtype)
        start = jnp.matmul(x, self.first[...]) / jnp.sqrt(jnp.asarray(x.shape[-1], self.dtype))

        def layer(Y, step):
            scale, W = step
            Y = Y + scale * jnp.matmul(self.activation(Y), W)
            return Y, Y if keep else None

        last, later = lax.scan(layer, start, (self.scales[...], self.hidden[...]))
        return last, last[None] if later is None else jnp.concatenate([start[None], later])


def neural_covariance(model: ResNet, x: Float[Array, "k d"]) -> Float[Array, "L_plus_1 k k"]:
    """q_l(a, b) = Y_l(a).Y_l(b) / n after every layer, for all pairs of inputs.

    Example:
        >>> model = ResNet(2, 8, jnp.zeros(1), activation=jnp.tanh, rngs=nnx.Rngs(0))
        >>> q = neural_covariance(model, jnp.eye(2))
        >>> print(q.shape, bool((q[0] == q[1]).all()))
        (2, 2, 2) True
    """
    Y = model.states(x)
    return jnp.einsum("lan,lbn->lab", Y, Y) / Y.shape[-1]


def tangent_kernel(model: ResNet, x: Float[Array, "k d"], *, train_input: bool = True) -> Float[Array, "k k"]:
    """Tangent kernel of the output at the present parameters, by `jax.grad`.

    Args:
        model: the network.
        x: inputs, (k, d).
        train_input: whether W_in is trained (static).

    Returns:
        The inner products of the gradients, (k, k). Memory k times that of the parameters.

    Example:
        >>> model = ResNet(2, 8, jnp.zeros(0), activation=jnp.tanh, rngs=nnx.Rngs(0))
        >>> x = jnp.ones((1, 2))
        >>> frozen = tangent_kernel(model, x, train_input=False)
        >>> print(bool(jnp.allclose(frozen, neural_covariance(model, x)[-1])))
        True
    """
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    def output(params, row):
        return nnx.merge(graphdef, params, rest)(row)

    gradients = jax.vmap(jax.grad(output), (None, 0))(params, x)
    if not train_input:
        del gradients["first"]
    leaves = [leaf.reshape(len(x), -1) for leaf in jax.tree.leaves(gradients)]
    return sum((jnp.matmul(leaf, leaf.T) for leaf in leaves), jnp.zeros((), model.dtype))
