"""The paper's claims on the forward feature map, and ours, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

import numpy as np
from scipy.stats import rankdata

from theorysim.numerics import stats

from ._beside import Claims
from ._feature_map_config import DECAYS, IMAGE_SETTINGS, SETTINGS

__all__ = ["CLAIMS", "EXTENDED", "MINIMAL", "TOP", "fitted_cells", "last", "rank_correlation"]

CLAIMS = Claims()
claim = CLAIMS.claim

# From this u(K*) on a network is called minimal, up to that one extended.
MINIMAL, EXTENDED = 0.95, 0.85
# K* of ten classes.
TOP = 9


def last(runs, name, settings):
    """The last record of every network of these settings, or what is recorded once, (setting, network)."""
    values = runs[name].isel(epoch=-1, missing_dims="ignore")
    return values.sel(setting=list(settings)).transpose("setting", "replica").values


def expected(settings, regime):
    """Names of the settings of which a regime is expected."""
    return [s.name for s in settings if s.regime == regime]


def over_networks(values, **bounds):
    """Judge a bound on the mean over networks, of every setting (setting, network)."""
    found = stats.mean_and_error(values, axis=1)
    return stats.bounded(found.mean, found.standard_error, degrees_of_freedom=values.shape[1] - 1, **bounds)


@claim(
    "C1",
    "After a few epochs networks are in the minimal-feature regime: as many eigenfunctions are in use as "
    "the classes need (K90 = K*), and they carry u(K*) >= 0.95 of the outputs' span.",
)
def minimal_features(data, cfg):
    parts = []
    for runs, settings in ((data["regimes"], SETTINGS), (data["images"], IMAGE_SETTINGS)):
        names = expected(settings, "minimal")
        u, used = (last(runs, name, names) for name in ("utility", "used"))
        error = last(runs, "utility_error", names)
        parts.append(stats.bounded(u, error, lower=MINIMAL))
        parts.append(stats.within(used, TOP, 0.0, bias=0.5, resolution=0.5))
    return stats.all_of(parts)


@claim(
    "C2",
    "Other pairs of network and data stay in an extended-feature regime: lazy networks, and networks that "
    "fit random labels, use half as many eigenfunctions more, and u(K*) <= 0.85.",
)
def extended_features(data, cfg):
    parts = []
    for runs, settings in ((data["regimes"], SETTINGS), (data["images"], IMAGE_SETTINGS)):
        names = expected(settings, "extended")
        error = last(runs, "utility_error", names)
        parts.append(stats.bounded(last(runs, "utility", names), error, upper=EXTENDED))
        parts.append(stats.bounded(last(runs, "used", names), 0.0, lower=1.5 * TOP))
    return stats.all_of(parts)


def fitted_cells(grid, least: float = 0.0):
    """u(K*) and test accuracy of the cells of the grid whose training accuracy is at least that."""
    at = ("width", "rate", "scale", "replica")
    u, test, train = (
        grid[name].transpose(*at).values.reshape(-1, grid.sizes["replica"])
        for name in ("utility", "test_accuracy", "train_accuracy")
    )
    kept = np.isfinite(u).all(1) & (train.mean(1) >= least)
    return u[kept], test[kept]


def rank_correlation(u, test):
    """Spearman's correlation of the means over networks, with its standard error over cells."""
    if len(u) < 5:
        return np.nan, np.nan
    r = stats.correlation(rankdata(u.mean(1)), rankdata(test.mean(1)), level=0.95)
    return float(r.estimate), float(r.high - r.low) / (2 * stats.critical_value(0.95))


@claim(
    "C3",
    "The best generalisation after tuning usually coincides with minimal features: over learning rates, "
    "output scales and widths the accuracy on unseen data rises with u(K*), and the best cell is minimal.",
)
def best_is_minimal(data, cfg):
    u, test = fitted_cells(data["grid"])
    found, error = rank_correlation(u, test)
    best = test.mean(1).argmax()
    top = stats.mean_and_error(u[best])
    return stats.all_of(
        [
            stats.bounded(found, error, lower=0.0),
            stats.bounded(
                top.mean, top.standard_error, lower=MINIMAL, degrees_of_freedom=u.shape[1] - 1, level=0.95
            ),
        ]
    )


@claim(
    "C3-fitted",
    "The same among networks that have fitted their data, of a training accuracy of 0.99 and more.",
)
def best_is_minimal_if_fitted(data, cfg):
    found, error = rank_correlation(*fitted_cells(data["grid"], 0.99))
    return stats.bounded(found, error, lower=0.0, level=0.95)


