"""What is shipped is complete, what is pinned is pinned, and setup survives being killed."""

import importlib.util
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def sources(folder: str) -> set[str]:
    """Everything under a folder of the checkout that is not a by-product of running it."""
    paths = (p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file())
    return {str(p) for p in paths if "__pycache__" not in p.parts and not p.name.startswith(".")}


def test_the_wheel_carries_the_library_with_its_data_and_the_sims(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if name.startswith("theorysim/")}
    expected = {f"theorysim/{p}" for p in sources("theorysim")} | {
        f"theorysim/_sims/{p}" for p in sources("sims")
    }
    assert inside == expected
    assert {name.split("/")[0] for name in names} == {
        "theorysim",
        f"theorysim-{version('theorysim')}.dist-info",
    }


def test_the_installed_wheel_lists_its_sims_in_an_empty_folder(wheel, tmp_path):
    target, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    # -P: not the folder we are in; PYTHONPATH comes before the checkout that .venv knows.
    run = {"cwd": empty, "env": {"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin"}, "text": True}
    where = subprocess.check_output(
        [sys.executable, "-Pc", "import theorysim; print(theorysim.__file__)"], **run
    )
    assert Path(where.strip()).is_relative_to(target)
    listed = subprocess.check_output([sys.executable, str(target / "bin" / "theorysim"), "list"], **run)
    for sim in (ROOT / "sims").glob("[!_]*.py"):
        assert sim.stem in listed
    assert list(empty.iterdir()) == []


def test_the_lock_pins_every_requirement_by_hash_and_names_no_index():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|--index|--extra-index|--find-links|file:", lock)
    entries = re.split(r"\n(?=\S)", lock.strip())
    pinned = {}
    for entry in entries:
        match = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", entry)
        assert match, f"not pinned exactly: {entry.splitlines()[0]}"
        assert "--hash=sha256:" in entry, f"without hash: {match[1]}"
        pinned[match[1].lower()] = match[2]
    wanted = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier, f"{requirement.name} has no lower bound"
        assert pinned[requirement.name.lower()] in requirement.specifier


def test_the_citation_and_the_changelog_name_this_version():
    assert f"\nversion: {version('theorysim')}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version('theorysim')}" in (ROOT / "CHANGELOG.md").read_text()


def test_make_alone_names_every_target():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    printed = subprocess.check_output(["make"], cwd=ROOT, text=True)
    for target in "setup sims sim-<slug> test lint bench report docs clean lock".split():
        assert f"make {target} " in printed, f"{target} is not in the list"


@pytest.fixture
def setup_script(tmp_path, monkeypatch):
    """tools/setup.py at work on an empty checkout, with commands that leave a trace instead of installing."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "tools" / "setup.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("first")
    venv = tmp_path / ".venv"
    places = {
        "ROOT": tmp_path,
        "VENV": venv,
        "STAMP": venv / ".complete",
        "LOCK": tmp_path / "requirements.lock",
    }
    for name, path in places.items():
        monkeypatch.setattr(script, name, str(path))
    commands = []

    def pretend(*command):
        commands.append(
            "venv" if "venv" in command else "lock" if "--require-hashes" in command else "package"
        )
        if "venv" in command:
            venv.mkdir()

    monkeypatch.setattr(script, "_run", pretend)
    monkeypatch.setattr(script, "_venv_python_version", lambda: "3.11.7" if venv.exists() else None)
    return script, commands, venv


def test_setup_installs_once_and_then_skips(setup_script):
    script, commands, _ = setup_script
    script.main()
    assert commands == ["venv", "lock", "package"]
    script.main()
    assert commands == ["venv", "lock", "package"]


@pytest.mark.parametrize("killed_at", ["venv", "lock", "package"])
def test_setup_starts_afresh_after_being_killed(setup_script, monkeypatch, killed_at):
    script, commands, venv = setup_script
    work = script._run

    def killed(*command):
        work(*command)
        if commands[-1] == killed_at:
            raise SystemExit("killed")

    monkeypatch.setattr(script, "_run", killed)
    with pytest.raises(SystemExit):
        script.main()
    (venv / "half").touch()
    commands.clear()
    monkeypatch.setattr(script, "_run", work)
    script.main()
    assert commands == ["venv", "lock", "package"]
    assert not (venv / "half").exists()


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_setup_brings_a_complete_environment_up_to_date(setup_script, changed):
    script, commands, venv = setup_script
    script.main()
    commands.clear()
    (venv.parent / changed).write_text("second")
    script.main()
    assert commands == ["lock", "package"]


def test_setup_replaces_an_environment_that_moved_or_whose_python_is_gone(setup_script, monkeypatch):
    script, commands, _ = setup_script
    script.main()
    commands.clear()
    versions = iter([None, "3.12.1"])
    monkeypatch.setattr(script, "_venv_python_version", lambda: next(versions))
    script.main()
    assert commands == ["venv", "lock", "package"]


def test_setup_refuses_an_old_python_in_one_line(setup_script, monkeypatch, capsys):
    script, commands, venv = setup_script
    monkeypatch.setattr(script, "MINIMUM", (99, 0))
    with pytest.raises(SystemExit):
        script.main()
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "must be 3.11 or newer" in message and "PYTHON=" in message
    assert commands == [] and not venv.exists()
