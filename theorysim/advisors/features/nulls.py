r"""What utility and quality would be without learning: labels permuted, random outputs, random features.

    labels permuted         q(K*) has mean K*/(n-1) for any eigenfunctions; its p-value is counted
    outputs at random       u(K*) of a random space among the eigenfunctions: mean K*/p
    a random readout        u(K*) of Gaussian weights on these features, which follow their variance
    random features         q(K*) of as many ReLU features of the inputs, with Gaussian weights; without
                            inputs, of K* random directions in the features that there are

The first two are laws (`chance_quality`, `chance_cumulative_utility`), the others are drawn.

Example:
    >>> random_readout(np.array([9.0, 1.0, 1.0]), top=1, rank=1, draws=2000, seed=0).mean > 0.5
    True
"""

from typing import Any, NamedTuple

import numpy as np

from theorysim.advisors.features.directions import Basis, projected, streamed_moments
from theorysim.advisors.features.problem import Problem
from theorysim.feature_map import (
    FeatureMoments,
    FeatureReport,
    chance_cumulative_utility,
    chance_quality,
    feature_report,
    quality,
)

__all__ = [
    "Bands",
    "Chance",
    "Draws",
    "RandomFeatures",
    "chance_bands",
    "chance_of",
    "permuted_quality",
    "random_features",
    "random_readout",
]

_LEVEL = 0.05
# Products of one permutation, or of one draw, that are made at most by default.
_PERMUTATION_WORK = 4e8
_PERMUTATIONS = (19, 199)
_DRAWS = 20
# Random directions for which the features are read once.
_COLUMNS = 400


class Draws(NamedTuple):
    """What was drawn of a null.

    Attributes:
        mean: over draws.
        deviation: standard deviation of one draw; 0 of a single one.
        count: draws.
    """

    mean: float
    deviation: float
    count: int


class Chance(NamedTuple):
    """u(K*) and q(K*) beside what they would be by chance.

    Attributes:
        quality: expected q(K*) with permuted labels.
        quality_deviation: of q(K*) for random directions.
        quality_distance: how many of those deviations q(K*) lies above it.
        quality_p: share of permutations, with the data's own, whose q(K*) is as large.
        permutations: how many.
        informative: eigenfunctions whose quality is above chance at 5 % for all of them together.
        utility: expected u(K*) of random outputs; NaN without a readout and outputs, like the next three.
        utility_deviation: of it.
        readout: u(K*) of random weights.
        readout_deviation: of it.
    """

    quality: float
    quality_deviation: float
    quality_distance: float
    quality_p: float
    permutations: int
    informative: int
    utility: float
    utility_deviation: float
    readout: float
    readout_deviation: float


class Bands(NamedTuple):
    """What u(K) and q(K) of the first K features are by chance, for a picture.

    Attributes:
        top: K, (m,).
        utility: mean of u(K), (m,); NaN without a readout and outputs.
        utility_deviation: of it, (m,).
        quality: mean of q(K), the same for all K, (m,).
        quality_deviation: of it, (m,).
    """

    top: np.ndarray
    utility: np.ndarray
    utility_deviation: np.ndarray
    quality: np.ndarray
    quality_deviation: np.ndarray


class RandomFeatures(NamedTuple):
    """q(K*) of features that nobody trained, for comparison.

    Attributes:
        kind: "relu" of the inputs, or "directions" among the features.
        quality: q(K*), in the mean.
        quality_deviation: between draws.
        dominance: share(K*), in the mean; NaN for directions.
        participation: N2, in the mean; NaN for directions.
        draws: how many.
    """

    kind: str
    quality: float
    quality_deviation: float
    dominance: float
    participation: float
    draws: int


