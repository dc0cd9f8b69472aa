import os
import subprocess
import sys

import pytest

from theorysim.lab.cpu import enlarge_thread_pool

BATCHES = """
from theorysim.lab.cpu import enlarge_thread_pool
enlarge_thread_pool()
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

for i in range(100):
    jax.block_until_ready(independent_factorizations(jax.random.split(jax.random.key(i), 8)))
"""


@pytest.mark.parametrize(("before", "least"), [("2", 8), ("", 8), ("many", 8), ("100", 100)])
def test_a_pool_is_raised_to_eight_and_never_lowered(before, least, monkeypatch):
    monkeypatch.setenv("NPROC", before)
    enlarge_thread_pool()
    assert int(os.environ["NPROC"]) >= least


def test_batched_factorizations_at_once_do_not_wait_for_each_other():
    done = subprocess.run(
        [sys.executable, "-c", BATCHES],
        env=os.environ | {"NPROC": "2"},
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
