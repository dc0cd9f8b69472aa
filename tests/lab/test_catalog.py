"""Finding sims in a wheel, in a checkout and by file."""

import sys

import pytest

from theorysim.lab import catalog
from theorysim.lab.errors import UsageError


def package(tmp_path, *, wheel: bool, checkout: bool, project: bool):
    folder = tmp_path / "theorysim"
    folder.mkdir()
    if wheel:
        (folder / "_sims").mkdir()
    if checkout:
        (tmp_path / "sims").mkdir()
    if project:
        (tmp_path / "pyproject.toml").touch()
    return folder


def test_a_wheel_carries_its_sims(tmp_path):
    folder = package(tmp_path, wheel=True, checkout=True, project=True)
    assert catalog.sims_folder(folder) == folder / "_sims"


def test_a_checkout_has_them_beside_the_package(tmp_path):
    folder = package(tmp_path, wheel=False, checkout=True, project=True)
    assert catalog.sims_folder(folder) == tmp_path / "sims"


def test_a_stranger_named_sims_beside_an_installed_package_is_not_ours(tmp_path):
    folder = package(tmp_path, wheel=False, checkout=True, project=False)
    assert catalog.sims_folder(folder) is None


@pytest.fixture
def installed(tmp_path, monkeypatch, coins):
    (tmp_path / "coins.py").write_text(coins.read_text())
    (tmp_path / "_helper.py").touch()
    monkeypatch.setattr(catalog, "sims_folder", lambda: tmp_path)
    return tmp_path


def test_slugs_are_the_public_files(installed):
    assert catalog.slugs() == ("coins",)
    assert catalog.find("coins") == installed / "coins.py"


def test_an_unknown_slug_gets_a_hint(installed):
    with pytest.raises(UsageError, match="must be one of all, coins, got 'coin'; did you mean coins"):
        catalog.find("coin")


def test_a_sim_is_described_without_being_run(coins, monkeypatch):
    monkeypatch.setattr(catalog, "load", lambda path: pytest.fail("loaded"))
    found = catalog.summary(coins)
    assert found.slug == "coins"
    assert found.paper.byline == "J. Bernoulli, A. de Moivre"
    assert found.presets == ("quick", "paper", "tiny")


def test_a_computed_description_is_found_by_loading(variant):
    path = variant(('question="Does', 'question="" + "Does'), name="computed.py")
    assert catalog.summary(path).question.startswith("Does the share")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sim = ", "cannot be read: SyntaxError"),
        (b"\0", "cannot be read: "),
        (b"raise OSError('no such\\ntable')", "failed while it was loaded: OSError: no such table"),
        (b"x = 1", r"must define `sim = Sim\(\.\.\.\)`, got NoneType"),
        (b"sim = 3", r"must define `sim = Sim\(\.\.\.\)`, got int"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "bad.py"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        catalog.load(path)
    assert "\n" not in str(caught.value)


def test_a_loaded_file_is_a_module_that_pickle_finds(coins):
    sim = catalog.load(coins)
    function = sim.experiments["shares"].function
    assert getattr(sys.modules[function.__module__], function.__name__) is function
