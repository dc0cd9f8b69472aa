"""Closed forms and settings: reference values, integrated flows, trainings of the weights, properties."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tests.check_kernel import check_kernel
from theorysim.lora_plus import (
    adapter_dynamics,
    best_rates,
    dense_adapter_training,
    equivalent_setting,
    final_sharpness,
    gradient_flow,
    loss_map,
    minimum_sharpness,
    sample_start,
    sharpness,
    time_to_fraction,
)


@pytest.mark.parametrize(
    ("start", "gains", "expected"),
    [
        (
            (0.7, 0.0, 1.3),
            (0.5, 0.1, 1.0),
            (0.14667506446488, 0.08187621698122, 0.80893824542179, 0.18131799960627),
        ),
        (
            (0.0, 0.9, -0.8),
            (0.12, 0.3, 2.0),
            (-0.4714569318976, 0.5283880239496, -0.2411673208494, 0.9774477948280),
        ),
    ],
)
def test_reference_values_of_the_flow(start, gains, expected):
    flow = gradient_flow(2.0, *start, gain_a=gains[0], gain_b=gains[1], scale=gains[2])
    np.testing.assert_allclose(flow, expected, rtol=0, atol=1e-9)


def single_rate_time(n):
    lr = (1 + 4 * n) ** -0.5
    return time_to_fraction(0.01, 1.0, 0.0, 1.0, gain_a=lr * n, gain_b=lr)


def test_reference_value_of_the_time():
    np.testing.assert_allclose(single_rate_time(1024.0), 9.4317723322811, rtol=0, atol=1e-9)
    # (1/D)(ln(n)/2 + ln(4 |y|/(p0^2 eps))), approached from below.
    n = jnp.array([2.0**7, 2.0**20])
    np.testing.assert_allclose(single_rate_time(n), (8.365, 12.912), rtol=0, atol=1e-3)
    np.testing.assert_allclose(single_rate_time(n), jnp.log(n) / 2 + jnp.log(400), rtol=7e-3)


STARTS = np.array(
    [
        # p0, q0, y, a, b, s
        (0.7, 0.0, 1.3, 0.5, 0.1, 1.0),
        (0.0, 0.9, -0.8, 0.12, 0.3, 2.0),
        (-0.6, 0.5, 0.9, 1.0, 1.0, 0.5),
        (0.5, -0.5, -1.0, 0.4, 0.4, 1.0),  # kappa = 0
        (0.4, 1.5, 0.3, 0.7, 0.2, 1.0),  # from above
        (0.3, -0.8, 0.0, 0.5, 0.6, 1.0),  # no target
        (0.5, -0.5, 1.0, 0.4, 0.4, 1.0),  # kappa = 0, opposite to the target: ends at 0
    ]
)


@pytest.mark.parametrize("row", range(len(STARTS)))
def test_the_flow_is_that_of_the_differential_equation(row):
    p0, q0, y, a, b, s = STARTS[row]

    def slope(_, x):
        gap = y - s * x[0] * x[1]
        return a * s * x[1] * gap, b * s * x[0] * gap

    times = np.array([0.0, 0.5, 3.0, 12.0])
    run = solve_ivp(slope, (0, 12), (p0, q0), t_eval=times, rtol=1e-12, atol=1e-13, method="DOP853")
    flow = gradient_flow(times, p0, q0, y, gain_a=a, gain_b=b, scale=s)
    np.testing.assert_allclose(flow.p, run.y[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(flow.q, run.y[1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(flow.sharpness, s**2 * (b * run.y[0] ** 2 + a * run.y[1] ** 2), atol=1e-10)
    np.testing.assert_allclose(flow.prediction, s * run.y[0] * run.y[1], atol=1e-10)


def test_the_flow_ends_at_the_target_or_at_the_saddle():
    p0, q0, y, a, b, s = STARTS.T
    end = gradient_flow(jnp.inf, p0, q0, y, gain_a=a, gain_b=b, scale=s)
    np.testing.assert_allclose(end.prediction, [*y[:-1], 0], atol=1e-14)
    last = final_sharpness(p0, q0, y, gain_a=a, gain_b=b, scale=s)
    np.testing.assert_allclose(end.sharpness[:-1], last[:-1], rtol=1e-13)
    dead = gradient_flow(jnp.array([1.0, jnp.inf]), 0.0, 0.0, 1.0, gain_a=1.0, gain_b=1.0)
    assert not np.array(dead).any()


@pytest.mark.parametrize("eps", [0.3, 1e-2, 1e-9])
def test_the_time_is_where_the_flow_has_come_so_far(eps):
    p0, q0, y, a, b, s = STARTS[:5].T
    t = time_to_fraction(eps, p0, q0, y, gain_a=a, gain_b=b, scale=s)
    flow = gradient_flow(t, p0, q0, y, gain_a=a, gain_b=b, scale=s)
    assert (t > 0).all()
    np.testing.assert_allclose(jnp.abs(flow.prediction - y), eps * np.abs(y), rtol=1e-12, atol=1e-14)


def test_the_time_is_zero_within_and_infinite_where_nothing_moves():
    times = time_to_fraction(
        0.5, jnp.array([1.0, 0.0, 0.5]), jnp.array([0.9, 0.0, -0.5]), 1.0, gain_a=0.4, gain_b=0.4
    )
    assert times.tolist() == [0, np.inf, np.inf]


def test_small_steps_of_the_engine_follow_the_flow():
    lr = 1e-4
    one = jnp.ones((1, 1))
    path = adapter_dynamics(
        5 * one,
        2 * one,
        0.8 * one,
        0.6 * one,
        0 * one,
        lr_a=lr,
        lr_b=lr,
        scale=1.5,
        steps=4_000,
        record_every=4_000,
    )
    flow = gradient_flow(4_000, 0.6, 0.0, 0.8, gain_a=5 * lr, gain_b=2 * lr, scale=1.5)
    np.testing.assert_allclose((path.P[-1, 0, 0], path.Q[-1, 0, 0]), (flow.p, flow.q), rtol=2e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("to", ["single_rate", "unit_scale"])
def test_equivalent_settings_train_alike(optimizer, to):
    keys = jax.random.split(jax.random.key(0), 3)
    X, A, B = (
        jax.random.normal(key, shape) for key, shape in zip(keys, [(8, 3), (2, 8), (4, 2)], strict=True)
    )
    Y = jnp.sin(jnp.arange(12.0)).reshape(4, 3)

    def train(A0, B0, **rates):
        return dense_adapter_training(
            keys[0],
            X,
            jnp.eye(4),
            Y,
            rank=2,
            init="both",
            A0=A0,
            B0=B0,
            optimizer=optimizer,
            steps=6,
            **rates,
        ).loss

    twin = equivalent_setting(0.003, 0.02, 1.0, 1.0, optimizer=optimizer, to=to, scale=1.7)
    other = train(
        twin.std_factor_a * A, twin.std_factor_b * B, lr_a=twin.lr_a, lr_b=twin.lr_b, scale=twin.scale
    )
    np.testing.assert_allclose(other, train(A, B, lr_a=0.003, lr_b=0.02, scale=1.7), rtol=1e-11)
    if to == "single_rate":
        np.testing.assert_allclose((twin.lr_a, twin.lr_b), [(0.003 * 0.02) ** 0.5] * 2, rtol=1e-14)
    np.testing.assert_allclose((twin.var_a, twin.var_b), (twin.std_factor_a**2, twin.std_factor_b**2))


def rank_one(n, N=8):
    gram, eye = n * jnp.eye(N), jnp.eye(N)
    u, v = jnp.cos(1 + jnp.arange(8.0)), jnp.sin(2 + jnp.arange(8.0))
    target = jnp.outer(u, v) * N**0.5 / jnp.linalg.norm(u) / jnp.linalg.norm(v)
    start = sample_start(jax.random.key(3), jnp.eye(N), eye, rank=2, init="a", var_a=1.0)
    return gram, eye, target, *start


def test_the_best_rates_do_not_depend_on_the_width_and_beat_the_map():
    found = {}
    for n in (2.0**7, 2.0**30):
        problem = rank_one(n)
        found[n] = best_rates(*problem, steps=5, start=(2.0 / n, 0.5), max_steps=60)
        a, b = jnp.array([0.5, 1.0, 2.0, 4.0]) / n, jnp.array([0.1, 0.3, 0.5])
        losses = loss_map(a, b, *problem, steps=5)
        assert found[n].loss < 0.2 * losses[2, 2]
        again = adapter_dynamics(*problem, lr_a=a[1], lr_b=b[2], steps=5)
        np.testing.assert_allclose(losses[1, 2], again.loss[-1], rtol=1e-11)
        np.testing.assert_allclose(found[n].ratio, found[n].lr_b / found[n].lr_a)
    small, large = found.values()
    np.testing.assert_allclose(small.lr_a * 2.0**7, large.lr_a * 2.0**30, rtol=1e-6)
    np.testing.assert_allclose(small.lr_b, large.lr_b, rtol=1e-6)


def test_training_from_a_small_start_ends_at_the_least_sharpness():
    gram, eye, target, P0, Q0 = rank_one(64.0)
    path = adapter_dynamics(
        gram, eye, target, 1e-3 * P0, Q0, lr_a=0.002, lr_b=0.1, steps=3_000, record_every=3_000
    )
    assert path.loss[-1] < 1e-12
    bound = minimum_sharpness(gram, eye, target, lr_a=0.002, lr_b=0.1)
    np.testing.assert_allclose(
        sharpness(path.P[-1], path.Q[-1], gram, eye, lr_a=0.002, lr_b=0.1), bound, rtol=1e-4
    )


FLOW: dict[str, Any] = {"gain_a": 0.5, "gain_b": 0.3}
BAD_FLOW = [
    {"gain_a": 0.0},
    {"gain_b": -1.0},
    {"scale": 0.0},
    {"p0": jnp.inf},
    {"q0": jnp.nan},
    {"target": jnp.inf},
]
POINT = jnp.array([0.7, 0.2]), jnp.array([0.1, -0.9]), jnp.array([1.3, -0.4])
EYE, (GRAM, OUT, TARGET, P0, Q0) = jnp.eye(8), rank_one(4.0)
KERNELS = {
    "gradient_flow": (
        gradient_flow,
        (jnp.array([2.0, 0.5]), *POINT),
        {"static": FLOW, "bad": [{"t": -1.0}, *BAD_FLOW]},
    ),
    "time_to_fraction": (
        time_to_fraction,
        (jnp.array([0.1, 0.2]), *POINT),
        {"static": FLOW, "bad": [{"eps": 0.0}, {"target": 0.0}, *BAD_FLOW]},
    ),
    "final_sharpness": (final_sharpness, POINT, {"static": FLOW, "bad": BAD_FLOW}),
    "equivalent_setting": (
        equivalent_setting,
        (jnp.array([0.1, 0.2]), jnp.array([0.5, 0.4]), jnp.array([0.1, 1.0]), jnp.array([1.0, 2.0])),
        {
            "static": {"optimizer": "sgd", "to": "single_rate"},
            "bad": [
                {"lr_a": 0.0},
                {"lr_b": -1.0},
                {"var_a": -1.0},
                {"optimizer": "lion"},
                {"to": "one"},
                {"scale": 0.0},
            ],
        },
    ),
    "loss_map": (
        loss_map,
        (jnp.array([0.01, 0.02]), jnp.array([0.1, 0.3, 0.2]), GRAM, OUT, TARGET, P0, Q0),
        {
            "static": {"steps": 3},
            "points": [(jnp.array([0.03, 0.02]), jnp.array([0.1, 0.2, 0.2]), GRAM, OUT, TARGET, 2 * P0, Q0)],
            "bad": [{"lr_a": [[0.1]]}, {"lr_b": [-0.1]}, {"steps": 0}, {"scale": 0.0}, {"P0": P0[:, :2]}],
        },
    ),
    "best_rates": (
        best_rates,
        (GRAM, OUT, TARGET, P0, Q0),
        {
            "static": {"steps": 3, "start": (0.1, 0.3), "max_steps": 4},
            "smooth": False,
            "points": [(GRAM, OUT, TARGET, 2 * P0, Q0)],
            "rtol": 1e-7,
            "bad": [{"start": (0.0, 0.1)}, {"start": (0.1,)}, {"max_steps": 0}, {"momentum": 1.0}],
        },
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name):
    function, arguments, options = KERNELS[name]
    check_kernel(function, *arguments, **options)
