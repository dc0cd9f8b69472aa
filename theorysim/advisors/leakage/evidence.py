r"""Kernel parameters and noise by the marginal likelihood: the probability of the labels under the model.

    log N(Y; 0, K + s2 I), summed over the outputs,

is maximised over the logarithms of the free parameters by L-BFGS-B with its exact gradient, from the best
point of a small grid. More than a thousand records or so do not change the optimum enough to pay for n^3 at
every step: a random subset is used, and the report says so.

Reference: C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006), 5.4.

Example:
    >>> from theorysim.advisors.leakage.problem import read_problem
    >>> x = np.linspace(0, 6, 40)[:, None]
    >>> fit = fit_model(read_problem(x, np.sin(x[:, 0]), standardize=False), kernel="rbf", noise=0.01)
    >>> fit.converged, fit.fitted, f"{fit.model.length:.1f}"
    (True, ('length', 'variance'), '2.1')
"""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import pdist

from theorysim.advisors.leakage.model import KERNELS, Model, kernels_of, shape_name
from theorysim.advisors.leakage.problem import Problem, equal_records
from theorysim.numerics.gp import log_marginal_likelihood
from theorysim.numerics.validation import choice, positive_int, real

__all__ = ["Auto", "Fit", "fit_model"]

Auto = float | int | str

# Bounds of the search: of a length in units of the median distance, of the others in those of the labels.
_BOUNDS = {"length": (1e-2, 1e2), "bias_variance": (1e-4, 1e2), "variance": (1e-3, 1e3), "noise": (1e-6, 1e1)}
_GRID = {"length": (0.3, 1.0), "bias_variance": (0.1,), "variance": (1.0,), "noise": (0.03, 0.3)}
# A kernel that is flexible enough calls class labels free of noise, and gives away every record: below 1 %
# there is nothing left to rank, and hardly anything to gain in likelihood.
_LEAST_CLASS_NOISE = 1e-2
_TINY_NOISE = 1e-10
_STEPS = 200


class Fit(NamedTuple):
    """The model that is audited, and how its parameters were found.

    Attributes:
        model: kernel and parameters.
        fitted: names of the parameters that were fitted; the others were given.
        records: how many entered the fit.
        log_likelihood: per record and output, of those records; NaN if nothing was fitted.
        converged: whether the gradient vanished, or nothing was fitted.
        at_bound: fitted parameters that ended at a bound of the search.
        steps: of the search.
        message: why it ended, in its own words; empty if nothing was fitted.
    """

    model: Model
    fitted: tuple[str, ...]
    records: int
    log_likelihood: float
    converged: bool
    at_bound: tuple[str, ...]
    steps: int
    message: str


def fit_model(
    problem: Problem,
    *,
    kernel: str,
    depth: int = 3,
    noise: Auto = "auto",
    length: Auto = "auto",
    bias_variance: Auto = "auto",
    variance: Auto = "auto",
    fit_records: int = 1000,
    seed: int = 0,
) -> Fit:
    """Find the parameters that were not given.

    Args:
        problem: the records.
        kernel: name of the model.
        depth: hidden layers of a network, >= 1.
        noise: s2 > 0, or "auto".
        length: > 0, or "auto"; only of "rbf".
        bias_variance: > 0, or "auto"; only of networks.
        variance: > 0, or "auto".
        fit_records: most records that enter, >= 4.
        seed: of the subset, >= 0.

    Raises:
        ValueError: an argument out of its range, a parameter that the kernel does not have, or a noise below
            1e-10 where records are equal.

    Example:
        >>> from theorysim.advisors.leakage.problem import read_problem
        >>> problem = read_problem(np.eye(4), [1, 2, 1, 2])
        >>> fit_model(problem, kernel="relu", length=1.0)
        Traceback (most recent call last):
        ValueError: length must be left at 'auto' with kernel = 'relu', which has none, got 1.0
    """
    choice(kernel, "kernel", KERNELS)
    depth = 0 if kernel == "rbf" else positive_int(depth, "depth")
    fit_records = positive_int(fit_records, "fit_records", minimum=4)
    positive_int(seed, "seed", minimum=0)
    shape = shape_name(kernel)
    given = {"length": length, "bias_variance": bias_variance, "variance": variance, "noise": noise}
    for name, value in given.items():
        if isinstance(value, str):
            choice(value, name, ("auto",))
        else:
            real(value, name, low=0, low_open=True, high_open=True)
    other = "bias_variance" if shape == "length" else "length"
    if given.pop(other) != "auto":
        value = length if other == "length" else bias_variance
        raise ValueError(
            f"{other} must be left at 'auto' with kernel = {kernel!r}, which has none, got {value!r}"
        )
    if not isinstance(noise, str) and noise < _TINY_NOISE and (pair := equal_records(problem.x)):
        raise ValueError(
            f"noise must be at least 1e-10 where records are equal, got {noise:g} for records {pair[0]} and "
            f"{pair[1]}: raise noise, or remove one of them"
        )
    names = (shape, "variance", "noise")
    free = tuple(name for name in names if isinstance(given[name], str))
    if not free:
        model = _model(kernel, depth, [float(given[name]) for name in names])
        return Fit(model, (), 0, float("nan"), True, (), 0, "")
    return _search(problem, kernel, depth, {name: given[name] for name in names}, free, fit_records, seed)


