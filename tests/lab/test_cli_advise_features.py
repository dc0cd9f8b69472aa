"""`theorysim advise features`: text, JSON and a picture of an audit, and mistakes in one line."""

import json

import numpy as np
import pytest

from tests.advisors.features.problems import collapsed, spread
from theorysim.advisors.features import audit_features
from theorysim.lab.cli import main
from theorysim.lab.cli_advise import as_json


def ask(*words):
    return main(["advise", "features", *words])


def stored(path, case, **more):
    held = {"test_features": case.test_x, "test_labels": case.test_y}
    np.savez(path, features=case.x, labels=case.y, readout=case.readout, **held, **more)
    return str(path)


@pytest.fixture
def data(tmp_path):
    return stored(tmp_path / "f.npz", collapsed(shortcut=True))


def test_help_explains_every_flag(capsys):
    assert ask("--help") == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "usage: theorysim advise features" in said
    for flag in ("--features FILE", "--labels", "--readout", "--test-features", "--task", "--minimal U"):
        assert flag in said


def test_the_answer_is_tables_and_a_verdict_within_100_columns(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    picture = tmp_path / "features.png"
    assert ask("--features", data, "--picture", str(picture)) == 0
    said = capsys.readouterr().out
    assert said.startswith("600 examples of 12 features, 3 classes; K* = 2. 300 held out.\n")
    for words in ("utility u(2)", "quality q(2)", "of a random readout", "held out", "collapse NC3, NC4"):
        assert words in said
    table = [line for line in said.splitlines() if line.startswith(("│", "┃"))]
    assert table and max(map(len, table)) <= 100
    told = " ".join(said.split())
    assert "MINIMAL: the outputs use as many features as 3 classes need" in told
    assert "FEW AND WRONG FEATURES: q(2) is" in told

    from matplotlib.image import imread

    image = imread(picture)[..., :3]
    assert image.shape[:2] == (1260, 1725) and len(np.unique(image.reshape(-1, 3), axis=0)) > 200


def test_json_holds_the_audit(data, capsys):
    assert ask("--features", data, "--json", "--permutations", "29", "--seed", "3") == 0
    found = json.loads(capsys.readouterr().out)
    case = collapsed(shortcut=True)
    audit = audit_features(case.x, case.y, readout=case.readout, **case.held, permutations=29, seed=3)
    assert found == json.loads(json.dumps(as_json(audit)))
    assert found["chance"]["permutations"] == 29 and len(found["report"]["quality"]) == 12


def test_arrays_come_from_files_of_their_own_as_well(data, tmp_path, capsys):
    assert ask("--features", data) == 0
    expected = capsys.readouterr().out
    case = collapsed(shortcut=True)
    files = {"features": case.x, "test-features": case.test_x, "readout": case.readout}
    words = []
    for name, value in files.items():
        np.save(tmp_path / f"{name}.npy", value)
        words += [f"--{name}", str(tmp_path / f"{name}.npy")]
    # A file with one array under any name, and one with several.
    np.savez(tmp_path / "y.npz", whatever=case.y)
    np.savez(tmp_path / "test.npz", labels=case.y, test_labels=case.test_y)
    words += ["--labels", str(tmp_path / "y.npz"), "--test-labels", str(tmp_path / "test.npz")]
    assert ask(*words) == 0
    assert capsys.readouterr().out == expected


def test_targets_make_a_regression_and_no_readout_is_told(tmp_path, capsys):
    case = spread()
    np.savez(tmp_path / "t.npz", features=case.x, targets=case.y, inputs=case.x[:, :4])
    picture = str(tmp_path / "t.svg")
    assert ask("--features", str(tmp_path / "t.npz"), "--draws", "1", "--picture", picture) == 0
    said = capsys.readouterr().out
    assert "600 examples of 12 features, 1 target; K* = 1." in said
    assert "Utility is that of a ridge readout fitted here to the labels, NOT the network's own." in said
    assert "NOT YOUR NETWORK'S USE" in said and "random ReLU" in said
    assert (tmp_path / "t.svg").read_text().count("<svg") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--features", "no.npz"],
            "--features must be a readable .npz or .npy file, got no.npz (No such file",
        ),
        (["--features", "text.npz"], "got text.npz (damaged, or no NumPy file)"),
        (["--features", "objects.npz"], "got objects.npz (Python objects)"),
        (["--features", "x.npy"], "--labels must be given, since x.npy has no labels or targets (it holds f"),
        (["--features", "other.npz"], "--features must be a file with features, got other.npz (it holds "),
        (["--labels", "no.npy"], "--labels must be a readable .npz or .npy file, got no.npy (No such file"),
        (["--features", "objects.npy"], "got objects.npy (Python objects)"),
        (["--labels", "narrow.npy"], "--labels must have shape (600,), one for each row of features"),
        (["--features", "nan.npz"], "--features must be finite, got nan at [2, 1]"),
        (["--features", "one.npz"], "--labels must name at least two classes, got only [1]"),
        (["--features", "many.npz"], "--labels must name fewer classes than there are examples, got 600 cl"),
        (["--features", "constant.npz"], "--features must hold one that varies between examples, got 12"),
        (["--features", "short.npz"], "--labels must have shape (600,), one for each row of features"),
        (["--readout", "narrow.npy"], "--readout must have shape (outputs, 12)"),
        (["--test-features", "narrow.npy"], "--test-features must have 12 columns, like features"),
        (["--minimal", "0.5"], "--minimal must be in [0.85, 1], got 0.5"),
        (["--permutations", "1"], "--permutations must be an integer >= 19, got 1"),
        (["--top", "0"], "--top must be an integer >= 1, got 0"),
        (["--picture", "a.jpeg"], "--picture must end in .png, .svg or .pdf, got a.jpeg"),
        (["--feature", "f.npz"], "did you mean --features"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    case = collapsed()
    x, y = case.x, case.y
    stored("my.npz", case)
    (tmp_path / "text.npz").write_text("no archive")
    np.savez("objects.npz", features=np.array([{}, None]), labels=y)
    np.save("objects.npy", np.array([{}, None]))
    np.savez("other.npz", x=x, y=y)
    np.save("x.npy", x)
    np.save("narrow.npy", case.test_x[:, :3])
    np.savez("nan.npz", features=np.where(np.arange(x.size).reshape(x.shape) == 25, np.nan, x), labels=y)
    np.savez("one.npz", features=x, labels=np.ones(600, int))
    np.savez("many.npz", features=x, labels=np.arange(600))
    np.savez("constant.npz", features=np.ones((600, 12)), labels=y)
    np.savez("short.npz", features=x, labels=y[1:])
    files = sorted(tmp_path.iterdir())
    given = words if "--features" in words else ["--features", "my.npz", *words]
    assert ask(*given) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert message in said.err and said.err.startswith("theorysim advise: error: ")
    assert sorted(tmp_path.iterdir()) == files
