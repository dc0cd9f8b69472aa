"""Diagonalizing the forward feature map: which features a network uses, and whether they are the right ones.

Multilayer perceptrons and convolutional networks learn digits, rich or lazy, with right, noisy and random
labels, and with inputs that give the label away; every measure of their features is recorded while they
train. Learners whose features the theory predicts exactly stand beside: linear networks, unconstrained
features under weight decay, random features, a readout alone, spiked features. The claims are judged.
"""

import functools
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim import feature_map as fm
from theorysim.lab import Paper, Sim
from theorysim.numerics.gaussian import two_point

from . import _feature_map_kernels as kernels
from . import _feature_map_solvable_kernels as solvable
from ._beside import register
from ._feature_map_claims import CLAIMS
from ._feature_map_config import (
    COUNTS,
    DECAYS,
    IMAGE_SETTINGS,
    LEVELS,
    RATIO,
    SETTINGS,
    Config,
    regression,
    split,
)
from ._feature_map_figures import FIGURES
from ._feature_map_laws import threshold, unconstrained_law

sim = Sim(
    slug="feature_map",
    question="How many features does a network use, and are they the right ones?",
    paper=Paper(
        title="Visualising Feature Learning in Deep Neural Networks by Diagonalizing the Forward Feature Map",
        authors=("Y. Nam", "C. Mingard", "S. H. Lee", "S. Hayou", "A. A. Louis"),
        arxiv="2410.04264",
        year=2024,
    ),
    presets={
        "quick": Config(),
        "paper": Config(
            dataset="mnist",
            width=512,
            networks=10,
            epochs=60,
            grid_records=1400,
            grid_epochs=200,
            grid_scales=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
            grid_rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
            grid_widths=(32, 128, 512),
            architectures=("mlp 1", "mlp 3", "mlp 4", "cnn"),
            image_records=8000,
            image_epochs=30,
            regression_epochs=300,
            decay_steps=20_000,
            draws=4000,
        ),
        "tiny": Config(
            width=16,
            networks=2,
            epochs=2,
            grid_records=100,
            grid_epochs=2,
            grid_scales=(1.0, 100.0),
            grid_rates=(0.1,),
            grid_widths=(16,),
            architectures=("cnn",),
            image_records=200,
            image_epochs=1,
            regression_epochs=1,
            decay_steps=20,
            draws=20,
        ),
    },
)

SPECTRA = ("eigenvalues", "each_quality", "each_utility")
CLASSIFIER = dict.fromkeys(kernels.CURVES + kernels.ACCURACIES, ("epoch",)) | dict.fromkeys(
    SPECTRA, ("epoch", "feature")
)


ALL = kernels.Measures(operator=True, errors=True, functions=3)
ERRORS = kernels.Measures(errors=True)


def along_epochs(run, epochs: int, every: int = 1) -> xr.Dataset:
    """Name the axes of what the kernels record, the first entry before any step."""
    return run.assign_coords(epoch=np.arange(0, epochs + 1, every))


def trained(sweep, settings, cfg, key, *, data, build, epochs, every=1, measures=kernels.PLAIN) -> xr.Dataset:
    """Classifiers of every setting, `cfg.networks` of each."""
    names = ["learning_rate", "output_scale", "label_noise"]
    shortcut = any(s.shortcut for s in settings)
    names += ["shortcut"] * shortcut
    vary = {name: ("setting", np.array([getattr(s, name) for s in settings])) for name in names}
    one = functools.partial(
        kernels.classifier,
        **({} if shortcut else {"shortcut": None}),
        data=data,
        build=build,
        epochs=epochs,
        batch=cfg.batch,
        every=every,
        measures=measures,
    )
    dims = CLASSIFIER
    if measures.operator:
        dims = dims | dict.fromkeys(kernels.OPERATOR, ("epoch",))
    if measures.functions:
        dims = dims | {"functions": ("example", "eigenfunction")}
    runs = sweep(one, vary=vary, replicas=cfg.networks, key=key, dims=dims)
    runs = runs.drop_vars(names, errors="ignore").assign_coords(setting=[s.name for s in settings])
    return along_epochs(runs, epochs, every)


