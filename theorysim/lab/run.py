"""Run a sim: experiments, then claims, then figures; what is finished is never lost and never computed twice.

Each experiment gets a key from the config's seed and its own name, so that adding an experiment changes no
other. Its data set is stored as soon as it is there and used again as long as its fingerprint (`provenance`)
holds. An experiment, claim or figure that fails stops none of the others: what needs a failed experiment is
undecided. Several experiments may be computed at a time (`side_by_side`); all the rest is done in one thread.

Example:
    >>> data = Results({}, {"tosses": "experiment tosses failed: OverflowError"})
    >>> data["tosses"]
    Traceback (most recent call last):
    MissingExperiment: experiment tosses failed: OverflowError
"""

import dataclasses
import functools
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import xarray as xr
from matplotlib.figure import Figure as Drawing

from theorysim.lab import figures, outputs, provenance
from theorysim.lab.console import Display, Line
from theorysim.lab.errors import one_line
from theorysim.lab.fields import field_docs
from theorysim.lab.outputs import Layout
from theorysim.lab.records import ClaimRecord, ExperimentRecord, FigureRecord, Outcome
from theorysim.lab.side_by_side import carry_out
from theorysim.lab.sim import Claim, Experiment, Figure, LeftOut, Sim
from theorysim.numerics.stats import Verdict
from theorysim.sweep import sweep

__all__ = ["Job", "MissingExperiment", "Results", "experiment_key", "run_sim"]


class Job(NamedTuple):
    """Everything a run needs to know."""

    sim: Sim
    """What to run."""
    source: Path
    """The file that defines it."""
    preset: str
    """The preset, which also names the folder of results."""
    config: Any
    """The preset's config, with the fields given as flags replaced."""
    layout: Layout
    """Where to write."""
    only: tuple[str, ...] = ()
    """Experiments to run; all of them when empty."""
    fresh: bool = False
    """Compute again what is there."""
    devices: int | None = None
    """How many devices to use; all of them when None."""
    jobs: int = 1
    """How many experiments to compute at a time; more than one in threads, under JAX's global settings."""


class MissingExperiment(Exception):
    """A claim or figure asked for the data of an experiment that failed or was not run."""


class Results(Mapping[str, xr.Dataset]):
    """Experiment name -> data set; asking for one that failed says so.

    Args:
        datasets: what there is.
        missing: experiment name -> why there is no data set.
    """

    def __init__(self, datasets: Mapping[str, xr.Dataset], missing: Mapping[str, str]):
        self._datasets = dict(datasets)
        self._missing = dict(missing)

    def __getitem__(self, name: str) -> xr.Dataset:
        if name in self._missing:
            raise MissingExperiment(self._missing[name])
        if name not in self._datasets:
            raise KeyError(f"data has {', '.join(self._datasets) or 'no experiment'}, got {name!r}")
        return self._datasets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)


def experiment_key(seed: int, name: str) -> jax.Array:
    """Return the random key of an experiment: a function of the seed and the experiment's name alone.

    Example:
        >>> experiment_key(0, "tosses").shape
        ()
    """
    return jax.random.fold_in(jax.random.key(seed), provenance.stable_hash(name))


def run_sim(job: Job, display: Display) -> Outcome:
    """Run a sim and write its outputs.

    The gallery, which the report shows, is replaced only if every experiment was run or is still valid; with
    `only`, figures that can be drawn go to `figures` under the results.

    Example:
        >>> run_sim.__module__
        'theorysim.lab.run'
    """
    started = time.perf_counter()
    code = provenance.code_hash(job.source)
    datasets: dict[str, xr.Dataset] = {}
    records: dict[str, ExperimentRecord] = {}
    pending: list[_Pending] = []
    for experiment in job.sim.experiments.values():
        mark = provenance.fingerprint(experiment.name, job.config, code)
        record = _without_computing(job, experiment, mark, datasets, display)
        if record is None:
            pending.append(_Pending(experiment, mark))
        else:
            display.begin(experiment.name, experiment.title).end(record)
            records[experiment.name] = record

    def keep(number: int, computed: _Computed) -> None:
        records[computed.record.name] = record = _keep(job, pending[number].mark, computed, datasets)
        computed.line.end(record)

    tasks = [functools.partial(_compute, job, item.experiment, display) for item in pending]
    carry_out(tasks, job.jobs, keep)
    records = {name: records[name] for name in job.sim.experiments}
    experiments = tuple(records.values())
    there = {name: datasets[name] for name in records if name in datasets}
    data = Results(there, {record.name: why for record in experiments if (why := _why_missing(record))})
    complete = not any(record.status == "skipped" for record in experiments)
    claims = tuple(_judge(claim, data, job.config) for claim in job.sim.claims.values())
    folder = job.layout.gallery if complete else job.layout.results / "figures"
    drawn = tuple(_draw(figure, data, job.config, folder) for figure in job.sim.figures.values())
    outcome = Outcome(job.sim.slug, job.preset, experiments, claims, drawn, complete)
    _write_records(job, outcome, seconds=time.perf_counter() - started)
    return outcome


