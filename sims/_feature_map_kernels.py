"""Networks whose feature map is measured while they train, at one point of a grid.

Labels are classes, or targets of a regression; the outputs are a readout of the features, scaled by the
output scale, and start at 0. Rich training has a small scale, lazy training a large one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from theorysim import feature_map as fm
from theorysim.networks.cnn import CNN, cnn_fan_in_stds
from theorysim.networks.mlp import MLP, fan_in_stds
from theorysim.networks.train import functional, train, uniform_batches

# Eigenfunctions whose eigenvalue, quality and utility are kept.
TOP = 20
MOMENTUM = 0.9
# What is recorded along a run, one number at a time.
CURVES = ("utility", "quality", "dominance", "participation", "used", "alignment")
ACCURACIES = ("loss", "train_accuracy", "test_accuracy")
OPERATOR = ("nc1", "nc2", "nc3", "nc4", "distance", "distance_low", "distance_high", "quality_bound")


def mlp(*hidden: int) -> Callable[..., nnx.Module]:
    """Layers of ReLU units at the variance that keeps their second moment, biases and readout at 0."""

    def build(key, scale, shape, outputs):
        widths = (*shape, *hidden, outputs)
        stds = (*fan_in_stds(widths, gain=2**0.5)[:-1], 0.0)
        scales = {"weight_std": stds, "bias_std": (0.0,) * len(stds)}
        multipliers = (*(1.0,) * len(hidden), scale)
        return MLP(widths, activation=jax.nn.relu, multipliers=multipliers, rngs=nnx.Rngs(key), **scales)

    return build


class _RowCNN(nnx.Module):
    """A convolutional network on images that are rows of pixels."""

    def __init__(self, shape, *sizes, **options):
        self.shape, self.network = shape, CNN(shape, *sizes, **options)

    def __call__(self, x):
        return self.network(x.reshape(-1, *self.shape))

    def features(self, x):
        return self.network.features(x.reshape(-1, *self.shape))

    def readout(self):
        return self.network.readout()


def cnn(*channels: int) -> Callable[..., nnx.Module]:
    """The same of convolutions, on square images."""

    def build(key, scale, shape, outputs):
        side = round(shape[0] ** 0.5)
        sizes = (side, side, 1), channels, outputs
        stds = (*cnn_fan_in_stds(*sizes, gain=2**0.5)[:-1], 0.0)
        scales = {"weight_std": stds, "bias_std": (0.0,) * len(stds), "output_scale": scale}
        return _RowCNN(*sizes, activation=jax.nn.relu, rngs=nnx.Rngs(key), **scales)

    return build


def network(name: str, width: int) -> Callable[..., nnx.Module]:
    """The network of a name: "cnn", or "mlp 3" for three hidden layers of so many units."""
    return cnn(16, 32) if name == "cnn" else mlp(*(width,) * int(name.removeprefix("mlp ")))


class Measures(NamedTuple):
    """What is measured beside the numbers of the features themselves (static).

    The collapse and the kernel operator, along the run; standard errors, and quality on unseen data, at its
    end; and so many eigenfunctions on the inputs that train.
    """

    operator: bool = False
    errors: bool = False
    functions: int = 0


PLAIN = Measures()


def classifier(
    learning_rate,
    output_scale,
    label_noise,
    shortcut,
    key,
    *,
    data,
    build,
    epochs,
    batch,
    every=1,
    measures=PLAIN,
):
    """Train a classifier by momentum, and measure its features every so many epochs.

    A share `label_noise` of the labels that train is drawn anew from all classes. `shortcut` is the size of
    one more input for each class, which is on for the label in training, and for a random class in the test;
    None for no such inputs.
    """
    classes = int(data.y.max()) + 1
    model_key, noise_key, label_key, test_key, batch_key = jax.random.split(key, 5)
    x, test_x, test_y = jnp.asarray(data.x), jnp.asarray(data.test_x), jnp.asarray(data.test_y)
    random = jax.random.randint(label_key, data.y.shape, 0, classes)
    y = jnp.where(jax.random.uniform(noise_key, data.y.shape) < label_noise, random, jnp.asarray(data.y))
    if shortcut is not None:
        elsewhere = jax.random.randint(test_key, data.test_y.shape, 0, classes)
        x, test_x = (
            _with_shortcut(x, y, shortcut, classes),
            _with_shortcut(test_x, elsewhere, shortcut, classes),
        )
    learning_rate, output_scale = (jnp.asarray(v, x.dtype) for v in (learning_rate, output_scale))
    start = functional(build(model_key, output_scale, x.shape[1:], classes))

    def loss(params, batch):
        logits = start.apply(params, batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    def metrics(params):
        model = start.module(params)
        found = _measured(model, x, y, classes)
        test = (model(test_x).argmax(1) == test_y).mean(dtype=x.dtype)
        return (
            found | {"test_accuracy": test} | (_operator(model, x, y, classes) if measures.operator else {})
        )

    optimizer = optax.sgd(learning_rate, momentum=MOMENTUM)
    passes = {"epochs": epochs, "batch": batch, "every": every}
    run = _run(loss, start, optimizer, (x, y), batch_key, metrics, **passes)
    model = start.module(run.params)
    last = _errors(model, x, y, test_x, test_y, classes) if measures.errors else {}
    if measures.functions:
        last["functions"] = _functions(model, x, y, classes, measures.functions)
    return run.metrics | last


def _run(loss, start, optimizer, data, key, metrics, *, epochs, batch, every):
    """Train on minibatches for so many passes over the data, and record every so many of them."""
    steps = len(data[1]) // batch
    return train(
        loss,
        start.params,
        optimizer,
        num_steps=epochs * steps,
        batches=uniform_batches(data, batch),
        key=key,
        metrics=metrics,
        record_every=every * steps,
    )


def _with_shortcut(x, on, size, classes):
    return jnp.concatenate([x, size.astype(x.dtype) * jax.nn.one_hot(on, classes, dtype=x.dtype)], axis=1)


def _measured(model, x, y, classes):
    outputs = model(x)
    numbers = fm.feature_metrics(model.features(x), y, readout=model.readout(), classes=classes)
    assert numbers.utility is not None
    return _shared(numbers, outputs, classes - 1) | {
        "loss": optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean(),
        "train_accuracy": (outputs.argmax(1) == y).mean(dtype=outputs.dtype),
        "each_quality": numbers.quality[:TOP],
        "each_utility": numbers.utility[:TOP],
    }


def _shared(numbers, outputs, top):
    """What is recorded of classes and of regressions, with K* = top."""
    assert numbers.cumulative_utility is not None
    # Outputs that are 0 for every input, as before the first step, use no feature.
    nothing = (outputs == outputs[:1]).all()
    return {
        "utility": jnp.where(nothing, 0, numbers.cumulative_utility[top - 1]),
        "quality": numbers.cumulative_quality[top - 1],
        "dominance": numbers.dominance,
        "participation": numbers.effective_participation,
        "used": numbers.used_features,
        "alignment": numbers.target_alignment,
        "eigenvalues": numbers.eigenvalues[:TOP],
    }


def _operator(model, x, y, classes):
    features, readout = model.features(x), model.readout()
    collapse = fm.neural_collapse(features, y, readout, outputs=model(x), classes=classes)
    moments = fm.moments(features, y, classes=classes)
    distance, square = fm.kernel_distance(moments), (moments.second_moment**2).sum()
    return {
        "nc1": collapse.nc1,
        "nc2": collapse.nc2,
        "nc3": jnp.where((readout == 0).all(), 1, collapse.nc3),  # its direction is undefined
        "nc4": collapse.nc4,
        "distance": distance.distance_squared / square,
        "distance_low": distance.lower / square,
        "distance_high": distance.upper / square,
        "quality_bound": jnp.minimum(distance.bound, 1),  # beyond 1 it says nothing
    }


def _errors(model, x, y, test_x, test_y, classes):
    features, readout = model.features(x), model.readout()
    errors = fm.standard_errors(features, y, readout, classes=classes, participation=False)
    seen, unseen = (
        fm.moments(some, labels, classes=classes)
        for some, labels in ((features, y), (model.features(test_x), test_y))
    )
    held_out = fm.held_out(seen, unseen, readout)
    return {
        "utility_error": errors.utility,
        "quality_error": errors.quality,
        "held_out_utility": held_out.cumulative_utility,
        "held_out_quality": held_out.cumulative_quality,
    }


def _functions(model, x, y, classes, count):
    features = model.features(x)
    basis = fm.eigenfunctions(fm.moments(features, y, classes=classes))
    centred = features - features.mean(0, keepdims=True)
    return (centred @ basis.vectors[:, :count]) / jnp.sqrt(basis.values[:count])[None]


def regressor(learning_rate, output_scale, weight_decay, key, *, data, build, epochs, batch, every=1):
    """The same for targets of a regression, by squared loss and with weight decay on every parameter."""
    model_key, batch_key = jax.random.split(key)
    x, y, test_x, test_y = map(jnp.asarray, data[:4])
    learning_rate, output_scale = (jnp.asarray(v, x.dtype) for v in (learning_rate, output_scale))
    start = functional(build(model_key, output_scale, x.shape[1:], y.shape[1]))

    def loss(params, batch):
        return ((start.apply(params, batch[0]) - batch[1]) ** 2).sum(1).mean() / 2

    def metrics(params):
        model = start.module(params)
        outputs, test = model(x), model(test_x)
        numbers = fm.feature_metrics(model.features(x), y, readout=model.readout())
        spread = ((test_y - y.mean(0, keepdims=True)) ** 2).sum()
        return _shared(numbers, outputs, y.shape[1]) | {
            "train_r2": 1 - ((outputs - y) ** 2).sum() / (y**2).sum(),
            "test_r2": 1 - ((test - test_y) ** 2).sum() / spread,
        }

    decay = optax.add_decayed_weights(weight_decay.astype(x.dtype))
    optimizer = optax.chain(decay, optax.sgd(learning_rate, momentum=MOMENTUM))
    passes = {"epochs": epochs, "batch": batch, "every": every}
    run = _run(loss, start, optimizer, (x, y), batch_key, metrics, **passes)
    end = start.module(run.params)
    errors = fm.standard_errors(end.features(x), y, end.readout(), participation=False)
    return run.metrics | {"utility_error": errors.utility, "quality_error": errors.quality}
