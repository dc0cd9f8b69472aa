"""What to do, in words: the sentences of the reports.

Example:
    >>> percent(0.8513)
    '85.1 %'
"""

from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from theorysim.advisors.synthetic_data.from_data import DataReport
    from theorysim.advisors.synthetic_data.from_numbers import Report

__all__ = [
    "NOTICEABLE",
    "Decision",
    "data_verdict",
    "decided",
    "gain",
    "numbers_verdict",
    "percent",
    "weighing",
]

NOTICEABLE = 0.002
"""A change of the accuracy, 0.2 points, below which we say that there is no difference."""


class Decision(Enum):
    """What to do with the synthetic samples."""

    INDIFFERENT = auto()  # they change nothing
    LEAVE = auto()  # harm at weight 1, no gain at any
    WEIGH_DOWN = auto()  # harm at weight 1, a gain at the best
    AS_THEY_ARE = auto()  # no weight is better than 1
    WEIGH = auto()  # the best weight is better than 1, which does no harm


def percent(accuracy: float) -> str:
    """Return an accuracy in per cent, with one decimal.

    Example:
        >>> percent(0.9)
        '90.0 %'
    """
    return f"{100 * accuracy:.1f} %"


def gain(difference: float) -> str:
    """Return a change of the accuracy in percentage points, signed.

    Example:
        >>> gain(0.0123), gain(-0.00001)
        ('+1.2 points', '+0.0 points')
    """
    points = round(100 * difference, 1)
    return f"{points + 0.0 if points else 0.0:+.1f} points"


def decided(real: float, unit: float, best: float) -> Decision:
    """Return what to do, given the accuracies of the real samples alone, of weight 1 and of the best weight.

    Example:
        >>> decided(0.8, 0.79, 0.83)
        <Decision.WEIGH_DOWN: 3>
    """
    helps = best - real >= NOTICEABLE
    if unit - real < -NOTICEABLE:
        return Decision.WEIGH_DOWN if helps else Decision.LEAVE
    if not helps:
        return Decision.INDIFFERENT
    return Decision.AS_THEY_ARE if unit > best - NOTICEABLE else Decision.WEIGH


def weighing(real: float, unit: float, best: float, weight: float) -> str:
    """Return the decision in words: use the synthetic data, weigh them, or leave them.

    Args:
        real: accuracy of the real samples alone.
        unit: with the synthetic ones at weight 1.
        best: at the best weight.
        weight: that weight.

    Example:
        >>> weighing(0.8, 0.79, 0.83, 0.25)
        'Do not use them at weight 1: accuracy would fall, 80.0 % -> 79.0 %. At weight 0.25 it rises to 83.0
        %'
    """
    decision = decided(real, unit, best)
    if decision is Decision.INDIFFERENT:
        return f"Do not bother: the synthetic data make no difference ({percent(real)} -> {percent(unit)})"
    if decision in (Decision.LEAVE, Decision.WEIGH_DOWN):
        start = f"Do not use them at weight 1: accuracy would fall, {percent(real)} -> {percent(unit)}. "
        if decision is Decision.WEIGH_DOWN:
            return start + f"At weight {weight:.2g} it rises to {percent(best)}"
        return start + (
            f"At weight {weight:.2g} they make no difference" if weight else "No weight makes them useful"
        )
    if decision is Decision.AS_THEY_ARE:
        return f"Use the synthetic data as they are: accuracy {percent(real)} -> {percent(unit)}"
    start = f"Use the synthetic data at weight {weight:.2g}: accuracy {percent(real)} -> {percent(best)}"
    if unit - real > NOTICEABLE:
        return start + f" ({percent(unit)} at weight 1)"
    return start + " (no gain at weight 1)"


