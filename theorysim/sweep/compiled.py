"""One compiled program per case: `jit(shard_map(vmap(fn)))` over a one-axis mesh of devices.

Each device computes `batch` points by the same local program, so a point's bits depend on the backend and on
`batch`, not on how many devices there are, which one computes it or in which order. Programs are compiled
ahead of time, so that their memory is known before they run, and a bounded number is kept, so that the same
sweep asked twice compiles once.

Example:
    >>> kernel = Kernel(lambda x: x * x, (), (Input("x", (), "float32"),), None, "", "")
    >>> [variable.name for variable in variables(kernel, current_settings())]
    ['value']
"""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from theorysim.sweep.grid import Case, describe

Devices = tuple[Any, ...]
"""Of `jax.Device`, a name that type checkers take for a variable."""

__all__ = [
    "Devices",
    "Executable",
    "Input",
    "Kernel",
    "Settings",
    "Variable",
    "compute",
    "current_settings",
    "executable",
    "variables",
]


class Input(NamedTuple):
    """One traced argument of a point."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Kernel(NamedTuple):
    """What is compiled: a function, its static arguments, and the shapes of its traced ones."""

    fn: Callable[..., Any]
    case: Case
    inputs: tuple[Input, ...]
    key_impl: str | None
    """The random generator's name, or None when `fn` takes no key."""
    case_repr: str
    """Tells 1 from 1.0 and True, which are equal and hash alike, in the cache of programs."""
    content: str
    """The digest of `fn`: a program is not used again when something that `fn` refers to has changed."""


class Settings(NamedTuple):
    """The settings of JAX that change numbers; a worker process takes over those of its caller."""

    x64: bool
    matmul_precision: str | None
    threefry_partitionable: bool

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within it, this thread computes under these settings."""
        precision = jax.default_matmul_precision(self.matmul_precision)
        with jax.enable_x64(self.x64), precision, jax.threefry_partitionable(self.threefry_partitionable):
            yield


class Variable(NamedTuple):
    """One named output of a point, without the axes of the sweep."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


class Executable(NamedTuple):
    """A compiled program and the bytes it needs per device: arguments, outputs and temporaries."""

    call: Callable[..., Any]
    bytes: int


def current_settings() -> Settings:
    """The settings of the calling thread."""
    config: Any = jax.config  # its options are unknown to type checkers
    return Settings(
        bool(config.jax_enable_x64),
        config.jax_default_matmul_precision,
        bool(config.jax_threefry_partitionable),
    )


@functools.lru_cache(maxsize=256)
def variables(kernel: Kernel, settings: Settings) -> tuple[Variable, ...]:
    """Names, shapes and dtypes of what one point returns; traces `fn`, compiles nothing.

    Raises:
        ValueError: `fn` returns nothing, or two outputs of one name.
        TypeError: an output is a random key.
        Exception: whatever `fn` raises when traced, with a note that names the case.
    """
    columns = {given.name: jax.ShapeDtypeStruct(given.shape, given.dtype) for given in kernel.inputs}
    index = jax.ShapeDtypeStruct((), np.uint32)
    with settings.active(), _noting(kernel):
        paths, _ = jax.tree_util.tree_flatten_with_path(
            jax.eval_shape(_point_function(kernel), columns, index, _key_shape(kernel))
        )
        found = tuple(_variable(path, leaf) for path, leaf in paths)
        names = [variable.name for variable in found]
        if not names:
            raise ValueError("fn must return at least one array, got none")
        if len(set(names)) < len(names):
            raise ValueError(f"the outputs of fn must have distinct names, got {names}")
    return found


def executable(kernel: Kernel, batch: int, devices: Devices, settings: Settings) -> Executable:
    """Compile `kernel` for `batch` points on each of `devices`; threads that ask at once compile once."""
    with _turn(kernel, batch, devices, settings):
        return _executable(kernel, batch, devices, settings)


@functools.lru_cache(maxsize=64)
def _turn(kernel: Kernel, batch: int, devices: Devices, settings: Settings) -> threading.Lock:
    """What a thread holds while it compiles this program, or looks whether it is there."""
    return threading.Lock()


