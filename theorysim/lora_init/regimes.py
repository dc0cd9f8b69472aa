r"""Powers of width and rank together: which rates a layer of width n and rank r takes, for each scale of s.

Every number is n^a r^b, compared by a first: the rank stays below every power of the width. With N = k = 1,
the exponents of `width_exponents` become pairs, a sum over r terms of one sign counts r, and one of random
signs sqrt(r). Besides p and q (of one entry) the overlap c of sum_i p_i q_i is followed. With u = max(0, f),

    sgd   dp = lr_a + gain_in + s + q + u,   dq = lr_b + gain_out + s + p + u,
    adam  dp = lr_a + gain_in,               dq = lr_b + gain_out,
    delta1 = s + r + q + dp,   delta2 = s + r + p + dq,   delta3 = s + dp + dq + (c - p - q),
    p <- max(p, dp),   q <- max(q, dq),   c <- max(c, deltas - s),   f <- max(f, deltas).

The changes align with what they multiply: sum_i q_i dp_i is a sum of q_i^2 (sgd) or |q_i| (adam), all of one
sign. sum_i dp_i dq_i is as aligned as p and q: c - p - q, sqrt(r) for two random starts, r for what trained
together. Exact as long as nothing cancels, up to corrections of order r^(-1/2) where two terms differ in the
rank alone; f is the change since the start, whose output the base takes over from two random factors. Derived
here; compare N. Chen, S. Villar, S. Hayou (2026), arXiv 2602.06204.

Example:
    >>> for scale in (0, -1, -0.5):  # s = 1, alpha/r, alpha/sqrt(r)
    ...     two = efficient_powers(p0=(0, 0), q0=None, scale=scale, optimizer="adam")
    ...     one = largest_stable_power(p0=(0, 0), q0=None, scale=scale, optimizer="adam").rate
    ...     print(f"lr_a = {two.lr_a}, lr_b = {two.lr_b}; one rate {one}")
    lr_a = n^-1, lr_b = r^-1; one rate n^-0.5 r^-0.5
    lr_a = n^-1, lr_b = 1; one rate n^-0.5
    lr_a = n^-1, lr_b = r^-0.5; one rate n^-0.5 r^-0.25
"""

import math
from typing import Any, NamedTuple

from theorysim.lora_init.exponents import Optimizer, is_adam
from theorysim.lora_init.rates import efficient_rates
from theorysim.numerics.validation import positive_int, real

__all__ = [
    "SCALINGS",
    "Power",
    "RankExponents",
    "RatePowers",
    "Regime",
    "StablePower",
    "efficient_powers",
    "largest_stable_power",
    "rank_exponents",
    "regime_table",
]

Pair = tuple[float | int, float | int]

# Names of the scales s and their power of the rank.
SCALINGS = {"1": 0.0, "alpha/r": -1.0, "alpha/sqrt(r)": -0.5}
# Powers of the width that differ by less are the same.
_SAME = 1e-9


class Power(NamedTuple):
    """The number n^width r^rank; both -inf for 0.

    Attributes:
        width: exponent of n.
        rank: exponent of r.
    """

    width: float
    rank: float

    def __str__(self) -> str:
        """As a product of powers.

        Example:
            >>> print(Power(-0.5, 1.0), Power(0.0, 0.0))
            n^-0.5 r 1
        """
        if self.width == -math.inf:
            return "0"
        parts = [
            symbol if exponent == 1 else f"{symbol}^{exponent:g}"
            for symbol, exponent in (("n", self.width), ("r", self.rank))
            if exponent
        ]
        return " ".join(parts) or "1"

    def at(self, width: float | int, rank: float | int) -> float:
        """The number at a width and a rank.

        Example:
            >>> Power(-0.5, 1.0).at(100, 4)
            0.4
        """
        return 0.0 if self.width == -math.inf else width**self.width * rank**self.rank


