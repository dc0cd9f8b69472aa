"""The figures of the sim on two learning rates: theory as lines, measurement as markers with 95 % bars.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

import numpy as np

from theorysim import lora_plus
from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.numerics import stats

from ._lora_plus_claims import (
    engine_powers,
    gain_of_a_pair,
    inefficiency,
    log_losses,
    predicted_followed,
    predicted_powers,
    speed_of_pairs,
    stable_settings,
)
from ._lora_plus_config import EPS

__all__ = ["FIGURES"]

GREY = PALETTE[-1]
MISSING = "#d9dce2"


def power_of_two(n) -> str:
    """A width as $2^k$ where it is one."""
    k = np.log2(n)
    return f"$2^{{{k:.0f}}}$" if k == round(k) and n > 4096 else f"{n:,.0f}"


def edges(centres) -> np.ndarray:
    """Edges of cells whose centres are in geometric progression."""
    step = (centres[1] / centres[0]) ** 0.5
    return np.append(centres / step, centres[-1] * step)


def loss_over_rates(data, cfg):
    r"""Loss after 15 steps over pairs of rates at three widths, in units of the loss at the start.

    Exact dynamics: 16 correlated examples, 16 outputs, rank 2, a target of rank 1. In
    $(n\,\mathrm{lr}_A,\mathrm{lr}_B)$ the map is the same at every width (diverged: grey), and so are the
    best pairs (stars, found by gradient descent through the training from three starts): a valley along
    which the product is fixed. One rate for both is the white line. Dashed: the bound on the product that
    the end of training sets.
    """
    runs = data["linear_map"]
    bound = float(runs.end_bound)
    figure, axes = new_figure(1, 3, width=13.0, height=4.3, sharey=True)
    a, b = runs.a.values, runs.b.values
    for ax, n in zip(axes, runs.n.values, strict=True):
        z = np.log10(runs.loss.sel(n=n).transpose("b", "a").values)
        ax.set_facecolor(MISSING)
        shown = ax.pcolormesh(edges(a), edges(b), z, cmap="cividis", vmin=-2.5, vmax=0, rasterized=True)
        ax.plot(a, a / n, color="white", lw=2, label="one rate")
        ax.plot(a, bound**2 / a, color=PALETTE[5], ls="--", lw=1.6, label="end bound")
        best = runs.best.sel(n=n)
        ax.plot(
            best[:, 0], best[:, 1], "*", color=PALETTE[1], ms=14, mec="white", mew=0.8, label="best pairs"
        )
        ax.set(
            xscale="log",
            yscale="log",
            xlabel=r"$n\,\mathrm{lr}_A$",
            title=f"n = {n:,.0f}",
            xlim=(a[0], a[-1]),
            ylim=(b[0], b[-1]),
        )
        ax.grid(False)
    axes[0].set_ylabel(r"$\mathrm{lr}_B$")
    legend = axes[0].legend(loc="lower left", facecolor="#7b8496", framealpha=0.9)
    for text in legend.get_texts():
        text.set_color("white")
    figure.colorbar(shown, ax=axes, label="log₁₀ of loss / loss at the start", extend="min")
    return figure


def steps_to_one_percent(data, cfg):
    r"""Steps to a residual of 1 % against the width, with one rate and with two.

    Left: one example, output and rank, times the sharpness $D$ of the end: gradient descent (points) and
    gradient flow in closed form (lines), with its asymptote $\log(n)/2+\log(4/\epsilon)$ (dotted). Middle:
    the same for all divisions of one sharpness between the factors; one rate at width $n$ is the division
    $1/n$, and B alone is fastest (dashed). Right: how many times as fast two rates are: at equal sharpness
    (line), and with both sides at their own best rates (points, mean and 95 % over random starts; 16 examples
    and outputs, rank 4, a target of rank 1).
    """
    runs = data["law_of_steps"]
    figure, (left, middle, right) = new_figure(1, 3, width=14.5, height=4.2)
    n = runs.n.values
    fine = np.geomspace(n[0], n[-1], 100)
    rate = 1 / np.sqrt(1 + 4 * fine)
    one = lora_plus.time_to_fraction(EPS, 1.0, 0.0, 1.0, gain_a=rate * fine, gain_b=rate)
    two = float((runs.closed * runs.sharpness).sel(rates="two").isel(sharpness=0, n=0))
    theory_line(left, fine, one, color=PALETTE[0], label="one rate, closed form")
    theory_line(left, fine, np.full(100, two), color=PALETTE[1], label=r"$\mathrm{lr}_B=4n\,\mathrm{lr}_A$")
    theory_line(left, fine, np.log(fine) / 2 + np.log(4 / EPS), color=GREY, linestyle=":", label="asymptote")
    for marker, D in zip("os", runs.sharpness.values, strict=True):
        for color, name in zip(PALETTE[:2], runs.rates.values, strict=True):
            time = D * runs.steps.sel(sharpness=D, rates=name).values
            label = f"descent, D = {D:g}" if name == "one" else None
            left.plot(n, time, marker, color=color, mec="white", mew=0.6, ms=7, label=label)
    left.set(xscale="log", xlabel="width $n$", ylabel="$D$ · steps to a residual of 1 %", ylim=(0, 28))
    left.legend(loc="upper left", fontsize=8.5)
    splits = data["splits"]
    theory_line(middle, splits.split, splits.time, color=PALETTE[2], label="gradient flow")
    middle.axhline(float(splits.time_of_b_alone), color=GREY, ls="--", lw=1.2, label="B alone")
    exact = np.interp(-np.log(n), np.log(splits.split), splits.time)
    middle.plot(1 / n, exact, "o", color=PALETTE[0], mec="white", label="one rate, the widths on the left")
    middle.plot(4, two, "o", color=PALETTE[1], mec="white", ms=7, label=r"$\mathrm{lr}_B=4n\,\mathrm{lr}_A$")
    middle.set(
        xscale="log",
        xlabel=r"$\mathrm{lr}_B/(n\,\mathrm{lr}_A)$",
        ylabel="$D$ · time to a residual of 1 %",
        ylim=(0, None),
    )
    middle.legend(loc="lower left")
    found = speed_of_pairs(data["best_of_each"], cfg.widths)
    theory_line(right, fine, np.asarray(one) / two, color=PALETTE[0], label="at equal sharpness")
    measured_points(right, n, found.value, found.error, color=PALETTE[2], label="each at its best rates")
    right.axhline(1, color=GREY, lw=0.8)
    right.set(xscale="log", xlabel="width $n$", ylabel="speed-up by two rates", ylim=(0.8, None))
    right.legend(loc="upper left")
    return figure


def powers_of_the_width(data, cfg):
    r"""By which powers of the width a training is inefficient.

    Left: exact dynamics, four steps at the single rate $n^c$; drawn is the power of the width by which the
    worst of factors and output (too large) and of the two changes of the output (too small) is off. Lines:
    the recursion of the powers, up to the largest stable rate; points: measured at widths up to
    $2^{30}$. The pair $(1/n,1)$ is off by nothing (star). Middle and right: toy networks trained by Adam
    (mean-field readout), five steps into training, geometric means with 95 % bars, and lines of the predicted
    power.
    """
    figure, axes = new_figure(1, 3, width=14.0, height=4.3)
    runs = data["powers"]
    found = engine_powers(runs)
    looks = {("adam", "a"): 0, ("adam", "b"): 1, ("sgd", "a"): 2, ("sgd", "b"): 3}
    names = {"adam": "Adam", "sgd": "descent", "a": "B = 0", "b": "A = 0"}
    for (optimizer, init), color in looks.items():
        i, j = list(runs.optimizer.values).index(optimizer), list(runs.init.values).index(init)
        at = stable_settings(runs, optimizer, init)
        if optimizer == "adam":
            # Beyond it the output grows, like a power that a few steps of Adam show.
            at = np.flatnonzero((runs.power_a == runs.power_b).values)
        c = runs.power_a.values[at]
        line = np.linspace(c.min(), c.max(), 301)
        theory_line(
            axes[0],
            line,
            inefficiency(predicted_powers(optimizer, init, line, line)),
            color=PALETTE[color],
            linestyle=(0, (4, 3)) if color == 1 else "-",
            label=f"{names[optimizer]}, {names[init]}",
        )
        measured_points(axes[0], c, inefficiency(found.value[i, j, at]), 0.0, color=PALETTE[color])
    axes[0].plot(-0.45, 0, "*", color="black", ms=13, clip_on=False, zorder=4, label=r"rates $(1/n,1)$")
    axes[0].axhline(1 / 3, color=GREY, ls=":", lw=1.2)
    axes[0].set(
        xlabel="power $c$ of the single rate $n^c$", ylabel="power of $n$ that is off", ylim=(-0.05, None)
    )
    axes[0].legend(loc="upper right")
    toy = data["toy"].isel(readout=0, record=1)
    predicted = predicted_followed(str(toy.readout.values))
    n = toy.width.values.astype(float)
    quantities = (
        (axes[1], [("feature_rms", 0, "o", "-")], "RMS of the adapter's features $A h$"),
        (axes[2], [("delta1", 1, "o", "-"), ("delta2", 2, "s", "--")], "RMS change of the output in a step"),
    )
    labels = {"two rates": r"$(1/n,1)$", "one rate": r"one, $n^{-1/2}$", "one small rate": "one, $1/n$"}
    for ax, lines, ylabel in quantities:
        for color, (setting, label) in enumerate(labels.items()):
            for name, k, marker, style in lines:
                logs = np.log(toy[f"{name}_followed"].sel(setting=setting).transpose("seed", "width").values)
                mean, error = logs.mean(0), logs.std(0, ddof=1) / len(logs) ** 0.5
                text = label if len(lines) == 1 else f"{label}: {'AB'[k - 1]} moves"
                value = np.exp(mean)
                measured_points(
                    ax,
                    n * 1.03 ** (color - 1),
                    value,
                    value * error,
                    color=PALETTE[color],
                    label=text,
                    fmt=marker,
                )
                power = predicted[color, k]
                fit = np.exp(mean.mean() + power * (np.log(n) - np.log(n).mean()))
                theory_line(ax, n, fit, color=PALETTE[color], linestyle=style, lw=1.2)
        ax.set(xscale="log", yscale="log", xlabel="width $n$", ylabel=ylabel)
        ax.set_xticks(n, labels=[f"{v:.0f}" for v in n])
        ax.set_xticks([], minor=True)
        ax.legend(loc="upper left" if ax is axes[1] else "lower left", fontsize=8.5)
    axes[2].set_ylim(bottom=axes[2].get_ylim()[0] / 3)
    return figure


def equivalence(data, cfg):
    r"""Two rates (lines) and their twin with one rate and a larger start of A (markers): the same losses.

    Left: gradient descent with momentum 0.9, ratio 6, three random starts; A is larger by $6^{1/4}$. Right:
    toy networks trained by Adam at $\mathrm{lr}_B=(n/4)\mathrm{lr}_A$, one network per width; A is larger by
    $\sqrt{n/4}$.
    """
    figure, (left, right) = new_figure(1, 2, width=11.0, height=4.2)
    runs = data["twins"].loss
    for start in range(3):
        pair, twin = (runs.sel(setting=s).isel(start=start).values for s in ("two rates", "larger start"))
        t = np.arange(len(pair))
        theory_line(left, t, pair, color=PALETTE[start], label=f"two rates, start {start + 1}")
        left.plot(t[::4], twin[::4], "o", color=PALETTE[start], mec="white", mew=0.6)
    runs = data["toy"].loss_followed.isel(readout=0, seed=0)
    for i, n in enumerate(runs.width.values):
        pair, twin = (runs.sel(width=n, setting=s).values for s in ("two rates", "larger start"))
        color = PALETTE[i % len(PALETTE)]
        theory_line(right, runs.record, pair, color=color, label=f"two rates, n = {n:,}")
        right.plot(runs.record, twin, "o", color=color, mec="white", mew=0.6)
    for ax in (left, right):
        ax.plot([], [], "o", color=GREY, mec="white", label="one rate, larger A")
        ax.set(yscale="log", xlabel="step", ylabel="training loss")
        ax.legend(loc="best")
    return figure


def sharpness_in_training(data, cfg):
    r"""Sharpness along the training, and the bound on that of every fit.

    Exact dynamics at $n=2^{16}$, six examples, four outputs, rank 6, one random start per line, at half the
    largest $\sqrt{\mathrm{lr}_A\mathrm{lr}_B}$. Left: orthogonal examples; a small start ends on the bound
    (dashed) with one rate and with two, a start of size 1 with two rates ends above. Right: correlated
    examples, for which the bound is not attained. Dotted: 2, above which gradient descent does not settle.
    Vermilion: rates 10 % beyond the largest, where every fit of orthogonal examples is above 2.2.
    """
    runs = data["curvature"].isel(start=0)
    figure, axes = new_figure(1, 2, width=11.0, height=4.4, sharey=True)
    looks = (
        ("one", 0.01, PALETTE[0], "-", "one rate, small start"),
        ("two", 0.01, PALETTE[2], "-", "two rates, small start"),
        ("one", 1.0, PALETTE[4], "-", "one rate, start of size 1"),
        ("two", 1.0, PALETTE[3], "-", "two rates, start of size 1"),
        ("two, too large", 0.01, PALETTE[1], "-", "two rates, product too large"),
    )
    for ax, features in zip(axes, runs.features.values, strict=True):
        for rates, size, color, style, label in looks:
            run = runs.sel(features=features, rates=rates, size=size)
            theory_line(ax, run.step, run.sharpness, color=color, linestyle=style, label=label)
        least = float(runs.least.sel(features=features, rates="one", size=1.0))
        ax.axhline(least, color=GREY, ls="--", lw=1.4, label="bound on every fit")
        ax.axhline(2, color="black", ls=":", lw=1.4, label="stable below 2")
        ax.set(xlabel="step", title=f"{features} examples", ylim=(0, 3.5), xlim=(0, 120))
    axes[0].set_ylabel("sharpness")
    axes[1].legend(loc="upper right", fontsize=8.5)
    return figure


def toy_map(data, cfg):
    r"""Training loss of toy networks after all steps over the ratio of the two rates and their product.

    Mean logarithm over networks, Adam, three widths, mean-field readout; the left column is LoRA with one
    rate. Star: the best pair. The dashed line is the ratio $n/4$ of the pair that is followed in other
    figures. Ratios far beyond it do not train; below it lies a plateau.
    """
    runs = data["toy"].isel(readout=0)
    widths = runs.width.values[:: max(1, (len(runs.width) - 1) // 2)][:3]
    figure, axes = new_figure(1, len(widths), width=4.4 * len(widths) + 1, height=4.2, sharey=True)
    heights = log_losses(runs).mean(-1) / np.log(10)
    low, high = heights.min(), np.quantile(heights, 0.95)
    rate, ratio = runs.rate.values, runs.ratio.values
    for ax, n in zip(axes, widths, strict=True):
        z = heights[list(runs.width.values).index(n)]
        shown = ax.pcolormesh(edges(ratio), edges(rate), z, cmap="cividis", vmin=low, vmax=high)
        i, j = np.unravel_index(int(z.argmin()), z.shape)
        ax.plot(ratio[j], rate[i], "*", color=PALETTE[1], ms=16, mec="white", mew=0.8)
        ax.axvline(n / 4, color="white", ls="--", lw=1.5)
        ax.set(xscale="log", yscale="log", title=f"n = {n:,}", xlabel=r"ratio $\mathrm{lr}_B/\mathrm{lr}_A$")
        ax.set_yticks(rate, labels=[f"{v:.2g}" for v in rate])
        ax.set_yticks([], minor=True)
        ax.grid(False)
    axes[0].set_ylabel(r"$\sqrt{n\,\mathrm{lr}_A\mathrm{lr}_B}$")
    figure.colorbar(shown, ax=axes, label="log₁₀ of training loss", extend="max")
    return figure


def gain_in_networks(data, cfg):
    r"""What two rates gain over one in toy networks.

    Left: training loss at the best product for every ratio, relative to that of one rate (ratio 1), geometric
    mean over networks with 95 % bars of the paired difference at those rates. Right: the best pair against
    the best single rate, each network judged at the rates that are best for the others; above 0 two rates
    win.
    """
    figure, (left, right) = new_figure(1, 2, width=11.0, height=4.2)
    runs = data["toy"].isel(readout=0)
    heights, ratio = log_losses(runs), runs.ratio.values
    for i, n in enumerate(runs.width.values):
        least = heights[i].mean(-1).argmin(0)
        chosen = heights[i][least, np.arange(len(ratio))]
        found = stats.mean_and_error(chosen - chosen[:1], axis=-1)
        factor = np.exp(found.mean)
        color = PALETTE[i % len(PALETTE)]
        shift = ratio * 1.07 ** (i - len(runs.width) / 2)
        measured_points(left, shift, factor, factor * found.standard_error, color=color, label=f"n = {n:,}")
        left.plot(shift, factor, color=color, lw=0.9, alpha=0.6)
    left.axhline(1, color=GREY, lw=0.8)
    left.set(
        xscale="log",
        yscale="log",
        xlabel=r"ratio $\mathrm{lr}_B/\mathrm{lr}_A$",
        ylabel="training loss / loss with one rate",
    )
    left.set_yticks([0.5, 1, 2, 5, 10], labels=["0.5", "1", "2", "5", "10"])
    left.set_yticks([], minor=True)
    left.legend(loc="upper left")
    for color, name, label in ((0, "loss", "training"), (1, "test_loss", "test")):
        found = gain_of_a_pair(runs, name)
        shift = runs.width.values * 1.04 ** (2 * color - 1)
        measured_points(right, shift, found.value, found.error, color=PALETTE[color], label=label)
    right.axhline(0, color=GREY, lw=0.8)
    right.set(xscale="log", xlabel="width $n$", ylabel="ln of loss, one rate over two")
    right.set_xticks(runs.width.values, labels=[f"{v:,}" for v in runs.width.values])
    right.set_xticks([], minor=True)
    right.legend(loc="best")
    return figure


def width_and_law(data, cfg):
    r"""Three checks of the exact dynamics.

    Left: at rates $(a/n,b)$ a layer of finite width with random features differs from one of infinite width
    by $n^{-1/2}$ (root mean square of the log loss after 5, 20 and 40 steps, 95 % bars, lines of slope
    $-1/2$). Middle: distribution of the loss after 5, 20 and 40 steps, for starts drawn by their exact law
    (lines) and for weights drawn at random (dashed). Right: loss that is left after 1,500 steps against the
    size of the rates over its bound, one rate at several widths and one pair, four starts each.
    """
    figure, axes = new_figure(1, 3, width=14.0, height=4.2)
    runs = data["widths"].loss
    n = runs.n.values
    apart = np.log(runs.sel(features="random") / runs.sel(features="same")).transpose("start", "n", "step")
    for i, t in enumerate((5, 20, 40)):
        square = stats.mean_and_error(apart.isel(step=t).values ** 2)
        root = np.sqrt(square.mean)
        error = square.standard_error / (2 * root)
        measured_points(axes[0], n, root, error, color=PALETTE[i], label=f"{t} steps")
        level = np.exp((np.log(root) + np.log(n) / 2).mean())
        theory_line(axes[0], n, level * n**-0.5, color=PALETTE[i], lw=1)
    axes[0].set(xscale="log", yscale="log", xlabel="width $n$", ylabel="RMS difference of log loss")
    axes[0].legend(loc="upper right")
    runs = data["law_of_start"].loss
    for i, t in enumerate((5, 20, 40)):
        for start, style in (("law", "-"), ("weights", "--")):
            loss = np.sort(runs.sel(start=start).isel(step=t).values)
            share = (np.arange(len(loss)) + 0.5) / len(loss)
            label = f"{t} steps" if start == "law" else None
            axes[1].plot(loss, share, color=PALETTE[i], ls=style, lw=1.6, label=label)
    axes[1].set(xlabel="training loss", ylabel="share of starts below")
    axes[1].legend(loc="lower right")
    runs = data["stability"]
    rest = np.clip(runs.rest.fillna(1e2).values, 1e-32, 1e2)
    for i, split in enumerate(runs.split.values):
        label = (
            f"one rate, n = {power_of_two(1 / split)}" if i < len(runs.split) - 1 else "pair, ratio $n$/64"
        )
        axes[2].plot(
            runs.factor, rest[:, i], "os^vD"[i % 5], color=PALETTE[i % len(PALETTE)], ms=4, alpha=0.7
        )
        axes[2].plot([], [], "os^vD"[i % 5], color=PALETTE[i % len(PALETTE)], label=label)
    axes[2].axvline(1, color=GREY, ls="--", lw=1.2)
    axes[2].set(
        yscale="log",
        xlabel=r"$\sqrt{\mathrm{lr}_A\mathrm{lr}_B}$ over its bound",
        ylabel="loss / loss at the start",
    )
    axes[2].legend(loc="lower right", fontsize=8.5)
    return figure


FIGURES = (
    loss_over_rates,
    steps_to_one_percent,
    powers_of_the_width,
    equivalence,
    sharpness_in_training,
    toy_map,
    gain_in_networks,
    width_and_law,
)