def numbers_verdict(report: "Report") -> tuple[str, ...]:
    """Return the sentences that tell a practitioner what to do, most important first.

    Example:
        >>> from theorysim.advisors.synthetic_data import advise_from_numbers
        >>> useless = dict(label_noise=0.9, keep_right=0.9, keep_wrong=0.3)
        >>> report = advise_from_numbers(800, 4000, 400, **useless, signal=1.2)
        >>> print(numbers_verdict(report)[0])
        Discard the synthetic data: the verifier keeps more wrong labels than right ones.
    """
    s, real, yours = report.situation, report.real_only.accuracy, report.yours
    kept_right = yours.kept * (1 - 2 * yours.kept_wrong)
    if not yours.kept:
        return ("There is nothing to use: the verifier keeps no sample.",)
    said = []
    if kept_right <= 0:
        said.append("Discard the synthetic data: the verifier keeps more wrong labels than right ones.")
    else:
        accuracies = (real, yours.accuracy, yours.best.accuracy)
        sentence, decision = weighing(*accuracies, yours.best.weight), decided(*accuracies)
        worth, gamma = yours.best_worth, yours.best.gamma
        if decision is Decision.AS_THEY_ARE:
            worth, gamma = yours.worth, yours.gamma
        if decision in (Decision.AS_THEY_ARE, Decision.WEIGH) and worth >= 1:
            sentence += f", like {worth:.0f} more real samples"
            # The averaging classifier is the one of infinite ridge.
            sentence += "" if np.isinf(gamma) else " to the averaging classifier"
        said.append(sentence + ".")
    if s.reused:
        said.append("The generator was fitted to the same real samples: it holds nothing that they do not.")
    if report.band.hurts > 0.01 and yours.accuracy > real:
        often = f"{100 * report.band.hurts:.0f} of 100"
        said.append(f"By bad luck they hurt at weight 1 in {often} training sets of this size.")
    said += _pruning(report)
    return tuple(said)


def data_verdict(report: "DataReport") -> tuple[str, ...]:
    """Return whether the prediction held, what to do, and which checks failed.

    The decision rests on the prediction if it held and nothing speaks against it; else on the measurement, in
    which a difference below two standard errors counts as none.

    Example:
        >>> import numpy as np
        >>> from theorysim.advisors.synthetic_data import advise_from_data
        >>> y = np.tile([0, 1], 60)
        >>> x = np.random.default_rng(0).normal(size=(120, 20)) + 0.5 * y[:, None]
        >>> report = advise_from_data(x, y, 100, label_noise=0.2, keep_right=0.9, keep_wrong=0.3, gamma=1.0)
        >>> data_verdict(report) == report.verdict
        True
    """
    kinds, gains = (report.real_only, report.unit, report.best), (report.unit_gain, report.best_gain)
    far = max(*kinds, *gains, key=lambda kind: abs(kind.distance))
    name, words = ("gain", gain) if far in gains else ("accuracy", percent)
    told = (
        f"{name} measured {words(far.measured.value)}, predicted {words(far.predicted.value)} ± "
        f"{100 * far.predicted.error:.1f}, {abs(far.distance):.1f} errors apart at worst"
    )
    said = [f"The prediction {'held' if report.held else 'did NOT hold'}: {told}."]
    failed = [check.name for check in report.checks if not check.passed]
    if report.held and not failed:
        real, unit, best = (kind.predicted.value for kind in kinds)
        source = "prediction"
    else:
        real = report.real_only.measured.value
        rises = [x.measured.value if abs(x.measured.value) > 2 * x.measured.error else 0.0 for x in gains]
        unit, best = real + rises[0], real + max(rises)
        source = "measurement"
    said.append(f"{weighing(real, unit, best, report.best.weight)} (by the {source}).")
    if failed:
        said.append(f"These checks failed: {'; '.join(failed)}. Trust the measurement.")
    elif report.held:
        said.append("No assumption looks violated.")
    else:
        said.append("No check of an assumption failed, but the theory does not describe these data.")
    return tuple(said)


def _pruning(report: "Report") -> list[str]:
    base = max(report.yours.best.accuracy, report.real_only.accuracy)
    unpruned, half, oracle = (
        x.best.accuracy - base for x in (report.unpruned, report.half_mistakes, report.oracle)
    )
    said = []
    if unpruned > NOTICEABLE:
        said.append(f"Pruning costs more than it brings: keep all samples, {gain(unpruned)}.")
    if oracle < NOTICEABLE:
        said.append("A better verifier would buy nothing noticeable.")
    else:
        both = f"{gain(half)}, a perfect verifier {gain(oracle)}"
        said.append(f"Half the mistakes in pruning would buy {both}, at the best weights.")
    return said
