r"""Adapters as files: what trains of an adapted model, without its base.

A file holds every `nnx.Param` of the model under its path (A and B of each adapted layer, and what was left
to train beside them), the scale of each layer, and, for starts that change the base ("both", "svd"), its
kernel. A name that ends in ".safetensors" makes one file of that format (extra `text`); any other a folder
written by Orbax.

Example:
    >>> from tempfile import TemporaryDirectory
    >>> from theorysim.networks.lora import adapt
    >>> base = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 2, rngs=nnx.Rngs(0)))
    >>> model = adapt(base, "layers.0", rank=2, init="b", rngs=nnx.Rngs(1))
    >>> with TemporaryDirectory() as folder:
    ...     save_adapters(model, f"{folder}/adapter")
    ...     again = load_adapters(base, f"{folder}/adapter")
    >>> bool((again(jnp.ones((3, 4))) == model(jnp.ones((3, 4)))).all())
    True
"""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from theorysim.networks.lora import Frozen, LoRALinear, adapted_layers, install

__all__ = ["load_adapters", "save_adapters"]

_SUFFIX = ".safetensors"


def save_adapters(model: nnx.Module, path: str | os.PathLike[str]) -> None:
    """Write the adapters of a model, and whatever else of it trains.

    Args:
        model: from `adapt`. Merged layers are saved as if they were not.
        path: of the file, which is replaced at once or not at all, or of a folder that is not there yet.

    Raises:
        ValueError: no adapted layers.
        FileExistsError: a folder of that name is there.
        FileNotFoundError: the folder it would be in is not there.
        ImportError: the package `safetensors` is not installed.

    Example:
        >>> save_adapters(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), "adapter")
        Traceback (most recent call last):
        ValueError: model must hold LoRALinear layers, got none: adapt(model, where, ...) makes them
    """
    layers = adapted_layers(model)
    params = nnx.to_flat_state(nnx.state(model, nnx.Param))
    arrays = {".".join(map(str, place)): np.asarray(variable.get_value()) for place, variable in params}
    for name, layer in layers.items():
        arrays[f"{name}.scale"] = np.asarray(layer.scale.get_value())
        if layer.moved_base:
            arrays[f"{name}.kernel"] = np.asarray((layer.kept or layer.base.kernel).get_value())
    path = Path(path).absolute()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must be in a folder that exists, got {path}")
    if path.suffix == _SUFFIX:
        _need_safetensors("save_adapters")
        from safetensors.numpy import save_file

        half = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, half)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
        return
    if path.exists():
        raise FileExistsError(f"path must not exist, or end in {_SUFFIX}, got {path}")
    import orbax.checkpoint

    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, arrays)


def load_adapters(base: nnx.Module, path: str | os.PathLike[str]) -> Any:
    """A copy of the base with the adapters of a file: the model that was saved.

    Args:
        base: the model that was adapted, as it was before; it stays as it is.
        path: of a file or folder written by `save_adapters`.

    Returns:
        The copy, its layers not merged.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: what it holds does not fit the base, or it is no such file.
        ImportError: the package `safetensors` is not installed.

    Example:
        >>> load_adapters(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), "none.safetensors")
        Traceback (most recent call last):
        FileNotFoundError: path must be that of saved adapters, got none.safetensors ...
    """
    arrays = _read(path)
    base = nnx.clone(base)
    linear = {".".join(map(str, p)): m for p, m in nnx.iter_modules(base) if isinstance(m, nnx.Linear)}
    layers, used = {}, set()
    for name in sorted(key.removesuffix(".lora_a") for key in arrays if key.endswith(".lora_a")):
        if name not in linear:
            raise ValueError(f"base must have the linear layer {name!r} of {path}, got none")
        layers[name] = _layer(linear[name], name, arrays, path)
        used |= {f"{name}.{part}" for part in ("lora_a", "lora_b", "scale", "kernel")}
    if not layers:
        raise ValueError(f"path must be that of saved adapters, got {path}, which holds none")
    params = {".".join(map(str, p)): v for p, v in nnx.to_flat_state(nnx.state(base, nnx.Param))}
    others = arrays.keys() - used
    for name in sorted(others):
        found = params[name].get_value() if name in params else None
        if found is None or found.shape != arrays[name].shape:
            have = "none" if found is None else f"one of shape {found.shape}"
            raise ValueError(
                f"base must have a parameter {name!r} of shape {arrays[name].shape}, like {path}, got {have}"
            )
    install(base, layers, others)
    for where, variable in nnx.to_flat_state(nnx.state(base, nnx.Param)):
        name = ".".join(map(str, where))
        if name in others:
            nnx.update(base, nnx.from_flat_state([(where, variable.replace(jnp.asarray(arrays[name])))]))
    return base


def _layer(linear: nnx.Linear, name: str, arrays: Mapping[str, np.ndarray], path: Any) -> LoRALinear:
    n_in, n_out = linear.in_features, linear.out_features
    rank = len(arrays[f"{name}.lora_a"])
    wanted = {"lora_a": (rank, n_in), "lora_b": (n_out, rank), "scale": (), "kernel": (n_in, n_out)}
    for part, shape in wanted.items():
        found = arrays.get(f"{name}.{part}")
        if found is None and part != "kernel":
            raise ValueError(f"path must be that of saved adapters, got {path} without {name}.{part}")
        if found is not None and found.shape != shape:
            raise ValueError(
                f"base must fit {path}: {name}.{part} has shape {found.shape} there, and {shape} is needed"
            )
    layer = LoRALinear(linear, rank=rank, rngs=nnx.Rngs(0))
    layer.lora_a = nnx.LoRAParam(jnp.asarray(arrays[f"{name}.lora_a"]))
    layer.lora_b = nnx.LoRAParam(jnp.asarray(arrays[f"{name}.lora_b"]))
    layer.scale = Frozen(jnp.asarray(arrays[f"{name}.scale"]))
    if f"{name}.kernel" in arrays:
        layer.moved_base = True
        layer.base.kernel = Frozen(jnp.asarray(arrays[f"{name}.kernel"]))
    return layer


def _read(path) -> Mapping[str, np.ndarray]:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"path must be that of saved adapters, got {path} (save_adapters writes them)"
        )
    if path.suffix == _SUFFIX:
        _need_safetensors("load_adapters")
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"path must be that of saved adapters, got {path} ({error})") from None
    import orbax.checkpoint

    try:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            return {name: np.asarray(array) for name, array in checkpointer.restore(path.absolute()).items()}
    except (FileNotFoundError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"path must be that of saved adapters, got {path} ({said})") from None


def _need_safetensors(who: str) -> None:
    if importlib.util.find_spec("safetensors") is None:
        raise ImportError(
            f'{who} needs the package safetensors for {_SUFFIX} files: pip install "theorysim[text]"; '
            "any other name makes a folder that Orbax writes"
        )
