"""Files of NumPy that a user names by a flag, and what is said of one that cannot be read.

Example:
    >>> with reading_numpy_file("data", "a readable .npz file", Path("no.npz"), "no .npz file"):
    ...     Path("no.npz").open()
    Traceback (most recent call last):
    UsageError: --data must be a readable .npz file, got no.npz (No such file or directory)
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from theorysim.lab.errors import UsageError

__all__ = ["reading_numpy_file"]


@contextlib.contextmanager
def reading_numpy_file(flag: str, wanted: str, path: Path, otherwise: str) -> Iterator[None]:
    """Within it, what NumPy raises about a file becomes an error that names the flag.

    Args:
        flag: without its dashes.
        wanted: what the file must be.
        path: of the file.
        otherwise: what it is if it is not damaged, such as "no .npz file".

    Raises:
        UsageError: the file cannot be opened, is damaged or of another kind, or holds Python objects.

    Example:
        >>> with reading_numpy_file("data", "an .npz file", Path("a.npz"), "no .npz file"):
        ...     raise zipfile.BadZipFile
        Traceback (most recent call last):
        UsageError: --data must be an .npz file, got a.npz (damaged, or no .npz file)
    """
    try:
        yield
        return
    except OSError as error:
        said = error.strerror or "no NumPy file"
    except (ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        objects = "Object arrays" in str(error) or "Python objects" in str(error)
        said = "Python objects" if objects else f"damaged, or {otherwise}"
    raise UsageError(f"--{flag} must be {wanted}, got {path} ({said})")
