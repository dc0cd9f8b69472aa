"""Limits that the advisor reads off a probe, against what trainings of the weights tolerate."""

from typing import Any

import numpy as np
import pytest

from tests.advisors.lora.problems import Case, correlated, isotropic, sizes, train
from theorysim.advisors.lora.limits import draw_start, margin, probe_limits
from theorysim.advisors.lora.problem import Probe
from theorysim.lora_plus import minimum_sharpness, sharpness
from theorysim.numerics.low_rank import adapter_dynamics


def limits_of(case, setting, *, curvature: Any = 1.0, draws=1, seed=0) -> Any:
    """Limits of a probe with gradients; which of them are None depends on the optimizer."""
    return probe_limits(setting, case.probe, curvature=curvature, draws=draws, seed=seed)


def start_of(case, setting):
    start = draw_start(setting, case.Y.shape[1], 0)
    return start, (start.A @ case.X.T, start.B)


def largest(converges, low, high):
    """The largest rate that converges, by bisection to 0.5 %."""
    assert converges(low) and not converges(high)
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if converges(middle) else (low, middle)
    return low


def converges(case, setting, steps):
    P0, Q0 = start_of(case, setting)[1]
    grams = case.X @ case.X.T, np.eye(case.Y.shape[1]), case.Y.T

    def rate_works(lr_a, lr_b):
        path = adapter_dynamics(
            *grams, P0, Q0, lr_a=lr_a, lr_b=lr_b, scale=setting.scale, steps=steps, record_every=steps
        )
        return bool(path.loss[-1] < 1e-3 * path.loss[0])

    return rate_works


@pytest.mark.parametrize("n", [256, 4096])
def test_one_rate_from_b_zero_converges_up_to_the_limit_at_a_fit(n):
    case = isotropic(n, 6, 4)
    setting = sizes(case, rank=6, optimizer="sgd", scale=1.0)
    found = limits_of(case, setting)
    assert found.single_limit == pytest.approx(found.product) == pytest.approx(n**-0.5, rel=1e-9)
    works = converges(case, setting, 4000)
    assert largest(lambda lr: works(lr, lr), 0.5 * found.single_limit, 2 * found.single_limit) == (
        pytest.approx(found.single_limit, rel=0.03)
    )


@pytest.mark.parametrize(("n", "y"), [(4096, 1.0), (4096, 0.1), (65536, 1.0)])
def test_one_rate_from_a_zero_converges_up_to_sharpness_four_the_catapult(n, y):
    case = Case(np.ones((1, n)), np.array([[y]]))
    setting = sizes(case, rank=1, optimizer="sgd", init="b", scale=1.0)
    # B of size 1, so that the limits of start and fit lie a power of n apart.
    setting = setting._replace(var_b=1 / start_of(case, setting)[1][1][0, 0] ** 2)
    found = limits_of(case, setting)
    assert found.first == pytest.approx(4 / n)
    assert found.single_limit == found.first
    works = converges(case, setting, 6000)
    assert largest(lambda lr: works(lr, lr), 0.3 * found.first, 2 * found.first) == (
        pytest.approx(found.first, rel=0.03)
    )


@pytest.mark.parametrize("init", ["a", "b"])
def test_sharpnesses_are_those_of_the_engine(init):
    case = correlated()
    setting = sizes(case, optimizer="sgd", init=init)
    found = limits_of(case, setting)
    K_in, K_out = case.X @ case.X.T, np.eye(case.Y.shape[1])
    P0, Q0 = start_of(case, setting)[1]
    first = {"lr_a": 0.0, "lr_b": found.first} if init == "a" else {"lr_a": found.first, "lr_b": 0.0}
    assert float(sharpness(P0, Q0, K_in, K_out, scale=2.0, **first)) == pytest.approx(4, rel=1e-9)
    both = {"lr_a": found.product, "lr_b": found.product}
    assert float(minimum_sharpness(K_in, K_out, case.Y.T, scale=2.0, **both)) == pytest.approx(2, rel=1e-9)
    assert found.top_gram == pytest.approx(np.linalg.eigvalsh(K_in)[-1])
    # Where the first factor has fitted alone what it can, the other's sharpness is at most 1.
    partner = found.lr_a if init == "a" else found.lr_b
    P, Q = P0, Q0
    if init == "a":
        Q = np.linalg.lstsq(2.0 * P0.T, case.Y, rcond=None)[0].T
        other = {"lr_a": partner, "lr_b": 0.0}
    else:
        P = np.linalg.lstsq(2.0 * Q0, case.Y.T, rcond=None)[0]
        other = {"lr_a": 0.0, "lr_b": partner}
    assert float(sharpness(P, Q, K_in, K_out, scale=2.0, **other)) <= 1 + 1e-9


