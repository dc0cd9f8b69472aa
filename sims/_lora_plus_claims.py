"""The paper's claims on two learning rates, and ours, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from theorysim.lab import Verdict
from theorysim.lora_init import (
    frozen_floor_law,
    largest_stable_exponent,
    measured_exponents,
    width_exponents,
)
from theorysim.numerics import stats

from ._beside import Claims
from ._lora_plus_config import OUTPUT_GAIN

__all__ = [
    "CLAIMS",
    "Estimate",
    "engine_powers",
    "followed_powers",
    "gain_of_a_pair",
    "inefficiency",
    "log_losses",
    "predicted_followed",
    "predicted_powers",
    "ratio_profile",
    "ratios",
]

CLAIMS = Claims()
claim = CLAIMS.claim

SIZES = ("p", "q", "output", "delta1", "delta2")
# Widths from which powers of the width are fitted: below, the next order shows.
_LARGE = 2**14
# Resampled sets of networks for an error of the best ratio.
_RESAMPLED = 400


class Estimate(NamedTuple):
    """Numbers with their standard errors."""

    value: np.ndarray
    error: np.ndarray


def engine_powers(runs) -> Estimate:
    """Measured powers of the width, (optimizer, init, setting, size); NaN where a training diverged."""
    large = runs.sel(n=[n for n in runs.n.values if n >= _LARGE])
    table = np.stack(
        [large[name].transpose("optimizer", "init", "setting", "start", "n").values for name in SIZES], 3
    )
    found = np.full((2, *table.shape[:-2]), np.nan)
    for at in np.ndindex(table.shape[:-2]):
        if np.isfinite(table[at]).all():
            fit = measured_exponents(table[at], large.n.values)
            found[:, *at] = fit.slope, fit.standard_error
    return Estimate(*found)


def predicted_powers(optimizer, init, power_a, power_b, gain_out=0.0) -> np.ndarray:
    """The recursion of the powers after a few steps, (setting, size)."""
    found = width_exponents(
        lr_a=np.asarray(power_a, float),
        lr_b=np.asarray(power_b, float),
        p0=0.0 if init == "a" else None,
        q0=0.0 if init == "b" else None,
        gain_out=gain_out,
        optimizer=optimizer,
        steps=4,
    )
    return np.stack([np.asarray(getattr(found, name)) for name in SIZES], -1)


def inefficiency(powers) -> np.ndarray:
    """Power of the width by which the worst is off: factors and output too large, changes too small."""
    return np.max(np.asarray(powers) * np.array([1, 1, 1, -1, -1]), axis=-1)


def stable_settings(runs, optimizer, init) -> np.ndarray:
    """Which single rates do not let the output grow with the width."""
    start = {"p0": 0.0, "q0": None} if init == "a" else {"p0": None, "q0": 0.0}
    most = float(largest_stable_exponent(**start, optimizer=optimizer))
    return np.flatnonzero((runs.power_a == runs.power_b).values & (runs.power_a.values <= most + 1e-9))


@claim(
    "C1",
    "One rate for both factors is never efficient: whatever the power of the width, a factor or the output "
    r"grows, or a change of the output vanishes, by at least $n^{1/3}$ (exact dynamics, Adam and gradient "
    "descent, both starts, four steps).",
)
def one_rate_is_inefficient(data, cfg):
    runs = data["powers"]
    found = engine_powers(runs)
    one = np.flatnonzero((runs.power_a == runs.power_b).values)
    off = inefficiency(found.value[:, :, one])
    off = np.where(np.isnan(off), np.inf, off)
    worst = np.unravel_index(int(off.argmin()), off.shape)
    error = np.nanmax(found.error[worst[0], worst[1], one[worst[2]]])
    freedom = cfg.starts - 1
    parts = [stats.bounded(off.min(), error, lower=1 / 3, resolution=0.1, degrees_of_freedom=freedom)]
    for i, optimizer in enumerate(runs.optimizer.values):
        for j, init in enumerate(runs.init.values):
            at = stable_settings(runs, optimizer, init)
            predicted = predicted_powers(optimizer, init, runs.power_a.values[at], runs.power_b.values[at])
            value, errors = found.value[i, j, at], found.error[i, j, at]
            # Where two terms of a sum have nearly the same power, the widths are too small to tell.
            allowed = {"bias": 0.1, "resolution": 0.4, "level": 0.9975, "degrees_of_freedom": freedom}
            parts.append(stats.within(value, predicted, errors, **allowed))
    return stats.all_of(parts)


@claim(
    "C2",
    r"The pair $\mathrm{lr}_A\propto1/n$, $\mathrm{lr}_B\propto1$ is efficient, by Adam and by gradient "
    "descent, from both starts: factors, output and both changes of it keep their size.",
)
def pair_is_efficient(data, cfg):
    runs = data["powers"]
    found = engine_powers(runs)
    pair = np.flatnonzero((runs.power_a != runs.power_b).values)
    allowed = {"bias": 0.01, "resolution": 0.4, "degrees_of_freedom": cfg.starts - 1}
    return stats.within(found.value[:, :, pair], 0.0, found.error[:, :, pair], **allowed)


# Sizes of the toy networks that are followed.
FOLLOWED = ("feature_rms", "delta1", "delta2")


def followed_powers(runs) -> Estimate:
    """Measured powers of the width a few steps into training, (readout, setting, size)."""
    settings = [name for name in runs.setting.values if name != "larger start"]
    found = np.empty((2, runs.sizes["readout"], len(settings), len(FOLLOWED)))
    early = runs.isel(record=1).sel(setting=settings)
    for k, name in enumerate(FOLLOWED):
        table = early[f"{name}_followed"].transpose("readout", "setting", "seed", "width").values
        for at in np.ndindex(table.shape[:2]):
            fit = measured_exponents(table[at], runs.width.values)
            found[:, *at, k] = fit.slope, fit.standard_error
    return Estimate(*found)


def predicted_followed(readout) -> np.ndarray:
    """What the recursion says of the settings that are followed, (setting, size)."""
    gain = OUTPUT_GAIN[readout]
    power_a, power_b = [-1.0, -(1 + gain) / 2, -1.0], [-gain, -(1 + gain) / 2, -1.0]
    return predicted_powers("adam", "a", power_a, power_b, gain_out=gain)[:, [0, 3, 4]]


def judge_followed(data, cfg, settings):
    """Powers of the width in trained networks, within 0.15 at widths that are not large."""
    runs = data["toy"]
    found = followed_powers(runs)
    predicted = np.stack([predicted_followed(name) for name in runs.readout.values])
    return stats.within(
        found.value[:, settings],
        predicted[:, settings],
        found.error[:, settings],
        bias=0.15,
        resolution=0.6,
        degrees_of_freedom=runs.sizes["seed"] - 1,
    )


@claim(
    "C1-toy",
    "So it is in trained networks (toy problem, Adam): at the largest stable single rate the adapter's "
    r"features grow, like $n^{1/2}$ with a mean-field readout, and at $1/n$ both changes of the output "
    "vanish; powers within 0.15.",
)
def one_rate_is_inefficient_in_networks(data, cfg):
    return judge_followed(data, cfg, [1, 2])


@claim(
    "C2-toy",
    "The efficient pair keeps features and both changes of the output in trained networks; powers within "
    "0.15.",
)
def pair_is_efficient_in_networks(data, cfg):
    return judge_followed(data, cfg, [0])


def log_losses(runs, name="loss") -> np.ndarray:
    """Logarithms of the last losses, (width, rate, ratio, seed); a diverged one is that of the start."""
    table = runs[name].transpose("width", "rate", "ratio", "seed", "record").values.astype(float)
    last = table[..., -1]
    return np.log(np.where(np.isnan(last), table[..., 0], last))


def ratio_profile(height) -> np.ndarray:
    """The least log loss for every ratio, over the rates with a parabola through the least, (ratio,)."""
    at = np.clip(height.argmin(axis=0), 1, len(height) - 2)
    low, middle, high = (np.take_along_axis(height, (at + i)[None], 0)[0] for i in (-1, 0, 1))
    bend = low - 2 * middle + high
    shift = np.clip((low - high) / (2 * np.where(bend > 0, bend, np.inf)), -1, 1)
    return np.minimum(height.min(axis=0), middle - (low - high) * shift / 4)


def best_ratio(profile) -> float:
    """Where the profile is least, in octaves, by a parabola; ratios are powers of 4."""
    at = int(np.clip(profile.argmin(), 1, len(profile) - 2))
    low, middle, high = profile[at - 1 : at + 2]
    bend = low - 2 * middle + high
    if bend <= 0:
        return 2.0 * int(profile.argmin())
    return 2.0 * (at + float(np.clip((low - high) / (2 * bend), -1, 1)))


def largest_ratio(profile) -> float:
    """The largest ratio with a loss at most twice the least, in octaves; NaN beyond the map."""
    allowed = profile.min() + math.log(2)
    last = int(np.flatnonzero(profile <= allowed)[-1])
    if last == len(profile) - 1:
        return math.nan
    return 2.0 * (last + (allowed - profile[last]) / (profile[last + 1] - profile[last]))


def ratios(runs, of, name="loss") -> Estimate:
    """A ratio in octaves for every width, from the mean over the networks; errors by resampling them."""
    heights = log_losses(runs, name)
    draw = np.random.default_rng(0).integers(0, heights.shape[-1], (_RESAMPLED, heights.shape[-1]))
    value = [of(ratio_profile(height.mean(-1))) for height in heights]
    again = [[of(ratio_profile(height[..., rows].mean(-1))) for rows in draw] for height in heights]
    # Half a grid step that no resampling sees is left, evenly spread.
    return Estimate(np.array(value), np.hypot(np.std(again, axis=1), 0.5 / 3**0.5))


def slope_in_width(runs, found) -> tuple[float, float]:
    """Power of the width of a ratio, and its error."""
    if not np.isfinite(found.value + found.error).all():
        return math.nan, math.nan
    fit = stats.slope(np.log2(runs.width.values), found.value, found.error)
    return fit.slope, fit.slope_error


def by_readout(data, judge) -> Verdict:
    """All readouts' verdicts in one."""
    runs = data["toy"]
    names = [str(name) for name in runs.readout.values]
    return stats.all_of([judge(runs.sel(readout=name), OUTPUT_GAIN[name]) for name in names])


