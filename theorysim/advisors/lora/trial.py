r"""Trial runs on the user's own probe: which rates train best, which still train, and what one rate loses.

Under the assumption of `limits` (targets -N G/h, curvature h) adapters are trained for some steps, at many
pairs of rates at once. Gradient descent knows the examples by P, Y and K_in alone, and turning these alike
changes nothing: it trains in the directions of P0, of the largest targets, and of K_in times these, which is
exact for few examples; likewise in the outputs. Adam does not close: it trains on some examples a narrower
layer of some inputs and outputs, at lr_a n/J for J inputs, which errs like J^(-1/2).

Example:
    >>> from theorysim.advisors.lora.limits import probe_limits
    >>> from theorysim.advisors.lora.problem import read_setting
    >>> draw = np.random.default_rng(0)
    >>> x, g = draw.normal(size=(8, 400)), draw.normal(size=(8, 50)) / 8
    >>> setting, probe = read_setting(400, 4, 4.0, optimizer="sgd"), Probe(x, g)
    >>> trial = run_trial(setting, probe, probe_limits(setting, probe, curvature=1.0))
    >>> trial.limit > 1, trial.loss < 1, trial.runs
    (True, True, 128)
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from theorysim.advisors.lora.limits import ProbeLimits, draw_start, leading_singular, margin
from theorysim.advisors.lora.problem import Probe, Setting
from theorysim.numerics.low_rank import adapter_dynamics, dense_adapter_training

__all__ = ["Trial", "run_trial"]

# Sizes of the rates beside those that the first steps recommend, and ratios beside theirs.
_SIZES = 2.0 ** (np.arange(-6, 15) / 2)
_RATIOS = 16.0 ** np.arange(-2, 3)
# Places in the list of sizes to the double.
_DOUBLE = 2
# Parts of the probe: directions of examples, and for Adam examples, inputs and outputs.
_DIRECTIONS = 128
_EXAMPLES, _INPUTS, _OUTPUTS = 64, 512, 64
# A comparison in steps ends where the worse one has done so much of what it does.
_DONE = 0.9


class Trial(NamedTuple):
    """What trial runs of the probe found; losses are shares of that of the base.

    Attributes:
        examples: trained on, or directions among them.
        inputs: of the trained layer.
        outputs: likewise.
        steps: of each run.
        runs: pairs of rates that were tried.
        lr_a: of the pair that is recommended: the one asked for, or else the best.
        lr_b: likewise.
        loss: left by that pair at the end.
        limit: by what that pair may be multiplied before it no longer trains: before the loss is above its
            start on average over the second half of the run. Below 1 where it does not train itself, infinite
            beyond 4096. Gradient descent at the edge is chaotic: up to the first failure of 2 x 128 factors.
        best_a: of the pair, about that of the first steps, with the least loss on average over the steps, of
            those within the limits of the first steps whose doubles still train.
        best_b: likewise.
        best_loss: left by it.
        rule_loss: left by the pair of the first steps, from which the search starts; NaN if it diverged.
        single: the best single rate, likewise.
        single_loss: left by it.
        single_limit: largest single rate, likewise.
        slowdown: steps of the best single rate for each step of the best pair, to 9/10 of what that does;
            below 1 where one rate is faster.
        slower_still: the single rate did not get there: the slowdown is larger.
    """

    examples: int
    inputs: int
    outputs: int
    steps: int
    runs: int
    lr_a: float
    lr_b: float
    loss: float
    limit: float
    best_a: float
    best_b: float
    best_loss: float
    rule_loss: float
    single: float
    single_loss: float
    single_limit: float
    slowdown: float
    slower_still: bool


class _Problem(NamedTuple):
    """A training.

    Attributes:
        arrays: K_in, K_out, Y, P0, Q0, or for Adam X, readout, Y, A, B.
        of_a: by what the rate of A is multiplied for it.
        of_b: likewise.
        scope: examples or directions, inputs and outputs.
        part: share of the squared targets that it has; the rest is beyond it, or like it (Adam).
    """

    arrays: tuple[Any, ...]
    of_a: float
    of_b: float
    scope: tuple[int, int, int]
    part: float


def run_trial(
    setting: Setting,
    probe: Probe,
    limits: ProbeLimits,
    *,
    pair: tuple[float, float] | None = None,
    steps: int = 100,
    seed: int = 0,
) -> Trial:
    """Train on the probe at many rates, about those of `limits`.

    Args:
        setting: the adapter.
        probe: with gradients.
        limits: of it.
        pair: (lr_a, lr_b) to judge, instead of that of the limits.
        steps: of each run.
        seed: of the start.

    Raises:
        ValueError: a probe without gradients.
    """
    if limits.lr_a is None or limits.lr_b is None or limits.single is None or probe.output_grad is None:
        raise ValueError("output_grad must be given for a trial, got None")
    adam, single = setting.rule == "adam", limits.single
    build = _adam_problem if adam else _descent_problem
    problem = build(setting, probe.features, probe.output_grad, limits.curvature, seed)

    def losses(lr_a, lr_b):
        a, b = (jnp.asarray(lr) for lr in (lr_a * problem.of_a, lr_b * problem.of_b))
        share = np.asarray(_paths(problem.arrays, a, b, setting.scale, adam=adam, steps=steps), np.float64)
        return 1 - problem.part * (1 - share)

    size, ratio = (x.ravel() for x in np.meshgrid(_SIZES, np.sqrt(_RATIOS), indexing="ij"))
    pairs = np.stack([limits.lr_a * size / ratio, limits.lr_b * size * ratio])
    rule = limits.lr_a, limits.lr_b
    more = np.array([rule, pair or rule]).T
    tried = np.concatenate([pairs, np.tile(single * _SIZES, (2, 1)), more], axis=1)
    curves = losses(*tried)
    runs, split = tried.shape[1], pairs.shape[1]
    grid, own = curves[:split].reshape(len(_SIZES), len(_RATIOS), -1), curves[-2:]
    singles = curves[split:-2][:, None]
    within = [margin(setting, limits, a, b) or 0 for a, b in pairs.T]
    place = _best(grid, np.reshape(within, grid.shape[:2]) >= 1)
    one, _ = _best(singles, True)
    best, path, alone = pairs.reshape(2, *grid.shape[:2])[:, *place], grid[place], single * _SIZES[one]
    chosen, left = (pair, own[1]) if pair else (best, path)
    slowdown, reached = _slowdown(path, singles[one, 0])
    return Trial(
        *problem.scope,
        steps=steps,
        runs=runs,
        lr_a=float(chosen[0]),
        lr_b=float(chosen[1]),
        loss=float(left[-1]),
        limit=_largest(lambda c: losses(chosen[0] * c, chosen[1] * c), runs),
        best_a=float(best[0]),
        best_b=float(best[1]),
        best_loss=float(path[-1]),
        rule_loss=float(own[0, -1]),
        single=float(alone),
        single_loss=float(singles[one, 0, -1]),
        single_limit=float(alone) * _largest(lambda c: losses(alone * c, alone * c), runs),
        slowdown=slowdown,
        slower_still=not reached,
    )


def _descent_problem(setting, X, G, curvature, seed):
    """In directions of the examples, and in the targets' of the outputs with r more for the rest of B."""
    start = draw_start(setting, G.shape[1], seed)
    n, P0 = len(X), X @ start.A.T
    kept = min(G.shape) if n <= _DIRECTIONS else min(setting.rank + 8, *G.shape)
    left, values, right = leading_singular(-n / curvature * G.T, kept)
    total = n**2 / curvature**2 * (G**2).sum()
    if n > _DIRECTIONS:
        known = np.concatenate([P0, right.T], axis=1)
        turn = np.linalg.qr(np.concatenate([known, X @ (X.T @ known)], axis=1))[0][:, :_DIRECTIONS]
        X, P0, right = turn.T @ X, turn.T @ P0, right @ turn
    target, Q0 = values[:, None] * right, left.T @ start.B
    if setting.random == "b" and G.shape[1] > len(Q0):
        rest = np.linalg.qr(start.B - left @ Q0, mode="r")
        target, Q0 = np.pad(target, ((0, len(rest)), (0, 0))), np.concatenate([Q0, rest])
    arrays = X @ X.T, np.eye(len(target)), target, P0.T, Q0
    # The engine divides by the number of its columns.
    rate = curvature * len(X) / n
    part = float((target**2).sum() / total)
    scope = len(X), setting.width, G.shape[1]
    return _Problem(tuple(map(jnp.asarray, arrays)), rate, rate, scope, part)


