"""The command `theorysim advise QUESTION`: what a practitioner asks, answered by the theories.

`_QUESTIONS` is the one place where a question is registered: its name, the line that lists it, and the
function that takes the words after it. Advisors are imported when asked.

Example:
    >>> advise([])
    synthetic-data  Should I train on these synthetic samples, and how should I weigh them?
    leakage         Which training records does a model give away, and what would protect them?
    features        Which features does a network use, and are they the right ones?
    lora            Which learning rates and which start for a LoRA adapter?
    <BLANKLINE>
    `theorysim advise QUESTION --help` explains its flags.
    0
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro

from theorysim.lab.cli_arguments import parse_options
from theorysim.lab.errors import UsageError, did_you_mean, one_line

__all__ = ["SyntheticDataOptions", "advise", "as_json"]

_Switch = tyro.conf.FlagCreatePairsOff[bool]
# Arguments of the advisors that are arrays in the file.
_ARRAYS = {"x": "x", "y": "y", "features": "x", "labels": "y"}


class _Question(NamedTuple):
    summary: str
    answer: Callable[[Sequence[str], Callable[[], None]], int]


@dataclasses.dataclass(frozen=True)
class SyntheticDataOptions:
    """The numbers, or the data, and how to show the answer."""

    m: Annotated[int, tyro.conf.arg(metavar="M")]
    """Synthetic samples before pruning."""
    label_noise: Annotated[float, tyro.conf.arg(metavar="EPS")]
    """Fraction of the synthetic labels that are wrong, before pruning."""
    keep_right: Annotated[float, tyro.conf.arg(metavar="PHI")] = 1.0
    """Fraction of the samples with a right label that the verifier keeps; 1 without a verifier."""
    keep_wrong: Annotated[float, tyro.conf.arg(metavar="RHO")] = 1.0
    """Fraction of the samples with a wrong label that the verifier keeps; 1 without a verifier."""
    n: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Real samples that train. With --data: 4/5 of them by default, the rest tests."""
    dim: Annotated[int | None, tyro.conf.arg(metavar="P")] = None
    """Number of features. Not with --data."""
    real_accuracy: Annotated[float | None, tyro.conf.arg(metavar="A")] = None
    """Test accuracy, in (1/2, 1), of the classifier trained on the N real samples alone. This or --signal."""
    signal: Annotated[float | None, tyro.conf.arg(metavar="MU")] = None
    """Half the distance between the class means, in standard deviations of the noise."""
    gamma: Annotated[float | None, tyro.conf.arg(metavar="G")] = None
    """Ridge in the loss (1/2N) sum (w'v - s)^2 + (G/2) |w|^2 over all N samples; with --data, on features of
    variance 1. By default the best for each training set, as after validation."""
    generator_samples: Annotated[float, tyro.conf.arg(metavar="N")] = math.inf
    """Other real samples that the generator was fitted to; by default infinitely many: it is right."""
    reused: _Switch = False
    """The generator was fitted to the same N real samples. With --data it always is."""
    overlap: Annotated[float, tyro.conf.arg(metavar="B")] = 1.0
    """Of the generator's class mean with the real one, in units of the latter; 1 if it is right."""
    offset: Annotated[float, tyro.conf.arg(metavar="D")] = 0.0
    """Part of the generator's class mean orthogonal to the real one, in standard deviations of the noise."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    """Your features x (k, p) and labels y (k,) of two classes: predict from them, and test the prediction."""
    splits: Annotated[int, tyro.conf.arg(metavar="J")] = 5
    """Splits of the data into a part that trains and one that tests."""
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw accuracy against the number of synthetic samples into this .png, .svg or .pdf file."""
    json: _Switch = False
    """Print the report as JSON instead of a table."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Of what is drawn at random."""


def advise(args: Sequence[str], before: Callable[[], None] = lambda: None) -> int:
    """Answer a question of practice: `theorysim advise` lists them.

    Args:
        args: the words after `theorysim advise`.
        before: called once, before anything is computed.

    Raises:
        UsageError: no such question, or a flag that cannot be.
        SystemExit: after --help, with status 0.

    Example:
        >>> advise(["synthetic-dta"])
        Traceback (most recent call last):
        UsageError: QUESTION must be one of synthetic-data, leakage, features, lora, got 'synthetic-dta';...
    """
    words = list(args)
    if not words or words[0] in ("-h", "--help"):
        if words:
            print("usage: theorysim advise QUESTION [flags]\n")
        width = max(map(len, _QUESTIONS))
        print("\n".join(f"{name:<{width}}  {question.summary}" for name, question in _QUESTIONS.items()))
        print("\n`theorysim advise QUESTION --help` explains its flags.")
        return 0
    if words[0] not in _QUESTIONS:
        hint = did_you_mean(words[0], _QUESTIONS)
        raise UsageError(f"QUESTION must be one of {', '.join(_QUESTIONS)}, got {words[0]!r}{hint}")
    return _QUESTIONS[words[0]].answer(words[1:], before)


