"""The declaration of a sim: its paper, its presets, and the functions that make data, verdicts and figures.

Data flow one way: a preset's config and a key go into each *experiment*, which returns a labelled data set;
every *claim* judges the data sets; every *figure* draws them. The decorators only register: a decorated
function stays the plain function it was.

Example:
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Config:
    ...     "Settings of the coin tosses."
    ...     seed: int = 0
    ...     "Seed of every random number."
    >>> paper = Paper("On coins", ("A. Tosser",), arxiv="2001.00001", year=2020)
    >>> sim = Sim(slug="coins", question="Are coins fair?", paper=paper, presets={"quick": Config()})
    >>> @sim.claim("C1", "A coin is fair.")
    ... def fair(data, cfg): ...
    >>> sim.claims["C1"].expected
    'confirmed'
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar, get_args

__all__ = ["Claim", "Experiment", "Figure", "LeftOut", "Paper", "Sim", "Status", "first_line"]

Status = Literal["confirmed", "refuted", "undecided"]
F = TypeVar("F", bound=Callable[..., Any])

# Flags of `theorysim run` itself, which a field of the same name would hide.
_RESERVED = frozenset(
    {"preset", "only", "out", "fresh", "devices", "jobs", "dry_run", "strict", "debug", "help"}
)


class LeftOut(Exception):
    """Raised by an experiment that its configuration leaves out; says how to have it.

    The run is complete without it: its claims are undecided, its figures are not drawn, and nothing failed.
    """


class Paper(NamedTuple):
    """The paper a sim puts to the test."""

    title: str
    """Title as printed."""
    authors: tuple[str, ...] | str
    """Names in printed order."""
    arxiv: str
    """arXiv identifier, for example 2404.05090."""
    year: int
    """Year of the first version."""

    @property
    def byline(self) -> str:
        """The authors in one line."""
        return self.authors if isinstance(self.authors, str) else ", ".join(self.authors)


class Experiment(NamedTuple):
    """One function `(cfg, key, sweep) -> xarray.Dataset`."""

    name: str
    """Name of the function, of its file of results, and of its entry in `data`."""
    title: str
    """First line of its docstring, shown while it runs."""
    function: Callable[..., Any]
    """The plain function."""


class Claim(NamedTuple):
    """One statement of a paper and the function `(data, cfg) -> Verdict` that judges it."""

    name: str
    """Short label such as C5."""
    statement: str
    """The statement in one sentence."""
    expected: str
    """The verdict that the sim's author expects."""
    unit: str
    """Unit of the measured and predicted numbers; empty for a pure number."""
    function: Callable[..., Any]
    """The plain function."""


class Figure(NamedTuple):
    """One function `(data, cfg) -> matplotlib.figure.Figure` and its caption."""

    name: str
    """Stem of the picture's file."""
    caption: str
    """What is drawn, and what to see in it."""
    function: Callable[..., Any]
    """The plain function."""


class Sim:
    """A paper, its presets, and its registered experiments, claims and figures in order of definition.

    Args:
        slug: lower-case name of the sim; names its folders and its entry on the command line.
        question: the question the paper answers, in one sentence.
        paper: whom to cite.
        presets: name -> config. All configs are instances of one frozen dataclass with a field `seed: int`;
            "quick" must be among them. Each field becomes a flag of `theorysim run`.

    Raises:
        ValueError: a bad slug, no "quick" preset, or a config that is not as above.
    """

    def __init__(self, *, slug: str, question: str, paper: Paper, presets: Mapping[str, Any]):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", slug):
            raise ValueError(f"slug must match [a-z][a-z0-9_]*, got {slug!r}")
        _check_presets(presets)
        self.slug = slug
        self.question = question
        self.paper = paper
        self.presets = dict(presets)
        self.experiments: dict[str, Experiment] = {}
        self.claims: dict[str, Claim] = {}
        self.figures: dict[str, Figure] = {}

    def experiment(self, function: F) -> F:
        """Register `function(cfg, key, sweep) -> xarray.Dataset`; the first line of its docstring is shown.

        Raises:
            ValueError: the name is taken.
        """
        name = _function_name(function)
        _check_new(name, "experiment", self.experiments)
        self.experiments[name] = Experiment(name, first_line(function) or name.replace("_", " "), function)
        return function

    def claim(
        self, name: str, statement: str, *, expected: str = "confirmed", unit: str = ""
    ) -> Callable[[F], F]:
        """Register `function(data, cfg) -> Verdict` under a label, with the verdict you expect.

        Args:
            name: short label such as C5.
            statement: the claim in one sentence.
            expected: "refuted" for a printed claim that is known to be wrong.
            unit: unit of the measured and predicted numbers.

        Raises:
            ValueError: the name is taken, or `expected` is no status.
        """
        _check_new(name, "claim", self.claims)
        if expected not in get_args(Status):
            allowed = ", ".join(get_args(Status))
            raise ValueError(f"expected of claim {name} must be one of {allowed}, got {expected!r}")

        def register(function: F) -> F:
            self.claims[name] = Claim(name, statement, expected, unit, function)
            return function

        return register

    def figure(self, caption: Any, name: str | None = None) -> Callable[[F], F]:
        """Register `function(data, cfg) -> matplotlib.figure.Figure` with its caption.

        Args:
            caption: what is drawn, and what to see in it.
            name: stem of the picture's file; the function's name by default.

        Raises:
            ValueError: the name is taken or cannot name a file.
        """
        if not isinstance(caption, str):
            raise ValueError(f"figure needs a caption: @sim.figure('…'), got {caption!r}")

        def register(function: F) -> F:
            chosen = name or _function_name(function)
            _check_new(chosen, "figure", self.figures)
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", chosen):
                raise ValueError(f"figure name must match [A-Za-z0-9][A-Za-z0-9_-]*, got {chosen!r}")
            self.figures[chosen] = Figure(chosen, caption, function)
            return function

        return register


def first_line(item: Any) -> str:
    """Return the first line of an object's docstring, without its full stop; empty if it has none.

    Example:
        >>> first_line(Sim)
        'A paper, its presets, and its registered experiments, claims and figures in order of definition'
    """
    doc = inspect.getdoc(item) or ""
    return doc.strip().split("\n", 1)[0].rstrip(".") if doc.strip() else ""


def _function_name(function: Callable[..., Any]) -> str:
    return function.__name__


def _check_new(name: str, kind: str, taken: Mapping[str, Any]) -> None:
    if not name:
        raise ValueError(f"{kind} name must not be empty")
    if name in taken:
        raise ValueError(f"{kind} name must be new, got {name!r} twice")


def _check_presets(presets: Mapping[str, Any]) -> None:
    if "quick" not in presets:
        raise ValueError(f"presets must contain 'quick', got {', '.join(map(repr, presets)) or 'none'}")
    kind = type(presets["quick"])
    for name, config in presets.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise ValueError(f"preset name must match [a-z][a-z0-9_-]*, got {name!r}")
        parameters = getattr(type(config), "__dataclass_params__", None)
        if parameters is None or not parameters.frozen:
            raise ValueError(f"preset {name!r} must be an instance of a frozen dataclass, got {config!r}")
        if type(config) is not kind:
            raise ValueError(f"presets must share one class, got {kind.__name__} and {type(config).__name__}")
    fields = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(getattr(presets["quick"], "seed", None), int):
        raise ValueError(f"{kind.__name__} must have a field `seed: int`, got {', '.join(sorted(fields))}")
    if hidden := sorted(fields & _RESERVED):
        raise ValueError(
            f"{kind.__name__} must not use the name of a flag of `theorysim run`, got {hidden[0]}"
        )
