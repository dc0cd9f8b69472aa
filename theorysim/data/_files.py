"""The files that the package carries, unpacked."""

import gzip
from importlib.resources import files

__all__ = ["unpacked"]


def unpacked(name: str) -> bytes:
    """Return the content of `name`, a gzip-compressed file in `theorysim/data/files`."""
    return gzip.decompress(files("theorysim.data").joinpath("files", name).read_bytes())
