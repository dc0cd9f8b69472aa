"""Ctrl-C, by a real signal to a process of its own."""

import signal
import threading

import numpy as np
import pytest

from tests.sweep import kernels
from theorysim.sweep import sweep
from theorysim.sweep.interrupt import deferred_interrupt

INTERRUPTED = """
import os, signal, sys, threading
import numpy as np
from tests.sweep import kernels
from theorysim.sweep import sweep

presses = int(sys.argv[2])

def press(event):
    if event.done_cells == 2:
        for i in range(presses):
            threading.Timer(0.1 + 0.3 * i, os.kill, (os.getpid(), signal.SIGINT)).start()

batch = int(sys.argv[3])
before = signal.getsignal(signal.SIGINT)
try:
    x = np.arange(float(8 * batch))
    sweep(kernels.slow, vary={"x": x}, batch=batch, store=sys.argv[1], progress=press)
except KeyboardInterrupt:
    assert signal.getsignal(signal.SIGINT) is before
    print("interrupted", flush=True)
    os._exit(3)
"""


def test_the_first_finishes_the_current_cell_and_says_how_to_resume(tmp_path, monkeypatch):
    done = kernels.run_python(INTERRUPTED, tmp_path, 1, 1)
    assert (done.returncode, done.stdout) == (3, "interrupted\n"), done.stderr
    assert "stopping after the current cell; press Ctrl-C again to stop at once" in done.stderr
    assert f"3 finished cells are kept in '{tmp_path}': run the same again to resume" in done.stderr
    assert len(list(tmp_path.glob("*.cell"))) == 3
    data = sweep(kernels.slow, vary={"x": np.arange(8.0)}, batch=1, store=tmp_path)
    assert data.value.values.tolist() == list(range(8))


def test_the_second_stops_at_once_and_keeps_whole_cells(tmp_path):
    done = kernels.run_python(INTERRUPTED, tmp_path, 2, 5)
    assert (done.returncode, done.stdout) == (3, "interrupted\n"), done.stderr
    assert "finished cells are kept" not in done.stderr
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".cell", ".cell"]


BY_EXECUTOR = """
import os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import numpy as np
from tests.sweep import kernels
from theorysim.sweep import sweep

def press(event):
    if event.done_cells == 1:
        os.killpg(0, signal.SIGINT)

if __name__ == "__main__":
    os.setpgrp()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        try:
            sweep(kernels.slow, vary={"x": np.arange(40.0)}, batch=1, store=sys.argv[1], progress=press,
                  executor=executor)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


def test_on_an_executor_running_cells_are_finished_and_the_rest_is_cancelled(tmp_path):
    done = kernels.run_python(BY_EXECUTOR, tmp_path)
    assert done.stdout == "interrupted\n", done.stderr
    stored = len(list(tmp_path.glob("*.cell")))
    assert 2 <= stored < 10
    assert f"{stored} finished cells are kept" in done.stderr


def test_outside_the_main_thread_no_handler_is_touched():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter():
        with deferred_interrupt() as interrupted:
            seen.append((signal.getsignal(signal.SIGINT), interrupted()))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


def test_the_handler_is_restored_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ArithmeticError), deferred_interrupt():
        raise ArithmeticError
    assert signal.getsignal(signal.SIGINT) is before
