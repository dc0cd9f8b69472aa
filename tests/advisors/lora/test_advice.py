"""The report of the LoRA advisor: sources of rates, kinds of lines, assumptions, and bad input."""

from typing import Any

import numpy as np
import pytest

from tests.advisors.lora.problems import correlated
from theorysim.advisors.lora import DEFAULT_RATIO, advise_lora

KINDS = {"exact", "asymptotic", "measured on the probe", "paper's default"}
SIZES = (60, 3, 6.0)


def advise(*sizes, **more) -> Any:
    """Advice whose optional parts the test knows to be there."""
    return advise_lora(*sizes, **more)


def probe(**more):
    G = correlated().gradients
    return {"features": correlated().X, "output_grad": G, "curvature": 1.0, "steps": 20} | more


def said(advice):
    return {line.name: line for line in advice.lines}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("init", [None, "a", "b"])
def test_sizes_alone_give_powers_and_ratios_and_the_report_says_so(optimizer, init):
    advice = advise(4096, 16, 32.0, optimizer=optimizer, init=init)
    assert advice.source == "relative" and advice.assumptions[0].startswith("RELATIVE ADVICE ONLY")
    assert (
        advice.lr_a is advice.lr_b is advice.single is advice.margin is advice.limits is advice.trial is None
    )
    assert advice.init == (init or "a")
    lines = said(advice)
    assert lines["rate of A"].said.startswith("a constant times n^-1")
    assert "n^" not in lines["rate of B"].said
    single = "n^-0.5" if advice.init == "a" else "n^-1"
    assert lines["largest stable single rate"].said == f"a constant times {single}"
    kinds = {line.kind for line in advice.lines}
    assert kinds <= KINDS and "measured on the probe" not in kinds
    default = optimizer != "sgd" and advice.init == "a"
    assert (advice.ratio == DEFAULT_RATIO) == default == ("paper's default" in kinds)
    assert any("weight decay" in text for text in advice.assumptions) == (optimizer == "adamw")


def test_a_single_rate_that_works_is_carried_as_a_pair_and_as_one_rate():
    advice = advise(4096, 16, 32.0, optimizer="adam", base_lr=2e-4, base_width=1024)
    assert advice.source == "base rate" and advice.base.single
    assert (advice.lr_a, advice.lr_b, advice.ratio) == pytest.approx((5e-5, 2e-4, 4))
    assert advice.single == pytest.approx(1e-4) == pytest.approx((advice.lr_a * advice.lr_b) ** 0.5)
    lines = said(advice)
    assert lines["rate of A"].kind == "asymptotic" and lines["to try next"].kind == "paper's default"
    # The default ratio at the product of the single rate.
    assert "2.5e-05 for A and 0.0004 for B" in lines["to try next"].said


@pytest.mark.parametrize(
    ("base", "optimizer", "kind"),
    [
        ({"base_width": 1024}, "sgd", "exact"),
        ({"base_width": 1024}, "adam", "asymptotic"),
        ({"base_width": 4096, "base_alpha": 8.0}, "adam", "exact"),
        ({"base_width": 4096, "base_rank": 8}, "sgd", "asymptotic"),
    ],
)
def test_a_carried_rate_is_exact_where_the_transfer_is(base, optimizer, kind):
    advice = advise(4096, 16, 32.0, optimizer=optimizer, base_lr=(1e-4, 1e-2), **base)
    lines = said(advice)
    assert lines["rate of A"].kind == lines["rate of B"].kind == kind
    assert "to try next" not in lines


