"""What a result depends on, as a digest: a stored cell is used again only if nothing of it changed.

Data count by content (arrays by dtype, shape and bytes; named tuples, dataclasses and registered pytrees by
type and fields). A function counts by its compiled code, defaults, closure and everything it names: functions
and constants of its module, and functions of other modules, each followed the same way, so that editing a
helper computes again while moving a line or editing a comment does not. What lies in an installed package
counts by its name and the version of the package. A name imported inside a function body counts by name only.

Example:
    >>> digest((1, "a", np.zeros(2))) == digest((1, "a", np.zeros(2)))
    True
    >>> digest(lambda x: x + 1) == digest(lambda x: x + 2)
    False
"""

import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import pathlib
import struct
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

__all__ = ["digest"]

_INSTALLED = tuple(
    str(pathlib.Path(sysconfig.get_paths()[name])) for name in ("purelib", "platlib", "stdlib", "platstdlib")
)
_BUILT_IN = "<built-in>"
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), pathlib.PurePath, np.dtype)


def digest(value: Any) -> str:
    """The SHA-256 digest of the content of `value`, the same in every process.

    Raises:
        TypeError: something in it has no content to go by (an open file, a generator, a lock).
    """
    hasher = _Hasher()
    try:
        hasher.add(value)
    except RecursionError:
        raise TypeError(f"data that contain themselves have no digest, got {type(value).__name__}") from None
    return hasher.state.hexdigest()


