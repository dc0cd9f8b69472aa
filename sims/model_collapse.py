"""Model collapse: recursive training of next-token models, exact theory beside simulation on real text.

The truth is the character law of a real text (tiny Shakespeare, or your own with `--data my.txt`), or the
paper's Zipf law. Every way of recursive training is simulated and compared with its exact theory; a linear
softmax is trained by gradient descent on its own samples; the paper's claims are judged.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim import model_collapse as mc
from theorysim.data import zipf_law
from theorysim.lab import Paper, Sim, Verdict
from theorysim.lab.runs import mean_over
from theorysim.model_collapse import Scenario
from theorysim.networks.softmax import mutation_floor, recursive_training
from theorysim.numerics import stats

from ._beside import register
from ._model_collapse_config import ZIPF_EXPONENT, ZIPF_TOKENS, Config, frequent_contexts, truth
from ._model_collapse_figures import FIGURES

sim = Sim(
    slug="model_collapse",
    question="What is left of a language model trained, generation after generation, on its own samples?",
    paper=Paper(
        title="How Bad is Training on Synthetic Data? A Statistical Analysis of Language Model Collapse",
        authors=("M. E. A. Seddik", "S.-W. Chen", "S. Hayou", "P. Youssef", "M. Debbah"),
        arxiv="2404.05090",
        year=2024,
    ),
    presets={
        "quick": Config(),
        "paper": Config(
            law="zipf",
            sizes=(10, 100),
            generations=50,
            runs=20_000,
            collapse_sizes=(10, 50, 100, 150, 200, 250, 300, 350, 400),
            collapse_runs=1000,
            mixed_sizes=(10, 100, 1000),
            long_generations=500,
            long_runs=1000,
            network_runs=128,
            network_samples=20_000,
            network_generations=20,
            network_steps=20_000,
            context_share=0.002,
        ),
        "tiny": Config(
            sizes=(10,),
            generations=6,
            runs=512,
            window=2,
            collapse_sizes=(4, 8),
            collapse_runs=16,
            mixed_sizes=(10,),
            long_generations=8,
            long_windows=(1, 2),
            long_runs=16,
            network_runs=3,
            network_samples=300,
            network_generations=2,
            network_steps=1000,
            context_share=0.05,
        ),
    },
)


def scenarios(n, cfg) -> dict[str, Scenario]:
    """Every way of recursive training, by the name it has in tables and legends."""
    return {
        "replace": Scenario("replace", n),
        "mixed": Scenario("mixed", n, N=cfg.real),
        "accumulate": Scenario("accumulate", n, N=cfg.real),
        "accumulate, N = n": Scenario("accumulate", n, N=n),
        "window, pooled": Scenario("window", n, K=cfg.window, resample="pooled"),
        "window, fresh": Scenario("window", n, K=cfg.window, resample="fresh"),
        "random_pool": Scenario("random_pool", n),
        "fresh_real": Scenario("fresh_real", n, N=cfg.real),
    }


def one_run(key, p, scenario: Scenario, num_gens: int) -> mc.Simulation:
    """One run; its collapse time is num_gens + 1 where it has not collapsed by then."""
    run = jax.tree.map(lambda field: field[0], mc.simulate(key, p, scenario, num_gens, num_runs=1))
    return run._replace(T=jnp.minimum(run.T, num_gens + 1))


def scenario_run(scenario, n, key, *, p, cfg):
    return one_run(key, p, scenarios(n, cfg)[scenario], cfg.generations)


CURVES = {name: ("generation",) for name in ("sigma", "l1", "l2", "support", "entropy")}


def simulated(sweep, fn, num_gens, dims=None, **grid) -> xr.Dataset:
    """A sweep over runs, their curves along `generation`."""
    generation = {"generation": np.arange(num_gens + 1)}
    return sweep(fn, dims=CURVES | (dims or {}), coords=generation, **grid)


@sim.experiment
def every_scenario(cfg, key, sweep) -> xr.Dataset:
    """Every way of recursive training, exact law against simulation."""
    p, M = truth(cfg), cfg.generations
    one = functools.partial(scenario_run, p=p, cfg=cfg)
    grid = {"scenario": list(scenarios(cfg.sizes[0], cfg)), "n": cfg.sizes}
    runs = simulated(sweep, one, M, cases=grid, replicas=cfg.runs, key=key)
    by_scenario = zip(*(scenarios(n, cfg).values() for n in cfg.sizes), strict=True)
    exact = [[mc.expected_sumsq(p, plan, M) for plan in plans] for plans in by_scenario]
    by_n = {
        "support_exact": lambda n: mc.expected_support(p, n, M),
        "entropy_exact": lambda n: mc.expected_entropy(p, n, M),
        "cdf_exact": lambda n: mc.collapse_cdf(p, n, M),
        "drift_exact": lambda n: jnp.pad(mc.replace_drift(p, n, M), (1, 0)),
        "mixed_drift_exact": lambda n: jnp.pad(mc.mixed_drift_mean(p, n, cfg.real, M), (1, 0)),
    }
    curves = {name: (("n", "generation"), np.array([f(n) for n in cfg.sizes])) for name, f in by_n.items()}
    return runs.assign(curves | {"sigma_exact": (("scenario", "n", "generation"), np.array(exact))})


def starting_laws(cfg) -> dict[str, np.ndarray]:
    p = truth(cfg)
    s = len(p)
    return {
        "two tokens (1/2, 1/2)": np.r_[0.5, 0.5, np.zeros(s - 2)],
        "English characters" if cfg.law == "text" else "Zipf, 52 of 600": p,
        f"uniform over {s}": np.full(s, 1 / s),
    }


def collapse_law(n, p, key, *, num_runs):
    runs, exact = mc.collapse_times(key, p, n, num_runs), mc.collapse_time_moments(p, n)
    return {"T": runs.T, "survivor": runs.survivor, "mean_exact": exact.mean, "var_exact": exact.var}


@sim.experiment
def collapse_time(cfg, key, sweep) -> xr.Dataset:
    """Generations until one token is left, against the sample size."""
    laws = starting_laws(cfg)
    return sweep(
        functools.partial(collapse_law, num_runs=cfg.collapse_runs),
        cases={"n": cfg.collapse_sizes},
        vary={"p": ("law", np.array(list(laws.values())))},
        key=key,
        dims={"T": ("run",), "survivor": ("run",), "p": ("token",)},
        coords={"law": list(laws)},
    )


EXPONENTS = (0.0, ZIPF_EXPONENT, 1.8, 2.6)  # from a flat vocabulary to one concentrated on few tokens


def mixed_run(n, p, key, *, N, num_gens):
    return one_run(key, p, Scenario("mixed", n, N=N), num_gens)


@sim.experiment
def mixed(cfg, key, sweep) -> xr.Dataset:
    """Real data kept for ever: drift against the amount of synthetic data and the truth's dispersion."""
    laws = np.array([zipf_law(exponent, ZIPF_TOKENS) for exponent in EXPONENTS])
    M, replicas = cfg.generations, cfg.runs // 8
    one = functools.partial(mixed_run, N=cfg.real, num_gens=M)
    grid = {"cases": {"n": cfg.mixed_sizes}, "vary": {"p": ("law", laws)}, "dims": {"p": ("token",)}}
    runs = simulated(sweep, one, M, replicas=replicas, key=key, **grid)
    runs = runs.assign_coords(S0=("law", (laws**2).sum(1)))
    drift = [mc.mixed_drift_mean(laws, n, cfg.real, M) for n in cfg.mixed_sizes]
    exact = np.pad(np.array(drift), ((0, 0), (0, 0), (1, 0)))
    return runs.assign(drift_exact=(("n", "law", "generation"), exact))


