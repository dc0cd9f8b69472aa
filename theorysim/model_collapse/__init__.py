r"""Model collapse: what happens to a language model trained, generation after generation, on its own samples.

Vocabulary of s tokens, truth p = p^(0); model m is the empirical law of its training set, and the scenario
says where that set comes from (`Scenario`). Everything is exact at finite size: no limit is taken unless a
name says so.

    theory      collapse time and its law (`lineage`), any separable functional (`marginals`), mean and
                variance of the sum of squares (`moments`), surviving diversity of every scenario
                (`diversity`), drift with real data kept (`mixed`), the pool's Dirac probability (`pool`),
                Gaussians (`gaussian`), many contexts (`contexts`), the paper's bounds (`paper_bounds`)
    simulation  `simulate`, `simulate_laws`, `collapse_times`

Reference: M. E. A. Seddik, S.-W. Chen, S. Hayou, P. Youssef, M. Debbah, "How Bad is Training on Synthetic
Data? A Statistical Analysis of Language Model Collapse" (2024), arXiv 2404.05090; see docs/model_collapse.md.

Example:
    >>> import jax.numpy as jnp
    >>> p = jnp.array([0.5, 0.3, 0.2])
    >>> print(f"{collapse_time_mean(p, n=20):.2f} generations")
    29.43 generations
    >>> kept = diversity_limit(Scenario("accumulate", n=20, N=20))
    >>> print(f"{kept:.0%} of the diversity survives for ever if all data is kept")
    92% of the diversity survives for ever if all data is kept
"""

from theorysim.model_collapse.collapse_sampler import CollapseTimes, collapse_times
from theorysim.model_collapse.contexts import context_sumsq
from theorysim.model_collapse.diversity import (
    diversity_factor,
    diversity_limit,
    expected_sumsq,
    fresh_real_error,
    optimal_synthetic_weight,
    window_decay_rate,
)
from theorysim.model_collapse.gaussian import (
    GaussianCurves,
    GaussianMixedCurves,
    gaussian_mixed,
    gaussian_recursion,
)
from theorysim.model_collapse.lineage import (
    CollapseTimeMoments,
    collapse_cdf,
    collapse_time_diffusion,
    collapse_time_mean,
    collapse_time_moments,
    collapse_time_quantile,
    extinction_probability,
    lineage_matrix,
    lineage_visits,
    power_sum_mean,
)
from theorysim.model_collapse.marginals import (
    count_stationary_law,
    expected_entropy,
    expected_support,
    replace_drift,
    separable_expectation,
)
from theorysim.model_collapse.mixed import (
    max_synthetic,
    mixed_drift,
    mixed_drift_mean,
    mixed_sumsq,
    mixed_variance_factor,
)
from theorysim.model_collapse.moments import SumsqMoments, sumsq_moments
from theorysim.model_collapse.paper_bounds import (
    Bounds,
    collapse_cdf_bounds,
    collapse_time_bounds,
    log_drift_bound,
    max_synthetic_bound,
)
from theorysim.model_collapse.pool import pool_dirac_probability
from theorysim.model_collapse.sampler import Simulation, simulate, simulate_laws
from theorysim.model_collapse.scenario import KINDS, Kind, Scenario

__all__ = [
    "KINDS",
    "Bounds",
    "CollapseTimeMoments",
    "CollapseTimes",
    "GaussianCurves",
    "GaussianMixedCurves",
    "Kind",
    "Scenario",
    "Simulation",
    "SumsqMoments",
    "collapse_cdf",
    "collapse_cdf_bounds",
    "collapse_time_bounds",
    "collapse_time_diffusion",
    "collapse_time_mean",
    "collapse_time_moments",
    "collapse_time_quantile",
    "collapse_times",
    "context_sumsq",
    "count_stationary_law",
    "diversity_factor",
    "diversity_limit",
    "expected_entropy",
    "expected_sumsq",
    "expected_support",
    "extinction_probability",
    "fresh_real_error",
    "gaussian_mixed",
    "gaussian_recursion",
    "lineage_matrix",
    "lineage_visits",
    "log_drift_bound",
    "max_synthetic",
    "max_synthetic_bound",
    "mixed_drift",
    "mixed_drift_mean",
    "mixed_sumsq",
    "mixed_variance_factor",
    "optimal_synthetic_weight",
    "pool_dirac_probability",
    "power_sum_mean",
    "replace_drift",
    "separable_expectation",
    "simulate",
    "simulate_laws",
    "sumsq_moments",
    "window_decay_rate",
]
