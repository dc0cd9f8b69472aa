"""What a generation is trained on: the six ways of recursive training, as one small value.

A chain of language models starts from the truth `p^(0) = p`. Model m is the empirical law of its training
set, and the scenario says where that set comes from (Seddik et al. 2024, section 3, and the extensions in
docs/model_collapse.md):

| kind          | generation m is trained on                                                                |
|---------------|-------------------------------------------------------------------------------------------|
| `replace`     | n draws from model m-1 ("fully synthetic")                                                |
| `mixed`       | the same N real draws every time and n draws from model m-1 ("partially synthetic")       |
| `accumulate`  | N real draws and all batches of n draws from models 1..m-1, each generated once           |
| `window`      | floor(n/K) draws from each of the last K models                                           |
| `random_pool` | n draws, each from a model chosen uniformly among 0..m-1                                  |
| `fresh_real`  | N new real draws (weight 1-a) and n draws from model m-1 (weight a)                       |

Example:
    >>> Scenario("mixed", n=10, N=100).synthetic_weight
    0.09090909090909091
"""

import dataclasses
from typing import Any, Literal

import jax
import numpy as np

from theorysim.numerics.validation import choice, is_traced, positive_int, real

__all__ = ["KINDS", "Kind", "Scenario"]

Kind = Literal["replace", "mixed", "accumulate", "window", "random_pool", "fresh_real"]
KINDS: tuple[Kind, ...] = ("replace", "mixed", "accumulate", "window", "random_pool", "fresh_real")
_NEEDS_REAL_DATA = ("mixed", "accumulate", "fresh_real")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One way of recursive training.

    The sizes n and N and the weight a are numbers that may be traced (the closed forms are smooth in them,
    and accept non-integers); the kind, the window K and `resample` are static structure. Simulation needs
    whole numbers. It is a pytree: it passes through `jit`, `vmap` and `grad`. Arrays of sizes are for `vmap`
    to take apart; the functions themselves want scalars.

    Attributes:
        kind: one of `KINDS`.
        n: synthetic draws per generation, >= 1.
        N: real draws, >= 1; needed by `mixed`, `accumulate` and `fresh_real`, unused (0) otherwise.
        K: number of past models in the window, >= 1; used by `window` only. Needs K <= n.
        a: weight of the synthetic data in [0, 1], used by `fresh_real` only; n / (N + n) when None.
        resample: `window` only. "pooled": a model's samples are drawn once and reused by the K models that
            see them; "fresh": new draws each time.

    Raises:
        ValueError: a value outside these ranges.
    """

    kind: Kind
    n: Any
    _: dataclasses.KW_ONLY
    N: Any = 0
    K: int = 1
    a: Any = None
    resample: Literal["pooled", "fresh"] = "pooled"

    def __post_init__(self) -> None:
        choice(self.kind, "kind", KINDS)
        choice(self.resample, "resample", ("pooled", "fresh"))
        real(self.n, "n", low=1, high=2**31 - 1)
        if self.kind in _NEEDS_REAL_DATA:
            real(self.N, "N", low=1, high=2**31 - 1)
        elif not is_traced(self.N) and np.any(np.asarray(self.N) != 0):
            raise ValueError(f"N must be 0 for kind={self.kind!r}, which uses no real draws, got {self.N!r}")
        if self.kind == "window":
            positive_int(self.K, "K")
            if not is_traced(self.n) and np.any(np.asarray(self.n) < self.K):
                raise ValueError(f"K must be an integer in [1, n = {self.n}], got {self.K}")
        elif self.K != 1:
            raise ValueError(f"K must be 1 for kind={self.kind!r}, which has no window, got {self.K!r}")
        if self.a is not None:
            if self.kind != "fresh_real":
                raise ValueError(f"a must be None for kind={self.kind!r}, got {self.a!r}")
            real(self.a, "a", low=0, high=1)

    @property
    def synthetic_weight(self) -> Any:
        """Weight of the synthetic data in one training set: `a` where given, else n / (N + n)."""
        return self.n / (self.N + self.n) if self.a is None else self.a


def _flatten(scenario: Scenario) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return (scenario.n, scenario.N, scenario.a), (scenario.kind, scenario.K, scenario.resample)


def _unflatten(static: tuple[Any, ...], numbers: tuple[Any, ...]) -> Scenario:
    # JAX rebuilds pytrees around placeholders, which must not be validated: bypass __init__.
    scenario = object.__new__(Scenario)
    names = ("n", "N", "a", "kind", "K", "resample")
    for name, value in zip(names, (*numbers, *static), strict=True):
        object.__setattr__(scenario, name, value)
    return scenario


jax.tree_util.register_pytree_node(Scenario, _flatten, _unflatten)
