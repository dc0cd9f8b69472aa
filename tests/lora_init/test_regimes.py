"""Regions of rates against the recursion, powers of width and rank against the exact engine."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.path import Path

from theorysim.lora_init import (
    Power,
    adapter_dynamics,
    adapter_dynamics_single,
    efficient_powers,
    efficient_rates,
    largest_stable_exponent,
    largest_stable_power,
    rank_exponents,
    rate_region,
    regime_table,
    width_exponents,
)

STARTS: list[Any] = [(0.0, None), (None, 0.0), (None, -0.5), (-0.5, -0.25)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("gain_out", [0.0, 0.5])
def test_regions_hold_the_rates_that_the_recursion_keeps_stable(optimizer, start, gain_out):
    setting: dict[str, Any] = {
        "p0": start[0],
        "q0": start[1],
        "gain_out": gain_out,
        "optimizer": optimizer,
    }
    rates = np.random.default_rng(0).uniform(-2, 1, (2, 400))
    # Beside the line of their product gradient descent grows too slowly to be seen to.
    rates = rates[:, np.abs(rates.sum(0) + 1 + gain_out) > 0.08]
    w = width_exponents(lr_a=rates[0], lr_b=rates[1], steps=80, **setting)
    stable = np.asarray(w.output) <= 1e-9
    calm = stable & (np.asarray(w.p) <= 1e-9) & (np.asarray(w.q) <= 1e-9)
    cases: Any = (("stable", stable), ("internally_stable", calm))
    for kind, expected in cases:
        corners = rate_region(**setting, kind=kind)
        inside = Path(corners).contains_points(rates.T)
        assert 0 < expected.sum() < 400 and (inside == expected).all(), kind
    best = float(largest_stable_exponent(**setting))
    corners = rate_region(**setting, kind="stable", window=(-4.0, 2.0))
    np.testing.assert_allclose(diagonal(corners), best, atol=1e-9)


def diagonal(corners):
    """The largest x with (x, x) in a convex polygon."""
    x = np.linspace(-3.9, 1.9, 58_001)
    return x[Path(corners).contains_points(np.stack([x, x], 1), radius=1e-9)].max()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("start", STARTS)
def test_efficient_rates_are_a_point_on_the_line_of_learning_ones(optimizer, start):
    setting: dict[str, Any] = {"p0": start[0], "q0": start[1], "optimizer": optimizer}
    point = efficient_rates(**setting)
    np.testing.assert_allclose(rate_region(**setting, kind="efficient"), [point[:2]], atol=1e-9)
    line = rate_region(**setting, kind="learning")
    assert line.shape == (2, 2)
    np.testing.assert_allclose(line.sum(1), -1, atol=1e-9)
    if optimizer == "adam":
        # What learns without being stable inside: C3 of the paper.
        w = width_exponents(lr_a=line[:, 0], lr_b=line[:, 1], **setting, steps=6)
        np.testing.assert_allclose((w.output, w.delta1, w.delta2), 0, atol=1e-9)


def test_what_lies_outside_the_window_is_empty():
    assert rate_region(p0=0.0, q0=None, optimizer="adam", kind="efficient", window=(0.5, 1.0)).shape == (0, 2)
    assert rate_region(p0=0.5, q0=0.5, optimizer="adam", kind="stable").shape == (0, 2)


A: Any = ((0.0, 0.0), None)
B: Any = (None, (0.0, -0.5))
BOTH: Any = ((0.0, 0.0), (0.0, -0.5))
SCALES = (0.0, -1.0, -0.5)


@partial(jax.jit, static_argnames="optimizer")
def trained(n, P, Q, lr_a, lr_b, scale, *, optimizer):
    """RMS of p and q, change of the output and of the last step, after one of two steps and after four."""
    base, one = scale * (P * Q).sum(), jnp.ones((1, 1))
    rates: dict[str, Any] = {"lr_a": lr_a, "lr_b": lr_b, "scale": scale, "steps": 4}
    if optimizer == "adam":
        path = adapter_dynamics_single(n, 1.0, 1 + base, P, Q, optimizer="adam", **rates)
    else:
        path = adapter_dynamics(n * one, one, (1 + base) * one, P[:, None], Q[None], **rates)
    output = jnp.abs(scale * (path.P[..., 0] * path.Q[:, 0]).sum(-1) - base)
    rows = jnp.stack([path.feature_rms, path.readout_rms, output], 1)
    return jnp.concatenate([rows[1:], path.deltas[:-1]], 1)[jnp.array([0, 3])]


def measured_powers(optimizer, start, rates, scale, *, widths, ranks, keys):
    """Exponents of n at the smaller rank and of r at the smaller width, (2, when, what)."""

    def seen(n, r):
        def one(key):
            pair = zip(start, jax.random.split(key), strict=True)
            P, Q = (
                jnp.zeros(r) if x is None else 0.7 * Power(*x).at(n, r) * jax.random.normal(k, (r,))
                for x, k in pair
            )
            # Moderate constants, so that nothing diverges or cancels within four steps.
            a, b = (c * Power(*rate).at(n, r) for c, rate in zip((0.15, 0.2), rates, strict=True))
            return trained(n, P, Q, a, b, float(r) ** scale, optimizer=optimizer)

        with np.errstate(divide="ignore"):
            return np.log2(np.sqrt((jnp.stack([one(key) for key in keys]) ** 2).mean(0)))

    low, wide, large = seen(widths[0], ranks[0]), seen(widths[1], ranks[0]), seen(widths[0], ranks[1])
    # What is 0 at the smaller width and rank has no slope.
    known = np.isfinite(low)
    rises = [np.where(known, high, 0) - np.where(known, low, 0) for high in (wide, large)]
    spans = np.log2(widths[1] / widths[0]), np.log2(ranks[1] / ranks[0])
    return np.stack([np.where(known, rise / span, -np.inf) for rise, span in zip(rises, spans, strict=True)])


def expected_powers(optimizer, start, rates, scale):
    found = [
        rank_exponents(
            lr_a=rates[0], lr_b=rates[1], p0=start[0], q0=start[1], scale=scale, optimizer=optimizer, steps=t
        )
        for t in (1, 4)
    ]
    return np.moveaxis(np.array(found), -1, 0)


def compared(found, expected, atol):
    zero = np.isinf(expected)
    assert (np.isinf(found) == zero).all()
    np.testing.assert_allclose(found[~zero], expected[~zero], rtol=0, atol=atol)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("start", [A, B], ids=["a", "b"])
def test_powers_are_those_of_the_engine(optimizer, scale, start):
    setting: dict[str, Any] = {"p0": start[0], "q0": start[1], "scale": scale, "optimizer": optimizer}
    two, one = efficient_powers(**setting), largest_stable_power(**setting).rate
    less = two.lr_a._replace(rank=two.lr_a.rank - 0.25), two.lr_b._replace(rank=two.lr_b.rank - 0.5)
    for rates in ((two.lr_a, two.lr_b), (one, one), less):
        found = measured_powers(
            optimizer,
            start,
            rates,
            scale,
            widths=(2.0**44, 2.0**52),
            ranks=(2**12, 2**16),
            keys=[jax.random.key(0)],
        )
        compared(found, expected_powers(optimizer, start, rates, scale), 0.02)


@pytest.mark.parametrize(("optimizer", "rank"), [("sgd", -2.0), ("adam", -1.5)])
def test_two_random_factors_agree_in_the_square_root_of_the_rank(optimizer, rank):
    rates = (-1.0, -1.0), (0.0, -1.0)
    expected = expected_powers(optimizer, BOTH, rates, 0.0)
    assert expected[1, 0, 5] == rank  # delta3 of the first step
    found = measured_powers(
        optimizer,
        BOTH,
        rates,
        0.0,
        widths=(2.0**44, 2.0**52),
        ranks=(2**8, 2**12),
        keys=jax.random.split(jax.random.key(1), 100),
    )
    # The sum of random signs scatters: 7 % in the root mean square of 100, 0.04 in the slope.
    compared(found[..., :5], expected[..., :5], 0.02)
    compared(found[..., 5], expected[..., 5], 0.12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("start", [A, B], ids=["a", "b"])
def test_the_largest_stable_power_is_where_the_recursion_begins_to_grow(optimizer, scale, start):
    setting: dict[str, Any] = {"p0": start[0], "q0": start[1], "scale": scale, "optimizer": optimizer}
    limits = largest_stable_power(**setting)
    assert limits.rate == min(limits.start, limits.end)

    def outputs(rate):
        return [rank_exponents(lr_a=rate, lr_b=rate, **setting, steps=t).output for t in (20, 60)]

    early, late = outputs(limits.rate)
    assert early == late <= (0, 0)
    for more in (limits.rate._replace(rank=limits.rate.rank + 0.02), limits.rate._replace(width=-0.4)):
        early, late = outputs(more)
        assert late > early or late > (0, 0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("start", [A, B], ids=["a", "b"])
def test_efficient_powers_do_what_they_promise(optimizer, scale, start):
    setting: dict[str, Any] = {"p0": start[0], "q0": start[1], "scale": scale, "optimizer": optimizer}
    found = efficient_powers(**setting)
    w = rank_exponents(lr_a=found.lr_a, lr_b=found.lr_b, **setting, steps=4)
    for one in (w.output, w.delta1, w.delta2):
        np.testing.assert_allclose(one, (0, 0), atol=1e-9)
    for factor, begun in zip((w.p, w.q), start, strict=True):
        assert begun is None or factor == begun
    # With powers of the rank left out it is the pair of the width alone.
    alone = efficient_rates(p0=start[0] and 0.0, q0=start[1] and 0.0, optimizer=optimizer)
    assert (found.lr_a.width, found.lr_b.width) == alone[:2]


def test_a_scale_of_one_over_the_rank_frees_the_rates_of_it():
    # Adam, B = 0, in the order of the table: s = 1, alpha/r, alpha/sqrt(r).
    rows = [row for row in regime_table(optimizer="adam") if row.init == "a"]
    assert [row.lr_b.rank for row in rows] == [-1, 0, -0.5]
    assert [row.single for row in rows] == [(-0.5, -0.5), (-0.5, 0), (-0.5, -0.25)]
    assert {row.lr_a for row in rows} == {Power(-1, 0)}
    # Which limit binds at a given width and rank: (s r n)^(-1/2) while s r < n.
    limits = largest_stable_power(p0=(0, 0), q0=None, optimizer="adam")
    assert limits.end.at(1024, 16) < limits.start.at(1024, 16)
    assert limits.end.at(16, 64) > limits.start.at(16, 64)


def call(function: Any, **changes: Any):
    setting = {"p0": (0.0, 0.0), "q0": None, "optimizer": "adam"} | changes
    return lambda: getattr(function, "__wrapped__", function)(**setting)


def region(**changes: Any):
    return call(rate_region, **{"p0": 0.0, "kind": "stable"} | changes)


@pytest.mark.parametrize(
    ("bad", "culprit"),
    [
        (call(efficient_powers, p0=(0.5, 0.0)), "p0"),
        (call(efficient_powers, q0=(0.0, 0.0)), "q0"),
        (call(largest_stable_power, p0=None), "p0"),
        (call(largest_stable_power, q0=0.5), "q0"),
        (call(largest_stable_power, scale=np.nan), "scale"),
        (call(largest_stable_power, gain_in=(1.0, np.inf)), "gain_in"),
        (call(rank_exponents, lr_a=(0.0, np.nan), lr_b=(0.0, 0.0), steps=1), "lr_a"),
        (call(rank_exponents, lr_a=(0.0, 0.0), lr_b=(0.0, 0.0), steps=0), "steps"),
        (call(largest_stable_power, optimizer="lion"), "optimizer"),
        (region(kind="fast"), "kind"),
        (region(window=(1.0, 0.0)), "window"),
        (region(gain_out=np.nan), "gain_out"),
        (region(p0=None), "p0"),
    ],
)
def test_bad_input_is_named(bad, culprit):
    with pytest.raises(ValueError, match=rf"\b{culprit}\b"):
        bad()
