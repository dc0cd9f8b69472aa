"""Reading `config.json` and `model.safetensors` of BERT-type encoders: their names, and what is wrong.

A place is the dotted path of a parameter among our modules, such as `layers.0.attention.query.kernel`.

Example:
    >>> _tensor_name("layers.0.attention.query.kernel")
    'encoder.layer.0.attention.self.query.weight'
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_sizes", "read_tensors"]

_SIZES = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "epsilon": "layer_norm_eps",
}
# Absent means this one; any other is another network.
_KIND = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}

_MODULES = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "segment_embedding": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


def read_sizes(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the sizes in a folder's `config.json`, by our names; its errors are those of `load_encoder`.

    Example:
        >>> read_sizes("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: folder must hold a config.json, got no/such/folder
    """
    path = _file(folder, "config.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sizes = {ours: content[theirs] for ours, theirs in _SIZES.items()}
    except (ValueError, TypeError) as error:
        raise ValueError(f"folder must hold a config.json of an encoder, got {path} ({error})") from None
    except KeyError as error:
        raise ValueError(
            f"folder must hold a config.json of an encoder, got {path} without {error}"
        ) from None
    for name, only in _KIND.items():
        if content.get(name, only) != only:
            raise ValueError(f"{name} must be {only!r}, got {content[name]!r} in {path}")
    return sizes


def read_tensors(
    folder: str | os.PathLike[str], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return the arrays of a folder's `model.safetensors` by place, each of the shape given for it.

    Example:
        >>> read_tensors("no/such/folder", {"embedding_norm.bias": (384,)})
        Traceback (most recent call last):
        FileNotFoundError: folder must hold a model.safetensors, got no/such/folder
    """
    path = _file(folder, "model.safetensors")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError(
            'load_encoder needs the package safetensors: pip install "theorysim[text]"'
        ) from None
    arrays = {}
    try:
        with safe_open(str(path), framework="np") as tensors:
            names = set(tensors.keys())
            for place, shape in shapes.items():
                name = _tensor_name(place)
                if name not in names:
                    raise ValueError(f"model.safetensors must hold the tensor {name}, got {path} without it")
                tensor = tensors.get_tensor(name)
                # Their linear maps are stored as (out, in), ours as (in, out).
                turn = np.transpose if place.endswith(".kernel") else np.asarray
                if turn(tensor).shape != shape:
                    want = shape[::-1] if turn is np.transpose else shape
                    raise ValueError(f"{name} must have shape {want}, got {tensor.shape} in {path}")
                arrays[place] = turn(tensor)
    except SafetensorError as error:
        raise ValueError(f"folder must hold a valid model.safetensors, got {path} ({error})") from None
    return arrays


def _tensor_name(place: str) -> str:
    module, _, leaf = place.rpartition(".")
    prefix = ""
    if module.startswith("layers."):
        _, number, module = module.split(".", 2)
        prefix = f"encoder.layer.{number}."
    return f"{prefix}{_MODULES[module]}.{'bias' if leaf == 'bias' else 'weight'}"


def _file(folder: str | os.PathLike[str], name: str) -> Path:
    path = Path(folder) / name
    if not path.is_file():
        raise FileNotFoundError(f"folder must hold a {name}, got {os.fspath(folder)}")
    return path
