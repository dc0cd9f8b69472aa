"""`python -m benchmarks [topic ...]` measures every benchmark of every file here and prints one table.

A missed target is shown, and fails only under `--strict`: a busy machine must not break a build. The numbers
also go to results/benchmarks.json.

Example:
    $ python -m benchmarks model_collapse --no-memory
"""

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

# As the command line does: a batch of small matrices is a LAPACK call each, and threads inside of one cost
# thirty times what they save. OpenBLAS reads it when NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import theorysim
from benchmarks.harness import Benchmark, Measurement, Spread, measure, memory_of, run_side
from theorysim.lab.cpu import enlarge_thread_pool

HERE = Path(__file__).parent
TOPICS = sorted(path.stem for path in HERE.glob("[!_]*.py") if path.stem != "harness")


def main() -> int:
    """Run what the command line asks for; the exit status is 1 if a benchmark could not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and memory.")
    parser.add_argument(
        "topics", nargs="*", metavar="topic", help=f"one of {', '.join(TOPICS)}; all by default"
    )
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a target is missed")
    parser.add_argument("--no-memory", action="store_true", help="measure no memory (three processes each)")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "benchmarks.json")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.topics) - set(TOPICS))
    if unknown:
        parser.error(f"topic must be one of {', '.join(TOPICS)}, got {unknown[0]}")

    enlarge_thread_pool()
    jax.config.update("jax_enable_x64", True)
    if options.side:
        name, _, side = options.side.partition(":")
        run_side(_benchmarks(options.topics[0])[name], side)
        return 0
    return _report(options)


def _report(options: argparse.Namespace) -> int:
    console = Console() if sys.stdout.isatty() else Console(width=150)
    measured: list[Measurement] = []
    failures = 0
    for topic in options.topics or TOPICS:
        for name, bench in _benchmarks(topic).items():
            with console.status(f"{topic}: {bench.title}"):
                try:
                    memory = {} if options.no_memory else {"memory": memory_of(topic, name)}
                    measured.append(measure(bench, **memory))
                except Exception as error:
                    failures += 1
                    console.print(f"[red]failed[/] {bench.title}: {type(error).__name__}: {error}")
    console.print(_table(measured))
    _save(measured, options.out)
    console.print(f"{options.out}")
    missed = sum(m.met is False for m in measured)
    return int(failures > 0 or (options.strict and missed > 0))


def _benchmarks(topic: str) -> dict[str, Benchmark]:
    module = importlib.import_module(f"benchmarks.{topic}")
    return {name: value for name, value in vars(module).items() if isinstance(value, Benchmark)}


def _table(measured: list[Measurement]) -> Table:
    title = f"median (least–greatest of the rounds), {os.cpu_count()} cores, {jax.default_backend()} backend"
    table = Table(title=title, title_justify="left")
    table.add_column("benchmark", ratio=1)
    for column in ("ours", "baseline", "ratio", "target", "MiB ours", "MiB baseline", "limit", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for m in measured:
        table.add_row(
            m.title + (f"\n[dim]{escape(m.note)}[/]" if m.note else ""),
            _size(m.ours, m.unit),
            _size(m.baseline, m.unit) if m.baseline else "–",
            _ratio(m.ratio, m.unit) if m.ratio else "–",
            f"{m.target:g}x" if m.target is not None else "–",
            *(
                f"{mib:.0f}" if mib is not None else "–"
                for mib in (m.ours_mib, m.baseline_mib, m.memory_limit_mib)
            ),
            {True: "[green]met[/]", False: "[red]missed[/]", None: "–"}[m.met],
        )
    return table


def _ratio(spread: Spread, counted: str | None) -> str:
    median, low, high = (f"{value:.3g}x" for value in spread)
    return median if counted else f"{median} ({low[:-1]}–{high[:-1]})"


def _size(spread: Spread, counted: str | None) -> str:
    """A count with its unit, or a time."""
    if counted:
        return f"{spread.median:,g} {counted}"
    unit, scale = next(
        (u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if spread.median >= s or s == 1e-6
    )
    median, low, high = (f"{value / scale:.3g}" for value in spread)
    return f"{median} {unit} ({low}–{high})"


def _save(measured: list[Measurement], path: Path) -> None:
    content = {
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "backend": jax.default_backend(),
        },
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "theorysim": theorysim.__version__,
        },
        "benchmarks": [
            {name: v._asdict() if isinstance(v, Spread) else v for name, v in m._asdict().items()}
            | {"met": m.met}
            for m in measured
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".json.new")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
