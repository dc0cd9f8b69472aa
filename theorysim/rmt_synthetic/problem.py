r"""The learning problem: groups of samples, each with its own law, weights and targets.

Group k has N_k samples v ~ N(m_k, C_k) in R^p, each with an independent (weight, target) pair drawn from the
group's atoms. In label-aligned coordinates v = y x the targets of clean data are 1; group 0 is the real
data, whose law is that of the test points. Synthetic data, labelled wrongly with probability eps, kept with
probability phi if the label is right and rho if it is wrong, have the atoms

    (omega, +1) with probability phi (1 - eps),   (omega, -1) with rho eps,   (0, 0) with the rest.

Model: A. El Firdoussi et al., "Maximizing the Potential of Synthetic Data: Insights from Random Matrix
Theory" (2024), arXiv 2410.08942; see docs/rmt_synthetic.md.

Example:
    >>> mu, mu_s = paper_means(p=500, mu=1.5, beta=0.7, perp=1.0)
    >>> problem = real_plus_synthetic(1000, 2000, mu, mu_s, eps=0.3, rho=0.1, phi=0.8, cov_s=0.49)
    >>> problem.cov.shape, problem.counts.tolist()
    ((2, 500), [1000.0, 2000.0])
    >>> [round(float(x), 3) for x in problem.atoms[1, :, 2]]  # right and kept, wrong and kept, pruned
    [0.56, 0.03, 0.41]
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import floating, is_traced, positive_int, real, scalar

__all__ = ["Problem", "checked", "paper_means", "real_plus_synthetic", "synthetic_atoms"]


class Problem(NamedTuple):
    """Groups of weighted, labelled Gaussian samples; all fields are traced, so sweeps vmap over any of them.

    `means` (K, p). `cov` holds the covariances: (K, p) if they commute, their eigenvalues in a common
    eigenbasis, in which the means are written too; (K, p, p) if they do not. `counts` (K,) are the numbers
    N_k of samples before pruning; they need not be whole in the theory. `atoms` (K, J, 2 + L) are the
    possible (weight, targets, probability) of a sample, with L targets (L = 1 but for several classes).

    `directions` (K, D, p) and `gains` (K, D) change the second moments of a group in a few directions:
    E[v v'] = C_k + m_k m_k' + sum_d gain_d r_d r_d'. That is what pruning by a linear verifier does;
    otherwise D = 0.
    """

    means: Float[Array, "K p"]
    cov: Float[Array, "K p"] | Float[Array, "K p p"]
    counts: Float[Array, " K"]
    atoms: Float[Array, "K J S"]
    directions: Float[Array, "K D p"]
    gains: Float[Array, "K D"]


def synthetic_atoms(
    eps: ArrayLike, rho: ArrayLike, phi: ArrayLike, omega: ArrayLike = 1.0
) -> Float[Array, "3 3"]:
    """Atoms (weight, target, probability) of pruned synthetic samples: right, wrong, pruned.

    Args:
        eps: probability in [0, 1] that a synthetic label is wrong; a scalar, as all of these.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        omega: weight >= 0 of each kept sample.

    Raises:
        ValueError: an argument out of its range, or not a scalar.

    Example:
        >>> print(synthetic_atoms(eps=0.25, rho=0.5, phi=1.0))
        [[ 1.     1.     0.75 ]
         [ 1.    -1.     0.125]
         [ 0.     0.     0.125]]
    """
    for name, value in (("eps", eps), ("rho", rho), ("phi", phi)):
        real(scalar(value, name), name, low=0, high=1)
    real(scalar(omega, "omega"), "omega", low=0)
    eps, rho, phi, omega = (floating(x) for x in (eps, rho, phi, omega))
    right, wrong = phi * (1 - eps), rho * eps
    one, zero = jnp.ones_like(right), jnp.zeros_like(right)
    rows = ((omega, one, right), (omega, -one, wrong), (zero, zero, 1 - right - wrong))
    return jnp.stack([jnp.stack(row) for row in rows])


def paper_means(
    p: int, mu: ArrayLike, beta: ArrayLike = 1.0, perp: ArrayLike = 0.0
) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
    """Class means of real and synthetic data: mu u and beta mu u + perp v, with fixed unit vectors u and v.

    u_i is proportional to 1/(i+1) and v_i to (-1)^i made orthogonal to u: vectors that no covariance prefers,
    so that results can be compared to the digit.

    Args:
        p: dimension, >= 2 (static).
        mu: length of the real mean, >= 0; a scalar, as the next two.
        beta: overlap of the synthetic mean with the real one, in units of the latter.
        perp: length of the synthetic mean's part orthogonal to the real one.

    Returns:
        The real and the synthetic mean, each (p,).

    Raises:
        ValueError: p < 2, mu < 0, or an argument that is not a finite scalar.

    Example:
        >>> mu, mu_s = paper_means(50, 2.0, beta=0.5, perp=1.0)
        >>> round(float(mu @ mu_s), 6), round(float(mu_s @ mu_s), 6)
        (2.0, 2.0)
    """
    p = positive_int(p, "p", minimum=2)
    real(scalar(mu, "mu"), "mu", low=0)
    for name, value in (("beta", beta), ("perp", perp)):
        real(scalar(value, name), name)
    mu, beta, perp = (floating(x) for x in (mu, beta, perp))
    dtype = jnp.result_type(mu, beta, perp)
    u = 1 / np.arange(1.0, p + 1)
    u /= np.linalg.norm(u)
    v = (-1.0) ** np.arange(p)
    v -= u * (u @ v)
    v /= np.linalg.norm(v)
    u, v = jnp.asarray(u, dtype), jnp.asarray(v, dtype)
    return mu * u, beta * mu * u + perp * v


def real_plus_synthetic(
    n: ArrayLike,
    m: ArrayLike,
    mu: ArrayLike,
    mu_s: ArrayLike | None = None,
    *,
    eps: ArrayLike,
    rho: ArrayLike,
    phi: ArrayLike,
    omega: ArrayLike = 1.0,
    cov_r: ArrayLike = 1.0,
    cov_s: ArrayLike = 1.0,
) -> Problem:
    """The paper's problem: n real samples, and m synthetic ones before pruning.

    Args:
        n: real samples, >= 0; a scalar that may be traced and need not be whole in the theory.
        m: synthetic samples before pruning, likewise; n + m > 0.
        mu: real class mean (p,).
        mu_s: synthetic class mean (p,); that of the real data by default.
        eps: probability in [0, 1] that a synthetic label is wrong.
        rho: probability in [0, 1] of keeping a sample with a wrong label.
        phi: probability in [0, 1] of keeping a sample with a right label.
        omega: weight >= 0 of each kept synthetic sample.
        cov_r: covariance of the real data: a scalar c for c I, eigenvalues (p,), or a matrix (p, p).
        cov_s: covariance of the synthetic data, likewise. Eigenvalues are in the basis of the means; a matrix
            on either side makes the problem dense.

    Raises:
        ValueError: an argument out of its range or of the wrong shape; a covariance that is not symmetric
            positive semi-definite. Singular is fine: the ridge regularises.

    Example:
        >>> problem = real_plus_synthetic(100, 300, np.ones(20) / 4, eps=0.2, rho=0.1, phi=0.9)
        >>> problem.means.shape, problem.cov.shape
        ((2, 20), (2, 20))
    """
    for name, value in (("n", n), ("m", m)):
        real(scalar(value, name), name, low=0)
    mu = floating(mu)
    if mu.ndim != 1 or not mu.size:
        raise ValueError(f"mu must be a vector of at least one entry, got shape {mu.shape}")
    mu_s = mu if mu_s is None else floating(mu_s)
    if mu_s.shape != mu.shape:
        raise ValueError(f"mu_s must have the shape {mu.shape} of mu, got {mu_s.shape}")
    p = mu.size
    covs = [_covariance(cov_r, "cov_r", p), _covariance(cov_s, "cov_s", p)]
    if any(cov.ndim == 2 for cov in covs):
        covs = [cov if cov.ndim == 2 else jnp.diag(cov) for cov in covs]
    synthetic = synthetic_atoms(eps, rho, phi, omega)
    clean = jnp.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]], synthetic.dtype)
    counts = [floating(n), floating(m)]
    dtype = jnp.result_type(mu, mu_s, *covs, *counts, synthetic)
    problem = Problem(
        means=jnp.stack([mu, mu_s]).astype(dtype),
        cov=jnp.stack(covs).astype(dtype),
        counts=jnp.stack(counts).astype(dtype),
        atoms=jnp.stack([clean, synthetic]).astype(dtype),
        directions=jnp.zeros((2, 0, p), dtype),
        gains=jnp.zeros((2, 0), dtype),
    )
    return checked(problem)


def checked(problem: Problem, *, targets: int | None = 1) -> Problem:
    """Return the problem, or raise ValueError naming the field that cannot be.

    Shapes are checked under a trace too, values where they are concrete.

    Args:
        problem: any K >= 1 groups.
        targets: how many targets its atoms must have; None for any.

    Raises:
        ValueError: shapes that do not fit together; counts, weights or probabilities below zero; no samples
            at all; probabilities that do not sum to 1; covariances that are not symmetric positive
            semi-definite.

    Example:
        >>> mu = np.ones(4)
        >>> problem = real_plus_synthetic(10, 0, mu, eps=0, rho=0, phi=1)
        >>> checked(problem._replace(counts=-problem.counts))
        Traceback (most recent call last):
        ValueError: counts must be in [0, inf), got -10
    """
    means, cov, counts, atoms, directions, gains = problem
    if means.ndim != 2 or not means.size:
        raise ValueError(f"means must have shape (K, p) with K, p >= 1, got {means.shape}")
    K, p = means.shape
    if cov.shape not in ((K, p), (K, p, p)):
        raise ValueError(f"cov must have shape {(K, p)} or {(K, p, p)}, got {cov.shape}")
    if counts.shape != (K,):
        raise ValueError(f"counts must have shape {(K,)}, got {counts.shape}")
    if atoms.ndim != 3 or len(atoms) != K or not atoms.shape[1]:
        raise ValueError(f"atoms must have shape ({K}, J, 2 + targets) with J >= 1, got {atoms.shape}")
    if atoms.shape[2] < 3 or targets not in (None, atoms.shape[2] - 2):
        wanted = "at least 1 target" if targets is None else f"{targets} target{'s' * (targets > 1)}"
        raise ValueError(f"atoms must hold (weight, {wanted}, probability), got {atoms.shape[2]} columns")
    if gains.ndim != 2 or len(gains) != K or directions.shape != (*gains.shape, p):
        raise ValueError(
            f"directions and gains must have shapes ({K}, D, {p}) and ({K}, D), "
            f"got {directions.shape} and {gains.shape}"
        )
    # As NumPy before any slice: under a trace a slice of a concrete array is abstract.
    if not is_traced(counts):
        real(counts, "counts", low=0, high_open=True)
        if not np.asarray(counts).sum() > 0:
            raise ValueError(f"counts must hold at least one sample, got {np.asarray(counts).tolist()}")
    if not is_traced(atoms):
        concrete = np.asarray(atoms, np.float64)
        real(concrete[..., 0], "weights of atoms", low=0, high_open=True)
        real(concrete[..., -1], "probabilities of atoms", low=-1e-6, high=1 + 1e-6)
        total = concrete[..., -1].sum(axis=1)
        if np.abs(total - 1).max() > 1e-4:
            raise ValueError(f"probabilities of atoms must sum to 1 in every group, got {total.tolist()}")
    if not is_traced(cov):
        _check_semidefinite(np.asarray(cov, np.float64), "cov")
    return problem


def _covariance(value, name, p):
    """Eigenvalues (p,) or a matrix (p, p)."""
    cov = floating(value)
    if cov.ndim == 0:
        cov = jnp.full(p, cov)
    if cov.shape not in ((p,), (p, p)):
        raise ValueError(
            f"{name} must be a scalar, ({p},) eigenvalues or a ({p}, {p}) matrix, got {cov.shape}"
        )
    if not is_traced(cov):
        _check_semidefinite(np.asarray(cov, np.float64)[None], name)
    return cov


def _check_semidefinite(covs, name):
    if covs.ndim == 2:
        real(covs, f"eigenvalues of {name}", low=0, high_open=True)
        return
    for cov in covs:
        scale = np.abs(cov).max()
        if not np.isfinite(scale) or np.abs(cov - cov.T).max() > 1e-5 * scale:
            raise ValueError(f"{name} must be a finite symmetric matrix")
        # Rounding may push a zero eigenvalue below zero, by more in float32 than in float64.
        if (least := np.linalg.eigvalsh(cov)[0]) < -1e-5 * scale:
            raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {least:.4g}")
