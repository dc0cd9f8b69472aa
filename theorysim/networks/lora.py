r"""Low-rank adapters for any NNX model: a frozen linear layer plus a product of two thin matrices that train.

    y = x W + bias + s x A' B',      A (r, n_in), B (n_out, r),      s = alpha/r or alpha/sqrt(r)

with W and the bias frozen. `adapt` puts such layers in the place of linear layers of a model, named by
patterns over their paths; all else is frozen, too, unless it is named. Frozen values are `Frozen` variables
and no `nnx.Param`: neither `functional` and `train` nor `nnx.Optimizer(model, ..., wrt=nnx.Param)` move them.
`lora_files` saves what trains, and loads it on the base again.

    init             start                                                             output at the start
    "a"              A ~ N(0, var_a), var_a = 1/n_in;  B = 0                           unchanged, exactly
    "b"              A = 0;  B ~ N(0, var_b), var_b = 1/r                              unchanged, exactly
    "scaled_a"       A ~ N(0, var_a), var_a = 1;  B = 0: one rate as if two (Adam)     unchanged, exactly
    "orthogonal"     rows of A orthogonal, of length sqrt(n_in var_a);  B = 0          unchanged, exactly
    "both"           A and B random, W <- W - s A'B'                                   unchanged, to rounding
    "svd"            s A'B' = the r leading singular directions of W, taken from it    unchanged, to rounding

References: E. Hu et al., "LoRA" (2022), arXiv 2106.09685; alpha/sqrt(r): D. Kalajdzievski (2023), arXiv
2312.03732; "svd": F. Meng, Z. Wang, M. Zhang, "PiSSA" (2024), arXiv 2404.02948; "a" against "b": S. Hayou,
N. Ghosh, B. Yu (2024), arXiv 2406.08447.

Example:
    >>> class Net(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.hidden = nnx.Linear(4, 50, rngs=rngs)
    ...         self.head = nnx.Linear(50, 3, rngs=rngs)
    ...     def __call__(self, x):
    ...         return self.head(nnx.relu(self.hidden(x)))
    >>> base, x = Net(nnx.Rngs(0)), jnp.ones((7, 4))
    >>> model = adapt(base, "hidden", rank=2, rngs=nnx.Rngs(1))
    >>> sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param))), bool((model(x) == base(x)).all())
    (108, True)
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.validation import choice, positive_int, real, scalar

__all__ = [
    "Frozen",
    "Init",
    "LoRALinear",
    "Scaling",
    "adapt",
    "adapted_layers",
    "install",
    "merge",
    "unmerge",
    "without_adapters",
]

Init = Literal["a", "b", "both", "scaled_a", "orthogonal", "svd"]
Scaling = Literal["alpha/r", "alpha/sqrt(r)"]
_INITS = ("a", "b", "both", "scaled_a", "orthogonal", "svd")
# Paths that an error lists.
_LISTED = 20


class Frozen(nnx.Variable):
    """A value that is part of the model and does not train."""


class LoRALinear(nnx.Module):
    """A linear layer that keeps its weights, and trains a low-rank change of them.

    Attributes:
        base: the linear layer, its kernel and bias frozen.
        lora_a: A, `nnx.LoRAParam` of shape (r, n_in).
        lora_b: B, `nnx.LoRAParam` of shape (n_out, r).
        scale: s, a frozen scalar.
        rank: r.

    Example:
        >>> base = nnx.Linear(6, 5, rngs=nnx.Rngs(0))
        >>> layer = LoRALinear(base, rank=2, init="b", rngs=nnx.Rngs(1))
        >>> layer.lora_a.shape, layer.lora_b.shape, layer(jnp.ones((3, 6))).shape
        ((2, 6), (5, 2), (3, 5))
    """

    def __init__(
        self,
        base: nnx.Linear,
        *,
        rank: int,
        alpha: ArrayLike | None = None,
        scaling: Scaling = "alpha/r",
        init: Init = "a",
        var_a: ArrayLike | None = None,
        var_b: ArrayLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Wrap a copy of a linear layer.

        Args:
            base: the layer; it stays as it is.
            rank: r >= 1, at most n_in and n_out.
            alpha: > 0; r by default, for s = 1 (alpha/r) or sqrt(r).
            scaling: how s follows from alpha.
            init: the start, see the module.
            var_a: variance of the entries of A, >= 0; by default 1/n_in, and 1 for "scaled_a", which is meant
                for Adam (for plain gradient descent: n_in^-1/2).
            var_b: variance of the entries of B, >= 0; 1/r by default.
            rngs: `nnx.Rngs(key)`; its `params` stream is drawn from.

        Raises:
            ValueError: an argument out of its range.
            TypeError: the base is no `nnx.Linear`.
        """
        if not isinstance(base, nnx.Linear):
            raise TypeError(f"base must be an nnx.Linear, got {type(base).__name__}")
        self.rank = positive_int(rank, "rank", maximum=min(base.in_features, base.out_features))
        choice(init, "init", _INITS)
        root = choice(scaling, "scaling", ("alpha/r", "alpha/sqrt(r)")) == "alpha/sqrt(r)"
        alpha = self.rank if alpha is None else alpha
        real(scalar(alpha, "alpha"), "alpha", low=0, low_open=True, high_open=True)
        for name, value in (("var_a", var_a), ("var_b", var_b)):
            if value is not None:
                real(scalar(value, name), name, low=0, high_open=True)
        # Typed as any module: a frozen kernel is none of the parameters of an `nnx.Linear`.
        self.base: Any = nnx.clone(base)
        kernel = self.base.kernel.get_value()
        s = jnp.asarray(alpha, kernel.dtype) / (self.rank**0.5 if root else self.rank)
        self.scale = Frozen(s)
        A, B = _start(init, kernel, s, self.rank, var_a, var_b, rngs)
        # Whether the kernel is no longer that of the model adapted.
        self.moved_base = init in ("both", "svd")
        if self.moved_base:
            kernel = kernel - s * A.T @ B.T
        self.lora_a, self.lora_b = nnx.LoRAParam(A), nnx.LoRAParam(B)
        self.base.kernel = Frozen(kernel)
        if self.base.bias is not None:
            self.base.bias = Frozen(self.base.bias.get_value())
        # The kernel without the adapter, while the base holds the sum.
        self.kept: Any = nnx.data(None)

    def __call__(self, x: Float[Array, "*batch n_in"]) -> Float[Array, "*batch n_out"]:
        """y, at the cost of the base and r (n_in + n_out) products a row; merged: of the base."""
        if self.merged:
            return self.base(x)
        return self.base(x) + self.scale[...] * ((x @ self.lora_a[...].T) @ self.lora_b[...].T)

    @property
    def merged(self) -> bool:
        """Whether the base holds the sum of both."""
        return self.kept is not None

    def delta(self) -> Float[Array, "n_in n_out"]:
        """The change s A'B' of the kernel."""
        return self.scale[...] * (self.lora_a[...].T @ self.lora_b[...].T)

    def merge(self) -> None:
        """Add the change to the kernel: calls then cost what the base costs, and A and B no longer count.

        A merged layer stays as it is.
        """
        if not self.merged:
            kernel = self.base.kernel.get_value()
            self.base.kernel = Frozen(kernel + self.delta())
            self.kept = nnx.data(Frozen(kernel))

    def unmerge(self) -> None:
        """Undo `merge`: the kernel is what it was, to the last bit."""
        if self.merged:
            self.base.kernel = Frozen(self.kept.get_value())
            self.kept = nnx.data(None)


