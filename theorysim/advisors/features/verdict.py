"""What an audit of features says in words, most important first.

Example:
    >>> certainty(0.987), certainty(0.99999), certainty(float("nan"))
    ('98.7 %', 'above 99.9 %', 'unknown')
"""

from typing import TYPE_CHECKING

import numpy as np

from theorysim.advisors.features.problem import FEW
from theorysim.numerics.stats import critical_value

if TYPE_CHECKING:
    from theorysim.advisors.features.audit import FeatureAudit

__all__ = ["certainty", "feature_verdict"]

# Two-sided at 90 % is one-sided at 95 %.
_SIDE = float(critical_value(0.9))
# A quality at which the features are the labels, and a share of the labels that is little.
_COLLAPSED = 0.9
_LITTLE = 0.5
_CHANCE = 0.05
# A quality on held-out inputs, relative to training, that noise in the training labels must explain.
_MORE = 1.1


def certainty(probability: float) -> str:
    """A confidence in per cent.

    Example:
        >>> certainty(0.5), certainty(1e-9)
        ('50 %', 'below 0.1 %')
    """
    if np.isnan(probability):
        return "unknown"
    if probability > 0.9995 or probability < 0.0005:
        return "above 99.9 %" if probability > 0.5 else "below 0.1 %"
    return f"{100 * probability:.3g} %"


def feature_verdict(audit: "FeatureAudit") -> tuple[str, ...]:
    """Return the regime, what it means, whether the features are right, and what to doubt.

    Example:
        >>> from theorysim.advisors.features import audit_features
        >>> x = np.random.default_rng(0).normal(size=(90, 5))
        >>> audit = audit_features(x, np.arange(90) % 2)
        >>> feature_verdict(audit) == audit.verdict
        True
    """
    said = [_regime(audit)]
    if audit.source == "probe":
        said.append(_probe(audit))
    said += [_learned(audit), _quality(audit)]
    if audit.held_out is not None:
        said.append(_unseen(audit))
    return (*said, *_advice(audit), *_doubts(audit))


def _regime(audit) -> str:
    report, data, limits = audit.report, audit.data, audit.limits
    top = min(report.target_dimension, len(report.quality))
    u = f"u({top}) = {float(report.cumulative_utility[top - 1]):.3f}"
    used = int(report.used_features)
    carry = f"{used} eigenfunction{'s carry' if used > 1 else ' carries'} 90 % of the outputs"
    whose = "a linear probe uses" if audit.source == "probe" else "the outputs use"
    needed = f"{len(data.classes)} classes need"
    if not data.classes:
        needed = f"{top} targets need" if top > 1 else "1 target needs"
    least, between, most = (certainty(probability) for probability in audit.confidence)
    if report.regime == "minimal":
        return (
            f"MINIMAL: {whose} as many features as {needed}: {u}, at least {limits.minimal:g} with "
            f"confidence {least}."
        )
    if report.regime == "extended":
        return (
            f"EXTENDED: {whose} more features than {needed}: {u}, at most {limits.extended:g} with "
            f"confidence {most}; {carry}."
        )
    return (
        f"BETWEEN: {whose} about as many features as {needed}, or some more: {u}, between "
        f"{limits.extended:g} and {limits.minimal:g} with confidence {between}, minimal with {least}, "
        f"extended with {most}; {carry}."
    )


def _probe(audit) -> str:
    return (
        "NOT YOUR NETWORK'S USE: neither readout nor outputs were given, so that utility and regime are "
        "those of a ridge readout fitted to the labels here, which explains "
        f"{_share(max(audit.explained, 0))} of their variance by cross-validation. Pass readout, the weights "
        "(C, p) of the last layer, or outputs, (n, C)."
    )


def _learned(audit) -> str:
    """Rich or lazy, by dominance and utility together."""
    report, K = audit.report, audit.report.target_dimension
    share = float(report.dominance)
    first = f"the first {K} features" if K > 1 else "the first feature"
    hold = "hold" if K > 1 else "holds"
    of_random = ""
    if audit.random.kind == "relu":
        of_random = f" (of random ReLU features: {_share(audit.random.dominance)})"
    if share >= audit.limits.dominant:
        return f"RICH: {first} {hold} {_share(share)} of all variance{of_random}, as training makes them."
    said = f"{first[0].upper()}{first[1:]} {hold} only {_share(share)} of all variance{of_random}"
    if report.regime == "minimal":
        return f"{said}: a high utility without dominance is also that of lazy features early in training."
    lazy = "as in lazy training, where features stay close to random"
    return f"{said}, {lazy}" + (", or while noise is fitted." if report.regime == "extended" else ".")


