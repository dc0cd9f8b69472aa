import dataclasses
import functools
import importlib.util
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.sweep import kernels
from theorysim.sweep import sweep
from theorysim.sweep.identity import digest


@pytest.fixture
def module(tmp_path):
    """Make a module of the given source, each time anew under one name."""

    def make(source):
        path = tmp_path / "sweep_identity_example.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = made
        exec(compile(source, path, "exec"), made.__dict__)
        return made

    yield make
    sys.modules.pop("sweep_identity_example", None)


BASE = """
import math
RATE = 0.5
TABLE = {"a": [1, 2]}
def helper(x): return x + 1
class Law:
    scale = 2.0
    def cdf(self, x): return self.scale * x
def f(x): return helper(x) * RATE + TABLE["a"][0] + Law().cdf(x) + math.sin(x)
def g(x): return f(x)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(x): return x + 1", "helper(x): return x + 2"),
        ("RATE = 0.5", "RATE = 0.6"),
        ("[1, 2]", "[1, 3]"),
        ("scale = 2.0", "scale = 3.0"),
        ("self.scale * x", "self.scale + x"),
        ("math.sin", "math.cos"),
        ("def f(x):", "def f(x, y=1):"),
        ("f(x): return helper", "f(x): return -helper"),
    ],
)
def test_editing_anything_that_a_function_reaches_changes_it(module, old, new):
    assert digest(module(BASE).g) != digest(module(BASE.replace(old, new)).g)


@pytest.mark.parametrize(
    ("old", "new"),
    [("import math", "import math  # sines\n\n"), ("def g(x):", "UNUSED = 3\ndef h(x): return x\ndef g(x):")],
)
def test_comments_and_what_it_does_not_reach_change_nothing(module, old, new):
    assert digest(module(BASE).g) == digest(module(BASE.replace(old, new)).g)


def test_functions_of_other_modules_are_followed_through_attributes(module, monkeypatch):
    source = "from tests.sweep import kernels\ndef f(x): return kernels.square(x)\n"
    before = digest(module(source).f)
    monkeypatch.setattr(kernels, "square", lambda x: x * x * x)
    assert digest(module(source).f) != before


def _closure(value):
    return lambda x: x * value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        ("a", b"a"),
        (None, 0),
        ((1, 2), [1, 2]),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.zeros(2), np.zeros((2, 1))),
        (jnp.zeros(2), jnp.ones(2)),
        (jax.random.key(0), jax.random.key(1)),
        (np.sin, np.cos),
        (jnp.sin, jnp.cos),
        (kernels.square, kernels.power),
        (functools.partial(kernels.power, n=1), functools.partial(kernels.power, n=2)),
        (functools.partial(kernels.power, 1), functools.partial(kernels.power, n=1)),
        (optax.sgd(0.1), optax.sgd(0.2)),
        (jax.vmap(kernels.square), jax.vmap(kernels.square, in_axes=1)),
        (jax.jit(kernels.square), jax.jit(kernels.normal)),
        (optax.ScaleByAdamState(0, 1, 2), optax.ScaleByAdamState(0, 1, 3)),  # pyright: ignore[reportArgumentType]
    ],
)
def test_different_contents_differ_in_a_closure_too(one, other):
    assert digest(one) != digest(other)
    assert digest(_closure(one)) != digest(_closure(other))
    assert digest(_closure(one)) == digest(_closure(one))


@dataclasses.dataclass(frozen=True)
class Settings:
    width: int
    rate: float = 0.1

    def scaled(self, x):
        return self.width * x


def test_bound_methods_and_dataclasses_count_by_content():
    assert digest(Settings(2).scaled) == digest(Settings(2).scaled)
    assert digest(Settings(2).scaled) != digest(Settings(3).scaled)


def test_a_network_counts_by_structure_and_parameters():
    def network(width, seed):
        return nnx.split(nnx.Linear(2, width, rngs=nnx.Rngs(seed)))

    assert digest(network(3, 0)) == digest(network(3, 0))
    assert len({digest(network(3, 0)), digest(network(4, 0)), digest(network(3, 1))}) == 3


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def test_functions_that_name_each_other_are_walked_once():
    assert digest(even) != digest(odd)


PRINT = """
import numpy as np
from tests.sweep import test_identity as t
from tests.sweep import kernels
from theorysim.sweep.identity import digest
print(digest((kernels.train, t._closure({"x", "y", "z"}), t.Settings, t.even, np.arange(5.0))))
"""


def test_another_process_finds_the_same_digest():
    first, second = kernels.start_python(PRINT), kernels.start_python(PRINT)
    outputs = {process.communicate(timeout=120)[0] for process in (first, second)}
    assert len(outputs) == 1
    assert len(outputs.pop().strip()) == 64


SCALE = 2.0


def scaled(x):
    return SCALE * x


@pytest.mark.parametrize("stored", [True, False])
def test_a_changed_global_gives_new_numbers(tmp_path, monkeypatch, stored):
    asked: dict[str, Any] = {"vary": {"x": [1.0]}, "store": tmp_path if stored else None}
    assert sweep(scaled, **asked).value.item() == 2.0
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert sweep(scaled, **asked).value.item() == 3.0


def test_data_that_contain_themselves_have_no_digest():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="contain themselves"):
        digest(endless)


def test_what_has_no_content_is_an_error_only_with_a_store(tmp_path):
    lock = threading.Lock()

    def locked(x):
        with lock:
            return x

    assert sweep(locked, vary={"x": [1.0]}).value.item() == 1.0
    with pytest.raises(
        TypeError, match=r"must know fn and all it refers to by content, got <unlocked .*lock"
    ):
        sweep(locked, vary={"x": [1.0]}, store=tmp_path / "cells")
    assert not (tmp_path / "cells").exists()
