r"""The exact score moments, and the accuracy, of classifiers trained on random training sets.

Training data are random, and so is the classifier w = (S + gamma I)^-1 b that they give. For a given w the
test accuracy is exactly Phi(mu'w / sqrt(w'Cw)) with the mean and covariance of group 0: no test point is
ever drawn. The theory's `decision_moments` is the limit of both moments; here is their law at finite size.

=========  =========================================  =====================  ============================
method     samples                                    cost of a draw         for
=========  =========================================  =====================  ============================
banded     a banded factor of the Wishart             O(p)                   covariances c I, one weight
bartlett   sums of v v' and of v                      O(p^3)                 any problem
plain      the training set; solves p equations       O(N p^2 + p^3)         any; definition of the others
dual       the training set; solves N equations       O(N^2 p + N^3)         any with N < p
=========  =========================================  =====================  ============================

A. El Firdoussi et al. (2024), arXiv 2410.08942; the samplers are derived, see docs/rmt_synthetic.md.

Example:
    >>> from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
    >>> mu, mu_s = paper_means(50, 1.5, beta=0.7, perp=1.0)
    >>> problem = real_plus_synthetic(100, 200, mu, mu_s, eps=0.3, rho=0.1, phi=0.8)
    >>> accuracy = sample_accuracy(jax.random.key(0), 4000, problem, gamma=0.1)
    >>> print(f"{accuracy.mean():.3f} +- {accuracy.std():.3f}")
    0.877 +- 0.012
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from theorysim.numerics.validation import choice, is_traced, positive_int, real, scalar
from theorysim.rmt_synthetic.problem import Problem, checked
from theorysim.rmt_synthetic.samplers.banded import LANES, isotropy, least_dimension, sample_banded
from theorysim.rmt_synthetic.samplers.bartlett import sample_bartlett
from theorysim.rmt_synthetic.samplers.counts import whole_counts
from theorysim.rmt_synthetic.samplers.draws import chunk_of, map_draws
from theorysim.rmt_synthetic.samplers.plain import sample_plain
from theorysim.rmt_synthetic.score import Moments, test_accuracy

__all__ = ["Method", "sample_accuracy", "sample_scores"]

Method = Literal["auto", "banded", "bartlett", "dual", "plain"]


def sample_accuracy(
    key: Array, draws: int, problem: Problem, gamma: ArrayLike, method: Method = "auto"
) -> Float[Array, " draws"]:
    """Test accuracy of the ridge classifier for independent draws of the training data.

    Args:
        key: random key; draw r depends on fold_in(key, r) alone.
        draws: number of draws, >= 1 (static).
        problem: the groups, with whole counts; every field may be traced, but see `method`.
        gamma: ridge, > 0, a scalar.
        method: as in `sample_scores`.

    Returns:
        Signed accuracies in [0, 1], (draws,): below 1/2 if the classifier points the wrong way, exactly 1/2
        if no sample is kept.

    Raises:
        ValueError: as `sample_scores`.
        TypeError: as `sample_scores`.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(0, 100, jnp.ones(50) / 7, eps=0.5, rho=0.2, phi=0.5)
        >>> accuracy = sample_accuracy(jax.random.key(0), 4000, problem, gamma=0.05)
        >>> print(f"{accuracy.mean():.2f}")
        0.57
    """
    return test_accuracy(*sample_scores(key, draws, problem, gamma, method))


def sample_scores(
    key: Array, draws: int, problem: Problem, gamma: ArrayLike, method: Method = "auto"
) -> Moments:
    """Mean mu'w and variance w'Cw of the score of the classifier for independent draws of the training data.

    Kept counts are random, as pruning makes them, and N counts the pruned samples.

    Args:
        key: random key; draw r depends on fold_in(key, r) alone.
        draws: number of draws, >= 1 (static).
        problem: the groups, with whole counts; every field may be traced, but see `method`.
        gamma: ridge, > 0, a scalar.
        method: "banded" is exact, and fast, where all training data have the covariance c I and all kept
            samples one weight; "bartlett" is exact for any problem; "plain" and "dual" draw the training set
            itself, and need concrete counts. "auto" is banded where that is allowed, else bartlett. Under a
            trace which of the two runs is decided at run time; a `vmap` over fields of the problem then runs
            both, so name "banded" there: it is NaN where it does not apply.

    Returns:
        Moments of shape (draws,) each.

    Raises:
        ValueError: draws < 1, gamma <= 0, counts that are not whole, an unknown method, a problem pruned by a
            linear verifier (its features are not Gaussian), or one that the banded sampler cannot do.
        TypeError: draws is traced, or counts are and the method is "plain" or "dual".

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(100, 0, jnp.ones(50) / 7, eps=0, rho=0, phi=1)
        >>> moments = sample_scores(jax.random.key(0), 4000, problem, gamma=0.1)
        >>> print(f"{moments.mean.mean():.2f} {moments.var.mean():.2f}")
        0.47 0.50
    """
    draws = positive_int(draws, "draws")
    choice(method, "method", ("auto", "banded", "bartlett", "dual", "plain"))
    real(scalar(gamma, "gamma"), "gamma", low=0, low_open=True, high_open=True)
    checked(problem)
    if problem.gains.size:
        raise ValueError(
            "problem must not be pruned by a linear verifier (directions): what it keeps is not Gaussian"
        )
    sizes = whole_counts(problem.counts)
    if method in ("plain", "dual") and sizes is None:
        raise TypeError(f"counts set array sizes if method is {method!r}, and must be concrete")
    obstacle = _obstacle_to_band(problem)
    if method == "banded" and obstacle:
        raise ValueError(f"method must be 'bartlett' (or 'plain') for this problem: {obstacle}")
    if method == "auto" and not (is_traced(problem) and not obstacle):
        method = "bartlett" if obstacle else "banded"
    dtype = jnp.result_type(*problem)
    # Counts stay traced, and one compilation serves all, where they set no size.
    sizes = sizes or () if method in ("plain", "dual") else ()
    return _scores(key, problem, jnp.asarray(gamma, dtype), draws=draws, method=method, sizes=sizes)


def _obstacle_to_band(problem: Problem) -> str | None:
    """Why the banded sampler cannot sample this problem, as far as its concrete fields tell."""
    p, least = problem.means.shape[1], least_dimension(problem)
    if p < least:
        return f"the banded sampler needs p >= {least} dimensions, got {p}"
    if is_traced((problem.cov, problem.atoms, problem.counts)):
        return None
    found = isotropy(problem, np)
    if not found.isotropic:
        return "the banded sampler needs the covariances of all groups to be c I with one c > 0"
    if not found.one_weight:
        return "the banded sampler needs one weight for all kept samples"
    return None


@partial(jax.jit, static_argnames=("draws", "method", "sizes"))
def _scores(
    key: Array, problem: Problem, gamma: Array, *, draws: int, method: Method, sizes: tuple[int, ...]
) -> Moments:
    dtype = gamma.dtype
    # Half precision cannot count to a thousand.
    work = jnp.promote_types(dtype, jnp.float32)
    problem = Problem(*(field.astype(work) for field in problem))
    (K, p), gamma = problem.means.shape, gamma.astype(work)

    def run(sample, numbers: int, multiple: int = 1) -> Moments:
        return map_draws(sample, key, draws, chunk_of(numbers * work.itemsize), multiple)

    def banded() -> Moments:
        return run(lambda keys: sample_banded(keys, problem, gamma), p * (K + 6), LANES)

    def bartlett() -> Moments:
        return run(lambda keys: sample_bartlett(keys, problem, gamma), 4 * p * p)

    def plain() -> Moments:
        sample = partial(sample_plain, problem=problem, gamma=gamma, sizes=sizes, dual=method == "dual")
        return run(sample, 2 * sum(sizes) * p)

    if method == "auto":
        found = isotropy(problem)
        moments = lax.cond(found.isotropic & found.one_weight, banded, bartlett)
    else:
        moments = {"banded": banded, "bartlett": bartlett}.get(method, plain)()
    return Moments(*(x.astype(dtype) for x in moments))
