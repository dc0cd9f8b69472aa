"""Two rates for two factors: the steps against optimizers built by hand, and the labels."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from theorysim.networks.lora import adapt
from theorysim.numerics.low_rank import dense_adapter_training
from theorysim.optim import lora_labels, lora_plus

KEYS = jax.random.split(jax.random.key(0), 8)
PARAMS = {
    "q": {"kernel": jax.random.normal(KEYS[0], (5, 4)), "lora_a": jax.random.normal(KEYS[1], (2, 5))},
    "v": {"lora_A": {"weight": jax.random.normal(KEYS[2], (2, 4))}, "lora_B": {"weight": jnp.ones((3, 2))}},
    "head": {"bias": jnp.ones(3)},
}


def steps(optimizer, params, count=6):
    state, seen = optimizer.init(params), []
    for i in range(count):
        gradient = jax.tree.map(lambda p, i=i: jnp.sin(p * (i + 1)) + 0.1, params)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


@pytest.mark.parametrize(
    "base",
    [
        optax.sgd,
        partial(optax.sgd, momentum=0.9),
        optax.adam,
        partial(optax.adamw, weight_decay=0.1),
        lambda rate: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate)),
    ],
)
@pytest.mark.parametrize("rate", [3e-3, optax.cosine_decay_schedule(3e-3, 10)])
def test_the_steps_are_those_of_optimizers_built_by_hand_to_the_last_bit(base, rate):
    found = steps(lora_plus(base, rate, ratio=7.3, others={"head.*": 0.5}), PARAMS)

    def times(factor):
        return (lambda count: factor * rate(count)) if callable(rate) else factor * rate

    a = {"q": PARAMS["q"]["lora_a"], "v": PARAMS["v"]["lora_A"]["weight"]}
    by_a = steps(base(rate), a)
    by_b = steps(base(times(7.3)), PARAMS["v"]["lora_B"]["weight"])
    by_head = steps(base(times(0.5)), PARAMS["head"])
    for i, params in enumerate(found):
        np.testing.assert_array_equal(params["q"]["lora_a"], by_a[i]["q"])
        np.testing.assert_array_equal(params["v"]["lora_A"]["weight"], by_a[i]["v"])
        np.testing.assert_array_equal(params["v"]["lora_B"]["weight"], by_b[i])
        np.testing.assert_array_equal(params["head"]["bias"], by_head[i]["bias"])
        np.testing.assert_array_equal(params["q"]["kernel"], PARAMS["q"]["kernel"])


def test_an_adapter_trains_as_the_theory_has_it():
    n, m, N, k, r = 9, 7, 4, 3, 2
    X, W, Y = (jax.random.normal(key, s) for key, s in zip(KEYS, [(n, N), (k, m), (k, N)], strict=False))
    A = jax.random.normal(KEYS[3], (r, n)) / n**0.5
    path = dense_adapter_training(
        KEYS[4], X, W, Y, rank=r, init="a", A0=A, lr_a=0.01, lr_b=0.08, optimizer="adam", steps=5
    )

    def loss(p):
        return ((W @ p["lora_b"] @ p["lora_a"] @ X - Y) ** 2).sum() / (2 * N)

    optimizer = lora_plus(partial(optax.adam, eps=1e-300), 0.01, ratio=8.0)
    params = {"lora_a": A, "lora_b": jnp.zeros((m, r))}
    state, losses = optimizer.init(params), []
    for _ in range(6):
        value, gradient = jax.value_and_grad(loss)(params)
        losses.append(value)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(losses, path.loss, rtol=1e-9)


def test_rates_and_ratios_may_be_traced():
    params = {"lora_a": jnp.ones(3), "lora_b": jnp.ones(2)}

    def after(rate, ratio):
        return steps(lora_plus(optax.adam, rate, ratio=ratio), params)[-1]

    grid = jax.jit(jax.vmap(after))(jnp.array([0.1, 0.2]), jnp.array([2.0, 16.0]))
    for i, (rate, ratio) in enumerate(((0.1, 2.0), (0.2, 16.0))):
        one = after(rate, ratio)
        for name in params:
            np.testing.assert_allclose(grid[name][i], one[name], rtol=1e-12)


def test_labels_of_a_model_list_what_would_train():
    base = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 2, rngs=nnx.Rngs(0)))
    model = adapt(base, "layers.0", rank=2, train="layers.1.kernel", rngs=nnx.Rngs(1))
    labels = lora_labels(nnx.state(model, nnx.Param), others={"layers.1.*": 1.0})
    assert labels.rows == (
        ("layers.0.lora_a", (2, 4), "a"),
        ("layers.0.lora_b", (8, 2), "b"),
        ("layers.1.kernel", (8, 2), "layers.1.*"),
    )
    assert str(labels).splitlines()[-1] == "40 of 40 numbers train"


def test_an_nnx_model_trains_with_the_optimizer_of_nnx():
    base = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)))
    model = adapt(base, "layers.0", rank=2, init="b", rngs=nnx.Rngs(1))
    labels = lora_labels(nnx.state(model, nnx.LoRAParam))
    optimizer = nnx.Optimizer(model, lora_plus(optax.sgd, 0.1, ratio=2.0, labels=labels), wrt=nnx.LoRAParam)
    loss = lambda m: jnp.mean((m(jnp.ones((3, 4))) - 1.0) ** 2)  # noqa: E731
    layer = model.layers[0]
    before = layer.lora_a.get_value(), layer.lora_b.get_value()
    for _ in range(2):
        gradient = nnx.grad(loss, argnums=nnx.DiffState(0, nnx.LoRAParam))(model)
        if not layer.lora_a.get_value().any():
            first = gradient["layers"][0]["lora_a"].get_value()
            optimizer.update(model, gradient)
            np.testing.assert_allclose(layer.lora_a.get_value(), before[0] - 0.1 * first, rtol=1e-6)
            np.testing.assert_array_equal(layer.lora_b.get_value(), before[1])
        else:
            second = gradient["layers"][0]["lora_b"].get_value()
            optimizer.update(model, gradient)
            np.testing.assert_allclose(layer.lora_b.get_value(), before[1] - 0.2 * second, rtol=1e-6)


def test_confirmed_labels_refuse_other_parameters():
    labels = lora_labels(PARAMS)
    optimizer = lora_plus(optax.adam, 1e-3, labels=labels)
    optimizer.init(PARAMS)
    with pytest.raises(ValueError, match="params must have the leaves of labels, got 'more' in params alone"):
        optimizer.init(PARAMS | {"more": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"got 'head.bias' in labels alone"):
        optimizer.init({name: part for name, part in PARAMS.items() if name != "head"})
    with pytest.raises(ValueError, match="labels must be made with the same others"):
        lora_plus(optax.adam, 1e-3, labels=lora_labels(PARAMS, others={"head.*": 1.0}))


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        (
            {"w": 1.0},
            {},
            r"params must hold LoRA factors A, got none among: w; say which they are by is_a and is_b",
        ),
        ({"lora_a": 1.0}, {}, "params must hold LoRA factors B"),
        ({}, {}, "got none among: no leaf"),
        ({"lora_a": 1.0, "lora_b": 1.0}, {"others": {"head": 1.0}}, "a leaf for 'head' of others"),
        ({"lora_a": 1.0, "lora_b": 1.0}, {"is_a": lambda path: True}, "got a and b for 'lora_b'"),
        ({"lora_a": 1.0, "lora_b": 1.0}, {"others": {"*_b": 1.0}}, r"got b and \*_b for 'lora_b'"),
    ],
)
def test_wrong_trees_are_named(params, options, message):
    with pytest.raises(ValueError, match=message):
        lora_labels(params, **options)
    with pytest.raises(ValueError, match=message):
        lora_plus(optax.sgd, 0.1, **options).init(params)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0.0}, r"ratio must be in \(0, inf\), got 0"),
        ({"ratio": -1.0}, "ratio must be"),
        ({"learning_rate": -0.1}, "learning_rate must be"),
        ({"others": {"head": -1.0}}, r"others\['head'\] must be"),
    ],
)
def test_bad_rates_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        lora_plus(optax.sgd, **({"learning_rate": 0.1} | settings))
