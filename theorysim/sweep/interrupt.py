"""Ctrl-C that loses nothing: the first stops the sweep after the current cell, the second at once.

Only the main thread may set a signal handler; elsewhere, and where SIGINT is ignored, nothing is touched. The
handler that was there is restored on leaving. A main thread that has sweeps running in other threads lets
these know by `hearing`, called in each of them.

Example:
    >>> with deferred_interrupt() as interrupted:
    ...     interrupted()
    False
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType

__all__ = ["Interruption", "deferred_interrupt", "hearing"]

_FIRST = b"\nstopping after the current cell; press Ctrl-C again to stop at once\n"


class Interruption:
    """Whether Ctrl-C was pressed, and which sweeps of other threads will end by themselves because of it."""

    def __init__(self) -> None:
        self.presses = 0
        self._lock = threading.Lock()
        self._sweeps = 0

    def __call__(self) -> bool:
        """True once Ctrl-C was pressed."""
        return self.presses > 0

    @property
    def sweeps(self) -> int:
        """Sweeps that are running in threads which hear of this interruption."""
        return self._sweeps

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count a sweep of another thread while it runs."""
        with self._lock:
            self._sweeps += 1
        try:
            yield
        finally:
            with self._lock:
                self._sweeps -= 1


_HEARD: ContextVar[Interruption | None] = ContextVar("heard", default=None)


@contextlib.contextmanager
def hearing(interruption: Interruption) -> Iterator[None]:
    """Let the sweeps of this thread know of an interruption that the main thread yielded.

    Example:
        >>> with deferred_interrupt() as pressed, hearing(pressed), deferred_interrupt() as inner:
        ...     inner is pressed, pressed.sweeps
        (True, 1)
    """
    token = _HEARD.set(interruption)
    try:
        yield
    finally:
        _HEARD.reset(token)


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Interruption]:
    """Yield a function that tells whether Ctrl-C was pressed."""
    if (heard := _HEARD.get()) is not None:
        with heard.counted():
            yield heard
        return
    interruption = Interruption()
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield interruption
        return

    def handler(number: int, frame: FrameType | None) -> None:
        interruption.presses += 1
        if interruption.presses > 1:
            previous(number, frame)
            raise KeyboardInterrupt
        os.write(2, _FIRST)  # print could be interrupted inside itself

    signal.signal(signal.SIGINT, handler)
    try:
        yield interruption
    except Exception as error:
        if interruption.presses > 1:  # a callback was running, and JAX took the interrupt for its failure
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
