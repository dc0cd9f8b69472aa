"""The figures of the model-collapse sim: exact theory as lines, simulation as markers with 95 % bars.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

import jax
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from theorysim import model_collapse as mc
from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.lab.runs import mean_over
from theorysim.networks.softmax import mutation_floor

__all__ = ["FIGURES"]

GREY = PALETTE[-1]
_LABELS = {
    "replace": "own samples only",
    "mixed": "the same real data + own samples",
    "accumulate": "real data + all own samples",
    "accumulate, N = n": "the same, N = n",
    "window, pooled": "window of K models, pooled",
    "window, fresh": "window of K models, fresh",
    "random_pool": "samples of random past models",
    "fresh_real": "new real data + own samples",
}


def every_scenario(data, cfg):
    """Diversity lost after m generations, for every way of recursive training.

    Share $(S_m-S_0)/(1-S_0)$ of the diversity of the truth: exact laws (lines) and simulation
    (points, 95 % bars). Own samples alone lose everything; real data in the mix, or old data that is
    not thrown away, keeps almost all of it.
    """
    runs = data["every_scenario"]
    panels = len(runs.n)
    figure, axes = new_figure(1, panels, width=max(7, 4.6 * panels), height=5.6, sharey=True, squeeze=False)
    for ax, n in zip(axes[0], runs.n.values, strict=True):
        few = _few(runs.generation.values, 8)[1:]
        for i, name in enumerate(runs.scenario.values):
            one = runs.sel(scenario=name, n=n).isel(generation=slice(1, None))
            start = float(runs.sigma_exact.sel(scenario=name, n=n, generation=0))
            # The curve of N = n is that of the pool: an open square around its points.
            around = name == "accumulate, N = n"
            color, look = PALETTE[i % len(PALETTE)], {}
            if not around:
                line = "--" if i >= len(PALETTE) else "-"
                theory_line(
                    ax, one.generation, (one.sigma_exact - start) / (1 - start), color=color, linestyle=line
                )
            found = mean_over(one.sigma.sel(generation=few))
            lost, error = (found.mean - start) / (1 - start), found.standard_error / (1 - start)
            if i >= len(PALETTE):
                look = {"fmt": "D"}
            if around:
                edge = {"markeredgecolor": color, "markeredgewidth": 1.2, "elinewidth": 0}
                look = {"fmt": "s", "markerfacecolor": "none", "ms": 9} | edge
            measured_points(ax, few, lost, error, label=_LABELS[str(name)], color=color, **look)
        ax.set(title=f"n = {n}, N = {cfg.real}, K = {cfg.window}", xlabel="generation $m$", yscale="log")
    axes[0][0].set_ylabel("lost diversity $(S_m-S_0)/(1-S_0)$")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def collapse_time(data, cfg):
    r"""Mean generation at which one token is left, against the samples per generation n.

    Simulation (points, 95 % bars), the exact $\mathrm{E}[T]$ (lines, through the points), its large-$n$
    limit (dashed), the paper's lower bound (dotted) and $2n-1$ (grey), which no law exceeds. Above: the
    three starting laws.
    """
    runs = data["collapse_time"]
    figure, (top, ax) = new_figure(2, 1, width=6.4, height=6.8, height_ratios=(1, 2.4))
    n = np.asarray(cfg.collapse_sizes)
    for i, law in enumerate(runs.law.values):
        one, color = runs.sel(law=law), PALETTE[i]
        p = one.p.values
        top.plot(np.arange(1, len(p) + 1), np.where(p > 0, p, np.nan), ".-", color=color, ms=3, lw=0.8)
        theory_line(ax, n, one.mean_exact, color=color)
        theory_line(ax, n, mc.collapse_time_diffusion(p, n), color=color, linestyle="--", lw=1)
        theory_line(ax, n, mc.collapse_time_bounds(p, n).lower, color=color, linestyle=":", lw=1)
        found = mean_over(one["T"], "run")
        measured_points(ax, n, found.mean, found.standard_error, color=color, label=str(law))
    theory_line(ax, n, 2 * n - 1, color=GREY, lw=1)
    top.set(yscale="log", xlabel="token, most frequent first", ylabel="truth $p_i$")
    ax.set(xlabel="samples per generation $n$", ylabel="collapse time $T$ (generations)", ylim=(0, None))
    lines = [
        Line2D([], [], color="black", linestyle="-", label="exact E[T]"),
        Line2D([], [], color="black", linestyle="--", label="large-n limit"),
        Line2D([], [], color="black", linestyle=":", label="paper's lower bound"),
    ]
    lines.append(Line2D([], [], color=GREY, lw=1, label="$2n-1$"))
    ax.add_artist(ax.legend(handles=lines, loc="lower right"))
    ax.legend(loc="upper left", title="simulated from")
    return figure


def simplex(data, cfg):
    """Three tokens in 81 contexts, 1000 samples in all, after 0 to 40 generations on own samples.

    The next-token laws drift towards the corners, where one token is left. Colour: where a law started.
    """
    runs = data["simplex"]
    figure, axes = new_figure(1, len(runs.generation), width=11, height=2.7)
    corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]])
    for ax, m in zip(axes, runs.generation.values, strict=True):
        x, y = (runs.value.sel(generation=m).values @ corners).T
        outline = corners[[0, 1, 2, 0]]
        ax.plot(*outline.T, color=GREY, lw=0.8)
        ax.scatter(x, y, c=runs.p.values, s=14, linewidths=0)
        ax.set(title=f"m = {m}", aspect="equal", xlim=(-0.08, 1.08), ylim=(-0.12, 0.98))
        for corner, name, dy in zip(corners, "123", (-0.09, -0.09, 0.03), strict=True):
            ax.text(corner[0], corner[1] + dy, f"token {name}", ha="center", fontsize=7)
        ax.axis("off")
    return figure


def mixed_by_size(data, cfg):
    r"""The same N real samples kept for ever, beside n synthetic ones.

    Above: $\sigma_m$ of single runs (grey), their mean (points, 95 % bars) and the exact $S_m$ (line).
    Below: L1 drift from the first model: simulation, exact curve, and the bound $\sqrt{V_m(\tilde
    s-1)}$ (dashed). More synthetic data drifts further, but never far.
    """
    runs = data["mixed"].isel(law=1)
    panels = [(f"n = {n}, N = {cfg.real}", runs.sel(n=n), int(n)) for n in cfg.mixed_sizes]
    return _mixed_panels(panels, cfg)


def mixed_by_dispersion(data, cfg):
    """The same at the smallest n, for truths of growing sum of squares.

    The more concentrated the truth, the smaller the drift.
    """
    n = cfg.mixed_sizes[0]
    runs = data["mixed"].sel(n=n)
    panels = [(f"$S_0$ = {float(s):.2f}, n = {n}", runs.isel(law=i), n) for i, s in enumerate(runs.S0.values)]
    return _mixed_panels(panels, cfg)


def _mixed_panels(panels, cfg):
    width = max(6.4, 3.1 * len(panels))
    figure, axes = new_figure(2, len(panels), width=width, height=5.6, sharex=True, squeeze=False)
    for j, (title, runs, n) in enumerate(panels):
        m = runs.generation.values
        few = _few(m, 10)
        top, low = axes[0][j], axes[1][j]
        top.plot(m, runs.sigma.transpose("generation", "replica")[:, :25], color="#c9ced6", lw=0.6)
        exact = np.r_[runs.S0.values, mc.mixed_sumsq(float(runs.S0), n, cfg.real, int(m[-1]))]
        theory_line(top, m, exact, color=PALETTE[0], label="exact $S_m$")
        sigma, drift = mean_over(runs.sigma.sel(generation=few)), mean_over(runs.l1.sel(generation=few[1:]))
        measured_points(top, few, sigma.mean, sigma.standard_error, color=PALETTE[1], label="mean of runs")
        theory_line(low, m[1:], runs.drift_exact[1:], color=PALETTE[0], label="exact")
        support = int((runs.p > 0).sum())
        bound = np.sqrt(mc.mixed_variance_factor(n, cfg.real, int(m[-1])) * (support - 1))
        theory_line(low, m[1:], bound, color=GREY, linestyle="--", label="bound")
        measured_points(
            low, few[1:], drift.mean, drift.standard_error, color=PALETTE[1], label="mean of runs"
        )
        top.set(title=title)
        low.set(xlabel="generation $m$", ylim=(0, None))
    axes[0][0].set_ylabel(r"sum of squares $\sigma_m$")
    axes[1][0].set_ylabel("L1 drift from $p^{(1)}$")
    axes[0][0].legend(loc="best")
    axes[1][0].legend(loc="best")
    return figure


def windows(data, cfg):
    """Training on the last K models, n = 10, against samples of random past models.

    Left: mean sum of squares, exact (lines) and simulated (points, 95 % bars); middle: L1 drift; right:
    share of runs that have collapsed. Fresh samples of K models delay collapse, reused ones (dashed)
    hardly do; the pool plateaus.
    """
    runs = data["windows"]
    figure, axes = new_figure(1, 3, width=11, height=4.6)
    m = runs.generation.values
    few = _few(m, 9)[1:]
    sizes = [str(name).split()[1] for name in runs.training.values if name.endswith("fresh")]
    for name in runs.training.values:
        one = runs.sel(training=name)
        K, how = ("", "") if name == "pool" else str(name).split()[1:]
        color = PALETTE[sizes.index(K)] if K else PALETTE[len(sizes)]
        label = f"window K = {K}, {how}" if K else "random pool"
        dashed, shape = ("--", "s") if how == "pooled" else ("-", "o")
        theory_line(axes[0], m, one.sigma_exact, color=color, linestyle=dashed)
        axes[1].plot(m, mean_over(one.l1).mean, color=color, linestyle=dashed, lw=0.8, alpha=0.6)
        collapsed = [(one["T"].values <= k).mean() for k in m]
        axes[2].plot(m, collapsed, color=color, linestyle=dashed, drawstyle="steps-post")
        for ax, curve in zip(axes, (one.sigma, one.l1), strict=False):
            found = mean_over(curve.sel(generation=few))
            measured_points(
                ax, few, found.mean, found.standard_error, color=color, label=label, fmt=shape, ms=5
            )
    axes[0].set(ylabel=r"mean sum of squares $S_m$", ylim=(0, 1.03))
    axes[1].set(ylabel="L1 drift from $p^{(1)}$", ylim=(0, 2))
    axes[2].set(ylabel="share of runs collapsed, $T \\leq m$", ylim=(-0.02, 1.03))
    for ax in axes:
        ax.set_xlabel("generation $m$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def admissible(data, cfg):
    r"""How much synthetic data may be mixed with N real samples.

    For a stationary drift of at most $\varepsilon$ (first model with $\sigma_1 = 0.1$, 52 tokens): the
    exact threshold (solid; to its right every n is admissible) and the paper's sufficient cap (dashed),
    which is logarithmic in N.
    """
    figure, ax = new_figure(width=6.6, height=4.4)
    for i, N in enumerate((10**2, 10**4, 10**6, 10**8)):
        free = np.sqrt(0.9 / (2 * N + 1))
        eps = free * (1 - np.logspace(0, -6, 400) * (1 - 1e-2))
        exact = np.asarray(mc.max_synthetic(eps, N, 0.1)) / N
        theory_line(ax, eps, exact, color=PALETTE[i], label=f"exact, N = $10^{round(np.log10(N))}$")
        ax.axvline(free, color=PALETTE[i], lw=0.6, alpha=0.5)
        wide = np.logspace(-5, 0.2, 600)
        cap = np.asarray(mc.max_synthetic_bound(wide, N, 52))
        theory_line(ax, wide, np.where(cap >= 1, cap / N, np.nan), color=PALETTE[i], linestyle="--", lw=1.2)
    ax.set(xscale="log", yscale="log", xlim=(1e-5, 2), ylim=(1e-9, 1e4))
    ax.set(xlabel=r"admissible drift $\varepsilon$ (exact: L2, paper: L1)", ylabel="largest $n/N$")
    handles, _ = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], color="black", linestyle="--", lw=1.2, label="paper's cap"))
    ax.legend(handles=handles, loc="center right", bbox_to_anchor=(1, 0.6))
    return figure


def what_survives(data, cfg):
    """What survives for ever, and how long the rest lives.

    Left: diversity kept when no data is thrown away, exact (lines) for several $N/n$, and simulated
    with N = n (points, last generation). Right: life time of the diversity under a window of K models,
    in units of n generations: exact at n = 1000 (points) and the large-n law (lines).
    """
    figure, (left, right) = new_figure(1, 2, width=9.6, height=4)
    limit = jax.vmap(lambda n, N: mc.diversity_limit(mc.Scenario("accumulate", n, N=N)))
    for i, ratio in enumerate((0.1, 1, 10)):
        n = np.geomspace(max(1, 1 / ratio), 100, 200)  # at least one real sample
        theory_line(left, n, limit(n, ratio * n), color=PALETTE[i], label=f"N = {ratio:g} n")
    kept = data["every_scenario"].sel(scenario="accumulate, N = n").isel(generation=-1)
    scale = 1 - float(data["every_scenario"].sigma_exact.isel(scenario=0, n=0, generation=0))
    found = mean_over(kept.sigma)
    share, error = (1 - found.mean) / scale, found.standard_error / scale
    measured_points(left, kept.n, share, error, color=PALETTE[1], label="simulated, N = n")
    left.set(xscale="log", xlabel="samples per generation $n$", ylim=(0, 1.03))
    left.set_ylabel(r"surviving diversity $h_\infty$")
    left.legend(loc="lower right")
    K, size = np.array([1, 2, 4, 8, 16]), 1000
    batch = size // K * K  # samples that a model really gets: floor(n/K) from each of K
    fresh = [mc.Scenario("window", size, K=int(k), resample="fresh") for k in K]
    pooled = [mc.Scenario("window", size, K=int(k)) for k in K]
    smooth = np.linspace(1, K[-1], 100)
    for plans, color, law, label in (
        (fresh, PALETTE[0], (smooth + 1) ** 2 / 4, "fresh, $(K+1)^2/4$"),
        (pooled, PALETTE[1], (smooth + 1) ** 2 / (4 * smooth), "pooled, $(K+1)^2/(4K)$"),
    ):
        life = 1 / (1 - np.array([mc.window_decay_rate(plan) for plan in plans])) / batch
        theory_line(right, smooth, law, color=color, label=label)
        right.plot(K, life, "o", color=color, label=label.split(",")[0] + ", exact")
    right.set(xlabel="models in the window $K$", ylabel="life time / n (generations)", yscale="log")
    right.legend(loc="upper left")
    return figure


def characters(data, cfg):
    """Rare tokens go first: characters, where the truth is that of a text.

    Probability that a token is still known after m generations of training on own samples, against its
    frequency in the truth: exact (lines) and simulated (points, 95 % bars).
    """
    runs = data["characters"]
    figure, ax = new_figure(width=6.4, height=4.2)
    known = runs.frequency.values > 0
    frequency = runs.frequency.values[known]
    for i, m in enumerate(runs.generation.values):
        one = runs.sel(generation=m)
        exact, share = one.alive_exact.values[known], one.alive.values[known]
        error = np.sqrt(exact * (1 - exact) / cfg.runs)
        theory_line(ax, frequency, exact, color=PALETTE[i])
        measured_points(ax, frequency, share, error, color=PALETTE[i], label=f"m = {m}", ms=4)
    ax.set(xscale="log", xlabel="frequency of the token in the truth $p_i$", ylim=(-0.02, 1.03))
    ax.set_ylabel(f"probability to be known, n = {max(cfg.sizes)}")
    ax.legend(title="generation", loc="upper left")
    return figure


def networks(data, cfg):
    r"""A linear softmax trained on its own samples: next characters of real text.

    Left: sum of squares averaged over contexts: exact theory (line), the exact minimiser and the
    network with its floor removed, and plain gradient descent, whose mutation floor delays collapse.
    Right: probability of an unseen token in each context after the first training, against the law
    $(k/s)/(\eta f t)$ (line), which holds where it is small.
    """
    runs = data["networks"]
    figure, (left, right) = new_figure(1, 2, width=10, height=4.2)
    m, weight = runs.generation.values, runs.context_law
    theory_line(left, m, (runs.sigma_exact * weight).sum("context"), color=PALETTE[0], label="theory")
    names = ("exact minimiser", "descent, floor removed", "gradient descent")
    for i, (kind, label) in enumerate(zip(("exact", "thresholded", "trained"), names, strict=True)):
        found = mean_over((runs.sigma.sel(minimiser=kind) * weight).sum("context"))
        shift = 0.12 * (i - 1)  # side by side, so that markers on one curve stay visible
        measured_points(left, m + shift, found.mean, found.standard_error, color=PALETTE[i + 1], label=label)
    left.set(xlabel="generation $m$", ylabel=r"mean sum of squares $\sum_j f_j\,\sigma_{m,j}$")
    left.legend(loc="upper left")
    first = runs.sel(minimiser="trained").isel(trained_generation=0)
    frequency = first.counts.values / cfg.network_samples
    seen = first.support.isel(generation=1).values
    tokens = int(runs.tokens)
    usable = (frequency > 0) & (first.floor.values > 0) & (seen < tokens)
    predicted = mutation_floor(
        np.maximum(seen, 1)[usable],
        tokens,
        learning_rate=1 / float(weight.max()),
        frequency=frequency[usable],
        num_steps=cfg.network_steps,
    )
    measured = first.floor.values[usable]
    right.plot(predicted, measured, ".", color=PALETTE[3], ms=4, alpha=0.5, label="contexts, all runs")
    ends = np.array([1e-4, 1e-2]) if predicted.size == 0 else np.array([predicted.min(), predicted.max()])
    theory_line(right, ends, ends, color="black", label="measured = law")
    right.set(xscale="log", yscale="log", xlabel=r"$(k/s)/(\eta f t)$")
    right.set_ylabel("probability of an unseen token")
    right.xaxis.set_minor_formatter(NullFormatter())
    right.yaxis.set_minor_formatter(NullFormatter())
    right.legend(loc="upper left")
    return figure


def _few(generation, count):
    """About `count` generations, evenly spaced, both ends included."""
    return np.unique(
        np.round(np.linspace(generation[0], generation[-1], min(count, len(generation)))).astype(int)
    )


FIGURES = (
    every_scenario, collapse_time, simplex, mixed_by_size, mixed_by_dispersion,
    windows, admissible, what_survives, characters, networks,
)  # fmt: skip
