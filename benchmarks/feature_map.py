"""What a report on the features of a network costs: time against other eigendecompositions, and memory.

The Gram route diagonalises the n x n matrix F F'/n. It is run on 4,000 of 20,000 examples, and its time
scaled by n^3; of the report it gives the spectrum and the quality, without errors. LAPACK has one thread on
all sides. Features of 60,000 x 2,048 are mapped from a file: what was read of it counts as memory of the
process.
"""

import functools
import tempfile

import numpy as np

from benchmarks.harness import Comparison, benchmark
from theorysim.feature_map import feature_report

CLASSES, ROWS = 10, 2000
GRAM = 4000  # examples of the Gram route
MIB_IN_ALL, MIB_OF_SETUP = 2048, 270


def classes(n, p):
    """Labels, and a function that draws some rows of features in float32 about the means of their classes."""
    means = np.random.default_rng(0).standard_normal((CLASSES, p), dtype=np.float32)
    labels = np.arange(n) % CLASSES

    def rows(start):
        own = labels[start : start + ROWS]
        noise = np.random.default_rng(1 + start).standard_normal((len(own), p), dtype=np.float32)
        return 0.1 * means[own] + noise

    return labels, means, rows


def in_memory(n, p):
    labels, means, rows = classes(n, p)
    return np.concatenate([rows(start) for start in range(0, n, ROWS)]).astype(np.float64), labels, means


def in_a_file(n, p):
    """The same in float32, mapped from a file without a name; its pages are read by the report alone."""
    labels, means, rows = classes(n, p)
    file = tempfile.TemporaryFile()
    for start in range(0, n, ROWS):
        file.write(rows(start).tobytes())
    file.flush()
    return np.memmap(file, np.float32, "r", shape=(n, p)), labels, means


def of_functions(values, functions, labels):
    """The first eigenvalues, and the quality of their orthonormal eigenfunctions (n, K)."""
    indicators = (labels[:, None] == np.arange(CLASSES)) / np.sqrt(np.bincount(labels))
    quality = ((indicators.T @ functions) ** 2).sum(0)
    return np.stack([values, quality])[:, : CLASSES - 1]


def by_gram(x, labels):
    x = x - x.mean(0)
    values, functions = np.linalg.eigh(x @ x.T / len(x))
    return of_functions(values[::-1], functions[:, ::-1], labels)


def by_svd(x, labels):
    x = x - x.mean(0)
    functions, s, _ = np.linalg.svd(x, full_matrices=False)
    return of_functions(s**2 / len(x), functions, labels)


def report(x, labels, readout, **options):
    found = feature_report(x, labels, readout=readout, **options)
    assert found.standard_errors is not None
    return np.stack([found.eigenvalues, found.quality])[:, : CLASSES - 1]


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@benchmark(
    "report on 20,000 x 512 with all errors, against the n x n matrix of 4,000 examples, scaled by n^3",
    target=20.0,
    memory_limit_mib=2048,
)
def against_gram():
    x, labels, readout = in_memory(20_000, 512)
    some = x[:GRAM], labels[:GRAM]
    return Comparison(
        ours=functools.partial(report, x, labels, readout),
        baseline=lambda: by_gram(*some),
        agree=lambda _, baseline: same(report(*some, readout), baseline),
        baseline_share=(GRAM / len(x)) ** 3,
    )


@benchmark("the same against the thin SVD of the features, which gives no errors", memory_limit_mib=2048)
def against_svd():
    x, labels, readout = in_memory(20_000, 512)
    return Comparison(
        ours=functools.partial(report, x, labels, readout),
        baseline=lambda: by_svd(x, labels),
        agree=same,
    )


@benchmark(
    "report on 60,000 x 2,048 in float32, a file of 469 MiB, with the errors of u, q and share",
    memory_limit_mib=MIB_IN_ALL - MIB_OF_SETUP,
)
def large():
    return Comparison(
        ours=functools.partial(report, *in_a_file(60_000, 2048), participation=False),
        note=f"with Python, JAX and its data the process is to stay within {MIB_IN_ALL} MiB",
    )


@benchmark("the same with the error of N2", memory_limit_mib=MIB_IN_ALL - MIB_OF_SETUP)
def large_with_all_errors():
    return Comparison(ours=functools.partial(report, *in_a_file(60_000, 2048)))
