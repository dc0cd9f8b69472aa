r"""Which rates the user's own gradients allow: constants of the first steps.

Assumption, linear response around the base: the gradient in the layer's outputs f, G (N, n_out) at the start,
moves by (h/N) df while the adapter changes f by df, with one curvature h. So the loss is that of the targets
-N G/h, up to a constant, and everything else follows from the features X (N, n), G, s and the start.

Gradient descent. At the start the sharpness (h s^2/N) lr_b top(P0 P0'), P0 = A X', or (h s^2/N) lr_a
top(K_in) top(B0'B0), belongs to the factor that moves first, the one at zero. It may be 4: above 2 the loss
first rises, then falls into a flatter minimum. Wherever the top singular pair (b, a) of G is fitted, the
sharpness is at least

    2 s sqrt(lr_a lr_b (b.K_in b)) sigma = 2 s sqrt(lr_a lr_b) |X'G a|,    stable below 2:

h has cancelled. Recommended are sharpness 1 at the start and 1 there, a factor of 2 from either, with a rate
of the other factor of at most sharpness 1 where the first has fitted alone what it can.

Adam. The first step moves the zero factor by lr times signs: f by lr_b s P0' sign(G'P0') and the like. On the
quadratic above, the loss is as before at twice the rate that is best for this one step. The other factor is
internally stable as long as a step changes it by no more than its own size: P0 by lr_a X sign(gradient of A),
at most lr_a |x|_1. Recommended is 1 - b1 of the best rate and of this limit, since a mean of gradients goes
on in one direction for some 1/(1 - b1) steps.

Derived here. The law of the start: S. Hayou, N. Ghosh, B. Yu, arXiv 2402.12354.

Example:
    >>> from theorysim.advisors.lora.problem import read_setting
    >>> draw = np.random.default_rng(0)
    >>> x, g = draw.normal(size=(8, 400)), draw.normal(size=(8, 50)) / 8
    >>> setting = read_setting(400, 4, 4.0, optimizer="sgd")
    >>> found = probe_limits(setting, Probe(x, g), curvature=1.0)
    >>> print(f"{found.first / found.lr_b:.1f} {found.product / found.single:.1f}")
    4.0 2.0
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse.linalg import svds

from theorysim.advisors.lora.problem import Probe, Setting

__all__ = ["ProbeLimits", "Start", "draw_start", "leading_singular", "margin", "probe_limits"]

# What Adam forgets in a step, by its usual b1 = 0.9.
_FORGETS = 0.1
# Below this order all singular values cost less than to iterate for one.
_DENSE = 512


class Start(NamedTuple):
    """One draw of the factor that is not zero.

    Attributes:
        A: (r, n); 0 for init "b".
        B: (n_out, r); 0 for init "a".
    """

    A: np.ndarray
    B: np.ndarray


class ProbeLimits(NamedTuple):
    """What the first steps allow, means over draws of the start; None where there is no output_grad to tell.

    Attributes:
        curvature: h.
        curvature_from: "given", "fisher", or "unit" where it is 1 for want of gradients.
        draws: of the random factor.
        top_gram: largest eigenvalue of K_in = X X'.
        mean_input: mean |x| over all entries of the features.
        feature_rms: root mean square of P0 = A X' where A is random, by its law.
        weight_gradient: norm of G a' X, the loss's gradient in the frozen weight, along its top output a.
        output_change: root mean square of the outputs' first change for a rate of 1.
        first: largest rate of the factor that starts at zero: B for init "a", A for "b".
        partner: largest rate of the other, for Adam.
        product: largest sqrt(lr_a lr_b), for gradient descent.
        lr_a: recommended.
        lr_b: recommended.
        single: recommended where both share a rate.
        single_limit: largest of these; None for Adam from B = 0, of which only trials tell.
    """

    curvature: float
    curvature_from: Literal["given", "fisher", "unit"]
    draws: int
    top_gram: float
    mean_input: float
    feature_rms: float
    weight_gradient: float | None
    output_change: float | None
    first: float | None
    partner: float | None
    product: float | None
    lr_a: float | None
    lr_b: float | None
    single: float | None
    single_limit: float | None


def draw_start(setting: Setting, outputs: int, seed: int) -> Start:
    """Draw A, or B, from its law.

    Example:
        >>> from theorysim.advisors.lora.problem import read_setting
        >>> start = draw_start(read_setting(100, 4, 4.0), 30, seed=0)
        >>> start.A.shape, bool(start.B.any())
        ((4, 100), False)
    """
    draw, n, r = np.random.default_rng(seed), setting.width, setting.rank
    if setting.random == "a":
        return Start(draw.normal(scale=(setting.var_a / n) ** 0.5, size=(r, n)), np.zeros((outputs, r)))
    return Start(np.zeros((r, n)), draw.normal(scale=setting.var_b**0.5, size=(outputs, r)))


def probe_limits(
    setting: Setting,
    probe: Probe,
    *,
    curvature: float | Literal["fisher"] = "fisher",
    draws: int = 8,
    seed: int = 0,
) -> ProbeLimits:
    """Constants of the first steps on these features and gradients.

    Args:
        setting: the adapter.
        probe: features, and gradients if there are any.
        curvature: h; "fisher" is that of a log loss along its own gradients, N sum |G|^2 (1 without any).
        draws: of the random factor, to average over.
        seed: of the first; the others count on.

    Example:
        >>> from theorysim.advisors.lora.problem import read_setting
        >>> x = np.ones((1, 4))
        >>> found = probe_limits(read_setting(4, 1, 1.0, optimizer="adam"), Probe(x, None))
        >>> found.mean_input, found.lr_b is None  # without gradients nobody knows how far outputs may move
        (1.0, True)
    """
    X, G = probe
    s, n = setting.scale, len(X)
    h, source = _curvature(curvature, G)
    top_gram = leading_singular(X, 1)[1][0] ** 2
    size = (setting.var_a * (X**2).sum(1).mean() / setting.width) ** 0.5
    weight_gradient = None if G is None else float(np.linalg.norm(X.T @ (G @ leading_singular(G, 1)[2][0])))
    common = (h, source, draws, float(top_gram), float(np.abs(X).mean()), float(size), weight_gradient)
    outputs = setting.width if G is None else G.shape[1]
    starts = [draw_start(setting, outputs, seed + i) for i in range(draws)]
    if setting.rule == "adam":
        return ProbeLimits(*common, *_adam(setting, X, G, h, starts))
    sharp = h * s**2 * np.mean([_start_sharpness(setting, X, top_gram, start) for start in starts]) / n
    if G is None or weight_gradient is None:
        return ProbeLimits(*common, *_descent(setting, float(sharp)))
    change = np.mean([_descent_change(setting, X, G, start) for start in starts])
    alone = h * s**2 / n * np.mean([_fitted_sharpness(setting, X, G, h, top_gram, start) for start in starts])
    end = 2 * s * weight_gradient
    return ProbeLimits(*common, *_descent(setting, float(sharp), end, float(alone), float(change)))


def leading_singular(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest singular values, descending, between their left and right vectors.

    Example:
        >>> left, values, right = leading_singular(np.diag([1.0, 3.0]), 1)
        >>> left.shape, values.tolist(), right.shape
        ((2, 1), [3.0], (1, 2))
    """
    small = min(matrix.shape)
    if small <= _DENSE or count > small // 4:
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
    else:
        start = np.random.default_rng(0).normal(size=small)
        left, values, right = (np.asarray(part) for part in svds(matrix, k=count, v0=start))
        left, values, right = left[:, ::-1], values[::-1], right[::-1]
    return left[:, :count], values[:count], right[:count]


