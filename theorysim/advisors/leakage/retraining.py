r"""Does the prediction hold? Records are really left out, models trained again, and attacked.

A network drawn at random starts at f_0 ~ N(0, K), gets labels y + e with e ~ N(0, s2 I), and is trained to
the end, toward its start, on the records D that it is given:

    f(x) = f_0(x) + k(x, D) (k(D, D) + s2 I)^-1 (y + e - f_0)_D,

a draw from the posterior (sample-then-optimize; A. Matthews et al. 2017). With kernel "ntk", k is the tangent
kernel T and e = 0. Half of the networks are trained with all records; for each record of the sample the other
half is trained without it, by a factorisation of its own of the n - 1 others: no update enters. The attack
thresholds |f - c|^2, with c the label (in ensembles, the point around which their likelihood ratio is
symmetric). Its measured AUC is compared with the predicted one in standard errors of so many networks, from
the predicted curve: a member outscores two others with probability Q_2 = 2 int TPR (1 - FPR) dFPR, two
members one other with Q_1 = int TPR^2 dFPR (J. A. Hanley, B. J. McNeil 1982).

Example:
    >>> from theorysim.advisors.leakage.exposure import exposures
    >>> gram = np.exp(-(np.subtract.outer(np.arange(20.0), np.arange(20.0)) ** 2) / 8)
    >>> grams, y = Grams(jnp.asarray(gram), None), np.sin(np.arange(20.0))[:, None]
    >>> exposure = exposures(grams, y, noise=0.1)
    >>> check = retrained(grams, y, exposure, noise=0.1, records=np.array([0, 7]), networks=400, seed=0)
    >>> check.held, check.largest_difference < 1e-12
    (True, True)
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64
from scipy.linalg import cho_factor, cho_solve, get_lapack_funcs

from theorysim.advisors.leakage.exposure import Exposure, Grams
from theorysim.lood import attack_roc
from theorysim.numerics.stats import auc_and_error, critical_value

__all__ = ["Check", "retrained", "sample_of"]

# A prediction that is right passes for all records together this often.
_LEVEL = 0.99


class Check(NamedTuple):
    """Predicted and measured attacks on records that were really left out.

    Attributes:
        records: which, (m,).
        networks: trained with all records, and as many without each.
        predicted: AUC of the audit, (m,).
        measured: AUC of the attack on the networks, (m,).
        error: standard error of the latter if the prediction is right, (m,).
        distance: difference of the two in errors, measured minus predicted, (m,).
        largest_difference: of the mean output without a record, predicted and trained again, in targets.
        held: whether all agree: each distance within what 1 % of right predictions exceed, of all m
            together, or differences that a single network makes.
    """

    records: Int64[np.ndarray, " m"]
    networks: int
    predicted: Float64[np.ndarray, " m"]
    measured: Float64[np.ndarray, " m"]
    error: Float64[np.ndarray, " m"]
    distance: Float64[np.ndarray, " m"]
    largest_difference: float
    held: bool


def sample_of(ranking: Int64[np.ndarray, " n"], count: int, seed: int) -> Int64[np.ndarray, " m"]:
    """Records to leave out: the most exposed, and as many of the others at random.

    Args:
        ranking: all records, the most exposed first.
        count: m, <= n.
        seed: of the random half.

    Example:
        >>> sample_of(np.array([4, 2, 0, 1, 3]), 3, seed=0).tolist()[:2]
        [4, 2]
    """
    first = -(-count // 2)
    others = np.random.default_rng(seed).permutation(ranking[first:])[: count - first]
    return np.concatenate([ranking[:first], others]).astype(np.int64)


def retrained(
    grams: Grams,
    targets: Float64[np.ndarray, "n k"],
    exposure: Exposure,
    *,
    noise: float | int,
    records: Int64[np.ndarray, " m"],
    networks: int,
    seed: int,
) -> Check:
    """Train networks with all records, and without each of a few.

    Args:
        grams: kernels between the records.
        targets: (n, k).
        exposure: of all of them, which is put to the test.
        noise: s2 > 0.
        records: which are left out, one at a time.
        networks: trained with all records, and as many without each, >= 2.
        seed: of starts and noise.

    Returns:
        Check. Costs m + 2 factorisations in float64, whatever the type of grams.

    Example:
        >>> from theorysim.advisors.leakage.exposure import exposures
        >>> grams, y = Grams(jnp.eye(5), None), np.ones((5, 1))
        >>> exposure = exposures(grams, y, noise=1.0)
        >>> retrained(grams, y, exposure, noise=1.0, records=np.array([3]), networks=300, seed=1).held
        True
    """
    T = np.asarray(grams.trained, np.float64)
    n, k = targets.shape
    noise = float(noise)
    rng = np.random.default_rng(seed)
    start = _draws(T if grams.start is None else np.asarray(grams.start, np.float64), 2 * networks * k, rng)
    goal = np.tile(targets, (1, 2 * networks)) - start
    if grams.start is None:
        goal += math.sqrt(noise) * rng.normal(size=goal.shape)
    half = networks * k

    def trained(rows, at):
        """Outputs at the records `at` of the networks trained on `rows`, and their mean."""
        gram = T[np.ix_(rows, rows)]
        gram[np.diag_indices(len(rows))] += noise
        # The transpose of a symmetric matrix is itself, in the order that LAPACK overwrites.
        root = cho_factor(gram.T, lower=True, overwrite_a=True, check_finite=False)
        cross = T[np.ix_(at, rows)]
        columns = slice(0, half) if len(rows) == n else slice(half, None)
        outputs = start[at, columns] + cross @ cho_solve(root, goal[rows, columns])
        return outputs, cross @ cho_solve(root, targets[rows])

    everyone = np.arange(n)
    inside = trained(everyone, records)[0].reshape(len(records), networks, k)
    measured, difference = [], 0.0
    for i, member in zip(records, inside, strict=True):
        outside, mean = trained(np.delete(everyone, i), np.array([i]))
        difference = max(difference, float(np.abs(mean[0] - exposure.predicted[i]).max()))
        centre = _centre(grams, exposure, targets, noise, i)
        loss = [((f - centre) ** 2).sum(axis=1) for f in (member, outside.reshape(networks, k))]
        measured.append(float(auc_and_error(-loss[0], -loss[1]).mean))
    predicted, measured = exposure.auc[records], np.array(measured)
    error = _auc_error(exposure.leverage[records], exposure.surprise[records], k, networks)
    distance = (measured - predicted) / error
    limit = critical_value(_LEVEL, comparisons=len(records))
    near = np.abs(measured - predicted) <= 1 / networks
    return Check(
        records=np.asarray(records, np.int64),
        networks=networks,
        predicted=predicted,
        measured=measured,
        error=error,
        distance=distance,
        largest_difference=difference,
        held=bool((near | (np.abs(distance) <= limit)).all()),
    )


def _draws(gram: Float64[np.ndarray, "n n"], count: int, rng) -> Float64[np.ndarray, "n c"]:
    """Draws of N(0, K) by the pivoted Cholesky factor, which ends where K is 0 to rounding: no jitter."""
    pivoted: Any = get_lapack_funcs("pstrf", (gram,))
    root, pivot, rank, _ = pivoted(gram.T, lower=1)
    drawn = np.empty((len(gram), count))
    drawn[pivot - 1] = np.tril(root)[:, :rank] @ rng.normal(size=(rank, count))
    return drawn


def _centre(grams, exposure, targets, noise, i):
    """Around which the likelihood ratio of "in" and "out" at record i is symmetric."""
    if grams.start is None:
        return targets[i]
    # With residual r: m_in = m_out + h r, v_in = (1-h)^2 v_out, c = m_out + (m_in - m_out)/(1 - v_in/v_out).
    ratio = math.sqrt(1 - exposure.leverage[i])
    return exposure.predicted[i] + (targets[i] - exposure.predicted[i]) / (1 + ratio)


def _auc_error(h, zeta, outputs, networks) -> Float64[np.ndarray, " m"]:
    """Standard error of the AUC of so many networks of each kind, from the exact curve."""
    t = (np.arange(400) + 0.5) / 400
    fpr, weight = np.sin(np.pi * t / 2) ** 2, np.pi / 2 * np.sin(np.pi * t) / 400
    tpr = np.asarray(attack_roc(jnp.asarray(h), jnp.asarray(zeta), jnp.asarray(fpr), outputs=outputs))
    area, two_members, two_others = tpr @ weight, tpr**2 @ weight, 2 * (tpr * (1 - fpr)) @ weight
    spread = area * (1 - area) + (networks - 1) * (two_members + two_others - 2 * area**2)
    # At least what one pair of networks makes: where hardly any is out of order the sum cancels.
    return np.sqrt(np.maximum(spread, networks**-2.0)) / networks
