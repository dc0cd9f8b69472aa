"""Sentences from film reviews, with how favourable people find them.

Example:
    >>> reviews = movie_reviews()
    >>> reviews.sentences[2], reviews.ratings[2].item()
    ('Effective but too tepid biopic', -0.6)
    >>> review_labels(reviews).y[:4].tolist()
    [1, 1, -1, 1]
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from theorysim.data._files import unpacked

__all__ = ["ReviewLabels", "Reviews", "movie_reviews", "review_labels"]


class Reviews(NamedTuple):
    """Sentences and their ratings (k,), the mean of human scores in [-4, 4], negative for unfavourable."""

    sentences: tuple[str, ...]
    ratings: Float64[np.ndarray, " k"]


class ReviewLabels(NamedTuple):
    """The sentences that are clearly favourable (y = +1) or unfavourable (y = -1).

    `rows` (k,) are their places among all sentences, to pick the matching rows of features.
    """

    sentences: tuple[str, ...]
    y: Int64[np.ndarray, " k"]
    rows: Int64[np.ndarray, " k"]


def movie_reviews() -> Reviews:
    """10,605 sentences from film reviews, each with the mean score of 20 people.

    Origin: C. J. Hutto and E. Gilbert, *VADER: a parsimonious rule-based model for sentiment analysis of
    social media text*, ICWSM 2014; carried in the package. Licence: MIT. English, 19 words on average and 51
    at most. Ratings in [-4, 4]. White space at both ends of a sentence is removed, and nothing else is done.
    The order is that of the source: neighbours may come from one review, favourable ones come first.

    Example:
        >>> reviews = movie_reviews()
        >>> len(reviews.sentences), reviews.ratings.min().item(), reviews.ratings.max().round(2).item()
        (10605, -3.875, 3.94)
    """
    lines = unpacked("movie_review_snippets.tsv.gz").decode("utf-8").split("\n")
    _, ratings, sentences = zip(*(line.split("\t") for line in lines), strict=True)
    return Reviews(
        tuple(sentence.strip() for sentence in sentences), np.array(ratings, dtype=str).astype(np.float64)
    )


def review_labels(reviews: Reviews, threshold: float | int = 0.5) -> ReviewLabels:
    """The sign of the rating as label; sentences with |rating| <= threshold are left out.

    Args:
        reviews: from `movie_reviews`, or any Reviews.
        threshold: at least 0; sentences rated 0 are left out always.

    Raises:
        ValueError: a threshold below 0, or one that leaves no sentence.

    Example:
        >>> labels = review_labels(movie_reviews())
        >>> len(labels.sentences), int((labels.y > 0).sum())
        (10043, 4982)
    """
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ValueError(f"threshold must be a finite number >= 0, got {threshold}")
    rows = np.flatnonzero(np.abs(reviews.ratings) > threshold)
    if rows.size == 0:
        raise ValueError(f"threshold must leave a sentence, got {threshold} (every |rating| is at most that)")
    return ReviewLabels(
        tuple(reviews.sentences[row] for row in rows),
        np.sign(reviews.ratings[rows]).astype(np.int64),
        rows.astype(np.int64),
    )
