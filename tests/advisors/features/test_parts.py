"""Parts of the audit of features, each by an independent route: projections, hat matrices, redraws."""

import numpy as np
import pytest

from tests.advisors.features.problems import HELD, C, N, P, collapsed, noise, spread, with_spectrum
from tests.feature_map.problem import some
from theorysim.advisors.features import chance_bands
from theorysim.advisors.features.directions import leading_basis, projected, ridge_probe, streamed_moments
from theorysim.advisors.features.nulls import (
    chance_of,
    permuted_quality,
    random_features,
    random_readout,
)
from theorysim.advisors.features.problem import blocks, read_problem
from theorysim.advisors.features.unseen import unseen
from theorysim.feature_map import feature_report, held_out, moments


def centred(a):
    return a - a.mean(0)


def shared(a, b):
    """Squared cosines between the spans of two sets of functions, summed."""
    left, right = (np.linalg.svd(centred(m), full_matrices=False) for m in (a, b))
    left, right = (u[:, s > 1e-9 * s[0]] for u, s, _ in (left, right))
    return (np.linalg.svd(left.T @ right)[1] ** 2).sum()


def one_hot(y):
    return np.eye(C)[y]


CASES = [collapsed(3.0), spread()]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows", [N, 8])
def test_the_basis_is_the_singular_value_decomposition(case, rows):
    x, y = case.x[:rows], case.y[:rows]
    basis = leading_basis(x, y, classes=C, top=2)
    u, s, vt = np.linalg.svd(centred(x), full_matrices=False)
    rank = min(P, rows - 1)
    assert np.allclose(basis.values, s[:rank] ** 2 / rows, rtol=1e-9)
    assert np.allclose(abs((basis.directions * vt[:2].T).sum(0)), 1)
    e = projected(x, basis, 2)
    assert np.allclose(abs((e * u[:, :2]).sum(0)), np.sqrt(rows))
    z = centred(one_hot(y))
    assert np.allclose(abs(basis.coefficients), abs(u[:, :rank].T @ z) / np.sqrt(rows), atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_held_out_measures_are_angles_between_functions(case):
    problem = read_problem(case.x, case.y, readout=case.readout, **case.held)
    basis = leading_basis(case.x, case.y, classes=C, top=2)
    found = unseen(problem, basis, case.readout, quality=0.5)
    train = np.linalg.svd(centred(case.x), full_matrices=False)[2][:2].T
    functions = case.test_x @ train
    assert found.quality == pytest.approx(shared(functions, one_hot(case.test_y)) / 2, rel=1e-9)
    readout = case.readout - case.readout.mean(0)
    assert found.utility == pytest.approx(shared(functions, case.test_x @ readout.T) / 2, rel=1e-9)
    variance = centred(functions @ np.linalg.inv(np.eye(2))).var(0).sum()
    assert found.dominance == pytest.approx(variance / case.test_x.var(0).sum(), rel=1e-9)
    # And what the theory says from the moments of all features.
    law = held_out(moments(case.x, case.y), moments(case.test_x, case.test_y), case.readout)
    assert found.quality == pytest.approx(float(law.cumulative_quality), rel=1e-9)
    assert found.utility == pytest.approx(float(some(law.cumulative_utility)), rel=1e-9)
    assert found.dominance == pytest.approx(float(law.dominance), rel=1e-9)


def test_the_held_out_error_is_that_of_redrawn_examples():
    case = spread()
    basis = leading_basis(case.x, case.y, classes=C, top=2)
    readout, draws = case.readout, []
    for seed in range(150):
        draw = np.random.default_rng(seed + 1000)
        x = draw.normal(size=(HELD, P)) * 0.8 ** np.arange(P)
        y = (x @ readout.T).argmax(1)
        draws.append(shared(x @ basis.directions, one_hot(y)) / 2)
    found = []
    for seed in range(3):
        draw = np.random.default_rng(seed)
        x = draw.normal(size=(HELD, P)) * 0.8 ** np.arange(P)
        y = (x @ readout.T).argmax(1)
        problem = read_problem(case.x, case.y, test_features=x, test_labels=y)
        found.append(unseen(problem, basis, None, quality=0.5).quality_error)
    assert np.mean(found) == pytest.approx(np.std(draws), rel=0.25)


@pytest.mark.parametrize("targets", [False, True])
def test_the_probe_is_ridge_regression_with_its_cross_validation(targets):
    case = spread()
    y = case.x[:, :2] ** 2 + case.x[:, 3:5] if targets else case.y
    classes = None if targets else C
    probe = ridge_probe(leading_basis(case.x, y, classes=classes, top=2), y, classes=classes)
    x = centred(case.x)
    z = centred(y) / y.std(0) if targets else centred(one_hot(y))
    M = x.T @ x / N
    ridge = probe.ridge * np.linalg.eigvalsh(M)[-1]
    assert np.allclose(probe.readout, np.linalg.solve(M + ridge * np.eye(P), x.T @ z / N).T)
    # Generalised cross-validation, and close to it what leaving one out in earnest gives.
    hat = x @ np.linalg.solve(M + ridge * np.eye(P), x.T) / N + 1 / N
    constant = ((z / (1 - 1 / N)) ** 2).sum()
    residual = z - hat @ z
    generalised = ((residual / (1 - np.trace(hat) / N)) ** 2).sum()
    assert probe.explained == pytest.approx(1 - generalised / constant, rel=1e-9)
    left_out = ((residual / (1 - np.diag(hat))[:, None]) ** 2).sum()
    assert probe.explained == pytest.approx(1 - left_out / constant, abs=0.02)


@pytest.mark.parametrize("targets", [False, True])
def test_permuted_labels_have_the_quality_that_chance_says(targets):
    case = spread()
    y = np.exp(case.x[:, :2]) if targets else case.y
    basis = leading_basis(case.x, y, classes=None if targets else C, top=2)
    e = projected(case.x, basis, 2)
    drawn = permuted_quality(e, y, classes=None if targets else C, permutations=600, seed=0)
    expected = 2 / (N - 1)
    assert abs(drawn.mean() - expected) < 4 * drawn.std() / 600**0.5
    # In the order that there is, it is the quality itself.
    order = np.random.default_rng(0).permutation(N)
    z = y[np.argsort(order)] if targets else None
    first = permuted_quality(e, y, classes=None if targets else C, permutations=1, seed=0)[0]
    shuffled = e[order]
    labels = y if z is not None else np.repeat(np.arange(C), np.bincount(y))
    space = labels if targets else one_hot(labels)
    assert first == pytest.approx(shared(shuffled, space) / 2, rel=1e-9)


def test_the_p_value_of_noise_is_uniform():
    found = []
    for seed in range(40):
        case = noise(seed)
        problem = read_problem(case.x, case.y)
        basis = leading_basis(case.x, case.y, classes=C, top=2)
        report = feature_report(case.x, case.y, readout=case.readout, errors=False)
        chance = chance_of(problem, report, basis, permutations=49, seed=seed)
        found.append((chance.quality_p, chance.quality_distance))
    p, distance = np.array(found).T
    assert abs(p.mean() - 0.5) < 4 * (1 / 12 / 40) ** 0.5
    assert abs(distance.mean()) < 4 / 40**0.5 and 0.5 < distance.std() < 1.6


def test_a_random_readout_is_drawn_by_its_spectrum_alone():
    case = spread()
    values = np.linalg.eigvalsh(np.cov(case.x.T, bias=True))[::-1]
    drawn = random_readout(values, top=2, rank=2, draws=400, seed=0)
    direct = []
    for seed in range(400):
        weights = np.random.default_rng(seed + 7).normal(size=(2, P))
        functions = centred(case.x) @ np.linalg.svd(centred(case.x), full_matrices=False)[2][:2].T
        direct.append(shared(functions, case.x @ weights.T) / 2)
    error = np.hypot(drawn.deviation, np.std(direct)) / 400**0.5
    assert abs(drawn.mean - np.mean(direct)) < 4 * error


def test_random_directions_are_drawn_among_the_features():
    case = spread()
    problem = read_problem(case.x, case.y)
    basis = leading_basis(case.x, case.y, classes=C, top=2)
    found = random_features(problem, basis, draws=60, seed=0)
    direct = []
    for seed in range(60):
        directions = np.random.default_rng(seed + 7).normal(size=(P, 2))
        direct.append(shared(case.x @ directions, one_hot(case.y)) / 2)
    error = np.hypot(found.quality_deviation, np.std(direct)) / 60**0.5
    assert found.kind == "directions" and abs(found.quality - np.mean(direct)) < 4 * error


def test_bands_are_means_of_random_spaces():
    x = with_spectrum(0.8 ** np.arange(P), N)
    report = feature_report(x, np.arange(N) % C, readout=np.eye(C, P))
    bands = chance_bands(report, examples=N, top=P)
    draw, u, q = np.random.default_rng(0), [], []
    for _ in range(300):
        span = np.linalg.qr(draw.normal(size=(P, 2)))[0]
        u.append((span**2).sum(1).cumsum() / 2)
        q.append(np.array([shared(x[:, :k], draw.normal(size=(N, 2))) / k for k in (1, 5)]))
    u, q = np.array(u), np.array(q)
    assert (abs(u.mean(0) - bands.utility) < 4.5 * u.std(0) / 300**0.5 + 1e-12).all()
    assert np.allclose(u.std(0), bands.utility_deviation, rtol=0.25, atol=1e-9)
    assert (abs(q.mean(0) - bands.quality[[0, 4]]) < 4.5 * q.std(0) / 300**0.5).all()
    assert np.allclose(q.std(0), bands.quality_deviation[[0, 4]], rtol=0.25)


def test_moments_of_blocks_are_those_of_all(monkeypatch):
    case = spread()
    whole = streamed_moments(case.x, case.y, classes=C)
    monkeypatch.setattr("theorysim.advisors.features.problem._BLOCK", 256)
    assert len(list(blocks(case.x))) == 3
    parts = streamed_moments(case.x, case.y, classes=C)
    assert np.allclose(whole.second_moment, parts.second_moment, rtol=1e-12)
    assert np.allclose(np.asarray(whole.class_means), np.asarray(parts.class_means), atol=1e-12)
    bad = case.x.copy()
    bad[400, 3] = np.inf
    with pytest.raises(ValueError, match=r"features must be finite, got inf at \[400, 3\]"):
        read_problem(bad, case.y)
    problem = read_problem(case.x, case.y, **case.held)
    basis = leading_basis(case.x, case.y, classes=C, top=2)
    found = unseen(problem, basis, case.readout, quality=0.5)
    law = held_out(moments(case.x, case.y), moments(case.test_x, case.test_y), case.readout)
    assert found.dominance == pytest.approx(float(law.dominance), rel=1e-9)


def test_features_that_do_not_fit_into_memory_are_refused_before_they_are_read(monkeypatch):
    from theorysim.numerics import memory

    monkeypatch.setattr(memory, "free_memory", lambda: 10**8)
    x = np.broadcast_to(np.arange(3000.0)[:, None], (3000, 3000))
    with pytest.raises(ValueError, match=r"features of shape \(3,000, 3,000\) needs .* GB of memory"):
        read_problem(x, np.arange(3000) % 2)
