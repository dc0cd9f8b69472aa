"""The peer's process answers through files, and its absence or its end is told in words."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks import _neural_tangents, width_depth
from benchmarks._neural_tangents import Missing, Peer
from benchmarks.harness import measure

WORKER = """
import sys
import numpy as np
inputs = np.load(sys.argv[2] + "/inputs.npz")
print("done", flush=True)
for line in sys.stdin:
    if inputs["x"].sum() < 0:
        sys.exit("negative inputs")
    if line == "save\\n":
        np.savez(sys.argv[2] + "/results.npz", task=sys.argv[1], double=2 * inputs["x"])
    print("done", flush=True)
"""


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """A worker of the same manners that needs nothing but NumPy."""
    (tmp_path / "_neural_tangents_worker.py").write_text(WORKER)
    monkeypatch.setattr(_neural_tangents, "HERE", tmp_path)
    monkeypatch.setattr(_neural_tangents, "environment", lambda: sys.executable)


@pytest.fixture
def no_registry(monkeypatch, tmp_path):
    """An installer that fails."""

    def refuse(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "trying\nERROR: no [network]\n")

    monkeypatch.setattr(_neural_tangents.subprocess, "run", refuse)
    monkeypatch.setattr(_neural_tangents, "PLACE", tmp_path / "cache" / "peer")
    _neural_tangents._made.cache_clear()
    yield tmp_path / "cache"
    _neural_tangents._made.cache_clear()


def test_arrays_go_to_the_process_and_come_back(worker):
    peer = Peer("task", x=np.arange(3.0))
    assert peer.call() is None
    found = peer.results()
    assert str(found["task"]) == "task"
    np.testing.assert_array_equal(found["double"], [0, 2, 4])


def test_the_process_ends_with_the_object_and_leaves_no_files(worker):
    peer = Peer("task", x=np.ones(1))
    process, folder = peer._process, peer._folder
    assert process.poll() is None and folder.exists()
    del peer
    assert process.poll() == 0 and not folder.exists()


def test_a_process_that_ends_is_an_error_with_its_last_words(worker):
    peer = Peer("task", x=-np.ones(1))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ended: negative inputs"):
            peer.call()


def test_what_cannot_be_installed_is_missing_for_a_reason_and_leaves_nothing(no_registry):
    with pytest.raises(Missing, match=r"could not be installed: ERROR: no \[network\]"):
        Peer("task")
    assert not list(no_registry.iterdir())


def test_a_benchmark_without_the_peer_measures_ours_and_says_so(no_registry):
    comparison = width_depth.with_peer(lambda: 1, None, "kernels", x=np.ones((2, 2), np.float32))
    found = measure(width_depth.digits_serial._replace(setup=lambda: comparison))
    assert found.ratio is None and found.met is None
    assert found.note == "neural-tangents could not be installed: ERROR: no [network]"


def test_settings_of_our_jax_and_pip_do_not_reach_the_peer(monkeypatch):
    for name in ("JAX_ENABLE_X64", "XLA_FLAGS", "PYTHONPATH", "PIP_TARGET", "NPROC"):
        monkeypatch.setenv(name, "1")
    assert _neural_tangents._clean_environment().keys() & {
        "JAX_ENABLE_X64",
        "XLA_FLAGS",
        "PYTHONPATH",
        "PIP_TARGET",
        "NPROC",
    } == {"NPROC"}
