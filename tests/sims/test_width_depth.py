"""The sim on width and depth from end to end at its tiny preset."""

import json

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from theorysim.lab import catalog
from theorysim.lab.cli import main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("width_depth")
    assert main(["run", "width_depth", "--preset", "tiny", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sim():
    return catalog.load(catalog.find("width_depth"))


def test_every_experiment_leaves_a_labelled_dataset(out, sim):
    for name in sim.experiments:
        path = out / "results/width_depth/tiny" / f"{name}.nc"
        with xr.open_dataset(path, engine="h5netcdf") as data:
            assert data.sizes


def test_every_claim_is_judged_and_none_against_expectation(out, sim):
    claims = json.loads((out / "results/width_depth/tiny/claims.json").read_text())
    assert {f"C{i}" for i in range(1, 9)} <= {claim["name"] for claim in claims} == set(sim.claims)
    for claim in claims:
        # A tiny run may leave a claim undecided; it never decides against what is known.
        assert claim["status"] in (claim["expected"], "undecided"), claim
    decided = [claim["name"] for claim in claims if claim["status"] != "undecided"]
    assert {"C3-depth", "C7-shaped", "D2"} <= set(decided)


def test_a_kernel_without_skips_loses_digits_at_depth(out):
    with xr.open_dataset(out / "results/width_depth/tiny/digit_accuracy.nc", engine="h5netcdf") as data:
        right = data.nngp.mean("digit")
        np.testing.assert_allclose(right, 0.9937, atol=0.003)
        assert data.no_skips.sel(finite_L=100).mean() == pytest.approx(0.9837, abs=0.002)
        assert data.ntk.sel(L=100).mean() == pytest.approx(0.9912, abs=0.002)


def test_every_figure_shows_something(out, sim):
    for name in sim.figures:
        pixels = matplotlib.image.imread(out / "figures/width_depth" / f"{name}.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--networks", "1"], "networks must be an integer >= 50, got 1"),
        (["--wide", "2"], "wide must be an integer >= 16, got 2"),
        (["--sizes", "8", "4", "16"], "sizes must be at least 3 increasing integers >= 4"),
        (["--square-sizes", "8"], "square_sizes must be at least 2 increasing integers >= 4"),
        (["--square-sizes", "8", "2000"], "square_sizes must be at most 1600"),
        (["--dense-depth", "0"], "dense_depth must be an integer >= 1, got 0"),
        (["--digit-samples", "7"], "digit_samples must be an integer"),
        (["--digit-networks", "2"], "digit_networks must be an integer >= 4, got 2"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(flags, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "width_depth", "--preset", "tiny", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()
