"""Real plus pruned synthetic data: theory by random matrices beside simulation, networks and real features.

A ridge classifier is trained on n real and m synthetic samples, of which a share eps is labelled wrongly and
a verifier keeps some. Its exact accuracy on Gaussian data is sampled and compared with the limit of many
samples and dimensions; linear and ReLU networks are trained on the same mixture; the same is done on
handwritten digits and, if there, sentence embeddings; the paper's claims are judged.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim import rmt_synthetic as rmt
from theorysim.lab import Paper, Sim
from theorysim.networks.linear import train_linear
from theorysim.networks.pruned_mixture import train_on_pruned_mixture
from theorysim.numerics import stats

from . import _rmt_synthetic_class_kernels as class_kernels
from . import _rmt_synthetic_kernels as kernels
from ._beside import register
from ._rmt_synthetic_claims import CLAIMS
from ._rmt_synthetic_class_figures import CLASS_FIGURES
from ._rmt_synthetic_config import Config, digits_by_class, tasks
from ._rmt_synthetic_figures import FIGURES

sim = Sim(
    slug="rmt_synthetic",
    question="When does synthetic data help a classifier, and how well must it be pruned?",
    paper=Paper(
        title="Maximizing the Potential of Synthetic Data: Insights from Random Matrix Theory",
        authors=(
            "A. El Firdoussi",
            "M. E. A. Seddik",
            "S. Hayou",
            "R. Alami",
            "A. Alzubaidi",
            "H. Hacid",
        ),
        arxiv="2410.08942",
        year=2024,
    ),
    presets={
        "quick": Config(),
        "paper": Config(
            draws=20_000,
            limit_dims=(25, 50, 100, 200, 400, 800),
            limit_draws=200_000,
            real=1000,
            ratio_draws=400,
            network_seeds=200,
            splits=100,
            mnist_seeds=10,
            mnist_steps=3000,
            mnist_synthetic=750,
            mnist_side=28,
        ),
        "tiny": Config(
            dim=20,
            draws=200,
            limit_dims=(10, 20),
            limit_draws=2000,
            real=40,
            ratio_draws=24,
            network_seeds=4,
            splits=4,
            mnist_seeds=3,
            mnist_steps=20,
            mnist_synthetic=20,
        ),
    },
)

# The mixtures of the paper's phase transition, and of its experiments with a generator that misses the mean.
TRANSITION = {"n": 0.0, "mu": 1.0, "beta": 1.0, "perp": 0.0, "rho": 0.3, "phi": 0.8, "gamma": 1.0}
CRITICAL, NEARBY = 8 / 11, 0.02
MISMATCHED = {"n": 2.0, "m": 4.0, "mu": 1.5, "beta": 0.7, "perp": 1.0}
MISMATCHED |= {"eps": 0.3, "rho": 0.1, "phi": 0.8, "gamma": 0.1}
ALONE = {"n": 0.0, "m": 2.0, "mu": 1.0, "beta": 1.0, "perp": 0.0}
ALONE |= {"eps": 0.5, "rho": 0.2, "phi": 0.5, "gamma": 0.05}


def axis(name: str, values, dim: str = "") -> xr.DataArray:
    """Numbers along a dimension, which they label if it has their name."""
    values = np.asarray(values, float)
    return xr.DataArray(values, dims=dim or name, coords=None if dim else {name: values}, name=name)


def limit(p, variant: rmt.Variant = "exact", **law) -> xr.DataArray:
    """Accuracy in the limit; the numbers of the law are scalars or labelled arrays, which broadcast."""
    arrays = xr.broadcast(*(xr.DataArray(value) for value in law.values()))
    numbers = dict(zip(law, (array.values for array in arrays), strict=True))
    moments = rmt.isotropic_moments(**numbers, p=p, sigma2=1.0, variant=variant)
    return arrays[0].copy(data=np.asarray(rmt.test_accuracy(*moments)))


def sampled(sweep, key, p, draws, **law) -> xr.Dataset:
    """Accuracies of random training sets beside the limit, over the same grid.

    All numbers of the law vary along one flat axis of the sweep, even those that are constant: so one
    compilation serves every experiment of the same p and draws.
    """
    law = {name: law[name] for name in ("n", "m", "mu", "beta", "perp", "eps", "rho", "phi", "gamma")}
    arrays = xr.broadcast(*(xr.DataArray(value) for value in law.values()))
    flat = {name: ("point", a.values.astype(float).ravel()) for name, a in zip(law, arrays, strict=True)}
    runs = sweep(functools.partial(kernels.isotropic_spread, p=p, draws=draws), vary=flat, key=key, batch=8)
    grid = arrays[0]
    shaped = {name: (grid.dims, runs[name].values.reshape(grid.shape)) for name in kernels.Spread._fields}
    return xr.Dataset(shaped, grid.coords).assign(exact=limit(p, **law), released=limit(p, "released", **law))


@sim.experiment
def transition(cfg, key, sweep) -> xr.Dataset:
    """Synthetic data alone: accuracy against label noise, for p/m from 1 to 0.001."""
    eps = np.sort(np.r_[np.linspace(0, 1, 11), CRITICAL, CRITICAL - NEARBY, CRITICAL + NEARBY])
    aspect = axis("aspect", [1, 0.1, 0.01, 0.001])
    grid = {"m": np.round(cfg.dim / aspect), "eps": axis("eps", eps)}
    return sampled(sweep, key, cfg.dim, cfg.draws, **grid, **TRANSITION)


@sim.experiment
def peak(cfg, key, sweep) -> xr.Dataset:
    """Synthetic data alone, almost no ridge: where is accuracy lowest?"""
    per_dim = np.r_[0.5, 0.75, np.arange(1.0, 3.01, 0.25), 3.5, 4.0, 5.0, 6.0]
    law = TRANSITION | {"mu": 1.5, "eps": 0.2, "rho": 0.3, "phi": 0.55, "gamma": 1e-4}
    m = np.round(axis("per_dim", per_dim) * cfg.dim)
    return sampled(sweep, key, cfg.dim, cfg.draws, m=m, **law).assign_attrs(kept=0.5)


@sim.experiment
def released(cfg, key, sweep) -> xr.Dataset:
    """Points at which the released formulas differ most from the corrected ones."""
    columns = {
        "n": [0, 0, 0.2, 0],
        "m": [2, 1, 4, 2],
        "mu": [1, 1, 1, 1.5],
        "eps": [0.3, 0.4, 0.5, 0.2],
        "rho": [0.2, 0.3, 0.1, 0.3],
        "phi": [0.4, 0.8, 0.3, 0.55],
        "gamma": [0.01, 1, 0.01, 0.1],
    }
    law = {name: axis(name, values, "point") for name, values in columns.items()}
    law |= {name: law[name] * cfg.dim for name in ("n", "m")}
    # Repeated with other keys, for errors half as large.
    repeat = axis("repeat", range(4))
    law["n"] = law["n"] + 0 * repeat
    runs = sampled(sweep, key, cfg.dim, cfg.draws, beta=1.0, perp=0.0, **law)
    error = np.sqrt((runs.error**2).sum("repeat")) / 4
    points = {name: value for name, value in law.items() if name != "n"} | {"n": law["n"].isel(repeat=0)}
    return runs.mean("repeat").assign(error=error).assign_coords(points).drop_vars("repeat", errors="ignore")


@sim.experiment
def finite_size(cfg, key, sweep) -> xr.Dataset:
    """How fast random training sets approach the limit: bias and spread of the accuracy against p."""
    laws = {name: axis(name, [MISMATCHED[name], ALONE[name]], "setting") for name in MISMATCHED}
    repeats = -(-cfg.limit_draws // cfg.draws)
    parts = []
    for p in cfg.limit_dims:
        law = laws | {"n": laws["n"] * p + 0 * axis("repeat", range(repeats)), "m": laws["m"] * p}
        runs = sampled(sweep, jax.random.fold_in(key, p), p, cfg.draws, **law)
        found = stats.mean_and_error(runs["mean"].transpose("repeat", "setting").values)
        spread = stats.mean_and_error(runs["sd"].transpose("repeat", "setting").values)
        columns = {"mean": found.mean, "error": found.standard_error}
        columns |= {"sd": spread.mean, "sd_error": spread.standard_error}
        part = xr.Dataset({name: ("setting", column) for name, column in columns.items()})
        parts.append(part.assign(exact=runs.exact.isel(repeat=0, drop=True)))
    names = {"setting": ["real + synthetic", "synthetic alone"], "p": list(cfg.limit_dims)}
    return xr.concat(parts, "p").assign_coords(names).assign_attrs(repeats=repeats)


@sim.experiment
def scores(cfg, key, sweep) -> xr.Dataset:
    """The law of the score on test points, for generators that miss the mean and the covariance."""
    p, n = cfg.real, 2 * cfg.real
    noise = np.random.default_rng(cfg.seed).normal(size=(2 * p, p)) * 0.7
    covs = {"0.49 I": np.diag(np.full(p, 0.49)), "Wishart": noise.T @ noise / (2 * p)}
    points = np.array([(beta, eps) for beta in (0.2, 0.5, 0.8) for eps in (0.3, 0.6)])
    mean, _ = rmt.paper_means(p, 1.5)
    mean_s = np.array([rmt.paper_means(p, 1.5, beta, 1.0)[1] for beta in points[:, 0]])
    law = {"n": n, "m": 2 * n, "rho": 0.1, "phi": 0.8}

    def exact(mean_s, cov_s, eps):
        problem = rmt.real_plus_synthetic(mu=mean, mu_s=mean_s, eps=eps, cov_r=jnp.eye(p), cov_s=cov_s, **law)
        mean_exact, var_exact = rmt.decision_moments(problem, 1.0)
        return {"mean_exact": mean_exact, "var_exact": var_exact}

    one = functools.partial(
        kernels.score_draws, mean=mean, gamma=1.0, draws=cfg.ratio_draws, points=100, **law
    )
    grid = {
        "cov_s": ("cov", np.array(list(covs.values()))),
        "mean_s": ("point", mean_s),
        "eps": ("point", points[:, 1]),
    }
    given = {"mean_s": ("feature",), "cov_s": ("feature", "other_feature")}
    own = {"mean": ("draw",), "var": ("draw",), "score": ("test",)} | given
    runs = sweep(one, vary=grid, key=key, dims=own, batch=4)
    runs = runs.merge(sweep(exact, vary=grid, dims=given, batch=4)).drop_vars(list(given))
    return runs.assign_coords(beta=("point", points[:, 0]), cov=list(covs))


@sim.experiment
def deltas(cfg, key, sweep) -> xr.Dataset:
    """The scalars of the fixed point, measured as traces of random resolvents."""
    law = {"mu": 0.7, "eps": 0.2, "rho": 0.2, "phi": 0.9, "gamma": 1.0}
    n = cfg.real
    m = np.array([2.0, 5.0, 10.0]) * n
    one = functools.partial(kernels.measured_deltas, n=n, most=10 * n, **law)
    return sweep(one, cases={"p": [n // 10, n // 2, 2 * n]}, vary={"m": m}, replicas=6, key=key, batch=6)


SHARES = np.array([0.001, 0.2, 0.4, 0.6, 0.8, 0.95])
RATIOS = np.array([0.05, 0.2, 0.5])
VERIFIERS = {"oracle": (0.0, 1.0), "weak": (1.0, 0.5)}  # rho, phi


@sim.experiment
def proportion(cfg, key, sweep) -> xr.Dataset:
    """Growing amounts of synthetic data whose labels are as bad as those of a classifier trained on them."""
    n, law = cfg.real, {"mu": 0.7, "gamma": 1.0}
    exactly = n * SHARES / (1 - SHARES)
    m = np.round(exactly)
    rho, phi = np.array(list(VERIFIERS.values())).T
    parts = []
    for ratio in RATIOS:
        p = round(ratio * n)
        own = rmt.estimated_generator_moments(0, n, exactly, p, 0.7, False, 0.0, 1.0, 1.0, 1.0)
        eps = 1 - np.asarray(rmt.test_accuracy(*own))
        sizes = {"n": n, "p": p, "most": int(m[-1]), "most_hat": n}
        one = functools.partial(kernels.fitted_generator_accuracy, n_hat=float(n), **sizes, **law)
        vary = {"m": ("share", m), "eps": ("share", eps)}
        vary |= {"rho": ("verifier", rho), "phi": ("verifier", phi)}
        runs = sweep(
            one, vary=vary, replicas=cfg.ratio_draws, key=jax.random.fold_in(key, p), batch=16
        ).drop_vars(list(vary))
        limits = {}
        for name, real, synthetic in (("exact", n + 0 * m, m), ("fixed_total", n * (1 - SHARES), n * SHARES)):
            moments = rmt.estimated_generator_moments(
                real, n, synthetic, p, 0.7, False, eps, rho[:, None], phi[:, None], 1.0
            )
            limits[name] = (("verifier", "share"), np.asarray(rmt.test_accuracy(*moments)))
        parts.append(runs.assign(limits))
    names = {"ratio": RATIOS, "share": SHARES, "verifier": list(VERIFIERS)}
    return xr.concat(parts, "ratio").assign_coords(names)


@sim.experiment
def generator_quality(cfg, key, sweep) -> xr.Dataset:
    """How many samples the generator's covariance was estimated from."""
    n, p = cfg.real, cfg.real // 2
    law: dict[str, Any] = {"eps": 0.1, "rho": 0.0, "phi": 1.0, "gamma": 0.1, "mu": 1.0}
    n_hat = np.round(p * np.array([0.25, 0.5, 1, 2, 4]))
    sizes = {"n": n, "p": p, "most": 5 * n, "most_hat": int(n_hat[-1])}
    one = functools.partial(kernels.fitted_generator_accuracy, m=5.0 * n, **sizes, **law)
    runs = sweep(one, vary={"n_hat": n_hat}, replicas=3 * cfg.ratio_draws, key=key, batch=16)
    exact = rmt.estimated_generator_moments(n, n_hat, 5 * n, p, estimate_mean=False, **law)
    alone = rmt.test_accuracy(*rmt.isotropic_moments(n, 0, p, beta=1, perp=0, sigma2=1, **law))
    runs = runs.assign(exact=("n_hat", np.asarray(rmt.test_accuracy(*exact))), alone=float(alone))
    return runs.assign_attrs(dim=p)


