"""The paper's claims on the starts of low-rank adapters, and ours, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

from typing import Any

import numpy as np

from theorysim import lora_init
from theorysim.lora_init import measured_exponents, width_exponents
from theorysim.numerics import stats

from ._beside import Claims
from ._lora_init_config import INITS, OUTPUTS, RANK, READOUTS, REGIMES

__all__ = [
    "CLAIMS",
    "best_rate",
    "grid_step",
    "largest_part",
    "largest_rate",
    "network_sizes",
    "theory_power",
]

CLAIMS = Claims()
claim = CLAIMS.claim

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


@claim(
    "C1",
    "The two starts do not share a best learning rate: that of B = 0 is larger, by gradient descent on the "
    "example at every width, and by Adam on the widest networks with a 1/sqrt(n) readout.",
)
def different_rates(data, cfg):
    runs = data["one_rate"]
    last = runs.loss.isel(step=-1).transpose("start", "width", "problem", "rate")
    best = [best_rate(last.sel(start=start).values, runs.rate.values) for start in INITS]
    found = stats.mean_and_error(np.log2(best[0] / best[1]), axis=1)
    engine = stats.bounded(found.mean, found.standard_error, lower=0, degrees_of_freedom=cfg.problems - 1)
    gap = _network_gap(data, cfg, "ntk")
    networks = stats.bounded(
        gap.mean, gap.standard_error, lower=0, level=0.95, degrees_of_freedom=cfg.toy_seeds - 1
    )
    return stats.all_of([networks, engine])


@claim(
    "C1-mean_field",
    "On networks with a mean-field readout they share it, within a factor of 2.",
)
def same_rates_mean_field(data, cfg):
    gap = _network_gap(data, cfg, "mean_field")
    return stats.within(
        gap.mean,
        0.0,
        gap.standard_error,
        bias=1,
        resolution=1,
        level=0.95,
        degrees_of_freedom=cfg.toy_seeds - 1,
    )


def _network_gap(data, cfg, readout):
    """Octaves from the best rate with A = 0 to that with B = 0 on the widest networks."""
    best = network_rates(data["networks"], cfg.toy_times[0], readout)[:, 0, :, -1]
    return stats.mean_and_error(np.log2(best[0] / best[1]))


@claim(
    "C2",
    "The largest rate at which gradient descent converges, outputs counted per coordinate, falls like "
    "n^(-1/2) for B = 0 and like 1/n for A = 0, n = 2^8 to 2^30 (a rank that is large enough for every "
    "target).",
)
def largest_rates(data, cfg):
    runs = data["constants"]
    found = slopes(_by_width(largest_part(runs) * runs.limit.values), runs.width.values)
    parts = runs.part.values
    step = (parts[1] - parts[0]) / 0.9 / np.log(runs.width.values[-1] / runs.width.values[0])
    return stats.within(found.mean, [-0.5, -1], found.standard_error, bias=step, resolution=0.02)


def _by_width(values):
    """(init, width, problem) to (init, problem, width)."""
    return np.moveaxis(values, 1, -1)


@claim(
    "C2-best",
    "So do the best rates of the example after 30 steps, within 0.05 of these powers.",
)
def best_rates_engine(data, cfg):
    runs = data["one_rate"]
    last = (
        runs.loss.isel(step=-1).sel(start=list(INITS)).transpose("start", "problem", "width", "rate").values
    )
    found = slopes(best_rate(last, runs.rate.values), runs.width.values)
    bias = 0.05 + grid_step(runs.rate.values, runs.width.values)
    return stats.within(found.mean, [-0.5, -1], found.standard_error, bias=bias, resolution=0.1)


def _adam_engine(data, readout):
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


@claim(
    "C2-adam",
    "The same by Adam, outputs counted per coordinate: best rates and largest rates at which one example "
    "is learned in 20 steps, n = 2^16 to 2^30.",
)
def adam_per_coordinate(data, cfg):
    return _adam_engine(data, "per coordinate")


@claim(
    "D2",
    "The powers depend on how the readout adds up: by Adam -3/4 and -1 with a 1/sqrt(n) readout, -1/2 and "
    "-1/2 with a mean-field readout (one example, n = 2^16 to 2^30).",
)
def readouts_engine(data, cfg):
    return stats.all_of([_adam_engine(data, readout) for readout in ("ntk", "mean_field")])


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
    "C3",
    "At its largest stable rate B = 0 learns with both factors while A x grows like n^(1/2); A = 0 stays "
    "stable inside and under-trains B, whose part of the change is of order 1/n: all six powers in all "
    "eight regimes, n = 2^16 to 2^32, within 0.02.",
)
def exponent_table(data, cfg):
    runs, measured, predicted, error = data["exponents"], [], [], []
    for i, regime in enumerate(REGIMES):
        theory = theory_sizes(
            "per coordinate", regime.init, regime.lr_a, regime.lr_b, optimizer=regime.optimizer
        )
        for name in theory._fields:
            values = runs[name].isel(regime=i).transpose("seed", "width").values
            found = slopes(values, runs.width.values)
            measured.append(found.mean)
            error.append(found.standard_error)
            predicted.append(float(getattr(theory, name)))
    return stats.within(measured, predicted, error, bias=0.02, resolution=0.02)


@claim(
    "C3-plane",
    "The calculus of powers holds over a plane of two rates, 56 pairs for either start: where it has outputs "
    "that do not grow, their powers are right within 0.05; where it has outputs that grow, they do.",
)
def exponent_plane(data, cfg):
    runs = data["phases"]
    a, b = np.meshgrid(runs.gamma_a.values, runs.gamma_b.values, indexing="ij")
    predicted = np.array([theory_sizes("per coordinate", init, a, b).output for init in INITS])
    values = runs.output.transpose("init", "gamma_a", "gamma_b", "seed", "width").values
    found, stable = slopes(values, runs.width.values), predicted <= 0
    right = stats.within(
        found.mean[stable], predicted[stable], found.standard_error[stable], bias=0.05, resolution=0.1
    )
    # What diverged is NaN.
    mean = np.log2(values).mean(-2)
    grown = ~(mean[..., -1] <= mean[..., 0] + 1)
    return stats.all_of([right, stats.within(grown[~stable].astype(float), 1.0, 0.0, resolution=0.5)])


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


def _network_powers(data, cfg, names, predicted):
    """Slopes of sizes in the networks: predicted[readout, init] for the sizes of these names."""
    runs, time, parts = data["networks"], cfg.toy_times[0], []
    for (readout, init), theory in predicted.items():
        sizes = network_sizes(runs, readout, init, time)
        found = slopes(np.stack([sizes[name] for name in names]), runs.width.values)
        parts.append(judge_slopes(found, theory, 0.125, cfg.toy_seeds - 1))
    return stats.all_of(parts)


@claim(
    "C3-networks",
    "In networks, too, A h grows at these rates where B = 0: like n^(1/4) with a 1/sqrt(n) readout, "
    "n^(1/2) with a mean-field one; with A = 0 it grows like n^0 and n^(1/2). Powers within 0.125.",
)
def network_features(data, cfg):
    pairs = [(readout, init) for readout in ("ntk", "mean_field") for init in INITS]
    predicted = {}
    for readout, init in pairs:
        power = theory_power(readout, init)
        predicted[readout, init] = [float(theory_sizes(readout, init, power, power).p)]
    return _network_powers(data, cfg, ["p"], predicted)


@claim(
    "C3-under-training",
    "In networks with a 1/sqrt(n) readout and A = 0, the part of B in the change of the output falls like "
    "n^(-1/2), that of A does not fall; with B = 0 neither falls. Powers within 0.125.",
)
def network_under_training(data, cfg):
    predicted = {}
    for init in INITS:
        power = theory_power("ntk", init)
        theory = theory_sizes("ntk", init, power, power)
        predicted["ntk", init] = [float(theory.delta1), float(theory.delta2)]
    return _network_powers(data, cfg, ["delta1", "delta2"], predicted)


def paired_gap(loss, dims, rates):
    """Mean over pairs of log10 of the ratio of the losses, A = 0 over B = 0, each at its best rate."""
    best = loss.min(rates).transpose("init", *dims, ...).values
    gap = np.log10(best[1] / best[0])
    return stats.mean_and_error(gap, axis=-1)


@claim(
    "C4",
    "At its own best rate B = 0 reaches a smaller loss than A = 0: students of a teacher by gradient "
    "descent, more outputs than the rank, 100 steps, loss over all inputs, every width, pairs of the same "
    "problem.",
)
def better(data, cfg):
    return _student_gap(data["students"].sel(task="k > r"), cfg)


@claim("C4-adam", "So it is by Adam.")
def better_adam(data, cfg):
    return _student_gap(data["students_adam"], cfg)


def _student_gap(runs, cfg):
    found = paired_gap(runs.loss.transpose("init", "width", "problem", "lr"), ("width", "problem"), "lr")
    return stats.bounded(
        found.mean, found.standard_error, lower=0, degrees_of_freedom=cfg.student_problems - 1
    )


@claim(
    "C4-networks",
    "So it is in networks with a 1/sqrt(n) readout, test loss, every width.",
)
def better_networks(data, cfg):
    return _network_gap_in_loss(data, cfg, "ntk")


@claim(
    "C4-mean_field",
    "So it is in networks with a mean-field readout.",
    expected="undecided",
)
def better_mean_field(data, cfg):
    return _network_gap_in_loss(data, cfg, "mean_field")


def _network_gap_in_loss(data, cfg, readout):
    runs = data["networks"].sel(readout=readout, t=cfg.toy_times[0])
    found = paired_gap(runs.test_loss, ("width", "seed"), "lr")
    return stats.bounded(
        found.mean, found.standard_error, lower=0, level=0.95, degrees_of_freedom=cfg.toy_seeds - 1
    )


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
    "Steps to a tenth of the loss grow like n for A = 0: power within 0.05, and steps within 5 % and 5 "
    "steps of the slow law, start by start.",
)
def slow_times(data, cfg):
    runs = data["times"].sel(init="b")
    steps = runs.reached.isel(part=-1).transpose("problem", "width").values
    found = slopes(steps, runs.width.values)
    power = stats.within(found.mean, 1.0, found.standard_error, bias=0.05, resolution=0.1)
    law = runs.law.transpose("problem", "width").values
    each = stats.within(steps, law, 0.0, bias=5 + 0.05 * law, resolution=1.0)
    return stats.all_of([power, each])


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
