r"""Predicted and measured accuracy on a user's own samples, split into a part that trains and one that tests.

In each split the training part alone gives the midpoint between the classes, the scale of each feature, the
generator (the Gaussian with the mean and covariance of the label-aligned training features), the ridge and
the weight that are predicted to be best, and the prediction. Then synthetic samples are really drawn,
labelled, pruned and trained on, and the classifier is measured on the rest.

The samples are ordered so that every run of them holds the two classes in their proportion; split j of J
rotates that order by j/J of its length, and its first n samples train. With n = (1 - 1/J) k that is J-fold
cross-validation.

Example:
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([1, -1], 100)
    >>> x = 0.3 * y[:, None] + rng.normal(size=(200, 20))
    >>> quality = dict(label_noise=0.1, keep_right=1.0, keep_wrong=0.5)
    >>> plan = Plan(m=100, **quality, gamma=None, n=160, splits=5, draws=1)
    >>> trial = held_out_trial(x, y, plan, np.random.default_rng(1))
    >>> trial.right.shape, bool(np.isnan(trial.right).any())
    ((3, 200), False)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from theorysim.advisors.synthetic_data.checks import varying_features
from theorysim.advisors.synthetic_data.mixture import Fit, zoom
from theorysim.advisors.synthetic_data.spectrum import Spectrum, features_spectrum, predicted_moments
from theorysim.rmt_synthetic.ridge import ridge_classifier
from theorysim.rmt_synthetic.score import test_accuracy

__all__ = [
    "Plan",
    "Prepared",
    "Trial",
    "held_out_trial",
    "predicted_fit",
    "prepare",
    "split_indices",
    "trained",
]

# Ridges are searched in this range times the mean eigenvalue, weights in the other.
_RIDGES = np.array([1e-4, 1e4])
_WEIGHTS = (1e-3, 10.0)
_ROWS = 8192


class Plan(NamedTuple):
    """What to train on and how often: m synthetic samples of given label noise and verifier, n real ones.

    `gamma` is the ridge on standardised features, None for the best predicted one; `splits` of the samples
    into n that train and the others that test, and `draws` of the synthetic samples in each.
    """

    m: int
    label_noise: float
    keep_right: float
    keep_wrong: float
    gamma: float | None
    n: int
    splits: int
    draws: int


class Prepared(NamedTuple):
    """Label-aligned, centred and scaled features of the two parts, and the spectrum of the first."""

    train: Float64[np.ndarray, "n p"]
    test: Float64[np.ndarray, "t p"]
    spectrum: Spectrum


class Trial(NamedTuple):
    """Results for the real samples alone, for weight 1 and for the best weight, in this order.

    `fits` (splits, 3) hold the predicted accuracy with its ridge and weight. `right` (3, k) is the share of
    classifiers that were right on each sample when it tested, NaN if it never did. `scores` and `rows` are
    the held-out scores of the first kind in units of their standard deviation in the split, times the label,
    and the samples they belong to. `first` is the training part of the first split.
    """

    fits: list[tuple[Fit, Fit, Fit]]
    right: Float64[np.ndarray, "3 k"]
    scores: Float64[np.ndarray, " s"]
    rows: Int64[np.ndarray, " s"]
    first: Prepared


def held_out_trial(
    x: Float64[np.ndarray, "k p"], y: Int64[np.ndarray, " k"], plan: Plan, rng: np.random.Generator
) -> Trial:
    """Predict and measure in every split.

    Args:
        x: features.
        y: labels, 1 or -1.
        plan: sizes and quality; n < k.
        rng: generator of random numbers.

    Example:
        >>> y = np.tile([1, -1], 50)
        >>> x = y[:, None] + np.random.default_rng(0).normal(size=(100, 3))
        >>> plan = Plan(20, 0.0, 1.0, 1.0, gamma=0.1, n=80, splits=5, draws=1)
        >>> len(held_out_trial(x, y, plan, np.random.default_rng(1)).fits)
        5
    """
    k = len(y)
    sums, counts = np.zeros((3, k)), np.zeros(k)
    fits, scores, rows, first = [], [], [], None
    for train, test in split_indices(y, plan.n, plan.splits, rng):
        data = prepare(x, y, train, test)
        first = first or data
        best = (
            predicted_fit(data.spectrum, plan._replace(m=0), 1.0)._replace(weight=0.0),
            predicted_fit(data.spectrum, plan, 1.0),
            predicted_fit(data.spectrum, plan, None),
        )
        fits.append(best)
        classifiers = trained(data.train, best, plan, rng)
        score = np.einsum("tp,dkp->dkt", data.test, classifiers)
        sums[:, test] += ((np.sign(score) + 1) / 2).mean(axis=0)
        counts[test] += 1
        scores.append(score[0, 0] / score[0, 0].std())
        rows.append(test)
    with np.errstate(invalid="ignore", divide="ignore"):
        right = np.where(counts > 0, sums / counts, np.nan)
    assert first is not None
    return Trial(fits, right, np.concatenate(scores), np.concatenate(rows), first)


def split_indices(
    y: Int64[np.ndarray, " k"], n: int, splits: int, rng: np.random.Generator
) -> list[tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " t"]]]:
    """Samples that train and samples that test, for every split.

    Example:
        >>> parts = split_indices(np.tile([1, -1], 5), 8, 5, np.random.default_rng(0))
        >>> sorted(i for _, test in parts for i in test.tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    place = np.empty(len(y))
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        place[members] = (rng.permutation(members.size) + rng.uniform()) / members.size
    order = np.argsort(place, kind="stable")
    turns = [np.roll(order, -round(j * len(y) / splits)) for j in range(splits)]
    return [(turn[:n], turn[n:]) for turn in turns]


def prepare(
    x: Float64[np.ndarray, "k p"],
    y: Int64[np.ndarray, " k"],
    train: Int64[np.ndarray, " n"],
    test: Int64[np.ndarray, " t"],
) -> Prepared:
    """Centre between the classes, scale every feature to variance 1, by the training part; align with labels.

    Example:
        >>> x, y = np.array([[3.0], [5.0], [1.0], [-1.0], [2.0]]), np.array([1, 1, -1, -1, 1])
        >>> prepare(x, y, np.arange(4), np.array([4])).test.tolist()
        [[0.0]]
    """
    plus, minus = (x[train][y[train] == label] for label in (1, -1))
    centre = (plus.mean(axis=0) + minus.mean(axis=0)) / 2
    # A feature that is constant in the training part tells nothing, whatever it is later.
    scale = np.where(varying_features(x[train]), x[train].std(axis=0), np.inf)
    aligned = y[:, None] * ((x - centre) / scale)
    balanced = 4 * len(plus) * len(minus) / len(train)
    spectrum = features_spectrum(aligned[train], balanced, centres=1)
    return Prepared(aligned[train], aligned[test], spectrum)


def predicted_fit(spectrum: Spectrum, plan: Plan, weight: float | None) -> Fit:
    """Predicted accuracy, with the best ridge if the plan has none, and the best weight if none is given.

    Example:
        >>> v = 0.3 + jax.random.normal(jax.random.key(0), (50, 10))
        >>> plan = Plan(100, 0.1, 1.0, 0.5, gamma=None, n=50, splits=5, draws=1)
        >>> fit = predicted_fit(features_spectrum(v), plan, weight=1.0)
        >>> fit.weight, 0.5 < fit.accuracy < 1
        (1.0, True)
    """
    mean = float(spectrum.eigenvalues.mean()) or 1.0
    labels = (plan.label_noise, plan.keep_wrong, plan.keep_right)

    def value(gamma, omega):
        gamma = np.broadcast_to(gamma if plan.gamma is None else plan.gamma, gamma.shape)
        omega = np.broadcast_to(omega if weight is None else weight, omega.shape)
        return np.asarray(_accuracies(spectrum, float(plan.m), *labels, gamma[:, 0], omega[0]))

    ridges = tuple(_RIDGES * mean) if plan.gamma is None else None
    top, gamma, omega = zoom(value, ridges, _WEIGHTS if weight is None else None)
    gamma = gamma if plan.gamma is None else plan.gamma
    if weight is not None:
        return Fit(top, gamma, weight)
    none = float(_accuracies(spectrum, float(plan.m), *labels, np.array([gamma]), np.zeros(1))[0, 0])
    return Fit(none, gamma, 0.0) if none >= top - 1e-12 else Fit(top, gamma, omega)


def trained(
    v: Float64[np.ndarray, "n p"], fits: tuple[Fit, Fit, Fit], plan: Plan, rng: np.random.Generator
) -> Float64[np.ndarray, "draws 3 p"]:
    """Ridge classifiers of the real features alone and with synthetic ones, really drawn and pruned.

    Args:
        v: label-aligned training features.
        fits: ridge and weight of each kind.
        plan: how many synthetic samples, and of which quality.
        rng: generator of random numbers.

    Example:
        >>> fits, v = (Fit(0.0, 0.1, 0.0),) * 3, np.ones((4, 2))
        >>> trained(v, fits, Plan(9, 0.0, 1.0, 1.0, 0.1, 4, 1, draws=2), np.random.default_rng(0)).shape
        (2, 3, 2)
    """
    n, p = v.shape
    mean = v.mean(axis=0)
    root = (v - mean).T / np.sqrt(n)
    if n > p:
        # The same law from fewer random numbers.
        values, vectors = np.linalg.eigh(root @ root.T)
        root = vectors * np.sqrt(np.maximum(values, 0))
    real_second, real_first = v.T @ v, v.sum(axis=0)
    alone = _ridge(v, fits[0].gamma)
    found = []
    for _ in range(plan.draws):
        second, first = np.zeros((p, p)), np.zeros(p)
        for start in range(0, plan.m, _ROWS):
            rows = min(_ROWS, plan.m - start)
            wrong = rng.uniform(size=rows) < plan.label_noise
            kept = rng.uniform(size=rows) < np.where(wrong, plan.keep_wrong, plan.keep_right)
            u = mean + rng.normal(size=(int(kept.sum()), root.shape[1])) @ root.T
            second += u.T @ u
            first += np.where(wrong[kept], -1.0, 1.0) @ u
        N = n + plan.m
        pairs = [
            np.linalg.solve(
                (real_second + fit.weight * second) / N + fit.gamma * np.eye(p),
                (real_first + fit.weight * first) / N,
            )
            for fit in fits[1:]
        ]
        found.append([alone, *pairs])
    return np.array(found)


def _ridge(v: Float64[np.ndarray, "n p"], gamma: float) -> Float64[np.ndarray, " p"]:
    ones = jnp.ones(len(v))
    return np.asarray(ridge_classifier(v, ones, ones, gamma, float(len(v))), np.float64)


@jax.jit
def _accuracies(spectrum, m, eps, rho, phi, ridges, weights):
    """Accuracies (R, W)."""

    def one(gamma, omega):
        return test_accuracy(*predicted_moments(spectrum, m, eps, rho, phi, gamma, omega))

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(ridges, weights)
