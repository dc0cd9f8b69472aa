"""Experiments that a configuration leaves out: the run is complete, and says how to have them."""

import json

from theorysim.lab.cli import main

SOURCE = '''
"""Coins."""

from dataclasses import dataclass

import xarray as xr

from theorysim.lab import LeftOut, Paper, Sim, Verdict
from theorysim.lab.figures import new_figure


@dataclass(frozen=True)
class Config:
    """Coins."""

    seed: int = 0
    """Seed."""
    rare: bool = False
    """Toss rare coins, too."""


sim = Sim(
    slug="coins",
    question="Are coins fair?",
    paper=Paper("On coins", ("A. Tosser",), arxiv="2001.00001", year=2020),
    presets={"quick": Config()},
)


@sim.experiment
def tosses(cfg, key, sweep):
    """Toss every coin."""
    return xr.Dataset({"share": 0.5})


@sim.experiment
def rare_coins(cfg, key, sweep):
    """Toss rare coins."""
    if not cfg.rare:
        raise LeftOut("--rare asks for it")
    return xr.Dataset({"share": 0.5})


def fair(name):
    return lambda data, cfg: Verdict("confirmed", float(data[name].share), 0.5, 0.1, "It is.")


sim.claim("C1", "Coins are fair.")(fair("tosses"))
sim.claim("C2", "Rare coins are fair.")(fair("rare_coins"))


@sim.figure("Rare coins.")
def rare(data, cfg):
    drawing, ax = new_figure()
    ax.plot([0, 1], [float(data["rare_coins"].share)] * 2)
    return drawing
'''


def test_what_is_left_out_fails_nothing_and_can_be_had(tmp_path, capsys):
    source, out = tmp_path / "coins.py", tmp_path / "out"
    source.write_text(SOURCE)
    gallery = out / "figures" / "coins"
    assert main(["run", str(source), "--out", str(out), "--strict"]) == 0
    said = capsys.readouterr()
    assert "left out: --rare asks for it" in said.out + said.err
    record = json.loads((gallery / "run.json").read_text())
    assert [item["status"] for item in record["experiments"]] == ["done", "left out"]
    claims = json.loads((gallery / "claims.json").read_text())
    assert [item["status"] for item in claims] == ["confirmed", "undecided"]
    assert claims[1]["detail"] == "experiment rare_coins is left out: --rare asks for it"
    assert not (gallery / "rare.png").exists()
    assert "left out" in (out / "figures" / "index.html").read_text()

    assert main(["run", str(source), "--out", str(out), "--rare"]) == 0
    claims = json.loads((gallery / "claims.json").read_text())
    assert [item["status"] for item in claims] == ["confirmed", "confirmed"]
    assert (gallery / "rare.png").exists()
