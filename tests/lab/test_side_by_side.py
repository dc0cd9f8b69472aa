"""Several experiments at a time: the same results, the same files, and Ctrl-C loses nothing."""

import signal
import threading
import time
from pathlib import Path

import jax
import pytest

from tests.sweep import kernels
from theorysim.lab import outputs
from theorysim.lab.cli import main
from theorysim.lab.side_by_side import carry_out, still_running
from theorysim.sweep import batching


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_result_is_kept_with_its_number_in_the_calling_thread(jobs):
    found, threads = {}, set()

    def keep(number, result):
        found[number] = result
        threads.add(threading.current_thread())

    carry_out([lambda n=n: n**2 for n in range(4)], jobs, keep)
    assert found == {0: 0, 1: 1, 2: 4, 3: 9}
    assert threads == {threading.current_thread()}


def test_as_many_at_a_time_as_asked():
    meeting = threading.Barrier(2, timeout=30)
    running, most = set(), []

    def task():
        running.add(threading.current_thread())
        meeting.wait()  # raises if it stands alone
        most.append(len(running))
        meeting.wait()
        running.discard(threading.current_thread())
        meeting.wait()

    carry_out([task] * 4, 2, lambda number, result: None)
    assert most == [2, 2, 2, 2]


def test_one_at_a_time_runs_in_the_calling_thread():
    threads = []
    carry_out([threading.current_thread] * 2, 1, lambda number, result: threads.append(result))
    assert threads == [threading.current_thread()] * 2


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt, SystemExit])
def test_what_a_task_raises_comes_out(error):
    def fails():
        raise error

    with pytest.raises(error):
        carry_out([fails, lambda: None], 2, lambda number, result: None)
    assert not still_running()


def test_two_sweeps_at_a_time_take_half_of_the_memory_each(monkeypatch):
    monkeypatch.setattr(batching, "free_memory", lambda: 1 << 30)
    found = []

    def budget():
        return batching.memory_budget(tuple(jax.devices("cpu")[:1]), 1)

    carry_out([budget, budget], 2, lambda number, result: found.append(result))
    assert found == [1 << 28, 1 << 28] and budget() == 1 << 29
    carry_out([budget], 2, lambda number, result: found.append(result))
    assert found[2] == 1 << 29, "one that is alone shares with nobody"


def same(one, two, name):
    a, b = (outputs.load_dataset(out / f"results/coins/tiny/{name}.nc") for out in (one, two))
    assert a.identical(b.assign_attrs(wall_seconds=a.attrs["wall_seconds"]))
    assert all(a[v].values.tobytes() == b[v].values.tobytes() for v in a.variables)


def test_the_results_are_those_of_one_at_a_time(coins, tmp_path):
    for jobs in ("1", "2"):
        words = ["run", str(coins), "--preset", "tiny", "--out", str(tmp_path / jobs), "--jobs", jobs]
        assert main(words) == 0
        run = outputs.read_json(tmp_path / jobs / "results/coins/tiny/run.json")
        assert run["jobs"] == int(jobs)
        assert [record["name"] for record in run["experiments"]] == ["shares", "spread"]
    for name in ("shares", "spread"):
        same(tmp_path / "1", tmp_path / "2", name)


# Three experiments of eight cells, a fifth of a second per point of a cell.
SLOW = '''
"""Three slow sweeps."""
from dataclasses import dataclass
import numpy as np
from tests.sweep import kernels
from theorysim.lab import Paper, Sim

@dataclass(frozen=True)
class Config:
    seed: int = 0
    batch: int = 1

sim = Sim(slug="slow", question="When?", presets={"quick": Config()},
          paper=Paper(title="On Patience", authors=("A. Waiter",), arxiv="1713.00002", year=1713))

def slowly(cfg, key, sweep):
    return sweep(kernels.slow, vary={"x": np.arange(8.0 * cfg.batch)}, batch=cfg.batch)

@sim.experiment
def one(cfg, key, sweep):
    return slowly(cfg, key, sweep)

@sim.experiment
def two(cfg, key, sweep):
    return slowly(cfg, key, sweep)

@sim.experiment
def three(cfg, key, sweep):
    return slowly(cfg, key, sweep)
'''


