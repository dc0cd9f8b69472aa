"""The flags of each command, and how a mistake in them is told in one line.

The fields of a sim's config become flags beside those of `theorysim run`, with the chosen preset's values as
defaults.

Example:
    >>> parse_options(ReportOptions, ["--out", "elsewhere"], "theorysim report").out
    PosixPath('elsewhere')
"""

import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import tyro

from theorysim.lab.errors import UsageError, did_you_mean
from theorysim.lab.sim import Sim

__all__ = [
    "ClaimsOptions",
    "Named",
    "NoOptions",
    "ReportOptions",
    "RunOptions",
    "parse_options",
    "parse_run",
    "split_names",
]

T = TypeVar("T")
_Switch = tyro.conf.FlagCreatePairsOff[bool]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How to run, whatever the sim."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "quick"
    """The scale of the run: 'quick' takes a minute or two; 'theorysim list' shows the others."""
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="EXPERIMENT[,…]"), tyro.conf.UseAppendAction] = ()
    """Run only these experiments, with names separated by commas or the flag repeated. Results of the others
    that are still valid are used as they are."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path(".")
    """Folder that receives results/ and figures/."""
    fresh: _Switch = False
    """Compute again what an earlier run has already stored."""
    devices: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Use only the first N devices that JAX finds; all of them by default."""
    jobs: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Compute N experiments of a sim at a time, which share the memory."""
    dry_run: _Switch = False
    """Show points, memory and what is already stored for every sweep; compute and write nothing."""
    strict: _Switch = False
    """Exit with status 1 also when a claim that was expected to hold is refuted."""
    debug: _Switch = False
    """Show the whole traceback of whatever fails."""


@dataclasses.dataclass(frozen=True)
class ClaimsOptions:
    """Where to look for results."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path(".")
    """Folder that was given to 'theorysim run' as --out."""


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Where to look for results and to write the report."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path(".")
    """Folder that was given to 'theorysim run' as --out; the report is DIR/figures/index.html."""


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """No flags but --help."""


class Named(NamedTuple):
    """A command line taken apart."""

    names: list[str]
    """What stands before the first unknown flag without being a flag or its value: the sims."""
    rest: list[str]
    """All the other words, in order."""
    preset: str
    """The preset asked for, wherever it stands."""


def split_names(args: Sequence[str]) -> Named:
    """Take the names of the sims out of the words after `theorysim run`.

    A flag that is not one of `run` belongs to a sim's config; as its number of values is unknown before the
    sim is, names must stand before it.

    Example:
        >>> split_names(["coins", "--preset", "paper", "--tosses", "9"])
        Named(names=['coins'], rest=['--preset', 'paper', '--tosses', '9'], preset='paper')
    """
    with_value = {"--preset", "--only", "--out", "--devices", "--jobs"}
    switches = {"--fresh", "--dry-run", "--strict", "--debug", "--help", "-h"}
    names, rest, preset, naming = [], [], "quick", True
    words = iter(args)
    for word in words:
        flag, _, value = word.partition("=")
        flag = flag.replace("_", "-")
        if flag in with_value and "=" not in word:
            value = next(words, None)
            rest += [word] if value is None else [word, value]
        elif naming and not word.startswith("-"):
            names.append(word)
            continue
        else:
            naming = naming and (flag in with_value or flag in switches)
            rest.append(word)
        if flag == "--preset" and value is not None:
            preset = value
    return Named(names, rest, preset)


def parse_options(kind: type[T], args: Sequence[str], prog: str, description: str = "") -> T:
    """Return the flags of a command as an instance of the dataclass `kind`.

    Raises:
        UsageError: an unknown flag, a missing or a wrong value.
        SystemExit: after --help, with status 0.

    Example:
        >>> parse_options(ReportOptions, ["--outt", "x"], "theorysim report")
        Traceback (most recent call last):
        UsageError: Unrecognized options: --outt, x; did you mean --out DIR?
    """
    return _parse(kind, args, prog, description)


def parse_run(sim: Sim, preset: str, args: Sequence[str], prog: str) -> tuple[RunOptions, Any]:
    """Return the flags of `run` and the sim's config: the preset with the fields given as flags replaced.

    Raises:
        UsageError: an unknown preset or flag, a wrong value, or a config that refuses its values.
        SystemExit: after --help, with status 0.

    Example:
        >>> import theorysim.lab as lab
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     seed: int = 0
        >>> paper = lab.Paper("On coins", ("A. Tosser",), arxiv="2001.00001", year=2020)
        >>> coins = Sim(slug="coins", question="Fair?", paper=paper, presets={"quick": Config()})
        >>> parse_run(coins, "quick", ["--seed", "7", "--fresh"], "theorysim run coins")[1].seed
        7
    """
    if preset not in sim.presets:
        hint = did_you_mean(preset, sim.presets)
        raise UsageError(
            f"--preset must be one of {', '.join(sim.presets)} for {sim.slug}, got {preset!r}{hint}"
        )
    default = sim.presets[preset]
    both = dataclasses.make_dataclass(
        "Both",
        [
            ("run", tyro.conf.OmitArgPrefixes[RunOptions], dataclasses.field(default=RunOptions())),
            (sim.slug, tyro.conf.OmitArgPrefixes[type(default)], dataclasses.field(default=default)),
        ],
    )
    description = f"{sim.question}\n\nThe defaults below are those of the preset '{preset}'."
    parsed = _parse(both, args, prog, description)
    options, config = parsed.run, getattr(parsed, sim.slug)
    if not 0 <= config.seed < 2**63:
        raise UsageError(f"seed must be an integer in [0, 2**63 - 1], got {config.seed}")
    validate = getattr(config, "validate", None)
    if callable(validate):
        try:
            validate()
        except ValueError as error:
            raise UsageError(" ".join(str(error).split())) from error
    return options, config


def _parse(kind: type[T], args: Sequence[str], prog: str, description: str) -> T:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=list(args), prog=prog, description=description or None)
    except SystemExit as error:
        if not error.code:
            raise
        raise UsageError(_in_one_line(said.getvalue())) from None


def _in_one_line(box: str) -> str:
    """Reduce the box that tyro prints, of line or of ASCII characters, to its message and its hint."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│╭╰╮╯|+ ") for line in text.splitlines()]
    parts, part = [], []
    for line in [*lines, "───"]:
        if re.fullmatch(r"[─-](?: .+ )?[─-]{2,}", line):
            parts.append(part)
            part = []
        elif line:
            part.append(line)
    parts = [part for part in parts if part]
    if len(parts) > 1 and "╭" not in text:
        del parts[0]  # the ASCII box has its title, such as "Value error", inside
    message = re.sub(r"^Error parsing ([\w-]+): (?=\1|\w+ must )", "", " ".join(parts[0])).rstrip(".")
    for part in parts[1:]:
        flag = next((line for line in part[1:] if line.startswith("-")), "")
        if flag and part[0].startswith("Perhaps"):
            return f"{message}; did you mean {flag}?"
        if flag and part[0].startswith("Argument helptext"):
            return f"{message}; expected {flag}"
    return message
