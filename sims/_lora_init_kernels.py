"""One point of each experiment on the starts of low-rank adapters: pure functions of numbers and arrays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorysim import lora_init
from theorysim.networks.adapted_relu import adapted_relu_training, toy_data

from ._lora_init_config import scaled

# Dimension of the latent inputs of teachers and students, and the examples they are trained on.
LATENT = 8
STUDENT_EXAMPLES = 32


def one_example_adam(bits, lr_a, lr_b, gain_in, gain_out, p_std, q_std, *, steps):
    """Adam on one example and one output, rank 4: sizes after the last step, and the loss."""
    p0, q0 = _vectors(bits, p_std, q_std)
    path = lora_init.adapter_dynamics_single(
        gain_in, gain_out, 1.0, p0, q0, lr_a=lr_a, lr_b=lr_b, optimizer="adam", steps=steps
    )
    return _sizes(path)


def one_example_descent(bits, lr_a, lr_b, gain_in, gain_out, p_std, q_std, *, steps):
    """The same by gradient descent."""
    p0, q0 = _vectors(bits, p_std, q_std)
    one = jnp.ones((1, 1))
    path = lora_init.adapter_dynamics(
        gain_in * one, gain_out * one, one, p0[:, None], q0[None], lr_a=lr_a, lr_b=lr_b, steps=steps
    )
    return _sizes(path)


def _vectors(bits, p_std, q_std):
    p0, q0 = jax.random.normal(jax.random.wrap_key_data(bits), (2, 4))
    return p_std * p0, q_std * q0 / 2


def _sizes(path):
    last = {"p": path.feature_rms[-1], "q": path.readout_rms[-1], "output": jnp.abs(path.Q[-1] @ path.P[-1])}
    deltas = dict(zip(("delta1", "delta2", "delta3"), path.deltas[-2], strict=True))
    return {name: value.reshape(()) for name, value in (last | deltas | {"loss": path.loss[-1]}).items()}


def scalar_descent(lr, width, target, p0, q0, *, steps, shown):
    """Gradient descent at one rate on N = k = r = 1: the first losses, and the last."""
    one = jnp.ones((1, 1))
    path = lora_init.adapter_dynamics(
        width * one, one, target * one, p0 * one, q0 * one, lr_a=lr, lr_b=lr, steps=steps
    )
    return {"loss": path.loss[: shown + 1], "last": path.loss[-1]}


def descent(P0, Q0, Y, width, lr_a, lr_b, *, steps, record_every=1):
    """Gradient descent on K_in = n I, K_out = I: the losses."""
    K_in, K_out = width * jnp.eye(P0.shape[1]), jnp.eye(len(Q0))
    path = lora_init.adapter_dynamics(
        K_in, K_out, Y, P0, Q0, lr_a=lr_a, lr_b=lr_b, steps=steps, record_every=record_every
    )
    return {"loss": path.loss}


def descent_of_two(P0, Q0, Y, width, lr_a_n, lr_b, *, steps):
    """The same at two rates, that of A in parts of 1/n: the first loss and the last."""
    return descent(P0, Q0, Y, width, lr_a_n / width, lr_b, steps=steps, record_every=steps)


def steps_to(P0, Q0, Y, width, lr, *, parts, steps):
    """The first step at which the loss is at most each of these parts of the first; NaN if none is."""
    loss = descent(P0, Q0, Y, width, lr, lr, steps=steps)["loss"]
    low = loss[:, None] <= loss[0] * jnp.array(parts)[None]
    return {"reached": jnp.where(low.any(0), jnp.argmax(low, axis=0), jnp.nan)}


def floor(key, *, outputs, rank):
    """The floor of a random start with A = 0, for targets of rank 1."""
    K_out, target = jnp.eye(outputs), jnp.eye(outputs)[:, :1]
    start = lora_init.sample_start(key, jnp.eye(1), K_out, rank=rank, init="b")
    return {"floor": lora_init.frozen_floor(target, *start, init="b")}


def student_descent(bits, width, factor, use_a, use_b, inside, *, rates, outputs, rank, steps):
    """A student by gradient descent at all rates: loss over all inputs after training, in parts of the first.

    Features h = W z/sqrt(latent), latent z and W Gaussian; the teacher adds u w'z to the frozen layer. The
    factor
    F has the law of a Cholesky factor of W'W/(latent n), so that no array of the width is made.
    """
    task = _teacher(bits, inside, outputs, rank)
    M = use_a * jax.random.normal(task.keys[0], (rank, LATENT)) @ factor.T
    gram = width * factor @ factor.T
    K_in, test_gram = task.Z.T @ gram @ task.Z, task.Z.T @ gram

    def one(lr):
        # Unit vectors for test columns: their loss is that over all inputs, up to a factor.
        path = lora_init.adapter_dynamics(
            K_in,
            jnp.eye(outputs),
            task.Y,
            M @ task.Z,
            use_b * task.B,
            lr_a=lr,
            lr_b=lr,
            steps=steps,
            record_every=steps,
            test_gram=test_gram,
            test_P0=M,
            test_target=task.teacher,
        )
        assert path.test_loss is not None
        return path.test_loss[-1] / path.test_loss[0]

    return {"loss": jax.vmap(one)(jnp.array(rates))}


def student_adam(bits, use_a, use_b, *, rates, width, outputs, rank, steps):
    """A student by Adam at all rates, its weights themselves; `peak` is the largest loss on the way."""
    task = _teacher(bits, 0.0, outputs, rank)
    W = jax.random.normal(task.keys[0], (width, LATENT)) / LATENT**0.5
    A = jax.random.normal(task.keys[1], (rank, width)) / width**0.5
    X = W @ task.Z

    def one(lr):
        path = lora_init.dense_adapter_training(
            task.keys[2],
            X,
            jnp.eye(outputs),
            task.Y,
            rank=rank,
            init="both",
            A0=use_a * A,
            B0=use_b * task.B,
            lr_a=lr,
            lr_b=lr,
            optimizer="adam",
            steps=steps,
        )
        # P = M Z with M the features of the unit vectors.
        M = jnp.linalg.solve(task.Z @ task.Z.T, task.Z @ path.P[-1].T).T
        left = ((path.Q[-1] @ M - task.teacher) ** 2).sum()
        return {"loss": left / (task.teacher**2).sum(), "peak": path.loss.max() / path.loss[0]}

    return jax.vmap(one)(jnp.array(rates))


class _Task(NamedTuple):
    """A teacher's problem: latent inputs, teacher, targets, the student's B, and keys for the rest."""

    Z: Array
    teacher: Array
    Y: Array
    B: Array
    keys: Array


def _teacher(bits, inside, outputs, rank):
    keys = jax.random.split(jax.random.wrap_key_data(bits), 8)
    B = jax.random.normal(keys[0], (outputs, rank)) / rank**0.5
    u = jnp.where(inside, B @ jax.random.normal(keys[1], (rank,)), jax.random.normal(keys[2], (outputs,)))
    w = jax.random.normal(keys[3], (LATENT,))
    Z = jax.random.normal(keys[4], (LATENT, STUDENT_EXAMPLES))
    teacher = scaled(u)[:, None] * w[None] / jnp.linalg.norm(w)
    return _Task(Z, teacher, teacher @ Z, B, keys[5:])


def toy_networks(bits, *, rates, width, init, readout, steps, record_every, examples):
    """Networks with one adapted layer by Adam, of one key at all rates."""
    data, test = toy_data(jax.random.key(0), examples), toy_data(jax.random.key(1), examples // 4)

    def one(lr):
        run = adapted_relu_training(
            jax.random.wrap_key_data(bits),
            *data,
            *test,
            lr_a=lr,
            lr_b=lr,
            width=width,
            init=init,
            readout=readout,
            steps=steps,
            record_every=record_every,
        )
        return run._asdict()

    return jax.vmap(one)(jnp.array(rates))
