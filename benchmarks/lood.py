"""What leave-one-out distinguishability costs: all records from one factorisation, networks in one program.

A baseline that would take minutes to hours is run for a few records and scaled to all; the titles say to how
many. A refit is a whole one, as the definition has it: a model without the record. The Gram matrix is made
before, unless a side makes it itself; where memory counts, a title states the size of this matrix.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg
import scipy.optimize
from flax import nnx
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from benchmarks.harness import Comparison, benchmark, close
from theorysim import lood
from theorysim.data import digits
from theorysim.lood.queries import query_lood_of
from theorysim.networks.left_out import left_out_outputs
from theorysim.networks.mlp import MLP
from theorysim.networks.train import functional
from theorysim.numerics.gp import factor

FEATURES, LENGTH, NOISE = 10, 3.0, 0.1
# With the Gram matrix 4 n^2 numbers; of 2,000 records the compiled programs weigh as much as a matrix.
MIB_BESIDE_5000 = round(3 * 8 * 5000**2 / 1024**2)


def records(n):
    """Normal inputs and labels."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, FEATURES)), rng.standard_normal(n)


@jax.jit
def rows_of_gram(x):
    kernel = lood.rbf(length_scale=LENGTH)
    return jax.lax.map(lambda row: kernel(row[None], x)[0], x, batch_size=40)


def gram_of(x):
    """40 rows at a time, and waited for: the peak of the set-up must not hide what the sides take."""
    return jax.block_until_ready(rows_of_gram(jnp.asarray(x)))


def divergences(gram, y):
    """Leverage, surprise and KL of every record."""
    found = lood.leave_one_out(gram, y, noise=NOISE)
    return jnp.stack([found.leverage, found.surprise, lood.channel_kl(found.leverage, found.surprise)])


def kl_of_laws(mean_in, var_in, mean_out, var_out):
    ratio = var_in / var_out
    return (ratio - 1 - np.log(ratio) + (mean_in - mean_out) ** 2 / var_out) / 2


def prediction(gram, y, cross, prior):
    """Mean and variance of the function at one input, by LAPACK."""
    gram = gram.copy()
    gram[np.diag_indices(len(y))] += NOISE
    cholesky = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    weights = scipy.linalg.cho_solve(cholesky, cross, check_finite=False)
    return weights @ y, prior - weights @ cross


def same_kl(some, ours, refits):
    close(1e-6)(ours[2, :some], refits)


@benchmark(
    "h, zeta and KL of 2,000 records (Gram matrix 31 MiB), against as many refits by LAPACK, 5 of them run",
    target=500.0,
)
def against_refits():
    (x, y), some = records(2000), 5
    gram = gram_of(x)
    dense = np.asarray(gram)

    @functools.cache
    def inside(i):
        return prediction(dense, y, dense[i], dense[i, i])

    def refits():
        found = []
        for i in range(some):
            kept = np.arange(len(y)) != i
            outside = prediction(dense[kept][:, kept], y[kept], dense[kept, i], dense[i, i])
            found.append(kl_of_laws(*inside(i), *outside))
        return np.array(found)

    return Comparison(
        ours=lambda: divergences(gram, y),
        baseline=refits,
        agree=functools.partial(same_kl, some),
        baseline_share=some / len(y),
    )


@benchmark("the same from the inputs, against GaussianProcessRegressor of scikit-learn, 3 of 2,000 fits run")
def against_sklearn():
    (x, y), some = records(2000), 3

    def predicted(kept, i):
        # The hyperparameters are given: nothing is optimised.
        options: dict[str, Any] = {"alpha": NOISE, "optimizer": None}
        model = GaussianProcessRegressor(RBF(LENGTH), **options).fit(x[kept], y[kept])
        mean, deviation = model.predict(x[i : i + 1], return_std=True)
        return mean[0], deviation[0] ** 2

    @functools.cache
    def inside(i):
        return predicted(np.ones(len(y), bool), i)

    def refits():
        outside = [predicted(np.arange(len(y)) != i, i) for i in range(some)]
        return np.array([kl_of_laws(*inside(i), *law) for i, law in enumerate(outside)])

    return Comparison(
        ours=lambda: divergences(gram_of(x), y),
        baseline=refits,
        agree=functools.partial(same_kl, some),
        baseline_share=some / len(y),
    )


