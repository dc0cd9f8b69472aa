"""Adapters on NNX models: the start, what trains, merging, and files."""

from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from flax import nnx

from theorysim.networks.lora import LoRALinear, adapt, adapted_layers, merge, unmerge, without_adapters
from theorysim.networks.lora_files import load_adapters, save_adapters
from theorysim.networks.train import functional, train

INITS = ["a", "b", "both", "scaled_a", "orthogonal", "svd"]
X = jax.random.normal(jax.random.key(9), (7, 6))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 5, use_bias=False, rngs=rngs)])
        self.norm = nnx.LayerNorm(5, rngs=rngs)
        self.head = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.gelu(layer(x))
        return self.head(self.norm(x))


BASE = Net(nnx.Rngs(0))


def adapted(**settings):
    return adapt(BASE, "layers.*", **({"rank": 2, "rngs": nnx.Rngs(1)} | settings))


def values(model, kind: Any = ...):
    return {".".join(map(str, p)): v.get_value() for p, v in nnx.to_flat_state(nnx.state(model, kind))}


@pytest.mark.parametrize("init", INITS)
def test_the_output_at_the_start_is_that_of_the_base(init):
    model = adapted(init=init, alpha=5.0)
    if init in ("both", "svd"):
        np.testing.assert_allclose(model(X), BASE(X), atol=1e-6)
    else:
        np.testing.assert_array_equal(model(X), BASE(X))


@pytest.mark.parametrize("init", INITS)
def test_one_layer_is_the_formula_with_the_start_of_its_name(init):
    base: Any = nnx.Linear(40, 30, bias_init=nnx.initializers.normal(1.0), rngs=nnx.Rngs(2))
    layer = LoRALinear(base, rank=4, alpha=8.0, scaling="alpha/sqrt(r)", init=init, rngs=nnx.Rngs(3))
    A, B, W = layer.lora_a[...], layer.lora_b[...], base.kernel[...]
    x = jax.random.normal(jax.random.key(4), (5, 40))
    moved = W - 4.0 * (B @ A).T if init in ("both", "svd") else W
    np.testing.assert_allclose(layer(x), x @ moved + base.bias[...][None] + 4.0 * x @ A.T @ B.T, atol=2e-5)
    if init == "b":
        assert not A.any() and abs(B.var() * 4 - 1) < 0.5
    elif init == "svd":
        singular = np.linalg.svd(W)[1]
        np.testing.assert_allclose(np.linalg.svd(4.0 * B @ A)[1][:4], singular[:4], rtol=1e-5)
        np.testing.assert_allclose(np.linalg.svd(moved)[1][:26], singular[4:], rtol=1e-4)
        np.testing.assert_allclose((A**2).sum(1), (B**2).sum(0), rtol=1e-5)
    else:
        assert B.any() == (init == "both")
        variance = 1.0 if init == "scaled_a" else 1 / 40
        # 160 squares of a Gaussian: five deviations of their mean.
        assert abs((A**2).mean() / variance - 1) < 5 * (2 / 160) ** 0.5
        if init == "orthogonal":
            np.testing.assert_allclose(A @ A.T, jnp.eye(4), atol=1e-6)


def test_orthogonal_starts_are_uniform_over_signs():
    base = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
    layers = [LoRALinear(base, rank=1, init="orthogonal", rngs=nnx.Rngs(i)) for i in range(200)]
    positive = sum(float(layer.lora_a[0, 0]) > 0 for layer in layers)
    assert abs(positive - 100) < 4 * 50**0.5


@pytest.mark.parametrize("scaling", ["alpha/r", "alpha/sqrt(r)"])
def test_training_moves_the_adapters_alone(scaling):
    model = adapted(init="a", scaling=scaling)
    network = functional(model)
    before = values(model, nnx.Not(nnx.Param))
    run = train(
        lambda p, _: jnp.mean((network.apply(p, X) - 1.0) ** 2), network.params, optax.adam(0.01), num_steps=5
    )
    after = network.module(run.params)
    jax.tree.map(np.testing.assert_array_equal, before, values(after, nnx.Not(nnx.Param)))
    moved, start = values(after, nnx.Param), values(model, nnx.Param)
    assert moved.keys() == {f"layers.{i}.lora_{x}" for i in (0, 1) for x in "ab"}
    assert all((moved[name] != start[name]).any() for name in moved)
    assert run.losses[-1] < run.losses[0]


def test_the_optimizer_of_nnx_trains_the_adapters_alone():
    model = adapted(train="head.*")
    kept = values(model, nnx.Not(nnx.LoRAParam))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.LoRAParam)
    gradient = nnx.grad(lambda m: jnp.mean(m(X) ** 2), argnums=nnx.DiffState(0, nnx.LoRAParam))(model)
    optimizer.update(model, gradient)
    jax.tree.map(np.testing.assert_array_equal, kept, values(model, nnx.Not(nnx.LoRAParam)))
    assert adapted_layers(model)["layers.0"].lora_b[...].any()


