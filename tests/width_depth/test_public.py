"""Every public function passes the one suite of properties."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import theorysim.width_depth as wd
from tests.check_kernel import check_kernel

Q0 = jnp.array([1.0, 1.5, 0.4])
Q1 = jnp.array([0.8, 1.1, -0.3])
ALPHA2 = jnp.array([0.3, 0.1, 0.2])
OTHER = jnp.array([0.2, 0.4, 0.1])
X = jnp.array([[1.0, 0.2], [0.3, -0.8], [-0.5, 0.6]])
KEY = jax.random.key(0)
K0 = jnp.array([[1.0, 0.4], [0.4, 1.5]])

BAD_Q0 = (
    {"q0": [1.0, 1.0, 2.0]},
    {"q0": [-1.0, 1.0, 0.0]},
    {"q0": [1.0, 1.0]},
    {"q0": [1.0, 1.0, float("nan")]},
)
BAD_ALPHA2 = ({"alpha2": [-0.1, 0.2, 0.1]}, {"alpha2": [0.1, float("inf"), 0.1]})
BAD_K0 = (
    {"K0": [[1.0, 2.0], [2.0, 1.0]]},
    {"K0": [[1.0, 0.5], [0.1, 1.0]]},
    {"K0": [1.0, 1.0]},
    {"n": 0},
    {"num": 0},
)

# Name -> array arguments, and the rest of check_kernel's.
KERNELS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "band": (
        (jnp.array(0.9), jnp.array(50.0), jnp.array(1.5), jnp.array(4.0)),
        {"bad": ({"level": 1.0}, {"n": 0.5}, {"centre": float("inf")}, {"variance": -1.0})},
    ),
    "correlation_flow": (
        (jnp.array([0.2, -0.7]), jnp.array([1.0, 0.3])),
        {"bad": ({"c0": [0.0, 1.1]}, {"s": [-1.0, 0.0]})},
    ),
    "covariance_recursion": (
        (Q0, ALPHA2),
        {"static": {"phi": "relu"}, "points": [(Q1, OTHER)], "bad": (*BAD_Q0, *BAD_ALPHA2, {"phi": "relu6"})},
    ),
    "depth_limit": (
        (Q0, jnp.array(0.7)),
        {
            "static": {"phi": "relu"},
            "points": [(Q1, jnp.array(0.4))],
            "bad": (*BAD_Q0, {"tau": -1.0}, {"get": ("kernel",)}),
        },
    ),
    "discretisation_error": (
        (ALPHA2,),
        {"static": {"phi": "relu"}, "bad": (*BAD_ALPHA2, {"phi": "erf"})},
    ),
    "flow_time": (
        (jnp.array([0.2, -0.7]), jnp.array([0.6, 0.1])),
        {
            "points": [(jnp.array([0.1, 0.2]), jnp.array([0.3, 0.9]))],
            "bad": ({"c1": [0.1, 0.2]}, {"c0": [-2.0, 0.0]}),
        },
    ),
    "fluctuation_coefficient": (
        (jnp.array(1.3), ALPHA2),
        {"static": {"phi": "relu"}, "bad": (*BAD_ALPHA2, {"q0": -1.0}, {"particles": 1})},
    ),
    "kernels": (
        (X, X[:2] + 0.1, ALPHA2),
        {
            "static": {"phi": "relu", "nodes": 24},
            "wrt": (0, 2),
            "bad": ({"x1": [1.0]}, {"x2": [[1.0]]}, {"alpha2": [-1.0]}, {"method": "exact"}),
        },
    ),
    "pair_kernels": (
        (Q0, ALPHA2),
        {"static": {"phi": "erf"}, "points": [(Q1, OTHER)], "bad": (*BAD_Q0, *BAD_ALPHA2)},
    ),
    "sample_forward": (
        (K0, ALPHA2),
        {
            "static": {"n": 4, "phi": "relu", "num": 3},
            "key": KEY,
            "points": [(K0[::-1, ::-1], OTHER)],
            "smooth": False,
            "bad": (*BAD_K0, *BAD_ALPHA2),
        },
    ),
    "sample_ntk": (
        (K0, ALPHA2),
        {
            "static": {"n": 4, "phi": "relu", "num": 3},
            "key": KEY,
            "points": [(K0[::-1, ::-1], OTHER)],
            "smooth": False,
            "bad": (*BAD_K0, *BAD_ALPHA2),
        },
    ),
    "sample_states": (
        (K0, ALPHA2),
        {
            "static": {"n": 4, "phi": "relu", "num": 3},
            "key": KEY,
            "points": [(K0[::-1, ::-1], OTHER)],
            "smooth": False,
            "bad": (*BAD_K0, *BAD_ALPHA2),
        },
    ),
    "schedule_for_correlation": (
        (jnp.array(0.1), jnp.array(0.3)),
        {"static": {"L": 3, "phi": "relu"}, "bad": ({"c1": 0.0}, {"c0": -1.5}, {"L": 0}, {"phi": "linear"})},
    ),
    "series_limit": (
        (jnp.array(0.2), jnp.array(1.0)),
        {"static": {"phi": "relu"}, "bad": ({"c0": 1.5}, {"p": 0.5}, {"phi": "gelu"})},
    ),
    "shaped_mlp_sde": (
        (jnp.array(0.2), jnp.array(-0.5), jnp.array(0.3), jnp.array(0.5)),
        {
            "static": {"steps": 4, "num": 3},
            "key": KEY,
            "smooth": False,
            "bad": ({"rho0": 1.0}, {"T": -1.0}, {"num": 0}),
        },
    ),
    "width_variance": ((jnp.array([0.5, 1.2]),), {"static": {"phi": 0.3}, "bad": ({"tau": [-1.0, 0.0]},)}),
}

# Functions of sizes and structure alone, or of another function.
STATIC = {"design_schedule", "mlp_log_moments", "schedule"}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name):
    arguments, facts = KERNELS[name]
    check_kernel(getattr(wd, name), *arguments, **facts)


def test_every_public_function_is_checked():
    public = {name for name in wd.__all__ if inspect.isfunction(inspect.unwrap(getattr(wd, name)))}
    assert public == KERNELS.keys() | STATIC
