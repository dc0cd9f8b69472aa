"""Other losses, gradients cut to a length, and the narrow proxy: the weights against the order parameters."""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.check_kernel import check_kernel
from theorysim.numerics.low_rank import (
    adapter_dynamics,
    dense_adapter_training,
    sign_dynamics,
    squared_error,
    width_proxy,
)

n, m, N, k, r, s = 9, 6, 4, 3, 2, 1.5
KEYS = jax.random.split(jax.random.key(0), 6)
X, W = jax.random.normal(KEYS[0], (n, N)), jax.random.normal(KEYS[1], (k, m)) / m**0.5
A0, B0 = jax.random.normal(KEYS[2], (r, n)) / n**0.5, jax.random.normal(KEYS[3], (m, r)) / r**0.5
BASE = jax.random.normal(KEYS[4], (k, N))
ONE_HOT = jnp.eye(k)[jnp.array([0, 1, 2, 1])].T
K_IN, K_OUT, P0, Q0 = X.T @ X, W @ W.T, A0 @ X, W @ B0
RATES: dict[str, Any] = {"lr_a": 0.05, "lr_b": 0.2, "scale": s, "momentum": 0.5, "weight_decay": 0.02}


def cross_entropy(f, y):
    return -(y * jax.nn.log_softmax(f)).sum()


def smooth_l1(f, y):
    return (jnp.sqrt(1 + (f - y) ** 2) - 1).sum()


engine = partial(adapter_dynamics, K_IN, K_OUT, ONE_HOT, **RATES)
dense = partial(dense_adapter_training, KEYS[5], X, W, ONE_HOT, rank=r, **RATES)


def same(path, other, rtol=1e-12):
    for name, x in path._asdict().items():
        y = getattr(other, name)
        if x is not None and y is not None:
            np.testing.assert_allclose(x, y, rtol=0, atol=rtol * float(jnp.abs(y).max()), err_msg=name)


@pytest.mark.parametrize("loss", [squared_error, cross_entropy, smooth_l1])
@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_every_loss_closes_in_the_order_parameters(loss, clip_norm):
    other: dict[str, Any] = {"loss": loss, "clip_norm": clip_norm, "steps": 40}
    path = engine(P0, 0 * Q0, base=BASE, **other)
    same(path, dense(init="a", A0=A0, base=BASE, **other))
    assert path.loss[-1] < 0.8 * path.loss[0]
    # What two random factors put out is the base's to give up.
    path = engine(P0, Q0, base=BASE - s * Q0 @ P0, **other)
    same(path, dense(init="both", A0=A0, B0=B0, base=BASE, **other))
    if loss is cross_entropy:
        expected = -jax.nn.log_softmax(BASE, axis=0)[jnp.array([0, 1, 2, 1]), jnp.arange(N)].mean()
        np.testing.assert_allclose(path.loss[0], expected, rtol=1e-12)


def test_the_gradient_is_cut_to_its_length_and_reported_uncut():
    free, cut = (cast(Any, engine(P0, Q0, steps=3, clip_norm=length)) for length in (None, 0.1))
    norms = [jnp.hypot(path.grad_norm_a, path.grad_norm_b) for path in (free, cut)]
    np.testing.assert_allclose(norms[1][0], norms[0][0], rtol=1e-13)
    assert norms[0][0] > 0.5
    # The first step, weight decay aside, is as much shorter as the gradient.
    share = 0.1 / norms[0][0]
    for name, rate in (("P", 0.05), ("Q", 0.2)):
        long, short = ((lambda x: x[1] - (1 - rate * 0.02) * x[0])(getattr(p, name)) for p in (free, cut))
        np.testing.assert_allclose(short, share * long, rtol=1e-10, atol=1e-15)
    # A length that no gradient reaches cuts nothing, and has a derivative.
    same(engine(P0, Q0, steps=3, clip_norm=1e3), free)
    slope = jax.grad(lambda c: engine(P0, Q0, steps=3, clip_norm=c).loss[-1])
    assert slope(0.1) < 0 and slope(jnp.inf) == 0


