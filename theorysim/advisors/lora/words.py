"""What the LoRA advisor says, line by line, each with its kind.

Example:
    >>> Line("rate of A", "0.002", "exact").kind
    'exact'
"""

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from theorysim.advisors.lora.advice import LoraAdvice

__all__ = ["Kind", "Line", "advice_lines", "assumptions"]

Kind = Literal["exact", "asymptotic", "measured on the probe", "paper's default"]

_PROBE = "measured on the probe"


class Line(NamedTuple):
    """One piece of advice.

    Attributes:
        name: what it is about.
        said: the advice.
        kind: how it is known: "exact", "asymptotic", "measured on the probe" or "paper's default".
    """

    name: str
    said: str
    kind: Kind


def advice_lines(advice: "LoraAdvice") -> tuple[Line, ...]:
    """Start and rates, stability, what one rate loses, and the recipe without two rates.

    Example:
        >>> from theorysim.advisors.lora import advise_lora
        >>> for line in advice_lines(advise_lora(4096, 16, 32.0, optimizer="sgd"))[1:4]:
        ...     print(line.name, "|", line.kind)
        rate of A | asymptotic
        rate of B | asymptotic
        ratio B : A | asymptotic
    """
    return (*_start(advice), *_rates(advice), *_stability(advice), *_cost(advice), *_recipe(advice))


def assumptions(advice: "LoraAdvice") -> tuple[str, ...]:
    """What the report rests on.

    Example:
        >>> from theorysim.advisors.lora import advise_lora
        >>> print(assumptions(advise_lora(4096, 16, 32.0))[0].split(":")[0])
        RELATIVE ADVICE ONLY
    """
    setting, said = advice.setting, []
    if advice.source == "relative":
        said.append(
            "RELATIVE ADVICE ONLY: without a rate that works somewhere (base_lr at base_width) or a probe of "
            "your own network nobody knows the constants: only powers and ratios are said."
        )
    said.append(_start_law(setting))
    if advice.base is not None:
        said.append(_transfer(advice))
    if advice.limits is not None:
        said += _of_probe(advice)
    said.append(
        "Rank: as far as the random factor's Gram at the start is its mean, that is a rank above the number "
        "of directions that matter."
    )
    if setting.rule == "adam":
        said.append("Adam: epsilon stays far below the gradients, also after they shrink with the width.")
    if setting.optimizer == "adamw":
        said.append(
            "AdamW: the product of rate and weight decay is kept for each factor; the trials have no decay."
        )
    return tuple(said)


def _start(advice):
    zero, random = ("B", "A") if advice.init == "a" else ("A", "B")
    rate = _power("n", advice.laws.single.width)
    why = f"its largest single rate goes like {rate}"
    if advice.setting.init is None:
        why += "; with A = 0 like n^-1. With a rate for each factor both starts learn alike"
    yield Line("start", f"{zero} = 0, {random} random: {why}", "asymptotic")


def _rates(advice):
    kind = _kind(advice) if advice.lr_a or advice.lr_b else "asymptotic"
    for factor, rate, powers in zip("AB", (advice.lr_a, advice.lr_b), advice.laws, strict=False):
        if rate is not None:
            yield Line(f"rate of {factor}", f"{rate:.3g}", kind)
        elif advice.limits is None:
            width = _power("n", powers.width)
            law = " ".join(filter(None, (width, _power("r", powers.rank), _power("s", powers.scale))))
            said = f"a constant times {law}" if law else "a constant, whatever n, r and s"
            yield Line(f"rate of {factor}", said, "asymptotic")
        else:
            yield Line(f"rate of {factor}", _unknown(advice, factor), _PROBE)
    if advice.lr_a is not None and advice.lr_b is not None:
        yield Line("ratio B : A", f"{advice.ratio:.3g}", kind)
    elif advice.ratio is not None:
        said = f"{advice.ratio:g}, to be doubled where the width doubles"
        yield Line("ratio B : A", said, "paper's default")
    else:
        yield Line("ratio B : A", "of the order of the width n", "asymptotic")
    if advice.single is not None:
        kind = _PROBE if advice.source == "probe" else "asymptotic"
        yield Line("one rate for both", f"{advice.single:.3g}", kind)
    if advice.base is not None and advice.base.single and advice.twin and advice.setting.rule == "adam":
        yield from _split(advice)