OWN = {"eps": 0.1, "rho": 0.3, "phi": 0.9, "gamma": 0.1, "mu": 1.2}
OWN_SIZES = {"n": 75, "p": 50}


@sim.experiment
def own_generator(cfg, key, sweep) -> xr.Dataset:
    """A generator fitted to the training data itself, against one fitted to other data."""
    m = np.array([25.0, 75.0, 225.0, 675.0])
    parts = []
    for fresh in (False, True):
        one = functools.partial(kernels.own_generator_accuracy, fresh=fresh, most=675, **OWN_SIZES, **OWN)
        runs = sweep(one, vary={"m": m}, replicas=4 * cfg.ratio_draws, key=key, batch=32)
        if fresh:
            exact = rmt.estimated_generator_moments(n_hat=75, m=m, estimate_mean=True, **OWN_SIZES, **OWN)
        else:
            exact = rmt.reused_generator_moments(m=m, **OWN_SIZES, **OWN)
        parts.append(runs.assign(exact=("m", np.asarray(rmt.test_accuracy(*exact)))))
    return xr.concat(parts, "source").assign_coords(source=["training data", "other data"])


@sim.experiment
def exchange(cfg, key, sweep) -> xr.Dataset:
    """The averaging classifier (a ridge of 10^4): how many real samples is a synthetic one worth?"""
    eps, rho = axis("eps", [0.1, 0.3]), axis("rho", [0.0, 0.2, 0.4, 0.6, 0.8])
    law = {"n": 2.0 * cfg.dim, "m": 5.0 * cfg.dim, "mu": 1.2, "beta": 1.0, "perp": 0.0, "phi": 0.9}
    runs = sampled(sweep, key, cfg.dim, cfg.draws, eps=eps, rho=rho, gamma=1e4, **law)
    size = rmt.effective_sample_size(law["n"], law["m"], np.inf, eps.values[:, None], rho.values, 0.9)
    clean = rmt.averaging_accuracy(size, 0, cfg.dim, 1.2, 1, 0, 1, 0, 0, 0)
    return runs.assign(size=(("eps", "rho"), np.asarray(size)), exact=(("eps", "rho"), np.asarray(clean)))


