"""The sim on leave-one-out distinguishability from end to end at its tiny preset."""

import json

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from theorysim.lab import catalog
from theorysim.lab.cli import main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lood")
    assert main(["run", "lood", "--preset", "tiny", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sim():
    return catalog.load(catalog.find("lood"))


def load(out, name):
    return xr.open_dataset(out / "results/lood/tiny" / f"{name}.nc", engine="h5netcdf")


def test_every_claim_is_judged_and_none_against_expectation(out, sim):
    claims = json.loads((out / "results/lood/tiny/claims.json").read_text())
    assert {f"C{i}" for i in range(1, 7)} <= {claim["name"] for claim in claims} == set(sim.claims)
    # A tiny run has ten networks of width 64 where the claims want hundreds of width 2048, and two depths.
    exact = {"C3", "D1", "D2", "C4-he"}
    for claim in claims:
        if claim["name"] in exact:
            assert claim["status"] == claim["expected"], claim


def test_no_query_sees_more_than_the_record(out):
    with load(out, "queries") as data:
        assert data.gain.sel(objective="kl").max() < 1e-9
        assert data.gain.sel(objective="mean").max("target").min() > 0.1


def test_the_closed_form_is_the_refit(out):
    with load(out, "refits") as data:
        closed, refit = (data.value.sel(by=by).values for by in ("closed form", "refit"))
        np.testing.assert_allclose(closed, refit, rtol=1e-8)


def test_every_figure_shows_something(out, sim):
    for name in sim.figures:
        pixels = matplotlib.image.imread(out / "figures/lood" / f"{name}.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dataset", "cifar"], "dataset must be"),
        (["--records", "5"], "records must be an integer"),
        (["--flipped", "20"], "flipped must be an integer"),
        (["--targets", "100"], "targets must be an integer"),
        (["--widths", "64"], "widths must be at least 2 increasing integers"),
        (["--trained-left-out", "50"], "trained_left_out must be an integer"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(flags, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "lood", "--preset", "tiny", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()
