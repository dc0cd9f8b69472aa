"""Averages over the repetitions of a labelled result, with their standard errors.

Example:
    >>> import numpy as np, xarray as xr
    >>> runs = xr.DataArray(np.array([[1.0, 2.0], [3.0, 2.0]]), dims=("replica", "generation"))
    >>> found = mean_over(runs)
    >>> found.mean.tolist(), found.standard_error.tolist()
    ([2.0, 2.0], [1.0, 0.0])
"""

from typing import TYPE_CHECKING

from theorysim.numerics import stats

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["mean_over"]


def mean_over(array: "xr.DataArray", dim: str = "replica") -> stats.Estimate:
    """Mean and standard error along one named axis; the other axes keep their order.

    Args:
        array: repetitions along `dim`; NaN ones are left out and lower the count.
        dim: name of the axis of repetitions.

    Raises:
        ValueError: the array has no such axis.

    Example:
        >>> import xarray as xr
        >>> mean_over(xr.DataArray([1.0, 2.0, 3.0], dims="run"), "run").mean.item()
        2.0
    """
    if dim not in array.dims:
        raise ValueError(f"dim must be one of {', '.join(map(str, array.dims))}, got {dim!r}")
    return stats.mean_and_error(array.values, axis=array.get_axis_num(dim))