class _Pending(NamedTuple):
    """An experiment to compute, and the fingerprint to store it under."""

    experiment: Experiment
    mark: str


class _Computed(NamedTuple):
    """What an experiment gave, not stored yet; no data set if it failed."""

    record: ExperimentRecord
    dataset: xr.Dataset | None
    line: Line


def _why_missing(record: ExperimentRecord) -> str:
    """Why there is no data set of an experiment; empty if there is one."""
    if record.status == "failed":
        return f"experiment {record.name} failed: {record.error}"
    if record.status == "left out":
        return f"experiment {record.name} is left out: {record.error}"
    return f"experiment {record.name} was not run" if record.status == "skipped" else ""


def _without_computing(
    job: Job, experiment: Experiment, mark: str, datasets: dict[str, xr.Dataset], display: Display
) -> ExperimentRecord | None:
    """Load an experiment that is still valid into `datasets`, or leave it out; None: it must be computed."""
    file = job.layout.dataset(experiment.name)
    asked = not job.only or experiment.name in job.only
    stored = None if job.fresh and asked else outputs.stored_record(file)
    if stored is not None and stored.get("fingerprint") == mark:
        try:
            datasets[experiment.name] = outputs.load_dataset(file)
            return ExperimentRecord(
                experiment.name,
                experiment.title,
                "reused",
                seconds=stored.get("seconds"),
                points=stored.get("points"),
                diverged=stored.get("diverged"),
            )
        except (OSError, ValueError):
            display.note(f"{file} is damaged: computing it again", style="yellow")
    return None if asked else ExperimentRecord(experiment.name, experiment.title, "skipped")


def _compute(job: Job, experiment: Experiment, display: Display) -> _Computed:
    """Call an experiment; of all that is kept, only the cells of its sweeps are written here."""
    line = display.begin(experiment.name, experiment.title)
    cells = job.layout.cells(experiment.name)
    if job.fresh:
        shutil.rmtree(cells, ignore_errors=True)
    ours = {"store": cells, "devices": job.devices, "executor": None, "progress": line.progress}

    @functools.wraps(sweep)
    def bound(fn: Any, **arguments: Any) -> xr.Dataset:
        line.next_sweep()
        return sweep(fn, **(ours | arguments))

    record = ExperimentRecord(experiment.name, experiment.title, "done")
    started = time.perf_counter()
    try:
        dataset = experiment.function(job.config, experiment_key(job.config.seed, experiment.name), bound)
        if not isinstance(dataset, xr.Dataset):
            raise TypeError(f"an experiment must return an xarray.Dataset, got {type(dataset).__name__}")
        record = record._replace(
            seconds=round(time.perf_counter() - started, 3),
            points=line.points,
            diverged=int(dataset.attrs["diverged"]) if "diverged" in dataset.attrs else None,
        )
    except LeftOut as error:
        return _Computed(record._replace(status="left out", error=" ".join(str(error).split())), None, line)
    except Exception as error:
        return _Computed(_failed(record._replace(seconds=time.perf_counter() - started), error), None, line)
    return _Computed(record, dataset, line)


def _keep(job: Job, mark: str, computed: _Computed, datasets: dict[str, xr.Dataset]) -> ExperimentRecord:
    """Store what an experiment gave, and put it into `datasets`."""
    record = computed.record
    if computed.dataset is None:
        return record
    file = job.layout.dataset(record.name)
    try:
        stored = {"fingerprint": mark, "config": job.config, **record._asdict()}
        outputs.save_dataset(file, computed.dataset, stored)
        # Read back, so that claims see the same data now as when they are loaded in a later run.
        datasets[record.name] = outputs.load_dataset(file)
    except Exception as error:
        return _failed(record, error)
    return record


def _failed(record: ExperimentRecord, error: Exception) -> ExperimentRecord:
    trace = "".join(traceback.format_exception(error))
    return record._replace(status="failed", error=one_line(error), trace=trace)


