"""The flags of `theorysim advise features`, and the files with the user's arrays.

Example:
    >>> FeaturesOptions(Path("my.npz")).minimal
    0.95
"""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from theorysim.lab.cli_numpy_files import reading_numpy_file
from theorysim.lab.errors import UsageError

__all__ = ["FEATURES_HELP", "FeaturesOptions", "features_answer"]

FEATURES_HELP = """Which features does a network use, and are they the right ones?

The activations before the readout are diagonalised: spectrum, quality (share in the labels) and utility
(share in the outputs) of every eigenfunction, measures of collapse. Then the regime with its confidence, and
each number beside chance, random features and held-out inputs.

The arrays come from one .npz file, with features, labels or targets, and as far as you have them readout (C,
p), outputs, test_features, test_labels or test_targets, inputs; or from files of their own."""
"""What `theorysim advise features --help` says first."""

_Switch = tyro.conf.FlagCreatePairsOff[bool]
_File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
# Arrays of the advisor, with the names that the file may use.
_NAMES = {
    "features": ("features",),
    "labels": ("labels", "targets"),
    "readout": ("readout",),
    "outputs": ("outputs",),
    "test_features": ("test_features",),
    "test_labels": ("test_labels", "test_targets"),
    "inputs": ("inputs",),
}
_NEEDED = ("features", "labels")


@dataclasses.dataclass(frozen=True)
class FeaturesOptions:
    """The arrays, the thresholds, and how to show the answer."""

    features: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """A .npz file with features (n, p) and what else there is; or a .npy file with the features alone, which
    is read in blocks."""
    labels: _File = None
    """Labels (n,), where the file of the features lacks them: .npy, or .npz with labels or targets. Whole
    numbers, booleans and words are classes, floats are targets, as are whole numbers named targets."""
    readout: _File = None
    """Weights (C, p) of the layer after the features, likewise."""
    outputs: _File = None
    """Outputs (n, C), in place of a readout or beside it."""
    test_features: _File = None
    """Features of held-out inputs (n', p)."""
    test_labels: _File = None
    """Their labels or targets."""
    inputs: _File = None
    """Inputs of the network (n, ...), of which random ReLU features are made for comparison."""
    task: Literal["auto", "classes", "regression"] = "auto"
    """What the labels are, where their type says otherwise."""
    minimal: Annotated[float, tyro.conf.arg(metavar="U")] = 0.95
    """u(K*) from which the regime is minimal."""
    extended: Annotated[float, tyro.conf.arg(metavar="U")] = 0.85
    """u(K*) up to which it is extended."""
    dominant: Annotated[float, tyro.conf.arg(metavar="S")] = 0.8
    """Share of the variance in the first K* from which features count as learned."""
    wrong: Annotated[float, tyro.conf.arg(metavar="S")] = 0.5
    """Share of the quality carried over to held-out inputs below which features are wrong."""
    permutations: Annotated[int | None, tyro.conf.arg(metavar="M")] = None
    """Of the labels; by default 199, fewer beyond two million examples times K*."""
    draws: Annotated[int | None, tyro.conf.arg(metavar="M")] = None
    """Of random features; by default 20 of directions, 1 or 5 of ReLU features of the inputs."""
    top: Annotated[int, tyro.conf.arg(metavar="M")] = 12
    """Eigenfunctions that are listed."""
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw spectrum, quality and utility, and the first eigenfunctions into this .png, .svg or .pdf file."""
    json: _Switch = False
    """Print the report as JSON instead of tables."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Of what is drawn at random."""


def features_answer(options: FeaturesOptions) -> tuple[Any, Callable, Callable]:
    """Audit the features of the files.

    Returns:
        The report, a function that draws it into a file, and one that prints it.

    Raises:
        ValueError: arrays that cannot be used, or an argument out of its range.
        UsageError: a file that cannot be read, or lacks an array.

    Example:
        >>> features_answer(FeaturesOptions(Path("no.npz")))
        Traceback (most recent call last):
        UsageError: --features must be a readable .npz or .npy file, got no.npz (No such file or directory)
    """
    if options.top < 1:
        raise UsageError(f"--top must be an integer >= 1, got {options.top}")
    arrays = _arrays(options)
    from theorysim.advisors.features import audit_features
    from theorysim.lab.cli_advise_features_show import draw_features, show_features

    names = ("minimal", "extended", "dominant", "wrong", "permutations", "draws", "seed")
    chosen = {name: getattr(options, name) for name in names}
    features, labels = arrays.pop("features"), arrays.pop("labels")
    report = audit_features(features, labels, **arrays, task=options.task, **chosen)
    return report, lambda path: draw_features(report, path), lambda audit: show_features(audit, options.top)


def _arrays(options: FeaturesOptions) -> dict[str, np.ndarray]:
    """The arrays by the names of the advisor's arguments."""
    main = _read(options.features, "features")
    found = {}
    for argument, names in _NAMES.items():
        path = options.features if argument == "features" else getattr(options, argument)
        held = main if path in (None, options.features) else _read(path, argument)
        # A file of its own may hold its only array under any name.
        if path is not None and len(held) == 1:
            (name,) = held
        else:
            name = next((name for name in names if name in held), None)
        if name is not None:
            value = held[name]
            whole = names[-1].endswith("targets") and name == names[-1] and value.dtype.kind in "iub"
            found[argument] = value.astype(np.float64) if whole else value
        elif path is not None or argument in _NEEDED:
            said = ", ".join(sorted(held)) or "nothing"
            flag = argument.replace("_", "-")
            wanted = " or ".join(names)
            if path is None:
                raise UsageError(
                    f"--{flag} must be given, since {options.features} has no {wanted} (it holds {said})"
                )
            raise UsageError(f"--{flag} must be a file with {wanted}, got {path} (it holds {said})")
    return found


def _read(path: Path, argument: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name, or that of a .npy file, mapped into memory, as `argument`."""
    flag = argument.replace("_", "-")
    with reading_numpy_file(flag, "a readable .npz or .npy file", path, "no NumPy file"):
        with path.open("rb") as file:
            zipped = zipfile.is_zipfile(file)
        if not zipped:
            return {argument: np.load(path, mmap_mode="r", allow_pickle=False)}
        known = {name for names in _NAMES.values() for name in names}
        with np.load(path, allow_pickle=False) as archive:
            # What nobody asks for is not read.
            alone = len(archive.files) == 1
            return {name: archive[name] for name in archive.files if alone or name in known}
