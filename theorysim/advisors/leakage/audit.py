r"""Which training records does a model give away, and what would protect them?

The model is a Gaussian process, the limit of wide networks, or an ensemble of those; its kernel is fitted to
the data. Then nothing is sampled: the leverage h and the surprise zeta of each record say how well the best
attack can tell from an output whether the record was trained on, and both come for all n records from one
factorisation. The rest is more of the same (noise, removal), but for the check, which really trains again.

Scaling, kernel parameters and noise stay as they are when a record is left out: what they tell of a record is
not counted.

Example:
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 2))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> y[7] = 1 - y[7]  # one wrong label
    >>> audit = audit_leakage(x, y, noise=0.1, length=2.0, variance=1.0, networks=50)
    >>> int(audit.ranking[0]), audit.label_errors[0].record
    (7, 7)
    >>> print(audit.verdict[0])
    1 of 60 records is exposed, AUC above 0.9; most of all record 7: AUC 0.971, found in 29 % of trainings at
    0.1 % false alarms.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int64

from theorysim.advisors.leakage.evidence import Auto, Fit, fit_model
from theorysim.advisors.leakage.exposure import Exposure, Grams, exposures, ranking_of
from theorysim.advisors.leakage.label_errors import LabelError, likely_label_errors, predicted_labels
from theorysim.advisors.leakage.model import KERNELS, kernels_of
from theorysim.advisors.leakage.problem import Data, Problem, read_problem
from theorysim.advisors.leakage.retraining import Check, retrained, sample_of
from theorysim.advisors.leakage.tiles import gram_in_tiles
from theorysim.advisors.leakage.verdict import leakage_verdict
from theorysim.advisors.leakage.what_if import NoiseLevel, Removal, noise_level, removal_of
from theorysim.numerics.memory import free_memory, require_memory
from theorysim.numerics.validation import choice, positive_int, real

__all__ = ["LeakageAudit", "audit_leakage"]

# Matrices of the size of the kernel's that are held at once, measured: for a process; for an ensemble, which
# has two kernels, 6.5 at n = 1,000 and 6.0 at 2,000, in the removal.
_MATRICES = {"process": 3.5, "ensemble": 6.5}
# Beyond this many records a retraining costs minutes: fewer of them by default.
_MANY = 4000
# Records that a removal must leave.
_LEAST_LEFT = 2


class LeakageAudit(NamedTuple):
    """What every record leaks, and what would change it.

    Attributes:
        data: what was audited.
        fit: the model, and how its parameters were found.
        labels: of the records, as given, (n,).
        predicted: class or number that the other records predict for each, (n,).
        exposure: leverage, surprise, KL, AUC, TPR of every record, in the order of the data.
        ranking: records from the most exposed to the least, (n,).
        noise: leakage and accuracy at several noise variances, the model's own first.
        removal: what is left when the most exposed records are removed; None if it was not asked.
        label_errors: records whose label looks wrong, the most suspicious first.
        check: predicted against measured attacks on records left out in earnest; None if not asked.
        verdict: all of it in words.
    """

    data: Data
    fit: Fit
    labels: np.ndarray
    predicted: np.ndarray
    exposure: Exposure
    ranking: Int64[np.ndarray, " n"]
    noise: tuple[NoiseLevel, ...]
    removal: Removal | None
    label_errors: tuple[LabelError, ...]
    check: Check | None
    verdict: tuple[str, ...]


def audit_leakage(
    features: Any,
    labels: Any,
    *,
    kernel: str = "rbf",
    noise: Auto = "auto",
    length: Auto = "auto",
    variance: Auto = "auto",
    bias_variance: Auto = "auto",
    depth: int = 3,
    task: str = "auto",
    standardize: bool = True,
    noise_factors: Sequence[float | int] = (1, 2, 4, 10),
    remove: int | None = None,
    retrain: int | None = None,
    networks: int = 200,
    top: int = 10,
    fit_records: int = 1000,
    block: int | None = None,
    dtype: str = "float64",
    seed: int = 0,
    progress: Callable[[int, int, str], object] | None = None,
) -> LeakageAudit:
    """Audit the records of a training set.

    Args:
        features: (n, d), n >= 4: inputs, or the features of your network. Arrays of any framework.
        labels: (n,): whole numbers, booleans and words are classes, floats are numbers to predict.
        kernel: "rbf"; "relu" or "gelu", infinitely wide networks trained to a posterior; "ntk", an ensemble
            of infinitely wide ReLU networks trained by gradients with a ridge: the tangent kernel is the
            covariance of the fit and of the mean, and the law over random starts that of
            `ntk_leave_one_out`, whose AUC is that of `gaussian_pair_auc`.
        noise: variance s2 > 0 of the noise on labels of variance 1 (the ridge); "auto" fits it.
        length: of "rbf", > 0, in units of the features that are used; "auto" fits it.
        variance: of the function, > 0; "auto" fits it.
        bias_variance: of the networks' biases, > 0; "auto" fits it.
        depth: hidden layers of the networks, >= 1.
        task: "classes" or "regression" where the type of the labels says otherwise.
        standardize: whether each feature is scaled to mean 0 and variance 1; constant ones always drop out.
        noise_factors: noises to look at, in units of the model's, > 0; 1 is always the first.
        remove: how many of the most exposed records to remove; by default `top`, at most n/10; 0 for none.
        retrain: records that are left out in earnest, half of them the most exposed; by default 8, and 2
            beyond 4,000 records; 0 for none.
        networks: trained with all records, and as many without each of these, >= 10.
        top: length of the lists, >= 1.
        fit_records: most records that enter the fit.
        block: columns of the inverse held at once, >= 1; by default n/8.
        dtype: of the kernel matrix and its factor. "float32" halves the memory and is several times faster;
            leverages are then within 1e-4 and surprises within 4 %, and the ranking is the same.
        seed: of everything random, >= 0.
        progress: called before each step with the steps done, their number, and the name of the next.

    Returns:
        LeakageAudit. Cost: the fit, then 2 n^3/3 operations for each noise, as many for the removal, and
        n^3/3 for each retraining.

    Raises:
        ValueError: an argument out of its range, records that cannot be used, or more of them than fit into
            memory.

    Example:
        >>> audit_leakage(np.eye(6), [0, 1, 0, 1, 0, 1], noise=0.0)
        Traceback (most recent call last):
        ValueError: noise must be in (0, inf), got 0
    """
    problem = read_problem(features, labels, task=task, standardize=standardize)
    plan = _checked(problem, kernel, dtype, noise_factors, remove, retrain, networks, top, block)
    factors, removed, sample = plan
    steps = ["kernel parameters", "kernel matrix"]
    steps += [f"leave one out at {factor:g} x the noise" for factor in factors]
    steps += ["removal"] * (removed > 0) + [f"retraining without {sample} records"] * (sample > 0)
    done = iter(range(len(steps)))

    def begin() -> None:
        step = next(done)
        if progress is not None:
            progress(step, len(steps), steps[step])

    begin()
    fit = fit_model(
        problem,
        kernel=kernel,
        depth=depth,
        noise=noise,
        length=length,
        bias_variance=bias_variance,
        variance=variance,
        fit_records=fit_records,
        seed=seed,
    )
    s2 = float(fit.model.noise)
    begin()
    trained, start = (
        None if one is None else gram_in_tiles(one, problem.x, jnp.dtype(dtype))
        for one in kernels_of(fit.model)
    )
    assert trained is not None
    grams = Grams(trained, start)
    levels, exposure = [], None
    for factor in factors:
        begin()
        found = exposures(grams, problem.targets, noise=factor * s2, block=block)
        exposure = found if exposure is None else exposure
        levels.append(noise_level(problem, found, factor * s2))
    assert exposure is not None
    ranking, removal, check = ranking_of(exposure), None, None
    if removed:
        begin()
        removal = removal_of(problem, grams, exposure, noise=s2, count=removed, top=top, block=block)
    if sample:
        begin()
        records = sample_of(ranking, sample, seed)
        check = retrained(
            grams, problem.targets, exposure, noise=s2, records=records, networks=networks, seed=seed
        )
    audit = LeakageAudit(
        data=problem.data,
        fit=fit,
        labels=problem.labels,
        predicted=predicted_labels(problem, exposure),
        exposure=exposure,
        ranking=ranking,
        noise=tuple(levels),
        removal=removal,
        label_errors=likely_label_errors(problem, exposure),
        check=check,
        verdict=(),
    )
    return audit._replace(verdict=leakage_verdict(audit))


def _checked(problem: Problem, kernel, dtype, noise_factors, remove, retrain, networks, top, block):
    """Noise factors, records to remove and records to leave out, or ValueError."""
    n, k = problem.targets.shape
    choice(kernel, "kernel", KERNELS)
    choice(dtype, "dtype", ("float64", "float32"))
    if dtype == "float64" and jnp.result_type(float) != jnp.float64:
        raise ValueError("dtype must be 'float32' unless jax_enable_x64 is set, got 'float64'")
    factors = tuple(float(factor) for factor in noise_factors)
    real(np.array(factors), "noise_factors", low=0, low_open=True, high_open=True)
    factors = (1.0, *(factor for factor in factors if factor != 1))
    positive_int(top, "top")
    positive_int(networks, "networks", minimum=10)
    if block is not None:
        positive_int(block, "block")
    if remove is None:
        remove = min(top, n // 10)
    else:
        positive_int(remove, "remove", minimum=0, maximum=n - _LEAST_LEFT)
    if retrain is None:
        retrain = min(8 if n <= _MANY else 2, n)
    else:
        positive_int(retrain, "retrain", minimum=0, maximum=n)
    _check_memory(n, k, dtype, kernel == "ntk", retrain, networks)
    return factors, remove, retrain


def _check_memory(n, k, dtype, ensemble, retrain, networks) -> None:
    itemsize = jnp.dtype(dtype).itemsize
    matrices = _MATRICES["ensemble" if ensemble else "process"]
    # Retrainings are in float64: two matrices beside the kernel; then starts, goals and outputs of networks.
    trained = (24 if dtype == "float64" else 28) * n * n + 48 * n * networks * k
    held = max(matrices * n * n * itemsize, trained if retrain else 0)
    fitting = int(n * (free_memory() / held) ** 0.5)
    remedies = [*["dtype = float32"] * (dtype != "float32"), "fewer records"]
    require_memory(
        int(held),
        f"features of n = {n:,} records in {dtype}",
        f"about {fitting:,} records fit as it is; use {' or '.join(remedies)}",
    )
