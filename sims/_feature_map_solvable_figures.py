"""The figures of the sim on the forward feature map whose lines are exact laws.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

import numpy as np

from theorysim import feature_map as fm
from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.numerics import stats

from ._feature_map_config import COUNTS
from ._feature_map_laws import threshold, unconstrained_law

__all__ = ["SOLVABLE_FIGURES"]


def linear_crossover(data, cfg):
    r"""Deep linear networks on 12 whitened inputs, three modes of which are taught: the exact law (lines).

    Left: feature eigenvalues along the taught modes over time, for three scales of the first layer. Right:
    effective number of features N2 at the end against that scale, from minimal (rich) to extended (lazy).
    Points: networks of 128 hidden units trained by gradient descent, left from Gaussian weights; 95 % bars.
    Gaussian weights of finite width spread the eigenvalues of what is not taught, to N2 = 12/(1 + 12/128).
    """
    runs = data["linear_networks"]
    figure, (left, right) = new_figure(1, 2, width=11.5, height=4.3)
    trained, times = runs.sel(orthogonal=False), np.linspace(0, float(runs.time[-1]), 200)
    for i, at in enumerate((0, 4, 6)):
        scale = float(runs.scale[at])
        for mode, strength in enumerate(runs.mode.values):
            values = trained.along.isel(scale=at, mode=mode).transpose("replica", "time").values
            found = stats.mean_and_error(values, axis=0)
            label = f"scale {scale:g}" if mode == 0 else None
            law = fm.deep_linear_mode(times, strength, scale).eigenvalue
            theory_line(left, times, np.asarray(law), color=PALETTE[i], label=label)
            measured_points(
                left,
                runs.time[::2],
                found.mean[::2],
                found.standard_error[::2],
                color=PALETTE[i],
                ms=3.5,
            )
    left.set(xlabel="time", ylabel=r"feature eigenvalue", yscale="log")
    left.legend()
    theory_line(
        right, runs.scale, runs.participation_law, color=PALETTE[0], label="exact law, infinite width"
    )
    for orthogonal, label, colour in (
        (True, "trained from orthogonal weights", PALETTE[2]),
        (False, "trained from Gaussian weights", PALETTE[1]),
    ):
        values = (
            runs.participation.sel(orthogonal=orthogonal).isel(time=-1).transpose("replica", "scale").values
        )
        found = stats.mean_and_error(values, axis=0)
        measured_points(right, runs.scale, found.mean, found.standard_error, color=colour, label=label, ms=5)
    right.set(xscale="log", xlabel=r"scale $\lambda$ of the first layer", ylabel="effective features $N_2$")
    right.legend()
    return figure


def weight_decay(data, cfg):
    r"""Weight decay on features and readout: eigenvalues of trained networks beside unconstrained features.

    Against sqrt(ab) in units of the threshold at which everything dies; each colour is one direction. Points:
    networks with one hidden layer of 64 ReLU units that learn 36 digits of three classes; 95 % bars are
    smaller than the points.
    """
    runs = data["weight_decay"]
    figure, axes = new_figure(1, runs.sizes["problem"], width=12.5, height=3.9)
    titles = {"squared": "squared loss", "entropy": "cross-entropy"}
    levels = np.linspace(0.02, 1.15, 300)
    for ax, name in zip(axes, runs.problem.values, strict=True):
        run, (loss, balance) = runs.sel(problem=name), name.split(", ")
        found = stats.mean_and_error(run.eigenvalues.transpose("replica", "level", "feature").values, axis=0)
        counts = COUNTS[balance]
        decays = levels * threshold(counts)
        law = np.stack([unconstrained_law(counts, loss, decay)[0] for decay in decays])
        for k in range(run.sizes["feature"]):
            theory_line(ax, levels, law[:, k], color=PALETTE[k], label=f"direction {k + 1}")
            measured_points(
                ax,
                run.level.values,
                found.mean[:, k],
                found.standard_error[:, k],
                color=PALETTE[k],
                fmt="os^"[k],
            )
        ax.set(xlabel=r"$\sqrt{ab}$ / threshold", title=f"{titles[loss]}, {balance}")
    axes[0].set_ylabel("feature eigenvalue")
    axes[-1].legend()
    return figure


def spiked(data, cfg):
    r"""Features with one direction of variance 1 + s: quality of the first eigenfunction against examples.

    Lines: the limit of many features, alike in sample and out of sample. Filled: in sample, open: out of
    sample, for 80 features; 95 % bars. To the left of its threshold a direction is not found at all.
    """
    runs = data["spikes"]
    figure, ax = new_figure(width=7.5, height=4.4)
    ratio = np.geomspace(0.3, 10, 300)
    for i, spike in enumerate(runs.spike.values):
        theory_line(ax, ratio, np.asarray(fm.spiked_feature(1 / ratio, spike).quality), color=PALETTE[i])
        for name, face in (("quality", PALETTE[i]), ("held_out_quality", "white")):
            found = stats.mean_and_error(
                runs[name].sel(spike=spike).transpose("replica", "count").values, axis=0
            )
            measured_points(
                ax,
                1 / runs.aspect.values,
                found.mean,
                found.standard_error,
                color=PALETTE[i],
                mfc=face,
                markeredgecolor=PALETTE[i],
                label=f"s = {spike:g}" if name == "quality" else None,
            )
    ax.set(xscale="log", xlabel="examples per feature n/p", ylabel="quality $Q_1$", ylim=(-0.02, 1))
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.78))
    return figure


def start_and_readout(data, cfg):
    r"""Untrained features, and a readout that descends on given ones.

    Left: feature spectra of untrained networks with two hidden layers on 200 digits, and of infinite width.

    Right: error of a readout that descends on 40 given features, at three levels of noise, on the inputs that
    train (dashed) and on unseen ones (solid), against its exact law. 95 % bars.
    """
    figure, (left, right) = new_figure(1, 2, width=11.5, height=4.3)
    runs = data["spectra_at_start"]
    k = np.arange(1, runs.sizes["feature"] + 1)
    theory_line(left, k, runs.eigenvalues_law, color="black", label="infinite width")
    for i, width in enumerate(runs.width.values):
        found = stats.mean_and_error(runs.eigenvalues.sel(width=width).transpose("replica", "feature").values)
        measured_points(
            left, k, found.mean, found.standard_error, color=PALETTE[i], label=f"width {width}", ms=4
        )
    left.set(xlabel="eigenfunction k", ylabel=r"eigenvalue $\rho_k$", yscale="log")
    left.legend()
    runs = data["readouts"]
    marks = np.unique(np.geomspace(1, runs.sizes["step"] - 1, 9).astype(int))
    for i, noise in enumerate(runs.noise.values):
        for name, style, face in (("test", "-", PALETTE[i]), ("train", "--", "white")):
            law = runs[f"{name}_law"].sel(noise=noise)
            label = f"noise {noise:g}" if name == "test" else None
            theory_line(right, runs.step[1:], law[1:], color=PALETTE[i], linestyle=style, label=label)
            found = stats.mean_and_error(runs[name].sel(noise=noise).transpose("replica", "step").values)
            measured_points(
                right,
                runs.step.values[marks],
                found.mean[marks],
                found.standard_error[marks],
                color=PALETTE[i],
                mfc=face,
                markeredgecolor=PALETTE[i],
                ms=5,
            )
    right.set(xscale="log", yscale="log", xlabel="steps", ylabel="mean square error, without noise")
    right.legend()
    return figure


SOLVABLE_FIGURES = (linear_crossover, weight_decay, spiked, start_and_readout)