def margin(setting: Setting, limits: ProbeLimits, lr_a: float, lr_b: float) -> float | None:
    """By what both rates may be multiplied before one of the limits is met; None where none is known.

    Example:
        >>> from theorysim.advisors.lora.problem import read_setting
        >>> x = np.ones((1, 4))
        >>> setting = read_setting(4, 1, 1.0, optimizer="adam")
        >>> limits = probe_limits(setting, Probe(x, x / 2))
        >>> print(f"{margin(setting, limits, limits.lr_a, limits.lr_b):.1f}")
        10.0
    """
    first, partner = (lr_b, lr_a) if setting.random == "a" else (lr_a, lr_b)
    pairs = (limits.first, first), (limits.partner, partner), (limits.product, (lr_a * lr_b) ** 0.5)
    ratios = [limit / rate for limit, rate in pairs if limit is not None]
    return min(ratios, default=None)


def _curvature(curvature, G):
    if curvature != "fisher":
        return float(curvature), "given"
    if G is None:
        return 1.0, "unit"
    return float(len(G) * (G**2).sum()), "fisher"


def _start_sharpness(setting, X, top_gram, start):
    """Of the factor at zero, over its rate, s^2 h and 1/N."""
    if setting.random == "a":
        return np.linalg.norm(X @ start.A.T, 2) ** 2
    return top_gram * np.linalg.norm(start.B, 2) ** 2