def _adam_problem(setting, X, G, curvature, seed):
    draw, n, rank = np.random.default_rng(seed), setting.width, setting.rank
    rows = np.linspace(0, len(X) - 1, min(_EXAMPLES, len(X))).astype(int)
    inputs, outputs = (
        np.sort(draw.permutation(count)[: max(most, rank)])
        for count, most in ((n, _INPUTS), (G.shape[1], _OUTPUTS))
    )
    narrow = setting._replace(width=len(inputs))
    start = draw_start(narrow, len(outputs), seed)
    target = -len(X) / curvature * G[np.ix_(rows, outputs)].T
    arrays = X[np.ix_(rows, inputs)].T, np.eye(len(outputs)), target, start.A, start.B
    scope = len(rows), len(inputs), len(outputs)
    return _Problem(tuple(map(jnp.asarray, arrays)), n / len(inputs), 1.0, scope, 1.0)


@partial(jax.jit, static_argnames=("adam", "steps"))
def _paths(arrays, lr_a, lr_b, scale, *, adam, steps):
    """Losses as shares of the first, (runs, steps + 1)."""

    def share(a, b):
        rates = {"lr_a": a, "lr_b": b, "scale": scale, "steps": steps}
        if adam:
            X, readout, Y, A, B = arrays
            # Both factors are given: with B0 A0 = 0 the targets stay what they are.
            both: dict[str, Any] = {"rank": len(A), "init": "both", "A0": A, "B0": B, "optimizer": "adam"}
            loss = dense_adapter_training(jax.random.key(0), X, readout, Y, **both, **rates).loss
        else:
            loss = adapter_dynamics(*arrays, **rates).loss
        return loss / loss[0]

    return jax.vmap(share)(lr_a, lr_b)


