"""The paper's claims on width and depth, and ours, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.stats import ks_2samp, kstest

from theorysim import width_depth as wd
from theorysim.lab import Verdict
from theorysim.numerics import stats

from ._beside import Claims
from ._width_depth_config import CORRELATION

__all__ = ["CLAIMS", "rms_error"]


CLAIMS = Claims()
claim = CLAIMS.claim
Q0 = np.array([1.0, 1.0, CORRELATION])


def averages(values, exact, *, estimate=stats.mean_and_error, **allowed) -> Verdict:
    """Judge that what `estimate` finds over the last axis, networks, is exact within what is allowed."""
    found = estimate(values, axis=-1)
    return stats.within(found.mean, exact, found.standard_error, **allowed)


def rms_error(runs):
    """Root of the mean squared relative distance of q_aa from its limit, and the standard error of that."""
    limit = float(wd.depth_limit(Q0, 1.0, "relu", get="nngp").nngp[0])
    found = stats.mean_and_error((runs.aa.values / limit - 1) ** 2, axis=-1)
    root = np.sqrt(found.mean)
    return root, found.standard_error / (2 * root)


def predicted_rms(n, L):
    """The law of the error at branch scales L^(-1/2): sqrt(V/n + 1/(64 L^2))."""
    return np.sqrt(float(wd.width_variance(1.0, "relu")) / n + 1 / (64 * L**2))


def orders(sizes):
    """Ways to let n and L grow within the grid, by name: the points (n, L) of each, in order."""
    size = set(sizes)
    return {
        "L = n": [(n, n) for n in sizes],
        "L = n²": [(n, n * n) for n in sizes if n * n in size],
        "L = √n": [(L * L, L) for L in sizes if L * L in size],
        "width first": [(sizes[-1], L) for L in sizes],
        "depth first": [(n, sizes[-1]) for n in sizes],
    }


@claim(
    "C1",
    "The neural covariance has one deterministic limit for all orders in which width and depth grow: its "
    r"mean is that limit wherever they end, and $n\,\mathrm{Var}\,q/q^2$ one number at any depth.",
)
def one_limit(data, cfg):
    runs = data["grid"]
    limit = np.asarray(wd.depth_limit(Q0, 1.0, "relu", get="nngp").nngp)
    V = float(wd.width_variance(1.0, "relu"))
    ends = sorted({path[-1] for path in orders(cfg.sizes).values() if path})
    # Deeper than wide, and wider than deep.
    corners = [(cfg.sizes[len(cfg.sizes) // 2], cfg.sizes[-1]), (cfg.sizes[-1], cfg.sizes[0])]
    parts = []
    for n, L in corners:
        found = stats.variance_and_error(runs.aa.sel(n=n, L=L).values)
        scale = n / limit[0] ** 2
        spread = found.mean * scale, found.standard_error * scale
        # Beyond first order in 1/n; without skips it would be n exp(5 L/n).
        parts.append(stats.within(spread[0], V, spread[1], bias=50 / n + 4 / L, resolution=3.0))
    for n, L in ends:
        for name, exact in (("aa", limit[0]), ("ab", limit[2])):
            # The discretisation error, and a bias of width that is less than one part in n.
            bias = limit[0] * (1 / (8 * L) + 1 / n)
            resolution = 1.3 * limit[0] / n**0.5
            values = runs[name].sel(n=n, L=L).values
            parts.append(averages(values, exact, bias=bias, resolution=resolution, level=0.998))
    return stats.all_of(parts)


@claim("C2", r"The limit follows a differential equation in depth-time; for ReLU $q_t(a,a)=q_0e^{t/2}$.")
def differential_equation(data, cfg):
    runs = data["along_depth"]
    L = runs.sizes["layer"] - 1
    parts = []
    for c in runs["pair"].values:
        for t in (0.25, 0.5, 1.0):
            layer = runs.sel(pair=c).isel(layer=round(t * L))
            exact = np.asarray(wd.depth_limit(jnp.array([1.0, 1.0, c]), t, "relu", get="nngp").nngp)
            for name, value in (("aa", exact[0]), ("ab", exact[2])):
                bias = exact[0] * (1 / (4 * L) + 1 / cfg.wide)
                parts.append(averages(layer[name].values, value, bias=bias, resolution=0.1, level=0.9994))
    return stats.all_of(parts)


@claim(
    "C3",
    r"The error falls like $n^{-1/2}$ in width: its root mean square is "
    r"$q_1\sqrt{V/n+1/(64L^2)}$ with $V(1)=4.675$.",
)
def width_rate(data, cfg):
    runs = data["grid"]
    wide = runs.sel(n=[n for n in cfg.sizes if n >= 64] or [cfg.sizes[-1]])
    root, error = rms_error(wide)
    predicted = predicted_rms(wide.n.values[:, None], wide.L.values[None].astype(float))
    ratio = stats.within(root / predicted, 1.0, error / predicted, bias=0.1, resolution=0.3)
    several = [n for n in cfg.sizes if n >= 32]
    if len(several) < 3:
        return stats.all_of([ratio])
    root, error = rms_error(runs.sel(n=several, L=cfg.sizes[-1]))
    fit = stats.log_log_slope(np.array(several, float), root, error)
    slope = stats.within(fit.slope, -0.5, fit.slope_error, bias=0.03, resolution=0.2)
    return stats.all_of([slope, ratio])


@claim(
    "C3-depth", r"In depth it falls like $L^{-1}$, faster than the bound $L^{-1/2}$: exponent $-1\pm0.02$."
)
def depth_rate(data, cfg):
    L = 2.0 ** np.arange(4, 12)
    limit = np.asarray(wd.depth_limit(Q0, 1.0, "relu", get="nngp").nngp)
    q = np.array([wd.covariance_recursion(Q0, wd.schedule("uniform", int(k)), "relu") for k in L])
    parts = []
    for place in (0, 2):
        fit = stats.log_log_slope(L, np.abs(q[:, place] - limit[place]))
        parts.append(stats.within(fit.slope, -1.0, 0.0, bias=0.02, resolution=0.02))
    constant = L[-1] * (q[-1, 0] / limit[0] - 1)
    parts.append(stats.within(constant, -1 / 8, 0.0, bias=1e-3, resolution=1e-3))
    return stats.all_of(parts)


@claim("C4", r"Branch scales that vanish have the same limit on the clock $\sum\alpha_l^2$.")
def vanishing(data, cfg):
    runs = data["schedules"]
    parts, n = [], cfg.sizes[-1]
    for name in ("uniform", "ramp", "early"):
        one = runs.sel(schedule=name)
        # Half the clock, and all of it.
        half = int(np.argmin(np.abs(one.clock.values - 0.5)))
        for layer in (half, runs.sizes["layer"] - 1):
            tau = float(one.clock[layer])
            exact = np.asarray(wd.depth_limit(Q0, tau, "relu", get="nngp").nngp)
            for entry, value in (("aa", exact[0]), ("ab", exact[2])):
                bias = exact[0] * (np.diff(one.clock.values).max() / 4 + 1 / n)
                values = one[entry].isel(layer=layer).values
                parts.append(averages(values, value, bias=bias, resolution=0.15, level=0.999))
    return stats.all_of(parts)


@claim(
    "C4-series",
    r"Fixed scales with a convergent sum have a limit that is a product; the relative error is the tail "
    r"of the sum, $1/(2L)$ for $\alpha_l=1/l$.",
)
def series(data, cfg):
    runs, n = data["schedules"], cfg.sizes[-1]
    limit = wd.series_limit(CORRELATION, 1.0, "relu")
    L = 1000
    q = wd.covariance_recursion(Q0, wd.schedule("series", L, p=1.0), "relu")
    tail = stats.within(2 * L * float(limit.growth / q[0] - 1), 1.0, 0.0, bias=2e-3, resolution=2e-3)
    one = runs.sel(schedule="l^-1").isel(layer=-1)
    last = runs.sizes["layer"] - 1
    growth = float(limit.growth)
    drawn = averages(one.aa.values, growth, bias=growth * (0.55 / last + 1 / n), resolution=0.2)
    return stats.all_of([tail, drawn])


@claim(
    "C5",
    r"Scales $L^{-b}$ make $\log(q_L/q_0)\propto L^{1-2b}$: of the powers $b=1/4,1/2,3/4,1$ only $1/2$ has a "
    "limit that is neither trivial nor infinite.",
)
def powers(data, cfg):
    runs = data["powers"]
    deep = np.array([L for L in runs.L.values if L >= 16], float)
    parts = []
    for b in runs.b.values:
        one = runs.sel(b=b, L=deep.astype(int))
        growth = stats.mean_and_error(one.aa.values, axis=-1)
        exact = np.array(
            [wd.covariance_recursion(Q0, wd.schedule("power", int(L), b=b), "relu")[0] for L in deep]
        )
        parts.append(
            stats.within(
                growth.mean / exact,
                1.0,
                growth.standard_error / exact,
                bias=2 / cfg.sizes[-2] if b >= 0.5 else 0.05,
                resolution=0.3,
                level=0.9975,
            )
        )
        deepest = 2 ** np.arange(8, 13)
        q = [wd.covariance_recursion(Q0, wd.schedule("power", int(L), b=b), "relu")[0] for L in deepest]
        fit = stats.log_log_slope(deepest.astype(float), np.log(q))
        parts.append(stats.within(fit.slope, 1 - 2 * b, 0.0, bias=0.01, resolution=0.01))
    return stats.all_of(parts)


@claim("C6", r"A neuron of the last layer is Gaussian with variance $q_1$ in the limit, here along $L=n$.")
def normal_neurons(data, cfg):
    runs = data["neurons"]
    n = int(runs.n[-1])
    growth = float(wd.depth_limit(Q0, 1.0, "relu", get="nngp").nngp[0])
    scaled = runs["first"].sel(n=n).values / growth**0.5
    distance = float(kstest(scaled, "norm")[0])
    # Kolmogorov's 1 % point, beside the distance that the kurtosis 3 (V - 2)/n and the depth make.
    allowed = 1.63 / len(scaled) ** 0.5
    bias = 0.3 / n
    shape = stats.bounded(distance, 0.0, upper=allowed + bias)
    powers = runs["second"].sel(n=n).values
    second = averages(powers, growth, bias=growth * (1 / (8 * n) + 1 / n), resolution=0.1)
    return stats.all_of([shape, second])


def excess_kurtosis(runs):
    """Excess kurtosis of a neuron over networks, from all neurons, with its standard error."""
    second, fourth = runs["second"].values, runs["fourth"].values
    mean = second.mean(-1, keepdims=True)
    value = fourth.mean(-1) / mean[..., 0] ** 2 - 3
    # The error of a quotient, by its influence on each network.
    influence = fourth / mean**2 - 2 * (value + 3)[..., None] * second / mean
    return value, influence.std(-1, ddof=1) / second.shape[-1] ** 0.5


@claim(
    "C6-kurtosis",
    r"Over networks as deep as wide its excess kurtosis is $3(V-2)/n=8.03/n$.",
)
def kurtosis(data, cfg):
    runs = data["neurons"]
    several = [n for n in cfg.square_sizes if n >= 16] or list(cfg.square_sizes)
    value, error = excess_kurtosis(runs.sel(n=several))
    n = np.array(several, float)
    predicted = 3 * (float(wd.width_variance(1.0, "relu")) - 2)
    return stats.within(n * value, predicted, n * error, bias=80 / n, resolution=np.maximum(6.0, 160 / n))


@claim(
    "C7",
    r"Without skips the limits do not commute: along $L=n$ the log-norm of a ReLU network keeps the "
    r"law $N(-5L/2n,\,5L/n)$.",
)
def no_skips(data, cfg):
    runs = data["contrast"].sel(kind="no skips")
    parts = []
    for n in runs.n.values:
        q = runs.aa.sel(n=n).values
        # In every layer a network falls silent with probability 2^-n.
        logs = np.log(q[q > 0])
        exact = wd.mlp_log_moments(int(n))
        spread = n * float(exact.var)
        parts += [
            averages(logs, spread, estimate=stats.variance_and_error, bias=8 / n, resolution=2.5),
            averages(logs, n * float(exact.mean), bias=4 / n, resolution=1.0),
        ]
    return stats.all_of(parts)


@claim(
    "C7-unscaled",
    r"Nor do they without branch scales: along $L=n$ the variance of $\log q$ stays above 2.5, while with "
    r"them it is $V/n$.",
)
def unscaled(data, cfg):
    runs = data["contrast"]
    logs = np.log(runs.aa.sel(kind="unscaled").values)
    wild = stats.variance_and_error(logs, axis=-1)
    stays = stats.bounded(wild.mean, wild.standard_error, lower=2.5)
    n = runs.n.values.astype(float)
    tame = stats.variance_and_error(np.log(runs.aa.sel(kind="scaled").values), axis=-1)
    V = float(wd.width_variance(1.0, "relu"))
    falls = stats.within(
        n * tame.mean, V, n * tame.standard_error, bias=0.5 + 40 / n, resolution=np.maximum(3.0, 80 / n)
    )
    return stats.all_of([stays, falls])


@claim(
    "C7-shaped",
    "A shaped network without skips has a random correlation in the limit, with the law of a stochastic "
    "differential equation.",
)
def shaped(data, cfg):
    runs = data["shaped"]
    parts = []
    for name in runs["shape"].values:
        one = runs.sel(shape=name)
        for estimate in (stats.mean_and_error, stats.variance_and_error):
            found, exact = estimate(one.networks.values), estimate(one.limit.values)
            error = np.hypot(found.standard_error, exact.standard_error)
            parts.append(
                stats.within(found.mean, exact.mean, error, bias=0.02, resolution=0.25, level=0.9975)
            )
    return stats.all_of(parts)


@claim(
    "C8",
    r"Distinct inputs never become parallel at finite depth-time; in the limit "
    r"$1-c_t\sim18\pi^2/t^2$ (ReLU).",
)
def never_parallel(data, cfg):
    runs = data["long_times"]
    apart = 1 - (runs.ab / np.sqrt(runs.aa * runs.bb)).transpose("tau", "network").values
    exact = 1 - runs.exact.values
    # Every network, not only their mean; without skips 1 - c is 2e-4 at this depth.
    never = stats.bounded(apart.min(1) / exact, 0.0, lower=0.3 if cfg.wide >= 256 else 0.0)
    # Fluctuations of the variance, V(tau)/n relative, move the mean at first order.
    bias = exact * np.array([float(wd.width_variance(t, "relu")) for t in runs.tau.values]) / cfg.wide
    follows = averages(apart, exact, bias=bias, resolution=0.25 * exact)
    s = np.array([1e3, 1e4, 1e5])
    ratio = (1 - np.asarray(wd.correlation_flow(CORRELATION, s))) * s**2 / (18 * np.pi**2)
    tail = stats.within(ratio[-1], 1.0, 0.0, bias=1e-3, resolution=1e-3)
    return stats.all_of([follows, never, tail])


def same_law(one, other) -> float:
    """p-value of Kolmogorov and Smirnov's test of two samples."""
    found: Any = ks_2samp(one, other)
    return float(found.pvalue)


