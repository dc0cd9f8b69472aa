"""The sim on real plus synthetic data from end to end at its tiny preset, and on a user's own features."""

import json

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from theorysim.lab import catalog
from theorysim.lab.cli import main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rmt_synthetic")
    # Without the optional sentence encoder, which takes longer than all the rest.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["run", "rmt_synthetic", "--preset", "tiny", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sim():
    return catalog.load(catalog.find("rmt_synthetic"))


def test_every_experiment_leaves_a_labelled_dataset(out, sim):
    for name in sim.experiments:
        path = out / "results/rmt_synthetic/tiny" / f"{name}.nc"
        with xr.open_dataset(path, engine="h5netcdf") as data:
            assert data.sizes
            assert data.attrs


def test_every_claim_is_judged_and_none_against_expectation(out, sim):
    claims = json.loads((out / "results/rmt_synthetic/tiny/claims.json").read_text())
    assert (
        {f"C{i}" for i in range(1, 10)} | {"E7", "E8"}
        <= {claim["name"] for claim in claims}
        == set(sim.claims)
    )
    for claim in claims:
        # A tiny run may leave a claim undecided; it never decides against what is known.
        assert claim["status"] in (claim["expected"], "undecided"), claim
    decided = [claim["name"] for claim in claims if claim["status"] != "undecided"]
    assert {"C8-all", "mask-released", "E1"} <= set(decided)


def test_every_figure_shows_something(out, sim):
    for name in sim.figures:
        pixels = matplotlib.image.imread(out / "figures/rmt_synthetic" / f"{name}.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05
        assert (out / "figures/rmt_synthetic" / f"{name}.svg").stat().st_size > 5000


def test_classes_follow_their_limit_and_digits_are_learnt(out):
    folder = out / "results/rmt_synthetic/tiny"
    with xr.open_dataset(folder / "classes.nc", engine="h5netcdf") as data:
        assert abs(data.value.mean("replica") - data.exact.mean("integration")).max() < 0.03
        # The labels that an oracle keeps are right, however few.
        assert (
            data.exact.sel(verifier="oracle", eps=0.8) > data.exact.sel(verifier="none", eps=0.8) + 0.2
        ).all()
    with xr.open_dataset(folder / "mnist_network.nc", engine="h5netcdf") as data:
        assert 0.3 < data.value.min() < data.value.max() < 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "no/such/features.npz"], "data must be"),
        (["--data", "one_class.npz"], "data must hold two classes, got 1"),
        (["--data", "few.npz"], "data must hold at least 300 samples of two classes, got 40"),
        (["--dim", "3"], "dim must be an integer >= 20, got 3"),
        (["--draws", "0"], "draws must be an integer >= 50, got 0"),
        (["--limit-dims", "50", "25"], "limit_dims must be at least 2 increasing integers >= 10"),
        (["--limit-dims", "50"], "limit_dims must be at least 2 increasing integers >= 10"),
        (["--limit-draws", "9"], "limit_draws must be an integer >= 100, got 9"),
        (["--real", "-1"], "real must be an integer >= 40, got -1"),
        (["--ratio-draws", "1"], "ratio_draws must be an integer >= 8, got 1"),
        (["--network-seeds", "1"], "network_seeds must be an integer >= 3, got 1"),
        (["--splits", "2"], "splits must be an integer >= 3, got 2"),
        (["--mnist-seeds", "2"], "mnist_seeds must be an integer >= 3, got 2"),
        (["--mnist-steps", "9"], "mnist_steps must be an integer >= 10, got 9"),
        (["--mnist-synthetic", "0"], "mnist_synthetic must be an integer >= 1, got 0"),
        (["--mnist-side", "20"], "mnist_side must be 14 or 28, got 20"),
        (["--draws", "many"], "draws"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(flags, message, tmp_path, capsys, monkeypatch):
    features = tmp_path / "features"
    features.mkdir()
    x = np.random.default_rng(0).normal(size=(400, 5))
    np.savez(features / "one_class.npz", x=x, y=np.ones(400, int))
    np.savez(features / "few.npz", x=x[:40], y=np.arange(40) % 2)
    monkeypatch.chdir(features)
    out = tmp_path / "out"
    assert main(["run", "rmt_synthetic", "--preset", "tiny", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_a_users_own_features_join_the_real_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    y = np.where(rng.random(400) < 0.5, 3, 8)
    np.savez(tmp_path / "my.npz", x=rng.normal(size=(400, 10)) + 0.4 * (y == 8)[:, None], y=y)
    flags = ["--only", "generator_subset", "--data", str(tmp_path / "my.npz"), "--out", str(tmp_path / "out")]
    assert main(["run", "rmt_synthetic", "--preset", "tiny", *flags]) == 0
    path = tmp_path / "out/results/rmt_synthetic/tiny/generator_subset.nc"
    with xr.open_dataset(path, engine="h5netcdf") as data:
        mine = data.sel(task="your data")
        assert 0.6 < mine.measured.mean() < 1
        assert abs(mine.measured.mean() - mine.predicted.mean()) < 0.05
