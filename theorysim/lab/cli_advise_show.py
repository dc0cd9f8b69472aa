"""How the answers of `theorysim advise synthetic-data` look: one screen of text, and a picture.

Example:
    >>> points(0.0123), interval_text(0.851, 0.8637)
    ('+1.23', '85.1 to 86.4 %')
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import PercentFormatter
from rich.table import Table
from rich.text import Text

from theorysim.lab.console import make_console, number_table
from theorysim.lab.figures import PALETTE, measured_points, new_figure, style, theory_line
from theorysim.lab.formatting import number

if TYPE_CHECKING:
    from theorysim.advisors.synthetic_data import (
        Comparison,
        Curve,
        DataCurve,
        DataReport,
        Estimate,
        Gain,
        Report,
        Verifier,
    )

__all__ = ["draw_data", "draw_numbers", "interval_text", "points", "show_data", "show_numbers"]


def points(difference: float) -> str:
    """Return a difference of accuracies in percentage points.

    Example:
        >>> points(-0.5)
        '-50.00'
    """
    return f"{100 * difference:+.2f}"


def interval_text(low: float, high: float) -> str:
    """Return an interval of accuracies in per cent.

    Example:
        >>> interval_text(0.5, 0.6)
        '50.0 to 60.0 %'
    """
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def show_numbers(report: "Report") -> None:
    """Print a report from numbers."""
    s, console = report.situation, make_console()
    console.print(
        f"{s.n} real and {s.m} synthetic samples of {s.dim} features (p/n = {s.dim / s.n:.2g}); "
        f"{_percent(s.label_noise)} of the synthetic labels wrong."
    )
    console.print(f"Model: two Gaussian classes, covariance I, signal {s.signal:.3g}. {_generator(report)}")
    table = Table(title_justify="left", pad_edge=False)
    table.add_column("training set", no_wrap=True)
    for heading in (
        "kept",
        "wrong in\nkept",
        "accuracy\nweight 1",
        "best\nweight",
        "accuracy\nthere",
        "worth in\nreal samples",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(
        "real samples alone", "", "", _percent(report.real_only.accuracy), "", "", "", end_section=True
    )
    rows = (
        (f"+ synthetic, yours ({s.keep_right:g}, {s.keep_wrong:g})", report.yours, "bold"),
        ("+ synthetic, no pruning (1, 1)", report.unpruned, ""),
        ("+ synthetic, half the mistakes", report.half_mistakes, ""),
        ("+ synthetic, perfect (1, 0)", report.oracle, ""),
    )
    pruned = not s.keep_right == s.keep_wrong == 1
    for name, verifier, look in rows if pruned else (rows[0], *rows[2:]):
        table.add_row(name, *_row(verifier), style=look)
    console.print(table)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column()
    for name, said in _facts(report):
        facts.add_row(name, said)
    console.print(facts)
    _print_verdict(console, report.verdict)


def show_data(report: "DataReport") -> None:
    """Print a report from data."""
    plan, console = report.plan, make_console()
    console.print(
        f"{report.n} real samples train, {report.tested} are held out in turn ({plan.splits} splits); "
        f"{report.dim} features, p/n = {report.dim_per_sample:.2g}."
    )
    console.print(
        f"Signal {_estimate(report.signal)} in units of the noise; effective dimension "
        f"{_estimate(report.effective_dim)}; covariance known within {100 * report.covariance_error:.0f} %."
    )
    console.print(
        f"{plan.m} synthetic samples, {_percent(plan.label_noise)} of the labels wrong; verifier keeps "
        f"{_percent(plan.keep_right)} of right, {_percent(plan.keep_wrong)} of wrong ones."
    )
    console.print("Generator: a Gaussian fitted to the training part, the same real samples.")
    headings = ("weight", "ridge", "predicted", "measured\nheld out", "errors\napart", "isotropic\nmodel")
    table = number_table("training set", *headings)
    kinds = (("real samples alone", report.real_only), ("+ synthetic, weight 1", report.unit))
    for name, kind in (*kinds, ("+ synthetic, best weight", report.best)):
        weight = "–" if kind is report.real_only else f"{kind.weight:.2g}"
        table.add_row(name, weight, *_comparison_row(kind))
    console.print(table)
    for gain, where in ((report.unit_gain, "weight 1"), (report.best_gain, "the best weight")):
        console.print(
            f"Gain at {where}: predicted {_gain(gain.predicted)}, measured "
            f"{_gain(gain.measured)} points, {_distance(gain)} errors apart."
        )
    checks = Table.grid(padding=(0, 2))
    checks.add_column(no_wrap=True)
    checks.add_column(no_wrap=True)
    checks.add_column(style="dim")
    for check in report.checks:
        mark = Text("ok", style="green") if check.passed else Text("VIOLATED", style="bold red")
        checks.add_row(mark, check.name, Text(check.detail))
    console.print(checks)
    _print_verdict(console, report.verdict)


def draw_numbers(report: "Report", curve: "Curve", path: Path) -> None:
    """Draw accuracy against the number of synthetic samples."""
    figure, ax = new_figure(width=7.2, height=4.4)
    real, s = report.real_only.accuracy, report.situation
    ax.fill_between(curve.band_m, curve.low, curve.high, color=PALETTE[0], alpha=0.15, linewidth=0)
    ax.fill_between([], [], [], color=PALETTE[0], alpha=0.15, label="weight 1: 90 % of training sets")
    theory_line(
        ax, curve.m, curve.oracle, label="perfect verifier, best weight", color=PALETTE[2], linestyle="-."
    )
    theory_line(ax, curve.m, curve.best, label="your verifier, best weight", color=PALETTE[1], linestyle="--")
    theory_line(ax, curve.m, curve.unit, label="your verifier, weight 1", color=PALETTE[0])
    ax.axhline(real, color=PALETTE[6], linestyle=":", label=f"the {s.n} real samples alone")
    marks = {"marker": "o", "linestyle": "none", "markeredgecolor": "white", "zorder": 4}
    ax.plot([s.m], [report.yours.best.accuracy], color=PALETTE[1], **marks)
    ax.plot([s.m], [report.yours.accuracy], color=PALETTE[0], label=f"your m = {s.m}", **marks)
    _finish(figure, ax, path, "Should I train on the synthetic samples?")


def draw_data(report: "DataReport", curve: "DataCurve", path: Path) -> None:
    """Draw predicted and measured accuracy against the number of synthetic samples."""
    figure, ax = new_figure(width=7.2, height=4.4)
    names = (f"the {report.n} real samples alone", "with synthetic, weight 1", "with synthetic, best weight")
    looks = ((PALETTE[6], ":"), (PALETTE[0], "-"), (PALETTE[1], "--"))
    for i, (name, (color, dash)) in enumerate(zip(names, looks, strict=True)):
        theory_line(ax, curve.m, curve.predicted[i], label=f"{name}: predicted", color=color, linestyle=dash)
        # Side by side, so that bars at one m do not hide each other.
        shifted = curve.m * 1.05 ** (i - 1)
        measured_points(
            ax, shifted, curve.measured[i], curve.error[i], label=f"{name}: measured", color=color
        )
    _finish(figure, ax, path, "Prediction and held-out samples")


def _finish(figure, ax, path, title) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("synthetic samples m, before pruning")
    ax.set_ylabel("test accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1, symbol=" %"))
    with style():
        ax.set_title(title)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        # No date and no version: the same data give the same bytes.
        metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
        figure.savefig(path, dpi=200, metadata=metadata.get(path.suffix, {"CreationDate": None}))


def _row(verifier: "Verifier") -> tuple[str, ...]:
    return (
        _percent(verifier.kept),
        _percent(verifier.kept_wrong),
        _percent(verifier.accuracy),
        f"{verifier.best.weight:.2g}",
        _percent(verifier.best.accuracy),
        f"{verifier.best_worth:.0f}",
    )


def _facts(report: "Report") -> list[tuple[str, str]]:
    s, yours = report.situation, report.yours
    slopes = report.best_slopes if yours.best.weight else report.slopes
    bands = (report.real_band, report.band, report.best_band)
    real, unit, best = (interval_text(band.low, band.high) for band in bands)
    hurt, hurt_best = (f"{100 * band.hurts:.0f} %" for band in bands[1:])
    worth = f"{report.first_sample_worth:.2g} real ones at first; all {s.m}: {yours.best_worth:.0f}"
    averaging = np.isinf([yours.gamma, yours.best.gamma]).all()
    whose = "" if averaging else ", to the averaging classifier"
    limit = report.break_even_noise
    harm = "harm at weight 1 even without any" if limit is None else "no harm at weight 1 up to "
    noise = f"now {_percent(s.label_noise)}; {harm}{'' if limit is None else _percent(limit)}"
    if report.first_break_even_noise is not None and not s.reused:
        noise += f" (a first sample: {_percent(report.first_break_even_noise)})"
    if report.critical_noise is not None:
        noise += f"; no use from {_percent(report.critical_noise)}"
    ridge = number(yours.best.gamma, digits=3)
    right, wrong = points(slopes.keep_right / 10), points(-slopes.keep_wrong / 10)
    return [
        ("90 % of training sets", f"real alone {real}; weight 1 {unit}; best weight {best}"),
        ("synthetic data hurt in", f"{hurt} of training sets at weight 1, {hurt_best} at the best weight"),
        (
            "best weight",
            f"{yours.best.weight:.3g} with ridge {ridge}; averaging {report.averaging_weight:.3g}",
        ),
        ("one synthetic sample", f"is worth {worth} ({yours.worth:.0f} at weight 1){whose}"),
        ("label noise", noise),
        ("per 10 % of the verifier", f"more right ones kept {right} points, fewer wrong ones {wrong} points"),
    ]


def _generator(report: "Report") -> str:
    s = report.situation
    if s.reused:
        said = f"Generator: fitted to the same {s.n} real samples."
    elif np.isfinite(s.generator_samples):
        said = f"Generator: fitted to {s.generator_samples:.0f} other real samples."
    elif s.overlap != 1 or s.offset:
        said = f"Generator: mean off (overlap {s.overlap:g}, offset {s.offset:g})."
    else:
        said = "Generator: right (infinitely many samples)."
    return said + (" Ridge: the best for each." if report.gamma is None else f" Ridge: {report.gamma:g}.")


def _comparison_row(kind: "Comparison") -> tuple[str, ...]:
    return (
        number(kind.gamma, digits=2),
        f"{100 * kind.predicted.value:.1f} ± {100 * kind.predicted.error:.1f} %",
        f"{100 * kind.measured.value:.1f} ± {100 * kind.measured.error:.1f} %",
        _distance(kind),
        _percent(kind.isotropic),
    )


def _distance(compared: "Comparison | Gain") -> str:
    return f"{compared.distance:+.1f}" + ("" if compared.held else " (!)")


def _print_verdict(console, verdict) -> None:
    console.print()
    for sentence in verdict:
        console.print(Text(sentence, style="bold"))


def _estimate(estimate: "Estimate") -> str:
    return f"{estimate.value:.3g} ± {estimate.error:.1g}"


def _gain(estimate: "Estimate") -> str:
    return f"{100 * estimate.value:+.1f} ± {100 * estimate.error:.1f}"


def _percent(share) -> str:
    return f"{100 * float(share):.1f} %" if round(1000 * float(share)) % 10 else f"{100 * float(share):.0f} %"
