"""What XLA must be told about a CPU with few cores before the first computation."""

import os

__all__ = ["enlarge_thread_pool"]

_LEAST = 8


def enlarge_thread_pool(programs: int = 1) -> None:
    """Ask for at least 8 threads per program in XLA's pool on a CPU, by raising the variable NPROC.

    A LAPACK call on a batch of matrices (`vmap` of `solve`, `cholesky`, `eigh`) hands the matrices to the
    pool and keeps the thread that called it waiting. As many such calls at once as the pool has threads,
    two on two cores, wait for ever (jaxlib 0.10.2). No program here has eight of them ready at once.

    Too late once a computation has run; without effect on other devices.

    Args:
        programs: how many may run at a time.

    Example:
        >>> enlarge_thread_pool(programs=2)
        >>> int(os.environ["NPROC"]) >= 16
        True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    asked = os.environ.get("NPROC", "")
    # Shells and build services set NPROC to the number of cores: two of them would wait for ever, too.
    wanted = int(asked) if asked.isdecimal() else cores
    os.environ["NPROC"] = str(max(_LEAST * programs, wanted))
