"""Which factor of a low-rank adapter starts at zero: rates, floors and times, exactly and in networks.

Gradient descent and Adam on an adapted layer are followed exactly up to width 2^30, where the powers of the
width, the constants in front of them and the floor of a frozen factor show; students of a teacher and
networks with one adapted layer are trained beside it. Starts are compared, and the claims judged.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim import lora_init
from theorysim.lab import Paper, Sim

from . import _lora_init_kernels as kernels
from ._beside import register
from ._lora_init_claims import CLAIMS
from ._lora_init_config import (
    INITS,
    OUTPUTS,
    RANK,
    READOUTS,
    REGIMES,
    STARTS,
    TOY_READOUTS,
    Config,
    Problem,
    draw_problem,
)
from ._lora_init_derived import DERIVED
from ._lora_init_figures import FIGURES
from ._lora_init_laws import steps_above_floor

sim = Sim(
    slug="lora_init",
    question="Which factor of a low-rank adapter should start at zero?",
    paper=Paper(
        title="The Impact of Initialization on LoRA Finetuning Dynamics",
        authors=("S. Hayou", "N. Ghosh", "B. Yu"),
        arxiv="2406.08447",
        year=2024,
    ),
    presets={
        "quick": Config(),
        "paper": Config(
            problems=32,
            rates_per_octave=8,
            time_widths=(128, 256, 512, 1024, 2048, 4096, 8192, 16384),
            floor_draws=100_000,
            student_widths=(128, 256, 512, 1024, 2048, 4096),
            student_problems=32,
            toy_widths=(64, 256, 1024, 4096),
            toy_seeds=10,
            toy_times=(20, 100),
        ),
        "tiny": Config(
            powers=(8, 16, 30),
            problems=3,
            rates_per_octave=1,
            time_widths=(256, 2048),
            floor_draws=200,
            student_widths=(32, 64),
            student_problems=3,
            student_steps=20,
            toy_widths=(16, 64),
            toy_seeds=2,
            toy_times=(10,),
        ),
    },
)

# Where the powers of the width are measured: wide enough for the constants to be out of the way.
EXPONENT_WIDTHS = 2.0 ** np.array([16, 20, 24, 28, 32])
# Steps before they are.
EXPONENT_STEPS = 4
SEEDS = 16
# Constant of every rate there.
EXPONENT_RATE = 0.1


def octaves(low: float, high: float, per_octave: int) -> np.ndarray:
    """Powers of 2 from one to the other."""
    return 2.0 ** np.linspace(low, high, round((high - low) * per_octave) + 1)


def shaped(runs: xr.Dataset, dim: str, coords: dict) -> xr.Dataset:
    """Unfold one axis, the last of `coords` fastest, into several."""
    sizes = [len(values) for values in coords.values()]
    found = {}
    for name, values in runs.data_vars.items():
        if dim not in values.dims:
            continue
        values = values.transpose(dim, ...)
        data = values.values.reshape(*sizes, *values.shape[1:])
        found[name] = ((*coords, *values.dims[1:]), data)
    kept = {name: values for name, values in runs.coords.items() if dim not in values.dims}
    return xr.Dataset(found, kept | {name: list(values) for name, values in coords.items()})


@sim.experiment
def exponents(cfg, key, sweep) -> xr.Dataset:
    """Sizes of factors, output and its changes after four steps, n = 2^16 ... 2^32."""
    found: list[xr.Dataset] = []
    for optimizer, kernel in (
        ("adam", kernels.one_example_adam),
        ("sgd", kernels.one_example_descent),
    ):
        regimes = [regime for regime in REGIMES if regime.optimizer == optimizer]
        points = [one_example(n, *regime[1:]) for regime in regimes for n in EXPONENT_WIDTHS]
        vary = laid(points) | {"bits": ("seed", bits(key, SEEDS))}
        runs = sweep(functools.partial(kernel, steps=EXPONENT_STEPS), vary=vary)
        names = [_regime_name(regime) for regime in regimes]
        found.append(shaped(runs, "run", {"regime": names, "width": EXPONENT_WIDTHS}))
    return xr.concat(found, "regime")


def one_example(width, init, power_a, power_b, readout="per coordinate") -> dict:
    """What a point of the one-example kernels needs."""
    gain, q0 = READOUTS[readout]
    return {
        "lr_a": EXPONENT_RATE * width**power_a,
        "lr_b": EXPONENT_RATE * width**power_b,
        "gain_in": width,
        "gain_out": width**gain,
        "p_std": float(init == "a"),
        "q_std": float(init == "b") * width**q0,
    }


def laid(points: list[dict], dim: str = "run") -> dict[str, tuple[str, np.ndarray]]:
    """Points of the same arguments along one axis."""
    return {name: (dim, np.array([point[name] for point in points])) for name in points[0]}


def bits(key, count) -> np.ndarray:
    """Keys as numbers: what is to be compared in pairs shares them."""
    return np.asarray(jax.random.key_data(jax.random.split(key, count)))


def _regime_name(regime):
    return f"{regime.optimizer} {regime.init} {regime.lr_a:g} {regime.lr_b:g}"


@sim.experiment
def phases(cfg, key, sweep) -> xr.Dataset:
    """The same under Adam over a plane of powers of both rates."""
    axes = {
        "init": INITS,
        "width": EXPONENT_WIDTHS,
        "gamma_a": np.linspace(-1.5, 0, 7),
        "gamma_b": np.linspace(-1.25, 0.5, 8),
    }
    points = [one_example(n, init, a, b) for init, n, a, b in itertools.product(*axes.values())]
    kernel = functools.partial(kernels.one_example_adam, steps=EXPONENT_STEPS)
    runs = sweep(kernel, vary=laid(points) | {"bits": ("seed", bits(key, 4))})
    return shaped(runs[["output", "delta1", "delta2"]], "run", axes)


@sim.experiment
def adam_rates(cfg, key, sweep) -> xr.Dataset:
    """Losses of Adam at single rates for every readout, one example, to n = 2^30."""
    rates = octaves(-34, 2, 2)
    axes = {"readout": list(READOUTS), "init": INITS, "width": 2.0 ** np.array(cfg.powers)}
    points = [one_example(n, init, 0, 0, readout) for readout, init, n in itertools.product(*axes.values())]
    vary = laid(points) | {name: ("rate", rates) for name in ("lr_a", "lr_b")}
    kernel = functools.partial(kernels.one_example_adam, steps=20)
    runs = sweep(kernel, vary=vary | {"bits": ("seed", bits(key, 2 * cfg.problems))})
    return shaped(runs[["loss"]], "run", axes).assign_coords(rate=rates)


# Sharpness at the start, in a descent that converges below 4; widths and targets of the scalar problem.
CATAPULT = (1.5, 2.5, 3.5, 3.9, 4.1)
SCALARS = ((2.0**12, 1.0), (2.0**12, 0.1), (2.0**16, 1.0), (2.0**20, 1.0), (2.0**30, 1.0))


@sim.experiment
def scalar(cfg, key, sweep) -> xr.Dataset:
    """One example, output and rank near both limits of the rate: do they converge?"""
    parts = np.round(np.arange(0.95, 1.0501, 0.005), 3)
    rows, one = [], np.ones((1, 1))
    for n, y in SCALARS:
        for init in INITS:
            p0, q0 = float(init == "a"), float(init == "b")
            limits = lora_init.largest_rate(n * one, one, y * one, p0 * one, q0 * one)
            rows += [(part * float(limits.rate), n, y, p0, q0) for part in parts]
    rows += [(sharp / 2.0**16, 2.0**16, 1.0, 0.0, 1.0) for sharp in CATAPULT]
    names = ("lr", "width", "target", "p0", "q0")
    vary = {name: ("run", column) for name, column in zip(names, np.array(rows).T, strict=True)}
    kernel = functools.partial(kernels.scalar_descent, steps=4000, shown=60)
    runs = sweep(kernel, vary=vary, dims={"loss": ("step",)})
    curves = runs.loss.isel(run=slice(-len(CATAPULT), None)).values
    coords = {"setting": range(len(SCALARS)), "init": INITS, "part": parts}
    ends = shaped(runs[["last"]].isel(run=slice(0, -len(CATAPULT))), "run", coords)["last"]
    n, y = np.array(SCALARS).T
    # Converged: a residual of a thousandth of the target.
    found = {
        "converged": ends <= 1e-6 * (y**2 / 2)[:, None, None],
        "curve": (("sharpness", "step"), curves),
        "width": ("setting", n),
        "target": ("setting", y),
    }
    return xr.Dataset(found, {"sharpness": list(CATAPULT)})


# Examples, outputs and rank of a problem whose rank is large enough for every target.
FULL = (6, 4, 6)


@sim.experiment
def constants(cfg, key, sweep) -> xr.Dataset:
    """Several examples and outputs, full rank: the largest convergent rate against its limits."""
    parts, widths = np.round(np.arange(0.7, 1.0801, 0.02), 3), 2.0 ** np.array([8, 16, 30])
    found = [_full_rank(jax.random.split(key, cfg.problems), init) for init in INITS]
    rate = np.stack([limits(one, init, widths) for one, init in zip(found, INITS, strict=True)])
    lr = (rate[..., None] * parts).reshape(-1)
    vary = laid_out([one for one in found for _ in widths], widths, cfg.problems)
    vary = {name: ("run", np.repeat(values, len(parts), 0)) for name, (_, values) in vary.items()}
    vary |= {"lr_a": ("run", lr), "lr_b": ("run", lr)}
    kernel = functools.partial(kernels.descent, steps=1000, record_every=1000)
    runs = sweep(kernel, vary=vary, dims={"loss": ("t",)})
    coords = {"init": INITS, "width": widths, "problem": range(cfg.problems), "part": parts}
    loss = shaped(runs[["loss"]], "run", coords).loss
    converged = loss.isel(t=-1) <= 1e-6 * loss.isel(t=0)
    return xr.Dataset({"converged": converged, "limit": (loss.dims[:3], rate)})


def _full_rank(keys, init) -> Problem:
    """Starts of rank 6 on six examples and four outputs, in the units of `problems`."""
    N, k, r = FULL

    def draw(key):
        start, at = jax.random.split(key)
        P0, Q0 = lora_init.sample_start(start, jnp.eye(N), jnp.eye(k), rank=r, init=init, var_a=1.0)
        return Problem(P0, Q0, jax.random.normal(at, (k, N)))

    return jax.tree.map(np.asarray, jax.vmap(draw)(keys))


def problems(key, width, start, count) -> Problem:
    """So many problems; the same targets, and the same draws in units of their deviation, for all starts."""
    drawn = jax.vmap(lambda one: draw_problem(one, width, start))(jax.random.split(key, count))
    return jax.tree.map(np.asarray, drawn)


def laid_out(found: list[Problem], widths, repeat: int) -> dict[str, tuple[str, np.ndarray]]:
    """Problems of several settings one after the other, widths in turn, as what `sweep` varies."""
    each = {name: np.concatenate([getattr(p, name) for p in found]) for name in Problem._fields}
    each["width"] = np.resize(np.repeat(widths, repeat), len(each["Y"]))
    return {name: ("run", values) for name, values in each.items()}


@jax.jit
@jax.vmap
def _at_unit_width(P0, Q0, Y):
    return lora_init.largest_rate(jnp.eye(P0.shape[1]), jnp.eye(len(Q0)), Y, P0, Q0)


def limits(found: Problem, init: str, widths) -> np.ndarray:
    """The largest convergent rate by theory, (width, problem)."""
    one = _at_unit_width(*found)
    # From K_in = I to n I: P0 keeps its size, so that only Q0 makes the start sharper.
    start = np.asarray(one.start) / (widths[:, None] if init == "b" else 1)
    return np.minimum(start, np.asarray(one.end) / np.sqrt(widths)[:, None])


@sim.experiment
def one_rate(cfg, key, sweep) -> xr.Dataset:
    """Gradient descent at single rates to n = 2^30: every start, and a large A that is to equal Init[B]."""
    widths, rates = 2.0 ** np.array(cfg.powers), octaves(-34, 2, cfg.rates_per_octave)
    found = {start: [problems(key, n, start, cfg.problems) for n in widths] for start in STARTS}
    turned = [jax.tree.map(lambda x: x.transpose(0, 2, 1), b) for b in found["b"]]
    found["b as a"] = [Problem(np.sqrt(n) * b.Q0, 0 * b.P0, b.Y) for n, b in zip(widths, turned, strict=True)]
    vary = laid_out([one for many in found.values() for one in many], widths, cfg.problems)
    vary |= {name: ("rate", rates) for name in ("lr_a", "lr_b")}
    kernel = functools.partial(kernels.descent, steps=cfg.steps)
    runs = sweep(kernel, vary=vary, dims={"loss": ("step",)})
    coords = {"start": list(found), "width": widths, "problem": range(cfg.problems)}
    runs = shaped(runs[["loss"]], "run", coords)
    b = found["b"][0]
    floors = jax.vmap(functools.partial(lora_init.frozen_floor, init="b"))(b.Y, b.P0, b.Q0)
    limit = np.stack([limits(found[init][0], init, widths) for init in INITS])
    return runs.assign_coords(rate=rates).assign(
        floor=("problem", np.asarray(floors)), limit=(("init", "width", "problem"), limit)
    )


@sim.experiment
def two_rates(cfg, key, sweep) -> xr.Dataset:
    """Gradient descent at two rates, lr_a n and lr_b, for both starts."""
    widths, half_octaves = 2.0 ** np.array([7, 20]), 2
    found = [problems(key, n, init, cfg.problems) for init in INITS for n in widths]
    kernel = functools.partial(kernels.descent_of_two, steps=cfg.steps)
    vary = laid_out(found, widths, cfg.problems)
    vary |= {"lr_a_n": octaves(-1, 7, half_octaves), "lr_b": octaves(-8, 1, half_octaves)}
    runs = sweep(kernel, vary=vary, dims={"loss": ("t",)})
    return shaped(runs, "run", {"init": INITS, "width": widths, "problem": range(cfg.problems)})


# Parts of the first loss that are waited for.
PARTS = (0.7, 0.5, 0.3, 0.2, 0.1)


@sim.experiment
def times(cfg, key, sweep) -> xr.Dataset:
    """Steps to a tenth of the loss at half of the largest rate, and what the slow law says of them."""
    widths = np.array(cfg.time_widths, float)
    found = {init: [problems(key, n, init, cfg.problems) for n in widths] for init in INITS}
    lr = np.stack([0.5 * limits(found[init][0], init, widths) for init in INITS])
    b = found["b"][0]
    law = [
        [steps_above_floor(Q, Y, rate, part=PARTS[-1]) for Q, Y, rate in zip(b.Q0, b.Y, row, strict=True)]
        for row in lr[1]
    ]
    vary = laid_out([*found["a"], *found["b"]], widths, cfg.problems) | {"lr": ("run", lr.ravel())}
    kernel = functools.partial(kernels.steps_to, parts=PARTS, steps=int(1.5 * np.max(law)) + 50)
    runs = sweep(kernel, vary=vary, dims={"reached": ("part",)})
    axes, dims = {"init": INITS, "width": widths, "problem": range(cfg.problems)}, ("width", "problem")
    return (
        shaped(runs[["reached"]], "run", axes)
        .assign(law=(dims, np.array(law)), lr_b=(dims, lr[1]))
        .assign(Q0=(("problem", "k", "r"), b.Q0), Y=(("problem", "k", "N"), b.Y))
        .assign_coords(part=list(PARTS))
    )


@sim.experiment
def floors(cfg, key, sweep) -> xr.Dataset:
    """Floors of random starts with A = 0."""
    kernel = functools.partial(kernels.floor, outputs=OUTPUTS, rank=RANK)
    return sweep(kernel, replicas=cfg.floor_draws, key=key)


class Student(NamedTuple):
    """Outputs and rank of a student, and whether its teacher's outputs lie in the range of Q0."""

    outputs: int
    rank: int
    inside: float


