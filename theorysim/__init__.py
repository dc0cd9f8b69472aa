"""Deep-learning theory, executable: closed forms, simulations and judged claims.

Each theory is a module of pure JAX functions named after its paper; `sweep` runs any of them over a grid.
Importing this package is cheap, loads no JAX and changes no setting: the submodules load on first use.

Example:
    >>> import jax.numpy as jnp, theorysim
    >>> p = jnp.array([0.5, 0.5])
    >>> round(float(theorysim.model_collapse.collapse_time_mean(p, n=10)), 2)
    12.59
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "feature_map",
    "lood",
    "lora_init",
    "lora_plus",
    "model_collapse",
    "rmt_synthetic",
    "sweep",
    "width_depth",
]

if TYPE_CHECKING:
    from theorysim import (
        feature_map,
        lood,
        lora_init,
        lora_plus,
        model_collapse,
        rmt_synthetic,
        sweep,
        width_depth,
    )

_LAZY = frozenset(__all__) - {"__version__"}


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
