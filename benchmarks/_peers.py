"""Peers: what others compute, each kept in an environment and a process of its own.

A peer needs packages that cannot or shall not be installed beside ours: `.cache/NAME` is made a virtual
environment with exactly its pins, once, and left out of the lock and of `.venv`. A process of it
(`_peer_process.py` with the peer's worker) loads the inputs, waits, and computes when called; a call costs
two lines through a pipe, below 0.2 ms. Arrays travel in files outside the timed calls.

Example (a baseline, and what is compared with ours):
    peer = Peer(NEURAL_TANGENTS, "kernels", x=x, depth=100, alpha=alpha, layers="serial")
    Comparison(ours, peer.call, agree=lambda ours, _: close(1e-5)(ours.ntk, peer.results()["ntk"]))
"""

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["NEURAL_TANGENTS", "PEFT", "Environment", "Missing", "Peer"]

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache"


class Missing(Exception):
    """A peer could not be installed; the message says why."""


class Environment:
    """A virtual environment that is made when it is asked for.

    Args:
        name: of the peer, and of its folder.
        pins: its packages.
        worker: the file with its tasks.
        dependencies: whether what they need is installed with them; else the pins are all there is.
    """

    def __init__(self, name: str, pins: tuple[str, ...], worker: str, *, dependencies: bool = False):
        self.name, self.pins, self.dependencies = name, pins, dependencies
        self.worker = HERE / worker
        self._python: Path | None = None
        self._why = ""

    def python(self) -> Path:
        """Its Python.

        Raises:
            Missing: it is not there and cannot be made.
        """
        if self._python is None and not self._why:
            self._python, self._why = self._made()
        if self._python is None:
            raise Missing(f"{self.name} could not be installed: {self._why}")
        return self._python

    def _made(self) -> tuple[Path | None, str]:
        place = CACHE / self.name.replace("-", "_")
        stamp, pins = place / "pins", "\n".join(self.pins)
        python = place / "bin" / "python"
        if stamp.exists() and stamp.read_text() == pins:
            return python, ""
        print(f"installing {self.pins[0]} into {place.name} (once)", file=sys.stderr, flush=True)
        place.parent.mkdir(exist_ok=True)
        # Made aside and renamed, so that neither an interrupted install nor two at once leave half of one.
        aside = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--retries", "1"]
        pip += ["--only-binary", ":all:"] + ([] if self.dependencies else ["--no-deps"])
        try:
            for command in (
                [sys.executable, "-m", "venv", aside],
                [aside / "bin" / "python", *pip, *self.pins],
            ):
                done = subprocess.run(command, capture_output=True, text=True, env=_clean_environment())
                if done.returncode:
                    return None, (done.stderr.strip() or "no reason given").splitlines()[-1]
            (aside / "pins").write_text(pins)
            shutil.rmtree(place, ignore_errors=True)
            aside.rename(place)
        except OSError as error:
            return None, str(error)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return python, ""


# Its last release needs a JAX of 2023; jax 0.4.24 removed a name that it uses. Without dependencies: one of
# them, TensorFlow, serves nothing but an experimental part of it.
NEURAL_TANGENTS = Environment(
    "neural-tangents",
    (
        "neural-tangents==0.6.5",
        "jax==0.4.23",
        "jaxlib==0.4.23",
        "numpy==1.26.4",
        "scipy==1.12.0",
        "ml-dtypes==0.5.1",
        "opt-einsum==3.4.0",
        "frozendict==2.4.6",
        "typing-extensions==4.12.2",
    ),
    "_neural_tangents_worker.py",
)
PEFT = Environment(
    "peft",
    ("peft==0.21.2", "transformers==5.24.0", "torch==2.13.0", "numpy==2.4.6"),
    "_peft_worker.py",
    dependencies=True,
)


def _clean_environment() -> dict[str, str]:
    """Ours without what would lead an older JAX astray, or pip out of the environment."""
    drop = ("JAX_", "XLA_", "PYTHON", "PIP_USER", "PIP_TARGET")
    return {name: value for name, value in os.environ.items() if not name.startswith(drop)}


class Peer:
    """A process that holds inputs and computes from them when called; it ends with this object."""

    def __init__(self, environment: Environment, task: str, **inputs: Any):
        """Start it.

        Args:
            environment: where it runs.
            task: one of the worker's.
            inputs: its arguments, arrays or what NumPy makes an array of.

        Raises:
            Missing: the environment cannot be made.
            RuntimeError: the process ended.
        """
        python = environment.python()
        self._name = environment.name
        self._folder = Path(tempfile.mkdtemp(prefix="peer."))
        np.savez(self._folder / "inputs.npz", **inputs)
        with (self._folder / "errors").open("w") as errors:
            self._process = subprocess.Popen(
                [python, "-I", HERE / "_peer_process.py", environment.worker, task, self._folder],
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
            raise RuntimeError(f"the process of {self._name} ended: {errors[-1000:]}")


def _end(process: subprocess.Popen, folder: Path) -> None:
    process.communicate()
    shutil.rmtree(folder, ignore_errors=True)
