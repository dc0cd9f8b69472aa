"""The suite that judges kernels is judged itself: good kernels pass, each kind of bad one is caught."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

from tests.check_kernel import check_kernel
from theorysim.numerics.validation import positive_int, probabilities

P = jnp.array([0.2, 0.3, 0.5])


def survival(p, *, n):
    """Probability that a symbol is drawn at all in `n` draws.

    Example:
        >>> round(float(survival(jnp.array([0.5, 0.5]), n=1)[0]), 6)
        0.5
    """
    p = probabilities(p, "p")
    return 1 - (1 - p) ** positive_int(n, "n")


class Moments(NamedTuple):
    mean: jax.Array
    support: jax.Array


def moments(p, values):
    """Mean of `values` under `p`, and how many symbols `p` holds.

    Example:
        >>> moments(jnp.array([0.5, 0.5]), jnp.array([1.0, 3.0])).support.item()
        2
    """
    return Moments(jnp.sum(p * values), jnp.sum(p > 0))


def draw(key, p):
    """One symbol.

    Example:
        >>> int(draw(jax.random.key(0), jnp.array([0.0, 1.0])))
        1
    """
    return jax.random.categorical(key, jnp.log(p))


def variant(body):
    """The kernel `survival` with another body and the same signature."""

    def survival(p, *, n):
        return body(p, n)

    return survival


def true_survival(p, n):
    return 1 - (1 - p) ** n


@jax.custom_vjp
def wrong_gradient(p):
    return p**2


wrong_gradient.defvjp(lambda p: (p**2, p), lambda p, g: (p * g,))


def test_good_kernels_pass():
    check_kernel(
        survival, P, static={"n": 5}, bad=[{"n": 0}, {"n": 2.5}, {"p": [0.5, 0.6]}, {"p": [-1.0, 2.0]}]
    )
    check_kernel(moments, P, jnp.array([1.0, 2.0, 4.0]))
    check_kernel(draw, P, key=jax.random.key(1), smooth=False)


def test_points_of_its_own_are_batched():
    seen = []

    def kernel(x):
        """Square.

        Example:
            >>> 1 + 1
            2
        """
        seen.append(x)
        return x**2

    check_kernel(kernel, jnp.array(2.0), points=[(3.0,), (5.0,)])
    assert {3.0, 5.0} <= {float(x) for x in seen if not isinstance(x, Tracer)}


def under_jit_only(p, n):
    return true_survival(p, n) * (1.0 + 1e-9 * isinstance(p, Tracer))


def entry_shared_between_points(p, n):
    # Right for one point and under jit; a batched tracer of vmap takes the other branch.
    return true_survival(p, n) * (2.0 if "Batch" in type(p).__name__ else 1.0)


BROKEN = {
    "dtype follows input: float32 in, float64 out": lambda p, n: true_survival(p, n) * np.ones(3),
    "jit = eager: relative error 1.00e-09": under_jit_only,
    "vmap = loop: relative error 1.00e\\+00": entry_shared_between_points,
    "float32 close to float64: relative error": lambda p, n: (p**2 + 3e3) - 3e3,
    "grad = finite difference: p: gradient gives": lambda p, n: wrong_gradient(p),
    "bad input raises: n=0 was accepted": true_survival,
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_kernels_are_caught(message):
    with pytest.raises(AssertionError, match=message):
        check_kernel(variant(BROKEN[message]), P, static={"n": 5}, bad=[{"n": 0}], rtol=1e-11)


def test_a_gradient_that_is_nan_is_caught():
    with pytest.raises(AssertionError, match="grad = finite difference: p: gradient gives nan"):
        check_kernel(variant(lambda p, n: jnp.where(p > 2, jnp.sqrt(p - 2), p)), P, static={"n": 5})


def test_an_error_that_does_not_name_the_argument_is_caught():
    def body(p, n):
        if n < 1:
            raise ValueError("must be positive")
        return true_survival(p, n)

    with pytest.raises(AssertionError, match="bad input raises: n=0 gave an error that does not name it"):
        check_kernel(variant(body), P, static={"n": 5}, bad=[{"n": 0}])


def test_an_error_of_another_type_is_caught():
    def body(p, n):
        assert n > 0
        return true_survival(p, n)

    with pytest.raises(AssertionError, match="bad input raises: n=0 gave AssertionError, not ValueError"):
        check_kernel(variant(body), P, static={"n": 5}, bad=[{"n": 0}])


def test_a_misspelt_argument_in_bad_is_caught():
    with pytest.raises(AssertionError, match="no argument is called m"):
        check_kernel(survival, P, static={"n": 5}, bad=[{"m": 0}])


def test_nothing_to_differentiate_is_said():
    with pytest.raises(AssertionError, match="pass smooth=False"):
        check_kernel(draw, P, key=jax.random.key(0))
