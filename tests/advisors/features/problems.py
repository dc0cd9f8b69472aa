"""Features whose regime is known by construction, all of one size, so that few programs are compiled."""

from typing import Any, NamedTuple

import numpy as np

N, P, C, HELD = 600, 12, 3, 300
READOUT = np.eye(C, P)


class Case(NamedTuple):
    """Features, labels, a readout, and held-out features with their labels."""

    x: np.ndarray
    y: np.ndarray
    readout: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray

    @property
    def held(self) -> dict[str, Any]:
        return {"test_features": self.test_x, "test_labels": self.test_y}


def collapsed(signal=15.0, seed=0, *, shortcut=False) -> Case:
    """Classes far apart, which the readout reads; with a shortcut held-out labels have nothing of it."""
    draw = np.random.default_rng(seed)
    y, test_y = np.arange(N) % C, np.arange(HELD) % C
    x = draw.normal(size=(N, P)) + signal * np.eye(C, P)[y]
    shown = draw.permutation(test_y) if shortcut else test_y
    return Case(x, y, READOUT, draw.normal(size=(HELD, P)) + signal * np.eye(C, P)[shown], test_y)


def spread(seed=0) -> Case:
    """Features of falling size; classes and readout depend on all of them alike."""
    draw = np.random.default_rng(seed)
    scale = 0.8 ** np.arange(P)
    weights = draw.normal(size=(C, P)) / scale
    x, test_x = (draw.normal(size=(n, P)) * scale for n in (N, HELD))
    return Case(x, (x @ weights.T).argmax(1), weights, test_x, (test_x @ weights.T).argmax(1))


def noise(seed=0) -> Case:
    """Features as of `spread`, and labels that know nothing of them."""
    draw = np.random.default_rng(seed + 100)
    case = spread(seed)
    return case._replace(y=draw.permutation(np.arange(N) % C), test_y=draw.permutation(np.arange(HELD) % C))


def with_spectrum(values, n, seed=0):
    """Centred features (n, len(values)) whose eigenvalues are exactly these."""
    draw = np.random.default_rng(seed).normal(size=(n, len(values)))
    basis = np.linalg.qr(draw - draw.mean(0))[0]
    return basis * np.sqrt(n * np.asarray(values))