def test_one_rate_of_a_pair_is_their_geometric_mean_from_b_zero_and_that_of_a_from_a_zero():
    base = {"base_lr": (1e-4, 1e-2), "base_width": 60}
    assert advise(*SIZES, optimizer="sgd", **base).single == pytest.approx(1e-3)
    assert advise(*SIZES, optimizer="sgd", init="b", **base).single == pytest.approx(1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("init", ["a", "b"])
def test_a_probe_gives_rates_limits_and_trials(optimizer, init):
    advice = advise(*SIZES, optimizer=optimizer, init=init, **probe())
    assert advice.source == "probe" and advice.trial is not None
    assert (advice.lr_a, advice.lr_b) == (advice.trial.lr_a, advice.trial.lr_b)
    assert advice.single == advice.trial.single and advice.margin >= 1
    lines = said(advice)
    for name in ("rate of A", "rate of B", "one rate for both", "margin", "margin in trials", "trials"):
        assert lines[name].kind == "measured on the probe"
    first = "B" if init == "a" else "A"
    assert lines[f"limit for {first}"].said.startswith(f"{advice.limits.first:.3g}")
    told = " ".join(advice.assumptions)
    assert "Linear response around the base" in told and "Curvature 1, as given." in told
    assert not any(text.startswith("RELATIVE") for text in advice.assumptions)


def test_features_alone_give_one_rate_and_say_what_is_missing():
    for optimizer, known in (("sgd", "lr_b"), ("adam", "lr_a")):
        advice = advise(*SIZES, optimizer=optimizer, features=correlated().X)
        unknown = "lr_a" if known == "lr_b" else "lr_b"
        assert getattr(advice, known) == getattr(advice.limits, known) and getattr(advice, unknown) is None
        assert advice.trial is advice.ratio is advice.twin is advice.single is None
    assert "over" in said(advice)["rate of B"].said


def test_a_rate_that_works_is_put_to_trial_on_the_probe():
    free = advise(*SIZES, optimizer="sgd", **probe())
    mad = 8 * free.trial.limit
    asked = mad * free.lr_a, mad * free.lr_b
    advice = advise(*SIZES, optimizer="sgd", base_lr=asked, base_width=60, **probe())
    assert (advice.source, advice.lr_a, advice.lr_b) == ("base rate", *asked)
    line = said(advice)["margin in trials"]
    assert "DIVERGES" in line.said and advice.trial.limit == pytest.approx(1 / 8, rel=0.15)


def test_arrays_of_any_float_type_and_the_seed():
    one = advise(*SIZES, optimizer="sgd", **probe())
    cast = {name: probe()[name].astype(np.float32) for name in ("features", "output_grad")}
    two = advise(*SIZES, optimizer="sgd", **probe(**cast))
    assert two.lr_b == pytest.approx(one.lr_b, rel=1e-4)
    assert advise(*SIZES, optimizer="sgd", **probe()) == one
    assert advise(*SIZES, optimizer="sgd", **probe(seed=1)).limits.first != one.limits.first


@pytest.mark.parametrize(
    ("sizes", "more", "message"),
    [
        ((60, 0, 6.0), {}, "rank must be an integer in [1, 60], got 0"),
        ((60, 61, 6.0), {}, "rank must be an integer in [1, 60], got 61"),
        ((1, 1, 6.0), {}, "width must be an integer >= 2, got 1"),
        ((60, 3, 0.0), {}, "alpha must be in (0, inf), got 0"),
        ((60, 3, float("nan")), {}, "alpha must be in (0, inf), got nan"),
        (SIZES, {"var_a": -1.0}, "var_a must be in (0, inf), got -1"),
        (SIZES, {"scaling": "alpha"}, "scaling must be one of 'alpha/r', 'alpha/sqrt(r)', got 'alpha'"),
        (SIZES, {"optimizer": "lion"}, "optimizer must be one of 'adam', 'adamw', 'sgd', got 'lion'"),
        (SIZES, {"init": "both"}, "init must be one of 'a', 'b', got 'both'"),
        (SIZES, {"base_lr": 1e-3}, "base_width must be given with base_lr (60 if the rate was tuned"),
        (SIZES, {"base_width": 30}, "base_lr must be given with base_width: the rate that works there"),
        (SIZES, {"base_rank": 3}, "base_lr must be given with base_rank: the rate that works there"),
        (SIZES, {"base_lr": 0.0, "base_width": 60}, "base_lr must be in (0, inf), got 0"),
        (SIZES, {"base_lr": (1.0, 2.0, 3.0), "base_width": 60}, "base_lr must be one rate, or one of A and"),
        (SIZES, {"base_lr": 1.0, "base_width": 2}, "base_width must be at least the rank 3, got 2"),
        (SIZES, {"base_lr": 1.0, "base_width": 9, "base_rank": 10}, "base_rank must be an integer in [1, 9]"),
        (
            SIZES,
            {"base_lr": 1.0, "base_width": 9, "base_alpha": 0.0},
            "base_alpha must be in (0, inf)",
        ),
        (SIZES, probe(features=np.ones((12, 59))), "features must have shape (N, 60), a column for each of"),
        (SIZES, probe(features=np.ones((60, 12))), "got (60, 12): transpose them"),
        (SIZES, probe(features=np.ones((2, 6, 60))), "got shape (2, 6, 60): flatten all axes but the last"),
        (SIZES, probe(features=np.zeros((12, 60))), "features must not be all 0"),
        (SIZES, probe(features=np.full((12, 60), "a")), "features must be real numbers, got dtype <U1"),
        (
            SIZES,
            probe(output_grad=np.ones((11, 9))),
            "output_grad must have shape (12, n_out), a row",
        ),
        (
            SIZES,
            probe(output_grad=np.ones((12, 2))),
            "rank must be at most the 2 outputs that",
        ),
        (SIZES, probe(output_grad=np.full((12, 9), np.nan)), "output_grad must be finite, got nan at [0, 0]"),
        (SIZES, {"output_grad": np.ones((12, 9))}, "features must be given with output_grad, got None"),
        (SIZES, {"curvature": 0.0}, "curvature must be in (0, inf), got 0"),
        (SIZES, {"curvature": "hessian"}, "curvature must be one of 'fisher', got 'hessian'"),
        (SIZES, {"steps": 5}, "steps must be an integer >= 10, got 5"),
        (SIZES, {"seed": -1}, "seed must be an integer >= 0, got -1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sizes, more, message):
    with pytest.raises(ValueError) as error:
        # What beartype would refuse is what users without it pass.
        getattr(advise_lora, "__wrapped__", advise_lora)(*sizes, **more)
    assert message in str(error.value)
