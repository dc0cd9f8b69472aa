r"""Powers of the width: how large factors, output and its changes become, and which rates work.

gamma[v] = lim log|v|/log n, -inf for an exact zero. The gain of the input is that of |x|^2 (gradient descent)
or of the sum of |x_j| (Adam), 1 for features of order 1; the gain of the output likewise, for the readout. A
step is

    u = max(0, p + q),
    sgd   dp = lr_a + gain_in + q + u,  dq = lr_b + gain_out + p + u,
    adam  dp = lr_a + gain_in,          dq = lr_b + gain_out,         (-inf while the other factor is 0)
    delta1 = q + dp,  delta2 = dq + p,  delta3 = dq + dp,             p <- max(p, dp),  q <- max(q, dq):

exact as long as nothing cancels. Derived here; the question is that of S. Hayou, N. Ghosh, B. Yu, "The Impact
of Initialization on LoRA Finetuning Dynamics" (2024), arXiv 2406.08447.

Example:
    >>> for p0, q0 in ((0.0, None), (None, 0.0)):  # B = 0, A = 0
    ...     print(largest_stable_exponent(p0=p0, q0=q0, optimizer="adam"))
    -0.5
    -1.0
"""

import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.validation import choice, positive_int, real

__all__ = [
    "Optimizer",
    "WidthExponents",
    "is_adam",
    "largest_stable_exponent",
    "start_exponents",
    "width_exponents",
]

Optimizer = Literal["sgd", "adam"]


class WidthExponents(NamedTuple):
    """Powers of the width after some steps.

    Attributes:
        p: of A x.
        q: of the other factor's readout.
        output: of their product.
        delta1: of the last step's change of the output through A.
        delta2: through B.
        delta3: through both.
    """

    p: Array
    q: Array
    output: Array
    delta1: Array
    delta2: Array
    delta3: Array


def width_exponents(
    *,
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    p0: ArrayLike | None,
    q0: ArrayLike | None,
    gain_in: ArrayLike = 1.0,
    gain_out: ArrayLike = 0.0,
    optimizer: Optimizer,
    steps: int,
) -> WidthExponents:
    """Exponents after so many steps, the changes being those of the last.

    Args:
        lr_a: exponent of the rate of A. Arrays broadcast: over a grid of both rates this is a phase diagram.
        lr_b: of the rate of B.
        p0: of A x at the start; None or -inf for A = 0.
        q0: of W_out B at the start; None or -inf for B = 0.
        gain_in: of the input.
        gain_out: of the output: 0 without readout.
        optimizer: "sgd" or "adam" (also signs) (static).
        steps: >= 1 (static).

    Returns:
        WidthExponents. Efficient: output and both deltas 0; internally stable: p and q at most 0.

    Raises:
        ValueError: NaN or infinite exponents, both factors zero, or an unknown optimizer.

    Example:
        >>> w = width_exponents(lr_a=-1.0, lr_b=-1.0, p0=None, q0=0.0, optimizer="adam", steps=4)
        >>> print(w.output, w.delta1, w.delta2)  # B is under-trained
        0.0 0.0 -1.0
    """
    p0, q0 = start_exponents(p0, q0)
    values = {"lr_a": lr_a, "lr_b": lr_b, "gain_in": gain_in, "gain_out": gain_out}
    for name, value in values.items():
        real(value, name, low_open=True, high_open=True)
    dtype = jnp.result_type(*values.values(), p0, q0)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    arrays = jnp.broadcast_arrays(*(jnp.asarray(v, dtype) for v in (*values.values(), p0, q0)))
    adam = is_adam(optimizer)
    return _width_exponents(*arrays, adam=adam, steps=positive_int(steps, "steps"))


