"""The flags of `theorysim advise leakage`, and the file with the user's records.

Example:
    >>> LeakageOptions(Path("my.npz")).kernel
    'rbf'
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from theorysim.lab.cli_numpy_files import reading_numpy_file
from theorysim.lab.console import make_console
from theorysim.lab.errors import UsageError
from theorysim.lab.formatting import duration

__all__ = ["LEAKAGE_HELP", "LeakageOptions", "leakage_answer"]

LEAKAGE_HELP = """Which training records does a model give away, and what would protect them?

A Gaussian process (or an ensemble of wide networks) is fitted to your records. For each of them: how well the
best attack on the model's outputs tells whether it was trained on. Then what more noise or removing the most
exposed records would do, which labels look wrong, and whether records that are really left out agree."""
"""What `theorysim advise leakage --help` says first."""

_Switch = tyro.conf.FlagCreatePairsOff[bool]
_Auto = Annotated[float | Literal["auto"], tyro.conf.arg(metavar="auto|NUMBER")]
# Seconds after which steps are told on a terminal; elsewhere, a minute.
_PATIENCE = (2.0, 60.0)


@dataclasses.dataclass(frozen=True)
class LeakageOptions:
    """The records, the model, and how to show the answer."""

    data: Annotated[Path, tyro.conf.arg(metavar="FILE.npz")]
    """Your records: x (n, d), inputs or features of your network, and y (n,): whole numbers, booleans and
    words are classes, floats are numbers to predict."""
    kernel: Literal["rbf", "relu", "gelu", "ntk"] = "rbf"
    """Of the model: rbf, an infinitely wide ReLU or GELU network, or ReLU networks trained by gradients."""
    noise: _Auto = "auto"
    """Noise variance (for ntk the ridge), as a share of the variance of the labels."""
    length: _Auto = "auto"
    """Length scale of rbf, in units of the features' standard deviation."""
    variance: _Auto = "auto"
    """Variance of the function, as a factor of the kernel."""
    bias_variance: _Auto = "auto"
    """Variance of the networks' biases."""
    depth: Annotated[int, tyro.conf.arg(metavar="L")] = 3
    """Hidden layers of the networks."""
    task: Literal["auto", "classes", "regression"] = "auto"
    """What the labels are, where their type says otherwise."""
    raw: _Switch = False
    """Take the features as they are; by default each is scaled to mean 0 and variance 1."""
    remove: Annotated[int | None, tyro.conf.arg(metavar="M")] = None
    """How many of the most exposed records to remove; by default those listed, at most a tenth; 0: none."""
    retrain: Annotated[int | None, tyro.conf.arg(metavar="M")] = None
    """Records that are really left out, half of them the most exposed; 0 for none. By default 8, beyond 4,000
    records 2."""
    networks: Annotated[int, tyro.conf.arg(metavar="R")] = 200
    """Networks trained with all records, and as many without each of those."""
    top: Annotated[int, tyro.conf.arg(metavar="M")] = 10
    """Length of the lists."""
    fit_records: Annotated[int, tyro.conf.arg(metavar="N")] = 1000
    """Most records that enter the fit of kernel and noise."""
    block: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Columns of the inverse held at once; by default an eighth of the records."""
    dtype: Literal["float64", "float32"] = "float64"
    """Of the kernel matrix: float32 takes half the memory and a fraction of the time, and ranks alike."""
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw the exposures into this .png, .svg or .pdf file."""
    json: _Switch = False
    """Print the report as JSON instead of tables."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Of what is drawn at random."""


def leakage_answer(options: LeakageOptions) -> tuple[Any, Callable, Callable]:
    """Audit the records of the file.

    Returns:
        The report, a function that draws it into a file, and one that prints it.

    Raises:
        ValueError: records that cannot be used, or an argument out of its range.
        UsageError: a file that cannot be read.

    Example:
        >>> leakage_answer(LeakageOptions(Path("no.npz")))
        Traceback (most recent call last):
        UsageError: --data must be a readable .npz file with arrays x and y, got no.npz (No such file or...
    """
    x, y = _arrays(options.data)
    from theorysim.advisors.leakage import audit_leakage
    from theorysim.lab.cli_advise_leakage_show import draw_leakage, show_leakage

    names = ("kernel", "noise", "length", "variance", "bias_variance", "depth", "task", "remove", "retrain")
    names += ("networks", "top", "fit_records", "block", "dtype", "seed")
    chosen = {name: getattr(options, name) for name in names}
    report = audit_leakage(x, y, standardize=not options.raw, progress=_Steps(), **chosen)
    return report, lambda path: draw_leakage(report, path), lambda audit: show_leakage(audit, options.top)


class _Steps:
    """Tells the steps of an audit that takes long, on the error stream."""

    def __init__(self) -> None:
        self._console = make_console(stderr=True)
        self._patience = _PATIENCE[0 if self._console.is_terminal else 1]
        self._start = time.monotonic()

    def __call__(self, done: int, total: int, name: str) -> None:
        elapsed = time.monotonic() - self._start
        if elapsed >= self._patience:
            said = f"step {done + 1} of {total} after {duration(elapsed)}: {name}"
            self._console.print(said, style="dim", markup=False)


def _arrays(path: Path) -> list[np.ndarray]:
    """Return x and y as they are in the file: here the type of y tells classes from numbers."""
    wanted = "a readable .npz file with arrays x and y"
    with (
        reading_numpy_file("data", wanted, path, "no .npz file"),
        np.load(path, allow_pickle=False) as archive,
    ):
        if missing := [name for name in ("x", "y") if name not in archive.files]:
            held = ", ".join(archive.files) or "nothing"
            raise UsageError(f"--data must be {wanted}, got {path} without {missing[0]} (it holds {held})")
        return [archive[name] for name in ("x", "y")]
