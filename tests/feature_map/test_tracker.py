"""The table of epochs holds what a report of each epoch alone says."""

import numpy as np
import pytest

from tests.feature_map.problem import gaussian_classes, some
from theorysim.feature_map import FeatureTracker, feature_report, held_out, moments

N, P, C = 60, 12, 3
EPOCHS = [(0, 0.0), (5, 1.0), (10, 30.0)]


def features(signal):
    x, labels, readout = gaussian_classes(0, N, P, C, signal)
    return np.asarray(x), np.asarray(labels), np.asarray(readout)


@pytest.fixture(scope="module")
def tracker():
    found = FeatureTracker()
    for epoch, signal in EPOCHS:
        x, labels, readout = features(signal)
        regime = found.record(epoch, x, labels, readout, test_features=x[10:], test_labels=labels[10:])
        assert regime == feature_report(x, labels, readout=readout).regime
    return found


def test_each_row_is_the_report_of_its_epoch(tracker):
    table = tracker.table()
    assert table.epoch.tolist() == [0, 5, 10] and table.eigenvalues.shape == (3, P)
    assert table.target_dimension == C - 1
    for row, (_, signal) in enumerate(EPOCHS):
        x, labels, readout = features(signal)
        report = feature_report(x, labels, readout=readout)
        errors = some(report.standard_errors)
        expected = {
            "utility": some(report.cumulative_utility)[C - 2],
            "quality": report.cumulative_quality[C - 2],
            "utility_error": errors.utility,
            "quality_error": errors.quality,
            "dominance_error": errors.dominance,
        }
        same = ("dominance", "effective_entropy", "effective_participation", "used_features", "gap")
        same += ("effective_utility", "target_alignment", "nc1", "nc2", "nc3", "nc4", "within_between")
        expected |= {name: getattr(report, name) for name in same}
        for name, value in expected.items():
            assert getattr(table, name)[row] == pytest.approx(float(value), rel=1e-12), name
        assert table.regime[row] == report.regime
        assert np.array_equal(table.eigenvalues[row], report.eigenvalues)
        law = held_out(moments(x, labels), moments(x[10:], labels[10:]), readout)
        assert table.held_out_quality[row] == law.cumulative_quality
        assert table.held_out_utility[row] == law.cumulative_utility
    assert table.regime[0] == "extended" and table.quality[0] < 0.3 < 0.9 < table.quality[2]


def test_what_an_epoch_lacks_is_nan():
    x, labels, readout = features(1.0)
    tracker = FeatureTracker(errors=False)
    assert tracker.record(0, x, labels) is None
    tracker.record(1, x, labels, outputs=x @ readout.T)
    table = tracker.table()
    assert table.regime[0] is None and table.regime[1] in ("minimal", "between", "extended")
    for name in ("utility", "used_features", "nc1", "effective_utility"):
        assert np.isnan(getattr(table, name)[0]) and np.isfinite(getattr(table, name)[1]), name
    for name in ("utility_error", "quality_error", "held_out_quality", "held_out_utility"):
        assert np.isnan(getattr(table, name)).all(), name
    assert np.isfinite(table.quality).all()


def test_the_thresholds_are_the_callers():
    x, labels, readout = features(30.0)
    assert FeatureTracker(errors=False, minimal=1.0).record(0, x, labels, readout) == "between"
    with pytest.raises(ValueError, match=r"minimal must be in \[0.85, 1\], got 0.5"):
        FeatureTracker(minimal=0.5).record(0, x, labels, readout)


def test_a_row_that_does_not_fit_is_refused_and_not_recorded(tracker):
    x, labels, _ = features(1.0)
    rows = len(tracker.table().epoch)
    cases: list[tuple[dict, str]] = [
        (dict(features=x[:, :5], labels=labels), "p = 12 and K. = 2, like those before, got 5 and 2"),
        (dict(features=x, labels=np.minimum(labels, 1)), "got 12 and 1"),
        (dict(features=x, labels=labels[1:]), "labels must have one entry per row of features, 60, got 59"),
        (dict(features=x * np.nan, labels=labels), "features must be finite, got nan"),
        (dict(features=x, labels=labels, test_features=x), "test_labels must be given with its other half"),
        (
            dict(features=x, labels=labels, test_features=x, test_labels=labels + 1),
            "test_labels must name the 3 classes of labels, got others: 0 is only in one of both",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            tracker.record(11, **arguments)
    assert len(tracker.table().epoch) == rows
    with pytest.raises(ValueError, match="epochs must be recorded before there is a table, got none"):
        FeatureTracker().table()
