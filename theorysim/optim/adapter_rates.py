r"""LoRA+: the two factors of low-rank adapters trained at two rates, by any optimizer.

    A at rate eta,    B at rate ratio * eta,    all else not at all, unless a rate is asked for it.

Leaves of a parameter tree are told apart by their path, written with dots: A if its last parts hold "lora_a",
B if "lora_b", in any case (`lora_a`, `lora_A.weight`, `LoRA_A`). `lora_labels` lists what would train, before
anything does; pass what it returns as `labels` and no other leaf can slip in later.

Reference: S. Hayou, N. Ghosh, B. Yu, "LoRA+: Efficient Low Rank Adaptation of Large Models" (2024), arXiv
2402.12354. Ratio 16 is its default with Adam; theory asks for a ratio that grows like the width, and bounds
the product of the two rates alone (`theorysim.lora_plus`).

Example:
    >>> params = {"q": {"kernel": jnp.ones((8, 8)), "lora_a": jnp.ones((2, 8)), "lora_b": jnp.zeros((8, 2))}}
    >>> labels = lora_labels(params)
    >>> print(labels)
    q.kernel  (8, 8)  frozen
    q.lora_a  (2, 8)  a
    q.lora_b  (8, 2)  b
    32 of 96 numbers train
    >>> optimizer = lora_plus(optax.sgd, 0.5, ratio=4, labels=labels)
    >>> gradient = jax.tree.map(jnp.ones_like, params)
    >>> updates, _ = optimizer.update(gradient, optimizer.init(params))
    >>> [float(updates["q"][name].min()) for name in ("kernel", "lora_a", "lora_b")]
    [0.0, -0.5, -2.0]
"""

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

from theorysim.numerics.validation import real, scalar

__all__ = ["LoRALabels", "lora_labels", "lora_plus"]

_FROZEN = "frozen"
# Paths that an error lists.
_LISTED = 10


class LoRALabels(NamedTuple):
    """What trains at which rate; printed, a line for each leaf.

    Attributes:
        tree: the parameter tree with a label in the place of each leaf: "a", "b", a pattern, or "frozen".
        rows: path, shape and label of each leaf.
    """

    tree: PyTree[str]
    rows: tuple[tuple[str, tuple[int, ...], str], ...]

    def __str__(self) -> str:
        """A table, and how many numbers train."""
        wide = [max(len(str(row[i])) for row in self.rows) for i in (0, 1)]
        lines = [f"{path:{wide[0]}}  {shape!s:{wide[1]}}  {label}" for path, shape, label in self.rows]
        sizes = {label: 0 for _, _, label in self.rows}
        for _, shape, label in self.rows:
            sizes[label] += int(np.prod(shape))
        trained = sum(size for label, size in sizes.items() if label != _FROZEN)
        return "\n".join([*lines, f"{trained:,} of {sum(sizes.values()):,} numbers train"])


