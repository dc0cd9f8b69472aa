"""What kernels of infinitely wide residual networks gain over taking all pairs of inputs through every layer.

Depth 100 with uniform scales, ReLU, float32. neural-tangents (R. Novak et al., 2020, arXiv 1912.02803) is the
peer: compiled, in both of its ways to write the network. `serial` takes any schedule; `repeat`, one loop over
one layer, only equal scales, and is its faster way. A title states the size of a result whose memory counts.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np

from benchmarks._peers import NEURAL_TANGENTS, Missing, Peer
from benchmarks.harness import Comparison, benchmark, close, first_call_seconds
from theorysim.data import digits
from theorysim.width_depth import InfiniteResNetClassifier, kernels, schedule

DEPTH, NOISE = 100, 1e-4
LAYERS = {"depth": DEPTH, "alpha": math.sqrt(1 / DEPTH)}


def rows_of_digits(start, stop):
    """Real inputs with |x|^2 = d = 64, and their labels."""
    data = digits()
    x, y = data.x[start:stop], data.y[start:stop]
    return np.asarray(8 * x / np.linalg.norm(x, axis=1, keepdims=True), np.float32), y


def our_kernels(*x, **options):
    x, alpha2 = [jnp.asarray(rows) for rows in x], schedule("uniform", DEPTH).astype(jnp.float32)
    return lambda: kernels(*x, phi="relu", alpha2=alpha2, **options)


def with_peer(ours, agree, task, **inputs):
    """Our side against a process of neural-tangents; without a baseline if that cannot be had."""
    try:
        peer = Peer(NEURAL_TANGENTS, task, **inputs, **LAYERS)
    except Missing as error:
        return Comparison(ours, note=str(error))
    check = functools.partial(_check, agree, peer)
    return Comparison(ours, baseline=peer.call, agree=check, processes=(peer.pid,))


def _check(agree, peer, ours, _):
    agree(ours, peer.results())


def same_kernels(ours, peer):
    """Both kernels within 1e-5, relative to each entry."""
    for name, value in peer.items():
        close(1e-5)(getattr(ours, name), value)


def gram_of_digits(layers):
    x, _ = rows_of_digits(0, 500)
    return with_peer(our_kernels(x), same_kernels, "kernels", x=x, layers=layers)


def first_calls(name, baseline_processes):
    """Seconds until a new process has the result of the benchmark `name` of this file."""
    first = functools.partial(first_call_seconds, "width_depth", name)
    ours = functools.partial(first, "ours")
    try:
        NEURAL_TANGENTS.python()
    except Missing as error:
        return Comparison(ours, unit="s", note=str(error))
    return Comparison(ours, functools.partial(first, "baseline", baseline_processes), unit="s")


@benchmark("NNGP and NTK of 500 digits, against neural-tangents, serial", target=100.0)
def digits_serial():
    return gram_of_digits("serial")


@benchmark("the same, against neural-tangents, repeat", target=100.0)
def digits_repeat():
    return gram_of_digits("repeat")


@benchmark("the same, first call with compilation, against serial", target=20.0)
def first_serial():
    return first_calls("digits_serial", 1)


@benchmark("the same, first call with compilation, against repeat")
def first_repeat():
    return first_calls("digits_repeat", 3)


def against_layers(size, some, **options):
    """All pairs of normal inputs, which take little memory to prepare, against a few rows by every layer."""
    x = np.random.default_rng(0).standard_normal((size, 64), np.float32)
    first, rest = x[:some], x[some:]

    def agree(ours, scan):
        for ours_of, scan_of in zip(ours, scan, strict=True):
            if scan_of is not None:
                largest = float(jnp.abs(scan_of).max())
                close(0.0, 1e-5 * largest)(ours_of[:some, some:], scan_of)

    return Comparison(
        our_kernels(x, **options),
        baseline=our_kernels(first, rest, method="scan", **options),
        agree=agree,
        baseline_share=some * (size - some) / size**2,
    )


@benchmark("NNGP and NTK of 2,000 inputs (31 MiB), against every layer on all pairs", memory_limit_mib=150)
def two_thousand():
    return against_layers(2000, 100)


@benchmark("NTK of 10,000 inputs (381 MiB), 256 rows at a time, against the same", memory_limit_mib=600)
def ten_thousand():
    return against_layers(10_000, 20, get="ntk", rows=256)


@benchmark("fit to 1,000 digits and predict 797 with the NTK, against neural-tangents, repeat", target=1.0)
def classifier():
    (x, y), (new, _) = rows_of_digits(0, 1000), rows_of_digits(1000, 1797)
    model = InfiniteResNetClassifier(depth=DEPTH, kernel="ntk", noise=NOISE)

    def same_labels(ours, peer):
        shared = np.mean(ours == peer["scores"].argmax(1))
        assert shared > 0.99, shared

    one_hot = np.eye(10, dtype=np.float32)[y]
    return with_peer(
        lambda: model.fit(x, y).predict(new),
        same_labels,
        "regression",
        x=x,
        y=one_hot,
        new=new,
        noise=NOISE,
        layers="repeat",
    )
