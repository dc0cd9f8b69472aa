r"""Learning rates and start of a LoRA adapter: what theory says, what a rate known to work or a probe adds.

Three sources, from the weakest: nothing but sizes gives exponents and ratios; a rate that works at one width
is carried to another by the exact transfer, lr_a n and lr_b kept; features and gradients of the user's own
network give constants (`limits`) that are put to trial (`trial`). Every line of the report says which it is.

Example:
    >>> advice = advise_lora(4096, 16, 32.0, optimizer="sgd", base_lr=(0.008, 0.5), base_width=1024)
    >>> advice.source, advice.lr_a, advice.lr_b
    ('base rate', 0.002, 0.5)
    >>> print(advice.lines[1])
    Line(name='rate of A', said='0.002', kind='exact')
"""

from typing import Any, Literal, NamedTuple

from theorysim.advisors.lora.cost import flow_slowdown, zero_a_slowdown
from theorysim.advisors.lora.laws import (
    Exponents,
    RateLaws,
    carried,
    doubled,
    rate_laws,
    single_rate_exponents,
)
from theorysim.advisors.lora.limits import ProbeLimits, margin, probe_limits
from theorysim.advisors.lora.problem import Base, Setting, read_base, read_probe, read_setting
from theorysim.advisors.lora.trial import Trial, run_trial
from theorysim.advisors.lora.words import Line, advice_lines, assumptions
from theorysim.lora_init import frozen_floor_law
from theorysim.lora_plus import equivalent_setting
from theorysim.numerics.validation import choice, positive_int, real, scalar

__all__ = ["DEFAULT_RATIO", "Cost", "LoraAdvice", "Move", "Twin", "advise_lora"]

DEFAULT_RATIO = 16.0
"""lr_b/lr_a that the LoRA+ paper recommends for Adam and B = 0."""


class Move(NamedTuple):
    """By what rates are multiplied where one size doubles.

    Attributes:
        what: "width", "rank" or "alpha".
        lr_a: of A.
        lr_b: of B.
        single: of a rate for both.
        kind: of the laws of the first two; that of a single rate is always asymptotic.
    """

    what: str
    lr_a: float
    lr_b: float
    single: float
    kind: str


class Cost(NamedTuple):
    """What one rate for both factors loses.

    Attributes:
        exponents: what the width does at the largest single rate.
        slowdown: steps for each step of two rates, in theory; None for Adam, where exponents are all.
        floor: mean share of the loss that cannot be passed while B has not moved, from A = 0; else None.
    """

    exponents: Exponents
    slowdown: float | None
    floor: float | None


class Twin(NamedTuple):
    """A single rate with another start that trains exactly like the two rates.

    Attributes:
        lr: for both; None where the rates are only known up to a factor.
        factor_a: by which A at the start is multiplied.
        factor_b: by which B is.
    """

    lr: float | None
    factor_a: float
    factor_b: float


class LoraAdvice(NamedTuple):
    """Rates and start of an adapter, and how sure they are.

    Attributes:
        setting: what was asked about.
        init: recommended: which factor is random, the other is 0.
        source: of the rates: "base rate", "probe", or "relative" where only laws are known.
        base: the rate known to work; None without.
        lr_a: recommended rate of A; None where it is not known.
        lr_b: of B.
        ratio: lr_b/lr_a; without rates, the paper's default or None.
        single: recommended where both share a rate; None where it is not known.
        margin: by what both rates may be multiplied, by the first steps on the probe; None without.
        laws: powers of width, rank and scale in the rates.
        moves: what doubling each size does.
        cost: of a single rate.
        twin: the same training with one rate; None where the ratio is not known.
        limits: constants of the probe; None without.
        trial: runs on it; None without gradients.
        lines: the report in words.
        assumptions: what it rests on.
    """

    setting: Setting
    init: Literal["a", "b"]
    source: Literal["base rate", "probe", "relative"]
    base: Base | None
    lr_a: float | None
    lr_b: float | None
    ratio: float | None
    single: float | None
    margin: float | None
    laws: RateLaws
    moves: tuple[Move, ...]
    cost: Cost
    twin: Twin | None
    limits: ProbeLimits | None
    trial: Trial | None
    lines: tuple[Line, ...]
    assumptions: tuple[str, ...]


