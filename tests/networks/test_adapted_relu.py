"""The toy network with one adapted layer against its weights, written out, and its laws."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

from theorysim.networks.adapted_relu import _frozen_layer, adapted_relu_training, toy_data

N, WIDTH, RANK, SCALE = 48, 40, 3, 1.5
DATA = toy_data(jax.random.key(0), N, dtype=jnp.float64)
TEST = toy_data(jax.random.key(1), 9, dtype=jnp.float64)
STEPS, EVERY = 6, 2


def run(key=2, **settings):
    options: dict[str, Any] = {
        "width": WIDTH,
        "rank": RANK,
        "init": "a",
        "steps": STEPS,
        "record_every": EVERY,
        "scale": SCALE,
    }
    rates: dict[str, Any] = {"lr_a": 0.01, "lr_b": 0.05}
    return adapted_relu_training(jax.random.key(key), *DATA, *TEST, **(options | rates | settings))


def weights(key, init, readout):
    """The matrices of the network that `run` draws: fewer units than examples, so that W_0 is one of them."""
    keys = jax.random.split(jax.random.key(key), 4)
    w_in = jax.random.normal(keys[0], (5, WIDTH)).T / 5**0.5
    w_0 = jax.random.normal(keys[1], (WIDTH, WIDTH)).T / WIDTH**0.5
    w_out = jax.random.normal(keys[2], (WIDTH,)) / (WIDTH if readout == "mean_field" else WIDTH**0.5)
    shape, std = ((RANK, WIDTH), WIDTH**-0.5) if init == "a" else ((WIDTH, RANK), RANK**-0.5)
    drawn = std * jax.random.normal(keys[3], shape)
    zero = jnp.zeros((WIDTH, RANK) if init == "a" else (RANK, WIDTH))
    return w_in, w_0, w_out, (drawn, zero) if init == "a" else (zero, drawn)


@pytest.mark.parametrize(
    ("init", "readout", "optimizer"), [("a", "ntk", "adam"), ("b", "mean_field", "adam"), ("a", "ntk", "sgd")]
)
def test_training_is_that_of_the_network_written_out(init, readout, optimizer):
    found = run(init=init, readout=readout, optimizer=optimizer)
    w_in, w_0, w_out, start = weights(2, init, readout)

    def output(adapter, x):
        a, b = adapter
        h = 2**0.5 * jax.nn.relu(x @ w_in.T)
        return jax.nn.relu(h @ (w_0 + SCALE * b @ a).T) @ w_out

    def loss(adapter, data):
        return jnp.mean((output(adapter, data.x) - data.y) ** 2) / 2

    make = optax.sgd if optimizer == "sgd" else partial(optax.adam, eps=1e-18)
    a_step, b_step = make(0.01), make(0.05)
    adapter, states = start, (a_step.init(start[0]), b_step.init(start[1]))
    seen, h = [], 2**0.5 * jax.nn.relu(DATA.x @ w_in.T)
    for t in range(STEPS + 1):
        gradient = jax.grad(loss)(adapter, DATA)
        updates = [
            step.update(g, state) for step, g, state in zip((a_step, b_step), gradient, states, strict=True)
        ]
        moved: Any = [u for u, _ in updates]
        states = [s for _, s in updates]
        z_slope = (h @ (w_0 + SCALE * adapter[1] @ adapter[0]).T > 0) * w_out[None]
        products = (adapter[1] @ moved[0], moved[1] @ adapter[0], moved[1] @ moved[0])
        deltas = [np.sqrt(np.mean((z_slope * (SCALE * h @ m.T)).sum(1) ** 2)) for m in products]
        if t % EVERY == 0:
            b_update = np.sqrt(np.mean((adapter[1] - start[1]) ** 2))
            rms = np.sqrt(np.mean((h @ adapter[0].T) ** 2))
            seen.append([loss(adapter, DATA), loss(adapter, TEST), rms, b_update, *deltas])
        adapter = tuple(x + u for x, u in zip(adapter, moved, strict=True))
    expected = np.array(seen)
    expected[-1, 4:] = np.nan
    got = np.column_stack([*found[:4], found.deltas])
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-14)


def test_the_frozen_layer_has_the_law_of_random_weights():
    h = jax.random.normal(jax.random.key(3), (6, 20))
    draws = jax.vmap(lambda key: _frozen_layer(key, h))(jax.random.split(jax.random.key(4), 4000))
    # Units are independent copies: 80,000 draws of a Gaussian of this covariance.
    found = jnp.einsum("kiu,kju->ij", draws, draws) / 80_000
    expected = h @ h.T / 20
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 80_000)
    assert np.abs((found - expected) / error).max() < 4
    between = jnp.einsum("kiu,kiv->uv", draws, draws)[0, 1:] / (4000 * 6)
    assert np.abs(between).max() < 6 * float(jnp.trace(expected)) / 6 / 4000**0.5


def test_small_steps_move_the_output_by_the_sum_of_the_parts():
    small = run(optimizer="sgd", lr_a=1e-6, lr_b=1e-6, init="b")
    # A = 0: only A has a gradient at first, so that only delta1 is not 0.
    assert small.deltas[0, 0] > 0
    assert not small.deltas[0, 1:].any()


def test_a_grid_of_rates_is_the_loop():
    rates = jnp.array([0.0, 0.02, 0.1])
    grid = jax.vmap(lambda b: run(lr_b=b))(rates)
    for i, b in enumerate(rates):
        jax.tree.map(lambda g, o, i=i: np.testing.assert_allclose(g[i], o, rtol=1e-9), grid, run(lr_b=b))


def test_what_diverges_is_nan_from_then_on_and_leaves_its_neighbours_alone():
    grid = jax.vmap(lambda lr: run(optimizer="sgd", lr_a=lr, lr_b=lr, record_every=1))(jnp.array([0.01, 1e4]))
    assert np.isfinite(grid.loss[0]).all()
    assert np.isfinite(grid.loss[1, 0])
    assert np.isnan(grid.loss[1, -1]) and np.isnan(grid.deltas[1, -2]).all()


def test_dtype_follows_the_data():
    data = [array.astype(jnp.float32) for array in (*DATA, *TEST)]
    found = adapted_relu_training(
        jax.random.key(0), *data, lr_a=0.1, lr_b=0.1, width=8, rank=2, init="b", steps=1
    )
    assert {v.dtype for v in found} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be"),
        ({"rank": WIDTH + 1}, "rank must be"),
        ({"init": "both"}, "init"),
        ({"readout": "ntp"}, "readout"),
        ({"lr_a": -1.0}, r"lr_a must be in \[0, inf\), got -1"),
        ({"scale": 0.0}, "scale must be"),
        ({"record_every": 4}, "record_every must divide"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=message):
        run(**settings)


def test_data_of_the_wrong_shape_are_named():
    rest = {"lr_a": 0.1, "lr_b": 0.1, "width": 8, "init": "a", "steps": 1}
    with pytest.raises(ValueError, match="y must have 48 entries"):
        adapted_relu_training(jax.random.key(0), DATA.x, DATA.y[1:], *TEST, **rest)
    with pytest.raises(ValueError, match="test_x must have 5 columns"):
        adapted_relu_training(jax.random.key(0), *DATA, TEST.x[:, 1:], TEST.y, **rest)
    with pytest.raises(ValueError, match="examples must be"):
        toy_data(jax.random.key(0), 0)
