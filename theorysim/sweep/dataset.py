"""From arrays of points to a labelled `xarray.Dataset`.

Every variable has the dims of the cases, of the varied axes, `replica`, and then its own axes, named by
`dims` or `<variable>_axis<i>`. Values that are not finite are NaN, which averages leave out; the points that
have one are counted in `attrs["diverged"]`, of the whole and of each variable.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim.numerics import validation
from theorysim.sweep.compiled import Variable
from theorysim.sweep.grid import REPLICA, Grid, labels

__all__ = ["assemble", "frame", "own_dims"]

_LARGEST_COORDINATE = 1_000_000


def own_dims(grid: Grid, variables: Sequence[Variable], dims: Any) -> dict[str, tuple[str, ...]]:
    """The names of the own axes of each output, and of each varied argument that is an array per point.

    Raises:
        ValueError: `dims` names neither, too few or too many axes, or a dim that is used with another length.
    """
    if not (dims is None or isinstance(dims, Mapping)):
        raise TypeError(f"dims must be a dictionary of axis names by variable, got {dims!r}")
    given = {name: (axes,) if isinstance(axes, str) else tuple(axes) for name, axes in (dims or {}).items()}
    taken = {*grid.sizes, *(name for name, _ in grid.cases)}
    inputs = [(axis.name, axis.values.shape[1:]) for axis in grid.varied]
    for variable in variables:
        if variable.name in taken.union(name for name, _ in inputs):
            raise ValueError(
                f"an output of fn must not be named like an axis of the sweep, got {variable.name!r}"
            )
    shapes = {**dict(inputs), **{variable.name: variable.shape for variable in variables}}
    for name in given:
        validation.choice(name, "a name in dims", shapes)
    found = {name: given.get(name, _default_axes(name, shape)) for name, shape in shapes.items()}
    _check_axes(found, shapes, taken)
    return found


def frame(
    grid: Grid,
    axes: Mapping[str, tuple[str, ...]],
    variables: Sequence[Variable],
    coords: Any,
) -> xr.Dataset:
    """The coordinates of the result, without its data: made before any work, so that bad `coords` cost none.

    Raises:
        ValueError: `coords` do not fit the dims of the result.
    """
    outer, shape = _outer(grid)
    blank = np.zeros(())
    shapes = {v.name: (outer + axes[v.name], np.broadcast_to(blank, shape + v.shape)) for v in variables}
    template = xr.Dataset(shapes, _coordinates(grid, axes))
    try:
        labelled = template.assign_coords(coords) if coords else template
    except (ValueError, TypeError) as error:
        raise ValueError(f"coords must fit the dims {dict(template.sizes)}: {error}") from None
    if unknown := sorted(map(str, set(labelled.sizes) - set(template.sizes))):
        raise ValueError(f"coords must lie on the dims {', '.join(map(str, template.sizes))}, got {unknown}")
    return labelled.drop_vars([variable.name for variable in variables])


def assemble(
    grid: Grid,
    frame: xr.Dataset,
    axes: Mapping[str, tuple[str, ...]],
    arrays: Mapping[str, np.ndarray],
    missing: np.ndarray,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Label `arrays`, each of shape `(cases, points, own axes…)`.

    Args:
        grid: the axes of the sweep.
        frame: its coordinates.
        axes: the names of each variable's own axes.
        arrays: the values; where `missing`, they have no meaning yet and become NaN.
        missing: shape `(cases, points)`, true for points of cells that failed. Integers and booleans of a
            variable with such points become float64 (exact up to 2**53).
        attrs: attributes of the whole.
    """
    outer, shape = _outer(grid)
    diverged = np.zeros(missing.shape, dtype=bool)
    variables = {}
    for name, array in arrays.items():
        lost = _not_finite(array) & ~missing
        diverged |= lost
        if lost.any():
            array[np.isinf(array)] = np.nan
        labelled = _with_nan(array, missing).reshape(shape + array.shape[2:])
        variables[name] = (outer + axes[name], labelled, {"diverged": int(lost.sum())})
    return frame.assign(variables).assign_attrs({"diverged": int(diverged.sum()), **attrs})


def _outer(grid: Grid) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and lengths of the axes of the sweep."""
    names = tuple(name for name, _ in grid.cases) + tuple(grid.sizes)
    return names, tuple(len(values) for _, values in grid.cases) + tuple(grid.sizes.values())


def _default_axes(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_axis{i}" for i in range(len(shape)))


def _check_axes(
    axes: Mapping[str, tuple[str, ...]], shapes: Mapping[str, tuple[int, ...]], taken: set[str]
) -> None:
    lengths: dict[str, int] = {}
    for name, names in axes.items():
        shape = shapes[name]
        if len(names) != len(shape) or len(set(names)) < len(names):
            raise ValueError(
                f"dims[{name!r}] must name {len(shape)} different axes for the shape {shape}, got {names}"
            )
        for axis, length in zip(names, shape, strict=True):
            if axis in taken:
                raise ValueError(f"dims[{name!r}] must not use an axis of the sweep, got {axis!r}")
            if lengths.setdefault(axis, length) != length:
                raise ValueError(
                    f"dims[{name!r}] must give {axis!r} one length, got {lengths[axis]} and {length}"
                )


def _not_finite(array: np.ndarray) -> np.ndarray:
    """True for the points, the first two axes, with any value that is not finite."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return np.zeros(array.shape[:2], dtype=bool)
    return np.any(~np.isfinite(array), axis=tuple(range(2, array.ndim)))


def _with_nan(array: np.ndarray, missing: np.ndarray) -> np.ndarray:
    if not missing.any():
        return array
    array = array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(np.float64)
    array[missing] = np.nan
    return array


def _coordinates(grid: Grid, axes: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    found: dict[str, Any] = {name: (name, labels(values)) for name, values in grid.cases}
    for axis in grid.varied:
        if axis.labels.size <= _LARGEST_COORDINATE:
            found[axis.name] = ((axis.dim, *axes[axis.name]), axis.labels, axis.attrs)
    if grid.replicas:
        found[REPLICA] = (REPLICA, np.arange(grid.replicas))
    return found
