"""How rates move with width, rank and alpha, tested on trainings that must then be the same."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.advisors.lora.problems import Case, correlated, sizes, train
from theorysim.advisors.lora import DEFAULT_RATIO, advise_lora
from theorysim.advisors.lora.cost import _reference_steps, flow_slowdown, zero_a_slowdown
from theorysim.advisors.lora.laws import Powers, doubled, rate_laws, single_rate_exponents
from theorysim.advisors.lora.limits import Start, draw_start
from theorysim.advisors.lora.problem import read_setting
from theorysim.lora_init import frozen_floor_law
from theorysim.numerics.low_rank import adapter_dynamics_single

RATES = {
    ("sgd", "a"): (0.02, 0.1),
    ("sgd", "b"): (0.003, 0.1),
    ("adam", "a"): (2e-3, 0.03),
    ("adam", "b"): (2e-3, 0.03),
}
ALL = pytest.mark.parametrize(("optimizer", "init"), list(RATES))


def advise(*sizes, **more) -> Any:
    """Advice whose optional parts the test knows to be there."""
    return advise_lora(*sizes, **more)


def transferred(case, setting, optimizer, init, **base):
    """The rates that the advisor carries to these sizes."""
    advice = advise(
        setting.width,
        setting.rank,
        setting.alpha,
        scaling=setting.scaling,
        optimizer=optimizer,
        init=init,
        base_lr=RATES[optimizer, init],
        **base,
    )
    return advice.lr_a, advice.lr_b


@ALL
def test_a_rate_carried_to_another_width_trains_the_same(optimizer, init):
    case = correlated()
    n, setting = 60, sizes(correlated(), optimizer=optimizer, init=init)
    start = draw_start(setting, 9, 0)
    here = train(case, setting, *RATES[optimizer, init], steps=40, start=start).loss
    # Each input four times: K_in/n and the sum of |x|/n are the same, and A x is with A a quarter.
    wide = Case(np.repeat(case.X, 4, axis=1), case.Y)
    wider = Start(np.repeat(start.A, 4, axis=1) / 4, start.B)
    setting = sizes(wide, optimizer=optimizer, init=init)
    lr_a, lr_b = transferred(wide, setting, optimizer, init, base_width=n)
    assert (lr_a, lr_b) == pytest.approx((RATES[optimizer, init][0] / 4, RATES[optimizer, init][1]))
    there = train(wide, setting, lr_a, lr_b, steps=40, start=wider).loss
    assert float(here[-1]) < 0.7 * float(here[0])
    assert np.allclose(there, here, rtol=1e-9)


@ALL
@pytest.mark.parametrize("scaling", ["alpha/r", "alpha/sqrt(r)"])
def test_a_rate_carried_to_another_rank_or_alpha_trains_the_same(optimizer, init, scaling):
    case = correlated()
    base = read_setting(60, 3, 6.0, scaling=scaling, optimizer=optimizer, init=init)
    start = draw_start(base, 9, 0)
    here = train(case, base, *RATES[optimizer, init], steps=40, start=start).loss
    assert float(here[-1]) < 0.8 * float(here[0])
    # Each direction twice has the same Gram per direction; B's entries have variance 1/r.
    double = Start(np.repeat(start.A, 2, axis=0), np.repeat(start.B, 2, axis=1) / 2**0.5)
    for rank, alpha, begin in ((6, 6.0, double), (3, 24.0, start)):
        setting = read_setting(60, rank, alpha, scaling=scaling, optimizer=optimizer, init=init)
        rates = transferred(case, setting, optimizer, init, base_width=60, base_rank=3, base_alpha=6.0)
        there = train(case, setting, *rates, steps=40, start=begin).loss
        assert np.allclose(there, here, rtol=1e-9)


@ALL
@pytest.mark.parametrize("scaling", ["alpha/r", "alpha/sqrt(r)"])
def test_what_doubling_does_is_what_is_carried(optimizer, init, scaling):
    advice = advise(64, 4, 8.0, scaling=scaling, optimizer=optimizer, init=init)
    other = {"width": (128, 4, 8.0), "rank": (64, 8, 8.0), "alpha": (64, 4, 16.0)}
    for move in advice.moves:
        there = advise(
            *other[move.what],
            scaling=scaling,
            optimizer=optimizer,
            init=init,
            base_lr=1.0,
            base_width=64,
            base_rank=4,
            base_alpha=8.0,
        )
        assert (move.lr_a, move.lr_b, move.single) == pytest.approx((there.lr_a, there.lr_b, there.single))
    assert [move.kind for move in advice.moves] == [
        "exact" if optimizer == "sgd" else "asymptotic",
        "asymptotic",
        "exact",
    ]


def test_adam_with_alpha_over_r_needs_no_new_rate_for_a_new_rank():
    laws = rate_laws(read_setting(64, 4, 8.0, optimizer="adam"))
    assert [doubled(powers, "rank", "alpha/r") for powers in laws] == [1, 1, 1]
    assert doubled(laws.lr_b, "rank", "alpha/sqrt(r)") == pytest.approx(2**-0.5)
    # At a scale without rank the second regime of Chen et al. is lr like 1/r.
    assert laws.lr_b == Powers(0.0, -1.0, -1.0) and laws.single == Powers(-0.5, -0.5, -0.5)


def test_where_the_moved_features_outgrow_the_start_one_rate_of_adam_goes_like_the_root_of_n_r_s():
    p0 = jnp.array([1.0, -0.6])

    def losses(n, p0, scale, lr):
        path = adapter_dynamics_single(
            n, 1.0, 1.0, p0, 0 * p0, lr_a=lr, lr_b=lr, scale=scale, optimizer="adam", steps=30
        )
        return np.asarray(path.loss)

    lr, n = 0.05 * 1e-5, 1e10
    here = losses(n, p0, 2.0, lr)
    assert here[-1] < 0.3 * here[0] and lr * n > 1e3
    for width, start, scale in ((4 * n, p0, 2.0), (n, jnp.tile(p0, 2), 2.0), (n, p0, 1.0)):
        factor = (width / n * len(start) / 2 * scale / 2) ** -0.5
        assert np.allclose(losses(width, start, scale, lr * factor), here, atol=2e-3)


@pytest.mark.parametrize(
    ("optimizer", "init", "expected"),
    [
        ("adam", "a", (-0.5, 0.5, 0, 0)),
        ("adam", "b", (-1, 0, 0, -1)),
        ("sgd", "b", (-1, 0, 0, -1)),
    ],
)
def test_exponents_at_one_rate_are_those_of_the_paper(optimizer, init, expected):
    assert single_rate_exponents(read_setting(64, 4, 8.0, optimizer=optimizer, init=init)) == expected


@pytest.mark.parametrize(("n", "expected"), [(128, 1.64), (1024, 1.85), (16_384, 2.12), (2**20, 2.53)])
def test_one_rate_of_descent_loses_a_logarithm_of_the_width(n, expected):
    assert flow_slowdown(n) == pytest.approx(expected, abs=0.006)
    assert advise(n, 4, 8.0, optimizer="sgd").cost.slowdown == flow_slowdown(n)


def test_from_a_zero_one_rate_of_descent_loses_a_power_of_the_width():
    keys = jnp.array([[0, seed] for seed in range(4)], jnp.uint32)
    one, two = (np.asarray(_reference_steps(keys, width=n)) for n in (256, 512))
    assert (one > 0).all() and (two[:, 1] == one[:, 1]).all()
    assert two[:, 0] / one[:, 0] == pytest.approx(2, rel=0.06)
    cost = advise(4096, 16, 32.0, optimizer="sgd", init="b").cost
    assert cost.slowdown == pytest.approx(16 * zero_a_slowdown(256)) and cost.slowdown > 50
    assert cost.floor == frozen_floor_law(16, 4096).mean == 1 - 16 / 4096


@ALL
def test_the_recipe_without_two_rates_is_the_same_training(optimizer, init):
    case, pair = correlated(), RATES[optimizer, init]
    setting = sizes(case, optimizer=optimizer, init=init)
    start = draw_start(setting, 9, 0)
    advice = advise(60, 3, 6.0, optimizer=optimizer, init=init, base_lr=pair, base_width=60)
    twin = advice.twin
    scaled = Start(start.A * twin.factor_a, start.B * twin.factor_b)
    one = train(case, setting, twin.lr, twin.lr, steps=40, start=scaled).loss
    two = train(case, setting, *pair, steps=40, start=start).loss
    assert np.allclose(one, two, rtol=1e-9)
    assert advise(60, 3, 6.0, optimizer="adam").twin.factor_a == DEFAULT_RATIO**0.5
