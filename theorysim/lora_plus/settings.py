r"""Settings that train alike: two rates against one with another start, a scale against none.

The output depends on B A only. For every c > 0 these give the same output at every step, of any network:

    A0, B0, lr_a, lr_b    and    c A0, B0/c, c^2 lr_a, lr_b/c^2    (gradient descent, with momentum)
                                 c A0, B0/c, c lr_a, lr_b/c        (Adam with epsilon 0)

and s, B0, lr_b is the same as 1, s B0, s^2 lr_b (Adam: s lr_b). Weight decay keeps rate times decay. With c^4
= lr_b/lr_a (Adam: c^2) both rates become sqrt(lr_a lr_b): LoRA+ is LoRA with a larger A. Derived here.

Example:
    >>> twin = equivalent_setting(1e-5, 1.6e-4, 1 / 4096, 0.0, optimizer="adam", to="single_rate")
    >>> print(f"{twin.lr_a:.1e} {twin.lr_b:.1e} {twin.std_factor_a:.1f}")
    4.0e-05 4.0e-05 4.0
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from theorysim.numerics.validation import choice, real

__all__ = ["AdapterSetting", "equivalent_setting"]


class AdapterSetting(NamedTuple):
    """A setting of rates, start and scale.

    Attributes:
        lr_a: rate of A.
        lr_b: rate of B.
        std_factor_a: by which A at the start is multiplied.
        std_factor_b: by which B at the start is multiplied.
        scale: s.
        var_a: variance of A at the start, after that.
        var_b: variance of B at the start, after that.
    """

    lr_a: Array
    lr_b: Array
    std_factor_a: Array
    std_factor_b: Array
    scale: Array
    var_a: Array
    var_b: Array


def equivalent_setting(
    lr_a: ArrayLike,
    lr_b: ArrayLike,
    var_a: ArrayLike,
    var_b: ArrayLike,
    *,
    optimizer: Literal["sgd", "adam"],
    to: Literal["single_rate", "unit_scale"],
    scale: ArrayLike = 1.0,
) -> AdapterSetting:
    """The setting with one rate, or with scale 1, that trains exactly like this one.

    Args:
        lr_a: rate of A, > 0. Arrays broadcast.
        lr_b: rate of B, > 0.
        var_a: variance of A at the start, >= 0.
        var_b: variance of B at the start, >= 0.
        optimizer: "sgd" (with any momentum) or "adam" (epsilon 0, or scaled like the gradients) (static).
        to: "single_rate" or "unit_scale" (static).
        scale: s > 0.

    Returns:
        AdapterSetting.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> twin = equivalent_setting(0.01, 0.2, 1.0, 0.5, optimizer="sgd", to="unit_scale", scale=2.0)
        >>> print(twin.lr_b, twin.std_factor_b, twin.scale, twin.var_b)
        0.8 2.0 1.0 2.0
    """
    for name, value in (("lr_a", lr_a), ("lr_b", lr_b), ("scale", scale)):
        real(value, name, low=0, low_open=True, high_open=True)
    for name, value in (("var_a", var_a), ("var_b", var_b)):
        real(value, name, low=0, high_open=True)
    adam = choice(optimizer, "optimizer", ("sgd", "adam")) == "adam"
    values = lr_a, lr_b, var_a, var_b, scale
    dtype = jnp.result_type(*values)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    a, b, var_a, var_b, s = jnp.broadcast_arrays(*(jnp.asarray(value, dtype) for value in values))
    one = jnp.ones_like(a)
    if choice(to, "to", ("single_rate", "unit_scale")) == "unit_scale":
        return AdapterSetting(a, b * (s if adam else s**2), one, s, one, var_a, var_b * s**2)
    both = jnp.sqrt(a) * jnp.sqrt(b)
    c = jnp.sqrt(b / a) if adam else jnp.sqrt(jnp.sqrt(b / a))
    return AdapterSetting(both, both, c, 1 / c, s, var_a * c**2, var_b / c**2)