def _judge(claim: Claim, data: Results, config: Any) -> ClaimRecord:
    judged = ClaimRecord(
        claim.name, claim.statement, claim.unit, claim.expected, "undecided", None, None, None, ""
    )
    try:
        verdict = claim.function(data, config)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"a claim must return a Verdict, got {type(verdict).__name__}")
    except MissingExperiment as error:
        return judged._replace(detail=str(error))
    except Exception as error:
        return judged._replace(detail=one_line(error), trace=traceback.format_exc())
    numbers = {
        name: provenance.plain(getattr(verdict, name)) for name in ("measured", "predicted", "standard_error")
    }
    return judged._replace(status=verdict.status, detail=verdict.detail, **numbers)


def _draw(figure: Figure, data: Results, config: Any, folder: Path) -> FigureRecord:
    record = FigureRecord(figure.name, figure.caption, drawn=True)
    png, svg = folder / f"{figure.name}.png", folder / f"{figure.name}.svg"
    try:
        with figures.style():
            drawing = figure.function(data, config)
            if not isinstance(drawing, Drawing):
                raise TypeError(f"a figure must return a matplotlib Figure, got {type(drawing).__name__}")
            with outputs.replacing(png) as new_png, outputs.replacing(svg) as new_svg:
                figures.save(drawing, new_png, new_svg)
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            pyplot.close(drawing)
    except Exception as error:
        # A picture of another run must not stand beside the claims of this one.
        png.unlink(missing_ok=True)
        svg.unlink(missing_ok=True)
        expected = isinstance(error, MissingExperiment)
        message = str(error) if expected else one_line(error)
        return record._replace(drawn=False, error=message, trace="" if expected else traceback.format_exc())
    return record


def _write_records(job: Job, outcome: Outcome, *, seconds: float) -> None:
    """Write claims.json and run.json beside the results, and their public part into the gallery."""
    layout = job.layout
    run = _run_record(job, outcome, seconds=seconds)
    claims = [claim._asdict() for claim in outcome.claims]
    outputs.write_json(layout.results / "claims.json", claims)
    private = {"command": sys.argv, "source": str(job.source)}
    outputs.write_json(layout.results / "run.json", run | private)
    if not outcome.complete:
        return
    public = _without(("trace",), {"run": run, "claims": claims})
    public = _without_places(public, {layout.out: "DIR", job.source.parent: "SIMS", Path.home(): "~"})
    outputs.write_json(layout.gallery / "claims.json", public["claims"])
    outputs.write_json(layout.gallery / "run.json", public["run"])
    kept = {f"{figure.name}{suffix}" for figure in outcome.figures for suffix in (".png", ".svg")}
    for file in layout.gallery.iterdir():
        if file.suffix in (".png", ".svg") and file.name not in kept:
            file.unlink()


def _run_record(job: Job, outcome: Outcome, *, seconds: float) -> dict[str, Any]:
    sim, preset = job.sim, job.sim.presets[job.preset]
    docs = field_docs(type(job.config))
    fields = [
        {
            "name": field.name,
            "value": getattr(job.config, field.name),
            "preset_value": getattr(preset, field.name),
            "doc": docs.get(field.name, ""),
        }
        for field in dataclasses.fields(job.config)
    ]
    git = provenance.git_state(job.source.resolve().parent)
    return {
        "slug": sim.slug,
        "question": sim.question,
        "paper": {**sim.paper._asdict(), "authors": sim.paper.byline},
        "preset": job.preset,
        "config": fields,
        "experiments": [record._asdict() for record in outcome.experiments],
        "figures": [record._asdict() for record in outcome.figures],
        "seconds": round(seconds, 2),
        "versions": provenance.versions(),
        "devices": provenance.device_names(job.devices),
        "jobs": job.jobs,
        "x64": provenance.x64_enabled(),
        "git": git and git._asdict(),
    }


def _without(names: tuple[str, ...], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(names, item) for key, item in value.items() if key not in names}
    return [_without(names, item) for item in value] if isinstance(value, list | tuple) else value


def _without_places(value: Any, places: dict[Path, str]) -> Any:
    """Replace folders of this machine, which an error message may name."""
    if isinstance(value, dict):
        return {key: _without_places(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item, places) for item in value]
    if isinstance(value, str):
        for place, name in places.items():
            value = value.replace(str(place.resolve()), name)
    return value
