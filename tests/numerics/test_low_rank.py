"""Adapter dynamics: reference values, the weights themselves, symmetries, and every kernel's properties."""

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
    adapter_dynamics_single,
    dense_adapter_training,
    minimum_sharpness,
    sample_start,
    sharpness,
    sign_dynamics,
)


def wave(function, i_rate, j_rate, rows, columns):
    i, j = np.arange(rows)[:, None], np.arange(columns)[None]
    return jnp.asarray(function(1.0 + i_rate * i + j_rate * j))


n, m, N, k, r, s = 12, 9, 3, 2, 2, 2.0
X, Y = wave(np.sin, 3, 7, n, N), wave(np.cos, 2, 5, k, N)
W = wave(np.sin, 5, 2, k, m) / np.sqrt(m)
A0, B0 = wave(np.sin, 1, 4, r, n) / np.sqrt(n), wave(np.sin, 2, 3, m, r) / np.sqrt(r)
K_IN, K_OUT, P0, Q0 = X.T @ X, W @ W.T, A0 @ X, W @ B0
RATES: dict[str, Any] = {"lr_a": 0.025, "lr_b": 0.3, "scale": s}
STARTS: dict[str, tuple[Any, Any]] = {"a": (P0, 0 * Q0), "b": (0 * P0, Q0), "both": (P0, Q0)}
train = partial(adapter_dynamics, K_IN, K_OUT, Y, **RATES)


def given(init) -> dict[str, Any]:
    return ({} if init == "b" else {"A0": A0}) | ({} if init == "a" else {"B0": B0})


def dense(init, **other):
    return dense_adapter_training(
        jax.random.key(0), X, W, Y, rank=r, init=init, **given(init), **RATES, **other
    )


def same(path, other, rtol=1e-12):
    for name, x in path._asdict().items():
        y = getattr(other, name)
        if x is not None and y is not None:
            np.testing.assert_allclose(x, y, rtol=0, atol=rtol * float(jnp.abs(y).max()), err_msg=name)


@pytest.mark.parametrize(
    ("init", "other", "losses", "deltas"),
    [
        (
            "a",
            {},
            (0.4810639334936913, 0.2611173135193339, 0.032535248105150065),
            (0.02512748, 0.04769521, 0.00203869),
        ),
        (
            "b",
            {},
            (0.41701198289338964, 0.3713491840904714, 0.03430964737891933),
            (0.0102625, 0.00417779, 0.0001758),
        ),
        ("a", {"momentum": 0.9}, (0.4810639334936913, 0.11204206408237904, 0.03319987757995042), None),
        ("a", {"weight_decay": 0.01}, (0.48107015327559693, 0.263912973131691, 0.03271626961169334), None),
    ],
)
def test_reference_values_of_gradient_descent(init, other, losses, deltas):
    path = train(*STARTS[init], steps=50, **other)
    np.testing.assert_allclose(path.loss[jnp.array([1, 10, 50])], losses, rtol=0, atol=1e-10)
    if deltas:
        np.testing.assert_allclose(path.deltas[10], deltas, rtol=0, atol=1e-6)
    if init == "a":
        np.testing.assert_allclose(path.loss[0], 0.5064313687038612, rtol=0, atol=1e-10)
        if not other:
            np.testing.assert_allclose(path.feature_rms[50], 0.4730327618480143, rtol=0, atol=1e-10)
    same(path, dense(init, steps=50, **other))


SINGLE: dict[str, Any] = {"lr_a": 0.005, "lr_b": 0.05}


@pytest.mark.parametrize(
    ("init", "optimizer", "decay", "losses", "atol"),
    [
        (
            "a",
            "sign",
            0.0,
            (0.1194448781755839, 0.09122811985585552, 0.003194691949324497, 0.003194691949324497),
            1e-10,
        ),
        (
            "a",
            "adam",
            0.0,
            (0.1194448781755839, 0.09242435619772954, 0.02130180509788151, 3.24948143084779e-05),
            1e-8,
        ),
        (
            "b",
            "adam",
            0.1,
            (0.11753800575011752, 0.08935645217798904, 0.019775046954295564, 4.036110665717991e-06),
            1e-8,
        ),
    ],
)
def test_reference_values_of_adam_and_signs(init, optimizer, decay, losses, atol):
    x, w, y = X[:, :1], W[:1], Y[:1, :1]
    start = (P0[:, 0], 0 * Q0[0]) if init == "a" else (0 * P0[:, 0], Q0[0])
    other: dict[str, Any] = {"optimizer": optimizer, "weight_decay": decay, "steps": 40, **SINGLE}
    path = adapter_dynamics_single(jnp.abs(x).sum(), jnp.abs(w).sum(), y[0, 0], *start, **other)
    np.testing.assert_allclose(path.loss[jnp.array([1, 2, 10, 40])], losses, rtol=0, atol=atol)
    same(
        path,
        dense_adapter_training(jax.random.key(0), x, w, y, rank=r, init=init, **given(init), **other),
        1e-9,
    )


