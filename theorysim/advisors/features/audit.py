r"""Which features does a network use, are they the right ones, and would random ones do?

The features are diagonalised (`feature_report`): u(K*) is the share of the outputs' span in the first K*
eigenfunctions, K* being what the labels need; q(K*) is how much of these lies in the span of the labels. Then
each is held against chance, against random features, and against held-out inputs, and said in words.

Example:
    >>> draw = np.random.default_rng(0)
    >>> labels = np.arange(600) % 3
    >>> x = draw.normal(size=(600, 40)) + 12 * np.eye(3, 40)[labels]
    >>> audit = audit_features(x, labels, readout=np.eye(3, 40))
    >>> audit.report.regime, audit.chance.quality_p
    ('minimal', 0.005)
    >>> print(audit.verdict[0])
    MINIMAL: the outputs use as many features as 3 classes need: u(2) = 1.000, at least 0.95 with confidence
    above 99.9 %.
"""

from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from scipy.stats import norm

from theorysim.advisors.features.directions import Basis, leading_basis, projected, ridge_probe
from theorysim.advisors.features.nulls import Chance, RandomFeatures, chance_of, random_features
from theorysim.advisors.features.problem import FEW, Data, Problem, read_problem
from theorysim.advisors.features.unseen import Unseen, unseen
from theorysim.advisors.features.verdict import feature_verdict
from theorysim.feature_map import FeatureReport, adjusted_quality, feature_report, unbiased_participation
from theorysim.numerics.validation import positive_int, real

__all__ = ["Confidence", "FeatureAudit", "Limits", "Sample", "Wider", "audit_features"]

# Below this ratio two eigenvalues are not told apart.
_LEAST_GAP = 1.02
_SAMPLE = 2000


class Limits(NamedTuple):
    """From where on words are used; all are ours.

    Attributes:
        minimal: u(K*) of the minimal-feature regime.
        extended: u(K*) up to which it is the extended one.
        dominant: share(K*) from which the features count as learned.
        wrong: share of the quality that is carried over to held-out inputs, below which features are wrong.
    """

    minimal: float
    extended: float
    dominant: float
    wrong: float


class Confidence(NamedTuple):
    """How sure each regime is, by a normal law of u(K*) about the estimate; NaN without one.

    Attributes:
        minimal: that u(K*) is at least the upper limit.
        between: that it is between both.
        extended: that it is at most the lower one.
    """

    minimal: float
    between: float
    extended: float


class Wider(NamedTuple):
    """u and q of the first K features, K being the next where the spectrum has a gap.

    Attributes:
        top: K > K*.
        quality: q(K) K/K*, what of the targets the first K hold.
        utility: u(K); NaN without a readout and outputs.
    """

    top: int
    quality: float
    utility: float


class Sample(NamedTuple):
    """The first two eigenfunctions over some of the examples, for a picture.

    Attributes:
        examples: which, (m,).
        coordinates: e_1 and e_2 there, (m, 2); the second 0 if there is but one.
        labels: ranks of the classes, or the first target, (m,).
    """

    examples: np.ndarray
    coordinates: np.ndarray
    labels: np.ndarray


