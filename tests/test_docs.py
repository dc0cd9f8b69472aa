"""The documentation builds without a warning, and what it builds needs no network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUIET = {"NO_MKDOCS_2_WARNING": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, env=os.environ | QUIET)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_reference_describes_what_users_import(site):
    for module, name in [("model_collapse", "collapse_time_mean"), ("sweep", "sweep"), ("lab", "Sim")]:
        page = (site / "api" / f"theorysim.{module}.html").read_text()
        assert f'id="theorysim.{module}.{name}"' in page, f"{name} is missing"


def test_examples_are_shown_as_code(site):
    page = (site / "api" / "theorysim.numerics.validation.html").read_text()
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page


def test_mathematics_is_drawn_by_the_browser_itself(site):
    page = (site / "model_collapse.html").read_text()
    assert "<math" in page
    for path in site.rglob("*.html"):
        assert "arithmatex" not in path.read_text(), path


def test_pages_load_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link|iframe)[^>]*?(?:src|href)="(https?:[^"]*)"', path.read_text()
        )
        assert not loaded, path


def test_figures_of_the_pages_are_in_the_site(site):
    for path in site.rglob("*.html"):
        for source in re.findall(r'<img[^>]*?src="([^":]*)"', path.read_text()):
            assert (path.parent / source).is_file(), f"{path.name} shows {source}, which is missing"
