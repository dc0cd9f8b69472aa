"""Exponents, constants and floors: reference values, the engine at huge widths, drawn floors, properties."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.lora_init import (
    adapter_dynamics,
    adapter_dynamics_single,
    efficient_rates,
    frozen_floor,
    frozen_floor_law,
    initial_sharpness,
    largest_rate,
    largest_stable_exponent,
    measured_exponents,
    minimum_sharpness,
    width_exponents,
)


def wave(function, i_rate, j_rate, rows, columns):
    i, j = np.arange(rows)[:, None], np.arange(columns)[None]
    return jnp.asarray(function(1.0 + i_rate * i + j_rate * j))


def problem(N, k, n=12, m=9, r=2):
    X, Y = wave(np.sin, 3, 7, n, N), wave(np.cos, 2, 5, k, N)
    W = wave(np.sin, 5, 2, k, m) / np.sqrt(m)
    A, B = wave(np.sin, 1, 4, r, n) / np.sqrt(n), wave(np.sin, 2, 3, m, r)
    return X.T @ X, W @ W.T, Y, A @ X, W @ B


K_IN, K_OUT, Y, P0, Q0 = problem(3, 2)
RATES: dict[str, Any] = {"lr_a": 0.025, "lr_b": 0.3, "scale": 2.0}


def test_reference_values_of_the_sharpness():
    found = [initial_sharpness(P, Q, K_IN, K_OUT, **RATES) for P, Q in ((P0, 0 * Q0), (0 * P0, Q0), (P0, Q0))]
    expected = 0.06358689070833107, 2.990175432229867, 3.041713688223008
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    least = minimum_sharpness(K_IN, K_OUT, Y, **RATES)
    np.testing.assert_allclose(least, 0.17084440920831667, rtol=0, atol=1e-10)


def test_reference_values_of_the_floors():
    _, _, target, P, Q = problem(6, 4)
    found = [frozen_floor(target, P, Q, init=init) for init in ("a", "b")]
    np.testing.assert_allclose(found, (0.6427319665388616, 0.44167206565398526), rtol=0, atol=1e-10)
    law = frozen_floor_law(3, 16)
    np.testing.assert_allclose(law[:2], (0.8125, 0.0169270833), rtol=0, atol=1e-9)


# Optimizer, start, rates; then p, q, output and the three changes after four steps.
A: Any = (0.0, None)
B: Any = (None, 0.0)
TABLE: list[Any] = [
    ("adam", A, (-0.5, -0.5), (0.5, -0.5, 0, 0, 0, 0)),
    ("adam", A, (-1, -1), (0, -1, -1, -1, -1, -1)),
    ("adam", B, (-1, -1), (0, 0, 0, 0, -1, -1)),
    ("adam", A, (-1, 0), (0, 0, 0, 0, 0, 0)),
    ("adam", B, (-1, 0), (0, 0, 0, 0, 0, 0)),
    ("sgd", A, (-0.5, -0.5), (0, -0.5, -0.5, -0.5, -0.5, -0.5)),
    ("sgd", B, (-1, -1), (0, 0, 0, 0, -1, -1)),
    ("sgd", A, (-1, 0), (0, 0, 0, 0, 0, 0)),
]


@pytest.mark.parametrize(("optimizer", "start", "rates", "expected"), TABLE)
def test_exponents_are_those_of_the_table_and_of_the_engine(optimizer, start, rates, expected):
    p0, q0 = start
    gamma = width_exponents(
        lr_a=float(rates[0]), lr_b=float(rates[1]), p0=p0, q0=q0, optimizer=optimizer, steps=4
    )
    assert [float(x) for x in gamma] == list(expected)
    seen = []
    widths = 2.0 ** np.array([24, 32])
    for n in widths:
        # Moderate constants, so that nothing diverges or cancels within four steps.
        a, b = 0.03 * n ** rates[0], 0.04 * n ** rates[1]
        P, Q = (jnp.zeros(1) if x is None else jnp.full(1, 0.7) for x in start)
        if optimizer == "adam":
            path = adapter_dynamics_single(n, 1.0, 1.0, P, Q, lr_a=a, lr_b=b, optimizer="adam", steps=4)
        else:
            one = jnp.ones((1, 1))
            path = adapter_dynamics(n * one, one, one, P[:, None], Q[None], lr_a=a, lr_b=b, steps=4)
        output = jnp.abs(path.P[4] * path.Q[4].T).sum()
        seen.append([path.feature_rms[4], path.readout_rms[4], output, *path.deltas[3]])
    slopes = np.diff(np.log2(seen), axis=0)[0] / np.diff(np.log2(widths))
    np.testing.assert_allclose(slopes, expected, rtol=0, atol=0.006)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("start", [A, B, (None, -0.5), (0.0, -1.0), (-0.5, 0.25)])
@pytest.mark.parametrize("gain_out", [0.0, 0.5, -1.0])
def test_the_largest_stable_exponent_is_where_the_recursion_begins_to_grow(optimizer, start, gain_out):
    setting: dict[str, Any] = {"p0": start[0], "q0": start[1], "gain_out": gain_out, "optimizer": optimizer}
    best = largest_stable_exponent(**setting)
    rates = best + jnp.array([-0.25, 0.0, 0.02])
    w = width_exponents(lr_a=rates, lr_b=rates, steps=60, **setting)
    start_output = sum(-np.inf if x is None else x for x in start)
    assert (w.output[:2] <= max(0, start_output) + 1e-12).all() and w.output[2] > 0


def test_reference_values_of_the_largest_stable_exponent():
    assert largest_stable_exponent(p0=0.0, q0=None, gain_out=0.5, optimizer="adam") == -0.75
    assert largest_stable_exponent(p0=None, q0=-0.5, optimizer="adam") == -0.5
    assert largest_stable_exponent(p0=0.0, q0=None, optimizer="adam", internal=True) == -1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("start", [A, B, (-0.5, -0.5)])
def test_efficient_rates_are_unique_and_do_what_they_promise(optimizer, start):
    setting: dict[str, Any] = {"p0": start[0], "q0": start[1], "gain_in": 1.0, "gain_out": 0.5}
    found = efficient_rates(**setting, optimizer=optimizer)
    np.testing.assert_allclose(found, (-1, -0.5, True), atol=1e-12)
    if start != (-0.5, -0.5) or optimizer == "adam":
        w = width_exponents(lr_a=found.lr_a, lr_b=found.lr_b, **setting, optimizer=optimizer, steps=6)
        np.testing.assert_allclose((w.output, w.delta1, w.delta2, w.p, w.q), 0, atol=1e-12)


def converges(rate, n, y, p, q, steps=6_000):
    one = jnp.ones((1, 1))
    path = adapter_dynamics(
        n * one, one, y * one, p * one, q * one, lr_a=rate, lr_b=rate, steps=steps, record_every=steps
    )
    return path.loss[-1] < 1e-6 * path.loss[0]


def test_the_catapult_ends_at_four():
    n, y = 4096.0, 0.1
    one = jnp.ones((1, 1))
    limit = largest_rate(n * one, one, y * one, 0 * one, one)
    assert limit.rate == limit.start < limit.end
    assert largest_rate(n * one, one, y * one, 0 * one, one, catapult=False).rate == limit.rate / 2
    found = jax.vmap(lambda c: converges(c * limit.rate, n, y, 0.0, 1.0))(jnp.array([0.6, 0.98, 1.02]))
    assert found.tolist() == [True, True, False]


def test_the_least_sharpness_ends_the_rates_of_a_zero_b():
    n = 2.0**20
    one = jnp.ones((1, 1))
    limit = largest_rate(n * one, one, one, one, 0 * one)
    np.testing.assert_allclose(limit.rate * n**0.5, 1, rtol=1e-12)
    found = jax.vmap(lambda c: converges(c * limit.rate, n, 1.0, 1.0, 0.0))(jnp.array([0.5, 0.98, 1.02]))
    assert found.tolist() == [True, True, False]


def test_floors_of_gaussian_factors_have_their_law():
    keys = jax.random.split(jax.random.key(0), 2_000)
    target = jnp.outer(jnp.cos(jnp.arange(8.0)), jnp.ones(3))

    def floor(key):
        return frozen_floor(target, jnp.zeros((2, 3)), jax.random.normal(key, (8, 2)), init="b")

    floors = np.asarray(jax.vmap(floor)(keys))
    law = frozen_floor_law(2, 8)
    error = (law.variance / len(keys)) ** 0.5
    assert abs(floors.mean() - law.mean) < 4 * error
    np.testing.assert_allclose(floors.var(), law.variance, rtol=0.15)
    assert frozen_floor_law(4, 4)[:2] == (0, 0)


def test_a_frozen_factor_stops_at_the_floor():
    _, _, target, P, Q = problem(6, 4)
    eyes = jnp.eye(6), jnp.eye(4)
    rate = 1 / initial_sharpness(0 * P, Q, *eyes, lr_a=1.0, lr_b=0.0)
    path = adapter_dynamics(*eyes, target, 0 * P, Q, lr_a=rate, lr_b=0.0, steps=4_000, record_every=4_000)
    np.testing.assert_allclose(path.loss[-1] / path.loss[0], frozen_floor(target, P, Q, init="b"), rtol=1e-9)


def test_measured_exponents_weigh_the_seeds():
    widths = np.array([128, 512, 2048])
    clean = measured_exponents(3 * widths[None] ** -0.75, widths)
    np.testing.assert_allclose((clean.slope, *clean.local_slopes), -0.75, rtol=1e-12)
    noise = np.exp(np.random.default_rng(0).normal(size=(40, 3)) * np.array([0.1, 0.1, 0.3])[None])
    fit = measured_exponents(widths[None] ** 0.5 * noise, widths)
    assert abs(fit.slope - 0.5) < 3.5 * fit.standard_error and 0.005 < fit.standard_error < 0.02


ELSE = K_IN[::-1, ::-1], K_OUT[::-1, ::-1]
KERNELS = {
    "initial_sharpness": (
        initial_sharpness,
        (P0, Q0, K_IN, K_OUT),
        {
            "static": RATES,
            "points": [(-P0, Q0 / 2, *ELSE)],
            "bad": [{"P0": 0 * P0, "Q0": 0 * Q0}, {"lr_a": -1.0}, {"input_gram": -K_IN}],
        },
    ),
    "largest_rate": (
        largest_rate,
        (K_IN, K_OUT, Y, P0, Q0),
        {
            "points": [(*ELSE, 2 * Y, -P0, Q0)],
            "bad": [{"Q0": 0 * Q0, "P0": 0 * P0}, {"target": Y.T}, {"scale": -1.0}],
        },
    ),
    "frozen_floor": (
        frozen_floor,
        (Y, P0, Q0[:, :1] * jnp.ones((1, 2)) + jnp.eye(2)),
        {
            "static": {"init": "a"},
            "points": [(Y, 2 * P0 + 1, Q0)],
            "bad": [{"init": "both"}, {"target": 0 * Y}, {"P0": P0[:, :2]}, {"P0": 0 * P0}, {"Q0": Q0[:1]}],
        },
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name):
    function, arguments, options = KERNELS[name]
    check_kernel(function, *arguments, **options)


def test_exponents_broadcast_compile_and_have_gradients():
    grid = jnp.linspace(-1.3, 0.2, 4)

    def both(a, b):
        w = width_exponents(lr_a=a, lr_b=b, p0=0.0, q0=None, optimizer="sgd", steps=3)
        return w.output, largest_stable_exponent(p0=a, q0=b, optimizer="adam")

    check_kernel(both, grid, grid[::-1] + 0.07)


def stable(**changes: Any) -> dict[str, Any]:
    return {"p0": 0.0, "q0": None, "optimizer": "adam"} | changes


@pytest.mark.parametrize(
    ("call", "culprit"),
    [
        (lambda: largest_stable_exponent(**stable(p0=None)), "p0"),
        (lambda: largest_stable_exponent(**stable(q0=np.nan)), "q0"),
        (lambda: largest_stable_exponent(**stable(), gain_out=np.inf), "gain_out"),
        (lambda: largest_stable_exponent(**stable(optimizer="sgd"), internal=True), "internal"),
        (lambda: efficient_rates(**stable(p0=0.5)), "p0"),
        (lambda: efficient_rates(**stable(), gain_in=np.nan), "gain_in"),
        (lambda: width_exponents(**stable(), lr_a=np.nan, lr_b=0.0, steps=1), "lr_a"),
        (lambda: width_exponents(**stable(), lr_a=0.0, lr_b=0.0, steps=0), "steps"),
        (lambda: width_exponents(**stable(p0=None), lr_a=0.0, lr_b=0.0, steps=1), "p0"),
        (lambda: frozen_floor_law(5, 4), "rank"),
        (lambda: frozen_floor_law(1, 0), "dim"),
        (lambda: measured_exponents([[1.0]], [2]), "widths"),
        (lambda: measured_exponents([[1.0, 2.0, 3.0]], [2, 4]), "values"),
        (lambda: measured_exponents([[1.0, 0.0]], [2, 4]), "values"),
    ],
)
def test_bad_input_is_named(call, culprit):
    with pytest.raises(ValueError, match=rf"\b{culprit}\b"):
        call()


@pytest.mark.parametrize("optimizer", ["lion", "", None])
def test_an_unknown_optimizer_is_named(optimizer):
    plain = getattr(efficient_rates, "__wrapped__", efficient_rates)
    with pytest.raises(ValueError, match="optimizer"):
        plain(p0=0.0, q0=None, optimizer=optimizer)