def _split(advice):
    """The LoRA+ default at the product of a single rate that works."""
    from theorysim.advisors.lora.advice import DEFAULT_RATIO

    if advice.init == "a" and advice.ratio < DEFAULT_RATIO:
        root = DEFAULT_RATIO**0.5
        said = f"{advice.single / root:.3g} for A and {advice.single * root:.3g} for B, a ratio of"
        said += f" {DEFAULT_RATIO:g} at the product of that single rate"
        yield Line("to try next", said, "paper's default")


def _unknown(advice, factor):
    limits, setting = advice.limits, advice.setting
    if setting.rule == "adam" and limits.output_change is not None:
        return f"the change of the outputs that a step may make, over {limits.output_change:.3g}"
    return "the probe has no output_grad to tell"


def _stability(advice):
    limits, trial, setting = advice.limits, advice.trial, advice.setting
    first, other = ("B", "A") if advice.init == "a" else ("A", "B")
    if limits is None:
        single = _power("n", advice.laws.single.width)
        yield Line("largest stable single rate", f"a constant times {single}", "asymptotic")
        if setting.rule == "sgd":
            said = f"a fit bounds only the product of both rates, the start that of {first}"
            yield Line("largest stable pair", said, "exact")
        return
    if limits.first is not None:
        why = "beyond, the first step raises the loss"
        if setting.rule == "sgd":
            why = "sharpness 4 at the start"
        yield Line(f"limit for {first}", f"{limits.first:.3g}: {why}", _PROBE)
    if limits.partner is not None:
        why = f"beyond, a step changes {'A x' if other == 'A' else 'B'} by more than its size"
        yield Line(f"limit for {other}", f"{limits.partner:.3g}: {why}", _PROBE)
    if limits.product is not None:
        said = f"{limits.product:.3g} for sqrt(lr_a lr_b), or a single rate: sharpness 2 at a fit"
        yield Line("limit for both", said, _PROBE)
    if advice.margin is not None:
        said = f"both rates may be multiplied by {advice.margin:.3g} before the first of these limits"
        if advice.margin < 1:
            said = f"the recommended pair is {1 / advice.margin:.3g} times beyond the first of these limits"
        yield Line("margin", said, _PROBE)
    if trial is not None:
        scope = f"{trial.steps} steps on your probe"
        if trial.limit < 1:
            said = f"the recommended pair DIVERGES in {scope}: divide both rates by {1 / trial.limit:.3g}"
        else:
            far = f"{trial.limit:.3g}" if trial.limit < float("inf") else "more than 4096"
            said = f"{scope} still train at {far} times both rates"
        yield Line("margin in trials", said, _PROBE)
        said = f"{trial.loss:.3g} of the excess loss is left at the recommended pair"
        if advice.base is None:
            rule = f"lr_a {limits.lr_a:.3g}, lr_b {limits.lr_b:.3g}"
            said += f", the best tried; {trial.rule_loss:.3g} at that of the first steps ({rule})"
        else:
            best = f"lr_a {trial.best_a:.3g}, lr_b {trial.best_b:.3g}"
            said += f", {trial.best_loss:.3g} at the best tried ({best})"
        yield Line("trials", said, _PROBE)


