r"""The literal simulation: draw the training set, solve for the classifier, take its exact moments.

    w = (V' Omega V / N + gamma I)^-1 V' Omega s / N                                    (p equations)
      = V' Omega^1/2 (Omega^1/2 V V' Omega^1/2 / N + gamma I)^-1 Omega^1/2 s / N        (N equations)

with the N samples in the rows of V, their weights Omega and targets s; pruned samples have weight zero. This
is the definition that the fast samplers are tested against. A. El Firdoussi et al. (2024), arXiv 2410.08942.

Example:
    >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
    >>> problem = real_plus_synthetic(30, 60, jnp.ones(20) / 4, eps=0.2, rho=0.1, phi=0.9)
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> primal = sample_plain(keys, problem, jnp.array(0.1), sizes=(30, 60))
    >>> dual = sample_plain(keys, problem, jnp.array(0.1), sizes=(30, 60), dual=True)
    >>> bool(jnp.allclose(primal.mean, dual.mean, rtol=1e-12))
    True
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from theorysim.numerics.products import matmul
from theorysim.rmt_synthetic.problem import Problem
from theorysim.rmt_synthetic.score import Moments

__all__ = [
    "TrainingSet",
    "draw_atoms",
    "draw_training_set",
    "dual_classifier",
    "quadratic",
    "ridge_classifier",
    "sample_plain",
    "square_roots",
    "times_root",
]


class TrainingSet(NamedTuple):
    """Label-aligned features v = y x (N, p), weights (N,) and targets (N,); pruned samples have weight 0."""

    features: Float[Array, "N p"]
    weights: Float[Array, " N"]
    targets: Float[Array, " N"]


def sample_plain(
    keys: Array, problem: Problem, gamma: Float[Array, ""], *, sizes: tuple[int, ...], dual: bool = False
) -> Moments:
    """Moments of the score for one training set per key, (B,) each.

    Args:
        keys: random keys, (B,).
        problem: the groups; test points follow group 0.
        gamma: ridge.
        sizes: the counts of the problem (static).
        dual: solve the N equations instead of the p: the same classifier.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(30, 0, jnp.ones(20) / 4, eps=0, rho=0, phi=1)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> sample_plain(keys, problem, jnp.array(0.1), sizes=(30, 0)).mean.shape
        (2,)
    """
    roots = square_roots(problem.cov)
    fit = dual_classifier if dual else ridge_classifier

    def one(key: Array) -> Moments:
        w = fit(draw_training_set(key, problem, roots, sizes), gamma)
        return Moments(matmul(problem.means[0], w), quadratic(problem.cov[0], w))

    return jax.vmap(one)(keys)


def draw_training_set(
    key: Array, problem: Problem, roots: Float[Array, "K *pp"], sizes: tuple[int, ...]
) -> TrainingSet:
    """All samples of all groups, the pruned ones too.

    Example:
        >>> from theorysim.rmt_synthetic.problem import real_plus_synthetic
        >>> problem = real_plus_synthetic(2, 3, jnp.ones(4), eps=0, rho=0, phi=1)
        >>> draw_training_set(jax.random.key(0), problem, jnp.ones((2, 4)), (2, 3)).features.shape
        (5, 4)
    """
    parts = []
    for k, size in enumerate(sizes):
        noise_key, atom_key = jax.random.split(jax.random.fold_in(key, k))
        noise = jax.random.normal(noise_key, (size, problem.means.shape[1]), problem.means.dtype)
        features = problem.means[k][None] + times_root(roots[k], noise.T).T
        parts.append((features, *draw_atoms(atom_key, problem.atoms[k], size)))
    return TrainingSet(*(jnp.concatenate(x) for x in zip(*parts, strict=True)))


def draw_atoms(
    key: Array, atoms: Float[Array, "J 3"], size: int
) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
    """Weights and targets of `size` samples, each from one of the atoms (weight, target, probability).

    Example:
        >>> print(draw_atoms(jax.random.key(0), jnp.array([[0.5, -1.0, 1.0]]), 2))
        (Array([0.5, 0.5], dtype=float64), Array([-1., -1.], dtype=float64))
    """
    below = jnp.cumsum(atoms[:-1, -1])
    u = jax.random.uniform(key, (size, 1), atoms.dtype)
    chosen = atoms[(u >= below[None]).sum(axis=1)]
    return chosen[:, 0], chosen[:, 1]


def ridge_classifier(data: TrainingSet, gamma: Float[Array, ""]) -> Float[Array, " p"]:
    """The classifier from p equations.

    Example:
        >>> data = TrainingSet(jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1))
        >>> print(ridge_classifier(data, jnp.array(1.0)))
        [0.5]
    """
    features, weights, targets = data
    N, p = features.shape
    second = matmul(features.T, weights[:, None] * features) / N
    b = matmul(features.T, weights * targets) / N
    return cho_solve(cho_factor(second + gamma * jnp.eye(p, dtype=b.dtype)), b)


def dual_classifier(data: TrainingSet, gamma: Float[Array, ""]) -> Float[Array, " p"]:
    """The same classifier from N equations.

    Example:
        >>> data = TrainingSet(jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1))
        >>> print(dual_classifier(data, jnp.array(1.0)))
        [0.5]
    """
    features, weights, targets = data
    N = len(features)
    root = jnp.sqrt(weights)
    scaled = root[:, None] * features
    gram = matmul(scaled, scaled.T) / N + gamma * jnp.eye(N, dtype=scaled.dtype)
    return matmul(scaled.T, cho_solve(cho_factor(gram), root * targets)) / N


def square_roots(cov: Float[Array, "K *pp"]) -> Float[Array, "K *pp"]:
    """Symmetric square roots of covariances given as eigenvalues (K, p) or matrices (K, p, p); any rank.

    Example:
        >>> print(square_roots(jnp.array([[4.0, 0.0]])))
        [[2. 0.]]
    """
    if cov.ndim == 2:
        return jnp.sqrt(cov)
    values, vectors = jnp.linalg.eigh(cov)
    # Rounding may have pushed a zero eigenvalue below zero.
    roots = jnp.sqrt(jnp.maximum(values, 0))
    return matmul(vectors * roots[:, None, :], vectors.swapaxes(-1, -2))


def times_root(root: Float[Array, "*pp"], columns: Float[Array, "p n"]) -> Float[Array, "p n"]:
    """A square root, (p,) or (p, p), times some columns.

    Example:
        >>> print(times_root(jnp.array([2.0, 3.0]), jnp.ones((2, 1))).ravel())
        [2. 3.]
    """
    return root[:, None] * columns if root.ndim == 1 else matmul(root, columns)


def quadratic(cov: Float[Array, "*pp"], w: Float[Array, " p"]) -> Float[Array, ""]:
    """The form w'C w of a covariance given as eigenvalues (p,) or as a matrix (p, p).

    Example:
        >>> print(quadratic(jnp.array([2.0, 3.0]), jnp.ones(2)))
        5.0
    """
    return matmul(cov * w, w) if cov.ndim == 1 else matmul(w, matmul(cov, w))
