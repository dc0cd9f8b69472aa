"""What fine-tuning an encoder on sentiment shows: gains in accuracy, gains in speed, and their picture.

The best rate of a setting is chosen on one half of the test sentences, and settings are compared on the other
half, so that a setting gains nothing by having been tried at more rates.
"""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from theorysim.lab.figures import PALETTE, measured_points, new_figure
from theorysim.numerics.stats import Estimate

__all__ = ["accuracy_figure", "accuracy_gain", "best_rate", "speed_gain"]

# Minibatches over which losses are averaged; draws of the bootstrap.
WINDOW, DRAWS = 25, 2000


def best_rate(runs: xr.Dataset) -> xr.Dataset:
    """The runs of each setting at the rate of least test loss over the sentences that choose."""
    margins = runs.margins.isel(record=-1, sentence=slice(None, None, 2))
    loss = np.logaddexp(0, -margins).mean(["seed", "sentence"])
    return runs.sel(geometric_rate=loss.fillna(np.inf).idxmin("geometric_rate"))


def accuracy_gain(new: xr.Dataset, old: xr.Dataset) -> Estimate:
    """Accuracy of one setting minus that of another, paired by seed and sentence, of those that judge."""
    right = [
        (runs.margins.isel(record=-1, sentence=slice(1, None, 2)) > 0).transpose("seed", "sentence").values
        for runs in (new, old)
    ]
    gain = right[0].astype(float) - right[1]
    rng = np.random.default_rng(0)
    seeds, sentences = gain.shape
    draws = [
        gain[rng.integers(0, seeds, seeds)][:, rng.integers(0, sentences, sentences)].mean()
        for _ in range(DRAWS)
    ]
    return Estimate(*map(np.asarray, (gain.mean(), np.std(draws), gain.size)))


def speed_gain(new: xr.Dataset, old: xr.Dataset) -> Estimate:
    """By what factor one setting needs fewer steps to where another ends, as a base-2 logarithm.

    Training losses are averaged over minibatches, which both see in the same order. Never there: no factor.
    """
    curves = [_smooth(runs.loss.transpose("seed", "step").values) for runs in (new, old)]
    steps = np.arange(WINDOW, WINDOW + curves[0].shape[1])
    found = []
    for a, b in zip(*curves, strict=True):
        there = np.flatnonzero(a <= b[-1])
        found.append(np.log2(steps[-1] / steps[there[0]]) if there.size else 0.0)
    error = np.std(found, ddof=1) / len(found) ** 0.5
    return Estimate(*map(np.asarray, (np.mean(found), error, len(found))))


def accuracy_figure(runs: xr.Dataset, dim: str, labels: dict) -> Figure:
    """Accuracy and loss on the test sentences against the rate, for every value of a dimension."""
    drawing, (left, right) = new_figure(cols=2)
    rates, seeds = runs.geometric_rate.values, runs.sizes["seed"]
    for i, (value, label) in enumerate(labels.items()):
        one = runs.sel({dim: value}).isel(record=-1)
        # Side by side, because many lie on top of each other.
        at = rates * 1.04 ** (i - (len(labels) - 1) / 2)
        for ax, name, unit in ((left, "test_accuracy", 100), (right, "test_loss", 1)):
            values = unit * one[name].transpose("seed", "geometric_rate").values
            error = values.std(0, ddof=1) / seeds**0.5
            measured_points(
                ax, at, values.mean(0), error, label=label, color=PALETTE[i % len(PALETTE)], fmt="o-"
            )
    start = runs.isel(record=0)
    left.axhline(
        100 * float(start.test_accuracy.mean()), color="0.4", linestyle="--", label="before training"
    )
    right.axhline(float(start.test_loss.mean()), color="0.4", linestyle="--")
    for ax, name in ((left, "test accuracy (%)"), (right, "test loss (nats)")):
        ax.set(xscale="log", xlabel=r"rate $\sqrt{\eta_A \eta_B}$", ylabel=name)
    left.legend()
    return drawing


def _smooth(losses):
    return np.apply_along_axis(lambda row: np.convolve(row, np.ones(WINDOW) / WINDOW, "valid"), 1, losses)