def _quality(audit) -> str:
    report, chance, random = audit.report, audit.chance, audit.random
    top = min(report.target_dimension, len(report.quality))
    q, error = float(report.cumulative_quality[top - 1]), float(report.standard_errors.quality)
    said = f"uality q({top}) = {q:.3f} ± {error:.3f}"
    # The smallest that so many permutations can give is a bound.
    relation = "<=" if chance.quality_p < 1.5 / (1 + chance.permutations) else "="
    said += f", by chance {chance.quality:.3g} (permuted labels: p {relation} {chance.quality_p:.2g})"
    if chance.quality_p > _CHANCE:
        return (
            f"NO BETTER THAN CHANCE: q{said}: the largest features know nothing of these labels. Are the "
            "labels noise, or are these the features of another task?"
        )
    directions = f"{top} random direction{'s' if top > 1 else ''} among the features"
    said += f", {'random ReLU features' if random.kind == 'relu' else directions} {random.quality:.3g}"
    if q >= _COLLAPSED:
        what = "the labels" if audit.data.classes else "the targets"
        nc1 = f", NC1 = {float(report.nc1):.2g}" if report.nc1 is not None else ""
        return f"Q{said}: the features have become {what} (collapse{nc1})."
    if random.kind == "relu" and q <= random.quality + 2 * max(random.quality_deviation, error):
        return f"Q{said}: no better than random features of the same number."
    know = "eigenfunctions know" if chance.informative != 1 else "eigenfunction knows"
    return f"Q{said}: {chance.informative} {know} more of the labels than chance."


def _unseen(audit) -> str:
    found, top = audit.held_out, len(audit.held_out.each)
    q = float(audit.report.cumulative_quality[top - 1])
    said = (
        f"q({top}) is {found.quality:.3f} ± {found.quality_error:.3f} on {found.examples:,} held-out inputs"
    )
    if audit.chance.quality_p > _CHANCE or np.isnan(found.carried):
        return f"Held out: {said}, {q:.3f} in training: there is nothing to carry over."
    margin = _SIDE * found.carried_error
    carried = f"{_share(max(found.carried, 0))} is carried over"
    if found.carried + margin < audit.limits.wrong:
        few = "FEW AND WRONG FEATURES" if audit.report.regime == "minimal" else "WRONG FEATURES"
        return (
            f"{few}: {said}, {q:.3f} in training: {carried}. What these features tell in training is a "
            "shortcut, or was memorised."
        )
    if found.carried - margin > _MORE:
        return (
            f"Held out: {said}, more than {q:.3f} in training: the features are better than the training "
            "labels, which hold noise that the held-out ones do not."
        )
    if found.carried + margin < 1:
        return f"Held out: {said}, {q:.3f} in training: {carried}, the rest fits the training inputs alone."
    return f"Held out: {said}, {q:.3f} in training: the features serve unseen inputs as well."


def _advice(audit) -> list[str]:
    """More width, more training, or cleaner labels."""
    data, report = audit.data, audit.report
    rank, K = len(report.quality) - int(report.dropped), data.target_dimension
    if rank < K:
        features = "1 independent feature" if rank == 1 else f"{rank} independent features"
        return [f"MORE WIDTH: {features} cannot hold {K} target directions."]
    if audit.chance.quality_p > _CHANCE or np.isnan(audit.decodable):
        return []
    everything, first = audit.decodable, audit.adjusted_quality
    labels = "labels" if data.classes else "targets"
    if everything < _LITTLE:
        return [
            f"LITTLE OF THE {labels.upper()}: all {rank} features together explain "
            f"{_share(max(everything, 0))} of them (linearly, chance taken off), the first {K} "
            f"{_share(max(first, 0))}. No readout of these does better: train longer or richer, with more "
            f"width, or on cleaner {labels}."
        ]
    if first < _LITTLE * everything:
        return [
            f"WHAT MATTERS IS SMALL: the first {K} features explain {_share(max(first, 0))} of the {labels}, "
            f"all {rank} {_share(everything)}. Richer training (a smaller output scale, a larger learning "
            "rate) makes large what matters."
        ]
    return []


def _doubts(audit) -> list[str]:
    data, report, said = audit.data, audit.report, []
    n, p, K = data.examples, data.features, data.target_dimension
    if report.ambiguous:
        text = (
            f"AMBIGUOUS: rho_{K}/rho_{K + 1} = {float(report.gap):.3f} is below 1.02: the first {K} features "
            "are not well defined, nor are u, q and their errors"
        )
        if audit.wider is not None:
            text += (
                f". The first {audit.wider.top} are: they hold {_share(audit.wider.quality)} of the targets"
            )
            text += "" if np.isnan(audit.wider.utility) else f", with u = {audit.wider.utility:.3f}"
        said.append(text + ".")
    if audit.participation is not None:
        known = 0 < audit.participation < np.inf
        said.append(
            f"FEW EXAMPLES: {n:,} for {p:,} features, fewer than {FEW} for each, so that the spectrum is "
            f"partly that of noise. N2 = {float(report.effective_participation):.3g} here, "
            f"{f'{audit.participation:.3g}' if known else 'unknown'} without bias."
        )
    spanned = round(float(report.utility.sum()))
    if audit.source != "probe" and spanned < K:
        said.append(f"The outputs span {spanned} dimensions, fewer than the {K} of the targets.")
    if data.classes and report.nc1 is None:
        said.append("There is no output for each class: collapse is not measured.")
    if data.constant:
        verb = "does not vary (a dead unit)" if data.constant == 1 else "do not vary (dead units)"
        said.append(f"{data.constant:,} of {p:,} features {verb}.")
    if data.cast is not None:
        said.append(f"The features were {data.cast} and were cast.")
    return said


def _share(share: float | int) -> str:
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"