class FeatureAudit(NamedTuple):
    """What the features of a network are, and whether they are the right ones.

    Attributes:
        data: what was audited.
        report: spectrum, quality, utility, collapse, regime and standard errors, of `feature_report`; arrays
            of NumPy. Where the readout was fitted here, nc3 and nc4 are None.
        source: of utility and regime: "readout" or "outputs" if given, "probe" if a ridge readout was
            fitted to the labels: then they are those of a linear probe, not of the network.
        explained: by that probe, of the labels' variance, cross-validated; None if a readout was given.
        confidence: of each regime.
        adjusted_quality: q(K*) less what chance gives.
        decodable: share of the labels that all features together explain, less what chance gives; NaN if
            there are no fewer features than examples.
        participation: N2 of the population, by unbiased estimates; None with 10 examples for each feature,
            where N2 itself will do.
        chance: u(K*) and q(K*) beside what chance gives.
        random: q(K*) of random features.
        held_out: the first K* over held-out inputs; None without any.
        wider: where the first K* are not well defined, the next K that is; None if they are, or none is.
        sample: for a picture.
        limits: from where on words are used.
        verdict: all of it in words.
    """

    data: Data
    report: FeatureReport
    source: Literal["readout", "outputs", "probe"]
    explained: float | None
    confidence: Confidence
    adjusted_quality: float
    decodable: float
    participation: float | None
    chance: Chance
    random: RandomFeatures
    held_out: Unseen | None
    wider: Wider | None
    sample: Sample
    limits: Limits
    verdict: tuple[str, ...]