@benchmark("h, zeta and KL of 5,000 records (Gram matrix 191 MiB)", memory_limit_mib=MIB_BESIDE_5000)
def five_thousand():
    x, y = records(5000)
    gram = gram_of(x)
    return Comparison(ours=lambda: divergences(gram, y))


# Networks as the sim trains them, but with biases of variance 1, which are parameters as they stand.
NETWORKS, RECORDS, WIDTH, STEPS, RIDGE, SW2 = 64, 60, 128, 150, 0.5, 2.0


def small_digits(n):
    """Parity of digits, inputs of norm 1."""
    data = digits()
    x = data.x[:n] / np.linalg.norm(data.x[:n], axis=1, keepdims=True)
    return jnp.asarray(x), jnp.asarray(np.where(data.y[:n] % 2 == 0, 1.0, -1.0))


def left_out_problem():
    """One training as a function of a key and a mask, and the arguments of all 64."""
    x, y = small_digits(RECORDS)
    x = math.sqrt(x.shape[1]) * x
    ntk = lood.mlp("relu", depth=1, sw2=SW2, sb2=1.0, get="ntk")(x, x)
    edge = 1.8 * float(jnp.linalg.eigvalsh(ntk)[-1])
    keys = jax.random.split(jax.random.key(0), NETWORKS)
    kept = jnp.arange(RECORDS)[None] != jnp.arange(NETWORKS)[:, None] % RECORDS
    return x, y, edge, keys, kept


def left_out(x, y, edge):
    return functools.partial(
        left_out_outputs,
        X=x,
        y=y,
        noise=RIDGE,
        edge=edge,
        activation="relu",
        depth=1,
        width=WIDTH,
        sw2=SW2,
        sb2=1.0,
        steps=STEPS,
    )


def ordinary_script(x, y, edge):
    """Training as it is usually written: one compiled step of optax, called from Python."""
    x, y = (jnp.asarray(a, jnp.float32) for a in (x, y))
    root, least = math.sqrt(edge + RIDGE), math.sqrt(RIDGE)
    optimizer = optax.sgd(4 / (root + least) ** 2, momentum=((root - least) / (root + least)) ** 2)
    widths = (x.shape[1], WIDTH, 1)

    def network(key):
        return functional(
            MLP(
                widths,
                activation=jax.nn.relu,
                weight_std=(1.0, 1.0),
                bias_std=(1.0, 1.0),
                multipliers=[math.sqrt(SW2 / n) for n in widths[:-1]],
                rngs=nnx.Rngs(key),
            )
        )

    apply = network(jax.random.key(0)).apply

    @jax.jit
    def step(params, state, start, kept):
        def loss(params):
            moved = optax.tree.norm(optax.tree.sub(params, start), squared=True)
            return (jnp.where(kept, apply(params, x)[:, 0] - y, 0) ** 2).sum() / 2 + RIDGE / 2 * moved

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    initial = jax.jit(lambda key: network(key).params)
    outputs = jax.jit(lambda params: apply(params, x))

    def trained(key, kept):
        start = params = initial(key)
        state = optimizer.init(params)
        for _ in range(STEPS):
            params, state = step(params, state, start, kept)
        return outputs(params)

    return trained


# Outputs are of order 1; in float32 the kinks of ReLU amplify rounding along 150 steps.
same_outputs = close(0.0, 0.02)


def together(problem):
    *data, keys, kept = problem
    vmapped = jax.jit(jax.vmap(lambda key, kept: left_out(*data)(key, kept).outputs))
    return lambda: vmapped(keys, kept)


