"""What data there are, for people: the list that `theorysim data` prints.

Example:
    >>> [dataset.name for dataset in DATASETS]
    ['tiny_shakespeare', 'english_topics']
"""

from typing import NamedTuple

__all__ = ["DATASETS", "Dataset"]


class Dataset(NamedTuple):
    """A data set that comes with the package or with Python; `name` is its loader in `theorysim.data`."""

    name: str
    description: str
    origin: str
    licence: str
    size: str


DATASETS: tuple[Dataset, ...] = (
    Dataset(
        "tiny_shakespeare",
        "characters of Shakespeare's plays",
        "the collection of A. Karpathy (2015), carried in the package",
        "public domain",
        "1,115,394 characters, 65 symbols",
    ),
    Dataset(
        "english_topics",
        "English prose: the language topics of Python's help, lower-cased",
        "pydoc_data.topics of the running Python",
        "Python Software Foundation License",
        "about 0.4 million characters, 30 symbols",
    ),
)
