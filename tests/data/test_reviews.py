"""Film reviews: the published sentences, and labels from their ratings."""

import hashlib

import numpy as np
import pytest

from theorysim import data
from theorysim.data import Reviews, review_labels
from theorysim.data._files import unpacked


@pytest.fixture(scope="module")
def reviews():
    return data.movie_reviews()


def test_the_carried_file_is_the_published_one():
    digest = hashlib.sha256(unpacked("movie_review_snippets.tsv.gz")).hexdigest()
    assert digest == "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"


def test_every_sentence_has_a_rating(reviews):
    assert len(reviews.sentences) == 10_605 and reviews.ratings.shape == (10_605,)
    assert reviews.ratings.dtype == np.float64
    assert np.abs(reviews.ratings).max() <= 4
    assert all(sentence and sentence == sentence.strip() for sentence in reviews.sentences)
    words = [len(sentence.split()) for sentence in reviews.sentences]
    assert max(words) == 51 and round(np.mean(words)) == 19


def test_sentences_and_ratings_belong_together(reviews):
    rated = dict(zip(reviews.sentences, reviews.ratings.tolist(), strict=True))
    assert rated["Effective but too tepid biopic"] == -0.6
    assert rated["A charmer from Belgium."] == 1.51851851852
    assert any("é" in sentence for sentence in reviews.sentences), "read as UTF-8"
    good, bad = (
        np.mean([r for s, r in rated.items() if word in s.lower()]) for word in ("wonderful", "boring")
    )
    assert good > 1 and bad < -1


def test_labels_are_signs_of_clear_ratings(reviews):
    labels = review_labels(reviews)
    assert len(labels.sentences) == 10_605 - 562
    np.testing.assert_array_equal(labels.y, np.sign(reviews.ratings[labels.rows]))
    assert np.abs(reviews.ratings[labels.rows]).min() > 0.5
    left_out = np.setdiff1d(np.arange(10_605), labels.rows)
    assert np.abs(reviews.ratings[left_out]).max() <= 0.5
    assert labels.sentences == tuple(reviews.sentences[row] for row in labels.rows)
    assert labels.y.dtype == np.int64 and labels.rows.dtype == np.int64


def test_the_threshold_itself_and_zero_are_left_out():
    few = Reviews(("a", "b", "c", "d"), np.array([0.5, -0.6, 0.0, 4.0]))
    assert review_labels(few).sentences == ("b", "d")
    assert review_labels(few, 0).y.tolist() == [1, -1, 1]


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (-0.1, "threshold must be a finite number >= 0, got -0.1"),
        (np.nan, "threshold must be a finite number >= 0, got nan"),
        (4, "threshold must leave a sentence, got 4"),
    ],
)
def test_bad_thresholds_are_named(reviews, threshold, message):
    with pytest.raises(ValueError, match=message):
        review_labels(reviews, threshold)
