"""The settings of the sim on two learning rates for low-rank adapters, and its small problems."""

import dataclasses
from typing import NamedTuple

import numpy as np

from theorysim.numerics.validation import choice, positive_int

# The pair of scaled rates (lr_a n, lr_b n^g) at which toy networks are followed, g the gain of their output:
# under Adam, the power of n in the sum of the readout's sizes.
PAIR = (1.0, 0.25)
OUTPUT_GAIN = {"mean_field": 0.0, "ntk": 0.5}
# What counts as trained: a residual of 1 %.
EPS = 0.01


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the sim on two learning rates for low-rank adapters."""

    seed: int = 0
    """Seed of every random number."""
    widths: tuple[int, ...] = (2**7, 2**10, 2**14, 2**20, 2**25, 2**30)
    """Widths n of the exact dynamics."""
    starts: int = 32
    """Random starts of the exact dynamics at every width."""
    law_starts: int = 400
    """Starts by the exact law, and as many by drawing the weights, whose losses are compared."""
    toy_widths: tuple[int, ...] = (64, 192, 512)
    """Widths of the toy networks."""
    toy_readouts: tuple[str, ...] = ("mean_field",)
    """Their readouts: weights of size 1/n ("mean_field") or n^-1/2 ("ntk")."""
    toy_seeds: int = 8
    """Toy networks, each with data of its own, at every pair of rates."""
    toy_ratios: int = 8
    """Ratios lr_b/lr_a of the map, the powers of 4 from 1 on."""
    toy_rates: int = 6
    """Geometric means of both rates, each 2^(1/2) times the one before; the last is (2/n)^(1/2)."""
    toy_steps: int = 50
    """Steps of Adam, a multiple of 5."""
    toy_examples: int = 128
    """Examples to train on, and as many to test."""
    text_seeds: int = 0
    """Seeds of the fine-tuning of networks on text, half an hour or more; 0 leaves it out."""

    def validate(self) -> None:
        """Refuse settings that no experiment could run."""
        for name, least in (
            ("starts", 4),
            ("law_starts", 40),
            ("toy_seeds", 2),
            ("toy_ratios", 3),
            ("toy_rates", 3),
            ("toy_examples", 8),
        ):
            positive_int(getattr(self, name), name, minimum=least)
        positive_int(self.toy_steps, "toy_steps", minimum=10)
        positive_int(self.text_seeds, "text_seeds", minimum=2 if self.text_seeds else 0, maximum=100)
        if self.toy_steps % 5:
            raise ValueError(f"toy_steps must be a multiple of 5, got {self.toy_steps}")
        for name, least, count in (("widths", 16, 4), ("toy_widths", 8, 2)):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or len(values) < count or values[0] < least:
                raise ValueError(
                    f"{name} must be at least {count} increasing integers >= {least}, got {values}"
                )
        if not self.toy_readouts or len(set(self.toy_readouts)) < len(self.toy_readouts):
            raise ValueError(f"toy_readouts must be different names, got {self.toy_readouts}")
        for name in self.toy_readouts:
            choice(name, "toy_readouts", tuple(OUTPUT_GAIN))


class Problem(NamedTuple):
    """Targets Y (k, N) of mean square 1 per example, to be fitted with K_in = n I and K_out = I."""

    Y: np.ndarray

    @property
    def end_bound(self) -> float:
        """The largest sqrt(lr_a n lr_b) that is stable at the end."""
        return self.Y.shape[1] / float(np.linalg.norm(self.Y, 2))


def problem(outputs: int, examples: int, target_rank: int) -> Problem:
    """Targets of so many singular values, each 2^(-1/2) of the one before, in directions drawn at random."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(size, target_rank)))[0] for size in (outputs, examples))
    values = 2.0 ** (-0.5 * np.arange(target_rank))
    return Problem((left * values) @ right.T * (examples / (values**2).sum()) ** 0.5)