def largest_stable_exponent(
    *,
    p0: ArrayLike | None,
    q0: ArrayLike | None,
    gain_in: ArrayLike = 1.0,
    gain_out: ArrayLike = 0.0,
    optimizer: Optimizer,
    internal: bool = False,
) -> Array:
    """Exponent of the largest single rate at which the output stays of order 1.

    Args:
        p0: exponent of A x at the start; None or -inf for A = 0. Arrays broadcast.
        q0: of W_out B at the start; None or -inf for B = 0.
        gain_in: of the input.
        gain_out: of the output.
        optimizer: "sgd" or "adam" (static).
        internal: whether p and q are to stay of order 1, too; for "adam" (static).

    Returns:
        min(-gain_out - c p0, -gain_in - c q0, -(gain_in + gain_out)/2), c = 1 for "adam" and 2 for "sgd";
        with `internal` no larger than max(p0, 0) - gain_in and max(q0, 0) - gain_out.

    Raises:
        ValueError: NaN or infinite exponents, both factors zero, an unknown optimizer, `internal` with "sgd".

    Example:
        >>> print(largest_stable_exponent(p0=0.0, q0=None, gain_out=0.5, optimizer="adam"))
        -0.75
        >>> print(largest_stable_exponent(p0=0.0, q0=None, optimizer="adam", internal=True))
        -1.0
    """
    p0, q0 = start_exponents(p0, q0)
    for name, value in (("gain_in", gain_in), ("gain_out", gain_out)):
        real(value, name, low_open=True, high_open=True)
    adam = is_adam(optimizer)
    if internal and not adam:
        raise ValueError("internal must be False for 'sgd': its factors grow with the output, got True")
    values = p0, q0, gain_in, gain_out
    dtype = jnp.result_type(*values)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    p0, q0, gain_in, gain_out = jnp.broadcast_arrays(*(jnp.asarray(value, dtype) for value in values))
    power = 1 if adam else 2
    least = jnp.minimum(-gain_out - power * p0, -gain_in - power * q0)
    least = jnp.minimum(least, -(gain_in + gain_out) / 2)
    if internal:
        least = jnp.minimum(least, jnp.maximum(p0, 0) - gain_in)
        least = jnp.minimum(least, jnp.maximum(q0, 0) - gain_out)
    return least


def start_exponents(p0: Any, q0: Any) -> tuple[Any, Any]:
    """Both exponents with -inf for None, or ValueError where they are no numbers or both factors are zero.

    Example:
        >>> start_exponents(0.0, None)
        (0.0, -inf)
    """
    p0, q0 = (-math.inf if value is None else value for value in (p0, q0))
    for name, value in (("p0", p0), ("q0", q0)):
        real(value, name, high_open=True)
    both = [value for value in (p0, q0) if isinstance(value, float) and value == -math.inf]
    if len(both) == 2:
        raise ValueError("p0 and q0 are both zero factors: the gradient of both vanishes, and nothing trains")
    return p0, q0


def is_adam(optimizer: Any) -> bool:
    """Whether the optimizer is "adam" rather than "sgd", or ValueError.

    Example:
        >>> is_adam("sgd")
        False
    """
    return choice(optimizer, "optimizer", ("sgd", "adam")) == "adam"


@partial(jax.jit, static_argnames=("adam", "steps"))
def _width_exponents(lr_a, lr_b, gain_in, gain_out, p, q, *, adam, steps):
    def step(_, state):
        p, q = state[:2]
        u = jnp.maximum(0, p + q)
        if adam:
            dp = jnp.where(q == -jnp.inf, -jnp.inf, lr_a + gain_in)
            dq = jnp.where(p == -jnp.inf, -jnp.inf, lr_b + gain_out)
        else:
            dp, dq = lr_a + gain_in + q + u, lr_b + gain_out + p + u
        p_new, q_new = jnp.maximum(p, dp), jnp.maximum(q, dq)
        return WidthExponents(p_new, q_new, p_new + q_new, q + dp, dq + p, dq + dp)

    return jax.lax.fori_loop(0, steps, step, WidthExponents(p, q, p + q, p, p, p))
