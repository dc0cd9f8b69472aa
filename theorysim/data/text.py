"""Text as arrays of character tokens, and the next-character laws that it defines.

A text over s symbols gives, for each context j (the previous k characters), the empirical law of the next
one,

    p_j(i) = #{symbol i follows context j} / #{any symbol follows context j},

and the law of the contexts themselves. A language model with one-hot contexts that minimises the
cross-entropy predicts exactly these (M. E. A. Seddik et al., arXiv 2404.05090, section 3).

Example:
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.txt"
    >>> _ = path.write_text("abababac")
    >>> text = text_file(path)
    >>> text.symbols, text.tokens.tolist()
    (('a', 'b', 'c'), [0, 1, 0, 1, 0, 1, 0, 2])
    >>> next_token_laws(text, context_length=1).laws.tolist()
    [[0.0, 0.75, 0.25], [1.0, 0.0, 0.0]]
"""

import importlib
import math
import numbers
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64

from theorysim.data._files import unpacked

__all__ = ["ContextLaws", "Text", "english_topics", "next_token_laws", "text_file", "tiny_shakespeare"]

_KEPT_TOPIC_CHARACTERS = "abcdefghijklmnopqrstuvwxyz \n,."
# 800 MB of laws: beyond it, the caller meant to ask for frequent contexts only.
_MAX_LAW_ENTRIES = 10**8


class Text(NamedTuple):
    """A text as token numbers, each the index of a character in `symbols` (sorted by code point)."""

    tokens: Int32[np.ndarray, " length"]
    symbols: tuple[str, ...]


class ContextLaws(NamedTuple):
    """Empirical next-token laws (c, s), one row per context, with the law (c,) of the contexts."""

    contexts: tuple[str, ...]
    context_law: Float64[np.ndarray, " c"]
    laws: Float64[np.ndarray, "c s"]


def tiny_shakespeare() -> Text:
    """Plays of Shakespeare: 1,115,394 characters over 65 symbols, as they are printed.

    Origin: the collection of A. Karpathy (2015), carried in the package. Licence: public domain. Letters of
    both cases, space, newline, and punctuation; no preprocessing.

    Example:
        >>> text = tiny_shakespeare()
        >>> text.tokens.shape, len(text.symbols)
        ((1115394,), 65)
        >>> "".join(text.symbols[t] for t in text.tokens[:14])
        'First Citizen:'
    """
    return _tokenize(unpacked("tinyshakespeare.txt.gz").decode("utf-8"))


def english_topics() -> Text:
    r"""English prose of the standard library's help topics, over 30 symbols.

    Origin: `pydoc_data.topics` of the running Python, in the order of the topics' names, so the text differs
    a little between Python versions (417,012 characters in 3.11.7). Licence: Python Software Foundation.
    Lower-cased; only letters, space, newline, comma and full stop are kept.

    Raises:
        ImportError: this Python comes without its help topics.

    Example:
        >>> text = english_topics()
        >>> "".join(text.symbols)
        '\n ,.abcdefghijklmnopqrstuvwxyz'
    """
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        raise ImportError(
            "this Python has no help topics (module pydoc_data); use tiny_shakespeare() or text_file(path)"
        ) from None
    prose = "\n".join(topics[name] for name in sorted(topics)).lower()
    kept = set(_KEPT_TOPIC_CHARACTERS)
    return _tokenize("".join(character for character in prose if character in kept))


def text_file(path: str | os.PathLike[str]) -> Text:
    r"""Your own text: a UTF-8 file, every distinct character a symbol; `\r\n` becomes `\n`.

    Raises:
        ValueError: the file cannot be read, is empty, or is not UTF-8.

    Example:
        >>> text_file("no/such/file.txt")
        Traceback (most recent call last):
        ValueError: path must be a readable text file, got 'no/such/file.txt' (No such file or directory)
    """
    name = os.fspath(path)
    try:
        # "utf-8-sig" drops the byte-order mark that some editors write.
        content = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"path must be a readable text file, got {name!r} ({reason})") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"path must be a UTF-8 text file, got {name!r} (byte {error.start} is not UTF-8)"
        ) from None
    if not content:
        raise ValueError(f"path must be a text file of at least one character, got {name!r} (empty)")
    return _tokenize(content.replace("\r\n", "\n"))


def next_token_laws(text: Text, context_length: int = 1, min_count: int = 1) -> ContextLaws:
    """Empirical law of the next character in each context of `context_length` previous characters.

    Args:
        text: from a loader above, or any Text.
        context_length: characters of context, >= 0; 0 gives the law of single characters, in one empty
            context.
        min_count: leave out contexts that are followed by a character fewer than so many times, >= 1. The
            law of the contexts is normalised over those that stay.

    Returns:
        ContextLaws, the most frequent context first (equally frequent ones by their symbols).

    Raises:
        ValueError: an argument out of range, a text too short to hold one context, no context that is
            frequent enough, or a table of more than 1e8 probabilities.

    Example:
        >>> model = next_token_laws(tiny_shakespeare(), context_length=2, min_count=1000)
        >>> model.contexts[:3], model.laws.shape
        (('e ', ' t', 'th'), (224, 65))
    """
    length, s = len(text.tokens), len(text.symbols)
    most = min(length - 1, math.floor(62 / math.log2(max(s, 2))))
    context_length = _integer(context_length, "context_length", 0, most)
    min_count = _integer(min_count, "min_count", 1)
    # A context is the number whose digits in base s are its tokens.
    codes = np.zeros(length - context_length, np.int64)
    for offset in range(context_length):
        codes = codes * s + text.tokens[offset : offset + codes.size]
    code, row, count = np.unique(codes, return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")[: np.count_nonzero(count >= min_count)]
    c = order.size
    if c == 0:
        raise ValueError(f"min_count must be at most {count.max()}, the count of the most frequent context")
    if c * s > _MAX_LAW_ENTRIES:
        raise ValueError(
            f"min_count must leave at most {_MAX_LAW_ENTRIES // s} contexts of {s} symbols, got {c}: raise it"
        )
    rank = np.full(code.size, c)
    rank[order] = np.arange(c)
    row, following = rank[row], text.tokens[context_length:]
    kept = row < c
    pairs = np.bincount(row[kept] * s + following[kept], minlength=c * s).reshape(c, s)
    total = count[order].astype(np.float64)
    return ContextLaws(
        _spell(code[order], context_length, text.symbols), total / total.sum(), pairs / total[:, None]
    )


def _tokenize(content: str) -> Text:
    """Number the characters of a text by their rank among those that occur."""
    points = np.frombuffer(content.encode("utf-32-le"), np.uint32)
    occurs = np.zeros(int(points.max()) + 1, bool)
    occurs[points] = True
    number = np.cumsum(occurs, dtype=np.int32) - 1
    return Text(number[points].astype(np.int32), tuple(map(chr, np.flatnonzero(occurs))))


def _spell(codes: Int64[np.ndarray, " c"], context_length: int, symbols: tuple[str, ...]) -> tuple[str, ...]:
    """The contexts as strings, from their numbers in base s."""
    place = len(symbols) ** np.arange(context_length - 1, -1, -1, dtype=np.int64)
    digits = codes[:, None] // place % len(symbols)
    return tuple("".join(symbols[digit] for digit in row) for row in digits)


def _integer(value: int, name: str, minimum: int, maximum: int | None = None) -> int:
    """Check an integer argument; data sets know nothing of the checks that theories share."""
    allowed = f"an integer >= {minimum}" if maximum is None else f"an integer in [{minimum}, {maximum}]"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    if value < minimum or (maximum is not None and value > maximum):
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return int(value)