def test_test_columns_batches_and_sparse_records():
    key, width = jax.random.key(1), slice(0, 2)
    full = train(*STARTS["both"], steps=6)
    # The third example as a test column moves as the weights say.
    part = adapter_dynamics(
        K_IN[width, width],
        K_OUT,
        Y[:, width],
        P0[:, width],
        Q0,
        test_gram=K_IN[width],
        test_P0=P0,
        test_target=Y,
        steps=6,
        **RATES,
    )
    assert part.test_loss is not None and part.grad_norm_a is not None and part.grad_norm_b is not None
    A, B = A0, B0
    for t in range(7):
        U = s * W @ B @ A @ X - Y
        np.testing.assert_allclose(part.test_loss[t], (U**2).sum() / 6, rtol=1e-12)
        U = U[:, width]
        g_A, g_B = s / 2 * (W @ B).T @ U @ X[:, width].T, s / 2 * W.T @ U @ (A @ X[:, width]).T
        np.testing.assert_allclose(part.grad_norm_a[t], jnp.linalg.norm(g_A), rtol=1e-12)
        np.testing.assert_allclose(part.grad_norm_b[t], jnp.linalg.norm(g_B), rtol=1e-12)
        A, B = A - RATES["lr_a"] * g_A, B - RATES["lr_b"] * g_B
    sparse = train(*STARTS["both"], steps=6, record_every=3)
    same(sparse, jax.tree.map(lambda x: x[::3], full))
    # A batch of all examples, in any order, is no batch; a smaller one moves by its own columns.
    same(train(*STARTS["both"], steps=6, batch_size=N, key=key), full)
    batch = train(*STARTS["both"], steps=1, batch_size=1, key=key)
    moves = []
    for j in range(N):
        push = s * Q0.T @ (s * Q0 @ P0 - Y)[:, j : j + 1]
        moves.append(P0 - RATES["lr_a"] * push @ K_IN[j : j + 1])
    assert min(float(jnp.abs(batch.P[1] - move).max()) for move in moves) < 1e-14


@pytest.mark.parametrize(("optimizer", "power"), [("sgd", 2), ("adam", 1)])
def test_a_larger_a_with_a_smaller_b_is_another_pair_of_rates(optimizer, power):
    c = 3.0
    path = dense("both", steps=8, optimizer=optimizer)
    twin = dense_adapter_training(
        jax.random.key(0),
        X,
        W,
        Y,
        rank=r,
        init="both",
        A0=c * A0,
        B0=B0 / c,
        steps=8,
        optimizer=optimizer,
        lr_a=RATES["lr_a"] * c**power,
        lr_b=RATES["lr_b"] / c**power,
        scale=s,
    )
    np.testing.assert_allclose(twin.loss, path.loss, rtol=1e-11)


def test_scale_and_transposition_are_symmetries():
    path = train(*STARTS["b"], steps=8)
    other = adapter_dynamics(K_IN, K_OUT, Y, 0 * P0, s * Q0, lr_a=0.025, lr_b=0.3 * s**2, steps=8)
    np.testing.assert_allclose(other.loss, path.loss, rtol=1e-12)
    # The loss divides by the columns: N = 3 one way, k = 2 the other.
    turned = adapter_dynamics(
        K_OUT, K_IN, Y.T, Q0.T, 0 * P0.T, lr_a=0.3 * k / N, lr_b=0.025 * k / N, scale=s, steps=8
    )
    np.testing.assert_allclose(turned.loss * k / N, path.loss, rtol=1e-12)


