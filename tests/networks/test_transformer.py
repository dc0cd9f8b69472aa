"""The transformer against its formulas in NumPy, its scales, and adapters on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax, softmax

from theorysim.networks.lora import adapt
from theorysim.networks.transformer import Transformer, TransformerConfig, next_token_loss, windows

CONFIG = TransformerConfig(vocabulary=11, width=8, layers=2, heads=2, context=6)
IDS = jnp.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def build(**settings):
    return Transformer(CONFIG, dtype=jnp.float64, rngs=nnx.Rngs(0), **settings)


def normed(h):
    centred = h - h.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def by_hand(model, ids, alpha, scale, readout_scale):
    w = {".".join(map(str, p)): np.asarray(v.get_value()) for p, v in nnx.to_flat_state(nnx.state(model))}
    ids = np.asarray(ids)
    t = ids.shape[1]
    h = w["token_embedding.embedding"][ids] + w["position_embedding.embedding"][:t]
    for i in range(CONFIG.layers):
        layer, x = f"layers.{i}", normed(h)
        q, k, v = (x @ w[f"{layer}.attention.{name}.kernel"] for name in ("query", "key", "value"))
        mixed = []
        for a in range(CONFIG.heads):
            part = slice(4 * a, 4 * a + 4)
            scores = scale * q[..., part] @ k[..., part].swapaxes(1, 2)
            scores = np.where(np.tri(t, dtype=bool), scores, -np.inf)
            mixed.append(softmax(scores, axis=-1) @ v[..., part])
        h = h + alpha[i] * np.concatenate(mixed, -1) @ w[f"{layer}.attention.output.kernel"]
        z = normed(h) @ w[f"{layer}.intermediate.kernel"]
        gelu = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        h = h + alpha[i] * gelu @ w[f"{layer}.output.kernel"]
    return readout_scale * normed(h) @ w["readout.kernel"]


@pytest.mark.parametrize(("attention", "scale"), [("1/sqrt(d)", 0.5), ("1/d", 0.25)])
def test_the_logits_are_those_of_the_formulas(attention, scale):
    model = build(alpha=[0.5, 2.0], attention=attention, readout_scale=3.0)
    np.testing.assert_allclose(
        model(IDS), by_hand(model, IDS, (0.5, 2.0), scale, 3.0), rtol=1e-10, atol=1e-10
    )


def test_no_token_sees_those_after_it():
    model = build()
    changed = IDS.at[:, 3].set(0)
    np.testing.assert_array_equal(model(IDS)[:, :3], model(changed)[:, :3])
    assert (model(IDS)[:, 3:] != model(changed)[:, 3:]).any(axis=-1).all()


def test_matrices_have_the_variance_asked_for():
    config = TransformerConfig(vocabulary=400, width=64, layers=1, heads=4, context=8, feed_forward=300)
    model = Transformer(config, gain=2.0, embedding_std=0.1, rngs=nnx.Rngs(0))
    for kernel, fan_in in (
        (model.layers[0].attention.query.kernel, 64),
        (model.layers[0].output.kernel, 300),
        (model.readout.kernel, 64),
    ):
        values = np.asarray(kernel[...])
        assert abs(values.var() * fan_in / 4 - 1) < 5 * (2 / values.size) ** 0.5
    values = np.asarray(model.token_embedding.embedding[...])
    assert abs(values.var() / 0.01 - 1) < 5 * (2 / values.size) ** 0.5


def test_adapters_start_at_no_change():
    model = build()
    adapted = adapt(model, ["layers.*.attention.query", "layers.*.attention.value"], rank=2, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(adapted(IDS), model(IDS))
    assert len(jax.tree.leaves(nnx.state(adapted, nnx.Param))) == 8


def test_the_loss_is_that_of_the_next_token():
    logits = jax.random.normal(jax.random.key(0), (2, 5, 11))
    logs = log_softmax(np.asarray(logits), axis=-1)
    expected = -np.mean([logs[i, j, IDS[i, j + 1]] for i in range(2) for j in range(4)])
    np.testing.assert_allclose(next_token_loss(logits, IDS), expected, rtol=1e-6)


def test_windows_are_pieces_of_the_text_and_reach_both_ends():
    found = windows(jnp.arange(7), 300, 4, jax.random.key(0))
    np.testing.assert_array_equal(found, found[:, :1] + jnp.arange(4)[None])
    assert set(np.asarray(found[:, 0])) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain": 0.0}, "gain must be"),
        ({"embedding_std": -1.0}, "embedding_std must be"),
        ({"alpha": [1.0]}, r"alpha must have shape \(2,\), got \(1,\)"),
        ({"alpha": [1.0, np.inf]}, "alpha must be"),
        ({"attention": "d"}, "attention must be"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.parametrize("field", ["vocabulary", "width", "layers", "heads", "context"])
def test_sizes_below_one_are_named(field):
    with pytest.raises(ValueError, match=field):
        Transformer(CONFIG._replace(**{field: 0}), rngs=nnx.Rngs(0))


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="heads must divide width = 8, got 3"):
        Transformer(CONFIG._replace(heads=3), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="text must have at least size = 9 tokens, got 7"):
        windows(jnp.arange(7), 1, 9, jax.random.key(0))
