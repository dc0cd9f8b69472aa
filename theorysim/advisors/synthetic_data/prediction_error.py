r"""How far off the prediction from a training set is, if the assumptions hold.

Gaussian training sets are drawn whose covariance C and signal are like those estimated, trained on, and
predicted from: the accuracy of their classifiers is known exactly. The eigenvalues l of the sample covariance
are spread more widely than those of C, and zero in the directions that fewer samples than features do not
span: drawn with those, classifiers would separate without an error along a mean that lies there. They are
drawn towards their average, keeping the trace,

    l -> a l + (1 - a) tr S / p,    a^2 = (t - (tr S)^2 / p) / (tr S^2 - (tr S)^2 / p),

with a such that the sum of squares is the unbiased estimate t = (tr S^2 - (tr S)^2 / f) / (1 + 1/f) of tr C^2
at f degrees of freedom. The squared length of the mean is made unbiased by a factor.

Example:
    >>> v = 0.15 + np.random.default_rng(0).normal(size=(50, 100))
    >>> plan = Plan(100, 0.1, 1.0, 0.5, gamma=1.0, n=50, splits=5, draws=1)
    >>> spectrum = features_spectrum(v)
    >>> fits = tuple(predicted_fit(spectrum, plan, weight) for weight in (0.0, 1.0, 0.5))
    >>> errors = prediction_errors(spectrum, fits, plan, np.random.default_rng(1))
    >>> errors.accuracies.round(2), errors.gains.round(2)
    (array([0.04, 0.04, 0.04]), array([0.01, 0.01]))
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr

from theorysim.advisors.synthetic_data.held_out import Plan, predicted_fit, trained
from theorysim.advisors.synthetic_data.mixture import Fit
from theorysim.advisors.synthetic_data.spectrum import Spectrum, features_spectrum

__all__ = ["PredictionErrors", "prediction_errors", "unbiased_eigenvalues"]

_SURROGATES = 10


class PredictionErrors(NamedTuple):
    """Root mean square errors of the three accuracies, and of the two gains over the real samples alone."""

    accuracies: Float64[np.ndarray, "3"]
    gains: Float64[np.ndarray, "2"]


def prediction_errors(
    spectrum: Spectrum, fits: tuple[Fit, Fit, Fit], plan: Plan, rng: np.random.Generator
) -> PredictionErrors:
    """Errors of the prediction on Gaussian features of this spectrum and signal.

    Args:
        spectrum: of the training features.
        fits: ridge and weight of each kind of training set.
        plan: the synthetic samples.
        rng: generator of random numbers.

    Example:
        >>> v = 2 + np.random.default_rng(0).normal(size=(2000, 3))
        >>> fits, plan = (Fit(1.0, 0.1, 1.0),) * 3, Plan(10, 0.0, 1.0, 1.0, 0.1, 2000, 5, 1)
        >>> errors = prediction_errors(features_spectrum(v), fits, plan, np.random.default_rng(1))
        >>> bool(errors.accuracies.max() < 1e-3)
        True
    """
    eigenvalues = unbiased_eigenvalues(spectrum)
    powers, n, balanced = (np.asarray(x) for x in (spectrum.powers, spectrum.count, spectrum.balanced_count))
    noise, power = eigenvalues.sum() / balanced, powers.sum()
    mean = np.sqrt(powers * max(1 - noise / power, 0.0) if power else powers)
    weights = (1.0, 1.0, fits[2].weight)
    plans = (plan._replace(m=0), plan, plan)
    misses = []
    for _ in range(_SURROGATES):
        v = mean + rng.normal(size=(int(n), mean.size)) * np.sqrt(eigenvalues)
        drawn = features_spectrum(v)
        predicted = [
            predicted_fit(drawn, where._replace(gamma=fit.gamma), weight).accuracy
            for where, fit, weight in zip(plans, fits, weights, strict=True)
        ]
        w = trained(v, fits, plan._replace(draws=1), rng)[0]
        exact = ndtr((w @ mean) / np.sqrt((w**2) @ eigenvalues))
        misses.append(np.asarray(predicted) - exact)
    misses = np.array(misses)
    return PredictionErrors(*(np.sqrt((x**2).mean(axis=0)) for x in (misses, misses[:, 1:] - misses[:, :1])))


def unbiased_eigenvalues(spectrum: Spectrum) -> Float64[np.ndarray, " p"]:
    """Eigenvalues drawn together until their sum and sum of squares are unbiased estimates of C's.

    Example:
        >>> v = np.random.default_rng(0).normal(size=(50, 100))
        >>> values = unbiased_eigenvalues(features_spectrum(v))
        >>> f"{values.min():.1f} {values.mean():.1f} {values.max():.1f}"
        '1.0 1.0 1.2'
    """
    values, freedom = np.asarray(spectrum.eigenvalues), float(spectrum.freedom)
    values = values * float(spectrum.count) / freedom
    trace, squares, even = values.sum(), (values**2).sum(), values.sum() ** 2 / values.size
    unbiased = (squares - trace**2 / freedom) / (1 + 1 / freedom)
    spread = max(unbiased - even, 0.0) / (squares - even) if squares > even else 0.0
    return values.mean() + np.sqrt(spread) * (values - values.mean())
