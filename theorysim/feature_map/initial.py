r"""Spectra at initialisation: infinitely wide layers on the sphere, on the hypercube, and on any data.

The kernel of the features after `depth` layers of random weights is a function kappa of the inner product t
of unit inputs (`numerics.gaussian`):

    q_1(t) = sw2 t + sb2,   q_{l+1}(t) = sw2 F(q_l(1), q_l(1), q_l(t)) + sb2,   kappa = F(q(1), q(1), q(t)).

On the sphere S^{d-1} its eigenfunctions are the spherical harmonics (Funk-Hecke), with P_k the Gegenbauer
polynomial scaled to P_k(1) = 1; on the hypercube {-1, 1}^d/sqrt d they are the parities of k coordinates:

    sphere       mean over the sphere of kappa(x.1) P_k(x.1),
    hypercube    mean over x of kappa(sum x/d) x_1 ... x_k.

One layer of ReLU on the sphere has the closed form d a_k^2 with a_0 = Gamma(d/2)/(2 sqrt pi Gamma((d+1)/2)),
a_1 = 1/(2d) and, for even k, |a_k| = Gamma(d/2) Gamma(k-1) 2^-k/(sqrt pi Gamma(k/2) Gamma((k+d+1)/2)); 0 for
odd k >= 3. After F. Bach (2017), arXiv 1412.8690. Derived here from arXiv 2410.04264's definitions.

Example:
    >>> values = sphere_eigenvalues("relu", dim=3, max_degree=4)
    >>> counts = jnp.array([harmonic_multiplicity(k, 3) for k in range(5)])
    >>> print(abs(values).round(6), f"{(counts * values).sum():.3f} of trace 0.5")
    [0.1875   0.083333 0.011719 0.       0.000326] 0.499 of trace 0.5
"""

import math
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.numerics.gaussian import Activation, checked_activation, checked_kinks, two_point_of
from theorysim.numerics.gram import check_eigenvalues, check_symmetric, square
from theorysim.numerics.products import matmul
from theorysim.numerics.symmetric import cutoff, eigh
from theorysim.numerics.validation import broadcast, is_traced, positive_int, real, scalar

__all__ = [
    "harmonic_multiplicity",
    "hypercube_eigenvalues",
    "kernel_features",
    "relu_hypercube_eigenvalues",
    "relu_sphere_eigenvalue",
    "relu_trace_of_square",
    "sphere_eigenvalues",
]


def relu_sphere_eigenvalue(degree: ArrayLike, dim: ArrayLike) -> Float[Array, "..."]:
    """Eigenvalue of one infinitely wide ReLU layer on the sphere, for the harmonics of one degree.

    Args:
        degree: k >= 0, whole. Arrays broadcast.
        dim: d >= 2, of the space around the sphere; weights N(0, I_d), inputs of norm 1.

    Returns:
        The eigenvalue, with a relative error of 1e-15 times the logarithm of Gamma(d); 0 for odd k >= 3.

    Raises:
        ValueError: an argument out of its range, or a degree that is not whole.

    Example:
        >>> print(relu_sphere_eigenvalue(jnp.arange(4), 3).round(8))
        [0.1875     0.08333333 0.01171875 0.        ]
    """
    real(degree, "degree", low=0, high_open=True)
    real(dim, "dim", low=2, high_open=True)
    if not is_traced(degree) and (np.asarray(degree) % 1).any():
        raise ValueError(f"degree must be whole, got {degree}")
    return _relu_sphere(*broadcast(degree, dim))


def harmonic_multiplicity(degree: int, dim: int) -> int:
    """Number of linearly independent spherical harmonics of a degree on S^{dim-1}.

    Args:
        degree: k >= 0.
        dim: d >= 2.

    Returns:
        C(k+d-1, k) - C(k+d-3, k-2), exactly.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> [harmonic_multiplicity(k, 3) for k in range(4)]
        [1, 3, 5, 7]
    """
    k, d = positive_int(degree, "degree", minimum=0), positive_int(dim, "dim", minimum=2)
    return math.comb(k + d - 1, k) - (math.comb(k + d - 3, k - 2) if k >= 2 else 0)


