import re
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from tests.sweep import kernels
from theorysim.sweep import sweep

X = np.arange(8.0)


def test_a_cell_that_fails_is_recorded_and_the_rest_goes_on(tmp_path):
    with ThreadPoolExecutor(2) as executor:
        asked = {"vary": {"x": X}, "batch": 2, "executor": executor, "store": tmp_path}
        with pytest.warns(
            UserWarning, match="1 of 4 cells failed and are NaN: points 2 to 3: .*three is not allowed$"
        ):
            data = sweep(kernels.fails_at_three, **asked)
    assert np.isnan(data.y.values).tolist() == [False, False, True, True, False, False, False, False]
    assert data["count"].dtype == np.float64 and np.isnan(data["count"].values[2])
    assert (data.attrs["failed"], data.attrs["diverged"]) == (1, 0)
    (failure,) = data.attrs["failures"]
    assert re.match("points 2 to 3: .*ArithmeticError: three is not allowed", failure, re.DOTALL)
    assert len(list(tmp_path.glob("*.cell"))) == 3


def test_a_cell_that_fails_once_is_tried_again():
    attempts = []

    def fails_first(x):
        attempts.append(1)
        if len(attempts) == 2:  # the first trace is that of the shapes
            raise ArithmeticError("not yet")
        return x

    with ThreadPoolExecutor(1) as executor:
        data = sweep(fails_first, vary={"x": X}, batch=8, executor=executor)
    assert data.attrs["failed"] == 0
    assert data.value.values.tolist() == X.tolist()


def test_a_worker_that_dies_is_an_error_that_keeps_what_is_finished(tmp_path):
    executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with (
        executor,
        pytest.raises(BrokenExecutor, match="a worker of the executor died; 1 finished cells are kept"),
    ):
        sweep(kernels.dies_at_three, vary={"x": X}, batch=2, executor=executor, store=tmp_path)
    assert len(list(tmp_path.glob("*.cell"))) == 1


def test_in_the_process_itself_a_failure_is_raised_with_its_case():
    with pytest.raises(Exception, match="three is not allowed") as caught:
        sweep(lambda x, n: kernels.fails_at_three(x), vary={"x": X}, cases={"n": [1]})
    assert "raised in the case n=1 of the sweep" in caught.value.__notes__


def test_workers_choose_the_batch_of_each_case(tmp_path):
    asked = {"vary": {"x": np.arange(1000.0)}, "cases": {"n": [1, 2]}, "store": tmp_path}
    with ThreadPoolExecutor(2) as executor:
        data = sweep(kernels.power, **asked, executor=executor)
    assert data.attrs["batch"] == 250
    assert sweep(kernels.power, **asked).attrs["batch"] == 250
