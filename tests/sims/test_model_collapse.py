"""The model-collapse sim from end to end at its tiny preset, on the bundled text and on a user's own."""

import json

import matplotlib.image
import pytest
import xarray as xr

from theorysim.lab import catalog
from theorysim.lab.cli import main

CLAIMS = ["C1", "C2", "C3", "C4", "C5-printed", "C5", "C6", "C7", "C8", "D1", "D2", "D3", "E1", "E2"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model_collapse")
    assert main(["run", "model_collapse", "--preset", "tiny", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def sim():
    return catalog.load(catalog.find("model_collapse"))


def test_every_experiment_leaves_a_labelled_dataset(out, sim):
    for name in sim.experiments:
        with xr.open_dataset(out / "results/model_collapse/tiny" / f"{name}.nc", engine="h5netcdf") as data:
            assert data.sizes and data.attrs


def test_every_claim_is_judged_and_none_against_expectation(out, sim):
    claims = json.loads((out / "results/model_collapse/tiny/claims.json").read_text())
    assert set(CLAIMS) <= {claim["name"] for claim in claims} == set(sim.claims)
    for claim in claims:
        # A tiny run may leave a claim undecided; it never decides against what is known.
        assert claim["status"] in (claim["expected"], "undecided"), claim


def test_every_figure_shows_something(out, sim):
    for name in sim.figures:
        pixels = matplotlib.image.imread(out / "figures/model_collapse" / f"{name}.png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05
        assert (out / "figures/model_collapse" / f"{name}.svg").stat().st_size > 5000
    assert (out / "figures/index.html").stat().st_size > 100_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "no/such/text.txt"], "data must be a readable text file, got 'no/such/text.txt'"),
        (["--data", "one_letter.txt"], "data must be a text of at least 2 different characters"),
        (["--window", "99"], "window must be an integer in [1, 6], got 99"),
        (["--window", "0"], "window must be an integer in [1, 6], got 0"),
        (["--sizes", "0"], "sizes must be increasing integers in [1, "),
        (["--sizes", "20", "10"], "sizes must be increasing integers in [1, "),
        (["--sizes", "1000000000"], "sizes must be increasing integers in [1, "),
        (["--mixed-sizes", "-5"], "mixed_sizes must be increasing integers in [1, "),
        (["--collapse-sizes", "1", "2"], "collapse_sizes must be increasing integers in [2, "),
        (["--collapse-sizes", "8"], "collapse_sizes must be at least 2 integers, got (8,)"),
        (["--long-windows", "2", "9"], "long_windows must be increasing integers in [1, 8], got (2, 9)"),
        (["--context-share", "0"], "context_share must be in (0, 1], got 0.0"),
        (["--context-share", "nan"], "context_share must be in (0, 1], got nan"),
        (["--context-share", "0.9"], "context_share must suit the text, got 0.9: min_count must be at most"),
        (["--generations", "1"], "generations must be an integer >= 2, got 1"),
        (["--long-generations", "1"], "long_generations must be an integer >= 2, got 1"),
        (["--runs", "7"], "runs must be an integer >= 8, got 7"),
        (["--collapse-runs", "0"], "collapse_runs must be an integer >= 2, got 0"),
        (["--long-runs", "1"], "long_runs must be an integer >= 2, got 1"),
        (["--network-runs", "1"], "network_runs must be an integer >= 2, got 1"),
        (["--network-samples", "-1"], "network_samples must be an integer >= 2, got -1"),
        (["--network-generations", "0"], "network_generations must be an integer >= 2, got 0"),
        (["--network-steps", "0"], "network_steps must be an integer >= 2, got 0"),
        (["--real", "1"], "real must be an integer >= 2, got 1"),
        (["--law", "gauss"], "law"),
        (["--runs", "many"], "runs"),
        (["--no-such-field", "3"], "no-such-field"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(flags, message, tmp_path, capsys, monkeypatch):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "one_letter.txt").write_text("aaaa")
    monkeypatch.chdir(texts)
    out = tmp_path / "out"
    assert main(["run", "model_collapse", "--preset", "tiny", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_a_users_own_text_can_be_the_truth(tmp_path):
    text = tmp_path / "my.txt"
    text.write_text("the cat sat on the mat and the dog sat on the cat " * 40)
    flags = ["--only", "characters", "--data", str(text), "--out", str(tmp_path / "out")]
    assert main(["run", "model_collapse", "--preset", "tiny", *flags]) == 0
    with xr.open_dataset(
        tmp_path / "out/results/model_collapse/tiny/characters.nc", engine="h5netcdf"
    ) as data:
        assert data.sizes["token"] == len(set(text.read_text()))
