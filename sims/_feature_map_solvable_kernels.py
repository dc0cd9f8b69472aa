"""Learners whose features the theory predicts, at one point of a grid.

A linear network on whitened inputs, a network with weight decay on its features, random ReLU features, a
readout that descends on given features, and features with one direction of larger variance.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from theorysim import feature_map as fm
from theorysim.networks.mlp import MLP, fan_in_stds
from theorysim.networks.train import functional, train
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import eigh


def linear_network(scale, orthogonal, key, *, strengths, inputs, width, num_steps, record_every, rate):
    """Two linear layers, trained by gradient descent on whitened inputs to a few taught modes.

    The first layer starts Gaussian with W'W = scale I on average, or orthogonal so that this is exact; the
    readout starts at 0. Over time: strength and feature eigenvalue along the taught modes, and N2.
    """
    taught = len(strengths)
    widths, stds = (inputs, width, taught), (jnp.sqrt(scale / width), 0.0)
    options = {"activation": lambda z: z, "dtype": jnp.float64}
    start = functional(MLP(widths, weight_std=stds, rngs=nnx.Rngs(key), **options))
    first, readout = jax.tree.leaves(start.params)
    turned = jnp.sqrt(scale) * jnp.linalg.qr(first.T)[0].T
    params = jax.tree.unflatten(
        jax.tree.structure(start.params), [jnp.where(orthogonal, turned, first), readout]
    )
    eye = jnp.eye(inputs)
    teacher = eye[:, :taught] * jnp.asarray(strengths)[None]

    def loss(params, batch):
        return ((start.apply(params, eye) - teacher) ** 2).sum() / 2

    def metrics(params):
        model = start.module(params)
        hidden = model.features(eye)
        squares = matmul(hidden, hidden.T)
        return {
            "strength": jnp.diagonal(model(eye)[:taught]),
            "along": jnp.diagonal(squares)[:taught],
            "participation": jnp.trace(squares) ** 2 / (squares**2).sum(),
        }

    options = {"num_steps": num_steps, "record_every": record_every}
    return train(loss, params, optax.sgd(rate), metrics=metrics, **options).metrics


def decayed_features(x, labels, decay, key, *, classes, squared, ratio, width, features, num_steps):
    """A network with weight decay on its features and its readout only, trained to the end by Adam.

    `decay` is sqrt(ab) and `ratio` a/b; squared loss on one-hot labels, or cross-entropy. Features are linear
    in the last hidden layer; the readout has a bias that is free.
    """
    body_key, head_key = jax.random.split(key)
    widths = (x.shape[1], width, features)
    stds = fan_in_stds(widths, gain=2**0.5)
    options = {"dtype": jnp.float64, "activation": jax.nn.relu}
    body = functional(MLP(widths, weight_std=stds, bias_std=(0.0, 0.0), rngs=nnx.Rngs(body_key), **options))
    std = fan_in_stds((features, classes))
    head = functional(
        MLP((features, classes), weight_std=std, bias_std=(0.0,), rngs=nnx.Rngs(head_key), **options)
    )
    a, b = decay * jnp.sqrt(ratio), decay / jnp.sqrt(ratio)

    def misfit(outputs):
        if squared:
            return ((outputs - jax.nn.one_hot(labels, classes)) ** 2).sum(1).mean() / 2
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

    def loss(params, batch):
        H = body.apply(params[0], x)
        readout = head.module(params[1]).readout()
        return misfit(head.apply(params[1], H)) + a / 2 * (readout**2).sum() + b / 2 * (H**2).sum()

    rate = optax.cosine_decay_schedule(3e-3, num_steps, 1e-3)
    run = train(loss, (body.params, head.params), optax.adam(rate), num_steps=num_steps)
    H = body.apply(run.params[0], x)
    centred = H - H.mean(0, keepdims=True)
    return {
        "eigenvalues": eigh(matmul(centred.T, centred) / len(H))[0][:classes],
        "objective": loss(run.params, None),
    }


def random_relu(key, *, corners, width):
    """Tr M^2 and spectrum of one random ReLU layer over the corners of a hypercube."""
    d = corners.shape[1]
    model = MLP(
        (d, width, 1), activation=jax.nn.relu, weight_std=(1.0, 0.0), dtype=jnp.float64, rngs=nnx.Rngs(key)
    )
    F = model.features(jnp.asarray(corners)) / jnp.sqrt(width)
    M = matmul(F.T, F) if width < len(corners) else matmul(F, F.T)
    values = eigh(M / len(corners))[0]
    return {
        "trace_of_square": (values**2).sum(),
        "eigenvalues": jnp.pad(values, (0, max(len(corners) - width, 0)))[: len(corners)],
    }


def spectrum_at_start(key, *, x, hidden):
    """Feature eigenvalues of an untrained ReLU network with the gain that keeps second moments."""
    widths = (x.shape[1], *hidden, 1)
    model = MLP(
        widths,
        activation=jax.nn.relu,
        weight_std=fan_in_stds(widths, 2**0.5),
        rngs=nnx.Rngs(key),
        dtype=x.dtype,
    )
    F = model.features(jnp.asarray(x)) / jnp.sqrt(hidden[-1])
    F = F - F.mean(0, keepdims=True)
    M = matmul(F.T, F) if hidden[-1] < len(x) else matmul(F, F.T)
    return {"eigenvalues": eigh(M / len(x))[0][:20]}


def readout_descent(key, *, features, test_features, weights, noise, rate, num_steps, record_every):
    """Gradient descent of a readout on noisy targets: its error in training and test, without the noise."""
    F, test, weights = jnp.asarray(features), jnp.asarray(test_features), jnp.asarray(weights)
    target = matmul(F, weights)
    y = target + jnp.sqrt(noise) * jax.random.normal(key, target.shape)

    def loss(w, batch):
        return ((matmul(F, w) - y) ** 2).mean() / 2

    def metrics(w):
        return {
            "train": ((matmul(F, w) - target) ** 2).mean(),
            "test": (matmul(test, w - weights) ** 2).mean(),
        }

    options = {"num_steps": num_steps, "record_every": record_every}
    return train(loss, jnp.zeros_like(weights), optax.sgd(rate), metrics=metrics, **options).metrics


def spiked(spike, key, *, n, p):
    """The first eigenfunction of features with one direction of variance 1 + spike, which knows the label."""
    labels = (jnp.arange(n) % 2).astype(int)
    x = jax.random.normal(key, (n, p)).at[:, 0].add(jnp.sqrt(spike) * (2.0 * labels - 1))
    law = fm.moments(x, labels, classes=2)
    basis = fm.eigenfunctions(law)
    overlap = basis.vectors[0, 0] ** 2
    return {
        "eigenvalue": basis.values[0],
        "overlap_squared": overlap,
        "quality": fm.quality(law)[0],
        "held_out_quality": spike * overlap / (1 + spike * overlap),
    }
