"""The report by blocks: the numbers of the dense path, from any array, in little memory; named errors."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.feature_map.problem import F, some
from theorysim.feature_map import feature_metrics, feature_report, standard_errors
from theorysim.feature_map.supplied import part, spans

TALL, WIDE = (61, 7), (23, 31)
# What is measured: shape, centred, targets in place of classes, what is given beside them.
CASES = [
    (TALL, True, False, ("readout", "outputs")),
    (TALL, True, False, ("outputs",)),
    (TALL, False, False, ("outputs",)),
    (TALL, True, True, ("readout",)),
    (WIDE, True, False, ("readout",)),
    (WIDE, False, False, ("outputs",)),
    (WIDE, True, True, ("outputs",)),
]


def problem(shape, targets=False, names=("readout",)):
    """NumPy features whose mean is not 0, with sorted classes, so that blocks lack some; what is beside them.

    Their eigenvalues span three decades: small ones would amplify rounding.
    """
    draw = np.random.default_rng(1)
    labels = np.sort(np.concatenate([np.arange(4), draw.integers(0, 4, shape[0] - 4)]))
    means = draw.normal(size=(4, shape[1]))
    x = means[labels] + draw.normal(size=shape) + 0.5
    w = means + draw.normal(size=means.shape)
    given = {"readout": w, "outputs": x @ w.T + 0.3 * draw.normal(size=(len(x), 4))}
    y = x[:, :2] ** 2 + draw.normal(size=(len(x), 2)) if targets else labels
    return x, y, {name: given[name] for name in names}


def errors_of(report, count=4):
    """The first standard errors as an array; all must be there."""
    return np.array([some(each) for each in some(report.standard_errors)[:count]])


def dense(x, labels, given, centred):
    """Metrics as inside of a training loop, and the errors of the readout, or of the one that fits."""
    numbers = feature_metrics(x, labels, centred=centred, **given)
    readout = given.get("readout")
    if readout is None:
        about = [a - a.mean(0) if centred else a for a in (x, given["outputs"])]
        readout = (np.linalg.pinv(about[0]) @ about[1]).T
    return numbers, standard_errors(x, labels, readout, centred=centred)


@pytest.mark.parametrize(("shape", "centred", "targets", "names"), CASES)
def test_blocks_give_the_numbers_of_the_dense_path(shape, centred, targets, names):
    x, labels, given = problem(shape, targets, names)
    found = feature_report(x, labels, centred=centred, block=9, **given)
    numbers, errors = dense(x, labels, given, centred)
    report, expected = found._asdict(), numbers._asdict()
    expected |= {} if expected["collapse"] is None else expected["collapse"]._asdict()
    assert (expected.pop("collapse") is None) == targets == (report["nc1"] is None)
    for name, value in expected.items():
        if value is None:
            assert report[name] is None
            continue
        scale = np.abs(value).max()
        np.testing.assert_allclose(report[name], value, rtol=0, atol=1e-12 * scale, err_msg=name)
    np.testing.assert_allclose(errors_of(found), np.array([some(each) for each in errors]), rtol=1e-12)


def test_any_array_and_any_block_give_the_same(tmp_path):
    x, labels, given = problem(TALL)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    whole = feature_report(x, labels, **given)
    for features, block in ((mapped, 16), (jnp.asarray(x), 16), (np.asfortranarray(x), 16), (x, 1)):
        other = feature_report(features, labels, block=block, **given)
        np.testing.assert_allclose(some(other.utility), some(whole.utility), rtol=1e-9)
        np.testing.assert_allclose(errors_of(other), errors_of(whole), rtol=1e-9)


def test_single_precision_stays_and_half_is_computed_in_it():
    x, labels, given = problem(TALL)
    narrow = x.astype(np.float16)
    exact = feature_report(narrow.astype(float), labels, block=9, **given)
    for features in (narrow.astype(np.float32), narrow):
        report = feature_report(features, labels, block=9, **given)
        assert report.eigenvalues.dtype == some(report.nc1).dtype == jnp.float32
        top = float(exact.eigenvalues[0])
        np.testing.assert_allclose(report.eigenvalues, exact.eigenvalues, atol=2e-6 * top)
        np.testing.assert_allclose(errors_of(report), errors_of(exact), rtol=1e-4)


def test_the_error_of_n2_is_optional():
    x, labels, given = problem(TALL)
    all_four, three = (
        feature_report(x, labels, block=9, participation=wanted, **given) for wanted in (True, False)
    )
    assert some(three.standard_errors).participation is None
    np.testing.assert_allclose(errors_of(three, 3), errors_of(all_four)[:3], rtol=1e-12)


def test_blocks_are_of_equal_size_and_hold_everything():
    assert list(spans(10, 4)) == [(0, 4), (4, 4), (8, 2)]
    assert list(spans(9, 4)) == [(0, 3), (3, 3), (6, 3)]
    assert list(spans(3, 4096)) == [(0, 3)]
    x = np.arange(12.0).reshape(4, 3)
    for array in (x, jnp.asarray(x)):
        np.testing.assert_array_equal(part(array, 1, 2, jnp.float32), x[1:3])
        np.testing.assert_array_equal(part(array, 1, 2, jnp.float32, axis=1), x[:, 1:3])


def last_is_nan(shape):
    x = np.array(problem(shape)[0])
    x[-1, -1] = np.nan
    return x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y, o: feature_report(last_is_nan(TALL), y, block=9), "features must be finite, got nan"),
        (lambda x, y, o: feature_report(x, y, outputs=last_is_nan((61, 4)), block=9), "outputs must be fin"),
        (lambda x, y, o: feature_report(last_is_nan(WIDE), y[:23] % 2, block=9), "features must be finite"),
        (lambda x, y, o: feature_report(x, y, outputs=0 * o + 0.1, block=9), "outputs must depend"),
        (lambda x, y, o: feature_report(x, y, outputs=o[:-1]), r"outputs must have shape \(61, outputs\)"),
        (lambda x, y, o: feature_report(x, np.ones((61, 2)) * x[:, :1]), "labels must be linearly indep"),
        (lambda x, y, o: feature_report(x, y * np.nan), "labels must be finite"),
        (lambda x, y, o: feature_report(x, y, block=0), "block must be an integer >= 1, got 0"),
        (lambda x, y, o: feature_report(x, y, classes=5), "labels must hold every class"),
        (lambda x, y, o: feature_report(0 * x + 0.1, y), "features must differ between examples, got 61"),
        (lambda x, y, o: feature_report(0 * x, y, centred=False), "features must not all be 0"),
        (lambda x, y, o: feature_report(x[:, :0], y), r"features must have shape \(n, p\) with p >= 1"),
        (lambda x, y, o: feature_report(x + 1j, y), "features must be real numbers, got dtype complex"),
    ],
)
def test_bad_input_is_named_before_or_in_its_block(call, message):
    x, labels, given = problem(TALL, names=("outputs",))
    with pytest.raises(ValueError, match=message):
        call(x, labels, given["outputs"])


def test_whole_numbers_are_cast_block_by_block():
    labels, whole = np.arange(20) % 3, np.round(10 * np.asarray(F)).astype(np.int16)
    with pytest.warns(UserWarning, match="features are int16 and were cast to float64"):
        cast = feature_report(whole, labels, block=7)
    same = feature_report(whole.astype(float), labels, block=7)
    np.testing.assert_array_equal(cast.eigenvalues, same.eigenvalues)


PEAK = """
import jax, numpy as np, sys
from pathlib import Path
from theorysim.feature_map import feature_report

def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024

x, labels = np.load(sys.argv[1], mmap_mode="r"), np.arange(100_000) % 10
readout = np.random.default_rng(0).normal(size=(10, 512))
feature_report(x[:8000], labels[:8000], readout=readout)  # the same blocks, compiled
before = peak()
feature_report(x, labels, readout=readout)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak memory of Linux")
def test_the_report_of_a_mapped_file_takes_no_more_than_its_blocks(tmp_path):
    """Of 195 MiB the pages that were read count as memory of the process; beside them at most 5 blocks."""
    path, draw = tmp_path / "x.npy", np.random.default_rng(0)
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(100_000, 512))
    for start in range(0, len(x), 4000):
        x[start : start + 4000] = draw.standard_normal((4000, 512), dtype=np.float32)
    x.flush()
    command = [sys.executable, "-c", PEAK, str(path)]
    # Without it glibc keeps what was freed, up to twenty blocks.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) < x.nbytes / 2**20 + 40


def test_a_traced_argument_is_refused():
    x, labels, _ = problem(TALL)
    with pytest.raises(ValueError, match="features must be concrete"):
        jax.jit(lambda x: feature_report(x, labels).gap)(x)
