"""Leave-one-out distinguishability: exact leakage of single records beside networks trained without them.

Digits, some with wrong labels, are the records. Networks that are exact posterior draws and networks trained
by gradients, with all records and without single ones, are attacked; the success is compared with the closed
form, record by record. Queries are searched that see most of a record, which reconstructs it; kernels of
several activations and depths are compared; the paper's claims are judged.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim import lood
from theorysim.lab import Paper, Sim

from . import _lood_kernels as kernels
from ._beside import register
from ._lood_claims import CLAIMS
from ._lood_config import EDGES, NOISE, QUERY_NOISE, Config, plane_problem, records
from ._lood_figures import FIGURES

sim = Sim(
    slug="lood",
    question="How much do the outputs of a model tell about one training record?",
    paper=Paper(
        title="Leave-one-out Distinguishability in Machine Learning",
        authors=("J. Ye", "A. Borovykh", "S. Hayou", "R. Shokri"),
        arxiv="2309.17310",
        year=2024,
    ),
    presets={
        "quick": Config(),
        "paper": Config(
            dataset="mnist",
            records=1000,
            flipped=50,
            widths=(32, 128, 512, 2048, 8192),
            networks=4000,
            trained_records=200,
            trained_left_out=100,
            trained_width=512,
            trained_seeds=100,
            targets=64,
            starts=8,
            problems=200,
            study_records=1500,
            depths=(1, 2, 5, 10, 20, 50, 100),
        ),
        "tiny": Config(
            records=24,
            flipped=2,
            widths=(16, 64),
            networks=60,
            trained_records=20,
            trained_left_out=6,
            trained_width=16,
            trained_seeds=8,
            targets=4,
            starts=2,
            problems=5,
            study_records=40,
            depths=(1, 10),
        ),
    },
)


def scaled(x) -> np.ndarray:
    """Inputs of norm^2 = d, whose features have variance 1."""
    return x * x.shape[1] ** 0.5


@sim.experiment
def exact_networks(cfg, key, sweep) -> xr.Dataset:
    """Networks with an exact posterior readout, with and without each record, for every width."""
    data = records(cfg.dataset, cfg.records, cfg.flipped)
    X, kernel = scaled(data.x), lood.mlp("relu", depth=1, **kernels.LAYER)
    theory = kernels.exposure(kernel(X, X), data.y, NOISE)
    found = []
    for i, width in enumerate(cfg.widths):
        one = functools.partial(kernels.exact_network, X=X, y=data.y, noise=NOISE, width=width)
        dims = dict.fromkeys(("inside", "outside"), ("record",))
        found.append(sweep(one, replicas=cfg.networks, key=jax.random.fold_in(key, i), dims=dims))
    runs = xr.concat(found, "width").assign_coords(width=list(cfg.widths))
    predicted = {f"{name}_predicted": ("record", np.asarray(value)) for name, value in theory.items()}
    return runs.assign(predicted).assign(y=("record", data.y))


@sim.experiment
def refits(cfg, key, sweep) -> xr.Dataset:
    """The closed form against kernels refitted without one record, and two queries beside it."""
    data = records(cfg.dataset, cfg.records, cfg.flipped)
    X, kernel = scaled(data.x), lood.mlp("relu", depth=1, **kernels.LAYER)
    Q = scaled(records(cfg.dataset, cfg.records + 2).x[-2:])
    cross, query_gram, gram = kernel(Q, X), kernel(Q, Q), kernel(X, X)
    posterior = lood.posterior(gram, cross, query_gram, data.y, noise=NOISE)
    outside = lood.leave_one_out_at(gram, cross, query_gram, data.y, noise=NOISE)
    found = []
    for i in range(min(20, cfg.records)):
        left = np.delete(np.arange(cfg.records), i)
        refit = lood.posterior(gram[left][:, left], cross[:, left], query_gram, data.y[left], noise=NOISE)
        closed = lood.lood(posterior, lood.Posterior(outside.mean[i], outside.cov[i]))
        again = lood.lood(posterior, refit)
        found.append([list(map(float, closed)), list(map(float, again))])
    names = list(lood.Lood._fields)
    return xr.Dataset(
        {"value": (("record", "by", "divergence"), np.array(found))},
        {"by": ["closed form", "refit"], "divergence": names},
    )


@sim.experiment
def trained_networks(cfg, key, sweep) -> xr.Dataset:
    """Networks trained by gradients with all records and without single ones; their linearised law."""
    n, m = cfg.trained_records, cfg.trained_left_out
    data = records(cfg.dataset, n, max(n // 10, 1))
    others = np.setdiff1d(np.arange(n), data.wrong)
    left_out = np.sort(np.concatenate([data.wrong, others])[:m])
    X, noise = scaled(data.x), 0.5
    K, T = (lood.mlp("relu", depth=1, get=get, **kernels.LAYER)(X, X) for get in ("nngp", "ntk"))
    law = lood.ntk_leave_one_out(K, T, data.y, noise=noise)
    edge = 1.8 * float(jnp.linalg.eigvalsh(T)[-1])
    one = functools.partial(
        kernels.trained_network, X=X, y=data.y, noise=noise, edge=edge, width=cfg.trained_width, steps=150
    )
    # Record `n` is none: networks that see all.
    jobs, dims = np.append(left_out, np.repeat(n, 4)), {"output": ("record",)}
    runs = sweep(one, vary={"left_out": ("job", jobs)}, replicas=cfg.trained_seeds, key=key, dims=dims)
    runs = runs.drop_vars("left_out", errors="ignore")
    outside = np.stack([runs.output.isel(job=j, record=r).values for j, r in enumerate(left_out)])
    inside = runs.output.isel(job=slice(m, None), record=left_out)
    inside = inside.transpose("record", "job", "replica").values.reshape(m, -1)
    moments = {name: ("record", np.asarray(getattr(law, name)).reshape(n)[left_out]) for name in law._fields}
    return xr.Dataset(
        {"outside": (("record", "seed"), outside), "inside": (("record", "seed_in"), inside)} | moments,
        {"record": left_out},
    ).assign(
        y=("record", data.y[left_out]),
        wrong=("record", np.isin(left_out, data.wrong)),
        gradient=float(runs.gradient.max()),
    )


@sim.experiment
def plane(cfg, key, sweep) -> xr.Dataset:
    """What single queries see over a plane through a record, by two measures."""
    X, y, record = plane_problem()
    one = functools.partial(
        kernels.seen_on_plane, kernel=kernels.rbf(), X=X, y=y, noise=QUERY_NOISE, record=record
    )
    at = np.linspace(-3, 3, 61)
    seen = sweep(one, vary={"u": X[record, 0] + at, "v": X[record, 1] + at})
    tau = np.array([0.0, *np.geomspace(1e-4, 1e3, 22)])
    moved = functools.partial(
        kernels.maximiser_under_noise, kernel=kernels.rbf(), X=X, noise=QUERY_NOISE, record=record
    )
    path = sweep(moved, vary={"tau": tau}, dims={"query": ("axis",)})
    return seen.merge(path)


SEARCHES = {"rbf": None, "relu": "sphere", "gelu": "sphere"}


@sim.experiment
def queries(cfg, key, sweep) -> xr.Dataset:
    """The query that sees most of one record, by Kullback-Leibler divergence and by mean distance."""
    data = records(cfg.dataset, cfg.records)
    targets = np.arange(cfg.targets)
    found = []
    for i, (name, domain) in enumerate(SEARCHES.items()):
        for j, objective in enumerate(("kl", "mean")):
            one = functools.partial(
                kernels.searched,
                kernel=name,
                X=data.x,
                y=data.y,
                noise=QUERY_NOISE,
                queries=1,
                starts=cfg.starts,
                objective=objective,
                domain=domain,
            )
            dims = {"query": ("asked", "pixel"), "distance": ("member",)}
            fold = jax.random.fold_in(key, 2 * i + j)
            found.append(sweep(one, vary={"S": ("target", targets[:, None])}, key=fold, dims=dims))
    shaped = [xr.concat(found[2 * i : 2 * i + 2], "objective") for i in range(len(SEARCHES))]
    runs = xr.concat(shaped, "kernel").drop_vars("S", errors="ignore")
    return runs.assign_coords(kernel=list(SEARCHES), objective=["kl", "mean"], target=targets)


@sim.experiment
def groups(cfg, key, sweep) -> xr.Dataset:
    """Pairs of records, reconstructed by as many queries, and by a single one."""
    data = records(cfg.dataset, cfg.records)
    pairs = np.random.default_rng(0).permutation(cfg.records)[: 2 * cfg.targets].reshape(-1, 2)
    found = {}
    for asked in (1, 2):
        one = functools.partial(
            kernels.searched,
            kernel="rbf",
            X=data.x,
            y=data.y,
            noise=QUERY_NOISE,
            queries=asked,
            starts=cfg.starts,
            objective="kl",
            domain=None,
        )
        dims = {"query": ("asked", "pixel"), "distance": ("member",)}
        fold = jax.random.fold_in(key, asked)
        runs = sweep(one, vary={"S": ("target", pairs)}, key=fold, dims=dims)
        found[asked] = runs[["gain", "distance", "other"]].drop_vars("S", errors="ignore")
    return xr.concat(found.values(), "queries").assign_coords(queries=list(found))


@sim.experiment
def depth(cfg, key, sweep) -> xr.Dataset:
    """Leakage of every record for several activations, depths, noises and labels, on the edge of chaos."""
    study, found = {}, []
    labels = np.random.default_rng(1).choice([-1.0, 1.0], cfg.study_records)
    for name, centred in (("raw", False), ("centred", True)):
        data = records(cfg.dataset, cfg.study_records, centred=centred)
        study[name] = data, {phi: kernels.edge_grams(data.x, phi, cfg.depths) for phi in EDGES}
    for data, grams in study.values():
        vary = {
            "gram": ("setting", np.concatenate(list(grams.values()))),
            "y": ("labels", np.stack([data.y, labels])),
            "noise": np.array([1e-3, 1e-2, 1e-1]),
        }
        dims = dict.fromkeys(("leverage", "surprise", "information", "kl", "auc", "right"), ("record",))
        runs = sweep(kernels.exposure, vary=vary, dims=dims).drop_vars(["gram", "y"], errors="ignore")
        found.append(_by_activation(runs, list(EDGES), cfg.depths))
    both = xr.concat(found, "inputs")
    apart = [1 - _mean_correlation(study["raw"][1][phi]) for phi in EDGES]
    return both.assign_coords(inputs=list(study), labels=["true", "random"]).assign(
        apart=(("phi", "depth"), np.array(apart))
    )


@sim.experiment
def he(cfg, key, sweep) -> xr.Dataset:
    """The same with one initialisation for all activations: weight variance 2, no biases."""
    data = records(cfg.dataset, cfg.study_records)
    names = ["relu", "gelu"]
    grams = np.concatenate([kernels.he_grams(data.x, phi, cfg.depths) for phi in names])
    one = functools.partial(kernels.exposure, y=data.y, noise=QUERY_NOISE)
    dims = dict.fromkeys(("leverage", "surprise", "information", "kl", "auc", "right"), ("record",))
    runs = sweep(one, vary={"gram": ("setting", grams)}, dims=dims).drop_vars("gram", errors="ignore")
    variance = np.diagonal(grams, axis1=1, axis2=2).mean(1)
    return _by_activation(runs.assign(variance=("setting", variance)), names, cfg.depths)


@sim.experiment
def tangent(cfg, key, sweep) -> xr.Dataset:
    """Queries of gradient-trained ensembles: does one see more of a record than the record itself?"""
    found = []
    for phi in ("relu", "gelu"):
        one = functools.partial(kernels.tangent_problem, phi=phi, n=20, d=3, noise=0.1)
        found.append(sweep(one, replicas=cfg.problems, key=key))
    return xr.concat(found, "phi").assign_coords(phi=["relu", "gelu"])


def _by_activation(runs, names, depths):
    """Unfold the axis of settings: activations, and for each the depths."""
    index = {"setting": ["phi", "depth"]}
    runs = runs.assign_coords(phi=("setting", np.repeat(names, len(depths))))
    runs = runs.assign_coords(depth=("setting", np.tile(depths, len(names))))
    return runs.set_index(index).unstack("setting").reindex(phi=names)


def _mean_correlation(grams):
    n = grams.shape[-1]
    return (np.asarray(grams).sum((1, 2)) - n) / (n * (n - 1))


register(sim, CLAIMS, FIGURES)
