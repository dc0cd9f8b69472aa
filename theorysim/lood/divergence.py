r"""Divergences between two laws of the outputs at q queries: k Gaussians of one covariance each.

Let C_out = G G', delta = G^-1 (mu_in - mu_out) per output, R = I - G^-1 C_in G^-T with eigenvalues l_j, and
C_a = (1-a) C_in + a C_out. Then, summed over the outputs,

    KL(in||out) = [|delta|^2 - k sum (l_j + log(1 - l_j))]/2,
    KL(out||in) = [delta'(I - R)^-1 delta + k sum (l_j/(1 - l_j) + log(1 - l_j))]/2,
    Renyi_a(in||out) = [a delta'(I - (1-a) R)^-1 delta - k/(a-1) sum (log(1 + (a-1) l_j)
                       - (1-a) log(1 - l_j))]/2,
    Hellinger^2 = 1 - exp(k sum [log(1 - l_j)/4 - log(1 - l_j/2)/2] - delta'(I - R/2)^-1 delta/8),
    W2^2 = |mu_in - mu_out|^2 + k [tr C_in + tr C_out - 2 tr (C_out^1/2 C_in C_out^1/2)^1/2],

the sums over channels of `channel` if R is positive semi-definite, as between the posteriors of one Gaussian
process; in ensembles trained by gradients the variance may grow, and some l_j are negative. Only eigenvalues
enter, never eigenvectors: derivatives exist where they coincide, too.

Example:
    >>> from theorysim.numerics.gp import Posterior
    >>> inside = Posterior(jnp.array([[0.5]]), jnp.array([[0.5]]))
    >>> print(f"{lood(inside, Posterior(jnp.zeros((1, 1)), jnp.ones((1, 1)))).kl:.6f}")
    0.221574
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import finite
from theorysim.lood.records import Lood
from theorysim.numerics.gp import Posterior
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import is_traced, real, scalar

__all__ = ["lood", "lood_of_whitened", "renyi", "whitened"]

# One law with the records, one without; leading axes broadcast.
_LAWS = "(q,k),(q,q),(q,k),(q,q)->"


def lood(posterior_in: Posterior, posterior_out: Posterior) -> Lood:
    """All divergences between the outputs of models with and without some records.

    Args:
        posterior_in: with the records, mean (..., q, k) and cov (..., q, q).
        posterior_out: without them; leading axes broadcast, as of `leave_one_out_at`.

    Returns:
        Lood of the leading axes. Differences of laws lose digits where the laws are close: the divergences
        have an absolute error of 1e-15 times the condition number of C_out; `query_lood` does better.

    Raises:
        ValueError: shapes that do not match, numbers that are not finite, or a covariance that is not
            positive definite, as of two equal queries.

    Example:
        >>> law = Posterior(jnp.zeros((2, 1)), jnp.eye(2))
        >>> print(lood(law._replace(mean=jnp.ones((2, 1))), law).wasserstein_squared)
        2.0
    """
    inside, outside = _checked(posterior_in, posterior_out)
    value = _lood(*inside, *outside)
    _check_finite_result(value.kl + value.kl_reverse)
    return value


def renyi(posterior_in: Posterior, posterior_out: Posterior, *, order: ArrayLike) -> Float[Array, "*batch"]:
    """Renyi divergence D(in || out) of this order; swap the arguments for the other direction.

    Args:
        posterior_in: with the records, mean (..., q, k) and cov (..., q, q).
        posterior_out: without them; leading axes broadcast.
        order: a > 0, a scalar; 1 gives the KL divergence.

    Returns:
        Nats, of the leading axes; infinite where (1-a) C_in + a C_out is not positive definite.

    Raises:
        ValueError: as of `lood`, or an order out of its range.

    Example:
        >>> law = Posterior(jnp.zeros((1, 1)), jnp.ones((1, 1)))
        >>> print(renyi(law._replace(mean=jnp.ones((1, 1))), law, order=2.0))
        1.0
    """
    real(scalar(order, "order"), "order", low=0, low_open=True, high_open=True)
    inside, outside = _checked(posterior_in, posterior_out)
    value = _renyi(*inside, *outside, jnp.asarray(order, inside.mean.dtype))
    _check_finite_result(value)
    return value


def whitened(inside: Posterior, outside: Posterior) -> tuple[Array, Array, Array]:
    """R, delta and G of two laws with mean (q, k) and cov (q, q); nothing is checked.

    Example:
        >>> law = Posterior(jnp.ones((1, 1)), jnp.full((1, 1), 4.0))
        >>> print(*(x.item() for x in whitened(law, law._replace(mean=jnp.zeros((1, 1))))))
        0.0 0.5 2.0
    """
    G = _cholesky(outside.cov)
    half = _solve(G, outside.cov - inside.cov)
    return _symmetric(_solve(G, half.T)), _solve(G, inside.mean - outside.mean), G


def lood_of_whitened(R: Float[Array, "q q"], delta: Float[Array, "q k"], G: Float[Array, "q q"]) -> Lood:
    """All divergences from the whitened difference of two laws; nothing is checked.

    Args:
        R: I - G^-1 C_in G^-T.
        delta: G^-1 (mu_in - mu_out).
        G: Cholesky factor of C_out.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> print(lood_of_whitened(0.5 * one, one, 2 * one).mean_distance)
        4.0
    """
    k, low = delta.shape[1], _eigenvalues(R)
    log_less = jnp.log1p(-low)
    affinity = k * (log_less / 4 - jnp.log1p(-low / 2) / 2).sum() - _form(R, delta, 0.5) / 8
    mean_distance = (matmul(G, delta) ** 2).sum()
    return Lood(
        kl=((delta**2).sum() - k * (low + log_less).sum()) / 2,
        kl_reverse=(_form(R, delta, 1.0) + k * (low / (1 - low) + log_less).sum()) / 2,
        mean_distance=mean_distance,
        hellinger_squared=-jnp.expm1(affinity),
        wasserstein_squared=mean_distance + k * _bures(R, G),
    )


@jax.jit
def _lood(mean_in, cov_in, mean_out, cov_out):
    def one(*law):
        return lood_of_whitened(*whitened(Posterior(*law[:2]), Posterior(*law[2:])))

    return Lood(*jnp.vectorize(one, signature=_LAWS + "(),(),(),(),()")(mean_in, cov_in, mean_out, cov_out))


@jax.jit
def _renyi(mean_in, cov_in, mean_out, cov_out, a):
    def one(*law):
        R, delta, _ = whitened(Posterior(*law[:2]), Posterior(*law[2:]))
        low, k = _eigenvalues(R), delta.shape[1]
        log_less, kl = jnp.log1p(-low), a == 1
        # C_a, whitened: 1 + (a-1) l.
        finite = ((a - 1) * low > -1).all()
        at = jnp.where(finite & ~kl, a, 2.0)
        R, low = jnp.where(finite, R, 0), jnp.where(finite, low, 0)
        logs = (jnp.log1p((at - 1) * low) / (at - 1) + jnp.where(finite, log_less, 0)).sum()
        value = (at * _form(R, delta, 1 - at) - k * logs) / 2
        value = jnp.where(kl, ((delta**2).sum() - k * (low + log_less).sum()) / 2, value)
        return jnp.where(finite, value, jnp.inf)

    return jnp.vectorize(one, signature=_LAWS + "()")(mean_in, cov_in, mean_out, cov_out)


def _cholesky(matrix):
    # A single query needs no LAPACK, of which vmap makes one call for each.
    return jnp.sqrt(matrix) if len(matrix) == 1 else jnp.linalg.cholesky(matrix)


def _solve(G, x):
    return x / G if len(G) == 1 else solve_triangular(G, x, lower=True)


def _eigenvalues(R):
    return R[0] if len(R) == 1 else jnp.linalg.eigvalsh(R)


def _form(R, delta, c):
    """The sum over outputs of delta'(I - c R)^-1 delta."""
    half = _solve(_cholesky(jnp.eye(len(R), dtype=R.dtype) - c * R), delta)
    return (half**2).sum()


