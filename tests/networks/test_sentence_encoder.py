"""The sentence encoder against a forward pass written out in NumPy, and against published embeddings.

Tiny weights, written to a file by the tests, always run. The tests with the true weights run where
`theorysim data get minilm` was.
"""

import inspect
import json
import sys
from math import erf
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from theorysim.networks import sentence_encoder
from theorysim.networks.sentence_encoder import (
    EncoderConfig,
    SentenceEncoder,
    embed,
    embed_in_batches,
    load_encoder,
    pool,
)

CONFIG = EncoderConfig(
    vocabulary=40, hidden=12, layers=2, heads=3, feed_forward=20, positions=11, epsilon=1e-6
)
WRITTEN = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 11,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-6,
}
IDS = np.array([[5, 7, 39, 2, 0, 0, 0], [5, 1, 2, 0, 0, 0, 0], [5, 8, 8, 9, 10, 30, 2]], np.int32)
MASK = np.arange(7) < np.array([4, 3, 7])[:, None]


def random_tensors() -> dict[str, np.ndarray]:
    """Weights of a tiny BERT under their published names, none of them at a special value."""
    generator = np.random.default_rng(0)
    d, f = 12, 20
    shapes = {
        "embeddings.word_embeddings.weight": (40, d),
        "embeddings.position_embeddings.weight": (11, d),
        "embeddings.token_type_embeddings.weight": (2, d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
        "pooler.dense.weight": (d, d),
    }
    for i in range(2):
        linear = {f"attention.self.{name}": (d, d) for name in ("query", "key", "value")}
        linear |= {"attention.output.dense": (d, d), "intermediate.dense": (f, d), "output.dense": (d, f)}
        for name, shape in linear.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{i}.{name}.weight"] = shapes[f"encoder.layer.{i}.{name}.bias"] = (d,)
    return {name: generator.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


TENSORS = random_tensors()


def by_hand(ids: np.ndarray) -> list[np.ndarray]:
    """Hidden states (t, d) of one sentence without padding, in float64, one head at a time."""
    w = {name: tensor.astype(np.float64) for name, tensor in TENSORS.items()}

    def norm(h, name):
        h = h - h.mean(axis=1, keepdims=True)
        h = h / np.sqrt((h**2).mean(axis=1, keepdims=True) + 1e-6)
        return h * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(h, name):
        return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    h = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    states = [norm(h + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")]
    for i in range(2):
        h, layer = states[-1], f"encoder.layer.{i}"
        q, k, v = (linear(h, f"{layer}.attention.self.{name}") for name in ("query", "key", "value"))
        heads = []
        for a in range(3):
            part = slice(4 * a, 4 * a + 4)
            weight = np.exp(q[:, part] @ k[:, part].T / 2)
            heads.append(weight / weight.sum(axis=1, keepdims=True) @ v[:, part])
        attended = linear(np.concatenate(heads, axis=1), f"{layer}.attention.output.dense")
        u = norm(h + attended, f"{layer}.attention.output.LayerNorm")
        z = linear(u, f"{layer}.intermediate.dense")
        z = z * (1 + np.vectorize(erf)(z / np.sqrt(2))) / 2
        states.append(norm(u + linear(z, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"))
    return states


def embedding_by_hand(ids: np.ndarray) -> np.ndarray:
    mean = by_hand(ids)[-1].mean(axis=0)
    return mean / np.sqrt(mean @ mean)


BY_HAND = np.stack([embedding_by_hand(ids[mask]) for ids, mask in zip(IDS, MASK, strict=True)])


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Writes a folder of tiny weights, with some changed or left out (None)."""
    numpy_files = pytest.importorskip(
        "safetensors.numpy", reason='needs the extra: pip install "theorysim[text]"'
    )

    def folder(config=None, tensors=None):
        path = tmp_path_factory.mktemp("encoder")
        content = {k: v for k, v in (WRITTEN | (config or {})).items() if v is not None}
        (path / "config.json").write_text(json.dumps(content))
        changed = {k: v for k, v in (TENSORS | (tensors or {})).items() if v is not None}
        numpy_files.save_file(changed, str(path / "model.safetensors"))
        return path

    return folder


@pytest.fixture(scope="module")
def encoder(write):
    return load_encoder(write(), dtype=jnp.float64)


@pytest.fixture(scope="module")
def untrained():
    return SentenceEncoder(CONFIG, init_std=0.5, rngs=nnx.Rngs(0))


def test_loaded_weights_give_the_embeddings_worked_out_by_hand(encoder):
    assert encoder.config == CONFIG
    np.testing.assert_allclose(embed(encoder, IDS, MASK), BY_HAND, rtol=1e-11, atol=1e-13)


def test_all_hidden_states_are_those_worked_out_by_hand(encoder):
    states = encoder.hidden_states(jnp.asarray(IDS), jnp.asarray(MASK))
    assert len(states) == 3
    for row, (ids, mask) in enumerate(zip(IDS, MASK, strict=True)):
        for state, expected in zip(states, by_hand(ids[mask]), strict=True):
            np.testing.assert_allclose(state[row][mask], expected, rtol=1e-10, atol=1e-12)


def test_float32_is_close_to_float64(write, encoder):
    single = load_encoder(write())
    vectors = embed(single, IDS, MASK)
    assert vectors.dtype == jnp.float32
    np.testing.assert_allclose(vectors, embed(encoder, IDS, MASK), atol=2e-6)


def test_weights_of_half_precision_are_converted(write):
    half = {name: tensor.astype(np.float16) for name, tensor in TENSORS.items()}
    vectors = embed(load_encoder(write(tensors=half)), IDS, MASK)
    assert vectors.dtype == jnp.float32
    np.testing.assert_allclose(vectors, BY_HAND, atol=0.02)


def test_embeddings_have_length_one_and_padding_changes_nothing(encoder):
    vectors = embed(encoder, IDS, MASK)
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1, rtol=1e-13)
    other = np.where(MASK, IDS, 17).astype(np.int32)
    np.testing.assert_array_equal(embed(encoder, other, MASK), vectors)
    np.testing.assert_allclose(embed(encoder, IDS[1:2, :3], MASK[1:2, :3]), vectors[1:2], rtol=1e-12)


def test_the_order_of_words_matters_and_that_of_sentences_does_not(encoder):
    vectors = embed(encoder, IDS, MASK)
    swapped = IDS.copy()
    swapped[0, 1:3] = IDS[0, [2, 1]]
    assert np.abs(embed(encoder, swapped, MASK) - vectors)[0].max() > 1e-3
    np.testing.assert_allclose(embed(encoder, IDS[::-1], MASK[::-1]), vectors[::-1], rtol=1e-12)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_cached_hidden_states_go_on_from_any_layer(encoder, first):
    ids, mask = jnp.asarray(IDS), jnp.asarray(MASK)
    cached = encoder.run_layers(encoder.first_hidden(ids), mask, last=first)
    np.testing.assert_allclose(cached, encoder.hidden_states(ids, mask)[first], rtol=1e-12)
    np.testing.assert_allclose(
        pool(encoder.run_layers(cached, mask, first=first), mask), BY_HAND, rtol=1e-11, atol=1e-13
    )


def test_a_projection_can_be_replaced(write):
    class Adapted(nnx.Module):
        def __init__(self, base):
            self.base, self.delta = base, nnx.Param(jnp.zeros((12, 12)))

        def __call__(self, x):
            return self.base(x) + x @ self.delta[...]

    encoder = load_encoder(write(), dtype=jnp.float64)
    before = embed(encoder, IDS, MASK)
    attention = encoder.layers[1].attention
    assert isinstance(attention.query, nnx.Linear)
    attention.query = adapted = Adapted(attention.query)
    np.testing.assert_allclose(embed(encoder, IDS, MASK), before, rtol=1e-12)
    adapted.delta[...] = jnp.eye(12)
    assert np.abs(embed(encoder, IDS, MASK) - before).max() > 1e-3


def test_gradients_are_finite_differences():
    encoder = SentenceEncoder(CONFIG._replace(layers=1), init_std=0.5, dtype=jnp.float64, rngs=nnx.Rngs(1))
    graphdef, params = nnx.split(encoder)
    target = np.random.default_rng(1).normal(size=(3, 12))

    @jax.jit
    def objective(params):
        return jnp.sum(target * embed(nnx.merge(graphdef, params), IDS, MASK))

    gradient = jax.grad(objective)(params)
    direction = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(x.size).normal(size=x.shape)), params
    )
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, v: jnp.sum(g * v), gradient, direction)))
    f = {t: objective(jax.tree.map(lambda p, v, t=t: p + t * 1e-4 * v, params, direction)) for t in (-1, 1)}
    np.testing.assert_allclose(slope, (f[1] - f[-1]) / 2e-4, rtol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_encoders_are_batched_over_seeds():
    def vectors(key):
        return embed(SentenceEncoder(CONFIG._replace(layers=1), init_std=0.5, rngs=nnx.Rngs(key)), IDS, MASK)

    keys = jax.random.split(jax.random.key(3), 2)
    batched = jax.jit(jax.vmap(vectors))(keys)
    for key, found in zip(keys, batched, strict=True):
        np.testing.assert_allclose(found, vectors(key), atol=1e-6)


def test_parameters_start_with_the_standard_deviation_asked_for():
    big = CONFIG._replace(vocabulary=500, hidden=120, feed_forward=200)
    encoder = SentenceEncoder(big, init_std=0.3, rngs=nnx.Rngs(0))
    for path, param in nnx.to_flat_state(nnx.state(encoder)):
        x = np.asarray(param[...])
        if path[-1] in ("bias", "scale"):
            assert (x == (path[-1] == "scale")).all()
        elif x.size > 1000:
            assert abs(x.std() / 0.3 - 1) < 5 / np.sqrt(2 * x.size)
            assert abs(x.mean()) < 5 * 0.3 / np.sqrt(x.size)


@pytest.mark.parametrize(("batch_size", "multiple"), [(1, 6), (2, 4), (4, 11), (100, 8)])
def test_batches_give_the_same_in_the_order_given(untrained, batch_size, multiple):
    generator = np.random.default_rng(5)
    lengths = generator.integers(1, 12, 9)
    mask = np.arange(11) < lengths[:, None]
    ids = np.where(mask, generator.integers(0, 40, (9, 11)), 0).astype(np.int32)
    done = []
    vectors = embed_in_batches(
        untrained, ids, mask, batch_size=batch_size, multiple=multiple, progress=done.append
    )
    assert isinstance(vectors, np.ndarray) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, embed(untrained, ids, mask), atol=2e-6)
    assert done == sorted(done) and done[-1] == 9 and len(done) == -(-9 // min(batch_size, 9))


def test_batches_of_all_lengths_share_few_programs(untrained, monkeypatch):
    lengths = np.tile(np.arange(1, 12), 4)
    mask = np.arange(11) < lengths[:, None]
    ids = np.where(mask, 3, 0).astype(np.int32)
    traced = []
    monkeypatch.setattr(sentence_encoder, "pool", lambda h, m: traced.append(m.shape) or pool(h, m))
    embed_in_batches(untrained, ids, mask, batch_size=5, multiple=4)
    # The last length is the width of the array; 44 sentences leave a last batch of 4.
    assert traced == [(5, 4), (5, 8), (5, 11)]


def test_gaps_in_a_mask_are_left_out_of_the_mean_and_of_attention(untrained):
    mask = MASK.copy()
    mask[2, 3] = False
    changed = IDS.copy()
    changed[2, 3] = 20
    vectors = embed(untrained, IDS, mask)
    np.testing.assert_allclose(embed(untrained, changed, mask), vectors, atol=1e-6)
    np.testing.assert_allclose(embed_in_batches(untrained, IDS, mask, batch_size=1), vectors, atol=1e-6)


def test_padding_that_holds_no_number_does_no_harm():
    hidden = jnp.array([[[3.0, 4.0], [jnp.nan, jnp.inf]]])
    np.testing.assert_allclose(pool(hidden, jnp.array([[True, False]])), [[0.6, 0.8]], rtol=1e-14)
    assert jnp.isnan(pool(hidden, jnp.array([[False, False]]))).all()


@pytest.mark.parametrize("call", [embed, embed_in_batches])
@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (IDS, MASK[:2], r"mask must have the shape \(k, t\) of ids, got \(2, 7\) for ids of \(3, 7\)"),
        (IDS[0], MASK[0], r"mask must have the shape \(k, t\) of ids, got \(7,\)"),
        (np.zeros((2, 12), np.int32), np.ones((2, 12), bool), "ids must have 1 to 11 columns, got 12"),
        (IDS[:, :0], MASK[:, :0], "ids must have 1 to 11 columns, got 0"),
        (IDS[:0], MASK[:0], "ids must have at least one row, got none"),
        (IDS + 1, MASK, r"ids must be in \[0, 39\], got 40"),
        (IDS - 1, MASK, r"ids must be in \[0, 39\], got -1"),
        (IDS, MASK & (np.arange(3) != 1)[:, None], "mask must be True for at least one piece of each row"),
    ],
)
def test_bad_input_is_named(untrained, call, ids, mask, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(call)(untrained, ids, mask)


@pytest.mark.parametrize("name", ["batch_size", "multiple"])
def test_sizes_below_one_are_named(untrained, name):
    sizes: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be an integer >= 1, got 0"):
        embed_in_batches(untrained, IDS, MASK, **sizes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "layers must be an integer >= 1, got 0"),
        ({"heads": 5}, "heads must divide hidden = 12, got 5"),
        ({"epsilon": 0.0}, r"epsilon must be in \(0, inf\), got 0"),
    ],
)
def test_sizes_that_make_no_encoder_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        SentenceEncoder(CONFIG._replace(**changes), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="init_std must be in"):
        SentenceEncoder(CONFIG, init_std=-1.0, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_act": "gelu_new"}, "hidden_act must be 'gelu', got 'gelu_new' in .*config.json"),
        ({"model_type": "roberta"}, "model_type must be 'bert', got 'roberta'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute', got"),
        ({"hidden_size": None}, "config.json of an encoder, got .* without 'hidden_size'"),
        ({"num_attention_heads": 7}, "heads must divide hidden = 12, got 7"),
        ({"num_hidden_layers": "3"}, "layers must be an integer >= 1, got '3'"),
        ({"num_hidden_layers": 3}, "must hold the tensor encoder.layer.2.attention.* without it"),
        ({"intermediate_size": 30}, r"intermediate.dense.* must have shape \(30"),
    ],
)
def test_configurations_of_other_encoders_are_refused(write, config, message):
    with pytest.raises(ValueError, match=message):
        load_encoder(write(config))


def test_tensors_that_are_missing_or_of_another_shape_are_named(write):
    name = "encoder.layer.1.attention.self.key.weight"
    with pytest.raises(ValueError, match=rf"must hold the tensor {name}, got .* without it"):
        load_encoder(write(tensors={name: None}))
    with pytest.raises(ValueError, match=rf"{name} must have shape \(12, 12\), got \(6, 24\) in"):
        load_encoder(write(tensors={name: np.zeros((6, 24), np.float32)}))


def test_missing_and_damaged_files_are_named(write):
    folder = write()
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"folder must hold a valid model.safetensors, got"):
        load_encoder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"folder must hold a model.safetensors, got"):
        load_encoder(folder)
    for content in ("[1]", "{", '"text"'):
        (folder / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"folder must hold a config.json of an encoder, got"):
            load_encoder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"folder must hold a config.json, got"):
        load_encoder(folder)


def test_without_the_extra_its_name_is_told(write, monkeypatch):
    folder = write()
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'needs the package safetensors: pip install "theorysim\[text\]"'):
        load_encoder(folder)


@pytest.fixture(scope="module")
def minilm():
    from theorysim.data import minilm_folder

    pytest.importorskip("safetensors", reason='needs the extra: pip install "theorysim[text]"')
    try:
        return load_encoder(minilm_folder())
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).parent / "data" / "minilm_reference.npz") as file:
        return dict(file)


def test_minilm_gives_the_published_embeddings(minilm, reference):
    ids, mask = reference["token_ids"], reference["mask"].astype(bool)
    vectors = embed(minilm, ids, mask)
    assert vectors.dtype == jnp.float32
    np.testing.assert_allclose(vectors, reference["embeddings"], atol=1e-5)
    np.testing.assert_allclose(
        embed_in_batches(minilm, ids, mask, batch_size=4, multiple=16), reference["embeddings"], atol=1e-5
    )


def test_minilm_finds_like_sentences_alike(minilm):
    pytest.importorskip("tokenizers", reason='needs the extra: pip install "theorysim[text]"')
    from theorysim.data import tokenize

    tokens = tokenize(["A wonderful film.", "What a great movie!", "The train leaves at noon."])
    vectors = embed(minilm, tokens.ids, tokens.mask)
    assert vectors[0] @ vectors[1] > 0.6 > 0.2 > vectors[0] @ vectors[2]
