"""The settings of the sim on real plus synthetic data, and the real features that they choose."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from theorysim.data import (
    binary_task,
    digits,
    labelled_file,
    minilm_folder,
    mnist,
    movie_reviews,
    review_labels,
    standardized,
    tokenize,
)
from theorysim.networks.sentence_encoder import embed_in_batches, load_encoder
from theorysim.numerics.validation import positive_int


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the sim on real plus synthetic data."""

    seed: int = 0
    """Seed of every random number."""
    dim: int = 100
    """Dimension p of the phase transition, the peak and the exchange rate."""
    draws: int = 1000
    """Training sets per point of those."""
    limit_dims: tuple[int, ...] = (25, 50, 100)
    """Dimensions p over which the approach to the limit is followed."""
    limit_draws: int = 40_000
    """Training sets per dimension."""
    real: int = 120
    """Real samples n of the comparisons at the paper's ratios p/n = 0.05, 0.2, 0.5 (there: n = 1000)."""
    ratio_draws: int = 60
    """Training sets per point of those."""
    network_seeds: int = 24
    """ReLU networks per noise level."""
    splits: int = 20
    """Splits of the real data in training and test part, each with synthetic data of its own."""
    mnist_seeds: int = 8
    """Networks on MNIST per setting."""
    mnist_steps: int = 200
    """Steps of each, at a rate of 15 / steps (paper: 3000 at 0.005)."""
    mnist_synthetic: int = 200
    """Synthetic samples per class before pruning, beside 50 real ones (paper: 750)."""
    mnist_side: int = 14
    """Pixels a side of those images: 28, or 14 with each the mean of four."""
    data: str = ""
    """An .npz file with features x (k, p) and labels y of two classes, to use beside the bundled data."""

    def validate(self) -> None:
        """Refuse settings that no experiment could run."""
        for name, least in (
            ("dim", 20),
            ("draws", 50),
            ("limit_draws", 100),
            ("real", 40),
            ("ratio_draws", 8),
            ("network_seeds", 3),
            ("splits", 3),
            ("mnist_seeds", 3),
            ("mnist_steps", 10),
            ("mnist_synthetic", 1),
        ):
            positive_int(getattr(self, name), name, minimum=least)
        dims = self.limit_dims
        if len(dims) < 2 or list(dims) != sorted(set(dims)) or dims[0] < 10:
            raise ValueError(f"limit_dims must be at least 2 increasing integers >= 10, got {dims}")
        if self.mnist_side not in (14, 28):
            raise ValueError(f"mnist_side must be 14 or 28, got {self.mnist_side}")
        if self.data:
            try:
                k = len(own_task(self.data).y)
            except ValueError as error:
                raise ValueError(str(error).replace("path", "data", 1)) from None
            if k < 300:
                raise ValueError(f"data must hold at least 300 samples of two classes, got {k}")


class Task(NamedTuple):
    """A two-class problem on real features: standardised x (k, p), labels +-1 (k,), and n to train on."""

    x: Float64[np.ndarray, "k p"]
    y: Float64[np.ndarray, " k"]
    n: int


def own_task(path: str) -> Task:
    data = labelled_file(path)
    classes = np.unique(data.y)
    if len(classes) != 2:
        raise ValueError(f"data must hold two classes, got {len(classes)} in {path!r}")
    return _task(binary_task(data, int(classes[1]), int(classes[0])), n=len(data.y) // 5)


def tasks(cfg: Config) -> dict[str, Task]:
    """Every two-class problem that this machine has data for, by the name it has in tables and legends."""
    found = {
        "digits: odd or even": _task(binary_task(digits(), (1, 3, 5, 7, 9), (0, 2, 4, 6, 8)), n=100),
        "MNIST: 3 or 5": _task(binary_task(_halved(mnist()), 3, 5), n=250),
    }
    try:
        found["reviews: good or bad"] = _embedded_reviews(minilm_folder())
    except (FileNotFoundError, ImportError):
        pass  # optional: the extra `text`, and what `theorysim data get minilm` fetches
    if cfg.data:
        found["your data"] = own_task(cfg.data)
    return found


def digits_by_class(side: int) -> Float32[np.ndarray, "10 k p"]:
    """MNIST in ten classes of equal size, of side 14 or 28, with mean 0 and variance 1 over all pixels."""
    data = _halved(mnist()) if side == 14 else mnist()
    x = ((data.x - data.x.mean()) / data.x.std()).astype(np.float32)
    # The two halves of the file differ in difficulty.
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], data.y[order]
    size = np.bincount(y).min()
    return np.stack([x[y == digit][:size] for digit in range(10)])


def _task(data, n: int) -> Task:
    return Task(standardized(data.x), data.y.astype(np.float64), n)


def _halved(images):
    """MNIST at 14 x 14, each pixel the mean of four: 784 features would be as many as there are samples."""
    x = images.x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return images._replace(x=x.reshape(len(x), -1))


def _embedded_reviews(folder, every: int = 8) -> Task:
    """Sentence embeddings of every eighth review; all ten thousand would take a minute."""
    labelled = review_labels(movie_reviews())
    tokens = tokenize(labelled.sentences[::every], folder)
    x = np.asarray(embed_in_batches(load_encoder(folder), tokens.ids, tokens.mask), np.float64)
    return Task(standardized(x), labelled.y[::every].astype(np.float64), n=400)