def _bures(R, G):
    """What the covariances add to W2^2 per output, by the eigenvalues of C_out C_in."""
    if len(R) == 1:
        return (G * R / (1 + jnp.sqrt(1 - R))).sum() ** 2
    S = _symmetric(matmul(G.T, G))
    SR = matmul(S, R)
    values = _eigenvalues(_symmetric(matmul(S, S) - matmul(SR, S)))
    return 2 * jnp.trace(S) - jnp.trace(SR) - 2 * jnp.sqrt(jnp.maximum(values, 0)).sum()


def _symmetric(x):
    return (x + x.T) / 2


def _checked(posterior_in, posterior_out):
    laws = []
    for name, law in (("posterior_in", posterior_in), ("posterior_out", posterior_out)):
        mean, cov = finite(law.mean, f"{name}.mean"), finite(law.cov, f"{name}.cov")
        if mean.ndim < 2 or cov.ndim < 2 or cov.shape[-2:] != (mean.shape[-2],) * 2:
            raise ValueError(
                f"{name} must have mean (..., q, k) and cov (..., q, q), got {mean.shape} and {cov.shape}"
            )
        laws.append(Posterior(mean, cov))
    inside, outside = laws
    if inside.mean.shape[-2:] != outside.mean.shape[-2:]:
        raise ValueError(
            f"posterior_out must be at the queries and outputs of posterior_in, {inside.mean.shape[-2:]}, "
            f"got {outside.mean.shape[-2:]}"
        )
    dtype = jnp.result_type(*inside, *outside)
    batch = jnp.broadcast_shapes(*(x.shape[:-2] for law in laws for x in law))
    return (
        Posterior(*(jnp.broadcast_to(x.astype(dtype), batch + x.shape[-2:]) for x in law)) for law in laws
    )


def _check_finite_result(value):
    if not is_traced(value) and jnp.isnan(value).any():
        raise ValueError(
            "posterior_in and posterior_out must have positive definite covariances, got one that is "
            "singular: ask for distinct queries away from each other"
        )
