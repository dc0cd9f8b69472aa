"""The paper's claims on real plus synthetic data, and ours, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

from typing import Any

import numpy as np
import xarray as xr

from theorysim import rmt_synthetic as rmt
from theorysim.lab import Verdict
from theorysim.lab.runs import mean_over
from theorysim.numerics import stats

from ._beside import Claims

__all__ = ["CLAIMS"]


CLAIMS = Claims()
claim = CLAIMS.claim


def against_limit(runs: xr.Dataset, p, resolution, *, prefix="", constant=0.15, exact="exact") -> Verdict:
    """Sampled mean accuracies against a limit that they approach like constant / p."""
    names = [f"{prefix}{field}" for field in ("mean", "error")]
    mean, error = (runs[name].values for name in names)
    predicted = runs[exact].transpose(*runs[names[0]].dims).values
    return stats.within(mean, predicted, error, bias=constant / p, resolution=resolution)


@claim(
    "C1",
    r"The score is Gaussian and its accuracy $\Phi(\mathrm{mean}/\sqrt{\mathrm{var}})$, "
    r"up to a bias of order $1/p$ and a spread of order $p^{-1/2}$.",
)
def limit_law(data, cfg):
    runs, scores = data["finite_size"], data["scores"]
    p = runs.p.values[:, None]
    limits = against_limit(runs, p, 0.01)
    spreads = zip(runs.sd.values.T, runs.sd_error.values.T, strict=True)
    fits = [stats.log_log_slope(p[:, 0], spread, error) for spread, error in spreads]
    spread = stats.within(
        [f.slope for f in fits], -0.5, [f.slope_error for f in fits], bias=0.03, resolution=0.05
    )
    moments = [
        stats.within(
            (found := mean_over(scores[name], "draw")).mean,
            scores[f"{name}_exact"].values,
            found.standard_error,
            bias=6 * scores[f"{name}_exact"].values / cfg.real,
            resolution=0.1 * scores[f"{name}_exact"].values.max(),
            degrees_of_freedom=cfg.ratio_draws - 1,
        )
        for name in ("mean", "var")
    ]
    return stats.all_of([limits, spread, *moments])


@claim("C1-rate", r"The bias of the accuracy falls like $1/p$: exponent $-1 \pm 0.15$.")
def bias_rate(data, cfg):
    runs = data["finite_size"].sel(setting="real + synthetic")
    bias = np.abs(runs["mean"].values - runs.exact.values)
    if not (bias > 3 * runs.error.values).all():
        measured, error = float(bias.min()), float(runs.error.values.max())
        return Verdict("undecided", measured, 0.0, error, "the bias is not resolved at every dimension")
    fit = stats.log_log_slope(runs.p.values, bias, runs.error.values)
    return stats.within(fit.slope, -1.0, fit.slope_error, bias=0.15, resolution=0.5)


@claim(
    "C2",
    r"Two or three scalars fix everything: they are traces of the resolvent, and grow with $p/n$.",
)
def fixed_point(data, cfg):
    runs, n = data["deltas"], cfg.real
    law = {"eps": 0.2, "rho": 0.2, "phi": 0.9, "gamma": 1.0}
    exact = rmt.estimated_generator_fixed_point(n, n, runs.m.values, runs.p.values[:, None], **law)
    parts = []
    for name in exact._fields:
        found, predicted = mean_over(runs[name]), np.asarray(getattr(exact, name))
        parts.append(
            stats.within(
                found.mean,
                predicted,
                found.standard_error,
                bias=3 * predicted / n,
                resolution=0.25 * predicted,
                degrees_of_freedom=5,
            )
        )
    p = np.geomspace(0.01, 10, 61) * 1000
    along = rmt.estimated_generator_fixed_point(1000, 1000, np.array([[2e3], [5e3], [1e4]]), p, **law)
    rising = [stats.ordered(np.asarray(delta), np.zeros_like(delta)) for delta in along]
    return stats.all_of([*parts, *rising])


@claim(
    "C3",
    r"Synthetic data alone: accuracy passes 1/2 at $\varepsilon^*=\phi/(\phi+\rho)$ for every $p/m$, "
    r"with a slope of order $(p/m)^{-1/2}$.",
)
def phase_transition(data, cfg):
    runs = data["transition"]
    at = runs.sel(eps=rmt.critical_noise(0.3, 0.8).item(), method="nearest")
    half = stats.within(at["mean"].values, 0.5, at.error.values, resolution=0.02)
    curves = against_limit(runs, cfg.dim, 0.02)
    low, high = (runs.sel(eps=float(at.eps) + shift * 0.02, method="nearest") for shift in (-1, 1))
    width = float(high.eps - low.eps)
    slope = (high["mean"] - low["mean"]).values / width
    error = np.hypot(low.error, high.error).values / width
    secant = ((high.exact - low.exact) / width).values
    slopes = stats.within(slope, secant, error, bias=0.3 * np.abs(secant) / cfg.dim + 0.1, resolution=0.7)
    aspect = np.logspace(-5, -2, 4)
    law = {"mu": 1, "rho": 0.3, "phi": 0.8, "gamma": 1}
    steep = np.asarray(rmt.critical_slope(aspect, **law))
    fit = np.diff(np.log(-steep)) / np.diff(np.log(aspect))
    rate = stats.within(fit, -0.5, np.zeros_like(fit), bias=0.01, resolution=0.01)
    return stats.all_of([half, curves, slopes, rate])


@claim(
    "C4",
    "An oracle's data help at any proportion; a weak verifier's first hurt, then help by their sheer number.",
)
def helps_or_hurts(data, cfg):
    runs = data["proportion"].value.isel(ratio=-1)
    found = {name: mean_over(runs.sel(verifier=name)) for name in runs.verifier.values}
    oracle = stats.ordered(found["oracle"].mean, found["oracle"].standard_error, resolution=0.01)
    weak = found["weak"]
    falls = stats.ordered(weak.mean[[0, 2, 4]], weak.standard_error[[0, 2, 4]], increasing=False)
    turns = stats.ordered(weak.mean[-2:], weak.standard_error[-2:])
    # Of the same total number of samples, more of them synthetic are always worse.
    fixed = data["proportion"].fixed_total.isel(ratio=-1).sel(verifier="weak").values
    still = stats.ordered(fixed, np.zeros_like(fixed), increasing=False)
    theory = proportions_agree(data, cfg)
    return stats.all_of([theory, oracle, falls, turns, still])


def proportions_agree(data, cfg) -> Verdict:
    runs = data["proportion"].transpose("ratio", "verifier", "share", "replica")
    found = mean_over(runs.value)
    bias = 0.15 / np.round(runs.ratio.values * cfg.real)[:, None, None]
    return stats.within(found.mean, runs.exact.values, found.standard_error, bias=bias, resolution=0.06)


@claim("C5", "The gain from synthetic data grows with the dimension at fixed $n$.")
def gain_with_dimension(data, cfg):
    runs = data["proportion"].value.sel(verifier="oracle").transpose("ratio", "share", "replica")
    first, last = (mean_over(runs.isel(share=i)) for i in (0, -1))
    gain, error = last.mean - first.mean, np.hypot(first.standard_error, last.standard_error)
    return stats.ordered(gain, error)


@claim(
    "C6",
    r"The samples behind the generator's covariance limit the gain, from $\hat n = p$ on; "
    "a singular estimate works as well.",
)
def generator_samples(data, cfg):
    runs = data["generator_quality"]
    found, p = mean_over(runs.value), runs.attrs["dim"]
    exact = stats.within(found.mean, runs.exact.values, found.standard_error, bias=0.3 / p, resolution=0.02)
    enough = runs.n_hat.values >= p
    better = stats.ordered(found.mean[enough], found.standard_error[enough], resolution=0.003)
    singular = stats.bounded(found.mean[~enough], found.standard_error[~enough], lower=float(runs.alone))
    return stats.all_of([exact, singular, better])


@claim(
    "C7",
    "Real features keep the order: an oracle or a strong verifier beats none, more label noise is worse.",
)
def real_orderings(data, cfg):
    runs = data["real_features"].measured
    parts = []
    for task in runs.task.values:
        kept = runs.sel(task=task).dropna("factor", how="all").isel(factor=-1)
        kept = kept.dropna("replica", how="all").transpose("eps", "verifier", "replica")
        degrees = {"degrees_of_freedom": kept.sizes["replica"] - 1}
        noisy = mean_over(kept.isel(eps=-1).sel(verifier=["none", "strong", "oracle"]))
        ends = [0, 2]  # strong and oracle may be close
        parts.append(stats.ordered(noisy.mean[ends], noisy.standard_error[ends], **degrees))
        parts.append(stats.ordered(noisy.mean[:2], noisy.standard_error[:2], **degrees))
        blind = mean_over(kept.sel(verifier="none"))
        parts.append(stats.ordered(blind.mean, blind.standard_error, increasing=False, **degrees))
    return stats.all_of(parts)


@claim("C8", r"The peak without ridge is where the KEPT samples are as many as the dimensions.")
def peak_of_kept(data, cfg):
    runs = data["peak"]
    kept = runs.attrs["kept"] * runs.per_dim.values
    at = int(np.argmin(np.abs(kept - 1)))
    # A ridge of 1e-4 leaves a peak narrower than the finite-size smearing right at its top.
    away = np.abs(kept - 1) > 0.2
    curve = against_limit(runs.isel(per_dim=away), cfg.dim, 0.05, constant=1.5)
    others = np.flatnonzero(away)
    drop = runs["mean"].values[others] - runs["mean"].values[at]
    error = np.hypot(runs.error.values[others], runs.error.values[at])
    lowest = stats.bounded(drop, error, lower=0.0)
    return stats.all_of([curve, lowest])


@claim("C8-all", "That peak is where all samples, the pruned ones too, are as many.", "refuted")
def peak_of_all(data, cfg):
    runs = data["peak"]
    all_, others = runs.sel(per_dim=1.0), runs.sel(per_dim=[1.5, 2.0, 2.5])
    error = np.hypot(others.error.values, float(all_.error))
    return stats.bounded(others["mean"].values - float(all_["mean"]), error, lower=0.0)


@claim(
    "C9",
    r"A ReLU network, too, has mean accuracy 1/2 at $\varepsilon^*$, and errs more often than not above it.",
)
def network_crosses(data, cfg):
    runs = data["network"].accuracy.transpose("eps", "replica")
    found = mean_over(runs)
    degrees = {"degrees_of_freedom": cfg.network_seeds - 1}
    at = int(np.argmin(np.abs(runs.eps.values - rmt.critical_noise(0.3, 0.8).item())))
    half = stats.within(found.mean[at], 0.5, found.standard_error[at], resolution=0.06, **degrees)
    falls = stats.ordered(found.mean, found.standard_error, increasing=False, **degrees)
    return stats.all_of([half, falls])


@claim("mask-released", "The released formulas, with the pruning mask at its mean, are exact.", "refuted")
def released_formulas(data, cfg):
    runs = data["released"].isel(point=[1, 2])  # elsewhere their variance is negative, or nearly infinite
    return against_limit(runs, cfg.dim, 0.01, exact="released")


@claim("mask", "The formulas with the mask inside are exact, at the same points and where those give NaN.")
def corrected_formulas(data, cfg):
    return against_limit(data["released"], cfg.dim, 0.01, constant=0.3)


@claim(
    "E1",
    r"Gradient descent of a linear network arrives at ridge regression, no slower than its slowest mode.",
)
def descends_to_ridge(data, cfg):
    runs = data["descent"].transpose("step", "replica")
    path = np.abs(runs.trained.values - runs["filter"].values)
    follows = stats.bounded(path, np.zeros_like(path), upper=1e-8)
    end = np.abs(runs.trained.values[-1] - runs.ridge.values)
    arrives = stats.bounded(end, np.zeros_like(end), upper=1e-4)
    # The last stretch before rounding: there the slowest mode is what is left.
    distance, steps = runs.distance.values, runs.step.values
    columns = np.arange(distance.shape[1])
    last = (distance > 1e-9 * distance[0]).sum(0) - 1
    before = np.maximum(last - 15, 0)
    slope = np.log(distance[last, columns] / distance[before, columns]) / (steps[last] - steps[before])
    rate = slope / np.log(runs.decay.values)
    slowest = stats.bounded(rate, np.zeros_like(rate), lower=1 - 1e-6, upper=1.5)
    return stats.all_of([follows, arrives, slowest])


@claim(
    "E2",
    r"To the averaging classifier $n$ real and $m$ synthetic samples are worth $n_\mathrm{eff}$ clean ones.",
)
def worth(data, cfg):
    return against_limit(data["exchange"], cfg.dim, 0.01)


@claim(
    "E3",
    "Data from a generator fitted to the training set itself do not beat the best ridge on that set alone.",
)
def no_free_lunch(data, cfg):
    runs = data["own_generator"]
    found = mean_over(runs.value)
    exact = runs.exact.transpose(*(d for d in runs.value.dims if d != "replica")).values
    agree = stats.within(found.mean, exact, found.standard_error, bias=0.5 / 50, resolution=0.02)
    m = np.logspace(0, 4, 25)
    gamma = np.logspace(-4, 4, 161)[:, None]
    law: dict[str, Any] = {"eps": 0.1, "rho": 0.3, "phi": 0.9, "mu": 1.2, "p": 50, "n": 75}
    own = np.asarray(rmt.test_accuracy(*rmt.reused_generator_moments(m=m, gamma=gamma, **law))).max(0)
    isotropic: dict[str, Any] = {"beta": 1, "perp": 0, "sigma2": 1} | law
    alone = np.asarray(rmt.test_accuracy(*rmt.isotropic_moments(m=0, gamma=gamma, **isotropic))).max()
    most = stats.bounded(own, np.zeros_like(own), upper=alone + 1e-12)
    return stats.all_of([agree, most])


@claim("E4", "At the best weight synthetic data never hurt; at unit weight they can.")
def best_weight(data, cfg):
    runs = data["weighting"]
    exact = {name: runs.exact.sel(way=name).values for name in runs.way.values}
    never = stats.bounded(
        exact["best weight"] - exact["real data alone"], np.zeros(runs.sizes["eps"]), lower=-1e-12
    )
    unit, alone = (runs.sel(way=name).isel(eps=-1) for name in ("unit weight", "real data alone"))
    error = np.hypot(float(unit.error), float(alone.error))
    hurts = stats.bounded(float(unit["mean"] - alone["mean"]), error, upper=0.0)
    agree = against_limit(runs, 50, 0.03, constant=0.5)
    return stats.all_of([agree, never, hurts])


@claim("E5", "A linear verifier is worth its overlap with the class mean, as its truncated moments say.")
def linear_verifiers(data, cfg):
    runs = data["verifiers"]
    found = mean_over(runs.value)
    exact = runs.exact.transpose(*(d for d in runs.value.dims if d != "replica")).values
    agree = stats.within(
        found.mean, exact, found.standard_error, bias=0.5 / runs.attrs["dim"], resolution=0.02
    )
    curves = mean_over(runs.value.transpose("eps", "overlap", "replica"))
    rises = [
        stats.ordered(mean, error, resolution=0.005)
        for mean, error in zip(curves.mean, curves.standard_error, strict=True)
    ]
    return stats.all_of([agree, *rises])


@claim(
    "E6",
    "Given the real features, theory predicts the accuracy to one point in a hundred on average.",
)
def conditional_theory(data, cfg):
    parts = []
    for name in ("real_features", "generator_subset"):
        runs = data[name]
        for task in runs.task.values:
            one = (runs.measured - runs.predicted).sel(task=task).dropna("replica", how="all")
            one = one.mean([dim for dim in one.dims if dim != "replica"])
            found = mean_over(one)
            degrees = one.sizes["replica"] - 1
            parts.append(
                stats.within(
                    found.mean,
                    0.0,
                    found.standard_error,
                    bias=0.01,
                    resolution=0.03,
                    degrees_of_freedom=degrees,
                )
            )
    return stats.all_of(parts)


@claim(
    "E7",
    "With four classes random training sets have the accuracy of the limit, up to a bias of order $1/p$.",
)
def several_classes(data, cfg):
    runs = data["classes"].transpose("eps", "verifier", "replica", "integration")
    found, exact = mean_over(runs.value), mean_over(runs.exact, "integration")
    return stats.within(
        found.mean,
        exact.mean,
        np.hypot(found.standard_error, exact.standard_error),
        bias=runs.attrs["bias"],
        resolution=0.02,
        degrees_of_freedom=runs.sizes["replica"] - 1,
    )


@claim(
    "E8",
    "A network on MNIST keeps the order: an oracle beats no verifier at high noise, more label noise is "
    "worse with a weak one, and a generator that knows more samples is no worse.",
)
def digits_in_order(data, cfg):
    runs = data["mnist_network"]
    most, degrees = float(runs.used.max()), {"degrees_of_freedom": runs.sizes["replica"] - 1}

    def found(chosen, along):
        return mean_over(runs.sel(point=chosen.values).sortby(along).value.transpose("point", "replica"))

    full = runs.used == most
    noisiest = full & np.isclose(runs.eps, float(runs.eps.max()))
    oracle, none = (found(noisiest & (runs.verifier == name), "eps") for name in ("oracle", "none"))
    error = np.hypot(oracle.standard_error, none.standard_error)
    better = stats.bounded(oracle.mean - none.mean, error, lower=0.0, **degrees)
    weak = found(full & (runs.verifier == "weak"), "eps")
    worse = stats.ordered(weak.mean, weak.standard_error, increasing=False, **degrees)
    samples = found(np.isclose(runs.eps, 0.3) & (runs.verifier == "oracle"), "used")
    # No worse: a loss of one point in a hundred has to be excluded.
    rises = stats.ordered(samples.mean, samples.standard_error, resolution=0.01, **degrees)
    return stats.all_of([better, worse, rises])
