r"""A wide network trained by gradients without some of its records, pulled back to where it started.

A multilayer perceptron in neural-tangent parametrization, with every parameter N(0, 1) at the start,

    z_1 = sqrt(sw2/d) x W_1 + sqrt(sb2) b_1,      z_l = sqrt(sw2/N) phi(z_{l-1}) W_l + sqrt(sb2) b_l,

output f = z_{depth + 1}, descends over the records D less S

    1/2 sum_{i in D less S} |f(x_i) - y_i|^2 + (noise/2) |theta - theta_0|^2

by heavy ball, at the rates that are best for curvatures between noise and edge + noise. As the width N grows
it becomes the linear model of its tangent kernel T: the outputs are normal over keys, with the covariance
function of the network at the start (NNGP) before training, and a mean that is kernel regression with T and
ridge `noise` after it. J. Lee et al. (2019), arXiv 1902.06720; momentum by B. Polyak (1964).

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
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from theorysim.networks.mlp import MLP
from theorysim.networks.train import functional, train
from theorysim.numerics import gaussian
from theorysim.numerics.gp import labels
from theorysim.numerics.gram import check_finite
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
    (apply, start), rows = _network(key, X, y, sw2, sb2, activation, depth, width), kept[:, None]

    def objective(params, _):
        missed = jnp.where(rows, apply(params, X) - y, 0)
        moved = jax.tree.map(jnp.subtract, params, start)
        return (jnp.vdot(missed, missed) + noise * optax.tree.norm(moved, squared=True)) / 2

    largest, least = jnp.sqrt(edge + noise), jnp.sqrt(noise)
    heavy_ball = optax.sgd(4 / (largest + least) ** 2, momentum=((largest - least) / (largest + least)) ** 2)
    params = train(objective, start, heavy_ball, num_steps=steps, record_every=steps).params
    return LeftOutNetwork(apply(params, X), optax.tree.norm(jax.grad(objective)(params, None)))


def _network(key, X, y, sw2, sb2, activation, depth, width):
    """The network as a pure function of standard normal parameters, and a draw of them."""
    widths = (X.shape[1], *[width] * depth, y.shape[1])
    ones = (1.0,) * (depth + 1)
    model = MLP(
        widths,
        activation=gaussian.activation(activation),
        weight_std=ones,
        bias_std=ones,
        multipliers=[jnp.sqrt(sw2 / fan_in) for fan_in in widths[:-1]],
        dtype=X.dtype,
        rngs=nnx.Rngs(key),
    )
    network = functional(model)

    def apply(params, x):
        # The biases of an MLP have no multipliers: scaled here, they add sb2 to the tangent kernel.
        biases = jax.tree.map(lambda b: jnp.sqrt(sb2) * b, params["biases"])
        return network.apply(nnx.State({"weights": params["weights"], "biases": biases}), x)

    return apply, network.params
