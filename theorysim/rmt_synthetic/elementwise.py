r"""Arguments of the closed forms: checked by name, and brought to one dtype.

A closed form is evaluated elementwise over arrays that broadcast, so that a phase diagram of 10^6 points is
one call. Sizes n, m, p need not be whole, and every argument may be traced.

Example:
    >>> import numpy as np
    >>> [x.dtype.name for x in elementwise(mu=np.float32(1.5), eps=np.zeros(3, np.float32), n=1000)]
    ['float32', 'float32', 'float32']
    >>> elementwise(eps=1.2)
    Traceback (most recent call last):
    ValueError: eps must be in [0, 1], got 1.2
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import is_traced, real

__all__ = ["elementwise", "jit_broadcast"]

_PROBABILITY = {"low": 0, "high": 1}
_COUNT = {"low": 0, "high_open": True}
_POSITIVE = {"low": 0, "low_open": True, "high_open": True}
_FINITE = {"low_open": True, "high_open": True}

_RANGES = {
    "n": _COUNT,
    "m": _COUNT,
    "n_hat": _POSITIVE | {"high_open": False},
    "p": _POSITIVE,
    "aspect": _POSITIVE,
    "mu": _COUNT,
    "beta": _FINITE,
    "perp": _COUNT,
    "sigma2": _COUNT,
    "estimate_mean": _PROBABILITY,
    "eps": _PROBABILITY,
    "rho": _PROBABILITY,
    "phi": _PROBABILITY,
    "alpha": _PROBABILITY,
    "pi": _COUNT,
    "gamma": _POSITIVE,
    "omega": _COUNT,
}
"""The domain of each argument of a closed form; a finite real number otherwise."""


def elementwise(**values: ArrayLike) -> list[Float[Array, "..."]]:
    """The arguments as arrays of their common floating dtype, in the order given; shapes stay as they are.

    Python numbers, also whole ones, take the dtype of the arrays beside them.

    Raises:
        ValueError: a concrete entry out of its range, or no sample at all: n + m = 0.

    Example:
        >>> elementwise(n=0, m=0)
        Traceback (most recent call last):
        ValueError: n + m must be in (0, inf), got 0
    """
    for name, value in values.items():
        real(value, name, **_RANGES.get(name, _FINITE))
    n, m = values.get("n", 1), values.get("m", 1)
    if not is_traced((n, m)):
        real(np.add(n, m), "n + m", **_POSITIVE)
    dtype = jnp.result_type(*map(_as_operand, values.values()), 0.0)
    return [jnp.asarray(value, dtype) for value in values.values()]


def jit_broadcast(function: Callable) -> Callable:
    """Compile a function of arrays that broadcast; they do inside, where it costs no memory.

    Example:
        >>> print(jit_broadcast(lambda a, b: a + b)(jnp.ones(2), jnp.array(1.0)))
        [2. 2.]
    """
    return jax.jit(lambda *args: function(*jnp.broadcast_arrays(*args)))


def _as_operand(value):
    """Lists hold numbers of the default dtype; everything else already says what it is."""
    return value if isinstance(value, bool | int | float) or hasattr(value, "dtype") else np.asarray(value)
