"""Every public function has an example, and the examples run: in float64, with warnings as errors."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "theorysim"


def _module_names() -> list[str]:
    paths = (path.relative_to(LIBRARY.parent).with_suffix("") for path in sorted(LIBRARY.rglob("*.py")))
    names = (".".join(path.parts[:-1] if path.name == "__init__" else path.parts) for path in paths)
    return [name for name in names if not name.endswith("__main__")]


NAMES = _module_names()


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    )
    for example in doctest.DocTestFinder().find(importlib.import_module(name)):
        runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


# What users import from: the theories and engines by name, and the collections by topic.
COLLECTIONS = ("theorysim.networks.", "theorysim.numerics.", "theorysim.optim.")
SURFACE = [
    name
    for name in NAMES
    if name.count(".") == 1
    or (name.startswith(COLLECTIONS) and name.count(".") == 2)
    or name == "theorysim.lab.figures"
]


@pytest.mark.parametrize("name", SURFACE)
def test_every_public_function_has_an_example(name):
    module = importlib.import_module(name)
    public = {label: getattr(module, label) for label in module.__all__ if hasattr(module, label)}
    without = [
        label
        for label, value in public.items()
        if inspect.isfunction(inspect.unwrap(value)) and ">>>" not in (value.__doc__ or "")
    ]
    assert not without, f"public functions of {name} without an example: {without}"


def test_the_example_of_the_readme_runs():
    blocks = re.findall(r"```python\n(.*?)```", (LIBRARY.parent / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
