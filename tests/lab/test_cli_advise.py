"""`theorysim advise`: the questions, their answers as text, JSON and pictures, and mistakes in one line."""

import json
import subprocess
import sys

import numpy as np
import pytest

from theorysim.advisors.synthetic_data import advise_from_numbers
from theorysim.lab.cli import main
from theorysim.lab.cli_advise import as_json

NUMBERS = "--n 100 --m 200 --dim 50 --label-noise 0.2 --keep-right 0.9 --keep-wrong 0.3".split()
KNOWN = [*NUMBERS, "--real-accuracy", "0.8"]
QUALITY = "--m 100 --label-noise 0.2 --keep-right 0.9 --keep-wrong 0.3 --gamma 1 --splits 2".split()


def ask(*words):
    return main(["advise", "synthetic-data", *words])


@pytest.fixture
def data(tmp_path):
    rng, y = np.random.default_rng(0), np.tile([0, 1], 60)
    np.savez(tmp_path / "my.npz", x=rng.normal(size=(120, 20)) + 0.6 * (y[:, None] - 0.5), y=y)
    return str(tmp_path / "my.npz")


def pixels(path):
    from matplotlib.image import imread

    return imread(path)


def test_without_a_question_the_questions_are_listed(capsys):
    for words in (["advise"], ["advise", "--help"]):
        assert main(words) == 0
        said = capsys.readouterr().out
        assert "synthetic-data  Should I train on these synthetic samples" in said
        assert "leakage         Which training records does a model give away" in said


def test_listing_and_help_load_no_jax():
    code = (
        "import sys; from theorysim.lab.cli import main; main(sys.argv[1:]); sys.exit('jax' in sys.modules)"
    )
    for words in (["advise"], ["advise", "synthetic-data", "--help"], ["advise", "leakage", "--help"]):
        subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)


def test_help_explains_every_flag(capsys):
    assert ask("--help") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "usage: theorysim advise synthetic-data" in said
    assert "Fraction of the synthetic labels that are wrong, before pruning." in said
    for flag in (
        "--real-accuracy A",
        "--keep-wrong RHO",
        "--generator-samples N",
        "--picture FILE",
        "--json",
    ):
        assert flag in said


def test_the_answer_is_a_table_and_a_verdict_within_100_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert ask(*KNOWN) == 0
    said = capsys.readouterr().out
    for words in ("real samples alone", "yours (0.9, 0.3)", "label noise", "one synthetic sample", "hurt in"):
        assert words in said
    table = [line for line in said.splitlines() if line.startswith(("│", "┃"))]
    assert table and max(map(len, table)) <= 100
    assert said.splitlines()[-2].startswith("Use the synthetic data")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no harm at weight 1 up to"),
        (("--reused",), "harm at weight 1 even without any"),
        (("--keep-right", "0"), "no harm at weight 1 up to 0 %"),
    ],
)
def test_harm_without_label_noise_and_break_even_at_none_are_told_apart(words, told, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert ask(*KNOWN, *words) == 0
    assert told in capsys.readouterr().out


def test_json_holds_the_report(capsys):
    assert ask(*KNOWN, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    report = advise_from_numbers(
        100, 200, 50, label_noise=0.2, keep_right=0.9, keep_wrong=0.3, real_accuracy=0.8
    )
    assert found == json.loads(json.dumps(as_json(report)))
    assert found["real_only"] == {"accuracy": pytest.approx(0.8), "gamma": "inf", "weight": 0.0}
    assert found["gamma"] is None and found["situation"]["generator_samples"] == "inf"


def test_the_picture_is_drawn_and_has_content(tmp_path, capsys):
    path = tmp_path / "advice.png"
    assert ask(*KNOWN, "--picture", str(path)) == 0
    assert f"picture: {path}" in capsys.readouterr().out
    image = pixels(path)[..., :3]
    assert image.shape == (880, 1440, 3) and len(np.unique(image.reshape(-1, 3), axis=0)) > 100


def test_data_are_read_predicted_and_tested(data, tmp_path, capsys):
    path = tmp_path / "advice.svg"
    assert ask("--data", data, *QUALITY, "--picture", str(path)) == 0
    said = capsys.readouterr().out
    for words in (
        "60 real samples train",
        "held out",
        "Gaussian scores",
        "errors",
        "Gain at weight 1: predicted",
    ):
        assert words in said
    assert path.read_text().startswith("<?xml")


def test_json_of_data_holds_the_comparison(data, capsys):
    assert ask("--data", data, *QUALITY, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 60 and 0.5 < found["real_only"]["measured"]["value"] <= 1
    assert {check["name"] for check in found["checks"]} >= {"Gaussian scores", "no duplicates"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--m", "5", "--label-noise", "0.1"], "--n must be given: an integer >= 1, or --data"),
        (["--n", "5", "--m", "5", "--label-noise", "0.1"], "--dim must be given: an integer >= 3, or --data"),
        (NUMBERS, "--signal or --real-accuracy must be given, one of them, got neither"),
        ([*KNOWN, "--signal", "1"], "--signal or --real-accuracy must be given, one of them, got both"),
        ([*KNOWN, "--n", "-3"], "--n must be an integer >= 1, got -3"),
        ([*KNOWN, "--m", "0"], "--m must be an integer >= 1, got 0"),
        ([*KNOWN, "--label-noise", "1.5"], "--label-noise must be in [0, 1], got 1.5"),
        ([*KNOWN, "--keep-wrong", "-1"], "--keep-wrong must be in [0, 1], got -1"),
        ([*KNOWN, "--gamma", "0"], "--gamma must be in (0, inf], got 0"),
        ([*KNOWN, "--real-accuracy", "0.4"], "--real-accuracy must be in (0.5, 1), got 0.4"),
        ([*KNOWN, "--generator-samples", "0"], "--generator-samples must be in [2, inf], got 0"),
        ([*KNOWN, "--seed", "-1"], "--seed must be an integer >= 0, got -1"),
        ([*KNOWN, "--picture", "a.jpeg"], "--picture must end in .png, .svg or .pdf, got a.jpeg"),
        ([*KNOWN, "--picture", "no/a.png"], "--picture must be a file that can be written, got no/a.png"),
        ([*KNOWN, "--keep-rigth", "1"], "did you mean --keep-right PHI?"),
        (["--m", "5", "--label-noise", "0.1", "--data", "no.npz"], "--data must be a readable .npz file"),
        (
            ["--m", "5", "--label-noise", "0.1", "--data", "no.npz", "--dim", "4"],
            "--dim must not be given with",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ask(*words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert message in said.err and said.err.startswith("theorysim advise: error: ")
    assert not list(tmp_path.iterdir())


def test_data_of_one_class_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "one.npz", x=np.random.default_rng(0).normal(size=(30, 4)), y=np.ones(30, int))
    assert ask("--data", str(tmp_path / "one.npz"), *QUALITY) == 2
    assert "y of --data must hold two classes, got 1: [1]" in capsys.readouterr().err


def test_an_unknown_question_is_refused(capsys):
    assert main(["advise", "synthetic-dat"]) == 2
    assert "did you mean synthetic-data?" in capsys.readouterr().err
