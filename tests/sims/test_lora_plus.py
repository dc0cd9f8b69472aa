"""The sim on two learning rates for adapters from end to end at its tiny preset."""

import json

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from theorysim.lab import catalog
from theorysim.lab.cli import main

TEXT = {"fine_tune", "small_transformer"}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora_plus")
    assert main(["run", "lora_plus", "--preset", "tiny", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sim():
    return catalog.load(catalog.find("lora_plus"))


def load(out, name):
    return xr.open_dataset(out / "results/lora_plus/tiny" / f"{name}.nc", engine="h5netcdf")


def test_every_experiment_leaves_a_labelled_dataset(out, sim):
    for name in sim.experiments.keys() - TEXT:
        with load(out, name) as data:
            assert data.sizes


def test_what_trains_on_text_is_left_out_unless_it_is_asked_for(out):
    record = json.loads((out / "results/lora_plus/tiny/run.json").read_text())
    assert {item["name"] for item in record["experiments"] if item["status"] == "left out"} == TEXT


def test_every_claim_is_judged_and_what_is_exact_is_confirmed(out, sim):
    claims = json.loads((out / "results/lora_plus/tiny/claims.json").read_text())
    assert {f"C{i}" for i in range(1, 4)} <= {claim["name"] for claim in claims} == set(sim.claims)
    status = {claim["name"]: claim["status"] for claim in claims}
    # Two networks of each width decide nothing; the exact dynamics do, from few starts, too.
    exact = {"D2", "D2-table", "D3", "D4", "D4-end", "D5"}
    assert {name for name in exact if status[name] != "confirmed"} == set()
    # None of the others may be decided against what is known of the exact dynamics.
    assert {name for name in ("C1", "C2", "D1", "D2-best", "D6", "D7") if status[name] == "refuted"} == set()


def test_one_rate_costs_a_logarithm_of_the_width(out):
    with load(out, "law_of_steps") as data:
        time = (data.steps * data.sharpness).sel(sharpness=0.02)
        per_octave = np.diff(time.sel(rates="one")) / np.diff(np.log(time.n))
        np.testing.assert_allclose(per_octave[2:], 0.5, atol=0.005)
        assert float(time.sel(rates="two").std()) < 1e-9


def test_two_rates_are_one_rate_with_a_larger_start_in_networks(out):
    with load(out, "toy") as data:
        pair, twin = (data.loss_followed.sel(setting=name) for name in ("two rates", "larger start"))
        np.testing.assert_allclose(twin, pair, rtol=1e-4)
        # At ratio n/4 the twin's features are larger by the root of it.
        size = data.feature_rms_followed.isel(record=0)
        ratio = size.sel(setting="larger start") / size.sel(setting="two rates")
        np.testing.assert_allclose(ratio.mean(("readout", "seed")), (data.width / 4) ** 0.5, rtol=1e-5)


def test_the_ratio_that_is_too_large_does_not_train(out):
    with load(out, "toy") as data:
        last = data.loss.isel(readout=0, width=0, record=-1).mean("seed").min("rate")
        assert last.sel(ratio=64) > 1.3 * last.min()


def test_every_figure_shows_something(out, sim):
    for name in sim.figures.keys() - {"sentiment", "from_shakespeare_to_prose"}:
        pixels = matplotlib.image.imread(out / "figures/lora_plus" / f"{name}.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--starts", "1"], "starts must be an integer >= 4, got 1"),
        (["--law-starts", "10"], "law_starts must be an integer >= 40, got 10"),
        (["--widths", "64", "128"], "widths must be at least 4 increasing integers >= 16"),
        (["--toy-widths", "64"], "toy_widths must be at least 2 increasing integers >= 8"),
        (["--toy-steps", "12"], "toy_steps must be a multiple of 5, got 12"),
        (["--toy-readouts", "linear"], "toy_readouts must be"),
        (["--toy-readouts", "ntk", "ntk"], "toy_readouts must be different names"),
        (["--toy-seeds", "1"], "toy_seeds must be an integer >= 2, got 1"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(flags, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "lora_plus", "--preset", "tiny", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()