WEIGHTED: dict[str, Any] = {
    "n": 100.0,
    "m": 400.0,
    "mu": 1.5,
    "beta": 0.8,
    "perp": 0.6,
    "rho": 0.3,
    "phi": 0.9,
}


@sim.experiment
def weighting(cfg, key, sweep) -> xr.Dataset:
    """Unit weights against the best weight, and the best weight and ridge, of the theory."""
    p = 50
    eps = np.linspace(0, 0.9, 10)
    omega, gamma = np.r_[0.0, np.logspace(-2, 1, 151)], np.logspace(-2, 2, 81)
    surface = limit(
        p, eps=axis("eps", eps), gamma=axis("gamma", gamma), omega=axis("omega", omega), **WEIGHTED
    )
    unit = gamma[np.argmin(np.abs(gamma - 0.1))]
    both = surface.argmax(["gamma", "omega"])
    ways = {  # ridge and weight at every noise
        "unit weight": (np.full(eps.size, unit), np.ones(eps.size)),
        "best weight": (np.full(eps.size, unit), omega[surface.sel(gamma=unit).argmax("omega").values]),
        "best weight and ridge": (gamma[both["gamma"].values], omega[both["omega"].values]),
        "real data alone": (np.full(eps.size, unit), np.zeros(eps.size)),
    }
    ridge, weight = np.array(list(ways.values())).swapaxes(0, 1)
    one = functools.partial(kernels.weighted_spread, p=p, draws=4 * cfg.ratio_draws, **WEIGHTED)
    flat = {"eps": np.tile(eps, len(ways)), "gamma": ridge.ravel(), "omega": weight.ravel()}
    runs = sweep(one, vary={name: ("point", column) for name, column in flat.items()}, key=key, batch=8)
    dims = ("way", "eps")
    shaped = {name: (dims, runs[name].values.reshape(ridge.shape)) for name in kernels.Spread._fields}
    found = xr.Dataset(
        shaped | {"ridge": (dims, ridge), "weight": (dims, weight)}, {"way": list(ways), "eps": eps}
    )
    return found.assign(exact=limit(p, eps=found.eps, gamma=found.ridge, omega=found.weight, **WEIGHTED))


