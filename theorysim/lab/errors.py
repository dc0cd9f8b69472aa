"""What a user did wrong, in one line, and how an exception is told in one line.

Example:
    >>> one_line(ValueError("n must be an integer >= 1, got 0"))
    'ValueError: n must be an integer >= 1, got 0'
"""

import difflib
from collections.abc import Iterable

__all__ = ["UsageError", "did_you_mean", "one_line"]


class UsageError(Exception):
    """A command that cannot be carried out as given: told in one line, exit status 2, nothing written."""


def one_line(error: BaseException, *, limit: int = 300) -> str:
    r"""Return the kind and message of `error` without line breaks, cut after `limit` characters.

    Example:
        >>> one_line(RuntimeError("two\nlines"))
        'RuntimeError: two lines'
    """
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean NEAREST?' when a known word is near, else an empty string.

    Example:
        >>> did_you_mean("model_colapse", ["lood", "model_collapse"])
        '; did you mean model_collapse?'
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
