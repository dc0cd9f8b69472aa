"""What the LoRA advisor is given: the sizes of the adapter, rates known to work, arrays of a probe.

Features and gradients of any framework become plain arrays, and what cannot be used is refused by name.

Example:
    >>> setting = read_setting(4096, 16, 32.0, optimizer="adamw")
    >>> setting.scale, setting.rule, setting.init
    (2.0, 'adam', None)
"""

import math
from typing import Any, Literal, NamedTuple

import numpy as np

from theorysim.numerics.arrays import plain_array
from theorysim.numerics.validation import choice, positive_int, real, scalar

__all__ = ["OPTIMIZERS", "SCALINGS", "Base", "Probe", "Setting", "read_base", "read_probe", "read_setting"]

OPTIMIZERS = ("adam", "adamw", "sgd")
"""Optimizers that are known."""

SCALINGS = ("alpha/r", "alpha/sqrt(r)")
"""Scales of the adapter: of LoRA, and of rank-stabilised LoRA."""


class Setting(NamedTuple):
    """Sizes and scale of an adapter.

    Attributes:
        width: n, inputs of the adapted layer.
        rank: r.
        alpha: numerator of the scale.
        scaling: "alpha/r" or "alpha/sqrt(r)".
        scale: s.
        optimizer: "adam", "adamw" or "sgd".
        init: which factor is random, "a" or "b"; None if the advisor is to say.
        var_a: variance of A at the start where A is random, times the width.
        var_b: of B where B is random: 1/r.
    """

    width: int
    rank: int
    alpha: float
    scaling: str
    scale: float
    optimizer: str
    init: Literal["a", "b"] | None
    var_a: float
    var_b: float

    @property
    def rule(self) -> Literal["adam", "sgd"]:
        """The optimizer as the theories know it."""
        return "sgd" if self.optimizer == "sgd" else "adam"

    @property
    def random(self) -> Literal["a", "b"]:
        """Which factor is random: A unless asked otherwise."""
        return self.init or "a"


class Base(NamedTuple):
    """Rates that work elsewhere.

    Attributes:
        lr_a: rate of A.
        lr_b: rate of B.
        single: whether they were given as one rate.
        width: where they work.
        rank: likewise.
        alpha: likewise.
        scale: s there.
    """

    lr_a: float
    lr_b: float
    single: bool
    width: int
    rank: int
    alpha: float
    scale: float


class Probe(NamedTuple):
    """Arrays of the user.

    Attributes:
        features: inputs of the adapted layer, (N, n).
        output_grad: of the mean loss over these N in the layer's outputs, (N, n_out); None if not given.
    """

    features: np.ndarray
    output_grad: np.ndarray | None


def read_setting(
    width: int,
    rank: int,
    alpha: float,
    *,
    scaling: str = "alpha/r",
    optimizer: str = "adamw",
    init: str | None = None,
    var_a: float = 1.0,
) -> Setting:
    """Check the sizes; the arguments are those of `advise_lora`.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> read_setting(64, 100, 16.0)
        Traceback (most recent call last):
        ValueError: rank must be an integer in [1, 64], got 100
    """
    width = positive_int(width, "width", minimum=2)
    rank = positive_int(rank, "rank", maximum=width)
    for name, value in (("alpha", alpha), ("var_a", var_a)):
        real(scalar(value, name), name, low=0, low_open=True, high_open=True)
    choice(scaling, "scaling", SCALINGS)
    choice(optimizer, "optimizer", OPTIMIZERS)
    if init is not None:
        init = choice(init, "init", ("a", "b"))
    scale = _scale(alpha, rank, scaling)
    return Setting(width, rank, float(alpha), scaling, scale, optimizer, init, float(var_a), 1 / rank)  # type: ignore[arg-type]


