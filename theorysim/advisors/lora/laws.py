r"""How rates that work move with width n, rank r and scale s: powers, and the regime in which they hold.

A and B enter the output as f = s Q P, with P = A X and Q = W_out B.

Scale: (s, lr_b) trains like (1, s^2 lr_b) from B = 0 (Adam: s lr_b), and likewise lr_a from A = 0: exact.

Width: gradient descent knows lr_a K_in and lr_b alone, K_in = X'X; so lr_a n and lr_b are kept: exact where
K_in/n is, for Adam in the limit of large n.

Rank, gradient descent from B = 0: in p = P/sqrt(r) and q = s sqrt(r) Q, f = q p and

    dp = -(lr_a/r) q'U K_in/N,      dq = -(r s^2 lr_b) K_out U p'/N:

lr_a/r and r s^2 lr_b are kept, as far as p'p at the start is its mean (r above the number of input directions
that matter). From A = 0 with entries of B of variance 1/r, p = s P and q = Q: s^2 lr_a and lr_b are kept.

Rank, Adam from B = 0: entries of P are of order 1 and those of B move by lr_b, so that f moves by s r lr_b
and P by lr_a n: s r lr_b and lr_a are kept. From A = 0, s sqrt(r) lr_a, and lr_b sqrt(r), its part of B. With
one rate so large that the moved P outgrows that of the start (lr n > 1), f moves by s r n lr^2.

Scale and rank derived here; width: S. Hayou, N. Ghosh, B. Yu, arXiv 2402.12354 and 2406.08447; the two
regimes in rank: N. Chen, S. Villar, S. Hayou, arXiv 2602.06204.

Example:
    >>> from theorysim.advisors.lora.problem import read_setting
    >>> laws = rate_laws(read_setting(4096, 16, 32.0, optimizer="adam"))
    >>> laws.lr_b
    Powers(width=0.0, rank=-1.0, scale=-1.0)
    >>> doubled(laws.lr_b, "rank", "alpha/r")  # the scale halves
    1.0
"""

from typing import Any, NamedTuple

from theorysim.advisors.lora.problem import Base, Setting
from theorysim.lora_init import efficient_rates, largest_stable_exponent, width_exponents

__all__ = ["Exponents", "Powers", "RateLaws", "carried", "doubled", "rate_laws", "single_rate_exponents"]


class Powers(NamedTuple):
    """Of width, rank and scale, in a rate that keeps the training as it is.

    Attributes:
        width: power of n.
        rank: power of r at a given scale.
        scale: power of s.
    """

    width: float
    rank: float
    scale: float


class RateLaws(NamedTuple):
    """Laws of the rates.

    Attributes:
        lr_a: of A, where each factor has its own.
        lr_b: of B.
        single: of the largest that both can share.
    """

    lr_a: Powers
    lr_b: Powers
    single: Powers


class Exponents(NamedTuple):
    """Powers of the width after some steps at the largest single rate.

    Attributes:
        rate: of that rate.
        features: of P.
        through_a: of a step's change of the output through A.
        through_b: through B.
    """

    rate: float
    features: float
    through_a: float
    through_b: float


# Powers of rank and scale: of lr_a, lr_b and a single rate, by optimizer and random factor.
_RANK_AND_SCALE = {
    ("sgd", "a"): ((1.0, 0.0), (-1.0, -2.0), (0.0, -1.0)),
    ("sgd", "b"): ((0.0, -2.0), (0.0, 0.0), (0.0, -2.0)),
    ("adam", "a"): ((0.0, 0.0), (-1.0, -1.0), (-0.5, -0.5)),
    ("adam", "b"): ((-0.5, -1.0), (-0.5, 0.0), (-0.5, -1.0)),
}


def rate_laws(setting: Setting) -> RateLaws:
    """The laws for this optimizer and start.

    Example:
        >>> from theorysim.advisors.lora.problem import read_setting
        >>> rate_laws(read_setting(4096, 16, 32.0, optimizer="sgd", init="b")).single
        Powers(width=-1.0, rank=0.0, scale=-2.0)
    """
    start = _start(setting)
    pair = efficient_rates(**start, optimizer=setting.rule)
    single = float(largest_stable_exponent(**start, optimizer=setting.rule))
    widths = pair.lr_a, pair.lr_b, single
    others = _RANK_AND_SCALE[setting.rule, setting.random]
    return RateLaws(*(Powers(width, *other) for width, other in zip(widths, others, strict=True)))


def single_rate_exponents(setting: Setting) -> Exponents:
    """What the width does to training at the largest single rate.

    Example:
        >>> from theorysim.advisors.lora.problem import read_setting
        >>> single_rate_exponents(read_setting(4096, 16, 32.0, optimizer="adam", init="a"))
        Exponents(rate=-0.5, features=0.5, through_a=0.0, through_b=0.0)
    """
    start = _start(setting)
    rate = float(largest_stable_exponent(**start, optimizer=setting.rule))
    found = width_exponents(lr_a=rate, lr_b=rate, **start, optimizer=setting.rule, steps=4)
    return Exponents(rate, float(found.p), float(found.delta1), float(found.delta2))


def carried(rate: float, powers: Powers, base: Base, setting: Setting) -> float:
    """The rate at this setting that trains like `rate` does at the base.

    Example:
        >>> from theorysim.advisors.lora.problem import read_setting
        >>> base = Base(1e-3, 1e-3, True, 1024, 16, 32.0, 2.0)
        >>> carried(1e-3, Powers(-1.0, 0.0, 0.0), base, read_setting(4096, 16, 32.0))
        0.00025
    """
    ratios = setting.width / base.width, setting.rank / base.rank, setting.scale / base.scale
    for ratio, power in zip(ratios, powers, strict=True):
        rate *= ratio**power
    return rate


def doubled(powers: Powers, what: str, scaling: str) -> float:
    """By what a rate is multiplied where the width, the rank or alpha doubles.

    Example:
        >>> doubled(Powers(-1.0, 1.0, -2.0), "rank", "alpha/sqrt(r)")
        4.0
    """
    of_rank = powers.rank - powers.scale * (1.0 if scaling == "alpha/r" else 0.5)
    return 2.0 ** {"width": powers.width, "rank": of_rank, "alpha": powers.scale}[what]


def _start(setting: Setting) -> dict[str, Any]:
    return {"p0": 0.0, "q0": None} if setting.random == "a" else {"p0": None, "q0": 0.0}
