"""What the evaluation of the random-matrix theory gains: closed forms, Newton steps, implicit derivatives.

The baselines are the general theorem written down as it reads, with p x p matrices and Picard's iteration for
the fixed point, and the literal experiment: draw the synthetic data, solve for the classifier.
"""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.harness import Comparison, benchmark, close
from theorysim.rmt_synthetic.conditional import Generator, conditional_accuracy
from theorysim.rmt_synthetic.fully_synthetic import fully_synthetic_moments
from theorysim.rmt_synthetic.isotropic import isotropic_moments
from theorysim.rmt_synthetic.newton import fixed_point, solve_delta
from theorysim.rmt_synthetic.problem import paper_means, synthetic_atoms

POINTS, DIM = 1_000_000, 400
SHARES = np.array([0.3, 0.7])  # real and synthetic samples
LABELS = {"eps": 0.3, "rho": 0.2, "phi": 0.9}
TINY, TOLERANCE = 1e-6, 1e-12  # the ridge of the iterations, and the relative error that ends them


def random_points(size=POINTS):
    rng = np.random.default_rng(0)
    names = ("eps", "rho", "phi")
    return {name: rng.uniform(0.05, 0.95, size) for name in names} | {"gamma": 10 ** rng.uniform(-1, 1, size)}


def dense_moments(n, m, mu, mu_s, cov_r, cov_s, eps, rho, phi, gamma):
    """Mean and variance of the score, line by line as the theorem has them."""
    N, p = n + m, len(mu)
    pi, means, covs = np.array([n, m]) / N, (mu, mu_s), (cov_r, cov_s)
    alpha, lam = np.array([1, phi * (1 - eps) + rho * eps]), np.array([1, phi * (1 - eps) - rho * eps])
    eye = np.eye(p)

    def resolvent(delta):
        return np.linalg.inv(gamma * eye + sum(pi[k] * alpha[k] / (1 + delta[k]) * covs[k] for k in (0, 1)))

    delta, change = np.ones(2), 1.0
    while change > 1e-10:
        Q = resolvent(delta)
        previous, delta = delta, np.array([np.trace(C @ Q) for C in covs]) / N
        change = np.abs(delta / previous - 1).max()

    Q = resolvent(delta)
    shrunk = 1 / (1 + delta)
    kappa, tau, chi, xi = alpha * shrunk, lam * shrunk, alpha * shrunk**2, lam * shrunk**2
    M = np.linalg.inv(Q) + sum(pi[k] * kappa[k] * np.outer(means[k], means[k]) for k in (0, 1))
    w = np.linalg.inv(M) @ sum(pi[k] * tau[k] * means[k] for k in (0, 1))
    B = np.array([[np.trace(C @ Q @ D @ Q) for D in covs] for C in covs]) / N
    a = np.array([np.trace(C @ Q @ cov_r @ Q) for C in covs]) / N
    d = np.linalg.solve(np.eye(2) - B * (pi * chi), a)
    along = np.array([mean @ w for mean in means])
    residual = chi * (np.array([w @ C @ w for C in covs]) + along**2 + 1) - 2 * xi * along
    return mu @ w, w @ cov_r @ w + (pi * d * residual).sum()


def against_dense(ours, n, m, mean, mean_s, sigma2, first=3):
    """Our points against the first few of them, one after the other."""
    some = {name: value[:first] for name, value in random_points().items()}
    covs = np.eye(DIM), sigma2 * np.eye(DIM)

    def baseline():
        points = (dict(zip(some, point, strict=True)) for point in zip(*some.values(), strict=True))
        return np.transpose([dense_moments(n, m, mean, mean_s, *covs, **point) for point in points])

    return Comparison(
        ours=ours,
        baseline=baseline,
        agree=lambda ours, baseline: close(1e-6)(np.array(ours)[:, :first], baseline),
        baseline_share=first / POINTS,
    )


@benchmark("10^6 points, synthetic data only, against matrices, p = 400", target=1000.0)
def synthetic_only():
    points = {name: jnp.asarray(value) for name, value in random_points().items()}
    mean = np.asarray(paper_means(DIM, 1.0)[0])
    ours = functools.partial(fully_synthetic_moments, 0.5, 1.0, **points)
    return against_dense(ours, 0, 2 * DIM, mean, mean, 1.0)


@benchmark("10^6 points, real and synthetic data, against matrices, p = 400", target=1000.0)
def real_and_synthetic():
    points = {name: jnp.asarray(value) for name, value in random_points().items()}
    mean, mean_s = (np.asarray(mean) for mean in paper_means(DIM, 1.5, 0.7, 1.0))
    ours = functools.partial(isotropic_moments, 800, 1600, DIM, 1.5, 0.7, 1.0, 0.49, **points)
    return against_dense(ours, 800, 1600, mean, mean_s, 0.49)


def random_spectra(size, p=100, seed=1):
    """Eigenvalues of the covariances of two groups, (size, 2, p), and sample sizes N from p/2 to 8 p."""
    rng = np.random.default_rng(seed)
    spectra = rng.gamma(rng.uniform(0.5, 4, (size, 2, 1)), size=(size, 2, p))
    return jnp.asarray(spectra), jnp.asarray(p * 2.0 ** rng.uniform(-1, 3, size))


def atoms_of_two_groups():
    clean = jnp.zeros((3, 3)).at[0].set(1.0)
    return jnp.stack([clean, synthetic_atoms(**LABELS)])


def newton_root(spectra, n_total, gamma=TINY):
    return fixed_point(jnp.asarray(SHARES), spectra, atoms_of_two_groups(), gamma, n_total)


