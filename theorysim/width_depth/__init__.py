r"""When do the limits of infinite width and infinite depth commute? Residual networks at initialisation.

    Y_0 = W_in a,     Y_l = Y_{l-1} + alpha_l W_l phi(Y_{l-1}),     l = 1..L,     W_l ~ N(0, sigma_w^2 / n),

with the neural covariance q_l(a, b) = <Y_l(a), Y_l(b)>/n of two inputs. If the squared branch scales have a
bounded sum and each of them vanishes, q has one deterministic limit, whatever the order in which n and L
grow.

    infinite width    `covariance_recursion`, `pair_kernels` (pairs), `kernels` (Gram matrices: NNGP, NTK,
                      gradient)
    infinite depth    `depth_limit`, `kernels(tau=...)`, `correlation_flow` and its inverse `flow_time`,
                      `series_limit`, `discretisation_error`
    finite width      `sample_forward`, `sample_states`, `sample_ntk` (exact in law), `width_variance`,
                      `fluctuation_coefficient`, `band`
    regression        `InfiniteResNetRegressor`, `InfiniteResNetClassifier`
    contrast          `mlp_log_moments`, `shaped_mlp_sde`
    branch scales     `schedule`, `schedule_for_correlation`, `design_schedule`

References: S. Hayou, "Commutative Width and Depth Scaling in Deep Neural Networks" (2024), arXiv 2310.01683;
S. Hayou, G. Yang, "Width and Depth Limits Commute in Residual Networks" (2023), arXiv 2302.00453; see
docs/width_depth.md.

Example:
    >>> import jax, jax.numpy as jnp
    >>> q0, alpha2 = jnp.array([1.0, 1.0, 0.5]), schedule("uniform", 64)
    >>> wide = pair_kernels(q0, alpha2, "relu").nngp
    >>> deep = depth_limit(q0, 1.0, "relu").nngp
    >>> K0 = jnp.array([[1.0, 0.5], [0.5, 1.0]])
    >>> draws = sample_forward(jax.random.key(0), K0, 512, alpha2, "relu", num=200)
    >>> print(f"{wide[2]:.3f} at depth 64, {deep[2]:.3f} at infinite depth")
    0.905 at depth 64, 0.907 at infinite depth
    >>> print(f"{draws[:, -1, 0, 1].mean():.2f} at width 512 and depth 64")
    0.91 at width 512 and depth 64
"""

import importlib
from typing import TYPE_CHECKING, Any

from theorysim.width_depth.arguments import Kernels
from theorysim.width_depth.backward import NetworkDraws, sample_ntk
from theorysim.width_depth.design import Design, design_schedule, schedule_for_correlation
from theorysim.width_depth.flow import correlation_flow, flow_time
from theorysim.width_depth.fluctuations import Band, band, fluctuation_coefficient, width_variance
from theorysim.width_depth.forward import sample_forward, sample_states
from theorysim.width_depth.grams import kernels
from theorysim.width_depth.influence import FluctuationCoefficient
from theorysim.width_depth.limit import depth_limit
from theorysim.width_depth.mlp import LogMoments, mlp_log_moments, shaped_mlp_sde
from theorysim.width_depth.recursion import covariance_recursion, pair_kernels
from theorysim.width_depth.schedules import schedule
from theorysim.width_depth.series import DiscretisationError, SeriesLimit, discretisation_error, series_limit

if TYPE_CHECKING:
    from theorysim.width_depth.estimators import InfiniteResNetClassifier, InfiniteResNetRegressor

__all__ = [
    "Band",
    "Design",
    "DiscretisationError",
    "FluctuationCoefficient",
    "InfiniteResNetClassifier",
    "InfiniteResNetRegressor",
    "Kernels",
    "LogMoments",
    "NetworkDraws",
    "SeriesLimit",
    "band",
    "correlation_flow",
    "covariance_recursion",
    "depth_limit",
    "design_schedule",
    "discretisation_error",
    "flow_time",
    "fluctuation_coefficient",
    "kernels",
    "mlp_log_moments",
    "pair_kernels",
    "sample_forward",
    "sample_ntk",
    "sample_states",
    "schedule",
    "schedule_for_correlation",
    "series_limit",
    "shaped_mlp_sde",
    "width_variance",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes a second to import: for those who ask for its estimators.
    if name in ("InfiniteResNetClassifier", "InfiniteResNetRegressor"):
        return getattr(importlib.import_module(f"{__name__}.estimators"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
