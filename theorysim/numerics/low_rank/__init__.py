r"""Low-rank adapters on a frozen linear layer: exact training dynamics in a few small matrices.

Output f = s W_out B A X, with frozen features X and readout W_out; the loss sees A and B only through P = A X
and Q = W_out B, and so does gradient descent, through the Grams X'X and W_out W_out'. No width enters.

    starts      `sample_start`, `orthogonal_start`: the exact law of P and Q at initialisation;
                `scaled_variance`, `svd_start`
    training    `adapter_dynamics` (gradient descent with momentum, weight decay, mini-batches, test columns,
                any loss, gradients cut to a length), `adapter_dynamics_single` (Adam, AdamW, signs; one
                example, one output), `sign_dynamics` (signs, infinitely wide), `width_proxy` (Adam, nearly),
                `dense_adapter_training` (the weights themselves); `squared_error`
    stability   `sharpness`, `minimum_sharpness`

References: S. Hayou, N. Ghosh, B. Yu, "LoRA+: Efficient Low Rank Adaptation of Large Models" (2024), arXiv
2402.12354; E. Hu et al., "LoRA" (2022), arXiv 2106.09685. The dynamics are derived here.

Example:
    >>> import jax, jax.numpy as jnp
    >>> for width in (10**3, 10**9):
    ...     gram, target = width * jnp.eye(4), jnp.eye(4)[:2]
    ...     start = sample_start(jax.random.key(0), gram, jnp.eye(2), rank=4, init="a", var_a=1 / width)
    ...     path = adapter_dynamics(gram, jnp.eye(2), target, *start, lr_a=1 / width, lr_b=0.5, steps=20)
    ...     print(f"{path.loss[-1]:.6f}")
    0.009694
    0.009694
"""

from theorysim.numerics.low_rank.curvature import minimum_sharpness, sharpness
from theorysim.numerics.low_rank.dense import dense_adapter_training
from theorysim.numerics.low_rank.descent import adapter_dynamics
from theorysim.numerics.low_rank.losses import squared_error
from theorysim.numerics.low_rank.records import AdapterPath, AdapterStart
from theorysim.numerics.low_rank.single import adapter_dynamics_single
from theorysim.numerics.low_rank.special_starts import (
    SplitMap,
    orthogonal_start,
    scaled_variance,
    svd_start,
)
from theorysim.numerics.low_rank.starts import sample_start
from theorysim.numerics.low_rank.wide import sign_dynamics, width_proxy

__all__ = [
    "AdapterPath",
    "AdapterStart",
    "SplitMap",
    "adapter_dynamics",
    "adapter_dynamics_single",
    "dense_adapter_training",
    "minimum_sharpness",
    "orthogonal_start",
    "sample_start",
    "scaled_variance",
    "sharpness",
    "sign_dynamics",
    "squared_error",
    "svd_start",
    "width_proxy",
]