def sphere_eigenvalues(
    phi: Activation,
    *,
    dim: int,
    max_degree: int,
    depth: int = 1,
    sw2: ArrayLike = 1.0,
    sb2: ArrayLike = 0.0,
    kinks: tuple[float, ...] = (),
) -> Float[Array, " degrees"]:
    """Eigenvalues of infinitely wide layers on the sphere by quadrature, for any activation and depth.

    Args:
        phi: activation, see `numerics.gaussian.two_point` (static).
        dim: d >= 2 (static).
        max_degree: largest degree, >= 0 (static).
        depth: layers before the readout, >= 1 (static).
        sw2: variance of a weight times its fan-in (of the first layer: of a weight), > 0, a scalar.
        sb2: variance of a bias, >= 0, a scalar.
        kinks: where phi' jumps, if phi is a function with kinks (static).

    Returns:
        The eigenvalue of each degree 0 ... max_degree, with an absolute error of about 1e-15 kappa(1).

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(abs(sphere_eigenvalues("erf", dim=5, max_degree=3, depth=2)).round(6))
        [0.       0.058988 0.       0.000726]
    """
    d = positive_int(dim, "dim", minimum=2)
    degrees = positive_int(max_degree, "max_degree", minimum=0)
    kernel = _kernel_arguments(phi, depth, sw2, sb2, kinks)
    cosines, weights = _sphere_rule(d, degrees)
    return _means(cosines, weights, *kernel[0], **kernel[1])


def hypercube_eigenvalues(
    phi: Activation,
    *,
    dim: int,
    depth: int = 1,
    sw2: ArrayLike = 1.0,
    sb2: ArrayLike = 0.0,
    kinks: tuple[float, ...] = (),
) -> Float[Array, " sizes"]:
    """Eigenvalues of infinitely wide layers on the hypercube, for any activation and depth.

    Args:
        phi: activation, see `numerics.gaussian.two_point` (static).
        dim: d in [1, 500] (static); inputs {-1, 1}^d / sqrt d.
        depth: layers before the readout, >= 1 (static).
        sw2: variance of a weight times its fan-in (of the first layer: of a weight), > 0, a scalar.
        sb2: variance of a bias, >= 0, a scalar.
        kinks: where phi' jumps, if phi is a function with kinks (static).

    Returns:
        The eigenvalue of parities of 0 ... d coordinates, each C(d, k) times, with an absolute error of about
        1e-16 kappa(1).

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(abs(hypercube_eigenvalues("linear", dim=3)).round(12))
        [0.         0.33333333 0.         0.        ]
    """
    d = positive_int(dim, "dim", maximum=500)
    kernel = _kernel_arguments(phi, depth, sw2, sb2, kinks)
    return _means(1 - 2 * np.arange(d + 1) / d, _parity_weights(d), *kernel[0], **kernel[1])


def relu_hypercube_eigenvalues(*, dim: int) -> Float[Array, " sizes"]:
    """Eigenvalues of one infinitely wide ReLU layer on the hypercube.

    Args:
        dim: d in [1, 500] (static).

    Returns:
        The eigenvalue of parities of 0 ... d coordinates, each C(d, k) times.

    Raises:
        ValueError: dim out of its range.

    Example:
        >>> print(relu_hypercube_eigenvalues(dim=4).round(6))
        [0.180683 0.0625   0.011356 0.       0.001184]
    """
    return hypercube_eigenvalues("relu", dim=dim)


def relu_trace_of_square(infinite: ArrayLike, *, width: ArrayLike, dim: ArrayLike) -> Float[Array, "..."]:
    """E tr M^2 of a finite layer of ReLU features, (1 - 1/p) sum lambda^2 + (1 + 2/d)/(4p), uncentred.

    Args:
        infinite: sum lambda^2 over the infinitely wide layer's eigenvalues, with multiplicity, >= 0. Arrays
            broadcast.
        width: p >= 1, features divided by sqrt p.
        dim: d >= 1 of inputs of norm 1, isotropic and symmetric: the sphere, the hypercube.

    Returns:
        The expectation over N(0, I_d) weights.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> print(relu_trace_of_square(0.0, width=1, dim=1))  # one weight: (E w^4)/4
        0.75
    """
    real(infinite, "infinite", low=0, high_open=True)
    real(width, "width", low=1, high_open=True)
    real(dim, "dim", low=1, high_open=True)
    square_sum, p, d = broadcast(infinite, width, dim)
    return (1 - 1 / p) * square_sum + (1 + 2 / d) / (4 * p)


