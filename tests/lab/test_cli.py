"""Every command, its help and its mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest

from theorysim.lab import catalog, doctor
from theorysim.lab.cli import main


@pytest.fixture
def installed(tmp_path, monkeypatch, coins):
    """A folder of installed sims: `coins`, and a second one named `dice`."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "coins.py").write_text(coins.read_text())
    (folder / "dice.py").write_text(coins.read_text().replace('slug="coins"', 'slug="dice"'))
    monkeypatch.setattr(catalog, "sims_folder", lambda: folder)
    return folder


def error_of(capsys, *words: str) -> str:
    """The one line that a wrong command prints."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1 and said.err.startswith("theorysim")
    return said.err


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(
        f"\n  {name} " in said for name in ("list", "run", "claims", "report", "data", "doctor", "advise")
    )


def test_help_and_list_load_no_jax():
    code = (
        "import sys; from theorysim.lab.cli import main; main([sys.argv[1]]); sys.exit('jax' in sys.modules)"
    )
    for word in ("--help", "list"):
        subprocess.run([sys.executable, "-c", code, word], check=True, capture_output=True)


@pytest.mark.parametrize("command", ["list", "run", "claims", "report", "data", "doctor", "advise"])
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"usage: theorysim {command}" in capsys.readouterr().out


def test_the_fields_of_a_sim_are_flags_with_the_presets_defaults(coins, capsys):
    assert main(["run", str(coins), "--preset", "paper", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--tosses INT Tosses of each coin in one replica. (default: 200)" in said
    assert "Does the share of heads tell the bias of a coin" in said


def test_list_shows_question_paper_and_presets(installed, capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert "coins  Does the share of heads" in said and "arXiv:1713.00001" in said
    assert "presets: quick, paper, tiny" in said and "dice" in said


def test_all_runs_every_sim_and_one_report_shows_them(installed, tmp_path, capsys):
    assert main(["run", "all", "--preset", "tiny", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "coins (tiny)" in said and "dice (tiny)" in said
    page = (tmp_path / "out" / "figures" / "index.html").read_text()
    assert 'id="coins"' in page and 'id="dice"' in page
    assert f"report: {tmp_path / 'out' / 'figures' / 'index.html'}" in said


def test_claims_prints_the_latest_verdicts(finished, capsys):
    assert main(["claims", "coins", "--out", str(finished)]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("C2-printed", "confirmed", "refuted", "undecided", "heads per toss"))


def test_claims_names_what_was_run(finished, capsys):
    said = error_of(capsys, "claims", "coin", "--out", str(finished))
    assert "SLUG must be one that was run: coins; got 'coin'; did you mean coins?" in said


@pytest.mark.parametrize("command", ["claims", "report"])
def test_without_results_there_is_nothing_to_show(command, tmp_path, capsys):
    said = error_of(capsys, command, "--out", str(tmp_path))
    assert f"--out must be a folder with figures/SLUG/claims.json from a run, got {tmp_path}" in said


def test_report_is_built_again_from_the_gallery_alone(finished, tmp_path, capsys):
    import shutil

    shutil.copytree(finished / "figures", tmp_path / "figures", ignore=shutil.ignore_patterns("index.html"))
    assert main(["report", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "figures" / "index.html").read_bytes() == (
        finished / "figures" / "index.html"
    ).read_bytes()


@pytest.mark.parametrize("command", ["claims", "report"])
@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", "{"])
def test_files_that_no_run_wrote_are_told_in_one_line(copied, command, content, capsys):
    for name in ("claims.json", "run.json"):
        (copied / "figures" / "coins" / name).write_text(content)
    assert "of a run" in error_of(capsys, command, "--out", str(copied))


def test_data_lists_the_data_sets(capsys):
    assert main(["data"]) == 0
    assert "licence" in capsys.readouterr().out


def test_doctor_finds_this_machine_fit(tmp_path, capsys):
    assert main(["doctor", "--out", str(tmp_path)]) == 0
    assert "computing in float64" in capsys.readouterr().out


def test_doctor_fails_where_runs_would(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["doctor", "--out", str(tmp_path / "file")]) == 1
    assert "bad" in capsys.readouterr().out


def test_doctor_takes_a_missing_browser_for_optional(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {check.name: check.good for check in doctor.checks(tmp_path)}
    assert found["chromium"] is None and found["git"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rum"], "COMMAND must be one of list, run, claims, report, data, doctor, advise, got 'rum'; did"),
        (["run"], "SLUG must be given: one of all, coins, dice, or a FILE"),
        (["run", "coin"], "SLUG must be one of all, coins, dice, got 'coin'; did you mean coins?"),
        (["run", "no/file.py"], "FILE must be a readable Python file, got no/file.py"),
        (["run", "coins", "--preset", "papr"], "must be one of quick, paper, tiny for coins, got 'papr'"),
        (["run", "coins", "--tosss", "9"], "Unrecognized options: --tosss, 9; did you mean --tosses INT?"),
        (["run", "coins", "--tosses", "many"], "with base 10: 'many'; expected --tosses INT"),
        (["run", "coins", "--tosses"], "Missing value for argument '--tosses'. Expected 1 values"),
        (["run", "coins", "--seed", "-1"], "seed must be an integer in [0, 2**63 - 1], got -1"),
        (["run", "coins", "--seed", str(2**63)], "seed must be an integer in [0, 2**63 - 1], got 9"),
        (["run", "coins", "--tosses", "1"], "tosses must be an integer >= 2, got 1"),
        (["run", "coins", "--devices", "0"], "--devices must be an integer in [1, "),
        (["run", "coins", "--devices", "99"], "--devices must be an integer in [1, "),
        (["run", "coins", "--jobs", "0"], "--jobs must be an integer >= 1, got 0"),
        (["run", "--jobs", "two", "coins"], "with base 10: 'two'; expected --jobs N"),
        (["run", "coins", "--only", "share"], "must name experiments of coins: shares, spread; got 'share'"),
        (["run", "coins", "--only", ""], "must name experiments of coins: shares, spread; got ''"),
        (["run", "coins", "--out", "x" * 300], "--out must be a folder with write permission, got xxx"),
        (["run", "x" * 300 + ".py"], "FILE must be a readable Python file, got xxx"),
        (["claims", "--out", "x" * 300], "File name too long"),
        (["run", "coins", "--only", "shares,sprad"], "got 'sprad'; did you mean spread?"),
        (["run", "coins", "dice", "--tosses", "9"], "fields of a config can be set for one sim at a time"),
        (["run", "--tosses", "9", "coins"], "Unrecognized options: --tosses, 9, coins"),
        (["list", "extra"], "Unrecognized options: extra"),
        (["data", "--out", "x"], "Unrecognized options: --out, x"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(installed, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, *words)
    assert {path.name for path in Path.cwd().iterdir()} == {"installed"}, "nothing is written"


def test_files_that_are_no_sims_are_refused(tmp_path, capsys):
    (tmp_path / "empty.py").touch()
    said = error_of(capsys, "run", str(tmp_path / "empty.py"))
    assert "must define `sim = Sim(...)`, got NoneType" in said


def test_two_files_of_one_slug_are_refused(coins, variant, capsys, tmp_path):
    other = variant(name="other.py")
    said = error_of(capsys, "run", str(coins), str(other), "--out", str(tmp_path / "out"))
    assert "sims of one run must have different slugs, got 'coins' twice" in said


def test_an_output_folder_that_is_a_file_is_refused(coins, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "--out must be a folder, got the file" in error_of(
        capsys, "run", str(coins), "--out", str(tmp_path / "file")
    )


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that not even root can write to")
def test_an_output_folder_without_rights_is_refused(coins, capsys):
    said = error_of(capsys, "run", str(coins), "--out", "/proc/theorysim-out")
    assert "--out must be a folder with write permission, got /proc/theorysim-out" in said


def test_a_post_init_that_refuses_is_told_in_one_line(variant, capsys):
    assert "tosses must be an integer >= 2, got 1" in error_of(
        capsys, "run", str(variant(("def validate(self)", "def __post_init__(self)"))), "--tosses", "1"
    )
