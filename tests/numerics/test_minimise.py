"""L-BFGS: minima to the last digits, alone and in a batch, and what it does where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.numerics.minimise import lbfgs

STARTS = jnp.array([[-1.2, 1.0], [0.5, -0.3], [2.0, 2.0]])


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def test_a_curved_valley_ends_at_its_minimum():
    ends = jax.vmap(lambda x: lbfgs(rosenbrock, x))(STARTS)
    np.testing.assert_allclose(ends, 1, atol=1e-9)
    # Lanes that others wait for stay where they ended.
    np.testing.assert_allclose(ends[1], lbfgs(rosenbrock, STARTS[1]), atol=1e-9)
    narrow = lbfgs(rosenbrock, STARTS[0].astype(jnp.float32))
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, 1, atol=2e-3)


def test_many_variables_of_any_shape_take_few_evaluations():
    scales = jnp.logspace(0, 1.5, 60).reshape(20, 3)

    def loss(x):
        return (scales * (x - 1) ** 2).sum() / 2

    np.testing.assert_allclose(lbfgs(loss, jnp.zeros((20, 3)), max_steps=100), 1, atol=1e-9)


def test_rounding_of_the_loss_does_not_stop_the_gradient():
    """A loss of 1e3 with an error of 1e-13 hides what happens within 1e-7 of the minimum."""

    def loss(x):
        return 1e3 + jnp.log1p((x - 0.7) ** 2).sum() + 0.1 * jnp.log1p((x[0] - x[1] - 0.2) ** 2)

    end = lbfgs(loss, jnp.array([0.1, 1.3, -0.4]))
    assert jnp.abs(jax.grad(loss)(end)).max() < 1.5e-10


def test_a_maximum_nearby_does_not_attract():
    """From where the loss curves down, -cos goes to a minimum."""
    np.testing.assert_allclose(jnp.cos(lbfgs(lambda x: -jnp.cos(x).sum(), jnp.array([3.0, 2.5]))), 1)


def test_where_nothing_is_lower_the_start_is_the_end():
    for loss in (lambda x: x.sum() * jnp.nan, lambda x: (0 * x).sum()):
        np.testing.assert_array_equal(lbfgs(loss, STARTS[0]), STARTS[0])
    # Beyond the edge of its domain a loss is NaN: the step is shortened.
    end = lbfgs(lambda x: (x - jnp.log(x)).sum(), jnp.array([0.01, 5.0]))
    np.testing.assert_allclose(end, 1, atol=1e-9)


def test_evaluations_are_bounded():
    few, many = (lbfgs(rosenbrock, STARTS[0], max_steps=steps) for steps in (3, 400))
    assert rosenbrock(many) < rosenbrock(few) < rosenbrock(STARTS[0])
    with pytest.raises(ValueError, match="max_steps must be an integer >= 1, got 0"):
        lbfgs(rosenbrock, STARTS[0], max_steps=0)