def test_the_width_drops_out_when_the_rate_of_a_follows_it():
    paths = [
        adapter_dynamics(width * K_IN, K_OUT, Y, P0, 0 * Q0, lr_a=0.02 / width, lr_b=0.3, scale=s, steps=20)
        for width in (1.0, 2.0**10, 2.0**30)
    ]
    np.testing.assert_allclose(paths[1].loss, paths[0].loss, rtol=1e-12)
    np.testing.assert_allclose(paths[2].loss, paths[0].loss, rtol=1e-12)


def test_what_diverges_is_nan_from_then_on_and_poisons_no_neighbour():
    def run(lr):
        return adapter_dynamics(K_IN, K_OUT, Y, P0, 0 * Q0, lr_a=lr, lr_b=0.3, scale=s, steps=60)

    paths = jax.vmap(run)(jnp.array([0.025, 50.0]))
    same(jax.tree.map(lambda x: x[0], paths), train(*STARTS["a"], steps=60))
    loss = np.asarray(paths.loss[1])
    first = np.isnan(loss).argmax()
    assert 0 < first < 20 and np.isnan(loss[first:]).all()
    assert np.isnan(paths.P[1, first:]).all() and not np.isinf(loss).any()


def test_signs_approach_their_limit_with_the_width():
    covariance, target = jnp.array([[1.0, 0.3], [0.3, 1.0]]), jnp.array([[1.0, -0.4], [0.3, 0.8]])
    factor = jnp.linalg.cholesky(covariance)
    errors = []
    for width in (1_000, 100_000):
        x = jax.random.normal(jax.random.key(3), (width, 2)) @ factor.T
        path = dense_adapter_training(
            jax.random.key(4),
            x,
            jnp.eye(2),
            target,
            rank=2,
            init="a",
            lr_a=0.03 / width,
            lr_b=0.03,
            optimizer="sign",
            steps=20,
        )
        limit = sign_dynamics(
            covariance, width, target, path.P[0], path.Q[0], lr_a=0.03 / width, lr_b=0.03, steps=20
        )
        errors.append(float(jnp.abs(path.loss - limit.loss).max()))
    assert errors[0] < 2e-2 and errors[1] < 2e-3 and errors[1] < errors[0]


def test_the_start_has_the_law_of_the_weights():
    keys = jax.random.split(jax.random.key(5), 4_000)
    both = jax.vmap(lambda key: sample_start(key, K_IN, K_OUT, rank=r, init="both", var_a=1 / n, var_b=0.7))(
        keys
    )
    for x, gram, variance in ((both.P0, K_IN, 1 / n), (both.Q0.swapaxes(1, 2), K_OUT, 0.7)):
        rows = np.asarray(x).reshape(-1, len(gram))
        expected = variance * np.asarray(gram)
        error = np.sqrt((np.outer(expected.diagonal(), expected.diagonal()) + expected**2) / len(rows))
        assert (np.abs(rows.T @ rows / len(rows) - expected) < 4.5 * error).all()
    # And so has the loss after training, against weights drawn and trained.
    loss = jax.jit(jax.vmap(lambda P, Q: train(P, 0 * Q, steps=5, record_every=5).loss[-1]))(*both)
    drawn = jax.jit(
        jax.vmap(
            lambda key: dense_adapter_training(
                key, X, W, Y, rank=r, init="a", steps=5, record_every=5, **RATES
            ).loss[-1]
        )
    )(keys)
    test: Any = ks_2samp(loss, drawn)
    assert test.pvalue > 1e-3


def test_the_base_takes_over_what_two_random_factors_put_out():
    path = dense("both", steps=5)
    same(path, adapter_dynamics(K_IN, K_OUT, Y + s * Q0 @ P0, P0, Q0, steps=5, **RATES))
    np.testing.assert_allclose(path.loss[0], (Y**2).sum() / (2 * N), rtol=1e-12)


UNSCALED = W @ (B0 * np.sqrt(r))


@pytest.mark.parametrize(
    ("P", "Q", "expected"),
    [
        (P0, 0 * Q0, 0.06358689070833107),
        (0 * P0, UNSCALED, 2.990175432229867),
        (P0, UNSCALED, 3.041713688223008),
    ],
)
def test_reference_values_of_the_sharpness(P, Q, expected):
    np.testing.assert_allclose(sharpness(P, Q, K_IN, K_OUT, **RATES), expected, rtol=0, atol=1e-10)