@claim(
    "C3",
    "The best pair of rates of trained networks has a much larger rate of B: a ratio above 4 at every width "
    "(training loss of the toy problem, Adam).",
    expected="undecided",
)
def best_ratio_is_large(data, cfg):
    def judge(runs, gain):
        found = ratios(runs, best_ratio)
        return stats.bounded(found.value, found.error, lower=2.0)

    return by_readout(data, judge)


@claim("C3-growth", "The best ratio grows with the width.", expected="undecided")
def best_ratio_grows(data, cfg):
    def judge(runs, gain):
        return stats.bounded(*slope_in_width(runs, ratios(runs, best_ratio)), lower=0.0)

    return by_readout(data, judge)


@claim(
    "C3-range",
    "The largest ratio that trains to within twice the least loss grows as the theory has the best: like "
    r"$n$ with a mean-field readout, like $n^{1/2}$ with weights of size $n^{-1/2}$; power within 0.2.",
)
def largest_ratio_grows(data, cfg):
    def judge(runs, gain):
        power, error = slope_in_width(runs, ratios(runs, largest_ratio))
        return stats.within(power, 1 - gain, error, bias=0.2, resolution=1.0)

    return by_readout(data, judge)


def gain_of_a_pair(runs, name="loss") -> Estimate:
    """How much lower the log loss of the best pair is than that of the best single rate, for every width.

    Each network is judged at the rates that are best for the others: the choice among many pairs is no gain.
    """
    gains = []
    for height in log_losses(runs, name):
        one = []
        for seed in range(height.shape[-1]):
            others = np.delete(height, seed, axis=-1).mean(-1)
            pair = np.unravel_index(int(others.argmin()), others.shape)
            single = int(others[:, 0].argmin()), 0
            one.append(height[(*single, seed)] - height[(*pair, seed)])
        gains.append(one)
    found = stats.mean_and_error(np.array(gains), axis=1)
    return Estimate(found.mean, found.standard_error)


