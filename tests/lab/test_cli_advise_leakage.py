"""`theorysim advise leakage`: text, JSON and a picture of an audit, and mistakes in one line."""

import json

import numpy as np
import pytest

from tests.advisors.leakage.problems import WRONG, two_classes
from theorysim.advisors.leakage import audit_leakage
from theorysim.lab.cli import main
from theorysim.lab.cli_advise import as_json

KNOWN = "--length 1.5 --variance 1 --noise 0.1 --raw".split()
QUICK = [*KNOWN, "--networks", "50", "--retrain", "2"]


def ask(*words):
    return main(["advise", "leakage", *words])


@pytest.fixture
def data(tmp_path):
    x, y = two_classes()
    np.savez(tmp_path / "my.npz", x=x, y=y)
    return str(tmp_path / "my.npz")


def test_help_explains_every_flag(capsys):
    assert ask("--help") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "usage: theorysim advise leakage" in said
    for flag in (
        "--data FILE.npz",
        "--kernel {rbf,relu,gelu,ntk}",
        "--noise auto|NUMBER",
        "--retrain",
        "--raw",
    ):
        assert flag in said


def test_the_answer_is_tables_and_a_verdict_within_100_columns(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    picture = tmp_path / "leakage.png"
    assert ask("--data", data, *QUICK, "--picture", str(picture)) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "120 records of 3 features, 2 classes.\nModel: rbf, length 1.5, variance 1, noise 0.1"
    )
    for words in (
        "most exposed",
        "above AUC 0.9",
        "(x 10)",
        "first 10 removed",
        "label looks wrong",
        "left out, 50",
    ):
        assert words in said
    for record in WRONG:
        assert f"record {record} (label?)" in said
    table = [line for line in said.splitlines() if line.startswith(("│", "┃"))]
    assert table and max(map(len, table)) <= 100
    assert "The prediction held for 2 records left out and trained again" in " ".join(said.split())

    from matplotlib.image import imread

    image = imread(picture)[..., :3]
    assert image.shape[:2] == (630, 2025) and len(np.unique(image.reshape(-1, 3), axis=0)) > 100


def test_json_holds_the_audit(data, capsys):
    assert ask("--data", data, *QUICK, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    audit = audit_leakage(
        *two_classes(), length=1.5, variance=1, noise=0.1, standardize=False, networks=50, retrain=2
    )
    assert found == json.loads(json.dumps(as_json(audit)))
    assert len(found["exposure"]["auc"]) == 120 and found["fit"]["log_likelihood"] is None


def test_floats_are_numbers_to_predict(tmp_path, capsys):
    x, y = two_classes()
    np.savez(tmp_path / "floats.npz", x=x, y=y + 0.5 * x[:, 0])
    assert ask("--data", str(tmp_path / "floats.npz"), *KNOWN, "--retrain", "0", "--remove", "0") == 0
    said = capsys.readouterr().out
    assert "regression" in said and "error (rms)" in said and "removed" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--noise", "0"], "--noise must be in (0, inf), got 0"),
        (
            ["--noise", "1e-12"],
            "--noise must be at least 1e-10 where records are equal, got 1e-12 for records 3 and 8",
        ),
        (["--length", "-1"], "--length must be in (0, inf), got -1"),
        (["--kernel", "laplace"], "laplace"),
        (["--kernel", "relu", "--length", "1"], "--length must be left at 'auto' with kernel = 'relu'"),
        (["--remove", "119"], "--remove must be an integer in [0, 118], got 119"),
        (["--fit-records", "1"], "--fit-records must be an integer >= 4, got 1"),
        (["--seed", "-1"], "--seed must be an integer >= 0, got -1"),
        (["--picture", "a.jpeg"], "--picture must end in .png, .svg or .pdf, got a.jpeg"),
        (["--kernell", "rbf"], "did you mean --kernel"),
        (
            ["--data", "no.npz"],
            "--data must be a readable .npz file with arrays x and y, got no.npz (No such file",
        ),
        (["--data", "text.npz"], "got text.npz (damaged, or no .npz file)"),
        (["--data", "lacks.npz"], "got lacks.npz without y (it holds x)"),
        (["--data", "objects.npz"], "got objects.npz (Python objects)"),
        (["--data", "nan.npz"], "x of --data must be finite, got nan at [2, 1]"),
        (["--data", "one.npz"], "y of --data must hold at least two classes, got 1: [1]"),
        (["--data", "constant.npz"], "x of --data must hold one that varies, got 2 constant ones"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x, y = two_classes()
    x[8] = x[3]
    np.savez("my.npz", x=x, y=y)
    (tmp_path / "text.npz").write_text("no archive")
    np.savez("lacks.npz", x=x)
    np.savez("objects.npz", x=np.array([{}, None]), y=y)
    np.savez("nan.npz", x=np.where(np.arange(360).reshape(120, 3) == 7, np.nan, x), y=y)
    np.savez("one.npz", x=x, y=np.ones(120, int))
    np.savez("constant.npz", x=np.ones((120, 2)), y=y)
    files = sorted(tmp_path.iterdir())
    assert ask("--data", "my.npz", *words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert message in said.err and said.err.startswith("theorysim advise: error: ")
    assert sorted(tmp_path.iterdir()) == files