def test_the_least_sharpness():
    np.testing.assert_allclose(
        minimum_sharpness(K_IN, K_OUT, Y, **RATES), 0.17084440920831667, rtol=0, atol=1e-10
    )
    # Any fit of the targets lies above it; one that is balanced attains it for isotropic Grams.
    eye_in, eye_out = 5 * jnp.eye(N), jnp.eye(k)
    left, values, right = jnp.linalg.svd(Y, full_matrices=False)
    bound = minimum_sharpness(eye_in, eye_out, Y, **RATES)
    ratio = (RATES["lr_a"] * 5 / RATES["lr_b"]) ** 0.25
    Q, P = left * jnp.sqrt(values / s)[None], jnp.sqrt(values / s)[:, None] * right
    np.testing.assert_allclose(sharpness(ratio * P, Q / ratio, eye_in, eye_out, **RATES), bound, rtol=1e-12)
    mixing = jnp.array([[1.0, 0.4], [-0.3, 0.8]])
    for c in (0.3, 1.0, 2.0):
        fit = jnp.linalg.inv(mixing) @ P / c, c * Q @ mixing
        assert sharpness(*fit, K_IN, K_OUT, **RATES) > minimum_sharpness(K_IN, K_OUT, Y, **RATES)


def test_power_iteration_finds_what_all_eigenvalues_give():
    x = jax.random.normal(jax.random.key(6), (60, 260))
    gram, P, Q = x.T @ x / 60, x[:2], jnp.array([[1.0, 0.2], [0.3, -0.5]])
    found = sharpness(P, Q, gram, jnp.eye(2), lr_a=0.1, lr_b=0.2)
    whole = (0.1 * np.kron(Q @ Q.T, gram) + 0.2 * np.kron(np.eye(2), P.T @ P)) / 260
    np.testing.assert_allclose(found, np.linalg.eigvalsh(whole)[-1], rtol=1e-10)