PAIRED: dict[str, Any] = {"eps": 0.3, "rho": 0.5, "phi": 0.9, "gamma": 0.1, "mu": 1.5}


@sim.experiment
def bands(cfg, key, sweep) -> xr.Dataset:
    """Every training set with and without its synthetic part: how often does that hurt?"""
    m, n, p = np.array([50.0, 100.0, 200.0, 400.0, 800.0]), 100, 50
    one = functools.partial(kernels.paired_accuracy, n=n, p=p, most=800, **PAIRED)
    runs = sweep(one, vary={"m": m}, replicas=5 * cfg.ratio_draws, key=key, batch=32)
    law: dict[str, Any] = {"beta": 1.0, "perp": 0.0, "sigma2": 1.0, "p": p, "n": n} | PAIRED
    exact = {k: rmt.test_accuracy(*rmt.isotropic_moments(m=v, **law)) for k, v in (("both", m), ("alone", 0))}
    return runs.assign(
        both_exact=("m", np.asarray(exact["both"])), alone_exact=float(exact["alone"])
    ).assign_attrs(n=n, dim=p)


@sim.experiment
def verifiers(cfg, key, sweep) -> xr.Dataset:
    """Linear verifiers that look at the features: from a random direction to the best one."""
    overlap, p = np.array([0.0, 0.25, 0.5, 0.75, 1.0]), 50
    law = {"n": 25, "m": 150, "mu": 1.5, "gamma": 0.1}
    one = functools.partial(kernels.verified_accuracy, p=p, **law)
    eps = np.array([0.2, 0.4])
    runs = sweep(one, vary={"overlap": overlap, "eps": eps}, replicas=5 * cfg.ratio_draws, key=key, batch=32)
    mean, off = rmt.paper_means(p, 1.5)[0], rmt.paper_means(p, 1.0, 0.0, 1.0)[1]

    def exact(overlap, eps):
        direction = overlap * mean / 1.5 + jnp.sqrt(1 - overlap**2) * off
        problem = rmt.linear_verifier(25, 150, mean, direction, eps=eps)
        return rmt.test_accuracy(*rmt.decision_moments(problem, 0.1))

    return runs.assign(exact=sweep(exact, vary={"overlap": overlap, "eps": eps}).value).assign_attrs(dim=p)


