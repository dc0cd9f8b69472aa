"""The flags of `theorysim advise lora`, and the file with the user's probe.

Example:
    >>> LoraOptions(width=4096, rank=16, alpha=32.0).optimizer
    'adamw'
"""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from theorysim.lab.cli_numpy_files import reading_numpy_file
from theorysim.lab.errors import UsageError

__all__ = ["LORA_HELP", "LoraOptions", "lora_answer"]

LORA_HELP = """Which learning rates and which start for a LoRA adapter?

From the sizes alone: how both rates move with width, rank and alpha, and what one rate for both loses. With
--base-lr and --base-width, a rate that works at some width: the rates that train alike at yours. With
--probe, features and gradients of your own layer: constants, limits of stability, and trial runs. Every line
says whether it is exact, asymptotic, measured on the probe, or the paper's default."""
"""What `theorysim advise lora --help` says first."""

_Switch = tyro.conf.FlagCreatePairsOff[bool]
# Of the report's arguments, those that are arrays of the probe.
_ARRAYS = ("features", "output_grad")


@dataclasses.dataclass(frozen=True)
class LoraOptions:
    """The adapter, what is known of it, and how to show the answer."""

    width: Annotated[int, tyro.conf.arg(metavar="N")]
    """Inputs of the adapted layer."""
    rank: Annotated[int, tyro.conf.arg(metavar="R")]
    """Rank of the adapter."""
    alpha: Annotated[float, tyro.conf.arg(metavar="ALPHA")]
    """Numerator of its scale."""
    scaling: Literal["alpha/r", "alpha/sqrt(r)"] = "alpha/r"
    """Scale of the adapter: of LoRA, or of rank-stabilised LoRA (rslora)."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    """What trains it."""
    init: Literal["a", "b"] | None = None
    """Which factor is random at the start: a (B = 0, as usual) or b (A = 0); by default the answer says."""
    base_lr: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="ETA [ETA_B]")] = None
    """A rate that works at --base-width, or one of A and one of B."""
    base_width: Annotated[int | None, tyro.conf.arg(metavar="N0")] = None
    """Inputs of the layer where it works."""
    base_rank: Annotated[int | None, tyro.conf.arg(metavar="R0")] = None
    """Rank there; by default that of --rank."""
    base_alpha: Annotated[float | None, tyro.conf.arg(metavar="ALPHA0")] = None
    """Alpha there; by default that of --alpha."""
    probe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    """Features (examples, N) that enter the layer, and as far as you have it output_grad (examples, outputs),
    the gradient of the mean loss in what leaves it; tokens are examples."""
    curvature: Annotated[float | Literal["fisher"], tyro.conf.arg(metavar="fisher|NUMBER")] = "fisher"
    """Second derivative of one example's loss in the layer's outputs: 1 for half a squared error of these
    outputs; by default that of a log loss along its own gradients."""
    var_a: Annotated[float, tyro.conf.arg(metavar="V")] = 1.0
    """Variance of the entries of a random A, times N; 1/3 for the uniform start of PEFT."""
    steps: Annotated[int, tyro.conf.arg(metavar="T")] = 100
    """Of each trial run on the probe."""
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw rates and limits against the width into this .png, .svg or .pdf file."""
    json: _Switch = False
    """Print the report as JSON instead of tables."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Of what is drawn at random."""


def lora_answer(options: LoraOptions) -> tuple[Any, Callable, Callable]:
    """Advise on the adapter.

    Returns:
        The report, a function that draws it into a file, and one that prints it.

    Raises:
        ValueError: an argument out of its range.
        UsageError: a probe that cannot be read or used.

    Example:
        >>> lora_answer(LoraOptions(width=64, rank=4, alpha=8.0, probe=Path("no.npz")))
        Traceback (most recent call last):
        UsageError: --probe must be a readable .npz file with features, got no.npz (No such file or directory)
    """
    arrays = {} if options.probe is None else _arrays(options.probe)
    from theorysim.advisors.lora import advise_lora
    from theorysim.lab.cli_advise_lora_show import draw_lora, show_lora

    names = [field.name for field in dataclasses.fields(options)]
    chosen = {name: getattr(options, name) for name in names if name not in ("probe", "picture", "json")}
    try:
        report = advise_lora(**chosen, **arrays)
    except ValueError as error:
        raise UsageError(_in_flags(str(error), names)) from error
    return report, lambda path: draw_lora(report, path), show_lora


def _arrays(path: Path) -> dict[str, Any]:
    wanted = "a readable .npz file with features"
    with (
        reading_numpy_file("probe", wanted, path, "no .npz file"),
        np.load(path, allow_pickle=False) as archive,
    ):
        if "features" not in archive.files:
            held = ", ".join(archive.files) or "nothing"
            raise UsageError(f"--probe must be {wanted}, got {path} without them (it holds {held})")
        return {name: archive[name] for name in _ARRAYS if name in archive.files}


def _in_flags(said: str, names: list[str]) -> str:
    """Tell a complaint in the names of the flags and of the probe's arrays."""
    head, verb, rest = said.partition(" must ")
    if head in _ARRAYS:
        return f"{head} of --probe{verb}{rest}"
    several = "|".join(name for name in names if "_" in name)
    head = f"--{head.replace('_', '-')}" if head in names else head
    return head + verb + re.sub(rf"\b({several})\b", lambda found: "--" + found[1].replace("_", "-"), rest)
