"""What XLA must be told about a CPU with few cores before the first computation, and what few cores allow."""

import os

__all__ = ["cores", "default_jobs", "enlarge_thread_pool"]

_LEAST = 8


def cores() -> int:
    """Return the number of cores that this process may use.

    Example:
        >>> cores() >= 1
        True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def default_jobs() -> int:
    """Return how many experiments are computed at a time: 2 on a CPU of two cores or more, otherwise 1.

    Compilation uses one core. An accelerator has one experiment's batches to fill it.

    Example:
        >>> default_jobs() in (1, 2)
        True
    """
    import jax

    return 2 if jax.default_backend() == "cpu" and cores() >= 2 else 1


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
    asked = os.environ.get("NPROC", "")
    # Shells and build services set NPROC to the number of cores: two of them would wait for ever, too.
    wanted = int(asked) if asked.isdecimal() else cores()
    os.environ["NPROC"] = str(max(_LEAST * programs, wanted))