@sim.experiment
def network(cfg, key, sweep) -> xr.Dataset:
    """ReLU networks trained on pruned synthetic data of growing label noise."""
    mu = 1.5 * np.eye(50, dtype=np.float32)[0]

    def one(eps, key):
        run = train_on_pruned_mixture(key, mu, eps, rho=0.3, phi=0.8, num_samples=1000)
        return {"accuracy": run.accuracy, "evaluation_error": run.standard_error}

    eps = np.array([0, 0.3, 0.6, CRITICAL, 0.85, 1])
    return sweep(one, vary={"eps": eps}, replicas=cfg.network_seeds, key=key, batch=24)


@sim.experiment
def descent(cfg, key, sweep) -> xr.Dataset:
    """A linear network trained by gradient descent, against ridge regression and its exact filter."""
    p, n, m, gamma, steps = 30, 60, 120, 0.05, 600
    every = np.arange(0, steps + 1, 4)

    def one(key):
        real_key, noise_key, label_key = jax.random.split(key, 3)
        mean = jnp.zeros(p).at[0].set(1.5)
        v = mean[None] + jax.random.normal(real_key, (n + m, p))
        wrong = jax.random.uniform(label_key, (m,)) < 0.3
        keep = jax.random.uniform(noise_key, (m,)) < jnp.where(wrong, 0.2, 0.9)
        weights = jnp.concatenate([jnp.ones(n), keep.astype(float)])
        data = (v, jnp.concatenate([jnp.ones(n), jnp.where(wrong, -1.0, 1.0)]), weights, gamma, n + m)
        run = train_linear(*data, num_steps=steps, record_every=4)
        ridge = rmt.ridge_classifier(*data)
        flow = rmt.gradient_descent_classifier(*data, jnp.asarray(every), step_size=run.step_size)
        S = (weights[:, None] * v).T @ v / (n + m)
        accuracy = {"trained": run.w, "filter": flow, "ridge": ridge[None]}
        found = {name: rmt.test_accuracy(*rmt.score_moments(w, mean)) for name, w in accuracy.items()}
        return found | {
            "ridge": found["ridge"][0],
            "distance": jnp.linalg.norm(run.w - ridge[None], axis=1),
            "decay": 1 - run.step_size * (gamma + jnp.linalg.eigvalsh(S)[0]),
        }

    along = {name: ("step",) for name in ("trained", "filter", "distance")}
    # One at a time, for the reason given at `KEEP`.
    return sweep(one, replicas=8, key=key, dims=along, coords={"step": every}, batch=1)


