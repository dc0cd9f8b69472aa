"""More than two classes, at one point of a grid: ridge on a Gaussian mixture, a ReLU network on digits.

A wrong label is any other class, all equally likely; the verifier decides without looking at x.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from theorysim import rmt_synthetic as rmt
from theorysim.networks.mlp import MLP, fan_in_stds
from theorysim.networks.train import functional, train
from theorysim.numerics.products import matmul


def class_accuracy(eps, rho, phi, key, *, n, m, means, means_s, gamma):
    """One training set with n real and m synthetic samples per class, and centred one-hot targets.

    Given the weights the logits of a test point are Gaussian: their orthant probability is averaged over few
    integration points, which are new for each training set, and so leave the mean over them unbiased.
    """
    real_key, noise_key, label_key, test_key = jax.random.split(key, 4)
    means, means_s = jnp.asarray(means), jnp.asarray(means_s)
    L, p = means.shape
    v = jnp.repeat(means, n, axis=0) + jax.random.normal(real_key, (L * n, p))
    u = jnp.repeat(means_s, m, axis=0) + jax.random.normal(noise_key, (L * m, p))
    labels, keep = noisy_labels(label_key, jnp.repeat(jnp.arange(L), m), L, eps, rho, phi)
    targets = jax.nn.one_hot(jnp.concatenate([jnp.repeat(jnp.arange(L), n), labels]), L) - 1 / L
    weights = jnp.concatenate([jnp.ones(L * n), keep.astype(float)])
    w = rmt.ridge_classifier(jnp.concatenate([v, u]), targets, weights, gamma, L * (n + m))
    logits = rmt.LogitMoments(matmul(means, w), matmul(w.T, w))
    return rmt.multiclass_accuracy(test_key, logits, 500)


def class_limit(eps, rho, phi, key, *, n, m, means, means_s, gamma):
    """The same in the limit; the key is that of the integration points."""
    ones = jnp.ones(len(means))
    problem = rmt.multiclass_problem(n * ones, m * ones, means, means_s, eps=eps, rho=rho, phi=phi)
    return rmt.multiclass_accuracy(key, rmt.multiclass_moments(problem, gamma), 20_000)


def digit_network(eps, rho, phi, used, key, *, x, n, m, pool, num_steps):
    """Test accuracy of a network trained on n real and m synthetic samples per class.

    x (L, k, p) holds k samples of each of L classes. Of a random order of each class the first n are the real
    ones, the first `used` <= pool those that the class's Gaussian generator is fitted to, and those after the
    pool the test set. 128 ReLU units with biases; SGD in batches of 64 on the kept samples, with a weight
    decay of 1e-4, at the rate 15 / num_steps after a warm-up of a tenth of the steps, and then down a cosine
    to a tenth of it.
    """
    order_key, noise_key, label_key, network_key, batch_key = jax.random.split(key, 5)
    L, _, p = x.shape
    x = jax.vmap(jax.random.permutation)(jax.random.split(order_key, L), x)
    fitted = (jnp.arange(pool) < used)[None, :, None]
    center = jnp.where(fitted, x[:, :pool], 0).sum(axis=1, keepdims=True) / used.astype(x.dtype)
    spread = jnp.where(fitted, x[:, :pool] - center, 0) / jnp.sqrt(used).astype(x.dtype)
    u = center + jnp.einsum("lmk,lkp->lmp", jax.random.normal(noise_key, (L, m, pool), x.dtype), spread)
    labels, keep = noisy_labels(label_key, jnp.repeat(jnp.arange(L), m), L, eps, rho, phi)
    points = jnp.concatenate([x[:, :n].reshape(-1, p), u.reshape(-1, p)])
    labels = jnp.concatenate([jnp.repeat(jnp.arange(L), n), labels])
    keep = jnp.concatenate([jnp.ones(L * n, bool), keep])
    kept_first, kept = jnp.argsort(~keep), keep.sum()

    widths = (p, 128, L)
    stds = fan_in_stds(widths, gain=2**0.5)
    rngs = nnx.Rngs(network_key)
    network = functional(MLP(widths, activation=jax.nn.relu, weight_std=stds, bias_std=(0.0, 0.0), rngs=rngs))

    def batches(key):
        chosen = kept_first[jax.random.randint(key, (64,), 0, kept)]
        return points[chosen], labels[chosen]

    def loss(params, batch):
        logits = network.apply(params, batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    rate = 15 / num_steps
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, num_steps // 10, num_steps, rate / 10)
    optimizer = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(schedule))
    run = train(
        loss,
        network.params,
        optimizer,
        num_steps=num_steps,
        batches=batches,
        key=batch_key,
        record_every=num_steps,
    )
    answers = network.apply(run.params, x[:, pool:]).argmax(axis=-1)
    return (answers == jnp.arange(L)[:, None]).mean()


def noisy_labels(key, truth, num_classes, eps, rho, phi):
    """Labels, wrong with probability eps, and which of them the verifier keeps."""
    wrong_key, other_key, keep_key = jax.random.split(key, 3)
    wrong = jax.random.uniform(wrong_key, truth.shape) < eps
    others = (truth + jax.random.randint(other_key, truth.shape, 1, num_classes)) % num_classes
    keep = jax.random.uniform(keep_key, truth.shape) < jnp.where(wrong, rho, phi)
    return jnp.where(wrong, others, truth), keep