@claim(
    "C3-gain",
    "At the largest width the best pair trains to a lower loss than the best single rate, in the same steps.",
    expected="undecided",
)
def pair_trains_better(data, cfg):
    def judge(runs, gain):
        found = gain_of_a_pair(runs)
        freedom = runs.sizes["seed"] - 1
        return stats.bounded(found.value[-1], found.error[-1], lower=0.0, degrees_of_freedom=freedom)

    return by_readout(data, judge)


@claim(
    "C3-test",
    "So it does on test examples, each at the rates that are best there.",
    expected="undecided",
)
def pair_tests_better(data, cfg):
    def judge(runs, gain):
        found = gain_of_a_pair(runs, "test_loss")
        freedom = runs.sizes["seed"] - 1
        return stats.bounded(found.value[-1], found.error[-1], lower=0.0, degrees_of_freedom=freedom)

    return by_readout(data, judge)


@claim(
    "D1",
    r"At the rates $(a/n,b)$ training is the same at every width if $K_{in}/n$ is; with random features the "
    r"logarithm of the loss differs by order $n^{-1/2}$.",
)
def same_at_every_width(data, cfg):
    runs = data["widths"]
    same = runs.loss.sel(features="same")
    parts = [stats.within(same / same.isel(n=-1), 1.0, 0.0, bias=1e-9, resolution=1e-9)]
    apart = np.abs(np.log(runs.loss.sel(features="random") / same)).isel(step=20)
    fit = measured_exponents(apart.transpose("start", "n").values, runs.n.values)
    freedom = cfg.starts - 1
    allowed = {"bias": 0.02, "resolution": 0.2, "degrees_of_freedom": freedom}
    parts.append(stats.within(fit.slope, -0.5, fit.standard_error, **allowed))
    return stats.all_of(parts)


