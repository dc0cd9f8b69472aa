"""The settings of the sim on leave-one-out distinguishability, and its records."""

import dataclasses
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from theorysim.data import binary_task, digits, mnist
from theorysim.numerics.validation import choice, positive_int

# Noise variance of the exact-posterior networks, and of the queries.
NOISE = 0.1
QUERY_NOISE = 0.01
# Activations on the edge of chaos, with the variance of their biases there.
EDGES = {"relu": 0.0, "gelu": 0.1, "erf": 0.2}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the sim on leave-one-out distinguishability."""

    seed: int = 0
    """Seed of every random number."""
    dataset: str = "digits"
    """Where the records come from: "digits" (8 x 8, odd or even) or "mnist" (28 x 28, 4 or 9)."""
    records: int = 150
    """Records of the exact-posterior networks and of the queries."""
    flipped: int = 8
    """Wrong labels planted among them."""
    widths: tuple[int, ...] = (32, 128, 512, 2048)
    """Widths of the exact-posterior networks."""
    networks: int = 600
    """Exact-posterior networks of each width; half of them are seen with a record, half without."""
    trained_records: int = 60
    """Records of the networks trained by gradients; one in ten has a wrong label."""
    trained_left_out: int = 24
    """How many of them are left out, one at a time; all wrong ones among them."""
    trained_width: int = 128
    """Width of these networks."""
    trained_seeds: int = 64
    """Networks trained without each record; four times as many with all."""
    targets: int = 16
    """Records, and pairs of records, that are reconstructed."""
    starts: int = 4
    """Starts of each search."""
    problems: int = 30
    """Random problems on which queries of gradient-trained ensembles are searched."""
    study_records: int = 300
    """Records of the study of activations and depths."""
    depths: tuple[int, ...] = (1, 5, 10, 20, 50)
    """Its depths."""

    def validate(self) -> None:
        """Refuse settings that no experiment could run."""
        choice(self.dataset, "dataset", ("digits", "mnist"))
        for name, least, most in (
            ("records", 20, 1500),
            ("networks", 40, 10**6),
            ("trained_records", 20, 1500),
            ("trained_width", 8, 10**5),
            ("trained_seeds", 8, 10**5),
            ("starts", 1, 100),
            ("problems", 5, 10**4),
            ("study_records", 40, 1700),
        ):
            positive_int(getattr(self, name), name, minimum=least, maximum=most)
        positive_int(self.targets, "targets", minimum=4, maximum=self.records // 2)
        positive_int(self.flipped, "flipped", minimum=2, maximum=self.records // 4)
        positive_int(self.trained_left_out, "trained_left_out", minimum=6, maximum=self.trained_records)
        for name in ("widths", "depths"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or len(values) < 2 or values[0] < 1:
                raise ValueError(f"{name} must be at least 2 increasing integers >= 1, got {values}")


class Records(NamedTuple):
    """Inputs of norm 1, labels +-1 some of which are wrong, which ones, and the images."""

    x: np.ndarray
    y: np.ndarray
    wrong: np.ndarray
    image: np.ndarray


@lru_cache
def records(dataset: str, count: int, flipped: int = 0, centred: bool = False) -> Records:
    """The first `count` records of one random order, and `flipped` wrong labels among them."""
    if dataset == "digits":
        data = digits()
        y = np.where(data.y % 2 == 0, 1, -1)
    else:
        data = binary_task(mnist(), positive=4, negative=9)
        y = data.y
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))[:count]
    image, y = data.x[order], y[order].astype(float)
    x = image - image.mean(0) if centred else image
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    wrong = np.sort(rng.permutation(count)[:flipped])
    y[wrong] *= -1
    return Records(x, y, wrong, image)


class Plane(NamedTuple):
    """Records in the plane, their labels, and the one that is looked at."""

    X: np.ndarray
    y: np.ndarray
    record: int


def plane_problem() -> Plane:
    """Twelve random records; the one that is looked at lies near others."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(12, 2))
    y = np.where(rng.random(12) < 0.5, 1.0, -1.0)
    return Plane(X, y, int(np.argmin((X**2).sum(1))))
