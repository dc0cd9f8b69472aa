r"""A convolutional network, with every scale that a theory depends on given explicitly.

On images x_0 of shape (h, w, channels), for layers l = 1 ... L,

    z_l = conv(x_{l-1}, W_l) + b_l,      x_l = pool(activation(z_l)),      output = c W' vec(x_L) + b,

where `conv` has an odd kernel of k x k pixels, stride 1 and a border of zeros, and `pool` takes the largest
of each 2 x 2 pixels. W_l ~ N(0, weight_std_l^2) of shape (k k n_{l-1}, n_l), the pixels of the kernel in rows
and the channels last. Nothing is left to the defaults of a library. Products have JAX's default precision.

Convolutions are matrix products with shifted copies of the image: under `vmap` over networks that is twice as
fast on a CPU as the grouped convolution that XLA makes of it, at k^2 times the memory of the image.

Example:
    >>> sizes = (8, 8, 1), (16, 32), 10
    >>> std = cnn_fan_in_stds(*sizes, gain=2**0.5)
    >>> model = CNN(*sizes, activation=nnx.relu, weight_std=std, rngs=nnx.Rngs(0))
    >>> x = jnp.ones((7, 8, 8, 1))
    >>> model(x).shape, model.features(x).shape, model.readout().shape
    ((7, 10), (7, 128), (10, 128))
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from theorysim.networks.mlp import drawn_layers, fan_in_stds, per_layer
from theorysim.numerics.validation import positive_int, real, scalar

__all__ = ["CNN", "cnn_fan_in_stds"]


class CNN(nnx.Module):
    """Convolutions, activations and poolings, and a linear readout; see the module for its formula.

    Example:
        >>> scales = {"weight_std": (0.5, 1.0), "bias_std": (0.0, 0.0)}
        >>> model = CNN((4, 6, 3), (5,), 2, activation=jnp.tanh, rngs=nnx.Rngs(0), **scales)
        >>> model(jnp.zeros((4, 6, 3)))
        Array([0., 0.], dtype=float32)
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int],
        outputs: int,
        *,
        kernel: int = 3,
        activation: Callable[[Array], Array],
        weight_std: Sequence[ArrayLike] | Array,
        bias_std: Sequence[ArrayLike] | Array | None = None,
        output_scale: ArrayLike = 1.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Draw the parameters.

        Args:
            shape: (height, width, channels) of the images; height and width divisible by 2^L (static).
            channels: (n_1, ..., n_L) of the layers, L >= 1 (static).
            outputs: of the readout, >= 1 (static).
            kernel: k, odd (static).
            activation: elementwise function after every convolution (static).
            weight_std: standard deviation of the weights of each layer and of the readout, L + 1 scalars
                >= 0, which may be traced.
            bias_std: that of the biases, likewise; None for no biases.
            output_scale: c, which multiplies the readout's weights and is no parameter; may be traced.
            dtype: of parameters and computation; inputs are converted to it.
            rngs: `nnx.Rngs(key)`; its `params` stream is drawn from.

        Raises:
            ValueError: sizes that do not fit, or scales that are not L + 1 scalars in their range.
        """
        shapes = _weight_shapes(shape, channels, outputs, kernel)
        self.shape, self.kernel, self.activation = tuple(shape), kernel, activation
        self.dtype = jnp.dtype(dtype)
        weight_std = per_layer(weight_std, "weight_std", len(shapes), low=0)
        bias_std = None if bias_std is None else per_layer(bias_std, "bias_std", len(shapes), low=0)
        scale = real(scalar(output_scale, "output_scale"), "output_scale", high_open=True)
        self.output_scale = nnx.Variable(jnp.asarray(scale, dtype))
        self.weights, self.biases = drawn_layers(weight_std, bias_std, shapes, rngs, dtype)

    def __call__(self, x: Float[Array, "*batch h w c"]) -> Float[Array, "*batch outputs"]:
        """The output of the readout."""
        y = jnp.matmul(self.features(x), self.readout().T)
        return y + _row(self.biases[-1][...], y.ndim) if self.biases else y

    def features(self, x: Float[Array, "*batch h w c"]) -> Float[Array, "*batch p"]:
        """What the readout reads, vec(x_L): pixels in rows, channels last."""
        x = jnp.asarray(x, self.dtype)
        batch = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        for layer, weight in enumerate(self.weights[:-1]):
            z = jnp.matmul(_shifted(x, self.kernel), weight[...])
            if self.biases:
                z = z + _row(self.biases[layer][...], 4)
            x = _pool(self.activation(z))
        return x.reshape(*batch, -1)

    def readout(self) -> Float[Array, "outputs p"]:
        """Weights of the last layer, scale included; times the features, plus the bias: outputs."""
        return self.output_scale[...] * self.weights[-1][...].T


def cnn_fan_in_stds(
    shape: Sequence[int],
    channels: Sequence[int],
    outputs: int,
    *,
    kernel: int = 3,
    gain: float | int = 1.0,
) -> tuple[float, ...]:
    """Standard deviations gain / sqrt(fan-in) of the layers and of the readout.

    Args:
        shape: (height, width, channels) of the images.
        channels: of the layers.
        outputs: of the readout.
        kernel: k, odd.
        gain: sigma_w >= 0; sqrt(2) keeps the second moment through ReLUs, borders and pooling aside.

    Raises:
        ValueError: sizes that do not fit, or a negative gain.

    Example:
        >>> cnn_fan_in_stds((4, 4, 1), (16,), 10, gain=3.0)
        (1.0, 0.375)
    """
    fan_in = [size[0] for size in _weight_shapes(shape, channels, outputs, kernel)]
    return fan_in_stds((*fan_in, outputs), gain)


def _weight_shapes(shape, channels, outputs, kernel):
    if len(shape) != 3:
        raise ValueError(f"shape must be (height, width, channels), got {tuple(shape)}")
    height, width, first = (positive_int(n, "shape") for n in shape)
    counts = [positive_int(n, "channels") for n in channels]
    if not counts:
        raise ValueError("channels must have an entry for each layer, at least one, got none")
    if positive_int(kernel, "kernel") % 2 == 0:
        raise ValueError(f"kernel must be odd, got {kernel}")
    factor = 2 ** len(counts)
    if height % factor or width % factor:
        raise ValueError(
            f"shape must have height and width divisible by {factor}, one pooling for each of {len(counts)} "
            f"layers, got {tuple(shape)}"
        )
    pixels = (height // factor) * (width // factor)
    inside = [(kernel**2 * a, b) for a, b in zip([first, *counts[:-1]], counts, strict=True)]
    return [*inside, (pixels * counts[-1], positive_int(outputs, "outputs"))]


def _shifted(x, k):
    """Copies of images (n, h, w, c) shifted by the pixels of the kernel, (n, h, w, k k c)."""
    h, w = x.shape[1:3]
    border = k // 2
    x = jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    return jnp.concatenate([x[:, i : i + h, j : j + w] for i in range(k) for j in range(k)], axis=-1)


def _pool(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def _row(bias, ndim):
    return bias.reshape((1,) * (ndim - 1) + bias.shape)