@sim.experiment
def spectrum(cfg, key, sweep) -> xr.Dataset:
    """Eigenvalues of sample covariances, from many samples to fewer than dimensions."""

    def eigenvalues(ratio, key, *, p):
        Z = jax.random.normal(key, (round(p / ratio), p))
        return jnp.linalg.eigvalsh(Z.T @ Z / len(Z))

    cases = {"ratio": [0.01, 0.1, 1.0, 2.0]}
    one = functools.partial(eigenvalues, p=cfg.real)
    return sweep(one, cases=cases, key=key, dims={"value": ("eigenvalue",)})


KEEP = {"oracle": (0.0, 1.0), "strong": (0.1, 0.9), "none": (1.0, 1.0)}  # rho, phi
NOISE = np.array([0.2, 0.4])


def over_tasks(cfg, key, experiment, *, most_features=None) -> xr.Dataset:
    """Concatenate what `experiment(task, replicas, key)` gives for each task; dense theory costs p^3."""
    found = {}
    for i, (name, task) in enumerate(tasks(cfg).items()):
        p = task.x.shape[1]
        if most_features is None or p <= most_features:
            replicas = max(min(cfg.splits, 6), round(cfg.splits * min(1.0, (64 / p) ** 1.5)))
            found[name] = experiment(task, replicas, jax.random.fold_in(key, i)).assign(features=p)
    return xr.concat(list(found.values()), "task", join="outer").assign_coords(task=list(found))


@sim.experiment
def real_features(cfg, key, sweep) -> xr.Dataset:
    """Real features, synthetic ones of a Gaussian fitted to the training part, verifiers that are blind."""
    factors = np.array([0.01, 0.25, 1, 4, 15])
    rho, phi = (np.array([KEEP[name][i] for name in KEEP]) for i in (0, 1))

    def one(task, replicas, key):
        # Dense theory costs p^3, and a large sample p^2 a point: fewer of them where p is large.
        chosen = factors if task.x.shape[1] < 100 else factors[[0, 2, 3]]
        m = np.round(np.maximum(chosen * task.n, 1))
        one = functools.partial(
            kernels.real_features, gamma=0.1, x=task.x, y=task.y, n=task.n, most=int(m[-1])
        )
        vary = {"eps": NOISE, "rho": ("verifier", rho), "phi": ("verifier", phi), "m": ("factor", m)}
        runs = sweep(one, vary=vary, replicas=replicas, key=key, batch=8)
        runs = runs.drop_vars(["rho", "phi", "m"])
        return runs.assign_coords(factor=chosen, verifier=list(KEEP))

    return over_tasks(cfg, key, one)


