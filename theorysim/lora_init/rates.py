r"""Which pairs of rates work: exponents of (lr_a, lr_b) as a linear program, and the regions they fill.

With the exponents of `width_exponents`, a pair of rates is

    stable              if some p >= p0, dp and q >= q0, dq have p + q <= 0: the output stays of order 1, at
                        every number of steps;
    internally stable   if also p <= max(p0, 0) and q <= max(q0, 0);
    learning            if p + q = q + dp = p + dq = 0: the output and both of its changes are of order 1,
                        in a state that gradient descent may take some log n steps to reach;
    efficient           if learning, with p, q <= 0.

All of it is linear in (lr_a, lr_b, p, q); a region is the shadow of that polytope. Derived here.

Example:
    >>> efficient_rates(p0=0.0, q0=None, optimizer="adam")
    RateExponents(lr_a=-1.0, lr_b=0.0, unique=True)
    >>> print(rate_region(p0=0.0, q0=None, optimizer="adam", kind="stable"))  # lr_b <= 0, lr_a + lr_b <= -1
    [[-2. -2.]
     [ 1. -2.]
     [-1.  0.]
     [-2.  0.]]
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import linprog

from theorysim.lora_init.exponents import Optimizer, is_adam, start_exponents
from theorysim.numerics.validation import choice, real

__all__ = ["KINDS", "Program", "RateExponents", "efficient_rates", "rate_program", "rate_region"]

Kind = Literal["stable", "internally_stable", "learning", "efficient"]
KINDS = ("stable", "internally_stable", "learning", "efficient")
# What the solver leaves of a zero.
_ZERO = 1e-9


class RateExponents(NamedTuple):
    """Powers of the width for the two rates.

    Attributes:
        lr_a: of the rate of A.
        lr_b: of the rate of B.
        unique: whether no other pair does it.
    """

    lr_a: float
    lr_b: float
    unique: bool


class Program(NamedTuple):
    """Linear conditions on (lr_a, lr_b, p, q), as `scipy.optimize.linprog` takes them."""

    A_ub: np.ndarray
    b_ub: np.ndarray
    A_eq: np.ndarray | None
    b_eq: np.ndarray | None
    bounds: list[tuple[float | None, float | None]]


def efficient_rates(
    *,
    p0: float | None,
    q0: float | None,
    gain_in: float = 1.0,
    gain_out: float = 0.0,
    optimizer: Optimizer,
) -> RateExponents:
    """Exponents of two rates at which both factors move the output by order 1 and all stays of order 1.

    Args:
        p0: exponent of A x at the start, at most 0; None for A = 0.
        q0: of W_out B at the start, at most 0; None for B = 0.
        gain_in: of the input.
        gain_out: of the output.
        optimizer: "sgd" or "adam".

    Returns:
        RateExponents; the pair is -gain_in, -gain_out for every start.

    Raises:
        ValueError: NaN or infinite exponents, both factors zero, an unknown optimizer, or a start so large
            that no rates do it.

    Example:
        >>> efficient_rates(p0=None, q0=0.0, gain_out=0.5, optimizer="sgd")
        RateExponents(lr_a=-1.0, lr_b=-0.5, unique=True)
    """
    p0, q0 = _checked(p0, q0, gain_in, gain_out)
    adam = is_adam(optimizer)
    if max(p0, q0) > 0:
        raise ValueError(f"p0 and q0 must be at most 0 for stable factors, got {p0:g} and {q0:g}")
    program = rate_program("efficient", p0, q0, gain_in, gain_out, adam=adam)
    ends = [_furthest(program, direction) for direction in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    points = [end for end in ends if end is not None]
    if len(points) < len(ends):
        raise ValueError(f"p0 and q0 leave no efficient rates, got {p0:g} and {q0:g}")
    lr_a, lr_b = (round(float(x), 12) + 0.0 for x in points[0])
    return RateExponents(lr_a, lr_b, bool(np.ptp(points, axis=0).max() < _ZERO))


def rate_region(
    *,
    p0: float | None,
    q0: float | None,
    gain_in: float = 1.0,
    gain_out: float = 0.0,
    optimizer: Optimizer,
    kind: Kind,
    window: tuple[float, float] = (-2.0, 1.0),
) -> np.ndarray:
    """The pairs of exponents (lr_a, lr_b) of one kind, as the corners of a polygon.

    Args:
        p0: exponent of A x at the start; None for A = 0.
        q0: of W_out B at the start; None for B = 0.
        gain_in: of the input.
        gain_out: of the output.
        optimizer: "sgd" or "adam".
        kind: "stable", "internally_stable", "learning" or "efficient", as above.
        window: what both exponents are cut off at.

    Returns:
        Corners (V, 2) in counter-clockwise order from the leftmost, lowest: 2 of a segment, 1 of a point, 0
        where nothing in the window is of that kind.

    Raises:
        ValueError: NaN or infinite exponents, both factors zero, an unknown optimizer or kind, or a window
            that is not a pair of rising numbers.

    Example:
        >>> print(rate_region(p0=0.0, q0=None, optimizer="adam", kind="learning"))  # efficient but for p
        [[-1.  0.]
         [ 1. -2.]]
    """
    p0, q0 = _checked(p0, q0, gain_in, gain_out)
    adam = is_adam(optimizer)
    kind = choice(kind, "kind", KINDS)
    low, high = window
    real(low, "window", high=high, low_open=True, high_open=True)
    real(high, "window", high_open=True)
    program = rate_program(kind, p0, q0, gain_in, gain_out, adam=adam)
    boxed = program._replace(bounds=[(low, high)] * 2 + program.bounds[2:])
    return _outline(lambda direction: _furthest(boxed, direction))


def rate_program(
    kind: Kind,
    p0: float,
    q0: float,
    gain_in: float,
    gain_out: float,
    *,
    adam: bool,
) -> Program:
    """The conditions of one kind.

    Example:
        >>> rate_program("stable", 0.0, -math.inf, 1.0, 0.0, adam=True).bounds[2:]
        [(0.0, None), (None, None)]
    """
    # The changes dp and dq as rows, and their constants.
    partner = 0 if adam else 1
    dp, dq = np.array([1, 0, 0, partner]), np.array([0, 1, partner, 0])
    p, q = np.eye(4)[2], np.eye(4)[3]
    constants = np.array([gain_in, gain_out])
    inside, outer = kind in ("internally_stable", "efficient"), np.stack([p + q, q + dp, p + dq])
    above, most = np.stack([dp - p, dq - q]), -constants
    bounds = [(None, None)] * 2 + [
        (None if start == -math.inf else start, max(start, 0.0) if inside else None) for start in (p0, q0)
    ]
    if kind in ("learning", "efficient"):
        return Program(above, most, outer, -np.array([0, *constants]), bounds)
    return Program(np.vstack([above, outer[:1]]), np.array([*most, 0.0]), None, None, bounds)


def _checked(p0, q0, gain_in, gain_out):
    p0, q0 = (float(value) for value in start_exponents(p0, q0))
    for name, value in (("gain_in", gain_in), ("gain_out", gain_out)):
        real(value, name, low_open=True, high_open=True)
    return p0, q0


def _furthest(program: Program, direction) -> np.ndarray | None:
    """The pair of rates furthest in a direction; None if there is no pair."""
    cost = -np.array([*direction, 0, 0], float)
    found = linprog(cost, **program._asdict())
    return found.x[:2] if found.status == 0 else None


def _outline(support: Callable[..., np.ndarray | None]) -> np.ndarray:
    """Corners of a convex region of the plane from its furthest points."""
    first = [support(direction) for direction in ((-1, 0), (0, -1), (1, 0), (0, 1))]
    ends = [point for point in first if point is not None]
    if not ends:
        return np.zeros((0, 2))

    def between(u, v):
        """Corners from u to v, v left out: what lies beyond the edge splits it."""
        normal = np.array([v[1] - u[1], u[0] - v[0]])
        size = np.linalg.norm(normal)
        if size < _ZERO:
            return []
        w = support(normal / size)
        if w is None or normal @ (w - u) < _ZERO * size:
            return [u]
        return between(u, w) + between(w, v)

    corners = [c for u, v in zip(ends, [*ends[1:], ends[0]], strict=True) for c in between(u, v)] or ends[:1]
    points = np.unique(np.round(corners, 9), axis=0) + 0.0
    return _without_straight(points)


def _without_straight(points):
    """The points counter-clockwise from the first, without those on the line between their neighbours."""
    if len(points) < 3:
        return points
    around = points - points.mean(0)[None]
    points = points[np.argsort(np.arctan2(around[:, 1], around[:, 0]), kind="stable")]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    kept = points[np.abs(turn) > _ZERO] if (np.abs(turn) > _ZERO).any() else points[[0, -1]]
    start = np.lexsort((kept[:, 1], kept[:, 0]))[0]
    return np.roll(kept, -start, axis=0)
