"""What a sweep runs over: named axes → flat points, and back to labels.

Traced axes (`vary`, then `replica`) form a grid of `points` per case; a point's number is its C-order
position in that grid, the last axis running fastest. Static axes (`cases`) multiply it: the global number of
a point is `case number · points + point number`, and folds into its random key. Names that share a dim vary
together, distinct dims multiply, as coordinates do in xarray.

Example:
    >>> grid = make_grid({"rate": [0.1, 0.2], "n": ("n", [5, 6, 7])}, {"kind": ["a", "b"]}, replicas=4)
    >>> grid.sizes, grid.points, len(grid.case_list)
    ({'rate': 2, 'n': 3, 'replica': 4}, 24, 2)
    >>> {name: column.tolist() for name, column in columns(grid, np.arange(10, 13)).items()}
    {'rate': [0.1, 0.1, 0.2], 'n': [7, 7, 5]}
"""

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim.numerics import validation

__all__ = [
    "REPLICA",
    "Case",
    "Grid",
    "Varied",
    "columns",
    "describe",
    "labels",
    "make_grid",
    "whole_columns",
]

REPLICA = "replica"

Case = tuple[tuple[str, Any], ...]
"""One static choice: `(name, value)` pairs in the order of `cases`."""


class Varied(NamedTuple):
    """One traced argument: `values[i]` goes to the points at position `i` of `dim`."""

    name: str
    dim: str
    labels: np.ndarray
    """As given, for the coordinates."""
    values: np.ndarray
    """As computed with: the dtype that JAX gives it under the present x64 setting."""
    attrs: dict[Hashable, Any]
    """Units and long names, when given as a DataArray."""


class Grid(NamedTuple):
    """The checked axes of a sweep."""

    varied: tuple[Varied, ...]
    cases: tuple[tuple[str, tuple[Any, ...]], ...]
    replicas: int
    sizes: dict[str, int]
    """Traced dims and their lengths, `replica` last."""

    @property
    def points(self) -> int:
        """Points per case."""
        return math.prod(self.sizes.values())

    @property
    def case_list(self) -> list[Case]:
        """Every combination of the static values, the last name running fastest."""
        names = [name for name, _ in self.cases]
        return [
            tuple(zip(names, chosen, strict=True))
            for chosen in itertools.product(*(v for _, v in self.cases))
        ]


def make_grid(vary: Any, cases: Any, replicas: Any) -> Grid:
    """Check `vary`, `cases` and `replicas` and return the grid they span.

    Raises:
        ValueError: an empty axis, lengths that differ on one dim, a name in two roles, negative replicas.
        TypeError: values that are no numbers in `vary`, or not hashable in `cases`.
    """
    for name, given in (("vary", vary), ("cases", cases)):
        if not (given is None or isinstance(given, Mapping)):
            raise TypeError(f"{name} must be a dictionary of values by argument name, got {given!r}")
    replicas = validation.positive_int(replicas, "replicas", minimum=0)
    varied = tuple(_varied(name, given) for name, given in (vary or {}).items())
    static = tuple((name, _static(name, given)) for name, given in (cases or {}).items())
    sizes: dict[str, int] = {}
    for axis in varied:
        length = len(axis.values)
        if sizes.setdefault(axis.dim, length) != length:
            raise ValueError(
                f"vary[{axis.name!r}] must have {sizes[axis.dim]} values like the others "
                f"on dim {axis.dim!r}, got {length}"
            )
    if replicas:
        if REPLICA in sizes or any(axis.name == REPLICA for axis in varied):
            raise ValueError(f"vary must not use the name {REPLICA!r} when replicas > 0, got {replicas=}")
        sizes[REPLICA] = replicas
    _check_names([axis.name for axis in varied], set(sizes), [name for name, _ in static])
    grid = Grid(varied, static, replicas, sizes)
    if (total := grid.points * len(grid.case_list)) > 2**32:
        raise ValueError(f"vary, cases and replicas must span at most 2**32 points, got {total}")
    return grid


def columns(grid: Grid, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The argument arrays of the points `numbers` (their positions within a case), one gather per name."""
    if not grid.varied:
        return {}
    positions = dict(zip(grid.sizes, np.unravel_index(numbers, tuple(grid.sizes.values())), strict=True))
    return {axis.name: axis.values[positions[axis.dim]] for axis in grid.varied}


def whole_columns(grid: Grid) -> dict[str, np.ndarray]:
    """The argument arrays of all points of a case in order: `columns` without the arithmetic of positions."""
    shape, dims = tuple(grid.sizes.values()), list(grid.sizes)

    def spread(axis: Varied) -> np.ndarray:
        own = axis.values.shape[1:]
        place = [len(axis.values) if dim == axis.dim else 1 for dim in dims]
        return np.broadcast_to(axis.values.reshape(*place, *own), (*shape, *own)).reshape(-1, *own)

    return {axis.name: spread(axis) for axis in grid.varied}


def labels(values: tuple[Any, ...]) -> np.ndarray:
    """Coordinate labels: numbers and strings as they are, functions by name, other values by `str`."""
    for kinds in (bool, str, (int, float, np.integer, np.floating)):
        if all(isinstance(value, kinds) and (kinds is bool or type(value) is not bool) for value in values):
            return np.asarray(values)
    return np.asarray([str(getattr(value, "__name__", value)) for value in values])


def describe(case: Case) -> str:
    """The case as a reader would write it; the empty string when there is none."""
    return ", ".join(f"{name}={getattr(value, '__name__', value)}" for name, value in case)


def _varied(name: Any, given: Any) -> Varied:
    if not isinstance(name, str):
        raise TypeError(f"names in vary must be strings, got {name!r}")
    dim = name
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        dim, given = given
    elif isinstance(given, xr.DataArray) and given.ndim:
        dim = str(given.dims[0])
    attrs = dict(given.attrs) if isinstance(given, xr.DataArray) else {}
    if isinstance(given, Iterable) and not isinstance(given, Sequence) and not hasattr(given, "__array__"):
        given = list(given)
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"vary[{name!r}] must be an array of numbers, got {given!r} ({error})") from None
    if not (jnp.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise TypeError(
            f"vary[{name!r}] must be numbers, got dtype {array.dtype}; values that are not belong in cases"
        )
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(f"vary[{name!r}] must be a sequence of at least one value, got shape {array.shape}")
    values = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    if array.dtype.kind in "iu" and not np.array_equal(values, array):
        raise ValueError(f"vary[{name!r}] must fit {values.dtype} (or turn x64 on), got {array.max()}")
    return Varied(name, dim, array, values, attrs)


def _static(name: Any, given: Any) -> tuple[Any, ...]:
    if not isinstance(name, str):
        raise TypeError(f"names in cases must be strings, got {name!r}")
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"cases[{name!r}] must be a list of values, got {given!r}")
    values = tuple(given)
    if not values:
        raise ValueError(f"cases[{name!r}] must have at least one value, got {given!r}")
    for value in values:
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"cases[{name!r}] must be hashable (a tuple for a list), got {value!r}; arrays belong in vary"
            ) from None
    return values


def _check_names(varied: list[str], dims: set[str], static: list[str]) -> None:
    for name in static:
        if name in varied or name in dims:
            raise ValueError(f"{name!r} must be in vary or in cases, got it in both")
    if "key" in (*varied, *static):
        raise ValueError(
            "key is an argument of its own: pass key=jax.random.key(seed), got it in vary or cases"
        )
