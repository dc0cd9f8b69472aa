"""How the answer of `theorysim advise features` looks: one screen of text, and a picture.

Example:
    >>> number_with_error(0.97654, 0.0123), number_with_error(0.5, float("nan"))
    ('0.977 ± 0.012', '0.500')
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from rich.table import Table
from rich.text import Text

from theorysim.lab.console import make_console, number_table
from theorysim.lab.figures import PALETTE, measured_points, new_figure, style, theory_line
from theorysim.lab.formatting import measured, number

if TYPE_CHECKING:
    from theorysim.advisors.features import FeatureAudit

__all__ = ["draw_features", "number_with_error", "show_features"]

# Eigenfunctions in the bars and in the sums of the picture, at most.
_BARS = 30
_NAMED = 20
_TWO_SIDED = 1.96


def number_with_error(value: float | None, error: float | None) -> str:
    """Return a share to three decimals, with its error if there is one.

    Example:
        >>> number_with_error(0.25, 0.0)
        '0.250 ± 0.000'
    """
    if value is None or math.isnan(value):
        return "–"
    if error is None or not math.isfinite(error):
        return f"{value:.3f}"
    return f"{value:.3f} ± {error:.3f}"


def show_features(audit: "FeatureAudit", top: int) -> None:
    """Print an audit, with a list of `top` eigenfunctions."""
    console = make_console()
    for line in _heading(audit):
        console.print(line, markup=False)
    console.print(_measures(audit))
    console.print(_eigenfunctions(audit, top))
    console.print()
    for sentence in audit.verdict:
        console.print(Text(sentence, style="bold"))


def draw_features(audit: "FeatureAudit", path: Path) -> None:
    """Draw the spectrum, quality and utility, their sums beside chance, and the first two eigenfunctions."""
    figure, axes = new_figure(rows=2, cols=2, width=11.5, height=8.4)
    with style():
        _draw_spectrum(axes[0, 0], audit)
        _draw_bars(axes[0, 1], audit)
        _draw_sums(axes[1, 0], audit)
        _draw_eigenfunctions(figure, axes[1, 1], audit)
        # No date and no version: the same data give the same bytes.
        metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
        figure.savefig(path, dpi=150, metadata=metadata.get(path.suffix, {"CreationDate": None}))


def _heading(audit) -> list[str]:
    data = audit.data
    targets = "target" if data.target_dimension == 1 else "targets"
    what = f"{len(data.classes)} classes" if data.classes else f"{data.target_dimension} {targets}"
    said = f"{data.examples:,} examples of {data.features:,} features, {what}; K* = {data.target_dimension}."
    if data.test_examples:
        said += f" {data.test_examples:,} held out."
    whose = {
        "readout": "the readout given",
        "outputs": "the outputs given, as far as they are linear in the features",
        "probe": "a ridge readout fitted here to the labels, NOT the network's own",
    }
    return [said, f"Utility is that of {whose[audit.source]}."]


def _measures(audit) -> Table:
    report, chance, random, held = audit.report, audit.chance, audit.random, audit.held_out
    errors = report.standard_errors
    K = report.target_dimension
    at = min(K, len(report.quality)) - 1
    relu = random.kind == "relu"
    kind = "random ReLU\nfeatures" if relu else "random\ndirections"
    table = number_table("measure", "here", "by chance", kind, "held out")

    def row(name, here, by_chance="", drawn="", outside=""):
        cells = [here, by_chance, drawn, outside if held is not None else ""]
        table.add_row(name, *(cell if isinstance(cell, str) else number(float(cell)) for cell in cells))

    row(
        f"utility u({at + 1})",
        number_with_error(float(report.cumulative_utility[at]), _or_none(errors.utility)),
        number_with_error(chance.utility, chance.utility_deviation),
        "",
        "" if held is None else number_with_error(held.utility, None),
    )
    table.add_row("  of a random readout", "", number_with_error(chance.readout, chance.readout_deviation))
    row(
        f"quality q({at + 1})",
        number_with_error(float(report.cumulative_quality[at]), float(errors.quality)),
        f"{chance.quality:.3g} ± {chance.quality_deviation:.1g}",
        number_with_error(random.quality, random.quality_deviation if random.draws > 1 else None),
        "" if held is None else number_with_error(held.quality, held.quality_error),
    )
    row(
        f"dominance share({at + 1})",
        number_with_error(float(report.dominance), float(errors.dominance)),
        "",
        number_with_error(random.dominance, None) if relu else "",
        "" if held is None else number_with_error(held.dominance, None),
    )
    spread = report.effective_participation
    participation = measured(float(spread), _or_none(errors.participation))
    row("effective features N2", participation, "", number(random.participation) if relu else "")
    if audit.participation is not None:
        row("  without bias", audit.participation)
    row("effective features N1", report.effective_entropy)
    row(
        "in use: K90, N_u",
        f"{int(report.used_features)}, {number(float(report.effective_utility), digits=3)}",
    )
    row("gap rho_K*/rho_K*+1", report.gap)
    row("alignment with the targets", report.target_alignment)
    for pair in (("nc1", "nc2"), ("nc3", "nc4")):
        values = [getattr(report, name) for name in pair]
        if values[0] is not None:
            said = ", ".join(number(float(value), digits=3) for value in values)
            row("collapse " + ", ".join(pair).upper(), said)
    if report.within_between is not None:
        row("  tr S_W / tr S_B", report.within_between)
    return table


def _eigenfunctions(audit, top: int) -> Table:
    report = audit.report
    rho = np.asarray(report.eigenvalues)
    count = min(top, len(rho) - int(report.dropped))
    table = number_table("eigenfunction", "eigenvalue", "share", "quality Q", "utility Π", "q(k)", "u(k)")
    for k in range(count):
        table.add_row(
            f"{k + 1}",
            number(float(rho[k])),
            f"{rho[k] / rho.sum():.3f}",
            f"{report.quality[k]:.3f}",
            f"{report.utility[k]:.3f}",
            f"{report.cumulative_quality[k]:.3f}",
            f"{report.cumulative_utility[k]:.3f}",
            end_section=k + 1 == report.target_dimension,
        )
    return table


def _or_none(value) -> float | None:
    return None if value is None else float(value)


def _draw_spectrum(ax, audit) -> None:
    report, K = audit.report, audit.report.target_dimension
    rho = np.asarray(report.eigenvalues)
    rho = rho[: len(rho) - int(report.dropped)]
    k = np.arange(1, len(rho) + 1)
    dots: dict = {"linestyle": "none", "marker": "o", "markersize": 4}
    ax.plot(k[:K], rho[:K], color=PALETTE[0], label="first $K^*$", **dots)
    ax.plot(k[K:], rho[K:], color=PALETTE[6], label="the rest", **dots)
    ax.axvline(K + 0.5, color=PALETTE[6], linestyle=":")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("eigenfunction $k$")
    ax.set_ylabel(r"eigenvalue $\rho_k$")
    share = float(report.dominance)
    ax.set_title(f"Spectrum: the first {K} hold {100 * share:.0f} % of the variance")
    ax.legend()


def _draw_bars(ax, audit) -> None:
    report, K = audit.report, audit.report.target_dimension
    count = int(min(max(2 * K, 12), _BARS, len(report.quality) - int(report.dropped)))
    k = np.arange(1, count + 1)
    ax.bar(k - 0.2, report.utility[:count], width=0.4, color=PALETTE[1], label="utility $\\Pi_k$")
    ax.bar(k + 0.2, report.quality[:count], width=0.4, color=PALETTE[0], label="quality $Q_k$")
    if K < count:
        ax.axvline(K + 0.5, color=PALETTE[6], linestyle=":", label="$K^*$")
    ax.axhline(
        audit.chance.quality, color=PALETTE[0], linestyle="--", linewidth=1.0, label="quality by chance"
    )
    ax.set_xlim(0.4, count + 0.6)
    ax.set_ylim(0, 1.3)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("eigenfunction $k$")
    ax.set_ylabel("share in outputs, labels")
    ax.set_title("What is used, and what is right?")
    ax.legend(ncols=2, loc="upper right")


def _draw_sums(ax, audit) -> None:
    from theorysim.advisors.features import chance_bands

    report, K = audit.report, audit.report.target_dimension
    rank = len(report.quality) - int(report.dropped)
    bands = chance_bands(report, examples=audit.data.examples, top=rank)
    k = bands.top
    pairs = (
        ("u(k)", report.cumulative_utility, bands.utility, bands.utility_deviation, PALETTE[1]),
        ("q(k)", report.cumulative_quality, bands.quality, bands.quality_deviation, PALETTE[0]),
    )
    for name, values, mean, deviation, color in pairs:
        low, high = (np.clip(mean + s * _TWO_SIDED * deviation, 0, 1) for s in (-1, 1))
        ax.fill_between(k, low, high, color=color, alpha=0.25, linewidth=0, label=f"${name}$ by chance")
        theory_line(ax, k, np.asarray(values)[: len(k)], color=color, label=f"${name}$")
    errors, at = report.standard_errors, min(K, rank) - 1
    for values, error, color in (
        (report.cumulative_utility, errors.utility, PALETTE[1]),
        (report.cumulative_quality, errors.quality, PALETTE[0]),
    ):
        measured_points(ax, [at + 1], [float(values[at])], [float(error)], color=color)
    held = audit.held_out
    if held is not None:
        bar = [held.quality], [held.quality_error]
        measured_points(ax, [at + 1], *bar, color=PALETTE[2], fmt="s", label="$q(K^*)$ held out")
    for limit in (audit.limits.minimal, audit.limits.extended):
        ax.axhline(limit, color=PALETTE[6], linestyle=":", linewidth=1.0)
    ax.axvline(K, color=PALETTE[6], linestyle=":", linewidth=1.0)
    if len(k) > _BARS:
        ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.42)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_xlabel("first $k$ eigenfunctions")
    ax.set_ylabel("$u(k)$, $q(k)$")
    whose = ", of a linear probe" if audit.source == "probe" else ""
    ax.set_title(f"The first $k$ together: {report.regime}{whose}")
    ax.legend(loc="upper right", ncols=2, fontsize=8.5)


def _draw_eigenfunctions(figure, ax, audit) -> None:
    sample, data = audit.sample, audit.data
    x, y = sample.coordinates.T
    dots: dict = {"s": 9, "linewidths": 0, "alpha": 0.6}
    if data.classes:
        count = len(data.classes)
        colours = (
            PALETTE if count <= len(PALETTE) else matplotlib.colormaps["turbo"](np.linspace(0, 1, count))
        )
        for code in range(count):
            here = sample.labels == code
            if not here.any():
                continue
            ax.scatter(x[here], y[here], color=[colours[code]], **dots)
            if count <= _NAMED:
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
                name = str(data.classes[code])[:16]
                centre = np.median(x[here]), np.median(y[here])
                ax.annotate(name, centre, ha="center", va="center", fontsize=9, weight="bold", bbox=box)
    else:
        drawn = ax.scatter(x, y, c=sample.labels, cmap="cividis", **dots)
        figure.colorbar(drawn, ax=ax, label="first target")
    ax.set_xlabel(r"$e_1$")
    ax.set_ylabel(r"$e_2$")
    some = f", {len(x):,} of {data.examples:,} examples" if len(x) < data.examples else ""
    ax.set_title(f"The first two eigenfunctions{some}")
