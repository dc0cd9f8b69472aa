"""neural-tangents, the peer for infinitely wide networks, kept in an environment and a process of its own.

Its last release needs a JAX of 2023, which cannot be installed beside ours. `.cache/neural_tangents` is
therefore made a virtual environment with exactly PINS, once, and left out of the lock and of `.venv`. A
process of it (`_neural_tangents_worker.py`) loads the inputs, waits, and computes when called; a call costs
two lines through a pipe, below 0.2 ms. Arrays travel in files outside the timed calls.

Example (a baseline, and what is compared with ours):
    peer = Peer("kernels", x=x, alpha=alpha, layers="serial")
    Comparison(ours, peer.call, agree=lambda ours, _: close(1e-5)(ours.ntk, peer.results()["ntk"]))
"""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Missing", "Peer", "environment"]

# jax 0.4.24 removed a name that neural-tangents 0.6.5 uses. Without dependencies: one of them, TensorFlow,
# serves nothing but an experimental part of it.
PINS = (
    "neural-tangents==0.6.5",
    "jax==0.4.23",
    "jaxlib==0.4.23",
    "numpy==1.26.4",
    "scipy==1.12.0",
    "ml-dtypes==0.5.1",
    "opt-einsum==3.4.0",
    "frozendict==2.4.6",
    "typing-extensions==4.12.2",
)
HERE = Path(__file__).parent
PLACE = HERE.parent / ".cache" / "neural_tangents"


class Missing(Exception):
    """neural-tangents could not be installed; the message says why."""


def environment() -> Path:
    """The Python of the peer's environment, which is made if it is not there.

    Raises:
        Missing: it cannot be made.
    """
    python, why = _made()
    if python is None:
        raise Missing(f"neural-tangents could not be installed: {why}")
    return python


@functools.cache
def _made() -> tuple[Path | None, str]:
    stamp, pins = PLACE / "pins", "\n".join(PINS)
    python = PLACE / "bin" / "python"
    if stamp.exists() and stamp.read_text() == pins:
        return python, ""
    print(f"installing {PINS[0]} with its own JAX into {PLACE.name} (once)", file=sys.stderr, flush=True)
    PLACE.parent.mkdir(exist_ok=True)
    # Made aside and renamed, so that neither an interrupted install nor two at once leave half of one.
    aside = Path(tempfile.mkdtemp(prefix="neural_tangents.", dir=PLACE.parent))
    pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    try:
        for command in (
            [sys.executable, "-m", "venv", aside],
            [aside / "bin" / "python", *pip, "--only-binary", ":all:", "--no-deps", *PINS],
        ):
            done = subprocess.run(command, capture_output=True, text=True, env=_clean_environment())
            if done.returncode:
                return None, (done.stderr.strip() or "no reason given").splitlines()[-1]
        (aside / "pins").write_text(pins)
        shutil.rmtree(PLACE, ignore_errors=True)
        aside.rename(PLACE)
    except OSError as error:
        return None, str(error)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return python, ""


def _clean_environment() -> dict[str, str]:
    """Ours without what would lead an older JAX astray, or pip out of the environment."""
    drop = ("JAX_", "XLA_", "PYTHON", "PIP_USER", "PIP_TARGET")
    return {name: value for name, value in os.environ.items() if not name.startswith(drop)}


class Peer:
    """A process that holds inputs and computes from them when called; it ends with this object."""

    def __init__(self, task: str, **inputs: Any):
        """Start it.

        Args:
            task: a function of the worker.
            inputs: its arguments, arrays or what NumPy makes an array of.

        Raises:
            Missing: neural-tangents is not here.
            RuntimeError: the process ended.
        """
        python = environment()
        self._folder = Path(tempfile.mkdtemp(prefix="neural_tangents."))
        np.savez(self._folder / "inputs.npz", **inputs)
        with (self._folder / "errors").open("w") as errors:
            self._process = subprocess.Popen(
                [python, "-I", HERE / "_neural_tangents_worker.py", task, self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=self._folder,
                env=_clean_environment(),
            )
        weakref.finalize(self, _end, self._process, self._folder)
        self._wait()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def call(self) -> None:
        """Compute once; the results stay there."""
        self._ask("call")

    def results(self) -> dict[str, np.ndarray]:
        """What the last call computed, by name."""
        self._ask("save")
        with np.load(self._folder / "results.npz") as found:
            return dict(found)

    def _ask(self, what):
        assert self._process.stdin
        try:
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended: its last words are in the error that follows
        self._wait()

    def _wait(self):
        assert self._process.stdout
        if self._process.stdout.readline() != "done\n":
            errors = (self._folder / "errors").read_text().strip()
            raise RuntimeError(f"the process of neural-tangents ended: {errors[-1000:]}")


def _end(process: subprocess.Popen, folder: Path) -> None:
    process.communicate()
    shutil.rmtree(folder, ignore_errors=True)