NAN = P0.at[0, 0].set(jnp.nan)
BAD_GRAMS = [
    {"input_gram": jnp.ones((2, 3))},
    {"input_gram": K_IN.at[0, 1].add(1.0)},
    {"input_gram": K_IN - 30 * jnp.eye(N)},
    {"output_gram": jnp.full((k, k), jnp.inf)},
    {"lr_a": -0.1},
    {"lr_b": jnp.ones(2)},
    {"scale": 0.0},
]
BAD_STARTS = [
    {"target": Y[:, :2]},
    {"target": Y[0]},
    {"P0": NAN},
    {"P0": P0[:, :2]},
    {"Q0": Q0[:, :1]},
    {"steps": 0},
]
ELSE = K_IN[::-1, ::-1], K_OUT[::-1, ::-1]
KERNELS = {
    "adapter_dynamics": (
        partial(adapter_dynamics, lr_a=0.02, lr_b=0.3, momentum=0.5, weight_decay=0.1, steps=4),
        (K_IN, K_OUT, Y, P0, Q0),
        {"points": [(*ELSE, 2 * Y, -P0, Q0 / 2)]},
    ),
    "adapter_dynamics in its rates": (
        lambda lr_a, lr_b: adapter_dynamics(
            *(x.astype(lr_a.dtype) for x in (K_IN, K_OUT, Y, P0, Q0)), lr_a=lr_a, lr_b=lr_b, steps=4
        ),
        (jnp.array(0.02), jnp.array(0.3)),
        {"points": [(jnp.array(0.01), jnp.array(0.2))]},
    ),
    "adapter_dynamics_single": (
        adapter_dynamics_single,
        (jnp.array(9.0), jnp.array(1.5), jnp.array(0.8), jnp.array([0.5, -0.7]), jnp.array([0.2, 0.1])),
        {
            "static": {"lr_a": 0.01, "lr_b": 0.1, "optimizer": "adam", "steps": 4},
            "bad": [
                {"input_l1": 0.0},
                {"output_l1": -1.0},
                {"target": [1.0, 2.0]},
                {"p0": jnp.ones((1, 2))},
                {"q0": jnp.ones(3)},
                {"lr_a": jnp.nan},
                {"optimizer": "sgd"},
                {"b1": 1.0},
                {"weight_decay": -1.0},
                {"steps": 0},
            ],
        },
    ),
    "sign_dynamics": (
        sign_dynamics,
        (K_IN, jnp.array(100.0), Y, P0, 0 * Q0 + 0.1),
        {
            "static": {"lr_a": 1e-4, "lr_b": 0.01, "steps": 3},
            "smooth": False,
            "points": [(K_IN, jnp.array(50.0), Y, 2 * P0, 0 * Q0 + 0.2)],
            "bad": [{"covariance": -K_IN}, {"width": 0.0}, {"lr_a": -1.0}, *BAD_STARTS],
        },
    ),
    "sharpness": (
        partial(sharpness, lr_a=0.02, lr_b=0.3),
        (P0, Q0, K_IN, K_OUT),
        {"points": [(-P0, Q0 / 2, *ELSE)]},
    ),
    "minimum_sharpness": (
        partial(minimum_sharpness, lr_a=0.02, lr_b=0.3),
        (K_IN, K_OUT, Y),
        {"points": [(*ELSE, 2 * Y)]},
    ),
    "sample_start": (
        partial(sample_start, rank=2, init="both", var_b=0.7),
        (K_IN, K_OUT, jnp.array(0.1)),
        {
            "points": [(*ELSE, jnp.array(0.2))],
            "static": {"rank": 2, "init": "both"},
            "key": jax.random.key(0),
            "wrt": [2],
        },
    ),
    "dense_adapter_training": (
        lambda X, W_out, Y: dense_adapter_training(
            jax.random.key(0), X, W_out, Y, rank=2, init="a", A0=A0, momentum=0.5, steps=3, **RATES
        ),
        (X, W, Y),
        {},
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name):
    function, arguments, options = KERNELS[name]
    check_kernel(function, *arguments, **options)


@pytest.mark.parametrize(
    ("function", "arguments", "bad"),
    [
        (
            adapter_dynamics,
            {"input_gram": K_IN, "output_gram": K_OUT, "target": Y, "P0": P0, "Q0": Q0, "steps": 2, **RATES},
            [
                *BAD_GRAMS,
                *BAD_STARTS,
                {"momentum": 1.0},
                {"weight_decay": -1.0},
                {"record_every": 3},
                {"batch_size": 4},
                {"key": None, "batch_size": 2},
                {"test_P0": None, "test_gram": K_IN},
                {"test_P0": P0[:, :2], "test_gram": K_IN, "test_target": Y},
            ],
        ),
        (
            sharpness,
            {"P": P0, "Q": Q0, "input_gram": K_IN, "output_gram": K_OUT, **RATES},
            [*BAD_GRAMS, {"P": P0[:, :2]}, {"Q": Q0[:, :1]}],
        ),
        (
            minimum_sharpness,
            {"input_gram": K_IN, "output_gram": K_OUT, "target": Y, **RATES},
            [*BAD_GRAMS, {"target": Y.T}],
        ),
        (
            sample_start,
            {
                "key": jax.random.key(0),
                "input_gram": K_IN,
                "output_gram": K_OUT,
                "rank": 2,
                "init": "a",
                "var_a": 1.0,
            },
            [
                {"rank": 0},
                {"init": "c"},
                {"var_a": None},
                {"var_a": -1.0},
                {"var_b": -1.0},
                {"input_gram": -K_IN},
            ],
        ),
        (
            dense_adapter_training,
            {
                "key": jax.random.key(0),
                "X": X,
                "W_out": W,
                "Y": Y,
                "rank": 2,
                "init": "a",
                "steps": 2,
                **RATES,
            },
            [
                {"Y": Y.T},
                {"X": X[0]},
                {"rank": 0},
                {"rank": 10},
                {"init": "c"},
                {"optimizer": "lion"},
                {"A0": A0.T},
                {"B0": B0},
                {"b2": 1.0},
                {"epsilon": -1.0},
                {"record_every": 3},
            ],
        ),
    ],
)
def test_bad_input_is_named(function, arguments, bad):
    for changes in bad:
        with pytest.raises((ValueError, TypeError), match=rf"\b{next(iter(changes))}\b") as error:
            getattr(function, "__wrapped__", function)(**arguments | changes)
        assert error.type is ValueError, (changes, error.value)
