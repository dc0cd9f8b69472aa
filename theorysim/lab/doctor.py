"""Is everything here that a run needs? One table of checks.

Example:
    >>> {check.name for check in checks(Path("."))} >= {"jax", "disk", "out"}
    True
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from theorysim.lab import provenance
from theorysim.lab.catalog import slugs
from theorysim.lab.errors import UsageError, one_line
from theorysim.lab.outputs import check_writable

__all__ = ["BROWSERS", "Check", "checks", "checks_table", "find_browser"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Names under which a browser for testing the report is looked for."""

_LEAST_DISK = 200e6


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    """What."""
    good: bool | None
    """False if runs cannot work, None if only something optional is missing."""
    found: str
    """What was found."""


def find_browser() -> str | None:
    """Return the path of a Chromium on this machine, or None.

    Example:
        >>> find_browser() is None or Path(find_browser()).exists()
        True
    """
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def checks(out: Path) -> list[Check]:
    """Look at versions, devices, memory, disk, rights and sims.

    Example:
        >>> checks(Path("."))[0].name
        'python'
    """
    versions = provenance.versions()
    found = [Check(name, True, version) for name, version in versions.items() if name != "jax"]
    found.append(_jax(versions))
    found.append(_memory())
    existing = next(folder for folder in (out.resolve(), *out.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    found.append(Check("disk", free >= _LEAST_DISK, f"{free / 1e9:.1f} GB free for --out {out}"))
    try:
        check_writable(out)
        found.append(Check("out", True, f"{out} can be written"))
    except UsageError as error:
        found.append(Check("out", False, str(error)))
    names = ", ".join(slugs())
    found.append(Check("sims", True if names else None, names or "none (a FILE can be run)"))
    browser = find_browser()
    found.append(
        Check("chromium", True if browser else None, browser or "none (only tests of the report use it)")
    )
    git = shutil.which("git")
    found.append(Check("git", True if git else None, git or "none (run.json will name no commit)"))
    return found


def checks_table(found: Sequence[Check]) -> Table:
    """Return the checks as a table.

    Example:
        >>> checks_table([Check("disk", True, "12 GB free")]).row_count
        1
    """
    words = {
        True: Text("ok", style="green"),
        False: Text("bad", style="red"),
        None: Text("absent", style="yellow"),
    }
    table = Table(title="theorysim doctor", title_justify="left", title_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found")
    for check in found:
        table.add_row(check.name, words[check.good], Text(check.found))
    return table


def _jax(versions: dict[str, str]) -> Check:
    try:
        import jax.numpy as jnp

        double = jnp.asarray(1.0, dtype="float64").dtype if provenance.x64_enabled() else "float32"
        devices = ", ".join(provenance.device_names(None))
    except Exception as error:
        return Check("jax", False, one_line(error))
    return Check("jax", True, f"{versions.get('jax', '?')} on {devices}, computing in {double}")


def _memory() -> Check:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Check("memory", None, "unknown")
    return Check("memory", True, f"{total / 1e9:.1f} GB")
