"""Ctrl-C that loses nothing: the first stops the sweep after the current cell, the second at once.

Only the main thread may set a signal handler; elsewhere, and where SIGINT is ignored, nothing is touched. The
handler that was there is restored on leaving.

Example:
    >>> with deferred_interrupt() as interrupted:
    ...     interrupted()
    False
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["deferred_interrupt"]

_FIRST = b"\nstopping after the current cell; press Ctrl-C again to stop at once\n"


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed."""
    pressed: list[int] = []
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield lambda: False
        return

    def handler(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            previous(number, frame)
            raise KeyboardInterrupt
        os.write(2, _FIRST)  # print could be interrupted inside itself

    signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: bool(pressed)
    except Exception as error:
        if len(pressed) > 1:  # a callback was running, and JAX took the interrupt for its failure
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