def adapt(
    model: nnx.Module,
    where: str | Sequence[str],
    *,
    rank: int,
    alpha: ArrayLike | None = None,
    scaling: Scaling = "alpha/r",
    init: Init = "a",
    var_a: ArrayLike | None = None,
    var_b: ArrayLike | None = None,
    train: str | Sequence[str] = (),
    rngs: nnx.Rngs,
) -> Any:
    """A copy of a model with adapters on the linear layers asked for, and all else frozen.

    Args:
        model: any NNX module; it stays as it is.
        where: patterns over paths of `nnx.Linear` layers, such as "layers.*.attention.query"; * is anything.
        rank: as for `LoRALinear`, like all that follows.
        alpha: see there.
        scaling: see there.
        init: see there.
        var_a: see there.
        var_b: see there.
        train: patterns over paths of parameters that stay `nnx.Param`, such as "head.*".
        rngs: draws the starts, in the order of the paths.

    Returns:
        The copy.

    Raises:
        ValueError: a pattern that matches no linear layer or no parameter (with a list of those there are),
            or an argument out of its range.

    Example:
        >>> base = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 2, rngs=nnx.Rngs(0)))
        >>> model = adapt(base, "layers.0", rank=2, train="layers.1.*", rngs=nnx.Rngs(1))
        >>> print(*(".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))))
        layers.0.lora_a layers.0.lora_b layers.1.bias layers.1.kernel
    """
    model = nnx.clone(model)
    modules: dict[Any, Any] = dict(nnx.iter_modules(model))
    linear = {_dotted(path): path for path, m in modules.items() if isinstance(m, nnx.Linear)}
    if () in linear.values():
        raise ValueError("model must hold linear layers, got one itself: wrap it in LoRALinear")
    chosen = _matching(linear, where, "where", "linear layer")
    options = {"rank": rank, "alpha": alpha, "scaling": scaling, "init": init, "var_a": var_a, "var_b": var_b}
    layers = {name: LoRALinear(modules[linear[name]], **options, rngs=rngs) for name in chosen}
    inside = tuple(f"{name}." for name in chosen)
    others = [name for name in _params(model) if not name.startswith(inside)]
    stay = _matching(others, train, "train", "parameter") if len(train) else []
    install(model, layers, stay)
    return model


