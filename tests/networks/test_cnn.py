"""The convolutional network: against JAX's own convolution, its scales at the start, and training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

from theorysim.networks.cnn import CNN, cnn_fan_in_stds
from theorysim.networks.train import functional, train

SIZES = (4, 8, 2), (3, 5), 6
X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4, 8, 2)))


def build(key=0, sizes=SIZES, **changes):
    options = {"activation": jnp.tanh, "weight_std": (1.0, 0.5, 2.0), "dtype": jnp.float64}
    return CNN(*sizes, rngs=nnx.Rngs(key), **(options | changes))


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_output_is_that_of_the_libraries_convolution(kernel):
    model = build(kernel=kernel, bias_std=(0.3, 0.2, 0.1), output_scale=3.0)
    pairs = zip(model.weights, model.biases, strict=True)
    *convolutions, last = ([x[...] for x in pair] for pair in pairs)
    x = X
    for weight, bias in convolutions:
        filters = weight.reshape(kernel, kernel, -1, weight.shape[-1])
        axes = ("NHWC", "HWIO", "NHWC")
        z = jnp.tanh(
            lax.conv_general_dilated(x, filters, (1, 1), "SAME", dimension_numbers=axes)
            + bias[None, None, None]
        )
        x = lax.reduce_window(z, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    features = np.asarray(x).reshape(7, -1)
    np.testing.assert_allclose(model.features(X), features, rtol=1e-12)
    np.testing.assert_allclose(model(X), 3 * features @ np.asarray(last[0]) + np.asarray(last[1]), rtol=1e-12)
    np.testing.assert_allclose(
        model.features(X) @ model.readout().T, np.asarray(model(X)) - np.asarray(last[1]), rtol=1e-12
    )
    np.testing.assert_allclose(model(X[0]), model(X)[0], rtol=1e-12)


def test_entries_start_with_the_standard_deviations_asked_for():
    std = cnn_fan_in_stds((8, 8, 1), (64, 64), 50, gain=2**0.5)
    np.testing.assert_allclose(std, np.sqrt(2 / np.array([9, 9 * 64, 4 * 64])))
    model = build(sizes=((8, 8, 1), (64, 64), 50), weight_std=std)
    for weight, s in zip(model.weights, std, strict=True):
        w = np.asarray(weight[...]).ravel()
        assert abs(w.std() / s - 1) < 4.5 / np.sqrt(2 * w.size)
    assert not model.biases


def test_seeds_and_scales_are_batched_and_training_lowers_the_loss():
    x, y = X[..., :1], jnp.arange(7) % 2

    def losses(key, scale):
        sizes = (4, 8, 1), (4, 4), 2
        std = cnn_fan_in_stds(*sizes, gain=2**0.5)
        options = {"activation": jax.nn.relu, "bias_std": (0.0, 0.0, 0.0), "output_scale": scale}
        network = functional(CNN(*sizes, weight_std=std, rngs=nnx.Rngs(key), **options))
        assert len(jax.tree.leaves(network.params)) == 6

        def loss(params, batch):
            return optax.softmax_cross_entropy_with_integer_labels(network.apply(params, x), y).mean()

        return train(loss, network.params, optax.adam(0.03), num_steps=60).losses

    keys, scales = jax.random.split(jax.random.key(0), 2), jnp.array([0.5, 2.0])
    run = jax.jit(jax.vmap(losses))(keys, scales)
    assert run.dtype == jnp.float32
    assert (run[:, -1] < 0.1 * run[:, 0]).all()


@pytest.mark.parametrize(
    ("sizes", "changes", "message"),
    [
        (((4, 8), (3, 5), 6), {}, r"shape must be \(height, width, channels\), got \(4, 8\)"),
        (((4, 6, 2), (3, 5), 6), {}, "shape must have height and width divisible by 4"),
        (((4, 8, 0), (3, 5), 6), {}, "shape must be an integer >= 1, got 0"),
        (((4, 8, 2), (), 6), {}, "channels must have an entry for each layer"),
        (SIZES, {"kernel": 2}, "kernel must be odd, got 2"),
        (SIZES, {"weight_std": (1.0, 1.0)}, "weight_std must have one entry for each of 3 layers, got 2"),
        (SIZES, {"bias_std": (1.0, 1.0, -1.0)}, r"bias_std must be in \[0, inf\), got -1"),
        (SIZES, {"output_scale": jnp.ones(2)}, "output_scale must be a scalar"),
    ],
)
def test_bad_sizes_and_scales_are_named(sizes, changes, message):
    with pytest.raises(ValueError, match=message):
        build(sizes=sizes, **changes)
