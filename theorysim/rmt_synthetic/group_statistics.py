r"""What a group's weights and targets contribute once leave-one-out has shrunk each sample.

A sample of weight omega and target s enters through omega / (1 + omega delta), so with the group's delta

    kappa = E[omega / (1 + omega delta)],        tau  = E[omega s / (1 + omega delta)],
    chi   = E[omega^2 / (1 + omega delta)^2],    xi   = E[omega^2 s / (1 + omega delta)^2],
    zeta  = E[omega^2 s s' / (1 + omega delta)^2].

The variant "released" puts the mean of the 0/1 pruning mask where the mask belongs, 1 + alpha omega delta
with alpha = P(omega > 0), as the authors' public code does; Monte Carlo rejects it. Derived, see
docs/rmt_synthetic.md.

Example:
    >>> from theorysim.rmt_synthetic.problem import synthetic_atoms
    >>> atoms = synthetic_atoms(eps=0.3, rho=0.2, phi=0.4)[None]
    >>> stats = group_statistics(atoms, jnp.array([17.80776406]))
    >>> print(f"{stats.kappa[0]:.6f} {stats.tau[0, 0]:.6f}")
    0.018078 0.011697
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["GroupStatistics", "Variant", "group_statistics", "kappa_slope"]

Variant = Literal["exact", "released"]


class GroupStatistics(NamedTuple):
    """Means over the atoms of each of K groups, with L targets."""

    kappa: Float[Array, " K"]
    tau: Float[Array, "K L"]
    chi: Float[Array, " K"]
    xi: Float[Array, "K L"]
    zeta: Float[Array, "K L L"]


def group_statistics(
    atoms: Float[Array, "K J S"], delta: Float[Array, " K"], *, variant: Variant = "exact"
) -> GroupStatistics:
    """The five means at delta (K,) of atoms (K, J, 2 + L); see the head of this file.

    Example:
        >>> clean = jnp.ones((1, 1, 3))
        >>> print(group_statistics(clean, jnp.ones(1)).chi)
        [0.25]
    """
    targets, probability = atoms[..., 1:-1], atoms[..., -1]
    shrunk, _ = _shrunk(atoms, delta, variant)
    squared = probability * shrunk**2
    return GroupStatistics(
        kappa=(probability * shrunk).sum(1),
        tau=jnp.einsum("kj,kjl->kl", probability * shrunk, targets),
        chi=squared.sum(1),
        xi=jnp.einsum("kj,kjl->kl", squared, targets),
        zeta=jnp.einsum("kj,kja,kjb->kab", squared, targets, targets),
    )


def kappa_slope(
    atoms: Float[Array, "K J S"], delta: Float[Array, " K"], *, variant: Variant = "exact"
) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    """Each group's kappa (K,) and -d kappa / d delta (K,), which is chi in the exact variant.

    Example:
        >>> kappa, slope = kappa_slope(jnp.ones((1, 1, 3)), jnp.ones(1))
        >>> print(kappa, slope)
        [0.5] [0.25]
    """
    shrunk, mask = _shrunk(atoms, delta, variant)
    probability = atoms[..., -1]
    return (probability * shrunk).sum(1), (probability * mask * shrunk**2).sum(1)


def _shrunk(atoms, delta, variant):
    """Shrunk weight omega / (1 + mask omega delta) per atom; the mask is 1, or if released its group mean."""
    weight, probability = atoms[..., 0], atoms[..., -1]
    mask = jnp.ones_like(weight)
    if variant == "released":
        mask = mask * (probability * (weight > 0)).sum(1, keepdims=True)
    return weight / (1 + mask * weight * delta[:, None]), mask