def read_base(
    setting: Setting,
    lr: float | tuple[float, ...] | None,
    width: int | None,
    rank: int | None,
    alpha: float | None,
) -> Base | None:
    """The rates known to work, at sizes that are those asked about unless given.

    Raises:
        ValueError: no width beside a rate or no rate beside a size, or an argument out of its range.

    Example:
        >>> setting = read_setting(4096, 16, 32.0)
        >>> read_base(setting, 1e-4, None, None, None)
        Traceback (most recent call last):
        ValueError: base_width must be given with base_lr (4096 if the rate was tuned at this width), got None
    """
    if lr is None:
        for name, value in (("base_width", width), ("base_rank", rank), ("base_alpha", alpha)):
            if value is not None:
                raise ValueError(f"base_lr must be given with {name}: the rate that works there, got None")
        return None
    pair = tuple(lr) if isinstance(lr, tuple | list) else (lr,)
    if len(pair) not in (1, 2):
        raise ValueError(f"base_lr must be one rate, or one of A and one of B, got {len(pair)} of them")
    for value in pair:
        real(scalar(value, "base_lr"), "base_lr", low=0, low_open=True, high_open=True)
    if width is None:
        raise ValueError(
            f"base_width must be given with base_lr ({setting.width} if the rate was tuned at this width), "
            "got None"
        )
    width = positive_int(width, "base_width", minimum=2)
    rank = setting.rank if rank is None else positive_int(rank, "base_rank", maximum=width)
    if rank > width:
        raise ValueError(f"base_width must be at least the rank {rank}, got {width}")
    alpha = setting.alpha if alpha is None else alpha
    real(scalar(alpha, "base_alpha"), "base_alpha", low=0, low_open=True, high_open=True)
    scale = _scale(alpha, rank, setting.scaling)
    return Base(float(pair[0]), float(pair[-1]), len(pair) == 1, width, rank, float(alpha), scale)


def read_probe(setting: Setting, features: Any, output_grad: Any = None) -> Probe | None:
    """The arrays in float64, a row for each example; None without features.

    Raises:
        ValueError: shapes that do not match the setting or each other, entries that are not finite, features
            or gradients that are all 0, or gradients without features.

    Example:
        >>> read_probe(read_setting(3, 1, 1.0), np.ones((2, 4)))
        Traceback (most recent call last):
        ValueError: features must have shape (N, 3), a column for each of width = 3 inputs, got (2, 4)
    """
    if features is None:
        if output_grad is not None:
            raise ValueError("features must be given with output_grad, got None")
        return None
    x = _matrix(features, "features")
    if x.shape[1] != setting.width:
        hint = ": transpose them" if len(x) == setting.width else ""
        raise ValueError(
            f"features must have shape (N, {setting.width}), a column for each of width = {setting.width} "
            f"inputs, got {x.shape}{hint}"
        )
    if output_grad is None:
        return Probe(x, None)
    g = _matrix(output_grad, "output_grad")
    if len(g) != len(x):
        raise ValueError(
            f"output_grad must have shape ({len(x)}, n_out), a row for each of features, got {g.shape}"
        )
    if g.shape[1] < setting.rank:
        raise ValueError(
            f"rank must be at most the {g.shape[1]} outputs that output_grad has, got {setting.rank}"
        )
    return Probe(x, g)


def _scale(alpha: float, rank: int, scaling: str) -> float:
    return alpha / (rank if scaling == "alpha/r" else math.sqrt(rank))


def _matrix(value: Any, name: str) -> np.ndarray:
    x = plain_array(value, name)
    if x.dtype.kind not in "fiub" and x.dtype.name != "bfloat16":
        raise ValueError(f"{name} must be real numbers, got dtype {x.dtype}")
    if x.ndim != 2 or not x.size:
        hint = ": flatten all axes but the last" if x.ndim > 2 else ""
        raise ValueError(f"{name} must have two axes, examples and units, got shape {x.shape}{hint}")
    x = x.astype(np.float64)
    good = np.isfinite(x)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        raise ValueError(f"{name} must be finite, got {x[row, column]} at [{row}, {column}]")
    if not x.any():
        raise ValueError(f"{name} must not be all 0: there is nothing to learn from")
    return x