class RankExponents(NamedTuple):
    """Powers of width and rank after some steps.

    Attributes:
        p: of an entry of A x.
        q: of an entry of the other factor's readout.
        output: of its change since the start.
        delta1: of the last step's change of the output through A.
        delta2: through B.
        delta3: through both.
    """

    p: Power
    q: Power
    output: Power
    delta1: Power
    delta2: Power
    delta3: Power


class StablePower(NamedTuple):
    """Limits of a single rate.

    Attributes:
        start: by the random factor's gain, while the other begins to move.
        end: by both having moved.
        rate: the smaller in a wide layer; at a given width and rank compare `start.at` and `end.at`.
    """

    start: Power
    end: Power
    rate: Power


class RatePowers(NamedTuple):
    """Powers of width and rank for the two rates.

    Attributes:
        lr_a: of the rate of A.
        lr_b: of the rate of B.
    """

    lr_a: Power
    lr_b: Power


class Regime(NamedTuple):
    """A row of the table: one scale and one start.

    Attributes:
        scaling: "1", "alpha/r" or "alpha/sqrt(r)".
        init: "a" (B = 0) or "b" (A = 0, B of variance 1/r).
        single: the largest stable single rate.
        p: of A x at that rate.
        q: of the other factor's readout.
        delta1: the step's change of the output through A.
        delta2: through B.
        lr_a: of the efficient pair.
        lr_b: likewise.
    """

    scaling: str
    init: str
    single: Power
    p: Power
    q: Power
    delta1: Power
    delta2: Power
    lr_a: Power
    lr_b: Power


_ZERO = Power(-math.inf, -math.inf)
_ONE = Power(0.0, 0.0)
# Sums over the r terms, of one sign and of random ones.
_ALIGNED, _RANDOM = Power(0.0, 1.0), Power(0.0, 0.5)


def rank_exponents(
    *,
    lr_a: Pair,
    lr_b: Pair,
    p0: Pair | None,
    q0: Pair | None,
    scale: float | int = 0.0,
    gain_in: Pair = (1.0, 0.0),
    gain_out: Pair = (0.0, 0.0),
    optimizer: Optimizer,
    steps: int,
) -> RankExponents:
    """Powers of width and rank after so many steps, the changes being those of the last.

    Args:
        lr_a: of the rate of A, a pair: exponents of n and r.
        lr_b: of the rate of B.
        p0: of an entry of A x at the start; None for A = 0.
        q0: of an entry of W_out B; None for B = 0. Its usual variance 1/r is (0, -1/2).
        scale: exponent of r in s: 0, -1 or -1/2.
        gain_in: of the input.
        gain_out: of the output.
        optimizer: "sgd" or "adam" (also signs).
        steps: >= 1.

    Returns:
        RankExponents.

    Raises:
        ValueError: NaN or infinite exponents, both factors zero, or an unknown optimizer.

    Example:
        >>> w = rank_exponents(lr_a=(-1, 0), lr_b=(0, -1), p0=(0, 0), q0=None, optimizer="adam", steps=3)
        >>> print(w.output, w.delta1, w.delta2, w.q)  # efficient for s = 1
        1 1 1 r^-1
    """
    p, q, s, g_in, g_out = _checked(p0, q0, scale, gain_in, gain_out)
    rate_a, rate_b = _power(lr_a, "lr_a"), _power(lr_b, "lr_b")
    adam = is_adam(optimizer)
    overlap, output = _times(p, q, _RANDOM), _ZERO
    deltas = (_ZERO,) * 3
    for _ in range(positive_int(steps, "steps")):
        pushes = (_ONE if q != _ZERO else _ZERO, _ONE if p != _ZERO else _ZERO)
        if not adam:
            residual = _largest(_ONE, output)
            pushes = _times(s, q, residual), _times(s, p, residual)
        dp, dq = _times(rate_a, g_in, pushes[0]), _times(rate_b, g_out, pushes[1])
        agreement = _over(overlap, _times(p, q))
        deltas = (
            _times(s, _ALIGNED, q, dp),
            _times(s, _ALIGNED, p, dq),
            _times(s, dp, dq, agreement),
        )
        output = _largest(output, *deltas)
        overlap = _largest(overlap, *(_over(delta, s) for delta in deltas))
        p, q = _largest(p, dp), _largest(q, dq)
    return RankExponents(p, q, output, *deltas)


