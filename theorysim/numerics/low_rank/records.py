"""What a training of adapters leaves behind, and where it starts."""

from typing import NamedTuple

from jaxtyping import Array, Float

__all__ = ["AdapterPath", "AdapterStart"]


class AdapterStart(NamedTuple):
    """Order parameters before the first step.

    Attributes:
        P0: adapter features A X, (r, N); 0 where A starts at zero.
        Q0: readout of the other factor, W_out B, (k, r); 0 where B starts at zero.
    """

    P0: Float[Array, "r N"]
    Q0: Float[Array, "k r"]


class AdapterPath(NamedTuple):
    """Records along a training: entry t holds the state before step t record_every, the last that at the end.

    From the first loss beyond 1e12 times that of the start (or of the layer without adapters, if larger) on,
    all is NaN.

    Attributes:
        loss: mean over the training columns, |f - Y|^2/(2N) unless another was given.
        test_loss: the same over the test columns; None without them.
        feature_rms: root mean square of P.
        readout_rms: root mean square of Q.
        deltas: Frobenius norms of s Q dP, s dQ P and s dQ dP of the step that follows, (.., 3).
        grad_norm_a: norm of the gradient in A, before it is cut, without weight decay; None where unknown.
        grad_norm_b: norm of the gradient in B.
        P: adapter features, (.., r, N).
        Q: readout of B, (.., k, r).
    """

    loss: Float[Array, " t"]
    test_loss: Float[Array, " t"] | None
    feature_rms: Float[Array, " t"]
    readout_rms: Float[Array, " t"]
    deltas: Float[Array, "t 3"]
    grad_norm_a: Float[Array, " t"] | None
    grad_norm_b: Float[Array, " t"] | None
    P: Float[Array, "t r N"]
    Q: Float[Array, "t k r"]
