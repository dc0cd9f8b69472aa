"""What several functions return."""

from typing import NamedTuple

from jaxtyping import Array, Float

__all__ = ["Lood", "PairMoments"]


class Lood(NamedTuple):
    """Divergences between the outputs of a model trained with ("in") and without ("out") some records.

    Attributes:
        kl: KL(in || out), in nats, summed over the outputs.
        kl_reverse: KL(out || in).
        mean_distance: squared distance of the two means, summed over queries and outputs.
        hellinger_squared: 1 - integral of sqrt(p_in p_out), in [0, 1].
        wasserstein_squared: W2^2, in the units of mean_distance.
    """

    kl: Float[Array, "*batch"]
    kl_reverse: Float[Array, "*batch"]
    mean_distance: Float[Array, "*batch"]
    hellinger_squared: Float[Array, "*batch"]
    wasserstein_squared: Float[Array, "*batch"]


class PairMoments(NamedTuple):
    """Laws of the output at each record of models trained without and with it.

    Attributes:
        mean_out: without the record, (n, k).
        var_out: its variance, the same for every output, (n,).
        mean_in: with the record, (n, k).
        var_in: its variance, (n,).
    """

    mean_out: Float[Array, "n k"]
    var_out: Float[Array, " n"]
    mean_in: Float[Array, "n k"]
    var_in: Float[Array, " n"]
