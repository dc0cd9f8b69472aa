"""The paper's claims on the starts of low-rank adapters, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

import numpy as np

from theorysim.numerics import stats

from ._beside import Claims
from ._lora_init_config import INITS, REGIMES
from ._lora_init_measures import (
    adam_engine,
    best_rate,
    grid_step,
    judge_slopes,
    largest_part,
    network_rates,
    network_sizes,
    paired_gap,
    slopes,
    theory_power,
    theory_sizes,
)

__all__ = ["CLAIMS"]

CLAIMS = Claims()
claim = CLAIMS.claim


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


@claim(
    "C2-adam",
    "The same by Adam, outputs counted per coordinate: best rates and largest rates at which one example "
    "is learned in 20 steps, n = 2^16 to 2^30.",
)
def adam_per_coordinate(data, cfg):
    return adam_engine(data, "per coordinate")


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
    expected="undecided",
)
def better_networks(data, cfg):
    return _network_gap_in_loss(data, cfg, "ntk")


@claim(
    "C4-mean_field",
    "So it is in networks with a mean-field readout.",
    expected="refuted",
)
def better_mean_field(data, cfg):
    return _network_gap_in_loss(data, cfg, "mean_field")


def _network_gap_in_loss(data, cfg, readout):
    runs = data["networks"].sel(readout=readout, t=cfg.toy_times[0])
    found = paired_gap(runs.test_loss, ("width", "seed"), "lr")
    return stats.bounded(
        found.mean, found.standard_error, lower=0, level=0.95, degrees_of_freedom=cfg.toy_seeds - 1
    )
