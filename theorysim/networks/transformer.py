r"""A small causal transformer, its scales explicit: next tokens of a text from those before.

For token ids i_1, ..., i_t, width n, H heads and depth L, with LN the layer normalisation,

    h = E[i] + P[1..t]
    h <- h + alpha_l Attention(LN(h)) W_o                 head a: softmax(c q_a k_a' + causal mask) v_a
    h <- h + alpha_l gelu(LN(h) W_1) W_2                  l = 1..L
    logits = readout_scale LN(h) W_out

Matrices have entries N(0, gain^2/fan-in), embeddings N(0, embedding_std^2); there are no biases but those of
the normalisations. Every matrix is an `nnx.Linear` that may be adapted or replaced, such as
"layers.0.attention.query".

Reference: A. Vaswani and others, "Attention Is All You Need" (2017), arXiv 1706.03762, with the normalisation
before each branch.

Example:
    >>> config = TransformerConfig(vocabulary=30, width=16, layers=2, heads=2, context=8)
    >>> model, ids = Transformer(config, rngs=nnx.Rngs(0)), jnp.array([[3, 1, 4, 1, 5]])
    >>> model(ids).shape, bool(jnp.allclose(model(ids[:, :3]), model(ids)[:, :3], atol=1e-5))
    ((1, 5, 30), True)
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int

from theorysim.numerics.validation import choice, floating, positive_int, real, scalar

__all__ = [
    "CausalAttention",
    "Transformer",
    "TransformerConfig",
    "TransformerLayer",
    "next_token_loss",
    "windows",
]


class TransformerConfig(NamedTuple):
    """Sizes, all >= 1; `heads` divides `width`."""

    vocabulary: int
    """Tokens."""
    width: int
    """n, of the hidden states."""
    layers: int
    """Depth L."""
    heads: int
    """H."""
    context: int
    """Longest text, in tokens."""
    feed_forward: int = 0
    """Width between W_1 and W_2; 4 n if 0."""


class CausalAttention(nnx.Module):
    """Attention of every token to itself and to those before.

    Example:
        >>> config = TransformerConfig(vocabulary=30, width=16, layers=1, heads=2, context=8)
        >>> CausalAttention(config, linear=partial(nnx.Linear, rngs=nnx.Rngs(0)), scale=0.35)(
        ...     jnp.ones((3, 5, 16))
        ... ).shape
        (3, 5, 16)
    """

    def __init__(self, config: TransformerConfig, *, linear: Any, scale: float):
        """Draw the matrices.

        Args:
            config: the sizes (static).
            linear: makes the matrix of two sizes.
            scale: c, by which q k' is multiplied (static).
        """
        n = config.width
        self.heads, self.scale = config.heads, scale
        self.query: Any = linear(n, n)
        self.key: Any = linear(n, n)
        self.value: Any = linear(n, n)
        self.output: Any = linear(n, n)

    def __call__(self, h: Float[Array, "k t n"]) -> Float[Array, "k t n"]:
        """Attention(h) W_o."""
        parts = (self.query, self.key, self.value)
        q, k, v = (part(h).reshape(*h.shape[:2], self.heads, -1) for part in parts)
        # `jax.nn.dot_product_attention` takes its softmax in float32, whatever the dtype.
        scores = self.scale * jnp.einsum("kthe,kshe->khts", q, k)
        past = jnp.tri(h.shape[1], dtype=bool)
        weights = jax.nn.softmax(jnp.where(past[None, None], scores, -jnp.inf), axis=-1)
        return self.output(jnp.einsum("khts,kshe->kthe", weights, v).reshape(h.shape))


class TransformerLayer(nnx.Module):
    """Attention and a network of one hidden layer, each added to what it reads.

    Example:
        >>> config = TransformerConfig(vocabulary=30, width=16, layers=1, heads=2, context=8)
        >>> linear, norm = (partial(kind, rngs=nnx.Rngs(0)) for kind in (nnx.Linear, nnx.LayerNorm))
        >>> layer = TransformerLayer(config, linear=linear, norm=norm, scale=0.35)
        >>> h = jnp.ones((3, 5, 16))
        >>> bool((layer(h, 0.0) == h).all())
        True
    """

    def __init__(self, config: TransformerConfig, *, linear: Any, norm: Any, scale: float):
        """Draw the matrices.

        Args:
            config: the sizes (static).
            linear: makes the matrix of two sizes.
            norm: makes the normalisation of a size.
            scale: c of the attention (static).
        """
        n, hidden = config.width, config.feed_forward or 4 * config.width
        self.attention_norm = norm(n)
        self.attention = CausalAttention(config, linear=linear, scale=scale)
        self.feed_forward_norm = norm(n)
        self.intermediate: Any = linear(n, hidden)
        self.output: Any = linear(hidden, n)

    def __call__(self, h: Float[Array, "k t n"], alpha: ArrayLike) -> Float[Array, "k t n"]:
        """The hidden states after the layer."""
        h = h + alpha * self.attention(self.attention_norm(h))
        return h + alpha * self.output(jax.nn.gelu(self.intermediate(self.feed_forward_norm(h))))


class Transformer(nnx.Module):
    """The transformer; see the module for its formulas.

    Attributes:
        layers: `TransformerLayer`s.
        alpha: branch scales, (L,); not trained.
        readout_scale: not trained.

    Example:
        >>> config = TransformerConfig(vocabulary=30, width=16, layers=2, heads=2, context=8)
        >>> Transformer(config, alpha=[0.5, 0.5], rngs=nnx.Rngs(0))(jnp.array([[1, 2, 3]])).shape
        (1, 3, 30)
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        gain: float = 1.0,
        embedding_std: float = 1.0,
        alpha: ArrayLike | Sequence[float] | None = None,
        readout_scale: ArrayLike = 1.0,
        attention: str = "1/sqrt(d)",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Draw the parameters.

        Args:
            config: the sizes (static).
            gain: standard deviation of sqrt(fan-in) times an entry, > 0 (static).
            embedding_std: standard deviation of the embeddings, >= 0 (static).
            alpha: branch scales, (L,), finite; 1 by default. May be traced.
            readout_scale: finite; may be traced.
            attention: c: "1/sqrt(d)" or "1/d", d = n/H (static).
            dtype: of parameters and computation.
            rngs: `nnx.Rngs(key)`; its `params` stream is drawn from.

        Raises:
            ValueError: an argument out of its range.
        """
        self.config = _checked(config)
        real(gain, "gain", low=0, low_open=True, high_open=True)
        real(embedding_std, "embedding_std", low=0, high_open=True)
        alpha = jnp.ones(config.layers) if alpha is None else jnp.asarray(alpha)
        alpha = floating(real(alpha, "alpha", low_open=True, high_open=True))
        if alpha.shape != (config.layers,):
            raise ValueError(f"alpha must have shape ({config.layers},), got {alpha.shape}")
        real(scalar(readout_scale, "readout_scale"), "readout_scale", low_open=True, high_open=True)
        each = config.width // config.heads
        root = choice(attention, "attention", ("1/sqrt(d)", "1/d")) == "1/sqrt(d)"
        scale = each**-0.5 if root else 1 / each
        linear = partial(_linear, gain=gain, dtype=dtype, rngs=rngs)
        kinds: Any = {"dtype": dtype, "param_dtype": dtype, "rngs": rngs}
        initial = nnx.initializers.normal(embedding_std)
        embedding = partial(nnx.Embed, features=config.width, embedding_init=initial, **kinds)
        self.token_embedding = embedding(config.vocabulary)
        self.position_embedding = embedding(config.context)
        norm = partial(nnx.LayerNorm, use_fast_variance=False, **kinds)
        layer = partial(TransformerLayer, config, linear=linear, norm=norm, scale=scale)
        self.layers = nnx.List(layer() for _ in range(config.layers))
        self.norm = norm(config.width)
        self.readout: Any = linear(config.width, config.vocabulary)
        self.alpha = nnx.Variable(jnp.asarray(alpha, dtype))
        self.readout_scale = nnx.Variable(jnp.asarray(readout_scale, dtype))

    def __call__(self, ids: Int[Array, "k t"]) -> Float[Array, "k t v"]:
        """The logits of the token after each."""
        return self.readout_scale[...] * self.readout(self.features(ids))

    def features(self, ids: Int[Array, "k t"]) -> Float[Array, "k t n"]:
        """What the readout reads."""
        h = self.token_embedding(ids) + self.position_embedding(jnp.arange(ids.shape[1]))[None]
        for i, layer in enumerate(self.layers):
            h = layer(h, self.alpha[i])
        return self.norm(h)


def next_token_loss(logits: Float[Array, "k t v"], ids: Int[Array, "k t"]) -> Float[Array, ""]:
    """Mean over all tokens but the first of -log p(token | those before), in nats.

    Args:
        logits: of the token after each, (k, t, v), t >= 2.
        ids: the tokens, (k, t).

    Example:
        >>> f"{next_token_loss(jnp.zeros((1, 3, 4)), jnp.array([[0, 1, 2]])):.4f}"  # log 4
        '1.3863'
    """
    logs = jax.nn.log_softmax(logits[:, :-1])
    return -jnp.take_along_axis(logs, ids[:, 1:, None], axis=-1).mean()


def windows(text: Int[Array, " length"], count: int, size: int, key: Array) -> Int[Array, "count size"]:
    """Pieces of a text that start at random places.

    Args:
        text: token ids, at least `size`.
        count: pieces, >= 1 (static).
        size: tokens of each, >= 1 (static).
        key: PRNG key.

    Raises:
        ValueError: a count below 1, or a text that is too short.

    Example:
        >>> windows(jnp.arange(9), 2, 3, jax.random.key(0)).shape
        (2, 3)
    """
    count, size = positive_int(count, "count"), positive_int(size, "size")
    if len(text) < size:
        raise ValueError(f"text must have at least size = {size} tokens, got {len(text)}")
    start = jax.random.randint(key, (count, 1), 0, len(text) - size + 1)
    return jnp.asarray(text)[start + jnp.arange(size)[None]]


def _checked(config):
    for name in config._fields[:-1]:
        positive_int(getattr(config, name), name)
    if config.feed_forward:
        positive_int(config.feed_forward, "feed_forward")
    if config.width % config.heads:
        raise ValueError(f"heads must divide width = {config.width}, got {config.heads}")
    return config


def _linear(n_in, n_out, *, gain, dtype, rngs):
    return nnx.Linear(
        n_in,
        n_out,
        use_bias=False,
        kernel_init=nnx.initializers.normal(gain / n_in**0.5),
        dtype=dtype,
        param_dtype=dtype,
        rngs=rngs,
    )
