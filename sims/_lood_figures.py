"""The figures of the sim on leave-one-out distinguishability: theory as lines, measurement as markers.

Each function takes the data sets of the experiments and the configuration, and returns a figure; its
docstring is the caption.
"""

import numpy as np

from theorysim import lood
from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.numerics import stats

from ._lood_claims import attack_by_width, trained_attack
from ._lood_config import EDGES, NOISE, plane_problem, records

__all__ = ["FIGURES"]

GREY = PALETTE[-1]


def landscape(data, cfg):
    r"""What one query sees of the record at the cross, over a plane with eleven other records (dots).

    Left: Kullback–Leibler divergence of the output, whose maximum is the record itself. Right: distance of
    the means, whose maximum (star) is elsewhere; the line is the local maximum for an attacker whose outputs
    carry noise, from the record (no noise) to that of the distance of the means (much). Contours are 0.9,
    0.5, 0.2, 0.1 ... of the maximum.
    """
    runs = data["plane"]
    X, _, record = plane_problem()
    figure, axes = new_figure(1, 2, width=10.5, height=4.6, sharey=True)
    path = runs["query"].transpose("tau", "axis").values
    for ax, name, title in zip(
        axes, ("kl", "mean_distance"), ("KL(in ‖ out)", r"$|\mu_{in}-\mu_{out}|^2$"), strict=True
    ):
        z = runs[name].transpose("v", "u").values
        shown = ax.pcolormesh(runs.u, runs.v, z, shading="gouraud", cmap="cividis")
        levels = z.max() * np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9])
        ax.contour(runs.u, runs.v, z, levels=levels, colors="white", linewidths=0.5, alpha=0.7)
        figure.colorbar(shown, ax=ax, label=title)
        others = np.delete(X, record, axis=0)
        ax.plot(*others.T, ".", color="white", ms=6, mec="black", mew=0.5)
        ax.plot(*X[record], "x", color="black", ms=9, mew=2.2)
        ax.set(
            xlabel="$q_1$",
            aspect="equal",
            xlim=(runs.u.min(), runs.u.max()),
            ylim=(runs.v.min(), runs.v.max()),
        )
    v, u = np.unravel_index(int(runs.mean_distance.transpose("v", "u").values.argmax()), (61, 61))
    axes[1].plot(path[:, 0], path[:, 1], color=PALETTE[1], lw=1.8)
    axes[1].plot(runs.u[u], runs.v[v], "*", color=PALETTE[1], ms=13, mec="black", mew=0.6)
    axes[0].set_ylabel("$q_2$")
    return figure


def attack_curves(data, cfg):
    r"""Attack on the outputs at a record: true against false positives, for five records of rising leakage.

    Lines: the exact curve of two Gaussians. Points: the attack on exact-posterior networks of the largest
    width, which calls a network a member's if its squared loss is below a threshold; 95 % bars. Right: the
    same on logarithmic axes. Dashed: guessing.
    """
    runs = data["exact_networks"].isel(width=-1)
    figure, axes = new_figure(1, 2, width=10.5, height=4.4)
    order = np.argsort(runs.auc_predicted.values)
    picked = order[np.unique(np.linspace(0, len(order) - 1, 5).astype(int))]
    half = runs.sizes["replica"] // 2
    loss = [
        ((runs[name] - runs.y) ** 2).transpose("replica", "record").values for name in ("inside", "outside")
    ]
    fpr = np.geomspace(1e-3, 1, 200)
    marks = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7])
    for i, r in enumerate(picked):
        h, zeta = float(runs.leverage_predicted[r]), float(runs.surprise_predicted[r])
        exact = np.asarray(lood.attack_roc(h, zeta, fpr))
        threshold = np.quantile(loss[1][half:, r], marks)
        tpr = (loss[0][:half, r][:, None] <= threshold).mean(0)
        # The threshold is an estimate, too: its false positives are known to so many.
        slope = np.gradient(np.asarray(lood.attack_roc(h, zeta, fpr)), fpr)
        spread = np.interp(marks, fpr, slope) ** 2 * marks * (1 - marks)
        error = np.sqrt((np.maximum(tpr * (1 - tpr), 1 / half) + spread) / half)
        for ax in axes:
            theory_line(ax, fpr, exact, color=PALETTE[i], label=f"h = {h:.2f}, ζ = {zeta:.2f}")
            measured_points(ax, marks, tpr, error, color=PALETTE[i])
    for ax in axes:
        theory_line(ax, fpr, fpr, color=GREY, linestyle="--", lw=1)
        ax.set(xlabel="false positives")
    axes[1].set(xscale="log", yscale="log", ylim=(1e-3, 1.2))
    axes[0].set_ylabel("true positives")
    axes[0].legend(loc="lower right")
    return figure


