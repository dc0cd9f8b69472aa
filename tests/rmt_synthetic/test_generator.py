"""Estimated and reused generators: reference values, limits, high precision, direct draws, the one suite."""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.check_kernel import check_kernel
from theorysim.rmt_synthetic.exchange import averaging_accuracy
from theorysim.rmt_synthetic.generator import (
    estimated_generator_fixed_point,
    estimated_generator_moments,
    reused_generator_moments,
)
from theorysim.rmt_synthetic.generator_spectra import (
    estimated_generator_moments_general,
    reused_generator_moments_general,
)
from theorysim.rmt_synthetic.isotropic import isotropic_moments
from theorysim.rmt_synthetic.marchenko_pastur import marchenko_pastur_density, resolvent_traces
from theorysim.rmt_synthetic.score import test_accuracy as accuracy

LABELS: dict[str, Any] = {"eps": 0.3, "rho": 0.2, "phi": 0.8}
POINT = tuple(map(jnp.asarray, (200.0, 150.0, 400.0, 200.0, 1.2, 1.0, 0.3, 0.2, 0.8, 0.05, 0.7)))
OTHER = tuple(map(jnp.asarray, (0.0, jnp.inf, 40.0, 90.0, 0.5, 0.0, 0.9, 1.0, 0.5, 3.0, 1.0)))
BAD = (
    {"n": -1.0},
    {"m": -1.0},
    {"eps": 1.1},
    {"rho": -0.1},
    {"phi": 2.0},
    {"gamma": 0.0},
    {"omega": -1.0},
    {"m": jnp.inf},
)

probability = st.floats(0.02, 0.98)
settings_of = st.fixed_dictionaries(
    {
        "n": st.floats(1, 1000),
        "m": st.floats(1, 1000),
        "p": st.floats(1, 1000),
        "mu": st.floats(0.1, 3),
        "eps": probability,
        "rho": probability,
        "phi": probability,
        "gamma": st.floats(1e-4, 100),
        "omega": st.floats(0.1, 5),
    }
)


def same(a, b, rtol=1e-11):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-15)


def isotropic(setting, **changes):
    return jnp.stack(isotropic_moments(beta=1, perp=0, sigma2=1, **setting | changes))


@pytest.mark.parametrize(
    ("moments", "mean", "var", "right"),
    [
        (
            lambda: estimated_generator_moments(1000, 1000, 1500, 500, 0.7, False, 0.3, 0, 1, 1),
            0.1753850270,
            0.09667964429,
            0.7136432129,
        ),
        (
            lambda: estimated_generator_moments(200, 150, 400, 200, 1.2, True, **LABELS, gamma=0.05),
            0.5062093492,
            0.5617161385,
            0.7502944296,
        ),
        (
            lambda: reused_generator_moments(150, 600, 200, 1.2, 0.1, 1, 1, 0.1),
            0.3967734547,
            0.4857138671,
            0.7154286859,
        ),
        (
            lambda: reused_generator_moments(300, 400, 200, 1.2, **LABELS, gamma=0.05, omega=0.3),
            0.5240145141,
            0.5252530087,
            0.7651706666,
        ),
    ],
)
def test_reference_values(moments, mean, var, right):
    found = moments()
    same([*found, accuracy(*found)], [mean, var, right], rtol=1e-9)


def test_fixed_point_of_figure_two():
    deltas = estimated_generator_fixed_point(1000, 1000, 2000, 1000, eps=0.2, rho=0.2, phi=0.9, gamma=1)
    np.testing.assert_allclose(jnp.stack(deltas), [0.205764, 0.162130, 0.269128], atol=5.1e-7)
    p = jnp.logspace(1, 4, 50)
    few = jnp.stack(estimated_generator_fixed_point(1000, 1000, 2000, p, 0.2, 0.2, 0.9, 1))
    many = jnp.stack(estimated_generator_fixed_point(1000, 1000, 10_000, p, 0.2, 0.2, 0.9, 1))
    assert (jnp.diff(few) > 0).all()
    assert (jnp.sign(many - few) == jnp.array([-1, -1, 1])[:, None]).all()


