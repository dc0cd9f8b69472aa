r"""Averages over pairs of centred Gaussian variables: what wide networks are made of.

`two_point` gives E phi(u) phi(v) and E phi'(u) phi'(v) for any activation, with derivatives that stay finite
on the diagonal. The parts: `activations` (names and slopes), `angles` (the angle of a pair without loss of
digits), `homogeneous` and `smooth` (closed forms), `hermite` and `polar` (quadrature).

Example:
    >>> import jax.numpy as jnp
    >>> variances = jnp.array([1.0, 2.0])
    >>> gram = jnp.array([[1.0, 0.5], [0.5, 2.0]])
    >>> print(two_point("erf", variances[:, None], variances[None], gram).F)
    [[0.46455905 0.16625797]
     [0.16625797 0.59033447]]
"""

from theorysim.numerics.gaussian.activations import (
    NAMES,
    Activation,
    activation,
    checked_activation,
    leaky_slope,
)
from theorysim.numerics.gaussian.angles import (
    angle,
    angle_of_correlation,
    bounded_correlation,
    determinant,
    safe_ratio,
    safe_sqrt,
    sine_less_theta_cosine,
)
from theorysim.numerics.gaussian.expectations import checked_kinks, two_point, two_point_of
from theorysim.numerics.gaussian.hermite import derivative, hermite_coefficients
from theorysim.numerics.gaussian.homogeneous import leaky_correlation, leaky_moments
from theorysim.numerics.gaussian.records import LeakyMoments, TwoPoint

__all__ = [
    "NAMES",
    "Activation",
    "LeakyMoments",
    "TwoPoint",
    "activation",
    "angle",
    "angle_of_correlation",
    "bounded_correlation",
    "checked_activation",
    "checked_kinks",
    "derivative",
    "determinant",
    "hermite_coefficients",
    "leaky_correlation",
    "leaky_moments",
    "leaky_slope",
    "safe_ratio",
    "safe_sqrt",
    "sine_less_theta_cosine",
    "two_point",
    "two_point_of",
]
