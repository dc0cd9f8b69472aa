"""Every test runs in float64, without implicit rank promotion, and with caches of compiled programs."""

import os
from pathlib import Path

# Most of the time of the tests is the compiler's, for programs that run once. Without LLVM's optimisation and
# with the older emitter of fused loops it takes half as long in all (CPU seconds of three files: 46 -> 22,
# 117 -> 64, 93 -> 65).
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
# No threads inside of a LAPACK call on a small matrix, as on the command line.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Batched LAPACK calls wait for each other for ever in a pool of two threads (see theorysim/lab/cpu.py), and a
# run of the command line computes two experiments at a time.
os.environ["NPROC"] = "16"

import jax
import pytest

# A cache for each worker: a program that one is writing while the other reads it has crashed a run.
CACHE = Path(__file__).parent.parent / ".cache" / "xla" / os.environ.get("PYTEST_XDIST_WORKER", "main")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

MAPS = Path("/proc/self/maps")

# Files of a minute and more. They begin, so that none of them is left over for one worker at the end.
LONG = ("tests/sims/", "tests/test_docstrings.py", "tests/width_depth/", "tests/rmt_synthetic/")


def pytest_collection_modifyitems(items):
    """Order the files; `make test` tells pytest-xdist to keep the order."""

    def place(item):
        return next((i for i, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def _few_memory_maps():
    """Forget compiled programs before their memory maps, some forty each, reach Linux' limit of 65,530.

    Beyond it the compiler aborts the process, halfway through all tests on two workers.
    """
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
