"""Finite networks in Flax NNX and their training, as pure functions of keys and hyperparameters.

Example:
    >>> import jax.numpy as jnp
    >>> from theorysim.networks import softmax
    >>> laws = softmax.train(jnp.array([[3, 1], [1, 1]]), num_steps=200)
    >>> bool(jnp.allclose(laws, jnp.array([[0.75, 0.25], [0.5, 0.5]])))
    True
"""

from theorysim.networks import (
    adapted_encoder,
    adapted_relu,
    cnn,
    gaussian_accuracy,
    layer_inputs,
    left_out,
    linear,
    lora,
    lora_files,
    mlp,
    pruned_mixture,
    resnet,
    sentence_encoder,
    softmax,
    train,
    transformer,
)

__all__ = [
    "adapted_encoder",
    "adapted_relu",
    "cnn",
    "gaussian_accuracy",
    "layer_inputs",
    "left_out",
    "linear",
    "lora",
    "lora_files",
    "mlp",
    "pruned_mixture",
    "resnet",
    "sentence_encoder",
    "softmax",
    "train",
    "transformer",
]
