import os
import subprocess
import sys

import pytest

from theorysim.lab.cpu import enlarge_thread_pool

BATCHES = """
import sys
from theorysim.lab.cpu import enlarge_thread_pool
threads = int(sys.argv[1])
enlarge_thread_pool(programs=threads)
import jax
import jax.numpy as jnp
jax.config.update("jax_enable_x64", True)

@jax.jit
@jax.vmap
def independent_factorizations(key):
    x = jax.random.normal(key, (128, 64))
    square = x.T @ x + jnp.eye(64)
    whole = jnp.linalg.cholesky(square).sum() + jnp.linalg.solve(square, x.T).sum()
    return whole + jnp.linalg.eigh(x.T @ x)[1].sum()

def compute(start):
    for i in range(start, start + 50):
        jax.block_until_ready(independent_factorizations(jax.random.split(jax.random.key(i), 8)))

from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(threads) as pool:
    assert list(pool.map(compute, range(0, 50 * threads, 50))) == [None] * threads
"""


@pytest.mark.parametrize(("before", "least"), [("2", 8), ("", 8), ("many", 8), ("100", 100)])
def test_a_pool_is_raised_to_eight_and_never_lowered(before, least, monkeypatch):
    monkeypatch.setenv("NPROC", before)
    enlarge_thread_pool()
    assert int(os.environ["NPROC"]) >= least


def test_a_pool_has_eight_threads_for_each_program_at_a_time(monkeypatch):
    monkeypatch.setenv("NPROC", "9")
    enlarge_thread_pool(programs=2)
    assert os.environ["NPROC"] == "16"


@pytest.mark.parametrize("threads", [1, 2])
def test_batched_factorizations_at_once_do_not_wait_for_each_other(threads):
    done = subprocess.run(
        [sys.executable, "-c", BATCHES, str(threads)],
        env=os.environ | {"NPROC": "2"},
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
