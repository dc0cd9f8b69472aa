"""A peer's process: run by the Python of its environment, which has nothing of ours.

    python -I _peer_process.py WORKER TASK FOLDER

reads inputs.npz in the folder and then one word a line: "call" computes, "save" writes results.npz. Each is
answered by "done". The worker, a Python file, has TASKS: by name, functions of the inputs that return what
is called, which returns arrays by name. It may have `prepare(inputs)`, called first, and `finish(results)`,
which waits for what is still computed.
"""

import runpy
import sys
from pathlib import Path

import numpy as np


def main():
    """Load, then compute when asked."""
    worker, task, folder = runpy.run_path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    prepare, finish = (worker.get(name, lambda value: value) for name in ("prepare", "finish"))
    with np.load(folder / "inputs.npz") as inputs:
        inputs = dict(inputs)
    prepare(inputs)
    call, results = worker["TASKS"][task](**inputs), {}
    print("done", flush=True)
    for line in sys.stdin:
        if line == "call\n":
            results = finish(call())
        else:
            np.savez(folder / "results.npz", **results)
        print("done", flush=True)


if __name__ == "__main__":
    main()
