r"""The query that sees most of a group of records: what a reconstruction attack looks for.

Maximises log KL(in || out), or the logarithm of the mean distance, over q queries at once, by L-BFGS. Far
from the data both are flat, their logarithms are not. For the posteriors of a Gaussian process KL has its
maximum at Q = S: the optimum reconstructs the record. A single start often ends at a local maximum; the best
of all is returned, with the others beside it.

The mean distance k_D(q, s)^2 |r|^2/(v + s2)^2 has its maximum elsewhere: its gradient at q = s is that of the
posterior variance, which vanishes only by symmetry.

Example:
    >>> from theorysim.lood.kernels import rbf
    >>> x = jnp.array([[0.0, 0.0], [1.0, 0.5], [-0.5, 1.0]])
    >>> found = optimal_query(jax.random.key(0), rbf(), x, jnp.array([1.0, -1.0, 1.0]), [1], noise=0.01)
    >>> print(found.query.round(3), f"{found.value:.6f} {found.value_at_record:.6f}")
    [[1.  0.5]] 3.242615 3.242615
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.lood.arguments import inputs, members_of
from theorysim.lood.kernels import Kernel, as_kernel, by_inner_products
from theorysim.lood.queries import channel_of, lood_of_halves, query_lood_of
from theorysim.numerics.gaussian import safe_ratio, safe_sqrt
from theorysim.numerics.gp import factor, labels
from theorysim.numerics.minimise import lbfgs
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import choice, positive_int, real

__all__ = ["Domain", "Objective", "OptimalQuery", "Starts", "optimal_query"]

Objective = Literal["kl", "mean"]
Domain = None | Literal["sphere"] | tuple[float, float]


class Starts(NamedTuple):
    """Where every start ended.

    Attributes:
        query: (starts, q, d).
        value: the objective there, (starts,).
    """

    query: Float[Array, "starts q d"]
    value: Float[Array, " starts"]


class OptimalQuery(NamedTuple):
    """The best queries found.

    Attributes:
        query: (q, d).
        value: KL, or mean distance, there.
        value_at_record: the same at Q = S.
        all_starts: Starts.
    """

    query: Float[Array, "q d"]
    value: Float[Array, ""]
    value_at_record: Float[Array, ""]
    all_starts: Starts


def optimal_query(
    key: Array,
    kernel: Kernel,
    X: ArrayLike,
    y: ArrayLike,
    S: Any,
    *,
    noise: ArrayLike,
    queries: int = 1,
    starts: int = 8,
    steps: int = 400,
    objective: Objective = "kl",
    domain: Domain = None,
    start_noise: ArrayLike = 0.5,
) -> OptimalQuery:
    """Maximise what queries see of the records S.

    Half of the starts are near the mean of the other records, half near other records drawn at random. Batch
    over records by `jax.vmap` over key and S: the factorisation is made once.

    Args:
        key: random key.
        kernel: of the inputs, see `kernels`; differentiable in its second argument.
        X: records, (n, d).
        y: labels, (n, k) or (n,).
        S: indices of the records, (p,), p < n; may be traced.
        noise: s2 > 0, a scalar.
        queries: q, how many queries are asked at once, >= 1 (static).
        starts: >= 1 (static).
        steps: evaluations of each start at most, >= 1 (static).
        objective: "kl", KL(in || out), or "mean", the mean distance (static).
        domain: None, everywhere; "sphere", vectors of the norm that the records have on average; (low,
            high), a box for every feature (static).
        start_noise: deviation of the starts from where they are near, in deviations of the features, >= 0.

    Returns:
        OptimalQuery. Not differentiable. Several queries of the same record may approach each other; a start
        that ends in a singular covariance counts as value -inf.

    Raises:
        ValueError: S empty, repeated or outside the data, an argument out of its range, or whatever `factor`
            refuses.

    Example:
        >>> from theorysim.lood.kernels import rbf
        >>> x, y = jnp.array([[0.0], [0.2]]), jnp.ones(2)
        >>> best = optimal_query(jax.random.key(0), rbf(), x, y, [1], noise=1e-6, objective="mean")
        >>> print(f"{abs(best.query[0, 0]):.9f} {best.value / best.value_at_record:.6f}")
        1.053089827 11.330228
    """
    kernel = as_kernel(kernel)
    X = inputs(X, "X")
    S = members_of(S, len(X), "S")
    y = labels(y, len(X), X.dtype)
    choice(objective, "objective", ("kl", "mean"))
    real(start_noise, "start_noise", low=0, high_open=True)
    queries, starts, steps = (
        positive_int(value, name)
        for value, name in ((queries, "queries"), (starts, "starts"), (steps, "steps"))
    )
    cholesky = factor(kernel(X, X), noise=noise)
    return _optimal(
        key,
        kernel,
        X,
        y,
        S,
        cholesky,
        jnp.asarray(start_noise, X.dtype),
        queries=queries,
        starts=starts,
        steps=steps,
        objective=objective,
        domain=_checked_domain(domain),
    )


@partial(jax.jit, static_argnames=("queries", "starts", "steps", "objective", "domain"))
def _optimal(key, kernel, X, y, S, cholesky, start_noise, *, queries, starts, steps, objective, domain):
    def chosen(seen):
        return seen.kl if objective == "kl" else seen.mean_distance

    def value(Q):
        return chosen(query_lood_of(kernel, X, y, S, Q, cholesky))

    # The inverse, once: an evaluation is a few products, which are those of matrices once it is mapped.
    inverse = solve_triangular(cholesky, jnp.eye(len(X), dtype=X.dtype), lower=True)
    directions, z = channel_of(inverse[:, S], matmul(inverse, y))
    fast, (to_query, to_free) = by_inner_products(kernel), _maps(X, domain)

    def loss(free):
        Q = to_query(free)
        seen = chosen(lood_of_halves(directions, z, matmul(inverse, fast(X, Q)), fast(Q, Q)))
        # Flat at 0 rather than -inf where nothing is left to see.
        return -jnp.log(jnp.maximum(seen, jnp.finfo(X.dtype).tiny))

    free = jax.vmap(to_free)(_starting_points(key, X, S, queries, starts, start_noise))
    ends = jax.vmap(lambda start: lbfgs(loss, start, max_steps=steps))(free)
    Q = jax.vmap(to_query)(ends)
    values = jax.vmap(value)(Q)
    values = jnp.where(jnp.isfinite(values), values, -jnp.inf)
    best = jnp.argmax(values)
    return OptimalQuery(Q[best], values[best], value(X[S]), Starts(Q, values))


def _starting_points(key, X, S, queries, starts, start_noise):
    """(starts, q, d) points: the first half near the mean, the others near records that are not in S."""
    pick, move = jax.random.split(key)
    others = jnp.ones(len(X), X.dtype).at[S].set(0)
    mean = (others[:, None] * X).sum(0) / others.sum()
    near = jax.random.choice(pick, len(X), (starts, queries), p=others / others.sum())
    central = (jnp.arange(starts) < starts / 2).reshape(-1, 1, 1)
    spread = jnp.std(X, axis=0).reshape(1, 1, -1)
    noise = start_noise * spread * jax.random.normal(move, (starts, queries, X.shape[1]), X.dtype)
    return jnp.where(central, mean[None, None], X[near]) + noise


def _maps(X, domain):
    """From unconstrained numbers to queries, and back."""
    if domain is None:
        return (lambda free: free), (lambda Q: Q)
    if domain == "sphere":
        radius = safe_sqrt((X**2).sum(1)).mean()

        def to_sphere(free):
            return radius * safe_ratio(free, safe_sqrt((free**2).sum(1, keepdims=True)))

        return to_sphere, to_sphere
    low, high = domain
    edge = 1e-3

    def to_free(Q):
        share = jnp.clip((Q - low) / (high - low), edge, 1 - edge)
        return jnp.log(share) - jnp.log1p(-share)

    return (lambda free: low + (high - low) * jax.nn.sigmoid(free)), to_free


def _checked_domain(domain):
    if domain is None or domain == "sphere":
        return domain
    try:
        low, high = (float(real(end, "domain", low_open=True, high_open=True)) for end in domain)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high:
        raise ValueError(f"domain must be None, 'sphere' or a box (low, high), low < high, got {domain!r}")
    return low, high
