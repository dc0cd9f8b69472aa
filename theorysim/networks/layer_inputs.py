r"""What a layer of a network reads: the inputs of any submodule of any NNX model, and its matrix.

The features of a network are what its readout reads. Models name that differently, and few return it: here
the model is copied, the submodule asked for keeps what it is called with, and the copy is thrown away. The
model itself is never touched, so that a call is a pure function of the parameters and the inputs.

A submodule is named by its path, such as "readout", "layers.2" or "block.layers.0", or is given itself.
Without one the readout is meant: of a model with methods `features(x)` and `readout()`, such as our
`MLP` and `CNN`. The layers of `MLP` are no submodules and are found as "weights.0", "weights.1" and so on.

Example:
    >>> class Net(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.hidden = nnx.Linear(4, 50, rngs=rngs)
    ...         self.head = nnx.Linear(50, 3, rngs=rngs)
    ...     def __call__(self, x):
    ...         return self.head(nnx.relu(self.hidden(x)))
    >>> read = layer_inputs(Net(nnx.Rngs(0)), "head", jnp.ones((7, 4)))
    >>> read.features.shape, read.readout.shape
    ((7, 50), (3, 50))
"""

from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from flax.errors import TraceContextError
from jaxtyping import Array

from theorysim.networks.mlp import MLP
from theorysim.numerics.validation import positive_int

__all__ = ["LayerInputs", "layer_inputs"]

_KEPT = "_kept_inputs"
# Paths that an error lists.
_LISTED = 20


class LayerInputs(NamedTuple):
    """What a layer reads.

    Attributes:
        features: the first argument of the layer, as the model gives it, (..., p).
        readout: its matrix, (C, p): outputs are `features @ readout.T`, plus a bias; None for a layer that is
            no matrix.
    """

    features: Array
    readout: Array | None


def layer_inputs(
    model: nnx.Module,
    layer: str | nnx.Module | None,
    *inputs: Any,
    call: int | None = None,
    **options: Any,
) -> LayerInputs:
    """The inputs that a submodule gets when the model is called, and its matrix if it is linear.

    Args:
        model: any NNX model; it stays as it is, batch statistics and counters of random keys included.
        layer: path of the submodule, names and indices joined by dots; or the submodule itself; or None for
            the readout of a model with methods `features(x)` and `readout()`.
        inputs: what the model is called with.
        call: which of several calls of the submodule, from 0; needed if there are several (static).
        options: keyword arguments of the model's call.

    Returns:
        LayerInputs, in the dtype of the model. Under `jit` and `grad` as well; outside of them the model is
        run without being compiled. Call `model.eval()` first if it has modes.

    Raises:
        ValueError: a path that does not exist, a submodule that the call does not reach, or reaches several
            times without `call`, or inside of `jax.vmap` or `jax.lax.scan`; the message lists what there is.

    Example:
        >>> import jax
        >>> model = MLP((2, 5, 3), activation=jnp.tanh, weight_std=(1.0, 0.5), rngs=nnx.Rngs(0))
        >>> read = layer_inputs(model, None, jnp.ones((4, 2)))
        >>> bool(jnp.allclose(read.features @ read.readout.T, model(jnp.ones((4, 2)))))
        True
        >>> layer_inputs(model, "layers.1", jnp.ones((4, 2)))
        Traceback (most recent call last):
        ValueError: layer must be a submodule of MLP, one of 'weights.0', 'weights.1', got 'layers.1'
    """
    if isinstance(model, MLP) and isinstance(layer, str):
        return _of_mlp(model, layer, *inputs)
    if layer is None:
        return _of_methods(model, *inputs, **options)
    path = _path(model, layer)
    copy = nnx.merge(*nnx.split(model), copy=True)
    part = _submodule(copy, path)
    # Only this copy keeps its inputs: its class is one of ours, in all else the same.
    object.__setattr__(part, "__class__", _keeping(type(part)))
    setattr(part, _KEPT, nnx.Intermediate(()))
    try:
        copy(*inputs, **options)  # pyright: ignore[reportCallIssue]
    except TraceContextError as error:
        raise ValueError(
            f"layer must be called by the model itself, got {path!r}, which it maps by a transformation of "
            "JAX: use one of NNX, or a layer outside of it"
        ) from error
    kept = getattr(part, _KEPT).get_value()
    return LayerInputs(_chosen(kept, call, path, model), _matrix(part))


