r"""The features of a network over its training: a table with a row for each epoch.

Fed the activations at some epochs, whatever framework trains, the tracker diagonalises them and forgets them:
what it keeps of each epoch are some numbers and the spectrum. Read u(K*) beside the dominance share(K*), and
both over time: the regime is a clock, not a property. With label noise a network passes through the minimal
regime and leaves it again while it fits the noise. Inside of a compiled training loop use `feature_metrics`.

Example:
    >>> labels = np.arange(90) % 3
    >>> noise = np.random.default_rng(0).normal(size=(90, 8))
    >>> tracker = FeatureTracker()
    >>> for epoch, signal in enumerate((0.1, 1.0, 10.0)):
    ...     regime = tracker.record(epoch, noise + signal * np.eye(3, 8)[labels], labels, np.eye(3, 8))
    >>> table = tracker.table()
    >>> print(table.regime, table.quality.round(2))
    ('extended', 'extended', 'minimal') [0.02 0.08 0.98]
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theorysim.feature_map.report import FeatureReport, Regime, feature_report
from theorysim.feature_map.second_moments import moments
from theorysim.feature_map.unseen import held_out
from theorysim.numerics.arrays import plain_array

__all__ = ["FeatureTable", "FeatureTracker"]


class FeatureTable(NamedTuple):
    """The measures of E epochs, NaN where an argument that one needs was missing.

    Attributes:
        epoch: as given, (E,).
        utility: u(K*), (E,).
        quality: q(K*), (E,).
        dominance: share(K*), (E,).
        utility_error: standard error of u(K*), (E,).
        quality_error: of q(K*), (E,).
        dominance_error: of share(K*), (E,).
        effective_entropy: N1, (E,).
        effective_participation: N2, (E,).
        used_features: K90, (E,).
        effective_utility: N_u, (E,).
        target_alignment: of the kernel with the targets, (E,).
        gap: rho_K* / rho_{K*+1}, (E,).
        nc1: variability within classes, (E,).
        nc2: angles between class means, (E,).
        nc3: readout against class means, (E,).
        nc4: predictions against the nearest class mean, (E,).
        within_between: tr S_W / tr S_B, (E,).
        held_out_quality: of the first K* over held-out inputs, (E,).
        held_out_utility: likewise, (E,).
        eigenvalues: rho, (E, p).
        regime: "minimal", "between", "extended", or None without a readout and outputs.
        target_dimension: K*.
    """

    epoch: np.ndarray
    utility: Float[np.ndarray, " E"]
    quality: Float[np.ndarray, " E"]
    dominance: Float[np.ndarray, " E"]
    utility_error: Float[np.ndarray, " E"]
    quality_error: Float[np.ndarray, " E"]
    dominance_error: Float[np.ndarray, " E"]
    effective_entropy: Float[np.ndarray, " E"]
    effective_participation: Float[np.ndarray, " E"]
    used_features: Float[np.ndarray, " E"]
    effective_utility: Float[np.ndarray, " E"]
    target_alignment: Float[np.ndarray, " E"]
    gap: Float[np.ndarray, " E"]
    nc1: Float[np.ndarray, " E"]
    nc2: Float[np.ndarray, " E"]
    nc3: Float[np.ndarray, " E"]
    nc4: Float[np.ndarray, " E"]
    within_between: Float[np.ndarray, " E"]
    held_out_quality: Float[np.ndarray, " E"]
    held_out_utility: Float[np.ndarray, " E"]
    eigenvalues: Float[np.ndarray, "E p"]
    regime: tuple[Regime | None, ...]
    target_dimension: int


# Fields of the report that go into the table as they are.
_SAME = ("effective_entropy", "effective_participation", "used_features", "effective_utility", "gap")
_SAME += ("target_alignment", "dominance", "nc1", "nc2", "nc3", "nc4", "within_between")


class FeatureTracker:
    """Measures features epoch by epoch; see the module.

    Args:
        errors: also standard errors, by which the regime is then judged; the time of an epoch doubles at
            most.
        minimal: u(K*) from which the regime is minimal.
        extended: u(K*) up to which it is extended, <= minimal.

    Example:
        >>> tracker = FeatureTracker(errors=False)
        >>> x = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
        >>> tracker.record(5, x, [0, 0, 1, 1], outputs=x[:, :1] * np.array([[1.0, -1.0]]))
        'minimal'
        >>> tracker.table().epoch, tracker.table().utility
        (array([5]), array([1.]))
    """

    def __init__(
        self, *, errors: bool = True, minimal: float | int = 0.95, extended: float | int = 0.85
    ) -> None:
        self._options: dict[str, Any] = {"errors": errors, "minimal": minimal, "extended": extended}
        self._rows: list[dict[str, Any]] = []
        self._size: tuple[int, int] | None = None

    def record(
        self,
        epoch: float | int,
        features: Any,
        labels: Any,
        readout: Any = None,
        *,
        outputs: Any = None,
        test_features: Any = None,
        test_labels: Any = None,
    ) -> Regime | None:
        """Add an epoch to the table.

        Args:
            epoch: any number that tells when; they need not rise.
            features: activations before the readout, (n, p), arrays of any framework; n may change, p may
                not.
            labels: classes (n,), whole numbers, or floating targets (n,) or (n, t).
            readout: weights after them, (C, p).
            outputs: (n, C), in place of a readout or beside it; they say nothing of held-out inputs.
            test_features: held-out activations, (n', p), with their labels.
            test_labels: of those; every class of the training labels.

        Returns:
            The regime; None without a readout and outputs. Costs what `feature_report` costs.

        Raises:
            ValueError: as `feature_report`; a number of features or of classes that changes; half of a
                held-out set, or one of other classes. Nothing is then recorded.

        Example:
            >>> FeatureTracker().record(0, np.ones((3, 2)), [0, 0, 1])
            Traceback (most recent call last):
            ValueError: features must differ between examples, got 3 equal rows: no eigenfunction is left
        """
        if (test_features is None) != (test_labels is None):
            name = "test_labels" if test_labels is None else "test_features"
            raise ValueError(f"{name} must be given with its other half, got None")
        features, labels = plain_array(features, "features"), plain_array(labels, "labels")
        readout = None if readout is None else plain_array(readout, "readout")
        outputs = None if outputs is None else plain_array(outputs, "outputs")
        report = feature_report(features, labels, readout=readout, outputs=outputs, **self._options)
        size = (len(report.eigenvalues), report.target_dimension)
        if self._size not in (None, size):
            assert self._size is not None
            p, top = self._size
            raise ValueError(
                f"features and labels must have p = {p} and K* = {top}, like those before, got {size[0]} and "
                f"{size[1]}"
            )
        row = _row(report) | {"epoch": epoch}
        if test_features is not None:
            x, y = plain_array(test_features, "test_features"), plain_array(test_labels, "test_labels")
            if "f" not in (labels.dtype.kind, y.dtype.kind) and set(labels.tolist()) != set(y.tolist()):
                raise ValueError(
                    f"test_labels must name the {len(set(labels.tolist()))} classes of labels, got others: "
                    f"{sorted(set(labels.tolist()) ^ set(y.tolist()))[0]} is only in one of both"
                )
            law = held_out(moments(features, labels), moments(x, y), readout)
            row |= {
                "held_out_quality": law.cumulative_quality,
                "held_out_utility": law.cumulative_utility,
            }
        self._size = size
        self._rows.append(row)
        return report.regime

    def table(self) -> FeatureTable:
        """All epochs so far, in the order in which they were recorded.

        Raises:
            ValueError: nothing has been recorded.

        Example:
            >>> FeatureTracker().table()
            Traceback (most recent call last):
            ValueError: epochs must be recorded before there is a table, got none
        """
        if self._size is None:
            raise ValueError("epochs must be recorded before there is a table, got none")
        regimes = tuple(row["regime"] for row in self._rows)
        columns = {
            name: np.array([_number(row.get(name)) for row in self._rows])
            for name in FeatureTable._fields
            if name not in ("epoch", "regime", "target_dimension")
        }
        epoch = np.array([row["epoch"] for row in self._rows])
        return FeatureTable(epoch=epoch, **columns, regime=regimes, target_dimension=self._size[1])


def _number(value):
    return np.nan if value is None else np.asarray(value, np.float64)


def _row(report: FeatureReport) -> dict[str, Any]:
    """What is kept of an epoch, off the device."""
    at = min(report.target_dimension, len(report.eigenvalues)) - 1
    errors = report.standard_errors
    row: dict[str, Any] = {name: getattr(report, name) for name in _SAME}
    row |= {
        "quality": report.cumulative_quality[at],
        "utility": None if report.cumulative_utility is None else report.cumulative_utility[at],
        "utility_error": None if errors is None else errors.utility,
        "quality_error": None if errors is None else errors.quality,
        "dominance_error": None if errors is None else errors.dominance,
        "eigenvalues": report.eigenvalues,
    }
    kept = {name: None if value is None else np.asarray(value) for name, value in row.items()}
    return kept | {"regime": report.regime}