def advise_lora(
    width: int,
    rank: int,
    alpha: float,
    *,
    scaling: Literal["alpha/r", "alpha/sqrt(r)"] = "alpha/r",
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw",
    init: Literal["a", "b"] | None = None,
    var_a: float = 1.0,
    base_lr: float | tuple[float, ...] | None = None,
    base_width: int | None = None,
    base_rank: int | None = None,
    base_alpha: float | None = None,
    features: Any = None,
    output_grad: Any = None,
    curvature: float | Literal["fisher"] = "fisher",
    steps: int = 100,
    seed: int = 0,
) -> LoraAdvice:
    """Which learning rates for A and B, which start, and what one rate for both would lose.

    Args:
        width: n, inputs of the adapted layer.
        rank: r, at most the width.
        alpha: of the scale s = alpha/r or alpha/sqrt(r), > 0.
        scaling: which of the two.
        optimizer: "adam", "adamw" or "sgd" (with any momentum; stability is stated without).
        init: which factor is random, "a" (B = 0) or "b" (A = 0); by default the advisor's choice.
        var_a: variance of A's entries at the start, times the width; 1/3 for the uniform law of PEFT. Those
            of B have 1/r.
        base_lr: a rate, or a pair (of A, of B), that works at `base_width`.
        base_width: n there.
        base_rank: r there; the same by default.
        base_alpha: alpha there; the same by default.
        features: probe: inputs of the adapted layer, (N, n), of any framework.
        output_grad: probe: gradient of the mean loss over these N in the layer's outputs, (N, n_out).
        curvature: second derivative of one example's loss in the layer's outputs: 1 for half a squared error
            of the outputs themselves; "fisher" for that of a log loss along its own gradients, N sum |G|^2.
        steps: of each trial run.
        seed: of what is drawn at random.

    Returns:
        LoraAdvice.

    Raises:
        ValueError: an argument out of its range, or arrays that cannot be used.

    Example:
        >>> advice = advise_lora(4096, 16, 32.0, optimizer="adamw")
        >>> advice.source, advice.init, advice.ratio, advice.twin.factor_a
        ('relative', 'a', 16.0, 4.0)
    """
    setting = read_setting(width, rank, alpha, scaling=scaling, optimizer=optimizer, init=init, var_a=var_a)
    base = read_base(setting, base_lr, base_width, base_rank, base_alpha)
    probe = read_probe(setting, features, output_grad)
    _check_curvature(curvature)
    steps, seed = positive_int(steps, "steps", minimum=10), positive_int(seed, "seed", minimum=0)
    laws = rate_laws(setting)
    pair, single = _of_base(base, laws, setting)
    limits = trial = None
    if probe is not None:
        limits = probe_limits(setting, probe, curvature=curvature, seed=seed)
        if probe.output_grad is not None:
            trial = run_trial(setting, probe, limits, pair=pair, steps=steps, seed=seed)
    source = "base rate" if base else "probe" if limits else "relative"
    lr_a, lr_b = pair or _of_probe(limits, trial)
    if base is None and limits is not None:
        single = limits.single if trial is None else trial.single
    ratio = room = None
    if lr_a is not None and lr_b is not None:
        ratio = lr_b / lr_a
        room = None if limits is None else margin(setting, limits, lr_a, lr_b)
    elif limits is None and setting.rule == "adam" and setting.random == "a":
        ratio = DEFAULT_RATIO
    outputs = setting.width if probe is None or probe.output_grad is None else probe.output_grad.shape[1]
    report = LoraAdvice(
        setting=setting,
        init=setting.random,
        source=source,
        base=base,
        lr_a=lr_a,
        lr_b=lr_b,
        ratio=ratio,
        single=single,
        margin=room,
        laws=laws,
        moves=_moves(laws, setting),
        cost=_cost(setting, outputs),
        twin=_twin(setting, lr_a, lr_b, ratio),
        limits=limits,
        trial=trial,
        lines=(),
        assumptions=(),
    )
    return report._replace(lines=advice_lines(report), assumptions=assumptions(report))


def _check_curvature(curvature):
    if isinstance(curvature, str):
        choice(curvature, "curvature", ("fisher",))
    else:
        real(scalar(curvature, "curvature"), "curvature", low=0, low_open=True, high_open=True)


def _of_base(base, laws, setting):
    """The pair carried over, and a single rate of it."""
    if base is None:
        return None, None
    pair = carried(base.lr_a, laws.lr_a, base, setting), carried(base.lr_b, laws.lr_b, base, setting)
    if base.single:
        return pair, carried(base.lr_a, laws.single, base, setting)
    # From B = 0 only the product of both rates is bounded; from A = 0 a single rate is that of A.
    return pair, (pair[0] * pair[1]) ** 0.5 if setting.random == "a" else pair[0]


def _of_probe(limits, trial):
    if trial is not None:
        return trial.lr_a, trial.lr_b
    return (None, None) if limits is None else (limits.lr_a, limits.lr_b)


def _moves(laws, setting):
    # But for one example Adam is the same at all widths in their limit only, and so is any optimizer in rank.
    of_width = "exact" if setting.rule == "sgd" else "asymptotic"

    def move(what, kind):
        lr_a, lr_b, single = (doubled(powers, what, setting.scaling) for powers in laws)
        return Move(what, lr_a, lr_b, single, kind)

    return move("width", of_width), move("rank", "asymptotic"), move("alpha", "exact")


def _cost(setting, outputs):
    exponents, from_a = single_rate_exponents(setting), setting.random == "a"
    slowdown = None
    if setting.rule == "sgd":
        slowdown = flow_slowdown(setting.width) if from_a else zero_a_slowdown(setting.width)
    floor = None if from_a else frozen_floor_law(setting.rank, outputs).mean
    return Cost(exponents, slowdown, floor)


def _twin(setting, lr_a, lr_b, ratio):
    if ratio is None:
        return None
    known = lr_a is not None
    pair = (lr_a, lr_b) if known else (1.0, ratio)
    found = equivalent_setting(*pair, 1.0, 1.0, optimizer=setting.rule, to="single_rate")
    lr = float(found.lr_a) if known else None
    return Twin(lr, float(found.std_factor_a), float(found.std_factor_b))