def permuted_quality(
    functions: np.ndarray, labels: np.ndarray, *, classes: int | None, permutations: int, seed: int
) -> np.ndarray:
    """Quality of functions for the labels in random order.

    Args:
        functions: orthonormal over the examples and centred, (n, K).
        labels: ranks of classes (n,), or targets (n, t).
        classes: C; None for targets.
        permutations: how many, >= 1.
        seed: of the orders.

    Returns:
        (permutations,).

    Example:
        >>> e = np.array([[1.0], [1.0], [-1.0], [-1.0]])
        >>> sorted(set(permuted_quality(e, np.array([0, 0, 1, 1]), classes=2, permutations=50, seed=0)))
        [np.float64(0.0), np.float64(1.0)]
    """
    rng, n = np.random.default_rng(seed), len(functions)
    if classes:
        counts = np.bincount(labels, minlength=classes)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])

        def shared(rows: np.ndarray) -> Any:
            sums = np.add.reduceat(functions[rows], starts, axis=0)
            return (sums**2 / counts[:, None]).sum() / n
    else:
        root = np.linalg.cholesky(np.cov(labels.T, bias=True).reshape(labels.shape[1], -1))
        white = np.linalg.solve(root, (labels - labels.mean(0)).T)

        def shared(rows: np.ndarray) -> Any:
            return ((white @ functions[rows] / n) ** 2).sum()

    return np.array([shared(rng.permutation(n)) for _ in range(permutations)]) / functions.shape[1]


def random_readout(values: np.ndarray, *, top: int, rank: int, draws: int, seed: int) -> Draws:
    """u(top) of outputs with Gaussian weights, which depends on the eigenvalues alone.

    Args:
        values: rho > 0, (r,).
        top: K.
        rank: of the outputs, <= r.
        draws: how many, >= 1.
        seed: of the weights.

    Example:
        >>> random_readout(np.ones(4), top=4, rank=2, draws=3, seed=0).deviation < 1e-9
        True
    """
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        G = np.sqrt(values)[:, None] * rng.standard_normal((len(values), rank))
        found.append((np.linalg.qr(G)[0][:top] ** 2).sum() / rank)
    return Draws(np.mean(found).item(), np.std(found).item(), draws)


