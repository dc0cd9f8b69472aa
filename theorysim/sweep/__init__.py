"""Run a function over a grid: vmapped, sharded over devices, labelled, restartable.

    sweep(fn, vary={"rate": rates}, cases={"width": [64, 128]}, replicas=32, key=key) → xarray.Dataset

`fn` is written for one point and knows nothing of batches, devices or files. `vary` and `replicas` are traced
axes: flattened, vmapped, and sharded over all local devices; `cases` are static, one compilation each. A
*cell* is one case × one batch of points; with `store=` each finished cell is kept on disk under a hash of all
that it depends on, and a second run computes only what is missing. `plan` takes the same arguments and says
what would be done.

The module can be called itself: `theorysim.sweep(fn, …)` is `theorysim.sweep.sweep(fn, …)`.

Example:
    >>> import jax.numpy as jnp, theorysim
    >>> def decay(rate, time):
    ...     return jnp.exp(-rate * time)
    >>> data = theorysim.sweep(decay, vary={"rate": [1.0, 2.0], "time": jnp.linspace(0, 1, 5)})
    >>> round(float(data.value.sel(rate=2.0, time=0.5)), 4)
    0.3679
"""

import sys
from types import ModuleType

from theorysim.sweep.planning import Plan, plan
from theorysim.sweep.progress import ProgressEvent
from theorysim.sweep.run import sweep
from theorysim.sweep.store import StoreError

__all__ = ["Plan", "ProgressEvent", "StoreError", "plan", "sweep"]


class _CallableModule(ModuleType):
    """The package is loaded lazily as the attribute `theorysim.sweep`, the name under which users call it."""

    __call__ = staticmethod(sweep)


sys.modules[__name__].__class__ = _CallableModule