STUDENTS = {"k > r": Student(8, 2, 0), "Y in range(Q0)": Student(8, 2, 1), "r > k": Student(2, 4, 0)}


def wishart_factors(key, widths, count) -> np.ndarray:
    """Factors F of W'W = latent n F F' for Gaussian W of these many rows (Bartlett), (width, count, ..)."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    d = kernels.LATENT
    below = np.tril(rng.normal(size=(len(widths), count, d, d)), -1)
    diagonal = np.sqrt(
        rng.chisquare(np.asarray(widths)[:, None, None] - np.arange(d), (len(widths), count, d))
    )
    return (below + diagonal[..., None] * np.eye(d)) / np.sqrt(d * np.asarray(widths))[:, None, None, None]


@sim.experiment
def students(cfg, key, sweep) -> xr.Dataset:
    """Students of a teacher by gradient descent, single rates, n = 128 to 4096."""
    rates, count = octaves(-12, -1, 1), cfg.student_problems
    widths, pairs = 2.0 ** np.array([7, 8, 10, 12]), bits(key, count)
    found: list[xr.Dataset] = []
    factors = wishart_factors(key, widths, count)
    for outputs, rank in dict.fromkeys(student[:2] for student in STUDENTS.values()):
        tasks = [name for name, student in STUDENTS.items() if student[:2] == (outputs, rank)]
        axes = {"task": tasks, "init": INITS, "width": widths, "problem": range(count)}
        points = [
            {
                "bits": pairs[i],
                "width": n,
                "factor": factors[int(np.flatnonzero(widths == n)[0]), i],
                "use_a": float(init == "a"),
                "use_b": float(init == "b"),
                "inside": STUDENTS[task].inside,
            }
            for task, init, n, i in itertools.product(*axes.values())
        ]
        kernel = functools.partial(
            kernels.student_descent, rates=tuple(rates), outputs=outputs, rank=rank, steps=cfg.student_steps
        )
        runs = sweep(kernel, vary=laid(points), dims={"loss": ("lr",)}, batch=8)
        found.append(shaped(runs[["loss"]], "run", axes).assign_coords(lr=rates))
    return xr.concat(found, "task")


@sim.experiment
def students_adam(cfg, key, sweep) -> xr.Dataset:
    """Students of the same teachers by Adam, weights and all."""
    rates = octaves(-14, 0, 1)
    found: list[xr.Dataset] = []
    axes = {"init": INITS, "problem": range(cfg.student_problems)}
    pairs, student = bits(key, cfg.student_problems), STUDENTS["k > r"]
    points = [
        {"bits": pairs[i], "use_a": float(init == "a"), "use_b": float(init == "b")}
        for init, i in itertools.product(*axes.values())
    ]
    for n in cfg.student_widths:
        kernel = functools.partial(
            kernels.student_adam,
            rates=tuple(rates),
            width=n,
            outputs=student.outputs,
            rank=student.rank,
            steps=cfg.student_steps,
        )
        runs = sweep(kernel, vary=laid(points), dims={"loss": ("lr",), "peak": ("lr",)}, batch=8)
        found.append(shaped(runs, "run", axes).assign_coords(lr=rates))
    return xr.concat(found, "width").assign_coords(width=list(cfg.student_widths))


TOY_EXAMPLES = 128


@sim.experiment
def networks(cfg, key, sweep) -> xr.Dataset:
    """Networks with one adapted layer by Adam at single rates, both starts, both readouts."""
    rates, every = octaves(-11, -1, 2), cfg.toy_times[0] // 10
    dims: dict[str, tuple[str, ...]] = {"deltas": ("lr", "t", "part")}
    dims |= {name: ("lr", "t") for name in ("loss", "test_loss", "feature_rms", "b_update")}
    axes = {"width": cfg.toy_widths, "readout": TOY_READOUTS, "init": INITS}
    found: list[xr.Dataset] = []
    for n, readout, init in itertools.product(*axes.values()):
        kernel = functools.partial(
            kernels.toy_networks,
            rates=tuple(rates),
            width=n,
            init=init,
            readout=readout,
            steps=max(cfg.toy_times),
            record_every=every,
            examples=TOY_EXAMPLES,
        )
        found.append(sweep(kernel, vary={"bits": ("seed", bits(key, cfg.toy_seeds))}, dims=dims, batch=1))
    runs = shaped(xr.concat(found, "run"), "run", axes)
    return runs.assign_coords(lr=rates, t=np.arange(runs.sizes["t"]) * every)


register(sim, [*CLAIMS, *DERIVED], FIGURES)
