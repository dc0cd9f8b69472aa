"""Fine-tuning on sentiment, with a small random encoder in the place of the pretrained one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from flax import nnx

from sims import _lora_text as text
from sims._lora_text_judged import accuracy_figure, accuracy_gain, best_rate, speed_gain
from theorysim.lab import LeftOut
from theorysim.networks.adapted_encoder import Sentences, encoder_top, hidden_below
from theorysim.networks.sentence_encoder import EncoderConfig, SentenceEncoder
from theorysim.sweep import sweep


@pytest.fixture(scope="module")
def runs():
    config = EncoderConfig(30, hidden=16, layers=2, heads=2, feed_forward=16, positions=8)
    encoder = SentenceEncoder(config, init_std=0.3, rngs=nnx.Rngs(0))
    ids = jax.random.randint(jax.random.key(1), (60, 6), 1, 30)
    y = jnp.where(ids[:, 0] > 15, 1, -1)
    data = Sentences(hidden_below(encoder, ids, ids > 0, first=1, dtype=jnp.float16), ids > 0, y)
    problem = text.Problem(
        data, Sentences(*(part[:20] for part in data)), encoder_top(encoder, data, first=1)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "sentiment_problem", lambda: problem)
        patch.setattr(text, "RATES", (1e-3, 1e-2))
        patch.setattr(text, "STEPS", 60)
        quiet = functools.partial(sweep, progress=False)
        return text.fine_tuning(quiet, inits=("a", "b"), ratios=(1.0, 4.0), seeds=2)


def test_every_setting_is_trained_on_the_same_data(runs):
    assert dict(runs.loss.sizes) == {"init": 2, "geometric_rate": 2, "ratio": 2, "seed": 2, "step": 60}
    first = runs.loss.isel(step=0).transpose("seed", ...).values.reshape(2, -1)
    np.testing.assert_allclose(first, np.repeat(first[:, :1], first.shape[1], axis=1), rtol=1e-5)
    assert (first[0] != first[1]).all()
    right = (runs.margins > 0).mean("sentence")
    np.testing.assert_allclose(runs.test_accuracy, right.transpose(*runs.test_accuracy.dims), atol=1e-6)


def test_starts_and_ratios_are_compared_and_drawn(runs):
    one = runs.isel(ratio=0)
    best = best_rate(one.sel(init="a"))
    assert float(best.geometric_rate) in (1e-3, 1e-2)
    assert accuracy_gain(best, best) == (0, 0, 20)
    assert float(speed_gain(best, best).mean) >= 0
    drawing = accuracy_figure(one, "init", {"a": "A", "b": "B"})
    assert len(drawing.axes) == 2


def made_up(margins, loss):
    return xr.Dataset(
        {
            "margins": (("geometric_rate", "seed", "record", "sentence"), margins),
            "loss": (("geometric_rate", "seed", "step"), loss),
        },
        {"geometric_rate": [0.1, 0.2][: len(margins)]},
    )


def test_gains_are_those_of_the_sentences_that_judge():
    margins = np.full((2, 3, 2, 10), 1.0)
    # The first half of each pair chooses: there the second rate is worse.
    margins[1, :, -1, ::2] = -5.0
    old, new = margins.copy(), margins.copy()
    old[0, :, -1, 1] = -1.0
    old[0, :, -1, 3] = -1.0
    loss = np.linspace(1, 0, 100) * np.ones((2, 3, 1))
    runs = [made_up(m, loss) for m in (new, old)]
    chosen = [best_rate(r) for r in runs]
    assert [float(r.geometric_rate) for r in chosen] == [0.1, 0.1]
    gain = accuracy_gain(*chosen)
    assert gain.mean == pytest.approx(2 / 5)
    # Of five sentences two differ: a binomial share.
    assert float(gain.standard_error) == pytest.approx((0.4 * 0.6 / 5) ** 0.5, rel=0.1)


def test_speed_is_by_the_steps_to_the_same_loss():
    slow, fast = np.linspace(1, 0, 400), np.maximum(np.linspace(1, -3, 400), 0)
    margins = np.ones((1, 3, 2, 4))
    runs = [made_up(margins, curve * np.ones((1, 3, 1))).isel(geometric_rate=0) for curve in (fast, slow)]
    found = speed_gain(*runs)
    assert float(found.mean) == pytest.approx(np.log2(400 / 120), abs=0.3)
    assert float(speed_gain(*runs[::-1]).mean) < 0.1


def test_nothing_is_trained_without_seeds():
    with pytest.raises(LeftOut, match="theorysim data get minilm"):
        text.fine_tuning(None, inits=("a",), ratios=(1.0,), seeds=0)
