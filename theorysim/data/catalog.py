"""What data there are, for people: the list that `theorysim data` prints.

Example:
    >>> [dataset.name for dataset in DATASETS]
    ['digits', 'mnist', 'movie_reviews', 'tiny_shakespeare', 'english_topics']
    >>> [dataset.name for dataset in OPTIONAL]
    ['minilm']
"""

from typing import NamedTuple

__all__ = ["DATASETS", "OPTIONAL", "Dataset"]


class Dataset(NamedTuple):
    """A data set, or a pretrained model, and where it comes from."""

    name: str
    description: str
    size: str
    origin: str
    licence: str


DATASETS: tuple[Dataset, ...] = (
    Dataset(
        "digits",
        "handwritten digits of 8 x 8 pixels, ten classes",
        "1,797 samples of 64 features",
        "E. Alpaydin, C. Kaynak (1998), by scikit-learn",
        "CC BY 4.0",
    ),
    Dataset(
        "mnist",
        "handwritten digits of 28 x 28 pixels, ten classes: MNIST's test set",
        "10,000 samples of 784 features",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), carried in the package",
        "CC BY-SA 3.0",
    ),
    Dataset(
        "movie_reviews",
        "sentences from film reviews, with mean human ratings in [-4, 4]",
        "10,605 sentences",
        "C. J. Hutto, E. Gilbert (2014), carried in the package",
        "MIT",
    ),
    Dataset(
        "tiny_shakespeare",
        "characters of Shakespeare's plays",
        "1,115,394 characters, 65 symbols",
        "the collection of A. Karpathy (2015), carried in the package",
        "public domain",
    ),
    Dataset(
        "english_topics",
        "English prose: the language topics of Python's help, lower-cased",
        "about 0.4 million characters, 30 symbols",
        "pydoc_data.topics of the running Python",
        "Python Software Foundation License",
    ),
)
"""What needs no network; `name` is the loader in `theorysim.data`."""

OPTIONAL: tuple[Dataset, ...] = (
    Dataset(
        "minilm",
        "MiniLM-L6, a pretrained encoder of sentences: weights and tokenizer",
        "83 MB to fetch, 92 MB on disk",
        "all-MiniLM-L6-v2; N. Reimers, I. Gurevych (2019), W. Wang et al. (2020)",
        "Apache-2.0",
    ),
)
"""What `theorysim data get NAME` fetches."""
