"""Find sims by slug or by file, describe them without running them, and load them.

The wheel carries the sims in `theorysim/_sims`; in a checkout they lie in `sims/` beside the package. A
listing reads the `Sim(...)` call of each file as text, so that it costs no import of JAX.

Example:
    >>> "not_a_sim" in slugs()
    False
"""

import ast
import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

from theorysim.lab.errors import UsageError, did_you_mean, one_line
from theorysim.lab.sim import Paper, Sim

__all__ = ["Summary", "find", "load", "sims_folder", "slugs", "summary"]


class Summary(NamedTuple):
    """What a list of sims shows of one."""

    slug: str
    """Its name on the command line."""
    question: str
    """The question in one sentence."""
    paper: Paper
    """The paper."""
    presets: tuple[str, ...]
    """Names of its presets."""


def sims_folder(package: Path | None = None) -> Path | None:
    """Return the folder of the package's own sims: in the wheel, else in its checkout, else None.

    Example:
        >>> sims_folder(Path("nowhere")) is None
        True
    """
    package = Path(__file__).parent.parent if package is None else package
    if (package / "_sims").is_dir():
        return package / "_sims"
    # Beside an installed package, `sims` could be anybody's; beside a pyproject.toml it is ours.
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "sims").is_dir():
        return checkout / "sims"
    return None


def slugs() -> tuple[str, ...]:
    """Return the names of all sims of the package, sorted.

    Example:
        >>> list(slugs()) == sorted(slugs())
        True
    """
    folder = sims_folder()
    if folder is None:
        return ()
    return tuple(sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")))


def find(name: str) -> Path:
    """Return the file of a sim, given its slug or the path of a Python file.

    Raises:
        UsageError: no sim has this slug, or the file does not exist.

    Example:
        >>> find("nowhere/coins.py")
        Traceback (most recent call last):
        UsageError: FILE must be a readable Python file, got nowhere/coins.py
    """
    if name.endswith(".py") or "/" in name or "\\" in name:
        if not os.path.isfile(name):  # unlike Path.is_file, false for names that no file can have
            raise UsageError(f"FILE must be a readable Python file, got {name}")
        return Path(name)
    known = slugs()
    folder = sims_folder()
    if name not in known or folder is None:
        allowed = ", ".join(("all", *known)) if known else "a FILE (no sims are installed)"
        raise UsageError(f"SLUG must be one of {allowed}, got {name!r}{did_you_mean(name, (*known, 'all'))}")
    return folder / f"{name}.py"


def load(path: Path) -> Sim:
    """Run the file of a sim and return its `sim`.

    Raises:
        UsageError: the file cannot be read or run, or defines no `sim`.

    Example:
        >>> load(Path("coins.py"))
        Traceback (most recent call last):
        UsageError: FILE coins.py cannot be read: ...
    """
    try:
        source = path.read_bytes()
        code = compile(source, str(path), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"FILE {path} cannot be read: {one_line(error)}") from error
    # Registered before it runs: dataclasses, pickling and tracebacks look the module up by name. Its folder
    # acts as a package, so that a long sim can keep its figures in a file beside it (a relative import).
    name = f"{_package(path.resolve().parent)}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None:
        raise UsageError(f"FILE must be a Python file ending in .py, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except Exception as error:
        raise UsageError(f"FILE {path} failed while it was loaded: {one_line(error)}") from error
    sim = getattr(module, "sim", None)
    if not isinstance(sim, Sim):
        raise UsageError(f"FILE {path} must define `sim = Sim(...)`, got {type(sim).__name__}")
    return sim


def _package(folder: Path) -> str:
    """Name of an empty package whose modules are the files of `folder`; another folder's are forgotten."""
    package = sys.modules.get("theorysim_sims")
    if package is None or list(package.__path__) != [str(folder)]:
        for name in [name for name in sys.modules if name.split(".")[0] == "theorysim_sims"]:
            del sys.modules[name]
        package = types.ModuleType("theorysim_sims", "The files of one folder of sims.")
        package.__path__ = [str(folder)]
        sys.modules["theorysim_sims"] = package
    return package.__name__


def summary(path: Path) -> Summary:
    """Describe the sim of a file from its text alone; if its description is computed, by loading it.

    Example:
        >>> folder = sims_folder()
        >>> all(summary(folder / f"{slug}.py").slug == slug for slug in slugs()) if folder else True
        True
    """
    try:
        found = _read_call(ast.parse(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        found = None
    if found is not None:
        return found
    sim = load(path)
    return Summary(sim.slug, sim.question, sim.paper, tuple(sim.presets))


def _read_call(tree: ast.Module) -> Summary | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Sim":
            parts = {keyword.arg: keyword.value for keyword in node.keywords}
            paper, presets = parts["paper"], parts["presets"]
            if not isinstance(paper, ast.Call) or not isinstance(presets, ast.Dict):
                return None
            fields: dict[str, Any] = dict(
                zip(Paper._fields, map(ast.literal_eval, paper.args), strict=False)
            ) | {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in paper.keywords}
            return Summary(
                slug=ast.literal_eval(parts["slug"]),
                question=ast.literal_eval(parts["question"]),
                paper=Paper(**fields),
                presets=tuple(ast.literal_eval(key) for key in presets.keys if key is not None),
            )
    return None
