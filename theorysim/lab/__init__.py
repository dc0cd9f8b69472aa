"""What a simulation of a paper is: experiments, claims judged against them, figures, and one report.

A sim is one file: a frozen dataclass of settings, and plain functions registered with a `Sim`. Importing this
package is cheap; what needs NumPy or JAX loads on first use.

Example:
    >>> from dataclasses import dataclass
    >>> from theorysim.lab import Paper, Sim
    >>> @dataclass(frozen=True)
    ... class Config:
    ...     seed: int = 0
    >>> paper = Paper("On coins", ("A. Tosser",), arxiv="2001.00001", year=2020)
    >>> sim = Sim(slug="coins", question="Are coins fair?", paper=paper, presets={"quick": Config()})
    >>> @sim.experiment
    ... def tosses(cfg, key, sweep):
    ...     "Toss every coin."
    >>> sim.experiments["tosses"].title
    'Toss every coin'
"""

from typing import TYPE_CHECKING, Any

from theorysim.lab.sim import LeftOut, Paper, Sim

if TYPE_CHECKING:
    from theorysim.numerics.stats import Verdict

__all__ = ["LeftOut", "Paper", "Sim", "Verdict"]


def __getattr__(name: str) -> Any:
    if name == "Verdict":
        from theorysim.numerics.stats import Verdict

        return Verdict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