@claim(
    "E6",
    "Dense networks in Flax have the law of the samplers: their covariances and tangent kernels of two "
    "inputs are not told apart, and have the means of infinite width.",
)
def dense(data, cfg):
    runs = data["dense"]
    L = cfg.dense_depth
    exact = wd.pair_kernels(Q0, wd.schedule("uniform", L), "relu")
    p_values = [
        same_law(runs[name].sel(n=n).values, runs[f"{name}_sampled"].sel(n=n).values)
        for name in ("nngp", "ntk")
        for n in runs.n.values
    ]
    # Bonferroni: the family keeps one in a hundred.
    smallest = min(p_values) * len(p_values)
    parts = [stats.bounded(smallest, 0.0, lower=0.01)]
    n = runs.n.values.astype(float)
    for name, value in (("nngp", exact.nngp[2]), ("ntk", exact.ntk)):
        parts.append(averages(runs[name].values, float(value), bias=3 / n, resolution=0.6))
    return stats.all_of(parts)


@claim("D1", r"The Gram matrix of real digits approaches its limit like $n^{-1/2}$.")
def digit_rate(data, cfg):
    found = stats.mean_and_error(data["digit_grams"].value.values, axis=-1)
    n = np.array(cfg.digit_widths, float)
    if len(n) < 3:
        scaled, error = (float(x[-1]) * n[-1] ** 0.5 for x in (found.mean, found.standard_error))
        return Verdict("undecided", scaled, 2.5, error, "two widths make no rate")
    fit = stats.log_log_slope(n, found.mean, found.standard_error)
    few = cfg.digit_networks - 1
    return stats.within(fit.slope, -0.5, fit.slope_error, bias=0.05, resolution=0.3, degrees_of_freedom=few)


@claim(
    "D2",
    "The NNGP of residual networks classifies digits alike at depths 10 to infinity, and at depth 1000 "
    r"better than that of networks without skips (ridge $10^{-4}$ of the mean variance).",
)
def digit_accuracy(data, cfg):
    runs = data["digit_accuracy"]
    right = runs.nngp.values.astype(float)
    # The same digits at every depth: their differences count, not each accuracy's own error.
    alike = averages(right[:-1] - right[-1:], 0.0, bias=0.005, resolution=0.02)
    gain = right[list(runs.L.values).index(1000)] - runs.no_skips.sel(finite_L=1000).values
    better = stats.mean_and_error(gain)
    return stats.all_of([alike, stats.bounded(better.mean, better.standard_error, lower=0.0)])
