"""The sim on the starts of low-rank adapters from end to end at its tiny preset."""

import json

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from theorysim.lab import catalog
from theorysim.lab.cli import main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora_init")
    assert main(["run", "lora_init", "--preset", "tiny", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sim():
    return catalog.load(catalog.find("lora_init"))


def load(out, name):
    return xr.open_dataset(out / "results/lora_init/tiny" / f"{name}.nc", engine="h5netcdf")


def test_every_claim_is_judged_and_the_exact_ones_hold(out, sim):
    claims = json.loads((out / "results/lora_init/tiny/claims.json").read_text())
    assert {"C1", "C2", "C3", "C4", "D1", "D2", "D3", "D4"} <= {claim["name"] for claim in claims}
    assert {claim["name"] for claim in claims} == set(sim.claims)
    # What needs neither seeds nor wide networks.
    exact = {"C2", "C3", "C3-plane", "D1", "D3", "D3-catapult", "D4", "D4-starts"}
    for claim in claims:
        if claim["name"] in exact:
            assert claim["status"] == claim["expected"], claim


def test_one_rate_with_zero_A_is_one_rate_with_zero_B_and_a_large_A(out):
    with load(out, "one_rate") as data:
        ours, twin = (data.loss.sel(start=start).values for start in ("b", "b as a"))
        np.testing.assert_allclose(ours, twin, rtol=1e-6)


def test_steps_follow_the_slow_law(out):
    with load(out, "times") as data:
        steps = data.reached.sel(init="b").isel(part=-1).values
        np.testing.assert_allclose(steps, data.law.values, rtol=0.05, atol=6)
        assert data.law.values.max() > 100


def test_no_loss_with_zero_A_passes_its_floor_on_the_widest_layer(out):
    with load(out, "one_rate") as data:
        loss = data.loss.sel(start="b").isel(width=-1, step=-1).transpose("problem", "rate").values
        first = data.loss.sel(start="b").isel(width=-1, step=0, rate=0).values
        assert (np.nanmin(loss, axis=1) / first > data.floor.values * 0.999).all()


def test_every_figure_shows_something(out, sim):
    for name in sim.figures.keys() - {"sentiment"}:
        pixels = matplotlib.image.imread(out / "figures/lora_init" / f"{name}.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05


def test_what_needs_a_pretrained_encoder_is_left_out_unless_it_is_asked_for(out):
    record = json.loads((out / "results/lora_init/tiny/run.json").read_text())
    left = {item["name"]: item["error"] for item in record["experiments"] if item["status"] == "left out"}
    assert left == {"fine_tune": "--text-seeds 3 asks for it; `theorysim data get minilm` gets the encoder"}
    assert not (out / "figures/lora_init/sentiment.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--text-seeds", "1"], "text_seeds must be an integer"),
        (["--problems", "1"], "problems must be an integer"),
        (["--powers", "8"], "powers must be at least 2 increasing integers"),
        (["--toy-widths", "16", "40"], "toy_widths must each be 4 or 16 times the one before"),
        (["--toy-times", "10", "15"], "toy_times must be multiples of the first"),
        (["--student-steps", "3"], "student_steps must be an integer"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(flags, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", "lora_init", "--preset", "tiny", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()
