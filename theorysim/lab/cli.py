"""The command `theorysim`: list the sims, run them, show what was found.

Exit status: 0 it ran, 1 something in a run failed (or, with --strict, a claim that was expected to hold is
refuted), 2 the command cannot be carried out as given, 130 interrupted by Ctrl-C. Only this command changes
settings: float64 on, and a cache of compiled programs that outlives the process.

Example:
    >>> main(["run", "no_such_sim"])
    2
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from theorysim import __version__
from theorysim.lab import catalog, outputs
from theorysim.lab.cli_arguments import (
    ClaimsOptions,
    NoOptions,
    ReportOptions,
    RunOptions,
    parse_options,
    parse_run,
    split_names,
)
from theorysim.lab.console import Display, claims_table, make_console
from theorysim.lab.cpu import enlarge_thread_pool
from theorysim.lab.errors import UsageError, did_you_mean, one_line
from theorysim.lab.outputs import Layout
from theorysim.lab.records import Outcome, read_gallery
from theorysim.lab.side_by_side import still_running
from theorysim.lab.sim import Sim

__all__ = ["main"]


class _Asked(NamedTuple):
    sim: Sim
    source: Path
    options: RunOptions
    config: object


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit status.

    Args:
        argv: the words after `theorysim`; those of the process by default.

    Example:
        >>> main(["--version"]) == 0
        0.1.0
        True
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(__version__)
        return 0
    status = _carry_out(words[0], words[1:])
    if still_running():  # an experiment after Ctrl-C: Python must not exit under a thread that is inside JAX
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _carry_out(name: str, rest: Sequence[str]) -> int:
    try:
        if name not in _COMMANDS:
            hint = did_you_mean(name, _COMMANDS)
            raise UsageError(f"COMMAND must be one of {', '.join(_COMMANDS)}, got {name!r}{hint}")
        return _COMMANDS[name](rest)
    except UsageError as error:
        prog = f"theorysim {name}" if name in _COMMANDS else "theorysim"
        print(f"{prog}: error: {error}", file=sys.stderr)
        return 2
    except SystemExit as error:  # after --help
        return int(error.code or 0)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `theorysim claims | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a path that cannot be looked at: too long, behind a closed folder
        print(f"theorysim {name}: error: {one_line(error)}", file=sys.stderr)
        return 2


def _help() -> str:
    lines = ["usage: theorysim COMMAND [arguments]", "", "Deep-learning theory, put to the test.", ""]
    lines += [f"  {name:<8} {(command.__doc__ or '').splitlines()[0]}" for name, command in _COMMANDS.items()]
    return "\n".join(
        [*lines, "", "`theorysim COMMAND --help` tells more, `theorysim --version` the version."]
    )


def _list(args: Sequence[str]) -> int:
    """List the sims: the question each asks, its paper, its presets."""
    parse_options(NoOptions, args, "theorysim list", _list.__doc__ or "")
    console = make_console()
    for slug in catalog.slugs():
        found = catalog.summary(catalog.find(slug))
        paper = f"{found.paper.title.rstrip('.')}. {found.paper.byline}. arXiv:{found.paper.arxiv}"
        console.print(Text.assemble((slug, "bold"), f"  {found.question}"))
        console.print(Text(f"  {paper}\n  presets: {', '.join(found.presets)}", style="dim"), soft_wrap=True)
    if not catalog.slugs():
        console.print("no sims are installed; `theorysim run FILE` runs one of your own")
    return 0


def _run(args: Sequence[str]) -> int:
    """Run sims: SLUG… | FILE… | all; judge the claims, draw the figures, build the report."""
    named = split_names(args)
    if not named.names:
        parse_options(RunOptions, named.rest, "theorysim run SLUG…|FILE…|all", _RUN_HELP)
        raise UsageError(f"SLUG must be given: one of {', '.join(('all', *catalog.slugs()))}, or a FILE")
    names = [slug for name in named.names for slug in (catalog.slugs() if name == "all" else (name,))]
    if not names:
        raise UsageError("all must stand for at least one sim, got none: no sims are installed")
    sources = {name: catalog.find(name) for name in names}
    outputs.check_writable(Path(_early(named.rest, "--out") or "."))
    jobs = _early(named.rest, "--jobs")
    # For two at least, whatever is asked: the size of the pool may change how a program is split, and rounds.
    _configure_jax(max(2, int(jobs)) if jobs.isdecimal() else 2)
    asked = _parse_each(sources, named.rest, named.preset)
    if asked[0].options.dry_run:
        return _dry_run(asked)
    return _compute(asked, ["theorysim", "run", *args])


def _claims(args: Sequence[str]) -> int:
    """Print the verdict on every claim of the latest runs, or of the sims named."""
    named = split_names(args)
    options = parse_options(ClaimsOptions, named.rest, "theorysim claims [SLUG…]", _claims.__doc__ or "")
    gallery = options.out / "figures"
    there = sorted(path.parent.name for path in gallery.glob("*/claims.json"))
    if not there:
        raise UsageError(
            f"--out must be a folder with figures/SLUG/claims.json from a run, got {options.out}"
        )
    for slug in named.names:
        if slug not in there:
            hint = did_you_mean(slug, there)
            raise UsageError(f"SLUG must be one that was run: {', '.join(there)}; got {slug!r}{hint}")
    console = make_console()
    for slug in named.names or there:
        run, records = read_gallery(gallery / slug)
        console.print(claims_table(f"{slug} ({run['preset']})", records))
    return 0


def _report(args: Sequence[str]) -> int:
    """Build DIR/figures/index.html again from the figures and claims that are there."""
    from theorysim.lab.report import build_report

    options = parse_options(ReportOptions, args, "theorysim report", _report.__doc__ or "")
    outputs.check_writable(options.out)
    print(build_report(options.out))
    return 0


def _data(args: Sequence[str]) -> int:
    """List the data sets that the sims use; `data get NAME` fetches one that does not come along."""
    from theorysim.lab.cli_data import data_command

    return data_command(args, _data.__doc__ or "")


def _doctor(args: Sequence[str]) -> int:
    """Check this machine: versions, devices, memory, disk, write rights."""
    from theorysim.lab.doctor import checks, checks_table

    options = parse_options(ReportOptions, args, "theorysim doctor", _doctor.__doc__ or "")
    _configure_jax()
    found = checks(options.out)
    make_console().print(checks_table(found))
    return 1 if any(check.good is False for check in found) else 0


def _advise(args: Sequence[str]) -> int:
    """Answer a question of practice from your numbers or your data."""
    from theorysim.lab.cli_advise import advise

    return advise(args, before=_configure_jax)


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "list": _list,
    "run": _run,
    "claims": _claims,
    "report": _report,
    "data": _data,
    "doctor": _doctor,
    "advise": _advise,
}

_RUN_HELP = """Run the sims named, or all of them.

