"""Every public kernel of model collapse passes the one suite of properties."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import theorysim.model_collapse as mc
from tests.check_kernel import check_kernel
from theorysim.model_collapse import Scenario

P = jnp.array([0.15, 0.25, 0.6])
LAWS = jnp.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
N_SYNTHETIC, N_REAL = jnp.array(8.0), jnp.array(40.0)
KEY = jax.random.key(0)

BAD_P = ({"p": [0.5, 0.6]}, {"p": [-0.5, 1.5]}, {"p": [jnp.nan, 1.0]})
BAD_N, BAD_GENS = ({"n": 0}, {"n": -1}), ({"num_gens": 0},)
GENERATIONS = {"static": {"n": 6, "num_gens": 4}, "bad": (*BAD_P, *BAD_N, *BAD_GENS)}

# Per kernel: its array arguments, then what `check_kernel` is told about it.
KERNELS = {
    "collapse_cdf": ((P,), GENERATIONS),
    "collapse_cdf_bounds": (
        (P, N_SYNTHETIC),
        {"static": {"num_gens": 4}, "points": [(P[::-1], 12.0)], "bad": (*BAD_P, *BAD_N, *BAD_GENS)},
    ),
    "collapse_time_bounds": ((P, N_SYNTHETIC), {"points": [(P[::-1], 12.0)], "bad": (*BAD_P, *BAD_N)}),
    "collapse_time_diffusion": ((P, N_SYNTHETIC), {"points": [(P[::-1], 12.0)], "bad": (*BAD_P, *BAD_N)}),
    "collapse_time_mean": ((P,), {"static": {"n": 7}, "bad": (*BAD_P, *BAD_N)}),
    "collapse_time_moments": ((P,), {"static": {"n": 7}, "bad": (*BAD_P, *BAD_N)}),
    "collapse_time_quantile": (
        (P, jnp.array(0.9)),
        {
            "static": {"n": 7},
            "smooth": False,
            "points": [(P[::-1], 0.2)],
            "bad": (*BAD_P, *BAD_N, {"level": 0.0}, {"level": 1.0}),
        },
    ),
    "collapse_times": (
        (P,),
        {
            "static": {"n": 5, "num_runs": 3},
            "key": KEY,
            "smooth": False,
            "bad": (*BAD_P, *BAD_N, {"num_runs": 0}),
        },
    ),
    "context_sumsq": (
        (jnp.array([0.3, 0.7]), LAWS),
        {
            "static": {"num_samples": 6, "num_gens": 3},
            "bad": (
                {"context_law": [0.5, 0.6]},
                {"laws": [[0.5, 0.6], [0.5, 0.5]]},
                {"num_samples": 0},
                *BAD_GENS,
            ),
        },
    ),
    "count_stationary_law": (
        (jnp.array(0.3), jnp.array(0.6)),
        {
            "static": {"n": 6},
            "points": [(0.5, 0.2)],
            "bad": ({"q": 1.5}, {"weight": 1.0}, {"weight": -0.1}, *BAD_N),
        },
    ),
    "diversity_factor": (
        (Scenario("mixed", n=8.0, N=40.0),),
        {"static": {"num_gens": 4}, "points": [(Scenario("mixed", n=9.0, N=20.0),)], "bad": BAD_GENS},
    ),
    "diversity_limit": (
        (Scenario("accumulate", n=8.0, N=40.0),),
        {"points": [(Scenario("accumulate", n=9.0, N=20.0),)]},
    ),
    "expected_entropy": ((P,), GENERATIONS),
    "expected_sumsq": (
        (P, Scenario("accumulate", n=8.0, N=40.0)),
        {
            "static": {"num_gens": 4},
            "points": [(P[::-1], Scenario("accumulate", n=9.0, N=20.0))],
            "bad": (*BAD_P, *BAD_GENS),
        },
    ),
    "expected_support": ((P,), GENERATIONS),
    "extinction_probability": ((P,), GENERATIONS),
    "fresh_real_error": (
        (jnp.array(0.4), N_SYNTHETIC, N_REAL),
        {"points": [(0.7, 9.0, 20.0)], "bad": ({"a": 1.5}, {"n": 0.0}, {"N": 0.0})},
    ),
    "gaussian_mixed": (
        (N_SYNTHETIC, N_REAL),
        {"static": {"num_gens": 4}, "points": [(9.0, 20.0)], "bad": ({"n": 0.0}, {"N": 0.0}, *BAD_GENS)},
    ),
    "log_drift_bound": (
        (N_SYNTHETIC, N_REAL, jnp.array(60.0)),
        {"points": [(9.0, 20.0, 30.0)], "bad": ({"n": 0.0}, {"N": 0.0}, {"s": 1.0})},
    ),
    "max_synthetic": (
        (jnp.array(0.13), N_REAL, jnp.array(0.1)),
        {"smooth": False, "points": [(0.2, 20.0, 0.3)], "bad": ({"eps": 0.0}, {"N": 0.0}, {"sigma1": 0.0})},
    ),
    "max_synthetic_bound": (
        (jnp.array(0.3), jnp.array(1e6), jnp.array(60.0)),
        {"smooth": False, "points": [(0.2, 1e5, 30.0)], "bad": ({"eps": 0.0}, {"N": 0.0}, {"s": 1.0})},
    ),
    "mixed_drift": (
        (P,),
        {
            "static": {"n": 6, "N": 20, "num_gens": 4, "norm": "l2"},
            "bad": ({"p1": [0.5, 0.6]}, {"n": 0}, {"N": 0}, {"norm": "l3"}, *BAD_GENS),
        },
    ),
    "mixed_drift_mean": (
        (P,),
        {
            "static": {"n": 4, "N": 6, "num_gens": 3},
            "bad": (*BAD_P, {"N": 0}, *BAD_N, *BAD_GENS),
        },
    ),
    "mixed_sumsq": (
        (jnp.array(0.3), N_SYNTHETIC, N_REAL),
        {
            "static": {"num_gens": 4},
            "points": [(0.5, 9.0, 20.0)],
            "bad": ({"sumsq0": 0.0}, {"n": 0.0}, {"N": 0.0}, {"variant": "new"}, *BAD_GENS),
        },
    ),
    "mixed_variance_factor": (
        (N_SYNTHETIC, N_REAL),
        {"static": {"num_gens": 4}, "points": [(9.0, 20.0)], "bad": ({"n": 0.0}, {"N": 0.0}, *BAD_GENS)},
    ),
    "optimal_synthetic_weight": (
        (N_SYNTHETIC, N_REAL),
        {"points": [(9.0, 20.0)], "bad": ({"n": 0.0}, {"N": 0.0})},
    ),
    "pool_dirac_probability": ((P,), {"static": {"n": 3, "num_gens": 4}, "bad": (*BAD_P, *BAD_N, *BAD_GENS)}),
    "power_sum_mean": (
        (P,),
        {"static": {"n": 6, "power": 3, "num_gens": 4}, "bad": (*BAD_P, {"power": 0}, *BAD_N, *BAD_GENS)},
    ),
    "replace_drift": ((P,), GENERATIONS),
    "separable_expectation": (
        (jnp.linspace(0, 1, 7) ** 1.5, P, jnp.array(0.1)),
        {
            "static": {"n": 6, "num_gens": 4},
            "points": [(jnp.linspace(0, 1, 7) ** 2, P[::-1], 0.2)],
            "bad": (*BAD_P, {"f": [0.0, 1.0]}, {"mutation": 1.5}, *BAD_N, *BAD_GENS),
        },
    ),
    "simulate": (
        (P,),
        {
            "static": {"scenario": Scenario("replace", n=5), "num_gens": 4, "num_runs": 3},
            "key": KEY,
            "smooth": False,
            "bad": (*BAD_P, *BAD_GENS, {"num_runs": 0}),
        },
    ),
    "simulate_laws": (
        (P,),
        {
            "static": {"scenario": Scenario("replace", n=5), "record": (1, 4), "num_runs": 3},
            "key": KEY,
            "smooth": False,
            "bad": (*BAD_P, {"record": (4, 1)}, {"num_runs": 0}),
        },
    ),
    "sumsq_moments": (
        (P, N_SYNTHETIC),
        {"static": {"num_gens": 4}, "points": [(P[::-1], 12.0)], "bad": (*BAD_P, *BAD_N, *BAD_GENS)},
    ),
}

# Functions of sizes and structure alone: there is nothing to trace, batch or differentiate.
STATIC = {"gaussian_recursion", "lineage_matrix", "lineage_visits", "window_decay_rate"}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name):
    arguments, facts = KERNELS[name]
    check_kernel(getattr(mc, name), *arguments, **facts)


def test_l1_drift_given_the_corpus_is_smooth_between_the_counts():
    # Kinks at q = j/n: 6 q is no whole number for any of these.
    static = {"n": 6, "N": 20, "num_gens": 4, "norm": "l1"}
    check_kernel(mc.mixed_drift, P, static=static, points=[(P[::-1],)], bad=({"p1": [0.5, 0.6]},))


def test_every_public_function_is_checked():
    public = {name for name in mc.__all__ if inspect.isfunction(inspect.unwrap(getattr(mc, name)))}
    assert public == KERNELS.keys() | STATIC


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mc.lineage_matrix(0), "n must be an integer >= 1, got 0"),
        (lambda: mc.lineage_visits(-2), "n must be an integer >= 1, got -2"),
        (lambda: mc.lineage_visits(2**31), r"n must be at most 2147483647 .*got 2147483648"),
        (lambda: mc.gaussian_recursion(3, 3, 5, "mle"), "n must be an integer >= 4, got 3"),
        (lambda: mc.gaussian_recursion(3, 0, 5, "mle"), "d must be an integer >= 1, got 0"),
        (lambda: mc.gaussian_recursion(3, 1, 0, "mle"), "num_gens must be an integer >= 1, got 0"),
        (lambda: mc.window_decay_rate(Scenario("replace", 3)), "scenario.kind must be one of 'window'"),
        (lambda: mc.diversity_factor(Scenario("window", 9, K=4), 3), r"K must be .*\[1, 3\], got 4"),
        (lambda: Scenario("window", 3, K=4), r"K must be an integer in \[1, n = 3\], got 4"),
        (lambda: Scenario("replace", 3, K=2), "K must be 1 for kind='replace'"),
        (lambda: Scenario("replace", 3, N=2), "N must be 0 for kind='replace'"),
        (lambda: Scenario("mixed", 3, N=2, a=0.5), "a must be None for kind='mixed'"),
        (lambda: Scenario("fresh_real", 3, N=2, a=float("nan")), r"a must be in \[0, 1\], got nan"),
        (lambda: Scenario("replace", 2**31), r"n must be in \[1, 2.14748e\+09\], got 2147483648"),
    ],
)
def test_bad_sizes_and_structure_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("name", "value"), [("kind", "refill"), ("resample", "often")])
def test_unknown_names_are_refused(name, value):
    # Past the type checks of the tests, which users do not have.
    scenario = Scenario("window", 4, K=2)
    object.__setattr__(scenario, name, value)
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got '{value}'"):
        scenario.__post_init__()


def test_an_unknown_mode_is_refused():
    recursion: Any = getattr(mc.gaussian_recursion, "__wrapped__", mc.gaussian_recursion)
    with pytest.raises(ValueError, match="mode must be one of 'unbiased', 'mle', got 'map'"):
        recursion(5, 1, 3, "map")
