"""What a run would compute, without computing it.

Each experiment is called with a `sweep` that plans instead of computing, and returns a data set of the right
shape without content (NaN, and 0 for integers), so that an experiment of several sweeps goes on to the next.
If what follows cannot live with such data, the list ends there and says so.

Example:
    >>> import numpy as np
    >>> planner = _Planner(store=None, devices=None)
    >>> data = planner(lambda x: 2.0 * x, vary={"x": np.arange(3.0)})
    >>> dict(data.sizes), planner.plans[0].points
    ({'x': 3}, 3)
"""

import functools
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from theorysim.lab import outputs, provenance
from theorysim.lab.errors import one_line
from theorysim.lab.run import Job, experiment_key
from theorysim.sweep import Plan, plan
from theorysim.sweep.job import check

__all__ = ["PlannedExperiment", "plan_sim"]


class PlannedExperiment(NamedTuple):
    """What one experiment would do."""

    name: str
    """The experiment."""
    stored: bool
    """True if a valid result exists, so that nothing would be computed."""
    plans: tuple[Plan, ...]
    """One plan per sweep, in order."""
    note: str
    """Why the list of sweeps may not be whole; empty if it is."""


def plan_sim(job: Job) -> tuple[PlannedExperiment, ...]:
    """Return what running `job` would do, experiment by experiment; nothing is written.

    Example:
        >>> plan_sim.__module__
        'theorysim.lab.dry_run'
    """
    code = provenance.code_hash(job.source)
    planned = []
    for experiment in job.sim.experiments.values():
        if job.only and experiment.name not in job.only:
            continue
        mark = provenance.fingerprint(experiment.name, job.config, code)
        stored = None if job.fresh else outputs.stored_record(job.layout.dataset(experiment.name))
        planner = _Planner(store=job.layout.cells(experiment.name), devices=job.devices)
        note = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # statistics of data sets without content
            try:
                experiment.function(job.config, experiment_key(job.config.seed, experiment.name), planner)
            except Exception as error:
                known = "nothing could be planned" if not planner.plans else "what follows depends on results"
                note = f"{known} ({one_line(error)})"
        valid = stored is not None and stored.get("fingerprint") == mark
        planned.append(PlannedExperiment(experiment.name, valid, tuple(planner.plans), note))
    return tuple(planned)


class _Planner:
    """A stand-in for `sweep` that keeps a list of plans."""

    def __init__(self, *, store: Path | None, devices: Any):
        self.plans: list[Plan] = []
        self._plan = functools.partial(plan, store=store, devices=devices)

    def __call__(self, fn: Any, **arguments: Any) -> xr.Dataset:
        self.plans.append(self._plan(fn, **arguments))
        return _empty(fn, arguments)


def _empty(fn: Any, arguments: dict[str, Any]) -> xr.Dataset:
    """The data set that the sweep would return, its values without content and without memory."""
    defaults = dict.fromkeys(("vary", "cases", "key", "executor", "devices", "dims", "coords"))
    given = {name: arguments.get(name) for name in defaults}
    job = check(
        fn,
        **given,
        replicas=arguments.get("replicas", 0),
        batch=arguments.get("batch", "auto"),
        stored=False,
    )
    cases = {name: len(values) for name, values in job.grid.cases}
    outer = cases | job.grid.sizes
    blank = {}
    for variable in job.variables:
        value = np.asarray(np.nan if variable.dtype.kind in "fc" else 0).astype(variable.dtype)
        shape = (*outer.values(), *variable.shape)
        blank[variable.name] = ((*outer, *job.axes[variable.name]), np.broadcast_to(value, shape))
    return job.frame.assign(blank).assign_attrs(diverged=0, failed=0)