def predicted_and_measured(data, cfg):
    r"""Success of the attack on every record, predicted and measured.

    Left and middle: exact-posterior networks of the smallest and the largest width (95 % bars of the theory);
    triangles are records with a wrong label. Right: networks trained by gradients with all records and
    without each of some, attacked by likelihood ratio (95 % bars), against the neural-tangent ensemble.
    """
    figure, axes = new_figure(1, 3, width=12.5, height=4.2)
    runs = data["exact_networks"]
    measured, error = attack_by_width(runs)
    predicted = runs.auc_predicted.values
    wrong = np.isin(np.arange(len(predicted)), records(cfg.dataset, cfg.records, cfg.flipped).wrong)
    panels = [(predicted, measured[i], error, wrong, f"posterior, N = {cfg.widths[i]}") for i in (0, -1)]
    found, law = trained_attack(data["trained_networks"])
    marked = data["trained_networks"].wrong.values.astype(bool)
    panels.append((law, found.mean, found.standard_error, marked, f"trained, N = {cfg.trained_width}"))
    for ax, (x, y, e, marked, title) in zip(axes, panels, strict=True):
        theory_line(ax, [0.4, 1], [0.4, 1], color=GREY, lw=1)
        for group, marker, color, name in (
            (~marked, "o", PALETTE[0], "right"),
            (marked, "^", PALETTE[1], "wrong"),
        ):
            ax.errorbar(
                x[group],
                y[group],
                1.96 * e[group],
                fmt=marker,
                color=color,
                ms=4,
                lw=0.8,
                label=f"{name} label",
            )
        r = stats.correlation(x, y)
        ax.set(
            xlabel="predicted AUC",
            title=f"{title}: r = {r.estimate:.3f} [{r.low:.2f}, {r.high:.2f}]",
            xlim=(0.45, 1.02),
            ylim=(0.4, 1.03),
        )
    axes[0].set_ylabel("measured AUC")
    axes[0].legend(loc="lower right")
    return figure


def activation_and_depth(data, cfg):
    r"""Leakage against depth for three activations.

    Information gain per record (mean, 95 % bars over records, noise 0.01) on the edge of chaos and under one
    common initialisation; AUC of attacks with the true labels and with random ones (noise 0.1); and
    the mechanism: how far apart two inputs are after so many layers.
    """
    figure, axes = new_figure(1, 4, width=14.5, height=4.0)
    runs = data["depth"]
    L = runs.depth.values
    for i, phi in enumerate(EDGES):
        one = runs.sel(phi=phi, inputs="raw")
        found = _over_records(one.information.sel(labels="true", noise=1e-2))
        measured_points(axes[0], L, found.mean, found.standard_error, color=PALETTE[i], label=phi)
        axes[0].plot(L, found.mean, color=PALETTE[i], lw=1)
        for labels, style in (("true", "-"), ("random", "--")):
            found = _over_records(one.auc.sel(labels=labels, noise=1e-1))
            measured_points(axes[2], L, found.mean, found.standard_error, color=PALETTE[i])
            axes[2].plot(L, found.mean, color=PALETTE[i], lw=1, ls=style)
        theory_line(axes[3], L, runs.apart.sel(phi=phi), color=PALETTE[i], label=phi)
    for i, phi in enumerate(("relu", "gelu")):
        found = _over_records(data["he"].information.sel(phi=phi))
        measured_points(axes[1], L, found.mean, found.standard_error, color=PALETTE[i], label=phi)
        axes[1].plot(L, found.mean, color=PALETTE[i], lw=1)
    axes[0].set(ylabel="information gain per record (nats)", title="edge of chaos")
    axes[1].set(ylabel="information gain per record (nats)", title="weight variance 2")
    axes[2].set(ylabel="mean AUC", title="true (—) and random (- -) labels")
    axes[3].set(ylabel="$1-c_L$, mean over pairs", yscale="log", title="distance after L layers")
    for ax in axes:
        ax.set(xlabel="depth $L$", xscale="log")
        ax.set_xticks(L, labels=[f"{v:g}" for v in L])
        ax.set_xticks([], minor=True)
    axes[0].legend(loc="best")
    return figure


def _over_records(leakage):
    """Mean over records and its standard error, for every depth."""
    return stats.mean_and_error(leakage.transpose("depth", "record").values, axis=1)


def reconstructions(data, cfg):
    r"""Records reconstructed from what queries see of them.

    Top: the record. Middle: the query that maximises the divergence, from the best of some random starts,
    and its distance from the record. Bottom: the nearest other record, and the query's distance from it. All
    are images of norm 1.
    """
    runs = data["queries"].sel(objective="kl", kernel="rbf")
    X = records(cfg.dataset, cfg.records).x
    count, side = min(8, runs.sizes["target"]), round(X.shape[1] ** 0.5)
    figure, axes = new_figure(3, count, width=1.25 * count + 0.8, height=4.4)
    for j in range(count):
        query = runs["query"].values[j, 0]
        others = np.linalg.norm(X - query, axis=1)
        others[int(runs.target[j])] = np.inf
        nearest = int(others.argmin())
        rows = [X[int(runs.target[j])], query, X[nearest]]
        texts = ["", f"{float(runs.distance[j, 0]):.1e}", f"{others[nearest]:.2f}"]
        for ax, image, text in zip(axes[:, j], rows, texts, strict=True):
            ax.imshow(image.reshape(side, side), cmap="gray_r", vmin=0)
            ax.set(xticks=[], yticks=[], xlabel=text)
            ax.spines[:].set_visible(True)
    for ax, name in zip(axes[:, 0], ("record", "query", "nearest other"), strict=True):
        ax.set_ylabel(name)
    return figure