def _search(problem, kernel, depth, given, free, fit_records, seed) -> Fit:
    rows = np.arange(len(problem.x))
    if len(rows) > fit_records:
        rows = np.sort(np.random.default_rng(seed).choice(rows, fit_records, replace=False))
    x, y = problem.x[rows], problem.targets[rows]
    unit = {"length": _median_distance(x, seed), "bias_variance": 1.0, "variance": 1.0, "noise": 1.0}
    # Tangent kernels grow with depth, and all kernels of networks with the inputs: variance undoes it.
    if kernel != "rbf":
        trial = kernels_of(_model(kernel, depth, [0.1, 1.0, 1.0])).trained
        unit["variance"] = float(1 / jnp.diagonal(trial(x[:64], x[:64])).mean())
    bounds = {name: np.log(unit[name] * np.array(_BOUNDS[name])) for name in free}
    if "noise" in bounds and problem.data.task == "classes":
        bounds["noise"][0] = np.log(_LEAST_CLASS_NOISE)
    fixed = {name: np.log(float(value)) for name, value in given.items() if name not in free}
    x, y = jnp.asarray(x), jnp.asarray(y)

    def loss(theta):
        point = fixed | dict(zip(free, theta, strict=True))
        value, slope = _loss(jnp.asarray([point[name] for name in given]), x, y, kernel=kernel, depth=depth)
        slope = np.asarray(slope, np.float64)[[list(given).index(name) for name in free]]
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            # A matrix that rounding made indefinite: the line search turns round.
            return 1e10, np.zeros(len(free))
        return float(value), slope

    starts = [np.log([unit[n] * f for n, f in zip(free, factors, strict=True)]) for factors in _grid(free)]
    start = min(starts, key=lambda theta: loss(theta)[0])
    options: dict[str, Any] = {"maxiter": _STEPS, "ftol": 1e-10, "gtol": 1e-5}
    found: Any = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[tuple(bounds[n]) for n in free], options=options
    )
    point = fixed | dict(zip(free, found.x, strict=True))
    at_bound = tuple(
        name for name, value in zip(free, found.x, strict=True) if np.abs(bounds[name] - value).min() < 1e-6
    )
    return Fit(
        model=_model(kernel, depth, [float(np.exp(point[name])) for name in given]),
        fitted=free,
        records=len(rows),
        log_likelihood=-float(found.fun),
        converged=bool(found.success) and found.fun < 1e10,
        at_bound=at_bound,
        steps=int(found.nit),
        message=str(found.message),
    )


@partial(jax.jit, static_argnames=("kernel", "depth"))
@partial(jax.value_and_grad, argnums=0)
def _loss(theta, x, y, *, kernel, depth):
    shape, variance, noise = jnp.exp(theta)
    model = _model(kernel, depth, (shape, variance, noise))
    return -log_marginal_likelihood(kernels_of(model).trained(x, x), y, noise=noise) / y.size


def _model(kernel, depth, parameters) -> Model:
    """From the parameters in the order in which they are searched: shape, variance, noise."""
    shape, variance, noise = parameters
    is_rbf = kernel == "rbf"
    return Model(kernel, depth, shape if is_rbf else None, None if is_rbf else shape, variance, noise)


def _grid(free):
    return itertools.product(*(_GRID[name] for name in free))


def _median_distance(x, seed) -> float:
    """Between records of a sample that differ."""
    if len(x) > 300:
        x = x[np.random.default_rng(seed).choice(len(x), 300, replace=False)]
    distances = pdist(x)
    distances = distances[distances > 0]
    return float(np.median(distances)) if distances.size else 1.0