Name one sim, `theorysim run SLUG --help`, to see the fields of its config, which are flags as well."""


def _early(args: Sequence[str], flag: str) -> str:
    """The value of a flag that is needed before the sims are loaded; empty if it is not there."""
    words = list(args)
    for place, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
        if word == flag and place + 1 < len(words):
            return words[place + 1]
    return ""


def _configure_jax(programs: int = 1) -> None:
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files
    # Half of a short run on a CPU is compilation. LLVM's level 2 takes 60 % of the time of XLA's default, and
    # its programs were as fast: samplers, trained networks, polynomials. A level that you set is kept.
    if "xla_backend_optimization_level" not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=2".strip()
    # A batch of small matrices is a LAPACK call each: threads inside of one cost thirty times what they save.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    enlarge_thread_pool(programs)

    import jax

    jax.config.update("jax_enable_x64", True)
    if not getattr(jax.config, "jax_compilation_cache_dir", None):
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(caches / "theorysim" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _parse_each(sources: dict[str, Path], args: Sequence[str], preset: str) -> list[_Asked]:
    """Load every sim and check every flag before anything is computed."""
    import jax

    asked = []
    for name, path in sources.items():
        sim = catalog.load(path)
        if len(sources) == 1:
            options, config = parse_run(sim, preset, args, f"theorysim run {name}")
        else:
            try:
                options = parse_options(RunOptions, args, f"theorysim run {' '.join(sources)}", _RUN_HELP)
            except UsageError as error:
                raise UsageError(f"{error}; fields of a config can be set for one sim at a time") from error
            _, config = parse_run(sim, preset, [], f"theorysim run {name}")
        for experiment in _only(options):
            if experiment not in sim.experiments:
                allowed = ", ".join(sim.experiments)
                hint = did_you_mean(experiment, sim.experiments)
                raise UsageError(
                    f"--only must name experiments of {sim.slug}: {allowed}; got {experiment!r}{hint}"
                )
        there = len(jax.local_devices())
        if options.devices is not None and not 1 <= options.devices <= there:
            raise UsageError(f"--devices must be an integer in [1, {there}], got {options.devices}")
        if options.jobs < 1:
            raise UsageError(f"--jobs must be an integer >= 1, got {options.jobs}")
        layout = Layout(options.out, sim.slug, options.preset)
        outputs.check_writable(layout.results)
        outputs.check_writable(layout.gallery)
        if any(sim.slug == other.sim.slug for other in asked):
            raise UsageError(f"sims of one run must have different slugs, got {sim.slug!r} twice")
        asked.append(_Asked(sim, path, options, config))
    return asked


def _only(options: RunOptions) -> tuple[str, ...]:
    return tuple(name.strip() for names in options.only for name in names.split(","))


def _compute(asked: Sequence[_Asked], command: Sequence[str]) -> int:
    import jax

    from theorysim.lab.report import build_report
    from theorysim.lab.run import run_sim

    console = make_console()
    outcomes: list[Outcome] = []
    options = asked[0].options
    total = sum(len(item.sim.experiments) for item in asked)
    try:
        with Display(console, total=total) as display:
            for item in asked:
                if outcomes:
                    # Each compiled program holds some forty memory maps, of 65,530 that Linux grants.
                    jax.clear_caches()
                display.note(f"{item.sim.slug} ({item.options.preset}): {item.sim.question}", style="bold")
                outcomes.append(run_sim(_job(item), display))
        report = build_report(options.out) if any(outcome.complete for outcome in outcomes) else None
    except KeyboardInterrupt:
        resume = shlex.join(word for word in command if word != "--fresh")
        print(
            f"interrupted; finished experiments and cells are kept in {options.out / 'results'}; "
            f"to go on: {resume}",
            file=sys.stderr,
        )
        return 130
    except OSError as error:
        print(f"theorysim run: error: results cannot be written: {one_line(error)}", file=sys.stderr)
        return 1
    for outcome in outcomes:
        console.print(claims_table(f"{outcome.slug} ({outcome.preset})", outcome.claims))
    return _tell(outcomes, options, report)


def _job(item: _Asked):
    from theorysim.lab.run import Job

    return Job(
        sim=item.sim,
        source=item.source,
        preset=item.options.preset,
        config=item.config,
        layout=Layout(item.options.out, item.sim.slug, item.options.preset),
        only=_only(item.options),
        fresh=item.options.fresh,
        devices=item.options.devices,
        jobs=item.options.jobs,
    )


def _tell(outcomes: Sequence[Outcome], options: RunOptions, report: Path | None) -> int:
    """Print what failed, what surprised and where the report is; return the exit status."""
    failed = surprising = False
    for outcome in outcomes:
        for record in outcome.experiments:
            if record.status == "failed":
                print(f"experiment {outcome.slug}.{record.name} failed: {record.error}", file=sys.stderr)
        for claim in outcome.claims:
            if claim.trace:
                print(f"claim {outcome.slug} {claim.name} failed: {claim.detail}", file=sys.stderr)
            if claim.surprising:
                print(
                    f"claim {outcome.slug} {claim.name} was expected to hold and is refuted", file=sys.stderr
                )
                surprising = True
        for figure in outcome.figures:
            if not figure.drawn and (outcome.complete or figure.trace):  # --only leaves out most of them
                print(f"figure {outcome.slug}.{figure.name} was not drawn: {figure.error}", file=sys.stderr)
        if outcome.traces:
            failed = True
            if options.debug:
                print("\n".join(outcome.traces), file=sys.stderr)
            else:
                where = Layout(options.out, outcome.slug, outcome.preset).results
                print(f"tracebacks: {where / 'run.json'} and claims.json, or --debug", file=sys.stderr)
        if not outcome.complete:
            where = Layout(options.out, outcome.slug, outcome.preset).results
            print(f"{outcome.slug} was run in part: its results are in {where}, the report is unchanged")
    if report is not None:
        print(f"report: {report}")
    return 1 if failed or (options.strict and surprising) else 0


def _dry_run(asked: Sequence[_Asked]) -> int:
    from theorysim.lab.dry_run import plan_sim

    console = make_console()
    for item in asked:
        for planned in plan_sim(_job(item)):
            stored = "  (a valid result is stored: nothing to compute)" if planned.stored else ""
            console.print(Text.assemble((f"{item.sim.slug}.{planned.name}", "bold"), stored))
            for number, plan in enumerate(planned.plans, start=1):
                console.print(f"  sweep {number}", style="dim")
                console.print("\n".join(f"    {line}" for line in str(plan).splitlines()), markup=False)
            if planned.note:
                console.print(f"  {planned.note}", style="yellow", markup=False)
            elif not planned.plans:
                console.print("  no sweep: this experiment computes by itself")
    return 0
