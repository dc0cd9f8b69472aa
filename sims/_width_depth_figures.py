"""The figures of the sim on width and depth: theory as lines, measurement as markers with 95 % bars.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from theorysim import width_depth as wd
from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.numerics import stats

from ._width_depth_claims import Q0, orders, predicted_rms, rms_error
from ._width_depth_config import CORRELATION

__all__ = ["FIGURES"]

GREY = PALETTE[-1]


def _powers_of_two(axis, values):
    axis.set_ticks(values, labels=[f"{v:g}" for v in values])
    axis.set_ticks([], minor=True)


def growth_in_any_order(data, cfg):
    r"""The neural covariance of two inputs along five ways to let width and depth grow.

    Mean over random networks (points, 95 % bars), for the variance $q(a,a)$ and the covariance $q(a,b)$. All
    end at the limit (dashed), where the differential equation ends.
    """
    runs = data["grid"]
    limit = np.asarray(wd.depth_limit(Q0, 1.0, "relu", get="nngp").nngp)
    figure, axes = new_figure(1, 2, width=10.5, height=4.2)
    for ax, name, exact in zip(axes, ("aa", "ab"), (limit[0], limit[2]), strict=True):
        ax.axhline(exact, color=GREY, ls="--", lw=1.2)
        for i, (order, points) in enumerate(orders(cfg.sizes).items()):
            if not points:
                continue
            found = [stats.mean_and_error(runs[name].sel(n=n, L=L).values) for n, L in points]
            x = [n * L for n, L in points]
            mean, error = (np.array([getattr(f, k) for f in found]) for k in ("mean", "standard_error"))
            label = order if name == "aa" else None
            measured_points(ax, x, mean, error, color=PALETTE[i], label=label)
            ax.plot(x, mean, color=PALETTE[i], lw=0.8, alpha=0.5)
        ax.set(xscale="log", xlabel="neurons $n\\,L$", ylabel=f"$q_{{L,n}}({name[0]},{name[1]})$")
    axes[0].legend(loc="upper right")
    return figure


def error_of_the_limit(data, cfg):
    r"""Root-mean-square distance of $q_{L,n}(a,a)$ from its limit, relative, over width and over depth.

    Random networks (points, 95 % bars) and $\sqrt{V/n+1/(64L^2)}$ (lines). Width leaves an error of order
    $n^{-1/2}$; depth one of order $1/L$, visible only where width is infinite (right, dashed).
    """
    runs = data["grid"]
    root, error = rms_error(runs)
    figure, axes = new_figure(1, 2, width=10.5, height=4.2, sharey=True)
    n, L = (np.array(v, float) for v in (runs.n.values, runs.L.values))
    shown = [0, len(L) // 2, len(L) - 1]
    for i, k in enumerate(shown):
        theory_line(axes[0], n, predicted_rms(n, L[k]), color=PALETTE[i])
        measured_points(axes[0], n, root[:, k], error[:, k], color=PALETTE[i], label=f"L = {L[k]:g}")
        theory_line(axes[1], L, predicted_rms(n[k], L), color=PALETTE[i])
        measured_points(axes[1], L, root[k], error[k], color=PALETTE[i], label=f"n = {n[k]:g}")
    depths = 2.0 ** np.arange(int(np.log2(L[0])), int(np.log2(L[-1])) + 1)
    exact = [
        abs(float(wd.discretisation_error(wd.schedule("uniform", int(d)), "relu").exact)) for d in depths
    ]
    theory_line(axes[1], depths, exact, color=GREY, linestyle="--", label="n = ∞")
    for ax, values, name in zip(axes, (n, depths), ("width $n$", "depth $L$"), strict=True):
        ax.set(xscale="log", yscale="log", xlabel=name)
        _powers_of_two(ax.xaxis, values)
        ax.legend(loc="lower left")
    axes[0].set_ylabel("relative rms error")
    return figure


def correlation_paths(data, cfg):
    r"""Correlation of two inputs from layer to layer, for residual networks and for networks without skips.

    Left: 20 wide residual networks (thin lines) on the curve of the differential equation (thick), for three
    pairs of inputs. Right: ReLU networks of width 100 without skips (thin) leave the curve of infinite width
    (thick): every pair becomes parallel, and each network at its own pace.
    """
    figure, axes = new_figure(1, 2, width=10.5, height=4.2, sharey=True)
    runs = data["along_depth"]
    L = runs.sizes["layer"] - 1
    t = np.linspace(0, 1, L + 1)
    for i, c in enumerate(runs["pair"].values):
        one = runs.sel(pair=c)
        paths = (one.ab / np.sqrt(one.aa * one.bb)).transpose("network", "layer").values
        axes[0].plot(t, paths[:20].T, color=PALETTE[i], lw=0.5, alpha=0.45)
        theory_line(axes[0], t, wd.correlation_flow(c, t), color=PALETTE[i], label=f"$c_0={c:g}$")
    axes[0].set(xlabel="depth-time $t=l/L$", ylabel="correlation $c$", title=f"residual, n = {cfg.wide}")
    runs = data["without_skips"]
    paths = (runs.ab / np.sqrt(runs.aa * runs.bb)).transpose("network", "layer").values
    layers = np.arange(paths.shape[1])
    axes[1].plot(layers, paths[:20].T, color=PALETTE[1], lw=0.5, alpha=0.45)
    theory_line(axes[1], layers, _mlp_correlation(CORRELATION, len(layers)), color=PALETTE[1])
    axes[1].set(xlabel="layer $l$", title="no skips, n = 100")
    axes[0].legend(loc="lower right")
    return figure


def _mlp_correlation(c, count):
    """Correlations of the ReLU network without skips at infinite width, layer by layer."""
    path = [c]
    for _ in range(count - 1):
        c = path[-1]
        path.append((np.sqrt(1 - c * c) + c * np.arcsin(c)) / np.pi + c / 2)
    return path


def log_norms(data, cfg):
    r"""Distribution of $\log q_{L,n}(a,a)$ over networks as deep as wide, less its value at infinite width.

    Residual networks with branch scales concentrate as they grow, on the normal law of variance $V/n$
    (lines). Without skips the law approaches $N(-5/2, 5)$ instead (grey); without branch scales it stays wide
    too.
    """
    runs = data["contrast"]
    figure, axes = new_figure(1, 3, width=11.5, height=3.9)
    V = float(wd.width_variance(1.0, "relu"))
    for ax, kind in zip(axes, ("scaled", "unscaled", "no skips"), strict=True):
        for i, n in enumerate(runs.n.values[:4]):
            n = int(n)
            growth = {"scaled": np.log1p(0.5 / n), "unscaled": np.log(1.5), "no skips": 0.0}[kind] * n
            q = runs.aa.sel(kind=kind, n=n).values
            # A network without skips is silent with probability n 2^-n.
            logs = np.log(q[q > 0]) - growth
            ax.hist(logs, bins=40, density=True, histtype="step", color=PALETTE[i], label=f"n = L = {n}")
            grid = np.linspace(logs.min(), logs.max(), 300)
            if kind == "scaled":
                theory_line(ax, grid, norm.pdf(grid, -V / (2 * n), np.sqrt(V / n)), color=PALETTE[i], lw=1)
            elif kind == "no skips" and i == 0:
                theory_line(ax, grid, norm.pdf(grid, -2.5, 5**0.5), color=GREY, lw=1.2, label="N(-5/2, 5)")
        ax.set(xlabel=r"$\log q-\log q_{n=\infty}$", title=kind)
        ax.legend(loc="upper left" if kind != "scaled" else "upper right")
    axes[0].set_ylabel("density")
    return figure


def one_neuron(data, cfg):
    r"""Quantiles of one neuron of the last layer over networks as deep as wide, against the normal law.

    Divided by the standard deviation of the limit, $e^{1/4}$. A Gaussian neuron lies on the diagonal.
    """
    runs = data["neurons"]
    figure, ax = new_figure(width=5.2, height=4.6)
    growth = float(wd.depth_limit(Q0, 1.0, "relu", get="nngp").nngp[0])
    for i, n in enumerate(runs.n.values):
        values = np.sort(runs["first"].sel(n=n).values) / growth**0.5
        ranks = norm.ppf((np.arange(len(values)) + 0.5) / len(values))
        ax.plot(ranks, values, ".", ms=4, color=PALETTE[i], label=f"n = L = {int(n)}")
    theory_line(ax, [-4, 4], [-4, 4], color=GREY, lw=1)
    ax.set(xlabel="quantile of the normal law", ylabel=r"quantile of $Y_L/\sqrt{q_1}$")
    ax.legend(loc="upper left")
    return figure


def schedule_clock(data, cfg):
    r"""Correlation along the depth for several branch scales, on the clock $\sum\alpha^2$.

    Sequences that vanish (uniform, ramp, early) lie on the curve of the differential equation (line); series
    with fixed scales end elsewhere, at limits of their own (dashed: the recursion at infinite width).
    """
    runs = data["schedules"]
    figure, ax = new_figure(width=6.4, height=4.3)
    c = runs.ab / np.sqrt(runs.aa * runs.bb)
    clock = np.linspace(0, float(runs.clock.max()), 200)
    theory_line(ax, clock, wd.correlation_flow(CORRELATION, clock), color=GREY, label="limit")
    for i, name in enumerate(map(str, runs.schedule.values)):
        one = c.sel(schedule=name).transpose("layer", "network").values
        found = stats.mean_and_error(one, axis=1)
        text = f"$\\alpha_l=l^{{{name[2:]}}}$" if name.startswith("l^") else name
        at = runs.clock.sel(schedule=name).values
        picked = np.unique(np.searchsorted(at, np.linspace(0, at[-1], 9)).clip(0, len(at) - 1))
        measured_points(
            ax, at[picked], found.mean[picked], found.standard_error[picked], color=PALETTE[i], label=text
        )
        if name.startswith("l^"):
            q = np.asarray(wd.covariance_recursion(Q0, jnp.asarray(np.diff(at)), "relu", return_path=True))
            theory_line(ax, at, q[:, 2] / q[:, 0], color=PALETTE[i], linestyle="--", lw=1.2)
    ax.set(xlabel=r"clock $\tau=\sum_l\alpha_l^2$", ylabel="correlation $c$")
    ax.legend(loc="upper left")
    return figure


def powers_of_the_depth(data, cfg):
    r"""Growth of the variance over all layers for branch scales $L^{-b}$.

    Random networks (points, 95 % bars) and infinite width (lines). Only $b=1/2$ has a limit other than 1 or
    infinity.
    """
    runs = data["powers"]
    figure, ax = new_figure(width=6.2, height=4.2)
    L = runs.L.values.astype(float)
    for i, b in enumerate(runs.b.values):
        found = stats.mean_and_error(runs.aa.sel(b=b).values, axis=-1)
        theory_line(ax, L, (1 + 0.5 * L ** (-2 * b)) ** L, color=PALETTE[i])
        measured_points(ax, L, found.mean, found.standard_error, color=PALETTE[i], label=f"b = {b:g}")
    ax.set(xscale="log", yscale="log", xlabel="depth $L$", ylabel="$q_L(a,a)/q_0(a,a)$")
    _powers_of_two(ax.xaxis, L)
    ax.legend(loc="upper left")
    return figure


def shaped_correlations(data, cfg):
    r"""Correlation of two inputs after shaped networks without skips, over networks.

    Networks of width 100 (bars) and paths of the stochastic differential equation of the limit at fixed
    depth over width (line): the limit is random, so width and depth do not commute.
    """
    runs = data["shaped"]
    figure, axes = new_figure(1, 2, width=10, height=3.9, sharex=True)
    bins = np.linspace(-1, 1, 41)
    for i, (ax, name) in enumerate(zip(axes, runs["shape"].values, strict=True)):
        one = runs.sel(shape=name)
        ax.hist(
            one.networks, bins=bins, density=True, color=PALETTE[i], alpha=0.35, label="networks, n = 100"
        )
        ax.hist(one.limit, bins=bins, density=True, histtype="step", color=GREY, lw=1.5, label="limit")
        ax.set(xlabel=r"correlation $\rho_T$", title=str(name))
        ax.legend(loc="upper left")
    axes[0].set_ylabel("density")
    return figure


def long_times(data, cfg):
    r"""Distance from parallel after long depth-times: the universal flow of all homogeneous activations.

    $1-c$ for three initial correlations (lines), its asymptote $18\pi^2/s^2$ (dashed), and random ReLU
    networks of 512 layers from $c_0=0.2$ (points, 95 % bars).
    """
    runs = data["long_times"]
    figure, ax = new_figure(width=6.2, height=4.2)
    s = np.geomspace(0.1, 1e4, 200)
    for i, c in enumerate((-0.9, CORRELATION, 0.8)):
        theory_line(ax, s, 1 - np.asarray(wd.correlation_flow(c, s)), color=PALETTE[i], label=f"$c_0={c:g}$")
    far = s > 60
    theory_line(ax, s[far], 18 * np.pi**2 / s[far] ** 2, color=GREY, linestyle="--", label=r"$18\pi^2/s^2$")
    c = (runs.ab / np.sqrt(runs.aa * runs.bb)).transpose("tau", "network").values
    found = stats.mean_and_error(1 - c, axis=1)
    measured_points(ax, runs.tau, found.mean, found.standard_error, color=PALETTE[1], label="networks")
    ax.set(xscale="log", yscale="log", xlabel=r"time $s=(1-k)^2\tau$", ylabel="$1-c_s$")
    ax.legend(loc="lower left")
    return figure


def digits(data, cfg):
    r"""Real digits: Gram matrices, scores and accuracies of finite and infinite residual networks.

    Left: relative distance of the Gram matrix of 50 digits from its limit, 95 % bars, and the line through
    it of slope $-1/2$. Middle: score of the right class of the three most doubtful digits, by regression with
    the kernel of a random network: mean and the range of two standard deviations; dashed the infinite
    network. Right: test accuracy of kernels of infinite width against depth, 95 % bars.
    """
    figure, axes = new_figure(1, 3, width=12.5, height=4.0)
    n = np.array(cfg.digit_widths, float)
    found = stats.mean_and_error(data["digit_grams"].value.values, axis=-1)
    theory_line(axes[0], n, found.mean[-1] * np.sqrt(n[-1] / n), color=GREY, label=r"$\propto n^{-1/2}$")
    measured_points(axes[0], n, found.mean, found.standard_error, color=PALETTE[0], label="50 digits, L = 64")
    axes[0].set(xscale="log", yscale="log", xlabel="width $n$", ylabel="relative Frobenius distance")

    runs = data["digit_bands"]
    label = runs.label.values
    limit = runs.limit.values
    at = np.arange(len(label))
    ranked = np.sort(limit, axis=1)
    doubtful = np.argsort(ranked[:, -1] - ranked[:, -2])[:3]
    scores = runs.value.transpose("n", "replica", "digit", "class").values[:, :, at, label]
    for i, digit in enumerate(doubtful):
        mean, sd = scores[:, :, digit].mean(1), scores[:, :, digit].std(1, ddof=1)
        shift = 1.06 ** (i - 1)
        axes[1].errorbar(
            n * shift, mean, 2 * sd, fmt="o", color=PALETTE[i], label=f"a {label[digit]} (no. {digit})"
        )
        axes[1].axhline(limit[digit, label[digit]], color=PALETTE[i], ls="--", lw=1)
    axes[1].set(xscale="log", xlabel="width $n$", ylabel="score of the right class, L = 16")

    runs = data["digit_accuracy"]
    names = {"nngp": "residual, NNGP", "ntk": "residual, tangent kernel", "no_skips": "no skips, NNGP"}
    for i, (name, text) in enumerate(names.items()):
        right = runs[name].values
        interval = stats.proportion(right.sum(1), right.shape[1])
        mean, place = right.mean(1), np.arange(len(right)) + 0.12 * (i - 1)
        bars = np.array([mean - interval.low, interval.high - mean])
        axes[2].errorbar(place, mean, bars, fmt="o", color=PALETTE[i], label=text)
    axes[2].set_xticks(range(4), labels=["10", "100", "1000", "∞"])
    axes[2].set(xlabel="depth $L$", ylabel="accuracy, 797 test digits")
    for ax in axes:
        ax.legend(loc="best")
    for ax in axes[:2]:
        _powers_of_two(ax.xaxis, n)
    return figure


FIGURES = (
    growth_in_any_order,
    error_of_the_limit,
    correlation_paths,
    log_norms,
    one_neuron,
    schedule_clock,
    powers_of_the_depth,
    shaped_correlations,
    long_times,
    digits,
)