def test_the_limit_at_a_fit_knows_no_curvature_and_that_of_the_start_does():
    case, setting = correlated(), sizes(correlated(), optimizer="sgd")
    one, four = (limits_of(case, setting, curvature=h, draws=2) for h in (1.0, 4.0))
    assert four.product == one.product and four.first == pytest.approx(one.first / 4)
    fisher = limits_of(case, setting, curvature="fisher", draws=2)
    G = case.gradients
    per_example = (len(G) * G) ** 2
    assert fisher.curvature == pytest.approx(per_example.sum(1).mean()) and fisher.curvature_from == "fisher"


@pytest.mark.parametrize("init", ["a", "b"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_first_change_of_the_outputs_is_that_of_a_training(optimizer, init):
    case = correlated()
    setting = sizes(case, optimizer=optimizer, init=init)
    found = limits_of(case, setting)
    path = train(case, setting, 1e-4, 1e-4, steps=1)
    change = float(path.deltas[0, 1 if init == "a" else 0]) / case.Y.size**0.5
    assert 1e-4 * found.output_change == pytest.approx(change, rel=1e-9)


@pytest.mark.parametrize("init", ["a", "b"])
def test_a_first_step_of_adam_at_its_limit_leaves_the_loss_and_at_half_is_best(init):
    case = correlated()
    setting = sizes(case, optimizer="adam", init=init)
    found = limits_of(case, setting)

    def after(rate):
        loss = train(case, setting, rate, rate, steps=1).loss
        return float(loss[1] / loss[0])

    assert after(found.first) == pytest.approx(1, abs=1e-9)
    assert after(1.02 * found.first) > 1 > after(0.98 * found.first)
    assert after(found.first / 2) < min(after(0.49 * found.first), after(0.51 * found.first)) < 1


def test_adam_at_the_partners_limit_changes_the_features_by_their_own_size():
    case = correlated()
    setting = sizes(case, optimizer="adam")
    found = limits_of(case, setting)
    # So small a rate of B that the gradients of the second step are those of the first.
    path = train(case, setting, found.partner, 1e-9, steps=2)
    moved, size = np.linalg.norm(path.P[2] - path.P[1]), np.linalg.norm(path.P[0])
    # The first gradient of A is 0: Adam's second step is (1 - b1)/(1 - b1^2) over the root of the like of b2.
    second = (0.1 / (1 - 0.9**2)) / (0.001 / (1 - 0.999**2)) ** 0.5
    assert moved / size == pytest.approx(second, rel=1e-6)


def test_adam_at_the_partners_limit_changes_b_by_its_own_size():
    setting = sizes(correlated(), optimizer="adam", init="b")
    found = limits_of(correlated(), setting)
    B = draw_start(setting, 9, 0).B
    assert found.partner == pytest.approx(np.sqrt((B**2).mean()))


def test_without_gradients_a_step_is_bounded_by_the_sum_of_the_inputs():
    case = Case(np.abs(correlated().X), correlated().Y)
    setting = sizes(case, optimizer="adam")
    alone: Any = probe_limits(setting, Probe(case.X, None), draws=1)
    full = limits_of(case, setting)
    assert alone.partner <= full.partner and alone.first is None and alone.lr_b is None
    assert alone.curvature_from == "unit" and alone.product is None
    # All inputs alike and one example: all signs agree, and the bound is what happens.
    one = Case(np.ones((1, 60)), np.ones((1, 9)))
    bounds = probe_limits(setting, Probe(one.X, None), draws=1), limits_of(one, setting)
    assert bounds[0].partner == pytest.approx(bounds[1].partner, rel=1e-9)
    assert bounds[0].output_change == pytest.approx(bounds[1].output_change, rel=1e-9)


def test_features_follow_the_law_of_the_start_and_limits_average_over_draws():
    case = correlated()
    setting = sizes(case, optimizer="sgd", var_a=1 / 3)
    found = limits_of(case, setting, draws=40)
    P = [draw_start(setting, 9, seed).A @ case.X.T for seed in range(400)]
    assert found.feature_rms == pytest.approx(np.sqrt(np.mean(np.square(P))), rel=0.05)
    each = [4 / limits_of(case, setting, seed=i).first for i in range(40)]
    assert 4 / found.first == pytest.approx(np.mean(each))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("init", ["a", "b"])
def test_the_margin_is_that_to_the_first_limit_met(optimizer, init):
    case = correlated()
    setting = sizes(case, optimizer=optimizer, init=init)
    found = limits_of(case, setting)
    room = margin(setting, found, found.lr_a, found.lr_b)
    assert room is not None and room >= (10 if optimizer == "adam" else 2) - 1e-9
    assert margin(setting, found, room * found.lr_a, room * found.lr_b) == pytest.approx(1)


def test_the_largest_singular_value_of_large_matrices_is_iterated():
    case = Case(np.random.default_rng(0).normal(size=(600, 700)), np.ones((600, 520)))
    setting = sizes(case, optimizer="sgd")
    assert limits_of(case, setting).top_gram == pytest.approx(np.linalg.norm(case.X, 2) ** 2)
