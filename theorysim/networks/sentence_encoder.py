r"""A sentence encoder of BERT type: word pieces in, one unit vector per sentence out.

With token ids i_1, ..., i_t of a sentence (padding masked), embeddings E, P, S of pieces, positions and
segments, and LN the layer normalisation (mean 0, variance 1 over features, then scale and bias):

    h_0 = LN(E[i] + P[1..t] + S[0])
    u   = LN(h + Attention(h) W_o + b_o)              head a: softmax(q_a k_a' / sqrt(d / heads)) v_a
    h'  = LN(u + gelu(u W_1 + b_1) W_2 + b_2)         gelu(z) = z Phi(z), exact

and L such layers h -> h'. The embedding is the mean of h_L over the pieces that are no padding, divided by
its length. Normalisation comes after each sum (post-LayerNorm), as in J. Devlin, M.-W. Chang, K. Lee and
K. Toutanova, *BERT*, NAACL 2019; mean pooling as in N. Reimers and I. Gurevych, *Sentence-BERT*, EMNLP 2019.

`load_encoder` reads the weights of any such model from `config.json` and `model.safetensors`. Layers are
plain modules, `encoder.layers[i].attention.query` is an `nnx.Linear`: replace it, or start from cached hidden
states by `run_layers(hidden, mask, first=i)`. Products have JAX's default precision, which rounds float32 to
fewer bits on some accelerators; `jax.default_matmul_precision` changes it.

Example:
    >>> config = EncoderConfig(50, hidden=8, layers=2, heads=2, feed_forward=16, positions=10)
    >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
    >>> ids = jnp.array([[1, 7, 2, 0, 0], [1, 9, 8, 4, 2]])
    >>> vectors = embed(encoder, ids, ids > 0)
    >>> vectors.shape, jnp.linalg.norm(vectors, axis=1).round(5).tolist()
    ((2, 8), [1.0, 1.0])
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from theorysim.networks._bert_files import read_sizes, read_tensors
from theorysim.numerics.validation import is_traced, positive_int, real

__all__ = [
    "EncoderConfig",
    "EncoderLayer",
    "SelfAttention",
    "SentenceEncoder",
    "embed",
    "embed_in_batches",
    "load_encoder",
    "pool",
]


class EncoderConfig(NamedTuple):
    """Sizes of an encoder, all >= 1; `heads` divides `hidden`."""

    vocabulary: int
    """Word pieces."""
    hidden: int
    """Width d of the hidden states."""
    layers: int
    """Number L of layers."""
    heads: int
    """Attention heads of a layer, of hidden / heads features each."""
    feed_forward: int
    """Width between W_1 and W_2."""
    positions: int
    """Longest sentence, in word pieces."""
    segments: int = 2
    """Rows of S, of which single sentences use the first."""
    epsilon: float = 1e-12
    """Added to the variance in a layer normalisation, > 0."""


class SelfAttention(nnx.Module):
    """Attention of every piece to all that are no padding; the sum with its input is the layer's.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=1, heads=2, feed_forward=16, positions=10)
        >>> attention = SelfAttention(config, init_std=0.02, dtype=jnp.float32, rngs=nnx.Rngs(0))
        >>> attention(jnp.ones((3, 5, 8)), jnp.ones((3, 5), bool)).shape
        (3, 5, 8)
    """

    def __init__(self, config: EncoderConfig, *, init_std: float, dtype: DTypeLike, rngs: nnx.Rngs):
        self.heads = config.heads
        linear = partial(_linear, init_std=init_std, dtype=dtype, rngs=rngs)
        # Each an `nnx.Linear`, until somebody puts another map of its shape in its place.
        self.query: Any = linear(config.hidden, config.hidden)
        self.key: Any = linear(config.hidden, config.hidden)
        self.value: Any = linear(config.hidden, config.hidden)
        self.output: Any = linear(config.hidden, config.hidden)

    def __call__(self, h: Float[Array, "k t d"], mask: Bool[Array, "k t"]) -> Float[Array, "k t d"]:
        """Attention(h) W_o + b_o."""
        parts = (self.query, self.key, self.value)
        q, k, v = (part(h).reshape(*h.shape[:2], self.heads, -1) for part in parts)
        scores = jnp.einsum("bthe,bshe->bhts", q, k) / q.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(mask[:, None, None, :], scores, -jnp.inf), axis=-1)
        return self.output(jnp.einsum("bhts,bshe->bthe", weights, v).reshape(h.shape))


class EncoderLayer(nnx.Module):
    """One layer h -> h': attention, then two linear maps, each added to its input and normalised.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=1, heads=2, feed_forward=16, positions=10)
        >>> layer = EncoderLayer(config, init_std=0.02, dtype=jnp.float32, rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((3, 5, 8)), jnp.ones((3, 5), bool)).shape
        (3, 5, 8)
    """

    def __init__(self, config: EncoderConfig, *, init_std: float, dtype: DTypeLike, rngs: nnx.Rngs):
        linear = partial(_linear, init_std=init_std, dtype=dtype, rngs=rngs)
        self.attention = SelfAttention(config, init_std=init_std, dtype=dtype, rngs=rngs)
        self.attention_norm = _norm(config, dtype, rngs)
        self.intermediate = linear(config.hidden, config.feed_forward)
        self.output = linear(config.feed_forward, config.hidden)
        self.output_norm = _norm(config, dtype, rngs)

    def __call__(self, h: Float[Array, "k t d"], mask: Bool[Array, "k t"]) -> Float[Array, "k t d"]:
        """The hidden states after the layer."""
        u = self.attention_norm(h + self.attention(h, mask))
        return self.output_norm(u + self.output(jax.nn.gelu(self.intermediate(u), approximate=False)))


class SentenceEncoder(nnx.Module):
    """The encoder; see the module for its formulas, and `embed` for its use.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=2, heads=2, feed_forward=16, positions=10)
        >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
        >>> ids = jnp.array([[1, 7, 2, 0]])
        >>> len(encoder.hidden_states(ids, ids > 0)), encoder(ids, ids > 0).shape
        (3, (1, 4, 8))
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        init_std: float = 0.02,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Draw the parameters.

        Args:
            config: the sizes (static).
            init_std: standard deviation >= 0 of the weights and embeddings; biases start at 0, scales at 1.
            dtype: of parameters and computation.
            rngs: `nnx.Rngs(key)`; its `params` stream is drawn from.

        Raises:
            ValueError: a size out of range, or heads that do not divide the width.
        """
        self.config = _checked(config)
        real(init_std, "init_std", low=0, high_open=True)
        embedding = partial(
            nnx.Embed,
            features=config.hidden,
            embedding_init=nnx.initializers.normal(init_std),
            dtype=dtype,
            param_dtype=dtype,
            rngs=rngs,
        )
        self.token_embedding = embedding(config.vocabulary)
        self.position_embedding = embedding(config.positions)
        self.segment_embedding = embedding(config.segments)
        self.embedding_norm = _norm(config, dtype, rngs)
        self.layers = nnx.List(
            EncoderLayer(config, init_std=init_std, dtype=dtype, rngs=rngs) for _ in range(config.layers)
        )

    def __call__(self, ids: Int[Array, "k t"], mask: Bool[Array, "k t"]) -> Float[Array, "k t d"]:
        """The last hidden states h_L; what stands in the padding means nothing."""
        return self.run_layers(self.first_hidden(ids), mask)

    def first_hidden(self, ids: Int[Array, "k t"]) -> Float[Array, "k t d"]:
        """h_0: the sum of the three embeddings, normalised."""
        place = self.position_embedding(jnp.arange(ids.shape[1])) + self.segment_embedding(jnp.array(0))[None]
        return self.embedding_norm(self.token_embedding(ids) + place[None])

    def run_layers(
        self,
        hidden: Float[Array, "k t d"],
        mask: Bool[Array, "k t"],
        *,
        first: int = 0,
        last: int | None = None,
    ) -> Float[Array, "k t d"]:
        """h_last from h_first: layers first, ..., last - 1; `last` is L by default."""
        for layer in list(self.layers)[first:last]:
            hidden = layer(hidden, mask)
        return hidden

    def hidden_states(
        self, ids: Int[Array, "k t"], mask: Bool[Array, "k t"]
    ) -> tuple[Float[Array, "k t d"], ...]:
        """All of h_0, ..., h_L."""
        states = [self.first_hidden(ids)]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        return tuple(states)


def pool(hidden: Float[Array, "k t d"], mask: Bool[Array, "k t"]) -> Float[Array, "k d"]:
    """Mean over the pieces that are no padding, divided by its Euclidean length.

    Args:
        hidden: last hidden states, shape (k, t, d).
        mask: False in the padding; a row without any piece gives NaN.

    Example:
        >>> hidden = jnp.array([[[3.0, 0.0], [3.0, 8.0], [100.0, 100.0]]])
        >>> pool(hidden, jnp.array([[True, True, False]])).tolist()
        [[0.6..., 0.8...]]
    """
    # Selected, not multiplied by zero: padding may hold anything.
    total = jnp.sum(jnp.where(mask[:, :, None], hidden, 0), axis=1)
    mean = total / jnp.sum(mask, axis=1, keepdims=True).astype(hidden.dtype)
    return mean / jnp.linalg.norm(mean, axis=1, keepdims=True)


def embed(
    encoder: SentenceEncoder,
    ids: Int[Array | np.ndarray, "k t"],
    mask: Bool[Array | np.ndarray, "k t"],
) -> Float[Array, "k d"]:
    """Unit vectors of sentences, in one compiled program for each shape (k, t).

    Args:
        encoder: from `load_encoder`, or any SentenceEncoder; differentiable in its parameters.
        ids: word pieces in [0, vocabulary), t at most `encoder.config.positions`.
        mask: False in the padding; each row has at least one piece.

    Returns:
        Shape (k, d), rows of length 1, in the encoder's dtype.

    Raises:
        ValueError: shapes that differ, sentences that are too long, pieces that do not exist, or a row
            without any. Traced ids that do not exist, and traced rows without any, give NaN.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=1, heads=2, feed_forward=16, positions=10)
        >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
        >>> short = embed(encoder, jnp.array([[1, 7, 2]]), jnp.array([[True, True, True]]))
        >>> padded = embed(encoder, jnp.array([[1, 7, 2, 0]]), jnp.array([[True, True, True, False]]))
        >>> bool(jnp.allclose(short, padded, atol=1e-6))
        True
    """
    _check_tokens(encoder.config, ids, mask)
    graphdef, state = nnx.split(encoder)
    return _embed(graphdef, state, jnp.asarray(ids), jnp.asarray(mask))


def embed_in_batches(
    encoder: SentenceEncoder,
    ids: Int[Array | np.ndarray, "k t"],
    mask: Bool[Array | np.ndarray, "k t"],
    *,
    batch_size: int = 32,
    multiple: int = 8,
    progress: Callable[[int], Any] | None = None,
) -> Float[np.ndarray, "k d"]:
    """Unit vectors of many sentences, batched by length so that little padding is computed.

    Sentences are sorted by length, and each batch is cut to its longest, rounded up to a multiple: at most
    t / multiple programs are compiled. The results are those of `embed`, but for rounding.

    Args:
        encoder: from `load_encoder`, or any SentenceEncoder.
        ids: word pieces, as for `embed`.
        mask: False in the padding, as for `embed`.
        batch_size: sentences at a time, >= 1.
        multiple: of which the lengths of batches are, >= 1.
        progress: called with the number of sentences done, after each batch.

    Returns:
        Shape (k, d), in the order given.

    Raises:
        ValueError: as for `embed`, or a size below 1.

    Example:
        >>> config = EncoderConfig(50, hidden=8, layers=1, heads=2, feed_forward=16, positions=10)
        >>> encoder = SentenceEncoder(config, rngs=nnx.Rngs(0))
        >>> ids = jnp.array([[1, 7, 2, 0], [1, 2, 0, 0], [1, 9, 5, 2]])
        >>> vectors = embed_in_batches(encoder, ids, ids > 0, batch_size=2)
        >>> bool(jnp.allclose(vectors, embed(encoder, ids, ids > 0), atol=1e-6))
        True
    """
    batch_size = positive_int(batch_size, "batch_size")
    multiple = positive_int(multiple, "multiple")
    ids, mask = np.asarray(ids), np.asarray(mask)
    _check_tokens(encoder.config, ids, mask)
    k, t = ids.shape
    batch_size = min(batch_size, k)
    # One after the last piece, whether or not there are gaps before it.
    lengths = t - np.argmax(mask[:, ::-1], axis=1)
    order = np.argsort(lengths, kind="stable")
    graphdef, state = nnx.split(encoder)
    vectors = np.empty((k, encoder.config.hidden), encoder.token_embedding.embedding.dtype)
    for start in range(0, k, batch_size):
        rows = order[start : start + batch_size]
        cut = min(-(-int(lengths[rows].max()) // multiple) * multiple, t)
        # The last batch repeats a sentence rather than having a shape of its own.
        full = np.pad(rows, (0, batch_size - rows.size), mode="edge")
        found = _embed(graphdef, state, jnp.asarray(ids[full, :cut]), jnp.asarray(mask[full, :cut]))
        vectors[rows] = np.asarray(found)[: rows.size]
        if progress is not None:
            progress(min(start + batch_size, k))
    return vectors


def load_encoder(folder: str | os.PathLike[str], *, dtype: DTypeLike = jnp.float32) -> SentenceEncoder:
    """The encoder of a folder: sizes from its `config.json`, weights from its `model.safetensors`.

    Sizes and tensors bear the names of BERT models (`encoder.layer.0.attention.self.query.weight`, ...);
    tensors that the embedding does not use, such as the pooler's, are left unread. Needs the extra `text`.

    Args:
        folder: with both files, such as `theorysim.data.minilm_folder()`.
        dtype: of parameters and computation, to which the weights are converted.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or lacks something, a tensor has another shape, or the encoder is of
            another kind: with an activation other than the exact GELU, or positions that are not learned.
        ImportError: the package `safetensors` is not installed.

    Example:
        >>> load_encoder("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: folder must hold a config.json, got no/such/folder
    """
    config = _checked(EncoderConfig(**read_sizes(folder)))
    abstract = nnx.eval_shape(lambda: SentenceEncoder(config, dtype=dtype, rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(abstract)
    empty = {".".join(map(str, path)): (path, param) for path, param in nnx.to_flat_state(state)}
    tensors = read_tensors(folder, {place: param.get_value().shape for place, (_, param) in empty.items()})
    flat = [
        (path, param.replace(jnp.asarray(tensors[place], dtype))) for place, (path, param) in empty.items()
    ]
    return nnx.merge(graphdef, nnx.from_flat_state(flat))


def _checked(config: EncoderConfig) -> EncoderConfig:
    for name in config._fields[:-1]:
        positive_int(getattr(config, name), name)
    real(config.epsilon, "epsilon", low=0, low_open=True, high_open=True)
    if config.hidden % config.heads:
        raise ValueError(f"heads must divide hidden = {config.hidden}, got {config.heads}")
    return config


def _check_tokens(config: EncoderConfig, ids: Any, mask: Any) -> None:
    if np.ndim(ids) != 2 or np.shape(ids) != np.shape(mask):
        raise ValueError(
            f"mask must have the shape (k, t) of ids, got {np.shape(mask)} for ids of {np.shape(ids)}"
        )
    if not len(ids):
        raise ValueError("ids must have at least one row, got none")
    if not 1 <= np.shape(ids)[1] <= config.positions:
        raise ValueError(f"ids must have 1 to {config.positions} columns, got {np.shape(ids)[1]}")
    if not is_traced(ids):
        real(np.asarray(ids), "ids", low=0, high=config.vocabulary - 1)
    if not is_traced(mask) and not np.asarray(mask).any(axis=1).all():
        raise ValueError("mask must be True for at least one piece of each row, got a row without any")


@partial(jax.jit, static_argnums=0)
def _embed(graphdef: Any, state: Any, ids: Any, mask: Any) -> Array:
    encoder = nnx.merge(graphdef, state)
    return pool(encoder(ids, mask), mask)


def _linear(n_in: int, n_out: int, *, init_std: float, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(
        n_in,
        n_out,
        kernel_init=nnx.initializers.normal(init_std),
        bias_init=nnx.initializers.zeros,
        dtype=dtype,
        param_dtype=dtype,
        rngs=rngs,
    )


def _norm(config: EncoderConfig, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # The variance as a mean of squared deviations: the difference of two moments loses half the digits.
    return nnx.LayerNorm(
        config.hidden,
        epsilon=config.epsilon,
        use_fast_variance=False,
        dtype=dtype,
        param_dtype=dtype,
        rngs=rngs,
    )
