"""Special starts: the law of orthonormal weights, twins that train alike, maps that stay what they were."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp

from tests.check_kernel import check_kernel
from theorysim.numerics.low_rank import (
    adapter_dynamics,
    dense_adapter_training,
    orthogonal_start,
    sample_start,
    scaled_variance,
    svd_start,
)

KEYS = jax.random.split(jax.random.key(0), 4_000)


def statistics(P):
    """One entry, an inner product of rows, the least and the largest singular value."""
    values = jnp.linalg.svd(P, compute_uv=False)
    numbers = P[..., 0, -1], (P[..., 0, :] * P[..., -1, :]).sum(-1), values[..., -1], values[..., 0]
    # Singular values of a whole orthogonal matrix are known, but for their last digits.
    return jnp.stack(numbers, -1).round(9)


# Many inputs beside the rows, fewer than the rows, none; more rows than examples.
@pytest.mark.parametrize(("n", "r", "N"), [(9, 3, 4), (6, 3, 4), (4, 3, 4), (4, 4, 2)])
def test_orthogonal_starts_have_the_law_of_orthonormal_weights(n, r, N):
    X = jax.random.normal(jax.random.key(n), (n, N))

    def weights(key):
        turned, upper = jnp.linalg.qr(jax.random.normal(key, (n, r)))
        return (0.5 * n**0.5 * turned * jnp.sign(jnp.diagonal(upper))[None]).T @ X

    def drawn(key):
        both = orthogonal_start(
            key, X.T @ X, X.T @ X, rank=r, init="both", width_in=n, width_out=n, var_a=0.25, var_b=0.25
        )
        return both.P0, both.Q0.T

    dense = statistics(jax.vmap(weights)(jax.random.split(jax.random.key(1), len(KEYS))))
    for P in jax.vmap(drawn)(KEYS):
        rows = np.asarray(P).reshape(-1, N)
        expected = np.asarray(0.25 * X.T @ X)
        error = np.sqrt((np.outer(expected.diagonal(), expected.diagonal()) + expected**2) / len(KEYS))
        assert (np.abs(rows.T @ rows / len(rows) - expected) < 4.5 * error).all()
        tests: Any = [ks_2samp(*pair) for pair in zip(statistics(P).T, dense.T, strict=True)]
        assert min(test.pvalue for test in tests) > 1e-4


def test_orthogonal_rows_of_a_wide_layer_are_gaussian():
    def largest(P):
        return jnp.linalg.svd(P, compute_uv=False)[..., 0]

    gram = 1e9 * jnp.eye(3)
    orthogonal = jax.vmap(partial(orthogonal_start, rank=2, init="a", width_in=10**9), (0, None, None))
    gaussian = jax.vmap(partial(sample_start, rank=2, init="a", var_a=1e-9), (0, None, None))
    others = jax.random.split(jax.random.key(1), len(KEYS))
    test: Any = ks_2samp(
        largest(orthogonal(KEYS, gram, jnp.eye(1)).P0), largest(gaussian(others, gram, jnp.eye(1)).P0)
    )
    assert test.pvalue > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_larger_a_makes_one_rate_of_two(optimizer):
    n, a, b = 64, 0.1, 0.4
    X, Y = jax.random.normal(jax.random.key(2), (n, 3)), jnp.cos(jnp.arange(6.0)).reshape(2, 3)
    train = partial(
        dense_adapter_training,
        jax.random.key(3),
        X,
        jnp.eye(2),
        Y,
        rank=2,
        init="a",
        steps=12,
        optimizer=optimizer,
    )
    two = train(lr_a=a / n, lr_b=b, var_a=1 / n)
    rate, extra = (a * b / n) ** 0.5, (b / a) ** (0.5 if optimizer == "sgd" else 1)
    one = train(lr_a=rate, lr_b=rate, var_a=scaled_variance(n, optimizer=optimizer) * extra)
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-9)


def test_the_leading_part_of_a_map_moves_into_the_factors():
    key_w, key_x, key_o = jax.random.split(jax.random.key(4), 3)
    W_0, X = jax.random.normal(key_w, (5, 7)), jax.random.normal(key_x, (7, 3))
    W_out, s = jax.random.normal(key_o, (2, 5)), 0.5
    split = svd_start(W_0, X, W_out, rank=2, scale=s)
    np.testing.assert_allclose(split.base + s * split.B @ split.A, W_0, rtol=0, atol=1e-13)
    values = np.linalg.svd(W_0, compute_uv=False)
    np.testing.assert_allclose(np.linalg.svd(split.base, compute_uv=False)[:3], values[2:], rtol=1e-12)
    even = jnp.diag(values[:2] / s)
    np.testing.assert_allclose(split.A @ split.A.T, even, rtol=0, atol=1e-12)
    np.testing.assert_allclose(split.B.T @ split.B, even, rtol=0, atol=1e-12)
    # The engine from there is the training of the weights, the base having given up what they hold.
    path = adapter_dynamics(
        X.T @ X,
        W_out @ W_out.T,
        jnp.ones((2, 3)) + s * split.Q0 @ split.P0,
        split.P0,
        split.Q0,
        lr_a=0.01,
        lr_b=0.01,
        scale=s,
        steps=5,
    )
    dense = dense_adapter_training(
        key_w,
        X,
        W_out,
        jnp.ones((2, 3)),
        rank=2,
        init="both",
        A0=split.A,
        B0=split.B,
        lr_a=0.01,
        lr_b=0.01,
        scale=s,
        steps=5,
    )
    np.testing.assert_allclose(path.loss, dense.loss, rtol=1e-12)


GRAM = jnp.array([[2.0, 0.5], [0.5, 1.0]])
WIDTHS: dict[str, Any] = {"width_in": 5, "width_out": 6}
KERNELS = {
    "orthogonal_start": (
        orthogonal_start,
        (GRAM, jnp.eye(3)),
        {
            "points": [(GRAM[::-1, ::-1], 2 * jnp.eye(3))],
            "static": {"rank": 2, "init": "both", "var_b": 0.7, **WIDTHS},
            "key": jax.random.key(0),
            "wrt": [0],
            "bad": [
                {"rank": 0},
                {"init": "c"},
                {"width_in": None},
                {"width_in": 1},
                {"width_in": 5.5},
                {"width_out": 2},
                {"input_gram": -GRAM},
            ],
        },
    ),
    "svd_start": (
        svd_start,
        (
            jnp.array([[2.0, 0.3, -0.4], [0.1, 1.0, 0.5], [0.3, -0.2, 0.4]]),
            jnp.array([[1.0, 0.2], [0.4, -0.7], [0.9, 0.1]]),
            jnp.array([[0.5, -0.3, 0.8], [0.1, 0.6, 0.2]]),
        ),
        {
            "static": {"rank": 2, "scale": 0.5},
            "bad": [
                {"rank": 4},
                {"scale": 0.0},
                {"base": jnp.ones((2, 3))},
                {"X": jnp.ones((2, 2))},
                {"W_out": jnp.ones(3)},
            ],
        },
    ),
    "scaled_variance": (
        scaled_variance,
        (jnp.array([4.0, 100.0]),),
        {"static": {"optimizer": "sgd"}, "bad": [{"width": 0.0}, {"optimizer": "lion"}]},
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name):
    function, arguments, options = KERNELS[name]
    check_kernel(function, *arguments, **options)
