import os
import subprocess
import sys

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


def test_a_pool_that_was_asked_for_stays(monkeypatch):
    monkeypatch.setenv("NPROC", "3")
    enlarge_thread_pool()
    assert os.environ["NPROC"] == "3"


def test_batched_factorizations_at_once_do_not_wait_for_each_other():
    few = {name: value for name, value in os.environ.items() if name != "NPROC"}
    done = subprocess.run(
        [sys.executable, "-c", BATCHES], env=few, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
