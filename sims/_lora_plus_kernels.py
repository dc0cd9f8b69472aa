"""One training of each experiment on two learning rates: pure functions of numbers and a key."""

from typing import Any

import jax
import jax.numpy as jnp

from theorysim.networks.adapted_relu import adapted_relu_training, toy_data
from theorysim.numerics.low_rank import (
    adapter_dynamics,
    adapter_dynamics_single,
    dense_adapter_training,
    minimum_sharpness,
    sample_start,
    sharpness,
)
from theorysim.numerics.products import matmul

# Steps between records of the toy networks; their changes of the output are looked at in the next step.
RECORD = 5
# Steps after which powers of the width are measured.
EARLY = 4


def _sizes(path, output):
    """Sizes of factors and output after some steps, and of the last step's changes of the output."""
    return {
        "p": path.feature_rms[EARLY],
        "q": path.readout_rms[EARLY],
        "output": output,
        "delta1": path.deltas[EARLY - 1, 0],
        "delta2": path.deltas[EARLY - 1, 1],
    }


def sizes_by_adam(power_a: Any, power_b: Any, n: Any, a_random: Any, start: Any, *, key) -> dict[str, Any]:
    """One example and output, rank 4, rates n^power/2; a_random = 1 starts with B = 0, and 0 with A = 0."""
    z = jax.random.normal(jax.random.fold_in(key, start), (4,))
    path = adapter_dynamics_single(
        n * (2 / jnp.pi) ** 0.5,
        1.0,
        1.0,
        z * a_random,
        z * (1 - a_random) / 2,
        lr_a=n**power_a / 2,
        lr_b=n**power_b / 2,
        optimizer="adam",
        steps=EARLY,
    )
    return _sizes(path, jnp.abs((path.Q[EARLY] @ path.P[EARLY])[0, 0]))


def sizes_by_sgd(power_a: Any, power_b: Any, n: Any, a_random: Any, start: Any, *, key) -> dict[str, Any]:
    """The same by gradient descent, with four examples and two outputs."""
    keys = jax.random.split(jax.random.fold_in(key, start))
    path = adapter_dynamics(
        n * jnp.eye(4),
        jnp.eye(2),
        jnp.ones((2, 4)),
        jax.random.normal(keys[0], (4, 4)) * a_random,
        jax.random.normal(keys[1], (2, 4)) * (1 - a_random) / 2,
        lr_a=n**power_a / 2,
        lr_b=n**power_b / 2,
        steps=EARLY,
    )
    return _sizes(path, jnp.sqrt(jnp.mean(matmul(path.Q[EARLY], path.P[EARLY]) ** 2)))


def crossing(loss, fraction):
    """Steps until the loss is this fraction of the first, by logarithms between steps; infinity if never."""
    height = jnp.log(loss / loss[0]) - jnp.log(fraction)
    below = height <= 0
    after = jnp.argmax(below)
    high, low = height[after - 1], height[after]
    return jnp.where(below.any(), after - 1 + high / (high - low), jnp.inf)


def steps_of_one(gain_a: Any, gain_b: Any, *, eps, steps) -> Any:
    """Steps until the residual is eps of the target, both 1 at first, of one example, output and rank."""
    one = jnp.ones((1, 1))
    path = adapter_dynamics(one, one, one, one, 0 * one, lr_a=gain_a, lr_b=gain_b, steps=steps)
    return crossing(path.loss, eps**2)


def _from(start, key, examples, rank):
    return jax.random.normal(jax.random.fold_in(key, start), (rank, examples))


def descent(lr_a: Any, lr_b: Any, start: Any, *, key, Y, rank, fraction, steps) -> dict[str, Any]:
    """Gradient descent from P0 ~ N(0, I), Q0 = 0, at rates in units of K_in = I."""
    outputs, examples = Y.shape
    path = adapter_dynamics(
        jnp.eye(examples),
        jnp.eye(outputs),
        Y,
        _from(start, key, examples, rank),
        jnp.zeros((outputs, rank)),
        lr_a=lr_a,
        lr_b=lr_b,
        steps=steps,
    )
    return {"steps": crossing(path.loss, fraction), "rest": path.loss[-1] / path.loss[0]}


