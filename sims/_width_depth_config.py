"""The settings of the sim on width and depth, and the inputs that it takes from real data."""

import dataclasses
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from theorysim.data import digits
from theorysim.numerics.validation import positive_int

# Correlation of the two inputs of every experiment on pairs; their norms are |a|^2 = |b|^2 = d.
CORRELATION = 0.2
# Layers without branch scales, whose covariances grow like 1.5^L: at 1750 they leave the range of float64.
_DEEPEST = 1600


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the sim on width and depth."""

    seed: int = 0
    """Seed of every random number."""
    sizes: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Widths n and depths L of the grid on which the limits are compared."""
    networks: int = 500
    """Random networks per point of the grid, of the paths and of the schedules."""
    wide: int = 1024
    """Width of the networks that are followed along their depth."""
    square_sizes: tuple[int, ...] = (16, 64, 256)
    """Widths of the networks as deep as wide, whose neurons are tested for normality."""
    square_networks: int = 4000
    """How many of them; three in twenty where the spread of their norms is all that counts."""
    dense_widths: tuple[int, ...] = (16, 64)
    """Widths of the Flax networks."""
    dense_depth: int = 16
    """Depth of the Flax networks."""
    dense_networks: int = 600
    """Flax networks, and as many from the samplers."""
    digit_widths: tuple[int, ...] = (64, 256, 1024)
    """Widths of the finite networks whose kernels classify digits."""
    digit_networks: int = 16
    """How many of them."""
    digit_samples: int = 150
    """Digits that they see: two thirds to learn from, the others to classify."""

    def validate(self) -> None:
        """Refuse settings that no experiment could run."""
        for name, least in (
            ("networks", 50),
            ("wide", 16),
            ("square_networks", 400),
            ("dense_depth", 1),
            ("dense_networks", 50),
            ("digit_networks", 4),
        ):
            positive_int(getattr(self, name), name, minimum=least)
        positive_int(self.digit_samples, "digit_samples", minimum=30, maximum=1000)
        for name, least, count in (
            ("sizes", 4, 3),
            ("square_sizes", 4, 2),
            ("dense_widths", 2, 2),
            ("digit_widths", 4, 2),
        ):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or len(values) < count or values[0] < least:
                raise ValueError(
                    f"{name} must be at least {count} increasing integers >= {least}, got {values}"
                )
        if self.square_sizes[-1] > _DEEPEST:
            raise ValueError(
                f"square_sizes must be at most {_DEEPEST}, as without branch scales covariances overflow, "
                f"got {self.square_sizes}"
            )


class Split(NamedTuple):
    """Digits of norm |x|^2 = d = 64 to learn from and to classify, with their labels 0 to 9."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@lru_cache
def digit_split(train: int, test: int) -> Split:
    """The first `train` and the next `test` digits of one random order."""
    data = digits()
    order = np.random.default_rng(0).permutation(len(data.y))[: train + test]
    x = data.x[order]
    x = x * np.sqrt(x.shape[1] / (x**2).sum(1, keepdims=True))
    y = data.y[order]
    return Split(x[:train], y[:train], x[train:], y[train:])
