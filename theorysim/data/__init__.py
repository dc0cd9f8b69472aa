"""Data as plain arrays: real, from files that come with the package or with its dependencies, and synthetic.

Nothing is downloaded, but for the pretrained sentence encoder when `get_minilm` is called.

Each loader says in its docstring where the data come from, under which licence, and in which shape.

Example:
    >>> from theorysim.data import binary_task, digits, next_token_laws, tiny_shakespeare
    >>> threes_and_fives = binary_task(digits(), positive=3, negative=5)
    >>> threes_and_fives.x.shape
    (365, 64)
    >>> text = tiny_shakespeare()
    >>> model = next_token_laws(text, context_length=1)
    >>> model.laws.shape, model.contexts[:3]
    ((65, 65), (' ', 'e', 't'))
"""

from theorysim.data.catalog import DATASETS, OPTIONAL, Dataset
from theorysim.data.images import digits, mnist
from theorysim.data.labelled import Labelled, binary_task, labelled_file, standardized
from theorysim.data.minilm import TokenIds, get_minilm, minilm_folder, tokenize
from theorysim.data.reviews import ReviewLabels, Reviews, movie_reviews, review_labels
from theorysim.data.text import (
    ContextLaws,
    Text,
    english_topics,
    next_token_laws,
    text_file,
    tiny_shakespeare,
)
from theorysim.data.zipf import zipf_law

__all__ = [
    "DATASETS",
    "OPTIONAL",
    "ContextLaws",
    "Dataset",
    "Labelled",
    "ReviewLabels",
    "Reviews",
    "Text",
    "TokenIds",
    "binary_task",
    "digits",
    "english_topics",
    "get_minilm",
    "labelled_file",
    "minilm_folder",
    "mnist",
    "movie_reviews",
    "next_token_laws",
    "review_labels",
    "standardized",
    "text_file",
    "tiny_shakespeare",
    "tokenize",
    "zipf_law",
]
