"""Width and depth limits of residual networks: exact theory beside random networks, and where limits differ.

Random residual networks of any width and depth are sampled exactly and compared with the one limit that all
orders of growth must share, with the law of their distance from it, and with networks whose limits do not
commute: those without skips, and those without branch scales. Dense Flax networks check the samplers; kernels
of infinite and finite networks classify digits; the paper's claims are judged.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim import width_depth as wd
from theorysim.lab import Paper, Sim

from . import _width_depth_kernels as kernels
from ._beside import register
from ._width_depth_claims import CLAIMS
from ._width_depth_config import CORRELATION, Config, digit_split
from ._width_depth_figures import FIGURES

sim = Sim(
    slug="width_depth",
    question="Does it matter whether width or depth goes to infinity first?",
    paper=Paper(
        title="Commutative Width and Depth Scaling in Deep Neural Networks",
        authors=("S. Hayou",),
        arxiv="2310.01683",
        year=2023,
    ),
    presets={
        "quick": Config(),
        "paper": Config(
            sizes=(16, 32, 64, 128, 256, 512, 1024),
            networks=512,
            wide=8192,
            square_sizes=(16, 64, 256, 1024),
            square_networks=20_000,
            dense_widths=(16, 64, 256),
            dense_depth=64,
            dense_networks=4000,
            digit_widths=(64, 256, 1024, 4096),
            digit_networks=64,
            digit_samples=600,
        ),
        "tiny": Config(
            sizes=(4, 8, 16),
            networks=60,
            wide=64,
            square_sizes=(8, 16),
            square_networks=400,
            dense_widths=(4, 8),
            dense_depth=4,
            dense_networks=100,
            digit_widths=(8, 32),
            digit_networks=4,
            digit_samples=30,
        ),
    },
)

PAIR = ("aa", "bb", "ab")


def padded(alpha2, depth) -> np.ndarray:
    """Squared branch scales, and behind them layers that do nothing: one program serves all depths."""
    return np.pad(np.asarray(alpha2, float), (0, depth - len(alpha2)))


def along(*dims) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(PAIR, dims)


@sim.experiment
def grid(cfg, key, sweep) -> xr.Dataset:
    """Networks of every width and depth of a grid, branch scale L^(-1/2)."""
    deepest = cfg.sizes[-1]
    alpha2 = np.array([padded(wd.schedule("uniform", L), deepest) for L in cfg.sizes])
    found = []
    for i, n in enumerate(cfg.sizes):
        one = functools.partial(kernels.last_covariances, n=n, num=cfg.networks)
        vary = {"alpha2": ("L", alpha2), "c": ("c0", [CORRELATION])}
        runs = sweep(one, vary=vary, key=jax.random.fold_in(key, i), dims=along("network"), batch=1)
        found.append(runs.squeeze("c0", drop=True).drop_vars("alpha2", errors="ignore"))
    return xr.concat(found, "n").assign_coords(n=list(cfg.sizes), L=list(cfg.sizes))


@sim.experiment
def along_depth(cfg, key, sweep) -> xr.Dataset:
    """Wide networks layer by layer, for several correlations of their inputs."""
    L, c = 128, np.array([-0.9, CORRELATION, 0.8])
    one = functools.partial(kernels.paths, n=cfg.wide, num=cfg.networks // 4)
    vary = {"c": ("pair", c), "alpha2": ("schedule", np.asarray(wd.schedule("uniform", L))[None])}
    runs = sweep(one, vary=vary, key=key, dims=along("network", "layer"), batch=1)
    runs = runs.squeeze("schedule", drop=True).drop_vars(["c", "alpha2"], errors="ignore")
    return runs.assign_coords(pair=c, layer=np.arange(L + 1))


# Branch scales whose sum of squares is 1 where it is not said otherwise.
SCHEDULES = {
    "uniform": {},
    "ramp": {"rho": lambda t: t},
    "early": {"rho": lambda t: np.exp(-3 * t)},
}
EXPONENTS = (1.0, 0.75)


@sim.experiment
def schedules(cfg, key, sweep) -> xr.Dataset:
    """Networks with other branch scales: sequences that vanish, and series that converge."""
    L = 128
    alpha2 = [wd.schedule("ramp" if law else "uniform", L, **law) for law in SCHEDULES.values()]
    alpha2 += [wd.schedule("series", L, p=p) for p in EXPONENTS]
    names = [*SCHEDULES, *(f"l^-{p:g}" for p in EXPONENTS)]
    one = functools.partial(kernels.paths, n=cfg.sizes[-1], num=cfg.networks)
    vary = {"alpha2": ("schedule", np.array(alpha2)), "c": ("pair", [CORRELATION])}
    runs = sweep(one, vary=vary, key=key, dims=along("network", "layer"), batch=1)
    runs = runs.squeeze("pair", drop=True).drop_vars("alpha2", errors="ignore")
    clock = np.concatenate([np.zeros((len(names), 1)), np.cumsum(alpha2, axis=1)], axis=1)
    return runs.assign(clock=(("schedule", "layer"), clock)).assign_coords(schedule=names)


@sim.experiment
def powers(cfg, key, sweep) -> xr.Dataset:
    """Branch scales L^(-b): which power of the depth has a limit?"""
    b, depths = np.array([0.25, 0.5, 0.75, 1.0]), cfg.sizes
    alpha2 = [[padded(wd.schedule("power", L, b=power), depths[-1]) for L in depths] for power in b]
    one = functools.partial(kernels.last_covariances, n=cfg.sizes[-2], num=cfg.networks)
    flat = np.reshape(alpha2, (len(b) * len(depths), -1))
    vary = {"alpha2": ("point", flat), "c": ("pair", [CORRELATION])}
    runs = sweep(one, vary=vary, key=key, dims=along("network"), batch=1)
    shape = (len(b), len(depths), cfg.networks)
    shaped = {name: (("b", "L", "network"), runs[name].values.reshape(shape)) for name in PAIR}
    return xr.Dataset(shaped, {"b": b, "L": list(depths)})


@sim.experiment
def neurons(cfg, key, sweep) -> xr.Dataset:
    """Single neurons of networks as deep as wide."""
    found = []
    for i, n in enumerate(cfg.square_sizes):
        one = functools.partial(kernels.neurons, n=n, num=cfg.square_networks)
        vary = {"alpha2": ("schedule", np.asarray(wd.schedule("uniform", n))[None])}
        dims = dict.fromkeys(("first", "second", "fourth"), ("network",))
        runs = sweep(one, vary=vary, key=jax.random.fold_in(key, i), dims=dims)
        found.append(runs.squeeze("schedule", drop=True).drop_vars("alpha2", errors="ignore"))
    return xr.concat(found, "n").assign_coords(n=list(cfg.square_sizes))


@sim.experiment
def contrast(cfg, key, sweep) -> xr.Dataset:
    """Networks as deep as wide: scaled, without branch scales, and without skips."""
    num, found = max(3 * cfg.square_networks // 20, 50), []
    for i, n in enumerate(cfg.square_sizes):
        keys = jax.random.split(jax.random.fold_in(key, i))
        runs = []
        # Without branch scales norms grow like 1.5^L.
        for scale, dtype in ((1 / n, "float32"), (1.0, "float64")):
            one = functools.partial(kernels.last_covariances, n=n, num=num, dtype=dtype)
            vary = {"alpha2": ("kind", np.full((1, n), scale)), "c": ("kind", [CORRELATION])}
            both = sweep(one, vary=vary, key=keys[0], dims=along("network"))
            runs.append(both[list(PAIR)].drop_vars(["c", "alpha2"], errors="ignore").astype(float))
        one = functools.partial(kernels.mlp_paths, n=n, L=n, num=num)
        vary = {"plus": ("kind", [1.0]), "minus": ("kind", [0.0]), "c": ("kind", [CORRELATION])}
        mlp = sweep(one, vary=vary, key=keys[1], dims=along("network", "layer"))
        mlp = mlp.isel(layer=-1).drop_vars(["plus", "minus", "c"], errors="ignore")
        found.append(
            xr.concat([*runs, mlp[list(PAIR)].astype(float)], "kind").assign_coords(
                kind=["scaled", "unscaled", "no skips"]
            )
        )
    return xr.concat(found, "n").assign_coords(n=list(cfg.square_sizes))


@sim.experiment
def without_skips(cfg, key, sweep) -> xr.Dataset:
    """Correlations along the depth of ReLU networks without skips."""
    n = 100
    one = functools.partial(kernels.mlp_paths, n=n, L=128, num=max(cfg.networks // 20, 3))
    vary = {"plus": ("kind", [1.0]), "minus": ("kind", [0.0]), "c": ("kind", [CORRELATION])}
    runs = sweep(one, vary=vary, key=key, dims=along("network", "layer"))
    return runs.squeeze("kind", drop=True).drop_vars(["plus", "minus", "c"], errors="ignore")


# Shapes (c_plus, c_minus), initial correlation and depth over width of the shaped networks without skips.
SHAPED = {"ReLU-like": (0.0, -1.0, 0.3, 1.0), "tent-like": (1.0, -1.0, 0.3, 0.5)}


@sim.experiment
def shaped(cfg, key, sweep) -> xr.Dataset:
    """Shaped networks without skips, and the stochastic differential equation of their limit."""
    n, num, found = 100, cfg.square_networks, []
    for i, (plus, minus, rho, T) in enumerate(SHAPED.values()):
        keys = jax.random.split(jax.random.fold_in(key, i))
        one = functools.partial(kernels.mlp_paths, n=n, L=round(n * T), num=num)
        slopes = {"plus": ("shape", [1 + plus / n**0.5]), "minus": ("shape", [1 + minus / n**0.5])}
        runs = sweep(one, vary=slopes | {"c": ("shape", [rho])}, key=keys[0], dims=along("network", "layer"))
        last = runs.isel(layer=-1, shape=0)
        exact = wd.shaped_mlp_sde(keys[1], plus, minus, rho, T, steps=128, num=num)
        sampled = (last.ab / np.sqrt(last.aa * last.bb)).values
        draws = {"networks": ("draw", sampled), "limit": ("draw", np.asarray(exact))}
        found.append(xr.Dataset(draws))
    return xr.concat(found, "shape").assign_coords(shape=list(SHAPED))


@sim.experiment
def long_times(cfg, key, sweep) -> xr.Dataset:
    """Correlations after long depth-times: they approach 1 like 18 pi^2 / t^2, and never arrive."""
    tau, L = np.array([1.0, 3.0, 10.0]), 512
    alpha2 = np.array([wd.schedule("uniform", L, tau=t) for t in tau])
    one = functools.partial(kernels.last_covariances, n=cfg.wide, num=max(cfg.networks // 10, 30))
    vary = {"alpha2": ("tau", alpha2), "c": ("pair", [CORRELATION])}
    runs = sweep(one, vary=vary, key=key, dims=along("network"), batch=1)
    runs = runs.squeeze("pair", drop=True).drop_vars("alpha2", errors="ignore")
    q0 = jnp.array([1.0, 1.0, CORRELATION])
    q = np.array([wd.covariance_recursion(q0, a, "relu") for a in alpha2])
    return runs.assign(exact=("tau", q[:, 2] / q[:, 0])).assign_coords(tau=tau)


@sim.experiment
def dense(cfg, key, sweep) -> xr.Dataset:
    """Dense Flax networks, their tangent kernels by automatic differentiation, beside the samplers."""
    found, L = [], cfg.dense_depth
    for i, n in enumerate(cfg.dense_widths):
        one = functools.partial(kernels.dense_network, n=n)
        vary = {"alpha2": ("pair", np.full((1, L), 1 / L)), "c": ("pair", [CORRELATION])}
        fold = jax.random.fold_in(key, i)
        runs = sweep(one, vary=vary, replicas=cfg.dense_networks, key=fold, batch=50)
        found.append(runs.squeeze("pair", drop=True).drop_vars(["alpha2", "c"], errors="ignore"))
    return xr.concat(found, "n").assign_coords(n=list(cfg.dense_widths))


@sim.experiment
def digit_grams(cfg, key, sweep) -> xr.Dataset:
    """Gram matrices of 50 digits: random networks against the limit of infinite width and depth."""
    x, found, L = digit_split(50, 0).x, [], 64
    limit = np.asarray(wd.kernels(x, phi="relu", tau=1.0, get="nngp").nngp)
    alpha2 = np.asarray(wd.schedule("uniform", L))
    for i, n in enumerate(cfg.digit_widths):
        one = functools.partial(kernels.gram_error, alpha2=alpha2, K0=x @ x.T / x.shape[1], limit=limit, n=n)
        runs = sweep(one, replicas=cfg.digit_networks, key=jax.random.fold_in(key, i), batch=1)
        found.append(runs)
    return xr.concat(found, "n").assign_coords(n=list(cfg.digit_widths))


@sim.experiment
def digit_bands(cfg, key, sweep) -> xr.Dataset:
    """Digits classified by the covariance kernels of finite networks, and of the infinite one."""
    train = 2 * cfg.digit_samples // 3
    data, L = digit_split(train, cfg.digit_samples - train), 16
    x = np.concatenate([data.x, data.x_test])
    K0, targets = x @ x.T / x.shape[1], np.asarray(kernels.one_hot(data.y))
    alpha2 = np.asarray(wd.schedule("uniform", L))
    limit = kernels.regression(wd.kernels(x, phi="relu", alpha2=alpha2, get="nngp").nngp, targets)
    found = []
    for i, n in enumerate(cfg.digit_widths):
        one = functools.partial(kernels.digit_scores, alpha2=alpha2, K0=K0, targets=targets, n=n)
        fold, dims = jax.random.fold_in(key, i), {"value": ("digit", "class")}
        found.append(sweep(one, replicas=cfg.digit_networks, key=fold, dims=dims, batch=1))
    runs = xr.concat(found, "n").assign_coords(n=list(cfg.digit_widths))
    return runs.assign(limit=(("digit", "class"), np.asarray(limit)), label=("digit", data.y_test))


@sim.experiment
def digit_accuracy(cfg, key, sweep) -> xr.Dataset:
    """Digits classified by kernels of infinite width and several depths, with and without skips."""
    data = digit_split(1000, 797)
    x = np.concatenate([data.x, data.x_test])
    targets, train = kernels.one_hot(data.y), len(data.y)
    found = {}
    for L in (10, 100, 1000, np.inf):
        depth: dict[str, Any] = {"tau": 1.0} if np.isinf(L) else {"alpha2": wd.schedule("uniform", int(L))}
        both = wd.kernels(x, phi="relu", **depth)
        found[L] = {"nngp": both.nngp, "ntk": both.ntk}
    # All digits have the norm of their dimension, and themselves a correlation of 1.
    c = jnp.where(jnp.eye(len(x), dtype=bool), 1, jnp.clip(x @ x.T / x.shape[1], -1, 1))
    right = {
        name: [kernels.regression(K[name], targets).argmax(1) == data.y_test for K in found.values()]
        for name in ("nngp", "ntk")
    }
    columns = {name: (("L", "digit"), np.asarray(values)) for name, values in right.items()}
    mlp = [
        np.asarray(kernels.regression(kernels.mlp_correlation(c, L), targets).argmax(1) == data.y_test)
        for L in (10, 100, 1000)
    ]
    columns["no_skips"] = (("finite_L", "digit"), np.array(mlp))
    return xr.Dataset(columns, {"L": list(found), "finite_L": [10, 100, 1000]}).assign_attrs(train=train)


register(sim, CLAIMS, FIGURES)