@claim(
    "D2",
    r"One rate costs a logarithm: a residual of 1 % takes $[\frac{1}{2}\log n+\log(4y/p_0^2\epsilon)]/D$ "
    r"steps at the sharpness $D$ of the end, and a constant with two rates (one example, output and rank; "
    "$D=0.02$, closed form within 1 %).",
)
def a_logarithm(data, cfg):
    runs = data["law_of_steps"].isel(sharpness=0)
    time = runs.steps.values * float(runs.sharpness)
    closed = runs.closed.values * float(runs.sharpness)
    parts = [stats.within(time / closed, 1.0, 0.0, bias=0.01, resolution=0.01)]
    large = runs.n.values >= _LARGE
    for row, power in zip(time, (0.5, 0.0), strict=True):
        fit = stats.slope(np.log(runs.n.values[large]), row[large])
        parts.append(stats.within(fit.slope, power, 0.0, bias=0.005, resolution=0.005))
    return stats.all_of(parts)


@claim(
    "D2-table",
    r"At equal sharpness, with $\mathrm{lr}_B=4n\,\mathrm{lr}_A$, two rates are 1.64, 1.85, 2.12 and 2.53 "
    "times as fast at $n=128$, 1,024, 16,384 and $2^{20}$: up to twice, as the paper says.",
)
def table_of_speed(data, cfg):
    runs = data["law_of_steps"].isel(sharpness=0)
    ratio = runs.steps.sel(rates="one") / runs.steps.sel(rates="two")
    table = {2**7: 1.64, 2**10: 1.85, 2**14: 2.12, 2**20: 2.53}
    listed = [n for n in runs.n.values if n in table]
    printed = [table[n] for n in listed]
    return stats.within(ratio.sel(n=listed).values, printed, 0.0, bias=0.02, resolution=0.02)


def speed_of_pairs(runs, widths) -> Estimate:
    """Steps at the best single rate over steps at the best pair, for every width."""
    least = runs.steps.min("rate")
    one = np.stack([least.sel(split=1 / n, method="nearest").values for n in widths])
    found = stats.mean_and_error(one / least.min("split").values, axis=1)
    return Estimate(found.mean, found.standard_error)


