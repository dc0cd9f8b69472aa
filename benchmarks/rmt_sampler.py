"""What the samplers of the accuracy gain over drawing the training set.

n = 800 real and m = 1600 synthetic samples in p = 400 dimensions. The literal baseline is the experiment as
it is usually written: draw the data, solve for the classifier, classify 2n test points. The NumPy baseline is
the banded sampler itself, with the draws as the last axis of every array.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from benchmarks.harness import Comparison, benchmark
from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
from theorysim.rmt_synthetic.samplers import sample_accuracy

REAL, SYNTHETIC, DIM = 800, 1600, 400
GAMMA, MU, BETA, PERP = 0.1, 1.5, 0.7, 1.0
EPS, RHO, PHI = 0.3, 0.1, 0.8


def literal_accuracies(draws):
    """Share of 2n test points classified rightly, for one training set after the other."""
    rng = np.random.default_rng(0)
    mu, mu_s = (np.asarray(x) for x in paper_means(DIM, MU, BETA, PERP))
    return np.array([_literal_accuracy(rng, mu, mu_s) for _ in range(draws)])


def _literal_accuracy(rng, mu, mu_s):
    def mixture(size, mean):
        y = rng.choice([-1.0, 1.0], size)
        return rng.standard_normal((size, DIM)) + y[:, None] * mean, y

    x_r, y_r = mixture(REAL, mu)
    x_s, y_s = mixture(SYNTHETIC, mu_s)
    wrong = rng.random(SYNTHETIC) < EPS
    keep = rng.random(SYNTHETIC) < np.where(wrong, RHO, PHI)
    x = np.concatenate([x_r, x_s[keep]])
    y = np.concatenate([y_r, np.where(wrong, -y_s, y_s)[keep]])
    N = REAL + SYNTHETIC
    w = np.linalg.solve(x.T @ x / N + GAMMA * np.eye(DIM), x.T @ y / N)
    x_test, y_test = mixture(2 * REAL, mu)
    return np.mean(np.sign(x_test @ w) == y_test)


def numpy_banded_accuracies(draws, chunk=512):
    """The banded sampler in NumPy, in chunks of the size that is fastest."""
    rng = np.random.default_rng(0)
    return np.concatenate([_numpy_banded(rng, chunk) for _ in range(-(-draws // chunk))])[:draws]


def _numpy_banded(rng, B):
    p, N = DIM, REAL + SYNTHETIC
    wrong = rng.binomial(SYNTHETIC, EPS, B)
    right, wrong = rng.binomial(SYNTHETIC - wrong, PHI), rng.binomial(wrong, RHO)
    sizes = np.stack([np.full(B, REAL), right, wrong])
    k = 4
    M = (sizes - 1).sum(axis=0)
    i = np.arange(p)[:, None]
    diagonal = np.sqrt(rng.chisquare(M - i) / N)
    edge = np.zeros((p, B))
    edge[: p - k] = np.sqrt(rng.chisquare(np.broadcast_to(p - k - i[: p - k], (p - k, B))) / N)
    # Coordinates along the real mean and across it, and a Bartlett factor for the other p - 2.
    e = np.zeros((5, k, B))
    e[0, 0] = MU
    e[:2, 1:] = rng.standard_normal((2, 3, B))
    e[0, 1:] += np.sqrt(sizes) * np.array([MU, BETA * MU, BETA * MU])[:, None]
    e[1, 1:] += np.sqrt(sizes) * np.array([0.0, PERP, PERP])[:, None]
    for a in range(3):
        e[2 + a, 1 + a] = np.sqrt(rng.chisquare(p - 2 - a, B))
        e[2 + a, 2 + a :] = rng.standard_normal((2 - a, B))
    R = np.moveaxis(np.asarray(np.linalg.qr(np.moveaxis(e, 2, 0), mode="r")), 0, 2)

    eye = np.eye(k)[:, :, None]
    X, dX = np.repeat(GAMMA * eye, B, axis=2), np.repeat(eye, B, axis=2)
    on, off = np.zeros((k, k, B)), np.zeros((k, k, B))
    below, above, main = np.tril_indices(k, -1), np.triu_indices(k, 1), np.diag_indices(k)
    for j in range(p // k - 1, -1, -1):
        beside = rng.standard_normal((2, len(below[0]), B)) / math.sqrt(N)
        on[below], on[main] = beside[0], diagonal[j * k : j * k + k]
        # Nothing is below the last block.
        off[above], off[main] = beside[1] * (j < p // k - 1), edge[j * k : j * k + k]
        V = _solve(X, off)
        H = _solve(eye + _product(off.swapaxes(0, 1), V), on.swapaxes(0, 1))
        U = _product(V, H)
        X, dX = GAMMA * eye + _product(on, H), eye + _product(U.swapaxes(0, 1), _product(dX, U))
    targets = np.array([1, 1, -1])[:, None] * np.sqrt(sizes)
    y = R[:, 1:] / math.sqrt(N)
    z = _solve(X + _product(y, y.swapaxes(0, 1)), _product(y, targets[:, None] / math.sqrt(N)))
    return ndtr((R[:, 0] * z[:, 0]).sum(axis=0) / np.sqrt((z * _product(dX, z)).sum(axis=(0, 1))))


def _product(a, b):
    return np.einsum("ijr,jkr->ikr", a, b)


def _solve(a, b):
    both = np.concatenate([a, b], axis=1)
    for i in range(len(a)):
        both[i] /= both[i, i].copy()
        for other in range(len(a)):
            if other != i:
                both[other, i + 1 :] -= both[other, i] * both[i, i + 1 :]
    return both[:, len(a) :]


def accuracies(draws, method, dtype=jnp.float64):
    mu, mu_s = (x.astype(dtype) for x in paper_means(DIM, MU, BETA, PERP))
    quality = {name: jnp.asarray(x, dtype) for name, x in (("eps", EPS), ("rho", RHO), ("phi", PHI))}
    sizes = jnp.asarray(REAL, dtype), jnp.asarray(SYNTHETIC, dtype)
    problem = real_plus_synthetic(*sizes, mu, mu_s, **quality)
    return functools.partial(sample_accuracy, jax.random.key(0), draws, problem, GAMMA, method)


def same_mean(ours, baseline):
    """Two samples of accuracies with means within five standard errors of each other."""
    ours, baseline = np.asarray(ours, float), np.asarray(baseline, float)
    error = np.sqrt(ours.var() / ours.size + baseline.var() / baseline.size)
    assert abs(ours.mean() - baseline.mean()) < 5 * error, (ours.mean(), baseline.mean(), error)


@benchmark(
    "1024 draws at (800, 1600, 400), banded, against drawing the data and 2n test points", target=100.0
)
def against_literal():
    return Comparison(
        ours=accuracies(1024, "banded"),
        baseline=functools.partial(literal_accuracies, 8),
        agree=same_mean,
        baseline_share=8 / 1024,
    )


@benchmark("2048 draws, banded, float64, against a banded sampler in NumPy", target=1.0)
def against_numpy():
    return Comparison(
        ours=accuracies(2048, "banded"),
        baseline=functools.partial(numpy_banded_accuracies, 2048),
        agree=same_mean,
    )


@benchmark("the same in float32")
def float32_against_numpy():
    return Comparison(
        ours=accuracies(2048, "banded", jnp.float32),
        baseline=functools.partial(numpy_banded_accuracies, 2048),
        agree=same_mean,
    )


@benchmark("8 draws by sufficient statistics (bartlett), against our own draw of the data (plain)")
def bartlett_against_plain():
    return Comparison(ours=accuracies(8, "bartlett"), baseline=accuracies(8, "plain"), agree=same_mean)
