r"""What a single rate for both factors loses, without a probe: closed forms and reference problems.

Gradient descent from B = 0: one example, one output, p0 = y = 1, gradient flow of sharpness 1 at the fit. One
rate needs the longer, the wider the layer, by (1/2) ln n steps (exact); two rates that share the work need
the same at every width.

Gradient descent from A = 0: at its largest single rate, of order 1/n, A trains alone for some n steps, and
the loss stays above the floor of the frozen B, on average 1 - r/n_out. The reference problem is K_in = n I of
N = 16 examples, 16 outputs, rank 2 and a target of rank 1 and norm N, both runs of sharpness 1 at the start,
to a tenth of the loss; the ratio of their steps grows like n.

Adam: exponents only, `single_rate_exponents`. Derived here.

Example:
    >>> print(f"{flow_slowdown(1024):.2f} {flow_slowdown(2**20):.2f}")
    1.85 2.53
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from theorysim.lora_plus import time_to_fraction
from theorysim.numerics.low_rank import adapter_dynamics, sample_start

__all__ = ["flow_slowdown", "zero_a_slowdown"]

_EPS = 0.01
# Of the reference problem.
_EXAMPLES, _RANK, _WIDTH, _TENTH, _STARTS = 16, 2, 256, 0.1, 8


def flow_slowdown(width: int) -> float:
    """Time of one rate over that of two with equal parts in the sharpness, to a residual of 1 %, from B = 0.

    Example:
        >>> print(f"{flow_slowdown(16_384):.2f}")
        2.12
    """
    # kappa^2 + c^2 y^2 = 1 at the fit: with lr for both, lr^2 (1 + 4 n); with a = b/4, 2 b^2.
    lr, b = (1 + 4 * width) ** -0.5, 0.5**0.5
    one, two = (
        time_to_fraction(_EPS, 1.0, 0.0, 1.0, gain_a=gain_a, gain_b=gain_b)
        for gain_a, gain_b in ((lr * width, lr), (b / 4, b))
    )
    return float(one / two)


def zero_a_slowdown(width: int) -> float:
    """Steps of one rate over those of two on the reference problem, from A = 0: geometric mean over 8 starts.

    Runs at width 256, and counts on from there in proportion to the width.

    Example:
        >>> zero_a_slowdown(4096) / zero_a_slowdown(1024)
        4.0
    """
    steps = np.asarray(_reference_steps(jax.random.split(jax.random.key(0), _STARTS), width=_WIDTH))
    return float(np.exp(np.log(steps[:, 0] / steps[:, 1]).mean())) * width / _WIDTH


@partial(jax.jit, static_argnames="width")
def _reference_steps(keys, *, width):
    n, eye = width, jnp.eye(_EXAMPLES)

    def steps(key):
        key_y, key_b = jax.random.split(key)
        left, right = jax.random.normal(key_y, (2, _EXAMPLES))
        target = _EXAMPLES * jnp.outer(left / jnp.linalg.norm(left), right / jnp.linalg.norm(right))
        start = sample_start(key_b, n * eye, eye, rank=_RANK, init="b")
        sharp = n * jnp.linalg.norm(start.Q0, 2) ** 2 / _EXAMPLES
        # Two rates have sharpness 1 at the fit as well: 4 lr_a lr_b n = 1 where the target has norm N.
        pairs = jnp.stack([jnp.stack([1 / sharp, 1 / sharp]), jnp.stack([1 / sharp, sharp / (4 * n)])])

        def until_a_tenth(pair):
            path = adapter_dynamics(n * eye, eye, target, *start, lr_a=pair[0], lr_b=pair[1], steps=4 * n)
            return (path.loss <= _TENTH * path.loss[0]).argmax()

        return jax.vmap(until_a_tenth)(pairs)

    return jax.vmap(steps)(keys)
