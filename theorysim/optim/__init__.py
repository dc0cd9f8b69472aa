"""Optimizers as optax transformations, one a module.

Example:
    >>> import optax
    >>> from theorysim.optim import lora_plus
    >>> optimizer = lora_plus(optax.adamw, 1e-4, ratio=16)
"""

from theorysim.optim.adapter_rates import LoRALabels, lora_labels, lora_plus

__all__ = ["LoRALabels", "lora_labels", "lora_plus"]