@claim(
    "C4",
    "Minimal features may perform badly: networks that learn inputs which give the label away in training "
    "have u(K*) >= 0.95 and fail in the test; the quality of the features on unseen data, below 0.2, tells.",
)
def minimal_and_wrong(data, cfg):
    runs, names = data["regimes"], ["shortcut"]
    error = last(runs, "utility_error", names)
    unseen = last(runs, "held_out_quality", names)
    return stats.all_of(
        [
            stats.bounded(last(runs, "utility", names), error, lower=MINIMAL),
            stats.bounded(last(runs, "train_accuracy", names), 0.0, lower=0.95),
            over_networks(last(runs, "test_accuracy", names), upper=0.3),
            over_networks(unseen, upper=0.2),
        ]
    )


@claim(
    "C5",
    "Neural collapse is a statement about the kernel operator: networks rank alike by NC1 and by the "
    "distance of the operator from the projection onto the labels.",
)
def collapse_of_the_operator(data, cfg):
    runs = data["regimes"]
    nc1, distance = (last(runs, name, runs.setting.values) for name in ("nc1", "distance"))
    found, error = rank_correlation(nc1, distance)
    return stats.bounded(found, error, lower=0.5)


@claim(
    "D1",
    "That distance is K*Var(b) + 2 tr(S_B S_W) + |S_W|^2, between bounds by the within-class variance "
    "alone, and 1 - q(K*) stays below the bound of Davis and Kahan: at every epoch of every network.",
)
def operator_bounds(data, cfg):
    runs = data["regimes"]
    at = ("setting", "replica", "epoch")
    names = ("distance", "distance_low", "distance_high", "alignment", "quality", "quality_bound")
    distance, low, high, alignment, q, bound = (runs[name].transpose(*at).values for name in names)
    # Sums of float32, in units of |T|^2.
    rounding = 1e-4
    return stats.all_of(
        [
            stats.within(distance, 1 - alignment**2, 0.0, bias=rounding, resolution=rounding),
            stats.bounded(distance, 0.0, lower=low - rounding, upper=high + rounding),
            stats.bounded(1 - q, 0.0, upper=bound + rounding),
        ]
    )


@claim(
    "C6",
    "All this extends to regression: with weight decay as many eigenfunctions are in use as there are "
    "targets and lie in their span, u(K*) >= 0.95 and q(K*) >= 0.9; without it, and lazy, u(K*) <= 0.85.",
)
def minimal_regression(data, cfg):
    runs, parts = data["regressions"], []
    for regime, bound in (("minimal", {"lower": MINIMAL}), ("extended", {"upper": EXTENDED})):
        names = expected(DECAYS, regime)
        error = last(runs, "utility_error", names)
        parts.append(stats.bounded(last(runs, "utility", names), error, **bound))
    names = expected(DECAYS, "minimal")
    error = last(runs, "quality_error", names)
    parts.append(stats.bounded(last(runs, "quality", names), error, lower=0.9))
    parts.append(stats.within(last(runs, "used", names), 3, 0.0, bias=0.5, resolution=0.5))
    return stats.all_of(parts)


@claim(
    "D2-linear",
    "Deep linear networks follow the exact law of their modes from minimal features to extended ones: with "
    "orthogonal weights up to the step of the descent, with Gaussian ones up to the inverse of the width.",
)
def linear_modes(data, cfg):
    runs = data["linear_networks"]
    at = ("scale", "time", "mode")
    law = runs.along_law.transpose(*at).values
    exact = runs.along.sel(orthogonal=True).isel(replica=0).transpose(*at).values
    parts = [stats.within(exact / law, 1.0, 0.0, bias=0.02, resolution=0.02)]
    picked = {"time": [3, 10, -1]}
    values = runs.along.sel(orthogonal=False).isel(picked).transpose("replica", *at).values
    found = stats.mean_and_error(values / law[None, :, picked["time"]], axis=0)
    df = values.shape[0] - 1
    parts.append(
        stats.within(found.mean, 1.0, found.standard_error, bias=0.03, resolution=0.5, degrees_of_freedom=df)
    )
    return stats.all_of(parts)


