r"""The best ridge and the best weight of the synthetic data, by gradients through the fixed point.

    max over gamma and omega of Phi(mean / sqrt(var)),

omega scaling the weights of every group but the first. Unit weight can hurt; the best never does, since
omega = 0 discards the synthetic data. With isotropic data and aligned means the accuracy often increases
with the ridge for ever (the averaging classifier): then gamma ends at its bound, and `at_bound` says so.
Derived, see docs/rmt_synthetic.md.

Example:
    >>> import numpy as np
    >>> from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
    >>> p, i = 150, np.arange(150)
    >>> mu, mu_s = paper_means(p, 1.5, beta=0.8, perp=0.6)
    >>> decay, spread = 0.4 ** abs(i[:, None] - i), np.linspace(0.5, 2, p)
    >>> few = real_plus_synthetic(80, 400, mu, mu_s, eps=0.3, rho=0.2, phi=0.9, cov_r=decay, cov_s=spread)
    >>> best = optimal_design(few)
    >>> print(f"gamma {best.gamma:.3f}, omega {best.omega:.4f}, accuracy {best.accuracy:.8f}")
    gamma 2.636, omega 0.6168, accuracy 0.84808157
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.optimize import minimize

from theorysim.numerics.validation import choice, real, scalar
from theorysim.rmt_synthetic.moments import decision_moments
from theorysim.rmt_synthetic.problem import Problem, checked
from theorysim.rmt_synthetic.score import test_accuracy

__all__ = ["Design", "optimal_design", "reweighted"]

_BOUNDS = {"gamma": (1e-6, 1e6), "omega": (1e-4, 1e4)}
# Where the search starts: the landscape has several hills when the generator's mean is off.
_STARTS = {"gamma": (1e-2, 1.0, 1e2), "omega": (0.03, 1.0)}


class Design(NamedTuple):
    """Best ridge and weight, the accuracy they reach, and the names of those that end at a bound."""

    gamma: float
    omega: float
    accuracy: float
    at_bound: tuple[str, ...]


def reweighted(problem: Problem, omega: ArrayLike) -> Problem:
    """The problem with the weights of every group but the first multiplied by omega, >= 0.

    Raises:
        ValueError: omega < 0 or not a scalar.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(10, 20, jnp.ones(4), eps=0.1, rho=0, phi=1)
        >>> print(reweighted(problem, 0.5).atoms[:, 0, 0])
        [1.  0.5]
    """
    real(scalar(omega, "omega"), "omega", low=0, high_open=True)
    atoms = problem.atoms
    return problem._replace(atoms=atoms.at[1:, :, 0].multiply(jnp.asarray(omega, atoms.dtype)))


def optimal_design(
    problem: Problem,
    free: Sequence[str] = ("gamma", "omega"),
    *,
    gamma: float | int = 1.0,
    omega: float | int = 1.0,
    test_cov: Float[Array, "*pp"] | None = None,
) -> Design:
    """Maximise the limiting accuracy over the ridge, the weight of the synthetic data, or both.

    Logarithms of the free parameters are searched by L-BFGS-B with exact gradients, from several starts. It
    runs on the host: the problem must be concrete.

    Args:
        problem: the groups; omega multiplies the weights of all but the first.
        free: any of "gamma", which is searched in [1e-6, 1e6], and "omega", in [1e-4, 1e4].
        gamma: the ridge where it is not free, > 0.
        omega: the weight where it is not free, >= 0.
        test_cov: covariance of the test points; that of group 0 by default.

    Raises:
        ValueError: nothing to search, a name that is neither, or an argument out of its range.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(100, 200, jnp.ones(50) / 5, eps=0.4, rho=0.8, phi=1)
        >>> best = optimal_design(problem, free=("omega",), gamma=1e4)
        >>> print(f"{best.omega:.2f}")  # about lambda / alpha = 0.28 / 0.92
        0.30
    """
    free = tuple(dict.fromkeys(free))
    for name in free:
        choice(name, "free", tuple(_BOUNDS))
    if not free:
        raise ValueError("free must name at least one of 'gamma', 'omega', got ()")
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    problem = checked(problem)

    @jax.jit
    def value_and_slope(logs):
        def loss(logs):
            at = {"gamma": gamma, "omega": omega} | {
                name: jnp.exp(x) for name, x in zip(free, logs, strict=True)
            }
            moments = decision_moments(reweighted(problem, at["omega"]), at["gamma"], test_cov=test_cov)
            return -test_accuracy(*moments)

        return jax.value_and_grad(loss)(logs)

    dtype = problem.means.dtype

    def objective(logs):
        value, slope = value_and_slope(jnp.asarray(logs, dtype))
        return float(value), np.asarray(slope, np.float64)

    bounds = [tuple(np.log(_BOUNDS[name])) for name in free]
    starts = np.stack(np.meshgrid(*(np.log(_STARTS[name]) for name in free)), -1).reshape(-1, len(free))
    tight = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 200}
    found = [
        minimize(objective, x, jac=True, method="L-BFGS-B", bounds=bounds, options=tight) for x in starts
    ]
    best = min(found, key=lambda result: result.fun)
    at = {"gamma": float(gamma), "omega": float(omega)}
    at |= {name: float(np.exp(x)) for name, x in zip(free, best.x, strict=True)}
    ends = [name for name, x, bound in zip(free, best.x, bounds, strict=True) if np.isclose(x, bound).any()]
    return Design(**at, accuracy=-float(best.fun), at_bound=tuple(ends))
