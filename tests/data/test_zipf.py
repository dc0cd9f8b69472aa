"""Zipf laws: proportions, padding and bad arguments."""

import numpy as np
import pytest

from theorysim.data import zipf_law


def test_probabilities_fall_as_a_power_of_the_rank():
    p = zipf_law(1.5, 20)
    np.testing.assert_allclose(p / p[0], np.arange(1, 21) ** -1.5, rtol=1e-14)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-15)


def test_exponent_zero_is_uniform_and_padding_is_zero():
    np.testing.assert_allclose(zipf_law(0, 4, 6), [0.25, 0.25, 0.25, 0.25, 0, 0])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1, 3), "exponent"), ((np.nan, 3), "exponent"), ((1, 0), "num_tokens"), ((1, 5, 4), "vocabulary")],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        zipf_law(*arguments)
