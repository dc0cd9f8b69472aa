"""Adapters on a pretrained sentence encoder that learn sentiment: the problem and one training of it.

Film-review sentences with |rating| > 0.5 and at most 32 word pieces; a tenth, chosen by a hash of their
number, tests. Query and value of the two top layers of MiniLM are adapted with rank 8 and alpha 16, on top of
a logistic regression that is fitted to the embeddings before, and frozen.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim.data import minilm_folder, movie_reviews, review_labels, tokenize
from theorysim.lab import LeftOut
from theorysim.networks.adapted_encoder import (
    Sentences,
    Top,
    adapted_encoder_training,
    encoder_top,
    hidden_below,
)
from theorysim.networks.sentence_encoder import load_encoder

FIRST, PIECES, RANK, ALPHA, BATCH = 4, 32, 8, 16.0, 16
# Geometric means of the two rates, and steps of Adam.
RATES, STEPS = (3e-4, 1e-3, 3e-3, 1e-2), 150


class Problem(NamedTuple):
    """What trains, what tests, and the encoder's top."""

    train: Sentences
    test: Sentences
    top: Top


@lru_cache(1)
def sentiment_problem() -> Problem:
    """The sentences half way through the encoder; half a minute on two cores."""
    encoder = load_encoder(minilm_folder())
    labels = review_labels(movie_reviews())
    tokens = tokenize(labels.sentences)
    rows = np.flatnonzero(tokens.mask.sum(1) <= PIECES)
    # Knuth's multiplicative hash: whatever the order of the sentences means, it is not kept.
    held = labels.rows[rows].astype(np.uint64) * 2654435761 % 2**32 < 2**32 // 10

    def sentences(rows):
        ids, mask = tokens.ids[rows, :PIECES], tokens.mask[rows, :PIECES]
        hidden = hidden_below(encoder, ids, mask, first=FIRST, dtype=jnp.float16)
        return Sentences(hidden, jnp.asarray(mask), jnp.asarray(labels.y[rows], jnp.int8))

    train, test = sentences(rows[~held]), sentences(rows[held])
    return Problem(train, test, encoder_top(encoder, train, first=FIRST))


def one_training(
    geometric_rate: Any, ratio: Any, seed: Any, *, problem: Problem, init: str, steps: int
) -> dict[str, Any]:
    """Train at lr_a = rate/sqrt(ratio), lr_b = rate sqrt(ratio); a seed fixes start and order of the data."""
    root = jnp.sqrt(ratio)
    options: Any = {"init": init, "steps": steps, "batch_size": BATCH}
    run = adapted_encoder_training(
        jax.random.key(seed),
        problem.top,
        problem.train,
        problem.test,
        lr_a=(geometric_rate / root).astype(jnp.float32),
        lr_b=(geometric_rate * root).astype(jnp.float32),
        rank=RANK,
        alpha=ALPHA,
        **options,
    )
    return run._asdict()


def fine_tuning(sweep, *, inits, ratios, seeds) -> xr.Dataset:
    """Trainings over starts, ratios, rates and seeds, the same data in the same order for each seed.

    Raises:
        LeftOut: no seeds.
    """
    if not seeds:
        raise LeftOut("--text-seeds 3 asks for it; `theorysim data get minilm` gets the encoder")
    problem, found = sentiment_problem(), []
    tested = dict.fromkeys(("test_loss", "test_accuracy"), ("record",))
    dims = {"loss": ("step",), "margins": ("record", "sentence"), **tested}
    for init in inits:
        one = partial(one_training, problem=problem, init=init, steps=STEPS)
        vary = {
            "geometric_rate": list(RATES),
            "ratio": [float(x) for x in ratios],
            "seed": list(range(seeds)),
        }
        # The seeds of a setting at a time: what is finished is kept, and little has to be.
        found.append(sweep(one, vary=vary, dims=dims, batch=seeds))
    runs = xr.concat(found, "init").assign_coords(init=list(inits))
    return runs.assign(trained_on=len(problem.train.y))
