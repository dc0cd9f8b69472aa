"""Networks trained without some of their records: their law, their minimum, and who was left out."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorysim import lood
from theorysim.networks.left_out import left_out_outputs
from theorysim.numerics import stats

N, D = 12, 4
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(N, D)))
Y = jnp.asarray(np.where(RNG.random(N) < 0.5, 1.0, -1.0))
SCALES: dict[str, Any] = {"sw2": 2.0, "sb2": 0.3}
NOISE = 0.5
ALL = jnp.ones(N, bool)
OUT = (3, 11)
WITHOUT = jnp.stack([ALL, *(ALL.at[i].set(False) for i in OUT)])


def kernels(phi, depth):
    return (lood.mlp(phi, depth=depth, get=get, **SCALES) for get in ("nngp", "ntk"))


K, T = (kernel(X, X) for kernel in kernels("erf", 1))
EDGE = 1.8 * float(jnp.linalg.eigvalsh(T)[-1])

trained = partial(
    left_out_outputs,
    noise=NOISE,
    edge=EDGE,
    activation="erf",
    depth=1,
    width=32,
    steps=120,
    dtype=jnp.float64,
    **SCALES,
)


def test_the_network_has_the_kernels_of_its_limit():
    """One step that is almost none gives the start and, by its difference for two labels, the tangent kernel.

    Each of five outputs has the label of another record; the outputs are independent at the start. Of depth
    2, both kernels differ from their limits by O(1/width).
    """
    x, networks, width, edge = X[:5], 400, 128, 1e10
    rate = 4 / edge

    @jax.jit
    @jax.vmap
    def moments(key):
        start, moved = (
            left_out_outputs(
                key,
                jnp.ones(5, bool),
                x,
                scale * jnp.eye(5),
                noise=1e-10,
                edge=edge,
                activation="gelu",
                depth=2,
                width=width,
                steps=1,
                dtype=jnp.float64,
                **SCALES,
            ).outputs
            for scale in (0.0, 1e4)
        )
        return start @ start.T / 5, (moved - start) / (1e4 * rate)

    drawn = moments(jax.random.split(jax.random.key(0), networks))
    for found, kernel in zip(drawn, kernels("gelu", 2), strict=True):
        estimate, limit = stats.mean_and_error(np.asarray(found)), np.asarray(kernel(x, x))
        assert np.all(np.abs(estimate.mean - limit) < 4.5 * estimate.standard_error + 2 * limit.max() / width)
        assert np.all(estimate.standard_error < 0.05 * limit.max())


@pytest.fixture(scope="module")
def ensemble():
    """Wide networks with all records, and without one of two: outputs (3, keys, n)."""
    one = partial(trained, width=512, steps=150, dtype=jnp.float32)
    grid = jax.jit(jax.vmap(jax.vmap(one, (0, None, None, None)), (None, 0, None, None)))
    return grid(jax.random.split(jax.random.key(1), 200), WITHOUT, X, Y)


def test_wide_networks_have_the_law_of_the_linearised_ensemble(ensemble):
    outputs = np.asarray(ensemble.outputs[..., 0], float)
    whole = lood.ntk_posterior(K, T, K, T, K, Y, noise=NOISE)
    outside = lood.ntk_leave_one_out_at(K, T, K, T, K, Y, noise=NOISE)
    laws = [(whole.mean, whole.cov)] + [(outside.mean[i], outside.cov[i]) for i in OUT]
    for found, (mean, cov) in zip(outputs, laws, strict=True):
        estimate = stats.mean_and_error(found)
        # The width moves both by O(1/512): at width 128 and 2,000 keys means moved by at most .03, variances
        # by 3.5 %.
        away = np.abs(estimate.mean - np.asarray(mean[:, 0]))
        assert np.all(away < 4.5 * estimate.standard_error + 0.01)
        assert np.all(estimate.standard_error < 0.1)
        square = stats.mean_and_error(((found - np.asarray(mean[:, 0])) ** 2).sum(1))
        trace = float(jnp.trace(cov))
        assert abs(square.mean - trace) < 4.5 * square.standard_error + 0.02 * trace
        assert square.standard_error < 0.1 * trace
    # Against these errors, the records move their own outputs far.
    assert all(abs(float(whole.mean[i, 0] - outside.mean[i, i, 0])) > 1 for i in OUT)


def test_training_ends_at_the_minimum(ensemble):
    assert ensemble.outputs.dtype == jnp.float32
    assert float(ensemble.gradient_norm.max()) < 0.01


@pytest.mark.parametrize("kept", [WITHOUT[1], WITHOUT[1].at[6:10].set(False)], ids=["many", "few"])
def test_a_record_that_is_left_out_does_not_exist(kept):
    # Seven records are few enough for other coordinates of the first layer than twelve.
    masked = trained(jax.random.key(0), kept, X, Y)
    alone = trained(jax.random.key(0), kept[kept], X[kept], Y[kept])
    np.testing.assert_allclose(masked.outputs[kept], alone.outputs, rtol=1e-9)
    np.testing.assert_allclose(masked.gradient_norm, alone.gradient_norm, rtol=1e-6)
    # Its label may be anything that is finite.
    other = trained(jax.random.key(0), kept, X, Y.at[3].set(100.0))
    np.testing.assert_array_equal(masked.outputs, other.outputs)
    with_it = trained(jax.random.key(0), ALL, X, Y)
    assert float(jnp.abs(with_it.outputs - masked.outputs).max()) > 0.1


def test_a_batch_is_the_networks_one_by_one():
    keys = jax.random.split(jax.random.key(2), 2)
    together = jax.vmap(jax.vmap(trained, (0, None, None, None)), (None, 0, None, None))(keys, WITHOUT, X, Y)
    for i, kept in enumerate(WITHOUT):
        for j, key in enumerate(keys):
            alone = trained(key, kept, X, Y)
            np.testing.assert_allclose(together.outputs[i, j], alone.outputs, rtol=1e-9)
    # With nobody to learn from, a network stays where it starts, whatever the labels.
    nobody = trained(keys[0], ~ALL, X, Y)
    assert float(nobody.gradient_norm) < 1e-12


def test_the_gradient_bounds_how_far_the_outputs_are_from_the_minimum():
    # In the linearised limit; half as much again leaves room for a width of 32.
    end = trained(jax.random.key(0), ALL, X, Y)
    early = trained(jax.random.key(0), ALL, X, Y, steps=15)
    away = float(jnp.linalg.norm(early.outputs - end.outputs))
    bound = float(early.gradient_norm) / (2 * NOISE**0.5)
    assert 1e-3 < away < 1.5 * bound


def test_contrary_labels_of_equal_records_leave_the_digits_of_float32():
    """Their forces never balance in a direction that moves no output, at a ridge 1/20,000 of the edge."""
    x, y = X[:6].at[1].set(X[0]), Y[:6].at[:2].set(jnp.array([1.0, -1.0]))
    end = trained(jax.random.key(0), ALL[:6], x, y, noise=1e-3, edge=20.0, steps=2500, dtype=jnp.float32)
    assert float(end.gradient_norm) < 1e-5
    np.testing.assert_allclose(end.outputs[0], end.outputs[1], atol=1e-5)


def test_a_diverging_run_is_data():
    run = trained(jax.random.key(0), ALL, X, Y, edge=EDGE / 50)
    assert not (jnp.abs(run.outputs) < 1e6).any()
    assert not float(run.gradient_norm) < 1e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kept": jnp.arange(N)}, r"kept must be booleans of shape \(12,\), one per record, got int64"),
        ({"kept": ALL[1:]}, r"kept must be booleans .* of shape \(11,\)"),
        ({"X": X[0]}, r"X must have shape \(n, d\) with n, d >= 1, got \(4,\)"),
        ({"X": X.at[0, 0].set(jnp.nan)}, "X must be finite, got nan"),
        ({"y": Y[1:]}, r"y must have shape \(12, k\) or \(12,\), one row per record, got \(11,\)"),
        ({"noise": 0.0}, r"noise must be in \(0, inf\), got 0"),
        ({"edge": jnp.ones(2)}, r"edge must be a scalar \(batch by jax.vmap\), got shape \(2,\)"),
        ({"sw2": 0.0}, r"sw2 must be in \(0, inf\), got 0"),
        ({"sb2": -1.0}, r"sb2 must be in \[0, inf\), got -1"),
        ({"activation": "swish"}, "phi must be one of 'linear'"),
        ({"depth": 0}, "depth must be an integer >= 1, got 0"),
        ({"width": 0}, "width must be an integer >= 1, got 0"),
        ({"steps": 0}, "steps must be an integer >= 1, got 0"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    arguments = {"key": jax.random.key(0), "kept": ALL, "X": X, "y": Y} | changes
    with pytest.raises(ValueError, match=message):
        trained(**arguments)