def kernel_features(gram: ArrayLike) -> Float[Array, "n n"]:
    """Features whose kernel is the one given: everything here applies to infinitely wide networks.

    Args:
        gram: symmetric and positive semi-definite, (n, n): of a kernel on the data, not divided by n.

    Returns:
        F with F F' = gram, (n, n), orthogonal columns in falling order.

    Raises:
        ValueError: a matrix that is not symmetric or has an eigenvalue below -1e-8 of the largest.

    Example:
        >>> gram = jnp.array([[2.0, 1.0], [1.0, 2.0]])
        >>> features = kernel_features(gram)
        >>> print((features @ features.T).round(12))
        [[2. 1.]
         [1. 2.]]
    """
    K = square(gram, "gram")
    check_symmetric(K, "gram")
    values, vectors = _spectrum(K)
    check_eigenvalues(values, "gram")
    return vectors * jnp.sqrt(jnp.where(values > cutoff(K.dtype) * values[0], values, 0))[None]


_spectrum = jax.jit(eigh)


@jax.jit
def _relu_sphere(k, d):
    root = 0.5 * math.log(math.pi)
    first = gammaln(d / 2)
    zero = first - root - gammaln((d + 1) / 2) - math.log(2)
    safe = jnp.where(k >= 2, k, 2)
    even = first + gammaln(safe - 1) - safe * math.log(2) - root
    even = even - gammaln(safe / 2) - gammaln((safe + d + 1) / 2)
    log_a = jnp.where(k == 0, zero, jnp.where(k == 1, -jnp.log(2 * d), even))
    return jnp.where((k % 2 == 1) & (k > 1), 0, d * jnp.exp(2 * log_a))


def _kernel_arguments(phi, depth, sw2, sb2, kinks):
    real(scalar(sw2, "sw2"), "sw2", low=0, low_open=True, high_open=True)
    real(scalar(sb2, "sb2"), "sb2", low=0, high_open=True)
    static = {
        "phi": checked_activation(phi),
        "depth": positive_int(depth, "depth"),
        "kinks": checked_kinks(kinks),
    }
    return broadcast(sw2, sb2), static


@partial(jax.jit, static_argnames=("phi", "depth", "kinks"))
def _means(cosines, weights, sw2, sb2, *, phi, depth, kinks):
    t, weights = jnp.asarray(cosines, sw2.dtype), jnp.asarray(weights, sw2.dtype)
    q, across = jnp.broadcast_to(sw2 + sb2, t.shape), sw2 * t + sb2
    for layer in range(depth):
        if layer:
            q, across = sw2 * q + sb2, sw2 * across + sb2
        across = two_point_of(phi, q, q, across, kinks=kinks).F
        q = two_point_of(phi, q, q, q, kinks=kinks).F
    return matmul(weights, across)


@lru_cache(maxsize=16)
def _sphere_rule(d, degrees):
    """Cosines of the nodes, and for each degree the weight of each, in numpy."""
    # sin^(d-2) is a bump of width d^(-1/2); needless nodes cost digits near the poles.
    x, w = np.polynomial.legendre.leggauss(max(100, math.ceil(10 * math.sqrt(d)), 2 * degrees))
    angles = np.pi * (x + 1) / 2
    t = np.cos(angles)
    # In logarithms: sin^(d-2) underflows only where it does not matter.
    log_density = (d - 2) * np.log(np.sin(angles))
    density = w * np.exp(log_density - log_density.max())
    density /= density.sum()
    rows = [np.ones_like(t), t]
    for k in range(1, degrees):
        rows.append(((2 * k + d - 2) * t * rows[k] - k * rows[k - 1]) / (k + d - 2))
    return t, np.stack(rows[: degrees + 1]) * density[None]


@lru_cache(maxsize=16)
def _parity_weights(d):
    """2^-d times the Krawtchouk polynomials, exact before rounding, (sizes, numbers of minus signs)."""
    rows = []
    for k in range(d + 1):
        # Coefficients of (1 - z)^k (1 + z)^(d - k).
        if not k:
            row = [math.comb(d, m) for m in range(d + 1)]
        else:
            row = _times_one_minus_over_one_plus(rows[-1])
        rows.append(row)
    return np.array([[value / 2**d for value in row] for row in rows])


def _times_one_minus_over_one_plus(coefficients):
    quotient, last = [], 0
    for value in coefficients:
        last = value - last
        quotient.append(last)
    return [a - b for a, b in zip(quotient, [0, *quotient[:-1]], strict=True)]
