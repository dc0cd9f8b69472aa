"""The figures of the sim on the starts of low-rank adapters: theory as lines, measurement as markers.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

from typing import Any

import numpy as np
from scipy import stats as laws

from theorysim import lora_init
from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.numerics import stats

from ._lora_init_config import INITS, OUTPUTS, RANK, READOUTS, TOY_READOUTS
from ._lora_init_laws import slow_loss
from ._lora_init_measures import (
    LEARNED,
    best_rate,
    largest_part,
    largest_rate,
    network_rates,
    network_sizes,
    theory_power,
    theory_sizes,
)

__all__ = ["FIGURES"]

GREY = PALETTE[-1]
LABELS: dict[str, str] = {"a": "Init[A]: B = 0", "b": "Init[B]: A = 0"}
COLORS: dict[str, str] = dict(zip(INITS, PALETTE, strict=False))
READOUT_NAMES = {
    "per coordinate": "outputs per coordinate",
    "ntk": r"readout $1/\sqrt{n}$",
    "mean_field": r"readout $1/n$",
}


def _log_points(ax, x, values, **look):
    """Geometric means over the rows, with 95 % bars, on a logarithmic axis."""
    found = stats.mean_and_error(np.log(values))
    middle = np.exp(found.mean)
    bars = [
        middle * (1 - np.exp(-1.96 * found.standard_error)),
        middle * (np.exp(1.96 * found.standard_error) - 1),
    ]
    style = {"fmt": "o", "zorder": 3, "elinewidth": 1.3, "markeredgecolor": "white", "markeredgewidth": 0.6}
    ax.errorbar(x, middle, yerr=bars, **(style | look))
    return middle


def _powers(ax, label="width n"):
    ax.set(xscale="log", yscale="log", xlabel=label)
    ax.set_xscale("log", base=2)


def rates_by_width(data, cfg):
    r"""Single learning rates against the width.

    Top left: gradient descent, six examples, four outputs, rank 6: the largest rate that converges; lines
    are the limits of theory with their constants, no fit. Others: Adam. Discs: best rate of one example in
    the exact engine, to n = 2^30; triangles: largest rate that learns it. Squares: best rate of trained
    networks. Lines have the power of theory, through the engine's best rate at the largest width. 95 % bars.
    """
    figure, axes = new_figure(2, 2, width=10.5, height=8, sharex=True, sharey=True)
    runs, panels = data["constants"], axes.ravel()
    widths, dense = runs.width.values, 2.0 ** np.linspace(7, 31, 50)
    largest = largest_part(runs) * runs.limit.values
    for i, init in enumerate(INITS):
        line = np.exp(np.log(runs.limit.values[i]).mean(1))
        power = -0.5 if init == "a" else -1
        label = f"{LABELS[init]}, theory"
        theory_line(panels[0], dense, line[0] * (dense / widths[0]) ** power, color=COLORS[init], label=label)
        label = f"{LABELS[init]}, largest"
        _log_points(panels[0], widths, largest[i].T, color=COLORS[init], fmt="^", ms=7, label=label)
    panels[0].set_title("gradient descent, outputs per coordinate")
    for ax, readout in zip(panels[1:], READOUTS, strict=True):
        _adam_panel(ax, data, cfg, readout, dense)
        ax.set_title(f"Adam, {READOUT_NAMES[readout]}")
        ax.legend(loc="lower left", fontsize=8.5)
    for ax in panels:
        _powers(ax, "")
    for ax in axes[1]:
        ax.set_xlabel("width n")
    for ax in axes[:, 0]:
        ax.set_ylabel("learning rate")
    panels[0].legend(loc="lower left", fontsize=8.5)
    return figure


def _adam_panel(ax, data, cfg, readout, dense):
    runs, networks = data["adam_rates"].sel(readout=readout), data["networks"]
    loss = runs.loss.transpose("init", "seed", "width", "rate").values
    rates, widths = runs.rate.values, runs.width.values
    for i, init in enumerate(INITS):
        power, name = theory_power(readout, init), f"Init[{init.upper()}]"
        largest = largest_rate(loss[i], rates, LEARNED)
        look = {"color": COLORS[init]}
        # What coincides is moved apart.
        shift = {"a": 0.88, "b": 1.14}[init]
        middle = _log_points(ax, widths, best_rate(loss[i], rates), ms=6, label=f"{name}, best", **look)
        _log_points(ax, widths * shift, largest, fmt="^", ms=7, label=f"{name}, largest", **look)
        line = middle[-1] * (dense / widths[-1]) ** power
        theory_line(ax, dense, line, label=rf"{name}: $n^{{{power:g}}}$", **look)
        if readout in TOY_READOUTS:
            best = network_rates(networks, cfg.toy_times[0], readout)[i, 0]
            look |= {"fmt": "s", "ms": 8, "markeredgecolor": "black"}
            _log_points(ax, networks.width.values * shift, best, label=f"{name}, networks", **look)


def inside(data, cfg):
    r"""Adapter features, and the part of B in the change of the output, at rates of the power of theory.

    Left: root mean square of A x. Right: change of the output through B in one step. All in parts of their
    values at the smallest width. Top: one example by Adam in the exact engine after four steps, outputs per
    coordinate. Bottom: networks; squares: 1/sqrt(n) readout, diamonds: 1/n. Lines have the power of theory
    (dashed: 1/n readout). With B = 0 features grow; with A = 0 the part of B vanishes, but not with a
    mean-field readout. 95 % bars.
    """
    figure, axes = new_figure(2, 2, width=10.5, height=8)
    runs = data["exponents"]
    for init, regime in (("a", "adam a -0.5 -0.5"), ("b", "adam b -1 -1")):
        part = runs.sel(regime=regime)
        sizes = {name: part[name].transpose("seed", "width").values for name in ("p", "delta2")}
        look: dict[str, Any] = {"color": COLORS[init], "fmt": "o", "label": LABELS[init]}
        _trends(axes[0], runs.width.values, sizes, "per coordinate", init, look)
    for readout, marker in zip(TOY_READOUTS, "sD", strict=True):
        for init in INITS:
            sizes = network_sizes(data["networks"], readout, init, cfg.toy_times[0])
            look = {"color": COLORS[init], "fmt": marker, "ms": 7}
            look["label"] = f"{LABELS[init]}, {READOUT_NAMES[readout]}"
            _trends(axes[1], data["networks"].width.values, sizes, readout, init, look)
    for row, kind in zip(axes, ("engine", "networks"), strict=True):
        for ax in row:
            _powers(ax)
        row[0].set(ylabel="RMS of A x / that at the smallest width", title=kind)
        row[1].set(ylabel=r"$\delta_2$ / that at the smallest width", title=kind)
        row[0].legend(loc="upper left", fontsize=8.5)
    return figure


def _trends(row, widths, sizes, readout, init, look):
    """Sizes in parts of their geometric mean at the first width, beside their powers of the width."""
    power = theory_power(readout, init)
    theory = theory_sizes(readout, init, power, power)
    # What coincides is moved apart.
    shift = {"a": 0.94, "b": 1.06}[init]
    for ax, name, gamma in zip(row, ("p", "delta2"), (theory.p, theory.delta2), strict=True):
        values = sizes[name] / np.exp(np.log(sizes[name][:, 0]).mean())
        _log_points(ax, widths * shift, values, **look)
        style = {"linestyle": "--" if readout == "mean_field" else "-", "lw": 1.4}
        theory_line(ax, widths * shift, (widths / widths[0]) ** float(gamma), color=look["color"], **style)


def curves(data, cfg):
    r"""Gradient descent at single rates of the power of theory: 16 examples, 16 outputs, rank 2.

    Left: B = 0 at half of the largest convergent rate, every width. Middle: A = 0 at a quarter of its own,
    where the sharpness at the start is 1, stays on its floor for some n steps (dashed: median over the same
    starts). Medians over the problems. Right: the floor's law over random starts, and the Beta law of theory.
    """
    runs = data["one_rate"]
    figure, axes = new_figure(1, 3, width=13.5, height=4.2)
    widths, octave = runs.width.values, np.log2(runs.rate.values)
    steps = np.arange(runs.sizes["step"])
    for ax, init in zip(axes, INITS, strict=False):
        for i, n in enumerate(widths):
            loss = runs.loss.sel(start=init).isel(width=i).transpose("problem", "rate", "step").values
            limit = np.log2(runs.limit.isel(width=i, init=INITS.index(init)).values)
            at = np.abs(octave - limit[:, None] + {"a": 1, "b": 2}[init]).argmin(1)
            picked = loss[np.arange(len(loss)), at]
            middle = np.median(picked / picked[:, :1], axis=0)
            ax.plot(steps, middle, color=PALETTE[i % 7], label=f"$n = 2^{{{np.log2(n):.0f}}}$")
        ax.set(xlabel="step", title=LABELS[init])
    axes[0].set(ylabel="loss / first loss", yscale="log", ylim=(1e-20, 3))
    floor = float(np.median(runs.floor.values))
    theory_line(axes[1], steps[[0, -1]], [floor, floor], color=GREY, linestyle="--", label="floor")
    axes[1].set(ylim=(0, 1.1))
    axes[0].legend(loc="lower left")
    axes[1].legend(loc="lower left")
    law, values = lora_init.frozen_floor_law(RANK, OUTPUTS), data["floors"].floor.values
    density, edges = np.histogram(values, bins=30, range=(0.3, 1.0), density=True)
    count = np.histogram(values, bins=edges)[0]
    middle = (edges[1:] + edges[:-1]) / 2
    measured_points(axes[2], middle, density, density / np.sqrt(np.maximum(count, 1)), ms=4, label="starts")
    x = np.linspace(0.3, 0.999, 300)
    theory_line(
        axes[2], x, laws.beta.pdf(x, law.alpha, law.beta), color=PALETTE[1], label="Beta((k−r)/2, r/2)"
    )
    axes[2].set(xlabel="floor / first loss", ylabel="density", title="floors of A = 0")
    axes[2].legend(loc="upper left")
    return figure


def steps_to_tenth(data, cfg):
    r"""Steps to a tenth of the loss at half of the largest single rate, against the width.

    Left: geometric means over the problems with 95 % bars; line: the slow law of A = 0, no fit. Right:
    one start with A = 0 at every width, against steps over n, and the slow law (line), which starts at
    the floor.
    """
    runs = data["times"]
    figure, axes = new_figure(1, 2, width=10.5, height=4.3)
    widths = runs.width.values
    for init in INITS:
        steps = runs.reached.sel(init=init).isel(part=-1).transpose("problem", "width").values
        _log_points(axes[0], widths, steps, color=COLORS[init], label=LABELS[init])
    law = np.exp(np.log(runs.law.transpose("problem", "width").values).mean(0))
    theory_line(axes[0], widths, law, color=COLORS["b"], label="slow law")
    _powers(axes[0])
    axes[0].set_ylabel("steps to 10 % of the loss")
    axes[0].legend(loc="upper left")
    parts = runs.part.values
    for i, n in enumerate(widths):
        curve = runs.reached.sel(init="b").isel(width=i, problem=0).values
        axes[1].plot(
            curve / n, parts, "o", ms=10 - 8 * i / len(widths), color=PALETTE[i % 6], label=f"n = {n:.0f}"
        )
    Q0, Y, lr = runs.Q0.values[0], runs.Y.values[0], float(runs.lr_b.isel(width=0, problem=0)) * widths[0]
    dense = np.geomspace(0.02, 1, 200)
    slow = slow_loss(Q0, Y, lr, dense)
    theory_line(axes[1], slow[slow > 0], dense[slow > 0], color=GREY, label="slow law")
    axes[1].set(xlabel="steps / n", ylabel="loss / first loss", yscale="log")
    axes[1].legend(loc="upper right")
    return figure


def catapult(data, cfg):
    r"""Gradient descent from a sharp start, A = 0, one example, output and rank, n = 2^16.

    Left: losses for five values of the sharpness at the start. Beyond 2 the loss rises before it falls
    into a flatter minimum; beyond 4 it does not come back. Right: largest rate that converges in parts
    of the predicted one: one example (circles, predictions exact) and six examples, four outputs, rank 6
    (squares). For A = 0 the prediction is a start of sharpness 4, for B = 0 an end of sharpness 2. Bars:
    the grid of rates.
    """
    runs = data["scalar"]
    figure, axes = new_figure(1, 2, width=10.5, height=4.3)
    steps = np.arange(runs.sizes["step"])
    for i, sharp in enumerate(runs.sharpness.values):
        axes[0].plot(
            steps,
            runs.curve.isel(sharpness=i) / runs.curve.isel(sharpness=i, step=0),
            color=PALETTE[i],
            label=f"{sharp:g}",
        )
    axes[0].set(xlabel="step", ylabel="loss / first loss", yscale="log", ylim=(1e-8, 1e12))
    axes[0].legend(title="sharpness at the start", ncols=2, loc="upper right")
    many, step = data["constants"], float(np.diff(data["constants"].part.values)[0])
    for init in INITS:
        one = largest_part(runs.sel(init=init))
        at = runs.width.values * {"a": 1, "b": 1.25}[init]
        axes[1].errorbar(
            at,
            one,
            yerr=[0 * one, 0 * one + 0.005],
            fmt="o",
            ms=5,
            color=COLORS[init],
            label=f"{LABELS[init]}, one example",
        )
        found = stats.mean_and_error(largest_part(many.sel(init=init)), axis=1)
        shift = 1.3 if init == "a" else 0.77
        bars = np.hypot(1.96 * found.standard_error, step)
        axes[1].errorbar(
            many.width.values * shift,
            found.mean,
            yerr=bars,
            fmt="s",
            color=COLORS[init],
            markerfacecolor="white",
            label=f"{LABELS[init]}, six examples",
        )
    theory_line(axes[1], [2**7, 2**31], [1, 1], color=GREY, label="theory")
    axes[1].set(xlabel="width n", ylabel="largest convergent rate / theory", ylim=(0.85, 1.02))
    axes[1].set_xscale("log", base=2)
    axes[1].legend(loc="lower right", fontsize=8.5)
    return figure


def phases(data, cfg):
    r"""Powers of the width under Adam, rates n^gamma_A and n^gamma_B, outputs per coordinate.

    Colour: power of the output after four steps; the plane is the calculus, the discs are the engine's
    slopes from n = 2^16 to 2^32 (crosses: diverged). White line: where both factors move the output by
    order 1; below and left of the black line outputs stay of order 1. Star: LoRA+, the only efficient pair
    with stable features (the linear program). Dotted: one rate; square: its largest stable value.
    """
    runs = data["phases"]
    figure, axes = new_figure(1, 2, width=10.8, height=4.9, sharey=True)
    x, y = np.linspace(-1.6, 0.1, 171), np.linspace(-1.35, 0.6, 196)
    a, b = np.meshgrid(x, y)
    shown: Any = None
    for ax, init in zip(axes, INITS, strict=True):
        theory = theory_sizes("per coordinate", init, a, b)
        look = {"cmap": "cividis", "vmin": -1.5, "vmax": 1.5}
        shown = ax.pcolormesh(x, y, np.asarray(theory.output), shading="auto", rasterized=True, **look)
        ax.contour(x, y, np.asarray(theory.output), levels=[1e-6], colors="black", linewidths=1.6)
        values = runs.output.sel(init=init).transpose("gamma_a", "gamma_b", "seed", "width").values
        octaves = np.log2(runs.width.values)
        mean = np.log2(values).mean(2)
        found = ((mean - mean.mean(-1, keepdims=True)) @ (octaves - octaves.mean())) / (
            (octaves - octaves.mean()) ** 2
        ).sum()
        A, B = np.meshgrid(runs.gamma_a.values, runs.gamma_b.values, indexing="ij")
        ax.scatter(A, B, c=found, s=70, edgecolors="white", linewidths=0.8, zorder=3, **look)
        lost = np.isnan(found)
        ax.plot(A[lost], B[lost], "x", color="black", ms=6, mew=1.4, zorder=3)
        line = {"a": ([-1, 0.1], [0, -1.1]), "b": ([-1, -1.6], [0, 0.6])}[init]
        ax.plot(*line, color="white", lw=2.2)
        ax.plot([-1.35, 0.1], [-1.35, 0.1], ":", color="white", lw=1.4)
        power = theory_power("per coordinate", init)
        start = {"p0": 0.0, "q0": None} if init == "a" else {"p0": None, "q0": 0.0}
        best = lora_init.efficient_rates(**start, optimizer="adam")
        ax.plot(best.lr_a, best.lr_b, "*", ms=17, color=PALETTE[1], mec="black", mew=0.7, zorder=4)
        ax.plot(power, power, "s", ms=10, color=PALETTE[5], mec="black", mew=0.7, zorder=4)
        ax.set(xlabel=r"$\gamma_A$", title=LABELS[init], xlim=(-1.6, 0.1), ylim=(-1.35, 0.6))
        ax.grid(False)
    axes[0].set_ylabel(r"$\gamma_B$")
    figure.colorbar(shown, ax=axes, label="power of n in the output")
    return figure


START_NAMES = {
    "a": "Init[A]: B = 0",
    "b": "Init[B]: A = 0",
    "both": "both random",
    "scaled_a": r"scaled A: B = 0, variance $n^{-1/2}$",
}
# Losses below are rounding, and above lost.
LEAST, MOST = 1e-18, 1e4


def starts(data, cfg):
    r"""Loss after 30 steps at one rate against the rate, for several starts: gradient descent on the example.

    Left: the smallest width, right: the largest. Median over the problems, quartiles shaded. Dashed: median
    of the floors of A = 0. A random B, alone or beside a random A, forces rates of order 1/n, at which it
    hardly moves.
    """
    runs = data["one_rate"]
    figure, axes = new_figure(1, 2, width=11, height=4.5, sharey=True)
    names = [start for start in runs.start.values if start != "b as a"]
    for ax, i in zip(axes, (0, -1), strict=True):
        n = np.log2(runs.width.values[i])
        for j, start in enumerate(names):
            part = runs.sel(start=start).isel(width=i).loss
            last = (part.isel(step=-1) / part.isel(step=0)).transpose("problem", "rate").values
            last = np.clip(np.where(np.isnan(last), MOST, last), LEAST, MOST)
            low, middle, high = np.quantile(last, [0.25, 0.5, 0.75], axis=0)
            # Thinner and thinner: what lies below shows.
            width = 3.6 - 2.4 * j / len(names)
            ax.plot(runs.rate, middle, color=PALETTE[j], lw=width, label=START_NAMES.get(start, start))
            ax.fill_between(runs.rate, low, high, color=PALETTE[j], alpha=0.2, lw=0)
        floor = float(np.median(runs.floor))
        ax.axhline(floor, color=GREY, linestyle="--", lw=1, label="floor of A = 0")
        ax.set(xscale="log", yscale="log", xlabel="learning rate", ylim=(LEAST, 1e3))
        ax.set_xscale("log", base=2)
        ax.set_xlim(2.0 ** (-n - 3), 2.0 ** (-n / 2 + 3))
        ax.set_title(rf"$\mathbf{{n = 2^{{{n:.0f}}}}}$")
    axes[0].set_ylabel(f"loss after {cfg.steps} steps / first loss")
    axes[0].legend(loc="lower left", fontsize=8.5)
    return figure


TASKS = {
    "k > r": "8 outputs, rank 2",
    "Y in range(Q0)": "the same, targets in the range of Q₀",
    "r > k": "2 outputs, rank 4",
}


def students(data, cfg):
    r"""Students of a teacher, each start at its own best single rate: loss over all inputs after training.

    Gradient descent against the width: more outputs than the rank, where A = 0 has a floor, and the two
    counter-examples, where it has none; geometric means over the teachers with 95 % bars. Bottom right: the
    first by Adam against the rate, median over the teachers.
    """
    runs = data["students"]
    figure, axes = new_figure(2, 2, width=10.5, height=8)
    panels = axes.ravel()
    for ax, (task, name) in zip(panels, TASKS.items(), strict=False):
        for init in INITS:
            best = runs.loss.sel(task=task, init=init).min("lr").transpose("problem", "width").values
            best = np.maximum(best, 1e-30)
            _log_points(ax, runs.width.values, best, color=COLORS[init], label=LABELS[init])
        _powers(ax)
        ax.set(title=name, ylim=(1e-24, 1e2), ylabel="loss / first loss")
    adam, ax = data["students_adam"], panels[-1]
    for n, line in zip(adam.width.values[[0, -1]], ("--", "-"), strict=True):
        for init in INITS:
            loss = adam.loss.sel(init=init, width=n).transpose("problem", "lr").values
            look = {"color": COLORS[init], "linestyle": line, "label": f"{LABELS[init]}, n = {n}"}
            ax.plot(adam.lr, np.median(loss, axis=0), **look)
    ax.set(yscale="log", xlabel="learning rate", title="Adam, 8 outputs, rank 2", ylabel="loss / first loss")
    ax.set_xscale("log", base=2)
    ax.legend(loc="upper center", fontsize=8.5, handlelength=3)
    panels[0].legend(loc="lower left")
    ax.set_ylim(top=1e4)
    return figure


FIGURES = (rates_by_width, inside, curves, steps_to_tenth, catapult, phases, starts, students)