@benchmark("64 left-out networks vmapped against a Python loop over networks and steps", target=5.0)
def networks_against_script():
    problem, some = left_out_problem(), 8
    *data, keys, kept = problem
    script = ordinary_script(*data)
    return Comparison(
        ours=together(problem),
        baseline=lambda: jnp.stack([script(keys[i], kept[i]) for i in range(some)]),
        agree=lambda ours, baseline: same_outputs(ours[:some], baseline),
        baseline_share=some / NETWORKS,
    )


@benchmark("64 left-out networks vmapped against a loop over wholly compiled trainings")
def networks_against_compiled():
    problem = left_out_problem()
    *data, keys, kept = problem
    one = left_out(*data)
    return Comparison(
        ours=together(problem),
        baseline=lambda: jnp.stack([one(*pair).outputs for pair in zip(keys, kept, strict=True)]),
        agree=same_outputs,
    )


def search(x, y, length_scale, noise, domain):
    """One reconstruction, compiled: log KL at the best of four starts for a key and a record."""
    kernel = lood.rbf(length_scale=length_scale)

    @jax.jit
    def one(key, record):
        best = lood.optimal_query(key, kernel, x, y, record[None], noise=noise, starts=4, domain=domain)
        return jnp.log(best.value)

    return one


TARGETS = 64
ON_SPHERE: dict[str, Any] = {"length_scale": 1.0, "noise": 0.01, "domain": "sphere"}


@benchmark("64 of 150 digits reconstructed together, 4 starts, against L-BFGS of scipy, 8 run", target=10.0)
def reconstruct_against_scipy():
    """The ordinary script: value and gradient are compiled, the search is scipy's, start after start."""
    (x, y), some = small_digits(150), 8
    kernel = lood.rbf(length_scale=ON_SPHERE["length_scale"])
    cholesky = factor(kernel(x, x), noise=ON_SPHERE["noise"])

    @jax.jit
    @jax.value_and_grad
    def loss(q, record):
        q = q / jnp.linalg.norm(q)
        return -jnp.log(query_lood_of(kernel, x, y[:, None], record[None], q[None], cholesky).kl)

    rng = np.random.default_rng(0)
    mean, spread = np.asarray(x).mean(0), 0.5 * np.asarray(x).std(0)
    others = np.asarray(x)[rng.integers(TARGETS, len(x), (some, 2))]
    centres = np.concatenate([np.broadcast_to(mean, others.shape), others], axis=1)
    starts = centres + spread * rng.standard_normal(centres.shape)

    def best_of(record):
        found = [
            scipy.optimize.minimize(loss, start, args=(jnp.asarray(record),), jac=True, method="L-BFGS-B")
            for start in starts[record]
        ]
        return -min(end.fun for end in found)

    def both_find(ours, baseline):
        """Starts differ; the best of four finds the record for nearly all."""
        assert np.median(np.abs(np.asarray(ours[:some]) - baseline)) < 1e-6

    keys, targets = jax.random.split(jax.random.key(0), TARGETS), jnp.arange(TARGETS)
    vmapped = jax.jit(jax.vmap(search(x, y, **ON_SPHERE)))
    return Comparison(
        ours=lambda: vmapped(keys, targets),
        baseline=lambda: np.array([best_of(record) for record in range(some)]),
        agree=both_find,
        baseline_share=some / TARGETS,
    )


@benchmark("the same against one record after the other, each wholly compiled, 8 run")
def reconstruct_against_compiled():
    one, some = search(*small_digits(150), **ON_SPHERE), 8
    keys, targets = jax.random.split(jax.random.key(0), TARGETS), jnp.arange(TARGETS)
    vmapped = jax.jit(jax.vmap(one))
    return Comparison(
        ours=lambda: vmapped(keys, targets),
        baseline=lambda: jnp.stack([one(*pair) for pair in zip(keys[:some], targets[:some], strict=True)]),
        agree=lambda ours, baseline: close(0.0, 1e-6)(ours[:some], baseline),
        baseline_share=some / TARGETS,
        note="arithmetic binds: a query costs as much alone as among 256, which wait for the slowest",
    )