class Slow:
    """A run of the three experiments, two at a time, in a process of its own."""

    def __init__(self, folder: Path, batch: int) -> None:
        (folder / "slow.py").write_text(SLOW)
        self.words = ["run", str(folder / "slow.py"), "--out", str(folder / "out"), "--jobs", "2"]
        self.words += ["--batch", str(batch)]
        self.results = folder / "out" / "results" / "slow" / "quick"
        code = "import sys; from theorysim.lab.cli import main; sys.exit(main())"
        self.process = kernels.start_python(code, *self.words)

    def cells(self, name: str) -> int:
        return len(list((self.results / "cells" / name).glob("*.cell")))

    def wait_for(self, what) -> None:
        deadline = time.monotonic() + 60
        while not what() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)

    def press(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def errors(self) -> str:
        return self.process.communicate(timeout=60)[1]


def test_the_first_ctrl_c_ends_every_running_sweep_after_its_cell(tmp_path):
    slow = Slow(tmp_path, batch=1)
    slow.wait_for(lambda: slow.cells("one") and slow.cells("two"))
    slow.press()
    said = slow.errors()
    assert slow.process.returncode == 130, said
    kept = {name: slow.cells(name) for name in ("one", "two", "three")}
    assert 1 < kept["one"] + kept["two"] < 16 and kept["three"] == 0
    assert said.count("press Ctrl-C again to stop at once") == 1
    assert said.count("run the same again to resume") == 2 and "Traceback" not in said
    assert "to go on: theorysim run" in said
    assert not list(slow.results.rglob("*.tmp")) and not list(slow.results.glob("*.nc"))
    before = {file: file.stat().st_mtime_ns for file in slow.results.rglob("*.cell")}
    assert main(slow.words) == 0
    for name in ("one", "two", "three"):
        data = outputs.load_dataset(slow.results / f"{name}.nc")
        assert data.value.values.tolist() == list(range(8))
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_the_second_ctrl_c_waits_for_nothing(tmp_path):
    slow = Slow(tmp_path, batch=100)  # a cell of 20 seconds
    slow.wait_for(lambda: all((slow.results / "cells" / name).is_dir() for name in ("one", "two")))
    time.sleep(1.0)
    slow.press()
    time.sleep(0.3)
    assert slow.process.poll() is None, "the first waits for the cells"
    slow.press()
    said = slow.errors()
    assert slow.process.returncode == 130, said
    assert "to go on: theorysim run" in said and "Traceback" not in said
    assert slow.cells("one") == slow.cells("two") == 0
    assert "finished cells are kept in" not in said.replace("finished experiments and cells", "")


OUTSIDE = """
import os, signal, threading, time
from theorysim.lab.cli import main
from theorysim.lab.side_by_side import carry_out, still_running

def press():
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    return 7

kept = []
try:
    carry_out([lambda: time.sleep(600), press], 2, lambda number, result: kept.append(result))
except KeyboardInterrupt:
    print(kept, still_running(), flush=True)
main(["rum"])
print("never")
"""
SLOW_HANDLER = """
import os, time
write = os.write

def write_slowly(*arguments):
    time.sleep(0.5)  # longer than the wait that it interrupts
    return write(*arguments)

os.write = write_slowly
"""


@pytest.mark.parametrize("before", ["", SLOW_HANDLER], ids=["idle", "busy"])
def test_what_computes_outside_of_a_sweep_is_not_waited_for(before):
    done = kernels.run_python(before + OUTSIDE)
    assert (done.returncode, done.stdout) == (2, "[7] True\n"), done.stderr
    assert "COMMAND must be one of" in done.stderr
