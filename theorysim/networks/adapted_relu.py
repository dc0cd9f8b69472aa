r"""A nonlinear network with one adapted layer: the toy model on which learning rates of LoRA are compared.

With frozen W_in, W_0 and W_out, all at random, and trained A (r, n) and B (n, r),

    h = sqrt(2) relu(W_in x),    z = W_0 h + s B A h,    f = W_out relu(z),

entries of W_in N(0, 1/d), of W_0 N(0, 1/n), and of W_out N(0, 1/n) ("ntk") or N(0, 1/n^2) ("mean_field").
What is frozen is computed once: a step costs O(N n r), and W_0 h is drawn by its exact law given h, which
takes no n x n matrix where there are fewer examples than units.

With D = diag(relu'(z)), a step dA, dB changes the output to first order in z by W_out D times

    delta1: s B dA h,    delta2: s dB A h,    delta3: s dB dA h.

Reference: S. Hayou, N. Ghosh, B. Yu, "LoRA+: Efficient Low Rank Adaptation of Large Models" (2024), arXiv
2402.12354, whose toy network this follows.

Example:
    >>> key = jax.random.key(0)
    >>> (x, y), (test_x, test_y) = toy_data(key, 64), toy_data(jax.random.key(1), 64)
    >>> train = partial(adapted_relu_training, key, x, y, test_x, test_y, width=128, init="a", steps=20)
    >>> run = jax.vmap(lambda b: train(lr_a=0.5 / 128, lr_b=b))(jnp.array([0.0, 0.02]))
    >>> run.loss.shape, bool(run.loss[1, -1] < run.loss[0, -1])
    ((2, 21), True)
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.networks.train import train
from theorysim.numerics.validation import choice, floating, positive_int, real, scalar

__all__ = ["AdaptedRun", "ToyData", "adapted_relu_training", "toy_data"]

# Far below every gradient of float32 whose square is no denormal number: Adam as if without epsilon.
_EPSILON = 1e-18
# A loss that many times the first counts as diverged.
_DIVERGED = 1e12


class ToyData(NamedTuple):
    """Inputs and targets.

    Attributes:
        x: standard Gaussian, (N, d).
        y: sin(sum x / sqrt d), (N,).
    """

    x: Float[Array, "N d"]
    y: Float[Array, " N"]


class AdaptedRun(NamedTuple):
    """What is recorded before steps 0, record_every, ..., and after the last; NaN once diverged.

    Attributes:
        loss: half the mean square of the residuals.
        test_loss: the same, over the test examples.
        feature_rms: of A h, over rank and examples.
        b_update: root mean square of the entries of B - B_0.
        deltas: root mean squares over the examples of delta1, delta2, delta3 in the next step; NaN after the
            last.
    """

    loss: Float[Array, " t"]
    test_loss: Float[Array, " t"]
    feature_rms: Float[Array, " t"]
    b_update: Float[Array, " t"]
    deltas: Float[Array, "t 3"]


def toy_data(
    key: Array, examples: int, *, dim: int = 5, dtype: jax.typing.DTypeLike = jnp.float32
) -> ToyData:
    """Draw inputs and the targets of the toy problem.

    Args:
        key: PRNG key.
        examples: N >= 1 (static).
        dim: d >= 1 (static).
        dtype: of both arrays.

    Raises:
        ValueError: a count below 1.

    Example:
        >>> x, y = toy_data(jax.random.key(0), 7)
        >>> x.shape, y.shape
        ((7, 5), (7,))
    """
    shape = positive_int(examples, "examples"), positive_int(dim, "dim")
    x = jax.random.normal(key, shape, dtype)
    return ToyData(x, jnp.sin(x.sum(1) / dim**0.5))


def adapted_relu_training(
    key: Array,
    x: ArrayLike,
    y: ArrayLike,
    test_x: ArrayLike,
    test_y: ArrayLike,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    width: int,
    rank: int = 4,
    init: Literal["a", "b"],
    readout: Literal["ntk", "mean_field"] = "ntk",
    scale: ArrayLike = 1.0,
    var_a: ArrayLike | None = None,
    var_b: ArrayLike | None = None,
    optimizer: Literal["adam", "sgd"] = "adam",
    steps: int,
    record_every: int = 1,
) -> AdaptedRun:
    """Draw a network and train its adapter on all examples at once.

    Args:
        key: PRNG key of the frozen weights and of the factor that starts at random.
        x: inputs, (N, d).
        y: targets, (N,).
        test_x: inputs, (M, d).
        test_y: targets, (M,).
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        width: n >= 1 (static).
        rank: r in [1, n] (static).
        init: which factor is random: "a" (B = 0) or "b" (A = 0) (static).
        readout: size of the entries of W_out: "ntk" (n^-1/2) or "mean_field" (1/n) (static).
        scale: s > 0, a scalar.
        var_a: variance of the entries of A, >= 0, a scalar; 1/n by default.
        var_b: variance of the entries of B, >= 0, a scalar; 1/r by default.
        optimizer: "adam" (b1 = 0.9, b2 = 0.999, epsilon negligible) or "sgd" (static).
        steps: >= 1 (static).
        record_every: steps between records, which divides steps (static).

    Returns:
        AdaptedRun of steps/record_every + 1 records, in the dtype of x and y.

    Raises:
        ValueError: an argument out of its range, or shapes that do not match.

    Example:
        >>> data = toy_data(jax.random.key(0), 32)
        >>> run = adapted_relu_training(
        ...     jax.random.key(1), *data, *data, lr_a=0.0, lr_b=0.0, width=64, init="b", steps=2
        ... )
        >>> bool(run.loss[0] == run.loss[2]), run.deltas[0].tolist()
        (True, [0.0, 0.0, 0.0])
    """
    x, y, test_x, test_y = (
        _data(value, name, axes)
        for value, name, axes in ((x, "x", 2), (y, "y", 1), (test_x, "test_x", 2), (test_y, "test_y", 1))
    )
    for name, inputs, targets in (("y", x, y), ("test_y", test_x, test_y)):
        if len(inputs) != len(targets):
            raise ValueError(
                f"{name} must have {len(inputs)} entries, one a row of its x, got {len(targets)}"
            )
    if x.shape[1] != test_x.shape[1]:
        raise ValueError(f"test_x must have {x.shape[1]} columns, like x, got shape {test_x.shape}")
    width = positive_int(width, "width")
    rank = positive_int(rank, "rank", maximum=width)
    init, readout = choice(init, "init", ("a", "b")), choice(readout, "readout", ("ntk", "mean_field"))
    optimizer = choice(optimizer, "optimizer", ("adam", "sgd"))
    real(scalar(scale, "scale"), "scale", low=0, low_open=True, high_open=True)
    var_a, var_b = 1 / width if var_a is None else var_a, 1 / rank if var_b is None else var_b
    for name, value in (("lr_a", lr_a), ("lr_b", lr_b), ("var_a", var_a), ("var_b", var_b)):
        real(scalar(value, name), name, low=0, high_open=True)
    dtype = jnp.result_type(x, y)
    numbers = _Numbers(*(jnp.asarray(value, dtype) for value in (lr_a, lr_b, scale, var_a, var_b)))
    data = tuple(array.astype(dtype) for array in (x, y, test_x, test_y))
    return _training(
        key,
        *data,
        numbers,
        sizes=(width, rank),
        kinds=(init, readout, optimizer),
        steps=positive_int(steps, "steps"),
        record_every=positive_int(record_every, "record_every"),
    )


class _Numbers(NamedTuple):
    lr_a: Array
    lr_b: Array
    scale: Array
    var_a: Array
    var_b: Array


def _data(value, name, axes):
    array = floating(value)
    if array.ndim != axes or not array.size:
        raise ValueError(f"{name} must have shape {'(N, d)' if axes == 2 else '(N,)'}, got {array.shape}")
    return array


@partial(jax.jit, static_argnames=("sizes", "kinds", "steps", "record_every"))
def _training(key, x, y, test_x, test_y, numbers, *, sizes, kinds, steps, record_every):
    (width, rank), (init, readout, optimizer) = sizes, kinds
    key_in, key_0, key_out, key_adapter = jax.random.split(key, 4)
    normal = partial(jax.random.normal, dtype=x.dtype)
    inputs = jnp.concatenate([x, test_x])
    h = 2**0.5 * jax.nn.relu(inputs @ normal(key_in, (x.shape[1], width)) / x.shape[1] ** 0.5)
    z = _frozen_layer(key_0, h)
    w_out = normal(key_out, (width,)) / (width if readout == "mean_field" else width**0.5)
    (h, test_h), (z, test_z) = jnp.split(h, [len(x)]), jnp.split(z, [len(x)])
    s = numbers.scale
    start = {"a": jnp.zeros((rank, width), x.dtype), "b": jnp.zeros((width, rank), x.dtype)}
    std = jnp.sqrt(numbers.var_a if init == "a" else numbers.var_b)
    start[init] = std * normal(key_adapter, start[init].shape)

    def hidden(params, h, z):
        return z + s * (h @ params["a"].T) @ params["b"].T

    def half_mean_square(params, h, z, y):
        return jnp.mean((jax.nn.relu(hidden(params, h, z)) @ w_out - y) ** 2) / 2

    def metrics(params):
        features = h @ params["a"].T
        test_loss = half_mean_square(params, test_h, test_z, test_y)
        return test_loss, _rms(features), _rms(params["b"] - start["b"]), half_mean_square(params, h, z, y)

    def step_metrics(params, updates):
        slope = jnp.where(hidden(params, h, z) > 0, w_out[None], 0)
        # W_out D dB and W_out D B for each example, (N, r).
        moved, held = slope @ updates["b"], slope @ params["b"]
        features, change = h @ params["a"].T, h @ updates["a"].T
        parts = held * change, moved * features, moved * change
        return jnp.stack([_rms(s * part.sum(1)) for part in parts])

    run = train(
        lambda params, batch: half_mean_square(params, h, z, y),
        start,
        _optimizer(optimizer, numbers.lr_a, numbers.lr_b),
        num_steps=steps,
        metrics=metrics,
        record_every=record_every,
        step_metrics=step_metrics,
    )
    test_loss, feature_rms, b_update, loss = run.metrics
    last = jnp.full((1, 3), jnp.nan, x.dtype)
    deltas = jnp.concatenate([run.step_metrics[::record_every], last])
    bad = ~(loss <= _DIVERGED * loss[0])
    lost = jax.lax.cumsum(bad.astype(jnp.int32)) > 0
    found = AdaptedRun(loss, test_loss, feature_rms, b_update, deltas)
    return jax.tree.map(lambda v: jnp.where(lost[:, None] if v.ndim == 2 else lost, jnp.nan, v), found)


def _frozen_layer(key, h):
    """W_0 h for all examples, (N, n), where W_0 has entries N(0, 1/n)."""
    examples, width = h.shape
    # Given h every unit is Gaussian with covariance h h'/n over the examples, which R'R equals.
    factor = h.T if width <= examples else jnp.linalg.qr(h.T, mode="r")
    return factor.T @ jax.random.normal(key, (len(factor), width), h.dtype) / width**0.5


def _optimizer(name, lr_a, lr_b):
    def at(rate):
        return optax.sgd(rate) if name == "sgd" else optax.adam(rate, eps=_EPSILON)

    return optax.partition({"a": at(lr_a), "b": at(lr_b)}, {"a": "a", "b": "b"})


def _rms(values):
    return jnp.sqrt(jnp.mean(values**2))