def chance_of(
    problem: Problem, report: FeatureReport, basis: Basis, *, permutations: int | None, seed: int
) -> Chance:
    """All that chance says of a report.

    Example:
        >>> from theorysim.advisors.features.directions import leading_basis
        >>> from theorysim.advisors.features.problem import read_problem
        >>> x = np.random.default_rng(0).normal(size=(90, 6))
        >>> problem = read_problem(x, np.arange(90) % 3)
        >>> basis = leading_basis(x, problem.labels, classes=3, top=2)
        >>> chance = chance_of(problem, feature_report(x, problem.labels), basis, permutations=99, seed=0)
        >>> chance.informative, chance.quality_p > 0.05
        (0, True)
    """
    from scipy.stats import beta

    n, K = problem.data.examples, problem.data.target_dimension
    top = min(K, len(basis.values))
    q, Q = float(report.cumulative_quality[top - 1]), np.asarray(report.quality)
    p = len(Q) - int(report.dropped)
    # A projection on `top` directions of the n - 1 against one on K: the same law as of u.
    law = chance_cumulative_utility(features=n - 1, rank=K, top=top)
    expected, deviation = float(law.mean) * K / top, float(law.variance) ** 0.5 * K / top
    single = chance_quality(classes=K + 1, n=n)
    limit = float(beta.isf(_LEVEL / p, float(single.alpha), float(single.beta)))
    if permutations is None:
        low, high = _PERMUTATIONS
        permutations = int(np.clip(_PERMUTATION_WORK // (n * top), low, high))
    functions = projected(problem.x, basis, top)
    drawn = permuted_quality(
        functions, problem.labels, classes=problem.classes, permutations=permutations, seed=seed
    )
    utility = utility_deviation = readout = readout_deviation = np.nan
    if report.utility is not None:
        rank = max(round(float(np.asarray(report.utility).sum())), 1)
        if p > 1:
            law = chance_cumulative_utility(features=p, rank=rank, top=top)
            utility, utility_deviation = float(law.mean), float(law.variance) ** 0.5
        found = random_readout(basis.values, top=top, rank=min(rank, p), draws=_DRAWS, seed=seed)
        readout, readout_deviation = float(found.mean), float(found.deviation)
    return Chance(
        quality=expected,
        quality_deviation=deviation,
        quality_distance=(q - expected) / deviation if deviation else np.inf,
        quality_p=(1 + int((drawn >= q * (1 - 1e-9)).sum())) / (1 + permutations),
        permutations=permutations,
        informative=int((Q > limit).sum()),
        utility=utility,
        utility_deviation=utility_deviation,
        readout=readout,
        readout_deviation=readout_deviation,
    )


def chance_bands(report: FeatureReport, *, examples: int, top: int) -> Bands:
    """Chance for the first 1 ... `top` features of a report of so many examples.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(60, 4))
        >>> report = feature_report(x, np.arange(60) % 3, readout=np.eye(3, 4))
        >>> bands = chance_bands(report, examples=60, top=4)
        >>> bands.utility, bands.quality[0] * 59
        (array([0.25, 0.5 , 0.75, 1.  ]), np.float64(2.0))
    """
    K, n = report.target_dimension, examples
    p = len(report.quality) - int(report.dropped)
    tops = np.arange(1, min(top, p, n - 1) + 1)
    # Of K directions on the `top`: the law of u, but for the divisor.
    law = chance_cumulative_utility(features=n - 1, rank=K, top=tops)
    scale = K / tops
    u = deviation = np.full(len(tops), np.nan)
    if report.utility is not None and p > 1:
        rank = max(round(float(np.asarray(report.utility).sum())), 1)
        own = chance_cumulative_utility(features=p, rank=rank, top=tops)
        u, deviation = np.asarray(own.mean), np.sqrt(np.asarray(own.variance))
    return Bands(tops, u, deviation, np.asarray(law.mean) * scale, np.sqrt(np.asarray(law.variance)) * scale)


def random_features(problem: Problem, basis: Basis, *, draws: int | None, seed: int) -> RandomFeatures:
    """q(K*) of as many random features.

    Args:
        problem: with inputs or without.
        basis: of its features.
        draws: how many; by default 5 of ReLU features, 1 where there are many, and 20 of directions.
        seed: of the weights.

    Example:
        >>> from theorysim.advisors.features.directions import leading_basis
        >>> from theorysim.advisors.features.problem import read_problem
        >>> x = np.random.default_rng(0).normal(size=(900, 6))
        >>> problem = read_problem(x, np.arange(900) % 3)
        >>> basis = leading_basis(x, problem.labels, classes=3, top=2)
        >>> found = random_features(problem, basis, draws=None, seed=0)
        >>> found.kind, found.draws, found.quality < 0.01
        ('directions', 20, True)
    """
    rng = np.random.default_rng(seed)
    n, p = problem.x.shape
    top = min(problem.data.target_dimension, len(basis.values))
    if problem.inputs is None:
        at_once = max(_COLUMNS // top, 1)
        draws, found = draws or min(at_once, _DRAWS), []
        for first in range(0, draws, at_once):
            count = min(at_once, draws - first)
            directions = rng.standard_normal((p, count * top))
            law = streamed_moments(problem.x, problem.labels, classes=problem.classes, directions=directions)
            parts = (_part(law, slice(j * top, (j + 1) * top)) for j in range(count))
            found += [float(quality(part).mean()) for part in parts]
        nan = float("nan")
        return RandomFeatures("directions", np.mean(found).item(), np.std(found).item(), nan, nan, draws)
    draws = draws or (5 if n * p * min(n, p) < 1e9 else 1)
    inputs = problem.inputs.astype(problem.x.dtype)
    scale = inputs.std(0)
    inputs = (inputs - inputs.mean(0)) / np.where(scale > 0, scale, 1)
    rows = []
    for _ in range(draws):
        weights = rng.standard_normal((inputs.shape[1], p)).astype(inputs.dtype)
        weights *= (2 / inputs.shape[1]) ** 0.5
        hidden = np.maximum(inputs @ weights, 0)
        law = feature_report(hidden, problem.labels, classes=problem.classes, errors=False)
        rows.append([law.cumulative_quality[top - 1], law.dominance, law.effective_participation])
    mean = np.asarray(rows, float).mean(0)
    deviation = np.asarray(rows, float)[:, 0].std().item()
    return RandomFeatures("relu", mean[0].item(), deviation, mean[1].item(), mean[2].item(), draws)


def _part(law: FeatureMoments, columns: slice) -> FeatureMoments:
    """Moments of some of the features."""
    assert law.mean is not None
    targets, means = law.targets, law.class_means
    return law._replace(
        mean=law.mean[columns],
        second_moment=law.second_moment[columns, columns],
        class_means=None if means is None else means[:, columns],
        targets=None if targets is None else targets._replace(cross=targets.cross[:, columns]),
    )
