"""How the answer of `theorysim advise lora` looks: a table of advice with its kinds, and a picture.

Example:
    >>> times(0.5), times(1.0), times(2.0**0.5)
    ('× 0.5', 'as before', '× 1.41')
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from theorysim.lab.console import make_console, number_table
from theorysim.lab.figures import PALETTE, new_figure, style, theory_line

if TYPE_CHECKING:
    from theorysim.advisors.lora import LoraAdvice

__all__ = ["draw_lora", "show_lora", "times"]


_WIDTH = 100


def times(factor: float) -> str:
    """Return by what a rate is multiplied.

    Example:
        >>> times(4.0)
        '× 4'
    """
    return "as before" if factor == 1 else f"× {factor:.3g}"


def show_lora(advice: "LoraAdvice") -> None:
    """Print the advice line by line, what doubling a size does, and the assumptions."""
    console = make_console()
    setting = advice.setting
    console.print(
        f"LoRA on {setting.width:,} inputs: rank {setting.rank}, scale {setting.scaling} = "
        f"{setting.scale:.3g}, {setting.optimizer}.",
        markup=False,
    )
    console.print(_lines(advice))
    console.print(_moves(advice))
    for sentence in advice.assumptions:
        console.print(Text(sentence, style="bold" if sentence.startswith("RELATIVE") else ""))


def draw_lora(advice: "LoraAdvice", path: Path) -> None:
    """Draw how the recommended rates and the limits move with the width."""
    figure, ax = new_figure(width=9.6, height=4.8)
    with style():
        _draw_rates(ax, advice)
        metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
        figure.savefig(path, dpi=150, metadata=metadata.get(path.suffix, {"CreationDate": None}))


def _draw_rates(ax, advice) -> None:
    """Lines of the rates over widths, dashed where they would be too large, marks where they are known."""
    setting, laws = advice.setting, advice.laws
    width, span = setting.width, np.array([1 / 32, 32.0])
    base = advice.base
    if base is not None:
        span = np.array([min(span[0], base.width / width / 2), max(span[1], 2 * base.width / width)])
    names = "rate of A", "rate of B", "single rate"
    looks = zip(
        names,
        _sizes(advice),
        _limits(advice),
        laws,
        ("o", "D", "s"),
        PALETTE,
        strict=False,
    )
    for name, rate, limit, powers, marker, color in looks:
        law = r"\mathrm{const}" if powers.width == 0 else f"n^{{{powers.width:g}}}"
        if rate is not None:
            label = rf"{name} $\propto {law}$" if powers.width else f"{name}, the same at all $n$"
            theory_line(ax, width * span, rate * span**powers.width, color=color, label=label)
            ax.plot([width], [rate], marker, color=color, markersize=9, markeredgecolor="white", zorder=4)
            spot = {"xytext": (8, 5), "textcoords": "offset points", "fontsize": 9, "color": color}
            ax.annotate(f"{rate:.2g}", (width, rate), **spot)
        if limit is not None and np.isfinite(limit):
            dashed = {"linestyle": "--", "linewidth": 1.3, "label": f"largest {name}"}
            theory_line(ax, width * span, limit * span**powers.width, color=color, **dashed)
    ax.axvline(width, color=PALETTE[6], linestyle=":", linewidth=1.2, zorder=1)
    if base is not None:
        for rate, color in zip((base.lr_a, base.lr_b), PALETTE, strict=False):
            look = {"markersize": 13, "markeredgecolor": color, "color": "none", "zorder": 5}
            ax.plot([base.width], [rate], "o", **look)
        ax.axvline(base.width, color=PALETTE[6], linestyle=":", linewidth=1.2, zorder=1)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.06)
    above = ax.get_xaxis_transform()
    marks = {width: f"yours, {width:,}"}
    if base is not None:
        marks.setdefault(base.width, f"base, {base.width:,}")
    for at, said in marks.items():
        ax.annotate(
            said, (at, 0.985), xycoords=above, xytext=(4, 0), textcoords="offset points", va="top", fontsize=9
        )
    unit = "" if advice.lr_a or advice.lr_b else ", in units of that of A at your width"
    ax.set_xlabel("width $n$ of the layer's input")
    ax.set_ylabel(f"learning rate{unit}")
    what = f"rank {setting.rank}, {setting.scaling} = {setting.scale:.3g}, {setting.optimizer}"
    zero = "B = 0" if advice.init == "a" else "A = 0"
    ax.set_title(f"Rates against width ({what}, {zero})")
    source = "first steps" if advice.trial is None else "trials"
    whose = None if advice.limits is None else f"dashed: limits of {source}"
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, title=whose, alignment="left")


def _sizes(advice) -> tuple[float | None, ...]:
    """Rates of A, B and both; where only laws are known in units of that of A."""
    if advice.lr_a is not None or advice.lr_b is not None:
        return advice.lr_a, advice.lr_b, advice.single
    ratio = advice.ratio or 1.0
    return 1.0, ratio, ratio**0.5 if advice.init == "a" else 1.0


def _limits(advice) -> tuple[float | None, ...]:
    """Largest rates of A, B and both: of both together in trials, or else each by the first steps."""
    limits, trial = advice.limits, advice.trial
    if trial is not None:
        return trial.lr_a * trial.limit, trial.lr_b * trial.limit, trial.single_limit
    if limits is None:
        return None, None, None
    first, partner = limits.first, limits.partner
    pair = (partner, first) if advice.init == "a" else (first, partner)
    return *pair, limits.single_limit


def _lines(advice) -> Table:
    table = Table(pad_edge=False, width=_WIDTH)
    table.add_column("what", no_wrap=True)
    table.add_column("advice", ratio=1)
    table.add_column("known how", no_wrap=True)
    for line in advice.lines:
        table.add_row(line.name, Text(line.said), line.kind)
    return table


def _moves(advice) -> Table:
    headings = "rate of A", "rate of B", "single rate", "known how: A, B", "single rate"
    table = number_table("where this doubles", *headings)
    for move in advice.moves:
        factors = (times(factor) for factor in (move.lr_a, move.lr_b, move.single))
        table.add_row(move.what, *factors, move.kind, "asymptotic")
    return table