def picard_step(delta, spectra, n_total, gamma=TINY):
    """delta_k <- tr(C_k Q0) / N."""
    alpha = LABELS["phi"] * (1 - LABELS["eps"]) + LABELS["rho"] * LABELS["eps"]
    loads = jnp.asarray(SHARES * np.array([1, alpha])) / (1 + delta)
    inverse = gamma + (loads[:, None] * spectra).sum(0)
    return (spectra / inverse[None]).sum(1) / n_total


def start_above(spectra, n_total, gamma=TINY):
    return spectra.sum(1) / (n_total * gamma)


def newton_step(delta, spectra, n_total):
    """The library's own iteration, cut off after one step."""
    ridge = jnp.full(spectra.shape[1], TINY)
    with mock.patch(f"{solve_delta.__module__}.NEWTON_STEPS", 1):
        return solve_delta(jnp.asarray(SHARES), spectra, atoms_of_two_groups(), ridge, n_total, delta)


def steps_needed(step, cases, most=100_000):
    """Number of steps, for each case, after which the iteration has the root to the tolerance."""
    roots = jax.vmap(newton_root)(*cases)
    step, delta = jax.jit(jax.vmap(step)), jax.vmap(start_above)(*cases)
    steps = np.zeros(len(roots), int)
    for done in range(1, most + 1):
        delta = step(delta, *cases)
        steps[(steps == 0) & (np.abs(delta / roots - 1).max(1) < TOLERANCE)] = done
        if steps.all():
            return steps
    raise RuntimeError(f"{(steps == 0).sum()} iterations have not converged in {most} steps")


def step_counts(summary):
    cases = random_spectra(500)
    return Comparison(
        ours=lambda: summary(steps_needed(newton_step, cases)),
        baseline=lambda: summary(steps_needed(picard_step, cases)),
        unit="steps",
    )


@benchmark("steps to 500 fixed points, random spectra, gamma = 1e-6, against Picard", target=20.0)
def steps_in_all():
    return step_counts(np.sum)


@benchmark("the same, in the median spectrum")
def steps_of_the_median():
    return step_counts(np.median)


@benchmark("the same, in the worst spectrum")
def steps_of_the_worst():
    return step_counts(np.max)


def picard_root(spectra, n_total, gamma=TINY):
    """Iterated until nothing changes by more than the tolerance."""

    def going_on(carry):
        delta, previous = carry
        return jnp.abs(delta / previous - 1).max() > TOLERANCE

    def step(carry):
        return picard_step(carry[0], spectra, n_total, gamma), carry[0]

    start = start_above(spectra, n_total, gamma)
    return lax.while_loop(going_on, step, (start, 2 * start))[0]


def time_to_the_roots(over):
    cases = random_spectra(500)
    ours, baseline = (jax.jit(over(root)) for root in (newton_root, picard_root))
    return Comparison(ours=lambda: ours(*cases), baseline=lambda: baseline(*cases), agree=close(1e-8))


@benchmark("the same in time, one vmapped call, both compiled")
def time_of_all_together():
    return time_to_the_roots(jax.vmap)


@benchmark("the same in time, one spectrum after the other, both compiled")
def time_one_by_one():
    return time_to_the_roots(lambda root: lambda *cases: lax.map(lambda case: root(*case), cases))


@benchmark("gradient in 800 eigenvalues, gamma = 1e-3, against unrolled Picard", target=2.0)
def gradient_in_the_spectra():
    gamma, steps = 1e-3, 400
    (spectra,), (n_total,) = random_spectra(1, DIM)

    def unrolled(spectra):
        delta = start_above(spectra, n_total, gamma)
        return lax.scan(lambda d, _: (picard_step(d, spectra, n_total, gamma), None), delta, length=steps)[0]

    ours, baseline = (
        jax.jit(jax.grad(lambda spectra, root=root: root(spectra).sum()))
        for root in (lambda spectra: newton_root(spectra, n_total, gamma), unrolled)
    )
    return Comparison(ours=lambda: ours(spectra), baseline=lambda: baseline(spectra), agree=close(1e-8))


def literal_accuracies(rng, v_real, generator, v_test, m, eps, rho, phi, gamma, draws):
    n, p = v_real.shape
    root = np.linalg.cholesky(generator.cov)
    found = []
    for _ in range(draws):
        u = generator.mean + rng.standard_normal((m, p)) @ root.T
        sign = np.where(rng.random(m) < eps, -1.0, 1.0)
        keep = rng.random(m) < np.where(sign < 0, rho, phi)
        v, s = np.concatenate([v_real, u[keep]]), np.concatenate([np.ones(n), sign[keep]])
        w = np.linalg.solve(v.T @ v / (n + m) + gamma * np.eye(p), v.T @ s / (n + m))
        found.append(np.mean(v_test @ w > 0))
    return np.array(found)


@benchmark("accuracy on given features, p = 100, m = 1000, against 100 literal draws")
def given_features():
    p, some, rng = 100, 20, np.random.default_rng(2)
    v, test = 0.1 + rng.standard_normal((2, 2 * p, p))
    generator = Generator(jnp.full(p, 0.1), jnp.diag(jnp.linspace(0.5, 1.5, p)))
    setting = {"m": 10 * p, "gamma": 0.1} | LABELS
    literal = jax.tree.map(np.asarray, generator)

    def agree(ours, baseline):
        error = baseline.std(ddof=1) / np.sqrt(len(baseline))
        assert abs(float(ours) - baseline.mean()) < 5 * error, (float(ours), baseline.mean(), error)

    return Comparison(
        ours=lambda: conditional_accuracy(v, generator, test, **setting),
        baseline=lambda: literal_accuracies(rng, v, literal, test, draws=some, **setting),
        agree=agree,
        baseline_share=some / 100,
    )