def _of_methods(model, *inputs, **options):
    features: Any = getattr(model, "features", None)
    readout: Any = getattr(model, "readout", None)
    # A submodule of that name is callable, too.
    if not callable(features) or not callable(readout) or isinstance(readout, nnx.Module):
        raise ValueError(
            f"layer must be given for {type(model).__name__}, which has no methods features(x) and "
            f"readout(): one of {_listed(model)}, got None"
        )
    read, matrix = features(*inputs, **options), readout()
    return LayerInputs(read, matrix)  # pyright: ignore[reportArgumentType]


def _of_mlp(model, layer, x):
    names = [f"weights.{i}" for i in range(len(model.weights))]
    if layer not in names:
        shown = ", ".join(map(repr, names))
        raise ValueError(
            f"layer must be a submodule of {type(model).__name__}, one of {shown}, got {layer!r}"
        )
    index = names.index(layer)
    features = jnp.asarray(x, model.dtype)
    if index:
        features = model.activation(model.preactivations(x)[index - 1])
    matrix = model.weights[index][...].T
    if model.multipliers is not None:
        matrix = model.multipliers[...][index] * matrix
    return LayerInputs(features, matrix)


def _path(model, layer) -> str:
    if isinstance(layer, str):
        if layer not in (known := _paths(model)) and _submodule(model, layer) is None:
            listed = _listed(model, known)
            raise ValueError(
                f"layer must be a submodule of {type(model).__name__}, one of {listed}, got {layer!r}"
            )
        return layer
    for path, part in nnx.iter_modules(model):
        if part is layer and path:
            return ".".join(map(str, path))
    raise ValueError(
        f"layer must be a submodule of {type(model).__name__}, one of {_listed(model)}, got a "
        f"{type(layer).__name__} that is none of them"
    )


def _submodule(model, path: str) -> Any:
    """The module at a path, by any of its names; None if there is none."""
    part: Any = model
    for name in path.split("."):
        if name.isdigit() and hasattr(part, "__getitem__"):
            part = part[int(name)] if int(name) < len(part) else None
        elif isinstance(part, dict | nnx.Dict):
            part = part.get(name)
        else:
            part = getattr(part, name, None)
        if part is None:
            return None
    return part if isinstance(part, nnx.Module) and part is not model else None


def _paths(model) -> list[str]:
    found = [path for path, part in nnx.iter_modules(model) if path and callable(part)]
    return sorted(".".join(map(str, path)) for path in found)


def _listed(model, known: list[str] | None = None) -> str:
    known = _paths(model) if known is None else known
    shown = ", ".join(map(repr, known[:_LISTED]))
    return (shown + (", ..." if len(known) > _LISTED else "")) or "none"


def _chosen(kept, call, path, model):
    if not kept:
        raise ValueError(
            f"layer must be called by the model, got {path!r}, which this call of {type(model).__name__} "
            f"does not reach; its submodules are {_listed(model)}"
        )
    if call is None:
        if len(kept) > 1:
            raise ValueError(
                f"call must be an integer in [0, {len(kept) - 1}], since {path!r} is called {len(kept)} "
                "times, got None"
            )
        return kept[0]
    return kept[positive_int(call, "call", minimum=0, maximum=len(kept) - 1)]


def _matrix(part):
    return part.kernel[...].T if isinstance(part, nnx.Linear) else None


@cache
def _keeping(kind: type) -> type:
    """A subclass whose instances keep the first argument of every call."""

    def __call__(self, *args, **kwargs):
        value = args[0] if args else next(iter(kwargs.values()))
        kept = getattr(self, _KEPT)
        kept.set_value((*kept.get_value(), value))
        return kind.__call__(self, *args, **kwargs)

    return type(kind.__name__, (kind,), {"__call__": __call__, "__module__": kind.__module__})
