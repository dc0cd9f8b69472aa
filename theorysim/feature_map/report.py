r"""The feature map of a trained network: its numbers with errors, and the regime it is in.

With one-sided limits at 95 % of u(K*), the share of the outputs' span in the first K* eigenfunctions,

    minimal    u(K*) >= 0.95, as many features in use as the targets need,
    extended   u(K*) <= 0.85, many more,
    between    neither is certain.

Read u beside the quality q(K*) (minimal with q near 1: collapse to the labels; minimal with a low q on
held-out inputs: wrong features) and the dominance share(K*): one step of gradient descent from a zero readout
gives outputs proportional to T[y], so that frozen random features show a high u early on, but no dominance.
The thresholds are ours. Y. Nam et al. (2024), arXiv 2410.04264.

Example:
    >>> import jax, jax.numpy as jnp
    >>> labels = jnp.arange(90) % 3
    >>> noise = jax.random.normal(jax.random.key(0), (90, 8))
    >>> report = feature_report(jax.nn.one_hot(labels, 8) + 0.1 * noise, labels, readout=jnp.eye(3, 8))
    >>> print(report.regime, f"dominance {report.dominance:.2f}")
    minimal dominance 0.92
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theorysim.feature_map.by_columns import measured_by_columns
from theorysim.feature_map.by_rows import measured_by_rows
from theorysim.feature_map.errors import StandardErrors
from theorysim.feature_map.supplied import supplied
from theorysim.numerics.stats import critical_value
from theorysim.numerics.validation import is_traced, real

__all__ = ["FeatureReport", "Regime", "feature_report", "regime"]

Regime = Literal["minimal", "between", "extended"]

# Below this ratio of rho_K* to rho_{K*+1} the top block is not defined by the data.
_LEAST_GAP = 1.02


class FeatureReport(NamedTuple):
    """What `feature_report` found; None where an argument it needs is missing.

    Attributes:
        eigenvalues: rho, falling, 0 for those dropped, (p,).
        quality: Q_k, share of each eigenfunction in the target space, (p,).
        utility: Pi_k, share of each in the span of the outputs, (p,).
        cumulative_quality: q(K), the entry K - 1 for the first K, (p,).
        cumulative_utility: u(K), (p,).
        effective_entropy: N1.
        effective_participation: N2.
        used_features: K90, the smallest K with u(K) >= 0.9.
        nc1: variability within classes.
        nc2: angles between class means.
        nc3: readout against class means.
        nc4: predictions against the nearest class mean.
        target_alignment: alignment of the kernel with the targets.
        gap: rho_K* / rho_{K*+1}.
        regime: "minimal", "between" or "extended".
        standard_errors: of u(K*), q(K*), share(K*) and N2; None if not asked for.
        dominance: share(K*).
        target_dimension: K*.
        effective_utility: N_u.
        output_alignment: alignment of the kernel with the span of the outputs.
        nc2_norms: relative spread of the norms of the class means.
        within_between: tr S_W / tr S_B.
        dropped: eigenvalues that count as 0.
        ambiguous: whether the gap is below 1.02, so that the first K* are not well defined: take more.
    """

    eigenvalues: Float[Array, " p"]
    quality: Float[Array, " p"]
    utility: Array | None
    cumulative_quality: Float[Array, " p"]
    cumulative_utility: Array | None
    effective_entropy: Array
    effective_participation: Array
    used_features: Array | None
    nc1: Array | None
    nc2: Array | None
    nc3: Array | None
    nc4: Array | None
    target_alignment: Array
    gap: Array
    regime: Regime | None
    standard_errors: StandardErrors | None
    dominance: Array
    target_dimension: int
    effective_utility: Array | None
    output_alignment: Array | None
    nc2_norms: Array | None
    within_between: Array | None
    dropped: Array
    ambiguous: bool


def feature_report(
    features: ArrayLike,
    labels: Any,
    *,
    readout: ArrayLike | None = None,
    outputs: ArrayLike | None = None,
    centred: bool = True,
    errors: bool = True,
    classes: int | None = None,
    minimal: float = 0.95,
    extended: float = 0.85,
    participation: bool = True,
    block: int = 4096,
) -> FeatureReport:
    """Diagnose the features of a network, from arrays of any framework and of any length.

    Args:
        features: activations before the readout, (n, p), in memory or a `np.memmap`. Whole numbers are cast
            with a warning, half precision to float32.
        labels: classes (n,), recoded by rank with a warning if they are not 0 ... C - 1; or floating targets.
        readout: weights after them, (C, p).
        outputs: (n, C), in place of a readout or beside it; see `feature_metrics`.
        centred: about the mean.
        errors: give standard errors, and judge the regime by limits instead of by the estimate.
        classes: C, if labels are 0 ... C - 1.
        minimal: u(K*) from which the regime is minimal.
        extended: u(K*) up to which it is extended, <= minimal.
        participation: give the error of N2 among the standard errors, which costs n p^2 once more.
        block: examples that are read at once, >= 1; features, where there are more of these than examples.

    Returns:
        FeatureReport. Cost n p min(n, p) + min(n, p)^3, and n p (3 K* + 4 C) for errors and collapse. The
        features are read twice, by blocks, and never copied whole; beside a block there are some ten p x p
        matrices, or n x n ones if n < p. Sums over blocks are in float64 where JAX has it, the rest in the
        dtype of the features. On two cores 20,000 x 512 in float64 takes 0.5 s; 60,000 x 2,048 in float32
        takes 8 s and, with the features, 1.6 GiB. Where both n and p are large the eigenvectors cost most:
        8,192 x 4,096 takes 12 s, 10,000 x 8,192 takes 80 s and 2.7 GiB, where `leading_features` takes 1 s
        and 4 s for the first K* features, with a bound on their error but without that of the statistics.
        Not for `jit`: inside of it use `feature_metrics`.

    Raises:
        ValueError: as `feature_metrics`; a class without an example; outputs that are constant; block < 1;
            traced arguments.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (300, 40))  # random features, every one in use
        >>> report = feature_report(x, jnp.arange(300) % 3, readout=x[:3])
        >>> print(report.regime, f"u(2) = {report.cumulative_utility[1]:.2f}")
        extended u(2) = 0.10
    """
    if is_traced((features, labels, readout, outputs)):
        raise ValueError("features must be concrete: under a trace use feature_metrics")
    real(extended, "extended", low=0, high=1)
    real(minimal, "minimal", low=extended, high=1)
    data = supplied(features, labels, readout, outputs, centred=centred, classes=classes, block=block)
    n, p = data.features.shape
    measured = measured_by_rows if p <= n else measured_by_columns
    numbers, uncertain = measured(data, errors=errors, participation=participation)
    gap, verdict = float(numbers.gap), None
    if numbers.cumulative_utility is not None:
        u = float(numbers.cumulative_utility[min(data.top, p) - 1])
        if np.isnan(u):
            name = "readout" if outputs is None else "outputs"
            raise ValueError(f"{name} must depend on the features, got constant outputs")
        error = 0.0 if uncertain is None or uncertain.utility is None else float(uncertain.utility)
        verdict = regime(u, error, minimal=minimal, extended=extended)
    collapse = numbers.collapse
    shared: dict[str, Any] = {k: v for k, v in numbers._asdict().items() if k != "collapse"}
    measures: dict[str, Any] = {
        name: getattr(collapse, name, None)
        for name in ("nc1", "nc2", "nc3", "nc4", "nc2_norms", "within_between")
    }
    return FeatureReport(
        **shared,
        **measures,
        regime=verdict,
        standard_errors=uncertain,
        target_dimension=data.top,
        ambiguous=gap < _LEAST_GAP,
    )


def regime(
    utility: float, standard_error: float = 0.0, *, minimal: float = 0.95, extended: float = 0.85
) -> Regime:
    """The regime that u(K*) and its standard error allow, by one-sided limits at 95 %.

    Args:
        utility: u(K*) in [0, 1].
        standard_error: its error, >= 0; without one the estimate itself is judged. An error that is NaN or
            infinite leaves everything between.
        minimal: u from which on the regime is minimal.
        extended: u up to which it is extended.

    Returns:
        "minimal", "between" or "extended".

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> regime(0.97), regime(0.97, 0.02), regime(0.6, 0.1)
        ('minimal', 'between', 'extended')
    """
    real(utility, "utility", low=-1e-6, high=1 + 1e-6)
    real(extended, "extended", low=0, high=1)
    real(minimal, "minimal", low=extended, high=1)
    if not np.isfinite(standard_error):
        return "between"
    real(standard_error, "standard_error", low=0)
    # Two-sided at 90 % is one-sided at 95 %.
    margin = critical_value(0.9) * standard_error
    if utility - margin >= minimal:
        return "minimal"
    return "extended" if utility + margin <= extended else "between"
