"""The audit of features: what it says of cases that are known by construction, and of what is no case."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.advisors.features.problems import HELD, READOUT, C, N, P, collapsed, noise, spread, with_spectrum
from theorysim.advisors import features
from theorysim.feature_map import feature_report, unbiased_participation
from theorysim.lab.cli_advise import as_json

# Its optional fields are known to be there.
audit_features: Any = features.audit_features


def audit(case, **options) -> Any:
    return audit_features(case.x, case.y, **({"readout": case.readout} | case.held | options))


def said(found, start) -> str:
    """The sentence of the verdict that starts so, or nothing."""
    return next((sentence for sentence in found.verdict if sentence.startswith(start)), "")


def heads(found) -> list[str]:
    return [sentence.split(":")[0] for sentence in found.verdict if sentence.split(":")[0].isupper()]


@pytest.fixture(scope="module")
def good():
    return audit(collapsed())


def test_few_features_that_serve_held_out_inputs_are_minimal_and_rich(good):
    assert good.report.regime == "minimal" and good.source == "readout" and good.explained is None
    assert heads(good) == ["MINIMAL", "RICH"]
    assert good.confidence.minimal > 0.999 and sum(good.confidence) == pytest.approx(1)
    assert good.chance.quality_p == 1 / 200 and good.chance.permutations == 199
    assert "the features have become the labels" in said(good, "Quality")
    assert good.held_out.examples == HELD and good.held_out.carried == pytest.approx(1, abs=0.01)
    assert "the features serve unseen inputs as well" in said(good, "Held out")


def test_few_features_that_held_out_inputs_refute_are_wrong():
    found = audit(collapsed(shortcut=True))
    assert found.report.regime == "minimal"
    assert heads(found) == ["MINIMAL", "RICH", "FEW AND WRONG FEATURES"]
    assert found.held_out.quality < 0.05 < 0.9 < found.adjusted_quality
    assert abs(found.held_out.carried) < 3 * found.held_out.carried_error + 0.01


def test_features_that_are_all_in_use_are_extended_and_not_dominant():
    found = audit(spread())
    assert found.report.regime == "extended" and found.confidence.extended > 0.999
    assert heads(found)[0] == "EXTENDED" and "RICH" not in heads(found)
    assert "as in lazy training" in said(found, "The first 2 features hold only")
    assert "WHAT MATTERS IS SMALL" in heads(found) and 0.5 < found.decodable < 1
    assert found.chance.quality_p <= 0.05


def test_labels_that_are_noise_are_no_better_than_chance():
    found = audit(noise())
    assert "NO BETTER THAN CHANCE" in heads(found) and found.chance.quality_p > 0.05
    assert found.chance.informative == 0 and abs(found.adjusted_quality) < 0.01
    assert abs(found.chance.quality_distance) < 3 and abs(found.decodable) < 0.02
    assert "nothing to carry over" in said(found, "Held out")


def test_noise_in_the_training_labels_shows_as_a_better_held_out_quality():
    case = collapsed()
    draw = np.random.default_rng(1)
    y = np.where(draw.random(N) < 0.4, draw.integers(0, C, N), case.y)
    found = audit(case._replace(y=y))
    assert found.held_out.carried > 1.3
    assert "the features are better than the training labels" in said(found, "Held out")


def test_the_report_is_that_of_the_theory_and_holds_no_arrays_of_jax(good):
    case = collapsed()
    report = feature_report(case.x, case.y, readout=case.readout)
    for name, expected in report._asdict().items():
        if name not in ("standard_errors", "regime"):
            assert np.array_equal(getattr(good.report, name), expected), name
    assert good.report.standard_errors == report.standard_errors
    assert not any(isinstance(value, jnp.ndarray) for value in good.report)
    assert json.loads(json.dumps(as_json(good), allow_nan=False))["report"]["regime"] == "minimal"


def test_without_readout_and_outputs_a_probe_stands_in_and_says_so(good):
    case = collapsed()
    found = audit_features(case.x, case.y)
    assert found.source == "probe" and found.explained > 0.95 and found.held_out is None
    assert found.report.nc3 is None and found.report.nc4 is None
    assert float(found.report.nc1) == pytest.approx(float(good.report.nc1), rel=1e-12)
    assert found.verdict[0].startswith("MINIMAL: a linear probe uses")
    assert "Pass readout, the weights (C, p) of the last layer, or outputs" in found.verdict[1]
    assert heads(found)[1] == "NOT YOUR NETWORK'S USE"
    # All that needs no outputs is the same.
    for name in ("eigenvalues", "quality", "dominance", "effective_participation"):
        assert np.allclose(getattr(found.report, name), getattr(good.report, name), rtol=1e-12), name


def test_outputs_stand_in_for_the_readout():
    case = spread()
    given = audit(case)
    found = audit_features(case.x, case.y, outputs=case.x @ case.readout.T + 3.0, **case.held)
    assert found.source == "outputs"
    assert np.allclose(found.report.utility, given.report.utility, atol=1e-10)
    # Outputs say nothing of held-out inputs.
    assert np.isnan(found.held_out.utility)
    assert found.held_out.quality == pytest.approx(given.held_out.quality, rel=1e-12)


def test_a_single_logit_of_two_classes_is_that_of_the_second():
    case = spread()
    y = case.y > 0
    one = audit_features(case.x, y, readout=case.readout[0])
    two = audit_features(case.x, y, readout=np.stack([-case.readout[0], case.readout[0]]))
    assert np.array_equal(one.report.utility, two.report.utility) and one.data.classes == (False, True)
    outputs = audit_features(case.x, y, outputs=case.x @ case.readout[0])
    assert np.allclose(outputs.report.utility, one.report.utility, atol=1e-10)


class Tensor:
    """Speaks `__array__` after being detached and fetched."""

    def __init__(self, array, steps=0):
        self.array, self.steps = array, steps

    def detach(self):
        return Tensor(self.array, 1)

    def cpu(self):
        return Tensor(self.array, self.steps + 1)

    def __array__(self, dtype=None, copy=None):
        assert self.steps == 2
        return np.asarray(self.array, dtype)


def test_arrays_of_any_framework_and_labels_of_any_kind_are_read_alike(good, tmp_path):
    case = collapsed()
    np.save(tmp_path / "x.npy", case.x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    words = np.array(["ant", "bee", "cow"])
    for x, y, w, names in (
        (jnp.asarray(case.x), jnp.asarray(case.y), jnp.asarray(case.readout), (0, 1, 2)),
        (mapped, 10 * case.y - 5, case.readout, (-5, 5, 15)),
        (Tensor(case.x), words[case.y], Tensor(case.readout), ("ant", "bee", "cow")),
    ):
        found = audit_features(x, y, readout=w)
        assert found.data.classes == names
        assert np.array_equal(found.report.utility, good.report.utility)
        assert found.chance == good.chance
    single = audit_features(case.x.astype(np.float32), case.y, readout=case.readout)
    assert np.allclose(single.report.quality, good.report.quality, atol=1e-4) and single.data.cast is None
    whole = audit_features(np.round(10 * case.x).astype(int), case.y, readout=case.readout)
    assert whole.data.cast == "int64" and whole.verdict[-1] == "The features were int64 and were cast."


def test_turning_and_scaling_the_features_changes_nothing():
    case = spread()
    turn = 7 * np.linalg.qr(np.random.default_rng(3).normal(size=(P, P)))[0]
    given = audit(case)
    turned = audit_features(
        case.x @ turn + 5,
        case.y,
        readout=case.readout @ turn,
        test_features=case.test_x @ turn + 5,
        test_labels=case.test_y,
    )
    for name in ("utility", "quality", "cumulative_utility", "effective_participation", "nc1", "nc3"):
        a, b = getattr(given.report, name), getattr(turned.report, name)
        assert np.allclose(a, b, rtol=1e-8), name
    assert turned.held_out.quality == pytest.approx(given.held_out.quality, rel=1e-8)
    assert turned.held_out.utility == pytest.approx(given.held_out.utility, rel=1e-8)
    assert turned.held_out.dominance == pytest.approx(given.held_out.dominance, rel=1e-8)
    assert turned.chance.quality_p == given.chance.quality_p


def test_targets_of_a_regression():
    case = spread()
    targets = np.stack([case.x[:, 0], case.x[:, 1] + 0.3 * case.x[:, 2]], 1)
    held = {"test_features": case.test_x, "test_labels": case.test_x[:, :2]}
    found = audit_features(case.x, targets, readout=READOUT[:2], **held)
    assert found.data.task == "regression" and found.data.classes == () and found.data.target_dimension == 2
    assert found.report.regime == "minimal" and "2 targets need" in found.verdict[0]
    assert found.report.nc1 is None and found.adjusted_quality > 0.9 and found.held_out.quality > 0.95
    # Whole numbers, too, if it is said.
    assert audit_features(case.x, case.y, task="regression").data.target_dimension == 1
    floats = audit_features(case.x, case.y.astype(float), task="classes")
    assert floats.data.classes == (0.0, 1.0, 2.0)


def test_a_gap_that_is_none_makes_the_first_features_ambiguous():
    x = with_spectrum([4.0, 1.0, 1.0, 0.25, 0.2], N)
    found = audit_features(x, np.arange(N) % C, readout=np.eye(3, 5))
    assert found.report.ambiguous and found.report.gap == pytest.approx(1)
    assert found.wider.top == 3 and found.wider.utility == pytest.approx(1)
    assert "The first 3 are: they hold" in said(found, "AMBIGUOUS: rho_2/rho_3 = 1.000")
    clear = audit_features(with_spectrum([4.0, 2.0, 1.0, 0.25, 0.2], N), np.arange(N) % C)
    assert clear.wider is None and "AMBIGUOUS" not in heads(clear)


def test_few_examples_are_told_with_an_unbiased_number_of_features():
    case = spread()
    few = audit_features(case.x[:60], case.y[:60], readout=case.readout)
    assert few.participation == pytest.approx(float(unbiased_participation(case.x[:60])))
    assert few.participation > few.report.effective_participation
    assert "60 for 12 features, fewer than 10 for each" in said(few, "FEW EXAMPLES")
    assert audit(case).participation is None


def test_more_features_than_examples():
    draw = np.random.default_rng(0)
    y = np.arange(24) % 3
    x = draw.normal(size=(24, 60)) + 9 * np.eye(3, 60)[y]
    test = draw.normal(size=(30, 60)) + 9 * np.eye(3, 60)[np.arange(30) % 3]
    held = {"test_features": test, "test_labels": np.arange(30) % 3}
    found = audit_features(x, y, readout=np.eye(3, 60), **held)
    assert found.report.dropped == 60 - 23 and np.isnan(found.decodable)
    assert found.held_out.quality > 0.8 and found.held_out.utility > 0.5
    assert audit_features(x, y).source == "probe"


def test_too_few_features_for_the_targets_want_more_width():
    case = collapsed()
    found = audit_features(case.x[:, :1], case.y, readout=case.readout[:, :1])
    assert said(found, "MORE WIDTH") == "MORE WIDTH: 1 independent feature cannot hold 2 target directions."
    assert "span 1 dimensions, fewer than the 2" in found.verdict[-1]


def test_random_features_of_the_inputs_are_made_on_request():
    case = spread()
    inputs = np.random.default_rng(5).normal(size=(N, 2, 3))
    found = audit_features(case.x, case.y, readout=case.readout, inputs=inputs)
    assert found.random.kind == "relu" and found.random.draws == 5
    # These inputs know nothing of the labels.
    assert abs(found.random.quality - found.chance.quality) < 4 * found.chance.quality_deviation
    assert "of random ReLU features" in said(found, "The first 2 features hold only")
    same = audit_features(case.x, case.y, readout=case.readout, inputs=case.x, draws=2)
    assert same.random.quality > 5 * found.random.quality and same.random.draws == 2


def test_the_thresholds_are_the_callers():
    case = spread()
    u = float(audit(case).report.cumulative_utility[1])
    found = audit(case, minimal=0.02, extended=0.01)
    assert found.report.regime == "minimal" and u > 0.02
    assert audit(collapsed(), dominant=1.0).verdict[1].startswith("The first 2 features hold only")
    assert "WRONG FEATURES" in heads(audit(collapsed(4.0, shortcut=True), wrong=1.0))[-1]


def test_a_readout_with_other_outputs_than_classes_has_no_collapse():
    case = spread()
    found = audit_features(case.x, case.y, readout=np.vstack([case.readout, case.readout[:1]]))
    assert found.report.nc1 is None and "collapse is not measured" in found.verdict[-1]


def test_dead_units_are_counted():
    case = collapsed()
    x = case.x.copy()
    x[:, 4:6] = 0.5
    found = audit_features(x, case.y, readout=case.readout)
    assert found.data.constant == 2 and "2 of 12 features do not vary (dead units)." in found.verdict


X, Y = spread().x[:40], np.arange(40) % C


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.ones(40, int)}, r"labels must name at least two classes, got only \[1\]"),
        ({"labels": np.arange(40)}, "labels must name fewer classes than there are examples, got 40 classes"),
        ({"labels": Y[1:]}, r"labels must have shape \(40,\), one for each row of features, .* got \(39,\)"),
        ({"labels": np.eye(C, dtype=int)[Y]}, "take the argmax of one-hot ones"),
        ({"labels": [{}] * 40}, "labels must be numbers or words, got dtype object"),
        ({"labels": np.where(Y == 1, np.nan, Y)}, r"labels must be finite, got nan at \[1, 0\]"),
        ({"labels": np.full(40, 2.5)}, "labels must vary, got 2.5 for every example in column 0"),
        ({"labels": np.array(["a", "b"])[Y % 2], "task": "regression"}, "labels must be numbers with task"),
        (
            {"labels": np.stack([X[:, 0], X[:, 0]], 1)},
            "labels must be linearly independent targets, got 2 of",
        ),
        ({"features": np.ones((40, 3))}, "features must hold one that varies between examples, got 3"),
        ({"features": np.where(X > X[7, 2] - 1e-9, X, np.nan)}, r"features must be finite, got nan at \["),
        ({"features": X[0]}, r"features must have shape \(n, p\), at least 2 examples of one feature"),
        ({"features": X.reshape(40, 3, 4)}, "got .40, 3, 4.: flatten all axes but the first"),
        ({"features": X + 1j}, "features must be real numbers, got dtype complex128"),
        ({"features": X[:3], "labels": [0, 1, 1]}, None),
        ({"features": X[:2], "labels": [0.0, 1.0]}, "features must have at least 3 examples, two more than"),
        (
            {"readout": X[:3, :5]},
            r"readout must have shape \(outputs, 12\), a weight for each .*, got \(3, 5\)",
        ),
        ({"readout": X[:3].T}, r"got \(12, 3\): transpose it"),
        ({"readout": np.zeros((3, 12))}, "readout must depend on the features, got constant outputs"),
        ({"outputs": X[:7]}, r"outputs must have shape \(40, outputs\)"),
        ({"outputs": X[:, :3] * np.inf}, "outputs must be finite"),
        ({"inputs": X[:7]}, r"inputs must have shape \(40, ...\)"),
        ({"test_features": X}, "test_labels must be given with test_features, got None"),
        ({"test_labels": Y}, "test_features must be given with test_labels, got None"),
        ({"test_features": X[:, :3], "test_labels": Y}, "test_features must have 12 columns, like features"),
        (
            {"test_features": X, "test_labels": Y + 1},
            "test_labels must name the classes of labels, 0, 1, 2, got",
        ),
        ({"test_features": X, "test_labels": Y % 2}, "test_labels must name all 3 classes of labels, got no"),
        ({"test_features": X[:3], "test_labels": Y[:3]}, "test_features must have at least 4 examples"),
        ({"task": "guess"}, "task must be one of 'auto', 'classes', 'regression', got 'guess'"),
        ({"minimal": 0.8}, r"minimal must be in \[0.85, 1\], got 0.8"),
        ({"extended": -0.1}, r"extended must be in \[0, 1\], got -0.1"),
        ({"dominant": 1.5}, r"dominant must be in \[0, 1\], got 1.5"),
        ({"wrong": 2}, r"wrong must be in \[0, 1\], got 2"),
        ({"permutations": 3}, "permutations must be an integer >= 19, got 3"),
        ({"draws": 0}, "draws must be an integer >= 1, got 0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change, message):
    arguments = {"features": X, "labels": Y} | change
    if message is None:
        assert audit_features(**arguments).data.examples == 3
        return
    with pytest.raises(ValueError, match=message):
        audit_features(**arguments)
