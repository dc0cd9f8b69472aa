"""What an audit of leakage says in words, most important first.

Example:
    >>> counted(1, "record"), counted(3, "record"), counted(0, "label")
    ('1 record', '3 records', 'no label')
"""

from typing import TYPE_CHECKING

from theorysim.advisors.leakage.exposure import EXPOSED

if TYPE_CHECKING:
    from theorysim.advisors.leakage.audit import LeakageAudit

__all__ = ["counted", "leakage_verdict", "score_text"]

_LISTED = 5


def counted(count: int, noun: str) -> str:
    """A number of things, in words that agree.

    Example:
        >>> counted(12_000, "record")
        '12,000 records'
    """
    return f"no {noun}" if not count else f"{count:,} {noun}" + ("s" if count > 1 else "")


def score_text(score: float, task: str) -> str:
    """A leave-one-out accuracy, or a root mean square error.

    Example:
        >>> score_text(0.9512, "classes"), score_text(0.25, "regression")
        ('accuracy 95.1 %', 'error 0.25')
    """
    return f"accuracy {100 * score:.1f} %" if task == "classes" else f"error {score:.3g}"


def leakage_verdict(audit: "LeakageAudit") -> tuple[str, ...]:
    """Return how exposed the records are, what would help, which labels look wrong, and whether to trust it.

    Example:
        >>> import numpy as np
        >>> from theorysim.advisors.leakage import audit_leakage
        >>> x = np.linspace(0, 6, 40)[:, None]
        >>> audit = audit_leakage(x, np.sin(x[:, 0]), noise=0.1, length=0.5, variance=1.0, networks=50)
        >>> leakage_verdict(audit) == audit.verdict
        True
    """
    said = [_exposed(audit)]
    if "noise" in audit.fit.at_bound:
        said.append(_noiseless(audit))
    if len(audit.noise) > 1:
        said.append(_noise(audit))
    if audit.removal is not None:
        said.append(_removal(audit))
    said.append(_labels(audit))
    if audit.check is not None:
        said.append(_check(audit))
    said += _doubts(audit)
    return tuple(said)


def _exposed(audit) -> str:
    n, above = audit.data.records, audit.noise[0].above
    first = int(audit.ranking[0])
    auc, tpr = audit.exposure.auc[first], audit.exposure.tpr[first]
    worst = f"AUC {auc:.3f}, found in {_percent(tpr)} of trainings at 0.1 % false alarms"
    if not above:
        return f"No record has an attack AUC above {EXPOSED}; the most exposed one, {first}, has {worst}."
    verb = "is" if above == 1 else "are"
    most = f"most of all record {first}: {worst}"
    return f"{above:,} of {n:,} records {verb} exposed, AUC above {EXPOSED}; {most}."


def _noiseless(audit) -> str:
    """What the search found is its bound: nothing of how hard a training fits the labels."""
    least = f"{audit.fit.model.noise:.2g}"
    if audit.fit.model.noise > 1:
        return (
            f"WARNING: the labels look like noise alone to this kernel, and {least} is the most that the "
            "search tries: give that of your own training (ridge, weight decay) with --noise."
        )
    return (
        f"WARNING: the labels look free of noise to this kernel, and {least} is the least that the search "
        "tries. The less noise, the more is exposed: give that of your own training (ridge, weight decay) "
        "with --noise."
    )


def _noise(audit) -> str:
    """The least noise that halves the exposed records, or the mean KL if none is; else the most noise."""
    base, *rest = audit.noise
    task = audit.data.task
    enough = [
        row
        for row in rest
        if (row.above <= base.above / 2 if base.above else row.mean_kl <= base.mean_kl / 2)
    ]
    row = min(enough, key=lambda r: r.noise) if enough else max(rest, key=lambda r: r.noise)
    price = f"{score_text(base.score, task)} -> {score_text(row.score, task).split(' ', 1)[1]}"
    left = f"leaves {row.above:,} exposed and {_ratio(row, base)} of the mean leakage"
    return f"{row.noise / base.noise:g} times the noise {left}; {price}."


def _ratio(row, base) -> str:
    return _percent(row.mean_kl / base.mean_kl) if base.mean_kl else "all"


def _removal(audit) -> str:
    removal = audit.removal
    count = len(removal.removed)
    start = (
        f"Removing the {counted(count, 'most exposed record')}"
        if count > 1
        else "Removing the most exposed record"
    )
    said = f"{start} leaves {removal.above:,} of {audit.data.records - count:,} exposed"
    if removal.newly_above:
        said += f", {removal.newly_above:,} of them newly so"
    return said + "."


def _labels(audit) -> str:
    errors = audit.label_errors
    if not errors:
        return "No label looks wrong."
    listed = ", ".join(str(error.record) for error in errors[:_LISTED])
    if len(errors) == 1:
        return f"1 label looks wrong: record {listed}."
    return f"{len(errors):,} labels look wrong: records {listed}{', ...' if len(errors) > _LISTED else ''}."


def _check(audit) -> str:
    check = audit.check
    far = int(abs(check.distance).argmax())
    held = "held" if check.held else "did NOT hold"
    tested = f"{counted(len(check.records), 'record')} left out and trained again"
    worst = f"{check.measured[far]:.3f} measured, {check.predicted[far]:.3f} predicted"
    said = f"The prediction {held} for {tested}: at worst AUC {worst}, "
    said += f"{abs(check.distance[far]):.1f} errors apart"
    return said + ("." if check.held else ". Trust none of these numbers.")


def _doubts(audit) -> list[str]:
    fit, data, said = audit.fit, audit.data, []
    if not fit.converged:
        said.append(f"The search for the kernel's parameters did NOT converge ({fit.message}): give them.")
    beyond = [name.replace("_", " ") for name in fit.at_bound if name != "noise"]
    if beyond:
        said.append(f"The search for {' and '.join(beyond)} ended at a bound: another kernel may fit better.")
    if data.repeated:
        verb = "repeats an earlier one" if data.repeated == 1 else "repeat earlier ones"
        said.append(f"{counted(data.repeated, 'record')} {verb}: what one leaks, its copy tells as well.")
    return said


def _percent(share) -> str:
    return f"{100 * float(share):.2g} %" if share < 0.0995 else f"{100 * float(share):.0f} %"
