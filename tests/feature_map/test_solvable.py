"""Solvable learners: against numerical minima, integrated flows, quadrature, enumeration and draws."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from tests.feature_map.problem import wave
from theorysim.feature_map import (
    balanced_mode,
    deep_linear_mode,
    deep_linear_spectrum,
    effective_numbers,
    harmonic_multiplicity,
    hypercube_eigenvalues,
    kernel_features,
    moments,
    readout_risk,
    relu_hypercube_eigenvalues,
    relu_sphere_eigenvalue,
    relu_trace_of_square,
    sphere_eigenvalues,
    unconstrained_ce,
    unconstrained_mse,
    unconstrained_regression,
    unconstrained_thresholds,
)
from theorysim.numerics.gaussian import two_point


def unconstrained_minimum(loss, outputs, n, a, b, bias):
    """Value and feature eigenvalues (about 0) of a numerical minimum over W, H and perhaps a bias."""
    width = outputs + 1
    sizes = outputs * width, width * n, outputs if bias else 0

    def objective(flat):
        W, H, c = jnp.split(flat, np.cumsum(sizes)[:2])
        W, H = W.reshape(outputs, width), H.reshape(width, n)
        logits = W @ H + (c[:, None] if bias else 0)
        return loss(logits) + a / 2 * (W**2).sum() + b / 2 * (H**2).sum()

    start = np.random.default_rng(0).normal(size=sum(sizes)) * 0.5
    gradient = jax.jit(jax.value_and_grad(objective))
    found = minimize(
        lambda x: [np.asarray(v) for v in gradient(x)],
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-16, "gtol": 1e-10},
    )
    H = found.x[sizes[0] : sizes[0] + sizes[1]].reshape(width, n)
    return found.fun, np.linalg.svd(H, compute_uv=False)[:outputs] ** 2 / n


@pytest.mark.parametrize("bias", [True, False])
def test_unconstrained_features_are_a_numerical_minimum(bias):
    counts, a, b = [7, 4, 2], 0.02, 0.004
    Y = jnp.eye(3)[:, np.repeat(np.arange(3), counts)]
    value, spectrum = unconstrained_minimum(lambda z: ((z - Y) ** 2).sum() / 26, 3, 13, a, b, bias)
    best = unconstrained_mse(jnp.array(counts), weight_decay_w=a, weight_decay_h=b, bias=bias)
    np.testing.assert_allclose(best.objective, value, rtol=1e-8)
    np.testing.assert_allclose(best.spectrum, spectrum, atol=2e-5)


def test_unconstrained_regression_is_a_numerical_minimum_and_meets_the_classes():
    Y = wave(1.0, 2, 9)
    value, spectrum = unconstrained_minimum(lambda z: ((z - Y) ** 2).sum() / 18, 2, 9, 0.05, 0.01, False)
    s = jnp.linalg.svd(Y, compute_uv=False)
    best = unconstrained_regression(s, n=9, weight_decay_w=0.05, weight_decay_h=0.01)
    np.testing.assert_allclose(best.objective, value, rtol=1e-8)
    np.testing.assert_allclose(best.spectrum, spectrum, atol=2e-5)


def test_cross_entropy_is_a_numerical_minimum():
    a, b, labels = 0.02, 0.003, jnp.repeat(jnp.arange(3), 4)
    loss = lambda z: -jax.nn.log_softmax(z, axis=0)[labels, jnp.arange(12)].mean()  # noqa: E731
    _, spectrum = unconstrained_minimum(loss, 3, 12, a, b, True)
    best = unconstrained_ce(classes=3, per_class=4, weight_decay_w=a, weight_decay_h=b)
    np.testing.assert_allclose(spectrum, best.eigenvalue * np.array([1, 1, 0]), atol=1e-5)


@pytest.mark.parametrize(("ratio", "alive"), [(0.97, True), (1.03, False)])
def test_features_vanish_at_the_threshold_for_both_losses(ratio, alive):
    counts = jnp.array([10, 10, 10])
    level = float(unconstrained_thresholds(counts, bias=True)[0]) * ratio
    decay = {"weight_decay_w": 2 * level, "weight_decay_h": level / 2}
    squared = unconstrained_mse(counts, **decay).spectrum[0]
    entropy = unconstrained_ce(classes=3, per_class=10, **decay).eigenvalue
    assert (squared > 0) == (entropy > 0) == alive


def test_minority_classes_vanish_first():
    counts = jnp.array([3, 12, 6])
    thresholds = unconstrained_thresholds(counts)
    np.testing.assert_allclose(thresholds, np.sqrt([12, 6, 3]) / 21, rtol=1e-14)
    for alive, level in enumerate([1.01 * thresholds[0], 0.99 * thresholds[0], 0.99 * thresholds[1]]):
        best = unconstrained_mse(counts, weight_decay_w=level, weight_decay_h=level, bias=False)
        assert (best.spectrum > 0).sum() == alive


def test_linear_modes_follow_the_gradient_flow():
    sig, lam, times = 1.5, 0.5, np.array([0.3, 1.0, 2.5])
    teacher = np.diag([sig, 0.0])

    def flow(_, state):
        W1, W2 = state.reshape(2, 2, 2)
        gap = teacher - W2 @ W1
        return np.stack([W2.T @ gap, gap @ W1.T]).ravel()

    def solved(first, second):
        start = np.stack([first, second]).ravel()
        run = solve_ivp(flow, (0, 2.5), start, t_eval=times, rtol=1e-11, atol=1e-13)
        W1, W2 = run.y.T.reshape(-1, 2, 2, 2).transpose(1, 0, 2, 3)
        return (W2 @ W1)[:, 0, 0], np.linalg.eigvalsh(W1.transpose(0, 2, 1) @ W1)[:, ::-1]

    strength, values = solved(np.sqrt(lam) * np.eye(2), np.zeros((2, 2)))
    mode = deep_linear_mode(times, sig, lam)
    np.testing.assert_allclose(mode.strength, strength, rtol=1e-8)
    for t, value in zip(times, values, strict=True):
        spectrum = deep_linear_spectrum(t, jnp.array([sig]), lam, inputs=2)
        np.testing.assert_allclose(spectrum, value, rtol=1e-8)
    strength, values = solved(np.sqrt(0.01) * np.eye(2), np.sqrt(0.01) * np.eye(2))
    mode = balanced_mode(times, sig, 0.01)
    np.testing.assert_allclose(mode.strength, strength, rtol=1e-8)
    np.testing.assert_allclose(mode.eigenvalue, values[:, 0], rtol=1e-8)


def test_linear_modes_have_their_limits():
    tiny = deep_linear_mode(jnp.array([0.0, 400.0, jnp.inf]), 1.5, 1e-9)
    np.testing.assert_allclose(tiny.strength, (0, 1.5, 1.5), rtol=1e-12)
    np.testing.assert_allclose(tiny.eigenvalue, (1e-9, 1.5, 1.5), rtol=1e-8)
    np.testing.assert_allclose(balanced_mode(jnp.array([0.0, 400.0, jnp.inf]), 2.0, 0.1)[0], (0.1, 2, 2))
    np.testing.assert_allclose(deep_linear_mode(1.0, 0.0, 0.7), (0, 0.7), rtol=1e-14)
    rich, lazy = (
        effective_numbers(deep_linear_spectrum(jnp.inf, jnp.ones(3), scale, inputs=30)).participation
        for scale in (1e-6, 1e3)
    )
    np.testing.assert_allclose((rich, lazy), (3, 30), rtol=1e-3)


def test_the_sphere_has_the_closed_form_and_the_trace():
    for d in (2, 3, 10):
        values = sphere_eigenvalues("relu", dim=d, max_degree=8)
        np.testing.assert_allclose(values, relu_sphere_eigenvalue(jnp.arange(9), d), atol=2e-15)
    counts = [harmonic_multiplicity(k, 10) for k in range(60)]
    trace = (jnp.array(counts, float) * relu_sphere_eigenvalue(jnp.arange(60), 10)).sum()
    np.testing.assert_allclose(trace, 0.5, atol=2e-4)
    # A quadratic: all of it in degrees 0 and 2.
    values = sphere_eigenvalues(lambda u: u**2, dim=5, max_degree=3)
    np.testing.assert_allclose(values, (1 + 2 / 5, 0, 2 * 2 / (5 * 7), 0), atol=1e-12)


def test_the_hypercube_is_the_mean_over_its_corners():
    d = 6
    corners = np.array(list(product([-1.0, 1.0], repeat=d)))
    gram = jnp.asarray(corners @ corners.T / d)
    kernel = two_point("relu", 1.0, 1.0, gram).F
    parities = np.cumprod(np.concatenate([np.ones((64, 1)), corners], axis=1), axis=1)
    expected = (parities * np.asarray(kernel)[-1][:, None] * parities[-1]).mean(0)
    np.testing.assert_allclose(relu_hypercube_eigenvalues(dim=d), expected, atol=1e-15)
    values = np.linalg.eigvalsh(np.asarray(kernel) / 64)[::-1]
    found = np.repeat(relu_hypercube_eigenvalues(dim=d), [1, 6, 15, 20, 15, 6, 1])
    np.testing.assert_allclose(values, np.sort(found)[::-1], atol=1e-14)
    deep = hypercube_eigenvalues("erf", dim=d, depth=2, sw2=1.7, sb2=0.2)
    inner = two_point("erf", 1.9, 1.9, 1.7 * gram + 0.2).F
    q = 1.7 * inner[0, 0] + 0.2
    kernel = two_point("erf", q, q, 1.7 * inner + 0.2).F
    np.testing.assert_allclose(
        deep, (parities * np.asarray(kernel)[-1][:, None] * parities[-1]).mean(0), atol=1e-15
    )


def test_finite_layers_have_the_predicted_square():
    d, p = 4, 8
    corners = np.array(list(product([-1.0, 1.0], repeat=d))) / 2
    weights = np.random.default_rng(0).normal(size=(20_000, d, p))
    features = np.maximum(corners @ weights, 0) / np.sqrt(p)
    M = features.transpose(0, 2, 1) @ features / 16
    squares = (M**2).sum((1, 2))
    values = relu_hypercube_eigenvalues(dim=d)
    infinite = (values**2 * jnp.array([1, 4, 6, 4, 1])).sum()
    expected = relu_trace_of_square(infinite, width=p, dim=d)
    assert abs(squares.mean() - expected) < 4 * squares.std() / np.sqrt(20_000)


def test_wide_random_features_approach_the_infinite_spectrum():
    x = np.random.default_rng(0).normal(size=(12, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    limit = kernel_features(two_point("relu", 1.0, 1.0, jnp.asarray((x @ x.T).clip(-1, 1))).F)
    weights = np.random.default_rng(1).normal(size=(3, 40_000))
    finite = np.maximum(x @ weights, 0) / 200
    values = np.linalg.eigvalsh(finite @ finite.T)[::-1]
    np.testing.assert_allclose((limit**2).sum(0)[:4], values[:4], rtol=0.03)


def test_the_risk_is_that_of_gradient_descent():
    x, t, w = wave(0.5, 12, 4), wave(1.5, 15, 4), jnp.cos(1 + jnp.arange(4.0))
    noise = np.random.default_rng(0).normal(size=(12, 4000)) * np.sqrt(0.1)
    targets = np.asarray(x @ w)[:, None] + np.concatenate([np.zeros((12, 1)), noise], axis=1)
    X, T = np.asarray(x), np.asarray(t)
    weights = np.zeros((4, 4001))
    for step in range(1, 31):
        weights += 0.3 * X.T @ (targets - X @ weights) / 12
        if step not in (1, 30):
            continue
        miss = [((A @ (weights - np.asarray(w)[:, None])) ** 2).mean(0) for A in (X, T)]
        clean = readout_risk(x, t, w, steps=step, lr=0.3)
        np.testing.assert_allclose(clean, [m[0] for m in miss], rtol=1e-12)
        noisy = readout_risk(x, t, w, steps=step, lr=0.3, noise=0.1)
        for value, m in zip(noisy, miss, strict=True):
            assert abs(m[1:].mean() - value) < 4 * m[1:].std() / np.sqrt(4000)


def test_the_risk_has_its_ends():
    x, t, w = wave(0.5, 12, 4), wave(1.5, 15, 4), jnp.cos(1 + jnp.arange(4.0))
    risk = readout_risk(x, t, w, steps=jnp.array([0, 10**9]), lr=0.3, noise=0.1)
    np.testing.assert_allclose(risk.train, (float(((x @ w) ** 2).mean()), 0.1 * 4 / 12), rtol=1e-10)
    second = moments(x, jnp.arange(12) % 2, centred=False).second_moment
    end = 0.1 / 12 * jnp.trace(jnp.linalg.solve(second, t.T @ t / 15))
    np.testing.assert_allclose(risk.test, (float(((t @ w) ** 2).mean()), float(end)), rtol=1e-9)
    # Too large a step diverges, with an alternating sign.
    wild = readout_risk(jnp.eye(1), jnp.eye(1), jnp.ones(1), steps=jnp.array([1, 2, 3]), lr=3.0)
    np.testing.assert_allclose(wild.train, (4, 16, 64), rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "culprit"),
    [
        (lambda: harmonic_multiplicity(-1, 3), "degree"),
        (lambda: harmonic_multiplicity(1, 1), "dim"),
        (lambda: sphere_eigenvalues("swish", dim=3, max_degree=2), "phi"),
        (lambda: sphere_eigenvalues("relu", dim=1, max_degree=2), "dim"),
        (lambda: sphere_eigenvalues("relu", dim=3, max_degree=-1), "max_degree"),
        (lambda: hypercube_eigenvalues("relu", dim=3, depth=0), "depth"),
        (lambda: relu_hypercube_eigenvalues(dim=501), "dim"),
    ],
)
def test_bad_input_is_named(call, culprit):
    with pytest.raises(ValueError, match=rf"\b{culprit}\b"):
        call()
