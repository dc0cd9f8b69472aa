"""Where a result comes from: the code, settings and versions that decide whether it may be used again.

The *fingerprint* of an experiment is a hash of its name, its config, the content of the files that the config
names, the versions of the libraries that compute, and the text of the code it can reach: the sim's file
without its claims, figures and presets, the files beside it and the modules of theorysim which the rest of
that file imports, directly or not, and `sweep`. Editing a figure keeps the results; editing a kernel does
not.

Example:
    >>> stable_hash("fully_synthetic")
    3272204357
"""

import ast
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from theorysim import __version__

__all__ = [
    "Git",
    "code_hash",
    "device_names",
    "fingerprint",
    "git_state",
    "plain",
    "stable_hash",
    "versions",
    "x64_enabled",
]

_PACKAGE = Path(__file__).parent.parent
_JUDGING = {"claim", "figure"}
_COMPUTING = ("jax", "jaxlib", "numpy", "scipy", "flax", "optax", "xarray")


class Git(NamedTuple):
    """The commit of the sim's checkout."""

    commit: str
    """Full hash."""
    dirty: bool
    """True if tracked files differ from it."""


def stable_hash(text: str) -> int:
    """Return a 32-bit number that depends on `text` alone, the same on every machine and in every process.

    Example:
        >>> stable_hash("tosses") == stable_hash("tosses") < 2**32
        True
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def plain(value: Any) -> Any:
    """Return `value` as what JSON can hold; NaN and infinities become None, unknown objects their text.

    Example:
        >>> plain({"sizes": (1, 2), "error": float("nan")})
        {'sizes': [1, 2], 'error': None}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    to_list = getattr(value, "tolist", None)  # numpy and jax, scalars and arrays
    return plain(to_list()) if callable(to_list) else str(value)


def versions() -> dict[str, str]:
    """Return the versions of Python, theorysim and the libraries that compute.

    Example:
        >>> sorted(versions())[:3]
        ['flax', 'jax', 'jaxlib']
    """
    found = {"python": platform.python_version(), "theorysim": __version__}
    for name in _COMPUTING:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device_names(devices: int | None) -> list[str]:
    """Return the kinds of the first `devices` JAX devices, all of them for None, for example 'cpu (2 cores)'.

    Example:
        >>> len(device_names(1))
        1
    """
    import jax

    cores = os.cpu_count() or 1
    kinds = [device.device_kind for device in jax.local_devices()[:devices]]
    return [f"cpu ({cores} core{'s' if cores > 1 else ''})" if kind == "cpu" else kind for kind in kinds]


def fingerprint(experiment: str, config: Any, code: str) -> str:
    """Return the hash under which the result of an experiment may be used again.

    Example:
        >>> one, two = (fingerprint("tosses", {"seed": seed}, "code") for seed in (1, 2))
        >>> one == two
        False
    """
    identity = {
        "experiment": experiment,
        "config": repr(config),
        "files": _file_hashes(plain(config)),
        "code": code,
        "x64": x64_enabled(),
        "versions": {name: version for name, version in versions().items() if name in _COMPUTING},
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _file_hashes(config: Any) -> list[str]:
    """The content of every file that a field of the config names; a folder or a missing file has none."""
    if isinstance(config, dict | list):
        parts = config.values() if isinstance(config, dict) else config
        return [digest for part in parts for digest in _file_hashes(part)]
    try:
        return [hashlib.sha256(Path(config).read_bytes()).hexdigest()] if isinstance(config, str) else []
    except (OSError, ValueError):
        return []


def x64_enabled() -> bool:
    """Return whether JAX computes in float64 by default.

    Example:
        >>> isinstance(x64_enabled(), bool)
        True
    """
    import jax

    return bool(getattr(jax.config, "jax_enable_x64", False))


def code_hash(path: Path) -> str:
    """Return the hash of the code that the experiments of the sim in `path` can reach inside theorysim.

    Docstrings, comments and layout do not count, nor do claims, figures and presets.

    Example:
        >>> len(code_hash(Path(__file__)))
        64
    """
    package = _PACKAGE
    seen: dict[str, str] = {}
    pending = [path, *(package / "sweep").glob("*.py")]  # every experiment is handed `sweep`
    while pending:
        file = pending.pop()
        beside = file.parent == path.parent
        label = f"./{file.name}" if beside else file.relative_to(package).as_posix()
        if file == path:
            label = ""  # a renamed sim is the same sim
        if label in seen or (label.startswith("lab/") and label != "lab/runs.py"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if beside:
            tree.body = [node for node in tree.body if not _only_judges(node)]
            pending.extend(_neighbours(tree, file.parent))
        pending.extend(_imports(tree, package, parent=None if beside else file.parent))
        seen[label] = _normal(tree)
    digest = hashlib.sha256()
    for label, text in sorted(seen.items()):
        digest.update(f"\0{label}\0{text}".encode())
    return digest.hexdigest()


def git_state(folder: Path) -> Git | None:
    """Return the commit of the checkout that holds `folder`, or None outside of one or without git.

    Example:
        >>> git_state(Path("/")) is None
        True
    """
    command = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        changes = subprocess.run(
            [*command, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Git(commit.stdout.strip(), bool(changes.stdout.strip()))


def _only_judges(node: ast.stmt) -> bool:
    """True for `sim = Sim(...)`, and for a function, a call or a loop that registers claims or figures."""
    if isinstance(node, ast.For):
        return all(_only_judges(inner) for inner in node.body)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        return isinstance(node.value.func, ast.Name) and node.value.func.id == "Sim"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _registers(node.value.func)
    return isinstance(node, ast.FunctionDef) and any(map(_registers, node.decorator_list))


def _registers(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _JUDGING


def _neighbours(tree: ast.Module, folder: Path) -> Iterator[Path]:
    """Yield the files beside a sim that it imports as `from .name import …` and uses."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                file = folder / f"{(node.module or alias.name).split('.')[0]}.py"
                if (alias.asname or alias.name) in used and file.is_file():
                    yield file


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if docstring else node


def _normal(tree: ast.Module) -> str:
    return ast.dump(_WithoutDocstrings().visit(tree))


def _imports(tree: ast.Module, package: Path, parent: Path | None) -> Iterator[Path]:
    """Yield the files of theorysim that a module names in its import statements, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name.split("."), package, whole=True)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = parent
                for _ in range(node.level - 1):
                    base = base.parent if base else None
                prefix = ["theorysim", *base.relative_to(package).parts] if base else []
            else:
                prefix = []
            stem = [*prefix, *(node.module or "").split(".")] if node.module else prefix
            for alias in node.names:
                yield from _files([*stem, alias.name], package, whole=False)


def _files(parts: list[str], package: Path, *, whole: bool) -> Iterator[Path]:
    """Yield what importing a dotted name runs; a bare `import theorysim` can reach every module."""
    if not parts or parts[0] != "theorysim":
        return
    if whole and len(parts) == 1:
        yield from (file for file in package.rglob("*.py") if "_sims" not in file.parts)
        return
    place = package
    for part in parts[1:]:
        if (place / f"{part}.py").is_file():
            yield place / f"{part}.py"
            return
        if not (place / part).is_dir():
            return
        place = place / part
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
