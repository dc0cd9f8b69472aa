"""Mathematics that several theories share; each file is named after what it computes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theorysim.numerics import (
        binomial,
        chebyshev,
        gaussian,
        gp,
        gram,
        memory,
        minimise,
        products,
        stats,
        validation,
    )

__all__ = [
    "binomial",
    "chebyshev",
    "gaussian",
    "gp",
    "gram",
    "memory",
    "minimise",
    "products",
    "stats",
    "validation",
]
