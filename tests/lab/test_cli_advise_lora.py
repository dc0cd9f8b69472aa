"""`theorysim advise lora`: text, JSON and a picture of the advice, and mistakes in one line."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.advisors.lora.problems import correlated
from theorysim.advisors.lora import advise_lora
from theorysim.lab.cli import main
from theorysim.lab.cli_advise import as_json

SIZES = "--width 60 --rank 3 --alpha 6".split()
QUICK = "--curvature 1 --steps 20".split()


def ask(*words):
    return main(["advise", "lora", *words])


def table_width(said):
    return max(len(line) for line in said.splitlines() if line.startswith(("│", "┃", "┏", "└")))


@pytest.fixture
def probe(tmp_path):
    case = correlated()
    np.savez(tmp_path / "p.npz", features=case.X, output_grad=case.gradients, other=np.ones(1))
    return str(tmp_path / "p.npz")


def test_help_explains_every_flag_and_loads_no_jax(capsys):
    assert ask("--help") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "usage: theorysim advise lora" in said
    for flag in (
        "--width N",
        "--scaling {alpha/r,alpha/sqrt(r)}",
        "--base-lr",
        "--probe",
        "--curvature",
        "--json",
    ):
        assert flag in said
    code = (
        "import sys; from theorysim.lab.cli import main; main(sys.argv[1:]); sys.exit('jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "advise", "lora", "--help"], check=True, capture_output=True)


def test_sizes_alone_give_relative_advice_within_100_columns(capsys):
    assert ask("--width", "4096", "--rank", "16", "--alpha", "32", "--optimizer", "adamw") == 0
    said = capsys.readouterr().out
    assert said.startswith("LoRA on 4,096 inputs: rank 16, scale alpha/r = 2, adamw.\n")
    assert table_width(said) <= 100
    told = " ".join(said.split())
    for words in (
        "RELATIVE ADVICE ONLY",
        "a constant times n^-1",
        "paper's default",
        "where this doubles",
        "× 0.5",
    ):
        assert words in told
    assert "measured on the probe" not in told


def test_a_rate_and_a_pair_that_work_are_carried(capsys):
    words = "--width 4096 --rank 16 --alpha 32 --optimizer sgd --base-width 1024 --json --base-lr".split()
    assert ask(*words, "0.008") == 0
    one = json.loads(capsys.readouterr().out)
    assert (one["lr_a"], one["lr_b"], one["single"]) == (0.002, 0.008, 0.004)
    assert ask(*words, "0.008", "0.5", "--base-alpha", "64") == 0
    pair = json.loads(capsys.readouterr().out)
    # The scale is half that of the base: B's rate is four times its own.
    assert (pair["lr_a"], pair["lr_b"], pair["source"]) == (0.002, 2.0, "base rate")


def test_a_probe_gives_text_a_picture_and_json(probe, tmp_path, capsys):
    picture = tmp_path / "lora.png"
    assert ask(*SIZES, "--optimizer", "sgd", "--probe", probe, *QUICK, "--picture", str(picture)) == 0
    said = capsys.readouterr().out
    told = " ".join(said.split())
    for words in (
        "margin in trials",
        "measured on the probe",
        "limit for both",
        "Linear response around the base",
    ):
        assert words in told
    assert table_width(said) <= 100 and said.splitlines()[-1] == f"picture: {picture}"

    from matplotlib.image import imread

    image = imread(picture)[..., :3]
    assert image.shape[:2] == (720, 1440) and len(np.unique(image.reshape(-1, 3), axis=0)) > 200
    assert ask(*SIZES, "--optimizer", "sgd", "--probe", probe, *QUICK, "--json") == 0
    case = correlated()
    arrays: dict[str, Any] = {"features": case.X, "output_grad": case.gradients}
    advice = advise_lora(60, 3, 6.0, optimizer="sgd", curvature=1.0, steps=20, **arrays)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(as_json(advice)))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--init", "b"],
        ["--optimizer", "sgd"],
        ["--base-lr", "1e-3", "--base-width", "60"],
        ["features"],
    ],
)
def test_every_kind_of_advice_can_be_drawn(words, tmp_path, capsys):
    if words == ["features"]:
        np.savez(tmp_path / "x.npz", features=correlated().X)
        words = ["--probe", str(tmp_path / "x.npz")]
    assert ask(*SIZES, *words, "--picture", str(tmp_path / "a.svg")) == 0
    assert (tmp_path / "a.svg").read_text().count("<svg") == 1 and "picture: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rank", "0"], "--rank must be an integer in [1, 60], got 0"),
        (["--rank", "61"], "--rank must be an integer in [1, 60], got 61"),
        (["--alpha", "-1"], "--alpha must be in (0, inf), got -1"),
        (
            ["--base-lr", "1e-3"],
            "--base-width must be given with --base-lr (60 if the rate was tuned",
        ),
        (["--base-width", "60"], "--base-lr must be given with --base-width: the rate that works there"),
        (["--base-lr", "0", "--base-width", "60"], "--base-lr must be in (0, inf), got 0"),
        (
            ["--base-lr", "1", "2", "3", "--base-width", "60"],
            "--base-lr must be one rate, or one of A",
        ),
        (["--var-a", "0"], "--var-a must be in (0, inf), got 0"),
        (["--curvature", "0"], "--curvature must be in (0, inf), got 0"),
        (["--scaling", "alpha"], "alpha/sqrt(r)"),
        (
            ["--probe", "no.npz"],
            "--probe must be a readable .npz file with features, got no.npz (No",
        ),
        (["--probe", "text.npz"], "got text.npz (damaged, or no .npz file)"),
        (["--probe", "objects.npz"], "got objects.npz (Python objects)"),
        (["--probe", "one.npy"], "got one.npy (damaged, or no .npz file)"),
        (["--probe", "other.npz"], "got other.npz without them (it holds x, y)"),
        (
            ["--probe", "narrow.npz"],
            "features of --probe must have shape (N, 60), a column for each of wid",
        ),
        (["--probe", "nan.npz"], "features of --probe must be finite, got nan at [2, 5]"),
        (["--probe", "short.npz"], "output_grad of --probe must have shape (12, n_out), a row for each"),
        (["--picture", "a.jpeg"], "--picture must end in .png, .svg or .pdf, got a.jpeg"),
        (["--prob", "p.npz"], "did you mean --probe"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x, gradients = correlated().X, correlated().gradients
    (tmp_path / "text.npz").write_text("no archive")
    np.save("one.npy", x)
    np.savez("objects.npz", features=np.array([{}, None]))
    np.savez("other.npz", x=x, y=x)
    np.savez("narrow.npz", features=x[:, 1:])
    np.savez("nan.npz", features=np.where(np.arange(x.size).reshape(x.shape) == 125, np.nan, x))
    np.savez("short.npz", features=x, output_grad=gradients[1:])
    files = sorted(tmp_path.iterdir())
    given = list(SIZES)
    for flag in ("--rank", "--alpha"):
        if flag in words:
            del given[given.index(flag) : given.index(flag) + 2]
    assert ask(*given, *words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert message in said.err and said.err.startswith("theorysim advise: error: ")
    assert sorted(tmp_path.iterdir()) == files
