"""Arrays of other frameworks: what they hold, and without a copy where there need not be one."""

import jax.numpy as jnp
import numpy as np
import pytest

from theorysim.numerics.arrays import plain_array


class Exported:
    """An array that speaks DLPack and nothing else, as on an accelerator."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Tensor:
    """An array that must be detached and fetched, and whose type NumPy refuses, like PyTorch's bfloat16."""

    def __init__(self, array, ready=False):
        self.array, self.ready = array, ready

    def detach(self):
        return type(self)(self.array, True)

    def cpu(self):
        assert self.ready
        return self

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")

    def __dlpack__(self, **options):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return 1, 0


class Sealed(Tensor):
    def __dlpack__(self, **options):
        raise BufferError("cannot be exported")


def test_an_array_of_numpy_is_taken_as_it_is(tmp_path):
    x = np.arange(6.0).reshape(2, 3)
    assert plain_array(x, "x") is x
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(plain_array(mapped, "x"), mapped)


def test_what_speaks_dlpack_is_read_without_a_copy():
    x = np.arange(6.0).reshape(2, 3)
    read = plain_array(Exported(x), "x")
    assert np.array_equal(read, x) and np.shares_memory(read, x)


def test_types_that_numpy_lacks_come_from_jax():
    x = jnp.asarray([[1.0, 2.5]], jnp.bfloat16)
    read = plain_array(Tensor(x), "x")
    assert read.dtype == jnp.bfloat16 and read.tolist() == [[1.0, 2.5]]


@pytest.mark.parametrize("value", [[[1.0], [1.0, 2.0]], Sealed(None)])
def test_what_is_no_array_is_refused_by_name(value):
    with pytest.raises(ValueError, match="features must be an array of one shape, got"):
        plain_array(value, "features")
