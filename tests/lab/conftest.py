"""Runs of the small sim `coins.py`, and variants of it with some text replaced."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from theorysim.lab.cli import main

COINS = Path(__file__).parent / "coins.py"


@pytest.fixture
def coins() -> Path:
    return COINS


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The output folder of one run of the tiny preset; treat it as read-only."""
    out = tmp_path_factory.mktemp("finished")
    assert main(["run", str(COINS), "--preset", "tiny", "--out", str(out)]) == 0
    return out


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of that folder to change."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


@pytest.fixture
def variant(tmp_path) -> Callable[..., Path]:
    """Write a copy of `coins.py` with each pair of texts replaced."""

    def make(*pairs: tuple[str, str], name: str = "coins.py") -> Path:
        text = COINS.read_text()
        for old, new in pairs:
            assert old in text, f"coins.py no longer contains {old!r}"
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text)
        return path

    return make
