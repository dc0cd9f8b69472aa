r"""The models that an audit knows: one covariance function each, and for networks the one they start from.

    rbf           variance exp(-|x - x'|^2 / (2 length^2))
    relu, gelu    infinitely wide networks (NNGP) of weight variance 2, times variance
    ntk           the ReLU network trained by gradients with a ridge toward its start: its tangent kernel T
                  takes the place of the covariance in the mean, and the NNGP K is the law of its start

A Gaussian process trained on n records is the posterior; of an "ntk" the ensemble over random starts is
meant, without noise on the labels (`theorysim.lood.ntk_leave_one_out`).

Example:
    >>> model = Model("rbf", depth=0, length=2.0, bias_variance=None, variance=3.0, noise=0.1)
    >>> x = jnp.array([[0.0], [2.0]])
    >>> print(kernels_of(model).trained(x, x))
    [[3.         1.81959198]
     [1.81959198 3.        ]]
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from theorysim.lood import mlp, rbf

__all__ = ["KERNELS", "Kernels", "Model", "kernels_of", "shape_name"]

KERNELS = ("rbf", "relu", "gelu", "ntk")
"""Names of the models."""

_WEIGHT_VARIANCE = 2.0


class Model(NamedTuple):
    """A kernel and its parameters, in units of features and targets.

    Attributes:
        kernel: one of `KERNELS`.
        depth: hidden layers of a network; 0 for "rbf".
        length: of "rbf", else None.
        bias_variance: of a network, else None.
        variance: factor of the whole kernel.
        noise: s2, the share of the labels' variance that is noise; for "ntk" the ridge.
    """

    kernel: str
    depth: int
    length: Any
    bias_variance: Any
    variance: Any
    noise: Any


class Kernels(NamedTuple):
    """The covariance function in whose span the model is trained, and that of its start if it differs."""

    trained: Partial
    start: Partial | None


def shape_name(kernel: str) -> str:
    """The parameter, besides variance and noise, that shapes a kernel.

    Example:
        >>> shape_name("rbf"), shape_name("gelu")
        ('length', 'bias_variance')
    """
    return "length" if kernel == "rbf" else "bias_variance"


def kernels_of(model: Model) -> Kernels:
    """The covariance functions of a model, differentiable in its parameters.

    Example:
        >>> two = kernels_of(Model("ntk", 1, None, 0.1, 1.0, 0.1))
        >>> x = jnp.array([[1.0, 0.0]])
        >>> print(two.trained(x, x), two.start(x, x))
        [[2.3]] [[1.2]]
    """
    if model.kernel == "rbf":
        return Kernels(rbf(length_scale=model.length, variance=model.variance), None)
    parameters: dict[str, Any] = {
        "depth": model.depth,
        "sw2": _WEIGHT_VARIANCE,
        "sb2": model.bias_variance,
    }
    if model.kernel == "ntk":
        pair = (mlp("relu", get=get, **parameters) for get in ("ntk", "nngp"))
        trained, start = (Partial(_scaled, kernel=one, variance=model.variance) for one in pair)
        return Kernels(trained, start)
    return Kernels(Partial(_scaled, kernel=mlp(model.kernel, **parameters), variance=model.variance), None)


def _scaled(x1, x2, *, kernel, variance) -> Float[Array, "n m"]:
    gram = kernel(x1, x2)
    return jnp.asarray(variance, gram.dtype) * gram
