"""What is derived here on the starts of low-rank adapters, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

import numpy as np

from theorysim import lora_init
from theorysim.numerics import stats

from ._beside import Claims
from ._lora_init_config import INITS, OUTPUTS, RANK
from ._lora_init_measures import (
    adam_engine,
    grid_step,
    judge_slopes,
    largest_part,
    network_rates,
    slopes,
    theory_power,
)

__all__ = ["DERIVED"]

DERIVED = Claims()
claim = DERIVED.claim


@claim(
    "D2",
    "The powers depend on how the readout adds up: by Adam -3/4 and -1 with a 1/sqrt(n) readout, -1/2 and "
    "-1/2 with a mean-field readout (one example, n = 2^16 to 2^30).",
)
def readouts_engine(data, cfg):
    return stats.all_of([adam_engine(data, readout) for readout in ("ntk", "mean_field")])


def _network_slopes(data, cfg, readout, kind):
    runs, parts = data["networks"], []
    step = grid_step(runs.lr.values, runs.width.values)
    theory = [theory_power(readout, init) for init in INITS]
    for time in cfg.toy_times:
        found = slopes(network_rates(runs, time, readout)[:, kind], runs.width.values)
        parts.append(judge_slopes(found, theory, step, cfg.toy_seeds - 1))
    return stats.all_of(parts)


@claim(
    "D2-ntk",
    "So they are for the best rates of networks with a 1/sqrt(n) readout: -3/4 for B = 0, -1 for A = 0, "
    "within the step of the grid.",
)
def ntk_best(data, cfg):
    return _network_slopes(data, cfg, "ntk", 0)


@claim("D2-ntk-largest", "And for their largest rates.")
def ntk_largest(data, cfg):
    return _network_slopes(data, cfg, "ntk", 1)


@claim(
    "D2-mean_field",
    "And for the best rates of networks with a mean-field readout: -1/2 for both starts.",
)
def mean_field_best(data, cfg):
    return _network_slopes(data, cfg, "mean_field", 0)


@claim("D2-mean_field-largest", "And for their largest rates.")
def mean_field_largest(data, cfg):
    return _network_slopes(data, cfg, "mean_field", 1)


@claim(
    "D1-nothing-lost",
    "A = 0 loses nothing of that kind where targets lie in the range of Q_0, or the rank is not below the "
    "number of outputs: by gradient descent its loss falls below 1e-4 of the first at every width.",
)
def nothing_lost(data, cfg):
    runs = data["students"].sel(task=["Y in range(Q0)", "r > k"], init="b")
    best = np.log10(runs.loss.min("lr").transpose("task", "width", "problem").values)
    found = stats.mean_and_error(best, axis=-1)
    return stats.bounded(
        found.mean, found.standard_error, upper=-4, degrees_of_freedom=cfg.student_problems - 1
    )


@claim(
    "D1",
    "Until B moves, A = 0 cannot pass the floor |Y - Q_0 Q_0^+ Y|^2/|Y|^2: at n = 2^30 and the best rate, "
    "the loss ends on it within 1 %, start by start.",
)
def floor_reached(data, cfg):
    runs = data["one_rate"].sel(start="b").isel(width=-1)
    first = runs.loss.isel(step=0, rate=0)
    ratio = runs.loss.isel(step=-1).min("rate") / first / runs.floor
    return stats.within(ratio.values, 1.0, 0.0, bias=0.01, resolution=0.01)


@claim(
    "D1-law",
    "For Gaussian starts and targets of rank 1 the floor is Beta((k-r)/2, r/2): mean and variance.",
)
def floor_law(data, cfg):
    law = lora_init.frozen_floor_law(RANK, OUTPUTS)
    values = data["floors"].floor.values
    mean, spread = stats.mean_and_error(values), stats.variance_and_error(values)
    return stats.all_of(
        [
            stats.within(mean.mean, law.mean, mean.standard_error, resolution=0.05),
            stats.within(spread.mean, law.variance, spread.standard_error, resolution=0.2 * law.variance),
        ]
    )


@claim(
    "D1-times",
    "Steps to a tenth of the loss grow like n for A = 0, power within 0.05; on the widest layers they are "
    "those of the slow law within 5 %, start by start.",
)
def slow_times(data, cfg):
    runs = data["times"].sel(init="b")
    steps = runs.reached.isel(part=-1).transpose("problem", "width").values
    found = slopes(steps, runs.width.values)
    power = stats.within(found.mean, 1.0, found.standard_error, bias=0.05, resolution=0.1)
    ratio = steps[:, -1] / runs.law.transpose("problem", "width").values[:, -1]
    return stats.all_of([power, stats.within(ratio, 1.0, 0.0, bias=0.05, resolution=0.05)])


@claim(
    "D1-fast",
    "For B = 0 they grow like log n at most: by less than one step for each factor of 2.",
)
def fast_times(data, cfg):
    runs = data["times"].sel(init="a")
    steps = runs.reached.isel(part=-1).transpose("problem", "width").values
    octaves = np.log2(runs.width.values)
    each = np.array([stats.slope(octaves, row).slope for row in steps])
    found = stats.mean_and_error(each)
    return stats.bounded(found.mean, found.standard_error, upper=1, degrees_of_freedom=cfg.problems - 1)


@claim(
    "D3",
    "The constants, too, are known: the largest convergent rate is the predicted one to 2 %, for one "
    "example and either start, and for B = 0 with six examples, four outputs and rank 6.",
)
def constants_known(data, cfg):
    one = largest_part(data["scalar"])
    many = largest_part(data["constants"].sel(init="a"))
    measured = np.concatenate([one.ravel(), many.ravel()])
    return stats.within(measured, 1.0, 0.0, bias=0.02, resolution=0.01)


@claim(
    "D3-catapult",
    "One example, output and rank: A = 0 converges from a sharpness of up to 4 at the start, not 2, at "
    "every width.",
)
def catapult(data, cfg):
    limit = 4 * largest_part(data["scalar"].sel(init="b"))
    return stats.within(limit, 4.0, 0.0, bias=0.08, resolution=0.04)


@claim(
    "D3-catapult-larger",
    "The limit 4 holds to 2 % beyond that, too: six examples, four outputs, rank 6.",
    expected="refuted",
)
def catapult_larger(data, cfg):
    part = largest_part(data["constants"].sel(init="b")).ravel()
    found = stats.mean_and_error(4 * part)
    return stats.within(
        found.mean, 4.0, found.standard_error, bias=0.08, resolution=0.1, degrees_of_freedom=part.size - 1
    )


@claim(
    "D4",
    "With one rate, A = 0 is B = 0 with a start sqrt(n) times larger, on the transposed problem: the same "
    "losses at every rate and width, to rounding.",
)
def duality(data, cfg):
    runs = data["one_rate"].loss
    ours, twin = (runs.sel(start=start).values for start in ("b", "b as a"))
    alike = np.isnan(ours) == np.isnan(twin)
    ratio = np.where(np.isnan(ours) | np.isnan(twin), 1, twin / ours)
    return stats.all_of(
        [
            stats.within(ratio.ravel(), 1.0, 0.0, bias=1e-6, resolution=1e-6),
            stats.within(alike.ravel().astype(float), 1.0, 0.0, resolution=0.5),
        ]
    )


@claim(
    "D4-two",
    "With two rates the starts are equivalent: both end below 1e-10 of the first loss, at n = 2^7 and "
    "2^20, and their best scaled rates do not depend on n.",
)
def two_rates_equal(data, cfg):
    runs = data["two_rates"]
    part = runs.loss.isel(t=-1) / runs.loss.isel(t=0)
    best = np.log10(part.min(("lr_a_n", "lr_b")).transpose("init", "width", "problem").values)
    found = stats.mean_and_error(best, axis=-1)
    low = stats.bounded(found.mean, found.standard_error, upper=-10, degrees_of_freedom=cfg.problems - 1)
    narrow, wide = (part.isel(width=i).transpose("init", "problem", "lr_a_n", "lr_b").values for i in (0, 1))
    clear = (narrow > 1e-8) & (narrow < 1)
    same = stats.within((wide / narrow)[clear], 1.0, 0.0, bias=1e-4, resolution=1e-4)
    return stats.all_of([low, same])


@claim(
    "D4-starts",
    "One rate and a larger A (variance n^(-1/2)) train like LoRA+: at rates c n^(-1/2) the losses of every "
    "step are the same at every width, which those of B = 0 with variance 1/n are not.",
)
def scaled_start(data, cfg):
    spread = {start: _spread_over_widths(data["one_rate"], start) for start in ("a", "scaled_a")}
    same = stats.within(spread["scaled_a"], 0.0, 0.0, bias=1e-6, resolution=1e-6)
    return stats.all_of([same, stats.bounded(spread["a"], 0.0, lower=0.1)])


def _spread_over_widths(runs, start):
    """Largest relative difference between the widths of the losses at rates c n^(-1/2) on the grid."""
    octave = np.log2(runs.rate.values)
    first = np.log2(runs.width.values[0])
    loss = runs.loss.sel(start=start).transpose("width", "rate", "problem", "step").values
    spread = [np.nan]
    for i, n in enumerate(np.log2(runs.width.values)):
        shift = (n - first) / 2 / (octave[1] - octave[0])
        if i and abs(shift - round(shift)) < 1e-9:
            here, there = loss[i, : len(octave) - round(shift)], loss[0, round(shift) :]
            low = (there < there[..., :1]) & (there > 1e-6 * there[..., :1])
            spread.append(np.abs(here / there - 1)[low].max())
    return np.nanmax(spread) if len(spread) > 1 else np.nan


@claim(
    "D4-both",
    "Two random factors are no better than A = 0 at one rate: at n = 2^30 the loss stays above half of "
    "the first.",
)
def both_random(data, cfg):
    runs = data["one_rate"].sel(start="both").isel(width=-1)
    best = (runs.loss.isel(step=-1) / runs.loss.isel(step=0)).min("rate").values
    found = stats.mean_and_error(best)
    return stats.bounded(found.mean, found.standard_error, lower=0.5, degrees_of_freedom=cfg.problems - 1)
