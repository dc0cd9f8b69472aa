"""Trial runs on a probe: the same as the trainings they stand for, whole or in part."""

from typing import Any

import numpy as np
import pytest

from tests.advisors.lora.problems import Case, correlated, isotropic, sizes, train
from theorysim.advisors.lora.limits import draw_start, probe_limits
from theorysim.advisors.lora.problem import Probe
from theorysim.advisors.lora.trial import run_trial
from theorysim.numerics.low_rank import adapter_dynamics

STEPS = 40
ALL = pytest.mark.parametrize(
    ("optimizer", "init"), [("sgd", "a"), ("sgd", "b"), ("adam", "a"), ("adam", "b")]
)


def tried(case, setting, **more) -> Any:
    limits = probe_limits(setting, case.probe, curvature=1.0, draws=1)
    return limits, run_trial(setting, case.probe, limits, steps=STEPS, **more)


def share(case, setting, lr_a, lr_b):
    loss = np.asarray(train(case, setting, lr_a, lr_b, steps=STEPS).loss)
    return loss / loss[0]


def trains(share):
    return bool(share[STEPS // 2 :].mean() <= 1)


@ALL
def test_a_small_probe_is_trained_on_as_it_is(optimizer, init):
    case = correlated()
    setting = sizes(case, optimizer=optimizer, init=init)
    limits, trial = tried(case, setting)
    assert (trial.examples, trial.inputs, trial.outputs, trial.steps) == (12, 60, 9, STEPS)
    for rates, loss in (
        ((trial.lr_a, trial.lr_b), trial.loss),
        ((trial.best_a, trial.best_b), trial.best_loss),
        ((trial.single, trial.single), trial.single_loss),
    ):
        assert share(case, setting, *rates)[-1] == pytest.approx(loss, rel=1e-6)
        assert trains(share(case, setting, 2 * rates[0], 2 * rates[1]))
    # Close to its limit descent is chaotic, and beyond it some rates work again.
    for rates in ((trial.lr_a * trial.limit, trial.lr_b * trial.limit), (trial.single_limit,) * 2):
        assert trains(share(case, setting, 0.9 * rates[0], 0.9 * rates[1]))
        beyond = (share(case, setting, rates[0] * c, rates[1] * c) for c in np.linspace(1.0005, 1.1, 20))
        assert not all(map(trains, beyond))
    assert trial.limit > 1.5 and trial.best_loss < 0.9
    # The best is no worse on average than what the first steps recommend, where twice that trains, too.
    assert (trial.lr_a, trial.lr_b, trial.loss) == (trial.best_a, trial.best_b, trial.best_loss)
    rule = share(case, setting, limits.lr_a, limits.lr_b)
    assert trial.rule_loss == pytest.approx(rule[-1], rel=1e-6)
    if trains(share(case, setting, 2 * limits.lr_a, 2 * limits.lr_b)):
        assert share(case, setting, trial.lr_a, trial.lr_b).mean() <= rule.mean()


@pytest.mark.parametrize("init", ["a", "b"])
def test_many_examples_of_descent_are_trained_on_in_the_directions_that_matter(init):
    draw = np.random.default_rng(1)
    X = draw.normal(size=(300, 80)) * 0.93 ** np.arange(80)
    case = Case(X, X[:, :6] @ draw.normal(size=(6, 30)) + 0.2 * draw.normal(size=(300, 30)))
    setting = sizes(case, rank=4, optimizer="sgd", init=init)
    _, trial = tried(case, setting)
    assert trial.examples <= 128
    whole = share(case, setting, trial.lr_a, trial.lr_b)[-1]
    assert trial.loss == pytest.approx(whole, rel=0.01)
    start = draw_start(setting, 30, 0)
    problem = X @ X.T, np.eye(30), case.Y.T, start.A @ X.T, start.B

    def works(factor):
        rates = {"lr_a": trial.lr_a * trial.limit * factor, "lr_b": trial.lr_b * trial.limit * factor}
        loss = adapter_dynamics(*problem, scale=setting.scale, steps=STEPS, **rates).loss
        return trains(np.asarray(loss / loss[0]))

    assert works(0.9) and not all(map(works, np.linspace(1.0, 1.1, 20)))


def test_adam_on_a_part_of_a_wide_layer_is_close_to_the_whole():
    draw = np.random.default_rng(2)
    X = draw.normal(size=(20, 2048))
    case = Case(X, (X[:, :5] @ draw.normal(size=(5, 160))) / 5**0.5)
    setting = sizes(case, rank=4, optimizer="adam", scale=1.0)
    _, trial = tried(case, setting)
    assert (trial.examples, trial.inputs, trial.outputs) == (20, 512, 64)
    whole = share(case, setting, trial.lr_a, trial.lr_b)[-1]
    # 512 of 2048 inputs and 64 of 160 outputs err like 512^(-1/2) of what is learned.
    assert trial.loss == pytest.approx(whole, abs=512**-0.5) and whole < 0.3


def test_a_pair_that_is_asked_for_is_judged_and_kept():
    case = correlated()
    setting = sizes(case, optimizer="sgd")
    limits, trial = tried(case, setting)
    at_limit = trial.lr_a * trial.limit, trial.lr_b * trial.limit
    asked = tuple(4 * rate for rate in at_limit)
    _, judged = tried(case, setting, pair=asked)
    assert (judged.lr_a, judged.lr_b) == asked
    assert judged.limit == pytest.approx(0.25, rel=0.15)
    assert not judged.loss <= 1 and limits.product is not None


def test_from_a_zero_a_single_rate_needs_many_times_the_steps():
    case = isotropic(1024, 12, 12)
    setting = sizes(case, rank=2, optimizer="sgd", init="b", scale=1.0)
    _, trial = tried(case, setting)
    assert trial.slower_still and trial.slowdown > 3 and trial.single_loss > 2 * trial.best_loss
    _, other = tried(case, setting._replace(init="a"))
    assert not other.slower_still and other.slowdown < 2


def test_curvature_rescales_rates_of_descent_and_where_adam_should_end():
    case = correlated()
    for optimizer in ("sgd", "adam"):
        setting = sizes(case, optimizer=optimizer)
        at = [probe_limits(setting, case.probe, curvature=h, draws=1) for h in (1.0, 4.0)]
        one = run_trial(setting, case.probe, at[0], steps=STEPS)
        # The outputs have a quarter of the way to go: with B a quarter, A the same.
        of_a = 1 if optimizer == "adam" else 4
        pair = of_a * one.best_a, one.best_b / 4
        again = run_trial(setting, case.probe, at[1], pair=pair, steps=STEPS)
        assert again.loss == pytest.approx(one.best_loss, rel=1e-6)


def test_a_probe_without_gradients_cannot_be_trained_on():
    case = correlated()
    setting = sizes(case, optimizer="sgd")
    probe = Probe(case.X, None)
    with pytest.raises(ValueError, match="output_grad must be given for a trial"):
        run_trial(setting, probe, probe_limits(setting, probe))
