"""The audit of leakage: it finds planted label errors and says what refits and retrainings say."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.advisors.leakage.problems import (
    GIVEN,
    WRONG,
    N,
    rbf_gram,
    three_classes,
    two_classes,
    without,
)
from theorysim.advisors.leakage import EXPOSED, auc_map, audit_leakage
from theorysim.advisors.leakage import audit as audit_module
from theorysim.lood import attack_tpr, gaussian_pair_auc, mlp, ntk_leave_one_out
from theorysim.numerics import memory
from theorysim.numerics.stats import auc_and_error

GAUSSIAN = {"length": GIVEN["length"], "variance": GIVEN["variance"]}


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def fitted(steps):
    """Everything found from the data."""
    return audit_leakage(*two_classes(), progress=lambda *step: steps.append(step))


@pytest.fixture(scope="module")
def given():
    """At a known kernel, with three classes."""
    return audit_leakage(*three_classes(), **GIVEN, retrain=4)


def test_planted_label_errors_are_found_and_are_exposed_most(fitted):
    # One more may stick out by chance, of 115 records in clouds that overlap.
    assert set(WRONG) <= set(fitted.ranking[:7].tolist())
    found = [error.record for error in fitted.label_errors]
    assert set(WRONG) <= set(found) and len(found) <= 7
    worst = fitted.label_errors[0]
    assert worst.record in WRONG and worst.predicted == 1 - worst.label
    assert np.median(fitted.exposure.auc) < 0.6 < 0.8 < fitted.exposure.auc[list(WRONG)].min()


def test_the_search_converges_inside_its_bounds_and_says_so(fitted):
    fit = fitted.fit
    assert fit.converged and fit.fitted == ("length", "variance", "noise") and not fit.at_bound
    assert fit.records == N and fit.steps > 1 and 0.01 < fit.model.noise < 1
    assert not any("search" in said for said in fitted.verdict)


def test_the_retrainings_agree(fitted):
    check = fitted.check
    assert check.held and len(check.records) == 8
    assert check.records[:4].tolist() == fitted.ranking[:4].tolist()
    assert len(set(check.records.tolist())) == 8
    assert (np.abs(check.distance) < 4).all() and np.sqrt((check.distance**2).mean()) < 2
    # The prediction without a record is that of a fit without it.
    assert check.largest_difference < 1e-10
    assert any(said.startswith("The prediction held for 8 records") for said in fitted.verdict)


def test_more_noise_leaks_less_and_the_first_row_is_the_model(fitted):
    rows = fitted.noise
    assert [row.noise / rows[0].noise for row in rows] == pytest.approx([1, 2, 4, 10])
    assert rows[0].noise == fitted.fit.model.noise
    assert (np.diff([row.mean_kl for row in rows]) < 0).all()
    x, y = two_classes()
    assert rows[0].score == np.mean(fitted.predicted == y) > 0.9
    again = audit_leakage(
        x,
        y,
        noise=rows[2].noise,
        length=fitted.fit.model.length,
        variance=fitted.fit.model.variance,
        noise_factors=(1,),
        remove=0,
        retrain=0,
    )
    assert again.noise[0] == pytest.approx(rows[2])
    assert again.removal is None and again.check is None


def test_removal_is_an_audit_of_those_that_are_left(fitted):
    removal, model = fitted.removal, fitted.fit.model
    assert removal.removed == tuple(fitted.ranking[:10].tolist())
    assert removal.above_before == fitted.noise[0].above
    x, y = two_classes()
    # The scale of the features is that of all records.
    z = (x - x.mean(0)) / x.std(0)
    left = np.delete(np.arange(N), removal.removed)
    again = audit_leakage(
        z[left],
        y[left],
        length=model.length,
        variance=model.variance,
        noise=model.noise,
        standardize=False,
        noise_factors=(1,),
        remove=0,
        retrain=0,
    )
    assert removal.ranking == tuple(left[again.ranking[:10]].tolist())
    np.testing.assert_allclose(removal.auc, again.exposure.auc[again.ranking[:10]], atol=1e-10)
    assert removal.mean_kl == pytest.approx(again.noise[0].mean_kl)
    assert (removal.above, removal.score) == (again.noise[0].above, again.noise[0].score)


def test_progress_tells_every_step_once(fitted, steps):
    assert [done for done, _, _ in steps] == list(range(8)) and {total for _, total, _ in steps} == {8}
    assert steps[0][2] == "kernel parameters" and steps[-1][2] == "retraining without 8 records"


def test_every_record_leaks_what_a_fit_without_it_says(given):
    """Means, variances, KL from their definitions; AUC and TPR of the loss attack on 200,000 draws."""
    x, y = three_classes()
    targets = (np.eye(3)[y] - 1 / 3) * 3 / np.sqrt(2)
    gram, noise = rbf_gram(x, x, **GAUSSIAN), GIVEN["noise"]
    everything = np.linalg.solve(gram + noise * np.eye(len(x)), gram)
    mean_in, var_in = everything.T @ targets, np.diag(gram) - (gram * everything).sum(0)
    rng, e = np.random.default_rng(0), given.exposure
    for i in (0, 17, int(given.ranking[0])):
        m, v = without(gram, targets, noise, i)
        residual, r = targets[i] - m, var_in[i] / v
        np.testing.assert_allclose(e.predicted[i], m, atol=1e-12)
        assert e.leverage[i] == pytest.approx(v / (v + noise), rel=1e-10)
        assert e.surprise[i] == pytest.approx(residual @ residual / (v + noise), rel=1e-10)
        shift = mean_in[i] - m
        assert e.kl[i] == pytest.approx((3 * (r - 1 - np.log(r)) + shift @ shift / v) / 2, rel=1e-9)
        draws = rng.normal(size=(2, 200_000, 3))
        inside = mean_in[i] + np.sqrt(var_in[i]) * draws[0]
        outside = m + np.sqrt(v) * draws[1]
        losses = [((f - targets[i]) ** 2).sum(1) for f in (inside, outside)]
        found = auc_and_error(-losses[0], -losses[1])
        assert abs(found.mean - e.auc[i]) < 4 * found.standard_error
        hit = (losses[0] <= np.quantile(losses[1], 1e-3)).mean()
        # 200 false positives: the threshold, too, has an error, of 7 % in FPR.
        error = np.sqrt(hit * (1 - hit) / 200_000) + 0.07 * hit
        assert abs(hit - e.tpr[i]) < 4 * error
        assert given.predicted[i] == m.argmax()


def test_exposed_records_are_counted(given):
    counts = [row.above for row in given.noise]
    assert counts[0] == (given.exposure.auc > EXPOSED).sum() > 0 and counts[-1] < counts[0]
    assert given.verdict[0].startswith(f"{counts[0]} of 60 records are exposed, AUC above 0.9; most of all")


def test_classes_are_one_hot_and_the_check_holds_for_them(given):
    assert given.data.classes == (0, 1, 2) and given.exposure.predicted.shape == (60, 3)
    assert given.check.held and given.check.largest_difference < 1e-10
    assert given.fit.fitted == () and given.fit.records == 0 and np.isnan(given.fit.log_likelihood)


@pytest.mark.slow
def test_an_ensemble_of_networks_is_audited_at_its_kernels():
    x, y = two_classes(60)
    parameters = {"kernel": "ntk", "depth": 2, "bias_variance": 0.1, "variance": 0.5, "noise": 0.5}
    audit = audit_leakage(x, y, **parameters, standardize=False, noise_factors=(1,), retrain=4, remove=3)
    K, T = (0.5 * mlp("relu", depth=2, sw2=2.0, sb2=0.1, get=get)(x, x) for get in ("nngp", "ntk"))
    law = ntk_leave_one_out(K, T, 2.0 * y - 1, noise=0.5)
    pair = gaussian_pair_auc(law.mean_out[:, 0], law.var_out, law.mean_in[:, 0], law.var_in)
    np.testing.assert_allclose(audit.exposure.auc, pair, atol=1e-10)
    assert audit.check is not None and audit.removal is not None
    assert audit.check.held and audit.check.largest_difference < 1e-10
    left = np.delete(np.arange(60), audit.removal.removed)
    part = ntk_leave_one_out(K[left][:, left], T[left][:, left], 2.0 * y[left] - 1, noise=0.5)
    pair = gaussian_pair_auc(part.mean_out[:, 0], part.var_out, part.mean_in[:, 0], part.var_in)
    assert audit.removal.auc[0] == pytest.approx(float(pair.max()), abs=1e-10)


def test_regression_speaks_in_units_of_the_labels():
    rng = np.random.default_rng(2)
    x = np.sort(rng.uniform(0, 6, 60))[:, None]
    y = 100 + 50 * np.sin(x[:, 0]) + rng.normal(size=60)
    y[20] += 60
    audit = audit_leakage(x, y, length=1.0, variance=1.0, noise=0.01, standardize=False, retrain=0)
    assert audit.data.task == "regression" and audit.data.classes == ()
    assert [error.record for error in audit.label_errors] == [20] and audit.ranking[0] == 20
    others = np.delete(np.arange(60), 20)
    gram = rbf_gram(x, x, length=1.0, variance=1.0)
    mean, _ = without(gram, ((y - y.mean()) / y.std())[:, None], 0.01, 20)
    assert audit.label_errors[0].predicted == pytest.approx(y.mean() + y.std() * mean[0])
    assert audit.noise[0].score == pytest.approx(np.sqrt(np.mean((audit.predicted - y) ** 2)))
    assert np.abs(audit.predicted - y)[others].max() < 20


def test_float32_ranks_alike():
    x, y = two_classes()
    quick = {"noise_factors": (1,), "remove": 0, "retrain": 0}
    double, single = (audit_leakage(x, y, **GIVEN, **quick, dtype=t) for t in ("float64", "float32"))
    assert single.ranking[:20].tolist() == double.ranking[:20].tolist()
    np.testing.assert_allclose(single.exposure.leverage, double.exposure.leverage, atol=1e-4)


def test_the_map_is_the_attack_at_each_point():
    chart = auc_map((0.1, 10.0), points=4)
    assert chart.auc.shape == (4, 4) and (chart.auc[:, 0] == 0.5).all()
    assert (np.diff(chart.auc, axis=0) >= 0).all() and (np.diff(chart.auc, axis=1) > 0).all()


def test_of_several_outputs_one_tells_all_where_the_surprise_is_huge():
    """Against the area under the exact curve."""
    from theorysim.advisors.leakage.exposure import Grams, exposures

    t = (np.arange(256) + 0.5) / 256
    fpr, weight = np.sin(np.pi * t / 2) ** 2, np.pi / 2 * np.sin(np.pi * t) / 256
    # Two independent records: h = v/(v + s2), zeta = |y|^2/(v + s2).
    variance, noise = np.array([1e-3, 0.5]), 0.5
    targets = np.array([[20.0, 10.0, 0.0], [60.0, 0.0, 1.0]])
    found = exposures(Grams(jnp.diag(variance), None), targets, noise=noise)
    assert found.surprise.min() > 950
    curve = np.stack([attack_tpr(h, z, fpr, outputs=3) for h, z in zip(*found[:2], strict=True)])
    np.testing.assert_allclose(found.auc, curve @ weight, atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 0.0}, r"noise must be in \(0, inf\), got 0"),
        ({"noise": -1.0}, r"noise must be in \(0, inf\), got -1"),
        ({"noise": "much"}, "noise must be one of 'auto', got 'much'"),
        ({"length": 0.0}, r"length must be in \(0, inf\), got 0"),
        ({"kernel": "laplace"}, "kernel must be one of 'rbf', 'relu', 'gelu', 'ntk', got 'laplace'"),
        ({"bias_variance": 0.1}, "bias_variance must be left at 'auto' with kernel = 'rbf'"),
        ({"kernel": "relu", "length": 1.0}, "length must be left at 'auto' with kernel = 'relu'"),
        ({"kernel": "relu", "length": "auto", "depth": 0}, "depth must be an integer >= 1, got 0"),
        ({"dtype": "float16"}, "dtype must be one of 'float64', 'float32', got 'float16'"),
        ({"remove": 119}, r"remove must be an integer in \[0, 118\], got 119"),
        ({"retrain": -1}, r"retrain must be an integer in \[0, 120\], got -1"),
        ({"networks": 5}, "networks must be an integer >= 10, got 5"),
        ({"top": 0}, "top must be an integer >= 1, got 0"),
        ({"block": 0}, "block must be an integer >= 1, got 0"),
        ({"fit_records": 2}, "fit_records must be an integer >= 4, got 2"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"noise_factors": (1, 0)}, r"noise_factors must be in \(0, inf\), got 0"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        audit_leakage(*two_classes(), **(GIVEN | changes))


def test_equal_records_with_tiny_noise_are_named_and_with_more_are_mentioned():
    x, y = two_classes()
    x[90] = x[11]
    with pytest.raises(
        ValueError, match="noise must be at least 1e-10 where records are equal, got 1e-12 for "
    ):
        audit_leakage(x, y, length=1.5, variance=1.0, noise=1e-12, standardize=False)
    with pytest.raises(ValueError, match="for records 11 and 90: raise noise, or remove one"):
        audit_leakage(x, y, noise=1e-12)
    audit = audit_leakage(x, y, **GIVEN, noise_factors=(1,), remove=0, retrain=0)
    assert audit.data.repeated == 1
    assert audit.verdict[-1] == "1 record repeats an earlier one: what one leaks, its copy tells as well."


def test_a_kernel_matrix_that_rounding_spoils_is_an_error_with_a_remedy():
    x = np.linspace(0, 1, 40)[:, None]
    with pytest.raises(
        ValueError, match=r"the kernel matrix of features must be positive definite .*raise noise"
    ):
        audit_leakage(x, np.arange(40) % 2, length=10.0, variance=1.0, noise=1e-18, standardize=False)


def test_more_records_than_memory_holds_are_refused_with_what_fits(monkeypatch):
    for module in (memory, audit_module):
        monkeypatch.setattr(module, "free_memory", lambda: 10**7)
    x, y = np.arange(2000.0)[:, None], np.arange(2000) % 2
    with pytest.raises(
        ValueError, match=r"features of n = 2,000 records in float64 needs 0.115 GB of memory"
    ) as told:
        audit_leakage(x, y)
    assert "use dtype = float32" in str(told.value) and "about 589 records fit as it is" in str(told.value)
    with pytest.raises(ValueError, match="records fit as it is; use fewer records"):
        audit_leakage(x, y, dtype="float32")
