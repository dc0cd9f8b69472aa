"""The list of data sets is true: every entry loads, in the size it states."""

import subprocess
import sys

import numpy as np

from theorysim import data
from theorysim.data import Labelled, Reviews, Text

NAMES = ["digits", "mnist", "movie_reviews", "tiny_shakespeare", "english_topics"]


def test_the_catalogue_lists_what_loads():
    assert [entry.name for entry in data.DATASETS] == NAMES
    for entry in data.DATASETS:
        assert all(entry)
        loaded = getattr(data, entry.name)()
        if isinstance(loaded, Text):
            assert f"{len(loaded.symbols)} symbols" in entry.size
            assert f"{len(loaded.tokens):,}" in entry.size or round(len(loaded.tokens), -5) == 400_000
        elif isinstance(loaded, Labelled):
            k, p = loaded.x.shape
            assert entry.size == f"{k:,} samples of {p} features"
            assert "ten classes" in entry.description and len(np.unique(loaded.y)) == 10
        else:
            assert isinstance(loaded, Reviews)
            assert entry.size == f"{len(loaded.sentences):,} sentences"


def test_what_must_be_fetched_is_listed_apart():
    (entry,) = data.OPTIONAL
    assert entry.name == "minilm" and all(entry)


def test_importing_the_loaders_loads_no_heavy_package():
    heavy = ("sklearn", "tokenizers", "safetensors", "jax")
    code = f"import sys, theorysim.data; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