def audit_features(
    features: Any,
    labels: Any,
    *,
    readout: Any = None,
    outputs: Any = None,
    test_features: Any = None,
    test_labels: Any = None,
    inputs: Any = None,
    task: str = "auto",
    minimal: float | int = 0.95,
    extended: float | int = 0.85,
    dominant: float | int = 0.8,
    wrong: float | int = 0.5,
    permutations: int | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> FeatureAudit:
    """Audit the features of a network.

    Args:
        features: activations before the readout, (n, p), n >= 3. Arrays of any framework; a file that is
            mapped into memory is read in blocks.
        labels: (n,): whole numbers, booleans and words are classes; floats, (n,) or (n, t), are targets.
        readout: weights after the features, (C, p); a single row of two classes is that of the second.
        outputs: (n, C), in place of a readout or beside it (then they say which class is predicted).
            Without either a ridge readout is fitted to the labels, and `source` is "probe".
        test_features: held-out activations, (n', p), and with them
        test_labels: every class of `labels`, or targets.
        inputs: of the network, (n, ...): then the random features are ReLU features of these, else random
            directions among the features.
        task: "classes" or "regression" where the type of the labels says otherwise.
        minimal: u(K*) from which the regime is minimal.
        extended: u(K*) up to which it is extended, <= minimal.
        dominant: share(K*) from which the features count as learned.
        wrong: share of the quality carried over to held-out inputs below which the features are wrong.
        permutations: of the labels, >= 19; by default 199, fewer where n K* is above two million.
        draws: of random features, >= 1.
        seed: of everything random, >= 0.

    Returns:
        FeatureAudit. Cost: twice that of `feature_report`, then n K* for each permutation.

    Raises:
        ValueError: arrays that cannot be used (see `read_problem`), a number out of its range, or too many
            features for the memory.

    Example:
        >>> audit_features(np.eye(6), [0, 0, 0, 0, 0, 0])
        Traceback (most recent call last):
        ValueError: labels must name at least two classes, got only [0]
    """
    limits = _checked(minimal, extended, dominant, wrong, permutations, draws, seed)
    problem = read_problem(
        features,
        labels,
        readout=readout,
        outputs=outputs,
        test_features=test_features,
        test_labels=test_labels,
        inputs=inputs,
        task=task,
    )
    K = problem.data.target_dimension
    basis = leading_basis(problem.x, problem.labels, classes=problem.classes, top=max(K, 2))
    source, explained, matrix = "readout", None, problem.readout
    if matrix is None and problem.outputs is not None:
        source = "outputs"
    elif matrix is None:
        probe = ridge_probe(basis, problem.labels, classes=problem.classes)
        source, explained, matrix = "probe", probe.explained, probe.readout
    report = feature_report(
        problem.x,
        problem.labels,
        readout=matrix,
        outputs=problem.outputs,
        classes=problem.classes,
        minimal=limits.minimal,
        extended=limits.extended,
    )
    report = jax.tree.map(lambda a: np.asarray(a) if isinstance(a, jax.Array) else a, report)
    if source == "probe":
        report = report._replace(nc3=None, nc4=None)
    top = min(K, len(basis.values))
    q = float(report.cumulative_quality[top - 1]) * top / K
    audit = FeatureAudit(
        data=problem.data,
        report=report,
        source=source,
        explained=explained,
        confidence=_confidence(report, top, limits),
        adjusted_quality=float(adjusted_quality(q, classes=K + 1, n=problem.data.examples)),
        decodable=_decodable(report, problem),
        participation=_participation(problem),
        chance=chance_of(problem, report, basis, permutations=permutations, seed=seed),
        random=random_features(problem, basis, draws=draws, seed=seed),
        held_out=None if problem.test_x is None else unseen(problem, basis, matrix, quality=q),
        wider=_wider(report) if report.ambiguous else None,
        sample=_sample(problem, basis, seed),
        limits=limits,
        verdict=(),
    )
    return audit._replace(verdict=feature_verdict(audit))


def _checked(minimal, extended, dominant, wrong, permutations, draws, seed) -> Limits:
    real(extended, "extended", low=0, high=1)
    real(minimal, "minimal", low=extended, high=1)
    real(dominant, "dominant", low=0, high=1)
    real(wrong, "wrong", low=0, high=1)
    if permutations is not None:
        positive_int(permutations, "permutations", minimum=19)
    if draws is not None:
        positive_int(draws, "draws")
    positive_int(seed, "seed", minimum=0)
    return Limits(float(minimal), float(extended), float(dominant), float(wrong))


def _confidence(report: FeatureReport, top: int, limits: Limits) -> Confidence:
    errors = report.standard_errors
    if report.cumulative_utility is None or errors is None or errors.utility is None:
        return Confidence(np.nan, np.nan, np.nan)
    u, error = float(report.cumulative_utility[top - 1]), float(errors.utility)
    if not np.isfinite(error):
        return Confidence(np.nan, np.nan, np.nan)
    if error:
        minimal = float(norm.cdf((u - limits.minimal) / error))
        extended = float(norm.cdf((limits.extended - u) / error))
    else:
        minimal, extended = float(u >= limits.minimal), float(u <= limits.extended)
    return Confidence(minimal, max(1 - minimal - extended, 0.0), extended)


def _decodable(report: FeatureReport, problem: Problem) -> float:
    """Adjusted share of the targets' span that lies in the span of the features."""
    n, K = problem.data.examples, problem.data.target_dimension
    rank = len(report.quality) - int(report.dropped)
    if rank >= n - 1:
        return float("nan")
    return 1 - (1 - float(report.quality.sum()) / K) * (n - 1) / (n - 1 - rank)


def _participation(problem: Problem) -> float | None:
    n, p = problem.x.shape
    return float(unbiased_participation(problem.x)) if 4 <= n < FEW * p else None


def _wider(report: FeatureReport) -> Wider | None:
    K, rho = report.target_dimension, np.asarray(report.eigenvalues)
    rho = rho[: len(rho) - int(report.dropped)]
    gaps = rho[K:-1] / rho[K + 1 :]
    if not (gaps >= _LEAST_GAP).any():
        return None
    top = K + 1 + int((gaps >= _LEAST_GAP).argmax())
    u = np.nan if report.cumulative_utility is None else float(report.cumulative_utility[top - 1])
    return Wider(top, float(report.cumulative_quality[top - 1]) * top / K, u)


def _sample(problem: Problem, basis: Basis, seed: int) -> Sample:
    n = problem.data.examples
    chosen = np.arange(n)
    if n > _SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(n, _SAMPLE, replace=False))
    there = min(2, basis.directions.shape[1])
    coordinates = np.zeros((len(chosen), 2))
    coordinates[:, :there] = projected(problem.x[chosen], basis, there)
    labels = problem.labels[chosen]
    return Sample(chosen, coordinates, labels if labels.ndim == 1 else labels[:, 0])
