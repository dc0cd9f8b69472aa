"""The rules that hold the house together: who imports whom, what is public, how small files stay."""

import ast
import functools
import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "theorysim"
MODULES = sorted(LIBRARY.rglob("*.py"))
SIMS = sorted((ROOT / "sims").glob("*.py"))

# Component -> the components of ours that it may import besides itself. Every other module is a theory.
INFRASTRUCTURE = {
    "numerics": set(),
    "data": set(),
    "networks": {"numerics"},
    "optim": {"numerics"},
    "sweep": {"numerics"},
    "advisors": {"numerics", "THEORY"},
    "lab": {"sweep", "numerics"},
    "lab.cli": {"lab", "sweep", "numerics", "advisors", "data"},
}
THEORY = {"numerics"}

# What no tracked file may mention: places on somebody's machine, and addresses of package indexes.
MACHINE = [
    "/ro" + "ot/",
    "/wo" + "rk/",
    "/ho" + "me/",
    "/t" + "mp/",
    "pypi" + ".org",
    "python" + "hosted",
]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def imported(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, at the top or inside functions, by statement or by string."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [*package.split(".")[: 1 - node.level or None], base]))
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "theorysim":
            yield f"theorysim.{node.attr}"


def component(name: str) -> str:
    """`theorysim.sweep.engine` -> `sweep`; the command line is a component of its own."""
    parts = name.split(".")[1:]
    if parts[:1] == ["lab"] and len(parts) > 1 and parts[1].startswith("cli"):
        return "lab.cli"
    return parts[0] if parts else ""


def allowed(importer: str) -> set[str]:
    theories = {component(name_of(p)) for p in MODULES} - set(INFRASTRUCTURE) - {""}
    may = INFRASTRUCTURE.get(importer, THEORY) | {importer}
    return (may - {"THEORY"}) | (theories if "THEORY" in may else set())


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_imports_only_what_its_component_may(path):
    importer = component(name_of(path))
    if not importer:
        pytest.skip("the root names everything and imports nothing until asked")
    for target in imported(path):
        if target.split(".")[0] == "sims" or target.startswith("theorysim._sims"):
            pytest.fail(f"{name_of(path)} imports {target}: nobody imports sims")
        # The bare root has only its version and place to give: what is reached through it counts by itself.
        if target.startswith("theorysim.") and not target.startswith("theorysim.__"):
            assert component(target) in allowed(importer), f"{name_of(path)} imports {target}"


def test_the_root_imports_none_of_its_modules():
    statements = [
        node for node in ast.parse((LIBRARY / "__init__.py").read_text()).body if not isinstance(node, ast.If)
    ]
    modules = [n.name for s in statements if isinstance(s, ast.Import | ast.ImportFrom) for n in s.names]
    assert set(modules) <= {"importlib", "ModuleType", "Any", "TYPE_CHECKING"}


@functools.cache
def declared_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + extras["dask"] + extras["text"]
    # dask itself is what `distributed` runs.
    return {re.split(r"[\[<>=!~ ]", requirement)[0] for requirement in requirements} | {"dask"}


@functools.cache
def distributions() -> Mapping[str, list[str]]:
    """Import name -> the packages that provide it; listing them takes most of a second."""
    return importlib.metadata.packages_distributions()


@pytest.mark.parametrize("path", MODULES + SIMS, ids=ids(MODULES + SIMS))
def test_third_party_imports_are_declared(path):
    declared, provided = declared_dependencies(), distributions()
    for target in imported(path):
        top = target.split(".")[0]
        if top not in sys.stdlib_module_names and top not in ("theorysim", "sims"):
            assert declared & {name.lower() for name in provided.get(top, ())}, (
                f"{top} is no declared dependency"
            )


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_public_surface_is_exactly_what_all_lists(path):
    module = importlib.import_module(name_of(path))
    assert module.__doc__, "a module says in its docstring what it is for"
    if path.name == "__main__.py":
        return
    assert hasattr(module, "__all__"), "a module lists its public names in __all__"
    assert len(module.__all__) == len(set(module.__all__)), "__all__ repeats a name"
    submodules = {p.stem for p in path.parent.glob("[!_]*.py")} | {
        p.parent.name for p in path.parent.glob("[!_]*/*.py")
    }
    if path.name == "__init__.py" and path.parent != LIBRARY and submodules & set(module.__all__):
        assert submodules <= set(module.__all__), "a package that names modules names them all"
    missing = [n for n in module.__all__ if n not in submodules and not hasattr(module, n)]
    assert not missing, f"__all__ lists what does not exist: {missing}"
    unlisted = sorted(set(definitions(path)) - set(module.__all__))
    assert not unlisted, f"neither listed in __all__ nor private: {unlisted}"


def definitions(path: Path) -> Iterator[str]:
    """Functions, classes and CONSTANTS without an underscore at the top level; type aliases are none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [getattr(target, "id", "_") for target in targets]
            yield from (name for name in names if re.fullmatch(r"[A-Z][A-Z0-9_]+|[a-z]\w*", name))


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_public_docstrings_describe_the_arguments_that_exist(path):
    module = importlib.import_module(name_of(path))
    for name in getattr(module, "__all__", ()):
        public = getattr(module, name, None)
        if not callable(public) or getattr(public, "__module__", None) != module.__name__:
            continue
        doc = inspect.getdoc(public) or ""
        assert len(doc.split()) >= 3, f"{name} has no docstring"
        assert not re.search(r"^(Args|Returns|Raises|Example): *\S", doc, re.M), (
            f"{name}: a heading stands alone"
        )
        section = re.search(r"^Args:\n((?:[ ]+.*\n|\n)+)", doc + "\n", re.M)
        if section:
            described = re.findall(r"^ {4}\*{0,2}(\w+)(?: \(.*\))?:", section[1], re.M)
            stale = set(described) - set(inspect.signature(public).parameters)
            assert not stale, f"{name} describes arguments that it does not have: {sorted(stale)}"


def fresh_process(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_importing_the_package_is_cheap_and_loads_no_jax():
    code = """
import sys, time
start = time.perf_counter(); import theorysim; cost = time.perf_counter() - start
print(cost, any(name in sys.modules for name in ("jax", "numpy", "xarray", "matplotlib")))
"""
    runs = [fresh_process(code).split() for _ in range(5)]
    assert {loaded for _, loaded in runs} == {"False"}
    # The best of five is what the import costs; the rest is what else the machine was doing.
    assert min(float(cost) for cost, _ in runs) <= 0.1


def test_importing_every_module_changes_no_setting():
    names = [name_of(path) for path in MODULES if path.name != "__main__.py"]
    code = f"""
import importlib, os, jax, numpy
import sklearn  # which sets variables of OpenMP when it is imported
def settings():
    return dict(jax.config.values), dict(os.environ), numpy.geterr()
before = settings()
for name in {names!r}:
    importlib.import_module(name)
after = settings()
print([k for b, a in zip(before, after) for k in a if k not in b or a[k] != b[k]])
"""
    assert fresh_process(code) == "[]"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_file_outgrows_a_head():
    lengths = {
        str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in tracked() if p.suffix == ".py"
    }
    assert {name: lines for name, lines in lengths.items() if lines > 600} == {}


def test_no_file_mentions_a_machine_or_an_index():
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            text = content.decode(errors="replace")
            found += [f"{path.relative_to(ROOT)}: {place}" for place in MACHINE if place in text]
    assert not found