def test_test_columns_and_batches_take_any_loss():
    part = slice(0, 3)
    path = adapter_dynamics(
        K_IN[part, part],
        K_OUT,
        ONE_HOT[:, part],
        P0[:, part],
        Q0,
        loss=cross_entropy,
        base=BASE[:, part],
        test_gram=K_IN[part],
        test_P0=P0,
        test_target=ONE_HOT,
        test_base=BASE,
        clip_norm=0.3,
        steps=5,
        **RATES,
    )
    assert path.test_loss is not None
    whole = engine(P0, Q0, loss=cross_entropy, base=BASE, steps=5)
    np.testing.assert_allclose(path.test_loss[0], whole.loss[0], rtol=1e-12)
    # A batch of all is no batch, whatever the loss.
    other: dict[str, Any] = {"loss": cross_entropy, "base": BASE, "clip_norm": 0.3, "steps": 5}
    same(engine(P0, Q0, batch_size=N, key=KEYS[0], **other), engine(P0, Q0, **other))


def test_adam_and_signs_see_the_loss_and_adam_the_cut():
    other: dict[str, Any] = {"loss": cross_entropy, "base": BASE, "init": "a", "A0": A0, "steps": 4}
    adam = dense(optimizer="adam", **other)
    A, B, moments = A0, jnp.zeros((m, r)), [0.0] * 4
    for t in range(4):
        np.testing.assert_allclose(adam.P[t], A @ X, rtol=0, atol=1e-12)

        def mean(A, B):
            return jax.vmap(cross_entropy, (1, 1))(BASE + s * W @ B @ A @ X, ONE_HOT).mean()

        for i, (g, factor) in enumerate(zip(jax.grad(mean, (0, 1))(A, B), (A, B), strict=True)):
            moments[2 * i] = 0.9 * moments[2 * i] + 0.1 * g
            moments[2 * i + 1] = 0.999 * moments[2 * i + 1] + 0.001 * g**2
            size = jnp.sqrt(moments[2 * i + 1] / (1 - 0.999 ** (t + 1)))
            step = jnp.where(
                size > 0, moments[2 * i] / (1 - 0.9 ** (t + 1)) / jnp.where(size > 0, size, 1), 0
            )
            new = factor - RATES[("lr_a", "lr_b")[i]] * (step + 0.02 * factor)
            A, B = (new, B) if i == 0 else (A, new)
    signs = dense(optimizer="sign", clip_norm=0.1, **other)
    same(signs, dense(optimizer="sign", **other))
    assert float(jnp.abs(dense(optimizer="adam", clip_norm=0.1, **other).loss - adam.loss).max()) > 1e-6


SIGMA = jnp.array([[1.0, 0.3], [0.3, 1.0]])
TARGET = jnp.array([[1.0, -0.4], [0.3, 0.8]])
START: tuple[Any, Any] = (jnp.array([[1.0, -0.5], [0.3, 0.8]]), jnp.array([[0.2, -0.4], [0.5, 0.1]]))


def proxy(key, width, narrow, **other):
    setting = {"lr_a": 0.03 / width, "lr_b": 0.03, "steps": 20} | other
    return width_proxy(key, SIGMA, width, TARGET, *START, proxy_width=narrow, **setting)


def test_the_proxy_of_gradient_descent_is_exact():
    other: dict[str, Any] = {"momentum": 0.8, "weight_decay": 0.1, "scale": 2.0}
    path = proxy(KEYS[0], 1e9, 8, optimizer="sgd", **other)
    exact = adapter_dynamics(
        1e9 * SIGMA, jnp.eye(2), TARGET, *START, lr_a=0.03 / 1e9, lr_b=0.03, steps=20, **other
    )
    same(path, exact, 1e-11)
    # An example seen twice: a covariance without an inverse.
    twice = jnp.ones((2, 2))
    rows = START[0][:, :1] * jnp.ones((1, 2))
    path = width_proxy(
        KEYS[0],
        twice,
        100.0,
        TARGET,
        rows,
        START[1],
        proxy_width=4,
        lr_a=1e-3,
        lr_b=0.1,
        optimizer="sgd",
        steps=9,
    )
    exact = adapter_dynamics(100 * twice, jnp.eye(2), TARGET, rows, START[1], lr_a=1e-3, lr_b=0.1, steps=9)
    same(path, exact, 1e-11)


