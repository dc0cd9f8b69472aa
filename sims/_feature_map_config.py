"""The settings of the sim on the forward feature map, its data, and the runs that it compares."""

import dataclasses
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from theorysim.data import digits, mnist
from theorysim.numerics.validation import choice, positive_int


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the sim on the forward feature map."""

    seed: int = 0
    """Seed of every random number."""
    dataset: str = "digits"
    """What the networks learn: "digits" (8 x 8, 1,437 that train) or "mnist" (28 x 28, 8,000)."""
    width: int = 128
    """Units of each hidden layer; features of the last."""
    networks: int = 3
    """Networks of each setting."""
    epochs: int = 20
    """Passes over the data."""
    batch: int = 64
    """Examples of each step."""
    grid_records: int = 400
    """Examples that train over the grid of rates, output scales and widths."""
    grid_epochs: int = 40
    """Passes over them."""
    grid_scales: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    """Output scales of the grid."""
    grid_rates: tuple[float, ...] = (0.003, 0.03, 0.1)
    """Learning rates of the grid, in units of min(1/scale, 1/scale^2)."""
    grid_widths: tuple[int, ...] = (32, 128)
    """Units of each of the two hidden layers over the grid."""
    architectures: tuple[str, ...] = ("mlp 1", "mlp 3", "cnn")
    """Other networks: so many hidden layers, or convolutions with 16 and 32 channels."""
    image_records: int = 2000
    """Images of MNIST that train, 28 x 28."""
    image_epochs: int = 8
    """Passes over them."""
    regression_epochs: int = 80
    """Passes over the regression targets."""
    decay_steps: int = 3000
    """Steps of the networks with weight decay on their features."""
    draws: int = 200
    """Draws of random features, of noise, and of spiked features."""

    def validate(self) -> None:
        """Refuse settings that no experiment could run."""
        choice(self.dataset, "dataset", ("digits", "mnist"))
        for name in self.architectures:
            choice(name, "architectures", ("mlp 1", "mlp 2", "mlp 3", "mlp 4", "cnn"))
        for name, least, most in (
            ("width", 16, 10**4),
            ("networks", 2, 1000),
            ("epochs", 2, 1000),
            ("batch", 8, 400),
            ("grid_records", 100, 1437),
            ("grid_epochs", 1, 1000),
            ("image_records", 200, 8000),
            ("image_epochs", 1, 1000),
            ("regression_epochs", 1, 1000),
            ("decay_steps", 10, 10**6),
            ("draws", 20, 10**6),
        ):
            positive_int(getattr(self, name), name, minimum=least, maximum=most)
        for name in ("grid_scales", "grid_rates", "grid_widths"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or not values or values[0] <= 0:
                raise ValueError(f"{name} must be increasing and > 0, got {values}")
        if not self.architectures:
            raise ValueError("architectures must name at least one network, got none")


class Split(NamedTuple):
    """Inputs and labels that train, others that test, and those that train as images in [0, 1]."""

    x: Any
    y: Any
    test_x: Any
    test_y: Any
    images: Any = None


class Setting(NamedTuple):
    """How a network is trained, and the regime that is expected: "minimal", "extended" or "".

    The learning rate and the output scale; the share of labels drawn anew; the size of the inputs that give
    the label away in training.
    """

    name: str
    learning_rate: float
    output_scale: float
    label_noise: float = 0.0
    shortcut: float = 0.0
    regime: str = ""


SETTINGS = (
    Setting("rich", 0.1, 0.1, regime="minimal"),
    Setting("richer", 1.0, 0.03, regime="minimal"),
    Setting("standard", 0.1, 1.0),
    Setting("half lazy", 3e-4, 30.0, regime="extended"),
    Setting("lazy", 3e-5, 100.0, regime="extended"),
    Setting("40 % random labels", 0.1, 0.1, label_noise=0.4),
    Setting("random labels", 0.03, 1.0, label_noise=1.0, regime="extended"),
    Setting("weak shortcut", 0.1, 0.1, shortcut=6.0),
    Setting("shortcut", 0.1, 0.1, shortcut=20.0),
)
IMAGE_SETTINGS = (
    Setting("rich", 0.3, 0.1, regime="minimal"),
    Setting("lazy", 3e-5, 100.0, regime="extended"),
    Setting("40 % random labels", 0.3, 0.03, label_noise=0.4),
)


@lru_cache
def split(dataset: str, records: int | None = None) -> Split:
    """Four fifths of the data in a random order, or the first so many of them, and the last fifth as a test.

    The mean of the inputs that train is taken off, and all are divided by one number, which leaves them with
    variance 1 over examples and pixels.
    """
    data = digits() if dataset == "digits" else mnist()
    order = np.random.default_rng(0).permutation(len(data.y))
    x, y = data.x[order].astype(np.float32), data.y[order].astype(np.int32)
    count = 4 * len(y) // 5
    train = x[:records] if records and records < count else x[:count]
    mean = train.mean(0)
    scale = (train - mean).std()
    return Split((train - mean) / scale, y[: len(train)], (x[count:] - mean) / scale, y[count:], train)


@lru_cache
def regression() -> Split:
    """Three smooth targets of the digits, of mean 0 and variance 1: a product, a saturated one, a square."""
    data = split("digits")
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(data.x.shape[1], 5)) / np.sqrt(data.x.shape[1])
    spread = (data.x @ directions).std(0)

    def targets(x):
        a, b, c, d, e = (x @ directions / spread).T
        return np.stack([a * b, np.tanh(c) * d, e**2], axis=1)

    raw = targets(data.x)
    center, scale = raw.mean(0), raw.std(0)
    train, test = ((targets(x) - center) / scale for x in (data.x, data.test_x))
    return Split(data.x, train.astype(np.float32), data.test_x, test.astype(np.float32))


class Decay(NamedTuple):
    """How a regression network is trained: learning rate, output scale, weight decay, and the regime."""

    name: str
    learning_rate: float
    output_scale: float
    weight_decay: float
    regime: str = ""


DECAYS = (
    Decay("rich, weight decay", 0.15, 0.1, 3e-3, "minimal"),
    Decay("rich", 0.15, 0.1, 0.0, "extended"),
    Decay("lazy", 1e-6, 100.0, 0.0, "extended"),
)

# Weight decay sqrt(ab) in units of the threshold at which all features vanish.
LEVELS = (0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 1.1)
# Examples of three classes, and a/b, there.
COUNTS = {"balanced": (12, 12, 12), "unbalanced": (24, 9, 3)}
RATIO = 4.0
