"""What a sim keeps beside it, in files of its own that cannot import it: its claims and its figures.

A file of claims makes a list, fills it by a decorator, and the sim registers it:

    claims = Claims()

    @claims.claim("C1", "A coin is fair.")
    def fair(data, cfg): ...

    register(sim, claims, FIGURES)
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from theorysim.lab import Sim, Verdict

__all__ = ["Claims", "Statement", "register"]


class Statement(NamedTuple):
    """A claim: its label, its text, the verdict that we expect, and the function that judges it."""

    name: str
    text: str
    expected: str
    judge: Callable[[Any, Any], Verdict]


class Claims(list[Statement]):
    """The claims of one paper, in order of definition."""

    def claim(self, name: str, text: str, expected: str = "confirmed"):
        """Add the decorated function `(data, cfg) -> Verdict`, which stays what it was."""

        def add(judge: Callable[[Any, Any], Verdict]):
            self.append(Statement(name, text, expected, judge))
            return judge

        return add


def register(sim: Sim, claims: Iterable[Statement], figures: Iterable[Callable[[Any, Any], Any]]) -> None:
    """Give the sim its claims, and its figures, whose docstrings are the captions."""
    for statement in claims:
        sim.claim(statement.name, statement.text, expected=statement.expected)(statement.judge)
    for draw in figures:
        sim.figure(" ".join((draw.__doc__ or "").split()))(draw)
