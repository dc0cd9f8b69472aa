"""Kernels: against random networks, symmetric and positive, cusps and derivatives at equal inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.lood.problem import Q, X
from theorysim.lood import (
    correlation_depth_constant,
    edge_of_chaos,
    edge_of_chaos_kernel,
    equicorrelated,
    leave_one_out,
    mlp,
    random_features,
    rbf,
)
from theorysim.lood.kernels import by_inner_products

# Minutes of compilation in all; the reference values and channels run always.
pytestmark = pytest.mark.slow

ALL = {
    "rbf": rbf(length_scale=0.7, variance=2.0),
    "rbf by products": by_inner_products(rbf(length_scale=0.7, variance=2.0)),
    "relu": mlp("relu", depth=3, sw2=2.0, sb2=0.1),
    "relu ntk": mlp("relu", depth=3, sw2=2.0, sb2=0.0, get="ntk"),
    "gelu": mlp("gelu", depth=2, sw2=1.5, sb2=0.1),
    "tanh ntk": mlp("tanh", depth=2, sw2=1.5, sb2=0.1, get="ntk"),
    "cos": mlp("cos", depth=1, sw2=1.0, sb2=0.3),
    "edge relu": edge_of_chaos_kernel("relu", depth=4),
    "edge erf ntk": edge_of_chaos_kernel("erf", depth=4, bias_variance=0.1, get="ntk"),
}


@pytest.mark.parametrize("name", ALL)
def test_a_kernel_is_symmetric_positive_and_the_same_in_pieces(name):
    kernel = ALL[name]
    K = kernel(X, X)
    np.testing.assert_allclose(K, K.T, atol=1e-13)
    assert jnp.linalg.eigvalsh(K)[0] > -1e-12
    np.testing.assert_allclose(kernel(X[:3], X + 0), K[:3], atol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda k: k(X, Q))(kernel), kernel(X, Q), atol=1e-13)
    narrow = kernel(X.astype(jnp.float32), Q.astype(jnp.float32))
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, kernel(X, Q), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ALL)
def test_derivatives_in_the_queries_are_finite_at_the_records_and_right_beside_them(name):
    kernel = ALL[name]
    slopes = jax.jit(jax.jacobian(lambda q: kernel(q, X)))(X)
    assert jnp.isfinite(slopes).all()
    slope = jax.jacobian(lambda q: kernel(q, X))(Q)[0, :, 0, 1]
    step = jnp.zeros_like(Q).at[0, 1].set(1e-6)
    np.testing.assert_allclose(
        slope, (kernel(Q + step, X)[0] - kernel(Q - step, X)[0]) / 2e-6, rtol=1e-6, atol=1e-8
    )


def test_inner_products_keep_the_slope_where_rounding_takes_the_distance():
    """At 1e-9 from a record the squared distance is 1e-18, its rounding error 1e-16, the slope -1e-9."""
    x = 3 + X
    q = x[2:3] + jnp.array([[1e-9, 0.0]])
    slope = jax.grad(lambda q: by_inner_products(rbf())(x, q)[2, 0])(q)
    np.testing.assert_allclose(slope, x[2:3] - q, atol=1e-14)


@pytest.mark.parametrize("phi", ["relu", "gelu", "sin"])
def test_one_hidden_layer_is_the_limit_of_random_features(phi):
    """An average over N features: within five of its standard errors, at most of order 1/sqrt N."""
    features = random_features(jax.random.key(0), X, phi, width=200_000, sw2=1.7, sb2=0.2)
    K = mlp(phi, depth=1, sw2=1.7, sb2=0.2)(X, X)
    pairs = (features[:, None, :-1] * features[None, :, :-1]) * 200_000
    error = pairs.std(-1) / np.sqrt(200_000)
    assert (jnp.abs(features @ features.T - K) < 5 * error).all()


def test_the_tangent_kernel_is_that_of_a_wide_network():
    """Sum over layers of K_l times the product of slopes above, for a linear network: (depth + 1) (x.x')."""
    kernel = mlp("linear", depth=3, sw2=1.0, sb2=0.0, get="ntk")
    np.testing.assert_allclose(kernel(X, Q), 4 * (X @ Q.T) / 2, rtol=1e-12, atol=1e-14)


def test_the_edge_keeps_the_variance_and_meets_the_general_recursion():
    q, sw2 = edge_of_chaos("gelu", bias_variance=0.1)
    x = X / jnp.linalg.norm(X, axis=1, keepdims=True)
    scaled = x * jnp.sqrt(2 * (q - 0.1) / sw2)
    for get in ("nngp", "ntk"):
        edge = edge_of_chaos_kernel("gelu", depth=5, bias_variance=0.1, get=get)(X, X)
        general = mlp("gelu", depth=5, sw2=sw2, sb2=0.1, get=get)(scaled, scaled) / q
        np.testing.assert_allclose(edge, general, rtol=1e-11)
    deep = edge_of_chaos_kernel("gelu", depth=50, bias_variance=0.1)(X, X)
    np.testing.assert_allclose(jnp.diag(deep), 1, rtol=1e-13)


@pytest.mark.parametrize(("phi", "bias", "power"), [("gelu", 0.1, 1), ("erf", 0.2, 1), ("relu", 0.0, 2)])
def test_correlations_approach_one_at_the_predicted_rate(phi, bias, power):
    depth = 3000
    x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    less = 1 - edge_of_chaos_kernel(phi, depth=depth, bias_variance=bias)(x, x)[0, 1]
    expected = correlation_depth_constant(phi, bias_variance=bias)
    # Corrections are of relative order log(l)/l.
    np.testing.assert_allclose(depth**power * less, expected, rtol=0.02)


def test_the_edge_is_critical_and_differentiable():
    h = 1e-4
    for phi in ("erf", "gelu", "cos"):
        slope = jax.grad(lambda b, phi=phi: edge_of_chaos(phi, bias_variance=b).q)(0.2)
        up, down = (edge_of_chaos(phi, bias_variance=0.2 + s * h).q for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-5)
    many = jax.vmap(lambda b: edge_of_chaos("erf", bias_variance=b).q)(jnp.array([0.05, 0.2]))
    np.testing.assert_allclose(many[1], edge_of_chaos("erf", bias_variance=0.2).q, rtol=1e-12)
    assert jnp.isnan(jax.jit(lambda b: edge_of_chaos("erf", bias_variance=b).q)(0.0))


def test_equally_correlated_records_are_a_gaussian_process():
    n, c, s2 = 20, 0.8, 0.05
    gram = (1 - c) * jnp.eye(n) + c * jnp.ones((n, n))
    one, value = leave_one_out(gram, jnp.zeros(n), noise=s2), equicorrelated(n, c, noise=s2)
    np.testing.assert_allclose(one.variance, value.variance, rtol=1e-11)
    np.testing.assert_allclose(one.leverage, value.leverage, rtol=1e-11)
    np.testing.assert_allclose(equicorrelated(10**6, 0.9, noise=0.1).variance, 0.1, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "culprit"),
    [
        (lambda: rbf(length_scale=0.0), "length_scale"),
        (lambda: rbf(variance=-1.0), "variance"),
        (lambda: mlp("swish", depth=1, sw2=1.0, sb2=0.0), "phi"),
        (lambda: mlp("relu", depth=0, sw2=1.0, sb2=0.0), "depth"),
        (lambda: mlp("relu", depth=1, sw2=0.0, sb2=0.0), "sw2"),
        (lambda: mlp("relu", depth=1, sw2=1.0, sb2=-0.1), "sb2"),
        (lambda: edge_of_chaos_kernel("gelu", depth=1), "bias_variance"),
        (lambda: edge_of_chaos("relu", bias_variance=0.1), "bias_variance"),
        (lambda: edge_of_chaos("erf", bias_variance=-0.1), "bias_variance"),
        (lambda: equicorrelated(0, 0.5, noise=0.1), "n"),
        (lambda: equicorrelated(5, 1.5, noise=0.1), "correlation"),
        (lambda: equicorrelated(5, 0.5, noise=0.0), "noise"),
    ],
)
def test_bad_input_is_named(call, culprit):
    with pytest.raises(ValueError, match=rf"\b{culprit}\b"):
        call()
