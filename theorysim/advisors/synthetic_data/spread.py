r"""How much luck is in one training set: the same real samples, with and without the synthetic ones.

Each draw is a training set of the user's sizes; its classifier is evaluated exactly, Phi(mu'w / |w|). The
difference of the two accuracies of one draw tells how often the synthetic data hurt.

The averaging classifier needs sums of samples only. Off the plane of the two means they are Gaussian,

    real sum g, sum of all a g + b h,     g, h ~ N(0, I) independent,

so that a draw costs a few random numbers and is exact at any size. Ridge regression needs second moments.
They are drawn as Wishart matrices by their triangular factors, also those of an estimated generator: with L
L' for the sum of squares behind its covariance, L B B' L' is that of samples from it. Beyond p = 64
dimensions the same problem with all sizes divided by p/64 is drawn, and the deviations from its mean are
multiplied by sqrt(64/p): sqrt(p) times the standard deviation is the same from p = 25 on, to a per cent
(docs/rmt_synthetic.md). For a generator that is right, at weight 1 and a finite ridge, `exact_accuracies` has
the law itself.

Example:
    >>> situation = Situation(200, 400, 100, label_noise=0.4, keep_right=1.0, keep_wrong=1.0, signal=1.2)
    >>> pairs = paired_accuracies(jax.random.key(0), 4000, situation, Fit(0, np.inf, 0), Fit(0, np.inf, 1.0))
    >>> hurts = (pairs.both < pairs.real_only).mean()
    >>> print(f"{pairs.real_only.mean():.3f} {pairs.both.mean():.3f} {hurts:.2f}")
    0.850 0.834 0.96
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, PRNGKeyArray

from theorysim.advisors.synthetic_data.mixture import Fit, Situation, limit_accuracy
from theorysim.numerics.products import matmul
from theorysim.numerics.validation import positive_int
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic, synthetic_atoms
from theorysim.rmt_synthetic.samplers import sample_accuracy
from theorysim.rmt_synthetic.samplers.chi import chi
from theorysim.rmt_synthetic.samplers.counts import atom_counts

__all__ = ["Pairs", "exact_accuracies", "paired_accuracies"]

_LARGEST = 64


class Pairs(NamedTuple):
    """Accuracies of the same real samples (draws,) without and with synthetic ones."""

    real_only: Float[Array, " draws"]
    both: Float[Array, " draws"]


def paired_accuracies(
    key: PRNGKeyArray, draws: int, situation: Situation, alone: Fit, together: Fit
) -> Pairs:
    """Accuracies of random training sets, with and without the synthetic samples.

    Args:
        key: random key.
        draws: training sets, >= 1 (static).
        situation: concrete numbers.
        alone: ridge for the real samples alone; the rest of it is ignored.
        together: ridge and weight with the synthetic ones.

    Returns:
        Pairs of accuracies in [0, 1]. Averaging classifiers are drawn exactly, at O(1) a draw; a ridge that
        is finite on one side only is drawn on both sides, with 1e6 for infinity.

    Example:
        >>> situation = Situation(200, 400, 100, 0.1, 1.0, 0.1, signal=1.2, reused=True)
        >>> pairs = paired_accuracies(jax.random.key(0), 50, situation, Fit(0, 1.0, 0), Fit(0, 1.0, 0.5))
        >>> pairs.both.shape
        (50,)
    """
    draws = positive_int(draws, "draws")
    s = situation
    ridges = np.array([alone.gamma, together.gamma])
    average = bool(np.isinf(ridges).all())
    scale = 1.0 if average else min(1.0, _LARGEST / s.dim)
    sizes = np.array([max(round(s.n * scale), 2), max(round(s.m * scale), 1), s.generator_samples * scale])
    law = np.array([s.signal, s.overlap, s.offset, together.weight], np.float64)
    atoms = synthetic_atoms(s.label_noise, s.keep_wrong, s.keep_right)
    dtype = jnp.result_type(float)
    arrays = (jnp.asarray(x, dtype) for x in (sizes, law, np.minimum(ridges, 1e6), atoms))
    kind = "reused" if s.reused else "estimated" if np.isfinite(s.generator_samples) else "right"
    if average:
        return _averaged(key, *arrays, jnp.asarray(s.dim, dtype), draws=draws, kind=kind)
    pairs = _ridge(key, *arrays, draws=draws, p=min(s.dim, _LARGEST), kind=kind)
    if scale == 1:
        return pairs
    centres = (
        limit_accuracy(s._replace(m=0), float(ridges[0]), 1.0),
        limit_accuracy(s, float(ridges[1]), together.weight),
    )
    spread = (_LARGEST / s.dim) ** 0.5
    moved = [c + (x - x.mean()) * spread for c, x in zip(centres, pairs, strict=True)]
    return Pairs(*(jnp.clip(x, 0, 1) for x in moved))


def exact_accuracies(
    key: PRNGKeyArray, draws: int, situation: Situation, gamma: float | int
) -> Float[Array, " draws"]:
    """Accuracies with synthetic samples of weight 1 from a generator with covariance I, exact in law.

    Args:
        key: random key.
        draws: training sets, >= 1 (static).
        situation: concrete numbers; the generator is not fitted to samples.
        gamma: ridge, > 0 and finite.

    Example:
        >>> situation = Situation(100, 200, 50, 0.3, 0.8, 0.1, 1.5, overlap=0.7, offset=1.0)
        >>> print(f"{exact_accuracies(jax.random.key(0), 1000, situation, 0.1).mean():.3f}")
        0.877
    """
    s = situation
    labels = {"eps": s.label_noise, "rho": s.keep_wrong, "phi": s.keep_right}
    problem = real_plus_synthetic(s.n, s.m, *paper_means(s.dim, s.signal, s.overlap, s.offset), **labels)
    return sample_accuracy(key, draws, problem, gamma)


@partial(jax.jit, static_argnames=("draws", "kind"))
def _averaged(key, sizes, law, _, atoms, p, *, draws, kind):
    n, m, n_hat = sizes
    mu, beta, perp, weight = law
    count_key, plane_key, chi_key, cross_key = jax.random.split(key, 4)
    kept = jax.vmap(lambda k: atom_counts(k, m[None], atoms[None, :, 2])[0])(
        jax.random.split(count_key, draws)
    )
    difference, total = kept[:, 0] - kept[:, 1], kept[:, 0] + kept[:, 1]
    mean_of_sums = weight * difference

    # |g|^2 and |h|^2 off the plane, and the squared length of a combination of the generator's samples in
    # units of N(0, I).
    behind = {"reused": n - 1, "estimated": n_hat - 1, "right": jnp.ones_like(n)}[kind]
    dof = jnp.stack([p - 2, p - 3, behind])[:, None]
    g, h, radius = chi(jax.random.split(chi_key, draws), jnp.broadcast_to(dof, (3, draws)))
    stretch = radius**2 / {"reused": n, "estimated": n_hat, "right": radius**2}[kind]
    fitted = mean_of_sums**2 / n_hat if kind == "estimated" else 0.0
    b = jnp.sqrt(fitted + weight**2 * total * stretch)
    a = 1 + mean_of_sums / n if kind == "reused" else jnp.ones(draws, p.dtype)

    noise = jax.random.normal(plane_key, (2, 2, draws), p.dtype)
    real = jnp.sqrt(n) * noise[0] + jnp.array([1.0, 0.0], p.dtype)[:, None] * n * mu
    synthetic = 0.0 if kind == "reused" else jnp.stack([beta * mu, perp])[:, None] * mean_of_sums[None]
    both = a[None] * real + b[None] * noise[1] + synthetic

    cross = jax.random.normal(cross_key, (draws,), p.dtype)
    real_rest = n * g**2
    both_rest = (a * jnp.sqrt(n) * g + b * cross) ** 2 + (b * h) ** 2
    return Pairs(_phi(mu, real, real_rest), _phi(mu, both, both_rest))


@partial(jax.jit, static_argnames=("draws", "p", "kind"))
def _ridge(key, sizes, law, ridges, atoms, *, draws, p, kind):
    n, m, n_hat = sizes
    mu, beta, perp, weight = law
    dtype = law.dtype
    eye = jnp.eye(p, dtype=dtype)
    centre = jnp.zeros(p, dtype).at[0].set(beta * mu).at[1].set(perp)

    count_key, chi_key, draw_key = jax.random.split(key, 3)
    kept = jax.vmap(lambda k: atom_counts(k, m[None], atoms[None, :, 2])[0])(
        jax.random.split(count_key, draws)
    )[:, :2]
    # Degrees of freedom of the real part, of what the generator was fitted to, and of the synthetic part.
    freedom = jnp.stack([n - 1, n_hat - 1, 0 * n])[:, None] + jnp.stack(
        [jnp.zeros(draws, dtype), jnp.zeros(draws, dtype), jnp.maximum(kept - 1, 0).sum(axis=1)]
    )
    freedom = jnp.where(jnp.isfinite(freedom), freedom, 0)
    dof = freedom[:, None] - jnp.arange(p, dtype=dtype)[None, :, None]
    chis = chi(jax.random.split(chi_key, draws), dof.reshape(3 * p, draws)).reshape(3, p, draws)

    def factor(key, diagonal):
        """L with L L' a Wishart matrix, singular where its columns, of chi = 0, end."""
        below = jnp.tril(jax.random.normal(key, (p, p), dtype), -1)
        return jnp.where((diagonal > 0)[None], below + jnp.diag(diagonal), 0)

    def accuracy(second, first, gamma):
        w = cho_solve(cho_factor(second + gamma * eye), first)
        return _phi(mu, w[:2], matmul(w[2:], w[2:]))

    def one(drawn):
        key, kept, diagonals = drawn
        keys = jax.random.split(key, 6)
        y = jax.random.normal(keys[0], (p,), dtype).at[0].add(jnp.sqrt(n) * mu)
        L = factor(keys[1], diagonals[0])
        second, first = matmul(L, L.T) + jnp.outer(y, y), jnp.sqrt(n) * y
        alone = accuracy(second / n, first / n, ridges[0])

        root, middle = eye, centre
        if kind == "reused":
            root, middle = L / jnp.sqrt(n), y / jnp.sqrt(n)
        elif kind == "estimated":
            root = factor(keys[2], diagonals[1]) / jnp.sqrt(n_hat)
            middle = centre + jax.random.normal(keys[3], (p,), dtype) / jnp.sqrt(n_hat)
        noise = matmul(root, jax.random.normal(keys[4], (p, 2), dtype))
        means = (jnp.sqrt(kept)[None] * middle[:, None] + noise) * (kept > 0)[None]
        B = matmul(root, factor(keys[5], diagonals[2]))
        second = second + weight * (matmul(B, B.T) + matmul(means, means.T))
        first = first + weight * matmul(means, jnp.sqrt(kept) * jnp.array([1.0, -1.0], dtype))
        return Pairs(alone, accuracy(second / (n + m), first / (n + m), ridges[1]))

    drawn = (jax.random.split(draw_key, draws), kept, jnp.moveaxis(chis, -1, 0))
    return jax.lax.map(one, drawn, batch_size=16)


def _phi(mu, plane, rest):
    """Phi(mu'w / |w|) from w in the plane of the means (2, ...) and its squared length off it."""
    return ndtr(mu * plane[0] / jnp.sqrt(plane[0] ** 2 + plane[1] ** 2 + rest))