def _trains(curves):
    """Whether a run is below its start on average over its second half: its end may be there by chance."""
    return curves[..., curves.shape[-1] // 2 :].mean(axis=-1) <= curves[..., 0]


def _best(grid, allowed):
    """Place of the least mean loss among the allowed runs that still train at twice the rates, or of all."""
    trains = _trains(grid)
    safe = trains & allowed
    safe[:-_DOUBLE] &= trains[_DOUBLE:]
    safe[-_DOUBLE:] = False
    mean = np.where(safe if safe.any() else trains, grid.mean(axis=-1), np.inf)
    return np.unravel_index(mean.argmin(), mean.shape)


def _largest(losses, runs):
    """The factor of the rates up to which all train: first coarsely, then between two."""
    low, high = 2.0**-12, 2.0**12
    for _ in range(2):
        factors = np.geomspace(low, high, runs)
        trains = _trains(losses(factors))
        if trains.all():
            return np.inf
        first = max(int((~trains).argmax()), 1)
        low, high = factors[first - 1], factors[first]
    return float(low)


def _slowdown(pair, single):
    """Steps of the single rate for each of the pair, and whether it got there at all."""
    there = single <= 1 - _DONE * (1 - pair[-1]), pair <= 1 - _DONE * (1 - pair[-1])
    reached = bool(there[0].any())
    steps = int(there[0].argmax()) if reached else len(single) - 1
    return max(steps, 1) / max(int(there[1].argmax()), 1), reached
