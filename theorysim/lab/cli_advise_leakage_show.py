"""How the answer of `theorysim advise leakage` looks: one screen of text, and a picture.

Example:
    >>> share_text(0.1234), share_text(0.00123)
    ('12.3 %', '0.123 %')
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import NullLocator, PercentFormatter
from rich.table import Table
from rich.text import Text

from theorysim.lab.console import make_console, number_table
from theorysim.lab.figures import PALETTE, new_figure, style, theory_line
from theorysim.lab.formatting import number

if TYPE_CHECKING:
    from theorysim.advisors.leakage import LeakageAudit

__all__ = ["draw_leakage", "share_text", "show_leakage"]


def share_text(share: float) -> str:
    """Return a share in per cent, small ones with three digits.

    Example:
        >>> share_text(0.0), share_text(1.0)
        ('0 %', '100 %')
    """
    percent = 100 * float(share)
    return f"{percent:.3g} %"


def show_leakage(audit: "LeakageAudit", top: int) -> None:
    """Print an audit, with lists of `top` records."""
    console = make_console()
    for line in _heading(audit):
        console.print(line, markup=False)
    console.print(_exposed_table(audit, top))
    console.print(_noise_table(audit))
    if audit.removal is not None:
        count = len(audit.removal.removed)
        pairs = zip(audit.removal.ranking, audit.removal.auc, strict=True)
        listed = ", ".join(f"{record} ({auc:.2f})" for record, auc in list(pairs)[:top])
        console.print(f"Most exposed once the first {count} are removed (AUC): {listed}", markup=False)
    if audit.label_errors:
        console.print(_label_table(audit, top))
    if audit.check is not None:
        console.print(_check_table(audit))
    console.print()
    for sentence in audit.verdict:
        console.print(Text(sentence, style="bold"))


def draw_leakage(audit: "LeakageAudit", path: Path) -> None:
    """Draw the ranking, leverage against surprise with lines of equal AUC, and leakage against noise."""
    figure, axes = new_figure(cols=3, width=13.5, height=4.2)
    with style():
        _draw_ranking(axes[0], audit)
        _draw_map(axes[1], audit)
        _draw_noise(axes[2], audit)
        # No date and no version: the same data give the same bytes.
        metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
        figure.savefig(path, dpi=150, metadata=metadata.get(path.suffix, {"CreationDate": None}))


def _heading(audit) -> list[str]:
    data, fit, model = audit.data, audit.fit, audit.fit.model
    what = f"{len(data.classes)} classes" if data.classes else "regression"
    said = f"{data.records:,} records of {data.features:,} features, {what}"
    if data.constant:
        said += f" ({data.constant} constant features left out)"
    shape = (
        f"length {model.length:.3g}"
        if model.length is not None
        else f"bias variance {model.bias_variance:.3g}"
    )
    depth = f", {model.depth} hidden layers" if model.depth else ""
    noise = "ridge" if model.kernel == "ntk" else "noise"
    kernel = f"{shape}, variance {model.variance:.3g}, {noise} {model.noise:.3g}"
    how = "all given"
    if fit.fitted:
        how = f"{', '.join(name.replace('_', ' ') for name in fit.fitted)} by marginal likelihood"
        if fit.records < data.records:
            how += f" on {fit.records:,} records drawn at random"
        how += f", {fit.steps} steps" + ("" if fit.converged else ", NOT converged")
    return [f"{said}.", f"Model: {model.kernel}{depth}, {kernel}", f"       ({how})."]


def _exposed_table(audit, top) -> Table:
    exposure = audit.exposure
    table = number_table(
        "most exposed", "label", "without it", "leverage h", "surprise ζ", "KL", "AUC", "TPR at\n0.1 % FPR"
    )
    wrong = {error.record for error in audit.label_errors}
    for i in audit.ranking[:top].tolist():
        table.add_row(
            f"record {i}" + (" (label?)" if i in wrong else ""),
            _shown(audit.labels[i].item()),
            _shown(audit.predicted[i].item()),
            f"{exposure.leverage[i]:.3f}",
            number(exposure.surprise[i], digits=3),
            number(exposure.kl[i], digits=3),
            f"{exposure.auc[i]:.3f}",
            share_text(exposure.tpr[i]),
        )
    return table


def _noise_table(audit) -> Table:
    table = number_table(
        "noise", "records\nabove AUC 0.9", "mean KL", "mean AUC", f"leave-one-out\n{_score_name(audit)}"
    )
    base = audit.noise[0].noise
    rows = [(f"{row.noise:.3g} (x {row.noise / base:g})", row) for row in audit.noise]
    if audit.removal is not None:
        rows.append((f"{base:.3g}, first {len(audit.removal.removed)} removed", audit.removal))
    for name, row in rows:
        auc = f"{row.mean_auc:.3f}" if hasattr(row, "mean_auc") else "–"
        table.add_row(name, f"{row.above:,}", number(row.mean_kl, digits=3), auc, _score(audit, row.score))
    return table


def _label_table(audit, top) -> Table:
    table = number_table("label looks wrong", "label", "without it", "leverage h", "surprise ζ")
    for error in audit.label_errors[:top]:
        table.add_row(
            f"record {error.record}",
            _shown(error.label),
            _shown(error.predicted),
            f"{error.leverage:.3f}",
            number(error.surprise, digits=3),
        )
    return table


def _check_table(audit) -> Table:
    check = audit.check
    heading = f"left out, {check.networks}\nnetworks each"
    table = number_table(heading, "predicted\nAUC", "measured\nAUC", "errors\napart")
    columns = (check.records, check.predicted, check.measured, check.error, check.distance)
    for i, predicted, measured, error, distance in zip(*columns, strict=True):
        table.add_row(f"record {i}", f"{predicted:.3f}", f"{measured:.3f} ± {error:.3f}", f"{distance:+.1f}")
    return table


def _shown(label) -> str:
    return f"{label:.4g}" if isinstance(label, float) else str(label)[:16]


def _score_name(audit) -> str:
    return "accuracy" if audit.data.task == "classes" else "error (rms)"


def _score(audit, score) -> str:
    return f"{100 * score:.1f} %" if audit.data.task == "classes" else number(score, digits=3)


def _draw_ranking(ax, audit) -> None:
    from theorysim.advisors.leakage import EXPOSED

    n = audit.data.records
    auc = audit.exposure.auc[audit.ranking]
    rank = np.arange(1, n + 1)
    tpr = audit.exposure.tpr[audit.ranking]
    small: dict[str, Any] = {"linestyle": "none", "marker": ".", "markersize": 3}
    ax.plot(rank, tpr, color=PALETTE[2], label="TPR at 0.1 % FPR", **small)
    theory_line(ax, rank, auc, color=PALETTE[0], label="AUC")
    wrong = np.isin(audit.ranking, [error.record for error in audit.label_errors])
    if wrong.any():
        dots: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4, "color": PALETTE[1]}
        ax.plot(np.flatnonzero(wrong) + 1, auc[wrong], label="label looks wrong", zorder=3, **dots)
    ax.axhline(EXPOSED, color=PALETTE[6], linestyle=":", label=f"AUC {EXPOSED}")
    ax.set_xscale("log")
    ax.set_xlabel("rank of the record")
    ax.set_ylabel("best attack: AUC, TPR")
    ax.set_ylim(-0.02, 1.02)
    ax.set_title("How exposed is each record?")
    ax.legend()


def _draw_map(ax, audit) -> None:
    from theorysim.advisors.leakage import auc_map

    h, zeta = audit.exposure.leverage, np.maximum(audit.exposure.surprise, 1e-3)
    ax.set_yscale("log")
    chart = auc_map((1e-3, float(max(2 * zeta.max(), 10.0))), outputs=audit.exposure.predicted.shape[1])
    lines = ax.contour(
        chart.leverage,
        chart.surprise,
        chart.auc,
        levels=[0.6, 0.75, 0.9, 0.99],
        colors=[PALETTE[6]],
        linewidths=1.0,
    )
    ax.clabel(lines, fmt="%g", fontsize=8.5)
    wrong = np.isin(np.arange(len(h)), [error.record for error in audit.label_errors])
    dots: dict[str, Any] = {"s": 9, "linewidths": 0, "zorder": 3}
    ax.scatter(h[~wrong], zeta[~wrong], color=PALETTE[0], alpha=0.5, **dots)
    if wrong.any():
        ax.scatter(h[wrong], zeta[wrong], color=PALETTE[1], **dots)
    ax.set_xlim(0, 1)
    ax.set_xlabel("leverage $h$")
    ax.set_ylabel(r"surprise $\zeta$")
    ax.set_title("Why? Lines of equal AUC")


def _draw_noise(ax, audit) -> None:
    rows = sorted(audit.noise)
    noise = [row.noise for row in rows]
    theory_line(
        ax, noise, [row.mean_kl for row in rows], color=PALETTE[0], marker="o", label="mean KL (nats)"
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(noise, [f"{s2:.2g}" for s2 in noise])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("noise variance, share of the labels' variance")
    ax.set_ylabel("mean leakage KL(in || out), nats", color=PALETTE[0])
    ax.set_title("What would noise buy, and cost?")
    other = ax.twinx()
    other.grid(False)
    other.spines["right"].set_visible(True)
    theory_line(other, noise, [row.score for row in rows], color=PALETTE[1], marker="s", linestyle="--")
    other.set_ylabel(f"leave-one-out {_score_name(audit)}", color=PALETTE[1])
    if audit.data.task == "classes":
        other.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1, symbol=" %"))
