"""Where a run writes, and how: every file appears whole or not at all.

    DIR/results/<slug>/<preset>/<experiment>.nc, claims.json, run.json, cells/<experiment>/
    DIR/figures/<slug>/<figure>.png, <figure>.svg, claims.json, run.json
    DIR/figures/index.html

`results` is the full record of a run on this machine; `figures` is the gallery, small and without any path or
host name, from which the report can be built again.

Example:
    >>> Layout(Path("."), "coins", "quick").dataset("tosses").as_posix()
    'results/coins/quick/tosses.nc'
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from theorysim.lab.errors import UsageError
from theorysim.lab.provenance import plain

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Layout",
    "check_writable",
    "load_dataset",
    "read_json",
    "replacing",
    "save_dataset",
    "stored_record",
    "write_json",
    "write_text",
]

# Attribute of a stored data set that holds what the lab knows about it.
_RECORD = "theorysim_record"
_COMPRESS_FROM = 64 * 1024


class Layout(NamedTuple):
    """The files of one sim and preset under an output folder."""

    out: Path
    """The folder given as --out."""
    slug: str
    """The sim."""
    preset: str
    """The preset."""

    @property
    def results(self) -> Path:
        """Folder of the data sets and the full record of the run."""
        return self.out / "results" / self.slug / self.preset

    @property
    def gallery(self) -> Path:
        """Folder of the figures and claims that the report shows."""
        return self.out / "figures" / self.slug

    def cells(self, experiment: str) -> Path:
        """Folder of the finished parts of an experiment's sweeps."""
        return self.results / "cells" / experiment

    def dataset(self, experiment: str) -> Path:
        """File of an experiment's data set."""
        return self.results / f"{experiment}.nc"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block ends well, and vanishes otherwise.

    Example:
        >>> with replacing(Path("note.txt")) as temporary:
        ...     written = temporary.write_text("whole")
        >>> Path("note.txt").read_text()
        'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once.

    Example:
        >>> write_text(Path("new/folder/note.txt"), "whole")
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON at once; NaN becomes null.

    Example:
        >>> write_json(Path("claims.json"), [{"measured": float("nan")}])
        >>> read_json(Path("claims.json"))
        [{'measured': None}]
    """
    write_text(path, json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UsageError: the file cannot be read or is no JSON.

    Example:
        >>> read_json(Path("nowhere.json"))
        Traceback (most recent call last):
        UsageError: nowhere.json must be a readable JSON file of a run: ...
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} must be a readable JSON file of a run: {error}") from error


def save_dataset(path: Path, dataset: "xr.Dataset", record: dict[str, Any]) -> None:
    """Write a data set at once as netCDF, big arrays compressed, with checksums and the lab's own record.

    Example:
        >>> import xarray as xr
        >>> save_dataset(Path("tosses.nc"), xr.Dataset({"heads": ("coin", [3, 5])}), {"seconds": 0.5})
        >>> load_dataset(Path("tosses.nc")).heads.values.tolist(), stored_record(Path("tosses.nc"))
        ([3, 5], {'seconds': 0.5})
    """
    stored = dataset.copy()
    stored.attrs = _safe_attributes(dataset.attrs) | {_RECORD: json.dumps(plain(record))}
    encoding = {}
    for name in stored.variables:
        variable = stored.variables[name]
        variable.attrs = _safe_attributes(variable.attrs)
        variable.encoding = {}
        if variable.ndim and variable.size and variable.dtype.kind in "fiub":
            compress = {"zlib": True, "complevel": 4, "shuffle": True}
            encoding[name] = {"fletcher32": True} | (compress if variable.nbytes >= _COMPRESS_FROM else {})
    with replacing(path) as temporary:
        stored.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def load_dataset(path: Path) -> "xr.Dataset":
    """Read a data set into memory, without the lab's record.

    Raises:
        OSError, ValueError: the file is damaged.

    Example:
        >>> load_dataset(Path("nowhere.nc"))
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    import xarray as xr

    dataset = xr.load_dataset(path, engine="h5netcdf")
    dataset.attrs.pop(_RECORD, None)
    return dataset


def stored_record(path: Path) -> dict[str, Any] | None:
    """Return the lab's record of a stored data set, or None if there is none or the file is damaged.

    Example:
        >>> stored_record(Path("nowhere.nc")) is None
        True
    """
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            return json.loads(dataset.attrs[_RECORD])
    except (OSError, ValueError, KeyError):
        return None


def check_writable(out: Path) -> None:
    """Refuse an output folder that cannot be written to, before anything is computed.

    Raises:
        UsageError: it is a file, it or its parents cannot be made, or it has no write permission.

    Example:
        >>> check_writable(Path(__file__))
        Traceback (most recent call last):
        UsageError: --out must be a folder, got the file ...
    """
    try:
        if out.exists() and not out.is_dir():
            raise UsageError(f"--out must be a folder, got the file {out}")
        existing = out
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise UsageError(f"--out must be a folder, got {out}, which lies below the file {existing}")
        # os.access is true for the superuser even on a read-only disk: only a real file tells.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UsageError(
            f"--out must be a folder with write permission, got {out} ({error.strerror})"
        ) from error


def _safe_attributes(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Keep numbers and texts; whatever netCDF cannot hold as an attribute becomes JSON text."""
    safe = {}
    for name, value in attributes.items():
        simple = plain(value)
        keep = isinstance(simple, str | int | float) and not isinstance(simple, bool)
        safe[str(name)] = simple if keep else json.dumps(simple)
    return safe