@functools.lru_cache(maxsize=64)
def _executable(kernel: Kernel, batch: int, devices: Devices, settings: Settings) -> Executable:
    mesh = Mesh(np.asarray(devices), ("points",), axis_types=(AxisType.Auto,))
    split, whole = PartitionSpec("points"), PartitionSpec()
    point = _point_function(kernel)

    def program(columns: Any, index: Any, key_data: Any) -> list[Any]:
        every = jax.vmap(lambda column, i: jax.tree.leaves(point(column, i, key_data)))
        return every(columns, index)

    # check_vma would reject any `scan` in fn whose initial carry is a constant.
    sharded = jax.shard_map(
        program, mesh=mesh, in_specs=(split, split, whole), out_specs=split, check_vma=False
    )
    points = batch * len(devices)
    columns = {
        given.name: jax.ShapeDtypeStruct((points, *given.shape), given.dtype) for given in kernel.inputs
    }
    index = jax.ShapeDtypeStruct((points,), np.uint32)
    placed = (NamedSharding(mesh, split), NamedSharding(mesh, split), NamedSharding(mesh, whole))
    with settings.active(), _noting(kernel):
        compiled = jax.jit(sharded, in_shardings=placed).lower(columns, index, _key_shape(kernel)).compile()
    memory: Any = compiled.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Executable(compiled, int(needed))


def compute(
    program: Executable,
    kernel: Kernel,
    columns: dict[str, np.ndarray],
    index: np.ndarray,
    key_data: np.ndarray | None,
) -> list[np.ndarray]:
    """Run a compiled program on host arrays and bring its outputs, each `(points, …)`, back to the host."""
    with _noting(kernel):
        outputs = program.call(columns, index, key_data)
        _await(outputs)
        return [np.asarray(output) for output in outputs]


def _await(outputs: Any) -> None:
    """Wait so that Ctrl-C is heard: Python interrupts its own locks by signals, but not a wait inside JAX."""
    finished = threading.Event()

    def watch() -> None:
        with contextlib.suppress(Exception):  # the caller meets it when it fetches the outputs
            jax.block_until_ready(outputs)
        finished.set()

    # No daemon: Python must not exit under a thread that is inside JAX.
    threading.Thread(target=watch).start()
    finished.wait()


def _point_function(kernel: Kernel) -> Callable[..., Any]:
    """The function of one point: `(columns, global number, key data) -> pytree of arrays`."""
    case = dict(kernel.case)

    def point(columns: Any, index: Any, key_data: Any) -> Any:
        if kernel.key_impl is None:
            outputs = kernel.fn(**columns, **case)
        else:
            key = jax.random.wrap_key_data(key_data, impl=kernel.key_impl)
            outputs = kernel.fn(**columns, **case, key=jax.random.fold_in(key, index))
        return jax.tree.map(_storable, _fields(outputs))

    return point


def _fields(tree: Any) -> Any:
    """Replace dataclasses that JAX does not know as pytrees by dictionaries of their fields."""

    def expand(leaf: Any) -> Any:
        if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            return {field.name: _fields(getattr(leaf, field.name)) for field in dataclasses.fields(leaf)}
        return leaf

    return jax.tree.map(expand, tree)


def _storable(leaf: Any) -> Any:
    array = jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        raise TypeError("fn must return arrays of numbers, got a random key; return jax.random.key_data(key)")
    # numpy and netCDF know no bfloat16; float32 holds it exactly.
    narrow = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.kind == "V"
    return array.astype(jnp.float32) if narrow else array


def _variable(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Variable:
    parts = [str(getattr(step, "name", getattr(step, "key", getattr(step, "idx", step)))) for step in path]
    return Variable("_".join(parts) or "value", leaf.shape, np.dtype(leaf.dtype))


def _key_shape(kernel: Kernel) -> jax.ShapeDtypeStruct | None:
    if kernel.key_impl is None:
        return None
    data = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=kernel.key_impl)))
    return jax.ShapeDtypeStruct(data.shape, data.dtype)


@contextlib.contextmanager
def _noting(kernel: Kernel) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if kernel.case:
            error.add_note(f"raised in the case {describe(kernel.case)} of the sweep")
        raise
