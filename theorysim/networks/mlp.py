r"""The multilayer perceptron, with every scale that a theory depends on given explicitly.

For widths (n_0, n_1, ..., n_L), with x_0 the input,

    z_l = c_l x_{l-1} W_l + b_l,    x_l = activation(z_l) for l < L,    output z_L,
    W_l ~ N(0, weight_std_l^2),     b_l ~ N(0, bias_std_l^2),

W_l of shape (n_{l-1}, n_l). Standard parametrization has weight_std_l = sigma_w / sqrt(n_{l-1}) and c_l = 1;
neural-tangent parametrization weight_std_l = sigma_w and c_l = 1 / sqrt(n_{l-1}). Nothing is left to the
defaults of a library. Products have JAX's default precision, which `jax.default_matmul_precision` changes.

Example:
    >>> widths, key = (50, 64, 1), jax.random.key(0)
    >>> std = fan_in_stds(widths)
    >>> model = MLP(widths, activation=jax.nn.relu, weight_std=std, bias_std=None, rngs=nnx.Rngs(key))
    >>> model(jnp.ones((7, 50))).shape
    (7, 1)

As a pure function of its parameters, for training, it is `theorysim.networks.train.functional(model)`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import positive_int, real, scalar

__all__ = ["MLP", "drawn_layers", "fan_in_stds", "per_layer"]


class MLP(nnx.Module):
    """Fully connected network; see the module for its formula.

    Example:
        >>> model = MLP((2, 3, 1), activation=jnp.tanh, weight_std=(1.0, 0.5), rngs=nnx.Rngs(0))
        >>> model(jnp.zeros(2))
        Array([0.], dtype=float32)
        >>> [z.shape for z in model.preactivations(jnp.zeros((4, 2)))]
        [(4, 3), (4, 1)]
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: Callable[[Array], Array],
        weight_std: Sequence[ArrayLike] | Array,
        bias_std: Sequence[ArrayLike] | Array | None = None,
        multipliers: Sequence[ArrayLike] | Array | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Draw the parameters.

        Args:
            widths: (n_0, ..., n_L), input and output included, L >= 1 (static).
            activation: elementwise function after every layer but the last (static).
            weight_std: standard deviation of the weights of each layer, L scalars >= 0, which may be traced.
            bias_std: that of the biases, likewise (0 for biases that start at zero); None for no biases.
            multipliers: c_l, L finite scalars, which may be traced and are no parameters; None for 1.
            dtype: of parameters and computation; inputs are converted to it.
            rngs: `nnx.Rngs(key)`; its `params` stream is drawn from.

        Raises:
            ValueError: fewer than two widths, or scales that are not L scalars in their range.
        """
        self.widths = _checked_widths(widths)
        depth = len(self.widths) - 1
        self.dtype = jnp.dtype(dtype)
        self.activation = activation
        weight_std = per_layer(weight_std, "weight_std", depth, low=0)
        bias_std = None if bias_std is None else per_layer(bias_std, "bias_std", depth, low=0)
        if multipliers is not None:
            values = [jnp.asarray(c, dtype) for c in per_layer(multipliers, "multipliers", depth)]
        self.multipliers = None if multipliers is None else nnx.Variable(jnp.stack(values))
        shapes = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        self.weights, self.biases = drawn_layers(weight_std, bias_std, shapes, rngs, dtype)

    def __call__(self, x: Float[Array, "*batch n_0"]) -> Float[Array, "*batch n_L"]:
        """The output z_L."""
        return self.preactivations(x)[-1]

    def features(self, x: Float[Array, "*batch n_0"]) -> Float[Array, "*batch p"]:
        """What the readout reads: x_{L-1}, the input itself without a hidden layer."""
        zs = self.preactivations(x)
        return self.activation(zs[-2]) if len(zs) > 1 else jnp.asarray(x, self.dtype)

    def readout(self) -> Float[Array, "n_L p"]:
        """Weights of the last layer, multiplier included; times the features, plus the bias: outputs."""
        weight = self.weights[-1][...].T
        return weight if self.multipliers is None else self.multipliers[...][-1] * weight

    def preactivations(self, x: Float[Array, "*batch n_0"]) -> tuple[Float[Array, "*batch _"], ...]:
        """All z_1, ..., z_L, each of shape (*batch, n_l)."""
        zs, x = [], jnp.asarray(x, self.dtype)
        for layer, weight in enumerate(self.weights):
            z = jnp.matmul(x, weight[...])
            if self.multipliers is not None:
                z = self.multipliers[...][layer] * z
            if self.biases:
                bias = self.biases[layer][...]
                z = z + bias.reshape((1,) * (z.ndim - 1) + bias.shape)
            zs.append(z)
            x = self.activation(z)
        return tuple(zs)


def fan_in_stds(widths: Sequence[int], gain: float | int = 1.0) -> tuple[float, ...]:
    """Standard deviations gain / sqrt(n_{l-1}) of each layer, which keep the size of activations.

    Args:
        widths: (n_0, ..., n_L), each >= 1.
        gain: sigma_w >= 0; sqrt(2) keeps the second moment through ReLUs.

    Raises:
        ValueError: fewer than two widths, or a negative gain.

    Example:
        >>> fan_in_stds((4, 100, 1))
        (0.5, 0.1)
    """
    real(scalar(gain, "gain"), "gain", low=0, high_open=True)
    return tuple(gain / n**0.5 for n in _checked_widths(widths)[:-1])


def _checked_widths(widths):
    if len(widths) < 2:
        raise ValueError(f"widths must hold at least input and output, got {tuple(widths)}")
    return tuple(positive_int(n, "widths") for n in widths)


def drawn_layers(
    weight_std: Sequence[Any],
    bias_std: Sequence[Any] | None,
    shapes: Sequence[tuple[int, int]],
    rngs: nnx.Rngs,
    dtype: DTypeLike,
) -> tuple[Any, Any]:
    """Gaussian weights of these shapes, inputs in rows, and biases; no biases without their deviations.

    Example:
        >>> weights, biases = drawn_layers((1.0,), None, [(3, 2)], nnx.Rngs(0), jnp.float32)
        >>> weights[0][...].shape, len(biases)
        ((3, 2), 0)
    """

    def drawn(std, shape):
        return nnx.Param(jnp.asarray(std, dtype) * jax.random.normal(rngs.params(), shape, dtype))

    weights = nnx.List(drawn(std, shape) for std, shape in zip(weight_std, shapes, strict=True))
    if bias_std is None:
        return weights, nnx.List(())
    return weights, nnx.List(drawn(std, shape[1:]) for std, shape in zip(bias_std, shapes, strict=True))


def per_layer(values: Any, name: str, depth: int, **interval: Any) -> tuple[Any, ...]:
    """One scalar for each of so many layers, each in its interval, or ValueError.

    Example:
        >>> per_layer((1.0, -1.0), "weight_std", 2, low=0)
        Traceback (most recent call last):
        ValueError: weight_std must be in [0, inf), got -1.0
    """
    if len(values) != depth:
        raise ValueError(f"{name} must have one entry for each of {depth} layers, got {len(values)}")
    return tuple(real(scalar(value, name), name, high_open=True, **interval) for value in values)