def test_what_is_named_keeps_training():
    model = adapted(train=["head.*", "norm.scale"])
    names = set(values(model, nnx.Param))
    assert names == {f"layers.{i}.lora_{x}" for i in (0, 1) for x in "ab"} | {
        "head.kernel",
        "head.bias",
        "norm.scale",
    }


def test_the_model_adapted_stays_as_it_is():
    before = values(BASE)
    adapted(init="svd")
    jax.tree.map(np.testing.assert_array_equal, before, values(BASE))
    assert isinstance(BASE.layers[0], nnx.Linear)


def trained(**settings):
    model = adapted(**settings)
    for i, layer in enumerate(adapted_layers(model).values()):
        noise = jax.random.normal(jax.random.key(i), layer.lora_b.shape)
        layer.lora_b.set_value(layer.lora_b.get_value() + 0.1 * noise)
    return model


@pytest.mark.parametrize("init", ["a", "svd"])
def test_merging_changes_no_output_and_is_undone_to_the_last_bit(init):
    model = trained(init=init)
    before, output = values(model), model(X)
    merge(model)
    merge(model)
    np.testing.assert_allclose(model(X), output, atol=1e-5)
    assert not np.array_equal(model.layers[0].base.kernel[...], before["layers.0.base.kernel"])
    unmerge(model)
    unmerge(model)
    jax.tree.map(np.testing.assert_array_equal, before, values(model))
    np.testing.assert_array_equal(model(X), output)


@pytest.mark.parametrize("merged", [False, True])
def test_plain_layers_hold_the_sum(merged):
    model = trained(init="b")
    output = model(X)
    if merged:
        merge(model)
    plain = without_adapters(model)
    np.testing.assert_allclose(plain(X), output, atol=1e-5)
    assert values(plain, nnx.Param).keys() == values(BASE, nnx.Param).keys()
    assert len(adapted_layers(model)) == 2


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("suffix", [".safetensors", ""])
def test_a_saved_model_is_loaded_to_the_last_bit(tmp_path, init, suffix):
    if suffix:
        pytest.importorskip("safetensors")
    model = trained(init=init, alpha=3.0, train="head.*")
    model.head.kernel.set_value(model.head.kernel.get_value() + 1.0)
    output = model(X)
    merge(model)
    save_adapters(model, tmp_path / f"file{suffix}")
    again = load_adapters(BASE, tmp_path / f"file{suffix}")
    np.testing.assert_array_equal(again(X), output)
    assert values(again, nnx.Param).keys() == values(model, nnx.Param).keys()
    assert [p.name for p in tmp_path.iterdir()] == [f"file{suffix}"]


def test_files_that_do_not_fit_are_named(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "file.safetensors"
    save_adapters(adapted(train="head.*"), path)
    with pytest.raises(ValueError, match=r"base must have the linear layer 'layers.0'"):
        load_adapters(nnx.Sequential(), path)
    other = Net(nnx.Rngs(0))
    other.layers[0] = nnx.Linear(7, 8, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"layers.0.lora_a has shape \(2, 6\) there, and \(2, 7\) is needed"):
        load_adapters(other, path)
    other = Net(nnx.Rngs(0))
    other.head = nnx.Linear(5, 3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"a parameter 'head.bias' of shape \(2,\).*got one of shape \(3,\)"):
        load_adapters(other, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="path must be that of saved adapters"):
        load_adapters(BASE, path)
    with pytest.raises(FileNotFoundError, match="save_adapters writes them"):
        load_adapters(BASE, tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="a folder that exists"):
        save_adapters(adapted(), tmp_path / "none" / "file.safetensors")
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="path must not exist"):
        save_adapters(adapted(), tmp_path / "there")
    with pytest.raises(ValueError, match="path must be that of saved adapters"):
        load_adapters(BASE, tmp_path / "there")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be"),
        ({"rank": 7}, "rank must be"),
        ({"alpha": 0.0}, "alpha must be"),
        ({"var_a": -1.0}, "var_a must be"),
        (
            {"train": "tail.*"},
            "train must match a parameter of the model, got 'tail.*'; there are: head.bias",
        ),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        adapted(**settings)


def test_patterns_without_a_layer_and_models_without_adapters_are_named():
    with pytest.raises(
        ValueError, match=r"where must match a linear layer.*there are: head, layers.0, layers.1"
    ):
        adapt(BASE, "blocks.*", rank=1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="wrap it in LoRALinear"):
        adapt(BASE.head, "*", rank=1, rngs=nnx.Rngs(0))
    for refused in (merge, unmerge, without_adapters, adapted_layers):
        with pytest.raises(ValueError, match="model must hold LoRALinear layers, got none"):
            refused(BASE)
    with pytest.raises((TypeError, jaxtyping.TypeCheckError), match="base"):
        other: Any = BASE.norm
        LoRALinear(other, rank=1, rngs=nnx.Rngs(0))