SMALL_N, SMALL_REAL = 200, 20  # few real samples: where the misprint of the paper's formula shows most


@sim.experiment
def misprint(cfg, key, sweep) -> xr.Dataset:
    """Twenty real samples and 200 synthetic ones: the printed formula for S_m against the corrected one."""
    p = zipf_law(1.8, ZIPF_TOKENS)
    one = functools.partial(mixed_run, n=SMALL_N, p=p, N=SMALL_REAL, num_gens=6)
    runs = simulated(sweep, one, 6, replicas=2 * cfg.runs, key=key)[["sigma"]]
    for variant in ("printed", "corrected"):
        later = mc.mixed_sumsq((p**2).sum(), SMALL_N, SMALL_REAL, 6, variant=variant)
        runs[variant] = ("generation", np.r_[np.nan, later])
    return runs


def pool_or_window(training: str) -> Scenario:
    """The scenario, at n = 10, of a label such as "window 2 pooled" or "pool"."""
    if training == "pool":
        return Scenario("random_pool", 10)
    _, K, resample = training.split()
    return Scenario("window", 10, K=int(K), resample="fresh" if resample == "fresh" else "pooled")


def long_run(training, key, *, p, num_gens):
    return one_run(key, p, pool_or_window(training), num_gens)


@sim.experiment
def windows(cfg, key, sweep) -> xr.Dataset:
    """The last K models or all of them, n = 10, for many generations."""
    p, M = truth(cfg), cfg.long_generations
    larger = [f"window {K} {how}" for how in ("fresh", "pooled") for K in cfg.long_windows[1:]]
    trainings = [f"window {cfg.long_windows[0]} fresh", *larger, "pool"]
    one = functools.partial(long_run, p=p, num_gens=M)
    runs = simulated(sweep, one, M, cases={"training": trainings}, replicas=cfg.long_runs, key=key)
    exact = np.array([mc.expected_sumsq(p, pool_or_window(name), M) for name in trainings])
    return runs.assign(sigma_exact=(("training", "generation"), exact))