def largest_stable_power(
    *,
    p0: Pair | None,
    q0: Pair | None,
    scale: float | int = 0.0,
    gain_in: Pair = (1.0, 0.0),
    gain_out: Pair = (0.0, 0.0),
    optimizer: Optimizer,
) -> StablePower:
    """The largest single rate at which the output changes by order 1, as powers of width and rank.

    Args:
        p0: of an entry of A x at the start; None for A = 0.
        q0: of an entry of W_out B; None for B = 0.
        scale: exponent of r in s.
        gain_in: of the input.
        gain_out: of the output.
        optimizer: "sgd" or "adam".

    Returns:
        StablePower, with x = min(1/(gain_out p0^c), 1/(gain_in q0^c)):
        adam (c = 1): start x/(s r), end (s r gain_in gain_out)^(-1/2);
        sgd (c = 2): start x/(s^2 r), end (gain_in gain_out)^(-1/2)/s.

    Raises:
        ValueError: NaN or infinite exponents, both factors zero, or an unknown optimizer.

    Example:
        >>> found = largest_stable_power(p0=None, q0=(0, -0.5), scale=-1, optimizer="adam")
        >>> print(found.rate, "|", found.end)
        n^-1 r^0.5 | n^-0.5
    """
    p, q, s, g_in, g_out = _checked(p0, q0, scale, gain_in, gain_out)
    c = 1 if is_adam(optimizer) else 2
    reach = _largest(*(_times(g, _raised(x, c)) for g, x in ((g_out, p), (g_in, q))))
    start = _raised(_times(_raised(s, c), _ALIGNED, reach), -1)
    both = _times(s, _ALIGNED, g_in, g_out) if c == 1 else _times(_raised(s, 2), g_in, g_out)
    end = _raised(both, -0.5)
    return StablePower(start, end, _raised(_largest(_raised(start, -1), _raised(end, -1)), -1))


def efficient_powers(
    *,
    p0: Pair | None,
    q0: Pair | None,
    scale: float | int = 0.0,
    gain_in: Pair = (1.0, 0.0),
    gain_out: Pair = (0.0, 0.0),
    optimizer: Optimizer,
) -> RatePowers:
    """Two rates at which both factors move the output by order 1, from a fixed number of steps on.

    The powers of n are those of `efficient_rates`. Those of r let the random factor move by as much as it was
    at the start, and the other by as much as the output then allows.

    Args:
        p0: of an entry of A x at the start, its width's at most 0; None for A = 0.
        q0: of an entry of W_out B, likewise; None for B = 0.
        scale: exponent of r in s.
        gain_in: of the input.
        gain_out: of the output.
        optimizer: "sgd" or "adam".

    Returns:
        RatePowers. Where both factors are random A keeps its size; where neither is of order 1 in the width
        both become equally large.

    Raises:
        ValueError: NaN or infinite exponents, both factors zero, an unknown optimizer, or a start so large
            that no rates do it.

    Example:
        >>> print(*efficient_powers(p0=None, q0=(0, -0.5), scale=-1, optimizer="adam"))
        n^-1 r^0.5 r^-0.5
    """
    p, q, s, g_in, g_out = _checked(p0, q0, scale, gain_in, gain_out)
    widths = efficient_rates(
        p0=p.width, q0=q.width, gain_in=g_in.width, gain_out=g_out.width, optimizer=optimizer
    )
    # p q = 1/(s r), and a start below order 1 in the width bounds no power of the rank.
    product = -s.rank - 1
    starts = [x.rank if abs(x.width) < _SAME else -math.inf for x in (p, q)]
    if max(starts) == -math.inf:
        size_p = product / 2
    else:
        size_p = starts[0] if starts[0] > -math.inf else product - starts[1]
    size_q = product - size_p
    if size_q < starts[1] - _SAME:
        raise ValueError(f"p0 and q0 leave no efficient rates, got {p} and {q} at s = {s}")
    push = (0.0, 0.0) if is_adam(optimizer) else (s.rank + size_q, s.rank + size_p)
    return RatePowers(
        Power(widths.lr_a, size_p - g_in.rank - push[0] + 0.0),
        Power(widths.lr_b, size_q - g_out.rank - push[1] + 0.0),
    )