def exposed_records(data, cfg):
    r"""The ten most (top) and the ten least exposed records, with the AUC of an attack on each.

    Red frames: records whose label was planted wrong.
    """
    runs = data["exact_networks"]
    sample = records(cfg.dataset, cfg.records, cfg.flipped)
    auc = runs.auc_predicted.values
    order = np.argsort(-auc)
    count, side = min(10, len(auc) // 2), round(sample.x.shape[1] ** 0.5)
    figure, axes = new_figure(2, count, width=1.1 * count + 0.6, height=3.2)
    names = {1.0: "even", -1.0: "odd"} if cfg.dataset == "digits" else {1.0: "4", -1.0: "9"}
    for row, picked in zip(axes, (order[:count], order[-count:]), strict=True):
        for ax, r in zip(row, picked, strict=True):
            ax.imshow(sample.image[r].reshape(side, side), cmap="gray_r")
            ax.set(xticks=[], yticks=[], title=names[float(sample.y[r])], xlabel=f"{auc[r]:.3f}")
            for spine in ax.spines.values():
                spine.set(
                    visible=True,
                    color="red" if r in sample.wrong else GREY,
                    linewidth=2 if r in sample.wrong else 0.8,
                )
    axes[0, 0].set_ylabel("most")
    axes[1, 0].set_ylabel("least")
    return figure


def influence_and_exposure(data, cfg):
    r"""Classic influence of a record on its own prediction, against the exact change when it is left out.

    Left: theory, every record; classic influence is the exact change times $1-h$ (grey: equal). Right: the
    change measured on networks of the largest width, each with and without the record (95 % bars), against
    the exact one.
    """
    runs = data["exact_networks"].isel(width=-1)
    h, zeta = runs.leverage_predicted.values, runs.surprise_predicted.values
    v = NOISE * h / (1 - h)
    exact = h * np.sqrt(zeta * (v + NOISE))
    figure, axes = new_figure(1, 2, width=10.0, height=4.2)
    shown = axes[0].scatter(exact, (1 - h) * exact, c=h, cmap="viridis", s=14)
    figure.colorbar(shown, ax=axes[0], label="leverage $h$")
    top = 1.05 * exact.max()
    for ax in axes:
        theory_line(ax, [0, top], [0, top], color=GREY, lw=1)
        ax.set_xlabel(r"exact change $|\mu_{in}-\mu_{out}|$")
    axes[0].set_ylabel("classic influence")
    change = (runs.inside - runs.outside) * np.sign(runs.y)
    found = stats.mean_and_error(change.transpose("replica", "record").values)
    measured_points(axes[1], exact, np.abs(found.mean), found.standard_error, color=PALETTE[0])
    axes[1].set_ylabel("change of the mean, networks")
    return figure


def privacy(data, cfg):
    r"""Privacy of releasing the outputs at a record: $\delta$ for every loss $\varepsilon$.

    The records of the attack curves. Left: evidence for membership, which is bounded: dotted lines are
    $\varepsilon=(\zeta-\log(1-h))/2$. Right: evidence against it, which is not.
    """
    runs = data["exact_networks"]
    order = np.argsort(runs.auc_predicted.values)
    picked = order[np.unique(np.linspace(0, len(order) - 1, 5).astype(int))]
    figure, axes = new_figure(1, 2, width=10.0, height=4.2, sharey=True)
    eps = np.linspace(0, 6, 241)
    for i, r in enumerate(picked):
        h, zeta = float(runs.leverage_predicted[r]), float(runs.surprise_predicted[r])
        profile = lood.privacy_profile(h, zeta, eps)
        text = f"h = {h:.2f}, ζ = {zeta:.2f}"
        for ax, delta in zip(axes, (profile.delta, profile.delta_reverse), strict=True):
            theory_line(
                ax, eps, np.where(np.asarray(delta) > 1e-9, delta, np.nan), color=PALETTE[i], label=text
            )
        axes[0].axvline(float(lood.epsilon_bound(h, zeta)), color=PALETTE[i], ls=":", lw=1)
    for ax, title in zip(axes, ("in against out", "out against in"), strict=True):
        ax.set(xlabel=r"$\varepsilon$", yscale="log", ylim=(1e-6, 1), xlim=(0, 6), title=title)
    axes[0].set_ylabel(r"$\delta$")
    axes[1].legend(loc="lower left")
    return figure


FIGURES = (
    landscape,
    attack_curves,
    predicted_and_measured,
    activation_and_depth,
    reconstructions,
    exposed_records,
    influence_and_exposure,
    privacy,
)