@settings(deadline=None, max_examples=30)
@given(settings_of, st.floats(0.5, 5000))
def test_limits_of_the_estimated_generator(setting, n_hat):
    def moments(n_hat=n_hat, estimate_mean=True, **changes):
        return jnp.stack(
            estimated_generator_moments(n_hat=n_hat, estimate_mean=estimate_mean, **setting | changes)
        )

    # A generator that has seen everything samples from the truth.
    same(moments(n_hat=jnp.inf), isotropic(setting), rtol=1e-9)
    same(moments(n_hat=1e12), isotropic(setting), rtol=1e-5)
    # Without its samples it does not matter.
    same(moments(m=0), isotropic(setting, m=0), rtol=1e-9)
    # Large ridge: averaging, where only the mean's error is left.
    law = {k: v for k, v in setting.items() if k != "gamma"}
    for seen in (n_hat, jnp.inf):
        limit = averaging_accuracy(beta=1, perp=0, sigma2=1, n_hat=seen, **law)
        found = accuracy(*moments(estimate_mean=bool(jnp.isfinite(seen)), gamma=1e10))
        np.testing.assert_allclose(found, limit, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(settings_of)
def test_limits_of_the_reused_generator(setting):
    def moments(**changes):
        return jnp.stack(reused_generator_moments(**setting | changes))

    same(moments(m=0), isotropic(setting, m=0), rtol=1e-9)
    same(moments(omega=0), isotropic(setting, omega=0), rtol=1e-9)
    # No free lunch: with many samples, ridge on the real data alone at another gamma, scaled.
    alpha = setting["phi"] * (1 - setting["eps"]) + setting["rho"] * setting["eps"]
    mean, var = moments(m=1e13 * setting["n"])
    only_real = isotropic(setting, m=0, gamma=setting["gamma"] / (alpha * setting["omega"]))
    lam = setting["phi"] * (1 - setting["eps"]) - setting["rho"] * setting["eps"]
    if abs(lam) > 1e-3 * alpha:
        same(mean * alpha / lam, only_real[0], rtol=1e-5)
        same(var * (alpha / lam) ** 2, only_real[1], rtol=1e-5)


def test_reuse_never_beats_the_best_ridge_on_real_data():
    rng, ridges = np.random.default_rng(0), jnp.logspace(-4, 4, 161)
    for _ in range(20):
        n, m, p = 10 ** rng.uniform(1, 3, 3)
        setting = {"n": n, "p": p, "mu": rng.uniform(0.5, 2), "gamma": ridges}
        setting |= dict(zip(("eps", "rho", "phi"), rng.uniform(0, 1, 3), strict=True))
        reused = accuracy(*reused_generator_moments(m=m, **setting))
        alone = accuracy(*isotropic(setting, m=0, gamma=1e8))
        assert jnp.max(reused) <= alone + 1e-9


@pytest.mark.parametrize(
    "setting",
    [
        (200, 150, 400, 200, 0.3, 0.2, 0.8, 1e-6, 0.7),
        (50, 40, 400, 300, 0.1, 0.3, 0.9, 1e-4, 2.0),
        (0, 1000, 500, 500, 0.2, 0.1, 0.9, 1.0, 1.0),
    ],
)
def test_fixed_point_has_the_digits_of_a_40_digit_computation(setting):
    with mpmath.workdps(40):
        n, n_hat, m, p, eps, rho, phi, gamma, omega = map(mpmath.mpf, setting)
        N, alpha = n + m, phi * (1 - eps) + rho * eps
        eta, ratio = p / N, p / n_hat

        # Picard's iteration of the system as it stands in the book, not of our one equation for delta_r.
        def equations(delta_r, delta_s):
            z, c = gamma + n / N / (1 + delta_r), m / N * alpha * omega / (1 + omega * delta_s)
            b = z + c - c * ratio
            a = (b + mpmath.sqrt(b**2 + 4 * z * c * ratio)) / 2
            return delta_r - eta / a, delta_s - eta / (a + c * ratio), c * ratio / a

        ours = estimated_generator_fixed_point(*setting)
        start = [float(ours.delta_r) * 1.01, float(ours.delta_s) * 0.99]
        root = mpmath.findroot(lambda r, s: equations(r, s)[:2], start, tol=1e-60)
        expected = [float(root[0]), float(root[1]), float(equations(*root)[2])]
    same(jnp.stack(ours), expected, rtol=1e-12)


@pytest.mark.parametrize("ratio", [0.25, 2.5])
def test_traces_are_those_of_a_large_sample_covariance(ratio):
    p = 800
    Z = np.random.default_rng(0).normal(size=(int(p / ratio), p))
    C = np.clip(np.linalg.eigvalsh(Z.T @ Z / len(Z)), 0, None)
    for z, c in ((0.3, 0.8), (0.05, 1.3)):
        q = 1 / (z + c * C)
        measured = [np.mean(x) for x in (q, C * q, q**2, C * q**2, (C * q) ** 2)]
        traces = resolvent_traces(*map(jnp.asarray, (z, c, ratio)))
        # Its own fluctuations are of order 1/p.
        same(jnp.stack(traces), measured, rtol=8 / p)
        same(z * traces.T1 + c * traces.t1, 1)
        same(z * traces.T2 + c * traces.t11, traces.T1)
        same(z * traces.t11 + c * traces.t22, traces.t1)


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.9, 2.0, 10.0])
def test_density_integrates_to_the_rank_and_has_mean_one(ratio):
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    angle = (jnp.arange(2000) + 0.5) * jnp.pi / 2000
    x = (low + high) / 2 + (high - low) / 2 * jnp.cos(angle)
    mass = marchenko_pastur_density(x, ratio) * (high - low) / 2 * jnp.sin(angle) * jnp.pi / 2000
    same(mass.sum(), min(1, 1 / ratio), rtol=1e-9)
    same((mass * x).sum(), 1, rtol=1e-9)
    assert (marchenko_pastur_density(jnp.array([low / 2, high * 1.01, -1.0]), ratio) == 0).all()


