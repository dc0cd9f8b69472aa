"""LoRA+ on real networks and real text: the claims and the pictures of what is run where it is asked for."""

import numpy as np

from theorysim.lab.figures import PALETTE, measured_points, new_figure
from theorysim.numerics import stats

from ._beside import Claims
from ._lora_text_judged import accuracy_figure, accuracy_gain, best_rate, speed_gain

__all__ = ["RATIO", "TEXT_CLAIMS", "TEXT_FIGURES"]

# The ratio that the paper recommends with Adam.
RATIO = 16.0

TEXT_CLAIMS = Claims()
claim = TEXT_CLAIMS.claim


def _with_and_without(data):
    """The runs with the recommended ratio and with one rate, each at its best rate."""
    runs = data["fine_tune"].isel(init=0)
    return best_rate(runs.sel(ratio=RATIO)), best_rate(runs.sel(ratio=1.0))


@claim(
    "C4",
    "A pretrained sentence encoder, fine-tuned on sentiment with a ratio of 16, ends at least 1 % more "
    "accurate than with one rate, each at its best rate.",
    expected="undecided",
)
def more_accurate(data, cfg):
    gain = accuracy_gain(*_with_and_without(data))
    return stats.bounded(gain.mean, gain.standard_error, lower=0.01)


@claim(
    "C4-speed",
    "It gets in fewer steps to where one rate ends (the logarithm of base 2 of the factor is positive).",
    expected="undecided",
)
def faster(data, cfg):
    gain = speed_gain(*_with_and_without(data))
    return stats.bounded(gain.mean, gain.standard_error, lower=0, degrees_of_freedom=cfg.text_seeds - 1)


@claim(
    "C4-transformer",
    "A small transformer that has learnt Shakespeare learns prose better with a ratio of 16 than with one "
    "rate, from B = 0, each at its best rate.",
    expected="undecided",
)
def better_transformer(data, cfg):
    runs = data["small_transformer"].test_loss.isel(record=-1).sel(init="a")
    new, old = (
        one.sel(geometric_rate=one.mean("seed").idxmin("geometric_rate")).values
        for one in (runs.sel(ratio=RATIO), runs.sel(ratio=1.0))
    )
    gain = stats.mean_and_error(old - new)
    return stats.bounded(gain.mean, gain.standard_error, lower=0, degrees_of_freedom=cfg.text_seeds - 1)


def sentiment(data, cfg):
    """A pretrained sentence encoder, fine-tuned on sentiment at several ratios of the two rates.

    Query and value of the two top layers of MiniLM, B = 0, rank 8, 150 steps of Adam: accuracy and loss on
    film-review sentences set aside, means over the seeds with 95 % bars.
    """
    runs = data["fine_tune"].isel(init=0)
    return accuracy_figure(runs, "ratio", {ratio: f"ratio {ratio:g}" for ratio in runs.ratio.values})


def from_shakespeare_to_prose(data, cfg):
    """A small transformer that has learnt Shakespeare learns prose by adapters on query and value.

    Loss on prose set aside against the geometric mean of the two rates, one rate and a ratio of 16, for
    either start; means over the seeds with 95 % bars.
    """
    runs = data["small_transformer"].test_loss.isel(record=-1)
    drawing, axes = new_figure(cols=2, sharey=True)
    for ax, init, title in zip(axes, ("a", "b"), ("Init[A]: B = 0", "Init[B]: A = 0"), strict=True):
        for i, ratio in enumerate(runs.ratio.values):
            values = runs.sel(init=init, ratio=ratio).transpose("seed", "geometric_rate").values
            error = values.std(0, ddof=1) / np.sqrt(len(values))
            label = f"ratio {ratio:g}"
            measured_points(
                ax, runs.geometric_rate, values.mean(0), error, label=label, color=PALETTE[i], fmt="o-"
            )
        ax.set(xscale="log", xlabel=r"rate $\sqrt{\eta_A \eta_B}$", title=title)
    axes[0].set_ylabel("test loss (nats per character)")
    axes[0].legend()
    return drawing


TEXT_FIGURES = (sentiment, from_shakespeare_to_prose)
