"""Tasks side by side, in threads that Ctrl-C need not wait for.

JAX traces under Python's global lock, but compiles and executes without it, and compilation, most of a short
run, uses one core: two experiments at a time keep two cores busy. The calling thread owns Ctrl-C and takes
the results; whatever is printed or written as finished is so from there.

Example:
    >>> found = {}
    >>> carry_out([lambda: 1, lambda: 2, lambda: 3], 2, found.__setitem__)
    >>> sorted(found.items())
    [(0, 1), (1, 2), (2, 3)]
"""

import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from theorysim.sweep.interrupt import Interruption

__all__ = ["carry_out", "still_running"]

T = TypeVar("T")
_POLL_SECONDS = 0.1


class _Worker(threading.Thread):
    """One task in a thread of its own; a daemon, so that Python does not wait for it when it exits."""

    def __init__(self, number: int, task: Callable[[], Any], done: "queue.Queue[_Worker]") -> None:
        super().__init__(name=f"task {number}", daemon=True)
        self.number = number
        self.result: Any = None
        self.error: BaseException | None = None
        self._task = task
        self._done = done
        self._context = contextvars.copy_context()

    def begin(self, interruption: "Interruption", jobs: int) -> None:
        """Start the thread: one of `jobs` that share the memory and hear of one Ctrl-C."""
        self._interruption, self._jobs = interruption, jobs
        self.start()

    def run(self) -> None:
        self._context.run(self._carry_out)
        self._done.put(self)

    def _carry_out(self) -> None:
        from theorysim.sweep.batching import sharing_memory
        from theorysim.sweep.interrupt import hearing

        try:
            with hearing(self._interruption), sharing_memory(self._jobs):
                self.result = self._task()
        except BaseException as error:
            self.error = error


def carry_out(tasks: Sequence[Callable[[], T]], jobs: int, keep: Callable[[int, T], object]) -> None:
    """Carry out tasks, `jobs` at a time, and call `keep(number, result)` in this thread as each is done.

    One at a time, they are called in this thread and in order. Otherwise the first Ctrl-C lets the sweeps
    that are running end after their cells, keeps what is finished by then, and waits for nothing else: what
    computes outside of a sweep, Ctrl-C would have ended at once in this thread. The second ends the waiting.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        BaseException: what a task or `keep` raised; tasks may still be running, see `still_running`.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        for number, task in enumerate(tasks):
            keep(number, task())
        return
    from theorysim.sweep.interrupt import deferred_interrupt

    # Not a SimpleQueue: in CPython 3.11 a signal whose handler outlasts the timeout of its get makes that
    # wait for ever.
    done: queue.Queue[_Worker] = queue.Queue()
    waiting = deque(_Worker(number, task, done) for number, task in enumerate(tasks))
    running = 0
    with deferred_interrupt() as interrupted:
        while running or waiting:
            while waiting and running < jobs and not interrupted():
                waiting.popleft().begin(interrupted, jobs)
                running += 1
            try:
                ended = done.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if interrupted() and not interrupted.sweeps:
                    break
                continue
            running -= 1
            ended.join()
            if ended.error is None:
                keep(ended.number, ended.result)
            elif not (isinstance(ended.error, KeyboardInterrupt) and interrupted()):
                raise ended.error
        if interrupted():
            raise KeyboardInterrupt


def still_running() -> bool:
    """Whether a task that nobody waits for any more is running.

    Python must not end normally then, under a thread that is inside of JAX.

    Example:
        >>> still_running()
        False
    """
    return any(isinstance(thread, _Worker) for thread in threading.enumerate())
