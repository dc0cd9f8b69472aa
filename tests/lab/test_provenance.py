"""When a result may be used again, and what its random key depends on."""

import subprocess

import jax
import numpy as np
import pytest

from theorysim.lab import provenance
from theorysim.lab.catalog import load
from theorysim.lab.run import experiment_key


@pytest.mark.parametrize(
    "pair",
    [
        ("A small sim for tests", "Another docstring"),
        ('ax.set(xlabel="bias $p$"', 'ax.set(xlabel="$p$"'),
        ("resolution=0.05", "resolution=0.06"),
        ('"paper": Config(tosses=200', '"paper": Config(tosses=300'),
        ("# independent repetitions", "# other words"),
    ],
    ids=["docstring", "figure", "claim", "preset", "comment"],
)
def test_results_survive_edits_that_cannot_change_them(coins, variant, pair):
    assert provenance.code_hash(variant(pair)) == provenance.code_hash(coins)


@pytest.mark.parametrize(
    "pair",
    [
        ("exact.value / cfg.tosses", "exact.value / (cfg.tosses - 1)"),
        ("(tosses,)).mean()", "(tosses,)).mean() + 1"),
        ("tosses: int = 50", "tosses: int = 51"),
    ],
    ids=["experiment", "kernel", "default"],
)
def test_results_do_not_survive_edits_that_can(coins, variant, pair):
    assert provenance.code_hash(variant(pair)) != provenance.code_hash(coins)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A stand-in for the package: a sim imports `top`, which imports `inner`; nobody imports `far`."""
    package = tmp_path / "theorysim"
    (package / "numerics").mkdir(parents=True)
    (package / "lab").mkdir()
    for name, text in {
        "__init__.py": "",
        "top.py": "from theorysim.numerics import inner\n",
        "numerics/__init__.py": "",
        "numerics/inner.py": "from .deep import x\n",
        "numerics/deep.py": "x = 1\n",
        "far.py": "y = 1\n",
        "lab/__init__.py": "z = 1\n",
    }.items():
        (package / name).write_text(text)
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    return package


@pytest.mark.parametrize(
    ("imports", "edited", "changes"),
    [
        ("from theorysim import top, lab", "top.py", True),
        ("from theorysim import top", "numerics/inner.py", True),
        ("from theorysim.top import f", "numerics/deep.py", True),
        ("import theorysim.top", "numerics/deep.py", True),
        ("from theorysim import top", "far.py", False),
        ("from theorysim import lab", "lab/__init__.py", False),
        ("import theorysim", "far.py", True),
    ],
)
def test_editing_the_library_counts_where_the_sim_can_reach_it(library, tmp_path, imports, edited, changes):
    sim = tmp_path / "sim.py"
    sim.write_text(imports)
    before = provenance.code_hash(sim)
    (library / edited).write_text((library / edited).read_text() + "\nnew = 2\n")
    assert (provenance.code_hash(sim) != before) is changes


def test_editing_sweep_counts_for_every_sim(library, tmp_path):
    (library / "sweep").mkdir()
    (library / "sweep" / "run.py").write_text("a = 1")
    (tmp_path / "sim.py").touch()
    before = provenance.code_hash(tmp_path / "sim.py")
    (library / "sweep" / "run.py").write_text("a = 2")
    assert provenance.code_hash(tmp_path / "sim.py") != before


@pytest.mark.parametrize(
    ("rest", "changes"),
    [
        ("@sim.experiment\ndef run(cfg, key, sweep):\n    return kernel(key)", True),
        ("@sim.claim('C', '…')\ndef holds(data, cfg):\n    return kernel(data)", False),
        ("for draw in kernel:\n    sim.figure(draw.__doc__)(draw)", False),
        ("for draw in kernel:\n    sim.figure('…')(draw)\n    LIST.append(draw)", True),
    ],
    ids=["experiment", "claim", "figures", "loop"],
)
def test_a_file_beside_the_sim_counts_where_an_experiment_uses_it(tmp_path, rest, changes):
    sim, beside = tmp_path / "sim.py", tmp_path / "_helper.py"
    sim.write_text(f"from ._helper import kernel\n{rest}\n")
    beside.write_text("def kernel(x): return x")
    before = provenance.code_hash(sim)
    beside.write_text("def kernel(x): return 2 * x")
    assert (provenance.code_hash(sim) != before) is changes


def test_the_fingerprint_depends_on_the_files_that_the_config_names(tmp_path):
    text = tmp_path / "text.txt"
    marks = set()
    for content in ("one", "two"):
        text.write_text(content)
        marks.add(provenance.fingerprint("a", {"data": str(text)}, "code"))
    text.unlink()
    marks.add(provenance.fingerprint("a", {"data": str(text)}, "code"))
    assert len(marks) == 3


def test_infinite_and_missing_numbers_are_different_configs():
    values = (float("inf"), float("nan"), None)
    assert len({provenance.fingerprint("a", {"rate": value}, "code") for value in values}) == 3


def test_the_fingerprint_depends_on_config_and_experiment(coins):
    config = load(coins).presets["tiny"]
    marks = {
        provenance.fingerprint(name, given, "code")
        for name in ("a", "b")
        for given in (config, type(config)(seed=1))
    }
    assert len(marks) == 4


def test_the_key_depends_on_seed_and_name_alone():
    data = [jax.random.key_data(experiment_key(seed, name)) for seed in (0, 1) for name in ("a", "b")]
    assert len({tuple(np.asarray(item).tolist()) for item in data}) == 4
    again = jax.random.key_data(experiment_key(0, "a"))
    assert np.array_equal(again, data[0])


def test_everything_becomes_json(coins):
    value = {1: (np.float32(0.5), np.arange(2)), "inf": float("inf"), "x": load(coins).presets["quick"]}
    assert provenance.plain(value) == {
        "1": [0.5, [0, 1]],
        "inf": None,
        "x": {"seed": 0, "tosses": 50, "replicas": 400, "biases": [0.2, 0.5, 0.7]},
    }
    assert provenance.plain(object()).startswith("<object object")


def test_git_state_names_commit_and_changes(tmp_path):
    def git(*words):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "one")
    clean = provenance.git_state(tmp_path)
    assert clean is not None and len(clean.commit) == 40 and not clean.dirty
    (tmp_path / "file").write_text("2")
    changed = provenance.git_state(tmp_path)
    assert changed is not None and changed.dirty and changed.commit == clean.commit
