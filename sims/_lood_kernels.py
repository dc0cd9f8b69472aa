"""One point of each experiment on leave-one-out distinguishability: pure functions of numbers and a key."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from theorysim import lood
from theorysim.networks.left_out import left_out_outputs
from theorysim.numerics.gaussian import safe_sqrt
from theorysim.numerics.minimise import lbfgs

from ._lood_config import EDGES

# The hidden layer of the exact-posterior networks, whose NNGP is that of depth 1.
LAYER: dict[str, Any] = {"sw2": 2.0, "sb2": 0.1}
# Where the last two queries of a group may end to count as its members.
FOUND = 0.1


def exact_network(key, *, X, y, noise, width):
    """One network whose readout is an exact posterior draw: outputs with, and without each record."""
    features, draw = jax.random.split(key)
    phi = lood.random_features(features, X, "relu", width=width, **LAYER)
    ensemble = lood.sample_then_optimize(draw, phi, y, noise=noise, networks=1)
    return {"inside": ensemble.inside[0], "outside": ensemble.outside[0]}


def trained_network(left_out, key, *, X, y, noise, edge, width, steps):
    """One network trained by gradients without the record `left_out` (len(y): with all)."""
    kept = jnp.arange(len(y)) != left_out
    network = left_out_outputs(
        key,
        kept,
        X,
        y,
        noise=noise,
        edge=edge,
        activation="relu",
        depth=1,
        width=width,
        steps=steps,
        **LAYER,
    )
    return {"output": network.outputs.ravel(), "gradient": network.gradient_norm}


def seen_on_plane(u, v, *, kernel, X, y, noise, record):
    """What the query (u, v) sees of a record."""
    seen = lood.query_lood(kernel, X, y, [record], jnp.array([u, v])[None], noise=noise)
    return {"kl": seen.kl, "mean_distance": seen.mean_distance}


def maximiser_under_noise(tau, *, kernel, X, noise, record):
    """Where rho^2 is largest for an attacker whose outputs carry noise of variance tau, starting at S."""
    gram = kernel(X, X)

    def loss(q):
        cross = kernel(q[None], X)
        rho2 = lood.query_leverage(gram, cross, kernel(q[None], q[None])[0], noise=noise)[record, 0]
        variance = kernel(q[None], q[None])[0, 0] - cross[0] @ jnp.linalg.solve(
            gram + noise * jnp.eye(len(X)), cross[0]
        )
        # rho^2 = gained/(v + gained), v with all records; the attacker's outputs have tau beside it.
        gained = rho2 * variance / (1 - rho2)
        return -jnp.log(gained / (variance + gained + tau))

    query = lbfgs(loss, X[record] + 0 * tau)
    return {"query": query, "shift": jnp.linalg.norm(query - X[record])}


def search_kernel(name):
    """Kernels of the searches: RBF of length 1, and networks of depth 3 on the edge of chaos."""
    if name == "rbf":
        return rbf()
    return lood.edge_of_chaos_kernel(name, depth=3, bias_variance=EDGES[name])


def searched(S, key, *, kernel, X, y, noise, queries, starts, objective, domain):
    """The queries that see most of the records S, and how far from every one of them they are."""
    X = jnp.asarray(X)
    best = lood.optimal_query(
        key,
        search_kernel(kernel),
        X,
        y,
        S,
        noise=noise,
        queries=queries,
        starts=starts,
        steps=300,
        objective=objective,
        domain=domain,
    )
    distance = jnp.linalg.norm(X[S][:, None] - best.query[None], axis=-1)
    everywhere = jnp.linalg.norm(X[:, None] - best.query[None], axis=-1).min(1)
    other = everywhere.at[S].set(jnp.inf).min()
    starts_found = jnp.linalg.norm(best.all_starts.query - X[S][None, :1], axis=-1).min(1) < FOUND
    return {
        "gain": jnp.log(best.value) - jnp.log(best.value_at_record),
        "query": best.query,
        "distance": distance.min(1),
        "other": other,
        "per_start": starts_found.mean(),
    }


def exposure(gram, y, noise):
    """What every record leaks under one kernel."""
    found = lood.leave_one_out(gram, y, noise=noise)
    h, zeta = found.leverage, found.surprise
    return {
        "leverage": h,
        "surprise": zeta,
        "information": lood.information_gain(h),
        "kl": lood.channel_kl(h, zeta),
        "auc": lood.attack_auc(h, zeta),
        "right": (jnp.sign(found.mean[:, 0]) == jnp.sign(y)).astype(gram.dtype),
    }


def tangent_problem(key, *, phi, n, d, noise):
    """The best query for one record of a random problem on a sphere, in a gradient-trained ensemble.

    KL(in || out) of one output, at the record and at its maximum, and the AUCs there.
    """
    at, labels, start = jax.random.split(key, 3)
    X = jax.random.normal(at, (n, d))
    X = jnp.sqrt(float(d)) * X / jnp.linalg.norm(X, axis=1, keepdims=True)
    y = jax.random.rademacher(labels, (n,), X.dtype)
    nngp, ntk = (lood.mlp(phi, depth=2, get=get, **LAYER) for get in ("nngp", "ntk"))
    K, T = nngp(X, X), ntk(X, X)
    ensembles = [_prepared(K[out:, out:], T[out:, out:], y[out:], noise) for out in (1, 0)]

    def laws(q):
        """Mean and variance of the output at q, without record 0 and with it."""
        q = (jnp.sqrt(float(d)) * q / safe_sqrt((q**2).sum()))[None]
        k, t, variance = nngp(q, X)[0], ntk(q, X)[0], nngp(q, q)[0, 0]
        found = []
        for out, (G, alpha, spread) in zip((1, 0), ensembles, strict=True):
            found += [t[out:] @ alpha, variance - 2 * k[out:] @ G @ t[out:] + t[out:] @ spread @ t[out:]]
        return found

    def kl(q):
        return _kl(*laws(q))

    near = X[:1] + 0.1 * jax.random.normal(start, (4, d))

    def climb(q):
        end = lbfgs(lambda q: -jnp.log(kl(q)), q)
        return end, kl(end)

    ends, values = jax.vmap(climb)(near)
    best = ends[jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values))]
    # At the record by the library, whose closed forms the search thereby checks.
    at = lood.ntk_leave_one_out(K, T, y, noise=noise)
    record = at.mean_out[0, 0], at.var_out[0], at.mean_in[0, 0], at.var_in[0]
    auc = [lood.gaussian_pair_auc(*law) for law in (laws(best), record)]
    return {"gain": jnp.log(kl(best) / _kl(*record)), "auc_gain": auc[0] - auc[1]}


def _prepared(K, T, y, noise):
    """What `lood.ntk_posterior` needs of the records, made once for a whole search."""
    G = jnp.linalg.inv(T + noise * jnp.eye(len(y)))
    return G, G @ y, G @ K @ G


def _kl(m0, v0, m1, v1):
    """KL(in || out) of two normal laws."""
    return (v1 / v0 - 1 - jnp.log(v1 / v0) + (m1 - m0) ** 2 / v0) / 2


def edge_grams(x, phi, depths):
    """Normalised NNGP Gram matrices on the edge of chaos, one for each depth."""
    kernels = [lood.edge_of_chaos_kernel(phi, depth=L, bias_variance=EDGES[phi]) for L in depths]
    return jnp.stack([kernel(x, x) for kernel in kernels])


def he_grams(x, phi, depths):
    """NNGP Gram matrices of weight variance 2 and no biases, from inputs of variance 1."""
    x = x * x.shape[1] ** 0.5
    return jnp.stack([lood.mlp(phi, depth=L, sw2=2.0, sb2=0.0)(x, x) for L in depths])


rbf = partial(lood.rbf, length_scale=1.0)
