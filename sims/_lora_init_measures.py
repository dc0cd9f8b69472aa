"""Rates, powers of the width and sizes, read off the experiments on the starts of adapters."""

from typing import Any

import numpy as np

from theorysim import lora_init
from theorysim.lora_init import measured_exponents, width_exponents
from theorysim.numerics import stats

from ._lora_init_config import INITS, READOUTS

__all__ = [
    "LEARNED",
    "adam_engine",
    "best_rate",
    "grid_step",
    "judge_slopes",
    "largest_part",
    "largest_rate",
    "network_rates",
    "network_sizes",
    "paired_gap",
    "slopes",
    "theory_power",
    "theory_sizes",
]

# A loss below this is learned, for targets whose mean square is near 1 and half of it the first loss.
LEARNED = 0.05
# Widths from which on powers of the width are taken for those of the limit.
ASYMPTOTIC = 2**16
# Slopes with a standard error above 0.15 are not decided.
SLOPE_RESOLUTION = 0.5


def best_rate(loss, rates):
    """The rate of the least loss along the last axis; a diverged run has none."""
    return np.asarray(rates)[np.where(np.isnan(loss), np.inf, loss).argmin(-1)]


def largest_rate(loss, rates, below):
    """The largest rate whose loss is below a level; NaN where none is."""
    good = np.asarray(loss) < below
    last = good.shape[-1] - 1 - good[..., ::-1].argmax(-1)
    return np.where(good.any(-1), np.asarray(rates)[last], np.nan)


def largest_part(runs):
    """The largest convergent rate in parts of the predicted one."""
    good = runs.converged.transpose(..., "part").values.astype(bool)
    return np.where(good.any(-1), np.where(good, runs.part.values, 0).max(-1), np.nan)


def grid_step(rates, widths):
    """What the grid of rates leaves open of a slope."""
    return float(np.log2(rates[1] / rates[0]) / np.log2(widths[-1] / widths[0]))


def slopes(values, widths):
    """Powers of the width, one for each row: mean and error over the rows, NaN where a size is missing."""
    each = [
        measured_exponents(row[None], widths).slope if np.isfinite(row).all() else np.nan
        for row in values.reshape(-1, len(widths))
    ]
    return stats.mean_and_error(np.array(each).reshape(values.shape[:-1]), axis=-1)


def theory_power(readout, init):
    """Power of the width in the largest stable single rate of Adam."""
    gain, q0 = READOUTS[readout]
    start = {"p0": 0.0, "q0": None} if init == "a" else {"p0": None, "q0": float(q0)}
    return float(lora_init.largest_stable_exponent(**start, gain_out=gain, optimizer="adam"))


def theory_sizes(readout, init, power_a, power_b, optimizer: Any = "adam", steps=4):
    """Exponents after some steps, for a readout and a start."""
    gain, q0 = READOUTS[readout]
    start = {"p0": 0.0, "q0": None} if init == "a" else {"p0": None, "q0": float(q0)}
    return width_exponents(
        lr_a=power_a, lr_b=power_b, **start, gain_out=gain, optimizer=optimizer, steps=steps
    )


def judge_slopes(found, predicted, step, freedom):
    """Slopes within two standard errors and the grid step of theory."""
    return stats.within(
        found.mean,
        predicted,
        found.standard_error,
        bias=step,
        resolution=SLOPE_RESOLUTION,
        level=0.95,
        degrees_of_freedom=freedom,
    )


def network_rates(runs, time, readout):
    """Best and largest rates of the networks, (init, kind, seed, width)."""
    last = runs.loss.sel(readout=readout, t=time).transpose("init", "seed", "width", "lr").values
    rates = runs.lr.values
    return np.stack([best_rate(last, rates), largest_rate(last, rates, LEARNED)], axis=1)


def network_sizes(runs, readout, init, time):
    """Sizes in the networks at rates c n^gamma, half of the best rate at the middle width: (seed, width)."""
    part = runs.sel(readout=readout, init=init)
    widths, rates = runs.width.values, np.log2(runs.lr.values)
    middle = len(widths) // 2
    last = part.loss.sel(t=time).isel(width=middle).transpose("seed", "lr").values
    centre = np.log2(best_rate(last, runs.lr.values)).mean() - 1
    wanted = centre + theory_power(readout, init) * np.log2(widths / widths[middle])
    # One offset to the grid for all widths, which are powers of 4 apart.
    offset = rates[np.abs(rates - centre).argmin()] - centre
    at = [int(np.abs(rates - power - offset).argmin()) for power in wanted]
    picked = [part.isel(width=i, lr=j) for i, j in enumerate(at)]
    early = part.t.values[1]

    def columns(name, t, **where):
        return np.stack([one[name].sel(t=t, **where).values for one in picked], axis=-1)

    return {
        "p": columns("feature_rms", time),
        "b": columns("b_update", time),
        "delta1": np.stack([one.deltas.sel(t=early).isel(part=0).values for one in picked], axis=-1),
        "delta2": np.stack([one.deltas.sel(t=early).isel(part=1).values for one in picked], axis=-1),
    }


def paired_gap(loss, dims, rates):
    """Mean over pairs of log10 of the ratio of the losses, A = 0 over B = 0, each at its best rate."""
    best = loss.min(rates).transpose("init", *dims, ...).values
    gap = np.log10(best[1] / best[0])
    return stats.mean_and_error(gap, axis=-1)


def adam_engine(data, readout):
    """Slopes of the best and the largest rate of Adam on one example against theory, both starts."""
    runs = data["adam_rates"]
    # Powers of the width are limits: where A x = max(1, n^(1/4)) they set in late.
    runs = runs.isel(width=runs.width.values >= ASYMPTOTIC)
    loss = runs.loss.sel(readout=readout).transpose("init", "seed", "width", "rate").values
    rates, widths = runs.rate.values, runs.width.values
    kinds = np.stack([best_rate(loss, rates), largest_rate(loss, rates, LEARNED)], axis=1)
    found = slopes(kinds, widths)
    theory = np.array([theory_power(readout, init) for init in INITS])[:, None]
    return judge_slopes(found, theory, grid_step(rates, widths), loss.shape[1] - 1)
