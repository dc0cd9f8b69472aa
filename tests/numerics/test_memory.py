"""The free memory is asked before a computation starts."""

import pytest

from theorysim.numerics.memory import free_memory, require_memory


def test_what_fits_passes_and_what_does_not_is_named():
    require_memory(1, "n = 1", "nothing")
    with pytest.raises(ValueError, match=r"n = 7 needs .* GB of memory, more than .* free: ask for less"):
        require_memory(10**18, "n = 7", "ask for less")


def test_a_budget_stands_for_the_free_memory():
    require_memory(100, "n = 7", "", budget=100)
    with pytest.raises(ValueError, match="n = 7"):
        require_memory(101, "n = 7", "", budget=100)


def test_the_free_memory_is_positive():
    assert free_memory() > 2**20
