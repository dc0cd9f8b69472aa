"""The figures of the sim on real plus synthetic data: theory as lines, measurement as markers with 95 % bars.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from theorysim import rmt_synthetic as rmt
from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.lab.runs import mean_over

__all__ = ["FIGURES"]

GREY = PALETTE[-1]


def _log_axis(ax, ticks):
    """A logarithmic horizontal axis with plain numbers at a few ticks."""
    ax.set_xscale("log")
    ax.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


def phase_transition(data, cfg):
    r"""Training on pruned synthetic data alone: accuracy against label noise.

    For p/m from 1 to 0.001 ($p$ fixed, $\mu=1$, $\rho=0.3$, $\phi=0.8$, $\gamma=1$): limit (lines) and
    random training sets (points, 95 % bars). All curves cross at $(\varepsilon^*, 1/2)$, where a right
    label is kept as often as a wrong one; beyond, the classifier learns the opposite of the truth.
    """
    runs = data["transition"]
    figure, ax = new_figure(width=6.6, height=4.4)
    eps = np.linspace(0, 1, 301)
    law = {"mu": 1.0, "rho": 0.3, "phi": 0.8, "gamma": 1.0}
    for i, aspect in enumerate(runs.aspect.values):
        exact = rmt.test_accuracy(*rmt.fully_synthetic_moments(aspect, eps=eps, **law))
        theory_line(ax, eps, exact, color=PALETTE[i])
        one = runs.sel(aspect=aspect)
        measured_points(ax, one.eps, one["mean"], one.error, color=PALETTE[i], label=f"{aspect:g}")
    star = rmt.critical_noise(0.3, 0.8).item()
    ax.axvline(star, color=GREY, lw=0.8, ls=":")
    ax.axhline(0.5, color=GREY, lw=0.8, ls=":")
    ax.text(star + 0.015, 0.8, r"$\varepsilon^* = \phi/(\phi+\rho)$", fontsize=10)
    ax.set(xlabel=r"label noise $\varepsilon$", ylabel="test accuracy", ylim=(0.1, 0.9))
    ax.legend(title=f"p/m (p = {cfg.dim})", loc="lower left")
    return figure


def transition_collapse(data, cfg):
    r"""The same curves against the distance $u$ from the critical noise, in widths of the transition.

    As $p/m\to 0$ all collapse on $\Phi(\mu u/\sqrt{1+u^2})$ (line).
    """
    runs = data["transition"]
    figure, ax = new_figure(width=6.2, height=4.2)
    law = {"mu": 1.0, "rho": 0.3, "phi": 0.8, "gamma": 1.0}
    u = np.linspace(-6, 6, 301)
    theory_line(ax, u, rmt.transition_profile(u, 1.0), color=GREY, label=r"limit $p/m \to 0$")
    for i, aspect in enumerate(runs.aspect.values):
        one = runs.sel(aspect=aspect)
        at = np.asarray(rmt.transition_coordinate(one.eps.values, aspect, **law))
        near = np.abs(at) < 6
        label = f"p/m = {aspect:g}"
        measured_points(ax, at[near], one["mean"][near], one.error[near], color=PALETTE[i], label=label)
    ax.set(xlabel="distance from the critical noise $u$", ylabel="test accuracy")
    ax.legend(loc="upper left")
    return figure


def proportion(data, cfg):
    r"""Adding synthetic data to n real samples, at three dimensions.

    Labels are as noisy as those of a classifier trained on $m$ clean synthetic samples ($\hat n=n$,
    $\mu=0.7$, $\gamma=1$). An oracle ($\rho=0$, $\phi=1$) makes every sample welcome; with a weak
    verifier ($\rho=1$, $\phi=0.5$) accuracy falls, and turns up only because the sample grows: with $n+m$
    fixed it keeps falling (dashed). Limit (lines) and random training sets (points, 95 % bars).
    """
    runs = data["proportion"]
    figure, axes = new_figure(1, len(runs.ratio), width=11, height=4.0, squeeze=False)
    share = np.linspace(0.001, 0.95, 120)
    n = cfg.real
    for ax, ratio in zip(axes[0], runs.ratio.values, strict=True):
        p = round(ratio * n)
        own = rmt.estimated_generator_moments(
            0, n, n * share / (1 - share), p, 0.7, False, 0.0, 1.0, 1.0, 1.0
        )
        eps = 1 - np.asarray(rmt.test_accuracy(*own))
        for i, (name, rho, phi, fixed) in enumerate(
            (("oracle", 0.0, 1.0, False), ("weak", 1.0, 0.5, False), ("weak, n + m fixed", 1.0, 0.5, True))
        ):
            sizes = (n * (1 - share), n * share) if fixed else (n, n * share / (1 - share))
            exact = rmt.estimated_generator_moments(sizes[0], n, sizes[1], p, 0.7, False, eps, rho, phi, 1.0)
            line = "--" if fixed else "-"
            theory_line(ax, share, rmt.test_accuracy(*exact), color=PALETTE[i], linestyle=line)
            if fixed:
                ax.plot([], [], ls="--", color=PALETTE[i], label=name)
                continue
            found = mean_over(runs.value.sel(verifier=name, ratio=ratio))
            measured_points(ax, runs.share, found.mean, found.standard_error, color=PALETTE[i], label=name)
        ax.set(title=f"p/n = {ratio:g}", xlabel="synthetic proportion $m/(n+m)$")
    axes[0][0].set_ylabel(f"test accuracy, n = {n}")
    axes[0][0].legend(loc="lower left")
    return figure


def fixed_point(data, cfg):
    r"""The scalars of the fixed point against p/n, for several amounts of synthetic data.

    $n=\hat n$, $\varepsilon=\rho=0.2$, $\phi=0.9$, $\gamma=1$: theory (lines) and traces of random
    resolvents (points, 95 % bars). Dotted: $\delta_s$ as in the released code, which puts the pruning
    mask at its mean.
    """
    runs, n = data["deltas"], cfg.real
    figure, axes = new_figure(1, 3, width=11, height=3.9)
    ratio = np.geomspace(0.01, 10, 121)
    law = {"eps": 0.2, "rho": 0.2, "phi": 0.9, "gamma": 1.0}
    names = {
        "delta_r": r"real $\delta_r$",
        "delta_s": r"synthetic $\delta_s$",
        "delta_g": r"generator $\delta_g$",
    }
    for i, m in enumerate(runs.m.values):
        exact = rmt.estimated_generator_fixed_point(n, n, m, ratio * n, **law)
        label = f"m = {m / n:g} n"
        for ax, name in zip(axes, names, strict=True):
            theory_line(ax, ratio, getattr(exact, name), color=PALETTE[i])
            found = mean_over(runs[name].sel(m=m))
            measured_points(ax, runs.p / n, found.mean, found.standard_error, color=PALETTE[i], label=label)
            ax.set(xscale="log", yscale="log", xlabel="dimensions per real sample $p/n$", title=names[name])
    axes[0].legend(loc="upper left")
    return figure


def spectrum(data, cfg):
    """The law of Marchenko and Pastur: eigenvalues of a sample covariance of pure noise.

    Density (line) and one sample (bars) for p dimensions per sample; for more dimensions than samples the
    share of zero eigenvalues is given in words. The generator's covariance is such a matrix.
    """
    runs = data["spectrum"]
    figure, axes = new_figure(1, len(runs.ratio), width=11, height=3.2)
    for ax, ratio in zip(axes, runs.ratio.values, strict=True):
        values = runs.value.sel(ratio=ratio).values
        low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
        positive = values[values > 1e-9]
        edges = np.linspace(low * 0.98, high * 1.02, 31)
        weight = np.full(positive.size, 1 / (values.size * (edges[1] - edges[0])))
        ax.hist(positive, edges, weights=weight, color=PALETTE[4], alpha=0.6, label=f"p = {values.size}")
        x = low + (high - low) * (1 - np.cos(np.linspace(0.02, np.pi - 1e-3, 400))) / 2
        theory_line(ax, x, rmt.marchenko_pastur_density(x, ratio), color=PALETTE[0], label="density")
        ax.set(title=rf"$p/\hat n$ = {ratio:g}", xlabel="eigenvalue", ylim=(0, None))
        if ratio == 1:
            ax.set_ylim(0, 2)
        if ratio > 1:
            ax.text(0.97, 0.6, f"{1 - 1 / ratio:.0%} of them\nare 0", transform=ax.transAxes, ha="right")
    axes[0].set_ylabel("density")
    axes[0].legend(loc="upper right", fontsize=8)
    return figure


def score_histogram(data, cfg):
    r"""The score $w'x$ on test points of class +1: predicted normal law (lines), many training sets (bars).

    Generators that keep a share $\beta$ of the class mean and point elsewhere with length 1; $\mu=1.5$,
    $\rho=0.1$, $\phi=0.8$, $\gamma=1$. Above: generator covariance 0.49 I, below: a Wishart sample of
    that mean.
    """
    runs = data["scores"]
    figure, axes = new_figure(2, 3, width=11, height=6, sharex=True, sharey=True)
    betas = np.unique(runs.beta.values)
    for row, cov in zip(axes, runs["cov"].values, strict=True):
        for ax, beta in zip(row, betas, strict=True):
            for i, point in enumerate(np.flatnonzero(runs.beta.values == beta)):
                one = runs.sel(cov=cov).isel(point=point)
                sd = float(one.var_exact) ** 0.5
                scores, eps = one.score.values, float(one.eps)
                ax.hist(scores, 60, density=True, color=PALETTE[i], alpha=0.3)
                x = float(one.mean_exact) + sd * np.linspace(-4, 4, 161)
                density = np.exp(-(((x - float(one.mean_exact)) / sd) ** 2) / 2) / (sd * np.sqrt(2 * np.pi))
                theory_line(ax, x, density, color=PALETTE[i], label=rf"$\varepsilon$ = {eps:g}")
            ax.axvline(0, color=GREY, lw=0.8, ls=":")
            ax.set_title(rf"$\beta$ = {beta:g}, $C_s$: {cov}")
        row[0].set_ylabel("density")
    for ax in axes[-1]:
        ax.set_xlabel("score $w'x$ of class +1 (right if positive)")
    axes[0][0].legend(loc="upper left")
    return figure


def finite_size(data, cfg):
    r"""How fast random training sets approach the limit.

    Left: bias of the mean accuracy (points, 95 % bars) and a line $\propto 1/p$. Right: spread between
    training sets, and a line $\propto p^{-1/2}$.
    """
    runs = data["finite_size"]
    figure, (left, right) = new_figure(1, 2, width=9.6, height=4)
    p = runs.p.values
    for i, setting in enumerate(runs.setting.values):
        one = runs.sel(setting=setting)
        bias = np.abs(one["mean"] - one.exact)
        measured_points(left, p, bias, one.error, color=PALETTE[i], label=str(setting))
        constant = float((bias * p / one.error**2 / p**2).sum() / (1 / one.error**2 / p**2).sum())
        theory_line(left, p, constant / p, color=PALETTE[i], label=f"{constant:.3f} / p")
        measured_points(right, p, one.sd, one.sd_error, color=PALETTE[i], label=str(setting))
        size = float((one.sd * np.sqrt(p)).mean())
        theory_line(right, p, size / np.sqrt(p), color=PALETTE[i], label=rf"{size:.3f} / $\sqrt{{p}}$")
    left.set(ylabel="bias of the accuracy")
    right.set(ylabel="standard deviation of the accuracy")
    for ax in (left, right):
        ax.set(yscale="log", xlabel="dimension $p$")
        _log_axis(ax, p)
        ax.legend()
    return figure


def peak(data, cfg):
    r"""Synthetic data alone, almost no ridge: accuracy is lowest with as many KEPT samples as dimensions.

    $\gamma=10^{-4}$, half of the samples kept: limit (line), random training sets (points, 95 % bars;
    grey: 90 % of training sets) and the released formula (dashed), which gives a negative variance,
    and so no number, for fewer samples. Nothing happens where ALL samples are as many as dimensions.
    """
    runs = data["peak"]
    figure, ax = new_figure(width=6.8, height=4.3)
    per_dim = np.geomspace(0.5, 6, 400)
    law = {"mu": 1.5, "beta": 1.0, "perp": 0.0, "eps": 0.2, "rho": 0.3, "phi": 0.55, "gamma": 1e-4}
    lines: tuple[tuple[rmt.Variant, str, str, str], ...] = (
        ("exact", PALETTE[0], "-", "theory"),
        ("released", PALETTE[1], "--", "released formula"),
    )
    for variant, color, line, label in lines:
        moments = rmt.isotropic_moments(0, per_dim, 1.0, sigma2=1.0, **law, variant=variant)
        theory_line(ax, per_dim, rmt.test_accuracy(*moments), color=color, linestyle=line, label=label)
    ax.fill_between(
        runs.per_dim, runs.low, runs.high, color=GREY, alpha=0.15, lw=0, label="90 % of training sets"
    )
    measured_points(
        ax, runs.per_dim, runs["mean"], runs.error, color=PALETTE[0], label=f"sampled, p = {cfg.dim}"
    )
    ax.axvline(2, color=GREY, lw=0.8, ls=":")
    ax.axvline(1, color=GREY, lw=0.8, ls=":")
    ax.text(2.05, 0.97, "kept = p", transform=ax.get_xaxis_transform(), fontsize=9, va="top")
    ax.text(1.03, 0.97, "all = p", transform=ax.get_xaxis_transform(), fontsize=9, va="top")
    ax.set(xlabel="synthetic samples per dimension $m/p$", ylabel="test accuracy")
    _log_axis(ax, (0.5, 1, 2, 3, 4, 6))
    ax.legend(loc="lower right")
    return figure


def released(data, cfg):
    """The released formulas against random training sets, at the points where they differ most.

    Sampled accuracy (points, 95 % bars) less the corrected limit. Where the released formula is missing its
    variance is negative.
    """
    runs = data["released"]
    figure, ax = new_figure(width=7.4, height=4.2)
    at = np.arange(runs.sizes["point"])
    measured_points(
        ax,
        at - 0.08,
        runs["mean"] - runs.exact,
        runs.error,
        color=PALETTE[0],
        label=f"sampled, p = {cfg.dim}",
    )
    difference = (runs.released - runs.exact).values
    ax.plot(at + 0.08, difference, "X", color=PALETTE[1], ms=9, label="released formula")
    for x, value in zip(at, difference, strict=True):
        if np.isnan(value):
            ax.text(x + 0.08, 0.002, "NaN", color=PALETTE[1], ha="center", va="bottom", fontsize=9.5)
    ax.axhline(0, color="black", lw=1, label="corrected theory")
    names = [
        f"n = {n:.0f}, m = {m:.0f}\n"
        f"$\\varepsilon$ = {e:g}, $\\rho$ = {r:g},\n$\\phi$ = {f:g}, $\\gamma$ = {g:g}"
        for n, m, e, r, f, g in zip(runs.n, runs.m, runs.eps, runs.rho, runs.phi, runs.gamma, strict=True)
    ]
    ax.set_xticks(at, labels=names, fontsize=8.5)
    ax.set(ylabel="accuracy, less corrected theory", xlim=(-0.5, at[-1] + 0.5))
    ax.legend(loc="best")
    return figure


def exchange_map(data, cfg):
    r"""Worth of a synthetic sample in real ones, at its best weight.

    Left: $\lambda^2/\alpha$ over the verifier's keep rates, at 20 % label noise; white: where the first
    sample of unit weight begins to hurt. Right: accuracy of the averaging classifier sampled (points, 95
    % bars) and that of $n_\mathrm{eff}$ clean samples (lines).
    """
    runs = data["exchange"]
    figure, (left, right) = new_figure(1, 2, width=10, height=4.2)
    grid = np.linspace(0.005, 1, 200)
    rate = np.asarray(rmt.exchange_rate(0.2, grid[:, None], grid))
    shown = left.contourf(grid, grid, rate, levels=np.linspace(0, 0.8, 17), cmap="cividis")
    figure.colorbar(shown, ax=left, label="real samples per synthetic sample")
    # eps = 1/(1 + 3 rho/phi) at eps = 0.2
    left.plot(grid, grid * (1 / 0.2 - 1) / 3, color="white", lw=1.5, ls="--")
    left.set(xlabel=r"right labels kept $\phi$", ylabel=r"wrong labels kept $\rho$", ylim=(0, 1), xlim=(0, 1))
    rho = np.linspace(0, 0.8, 81)
    for i, eps in enumerate(runs.eps.values):
        n, m = 2.0 * cfg.dim, 5.0 * cfg.dim
        size = rmt.effective_sample_size(n, m, np.inf, eps, rho, 0.9)
        exact = rmt.averaging_accuracy(size, 0, cfg.dim, 1.2, 1, 0, 1, 0, 0, 0)
        theory_line(right, rho, exact, color=PALETTE[i])
        one = runs.sel(eps=eps)
        measured_points(
            right, one.rho, one["mean"], one.error, color=PALETTE[i], label=rf"$\varepsilon$ = {eps:g}"
        )
    clean = rmt.averaging_accuracy(2 * cfg.dim, 0, cfg.dim, 1.2, 1, 0, 1, 0, 0, 0)
    right.axhline(float(clean), color=GREY, ls=":", label="real data alone")
    right.set(xlabel=r"wrong labels kept $\rho$ ($\phi$ = 0.9)", ylabel="accuracy, n = 2p, m = 5p")
    right.legend(loc="lower left")
    return figure


def weighting(data, cfg):
    r"""Weight and ridge chosen by theory, with a generator that misses the mean ($\beta=0.8$, 0.6 sideways).

    Left: accuracy against label noise; limit (lines) and random training sets (points, 95 % bars). At
    unit weight many bad samples outvote the real ones; at the best weight they never do. Right: that best
    weight.
    """
    runs = data["weighting"]
    figure, (left, right) = new_figure(1, 2, width=10, height=4.1)
    for i, way in enumerate(runs.way.values):
        one = runs.sel(way=way)
        theory_line(left, one.eps, one.exact, color=PALETTE[i])
        measured_points(left, one.eps, one["mean"], one.error, color=PALETTE[i], label=str(way))
        if i in (1, 2):
            theory_line(right, one.eps, one.weight, color=PALETTE[i], label=str(way), marker="o", ms=4)
    left.set(xlabel=r"label noise $\varepsilon$", ylabel="test accuracy (p = 50, n = 100, m = 400)")
    left.legend(loc="lower left")
    right.set(
        xlabel=r"label noise $\varepsilon$", ylabel=r"weight $\omega$ of a synthetic sample", ylim=(0, None)
    )
    right.legend()
    return figure


def reuse(data, cfg):
    r"""Where the generator gets its knowledge from.

    Left: a generator fitted to the training data itself adds nothing: accuracy tends to that of the real
    data alone at the ridge $\gamma/\alpha$ (dotted); one fitted to as many other data helps. Right:
    accuracy against the samples behind the covariance, with no synthetic data dotted; the worst generator
    is not the one that knows least. Limit (lines), random training sets (points, 95 % bars).
    """
    figure, (left, right) = new_figure(1, 2, width=10, height=4.1)
    runs = data["own_generator"]
    m = np.geomspace(10, 3000, 200)
    curves = {
        "training data": rmt.reused_generator_moments(75, m, 50, 1.2, 0.1, 0.3, 0.9, 0.1),
        "other data": rmt.estimated_generator_moments(75, 75, m, 50, 1.2, True, 0.1, 0.3, 0.9, 0.1),
    }
    for i, source in enumerate(runs.source.values):
        theory_line(left, m, rmt.test_accuracy(*curves[str(source)]), color=PALETTE[i])
        found = mean_over(runs.value.sel(source=source))
        measured_points(
            left, runs.m, found.mean, found.standard_error, color=PALETTE[i], label=f"fitted to {source}"
        )
    kept = 0.9 * 0.9 + 0.3 * 0.1
    alone = rmt.isotropic_moments(75, 0, 50, 1.2, 1, 0, 1, 0, 0, 1, 0.1 / kept)
    left.axhline(
        float(rmt.test_accuracy(*alone)), color=GREY, ls=":", label=r"real data alone at $\gamma/\alpha$"
    )
    left.set(xscale="log", xlabel="synthetic samples $m$", ylabel="test accuracy (p = 50, n = 75)")
    left.legend(loc="best")
    runs = data["generator_quality"]
    p, n = runs.attrs["dim"], cfg.real
    n_hat = np.geomspace(p / 5, 20 * p, 200)
    exact = rmt.estimated_generator_moments(n, n_hat, 5 * n, p, 1.0, False, 0.1, 0.0, 1.0, 0.1)
    theory_line(right, n_hat / p, rmt.test_accuracy(*exact), color=PALETTE[0])
    found = mean_over(runs.value)
    measured_points(
        right, runs.n_hat / p, found.mean, found.standard_error, color=PALETTE[0], label="with synthetic data"
    )
    right.axhline(float(runs.alone), color=GREY, ls=":", label="real data alone")
    right.set(xscale="log", xlabel=r"samples behind the covariance $\hat n/p$")
    right.set_ylabel(f"test accuracy (p = {p}, n = {n}, m = {5 * n})")
    right.legend(loc="best")
    return figure


def bands(data, cfg):
    """One training set is not the mean: the same real samples with and without their synthetic part.

    Left: mean accuracy (points, 95 % bars), limit (line) and 90 % of the training sets (shaded). Right:
    share of training sets for which the synthetic part lowers the accuracy.
    """
    runs = data["bands"].transpose("m", "replica")
    figure, (left, right) = new_figure(1, 2, width=10, height=4.1)
    m = np.geomspace(50, 800, 100)
    law: dict[str, Any] = {
        "beta": 1.0,
        "perp": 0.0,
        "sigma2": 1.0,
        "mu": 1.5,
        "eps": 0.3,
        "rho": 0.5,
        "phi": 0.9,
        "gamma": 0.1,
    }
    exact = rmt.test_accuracy(*rmt.isotropic_moments(100, m, 50, **law))
    theory_line(left, m, exact, color=PALETTE[0])
    left.axhline(float(runs.alone_exact), color=PALETTE[1])
    for i, name in enumerate(("both", "alone")):
        found = mean_over(runs[name])
        low, high = np.quantile(runs[name].values, [0.05, 0.95], axis=1)
        left.fill_between(runs.m, low, high, color=PALETTE[i], alpha=0.15, lw=0)
        label = "real + synthetic" if name == "both" else "real alone"
        measured_points(left, runs.m, found.mean, found.standard_error, color=PALETTE[i], label=label)
    left.set(xlabel="synthetic samples $m$", ylabel="test accuracy (p = 50, n = 100)")
    left.legend(loc="upper left")
    hurts = (runs.both < runs.alone).values
    share = hurts.mean(1)
    error = np.sqrt(np.maximum(share * (1 - share), 1 / hurts.shape[1]) / hurts.shape[1])
    measured_points(right, runs.m, share, error, color=PALETTE[3])
    right.set(xlabel="synthetic samples $m$", ylabel="share of training sets it hurts", ylim=(0, 1))
    for ax in (left, right):
        _log_axis(ax, runs.m.values)
    return figure


def real_features(data, cfg):
    r"""Real features: accuracy against the amount of synthetic data, for verifiers that are blind to them.

    The generator is a Gaussian fitted to the n training samples. Measured on all other samples (points,
    95 % bars over splits) and predicted from the training and test samples, averaged over the same splits
    (lines). Above: 20 % of the labels wrong, below: 40 %.
    """
    runs = data["real_features"]
    tasks = runs.task.values
    figure, axes = new_figure(
        2, len(tasks), width=max(7, 4 * len(tasks)), height=6.6, sharex=True, squeeze=False
    )
    for row, eps in zip(axes, runs.eps.values, strict=True):
        for ax, task in zip(row, tasks, strict=True):
            for i, verifier in enumerate(runs.verifier.values[::-1]):
                one = runs.sel(task=task, eps=eps, verifier=verifier).dropna("factor", how="all")
                one = one.dropna("replica", how="all")
                theory_line(ax, one.factor, one.predicted.mean("replica"), color=PALETTE[i])
                found = mean_over(one.measured)
                measured_points(
                    ax, one.factor, found.mean, found.standard_error, color=PALETTE[i], label=str(verifier)
                )
            ax.set(xscale="log", title=str(task) if eps == runs.eps.values[0] else "")
        row[0].set_ylabel(rf"test accuracy, $\varepsilon$ = {eps:g}")
    for ax in axes[-1]:
        ax.set_xlabel("synthetic per real sample $m/n$")
    axes[0][0].legend(title="verifier", loc="lower left")
    return figure


def verifiers(data, cfg):
    r"""Verifiers that look at the features.

    Left: Gaussian data, a linear verifier against its cosine with the class mean; theory of truncated
    moments (lines) and random training sets (points, 95 % bars). Right: real features, a verifier trained
    on few or many clean samples; measured (points), and predicted as if it decided blindly at its
    measured rates (lines).
    """
    runs = data["verifiers"]
    figure, (left, right) = new_figure(1, 2, width=10.4, height=4.3)
    for i, eps in enumerate(runs.eps.values):
        one = runs.sel(eps=eps)
        theory_line(left, one.overlap, one.exact, color=PALETTE[i])
        found = mean_over(one.value)
        measured_points(
            left,
            one.overlap,
            found.mean,
            found.standard_error,
            color=PALETTE[i],
            label=rf"$\varepsilon$ = {eps:g}",
        )
    left.set(xlabel=r"$\cos(r, \mu)$ of the verifier", ylabel="test accuracy (p = 50, n = 25, m = 150)")
    left.legend(loc="upper left")
    runs = data["trained_verifiers"]
    for j, task in enumerate(runs.task.values):
        for i, eps in enumerate(runs.eps.values):
            one = runs.sel(task=task, eps=eps).dropna("replica", how="all")
            found, color = mean_over(one.measured), PALETTE[2 * j + i]
            label = rf"{task}, $\varepsilon$ = {eps:g}"
            theory_line(right, one.seen, one.predicted.mean("replica"), color=color)
            measured_points(right, one.seen, found.mean, found.standard_error, color=color, label=label)
    right.set(xscale="log", xlabel="clean samples that the verifier has seen", ylabel="test accuracy")
    right.legend(loc="best", fontsize=8.5)
    return figure


def network(data, cfg):
    r"""A ReLU network of width 64, trained on pruned synthetic data of growing label noise.

    $p=50$, $m=1000$, $\mu=1.5$, $\rho=0.3$, $\phi=0.8$. Mean over networks (points, 95 % bars) and each
    network (grey). At $\varepsilon^*$ kept labels are fair coins: any learner without a preference between
    the classes has the mean accuracy 1/2 there. Line: ridge regression ($\gamma=1$) in the limit.
    """
    runs = data["network"].transpose("eps", "replica")
    figure, ax = new_figure(width=6.4, height=4.3)
    eps = np.linspace(0, 1, 201)
    moments = rmt.fully_synthetic_moments(0.05, 1.5, eps, 0.3, 0.8, 1.0)
    theory_line(ax, eps, rmt.test_accuracy(*moments), color=PALETTE[0], label="ridge regression, theory")
    for column in runs.accuracy.values.T:
        ax.plot(runs.eps, column, ".", color="#c9ced6", ms=4, zorder=1)
    found = mean_over(runs.accuracy)
    label = f"ReLU network, {cfg.network_seeds} seeds"
    measured_points(ax, runs.eps, found.mean, found.standard_error, color=PALETTE[1], label=label)
    star = rmt.critical_noise(0.3, 0.8).item()
    ax.plot([star], [0.5], "k+", ms=14, label=r"$(\varepsilon^*, 1/2)$")
    ax.set(xlabel=r"label noise $\varepsilon$", ylabel="test accuracy", ylim=(0, 1))
    ax.legend(loc="lower left")
    return figure


def early_stopping(data, cfg):
    """A linear network trained by gradient descent on real plus synthetic data, p = 30.

    Left: accuracy after some steps, for each of the data sets: trained (points) and the exact filter of
    the eigenvalues (lines), with ridge regression dashed; stopping early can be better. Right: distance
    to the ridge classifier, and the bound by its slowest mode (dashed).
    """
    runs = data["descent"].transpose("step", "replica")
    figure, (left, right) = new_figure(1, 2, width=9.8, height=4.1)
    for i in range(min(4, runs.sizes["replica"])):
        one, color = runs.isel(replica=i), PALETTE[i]
        theory_line(left, one.step[1:], one["filter"][1:], color=color)
        left.plot(one.step[1::4], one.trained[1::4], "o", color=color, ms=5, markeredgecolor="white")
        left.axhline(float(one.ridge), color=color, lw=0.9, ls="--")
        right.plot(one.step, one.distance, ".-", color=color, ms=3, lw=0.8)
        bound = float(one.distance[0]) * float(one.decay) ** one.step
        theory_line(right, one.step, bound, color=color, linestyle="--", lw=1)
    left.set(xlabel="steps of gradient descent", ylabel="test accuracy")
    _log_axis(left, (4, 10, 30, 100, 300))
    handles = [
        Line2D([], [], color=GREY, marker="o", ls="", label="trained"),
        Line2D([], [], color=GREY, label="exact filter"),
        Line2D([], [], color=GREY, ls="--", lw=0.9, label="ridge regression"),
    ]
    left.legend(handles=handles, loc="lower right")
    right.set(
        yscale="log",
        xlabel="steps of gradient descent",
        ylabel="distance to the ridge classifier $|w-w_\\infty|$",
    )
    return figure


# Safety of a language model in percent, 5000 real samples, as read off the paper's figure 8.
_RECORDED = {
    "share": [0, 0.58, 0.74, 0.81, 0.85, 0.88],
    "strong, 10 % noise": [66, 76, 87, 95, 98, 99],
    "weak, 10 % noise": [66, 70, 77, 82, 88, 93],
    "strong, 50 % noise": [66, 71, 75, 82, 88, 93],
    "weak, 50 % noise": [66, 64.5, 64.4, 65.4, 65.4, 63.4],
}


def recorded(data, cfg):
    """Recorded, not simulated: safety of a language model fine-tuned on real plus synthetic data.

    The paper's measurement (its figure 8), with verifiers that keep most or few of the bad samples: the
    order is that of the theory.
    """
    figure, ax = new_figure(width=6.2, height=4.0)
    for i, (name, values) in enumerate(_RECORDED.items()):
        if name != "share":
            ax.plot(_RECORDED["share"], values, "s--", color=PALETTE[i - 1], lw=1, label=name)
    ax.set(xlabel="synthetic proportion", ylabel="safety score (%), recorded")
    ax.legend(title="verifier")
    return figure


FIGURES = (
    phase_transition,
    transition_collapse,
    proportion,
    exchange_map,
    weighting,
    bands,
    reuse,
    peak,
    released,
    finite_size,
    score_histogram,
    fixed_point,
    spectrum,
    real_features,
    verifiers,
    network,
    early_stopping,
    recorded,
)
"""In the order of the report."""
