"""The sim on the forward feature map from end to end at its tiny preset."""

import json

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from theorysim.lab import catalog
from theorysim.lab.cli import main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feature_map")
    assert main(["run", "feature_map", "--preset", "tiny", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sim():
    return catalog.load(catalog.find("feature_map"))


def load(out, name):
    return xr.open_dataset(out / "results/feature_map/tiny" / f"{name}.nc", engine="h5netcdf")


def test_every_claim_is_judged_and_the_exact_ones_hold(out, sim):
    claims = json.loads((out / "results/feature_map/tiny/claims.json").read_text())
    assert {f"C{i}" for i in range(1, 7)} <= {claim["name"] for claim in claims} == set(sim.claims)
    # Two epochs of 16 units say little of the rest.
    for claim in claims:
        if claim["name"] == "D1":
            assert claim["status"] == claim["expected"], claim


def test_numbers_of_every_epoch_are_shares_and_start_without_outputs(out):
    with load(out, "regimes") as data:
        for name in ("utility", "quality", "dominance", "distance", "alignment"):
            assert ((data[name] >= -1e-5) & (data[name] <= 1 + 1e-5)).all(), name
        assert (data.utility.isel(epoch=0) == 0).all()
        assert (data.utility.isel(epoch=-1) > 0.1).all()
        np.testing.assert_allclose(data.distance, 1 - data.alignment**2, atol=1e-5)
        # Eigenfunctions are orthonormal over the inputs.
        e = data.functions.isel(setting=0, replica=0).transpose("eigenfunction", "example").values
        np.testing.assert_allclose(e @ e.T / e.shape[1], np.eye(3), atol=1e-4)


def test_linear_networks_from_orthogonal_weights_follow_the_exact_law(out):
    with load(out, "linear_networks") as data:
        run = data.along.sel(orthogonal=True).isel(replica=0)
        np.testing.assert_allclose(run.transpose(*data.along_law.dims), data.along_law, rtol=0.02)


def test_the_readout_without_noise_has_the_exact_risk(out):
    with load(out, "readouts") as data:
        for name in ("train", "test"):
            run = data[name].sel(noise=0).isel(replica=0)
            np.testing.assert_allclose(run, data[f"{name}_law"].sel(noise=0), rtol=1e-8)


def test_no_network_beats_the_unconstrained_minimum(out):
    with load(out, "weight_decay") as data:
        least = data.objective_law.dropna("problem")
        assert (data.objective.sel(problem=least.problem) >= least * (1 - 1e-9)).all()


def test_every_figure_shows_something(out, sim):
    for name in sim.figures:
        pixels = matplotlib.image.imread(out / "figures/feature_map" / f"{name}.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dataset", "cifar"], "dataset must be"),
        (["--width", "2"], "width must be an integer"),
        (["--networks", "1"], "networks must be an integer"),
        (["--grid-records", "5000"], "grid_records must be an integer"),
        (["--grid-scales", "1", "0.1"], "grid_scales must be increasing"),
        (["--architectures", "transformer"], "architectures must be"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(flags, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "feature_map", "--preset", "tiny", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()
