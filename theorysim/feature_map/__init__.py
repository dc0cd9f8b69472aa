r"""Which features does a network use, and are they the right ones? The forward feature map, diagonal.

The kernel operator of the last hidden layer, (T f)(x) = mean_j <Phi(x), Phi(x_j)> f(x_j), has eigenvalues rho
and eigenfunctions e_k over the inputs. How much of each lies in the span of the labels is its quality, how
much in the span of the outputs its utility: a network is in the minimal-feature regime if as many
eigenfunctions are in use as there are classes, and in the extended-feature regime if many more are.

    moments       `moments`, `update` (any number of examples), `kernel_features` (any kernel on data)
    spectrum      `eigenfunctions`, `quality`, `utility`, `cumulative`, `energy_share`, `effective_numbers`,
                  `truncated_outputs`;
                  corrected for few examples: `adjusted_quality`, `unbiased_participation`
    all at once   `feature_report` (errors, verdict), `feature_metrics` (pure, for training loops),
                  `leading_features` (very many features), `held_out`, `standard_errors`, `regime`;
                  over the epochs of a training `FeatureTracker`
    collapse      `neural_collapse`; as a property of the kernel `kernel_distance`
    chance        `chance_quality`, `chance_cumulative_utility`, `spiked_feature`
    predictions   at initialisation `sphere_eigenvalues`, `hypercube_eigenvalues`; linear networks
                  `deep_linear_mode`, `balanced_mode`, `deep_linear_spectrum`; under weight decay
                  `unconstrained_mse`, `unconstrained_ce`, `unconstrained_thresholds`; the last layer
                  `readout_risk`

References: Y. Nam, C. Mingard, S. H. Lee, S. Hayou, A. A. Louis, "Visualising Feature Learning in Deep Neural
Networks by Diagonalizing the Forward Feature Map" (2024), arXiv 2410.04264; V. Papyan, X. Han, D. Donoho
(2020), arXiv 2008.08186; A. Saxe, J. McClelland, S. Ganguli (2014), arXiv 1312.6120.

Example:
    >>> import jax, jax.numpy as jnp
    >>> labels = jnp.arange(300) % 3
    >>> noise = jax.random.normal(jax.random.key(0), (300, 30))
    >>> for signal in (0.5, 5.0):
    ...     features = noise + signal * jax.nn.one_hot(labels, 30)
    ...     report = feature_report(features, labels, readout=jnp.eye(3, 30))
    ...     print(report.regime, f"q(2) = {report.cumulative_quality[1]:.2f}")
    extended q(2) = 0.04
    minimal q(2) = 0.88
"""

from theorysim.feature_map.alignment import KernelDistance, kernel_distance
from theorysim.feature_map.chance import (
    ChanceLaw,
    MeanVariance,
    SpikedFeature,
    chance_cumulative_utility,
    chance_quality,
    spiked_feature,
)
from theorysim.feature_map.collapse import Collapse, neural_collapse
from theorysim.feature_map.deep_linear import (
    LinearMode,
    balanced_mode,
    deep_linear_mode,
    deep_linear_spectrum,
)
from theorysim.feature_map.errors import StandardErrors, standard_errors
from theorysim.feature_map.initial import (
    harmonic_multiplicity,
    hypercube_eigenvalues,
    kernel_features,
    relu_hypercube_eigenvalues,
    relu_sphere_eigenvalue,
    relu_trace_of_square,
    sphere_eigenvalues,
)
from theorysim.feature_map.leading import LeadingFeatures, leading_features
from theorysim.feature_map.metrics import FeatureMetrics, feature_metrics
from theorysim.feature_map.readout_descent import Risk, readout_risk
from theorysim.feature_map.report import FeatureReport, feature_report, regime
from theorysim.feature_map.second_moments import FeatureMoments, TargetMoments, moments, update
from theorysim.feature_map.spectrum import (
    EffectiveNumbers,
    Eigenfunctions,
    adjusted_quality,
    cumulative,
    effective_numbers,
    eigenfunctions,
    energy_share,
    quality,
    truncated_outputs,
    unbiased_participation,
    utility,
)
from theorysim.feature_map.tracker import FeatureTable, FeatureTracker
from theorysim.feature_map.unconstrained import (
    CollapsedOptimum,
    UnconstrainedOptimum,
    unconstrained_ce,
    unconstrained_mse,
    unconstrained_regression,
    unconstrained_thresholds,
)
from theorysim.feature_map.unseen import HeldOut, held_out

__all__ = [
    "ChanceLaw",
    "Collapse",
    "CollapsedOptimum",
    "EffectiveNumbers",
    "Eigenfunctions",
    "FeatureMetrics",
    "FeatureMoments",
    "FeatureReport",
    "FeatureTable",
    "FeatureTracker",
    "HeldOut",
    "KernelDistance",
    "LeadingFeatures",
    "LinearMode",
    "MeanVariance",
    "Risk",
    "SpikedFeature",
    "StandardErrors",
    "TargetMoments",
    "UnconstrainedOptimum",
    "adjusted_quality",
    "balanced_mode",
    "chance_cumulative_utility",
    "chance_quality",
    "cumulative",
    "deep_linear_mode",
    "deep_linear_spectrum",
    "effective_numbers",
    "eigenfunctions",
    "energy_share",
    "feature_metrics",
    "feature_report",
    "harmonic_multiplicity",
    "held_out",
    "hypercube_eigenvalues",
    "kernel_distance",
    "kernel_features",
    "leading_features",
    "moments",
    "neural_collapse",
    "quality",
    "readout_risk",
    "regime",
    "relu_hypercube_eigenvalues",
    "relu_sphere_eigenvalue",
    "relu_trace_of_square",
    "sphere_eigenvalues",
    "spiked_feature",
    "standard_errors",
    "truncated_outputs",
    "unbiased_participation",
    "unconstrained_ce",
    "unconstrained_mse",
    "unconstrained_regression",
    "unconstrained_thresholds",
    "update",
    "utility",
]