@sim.experiment
def generator_subset(cfg, key, sweep) -> xr.Dataset:
    """Real features; the generator knows few or many other real samples."""

    def one(task, replicas, key):
        used = np.array([10.0, 30.0, 100.0, 300.0])
        one = functools.partial(
            kernels.generator_subset, eps=0.2, gamma=0.1, x=task.x, y=task.y, n=task.n // 4, m=750
        )
        return sweep(one, vary={"used": used}, replicas=replicas, key=key, batch=8)

    return over_tasks(cfg, key, one, most_features=256)


@sim.experiment
def trained_verifiers(cfg, key, sweep) -> xr.Dataset:
    """Real features; the verifier is a model trained on few or many clean samples."""

    def one(task, replicas, key):
        one = functools.partial(
            kernels.trained_verifier, gamma=0.1, x=task.x, y=task.y, n=task.n, m=6 * task.n, ridge=0.1
        )
        vary = {"seen": np.array([2.0, 10.0, 50.0, 250.0]), "eps": NOISE}
        return sweep(one, vary=vary, replicas=replicas, key=key, batch=8)

    return over_tasks(cfg, key, one, most_features=256)


BLIND = {"oracle": (0.0, 1.0), "weak": (0.5, 0.9), "none": (1.0, 1.0)}  # rho, phi
CLASSES: dict[str, Any] = {"n": 20, "m": 60, "means": 2.0 * np.eye(4, 60), "gamma": 0.1}
CLASSES |= {"means_s": CLASSES["means"] + 0.5 * np.eye(4, 60, 4)}


@sim.experiment
def classes(cfg, key, sweep) -> xr.Dataset:
    """Four classes, one output each: random training sets beside the limit of many dimensions."""
    rho, phi = np.array(list(BLIND.values())).T
    vary = {"eps": np.linspace(0, 0.8, 5), "rho": ("verifier", rho), "phi": ("verifier", phi)}
    sample_key, limit_key = jax.random.split(key)
    one = functools.partial(class_kernels.class_accuracy, **CLASSES)
    runs = sweep(one, vary=vary, replicas=2 * cfg.ratio_draws, key=sample_key, batch=32)
    one = functools.partial(class_kernels.class_limit, **CLASSES)
    exact = sweep(one, vary=vary, replicas=8, key=limit_key, batch=4).value.rename(replica="integration")
    runs = runs.assign(exact=exact).drop_vars(["rho", "phi"])
    return runs.assign_coords(verifier=list(BLIND)).assign_attrs(bias=0.15 / CLASSES["means"].shape[1])


@sim.experiment
def mnist_network(cfg, key, sweep) -> xr.Dataset:
    """A ReLU network on few real digits and many of a Gaussian per class, pruned by blind verifiers."""
    keep = BLIND | {"real data alone": (0.0, 0.0)}
    noisy = [(name, eps, 500) for name in BLIND for eps in (0.0, 0.3, 0.6)]
    points = [*noisy, ("oracle", 0.3, 10), ("oracle", 0.3, 100), ("real data alone", 0.0, 500)]
    names, eps, used = zip(*points, strict=True)
    columns = dict(zip(("rho", "phi"), np.array([keep[name] for name in names]).T, strict=True))
    columns |= {"eps": np.array(eps), "used": np.array(used, float)}
    one = functools.partial(
        class_kernels.digit_network,
        x=digits_by_class(cfg.mnist_side),
        n=50,
        m=cfg.mnist_synthetic,
        pool=500,
        num_steps=cfg.mnist_steps,
    )
    vary = {name: ("point", column) for name, column in columns.items()}
    runs = sweep(one, vary=vary, replicas=cfg.mnist_seeds, key=key, batch=6)
    return runs.assign_coords(verifier=("point", list(names)))


register(sim, CLAIMS, (*FIGURES, *CLASS_FIGURES))
