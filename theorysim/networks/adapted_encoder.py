r"""Adapters on the top layers of a pretrained sentence encoder, trained to tell two classes apart.

    hidden states below the first adapted layer (frozen: computed once)
        -> top layers, query and value adapted -> mean over pieces, length 1 -> logit = w . embedding + c

with w, c fitted by logistic regression to the embeddings of the encoder as it comes, and frozen, too: what is
gained beyond that is the adapters' doing. The loss is the mean of log(1 + exp(-y logit)), y = +-1.

Example:
    >>> from theorysim.networks.sentence_encoder import EncoderConfig
    >>> config = EncoderConfig(50, hidden=8, layers=3, heads=2, feed_forward=16, positions=10)
    >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
    >>> ids = jax.random.randint(jax.random.key(1), (40, 6), 1, 50)
    >>> hidden, y = hidden_below(encoder, ids, ids > 0, first=2), jnp.where(ids[:, 0] > 25, 1, -1)
    >>> data = Sentences(hidden, ids > 0, y)
    >>> top = encoder_top(encoder, data, first=2)
    >>> run = adapted_encoder_training(
    ...     jax.random.key(2), top, data, data, lr_a=0.01, lr_b=0.01, rank=2, init="a", steps=30, batch_size=8
    ... )
    >>> run.loss.shape, run.test_loss.shape, bool(run.test_loss[-1] < run.test_loss[0])
    ((30,), (2,), True)
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num
from sklearn.linear_model import LogisticRegression

from theorysim.networks.lora import Init, Scaling, adapt
from theorysim.networks.sentence_encoder import EncoderConfig, EncoderLayer, SentenceEncoder, pool
from theorysim.networks.train import functional, train, uniform_batches
from theorysim.numerics.validation import choice, positive_int, real, scalar

__all__ = [
    "AdaptedEncoderRun",
    "EncoderTop",
    "Sentences",
    "Top",
    "adapted_encoder_training",
    "encoder_top",
    "hidden_below",
]

# Sentences that are tested at a time.
_TESTED = 32


class Sentences(NamedTuple):
    """Sentences half way through an encoder.

    Attributes:
        hidden: hidden states below the first adapted layer, (k, t, d), in any floating dtype.
        mask: False in the padding, (k, t).
        y: labels, -1 or 1, (k,).
    """

    hidden: Float[Array, "k t d"]
    mask: Bool[Array, "k t"]
    y: Num[Array, " k"]


class Top(NamedTuple):
    """The upper part of an encoder.

    Attributes:
        config: the sizes, `layers` being those of this part.
        weights: nested dict of the arrays of `EncoderTop`.
    """

    config: EncoderConfig
    weights: Any


class AdaptedEncoderRun(NamedTuple):
    """What is recorded along a training.

    Attributes:
        loss: of the minibatch, before each step, (steps,).
        test_loss: before steps 0, record_every, ..., and after the last.
        test_accuracy: likewise, in [0, 1].
        margins: y times the logit of each test sentence, likewise.
    """

    loss: Float[Array, " steps"]
    test_loss: Float[Array, " t"]
    test_accuracy: Float[Array, " t"]
    margins: Float[Array, "t m"]


class EncoderTop(nnx.Module):
    """Layers of an encoder and a logit of their pooled output.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=1, heads=2, feed_forward=16, positions=10)
        >>> EncoderTop(config, rngs=nnx.Rngs(0))(jnp.ones((3, 5, 8)), jnp.ones((3, 5), bool)).shape
        (3,)
    """

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        """Draw weights, to be replaced.

        Args:
            config: the sizes (static).
            rngs: `nnx.Rngs(key)`.
        """
        layer = partial(EncoderLayer, config, init_std=0.02, dtype=jnp.float32)
        self.layers = nnx.List(layer(rngs=rngs) for _ in range(config.layers))
        self.head: Any = nnx.Linear(config.hidden, 1, rngs=rngs)

    def __call__(self, hidden: Float[Array, "k t d"], mask: Bool[Array, "k t"]) -> Float[Array, " k"]:
        """The logits."""
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.head(pool(hidden, mask))[:, 0]


def hidden_below(
    encoder: SentenceEncoder,
    ids: ArrayLike,
    mask: ArrayLike,
    *,
    first: int,
    batch_size: int = 64,
    dtype: Any = jnp.float32,
) -> Float[Array, "k t d"]:
    """The hidden states that layer `first` reads.

    Args:
        encoder: from `load_encoder`, or any other.
        ids: word pieces, (k, t).
        mask: False in the padding, (k, t).
        first: in [0, layers).
        batch_size: sentences at a time, >= 1.
        dtype: of the result; float16 halves the memory of k t d numbers of size 1.

    Raises:
        ValueError: a count out of range.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=2, heads=2, feed_forward=16, positions=10)
        >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
        >>> ids = jnp.array([[1, 7, 2, 0], [1, 9, 8, 2]])
        >>> below = hidden_below(encoder, ids, ids > 0, first=1)
        >>> bool(jnp.allclose(below, encoder.hidden_states(ids, ids > 0)[1], atol=1e-6))
        True
    """
    first = _first(encoder, first)
    batch_size = positive_int(batch_size, "batch_size")
    ids, mask = jnp.asarray(ids), jnp.asarray(mask)
    graphdef, state = nnx.split(encoder)

    @jax.jit
    def below(state, ids, mask):
        encoder = nnx.merge(graphdef, state)
        return encoder.run_layers(encoder.first_hidden(ids), mask, last=first).astype(dtype)

    parts = [below(state, *part) for part in _parts(batch_size, ids, mask)]
    return jnp.concatenate(parts)[: len(ids)]


def encoder_top(encoder: SentenceEncoder, data: Sentences, *, first: int, ridge: float = 1e-3) -> Top:
    """The layers from `first` on, and a logit fitted to their pooled output on the data.

    Args:
        encoder: from `load_encoder`, or any other.
        data: the sentences that the logit is fitted to, both classes among them.
        first: in [0, layers).
        ridge: > 0, in (1/k) sum log(1 + exp(-y logit)) + ridge |w|^2/2.

    Returns:
        Top.

    Raises:
        ValueError: an argument out of its range, or one class only.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=2, heads=2, feed_forward=16, positions=10)
        >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
        >>> data = Sentences(jnp.ones((4, 5, 8)), jnp.ones((4, 5), bool), jnp.array([1, -1, 1, -1]))
        >>> encoder_top(encoder, data, first=1).config.layers
        1
    """
    first = _first(encoder, first)
    real(scalar(ridge, "ridge"), "ridge", low=0, low_open=True, high_open=True)
    y = np.asarray(data.y)
    if set(np.unique(y)) != {-1, 1}:
        raise ValueError(f"data.y must hold -1 and 1 and nothing else, got {np.unique(y)[:5]}")
    config = encoder.config._replace(layers=encoder.config.layers - first)
    top = EncoderTop(config, rngs=nnx.Rngs(0))
    top.layers = nnx.List(list(nnx.clone(encoder).layers)[first:])
    graphdef, state = nnx.split(top)

    @jax.jit
    def embedded(state, hidden, mask):
        hidden = hidden.astype(jnp.float32)
        for layer in nnx.merge(graphdef, state).layers:
            hidden = layer(hidden, mask)
        return pool(hidden, mask)

    vectors = np.concatenate([embedded(state, *p) for p in _parts(64, data.hidden, data.mask)])[: len(y)]
    fit = LogisticRegression(C=1 / (ridge * len(y)), max_iter=1000).fit(np.asarray(vectors, np.float64), y)
    top.head.kernel.set_value(jnp.asarray(fit.coef_.T, jnp.float32))
    top.head.bias.set_value(jnp.asarray(fit.intercept_, jnp.float32))
    return Top(config, nnx.to_pure_dict(nnx.state(top)))


def adapted_encoder_training(
    key: Array,
    top: Top,
    data: Sentences,
    test: Sentences,
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    rank: int,
    alpha: ArrayLike | None = None,
    scaling: Scaling = "alpha/r",
    init: Init,
    optimizer: Literal["adam", "sgd"] = "adam",
    steps: int,
    batch_size: int = 16,
    record_every: int | None = None,
) -> AdaptedEncoderRun:
    """Adapt query and value of every layer of the top, and train on minibatches.

    Args:
        key: PRNG key of the start and of the minibatches.
        top: from `encoder_top`.
        data: the sentences that train.
        test: the others.
        lr_a: rate of A, >= 0, a scalar.
        lr_b: rate of B, >= 0, a scalar.
        rank: as for `LoRALinear`, like the next three (static).
        alpha: see there.
        scaling: see there (static).
        init: see there (static).
        optimizer: "adam" or "sgd" (static).
        steps: >= 1 (static).
        batch_size: sentences a step, drawn with replacement, >= 1 (static).
        record_every: steps between tests, which divides steps; by default before and after all (static).

    Returns:
        AdaptedEncoderRun; inf and NaN where it diverges. Call it inside `jax.jit`.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=2, heads=2, feed_forward=16, positions=10)
        >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
        >>> hidden = jax.random.normal(jax.random.key(1), (4, 5, 8))
        >>> data = Sentences(hidden, jnp.ones((4, 5), bool), jnp.array([1, -1, 1, -1]))
        >>> top, rates = encoder_top(encoder, data, first=1), {"lr_a": 0.0, "lr_b": 0.0}
        >>> run = adapted_encoder_training(
        ...     jax.random.key(0), top, data, data, **rates, rank=1, init="b", steps=1
        ... )
        >>> bool(run.test_loss[0] == run.test_loss[1])
        True
    """
    for name, rate in (("lr_a", lr_a), ("lr_b", lr_b)):
        real(scalar(rate, name), name, low=0, high_open=True)
    make: Any = optax.adam if choice(optimizer, "optimizer", ("adam", "sgd")) == "adam" else optax.sgd
    key_start, key_batches = jax.random.split(key)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: EncoderTop(top.config, rngs=nnx.Rngs(0))))
    nnx.replace_by_pure_dict(state, top.weights)
    where = ("layers.*.attention.query", "layers.*.attention.value")
    options = {"rank": rank, "alpha": alpha, "scaling": scaling, "init": init, "rngs": nnx.Rngs(key_start)}
    network = functional(adapt(nnx.merge(graphdef, state), where, **options))

    def logits(params, batch):
        return network.apply(params, batch.hidden.astype(jnp.float32), batch.mask)

    def loss(params, batch):
        return jnp.mean(jax.nn.softplus(-batch.y.astype(jnp.float32) * logits(params, batch)))

    def tested(params):
        # In parts, because all at once, times the runs that are mapped, takes gigabytes.
        def one(part):
            return logits(params, jax.tree.map(lambda x: x[None], part))[0]

        return test.y.astype(jnp.float32) * jax.lax.map(one, test, batch_size=_TESTED)

    label = jax.tree_util.tree_map_with_path(
        lambda path, _: "a" if "lora_a" in jax.tree_util.keystr(path) else "b", network.params
    )
    run = train(
        loss,
        network.params,
        optax.partition({"a": make(lr_a), "b": make(lr_b)}, label),
        num_steps=positive_int(steps, "steps"),
        batches=uniform_batches(data, batch_size),
        key=key_batches,
        metrics=tested,
        record_every=steps if record_every is None else record_every,
    )
    margins = run.metrics
    accuracy = jnp.where(jnp.isnan(margins).any(1), jnp.nan, jnp.mean(margins > 0, 1))
    return AdaptedEncoderRun(run.losses, jnp.mean(jax.nn.softplus(-margins), 1), accuracy, margins)


def _first(encoder, first):
    layers = encoder.config.layers
    if not 0 <= first < layers:
        raise ValueError(f"first must be in [0, {layers - 1}], a layer of the encoder, got {first}")
    return int(first)


def _parts(size, *arrays):
    """Slices of one length; the last repeats its final row rather than being shorter."""
    count = len(arrays[0])
    for start in range(0, count, size):
        rows = jnp.minimum(jnp.arange(start, start + size), count - 1)
        yield tuple(array[rows] for array in arrays)
