r"""Leave-one-out distinguishability: what the outputs of a model tell about single training records.

A model trained with a few records S ("in") and without them ("out") gives two laws of the outputs at queries
Q; leakage is how well they can be told apart. In Gaussian processes, the limit of wide networks, both are
known in closed form, for all n records from one factorisation:

    records     `leave_one_out` gives the leverage h and the surprise zeta of each, which say everything about
                it: divergences (`channel_kl`, `channel_renyi`, ...), the optimal attack (`attack_auc`,
                `attack_roc`, `attack_tpr`), privacy (`privacy_profile`, `epsilon_bound`), `memorization`,
                `influence`
    groups      `group_lood`, `leave_one_out_after_removal`
    queries     `query_lood`, `lood`, `renyi`; `optimal_query` searches for the query that sees most
    kernels     `rbf`, `mlp`, `edge_of_chaos_kernel`; depth: `edge_of_chaos`, `correlation_depth_constant`
    ensembles   `ntk_leave_one_out` and `early_stopped_leave_one_out` for training by gradients,
                `sample_then_optimize` for networks that are exact posterior draws

Q = S sees most, by every measure but the distance of the means. Reference: J. Ye, A. Borovykh, S. Hayou, R.
Shokri, "Leave-one-out Distinguishability in Machine Learning" (2024), arXiv 2309.17310.

Example:
    >>> import jax.numpy as jnp
    >>> x = jnp.linspace(0.0, 3.0, 12)[:, None]
    >>> y = jnp.sin(2 * x).at[4].set(-1.0)  # one wrong label
    >>> records = leave_one_out(rbf(length_scale=0.5)(x, x), y, noise=0.05)
    >>> auc = attack_auc(records.leverage, records.surprise)
    >>> print(f"record {auc.argmax()} is exposed most, AUC {auc.max():.3f}; median {jnp.median(auc):.3f}")
    record 4 is exposed most, AUC 0.999; median 0.682
"""

from theorysim.lood.attack import PrivacyProfile, attack_roc, attack_tpr, privacy_profile, total_variation
from theorysim.lood.auc import attack_auc, gaussian_pair_auc
from theorysim.lood.ball import noncentral_chi2_cdf
from theorysim.lood.channel import (
    channel_hellinger_squared,
    channel_kl,
    channel_kl_reverse,
    channel_lood,
    channel_renyi,
    epsilon_bound,
    information_gain,
)
from theorysim.lood.divergence import lood, renyi
from theorysim.lood.early_stopping import early_stopped_leave_one_out, early_stopped_posterior
from theorysim.lood.edge import (
    EdgeOfChaos,
    Equicorrelated,
    correlation_depth_constant,
    edge_of_chaos,
    equicorrelated,
)
from theorysim.lood.groups import GroupLood, group_lood, leave_one_out_after_removal
from theorysim.lood.influences import Influence, influence
from theorysim.lood.kernels import Kernel, edge_of_chaos_kernel, mlp, rbf
from theorysim.lood.memorized import class_memorization, class_probabilities, memorization
from theorysim.lood.ntk import ntk_leave_one_out, ntk_leave_one_out_at, ntk_posterior
from theorysim.lood.optimal import OptimalQuery, Starts, optimal_query
from theorysim.lood.queries import query_leverage, query_lood
from theorysim.lood.records import Lood, PairMoments
from theorysim.lood.sampled import Ensemble, random_features, sample_then_optimize
from theorysim.numerics.gp import (
    LeaveOneOut,
    Posterior,
    leave_one_out,
    leave_one_out_at,
    log_marginal_likelihood,
    posterior,
)

__all__ = [
    "EdgeOfChaos",
    "Ensemble",
    "Equicorrelated",
    "GroupLood",
    "Influence",
    "Kernel",
    "LeaveOneOut",
    "Lood",
    "OptimalQuery",
    "PairMoments",
    "Posterior",
    "PrivacyProfile",
    "Starts",
    "attack_auc",
    "attack_roc",
    "attack_tpr",
    "channel_hellinger_squared",
    "channel_kl",
    "channel_kl_reverse",
    "channel_lood",
    "channel_renyi",
    "class_memorization",
    "class_probabilities",
    "correlation_depth_constant",
    "early_stopped_leave_one_out",
    "early_stopped_posterior",
    "edge_of_chaos",
    "edge_of_chaos_kernel",
    "epsilon_bound",
    "equicorrelated",
    "gaussian_pair_auc",
    "group_lood",
    "influence",
    "information_gain",
    "leave_one_out",
    "leave_one_out_after_removal",
    "leave_one_out_at",
    "log_marginal_likelihood",
    "lood",
    "memorization",
    "mlp",
    "noncentral_chi2_cdf",
    "ntk_leave_one_out",
    "ntk_leave_one_out_at",
    "ntk_posterior",
    "optimal_query",
    "posterior",
    "privacy_profile",
    "query_leverage",
    "query_lood",
    "random_features",
    "rbf",
    "renyi",
    "sample_then_optimize",
    "total_variation",
]
