"""Two learning rates for low-rank adapters: exact dynamics at widths up to 2^30 beside trained toy networks.

Powers of the width show that one rate for both factors is never efficient and that (1/n, 1) is; steps to a
residual of 1 % show how little or much that costs; stability bounds the product of the two rates only; and
two rates are the same as one rate with a larger start. Toy networks are trained by Adam over a map of rates
at several widths; the paper's claims are judged.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim import lora_plus
from theorysim.lab import LeftOut, Paper, Sim
from theorysim.numerics.low_rank import minimum_sharpness

from . import _lora_plus_kernels as kernels
from ._beside import register
from ._lora_plus_claims import CLAIMS
from ._lora_plus_config import EPS, OUTPUT_GAIN, PAIR, Config, problem
from ._lora_plus_figures import FIGURES
from ._lora_plus_text import RATIO, TEXT_CLAIMS, TEXT_FIGURES
from ._lora_text import fine_tuning
from ._lora_transformer import adaptations

sim = Sim(
    slug="lora_plus",
    question="Should the two factors of a low-rank adapter learn at different rates?",
    paper=Paper(
        title="LoRA+: Efficient Low Rank Adaptation of Large Models",
        authors=("S. Hayou", "N. Ghosh", "B. Yu"),
        arxiv="2402.12354",
        year=2024,
    ),
    presets={
        "quick": Config(),
        "paper": Config(
            starts=64,
            law_starts=4000,
            toy_widths=(64, 128, 256, 512, 1024, 2048, 4096),
            toy_readouts=("mean_field", "ntk"),
            toy_seeds=10,
            toy_ratios=9,
            toy_rates=9,
            toy_steps=200,
            text_seeds=3,
        ),
        "text": Config(text_seeds=3),
        "tiny": Config(
            starts=4,
            law_starts=40,
            toy_widths=(16, 32),
            toy_seeds=2,
            toy_ratios=4,
            toy_rates=5,
            toy_steps=20,
            toy_examples=16,
        ),
    },
)

SIZES = ("p", "q", "output", "delta1", "delta2")
# Powers of the width of a single rate, and the pair (1/n, 1) at the end.
POWERS = np.array([-1.25, -1.125, -1.0, -0.875, -0.75, -2 / 3, -0.625, -0.5])


@sim.experiment
def powers(cfg, key, sweep) -> xr.Dataset:
    """Sizes of factors and changes of the output after a few steps, at rates that are powers of the width."""
    power_a, power_b = np.append(POWERS, -1.0), np.append(POWERS, 0.0)
    vary = {
        "power_a": ("setting", power_a),
        "power_b": ("setting", power_b),
        "n": np.array(cfg.widths, float),
        "a_random": ("init", [1.0, 0.0]),
        "start": np.arange(cfg.starts),
    }
    found = []
    for one in (kernels.sizes_by_adam, kernels.sizes_by_sgd):
        runs = sweep(functools.partial(one, key=key), vary=vary)
        found.append(runs.drop_vars("a_random", errors="ignore"))
    return xr.concat(found, "optimizer").assign_coords(
        optimizer=["adam", "sgd"],
        init=["a", "b"],
        power_a=("setting", power_a),
        power_b=("setting", power_b),
    )


@sim.experiment
def law_of_steps(cfg, key, sweep) -> xr.Dataset:
    """Steps to a residual of 1 % for one example, output and rank, at the same sharpness of the end."""
    sharp, n = np.array([0.02, 1.0]), np.array(cfg.widths, float)
    # With p0 = y = 1 and q0 = 0 the sharpness of the end is sqrt(b^2 + 4 a b).
    one = sharp[:, None] / np.sqrt(1 + 4 * n)
    two = np.repeat(sharp[:, None] / 2**0.5, len(n), axis=1)
    gain_a, gain_b = np.stack([one * n, two / 4], 1), np.stack([one, two], 1)
    run = functools.partial(kernels.steps_of_one, eps=EPS, steps=1000)
    vary = {"gain_a": ("point", gain_a.ravel()), "gain_b": ("point", gain_b.ravel())}
    runs = sweep(run, vary=vary)
    closed = lora_plus.time_to_fraction(EPS, 1.0, 0.0, 1.0, gain_a=gain_a, gain_b=gain_b)
    dims, rates = ("sharpness", "rates", "n"), ["one", "two"]
    return xr.Dataset(
        {
            "steps": (dims, runs["value"].values.reshape(gain_a.shape)),
            "closed": (dims, np.asarray(closed)),
        },
        {"sharpness": sharp, "rates": rates, "n": n},
    )


@sim.experiment
def splits(cfg, key, sweep) -> xr.Dataset:
    """Time to a residual of 1 % for one example by gradient flow, over divisions of one final sharpness."""
    # Gains a and b of A and B with sqrt(b^2 + 4 a b) = 1.
    split = 2.0 ** np.arange(-32, 13)
    gain_b = 1 / np.sqrt(1 + 4 / split)
    time = lora_plus.time_to_fraction(EPS, 1.0, 0.0, 1.0, gain_a=gain_b / split, gain_b=gain_b)
    return xr.Dataset(
        {"time": ("split", np.asarray(time)), "time_of_b_alone": -np.log(EPS)}, {"split": split}
    )


# Ratios lr_b/(lr_a n) of the pairs among which the best is looked for.
SPLITS = 4.0 ** np.arange(-15, 2)


@sim.experiment
def best_of_each(cfg, key, sweep) -> xr.Dataset:
    """Steps to a residual of 1 % at the best single rate for every width, and at the best pair."""
    target = problem(16, 16, 1)
    splits = np.unique(np.concatenate([SPLITS, 1 / np.array(cfg.widths, float)]))
    rate = np.linspace(0.04, 1, 25) * target.end_bound
    # The last point trains B alone.
    lr_a = np.append((rate[:, None] / np.sqrt(splits)).ravel(), 0.0)
    lr_b = np.append((rate[:, None] * np.sqrt(splits)).ravel(), 0.5)
    run = functools.partial(kernels.descent, key=key, Y=target.Y, rank=4, fraction=EPS**2, steps=80)
    vary = {"lr_a": ("point", lr_a), "lr_b": ("point", lr_b), "start": np.arange(cfg.starts)}
    runs = sweep(run, vary=vary).drop_vars(["lr_a", "lr_b"], errors="ignore")
    shape = (len(rate), len(splits), cfg.starts)
    return xr.Dataset(
        {
            "steps": (("rate", "split", "start"), runs.steps.values[:-1].reshape(shape)),
            "rest": (("rate", "split", "start"), runs.rest.values[:-1].reshape(shape)),
            "rest_of_b_alone": ("start", runs.rest.values[-1]),
        },
        {"rate": rate, "split": splits},
    )


@sim.experiment
def stability(cfg, key, sweep) -> xr.Dataset:
    """Which geometric means of both rates converge, at single rates for several widths and at a pair."""
    target = problem(4, 6, 4)
    factor = np.arange(0.8, 1.2, 0.02)
    splits = np.append(1 / np.array(cfg.widths[:4], float), 1 / 64)
    rate = factor * target.end_bound
    run = functools.partial(kernels.settled, key=key, Y=target.Y, rank=6, steps=1500)
    vary = {
        "lr_a": ("point", (rate[:, None] / np.sqrt(splits)).ravel()),
        "lr_b": ("point", (rate[:, None] * np.sqrt(splits)).ravel()),
        "start": np.arange(4),
    }
    rest = sweep(run, vary=vary)["value"].values.reshape(len(factor), len(splits), 4)
    return xr.Dataset({"rest": (("factor", "split", "start"), rest)}, {"factor": factor, "split": splits})


def wishart_factor(rng, n, size):
    """Lower-triangular L with L L' = X'X/n for X (n, size) of standard normal entries (Bartlett 1933)."""
    diagonal = np.sqrt(rng.chisquare(n - np.arange(size)))
    return (np.diag(diagonal) + np.tril(rng.normal(size=(size, size)), -1)) / n**0.5


@sim.experiment
def widths(cfg, key, sweep) -> xr.Dataset:
    """Trainings at the rates (a/n, b): with one K_in/n at every width, and with random features."""
    # One less than powers of two, whose products are exact: the same bits at every width would prove less.
    target, n = problem(3, 8, 3), np.array(cfg.widths, float) - 1
    rng = np.random.default_rng(cfg.seed)
    random = np.array([[wishart_factor(rng, w, 8) for _ in range(cfg.starts)] for w in n])
    same = np.broadcast_to(np.eye(8), random.shape)
    factors = np.stack([same, random]).reshape(-1, 8, 8)
    one = functools.partial(kernels.at_width, key=key, Y=target.Y, rank=2, pair=(1.5, 0.3), steps=40)
    vary = {
        "factor": ("point", factors),
        "n": ("point", np.tile(np.repeat(n, cfg.starts), 2)),
        "start": ("point", np.tile(np.arange(cfg.starts), 2 * len(n))),
    }
    runs = sweep(one, vary=vary, dims={"value": ("step",)})
    loss = runs["value"].values.reshape(2, len(n), cfg.starts, -1)
    dims = ("features", "n", "start", "step")
    return xr.Dataset({"loss": (dims, loss)}, {"features": ["same", "random"], "n": n})


def correlated(examples, length) -> np.ndarray:
    """Gram matrix of examples of norm 1 whose correlation falls exponentially with their distance."""
    at = np.arange(examples)
    return np.exp(-np.abs(at[:, None] - at) / length)


@sim.experiment
def curvature(cfg, key, sweep) -> xr.Dataset:
    """Sharpness along the training, from starts of two sizes, for orthogonal and for correlated examples."""
    target, n = problem(4, 6, 4), 2.0**16
    grams = n * np.stack([np.eye(6), correlated(6, 1.5)])
    rates, sizes = ["one", "two", "two, too large"], np.array([0.01, 1.0])
    split = np.array([1.0, n / 64, n / 64])
    rate = np.array([0.5, 0.5, 1.1]) * target.end_bound / n**0.5
    one = functools.partial(kernels.sharpness_path, key=key, Y=target.Y, rank=6, steps=200, every=2)
    vary = {
        "gram": ("features", grams),
        "lr_a": ("rates", rate / np.sqrt(split)),
        "lr_b": ("rates", rate * np.sqrt(split)),
        "size": sizes,
        "start": np.arange(3),
    }
    runs = sweep(one, vary=vary, dims={"sharpness": ("step",), "loss": ("step",), "gram": ("i", "j")})
    runs = runs.drop_vars(["gram", "lr_a", "lr_b"], errors="ignore")
    steps = 2 * np.arange(runs.sizes["step"])
    return runs.assign_coords(features=["orthogonal", "correlated"], rates=rates, step=steps)


@sim.experiment
def twins(cfg, key, sweep) -> xr.Dataset:
    """Two rates, and one rate with a larger start of A, by gradient descent with momentum."""
    target, a, b, momentum = problem(3, 8, 3), 0.05, 0.3, 0.9
    twin = lora_plus.equivalent_setting(a, b, 1.0, 0.0, optimizer="sgd", to="single_rate")
    one = functools.partial(kernels.heavy_ball, key=key, Y=target.Y, rank=4, momentum=momentum, steps=60)
    vary = {
        "lr_a": ("setting", np.array([a, float(twin.lr_a)])),
        "lr_b": ("setting", np.array([b, float(twin.lr_b)])),
        "size": ("setting", np.array([1.0, float(twin.std_factor_a)])),
        "start": np.arange(4),
    }
    runs = sweep(one, vary=vary, dims={"value": ("step",)})
    runs = runs.drop_vars(["lr_a", "lr_b", "size"], errors="ignore").rename(value="loss")
    return runs.assign_coords(setting=["two rates", "larger start"])


@sim.experiment
def law_of_start(cfg, key, sweep) -> xr.Dataset:
    """Trainings whose start is drawn by its exact law, beside those of the weights themselves."""
    rng = np.random.default_rng(cfg.seed)
    n, m = 64, 48
    X, W_out = rng.normal(size=(n, 6)), rng.normal(size=(3, m)) / m**0.5
    arrays = {"X": jnp.asarray(X), "W_out": jnp.asarray(W_out), "Y": jnp.asarray(problem(3, 6, 3).Y)}
    numbers = {"rank": 2, "lr_a": 1.0 / n, "lr_b": 0.3, "steps": 40}
    dims, found = {"loss": ("step",), "feature_rms": ("step",)}, []
    for i, one in enumerate((kernels.by_exact_law, kernels.by_weights)):
        run = functools.partial(one, **arrays, **numbers)
        found.append(sweep(run, replicas=cfg.law_starts, key=jax.random.fold_in(key, i), dims=dims))
    return xr.concat(found, "start").assign_coords(start=["law", "weights"])


@sim.experiment
def linear_map(cfg, key, sweep) -> xr.Dataset:
    """Loss over pairs of rates at several widths, and the best pair by gradient descent through training."""
    target, gram, eye, steps = problem(16, 16, 1), correlated(16, 2.0), np.eye(16), 15
    P0, Q0 = np.random.default_rng(1).normal(size=(2, 16)), np.zeros((16, 2))
    scaled_a, scaled_b = 2.0 ** np.arange(-2, 12.1, 0.5), 2.0 ** np.arange(-12, 2.1, 0.5)
    first = float((target.Y**2).sum() / 32)
    losses, best = [], []
    # No powers of two: see above.
    widths = np.array([100.0, 1e4, 1e6])
    for n in widths:
        setting = n * gram, eye, target.Y, P0, Q0
        losses.append(np.asarray(lora_plus.loss_map(scaled_a / n, scaled_b, *setting, steps=steps)) / first)
        starts = [(8.0 / n, 0.25), (30.0 / n, 0.1), (100.0 / n, 0.02)]
        tries = [lora_plus.best_rates(*setting, steps=steps, start=start) for start in starts]
        best.append([[float(x.lr_a) * n, float(x.lr_b), float(x.loss) / first] for x in tries])
    return xr.Dataset(
        {
            "loss": (("n", "a", "b"), np.array(losses)),
            "best": (("n", "search", "of"), np.array(best)),
            "end_bound": 2 / float(minimum_sharpness(gram, eye, target.Y, lr_a=1.0, lr_b=1.0)),
        },
        {"n": widths, "a": scaled_a, "b": scaled_b, "of": ["lr_a", "lr_b", "loss"]},
    )


@sim.experiment
def toy(cfg, key, sweep) -> xr.Dataset:
    """Toy networks trained by Adam over ratios and sizes of the two rates, at several widths."""
    rate, ratio = 2.0 ** (0.5 - 0.5 * np.arange(cfg.toy_rates)[::-1]), 4.0 ** np.arange(cfg.toy_ratios)
    found = []
    for readout in cfg.toy_readouts:
        found.append([toy_runs(cfg, key, sweep, readout, n, rate, ratio) for n in cfg.toy_widths])
    runs = xr.concat([xr.concat(row, "width") for row in found], "readout")
    steps = kernels.RECORD * np.arange(runs.sizes["record"])
    return runs.assign_coords(
        readout=list(cfg.toy_readouts),
        width=list(cfg.toy_widths),
        rate=rate,
        ratio=ratio,
        setting=["two rates", "one rate", "one small rate", "larger start"],
        record=steps,
    )


def toy_runs(cfg, key, sweep, readout, n, rate, ratio) -> xr.Dataset:
    """The map of one width, and beside it the settings that are followed."""
    gain = OUTPUT_GAIN[readout]
    geometric = rate * n ** (-(1 + gain) / 2)
    a, b = PAIR[0] / n, PAIR[1] * n**-gain
    # Both rates, one of the same product, one that keeps A's features small, and the twin of both.
    both, small = (a * b) ** 0.5, a * (PAIR[1] / PAIR[0]) ** 0.5
    lr_a = np.concatenate([(geometric[:, None] / np.sqrt(ratio)).ravel(), [a, both, small, both]])
    lr_b = np.concatenate([(geometric[:, None] * np.sqrt(ratio)).ravel(), [b, both, small, both]])
    twin = lora_plus.equivalent_setting(a, b, 1 / n, 0.0, optimizer="adam", to="single_rate")
    var_a = np.append(np.full(len(lr_a) - 1, 1 / n), float(twin.var_a))
    one = functools.partial(
        kernels.toy_network,
        key=key,
        width=n,
        readout=readout,
        steps=cfg.toy_steps,
        examples=cfg.toy_examples,
    )
    names = ("loss", "test_loss", "feature_rms", "delta1", "delta2")
    vary = {
        "lr_a": ("point", lr_a),
        "lr_b": ("point", lr_b),
        "var_a": ("point", var_a),
        "seed": np.arange(cfg.toy_seeds),
    }
    runs = sweep(one, vary=vary, dims=dict.fromkeys(names, ("record",)))
    shape, split = (len(rate), len(ratio), cfg.toy_seeds, -1), len(lr_a) - 4
    on_map = {
        name: (("rate", "ratio", "seed", "record"), runs[name].values[:split].reshape(shape))
        for name in ("loss", "test_loss")
    }
    followed = {
        f"{name}_followed": (("setting", "seed", "record"), runs[name].values[split:]) for name in names
    }
    return xr.Dataset(on_map | followed)


@sim.experiment
def fine_tune(cfg, key, sweep) -> xr.Dataset:
    """A pretrained sentence encoder, fine-tuned on sentiment at ratios from 1 to 32."""
    return fine_tuning(sweep, inits=("a",), ratios=2.0 ** np.arange(6), seeds=cfg.text_seeds)


@sim.experiment
def small_transformer(cfg, key, sweep) -> xr.Dataset:
    """A small transformer that has learnt Shakespeare, adapted to prose."""
    if not cfg.text_seeds:
        raise LeftOut("--text-seeds 3 asks for it")
    rates = 10.0 ** np.arange(-3, -1, 0.5)
    settings = {"width": 64, "inits": ("a", "b"), "ratios": (1.0, RATIO), "rates": rates}
    return adaptations(sweep, key, **settings, seeds=cfg.text_seeds, pretraining=1000, steps=100)


register(sim, [*CLAIMS, *TEXT_CLAIMS], [*FIGURES, *TEXT_FIGURES])