@claim(
    "D2-best",
    "With each at its own best rates two rates save less than at equal sharpness, at every width; what they "
    "save grows with the width (16 examples and outputs, rank 4, gradient descent).",
)
def best_of_each(data, cfg):
    found = speed_of_pairs(data["best_of_each"], cfg.widths)
    runs = data["law_of_steps"].isel(sharpness=0)
    equal = (runs.closed.sel(rates="one") / runs.closed.sel(rates="two")).values
    freedom = cfg.starts - 1
    less = stats.bounded(found.value, found.error, upper=equal, degrees_of_freedom=freedom)
    # The same starts at every width: errors of neighbours move together, and this is conservative.
    some = [0, len(equal) // 2, -1]
    more = stats.ordered(found.value[some], found.error[some], degrees_of_freedom=freedom)
    return stats.all_of([less, more])


@claim(
    "D3",
    "Two rates are one rate with a larger start: LoRA+ is LoRA with A larger by the root of their ratio "
    "(Adam), or its fourth root (gradient descent with momentum), step by step, up to rounding: $10^{-9}$ in "
    "float64, and $10^{-5}$ in float32 networks over the first 20 steps.",
)
def twins(data, cfg):
    runs = data["twins"].loss
    ratio = runs.sel(setting="larger start") / runs.sel(setting="two rates")
    exact = stats.within(ratio, 1.0, 0.0, bias=1e-9, resolution=1e-9)
    toy = data["toy"].loss_followed.sel(record=[t for t in data["toy"].record.values if t <= 20])
    ratio = toy.sel(setting="larger start") / toy.sel(setting="two rates")
    trained = stats.within(ratio, 1.0, 0.0, bias=1e-5, resolution=1e-5)
    return stats.all_of([trained, exact])


@claim(
    "D4",
    r"The end bounds only the product of the rates: the largest $\sqrt{\mathrm{lr}_A\mathrm{lr}_B}$ that "
    r"converges is $N/(s\sqrt{n}|Y|)$ for $K_{in}=n$, for one rate at every width and for a pair, within "
    "two steps of a grid of 2 % (a start that is stable itself).",
)
def product_bound(data, cfg):
    runs = data["stability"]
    settled = (runs.rest < 1e-3).transpose("factor", "split", "start").values
    factor = runs.factor.values
    # The last of the rates below the first that fails.
    until = np.where(settled.all(0), len(factor), settled.argmin(0))
    largest = np.where(until > 0, factor[np.maximum(until - 1, 0)], np.nan)
    return stats.within(largest, 1.0, 0.0, bias=0.0401, resolution=0.04)


@claim(
    "D4-end",
    "Every fit is at least as sharp as a bound, and trainings from a small start attain it if examples are "
    "orthogonal and of one norm, with one rate and with two.",
)
def end_sharpness(data, cfg):
    runs = data["curvature"].sel(rates=["one", "two"])
    ratio = (runs.sharpness / runs.least).isel(step=-1)
    fits = ratio.where(runs.loss.isel(step=-1) < 1e-6).values.ravel()
    above = stats.bounded(fits[~np.isnan(fits)], 0.0, lower=1.0, resolution=1e-6)
    small = ratio.sel(features="orthogonal", size=0.01)
    attained = stats.within(small, 1.0, 0.0, bias=1e-3, resolution=1e-3)
    return stats.all_of([attained, above])


@claim(
    "D5",
    "The best pairs, found by gradient descent through the training from three starts, are the same "
    r"$(n\,\mathrm{lr}_A,\mathrm{lr}_B)$ at every width, and one has a lower loss than a map of pairs.",
)
def best_pair(data, cfg):
    runs = data["linear_map"]
    same = stats.within(runs.best / runs.best.isel(n=-1), 1.0, 0.0, bias=1e-6, resolution=1e-6)
    least = runs.best.sel(of="loss").min("search").values
    return stats.all_of([same, stats.bounded(least / runs.loss.min(["a", "b"]).values, 0.0, upper=1.0)])


@claim(
    "D6",
    "A start drawn by its exact law trains like weights drawn at random: losses and sizes of features after "
    "5, 20 and 40 steps have one distribution (Kolmogorov and Smirnov, 1 % for all six).",
)
def exact_law(data, cfg):
    runs = data["law_of_start"]
    pairs = [runs[name].isel(step=t) for name in ("loss", "feature_rms") for t in (5, 20, 40)]
    distances = [np.asarray(ks_2samp(*pair.transpose("start", ...).values))[0] for pair in pairs]
    count = runs.sizes["replica"]
    allowed = math.sqrt(-math.log(0.01 / (2 * len(pairs))) / count)
    verdict = stats.bounded(float(max(distances)), 0.0, upper=allowed)
    if verdict.status == "confirmed" and allowed > 0.2:
        detail = f"only a distance above {allowed:.2f} was detectable, 0.2 required"
        return verdict._replace(status="undecided", detail=detail)
    return verdict


@claim(
    "D7",
    "Training both factors pays only where one cannot do it alone: with one example, B alone is fastest at a "
    r"given sharpness; with rank $r<N$ it ends at the floor $1-r/N$ of the loss, which both pass.",
)
def both_factors(data, cfg):
    one = data["splits"]
    order = stats.ordered(one.time.values, 0.0, increasing=False)
    alone = stats.bounded(one.time.values, 0.0, lower=float(one.time_of_b_alone))
    runs = data["best_of_each"]
    floor = frozen_floor_law(4, 16).mean
    found = stats.mean_and_error(runs.rest_of_b_alone.values)
    stuck = stats.within(
        found.mean,
        floor,
        found.standard_error,
        bias=0.005,
        resolution=0.15,
        degrees_of_freedom=cfg.starts - 1,
    )
    both = stats.bounded(runs.rest.min(["rate", "split"]).values, 0.0, upper=0.01 * floor)
    return stats.all_of([stuck, order, alone, both])
