"""What may be declared as a sim, and what is refused."""

from dataclasses import dataclass

import pytest

from theorysim.lab import Paper, Sim
from theorysim.lab.fields import field_docs

PAPER = Paper("On coins", ("A. Tosser", "B. Catcher"), arxiv="2001.00001", year=2020)


@dataclass(frozen=True)
class Config:
    seed: int = 0


@dataclass(frozen=True)
class Other:
    seed: int = 0


@dataclass
class Thawed:
    seed: int = 0


@dataclass(frozen=True)
class Seedless:
    tosses: int = 3


@dataclass(frozen=True)
class Hiding:
    seed: int = 0
    out: str = "x"


def make(**changes) -> Sim:
    return Sim(
        **({"slug": "coins", "question": "Fair?", "paper": PAPER, "presets": {"quick": Config()}} | changes)
    )


def test_decorated_functions_stay_plain():
    sim = make()

    @sim.experiment
    def tosses(cfg, key, sweep):
        """Toss every coin.

        And more.
        """
        return "data"

    @sim.claim("C1", "Fair.", expected="refuted", unit="heads")
    def fair(data, cfg):
        return "verdict"

    @sim.figure("A picture.", name="picture-1")
    def draw(data, cfg):
        return "figure"

    assert (tosses(None, None, None), fair(None, None), draw(None, None)) == ("data", "verdict", "figure")
    assert sim.experiments["tosses"] == ("tosses", "Toss every coin", tosses)
    assert sim.claims["C1"] == ("C1", "Fair.", "refuted", "heads", fair)
    assert sim.figures["picture-1"] == ("picture-1", "A picture.", draw)


def test_an_experiment_without_docstring_is_shown_by_its_name():
    sim = make()

    @sim.experiment
    def many_tosses(cfg, key, sweep): ...

    assert sim.experiments["many_tosses"].title == "many tosses"


@pytest.mark.parametrize("kind", ["experiment", "claim", "figure"])
def test_names_are_taken_once(kind):
    sim = make()
    register = {"experiment": sim.experiment, "claim": None, "figure": sim.figure("Caption.")}[kind]

    def tosses(*_): ...

    with pytest.raises(ValueError, match=f"{kind} name must be new, got"):
        for _ in range(2):
            (register or sim.claim("tosses", "Statement."))(tosses)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slug": "Coins 1"}, r"slug must match \[a-z\]"),
        ({"presets": {"paper": Config()}}, "presets must contain 'quick', got 'paper'"),
        ({"presets": {}}, "presets must contain 'quick', got none"),
        ({"presets": {"quick": {"seed": 0}}}, "preset 'quick' must be an instance of a frozen dataclass"),
        ({"presets": {"quick": Thawed()}}, "preset 'quick' must be an instance of a frozen dataclass"),
        ({"presets": {"quick": Config(), "paper": Other()}}, "share one class, got Config and Other"),
        ({"presets": {"quick": Config(), "../paper": Config()}}, "preset name must match"),
        ({"presets": {"quick": Seedless()}}, "Seedless must have a field `seed: int`, got tosses"),
        ({"presets": {"quick": Hiding()}}, "must not use the name of a flag of `theorysim run`, got out"),
    ],
)
def test_bad_sims_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_bad_claims_and_figures_are_refused():
    sim = make()
    with pytest.raises(ValueError, match="expected of claim C1 must be one of confirmed, refuted, undecided"):
        sim.claim("C1", "Fair.", expected="true")
    with pytest.raises(ValueError, match="figure needs a caption"):
        sim.figure(make)
    with pytest.raises(ValueError, match="figure name must match"):
        sim.figure("Caption.", name="../escape")(make)


@dataclass(frozen=True)
class Documented:
    below: int = 0
    """Said
    below."""
    behind: str = "#no"  # said behind
    # said above
    above: int = 1

    silent: int = 2


def test_fields_are_described_below_behind_or_above():
    assert field_docs(Documented) == {"below": "Said below.", "behind": "said behind", "above": "said above"}