def lora_labels(
    params: Any,
    *,
    is_a: Callable[[str], bool] | None = None,
    is_b: Callable[[str], bool] | None = None,
    others: Mapping[str, ArrayLike] | None = None,
) -> LoRALabels:
    """Say of each leaf whether it is an A, a B, trained otherwise, or frozen. Nothing is computed.

    Args:
        params: any parameter tree: an NNX state, a Linen dict, of arrays or of shapes.
        is_a: whether a path is that of a factor A; by default whether its last two parts hold "lora_a".
        is_b: likewise for B, "lora_b".
        others: patterns over paths ("head.*") of other leaves that train; its values are used by `lora_plus`.

    Returns:
        LoRALabels.

    Raises:
        ValueError: no A, no B, a leaf that is both, or a pattern without a leaf (the leaves are listed).

    Example:
        >>> print(lora_labels({"down": jnp.ones(2), "up": jnp.ones(3)}, is_a="down".__eq__, is_b="up".__eq__))
        down  (2,)  a
        up    (3,)  b
        5 of 5 numbers train
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    paths = [_dotted(path) for path, _ in leaves]
    is_a, is_b = is_a or _named("lora_a"), is_b or _named("lora_b")
    patterns = tuple(others or ())
    labels = []
    for path in paths:
        fits = [name for name, test in (("a", is_a), ("b", is_b)) if test(path)]
        fits += [pattern for pattern in patterns if fnmatch.fnmatchcase(path, pattern)]
        if len(fits) > 1:
            raise ValueError(f"params must have one label a leaf, got {' and '.join(fits)} for {path!r}")
        labels.append(fits[0] if fits else _FROZEN)
    for wanted in ("a", "b", *patterns):
        if wanted not in labels:
            what = (
                f"a leaf for {wanted!r} of others" if wanted in patterns else f"LoRA factors {wanted.upper()}"
            )
            remedy = "" if wanted in patterns else "; say which they are by is_a and is_b"
            listed = ", ".join(paths[:_LISTED]) + (", ..." if len(paths) > _LISTED else "")
            raise ValueError(f"params must hold {what}, got none among: {listed or 'no leaf'}{remedy}")
    rows = tuple(
        (p, np.shape(leaf), label) for p, (_, leaf), label in zip(paths, leaves, labels, strict=True)
    )
    return LoRALabels(jax.tree_util.tree_unflatten(structure, labels), rows)


def lora_plus(
    base: Callable[[Any], optax.GradientTransformation],
    learning_rate: ArrayLike | optax.Schedule,
    *,
    ratio: ArrayLike = 16.0,
    is_a: Callable[[str], bool] | None = None,
    is_b: Callable[[str], bool] | None = None,
    others: Mapping[str, ArrayLike] | None = None,
    labels: LoRALabels | None = None,
) -> optax.GradientTransformation:
    """Train A by `base(learning_rate)` and B by `base(ratio * learning_rate)`; freeze what is neither.

    The steps are those of these optimizers built by hand, to the last bit. Each sees its own leaves alone: a
    clipping by global norm inside `base` clips them apart; chained before, it clips them together.

    Args:
        base: makes an optimizer of a rate, such as `optax.adamw` or `partial(optax.adamw, weight_decay=0.1)`.
        learning_rate: eta >= 0, a scalar that may be traced, or a schedule.
        ratio: > 0, a scalar that may be traced.
        is_a: see `lora_labels`.
        is_b: see there.
        others: patterns over paths of other leaves that train, and their rates in units of eta, such as
            {"head.*": 1.0}.
        labels: as confirmed, from `lora_labels` with the same `others`; by default made of what is trained.

    Returns:
        An optax transformation; frozen leaves have updates of 0 and no state.

    Raises:
        ValueError: a rate or ratio out of its range. At `init`: as `lora_labels`, or parameters that are not
            those of the labels.

    Example:
        >>> params = {"lora_a": jnp.ones(2), "lora_b": jnp.ones(2)}
        >>> optimizer = lora_plus(optax.adam, 1e-3, ratio=16)
        >>> updates, _ = optimizer.update(params, optimizer.init(params))
        >>> [f"{float(updates[name][0]):.3f}" for name in ("lora_a", "lora_b")]
        ['-0.001', '-0.016']
    """
    real(scalar(ratio, "ratio"), "ratio", low=0, low_open=True, high_open=True)
    if not callable(learning_rate):
        real(scalar(learning_rate, "learning_rate"), "learning_rate", low=0, high_open=True)
    others = dict(others or {})
    for pattern, factor in others.items():
        name = f"others[{pattern!r}]"
        real(scalar(factor, name), name, low=0, high_open=True)
    parts: dict[Any, optax.GradientTransformation]
    parts = {"a": base(learning_rate), "b": base(_times(ratio, learning_rate)), _FROZEN: optax.set_to_zero()}
    parts |= {pattern: base(_times(factor, learning_rate)) for pattern, factor in others.items()}
    if labels is not None and (unknown := {label for _, _, label in labels.rows} - parts.keys()):
        raise ValueError(f"labels must be made with the same others, got {', '.join(sorted(unknown))!r}")

    def tree(params):
        if labels is None:
            return lora_labels(params, is_a=is_a, is_b=is_b, others=others).tree
        # By path: variables of NNX and their arrays are the same leaves in trees of another structure.
        known = {path: label for path, _, label in labels.rows}
        leaves, structure = jax.tree_util.tree_flatten_with_path(params)
        paths = [_dotted(path) for path, _ in leaves]
        if more := sorted(set(paths) ^ known.keys()):
            where = "params" if more[0] in paths else "labels"
            raise ValueError(f"params must have the leaves of labels, got {more[0]!r} in {where} alone")
        return jax.tree_util.tree_unflatten(structure, [known[path] for path in paths])

    return optax.partition(parts, tree)


def _times(factor, rate):
    if callable(rate):
        return lambda count: factor * rate(count)
    return jnp.asarray(factor) * rate if isinstance(factor, jax.Array) else factor * rate


def _named(word):
    pattern = re.compile(rf"(^|[._/]){word}([._/][^._/]*)?$", re.IGNORECASE)
    return lambda path: pattern.search(path) is not None


def _dotted(path):
    text = jax.tree_util.keystr(path, simple=True, separator=".")
    # What a variable of NNX adds to the path of its array.
    return text.removesuffix(".value")