P = 60
SPECTRA = {"cov_r": jnp.linspace(0.3, 2, P), "cov_s": jnp.linspace(2, 0.5, P)}
MU = jnp.full(P, 1.5 / np.sqrt(P))
MU_S = 0.8 * MU + jnp.asarray(0.6 / np.sqrt(P) * (-1.0) ** np.arange(P))


def drawn_scores(rng, n, generator_samples, m, mu_s, spectrum, estimate_mean):
    """(mu'w, w'C_r w) of one ridge classifier on fresh data; 0 generator samples: it gets V."""
    cov_r, mu = np.asarray(SPECTRA["cov_r"]), np.asarray(MU)
    V = mu + rng.normal(size=(n, P)) * np.sqrt(cov_r)
    X = V
    if generator_samples:
        X = mu_s + rng.normal(size=(generator_samples, P)) * np.sqrt(spectrum)
    center = X.mean(0) if estimate_mean else mu_s
    U = center + rng.normal(size=(m, len(X))) @ (X - center) / np.sqrt(len(X))
    wrong = rng.random(m) < 0.3
    kept = rng.random(m) < np.where(wrong, 0.2, 0.8)
    U, labels = U[kept], np.where(wrong, -1, 1)[kept]
    S = (V.T @ V + 0.6 * U.T @ U) / (n + m) + 0.1 * np.eye(P)
    w = np.linalg.solve(S, (V.sum(0) + 0.6 * labels @ U) / (n + m))
    return mu @ w, w @ (cov_r * w)


@pytest.mark.parametrize("case", ["exact mean", "estimated mean", "reused"])
def test_general_spectra_agree_with_direct_draws(case):
    # The bias is about 0.3 / p, a third of the standard error of these 150 draws at the most.
    rng, draws, n, m, n_hat = np.random.default_rng(7), 150, P, 2 * P, 42
    arguments = {**LABELS, "gamma": 0.1, "omega": 0.6}
    if case == "reused":
        theory = reused_generator_moments_general(n, m, MU, cov=SPECTRA["cov_r"], **arguments)
        scores = [drawn_scores(rng, n, 0, m, None, None, True) for _ in range(draws)]
    else:
        estimate = case == "estimated mean"
        theory = estimated_generator_moments_general(
            n, n_hat, m, MU, estimate, mu_s=MU_S, **SPECTRA, **arguments
        )
        law = np.asarray(MU_S), np.asarray(SPECTRA["cov_s"])
        scores = [drawn_scores(rng, n, n_hat, m, *law, estimate) for _ in range(draws)]
    error = np.std(scores, axis=0) / np.sqrt(draws)
    assert (error < 0.02 * np.abs(jnp.stack(theory))).all()
    z = (np.mean(scores, axis=0) - jnp.stack(theory)) / error
    assert (np.abs(z) < 3.5).all(), z


