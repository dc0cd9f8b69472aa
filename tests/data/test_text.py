"""Loaders of text, and next-character laws against counting by hand."""

import hashlib
import os
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theorysim import data
from theorysim.data import Text, next_token_laws, text_file


@pytest.fixture(scope="module")
def shakespeare():
    return data.tiny_shakespeare()


def decode(text):
    return "".join(text.symbols[token] for token in text.tokens)


def test_tiny_shakespeare_is_the_published_text(shakespeare):
    assert shakespeare.tokens.shape == (1_115_394,)
    assert shakespeare.tokens.dtype == np.int32
    assert "".join(shakespeare.symbols[:5]) == "\n !$&"
    assert len(shakespeare.symbols) == 65
    digest = hashlib.sha256(decode(shakespeare).encode()).hexdigest()
    assert digest == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def test_english_topics_are_thirty_symbols_of_prose():
    text = data.english_topics()
    assert "".join(text.symbols) == "\n ,.abcdefghijklmnopqrstuvwxyz"
    assert len(text.tokens) > 300_000
    assert "assert statements are a convenient way" in decode(text)


def test_python_without_help_topics_says_what_to_use(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ImportError, match=r"use tiny_shakespeare\(\) or text_file\(path\)"):
        data.english_topics()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufeff"), min_size=1))
def test_a_file_of_any_characters_comes_back(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("text") / "mine.txt"
    path.write_bytes(content.encode())
    text = text_file(path)
    assert decode(text) == content
    assert list(text.symbols) == sorted(set(content))


def test_windows_files_read_like_others(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    assert decode(text_file(path)) == "one\ntwo\n"
    assert decode(text_file(str(path))) == "one\ntwo\n"


def test_files_that_are_no_text_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"path must be a readable text file, got '.*none.txt' \(No such file"
    ):
        text_file(tmp_path / "none.txt")
    with pytest.raises(ValueError, match=r"readable text file, got .* \(Is a directory\)"):
        text_file(tmp_path)
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match=r"at least one character, got '.*empty.txt' \(empty\)"):
        text_file(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"must be a UTF-8 text file, got '.*latin.txt' \(byte 2 is not UTF-8\)"
    ):
        text_file(tmp_path / "latin.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("a")
    path.chmod(0)
    with pytest.raises(ValueError, match=r"readable text file, got .* \(Permission denied\)"):
        text_file(path)


@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=60),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_laws_are_what_counting_gives(tokens, context_length, min_count):
    text = Text(np.array(tokens, np.int32), ("w", "x", "y", "z"))
    string = decode(text)
    pairs = Counter((string[i - context_length : i], string[i]) for i in range(context_length, len(string)))
    totals = Counter()
    for (context, _), count in pairs.items():
        totals[context] += count
    expected = sorted((c for c in totals if totals[c] >= min_count), key=lambda c: (-totals[c], c))
    if not expected:
        with pytest.raises(ValueError, match="min_count must be at most"):
            next_token_laws(text, context_length, min_count)
        return
    model = next_token_laws(text, context_length, min_count)
    assert list(model.contexts) == expected
    weight = np.array([totals[c] for c in expected])
    np.testing.assert_allclose(model.context_law, weight / weight.sum(), rtol=1e-15)
    by_hand = [[pairs[c, symbol] / totals[c] for symbol in text.symbols] for c in expected]
    np.testing.assert_allclose(model.laws, by_hand, rtol=1e-15)


@pytest.mark.parametrize("context_length", [0, 1, 2, 3])
def test_laws_of_real_text_are_distributions(shakespeare, context_length):
    model = next_token_laws(shakespeare, context_length, min_count=5)
    np.testing.assert_allclose(model.laws.sum(axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(model.context_law.sum(), 1, rtol=1e-13)
    assert np.all(np.diff(model.context_law) <= 0)
    assert all(len(context) == context_length for context in model.contexts)
    assert model.laws.shape == (len(model.contexts), 65)


def test_the_letter_q_is_followed_by_u(shakespeare):
    model = next_token_laws(shakespeare)
    row = model.laws[model.contexts.index("q")]
    assert shakespeare.symbols[row.argmax()] == "u"
    assert row.max() > 0.99


def test_contexts_average_to_the_law_of_single_characters(shakespeare):
    model, single = next_token_laws(shakespeare), next_token_laws(shakespeare, 0)
    assert single.contexts == ("",)
    frequency = np.bincount(shakespeare.tokens[1:]) / (len(shakespeare.tokens) - 1)
    np.testing.assert_allclose(model.context_law @ model.laws, frequency, rtol=1e-12)
    np.testing.assert_allclose(single.laws[0], np.bincount(shakespeare.tokens) / 1_115_394, rtol=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_length": -1}, r"context_length must be an integer in \[0, 3\], got -1"),
        ({"context_length": 4}, r"context_length must be an integer in \[0, 3\], got 4"),
        ({"min_count": 0}, "min_count must be an integer >= 1, got 0"),
        ({"min_count": True}, "min_count must be an integer >= 1, got True"),
        ({"min_count": 9}, "min_count must be at most 2, the count of the most frequent context"),
    ],
)
def test_bad_input_is_named(options, message):
    text = Text(np.array([0, 1, 0, 1], np.int32), ("a", "b"))
    with pytest.raises(ValueError, match=message):
        next_token_laws(text, **options)


def test_a_table_beyond_memory_is_refused_before_it_is_made():
    s = 20_000
    text = Text(np.arange(s, dtype=np.int32), tuple(map(chr, range(s))))
    with pytest.raises(
        ValueError, match="min_count must leave at most 5000 contexts of 20000 symbols, got 19999"
    ):
        next_token_laws(text)
    with pytest.raises(ValueError, match=r"context_length must be an integer in \[0, 4\], got 5"):
        next_token_laws(text, context_length=5)