@sim.experiment
def regimes(cfg, key, sweep) -> xr.Dataset:
    """Networks trained rich and lazy, with right, noisy and random labels, and with a shortcut."""
    data, build = split(cfg.dataset), kernels.network("mlp 2", cfg.width)
    return trained(sweep, SETTINGS, cfg, key, data=data, build=build, epochs=cfg.epochs, measures=ALL)


@sim.experiment
def architectures(cfg, key, sweep) -> xr.Dataset:
    """Other depths, and convolutions, rich and lazy, for half of the epochs."""
    epochs = max(cfg.epochs // 2, 1)
    settings = [s for s in SETTINGS if s.name in ("rich", "richer", "lazy")]
    found = []
    for i, name in enumerate(cfg.architectures):
        build, fold = kernels.network(name, cfg.width), jax.random.fold_in(key, i)
        found.append(
            trained(
                sweep,
                settings,
                cfg,
                fold,
                data=split(cfg.dataset),
                build=build,
                epochs=epochs,
                every=epochs,
            )
        )
    return xr.concat(found, "network").assign_coords(network=list(cfg.architectures))


@sim.experiment
def images(cfg, key, sweep) -> xr.Dataset:
    """Larger images: MNIST, rich, lazy and with noisy labels."""
    data, build = split("mnist", cfg.image_records), kernels.network("mlp 2", cfg.width)
    return trained(
        sweep, IMAGE_SETTINGS, cfg, key, data=data, build=build, epochs=cfg.image_epochs, measures=ERRORS
    )


@sim.experiment
def grid(cfg, key, sweep) -> xr.Dataset:
    """Few examples, over output scales, learning rates and widths: which networks generalise?"""
    data = split("digits", cfg.grid_records)
    scales = np.array(cfg.grid_scales)
    rates = np.array(cfg.grid_rates)[:, None] * np.minimum(1 / scales, 1 / scales**2)
    points = list(product(range(len(rates)), range(len(scales))))
    vary = {
        "learning_rate": ("cell", np.array([rates[i, j] for i, j in points])),
        "output_scale": ("cell", np.array([scales[j] for _, j in points])),
    }
    found = []
    for i, width in enumerate(cfg.grid_widths):
        one = functools.partial(
            kernels.classifier,
            label_noise=jnp.array(0.0),
            shortcut=None,
            data=data,
            build=kernels.network("mlp 2", width),
            epochs=cfg.grid_epochs,
            batch=cfg.batch,
            every=cfg.grid_epochs,
        )
        fold = jax.random.fold_in(key, i)
        found.append(sweep(one, vary=vary, replicas=cfg.networks, key=fold, dims=CLASSIFIER).isel(epoch=-1))
    runs = xr.concat(found, "width").drop_vars(list(vary), errors="ignore")
    runs = runs.assign_coords(
        width=list(cfg.grid_widths),
        cell=np.arange(len(points)),
        rate=("cell", [cfg.grid_rates[i] for i, _ in points]),
        scale=("cell", [cfg.grid_scales[j] for _, j in points]),
    )
    return runs.set_index(cell=["rate", "scale"]).unstack("cell").drop_vars(SPECTRA)


@sim.experiment
def regressions(cfg, key, sweep) -> xr.Dataset:
    """Three smooth targets of the digits by squared loss, with and without weight decay, and lazy."""
    names = ("learning_rate", "output_scale", "weight_decay")
    vary = {name: ("setting", np.array([getattr(s, name) for s in DECAYS])) for name in names}
    one = functools.partial(
        kernels.regressor,
        data=regression(),
        build=kernels.network("mlp 2", cfg.width),
        epochs=cfg.regression_epochs,
        batch=cfg.batch,
    )
    curves = (*kernels.CURVES, "train_r2", "test_r2")
    dims = dict.fromkeys(curves, ("epoch",)) | {"eigenvalues": ("epoch", "feature")}
    runs = sweep(one, vary=vary, replicas=cfg.networks, key=key, dims=dims)
    runs = runs.drop_vars(names, errors="ignore").assign_coords(setting=[s.name for s in DECAYS])
    return along_epochs(runs, cfg.regression_epochs)


LINEAR = {"strengths": (2.0, 1.0, 0.5), "inputs": 12, "num_steps": 3000, "record_every": 100, "rate": 0.004}
LINEAR_WIDTH = 128


@sim.experiment
def linear_networks(cfg, key, sweep) -> xr.Dataset:
    """Deep linear networks from rich to lazy, beside the exact law of their modes."""
    scales = np.geomspace(0.01, 100, 9)
    one = functools.partial(solvable.linear_network, width=LINEAR_WIDTH, **LINEAR)
    dims = {"strength": ("time", "mode"), "along": ("time", "mode"), "participation": ("time",)}
    vary = {"scale": scales, "orthogonal": np.array([False, True])}
    runs = sweep(one, vary=vary, replicas=4 * cfg.networks, key=key, dims=dims)
    times = LINEAR["rate"] * np.arange(0, LINEAR["num_steps"] + 1, LINEAR["record_every"])
    sig = np.array(LINEAR["strengths"])
    law = fm.deep_linear_mode(times[None, :, None], sig[None, None], scales[:, None, None])
    spectra = [fm.deep_linear_spectrum(jnp.inf, sig, scale, inputs=LINEAR["inputs"]) for scale in scales]
    at = ("scale", "time", "mode")
    return runs.assign(
        strength_law=(at, np.asarray(law.strength)),
        along_law=(at, np.asarray(law.eigenvalue)),
        participation_law=("scale", [float(fm.effective_numbers(s).participation) for s in spectra]),
    ).assign_coords(time=times, mode=sig)


@sim.experiment
def weight_decay(cfg, key, sweep) -> xr.Dataset:
    """Networks with weight decay on their features, beside unconstrained features, for both losses."""
    data = split("digits")
    found: list[xr.Dataset] = []
    for i, (loss, names) in enumerate((("squared", tuple(COUNTS)), ("entropy", ("balanced",)))):
        counts = [COUNTS[name] for name in names]
        rows = [
            np.concatenate([np.flatnonzero(data.y == c)[:k] for c, k in enumerate(some)]) for some in counts
        ]
        classes = [np.repeat(np.arange(len(some)), some) for some in counts]
        decays = np.outer([threshold(some) for some in counts], LEVELS)
        points = list(product(range(len(names)), range(len(LEVELS))))
        vary = {
            "x": ("point", np.stack([data.x[rows[j]] for j, _ in points]).astype(float)),
            "labels": ("point", np.stack([classes[j] for j, _ in points])),
            "decay": ("point", np.array([decays[j, k] for j, k in points])),
        }
        one = functools.partial(
            solvable.decayed_features,
            classes=len(counts[0]),
            squared=loss == "squared",
            ratio=RATIO,
            width=64,
            features=8,
            num_steps=cfg.decay_steps,
        )
        fold = jax.random.fold_in(key, i)
        dims = {"eigenvalues": ("feature",), "x": ("example", "pixel"), "labels": ("example",)}
        runs = sweep(one, vary=vary, replicas=cfg.networks, key=fold, dims=dims)
        runs = runs.drop_vars(list(vary), errors="ignore").assign_coords(
            problem=("point", [f"{loss}, {names[j]}" for j, _ in points]),
            level=("point", [LEVELS[k] for _, k in points]),
        )
        laws = [unconstrained_law(counts[j], loss, decays[j, k]) for j, k in points]
        runs = runs.assign(
            eigenvalues_law=(("point", "feature"), np.stack([spectrum for spectrum, _ in laws])),
            objective_law=("point", np.array([minimum for _, minimum in laws])),
        )
        found.append(runs.set_index(point=["problem", "level"]).unstack("point"))
    return xr.concat(found, "problem")


@sim.experiment
def random_features(cfg, key, sweep) -> xr.Dataset:
    """Random ReLU layers on the corners of a hypercube, against the infinitely wide one."""
    dim, widths = 6, (8, 32, 128, 512)
    corners = np.array(list(product([-1.0, 1.0], repeat=dim))) / dim**0.5
    found = []
    for i, width in enumerate(widths):
        one = functools.partial(solvable.random_relu, corners=corners, width=width)
        fold = jax.random.fold_in(key, i)
        found.append(sweep(one, replicas=4 * cfg.draws, key=fold, dims={"eigenvalues": ("feature",)}))
    parities = fm.relu_hypercube_eigenvalues(dim=dim)
    sizes = [round(float(x)) for x in np.poly1d([1, 1]) ** dim]
    infinite = np.sort(np.repeat(np.asarray(parities), sizes))[::-1]
    law = fm.relu_trace_of_square((infinite**2).sum(), width=jnp.array(widths), dim=dim)
    return (
        xr.concat(found, "width")
        .assign(eigenvalues_law=("feature", infinite), trace_law=("width", np.asarray(law)))
        .assign_coords(width=list(widths))
    )


@sim.experiment
def spectra_at_start(cfg, key, sweep) -> xr.Dataset:
    """Feature spectra of untrained networks on digits, against infinite width."""
    x = split("digits").x[:200].astype(float)
    x = x / np.linalg.norm(x, axis=1, keepdims=True) * x.shape[1] ** 0.5
    widths, found = (64, 256, 1024), []
    for i, width in enumerate(widths):
        one = functools.partial(solvable.spectrum_at_start, x=x, hidden=(width, width))
        fold = jax.random.fold_in(key, i)
        found.append(sweep(one, replicas=8 * cfg.networks, key=fold, dims={"eigenvalues": ("feature",)}))
    t = jnp.asarray((x @ x.T / x.shape[1]).clip(-1, 1))
    for _ in range(2):
        t = 2 * two_point("relu", jnp.ones_like(t), jnp.ones_like(t), jnp.clip(t, -1, 1)).F
    gram = t - t.mean(0, keepdims=True)
    gram = gram - gram.mean(1, keepdims=True)
    limit = np.linalg.eigvalsh(np.asarray(gram))[::-1][:20] / len(x)
    return (
        xr.concat(found, "width").assign(eigenvalues_law=("feature", limit)).assign_coords(width=list(widths))
    )


@sim.experiment
def readouts(cfg, key, sweep) -> xr.Dataset:
    """A readout that descends on given features and noisy targets, against its exact risk."""
    rng = np.random.default_rng(2)
    features, test = (rng.normal(size=(n, 40)) * np.geomspace(1, 0.05, 40) for n in (60, 400))
    weights = rng.normal(size=40)
    rate = 1 / float(np.linalg.eigvalsh(features.T @ features / 60)[-1])
    noises, steps, every = np.array([0.0, 0.1, 1.0]), 2000, 20
    one = functools.partial(
        solvable.readout_descent,
        features=features,
        test_features=test,
        weights=weights,
        rate=rate,
        num_steps=steps,
        record_every=every,
    )
    dims = {"train": ("step",), "test": ("step",)}
    runs = sweep(one, vary={"noise": noises}, replicas=cfg.draws, key=key, dims=dims)
    times = np.arange(0, steps + 1, every)
    law = [
        fm.readout_risk(features, test, weights, steps=jnp.asarray(times), lr=rate, noise=noise)
        for noise in noises
    ]
    return runs.assign(
        train_law=(("noise", "step"), np.stack([np.asarray(risk.train) for risk in law])),
        test_law=(("noise", "step"), np.stack([np.asarray(risk.test) for risk in law])),
    ).assign_coords(step=times)


@sim.experiment
def spikes(cfg, key, sweep) -> xr.Dataset:
    """Features with one direction that knows the label, more or less than there are examples."""
    p, counts, found = 80, (40, 80, 160, 320, 640), []
    spike = np.array([0.5, 2.0, 8.0])
    for i, n in enumerate(counts):
        one = functools.partial(solvable.spiked, n=n, p=p)
        found.append(sweep(one, vary={"spike": spike}, replicas=cfg.draws, key=jax.random.fold_in(key, i)))
    law = fm.spiked_feature((p / np.array(counts))[:, None], spike[None])
    predicted = {f"{k}_law": (("count", "spike"), np.asarray(v)) for k, v in law._asdict().items()}
    return (
        xr.concat(found, "count")
        .assign(predicted)
        .assign_coords(count=list(counts), aspect=("count", p / np.array(counts)))
    )


register(sim, CLAIMS, FIGURES)