def _fitted_sharpness(setting, X, G, h, top_gram, start):
    """Of the random factor, likewise, where the other has fitted -N G/h alone as far as it can."""
    Y = len(X) / h * G
    if setting.random == "a":
        Q = np.linalg.pinv(X @ start.A.T) @ Y / setting.scale
        return top_gram * np.linalg.norm(Q, 2) ** 2
    P = np.linalg.pinv(start.B) @ Y.T / setting.scale
    return np.linalg.norm(P, 2) ** 2


def _descent_change(setting, X, G, start):
    s = setting.scale
    if setting.random == "a":
        P = X @ start.A.T
        return s**2 * _rms_product(P, G.T @ P)
    return s**2 * _rms_product(X @ (X.T @ (G @ start.B)), start.B)


def _rms_product(left, right):
    """Root mean square of left right' without making it."""
    square = ((left.T @ left) * (right.T @ right)).sum()
    return (square / (len(left) * len(right))) ** 0.5


def _descent(setting, sharp, end=None, alone=None, change=None):
    """The fields of ProbeLimits from `output_change` on, from sharpnesses over their rates."""
    first = 4 / sharp
    if end is None or alone is None:
        pair = (None, 1 / sharp) if setting.random == "a" else (1 / sharp, None)
        return None, first, None, None, *pair, None, None
    mover, partner = 1 / sharp, min(sharp / end**2, 1 / alone)
    pair = (partner, mover) if setting.random == "a" else (mover, partner)
    single, limit = min(1 / sharp, 1 / end), min(first, 2 / end)
    return change, first, None, 2 / end, *pair, single, limit


def _adam(setting, X, G, h, starts):
    """The fields of ProbeLimits from `output_change` on."""
    if G is None:
        return _adam_without_gradients(setting, X, starts)
    of_start = _adam_from_a if setting.random == "a" else _adam_from_b
    change, best, partner = np.mean([of_start(setting, X, G, start) for start in starts], axis=0)
    # h does not enter a step of Adam, only where it should end.
    best, first = best / h, 2 * best / h
    mover, other = _FORGETS * best, _FORGETS * partner
    if setting.random == "a":
        # Of B = 0 at one rate the output knows the product of both rates once P has grown.
        single, limit = min((mover * other) ** 0.5, mover), None
        pair = other, mover
    else:
        single, limit = mover, first
        pair = mover, other
    limit = None if limit is None else float(limit)
    return float(change), float(first), float(partner), None, *map(float, pair), float(single), limit


def _adam_from_a(setting, X, G, start):
    """Size of the first change of f, its best rate times h, and the limit of A's rate."""
    P = X @ start.A.T
    gradient = G.T @ P
    signs = np.sign(gradient)
    change = setting.scale * _rms_product(P, signs)
    best = setting.scale * np.abs(gradient).sum() * len(X) / (change**2 * G.size)
    moved = X @ np.sign((G @ signs).T @ X).T
    return change, best, np.linalg.norm(P) / np.linalg.norm(moved)


def _adam_from_b(setting, X, G, start):
    gradient = (G @ start.B).T @ X
    moved = X @ np.sign(gradient).T
    change = setting.scale * _rms_product(moved, start.B)
    best = setting.scale * np.abs(gradient).sum() * len(X) / (change**2 * G.size)
    return change, best, np.linalg.norm(start.B) / start.B.size**0.5


def _adam_without_gradients(setting, X, starts):
    if setting.random == "b":
        partner = float(np.mean([np.linalg.norm(start.B) / start.B.size**0.5 for start in starts]))
        return None, None, partner, None, None, _FORGETS * partner, None, None
    # The largest step there can be: all signs along the input.
    reach = (np.abs(X).sum(1) ** 2).mean() ** 0.5
    size = np.mean([np.linalg.norm(X @ start.A.T) / (len(X) * setting.rank) ** 0.5 for start in starts])
    partner = float(size / reach)
    change = setting.scale * np.mean([(np.abs(X @ start.A.T).sum(1) ** 2).mean() ** 0.5 for start in starts])
    return float(change), None, partner, None, _FORGETS * partner, None, None, None