def install(model: nnx.Module, layers: Mapping[str, LoRALinear], train: Iterable[str]) -> None:
    """Put layers in their places by path, and freeze all other parameters but those named. In place.

    Example:
        >>> model = nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)))
        >>> install(model, {"layers.0": LoRALinear(model.layers[0], rank=1, rngs=nnx.Rngs(1))}, ())
        >>> len(jax.tree.leaves(nnx.state(model, nnx.Param)))
        2
    """
    for name, path in _params(model).items():
        if name not in train:
            _replace(model, path, Frozen(_find(model, path).get_value()))
    paths = {_dotted(path): path for path, _ in nnx.iter_modules(model)}
    for name, layer in layers.items():
        _replace(model, paths[name], layer)


def _params(model):
    return {_dotted(path): path for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}


def adapted_layers(model: nnx.Module) -> dict[str, LoRALinear]:
    """The adapted layers of a model by path, in order.

    Raises:
        ValueError: there are none.

    Example:
        >>> base = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 2, rngs=nnx.Rngs(0)))
        >>> list(adapted_layers(adapt(base, "layers.*", rank=1, rngs=nnx.Rngs(1))))
        ['layers.0', 'layers.1']
    """
    found = {_dotted(path): m for path, m in nnx.iter_modules(model) if isinstance(m, LoRALinear)}
    if not found:
        raise ValueError("model must hold LoRALinear layers, got none: adapt(model, where, ...) makes them")
    return dict(sorted(found.items()))


def merge(model: nnx.Module) -> None:
    """Merge all adapted layers of a model in place: see `LoRALinear.merge`.

    Raises:
        ValueError: there are none.

    Example:
        >>> base = nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)))
        >>> model = adapt(base, "*", rank=1, rngs=nnx.Rngs(1))
        >>> merge(model)
        >>> adapted_layers(model)["layers.0"].merged
        True
    """
    for layer in adapted_layers(model).values():
        layer.merge()


def unmerge(model: nnx.Module) -> None:
    """Undo `merge`, to the last bit.

    Raises:
        ValueError: there are no adapted layers.

    Example:
        >>> base = nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)))
        >>> model = adapt(base, "*", rank=1, rngs=nnx.Rngs(1))
        >>> merge(model), unmerge(model)
        (None, None)
        >>> adapted_layers(model)["layers.0"].merged
        False
    """
    for layer in adapted_layers(model).values():
        layer.unmerge()


def without_adapters(model: nnx.Module) -> Any:
    """A copy of a model with plain `nnx.Linear`s that hold the sum, all of it `nnx.Param`s again.

    Raises:
        ValueError: there are no adapted layers.

    Example:
        >>> base = nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)))
        >>> plain = without_adapters(adapt(base, "*", rank=1, rngs=nnx.Rngs(1)))
        >>> type(plain.layers[0]).__name__, bool((plain.layers[0].kernel == base.layers[0].kernel).all())
        ('Linear', True)
    """
    model = nnx.clone(model)
    layers = adapted_layers(model)
    paths = {_dotted(path): path for path, m in nnx.iter_modules(model) if isinstance(m, LoRALinear)}
    for name, layer in layers.items():
        layer.merge()
        _replace(model, paths[name], layer.base)
    for path, variable in nnx.to_flat_state(nnx.state(model, Frozen)):
        _replace(model, path, nnx.Param(variable.get_value()))
    return model


def _start(init, kernel, s, rank, var_a, var_b, rngs):
    """A and B of this start."""
    n_in, n_out = kernel.shape
    dtype = kernel.dtype
    A, B = jnp.zeros((rank, n_in), dtype), jnp.zeros((n_out, rank), dtype)
    if init == "svd":
        left, values, right = jnp.linalg.svd(kernel, full_matrices=False)
        root = jnp.sqrt(values[:rank] / s)
        return (left[:, :rank] * root[None]).T, right[:rank].T * root[None]
    if init != "b":
        std = jnp.sqrt(
            jnp.asarray((1.0 if init == "scaled_a" else 1 / n_in) if var_a is None else var_a, dtype)
        )
        A = std * jax.random.normal(rngs.params(), A.shape, dtype)
        if init == "orthogonal":
            vectors, triangle = jnp.linalg.qr(A.T)
            # LAPACK's choice of signs is none of chance.
            A = std * n_in**0.5 * (vectors * jnp.sign(jnp.diag(triangle))[None]).T
    if init in ("b", "both"):
        std = jnp.sqrt(jnp.asarray(1 / rank if var_b is None else var_b, dtype))
        B = std * jax.random.normal(rngs.params(), B.shape, dtype)
    return A, B


def _dotted(path: Iterable[Any]) -> str:
    return ".".join(map(str, path))


def _matching(names, patterns, argument, what):
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    chosen = []
    for pattern in patterns:
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            listed = ", ".join(sorted(names)[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
            raise ValueError(
                f"{argument} must match a {what} of the model, got {pattern!r}; there are: {listed}"
            )
        chosen += found
    return sorted(set(chosen))


def _find(model: Any, path: Iterable[Any]) -> Any:
    for step in path:
        model = model[step] if isinstance(step, int | np.integer) else getattr(model, step)
    return model


def _replace(model, path, value):
    owner, last = _find(model, path[:-1]), path[-1]
    if isinstance(last, int | np.integer):
        owner[last] = value
    else:
        setattr(owner, last, value)
