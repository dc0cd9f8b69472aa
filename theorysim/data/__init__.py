"""Data as plain arrays: real, from files that come with the package or with Python, and synthetic.

Nothing is downloaded.

Each loader says in its docstring where the data come from, under which licence, and in which shape.

Example:
    >>> from theorysim.data import next_token_laws, tiny_shakespeare
    >>> text = tiny_shakespeare()
    >>> model = next_token_laws(text, context_length=1)
    >>> model.laws.shape, model.contexts[:3]
    ((65, 65), (' ', 'e', 't'))
"""

from theorysim.data.catalog import DATASETS, Dataset
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
    "ContextLaws",
    "Dataset",
    "Text",
    "english_topics",
    "next_token_laws",
    "text_file",
    "tiny_shakespeare",
    "zipf_law",
]