def as_json(value: Any) -> Any:
    """Return a report as what JSON can hold: NamedTuples as objects, infinity as "inf", NaN as null.

    Example:
        >>> as_json({"ridge": math.inf, "points": np.arange(2), "error": math.nan})
        {'ridge': 'inf', 'points': [0, 1], 'error': None}
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): as_json(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _synthetic_data(args: Sequence[str], before: Callable[[], None]) -> int:
    options = parse_options(
        SyntheticDataOptions,
        args,
        "theorysim advise synthetic-data",
        "Should I train on these synthetic samples, and how should I weigh them?\n\n"
        "From numbers: --n, --m, --dim, --label-noise and --real-accuracy (or --signal). From your own "
        "features: --data, --m and --label-noise; the answer is then tested on held-out samples.",
    )
    return _answered(options, before, lambda: _from_data(options) if options.data else _from_numbers(options))


def _leakage(args: Sequence[str], before: Callable[[], None]) -> int:
    from theorysim.lab.cli_advise_leakage import LEAKAGE_HELP, LeakageOptions, leakage_answer

    options = parse_options(LeakageOptions, args, "theorysim advise leakage", LEAKAGE_HELP)
    return _answered(options, before, lambda: leakage_answer(options))


def _features(args: Sequence[str], before: Callable[[], None]) -> int:
    from theorysim.lab.cli_advise_features import FEATURES_HELP, FeaturesOptions, features_answer

    options = parse_options(FeaturesOptions, args, "theorysim advise features", FEATURES_HELP)
    return _answered(options, before, lambda: features_answer(options))


def _lora(args: Sequence[str], before: Callable[[], None]) -> int:
    from theorysim.lab.cli_advise_lora import LORA_HELP, LoraOptions, lora_answer

    options = parse_options(LoraOptions, args, "theorysim advise lora", LORA_HELP)
    return _answered(options, before, lambda: lora_answer(options))


def _answered(options: Any, before: Callable[[], None], answer: Callable[[], tuple]) -> int:
    """Compute a report and show it as the flags say: as text or JSON, with a picture or without."""
    _check_picture(options.picture)
    before()
    try:
        report, draw, show = answer()
    except ValueError as error:
        raise UsageError(_in_flags(error, options)) from error
    if options.picture:
        draw(options.picture)
    if options.json:
        print(json.dumps(as_json(report), indent=2, allow_nan=False))
    else:
        show(report)
        if options.picture:
            print(f"picture: {options.picture}")
    return 0


_QUESTIONS = {
    "synthetic-data": _Question(
        "Should I train on these synthetic samples, and how should I weigh them?", _synthetic_data
    ),
    "leakage": _Question(
        "Which training records does a model give away, and what would protect them?", _leakage
    ),
    "features": _Question("Which features does a network use, and are they the right ones?", _features),
    "lora": _Question("Which learning rates and which start for a LoRA adapter?", _lora),
}


def _from_numbers(options: SyntheticDataOptions) -> tuple[Any, Callable, Callable]:
    if options.n is None or options.dim is None:
        missing = "--n" if options.n is None else "--dim"
        raise UsageError(f"{missing} must be given: an integer >= {1 if missing == '--n' else 3}, or --data")
    from theorysim.advisors.synthetic_data import accuracy_curve, advise_from_numbers
    from theorysim.lab.cli_advise_show import draw_numbers, show_numbers

    names = ("label_noise", "keep_right", "keep_wrong", "signal", "real_accuracy", "gamma")
    names += ("generator_samples", "reused", "overlap", "offset", "seed")
    chosen = {name: getattr(options, name) for name in names}
    report = advise_from_numbers(options.n, options.m, options.dim, **chosen)
    return report, lambda path: draw_numbers(report, accuracy_curve(report), path), show_numbers


def _from_data(options: SyntheticDataOptions) -> tuple[Any, Callable, Callable]:
    default = SyntheticDataOptions(m=1, label_noise=0.0)
    for name in ("dim", "real_accuracy", "signal", "generator_samples", "overlap", "offset"):
        if (given := getattr(options, name)) != getattr(default, name):
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} must not be given with --data, which decides it, got {given:g}")
    from theorysim.advisors.synthetic_data import advise_from_data, data_curve
    from theorysim.data import labelled_file
    from theorysim.lab.cli_advise_show import draw_data, show_data

    names = ("label_noise", "keep_right", "keep_wrong", "gamma", "n", "splits", "seed")
    x, y = labelled_file(options.data or Path())
    report = advise_from_data(x, y, options.m, **{name: getattr(options, name) for name in names})
    return report, lambda path: draw_data(report, data_curve(x, y, report), path), show_data


def _check_picture(path: Path | None) -> None:
    """Refuse before anything is computed."""
    if path is None:
        return
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--picture must end in .png, .svg or .pdf, got {path}")
    try:
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise UsageError(
            f"--picture must be a file that can be written, got {path}: {one_line(error)}"
        ) from None


def _in_flags(error: ValueError, options: Any) -> str:
    """Tell an advisor's complaint in the names of the flags."""
    head, verb, rest = str(error).partition(" must ")
    names = "|".join(field.name for field in dataclasses.fields(options))
    if head in _ARRAYS and head not in names.split("|"):
        head = f"{_ARRAYS[head]} of --data"
    elif head == "path":
        head = "--data"
    else:
        head = re.sub(rf"\b({names})\b", lambda found: "--" + found[1].replace("_", "-"), head)
    return " ".join(f"{head}{verb}{rest}".split())
