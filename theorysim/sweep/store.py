"""Finished cells on disk: written whole or not at all, checked when read.

A cell is one file named by its content hash: a line `theorysim-cell 1 <sha256 of the rest>`, then an `.npz`.
It is written under a temporary name, synced and renamed, so that a kill at any moment leaves either the whole
cell or none, and two processes that write the same cell do no harm. A file that fails its checksum, is cut
short or has another format version is reported by a warning and counts as missing.

Example:
    >>> import tempfile
    >>> store = open_store(tempfile.mkdtemp())
    >>> store.put("abc", {"x": np.arange(3)})
    >>> store.get("abc")["x"].tolist(), store.get("other")
    ([0, 1, 2], None)
"""

import hashlib
import io
import os
import shutil
import socket
import time
import uuid
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Store", "StoreError", "open_store"]

_MAGIC = b"theorysim-cell 1 "
_MARK = "="
_DAY = 86400.0


class StoreError(OSError):
    """The store cannot be used: not a directory, read-only, or full. One line, made for the user."""


class Store(NamedTuple):
    """A directory of finished cells."""

    path: Path

    def get(self, digest: str) -> dict[str, np.ndarray] | None:
        """The arrays of a finished cell; None, with a warning if it is damaged, when there is none."""
        file = self._file(digest)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return _damaged(file, str(error))
        header, _, payload = content.partition(b"\n")
        if not header.startswith(_MAGIC):
            return _damaged(file, "unknown format or version")
        if hashlib.sha256(payload).hexdigest().encode() != header[len(_MAGIC) :]:
            return _damaged(file, "wrong checksum")
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            return {name.removeprefix(_MARK): arrays[name] for name in arrays.files}

    def put(self, digest: str, arrays: dict[str, np.ndarray]) -> None:
        """Write a finished cell atomically.

        Raises:
            StoreError: the file system refused, for instance because it is full; nothing is left behind.
        """
        payload = io.BytesIO()
        # The mark keeps names apart from the arguments of `savez`, such as `file`.
        marked: dict[str, Any] = {_MARK + name: array for name, array in arrays.items()}
        np.savez(payload, allow_pickle=False, **marked)
        content = payload.getbuffer()
        header = _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n"
        try:
            _write_atomically(self._file(digest), header, content)
        except OSError as error:
            raise StoreError(
                f"store must be a writable directory with free space, got {str(self.path)!r}: "
                f"{error.strerror}; the cells finished so far are kept there"
            ) from error

    def require_space(self, needed: int) -> None:
        """Raise StoreError if fewer than `needed` bytes are free where the store lies."""
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise StoreError(
                f"store must have {needed / 1e6:.1f} MB free for this sweep, "
                f"got {free / 1e6:.1f} MB in {str(self.path)!r}"
            )

    def _file(self, digest: str) -> Path:
        return self.path / f"{digest}.cell"


def open_store(path: str | os.PathLike[str]) -> Store:
    """Make the directory if need be, clear what killed runs left half-written, prove that it can be written.

    Raises:
        StoreError: it cannot; raised before any work is done.
    """
    store = Store(Path(path))
    probe = store.path / _temporary_name("probe")
    try:
        store.path.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(store.path)
        try:
            _write_synced(probe, b"", memoryview(bytes(4096)))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"store must be a writable directory with free space, got {str(path)!r}: {error.strerror}"
        ) from error
    return store


def _write_atomically(file: Path, header: bytes, content: memoryview) -> None:
    temporary = file.parent / _temporary_name(file.stem)
    try:
        _write_synced(temporary, header, content)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_synced(file: Path, header: bytes, content: memoryview) -> None:
    with open(file, "xb") as stream:
        stream.write(header)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _temporary_name(stem: str) -> str:
    return f"{stem}~{socket.gethostname()}~{os.getpid()}~{uuid.uuid4().hex[:8]}.tmp"


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files whose writer on this host is gone, or that are a day old."""
    for file in path.glob("*~*~*~*.tmp"):
        parts = file.name.split("~")
        if len(parts) != 4 or not parts[2].isdigit():
            continue  # somebody else's
        _, host, pid, _ = parts
        try:
            orphaned = host == socket.gethostname() and not _alive(int(pid))
            if orphaned or time.time() - file.stat().st_mtime > _DAY:
                file.unlink()
        except FileNotFoundError:
            continue  # another process was faster


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _damaged(file: Path, reason: str) -> None:
    warnings.warn(f"stored cell {file} is damaged ({reason}): it is computed again", stacklevel=3)
