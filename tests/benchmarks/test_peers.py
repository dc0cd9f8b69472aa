"""The peer's process answers through files, and its absence or its end is told in words."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _peers, width_depth
from benchmarks._peers import NEURAL_TANGENTS, Environment, Missing, Peer
from benchmarks.harness import measure

WORKER = """
import sys

def prepare(inputs):
    inputs["x"] *= 2

def task(x):
    def call():
        if x.sum() < 0:
            sys.exit("negative inputs")
        return {"x": x}
    return call

TASKS = {"task": task}
"""


class Here(Environment):
    """The Python that runs the tests."""

    def python(self):
        """It."""
        return Path(sys.executable)


@pytest.fixture
def here(tmp_path):
    """A worker that needs nothing but NumPy."""
    (tmp_path / "worker.py").write_text(WORKER)
    return Here("numpy", (), str(tmp_path / "worker.py"))


@pytest.fixture
def no_registry(monkeypatch, tmp_path):
    """An installer that fails."""

    def refuse(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "trying\nERROR: no [network]\n")

    monkeypatch.setattr(_peers.subprocess, "run", refuse)
    monkeypatch.setattr(_peers, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(NEURAL_TANGENTS, "_python", None)
    monkeypatch.setattr(NEURAL_TANGENTS, "_why", "")
    return tmp_path / "cache"


def test_arrays_go_to_the_process_and_come_back(here):
    peer = Peer(here, "task", x=np.arange(3.0))
    assert peer.call() is None
    np.testing.assert_array_equal(peer.results()["x"], [0, 2, 4])


def test_the_process_ends_with_the_object_and_leaves_no_files(here):
    peer = Peer(here, "task", x=np.ones(1))
    process, folder = peer._process, peer._folder
    assert process.poll() is None and folder.exists()
    del peer
    assert process.poll() == 0 and not folder.exists()


def test_a_process_that_ends_is_an_error_with_its_last_words(here):
    peer = Peer(here, "task", x=-np.ones(1))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ended: negative inputs"):
            peer.call()


def test_what_cannot_be_installed_is_missing_for_a_reason_and_leaves_nothing(no_registry):
    with pytest.raises(Missing, match=r"could not be installed: ERROR: no \[network\]"):
        Peer(NEURAL_TANGENTS, "task")
    assert not list(no_registry.iterdir())


def test_a_benchmark_without_the_peer_measures_ours_and_says_so(no_registry):
    comparison = width_depth.with_peer(lambda: 1, None, "kernels", x=np.ones((2, 2), np.float32))
    found = measure(width_depth.digits_serial._replace(setup=lambda: comparison))
    assert found.ratio is None and found.met is None
    assert found.note == "neural-tangents could not be installed: ERROR: no [network]"


def test_settings_of_our_jax_and_pip_do_not_reach_the_peer(monkeypatch):
    for name in ("JAX_ENABLE_X64", "XLA_FLAGS", "PYTHONPATH", "PIP_TARGET", "NPROC"):
        monkeypatch.setenv(name, "1")
    assert _peers._clean_environment().keys() & {
        "JAX_ENABLE_X64",
        "XLA_FLAGS",
        "PYTHONPATH",
        "PIP_TARGET",
        "NPROC",
    } == {"NPROC"}
