"""Make `.venv` hold exactly what requirements.lock names, plus this checkout; do nothing if it already does.

`.venv/.complete` is written last and atomically, so an install killed at any moment is seen as incomplete and
starts afresh. A lock on requirements.lock makes a second `make` wait for the first. The file runs under
Python 3.6 too, because whoever has an old one must be told so in one line.

Example:
    $ python3 tools/setup.py && .venv/bin/theorysim list
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys

MINIMUM = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, ".complete")
LOCK = os.path.join(ROOT, "requirements.lock")


def main():
    """Bring `.venv` up to date; the exit status is 0, or 1 after one line that says what is missing."""
    with open(LOCK, "r+b") as lock:
        _hold(lock)
        old, wanted = _read_stamp(), _wanted_stamp()
        if old == wanted:
            return
        # What a finished install of the same Python at the same place holds, pip can bring up to date.
        reusable = old is not None and all(old.get(name) == wanted[name] for name in ("root", "python"))
        if not reusable:
            _require_usable_python()
            _remove_venv()
            _say(f"Creating .venv (Python {platform.python_version()})")
            _run(sys.executable, "-m", "venv", VENV)
            wanted = _wanted_stamp()
        else:
            os.remove(STAMP)
        _say("Installing the locked packages into .venv (once; a few minutes on a slow network)")
        _pip("--require-hashes", "-r", LOCK)
        _pip("--no-deps", "--no-build-isolation", "-e", ROOT)
        _write_stamp(wanted)
        _say("Setup complete")


def _hold(lock):
    """Wait until no other setup runs in this checkout.

    The pip we start inherits the lock, so that one which outlives its killed parent still holds it; when the
    last of them ends, however it ends, the system releases it.
    """
    import fcntl

    os.set_inheritable(lock.fileno(), True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _say("Waiting for another setup of this checkout")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _wanted_stamp():
    """What a complete `.venv` was made from; entry points and dependencies are in pyproject.toml."""
    return {
        "root": ROOT,
        "python": _venv_python_version(),
        "requirements.lock": _digest(LOCK),
        "pyproject.toml": _digest(os.path.join(ROOT, "pyproject.toml")),
    }


def _venv_python_version():
    """The version that `.venv/bin/python` reports, or None if it does not run."""
    try:
        code = "import platform; print(platform.python_version())"
        return subprocess.check_output([VENV_PYTHON, "-c", code], stderr=subprocess.DEVNULL).decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _read_stamp():
    try:
        with open(STAMP) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _write_stamp(content):
    temporary = STAMP + ".new"
    with open(temporary, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, STAMP)


def _require_usable_python():
    if sys.version_info < MINIMUM:
        found = platform.python_version()
        _fail(f"python3 must be 3.11 or newer, got {found}; name another one: make setup PYTHON=python3.12")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        _fail(f"this Python lacks its {error.name} module; on Debian and Ubuntu: apt install python3-venv")


def _remove_venv():
    """Move the old environment aside first: a half-removed one must not look like an environment."""
    aside = VENV + ".old"
    shutil.rmtree(aside, ignore_errors=True)
    if os.path.lexists(VENV):
        os.rename(VENV, aside)
        shutil.rmtree(aside, ignore_errors=True)


def _pip(*arguments):
    _run(VENV_PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *arguments)


def _run(*command):
    # PIP_USER is refused inside a virtual environment, PYTHONPATH would let pip see packages of another one.
    clean = {name: value for name, value in os.environ.items() if name not in ("PIP_USER", "PYTHONPATH")}
    status = subprocess.call(command, env=clean, close_fds=False)
    if status:
        _fail(f"`{' '.join(command[:4])}` failed with status {status}; run make again to retry")


def _say(text):
    print(text, file=sys.stderr, flush=True)


def _fail(text):
    _say("setup: " + text)
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        _fail("interrupted; run make again to start afresh")