def settled(lr_a: Any, lr_b: Any, start: Any, *, key, Y, rank, steps) -> Any:
    """Loss that is left after so many steps, in units of the first; NaN if it diverged."""
    outputs, examples = Y.shape
    path = adapter_dynamics(
        jnp.eye(examples),
        jnp.eye(outputs),
        Y,
        _from(start, key, examples, rank),
        jnp.zeros((outputs, rank)),
        lr_a=lr_a,
        lr_b=lr_b,
        steps=steps,
        record_every=steps,
    )
    return path.loss[-1] / path.loss[0]


def heavy_ball(lr_a: Any, lr_b: Any, size: Any, start: Any, *, key, Y, rank, momentum, steps) -> Any:
    """Losses of gradient descent with momentum from P0 = size N(0, I)."""
    outputs, examples = Y.shape
    path = adapter_dynamics(
        jnp.eye(examples),
        jnp.eye(outputs),
        Y,
        size * _from(start, key, examples, rank),
        jnp.zeros((outputs, rank)),
        lr_a=lr_a,
        lr_b=lr_b,
        momentum=momentum,
        steps=steps,
    )
    return path.loss


def at_width(factor: Any, n: Any, start: Any, *, key, Y, rank, pair, steps) -> Any:
    """Losses at width n and rates (a/n, b), where factor factor' = K_in/n."""
    outputs, examples = Y.shape
    P0 = matmul(_from(start, key, examples, rank), factor.T)
    path = adapter_dynamics(
        n * matmul(factor, factor.T),
        jnp.eye(outputs),
        Y,
        P0,
        jnp.zeros((outputs, rank)),
        lr_a=pair[0] / n,
        lr_b=pair[1],
        steps=steps,
    )
    return path.loss


def sharpness_path(gram: Any, lr_a: Any, lr_b: Any, size: Any, start: Any, *, key, Y, rank, steps, every):
    """Sharpness along the training from P0 = size N(0, I), and the bound on that of any fit."""
    outputs, examples = Y.shape
    eye = jnp.eye(outputs)
    path = adapter_dynamics(
        gram,
        eye,
        Y,
        size * _from(start, key, examples, rank),
        jnp.zeros((outputs, rank)),
        lr_a=lr_a,
        lr_b=lr_b,
        steps=steps,
        record_every=every,
    )
    along = jax.vmap(lambda P, Q: sharpness(P, Q, gram, eye, lr_a=lr_a, lr_b=lr_b))(path.P, path.Q)
    least = minimum_sharpness(gram, eye, Y, lr_a=lr_a, lr_b=lr_b)
    return {"sharpness": along, "least": least, "loss": path.loss / path.loss[0]}


def by_exact_law(key, *, X, W_out, Y, rank, lr_a, lr_b, steps):
    """Losses of a training whose P0 is drawn by its law."""
    K_in, K_out = X.T @ X, W_out @ W_out.T
    start = sample_start(key, K_in, K_out, rank=rank, init="a", var_a=1 / len(X))
    path = adapter_dynamics(K_in, K_out, Y, *start, lr_a=lr_a, lr_b=lr_b, steps=steps)
    return {"loss": path.loss, "feature_rms": path.feature_rms}


def by_weights(key, *, X, W_out, Y, rank, lr_a, lr_b, steps):
    """Losses of a training of the weights themselves."""
    path = dense_adapter_training(key, X, W_out, Y, rank=rank, init="a", lr_a=lr_a, lr_b=lr_b, steps=steps)
    return {"loss": path.loss, "feature_rms": path.feature_rms}


def toy_network(
    lr_a: Any, lr_b: Any, var_a: Any, seed: Any, *, key, width, readout, steps, examples
) -> dict[str, Any]:
    """Train a toy network by Adam; a seed fixes its weights and its data, whatever the rates."""
    *keys, network = jax.random.split(jax.random.fold_in(key, seed), 3)
    data, test = (toy_data(one, examples) for one in keys)
    run = adapted_relu_training(
        network,
        *data,
        *test,
        lr_a=lr_a,
        lr_b=lr_b,
        var_a=var_a,
        width=width,
        init="a",
        readout=readout,
        steps=steps,
        record_every=RECORD,
    )
    return {
        "loss": run.loss,
        "test_loss": run.test_loss,
        "feature_rms": run.feature_rms,
        "delta1": run.deltas[:, 0],
        "delta2": run.deltas[:, 1],
    }
