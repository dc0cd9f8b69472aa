"""The features of the reference values, and ways to make others."""

import jax.numpy as jnp
import numpy as np


def wave(offset, n, p, shift=0.0):
    """sin(offset + 3i + 7j + ij/10), with a shift of the classes i mod 3."""
    i, j = np.arange(n)[:, None], np.arange(p)[None]
    return jnp.asarray(np.sin(offset + 3 * i + 7 * j + 0.1 * i * j) + shift * np.cos(2 * (i % 3) + 3 * j))


LABELS = jnp.arange(20) % 3
F = wave(1.0, 20, 5, 0.6)
READOUT = jnp.asarray(np.cos(1 + np.arange(3)[:, None] + 2 * np.arange(5)[None]))


def some(value):
    """What an optional field holds, which must be there."""
    assert value is not None
    return value


def gaussian_classes(seed, n, p, classes=3, signal=1.0):
    """Correlated Gaussian features with class means, drawn by numpy: features, labels, readout."""
    draw = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), draw.integers(0, classes, n - classes)])
    means = signal * draw.normal(size=(classes, p))
    scale = np.exp(-0.2 * np.arange(p))
    x = means[labels] + draw.normal(size=(n, p)) * scale[None]
    return jnp.asarray(x), jnp.asarray(labels), jnp.asarray(means + draw.normal(size=(classes, p)))


# More features than examples.
WIDE, WIDE_LABELS, WIDE_READOUT = gaussian_classes(0, 12, 30)