@pytest.mark.parametrize("optimizer", ["adam", "sign"])
def test_the_proxy_errs_by_one_over_the_root_of_its_width(optimizer):
    width, keys = 1e5, jax.random.split(KEYS[1], 24)
    if optimizer == "sign":
        expected = sign_dynamics(SIGMA, width, TARGET, *START, lr_a=0.03 / width, lr_b=0.03, steps=20).loss
    else:
        # Weights of a wide layer of plain Gaussian inputs.
        inputs = jax.random.normal(KEYS[2], (int(width), 2)) @ jnp.linalg.cholesky(SIGMA).T
        weights = START[0] @ jnp.linalg.solve(inputs.T @ inputs, inputs.T)
        start = START[1] @ weights @ inputs
        expected = dense_adapter_training(
            KEYS[3],
            inputs,
            jnp.eye(2),
            TARGET,
            base=start,
            rank=2,
            init="both",
            A0=weights,
            B0=START[1],
            lr_a=0.03 / width,
            lr_b=0.03,
            optimizer="adam",
            steps=20,
        ).loss
    errors = []
    for narrow in (32, 512):
        losses = jax.vmap(lambda key, J=narrow: proxy(key, width, J, optimizer=optimizer).loss)(keys)
        errors.append(float(jnp.sqrt(((losses - expected[None]) ** 2).mean(0).max())))
    # Sixteen times the width: a quarter of the error.
    assert 2.5 < errors[0] / errors[1] < 6.5 and errors[1] < 2e-3


def test_the_proxy_is_a_kernel():
    def run(covariance, target, P0, Q0):
        return width_proxy(
            jax.random.key(0),
            covariance,
            100.0,
            target,
            P0,
            Q0,
            proxy_width=6,
            lr_a=1e-3,
            lr_b=0.1,
            optimizer="sgd",
            steps=3,
        )

    check_kernel(run, SIGMA, TARGET, *START, points=[(SIGMA[::-1, ::-1], -TARGET, *START)])


def two_numbers(f, y):
    return f - y


@pytest.mark.parametrize(
    ("function", "arguments", "bad"),
    [
        (
            adapter_dynamics,
            {"input_gram": K_IN, "output_gram": K_OUT, "target": ONE_HOT, "P0": P0, "Q0": Q0, "steps": 2},
            [
                {"loss": two_numbers},
                {"loss": "squared"},
                {"clip_norm": 0.0},
                {"clip_norm": jnp.ones(2)},
                {"base": BASE[:2]},
                {"test_gram": None, "test_base": BASE},
            ],
        ),
        (
            dense_adapter_training,
            {"key": KEYS[0], "X": X, "W_out": W, "Y": ONE_HOT, "rank": 2, "init": "a", "steps": 2},
            [{"loss": two_numbers}, {"clip_norm": -1.0}, {"base": BASE.T}],
        ),
        (
            width_proxy,
            {
                "key": KEYS[0],
                "covariance": SIGMA,
                "width": 10.0,
                "target": TARGET,
                "P0": START[0],
                "Q0": START[1],
                "proxy_width": 4,
                "optimizer": "adam",
                "steps": 2,
            },
            [
                {"covariance": -SIGMA},
                {"proxy_width": 1},
                {"width": 0.0},
                {"optimizer": "lion"},
                {"loss": two_numbers},
                {"b2": 1.0},
                {"P0": START[0][:, :1]},
                {"record_every": 3},
            ],
        ),
    ],
)
def test_bad_input_is_named(function, arguments, bad):
    for changes in bad:
        with pytest.raises(ValueError, match=rf"\b{next(iter(changes))}\b"):
            function.__wrapped__(**{"lr_a": 0.1, "lr_b": 0.1} | arguments | changes)