@pytest.mark.parametrize("seed", range(4))
def test_general_spectra_are_the_isotropic_form_if_all_are_one(seed):
    u = np.random.default_rng(seed).uniform
    n, n_hat, m, p = u(10, 80), u(10, 80), u(10, 80), 30
    labels = dict(zip(("eps", "rho", "phi"), u(0.1, 0.9, 3), strict=True))
    labels |= {"gamma": 10 ** u(-5, 1), "omega": u(0.3, 2)}
    mu = jnp.full(p, 1.3 / np.sqrt(p))
    for estimate in (False, True):
        general = estimated_generator_moments_general(n, n_hat, m, mu, estimate, **labels)
        closed = estimated_generator_moments(n, n_hat, m, p, 1.3, estimate, **labels)
        same(jnp.stack(general), jnp.stack(closed), rtol=1e-8)
    general = reused_generator_moments_general(n, m, mu, **labels)
    same(jnp.stack(general), jnp.stack(reused_generator_moments(n, m, p, 1.3, **labels)), rtol=1e-8)


def test_nothing_left_gives_a_coin():
    moments = estimated_generator_moments(0, 50, 100, 30, 1.0, True, 0.3, 0.0, 0.0, 0.1)
    assert moments == (0, 0)
    assert accuracy(*moments) == 0.5
    gradients = jax.grad(lambda *a: accuracy(*estimated_generator_moments(*a)), argnums=tuple(range(11)))(
        0.0, 50.0, 100.0, 30.0, 1.0, 1.0, 0.3, 0.0, 0.0, 0.1, 1.0
    )
    assert all(jnp.isfinite(gradient) for gradient in gradients)


def test_estimated_generator_is_a_kernel():
    bad = (*BAD, {"p": 0.0}, {"n_hat": 0.0}, {"n_hat": -2.0}, {"n": 0.0, "m": 0.0}, {"mu": -1.0})
    check_kernel(
        estimated_generator_moments,
        *POINT,
        points=[OTHER],
        bad=(*bad, {"estimate_mean": 2.0}),
        wrt=(0, 1, 3, 6, 9, 10),
    )
    without_mean = [(*point[:4], *point[6:]) for point in (POINT, OTHER)]
    check_kernel(
        estimated_generator_fixed_point,
        *without_mean[0],
        points=[without_mean[1]],
        bad=bad[:-1],
        wrt=(1, 3, 7),
    )


def test_reused_generator_is_a_kernel():
    point = (POINT[0], POINT[2], *POINT[3:5], *POINT[6:])
    other = (jnp.array(3.0), OTHER[2], *OTHER[3:5], *OTHER[6:])
    check_kernel(
        reused_generator_moments,
        *point,
        points=[other],
        bad=(*BAD, {"p": 0.0}, {"n": 0.0}),
        wrt=(0, 2, 4, 7, 8),
    )


def test_general_generators_are_kernels():
    mu, mu_s = jnp.array([0.5, -0.3, 0.8, 0.1]), jnp.array([0.2, -0.3, 0.9, 0.4])
    cov_r, cov_s = jnp.array([0.5, 1.0, 2.0, 0.3]), jnp.array([1.5, 0.7, 0.2, 1.0])
    sizes, labels = (jnp.array(5.0), jnp.array(3.0), jnp.array(8.0)), POINT[6:]
    bad = (*BAD, {"mu": [[1.0]]}, {"mu": [jnp.nan]}, {"n": [1.0, 2.0]})
    check_kernel(
        estimated_generator_moments_general,
        *(*sizes, mu, jnp.array(1.0), *labels, mu_s, cov_r, cov_s),
        points=[(*sizes[::-1], mu[::-1], jnp.array(0.0), *labels, mu, cov_s, jnp.zeros(4))],
        bad=(*bad, {"n_hat": 0.0}, {"mu_s": [1.0]}, {"cov_s": [1.0]}, {"cov_r": -1.0}),
        wrt=(3, 8, 12),
    )
    check_kernel(
        reused_generator_moments_general,
        *(sizes[0], sizes[2], mu, *labels, cov_r),
        points=[(sizes[1], sizes[0], mu[::-1], *labels, cov_s)],
        bad=(*bad, {"n": 0.0}, {"cov": [1.0]}, {"cov": -1.0}),
        wrt=(0, 8),
    )


def test_density_is_a_kernel():
    point = (jnp.array(0.8), jnp.array(0.5))
    bad = ({"ratio": 0.0}, {"ratio": -1.0}, {"x": jnp.nan})
    check_kernel(marchenko_pastur_density, *point, points=[(9.0, 2.0)], bad=bad)
