"""The settings of the sim on the starts of low-rank adapters, and the problems that they are tried on."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorysim.lora_init import AdapterStart, sample_start
from theorysim.numerics.validation import positive_int

__all__ = [
    "EXAMPLES",
    "INITS",
    "OUTPUTS",
    "RANK",
    "READOUTS",
    "REGIMES",
    "STARTS",
    "TOY_READOUTS",
    "Config",
    "Problem",
    "Readout",
    "Regime",
    "draw_problem",
    "scaled",
]

# The example of gradient descent: K_in = n I over so many examples, as many outputs, targets of rank 1.
EXAMPLES = OUTPUTS = 16
RANK = 2
INITS = ("a", "b")


class Readout(NamedTuple):
    """How the outputs of a layer of width n add up: powers of n under Adam.

    Attributes:
        gain: of the sum of |w_i| over the readout.
        q0: of W_out B at the start, B random.
    """

    gain: float
    q0: float


READOUTS = {"per coordinate": Readout(0, 0), "ntk": Readout(0.5, 0), "mean_field": Readout(0, -0.5)}
# Those of the networks.
TOY_READOUTS = ("ntk", "mean_field")


class Regime(NamedTuple):
    """A line of the table of exponents.

    Attributes:
        optimizer: "adam" or "sgd".
        init: which factor is random.
        lr_a: power of the width in the rate of A.
        lr_b: in that of B.
    """

    optimizer: str
    init: str
    lr_a: float
    lr_b: float


REGIMES = (
    Regime("adam", "a", -0.5, -0.5),
    Regime("adam", "a", -1, -1),
    Regime("adam", "b", -1, -1),
    Regime("adam", "a", -1, 0),
    Regime("adam", "b", -1, 0),
    Regime("sgd", "a", -0.5, -0.5),
    Regime("sgd", "b", -1, -1),
    Regime("sgd", "a", -1, 0),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the sim on the starts of low-rank adapters."""

    seed: int = 0
    """Seed of every random number."""
    powers: tuple[int, ...] = (8, 13, 18, 24, 30)
    """Widths n of the exact engine, as powers of 2."""
    problems: int = 6
    """Random problems and starts at every width of the engine."""
    rates_per_octave: int = 2
    """Points of every grid of rates, for each factor of 2."""
    steps: int = 30
    """Steps of gradient descent in the example."""
    time_widths: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    """Widths at which steps to a tenth of the loss are counted."""
    floor_draws: int = 4000
    """Random starts whose floors are drawn."""
    student_widths: tuple[int, ...] = (128, 2048)
    """Widths of the students that are trained by Adam, weights and all."""
    student_problems: int = 16
    """Teachers of the students of either optimizer, at each width."""
    student_steps: int = 100
    """Steps of the students."""
    toy_widths: tuple[int, ...] = (128, 2048)
    """Widths of the networks, each 4 or 16 times the one before."""
    toy_seeds: int = 6
    """Networks of each width."""
    toy_times: tuple[int, ...] = (20,)
    """Steps after which their losses are compared: multiples of the first, and that of 10."""

    def validate(self) -> None:
        """Refuse settings that no experiment could run."""
        for name, least, most in (
            ("problems", 3, 10**4),
            ("rates_per_octave", 1, 32),
            ("steps", 10, 10**4),
            ("floor_draws", 100, 10**7),
            ("student_problems", 3, 10**4),
            ("student_steps", 10, 10**5),
            ("toy_seeds", 2, 10**4),
        ):
            positive_int(getattr(self, name), name, minimum=least, maximum=most)
        first = self.toy_times[0] if self.toy_times else 0
        if first < 10 or first % 10 or any(time % first for time in self.toy_times):
            raise ValueError(
                f"toy_times must be multiples of the first, and that of 10, got {self.toy_times}"
            )
        for name, most in (
            ("powers", 60),
            ("time_widths", 2**20),
            ("student_widths", 2**20),
            ("toy_widths", 2**20),
        ):
            values = getattr(self, name)
            increasing = list(values) == sorted(set(values)) and len(values) >= 2
            if not increasing or values[0] < 4 or values[-1] > most:
                raise ValueError(
                    f"{name} must be at least 2 increasing integers in [4, {most}], got {values}"
                )
        # Powers of 4 leave every rate n^(-3/4), n^(-1), n^(-1/2) on the grid of half octaves.
        if any(b not in (4 * a, 16 * a) for a, b in itertools.pairwise(self.toy_widths)):
            raise ValueError(f"toy_widths must each be 4 or 16 times the one before, got {self.toy_widths}")


class Problem(NamedTuple):
    """A start and its targets.

    Attributes:
        P0: (r, N).
        Q0: (k, r).
        Y: with what the base takes over from a start that has an output, (k, N).
    """

    P0: Any
    Q0: Any
    Y: Any


Start = Callable[[jax.Array, int], AdapterStart]


def _gaussian(init, power=None) -> Start:
    """Both factors by their law; with a power of n, A has that for its variance, else 1/n."""

    def draw(key, width):
        variance = 1 / width if power is None else float(width) ** power
        # n I without n: the same draw at every width, in units of the standard deviation.
        eye = jnp.eye(EXAMPLES)
        return sample_start(key, eye, jnp.eye(OUTPUTS), rank=RANK, init=init, var_a=variance * width)

    return draw


# Start of each name, of a key and a width. All are drawn before they are trained, and train alike.
STARTS: dict[str, Start] = {
    "a": _gaussian("a"),
    "b": _gaussian("b"),
    "both": _gaussian("both"),
    "scaled_a": _gaussian("a", -0.5),
}


def draw_problem(key: jax.Array, width: int, start: str) -> Problem:
    """A start at a width with targets u v' of rank 1 and entries of order 1: |u|^2 = k, |v|^2 = N."""
    at, left, right = jax.random.split(key, 3)
    begin = STARTS[start](at, width)
    u, v = jax.random.normal(left, (OUTPUTS,)), jax.random.normal(right, (EXAMPLES,))
    Y = scaled(u)[:, None] * scaled(v)[None]
    return Problem(begin.P0, begin.Q0, Y + begin.Q0 @ begin.P0)


def scaled(vector: jax.Array) -> jax.Array:
    """A vector of root mean square 1 along it."""
    return vector / jnp.sqrt((vector**2).mean())
