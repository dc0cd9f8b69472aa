r"""A wide network trained by gradients without some of its records, pulled back to where it started.

A multilayer perceptron in neural-tangent parametrization, with every parameter N(0, 1) at the start,

    z_1 = sqrt(sw2/d) x W_1 + sqrt(sb2) b_1,      z_l = sqrt(sw2/N) phi(z_{l-1}) W_l + sqrt(sb2) b_l,

output f = z_{depth + 1}, descends over the records D less S

    1/2 sum_{i in D less S} |f(x_i) - y_i|^2 + (noise/2) |theta - theta_0|^2

by heavy ball, at the rates that are best for curvatures between noise and edge + noise. Of few records,
n <= 2 d, the first layer moves by their kernel, without W_1, which takes one product a step for two.

As the width N grows it becomes the linear model of its tangent kernel T: the outputs are normal over keys,
with the covariance function of the network at the start (NNGP) before training, and a mean that is kernel
regression with T and ridge `noise` after it. J. Lee et al. (2019), arXiv 1902.06720; momentum by B. Polyak
(1964).

Example:
    >>> x, y = jnp.eye(3), jnp.array([1.0, -1.0, 1.0])
    >>> def output(key, kept):
    ...     return left_out_outputs(
    ...         key, kept, x, y, noise=0.1, edge=4.0, activation="relu", depth=1, width=64, sw2=2.0,
    ...         sb2=0.1, steps=60,
    ...     ).outputs[0, 0]
    >>> keys, masks = jax.random.split(jax.random.key(0), 200), jnp.array([[True] * 3, [False, True, True]])
    >>> grid = jax.vmap(jax.vmap(output, (0, None)), (None, 0))(keys, masks)
    >>> inside, outside = grid.mean(1)
    >>> print(f"{inside:.1f} {abs(outside) < 0.2}")  # at the first record, trained with it and without it
    0.9 True
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from theorysim.networks.mlp import MLP
from theorysim.numerics import gaussian
from theorysim.numerics.gp import labels
from theorysim.numerics.gram import check_finite
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import floating, positive_int, real, scalar

__all__ = ["LeftOutNetwork", "left_out_outputs"]


class LeftOutNetwork(NamedTuple):
    """One trained network.

    Attributes:
        outputs: at all n records, those it was not trained on included, (n, k).
        gradient_norm: of the objective, over all parameters, where training ended. In the linearised limit
            the outputs at the records it was trained on are off by at most gradient_norm / (2 sqrt(noise)).
    """

    outputs: Float[Array, "n k"]
    gradient_norm: Float[Array, ""]


def left_out_outputs(
    key: PRNGKeyArray,
    kept: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    *,
    noise: ArrayLike,
    edge: ArrayLike,
    activation: gaussian.Activation,
    depth: int,
    width: int,
    sw2: ArrayLike,
    sb2: ArrayLike,
    steps: int,
    dtype: DTypeLike = jnp.float32,
) -> LeftOutNetwork:
    """Train one network on the records that are kept, and evaluate it at all.

    Batch over initialisations by `jax.vmap` over key, and over who is left out by `jax.vmap` over kept: the
    network of one key starts at the same parameters whatever is kept.

    Args:
        key: random key of the initialisation.
        kept: which records to train on, booleans (n,).
        X: records, (n, d).
        y: labels, (n, k) or (n,).
        noise: ridge > 0 toward the start, a scalar. The noise variance, if training is read as regression
            in the tangent kernel.
        edge: > 0, what the eigenvalues of the tangent kernel stay below during training, a scalar. That of a
            finite network exceeds its limit's: 1.8 times the limit's largest eigenvalue is safe at width
            128, 1.1 times diverges for some keys.
        activation: see `numerics.gaussian.activation` (static).
        depth: hidden layers, >= 1 (static).
        width: N of each hidden layer, >= 1 (static).
        sw2: variance of a weight times its fan-in, > 0, a scalar.
        sb2: variance of a bias, >= 0, a scalar.
        steps: of heavy ball, >= 1 (static). Each shortens the distance to the minimum by
            (sqrt(edge + noise) - sqrt(noise)) / (sqrt(edge + noise) + sqrt(noise)), in the limit of many.
        dtype: floating type of parameters and computation (static).

    Returns:
        LeftOutNetwork; a run that diverges has outputs and a gradient that are huge, infinite or NaN.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> scales = {"noise": 1.0, "edge": 4.0, "sw2": 1.0, "sb2": 0.0}
        >>> network = left_out_outputs(
        ...     jax.random.key(0), jnp.array([True, False]), jnp.eye(2), jnp.ones(2), activation="erf",
        ...     depth=2, width=8, steps=50, **scales,
        ... )
        >>> network.outputs.shape, bool(network.gradient_norm < 1e-4)
        ((2, 1), True)
    """
    X, kept = floating(X), jnp.asarray(kept)
    if X.ndim != 2 or not X.size:
        raise ValueError(f"X must have shape (n, d) with n, d >= 1, got {X.shape}")
    check_finite(X, "X")
    if kept.dtype != bool or kept.shape != (len(X),):
        raise ValueError(
            f"kept must be booleans of shape ({len(X)},), one per record, "
            f"got {kept.dtype} of shape {kept.shape}"
        )
    y = labels(y, len(X), dtype)
    positive = {"noise": noise, "edge": edge, "sw2": sw2}
    for name, value in positive.items():
        real(scalar(value, name), name, low=0, low_open=True, high_open=True)
    real(scalar(sb2, "sb2"), "sb2", low=0, high_open=True)
    scales = {name: jnp.asarray(value, dtype) for name, value in (positive | {"sb2": sb2}).items()}
    return _train(
        key,
        kept,
        X.astype(dtype),
        y,
        **scales,
        activation=gaussian.checked_activation(activation),
        depth=positive_int(depth, "depth"),
        width=positive_int(width, "width"),
        steps=positive_int(steps, "steps"),
    )


@partial(jax.jit, static_argnames=("activation", "depth", "width", "steps"))
def _train(key, kept, X, y, *, noise, edge, sw2, sb2, activation, depth, width, steps):
    phi, widths = gaussian.activation(activation), (X.shape[1], *[width] * depth, y.shape[1])
    first, *later = _layers(key, widths, phi, X.dtype, sw2, sb2)
    lift, pull, metric = _first_layer(X, first.scale, first.bias_scale)

    # Transposed, records last: products with `lift` are one for all networks of a batch.
    def outputs(z, params):
        for (weight, bias), layer in zip(params, later, strict=True):
            z = layer.scale * matmul(weight.T, phi(z)) + layer.bias_scale * bias[:, None]
        return z

    def half_squares(z, params):
        return (jnp.where(kept[None], outputs(z, params) - y.T, 0) ** 2).sum() / 2

    start = [layer.start for layer in later]

    def gradient(z, moved, params):
        of_z, of_params = jax.grad(half_squares, (0, 1))(z, params)
        of_first = of_z if pull is None else matmul(of_z, pull)
        ridge = jax.tree.map(lambda g, p, p0: g + noise * (p - p0), of_params, params, start)
        return of_first + noise * moved, ridge

    largest, least = jnp.sqrt(edge + noise), jnp.sqrt(noise)
    rate, momentum = 4 / (largest + least) ** 2, ((largest - least) / (largest + least)) ** 2

    def step(state, _):
        z, params, speed = state
        speed = jax.tree.map(lambda v, g: momentum * v - rate * g, speed, gradient(z, *params))
        # z by what moves, not from where all is: coordinates that lift nothing may be huge.
        return (z + matmul(speed[0], lift), jax.tree.map(jnp.add, params, speed), speed), None

    z = first.scale * matmul(first.start[0].T, X.T) + first.bias_scale * first.start[1][:, None]
    params = jnp.zeros((width, len(lift)), X.dtype), start
    at_rest = jax.tree.map(jnp.zeros_like, params)
    (z, params, _), _ = lax.scan(step, (z, params, at_rest), length=steps)
    of_first, of_later = gradient(z, *params)
    squares = jnp.vdot(of_first, of_first if metric is None else matmul(of_first, metric))
    norm = jnp.sqrt(squares + optax.tree.norm(of_later, squared=True))
    return LeftOutNetwork(outputs(z, params[1]).T, norm)


class _Layer(NamedTuple):
    """Weights and biases at the start, and what multiplies them."""

    start: tuple[Array, Array]
    scale: Array
    bias_scale: Array


def _layers(key, widths, phi, dtype, sw2, sb2):
    ones = (1.0,) * (len(widths) - 1)
    model = MLP(widths, activation=phi, weight_std=ones, bias_std=ones, dtype=dtype, rngs=nnx.Rngs(key))
    return [
        _Layer((weight[...], bias[...]), jnp.sqrt(sw2 / fan_in), jnp.sqrt(sb2))
        for weight, bias, fan_in in zip(model.weights, model.biases, widths[:-1], strict=True)
    ]


def _first_layer(X, scale, bias_scale):
    """What takes a move of the first layer's coordinates to one of z_1, a gradient back, and their metric.

    With F = (scale X, bias_scale 1), z_1 moves by F times the move of weights and biases. Of few records that
    is F' C, and C the coordinates: F F', the kernel of layer 0, takes them to z_1, and nothing goes back.
    """
    n, d = X.shape
    F = jnp.concatenate([scale * X, jnp.broadcast_to(bias_scale, (n, 1))], axis=1)
    if n > 2 * d:
        return F.T, F, None
    K = matmul(F, F.T)
    return K, None, K
