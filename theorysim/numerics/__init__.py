"""Mathematics that several theories share; each file is named after what it computes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theorysim.numerics import (
        arrays,
        binomial,
        chebyshev,
        gaussian,
        gp,
        gram,
        low_rank,
        memory,
        minimise,
        products,
        stats,
        symmetric,
        validation,
    )

__all__ = [
    "arrays",
    "binomial",
    "chebyshev",
    "gaussian",
    "gp",
    "gram",
    "low_rank",
    "memory",
    "minimise",
    "products",
    "stats",
    "symmetric",
    "validation",
]
