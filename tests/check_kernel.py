"""One suite of properties that every public kernel passes.

A kernel is a pure function of arrays. Called on one point it must

1. return the dtype it was given: float32 for float32, float64 for float64;
2. compute the same under `jit`;
3. under `vmap`, compute what a loop over the points computes;
4. in float32 come close to what it computes in float64;
5. where it is smooth, have the gradient that finite differences have;
6. refuse bad input with a ValueError that names the argument.

That its docstring has an example which runs is for `test_docstrings` to see. Each call compiles some five
programs, which is where the time goes.

Example:
    def test_entropy_is_a_kernel():
        p = jnp.array([0.2, 0.3, 0.5])
        check_kernel(entropy, p, static=dict(base=2), bad=[dict(p=[0.5, 0.6]), dict(base=0)])
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np

__all__ = ["check_kernel"]

# A real dtype and the complex one of the same precision.
FLOATS = {jnp.dtype(jnp.float32): jnp.dtype(jnp.complex64), jnp.dtype(jnp.float64): jnp.dtype(jnp.complex128)}


def check_kernel(
    fn: Callable[..., Any],
    *args: Any,
    static: Mapping[str, Any] | None = None,
    key: jax.Array | None = None,
    points: Sequence[tuple[Any, ...]] = (),
    bad: Sequence[Mapping[str, Any]] = (),
    smooth: bool = True,
    wrt: Sequence[int] | None = None,
    rtol: float = 1e-11,
    grad_rtol: float = 1e-6,
    float32_rtol: float = 1e-4,
) -> None:
    """Raise AssertionError, naming the property, if `fn(*args, **static)` breaks one of the six above.

    Errors are measured against the largest entry of each output, so that a small entry which is the
    difference of large ones is not asked for digits that its inputs do not hold.

    Args:
        fn: the public function, as users import it.
        *args: its array arguments at one interior point (float64 arrays, or pytrees of them), in the order of
            its signature without the names in `static` and without `key`.
        static: its other arguments, by name: sizes, kinds, flags.
        key: given to `fn` as `key`. Its samples are not compared between dtypes, since the bits differ.
        points: further argument tuples of the same shapes, batched with `args` in the `vmap` check. Without
            them `args` is batched with its reversal along the last axis.
        bad: one mapping per bad call, from argument name to bad value. The first name is the culprit, which
            the error must name; lists stand for float64 arrays.
        smooth: whether the gradient exists at `args`. The check moves every entry by up to 0.5 % of its size.
        wrt: positions of the differentiated arguments; by default all that hold only floats.
        rtol: for `jit` and `vmap`, which may only change the order of rounding.
        grad_rtol: for the directional derivatives.
        float32_rtol: for float32 against float64.
    """
    args = jax.tree.map(jnp.asarray, args)
    fixed = dict(static or {}) | ({} if key is None else {"key": key})
    names = [name for name in inspect.signature(fn).parameters if name not in fixed][: len(args)]

    def bound(*args, **other):
        return fn(**dict(zip(names, args, strict=True)) | fixed | other)

    eager = {dtype: bound(*_cast(args, dtype)) for dtype in FLOATS}
    exact = eager[jnp.dtype(jnp.float64)]
    if any(_is_float(leaf) for leaf in jax.tree.leaves(args)):
        _check_dtype(eager)
    jitted = jax.jit(bound)
    _compare("jit = eager", jitted(*args), exact, rtol)
    _check_vmap(bound, args, points, key, rtol)
    if key is None:
        _compare("float32 close to float64", eager[jnp.dtype(jnp.float32)], exact, float32_rtol)
    if smooth:
        positions = [i for i, arg in enumerate(args) if _only_floats(arg)] if wrt is None else wrt
        _check_grad(bound, jitted, exact, args, names, positions, grad_rtol)
    for changes in bad:
        _check_bad_input(fn, dict(zip(names, args, strict=True)) | fixed, changes)


def _check_dtype(eager):
    for dtype, out in eager.items():
        for name, leaf in _leaves(out):
            if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.dtype not in (dtype, FLOATS[dtype]):
                _fail("dtype follows input", f"{dtype} in, {leaf.dtype} out{name}")


def _check_vmap(fn, args, points, key, rtol):
    points = [args, *(points or [jax.tree.map(lambda x: x[..., ::-1] if x.ndim else x, args)])]
    points = [jax.tree.map(jnp.asarray, tuple(point)) for point in points]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)
    if key is None:
        loop = [fn(*point) for point in points]
        mapped = jax.vmap(fn)(*batch) if args else None
    else:
        keys = jax.random.split(key, len(points))
        loop = [fn(*point, key=k) for point, k in zip(points, keys, strict=True)]
        mapped = jax.vmap(lambda k, point: fn(*point, key=k))(keys, batch)
    if mapped is not None:
        _compare("vmap = loop", mapped, jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop), rtol)


def _check_grad(fn, jitted, exact, args, names, positions, rtol):
    property_ = "grad = finite difference"
    generator = np.random.default_rng(0)
    weights = [
        generator.normal(size=leaf.shape) / max(float(jnp.max(jnp.abs(leaf), initial=0.0)), 1e-300)
        for _, leaf in _leaves(exact)
        if _is_float(leaf)
    ]
    if not weights or not positions:
        _fail(property_, "nothing to differentiate: no floating output or argument; pass smooth=False")

    def weighted(out):
        floats = [leaf for leaf in jax.tree.leaves(out) if _is_float(leaf)]
        return sum((w * leaf).sum() for w, leaf in zip(weights, floats, strict=True))

    def put(changed):
        changes = dict(zip(positions, changed, strict=True))
        return [changes.get(i, arg) for i, arg in enumerate(args)]

    # One program for all arguments. Traced, a point just off the domain (probabilities that no longer sum to
    # one) is not refused.
    gradients = jax.jit(jax.grad(lambda changed: weighted(fn(*put(changed)))))([args[i] for i in positions])
    for i, gradient in zip(positions, gradients, strict=True):
        direction = jax.tree.map(
            lambda x: generator.normal(size=x.shape) * np.where(x == 0, 1, np.abs(x)), args[i]
        )
        size = max(float(np.max(np.abs(v), initial=0.0)) for v in jax.tree.leaves(direction))
        h = 2e-3 * min(1.0, 1 / size) if size else 0.0

        def moved(t, x=args[i], v=direction):
            return jax.tree.map(lambda start, way: jnp.asarray(start + t * way), x, v)

        slopes = jax.tree.map(lambda g, v: np.sum(np.asarray(g) * v), gradient, direction)
        slope = float(sum(jax.tree.leaves(slopes)))
        # Five points: the error is h^4 times the fifth derivative.
        points = {k: [moved(k * h) if j == i else a for j, a in enumerate(args)] for k in (-2, -1, 1, 2)}
        f = {k: float(weighted(jax.tree.map(np.asarray, jitted(*point)))) for k, point in points.items()}
        estimate = (f[-2] - 8 * f[-1] + 8 * f[1] - f[2]) / (12 * h)
        rounding = 1e-14 * max(map(abs, f.values())) / h
        if not abs(slope - estimate) <= rtol * max(abs(slope), abs(estimate)) + rounding:
            _fail(property_, f"{names[i]}: gradient gives {slope:.10g}, differences give {estimate:.10g}")


def _check_bad_input(fn, arguments, changes):
    culprit, value = next(iter(changes.items()))
    unknown = set(changes) - set(inspect.signature(fn).parameters)
    if unknown:
        _fail("bad input raises", f"no argument is called {', '.join(sorted(unknown))}")
    changed = {k: jnp.asarray(v, jnp.float64) if isinstance(v, list) else v for k, v in changes.items()}
    try:
        try:
            fn(**arguments | changed)
        except jaxtyping.TypeCheckError:
            # Only tests check annotations: what users get is the function's own error.
            inspect.unwrap(fn)(**arguments | changed)
    except ValueError as error:
        if not re.search(rf"\b{re.escape(culprit)}\b", str(error)):
            _fail("bad input raises", f"{culprit}={value!r} gave an error that does not name it: {error}")
    except Exception as error:
        _fail("bad input raises", f"{culprit}={value!r} gave {type(error).__name__}, not ValueError: {error}")
    else:
        _fail("bad input raises", f"{culprit}={value!r} was accepted")


def _compare(property_, got, expected, rtol):
    if jax.tree.structure(got) != jax.tree.structure(expected):
        _fail(property_, f"structure {jax.tree.structure(got)} is not {jax.tree.structure(expected)}")
    for (name, a), (_, b) in zip(_leaves(got), _leaves(expected), strict=True):
        if a.shape != b.shape:
            _fail(property_, f"shape {a.shape} is not {b.shape}{name}")
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            if not np.array_equal(a, b):
                _fail(property_, f"{a} is not {b}{name}")
            continue
        wide = np.complex128 if jnp.issubdtype(a.dtype, jnp.complexfloating) else np.float64
        x, y = np.asarray(a).astype(wide), np.asarray(b).astype(wide)
        finite = np.isfinite(y)
        if not np.array_equal(x[~finite], y[~finite], equal_nan=True) or not np.isfinite(x[finite]).all():
            _fail(property_, f"infinities or NaN differ: {x} is not {y}{name}")
        error, scale = (np.max(np.abs(z[finite]), initial=0.0) for z in (x - np.where(finite, y, 0), y))
        if error > rtol * scale:
            _fail(property_, f"relative error {error / scale if scale else np.inf:.2e} > {rtol:g}{name}")


def _leaves(tree):
    """Pairs of (where the leaf is, as the end of a sentence; the leaf as an array)."""
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [(f" in output {jax.tree_util.keystr(path)}" if path else "", jnp.asarray(x)) for path, x in pairs]


def _cast(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if _is_float(x) else x, tree)


def _is_float(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


def _only_floats(tree):
    leaves = jax.tree.leaves(tree)
    return bool(leaves) and all(_is_float(leaf) for leaf in leaves)


def _fail(property_, detail):
    raise AssertionError(f"{property_}: {detail}")