def regime_table(
    *,
    gain_in: Pair = (1.0, 0.0),
    gain_out: Pair = (0.0, 0.0),
    optimizer: Optimizer,
    steps: int = 4,
) -> tuple[Regime, ...]:
    """How rates go with width and rank, for the usual scales and starts.

    Args:
        gain_in: of the input.
        gain_out: of the output.
        optimizer: "sgd" or "adam".
        steps: after which p, q and the changes at the largest stable single rate are those stated, >= 1.

    Returns:
        Six of Regime: s = 1, alpha/r, alpha/sqrt(r), and B = 0, A = 0 for each.

    Raises:
        ValueError: NaN or infinite exponents, or an unknown optimizer.

    Example:
        >>> for row in regime_table(optimizer="adam"):
        ...     print(f"{row.scaling:14}{row.init} {row.single!s:15} {row.lr_a!s:12} {row.lr_b}")
        1             a n^-0.5 r^-0.5   n^-1         r^-1
        1             b n^-1 r^-0.5     n^-1 r^-0.5  r^-0.5
        alpha/r       a n^-0.5          n^-1         1
        alpha/r       b n^-1 r^0.5      n^-1 r^0.5   r^-0.5
        alpha/sqrt(r) a n^-0.5 r^-0.25  n^-1         r^-0.5
        alpha/sqrt(r) b n^-1            n^-1         r^-0.5
    """
    rows = []
    for scaling, scale in SCALINGS.items():
        for init, p0, q0 in (("a", (0.0, 0.0), None), ("b", None, (0.0, -0.5))):
            setting: dict[str, Any] = {
                "p0": p0,
                "q0": q0,
                "scale": scale,
                "gain_in": gain_in,
                "gain_out": gain_out,
                "optimizer": optimizer,
            }
            single = largest_stable_power(**setting).rate
            w = rank_exponents(lr_a=single, lr_b=single, **setting, steps=steps)
            two = efficient_powers(**setting)
            rows.append(Regime(scaling, init, single, w.p, w.q, w.delta1, w.delta2, two.lr_a, two.lr_b))
    return tuple(rows)


def _power(value, name):
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name} must be a pair of exponents, of the width and of the rank, got {value!r}")
    for x in value:
        real(x, name, low_open=True, high_open=True)
    return Power(*map(float, value))


def _checked(p0, q0, scale, gain_in, gain_out):
    p, q = (_ZERO if value is None else _power(value, name) for value, name in ((p0, "p0"), (q0, "q0")))
    if p == q == _ZERO:
        raise ValueError("p0 and q0 are both zero factors: the gradient of both vanishes, and nothing trains")
    real(scale, "scale", low_open=True, high_open=True)
    return p, q, Power(0.0, float(scale)), _power(gain_in, "gain_in"), _power(gain_out, "gain_out")


def _times(*powers):
    if _ZERO in powers:
        return _ZERO
    return Power(math.fsum(x.width for x in powers) + 0.0, math.fsum(x.rank for x in powers) + 0.0)


def _over(x, y):
    return _ZERO if _ZERO in (x, y) else Power(x.width - y.width, x.rank - y.rank)


def _raised(x, exponent):
    return x if x == _ZERO else Power(x.width * exponent + 0.0, x.rank * exponent + 0.0)


def _largest(*powers):
    """By the power of the width, then by that of the rank."""
    widest = max(x.width for x in powers)
    return max((x for x in powers if x == _ZERO or widest - x.width < _SAME), key=lambda x: x.rank)