@claim(
    "D2-decay",
    "Networks with weight decay on features and readout come to the unconstrained minimum, within 2 % of "
    "the largest eigenvalue and of the minimum, for both losses; directions die at the predicted "
    "thresholds.",
)
def unconstrained(data, cfg):
    runs = data["weight_decay"]
    at = ("problem", "level", "feature")
    values = runs.eigenvalues.transpose("replica", *at).values
    law = runs.eigenvalues_law.transpose(*at).values
    allowed = 0.02 * law.max((1, 2), keepdims=True)
    # What is left of the difference is the end of the descent, and no noise.
    parts = [stats.within(values, law[None], 0.0, bias=allowed[None], resolution=allowed[None])]
    value, least = (
        x.dropna("problem").transpose("problem", "level").values
        for x in (runs.objective.mean("replica").where(runs.objective_law.notnull()), runs.objective_law)
    )
    parts.append(stats.bounded(value / least, 0.0, lower=1 - 1e-9, upper=1.02))
    return stats.all_of(parts)


@claim(
    "D2-spiked",
    "A direction of variance 1 + s is found only by more than p/s^2 examples; then quality, in sample and "
    "out of sample alike, is (1 - p/(n s^2))/(1 + 1/s).",
)
def spiked_quality(data, cfg):
    runs = data["spikes"]
    at = ("count", "spike")
    margin = runs.spike.values[None] / np.sqrt(runs.aspect.values)[:, None]
    law, parts = runs.quality_law.transpose(*at).values, []
    for name in ("quality", "held_out_quality"):
        found = stats.mean_and_error(runs[name].transpose("replica", *at).values, axis=0)
        above, below = margin > 1.5, margin < 0.75
        parts.append(
            stats.within(
                found.mean[above], law[above], found.standard_error[above], bias=0.04, resolution=0.06
            )
        )
        parts.append(stats.bounded(found.mean[below], found.standard_error[below], upper=0.1))
    return stats.all_of(parts)


@claim(
    "D3",
    "With noisy labels the regime is a clock: minimal features come first, u(K*) >= 0.95, and are lost by "
    "more than 0.05 while the noise is fitted and the accuracy on clean data falls.",
)
def regime_is_a_clock(data, cfg):
    run = data["regimes"].sel(setting="40 % random labels")
    u, test = (run[name].transpose("replica", "epoch").values for name in ("utility", "test_accuracy"))
    # The epoch of the peak is chosen on the mean over networks.
    peak = u.mean(0).argmax()
    return stats.all_of(
        [
            over_networks(u[None, :, peak], lower=MINIMAL, level=0.95),
            over_networks((u[:, peak] - u[:, -1])[None], lower=0.05, level=0.95),
            over_networks((test[:, peak] - test[:, -1])[None], lower=0.0, level=0.95),
        ]
    )


@claim(
    "E-start",
    "Untrained layers have the predicted spectra: E tr M^2 of a ReLU layer on a hypercube, and on digits "
    "an error that falls like p^(-1/2) to the spectrum of infinite width.",
)
def spectra_at_start(data, cfg):
    runs = data["random_features"]
    found = stats.mean_and_error(runs.trace_of_square.transpose("replica", "width").values, axis=0)
    law = runs.trace_law.values
    parts = [stats.within(found.mean, law, found.standard_error, resolution=0.1 * law)]
    runs = data["spectra_at_start"]
    relative = (runs.eigenvalues / runs.eigenvalues_law - 1).isel(feature=slice(0, 8))
    squares = (relative**2).mean("feature").transpose("width", "replica").values
    mean = stats.mean_and_error(squares, axis=1)
    fit = stats.log_log_slope(
        runs.width.values, np.sqrt(mean.mean), mean.standard_error / (2 * np.sqrt(mean.mean))
    )
    parts.append(stats.within(fit.slope, -0.5, fit.slope_error, bias=0.15, resolution=0.3))
    return stats.all_of(parts)


@claim(
    "E-readout",
    "A readout that descends on given features has the predicted error in training and test at every step.",
)
def readout_risk(data, cfg):
    runs, parts = data["readouts"], []
    picked = [1, 5, 20, 50, 100]
    for name in ("train", "test"):
        values = runs[name].isel(step=picked).transpose("replica", "noise", "step").values
        law = runs[f"{name}_law"].isel(step=picked).transpose("noise", "step").values
        found = stats.mean_and_error(values, axis=0)
        noisy = runs.noise.values > 0
        parts.append(
            stats.within(
                found.mean[noisy], law[noisy], found.standard_error[noisy], resolution=0.25 * law[noisy]
            )
        )
        parts.append(stats.within(found.mean[~noisy] / law[~noisy], 1.0, 0.0, bias=1e-9, resolution=1e-9))
    return stats.all_of(parts)
