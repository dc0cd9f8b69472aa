"""The figures of the sim on the forward feature map: theory as lines, measurement as markers.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

import numpy as np

from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.numerics import stats

from ._feature_map_claims import EXTENDED, MINIMAL, TOP, last
from ._feature_map_config import split
from ._feature_map_solvable_figures import SOLVABLE_FIGURES

__all__ = ["FIGURES"]

BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, GREY = PALETTE
COLOURS = {
    "rich": BLUE,
    "richer": SKY,
    "standard": GREEN,
    "half lazy": ORANGE,
    "lazy": VERMILION,
    "40 % random labels": PURPLE,
    "random labels": GREY,
    "weak shortcut": GREEN,
    "shortcut": "black",
}


def over_networks(runs, name):
    """Mean over networks and its standard error, by epoch."""
    return stats.mean_and_error(runs[name].transpose("replica", "epoch").values, axis=0)


def whole_ticks(*axes):
    """Only whole numbers along the horizontal axis."""
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)


def regime_bands(ax):
    """Shade where a network is called minimal, and where extended."""
    ax.axhspan(MINIMAL, 1.0, color=BLUE, alpha=0.12, lw=0)
    ax.axhspan(0, EXTENDED, color=VERMILION, alpha=0.08, lw=0)


def spectra_over_time(data, cfg):
    r"""The first twenty eigenfunctions of a rich network (top) and a lazy one (bottom), over training.

    Bars: quality (share in the span of the labels) and utility (share in the span of the outputs) of each;
    black: eigenvalues in units of the largest. Dotted: the K* = 9 that the classes need. The outputs are 0
    before the first step and use nothing. One network each.
    """
    runs = data["regimes"].isel(replica=0)
    final = int(runs.epoch[-1])
    epochs = sorted({0, 1, min(5, final), final})
    figure, axes = new_figure(2, len(epochs), width=12.5, height=5.2, sharex=True, sharey=True, squeeze=False)
    for row, name in zip(axes, ("rich", "lazy"), strict=True):
        for ax, epoch in zip(row, epochs, strict=True):
            run = runs.sel(setting=name, epoch=epoch)
            k = np.arange(1, run.sizes["feature"] + 1)
            ax.bar(k - 0.2, run.each_quality, 0.4, color=SKY, label="quality $Q_k$")
            ax.bar(k + 0.2, run.each_utility, 0.4, color=ORANGE, label=r"utility $\Pi_k$")
            ax.plot(
                k, run.eigenvalues / run.eigenvalues[0], "-", color="black", lw=1.2, label=r"$\rho_k/\rho_1$"
            )
            ax.axvline(TOP + 0.5, color=GREY, ls=":", lw=1.2)
            u = float(run.utility)
            said = "before training" if epoch == 0 else f"epoch {epoch}: u(9) = {u:.2f}"
            ax.set_title(f"{name}, {said}", fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel("eigenfunction k")
    for ax in axes[:, 0]:
        ax.set_ylabel("share")
    axes[0, -1].legend(loc="upper right", fontsize=8.5)
    return figure


def regimes_over_time(data, cfg):
    r"""Cumulative utility u(K*) and test accuracy over training, means over networks with 95 % bars.

    Shaded: minimal features (blue, u of 0.95 and more) and extended ones (red, up to 0.85). Rich networks are
    minimal after a few epochs; lazy ones and those that fit random labels move away from it.
    """
    runs = data["regimes"]
    figure, (left, right) = new_figure(1, 2, width=12.0, height=4.6)
    regime_bands(left)
    shown = [s for s in runs.setting.values if s not in ("weak shortcut", "standard")]
    for name in shown:
        for ax, what in ((left, "utility"), (right, "test_accuracy")):
            run = over_networks(runs.sel(setting=name), what)
            first = 1 if what == "utility" else 0
            epoch = runs.epoch.values[first:]
            ax.plot(epoch, run.mean[first:], color=COLOURS[name], lw=1.2, alpha=0.8)
            measured_points(
                ax, epoch, run.mean[first:], run.standard_error[first:], color=COLOURS[name], label=name, ms=4
            )
    left.set(xlabel="epoch", ylabel="cumulative utility $u(K^*)$", ylim=(0.1, 1.02))
    right.set(xlabel="epoch", ylabel="test accuracy", ylim=(0, 1.02))
    right.legend(loc="center right", fontsize=8.5)
    whole_ticks(left, right)
    return figure


def phase_map(data, cfg):
    r"""Cumulative utility u(K*) over learning rate and output scale, for networks on few examples.

    Numbers: accuracy on unseen data; in bold the best. Where it is near 0.1, networks diverged or died. Rates
    are in units of min(1/scale, 1/scale^2), which keeps the speed of learning comparable.
    """
    runs = data["grid"]
    widths = runs.width.values
    figure, axes = new_figure(1, len(widths), width=5.6 * len(widths) + 1, height=4.2, squeeze=False)
    best = runs.test_accuracy.mean("replica")
    for ax, width in zip(axes[0], widths, strict=True):
        u = runs.utility.sel(width=width).mean("replica", skipna=False).transpose("rate", "scale").values
        test = best.sel(width=width).transpose("rate", "scale").values
        shown = ax.imshow(u, origin="lower", vmin=0.6, vmax=1, cmap="cividis", aspect="auto")
        for (i, j), value in np.ndenumerate(test):
            if np.isfinite(u[i, j]):
                weight = "bold" if value == float(best.max()) else "normal"
                colour = "white" if u[i, j] < 0.8 else "black"
                ax.text(j, i, f"{value:.3f}", ha="center", va="center", color=colour, weight=weight)
        ax.set_xticks(range(runs.sizes["scale"]), [f"{s:g}" for s in runs.scale.values])
        ax.set_yticks(range(runs.sizes["rate"]), [f"{r:g}" for r in runs.rate.values])
        ax.set(xlabel=r"output scale $\alpha$  (rich → lazy)", title=f"width {width}")
        ax.grid(visible=False)
    axes[0, 0].set_ylabel("learning rate (relative)")
    figure.colorbar(shown, ax=axes[0, -1], label="cumulative utility $u(K^*)$")
    return figure


def eigenfunctions(data, cfg):
    r"""The first eigenfunctions as pictures on the data: a rich network (top) and a lazy one (bottom).

    Left: every training example at (e_1, e_2), coloured by its class. Right: for the first three, the
    examples at which the eigenfunction is largest (upper rows) and smallest (lower rows), with its quality.
    """
    runs, x = data["regimes"].isel(replica=0, epoch=-1), split(cfg.dataset)
    side = round(x.x.shape[1] ** 0.5)
    figure, axes = new_figure(2, 4, width=13.0, height=5.6, width_ratios=[1.15, 1, 1, 1])
    for row, name in zip(axes, ("rich", "lazy"), strict=True):
        run = runs.sel(setting=name)
        e = run.functions.transpose("example", "eigenfunction").values
        shown = row[0].scatter(e[:, 0], e[:, 1], c=x.y, cmap="tab10", s=4, vmin=-0.5, vmax=9.5)
        row[0].set(xlabel="$e_1(x)$", ylabel="$e_2(x)$", title=name)
        for k, ax in enumerate(row[1:]):
            order = np.argsort(e[:, k])
            picked = np.concatenate([order[::-1][:12], order[:12]]).reshape(4, 6)
            tiles = (
                x.images[picked].reshape(4, 6, side, side).transpose(0, 2, 1, 3).reshape(4 * side, 6 * side)
            )
            ax.imshow(tiles, cmap="gray_r")
            ax.axhline(2 * side - 0.5, color=VERMILION, lw=1.2)
            ax.set_title(f"$e_{k + 1}$: quality {float(run.each_quality[k]):.2f}", fontsize=10)
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
    figure.colorbar(shown, ax=axes[:, 0], label="class", ticks=range(10), location="left", shrink=0.7)
    return figure


def collapse(data, cfg):
    r"""Neural collapse as a property of the kernel operator T.

    Left: within-class variability NC1 against the distance of T from the projection onto the labels, for
    every network at the end of training. Middle: that distance over training, in units of |T|^2, with its
    bounds by the within-class variance (shaded, where the upper one is below 1). Right: 1 - q(K*), and the
    bound of Davis and Kahan (lines) where there is one below 1.
    """
    runs = data["regimes"]
    figure, axes = new_figure(1, 3, width=13.5, height=4.3)
    for name in runs.setting.values:
        run = runs.sel(setting=name)
        final = run.isel(epoch=-1)
        marker = "s" if name in ("standard", "shortcut") else "o"
        axes[0].plot(final.nc1, final.distance, marker, color=COLOURS[name], label=name, ms=6)
    axes[0].set(xscale="log", yscale="log", xlabel="NC1", ylabel=r"$\min_a|T-aP|^2/|T|^2$ = 1 − alignment²")
    axes[0].legend(fontsize=8)
    for name in ("rich", "lazy", "40 % random labels", "shortcut"):
        run = runs.sel(setting=name)
        found = over_networks(run, "distance")
        low, high = (run[f"distance_{end}"].mean("replica") for end in ("low", "high"))
        if float(high[-1]) < 1:
            axes[1].fill_between(run.epoch, low, np.minimum(high, 1), color=COLOURS[name], alpha=0.2, lw=0)
        measured_points(
            axes[1], run.epoch, found.mean, found.standard_error, color=COLOURS[name], label=name, ms=4
        )
        quality = over_networks(run, "quality")
        measured_points(
            axes[2],
            run.epoch,
            1 - quality.mean,
            quality.standard_error,
            color=COLOURS[name],
            label=name,
            ms=4,
        )
        bound = run.quality_bound.mean("replica")
        if float(bound.min()) < 1:
            theory_line(axes[2], run.epoch, bound, color=COLOURS[name], label="bound")
    axes[1].set(xlabel="epoch", ylabel=r"$\min_a|T-aP|^2/|T|^2$", ylim=(0, 1.02))
    axes[2].set(xlabel="epoch", ylabel="$1-q(K^*)$", yscale="log")
    axes[2].legend(fontsize=8)
    return figure


def noisy_labels(data, cfg):
    r"""Two fifths of the labels are random: minimal features first, until the noise is fitted.

    Left: digits, 8 x 8. Right: MNIST, fewer epochs. The share of the labels that are right is dotted.
    """
    figure, axes = new_figure(1, 2, width=11.5, height=4.2, sharey=True)
    pairs = ((data["regimes"], f"{cfg.dataset}"), (data["images"], f"MNIST, {cfg.image_records} images"))
    for ax, (runs, title) in zip(axes, pairs, strict=True):
        run = runs.sel(setting="40 % random labels")
        regime_bands(ax)
        for what, colour, label in (
            ("utility", BLUE, "$u(K^*)$"),
            ("test_accuracy", GREEN, "test accuracy, clean labels"),
            ("train_accuracy", VERMILION, "training accuracy, noisy labels"),
        ):
            found = over_networks(run, what)
            ax.plot(run.epoch[1:], found.mean[1:], color=colour, lw=1.2, alpha=0.8)
            measured_points(
                ax, run.epoch[1:], found.mean[1:], found.standard_error[1:], color=colour, label=label, ms=4
            )
        ax.axhline(0.6 + 0.4 / 10, color=GREY, ls=":", lw=1.2)
        ax.set(xlabel="epoch", title=title, ylim=(0.3, 1.02))
    axes[0].set_ylabel("share")
    axes[0].legend(loc="lower right")
    whole_ticks(*axes)
    return figure


def shortcuts(data, cfg):
    r"""Inputs that give the label away in training, and are random in the test.

    Cumulative utility, quality on the data that train, quality on unseen data, and test accuracy of rich
    networks without such inputs, with weak ones and with strong ones; 95 % bars. Few features, all in use,
    and the wrong ones: the gap between the two qualities is the warning.
    """
    runs = data["regimes"]
    figure, ax = new_figure(width=8.0, height=4.2)
    names = ["rich", "weak shortcut", "shortcut"]
    measures = (
        ("utility", "$u(K^*)$", BLUE),
        ("quality", "$q(K^*)$, training data", SKY),
        ("held_out_quality", "$q(K^*)$, unseen data", ORANGE),
        ("test_accuracy", "test accuracy", VERMILION),
    )
    for i, (what, label, colour) in enumerate(measures):
        found = stats.mean_and_error(last(runs, what, names), axis=1)
        at = np.arange(len(names)) + 0.2 * (i - 1.5)
        ax.bar(at, found.mean, 0.18, color=colour, label=label, yerr=1.96 * found.standard_error, capsize=2)
    ax.set_xticks(range(len(names)), ["no shortcut", "weak shortcut", "strong shortcut"])
    ax.set(ylabel="share", ylim=(0, 1.32))
    ax.legend(ncols=2, loc="upper center")
    return figure


def other_networks(data, cfg):
    r"""Other networks, rich and lazy, at the end of training: utility of the first K eigenfunctions.

    Each line is a network. Dotted: K* = 9; shaded: the range of minimal features. Convolutions stay short of
    minimal on these data; a line that is missing is of a network that died.
    """
    runs = data["architectures"].isel(epoch=-1)
    names = runs.network.values
    figure, axes = new_figure(1, len(names), width=4.2 * len(names), height=3.8, sharey=True, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        ax.axhspan(MINIMAL, 1, color=BLUE, alpha=0.12, lw=0)
        for setting in runs.setting.values:
            each = runs.each_utility.sel(network=name, setting=setting).transpose("replica", "feature").values
            for i, one in enumerate(each):
                label = setting if i == 0 else None
                ax.plot(
                    np.arange(1, each.shape[1] + 1),
                    one.cumsum() / TOP,
                    color=COLOURS[setting],
                    lw=1.4,
                    label=label,
                )
        ax.axvline(TOP, color=GREY, ls=":", lw=1.2)
        ax.set(xlabel="first K eigenfunctions", title=name, ylim=(0, 1.02), xlim=(1, 20))
    axes[0, 0].set_ylabel("cumulative utility $u(K)$")
    axes[0, -1].legend(loc="lower right")
    whole_ticks(*axes[0])
    return figure


def regression(data, cfg):
    r"""Three smooth targets, with and without weight decay, and lazy.

    Cumulative utility u(3), quality q(3), and the share of variance explained on unseen data, over training;
    means over networks with 95 % bars.

    Only with weight decay three eigenfunctions are in use, and they are the targets.
    """
    runs = data["regressions"]
    figure, axes = new_figure(1, 3, width=13.0, height=4.0)
    colours = dict(zip(runs.setting.values, (BLUE, SKY, VERMILION), strict=True))
    regime_bands(axes[0])
    for ax, (what, label) in zip(
        axes, (("utility", "$u(3)$"), ("quality", "$q(3)$"), ("test_r2", "$R^2$, unseen data")), strict=True
    ):
        for name, colour in colours.items():
            found = over_networks(runs.sel(setting=name), what)
            first = slice(1, None, max(1, cfg.regression_epochs // 20))
            measured_points(
                ax,
                runs.epoch.values[first],
                found.mean[first],
                found.standard_error[first],
                color=colour,
                label=name,
                ms=4,
            )
        ax.set(xlabel="epoch", ylabel=label)
    axes[2].set_ylim(0, 1.02)
    axes[0].legend(loc="center right", fontsize=8.5)
    return figure


FIGURES = (
    spectra_over_time,
    regimes_over_time,
    phase_map,
    eigenfunctions,
    collapse,
    noisy_labels,
    shortcuts,
    other_networks,
    regression,
    *SOLVABLE_FIGURES,
)