def _cost(advice):
    cost, trial, n = advice.cost, advice.trial, advice.setting.width
    powers, name = cost.exponents, "one rate loses"
    if advice.setting.rule == "sgd" and advice.init == "a":
        said = f"{cost.slowdown:.3g} times the steps at n = {n:,}, growing like ln n (one example, flow)"
        yield Line(name, said, "exact")
    elif advice.setting.rule == "sgd":
        said = f"some {cost.slowdown:.2g} times the steps at n = {n:,}, growing like n (reference problem)"
        yield Line(name, said, "asymptotic")
    elif advice.init == "a":
        grown = _power("n", powers.features)
        said = f"no power of n in the steps, but A x grows like {grown} until the fit: internally unstable"
        yield Line(name, said, "asymptotic")
    else:
        through = _power("n", powers.through_b)
        said = f"a step moves the output through B by {through} only: B learns n times slower"
        yield Line(name, said, "asymptotic")
    if cost.floor is not None:
        said = f"until B has moved, {cost.floor:.3g} of the loss at best is left, on average over B"
        yield Line("floor of one rate", said, "exact")
    if trial is not None:
        more = "more than " if trial.slower_still else ""
        said = f"{more}{trial.slowdown:.3g} times the steps of the best pair, at its best, {trial.single:.3g}"
        yield Line("one rate in trials", f"{said}; largest {trial.single_limit:.3g}", _PROBE)


def _recipe(advice):
    twin, rule = advice.twin, advice.setting.rule
    root = "ratio^(1/2)" if rule == "adam" else "ratio^(1/4)"
    name = "without two rates"
    if twin is None:
        way = "multiply A" if advice.init == "a" else "divide B"
        said = f"{way} at the start by {root}, and use sqrt(lr_a lr_b) for both: the same run"
        yield Line(name, said, "exact")
        return
    factor, which = (twin.factor_a, "A") if advice.init == "a" else (twin.factor_b, "B")
    said = f"multiply {which} at the start by {factor:.3g} ({root})"
    rate = "sqrt(lr_a lr_b)" if twin.lr is None else f"{twin.lr:.3g}"
    yield Line(name, f"{said} and use {rate} for both: the same run, step by step", "exact")


def _kind(advice) -> Kind:
    if advice.source == "probe":
        return _PROBE
    base, setting = advice.base, advice.setting
    exact = setting.rank == base.rank and (setting.rule == "sgd" or setting.width == base.width)
    return "exact" if exact else "asymptotic"


def _start_law(setting):
    if setting.random == "a":
        return f"Start: entries of A of variance {setting.var_a:g}/n, B = 0, scale s = {setting.scale:.3g}."
    return f"Start: entries of B of variance 1/r, A = 0, scale s = {setting.scale:.3g}."


def _transfer(advice):
    said = "Transfer: the wider layer's inputs have the same mean products over examples (K_in/n is kept)"
    if advice.setting.rule == "adam":
        return f"{said}; exact for Adam with one example, else up to n^(-1/2)."
    return f"{said}, and the loss sees the same outputs: then the runs are the same."


def _of_probe(advice):
    limits, trial, setting = advice.limits, advice.trial, advice.setting
    yield (
        "Linear response around the base: output_grad moves by curvature/N times the change of the outputs, "
        "alike in all of them. The probe says nothing about what is beyond."
    )
    said = {
        "given": "as given",
        "fisher": "of a log loss along its own gradients (empirical Fisher): an upper estimate",
        "unit": "for want of gradients; divide rates of sgd by yours",
    }
    yield f"Curvature {limits.curvature:.3g}, {said[limits.curvature_from]}."
    if trial is not None:
        if setting.rule == "sgd":
            yield (
                f"Trials run in {trial.examples} examples, or directions among them: full batches, no "
                "momentum."
            )
        else:
            yield (
                f"Trials train {trial.inputs} of {setting.width} inputs and {trial.outputs} outputs on "
                f"{trial.examples} examples; rates are scaled to the width."
            )


def _power(symbol, exponent):
    if exponent == 0:
        return ""
    return f"{symbol}^{exponent:g}" if exponent != 1 else symbol
