r"""Training on real plus pruned synthetic data: how accurate the classifier is, by random matrix theory.

A ridge classifier is trained on n real samples and on those of m synthetic samples that a verifier keeps: a
right label with probability phi, a wrong one with probability rho; a share eps of the labels is wrong. In the
limit n, m, p -> infinity its score on a test point is Gaussian with moments that follow from one scalar per
group of samples, and so its accuracy is known without training.

    any groups       `decision_moments` of a `Problem` (`real_plus_synthetic`, `linear_verifier`), by the
                     fixed point of `fixed_point`; the same by one derivative, `response_moments`;
                     `multiclass_moments`
    closed forms     `isotropic_moments`, `fully_synthetic_moments` and its phase transition,
                     `estimated_generator_moments`, `reused_generator_moments`
    what it is worth `exchange_rate`, `effective_sample_size`, `optimal_weight`, `optimal_design`
    given features   `conditional_accuracy`: the average is over the synthetic draw only
    simulation       `sample_accuracy` and `sample_scores`, exact in law; `ridge_classifier`, also stopped
                     early; verifiers trained as real models

`test_accuracy` and `test_risk` take the moments. All of it is differentiable and, unless a name says
otherwise, vmappable over every number.

Reference: A. El Firdoussi, M. E. A. Seddik, S. Hayou, R. Alami, A. Alzubaidi, H. Hacid, "Maximizing the
Potential of Synthetic Data: Insights from Random Matrix Theory" (2024), arXiv 2410.08942; see
docs/rmt_synthetic.md.

Example:
    >>> labels = dict(eps=0.2, rho=0.3, phi=0.9)
    >>> sizes, law = dict(n=800, p=400), dict(mu=1.2, beta=1, perp=0, sigma2=1)
    >>> for m in (0, 4000):
    ...     moments = isotropic_moments(**sizes, m=m, **law, **labels, gamma=0.1)
    ...     print(f"{m:4d} synthetic samples: accuracy {test_accuracy(*moments):.3f}")
       0 synthetic samples: accuracy 0.795
    4000 synthetic samples: accuracy 0.855
    >>> print(f"each is worth {exchange_rate(**labels):.2f} real ones")
    each is worth 0.56 real ones
"""

from theorysim.rmt_synthetic.conditional import (
    Generator,
    Scores,
    conditional_accuracy,
    conditional_scores,
    fit_generator,
)
from theorysim.rmt_synthetic.design import Design, optimal_design, reweighted
from theorysim.rmt_synthetic.exchange import (
    averaging_accuracy,
    break_even_noise,
    effective_sample_size,
    exchange_rate,
    optimal_weight,
)
from theorysim.rmt_synthetic.fully_synthetic import (
    critical_noise,
    critical_slope,
    fully_synthetic_moments,
    many_samples_accuracy,
    transition_coordinate,
    transition_profile,
)
from theorysim.rmt_synthetic.generator import (
    GeneratorFixedPoint,
    estimated_generator_fixed_point,
    estimated_generator_moments,
    reused_generator_moments,
)
from theorysim.rmt_synthetic.generator_spectra import (
    estimated_generator_moments_general,
    reused_generator_moments_general,
)
from theorysim.rmt_synthetic.group_statistics import Variant
from theorysim.rmt_synthetic.isotropic import isotropic_fixed_point, isotropic_moments
from theorysim.rmt_synthetic.marchenko_pastur import marchenko_pastur_density
from theorysim.rmt_synthetic.moments import decision_moments
from theorysim.rmt_synthetic.multiclass import (
    LogitMoments,
    multiclass_accuracy,
    multiclass_moments,
    multiclass_problem,
)
from theorysim.rmt_synthetic.newton import fixed_point, fixed_point_dense
from theorysim.rmt_synthetic.problem import Problem, paper_means, real_plus_synthetic, synthetic_atoms
from theorysim.rmt_synthetic.response_function import response, response_moments
from theorysim.rmt_synthetic.ridge import (
    gradient_descent_classifier,
    gradient_flow_classifier,
    ridge_classifier,
    score_moments,
)
from theorysim.rmt_synthetic.samplers import (
    sample_accuracy,
    sample_estimated_generator,
    sample_reused_generator,
    sample_scores,
)
from theorysim.rmt_synthetic.score import Moments, test_accuracy, test_risk
from theorysim.rmt_synthetic.trained_verifier import (
    agrees,
    least_squares_verifier,
    logistic_verifier,
    measured_rates,
)
from theorysim.rmt_synthetic.verifier import KeepRates, linear_verifier, verifier_rates

__all__ = [
    "Design",
    "Generator",
    "GeneratorFixedPoint",
    "KeepRates",
    "LogitMoments",
    "Moments",
    "Problem",
    "Scores",
    "Variant",
    "agrees",
    "averaging_accuracy",
    "break_even_noise",
    "conditional_accuracy",
    "conditional_scores",
    "critical_noise",
    "critical_slope",
    "decision_moments",
    "effective_sample_size",
    "estimated_generator_fixed_point",
    "estimated_generator_moments",
    "estimated_generator_moments_general",
    "exchange_rate",
    "fit_generator",
    "fixed_point",
    "fixed_point_dense",
    "fully_synthetic_moments",
    "gradient_descent_classifier",
    "gradient_flow_classifier",
    "isotropic_fixed_point",
    "isotropic_moments",
    "least_squares_verifier",
    "linear_verifier",
    "logistic_verifier",
    "many_samples_accuracy",
    "marchenko_pastur_density",
    "measured_rates",
    "multiclass_accuracy",
    "multiclass_moments",
    "multiclass_problem",
    "optimal_design",
    "optimal_weight",
    "paper_means",
    "real_plus_synthetic",
    "response",
    "response_moments",
    "reused_generator_moments",
    "reused_generator_moments_general",
    "reweighted",
    "ridge_classifier",
    "sample_accuracy",
    "sample_estimated_generator",
    "sample_reused_generator",
    "sample_scores",
    "score_moments",
    "synthetic_atoms",
    "test_accuracy",
    "test_risk",
    "transition_coordinate",
    "transition_profile",
    "verifier_rates",
]
