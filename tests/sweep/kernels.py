"""Functions to sweep over, where other processes can import them, and how to start these."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

ROOT = Path(__file__).parent.parent.parent


class Fit(NamedTuple):
    loss: jax.Array
    weights: jax.Array
    steps: jax.Array


def square(x):
    return x * x


def power(x, n):
    return x**n


def normal(mean, key):
    return mean + jax.random.normal(key)


def train(rate, key, width=3):
    """Gradient descent on a random regression: products of matrices, a loop, randomness, three outputs."""
    data_key, start_key = jax.random.split(key)
    inputs = jax.random.normal(data_key, (16, width))
    targets = jnp.sin(inputs.sum(axis=1))
    weights = jax.random.normal(start_key, (width,))

    def loss(weights):
        return jnp.mean((jnp.tanh(inputs @ weights) - targets) ** 2)

    def step(weights, _):
        return weights - rate * jax.grad(loss)(weights), None

    weights, _ = jax.lax.scan(step, weights, None, length=50)
    return Fit(loss(weights), weights, jnp.int32(50))


def _raise_at_three(x):
    if x == 3:
        raise ArithmeticError("three is not allowed")
    return x


def fails_at_three(x):
    """Raises while computing, as a kernel that runs out of memory would."""
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    y = jax.pure_callback(_raise_at_three, shape, x, vmap_method="sequential")
    return {"y": y, "count": jnp.int32(1)}


def _exit_at_three(x):
    if x == 3:
        os._exit(1)
    return x


def dies_at_three(x):
    """Takes its process with it."""
    return jax.pure_callback(_exit_at_three, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="sequential")


def _sleep(x):
    time.sleep(0.2)
    return x


def slow(x):
    """A fifth of a second per point."""
    return jax.pure_callback(_sleep, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="sequential")


def start_python(code, *arguments, devices=1):
    """Start `python -c code arguments` in float64 with so many simulated devices."""
    environment = os.environ | {
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        # Beside the flags of this process: the compiler's level changes the rounding.
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"],
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    # A shell that runs the tests in the background makes all that it starts deaf to Ctrl-C.
    hearing = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", hearing + code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_python(code, *arguments, devices=1):
    """The finished process: its return code, output and errors."""
    with start_python(code, *arguments, devices=devices) as process:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()  # one that hangs would outlive the test, and fail another by its open pipes
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
