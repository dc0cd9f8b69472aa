r"""Whether what a computation will hold fits into the free memory, asked before it starts.

Example:
    >>> require_memory(1000, "n", "fewer rows")
    >>> require_memory(10**18, "n = 353,553,391", "fewer rows", budget=10**10)
    Traceback (most recent call last):
    ValueError: n = 353,553,391 needs 1e+09 GB of memory, more than the 10 GB that are free: fewer rows
"""

import os
from pathlib import Path

__all__ = ["free_memory", "require_memory"]


def free_memory() -> int:
    """Bytes that this process may still take: those free on the machine or, if less, in its control group.

    Example:
        >>> free_memory() > 0
        True
    """
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        group = Path("/sys/fs/cgroup")
        bound = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        free = min(free, max(bound, 0))
    except (OSError, ValueError):  # no control group, or one without bound
        pass
    return free


def require_memory(needed: int, what: str, remedy: str, *, budget: int | None = None) -> None:
    """Raise ValueError if `needed` bytes are more than the budget, by default the free memory.

    Args:
        needed: bytes that will be held at once.
        what: the argument that makes them so many, with its value.
        remedy: what to do instead.
        budget: bytes that may be used.

    Raises:
        ValueError: too many bytes; the message holds `what`, both numbers and the remedy.

    Example:
        >>> require_memory(8 * 100**2, "n = 100", "fewer rows")
    """
    # Asking the system costs more than a small computation.
    if budget is None and needed < 2**26:
        return
    budget = free_memory() if budget is None else budget
    if needed > budget:
        raise ValueError(
            f"{what} needs {needed / 1e9:.3g} GB of memory, more than the {budget / 1e9:.3g} GB "
            f"that are free: {remedy}"
        )
