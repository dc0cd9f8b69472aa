r"""The trainer: any loss, any optax optimizer, as one pure function of parameters and hyperparameters.

    g_t = grad loss(theta_t, batch_t),      theta_{t+1} = theta_t + optimizer(g_t),      t = 0..num_steps-1

in one `lax.scan`, so that `jax.vmap` runs a grid of seeds and learning rates at once: build parameters and
optimizer inside the function that is mapped, from a key and traced hyperparameters. A run that diverges is
data: its losses and metrics are inf and NaN, and nothing stops.

Example:
    >>> def final_loss(key, learning_rate):
    ...     network = functional(nnx.Linear(3, 1, rngs=nnx.Rngs(key)))
    ...     x = jnp.eye(3)
    ...     loss = lambda params, batch: jnp.mean((network.apply(params, x) - 1) ** 2)
    ...     return train(loss, network.params, optax.sgd(learning_rate), num_steps=100).losses[-1]
    >>> keys, rates = jax.random.split(jax.random.key(0), 3), jnp.array([0.01, 0.5])
    >>> grid = jax.jit(jax.vmap(jax.vmap(final_loss, (None, 0)), (0, None)))(keys, rates)
    >>> grid.shape, bool((grid[:, 1] < grid[:, 0]).all())
    ((3, 2), True)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from theorysim.numerics.validation import positive_int

__all__ = ["Functional", "TrainingRun", "functional", "train", "uniform_batches"]


class Functional(NamedTuple):
    """A network as a pure function of its trainable parameters.

    Attributes:
        apply: `apply(params, *inputs)`, the output.
        params: the parameters that the module holds.
        module: `module(params)`, the module with other parameters: for its methods and its parts.
    """

    apply: Callable[..., Any]
    params: PyTree[Array]
    module: Callable[[Any], Any]


class TrainingRun(NamedTuple):
    """What training leaves behind.

    `params` are the last parameters, and `losses` (num_steps,) the loss of the batch of each step, before
    that step. `metrics` holds what `metrics(params)` returned, stacked along a leading axis of
    num_steps / record_every + 1 entries, the first before any step; None without metrics. `step_metrics`
    holds what `step_metrics(params, updates)` returned for each step, (num_steps, ...); None without.
    """

    params: PyTree[Array]
    losses: Float[Array, " num_steps"]
    metrics: PyTree[Array]
    step_metrics: PyTree[Array] = None


def functional(model: nnx.Module) -> Functional:
    """Split an NNX module in a pure function and its `nnx.Param`s; all else that it holds stays as it is.

    Args:
        model: called as `model(*inputs)`. A module whose calls change its state (dropout, running averages)
            is none.

    Example:
        >>> network = functional(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
        >>> network.apply(network.params, jnp.ones((5, 2))).shape
        (5, 3)
    """
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    def module(params: Any) -> Any:
        return nnx.merge(graphdef, params, rest)

    def apply(params: Any, *inputs: Any) -> Any:
        return module(params)(*inputs)

    return Functional(apply, params, module)


def train(
    loss: Callable[[Any, Any], Float[Array, ""]],
    params: PyTree[Array],
    optimizer: optax.GradientTransformation,
    *,
    num_steps: int,
    batches: Callable[[PRNGKeyArray], Any] | None = None,
    key: PRNGKeyArray | None = None,
    metrics: Callable[[Any], PyTree[Array]] | None = None,
    record_every: int = 1,
    step_metrics: Callable[[Any, Any], PyTree[Array]] | None = None,
) -> TrainingRun:
    """Train `params` on `loss`, and record metrics along the run.

    Called eagerly it compiles anew each time: put it inside the caller's `jax.jit`.

    Args:
        loss: `loss(params, batch) -> scalar`, with whatever penalty is meant; differentiated in `params`.
        params: pytree of floating arrays.
        optimizer: any optax transformation; its learning rate may be traced.
        num_steps: steps, >= 1 (static).
        batches: `batches(key) -> batch`, called with a fresh key each step: a minibatch of given data
            (`uniform_batches`), or new samples for online training. None: full batch, `batch` is None and
            the loss holds the data.
        key: random key for the batches; needed iff there are any.
        metrics: `metrics(params) -> pytree of arrays`.
        record_every: steps between two records; divides `num_steps` (static).
        step_metrics: `step_metrics(params, updates) -> pytree of arrays`, of every step: the parameters
            before it, and what is added to them.

    Returns:
        TrainingRun, in the dtype of `params`.

    Raises:
        ValueError: no steps, a `record_every` that does not divide them, or a key without batches or the
            reverse.

    Example:
        >>> run = train(
        ...     lambda w, batch: (w - 3.0) ** 2, jnp.array(0.0), optax.sgd(0.25), num_steps=4,
        ...     metrics=lambda w: w, record_every=2,
        ... )
        >>> print(run.losses, run.metrics)
        [9.       2.25     0.5625   0.140625] [0.     2.25   2.8125]
    """
    num_steps = positive_int(num_steps, "num_steps")
    record_every = positive_int(record_every, "record_every")
    if num_steps % record_every:
        raise ValueError(f"record_every must divide num_steps = {num_steps}, got {record_every}")
    if (key is None) != (batches is None):
        raise ValueError("key must be given with batches, and only with them")

    def step(carry: tuple[Any, Any], key: Any) -> tuple[tuple[Any, Any], tuple[Array, Any]]:
        params, state = carry
        batch = None if batches is None else batches(key)
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        change = None if step_metrics is None else jax.tree.map(jnp.asarray, step_metrics(params, updates))
        return (optax.apply_updates(params, updates), state), (value, change)

    def steps(carry: tuple[Any, Any], keys: Any) -> tuple[tuple[Any, Any], tuple[Array, Any]]:
        return jax.lax.scan(step, carry, keys, length=record_every)

    records = num_steps // record_every
    keys = None if key is None else jax.random.split(key, (records, record_every))
    start = (params, optimizer.init(params))
    if metrics is None:
        (trained, _), by_record = jax.lax.scan(steps, start, keys, length=records)
        losses, changes = _by_step(by_record, num_steps)
        return TrainingRun(trained, losses, None, changes)

    def recorded(carry: tuple[Any, Any], at: tuple[Any, Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        index, keys = at
        measured = jax.tree.map(jnp.asarray, metrics(carry[0]))
        carry, of_steps = jax.lax.cond(index < records, steps, stay, carry, keys)
        return carry, (of_steps, measured)

    # One more turn that only records: the metrics are compiled once.
    shapes = jax.eval_shape(steps, start, None if keys is None else keys[0])[1]

    def stay(carry: tuple[Any, Any], keys: Any) -> tuple[tuple[Any, Any], tuple[Array, Any]]:
        return carry, jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    turns = None if keys is None else jnp.concatenate([keys, keys[-1:]])
    (trained, _), (by_record, measured) = jax.lax.scan(recorded, start, (jnp.arange(records + 1), turns))
    losses, changes = _by_step(jax.tree.map(lambda x: x[:-1], by_record), num_steps)
    return TrainingRun(trained, losses, measured, changes)


def _by_step(by_record: Any, num_steps: int) -> Any:
    """What scans of scans stacked by record and step, by step."""
    return jax.tree.map(lambda x: x.reshape(num_steps, *x.shape[2:]), by_record)


def uniform_batches(data: PyTree[Array], batch_size: int) -> Callable[[PRNGKeyArray], PyTree[Array]]:
    """Minibatches of independent uniform draws, with replacement, from the leading axis of `data`.

    Args:
        data: pytree of arrays with one leading axis in common, such as (features, labels).
        batch_size: examples per batch, >= 1 (static).

    Returns:
        The `batches` argument of `train`.

    Raises:
        ValueError: leading axes of different lengths or without an entry, or no batch size.

    Example:
        >>> draw = uniform_batches((jnp.arange(10.0), jnp.arange(10)), batch_size=4)
        >>> x, i = draw(jax.random.key(0))
        >>> x.shape, bool((x == i).all())
        ((4,), True)
    """
    batch_size = positive_int(batch_size, "batch_size")
    lengths = {x.shape[0] if x.ndim else 0 for x in map(jnp.asarray, jax.tree.leaves(data))}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"data must have one leading axis in common, of length >= 1, got {sorted(lengths)}")
    (length,) = lengths

    def draw(key: Any) -> Any:
        index = jax.random.randint(key, (batch_size,), 0, length)
        return jax.tree.map(lambda x: x[index], data)

    return draw
