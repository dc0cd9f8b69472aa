from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.stats import ks_2samp

from theorysim.networks.resnet import ResNet, neural_covariance, tangent_kernel
from theorysim.numerics.gaussian import activation
from theorysim.width_depth import pair_kernels, sample_forward, sample_ntk

X = jnp.array([[1.0, 2.0, -1.0], [0.5, -1.0, 2.0]])
K0 = X @ X.T / 3
ALPHA = jnp.sqrt(jnp.array([0.5, 0.1, 0.3, 0.2]))


def kernels(key, width, alpha=ALPHA, phi="relu", sigma_w=1.0, train_input=True):
    model = ResNet(
        3,
        width,
        alpha,
        activation=activation(phi),
        sigma_w=sigma_w,
        dtype=jnp.float64,
        rngs=nnx.Rngs(key),
    )
    return neural_covariance(model, X), tangent_kernel(model, X, train_input=train_input)


def many(num, width, **kwargs):
    keys = jax.random.split(jax.random.key(7), num)
    return jax.jit(lambda keys: jax.lax.map(lambda key: kernels(key, width, **kwargs), keys, batch_size=200))(
        keys
    )


@pytest.mark.parametrize("phi", ["relu", "tanh"])
def test_random_networks_have_the_law_of_the_samplers(phi):
    n, num = 6, 3000
    q, ntk = many(num, n, phi=phi)
    keys = jax.random.split(jax.random.key(8))
    forward = sample_forward(keys[0], K0, n, ALPHA**2, phi, num)
    both = sample_ntk(keys[1], K0, n, ALPHA**2, phi, num)
    pairs = [(q[:, -1], forward[:, -1]), (q[:, -1], both.nngp), (q[:, 2], forward[:, 2]), (ntk, both.ntk)]
    test: Any = ks_2samp
    p_values = [
        test(np.asarray(ours[:, i, j]), np.asarray(theirs[:, i, j])).pvalue
        for ours, theirs in pairs
        for i, j in ((0, 0), (0, 1), (1, 1))
    ]
    assert min(p_values) * len(p_values) > 0.01


@pytest.mark.parametrize("train_input", [True, False])
def test_kernels_of_wide_networks_are_those_of_infinite_width(train_input):
    n, num = 400, 60
    q, ntk = many(num, n, phi="gelu", sigma_w=0.7, train_input=train_input)
    q0 = jnp.stack([K0[0, 0], K0[1, 1], K0[0, 1]])
    exact = pair_kernels(q0, ALPHA**2, "gelu", 0.49, train_input=train_input)
    for draws, value in ((q[:, -1, 0, 1], exact.nngp[2]), (ntk[:, 0, 1], exact.ntk)):
        error = draws.std() / num**0.5
        # Beside the standard error, a bias of order 1/n.
        assert abs(draws.mean() - value) < 4 * error + 2 / n


def test_the_output_is_linear_in_its_readout_and_a_step_moves_it_by_the_tangent_kernel():
    model = ResNet(3, 20, ALPHA, activation=jnp.tanh, dtype=jnp.float64, rngs=nnx.Rngs(0))
    before, kernel = model(X), tangent_kernel(model, X)
    gradient = nnx.grad(lambda model: model(X[0]))(model)
    step = 1e-6
    params = jax.tree.map(lambda p, g: p + step * g, nnx.state(model, nnx.Param), gradient)
    nnx.update(model, params)
    np.testing.assert_allclose((model(X) - before) / step, kernel[0], rtol=1e-4)


def test_a_network_without_layers_is_linear():
    model = ResNet(3, 5, jnp.zeros(0), activation=jnp.tanh, dtype=jnp.float64, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(model(2 * X), 2 * model(X))
    assert neural_covariance(model, X).shape == (1, 2, 2)


def test_branch_scales_may_be_traced():
    def last(scale):
        model = ResNet(3, 5, scale * jnp.ones(2), activation=jnp.tanh, dtype=jnp.float64, rngs=nnx.Rngs(0))
        return model(X).sum()

    slope = jax.jit(jax.grad(last))(0.3)
    np.testing.assert_allclose(slope, (last(0.3 + 1e-6) - last(0.3 - 1e-6)) / 2e-6, rtol=1e-7)


@pytest.mark.parametrize(
    ("name", "arguments", "kwargs"),
    [
        ("features", (0, 4, ALPHA), {}),
        ("width", (3, 0, ALPHA), {}),
        ("alpha", (3, 4, jnp.ones((2, 2))), {}),
        ("alpha", (3, 4, jnp.array([jnp.nan])), {}),
        ("sigma_w", (3, 4, ALPHA), {"sigma_w": -1.0}),
    ],
)
def test_bad_arguments_are_named(name, arguments, kwargs):
    with pytest.raises(ValueError, match=name):
        ResNet(*arguments, activation=jnp.tanh, rngs=nnx.Rngs(0), **kwargs)