def simplex_path(p, key, *, record):
    return mc.simulate_laws(key, p, Scenario("replace", 1000 // 81), record, num_runs=1)[0]


@sim.experiment
def simplex(cfg, key, sweep) -> xr.Dataset:
    """Three tokens in 81 contexts, 1000 samples in all: paths on the simplex."""
    record = (0, 10, 20, 30, 40)
    return sweep(
        functools.partial(simplex_path, record=record),
        vary={"p": ("context", jax.random.dirichlet(jax.random.fold_in(key, 0), jnp.ones(3), (81,)))},
        key=jax.random.fold_in(key, 1),
        dims={"value": ("generation", "token"), "p": ("token",)},
        coords={"generation": list(record)},
    )


def surviving_tokens(key, *, p, n, record):
    return mc.simulate_laws(key, p, Scenario("replace", n), record, num_runs=1)[0] > 0


@sim.experiment
def characters(cfg, key, sweep) -> xr.Dataset:
    """Which tokens die out first: survival by frequency in the truth."""
    p, n = truth(cfg), max(cfg.sizes)
    record = tuple(m for m in (1, 3, 10, 30) if m <= cfg.generations)
    alive = sweep(
        functools.partial(surviving_tokens, p=p, n=n, record=record),
        replicas=cfg.runs,
        key=key,
        dims={"value": ("generation", "token")},
        coords={"generation": list(record), "frequency": ("token", p)},
    )
    exact = 1 - np.asarray(mc.extinction_probability(p, n, record[-1]))[list(record)]
    return xr.Dataset({"alive": alive.value.mean("replica"), "alive_exact": (("generation", "token"), exact)})


def network_run(minimiser, key, *, context_law, laws, cfg):
    run = recursive_training(
        key,
        context_law,
        laws,
        num_samples=cfg.network_samples,
        num_gens=cfg.network_generations,
        num_steps=cfg.network_steps,
        minimiser=minimiser,
        floor_threshold=1.0,  # takes off exactly the tokens that no sample showed
    )
    return {"sigma": run.sigma, "support": run.support, "floor": run.floor, "counts": run.sample_counts}


@sim.experiment
def networks(cfg, key, sweep) -> xr.Dataset:
    """A linear softmax trained by gradient descent on real text, then on its own samples."""
    text, M = frequent_contexts(cfg), cfg.network_generations
    runs = sweep(
        functools.partial(network_run, context_law=text.context_law, laws=text.laws, cfg=cfg),
        cases={"minimiser": ["exact", "thresholded", "trained"]},
        replicas=cfg.network_runs,
        key=key,
        dims={
            "sigma": ("generation", "context"),
            "support": ("generation", "context"),
            "floor": ("trained_generation", "context"),
            "counts": ("trained_generation", "context"),
        },
        coords={"generation": np.arange(M + 1), "context_law": ("context", text.context_law)},
    )
    exact = mc.context_sumsq(text.context_law, text.laws, cfg.network_samples, M)
    # The spread between runs, with as many samples of each context as it gets on average.
    share = np.maximum(text.context_law * cfg.network_samples, 1)
    spread = mc.sumsq_moments(text.laws, share, M).var.T
    names = ("generation", "context")
    curves = {"sigma_exact": (names, np.asarray(exact)), "sigma_var": (names, np.asarray(spread))}
    return runs.assign(curves | {"tokens": text.laws.shape[1]})


def some(generation: np.ndarray) -> list[int]:
    """A few generations that tell the whole curve: neighbours are too correlated to count as evidence."""
    return [m for m in (1, 2, 5, 10, 20, 30, 50, 100, 150, 200, 500) if m <= generation[-1]]


def sigma_against_theory(data: xr.Dataset, resolution: float) -> Verdict:
    """Mean sum of squares against `sigma_exact`, at a few generations of every curve."""
    few = data.sel(generation=some(data.generation.values))
    measured = mean_over(few.sigma)
    predicted = few.sigma_exact.transpose(*[d for d in few.sigma.dims if d != "replica"]).values
    # Where a handful of runs is left to collapse, their spread says nothing: the last one alone shows none. A
    # share in [0, 1] has at most the spread of a coin, and what the last run does is worth 1/R.
    runs = few.sizes["replica"]
    coin = np.sqrt(np.abs(predicted * (1 - predicted)) / runs)
    rare = runs * np.minimum(predicted, 1 - predicted) < 50
    error = np.where(rare, np.maximum(measured.standard_error, coin), measured.standard_error)
    return stats.within(measured.mean, predicted, error, bias=1 / runs, resolution=resolution)


@sim.claim("C1", "Fully synthetic: $S_m = 1 - (1-1/n)^m (1-S_0)$, and every run collapses.")
def sum_of_squares(data, cfg):
    runs = data["every_scenario"].sel(scenario="replace")
    m, n = runs.generation.values, runs.n.values[:, None]
    formula = 1 - (1 - 1 / n) ** m * (1 - (truth(cfg) ** 2).sum())
    curve = sigma_against_theory(runs.assign(sigma_exact=(("n", "generation"), formula)), 0.03)
    collapsed = np.isfinite(data["collapse_time"]["T"].values).mean()
    return stats.all_of([curve, stats.bounded(collapsed, 0.0, lower=1.0)])


@sim.claim("C2", "The probability of collapse by generation $m$ lies between the paper's two bounds.")
def collapse_probability(data, cfg):
    runs = data["every_scenario"].sel(scenario="replace")
    bounds = [mc.collapse_cdf_bounds(truth(cfg), n, cfg.generations) for n in cfg.sizes]
    exact = runs.cdf_exact.values[:, 1:]
    inside = stats.bounded(
        exact,
        np.zeros_like(exact),
        lower=np.array([b.lower[1:] for b in bounds]),
        upper=np.array([b.upper[1:] for b in bounds]),
    )
    few = some(runs.generation.values)
    rho = runs.cdf_exact.sel(generation=few).values
    share = (runs["T"].values[..., None] <= np.array(few)).mean(runs["T"].get_axis_num("replica"))
    error = np.sqrt(rho * (1 - rho) / runs.sizes["replica"])
    # Where collapse is rarer than one in R, a single run that collapses is no refutation.
    law = stats.within(share, rho, error, bias=1 / runs.sizes["replica"], resolution=0.06)
    return stats.all_of([law, inside])


@sim.claim("C3", "The mean collapse time lies between the paper's bounds and grows linearly with $n$.")
def linear_in_n(data, cfg):
    runs = data["collapse_time"]
    times = mean_over(runs["T"], "run")
    bounds = [mc.collapse_time_bounds(runs.p.values, n) for n in cfg.collapse_sizes]
    lower, upper = (np.array([getattr(b, side) for b in bounds]) for side in ("lower", "upper"))
    between = stats.bounded(times.mean, times.standard_error, lower=lower, upper=upper)
    fits = [
        stats.log_log_slope(cfg.collapse_sizes, times.mean[:, i], times.standard_error[:, i])
        for i in range(3)
    ]
    slopes, errors = np.array([f.slope for f in fits]), np.array([f.slope_error for f in fits])
    return stats.all_of([between, stats.within(slopes, 1.0, errors, bias=0.05, resolution=0.1)])


@sim.claim("C4", "The surviving token is $i$ with probability $p_i$.")
def survivor_law(data, cfg):
    runs = data["collapse_time"].isel(law=1)
    p, survivor = runs.p.values, runs.survivor.values.ravel()
    share = np.bincount(survivor[survivor >= 0], minlength=len(p)) / survivor.size
    top = np.argsort(-p)[:8]
    error = np.sqrt(p * (1 - p) / survivor.size)
    return stats.within(share[top], p[top], error[top], resolution=0.06)


def sum_of_squares_formula(data, cfg, variant):
    runs = data["misprint"].isel(generation=slice(1, None))
    measured = mean_over(runs.sigma)
    return stats.within(measured.mean, runs[variant].values, measured.standard_error, resolution=0.006)


for label, variant, sign, expected in (
    ("C5-printed", "printed", "as printed, with a minus sign", "refuted"),
    ("C5", "corrected", "with that sign corrected", "confirmed"),
):
    sim.claim(label, f"Partially synthetic training: the paper's $S_m$, {sign}.", expected=expected)(
        functools.partial(sum_of_squares_formula, variant=variant)
    )


@sim.claim(
    "C6", r"The drift stays below the paper's bound, and $n$ up to its cap keeps it within $\varepsilon$."
)
def drift_bound(data, cfg):
    runs = data["mixed"].isel(generation=slice(2, None))
    measured = mean_over(runs.l1)
    n = runs.n.values[:, None, None]
    bound = np.exp(mc.log_drift_bound(n, cfg.real, ZIPF_TOKENS)) * np.ones_like(measured.mean)
    below = stats.bounded(measured.mean, measured.standard_error, upper=bound)
    N, eps = np.logspace(6, 12, 13), 0.05
    cap = np.asarray(mc.max_synthetic_bound(eps, N, ZIPF_TOKENS))
    N, cap = N[cap >= 1], cap[cap >= 1]
    limit = jax.vmap(lambda n, N: mc.mixed_variance_factor(n, N, 1000)[-1])(cap, N)
    drift = np.sqrt(limit * (ZIPF_TOKENS - 1))
    return stats.all_of([below, stats.bounded(drift, np.zeros_like(drift), upper=eps)])


@sim.claim("C7", "Partially synthetic training drifts more for larger $n$, and less for larger $S_0$.")
def drift_order(data, cfg):
    last = data["mixed"].isel(generation=-1)
    measured = mean_over(last.l1)  # (n, law), laws in order of S_0
    by_n = [stats.ordered(m, e) for m, e in zip(measured.mean.T, measured.standard_error.T, strict=True)]
    by_law = [
        stats.ordered(m, e, increasing=False)
        for m, e in zip(measured.mean, measured.standard_error, strict=True)
    ]
    return stats.all_of([*by_n, *by_law] if len(cfg.mixed_sizes) > 1 else by_law)


@sim.claim("C8", "A window of $K$ models delays collapse, which still comes; a pool of all models plateaus.")
def window_and_pool(data, cfg):
    runs = data["windows"]
    fresh = [name for name in runs.training.values if name.endswith("fresh")]
    times = mean_over(runs["T"].sel(training=fresh))  # runs that outlive the experiment count as if just dead
    rates = np.array([mc.window_decay_rate(pool_or_window(str(name))) for name in runs.training.values[:-1]])
    still_comes = stats.bounded(rates, np.zeros(len(rates)), upper=1 - 1e-6)
    limit = 1 - mc.diversity_limit(Scenario("random_pool", 10)) * (1 - (truth(cfg) ** 2).sum())
    pool = mean_over(runs.sigma.isel(generation=-1, training=-1))
    plateau = stats.within(
        pool.mean, limit, pool.standard_error, bias=1 / cfg.long_generations, resolution=0.03
    )
    delays = stats.ordered(times.mean, times.standard_error)
    return stats.all_of([sigma_against_theory(runs, 0.1), delays, still_comes, plateau])


@sim.claim(
    "D1", r"$\mathrm{E}[T]$ is exact for any $p$ in $O(n^{1.5})$, and at most $2n-1$.", unit="generations"
)
def exact_collapse_time(data, cfg):
    runs = data["collapse_time"]
    measured = mean_over(runs["T"], "run").mean
    exact = runs.mean_exact.values
    error = np.sqrt(runs.var_exact.values / runs.sizes["run"])
    sizes = np.array([1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000])
    most = np.array([1 + mc.lineage_visits(int(n)).sum() for n in sizes])
    linear = stats.bounded(most, np.zeros_like(most), upper=2 * sizes - 1 + 1e-9)
    return stats.all_of([stats.within(measured, exact, error, resolution=0.3 * exact), linear])


@sim.claim("D2", r"For every $n$, partially synthetic drift is bounded: its square by $(1-S_1)/(2N+1)$.")
def bounded_drift(data, cfg):
    last = data["mixed"].isel(generation=-1)
    measured = mean_over(last.l2)
    first_diversity = (1 - 1 / cfg.real) * (1 - last.S0.values)
    ceiling = np.broadcast_to(first_diversity / (2 * cfg.real + 1), measured.mean.shape)
    # The bound is attained as n grows, so that it can be tested up to a resolution only.
    below = stats.bounded(measured.mean, measured.standard_error, upper=ceiling, resolution=0.25 * ceiling)
    factor = [mc.mixed_variance_factor(n, cfg.real, cfg.generations)[-1] for n in cfg.mixed_sizes]
    exact = np.array(factor)[:, None] * first_diversity
    formula = stats.within(measured.mean, exact, measured.standard_error, resolution=0.25 * ceiling)
    return stats.all_of([below, formula])


@sim.claim(
    "D3", r"Keeping all data keeps $\sin x/x$, $x = \pi/\sqrt{n}$, of the diversity; so does a random pool."
)
def accumulation_keeps(data, cfg):
    runs = data["every_scenario"]
    kept = runs.sel(scenario=["accumulate, N = n", "random_pool"])
    curves = sigma_against_theory(kept, 0.02)
    last = mean_over(kept.sigma.isel(generation=-1))
    gap, error = np.diff(last.mean, axis=0)[0], np.hypot(*last.standard_error)
    same = stats.within(gap, 0.0, error, resolution=0.02)
    h = [mc.diversity_factor(Scenario("accumulate", n, N=n), 100_000)[-1] for n in cfg.sizes]
    sinc = np.sinc(1 / np.sqrt(cfg.sizes))
    limit = stats.within(np.array(h), sinc, np.zeros(len(h)), bias=1e-5, resolution=0.01)
    return stats.all_of([curves, same, limit])


@sim.claim("E1", "Every simulated curve of every scenario lies on its exact theory (99 % for all together).")
def all_curves(data, cfg):
    runs = data["every_scenario"]
    runs = runs.sel(generation=some(runs.generation.values))
    replace, mixed = runs.sel(scenario="replace"), runs.sel(scenario="mixed")
    pairs = [
        (runs.sigma, runs.sigma_exact),
        (replace.support, replace.support_exact),
        (replace.entropy, replace.entropy_exact),
        (replace.l1, replace.drift_exact),
        (mixed.l1, mixed.mixed_drift_exact),
    ]
    columns = []
    for curve, exact in pairs:
        found = mean_over(curve)
        predicted = exact.transpose(*(dim for dim in curve.dims if dim != "replica")).values
        resolution = np.full_like(predicted, 0.07 * predicted.max())
        columns.append([x.ravel() for x in (found.mean, predicted, found.standard_error, resolution)])
    measured, predicted, error, resolution = (np.concatenate(column) for column in zip(*columns, strict=True))
    return stats.within(measured, predicted, error, resolution=resolution)


def text_sigma(runs: xr.Dataset) -> xr.DataArray:
    """Sum of squares of the next-character law, averaged over the contexts of the text."""
    return (runs.sigma * runs.context_law).sum("context")


@sim.claim("E2", "Trained on text, the exact minimiser follows $S_m$ on average and context by context.")
def network_theory(data, cfg):
    runs = data["networks"]
    found = mean_over(text_sigma(runs).sel(minimiser="exact").isel(generation=slice(1, None)))
    predicted = (runs.sigma_exact * runs.context_law).sum("context").values[1:]
    spread = {"resolution": 0.02, "degrees_of_freedom": cfg.network_runs - 1}
    average = stats.within(found.mean, predicted, found.standard_error, **spread)
    last = runs.isel(generation=-1)
    each = mean_over(last.sigma.sel(minimiser="exact"))
    error = np.sqrt(last.sigma_var / cfg.network_runs).values
    return stats.all_of([average, stats.within(each.mean, last.sigma_exact.values, error, resolution=0.12)])


@sim.claim("E2-delay", "Gradient descent leaves a mutation floor: trained networks collapse later.")
def mutation_delays(data, cfg):
    sigma = text_sigma(data["networks"]).isel(generation=-1)
    lag = mean_over(sigma.sel(minimiser="trained") - sigma.sel(minimiser="exact"))
    return stats.bounded(lag.mean, lag.standard_error, upper=0.0, degrees_of_freedom=cfg.network_runs - 1)


@sim.claim(
    "E2-floor", r"The floor is $(k/s)/(\eta f t)$ per unseen token, to 15 % in the commonest contexts."
)
def floor_law(data, cfg):
    first = data["networks"].sel(minimiser="trained").isel(trained_generation=0, context=slice(0, 5))
    law = mutation_floor(
        first.support.isel(generation=1).values,
        int(first.tokens),
        learning_rate=1 / float(first.context_law.max()),
        frequency=first.counts.values / cfg.network_samples,
        num_steps=cfg.network_steps,
    )
    ratio = stats.mean_and_error((first.floor / law).mean("context").values)
    spread = {"bias": 0.15, "resolution": 0.1, "degrees_of_freedom": cfg.network_runs - 1}
    return stats.within(ratio.mean, 1.0, ratio.standard_error, **spread)


register(sim, (), FIGURES)
