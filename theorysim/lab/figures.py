"""The one style of all figures: theory as lines, measurement as markers with 95 % bars.

The palette is Okabe and Ito's (2008), which stays apart for colour-blind readers; the background is light;
text stays legible when a figure is shown 600 pixels wide. Files carry no date and no version, so that the
same data give the same bytes and committed pictures change only when they look different.

Example:
    >>> figure, ax = new_figure()
    >>> theory_line(ax, [1, 2, 3], [1.0, 0.5, 0.25], label="theory")
    >>> measured_points(ax, [1, 2, 3], [1.02, 0.49, 0.26], [0.02, 0.02, 0.02], label="simulation")
    >>> [text.get_text() for text in ax.legend().get_texts()]
    ['theory', 'simulation']
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import rcsetup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

__all__ = ["PALETTE", "measured_points", "new_figure", "save", "style", "theory_line"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")
"""Blue, vermilion, green, purple, sky blue, orange, grey: the cycle of every figure."""

_NORMAL_975 = 1.959963984540054  # 95 % of a normal law lie within this many standard deviations
_DPI = 200
_INK = "#1f2430"
_RC: Any = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#8a8f99",
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": rcsetup.cycler(color=list(PALETTE)),
    "grid.color": "#e4e7ec",
    "grid.linewidth": 0.7,
    "xtick.color": "#5b616e",
    "ytick.color": "#5b616e",
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "mathtext.fontset": "dejavusans",
    "legend.fontsize": 9.5,
    "legend.title_fontsize": 9.5,
    "legend.labelcolor": _INK,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "errorbar.capsize": 2,
    "image.cmap": "cividis",
    "svg.fonttype": "path",
    "svg.hashsalt": "theorysim",  # identifiers inside the SVG, otherwise random
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Use the shared style inside a `with` block; figures are drawn and saved inside one.

    Example:
        >>> with style():
        ...     matplotlib.rcParams["svg.hashsalt"]
        'theorysim'
    """
    with matplotlib.rc_context(_RC):
        yield


def new_figure(
    rows: int = 1,
    cols: int = 1,
    *,
    width: float | int | None = None,
    height: float | int | None = None,
    **options: Any,
) -> tuple[Figure, Any]:
    """Return a figure in the shared style and its axes: one `Axes`, or an array of them.

    Args:
        rows: number of rows of panels.
        cols: number of columns of panels.
        width: inches; 6 for one column and 4.4 per column otherwise.
        height: inches; 3.8 per row by default.
        options: further arguments of `Figure.subplots`, such as `sharey=True`.

    Example:
        >>> figure, axes = new_figure(cols=2, sharey=True)
        >>> axes.shape
        (2,)
    """
    with style():
        default = 6.0 if cols == 1 else 4.4 * cols
        figure = Figure(figsize=(width or default, height or 3.8 * rows))
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, cols, **options)


def theory_line(
    ax: Axes,
    x: ArrayLike | float | int,
    y: ArrayLike | float | int,
    *,
    label: str | None = None,
    color: Any = None,
    **options: Any,
) -> None:
    """Draw a prediction as a line.

    Args:
        ax: the axes.
        x: positions, shape (n,).
        y: predicted values, shape (n,).
        label: entry in the legend.
        color: colour; the next of the cycle by default.
        options: further arguments of `Axes.plot`, such as `linestyle="--"` for a bound.

    Example:
        >>> _, ax = new_figure()
        >>> theory_line(ax, [0, 1], [0.0, 1.0], label="bound", linestyle="--")
    """
    look: dict[str, Any] = {"zorder": 2} | options
    ax.plot(np.asarray(x), np.asarray(y), label=label, color=color, **look)


def measured_points(
    ax: Axes,
    x: ArrayLike | float | int,
    mean: ArrayLike | float | int,
    standard_error: ArrayLike | float | int,
    *,
    label: str | None = None,
    color: Any = None,
    **options: Any,
) -> None:
    """Draw measurements as markers with bars of 95 % confidence (1.96 standard errors each way).

    Args:
        ax: the axes.
        x: positions, shape (n,).
        mean: measured values, shape (n,).
        standard_error: standard errors of the values, shape (n,) or a scalar.
        label: entry in the legend.
        color: colour; the next of the cycle by default.
        options: further arguments of `Axes.errorbar`, such as `fmt="s"`.

    Example:
        >>> _, ax = new_figure()
        >>> measured_points(ax, [0, 1], [0.0, 1.0], 0.1, color=PALETTE[1])
    """
    look: dict[str, Any] = {
        "fmt": "o",
        "zorder": 3,
        "elinewidth": 1.3,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }
    bars = _NORMAL_975 * np.asarray(standard_error, dtype=float)
    ax.errorbar(np.asarray(x), np.asarray(mean), yerr=bars, label=label, color=color, **(look | options))


def save(figure: Figure, png: Path, svg: Path) -> None:
    """Write a figure as PNG (200 dots per inch) and SVG, without dates, versions or random identifiers.

    Example:
        >>> save(new_figure()[0], Path("empty.png"), Path("empty.svg"))
    """
    with style():
        figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