class _Hasher:
    """Walks a value and feeds tagged, length-prefixed pieces to one hash; remembers what it has walked."""

    def __init__(self) -> None:
        self.state = hashlib.sha256()
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # an id is unique only while its object lives

    def piece(self, tag: str, content: bytes | memoryview | str = b"") -> None:
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else memoryview(content)
        size = raw.nbytes if isinstance(raw, memoryview) else len(raw)
        self.state.update(tag.encode() + struct.pack("<cq", b":", size))
        self.state.update(raw)

    def many(self, tag: str, values: Any) -> None:
        values = list(values)
        self.piece(tag, str(len(values)))
        for value in values:
            self.add(value)

    def add(self, value: Any) -> None:
        """Feed one value, whatever it is."""
        if isinstance(value, enum.Enum):
            self.piece("enum", f"{_type_name(value)}.{value.name}")
        elif isinstance(value, _PLAIN):
            self.piece(type(value).__name__, repr(value))
        elif isinstance(value, np.ndarray | np.generic | jax.Array | xr.DataArray):
            self.array(value)
        elif isinstance(value, set | frozenset):
            self.piece("set", "".join(sorted(digest(element) for element in value)))
        elif isinstance(value, types.CodeType):
            self.code(value)
        elif isinstance(value, types.ModuleType):
            self.piece("module", f"{value.__name__} {_version(value.__name__)}")
        elif _is_installed(value):
            module = str(getattr(value, "__module__", None) or "builtins")
            self.piece("installed", f"{module}.{_name(value)} {_version(module)}")
        elif not isinstance(value, types.FunctionType | type) or self.first_visit(value):
            self.composite(value)

    def first_visit(self, value: Any) -> bool:
        """False for a function or class walked before: they may name each other in a circle."""
        number = self.seen.setdefault(id(value), len(self.seen))
        self.piece("visit", str(number))
        if number < len(self.kept):
            return False
        self.kept.append(value)
        return True

    def composite(self, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, functools.partial):
            self.many("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            self.many("method", (value.__func__, value.__self__))
        elif isinstance(value, type):
            self.class_(value)
        elif isinstance(value, tuple | list):
            self.many(_type_name(value), value)
        elif isinstance(value, Mapping):
            self.many(_type_name(value), (pair for item in value.items() for pair in item))
        elif isinstance(value, range | slice):
            self.piece(type(value).__name__, repr(value))
        elif dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
            self.many("dataclass", (type(value), *((name, getattr(value, name)) for name in names)))
        elif hasattr(value, "__wrapped__"):  # jax.jit, jax.custom_jvp, functools.lru_cache …
            rest = {name: part for name, part in vars(value).items() if not name.startswith("_")}
            self.many(_type_name(value), (value.__wrapped__, rest))
        elif isinstance(value, inspect.Signature):
            self.piece("signature", str(value))
        elif isinstance(value, jax.tree_util.PyTreeDef):
            self.many("tree", (value.node_data(), value.children()))
        elif type(value) is object:
            self.piece("sentinel")  # it has no content but being itself
        else:
            self.pytree(value)

    def array(self, value: Any) -> None:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            self.piece("key", str(jax.random.key_impl(value)))
            value = jax.random.key_data(value)
        array = np.asarray(value)
        if array.dtype == object:
            self.many(f"objects {array.shape}", array.ravel().tolist())
        else:
            self.piece("array", f"{array.dtype.name} {array.dtype.str} {array.shape}")
            self.piece("bytes", np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")

    def function(self, fn: types.FunctionType) -> None:
        file = fn.__code__.co_filename
        if "/jaxtyping/" in file or file.startswith("<@beartype"):
            self.add(inspect.unwrap(fn))  # a type checker around a function changes no result
            return
        self.piece("function", f"{fn.__module__}.{fn.__qualname__}")
        self.many("defaults", (fn.__defaults__, fn.__kwdefaults__))
        self.many("closure", (_cell_content(cell) for cell in fn.__closure__ or ()))
        if hasattr(fn, "__wrapped__"):
            self.add(fn.__wrapped__)
        if _in_installed_file(file):
            self.piece("version", _version(fn.__module__))
            return
        self.code(fn.__code__)
        for name, found in _named_by(fn.__code__, fn.__globals__):
            self.piece("names", name)
            self.reference(found, f"{fn.__qualname__} (global {name})")

    def reference(self, value: Any, where: str) -> None:
        try:
            self.add(value)
        except TypeError as error:
            raise TypeError(f"{error}; it is used by {where}") from None

    def code(self, code: types.CodeType) -> None:
        self.many("code", (code.co_code, code.co_flags, code.co_argcount, code.co_kwonlyargcount))
        self.many("names", (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        self.many("constants", code.co_consts)

    def class_(self, cls: type) -> None:
        self.piece("class", f"{cls.__module__}.{cls.__qualname__} {_version(cls.__module__)}")
        if _in_installed_file(_file_of(cls)):
            return
        self.many("bases", cls.__bases__)
        for name, member in sorted(vars(cls).items()):
            member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            data = not name.startswith(("__", "_abc_")) and not hasattr(member, "__get__")
            if data or isinstance(member, types.FunctionType):
                self.many(name, (member,))

    def pytree(self, value: Any) -> None:
        """A container registered with JAX, by its type, children and static data."""
        flat = jax.tree_util.default_registry.flatten_one_level(value)
        if flat is None:
            raise TypeError(
                "a stored sweep must know fn and all it refers to by content, "
                f"got {value!r} of type {type(value).__name__}: "
                "pass it through vary or cases, or make it a module-level function"
            )
        self.many(_type_name(value), flat)


def _named_by(code: types.CodeType, namespace: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The globals that `code` and the functions inside it load, attributes of modules followed."""
    found, rest = None, ""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            if found is not None:
                yield rest, found
            rest, found = step.argval, namespace.get(step.argval)
        elif isinstance(found, types.ModuleType) and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            rest, found = f"{rest}.{step.argval}", getattr(found, step.argval, None)
        elif found is not None:
            yield rest, found
            found = None
    if found is not None:
        yield rest, found
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _named_by(constant, namespace)


def _cell_content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a recursive inner function not yet bound
        return None


def _in_installed_file(file: str) -> bool:
    return file.startswith((*_INSTALLED, "<frozen", _BUILT_IN))


def _file_of(value: Any) -> str:
    """The file of the module of `value`; a module that is not registered is nobody's installed one."""
    module = sys.modules.get(getattr(value, "__module__", None) or "builtins")
    return (getattr(module, "__file__", None) or _BUILT_IN) if module else ""


def _is_installed(value: Any) -> bool:
    """True for what its name finds at the top of a module of an installed package, such as `jnp.sin`."""
    if isinstance(value, types.BuiltinFunctionType | np.ufunc):
        return True
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return (
        callable(value)
        and getattr(module, _name(value), None) is value
        and _in_installed_file(_file_of(value))
    )


def _name(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or getattr(value, "__name__", type(value).__name__))


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


@functools.cache
def _version(module: str) -> str:
    package = sys.modules.get(module.partition(".")[0])
    return str(inspect.getattr_static(package, "__version__", "")) if package else ""
