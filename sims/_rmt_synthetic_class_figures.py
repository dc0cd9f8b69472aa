"""The figures with more than two classes; conventions and captions as in the other file of figures."""

import numpy as np
from matplotlib.lines import Line2D

from theorysim.lab.figures import PALETTE, measured_points, new_figure, theory_line
from theorysim.lab.runs import mean_over

__all__ = ["CLASS_FIGURES"]

GREY = PALETTE[-1]


def classes(data, cfg):
    r"""Four classes: centred one-hot ridge on real and pruned synthetic data, against label noise.

    $p=60$, per class 20 real and 60 synthetic samples, means $2e_c$ and $2e_c+0.5e_{4+c}$, $\gamma=0.1$;
    a wrong label is any other class; the weak verifier has $\rho=0.5$, $\phi=0.9$. Left: limit (lines) and
    random training sets (points, 95 % bars). Right: their difference; the bias of order $1/p$ that the
    claim allows is shaded.
    """
    runs = data["classes"]
    figure, (left, right) = new_figure(1, 2, width=10.4, height=4.3)
    for i, verifier in enumerate(runs.verifier.values):
        one = runs.sel(verifier=verifier).transpose("eps", "replica", "integration")
        found, exact = mean_over(one.value), mean_over(one.exact, "integration")
        error = np.hypot(found.standard_error, exact.standard_error)
        look = {"color": PALETTE[i], "label": str(verifier)}
        theory_line(left, one.eps, exact.mean, color=PALETTE[i])
        measured_points(left, one.eps, found.mean, found.standard_error, **look)
        # Beside each other, not on top.
        measured_points(right, one.eps + 0.012 * (i - 1), found.mean - exact.mean, error, **look)
    left.axhline(1 / 4, color=GREY, lw=0.8, ls=":")
    left.text(0, 0.255, "guessing", fontsize=9, color=GREY)
    left.set(xlabel=r"label noise $\varepsilon$", ylabel="test accuracy")
    left.legend(title="verifier", loc="lower left", bbox_to_anchor=(0, 0.08))
    allowed = runs.attrs["bias"]
    right.axhspan(-allowed, allowed, color=GREY, alpha=0.15, lw=0)
    right.axhline(0, color=GREY, lw=0.8)
    right.set(xlabel=r"label noise $\varepsilon$", ylabel="sampled $-$ limit, test accuracy")
    return figure


def mnist_network(data, cfg):
    r"""A ReLU network of width 128 on MNIST: 50 real samples per class, and Gaussian ones of each class.

    Mean over networks (points, 95 % bars). Left: verifiers against label noise ($\rho=0.5$, $\phi=0.9$ for
    the weak one), for a generator that knows 500 samples per class; the band is the network without
    synthetic data. Right: what the generator's samples are worth, with an oracle at a label noise of 0.3.
    """
    runs = data["mnist_network"]
    figure, (left, right) = new_figure(1, 2, width=10.4, height=4.3, sharey=True)
    most, seeds = int(runs.used.max()), runs.sizes["replica"]
    alone = mean_over(runs.value.sel(point=(runs.verifier == "real data alone").values))
    low, high = (float((alone.mean + s * 1.96 * alone.standard_error)[0]) for s in (-1, 1))
    for ax in (left, right):
        ax.axhspan(low, high, color=GREY, alpha=0.3, lw=0)
    handles = []
    for i, verifier in enumerate(("oracle", "weak", "none")):
        one = runs.sel(point=((runs.verifier == verifier) & (runs.used == most)).values)
        found = mean_over(one.value)
        left.plot(one.eps, found.mean, color=PALETTE[i], lw=0.8, ls="--", zorder=1)
        measured_points(left, one.eps, found.mean, found.standard_error, color=PALETTE[i])
        handles.append(Line2D([], [], color=PALETTE[i], marker="o", ls="--", lw=0.8, label=verifier))
    handles.append(Line2D([], [], color=GREY, alpha=0.3, lw=6, label="real data alone"))
    left.set(xlabel=r"label noise $\varepsilon$", ylabel="test accuracy")
    left.legend(handles=handles, title=f"verifier ({seeds} seeds)", loc="lower left")
    one = runs.sel(point=((runs.verifier == "oracle") & np.isclose(runs.eps, 0.3)).values).sortby("used")
    found = mean_over(one.value)
    right.plot(one.used, found.mean, color=PALETTE[0], lw=0.8, ls="--", zorder=1)
    measured_points(right, one.used, found.mean, found.standard_error, color=PALETTE[0])
    right.set_xscale("log")
    right.set_xticks(one.used.values, labels=[f"{int(used)}" for used in one.used.values])
    right.minorticks_off()
    right.set_title(r"oracle, $\varepsilon$ = 0.3")
    left.set_title(f"generator fitted to {most} samples per class")
    right.set_xlabel("samples per class that the generator was fitted to")
    return figure


CLASS_FIGURES = (classes, mnist_network)
"""In the order of the report."""
