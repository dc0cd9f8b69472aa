"""Gram matrices: the methods agree, blocks change nothing, edges are exact, gradients are right."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.width_depth import Kernels, covariance_recursion, kernels, pair_kernels, schedule

ALL = ("nngp", "ntk", "grad")
ALPHA2 = schedule("uniform", 30)
# Two equal rows, one opposite to another, one of norm 0.
_ROWS = np.random.default_rng(0).normal(size=(9, 4))
_ROWS[3], _ROWS[5], _ROWS[7] = _ROWS[2], 0, -_ROWS[8]
X = jnp.asarray(_ROWS)


def close(a: Kernels, b: Kernels, rtol: float) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * float(jnp.abs(other).max()))


@pytest.mark.parametrize("phi", ["relu", "abs", "linear", 0.2])
def test_chebyshev_equals_scan_equals_pairs(phi):
    table = kernels(X, alpha2=ALPHA2, phi=phi, get=ALL)
    scan = kernels(X, alpha2=ALPHA2, phi=phi, get=ALL, method="scan")
    close(table, scan, 1e-11)
    K0 = X @ X.T / 4
    norms = jnp.broadcast_to(jnp.diag(K0)[:, None], K0.shape)
    pairs = pair_kernels(jnp.stack([norms, norms.T, K0], axis=-1), ALPHA2, phi)
    close(scan, pairs._replace(nngp=pairs.nngp[..., 2]), 1e-7)


def test_the_recursion_on_a_gram_matrix_is_the_nngp():
    K0 = X @ X.T / 4
    path = covariance_recursion(K0, ALPHA2, "relu", return_path=True)
    assert path.shape == (31, 9, 9)
    np.testing.assert_allclose(path[0], K0)
    np.testing.assert_allclose(path[-1], kernels(X, alpha2=ALPHA2, phi="relu").nngp, atol=1e-10)
    np.testing.assert_array_equal(path[:, 2, 3], path[:, 2, 2])


@pytest.mark.parametrize(("method", "phi"), [("chebyshev", "relu"), ("scan", "relu"), ("scan", "erf")])
def test_blocks_of_rows_change_nothing(method: Any, phi: Any):
    # No input meets itself: another order of a sum moves its angle from 0 to the root of the rounding.
    other = X[:5, ::-1]
    whole = kernels(X, other, alpha2=ALPHA2, phi=phi, get=ALL, method=method)
    blocks = kernels(X, other, alpha2=ALPHA2, phi=phi, get=ALL, method=method, rows=4)
    close(blocks, whole, 1e-14)
    square = kernels(X, alpha2=ALPHA2, phi=phi, get=ALL, method=method, rows=2)
    close(square, kernels(X, alpha2=ALPHA2, phi=phi, get=ALL, method=method), 1e-14)


@pytest.mark.parametrize("phi", ["erf", "gelu", "tanh"])
def test_inputs_of_one_norm_take_the_polynomial_in_the_correlation(phi):
    x = X[jnp.array([0, 1, 2, 3, 8])]
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    table = kernels(x, alpha2=ALPHA2, phi=phi, get=ALL)
    forced = kernels(x, alpha2=ALPHA2, phi=phi, get=ALL, method="chebyshev", nodes=40)
    close(table, forced, 1e-12)
    close(table, kernels(x, alpha2=ALPHA2, phi=phi, get=ALL, method="scan"), 1e-11)


def test_equal_inputs_equal_rows_and_zero_inputs_zero_rows():
    cases: Any = (("relu", "chebyshev"), ("relu", "scan"), ("erf", "scan"))
    for phi, method in cases:
        K = kernels(X, alpha2=ALPHA2, phi=phi, get=ALL, method=method)
        for matrix in K:
            assert jnp.isfinite(matrix).all()
            np.testing.assert_allclose(matrix[2], matrix[3], rtol=1e-6, atol=1e-12)
        assert (K.nngp[5] == 0).all() and (K.ntk[5] == 0).all()


def test_the_diagonal_of_a_homogeneous_network_is_exact():
    K = kernels(X[:2], alpha2=ALPHA2, phi="relu", get=ALL)
    q0, growth = jnp.sum(X[:2] ** 2, axis=1) / 4, (1 + 1 / 60) ** 30
    np.testing.assert_allclose(jnp.diag(K.nngp), q0 * growth, rtol=1e-14)
    # T = q_0 d(growth)/d(log of the scale) + q_0 growth: each layer adds x/2, as does the input.
    np.testing.assert_allclose(jnp.diag(K.ntk), q0 * growth * (2 + 30 / 60 / (1 + 1 / 60)), rtol=1e-13)
    np.testing.assert_allclose(jnp.diag(K.grad), growth, rtol=1e-14)


def test_depth_zero_is_the_input():
    for phi in ("relu", "erf"):
        K = kernels(X, alpha2=jnp.zeros(0), phi=phi, get=ALL)
        np.testing.assert_allclose(K.nngp, X @ X.T / 4, atol=1e-13)
        np.testing.assert_allclose(K.ntk, 2 * K.nngp, atol=1e-13)
        np.testing.assert_allclose(K.grad, 1, atol=1e-13)
        frozen = kernels(X, alpha2=jnp.zeros(0), phi=phi, get="ntk", train_input=False)
        np.testing.assert_allclose(frozen.ntk, K.nngp, atol=1e-13)
        assert frozen.nngp is None and frozen.grad is None


@pytest.mark.parametrize("method", ["chebyshev", "scan"])
def test_gradients_in_the_inputs_are_finite_and_exact_where_inputs_coincide(method: Any):
    """d nngp / d b at b = a is g_0 a/d plus the change of the norm: half the gradient of the diagonal."""

    def nngp(b, a):
        return kernels(a[None], b[None], alpha2=ALPHA2, phi="relu", get="nngp", method=method, nodes=20).nngp[
            0, 0
        ]

    a = X[0]
    slope = jax.grad(nngp)(a, a)
    np.testing.assert_allclose(slope, jax.grad(lambda a: nngp(a, a))(a) / 2, rtol=1e-12)
    np.testing.assert_allclose(slope, (1 + 1 / 60) ** 30 * a / 4, rtol=1e-12)

    def total(x):
        return sum(k.sum() for k in kernels(x, alpha2=ALPHA2, phi="relu", method=method, nodes=20)[:2])

    assert jnp.isfinite(jax.jit(jax.grad(total))(X)).all()


def test_the_gradient_covariance_is_the_derivative_of_the_nngp():
    q0 = jnp.array([1.0, 2.0, 0.4])
    pair = pair_kernels(q0, ALPHA2, "gelu")
    by_autodiff = jax.grad(lambda q: pair_kernels(q, ALPHA2, "gelu").nngp[2])(q0)[2]
    np.testing.assert_allclose(by_autodiff, pair.grad, rtol=1e-12)


def test_kernels_are_differentiable_in_the_scales():
    def trace(alpha2, method):
        return kernels(X[:2], alpha2=alpha2, phi="relu", method=method, nodes=24).ntk[0, 1]

    table, scan = (jax.grad(trace)(ALPHA2, method) for method in ("chebyshev", "scan"))
    np.testing.assert_allclose(table, scan, rtol=1e-6)


def test_single_precision_is_close():
    for phi in ("relu", "erf"):
        narrow = kernels(X.astype(jnp.float32), alpha2=ALPHA2.astype(jnp.float32), phi=phi, get=ALL)
        wide = kernels(X, alpha2=ALPHA2, phi=phi, get=ALL)
        for a, b in zip(narrow, wide, strict=True):
            assert a.dtype == jnp.float32
            # Rows 2 and 3 are equal: to each other their angle carries the rounding of one product.
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * float(jnp.abs(b).max()))
            distinct = jnp.array([0, 1, 2, 4, 6, 7, 8])
            rows = (distinct[:, None], distinct[None])
            np.testing.assert_allclose(a[rows], b[rows], rtol=0, atol=5e-6 * float(jnp.abs(b).max()))


def test_inputs_of_any_scale_neither_overflow_nor_vanish():
    tiny, huge = (kernels(X[:2] * s, alpha2=ALPHA2, phi="relu").nngp for s in (1e-140, 1e140))
    np.testing.assert_allclose(tiny * 1e280, huge / 1e280, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha2": jnp.array([-1.0])}, r"alpha2 must be in \[0, inf\), got -1"),
        ({"alpha2": jnp.ones((1, 1))}, "alpha2 must have one axis"),
        ({"phi": "swish"}, "phi must be one of"),
        ({"method": "fast"}, "method must be one of"),
        ({"get": ("ntk", "cov")}, "get must hold some of"),
        ({"get": ()}, "get must hold some of"),
        ({"x1": jnp.ones(3)}, "x1 must have shape"),
        ({"x1": jnp.array([[jnp.nan]])}, "x1 must be in"),
        ({"x2": jnp.ones((2, 3))}, "x2 must have the 4 features of x1"),
        ({"sigma_w2": -1.0}, r"sigma_w2 must be in \[0, inf\)"),
        ({"rows": 0}, "rows must be an integer >= 1"),
        ({"nodes": 1}, "nodes must be an integer >= 2"),
        ({"phi": "erf", "method": "chebyshev"}, "method must be 'scan'"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    arguments = {"x1": X, "alpha2": ALPHA2, "phi": "relu"} | changes
    plain = getattr(kernels, "__wrapped__", kernels)
    with pytest.raises(ValueError, match=message):
        plain(**arguments)


def test_a_matrix_of_three_inputs_needs_to_say_what_it_is():
    with pytest.raises(ValueError, match="gram must say what a 3 x 3 q0 is"):
        covariance_recursion(jnp.eye(3), ALPHA2, "relu")
    with pytest.raises(ValueError, match="q0 must be positive semidefinite"):
        covariance_recursion(jnp.array([[1.0, 2.0], [2.0, 1.0]]), ALPHA2, "relu")
    three = jnp.array([[1.0, 0.2, 0.3], [0.2, 1.0, 0.4], [0.3, 0.4, 1.0]])
    as_gram = covariance_recursion(three, ALPHA2, "relu", gram=True)
    np.testing.assert_allclose(
        as_gram[0, 1], covariance_recursion(jnp.array([1.0, 1.0, 0.2]), ALPHA2, "relu")[2]
    )
